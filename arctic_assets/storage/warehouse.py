"""The DuckDB warehouse: tables made from their models, written partition by partition, nothing lost.

One file with three schemas: `derived` (the tables of `arctic_assets.tables`), `history` (rows that were replaced,
with when and by which run) and `provenance` (source files, gaps). What a write guarantees:

- the frame is checked against its model before the file is opened: a violation writes nothing;
- exactly the partitions of the run are replaced, in one transaction; rows that came out the same stay untouched,
  so running twice changes nothing; changed and vanished rows move to `history`;
- the file is open only for the write itself. DuckDB lets one process write at a time and nobody read meanwhile,
  so both sides wait for each other, with jitter, and say so in the log.

Readers outside a run take the published copy (`Warehouse.publish`), which no writer blocks.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import logging
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pandera.pandas as pa
import pyarrow as arrow
from dagster_duckdb import DuckDBResource
from filelock import FileLock, Timeout
from pydantic import Field

from arctic_assets.errors import TableError, WarehouseError
from arctic_assets.provenance import SourceObject
from arctic_assets.tables import TABLES, Gap, Table, violations
from arctic_assets.tables import SourceObject as SourceObjectTable
from arctic_assets.tables.base import Column, columns_of, explain

log = logging.getLogger(__name__)

_ARROW_TYPES: dict[str, arrow.DataType] = {
    "VARCHAR": arrow.string(),
    "DOUBLE": arrow.float64(),
    "BIGINT": arrow.int64(),
    "BOOLEAN": arrow.bool_(),
    "BLOB": arrow.binary(),
    "DATE": arrow.date32(),
    "TIMESTAMP": arrow.timestamp("us"),
    "VARCHAR[]": arrow.list_(arrow.string()),
    "DOUBLE[]": arrow.list_(arrow.float64()),
}
_SILENT_SECONDS = 1.0
"""Waiting for others is said in the log when it takes longer."""
_HISTORY_COLUMNS = "superseded_at TIMESTAMP NOT NULL, superseded_by VARCHAR NOT NULL"


@dataclass(frozen=True)
class Stamp:
    """Who writes: the same for all rows of one write."""

    run_id: str
    code_version: str
    recorded_at: dt.datetime

    @classmethod
    def now(cls, run_id: str, code_version: str) -> Stamp:
        """A stamp with the present time, UTC."""
        return cls(run_id, code_version, _now())


@dataclass(frozen=True)
class Written:
    """What one write did to the rows of its partitions."""

    new: int
    changed: int
    removed: int
    same: int

    @property
    def rows(self) -> int:
        """Rows in these partitions now."""
        return self.new + self.changed + self.same


class Warehouse(DuckDBResource):
    """The DuckDB file as a Dagster resource.

    Extends `DuckDBResource`, which as it stands always opens read-write and keeps the lock when the caller raises.
    """

    wait_seconds: float = Field(
        default=300.0, description="How long to wait while another process holds the file, seconds"
    )

    @contextmanager
    def get_connection(self, read_only: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
        """An open connection, closed in any case.

        Args:
            read_only: do not create the file and do not write.

        Raises:
            WarehouseError: another process held the file for longer than `wait_seconds`, or it is no DuckDB file.
        """
        with nullcontext() if read_only else self._turn("lock", "writes to the warehouse"):
            connection = self._connect(read_only)
            try:
                yield connection
            finally:
                connection.close()

    @contextmanager
    def judging(self, model: type[Table]) -> Iterator[None]:
        """A turn to judge a table: of several processes the last one sees all that the others wrote before theirs.

        Raises:
            WarehouseError: another process judged it for longer than `wait_seconds`.
        """
        with self._turn(f"check_{model.table()}", f"judges {model.table()}"):
            yield

    @contextmanager
    def _turn(self, name: str, what: str) -> Iterator[None]:
        """Our processes take turns by a lock of their own: they wake as soon as it is free, where DuckDB only refuses.

        Args:
            name: of the lock, beside the file.
            what: the others do meanwhile, for the log.
        """
        path = Path(self.database)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path.with_name(f".{path.name}.{name}"), poll_interval=0.01)
        try:
            lock.acquire(timeout=_SILENT_SECONDS)
        except Timeout:
            log.info("waiting for another process that %s", what)
            try:
                lock.acquire(timeout=self.wait_seconds)
            except Timeout as error:
                raise WarehouseError(
                    "no turn at the warehouse",
                    where=path,
                    expected=f"a turn within {self.wait_seconds:g} s",
                    got=f"another process of ours that {what}",
                    todo="look at the runs that are under way; start this one again when they have ended",
                ) from error
        try:
            yield
        finally:
            lock.release()

    def _connect(self, read_only: bool) -> duckdb.DuckDBPyConnection:
        path = Path(self.database)
        began = time.monotonic()
        said = False
        while True:
            try:
                return duckdb.connect(self.database, read_only=read_only, config=self.connection_config)
            except (duckdb.IOException, duckdb.ConnectionException) as error:
                text = str(error)
                busy = "lock" in text or "different configuration" in text or "Unique file handle" in text
                if not busy or time.monotonic() > began + self.wait_seconds:
                    raise WarehouseError(
                        "the warehouse cannot be opened",
                        where=path,
                        expected=f"a DuckDB file that no other process holds for more than {self.wait_seconds:g} s",
                        got=text.splitlines()[0],
                        todo="close the program that holds it; people read the published copy instead"
                        if busy
                        else "check that the path is right and the file is a DuckDB database",
                    ) from error
                if not said and time.monotonic() > began + _SILENT_SECONDS:
                    log.info("waiting for the warehouse: %s", text.splitlines()[0])
                    said = True
                time.sleep(random.uniform(0.005, 0.05))  # jitter: two waiting processes must not stay in step

    def query(self, sql: str, parameters: Sequence[object] | Mapping[str, object] | None = None) -> pd.DataFrame:
        """Rows of a query, read-only. A list column holds Python lists."""
        with self.get_connection(read_only=True) as connection:
            return _frame(connection.sql(sql, params=parameters or None))

    def exists(self, table: str) -> bool:
        """Whether the file and the table (`schema.name`) are there."""
        return self._select(f"SELECT 1 FROM {table} LIMIT 0") is not None

    def rows(self, model: type[Table], scope: pd.DataFrame | None = None) -> pd.DataFrame:
        """Rows of a table, sorted by key.

        Args:
            model: the table's model.
            scope: rows that share the values of all its columns are taken; None for all.

        Returns:
            Frame with the model's columns; empty when nothing was written yet.
        """
        inside = "" if scope is None else f"SEMI JOIN scope USING ({', '.join(scope.columns)})"
        found = self._select(f"SELECT * FROM derived.{model.table()} {inside} ORDER BY {', '.join(model.key())}", scope)
        return model.no_rows() if found is None else model.conform(found)

    def distinct(self, model: type[Table], *columns: str) -> pd.DataFrame:
        """The distinct values of some columns of a table, sorted; empty when nothing was written yet."""
        listed = ", ".join(columns)
        found = self._select(f"SELECT DISTINCT {listed} FROM derived.{model.table()} ORDER BY {listed}")
        return model.no_rows()[list(columns)] if found is None else found

    def gaps(self, asset: str | None = None) -> pd.DataFrame:
        """The gaps (asset, partition, reason, checked_at), all or of one asset, sorted."""
        only = "" if asset is None else f"WHERE asset = {_quoted(asset)}"
        found = self._select(f"SELECT * FROM provenance.gap {only} ORDER BY asset, partition")
        return pd.DataFrame({c.name: [] for c in columns_of(Gap)}) if found is None else found

    def sources(self) -> pd.DataFrame:
        """All archived files that rows refer to, sorted."""
        found = self._select("SELECT * FROM provenance.source_object ORDER BY source_id")
        return pd.DataFrame({c.name: [] for c in columns_of(SourceObjectTable)}) if found is None else found

    def _select(self, sql: str, scope: pd.DataFrame | None = None) -> pd.DataFrame | None:
        """Rows of a query that may use `scope`; None when its table, or the file, is not there yet."""
        if not Path(self.database).exists():
            return None
        with self.get_connection(read_only=True) as connection:
            if scope is not None:
                connection.register("scope", arrow.Table.from_pandas(scope.drop_duplicates(), preserve_index=False))
            try:
                return _frame(connection.sql(sql))
            except duckdb.CatalogException:
                return None

    def replace(
        self,
        model: type[Table],
        frame: pd.DataFrame,
        scope: pd.DataFrame,
        stamp: Stamp,
        *,
        asset: str,
        partitions: Sequence[str],
        gaps: Mapping[str, str],
    ) -> Written:
        """Replace the rows of some partitions, in one transaction.

        Args:
            model: the table's model.
            frame: all rows of these partitions, without the columns of the stamp.
            scope: the partitions, as values of `model.partition_columns()`; ignored for an unpartitioned table.
            stamp: who writes.
            asset: asset key, for the gaps.
            partitions: partition keys of the run, for the gaps.
            gaps: reason for each partition without data.

        Raises:
            TableError: the frame violates the model, or has rows outside `scope`. Nothing is written.
        """
        stamped = model.conform(frame.assign(**vars(stamp)))
        broken = violations(model, stamped)
        if broken:
            raise TableError(
                f"{len(broken)} rule(s) of the table {model.table()} are broken; nothing was written",
                where=f"derived.{model.table()}",
                expected="; ".join(f.rule for f in broken),
                got=explain(broken),
                todo="look at the source files of these rows (source_ids), or at the limits in arctic_assets/tables",
            )
        by = model.partition_columns()
        if by:
            outside = stamped[by].merge(scope.drop_duplicates(), on=by, how="left", indicator=True)["_merge"] != "both"
            if outside.any():
                raise TableError(
                    f"rows of {model.table()} lie outside the partitions of the run; nothing was written",
                    where=asset,
                    expected=f"only the {len(scope)} partitions of the run",
                    got=stamped.loc[outside.to_numpy(), by].head(5).to_dict("records"),
                    todo="the asset must return rows for its own partition keys only",
                )
        with self._transaction() as connection:
            _ensure(connection, model)
            written = _replace_rows(connection, model, stamped, scope, stamp)
            _replace_gaps(connection, asset, partitions, gaps, stamp.recorded_at)
        return written

    def record(
        self,
        sources: Sequence[SourceObject],
        *,
        asset: str,
        partitions: Sequence[str],
        gaps: Mapping[str, str],
    ) -> None:
        """Note archived files and the gaps of a raw asset, in one transaction."""
        with self._transaction() as connection:
            columns = columns_of(SourceObjectTable)
            if sources:
                frame = pd.DataFrame([vars(s) for s in sources])
                frame["retrieved_at"] = pd.to_datetime(frame["retrieved_at"], utc=True).dt.tz_localize(None)
                connection.register("incoming", _arrow(frame, columns))
                _run(connection, "INSERT INTO provenance.source_object BY NAME FROM incoming ON CONFLICT DO NOTHING")
            _replace_gaps(connection, asset, partitions, gaps, _now())

    def fingerprint(self) -> str:
        """A text that changes when, and only when, values or gaps change: not with who wrote them and when."""
        return self._fingerprints("''", TABLES, "true").get("", "")

    def fingerprints(self, models: Sequence[type[Table]]) -> dict[str, str]:
        """As `fingerprint`, by glacier id, of some tables; a glacier without rows and gaps in them has none."""
        assets = ", ".join(_quoted(f"derived/{model.table()}") for model in models)
        return self._fingerprints("glacier_id", models, f"asset IN ({assets})")

    def _fingerprints(self, by: str, models: Sequence[type[Table]], gaps: str) -> dict[str, str]:
        """Fingerprints by the values of an expression in `glacier_id`; `gaps` says which gaps count."""
        if not Path(self.database).exists():
            return {}
        parts: dict[str, list[tuple[Any, ...]]] = {}
        with self.get_connection(read_only=True) as connection:
            there = {name for (name,) in _run(connection, "SELECT table_name FROM duckdb_tables()")}
            hashed = {
                model.table(): (f"derived.{model.table()}", ", ".join(model.value_columns()))
                for model in models
                if model.table() in there
            }
            if "gap" in there:
                own = f"(SELECT *, split_part(partition, '|', 1) AS glacier_id FROM provenance.gap WHERE {gaps})"
                hashed["gap"] = own, "asset, partition, reason"
            for name, (source, columns) in hashed.items():
                digest = f"SELECT {by} AS part, count(*), bit_xor(hash(row({columns}))) FROM {source} GROUP BY part"
                for part, *found in _run(connection, digest):
                    parts.setdefault(part, []).append((name, *found))
        return {part: hashlib.sha256(repr(found).encode()).hexdigest()[:16] for part, found in parts.items()}

    def publish(self, target: Path) -> None:
        """Give readers a whole copy at `target`, replaced at once.

        The copy is made while this process holds the file, so it never shows half a write. A child makes it: a process
        that opens and closes a file loses the locks it has on it (POSIX), and DuckDB's with them.
        """
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        copy = [sys.executable, "-I", "-S", "-c", "import shutil, sys; shutil.copyfile(*sys.argv[1:])"]
        with self.get_connection() as connection:
            _run(connection, "CHECKPOINT")
            subprocess.run([*copy, self.database, str(temporary)], check=True)
        os.replace(temporary, target)

    @contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self.get_connection() as connection:
            connection.begin()
            try:
                for schema in ("derived", "history", "provenance"):
                    _run(connection, f"CREATE SCHEMA IF NOT EXISTS {schema}")
                _create(connection, "provenance.source_object", SourceObjectTable, columns_of(SourceObjectTable))
                _create(connection, "provenance.gap", Gap, columns_of(Gap))
                yield connection
                connection.commit()
            except BaseException:
                connection.rollback()
                raise


def _run(
    connection: duckdb.DuckDBPyConnection, sql: str, parameters: Sequence[object] | Mapping[str, object] | None = None
) -> list[tuple[Any, ...]]:
    """Execute and fetch all: DuckDB refuses the next statement while a result is unfinished."""
    return connection.execute(sql, parameters).fetchall()


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)


def _ensure(connection: duckdb.DuckDBPyConnection, model: type[Table]) -> None:
    """The table and its history as the model says; a stored table that differs is refused, not guessed at."""
    table = model.table()
    columns = model.columns()
    _create(connection, f"derived.{table}", model, columns)
    nullable = ", ".join(f"{c.name} {c.duckdb_type}" for c in columns)
    _run(connection, f"CREATE TABLE IF NOT EXISTS history.{table} ({nullable}, {_HISTORY_COLUMNS})")
    stored = dict(
        _run(
            connection,
            "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = 'derived' AND table_name = ?",
            [table],
        )
    )
    wanted = {c.name: c.duckdb_type for c in columns}
    if stored != wanted:
        differing = sorted(set(stored.items()) ^ set(wanted.items()))
        raise WarehouseError(
            f"the stored table {table} was made by another version of its model",
            where=f"derived.{table}",
            expected=", ".join(f"{name} {kind}" for name, kind in wanted.items()),
            got=", ".join(f"{name} {kind}" for name, kind in differing) + " differ",
            todo="move the warehouse file away and build again: the archive keeps the raw files, so nothing is fetched",
        )


def _create(
    connection: duckdb.DuckDBPyConnection, name: str, model: type[pa.DataFrameModel], columns: Sequence[Column]
) -> None:
    schema, table = name.split(".")
    found = _run(connection, "SELECT 1 FROM duckdb_tables() WHERE schema_name = ? AND table_name = ?", [schema, table])
    if found:
        return
    key = [c.name for c in columns if c.key]
    lines = [f"{c.name} {c.duckdb_type}{'' if c.nullable else ' NOT NULL'}" for c in columns]
    _run(connection, f"CREATE TABLE {name} ({', '.join(lines)}, PRIMARY KEY ({', '.join(key)}))")
    _run(connection, f"COMMENT ON TABLE {name} IS {_quoted(' '.join((model.__doc__ or '').split()))}")
    for c in columns:
        unit = f" [{c.unit}]" if c.unit else ""
        _run(connection, f"COMMENT ON COLUMN {name}.{c.name} IS {_quoted(c.description + unit)}")


def _replace_rows(
    connection: duckdb.DuckDBPyConnection,
    model: type[Table],
    frame: pd.DataFrame,
    scope: pd.DataFrame,
    stamp: Stamp,
) -> Written:
    table = model.table()
    names = [c.name for c in model.columns()]
    key = ", ".join(model.key())
    by = model.partition_columns()
    connection.register("incoming", _arrow(frame, model.columns()))
    if by:
        connection.register("scope", arrow.Table.from_pandas(scope[by].drop_duplicates(), preserve_index=False))
        inside = f"SEMI JOIN scope USING ({', '.join(by)})"
    else:
        inside = ""
    _run(connection, f"CREATE TEMP TABLE held AS SELECT * FROM derived.{table} {inside}")
    differs = " OR ".join(f"held.{c} IS DISTINCT FROM incoming.{c}" for c in model.value_columns())
    _run(
        connection, f"CREATE TEMP TABLE changed AS SELECT held.* FROM held JOIN incoming USING ({key}) WHERE {differs}"
    )
    _run(connection, f"CREATE TEMP TABLE vanished AS SELECT * FROM held ANTI JOIN incoming USING ({key})")
    _run(
        connection,
        f"INSERT INTO history.{table} BY NAME "
        "SELECT *, $at::TIMESTAMP AS superseded_at, $by AS superseded_by "
        "FROM (FROM changed UNION ALL FROM vanished)",
        {"at": stamp.recorded_at, "by": stamp.run_id},
    )
    same_key = " AND ".join(f"t.{k} = v.{k}" for k in model.key())
    _run(connection, f"DELETE FROM derived.{table} t USING vanished v WHERE {same_key}")
    updates = ", ".join(f"{c} = excluded.{c}" for c in names if c not in model.key())
    _run(
        connection,
        f"INSERT INTO derived.{table} BY NAME SELECT * FROM incoming SEMI JOIN changed USING ({key}) "
        f"ON CONFLICT DO UPDATE SET {updates}",
    )
    _run(connection, f"INSERT INTO derived.{table} BY NAME SELECT * FROM incoming ANTI JOIN held USING ({key})")
    counts = _run(
        connection,
        "SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM changed), (SELECT count(*) FROM vanished)",
    )
    for name in ("held", "changed", "vanished"):
        _run(connection, f"DROP TABLE {name}")
    held, changed, removed = counts[0]
    same = held - changed - removed
    return Written(new=len(frame) - changed - same, changed=changed, removed=removed, same=same)


def _replace_gaps(
    connection: duckdb.DuckDBPyConnection,
    asset: str,
    partitions: Sequence[str],
    gaps: Mapping[str, str],
    at: dt.datetime,
) -> None:
    """Gaps of these partitions; one that stays for the same reason keeps the date it was first found."""
    found = pd.DataFrame({"asset": asset, "partition": list(gaps), "reason": list(gaps.values()), "checked_at": at})
    connection.register("found", _arrow(found, columns_of(Gap)))
    connection.register("asked", arrow.table({"partition": arrow.array(list(partitions), arrow.string())}))
    _run(
        connection,
        "DELETE FROM provenance.gap g USING asked a WHERE g.asset = ? AND g.partition = a.partition "
        "AND NOT EXISTS (FROM found f WHERE f.partition = g.partition AND f.reason = g.reason)",
        [asset],
    )
    _run(
        connection,
        "INSERT INTO provenance.gap BY NAME "
        "SELECT * FROM found ANTI JOIN provenance.gap USING (asset, partition, reason) "
        "ON CONFLICT DO UPDATE SET reason = excluded.reason, checked_at = excluded.checked_at",
    )


def _arrow(frame: pd.DataFrame, columns: Sequence[Column]) -> arrow.Table:
    schema = arrow.schema([(c.name, _ARROW_TYPES[c.duckdb_type]) for c in columns])
    return arrow.Table.from_pandas(frame[[c.name for c in columns]], schema=schema, preserve_index=False)


def _frame(found: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    table: Any = found.to_arrow_table()
    frame: pd.DataFrame = table.to_pandas(date_as_object=True)
    for name, kind in zip(table.schema.names, table.schema.types, strict=True):
        if arrow.types.is_list(kind):
            lists: Any = pd.Series([None if v is None else list(v) for v in frame[name]], dtype=object)
            frame[name] = lists
    return frame


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
