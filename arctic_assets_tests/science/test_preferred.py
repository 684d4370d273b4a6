from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from arctic_assets.errors import TableError
from arctic_assets.science.preferred import reconstruction, set_preferred


def test_an_observation_comes_before_a_reconstruction_before_a_model() -> None:
    frame = pd.DataFrame(
        [
            ("a", 2000, "model", 1.0),
            ("a", 2000, "observed", 2.0),
            ("a", 2000, "reconstruction", 3.0),
            ("a", 2001, "model", 4.0),
            ("a", 2001, "reconstruction", 5.0),
            ("b", 2000, "model", 6.0),
        ],
        columns=["glacier_id", "year", "origin", "annual_balance_m_we"],
        index=[9, 8, 7, 6, 5, 4],
    )
    marked = set_preferred(frame)
    assert marked["preferred"].tolist() == [False, True, False, False, True, True]
    pd.testing.assert_frame_equal(marked.drop(columns="preferred"), frame)
    assert set_preferred(marked.assign(preferred=True))["preferred"].sum() == 3, "an earlier mark does not count"
    assert set_preferred(frame.iloc[:0])["preferred"].tolist() == []


def test_unknown_and_repeated_origins_are_refused() -> None:
    frame = pd.DataFrame({"glacier_id": ["a", "a"], "year": [2000, 2000], "origin": ["observed", "guess"]})
    with pytest.raises(TableError, match="guess"):
        set_preferred(frame)
    with pytest.raises(TableError, match="two balances of one origin"):
        set_preferred(frame.assign(origin="observed"))


def estimates() -> pd.DataFrame:
    return pd.DataFrame(
        [
            ("x", 2000, -1.0, 0.2, 30.0),
            ("y", 2000, 0.0, 0.4, 20.0),
            ("x", 2001, -0.5, 0.2, 30.0),
            ("z", 2000, -0.7, 0.3, 5.0),
        ],
        columns=["rgi6_id", "year", "annual_balance_m_we", "annual_balance_sigma_m_we", "area_km2"],
    )


def test_parts_count_with_the_area_that_lies_in_the_glacier() -> None:
    parts = {"two": {"x": 1.0, "y": 0.5}, "one": {"z": 1.0}}
    frame, reasons = reconstruction(estimates(), parts, {"two": 40.0, "one": 5.0})
    assert reasons == {}
    assert list(zip(frame["glacier_id"], frame["year"], strict=True)) == [("one", 2000), ("two", 2000)], (
        "in 2001 the parts with a value are 75 % of the area"
    )
    two = frame.iloc[1]
    assert two["annual_balance_m_we"] == pytest.approx((30 * -1.0 + 10 * 0.0) / 40)
    assert two["annual_balance_sigma_m_we"] == pytest.approx((30 * 0.2 + 10 * 0.4) / 40), "errors fully correlated"
    assert two["annual_balance_sigma_m_we"] > np.hypot(30 * 0.2, 10 * 0.4) / 40, "independent ones would be smaller"
    assert two["reference_area_km2"] == 40
    assert (two["period_start"], two["period_end"]) == (dt.date(1999, 10, 1), dt.date(2000, 9, 30))
    assert frame.iloc[0]["annual_balance_sigma_m_we"] == pytest.approx(0.3)


def test_glaciers_without_a_year_have_a_reason() -> None:
    parts = {"small": {"z": 1.0}, "unknown": {"q": 1.0}, "none": {}}
    frame, reasons = reconstruction(estimates(), parts, {"small": 50.0, "unknown": 1.0, "none": 1.0})
    assert frame.empty
    assert "10% of the glacier's area" in reasons["small"]
    assert "does not hold q" in reasons["unknown"]
    assert "no RGI 6 outline" in reasons["none"]


def test_an_archipelago_of_many_parts() -> None:
    rng = np.random.default_rng(1)
    area, balance = rng.uniform(1, 200, 480), rng.normal(-0.4, 0.3, 480)
    ids = [f"RGI60-09.{i:05d}" for i in range(480)]
    table = pd.DataFrame(
        {
            "rgi6_id": ids,
            "year": 2010,
            "annual_balance_m_we": balance,
            "annual_balance_sigma_m_we": 0.25,
            "area_km2": area,
        }
    )
    frame, _ = reconstruction(table, {"nz": dict.fromkeys(ids, 1.0)}, {"nz": float(area.sum())})
    assert frame["annual_balance_m_we"].item() == pytest.approx(np.average(balance, weights=area))
    assert frame["annual_balance_sigma_m_we"].item() == pytest.approx(0.25)
