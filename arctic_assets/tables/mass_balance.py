"""Annual mass balance."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from arctic_assets.tables.base import NoUncertainty, Table, column

ORIGINS = ("observed", "reconstruction", "model")


class MassBalance(Table):
    """Specific mass balance per balance year (October to September, labelled by its end), one row per origin."""

    class Config:
        """Name and grain."""

        name = "mass_balance"
        title = "Mass balance"
        metadata: ClassVar = {"grain": "year"}

    glacier_id: str = column("Glacier: id in the registry", key=True)
    year: int = column("Balance year, labelled by its end", hard=(1880, 2100), key=True)
    origin: str = column("Where the values come from", key=True, isin=ORIGINS)
    annual_balance_m_we: float = column(
        "Annual balance",
        unit="m w.e.",
        hard=(-6, 5),
        warn=(-4, 3.6),
        uncertainty="annual_balance_sigma_m_we",
    )
    annual_balance_sigma_m_we: float = column(
        "Uncertainty of the annual balance", unit="m w.e.", positive=True, hard=(None, 5)
    )
    sigma_origin: str = column(
        "Where the uncertainty comes from: as reported, or assumed because none is reported",
        isin=("reported", "assumed", "model"),
    )
    season_sigma_origin: str | None = column(
        "The same of the winter and summer balance: assumed when one of the two is",
        nullable=True,
        isin=("reported", "assumed"),
    )
    winter_balance_m_we: float | None = column(
        "Winter balance",
        unit="m w.e.",
        nullable=True,
        hard=(-0.5, 7),
        warn=(0, 5),
        uncertainty="winter_balance_sigma_m_we",
    )
    winter_balance_sigma_m_we: float | None = column(
        "Uncertainty of the winter balance; see season_sigma_origin",
        unit="m w.e.",
        nullable=True,
        positive=True,
        hard=(None, 5),
    )
    summer_balance_m_we: float | None = column(
        "Summer balance",
        unit="m w.e.",
        nullable=True,
        hard=(-8, 1.5),
        warn=(-6, 0),
        uncertainty="summer_balance_sigma_m_we",
    )
    summer_balance_sigma_m_we: float | None = column(
        "Uncertainty of the summer balance; see season_sigma_origin",
        unit="m w.e.",
        nullable=True,
        positive=True,
        hard=(None, 5),
    )
    reference_area_km2: float | None = column(
        "Area the balance refers to; may differ from the outline's",
        unit="km2",
        nullable=True,
        hard=(0.01, 25000),
        uncertainty=NoUncertainty.NOT_GIVEN,
    )
    period_start: dt.date | None = column("First day of the balance year, where reported", nullable=True)
    period_end: dt.date | None = column("Last day of the balance year, where reported", nullable=True)
    model_id: str | None = column("Model and its version, where origin is model", nullable=True)
    skill_score: float | None = column(
        "Leave-one-out skill of the model: 1 minus its squared error over that of the mean of the other years",
        unit="1",
        nullable=True,
        hard=(0, 1),
        uncertainty=NoUncertainty.ITSELF,
    )
    extrapolated: bool = column("True for modelled years outside the span of the observations the model was fitted to")
    scope: str = column(
        "What was measured: the glacier itself, or the ice cap it belongs to", isin=("own", "parent_ice_cap")
    )
    preferred: bool = column("True for the origin that the preferred series takes in this year")
