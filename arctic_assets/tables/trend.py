"""Trends of annual series."""

from __future__ import annotations

from typing import ClassVar

from arctic_assets.tables.base import Table, column

_INTERVAL = "slope_low to slope_high, 95 %"


class Trend(Table):
    """Linear trend of each annual series: Theil-Sen slope, Mann-Kendall test; ten years at least."""

    class Config:
        """Name and grain."""

        name = "trend"
        title = "Trends"
        metadata: ClassVar = {"grain": "glacier", "origin": "derived"}

    glacier_id: str = column("Glacier: id in the registry", key=True)
    variable: str = column(
        "Series: the column of the annual table that it is of, with the season or the origin where it has several",
        key=True,
    )
    unit: str = column("Unit of slope_per_decade, slope_low and slope_high: that of the variable, per decade")
    slope_per_decade: float = column(
        "Median of the slopes between all pairs of years, in `unit`", unit="1", uncertainty=_INTERVAL
    )
    slope_low: float = column("Lower end of the 95 % interval of the slope, in `unit`", unit="1", uncertainty=_INTERVAL)
    slope_high: float = column(
        "Upper end of the 95 % interval of the slope, in `unit`", unit="1", uncertainty=_INTERVAL
    )
    p_value: float = column(
        "Two-sided p of the Mann-Kendall test, variance corrected for ties and autocorrelation (Hamed and Rao 1998)",
        unit="1",
        hard=(0, 1),
        uncertainty="a probability",
    )
    n: int = column("Number of years with a value", unit="1", hard=(10, None), uncertainty="a count")
    period_start: int = column("First year with a value", hard=(1880, 2100))
    period_end: int = column("Last year with a value", hard=(1880, 2100))
