"""Balance over a period of years: from elevation changes, and between m w.e. and Gt.

Here: density conversion, its uncertainty, and rows of the table `balance_period` from geodetic surveys. Not here:
annual balances (a period's balance is never spread over its years), reading FoG, published values (`literature`).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

GEODETIC_DENSITY_KG_M3 = 850.0
"""Density of what a glacier gains or loses, with `GEODETIC_DENSITY_SIGMA_KG_M3` for periods of five years and more
(Huss 2013, The Cryosphere 7, 877)."""
GEODETIC_DENSITY_SIGMA_KG_M3 = 60.0
SHORTEST_YEARS = 5.0
"""Below, firn and snow can change the density by more than its sigma says: that row's sigma is a lower bound."""
_DAYS_PER_YEAR = 365.25

COLUMNS = (
    "glacier_id",
    "period_start",
    "period_end",
    "origin",
    "reference",
    "balance_m_we_yr",
    "balance_sigma_m_we_yr",
    "balance_gt_yr",
    "balance_sigma_gt_yr",
    "reference_area_km2",
    "density_kg_m3",
    "sigma_kind",
    "period_precision",
)
"""Columns of the rows that this module makes."""


def m_we_to_gt(balance_m_we: ArrayLike, area_km2: ArrayLike) -> NDArray[np.float64]:
    """Mass, Gt, of a specific balance: 1 m w.e. over 1 km² is 1e-3 Gt."""
    return np.asarray(balance_m_we, dtype=np.float64) * np.asarray(area_km2, dtype=np.float64) / 1000.0


def gt_to_m_we(balance_gt: ArrayLike, area_km2: ArrayLike) -> NDArray[np.float64]:
    """Specific balance, m w.e., of a mass over an area: the inverse of `m_we_to_gt`."""
    return 1000.0 * np.asarray(balance_gt, dtype=np.float64) / np.asarray(area_km2, dtype=np.float64)


def geodetic_balance(
    elevation_change_m: ArrayLike,
    elevation_change_sigma_m: ArrayLike,
    density_kg_m3: float = GEODETIC_DENSITY_KG_M3,
    density_sigma_kg_m3: float = GEODETIC_DENSITY_SIGMA_KG_M3,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Balance of a mean elevation change, and its standard deviation, in m w.e. (per year, when the change is).

    B = dh rho / 1000;  sigma_B² = (rho / 1000 sigma_dh)² + (dh sigma_rho / 1000)²

    Args:
        elevation_change_m: dh, m; arrays broadcast.
        elevation_change_sigma_m: its standard deviation, m.
        density_kg_m3: rho.
        density_sigma_kg_m3: its standard deviation.
    """
    change = np.asarray(elevation_change_m, dtype=np.float64)
    sigma = np.asarray(elevation_change_sigma_m, dtype=np.float64)
    total: NDArray[np.float64] = np.hypot(density_kg_m3 / 1000.0 * sigma, change * density_sigma_kg_m3 / 1000.0)
    return change * density_kg_m3 / 1000.0, total


def geodetic_rows(changes: pd.DataFrame) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    """Rows of `balance_period` from elevation changes.

    The uncertainty holds those of the elevation change, of the density and, where stated, of the dates (as of the
    length of the period). `sigma_kind` is `propagated`; `density_only` where the elevation change has none, and
    `short_period` where the period is under five years: both are lower bounds. The reference area is the mean of the
    areas at start and end where both are known (one area for both overstates a shrinking glacier), else the one
    that is; without any there is no Gt. The uncertainty of the area is not in that of the Gt.

    Args:
        changes: glacier_id and the columns of `sources.fog_change.Changes.frame`: survey_id, period_start,
            period_end, period_start_unc_d, period_end_unc_d, years (above 0), elevation_change_m,
            elevation_change_sigma_m, area_km2, area_start_km2, reference.

    Returns:
        Rows with `COLUMNS`, sorted by key; and glacier id and one sentence per row that is left out: no change and no
        uncertainty, or nothing tells it from another one. Surveys that share glacier, period and reference have the
        survey's id added to the reference.
    """
    years = changes["years"].to_numpy(dtype=np.float64)
    rate = changes["elevation_change_m"].to_numpy(dtype=np.float64) / years
    reported = changes["elevation_change_sigma_m"].to_numpy(dtype=np.float64) / years
    dates = changes[["period_start_unc_d", "period_end_unc_d"]].fillna(0.0).to_numpy(dtype=np.float64)
    length_sigma = np.hypot(dates[:, 0], dates[:, 1]) / _DAYS_PER_YEAR
    rate_sigma = np.hypot(np.nan_to_num(reported), rate * length_sigma / years)
    balance, sigma = geodetic_balance(rate, rate_sigma)
    areas = changes[["area_start_km2", "area_km2"]].astype("float64")
    area = areas.mean(axis=1).to_numpy()
    kind = np.where(np.isnan(reported), "density_only", np.where(years < SHORTEST_YEARS, "short_period", "propagated"))
    rows = pd.DataFrame(
        {
            "glacier_id": changes["glacier_id"].to_numpy(),
            "period_start": changes["period_start"].to_numpy(),
            "period_end": changes["period_end"].to_numpy(),
            "origin": "geodetic",
            "reference": [text or "WGMS FoG" for text in changes["reference"]],
            "balance_m_we_yr": balance,
            "balance_sigma_m_we_yr": sigma,
            "balance_gt_yr": m_we_to_gt(balance, area),
            "balance_sigma_gt_yr": m_we_to_gt(sigma, area),
            "reference_area_km2": area,
            "density_kg_m3": GEODETIC_DENSITY_KG_M3,
            "sigma_kind": kind,
            "period_precision": "day",
            "survey_id": changes["survey_id"].to_numpy(),
        }
    )
    key = ["glacier_id", "period_start", "period_end", "reference"]
    empty = ~(rows["balance_sigma_m_we_yr"] > 0)
    left_out = [
        (str(row.glacier_id), f"elevation change of 0 from {row.period_start} to {row.period_end} without uncertainty")
        for row in rows[empty].itertuples()
    ]
    rows = rows[~empty]
    shared = rows.duplicated(key, keep=False) & (rows["survey_id"] != "")
    rows.loc[shared, "reference"] += "; FoG survey " + rows.loc[shared, "survey_id"]
    twice = rows.duplicated(key, keep="first")
    left_out += [
        (
            str(row.glacier_id),
            f"{row.glacier_id} has several elevation changes from {row.period_start} to {row.period_end} by "
            f"{row.reference} that nothing tells apart: the first is taken",
        )
        for row in rows[twice].itertuples()
    ]
    return rows.loc[~twice, list(COLUMNS)].sort_values(key, ignore_index=True), left_out
