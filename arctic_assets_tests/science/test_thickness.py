from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arctic_assets.errors import SourceError
from arctic_assets.science.thickness import (
    ThicknessStats,
    combine_rasters,
    sea_level_mm,
    thickness_error,
    thickness_sigma_m,
    thickness_statistics,
    volume_sigma_km3,
    volume_to_mass_gt,
)

SHARED = Path(__file__).parents[3] / "shared"
CONSENSUS = SHARED / "real" / "mirror" / "farinotti" / "RGI60-11" / "RGI60-11.00897_thickness.tif"


def statistics(thickness_m: object, cell_area_m2: object, outline_area_km2: float) -> ThicknessStats:
    found = thickness_statistics(thickness_m, cell_area_m2, outline_area_km2)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.skipif(not CONSENSUS.exists(), reason=f"the real thickness raster is absent: {CONSENSUS}")
def test_consensus_thickness_of_hintereisferner() -> None:
    import rasterio

    with rasterio.open(CONSENSUS) as raster:
        thickness, cell_m2 = raster.read(1), abs(raster.transform.a * raster.transform.e)
    stats = statistics(thickness, cell_m2, 8.0362)
    assert stats.volume_km3 == pytest.approx(0.57785, abs=5e-6)
    assert stats.thickness_m == pytest.approx(71.94, abs=5e-3)
    assert stats.thickness_max_m == pytest.approx(191.37, abs=5e-3)
    assert stats.ice_area_km2 == pytest.approx(8.0325)
    assert stats.coverage_fraction == pytest.approx(0.9995, abs=1e-4)


def test_only_ice_counts() -> None:
    thickness = np.array([[100.0, 200.0, 0.0], [-5.0, np.nan, 300.0]], dtype=np.float32)
    stats = statistics(thickness, 1e6, 4.0)
    assert stats == ThicknessStats(200.0, 300.0, 0.6, 3.0, 0.75)
    masked = np.ma.masked_array(np.array([100.0, 4000.0]), mask=[False, True])
    assert statistics(masked, 1e6, 1.0).thickness_max_m == 100.0


def test_mean_is_weighted_by_cell_area() -> None:
    stats = statistics([100.0, 200.0], [3e6, 1e6], 4.0)
    assert stats.volume_km3 == pytest.approx(0.5)
    assert stats.thickness_m == pytest.approx(125.0)


def test_raster_without_ice_has_no_statistics() -> None:
    assert thickness_statistics(np.array([0.0, np.nan, -1.0]), 625.0, 8.0) is None


@pytest.mark.parametrize(
    ("thickness", "cell_m2", "area_km2", "message"),
    [
        ([100.0, 9.96921e36], 625.0, 8.0, "thicker than any"),
        ([100.0, np.inf], 625.0, 8.0, "thicker than any"),
        ([100.0], 0.0, 8.0, "without area"),
        ([100.0], 625.0, 0.0, "without area"),
        ([100.0], 625.0, float("nan"), "without area"),
    ],
)
def test_impossible_rasters_are_refused(thickness: list[float], cell_m2: float, area_km2: float, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        thickness_statistics(thickness, cell_m2, area_km2)


@given(st.lists(st.floats(0.1, 1500), min_size=2, max_size=30), st.integers(1, 29))
def test_rasters_that_make_up_a_glacier_add_up_to_it(cells: list[float], cut: int) -> None:
    cut = min(cut, len(cells) - 1)
    area_km2 = len(cells) * 0.01
    whole = statistics(cells, 1e4, area_km2)
    parts = [(statistics(part, 1e4, len(part) * 0.01), 1.0) for part in (cells[:cut], cells[cut:])]
    assert combine_rasters(parts, area_km2) == pytest.approx(whole)


def test_shares_weigh_volume_and_area() -> None:
    thick = ThicknessStats(200.0, 400.0, 2.0, 10.0, 1.0)
    thin = ThicknessStats(50.0, 500.0, 0.5, 10.0, 1.0)
    stats = combine_rasters([(thick, 0.25), (thin, 1.0)], 12.5)
    assert stats == pytest.approx(ThicknessStats(80.0, 500.0, 1.0, 12.5, 1.0))
    assert combine_rasters([(thick, 0.5), (thin, 0.0)], 5.0) == pytest.approx(ThicknessStats(200.0, 400.0, 1.0, 5.0, 1))
    assert combine_rasters([(thin, 0.0)], 5.0) is None
    deep = ThicknessStats(200.0, 900.0, 2.0, 10.0, 1.0)
    found = combine_rasters([(deep, 0.04), (thin, 1.0)], 12.5)
    assert found and found.thickness_max_m == 500.0, "of a neighbour's raster only 4 % lies in the glacier"
    found = combine_rasters([(deep, 0.3), (thin, 0.2)], 12.5)
    assert found and found.thickness_max_m == 900.0
    with pytest.raises(SourceError, match="not a fraction"):
        combine_rasters([(thick, 1.2)], 5.0)


def test_error_bands_of_the_record() -> None:
    assert thickness_error(100.1) == (0.30, 0.25, 0.35, False)
    assert thickness_error(100.0) == (0.50, 0.50, None, True)
    assert thickness_sigma_m(200.0) == pytest.approx(60.0)
    assert thickness_sigma_m(100.0) == pytest.approx(50.0)


def test_volume_error_adds_area_and_thickness_in_quadrature() -> None:
    assert volume_sigma_km3(100.0, 30.0, 10.0, 0.0) == pytest.approx(0.3)
    assert volume_sigma_km3(100.0, 0.0, 10.0, 4.0) == pytest.approx(0.4)
    assert volume_sigma_km3(100.0, 30.0, 10.0, 4.0) == pytest.approx(0.5)


def test_mass_and_sea_level() -> None:
    assert volume_to_mass_gt(1000.0) == pytest.approx(900.0)
    assert sea_level_mm(volume_to_mass_gt(1000.0)) == pytest.approx(2.49, abs=5e-3)
    assert sea_level_mm(volume_to_mass_gt(1000.0, density_kg_m3=917.0)) == pytest.approx(2.53, abs=5e-3)
