"""Outlines that people edited: what is read, what is refused, and what is kept."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
from shapely import box

from arctic_assets.errors import ArcticAssetsError, SourceError
from arctic_assets.science.geometry import geodesic_area_km2
from arctic_assets.sources import revisions
from arctic_assets.sources.revisions import Given, Revision

OUTLINE = box(11.80, 78.87, 11.90, 78.90)
FACTS = {"glacier_id": "here", "inventory": "2015", "editor": "Ada", "reason": "moraine is no ice"}


def write(path: Path, *records: dict[str, Any], geometry: Any = OUTLINE, crs: Any = 4326, layer: str = "any") -> Path:
    frame = gpd.GeoDataFrame(list(records) or [FACTS], geometry=[geometry] * max(len(records), 1), crs=crs)
    frame.to_file(path, **({"layer": layer} if path.suffix == ".gpkg" else {}))
    return path


def revision(**changes: Any) -> Revision:
    whole = {**FACTS, "geometry": OUTLINE, "image_date": dt.date(2015, 8, 20), "scene_ids": (), "file": "x.gpkg"}
    return Revision(**{**whole, **changes})


@pytest.mark.parametrize("suffix", [".gpkg", ".shp", ".geojson"])
def test_vector_formats_are_read_in_longitude_and_latitude(suffix: str, tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        [{**FACTS, "image_date": "2015-08-20", "scene_ids": "LC08_1, LC08_2", "half_pixel": 0}],
        geometry=[OUTLINE],
        crs=4326,
    )
    path = tmp_path / f"edited{suffix}"
    (frame if suffix == ".geojson" else frame.to_crs(32633)).to_file(path)
    (found,) = revisions.read(path, Given())
    assert (found.glacier_id, found.inventory, found.editor, found.reason) == tuple(FACTS.values())
    assert (found.image_date, found.scene_ids, found.file) == (dt.date(2015, 8, 20), ("LC08_1", "LC08_2"), path.name)
    assert geodesic_area_km2(found.geometry) == pytest.approx(geodesic_area_km2(OUTLINE), rel=1e-4)


def test_of_several_layers_the_outline_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", geometry=box(0, 0, 1, 1), layer="first")
    write(path, geometry=OUTLINE, layer="outline")
    (found,) = revisions.read(path, Given())
    assert found.geometry.equals(OUTLINE)


def test_what_is_given_wins_and_a_year_may_be_the_inventory(tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", {"year": 1936.0, "half_pixel_m": 5.0})
    given = Given("there", None, "year", "Grace", "first map", dt.date(1936, 7, 1))
    (found,) = revisions.read(path, given)
    assert (found.glacier_id, found.inventory, found.editor) == ("there", "1936", "Grace")
    assert (found.image_date, found.half_pixel_m) == (dt.date(1936, 7, 1), 5.0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"editor": None}, "an outline lacks editor"),
        ({"reason": "  "}, "an outline lacks reason"),
        ({"image_date": "last summer"}, "an image date cannot be read"),
        ({"half_pixel_m": 4000.0}, "half a pixel cannot be read"),
    ],
)
def test_attributes_that_lack_or_are_wrong(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.gpkg", {**FACTS, **change})
    with pytest.raises(SourceError, match=told) as refused:
        revisions.read(path, Given())
    assert "a.gpkg, feature 0" in str(refused.value) and "nothing was changed" in str(refused.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    text = tmp_path / "notes.gpkg"
    text.write_text("dear colleague")
    with pytest.raises(SourceError, match="cannot be read"):
        revisions.read(text, Given())
    with pytest.raises(SourceError, match="no coordinate system"):
        revisions.read(write(tmp_path / "bare.shp", crs=None), Given())
    empty = tmp_path / "empty.geojson"
    empty.write_text('{"type": "FeatureCollection", "features": []}')
    with pytest.raises(SourceError, match=r"empty|no coordinate system"):
        revisions.read(empty, Given())


def test_parts_of_a_glacier_are_one_feature(tmp_path: Path) -> None:
    """Of two features by one editor the second would silently replace the first."""
    with pytest.raises(SourceError, match="several outlines of one glacier by one editor") as refused:
        revisions.read(write(tmp_path / "parts.gpkg", FACTS, FACTS), Given())
    assert "multipolygon" in str(refused.value)
    both = revisions.read(write(tmp_path / "editors.gpkg", FACTS, {**FACTS, "editor": "Grace"}), Given())
    assert [one.editor for one in both] == ["Ada", "Grace"]


def judge(
    one: Revision,
    reference: Any = OUTLINE,
    neighbours: dict[str, Any] | None = None,
    point: tuple[float, float] | None = None,
) -> None:
    revisions.judge(one, ("here", "there"), ("rgi7", "2015"), reference, neighbours or {}, point)


def test_a_good_outline_is_accepted() -> None:
    judge(revision())
    judge(revision(), reference=None)
    judge(revision(), neighbours={"RGI2000-v7.0-G-07-00001": shapely.affinity.translate(OUTLINE, xoff=0.0999)})


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (revision(glacier_id="atlantis"), "unknown glacier"),
        (revision(inventory="1492"), "unknown inventory"),
        (revision(geometry=shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])), "Self-intersection"),
        (revision(geometry=shapely.Point(11.8, 78.9)), "not polygonal"),
        (revision(geometry=None), "not polygonal"),
        (revision(geometry=shapely.Polygon()), "empty"),
        (revision(geometry=shapely.affinity.translate(OUTLINE, yoff=-3)), "far from its glacier"),
    ],
)
def test_what_cannot_be_an_outline_of_this_glacier_is_refused(one: Revision, told: str) -> None:
    with pytest.raises(ArcticAssetsError, match=told) as refused:
        judge(one)
    assert "x.gpkg" in str(refused.value)


def test_how_far_is_far() -> None:
    """0.0003 degrees are 33 m: a margin may have moved so far from the reference, but not to the next valley."""
    judge(revision(geometry=shapely.affinity.translate(OUTLINE, yoff=0.0303)))
    with pytest.raises(SourceError, match="far from its glacier"):
        judge(revision(geometry=shapely.affinity.translate(OUTLINE, yoff=0.045)))
    judge(revision(), reference=None, point=(11.85, 79.05))
    with pytest.raises(SourceError, match="at most 20 km away"):
        judge(revision(), reference=None, point=(11.85, 79.2))


def test_an_outline_on_a_neighbour_is_refused_unless_the_reference_lay_there_already() -> None:
    beside = {"RGI2000-v7.0-G-07-00001": shapely.affinity.translate(OUTLINE, xoff=0.05)}
    with pytest.raises(SourceError, match="lies on a neighbour") as refused:
        judge(revision(), reference=shapely.affinity.translate(OUTLINE, xoff=-0.05), neighbours=beside)
    assert "RGI2000-v7.0-G-07-00001" in str(refused.value)
    judge(revision(), reference=OUTLINE, neighbours=beside)


def test_what_is_kept_says_before_after_and_the_difference(tmp_path: Path) -> None:
    before = box(11.80, 78.87, 11.92, 78.90)
    path = tmp_path / "001.geojson"
    revisions.write(path, revision(half_pixel_m=2.5), 3, before, is_synthetic=True)
    facts = revisions.verify(path)
    assert facts.is_synthetic and facts.content["revision"] == 3 and facts.content["half_pixel_m"] == 2.5
    assert facts.content["area_before_km2"] == pytest.approx(geodesic_area_km2(before))
    assert facts.content["area_after_km2"] == pytest.approx(geodesic_area_km2(OUTLINE))
    assert revisions.geometry(path).equals(OUTLINE)
    difference = revisions.difference(path)
    assert difference is not None
    lost = facts.content["area_before_km2"] - facts.content["area_after_km2"]
    assert geodesic_area_km2(difference) == pytest.approx(lost, rel=1e-5)
    path.write_text("{}")
    with pytest.raises(SourceError, match="cannot be read"):
        revisions.verify(path)
