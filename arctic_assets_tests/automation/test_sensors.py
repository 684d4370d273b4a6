"""Sensors: what they decide, and a month of ERA5 that comes, turns final and moves."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from arctic_assets.assets.wiring import PROVIDER, VERSION
from arctic_assets.automation import sensors
from arctic_assets.definitions import build_defs
from arctic_assets.errors import SourceError
from arctic_assets.outline_commands import write_geopackage
from arctic_assets.sources import looks
from arctic_assets.sources.http import Client
from arctic_assets.tables import Area, TemperatureMonthly
from arctic_assets_tests.testkit.base import Response
from arctic_assets_tests.testkit.cds import CdsServer
from arctic_assets_tests.testkit.platform import SHARED, Platform, copy_of, platform
from arctic_assets_tests.testkit.ticks import Ticks, runs_of

IMPATIENT = Client(attempts=1, timeout_s=(2.0, 2.0))


# --- decisions --------------------------------------------------------------------------------------------------------


def test_the_first_look_sets_the_baseline() -> None:
    assert sensors.new_months(None, "2026-10", {"2026-07"}, catch_up=False) == ([], "2026-10")


def test_the_first_look_catches_up_where_it_is_told_to() -> None:
    found = sensors.new_months(None, "2026-02", {"2025-10", "2025-11"}, catch_up=True)
    assert found == (["2025-12", "2026-01", "2026-02"], "2025-11")


def test_new_months_are_those_after_the_baseline_that_no_table_has() -> None:
    assert sensors.new_months("2026-07", "2026-10", {"2026-09"}, catch_up=False) == (["2026-08", "2026-10"], "2026-07")
    assert sensors.new_months("2026-07", "2026-10", {"2026-08", "2026-09", "2026-10"}, catch_up=False).months == []
    assert sensors.new_months("2026-07", "2026-06", set(), catch_up=False).months == []


@pytest.mark.parametrize(("day", "due"), [("2026-10-29", []), ("2026-10-30", ["2026-08"])])
def test_preliminary_months_are_asked_for_again_when_they_are_old_enough(day: str, due: list[str]) -> None:
    """60 days after 31 August is 30 October."""
    today = dt.date.fromisoformat(day)
    assert sensors.months_to_ask_again({}, ["2026-08", "2026-09"], today, 60) == due


def test_a_preliminary_month_is_asked_for_once_a_day() -> None:
    today = dt.date(2026, 12, 24)
    asked = {"2026-08": "2026-12-24", "2026-09": "2026-12-23"}
    assert sensors.months_to_ask_again(asked, ["2026-08", "2026-09"], today, 60) == ["2026-09"]


# --- looks ------------------------------------------------------------------------------------------------------------


def test_the_catalogue_says_the_last_month_without_a_key() -> None:
    with CdsServer(last="2026-02") as server:
        assert looks.last_published_month(IMPATIENT, server.api) == "2026-02"
        assert not any("private-token" in exchange.request.headers for exchange in server.log)


@pytest.mark.parametrize("answer", [Response(500), Response(200, b"<html>maintenance</html>"), Response(200, b"{}")])
def test_a_failed_look_is_never_nothing_there(answer: Response) -> None:
    with CdsServer() as server:
        server.answer = lambda request: answer  # type: ignore[method-assign]
        with pytest.raises(SourceError):
            looks.last_published_month(IMPATIENT, server.api)


# --- a month comes, turns final and moves -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outlined(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Real outlines; ERA5 comes from the server."""
    if not (SHARED / "real").is_dir():
        pytest.skip("the real provider files (../shared/real) are not here")
    folder = tmp_path_factory.mktemp("outlined")
    shutil.copytree(SHARED / "real/mirror/rgi7", folder / "mirror/rgi7")
    found = platform(folder / "home", folder / "mirror", SHARED / "real/glaciers.csv", **START)
    assert found.build('key:"raw/rgi7" or key:"derived/outline"').is_good
    return found


START = {"start_year": 2026, "start_month": "2026-07"}


@pytest.fixture
def live(outlined: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Platform, CdsServer]]:
    shutil.copytree(outlined.current.home, tmp_path / "home")
    found = platform(tmp_path / "home", "live", SHARED / "real/glaciers.csv", **START)
    monkeypatch.setattr(looks, "QUICK", IMPATIENT)
    with CdsServer(last="2026-09", final_until="2026-06") as server:
        monkeypatch.setenv("CDSAPI_URL", server.api)
        monkeypatch.setenv("CDSAPI_KEY", server.key)
        yield found, server


def test_a_new_month_is_there_after_a_tick_and_a_second_tick_does_nothing(live: tuple[Platform, CdsServer]) -> None:
    found, server = live
    with found.instance() as instance:
        month = Ticks(found, "new_era5_month", instance)
        assert month.tick() == [] and month.cursor == "2026-09"

        server.last = "2026-10"
        runs = month.tick()
        assert len(runs_of(runs, "derived/temperature_monthly")) == 1
        rows = found.rows(TemperatureMonthly)
        assert set(rows["month"]) == {"2026-10"} and set(rows["status"]) == {"preliminary"}
        assert len(rows) >= 3

        jobs = len(server.jobs)
        assert month.tick() == [] and len(server.jobs) == jobs


def test_a_month_that_became_final_replaces_the_rows_and_keeps_the_old_values(
    live: tuple[Platform, CdsServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, server = live
    with found.instance() as instance:
        month = Ticks(found, "new_era5_month", instance)
        month.tick()
        server.last = "2026-10"
        month.tick()
        before = found.rows(TemperatureMonthly).set_index("glacier_id")["t2m_c"]

        final = Ticks(found, "era5_became_final", instance)
        assert final.tick() == []  # 2026-10 has just ended

        monkeypatch.setattr(sensors, "ASK_AGAIN_AFTER_DAYS", -400)
        colder = server.field
        server.field = lambda lat, lon, name: colder(lat, lon, name) - 0.5
        server.final_until = "2026-10"
        (run,) = runs_of(final.tick(), "derived/temperature_monthly")
        made = instance.get_latest_materialization_event(dg.AssetKey(["derived", "temperature_monthly"]))
        assert made and made.run_id == run.run_id and made.asset_materialization
        told = {name: value.value for name, value in made.asset_materialization.metadata.items()}
        assert told["months that turned final"] == told["months that moved"] == len(before)
        assert told["mean move (K)"] == told["largest move (K)"] == pytest.approx(-0.5, abs=1e-3)

        rows = found.rows(TemperatureMonthly).set_index("glacier_id")
        assert set(rows["status"]) == {"final"}
        np.testing.assert_allclose(before - rows["t2m_c"], 0.5, atol=1e-4)
        old = found.warehouse.query("SELECT glacier_id, t2m_c, status FROM history.temperature_monthly")
        assert set(old["status"]) == {"preliminary"}
        pd.testing.assert_series_equal(
            old.set_index("glacier_id")["t2m_c"].sort_index(), before.sort_index(), check_names=False
        )
        assert final.tick() == []


# --- other sensors ----------------------------------------------------------------------------------------------------


def test_a_replaced_file_of_a_mirror_is_seen_and_brought_in(small_home: Platform, tmp_path: Path) -> None:
    found = copy_of(small_home, tmp_path)
    with found.instance() as instance:
        look = Ticks(found, "provider_object_changed", instance)
        assert look.tick() == []
        file = next(Path(found.current.mirror).rglob("DOI-WGMS-FoG*.zip"))
        with file.open("ab") as stream:
            stream.write(b"\n")
        os.utime(file)
        runs = look.tick()
        assert runs_of(runs, "raw/fog") and runs_of(runs, "derived/mass_balance")


def test_a_provider_that_is_down_is_no_reason_to_move_the_cursor(
    live: tuple[Platform, CdsServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    found, server = live
    monkeypatch.setenv("CDSAPI_URL", f"{server.url}/nowhere")
    with found.instance() as instance:
        month = Ticks(found, "new_era5_month", instance)
        with pytest.raises(SourceError):
            month.tick()
        assert month.cursor is None


def test_a_new_release_is_asked_for_once(small_home: Platform, tmp_path: Path) -> None:
    found = copy_of(small_home, tmp_path)
    with found.instance() as instance:
        release = Ticks(found, "new_wgms_release", instance)
        assert release.tick() == []
        old = next(Path(found.current.mirror).rglob("DOI-WGMS-FoG*.zip"))
        shutil.copyfile(old, old.with_name("DOI-WGMS-FoG-2027-02-10.zip"))
        (run,) = runs_of(release.tick(), "raw/fog")
        assert (run.tags[PROVIDER], run.tags[VERSION]) == ("wgms", "DOI-WGMS-FoG-2027-02-10.zip")
        assert release.tick() == []


def test_a_dropped_outline_is_taken_and_what_is_made_from_it_is_built(
    small_home: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = copy_of(small_home, tmp_path)
    found.warehouse.publish(found.current.published)
    monkeypatch.setattr(sensors, "SETTLED_S", 0.0)
    with found.instance() as instance:
        revised = Ticks(found, "outline_revised", instance)
        assert revised.tick() == []
        write_geopackage(found.current, "engabreen", "2015", tmp_path / "outline.gpkg")
        frame = gpd.read_file(tmp_path / "outline.gpkg", layer="outline").assign(editor="Ada", reason="snow")
        frame["geometry"] = frame.geometry.buffer(-2e-4)
        (found.current.home / "revisions").mkdir(exist_ok=True)
        frame.to_file(found.current.home / "revisions/outline.gpkg", layer="outline", driver="GPKG")
        before = found.rows(Area).set_index(["glacier_id", "inventory"])["area_km2"]
        runs = revised.tick()
        assert runs_of(runs, "raw/revision") and runs_of(runs, "derived/outline") and runs_of(runs, "derived/area")
        after = found.rows(Area).set_index(["glacier_id", "inventory"])["area_km2"]
        assert list(after.index[after != before[after.index]]) == [("engabreen", "2015")]
        assert after["engabreen", "2015"] < before["engabreen", "2015"]
        assert revised.tick() == []


def test_a_job_says_what_it_would_do_and_does_nothing(small_home: Platform, tmp_path: Path) -> None:
    found = copy_of(small_home, tmp_path)
    config = {"ops": {"glacier": {"config": {"glacier": "engabreen", "selection": "derived/area", "dry_run": True}}}}
    with found.instance() as instance:
        before = len(instance.get_runs())
        job = build_defs(found.current).resolve_job_def("rebuild_glacier")
        result = job.execute_in_process(run_config=config, instance=instance)
        assert result.success and len(instance.get_runs()) == before + 1


def test_check_sources_observes_what_changed(small_home: Platform, tmp_path: Path) -> None:
    found = copy_of(small_home, tmp_path)
    file = next(Path(found.current.mirror).rglob("DOI-WGMS-FoG*.zip"))
    file.write_bytes(file.read_bytes() + b"\n")
    with found.instance() as instance:
        job = build_defs(found.current).resolve_job_def("check_sources")
        assert job.execute_in_process(instance=instance).success
        changed = {}
        for name in ("raw/fog", "raw/rgi7"):
            records = instance.fetch_observations(dg.AssetKey.from_user_string(name), limit=1).records
            seen = records[0].asset_observation if records else None
            changed[name] = seen.metadata["changed"].value if seen else None
    assert changed == {"raw/fog": 1, "raw/rgi7": 0}


def test_sensors_run_from_the_start_on_a_live_platform_only(small_home: Platform, tmp_path: Path) -> None:
    on_mirror = build_defs(small_home.current)
    live = build_defs(platform(tmp_path / "live", "live").current)
    from_the_start = {s.name for s in on_mirror.sensors or [] if s.default_status == dg.DefaultSensorStatus.RUNNING}
    assert from_the_start == {"exports_judged"}, "it looks at our own files and launches nothing"
    assert {s.default_status for s in live.sensors or []} == {dg.DefaultSensorStatus.RUNNING}


def test_what_launches_runs_says_when_and_why(small_home: Platform) -> None:
    repository = build_defs(small_home.current).get_repository_def()
    described = {schedule.name: schedule.description for schedule in repository.schedule_defs}
    described |= {sensor.name: sensor.description for sensor in repository.sensor_defs}
    assert {"new_era5_month", "exports_every_night"} <= described.keys()
    assert [name for name, text in described.items() if len(text or "") < 60] == []
