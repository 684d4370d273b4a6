"""Annual balance from monthly temperature and precipitation: the temperature-index model of the `model` rows.

The monthly form of OGGM, in elevation bands k of area share a_k:

    B = sum over months and bands of a_k [prcp_fac P frac(T_k) - melt_f days max(T_k - T_melt, 0)]

T_k is the temperature at the model's surface moved by a lapse rate to the band; frac is 1 below 0 °C, 0 above 2 °C,
linear between; T_melt is -1 °C. Given the temperature, B is linear in both parameters, B = prcp_fac S - melt_f D with
the solid precipitation S and the positive degree days D of a year. So years are reduced to these two numbers once, and
every calibration is a quadratic in one unknown with a known minimum: nothing is iterated, and leave-one-out costs
nothing.

Here: drivers, calibration, skill, modelled years. Not here: zonal means of the fields, hypsometry files, choosing
between origins. The balance is the climatic one: for glaciers that calve it is not the total.

The temperature bias, a third parameter, stays 0: a glacier whose mean balance the other two cannot reach within
their limits has no model, and the reason says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from arctic_assets.science.mass_balance import newest_reference_area

MODEL_ID = "temperature_index_1"
"""Raise the number when other values come out."""
LAPSE_RATE_K_PER_M = -0.0065
MELT_C = -1.0
SOLID_C, LIQUID_C = 0.0, 2.0
MELT_FACTOR = (1.5, 17.0)
"""Allowed melt_f, kg m-2 d-1 K-1 (OGGM)."""
PRECIPITATION_FACTOR = (0.1, 10.0)
"""Allowed prcp_fac (OGGM)."""
YEARS_FOR_BOTH = 10
"""Observed years from which on both parameters are fitted."""
YEARS_FOR_ONE = 5
"""Observed years from which on melt_f is fitted, with the prcp_fac of other glaciers; below there is no model."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Skill:
    """Leave-one-out skill: each observed year is modelled with the parameters of the others.

    Attributes:
        n: number of years.
        rmse_m_we: root mean square error.
        bias_m_we: mean of model minus observation.
        mae_m_we: mean absolute error.
        r: correlation of model and observation.
        skill_score: 1 - SSE / SSE of the mean of the other years; above 0 the model beats that mean.
    """

    n: int
    rmse_m_we: float
    bias_m_we: float
    mae_m_we: float
    r: float
    skill_score: float


@dataclass(frozen=True)
class Model:
    """A calibrated model.

    Attributes:
        melt_factor: melt_f, kg m-2 d-1 K-1.
        precipitation_factor: prcp_fac.
        fitted: `melt_factor and precipitation_factor`, or `melt_factor`.
        first_year: first observed year.
        last_year: last observed year.
        skill: leave-one-out skill.
        folds: (melt_f, prcp_fac) without each observed year in turn, shape (n, 2).
    """

    melt_factor: float
    precipitation_factor: float
    fitted: str
    first_year: int
    last_year: int
    skill: Skill
    folds: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class NoModel:
    """Why a glacier has none; with the calibrated model when its skill is why."""

    reason: str
    rejected: Model | None = None


def monthly_precipitation_mm(tp_m_per_day: ArrayLike, days: ArrayLike) -> Floats:
    """Precipitation of a month, mm, from the monthly mean of ERA5, which is in metres per day.

    Tiny negative values, which packing makes, become 0.
    """
    depth: Floats = np.asarray(tp_m_per_day, dtype=np.float64) * np.asarray(days, dtype=np.float64) * 1000.0
    return np.maximum(depth, 0.0)


def annual_drivers(monthly: pd.DataFrame, hypsometry: pd.DataFrame) -> pd.DataFrame:
    """Solid precipitation and melt degree days of each balance year (October to September) at given elevations.

    Args:
        monthly: one glacier: month ('YYYY-MM'), t2m_c (at the surface of the model), orography_m (that surface),
            precipitation_mm. A month that lacks one of them makes its year incomplete.
        hypsometry: elevation_m and area_km2 of bands; several rows of one elevation add up.

    Returns:
        year, solid_m_we, degree_days_k_d of years of all twelve months, sorted. Both are means over the glacier.
    """
    bands = hypsometry.groupby("elevation_m")["area_km2"].sum()
    share = (bands / bands.sum()).to_numpy(dtype=np.float64)
    elevation = bands.index.to_numpy(dtype=np.float64)
    found = monthly.dropna(subset=["t2m_c", "orography_m", "precipitation_mm"])
    date = pd.to_datetime(found["month"], format="%Y-%m")
    height = elevation[None, :] - found["orography_m"].to_numpy(dtype=np.float64)[:, None]
    t = found["t2m_c"].to_numpy(dtype=np.float64)[:, None] + LAPSE_RATE_K_PER_M * height
    solid = np.clip((LIQUID_C - t) / (LIQUID_C - SOLID_C), 0.0, 1.0) @ share
    warmth = np.maximum(t - MELT_C, 0.0) @ share
    by_month = pd.DataFrame(
        {
            "year": (date.dt.year + (date.dt.month >= 10)).to_numpy(dtype=np.int64),
            "month": found["month"].to_numpy(),
            "solid_m_we": solid * found["precipitation_mm"].to_numpy(dtype=np.float64) / 1000.0,
            "degree_days_k_d": warmth * date.dt.days_in_month.to_numpy(dtype=np.float64),
        }
    )
    years = by_month.groupby("year").agg(
        n=("month", "nunique"), solid_m_we=("solid_m_we", "sum"), degree_days_k_d=("degree_days_k_d", "sum")
    )
    return years[years["n"] == 12].drop(columns="n").reset_index()


def calibrate(
    drivers: pd.DataFrame, observed: pd.DataFrame, prior_precipitation_factor: float | None = None
) -> Model | NoModel:
    """Fit the model to the observed years of one glacier.

    From ten years on both parameters minimise sum((B - B_obs)² / sigma_obs²) with the mean of B - B_obs forced to
    zero; the closed form is exact also at the limits of the parameters. From five years on melt_f alone makes that
    mean zero, with a given prcp_fac.

    Args:
        drivers: of `annual_drivers`.
        observed: year, annual_balance_m_we, annual_balance_sigma_m_we (above 0).
        prior_precipitation_factor: prcp_fac for five to nine years (`regional_precipitation_factor`).

    Returns:
        The model, when its leave-one-out skill score is above 0; else why there is none.
    """
    if drivers.empty:
        return NoModel("no balance year has temperature and precipitation in all twelve months")
    years = observed.dropna(subset="annual_balance_m_we").merge(drivers, on="year").sort_values("year")
    n = len(years)
    if n < YEARS_FOR_ONE:
        return NoModel(f"{n} observed years with temperature and precipitation, calibration needs {YEARS_FOR_ONE}")
    prior = prior_precipitation_factor if n < YEARS_FOR_BOTH else None
    if n < YEARS_FOR_BOTH and prior is None:
        return NoModel(
            f"{n} observed years allow to fit the melt factor only, and no glacier gives a precipitation factor"
        )
    solid, warmth, balance = (
        years[name].to_numpy(dtype=np.float64) for name in ("solid_m_we", "degree_days_k_d", "annual_balance_m_we")
    )
    weight = 1 / years["annual_balance_sigma_m_we"].to_numpy(dtype=np.float64) ** 2
    whole = _fit(solid, warmth, balance, weight, prior)
    if whole is None:
        return NoModel("no parameters within their limits give the observed mean balance")
    folds = []
    for i in range(n):
        keep = np.arange(n) != i
        fold = _fit(solid[keep], warmth[keep], balance[keep], weight[keep], prior)
        if fold is None:
            year = int(years["year"].iloc[i])
            return NoModel(f"without {year} no parameters within their limits give the observed mean balance")
        folds.append(fold)
    melt, precipitation = np.array(folds).T
    skill = _skill(precipitation * solid - melt * warmth / 1000, balance)
    fitted = "melt_factor" if prior is not None else "melt_factor and precipitation_factor"
    span = int(years["year"].iloc[0]), int(years["year"].iloc[-1])
    model = Model(*whole, fitted, *span, skill, tuple(folds))
    if not skill.skill_score > 0:
        return NoModel(
            f"the model does not beat the mean of the other years (leave-one-out skill score {skill.skill_score:.2f})",
            model,
        )
    return model


def regional_precipitation_factor(models: Mapping[str, Model], regions: Mapping[str, str], region: str) -> float | None:
    """Median prcp_fac of the glaciers of a region with both parameters fitted; of all regions where it has none.

    Args:
        models: by glacier id.
        regions: glacier id to region.
        region: the one wanted.
    """
    fitted = {g: m.precipitation_factor for g, m in models.items() if m.fitted != "melt_factor"}
    near = [factor for glacier, factor in fitted.items() if regions[glacier] == region]
    return float(np.median(near or list(fitted.values()))) if fitted else None


def modelled_years(model: Model, drivers: pd.DataFrame) -> pd.DataFrame:
    """Balance of every year that has drivers.

    sigma² = RMSE² of leave-one-out + sigma_param², where sigma_param is the jackknife's standard deviation of the
    modelled year: sigma_param² = (n - 1) / n sum_i (B_i - mean B)² over the n parameter sets that lack one year.

    Args:
        model: a calibrated model.
        drivers: of `annual_drivers`.

    Returns:
        year, annual_balance_m_we, annual_balance_sigma_m_we, extrapolated (outside the observed span).
    """
    solid, warmth = (drivers[name].to_numpy(dtype=np.float64) for name in ("solid_m_we", "degree_days_k_d"))
    melt, precipitation = np.array(model.folds).T
    parameter_sigma = _jackknife(precipitation[:, None] * solid - melt[:, None] * warmth / 1000)
    year = drivers["year"].to_numpy(dtype=np.int64)
    return pd.DataFrame(
        {
            "year": year,
            "annual_balance_m_we": model.precipitation_factor * solid - model.melt_factor * warmth / 1000,
            "annual_balance_sigma_m_we": np.hypot(model.skill.rmse_m_we, parameter_sigma),
            "extrapolated": (year < model.first_year) | (year > model.last_year),
        }
    )


def model_balances(
    drivers: Mapping[str, pd.DataFrame], observed: pd.DataFrame, regions: Mapping[str, str]
) -> tuple[pd.DataFrame, dict[str, Model | NoModel]]:
    """Modelled balances of glaciers: first those with ten observed years, whose precipitation serves the others.

    Args:
        drivers: glacier id to its `annual_drivers`.
        observed: glacier_id, year, annual_balance_m_we, annual_balance_sigma_m_we, scope, reference_area_km2 (what was
            measured; a model is of what it was calibrated on, and of the newest area of it).
        regions: glacier id to RGI region, of every glacier in `drivers`.

    Returns:
        glacier_id, year, origin (model), annual_balance_m_we, annual_balance_sigma_m_we, sigma_origin (model),
        scope, reference_area_km2, model_id, skill_score, extrapolated, sorted; and per glacier the model or why there
        is none.
    """
    series = {str(g): rows for g, rows in observed.groupby("glacier_id")}
    nothing = observed.iloc[:0]
    results = {g: calibrate(d, series.get(g, nothing)) for g, d in drivers.items()}
    fitted = {g: model for g, model in results.items() if isinstance(model, Model)}
    for glacier, years in drivers.items():
        seen = len(series.get(glacier, nothing).merge(years, on="year"))
        if YEARS_FOR_ONE <= seen < YEARS_FOR_BOTH:
            prior = regional_precipitation_factor(fitted, regions, regions[glacier])
            results[glacier] = calibrate(years, series[glacier], prior)
    areas = newest_reference_area(observed)
    parts = [
        modelled_years(model, drivers[glacier]).assign(
            glacier_id=glacier,
            scope=series[glacier]["scope"].iloc[0],
            reference_area_km2=areas.get(glacier, math.nan),
            skill_score=model.skill.skill_score,
        )
        for glacier, model in sorted(results.items())
        if isinstance(model, Model)
    ]
    values = ["annual_balance_m_we", "annual_balance_sigma_m_we", "reference_area_km2", "skill_score"]
    empty = pd.DataFrame({name: [] for name in ["glacier_id", "year", *values, "scope", "extrapolated"]})
    rows = pd.concat(parts, ignore_index=True) if parts else empty
    rows = rows.assign(origin="model", sigma_origin="model", model_id=MODEL_ID)
    return rows.sort_values(["glacier_id", "year"], ignore_index=True), results


def calibrations(results: Mapping[str, Model | NoModel]) -> pd.DataFrame:
    """Parameters and skill of every calibration, of those that are not published too.

    The uncertainty of a parameter is the jackknife's standard deviation over the observed years. Of a precipitation
    factor that other glaciers gave it is the standard deviation of all their factors, and not below what is usual (the
    median) for one of these.

    Args:
        results: of `model_balances`, of all glaciers.

    Returns:
        glacier_id, model_id, published, reason (None where published), fitted, melt_factor_kg_m2_d_k,
        melt_factor_sigma_kg_m2_d_k, precipitation_factor, precipitation_factor_sigma, n_years, period_start,
        period_end, rmse_m_we, bias_m_we, mae_m_we, r, skill_score (missing where nothing could be fitted), sorted.
    """
    lenders = [m for m in results.values() if isinstance(m, Model) and m.fitted != "melt_factor"]
    lent = np.array([(m.precipitation_factor, _jackknife(np.array(m.folds))[1]) for m in lenders]).reshape(-1, 2)
    lent_sigma = max(np.std(lent[:, 0]), np.median(lent[:, 1])) if lenders else np.nan
    rows = []
    for glacier, result in sorted(results.items()):
        model = result.rejected if isinstance(result, NoModel) else result
        row: dict[str, object] = {
            "glacier_id": glacier,
            "model_id": MODEL_ID,
            "published": isinstance(result, Model),
            "reason": result.reason if isinstance(result, NoModel) else None,
        }
        if model:
            melt_sigma, precipitation_sigma = _jackknife(np.array(model.folds))
            if model.fitted == "melt_factor":
                precipitation_sigma = lent_sigma
            row |= {
                "fitted": model.fitted,
                "melt_factor_kg_m2_d_k": model.melt_factor,
                "melt_factor_sigma_kg_m2_d_k": float(melt_sigma),
                "precipitation_factor": model.precipitation_factor,
                "precipitation_factor_sigma": float(precipitation_sigma),
                "n_years": model.skill.n,
                "period_start": model.first_year,
                "period_end": model.last_year,
                "rmse_m_we": model.skill.rmse_m_we,
                "bias_m_we": model.skill.bias_m_we,
                "mae_m_we": model.skill.mae_m_we,
                "r": model.skill.r,
                "skill_score": model.skill.skill_score,
            }
        rows.append(row)
    return pd.DataFrame(rows)


def _jackknife(versions: Floats) -> Floats:
    """Standard deviation of what n estimates that lack one year each, along the first axis, vary around."""
    n = len(versions)
    spread: Floats = np.sqrt((n - 1) / n * ((versions - versions.mean(axis=0)) ** 2).sum(axis=0))
    return spread


def _fit(
    solid: Floats, warmth: Floats, balance: Floats, weight: Floats, prior: float | None
) -> tuple[float, float] | None:
    """(melt_f, prcp_fac) of zero mean error; None where the limits allow none.

    A mean error of zero ties prcp_fac to melt_f: prcp_fac = (mean B + melt_f mean D) / mean S. The weighted sum of
    squares is then a parabola in melt_f alone, whose minimum within an interval is the vertex or the nearer end.
    """
    mean_s, mean_d, mean_b = solid.mean(), warmth.mean() / 1000, balance.mean()
    if not (mean_s > 0 and mean_d > 0):
        return None
    if prior is not None:
        melt = (prior * mean_s - mean_b) / mean_d
        return (float(melt), prior) if MELT_FACTOR[0] <= melt <= MELT_FACTOR[1] else None
    lowest, highest = ((factor * mean_s - mean_b) / mean_d for factor in PRECIPITATION_FACTOR)
    lowest, highest = max(lowest, MELT_FACTOR[0]), min(highest, MELT_FACTOR[1])
    if lowest > highest:
        return None
    slope = solid * mean_d / mean_s - warmth / 1000
    offset = solid * mean_b / mean_s - balance
    curvature = float((weight * slope**2).sum())
    vertex = -float((weight * slope * offset).sum()) / curvature if curvature > 0 else lowest
    melt = float(np.clip(vertex, lowest, highest))
    return melt, float((mean_b + melt * mean_d) / mean_s)


def _skill(modelled: Floats, observed: Floats) -> Skill:
    n = len(observed)
    error = modelled - observed
    climatology = (observed.sum() - observed) / (n - 1)
    unexplained = float(((climatology - observed) ** 2).sum())
    spread = float(np.std(modelled) * np.std(observed))
    covariance = float(np.mean((modelled - modelled.mean()) * (observed - observed.mean())))
    return Skill(
        n=n,
        rmse_m_we=math.sqrt(float((error**2).mean())),
        bias_m_we=float(error.mean()),
        mae_m_we=float(np.abs(error).mean()),
        r=covariance / spread if spread > 0 else 0.0,
        skill_score=1 - float((error**2).sum()) / unexplained if unexplained > 0 else 0.0,
    )
