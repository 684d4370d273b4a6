"""All jobs: those that select assets for the launchpad, and those by intent (`updates`)."""

from __future__ import annotations

import dagster as dg

from arctic_assets.automation import exports, sensors, updates
from arctic_assets.partitions import Partitions


def build(partitions: Partitions) -> dg.Definitions:
    """Jobs, sensors and schedules."""
    temperature = dg.define_asset_job(
        "rebuild_temperature",
        selection=dg.AssetSelection.assets("derived/temperature_monthly"),
        partitions_def=partitions.month_glaciers,
        description=(
            "Monthly temperature over a range of months and glaciers in one run: set the tags "
            "dagster/asset_partition_range_start and dagster/asset_partition_range_end."
        ),
    )
    by_intent = updates.jobs(partitions)
    own = dg.Definitions(
        jobs=[temperature, *by_intent], sensors=sensors.build(partitions, {job.name: job for job in by_intent})
    )
    return dg.Definitions.merge(own, exports.build(partitions))
