"""Observed mass balance: uncertainties that are not reported, seasons that must add up to the year, and the area.

Here: pure rules on frames of annual values. Not here: reading FoG (`sources.fog`), modelled or geodetic balances.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

SEASONS_TOLERANCE_M_WE = 0.1
"""How far winter + summer may be from the annual balance. Of the 4,055 years of FoG 2021-05 that report all three,
45 are further off, by up to 8 m w.e.: the annual value was revised later or the seasons are of other surveys."""


def fill_sigma(frame: pd.DataFrame, assumed_sigma_m_we: float) -> pd.DataFrame:
    """Give every annual and seasonal balance an uncertainty and say where it comes from.

    Args:
        frame: `annual_balance_sigma_m_we` as reported, empty where nothing is; likewise `winter_balance_m_we` and
            `summer_balance_m_we` with their sigma.
        assumed_sigma_m_we: one standard deviation for where none is reported. A reported 0 counts as none: no
            measured balance is exact.

    Returns:
        A copy with `annual_balance_sigma_m_we` filled and `sigma_origin` (`reported` or `assumed`); the sigma of each
        seasonal balance that is there filled, and `season_sigma_origin` (`assumed` when one of the two is, None in
        years without seasons).
    """
    reported = frame["annual_balance_sigma_m_we"].astype("float64")
    is_reported = reported > 0
    filled = frame.assign(
        annual_balance_sigma_m_we=reported.where(is_reported, assumed_sigma_m_we),
        sigma_origin=np.where(is_reported, "reported", "assumed"),
    )
    has_any = pd.Series(False, index=frame.index)
    any_assumed = pd.Series(False, index=frame.index)
    for season in ("winter", "summer"):
        there = frame[f"{season}_balance_m_we"].notna()
        sigma = frame[f"{season}_balance_sigma_m_we"].astype("float64")
        lacks = there & ~(sigma > 0)
        filled[f"{season}_balance_sigma_m_we"] = sigma.mask(lacks, assumed_sigma_m_we)
        has_any |= there
        any_assumed |= lacks
    origin = pd.Series(np.where(any_assumed, "assumed", "reported"), index=frame.index, dtype="object")
    return filled.assign(season_sigma_origin=origin.where(has_any, None))


def newest_reference_area(observed: pd.DataFrame) -> dict[str, float]:
    """The area, km2, that the newest year of each glacier's series refers to, of the years that state one.

    Args:
        observed: `glacier_id`, `year`, `reference_area_km2`.
    """
    stated = observed.dropna(subset="reference_area_km2").sort_values("year")
    return {str(g): float(area) for g, area in stated.groupby("glacier_id")["reference_area_km2"].last().items()}


def seasons_that_do_not_add_up(frame: pd.DataFrame, tolerance_m_we: float = SEASONS_TOLERANCE_M_WE) -> pd.DataFrame:
    """Rows whose winter and summer balance do not sum to the annual balance.

    Args:
        frame: `winter_balance_m_we`, `summer_balance_m_we` (negative where ice melts), `annual_balance_m_we`. Rows
            that lack one of them are not judged.
        tolerance_m_we: allowed difference.

    Returns:
        The rows, with `seasons_minus_annual_m_we`.
    """
    seasons = frame["winter_balance_m_we"] + frame["summer_balance_m_we"]
    difference = (seasons - frame["annual_balance_m_we"]).astype("float64")
    # 1e-9: sums of decimal fractions are not exact, and a difference of just the tolerance is allowed
    is_off = difference.abs() > tolerance_m_we + 1e-9
    return frame.assign(seasons_minus_annual_m_we=difference)[is_off]
