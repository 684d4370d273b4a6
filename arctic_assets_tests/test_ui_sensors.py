"""A month of ERA5 comes, with webserver, daemon and code server running, and a server that speaks the CDS' protocol."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import SensorInstigatorData

from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Outline, TemperatureMonthly
from arctic_assets_tests.testkit.cds import CdsServer
from arctic_assets_tests.testkit.platform import Platform
from arctic_assets_tests.testkit.ticks import runs_of
from arctic_assets_tests.testkit.ui import Ui, dagster_dev

SECONDS = 300
"""Only to end a test that hangs."""
SENSOR = "new_era5_month"

pytestmark = pytest.mark.timeout(4 * SECONDS)


def test_a_month_that_era5_publishes_is_in_the_tables_after_the_next_tick(
    outlined: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(outlined.current.home, tmp_path / "home")
    found = Platform(replace(outlined.current, home=tmp_path / "home", mirror="live"))
    readers = Warehouse(database=str(found.current.published))
    nowhere = "http://127.0.0.1:9"  # for the other sensors of a live platform: a test asks no provider
    with CdsServer(last="2026-09", final_until="2026-06") as server:
        monkeypatch.setenv("CDSAPI_URL", server.api)
        monkeypatch.setenv("CDSAPI_KEY", server.key)
        with dagster_dev(found, HTTPS_PROXY=nowhere, https_proxy=nowhere) as ui:
            (first,) = wait_for(lambda: ended(ui, 1), ui)
            assert (first["status"], first["cursor"], first["runIds"]) == ("SKIPPED", "2026-09", []), first

            server.last = "2026-10"
            let_the_hour_pass(found)
            rows = wait_for(lambda: readers.rows(TemperatureMonthly), ui)
            second, _ = wait_for(lambda: ended(ui, 2), ui)
            assert (second["status"], len(second["runIds"])) == ("SUCCESS", 1), second
            let_the_hour_pass(found)
            third, *_ = wait_for(lambda: ended(ui, 3), ui)
            assert (third["status"], third["runIds"]) == ("SKIPPED", []), third
            with found.instance() as instance:
                (job,) = wait_for(lambda: finished(instance, second["runIds"][0]), ui)
                assert job.is_success
                assert len(instance.get_runs(dg.RunsFilter(job_name="update_latest_month"))) == 1
                assert len(runs_of(list(instance.get_runs()), "derived/temperature_monthly")) == 1
    with_outline = set(outlined.rows(Outline)["glacier_id"])
    assert len(with_outline) == 3 and sorted(rows["glacier_id"]) == sorted(with_outline)
    assert set(rows["month"]) == {"2026-10"} and set(rows["status"]) == {"preliminary"}


def wait_for(look: Callable[[], Any], ui: Ui) -> Any:
    """What a look finds, as soon as it is not empty."""
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        if len(seen := look()):
            return seen
        time.sleep(1)
    raise TimeoutError(f"nothing came within {SECONDS} s; ticks: {ui.ticks(SENSOR)}; see {ui.log}")


def ended(ui: Ui, n: int) -> list[dict[str, Any]]:
    """The ticks, when `n` of them have ended."""
    ticks = [tick for tick in ui.ticks(SENSOR) if tick["status"] != "STARTED"]
    return ticks if len(ticks) >= n else []


def finished(instance: dg.DagsterInstance, run_id: str) -> list[dg.DagsterRun]:
    return [run for run in instance.get_runs(dg.RunsFilter(run_ids=[run_id])) if run.is_finished]


def let_the_hour_pass(found: Platform) -> None:
    """The last tick was an hour ago: the sensor is due."""
    with found.instance() as instance:
        states = instance.all_instigator_state(instigator_type=InstigatorType.SENSOR)
        (state,) = [one for one in states if one.instigator_name == SENSOR]
        assert isinstance(state.instigator_data, SensorInstigatorData)
        ago = time.time() - 3601
        data = state.instigator_data._replace(last_tick_timestamp=ago, last_tick_start_timestamp=ago)
        instance.update_instigator_state(state.with_data(data))
