"""Jobs named by intent. Sensors and schedules that launch them are a later part."""

from __future__ import annotations

from typing import Any

import dagster as dg

from arctic_assets.partitions import Partitions


def build(partitions: Partitions) -> list[Any]:
    """The jobs: one over the assets of each grain, so that the launchpad takes a range or a rectangle."""
    return [
        dg.define_asset_job(
            "rebuild_exports",
            selection=dg.AssetSelection.groups("exports") - dg.AssetSelection.assets("exports/atlas"),  # has partitions
            description="Workbook, Parquet tables, the DuckDB copy for readers, and the coverage map.",
        ),
        dg.define_asset_job(
            "rebuild_temperature",
            selection=dg.AssetSelection.assets("derived/temperature_monthly"),
            partitions_def=partitions.month_glaciers,
            description=(
                "Monthly temperature over a range of months and glaciers in one run: set the tags "
                "dagster/asset_partition_range_start and dagster/asset_partition_range_end."
            ),
        ),
    ]
