"""The whole platform: writing the sample, building everything from it, and what Dagster's event log has to do with it.

    python benchmarks/build.py [--start 2021-01]

Each step is a process of its own. The whole build is `arctic-assets build`. Dagster's own SQLite storage takes minutes
for all partitions, so it and ours build the same part of the graph, from `--start` on, and must give the same tables.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))
from arctic_assets_tests.testkit import event_content
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform

CLI = (sys.executable, "-m", "arctic_assets.cli")
STORAGES = {"ours": event_content.open_batched, "stock": event_content.open_stock}


class Cost(NamedTuple):
    """What a process took: seconds of wall and CPU time, megabytes of memory at its peak."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measure(command: Sequence[str]) -> Cost:
    """Run a command to its end.

    Raises:
        subprocess.CalledProcessError: it failed; what it printed is printed.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ARCTIC_ASSETS_", "DAGSTER_"))}
    with tempfile.TemporaryFile() as printed:
        begin = time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            printed.seek(0)
            print(printed.read().decode(errors="replace"))
            raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def report(step: str, cost: Cost, built: Platform | None = None) -> None:
    """One line of the table."""
    rows = f"{sum(map(len, built.tables().values())):10,}" if built else ""
    print(f"{step:34}{cost.wall_s:9.1f}{cost.cpu_s:9.1f}{cost.peak_mb:9.0f}{rows}", flush=True)


def build_with(storage: str, arguments: list[str]) -> None:
    """`arctic-assets build` in this process, with the event log of that name."""
    from arctic_assets import cli
    from arctic_assets.storage import instance

    instance.open_instance = STORAGES[storage]
    cli.main(["build", *arguments])


def main() -> None:
    if sys.argv[1:2] == ["--with"]:
        build_with(sys.argv[2], sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", default="2021-01", help="first month of the part that both storages build")
    start = parser.parse_args().start
    with tempfile.TemporaryDirectory() as scratch, suppress(KeyboardInterrupt):
        folder = Path(scratch)
        mirror = str(folder / "sample")
        print(f"{'':34}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'rows':>10}")
        report("sample", measure([*CLI, "sample", mirror]))
        whole = ["--home", str(folder / "whole"), "--mirror", mirror]
        cost = measure([*CLI, "build", *whole])
        report("build, everything", cost, platform(folder / "whole", mirror))
        report("build, everything, again", measure([*CLI, "build", *whole]), platform(folder / "whole", mirror))
        costs, tables = {}, {}
        for name in STORAGES:
            built = platform(folder / name, mirror)
            arguments = ["--home", str(folder / name), "--mirror", mirror, "--start", start]
            costs[name] = measure([sys.executable, __file__, "--with", name, *arguments])
            tables[name] = built.tables()
            report(f"build from {start}, event log {name}", costs[name], built)
        assert_same_tables(tables["ours"], tables["stock"])
        print(f"wall time, stock to ours: {costs['stock'].wall_s / costs['ours'].wall_s:.1f}; the tables are equal")


if __name__ == "__main__":
    main()
