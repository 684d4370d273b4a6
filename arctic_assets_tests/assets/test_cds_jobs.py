"""Runs that wait for jobs of the Climate Data Store: killed, terminated, and started again."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from arctic_assets import settings
from arctic_assets.assets.raw.era5 import POOL, _state_of
from arctic_assets.assets.wiring import PART_OF
from arctic_assets.automation.build import Extent, close_dead_runs
from arctic_assets.automation.processes import PID_TAG, pid_of
from arctic_assets.definitions import build_defs
from arctic_assets.sources.cds import Jobs, Ledger, RunState
from arctic_assets.sources.era5_files import Index
from arctic_assets.storage.archive import Archive
from arctic_assets_tests.testkit.cds import CdsServer
from arctic_assets_tests.testkit.platform import Platform, platform
from arctic_assets_tests.testkit.ui import Ui, dagster_dev

MONTHS = ["2026-06", "2026-07"]
EXTENT = Extent(start=MONTHS[0], end=MONTHS[-1])
PATIENCE_S = 180
_TERMINATE = """mutation($id: String!) { terminateRun(runId: $id) { __typename ... on PythonError { message } } }"""
_LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) { __typename
    ... on LaunchRunSuccess { run { id } } ... on PythonError { message }
} }"""
_RUNS = "{ runsOrError { ... on Runs { results { id status } } } }"

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[CdsServer]:
    with CdsServer() as server:
        server.polls = math.inf
        monkeypatch.setenv("CDSAPI_URL", server.api)
        monkeypatch.setenv("CDSAPI_KEY", server.key)
        monkeypatch.setenv("CDSAPI_RC", os.devnull)
        yield server


@pytest.fixture
def live(small_mirror: Platform, tmp_path: Path) -> Platform:
    """Three glaciers in three regions, live: two jobs, one for the months and one for the invariants."""
    return platform(tmp_path / "home", "live", small_mirror.current.glaciers)


def ledger(found: Platform) -> Ledger:
    return Ledger(found.current.archive / ".jobs")


def started(found: Platform) -> subprocess.Popen[str]:
    """`arctic-assets build` of the months in a process of its own."""
    command = [sys.executable, "-m", "arctic_assets.cli", "build", "--select", "raw/era5"]
    return subprocess.Popen(
        [*command, "--start", MONTHS[0], "--end", MONTHS[-1]],
        env={**os.environ, **settings.environment(found.current)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.05)


def wait_for_jobs(store: CdsServer, found: Platform, n: int = 2) -> None:
    """Return when so many jobs are kept and the last one was looked at."""

    def are_kept() -> bool:
        kept = ledger(found).jobs()
        return len(kept) == n and bool(store.count("GET", f"/api/retrieve/v1/jobs/{kept[-1].id}"))

    wait_until(are_kept)


def assert_archived(found: Platform) -> None:
    assert Index(Archive(found.current.archive).objects("era5")).status() == dict.fromkeys(MONTHS, "final")
    assert ledger(found).jobs() == []


def logs(found: Platform) -> str:
    """All lines of all runs, as Dagster keeps them."""
    with found.instance() as instance:
        return "\n".join(e.user_message for run in instance.get_runs() for e in instance.all_logs(run.run_id))


def test_a_killed_run_started_again_waits_for_the_same_jobs(store: CdsServer, live: Platform) -> None:
    for _ in range(2):  # the second continues already, and is killed too
        process = started(live)
        store.log.clear()
        wait_for_jobs(store, live)
        process.kill()
        process.communicate()
    assert len(store.jobs) == 2 and store.count("DELETE") == 0
    store.release()
    with live.instance() as instance:
        assert len(close_dead_runs(instance)) == 1  # the first was closed by the second
    assert live.build("raw/era5", EXTENT).is_good
    assert len(store.jobs) == 2
    assert_archived(live)
    assert "Continuing to wait for the job job-0001" in logs(live)
    kept = [path for path in live.current.home.rglob("*") if path.is_file()]
    assert kept and not [path for path in kept if store.key.encode() in path.read_bytes()]


def test_a_run_whose_process_is_told_to_end_is_continued(store: CdsServer, live: Platform) -> None:
    """As when the machine is switched off: nobody terminated the run."""
    process = started(live)
    wait_for_jobs(store, live)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=PATIENCE_S)
    assert store.count("DELETE") == 0 and len(ledger(live).jobs()) == 2
    assert "the next run continues with them" in logs(live)


def test_a_run_that_dagster_cancels_cancels_its_jobs(store: CdsServer, live: Platform) -> None:
    process = started(live)
    wait_for_jobs(store, live)
    with live.instance() as instance:
        (run,) = instance.get_runs()
        instance.report_run_canceling(run)
        process.send_signal(signal.SIGINT)  # as the code server does
        process.communicate(timeout=PATIENCE_S)
        assert instance.get_runs()[0].status == dg.DagsterRunStatus.CANCELED
    assert [job.state for job in store.jobs] == ["dismissed", "dismissed"] and store.count("DELETE") == 2
    assert ledger(live).jobs() == []


def test_a_run_that_is_cancelled_while_it_pauses_cancels_its_jobs(
    store: CdsServer, live: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store does not answer, the run waits for minutes, and somebody terminates it."""

    def terminate(seconds: float) -> None:
        assert seconds == 120
        store.job_status = 200
        with live.instance() as instance:
            instance.report_run_canceling(instance.get_runs()[0])
        raise DagsterExecutionInterruptedError

    monkeypatch.setattr("arctic_assets.sources.cds.Jobs", partial(Jobs, tries=2, longest_pause_s=0.01))
    monkeypatch.setattr("arctic_assets.assets.raw.era5.time", SimpleNamespace(sleep=terminate))
    store.job_status = 503
    with pytest.raises(DagsterExecutionInterruptedError):
        live.build("raw/era5", EXTENT)
    assert [job.state for job in store.jobs] == ["dismissed", "dismissed"]
    assert ledger(live).jobs() == []


def test_what_a_cancelled_run_could_not_cancel_the_next_one_does(store: CdsServer, live: Platform) -> None:
    """The process was gone when somebody terminated the run. What the next run wants too, it waits for."""
    process = started(live)
    wait_for_jobs(store, live)
    process.kill()
    process.communicate()
    with live.instance() as instance:
        (run,) = instance.get_runs()
        assert [job.runs for job in ledger(live).jobs()] == [(run.run_id,), (run.run_id,)]
        instance.report_run_canceled(run)
    assert store.count("DELETE") == 0
    store.release()
    assert live.build("raw/era5", Extent(start="2026-05", end="2026-05")).is_good
    months, invariants, others = store.jobs
    assert months.state == "dismissed" and months.months == MONTHS
    assert invariants.state == others.state == "successful" and others.months == ["2026-05"]
    assert ledger(live).jobs() == []


def test_a_run_that_dagster_cancels_leaves_the_jobs_that_another_run_waits_for(
    store: CdsServer, live: Platform
) -> None:
    first = started(live)
    wait_for_jobs(store, live)
    second = started(live)
    wait_until(lambda: all(len(job.runs) == 2 for job in ledger(live).jobs()))
    with live.instance() as instance:
        run, _ = instance.get_runs()
        instance.report_run_canceling(run)
        second.send_signal(signal.SIGINT)
        second.communicate(timeout=PATIENCE_S)
    assert store.count("DELETE") == 0 and run.run_id not in {r for job in ledger(live).jobs() for r in job.runs}
    store.release()
    first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 0 and len(store.jobs) == 2
    assert_archived(live)


def test_terminate_in_the_ui_cancels_the_jobs(store: CdsServer, live: Platform) -> None:
    def runs(ui: Ui) -> dict[str, str]:
        return {run["id"]: run["status"] for run in ui.ask(_RUNS)["runsOrError"]["results"]}

    with dagster_dev(live) as ui:
        ui.launch_backfill("raw/era5", MONTHS)
        wait_for_jobs(store, live)
        ((run_id, _),) = runs(ui).items()
        assert ui.ask(_TERMINATE, id=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"
        wait_until(lambda: runs(ui) == {run_id: "CANCELED"})
        assert [job.state for job in store.jobs] == ["dismissed", "dismissed"]
        assert ledger(live).jobs() == []


def test_a_run_of_the_ui_whose_process_is_killed_is_tried_again_and_waits_for_the_same_jobs(
    store: CdsServer, live: Platform
) -> None:
    with dagster_dev(live) as ui:
        ui.launch_backfill("raw/era5", MONTHS)
        wait_for_jobs(store, live)
        with live.instance() as instance:
            (run,) = instance.get_runs()
            pid = pid_of(run.tags)
            assert pid is not None and pid_of({PID_TAG: f"{pid}@{time.time() - 1e6:.0f}"}) is None
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: len(instance.get_runs()) == 2)
            store.release()
            wait_until(lambda: instance.get_runs()[0].is_finished)
            again, first = instance.get_runs()
            (failure,) = instance.all_logs(first.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
        assert "The process of this run is gone" in (failure.get_dagster_event().message or "")
        assert first.status == dg.DagsterRunStatus.FAILURE and again.status == dg.DagsterRunStatus.SUCCESS
        assert again.parent_run_id == first.run_id
    assert len(store.jobs) == 2 and store.count("DELETE") == 0
    assert_archived(live)


def test_a_build_whose_process_is_killed_beside_the_ui_is_closed_and_not_tried_again(
    store: CdsServer, live: Platform
) -> None:
    with dagster_dev(live):
        process = started(live)
        wait_for_jobs(store, live)
        process.kill()
        process.communicate()
        with live.instance() as instance:
            wait_until(lambda: instance.get_runs()[0].is_finished)
            (run,) = instance.get_runs()
        assert run.status == dg.DagsterRunStatus.FAILURE
    assert store.count("DELETE") == 0 and len(ledger(live).jobs()) == 2


def test_terminate_in_the_ui_ends_a_build_of_the_command_line(store: CdsServer, live: Platform) -> None:
    with dagster_dev(live) as ui:
        process = started(live)
        wait_for_jobs(store, live)
        (run,) = ui.ask(_RUNS)["runsOrError"]["results"]
        assert ui.ask(_TERMINATE, id=run["id"])["terminateRun"]["__typename"] == "TerminateRunSuccess"
        process.communicate(timeout=PATIENCE_S)
        wait_until(lambda: ui.ask(_RUNS)["runsOrError"]["results"][0]["status"] == "CANCELED")
    assert [job.state for job in store.jobs] == ["dismissed", "dismissed"]


def test_terminate_of_a_job_ends_all_that_is_part_of_it(store: CdsServer, live: Platform) -> None:
    config = {"ops": {"months": {"config": {"start": MONTHS[0], "end": MONTHS[-1]}}}}
    where = {"repositoryLocationName": "arctic_assets.definitions", "repositoryName": "__repository__"}
    with dagster_dev(live) as ui:
        launched = ui.ask(
            _LAUNCH, params={"selector": {"jobName": "update_latest_month", **where}, "runConfigData": config}
        )["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        wait_for_jobs(store, live)
        assert ui.ask(_TERMINATE, id=launched["run"]["id"])["terminateRun"]["__typename"] == "TerminateRunSuccess"
        with live.instance() as instance:
            wait_until(lambda: all(run.is_finished for run in instance.get_runs()))
            part, whole = instance.get_runs()  # and none after the part that waited
        assert whole.status == dg.DagsterRunStatus.CANCELED and part.tags[PART_OF] == whole.run_id
        assert part.status == dg.DagsterRunStatus.FAILURE  # interrupted: only the whole was terminated
    assert [job.state for job in store.jobs] == ["dismissed", "dismissed"]


def test_a_part_of_a_run_is_cancelled_with_the_whole() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        whole = instance.add_run(dg.DagsterRun("update_latest_month", status=dg.DagsterRunStatus.STARTED))
        part = instance.add_run(dg.DagsterRun("part", tags={PART_OF: whole.run_id}))
        assert _state_of(instance, part.run_id) is RunState.WAITS
        instance.report_run_canceling(whole)
        assert _state_of(instance, part.run_id) is RunState.CANCELLED
        alone = instance.add_run(dg.DagsterRun("alone", status=dg.DagsterRunStatus.FAILURE))
        assert _state_of(instance, alone.run_id) is RunState.ENDED
        assert _state_of(instance, "of another instance") is RunState.ENDED


def test_the_limit_of_the_pool_is_the_limit_of_the_jobs(store: CdsServer, live: Platform) -> None:
    with live.instance() as instance:
        instance.event_log_storage.set_concurrency_slots(POOL, 1)
    process = started(live)
    wait_for_jobs(store, live, 1)
    process.kill()
    process.communicate()
    store.release()
    with live.instance() as instance:
        assert instance.event_log_storage.get_concurrency_info(POOL).active_slot_count == 1
        close_dead_runs(instance)
    assert live.build("raw/era5", EXTENT).is_good
    assert len(store.jobs) == 2 and store.most_at_once == 1
    assert_archived(live)
    with live.instance() as instance:
        assert instance.event_log_storage.get_concurrency_info(POOL).active_slot_count == 0


def test_an_answer_that_does_not_come_is_waited_for_and_a_refusal_is_not(
    store: CdsServer, live: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("arctic_assets.assets.raw.era5._PAUSES_S", (0.1, 0.1))
    monkeypatch.setattr("arctic_assets.sources.cds.Jobs", partial(Jobs, tries=2, longest_pause_s=0.01))
    store.polls, store.busy = 0, 3
    assert live.build("raw/era5", EXTENT).is_good
    assert len(store.jobs) == 2
    store.licence_accepted = False
    refused = live.build("raw/era5", Extent(start="2026-05", end="2026-05"))
    assert "manage-licences" in refused.failed["raw/era5"]
    with live.instance() as instance:
        latest, first = instance.get_runs()
        pauses = [
            sum("Trying again in 0.1 s" in e.user_message for e in instance.all_logs(run.run_id))
            for run in (first, latest)
        ]
    assert pauses == [1, 0]


def test_a_wait_is_bounded_by_the_config(store: CdsServer, live: Platform) -> None:
    defs = build_defs(live.current)
    key = dg.AssetKey(["raw", "era5"])
    job = defs.resolve_implicit_job_def_def_for_assets([key])
    assert job is not None
    config = {"ops": {"raw__era5": {"config": {"longest_wait_hours": 0.0005}}}}
    with live.instance() as instance:
        ranged = {"dagster/asset_partition_range_start": MONTHS[0], "dagster/asset_partition_range_end": MONTHS[-1]}
        done = job.execute_in_process(
            instance=instance, asset_selection=[key], tags=ranged, run_config=config, raise_on_error=False
        )
        (failure,) = [e for e in done.all_events if e.is_step_failure]
    assert not done.success and failure.step_failure_data.error and failure.step_failure_data.error.cause
    assert "it continues with the same jobs" in failure.step_failure_data.error.cause.message
    store.release()
    assert live.build("raw/era5", EXTENT).is_good
    assert len(store.jobs) == 2
    assert_archived(live)
