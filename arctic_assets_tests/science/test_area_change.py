from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely

from arctic_assets.errors import SourceError
from arctic_assets.science import geometry
from arctic_assets.science.area_change import area_changes, free_share, repeatability
from arctic_assets.tables.area_change import AreaChange
from arctic_assets.tables.base import violations

REAL = Path(__file__).parents[3] / "shared/real/revisions/austre_broeggerbreen_npi.gpkg"


def areas(*rows: tuple[Any, ...], **more: Any) -> pd.DataFrame:
    names = ["glacier_id", "inventory", "area_km2", "area_bound_km2", "area_sigma_km2", "image_date"]
    frame = pd.DataFrame(rows, columns=names)
    return frame.assign(area_sigma_independent_km2=frame["area_sigma_km2"] / 10).assign(**more)


OLD = ("a", "1985", 10.0, 0.4, 0.3, dt.date(1985, 8, 1))
NEW = ("a", "2024", 8.0, 0.5, 0.4, dt.date(2024, 8, 1))


def test_a_change_with_its_own_uncertainty() -> None:
    (row,) = area_changes(areas(NEW, OLD)).to_dict("records")
    years = 14245 / 365.2425
    assert (row["from_inventory"], row["to_inventory"]) == ("1985", "2024")
    assert (row["from_date"], row["to_date"]) == (OLD[5], NEW[5])
    assert row["years"] == pytest.approx(years)
    assert row["change_km2"] == -2
    assert row["change_sigma_km2"] == pytest.approx(0.5)
    assert row["change_sigma_independent_km2"] == pytest.approx(0.05)
    assert row["change_bound_km2"] == pytest.approx(0.9)
    assert row["rate_km2_yr"] == pytest.approx(-2 / years)
    assert row["rate_sigma_km2_yr"] == pytest.approx(0.5 / years)
    assert row["rate_pct_yr"] == pytest.approx(-20 / years)
    assert row["rate_sigma_pct_yr"] == pytest.approx(100 * np.hypot(0.4 / 10, 8 * 0.3 / 100) / years)
    assert row["significant"]


def test_correlated_errors_cancel() -> None:
    (half,) = area_changes(areas(OLD, NEW), correlation=0.5)["change_sigma_km2"]
    (whole,) = area_changes(areas(OLD, NEW), correlation=1.0)["change_sigma_km2"]
    assert half == pytest.approx(np.sqrt(0.25 - 0.12))
    assert whole == pytest.approx(0.1)


def test_divides_do_not_count() -> None:
    (row,) = area_changes(areas(OLD, NEW, free_share=[0.5, None])).to_dict("records")
    assert row["change_sigma_km2"] == pytest.approx(np.hypot(0.15, 0.4))
    assert row["change_bound_km2"] == pytest.approx(0.2 + 0.5)


def test_margin_that_was_assumed_is_no_divide() -> None:
    """Its part of an uncertainty does not shrink with the share that is free."""
    old, new = areas(OLD, NEW).to_dict("records")
    both = areas(OLD, NEW, free_share=[0.5, 0.5], assumed_sigma_km2=[0.0, 0.8 * new["area_sigma_km2"]])
    (row,) = area_changes(both).to_dict("records")
    second = np.hypot(0.5 * 0.6, 0.8) * new["area_sigma_km2"]
    assert row["change_sigma_km2"] == pytest.approx(np.hypot(0.5 * old["area_sigma_km2"], second))


@pytest.mark.parametrize(("area", "significant"), [(9.03, False), (9.01, True), (10.97, False), (10.99, True)])
def test_significance(area: float, significant: bool) -> None:
    (row,) = area_changes(areas(OLD, ("a", "2024", area, 0.5, 0.4, NEW[5]))).to_dict("records")
    assert row["significant"] is significant


def test_all_pairs_by_date_within_each_glacier() -> None:
    frame = areas(
        NEW,
        OLD,
        ("a", "rgi7", 9.0, 0.4, 0.3, dt.date(2001, 8, 1)),
        ("a", "2015", 8.5, 0.4, 0.3, None),
        ("b", "1985", 5.0, 0.1, 0.1, dt.date(1986, 7, 20)),
        ("b", "rgi7", 5.0, 0.1, 0.1, dt.date(1986, 7, 20)),
        ("c", "1985", 5.0, 0.1, 0.1, dt.date(1986, 7, 20)),
    )
    found = area_changes(frame)
    pairs = list(found[["glacier_id", "from_inventory", "to_inventory"]].itertuples(index=False, name=None))
    assert pairs == [("a", "1985", "rgi7"), ("a", "1985", "2024"), ("a", "rgi7", "2024")]
    assert len(area_changes(frame[frame["glacier_id"] == "c"])) == 0


def test_the_rows_fit_the_table() -> None:
    found = area_changes(areas(OLD, NEW)).assign(
        source_ids=[["x"]], run_id="r", code_version="1", recorded_at=dt.datetime(2026, 1, 1), is_synthetic=False
    )
    rows = AreaChange.conform(found)
    assert violations(AreaChange, rows) == []
    assert AreaChange.key() == ["glacier_id", "from_inventory", "to_inventory"]
    assert list(AreaChange.conform(area_changes(areas(OLD)).assign(**found.iloc[:0][["source_ids"]].to_dict("series"),
        run_id="r", code_version="1", recorded_at=None, is_synthetic=False)).columns) == list(rows.columns)  # fmt: skip


def test_bad_areas_are_refused() -> None:
    with pytest.raises(SourceError, match="no image_date"):
        area_changes(areas(OLD).drop(columns="image_date"))
    for wrong in (
        ("a", "1985", 0.0, 0.4, 0.3, OLD[5]),
        ("a", "1985", 1.0, -0.4, 0.3, OLD[5]),
        ("a", "1985", 1.0, 0.4, None, OLD[5]),
    ):
        with pytest.raises(SourceError, match="cannot be used"):
            area_changes(areas(wrong, NEW))
    with pytest.raises(SourceError, match="correlation"):
        area_changes(areas(OLD, NEW), correlation=1.1)
    with pytest.raises(SourceError, match="free share"):
        area_changes(areas(OLD, NEW, free_share=[0.5, 1.5]))


def test_free_share_of_two_halves() -> None:
    """At 70 N two squares of 0.03 by 0.01 degrees share one side that runs north."""
    one, other = shapely.box(15, 70, 15.03, 70.01), shapely.box(15.03, 70, 15.06, 70.01)
    width, height = 0.03 * 111.2 * np.cos(np.radians(70.005)), 0.01 * 111.5
    expected = 1 - height / (2 * (width + height))
    assert free_share(one, [other]) == pytest.approx(expected, abs=0.005)
    assert free_share(one, []) == free_share(one, [shapely.box(16, 70, 16.1, 70.1)]) == 1
    south = shapely.box(15, 69.99, 15.03, 70)
    expected -= width / (2 * (width + height))
    assert free_share(one, [other, south]) == pytest.approx(expected, abs=0.005)


def test_repeatability() -> None:
    assert repeatability([10.0, 10.2, 9.8]) == pytest.approx(0.2)
    for wrong in ([10.0], [10.0, -1.0], [10.0, float("nan")]):
        with pytest.raises(SourceError, match="repeated areas"):
            repeatability(wrong)


@pytest.mark.skipif(not REAL.is_file(), reason="the real provider files (../shared/real) are not here")
def test_real_austre_broeggerbreen() -> None:
    """Outlines of the Norwegian Polar Institute: 12.02, 10.25 and 9.71 km2 in 1936, 1990 and 2007."""
    import geopandas as gpd
    import pyogrio

    frames = [gpd.read_file(REAL, layer=str(name)).to_crs(4326) for name, _ in pyogrio.list_layers(REAL)]
    outlines = sorted((g for f in frames for g in f.geometry), key=geometry.geodesic_area_km2, reverse=True)
    rows = []
    for year, outline in zip((1936, 1990, 2007), outlines, strict=True):
        bound = geometry.half_pixel_bound_km2(geometry.geodesic_perimeter_km(outline).total_km)
        sigma = geometry.buffer_sigma_km2(outline)
        rows.append(("abg", str(year), geometry.geodesic_area_km2(outline), bound, sigma, dt.date(year, 8, 15)))
    found = area_changes(areas(*rows)).set_index(["from_inventory", "to_inventory"])
    assert found.loc[("1936", "1990"), "change_km2"] == pytest.approx(10.25 - 12.02, abs=0.05)
    assert found.loc[("1990", "2007"), "rate_km2_yr"] == pytest.approx((9.71 - 10.25) / 17, abs=0.004)
    assert found.loc[("1936", "2007"), "significant"]
