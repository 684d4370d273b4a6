"""Sensors: what they decide, and a month of ERA5 that comes, turns final and moves."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from arctic_assets.assets.wiring import PROVIDER, VERSION
from arctic_assets.automation import sensors, updates
from arctic_assets.automation.build import select
from arctic_assets.definitions import build_defs
from arctic_assets.errors import SourceError, TableError
from arctic_assets.outline_commands import write_geopackage
from arctic_assets.sources import itslive, looks
from arctic_assets.sources.http import Client
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Area, MassBalance, TemperatureMonthly
from arctic_assets_tests.testkit import faults
from arctic_assets_tests.testkit.base import Response
from arctic_assets_tests.testkit.cds import CdsServer
from arctic_assets_tests.testkit.platform import Platform, copy_of, platform
from arctic_assets_tests.testkit.server import StaticServer
from arctic_assets_tests.testkit.ticks import Ticks, runs_of

IMPATIENT = Client(attempts=1, timeout_s=(2.0, 2.0))


@contextmanager
def broken(table: str) -> Iterator[None]:
    """Nothing can be written into a table."""
    replace = Warehouse.replace

    def refuse(self: Warehouse, model: type, *args: object, **more: object) -> object:
        if model.table() == table:  # type: ignore[attr-defined]
            raise TableError(f"{table} is broken on demand")
        return replace(self, model, *args, **more)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Warehouse, "replace", refuse)
        yield


@pytest.fixture
def tomorrow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Moves the date on by a day, as often as it is called."""
    days = 0

    def move() -> None:
        nonlocal days
        days += 1

    monkeypatch.setattr(sensors, "today", lambda: dt.datetime.now(dt.UTC).date() + dt.timedelta(days=days))
    yield move


# --- decisions --------------------------------------------------------------------------------------------------------


def test_the_first_look_sets_the_baseline() -> None:
    assert sensors.new_months(None, "2026-10", {"2026-07"}, None) == ([], "2026-10")


def test_the_first_look_catches_up_where_it_is_told_to() -> None:
    found = sensors.new_months(None, "2026-02", {"2025-10", "2025-11"}, "2025-11")
    assert found == (["2025-12", "2026-01", "2026-02"], "2025-11")


def test_new_months_are_those_after_the_baseline_that_no_table_has() -> None:
    assert sensors.new_months("2026-07", "2026-10", {"2026-09"}, None) == (["2026-08", "2026-10"], "2026-07")
    assert sensors.new_months("2026-07", "2026-10", {"2026-08", "2026-09", "2026-10"}, None).months == []
    assert sensors.new_months("2026-07", "2026-06", set(), None).months == []


def test_a_month_is_held_when_every_glacier_that_can_have_it_has_it() -> None:
    rows = pd.DataFrame({"glacier_id": ["a", "a", "b"], "month": ["2026-08", "2026-09", "2026-08"]})
    assert sensors.months_of_all(rows, {"a", "b"}) == {"2026-08"}
    assert sensors.months_of_all(rows, {"a"}) == {"2026-08", "2026-09"}
    assert sensors.months_of_all(rows, {"a", "b", "c"}) == set()
    assert sensors.months_of_all(rows[:0], {"a"}) == set()
    assert sensors.months_of_all(rows, set()) == set()


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


OUTLINED = ["geitlandsjokull", "hintereisferner", "kesselwandferner"]
"""The glaciers of the registry whose outlines are among the real files; the fourth has none."""


@pytest.fixture
def live(outlined: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Platform, CdsServer]]:
    shutil.copytree(outlined.current.home, tmp_path / "home")
    found = Platform(replace(outlined.current, home=tmp_path / "home", mirror="live"))
    monkeypatch.setattr(looks, "TIMEOUT_S", (2.0, 2.0))
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
        assert sorted(rows["glacier_id"]) == OUTLINED

        jobs = len(server.jobs)
        assert month.tick() == [] and len(server.jobs) == jobs


def test_a_month_that_was_built_before_era5_had_it_comes_when_it_is_published(live: tuple[Platform, CdsServer]) -> None:
    found, server = live
    assert found.build('key:"raw/era5" or key:"derived/temperature_monthly"').is_good
    assert set(found.rows(TemperatureMonthly)["month"]) == {"2026-07", "2026-08", "2026-09"}
    with found.instance() as instance:
        done = instance.get_materialized_partitions(dg.AssetKey(["derived", "temperature_monthly"]))
        assert {key for key in done if key.endswith("|2026-10")}  # a gap
        month = Ticks(found, "new_era5_month", instance)
        assert month.tick() == []
        server.last = "2026-10"
        assert len(runs_of(month.tick(), "derived/temperature_monthly")) == 1
        rows = found.rows(TemperatureMonthly)
        assert sorted(rows.loc[rows["month"] == "2026-10", "glacier_id"]) == OUTLINED
        assert month.tick() == [] and month.skipped == "ERA5 reaches 2026-10; it is there"


def test_catching_up_begins_after_the_last_month_with_rows_of_all(live: tuple[Platform, CdsServer]) -> None:
    """Of one glacier the last month is missing, because its own run failed; another has no outline and no row."""
    found, server = live
    assert found.build('key:"raw/era5" or key:"derived/temperature_monthly"').is_good
    with found.warehouse.get_connection() as connection:
        connection.execute(
            "DELETE FROM derived.temperature_monthly WHERE glacier_id = 'geitlandsjokull' AND month > '2026-08'"
        )
    found.warehouse.publish(found.current.published)
    found = Platform(replace(found.current, catch_up=True))
    server.last = "2026-10"
    with found.instance() as instance:
        month = Ticks(found, "new_era5_month", instance)
        runs = runs_of(month.tick(), "derived/temperature_monthly")
        assert month.cursor == "2026-08" and [run.tags[VERSION] for run in runs] == ["2026-09 to 2026-10"]
        rows = found.rows(TemperatureMonthly)
        assert sorted(rows.loc[rows["month"] == "2026-10", "glacier_id"]) == OUTLINED
        assert sorted(rows.loc[rows["month"] == "2026-09", "glacier_id"]) == OUTLINED
        assert month.tick() == [] and month.skipped == "ERA5 reaches 2026-10; it is there"


def test_a_month_that_a_run_waits_for_is_not_asked_for_again(
    live: tuple[Platform, CdsServer], tomorrow: Callable[[], None]
) -> None:
    found, server = live
    with found.instance() as instance:
        month = Ticks(found, "new_era5_month", instance)
        month.tick()
        server.last = "2026-10"
        config = {"ops": {"months": {"config": {"start": "2026-10"}}}}
        job = month.defs.resolve_job_def("update_latest_month")
        waiting = instance.create_run_for_job(job, run_config=config, status=dg.DagsterRunStatus.STARTED)
        assert month.tick() == [] and month.skipped == "ERA5 reaches 2026-10; a run for 2026-10 is under way"
        tomorrow()
        assert month.tick() == [] and server.jobs == []
        instance.report_run_canceled(waiting)
        assert len(runs_of(month.tick(), "derived/temperature_monthly")) == 1


def test_a_month_whose_run_failed_is_asked_for_on_the_next_day(
    live: tuple[Platform, CdsServer], tomorrow: Callable[[], None]
) -> None:
    found, server = live
    with found.instance() as instance:
        month = Ticks(found, "new_era5_month", instance)
        month.tick()
        server.last, server.failure = "2026-10", "out of memory"
        assert runs_of(month.tick(fails=True), "raw/era5")
        server.failure = None
        assert month.tick() == []
        tomorrow()
        assert runs_of(month.tick(), "derived/temperature_monthly")
        assert month.tick() == []


@pytest.mark.parametrize("name", ["new_era5_month", "era5_became_final"])
def test_what_a_month_changes_is_asked_for_again_when_only_it_failed(
    name: str, live: tuple[Platform, CdsServer], monkeypatch: pytest.MonkeyPatch, tomorrow: Callable[[], None]
) -> None:
    """The months are there: that alone does not tell that the years are."""
    found, server = live
    found = platform(found.current.home, "live", found.current.glaciers, start_year=2025, start_month="2025-10")
    server.last, server.final_until = "2025-12", "2025-09"
    with found.instance() as instance:
        sensor = Ticks(found, name, instance)
        if name == "new_era5_month":
            sensor.cursor = "2025-09"
        else:
            assert found.build('key:"raw/era5" or key:"derived/temperature_monthly"').is_good
            server.final_until = "2025-12"
        with broken("temperature_annual"):
            assert runs_of(sensor.tick(fails=True), "derived/temperature_annual")
            assert sensor.tick() == []
        status = "preliminary" if name == "new_era5_month" else "final"
        assert set(found.rows(TemperatureMonthly)["status"]) == {status}
        tomorrow()
        assert runs_of(sensor.tick(), "derived/temperature_annual")
        tomorrow()
        assert sensor.tick() == []


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


def test_a_release_is_asked_for_again_until_all_that_is_made_from_it_is_there(
    small_home: Platform, tmp_path: Path, tomorrow: Callable[[], None]
) -> None:
    found = copy_of(small_home, tmp_path)
    with found.instance() as instance:
        release = Ticks(found, "new_wgms_release", instance)
        old = next(Path(found.current.mirror).rglob("DOI-WGMS-FoG*.zip"))
        shutil.copyfile(old, old.with_name("DOI-WGMS-FoG-2027-02-10.zip"))
        with broken("mass_balance"):
            assert runs_of(release.tick(fails=True), "raw/fog")
            assert release.tick() == []  # today
            config = {"ops": {"source": {"config": {"assets": ["raw/fog"], "dry_run": True}}}}
            job = release.defs.resolve_job_def("refresh_source")
            assert job.execute_in_process(run_config=config, instance=instance).success  # of a person who looks
            tomorrow()
            assert runs_of(release.tick(fails=True), "raw/fog")
        tomorrow()
        (run,) = runs_of(release.tick(), "raw/fog")
        assert run.tags[VERSION] == "DOI-WGMS-FoG-2027-02-10.zip"
        sources = found.rows(MassBalance).query("origin == 'observed'")["source_ids"]
        assert len(sources) and sources.map(lambda ids: any("FoG-2027-02-10" in one for one in ids)).all()
        tomorrow()
        assert release.tick() == []


def test_a_replaced_file_is_asked_for_again_until_all_that_is_made_from_it_is_there(
    small_home: Platform, tmp_path: Path, tomorrow: Callable[[], None]
) -> None:
    found = copy_of(small_home, tmp_path)
    with found.instance() as instance:
        look = Ticks(found, "provider_object_changed", instance)
        with next(Path(found.current.mirror).rglob("DOI-WGMS-FoG*.zip")).open("ab") as stream:
            stream.write(b"\n")
        with broken("mass_balance"):
            assert runs_of(look.tick(fails=True), "raw/fog")
        assert look.tick() == []  # the archive has the new file
        tomorrow()
        assert runs_of(look.tick(), "derived/mass_balance")
        tomorrow()
        assert look.tick() == []


# --- rounds of looks --------------------------------------------------------------------------------------------------


@pytest.fixture
def served(small_home: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StaticServer]:
    """The mirror of a home, over HTTP, without mosaics after 2020."""
    shutil.copytree(small_home.current.mirror, tmp_path / "mirror")
    for path in (tmp_path / "mirror").rglob("ITS_LIVE_velocity_120m_*.tif"):
        if int(path.name.split("_")[5]) > 2020:
            path.unlink()
    monkeypatch.setattr(looks, "TIMEOUT_S", (1.0, 1.0))
    with StaticServer(tmp_path / "mirror") as server:
        yield server


def over_http(found: Platform, folder: Path, url: str) -> Platform:
    shutil.copytree(found.current.home, folder / "home")
    return platform(folder / "home", url, found.current.glaciers)


def publish_mosaics(root: Path, year: int, region: str = "") -> list[str]:
    """Copies of the mosaics of 2020 under another year; their regions."""
    regions = set()
    for path in sorted((root / "itslive").rglob(f"ITS_LIVE_velocity_120m_{region}*_2020_*.tif")):
        mosaic = itslive.mosaics_of(path.name.split("_")[4], year)[0]
        band = path.stem.partition("_v02_")[2] or path.stem.partition("_V02.1_")[2]
        target = root / "itslive" / mosaic.path(band)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        regions.add(mosaic.region)
    return sorted(regions)


def test_a_new_mosaic_is_seen_and_brought_in_however_often_its_run_fails(
    small_home: Platform, served: StaticServer, tmp_path: Path, tomorrow: Callable[[], None]
) -> None:
    root = tmp_path / "mirror"
    shutil.copytree(small_home.current.home, tmp_path / "home")
    found = platform(tmp_path / "home", root, small_home.current.glaciers)
    with found.instance() as instance:
        year = Ticks(found, "new_itslive_year", instance)
        assert year.tick() == [] and "0 new mosaics" in str(year.skipped)
        (region, *_) = publish_mosaics(root, 2021)
        with broken("velocity"):
            (run,) = runs_of(year.tick(fails=True), "raw/itslive")
            assert f"{region} 2021" in run.tags[VERSION] and run.tags[PROVIDER] == "itslive"
            assert year.tick() == []
        tomorrow()
        assert runs_of(year.tick(), "derived/velocity")
        tomorrow()
        assert year.tick() == []


def test_a_server_of_mosaics_that_is_slow_or_fails_is_never_nothing_new(
    small_home: Platform, served: StaticServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = over_http(small_home, tmp_path, served.url)
    regions = publish_mosaics(tmp_path / "mirror", 2021)
    assert len(regions) > 1
    first = regions[0]
    with found.instance() as instance:
        year = Ticks(found, "new_itslive_year", instance)

        served.break_always(".*_velocity_120m_.*", faults.status(503))
        with pytest.raises(SourceError, match="cannot be reached"):
            year.tick()
        assert year.cursor is None

        served.heal()
        served.break_always(f".*_velocity_120m_{first}_.*", faults.status(403))
        monkeypatch.setattr(sensors, "_refresh", lambda *_: None)  # what it says besides
        assert year.tick() == []
        assert f"not reached: {first}" in str(year.skipped) and "not all yet" not in str(year.skipped)

        served.heal()
        served.break_always(f".*_velocity_120m_{first}_.*", faults.silence(5))
        monkeypatch.setattr(sensors, "DEADLINE_S", 0.5)
        year.cursor = None
        began = len(served.log)
        assert year.tick() == []
        assert "not all yet" in str(year.skipped) and len(served.log) - began < 5
        assert str(year.cursor) > f"{first} 2021"
        monkeypatch.setattr(sensors, "DEADLINE_S", 30.0)
        year.tick()
        assert f"{len(regions) - 1} new mosaics" in str(year.skipped)


def test_a_server_of_releases_that_is_silent_ends_the_tick_in_time(
    small_home: Platform, served: StaticServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = over_http(small_home, tmp_path, served.url)
    with found.instance() as instance:
        release = Ticks(found, "new_wgms_release", instance)
        assert release.tick() == [] and release.skipped == "the newest releases are here"
        served.break_always("/wgms/.*", faults.silence(30))
        before = len(served.log)
        with pytest.raises(SourceError):
            release.tick()
        assert len(served.log) - before == 2  # attempts, of a second each


def test_a_tick_writes_no_sample(small_home: Platform, tmp_path: Path) -> None:
    found = platform(tmp_path / "home", "sample", small_home.current.glaciers)
    with found.instance() as instance:
        release = Ticks(found, "new_wgms_release", instance)
        assert release.tick() == [] and not found.current.sample.exists()


def test_a_provider_that_refuses_does_not_hide_what_another_replaced(small_home: Platform, tmp_path: Path) -> None:
    shutil.copytree(small_home.current.mirror, tmp_path / "mirror")
    with StaticServer(tmp_path / "mirror") as server:
        found = platform(tmp_path / "home", server.url, small_home.current.glaciers)
        assert found.build('key:"raw/rgi7" or key:"raw/fog" or key:"raw/farinotti" or key:"raw/dem"').is_good
        with found.instance() as instance:
            look = Ticks(found, "provider_object_changed", instance)
            assert look.tick() == []
            assert "0 changed, 3 cannot be compared (dem)" in str(look.skipped)
            n = len(Archive(found.current.archive).all_objects())
            n_farinotti = len(Archive(found.current.archive).objects("farinotti"))

            server.break_always("/(dem|farinotti)/.*", faults.status(403))
            fog = next((tmp_path / "mirror").rglob("DOI-WGMS-FoG*.zip"))
            assert look.tick() == []
            assert "not reached: farinotti" in str(look.skipped) and "refuses us" in str(look.skipped)
            assert f"{n - 3 - n_farinotti} of {n} looked at" in str(look.skipped)
            fog.write_bytes(fog.read_bytes() + b"\n")
            assert runs_of(look.tick(), "raw/fog")

            server.break_always(".*", faults.status(503))
            with pytest.raises(SourceError):
                look.tick()


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


def test_what_is_made_from_a_revised_outline_is_built_also_when_the_first_run_failed(
    small_home: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tomorrow: Callable[[], None]
) -> None:
    found = copy_of(small_home, tmp_path)
    found.warehouse.publish(found.current.published)
    monkeypatch.setattr(sensors, "SETTLED_S", 0.0)
    with found.instance() as instance:
        revised = Ticks(found, "outline_revised", instance)
        write_geopackage(found.current, "engabreen", "2015", tmp_path / "outline.gpkg")
        frame = gpd.read_file(tmp_path / "outline.gpkg", layer="outline").assign(editor="Ada", reason="snow")
        frame["geometry"] = frame.geometry.buffer(-2e-4)
        (found.current.home / "revisions").mkdir(exist_ok=True)
        frame.to_file(found.current.home / "revisions/outline.gpkg", layer="outline", driver="GPKG")
        before = found.rows(Area).set_index(["glacier_id", "inventory"])["area_km2"]
        with broken("area"):
            assert runs_of(revised.tick(fails=True), "derived/outline")
            assert revised.tick() == []
        tomorrow()
        assert runs_of(revised.tick(), "derived/area")
        after = found.rows(Area).set_index(["glacier_id", "inventory"])["area_km2"]
        assert list(after.index[after != before[after.index]]) == [("engabreen", "2015")]
        tomorrow()
        assert revised.tick() == []


def test_what_depends_on_a_raw_asset_is_refreshed_with_it(small_home: Platform) -> None:
    graph = build_defs(small_home.current).resolve_asset_graph()

    def chosen(*assets: str) -> set[str]:
        return {key.to_user_string() for key in select(graph, updates.chain(*assets))}

    after_outlines = chosen("raw/rgi7")
    windows = {f"raw/{name}" for name in ("itslive", "dem", "millan", "farinotti", "landsat", "era5")}
    assert windows < after_outlines and {"derived/velocity", "derived/temperature_monthly"} < after_outlines
    assert not any(key.startswith("exports/") for key in after_outlines) and "raw/fog" not in after_outlines
    assert {key for key in chosen("raw/fog") if key.startswith("raw/")} == {"raw/fog"}


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
            assert seen and seen.metadata["not comparable"].value == 0
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
