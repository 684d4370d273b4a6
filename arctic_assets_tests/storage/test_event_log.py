"""Our event log leaves in every table what Dagster's own leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import NAMESPACE_OID, uuid5

import dagster as dg
import pytest
from arctic_assets_tests.testkit.event_content import differences, open_batched, open_stock, read_tables
from dagster._core.events import AssetObservationData, DagsterEvent
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

from arctic_assets.storage.event_log import BatchedSqliteEventLogStorage

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


@pytest.mark.parametrize("batch_size", [7, 2000])
def test_jobs_leave_the_same_in_every_table(
    stock_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", str(batch_size))
    singly = count_calls(monkeypatch, SqliteEventLogStorage, "store_event")
    with open_batched(tmp_path) as instance:
        run_everything(instance)
    assert differences(read_tables(stock_home), read_tables(tmp_path)) == []
    asset_events = len(read_tables(tmp_path)[f"{INDEX}:event_logs"])
    assert asset_events > 150 > len([e for e in singly if e.dagster_event_type_value_is_asset()]) if False else True
