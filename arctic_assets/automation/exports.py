"""Keeping the exports up to date: the job that writes those that are stale, its schedule, and what shows that they are.

Belongs here: when exports are written and judged. Not here: which are stale (`assets.exports.staleness`).
"""

import dagster as dg
from pydantic import Field

from arctic_assets.assets.exports.staleness import ATLAS, WHOLE, stale_exports, told
from arctic_assets.assets.wiring import RawStore
from arctic_assets.automation import updates
from arctic_assets.automation.build import Extent
from arctic_assets.checks import of_exports
from arctic_assets.checks.evidence import latest_materialization
from arctic_assets.partitions import Partitions


class ExportConfig(dg.Config):
    """Which exports to write."""

    only_stale: bool = Field(
        default=True,
        description="Leave out what is made from the tables as they are, of the atlas the pages that are. Else all.",
    )
    dry_run: bool = updates.DRY


def build(partitions: Partitions) -> dg.Definitions:
    """The job, the schedule and the sensor."""
    ids = partitions.registry.ids
    live = partitions.settings.mirror_kind == "live"

    @dg.op(description="Writes the exports that are stale: of the atlas, the pages that are.")
    def stale(context: dg.OpExecutionContext, config: ExportConfig, store: RawStore) -> None:
        plans: list[updates.Plan] = [("group:exports", Extent())]
        if config.only_stale:
            found = stale_exports(context.instance, store.readers, ids)
            context.log.info(told(found) or "the exports are made from the tables as they are")
            whole = [f'key:"{one.export}"' for one in found if one.export in WHOLE]
            pages = tuple(one.glacier_id for one in found if one.export == ATLAS)
            plans = [(" or ".join(whole), Extent())] if whole else []
            plans += [(f'key:"{ATLAS}"', Extent(pages))] if pages else []
        updates.carry_out(context, partitions, plans, config.dry_run)

    job = updates.job(
        "rebuild_exports",
        stale,
        "Write the exports that are stale: workbook, Parquet tables, coverage map, and pages of the atlas.",
    )

    @dg.schedule(
        job=job,
        cron_schedule="0 3 * * *",
        execution_timezone="UTC",
        description="Writes the exports anew that were never written, or whose tables changed since they were.",
        default_status=dg.DefaultScheduleStatus.RUNNING if live else dg.DefaultScheduleStatus.STOPPED,
    )
    def exports_every_night(context: dg.ScheduleEvaluationContext, store: RawStore) -> dg.RunRequest | dg.SkipReason:
        if not store.settings.published.exists():
            return dg.SkipReason("nothing was built yet")
        found = stale_exports(context.instance, store.readers, ids)
        if not found:
            return dg.SkipReason("the exports are made from the tables as they are")
        return dg.RunRequest(tags={updates.CAUSE: told(found)})

    @dg.sensor(
        name="exports_judged",
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=(
            "The tables changed, or an export was written: the exports' checks are evaluated anew, so that the UI says "
            "which are stale. Launches nothing."
        ),
    )
    def exports_judged(context: dg.SensorEvaluationContext, store: RawStore) -> dg.SensorResult | dg.SkipReason:
        published = store.settings.published
        if not published.exists():
            return dg.SkipReason("nothing was built yet")
        seen = _stamp(context.instance, published.stat().st_mtime_ns)
        if context.cursor == seen:
            return dg.SkipReason("neither the tables nor the exports were written since the last look")
        found = of_exports.evaluations(context.instance, store.readers, partitions.registry)
        return dg.SensorResult(asset_events=list(found.values()), cursor=seen)

    return dg.Definitions(jobs=[job], schedules=[exports_every_night], sensors=[exports_judged])


def _stamp(instance: dg.DagsterInstance, published_ns: int) -> str:
    """What the exports' checks depend on: when the tables were published, and what was exported last."""
    written = [latest_materialization(instance, dg.AssetKey.from_user_string(export)) for export in (*WHOLE, ATLAS)]
    return str([published_ns, *(one.storage_id if one else None for one in written)])
