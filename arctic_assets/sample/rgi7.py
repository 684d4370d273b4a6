"""Randolph Glacier Inventory 7.0: the glacier product (G) and the centrelines (L) of each region, as zip files.

Here: which outline has which id, name and place; the links to RGI 6.0; the files. The shapes are `shapes`' business.

What the inventory does to real glaciers is in it: an RGI6 glacier that RGI7 divides in two and takes a strip from,
one that overlaps a neighbour by 2 %, an archipelago of many outlines with shared divides, glaciers that nobody asked
for beside those that are wanted.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from shapely import Polygon

from arctic_assets.glaciers import Glacier
from arctic_assets.provenance import SYNTHETIC
from arctic_assets.sample.common import NOTICE, generator, write_zip
from arctic_assets.sample.shapes import Piece, Sketch, ice_caps, placed, valley
from arctic_assets.sources.rgi7 import REGIONS

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from pyproj import Geod

#: Shares of the ice that RGI 6 draws across the divide: of the first glacier that is known by its RGI6 id only (which
#: RGI7 also divides in two), and of the second.
_EXCHANGES = (0.05, 0.02)
_DEFAULT_AREA_KM2 = 5.0
_NEIGHBOURS = 4
_BAND_M = 50

_FIELDS = {
    "rgi_id": ("RGI identifier", "identifier of the outline", "str", "", "RGI", "RGI_Id"),
    "o1region": ("First order region", "code of the first-order region", "str", "", "RGI", "O1Region"),
    "o2region": ("Second order region", "code of the second-order region", "str", "", "RGI", "O2Region"),
    "glims_id": ("GLIMS identifier", "identifier in GLIMS, not unique", "str", "", "GLIMS", "GLIMS_Id"),
    "anlys_id": ("Analysis identifier", "identifier of the outline in GLIMS", "int", "", "GLIMS", ""),
    "subm_id": ("Submission identifier", "identifier of the submission", "int", "", "GLIMS", ""),
    "src_date": ("Outline source date", "date of the outline, ISO 8601", "str", "date", "GLIMS", "BgnDate"),
    "cenlon": ("Center longitude", "longitude of a central point", "float", "degrees", "RGI", "CenLon"),
    "cenlat": ("Center latitude", "latitude of a central point", "float", "degrees", "RGI", "CenLat"),
    "utm_zone": ("UTM zone", "UTM zone of the central point", "int", "", "RGI", ""),
    "area_km2": ("Glacier area", "area of the glacier", "float", "km2", "RGI", "Area"),
    "primeclass": ("Primary classification", "WGMS primary class", "int", "", "GLIMS", ""),
    "conn_lvl": ("Connectivity level", "connection to the Greenland ice sheet", "int", "", "GLIMS", "Connect"),
    "surge_type": ("Evidence for surging", "0 none to 3 observed, 9 not assigned", "int", "", "GLIMS", "Surging"),
    "term_type": ("Glacier terminus type", "1 marine, 9 not assigned", "int", "", "GLIMS", "TermType"),
    "glac_name": ("Glacier name", "name, where there is one", "str", "", "GLIMS", "Name"),
    "is_rgi6": ("Same as RGI 6.0 outline", "1 same outline, 0 drawn anew", "int", "", "RGI", ""),
    "termlon": ("Terminus longitude", "longitude of the terminus", "float", "degrees", "RGI", ""),
    "termlat": ("Terminus latitude", "latitude of the terminus", "float", "degrees", "RGI", ""),
    "zmin_m": ("Minimum elevation", "lowest elevation", "float", "m", "RGI", "Zmin"),
    "zmax_m": ("Maximum elevation", "highest elevation", "float", "m", "RGI", "Zmax"),
    "zmed_m": ("Median elevation", "median elevation", "float", "m", "RGI", "Zmed"),
    "zmean_m": ("Mean elevation", "mean elevation", "float", "m", "RGI", ""),
    "slope_deg": ("Mean slope", "mean slope of the surface", "float", "degrees", "RGI", "Slope"),
    "aspect_deg": ("Aspect", "azimuth of the slope", "float", "degrees", "RGI", "Aspect"),
    "aspect_sec": ("Aspect sector", "1 north, clockwise to 8 north-west", "int", "", "RGI", ""),
    "dem_source": ("DEM data source", "data set of the elevations", "str", "", "RGI", ""),
    "lmax_m": ("Maximum length", "length of the main centreline", "int", "m", "RGI", "Lmax"),
}
_LINE_FIELDS = {
    "rgi_id": ("RGI identifier", "identifier of the centreline", "str", "", "RGI", ""),
    "rgi_g_id": ("RGI glacier identifier", "glacier of the centreline", "str", "", "RGI", ""),
    "segment_id": ("Segment identifier", "number within the glacier, the main one last", "int", "", "RGI", ""),
    "is_main": ("Is main centerline", "1 for the one main centreline of a glacier", "int", "", "RGI", ""),
    "outflow_id": ("Outflow segment identifier", "segment that this one flows into", "int", "", "RGI", ""),
    "strahler_n": ("Strahler number", "order of branching, from 0", "int", "", "RGI", ""),
    "length_m": ("Centerline length", "length", "int", "m", "RGI", ""),
}


@dataclass(frozen=True)
class Member:
    """One RGI7 outline with what the inventory says of it.

    Attributes:
        rgi7_id: its id.
        glacier_id: the registry's glacier it belongs to, or None for one that nobody asked for.
        o2region: second-order region.
        name: name, empty for most.
        glims_id: id in GLIMS.
        marine: it ends in the sea.
        is_rgi6: RGI 6 had the same outline.
        centre: longitude and latitude of a central point.
        piece: its shape in degrees.
        area_km2: geodesic area.
    """

    rgi7_id: str
    glacier_id: str | None
    o2region: str
    name: str
    glims_id: str
    marine: bool
    is_rgi6: bool
    centre: tuple[float, float]
    piece: Piece
    area_km2: float

    @property
    def region(self) -> str:
        """First-order region."""
        return self.o2region[:2]


@dataclass(frozen=True)
class Former:
    """One RGI6 outline.

    Attributes:
        polygon: in degrees, as it was drawn in RGI 6.
        area_km2: geodesic area.
    """

    polygon: Polygon
    area_km2: float


@dataclass(frozen=True)
class Link:
    """Overlap of an RGI7 and an RGI6 outline."""

    rgi7_id: str
    rgi6_id: str
    overlap_km2: float
    rgi7_fraction: float
    rgi6_fraction: float


@dataclass(frozen=True)
class Landscape:
    """All ice of the sample.

    Attributes:
        members: RGI7 outlines, sorted by id.
        former: RGI6 outlines by id.
        links: overlaps between both.
    """

    members: tuple[Member, ...]
    former: Mapping[str, Former]
    links: tuple[Link, ...]

    def of(self, glacier_id: str) -> list[Member]:
        """The outlines of a glacier of the registry."""
        return [member for member in self.members if member.glacier_id == glacier_id]

    def weights(self, glacier_id: str) -> dict[str, float]:
        """Share of each RGI6 outline that lies in a glacier's RGI7 outlines."""
        own = {member.rgi7_id for member in self.of(glacier_id)}
        shares: dict[str, float] = {}
        for link in self.links:
            if link.rgi7_id in own:
                shares[link.rgi6_id] = shares.get(link.rgi6_id, 0.0) + link.rgi6_fraction
        return dict(sorted(shares.items()))


def landscape(glaciers: Sequence[Glacier]) -> Landscape:
    """Draw the registry's glaciers and others around them.

    Args:
        glaciers: the registry. Glaciers with several RGI7 ids become ice caps of that many members. Where there are
            as many RGI6 ids they link one to one; further RGI6 ids than members get no ice.
    """
    ids = _Ids(glaciers)
    draughts = [_draught(glacier, kind, ids) for glacier, kind in zip(glaciers, _kinds(glaciers), strict=True)]
    ground = _Ground()
    members: list[Member] = []
    former: dict[str, Former] = {}
    links: list[Link] = []
    # The large ones find their place first: there is less room for them.
    for draught in sorted(draughts, key=lambda d: -_area(d.glacier)):
        sketch = ground.place(draught.sketch, draught.glacier)
        glacier = draught.glacier
        own = list(zip(draught.rgi7_ids, sketch.members, strict=True))
        shared = list(zip(draught.neighbour_rgi7_ids, sketch.neighbours, strict=True))
        drawn = [_member(rgi7_id, piece, glacier, not sketch.former) for rgi7_id, piece in own]
        drawn += [_member(rgi7_id, piece, glacier, False, wanted=False) for rgi7_id, piece in shared]
        members += drawn
        if sketch.former:
            outlines = dict(zip(draught.rgi6_ids, sketch.former, strict=True))
            former |= {rgi6_id: Former(polygon, _geodesic_km2(polygon)) for rgi6_id, polygon in outlines.items()}
            links += _overlaps(drawn, {rgi6_id: former[rgi6_id] for rgi6_id in outlines})
        else:
            former |= _united(drawn, draught.rgi6_ids)
            links += _nested(drawn, draught.rgi6_ids, former)
    for draught in draughts:
        for rgi7_id, rgi6_id, sketch in ground.neighbours(draught.glacier, ids):
            member = _member(rgi7_id, sketch.members[0], draught.glacier, True, wanted=False)
            members.append(member)
            former |= _united([member], [rgi6_id])
            links += _nested([member], [rgi6_id], former)
    order = {member.rgi7_id: member for member in members}
    return Landscape(
        tuple(order[rgi7_id] for rgi7_id in sorted(order)),
        former,
        tuple(sorted(links, key=lambda link: (link.rgi7_id, link.rgi6_id))),
    )


def write(folder: Path, land: Landscape) -> None:
    """Write `RGI2000-v7.0-G-{region}.zip` and `RGI2000-v7.0-L-{region}.zip` of every region with ice.

    Args:
        folder: the provider's folder of the mirror.
        land: what lies where.
    """
    clusters = _clusters(land.links)
    for region in sorted({member.region for member in land.members}):
        members = [member for member in land.members if member.region == region]
        glaciers, lines = _glacier_frame(members), _line_frame(members)
        product = f"RGI2000-v7.0-G-{REGIONS[region]}"
        own = {member.rgi7_id for member in members}
        tables = {
            "attributes_metadata.json": _metadata(_FIELDS),
            "rgi6_links.csv": _csv(_link_frame([link for link in land.links if link.rgi7_id in own], clusters)),
            "hypsometry.csv": _csv(_hypsometry_frame(members)),
            "submission_info.csv": _csv(_submission_frame(glaciers)),
        }
        write_zip(folder / f"{product}.zip", {**_layer(glaciers, product), **_named(product, tables)})
        product = f"RGI2000-v7.0-L-{REGIONS[region]}"
        tables = {"attributes_metadata.json": _metadata(_LINE_FIELDS)}
        write_zip(folder / f"{product}.zip", {**_layer(lines, product), **_named(product, tables)})


class _Ids:
    """Hands out ids that the registry does not use."""

    def __init__(self, glaciers: Iterable[Glacier]) -> None:
        self.taken = {rgi_id for glacier in glaciers for rgi_id in (*glacier.rgi7_ids, *glacier.rgi6_ids)}

    def rgi7(self, region: str, near: int) -> str:
        return self._free("RGI2000-v7.0-G-{}-{:05d}", region, near)

    def rgi6(self, region: str, near: int) -> str:
        return self._free("RGI60-{}.{:05d}", region, near)

    def _free(self, pattern: str, region: str, number: int) -> str:
        while (rgi_id := pattern.format(region, number)) in self.taken:
            number += 1
        self.taken.add(rgi_id)
        return rgi_id


@dataclass(frozen=True)
class _Draught:
    """A glacier's shape and ids before it has a place."""

    glacier: Glacier
    sketch: Sketch
    rgi7_ids: tuple[str, ...]
    rgi6_ids: tuple[str, ...]
    neighbour_rgi7_ids: tuple[str, ...] = ()


def _kinds(glaciers: Sequence[Glacier]) -> list[int | None]:
    """Which entry of `_EXCHANGES` a glacier gets: the first ones that are known by one RGI6 id only."""
    order = iter(range(len(_EXCHANGES)))
    return [next(order, None) if not g.rgi7_ids and len(g.rgi6_ids) == 1 else None for g in glaciers]


def _draught(glacier: Glacier, exchange: int | None, ids: _Ids) -> _Draught:
    rng = generator("outline", glacier.glacier_id)
    region, area = glacier.o1region, _area(glacier)
    numbers = [_number(rgi_id) for rgi_id in (*glacier.rgi7_ids, *glacier.rgi6_ids)]
    zmin, zmax = _relief(glacier)
    if exchange is not None:
        split = exchange == 0
        sketch = valley(rng, area, zmin, zmax, exchange=_EXCHANGES[exchange], split=split)
        own = tuple(ids.rgi7(region, numbers[0]) for _ in sketch.members)
        beside = (ids.rgi7(region, numbers[0]),)
        return _Draught(glacier, sketch, own, (*glacier.rgi6_ids, ids.rgi6(region, numbers[0])), beside)
    rgi7_ids = glacier.rgi7_ids or tuple(ids.rgi7(region, number) for number in numbers)
    rgi6_ids = glacier.rgi6_ids or tuple(ids.rgi6(region, number) for number in numbers)
    several = len(rgi7_ids) > 1
    sketch = ice_caps(rng, area, len(rgi7_ids), zmax) if several else valley(rng, area, zmin, zmax)
    return _Draught(glacier, sketch, rgi7_ids, rgi6_ids)


class _Ground:
    """What is taken already; finds a place, or a bearing, for the next glacier."""

    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.extent: dict[str, float] = {}

    def place(self, sketch: Sketch, glacier: Glacier) -> Sketch:
        """At the registry's position, turned until it overlaps nothing."""
        rng = generator("bearing", glacier.glacier_id)
        # The Arctic archipelagos stretch from south-west to north-east.
        first = 50.0 if len(sketch.members) > 20 else float(rng.uniform(0, 360))
        tries = (placed(sketch, glacier.longitude, glacier.latitude, first + turn) for turn in range(0, 360, 30))
        sketches = [next(tries)]
        while not self._free(sketches[-1]) and (another := next(tries, None)):
            sketches.append(another)
        chosen = sketches[-1] if self._free(sketches[-1]) else sketches[0]
        self.taken += chosen.polygons
        corners = np.vstack([np.array(p.bounds).reshape(2, 2) for p in chosen.polygons])
        self.extent[glacier.glacier_id] = float(np.abs(corners[:, 1] - glacier.latitude).max()) * 111.0
        return chosen

    def neighbours(self, glacier: Glacier, ids: _Ids) -> list[tuple[str, str, Sketch]]:
        """Smaller glaciers around: RGI7 id, RGI6 id, shape. Those that find no room are left out."""
        rng = generator("neighbours", glacier.glacier_id)
        numbers = [_number(rgi_id) for rgi_id in (*glacier.rgi7_ids, *glacier.rgi6_ids)]
        found = []
        for i in range(_NEIGHBOURS):
            area = float(np.clip(_area(glacier) * rng.uniform(0.1, 0.6), 0.05, 150))
            sketch = valley(generator("neighbour", glacier.glacier_id, i), area, *_relief(glacier))
            direction = np.radians(360 / _NEIGHBOURS * i + rng.uniform(0, 60))
            bearing = float(rng.uniform(0, 360))
            for times in (0.6, 0.8, 1.0, 1.3, 1.6):
                away = times * self.extent[glacier.glacier_id] + 1.2 * np.sqrt(area)
                north, east = away * np.cos(direction), away * np.sin(direction)
                latitude = min(glacier.latitude + north / 111.0, 83.5)
                longitude = glacier.longitude + east / (111.0 * np.cos(np.radians(latitude)))
                there = placed(sketch, float(longitude), float(latitude), bearing)
                if self._free(there):
                    self.taken += there.polygons
                    near = max(numbers) + 1
                    found.append((ids.rgi7(glacier.o1region, near), ids.rgi6(glacier.o1region, near), there))
                    break
        return found

    def _free(self, sketch: Sketch) -> bool:
        from shapely import STRtree

        return not self.taken or STRtree(self.taken).query(sketch.polygons, predicate="intersects").size == 0


def _area(glacier: Glacier) -> float:
    return glacier.area_km2 or _DEFAULT_AREA_KM2


def _number(rgi_id: str) -> int:
    return int(rgi_id[-5:])


def snowline_m(latitude: float) -> float:
    """Where glaciers lie: high in the south, near the sea in the far north."""
    return float(np.clip(1500 - 55 * (abs(latitude) - 58), 350, 3000))


def _relief(glacier: Glacier) -> tuple[float, float]:
    """Lowest and highest elevation, m: larger glaciers span more; those in the sea begin there."""
    relief = 300 + 450 * float(np.log10(1 + _area(glacier)))
    if glacier.kind != "glacier":
        return 20.0, min(relief, 1000.0)
    if glacier.terminus == "marine":
        return 2.0, 2.0 + relief
    lowest = max(20.0, snowline_m(glacier.latitude) - relief / 2)
    return lowest, lowest + relief


def _member(rgi7_id: str, piece: Piece, glacier: Glacier, is_rgi6: bool, wanted: bool = True) -> Member:
    o2region = glacier.o2region or f"{glacier.o1region}-01"
    lon, lat = _centre(piece.polygon, glacier if wanted else None)
    one_of_many = len(glacier.rgi7_ids) > 1
    marine = wanted and (glacier.terminus == "marine" or (one_of_many and piece.heights.min() < 100))
    return Member(
        rgi7_id=rgi7_id,
        glacier_id=glacier.glacier_id if wanted else None,
        o2region=o2region,
        name=glacier.name if wanted and not one_of_many else "",
        glims_id=(not one_of_many and wanted and glacier.glims_id) or _glims(lon, lat),
        marine=bool(marine),
        is_rgi6=is_rgi6,
        centre=(lon, lat),
        piece=piece,
        area_km2=_geodesic_km2(piece.polygon),
    )


def _glims(lon: float, lat: float) -> str:
    return f"G{round(lon % 360 * 1000):06d}E{round(abs(lat) * 1000):05d}{'N' if lat >= 0 else 'S'}"


def _centre(polygon: Polygon, glacier: Glacier | None) -> tuple[float, float]:
    """The registry's position where it lies in the outline, else a point that does."""
    import shapely

    if glacier and shapely.contains_xy(polygon, glacier.longitude, glacier.latitude):
        return glacier.longitude, glacier.latitude
    point = shapely.point_on_surface(polygon)
    return round(point.x, 6), round(point.y, 6)


def _overlaps(members: Sequence[Member], former: Mapping[str, Former]) -> list[Link]:
    """Links of outlines that both inventories divide differently; RGI lists overlaps of more than 200 m2."""
    found = []
    for member in members:
        for rgi6_id, outline in former.items():
            common = _geodesic_km2(member.piece.polygon.intersection(outline.polygon))
            if common > 2e-4:
                shares = common / member.area_km2, common / outline.area_km2
                found.append(Link(member.rgi7_id, rgi6_id, common, *shares))
    return found


def _united(members: Sequence[Member], rgi6_ids: Sequence[str]) -> dict[str, Former]:
    """RGI6 outlines that hold one RGI7 outline each; the last RGI6 id holds all that are left."""
    import shapely

    united = {}
    for i, rgi6_id in enumerate(rgi6_ids[: len(members)]):
        last = i == len(rgi6_ids) - 1
        part = members[i:] if last else members[i : i + 1]
        polygon = part[0].piece.polygon if len(part) == 1 else shapely.union_all([m.piece.polygon for m in part])
        united[rgi6_id] = Former(polygon, sum(member.area_km2 for member in part))
    return united


def _nested(members: Sequence[Member], rgi6_ids: Sequence[str], former: Mapping[str, Former]) -> list[Link]:
    """Links of RGI7 outlines that lie wholly in the RGI6 outlines of `_united`."""
    pairs = [(member, rgi6_ids[min(i, len(rgi6_ids) - 1)]) for i, member in enumerate(members)]
    return [
        Link(member.rgi7_id, rgi6_id, member.area_km2, 1.0, member.area_km2 / former[rgi6_id].area_km2)
        for member, rgi6_id in pairs
    ]


def _clusters(links: Sequence[Link]) -> dict[str, int]:
    """Number of the group of overlapping outlines that an RGI6 or RGI7 id is in."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rgi_ids = sorted({rgi_id for link in links for rgi_id in (link.rgi7_id, link.rgi6_id)})
    at = {rgi_id: i for i, rgi_id in enumerate(rgi_ids)}
    ends = [at[link.rgi7_id] for link in links], [at[link.rgi6_id] for link in links]
    graph = coo_array((np.ones(len(links)), ends), shape=(len(at), len(at)))
    labels = connected_components(graph, directed=False)[1]
    return {rgi_id: int(label) + 1 for rgi_id, label in zip(rgi_ids, labels, strict=True)}


def _glacier_frame(members: Sequence[Member]) -> gpd.GeoDataFrame:
    import geopandas as gpd

    rows = []
    for position, member in enumerate(members):
        rng = generator("attributes", member.rgi7_id)
        piece, main = member.piece, member.piece.lines[-1]
        lon, lat = member.centre
        (head_lon, head_lat), (term_lon, term_lat) = main.coords[0], main.coords[-1]
        azimuth, _, _ = _wgs84().inv(head_lon, head_lat, term_lon, term_lat)
        length = _length_m(main)
        zmin, zmax = float(piece.heights.min()), float(piece.heights.max())
        day = np.datetime64("1999-07-01") + int(rng.integers(0, 4)) * 365 + int(rng.integers(0, 80))
        aspect = float(azimuth % 360)
        rows.append(
            {
                "rgi_id": member.rgi7_id,
                "o1region": member.region,
                "o2region": member.o2region,
                "glims_id": member.glims_id,
                "anlys_id": 900000 + position,
                "subm_id": 9000 + int(member.region),
                "src_date": f"{day}T00:00:00",
                "cenlon": lon,
                "cenlat": lat,
                "utm_zone": utm_zone(lon),
                "area_km2": member.area_km2,
                "primeclass": 0,
                "conn_lvl": 0,
                "surge_type": 0,
                "term_type": 1 if member.marine else 9,
                "glac_name": member.name or None,
                "is_rgi6": int(member.is_rgi6),
                "termlon": term_lon,
                "termlat": term_lat,
                "zmin_m": round(zmin, 3),
                "zmax_m": round(zmax, 3),
                "zmed_m": round(float(np.median(piece.heights)), 3),
                "zmean_m": zmean_m(member),
                "slope_deg": round(float(np.degrees(np.arctan2(zmax - zmin, length))), 6),
                "aspect_deg": round(aspect, 6),
                "aspect_sec": int((aspect + 22.5) % 360 // 45) + 1,
                "dem_source": SYNTHETIC,
                "lmax_m": round(length),
            }
        )
    return gpd.GeoDataFrame(rows, columns=list(_FIELDS), geometry=[m.piece.polygon for m in members], crs="EPSG:4326")


def zmean_m(member: Member) -> float:
    """Mean elevation as the inventory has it."""
    return round(float(member.piece.heights.mean()), 3)


def utm_zone(longitude: float) -> int:
    """Number of the UTM zone of a longitude."""
    return int((longitude + 180) // 6) % 60 + 1


def _line_frame(members: Sequence[Member]) -> gpd.GeoDataFrame:
    import geopandas as gpd

    rows: list[dict[str, object]] = []
    lines = []
    for member in members:
        last = len(member.piece.lines) - 1
        for segment, line in enumerate(member.piece.lines):
            rows.append(
                {
                    "rgi_id": f"RGI2000-v7.0-L-{member.region}-{len(rows) + 1:05d}",
                    "rgi_g_id": member.rgi7_id,
                    "segment_id": segment,
                    "is_main": int(segment == last),
                    # What a main line has here is not documented; it flows into no other.
                    "outflow_id": -1 if segment == last else last,
                    "strahler_n": int(segment == last and last > 0),
                    "length_m": round(_length_m(line)),
                }
            )
            lines.append(line)
    return gpd.GeoDataFrame(rows, columns=list(_LINE_FIELDS), geometry=lines, crs="EPSG:4326")


def _link_frame(links: Sequence[Link], clusters: Mapping[str, int]) -> pd.DataFrame:
    import pandas as pd

    overlaps6 = Counter(link.rgi6_id for link in links)
    overlaps7 = Counter(link.rgi7_id for link in links)
    return pd.DataFrame(
        {
            "rgi7_id": link.rgi7_id,
            "rgi6_id": link.rgi6_id,
            "rgi7_reg": link.rgi7_id[15:17],
            "rgi6_reg": link.rgi6_id[6:8],
            "overlap_area_km2": round(link.overlap_km2, 6),
            "rgi7_area_fraction": round(link.rgi7_fraction, 6),
            "rgi6_area_fraction": round(link.rgi6_fraction, 6),
            "n_rgi7": overlaps6[link.rgi6_id],
            "n_rgi6": overlaps7[link.rgi7_id],
            "cluster_id": clusters[link.rgi6_id],
        }
        for link in links
    )


def _hypsometry_frame(members: Sequence[Member]) -> pd.DataFrame:
    """Thousandths of the area per 50 m band; each row sums to 1000, the largest remainders rounded up."""
    import pandas as pd

    lowest = int(min(m.piece.heights.min() for m in members) // _BAND_M)
    highest = int(max(m.piece.heights.max() for m in members) // _BAND_M)
    rows = []
    for member in members:
        counts = np.bincount((member.piece.heights // _BAND_M).astype(int) - lowest, minlength=highest - lowest + 1)
        exact = 1000 * counts / counts.sum()
        parts = np.floor(exact).astype(int)
        parts[np.argsort(parts - exact, kind="stable")[: 1000 - parts.sum()]] += 1
        rows.append([member.rgi7_id, member.area_km2, *parts.tolist()])
    bands = [str(band * _BAND_M + _BAND_M // 2) for band in range(lowest, highest + 1)]
    return pd.DataFrame(rows, columns=["rgi_id", "area_km2", *bands])


def _submission_frame(glaciers: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "subm_id": subm_id,
            "n_outlines": len(part),
            "area_km2": part["area_km2"].sum(),
            "anlys_time": "2001-01-01T00:00:00",
            "release_dt": "2023-01-01T00:00:00",
            "proc_desc": NOTICE,
            "chief_affl": SYNTHETIC,
            "submitters": SYNTHETIC,
            "analysts": SYNTHETIC,
            "rc_id": 0,
        }
        for subm_id, part in glaciers.groupby("subm_id")
    )


def _metadata(fields: Mapping[str, Sequence[str]]) -> bytes:
    keys = ("long_name", "description", "datatype", "units", "source", "rgi6_name")
    described = {name: dict(zip(keys, values, strict=True)) for name, values in fields.items()}
    return json.dumps(described, indent=2).encode()


def _layer(frame: gpd.GeoDataFrame, product: str) -> dict[str, bytes]:
    """The files of a shapefile, and the attributes as CSV, by their names in the zip file."""
    with tempfile.TemporaryDirectory() as folder:
        # A dBASE header holds the day of writing unless it is given.
        frame.to_file(
            Path(folder) / f"{product}.shp",
            driver="ESRI Shapefile",
            engine="pyogrio",
            encoding="UTF-8",
            DBF_DATE_LAST_UPDATE="2023-01-01",
        )
        files = {f"{product}.{end}": (Path(folder) / f"{product}.{end}") for end in ("shp", "shx", "dbf", "prj", "cpg")}
        layer = {name: path.read_bytes() for name, path in files.items()}
    return {**layer, f"{product}-attributes.csv": _csv(frame.drop(columns="geometry"))}


def _named(product: str, tables: Mapping[str, bytes]) -> dict[str, bytes]:
    return {f"{product}-{name}": content for name, content in tables.items()}


def _csv(frame: pd.DataFrame) -> bytes:
    text = io.StringIO()
    frame.to_csv(text, index=False, lineterminator="\n")
    return text.getvalue().encode()


def _wgs84() -> Geod:
    from pyproj import Geod

    return Geod(ellps="WGS84")


def _geodesic_km2(geometry: Any) -> float:
    from shapely import orient_polygons

    return float(_wgs84().geometry_area_perimeter(orient_polygons(geometry))[0]) / 1e6


def _length_m(line: Any) -> float:
    return float(_wgs84().geometry_length(line))
