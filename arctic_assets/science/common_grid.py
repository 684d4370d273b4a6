"""One grid per glacier for products that come on different ones, and bringing thickness to it without losing ice.

Here: the grid itself (square cells in a UTM zone), warping of thickness that conserves volume, the share of each cell
that an outline covers. Not here: reading rasters (`sources`), what is made of two products (`thickness_mean`).

How volume is kept. A cell of the new grid gets two numbers: the mean of the thickness over the whole cell, with 0
where there is no ice, and the share of the cell that has ice. The first times the cell area sums to the volume; their
quotient is the thickness of the ice. Averaging thickness over ice only, or interpolating it, would widen or thin every
margin. GDAL's `average` weighs source cells by their share in a new one, also where the new cells are the smaller
ones, and across UTM zones it takes the upright box around a turned cell, which smears but does not count twice, as
`sum` would (a box around a cell turned by 5 degrees is 17 % larger). Beyond the source's edge there is no ice: it is
padded with zeros, or `average` would spread the outermost cells outwards.

Measured with the consensus raster of Hintereisferner (25 m, UTM 32): its 0.57785 km3 come out exactly on grids of 10
to 200 m in UTM 32, and 0.2 % larger in UTM 33, 0.8 % in UTM 31: the scales of these zones so far from their middle.

Areas and volumes are those of the map, as on the products' native grids: UTM is 0.08 % small in area on its central
meridian, and 0.1 % large 10 degrees away from it at 75 degrees north.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arctic_assets.errors import SourceError

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from shapely.geometry.base import BaseGeometry

CELL_M = 50.0
"""The grid of Millan et al. (2022)."""
_PARTS = 5  # a cell's share in an outline is counted in 5 x 5 parts, of 10 m at 50 m
_ROWS_AT_ONCE = 512

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Grid:
    """Upright square cells in a UTM zone, whose edges are multiples of the cell size: neighbouring grids fit.

    Attributes:
        epsg: code of the UTM zone.
        cell_m: edge of a cell, m.
        left, top: upper left corner, m.
        shape: rows, columns.
    """

    epsg: int
    cell_m: float
    left: float
    top: float
    shape: tuple[int, int]

    @property
    def transform(self) -> Affine:
        """From column and row to metres."""
        from affine import Affine

        return Affine(self.cell_m, 0.0, self.left, 0.0, -self.cell_m, self.top)

    @property
    def cell_area_m2(self) -> float:
        """Area of a cell on the map."""
        return self.cell_m**2


class GridThickness(NamedTuple):
    """Thickness of a product on a grid.

    Attributes:
        mean_m: mean over the whole cell, no ice counting 0; times the cell area it sums to the volume. float64.
        ice_fraction: share of the cell that has ice, 0..1. float64.
    """

    mean_m: NDArray[np.float64]
    ice_fraction: NDArray[np.float64]

    @property
    def ice_m(self) -> NDArray[np.float64]:
        """Thickness of the ice in the cell, NaN where there is none."""
        fraction = np.where(self.ice_fraction > 0, self.ice_fraction, np.nan)
        return self.mean_m / fraction


def common_grid(bounds_lonlat: Bounds, utm_epsg: int, cell_m: float = CELL_M) -> Grid:
    """The smallest grid around bounds, one cell wider on each side.

    Args:
        bounds_lonlat: west, south, east, north, degrees.
        utm_epsg: UTM zone; bounds some zones away only cost scale (see the module).
        cell_m: edge of a cell, m. 50 m of an archipelago 500 km long are 80 million cells: take its members one by
            one, or larger cells.

    Raises:
        SourceError: bounds that are none, or a zone that is none.
    """
    from rasterio.warp import transform_bounds

    west, south, east, north = bounds_lonlat
    if not (np.isfinite(bounds_lonlat).all() and west < east and -90 <= south < north <= 90):
        raise _refused("a grid needs bounds", "west < east, south < north, degrees", bounds_lonlat)
    if not (32601 <= utm_epsg <= 32660 or 32701 <= utm_epsg <= 32760):
        raise _refused("a grid lies in a UTM zone", "EPSG 32601-32660 or 32701-32760", utm_epsg)
    if not cell_m > 0:
        raise _refused("a grid has cells", "cell_m above 0", cell_m)
    bounds = transform_bounds("EPSG:4326", f"EPSG:{utm_epsg}", *bounds_lonlat)
    return _grid_around(bounds, utm_epsg, cell_m, cell_m)


def _grid_around(bounds: Bounds, utm_epsg: int, cell_m: float, margin_m: float) -> Grid:
    """The smallest grid around bounds in metres and a margin."""
    left, bottom, right, top = bounds
    first_column, first_row = np.floor((left - margin_m) / cell_m), np.ceil((top + margin_m) / cell_m)
    last_column, last_row = np.ceil((right + margin_m) / cell_m), np.floor((bottom - margin_m) / cell_m)
    shape = int(first_row - last_row), int(last_column - first_column)
    return Grid(utm_epsg, float(cell_m), float(first_column * cell_m), float(first_row * cell_m), shape)


def to_grid(thickness_m: NDArray, transform: Affine, crs: CRS | str, grid: Grid) -> GridThickness:
    """Bring a thickness raster to a grid; volume inside the grid is conserved.

    Args:
        thickness_m: thickness, m, shape (rows, cols); 0, negative and NaN hold no ice.
        transform: from column and row to metres in `crs`; upright cells.
        crs: of the raster, projected.
        grid: where it goes.

    Returns:
        Arrays of the grid's shape, 0 where the raster has no ice or does not reach.
    """
    from affine import Affine
    from rasterio.warp import Resampling, reproject

    if not (thickness_m > 0).any():
        return GridThickness(np.zeros(grid.shape), np.zeros(grid.shape))
    pad = _padding(transform, grid.cell_m)
    thickness = np.pad(np.where(thickness_m > 0, thickness_m, 0).astype(np.float64), pad)
    shifted = transform * Affine.translation(-pad, -pad)
    out = np.zeros((2, *grid.shape))
    reproject(
        np.stack([thickness, (thickness > 0).astype(np.float64)]),
        out,
        src_transform=shifted,
        src_crs=crs,
        dst_transform=grid.transform,
        dst_crs=f"EPSG:{grid.epsg}",
        resampling=Resampling.average,
        init_dest_nodata=False,
        tolerance=0.01,
    )
    return GridThickness(out[0], out[1].clip(0, 1))


@dataclass(frozen=True)
class Tile:
    """A raster's thickness on the grid around it, of which other grids take their part.

    Attributes:
        grid: around all ice of the raster.
        thickness: on that grid.
    """

    grid: Grid
    thickness: GridThickness

    @classmethod
    def of(cls, thickness_m: NDArray, transform: Affine, crs: CRS | str, utm_epsg: int, cell_m: float = CELL_M) -> Tile:
        """Bring a whole raster to a grid once: for rasters that several grids (members of an archipelago) share.

        Args:
            thickness_m, transform, crs: as of `to_grid`.
            utm_epsg: UTM zone of the grids.
            cell_m: edge of their cells, m.
        """
        from rasterio.transform import array_bounds
        from rasterio.warp import transform_bounds

        bounds = transform_bounds(crs, f"EPSG:{utm_epsg}", *array_bounds(*thickness_m.shape, transform))
        margin_m = _padding(transform, cell_m) * abs(transform.a)
        grid = _grid_around(bounds, utm_epsg, cell_m, margin_m)
        return cls(grid, to_grid(thickness_m, transform, crs, grid))

    @property
    def box(self) -> BaseGeometry:
        """The grid's rectangle, in metres of its UTM zone."""
        import shapely

        rows, columns = self.grid.shape
        right, bottom = self.grid.left + columns * self.grid.cell_m, self.grid.top - rows * self.grid.cell_m
        return shapely.box(self.grid.left, bottom, right, self.grid.top)

    def on(self, grid: Grid) -> GridThickness:
        """The part on another grid of the same zone and cell size; 0 where the raster does not reach."""
        down = round((grid.top - self.grid.top) / -grid.cell_m)
        along = round((grid.left - self.grid.left) / grid.cell_m)
        own, other = zip(*map(_overlap, (down, along), self.grid.shape, grid.shape), strict=True)
        found = GridThickness(np.zeros(grid.shape), np.zeros(grid.shape))
        for part, whole in zip(found, self.thickness, strict=True):
            part[other] = whole[own]
        return found


def _overlap(offset: int, n_own: int, n_other: int) -> tuple[slice, slice]:
    """Where two rows of cells overlap, in the one and in the other, which begins `offset` cells after the one."""
    first, last = max(offset, 0), max(min(offset + n_other, n_own), max(offset, 0))
    return slice(first, last), slice(first - offset, last - offset)


def mosaic(parts: list[GridThickness], grid: Grid) -> GridThickness:
    """One product from several tiles on the same grid.

    In each cell the tile that sees more ice counts, of equals the later one: ice in the overlap of two tiles counts
    once. A row of cells that two tiles share at a seam loses up to half its ice.
    """
    whole = GridThickness(np.zeros(grid.shape), np.zeros(grid.shape))
    for part in parts:
        better = (part.ice_fraction > 0) & (part.ice_fraction >= whole.ice_fraction - 1e-9)
        whole = GridThickness(*(np.where(better, new, old) for new, old in zip(part, whole, strict=True)))
    return whole


def outline_fraction(outline: BaseGeometry, grid: Grid) -> NDArray[np.float64]:
    """Share of each cell that lies in an outline, in steps of 4 %.

    Args:
        outline: polygonal, EPSG:4326.
        grid: where to.

    Returns:
        Shape of the grid, 0..1. What lies outside the grid does not count.
    """
    from affine import Affine
    from rasterio.features import rasterize

    projected = projected_outline(outline, grid.epsg)
    rows, columns = grid.shape
    fraction = np.zeros(grid.shape)
    for first in range(0, rows, _ROWS_AT_ONCE):
        n = min(_ROWS_AT_ONCE, rows - first)
        fine = grid.transform * Affine.translation(0, first) * Affine.scale(1 / _PARTS)
        inside = rasterize([(projected, 1)], (n * _PARTS, columns * _PARTS), transform=fine, dtype="uint8")
        of_rows = inside.reshape(n, _PARTS, columns * _PARTS).sum(axis=1, dtype=np.uint8)
        fraction[first : first + n] = of_rows.reshape(n, columns, _PARTS).sum(axis=2, dtype=np.uint8) / _PARTS**2
    return fraction


def projected_outline(outline: BaseGeometry, epsg: int) -> BaseGeometry:
    """An outline in EPSG:4326 in the metres of a UTM zone."""
    import shapely
    from pyproj import Transformer

    move = Transformer.from_crs("EPSG:4326", epsg, always_xy=True).transform
    return shapely.transform(outline, move, interleaved=False)


def _padding(transform: Affine, cell_m: float) -> int:
    """How many empty cells `to_grid` puts around a raster: at least two of the grid's."""
    return int(np.ceil(2 * max(cell_m / abs(transform.a), 1.0)))


def _refused(problem: str, expected: object, got: object) -> SourceError:
    return SourceError(problem, expected=expected, got=got, todo="check the outline and the registry's utm_epsg")
