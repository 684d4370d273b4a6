"""A day in the life of a platform, as docs/day.md tells it: what happens, and what its curator sees of it.

Three glaciers of the SYNTHETIC sample. Months of ERA5 come from a server that speaks the Climate Data Store's protocol;
what else a provider has lies in a folder, to which the test adds. The sensors are those of the daemon, evaluated here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import geopandas as gpd
import numpy as np
import pytest
from click.testing import CliRunner

from arctic_assets.assets.wiring import PROVIDER, VERSION, RawStore
from arctic_assets.automation import sensors, updates
from arctic_assets.cli import main
from arctic_assets.definitions import build_defs
from arctic_assets.sample.common import NOTICE
from arctic_assets.sources import origins
from arctic_assets.tables import Area, MassBalance, TemperatureMonthly
from arctic_assets_tests.testkit.cds import CdsServer
from arctic_assets_tests.testkit.platform import Platform, platform
from arctic_assets_tests.testkit.ticks import Ticks, runs_of

SENSORS = ("new_era5_month", "era5_became_final", "new_wgms_release", "outline_revised")


class Providers(origins.DirectoryOrigin):
    """Live, but for what is asked: what is not a job of the Climate Data Store lies in a folder."""

    is_live = True


class Curator:
    """The person in front of the platform: commands, the Dagster instance, and the daemon's next tick."""

    def __init__(self, found: Platform, instance: dg.DagsterInstance) -> None:
        self.found = found
        self.instance = instance
        self.sensors = {name: Ticks(found, name, instance) for name in SENSORS}

    def run(self, *words: object) -> str:
        """What a command prints; it must succeed."""
        result = CliRunner().invoke(main, [*map(str, words), "--home", str(self.found.current.home)])
        assert result.exit_code == 0, result.output
        return result.output

    def tick(self) -> dict[str, list[dg.DagsterRun]]:
        """Runs by the sensor that launched them."""
        return {name: runs for name, sensor in self.sensors.items() if (runs := sensor.tick())}

    def evidence(self, asset: str, check: str) -> tuple[bool, int]:
        """Whether a check passed the last time, and how many rows it names."""
        key = dg.AssetCheckKey(dg.AssetKey.from_user_string(asset), check)
        record = self.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
        assert record.event and record.event.dagster_event
        evaluation = record.event.dagster_event.asset_check_evaluation_data
        return evaluation.passed, int(evaluation.metadata["rows failed"].value)  # type: ignore[arg-type]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[CdsServer]:
    with CdsServer(last="2020-12", final_until="2020-12") as server:
        server.title = NOTICE
        monkeypatch.setenv("CDSAPI_URL", server.api)
        monkeypatch.setenv("CDSAPI_KEY", server.key)
        yield server


def test_a_day_in_the_life(
    store: CdsServer, small_mirror: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(small_mirror.current.mirror, tmp_path / "providers")
    found = platform(tmp_path / "home", "live", small_mirror.current.glaciers)
    places = ["--home", str(found.current.home), "--glaciers", str(found.current.glaciers)]

    # Start: nothing is there, and the command says what to do.
    assert "run `arctic-assets build`" in CliRunner().invoke(main, ["status", *places]).output

    # First fill, from an institute's mirror.
    filled = CliRunner().invoke(
        main,
        ["build", *places, "--mirror", str(tmp_path / "providers"), "--start", "2019", "--end", "2020"],
    )
    assert filled.exit_code == 0, filled.output
    assert (found.current.exports / "latest/arctic_glacier_dataset.xlsx").is_file()

    monkeypatch.setenv("ARCTIC_ASSETS_MIRROR", "live")
    monkeypatch.setattr(origins, "open_origin", lambda settings, client=None: Providers(tmp_path / "providers"))
    monkeypatch.setattr(sensors, "SETTLED_S", 0.0)
    monkeypatch.setattr(sensors, "ASK_AGAIN_AFTER_DAYS", 10_000)  # the day is in 2021
    with found.instance() as instance:
        curator = Curator(found, instance)
        assert "preliminary months: 2020-10, 2020-11, 2020-12\n" in curator.run("status")
        assert curator.tick() == {}  # the first look sets the baselines

        # A new month: one run over all glaciers, named after its cause; the exports say that they are stale.
        store.last = "2021-01"
        runs = curator.tick()
        assert list(runs) == ["new_era5_month"]
        (month,) = runs_of(runs["new_era5_month"], "derived/temperature_monthly")
        assert month.tags[updates.CAUSE] == "ERA5 reaches 2021-01" and month.tags[PROVIDER] == "era5"
        seen = curator.run("status")
        assert "preliminary months: 2020-10, 2020-11, 2020-12, 2021-01\n" in seen
        assert "the tables changed since these were written: exports/" in seen
        assert curator.tick() == {}

        # A revised outline: exported, corrected, dropped into the folder.
        curator.run("outline", "export", "engabreen", "2015", "--to", tmp_path / "engabreen.gpkg")
        frame = gpd.read_file(tmp_path / "engabreen.gpkg", layer="outline")
        frame = frame.assign(editor="Ada", reason="late snow on the tongue", geometry=frame.geometry.buffer(-2e-4))
        dropped = found.current.home / "revisions"
        dropped.mkdir()
        frame.to_file(dropped / "engabreen.gpkg", layer="outline", driver="GPKG")
        before = found.rows(Area).set_index(["glacier_id", "inventory"])["area_km2"]
        runs = curator.tick()
        assert list(runs) == ["outline_revised"]
        assert "engabreen.gpkg" in runs_of(runs["outline_revised"], "derived/outline")[0].tags[updates.CAUSE]
        after = found.rows(Area).set_index(["glacier_id", "inventory"])
        changed = after.index[after["area_km2"] != before[after.index]]
        assert list(changed) == [("engabreen", "2015")]
        assert [path.relative_to(dropped) for path in dropped.rglob("*.gpkg")] == [Path("accepted/engabreen.gpkg")]

        # Night: the schedule writes the exports, because the tables changed.
        (schedule,) = build_defs(found.current).schedules or []
        assert isinstance(schedule, dg.ScheduleDefinition)
        read = RawStore(home=str(found.current.home), mirror="live", registry=str(found.current.glaciers))
        with dg.build_schedule_context(instance, resources={"store": read}) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        assert "exports/workbook" in request.tags[updates.CAUSE]
        job = build_defs(found.current).resolve_job_def("rebuild_exports")
        assert job.execute_in_process(instance=instance, tags=dict(request.tags)).success
        assert "the tables changed" not in curator.run("status")

        # Two months later, final ERA5: the rows are replaced, the old ones kept, and a check names those that moved.
        old = found.rows(TemperatureMonthly).query("month == '2021-01'").set_index("glacier_id")["t2m_c"]
        warmer = store.field
        store.field = lambda lat, lon, name: warmer(lat, lon, name) - 0.5
        store.final_until = "2021-01"
        monkeypatch.setattr(sensors, "ASK_AGAIN_AFTER_DAYS", 60)
        runs = curator.tick()
        assert list(runs) == ["era5_became_final"]
        rows = found.rows(TemperatureMonthly).query("month == '2021-01'").set_index("glacier_id")
        assert set(rows["status"]) == {"final"} and len(rows) == 3
        np.testing.assert_allclose(rows["t2m_c"] - rows["t2m_preliminary_c"], -0.5, atol=1e-4)
        kept = found.warehouse.query(
            "SELECT glacier_id, t2m_c FROM history.temperature_monthly WHERE month = '2021-01'"
        )
        np.testing.assert_array_equal(kept.set_index("glacier_id")["t2m_c"][old.index], old)
        assert curator.evidence("derived/temperature_monthly", "final_is_near_preliminary") == (False, 4 * 3)
        assert "preliminary months" not in curator.run("status")

        # A release of WGMS: its tables are made anew, and every row names it.
        held = next((tmp_path / "providers").rglob("DOI-WGMS-FoG*.zip"))
        shutil.copyfile(held, held.with_name("DOI-WGMS-FoG-2027-02-10.zip"))
        runs = curator.tick()
        assert list(runs) == ["new_wgms_release"]
        assert runs_of(runs["new_wgms_release"], "raw/fog")[0].tags[VERSION] == "DOI-WGMS-FoG-2027-02-10.zip"
        sources = found.rows(MassBalance).query("origin == 'observed'")["source_ids"]
        assert len(sources) and sources.map(lambda ids: any("FoG-2027-02-10" in i for i in ids)).all()

        # Evening: nothing to do, nothing lost.
        assert curator.tick() == {}
        assert "as they were stored" in CliRunner().invoke(main, ["verify", "--home", str(found.current.home)]).output
