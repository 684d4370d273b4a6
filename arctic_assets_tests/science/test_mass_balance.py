from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from arctic_assets.science.mass_balance import fill_sigma, newest_reference_area, seasons_that_do_not_add_up


def seasons(winter: list[float], winter_sigma: float | None = None) -> dict[str, list[float | None]]:
    """Winter balances with one sigma, and summers that are not measured."""
    nothing: list[float | None] = [None] * len(winter)
    return {
        "winter_balance_m_we": list(winter),
        "winter_balance_sigma_m_we": [winter_sigma] * len(winter),
        "summer_balance_m_we": nothing,
        "summer_balance_sigma_m_we": nothing,
    }


def test_seasonal_balances_get_a_sigma_where_they_are() -> None:
    base = {"annual_balance_sigma_m_we": [0.1, 0.1]}
    assumed = fill_sigma(pd.DataFrame({**base, **seasons([1.5, np.nan])}), 0.2)
    assert assumed["winter_balance_sigma_m_we"].tolist()[0] == 0.2
    assert assumed["winter_balance_sigma_m_we"].isna().tolist() == [False, True]
    assert assumed["summer_balance_sigma_m_we"].isna().all()
    assert assumed["season_sigma_origin"].tolist() == ["assumed", None]
    reported = fill_sigma(pd.DataFrame({**base, **seasons([1.5, 1.0], 0.3)}), 0.2)
    assert reported["winter_balance_sigma_m_we"].tolist() == [0.3, 0.3]
    assert reported["season_sigma_origin"].tolist() == ["reported", "reported"]


def test_every_balance_gets_a_sigma_and_its_origin() -> None:
    frame = pd.DataFrame(
        {"year": [1, 2, 3], "annual_balance_sigma_m_we": [0.15, np.nan, 0.0], **seasons([1.5, 2.0, np.nan])},
        index=[7, 8, 9],
    )
    filled = fill_sigma(frame, 0.2)
    assert filled["annual_balance_sigma_m_we"].tolist() == [0.15, 0.2, 0.2]
    assert filled["sigma_origin"].tolist() == ["reported", "assumed", "assumed"]
    assert filled.index.tolist() == [7, 8, 9]
    assert frame["annual_balance_sigma_m_we"].isna().sum() == 1, "the input stays as it was"
    nothing = pd.DataFrame({"annual_balance_sigma_m_we": [None, None], **seasons([np.nan, np.nan])})
    assert fill_sigma(nothing, 0.3)["annual_balance_sigma_m_we"].tolist() == [0.3, 0.3]


def test_seasons_that_do_not_add_up() -> None:
    frame = pd.DataFrame(
        {
            "year": [2000, 2001, 2002, 2003, 2004],
            "winter_balance_m_we": [2.0, 2.0, 2.0, np.nan, 0.3],
            "summer_balance_m_we": [-2.5, -2.5, -2.5, -2.5, -0.2],
            "annual_balance_m_we": [-0.5, -0.6, -0.7, 1.0, 1.1],
        }
    )
    off = seasons_that_do_not_add_up(frame)
    assert off["year"].tolist() == [2002, 2004], "0.1 is allowed, a missing season is not judged"
    assert off["seasons_minus_annual_m_we"].tolist() == pytest.approx([0.2, -1.0])
    assert len(seasons_that_do_not_add_up(frame, tolerance_m_we=0.05)) == 3


def test_newest_reference_area_is_the_last_that_is_stated() -> None:
    observed = pd.DataFrame(
        {
            "glacier_id": ["taku", "taku", "taku", "andrei"],
            "year": [2001, 2002, 2000, 2001],
            "reference_area_km2": [725.0, np.nan, 671.0, np.nan],
        }
    )
    assert newest_reference_area(observed) == {"taku": 725.0}
