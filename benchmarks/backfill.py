"""The backfill button for all monthly partitions of all glaciers: our settings of Dagster against its own.

    python benchmarks/backfill.py [--months 12] [--home <a finished home of the sample>]

Webserver, daemon and code server run as `dagster dev` starts them; the backfill is launched by GraphQL as the UI does.
Both work on a copy of the same finished home, so that reading, computing and comparing are done and nothing is
written but Dagster's records, which start empty. Ours is the `dagster.yaml` of this repository and `build_defs`. Stock
is a `DAGSTER_HOME` whose `dagster.yaml` turns off telemetry and nothing else (SQLite storage, ten runs at once), and
the multiprocess executor. The daemon looks for backfills every 30 s: both are launched half-way between two looks and
wait 15 s, as a user does on average. Times are those that Dagster recorded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform
from arctic_assets_tests.testkit.ui import Ui, dagster_dev

MONTHLY = "derived/temperature_monthly"
WAIT_SECONDS = 7200
DAEMON_SECONDS = 30
"""Between two looks of the daemon for backfills; its first one is when `dagster dev` becomes ready."""
_TIMES = """query($id: String!, $key: AssetKeyInput!) {
    partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill {
        timestamp endTimestamp runs { creationTime startTime endTime }
    } }
    assetNodeOrError(assetKey: $key) { ... on AssetNode { assetMaterializations(limit: 500) { timestamp } } }
}"""


@dataclass(frozen=True)
class Timeline:
    """Seconds after the mutation.

    Attributes:
        first_run: the daemon created the first run.
        last_partition: the last materialisation event.
        last_run: the last run ended, its checks included.
        completed: the daemon saw it and the backfill is COMPLETED_SUCCESS.
        runs: how many.
    """

    first_run: float
    last_partition: float
    last_run: float
    completed: float
    runs: int

    @classmethod
    def of(cls, ui: Ui, backfill_id: str) -> Timeline:
        """Of a backfill that has ended."""
        answer = ui.ask(_TIMES, id=backfill_id, key={"path": MONTHLY.split("/")})
        backfill = answer["partitionBackfillOrError"]
        begin, runs = backfill["timestamp"], backfill["runs"]
        materialised = [float(m["timestamp"]) / 1000 for m in answer["assetNodeOrError"]["assetMaterializations"]]
        return cls(
            min(run["creationTime"] for run in runs) - begin,
            max(materialised) - begin,
            max(run["endTime"] for run in runs) - begin,
            backfill["endTimestamp"] - begin,
            len(runs),
        )


@contextmanager
def ours(found: Platform) -> Iterator[Ui]:
    with dagster_dev(found) as ui:
        yield ui


@contextmanager
def stock(found: Platform) -> Iterator[Ui]:
    instance = found.current.home / "dagster"
    instance.mkdir()
    (instance / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    definitions = str(Path(__file__).with_name("stock_definitions.py"))
    with dagster_dev(found, "-f", definitions, DAGSTER_HOME=str(instance)) as ui:
        yield ui


def measure(name: str, found: Platform, keys: Sequence[str]) -> Timeline:
    """Run the backfill of these partitions.

    Raises:
        RuntimeError: a run failed.
    """
    with {"ours": ours, "stock": stock}[name](found) as ui:
        time.sleep(DAEMON_SECONDS / 2)
        load = os.getloadavg()[0]
        backfill_id = ui.launch_backfill(MONTHLY, keys)
        ended = ui.wait_for_backfill(backfill_id, WAIT_SECONDS)
        if ended["status"] != "COMPLETED_SUCCESS" or any(run["status"] != "SUCCESS" for run in ended["runs"]):
            raise RuntimeError(f"the backfill with {name} settings failed: {ended}\n{ui.log.read_text()[-4000:]}")
        stats = ui.partition_stats(MONTHLY)
        if stats["numMaterialized"] != len(keys):
            raise RuntimeError(f"expected {len(keys)} materialised partitions with {name} settings, got {stats}")
        times = Timeline.of(ui, backfill_id)
    print(
        f"{name:8}{times.first_run:12.1f}{times.last_partition:16.1f}{times.last_run:12.1f}{times.completed:12.1f}"
        f"{times.runs:6}{load:14.1f}{os.getloadavg()[0]:6.1f}",
        flush=True,
    )
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--months", type=int, help="the last so many months; all when not given")
    parser.add_argument("--home", type=Path, help="finished home of the sample to copy; built when not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        whole = platform(options.home or Path(scratch) / "whole", "sample")
        if not options.home:
            build = [sys.executable, "-m", "arctic_assets.cli", "build", "--home", str(whole.current.home)]
            subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
        keys: Sequence[str] = whole.partitions.month_glaciers.get_partition_keys()
        if options.months:
            last = set(whole.partitions.months.get_partition_keys()[-options.months :])
            keys = [key for key in keys if key.rpartition("|")[2] in last]
        print(f"{len(keys)} partitions; seconds from the launch to")
        print(f"{'':8}{'first run':>12}{'last partition':>16}{'last run':>12}{'completed':>12}{'runs':>6}{'load':>14}")
        times = {}
        for name in ("ours", "stock"):
            home = Path(scratch) / name
            shutil.copytree(whole.current.home, home, ignore=shutil.ignore_patterns("dagster", "dagster_dev.log"))
            found = platform(home, "sample")
            times[name] = measure(name, found, keys)
            assert_same_tables(whole.tables(), found.tables())
    ratios = (getattr(times["stock"], step) / getattr(times["ours"], step) for step in ("last_partition", "completed"))
    print("stock to ours: {:.1f} to the last partition, {:.1f} until completed; tables are equal".format(*ratios))
    return 0


if __name__ == "__main__":
    sys.exit(main())
