"""Jobs by intent: update a month, rebuild a glacier or everything, refresh a source, take revisions, check the sources.

A job here decides which assets and partitions its intent means and runs them, a run per change of grain, exactly as
`arctic-assets build` does: the runs show in the UI beside the job's own and name it in their tag
`arctic_assets/part_of`. A job that is started again does what is left: building anything twice changes nothing.

Belongs here: what an intent means. Not here: when it is wanted (`sensors`), how a plan is made and run (`build`).
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.errors import DagsterExecutionInterruptedError
from pydantic import Field

from arctic_assets.assets.wiring import PART_OF, PROVIDER, VERSION, RawStore, last_month
from arctic_assets.automation import build
from arctic_assets.automation.build import Extent
from arctic_assets.partitions import Partitions
from arctic_assets.tables import Outline

if TYPE_CHECKING:
    from concurrent.futures import Future

    from arctic_assets.automation.build import OnEvent, Outcome, Run

CAUSE = "arctic_assets/cause"
"""Tag that says why a run was asked for; runs that are part of it carry it too, as those of provider and version."""
GLACIERS = "arctic_assets/glaciers"
"""Tag of a run of `import_revisions`: the glaciers that it builds, separated by commas."""
DRY = Field(default=False, description="Say in the log what would run, and run nothing.")
_FIRST = "First month, YYYY-MM; empty for the first there is."
_LAST = "Last month, YYYY-MM; empty for the last that has ended."
MONTHS = 'key:"raw/era5" or key:"derived/temperature_monthly"'
YEARS = 'key:"derived/temperature_annual"'
ALL_YEARS = 'key:"derived/mass_balance" or key:"derived/balance_model" or key:"derived/trend"'
"""What months of ERA5 change: themselves; the years that they are part of; and, once a year is complete, what is fitted
to all years. Exports have a schedule of their own."""

Plan = tuple[str, Extent]
"""Assets in Dagster's selection syntax, and over which glaciers and times."""


class MonthConfig(dg.Config):
    """Which months to bring up to date."""

    start: str = Field(default="", description="First month, YYYY-MM; empty for the last month that was published.")
    end: str = Field(default="", description="Last month, YYYY-MM; empty for the same as `start`.")
    dry_run: bool = DRY


class GlacierConfig(dg.Config):
    """Which glacier to build anew, and from where on."""

    glacier: str = Field(description="Id in the registry, e.g. taku.")
    selection: str = Field(
        default="*",
        description='Assets in Dagster\'s selection syntax, e.g. key:"derived/outline"+ for all after an outline.',
    )
    start: str = Field(default="", description=_FIRST)
    end: str = Field(default="", description=_LAST)
    dry_run: bool = DRY


class WholeConfig(dg.Config):
    """What to build for all glaciers."""

    selection: str = Field(default="*", description="Assets in Dagster's selection syntax; * for everything.")
    start: str = Field(default="", description=_FIRST)
    end: str = Field(default="", description=_LAST)
    dry_run: bool = DRY


class SourceConfig(dg.Config):
    """Which raw asset to ask its provider for again; what is made from it follows."""

    assets: list[str] = Field(description="Raw assets, e.g. [raw/fog]. Unchanged files are not fetched again.")
    dry_run: bool = DRY


class CheckConfig(dg.Config):
    """How long to look."""

    deadline_s: float = Field(
        default=900.0, gt=0, description="Stop after so many seconds; the log says how many were looked at."
    )


def jobs(partitions: Partitions) -> list[dg.JobDefinition]:
    """The jobs."""

    @dg.op(description="Runs what a month of ERA5 changes, over all glaciers.")
    def months(context: dg.OpExecutionContext, config: MonthConfig, store: RawStore) -> None:
        start = config.start or last_published(store)
        carry_out(context, partitions, plans_of_months(partitions, start, config.end or start), config.dry_run)

    @dg.op(description="Runs the selected assets for one glacier, over all its partitions.")
    def glacier(context: dg.OpExecutionContext, config: GlacierConfig) -> None:
        extent = Extent((config.glacier,), config.start or None, config.end or None)
        carry_out(context, partitions, [(config.selection, extent)], config.dry_run)

    @dg.op(description="Runs the selected assets for all glaciers, one rectangular run per grain.")
    def everything(context: dg.OpExecutionContext, config: WholeConfig) -> None:
        extent = Extent((), config.start or None, config.end or None)
        carry_out(context, partitions, [(config.selection, extent)], config.dry_run)

    @dg.op(description="Asks providers for their files again, and runs what is made from them.")
    def source(context: dg.OpExecutionContext, config: SourceConfig) -> None:
        carry_out(context, partitions, [(chain(*config.assets), Extent())], config.dry_run)

    @dg.op(description="Takes the outlines in <home>/revisions/, and runs what is made from those that were accepted.")
    def drawn(context: dg.OpExecutionContext, store: RawStore) -> None:
        if dropped_files(store):  # raw/revision takes them where the run covers their partitions: here all
            carry_out(context, partitions, [('key:"raw/revision"', Extent())], False)
        glaciers = {glacier for glacier, _ in unbuilt_revisions(store)} | unfinished_glaciers(context)
        glaciers &= set(partitions.registry.ids)
        if not glaciers:
            context.log.info("no accepted revision waits to be built")
            return
        context.instance.add_run_tags(context.run_id, {GLACIERS: ",".join(sorted(glaciers))})
        carry_out(context, partitions, [(chain("derived/outline"), Extent(tuple(sorted(glaciers))))], False)

    @dg.op(description="Compares every archived file with its provider's, and observes the raw assets.")
    def compared(context: dg.OpExecutionContext, config: CheckConfig, store: RawStore) -> None:
        _compare(context, store, config.deadline_s)

    return [
        job(
            "update_latest_month",
            months,
            "Bring one month of ERA5 (by default the last that was published) into the tables: raw files, the "
            "temperature of all glaciers, and yearly values where a year is complete.",
        ),
        job("rebuild_glacier", glacier, "Build one glacier anew, or the part of it that a selection names."),
        job("rebuild_all", everything, "Build everything anew, in one rectangular run per grain."),
        job("refresh_source", source, "Ask a provider for its files again, and build what is made from them."),
        job("import_revisions", drawn, "Take corrected outlines from <home>/revisions/ and build what they change."),
        job("check_sources", compared, "Look whether providers still have the files that the archive holds."),
    ]


def job(name: str, op: Callable[..., Any], description: str) -> dg.JobDefinition:
    """A job by intent: one op, which plans and runs what the intent means."""

    @dg.graph(name=name, description=description)
    def body() -> None:
        op()

    return body.to_job(executor_def=dg.in_process_executor, tags={"arctic_assets/intent": name})


def chain(*assets: str) -> str:
    """The selection of some assets and of all that is made from them, but for exports, which have a schedule.

    Raw assets are among it: which windows are wanted follows from outlines. They ask for what the archive lacks.
    """
    return " or ".join(f'key:"{key}" or (key:"{key}"+ and (group:"raw" or group:"derived"))' for key in assets)


def plans_of_months(partitions: Partitions, start: str, end: str) -> list[Plan]:
    """What to run when the months from `start` to `end` (`YYYY-MM`) are new or changed.

    October to December belong to the balance year that ends in the next calendar year; only years that have ended are
    partitions.
    """
    last_year = int(end[:4]) + (end[5:] >= "10")
    years = [y for y in partitions.years.get_partition_keys() if start[:4] <= y <= str(last_year)]
    plans: list[Plan] = [(MONTHS, Extent(start=start, end=end))]
    if years:
        plans += [(YEARS, Extent(start=f"{years[0]}-01", end=f"{years[-1]}-12")), (ALL_YEARS, Extent())]
    return plans


def dropped_files(store: RawStore) -> list[Path]:
    """Files with outlines that wait in `<home>/revisions/`."""
    from arctic_assets.sources.revisions import SUFFIXES

    folder = store.settings.home / "revisions"
    return [p for p in sorted(folder.glob("*")) if p.suffix.lower() in SUFFIXES]


def unbuilt_revisions(store: RawStore) -> list[tuple[str, str]]:
    """(glacier, inventory) whose newest accepted revision is not the one in `derived.outline`, as readers see it."""
    from arctic_assets.assets.raw.revision import newest

    accepted = {key: int(held.content["revision"]) for key, held in newest(store.archive).items()}
    if not accepted:
        return []
    rows = store.readers.rows(Outline)
    built = dict(zip(zip(rows["glacier_id"], rows["inventory"], strict=True), rows["revision"], strict=True))
    return sorted(key for key, revision in accepted.items() if built.get(key) != revision)


def unfinished_glaciers(context: dg.OpExecutionContext) -> set[str]:
    """Glaciers that earlier runs of the job began to build and did not finish, since the last one that succeeded: their
    outlines may be there, and not all that is made from them.
    """
    found: set[str] = set()
    for run in context.instance.get_runs(dg.RunsFilter(job_name=context.job_name), limit=100):
        if run.is_success:
            break
        if run.is_finished:
            found.update(key for key in run.tags.get(GLACIERS, "").split(",") if key)
    return found


def last_published(store: RawStore) -> str:
    """Last month of ERA5 at the Climate Data Store; of a mirror, the last month that has ended."""
    from arctic_assets.sources import looks

    return looks.last_published_month() if store.settings.mirror_kind == "live" else last_month()


def carry_out(context: dg.OpExecutionContext, partitions: Partitions, plans: Sequence[Plan], dry_run: bool) -> None:
    """Run the plans in their order, and fail when a step or an ERROR check failed.

    Raises:
        Failure: names what failed; what came before it stays.
        SettingsError: a selection or an extent names nothing.
    """
    from arctic_assets.definitions import build_defs

    defs = build_defs(partitions.settings)
    graph = defs.resolve_asset_graph()
    runs = [r for chosen, extent in plans for r in build.plan(graph, build.select(graph, chosen), partitions, extent)]
    for run in runs:
        keys = ", ".join(key.to_user_string() for key in run.assets)
        context.log.info(f"{'would run' if dry_run else 'planned'}: {keys}, {run.n_partitions} partition(s) each")
    if dry_run:
        return
    tags = {PART_OF: context.run_id} | {k: v for k, v in context.run.tags.items() if k in (CAUSE, PROVIDER, VERSION)}
    began = time.monotonic()
    outcome = build.execute(graph, runs, _Parts(context, defs, tags))
    context.log.info(f"{len(runs)} run(s) in {time.monotonic() - began:.0f} s")
    _conclude(context, outcome)


class _Parts(build.Here):
    """Executes the runs of a job, until somebody terminates it."""

    def __init__(self, context: dg.OpExecutionContext, defs: dg.Definitions, tags: dict[str, str]) -> None:
        super().__init__(defs, context.instance, _reporter(context), tags)
        self._context = context

    def submit(self, run: "Run", keys: Sequence[dg.AssetKey]) -> "Future[Outcome]":
        """As `Here`; an interrupt between two runs would be lost without the look at the job's status."""
        job = self._context.instance.get_run_by_id(self._context.run_id)
        if job and job.status in (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED):
            raise DagsterExecutionInterruptedError
        return super().submit(run, keys)


def _reporter(context: dg.OpExecutionContext) -> "OnEvent":
    def report(run: "Run", event_type: dg.DagsterEventType, step: str) -> None:
        if event_type == dg.DagsterEventType.STEP_SUCCESS:
            context.log.info(f"done: {step}, {run.n_partitions} partition(s)")

    return report


def _conclude(context: dg.OpExecutionContext, outcome: "Outcome") -> None:
    for asset, check, severity in outcome.failed_checks:
        context.log.warning(f"{severity} {asset}: the check {check} found rows; see the asset's page")
    if not outcome.is_good:
        told = [f"{asset}: {error}" for asset, error in outcome.failed.items()]
        told += [f"{asset}: check {check}" for asset, check, severity in outcome.failed_checks if severity == "ERROR"]
        raise dg.Failure(
            "; ".join(told),
            metadata={"not run, because an upstream asset failed": ", ".join(outcome.skipped) or "none"},
            allow_retries=False,
        )


def _compare(context: dg.OpExecutionContext, store: RawStore, deadline_s: float) -> None:
    """Observe each raw asset: files compared, changed, and providers that could not be reached."""
    from arctic_assets.errors import SourceError, TimeUpError
    from arctic_assets.sources import looks

    until = time.monotonic() + deadline_s
    root, client = mirror_root(store), looks.quick(until)
    by_provider: dict[str, list[Any]] = {}
    for held in store.archive.all_objects():
        by_provider.setdefault(held.provider, []).append(held)
    for provider, objects in sorted(by_provider.items()):
        seen, failures = list[looks.Look](), list[str]()
        for held in objects:
            if time.monotonic() > until:
                break
            try:
                seen.append(looks.compare(held, client, root))
            except TimeUpError:
                break
            except SourceError as error:
                failures.append(str(error))
                if len(failures) >= 3:  # a provider that is down is not asked for each of its files
                    break
        counts = {verdict: sum(look.verdict == verdict for look in seen) for verdict in ("changed", "not comparable")}
        metadata: dict[str, Any] = {"files looked at": len(seen), "files held": len(objects), **counts}
        if counts["changed"]:
            lines = [f"- {look.held.path}: {look.what}" for look in seen if look.verdict == "changed"]
            metadata["what changed"] = dg.MetadataValue.md("\n".join(lines[:20]))
        if failures:
            metadata["not reached"] = failures[0]
        for key in raw_assets_of(provider):
            context.log_event(dg.AssetObservation(key, metadata=metadata))
        told = ", ".join(f"{n} {verdict}" for verdict, n in counts.items())
        context.log.info(f"{provider}: {len(seen)} of {len(objects)} files looked at, {told}")
        for failure in failures[:1]:
            context.log.warning(failure)


def mirror_root(store: RawStore) -> Path | None:
    """Directory of the mirror, where it is one."""
    current = store.settings
    return {"sample": current.sample, "directory": Path(current.mirror)}.get(current.mirror_kind)


def raw_assets_of(provider: str) -> list[str]:
    """Keys of the raw assets that archive a provider's files."""
    return sorted(key for key, its in _providers().items() if its == provider)


def provider_of(asset: str) -> str:
    """Provider of the files that a raw asset archives; empty for an asset that there is not."""
    return _providers().get(asset, "")


def _providers() -> dict[str, str]:
    """Provider by key of the raw asset."""
    from arctic_assets.definitions import RAW_MODULES

    return {f"raw/{module.__name__.rpartition('.')[2]}": module.source.PRODUCT.provider for module in RAW_MODULES}
