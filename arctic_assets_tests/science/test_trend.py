from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arctic_assets.errors import TableError
from arctic_assets.science.trend import mann_kendall, theil_sen, trends

YEARS = np.arange(1985, 2025)


def series(values: np.ndarray, years: np.ndarray = YEARS, glacier: str = "a", variable: str = "t2m_c") -> pd.DataFrame:
    return pd.DataFrame({"glacier_id": glacier, "variable": variable, "year": years, "value": values})


def test_a_series_by_hand() -> None:
    # Differences of 1 3 2 4 4: of ten pairs eight rise, one falls, one is a tie.
    found = mann_kendall(range(2000, 2005), [1, 3, 2, 4, 4])
    assert found.s == 7
    assert found.variance == pytest.approx((5 * 4 * 15 - 2 * 1 * 9) / 18)
    assert found.inflation == 1
    z = 6 / math.sqrt(282 / 18)
    assert found.z == pytest.approx(z)
    assert found.p_value == pytest.approx(math.erfc(z / math.sqrt(2)))
    assert theil_sen(range(2000, 2005), [1, 3, 2, 4, 4])[0] == pytest.approx(0.625), "median of the ten slopes"


@pytest.mark.parametrize("values", [(1, 2, 3, 4, 5, 6, 7), (1, 1, 1, 2, 2, 3, 4), (5, 5, 5, 5, 5, 1, 1)])
def test_variance_is_that_of_all_orders(values: tuple[float, ...]) -> None:
    orders = np.array(list(itertools.permutations(values)))
    i, j = np.triu_indices(len(values), 1)
    s = np.sign(orders[:, j] - orders[:, i]).sum(axis=1)
    assert s.mean() == 0
    assert mann_kendall(range(7), values).variance == pytest.approx(s.var())


def test_p_is_near_that_of_all_orders() -> None:
    values = [3.0, 1.0, 4.0, 2.0, 6.0, 5.0, 8.0, 7.0]
    orders = np.array(list(itertools.permutations(values)))
    i, j = np.triu_indices(8, 1)
    s = np.sign(orders[:, j] - orders[:, i]).sum(axis=1)
    found = mann_kendall(range(8), values)
    assert found.inflation == 1
    assert found.p_value == pytest.approx((np.abs(s) >= abs(found.s)).mean(), abs=0.005)


def test_autocorrelation_makes_a_trend_less_certain() -> None:
    rng = np.random.default_rng(3)
    noise = rng.normal(size=60)
    red = np.zeros(60)
    for t in range(1, 60):
        red[t] = 0.7 * red[t - 1] + noise[t]
    years = np.arange(1960, 2020)
    found = mann_kendall(years, red + 0.03 * np.arange(60))
    assert found.inflation > 1.5
    assert found.p_value > math.erfc(abs(found.s - 1) / math.sqrt(found.variance) / math.sqrt(2))


def test_autocorrelation_by_hand() -> None:
    # Three long waves without a trend; lags of one year to n - 3, ranks of the residuals, as Hamed and Rao write it.
    x = np.sin(2 * np.pi * np.arange(30) / 10 + 0.3)
    slope = theil_sen(np.arange(30), x)[0]
    ranks = pd.Series(np.round(x - slope * np.arange(30), 12)).rank().to_numpy() - 15.5
    factor = 0.0
    for k in range(1, 28):
        rho = (ranks[k:] * ranks[:-k]).sum() / (ranks**2).sum()
        if abs(rho) > 1.96 / math.sqrt(30):
            factor += (30 - k) * (29 - k) * (28 - k) * rho
    expected = max(1.0, 1 + 2 * factor / (30 * 29 * 28))
    assert mann_kendall(np.arange(30), x).inflation == pytest.approx(expected)


def test_negative_autocorrelation_is_no_gain() -> None:
    zigzag = np.where(np.arange(40) % 2, 1.0, -1.0) + np.random.default_rng(0).normal(0, 0.1, 40)
    assert mann_kendall(YEARS, zigzag).inflation == 1


def test_slope_per_decade_with_its_interval() -> None:
    values = 0.04 * (YEARS - 1985) + np.random.default_rng(1).normal(0, 0.3, 40)
    frame, reasons = trends(series(values))
    row = frame.iloc[0]
    assert reasons == {}
    assert row["slope_low"] < 0.4 < row["slope_high"]
    assert row["slope_low"] < row["slope_per_decade"] < row["slope_high"]
    assert row["p_value"] < 0.01
    assert (row["n"], row["period_start"], row["period_end"]) == (40, 1985, 2024)
    straight, _ = trends(series(0.04 * YEARS))
    assert straight[["slope_per_decade", "slope_low", "slope_high"]].iloc[0].tolist() == pytest.approx([0.4] * 3)
    assert straight["p_value"].item() < 1e-10


def test_holes_count_as_years_not_as_steps() -> None:
    frame, _ = trends(series(0.04 * YEARS).query("year < 1995 or year > 2015"))
    assert frame["slope_per_decade"].item() == pytest.approx(0.4)
    assert frame["n"].item() == 19


def test_constant_series_have_no_trend() -> None:
    frame, _ = trends(series(np.full(40, 2.0)))
    assert frame[["slope_per_decade", "p_value"]].iloc[0].tolist() == [0, 1]


def test_short_series_have_a_reason_and_order_does_not_matter() -> None:
    both = pd.concat(
        [
            series(0.04 * YEARS, glacier="b"),
            series(YEARS[:9] * 1.0, YEARS[:9]),
            series(np.where(YEARS < 1994, 1.0, np.nan), variable="speed"),
        ]
    )
    frame, reasons = trends(both.sample(frac=1, random_state=1))
    assert frame["glacier_id"].tolist() == ["b"]
    assert set(reasons) == {("a", "t2m_c"), ("a", "speed")}
    assert "9 yearly values" in reasons["a", "speed"]
    none, _ = trends(both.iloc[:0])
    assert none.empty and list(none.columns) == list(frame.columns)


def test_a_year_twice_is_refused() -> None:
    with pytest.raises(TableError, match="a year twice"):
        trends(pd.concat([series(0.04 * YEARS), series(0.04 * YEARS).head(1)]))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=10, max_size=15))
def test_mirrored_series_mirror_the_test(values: list[int]) -> None:
    years = np.arange(len(values))
    up, down = mann_kendall(years, values), mann_kendall(years, [-v for v in values])
    assert (up.s, up.variance) == (-down.s, down.variance)
    assert up.p_value == pytest.approx(down.p_value)
    assert 0 <= up.p_value <= 1
