from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Transformer
from rasterio.warp import transform_bounds

from arctic_assets.errors import SourceError
from arctic_assets.science.common_grid import (
    Grid,
    GridThickness,
    Tile,
    common_grid,
    mosaic,
    outline_fraction,
    to_grid,
)

CONSENSUS = Path(__file__).parents[3] / "shared/real/mirror/farinotti/RGI60-11/RGI60-11.00897_thickness.tif"
GRID = Grid(32633, 50.0, 430000.0, 8760000.0, (40, 60))


def volume_km3(found: GridThickness, grid: Grid) -> float:
    return float(found.mean_m.sum()) * grid.cell_area_m2 / 1e9


@pytest.mark.skipif(not CONSENSUS.exists(), reason="the real provider files (../shared/real) are not here")
@pytest.mark.parametrize(("epsg", "tolerance"), [(32632, 1e-9), (32633, 0.003), (32631, 0.009)])
@pytest.mark.parametrize("cell_m", [20, 50, 70, 200])
def test_volume_of_hintereisferner_is_conserved(epsg: int, tolerance: float, cell_m: float) -> None:
    with rasterio.open(CONSENSUS) as raster:
        thickness, transform, crs = raster.read(1), raster.transform, raster.crs
        bounds = transform_bounds(crs, "EPSG:4326", *raster.bounds)
    grid = common_grid(bounds, epsg, cell_m)
    found = to_grid(thickness, transform, crs, grid)
    assert volume_km3(found, grid) == pytest.approx(0.57785, rel=tolerance + 1e-5)
    assert found.ice_fraction.sum() * grid.cell_area_m2 / 1e6 == pytest.approx(8.0325, rel=tolerance + 1e-3)
    assert np.nanmax(found.ice_m) <= thickness.max() + 1e-3
    assert np.isnan(found.ice_m[found.ice_fraction == 0]).all()


def test_grid_lies_on_multiples_of_its_cell() -> None:
    grid = common_grid((11.7, 78.87, 11.95, 78.92), 32633)
    assert grid.left % 50 == 0 and grid.top % 50 == 0 and grid.cell_area_m2 == 2500
    left, bottom, right, top = transform_bounds("EPSG:4326", "EPSG:32633", 11.7, 78.87, 11.95, 78.92)
    rows, columns = grid.shape
    assert 50 <= left - grid.left < 100 and 50 <= grid.top - top < 100
    assert 50 <= grid.left + 50 * columns - right < 100 and 50 <= bottom - (grid.top - 50 * rows) < 100
    assert grid.transform == Affine(50, 0, grid.left, 0, -50, grid.top)


@pytest.mark.parametrize(
    ("bounds", "epsg", "cell_m"),
    [
        ((11.95, 78.87, 11.7, 78.92), 32633, 50),
        ((11.7, 78.87, 11.95, float("nan")), 32633, 50),
        ((11.7, 78.87, 11.95, 91), 32633, 50),
        ((11.7, 78.87, 11.95, 78.92), 3413, 50),
        ((11.7, 78.87, 11.95, 78.92), 32633, 0),
    ],
)
def test_impossible_grids_are_refused(bounds: tuple[float, float, float, float], epsg: int, cell_m: float) -> None:
    with pytest.raises(SourceError, match="a grid"):
        common_grid(bounds, epsg, cell_m)


@pytest.mark.parametrize("cell_m", [10.0, 25.0, 33.0, 50.0, 100.0, 200.0])
def test_ice_up_to_the_edge_of_its_raster_stays_where_it_is(cell_m: float) -> None:
    """A raster that is all ice and ends inside the grid, its corner off the grid's lines."""
    thickness = np.full((6, 8), 80.0)
    found = to_grid(thickness, Affine(cell_m, 0, 430610, 0, -cell_m, 8759410), "EPSG:32633", GRID)
    assert volume_km3(found, GRID) == pytest.approx(80 * 48 * cell_m**2 / 1e9, rel=1e-6)
    assert found.ice_fraction.sum() * 2500 == pytest.approx(48 * cell_m**2, rel=1e-6)
    assert np.nanmin(found.ice_m) == pytest.approx(80) and np.nanmax(found.ice_m) == pytest.approx(80)


def test_margins_keep_the_thickness_of_their_ice() -> None:
    thickness = np.array([[0.0, 40.0], [np.nan, -1.0]])
    found = to_grid(thickness, Affine(25, 0, 430000, 0, -25, 8760000), "EPSG:32633", GRID)
    assert found.mean_m[0, 0] == pytest.approx(10) and found.ice_fraction[0, 0] == pytest.approx(0.25)
    assert found.ice_m[0, 0] == pytest.approx(40)
    assert found.mean_m.sum() == pytest.approx(10)


def test_raster_that_does_not_reach_has_no_ice() -> None:
    far = to_grid(np.full((5, 5), 9.0), Affine(50, 0, 900000, 0, -50, 8000000), "EPSG:32633", GRID)
    nothing = to_grid(np.zeros((0, 0)), Affine(50, 0, 430000, 0, -50, 8760000), "EPSG:32633", GRID)
    for found in (far, nothing):
        assert found.mean_m.shape == GRID.shape and not found.mean_m.any() and not found.ice_fraction.any()


@pytest.mark.parametrize("epsg", [32632, 32633, 32635])
@pytest.mark.parametrize("cell_m", [25.0, 200.0])
def test_tile_gives_every_grid_what_the_raster_gives_it(epsg: int, cell_m: float) -> None:
    west, north = Transformer.from_crs(32633, epsg, always_xy=True).transform(430612, 8759410)
    thickness = 80 + np.add.outer(np.arange(6.0), np.arange(4.0))
    raster = (thickness, Affine(cell_m, 0, west, 0, -cell_m, north), f"EPSG:{epsg}")
    tile = Tile.of(*raster, GRID.epsg)
    cut = Grid(GRID.epsg, 50.0, 430700.0, 8759300.0, (4, 3))
    apart = Grid(GRID.epsg, 50.0, 440000.0, 8759300.0, (4, 3))
    for grid in (GRID, cut, apart):
        found, expected = tile.on(grid), to_grid(*raster, grid)
        assert found.mean_m.shape == grid.shape
        # GDAL interpolates coordinates along each row of a grid, to 0.01 of a cell
        np.testing.assert_allclose(found.mean_m, expected.mean_m, atol=0.01 * 90)
        np.testing.assert_allclose(found.ice_fraction, expected.ice_fraction, atol=0.01)
    assert tile.on(cut).mean_m.any() and not tile.on(apart).mean_m.any()
    assert volume_km3(tile.on(GRID), GRID) == pytest.approx(volume_km3(to_grid(*raster, GRID), GRID), rel=1e-3)
    assert not tile.box.intersects(shapely.box(430612 + 8 * cell_m + 400, 8758000, 440000, 8760000))


def test_overlap_of_tiles_counts_once() -> None:
    def tile(first: int, last: int, metres: float) -> GridThickness:
        mean, fraction = np.zeros(GRID.shape), np.zeros(GRID.shape)
        mean[:, first:last], fraction[:, first:last] = metres, 1
        return GridThickness(mean, fraction)

    part = GridThickness(tile(5, 6, 30).mean_m * 0.5, tile(5, 6, 30).ice_fraction * 0.5)
    found = mosaic([tile(0, 10, 100), tile(8, 20, 120), part], GRID)
    assert (found.ice_m[0, :8] == 100).all() and (found.ice_m[0, 8:20] == 120).all()
    assert found.ice_fraction.sum() == 20 * GRID.shape[0]
    assert not mosaic([], GRID).ice_fraction.any()


def test_share_of_cells_in_an_outline() -> None:
    to_degrees = Transformer.from_crs(32633, 4326, always_xy=True).transform
    box = shapely.segmentize(shapely.box(430130, 8758500, 431000, 8759990), 100)
    island = shapely.box(430500, 8759000, 430600, 8759100)
    outline = shapely.transform(box.difference(island), to_degrees, interleaved=False)
    fraction = outline_fraction(outline, GRID)
    assert fraction.sum() * 2500 == pytest.approx(870 * 1490 - 1e4, rel=1e-3)
    assert (fraction[:, :2] == 0).all() and fraction[10, 2] == pytest.approx(0.4, abs=0.01)
    assert (fraction[5:15, 4:9] == 1).all() and fraction[18:20, 10:12].max() < 0.05
    assert fraction[0, 10] == pytest.approx(0.8, abs=0.01)
