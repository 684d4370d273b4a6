"""Air temperature at 2 m over the glacier: by month, and by year and season."""

from __future__ import annotations

from typing import ClassVar

from arctic_assets.tables.base import NoUncertainty, RowRule, Table, column

_GLACIER = "Glacier: id in the registry"
SIGMA_KINDS = ("assumed", "assumed_and_elevation")
_SIGMA, _ADJUSTED_SIGMA = "t2m_sigma_c", "t2m_adjusted_sigma_c"
_KIND = (
    "assumed: what is assumed for ERA5 monthly means, which come without an uncertainty; assumed_and_elevation: with "
    "the mismatch of the model's surface and the glacier's mean elevation"
)


class TemperatureMonthly(Table):
    """Monthly mean air temperature over each outline, weighted by the overlap with each ERA5 cell."""

    class Config:
        """Name and grain."""

        name = "temperature_monthly"
        title = "Temperature, monthly"
        metadata: ClassVar = {
            "grain": "month",
            "origin": "reanalysis",
            "rules": (
                RowRule(
                    "t2m_adjusted_c is within 15 K of t2m_c",
                    "t2m_adjusted_c",
                    lambda rows: (rows["t2m_adjusted_c"] - rows["t2m_c"]).abs() > 15,
                ),
            ),
        }

    glacier_id: str = column(_GLACIER, key=True)
    month: str = column("Month, YYYY-MM", key=True)
    t2m_c: float = column("2 m air temperature, mean over the outline", unit="degC", hard=(-50, 20), uncertainty=_SIGMA)
    t2m_land_c: float | None = column(
        "Mean weighted by the land fraction of each cell too; missing where the cells are nearly all sea",
        unit="degC",
        nullable=True,
        hard=(-50, 20),
        uncertainty=_SIGMA,
    )
    t2m_preliminary_c: float | None = column(
        "t2m_c from the preliminary files (ERA5T) of a month that is final by now: the newest of them in the archive, "
        "also where its bytes were replaced since; missing where the archive never held one. t2m_c minus it is how far "
        "the month moved; rows as they were written before are in history.temperature_monthly",
        unit="degC",
        nullable=True,
        hard=(-50, 20),
        uncertainty=_SIGMA,
    )
    t2m_adjusted_c: float | None = column(
        "t2m_c moved from the ERA5 orography to the glacier's mean elevation by lapse_rate_k_per_km",
        unit="degC",
        nullable=True,
        hard=(-60, 30),
        uncertainty=_ADJUSTED_SIGMA,
    )
    t2m_sigma_c: float = column(
        "Uncertainty of t2m_c, t2m_land_c and t2m_preliminary_c as the temperature over the glacier; see sigma_kind",
        unit="degC",
        positive=True,
        hard=(None, 30),
    )
    t2m_adjusted_sigma_c: float | None = column(
        "Uncertainty of t2m_adjusted_c: as assumed for ERA5, and the part of the adjustment by which the lapse rate is "
        "uncertain",
        unit="degC",
        nullable=True,
        positive=True,
        hard=(None, 30),
    )
    sigma_kind: str = column(_KIND, isin=SIGMA_KINDS)
    lapse_rate_k_per_km: float | None = column(
        "Lapse rate used for t2m_adjusted_c", unit="K km-1", nullable=True, uncertainty=NoUncertainty.SETTING
    )
    orography_m: float | None = column(
        "ERA5 surface elevation over the outline, same weights",
        unit="m",
        nullable=True,
        hard=(-200, 7000),
        uncertainty=NoUncertainty.EXACT,
    )
    n_cells: int = column(
        "Number of ERA5 cells the outline touches", unit="1", hard=(1, None), uncertainty=NoUncertainty.COUNT
    )
    max_weight: float = column(
        "Largest share of the outline in one cell", unit="1", hard=(0, 1.000001), uncertainty=NoUncertainty.EXACT
    )
    land_fraction: float | None = column(
        "ERA5 land fraction over the outline, same weights",
        unit="1",
        nullable=True,
        hard=(-0.001, 1.001),
        uncertainty=NoUncertainty.EXACT,
    )
    status: str = column("preliminary (ERA5T) or final", isin=("preliminary", "final"))
    inventory: str = column("Inventory whose outline was used: the nearest in time")


class TemperatureAnnual(Table):
    """Mean temperature and degree days of calendar years, balance years and seasons; only where no month is missing."""

    class Config:
        """Name and grain."""

        name = "temperature_annual"
        title = "Temperature, annual"
        metadata: ClassVar = {"grain": "year", "origin": "reanalysis"}

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
    t2m_c: float = column("Mean of the months, weighted by their days", unit="degC", hard=(-50, 20), uncertainty=_SIGMA)
    t2m_land_c: float | None = column(
        "Mean of t2m_land_c, weighted by days; missing unless all months have it",
        unit="degC",
        nullable=True,
        hard=(-50, 20),
        uncertainty=_SIGMA,
    )
    t2m_adjusted_c: float | None = column(
        "Mean of t2m_adjusted_c, weighted by days; missing unless all months have it",
        unit="degC",
        nullable=True,
        hard=(-60, 30),
        uncertainty=_ADJUSTED_SIGMA,
    )
    t2m_sigma_c: float = column(
        "Uncertainty of t2m_c and t2m_land_c, the errors of all months having the same sign; see sigma_kind",
        unit="degC",
        positive=True,
        hard=(None, 30),
    )
    t2m_adjusted_sigma_c: float | None = column(
        "Uncertainty of t2m_adjusted_c, likewise", unit="degC", nullable=True, positive=True, hard=(None, 30)
    )
    sigma_kind: str = column(_KIND, isin=SIGMA_KINDS)
    n_months: int = column(
        "Number of months in the mean: 12 in a year, 3 in a season",
        unit="1",
        hard=(3, 12),
        uncertainty=NoUncertainty.COUNT,
    )
    degree_days_k_d: float = column(
        "Positive degree days from the monthly t2m_c (Calov and Greve 2005, standard deviation 4.5 K)",
        unit="K d",
        hard=(0, 6000),
        uncertainty="degree_days_sigma_k_d",
    )
    degree_days_sigma_k_d: float = column(
        "Uncertainty of the degree days from t2m_sigma_c, near 0 where it never thaws; that of the assumed 4.5 K (4 to "
        "5) is not in it",
        unit="K d",
        hard=(0, 6000),
    )
    status: str = column("preliminary when any month is", isin=("preliminary", "final"))
