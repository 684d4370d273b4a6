"""The schedule of the exports: every night, if the tables have changed since they were written."""

from typing import Any

import dagster as dg

from arctic_assets.assets.exports.products import stale_exports
from arctic_assets.assets.wiring import RawStore
from arctic_assets.automation.updates import CAUSE
from arctic_assets.partitions import Partitions


def build(partitions: Partitions, exports: Any) -> list[dg.ScheduleDefinition]:
    """The schedules."""
    live = partitions.settings.mirror_kind == "live"

    @dg.schedule(
        job=exports,
        cron_schedule="0 3 * * *",
        execution_timezone="UTC",
        description="Writes the exports anew when the tables changed since they were written.",
        default_status=dg.DefaultScheduleStatus.RUNNING if live else dg.DefaultScheduleStatus.STOPPED,
    )
    def exports_every_night(context: dg.ScheduleEvaluationContext, store: RawStore) -> dg.RunRequest | dg.SkipReason:
        if not store.settings.published.exists():
            return dg.SkipReason("nothing was built yet")
        stale = stale_exports(context.instance, store.readers)
        if not stale:
            return dg.SkipReason("the exports are made from the tables as they are")
        return dg.RunRequest(tags={CAUSE: f"tables changed since these were written: {', '.join(stale)}"})

    return [exports_every_night]
