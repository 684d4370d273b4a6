"""Runs in several processes: the same tables, nothing that outlives its parent, and a clear word when one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path

import dagster as dg
import psutil
import pytest

from arctic_assets import settings
from arctic_assets.automation import build
from arctic_assets.automation.build import Extent, Outcome
from arctic_assets.automation.workers import Workers
from arctic_assets.definitions import build_defs
from arctic_assets.errors import BuildError
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform

EXTENT = Extent(start="2019-01", end="2020-12")
DERIVED = "group:raw or group:derived"


@pytest.fixture
def empty(small_home: Platform, tmp_path: Path) -> Platform:
    return platform(tmp_path / "home", small_home.current.mirror, small_home.current.glaciers)


def _until(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def _statuses(found: Platform) -> list[dg.DagsterRunStatus]:
    with found.instance() as instance:
        return [run.status for run in instance.get_runs()]


def test_two_at_a_time_give_the_tables_of_one_after_the_other(small_home: Platform, empty: Platform) -> None:
    outcome = empty.build(DERIVED, EXTENT, workers=2)
    assert outcome.is_good and outcome.passed_checks > 10
    assert_same_tables(small_home.tables(), empty.tables())
    with empty.instance() as instance:
        runs = instance.get_run_records()
    assert {record.dagster_run.status for record in runs} == {dg.DagsterRunStatus.SUCCESS}
    spans = sorted((record.start_time or 0, record.end_time or 0) for record in runs)
    assert any(after[0] < before[1] for before, after in pairwise(spans)), "none ran side by side"


def test_events_reach_the_display(empty: Platform) -> None:
    seen: list[tuple[int, dg.DagsterEventType, str]] = []
    graph = build_defs(empty.current).resolve_asset_graph()
    runs = build.plan(graph, build.select(graph, "raw/rgi7"), empty.partitions, Extent())
    with (
        empty.instance(),
        Workers(empty.current, 1, lambda run, kind, step: seen.append((run.n_partitions, kind, step))) as runner,
    ):
        assert build.execute(graph, runs, runner).is_good
    assert seen.count((3, dg.DagsterEventType.ASSET_MATERIALIZATION, "raw__rgi7")) == 3
    assert (3, dg.DagsterEventType.STEP_SUCCESS, "raw__rgi7") in seen


def test_a_killed_process_is_told(empty: Platform) -> None:
    graph = build_defs(empty.current).resolve_asset_graph()
    runs = build.plan(graph, build.select(graph, DERIVED), empty.partitions, EXTENT)
    pids: list[int] = []

    def kill(run: build.Run, kind: dg.DagsterEventType, step: str) -> None:
        if kind == dg.DagsterEventType.STEP_START and not pids:
            pids.append(runner._pids[0])
            os.kill(pids[0], signal.SIGKILL)

    with empty.instance(), pytest.raises(BuildError, match="--workers 1"), Workers(empty.current, 1, kill) as runner:
        build.execute(graph, runs, runner)
    assert pids and not psutil.pid_exists(pids[0])


def test_an_exception_interrupts_the_processes(empty: Platform) -> None:
    graph = build_defs(empty.current).resolve_asset_graph()
    runs = build.plan(graph, build.select(graph, DERIVED), empty.partitions, EXTENT)
    futures: list[Future[Outcome]] = []
    started: list[str] = []
    with (
        empty.instance(),
        pytest.raises(ZeroDivisionError),
        Workers(empty.current, 1, lambda run, kind, step: started.append(step)) as runner,
    ):
        futures += [runner.submit(run, run.assets) for run in runs[:3]]  # the pool takes the second ahead of time
        _until(lambda: started)
        raise ZeroDivisionError
    assert all(future.done() for future in futures)
    assert len(_statuses(empty)) == 1 and dg.DagsterRunStatus.STARTED not in _statuses(empty)


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 1), (signal.SIGKILL, -signal.SIGKILL)])
def test_no_process_outlives_a_build_that_was_ended(how: signal.Signals, code: int, empty: Platform) -> None:
    command = [sys.executable, "-m", "arctic_assets.cli", "build", "--workers", "2"]
    environment = {**os.environ, **settings.environment(empty.current)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    _until(lambda: list(empty.current.archive.rglob("*.json")))  # a raw asset is at work
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) >= 3  # fork server, two workers
    process.send_signal(how)
    assert process.wait(timeout=60) == code
    _until(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family))
    assert process.stdout is not None
    with process.stdout:
        assert "Traceback" not in process.stdout.read()
    if how == signal.SIGKILL:
        with empty.instance() as instance:
            assert build.close_dead_runs(instance)
    assert dg.DagsterRunStatus.STARTED not in _statuses(empty)
