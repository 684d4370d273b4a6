"""Air temperature at 2 m over the glacier: by month, and by year and season."""

from __future__ import annotations

from typing import ClassVar

from arctic_assets.tables.base import Table, column

_GLACIER = "Glacier: id in the registry"
_NO_SIGMA = "ERA5 monthly means carry no uncertainty; the difference to t2m_adjusted_c shows the elevation mismatch"


class TemperatureMonthly(Table):
    """Monthly mean air temperature over each outline, weighted by the overlap with each ERA5 cell."""

    class Config:
        """Name and grain."""

        name = "temperature_monthly"
        title = "Temperature, monthly"
        metadata: ClassVar = {"grain": "month"}

    glacier_id: str = column(_GLACIER, key=True)
    month: str = column("Month, YYYY-MM", key=True)
    t2m_c: float = column(
        "2 m air temperature, mean over the outline", unit="degC", hard=(-50, 20), uncertainty=_NO_SIGMA
    )
    t2m_land_c: float | None = column(
        "Mean weighted by the land fraction of each cell too; missing where the cells are nearly all sea",
        unit="degC",
        nullable=True,
        hard=(-50, 20),
        uncertainty=_NO_SIGMA,
    )
    t2m_preliminary_c: float | None = column(
        "t2m_c from the preliminary files (ERA5T) of a month that is final by now: the newest of them in the archive, "
        "also where its bytes were replaced since; missing where the archive never held one. t2m_c minus it is how far "
        "the month moved; rows as they were written before are in history.temperature_monthly",
        unit="degC",
        nullable=True,
        hard=(-50, 20),
        uncertainty=_NO_SIGMA,
    )
    t2m_adjusted_c: float | None = column(
        "t2m_c moved from the ERA5 orography to the glacier's mean elevation by lapse_rate_k_per_km",
        unit="degC",
        nullable=True,
        hard=(-60, 30),
        uncertainty=_NO_SIGMA,
    )
    lapse_rate_k_per_km: float | None = column("Lapse rate used for t2m_adjusted_c", unit="K km-1", nullable=True)
    orography_m: float | None = column(
        "ERA5 surface elevation over the outline, same weights",
        unit="m",
        nullable=True,
        hard=(-200, 7000),
        uncertainty="a model field, exact by definition",
    )
    n_cells: int = column("Number of ERA5 cells the outline touches", unit="1", hard=(1, None))
    max_weight: float = column(
        "Largest share of the outline in one cell", unit="1", hard=(0, 1.000001), uncertainty="exact geometry"
    )
    land_fraction: float | None = column(
        "ERA5 land fraction over the outline, same weights",
        unit="1",
        nullable=True,
        hard=(-0.001, 1.001),
        uncertainty="a model field, exact by definition",
    )
    status: str = column("preliminary (ERA5T) or final", isin=("preliminary", "final"))
    inventory: str = column("Inventory whose outline was used: the nearest in time")


class TemperatureAnnual(Table):
    """Mean temperature and degree days of calendar years, balance years and seasons; only where no month is missing."""

    class Config:
        """Name and grain."""

        name = "temperature_annual"
        title = "Temperature, annual"
        metadata: ClassVar = {"grain": "year"}

    glacier_id: str = column(_GLACIER, key=True)
    year: int = column(
        "Year; balance years and winters are labelled by the year they end in", key=True, hard=(1900, 2100)
    )
    kind: str = column(
        "calendar: January to December; balance_year: October to September; djf: December to February; "
        "mam: March to May; jja: June to August; son: September to November",
        key=True,
        isin=("calendar", "balance_year", "djf", "mam", "jja", "son"),
    )
    t2m_c: float = column(
        "Mean of the months, weighted by their days", unit="degC", hard=(-50, 20), uncertainty=_NO_SIGMA
    )
    t2m_land_c: float | None = column(
        "Mean of t2m_land_c, weighted by days; missing unless all months have it",
        unit="degC",
        nullable=True,
        hard=(-50, 20),
        uncertainty=_NO_SIGMA,
    )
    t2m_adjusted_c: float | None = column(
        "Mean of t2m_adjusted_c, weighted by days; missing unless all months have it",
        unit="degC",
        nullable=True,
        hard=(-60, 30),
        uncertainty=_NO_SIGMA,
    )
    n_months: int = column("Number of months in the mean: 12 in a year, 3 in a season", unit="1", hard=(3, 12))
    degree_days_k_d: float = column(
        "Positive degree days from the monthly t2m_c (Calov and Greve 2005, standard deviation 4.5 K)",
        unit="K d",
        hard=(0, 6000),
        uncertainty="depends on the assumed standard deviation, 4 to 5 K",
    )
    status: str = column("preliminary when any month is", isin=("preliminary", "final"))
