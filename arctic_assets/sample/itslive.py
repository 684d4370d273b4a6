"""ITS_LIVE annual mosaics: speed, error and count per region and year, as sparse tiled GeoTIFFs.

Here: a smooth profile of speed along each main centreline, in a strip of cells around it and nowhere else. Ice moves as
its thickness and slope make it (`flow`); that of an archipelago, which is too thin and flat for that, slides. Beyond
that what real mosaics do: early years that hold parts of the lines or nearly nothing, years that lack the fast or the
slow outlets of an archipelago or most of them, years without a mosaic, a year that only version 2.1 has, cells without
error or count, an error band with a wrong nodata tag. Ice below 5 km2 is not measured, as in the product.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arctic_assets.glaciers import Glacier
from arctic_assets.sample import farinotti
from arctic_assets.sample.common import NOTICE, generator
from arctic_assets.sample.flow import flow
from arctic_assets.sample.rgi7 import Former, Landscape, Member
from arctic_assets.sources.itslive import CLIMATOLOGY, FILL, Mosaic

Floats = NDArray[np.float64]

FIRST_YEAR, LAST_YEAR, LAST_V2_YEAR = 1985, 2024, 2022
CELL_M = 120.0
SMALLEST_KM2 = 5.0
MISSING = {("RGI07A", 1986), ("RGI05A", 1988)}
"""Regions and years without a mosaic in either version."""
NEARLY_EMPTY = {("RGI03A", 1987)}
ONLY_V21 = {("RGI06A", 1990)}
SPOILT_YEAR = 2003
"""In this year the first tenth of each line has no error (32767) and the last tenth no count, but a speed."""
FASTER_PER_YEAR = 0.003
"""Of the speed of an average year, which is that of 2005 without its cycle."""
MANY = 50
"""A glacier of more members is an archipelago."""
LACKING = {1990: (0.0, 0.7), 1998: (0.1, 1.0), 2000: (0.0, 0.6), 2002: (0.4, 1.0), 2006: (0.9, 1.0), 2009: (0.0, 0.55)}
"""Years in which some outlets of an archipelago hold data: between these shares of their length, slow ones first."""
_SPOILT = 0.1
_HALF_WIDTH_M = 100.0
_TILE = 256
_AROUND = np.array([(row, col) for row in (-1, 0, 1) for col in (-1, 0, 1)])
#: Part of each line that has data, in the years before 1999 in turn; from then on all of it.
_PARTS = ((0.0, 0.35), (0.2, 0.9), (0.1, 0.8), (0.5, 0.9), (0.0, 0.85), (0.3, 0.95), (0.6, 1.0))
_FULL_FROM, _DENSE_FROM = 1999, 2013
#: Error (m yr-1) and count: before 1999, before 2013, since; the climatology.
_QUALITY = {"sparse": (24, 3), "full": (8, 40), "dense": (4, 300), "mean": (2, 2000)}
_EPSG = 3413


@dataclass(frozen=True)
class VelocityTruth:
    """What was put in for one glacier and year.

    Attributes:
        speed_m_yr: mean along the parts of the glacier's lines that hold data, weighted by the lengths of the lines.
            A group of glaciers counts with its marine outlets, where it has any.
        whole_line_m_yr: the same along whole lines: what a series must show that does not depend on the parts.
        sigma_m_yr: error of every cell.
        coverage_fraction: part of the lines' length that has speed, error and count.
        count: image pairs of every cell.
        version: v2 or v2.1.
        n_outlets: lines that hold data.
        thickness_m: mean thickness of the ice along the lines of all members that is faster than the error of its
            cells: what an inversion of speed and slope must find. Of the climatology only; None where all is slower,
            and for an archipelago.
    """

    speed_m_yr: float
    whole_line_m_yr: float
    sigma_m_yr: float
    coverage_fraction: float
    count: int
    version: str
    n_outlets: int
    thickness_m: float | None = None


@dataclass(frozen=True)
class _State:
    """What a mosaic's error and count depend on: years that share it share these two files."""

    part: tuple[float, float]
    quality: str
    spoilt: bool = False
    outlets: tuple[float, float] = (0.0, 1.0)

    def has(self, rank: Any) -> Any:
        """Whether outlets of a rank hold data; those of no archipelago, whose rank is NaN, always do."""
        return np.logical_not((rank < self.outlets[0]) | (rank > self.outlets[1]))


@dataclass(frozen=True)
class _Stream:
    """A main centreline with its speed: v(s) = top * `_profile`(s), s from 0 at the head to 1.

    Attributes:
        glacier_id: its glacier.
        line: EPSG:3413, m.
        length_m: geodesic.
        top_m_yr: largest speed of an average year.
        is_measured: it holds data.
        is_marine: it ends in the sea.
        rank: share of the length of an archipelago's outlets in slower ones; NaN for all others.
        thickness_m, moving: mean thickness of, and share of its length with, ice faster than the climatology's error;
            None and 0 where there is none.
    """

    glacier_id: str
    line: Any
    length_m: float
    top_m_yr: float
    is_measured: bool
    is_marine: bool
    rank: float = np.nan
    thickness_m: float | None = None
    moving: float = 0.0

    def mean(self, part: tuple[float, float]) -> float:
        """Mean speed between two s, m yr-1: the integral of v(s)."""
        a, b = part
        # the integral of `_profile`
        wave = (np.cos(np.pi * a) - np.cos(np.pi * b)) / (np.pi * (b - a))
        return self.top_m_yr * float(0.2 + 0.8 * wave)


@dataclass(frozen=True)
class _Tile:
    """Cells with data in one tile: place in the mosaic, place in the tile, stream and s of each."""

    row: int
    col: int
    shape: tuple[int, int]
    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    stream: NDArray[np.intp]
    s: Floats


class _Region:
    """The extent of one mosaic (that of all lines), its measured streams and the cells around them."""

    def __init__(self, code: str, streams: Sequence[_Stream]) -> None:
        self.code = code
        self.streams = [stream for stream in streams if stream.is_measured]
        west, south, east, north = np.array([s.line.bounds for s in streams]).T
        self.ranks = np.array([stream.rank for stream in self.streams])
        self.left = float(np.floor(west.min() / CELL_M) - 12) * CELL_M
        self.top = float(np.ceil(north.max() / CELL_M) + 12) * CELL_M
        self.width = int((east.max() - self.left) // CELL_M) + 12
        self.height = int((self.top - south.min()) // CELL_M) + 12

    @cached_property
    def tiles(self) -> list[_Tile]:
        """All tiles that hold data. A cell near two lines belongs to the nearer one."""
        import shapely

        found: list[tuple[NDArray[np.intp], ...]] = []
        away, along = [], []
        for number, stream in enumerate(self.streams):
            # The line is stepped by half a cell, so that cells within 100 m are among the neighbours of a step's cell.
            steps = shapely.get_coordinates(shapely.segmentize(stream.line, CELL_M / 2))
            rows = ((self.top - steps[:, 1]) // CELL_M).astype(int)[:, None] + _AROUND[:, 0]
            cols = ((steps[:, 0] - self.left) // CELL_M).astype(int)[:, None] + _AROUND[:, 1]
            row, col = np.divmod(np.unique(rows * self.width + cols), self.width)
            centres = shapely.points(self.left + (col + 0.5) * CELL_M, self.top - (row + 0.5) * CELL_M)
            distance = shapely.distance(centres, stream.line)
            near = distance <= _HALF_WIDTH_M
            found.append((row[near], col[near], np.full(near.sum(), number)))
            away.append(distance[near])
            along.append(shapely.line_locate_point(stream.line, centres[near], normalized=True))
        rows, cols, streams = (np.concatenate(part) for part in zip(*found, strict=True))
        s, distance = np.concatenate(along), np.concatenate(away)
        order = np.lexsort((distance, cols, rows))
        _, first = np.unique(rows[order] * self.width + cols[order], return_index=True)
        keep = order[first]
        rows, cols, streams, s = rows[keep], cols[keep], streams[keep], s[keep]
        tile = rows // _TILE * self.width + cols // _TILE
        return [self._tile(rows[here], cols[here], streams[here], s[here]) for here in _groups(tile)]

    def _tile(self, rows: NDArray[np.intp], cols: NDArray[np.intp], streams: NDArray[np.intp], s: Floats) -> _Tile:
        row, col = int(rows[0]) // _TILE * _TILE, int(cols[0]) // _TILE * _TILE
        shape = min(_TILE, self.height - row), min(_TILE, self.width - col)
        return _Tile(row, col, shape, rows - row, cols - col, streams, s)


def write(folder: Path, land: Landscape, glaciers: Sequence[Glacier]) -> dict[str, dict[int, VelocityTruth]]:
    """Write the annual mosaics 1985 to 2024 and the climatology of every region with a measured glacier.

    Args:
        folder: the provider's folder of the mirror.
        land: what lies where.
        glaciers: the registry; those without `itslive_region` get none.

    Returns:
        What was put in, by glacier id and year (`CLIMATOLOGY` among them). Years without a mosaic, and glaciers that
        are not measured, are absent.
    """
    import rasterio

    truth: dict[str, dict[int, VelocityTruth]] = {}
    with rasterio.Env():
        for code in sorted({glacier.itslive_region for glacier in glaciers} - {""}):
            own = [glacier.glacier_id for glacier in glaciers if glacier.itslive_region == code]
            streams = [stream for glacier_id in own for stream in _streams(glacier_id, land)]
            region = _Region(code, streams)
            if region.streams:
                _write_region(folder, region)
                truth |= _truth(code, streams)
    return truth


def trend_m_yr_per_decade(glacier_id: str, truth: Mapping[int, VelocityTruth]) -> float:
    """How much faster the whole line becomes in ten years, the cycle left out; `truth` is that of the glacier."""
    average = truth[CLIMATOLOGY].whole_line_m_yr / _factor(glacier_id, CLIMATOLOGY)
    return 10 * FASTER_PER_YEAR * average


def _streams(glacier_id: str, land: Landscape) -> list[_Stream]:
    import shapely
    from pyproj import Geod, Transformer

    to_mosaic = Transformer.from_crs(4326, _EPSG, always_xy=True)
    geod = Geod(ellps="WGS84")
    members = land.of(glacier_id)
    streams = [
        _Stream(
            glacier_id,
            shapely.transform(member.piece.lines[-1], to_mosaic.transform, interleaved=False),
            float(geod.geometry_length(member.piece.lines[-1])),
            float(min(12 * member.area_km2**0.5 * (1.5 if member.marine else 1.0), 900.0)),
            member.area_km2 >= SMALLEST_KM2,
            member.marine,
        )
        for member in members
    ]
    if len(members) > MANY:
        return _ranked(streams)
    former = {rgi6_id: land.former[rgi6_id] for rgi6_id in land.weights(glacier_id)}
    return [_moving(s, m, former) if s.is_measured else s for s, m in zip(streams, members, strict=True)]


def _ranked(streams: list[_Stream]) -> list[_Stream]:
    """Outlets with their rank."""
    outlets = sorted((s for s in streams if s.is_marine and s.is_measured), key=lambda s: s.top_m_yr)
    at = np.cumsum([s.length_m for s in outlets])
    ranks = {id(s): float(rank) for s, rank in zip(outlets, at / at[-1], strict=True)}
    return [replace(s, rank=ranks.get(id(s), np.nan)) for s in streams]


def _moving(stream: _Stream, member: Member, former: Mapping[str, Former]) -> _Stream:
    """A stream with the speed that its thickness and slope give it in the climatology."""
    means = [farinotti.mean_m(rgi6_id, outline.area_km2) for rgi6_id, outline in former.items()]
    least, factor = _QUALITY["mean"][0], _factor(stream.glacier_id, CLIMATOLOGY)
    found = flow(member, list(former.values()), means, stream.length_m, _profile, least)
    return replace(stream, top_m_yr=found.top_m_yr / factor, thickness_m=found.thickness_m, moving=found.moving)


def _profile(s: Floats) -> Floats:
    """Speed over the largest one, s from 0 at the head to 1."""
    return 0.2 + 0.8 * np.sin(np.pi * s)


def _version(code: str, year: int) -> str | None:
    """Version of the mosaic of a year; None where there is none."""
    if (code, year) in MISSING:
        return None
    return "v2.1" if year > LAST_V2_YEAR or (code, year) in ONLY_V21 else "v2"


def _state(code: str, year: int) -> _State:
    if year == CLIMATOLOGY:
        return _State((0.0, 1.0), "mean")
    if (code, year) in NEARLY_EMPTY:
        return _State((0.0, 0.005), "sparse")
    outlets = LACKING.get(year, (0.0, 1.0))
    if year < _FULL_FROM:
        return _State(_PARTS[(year + int(code[3:5])) % len(_PARTS)], "sparse", outlets=outlets)
    quality = "full" if year < _DENSE_FROM else "dense"
    return _State((0.0, 1.0), quality, spoilt=year == SPOILT_YEAR, outlets=outlets)


@cache
def _factor(glacier_id: str, year: int) -> float:
    """Speed of a year over that of an average year: a cycle of eleven years, and `FASTER_PER_YEAR`."""
    if year == CLIMATOLOGY:
        return float(np.mean([_factor(glacier_id, one) for one in range(2014, LAST_V2_YEAR + 1)]))
    phase = float(generator("velocity", glacier_id).uniform(0, 2 * np.pi))
    return float(1 + 0.15 * np.sin(2 * np.pi * (year - FIRST_YEAR) / 11 + phase) + FASTER_PER_YEAR * (year - 2005))


def _truth(code: str, streams: Sequence[_Stream]) -> dict[str, dict[int, VelocityTruth]]:
    truth: dict[str, dict[int, VelocityTruth]] = {}
    for glacier_id in {stream.glacier_id: None for stream in streams if stream.is_measured}:
        lines = [stream for stream in streams if stream.glacier_id == glacier_id]
        if len(lines) > 1:
            lines = [stream for stream in lines if stream.is_marine] or lines
        own = [stream for stream in lines if stream.is_measured]
        if not own:
            continue
        all_m = sum(stream.length_m for stream in lines)
        for year in (CLIMATOLOGY, *range(FIRST_YEAR, LAST_YEAR + 1)):
            version = _version(code, year)
            if version is None:
                continue
            state = _state(code, year)
            first, last = state.part
            part = (first + _SPOILT, last - _SPOILT) if state.spoilt else state.part
            seen = [s for s in own if state.has(s.rank)]
            seen_m = sum(s.length_m for s in seen)
            sigma, count = _QUALITY[state.quality]
            truth.setdefault(glacier_id, {})[year] = VelocityTruth(
                speed_m_yr=_mean(seen, part) * _factor(glacier_id, year),
                whole_line_m_yr=_mean(own, (0.0, 1.0)) * _factor(glacier_id, year),
                sigma_m_yr=sigma,
                coverage_fraction=seen_m / all_m * (part[1] - part[0]),
                count=count,
                version=version,
                n_outlets=len(seen),
                thickness_m=_thickness(streams, glacier_id) if year == CLIMATOLOGY else None,
            )
    return truth


def _mean(streams: Sequence[_Stream], part: tuple[float, float]) -> float:
    """Mean speed of an average year along parts of lines."""
    return sum(s.mean(part) * s.length_m for s in streams) / sum(s.length_m for s in streams)


def _thickness(streams: Sequence[_Stream], glacier_id: str) -> float | None:
    """Mean thickness of a glacier's ice that is faster than the climatology's error."""
    found = [(s.thickness_m, s.moving * s.length_m) for s in streams if s.glacier_id == glacier_id and s.thickness_m]
    return sum(mean * length for mean, length in found) / sum(length for _, length in found) if found else None


def _write_region(folder: Path, region: _Region) -> None:
    like: dict[tuple[_State, str], Path] = {}
    glacier_ids = [stream.glacier_id for stream in region.streams]
    tops = np.array([stream.top_m_yr for stream in region.streams])
    steps = 2.0 ** np.floor(np.log2(tops / 32))  # coarse enough to compress, and a 50th of the mean
    for year in (CLIMATOLOGY, *range(FIRST_YEAR, LAST_YEAR + 1)):
        version = _version(region.code, year)
        if version is None:
            continue
        mosaic, state = Mosaic(region.code, year, version), _state(region.code, year)
        factors = np.array([_factor(glacier_id, year) for glacier_id in glacier_ids])
        _write_speed(folder / mosaic.path("v"), region, state, tops * factors, steps)
        for band in ("v_error", "count"):
            path = folder / mosaic.path(band)
            if (state, band) in like:
                shutil.copyfile(like[state, band], path)
            else:
                _write_constant(path, region, state, band)
                like[state, band] = path


def _write_speed(path: Path, region: _Region, state: _State, tops: Floats, steps: Floats) -> None:
    with _new(path, region, "float32", -FILL) as raster:
        for tile in region.tiles:
            speed = tops[tile.stream] * _profile(tile.s)
            step = steps[tile.stream]
            _put(raster, region, tile, np.rint(speed / step) * step, -FILL, state, state.part)


def _write_constant(path: Path, region: _Region, state: _State, band: str) -> None:
    """Error or count: one number, and what is spoilt. The nodata tag of errors is wrong: missing are 32767, not 0."""
    sigma, count = _QUALITY[state.quality]
    first, last = state.part
    if band == "v_error":
        dtype, value, missing = "uint16", sigma, FILL
        part = (first + _SPOILT, last) if state.spoilt else state.part
    else:
        dtype, value, missing = "uint32", count, 0
        part = (first, last - _SPOILT) if state.spoilt else state.part
    with _new(path, region, dtype, 0) as raster:
        for tile in region.tiles:
            _put(raster, region, tile, np.full(tile.s.shape, value), missing, state, part)


def _new(path: Path, region: _Region, dtype: str, nodata: int) -> Any:
    import rasterio

    path.parent.mkdir(parents=True, exist_ok=True)
    # No predictor: differences between cells with and without data are less alike than the cells (19 MB against 27).
    raster = rasterio.open(
        path, "w", driver="GTiff", width=region.width, height=region.height, count=1, dtype=dtype, nodata=nodata,
        crs=f"EPSG:{_EPSG}", transform=rasterio.Affine(CELL_M, 0, region.left, 0, -CELL_M, region.top),
        tiled=True, blockxsize=_TILE, blockysize=_TILE, compress="deflate", sparse_ok=True,
    )  # fmt: skip
    raster.update_tags(TIFFTAG_IMAGEDESCRIPTION=NOTICE, TIFFTAG_SOFTWARE="arctic_assets.sample")
    return raster


def _put(
    raster: Any,
    region: _Region,
    tile: _Tile,
    values: NDArray[Any],
    missing: int,
    state: _State,
    part: tuple[float, float],
) -> None:
    """Write the values of a part of the lines, where the tile has speeds: others take no room in the file."""
    from rasterio.windows import Window

    has = state.has(region.ranks[tile.stream])
    if (has & (tile.s >= state.part[0]) & (tile.s <= state.part[1])).any():
        here = has & (tile.s >= part[0]) & (tile.s <= part[1])
        cells = np.full(tile.shape, missing, dtype=raster.dtypes[0])
        cells[tile.rows[here], tile.cols[here]] = values[here]
        raster.write(cells, 1, window=Window(tile.col, tile.row, tile.shape[1], tile.shape[0]))


def _groups(labels: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Positions of each label, by label."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
