"""A glacier's thickness and speed as maps of a few hundred cells, from the archived windows: asked by the atlas.

Not here: numbers. Areas, volumes and mean speeds come from the derived tables, which read the products on grids of
their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from arctic_assets.provenance import SourceObject
from arctic_assets.publish.atlas import Field, SampledLine
from arctic_assets.science import common_grid
from arctic_assets.science.common_grid import Grid
from arctic_assets.science.velocity import Floats, sample_points
from arctic_assets.sources import farinotti, itslive, millan
from arctic_assets.storage.archive import Archive

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from shapely import LineString
    from shapely.geometry.base import BaseGeometry

    Raster = tuple[NDArray[np.float32], CRS, Affine]

MOST_CELLS = 400
"""Along the longer side of a map: as many as a page shows."""


class Maps:
    """The maps of one glacier after the other; the archive is searched once.

    Args:
        archive: holds rasters and windows.
    """

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._consensus = {str(o.content["rgi6_id"]): o for o in archive.objects(farinotti.PRODUCT.provider)}
        self._windows: dict[str, list[SourceObject]] = {}
        for held in archive.objects(millan.PRODUCT.provider):
            if held.content["kind"] == "thickness":
                self._windows.setdefault(str(held.content["glacier_id"]), []).append(held)
        self._years: dict[str, list[SourceObject]] = {}
        for held in archive.objects(itslive.PRODUCT.provider):
            if held.content["n_valid"] and held.content["year"] != itslive.CLIMATOLOGY:
                self._years.setdefault(str(held.content["glacier_id"]), []).append(held)

    def thickness(self, glacier_id: str, rgi6_ids: Sequence[str], cells: Cells) -> Field | None:
        """Thickness of the ice: the mean of both products where both have ice, or the product that there is.

        Args:
            glacier_id: glacier.
            rgi6_ids: the same ice in the consensus product.
            cells: of the map.

        Returns:
            Metres; None without any ice.
        """
        found = {}
        for name, rasters in (
            ("Farinotti 2019", self._consensus_rasters(rgi6_ids)),
            ("Millan 2022", self._millan_rasters(glacier_id, cells.grid)),
        ):
            thickness = np.zeros(cells.lon.size)
            for values, crs, transform in rasters:
                here, row, col = cells.within(values.shape, crs, transform)
                thickness[here] = np.maximum(thickness[here], values[row, col])  # tiles may overlap
            if thickness.any():
                found[name] = np.where(thickness > 0, thickness, np.nan)
        if not found:
            return None
        source = f"mean of {' and '.join(found)}" if len(found) > 1 else f"{next(iter(found))} only"
        return Field(cells.grid, cells.spread(np.mean(list(found.values()), axis=0)), source)

    def speed(
        self, glacier_id: str, lines: Sequence[LineString], cells: Cells
    ) -> tuple[Field, list[SampledLine]] | None:
        """Speed in the newest year that has any.

        Args:
            glacier_id: glacier.
            lines: centrelines, EPSG:4326.
            cells: of the map.

        Returns:
            m yr-1; and the points of the lines. None without any speed.
        """
        if glacier_id not in self._years:
            return None
        newest = max(self._years[glacier_id], key=lambda o: int(str(o.content["year"])))
        points = [sample_points(line) for line in lines]
        lon = np.concatenate([cells.lon, *(p.lon for p in points)])
        lat = np.concatenate([cells.lat, *(p.lat for p in points)])
        speed = itslive.read_points(self._archive.file(newest), lon, lat).v
        own, *along = np.split(speed, np.cumsum([cells.lon.size, *(p.lon.size for p in points)])[:-1])
        sampled = [SampledLine(p.lon, p.lat, v) for p, v in zip(points, along, strict=True)]
        source = f"{newest.content['year']}, ITS_LIVE {newest.version}"
        return Field(cells.grid, cells.spread(own), source), sampled

    def _consensus_rasters(self, rgi6_ids: Sequence[str]) -> Iterator[Raster]:
        for held in (self._consensus[i] for i in rgi6_ids if i in self._consensus):
            values, _, crs, transform = farinotti.read(self._archive.file(held))
            yield values, crs, transform

    def _millan_rasters(self, glacier_id: str, grid: Grid) -> Iterator[Raster]:
        for held in self._windows.get(glacier_id, []):
            with millan.opened(self._archive.file(held)) as window:
                # of an archipelago's 17 million cells a map needs 100,000
                step = max(1, int(grid.cell_m / abs(window.raster.transform.a) / 2))
                values, _, crs, transform = window.read(step=step)
            yield values, crs, transform


class Cells:
    """The cells of a map whose middles lie in an outline.

    The map is in the glacier's UTM zone, of 50 m or of the multiple of it that needs no more than `MOST_CELLS` cells.
    A cell gets the value at its middle: nothing is averaged, so that edges and gaps are those of the products.

    Args:
        outline: EPSG:4326.
        epsg: UTM zone.

    Attributes:
        grid: of the map.
        lon: longitude of the middles, degrees, shape (cells,).
        lat: latitude of the middles, degrees, shape (cells,).
    """

    def __init__(self, outline: BaseGeometry, epsg: int) -> None:
        from pyproj import Transformer
        from rasterio.features import geometry_mask

        projected = common_grid.projected_outline(outline, epsg)
        west, south, east, north = projected.bounds
        cell_m = common_grid.CELL_M
        cell_m *= max(1, int(np.ceil(max(east - west, north - south) / cell_m / MOST_CELLS)))
        self.grid = common_grid.common_grid(outline.bounds, epsg, cell_m)
        self._inside = geometry_mask([projected], self.grid.shape, self.grid.transform, invert=True)
        row, col = np.nonzero(self._inside)
        x, y = self.grid.left + (col + 0.5) * cell_m, self.grid.top - (row + 0.5) * cell_m
        self.lon, self.lat = map(np.asarray, Transformer.from_crs(epsg, "EPSG:4326", always_xy=True).transform(x, y))
        self._placed: dict[str, tuple[Floats, Floats]] = {}

    def within(
        self, shape: tuple[int, ...], crs: CRS, transform: Affine
    ) -> tuple[NDArray[np.bool_], NDArray[np.int_], NDArray[np.int_]]:
        """Which cells have their middle in an upright raster; its rows and columns there."""
        from pyproj import Transformer

        name = crs.to_string()
        if name not in self._placed:  # 480 rasters of an archipelago lie in four zones
            move = Transformer.from_crs("EPSG:4326", crs.to_wkt(), always_xy=True).transform
            x, y = map(np.asarray, move(self.lon, self.lat))
            self._placed[name] = x, y
        x, y = self._placed[name]
        inverse = ~transform
        row, col = np.floor(inverse.e * y + inverse.f), np.floor(inverse.a * x + inverse.c)
        here = (row >= 0) & (row < shape[0]) & (col >= 0) & (col < shape[1])
        return here, row[here].astype(int), col[here].astype(int)

    def spread(self, values: Floats) -> Floats:
        """Values of the cells on the grid, NaN elsewhere."""
        whole = np.full(self.grid.shape, np.nan)
        whole[self._inside] = values
        return whole
