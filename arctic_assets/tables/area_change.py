"""Change of area between two inventories."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from arctic_assets.tables.base import NoUncertainty, RowRule, Table, column


class AreaChange(Table):
    """Change of area between every two inventories of a glacier, from the older image to the younger one."""

    class Config:
        """Name and grain."""

        name = "area_change"
        title = "Area change"
        metadata: ClassVar = {
            "grain": "glacier",
            "origin": "derived",
            "rules": (
                # between images of the same years the outlines' errors alone can make any rate
                RowRule(
                    "rate_pct_yr is -10 to 5 %/yr over five years and more",
                    "rate_pct_yr",
                    lambda rows: ~rows["rate_pct_yr"].between(-10, 5) & (rows["years"] >= 5),
                ),
            ),
        }

    glacier_id: str = column("Glacier: id in the registry", key=True)
    from_inventory: str = column("Inventory with the older image", key=True)
    to_inventory: str = column("Inventory with the younger image", key=True)
    from_date: dt.date = column("Date of the older image")
    to_date: dt.date = column("Date of the younger image")
    years: float = column("Time between the images", unit="yr", hard=(0.001, 200), uncertainty=NoUncertainty.EXACT)
    change_km2: float = column(
        "Younger area minus older area",
        unit="km2",
        hard=(-25000, 25000),
        uncertainty=("change_sigma_km2", "change_bound_km2"),
    )
    change_sigma_km2: float = column(
        "Uncertainty of the change: buffer method of both areas, boundaries that are free to move only, "
        "sqrt(s1^2 + s2^2 - 2 r s1 s2); 0 where none is",
        unit="km2",
        hard=(0, None),
    )
    change_sigma_independent_km2: float = column(
        "The same when the errors of boundary pieces are independent: the lower limit", unit="km2", hard=(0, None)
    )
    change_bound_km2: float = column(
        "Upper bound of the change's resolution error: both boundaries off by half a pixel to opposite sides",
        unit="km2",
        hard=(0, None),
    )
    rate_km2_yr: float = column(
        "Change per year between the image dates", unit="km2/yr", uncertainty="rate_sigma_km2_yr"
    )
    rate_sigma_km2_yr: float = column("Uncertainty of the rate", unit="km2/yr", hard=(0, None))
    rate_pct_yr: float = column(
        "Change per year in percent of the older area",
        unit="%/yr",
        warn=(-3, 0.5),
        uncertainty="rate_sigma_pct_yr",
    )
    rate_sigma_pct_yr: float = column("Uncertainty of the relative rate", unit="%/yr", hard=(0, None))
    correlation: float = column(
        "r, correlation of the errors of both areas that the uncertainty assumes",
        unit="1",
        hard=(0, 1),
        uncertainty=NoUncertainty.SETTING,
    )
    significant: bool = column("True when the change is more than 1.96 of change_sigma_km2, the cautious one")
