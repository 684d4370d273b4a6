"""What the daemon does with sensors and schedules, one tick at a time and in this process."""

from __future__ import annotations

import dagster as dg

from arctic_assets.assets.wiring import RawStore
from arctic_assets.definitions import build_defs
from arctic_assets_tests.testkit.platform import Platform


class Ticks:
    """A sensor as the daemon ticks it: keeps its cursor, launches what it asks for, once per run key."""

    def __init__(self, found: Platform, name: str, instance: dg.DagsterInstance) -> None:
        self.current = found.current
        self.registry = str(found.current.glaciers or "")
        self.defs = build_defs(found.current)
        self.sensor = self.defs.resolve_sensor_def(name)
        self.instance = instance
        self.cursor: str | None = None
        self.launched: set[str] = set()

    def tick(self) -> list[dg.DagsterRun]:
        """Evaluate, launch, and return the runs of this tick that are not the job's own."""
        resources = {"store": RawStore(home=str(self.current.home), mirror=self.current.mirror, registry=self.registry)}
        with dg.build_sensor_context(self.instance, self.cursor, resources=resources) as context:
            data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor if data.cursor is not None else self.cursor
        before = {run.run_id for run in self.instance.get_runs()}
        for request in data.run_requests or []:
            if request.run_key in self.launched:
                continue
            assert request.run_key and self.sensor.job_name
            self.launched.add(request.run_key)
            job = self.defs.resolve_job_def(request.job_name or self.sensor.job_name)
            result = job.execute_in_process(
                run_config=request.run_config, instance=self.instance, tags=dict(request.tags), raise_on_error=False
            )
            assert result.success
        return [run for run in self.instance.get_runs() if run.run_id not in before and run.job_name == "__ASSET_JOB"]


def runs_of(runs: list[dg.DagsterRun], asset: str) -> list[dg.DagsterRun]:
    key = dg.AssetKey.from_user_string(asset)
    return [run for run in runs if run.asset_selection and key in run.asset_selection]
