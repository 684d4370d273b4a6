"""Run the graph, or a part of it: what `arctic-assets build` and the jobs by intent do.

Assets of one grain run together, over a rectangle of glaciers and times, in about as many runs as there are grains on
the way. The runs go to the same Dagster instance that the UI shows.

Here: which runs there are, in which order, and executing one. Not here: several at a time (`workers`).
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple, Protocol

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import RunFailureReason
from dagster_shared.error import SerializableErrorInfo

from arctic_assets.automation import processes
from arctic_assets.errors import SettingsError
from arctic_assets.partitions import Partitions, range_tags, rectangle


@dataclass(frozen=True)
class Run:
    """Assets of one grain over one range of partitions.

    Attributes:
        assets: keys, upstream first.
        tags: the range, as Dagster's tags.
        n_partitions: how many partitions each asset gets.
    """

    assets: tuple[dg.AssetKey, ...]
    tags: dict[str, str]
    n_partitions: int


OnEvent = Callable[[Run, dg.DagsterEventType, str], None]
"""Told of an event: the run, the event's type, and the key of its step."""


@dataclass(frozen=True)
class Extent:
    """Which glaciers and times to build.

    Attributes:
        glaciers: registry ids; empty for all.
        start: first month, `YYYY-MM`, or None for the first there is.
        end: last month, or None for the last that has ended.
    """

    glaciers: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None


@dataclass
class Outcome:
    """What the runs did.

    Attributes:
        failed: error by asset whose step failed.
        skipped: assets that were not run because an upstream asset failed.
        failed_checks: (asset, check, severity) of each check that did not pass.
        passed_checks: number of checks that passed.
    """

    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    failed_checks: list[tuple[str, str, str]] = field(default_factory=list)
    passed_checks: int = 0

    @property
    def is_good(self) -> bool:
        """Whether no step and no check of severity ERROR failed."""
        return not self.failed and not any(severity == "ERROR" for _, _, severity in self.failed_checks)

    def add(self, other: Outcome) -> None:
        """Take in what another run did."""
        self.failed |= other.failed
        self.failed_checks += other.failed_checks
        self.passed_checks += other.passed_checks

    def skip(self, keys: Iterable[dg.AssetKey]) -> None:
        """Note assets as skipped, each once, however many runs it was skipped in."""
        self.skipped = list(dict.fromkeys([*self.skipped, *(key.to_user_string() for key in keys)]))


def select(graph: AssetGraph, selection: str | None) -> list[dg.AssetKey]:
    """Assets that a selection string names (`*`, `key:"raw/era5"+`, `group:derived`), upstream first.

    Raises:
        SettingsError: it names nothing.
    """
    try:
        chosen = dg.AssetSelection.from_string(selection or "*").resolve(graph)
    except (dg.DagsterError, ValueError):
        chosen = set()
    if not chosen:
        raise SettingsError(
            "the selection names no asset",
            where="--select",
            expected="asset keys or Dagster's selection syntax, such as derived/area or group:derived",
            got=selection,
            todo=f"choose among: {', '.join(sorted(k.to_user_string() for k in graph.materializable_asset_keys))}",
        )
    return [key for key in graph.toposorted_asset_keys if key in chosen]


def plan(graph: AssetGraph, keys: Sequence[dg.AssetKey], partitions: Partitions, extent: Extent) -> list[Run]:
    """The runs, upstream first: assets of one grain share a run where no other grain lies between them.

    Args:
        graph: all assets.
        keys: assets to build, upstream first.
        partitions: of the platform.
        extent: glaciers and times; glaciers that are not neighbours in the registry are runs of their own.

    Raises:
        RegistryError: a glacier is not in the registry.
        SettingsError: no month and no year lies in the extent.
    """
    times = _Times.of(partitions, extent)
    changes: dict[dg.AssetKey, int] = {}
    chains: dict[tuple[int, dg.PartitionsDefinition | None], list[dg.AssetKey]] = {}
    for key in keys:
        grain = graph.get(key).partitions_def
        parents = graph.get(key).parent_keys & changes.keys()
        changes[key] = max((changes[p] + (graph.get(p).partitions_def != grain) for p in parents), default=0)
        chains.setdefault((changes[key], grain), []).append(key)
    return [
        Run(tuple(chain), tags, n)
        for (_, grain), chain in sorted(chains.items(), key=lambda found: found[0][0])
        for tags, n in _ranges(grain, partitions, extent.glaciers, times)
    ]


class Runner(Protocol):
    """Where runs are executed."""

    def submit(self, run: Run, keys: Sequence[dg.AssetKey]) -> Future[Outcome]:
        """Start the part `keys` of a run; the future holds what it did."""


def execute(graph: AssetGraph, runs: Sequence[Run], runner: Runner) -> Outcome:
    """Execute each run when those before it have ended that it is made from, or that are of the same assets; what lies
    downstream of a failed asset is skipped.

    Args:
        graph: all assets.
        runs: of `plan`, or of several plans one after the other.
        runner: `Here`, or `workers.Workers` for several at a time.
    """
    outcome = Outcome()
    upstream = [frozenset(run.assets).union(*map(graph.get_ancestor_asset_keys, run.assets)) for run in runs]
    waits_for = [{j for j in range(i) if not upstream[i].isdisjoint(runs[j].assets)} for i in range(len(runs))]
    at_work: dict[Future[Outcome], int] = {}
    left = list(range(len(runs)))
    while left or at_work:
        unfinished = {*left, *at_work.values()}
        for i in [i for i in left if not waits_for[i] & unfinished]:
            left.remove(i)
            spoiled = _spoiled(graph, runs[i], outcome)
            outcome.skip(spoiled)
            if keys := [key for key in runs[i].assets if key not in spoiled]:
                at_work[runner.submit(runs[i], keys)] = i
        for done in wait(at_work, return_when=FIRST_COMPLETED).done:
            run = runs[at_work.pop(done)]
            outcome.add(done.result())
            outcome.skip(_spoiled(graph, run, outcome))
    return outcome


def _spoiled(graph: AssetGraph, run: Run, outcome: Outcome) -> list[dg.AssetKey]:
    """Assets of a run that lie downstream of a failed one."""
    failed = {dg.AssetKey.from_user_string(key) for key in outcome.failed}
    return [key for key in run.assets if graph.get_ancestor_asset_keys(key) & failed]


class Here:
    """Executes runs in this process, one after the other.

    Args:
        defs: the definitions.
        instance: where events go.
        on_event: called with the run, type and step of each event that has one, for a display.
        tags: further tags of the runs.
    """

    def __init__(
        self,
        defs: dg.Definitions,
        instance: dg.DagsterInstance,
        on_event: OnEvent | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        self._defs = defs
        self._instance = instance
        self._on_event = on_event
        self._tags = {processes.PID_TAG: processes.name(os.getpid()), **(tags or {})}

    def submit(self, run: Run, keys: Sequence[dg.AssetKey]) -> Future[Outcome]:
        """Execute the part `keys` of a run; it has ended when this returns.

        Raises:
            DagsterExecutionInterruptedError: the process was told to end.
        """
        future: Future[Outcome] = Future()
        future.set_result(self._outcome(run, keys))
        return future

    def _outcome(self, run: Run, keys: Sequence[dg.AssetKey]) -> Outcome:
        job = self._defs.resolve_implicit_job_def_def_for_assets(list(keys))
        assert job is not None
        run_id = str(uuid.uuid4())

        def listen(entry: dg.EventLogEntry) -> None:
            event = entry.dagster_event
            if self._on_event and event and event.step_key:
                self._on_event(run, event.event_type, event.step_key)

        self._instance.add_event_listener(run_id, listen)
        try:
            result = job.execute_in_process(
                instance=self._instance,
                asset_selection=list(keys),
                run_id=run_id,
                tags={**self._tags, **run.tags},
                raise_on_error=False,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},  # the caller shows events
            )
        finally:
            _free_pools(self._instance, run_id)
        outcome = Outcome()
        for event in result.all_events:
            if _is_interrupt(event):  # Dagster ends the run, and says nothing to what executes it
                raise DagsterExecutionInterruptedError
            if event.is_step_failure:
                outcome.failed[_asset_of(event, keys)] = _told(event.step_failure_data.error)
            elif event.is_job_failure and event.job_failure_data.first_step_failure_event is None:
                # before any step: a resource, for instance
                outcome.failed |= {key.to_user_string(): _told(event.job_failure_data.error) for key in keys}
        for evaluation in result.get_asset_check_evaluations():
            if evaluation.passed:
                outcome.passed_checks += 1
            else:
                key = evaluation.asset_key.to_user_string()
                outcome.failed_checks.append((key, evaluation.check_name, evaluation.severity.value))
        return outcome


def _is_interrupt(event: dg.DagsterEvent) -> bool:
    """Whether a run ended because its process was told to end."""
    if event.event_type == dg.DagsterEventType.RUN_CANCELED:
        return True
    reason = event.job_failure_data.failure_reason if event.is_job_failure else None
    return reason == RunFailureReason.UNEXPECTED_TERMINATION


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs as failed whose process was killed; without this they would look as if still running.

    Returns:
        Ids of the runs.
    """
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    closed = []
    for run in instance.get_runs(started):
        if run.tags.get(processes.PID_TAG) and processes.pid_of(run.tags) is None:
            instance.report_run_failed(run, message="The process that executed this run is gone.")
            _free_pools(instance, run.run_id)
            closed.append(run.run_id)
    return closed


def _free_pools(instance: dg.DagsterInstance, run_id: str) -> None:
    """Give back the places that a run holds in pools: one that was interrupted or killed keeps them."""
    if instance.event_log_storage.supports_global_concurrency_limits:
        instance.event_log_storage.free_concurrency_slots_for_run(run_id)


def _told(error: SerializableErrorInfo | None) -> str:
    """What the asset raised: below Dagster's own errors, above what a library said to make it raise."""
    while error is not None and error.cause is not None and (error.cls_name or "").startswith("Dagster"):
        error = error.cause
    return error.message.strip() if error else "for a reason that the log of the run tells"


def _asset_of(event: dg.DagsterEvent, keys: Sequence[dg.AssetKey]) -> str:
    by_step = {"__".join(key.path): key.to_user_string() for key in keys}
    return by_step.get(event.step_key or "", event.step_key or "run")


class _Times(NamedTuple):
    """Months and years of an extent that have partitions."""

    months: list[str]
    years: list[str]

    @classmethod
    def of(cls, partitions: Partitions, extent: Extent) -> _Times:
        months, years = partitions.months.get_partition_keys(), partitions.years.get_partition_keys()
        first, last = extent.start or "", extent.end or "9999-12"
        found = cls([m for m in months if first <= m <= last], [y for y in years if first[:4] <= y <= last[:4]])
        if not any(found):
            raise SettingsError(
                "no month and no year lies in the extent",
                where="--start and --end",
                expected=f"months from {months[0]} to {months[-1]}, or years from {years[0]} to {years[-1]}",
                got=f"{extent.start or 'the beginning'} to {extent.end or 'the end'}",
                todo="correct the two; ARCTIC_ASSETS_START sets where the partitions begin",
            )
        return found


def _ranges(
    grain: dg.PartitionsDefinition | None, partitions: Partitions, glaciers: Sequence[str], times: _Times
) -> Iterator[tuple[dict[str, str], int]]:
    """Range tags and number of partitions that cover the extent in one grain."""
    if grain is None:
        yield {}, 1
        return
    own = {
        partitions.months: times.months,
        partitions.month_glaciers: times.months,
        partitions.year_glaciers: times.years,
        partitions.inventory_glaciers: list(partitions.settings.inventories),
    }.get(grain)
    if own == []:
        return
    if grain == partitions.months:
        yield range_tags(times.months[0], times.months[-1]), len(times.months)
        return
    for block in _blocks(partitions, glaciers):
        if own is None:
            yield range_tags(block[0], block[-1]), len(block)
        else:
            yield rectangle(block, own), len(block) * len(own)


def _blocks(partitions: Partitions, wanted: Sequence[str]) -> list[list[str]]:
    """Runs of neighbours in the registry: a rectangle spans consecutive glaciers only."""
    ids = list(partitions.registry.ids)
    for key in wanted:
        partitions.registry[key]  # raises for an unknown one
    places = sorted({ids.index(key) for key in wanted} if wanted else range(len(ids)))
    cuts = [0, *(i for i, (a, b) in enumerate(pairwise(places), 1) if b != a + 1), len(places)]
    return [[ids[p] for p in places[a:b]] for a, b in pairwise(cuts)]
