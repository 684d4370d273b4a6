"""The preferred series of annual balances, and the reconstruction of a glacier from that of its RGI 6 parts.

Here: choosing between origins, area-weighted means with their uncertainty. Not here: making any of the values.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

import numpy as np
import pandas as pd

from arctic_assets.errors import TableError

ORDER = ("observed", "reconstruction", "model")
"""Origins from the most to the least trusted: a measurement, satellite data with anomalies of the region's
measurements, a model calibrated on the glacier's own past."""
SMALLEST_COVERAGE = 0.8
"""Share of a glacier's area that the reconstruction's outlines must make up in a year."""


def set_preferred(frame: pd.DataFrame) -> pd.DataFrame:
    """Mark one origin per glacier and year; no value is changed, so an observation is never overwritten.

    Args:
        frame: glacier_id, year, origin; other columns stay as they are.

    Returns:
        A copy with `preferred`, True for exactly one row of each glacier and year.

    Raises:
        TableError: an origin that is not in `ORDER`, or the same origin twice in a year.
    """
    unknown = sorted(set(frame["origin"]) - set(ORDER))
    if unknown:
        raise TableError(
            "a balance is of an unknown origin",
            where="mass_balance.origin",
            expected=", ".join(ORDER),
            got=", ".join(unknown),
            todo="give the origin its place in science/preferred.py",
        )
    key = ["glacier_id", "year", "origin"]
    twice = frame[frame.duplicated(key, keep=False)]
    if len(twice):
        raise TableError(
            "a glacier has two balances of one origin in one year",
            where="mass_balance",
            expected="one row per glacier, year and origin",
            got=twice[key].head(20).to_dict("records"),
            todo="remove one of them where they are made",
        )
    rank = frame["origin"].map({origin: place for place, origin in enumerate(ORDER)}).astype("int64")
    best = rank.groupby([frame["glacier_id"], frame["year"]]).transform("min")
    return frame.assign(preferred=(rank == best).to_numpy(dtype=bool))


def reconstruction(
    estimates: pd.DataFrame, parts: Mapping[str, Mapping[str, float]], area_km2: Mapping[str, float]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Annual balance of glaciers as the area-weighted mean of the RGI 6 outlines that they consist of.

    B = sum(w_i B_i) / sum(w_i), w_i = area of outline i times the share of it that lies in the glacier.

    sigma = sum(w_i sigma_i) / sum(w_i): errors of all parts fully correlated. They share the satellite data, the
    density conversion and, where nothing was measured, the anomalies of the same few glaciers. Independent errors of
    480 parts would give a twentieth of it; the truth is between, and this is the safe end.

    Args:
        estimates: rgi6_id, year, annual_balance_m_we, annual_balance_sigma_m_we, area_km2.
        parts: glacier id to RGI 6 ids with the share (0..1) of each that lies in the glacier (`rgi6_weights`).
        area_km2: area of each glacier's outline; a year in which the parts with a value make up less than
            `SMALLEST_COVERAGE` of it has no row.

    Returns:
        glacier_id, year, origin (reconstruction), annual_balance_m_we, annual_balance_sigma_m_we, sigma_origin
        (reported), reference_area_km2 (sum of the weights), period_start, period_end, scope (own), sorted; and the
        reason per glacier that has no year at all.
    """
    links = pd.DataFrame(
        [(glacier, rgi6_id, share) for glacier, shares in parts.items() for rgi6_id, share in shares.items()],
        columns=["glacier_id", "rgi6_id", "share"],
    )
    rows = links[links["share"] > 0].merge(estimates, on="rgi6_id")
    weight = rows["area_km2"] * rows["share"]
    sums = (
        pd.DataFrame(
            {
                "glacier_id": rows["glacier_id"],
                "year": rows["year"],
                "weight": weight,
                "balance": weight * rows["annual_balance_m_we"],
                "sigma": weight * rows["annual_balance_sigma_m_we"],
            }
        )
        .groupby(["glacier_id", "year"], as_index=False)
        .sum()
    )
    coverage = sums["weight"] / sums["glacier_id"].map(area_km2).astype("float64")
    whole = sums[coverage >= SMALLEST_COVERAGE].sort_values(["glacier_id", "year"], ignore_index=True)
    frame = pd.DataFrame(
        {
            "glacier_id": whole["glacier_id"].astype("str"),
            "year": whole["year"].astype("int64"),
            "origin": "reconstruction",
            "annual_balance_m_we": whole["balance"] / whole["weight"],
            "annual_balance_sigma_m_we": whole["sigma"] / whole["weight"],
            "sigma_origin": "reported",
            "reference_area_km2": whole["weight"],
            "period_start": pd.Series([dt.date(int(y) - 1, 10, 1) for y in whole["year"]], dtype="object"),
            "period_end": pd.Series([dt.date(int(y), 9, 30) for y in whole["year"]], dtype="object"),
            "scope": "own",
        }
    )
    best = coverage.groupby(sums["glacier_id"]).max()
    have = set(frame["glacier_id"])
    reasons = {g: _why_not(shares, float(best.get(g, np.nan))) for g, shares in parts.items() if g not in have}
    return frame, reasons


def _why_not(shares: Mapping[str, float], coverage: float) -> str:
    if not shares:
        return "no RGI 6 outline is known for this glacier"
    if np.isnan(coverage):
        named = ", ".join(sorted(shares)[:5]) + (f" and {len(shares) - 5} more" if len(shares) > 5 else "")
        return f"the reconstruction does not hold {named}"
    return (
        f"the outlines of the reconstruction make up {coverage:.0%} of the glacier's area, "
        f"less than {SMALLEST_COVERAGE:.0%}"
    )
