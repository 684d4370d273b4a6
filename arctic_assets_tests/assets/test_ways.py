"""Single keys, ranges, rectangles: the same tables whichever way they were asked for; and after a kill."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from arctic_assets import settings
from arctic_assets.automation.build import Extent, close_dead_runs
from arctic_assets.definitions import build_defs
from arctic_assets.tables import TemperatureAnnual, TemperatureMonthly
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform

MONTHS = [f"{year}-{month:02d}" for year in (1999, 2000) for month in range(1, 13)]
EXTENT = Extent(start=MONTHS[0], end=MONTHS[-1])
DERIVED = "group:raw or group:derived"


@pytest.fixture(scope="module")
def rectangle(small_mirror: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Two years of three glaciers, built by rectangles."""
    current = small_mirror.current
    found = platform(tmp_path_factory.mktemp("rectangle"), current.mirror, current.glaciers)
    assert found.build(DERIVED, EXTENT).is_good
    return found


def _without_temperature(rectangle: Platform, home: Path) -> Platform:
    """A home like the rectangle's, with empty temperature tables."""
    shutil.copytree(rectangle.current.home, home)
    found = platform(home, rectangle.current.mirror, rectangle.current.glaciers)
    with found.warehouse.get_connection() as connection:
        for model in (TemperatureMonthly, TemperatureAnnual):
            connection.execute(f"DELETE FROM derived.{model.table()}")
    assert found.rows(TemperatureMonthly).empty
    return found


def _run(found: Platform, asset: str, tags: dict[str, str]) -> None:
    defs = build_defs(found.current)
    key = dg.AssetKey.from_user_string(asset)
    job = defs.resolve_implicit_job_def_def_for_assets([key])
    assert job is not None
    with found.instance() as instance:
        assert job.execute_in_process(instance=instance, asset_selection=[key], tags=tags).success


def test_ranges_give_the_tables_of_the_rectangle(rectangle: Platform, tmp_path: Path) -> None:
    found = _without_temperature(rectangle, tmp_path / "home")
    for glacier in found.partitions.registry.ids:
        assert found.build("derived/temperature_monthly", Extent((glacier,), MONTHS[0], MONTHS[-1])).is_good
        assert found.build("derived/temperature_annual", Extent((glacier,), MONTHS[0], MONTHS[-1])).is_good
    assert_same_tables(rectangle.tables(), found.tables())


def test_single_keys_give_the_rows_of_the_rectangle(rectangle: Platform, tmp_path: Path) -> None:
    found = _without_temperature(rectangle, tmp_path / "home")
    keys = [f"{glacier}|{month}" for glacier in found.partitions.registry.ids for month in MONTHS[:3]]
    random.Random(1).shuffle(keys)
    for key in keys:
        glacier, month = key.split("|")
        tags = {
            "dagster/partition": key,
            "dagster/partition/glacier": glacier,
            "dagster/partition/month": month,
        }
        _run(found, "derived/temperature_monthly", tags)
    wanted = rectangle.tables()["temperature_monthly"]
    wanted = wanted[wanted["month"].isin(MONTHS[:3])].reset_index(drop=True)
    got = found.tables()["temperature_monthly"]
    assert len(got) == len(keys)
    assert_same_tables({"temperature_monthly": wanted}, {"temperature_monthly": got})


def test_repeating_adds_no_history(rectangle: Platform) -> None:
    before, stamps = rectangle.tables(), rectangle.rows(TemperatureMonthly)["recorded_at"]
    assert rectangle.build(DERIVED, EXTENT).is_good
    assert_same_tables(before, rectangle.tables())
    assert (stamps == rectangle.rows(TemperatureMonthly)["recorded_at"]).all()
    assert rectangle.history_rows() == 0


def test_killed_build_started_again_gives_the_same_tables(rectangle: Platform, tmp_path: Path) -> None:
    home = tmp_path / "home"
    current = rectangle.current
    command = [
        *(sys.executable, "-m", "arctic_assets.cli", "build", "--home", str(home), "--mirror", current.mirror),
        *("--glaciers", str(current.glaciers), "--start", MONTHS[0], "--end", MONTHS[-1], "--select", DERIVED),
    ]
    environment = {**os.environ, **settings.environment(current), "ARCTIC_ASSETS_HOME": str(home)}
    marks = (
        "raw/rgi7/*.source.json",
        "raw/era5/*.source.json",
        "warehouse.duckdb",
        "cache/weights/*.npz",
        "cache/*.npz",
    )
    killed = 0
    for mark in marks:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not list(home.glob(mark)):
            time.sleep(0.01)
        time.sleep(0.2 * killed)
        if process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
    assert killed >= 2
    found = platform(home, current.mirror, current.glaciers)
    with found.instance() as instance:
        close_dead_runs(instance)
        running = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED]))
        assert running == []
    assert found.build(DERIVED, EXTENT).is_good
    assert_same_tables(rectangle.tables(), found.tables())
    assert not list(found.current.archive.rglob("*.part"))
