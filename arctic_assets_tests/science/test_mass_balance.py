from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from arctic_assets.science.mass_balance import fill_sigma, seasons_that_do_not_add_up


def test_every_balance_gets_a_sigma_and_its_origin() -> None:
    frame = pd.DataFrame({"year": [1, 2, 3], "annual_balance_sigma_m_we": [0.15, np.nan, 0.0]}, index=[7, 8, 9])
    filled = fill_sigma(frame, 0.2)
    assert filled["annual_balance_sigma_m_we"].tolist() == [0.15, 0.2, 0.2]
    assert filled["sigma_origin"].tolist() == ["reported", "assumed", "assumed"]
    assert filled.index.tolist() == [7, 8, 9]
    assert frame["annual_balance_sigma_m_we"].isna().sum() == 1, "the input stays as it was"
    nothing = pd.DataFrame({"annual_balance_sigma_m_we": [None, None]})
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
