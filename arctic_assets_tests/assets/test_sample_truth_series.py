"""Yearly and periodic tables made from the SYNTHETIC sample: velocity, mass balance, trends. What was put in."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest

from arctic_assets.sample import GlacierTruth, Truth
from arctic_assets.sample.era5 import warming_k_per_decade
from arctic_assets.sample.itslive import LACKING
from arctic_assets.tables import BalanceModel, BalancePeriod, MassBalance, Trend, Velocity
from arctic_assets_tests.testkit.platform import Platform
from arctic_assets_tests.testkit.truth import assert_sigma_is_fair

ARCHIPELAGO, ICE_CAP = "novaya_zemlya", "geitlandsjokull"
UNMEASURED = {"west_gulkana", "yuri"}
"""Below 5 km2: ITS_LIVE has no speed of them."""
LEAST_COVERAGE = 0.5
#: Speeds are written in steps of a 50th of the mean, cells are 120 m wide.
SPEED_RTOL = 0.015


@pytest.fixture(scope="module")
def truth(whole_sample: Platform) -> Truth:
    return Truth.read(whole_sample.current.sample)


def reasons(whole_sample: Platform, asset: str) -> pd.Series:
    gaps = whole_sample.warehouse.query("SELECT * FROM provenance.gap")
    return gaps[gaps["asset"] == asset].set_index("partition")["reason"]


# --- velocity ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def speed(whole_sample: Platform, truth: Truth) -> pd.DataFrame:
    frame = whole_sample.rows(Velocity)
    put = pd.DataFrame([truth.glaciers[g].speed[y] for g, y in zip(frame["glacier_id"], frame["year"], strict=True)])
    return pd.concat([frame, put.add_prefix("put_")], axis=1)


def test_no_year_is_silently_filled(whole_sample: Platform, truth: Truth, speed: pd.DataFrame) -> None:
    """Years in which half of the line was measured have a row, all others a reason."""
    have = set(zip(speed["glacier_id"], speed["year"], strict=True))
    why = reasons(whole_sample, "derived/velocity")
    for name, put_in in truth.glaciers.items():
        for key in whole_sample.partitions.years.get_partition_keys():
            year = int(key)
            put = put_in.speed.get(year)
            if put is not None and put["coverage_fraction"] > LEAST_COVERAGE + 0.03:
                assert (name, year) in have and f"{name}|{year}" not in why, (name, year)
                continue
            assert (name, year) not in have, (name, year)
            seen = put is not None or (name in UNMEASURED and 1985 <= year <= 2024)
            assert ("low_coverage" if seen else "no ITS_LIVE mosaic") in why[f"{name}|{year}"], (name, year)
    assert {name for name, _ in have} == set(truth.glaciers) - UNMEASURED
    assert why[f"{ARCHIPELAGO}|2025"].startswith("no ITS_LIVE mosaic for region 09 in 2025")


def test_speed_is_that_of_the_measured_part(speed: pd.DataFrame) -> None:
    error = speed["speed_m_yr"] - speed["put_speed_m_yr"]
    assert (error.abs() < speed["speed_sigma_m_yr"]).all()
    np.testing.assert_allclose(speed["speed_m_yr"], speed["put_speed_m_yr"], rtol=SPEED_RTOL)


def test_homogenised_speed_is_that_of_the_whole_line(speed: pd.DataFrame) -> None:
    """Whichever part was measured: where it was not all of it, the plain mean is far off."""
    np.testing.assert_allclose(speed["speed_homogenised_m_yr"], speed["put_whole_line_m_yr"], rtol=SPEED_RTOL)
    partly = speed["put_coverage_fraction"] < 0.9
    assert partly.sum() > 100
    plain = (speed["speed_m_yr"] / speed["put_whole_line_m_yr"] - 1).abs()
    assert plain[partly].median() > 0.1


def test_speed_of_the_archipelago_does_not_follow_which_outlets_were_measured(
    whole_sample: Platform, speed: pd.DataFrame
) -> None:
    """Years without the fast outlets, or without the slow ones; one that had a tenth of them is a gap."""
    own = speed[speed["glacier_id"] == ARCHIPELAGO].set_index("year")
    some = own[own["n_outlets"] < own["n_outlets"].max()]
    assert set(some.index) == set(LACKING) - {2006}
    plain = some["speed_m_yr"] / some["put_whole_line_m_yr"] - 1
    assert plain.min() < -0.1 and plain.max() > 0.1
    np.testing.assert_allclose(some["speed_homogenised_m_yr"], some["put_whole_line_m_yr"], rtol=SPEED_RTOL)
    reason = reasons(whole_sample, "derived/velocity")[f"{ARCHIPELAGO}|2006"]
    assert reason.startswith("low_coverage: 1") and "of the outlets' centrelines has a speed" in reason


def test_uncertainty_of_the_homogenised_speed(speed: pd.DataFrame, truth: Truth) -> None:
    """That of the cells, made as much larger or smaller as the measured part is slower or faster than the whole; there
    the long-term speeds, known to 2 m/yr, do not cancel.
    """
    error = (speed["speed_homogenised_m_yr"] - speed["put_whole_line_m_yr"]).abs()
    assert (error < speed["speed_homogenised_sigma_m_yr"]).all()
    larger = speed["put_whole_line_m_yr"] / speed["put_speed_m_yr"]
    long_term = speed["glacier_id"].map(lambda name: truth.glaciers[name].speed[0]["whole_line_m_yr"])
    of_year, of_long_term = (
        larger * speed["put_sigma_m_yr"],
        speed["put_whole_line_m_yr"] * 2 * (larger - 1) / long_term,
    )
    expected = np.hypot(of_year, of_long_term)
    np.testing.assert_allclose(speed["speed_homogenised_sigma_m_yr"], expected, rtol=2 * SPEED_RTOL)
    assert larger.min() < 0.9 and larger.max() > 1.15


def test_uncertainty_of_speed_is_that_of_its_cells(speed: pd.DataFrame) -> None:
    """The errors of all cells of a year are one number: fully correlated, the mean has the same."""
    np.testing.assert_allclose(speed["speed_sigma_m_yr"], speed["put_sigma_m_yr"], rtol=1e-9)
    assert set(speed["speed_sigma_m_yr"].round()) == {4, 8, 24}
    cells = speed["sampled_length_km"] / 0.12
    one_line = speed["n_outlets"] == 1
    expected = speed["put_sigma_m_yr"] / np.sqrt(cells)
    np.testing.assert_allclose(speed.loc[one_line, "speed_sigma_independent_m_yr"], expected[one_line], rtol=0.05)
    assert (speed["speed_sigma_independent_m_yr"] < 0.5 * speed["speed_sigma_m_yr"]).all()
    below = speed["speed_m_yr"] < 2 * speed["put_sigma_m_yr"]
    assert speed["below_noise"].eq(below).all() and 0 < below.sum() < len(speed)


def test_coverage_count_and_version(speed: pd.DataFrame) -> None:
    """2003 has speeds without an error and speeds without a count: neither is covered."""
    np.testing.assert_allclose(speed["coverage_fraction"], speed["put_coverage_fraction"], rtol=0, atol=0.025)
    assert speed.query("year == 2003")["coverage_fraction"].between(0.77, 0.83).all()
    assert (speed["count_median"] == speed["put_count"]).all()
    assert speed["mosaic_version"].eq(speed["put_version"]).all()
    newer = speed.query("mosaic_version == 'v2.1'")
    assert set(newer["year"]) == {1990, 2023, 2024} and set(newer.query("year == 1990")["region"]) == {"RGI06A"}


def test_archipelago_is_the_mean_of_its_outlets(speed: pd.DataFrame, truth: Truth) -> None:
    """Those that end in the sea, weighted by length; not of its 480 members."""
    own = speed[speed["glacier_id"] == ARCHIPELAGO]
    assert own["n_outlets"].eq(own["put_n_outlets"]).all() and own["n_outlets"].between(50, 250).all()
    single = speed[~speed["glacier_id"].isin([ARCHIPELAGO, "parrish"])]
    assert (single["n_outlets"] == 1).all()
    assert (speed.loc[speed["glacier_id"] == "parrish", "n_outlets"] == truth.glaciers["parrish"].n_members).all()


# --- mass balance -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def balance(whole_sample: Platform) -> pd.DataFrame:
    return whole_sample.rows(MassBalance)


def test_observations_are_as_reported(whole_sample: Platform, truth: Truth, balance: pd.DataFrame) -> None:
    """None is changed, replaced or left out by another origin."""
    first = whole_sample.current.start_year
    observed = balance.query("origin == 'observed'").set_index(["glacier_id", "year"])["annual_balance_m_we"]
    put = {(n, y): b for n, g in truth.glaciers.items() for y, b in g.annual_balance_m_we.items() if y >= first}
    assert observed.to_dict() == pytest.approx(put, abs=1e-9)
    seasons = balance.dropna(subset="winter_balance_m_we")
    assert set(seasons["origin"]) == {"observed"} and len(seasons) > 200
    total = seasons["winter_balance_m_we"] + seasons["summer_balance_m_we"]
    np.testing.assert_allclose(seasons["annual_balance_m_we"], total, rtol=0, atol=1e-6)


def test_preferred_origin_of_every_year(balance: pd.DataFrame, truth: Truth) -> None:
    """One per year: the observation where there is one, else the reconstruction, which has all years."""
    chosen = balance[balance["preferred"]].set_index(["glacier_id", "year"])["origin"]
    assert chosen.index.is_unique
    for (name, year), origin in chosen.items():
        is_observed = year in truth.glaciers[name].annual_balance_m_we
        assert origin == ("observed" if is_observed else "reconstruction"), (name, year)
    assert len(chosen) == len(balance[["glacier_id", "year"]].drop_duplicates())


def test_reconstruction_is_the_area_weighted_mean_of_the_outlines(balance: pd.DataFrame, truth: Truth) -> None:
    rows = balance.query("origin == 'reconstruction'")
    assert set(rows["glacier_id"]) == set(truth.glaciers)
    put = [truth.glaciers[g].reconstruction_m_we[y] for g, y in zip(rows["glacier_id"], rows["year"], strict=True)]
    np.testing.assert_allclose(rows["annual_balance_m_we"], put, rtol=0, atol=1e-6)
    # Of single outlines they are drawn between 0.15 and 0.40; fully correlated, a mean of 480 has their mean.
    assert rows["annual_balance_sigma_m_we"].between(0.15, 0.40).all() and (rows["sigma_origin"] == "reported").all()
    whole = rows.query("glacier_id == @ARCHIPELAGO")["annual_balance_sigma_m_we"]
    assert whole.between(0.26, 0.29).all()
    areas = rows.groupby("glacier_id")["reference_area_km2"].first()
    for name, area in areas.items():
        assert area == pytest.approx(truth.glaciers[str(name)].area_km2, rel=1e-3), name


def test_reference_area_is_the_series_own(balance: pd.DataFrame, truth: Truth) -> None:
    """Where it differs from that of the outline it is kept: the balance is of another area."""
    observed = balance.query("origin == 'observed'").groupby("glacier_id")[["reference_area_km2", "scope"]].last()
    areas = observed["reference_area_km2"]
    kept = {"taku": 724.81, "andrei": 91.89, ICE_CAP: 836.0, "wolverine": 15.4, "lemon_creek": 9.94, "engabreen": 36.84}
    for name, area in areas.items():
        assert area == pytest.approx(kept.get(str(name), truth.glaciers[str(name)].area_km2), rel=1e-3), name
    assert observed.index[observed["scope"] == "parent_ice_cap"].to_list() == [ICE_CAP]
    modelled = balance.query("origin == 'model'")
    assert modelled["reference_area_km2"].eq(modelled["glacier_id"].map(areas)).all()


@pytest.fixture(scope="module")
def model(balance: pd.DataFrame, truth: Truth) -> pd.DataFrame:
    """Modelled years with the observation (NaN where there is none) and what the summers alone make of the balance."""
    frame = balance.query("origin == 'model'").reset_index(drop=True)
    put = [truth.glaciers[g] for g in frame["glacier_id"]]
    return frame.assign(
        observed=[one.annual_balance_m_we.get(year, math.nan) for one, year in zip(put, frame["year"], strict=True)],
        expected=[one.expected_balance_m_we[year] for one, year in zip(put, frame["year"], strict=True)],
        unexplained=[one.unexplained_m_we for one in put],
    )


def test_model_is_published_where_it_beats_the_mean(model: pd.DataFrame, truth: Truth) -> None:
    assert model["skill_score"].between(0, 1, inclusive="neither").all()
    assert model["model_id"].notna().all() and (model["sigma_origin"] == "model").all()
    assert (model.groupby("glacier_id").size() == 40).all()
    assert (
        6
        <= model["glacier_id"].nunique()
        < sum(bool(put_in.expected_balance_m_we) for put_in in truth.glaciers.values())
    )
    assert {"taku", ARCHIPELAGO, "parrish", "wykeham_south"}.isdisjoint(model["glacier_id"])
    # The better a model explains the years it was fitted to, the higher is its leave-one-out skill.
    for name, own in model.dropna(subset="observed").groupby("glacier_id"):
        if len(own) >= 20:
            unexplained = ((own["annual_balance_m_we"] - own["observed"]) ** 2).sum()
            total = ((own["observed"] - own["observed"].mean()) ** 2).sum()
            assert 0 < own["skill_score"].iloc[0] < 1 - unexplained / total + 0.05, name


def test_model_agrees_with_observations_at_the_stated_rate(model: pd.DataFrame) -> None:
    both = model.dropna(subset="observed")
    assert len(both) > 200
    error = both["annual_balance_m_we"] - both["observed"]
    assert_sigma_is_fair(error, both["annual_balance_sigma_m_we"], beyond_2=0.07, median=(0.4, 0.8))
    within_1 = (error.abs() < both["annual_balance_sigma_m_we"]).mean()
    assert 0.6 < within_1 < 0.8


def test_model_agrees_with_the_truth_of_years_that_nobody_observed(model: pd.DataFrame) -> None:
    """The balance follows the summers by a known relation, and chance adds to it: the model must find the relation."""
    unseen = model[model["extrapolated"]]
    assert len(unseen) > 80
    error = unseen["annual_balance_m_we"] - unseen["expected"]
    assert_sigma_is_fair(error, unseen["annual_balance_sigma_m_we"], beyond_2=0.05, largest=3, median=(0.2, 0.7))
    # With the chance that was left out, the error is what sigma says on average.
    ratio = np.sqrt((error**2 + unseen["unexplained"] ** 2) / unseen["annual_balance_sigma_m_we"] ** 2)
    assert 0.7 < ratio.mean() < 1.4


def test_years_outside_the_observed_span_are_flagged(model: pd.DataFrame, balance: pd.DataFrame) -> None:
    seen = model.dropna(subset="observed").groupby("glacier_id")["year"]
    outside = (model["year"] < model["glacier_id"].map(seen.min())) | (
        model["year"] > model["glacier_id"].map(seen.max())
    )
    assert model["extrapolated"].eq(outside).all() and 80 < outside.sum() < len(model) - 200
    assert not balance.query("origin != 'model'")["extrapolated"].any()


def test_parameters_and_skill_of_every_model(whole_sample: Platform, model: pd.DataFrame, truth: Truth) -> None:
    """One row per glacier with observations, of the rejected models too; the skill is that of the modelled rows."""
    rows = whole_sample.rows(BalanceModel).set_index("glacier_id")
    assert set(rows.index) == {name for name, put_in in truth.glaciers.items() if put_in.annual_balance_m_we}
    assert set(rows.index[rows["published"]]) == set(model["glacier_id"])
    assert rows["reason"].isna().eq(rows["published"]).all()
    assert "does not beat the mean" in rows.loc["taku", "reason"] and rows.loc["taku", "skill_score"] < 0
    assert "2 observed years" in rows.loc["yuri", "reason"] and np.isnan(rows.loc["yuri", "rmse_m_we"])
    for name, row in rows[rows["published"]].iterrows():
        own, put_in = model[model["glacier_id"] == name], truth.glaciers[str(name)]
        seen = own.dropna(subset="observed")
        assert (row["n_years"], row["period_start"], row["period_end"]) == (
            len(seen),
            seen["year"].min(),
            seen["year"].max(),
        )
        assert own["skill_score"].eq(row["skill_score"]).all() and own["model_id"].eq(row["model_id"]).all()
        assert row["fitted"].count("factor") == (2 if len(seen) >= 10 else 1), name
        # In leave-one-out the error is what the summers do not explain, and what the model does not find of the rest.
        assert 0.8 < row["rmse_m_we"] / put_in.unexplained_m_we < 1.8, name
        assert abs(row["bias_m_we"]) < 0.05 and 0 < row["mae_m_we"] < row["rmse_m_we"] and 0 < row["r"] < 1
        assert (own["annual_balance_sigma_m_we"] >= row["rmse_m_we"]).all()
    short = rows[rows["fitted"] == "melt_factor"]
    assert set(short.index) == {"eklutna", "mccall"} and short["precipitation_factor"].nunique() == 1


# --- balances of periods ----------------------------------------------------------------------------------------------


def test_geodetic_balances(whole_sample: Platform, truth: Truth) -> None:
    """Density 850 +/- 60 kg m-3, the uncertainty of the change, and two dates of +/- 15 days."""
    rows = whole_sample.rows(BalancePeriod).query("origin == 'geodetic'").set_index(["glacier_id", "period_start"])
    n = 0
    for name, put_in in truth.glaciers.items():
        for survey in put_in.surveys:
            start, end = (dt.date.fromisoformat(survey[key]) for key in ("period_start", "period_end"))
            row = rows.loc[(name, start)]
            years = (end - start).days / 365.25
            rate, sigma = survey["elevation_change_m"] / years, survey["elevation_change_sigma_m"]
            assert row["period_end"] == end, name
            assert row["balance_m_we_yr"] == pytest.approx(0.85 * rate, rel=1e-3), name
            length = rate * math.hypot(15, 15) / 365.25 / years
            parts = 0.85 * (sigma or 0.0) / years, 0.85 * length, 0.06 * rate
            assert row["balance_sigma_m_we_yr"] == pytest.approx(math.hypot(*parts), rel=1e-3), name
            assert row["sigma_kind"] == ("density_only" if sigma is None else "propagated"), name
            assert row["reference_area_km2"] == pytest.approx(survey["area_km2"], rel=1e-5), name
            assert row["balance_gt_yr"] == pytest.approx(0.85 * rate * survey["area_km2"] / 1000, rel=1e-3), name
            assert row["density_kg_m3"] == 850, name
            n += 1
    assert len(rows) == n == 28
    assert set(rows["sigma_kind"]) == {"propagated", "density_only"}
    assert "no elevation change in FoG" in reasons(whole_sample, "derived/balance_period")[ICE_CAP]


@pytest.mark.parametrize(
    ("glacier_id", "years", "balance", "sigma", "kind", "area_km2", "gt"),
    [
        # Taku's series refers to 724.81 km2, its outline has 521; Novaya Zemlya has no series, so the outline's counts.
        ("taku", (1946, 2018), 0.25, 0.28, "published", 724.81, 0.1812),
        ("lemon_creek", (1946, 2018), -0.60, 0.15, "published", 9.94, -0.00596),
        ("eklutna", (1957, 2010), -0.52, 0.46, "published", 29.395, -0.01529),
        ("eklutna", (2010, 2015), -0.74, 0.10, "published", 29.395, -0.02175),
        ("mccall", (1956, 1993), -0.2975, 0.06308, "propagated", 6.928, -0.002061),
        ("mccall", (1958, 1971), -0.13, 0.34, "assumed", 6.928, -0.000901),
        ("mccall", (1972, 1993), -0.33, 0.01, "published", 6.928, -0.002286),
        ("mccall", (1993, 1996), -0.60, 0.34, "assumed", 6.928, -0.004157),
        ("mccall", (1993, 2002), -0.3995, 0.03801, "propagated", 6.928, -0.002768),
        (ARCHIPELAGO, (2003, 2009), -0.4518, 0.2259, "published", 22132, -10),
        (ARCHIPELAGO, (2010, 2016), -0.6326, 0.1807, "published", 22132, -14),
    ],
)
def test_literature_row(
    whole_sample: Platform,
    glacier_id: str,
    years: tuple[int, int],
    balance: float,
    sigma: float,
    kind: str,
    area_km2: float,
    gt: float,
) -> None:
    start, end = dt.date(years[0], 1, 1), dt.date(years[1], 12, 31)
    rows = whole_sample.rows(BalancePeriod).query("origin == 'literature' and glacier_id == @glacier_id")
    (row,) = rows[(rows["period_start"] == start) & (rows["period_end"] == end)].to_dict("records")
    assert row["balance_m_we_yr"] == pytest.approx(balance, rel=1e-3)
    assert row["balance_sigma_m_we_yr"] == pytest.approx(sigma, rel=1e-3) and row["sigma_kind"] == kind
    assert row["reference_area_km2"] == pytest.approx(area_km2, rel=5e-3)
    assert row["balance_gt_yr"] == pytest.approx(gt, rel=5e-3)
    assert row["balance_sigma_gt_yr"] == pytest.approx(sigma * row["reference_area_km2"] / 1000, rel=1e-3)
    of_area = {"novaya_zemlya": "rgi7"}.get(glacier_id, "wgms")
    assert any(of_area in source for source in row["source_ids"]), row["source_ids"]


def test_no_other_literature_row_is_published(whole_sample: Platform) -> None:
    rows = whole_sample.rows(BalancePeriod).query("origin == 'literature'")
    assert rows.groupby("glacier_id").size().to_dict() == {
        "eklutna": 2,
        "lemon_creek": 1,
        "mccall": 5,
        ARCHIPELAGO: 2,
        "taku": 1,
    }


def test_balances_of_periods_are_not_spread_over_years(whole_sample: Platform, balance: pd.DataFrame) -> None:
    rows = whole_sample.rows(BalancePeriod)
    days = (pd.to_datetime(rows["period_end"]) - pd.to_datetime(rows["period_start"])).dt.days
    assert days.min() > 3 * 365
    assert set(balance["origin"]) == {"observed", "reconstruction", "model"}


# --- trends -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trends(whole_sample: Platform) -> pd.DataFrame:
    return whole_sample.rows(Trend).set_index(["variable", "glacier_id"])


def assert_slopes(rows: pd.DataFrame, low: pd.Series, high: pd.Series, misses: int) -> None:
    """The true slope, somewhere from `low` to `high`, lies in the interval of all but a few."""
    hit = (rows["slope_low"] <= high[rows.index]) & (rows["slope_high"] >= low[rows.index])
    assert (~hit).sum() <= misses, rows[~hit]
    assert rows["slope_per_decade"].between(rows["slope_low"], rows["slope_high"]).all()


def test_trend_of_temperature(whole_sample: Platform, trends: pd.DataFrame, truth: Truth) -> None:
    """0.4 K per decade, and weather; glaciers share it, so more than one in twenty may miss together."""
    rows = trends.loc["t2m_c"]
    true = pd.Series({name: put_in.trends["t2m_c"] for name, put_in in truth.glaciers.items()})
    assert len(rows) == 16 and true.to_numpy() == pytest.approx(0.4)
    assert_slopes(rows, true, true, misses=1)
    sigma = (rows["slope_high"] - rows["slope_low"]) / (2 * 1.96)
    assert_sigma_is_fair(rows["slope_per_decade"] - true[rows.index], sigma, median=(0.15, 1.2))
    assert (rows["p_value"] < 0.05).all()  # 1.6 K in forty years
    last = int(whole_sample.partitions.years.get_partition_keys()[-1])
    first = int(whole_sample.current.start_month[:4])
    assert (rows["period_start"] == first).all() and rows["n"].eq(rows["period_end"] - first + 1).all()
    assert rows["period_end"].between(last - 1, last).all()


def test_trend_of_summer_temperature(trends: pd.DataFrame, truth: Truth) -> None:
    """0.29 K per decade: summers warm less than winters."""
    rows = trends.loc["t2m_jja_c"]
    true = pd.Series({name: put_in.trends["t2m_jja_c"] for name, put_in in truth.glaciers.items()})
    assert len(rows) == 16 and true.to_numpy() == pytest.approx(0.292, abs=1e-3)
    assert rows["slope_per_decade"].median() == pytest.approx(0.292, abs=0.12)
    assert_slopes(rows, true, true, misses=1)
    sigma = (rows["slope_high"] - rows["slope_low"]) / (2 * 1.96)
    assert_sigma_is_fair(rows["slope_per_decade"] - true[rows.index], sigma, median=(0.05, 1.2))


def test_trend_of_degree_days(trends: pd.DataFrame, truth: Truth) -> None:
    """What the warming of each month of the year makes of them: on the days on which it thaws they rise with it."""
    rows = trends.loc["degree_days_k_d"]
    true = pd.Series({name: warming_of_degree_days(put_in) for name, put_in in truth.glaciers.items()})
    assert len(rows) == 16 and true.between(10, 80).all()
    assert_slopes(rows, true, true, misses=1)
    sigma = (rows["slope_high"] - rows["slope_low"]) / (2 * 1.96)
    assert_sigma_is_fair(rows["slope_per_decade"] - true[rows.index], sigma, median=(0.05, 1.2))


def warming_of_degree_days(put_in: GlacierTruth) -> float:
    """K d per decade: sum over the months of the year of days, mean share of days that thaw, and warming."""
    total = 0.0
    for month in range(12):
        own = [t for key, t in put_in.t2m.items() if int(key[5:]) == month + 1 and key >= "1985"]
        thaw = float(np.mean([math.erfc(-t.t2m_c / (math.sqrt(2) * 4.5)) / 2 for t in own]))
        total += 365.25 / 12 * thaw * warming_k_per_decade([month])
    return total


def test_trend_of_the_model(trends: pd.DataFrame, truth: Truth) -> None:
    """Downward, and not steeper than the warming makes the balance: a model that explains a part of the variance, and
    must take precipitation along that the SYNTHETIC balance does not know of, has a part of its trend. The interval is
    that of the modelled series, without the uncertainty of the model's parameters."""
    rows = trends.loc["annual_balance_m_we_model"]
    true = pd.Series({name: truth.glaciers[str(name)].trends["observed"] for name in rows.index})
    assert len(rows) >= 6
    assert (rows["slope_per_decade"] < 0).all() and (rows["slope_high"] >= true).all()
    assert (rows["slope_per_decade"] / true).median() > 0.3
    assert (rows["slope_per_decade"] / true).between(0.15, 1.3).all()


def test_trend_of_homogenised_speed(trends: pd.DataFrame, speed: pd.DataFrame, truth: Truth) -> None:
    """Three per cent of the average speed per decade, under a cycle of eleven years of 15 %."""
    rows = trends.loc["speed_homogenised_m_yr"]
    true = pd.Series({name: put_in.trends["speed_m_yr"] for name, put_in in truth.glaciers.items() if put_in.speed})
    assert set(rows.index) == set(true.index)
    assert_slopes(rows, true, true, misses=0)
    assert (rows["slope_per_decade"] > 0).all()
    own = speed.groupby("glacier_id")["year"]
    assert rows["n"].eq(own.size()[rows.index]).all()
    assert rows["period_start"].eq(own.min()[rows.index]).all() and rows["period_end"].eq(own.max()[rows.index]).all()


@pytest.mark.parametrize("origin", ["observed", "reconstruction"])
def test_trend_of_each_origin_of_the_balance(
    origin: str, trends: pd.DataFrame, balance: pd.DataFrame, truth: Truth
) -> None:
    """Summers become warmer, so balances fall, observed ones by another amount than reconstructed ones."""
    rows = trends.loc[f"annual_balance_m_we_{origin}"]
    put_in = {name: found.trends[origin] for name, found in truth.glaciers.items() if origin in found.trends}
    true = pd.Series(put_in)[rows.index]
    assert_slopes(rows, true, true, misses=1)
    own = balance[balance["origin"] == origin].groupby("glacier_id")["year"]
    assert set(rows.index) == set(own.size()[own.size() >= 10].index) and len(rows) >= 7
    assert rows["n"].eq(own.size()[rows.index]).all() and (rows["n"] >= 10).all()
    assert rows["period_start"].eq(own.min()[rows.index]).all() and rows["period_end"].eq(own.max()[rows.index]).all()


def test_no_trend_mixes_origins(trends: pd.DataFrame) -> None:
    balances = {name for name in trends.index.get_level_values("variable") if name.startswith("annual_balance")}
    assert balances == {f"annual_balance_m_we_{origin}" for origin in ("observed", "reconstruction", "model")}
