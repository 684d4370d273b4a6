from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from arctic_assets.errors import SourceError
from arctic_assets.science.geometry import (
    buffer_sigma_km2,
    check_outline,
    dissolve,
    geodesic_area_km2,
    geodesic_perimeter_km,
    half_pixel_bound_km2,
    half_pixel_of,
    independent_sigma_km2,
    outline_hash,
)

SHARED = Path(__file__).parents[3] / "shared"
RGI7 = SHARED / "real" / "mirror" / "rgi7"
needs_shared = pytest.mark.skipif(not RGI7.exists(), reason=f"real RGI7 files are absent: {RGI7}")


def rgi7(region: str) -> dict[str, shapely.Polygon]:
    import geopandas

    frame = geopandas.read_file(RGI7 / f"RGI2000-v7.0-G-{region}.zip")
    return dict(zip(frame["rgi_id"], frame.geometry, strict=True))


def circle(lon: float, lat: float, radius_m: float, vertices: int = 720) -> shapely.Polygon:
    azimuth = np.linspace(0, 360, vertices, endpoint=False)
    lons, lats, _ = Geod(ellps="WGS84").fwd(
        np.full(vertices, lon), np.full(vertices, lat), azimuth, np.full(vertices, radius_m)
    )
    return shapely.Polygon(np.column_stack([lons, lats]))


@needs_shared
def test_measures_of_hintereisferner() -> None:
    outline = rgi7("11_central_europe")["RGI2000-v7.0-G-11-03116"]
    check_outline(outline, "Hintereisferner")
    perimeter = geodesic_perimeter_km(outline)
    assert len(outline.interiors) == 5
    assert geodesic_area_km2(outline) == pytest.approx(8.0362, abs=5e-5)
    assert perimeter.total_km == pytest.approx(35.945, abs=5e-4)
    assert perimeter.outer_km == pytest.approx(34.205, abs=5e-4)
    assert perimeter.inner_km == pytest.approx(1.740, abs=5e-4)
    assert half_pixel_bound_km2(perimeter.total_km) == pytest.approx(0.5392, abs=5e-5)
    # A ragged outline: the buffer cuts its corners, so it stays a little below the half-pixel bound.
    assert 0.9 * 0.5392 < buffer_sigma_km2(outline) < 0.5392


@needs_shared
def test_dissolved_oetztal_keeps_area_and_loses_its_divides() -> None:
    members = list(rgi7("11_central_europe").values())
    whole = dissolve(members)
    assert geodesic_area_km2(whole) == pytest.approx(sum(map(geodesic_area_km2, members)), rel=1e-6)
    assert whole.geom_type == "Polygon"
    # Neighbours share vertices, so a divide is an edge that occurs twice; what is left is the free boundary.
    edges: Counter[frozenset[tuple[float, float]]] = Counter()
    for member in members:
        for ring in (member.exterior, *member.interiors):
            edges.update(map(frozenset, pairwise(map(tuple, shapely.get_coordinates(ring).tolist()))))
    free = (
        sum(Geod(ellps="WGS84").geometry_length(shapely.LineString(list(e))) for e, n in edges.items() if n == 1) / 1e3
    )
    summed = sum(geodesic_perimeter_km(member).total_km for member in members)
    assert free < 0.9 * summed
    assert geodesic_perimeter_km(whole).total_km == pytest.approx(free, rel=1e-6)
    widths = [2 * shapely.Polygon(ring).area / ring.length for ring in whole.interiors]
    assert min(widths) * 80_000 > 5  # metres, at least: 1 degree of longitude is 76 km here


@needs_shared
def test_provider_outline_that_touches_itself_is_refused_with_its_place() -> None:
    with pytest.raises(SourceError, match=r"Ring Self-intersection at lon -18\.98\d+, lat 63\.63\d+") as caught:
        check_outline(rgi7("06_iceland")["RGI2000-v7.0-G-06-00407"], "RGI2000-v7.0-G-06-00407")
    assert caught.value.where == "RGI2000-v7.0-G-06-00407"


@pytest.mark.parametrize(("lon", "lat"), [(10.0, 46.8), (60.0, 76.0), (180.0, 71.0), (-0.01, 64.0)])
def test_circle_has_its_area_perimeter_and_uncertainties(lon: float, lat: float) -> None:
    outline = circle(lon, lat, 3000.0)
    if lon == 180.0:
        outline = shapely.transform(outline, lambda c: np.column_stack([c[:, 0] % 360, c[:, 1]]))
    assert geodesic_area_km2(outline) == pytest.approx(np.pi * 9, rel=2e-5)
    assert geodesic_perimeter_km(outline).total_km == pytest.approx(2 * np.pi * 3, rel=1e-5)
    # For a smooth outline the buffer method equals perimeter times buffer.
    assert buffer_sigma_km2(outline) == pytest.approx(half_pixel_bound_km2(2 * np.pi * 3), rel=1e-3)


def test_rock_island_takes_area_and_adds_perimeter() -> None:
    outer, rock = circle(15, 78, 3000), circle(15, 78, 500)
    for ring in (rock.exterior.coords, list(rock.exterior.coords)[::-1]):
        outline = shapely.Polygon(outer.exterior.coords, [ring])
        assert geodesic_area_km2(outline) == pytest.approx(np.pi * (9 - 0.25), rel=2e-5)
        perimeter = geodesic_perimeter_km(outline)
        assert perimeter.outer_km == pytest.approx(2 * np.pi * 3, rel=1e-5)
        assert perimeter.inner_km == pytest.approx(2 * np.pi * 0.5, rel=1e-5)
        assert perimeter.total_km == perimeter.outer_km + perimeter.inner_km


def test_half_pixel_bound_converts_metres() -> None:
    assert half_pixel_bound_km2(40.53) == pytest.approx(0.608, abs=5e-4)
    assert half_pixel_bound_km2(40.53, half_pixel_m=7.5) == pytest.approx(0.304, abs=5e-4)


def test_buffer_of_an_archipelago_is_the_sum_of_its_islands() -> None:
    islands = [circle(52 + 4 * (i % 5), 71 + i // 5, 2000, 90) for i in range(25)]
    archipelago = shapely.MultiPolygon(islands)
    alone = sum(buffer_sigma_km2(island) for island in islands)
    assert buffer_sigma_km2(archipelago) == pytest.approx(alone, rel=1e-3)


def test_buffer_of_an_outline_split_at_the_antimeridian_is_that_of_the_whole() -> None:
    whole = shapely.box(179.8, 71.0, 180.2, 71.1)
    east = shapely.MultiPolygon([shapely.box(179.8, 71.0, 180, 71.1), shapely.box(-180, 71.0, -179.8, 71.1)])
    # The cut adds two sides of 11 km; a projection centred on Greenwich would fail altogether.
    cut = half_pixel_bound_km2(2 * 11.16)
    assert buffer_sigma_km2(east) == pytest.approx(buffer_sigma_km2(whole), abs=1.1 * cut)


def divided_rectangle(cuts: list[float], east: list[float]) -> tuple[shapely.Polygon, shapely.Polygon]:
    """A rectangle cut by a jagged divide; the eastern member has vertices of its own on the divide as well."""
    divide = [(15.1 + dx, lat) for dx, lat in zip(cuts, np.linspace(78.0, 78.1, len(cuts)), strict=True)]
    west_ring = [(15.0, 78.0), *divide, (15.0, 78.1)]
    line = shapely.LineString(divide)
    points = {line.project(shapely.Point(p)): p for p in divide}
    for share in east:
        point = line.interpolate(share, normalized=True)
        points.setdefault(line.project(point), (point.x, point.y))
    east_ring = [(15.2, 78.0), *(points[at] for at in sorted(points)), (15.2, 78.1)]
    return shapely.Polygon(west_ring), shapely.Polygon(east_ring)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-0.05, 0.05), min_size=2, max_size=12),
    st.lists(st.floats(0.01, 0.99), max_size=6),
)
def test_dissolved_members_leave_no_sliver(cuts: list[float], east: list[float]) -> None:
    members = divided_rectangle(cuts, east)
    whole = dissolve(members)
    assert whole.geom_type == "Polygon"
    assert len(whole.interiors) == 0
    assert geodesic_area_km2(whole) == pytest.approx(sum(map(geodesic_area_km2, members)), rel=1e-3)
    box = shapely.box(15.0, 78.0, 15.2, 78.1)
    assert geodesic_perimeter_km(whole).total_km == pytest.approx(geodesic_perimeter_km(box).total_km, rel=2e-3)


def test_dissolve_closes_a_crack_but_keeps_a_rock_island_between_members() -> None:
    def members(half_width_deg: float) -> list[shapely.Polygon]:
        divide = [(15.1, 78.0), (15.1, 78.04), (15.1 + half_width_deg, 78.05), (15.1, 78.06), (15.1, 78.1)]
        mirrored = [(2 * 15.1 - lon, lat) for lon, lat in divide]
        return [
            shapely.Polygon([(15.0, 78.0), *mirrored, (15.0, 78.1)]),
            shapely.Polygon([(15.2, 78.0), *divide, (15.2, 78.1)]),
        ]

    metre = 1 / 23_000  # of longitude at 78 N
    assert len(dissolve(members(0.4 * metre)).interiors) == 0
    assert len(dissolve(members(60 * metre)).interiors) == 1


def test_dissolve_returns_a_single_member_unchanged() -> None:
    only = shapely.Polygon([(15, 78, 300), (15.1234567891, 78, 310), (15.1, 78.1, 320)])
    assert dissolve([only]) is only


def test_dissolve_keeps_members_apart_that_do_not_touch() -> None:
    islands = [circle(15, 78, 1000), circle(16, 78, 1000)]
    assert len(shapely.get_parts(dissolve(islands))) == 2


def test_dissolve_refuses_overlapping_members_and_none_at_all() -> None:
    with pytest.raises(SourceError, match="overlap"):
        dissolve([shapely.box(15, 78, 15.2, 78.1), shapely.box(15.1, 78, 15.3, 78.1)])
    with pytest.raises(SourceError, match="no member"):
        dissolve([])


@pytest.mark.parametrize(
    ("geom", "message"),
    [
        (None, "not polygonal"),
        (shapely.Point(15, 78), "not polygonal"),
        (shapely.Polygon(), "empty"),
        (shapely.Polygon([(15, 78), (16, 78), (np.inf, 79)]), "not finite"),
        (shapely.box(631587, 5186687, 632587, 5187687), "not in longitude and latitude\\.\n"),
        (shapely.box(61.2, -149.1, 61.3, -148.9), "axes are swapped"),
        (shapely.box(-185, 70, -179, 71), "not in longitude and latitude"),
        (shapely.Polygon([(179.9, 71), (-179.9, 71), (-179.9, 72), (179.9, 72)]), "more than 180 degrees"),
        (shapely.Polygon([(15, 78), (16, 79), (16, 78), (15, 79)]), r"Self-intersection at lon 15\.5, lat 78\.5"),
    ],
)
def test_check_outline_says_what_is_wrong(geom: object, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        check_outline(geom, "outlines.gpkg, row 3")
    assert caught.value.where == "outlines.gpkg, row 3"
    assert caught.value.expected
    assert caught.value.todo


def test_check_outline_accepts_both_longitude_conventions_and_the_antimeridian() -> None:
    check_outline(shapely.box(359.5, 70, 360, 71), "")
    check_outline(shapely.box(-180, 70, -179, 71), "")
    check_outline(shapely.MultiPolygon([shapely.box(-180, 70, -179, 71), shapely.box(179, 70, 180, 71)]), "")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 50), st.booleans(), st.floats(0, 3000))
def test_hash_is_that_of_the_outline_not_of_its_writing(start: int, backwards: bool, height: float) -> None:
    ring = np.asarray(circle(15, 78, 1000, 51).exterior.coords)[:-1]
    rolled = np.roll(ring, start, axis=0)[:: -1 if backwards else 1]
    written = shapely.Polygon(np.column_stack([rolled, np.full(len(rolled), height)]))
    assert outline_hash(written) == outline_hash(shapely.Polygon(ring))
    assert outline_hash(shapely.MultiPolygon([written])) == outline_hash(shapely.Polygon(ring))


def test_hash_changes_with_a_coordinate_and_not_with_the_order_of_parts() -> None:
    first, second = circle(15, 78, 1000), circle(16, 78, 1000)
    assert outline_hash(shapely.MultiPolygon([first, second])) == outline_hash(shapely.MultiPolygon([second, first]))
    assert outline_hash(first) != outline_hash(shapely.transform(first, lambda c: c + 1e-9))


def test_independent_errors_are_the_lower_limit() -> None:
    """Geitlandsjökull: 40.53 km of boundary, bound 0.608 km2, independent errors 37 times less."""
    assert half_pixel_bound_km2(40.53) == pytest.approx(0.608, abs=5e-4)
    assert independent_sigma_km2(40.53) == pytest.approx(0.0165, abs=5e-5)
    assert independent_sigma_km2(40.53, 30.0) == pytest.approx(0.0165 * 2**1.5, rel=0.005)


@pytest.mark.parametrize(
    ("scenes", "half_pixel_m"),
    [
        ((), 15),
        (("LT05_L2SP_215003_19850807_20200918_02_T1", "LC08_L2SP_215003_20150820_20200909_02_T1"), 15),
        (("LM02_L1TP_232003_19760718_20200907_02_T2",), 30),
        (("LT05_L2SP_215003_19850807_20200918_02_T1", " lm51230101984200"), 30),
        (("aerial photographs of 1936",), 15),
    ],
)
def test_half_a_pixel_is_that_of_the_coarsest_scene(scenes: tuple[str, ...], half_pixel_m: float) -> None:
    assert half_pixel_of(scenes) == half_pixel_m
