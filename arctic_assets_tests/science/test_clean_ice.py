"""Mapped on scenes whose truth is known: a disc of ice in a plane, with all that stands in the way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio import Affine
from scipy.ndimage import distance_transform_edt

from arctic_assets.errors import SourceError
from arctic_assets.science import clean_ice, geometry
from arctic_assets.science.clean_ice import STANDARD, Thresholds

CRS = "EPSG:32633"
SIZE = 260
TRANSFORM = Affine(30, 0, 500_000 - 30 * SIZE / 2, 0, -30, 7_400_000 + 30 * SIZE / 2)
CENTRE = shapely.Point(500_000, 7_400_000)
RADIUS = 2500.0
WEST, EAST, SOUTH, NORTH = CENTRE.x - 4000, CENTRE.x + 4000, CENTRE.y - 4000, CENTRE.y + 4000

# blue, green, red, NIR, SWIR
ICE = (0.55, 0.55, 0.50, 0.40, 0.05)
SNOW = (0.87, 0.86, 0.84, 0.76, 0.09)
DIM_ICE = (0.12, 0.10, 0.08, 0.05, 0.01)
ROCK = (0.12, 0.14, 0.17, 0.20, 0.24)
DIM_ROCK = (0.035, 0.04, 0.038, 0.035, 0.017)
MEADOW = (0.04, 0.07, 0.05, 0.30, 0.17)
WATER = (0.07, 0.06, 0.03, 0.01, 0.005)
LAKE = (0.12, 0.13, 0.09, 0.04, 0.01)
CLOUD = (0.62, 0.60, 0.60, 0.62, 0.45)
CLEAR, SNOWY, CLOUDY, SHADED, NOTHING = 21824, 30048, 22280, 23888, 1

Scene = tuple[dict[str, NDArray[np.float32]], NDArray[np.uint16]]


def disc(radius: float = RADIUS, x: float = 0.0, y: float = 0.0) -> shapely.Polygon:
    return shapely.Point(CENTRE.x + x, CENTRE.y + y).buffer(radius, quad_segs=64)


def degrees(geom: Any) -> Any:
    move = Transformer.from_crs(CRS, "EPSG:4326", always_xy=True)
    return shapely.transform(geom, move.transform, interleaved=False)


def metres(geom: Any) -> Any:
    move = Transformer.from_crs("EPSG:4326", CRS, always_xy=True)
    return shapely.transform(geom, move.transform, interleaved=False)


def cells(geom: Any) -> NDArray[np.bool_]:
    return clean_ice._burnt(geom, (SIZE, SIZE), TRANSFORM)


def scene(*layers: tuple[Any, tuple[float, ...], int]) -> Scene:
    """Rock, with layers of (geometry or mask, reflectance, qa) upon it."""
    names = ("blue", "green", "red", "nir", "swir")
    bands = {name: np.full((SIZE, SIZE), value, np.float32) for name, value in zip(names, ROCK, strict=True)}
    qa = np.full((SIZE, SIZE), CLEAR, np.uint16)
    for where, values, flag in layers:
        mask = where if isinstance(where, np.ndarray) else cells(where)
        for name, value in zip(bands, values, strict=True):
            bands[name][mask] = value
        qa[mask] = flag
    return bands, qa


def mapped(*scenes: Scene, rgi: Any = None, **options: Any) -> clean_ice.OutlineResult:
    ice, n = clean_ice.vote([clean_ice.classify(*one) for one in scenes])
    rgi = disc() if rgi is None else rgi
    return clean_ice.outline(ice, n, TRANSFORM, CRS, degrees(rgi), **options)


def area_km2(result: clean_ice.OutlineResult) -> float:
    assert result.geometry is not None, result.reason
    geometry.check_outline(result.geometry, "result")
    return geometry.geodesic_area_km2(result.geometry)


def true_km2(geom: Any) -> float:
    return geometry.geodesic_area_km2(degrees(geom))


# --- cells -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reflectance", "qa", "is_ice", "is_valid"),
    [
        (ICE, SNOWY, True, True),
        (SNOW, SNOWY, True, True),
        (DIM_ICE, SNOWY, True, True),
        ((0.55, 0.55, 0.50, 0.40, -0.02), SNOWY, True, True),  # SWIR below zero after atmospheric correction
        (ROCK, CLEAR, False, True),
        (DIM_ROCK, CLEAR, False, True),  # red/SWIR 2.2: only blue tells it from ice
        ((0.15, 0.16, 0.17, 0.18, 0.08), CLEAR, False, True),  # red/SWIR 2.1, NDSI 0.33: wet red rock
        ((0.15, 0.15, 0.10, 0.08, 0.06), CLEAR, False, True),  # red/SWIR 1.7, NDSI 0.43: murky water
        ((0.06, 0.007, 0.006, 0.02, -0.02), CLEAR, False, True),  # noise in deep shadow, SWIR below zero
        (MEADOW, CLEAR, False, True),
        (WATER, 21952, False, True),
        (LAKE, 21952, False, True),
        (CLOUD, CLOUDY, False, False),
        (ICE, CLOUDY, True, True),  # taken for cloud by mistake
        (ICE, SNOWY | 0b10, True, True),  # dilated cloud
        (ROCK, CLOUDY, False, False),
        (DIM_ICE, CLOUDY, False, False),  # not bright: it may be the cloud's edge
        (DIM_ICE, SHADED, True, True),
        (DIM_ROCK, SHADED, False, False),
        (ICE, NOTHING, False, False),
        ((np.nan,) * 5, CLEAR, False, False),
    ],
)
def test_single_cells(reflectance: tuple[float, ...], qa: int, is_ice: bool, is_valid: bool) -> None:
    bands = {
        name: np.array([[value]], np.float32)
        for name, value in zip(("blue", "green", "red", "nir", "swir"), reflectance, strict=True)
    }
    ice, valid = clean_ice.classify(bands, np.array([[qa]], np.uint16))
    assert (bool(ice[0, 0]), bool(valid[0, 0])) == (is_ice, is_valid)


def test_thresholds_count_and_are_on_record() -> None:
    bands, qa = scene((disc(), (0.3, 0.25, 0.25, 0.2, 0.1), SNOWY))  # red/SWIR 2.5, NDSI 0.43
    assert clean_ice.classify(bands, qa)[0].any()
    assert not clean_ice.classify(bands, qa, Thresholds(ratio=2.6, ndsi=0.45))[0].any()
    assert not clean_ice.classify(bands, qa, Thresholds(ratio=2.6))[0].any()
    assert not clean_ice.classify(bands, qa, Thresholds(ndsi=0.45))[0].any()
    assert not clean_ice.classify(bands, qa, Thresholds(blue=0.31))[0].any()
    assert Thresholds(ratio=2.6).text.startswith("ratio=2.6, ndsi=0.4, blue=0.05, swir_floor=0.005,")
    assert "min_patch_km2=0.01" in STANDARD.text and "buffer_m=500" in STANDARD.text
    assert "debris_slope_deg=24," in STANDARD.text
    assert "debris_slope_deg=not applied," in replace(STANDARD, debris_slope_deg=None).text


def test_counts_are_refused() -> None:
    bands, qa = scene()
    with pytest.raises(SourceError, match="not in reflectances"):
        clean_ice.classify({name: band * 36000 for name, band in bands.items()}, qa)


def test_votes() -> None:
    yes, no = np.array([[True]]), np.array([[False]])
    for says, is_ice, count in (
        ([(yes, yes)], True, 1),
        ([(yes, yes), (no, yes)], False, 2),  # seasonal snow in one of two
        ([(yes, yes), (no, no)], True, 1),  # the other does not see it
        ([(yes, yes), (yes, yes), (no, yes)], True, 3),
        ([(no, no)], False, 0),
    ):
        ice, n = clean_ice.vote(says)
        assert (bool(ice[0, 0]), int(n[0, 0])) == (is_ice, count)
    with pytest.raises(SourceError, match="no scene"):
        clean_ice.vote([])


# --- outlines --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("radius", [RADIUS - 300, RADIUS, RADIUS + 300])
def test_an_outline_follows_the_ice(radius: float) -> None:
    result = mapped(scene((disc(radius), ICE, SNOWY)))
    assert area_km2(result) == pytest.approx(true_km2(disc(radius)), rel=2e-3)
    assert shapely.hausdorff_distance(metres(result.geometry), disc(radius)) < 30
    grown = ("growth_beyond_rgi7",) if radius > RADIUS else ()
    assert (result.share_unclassified, result.flags, result.reason) == (0, grown, None)
    growth = max(0.0, true_km2(disc(radius)) - true_km2(disc()))
    assert result.growth_km2 == pytest.approx(growth, abs=0.08)


def test_the_boundary_has_no_steps() -> None:
    """The cells' own edges are 4/pi times as long as a circle; a smooth boundary is as long as the circle."""
    result = mapped(scene((disc(), ICE, SNOWY)))
    length = geometry.geodesic_perimeter_km(result.geometry).total_km
    assert length == pytest.approx(2 * np.pi * RADIUS / 1000, rel=0.01)
    ring = shapely.get_coordinates(metres(result.geometry))
    ahead = np.diff(ring, axis=0)
    turns = np.degrees(np.diff(np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))))
    assert np.abs(turns).max() < 45


@pytest.mark.parametrize("area_m2", [60_000, 300_000, 3_000_000])
def test_small_glaciers_keep_their_area(area_m2: float) -> None:
    """An elongated glacier, where smoothing alone would eat the ends."""
    width = np.sqrt(area_m2 / 4)
    slab = shapely.box(CENTRE.x - 2 * width, CENTRE.y - width / 2, CENTRE.x + 2 * width, CENTRE.y + width / 2)
    tongue = shapely.affinity.rotate(slab, 27)
    counted = cells(tongue).sum() * 900 / 1e6
    assert area_km2(mapped(scene((tongue, ICE, SNOWY)), rgi=tongue)) == pytest.approx(counted, rel=0.015)


def test_ice_counts_to_500_m_beyond_the_reference_and_where_it_hangs_together() -> None:
    everything = np.ones((SIZE, SIZE), bool)
    assert area_km2(mapped(scene((everything, ICE, SNOWY)))) == pytest.approx(true_km2(disc(RADIUS + 500)), rel=2e-3)
    patch = disc(150, RADIUS + 300)
    result = mapped(scene((disc(), ICE, SNOWY), (patch, SNOW, SNOWY)))
    assert area_km2(result) == pytest.approx(true_km2(disc()), rel=2e-3)
    near = mapped(scene((everything, ICE, SNOWY)), thresholds=replace(STANDARD, buffer_m=100))
    assert area_km2(near) == pytest.approx(true_km2(disc(RADIUS + 100)), rel=2e-3)


def test_divides_are_those_of_the_reference() -> None:
    """The same ice on both sides: the two halves meet on the divide, and neither grows across."""
    west = disc().intersection(shapely.box(WEST, SOUTH, CENTRE.x + 123, NORTH))
    east = disc().difference(west)
    ice = scene((disc(RADIUS + 200), ICE, SNOWY))
    one = mapped(ice, rgi=west, neighbours=[degrees(east)])
    other = mapped(ice, rgi=east, neighbours=[degrees(west)])
    shared = shapely.intersection(metres(one.geometry), metres(other.geometry)).area
    assert shared < 0.005e6, "beyond the ends of the divide too"
    assert area_km2(one) + area_km2(other) == pytest.approx(true_km2(disc(RADIUS + 200)), rel=2e-3)
    inside = metres(one.geometry).intersection(disc())
    assert inside.symmetric_difference(west).area / west.area < 1e-3
    alone = mapped(ice, rgi=west)
    assert area_km2(alone) > area_km2(one) + 1


def test_specks_and_small_holes_go_and_rock_islands_stay() -> None:
    island, crack = disc(120, 700, 0), disc(40, -900, 300)
    speck = disc(45, 0, RADIUS + 150)
    result = mapped(scene((disc(), ICE, SNOWY), (island, ROCK, CLEAR), (crack, ROCK, CLEAR), (speck, ICE, SNOWY)))
    (polygon,) = shapely.get_parts(result.geometry)
    assert len(polygon.interiors) == 1
    hole = shapely.Polygon(metres(polygon).interiors[0])
    assert hole.centroid.distance(island.centroid) < 10
    assert hole.area == pytest.approx(island.area, rel=0.1)
    assert area_km2(result) == pytest.approx(true_km2(disc()) - true_km2(island), rel=2e-3)


def test_a_glacier_in_two_parts() -> None:
    gap = shapely.box(CENTRE.x - 150, SOUTH, CENTRE.x + 150, NORTH)
    result = mapped(scene((disc(), ICE, SNOWY), (gap, ROCK, CLEAR)))
    assert len(shapely.get_parts(result.geometry)) == 2
    assert area_km2(result) == pytest.approx(true_km2(disc().difference(gap)), rel=5e-3)


def stripes(width: int, period: int = 33, start: int = 0) -> NDArray[np.bool_]:
    rows, cols = np.indices((SIZE, SIZE))
    return (rows + cols // 6 + start) % period < width


@pytest.mark.parametrize("width", [3, 7, 12])
def test_gaps_of_landsat_7_are_filled(width: int) -> None:
    smaller = disc(RADIUS - 200)
    result = mapped(scene((smaller, ICE, SNOWY), (stripes(width), ICE, NOTHING)))
    assert area_km2(result) == pytest.approx(true_km2(smaller), rel=0.015)
    assert result.share_unclassified == pytest.approx(width / 33, abs=0.03)
    assert result.flags == ("gaps_filled",)
    two = mapped(
        scene((smaller, ICE, SNOWY), (stripes(width), ICE, NOTHING)),
        scene((smaller, ICE, SNOWY), (stripes(width, start=16), ICE, NOTHING)),
    )
    assert two.share_unclassified < 0.01
    assert area_km2(two) == pytest.approx(true_km2(smaller), rel=2e-3)


@pytest.mark.parametrize("reach", [0.4, 1.0, 2.5, 7.5, 40.0])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.9])
def test_gaps_are_filled_as_by_distances_over_the_whole_grid(reach: float, share: float) -> None:
    draw = np.random.default_rng(7)
    ice, seen, inside = draw.random((40, 60)) < 0.5, draw.random((40, 60)) < share, draw.random((40, 60)) < 0.5
    seen[10:30, 20:45] = False
    distance, nearest = distance_transform_edt(~seen, return_indices=True)
    core = distance > reach
    wide = ~seen & (distance_transform_edt(~core) <= reach) if core.any() else core
    filled, is_wide = clean_ice._filled(ice, seen, inside, reach)
    assert (is_wide == wide).all()
    assert (filled == np.where(wide, inside, ice[tuple(nearest)])).all()


def test_growth_goes_to_the_nearer_glacier() -> None:
    inside, other = cells(disc(900)), disc(700, 2500, 400)
    mask = np.random.default_rng(7).random((SIZE, SIZE)) < 0.3
    theirs = cells(other)
    nearer = distance_transform_edt(~theirs) < distance_transform_edt(~inside)
    found = clean_ice._of_others(mask, inside, other, TRANSFORM)
    assert (found == (mask & nearer & ~theirs)).all() and found.any()
    assert not clean_ice._of_others(mask, inside, shapely.Polygon(), TRANSFORM).any()


def test_a_cloud_at_the_margin_neither_adds_nor_takes() -> None:
    cloud = disc(700, RADIUS)
    result = mapped(scene((disc(), ICE, SNOWY), (cloud, CLOUD, CLOUDY)))
    assert area_km2(result) == pytest.approx(true_km2(disc()), rel=5e-3)
    share = disc().intersection(cloud).area / disc().area
    assert result.share_assumed == pytest.approx(share, abs=0.01)
    assert result.share_unclassified == pytest.approx(share, abs=0.01)
    assert result.flags == ("gaps_filled", "assumed_as_rgi7")
    assert result.assumed_sigma_km2 < 0.01, "nothing moved where the margin was seen"


@pytest.mark.parametrize("retreat", [300, -300])
def test_margin_under_a_cloud_is_as_uncertain_as_the_seen_one_moved(retreat: float) -> None:
    """Under the cloud the outline is the old one: what it misses there lies within the stated uncertainty."""
    now, cloud = disc(RADIUS - retreat), disc(700, RADIUS)
    result = mapped(scene((now, ICE, SNOWY), (cloud, CLOUD, CLOUDY)))
    missed = abs(area_km2(result) - true_km2(now))
    hidden = disc().boundary.intersection(cloud).length / 1000
    assert result.assumed_sigma_km2 == pytest.approx(0.3 * hidden, rel=0.2)
    assert 0.5 * result.assumed_sigma_km2 < missed < result.assumed_sigma_km2
    assert mapped(scene((now, ICE, SNOWY))).assumed_sigma_km2 == 0


def test_uncertainty_of_unseen_margin_by_cells() -> None:
    """Ten by ten cells that lost a row: 9 of 36 cells of the margin lie in the gap, or all, or those are a divide."""
    reference = np.zeros((14, 14), bool)
    reference[2:12, 2:12] = True
    ice, gap, none = reference.copy(), np.zeros_like(reference), np.zeros_like(reference)
    ice[2, :] = False
    gap[:, 11] = True  # ten of the margin, one of which the ice has left too
    assert clean_ice.assumed_sigma_km2(ice, reference, gap, none, 0.5) == pytest.approx(9 * 10 / 26 * 0.5)
    assert clean_ice.assumed_sigma_km2(ice, reference, none, none, 0.5) == 0
    assert clean_ice.assumed_sigma_km2(ice, reference, ~none, none, 0.5) == 100 * 0.5
    beside = none.copy()
    beside[1:13, 12] = True
    assert clean_ice.assumed_sigma_km2(ice, reference, gap, beside, 0.5) == 0


def test_another_scene_sees_below_the_cloud() -> None:
    smaller = disc(RADIUS - 300)
    clouded = scene((smaller, ICE, SNOWY), (disc(700, RADIUS), CLOUD, CLOUDY))
    fresh_snow = scene((smaller, ICE, SNOWY), (disc(300, -RADIUS), SNOW, SNOWY))
    result = mapped(clouded, fresh_snow)
    assert area_km2(result) == pytest.approx(true_km2(smaller), rel=2e-3)
    assert result.flags == ()
    assert area_km2(mapped(fresh_snow)) > area_km2(result) + 0.1, "snow in the only scene is taken for ice"


def test_shadow_and_flags_on_ice_do_not_lose_it() -> None:
    strip = shapely.box(CENTRE.x - 400, SOUTH, CENTRE.x + 400, NORTH).intersection(disc())
    dim = shapely.box(WEST, CENTRE.y - 300, EAST, CENTRE.y + 300).intersection(disc())
    beside = disc(RADIUS + 300).difference(disc())
    result = mapped(
        scene((beside, DIM_ROCK, CLEAR), (disc(), ICE, SNOWY), (strip, ICE, CLOUDY), (dim, DIM_ICE, SHADED))
    )
    assert area_km2(result) == pytest.approx(true_km2(disc()), rel=2e-3)
    assert result.share_unclassified < 0.001


def test_too_little_seen_gives_a_reason() -> None:
    half = shapely.box(WEST, SOUTH, CENTRE.x + 200, NORTH)
    result = mapped(scene((disc(), ICE, SNOWY), (half, CLOUD, CLOUDY)))
    assert result.geometry is None
    assert result.share_unclassified == pytest.approx(0.55, abs=0.02)
    assert result.reason is not None and "55% of the RGI7 outline is without data" in result.reason
    cloud = disc(1200)
    result = mapped(scene((disc(), ICE, SNOWY), (cloud, CLOUD, CLOUDY)))
    assert result.geometry is None and result.reason is not None and "23% of the RGI7 outline" in result.reason
    assert area_km2(mapped(scene((disc(), ICE, SNOWY), (cloud, CLOUD, CLOUDY)),
                           thresholds=replace(STANDARD, max_assumed=0.3))) > 0  # fmt: skip
    beyond = mapped(scene((disc(), ICE, SNOWY)), rgi=disc(RADIUS, 30 * SIZE / 2))
    assert beyond.geometry is None and beyond.share_unclassified > 0.4, "the window ends before the glacier"
    gone = mapped(scene())
    assert gone.geometry is None and gone.reason is not None and "no ice" in gone.reason


# --- debris ----------------------------------------------------------------------------------------------------------


def test_debris_of_an_older_scene_is_kept_and_does_not_hide_retreat() -> None:
    tongue = disc().intersection(shapely.box(WEST, SOUTH, EAST, CENTRE.y - 1800))
    old = scene((disc(), ICE, SNOWY), (tongue, ROCK, CLEAR))
    ice, n = clean_ice.vote([clean_ice.classify(*old)])
    looks = clean_ice.looks_like_debris(old[0])
    parts = clean_ice.debris_parts(ice, n, looks, TRANSFORM, CRS, degrees(disc()))
    assert parts is not None
    assert true_km2(tongue) == pytest.approx(geometry.geodesic_area_km2(parts), rel=0.03)

    bare = mapped(old)
    assert area_km2(bare) == pytest.approx(true_km2(disc().difference(tongue)), rel=5e-3)
    kept = mapped(old, debris=parts)
    assert area_km2(kept) == pytest.approx(true_km2(disc()), rel=5e-3)
    assert kept.debris_km2 == pytest.approx(true_km2(tongue), rel=0.03)
    assert kept.flags == ("debris_from_rgi7",)

    # Later the clean margin in the north has gone back; the tongue under debris is still there.
    north = shapely.box(WEST, CENTRE.y + 1800, EAST, NORTH)
    south = disc().difference(north)
    later = scene((disc(), ICE, SNOWY), (tongue, ROCK, CLEAR), (north, ROCK, CLEAR))
    result = mapped(later, debris=parts)
    assert area_km2(result) == pytest.approx(true_km2(south), rel=5e-3)


def test_vegetation_water_and_steep_ground_are_no_debris() -> None:
    patch = disc(500, 0, -RADIUS + 200).intersection(disc())
    for cover, flat, is_debris in (
        (ROCK, True, True),
        (ROCK, False, False),
        (MEADOW, True, False),
        (WATER, True, False),
        (LAKE, True, False),
    ):
        bands, qa = scene((disc(), ICE, SNOWY), (patch, cover, CLEAR))
        ice, valid = clean_ice.classify(bands, qa)
        slope = np.full((SIZE, SIZE), 10 if flat else 30, np.float32)
        looks = clean_ice.looks_like_debris(bands, slope_deg=slope)
        parts = clean_ice.debris_parts(ice, valid, looks, TRANSFORM, CRS, degrees(disc()))
        assert (parts is not None) is is_debris, cover
        if cover == ROCK:  # where no slope is known, nothing is too steep
            unknown = clean_ice.looks_like_debris(bands, slope_deg=np.full_like(slope, np.nan))
            assert (unknown == clean_ice.looks_like_debris(bands)).all()
            not_applied = replace(STANDARD, debris_slope_deg=None)
            assert (unknown == clean_ice.looks_like_debris(bands, not_applied, slope)).all()


def test_debris_that_touches_no_ice_is_dropped() -> None:
    """A dead remnant inside the reference outline, cut off by meadow."""
    remnant = disc(400, 0, -RADIUS + 500)
    belt = disc().intersection(shapely.box(WEST, SOUTH, EAST, CENTRE.y - 1300))
    bands, qa = scene((disc(), ICE, SNOWY), (belt, MEADOW, CLEAR), (remnant, ROCK, CLEAR))
    ice, valid = clean_ice.classify(bands, qa)
    looks = clean_ice.looks_like_debris(bands)
    assert clean_ice.debris_parts(ice, valid, looks, TRANSFORM, CRS, degrees(disc())) is None
    result = mapped((bands, qa), debris=degrees(remnant))
    assert result.debris_km2 == 0 and result.flags == ()


def test_wrong_grids_are_refused() -> None:
    ice = np.ones((5, 5), bool)
    for valid, crs in ((np.ones((5, 6), bool), CRS), (ice, "EPSG:4326")):
        with pytest.raises(SourceError, match="on this grid"):
            clean_ice.outline(ice, valid, TRANSFORM, crs, degrees(disc()))
