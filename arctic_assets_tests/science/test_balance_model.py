from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize

from arctic_assets.science import balance_model as bm

BANDS = pd.DataFrame({"elevation_m": [525.0, 1025.0, 1525.0], "area_km2": [2.0, 5.0, 3.0]})


def monthly(first: int = 1980, last: int = 2020, seed: int = 0) -> pd.DataFrame:
    """A maritime climate from October before `first` to September of `last`."""
    months = pd.period_range(f"{first - 1}-10", f"{last}-09", freq="M")
    rng = np.random.default_rng(seed)
    n = len(months)
    season = -np.cos(2 * np.pi * (months.month - 1) / 12)
    return pd.DataFrame(
        {
            "month": months.strftime("%Y-%m"),
            "t2m_c": -1.0 + 9 * season + rng.normal(0, 1.3, n),
            "orography_m": 800.0,
            "precipitation_mm": 120 * np.exp(rng.normal(0, 0.3, n)),
        }
    )


def observations(
    drivers: pd.DataFrame, melt: float = 4.0, precipitation: float = 1.5, noise: float = 0.0, seed: int = 1
) -> pd.DataFrame:
    balance = precipitation * drivers["solid_m_we"] - melt * drivers["degree_days_k_d"] / 1000
    balance = balance + np.random.default_rng(seed).normal(0, 1, len(drivers)) * noise
    return pd.DataFrame(
        {"year": drivers["year"], "annual_balance_m_we": balance, "annual_balance_sigma_m_we": 0.2, "scope": "own"}
        | {"reference_area_km2": 100.0 + drivers["year"]}
    )


@pytest.fixture(scope="module")
def drivers() -> pd.DataFrame:
    return bm.annual_drivers(monthly(), BANDS)


def fitted(result: bm.Model | bm.NoModel) -> bm.Model:
    assert isinstance(result, bm.Model), result
    return result


def reason(result: bm.Model | bm.NoModel) -> str:
    assert isinstance(result, bm.NoModel), result
    return result.reason


# --- drivers -----------------------------------------------------------------------------------------------------


def test_drivers_by_hand() -> None:
    months = pd.period_range("1999-10", "2000-09", freq="M")
    frame = pd.DataFrame(
        {"month": months.strftime("%Y-%m"), "t2m_c": -20.0, "orography_m": 1000.0, "precipitation_mm": 0.0}
    )
    frame.loc[9, ["t2m_c", "precipitation_mm"]] = [3.0, 100.0]  # July 2000
    bands = pd.DataFrame({"elevation_m": [1000.0, 1400.0, 1400.0], "area_km2": [1.0, 2.0, 1.0]})
    (row,) = bm.annual_drivers(frame, bands).to_dict("records")
    # At 1000 m 3 C: all rain, 4 K above -1 C. At 1400 m 0.4 C: 80 % snow, 1.4 K.
    assert row["year"] == 2000
    assert row["solid_m_we"] == pytest.approx(0.75 * 0.8 * 0.1)
    assert row["degree_days_k_d"] == pytest.approx(31 * (0.25 * 4.0 + 0.75 * 1.4))


def test_only_whole_balance_years_count() -> None:
    frame = monthly(1990, 1994)
    assert bm.annual_drivers(frame, BANDS)["year"].tolist() == [1990, 1991, 1992, 1993, 1994]
    frame.loc[frame["month"] == "1991-11", "precipitation_mm"] = np.nan
    assert bm.annual_drivers(frame.iloc[1:], BANDS)["year"].tolist() == [1991, 1993, 1994]
    frame["precipitation_mm"] = np.nan
    without = bm.annual_drivers(frame, BANDS)
    assert without.empty
    assert "temperature and precipitation" in reason(bm.calibrate(without, observations(without)))


def test_precipitation_of_a_month() -> None:
    assert bm.monthly_precipitation_mm([0.005, -1e-12], [31, 28]).tolist() == [pytest.approx(155.0), 0.0]


# --- calibration ---------------------------------------------------------------------------------------------------


def test_known_parameters_come_back(drivers: pd.DataFrame) -> None:
    model = fitted(bm.calibrate(drivers, observations(drivers)))
    assert model.melt_factor == pytest.approx(4.0)
    assert model.precipitation_factor == pytest.approx(1.5)
    assert model.skill.skill_score == pytest.approx(1)
    assert model.skill.rmse_m_we < 1e-9
    assert (model.first_year, model.last_year) == (1980, 2020)


def test_mean_error_is_zero_and_the_fit_the_best(drivers: pd.DataFrame) -> None:
    observed = observations(drivers, noise=0.4)
    observed["annual_balance_sigma_m_we"] = np.random.default_rng(5).uniform(0.1, 0.5, len(observed))
    model = fitted(bm.calibrate(drivers, observed))
    solid, warmth = drivers["solid_m_we"].to_numpy(), drivers["degree_days_k_d"].to_numpy() / 1000
    balance, sigma = (observed[f"annual_balance_{name}m_we"].to_numpy() for name in ("", "sigma_"))

    def error(p: np.ndarray) -> np.ndarray:
        return p[1] * solid - p[0] * warmth - balance

    assert error(np.array([model.melt_factor, model.precipitation_factor])).mean() == pytest.approx(0, abs=1e-12)
    search = minimize(
        lambda p: float(((error(p) / sigma) ** 2).sum()),
        [5.0, 1.0],
        bounds=[bm.MELT_FACTOR, bm.PRECIPITATION_FACTOR],
        constraints={"type": "eq", "fun": lambda p: error(p).mean()},
        method="SLSQP",
    )
    assert [model.melt_factor, model.precipitation_factor] == pytest.approx(search.x, rel=1e-3)


def test_limits_hold(drivers: pd.DataFrame) -> None:
    at_limit = fitted(bm.calibrate(drivers, observations(drivers, melt=1.0, precipitation=0.5, noise=0.05)))
    assert at_limit.melt_factor == bm.MELT_FACTOR[0]
    mean = observations(drivers, melt=60.0, precipitation=0.2)
    assert "within their limits" in reason(bm.calibrate(drivers, mean))


def test_leave_one_out_does_not_see_the_year(drivers: pd.DataFrame) -> None:
    observed = observations(drivers, noise=0.3)
    model = fitted(bm.calibrate(drivers, observed))
    without = fitted(bm.calibrate(drivers, observed[observed["year"] != 1990]))
    assert model.folds[10] == (without.melt_factor, without.precipitation_factor)
    spoilt = observed.assign(annual_balance_m_we=observed["annual_balance_m_we"].where(observed["year"] != 1990, 1.0))
    assert fitted(bm.calibrate(drivers, spoilt)).folds[10] == model.folds[10]
    errors = [
        p * d.solid_m_we - m * d.degree_days_k_d / 1000 - o.annual_balance_m_we
        for (m, p), d, o in zip(model.folds, drivers.itertuples(), observed.itertuples(), strict=True)
    ]
    assert model.skill.rmse_m_we == pytest.approx(np.sqrt(np.mean(np.square(errors))))
    assert model.skill.bias_m_we == pytest.approx(np.mean(errors))
    assert model.skill.mae_m_we == pytest.approx(np.mean(np.abs(errors)))
    others = [observed.loc[observed["year"] != y, "annual_balance_m_we"].mean() for y in observed["year"]]
    climatology = np.sum(np.square(others - observed["annual_balance_m_we"].to_numpy()))
    assert model.skill.skill_score == pytest.approx(1 - np.sum(np.square(errors)) / climatology)


def test_a_model_that_does_not_beat_the_mean_is_none(drivers: pd.DataFrame) -> None:
    observed = observations(drivers)
    chance = np.random.default_rng(2).permutation(observed["annual_balance_m_we"].to_numpy())
    result = bm.calibrate(drivers, observed.assign(annual_balance_m_we=chance))
    assert "does not beat the mean" in reason(result)
    assert isinstance(result, bm.NoModel) and result.rejected and result.rejected.skill.skill_score <= 0
    (row,) = bm.calibrations({"noise": result}).to_dict("records")
    assert not row["published"] and row["reason"] == result.reason and row["skill_score"] <= 0


def test_few_years(drivers: pd.DataFrame) -> None:
    observed = observations(drivers, noise=0.1)
    assert "4 observed years" in reason(bm.calibrate(drivers, observed.tail(4), 1.5))
    assert "no glacier gives a precipitation factor" in reason(bm.calibrate(drivers, observed.tail(9)))
    nine = fitted(bm.calibrate(drivers, observed.tail(9), 1.5))
    assert nine.fitted == "melt_factor"
    assert nine.precipitation_factor == 1.5
    assert nine.melt_factor == pytest.approx(4.0, abs=0.3)
    ten = fitted(bm.calibrate(drivers, observed.tail(10), 9.9))
    assert ten.fitted == "melt_factor and precipitation_factor" and ten.precipitation_factor != 9.9
    assert "within their limits" in reason(bm.calibrate(drivers, observed.tail(9), 20.0))


# --- modelled years ------------------------------------------------------------------------------------------------


def test_years_outside_the_observed_span_are_extrapolated_and_less_certain(drivers: pd.DataFrame) -> None:
    observed = observations(drivers, noise=0.3).query("1990 <= year <= 2005 and year != 2000")
    model = fitted(bm.calibrate(drivers, observed))
    rows = bm.modelled_years(model, drivers).set_index("year")
    assert rows.index[rows["extrapolated"]].tolist() == [*range(1980, 1990), *range(2006, 2021)]
    assert (rows["annual_balance_sigma_m_we"] > model.skill.rmse_m_we).all()
    d = drivers.set_index("year").loc[1985]
    versions = np.array([p * d["solid_m_we"] - m * d["degree_days_k_d"] / 1000 for m, p in model.folds])
    spread = np.sqrt((len(versions) - 1) * versions.var())
    assert rows.loc[1985, "annual_balance_sigma_m_we"] == pytest.approx(np.hypot(model.skill.rmse_m_we, spread))


def test_glaciers_together(drivers: pd.DataFrame) -> None:
    near, far = bm.annual_drivers(monthly(seed=7), BANDS), bm.annual_drivers(monthly(seed=8), BANDS)
    observed = pd.concat(
        [
            observations(drivers, precipitation=1.5, noise=0.2).assign(glacier_id="long"),
            observations(far, precipitation=0.8, noise=0.2, seed=3).assign(glacier_id="far"),
            observations(near, precipitation=1.5, noise=0.1).head(7).assign(glacier_id="short", scope="parent_ice_cap"),
            observations(near).head(3).assign(glacier_id="few"),
        ]
    )
    by_glacier = {"long": drivers, "far": far, "short": near, "few": near, "unseen": near}
    regions = {"long": "01", "far": "07", "short": "01", "few": "01", "unseen": "01"}
    rows, results = bm.model_balances(by_glacier, observed, regions)
    assert fitted(results["short"]).precipitation_factor == fitted(results["long"]).precipitation_factor
    assert isinstance(results["few"], bm.NoModel) and isinstance(results["unseen"], bm.NoModel)
    assert rows.groupby("glacier_id").size().to_dict() == {"far": 41, "long": 41, "short": 41}
    assert set(rows.loc[rows["glacier_id"] == "short", "scope"]) == {"parent_ice_cap"}
    newest = {name: 100.0 + observed.loc[observed["glacier_id"] == name, "year"].max() for name in ("long", "short")}
    assert rows.groupby("glacier_id")["reference_area_km2"].unique()[list(newest)].map(list).to_dict() == {
        name: [area] for name, area in newest.items()
    }
    assert set(rows["model_id"]) == {bm.MODEL_ID} and set(rows["origin"]) == {"model"}
    assert (rows["skill_score"] > 0).all() and rows.notna().all().all()
    table = bm.calibrations(results).set_index("glacier_id")
    assert list(table.index) == ["far", "few", "long", "short", "unseen"]
    assert table["published"].to_dict() == {"far": True, "few": False, "long": True, "short": True, "unseen": False}
    assert table.loc["few", "reason"] == reason(results["few"]) and table.loc[["few"]].isna().sum(axis=1).item() == 13
    assert table.loc["short", ["fitted", "n_years"]].tolist() == ["melt_factor", 7]
    lent = [fitted(results[name]).precipitation_factor for name in ("far", "long")]
    assert table.loc["short", "precipitation_factor"] == lent[1]
    assert table.loc["short", "precipitation_factor_sigma"] == pytest.approx(np.std(lent))
    for name in ("far", "long"):
        model, row = fitted(results[name]), table.loc[name]
        melts = [melt for melt, _ in model.folds]
        n = len(melts)
        assert row["melt_factor_kg_m2_d_k"] == model.melt_factor and row["n_years"] == model.skill.n == n
        assert row["melt_factor_sigma_kg_m2_d_k"] == pytest.approx(np.sqrt((n - 1) * np.var(melts)))
        skill = ["rmse_m_we", "bias_m_we", "mae_m_we", "r", "skill_score"]
        assert row[skill].tolist() == [getattr(model.skill, column) for column in skill]
    again, _ = bm.model_balances(by_glacier, observed, regions)
    pd.testing.assert_frame_equal(rows, again)
    none, results = bm.model_balances(by_glacier, observed.iloc[:0], regions)
    assert none.empty and set(none.columns) == set(rows.columns) and len(results) == 5


def test_the_prior_is_that_of_the_region_or_of_all(drivers: pd.DataFrame) -> None:
    models = {
        name: fitted(bm.calibrate(drivers, observations(drivers, precipitation=factor)))
        for name, factor in (("a", 1.2), ("b", 1.6), ("c", 2.5))
    }
    regions = {"a": "01", "b": "01", "c": "07"}
    assert bm.regional_precipitation_factor(models, regions, "01") == pytest.approx(1.4)
    assert bm.regional_precipitation_factor(models, regions, "09") == pytest.approx(1.6)
    assert bm.regional_precipitation_factor({}, regions, "01") is None
