"""Ice thickness of Millan et al. (2022): mosaics of 50 m per sub-region, of which each glacier gets a window.

Layout of a mirror: `millan/millan22_thickness_lookup_shp_20220902.zip`, a shapefile of footprints (longitude and
latitude) with the columns `thickness`, `err` and `file_id`, and the mosaics under the relative paths that stand in the
first two, `millan/thickness/RGI-7/THICKNESS_RGI-7.1_2021July09.tif` for instance. Dates and numbers in the names
differ from region to region: they are read, never made. Live, this is the copy that OGGM keeps.

A mosaic can have hundreds of megabytes, so the archive gets windows: `windows/<glacier_id>/<path of the mosaic>`, cut
on the mosaic's own grid with its own values, read by byte ranges where the server knows them. What a window was cut
from stands in its tags. A mirror that is somebody's archive holds windows in place of mosaics: they are taken when
they reach far enough.

A raster lies in a UTM zone of its sub-region, which need not be the glacier's, and several may hold parts of one
glacier. What stands for "no ice" differs from file to file: the nodata tag's value, NaN, infinity, 1e20, 0.

What any provider of large rasters needs is here too: `WindowOrigin`, `from_raster` (read a part where it lies) and
`held_window` (a mirror has the window already). The elevations (`dem`) use them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import numpy as np

from arctic_assets.errors import SourceError
from arctic_assets.science.common_grid import Bounds
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
from arctic_assets.sources.http import Part, public_url
from arctic_assets.sources.origins import WindowOrigin
from arctic_assets.sources.zips import describe_head, is_synthetic, open_zip, verify_zip

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader
    from rasterio.windows import Window as Pixels

PRODUCT = Product(
    provider="millan",
    name="Ice thickness of the world's glaciers from ice velocity (Millan et al. 2022)",
    version="1 (2021-07)",
    licence=(
        "not confirmed: no licence is stated beside the files; products of Theia commonly come under the Etalab Open "
        "Licence or CC BY 4.0; do not pass the rasters on, publish derived numbers only"
    ),
    citation=(
        "Millan, R., Mouginot, J., Rabatel, A., & Morlighem, M. (2022): Ice velocity and thickness of the world's "
        "glaciers. Nature Geoscience 15, 124-129. https://doi.org/10.1038/s41561-021-00885-z; data: "
        "https://doi.org/10.6096/1007"
    ),
    doi="10.6096/1007",
    homepage="https://www.theia-land.fr/en/product/glacier-surface-flow-velocity/",
    cadence="once (2022)",
    latency="ice of about 2017-2018, inside the RGI 6 outlines",
)

BASE_URL = "https://cluster.klima.uni-bremen.de/~oggm/velocities/millan22"
LOOKUP = "millan22_thickness_lookup_shp_20220902.zip"
THICKEST_M = 3000.0
"""Glaciers outside the ice sheets stay well below: more (but below the fill values) is another unit."""

_FILL = 1e5
_MARGIN_CELLS = 2
_ROWS_AT_ONCE = 256
_WORDS = {"thickness": "thickness", "err": "error of thickness"}
_TAGS = ("glacier_id", "kind", "bounds", "tile", "url")

_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_ALLOWED_EXTENSIONS": ".tif",
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",  # a file that was replaced at the server is not mixed with the old one
    "GDAL_HTTP_MAX_RETRY": "2",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_TIMEOUT": "120",
}

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Window(Remote):
    """The part of a mosaic around one glacier; `path` is the window's in the archive, `url` the mosaic's live one.

    Attributes:
        tile: the provider's own path of the mosaic.
        glacier_id: whose window it is.
        kind: `thickness` or `err`.
        bounds: what it must reach.
    """

    tile: str
    glacier_id: str
    kind: str
    bounds: Bounds


def window_origin(origin: Origin) -> Origin:
    """The origin to fetch with what `remotes` gives."""
    return WindowOrigin(origin, deliver)


def lookup(base_url: str = BASE_URL) -> Remote:
    """The shapefile that says which mosaic lies where: the first thing to fetch, with `Origin.fetch`."""
    return Remote(PRODUCT, LOOKUP, verify_lookup, url=f"{base_url}/{LOOKUP}")


def remotes(
    origin: Origin, bounds: Mapping[str, Bounds], lookup_file: Path | None = None, base_url: str = BASE_URL
) -> list[Remote | Missing]:
    """The lookup; with the lookup at hand, the windows of each glacier.

    Args:
        origin: not asked: a mosaic that it lacks becomes `Missing` when its window is fetched.
        bounds: of each glacier, by its id in the registry.
        lookup_file: the archived lookup; None before it is there.
        base_url: live folder that the lookup's paths are relative to.

    Returns:
        Without `lookup_file` the lookup alone. With it, for each glacier and each mosaic whose footprint touches its
        bounds, a `Window` of the thickness and an optional one of its error; `Missing` (its `what` is
        `millan/windows/<glacier_id>`) for a glacier that no footprint touches.

    Raises:
        SourceError: the lookup's columns or paths are not what they should be.
    """
    import shapely

    if lookup_file is None:
        return [lookup(base_url)]
    tiles = read_lookup(lookup_file)
    found: list[Remote | Missing] = []
    for glacier_id, around in sorted(bounds.items()):
        west, south, east, north = around
        turned = shapely.box(west - 360, south, east - 360, north)  # bounds across 180 degrees go on beyond it
        touching = tiles[tiles.intersects(shapely.union(shapely.box(*around), turned))]
        if touching.empty:
            what = f"{PRODUCT.provider}/windows/{glacier_id}"
            found.append(Missing(f"no mosaic of Millan et al. (2022) touches {glacier_id}", what=what))
        for tile in touching.to_dict("records"):
            for kind in _WORDS:
                path = str(tile[kind])
                found.append(
                    Window(
                        PRODUCT,
                        f"windows/{glacier_id}/{path}",
                        verify,
                        url=f"{base_url}/{quote(path)}",
                        optional=kind == "err",
                        tile=path,
                        glacier_id=glacier_id,
                        kind=kind,
                        bounds=around,
                    )
                )
    return found


def deliver(origin: Origin, wanted: Remote, target: Path, known: SourceObject | None) -> Delivery | Unchanged | Missing:
    """Bring the lookup or a window to `target`: what `Origin.fetch` is for whole files, with the same arguments.

    A window that is held is not cut again while mosaic and bounds are the same: the mosaics carry their date in
    their names. On a local mirror the mosaic's time of change counts too.

    Returns:
        `Missing` when the origin has no such mosaic, or when it does not reach the bounds although its footprint does.

    Raises:
        SourceError: the mosaic cannot be read, is not in metres, or has several bands.
    """
    if not isinstance(wanted, Window):
        return origin.fetch(wanted, target, known)
    tile = Remote(PRODUCT, wanted.tile, verify, url=wanted.url)
    url, modified = place(origin, tile)
    asked = rounded(wanted.bounds)
    if known and (known.url, known.last_modified) == (url, modified) and known.content["bounds"] == asked:
        return Unchanged()
    if not origin.is_live:
        held = held_window(origin, wanted, wanted.bounds, target, known)
        if held is not None:
            return held
    values = wanted.glacier_id, wanted.kind, json.dumps(asked), wanted.tile, url
    tags = dict(zip(_TAGS, values, strict=True))
    reaches = from_raster(origin, tile, target, partial(_cut, bounds=wanted.bounds, tags=tags, target=target))
    if isinstance(reaches, Missing):
        return reaches
    if not reaches:
        return Missing(f"{wanted.tile} does not reach {wanted.glacier_id}", what=f"{PRODUCT.provider}/{wanted.path}")
    return Delivery(url, last_modified=modified)


def place(origin: Origin, raster: Remote) -> tuple[str, str | None]:
    """How provenance names the place of a raster, and the time of its last change where a local mirror tells it."""
    import datetime as dt

    address = _address(origin, raster)
    if address.startswith(("http://", "https://")):
        return public_url(address), None
    modified = None
    if Path(address).is_file():
        modified = dt.datetime.fromtimestamp(Path(address).stat().st_mtime, dt.UTC).isoformat(timespec="microseconds")
    return f"mirror:{raster.product.provider}/{raster.path}", modified


def from_raster(origin: Origin, raster: Remote, target: Path, use: Callable[[DatasetReader], T]) -> T | Missing:
    """Give an open raster to `use`: where it lies, by byte ranges over HTTP; else whole.

    When it cannot be read where it lies (the server knows no ranges, or is in trouble, or has no such file), the
    origin's own `fetch` decides: it tries again, says what is missing, or brings the whole file, which is used and
    removed. What came of it before a transfer broke off stays beside `target` for the next try.

    Args:
        origin: where the raster is.
        raster: which one; `path` is the provider's.
        target: file that is being made; its folder takes the whole raster meanwhile.
        use: is called a second time when the first one failed in reading.

    Raises:
        SourceError: as `Origin.fetch`, or the whole file is no readable raster.
    """
    import rasterio
    from rasterio.errors import RasterioError

    address = _address(origin, raster)
    is_web = address.startswith(("http://", "https://"))
    scratch = target.with_name(f"{target.name}.whole")
    with rasterio.Env(**_GDAL):
        if is_web or Path(address).is_file():
            try:
                with rasterio.open(f"/vsicurl/{address}" if is_web else address, driver="GTiff") as opened:
                    used = use(opened)
                Part(scratch, address).discard()  # what an earlier run left
                return used
            except RasterioError:
                pass  # the whole file tells more
        answer = origin.fetch(raster, scratch, None)
        if isinstance(answer, Missing):
            return answer
        try:
            with rasterio.open(scratch, driver="GTiff") as opened:
                return use(opened)
        except RasterioError as error:
            got = f"{describe_head(scratch)} ({str(error).replace(str(scratch), 'it').replace(scratch.name, 'it')})"
            target.unlink(missing_ok=True)
            raise _wrong("a raster cannot be read", place(origin, raster)[0], "a whole GeoTIFF", got) from error
        finally:
            scratch.unlink(missing_ok=True)


def held_window(
    origin: Origin, wanted: Remote, bounds: Bounds, target: Path, known: SourceObject | None
) -> Delivery | Unchanged | None:
    """A window that the mirror itself holds (it is an archive), if it reaches the bounds; else None."""
    import rasterio
    from rasterio.errors import RasterioError

    answer = origin.fetch(wanted, target, known)
    if isinstance(answer, Missing):
        return None
    if known and isinstance(answer, Unchanged):
        west, south, east, north = known.content["bounds"]
    else:
        try:
            with rasterio.open(target, driver="GTiff") as raster:
                west, south, east, north = json.loads(raster.tags()["bounds"])
        except (RasterioError, KeyError, ValueError):
            return answer  # no window: `verify` says so
    w, s, e, n = rounded(bounds)
    if west <= w and south <= s and east >= e and north >= n:
        return answer
    target.unlink(missing_ok=True)
    return None


def rounded(bounds: Bounds) -> list[float]:
    """Bounds as a window's tags keep them, to 1 cm."""
    return [round(float(degrees), 7) for degrees in bounds]


def verify_lookup(path: Path) -> Verified:
    """Open the lookup.

    Returns:
        Content: `kind` (lookup), `n` (mosaics).

    Raises:
        SourceError: no whole zip with a shapefile; columns, footprints or paths are not what they should be.
    """
    verify_zip(path)
    with open_zip(path) as archive:
        marked = is_synthetic(archive)
    return Verified(is_synthetic=marked, content={"kind": "lookup", "n": len(read_lookup(path))})


def read_lookup(path: Path) -> Any:
    """The mosaics: a GeoDataFrame with thickness, err (relative paths), file_id and footprints in EPSG:4326.

    Raises:
        SourceError: as `verify_lookup`.
    """
    import pyogrio

    with open_zip(path) as archive:
        members = [name for name in archive.namelist() if name.endswith(".shp")]
    if len(members) != 1:
        raise _wrong("the lookup holds not one shapefile", path.name, "one .shp", members[:20])
    try:
        # Braces: GDAL otherwise takes only paths that end in .zip, and a file that just came does not.
        tiles = pyogrio.read_dataframe(f"/vsizip/{{{path.resolve()}}}/{members[0]}")
    except pyogrio.errors.DataSourceError as error:
        raise _wrong("the lookup cannot be opened", path.name, "a shapefile", error) from error
    absent = {"thickness", "err", "file_id"} - set(tiles.columns)
    if absent or "geometry" not in tiles or tiles.empty:
        raise _wrong("the lookup lacks columns", path.name, "thickness, err, file_id, geometry", list(tiles.columns))
    if tiles.crs is not None and tiles.crs.to_epsg() != 4326:
        raise _wrong("the lookup is not in longitude and latitude", path.name, "EPSG:4326", tiles.crs)
    for column in _WORDS:
        tiles[column] = tiles[column].astype("str").str.lstrip("/")
        strange = [one for one in tiles[column] if ".." in one.split("/") or not re.fullmatch(r"\S[^\\]*\.tif", one)]
        if strange:
            raise _wrong("the lookup's paths are none", path.name, "relative paths of .tif files", strange[:20])
    return tiles[["thickness", "err", "file_id", "geometry"]]


def verify(path: Path) -> Verified:
    """Open a window.

    Returns:
        Content: `glacier_id`, `kind` (thickness or err), `tile`, `bounds` (asked for, degrees), `cell_m`, `epsg` (None
        when the CRS has no code), `ice_area_km2`, `max_m`. A window without ice is none the less one: the mosaic's
        footprint is a rectangle.

    Raises:
        SourceError: no GeoTIFF, or not the whole of it; not a window of this program; several bands; no CRS, or one
            that is not in metres; cells that are not upright squares; values above 3000 m.
    """
    with opened(path) as window:
        values, cell_area_m2, crs, _ = window.read()
        tags = {**window.raster.tags(), **window.raster.tags(1)}
    absent = [name for name in _TAGS if name not in tags]
    if absent:
        raise _wrong("a raster is not a window of a mosaic", path.name, f"the tags {', '.join(_TAGS)}", absent)
    deepest = float(values.max(initial=0))
    if deepest > THICKEST_M:
        got = f"{_WORDS[tags['kind']]} {deepest:g} m"
        raise _wrong("thicker than any glacier", path.name, f"at most {THICKEST_M:g} m", got)
    content = {
        **{name: tags[name] for name in ("glacier_id", "kind", "tile")},
        "bounds": json.loads(tags["bounds"]),
        "cell_m": float(cell_area_m2**0.5),
        "epsg": crs.to_epsg(),
        "ice_area_km2": float((values > 0).sum() * cell_area_m2 / 1e6),
        "max_m": deepest,
    }
    marked = any(SYNTHETIC in f"{name}={value}" for name, value in tags.items())
    return Verified(is_synthetic=marked, content=content)


@dataclass(frozen=True)
class OpenWindow:
    """An archived window that is open: many parts of it can be read, one after the other.

    Attributes:
        name: of the file.
        raster: the file itself.
    """

    name: str
    raster: DatasetReader

    def read(self, bounds: Bounds | None = None, step: int = 1) -> tuple[NDArray[np.float32], float, CRS, Affine]:
        """As the module's `read`; with a step, about every `step`-th cell in each direction, as larger cells."""
        from rasterio.errors import RasterioError

        raster, pixels = self.raster, None
        crs, transform, nodata = raster.crs, raster.transform, raster.nodata
        height, width = raster.shape
        if bounds is not None:
            pixels = _pixels(raster, bounds)
            if pixels is None:
                return np.zeros((0, 0), np.float32), abs(transform.a * transform.e), crs, transform
            transform, height, width = raster.window_transform(pixels), pixels.height, pixels.width
        shape = max(height // step, 1), max(width // step, 1)
        transform = transform * transform.scale(width / shape[1], height / shape[0])
        try:
            values = raster.read(1, window=pixels, out_shape=shape)
        except RasterioError as error:
            raise _cut_short(self.name, error) from error
        is_ice = np.isfinite(values) & (values > 0) & (values <= _FILL)
        if nodata is not None:
            is_ice &= values != nodata
        return np.where(is_ice, values, 0).astype(np.float32), abs(transform.a * transform.e), crs, transform


@contextmanager
def opened(path: Path) -> Iterator[OpenWindow]:
    """Open an archived window to read parts of it.

    Raises:
        SourceError: as `verify`, as far as the file's form goes.
    """
    import rasterio
    from rasterio.errors import RasterioError

    with path.open("rb") as stream:
        if stream.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise _wrong("a file is not a GeoTIFF", path.name, "a GeoTIFF", describe_head(path))
    try:
        raster = rasterio.open(path, driver="GTiff")
    except RasterioError as error:
        raise _cut_short(path.name, error) from error
    with raster:
        _check_form(raster, path.name)
        yield OpenWindow(path.name, raster)


def read(path: Path, bounds: Bounds | None = None) -> tuple[NDArray[np.float32], float, CRS, Affine]:
    """Thickness (or its error) on the mosaic's own grid.

    Args:
        path: an archived window.
        bounds: degrees; only the part around them is read (a member of an archipelago). None reads all.

    Returns:
        Metres, shape (rows, cols), float32, 0 where there is no ice, whatever the file has for it; shape (0, 0) when
        the window does not reach the bounds. Area of a cell in m2; CRS; transform of the upper left corner.

    Raises:
        SourceError: as `verify`, as far as the file's form goes.
    """
    with opened(path) as window:
        return window.read(bounds)


def _address(origin: Origin, raster: Remote) -> str:
    """Path or URL of a raster; `Origin.name` is the root of a mirror."""
    if origin.is_live:
        return raster.url or ""
    is_web = origin.name.startswith(("http://", "https://"))
    path = f"{raster.product.provider}/{raster.path}"
    return f"{origin.name}/{quote(path) if is_web else path}"


def _cut(raster: DatasetReader, bounds: Bounds, tags: Mapping[str, str], target: Path) -> bool:
    """Write the part of a mosaic around bounds, values as they are; False when it does not reach them."""
    import rasterio
    from rasterio.windows import Window as Pixels

    _check_form(raster, tags["tile"])
    pixels = _pixels(raster, bounds)
    if pixels is None:
        return False
    is_float = raster.dtypes[0].startswith("float")
    with rasterio.open(
        target, "w", driver="GTiff", width=pixels.width, height=pixels.height, count=1, dtype=raster.dtypes[0],
        crs=raster.crs, transform=raster.window_transform(pixels), nodata=raster.nodata, tiled=True,
        compress="deflate", predictor=3 if is_float else 2, sparse_ok=True, bigtiff="if_safer",
    ) as window:  # fmt: skip
        window.update_tags(**{**_worth_keeping(raster), **tags})
        for first in range(0, pixels.height, _ROWS_AT_ONCE):
            n = min(_ROWS_AT_ONCE, pixels.height - first)
            rows = raster.read(1, window=Pixels(pixels.col_off, pixels.row_off + first, pixels.width, n))
            window.write(rows, 1, window=Pixels(0, first, pixels.width, n))
    return True


def _worth_keeping(raster: DatasetReader) -> dict[str, str]:
    return {name: value for name, value in {**raster.tags(), **raster.tags(1)}.items() if name != "AREA_OR_POINT"}


def _pixels(raster: DatasetReader, bounds: Bounds) -> Pixels | None:
    """Columns and rows around bounds, a little more; None when the raster does not reach them."""
    from rasterio.errors import WindowError
    from rasterio.warp import transform_bounds
    from rasterio.windows import Window as Pixels
    from rasterio.windows import from_bounds

    around = from_bounds(*transform_bounds("EPSG:4326", raster.crs, *bounds), transform=raster.transform)
    left, top = np.floor(around.col_off) - _MARGIN_CELLS, np.floor(around.row_off) - _MARGIN_CELLS
    right = np.ceil(around.col_off + around.width) + _MARGIN_CELLS
    bottom = np.ceil(around.row_off + around.height) + _MARGIN_CELLS
    try:
        wide = Pixels(int(left), int(top), int(right - left), int(bottom - top))
        return wide.intersection(Pixels(0, 0, raster.width, raster.height))
    except WindowError:
        return None


def _check_form(raster: DatasetReader, where: str) -> None:
    crs, transform = raster.crs, raster.transform
    if raster.count != 1:
        raise _wrong("a thickness raster has several bands", where, "1 band", f"{raster.count} bands")
    if crs is None:
        raise _wrong("a thickness raster does not say where it is", where, "a CRS (UTM)", "none")
    if not crs.is_projected or crs.linear_units_factor[1] != 1.0:
        raise _wrong("a thickness raster is not in metres", where, "a CRS in metres (UTM)", crs.to_string())
    if transform.b or transform.d or abs(abs(transform.a) - abs(transform.e)) > 1e-3:
        raise _wrong("the cells are not upright squares", where, "square cells", tuple(transform)[:6])


def _cut_short(name: str, error: Exception) -> SourceError:
    return _wrong("a GeoTIFF cannot be read to its end", name, "a whole file", error)


def _wrong(problem: str, where: str, expected: object, got: object) -> SourceError:
    return SourceError(
        problem,
        where=where,
        expected=expected,
        got=got,
        todo="fetch it again; a mirror must hold the files as the provider gives them",
    )
