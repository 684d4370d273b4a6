"""ITS_LIVE annual mosaics of glacier speed: a Cloud Optimized GeoTIFF per region, year and band, gigabytes each.

Layout of a mirror: that of the bucket, `itslive/velocity_mosaic/v2/annual/cog/ITS_LIVE_velocity_120m_RGI07A_2005_
v02_v.tif`, besides it `..._v_error.tif` and `..._count.tif`; version 2.1 is spelt `v2.1` and `V02.1`; the climatology
has `static` for `annual` and 0000 for the year. Version 2 serves 1985 to 2022; version 2.1 serves what version 2 lacks.

Whole mosaics are never fetched. `Mosaics` is an origin that cuts a window around a glacier's centrelines out of the
three bands, through HTTP ranges or from a directory, and delivers it as one small GeoTIFF, which the archive keeps as
`itslive/windows/<glacier_id>/<glacier_id>_<year>.tif`. A mirror that is itself an archive has these windows instead of
mosaics: then they are taken.

Quirks that the reader takes away: missing cells are |value| = 32767 in every band, whatever the nodata tag says (the
tag of error bands is known to be wrong); v is worthless where no image pair was counted. Footprints of regions
overlap: a glacier's mosaic is that of its RGI region, not the first one that covers it. CRS: the file's own (EPSG:3413
for the Arctic; UTM 45N for North Asia).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import numpy as np

from arctic_assets.errors import SourceError
from arctic_assets.science.velocity import Samples, cells_of
from arctic_assets.settings import Settings
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
from arctic_assets.sources.http import Client, Marks, public_url
from arctic_assets.sources.origins import open_origin
from arctic_assets.sources.zips import describe_head

if TYPE_CHECKING:
    import requests
    from affine import Affine
    from numpy.typing import ArrayLike, NDArray
    from rasterio import DatasetReader
    from rasterio.crs import CRS
    from rasterio.windows import Window as Cells
    from shapely import LineString

PRODUCT = Product(
    provider="itslive",
    name="MEaSUREs ITS_LIVE Regional Glacier and Ice Sheet Surface Velocities",
    version="v2",
    licence="CC0-1.0",
    citation=(
        "Gardner, A. S., Fahnestock, M., Greene, C. A., Kennedy, J. H., Liukis, M., & Scambos, T. (2024). MEaSUREs "
        "ITS_LIVE Regional Glacier and Ice Sheet Surface Velocities, Version 2 [windows of the annual mosaics; those "
        "of version v2.1: V02.1, AWS open data bucket its-live-data]. Boulder, Colorado USA. NASA NSIDC "
        "Distributed Active Archive Center. https://doi.org/10.5067/JQ6337239C96"
    ),
    doi="10.5067/JQ6337239C96",
    homepage="https://its-live.jpl.nasa.gov",
    cadence="yearly additions, years apart (v2: 1985 to 2022, v2.1: 1982 to 2024)",
    latency="one to two years",
)

BASE_URL = "https://its-live-data.s3.amazonaws.com"
BANDS = ("v", "v_error", "count")
"""Bands of a window, in this order: speed and its error in m yr-1, number of image pairs."""
CLIMATOLOGY = 0
"""The year under which the multi-year mean is asked for (v2: 2014 to 2022, v2.1: 2014 to 2024)."""
FIRST_YEAR = 1982
"""First year of version 2.1."""
FILL = 32767
MARGIN_CELLS = 5
"""Window beyond the line's own extent: the nearest cell needs one, the rest is for people who look at it."""

FASTEST_M_YR = 20_000.0
"""No glacier is faster than 20 km a year: more is a fill value or another unit."""

_V2_YEARS = range(1985, 2023)
_BLOCK = 128
_OPEN_MOSAICS = 64
"""Three files each, one region's 40 years: fewer are opened again and again, more meet the limit of 1024 files."""
_NAME = re.compile(r"([a-z0-9_]+)_(\d{4})\.tif")


def region_code(o1region: str, latitude: float) -> str | None:
    """Region in ITS_LIVE's file names of an RGI first-order region; None where there are no mosaics.

    Args:
        o1region: `07`.
        latitude: of the glacier: western Canada north of 55 degrees lies in Alaska's mosaic.
    """
    if o1region == "02" and latitude >= 55:
        return "RGI01A"
    if o1region in ("13", "15"):
        return "RGI14A"
    return None if o1region in ("16", "20") else f"RGI{o1region}A"


@dataclass(frozen=True)
class Mosaic:
    """One mosaic: `region` RGI07A, `year` (or `CLIMATOLOGY`), `version` v2 or v2.1."""

    region: str
    year: int
    version: str

    def path(self, band: str) -> str:
        """Key in the bucket, which is also the path below a mirror's folder."""
        spelt = {"v2": "v02", "v2.1": "V02.1"}[self.version]
        kind = "static" if self.year == CLIMATOLOGY else "annual"
        name = f"ITS_LIVE_velocity_120m_{self.region}_{self.year:04d}_{spelt}_{band}.tif"
        return f"velocity_mosaic/{self.version}/{kind}/cog/{name}"


def mosaics_of(region: str, year: int) -> list[Mosaic]:
    """The mosaics that may hold a year, the preferred one first; empty before 1982."""
    if year == CLIMATOLOGY or year in _V2_YEARS:
        return [Mosaic(region, year, "v2"), Mosaic(region, year, "v2.1")]
    return [Mosaic(region, year, "v2.1")] if year >= FIRST_YEAR else []


@dataclass(frozen=True)
class WindowRemote(Remote):
    """A window that we want. `Mosaics` cuts it; any other origin finds it only in a mirror that is an archive.

    Attributes:
        region: `RGI07A`.
        year: year, or `CLIMATOLOGY`.
        lines: what it must cover: centrelines, EPSG:4326.
    """

    region: str = ""
    year: int = CLIMATOLOGY
    lines: tuple[LineString, ...] = ()

    @cached_property
    def mark(self) -> str:
        """Identity of the lines: their vertices to 1e-6 degrees (0.1 m) and the margin."""
        import shapely

        vertices, number = shapely.get_coordinates(self.lines, return_index=True)
        digest = hashlib.sha256(f"{MARGIN_CELLS}".encode())
        digest.update(np.rint(vertices * 1e6).astype("<i8").tobytes() + number.astype("<i8").tobytes())
        return digest.hexdigest()[:16]


def window_path(glacier_id: str, year: int) -> str:
    """Path of a glacier's window below the provider's folder of the archive."""
    return f"windows/{glacier_id}/{glacier_id}_{year:04d}.tif"


def remotes(
    lines: Mapping[str, Sequence[LineString]], regions: Mapping[str, str], years: Iterable[int]
) -> list[Remote | Missing]:
    """The windows of these glaciers and years, in the order that opens each mosaic once.

    Args:
        lines: centrelines by glacier id, EPSG:4326; several for a group of glaciers.
        regions: ITS_LIVE region by glacier id, for each glacier of `lines`.
        years: years, and `CLIMATOLOGY` for the multi-year mean.

    Returns:
        To be given to `RawStore.acquire` with `Mosaics` as the origin. `Missing.what` is the window's path with the
        provider's folder.

    Raises:
        SourceError: a region that ITS_LIVE does not have.
    """
    strange = sorted({region for region in regions.values() if not re.fullmatch(r"RGI\d\dA", region)})
    if strange:
        raise SourceError(
            "these are not regions of ITS_LIVE",
            where="the registry's column itslive_region",
            expected="RGI01A to RGI19A",
            got=", ".join(strange),
            todo="correct the registry",
        )
    wanted = sorted((regions[key], year, key) for key in lines for year in set(years))
    return [
        WindowRemote(PRODUCT, window_path(key, year), verify, region=region, year=year, lines=tuple(lines[key]))
        for region, year, key in wanted
    ]


class _Asking(Client):
    """The client, asking for the marks of files that GDAL must be able to read in parts."""

    def _expect_part(self, response: requests.Response, url: str) -> None:
        # found out before GDAL drinks the whole file
        if response.status_code != 206:
            raise SourceError(
                "a window cannot be cut out of a mosaic at this address",
                where=public_url(url),
                expected="HTTP 206 to a request for a range of bytes, or 404",
                got=f"HTTP {response.status_code}",
                todo="serve the mosaics with a web server that knows Range, or use a mirror directory",
            )


@dataclass
class Mosaics:
    """The origin of windows: cuts them out of mosaics in a directory or behind HTTP. Use it in a `with`.

    Mosaics stay open for the glaciers that follow: to open one takes three requests per band (twice HEAD, the header).

    Attributes:
        origin: where the mosaics are; asked for windows as such when it has no mosaic.
        root: the provider's folder of it: a directory, or a URL without a trailing slash.
        client: how patient to be; GDAL gets the same patience.
    """

    origin: Origin
    root: Path | str
    client: Client = field(default_factory=Client)
    _open: OrderedDict[Mosaic, tuple[DatasetReader, ...]] = field(init=False, default_factory=OrderedDict)
    _found: dict[tuple[str, int], tuple[Mosaic, Marks] | Missing] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._asking = _Asking(**{f.name: getattr(self.client, f.name) for f in fields(Client) if f.init})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._open:
            self._close_oldest()
        self._found.clear()

    @property
    def name(self) -> str:
        """That of the origin."""
        return self.origin.name

    @property
    def is_live(self) -> bool:
        """Whether the mosaics are NASA's own."""
        return self.origin.is_live

    def names(self, provider: str, folder: str = "") -> list[str]:
        """As the origin."""
        return self.origin.names(provider, folder)

    def fetch(self, remote: Remote, target: Path, known: SourceObject | None) -> Delivery | Unchanged | Missing:
        """Write a window to `target`.

        Args:
            remote: one of `remotes`.
            target: file to write.
            known: the window we hold. `Unchanged` when it was cut along the same lines out of the same version of the
                same mosaic; then nothing but the marks of the three files is asked for.

        Returns:
            `Missing` when neither version has a mosaic of the year, or none of the lines lies in it.

        Raises:
            SourceError: the server is down or refuses; a band is no GeoTIFF, damaged, or on another grid than v.
        """
        if not isinstance(remote, WindowRemote):
            raise TypeError(f"Mosaics cuts windows: expected a WindowRemote, got {type(remote).__name__}")
        found = self._find(remote.region, remote.year)
        what = f"{PRODUCT.provider}/{remote.path}"
        if isinstance(found, Missing):
            ready = Missing("") if self.is_live else self.origin.fetch(remote, target, known)
            return Missing(found.reason, what=what) if isinstance(ready, Missing) else ready
        mosaic, marks = found
        url = self._public(mosaic)
        if (
            known
            and (known.url, known.etag, known.last_modified) == (url, marks.etag, marks.last_modified)
            and any(marks)
            and known.content.get("lines") == remote.mark
        ):
            return Unchanged()
        if not self._cut(mosaic, remote, target):
            return Missing(f"the centreline lies outside the ITS_LIVE mosaic {remote.region}", what=what)
        return Delivery(url, etag=marks.etag, last_modified=marks.last_modified)

    def has(self, region: str, year: int) -> bool:
        """Whether there is a mosaic of a region and year, of either version.

        Raises:
            SourceError: the server is down or refuses: that does not mean that there is none.
        """
        return not isinstance(self._find(region, year), Missing)

    def _find(self, region: str, year: int) -> tuple[Mosaic, Marks] | Missing:
        """The mosaic that has a year, by the preferred version; looked for once."""
        if (region, year) not in self._found:
            self._found[region, year] = self._look(region, year)
        return self._found[region, year]

    def _look(self, region: str, year: int) -> tuple[Mosaic, Marks] | Missing:
        for mosaic in mosaics_of(region, year):
            marks = [self._marks(mosaic.path(band)) for band in BANDS]
            there = [one for one in marks if one]
            if len(there) == len(BANDS):
                etag, modified = (_joined(texts) for texts in zip(*(one[:2] for one in there), strict=True))
                return mosaic, Marks(etag, modified)
            if there:
                lacking = [band for band, one in zip(BANDS, marks, strict=True) if not one]
                return Missing(f"the ITS_LIVE mosaic {region} of {_spelt(year)} lacks {' and '.join(lacking)}")
        return Missing(f"no ITS_LIVE mosaic for region {region[3:5]} in {_spelt(year)}")

    def _marks(self, path: str) -> Marks | None:
        if isinstance(self.root, str):
            return self._asking.marks(f"{self.root}/{quote(path)}")
        file = self.root / path
        if not file.is_file():
            return None
        stat = file.stat()
        modified = dt.datetime.fromtimestamp(stat.st_mtime, dt.UTC).isoformat(timespec="microseconds")
        return Marks(None, f"{modified} {stat.st_size}")

    def _public(self, mosaic: Mosaic, band: str = "v") -> str:
        path = mosaic.path(band)
        # The same on every machine, as other files of a mirror directory: it goes into published tables.
        return public_url(f"{self.root}/{path}") if isinstance(self.root, str) else f"mirror:{PRODUCT.provider}/{path}"

    def _cut(self, mosaic: Mosaic, remote: WindowRemote, target: Path) -> bool:
        """Write the window; False when no line lies in the mosaic."""
        import rasterio

        reason = ""
        with rasterio.Env(**self._gdal()):
            try:
                rasters = self._rasters(mosaic)
                boxes = _boxes(rasters[0], remote.lines)
                if boxes:
                    _write(target, rasters, boxes, self._tags(mosaic, remote, rasters[0]))
                return bool(boxes)
            except rasterio.errors.RasterioError as error:
                target.unlink(missing_ok=True)
                reason = str(error.__cause__ or error)
        # Out here the error has no context: GDAL's texts quote whole URLs.
        for one in BANDS:
            self._marks(mosaic.path(one))  # a server in trouble says so itself, and better
        band = next((one for one in BANDS if Path(mosaic.path(one)).name in reason), "v")
        where = self._public(mosaic, band)
        raise _wrong("a mosaic cannot be read", where, "a whole GeoTIFF", _cleaned(reason, self.root))

    def _rasters(self, mosaic: Mosaic) -> tuple[DatasetReader, ...]:
        import rasterio

        if mosaic not in self._open:
            if len(self._open) == _OPEN_MOSAICS:
                self._close_oldest()
            prefix = f"/vsicurl/{self.root}" if isinstance(self.root, str) else str(self.root)
            rasters: list[DatasetReader] = []
            try:
                for band in BANDS:
                    rasters.append(rasterio.open(f"{prefix}/{quote(mosaic.path(band))}", driver="GTiff"))
                    _check_grid(rasters[-1], rasters[0], f"{self._public(mosaic)}, band {band}")
            except BaseException:
                for raster in rasters:
                    raster.close()
                raise
            self._open[mosaic] = tuple(rasters)
        self._open.move_to_end(mosaic)
        return self._open[mosaic]

    def _close_oldest(self) -> None:
        for raster in self._open.popitem(last=False)[1]:
            raster.close()

    def _tags(self, mosaic: Mosaic, remote: WindowRemote, raster: DatasetReader) -> dict[str, str]:
        tags = {
            "url": self._public(mosaic),
            "version": mosaic.version,
            "region": mosaic.region,
            "year": f"{mosaic.year:04d}",
            "lines": remote.mark,
        }
        marked = [value for value in {**raster.tags(), **raster.tags(1)}.values() if SYNTHETIC in value]
        return {**tags, "TIFFTAG_IMAGEDESCRIPTION": marked[0]} if marked else tags

    def _gdal(self) -> dict[str, Any]:
        connect_s, wait_s = self.client.timeout_s
        return {
            "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
            "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif,.nc",
            # What was read is forgotten when a mosaic is closed: a later run must see a mosaic that was replaced.
            "CPL_VSIL_CURL_NON_CACHED": f"/vsicurl/{self.root}",
            "GDAL_INGESTED_BYTES_AT_OPEN": 32768,
            "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
            "GDAL_HTTP_MAX_RETRY": self.client.attempts - 1,
            "GDAL_HTTP_RETRY_DELAY": self.client.pause_s,
            "GDAL_HTTP_CONNECTTIMEOUT": connect_s,
            "GDAL_HTTP_LOW_SPEED_TIME": wait_s,
            "GDAL_HTTP_LOW_SPEED_LIMIT": 1,
        }


def open_mosaics(settings: Settings, client: Client | None = None) -> Mosaics:
    """The mosaics of the mirror or live provider that the settings name.

    Args:
        settings: name the mirror.
        client: how patient to be; by default as a run is.
    """
    client = client or Client()
    origin = open_origin(settings, client)
    match settings.mirror_kind:
        case "sample":
            return Mosaics(origin, settings.sample / PRODUCT.provider, client)
        case "directory":
            return Mosaics(origin, Path(settings.mirror) / PRODUCT.provider, client)
        case "url":
            return Mosaics(origin, f"{settings.mirror.rstrip('/')}/{PRODUCT.provider}", client)
        case "live":
            return Mosaics(origin, BASE_URL, client)


@dataclass(frozen=True, eq=False)
class Window:
    """A window with missing cells masked; all arrays have the shape (rows, cols).

    Attributes:
        v: speed, m yr-1, NaN where missing or where no image pair was counted.
        v_error: its error, m yr-1, NaN where missing.
        count: number of image pairs, 0 where missing.
        crs: of the mosaic.
        transform: of the upper left corner.
        version: v2 or v2.1.
        year: year, or `CLIMATOLOGY`.
    """

    v: NDArray[np.float32]
    v_error: NDArray[np.float32]
    count: NDArray[np.float32]
    crs: CRS
    transform: Affine
    version: str
    year: int


def read(path: Path) -> Window:
    """Open an archived window.

    Raises:
        SourceError: no GeoTIFF, or not the whole of it; other bands than v, v_error, count; tags that are absent; a CRS
            that is not in metres.
    """
    with _opened(path) as raster:
        shape, tags = raster.shape, raster.tags()
        v, v_error = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
        count = np.zeros(shape, np.float32)
        for cells, block in _blocks(raster):
            for band, values in zip((v, v_error, count), block, strict=True):
                band[cells.toslices()] = values
        return Window(v, v_error, count, raster.crs, raster.transform, tags["version"], int(tags["year"]))


def read_points(path: Path, lon: ArrayLike, lat: ArrayLike) -> Samples:
    """The cells of an archived window that points lie in, without reading the others.

    The same as `science.velocity.sample` on what `read` gives. An archipelago's window has 13 million cells, of which
    its lines need one in four hundred: 40 years of it read whole are 6 GB.

    Args:
        path: archived window.
        lon: degrees, shape (points,).
        lat: degrees, shape (points,).

    Returns:
        Arrays of shape (points,): NaN where missing or outside the window.

    Raises:
        SourceError: as `read`.
    """
    with _opened(path) as raster:
        row, col = cells_of(raster.transform, raster.crs, lon, lat)
        found = np.full((len(BANDS), row.size), np.nan)
        for cells, block in _blocks(raster):
            in_row, in_col = row - cells.row_off, col - cells.col_off
            here = (in_row >= 0) & (in_row < cells.height) & (in_col >= 0) & (in_col < cells.width)
            found[:, here] = block[:, in_row[here].astype(int), in_col[here].astype(int)]
    return Samples(*found)


def verify(path: Path) -> Verified:
    """Open a window and read it to its end.

    Returns:
        Content: `glacier_id` and `year` (of the file name and the tags), `region`, `lines` (identity of the lines it
        was cut along), `epsg` (None when the CRS has no code), `n_valid` (cells with a speed).

    Raises:
        SourceError: as `read`; a name that does not agree with the tags; a speed below 0 or above 20,000 m yr-1, or an
            error below 0.
    """
    match = _NAME.search(path.name)
    n_valid, slowest, fastest, least_error = 0, 0.0, 0.0, 0.0
    with _opened(path) as raster:
        tags, epsg = raster.tags(), raster.crs.to_epsg()
        for _, (v, v_error, _) in _blocks(raster):
            there = np.isfinite(v)
            n_valid += int(there.sum())
            slowest = min(slowest, float(v.min(where=there, initial=0)))
            fastest = max(fastest, float(v.max(where=there, initial=0)))
            least_error = min(least_error, float(v_error.min(where=np.isfinite(v_error), initial=0)))
    if not match or match[2] != tags["year"]:
        raise _wrong("a window is not named after its glacier and year", path.name, _NAME.pattern, tags["year"])
    if slowest < 0 or fastest > FASTEST_M_YR:
        got = f"{slowest:g} to {fastest:g} m yr-1"
        raise _wrong("a speed is impossible", path.name, f"0 to {FASTEST_M_YR:g} m yr-1", got)
    if least_error < 0:
        raise _wrong("an error is negative", path.name, "0 m yr-1 or more", f"{least_error:g} m yr-1")
    content = {
        "glacier_id": match[1],
        "year": int(tags["year"]),
        "region": tags["region"],
        "lines": tags["lines"],
        "epsg": epsg,
        "n_valid": n_valid,
    }
    marked = any(SYNTHETIC in value for value in tags.values())
    return Verified(is_synthetic=marked, content=content, version=tags["version"])


@contextmanager
def _opened(path: Path) -> Iterator[DatasetReader]:
    """An archived window, checked as far as its header goes; failures to read it become SourceError."""
    import rasterio

    with path.open("rb") as stream:
        if stream.read(4) not in (b"II*\0", b"II+\0"):
            raise _wrong("a file is not a GeoTIFF", path.name, "a GeoTIFF", describe_head(path))
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            tags, crs = raster.tags(), raster.crs
            absent = [name for name in ("url", "version", "region", "year", "lines") if name not in tags]
            if raster.descriptions != BANDS:
                raise _wrong("a window has other bands", path.name, ", ".join(BANDS), raster.descriptions)
            if absent:
                raise _wrong("a window does not say what it is of", path.name, "its tags", f"no {', '.join(absent)}")
            if crs is None or not crs.is_projected or crs.linear_units_factor[1] != 1.0:
                raise _wrong("a window is not in metres", path.name, "a projected CRS in metres", crs and crs.to_wkt())
            yield raster
    except rasterio.errors.RasterioError as error:
        raise _wrong("a GeoTIFF cannot be read to its end", path.name, "a whole file", error) from error


def _blocks(raster: DatasetReader) -> Iterator[tuple[Cells, NDArray[np.float32]]]:
    """The blocks that hold speeds, masked, shape (3, rows, cols): an archipelago's window is empty for the most part.

    Reading all of Novaya Zemlya's takes twice as long.
    """
    from rasterio.errors import RasterBlockError

    for (row, col), cells in raster.block_windows(1):
        try:
            raster.block_size(1, row, col)
        except RasterBlockError:  # the way to be told that a sparse file does not have this block
            continue
        block = raster.read(window=cells)
        v, v_error, count = block
        for band, missing in ((v, np.nan), (v_error, np.nan), (count, 0)):
            band[(np.abs(band) == FILL) | ~np.isfinite(band)] = missing
        v[count <= 0] = np.nan
        yield cells, block


def _boxes(raster: DatasetReader, lines: Sequence[LineString]) -> list[tuple[int, int, int, int]]:
    """First and last row and column + 1 around each line, cut to the raster; lines outside it have none."""
    import shapely
    from pyproj import Transformer

    vertices, number = shapely.get_coordinates(lines, return_index=True)
    to_mosaic = Transformer.from_crs("EPSG:4326", raster.crs.to_wkt(), always_xy=True)
    x, y = to_mosaic.transform(vertices[:, 0], vertices[:, 1])
    to_cells = ~raster.transform  # upright, see `_check_grid`
    col, row = to_cells.a * np.asarray(x) + to_cells.c, to_cells.e * np.asarray(y) + to_cells.f
    begin = np.flatnonzero(np.diff(number, prepend=-1))
    top, bottom = np.minimum.reduceat(row, begin), np.maximum.reduceat(row, begin)
    left, right = np.minimum.reduceat(col, begin), np.maximum.reduceat(col, begin)
    edges = np.floor(np.column_stack([top, bottom, left, right])) + np.array([0, 1, 0, 1])
    edges += MARGIN_CELLS * np.array([-1, 1, -1, 1])
    limits = [raster.height, raster.height, raster.width, raster.width]
    found = np.clip(edges, 0, limits).astype(int)
    inside = (found[:, 0] < found[:, 1]) & (found[:, 2] < found[:, 3])
    return [(int(a), int(b), int(c), int(d)) for a, b, c, d in found[inside]]


def _write(
    target: Path,
    rasters: Sequence[DatasetReader],
    boxes: Sequence[tuple[int, int, int, int]],
    tags: Mapping[str, str],
) -> None:
    """Copy the three bands as they are, by blocks of the window that a box touches: the others take no room."""
    import rasterio
    from rasterio.windows import Window as Cells

    tops, bottoms, lefts, rights = zip(*boxes, strict=True)
    top, left = min(tops), min(lefts)
    height, width = max(bottoms) - top, max(rights) - left
    touched = {
        (row, col)
        for first_row, end_row, first_col, end_col in boxes
        for row in range((first_row - top) // _BLOCK, (end_row - 1 - top) // _BLOCK + 1)
        for col in range((first_col - left) // _BLOCK, (end_col - 1 - left) // _BLOCK + 1)
    }
    with rasterio.open(
        target, "w", driver="GTiff", width=width, height=height, count=len(BANDS), dtype="float32", nodata=-FILL,
        crs=rasters[0].crs, transform=rasters[0].window_transform(Cells(left, top, width, height)), tiled=True,
        blockxsize=_BLOCK, blockysize=_BLOCK, interleave="band", compress="deflate", zlevel=1, sparse_ok=True,
    ) as window:  # fmt: skip
        window.update_tags(**tags)
        for number, (name, raster) in enumerate(zip(BANDS, rasters, strict=True), start=1):
            window.set_band_description(number, name)
            for row, col in sorted(touched):
                y, x = row * _BLOCK, col * _BLOCK
                rows, cols = min(_BLOCK, height - y), min(_BLOCK, width - x)
                values = raster.read(1, window=Cells(left + x, top + y, cols, rows), out_dtype="float32")
                window.write(values, number, window=Cells(x, y, cols, rows))


def _check_grid(raster: DatasetReader, first: DatasetReader, where: str) -> None:
    """One band, on the same upright grid in metres as the first file."""
    problems = {
        "1 band": raster.count == 1,
        "a projected CRS in metres": bool(raster.crs) and raster.crs.is_projected,
        "upright cells": raster.transform.b == raster.transform.d == 0 and raster.transform.e < 0 < raster.transform.a,
        "the grid of band v": (raster.shape, raster.transform, raster.crs) == (first.shape, first.transform, first.crs),
    }
    broken = [expected for expected, holds in problems.items() if not holds]
    if broken:
        got = f"{raster.count} band(s), {raster.crs}, {raster.shape}, {tuple(raster.transform)[:6]}"
        raise _wrong("a mosaic is not on the grid that it should be on", where, ", ".join(broken), got)


def _spelt(year: int) -> str:
    return "the climatology" if year == CLIMATOLOGY else str(year)


def _joined(texts: tuple[str | None, ...]) -> str | None:
    return None if None in texts else ", ".join(text for text in texts if text)


def _cleaned(text: str, root: Path | str) -> str:
    return text.replace("/vsicurl/", "").replace(str(root), public_url(root) if isinstance(root, str) else "")


def _wrong(problem: str, where: object, expected: object, got: object) -> SourceError:
    return SourceError(
        problem,
        where=where,
        expected=expected,
        got=got,
        todo="run again; if it stays, a mosaic is damaged: a mirror must hold the files as the provider gives them",
    )
