"""How the daemon starts the process of a run: `run_launcher` of `dagster.yaml`.

Here: start, end and health of such a process. Not here: which runs there are, and when.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from multiprocessing.process import _children as children  # type: ignore[attr-defined]

from dagster import DagsterRun, DagsterRunStatus
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value

from arctic_assets.automation import processes
from arctic_assets.automation.processes import PID_TAG

_GONE = "The process of this run is gone: it was killed, most often because the memory was full."


class ForkedRunLauncher(DefaultRunLauncher):
    """Starts runs from a process that has the libraries loaded already.

    Dagster's own launcher starts a new interpreter for every run: 2 s of a processor until it can begin, half of what
    a run over the months of one glacier costs. Here a run executes what `dagster api execute_run` does, as it would in
    a container. Runs of a code location with another Python are started Dagster's way.
    """

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start the process, and name it in the run's tag `arctic_assets/pid`."""
        run = context.dagster_run
        origin = run.job_code_origin
        if PID_TAG in run.tags:  # a run that is tried again has the tags of the first
            self._instance.add_run_tags(run.run_id, {PID_TAG: ""})
        if origin is None or origin.executable_path != sys.executable:
            super().launch_run(context)
            return
        arguments = serialize_value(ExecuteRunArgs(origin, run.run_id, self._instance.get_ref()))
        process = processes.context().Process(target=_execute, args=(arguments, dict(os.environ)))
        process.start()
        assert process.pid is not None
        self._instance.add_run_tags(run.run_id, {PID_TAG: processes.name(process.pid)})
        self._run_ids.add(run.run_id)
        children.discard(process)  # the daemon need not wait for it when it ends; the fork server buries it
        threading.Thread(target=self._watch, args=(process, run.run_id), daemon=True).start()

    def _watch(self, process: BaseProcess, run_id: str) -> None:
        """Close a run whose process ends before it."""
        process.join()
        run = self._instance.get_run_by_id(run_id)
        if run and run.status == DagsterRunStatus.CANCELING:
            self._instance.report_run_canceled(run, _GONE)
        elif run and not run.is_finished:
            self._instance.report_run_failed(run, _GONE)

    def terminate(self, run_id: str) -> bool:
        """Interrupt the process of a run.

        Returns:
            Whether there was one.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or not run.tags.get(PID_TAG):
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        if run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        pid = processes.pid_of(run.tags)
        if pid is None:
            self._instance.report_engine_event(_GONE, run, cls=type(self))
            return False
        try:
            os.kill(pid, signal.SIGINT)
        except OSError:  # it has just ended, or it is another user's
            return False
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """The daemon asks for it, every `run_monitoring.poll_interval_seconds`."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a run is there; a code server looks after those it started itself."""
        if not run.tags.get(PID_TAG) or processes.pid_of(run.tags) is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, _GONE)


def _execute(arguments: str, environment: Mapping[str, str]) -> None:
    """What the process does."""
    from dagster._cli.api import execute_run_command

    os.environ.clear()
    os.environ.update(environment)
    execute_run_command.main([arguments], standalone_mode=False)
