"""The whole platform: writing the sample, building everything from it, and what side by side and the event log bring.

    python benchmarks/build.py [--start 2021-01]

Each step is a process of its own, with its children. The whole build is `arctic-assets build`, with as many runs at a
time as it likes and with one. Dagster's own SQLite storage takes minutes for all partitions, so it and ours build the
same part of the graph, from `--start` on, one run after the other. All ways must give the same tables.
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

import psutil

sys.path.insert(0, str(Path(__file__).parents[1]))
from arctic_assets.automation import build as building
from arctic_assets.definitions import build_defs
from arctic_assets_tests.testkit import event_content
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform

CLI = (sys.executable, "-m", "arctic_assets.cli")
STORAGES = {"ours": event_content.open_batched, "stock": event_content.open_stock}


class Cost(NamedTuple):
    """What a process and its children took: seconds of wall and CPU time, megabytes of memory at their peak."""

    wall_s: float
    cpu_s: float
    peak_mb: float


def measure(command: Sequence[str]) -> Cost:
    """Run a command to its end, looking at it ten times a second.

    Raises:
        subprocess.CalledProcessError: it failed; what it printed is printed.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("ARCTIC_ASSETS_", "DAGSTER_"))}
    cpu_s: dict[int, float] = {}
    peak_mb = 0.0
    with tempfile.TemporaryFile() as printed:
        begin = time.perf_counter()
        process = psutil.Popen(command, env=environment, stdout=printed, stderr=subprocess.STDOUT)
        while process.poll() is None:
            used_mb = 0.0
            with suppress(psutil.NoSuchProcess):
                for one in [process, *process.children(recursive=True)]:
                    with suppress(psutil.NoSuchProcess):
                        times = one.cpu_times()
                        cpu_s[one.pid] = times.user + times.system
                        used_mb += one.memory_full_info().pss / 1e6
            peak_mb = max(peak_mb, used_mb)
            time.sleep(0.1)
        wall_s = time.perf_counter() - begin
        if process.returncode:
            printed.seek(0)
            print(printed.read().decode(errors="replace"))
            raise subprocess.CalledProcessError(process.returncode, command)
    return Cost(wall_s, sum(cpu_s.values()), peak_mb)


def report(step: str, cost: Cost, built: Platform | None = None) -> None:
    """One line of the table."""
    rows = f"{sum(map(len, built.tables().values())):10,}" if built else ""
    print(f"{step:34}{cost.wall_s:9.1f}{cost.cpu_s:9.1f}{cost.peak_mb:9.0f}{rows}", flush=True)


def build_with(storage: str, home: str, mirror: str, start: str) -> None:
    """Build in this process, with the event log of that name."""
    found = platform(Path(home), mirror)
    defs = build_defs(found.current)
    graph = defs.resolve_asset_graph()
    runs = building.plan(graph, building.select(graph, "*"), found.partitions, building.Extent(start=start))
    with STORAGES[storage](found.current.home) as instance:
        outcome = building.execute(graph, runs, building.Here(defs, instance))
    if not outcome.is_good:
        raise SystemExit(f"the build with the event log {storage} failed: {outcome}")


def main() -> None:
    if sys.argv[1:2] == ["--with"]:
        build_with(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--start", default="2021-01", help="first month of the part that both storages build")
    start = parser.parse_args().start
    with tempfile.TemporaryDirectory() as scratch, suppress(KeyboardInterrupt):
        folder = Path(scratch)
        mirror = str(folder / "sample")
        print(f"{'':34}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'rows':>10}")
        report("sample", measure([*CLI, "sample", mirror]))
        costs, tables = {}, {}

        def step(name: str, key: str, home: str, command: Sequence[str]) -> None:
            built = platform(folder / home, mirror)
            costs[key] = measure(command)
            tables[key] = built.tables()
            report(name, costs[key], built)

        for key, words in {"side by side": [], "one by one": ["--workers", "1"]}.items():
            whole = [*CLI, "build", "--home", str(folder / key), "--mirror", mirror, *words]
            step(f"build, everything, {key}", key, key, whole)
        step("build, everything, again", "again", "side by side", [*whole[:-2], "--home", str(folder / "side by side")])
        for name in STORAGES:
            command = [sys.executable, __file__, "--with", name, str(folder / name), mirror, start]
            step(f"build from {start}, event log {name}", name, name, command)
        for one, other in (("side by side", "one by one"), ("side by side", "again"), ("ours", "stock")):
            assert_same_tables(tables[one], tables[other])
        for one, other in (("side by side", "one by one"), ("ours", "stock")):
            print(f"wall time, {other} to {one}: {costs[other].wall_s / costs[one].wall_s:.1f}; the tables are equal")


if __name__ == "__main__":
    main()
