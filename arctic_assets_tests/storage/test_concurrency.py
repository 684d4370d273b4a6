"""Many processes on one warehouse: nothing fails, nothing is lost, and nobody waits for ever."""

from __future__ import annotations

import logging
import multiprocessing
import threading
import time
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from filelock import FileLock

from arctic_assets.errors import WarehouseError
from arctic_assets.storage.warehouse import Stamp, Warehouse
from arctic_assets.tables import Area, TemperatureMonthly, Volume

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
