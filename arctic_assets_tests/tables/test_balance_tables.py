"""The models of `balance_period` and `trend` take what science makes, and refuse what cannot be."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from arctic_assets import glaciers, literature
from arctic_assets.science.balance_period import COLUMNS
from arctic_assets.science.trend import trends
from arctic_assets.tables.balance_period import BalancePeriod
from arctic_assets.tables.base import Table, soft_violations, violations
from arctic_assets.tables.trend import Trend


def stamped(model: type[Table], frame: pd.DataFrame) -> pd.DataFrame:
    return model.conform(
        frame.assign(
            source_ids=[["s"]] * len(frame),
            run_id="r",
            code_version="1",
            recorded_at=pd.Timestamp("2026-01-01"),
            is_synthetic=False,
        )
    )


@pytest.fixture
def periods() -> pd.DataFrame:
    areas = {glacier.glacier_id: glacier.area_km2 for glacier in glaciers.load()}
    return stamped(BalancePeriod, literature.published(areas, 0.34).frame)


@pytest.fixture
def slopes() -> pd.DataFrame:
    years = np.arange(1985, 2025)
    series = pd.DataFrame({"glacier_id": "a", "variable": "t2m_c", "year": years, "value": 0.04 * years})
    return stamped(Trend, trends(series)[0].assign(unit="degC per decade"))


def test_literature_fits(periods: pd.DataFrame) -> None:
    assert violations(BalancePeriod, periods) == [] and soft_violations(BalancePeriod, periods) == []
    assert set(COLUMNS) <= set(BalancePeriod.no_rows().columns)
    assert BalancePeriod.key() == ["glacier_id", "period_start", "period_end", "reference", "origin"]
    assert isinstance(periods["period_start"].iloc[0], dt.date)


@pytest.mark.parametrize(
    ("column", "value"),
    [("balance_m_we_yr", -633.0), ("balance_gt_yr", -14000.0), ("density_kg_m3", 0.85), ("sigma_kind", "guess")],
)
def test_wrong_units_and_words_are_refused(periods: pd.DataFrame, column: str, value: object) -> None:
    (failure,) = violations(BalancePeriod, periods.assign(**{column: value}))
    assert failure.column == column and len(failure.rows) == len(periods)


def test_one_row_per_key(periods: pd.DataFrame) -> None:
    (failure,) = violations(BalancePeriod, pd.concat([periods, periods.head(1)], ignore_index=True))
    assert "unique" in failure.rule


def test_trends_fit(slopes: pd.DataFrame) -> None:
    assert violations(Trend, slopes) == []
    assert Trend.grain() == BalancePeriod.grain() == "glacier"
    assert Trend.key() == ["glacier_id", "variable"]


@pytest.mark.parametrize(("column", "value"), [("n", 9), ("p_value", 1.5)])
def test_trends_of_short_series_are_refused(slopes: pd.DataFrame, column: str, value: float) -> None:
    (failure,) = violations(Trend, slopes.assign(**{column: value}).astype({column: slopes[column].dtype}))
    assert failure.column == column
