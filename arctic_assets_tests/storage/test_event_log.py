"""Our event log leaves in every table what Dagster's own leaves."""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with the class itself.

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.events import AssetObservationData, DagsterEvent
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import (
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from arctic_assets.storage.event_log import BatchedSqliteEventLogStorage
from arctic_assets_tests.testkit.event_content import differences, open_batched, open_stock, read_tables

INDEX = "dagster/history/runs/index.db"
MONTHS = dg.MonthlyPartitionsDefinition(start_date="1985-01-01", end_date="1986-01-01")
RECTANGLES = dg.MultiPartitionsDefinition(
    {"glacier": dg.StaticPartitionsDefinition(["academy", "austfonna", "barnes"]), "month": MONTHS}
)
REVISIONS = dg.DynamicPartitionsDefinition(name="revisions")
SINGLE_RUN = dg.BackfillPolicy.single_run()


@dg.asset(partitions_def=MONTHS, backfill_policy=SINGLE_RUN, code_version="1")
def era5(context: dg.AssetExecutionContext) -> None:
    for key in context.partition_keys:
        context.add_asset_metadata({"file": f"{key}.nc"}, partition_key=key)


@dg.asset(
    partitions_def=RECTANGLES,
    backfill_policy=SINGLE_RUN,
    check_specs=[dg.AssetCheckSpec("complete", asset="temperature")],
)
def temperature(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    if context.run.tags.get("fail"):
        raise ValueError("no temperature")
    for number, key in enumerate(context.partition_keys):
        context.add_asset_metadata({"rows": number}, partition_key=key)
    return dg.MaterializeResult(
        metadata={"mean_c": -7.25},
        tags={"method": "era5"},
        check_results=[dg.AssetCheckResult(passed=False, check_name="complete", metadata={"failed": 3})],
    )


@dg.asset(partitions_def=RECTANGLES, backfill_policy=SINGLE_RUN, deps=[temperature])
def melt() -> None: ...


@dg.asset_check(asset=melt)
def melt_is_positive() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset_check(asset=melt, partitions_def=RECTANGLES)
def melt_each() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@dg.asset(partitions_def=REVISIONS, backfill_policy=SINGLE_RUN)
def outline() -> None: ...


@dg.asset(deps=[melt, outline])
def export() -> None: ...


DEFS = dg.Definitions(
    assets=[era5, temperature, melt, outline, export],
    asset_checks=[melt_is_positive, melt_each],
    jobs=[
        dg.define_asset_job("months", [era5]),
        dg.define_asset_job("rectangles", dg.AssetSelection.assets(temperature, melt)),
        dg.define_asset_job("outlines", [outline]),
        dg.define_asset_job("exports", [export]),
    ],
)


def cells(first: str, last: str) -> dict[str, str]:
    """Tags of a run over all partitions between two corners."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def run(instance: dg.DagsterInstance, job: str, name: str, **kwargs: object) -> bool:
    """Run a job under a run id made from `name`; tell whether it succeeded."""
    result = DEFS.resolve_job_def(job).execute_in_process(
        instance=instance,
        run_id=str(uuid5(NAMESPACE_OID, name)),
        raise_on_error=False,
        **kwargs,  # type: ignore[arg-type]
    )
    return result.success


def run_everything(instance: dg.DagsterInstance) -> None:
    instance.add_dynamic_partitions("revisions", ["a", "b", "c"])
    rectangle = cells("austfonna|1985-02-01", "barnes|1985-05-01")
    assert run(instance, "months", "one month", partition_key="1985-03-01")
    assert run(instance, "months", "months", tags=cells("1985-01-01", "1985-12-01"))
    assert run(instance, "rectangles", "one cell", partition_key="barnes|1985-03-01")
    assert run(instance, "rectangles", "one row", tags=cells("academy|1985-01-01", "academy|1985-07-01"))
    assert run(instance, "rectangles", "rectangle", tags=rectangle)
    assert not run(instance, "rectangles", "failing", tags=rectangle | {"fail": "yes"})
    assert run(instance, "rectangles", "rectangle again", tags=rectangle)
    assert run(instance, "outlines", "outlines", tags=cells("a", "c"))
    assert run(instance, "exports", "export")


@pytest.fixture(autouse=True)
def no_batch_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "restored when the test ends")
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")


@pytest.fixture(scope="module")
def stock_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("stock")
    with pytest.MonkeyPatch.context() as patch, open_stock(home) as instance:
        patch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
        run_everything(instance)
    return home


def test_what_is_compared_holds_every_kind_of_content(stock_home: Path) -> None:
    tables = read_tables(stock_home)
    types = {row["dagster_event_type"] for name, rows in tables.items() if "event_logs" in name for row in rows}
    assert types >= {
        "ASSET_MATERIALIZATION_PLANNED",
        "ASSET_MATERIALIZATION",
        "ASSET_CHECK_EVALUATION_PLANNED",
        "ASSET_CHECK_EVALUATION",
        "STEP_FAILURE",
        "PIPELINE_SUCCESS",
        "PIPELINE_FAILURE",
    }
    assert len(tables[f"{INDEX}:asset_keys"]) == 5
    assert {row["execution_status"] for row in tables[f"{INDEX}:asset_check_executions"]} == {
        "PLANNED",
        "FAILED",
        "SUCCEEDED",
    }
    assert len(tables[f"{INDEX}:asset_event_tags"]) > 100
    assert len(tables[f"{INDEX}:dynamic_partitions"]) == 3


@pytest.fixture
def single_writes(monkeypatch: pytest.MonkeyPatch) -> list[EventLogEntry]:
    """The events that reach the stock method for one event."""
    stored: list[EventLogEntry] = []
    stock = SqliteEventLogStorage.store_event

    def store_event(self: SqliteEventLogStorage, event: EventLogEntry) -> None:
        stored.append(event)
        stock(self, event)

    monkeypatch.setattr(SqliteEventLogStorage, "store_event", store_event)
    return stored


@pytest.mark.parametrize("batch_size", [7, 2000])
def test_jobs_leave_the_same_in_every_table(
    stock_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    single_writes: list[EventLogEntry],
    batch_size: int,
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", str(batch_size))
    with open_batched(tmp_path) as instance:
        run_everything(instance)
    tables = read_tables(tmp_path)
    assert differences(read_tables(stock_home), tables) == []
    of_partitions = [row for row in tables[f"{INDEX}:event_logs"] if row["partition"]]
    assert len(of_partitions) > 10 * len([e for e in single_writes if e.dagster_event and e.dagster_event.partition])


def logs(home: Path, name: str) -> Sequence[EventLogEntry]:
    with open_stock(home) as instance:
        return instance.all_logs(str(uuid5(NAMESPACE_OID, name)))


def observations(events: Sequence[EventLogEntry]) -> list[EventLogEntry]:
    """An observation of the partition of each event."""
    return [
        event._replace(
            dagster_event=DagsterEvent(
                event_type_value=dg.DagsterEventType.ASSET_OBSERVATION.value,
                job_name="rectangles",
                event_specific_data=AssetObservationData(
                    dg.AssetObservation("temperature", partition=event.get_dagster_event().partition)
                ),
            )
        )
        for event in events
    ]


ASSET_EVENT_TYPES = {
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
}


def asset_events(home: Path, name: str) -> list[EventLogEntry]:
    found = [event for event in logs(home, name) if event.dagster_event_type in ASSET_EVENT_TYPES]
    return found + observations(found[-5:]) + found[:3]


BATCHES: dict[str, Callable[[Path], list[EventLogEntry]]] = {
    "every kind of asset event": lambda home: asset_events(home, "rectangle"),
    "a whole run": lambda home: list(logs(home, "rectangle")),
    "two runs": lambda home: asset_events(home, "one row") + asset_events(home, "rectangle"),
    "nothing": lambda home: [],
}


@pytest.mark.parametrize("batch", BATCHES)
def test_any_batch_leaves_the_same_as_single_writes(
    stock_home: Path, tmp_path: Path, single_writes: list[EventLogEntry], batch: str
) -> None:
    events = BATCHES[batch](stock_home)
    with open_stock(tmp_path / "stock") as stock:
        stock.event_log_storage.store_event_batch(events)
    assert len(single_writes) == len(events)
    with open_batched(tmp_path / "ours") as ours:
        ours.event_log_storage.store_event_batch(events)
    one_by_one = batch != "every kind of asset event"
    assert len(single_writes) == len(events) * (2 if one_by_one else 1)
    tables = read_tables(tmp_path / "ours", same_events=True)
    assert differences(read_tables(tmp_path / "stock", same_events=True), tables) == []


def test_a_batch_that_fails_leaves_nothing_and_is_written_singly(
    stock_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = BatchedSqliteEventLogStorage._store_planned_checks  # the last thing that a batch writes

    def write_and_fail(*args: Any) -> None:
        whole(*args)
        raise OSError("disk full")

    monkeypatch.setattr(BatchedSqliteEventLogStorage, "_store_planned_checks", write_and_fail)
    events = asset_events(stock_home, "rectangle")
    with open_batched(tmp_path / "direct") as instance:
        instance.event_log_storage.store_event(events[0])
        before = read_tables(tmp_path / "direct")
        with pytest.raises(OSError, match="disk full"):
            instance.event_log_storage.store_event_batch(events)
    assert read_tables(tmp_path / "direct") == before

    for name, open_instance in {"stock": open_stock, "ours": open_batched}.items():
        with open_instance(tmp_path / name) as instance:
            assert run(instance, "rectangles", "small", tags=cells("academy|1985-01-01", "academy|1985-03-01"))
    assert "Falling back to storing multiple single-event storage requests" in capsys.readouterr().err
    assert differences(read_tables(tmp_path / "stock"), read_tables(tmp_path / "ours")) == []


def test_listeners_hear_every_event(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: dict[str, list[tuple[str | None, str | None]]] = {}
    for name, open_instance in {"stock": open_stock, "ours": open_batched}.items():
        entries: list[EventLogEntry] = []
        with open_instance(tmp_path / name) as instance:
            instance.add_event_listener(str(uuid5(NAMESPACE_OID, "listened")), entries.append)
            assert run(instance, "months", "listened", tags=cells("1985-01-01", "1985-12-01"))
        events = [entry.dagster_event for entry in entries if entry.dagster_event]
        heard[name] = [(event.event_type_value, event.partition) for event in events]
    assert len([kind for kind, _ in heard["ours"] if kind == "ASSET_MATERIALIZATION"]) == 12
    assert heard["ours"] == heard["stock"]


def test_watchers_of_a_run_see_a_batch(stock_home: Path, tmp_path: Path) -> None:
    events = asset_events(stock_home, "rectangle")
    seen: list[EventLogEntry] = []
    with open_batched(tmp_path) as instance:
        instance.watch_event_logs(events[0].run_id, None, lambda event, cursor: seen.append(event))
        instance.event_log_storage.store_event_batch(events)
        deadline = time.monotonic() + 20
        while len(seen) < len(events) and time.monotonic() < deadline:
            time.sleep(0.05)
    assert seen == events


def assert_consistent(home: Path, runs: Sequence[str]) -> None:
    """The index shard holds what the runs' shards hold, once, and what refers to it fits."""
    tables = read_tables(home, same_events=True)
    index = {row["id"]: row for row in tables[f"{INDEX}:event_logs"]}
    for run_id in runs:
        shard = [row["event"] for row in tables[f"dagster/history/runs/{run_id}.db:event_logs"] if row["asset_key"]]
        mirrored = [row["event"] for row in index.values() if row["run_id"] == run_id and row["asset_key"]]
        assert shard == mirrored
        assert len(shard) > 20
    tags = tables[f"{INDEX}:asset_event_tags"]
    assert len(tags) >= 20 * len(runs)
    for tag in tags:
        materialization = index[tag["event_id"]]["event"]["dagster_event"]["event_specific_data"]["materialization"]
        assert materialization["tags"][tag["key"]] == tag["value"]
    for asset in tables[f"{INDEX}:asset_keys"]:
        of_asset = [row for row in index.values() if row["asset_key"] == asset["asset_key"]]
        last = max(row["id"] for row in of_asset if row["dagster_event_type"] == "ASSET_MATERIALIZATION")
        assert asset["last_materialization"]["storage_id"] == last
        assert asset["last_materialization"]["event_log_entry"] == index[last]["event"]


def test_processes_that_write_at_once(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from arctic_assets_tests.storage.test_event_log import cells, open_batched, run\n"
        "with open_batched(Path(sys.argv[1])) as instance:\n"
        "    for name in sys.argv[2:]:\n"
        "        assert run(instance, 'rectangles', name, tags=cells('academy|1985-01-01', 'barnes|1985-10-01'))\n"
    )
    names = [["a1", "a2"], ["b1", "b2"], ["c1", "c2"]]
    with open_batched(tmp_path):
        pass  # Dagster's run storage cannot be created by several processes at once
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), *names_of_one],
            cwd=Path(__file__).parents[2],
            env=os.environ | {"DAGSTER_EVENT_BATCH_SIZE": "5"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for names_of_one in names
    ]
    for process in processes:
        error = process.communicate(timeout=300)[1]
        assert process.returncode == 0, error[-3000:]
        assert "Falling back" not in error
    assert_consistent(tmp_path, [str(uuid5(NAMESPACE_OID, name)) for names_of_one in names for name in names_of_one])


def test_threads_that_write_at_once(stock_home: Path, tmp_path: Path) -> None:
    events = [event for event in asset_events(stock_home, "rectangle") if event.get_dagster_event().asset_key]
    runs = [str(uuid5(NAMESPACE_OID, f"thread {number}")) for number in range(8)]
    with open_batched(tmp_path) as instance, ThreadPoolExecutor(4) as pool:
        store = instance.event_log_storage.store_event_batch
        list(pool.map(store, [[event._replace(run_id=run_id) for event in events] for run_id in runs]))
    assert_consistent(tmp_path, runs)


def test_a_failure_is_tried_again_only_when_its_status_is_written_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon looks at each event once: it must not see one before the run is said to have failed."""
    with open_batched(tmp_path) as instance:
        failed = instance.add_run(dg.DagsterRun("job", status=dg.DagsterRunStatus.STARTED))
        instance.report_run_failed(failed)

        def look() -> list[str]:
            kind = dg.DagsterEventType.RUN_FAILURE
            found = instance.event_log_storage.get_logs_for_all_runs_by_log_id(0, dagster_event_type={kind})
            return [event.run_id for event in found.values()]

        assert look() == []
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 3)
        assert look() == [failed.run_id]


@pytest.mark.parametrize("judged_last", ["a", "b"])
def test_the_check_that_was_judged_last_is_the_latest(tmp_path: Path, judged_last: str) -> None:
    """Two runs side by side, planned one after the other: whichever ends last has seen what both wrote."""
    key = dg.AssetCheckKey(dg.AssetKey("melt"), "positive")
    runs = {name: str(uuid5(NAMESPACE_OID, name)) for name in ("a", "b")}
    with open_batched(tmp_path) as instance:

        def event(run: str, kind: dg.DagsterEventType, data: object) -> None:
            instance.report_dagster_event(DagsterEvent(kind.value, "job", event_specific_data=data), runs[run])  # type: ignore[arg-type]

        def latest() -> list[AssetCheckExecutionRecord]:
            storage = instance.event_log_storage
            summary = storage.get_asset_check_summary_records([key])[key]
            assert summary.last_check_execution_record and summary.last_completed_check_execution_record
            history = storage.get_asset_check_execution_history(key, limit=9)
            assert len(history) == 2
            return [
                storage.get_latest_asset_check_execution_by_key([key])[key],
                history[0],
                summary.last_check_execution_record,
                summary.last_completed_check_execution_record,
            ]

        for run in runs:
            event(
                run,
                dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED,
                AssetCheckEvaluationPlanned(asset_key=key.asset_key, check_name=key.name),
            )
        for run in sorted(runs, key=lambda run: run == judged_last):
            found = dg.AssetCheckEvaluation(key.asset_key, key.name, passed=run == judged_last)
            event(run, dg.DagsterEventType.ASSET_CHECK_EVALUATION, found)
            assert {record.run_id for record in latest()} == {runs[run]}
        assert {record.status for record in latest()} == {AssetCheckExecutionRecordStatus.SUCCEEDED}


def test_the_storage_turns_batching_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    BatchedSqliteEventLogStorage(str(tmp_path))
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "2000"
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    BatchedSqliteEventLogStorage(str(tmp_path))
    assert os.environ["DAGSTER_EVENT_BATCH_SIZE"] == "0"


def test_the_class_can_be_named_in_a_configuration(tmp_path: Path) -> None:
    storage = BatchedSqliteEventLogStorage.from_config_value(None, {"base_dir": str(tmp_path)})
    assert type(storage) is BatchedSqliteEventLogStorage
    assert (tmp_path / "index.db").is_file()
