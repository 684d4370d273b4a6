"""Landsat Collection 2 Level-2 surface reflectance through STAC: find late-summer scenes, keep windows of them.

A catalogue is a STAC API (live: Planetary Computer, which signs addresses for anybody), or a mirror's folder
`landsat/` with STAC items in `landsat/items/*.json` and rasters where the items' assets point. All are searched by the
same selection. What is kept of a scene is one Cloud Optimized GeoTIFF per glacier and inventory with six bands on the
scene's own 30 m grid (`landsat/windows/1985/taku/LT05_...tif`).

Windows are read with rasterio: six bands of one item share one grid, so nothing has to be warped or mosaicked, and
odc-stac loads cubes of many items on a grid of its own, and its dask makes pandera import xarray and scipy with every
load of the definitions.

Only scenes with a short-wave infrared band are asked for (TM, ETM+, OLI): without one, ice is not told from cloud.
Not here: what is ice (`science.clean_ice`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from arctic_assets.errors import SourceError
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
from arctic_assets.sources.http import RETRIED, Client, Page, TryAgain, public_url
from arctic_assets.sources.zips import describe_head

if TYPE_CHECKING:
    import pystac
    from affine import Affine
    from numpy.typing import NDArray
    from pystac_client.stac_api_io import StacApiIO
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader
    from rasterio.windows import Window
    from shapely.geometry.base import BaseGeometry

Bounds = tuple[float, float, float, float]
"""West, south, east, north in degrees."""

PRODUCT = Product(
    provider="landsat",
    name="Landsat 4-9 Collection 2 Level-2 surface reflectance",
    version="Collection 2",
    licence="public domain (U.S. Geological Survey)",
    citation=(
        "Landsat 4-5 TM, Landsat 7 ETM+ and Landsat 8-9 OLI/TIRS Collection 2 Level-2 Science Products courtesy of the "
        "U.S. Geological Survey, https://doi.org/10.5066/P9IAXOVV, https://doi.org/10.5066/P9C7I13B, "
        "https://doi.org/10.5066/P9OGBGM6; accessed through the Microsoft Planetary Computer"
    ),
    doi="10.5066/P9OGBGM6",
    homepage="https://www.usgs.gov/landsat-missions/landsat-collection-2-level-2-science-products",
    cadence="a scene every 16 days per satellite",
    latency="some weeks",
)

PLANETARY_COMPUTER = "https://planetarycomputer.microsoft.com/api/stac/v1"
COLLECTION = "landsat-c2-l2"
SEASON = ((7, 15), (9, 20))
"""First and last month and day: the snow lies highest, and the sun still stands high enough."""
YEARS_APART = 2
"""Scenes may be so many years before or after the nominal year of an inventory."""
MARGIN_M = 1500.0
"""A window reaches so far beyond the outline: ice may have been larger by the 500 m that mapping allows."""
WIDEST_KM = 200.0
"""A Landsat scene is 185 km wide: no glacier of an inventory needs more, an archipelago has to be cut first."""
BANDS = ("blue", "green", "red", "nir", "swir", "qa")
"""Our names of the bands, in the order of a window. `swir` is the one near 1.6 micrometres."""
SCALE, OFFSET = 2.75e-05, -0.2
"""Surface reflectance = DN * SCALE + OFFSET."""
CELL_M = 30.0

_ASSETS = {"blue": "blue", "green": "green", "red": "red", "nir": "nir08", "swir": "swir16", "qa": "qa_pixel"}
_SENSORS = {"landsat-4": "TM", "landsat-5": "TM", "landsat-7": "ETM+", "landsat-8": "OLI", "landsat-9": "OLI"}
_SENSOR_PRODUCTS = {
    "TM": ("Landsat 4-5 TM Collection 2 Level-2", "10.5066/P9IAXOVV"),
    "ETM+": ("Landsat 7 ETM+ Collection 2 Level-2", "10.5066/P9C7I13B"),
    "OLI": ("Landsat 8-9 OLI/TIRS Collection 2 Level-2", "10.5066/P9OGBGM6"),
}
_SLC_FAILED = dt.date(2003, 5, 31)
_FILL, _QA_FILL = 0, 1
_CLOUD_BITS = 0b11110  # dilated cloud, cirrus, cloud, cloud shadow
_BEST_DAY = (8, 25)  # about the least snow of an Arctic summer
_GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/",  # a file that was replaced at the server is not mixed with the old one
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_TIMEOUT": "60",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "1",
}


@dataclass(frozen=True)
class Item:
    """A scene as its STAC item describes it, and what was found over the glacier's box.

    Attributes:
        item_id: `LC08_L2SP_047027_20201204_02_T1`.
        date: day of the image.
        sensor: TM, ETM+ or OLI.
        platform: `landsat-5`.
        category: T1 (geometric error below 12 m) or T2.
        epsg: UTM zone of the scene's grid, or None when the item does not say.
        cloud_pct: cloud over the whole scene as the provider states it, percent.
        is_slc_off: Landsat 7 without scan line corrector: wedges without data.
        hrefs: address of each of `BANDS`, unsigned.
        url: address of the item.
        stamp: what changes when the provider makes the scene anew.
        is_signed: its addresses take a Planetary Computer signature, which is put on when they are read.
        is_synthetic: the item says that it is of the SYNTHETIC sample.
        covered_share: share of the box's cells with data, 0 to 1.
        cloud_share: share of these under cloud or its shadow by `qa_pixel`, 0 to 1; over ice it is often too high.
    """

    item_id: str
    date: dt.date
    sensor: str
    platform: str
    category: str
    epsg: int | None
    cloud_pct: float
    is_slc_off: bool
    hrefs: Mapping[str, str]
    url: str
    stamp: str
    is_signed: bool
    is_synthetic: bool
    covered_share: float = float("nan")
    cloud_share: float = float("nan")


@dataclass(frozen=True)
class Scene:
    """A window as it is mapped on.

    Attributes:
        bands: surface reflectance by `BANDS` without `qa`, shape (rows, cols), float32, NaN where there is no data.
        qa: `qa_pixel`, uint16, same shape.
        transform: of the upper left corner.
        crs: UTM zone.
        item_id: scene.
        date: day of the image.
        sensor: TM, ETM+ or OLI.
        is_slc_off: Landsat 7 without scan line corrector.
    """

    bands: Mapping[str, NDArray[np.float32]]
    qa: NDArray[np.uint16]
    transform: Affine
    crs: CRS
    item_id: str
    date: dt.date
    sensor: str
    is_slc_off: bool


def product_of(item: Item) -> Product:
    """The product with the name, DOI and citation of the item's sensor."""
    name, doi = _SENSOR_PRODUCTS[item.sensor]
    citation = f"{name} courtesy of the U.S. Geological Survey, https://doi.org/{doi}"
    if item.is_signed:
        citation += "; accessed through the Microsoft Planetary Computer"
    return replace(PRODUCT, name=f"{name} surface reflectance", doi=doi, citation=citation)


def endpoint_of(settings: Settings) -> str:
    """The catalogue that belongs to a mirror: its folder `landsat`, or Planetary Computer for `live`."""
    match settings.mirror_kind:
        case "live":
            return PLANETARY_COMPUTER
        case "sample":
            return str(settings.sample / PRODUCT.provider)
        case _:
            return f"{settings.mirror.rstrip('/')}/{PRODUCT.provider}"


def box_of(outline: BaseGeometry, margin_m: float = MARGIN_M) -> Bounds:
    """The box of an outline in EPSG:4326 with a margin, degrees."""
    west, south, east, north = outline.bounds
    per_degree = 111_000.0
    dy = margin_m / per_degree
    dx = dy / max(float(np.cos(np.radians(max(abs(south), abs(north)) + dy))), 0.05)
    return west - dx, max(south - dy, -90.0), east + dx, min(north + dy, 90.0)


def folder_of(inventory: str, glacier_id: str) -> str:
    """Folder of a glacier's windows in archive and mirror: `windows/1985/taku`."""
    return f"windows/{inventory}/{glacier_id}"


def chosen_for(path: str) -> tuple[str, str]:
    """Glacier and inventory of a window's path.

    >>> chosen_for("windows/1985/taku/LT05_L2SP_058019_19850815_02_T1.tif")
    ('taku', '1985')
    """
    _, inventory, glacier_id, _ = path.split("/")
    return glacier_id, inventory


def path_of(inventory: str, glacier_id: str, item: Item) -> str:
    """Path of a window below the provider's folder."""
    return f"{folder_of(inventory, glacier_id)}/{item.item_id}.tif"


def kept(origin: Origin, inventory: str, glacier_id: str) -> list[Remote]:
    """Windows that a mirror already holds, as an archive does; none live. They go before a search."""
    if origin.is_live:
        return []
    folder = folder_of(inventory, glacier_id)
    names = [name for name in origin.names(PRODUCT.provider, folder) if name.endswith(".tif")]
    return [Remote(PRODUCT, f"{folder}/{name}", verify) for name in names]


# --- finding scenes --------------------------------------------------------------------------------------------------


def search(
    endpoint: str,
    bounds: Bounds,
    inventory: str,
    *,
    collection: str = COLLECTION,
    keep: int = 3,
    look_at: int = 8,
    most_cloud_pct: float = 70.0,
) -> list[Item] | Missing:
    """The best late-summer scenes over a box, best first.

    Candidates are Level-2 scenes of TM, ETM+ and OLI of 15 July to 20 September within two years of the nominal year.
    The `look_at` most promising by footprint, scene cloud and year are looked at: their `qa_pixel` over the box is
    read. Chosen are those with most clear data there, near the year, and near the end of August.

    Args:
        endpoint: URL of a STAC API, or directory or URL of a mirror's folder `landsat`.
        bounds: west, south, east, north, degrees.
        inventory: nominal year.
        collection: name of the collection at the STAC API.
        keep: how many scenes at most.
        look_at: how many candidates are looked at.
        most_cloud_pct: scenes with more cloud as a whole are left out.

    Raises:
        SourceError: the catalogue cannot be read or answers wrongly, or the inventory is no year.
    """
    if not re.fullmatch(r"\d{4}", inventory):
        raise SourceError(
            "an inventory without a year has no scenes",
            where="landsat.search",
            expected="a nominal year such as 1985",
            got=inventory,
            todo="the reference rgi7 comes from RGI, not from Landsat",
        )
    year = int(inventory)
    span = f"15 Jul - 20 Sep {year - YEARS_APART}-{year + YEARS_APART}"
    if (wide := _extent_km(bounds)) > WIDEST_KM:
        return Missing(
            f"no scene: a box {wide:.0f} km wide is more than a Landsat scene holds ({WIDEST_KM:.0f} km)", what=span
        )
    found = _catalogued(endpoint, bounds, year, collection, most_cloud_pct)
    if isinstance(found, Missing):
        return found
    is_signed = _is_planetary_computer(endpoint)
    candidates = [
        (item, share)
        for one in found
        # what `facts` says of an item costs most
        if (one.datetime is None or _in_season(one.datetime.date(), year))
        and (share := _covered(one, bounds)) > 0
        and (item := facts(one, is_signed)) is not None
        and item.cloud_pct <= most_cloud_pct
    ]
    if not candidates:
        return Missing(
            f"no Landsat 4-9 Level-2 scene of {span} over the glacier with at most {most_cloud_pct:g} % cloud",
            what=span,
        )
    candidates.sort(key=lambda c: (-c[1] + c[0].cloud_pct / 100 + _apart(c[0], year), c[0].item_id))
    looked: list[Item] = []
    lacking: list[Missing] = []
    for item, _ in candidates[:look_at]:
        seen = _looked_at(item, bounds)
        if isinstance(seen, Missing):
            lacking.append(seen)
        else:
            looked.append(seen)
    if not looked:
        return Missing(f"no scene of {span} has data over the glacier: {lacking[0].reason}", what=span)
    looked.sort(key=lambda i: (1 - i.covered_share * (1 - i.cloud_share) + _apart(i, year), i.item_id))
    return looked[:keep]


def facts(item: pystac.Item, is_signed: bool = False) -> Item | None:
    """What matters of a STAC item; None for one that is not Level-2 of TM, ETM+ or OLI.

    Raises:
        SourceError: the item has no date or lacks a band.
    """
    properties = item.properties
    platform = str(properties.get("platform", "")).lower().replace("_", "-")
    correction = str(properties.get("landsat:correction", item.id.split("_")[1] if "_" in item.id else ""))
    sensor = _SENSORS.get(platform)
    if sensor is None or not correction.startswith("L2"):
        return None
    if item.datetime is None:
        raise _wrong("a Landsat item has no date", item.id, "properties.datetime", "none")
    code = properties.get("proj:code") or properties.get("proj:epsg")
    match = re.fullmatch(r"(?:EPSG:)?(\d+)", str(code))
    day = item.datetime.date()
    return Item(
        item_id=item.id,
        date=day,
        sensor=sensor,
        platform=platform,
        category=str(properties.get("landsat:collection_category", "")),
        epsg=int(match[1]) if match else None,
        cloud_pct=float(properties.get("eo:cloud_cover", 0.0)),
        is_slc_off=sensor == "ETM+" and day > _SLC_FAILED,
        hrefs=bands(item),
        url=public_url(item.get_self_href() or "") if (item.get_self_href() or "").startswith("http") else "",
        stamp=str(properties.get("updated") or properties.get("created") or ""),
        is_signed=is_signed,
        is_synthetic=SYNTHETIC in json.dumps(properties, default=str),
    )


def bands(item: pystac.Item) -> dict[str, str]:
    """Address of each of `BANDS`, by our names.

    The assets are named by colour at all providers, so that the sensors' band numbers (red is B3 of TM and B4 of OLI)
    do not matter; where an asset states its colour or its band number, it must be the right one.

    Raises:
        SourceError: an asset is missing or is another band than its name says.
    """
    missing = [key for key in _ASSETS.values() if key not in item.assets]
    if missing:
        raise _wrong("a Landsat item lacks bands", item.id, ", ".join(_ASSETS.values()), f"no {', '.join(missing)}")
    sensor = _SENSORS.get(str(item.properties.get("platform", "")).lower(), "")
    numbers = dict(zip(BANDS, (2, 3, 4, 5, 6) if sensor == "OLI" else (1, 2, 3, 4, 5), strict=False))
    hrefs = {}
    for name, key in _ASSETS.items():
        asset = item.assets[key]
        href = asset.get_absolute_href() or asset.href
        stated = [
            str(band.get("common_name") or band.get("eo:common_name"))
            for band in [*asset.extra_fields.get("eo:bands", []), *asset.extra_fields.get("bands", [])]
            if band.get("common_name") or band.get("eo:common_name")
        ]
        number = re.search(r"_SR_B(\d+)\.TIF$", urlsplit(href).path, re.IGNORECASE)
        if any(one != key for one in stated) or (number and int(number[1]) != numbers.get(name)):
            got = f"{Path(urlsplit(href).path).name} {stated}"
            raise _wrong(f"the asset {key} of a Landsat item is another band", item.id, key, got)
        hrefs[name] = href
    return hrefs


def _catalogued(
    endpoint: str, bounds: Bounds, year: int, collection: str, most_cloud_pct: float
) -> list[pystac.Item] | Missing:
    """Items that a catalogue has over the box in the seasons around a year (a folder: all it has)."""
    if not re.match(r"https?://", endpoint):
        return _of_directory(Path(endpoint))
    if not _is_planetary_computer(endpoint):
        page = Client().page(endpoint)
        if page is None:
            return Missing(f"{public_url(endpoint)} does not exist: the mirror has no Landsat catalogue")
        if page.media_type == "text/html":
            return _of_pages(page)
    return _of_api(endpoint, bounds, year, collection, most_cloud_pct)


def _of_api(endpoint: str, bounds: Bounds, year: int, collection: str, most_cloud_pct: float) -> list[pystac.Item]:
    import pystac_client
    import requests
    from pystac import STACError, STACTypeError
    from pystac_client.errors import ClientTypeError
    from pystac_client.exceptions import APIError

    wrong = (APIError, ClientTypeError, STACError, STACTypeError, requests.RequestException)
    problem = ""
    try:
        api = pystac_client.Client.open(endpoint, stac_io=_patient_io())
        query = {"eo:cloud_cover": {"lte": most_cloud_pct}} if api.conforms_to("QUERY") else None
        found: dict[str, pystac.Item] = {}
        for summer in range(year - YEARS_APART, year + YEARS_APART + 1):
            first, last = (dt.date(summer, *day) for day in SEASON)
            asked = api.search(
                collections=[collection], bbox=list(bounds), datetime=f"{first}/{last}", query=query, limit=250
            )
            found |= {item.id: item for item in asked.items()}
        return [found[item_id] for item_id in sorted(found)]
    except (*wrong, ValueError, KeyError, TypeError) as error:
        problem = f"{type(error).__name__}: {re.sub(r'[?].*', '', str(error))[:300]}"
    raise SourceError(
        "a STAC catalogue cannot be searched",
        where=public_url(endpoint),
        expected="a STAC API with item search",
        got=problem,
        todo="open the address in a browser, and run again later",
    )


def _patient_io() -> StacApiIO:
    """How pystac-client asks: as patient as our other requests. Its own retries do not look at what is answered."""
    from pystac_client.exceptions import APIError
    from pystac_client.stac_api_io import StacApiIO

    client = Client()

    class Patient(StacApiIO):
        def request(self, href: str, *args: Any, **options: Any) -> str:
            def once() -> str:
                try:
                    return super(Patient, self).request(href, *args, **options)
                except APIError as error:
                    failure = error
                status = getattr(failure, "status_code", None)  # none when no answer came
                if status is None or status in RETRIED:
                    raise TryAgain(f"HTTP {status}" if status else "the connection broke off")
                raise failure

            return client.persist(once, href)

    return Patient(timeout=client.timeout_s, max_retries=None)


def _of_directory(folder: Path) -> list[pystac.Item] | Missing:
    place = folder / "items"
    if not place.is_dir():
        return Missing(f"no Landsat scene: the mirror has no folder {PRODUCT.provider}/items with STAC items")
    paths = sorted(path for path in place.iterdir() if path.suffix == ".json" and not path.name.startswith("."))
    return list(_items_on_disk(tuple((str(path), path.stat().st_mtime_ns) for path in paths)))


@lru_cache(maxsize=4)
def _items_on_disk(stamped: tuple[tuple[str, int], ...]) -> tuple[pystac.Item, ...]:
    """Read once per process as long as no file changes: every glacier and inventory asks for all of them."""
    return tuple(_item(Path(path).read_text(encoding="utf-8"), path) for path, _ in stamped)


def _of_pages(top: Page) -> list[pystac.Item] | Missing:
    from arctic_assets.sources.origins import names_on_page

    names_on_page(top)  # raises for a login page in place of a catalogue
    place = f"{top.url.rstrip('/')}/items/"
    page = Client().page(place)
    if page is None:
        return Missing(f"{public_url(place)} does not exist: the mirror has no STAC items of scenes")
    names = [name for name in names_on_page(page) if name.endswith(".json")]
    return list(_items_on_web(place, tuple(names)))


@lru_cache(maxsize=4)
def _items_on_web(place: str, names: tuple[str, ...]) -> tuple[pystac.Item, ...]:
    """Read once per process: an item's id is that of one scene for good."""
    pages = ((f"{place}{name}", Client().page(f"{place}{name}")) for name in names)
    return tuple(_item(page.text, url) for url, page in pages if page is not None)


def _item(text: str, href: str) -> pystac.Item:
    import pystac

    try:
        item = pystac.Item.from_dict(json.loads(text), href=href)
    except (ValueError, KeyError, TypeError, AttributeError, pystac.STACError) as error:
        mirrored = f"mirror:{PRODUCT.provider}/items/{Path(href).name}"
        where = public_url(href) if href.startswith("http") else mirrored
        raise _wrong("a file is no STAC item", where, "a GeoJSON Feature of STAC 1.x", error) from error
    item.set_self_href(href)
    return item


def _in_season(day: dt.date, year: int) -> bool:
    return abs(day.year - year) <= YEARS_APART and SEASON[0] <= (day.month, day.day) <= SEASON[1]


def _apart(item: Item, year: int) -> float:
    """What a scene's date and kind cost, in shares of the box: a year as much as 5 % of it under cloud."""
    days = abs((item.date - dt.date(item.date.year, *_BEST_DAY)).days)
    return 0.05 * abs(item.date.year - year) + 0.003 * days + 0.1 * item.is_slc_off + 0.05 * (item.category != "T1")


def _covered(item: pystac.Item, bounds: Bounds) -> float:
    """Share of the box that the footprint covers, in degrees."""
    import shapely

    box = shapely.box(*bounds)
    geometry = item.geometry
    footprint = shapely.box(*(item.bbox or bounds)) if geometry is None else shapely.from_geojson(json.dumps(geometry))
    return float(shapely.make_valid(footprint).intersection(box).area / box.area)


def _extent_km(bounds: Bounds) -> float:
    west, south, east, north = bounds
    nearest = min(abs(south), abs(north)) if south * north > 0 else 0.0
    return float(max((east - west) * 111.3 * np.cos(np.radians(nearest)), (north - south) * 111.3))


def _is_planetary_computer(endpoint: str) -> bool:
    return urlsplit(endpoint).hostname == urlsplit(PLANETARY_COMPUTER).hostname


# --- windows ---------------------------------------------------------------------------------------------------------


def fetch_window(
    item: Item, bounds: Bounds, target: Path, known: SourceObject | None = None
) -> Delivery | Unchanged | Missing:
    """Read the six bands over a box and write them as one Cloud Optimized GeoTIFF on the scene's own grid.

    Cells of the box beyond the scene are fill (0; in `qa` 1).

    Args:
        item: the scene.
        bounds: west, south, east, north, degrees.
        target: file to write.
        known: the window we hold: `Unchanged` when the provider has not made the scene anew and the box is the same.

    Raises:
        SourceError: a raster is there but cannot be read, or the bands do not lie on one grid of 30 m.
    """
    name = Path(urlsplit(item.hrefs["qa"]).path).name
    version = hashlib.sha256(repr((item.item_id, item.stamp, name, bounds)).encode()).hexdigest()[:20]
    if known and known.etag == version:
        return Unchanged()
    layers: list[NDArray[np.uint16]] = []
    grid: tuple[Any, Any] | None = None
    is_synthetic = item.is_synthetic
    for band in BANDS:
        with _opened(item, band) as raster:
            if isinstance(raster, Missing):
                return raster
            values = _cells(raster, bounds, _QA_FILL if band == "qa" else _FILL, item)
            is_synthetic |= any(SYNTHETIC in str(value) for value in raster.tags().values())
        if values is None:
            return Missing(f"the scene {item.item_id} does not reach the glacier", what=item.item_id)
        cells, transform, crs = values
        grid = grid or (transform, crs)
        if grid != (transform, crs) or (layers and cells.shape != layers[0].shape):
            raise _wrong("the bands of a scene lie on different grids", item.item_id, grid, f"{band}: {transform}")
        layers.append(cells)
    covered, cloud = _shares(layers[-1])
    if not covered or not layers[0].any():
        return Missing(f"the scene {item.item_id} has no data over the glacier", what=item.item_id)
    assert grid is not None
    tags = {
        "ITEM_ID": item.item_id,
        "DATE": item.date.isoformat(),
        "SENSOR": item.sensor,
        "PLATFORM": item.platform,
        "CLOUD_SHARE": f"{cloud:.4f}",
        "COVERED_SHARE": f"{covered:.4f}",
        "SLC_OFF": str(item.is_slc_off).lower(),
        "TIFFTAG_IMAGEDESCRIPTION": (f"{SYNTHETIC}: " if is_synthetic else "") + product_of(item).citation,
    }
    _write(target, np.stack(layers), *grid, tags)
    return Delivery(_address(item), etag=version)


def verify(path: Path) -> Verified:
    """Open a window.

    Returns:
        Content: `item_id`, `date`, `sensor`, `platform`, `cloud_share`, `covered_share`, `is_slc_off`, `epsg`.

    Raises:
        SourceError: no GeoTIFF or not the whole of it, other bands than ours, not on a UTM grid of 30 m, no tags of a
            scene, or no data.
    """
    layers, transform, crs, tags = _read(path, None)
    lacking = [tag for tag in ("ITEM_ID", "DATE", "SENSOR", "PLATFORM", "CLOUD_SHARE", "SLC_OFF") if tag not in tags]
    if lacking:
        raise _wrong("a window does not say of which scene it is", path.name, "tags of a scene", f"no {lacking}")
    if abs(transform.a - CELL_M) > 1e-6 or abs(transform.e + CELL_M) > 1e-6 or transform.b or transform.d:
        raise _wrong("a window is not on a grid of 30 m", path.name, "upright cells of 30 m", tuple(transform)[:6])
    if not layers[0].any():
        raise _wrong("a window holds no data", path.name, "cells with reflectance", "fill everywhere")
    content = {
        "item_id": tags["ITEM_ID"],
        "date": tags["DATE"],
        "sensor": tags["SENSOR"],
        "platform": tags["PLATFORM"],
        "cloud_share": float(tags["CLOUD_SHARE"]),
        "covered_share": float(tags.get("COVERED_SHARE", "nan")),
        "is_slc_off": tags["SLC_OFF"] == "true",
        "epsg": crs.to_epsg(),
    }
    return Verified(is_synthetic=any(SYNTHETIC in value for value in tags.values()), content=content)


def read(path: Path, like: Scene | None = None) -> Scene:
    """A window as surface reflectance.

    Args:
        path: window as `fetch_window` writes it.
        like: put it on the grid of this scene (nearest cell): scenes of one glacier may come in two UTM zones.

    Raises:
        SourceError: as `verify`, as far as the file's form goes.
    """
    layers, transform, crs, tags = _read(path, like)
    reflectance = {}
    for name, cells in zip(BANDS[:-1], layers[:-1], strict=True):
        band = cells * np.float32(SCALE)
        band += np.float32(OFFSET)
        band[cells == _FILL] = np.nan
        reflectance[name] = band
    return Scene(
        bands=reflectance,
        qa=np.where(layers[-1] == 0, np.uint16(_QA_FILL), layers[-1]),
        transform=transform,
        crs=crs,
        item_id=tags["ITEM_ID"],
        date=dt.date.fromisoformat(tags["DATE"]),
        sensor=tags["SENSOR"],
        is_slc_off=tags["SLC_OFF"] == "true",
    )


def _looked_at(item: Item, bounds: Bounds) -> Item | Missing:
    """The item with what `qa_pixel` says of the box."""
    with _opened(item, "qa") as raster:
        if isinstance(raster, Missing):
            return raster
        values = _cells(raster, bounds, _QA_FILL, item)
    covered, cloud = _shares(values[0]) if values else (0.0, 0.0)
    if not covered:
        return Missing(f"the scene {item.item_id} has no data over the glacier", what=item.item_id)
    return replace(item, covered_share=covered, cloud_share=cloud)


def _shares(qa: NDArray[np.uint16]) -> tuple[float, float]:
    """Share of cells with data, and of these under cloud or its shadow."""
    has_data = (qa & 1) == 0
    n = int(has_data.sum())
    return n / qa.size, float(((qa & _CLOUD_BITS) != 0)[has_data].mean()) if n else 0.0


@contextmanager
def _opened(item: Item, band: str) -> Iterator[DatasetReader | Missing]:
    """A band's raster; `Missing` when the provider has none. No signed address gets into a message."""
    import rasterio

    href = item.hrefs[band]
    where = f"{item.item_id}, {Path(urlsplit(href).path).name}"
    is_open = False
    try:
        with rasterio.Env(**_GDAL), rasterio.open(_signed(item, href)) as raster:
            is_open = True
            yield raster
        return
    except rasterio.errors.RasterioError as error:
        problem = f"{error} {error.__cause__ or ''}"
    status = re.search(r"HTTP (?:error|response) code\D{0,5}(\d{3})", problem)
    code = int(status[1]) if status else None
    if not is_open and (code in (404, 410) or (code is None and re.search(r"No such file|does not exist", problem))):
        yield Missing(f"the catalogue names {where}, but it is not there", what=item.item_id)
        return
    if href.startswith("http"):
        Client().marks(_signed(item, href))  # a server in trouble says so itself, and better
    raise SourceError(
        "a raster of a scene cannot be read",
        where=f"{item.item_id}, {public_url(href) if href.startswith('http') else href}",
        expected="a GeoTIFF that can be read by windows",
        got=f"HTTP {code}" if code else re.sub(r"[?]\S+|/vsicurl/", "", problem)[:300],
        todo="run again later; if it stays, the file is damaged at the provider",
    )


def _signed(item: Item, href: str) -> str:
    """The address to read from. Planetary Computer's tokens last for minutes, and are asked for when needed."""
    if not item.is_signed:
        return href
    import planetary_computer  # type: ignore[import-untyped]

    return str(planetary_computer.sign(href))


def _cells(
    raster: DatasetReader, bounds: Bounds, fill: int, item: Item
) -> tuple[NDArray[np.uint16], Affine, CRS] | None:
    """Cells of the box, on the raster's grid; those beyond it are fill. None when the raster lies elsewhere."""
    from rasterio.warp import transform_bounds
    from rasterio.windows import Window

    if raster.crs is None or not raster.crs.is_projected or raster.dtypes[0] != "uint16":
        raise _wrong(
            "a raster of a scene is not a Landsat Level-2 band",
            item.item_id,
            "uint16 in a UTM zone",
            f"{raster.dtypes[0]}, {raster.crs}",
        )
    inverse = ~raster.transform
    west, south, east, north = transform_bounds("EPSG:4326", raster.crs, *bounds)
    (left, top), (right, bottom) = inverse @ (west, north), inverse @ (east, south)
    col, row = int(np.floor(left)), int(np.floor(top))
    wanted = Window(col, row, int(np.ceil(right)) - col, int(np.ceil(bottom)) - row)
    there = _overlap(wanted, raster)
    if there is None:
        return None
    cells = np.full((wanted.height, wanted.width), fill, np.uint16)
    row_off, col_off = there.row_off - row, there.col_off - col
    cells[row_off : row_off + there.height, col_off : col_off + there.width] = raster.read(1, window=there)
    return cells, raster.window_transform(wanted), raster.crs


def _overlap(wanted: Window, raster: DatasetReader) -> Window | None:
    from rasterio.windows import Window

    col, row = max(wanted.col_off, 0), max(wanted.row_off, 0)
    width = min(wanted.col_off + wanted.width, raster.width) - col
    height = min(wanted.row_off + wanted.height, raster.height) - row
    return Window(col, row, width, height) if width > 0 and height > 0 else None


def _write(target: Path, layers: NDArray[np.uint16], transform: Affine, crs: CRS, tags: Mapping[str, str]) -> None:
    import rasterio
    from rasterio.shutil import copy

    count, height, width = layers.shape
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=count, height=height, width=width, dtype="uint16", nodata=_FILL,
            crs=crs, transform=transform,
        ) as raster:  # fmt: skip
            raster.write(layers)
            raster.update_tags(**tags)
            for i, name in enumerate(BANDS, start=1):
                raster.set_band_description(i, name)
        copy(
            memory.name, target, driver="COG", compress="ZSTD", level=1, predictor="YES", overviews="NONE",
            interleave="BAND",
        )  # fmt: skip


def _read(path: Path, like: Scene | None) -> tuple[NDArray[np.uint16], Affine, CRS, dict[str, str]]:
    """The six layers of a window, shape (6, rows, cols), their grid, and the tags."""
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.vrt import WarpedVRT

    with path.open("rb") as stream:
        if stream.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise _wrong("a file is not a GeoTIFF", path.name, "a GeoTIFF", describe_head(path))
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            tags = raster.tags()
            if tuple(raster.descriptions) != BANDS or set(raster.dtypes) != {"uint16"}:
                got = f"{raster.descriptions} of {sorted(set(raster.dtypes))}"
                raise _wrong("a window has other bands", path.name, f"{BANDS} of uint16", got)
            if raster.crs is None or not raster.crs.is_projected or raster.crs.linear_units_factor[1] != 1.0:
                raise _wrong("a window is not in metres", path.name, "a UTM zone", raster.crs)
            shape = None if like is None else like.qa.shape
            if like is None or (raster.crs, raster.transform, raster.shape) == (like.crs, like.transform, shape):
                return raster.read(), raster.transform, raster.crs, tags
            with WarpedVRT(
                raster, crs=like.crs, transform=like.transform, height=like.qa.shape[0], width=like.qa.shape[1],
                resampling=Resampling.nearest,
            ) as warped:  # fmt: skip
                return warped.read(), like.transform, like.crs, tags
    except rasterio.errors.RasterioError as error:
        raise _wrong("a GeoTIFF cannot be read to its end", path.name, "a whole file", error) from error


def _address(item: Item) -> str:
    """Where the scene is, for the records: the same on every machine for a mirror."""
    if item.url:
        return item.url
    href = item.hrefs["red"]
    return public_url(href) if href.startswith("http") else f"mirror:{PRODUCT.provider}/items/{item.item_id}.json"


def _wrong(problem: str, where: Sequence[object] | str, expected: object, got: object) -> SourceError:
    return SourceError(
        problem,
        where=where,
        expected=expected,
        got=got,
        todo="fetch it again; a mirror must hold items and rasters as the provider gives them",
    )
