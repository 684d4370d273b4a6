"""Balance over a period of several years."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from arctic_assets.tables.base import NoUncertainty, Table, column

PERIOD_ORIGINS = ("geodetic", "literature")
SIGMA_KINDS = ("propagated", "short_period", "density_only", "published", "assumed")
_SIGMA = "balance_sigma_m_we_yr"


class BalancePeriod(Table):
    """Mean balance per year over a period, from elevation changes or publications; never spread over its years."""

    class Config:
        """Name and grain."""

        name = "balance_period"
        title = "Mass balance of periods"
        metadata: ClassVar = {"grain": "glacier"}

    glacier_id: str = column("Glacier: id in the registry", key=True)
    period_start: dt.date = column("First day of the period; see period_precision", key=True)
    period_end: dt.date = column("Last day of the period; see period_precision", key=True)
    origin: str = column(
        "geodetic: surface elevation change of WGMS FoG; literature: as published", key=True, isin=PERIOD_ORIGINS
    )
    reference: str = column("Publication or investigators", key=True)
    balance_m_we_yr: float = column(
        "Mean specific balance", unit="m w.e. yr-1", hard=(-6, 5), warn=(-4, 3.6), uncertainty=_SIGMA
    )
    balance_sigma_m_we_yr: float = column(
        "Uncertainty of the mean specific balance; sigma_kind says what it is",
        unit="m w.e. yr-1",
        positive=True,
        hard=(None, 5),
    )
    balance_gt_yr: float | None = column(
        "Mean mass balance", unit="Gt yr-1", nullable=True, hard=(-60, 20), uncertainty="balance_sigma_gt_yr"
    )
    balance_sigma_gt_yr: float | None = column(
        "Uncertainty of the mean mass balance, without that of the area",
        unit="Gt yr-1",
        nullable=True,
        positive=True,
        hard=(None, 60),
    )
    reference_area_km2: float | None = column(
        "Area by which m w.e. and Gt follow from each other; of start and end the mean where both are known",
        unit="km2",
        nullable=True,
        hard=(0.01, 25000),
        uncertainty=NoUncertainty.NOT_GIVEN,
    )
    density_kg_m3: float | None = column(
        "Density by which an elevation change became a balance; none where a balance was published. Its +/- 60 kg "
        "m-3 are contained in balance_sigma_m_we_yr",
        unit="kg m-3",
        nullable=True,
        hard=(300, 920),
        warn=(790, 917),
        uncertainty=NoUncertainty.SETTING,
    )
    sigma_kind: str = column(
        "propagated: from elevation change, density and dates; short_period: the same under five years, a lower bound; "
        "density_only: none reported, a lower bound; published: as printed; assumed: none printed, a setting",
        isin=SIGMA_KINDS,
    )
    period_precision: str = column(
        "day: dates of surveys; year: only years are known, the dates are their first and last day",
        isin=("day", "year"),
    )
