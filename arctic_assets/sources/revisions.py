"""Outlines that people edited: reading a file of them, and what a good one is.

A revision is a polygon for one glacier and inventory, with the editor, the reason, the date and scene of the image.
It arrives in any vector file that GDAL reads (GeoPackage, shapefile, GeoJSON), with the attributes
`glacier_id`, `inventory`, `editor`, `reason`, and, where known, `image_date`, `scene_ids` and `half_pixel_m` (of images
other than Landsat's); what a file lacks may be given beside it. An accepted revision is kept in the archive as
`revisions/<glacier>/<inventory>/<number>.geojson`, with its provenance like any provider's file: append-only, the
highest number counts.

Here: reading, judging, writing one revision. Not here: which outline a run takes, and what a revision changes.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arctic_assets.errors import SourceError
from arctic_assets.sources.base import Product, Verified

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

PRODUCT = Product(
    provider="revisions",
    name="Outlines edited by a person",
    version="1",
    licence="as the dataset",
    citation="The editor named in each row",
    doi="",
    homepage="",
    cadence="whenever somebody edits an outline",
    latency="none",
)
SUFFIXES = (".gpkg", ".shp", ".geojson", ".json")
LAYER = "outline"
"""Layer that is read where a file has several; else its first."""
FARTHEST_KM = 1.0
"""A revision farther than this from the glacier's reference outline is of another: margins move, glaciers stay."""
FARTHEST_FROM_POINT_KM = 20.0
"""The same where only the registry's point says where the glacier is."""
LARGEST_OVERLAP = 0.02
"""Share of a revision that may lie on a neighbour's outline: digitising along a shared divide is never exact."""


@dataclass(frozen=True)
class Revision:
    """One edited outline.

    Attributes:
        glacier_id: glacier.
        inventory: inventory it belongs to.
        geometry: polygon in longitude and latitude.
        editor: who drew it.
        reason: why.
        image_date: date of the image, if known.
        scene_ids: scenes it was drawn on.
        half_pixel_m: half a pixel of the image, m; None for Landsat's 15 m.
        file: name of the file it came in.
    """

    glacier_id: str
    inventory: str
    geometry: BaseGeometry
    editor: str
    reason: str
    image_date: dt.date | None
    scene_ids: tuple[str, ...]
    file: str
    half_pixel_m: float | None = None


@dataclass(frozen=True)
class Given:
    """Attributes that a file may lack; what is given here wins over the file's.

    `inventory_field` names the attribute that holds the inventory (`year`, for instance).
    """

    glacier_id: str | None = None
    inventory: str | None = None
    inventory_field: str = "inventory"
    editor: str | None = None
    reason: str | None = None
    image_date: dt.date | None = None
    half_pixel_m: float | None = None


def read(path: Path, given: Given) -> list[Revision]:
    """All revisions of a file, in longitude and latitude.

    Raises:
        SourceError: the file cannot be read, has no coordinate system, lacks an attribute that was not given, or has
            two outlines by one editor for one glacier and inventory.
    """
    import pyogrio
    import shapely

    try:
        layers = [str(name) for name, _ in pyogrio.list_layers(path)]
        frame = pyogrio.read_dataframe(path, layer=LAYER if LAYER in layers else layers[0])
    except Exception as error:  # GDAL's drivers raise what they like
        raise _refused(
            "an outline file cannot be read", path, f"a vector file ({', '.join(SUFFIXES)})", error
        ) from error
    if not hasattr(frame, "geometry") or frame.crs is None:
        raise _refused("an outline file has no coordinate system", path, "a CRS (a .prj beside a .shp)", "none")
    found = []
    for number, row in enumerate(frame.to_crs(4326).to_dict("records")):
        values = {k: v for k, v in row.items() if v is not None and v == v}
        inventory = given.inventory or values.get(given.inventory_field)
        if isinstance(inventory, float) and inventory.is_integer():
            inventory = int(inventory)
        facts = {
            "glacier_id": given.glacier_id or values.get("glacier_id"),
            "inventory": inventory,
            "editor": given.editor or values.get("editor"),
            "reason": given.reason or values.get("reason"),
        }
        texts = {name: str(value or "").strip() for name, value in facts.items()}
        lacking = [name for name, text in texts.items() if not text]
        if lacking:
            raise _refused(
                f"an outline lacks {', '.join(lacking)}",
                f"{path.name}, feature {number}",
                "attributes glacier_id, inventory, editor, reason",
                f"attributes {', '.join(map(str, frame.columns.drop('geometry')))}",
                "fill them in, or import with --glacier, --inventory or --inventory-field, --editor, --reason",
            )
        geometry = shapely.force_2d(row["geometry"])
        date = given.image_date or _date(values.get("image_date"), f"{path.name}, feature {number}")
        scenes = str(values.get("scene_ids", "")).replace(",", " ").split()
        half_pixel_m = _half_pixel(given.half_pixel_m or values.get("half_pixel_m"), f"{path.name}, feature {number}")
        found.append(
            Revision(
                **texts,
                geometry=geometry,
                image_date=date,
                scene_ids=tuple(scenes),
                file=path.name,
                half_pixel_m=half_pixel_m,
            )
        )
    if not found:
        raise _refused("an outline file is empty", path, "at least one polygon", "none")
    drawn = Counter((one.glacier_id, one.inventory, one.editor) for one in found)
    if twice := [key for key, n in drawn.items() if n > 1]:
        raise _refused(
            "a file has several outlines of one glacier by one editor",
            path,
            "one feature for a glacier, inventory and editor",
            f"{drawn[twice[0]]} of {', '.join(twice[0])}",
            "make the parts of a glacier one multipolygon",
        )
    return found


def judge(
    revision: Revision,
    glacier_ids: Sequence[str],
    inventories: Sequence[str],
    reference: BaseGeometry | None,
    neighbours: Mapping[str, BaseGeometry],
    point: tuple[float, float] | None = None,
) -> None:
    """Refuse what cannot be an outline of this glacier.

    Args:
        revision: what came.
        glacier_ids: of the registry.
        inventories: of the settings.
        reference: the glacier's reference outline, or None when it has none.
        neighbours: outlines of other glaciers near it, by name.
        point: longitude and latitude of the glacier in the registry, for one without a reference.

    Raises:
        SourceError: unknown glacier or inventory; an invalid polygon; far from the glacier; on a neighbour.
    """
    import shapely

    from arctic_assets.science.geometry import check_outline, geodesic_area_km2

    where = f"{revision.file}: {revision.glacier_id}, {revision.inventory}"
    if revision.glacier_id not in glacier_ids:
        raise _refused(
            "an outline names an unknown glacier", where, f"one of {', '.join(glacier_ids)}", revision.glacier_id
        )
    if revision.inventory not in inventories:
        raise _refused(
            "an outline names an unknown inventory", where, f"one of {', '.join(inventories)}", revision.inventory
        )
    check_outline(revision.geometry, where)
    place, farthest = reference, FARTHEST_KM
    if place is None and point is not None:
        place, farthest = shapely.Point(point), FARTHEST_FROM_POINT_KM
    apart = 0.0 if place is None else _distance_km(revision.geometry, place)
    if apart > farthest:
        raise _refused("an outline is far from its glacier", where, f"at most {farthest:g} km away", f"{apart:.1f} km")
    area = geodesic_area_km2(revision.geometry)
    for name, other in neighbours.items():
        common = shapely.intersection(revision.geometry, other)
        share = 0.0 if common.is_empty or common.area == 0 else geodesic_area_km2(common) / area
        before = 0.0
        if reference is not None and share > LARGEST_OVERLAP:
            shared = shapely.intersection(reference, other)
            before = 0.0 if shared.area == 0 else geodesic_area_km2(shared) / area
        if share - before > LARGEST_OVERLAP:
            raise _refused(
                "an outline lies on a neighbour",
                where,
                f"at most {LARGEST_OVERLAP:.0%} of it on {name}",
                f"{share:.1%}",
            )


def write(path: Path, revision: Revision, number: int, before: BaseGeometry | None, *, is_synthetic: bool) -> None:
    """Write an accepted revision with its effect: area before and after, and the geometry of the difference.

    Args:
        path: file to write.
        revision: what was accepted.
        number: 1 for the first of this glacier and inventory.
        before: the outline that counted until now, or None.
        is_synthetic: it is a revision among SYNTHETIC data.
    """
    import shapely

    from arctic_assets.science.geometry import geodesic_area_km2

    difference = None if before is None else shapely.symmetric_difference(before, revision.geometry)
    content = {
        "type": "FeatureCollection",
        "features": [
            {
                "type": "Feature",
                "properties": {
                    "role": "outline",
                    "is_synthetic": is_synthetic,
                    "glacier_id": revision.glacier_id,
                    "inventory": revision.inventory,
                    "revision": number,
                    "editor": revision.editor,
                    "reason": revision.reason,
                    "image_date": revision.image_date.isoformat() if revision.image_date else None,
                    "scene_ids": list(revision.scene_ids),
                    "file": revision.file,
                    "half_pixel_m": revision.half_pixel_m,
                    "area_before_km2": None if before is None else geodesic_area_km2(before),
                    "area_after_km2": geodesic_area_km2(revision.geometry),
                },
                "geometry": json.loads(shapely.to_geojson(revision.geometry)),
            },
            {
                "type": "Feature",
                "properties": {"role": "difference"},
                "geometry": None if difference is None else json.loads(shapely.to_geojson(difference)),
            },
        ],
    }
    path.write_text(json.dumps(content, ensure_ascii=False))


def verify(path: Path) -> Verified:
    """Look whether an archived revision is whole.

    Raises:
        SourceError: it is not what `write` writes.
    """
    try:
        facts = json.loads(path.read_text())["features"][0]["properties"]
        keep = ("glacier_id", "inventory", "revision", "editor", "reason", "image_date", "scene_ids", "file")
        more = ("half_pixel_m", "area_before_km2", "area_after_km2")
        return Verified(is_synthetic=facts["is_synthetic"], content={name: facts[name] for name in (*keep, *more)})
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise _refused("an archived outline cannot be read", path, "GeoJSON as this module writes it", error) from error


def geometry(path: Path) -> BaseGeometry:
    """The outline of an archived revision, longitude and latitude."""
    import shapely

    return shapely.from_geojson(json.dumps(json.loads(path.read_text())["features"][0]["geometry"]))


def difference(path: Path) -> BaseGeometry | None:
    """What an archived revision changed: added and removed parts; None for the first outline of an inventory."""
    import shapely

    found = json.loads(path.read_text())["features"][1]["geometry"]
    return None if found is None else shapely.from_geojson(json.dumps(found))


def _distance_km(one: BaseGeometry, other: BaseGeometry) -> float:
    """Geodesic distance between the nearest points, which are found in degrees: good enough to tell 20 km from 2000."""
    import shapely
    from pyproj import Geod

    line = shapely.shortest_line(one, other)
    (lon1, lat1), (lon2, lat2) = line.coords[0], line.coords[-1]
    return float(Geod(ellps="WGS84").inv(lon1, lat1, lon2, lat2)[2]) / 1000


def _date(value: Any, where: str) -> dt.date | None:
    if value in (None, ""):
        return None
    try:
        return dt.date.fromisoformat(str(value)[:10])
    except ValueError as error:
        raise _refused("an image date cannot be read", where, "YYYY-MM-DD", value) from error


def _half_pixel(value: Any, where: str) -> float | None:
    if value in (None, ""):
        return None
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number <= 100:
        raise _refused("half a pixel cannot be read", where, "half_pixel_m above 0 and up to 100 m", value)
    return number


def _refused(
    problem: str, where: object, expected: object, got: object, todo: str = "correct the file and import it again"
) -> SourceError:
    return SourceError(problem, where=where, expected=expected, got=got, todo=f"{todo}; nothing was changed")
