"""raw/era5: monthly means of the ERA5 reanalysis."""

import time
from collections.abc import Mapping
from functools import partial

import dagster as dg
from pydantic import Field

from arctic_assets.assets.members import members_of, outline_files, outlines_of
from arctic_assets.assets.wiring import MONTHLY, PART_OF, Acquired, RawStore, raw_asset
from arctic_assets.errors import UnavailableError
from arctic_assets.partitions import Partitions
from arctic_assets.science.links import Members
from arctic_assets.sources import cds
from arctic_assets.sources import era5 as source
from arctic_assets.sources.era5_files import Box, Index
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse

Bounds = tuple[float, float, float, float]

POOL = "cds"
"""Its limit, when one is set, is also how many jobs the Climate Data Store gets from us at once."""
_PAUSES_S = (120, 600, 1800)
_ENDING = (dg.DagsterRunStatus.CANCELING, dg.DagsterRunStatus.CANCELED)


class Era5Config(dg.Config):
    """How to deal with the queue of the Climate Data Store; nothing of it matters on a mirror."""

    longest_wait_hours: float = Field(
        default=24.0,
        gt=0,
        description="Wait so long in one run for the jobs. Then the run fails, the jobs go on, and the next run that "
        "wants the same months continues to wait for them.",
    )
    jobs_at_once: int = Field(
        default=cds.AT_ONCE,
        ge=1,
        description="So many jobs may be in the queue or running at once, those of other runs counted; a lower limit "
        f"of the pool '{POOL}' wins.",
    )


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(
        source.PRODUCT,
        "era5",
        partitions.months,
        deps=[dg.AssetDep(["raw", "rgi7"], partition_mapping=dg.AllPartitionMapping())],
        kinds={"netcdf"},
        freshness=MONTHLY,
        pool=POOL,
    )
    def era5(
        context: dg.AssetExecutionContext, config: Era5Config, store: RawStore, warehouse: Warehouse
    ) -> dg.MaterializeResult:
        """ERA5 monthly means of 2 m temperature, and the model's orography and land fraction, over the glaciers.

        Kept as the Climate Data Store delivers them: one NetCDF may hold 480 months. The archive knows by content
        which month, box and variable lie in which file, and prefers final values over preliminary ones (ERA5T),
        which appear about five days after a month ends and turn final two to three months later. Preliminary files
        stay, for comparison.

        Live, the store computes each file in a queue. The ids of the jobs are kept under `raw/.jobs`: a run that is
        killed or waits too long is continued by the next one that wants the same; a run that is terminated cancels
        its jobs, but for those that another run waits for. When the store does not answer, the run pauses and asks
        again.
        """
        months = context.partition_keys
        archive, origin = store.archive, store.origin()
        if origin.is_live:
            got = _by_jobs(context, config, store, _boxes(partitions, archive))
        else:
            got = store.acquire(origin, source.remotes(origin, months, {}, []))
        held = archive.objects(source.PRODUCT.provider)
        status = Index(held).status()
        reason = got.missing[0].reason if got.missing else _there(status)
        gaps = {month: f"no ERA5 2 m temperature of {month}: {reason}" for month in months if month not in status}
        known = [*archive.replaced(source.PRODUCT.provider).values(), *held]  # live, little of it comes in one run
        warehouse.record(known, asset="raw/era5", partitions=months, gaps=gaps)
        preliminary = sum(status.get(month) == "preliminary" for month in months)
        return got.result(gaps, months=len(months) - len(gaps), preliminary=preliminary)

    return [era5]


def _by_jobs(
    context: dg.AssetExecutionContext, config: Era5Config, store: RawStore, boxes: Mapping[str, Box]
) -> Acquired:
    """Bring what the Climate Data Store makes in jobs, with pauses when it does not answer any more.

    The pauses are made here and not by Dagster's retries: who terminates the run during one cancels its jobs too.

    Raises:
        SourceError: as `cds.Jobs`.
        UnavailableError: the store does not answer after all pauses.
    """
    limits = {pool.name: pool.limit for pool in context.instance.event_log_storage.get_pool_limits()}
    archive, origin = store.archive, store.origin()
    ledger = cds.Ledger(archive.root / ".jobs")
    with cds.Jobs(
        origin,
        ledger,
        run=context.run_id,
        state_of=partial(_state_of, context.instance),
        at_once=max(1, min(config.jobs_at_once, limits.get(POOL, config.jobs_at_once))),
        longest_wait_s=config.longest_wait_hours * 3600,
        log=context.log.info,
    ) as jobs:
        pauses_s = iter(_PAUSES_S)
        while True:
            held = archive.objects(source.PRODUCT.provider)
            wanted = source.remotes(origin, context.partition_keys, boxes, held, ledger.jobs())
            try:
                return store.acquire(jobs, jobs.answered(wanted))
            except UnavailableError as error:
                pause_s = next(pauses_s, None)
                if pause_s is None:
                    raise
                context.log.warning(f"{error}\nTrying again in {pause_s} s; the jobs at the CDS go on meanwhile.")
            time.sleep(pause_s)


def _state_of(instance: dg.DagsterInstance, run_id: str) -> cds.RunState:
    """Whether a run goes on, or somebody terminated it or the one that it is a part of, or it ended otherwise."""
    run = instance.get_run_by_id(run_id)
    if run is None:
        return cds.RunState.ENDED
    whole = instance.get_run_by_id(run.tags[PART_OF]) if PART_OF in run.tags else None
    if any(found.status in _ENDING for found in (run, whole) if found):
        return cds.RunState.CANCELLED
    return cds.RunState.ENDED if run.is_finished else cds.RunState.WAITS


def _there(status: Mapping[str, str]) -> str:
    return f"the archive has {min(status)} to {max(status)}" if status else "the archive has none"


def _boxes(partitions: Partitions, archive: Archive) -> dict[str, Box]:
    """What to ask ERA5 for: a box per RGI region around its outlines; around the registry's point where none is."""
    bounds: dict[str, list[Bounds]] = {}
    files = outline_files(archive)
    members = members_of(archive, partitions.registry.glaciers)
    for glacier in partitions.registry.glaciers:
        found = members[glacier.glacier_id]
        around: list[Bounds] = [(glacier.longitude, glacier.latitude, glacier.longitude, glacier.latitude)]
        if isinstance(found, Members) and glacier.o1region in files:
            outlines = outlines_of(archive, files[glacier.o1region], found.rgi7_ids)
            around += [(float(w), float(s), float(e), float(n)) for w, s, e, n in outlines.bounds.to_numpy()]
        bounds.setdefault(glacier.o1region, []).extend(around)
    return source.request_boxes(bounds)
