"""Many processes on one warehouse: nothing fails, nothing is lost, and nobody waits for ever."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from pathlib import Path

import dagster as dg
import duckdb
import pandas as pd
import pytest
from click.testing import CliRunner
from filelock import FileLock

from arctic_assets.automation.build import Run
from arctic_assets.automation.workers import Workers
from arctic_assets.cli import main
from arctic_assets.errors import WarehouseError
from arctic_assets.partitions import rectangle
from arctic_assets.storage.warehouse import Stamp, Warehouse
from arctic_assets.tables import Area, TemperatureMonthly, Volume
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables

PROCESSES, COMMITS = 8, 100
WAIT_S = 300


def _commit(database: str, published: str, glacier: str) -> None:
    """`COMMITS` writes of one partition each, a copy for readers after every tenth."""
    warehouse = Warehouse(database=database, wait_seconds=WAIT_S)
    for number in range(COMMITS):
        month = f"{2000 + number // 12}-{number % 12 + 1:02d}"
        row = {
            "glacier_id": glacier,
            "month": month,
            "t2m_c": number / 10,
            "n_cells": 2,
            "max_weight": 0.75,
            "t2m_sigma_c": 1.0,
            "sigma_kind": "assumed",
            "status": "final",
            "inventory": "rgi7",
            "source_ids": ["era5/a.nc#0123"],
            "is_synthetic": True,
        }
        warehouse.replace(
            TemperatureMonthly,
            pd.DataFrame([row]),
            pd.DataFrame({"glacier_id": [glacier], "month": [month]}),
            Stamp.now(f"{glacier}-{number}", "1"),
            asset="derived/temperature_monthly",
            partitions=[f"{glacier}|{month}"],
            gaps={},
        )
        if number % 10 == 9:
            warehouse.publish(Path(published))


def _open_and_close(database: str, stop: object, opened: object) -> None:
    """Another program: opens the file read-only again and again, without a pause and without our waiting."""
    while not stop.is_set():  # type: ignore[attr-defined]
        try:
            with duckdb.connect(database, read_only=True) as connection:
                connection.execute("SELECT count(*) FROM derived.temperature_monthly").fetchone()
            opened.value += 1  # type: ignore[attr-defined]
        except (duckdb.IOException, duckdb.CatalogException):
            continue  # a writer holds it, or nothing was written yet


def _hold(published: str, stop: object, seen: object) -> None:
    """A reader who keeps the copy open for a second at a time; what it sees never shrinks."""
    last = 0
    while not stop.is_set():  # type: ignore[attr-defined]
        if not Path(published).exists():
            time.sleep(0.05)
            continue
        with duckdb.connect(published, read_only=True) as connection:
            for _ in range(5):
                found = connection.execute("SELECT count(*) FROM derived.temperature_monthly").fetchone()
                assert found is not None and found[0] >= last
                last = found[0]
                time.sleep(0.2)
        seen.value = last  # type: ignore[attr-defined]


def test_eight_processes_commit_beside_readers(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    database, published = str(tmp_path / "warehouse.duckdb"), str(tmp_path / "arctic.duckdb")
    stop, opened, seen = context.Event(), context.Value("i", 0), context.Value("i", 0)
    readers = [
        context.Process(target=_open_and_close, args=(database, stop, opened)),
        context.Process(target=_hold, args=(published, stop, seen)),
    ]
    writers = [context.Process(target=_commit, args=(database, published, f"g{n}")) for n in range(PROCESSES)]
    for process in [*readers, *writers]:
        process.start()
    for process in writers:
        process.join()
    stop.set()
    for process in readers:
        process.join()

    assert [process.exitcode for process in [*writers, *readers]] == [0] * (PROCESSES + 2)
    rows = Warehouse(database=database).rows(TemperatureMonthly)
    assert len(rows) == PROCESSES * COMMITS
    assert rows["run_id"].nunique() == PROCESSES * COMMITS
    assert opened.value > 0 and seen.value > 0


def _keep_open(database: str, holds: object, waited_for: object, stop: object) -> None:
    """A person who reads the file that runs write: until somebody waits for it, then for two seconds at a time."""
    last, seconds = 0, 120.0
    while not stop.is_set():  # type: ignore[attr-defined]
        try:
            with duckdb.connect(database, read_only=True) as connection:
                found = connection.execute("SELECT count(*) FROM derived.temperature_monthly").fetchone()
                assert found is not None and found[0] >= last
                last = found[0]
                holds.value += 1  # type: ignore[attr-defined]
                waited_for.wait(seconds) if seconds > 2 else stop.wait(seconds)  # type: ignore[attr-defined]
                seconds = 2.0
        except duckdb.IOException:
            time.sleep(0.01)  # a run writes
        else:
            time.sleep(0.2)


def test_four_runs_beside_a_reader_of_their_file_and_beside_status(
    built: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing fails, nothing is lost, and the log of a run says that it waits."""
    before = built.tables()
    with built.warehouse.get_connection() as connection:
        connection.execute("DELETE FROM derived.temperature_monthly")
    built.warehouse.publish(built.current.published)
    context = multiprocessing.get_context("spawn")
    holds, waited_for, stop = context.Value("i", 0), context.Event(), context.Event()
    reader = context.Process(target=_keep_open, args=(built.warehouse.database, holds, waited_for, stop))
    reader.start()
    while not holds.value:
        time.sleep(0.05)

    monthly = dg.AssetKey(["derived", "temperature_monthly"])
    glaciers = list(built.partitions.registry.ids)
    halves = [[f"{year}-{month:02d}" for month in months] for year in (2019, 2020) for months in (FIRST, SECOND)]
    runs = [Run((monthly,), rectangle(glaciers, months), len(glaciers) * len(months)) for months in halves]
    words = ["status", "--home", str(built.current.home), "--glaciers", str(built.current.glaciers)]
    with built.instance() as instance:
        old = {run.run_id for run in instance.get_runs()}
        with Workers(built.current, len(runs)) as workers:
            futures = [workers.submit(run, run.assets) for run in runs]
            while not all(future.done() for future in futures):
                seen = CliRunner().invoke(main, words)
                assert seen.exit_code == 0, seen.output
                if _said(instance, old):
                    waited_for.set()
            outcomes = [future.result() for future in futures]
        stop.set()
        reader.join()
        done = [run for run in instance.get_runs() if run.run_id not in old]
        said = _said(instance, old)

    assert all(outcome.is_good for outcome in outcomes), outcomes
    assert [run.status for run in done] == [dg.DagsterRunStatus.SUCCESS] * 4
    assert reader.exitcode == 0 and holds.value > 1
    assert any(line.startswith("waiting for the warehouse: IO Error") for line in said)
    assert caplog.messages and set(caplog.messages) <= set(said), "who builds in a terminal sees them, too"
    assert_same_tables(before, built.tables())


FIRST, SECOND = range(1, 7), range(7, 13)


def _said(instance: dg.DagsterInstance, old: set[str]) -> list[str]:
    """What the logs of new runs say of waiting."""
    runs = [run.run_id for run in instance.get_runs() if run.run_id not in old]
    lines = [entry.user_message for run_id in runs for entry in instance.all_logs(run_id)]
    return [line for line in lines if line.startswith("waiting for")]


@pytest.mark.parametrize(("seconds", "is_said"), [(0.2, False), (1.5, True)])
def test_waiting_is_said_when_it_takes_long(
    seconds: float, is_said: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warehouse = Warehouse(database=str(tmp_path / "warehouse.duckdb"), wait_seconds=WAIT_S)
    lock = FileLock(tmp_path / ".warehouse.duckdb.lock", thread_local=False)
    lock.acquire()
    threading.Timer(seconds, lock.release).start()
    with caplog.at_level(logging.INFO), warehouse.get_connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert ("waiting for another process" in caplog.text) == is_said


def test_one_process_at_a_time_judges_a_table(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    database = str(tmp_path / "w.duckdb")
    other = Warehouse(database=database, wait_seconds=0.1)
    with Warehouse(database=database).judging(Area):
        with other.judging(Volume), other.get_connection() as connection:
            connection.execute("SELECT 1")
        with (
            caplog.at_level("INFO"),
            pytest.raises(WarehouseError, match="another process of ours that judges area"),
            other.judging(Area),
        ):
            pass
    assert "waiting for another process that judges area" in caplog.text
    with other.judging(Area):
        pass
