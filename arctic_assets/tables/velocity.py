"""Speed of the ice along the centreline."""

from __future__ import annotations

from typing import ClassVar

from arctic_assets.tables.base import NoUncertainty, Table, column


class Velocity(Table):
    """Annual mean speed along the centreline; years in which less than half of the line was measured have no row.

    The line of a group is made of the centrelines of all its outlets. Of these count, year by year, the outlets of
    which at least half was measured.
    """

    class Config:
        """Name and grain."""

        name = "velocity"
        title = "Velocity"
        metadata: ClassVar = {"grain": "year", "origin": "satellite"}

    glacier_id: str = column("Glacier: id in the registry", key=True)
    year: int = column("Calendar year", key=True, hard=(1900, 2100))
    speed_m_yr: float = column(
        "Mean surface speed along the measured part of the centreline, of a group of those of its outlets, weighted by "
        "length",
        unit="m yr-1",
        hard=(0, 3000),
        warn=(0, 1500),
        uncertainty="speed_sigma_m_yr",
    )
    speed_sigma_m_yr: float = column(
        "Uncertainty of the mean, errors along the line fully correlated: the safe value",
        unit="m yr-1",
        positive=True,
        hard=(None, 1000),
    )
    speed_sigma_independent_m_yr: float = column(
        "The same with independent errors of the sampled cells: the lower limit",
        unit="m yr-1",
        positive=True,
        hard=(None, 1000),
    )
    speed_homogenised_m_yr: float | None = column(
        "Speed of the measured part over its long-term speed, times the long-term speed of the whole line: free of "
        "changes in which part of the line, or which outlets of a group, were measured; missing where that part makes "
        "less than a fifth of the long-term motion",
        unit="m yr-1",
        nullable=True,
        hard=(0, 3000),
        uncertainty="speed_homogenised_sigma_m_yr",
    )
    speed_homogenised_sigma_m_yr: float | None = column(
        "Uncertainty of the homogenised speed: that of the year's speeds, errors along the line fully correlated, and, "
        "where not all of the line was measured, that of the long-term speeds",
        unit="m yr-1",
        nullable=True,
        positive=True,
        hard=(None, 3000),
    )
    coverage_fraction: float = column(
        "Part of the length of the centreline with a speed and an error; for a group, of all its outlets' lines",
        unit="1",
        hard=(0, 1.000001),
        uncertainty=NoUncertainty.EXACT,
    )
    count_median: float = column(
        "Median number of image pairs per measured point: few give errors that are too small",
        unit="1",
        hard=(1, None),
        warn=(5, None),
        uncertainty=NoUncertainty.EXACT,
    )
    below_noise: bool = column(
        "True where the speed is below twice its uncertainty: a mean of magnitudes is then too large"
    )
    n_outlets: int = column(
        "Number of centrelines in the mean; 1 for a single glacier",
        unit="1",
        hard=(1, None),
        uncertainty=NoUncertainty.COUNT,
    )
    length_km: float = column(
        "Geodesic length of the centrelines, measured or not",
        unit="km",
        hard=(0.05, 20000),
        uncertainty=NoUncertainty.NOT_GIVEN,
    )
    sampled_length_km: float = column(
        "Length of the measured part", unit="km", hard=(0.01, 20000), uncertainty=NoUncertainty.EXACT
    )
    region: str = column("Region of the ITS_LIVE mosaic, e.g. RGI07A")
    mosaic_version: str = column("Version of the ITS_LIVE mosaic", isin=("v2", "v2.1"))
