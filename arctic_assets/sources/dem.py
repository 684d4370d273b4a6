"""Elevations of the Copernicus DEM GLO-30: tiles of one degree, of which each glacier gets one window on a UTM grid.

Layout of a mirror, as in the live bucket: `dem/Copernicus_DSM_COG_10_N78_00_E015_00_DEM/` with the tile of that name,
`.tif`; the name gives the lower left corner. Tiles become narrower to the north (1200 columns from 70 to 80 degrees),
so they are never put side by side as they are: each is warped to the glacier's UTM grid (50 m; 100 or 200 m where
that would be more than ten million cells), and the archive gets the result, `windows/<glacier_id>.tif`, which reaches
2 km beyond the glacier. How large a tile's cells are is read from the tile.

All-ocean tiles do not exist: the bucket answers 404, or 403 where it does not list what it has. There the window has
0 m. As nothing tells its refusal from ocean, a glacier all of whose tiles are lacking is a gap. A mirror that refuses a
tile is an error.

Elevations are of the surface (radar, 2011-2015), above the geoid EGM2008. Slopes for the shallow-ice check come from
here; heights of the inventory and of ERA5 cells do not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arctic_assets.errors import SourceError
from arctic_assets.science.common_grid import Bounds, Grid, common_grid
from arctic_assets.sources.base import (
    SYNTHETIC,
    Delivery,
    Missing,
    Origin,
    Product,
    Remote,
    SourceObject,
    Unchanged,
    Verified,
)
from arctic_assets.sources.http import public_url
from arctic_assets.sources.millan import from_raster, held_window, rounded
from arctic_assets.sources.origins import WindowOrigin
from arctic_assets.sources.zips import describe_head

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader

PRODUCT = Product(
    provider="dem",
    name="Copernicus DEM GLO-30",
    version="2021",
    licence=(
        "not confirmed: free of charge for the general public under the licence of the Copernicus DEM (GLO-30); "
        "credit: © DLR e.V. 2010-2014 and © Airbus Defence and Space GmbH 2014-2018 provided under COPERNICUS by the "
        "European Union and ESA; all rights reserved"
    ),
    citation=(
        "European Space Agency (2021). Copernicus DEM - Global Digital Elevation Model - COP-DEM_GLO-30. "
        "https://doi.org/10.5270/ESA-c5d3d65"
    ),
    doi="10.5270/ESA-c5d3d65",
    homepage="https://registry.opendata.aws/copernicus-dem/",
    cadence="releases, years apart",
    latency="surface of 2011-2015",
)

BASE_URL = "https://copernicus-dem-30m.s3.amazonaws.com"
MARGIN_M = 2000.0
"""The smoothing of slopes looks so far beyond a glacier."""
LOWEST_M, HIGHEST_M = -500.0, 9000.0

_CELLS_M = (50.0, 100.0, 200.0)
_MOST_CELLS = 10_000_000
_METRES_PER_DEGREE = 111_000.0
#: Tiles are shifted by half a cell against whole degrees (0.0002 degrees at most, 0.005 in coarser ones).
_SEAM_DEGREES = 0.01
_FILL = -32767.0
_TAGS = ("glacier_id", "bounds", "tiles", "ocean_tiles", "url")


@dataclass(frozen=True, kw_only=True)
class Window(Remote):
    """Elevations around one glacier; `path` is the window's in the archive.

    Attributes:
        glacier_id: whose window it is.
        bounds: of the glacier, degrees.
        utm_epsg: zone of the grid.
        base_url: live folder of the tiles.
    """

    glacier_id: str
    bounds: Bounds
    utm_epsg: int
    base_url: str


def window_origin(origin: Origin) -> Origin:
    """The origin to fetch with what `remotes` gives."""
    return WindowOrigin(origin, deliver)


def tile_name(south: int, west: int) -> str:
    """Name of the tile whose lower left corner is at these degrees.

    >>> tile_name(78, -15)
    'Copernicus_DSM_COG_10_N78_00_W015_00_DEM'
    """
    north_south = f"{'N' if south >= 0 else 'S'}{abs(south):02d}"
    return f"Copernicus_DSM_COG_10_{north_south}_00_{'E' if west >= 0 else 'W'}{abs(west):03d}_00_DEM"


def corners(bounds: Bounds) -> list[tuple[int, int]]:
    """Lower left corners (latitude, longitude) of the degrees that bounds touch; longitudes from -180 to 179."""
    west, south, east, north = bounds
    east += 360 if east < west else 0
    rows = range(math.floor(south), min(math.floor(north), 89) + 1)
    columns = range(math.floor(west), math.floor(east) + 1)
    return [(row, (column + 180) % 360 - 180) for row in rows for column in columns]


def window_grid(bounds: Bounds, utm_epsg: int) -> Grid:
    """The grid of a glacier's window: 50 m, or coarser where that would be too many cells; with the margin."""
    west, south, east, north = bounds
    up = MARGIN_M / _METRES_PER_DEGREE
    aside = up / max(math.cos(math.radians(max(abs(south), abs(north)))), 0.01)
    wide = (west - aside, max(south - up, -90.0), east + aside, min(north + up, 90.0))
    for cell_m in _CELLS_M:
        grid = common_grid(wide, utm_epsg, cell_m)
        if grid.shape[0] * grid.shape[1] <= _MOST_CELLS:
            break
    return grid


def remotes(
    origin: Origin, bounds: Mapping[str, Bounds], utm_epsg: Mapping[str, int], base_url: str = BASE_URL
) -> list[Remote | Missing]:
    """One window per glacier, to be fetched with `window_origin`.

    Args:
        origin: not asked: what it lacks becomes `Missing` when the window is made.
        bounds: of each glacier, degrees, by its id in the registry.
        utm_epsg: zone of each glacier, by the same ids.
        base_url: live folder of the tiles.
    """
    return [
        Window(
            PRODUCT,
            f"windows/{glacier_id}.tif",
            verify,
            glacier_id=glacier_id,
            bounds=around,
            utm_epsg=utm_epsg[glacier_id],
            base_url=base_url,
        )
        for glacier_id, around in sorted(bounds.items())
    ]


def deliver(origin: Origin, wanted: Remote, target: Path, known: SourceObject | None) -> Delivery | Unchanged | Missing:
    """Make a window at `target` from the tiles that it touches: takes the arguments of `Origin.fetch`.

    A window that is held is not made again while origin and bounds are the same: delete it to look for a new release.

    Returns:
        `Missing` when the origin has none of the tiles.

    Raises:
        SourceError: a tile cannot be read, is no elevation in degrees, or the server fails but for 404 (live: 403).
    """
    from rasterio.warp import transform_bounds

    if not isinstance(wanted, Window):
        return origin.fetch(wanted, target, known)
    web = wanted.base_url if origin.is_live else origin.name
    url = f"mirror:{PRODUCT.provider}" if not web.startswith("http") else public_url(web)
    asked = rounded(wanted.bounds)
    grid = window_grid(wanted.bounds, wanted.utm_epsg)
    if known and known.url == url and known.content["bounds"] == asked and known.content["epsg"] == grid.epsg:
        return Unchanged()
    if not origin.is_live:
        held = held_window(origin, wanted, wanted.bounds, target, known)
        if held is not None:
            return held
    rows, columns = grid.shape
    right, bottom = grid.left + columns * grid.cell_m, grid.top - rows * grid.cell_m
    around = transform_bounds(f"EPSG:{grid.epsg}", "EPSG:4326", grid.left, bottom, right, grid.top)
    west, south, east, north = around
    wide = (west - _SEAM_DEGREES, south - _SEAM_DEGREES, east + _SEAM_DEGREES, north + _SEAM_DEGREES)
    heights = np.full(grid.shape, np.nan, np.float32)
    tags: dict[str, str] = {}
    found, ocean = [], []
    for corner in corners(wide):
        name = tile_name(*corner)
        path = f"{name}/{name}.tif"
        tile = Remote(PRODUCT, path, verify, url=f"{wanted.base_url}/{path}")
        told = _or_ocean(origin, tile, target, grid, heights)
        if told is None:
            ocean.append(corner)
        else:
            found.append(corner)
            tags |= told
    if not found:
        names = ", ".join(tile_name(*corner) for corner in ocean)
        return Missing(f"none of the elevation tiles of {wanted.glacier_id} is there: {names}", what=wanted.path)
    _fill_ocean(heights, grid, ocean)
    lists = {"tiles": [tile_name(*c) for c in found], "ocean_tiles": [tile_name(*c) for c in ocean]}
    own = (wanted.glacier_id, json.dumps(asked), *(json.dumps(names) for names in lists.values()), url)
    _write(target, heights, grid, {**tags, **dict(zip(_TAGS, own, strict=True))})
    return Delivery(url)


def verify(path: Path) -> Verified:
    """Open a window.

    Returns:
        Content: `glacier_id`, `bounds` (of the glacier, degrees), `tiles` and `ocean_tiles` (names), `epsg`, `cell_m`,
        `lowest_m`, `highest_m`, `void_fraction` (cells without elevation).

    Raises:
        SourceError: no GeoTIFF, or not the whole of it; not a window of this program; no elevation at all; elevations
            that the Earth does not have.
    """
    import rasterio

    heights, crs, transform = read(path)
    with rasterio.open(path, driver="GTiff") as raster:
        tags = raster.tags()
    absent = [name for name in _TAGS if name not in tags]
    if absent:
        raise _wrong("a raster is not a window of elevations", path.name, f"the tags {', '.join(_TAGS)}", absent)
    if np.isnan(heights).all():
        raise _wrong("a window has no elevations", path.name, "elevations", "voids only")
    lowest, highest = float(np.nanmin(heights)), float(np.nanmax(heights))
    if lowest < LOWEST_M or highest > HIGHEST_M:
        limits = f"{LOWEST_M:g} to {HIGHEST_M:g} m"
        raise _wrong("elevations that the Earth does not have", path.name, limits, f"{lowest:g} to {highest:g} m")
    content = {
        "glacier_id": tags["glacier_id"],
        **{name: json.loads(tags[name]) for name in ("bounds", "tiles", "ocean_tiles")},
        "epsg": crs.to_epsg(),
        "cell_m": abs(transform.a),
        "lowest_m": lowest,
        "highest_m": highest,
        "void_fraction": float(np.isnan(heights).mean()),
    }
    return Verified(is_synthetic=any(SYNTHETIC in value for value in tags.values()), content=content)


def read(path: Path) -> tuple[NDArray[np.float32], CRS, Affine]:
    """Elevations of a window.

    Returns:
        Metres above the geoid, shape (rows, cols), float32, NaN in voids, 0 on tiles that do not exist; CRS (UTM);
        transform of the upper left corner.

    Raises:
        SourceError: no GeoTIFF, or not the whole of it; no CRS in metres.
    """
    import rasterio
    from rasterio.errors import RasterioError

    with path.open("rb") as stream:
        if stream.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise _wrong("a file is not a GeoTIFF", path.name, "a GeoTIFF", describe_head(path))
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            heights, crs, transform, nodata = raster.read(1), raster.crs, raster.transform, raster.nodata
    except RasterioError as error:
        raise _wrong("a GeoTIFF cannot be read to its end", path.name, "a whole file", error) from error
    if crs is None or not crs.is_projected:
        raise _wrong("a window of elevations is not in metres", path.name, "a CRS in metres (UTM)", crs)
    return np.where(heights == nodata, np.nan, heights).astype(np.float32), crs, transform


def _or_ocean(
    origin: Origin, tile: Remote, target: Path, grid: Grid, heights: NDArray[np.float32]
) -> dict[str, str] | None:
    """Bring a tile's elevations in; its own tags, or None when it does not exist."""
    try:
        told = from_raster(origin, tile, target, partial(_bring_in, where=tile.path, grid=grid, heights=heights))
    except SourceError as error:
        if error.got != "HTTP 403" or not origin.is_live:  # a mirror says 404 for what it lacks
            raise
        return None
    return None if isinstance(told, Missing) else told


def _bring_in(raster: DatasetReader, where: str, grid: Grid, heights: NDArray[np.float32]) -> dict[str, str]:
    """Warp a tile into the cells of `heights` that have nothing yet."""
    from affine import Affine
    from rasterio.vrt import WarpedVRT
    from rasterio.warp import Resampling

    if raster.count != 1 or raster.crs is None or not raster.crs.is_geographic:
        got = f"{raster.count} band(s), {raster.crs}"
        raise _wrong("a tile is not of the Copernicus DEM", where, "1 band, EPSG:4326", got)
    inside = _cells(raster.bounds, grid)
    if inside is not None:
        rows, columns = inside
        finer = abs(raster.transform.e) * _METRES_PER_DEGREE < grid.cell_m / 2
        with WarpedVRT(
            raster,
            crs=f"EPSG:{grid.epsg}",
            transform=grid.transform * Affine.translation(columns.start, rows.start),
            width=columns.stop - columns.start,
            height=rows.stop - rows.start,
            resampling=Resampling.average if finer else Resampling.bilinear,
            nodata=_FILL,
            dtype="float32",
        ) as warped:
            new = warped.read(1)
        part = heights[rows, columns]
        heights[rows, columns] = np.where(np.isnan(part) & (new != _FILL), new, part)
    return {name: value for name, value in raster.tags().items() if name != "AREA_OR_POINT"}


def _cells(degrees: Bounds, grid: Grid) -> tuple[slice, slice] | None:
    """Rows and columns of a grid that a rectangle in degrees touches."""
    from rasterio.warp import transform_bounds

    left, bottom, right, top = transform_bounds("EPSG:4326", f"EPSG:{grid.epsg}", *degrees)
    first_row, last_row = math.floor((grid.top - top) / grid.cell_m), math.ceil((grid.top - bottom) / grid.cell_m)
    first, last = math.floor((left - grid.left) / grid.cell_m), math.ceil((right - grid.left) / grid.cell_m)
    rows = slice(max(first_row, 0), min(last_row, grid.shape[0]))
    columns = slice(max(first, 0), min(last, grid.shape[1]))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _fill_ocean(heights: NDArray[np.float32], grid: Grid, ocean: list[tuple[int, int]]) -> None:
    """0 m in cells without elevation that lie in a degree without a tile; voids inside tiles stay NaN."""
    from pyproj import Transformer

    if not ocean:
        return
    lacking = [_corner_key(*corner) for corner in ocean]
    rows, columns = np.nonzero(np.isnan(heights))
    x, y = grid.left + (columns + 0.5) * grid.cell_m, grid.top - (rows + 0.5) * grid.cell_m
    longitude, latitude = Transformer.from_crs(grid.epsg, "EPSG:4326", always_xy=True).transform(x, y)
    # Neighbouring tiles end half a cell before or behind the whole degree: the seam belongs to the ocean too.
    for aside, up in ((0, 0), *((i, j) for i in (-1, 1) for j in (-1, 1))):
        keys = _corner_key(np.floor(latitude + up * _SEAM_DEGREES), np.floor(longitude + aside * _SEAM_DEGREES))
        is_ocean = np.isin(keys, lacking)
        heights[rows[is_ocean], columns[is_ocean]] = 0.0
        rows, columns, longitude, latitude = (a[~is_ocean] for a in (rows, columns, longitude, latitude))


def _corner_key(south: Any, west: Any) -> Any:
    """One number for the lower left corner of a degree."""
    return south * 360 + (west + 180) % 360


def _write(target: Path, heights: NDArray[np.float32], grid: Grid, tags: Mapping[str, str]) -> None:
    import rasterio

    # Steps of 1/16 m: far below the DEM's accuracy (metres), and they compress.
    steps = np.where(np.isnan(heights), _FILL, np.round(heights * 16) / 16).astype(np.float32)
    with rasterio.open(
        target, "w", driver="GTiff", width=grid.shape[1], height=grid.shape[0], count=1, dtype="float32",
        crs=f"EPSG:{grid.epsg}", transform=grid.transform, nodata=_FILL, tiled=True, compress="deflate", predictor=3,
    ) as raster:  # fmt: skip
        raster.write(steps, 1)
        raster.update_tags(**tags)


def _wrong(problem: str, where: str, expected: object, got: object) -> SourceError:
    return SourceError(
        problem,
        where=where,
        expected=expected,
        got=got,
        todo="fetch it again; a mirror must hold the files as the provider gives them",
    )
