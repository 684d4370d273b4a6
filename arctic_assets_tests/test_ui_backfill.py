"""All months of all glaciers from the backfill button, with webserver, daemon and code server running."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from arctic_assets.tables import TemperatureMonthly
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform
from arctic_assets_tests.testkit.ui import Ui, dagster_dev

MONTHLY = "derived/temperature_monthly"
JULY = "month LIKE '%-07'"
SECONDS = 1500
"""Only to end a test that hangs: a busy machine may need several minutes."""


@dataclass(frozen=True)
class Backfilled:
    """What a backfill of all monthly partitions left behind.

    Attributes:
        home: the platform; its tables lacked all Julys before, and Dagster knew of no materialisation.
        keys: the partitions that were asked for.
        ui: still running.
        backfill: as `Ui.wait_for_backfill` returns it.
    """

    home: Platform
    keys: Sequence[str]
    ui: Ui
    backfill: dict[str, Any]


@pytest.fixture(scope="module")
def backfilled(whole_sample: Platform, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backfilled]:
    home = tmp_path_factory.mktemp("backfilled") / "home"
    shutil.copytree(whole_sample.current.home, home, ignore=shutil.ignore_patterns("dagster"))
    found = platform(home, whole_sample.current.mirror, whole_sample.current.glaciers)
    with found.warehouse.get_connection() as connection:
        connection.execute(f"DELETE FROM derived.temperature_monthly WHERE {JULY}")
    keys = found.partitions.month_glaciers.get_partition_keys()
    with dagster_dev(found) as ui:
        backfill = ui.wait_for_backfill(ui.launch_backfill(MONTHLY, keys), SECONDS)
        yield Backfilled(found, keys, ui, backfill)


pytestmark = pytest.mark.timeout(SECONDS + 300)


def test_all_partitions_are_one_run_per_glacier_and_all_are_green(backfilled: Backfilled) -> None:
    glaciers = backfilled.home.partitions.registry.ids
    assert len(backfilled.keys) >= 7680
    assert backfilled.backfill["status"] == "COMPLETED_SUCCESS", backfilled.backfill
    assert [run["status"] for run in backfilled.backfill["runs"]] == ["SUCCESS"] * len(glaciers)
    assert len(glaciers) == 16


def test_every_partition_is_shown_as_materialised(backfilled: Backfilled) -> None:
    stats = backfilled.ui.partition_stats(MONTHLY)
    n = len(backfilled.keys)
    assert stats == {"numPartitions": n, "numMaterialized": n, "numFailed": 0, "numMaterializing": 0}


def test_the_table_is_that_of_the_rectangle(backfilled: Backfilled, whole_sample: Platform) -> None:
    assert_same_tables(whole_sample.tables(), backfilled.home.tables())
    assert backfilled.home.history_rows() == whole_sample.history_rows()


def test_rows_that_were_there_are_untouched_and_each_run_wrote_its_own(
    backfilled: Backfilled, whole_sample: Platform
) -> None:
    before = whole_sample.rows(TemperatureMonthly)
    rows = backfilled.home.rows(TemperatureMonthly)
    is_july = rows["month"].str.endswith("-07")
    assert set(rows.loc[~is_july, "run_id"]) == set(before["run_id"])
    by_glacier = rows[is_july].groupby("glacier_id")["run_id"].unique()
    assert {len(ids) for ids in by_glacier} == {1}
    assert {ids[0] for ids in by_glacier} <= {run["id"] for run in backfilled.backfill["runs"]}
    assert by_glacier.map(lambda ids: ids[0]).is_unique


def test_the_checks_judged_the_whole_table(backfilled: Backfilled) -> None:
    """Four runs go side by side, so most of them judged a table with holes; the UI shows the one that saw it whole."""
    runs = {run["id"] for run in backfilled.backfill["runs"]}
    checks = backfilled.ui.checks(MONTHLY)
    assert "months_are_continuous" in checks
    for name, execution in checks.items():
        assert execution is not None, name
        assert execution["status"] == "SUCCEEDED" and execution["runId"] in runs, (name, execution)
