from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from arctic_assets.science.balance_period import COLUMNS, geodetic_balance, geodetic_rows, gt_to_m_we, m_we_to_gt


def change(**other: Any) -> dict[str, Any]:
    return {
        "glacier_id": "engabreen",
        "survey_id": "1",
        "period_start": dt.date(2000, 8, 15),
        "period_end": dt.date(2010, 8, 15),
        "period_start_unc_d": np.nan,
        "period_end_unc_d": np.nan,
        "years": 10.0,
        "elevation_change_m": -10.0,
        "elevation_change_sigma_m": 1.0,
        "area_km2": 36.0,
        "area_start_km2": np.nan,
        "reference": "Ann 2012",
        **other,
    }


def rows(*changes: dict[str, Any]) -> tuple[pd.DataFrame, list[tuple[str, str]]]:
    return geodetic_rows(pd.DataFrame(list(changes)))


def test_mass_and_specific_balance() -> None:
    assert m_we_to_gt(-0.5, 2000) == -1
    assert gt_to_m_we(-14, 22132) == pytest.approx(-0.633, abs=5e-4), "Novaya Zemlya, 2010 to 2016"
    assert gt_to_m_we(m_we_to_gt([0.3, -1.2], 725), 725).tolist() == pytest.approx([0.3, -1.2])


def test_density_and_its_uncertainty() -> None:
    balance, sigma = geodetic_balance(-1.0, 0.1)
    assert balance == -0.85
    assert sigma == pytest.approx(np.sqrt(0.085**2 + 0.06**2))
    assert geodetic_balance(0.0, 0.2)[1] == pytest.approx(0.17), "without change the density does not matter"
    pure_ice = geodetic_balance(-1.0, 0.0, 900, 0)
    assert [float(part) for part in pure_ice] == [-0.9, 0.0]


def test_a_change_becomes_a_balance_per_year() -> None:
    frame, left_out = rows(change())
    assert tuple(frame.columns) == COLUMNS and left_out == []
    row = frame.iloc[0]
    assert row["balance_m_we_yr"] == -0.85
    assert row["balance_sigma_m_we_yr"] == pytest.approx(np.hypot(0.085, 0.06))
    assert row["balance_gt_yr"] == pytest.approx(-0.85 * 36 / 1000)
    assert row["balance_sigma_gt_yr"] == pytest.approx(row["balance_sigma_m_we_yr"] * 36 / 1000)
    assert (row["origin"], row["sigma_kind"], row["density_kg_m3"]) == ("geodetic", "propagated", 850)


def test_reference_area_is_the_mean_of_start_and_end() -> None:
    frame, _ = rows(
        change(survey_id="1", area_start_km2=40.0),
        change(survey_id="2", period_end=dt.date(2011, 8, 15), area_km2=np.nan),
    )
    assert frame["reference_area_km2"].tolist()[0] == 38
    assert frame["balance_gt_yr"].tolist()[0] == pytest.approx(-0.85 * 38 / 1000)
    assert frame[["reference_area_km2", "balance_gt_yr", "balance_sigma_gt_yr"]].iloc[1].isna().all()


def test_uncertain_dates_make_the_rate_uncertain() -> None:
    frame, _ = rows(change(elevation_change_sigma_m=1e-9, period_start_unc_d=365.25, period_end_unc_d=0.0))
    assert frame["balance_sigma_m_we_yr"].item() == pytest.approx(np.hypot(0.85 * 0.1, 0.06)), "a year in ten is 10 %"


def test_lower_bounds_are_named() -> None:
    frame, _ = rows(
        change(years=3.0, period_end=dt.date(2003, 8, 15)),
        change(elevation_change_sigma_m=np.nan),
    )
    assert frame["sigma_kind"].tolist() == ["short_period", "density_only"]
    assert frame["balance_sigma_m_we_yr"].tolist()[1] == pytest.approx(0.06)


def test_surveys_of_the_same_period_stay_apart() -> None:
    frame, left_out = rows(
        change(), change(survey_id="2", elevation_change_m=-9.0), change(reference="", survey_id="3")
    )
    assert frame["reference"].tolist() == ["Ann 2012; FoG survey 1", "Ann 2012; FoG survey 2", "WGMS FoG"]
    assert left_out == []
    frame, left_out = rows(change(survey_id=""), change(survey_id="", elevation_change_m=-9.0))
    assert frame["balance_m_we_yr"].tolist() == [-0.85]
    assert len(left_out) == 1 and left_out[0][0] == "engabreen" and "the first is taken" in left_out[0][1]


def test_no_change_without_an_uncertainty_is_left_out() -> None:
    """Density times nothing has no uncertainty: the number would be exact."""
    frame, left_out = rows(change(), change(survey_id="2", elevation_change_m=0.0, elevation_change_sigma_m=np.nan))
    assert len(frame) == 1 and frame["reference"].item() == "Ann 2012"
    assert left_out[0][0] == "engabreen" and "without uncertainty" in left_out[0][1]


def test_nothing_gives_nothing() -> None:
    frame, left_out = geodetic_rows(pd.DataFrame([change()]).iloc[:0])
    assert frame.empty and left_out == []
