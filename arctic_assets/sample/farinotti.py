"""Consensus thickness of Farinotti et al. (2019): one GeoTIFF per RGI6 glacier.

Here: smooth domes with the mean thickness of the consensus where it is known, else by volume-area scaling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arctic_assets.sample.common import NOTICE
from arctic_assets.sample.rgi7 import Former, Landscape, utm_zone

#: Mean thickness, m: consensus volume over RGI6 area.
CONSENSUS_MEAN_M = {
    "RGI60-01.02228": 97.5,
    "RGI60-01.09162": 133.3,
    "RGI60-01.05355": 50.5,
    "RGI60-01.01104": 133.5,
    "RGI60-01.01390": 384.9,
    "RGI60-01.05211": 34.3,
    "RGI60-01.04591": 259.2,
    "RGI60-05.11186": 90.7,
    "RGI60-06.00311": 113.1,
    "RGI60-07.00504": 79.3,
    "RGI60-08.01657": 212.2,
    "RGI60-03.01710": 399.0,
}
#: Volume (km3) = 0.034 area (km2) ^ 1.375, Bahr et al. 1997, doi:10.1029/97JB01696.
_SCALING = (0.034, 1.375)
_CELLS_M = (25, 50, 100, 200)
#: A raster takes the smallest cell that leaves it with at most so many cells of ice; less where there are hundreds.
_MOST_CELLS, _MOST_CELLS_EACH = 20_000, 1_500
_MANY = 50
#: Thickness comes in steps of 1/16 m, which compress well.
_STEP_M = 1 / 16


@dataclass(frozen=True)
class Ice:
    """What a raster holds: sums over its cells as written.

    Attributes:
        volume_km3: thickness times cell area.
        area_km2: cells with ice.
        thickness_max_m: thickest cell.
    """

    volume_km3: float
    area_km2: float
    thickness_max_m: float


def write(folder: Path, land: Landscape, glacier_ids: tuple[str, ...]) -> dict[str, Ice]:
    """Write `RGI60-{rr}/RGI60-{rr}.{nnnnn}_thickness.tif` of each RGI6 glacier that overlaps a wanted outline.

    Args:
        folder: the provider's folder of the mirror.
        land: what lies where.
        glacier_ids: ids in the registry.

    Returns:
        What was put in, by RGI6 id.
    """
    import rasterio

    ice: dict[str, Ice] = {}
    with rasterio.Env():
        for glacier_id in glacier_ids:
            weights = land.weights(glacier_id)
            most = _MOST_CELLS_EACH if len(weights) > _MANY else _MOST_CELLS
            for rgi6_id in weights:
                outline = land.former[rgi6_id]
                path = folder / rgi6_id[:8] / f"{rgi6_id}_thickness.tif"
                ice[rgi6_id] = _write_dome(path, dome(outline, mean_m(rgi6_id, outline.area_km2), most))
    return ice


def mean_m(rgi6_id: str, area_km2: float) -> float:
    """Mean thickness of an RGI6 outline."""
    factor, power = _SCALING
    return CONSENSUS_MEAN_M.get(rgi6_id, 1000 * factor * area_km2 ** (power - 1))


@dataclass(frozen=True)
class Dome:
    """Thickness of one outline, m, on a grid of a UTM zone; 0 outside.

    Attributes:
        thickness: shape (rows, cols).
        cell_m: edge of a cell, m.
        left, top: upper left corner, m.
        epsg: code of the zone.
    """

    thickness: NDArray[np.float32]
    cell_m: float
    left: float
    top: float
    epsg: int

    def at(self, lonlat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Thickness of the cells that points lie in, shape (n, 2) to (n,); 0 outside."""
        x, y = _to_utm(self.epsg).transform(*lonlat.T)
        column, row = np.floor((x - self.left) / self.cell_m), np.floor((self.top - y) / self.cell_m)
        rows, columns = self.thickness.shape
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        at = np.where(inside, row, 0).astype(int), np.where(inside, column, 0).astype(int)
        return np.where(inside, self.thickness[at], 0.0)


def dome(outline: Former, mean_m: float, most_cells: int = _MOST_CELLS) -> Dome:
    """Thickness grows with the root of the distance to the margin, as over a bed without strength."""
    import shapely
    from rasterio import Affine
    from rasterio.features import rasterize
    from scipy.ndimage import distance_transform_edt

    polygon, area_km2 = outline.polygon, outline.area_km2
    point = shapely.point_on_surface(polygon)
    epsg = (32600 if point.y >= 0 else 32700) + utm_zone(point.x)
    projected = shapely.transform(polygon, _to_utm(epsg).transform, interleaved=False)
    cell = next((c for c in _CELLS_M if area_km2 * 1e6 / c**2 <= most_cells), _CELLS_M[-1])
    west, south, east, north = projected.bounds
    left, top = (np.floor(west / cell) - 2) * cell, (np.ceil(north / cell) + 2) * cell
    shape = (int(np.ceil((top - south) / cell)) + 2, int(np.ceil((east - left) / cell)) + 2)
    transform = Affine(cell, 0, left, 0, -cell, top)
    mask = rasterize([(projected, 1)], shape, transform=transform, dtype="uint8").astype(bool)
    if not mask.any():
        mask = rasterize([(projected, 1)], shape, transform=transform, dtype="uint8", all_touched=True).astype(bool)
    rise = np.sqrt(distance_transform_edt(mask))
    # The volume is that of the outline, however well the cells fit it.
    factor = mean_m * area_km2 * 1e6 / (rise.sum() * cell**2)
    steps = np.maximum(np.rint(factor * rise / _STEP_M), 1) * _STEP_M
    return Dome(np.where(mask, steps, 0).astype(np.float32), cell, left, top, epsg)


def _write_dome(path: Path, found: Dome) -> Ice:
    import rasterio
    from rasterio import Affine

    thickness, cell = found.thickness, found.cell_m
    path.parent.mkdir(parents=True, exist_ok=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=thickness.shape[1], height=thickness.shape[0], count=1, dtype="float32",
        crs=f"EPSG:{found.epsg}", transform=Affine(cell, 0, found.left, 0, -cell, found.top), compress="deflate",
        predictor=3,
    ) as raster:  # fmt: skip
        raster.write(thickness, 1)
        raster.update_tags(TIFFTAG_IMAGEDESCRIPTION=NOTICE, TIFFTAG_SOFTWARE="arctic_assets.sample")
    volume = float(thickness.sum(dtype=np.float64)) * cell**2 / 1e9
    return Ice(volume, float((thickness > 0).sum()) * cell**2 / 1e6, float(thickness.max()))


@cache
def _to_utm(epsg: int) -> Any:
    """Making a transformer takes 2 ms, as long as writing a small raster."""
    from pyproj import Transformer

    return Transformer.from_crs("EPSG:4326", epsg, always_xy=True)
