"""Thickness of Millan et al. (2022): mosaics of 50 m and the lookup of their footprints.

Here: the domes of the consensus (`farinotti`) with `FACTOR` times their volume, drawn anew on the mosaics' grids, so
that what must come out follows from what `farinotti` wrote. Each second-order region has a mosaic per UTM zone in
which it has outlines; of an outline of more than `_DIVIDED_KM2` that stands alone, the eastern half comes in a mosaic
of the next zone, and its southern end is not covered. What stands for "no ice" differs from mosaic to mosaic.

To be small, thickness comes in whole metres and, where the consensus has cells of 100 or 200 m, in blocks of that
size; blocks of a file in which nothing lies are not written.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arctic_assets.sample.common import NOTICE, write_zip
from arctic_assets.sample.farinotti import Ice
from arctic_assets.sample.rgi7 import Former, Landscape, utm_zone

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOKUP = "millan22_thickness_lookup_shp_20220902"
FACTOR = 0.8
"""Volume here over volume in the consensus, where both are."""
ERROR_SHARE = 0.25
"""Error over thickness."""
UNCOVERED = 0.05
"""Share of a divided outline, at its southern end, that has no data."""

_FILES = {"thickness": "THICKNESS", "err": "ERRTHICKNESS"}
_CELL = 50.0
_DIVIDED_KM2 = 100.0
_CELLS_M = (50, 100, 200)
#: Of an outline, less where there are many: as in the consensus.
_MOST_CELLS, _MOST_CELLS_EACH = 20_000, 1_500
_MANY = 50
_BLOCK = 256
#: Nodata tag, and the value outside ice: as the provider's files and their users tell of them.
_CONVENTIONS: tuple[tuple[float | None, float], ...] = (
    (float("nan"), float("nan")),
    (-9999.0, -9999.0),
    (None, 0.0),
    (None, 1e20),
    (0.0, float("inf")),
)


@dataclass(frozen=True)
class Cover:
    """What the mosaics hold of one RGI6 outline, as written.

    Attributes:
        volume_km3: thickness times cell area.
        area_km2: cells with ice.
        thickness_max_m: thickest cell.
        epsgs: zones of the mosaics that hold it.
    """

    volume_km3: float
    area_km2: float
    thickness_max_m: float
    epsgs: tuple[int, ...]


@dataclass(frozen=True)
class ThicknessTruth:
    """What must come out for a glacier whose RGI7 outline is that of its RGI6 outlines.

    Where both inventories draw it differently, outlines cut the domes elsewhere, and numbers are a few per cent off.

    Attributes:
        thickness_m: mean over the ice here.
        thickness_max_m: thickest cell here.
        volume_km3: volume here.
        ice_area_km2: area with ice here, and in both products.
        mean_thickness_m: mean of both products where both have ice.
        mean_volume_km3: the same times its area.
    """

    thickness_m: float
    thickness_max_m: float
    volume_km3: float
    ice_area_km2: float
    mean_thickness_m: float
    mean_volume_km3: float


@dataclass(frozen=True)
class _Patch:
    """Whole metres of one outline on a mosaic's grid: row and column of its corner, counted from the grid's origin."""

    row: int
    column: int
    metres: NDArray[np.uint16]


def write(folder: Path, land: Landscape, glacier_ids: tuple[str, ...], ice: Mapping[str, Ice]) -> dict[str, Cover]:
    """Write the lookup and `thickness/RGI-{region}/THICKNESS_RGI-{region}.{number}_2021July09.tif` with their errors.

    Args:
        folder: the provider's folder of the mirror.
        land: what lies where.
        glacier_ids: ids in the registry.
        ice: what `farinotti.write` put in, by RGI6 id.

    Returns:
        What was put in, by RGI6 id.
    """
    mosaics: dict[tuple[str, int], list[_Patch]] = {}
    covers: dict[str, list[tuple[int, _Patch]]] = {}
    for glacier_id in glacier_ids:
        weights = land.weights(glacier_id)
        o2region = land.of(glacier_id)[0].o2region
        for rgi6_id in weights:
            if rgi6_id in covers:
                continue
            volume_m3 = FACTOR * ice[rgi6_id].volume_km3 * 1e9
            parts = list(_patches(land.former[rgi6_id], volume_m3, is_alone=len(weights) <= _MANY))
            covers[rgi6_id] = parts
            for epsg, patch in parts:
                mosaics.setdefault((o2region, epsg), []).append(patch)
    rows, numbers = [], dict[str, int]()
    for position, ((o2region, epsg), patches) in enumerate(sorted(mosaics.items())):
        region = str(int(o2region[:2]))
        numbers[region] = numbers.get(region, 0) + 1
        name = f"RGI-{region}.{numbers[region]}_2021July09.tif"
        paths = {kind: f"thickness/RGI-{region}/{word}_{name}" for kind, word in _FILES.items()}
        nodata, outside = _CONVENTIONS[position % len(_CONVENTIONS)]
        mosaic = _Mosaic(patches, epsg)
        for kind, share in (("thickness", 1.0), ("err", ERROR_SHARE)):
            mosaic.write(folder / paths[kind], share, nodata, outside)
        rows.append({**paths, "file_id": name.removesuffix(".tif"), "geometry": mosaic.footprint()})
    _write_lookup(folder / f"{LOOKUP}.zip", rows)
    return {rgi6_id: _cover(parts) for rgi6_id, parts in covers.items()}


def truth(weights: Mapping[str, float], covers: Mapping[str, Cover]) -> ThicknessTruth:
    """What must come out for a glacier.

    Args:
        weights: share of each of its RGI6 outlines that lies in it (`Landscape.weights`).
        covers: of `write`.
    """
    volume = sum(weight * covers[rgi6_id].volume_km3 for rgi6_id, weight in weights.items())
    area = sum(weight * covers[rgi6_id].area_km2 for rgi6_id, weight in weights.items())
    both = (1 + 1 / FACTOR) / 2
    return ThicknessTruth(
        thickness_m=1000 * volume / area,
        thickness_max_m=max(covers[rgi6_id].thickness_max_m for rgi6_id in weights),
        volume_km3=volume,
        ice_area_km2=area,
        mean_thickness_m=both * 1000 * volume / area,
        mean_volume_km3=both * volume,
    )


def _patches(outline: Former, volume_m3: float, is_alone: bool) -> Iterator[tuple[int, _Patch]]:
    """An outline's thickness, in one mosaic or two."""
    import shapely

    point = shapely.point_on_surface(outline.polygon)
    zone = utm_zone(point.x)
    if not (is_alone and outline.area_km2 > _DIVIDED_KM2):
        most = _MOST_CELLS if is_alone else _MOST_CELLS_EACH
        yield _epsg(zone, point.y), _patch(outline, volume_m3, _epsg(zone, point.y), most)
        return
    west, south, east, north = outline.polygon.bounds
    floor = south + 0.1 * (north - south)
    for _ in range(20):  # the parallel south of which the share UNCOVERED of the outline lies
        below = shapely.intersection(outline.polygon, shapely.box(west, south, east, floor)).area
        floor -= 0.5 * (below / outline.polygon.area - UNCOVERED) * (north - south)
    for next_zone, sides in ((0, (-np.inf, point.x)), (1, (point.x, np.inf))):
        epsg = _epsg(zone % 60 + next_zone, point.y)
        yield epsg, _patch(outline, volume_m3, epsg, _MOST_CELLS, sides, floor)


def _patch(
    outline: Former,
    volume_m3: float,
    epsg: int,
    most_cells: int,
    between: tuple[float, float] = (-np.inf, np.inf),
    floor: float = -np.inf,
) -> _Patch:
    """The dome of `volume_m3` over the outline; of it the cells between two meridians, north of a parallel."""
    import shapely
    from rasterio import Affine
    from rasterio.features import rasterize
    from scipy.ndimage import distance_transform_edt

    to_utm = _to_utm(epsg)
    projected = shapely.transform(outline.polygon, to_utm.transform, interleaved=False)
    cell = next((c for c in _CELLS_M if outline.area_km2 * 1e6 / c**2 <= most_cells), _CELLS_M[-1])
    west, south, east, north = projected.bounds
    left, top = int(west // cell) - 1, int(north // cell) + 2
    shape = top - int(south // cell) + 1, int(east // cell) + 2 - left
    transform = Affine(cell, 0, left * cell, 0, -cell, top * cell)
    mask = rasterize([(projected, 1)], shape, transform=transform, dtype="uint8").astype(bool)
    if not mask.any():
        mask = rasterize([(projected, 1)], shape, transform=transform, dtype="uint8", all_touched=True).astype(bool)
    rise = np.sqrt(distance_transform_edt(mask))
    metres = np.maximum(np.rint(volume_m3 / (rise.sum() * cell**2) * rise), 1) * mask
    if np.isfinite([*between, floor]).any():
        rows, columns = np.indices(shape)
        x, y = (left + columns + 0.5) * cell, (top - rows - 0.5) * cell
        longitude, latitude = to_utm.transform(x, y, direction="INVERSE")
        metres = metres * ((longitude >= between[0]) & (longitude < between[1]) & (latitude >= floor))
    times = int(cell / _CELL)
    fine = np.repeat(np.repeat(metres.astype(np.uint16), times, axis=0), times, axis=1)
    return _Patch(-top * times, left * times, fine)


class _Mosaic:
    """Patches put together in blocks of a file; where none lies there is no block."""

    def __init__(self, patches: list[_Patch], epsg: int) -> None:
        self.epsg = epsg
        self.row, self.column = min(p.row for p in patches), min(p.column for p in patches)
        self.height = max(p.row + p.metres.shape[0] for p in patches) - self.row
        self.width = max(p.column + p.metres.shape[1] for p in patches) - self.column
        self.blocks: dict[tuple[int, int], NDArray[np.uint16]] = {}
        for patch in patches:
            self._add(patch)

    def write(self, path: Path, share: float, nodata: float | None, outside: float) -> None:
        """Write a share of the thickness, rounded up, with `outside` where there is no ice."""
        import rasterio
        from rasterio import Affine
        from rasterio.windows import Window

        transform = Affine(_CELL, 0, self.column * _CELL, 0, -_CELL, -self.row * _CELL)
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path, "w", driver="GTiff", width=self.width, height=self.height, count=1, dtype="float32",
            crs=f"EPSG:{self.epsg}", transform=transform, nodata=nodata, tiled=True, blockxsize=_BLOCK,
            blockysize=_BLOCK, sparse_ok=True, compress="deflate", zlevel=4, predictor=3,
        ) as raster:  # fmt: skip
            for (i, j), block in sorted(self.blocks.items()):
                rows, columns = min(_BLOCK, self.height - i * _BLOCK), min(_BLOCK, self.width - j * _BLOCK)
                values = np.where(block > 0, np.ceil(share * block), outside).astype(np.float32)
                raster.write(values[:rows, :columns], 1, window=Window(j * _BLOCK, i * _BLOCK, columns, rows))
            raster.update_tags(TIFFTAG_IMAGEDESCRIPTION=NOTICE, TIFFTAG_SOFTWARE="arctic_assets.sample")

    def footprint(self) -> Any:
        """The rectangle around it in longitude and latitude."""
        import shapely
        from rasterio.warp import transform_bounds

        left, top = self.column * _CELL, -self.row * _CELL
        edges = left, top - self.height * _CELL, left + self.width * _CELL, top
        return shapely.box(*np.round(transform_bounds(f"EPSG:{self.epsg}", "EPSG:4326", *edges), 6))

    def _add(self, patch: _Patch) -> None:
        top, left = patch.row - self.row, patch.column - self.column
        rows, columns = patch.metres.shape
        for i in range(top // _BLOCK, (top + rows - 1) // _BLOCK + 1):
            for j in range(left // _BLOCK, (left + columns - 1) // _BLOCK + 1):
                y, x = i * _BLOCK, j * _BLOCK
                a, b = max(top, y), min(top + rows, y + _BLOCK)
                c, d = max(left, x), min(left + columns, x + _BLOCK)
                part = patch.metres[a - top : b - top, c - left : d - left]
                if part.any():
                    block = self.blocks.setdefault((i, j), np.zeros((_BLOCK, _BLOCK), np.uint16))
                    np.copyto(block[a - y : b - y, c - x : d - x], part, where=part > 0)


def _write_lookup(path: Path, rows: list[dict[str, Any]]) -> None:
    import geopandas as gpd

    with tempfile.TemporaryDirectory() as folder:
        frame = gpd.GeoDataFrame(rows, geometry="geometry", crs="EPSG:4326")
        # A dBASE header holds the day of writing unless it is given.
        frame.to_file(
            Path(folder) / f"{LOOKUP}.shp",
            driver="ESRI Shapefile",
            engine="pyogrio",
            encoding="UTF-8",
            DBF_DATE_LAST_UPDATE="2022-09-02",
        )
        names = [f"{LOOKUP}.{end}" for end in ("shp", "shx", "dbf", "prj", "cpg")]
        write_zip(path, {name: (Path(folder) / name).read_bytes() for name in names})


def _cover(parts: list[tuple[int, _Patch]]) -> Cover:
    return Cover(
        volume_km3=sum(float(patch.metres.sum(dtype=np.float64)) for _, patch in parts) * _CELL**2 / 1e9,
        area_km2=sum(int((patch.metres > 0).sum()) for _, patch in parts) * _CELL**2 / 1e6,
        thickness_max_m=max(float(patch.metres.max()) for _, patch in parts),
        epsgs=tuple(epsg for epsg, _ in parts),
    )


def _epsg(zone: int, latitude: float) -> int:
    return (32600 if latitude >= 0 else 32700) + zone


@cache
def _to_utm(epsg: int) -> Any:
    from pyproj import Transformer

    return Transformer.from_crs("EPSG:4326", epsg, always_xy=True)
