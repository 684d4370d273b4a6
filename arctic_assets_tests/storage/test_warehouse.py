"""What a write to the warehouse guarantees."""

from __future__ import annotations

import datetime as dt
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from arctic_assets.errors import TableError, WarehouseError
from arctic_assets.storage.warehouse import Stamp, Warehouse, Written
from arctic_assets.tables import Area, TemperatureMonthly

GLACIERS = ["alpha", "beta"]
MONTHS = [f"{y}-{m:02d}" for y in range(2000, 2002) for m in range(1, 13)]


def _rows(glaciers: list[str], months: list[str], shift: float = 0.0) -> pd.DataFrame:
    pairs = [(g, m) for g in glaciers for m in months]
    return pd.DataFrame(
        {
            "glacier_id": [g for g, _ in pairs],
            "month": [m for _, m in pairs],
            "t2m_c": [float(MONTHS.index(m)) / 10 - 5 + shift for _, m in pairs],
            "n_cells": 2,
            "max_weight": 0.75,
            "t2m_sigma_c": 1.0,
            "sigma_kind": "assumed",
            "status": "final",
            "inventory": "rgi7",
            "source_ids": [["era5/a.nc#0123"]] * len(pairs),
            "is_synthetic": True,
        }
    )


def _scope(glaciers: list[str], months: list[str]) -> pd.DataFrame:
    return pd.DataFrame([(g, m) for g in glaciers for m in months], columns=["glacier_id", "month"])


def _write(
    warehouse: Warehouse, glaciers: list[str], months: list[str], shift: float = 0.0, run: str = "r1", **kwargs: object
) -> Written:
    frame = kwargs.pop("frame", None)
    gaps = kwargs.pop("gaps", {})
    return warehouse.replace(
        TemperatureMonthly,
        _rows(glaciers, months, shift) if frame is None else frame,  # type: ignore[arg-type]
        _scope(glaciers, months),
        Stamp.now(run, "1"),
        asset="derived/temperature_monthly",
        partitions=[f"{g}|{m}" for g in glaciers for m in months],
        gaps=gaps,  # type: ignore[arg-type]
    )


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    return Warehouse(database=str(tmp_path / "warehouse.duckdb"), wait_seconds=60)


def _dump(warehouse: Warehouse) -> pd.DataFrame:
    return warehouse.rows(TemperatureMonthly)


def test_table_comes_from_the_model_not_from_the_frame(warehouse: Warehouse) -> None:
    _write(warehouse, ["alpha"], ["2000-01"])
    facts = warehouse.query(
        "SELECT column_name, data_type, is_nullable, comment FROM duckdb_columns() "
        "WHERE schema_name = 'derived' AND table_name = 'temperature_monthly' ORDER BY column_index"
    )
    assert list(facts["column_name"]) == [c.name for c in TemperatureMonthly.columns()]
    row = facts.set_index("column_name").loc["t2m_adjusted_c"]
    assert (row["data_type"], bool(row["is_nullable"])) == ("DOUBLE", True)
    assert "degC" in row["comment"]
    with (
        pytest.raises(duckdb.ConstraintException),
        warehouse.get_connection() as connection,
    ):
        connection.execute("INSERT INTO derived.temperature_monthly FROM derived.temperature_monthly")


def test_any_way_of_asking_gives_the_same_table(tmp_path: Path) -> None:
    tables = []
    for name, blocks in {
        "single": [([g], [m]) for g in GLACIERS for m in MONTHS],
        "range": [([g], MONTHS) for g in GLACIERS],
        "rectangle": [(GLACIERS, MONTHS)],
    }.items():
        warehouse = Warehouse(database=str(tmp_path / f"{name}.duckdb"))
        for glaciers, months in blocks:
            _write(warehouse, glaciers, months)
        tables.append(_dump(warehouse).drop(columns=["recorded_at"]))
    pd.testing.assert_frame_equal(tables[0], tables[1])
    pd.testing.assert_frame_equal(tables[0], tables[2])


def test_running_twice_changes_nothing(warehouse: Warehouse) -> None:
    gaps = {"beta|2000-01": "no ERA5 month"}
    first = _write(warehouse, GLACIERS, MONTHS, frame=_rows(["alpha"], MONTHS), gaps=gaps)
    before, gaps_before = _dump(warehouse), warehouse.gaps()
    second = _write(warehouse, GLACIERS, MONTHS, frame=_rows(["alpha"], MONTHS), gaps=gaps, run="r2")
    assert (first.new, second) == (24, Written(new=0, changed=0, removed=0, same=24))
    pd.testing.assert_frame_equal(before, _dump(warehouse))
    pd.testing.assert_frame_equal(gaps_before, warehouse.gaps())
    assert warehouse.query("FROM history.temperature_monthly").empty


def test_changed_rows_move_to_history_and_others_stay(warehouse: Warehouse) -> None:
    _write(warehouse, GLACIERS, MONTHS)
    written = _write(warehouse, ["alpha"], ["2001-06"], shift=1.0, run="r2")
    assert written == Written(new=0, changed=1, removed=0, same=0)
    history = warehouse.query("FROM history.temperature_monthly")
    assert history[["glacier_id", "month", "run_id", "superseded_by"]].values.tolist() == [
        ["alpha", "2001-06", "r1", "r2"]
    ]
    now = _dump(warehouse).set_index(["glacier_id", "month"])["t2m_c"]
    assert now["alpha", "2001-06"] == pytest.approx(history["t2m_c"][0] + 1)
    assert len(now) == 48


def test_empty_result_empties_its_partitions_and_keeps_the_reason(warehouse: Warehouse) -> None:
    _write(warehouse, GLACIERS, MONTHS)
    empty = _rows([], [])
    written = _write(
        warehouse, ["alpha"], ["2001-06"], frame=empty, gaps={"alpha|2001-06": "withdrawn by the provider"}, run="r2"
    )
    assert written == Written(new=0, changed=0, removed=1, same=0)
    assert len(_dump(warehouse)) == 47
    assert len(warehouse.query("FROM history.temperature_monthly")) == 1
    assert warehouse.gaps()["reason"].tolist() == ["withdrawn by the provider"]
    _write(warehouse, ["alpha"], ["2001-06"], run="r3")
    assert warehouse.gaps().empty


def test_column_order_does_not_matter(warehouse: Warehouse) -> None:
    _write(warehouse, ["alpha"], MONTHS)
    frame = _rows(["alpha"], MONTHS)
    assert _write(warehouse, ["alpha"], MONTHS, frame=frame[sorted(frame.columns)]).same == 24


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"t2m_c": 253.15}, "t2m_c is -50 to 20 degC"),
        ({"status": "perhaps"}, "one of preliminary, final"),
        ({"t2m_c": float("nan")}, "never missing"),
        ({"month": "2000-01"}, "is unique"),
        ({"month": "1999-01"}, "outside the partitions"),
    ],
)
def test_violation_writes_nothing(warehouse: Warehouse, change: dict[str, object], told: str) -> None:
    _write(warehouse, ["alpha"], MONTHS)
    before = _dump(warehouse)
    frame = _rows(["alpha"], MONTHS, shift=1.0)
    for name, value in change.items():
        frame.loc[7, name] = value  # type: ignore[call-overload]
    with pytest.raises(TableError, match=told):
        _write(warehouse, ["alpha"], MONTHS, frame=frame, gaps={"alpha|2000-01": "x"})
    pd.testing.assert_frame_equal(before, _dump(warehouse))
    assert warehouse.gaps().empty


def test_unknown_or_missing_column_is_told(warehouse: Warehouse) -> None:
    with pytest.raises(TableError, match="unknown: \\['temp'\\]; missing: \\['t2m_c'\\]"):
        _write(warehouse, ["alpha"], MONTHS, frame=_rows(["alpha"], MONTHS).rename(columns={"t2m_c": "temp"}))


def test_dates_and_lists_survive(warehouse: Warehouse) -> None:
    frame = pd.DataFrame(
        {
            "glacier_id": GLACIERS,
            "inventory": "rgi7",
            "area_km2": [8.0, 2.0],
            "area_bound_km2": 0.5,
            "area_sigma_km2": 0.4,
            "assumed_sigma_km2": 0.0,
            "area_sigma_independent_km2": 0.02,
            "n_digitisations": 0,
            "free_share": 1.0,
            "origin": "rgi7",
            "perimeter_km": 30.0,
            "perimeter_outer_km": 30.0,
            "perimeter_islands_km": 0.0,
            "n_islands": 0,
            "half_pixel_m": 15.0,
            "image_date": [dt.date(2003, 8, 1), None],
            "source_ids": [["a", "b"], []],
            "is_synthetic": False,
        }
    )
    scope = frame[["glacier_id", "inventory"]]
    partitions = [f"{g}|rgi7" for g in GLACIERS]
    warehouse.replace(Area, frame, scope, Stamp.now("r", "1"), asset="derived/area", partitions=partitions, gaps={})
    back = warehouse.rows(Area, scope.iloc[:1])
    assert back["image_date"].tolist() == [dt.date(2003, 8, 1)]
    assert back["source_ids"].tolist() == [["a", "b"]]
    again = warehouse.replace(
        Area, frame, scope, Stamp.now("r", "1"), asset="derived/area", partitions=partitions, gaps={}
    )
    assert again.same == 2


def test_another_model_version_is_refused_and_nothing_lost(warehouse: Warehouse) -> None:
    _write(warehouse, ["alpha"], MONTHS)
    with warehouse.get_connection() as connection:
        connection.execute("ALTER TABLE derived.temperature_monthly ADD COLUMN extra DOUBLE")
    with pytest.raises(WarehouseError, match="extra DOUBLE differ"):
        _write(warehouse, ["alpha"], MONTHS, shift=1.0)
    assert warehouse.query("SELECT count(*) AS n FROM derived.temperature_monthly")["n"][0] == 24


def test_not_a_database(tmp_path: Path) -> None:
    path = tmp_path / "warehouse.duckdb"
    path.write_text("<html>not found</html>" * 1000)
    with pytest.raises(WarehouseError, match=r"warehouse\.duckdb"):
        Warehouse(database=str(path), wait_seconds=1).query("SELECT 1")


def test_connection_is_closed_when_the_caller_raises(warehouse: Warehouse) -> None:
    with pytest.raises(ZeroDivisionError), warehouse.get_connection():
        1 / 0  # noqa: B018
    with warehouse.get_connection() as connection:
        connection.execute("SELECT 1")


def test_published_copy_is_whole_and_does_not_block(warehouse: Warehouse, tmp_path: Path) -> None:
    _write(warehouse, GLACIERS, MONTHS)
    target = tmp_path / "arctic.duckdb"
    warehouse.publish(target)
    with duckdb.connect(str(target), read_only=True) as reader:
        _write(warehouse, GLACIERS, MONTHS, shift=1.0, run="r2")
        warehouse.publish(target)
        assert reader.execute("SELECT count(*) FROM derived.temperature_monthly").fetchone() == (48,)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".warehouse.duckdb.lock", "arctic.duckdb", "warehouse.duckdb"]


def _writer(database: str, glacier: str) -> None:
    warehouse = Warehouse(database=database, wait_seconds=120)
    for month in MONTHS[:12]:
        _write(warehouse, [glacier], [month])


def _reader(database: str, stop: object) -> None:
    warehouse = Warehouse(database=database, wait_seconds=120)
    while not stop.is_set():  # type: ignore[attr-defined]
        _dump(warehouse)


def test_processes_write_and_read_at_once(warehouse: Warehouse) -> None:
    _write(warehouse, ["alpha"], ["2000-01"])
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    reader = context.Process(target=_reader, args=(warehouse.database, stop))
    writers = [context.Process(target=_writer, args=(warehouse.database, f"g{i}")) for i in range(3)]
    for process in [reader, *writers]:
        process.start()
    for process in writers:
        process.join()
    stop.set()
    reader.join()
    assert [p.exitcode for p in [reader, *writers]] == [0, 0, 0, 0]
    assert len(_dump(warehouse)) == 1 + 3 * 12


def test_killed_while_writing_leaves_whole_partitions(warehouse: Warehouse) -> None:
    _write(warehouse, ["g0"], MONTHS)
    context = multiprocessing.get_context("spawn")
    for delay in (0.0, 0.07):
        process = context.Process(target=_rewrite_forever, args=(warehouse.database,))
        process.start()
        while process.is_alive() and warehouse.query("FROM history.temperature_monthly LIMIT 1").empty:
            time.sleep(0.02)
        time.sleep(delay)
        os.kill(process.pid or 0, signal.SIGKILL)
        process.join()
        rows = _dump(warehouse)
        assert len(rows) == len(MONTHS)
        assert len((rows["t2m_c"] - [MONTHS.index(m) / 10 for m in rows["month"]]).round(6).unique()) == 1


def _rewrite_forever(database: str) -> None:
    warehouse = Warehouse(database=database)
    shift = 0.0
    while True:
        shift = (shift + 0.5) % 5
        _write(warehouse, ["g0"], MONTHS, shift=shift)


def test_reader_waits_in_the_same_process(warehouse: Warehouse) -> None:
    _write(warehouse, ["alpha"], MONTHS)
    seen: list[int] = []
    with warehouse.get_connection() as connection:
        connection.execute("SELECT 1")
        thread = threading.Thread(target=lambda: seen.append(len(_dump(warehouse))))
        thread.start()
        time.sleep(0.2)
        assert seen == []
    thread.join()
    assert seen == [24]
