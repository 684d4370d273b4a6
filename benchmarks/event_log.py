"""Bookkeeping of one run over 16 x 480 partitions: Dagster's SQLite event log and ours, and that both store the same.

    python benchmarks/event_log.py [--partitions 7680]

The asset does nothing, so that all the time is Dagster's: planning, executing and storing two events per partition.
"""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with the class itself.

import argparse
import os
import sys
import tempfile
import time
import warnings
from pathlib import Path
from uuid import uuid4

import dagster as dg

sys.path.insert(0, str(Path(__file__).parents[1]))
from arctic_assets_tests.testkit import event_content

GLACIERS = [f"g{number:02d}" for number in range(16)]
QUIET = {"loggers": {"console": {"config": {"log_level": "ERROR"}}}}


def build_job(months: list[str]) -> dg.JobDefinition:
    """One partitioned asset without work."""
    partitions = dg.MultiPartitionsDefinition(
        {"glacier": dg.StaticPartitionsDefinition(GLACIERS), "month": dg.StaticPartitionsDefinition(months)}
    )

    @dg.asset(partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
    def temperature(context: dg.AssetExecutionContext) -> None:
        assert len(context.partition_keys) == len(GLACIERS) * len(months)

    return dg.Definitions(assets=[temperature]).resolve_implicit_global_asset_job_def()


def measure(instance: dg.DagsterInstance, months: list[str], run_id: str) -> float:
    """Seconds of one run over all partitions."""
    tags = {
        "dagster/asset_partition_range_start": f"{GLACIERS[0]}|{months[0]}",
        "dagster/asset_partition_range_end": f"{GLACIERS[-1]}|{months[-1]}",
    }
    job = build_job(months)
    begin = time.perf_counter()
    job.execute_in_process(instance=instance, run_id=run_id, tags=tags, run_config=QUIET)
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--partitions", type=int, default=7680, help=f"a multiple of {len(GLACIERS)}")
    partitions = parser.parse_args().partitions
    if partitions < len(GLACIERS) or partitions % len(GLACIERS):
        parser.error(f"--partitions: expected a multiple of {len(GLACIERS)}, got {partitions}")
    months = [f"{1985 + m // 12}-{m % 12 + 1:02d}" for m in range(partitions // len(GLACIERS))]
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    run_id = str(uuid4())
    seconds, tables = {}, {}
    storages = {"ours": event_content.open_batched, "stock": event_content.open_stock}
    with tempfile.TemporaryDirectory() as scratch:
        for name, open_instance in storages.items():
            home = Path(scratch) / name
            with open_instance(home) as instance:
                seconds[name] = measure(instance, months, run_id)
            tables[name] = event_content.read_tables(home)
            os.environ.pop("DAGSTER_EVENT_BATCH_SIZE", None)  # our storage sets it; stock is measured without
            print(f"{name:5} {seconds[name]:8.2f} s for {partitions} partitions in one run", flush=True)
    print(f"ratio {seconds['stock'] / seconds['ours']:8.1f}")
    events, rows = event_content.count_events(tables["ours"]), sum(map(len, tables["ours"].values()))
    found = event_content.differences(tables["stock"], tables["ours"])
    print(f"compared {events} events (run and index) and all {rows} rows of {len(tables['ours'])} tables")
    print("\n".join(["content differs", *found[:20]]) if found else "content is equal")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
