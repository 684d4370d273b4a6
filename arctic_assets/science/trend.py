"""Trends of annual series: Theil-Sen slope and Mann-Kendall test.

Here: pure statistics of yearly values. Not here: which series have a trend, and seasonal tests of monthly ones.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from arctic_assets.errors import TableError

FEWEST_YEARS = 10
"""Below, the normal approximation of the test does not hold."""
_SIGNIFICANT = 1.959963984540054  # two-sided 5 % of the standard normal distribution
_COLUMNS = [
    *("glacier_id", "variable", "slope_per_decade", "slope_low", "slope_high", "p_value", "n"),
    *("period_start", "period_end"),
]


class MannKendall(NamedTuple):
    """The test of a series.

    Attributes:
        s: sum of the signs of all differences between later and earlier values.
        variance: of S without trend, corrected for ties.
        inflation: factor on the variance for autocorrelation (Hamed and Rao 1998), at least 1.
        z: standard normal statistic, continuity corrected.
        p_value: two-sided.
    """

    s: float
    variance: float
    inflation: float
    z: float
    p_value: float


def trends(series: pd.DataFrame) -> tuple[pd.DataFrame, dict[tuple[str, str], str]]:
    """Trend of each glacier and variable.

    Args:
        series: glacier_id, variable, year, value; rows without a value do not count. Years may be missing.

    Returns:
        Rows with glacier_id, variable, slope_per_decade (Theil-Sen, the value's unit per decade), slope_low,
        slope_high (95 % interval of Sen 1968; it takes the years as independent), p_value (Mann-Kendall with the
        correction of Hamed and Rao), n, period_start, period_end (first and last year), sorted; and per series of
        fewer than ten values the reason why it has no row.

    Raises:
        TableError: a year twice in one series.
    """
    twice = series[series.duplicated(["glacier_id", "variable", "year"], keep=False)]
    if len(twice):
        raise TableError(
            "a series has a year twice",
            where="the series of a trend",
            expected="one value per glacier, variable and year",
            got=twice[["glacier_id", "variable", "year"]].head(20).to_dict("records"),
            todo="take one origin or kind per series",
        )
    rows, reasons = [], {}
    for (glacier_id, variable), group in series.groupby(["glacier_id", "variable"], sort=True):
        found = group.dropna(subset="value").sort_values("year")
        years, values = found["year"].to_numpy(dtype=np.int64), found["value"].to_numpy(dtype=np.float64)
        if len(values) < FEWEST_YEARS:
            reasons[str(glacier_id), str(variable)] = (
                f"{variable} of {glacier_id} has {len(values)} yearly values, a trend needs {FEWEST_YEARS}"
            )
            continue
        slope, low, high = theil_sen(years, values)
        test = mann_kendall(years, values)
        span = int(years[0]), int(years[-1])
        rows.append((glacier_id, variable, 10 * slope, 10 * low, 10 * high, test.p_value, len(values), *span))
    types = dict.fromkeys(("glacier_id", "variable"), "str") | dict.fromkeys(
        ("n", "period_start", "period_end"), "int64"
    )
    return pd.DataFrame(rows, columns=_COLUMNS).astype(types), reasons


def theil_sen(years: ArrayLike, values: ArrayLike) -> tuple[float, float, float]:
    """Median of the slopes between all pairs, and its 95 % interval (Sen 1968), per year."""
    from scipy.stats import theilslopes

    result = theilslopes(np.asarray(values, dtype=np.float64), np.asarray(years, dtype=np.float64), alpha=0.95)
    return float(result.slope), float(result.low_slope), float(result.high_slope)


def mann_kendall(years: ArrayLike, values: ArrayLike) -> MannKendall:
    """Mann-Kendall test with the variance of Hamed and Rao (1998, J. Hydrol. 204, 182).

    S = sum over i < j of sgn(x_j - x_i);  var(S) = [n (n-1) (2n+5) - sum t (t-1) (2t+5)] / 18 over ties of t values;
    Z = (S - sgn S) / sqrt(var).

    The variance is multiplied by 1 + 2 / (n (n-1) (n-2)) sum_k (n-k) (n-k-1) (n-k-2) rho_k, where rho_k is the
    autocorrelation of the ranks of the series without its Theil-Sen slope at a lag of k years, as far as it is
    significant at 5 %. Pairs of years of which one is missing do not count. A factor below 1 is taken as 1: negative
    autocorrelation that chance makes shall not make a trend significant.

    Args:
        years: ascending whole years, shape (n,), n at least 3.
        values: shape (n,), finite.
    """
    year, x = np.asarray(years, dtype=np.int64), np.asarray(values, dtype=np.float64)
    n = len(x)
    s = float(np.sign(x[None, :] - x[:, None])[np.triu_indices(n, 1)].sum())
    ties = np.unique(x, return_counts=True)[1].astype(np.float64)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    inflation = _inflation(year, x)
    z = (s - math.copysign(1, s)) / math.sqrt(variance * inflation) if s and variance > 0 else 0.0
    return MannKendall(s, variance, inflation, z, math.erfc(abs(z) / math.sqrt(2)))


def _inflation(year: NDArray[np.int64], x: NDArray[np.float64]) -> float:
    from scipy.stats import rankdata

    n = len(x)
    residual = x - theil_sen(year, x)[0] * (year - year[0])
    on_grid = np.full(year[-1] - year[0] + 1, np.nan)
    ranks = rankdata(np.round(residual, 12))  # a straight line has no ranks of its rounding errors
    on_grid[year - year[0]] = ranks - ranks.mean()
    total = float(np.nansum(on_grid**2))
    if total == 0:
        return 1.0
    factor = 0.0
    for k in range(1, min(n - 2, len(on_grid))):
        rho = float(np.nansum(on_grid[k:] * on_grid[:-k])) / total
        if abs(rho) > _SIGNIFICANT / math.sqrt(n):
            factor += (n - k) * (n - k - 1) * (n - k - 2) * rho
    return max(1.0, 1 + 2 * factor / (n * (n - 1) * (n - 2)))
