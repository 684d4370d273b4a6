"""Trends of annual series."""

from __future__ import annotations

from typing import ClassVar

import pandas as pd

from arctic_assets.tables.base import NoUncertainty, RowRule, Table, column

_INTERVAL = ("slope_low", "slope_high")
T2M_HARD_K = (-3.0, 4.0)
"""Limits of a temperature trend, K per decade: beyond, a unit or an annual mean is wrong."""


def _impossible(rows: pd.DataFrame) -> pd.Series:
    return rows["variable"].str.startswith("t2m") & ~rows["slope_per_decade"].between(*T2M_HARD_K)


class Trend(Table):
    """Linear trend of each annual series: Theil-Sen slope, Mann-Kendall test; ten years at least."""

    class Config:
        """Name and grain."""

        name = "trend"
        title = "Trends"
        metadata: ClassVar = {
            "grain": "glacier",
            "origin": "derived",
            "rules": (RowRule("the slope of a temperature is -3 to 4 K per decade", "slope_per_decade", _impossible),),
        }

    glacier_id: str = column("Glacier: id in the registry", key=True)
    variable: str = column(
        "Series: the column of the annual table that it is of, with the season or the origin where it has several. The "
        "interval of a modelled balance is without the uncertainty of the model's parameters",
        key=True,
    )
    unit: str = column("Unit of slope_per_decade, slope_low and slope_high: that of the variable, per decade")
    slope_per_decade: float = column(
        "Median of the slopes between all pairs of years, in `unit`", unit="1", uncertainty=_INTERVAL
    )
    slope_low: float = column(
        "Lower end of the 95 % interval of the slope, in `unit`", unit="1", uncertainty=NoUncertainty.ITSELF
    )
    slope_high: float = column(
        "Upper end of the 95 % interval of the slope, in `unit`", unit="1", uncertainty=NoUncertainty.ITSELF
    )
    p_value: float = column(
        "Two-sided p of the Mann-Kendall test, variance corrected for ties and autocorrelation (Hamed and Rao 1998)",
        unit="1",
        hard=(0, 1),
        uncertainty=NoUncertainty.ITSELF,
    )
    n: int = column("Number of years with a value", unit="1", hard=(10, None), uncertainty=NoUncertainty.COUNT)
    period_start: int = column("First year with a value", hard=(1880, 2100))
    period_end: int = column("Last year with a value", hard=(1880, 2100))
