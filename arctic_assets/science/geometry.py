"""Areas, perimeters and boundaries of glacier outlines on the WGS84 ellipsoid.

Here: measures of one outline, the union of several members, the check that an outline is one, and its identity. All
outlines are polygonal shapely geometries in EPSG:4326, x = longitude, y = latitude, in degrees.
Not here: reading outline files (`sources`), mapping ice on satellite scenes, differences between inventories.

Areas and lengths are geodesic (Karney 2013, doi:10.1007/s00190-012-0578-z, through `pyproj.Geod`): no projection is
true in both, and an archipelago spans four UTM zones.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from arctic_assets.errors import SourceError

if TYPE_CHECKING:
    from pyproj import Geod
    from shapely.geometry.base import BaseGeometry

#: RGI coordinates carry six decimals (0.1 m); members are joined on that grid, so that divides digitised twice meet.
_JOIN_GRID_DEG = 1e-6
#: A gap between members narrower than this is a digitising crack. The narrowest real rock islands between glaciers of
#: the Ötztal and of Iceland (96 in RGI 6.2 and 7.0) have a mean width of 9 m.
_CRACK_WIDTH_M = 1.0
#: Members may lose this share of their summed area when they are joined; more means that they overlap.
_AREA_TOLERANCE = 1e-3


#: Half a pixel of Landsat TM, ETM+ and OLI, m: also what the record assumes for every outline.
HALF_PIXEL_M = 15.0
#: Half a pixel of the 60 m product of Landsat MSS, m; its scene ids start with LM.
MSS_HALF_PIXEL_M = 30.0


class Perimeter(NamedTuple):
    """Geodesic length of the boundary, km: all of it, the outer rings, the rings around rock islands."""

    total_km: float
    outer_km: float
    inner_km: float


def geodesic_area_km2(geom: BaseGeometry) -> float:
    """Area on the ellipsoid, km², rock islands excluded.

    Args:
        geom: outline; parts that are no polygons (points and lines left by a clip) count nothing.
    """
    import shapely

    geod = _wgs84()
    polygons = shapely.orient_polygons(_polygons(geom))
    return float(sum(geod.geometry_area_perimeter(polygon)[0] for polygon in polygons)) / 1e6


def geodesic_perimeter_km(geom: BaseGeometry) -> Perimeter:
    """Length of the boundary on the ellipsoid, km; the boundary of a rock island counts too."""
    geod = _wgs84()
    polygons = _polygons(geom)
    outer = sum(geod.geometry_length(polygon.exterior) for polygon in polygons) / 1e3
    inner = sum(geod.geometry_length(ring) for polygon in polygons for ring in polygon.interiors) / 1e3
    return Perimeter(float(outer + inner), float(outer), float(inner))


def half_pixel_of(scene_ids: Sequence[str]) -> float:
    """Half a pixel of the coarsest of the scenes an outline was drawn on, m; 15 where they tell nothing.

    Args:
        scene_ids: Landsat ids, old (`LM51230101984200`) or new (`LM05_L1TP_...`); any other scene counts as 15 m.
    """
    return MSS_HALF_PIXEL_M if any(one.strip().upper().startswith("LM") for one in scene_ids) else HALF_PIXEL_M


def half_pixel_bound_km2(perimeter_km: float, half_pixel_m: float = 15.0) -> float:
    """Upper bound of an area's resolution error, km²: the whole boundary off by half a pixel to the same side.

    eps = N * A with the perimeter N in km and half a pixel A in km; A is given here in metres, as sensors are
    (TM, ETM+, OLI 15 m; pan-sharpened 7.5 m).

    Args:
        perimeter_km: boundary that is free to move, km.
        half_pixel_m: half the pixel size of the image, m.
    """
    return perimeter_km * half_pixel_m / 1000.0


def independent_sigma_km2(perimeter_km: float, half_pixel_m: float = 15.0) -> float:
    """Area uncertainty when each pixel along the boundary errs for itself: `half pixel * sqrt(perimeter * pixel)`.

    The half-pixel bound and the buffer method assume that all of the boundary errs to the same side; here the errors of
    pieces one pixel long are independent and mostly cancel. The truth lies between.

    Args:
        perimeter_km: length of all boundaries, km.
        half_pixel_m: half a pixel of the sensor, m.

    Returns:
        One standard deviation, km2.
    """
    half_pixel_km = half_pixel_m / 1000
    return float(half_pixel_km * (perimeter_km * 2 * half_pixel_km) ** 0.5)


def buffer_sigma_km2(geom: BaseGeometry, distance_m: float = 15.0) -> float:
    """Uncertainty of an area by the buffer method, km²: (A(+b) - A(-b)) / 2 (Paul et al. 2017).

    The outline is buffered in a Lambert azimuthal equal-area projection centred on it: the difference of two areas
    then needs no correction however wide the outline is, and distances are off by cos(c/2) only: 0.06 % at the ends
    of an archipelago 900 km long (c = 4 degrees), 1 cm in a buffer of 15 m.

    Args:
        geom: valid outline; dissolve members first, or every divide counts twice.
        distance_m: b, m: half a pixel, or a pixel.
    """
    import shapely
    from pyproj import Transformer

    lon, lat = _centre(geom)
    local = f"+proj=laea +lat_0={lat!r} +lon_0={lon!r} +datum=WGS84 +units=m"
    transformer = Transformer.from_crs("EPSG:4326", local, always_xy=True)
    projected = shapely.transform(geom, transformer.transform, interleaved=False)
    grown, shrunk = shapely.area(shapely.buffer(projected, [distance_m, -distance_m]))
    return float(grown - shrunk) / 2e6


def dissolve(members: Sequence[BaseGeometry]) -> BaseGeometry:
    """Union of members in which shared divides vanish.

    Vertices are snapped to 1e-6 degrees, so that divides which differ by rounding, or by a vertex that one neighbour
    has and the other has not, leave no sliver; gaps of less than 1 m mean width that remain enclosed are closed.

    Args:
        members: outlines; one alone is returned as it is.

    Returns:
        The union, 2-D; its area is that of the members' sum within 0.1 %.

    Raises:
        SourceError: there is no member, a member is no valid outline, or members overlap by more than 0.1 %.
    """
    import shapely

    if len(members) == 0:
        raise SourceError(
            "A glacier has no member outline to dissolve.",
            expected="one outline or more",
            todo="check the glacier's RGI ids in the registry against the inventory file",
        )
    for position, member in enumerate(members):
        check_outline(member, f"member {position}")
    if len(members) == 1:
        return members[0]
    union = shapely.union_all(shapely.force_2d(members), grid_size=_JOIN_GRID_DEG)
    closed = [_without_cracks(polygon) for polygon in shapely.get_parts(union)]
    whole: BaseGeometry = closed[0] if len(closed) == 1 else shapely.MultiPolygon(closed)
    area, summed = geodesic_area_km2(whole), sum(geodesic_area_km2(member) for member in members)
    if abs(area - summed) > _AREA_TOLERANCE * summed:
        raise SourceError(
            "Member outlines overlap: their union is not as large as their sum.",
            expected=f"{summed:.4f} km2 within 0.1 %, the sum of {len(members)} members",
            got=f"{area:.4f} km2",
            todo="look for a member that is listed twice or for outlines of different inventories",
        )
    return whole


def check_outline(geom: object, where: str) -> None:
    """Hold that a geometry is a valid outline in longitude and latitude.

    Args:
        geom: what should be a shapely Polygon or MultiPolygon in EPSG:4326.
        where: file and row, for the message.

    Raises:
        SourceError: no geometry, not polygonal, empty, coordinates that are not finite or not longitude (-180..360)
            and latitude (-90..90), swapped axes, a ring that jumps across the antimeridian, or an invalid polygon
            (with the reason and the place).
    """
    import shapely
    from shapely.validation import explain_validity

    def refuse(problem: str, expected: str, got: object, todo: str) -> SourceError:
        return SourceError(problem, where=where, expected=expected, got=got, todo=todo)

    if not isinstance(geom, (shapely.Polygon, shapely.MultiPolygon)):
        kind = getattr(geom, "geom_type", type(geom).__name__)
        raise refuse(
            "An outline is not polygonal.",
            "a Polygon or MultiPolygon",
            kind,
            "take the glacier product (G) of the inventory, not its lines or points",
        )
    if geom.is_empty:
        raise refuse(
            "An outline is empty.", "a polygon with vertices", geom.wkt, "correct or drop the row that holds it"
        )
    coordinates = shapely.get_coordinates(geom)
    west, south = coordinates.min(axis=0)
    east, north = coordinates.max(axis=0)
    extent = f"x {west:.6g} .. {east:.6g}, y {south:.6g} .. {north:.6g}"
    lonlat = "longitude -180..360 as x and latitude -90..90 as y, in degrees"
    if not np.isfinite(coordinates).all():
        raise refuse("An outline has coordinates that are not finite.", lonlat, extent, "export it again")
    if south < -90 or north > 90 or west < -180 or east > 360:
        swapped = west >= -90 and east <= 90 and south >= -180 and north <= 360
        raise refuse(
            "An outline is not in longitude and latitude" + (": the axes are swapped." if swapped else "."),
            lonlat,
            extent,
            "swap x and y" if swapped else "reproject it to EPSG:4326",
        )
    bounds = shapely.bounds(shapely.get_parts(geom))
    if (bounds[:, 2] - bounds[:, 0] > 180).any():
        raise refuse(
            "A polygon of an outline spans more than 180 degrees of longitude.",
            "a polygon that crosses the antimeridian continues beyond 180, or is split there",
            extent,
            "add 360 to its negative longitudes, or split it at the antimeridian",
        )
    if not geom.is_valid:
        told = re.fullmatch(r"(.+)\[(\S+) (\S+)\]", explain_validity(geom))
        reason = f"{told[1]} at lon {told[2]}, lat {told[3]}" if told else explain_validity(geom)
        raise refuse(
            f"An outline is invalid: {reason}.",
            "rings that neither cross nor touch themselves",
            reason,
            "repair it there in a GIS (or with shapely.make_valid) and check the area",
        )


def outline_hash(geom: BaseGeometry) -> str:
    """Identity of an outline: SHA-256 (hex) of its normalised 2-D WKB, little-endian.

    The same for any start vertex, ring direction and order of parts, with or without heights, and for a polygon and a
    multipolygon of that one polygon; different for any change of a coordinate.
    """
    import shapely

    parts = shapely.get_parts(shapely.force_2d(geom))
    outline = parts[0] if len(parts) == 1 else shapely.MultiPolygon(list(parts))
    return hashlib.sha256(shapely.to_wkb(shapely.normalize(outline), byte_order=1)).hexdigest()


def _wgs84() -> Geod:
    from pyproj import Geod

    return Geod(ellps="WGS84")


def _polygons(geom: BaseGeometry) -> list[BaseGeometry]:
    import shapely

    return [part for part in shapely.get_parts(geom) if part.geom_type == "Polygon" and not part.is_empty]


def _centre(geom: BaseGeometry) -> tuple[float, float]:
    """Longitude and latitude of the mean direction of the vertices; right on both sides of the antimeridian."""
    import shapely

    lon, lat = np.radians(shapely.get_coordinates(geom)).T
    x, y, z = (np.cos(lat) * np.cos(lon)).mean(), (np.cos(lat) * np.sin(lon)).mean(), np.sin(lat).mean()
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


def _without_cracks(polygon: BaseGeometry) -> BaseGeometry:
    """The polygon without holes whose mean width (2 A / perimeter of a long strip) is below `_CRACK_WIDTH_M`."""
    import shapely

    geod = _wgs84()

    def width_m(ring: BaseGeometry) -> float:
        area_m2, length_m = geod.geometry_area_perimeter(shapely.Polygon(ring))
        return float(2 * abs(area_m2) / length_m)

    kept = [ring for ring in polygon.interiors if width_m(ring) >= _CRACK_WIDTH_M]
    return shapely.Polygon(polygon.exterior, kept)
