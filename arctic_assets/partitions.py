"""The partitions: glaciers, inventories, months, years, their products, and how one grain maps to another.

Assets of one grain share one partitions definition, so that a chain of them runs in one run. What a run was asked
for (a key, a range, a rectangle) reaches an asset as a frame of (glacier, time) through `scope`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from arctic_assets.glaciers import Registry
from arctic_assets.settings import Settings

if TYPE_CHECKING:
    from arctic_assets.tables.base import Grain

# Multi-partition mappings and backfill policies are beta in Dagster 1.13, which is pinned exactly;
# arctic_assets_tests/test_partitions.py holds what we use of them.
warnings.filterwarnings("ignore", category=dg.BetaWarning)

MONTH_FORMAT = "%Y-%m"
YEAR_FORMAT = "%Y"


@dataclass(frozen=True)
class Partitions:
    """All partitions definitions of a platform with this registry and these settings."""

    registry: Registry
    settings: Settings

    @cached_property
    def glaciers(self) -> dg.StaticPartitionsDefinition:
        """One key per glacier."""
        return dg.StaticPartitionsDefinition(list(self.registry.ids))

    @cached_property
    def months(self) -> dg.TimeWindowPartitionsDefinition:
        """One key per month that has ended, `YYYY-MM`, open ended."""
        return dg.TimeWindowPartitionsDefinition(
            cron_schedule="0 0 1 * *", fmt=MONTH_FORMAT, start=self.settings.start_month
        )

    @cached_property
    def years(self) -> dg.TimeWindowPartitionsDefinition:
        """One key per year that has ended, `YYYY`, open ended."""
        return dg.TimeWindowPartitionsDefinition(
            cron_schedule="0 0 1 1 *", fmt=YEAR_FORMAT, start=str(self.settings.start_year)
        )

    @cached_property
    def inventories(self) -> dg.StaticPartitionsDefinition:
        """The reference `rgi7` and the nominal years."""
        return dg.StaticPartitionsDefinition(list(self.settings.inventories))

    @cached_property
    def month_glaciers(self) -> dg.MultiPartitionsDefinition:
        """Keys `glacier|YYYY-MM`."""
        return dg.MultiPartitionsDefinition({"glacier": self.glaciers, "month": self.months})

    @cached_property
    def year_glaciers(self) -> dg.MultiPartitionsDefinition:
        """Keys `glacier|YYYY`."""
        return dg.MultiPartitionsDefinition({"glacier": self.glaciers, "year": self.years})

    @cached_property
    def inventory_glaciers(self) -> dg.MultiPartitionsDefinition:
        """Keys `glacier|inventory`."""
        return dg.MultiPartitionsDefinition({"glacier": self.glaciers, "inventory": self.inventories})

    def of(self, grain: Grain) -> dg.PartitionsDefinition | None:
        """The partitions of a table's grain."""
        return {
            "glacier": self.glaciers,
            "inventory": self.inventory_glaciers,
            "month": self.month_glaciers,
            "year": self.year_glaciers,
            "none": None,
        }[grain]


PER_GLACIER = dg.MultiPartitionMapping(
    {"glacier": dg.DimensionPartitionMapping("glacier", dg.IdentityPartitionMapping())}
)
"""All inventories (or years, or months) of a glacier matter to each partition of the same glacier."""

MONTHS_OF_YEAR = dg.MultiPartitionMapping(
    {
        "glacier": dg.DimensionPartitionMapping("glacier", dg.IdentityPartitionMapping()),
        "month": dg.DimensionPartitionMapping("year", dg.TimeWindowPartitionMapping(start_offset=-1)),
    }
)
"""A year needs its own months and, for the balance year, October to December before. Dagster counts the offset in
whole years, so January to September of the year before are named too; they do not enter the result."""


def scope(keys: Iterable[str]) -> pd.DataFrame:
    """The partition keys of a run as rows.

    Args:
        keys: keys as `context.partition_keys` gives them; products carry their dimensions.

    Returns:
        Frame with the columns of the dimensions, `glacier` named `glacier_id` and years as integers, and the key
        itself as `partition`. Keys of one dimension give `glacier_id` or `month`.
    """
    rows: list[dict[str, Any]] = []
    for key in keys:
        if isinstance(key, dg.MultiPartitionKey):
            dimensions = dict(key.keys_by_dimension)
            row: dict[str, Any] = {"glacier_id": dimensions.pop("glacier"), **dimensions}
            if "year" in row:
                row["year"] = int(row["year"])
        else:
            row = {"month" if key[:4].isdigit() and key[4:5] == "-" else "glacier_id": key}
        rows.append({**row, "partition": str(key)})
    return pd.DataFrame(rows)


def range_tags(first: str, last: str) -> dict[str, str]:
    """Tags that make one run cover the whole range, or for two dimensions the whole rectangle, between two keys."""
    return {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}


def rectangle(glaciers: Sequence[str], times: Sequence[str]) -> dict[str, str]:
    """Range tags over consecutive glaciers and consecutive times."""
    return range_tags(f"{glaciers[0]}|{times[0]}", f"{glaciers[-1]}|{times[-1]}")
