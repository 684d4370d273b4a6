"""Compare what Dagster's SQLite files hold after the same jobs ran on two storages.

Belongs here: opening the stock and our storage, reading every table, the differences. Which jobs run does not.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

Row = dict[str, Any]

_NO_TELEMETRY = {"telemetry": {"enabled": False}}
_BATCHED = {"module": "arctic_assets.storage.instance", "class": "HomeStorage"}
# What differs when the same job runs twice under one run id: the clock, and the random key of captured logs.
_RUN_TWICE = re.compile(r"time(stamp)?$|^duration_ms$|^migration_completed$|^log_key$")
# What differs when the same events are stored twice: when the row or the table was made.
_STORED_TWICE = re.compile(r"^create_timestamp$|^migration_completed$")
_CHECKS = "asset_check_executions"
"""Ours orders them by when they were judged, stock by when they were planned; `id` says no more than that."""
_DURATION = re.compile(r"\b(\d+m)?\d+(\.\d+)?m?s\b")


def open_stock(home: Path) -> dg.DagsterInstance:
    """An instance on Dagster's own SQLite storage, its files in `home / "dagster"`."""
    base_dir = home / "dagster"
    base_dir.mkdir(parents=True, exist_ok=True)
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(base_dir), overrides=_NO_TELEMETRY))


def open_batched(home: Path) -> dg.DagsterInstance:
    """An instance that differs from that of `open_stock` in the storage only."""
    base_dir = home / "dagster"
    base_dir.mkdir(parents=True, exist_ok=True)
    storage = {"storage": {"custom": {**_BATCHED, "config": {"base_dir": str(home)}}}}
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(base_dir), overrides=_NO_TELEMETRY | storage))


def read_tables(home: Path, *, same_events: bool = False) -> dict[str, list[Row]]:
    """All rows of all SQLite files below `home`, without what must differ.

    Args:
        home: as given to `open_stock` or `open_batched`.
        same_events: both storages were given the very same events, so that their times are compared too.

    Returns:
        `<file>:<table>` to its rows in the order of their row ids, those of checks in that of their events.
    """
    tables = {}
    for path in sorted((home / "dagster").rglob("*.db")):
        with closing(sqlite3.connect(path)) as conn:
            conn.row_factory = sqlite3.Row
            names = [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for name in sorted(names):
                order = "evaluation_event_storage_id, partition" if name == _CHECKS else "rowid"
                rows = conn.execute(f'SELECT * FROM "{name}" ORDER BY {order}').fetchall()
                tables[f"{path.relative_to(home)}:{name}"] = [
                    _normal(
                        {c: v for c, v in dict(row).items() if (name, c) != (_CHECKS, "id")},
                        _STORED_TWICE if same_events else _RUN_TWICE,
                    )
                    for row in rows
                ]
    return tables


def differences(stock: dict[str, list[Row]], ours: dict[str, list[Row]]) -> list[str]:
    """One line for each table or row that is not the same in both; empty when all is equal."""
    found = [f"{name}: in one storage only" for name in sorted(stock.keys() ^ ours.keys())]
    for name in sorted(stock.keys() & ours.keys()):
        if len(stock[name]) != len(ours[name]):
            found.append(f"{name}: {len(stock[name])} rows in stock, {len(ours[name])} in ours")
        pairs = enumerate(zip(stock[name], ours[name], strict=False))
        found += [f"{name} row {number}: {_unequal(a, b)}" for number, (a, b) in pairs if a != b]
    return found


def count_events(tables: dict[str, list[Row]]) -> int:
    """Rows of the event logs, of runs and index together."""
    return sum(len(rows) for name, rows in tables.items() if name.endswith(":event_logs"))


def _unequal(stock: Row, ours: Row) -> str:
    columns = [column for column in stock.keys() | ours.keys() if stock.get(column) != ours.get(column)]
    return "; ".join(f"{column} is {stock.get(column)} in stock, {ours.get(column)} in ours" for column in columns)


def _normal(value: Any, ignored: re.Pattern[str]) -> Any:
    if isinstance(value, dict):
        return {k: bool(v) if ignored.search(k) else _normal(v, ignored) for k, v in value.items()}
    if isinstance(value, list):
        return [_normal(item, ignored) for item in value]
    if not isinstance(value, str):
        return value
    if value.startswith(("{", "[")):
        with suppress(json.JSONDecodeError):
            return _normal(json.loads(value), ignored)
    return _DURATION.sub("<duration>", value)
