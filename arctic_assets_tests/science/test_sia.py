from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from arctic_assets.errors import SourceError
from arctic_assets.science.common_grid import common_grid, outline_fraction
from arctic_assets.science.sia import SiaParameters, sia_error, sia_thickness, slope

COLUMBIA = Path(__file__).parents[3] / "shared/real/columbia"


@pytest.mark.parametrize(
    ("speed_m_yr", "slope_deg", "beta", "thickness_m"),
    [(100, 3, 0.25, 371.2), (100, 3, 0.0, 398.8), (30, 6, 0.25, 163.5), (800, 1.5, 0.5, 948.4)],
)
def test_known_values(speed_m_yr: float, slope_deg: float, beta: float, thickness_m: float) -> None:
    found = sia_thickness(speed_m_yr, np.radians(slope_deg), SiaParameters(beta=beta))
    assert found == pytest.approx(thickness_m, abs=0.05)


def test_inversion_undoes_the_forward_model() -> None:
    p = SiaParameters(n=3.4, a=3e-26, density_kg_m3=900, beta=0.4, max_thickness_m=5000)
    thickness, alpha = np.array([50.0, 300.0, 900.0]), np.radians([4.0, 8.0, 2.0])
    deformation = 2 * p.a / (p.n + 1) * (p.density_kg_m3 * 9.81 * np.sin(alpha)) ** p.n * thickness ** (p.n + 1)
    speed = deformation / (1 - p.beta) * 365.25 * 86400
    assert sia_thickness(speed, alpha, p) == pytest.approx(thickness)


def test_ice_that_ends_in_the_sea_slides_more() -> None:
    p = SiaParameters()
    found = sia_thickness([100, 100], np.radians([3, 3]), p, is_marine=[False, True])
    assert found == pytest.approx([371.2, 371.2 * ((1 - p.beta_marine) / (1 - p.beta)) ** 0.25], abs=0.05)
    land, sea = sia_error(found, 100.0, 5.0, np.radians(3), p, is_marine=[False, True]) / found
    assert land < sea  # the same error of beta is a larger part of what is left


def test_all_constants_are_in_the_record() -> None:
    assert SiaParameters(beta=0.3).text == (
        "n=3, a=2.4e-24, density_kg_m3=917, beta=0.3, beta_marine=0.5, min_slope_deg=1.5, max_thickness_m=1700, "
        "smooth_m=800, a_relative_sigma=0.3, beta_sigma=0.25, slope_sigma_deg=0.5"
    )


def test_gaps_stay_gaps() -> None:
    speed = np.ma.masked_values([100.0, np.nan, -3.0, 5.0, -32767.0, 0.0, 100.0], -32767.0)
    alpha = np.radians([3, 3, 3, 3, 3, 3, np.nan])
    found = sia_thickness(speed, alpha, speed_sigma_m_yr=np.full(7, 5.0))
    assert found[0] == pytest.approx(371.2, abs=0.05)
    assert np.isnan(found[1:]).all()
    assert sia_thickness(speed, alpha)[[3, 5]] == pytest.approx([175.5, 0.0], abs=0.1)


def test_flat_and_fast_ice_is_held_in_bounds() -> None:
    p = SiaParameters()
    assert sia_thickness(100, 0.0) == sia_thickness(100, np.radians(1.5))
    assert sia_thickness(100, np.radians(1.6)) < sia_thickness(100, 0.0)
    assert sia_thickness(1e6, 0.0) == p.max_thickness_m


def test_error_to_first_order() -> None:
    p = SiaParameters(a_relative_sigma=0.0, beta_sigma=0.0, slope_sigma_deg=0.0)
    assert sia_error(400.0, 100.0, 20.0, np.radians(3), p) == pytest.approx(400 * 0.2 / 4)
    # The formula is the derivative of the inversion.
    alpha, step = np.radians(4.0), 1e-5
    tilted = SiaParameters(a_relative_sigma=0.0, beta_sigma=0.0, slope_sigma_deg=float(np.degrees(step)))
    thickness = sia_thickness(100, alpha, tilted)
    change = abs(sia_thickness(100, alpha + step, tilted) - thickness)
    assert sia_error(thickness, 100.0, 0.0, alpha, tilted) == pytest.approx(change, rel=1e-3)
    sliding = SiaParameters(a_relative_sigma=0.0, beta_sigma=1e-5, slope_sigma_deg=0.0)
    change = abs(sia_thickness(100, alpha, SiaParameters(beta=0.25 + 1e-5)) - thickness)
    assert sia_error(thickness, 100.0, 0.0, alpha, sliding) == pytest.approx(change, rel=1e-3)
    assert np.isnan(sia_error(np.nan, 100.0, 20.0, alpha)) and np.isnan(sia_error(0.0, 0.0, 20.0, alpha))
    assert sia_error(400.0, 100.0, 20.0, 0.0) == sia_error(400.0, 100.0, 20.0, np.radians(1.5))


@pytest.mark.parametrize(
    "wrong",
    [
        *({"n": 0.5}, {"a": 0.0}, {"density_kg_m3": 0.9}, {"beta": 1.0}, {"beta_marine": 1.0}, {"min_slope_deg": 0.0}),
        *({"max_thickness_m": -1.0}, {"smooth_m": -1.0}, {"beta_sigma": -0.1}),
    ],
)
def test_impossible_parameters_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SourceError, match="out of its range"):
        SiaParameters(**wrong)


def test_slope_of_a_plane() -> None:
    rows, columns = np.indices((60, 80)) * 50.0
    plane = 0.03 * columns - 0.04 * rows
    assert slope(plane, 50, 0) == pytest.approx(np.full((60, 80), np.arctan(0.05)))
    assert slope(plane, 50, 400)[20:-20, 20:-20] == pytest.approx(np.full((20, 40), np.arctan(0.05)), rel=1e-3)


def test_smoothing_takes_bumps_away_and_gaps_stay_small() -> None:
    _, columns = np.indices((80, 80)) * 50.0
    bumps = 0.05 * columns + 15 * np.sin(columns / 40)
    centre = np.s_[30:50, 30:50]
    assert np.nanmean(slope(bumps, 50, 0)[centre]) > 1.5 * np.arctan(0.05)
    assert slope(bumps, 50, 800)[centre] == pytest.approx(np.full((20, 20), np.arctan(0.05)), rel=0.02)
    holed = np.where((columns == 1000) & (columns.T == 1000), np.nan, 0.05 * columns)
    found = slope(holed, 50, 400)
    assert np.isnan(found).sum() == 5  # the hole and the four beside it
    assert found[23:40, 23:40] == pytest.approx(np.full((17, 17), np.arctan(0.05)), rel=0.02)


@pytest.mark.skipif(not COLUMBIA.is_dir(), reason="the real provider files (../shared/real) are not here")
def test_columbia_glacier() -> None:
    """A fast tidewater glacier: hundreds of metres, thickest where it is slow and flat or fast; gaps are left."""
    import geopandas as gpd
    import rasterio
    from rasterio.warp import Resampling, reproject

    frame = gpd.read_file(COLUMBIA / "RGI60-01.10689.shp")
    outline = frame.geometry.iloc[0]
    grid = common_grid(tuple(frame.total_bounds), 32606, 100)

    def on_grid(name: str) -> np.ndarray:
        out = np.full(grid.shape, np.nan)
        with rasterio.open(COLUMBIA / name) as raster:
            reproject(
                rasterio.band(raster, 1), out, dst_transform=grid.transform, dst_crs=f"EPSG:{grid.epsg}",
                src_nodata=raster.nodata, dst_nodata=np.nan, resampling=Resampling.bilinear,
            )  # fmt: skip
        return out

    speed = np.hypot(on_grid("crop_ALA_G0120_0000_vx.tif"), on_grid("crop_ALA_G0120_0000_vy.tif"))
    alpha = slope(on_grid("dem_Columbia.tif"), grid.cell_m, SiaParameters().smooth_m)
    inside = outline_fraction(outline, grid) > 0.5
    assert inside.sum() * grid.cell_area_m2 / 1e6 == pytest.approx(773.9, rel=0.01)
    thickness = sia_thickness(speed, alpha, speed_sigma_m_yr=np.full(grid.shape, 3.0))[inside]
    finite = np.isfinite(thickness)
    assert 0.8 < finite.mean() < 1.0
    assert 100 < np.nanmedian(thickness) < 300 and 100 < np.nanmean(thickness) < 400
    assert np.nanmin(thickness) > 0 and 600 < np.nanmax(thickness) <= 1700
    sigma = sia_error(thickness, speed[inside], 3.0, alpha[inside])
    assert 0.1 < np.nanmedian(sigma / thickness) < 0.3
