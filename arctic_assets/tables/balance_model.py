"""Parameters and skill of the mass balance model of each glacier."""

from __future__ import annotations

from typing import ClassVar

from arctic_assets.tables.base import NoUncertainty, Table, column

FITTED = ("melt_factor and precipitation_factor", "melt_factor")


class BalanceModel(Table):
    """Calibration and leave-one-out skill of the temperature-index model of each glacier that has observed balances,
    of models that are not published too."""

    class Config:
        """Name and grain."""

        name = "balance_model"
        title = "Mass balance models"
        metadata: ClassVar = {"grain": "glacier", "origin": "model"}

    glacier_id: str = column("Glacier: id in the registry", key=True)
    model_id: str = column("Model and its version, as in mass_balance", key=True)
    published: bool = column("True where the model gives rows of mass_balance: it beats the mean of the other years")
    reason: str | None = column("Why it is not published, or could not be fitted", nullable=True)
    fitted: str | None = column(
        "What was fitted to the glacier's own observations; a precipitation factor that was not is the median of the "
        "glaciers of its region, or of all",
        nullable=True,
        isin=FITTED,
    )
    melt_factor_kg_m2_d_k: float | None = column(
        "Melt per day and kelvin above -1 degC",
        unit="kg m-2 d-1 K-1",
        nullable=True,
        hard=(1.5, 17),
        uncertainty="melt_factor_sigma_kg_m2_d_k",
    )
    melt_factor_sigma_kg_m2_d_k: float | None = column(
        "Its uncertainty: jackknife over the observed years; 0 where each fit ends at a limit",
        unit="kg m-2 d-1 K-1",
        nullable=True,
        hard=(0, 100),
    )
    precipitation_factor: float | None = column(
        "What the precipitation of ERA5 is multiplied by",
        unit="1",
        nullable=True,
        hard=(0.1, 10),
        uncertainty="precipitation_factor_sigma",
    )
    precipitation_factor_sigma: float | None = column(
        "Its uncertainty: jackknife over the observed years; of one that is taken from other glaciers the standard "
        "deviation of all fitted ones, at least the uncertainty that is usual for these",
        unit="1",
        nullable=True,
        hard=(0, 100),
    )
    n_years: int | None = column(
        "Number of observed years it was fitted to",
        unit="1",
        nullable=True,
        hard=(5, None),
        uncertainty=NoUncertainty.COUNT,
    )
    period_start: int | None = column("First of these years", nullable=True, hard=(1880, 2100))
    period_end: int | None = column("Last of these years", nullable=True, hard=(1880, 2100))
    rmse_m_we: float | None = column(
        "Root mean square error in leave-one-out: each year is modelled with the parameters of the others",
        unit="m w.e.",
        nullable=True,
        hard=(0, 10),
        uncertainty=NoUncertainty.ITSELF,
    )
    bias_m_we: float | None = column(
        "Mean of model minus observation, likewise",
        unit="m w.e.",
        nullable=True,
        hard=(-10, 10),
        uncertainty=NoUncertainty.ITSELF,
    )
    mae_m_we: float | None = column(
        "Mean absolute error, likewise", unit="m w.e.", nullable=True, hard=(0, 10), uncertainty=NoUncertainty.ITSELF
    )
    r: float | None = column(
        "Correlation of model and observation, likewise",
        unit="1",
        nullable=True,
        hard=(-1, 1),
        uncertainty=NoUncertainty.ITSELF,
    )
    skill_score: float | None = column(
        "1 minus the squared error over that of the mean of the other years; published above 0",
        unit="1",
        nullable=True,
        hard=(None, 1),
        uncertainty=NoUncertainty.ITSELF,
    )
