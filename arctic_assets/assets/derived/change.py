"""derived/area_change and derived/trend: what the dated and yearly tables say together."""

import dagster as dg
import pandas as pd
from pydantic import Field

from arctic_assets.assets.wiring import Made, gap_reasons, table_asset
from arctic_assets.partitions import Partitions
from arctic_assets.science import area_change as changes
from arctic_assets.science import trend as trends
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Area, AreaChange, MassBalance, TemperatureAnnual, Trend, Velocity
from arctic_assets.tables.mass_balance import ORIGINS

SERIES = (
    # variable, table, column, rows that make the series
    ("t2m_c", TemperatureAnnual, "t2m_c", "kind == 'calendar'"),
    ("t2m_jja_c", TemperatureAnnual, "t2m_c", "kind == 'jja'"),
    ("degree_days_k_d", TemperatureAnnual, "degree_days_k_d", "kind == 'calendar'"),
    *(
        (f"annual_balance_m_we_{origin}", MassBalance, "annual_balance_m_we", f"origin == '{origin}'")
        for origin in ORIGINS
    ),
    ("speed_homogenised_m_yr", Velocity, "speed_homogenised_m_yr", "speed_homogenised_m_yr.notna()"),
)
"""The series whose trend is published. One per origin of a balance: where origins follow each other, the step between
them would be a trend. Of the speed the series that is free of changing coverage: the plain mean's trend follows which
part of the line was measured (in the SYNTHETIC sample 2 of 14 intervals missed the truth, of this series none)."""


class AreaChangeConfig(dg.Config):
    """How the errors of two areas go together."""

    correlation: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Correlation of the errors of two areas of one glacier: 0 is cautious, towards 1 where the same "
        "margin was drawn again.",
    )


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets."""

    @table_asset(AreaChange, partitions, deps=["derived/area"], code_version="2", kinds={"pandas"})
    def area_change(context: dg.AssetExecutionContext, config: AreaChangeConfig, warehouse: Warehouse) -> Made:
        """Change of area between each pair of dated inventories of a glacier, with the uncertainty of the change
        itself, its rate in km2 and in per cent a year, and whether it is beyond 1.96 standard deviations.
        """
        keys = list(context.partition_keys)
        areas = warehouse.rows(Area, pd.DataFrame({"glacier_id": keys}))
        found = changes.area_changes(areas, config.correlation)
        frame = _with_origin(found, areas, ("from_inventory", "to_inventory"))
        upstream = gap_reasons(warehouse, "derived/area")
        gaps = {}
        for key in set(keys) - set(frame["glacier_id"]):
            n = int((areas["glacier_id"] == key).sum())
            reason = next((r for p, r in sorted(upstream.items()) if p.startswith(f"{key}|")), "")
            gaps[key] = f"{n} dated area(s), a change needs two" + (f"; {reason}" if reason else "")
        return Made(frame, gaps)

    @table_asset(
        Trend,
        partitions,
        deps=["derived/temperature_annual", "derived/mass_balance", "derived/velocity"],
        code_version="1",
        kinds={"scipy"},
    )
    def trend(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Made:
        """Theil-Sen slope per decade with its 95 % interval, and the Mann-Kendall test corrected for autocorrelation
        (Hamed and Rao 1998), of each yearly series with at least ten years.
        """
        keys = list(context.partition_keys)
        scope = pd.DataFrame({"glacier_id": keys})
        parts = []
        for variable, model, column, which in SERIES:
            rows = warehouse.rows(model, scope).query(which)
            unit = next(c.unit for c in model.columns() if c.name == column)
            own = rows[["glacier_id", "year", "source_ids", "is_synthetic"]]
            parts.append(own.assign(variable=variable, value=rows[column], unit=f"{unit} per decade"))
        series = pd.concat(parts, ignore_index=True).dropna(subset="value")
        found, reasons = trends.trends(series)
        origin = series.groupby(["glacier_id", "variable"], as_index=False).agg(
            source_ids=("source_ids", _union), is_synthetic=("is_synthetic", "any"), unit=("unit", "first")
        )
        frame = found.merge(origin, on=["glacier_id", "variable"])
        short = {key: [r for (g, _), r in reasons.items() if g == key] for key in keys}
        gaps = {key: "; ".join(short[key]) or "no yearly series" for key in keys if key not in set(frame["glacier_id"])}
        return Made(frame if len(frame) else Trend.no_rows(), gaps)

    return [area_change, trend]


def _with_origin(found: pd.DataFrame, areas: pd.DataFrame, inventories: tuple[str, str]) -> pd.DataFrame:
    """Rows of a pair of inventories with the sources of both."""
    if found.empty:
        return AreaChange.no_rows()
    by_inventory = areas.set_index(["glacier_id", "inventory"])
    pairs = [[by_inventory.loc[(row["glacier_id"], row[i])] for i in inventories] for row in found.to_dict("records")]
    return found.assign(
        source_ids=[_union(pd.Series([area["source_ids"] for area in pair])) for pair in pairs],
        is_synthetic=[any(bool(area["is_synthetic"]) for area in pair) for pair in pairs],
    )


def _union(ids: pd.Series) -> list[str]:
    return sorted({one for some in ids for one in some})
