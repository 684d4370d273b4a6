"""What the daemon does with sensors and schedules, one tick at a time and in this process."""

from __future__ import annotations

import dagster as dg
from dagster._core.storage.tags import RUN_KEY_TAG, SENSOR_NAME_TAG

from arctic_assets.assets.wiring import RawStore
from arctic_assets.definitions import build_defs
from arctic_assets_tests.testkit.platform import Platform


class Ticks:
    """A sensor as the daemon ticks it: keeps its cursor, launches what it asks for, once per run key.

    Attributes:
        cursor: what the sensor keeps.
        skipped: what the last tick said when it asked for nothing.
    """

    def __init__(self, found: Platform, name: str, instance: dg.DagsterInstance) -> None:
        self.current = found.current
        self.registry = str(found.current.glaciers or "")
        self.defs = build_defs(found.current)
        self.sensor = self.defs.resolve_sensor_def(name)
        self.instance = instance
        self.cursor: str | None = None
        self.skipped: str | None = None
        self._launched: set[str] = set()

    def tick(self, *, fails: bool = False) -> list[dg.DagsterRun]:
        """Evaluate, launch, and return the runs of this tick that are not the job's own.

        Args:
            fails: whether the job that is launched fails; else it must succeed.
        """
        resources = {"store": RawStore(home=str(self.current.home), mirror=self.current.mirror, registry=self.registry)}
        with dg.build_sensor_context(
            self.instance, self.cursor, sensor_name=self.sensor.name, resources=resources
        ) as context:
            data = self.sensor.evaluate_tick(context)
        self.cursor = data.cursor if data.cursor is not None else self.cursor
        self.skipped = data.skip_message
        before = {run.run_id for run in self.instance.get_runs()}
        for request in data.run_requests or []:
            assert request.run_key and self.sensor.job_name
            if request.run_key in self._launched:
                continue
            self._launched.add(request.run_key)
            job = self.defs.resolve_job_def(request.job_name or self.sensor.job_name)
            result = job.execute_in_process(
                run_config=request.run_config,
                instance=self.instance,
                tags={**request.tags, SENSOR_NAME_TAG: self.sensor.name, RUN_KEY_TAG: request.run_key},
                raise_on_error=False,
            )
            assert result.success is not fails
        return [run for run in self.instance.get_runs() if run.run_id not in before and run.job_name == "__ASSET_JOB"]


def runs_of(runs: list[dg.DagsterRun], asset: str) -> list[dg.DagsterRun]:
    key = dg.AssetKey.from_user_string(asset)
    return [run for run in runs if run.asset_selection and key in run.asset_selection]
