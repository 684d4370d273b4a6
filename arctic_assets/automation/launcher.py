"""How the daemon starts the process of a run: `run_launcher` of `dagster.yaml`.

Here: start, end and health of such a process. Not here: which runs there are, and when.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from dagster import DagsterRun
from dagster._core.launcher import CheckRunHealthResult, DefaultRunLauncher, LaunchRunContext, WorkerStatus
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import serialize_value

from arctic_assets.automation import processes

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
        if origin is None or origin.executable_path != sys.executable:
            super().launch_run(context)
            return
        arguments = serialize_value(ExecuteRunArgs(origin, run.run_id, self._instance.get_ref()))
        process = processes.context().Process(target=_execute, args=(arguments, dict(os.environ)))
        process.start()
        assert process.pid is not None
        self._instance.add_run_tags(run.run_id, {processes.PID_TAG: processes.name(process.pid)})
        self._run_ids.add(run.run_id)

    def terminate(self, run_id: str) -> bool:
        """Interrupt the process of a run.

        Returns:
            Whether there was one.
        """
        run = self._instance.get_run_by_id(run_id)
        if run is None or processes.PID_TAG not in run.tags:
            return bool(super().terminate(run_id))  # type: ignore[no-untyped-call]
        if run.is_finished:
            return False
        self._instance.report_run_canceling(run)
        pid = processes.pid_of(run.tags)
        if pid is None:
            self._instance.report_engine_event(_GONE, run, cls=type(self))
            return False
        os.kill(pid, signal.SIGINT)
        return True

    @property
    def supports_check_run_worker_health(self) -> bool:
        """The daemon asks for it, every `run_monitoring.poll_interval_seconds`."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process of a run is there; a code server looks after those it started itself."""
        if processes.PID_TAG not in run.tags or processes.pid_of(run.tags) is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, _GONE)


def _execute(arguments: str, environment: Mapping[str, str]) -> None:
    """What the process does."""
    from dagster._cli.api import execute_run_command

    os.environ.clear()
    os.environ.update(environment)
    execute_run_command.main([arguments], standalone_mode=False)
