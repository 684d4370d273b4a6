"""Copernicus DEM GLO-30: tiles of one degree with the provider's names, coarser than the provider's.

Here: a surface whose elevations inside an outline have the distribution that the inventory states for it, low at the
terminus and high at the head of its main line; outside, land that falls away from the ice to the sea. Degrees without
ice have no tile, as the ocean has none.

A tile has 300 rows in place of 3600 (370 m), and a twelfth of the columns that its latitude has: readers take the
size of cells from the tile.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arctic_assets.sample.common import NOTICE
from arctic_assets.sample.rgi7 import Landscape, Member

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = 300
_COARSER = 12
#: Columns of the provider's tiles from this latitude on.
_COLUMNS = ((85, 360), (80, 720), (70, 1200), (60, 1800), (50, 2400), (0, 3600))
_FALL_KM = 8.0  # land loses all but 1/e of its height over this distance from the ice
_POINTS = 400
_M_PER_DEGREE = 111_000.0


def write(folder: Path, land: Landscape, glacier_ids: tuple[str, ...]) -> list[str]:
    """Write `Copernicus_DSM_COG_10_N78_00_E015_00_DEM/` with the tile of that name for each degree with wanted ice.

    Args:
        folder: the provider's folder of the mirror.
        land: what lies where.
        glacier_ids: ids in the registry.

    Returns:
        Names of the tiles.
    """
    surfaces = [Surface(member) for glacier_id in glacier_ids for member in land.of(glacier_id)]
    degrees = {corner for surface in surfaces for corner in surface.corners}
    names = []
    for south, west in sorted(degrees):
        inside = [surface for surface in surfaces if (south, west) in surface.corners]
        name = _name(south, west)
        _write_tile(folder / name / f"{name}.tif", south, west, inside)
        names.append(name)
    return names


class Surface:
    """Elevation over one outline: the order of its points along the main line gives the share of it that is lower."""

    def __init__(self, member: Member) -> None:
        import shapely

        self.polygon = member.piece.polygon
        self.heights = np.sort(member.piece.heights)
        west, south, east, north = self.polygon.bounds
        self._squeeze = math.cos(math.radians((south + north) / 2))
        self._line = shapely.transform(member.piece.lines[-1], self._plane)
        self.corners = {
            (row, (column + 180) % 360 - 180)
            for row in range(math.floor(south), math.floor(north) + 1)
            for column in range(math.floor(west), math.floor(east) + 1)
        }
        side = math.ceil(math.sqrt(_POINTS * 2))
        x, y = (a.ravel() for a in np.meshgrid(np.linspace(west, east, side), np.linspace(south, north, side)))
        shapely.prepare(self.polygon)
        inside = shapely.contains_xy(self.polygon, x, y)
        self._orders = np.sort(self._order(np.column_stack([x[inside], y[inside]])))

    def __call__(self, lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Elevations of points, shape (n, 2) to (n,)."""
        share = np.searchsorted(self._orders, self._order(lonlat)) / max(len(self._orders), 1)
        return np.quantile(self.heights, share)

    def _plane(self, lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        return lonlat * np.array([self._squeeze, 1.0])

    def _order(self, lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Grows up the glacier, and from its middle to its sides."""
        import shapely

        points = shapely.points(self._plane(lonlat))
        along = shapely.line_locate_point(self._line, points)
        return 0.4 * shapely.distance(points, self._line) - along


def _write_tile(path: Path, south: int, west: int, surfaces: list[Surface]) -> None:
    import rasterio
    from rasterio import Affine
    from rasterio.features import rasterize
    from scipy.ndimage import distance_transform_edt

    columns = next(n for latitude, n in _COLUMNS if abs(south + 0.5) > latitude) // _COARSER
    wide, high = 1 / columns, 1 / _ROWS
    # Centres of cells lie on whole degrees: the tile is shifted by half a cell.
    transform = Affine(wide, 0, west - wide / 2, 0, -high, south + 1 + high / 2)
    shape = _ROWS, columns
    shapes = [(surface.polygon, i + 1) for i, surface in enumerate(surfaces)]
    owner = rasterize(shapes, shape, transform=transform, dtype="int32", all_touched=True)
    heights = np.zeros(shape)
    for i, surface in enumerate(surfaces):
        rows, cells = np.nonzero(owner == i + 1)
        if len(rows):
            heights[rows, cells] = surface(np.column_stack([west + cells * wide, south + 1 - rows * high]))
    if (owner > 0).any():
        aspect = math.cos(math.radians(south + 0.5))
        sampling = high * _M_PER_DEGREE / 1000, wide * aspect * _M_PER_DEGREE / 1000
        away_km, (i, j) = distance_transform_edt(owner == 0, sampling=sampling, return_indices=True)
        heights = heights[i, j] * np.exp(-away_km / _FALL_KM)
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=columns, height=_ROWS, count=1, dtype="float32", crs="EPSG:4326",
        transform=transform, compress="deflate", predictor=3,
    ) as raster:  # fmt: skip
        raster.write(np.round(heights).astype(np.float32), 1)
        raster.update_tags(TIFFTAG_IMAGEDESCRIPTION=NOTICE, TIFFTAG_SOFTWARE="arctic_assets.sample")


def _name(south: int, west: int) -> str:
    north_south, east_west = "N" if south >= 0 else "S", "E" if west >= 0 else "W"
    return f"Copernicus_DSM_COG_10_{north_south}{abs(south):02d}_00_{east_west}{abs(west):03d}_00_DEM"
