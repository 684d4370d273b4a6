"""Dagster's SQLite event log, with the events of many partitions written in one transaction.

Belongs here: how Dagster's events are stored. What the events say, and where the files lie, does not
(see `arctic_assets.storage.instance`).

A run over N partitions of an asset has 2 N asset events: planned and materialized. Dagster hands them to the
storage in batches when `DAGSTER_EVENT_BATCH_SIZE` is set, but its SQLite storage takes a batch apart again and opens
a connection and commits at least twice per event. For the 7,680 partitions of the monthly temperature that is 258 s
on two cores, and 6.5 s here (`benchmarks/event_log.py`): a batch is one transaction, and what it leaves in every
table is what single writes would leave.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any

from dagster._core.events import DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus
from dagster._core.storage.event_log.schema import AssetCheckExecutionsTable, SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._serdes import ConfigurableClassData
from sqlalchemy import and_, func, select, text
from sqlalchemy.engine import Connection

_BATCHED_EVENTS = {
    DagsterEventType.ASSET_MATERIALIZATION,
    DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    DagsterEventType.ASSET_OBSERVATION,
    DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
}
_RUN_SHARD = "run_shard"
_SETTLED_SECONDS = 2.0


class BatchedSqliteEventLogStorage(SqliteEventLogStorage):
    """`SqliteEventLogStorage` whose batches of asset events are atomic and fast.

    The files are those of the stock storage: either can open what the other wrote. Only the order of the executions
    of a check differs (see `store_asset_check_event`).

    Creating the storage sets `DAGSTER_EVENT_BATCH_SIZE` unless it is set: Dagster reads nothing else, its default is
    no batches, and every process that writes events (daemon, code server, run) creates its storage first. A batch of
    2,000 events is 2 MB and holds the write lock for 0.2 to 0.6 s; other writers wait up to 30 s for it.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", "2000")
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedSqliteEventLogStorage:
        """Build this class; the stock method names its own."""
        return cls(inst_data=inst_data, **config_value)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store asset events of one run in one transaction; anything else one by one.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: the batch cannot be stored, and nothing of it is. Dagster then stores
                its events one by one (`DagsterInstance.handle_new_event`).
        """
        run_ids = {event.run_id for event in events}
        if len(run_ids) != 1 or any(event.dagster_event_type not in _BATCHED_EVENTS for event in events):
            super().store_event_batch(events)
            return
        rows = [self._event_to_row(event) for event in events]
        insert = SqlEventLogStorageTable.insert()
        with self._index_with_run_shard(run_ids.pop()) as conn:
            # The index comes first: its write lock is taken before that of the run, in every process.
            index_rows = insert.returning(SqlEventLogStorageTable.c.id, sort_by_parameter_order=True)
            event_ids = conn.execute(index_rows, rows).scalars().all()
            conn.execute(insert, rows, execution_options={"schema_translate_map": {None: _RUN_SHARD}})
            self._store_assets(conn, events, event_ids)
            self._store_planned_checks(conn, events, event_ids, rows)

    def get_logs_for_all_runs_by_log_id(
        self,
        after_cursor: int = -1,
        dagster_event_type: DagsterEventType | set[DagsterEventType] | None = None,
        limit: int | None = None,
    ) -> Mapping[int, EventLogEntry]:
        """As the stock storage, but for events of the last two seconds, which come with the next look.

        The daemon that tries failed runs again asks for this, and looks at each event once. Dagster stores the event
        of a failure before it writes the run's status: a look between the two would take the run for one that goes on.
        """
        found = super().get_logs_for_all_runs_by_log_id(after_cursor, dagster_event_type, limit)
        until = time.time() - _SETTLED_SECONDS
        return dict(takewhile(lambda one: one[1].timestamp < until, found.items()))

    def store_asset_check_event(self, event: EventLogEntry, event_id: int | None) -> None:
        """As the stock storage, but the check that was judged last becomes the latest, where stock takes the run that
        was planned last: of runs side by side that one may have judged a table that others had not finished. What a
        sensor judged belongs to no run, and is the latest as it is.
        """
        if event.run_id and event.dagster_event_type == DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.get_dagster_event().asset_check_evaluation_data
            row = AssetCheckExecutionsTable.c
            newest = select(func.max(row.id) + 1).scalar_subquery()
            planned = and_(
                row.asset_key == evaluation.asset_key.to_string(),
                row.check_name == evaluation.check_name,
                row.run_id == event.run_id,
                row.partition.is_not_distinct_from(evaluation.partition),
            )
            with self.index_connection() as conn:
                conn.execute(AssetCheckExecutionsTable.update().where(planned).values(id=newest))
        super().store_asset_check_event(event, event_id)

    @contextmanager
    def _index_with_run_shard(self, run_id: str) -> Iterator[Connection]:
        """A transaction on the index shard that sees the run's shard as schema `run_shard`.

        An exception rolls both back. SQLite commits the two files one after the other, so a process killed between
        the two commits leaves the batch in one of them, as a process killed between two single writes does.
        """
        with self.run_connection(run_id):
            pass  # creates the shard when these are the first events of the run
        with self.index_connection() as conn:
            conn.execute(text(f"ATTACH DATABASE :path AS {_RUN_SHARD}"), {"path": self.path_for_shard(run_id)})
            yield conn

    def _store_assets(self, conn: Connection, events: Sequence[EventLogEntry], event_ids: Sequence[int]) -> None:
        """Tags of every asset event, and the row in `asset_keys` that tells of an asset's latest ones.

        Events of one type write the same columns of `asset_keys`, so the last of each type decides.
        """
        self._store_asset_event_tags(conn, events, event_ids)
        last: dict[Any, dict[Any, tuple[int, EventLogEntry]]] = defaultdict(dict)
        for event, event_id in zip(events, event_ids, strict=True):
            last[event.get_dagster_event().asset_key][event.dagster_event_type] = (event_id, event)
        for of_asset in last.values():
            for event_id, event in sorted(of_asset.values()):
                self._store_asset_event(conn, event, event_id)

    def _store_planned_checks(
        self,
        conn: Connection,
        events: Sequence[EventLogEntry],
        event_ids: Sequence[int],
        rows: Sequence[Mapping[str, Any]],
    ) -> None:
        """A row in `asset_check_executions` per planned check, or per partition of a partitioned check."""
        executions = []
        for event, event_id, row in zip(events, event_ids, rows, strict=True):
            if event.dagster_event_type != DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
                continue
            planned = event.get_dagster_event().asset_check_planned_data
            subset = planned.partitions_subset
            executions += [
                {
                    "asset_key": planned.asset_key.to_string(),
                    "check_name": planned.check_name,
                    "partition": partition,
                    "run_id": event.run_id,
                    "execution_status": AssetCheckExecutionRecordStatus.PLANNED.value,
                    "evaluation_event": row["event"],
                    "evaluation_event_timestamp": row["timestamp"],
                    "evaluation_event_storage_id": event_id,
                }
                for partition in (subset.get_partition_keys() if subset else [None])
            ]
        if executions:
            conn.execute(AssetCheckExecutionsTable.insert(), executions)
