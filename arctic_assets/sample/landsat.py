"""Landsat Collection 2 Level-2: STAC items and the six rasters of each scene, cut to the surroundings of a glacier.

Here: late-summer scenes about 1985, 1995, 2005, 2015 and 2024 with glaciers whose termini retreat by a known distance.
What the real archive does is in it: TM, ETM+ without scan line corrector in 2005, OLI; cloud, its shadow, ice that
`qa_pixel` takes for cloud, ice in the shadow of mountains, the sea before a marine terminus, a tongue under debris,
seasonal snow that a second scene does not have. The archipelago has no scenes: at 30 m it would be larger than all
the rest of the sample.

Retreat is a distance d(date), zero when the RGI outline was drawn: near its terminus the outline is moved inwards by
d (outwards when d is negative), all else stays.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from arctic_assets.glaciers import Glacier
from arctic_assets.provenance import SYNTHETIC
from arctic_assets.sample.common import NOTICE, generator
from arctic_assets.sample.rgi7 import Landscape, utm_zone
from arctic_assets.science.geometry import geodesic_area_km2

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio import Affine

    Classes = NDArray[np.uint8]

SENSORS = {
    "1985": ("landsat-5", "LT05", "tm"),
    "1995": ("landsat-5", "LT05", "tm"),
    "2005": ("landsat-7", "LE07", "etm"),
    "2015": ("landsat-8", "LC08", "oli-tirs"),
    "2024": ("landsat-9", "LC09", "oli-tirs"),
}
"""Satellite, beginning of a product's name and folder by inventory."""
RGI_YEAR = 2000.5
"""When the terminus lay where the RGI outlines of the sample have it."""
CELL_M = 30
SURROUNDINGS_M = 900.0
"""A scene holds data so far around the glacier; beyond it is fill, which takes no room in a file."""
_TWICE = 2
"""So many glaciers, the smallest, have a second scene per inventory."""

_DOIS = {"tm": "10.5066/P9IAXOVV", "etm": "10.5066/P9C7I13B", "oli-tirs": "10.5066/P9OGBGM6"}
_INSTRUMENTS = {"tm": ["tm"], "etm": ["etm+"], "oli-tirs": ["oli", "tirs"]}
_BAND_KEYS = ("blue", "green", "red", "nir08", "swir16")
_BAND_NUMBERS = {"tm": (1, 2, 3, 4, 5), "etm": (1, 2, 3, 4, 5), "oli-tirs": (2, 3, 4, 5, 6)}

(_NONE, _ROCK, _TUNDRA, _WATER, _ICE, _SNOW, _DIM_ICE, _DIM_ROCK, _DEBRIS, _CLOUD, _SHADE, _ODD_ICE) = range(12)
#: Surface reflectance of each class in blue, green, red, NIR, SWIR.
_REFLECTANCE = {
    _ROCK: (0.12, 0.14, 0.17, 0.20, 0.24),
    _TUNDRA: (0.04, 0.07, 0.05, 0.30, 0.17),
    _WATER: (0.07, 0.06, 0.03, 0.01, 0.005),
    _ICE: (0.55, 0.55, 0.50, 0.40, 0.05),
    _SNOW: (0.87, 0.86, 0.84, 0.76, 0.09),
    _DIM_ICE: (0.12, 0.10, 0.08, 0.05, -0.005),
    _DIM_ROCK: (0.035, 0.04, 0.038, 0.035, 0.017),
    _DEBRIS: (0.10, 0.12, 0.14, 0.16, 0.19),
    _CLOUD: (0.62, 0.60, 0.60, 0.62, 0.45),
    _SHADE: (0.05, 0.05, 0.06, 0.07, 0.08),
    _ODD_ICE: (0.55, 0.55, 0.50, 0.40, 0.05),
}
#: `qa_pixel` of a class, first of TM and ETM+, then of OLI. `_ODD_ICE` is ice that is flagged as cloud.
_QA = {
    _NONE: (1, 1),
    _WATER: (5504, 21952),
    _ICE: (13600, 30048),
    _SNOW: (13600, 30048),
    _DIM_ICE: (13600, 30048),
    _CLOUD: (5896, 22280),
    _SHADE: (7440, 23888),
    _ODD_ICE: (5896, 22280),
}
_QA_CLEAR = (5440, 21824)


@dataclass(frozen=True)
class Inventory:
    """What was put in for one glacier and inventory.

    Attributes:
        area_km2: geodesic area of the ice, debris-covered ice included.
        image_date: day of the best scene.
        retreat_m: distance by which the margin near the terminus lies inside the RGI outline.
        debris_km2: area under debris.
        hidden_share: share of the RGI outline that lies under cloud or shadow or in a gap of the image, in all scenes.
        item_ids: its scenes.
    """

    area_km2: float
    image_date: dt.date
    retreat_m: float
    debris_km2: float
    hidden_share: float
    item_ids: tuple[str, ...]


@dataclass(frozen=True)
class _Ground:
    """One glacier in metres, on its UTM zone's grid.

    Attributes:
        own: outline, members dissolved.
        others: outlines around it, united.
        front: disc about the terminus, in which the margin moves.
        debris: the part under debris; empty for most.
        epsg: UTM zone.
        transform: of the upper left corner.
        shape: rows and columns.
        backdrop: classes without the glacier itself.
    """

    own: Any
    others: Any
    front: Any
    debris: Any
    epsg: int
    transform: Affine
    shape: tuple[int, int]
    backdrop: Classes


def write(folder: Path, land: Landscape, glaciers: Sequence[Glacier]) -> dict[str, dict[str, Inventory]]:
    """Write `items/{id}.json` and `level-2/standard/{sensor}/{year}/{path}/{row}/{product}/{product}_*.TIF`.

    Args:
        folder: the provider's folder of the mirror.
        land: what lies where.
        glaciers: the registry; archipelagos are left out.

    Returns:
        What was put in, by registry id and inventory.
    """
    import rasterio

    seen = [glacier for glacier in glaciers if glacier.kind != "archipelago"]
    areas = {g.glacier_id: sum(member.area_km2 for member in land.of(g.glacier_id)) for g in seen}
    smallest = sorted(areas, key=lambda glacier_id: areas[glacier_id])[:_TWICE]
    on_land = [g.glacier_id for g in seen if g.terminus != "marine" and areas[g.glacier_id] < 100]
    covered = max(on_land, key=lambda glacier_id: areas[glacier_id], default="")
    truth: dict[str, dict[str, Inventory]] = {}
    with rasterio.Env(GDAL_NUM_THREADS="1"):
        for glacier in seen:
            ground = _ground(glacier, land, areas[glacier.glacier_id], glacier.glacier_id == covered)
            truth[glacier.glacier_id] = {
                inventory: _inventory(
                    folder, glacier, ground, inventory, areas[glacier.glacier_id], glacier.glacier_id in smallest
                )
                for inventory in SENSORS
            }
    return truth


def retreat_m(area_km2: float, date: dt.date) -> float:
    """How far the margin near the terminus lies inside the RGI outline, m: larger glaciers retreat faster."""
    rate = float(np.clip(1.6 * area_km2**0.4, 1.5, 9.0))
    return rate * (date.year + date.timetuple().tm_yday / 365 - RGI_YEAR)


def _ground(glacier: Glacier, land: Landscape, area_km2: float, has_debris: bool) -> _Ground:
    import shapely
    from pyproj import Transformer
    from rasterio import Affine
    from rasterio.features import rasterize

    members = land.of(glacier.glacier_id)
    outline = shapely.union_all([member.piece.polygon for member in members])
    centre = shapely.point_on_surface(outline)
    epsg = (32600 if centre.y >= 0 else 32700) + utm_zone(centre.x)
    move = Transformer.from_crs("EPSG:4326", epsg, always_xy=True)

    def metres(geometry: Any) -> Any:
        return shapely.transform(geometry, move.transform, interleaved=False)

    own = shapely.make_valid(metres(outline)).buffer(0)
    west, south, east, north = outline.bounds
    near = shapely.box(west - 0.3, south - 0.05, east + 0.3, north + 0.05)
    mine = {member.rgi7_id for member in members}
    around = [m.piece.polygon for m in land.members if m.rgi7_id not in mine and m.piece.polygon.intersects(near)]
    others = shapely.make_valid(metres(shapely.union_all(around))) if around else shapely.Polygon()
    radius = 1000 * float(np.sqrt(area_km2))
    largest = max(members, key=lambda member: member.area_km2)
    terminus = metres(shapely.Point(largest.piece.lines[-1].coords[-1]))
    debris = own.intersection(terminus.buffer(0.22 * radius)) if has_debris else shapely.Polygon()

    left, low, right, high = own.buffer(SURROUNDINGS_M).bounds
    # Landsat's cells are centred on multiples of 30 m.
    x0, y0 = np.floor(left / CELL_M) * CELL_M - 15, np.ceil(high / CELL_M) * CELL_M + 15
    shape = int(np.ceil((y0 - low) / CELL_M)) + 1, int(np.ceil((right - x0) / CELL_M)) + 1
    transform = Affine(CELL_M, 0, x0, 0, -CELL_M, y0)
    front = terminus.buffer(0.5 * radius)
    cliff = own.buffer(260).difference(front)
    layers = [
        (own.buffer(SURROUNDINGS_M), _TUNDRA),
        (own.buffer(420), _ROCK),
        (cliff.intersection(shapely.box(left, low, own.centroid.x, own.centroid.y)), _DIM_ROCK),
        (own.buffer(SURROUNDINGS_M).intersection(front), _WATER if glacier.terminus == "marine" else _ROCK),
        (own, _ROCK),
        (others.intersection(own.buffer(SURROUNDINGS_M)), _ICE),
    ]
    if glacier.terminus == "marine":
        layers.insert(5, (own.intersection(front), _WATER))
    drawn = [(shape_, value) for shape_, value in layers if not shape_.is_empty]
    backdrop = rasterize(drawn, shape, transform=transform, dtype="uint8")
    return _Ground(own, others, front, debris, epsg, transform, shape, backdrop)


def _ice_at(ground: _Ground, retreat: float) -> Any:
    """The glacier when its terminus lay `retreat` metres inside the RGI outline."""
    import shapely

    if retreat < 0:
        grown = ground.own.buffer(-retreat).intersection(ground.front).difference(ground.others)
        if not ground.debris.is_empty:  # dead ice: the margin rests there
            grown = grown.difference(ground.debris.buffer(600))
        ice = shapely.union_all([ground.own, grown])
    else:
        kept = [ground.own.difference(ground.front), ground.own.buffer(-retreat), ground.debris]
        # Where the glacier meets another, both stay.
        kept.append(ground.own.intersection(ground.others.buffer(retreat)) if not ground.others.is_empty else None)
        ice = shapely.union_all([part for part in kept if part is not None])
    parts = [part for part in shapely.get_parts(ice) if part.geom_type == "Polygon" and part.area > 3e4]
    return shapely.MultiPolygon(parts)


def _inventory(
    folder: Path, glacier: Glacier, ground: _Ground, inventory: str, area_km2: float, is_twice: bool
) -> Inventory:
    import shapely
    from pyproj import Transformer

    rng = generator("landsat", glacier.glacier_id, inventory)
    date = dt.date(int(inventory) + int(rng.integers(-1, 2)), 8, int(rng.integers(8, 31)))
    date = min(date, dt.date(2024, 9, 5))
    retreat = retreat_m(area_km2, date)
    ice = _ice_at(ground, retreat)
    back = Transformer.from_crs(ground.epsg, "EPSG:4326", always_xy=True)

    def km2(geometry: Any) -> float:
        degrees = shapely.transform(geometry, back.transform, interleaved=False)
        return geodesic_area_km2(shapely.make_valid(degrees, method="structure", keep_collapsed=False))

    base = _painted(ground, ice, rng)
    days = [date] if not is_twice else [date, date + dt.timedelta(days=4)]
    item_ids = []
    hidden = np.ones(ground.shape, bool)
    for number, day in enumerate(days):
        classes = base.copy()
        if number:
            _snow_patches(classes, ground, rng)
        else:
            _clouds(classes, ground, rng, is_twice)
        if inventory == "2005":
            _stripes(classes, int(rng.integers(0, 33)))
        hidden &= np.isin(classes, (_NONE, _CLOUD, _SHADE))
        item_ids.append(_write_scene(folder, glacier, ground, inventory, day, number, classes))
    debris = 0.0 if ground.debris.is_empty else km2(ground.debris)
    return Inventory(km2(ice), date, retreat, debris, float(hidden[_inside(ground)].mean()), tuple(item_ids))


def _inside(ground: _Ground) -> NDArray[np.bool_]:
    """Cells of the RGI outline."""
    from rasterio.features import rasterize

    drawn = rasterize([(ground.own, 1)], ground.shape, transform=ground.transform, dtype="uint8")
    return np.asarray(drawn.astype(bool))


def _painted(ground: _Ground, ice: Any, rng: np.random.Generator) -> Classes:
    """The land under a clear sky."""
    import shapely
    from rasterio.features import rasterize

    west, south, east, north = ground.own.bounds
    head = shapely.box(*ground.own.bounds).difference(ground.front.buffer(0.1 * (east - west)))
    layers = [(ice, _ICE), (ice.intersection(head), _SNOW)]
    x = west + (east - west) * rng.uniform(0.3, 0.6)
    strip = shapely.box(x, south, x + 0.06 * (east - west), north)
    layers.append((ice.intersection(strip), _DIM_ICE))
    y = south + (north - south) * rng.uniform(0.3, 0.6)
    layers.append((ice.intersection(shapely.box(west, y, east, y + 0.05 * (north - south))), _ODD_ICE))
    layers.append((ground.debris, _DEBRIS))
    drawn = [(geometry, value) for geometry, value in layers if not geometry.is_empty]
    classes = rasterize(drawn, ground.shape, transform=ground.transform, dtype="uint8")
    return np.where(classes == _NONE, ground.backdrop, classes)


def _clouds(classes: Classes, ground: _Ground, rng: np.random.Generator, at_front: bool) -> None:
    """One cloud and its shadow: over a corner of the box, or over the terminus where another scene sees it."""
    import shapely
    from rasterio.features import rasterize

    west, south, east, north = ground.own.bounds
    radius = 0.06 * min(east - west, north - south)
    if at_front:
        place = ground.front.centroid
    else:
        place = shapely.Point(west + (east - west) * rng.uniform(0, 1), south + (north - south) * rng.uniform(0, 1))
        if place.buffer(1.7 * radius).intersects(ground.front):
            place = shapely.Point(2 * ground.own.centroid.x - ground.front.centroid.x, north)
    cloud = place.buffer(radius)
    shade = shapely.transform(cloud, lambda xy: xy + np.array([-0.5, 0.8]) * radius)
    drawn = rasterize([(shade, _SHADE), (cloud, _CLOUD)], ground.shape, transform=ground.transform, dtype="uint8")
    there = (drawn != _NONE) & (classes != _NONE)
    classes[there] = drawn[there]


def _snow_patches(classes: Classes, ground: _Ground, rng: np.random.Generator) -> None:
    """Snow that fell on rock beside the glacier: in this scene only, and not where the other one has its cloud."""
    import shapely
    from rasterio.features import rasterize

    west, south, east, north = ground.own.bounds
    clear = ground.front.centroid.buffer(0.3 * min(east - west, north - south))
    edge = ground.own.boundary.difference(clear)
    patches = [edge.interpolate(at, normalized=True).buffer(120) for at in rng.uniform(0, 1, 5)]
    snow = shapely.union_all(patches).difference(clear)
    there = rasterize([(snow, 1)], ground.shape, transform=ground.transform, dtype="uint8").astype(bool)
    classes[there & np.isin(classes, (_ROCK, _DIM_ROCK, _TUNDRA))] = _SNOW


def _stripes(classes: Classes, start: int) -> None:
    """Gaps of the failed scan line corrector: every 33 lines, 3 to 10 lines wide, aslant."""
    rows, cols = np.ogrid[: classes.shape[0], : classes.shape[1]]
    width = 3 + (7 * cols) // max(classes.shape[1], 1)
    classes[(rows + cols // 6 + start) % 33 < width] = _NONE


def _write_scene(
    folder: Path, glacier: Glacier, ground: _Ground, inventory: str, day: dt.date, number: int, classes: Classes
) -> str:
    platform, begin, sensor = SENSORS[inventory]
    rng = generator("wrs", glacier.glacier_id)
    path, row = f"{rng.integers(1, 234):03d}", f"{int(rng.integers(1, 60)) + number:03d}"
    item_id = f"{begin}_L2SP_{path}{row}_{day:%Y%m%d}_02_T1"
    product = f"{begin}_L2SP_{path}{row}_{day:%Y%m%d}_20200918_02_T1"
    place = f"level-2/standard/{sensor}/{day.year}/{path}/{row}/{product}"
    names = {key: f"SR_B{n}" for key, n in zip(_BAND_KEYS, _BAND_NUMBERS[sensor], strict=True)}
    names["qa_pixel"] = "QA_PIXEL"
    (folder / place).mkdir(parents=True, exist_ok=True)
    table = np.arange(256, dtype=np.uint16)
    for key, name in names.items():
        values = _counts(key, sensor == "oli-tirs", table)
        _write_raster(folder / place / f"{product}_{name}.TIF", values[classes], ground, 1 if key == "qa_pixel" else 0)
    seen = classes != _NONE
    cloud = float(np.isin(classes, (_CLOUD, _ODD_ICE))[seen].mean()) * 100
    item = _item(item_id, product, place, names, glacier, ground, day, (platform, sensor, path, row), cloud)
    items = folder / "items"
    items.mkdir(parents=True, exist_ok=True)
    (items / f"{item_id}.json").write_text(json.dumps(item, indent=1), encoding="utf-8")
    return item_id


def _counts(key: str, is_oli: bool, table: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Count of each class in a band, by class."""
    values = np.zeros_like(table)
    if key == "qa_pixel":
        values[:] = _QA_CLEAR[is_oli]
        for one, qa in _QA.items():
            values[one] = qa[is_oli]
        return values
    position = _BAND_KEYS.index(key)
    for one, reflectance in _REFLECTANCE.items():
        values[one] = round((reflectance[position] + 0.2) / 2.75e-05)
    return values


def _write_raster(path: Path, values: NDArray[np.uint16], ground: _Ground, nodata: int) -> None:
    import rasterio

    with rasterio.open(
        path, "w", driver="GTiff", width=ground.shape[1], height=ground.shape[0], count=1, dtype="uint16",
        crs=f"EPSG:{ground.epsg}", transform=ground.transform, nodata=nodata, tiled=True, blockxsize=256,
        blockysize=256, compress="deflate", zlevel=1, sparse_ok=True,
    ) as raster:  # fmt: skip
        raster.update_tags(TIFFTAG_IMAGEDESCRIPTION=NOTICE, TIFFTAG_SOFTWARE="arctic_assets.sample")
        raster.write(values, 1)


def _item(
    item_id: str,
    product: str,
    place: str,
    names: Mapping[str, str],
    glacier: Glacier,
    ground: _Ground,
    day: dt.date,
    origin: tuple[str, str, str, str],
    cloud_pct: float,
) -> dict[str, Any]:
    """The STAC item. Those of OLI name the projection as `proj:code`, older ones as `proj:epsg`, as catalogues do."""
    from rasterio.warp import transform_bounds

    platform, sensor, path, row = origin
    rows, cols = ground.shape
    t = ground.transform
    left, top, right, bottom = t.c, t.f, t.c + cols * t.a, t.f + rows * t.e
    west, south, east, north = (
        round(v, 6) for v in transform_bounds(f"EPSG:{ground.epsg}", "EPSG:4326", left, bottom, right, top)
    )
    is_new = sensor == "oli-tirs"
    extensions = ["raster/v1.1.0", "eo/v1.0.0", "view/v1.0.0", f"projection/v{'2' if is_new else '1'}.0.0"]
    extensions += ["landsat/v2.0.0", "scientific/v1.0.0"]
    doi = _DOIS[sensor]
    properties: dict[str, Any] = {
        "platform": platform,
        "instruments": _INSTRUMENTS[sensor],
        "created": "2022-10-15T12:20:01.000000Z",
        "gsd": CELL_M,
        "description": f"Landsat Collection 2 Level-2. {NOTICE}",
        SYNTHETIC: True,
        "eo:cloud_cover": round(cloud_pct, 2),
        "view:off_nadir": 0,
        "view:sun_elevation": 35.0,
        "view:sun_azimuth": 170.0,
        **({"proj:code": f"EPSG:{ground.epsg}"} if is_new else {"proj:epsg": ground.epsg}),
        "proj:shape": [rows, cols],
        "proj:transform": [t.a, t.b, t.c, t.d, t.e, t.f],
        "landsat:cloud_cover_land": round(cloud_pct, 2),
        "landsat:wrs_type": "2",
        "landsat:wrs_path": path,
        "landsat:wrs_row": row,
        "landsat:collection_category": "T1",
        "landsat:collection_number": "02",
        "landsat:correction": "L2SP",
        "landsat:scene_id": f"{item_id[:4]}{path}{row}{day:%Y%j}{SYNTHETIC[:3]}00",
        "sci:doi": doi,
        "datetime": f"{day}T20:00:00.000000Z",
    }
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": item_id,
        "properties": properties,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "links": [{"rel": "cite-as", "href": f"https://doi.org/{doi}"}],
        "assets": {key: _asset(key, name, f"../{place}/{product}_{name}.TIF") for key, name in names.items()},
        "bbox": [west, south, east, north],
        "stac_extensions": [f"https://stac-extensions.github.io/{one}/schema.json" for one in extensions],
        "collection": "landsat-c2-l2",
    }


def _asset(key: str, name: str, href: str) -> dict[str, Any]:
    common = {"href": href, "type": "image/vnd.stac.geotiff; cloud-optimized=true"}
    if key == "qa_pixel":
        cells = {"data_type": "uint16", "spatial_resolution": CELL_M, "nodata": 1, "unit": "bit index"}
        return {**common, "title": "Pixel Quality Assessment Band", "raster:bands": [cells], "roles": ["cloud", "data"]}
    cells = {"data_type": "uint16", "spatial_resolution": CELL_M, "nodata": 0, "scale": 2.75e-05, "offset": -0.2}
    band = {"name": name.removeprefix("SR_"), "common_name": key}
    return {**common, "title": f"{key} band", "eo:bands": [band], "raster:bands": [cells], "roles": ["data"]}
