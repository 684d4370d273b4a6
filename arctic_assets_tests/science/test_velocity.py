"""Means along lines against numbers worked out by hand, and against rasterio on real velocities."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike
from pyproj import Geod
from rasterio.transform import from_origin
from shapely import LineString, MultiLineString

from arctic_assets.errors import SourceError
from arctic_assets.science import velocity

GEOD = Geod(ellps="WGS84")
COLUMBIA = Path(__file__).parents[3] / "shared/real/columbia"
needs_real = pytest.mark.skipif(not COLUMBIA.is_dir(), reason="the real provider files (../shared/real) are not here")
NAN = np.nan


# --- points ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spacing_m", [120.0, 37.0, 3000.0])
def test_points_are_the_middles_of_equal_pieces(spacing_m: float) -> None:
    line = LineString([(12.0, 78.9), (12.1, 78.95), (12.4, 78.9)])
    points = velocity.sample_points(line, spacing_m)
    length = GEOD.geometry_length(line)
    assert points.weights_m.sum() == pytest.approx(length, rel=1e-12)
    assert np.ptp(points.weights_m) == 0
    assert len(points.lon) == max(1, round(length / spacing_m))
    first = GEOD.inv(12.0, 78.9, points.lon[0], points.lat[0])[2]
    assert first == pytest.approx(points.weights_m[0] / 2, rel=1e-9)


def test_points_lie_on_the_line_and_follow_it() -> None:
    line = LineString([(12.0, 78.9), (12.1, 78.95), (12.4, 78.9)])
    points = velocity.sample_points(line)
    gaps = GEOD.inv(points.lon[:-1], points.lat[:-1], points.lon[1:], points.lat[1:])[2]
    assert np.sort(gaps)[1:] == pytest.approx(points.weights_m[1:-1], rel=1e-6)  # the shortest cuts the corner
    assert max(line.distance(LineString([p, p])) for p in zip(points.lon, points.lat, strict=True)) < 1e-4


def test_points_across_the_date_line() -> None:
    points = velocity.sample_points(LineString([(179.99, 71.0), (-179.99, 71.0)]))
    assert points.weights_m.sum() == pytest.approx(GEOD.inv(179.99, 71.0, -179.99, 71.0)[2])
    assert points.weights_m.sum() < 1000 and (np.abs(points.lon) > 179.98).all()


@pytest.mark.parametrize(
    "line",
    [
        MultiLineString([[(0, 60), (0, 61)], [(1, 60), (1, 61)]]),
        LineString([(5, 60), (5, 60)]),
        LineString(),
    ],
)
def test_what_is_no_line_is_refused(line: LineString) -> None:
    with pytest.raises(SourceError, match="centreline"):
        velocity.sample_points(line)


# --- cells -----------------------------------------------------------------------------------------------------------


def test_points_take_the_cell_they_lie_in() -> None:
    transform = from_origin(500_000, 8_000_240, 120, 120)
    v = np.stack([np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3) * 10])
    v[1, 0, 1] = NAN
    from pyproj import Transformer

    x = [500_001, 500_121, 500_359, 499_999, 500_001]
    y = [8_000_239, 8_000_239, 8_000_001, 8_000_100, 8_000_241]
    lon, lat = Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)
    found = velocity.sample(v, v / 10, v * 2, transform, "EPSG:32633", lon, lat)
    np.testing.assert_array_equal(found.v, [[0, 1, 5, NAN, NAN], [0, NAN, 50, NAN, NAN]])
    np.testing.assert_array_equal(found.v_error, found.v / 10)
    np.testing.assert_array_equal(found.count, found.v * 2)
    scaled = velocity.sample(v, v / 10, v * 2, transform, "EPSG:32633", lon, lat, map_scale=[1, 2, 4, 1, 1])
    np.testing.assert_array_equal(scaled.v[0], [0, 0.5, 1.25, NAN, NAN])
    np.testing.assert_array_equal(scaled.count, found.count)


def test_polar_scale() -> None:
    """To 0.002 that of the ellipsoid, which pyproj knows."""
    from pyproj import Proj

    lat = np.array([60.0, 65, 70, 75, 78, 82])
    scale = Proj("EPSG:3413").get_factors(np.full(6, -45.0), lat).meridional_scale
    assert velocity.polar_scale_factor(lat) == pytest.approx(scale, abs=0.002)
    assert velocity.polar_scale_factor(70) == 1


# --- means -----------------------------------------------------------------------------------------------------------


def test_mean_by_hand() -> None:
    found = velocity.line_mean([[10, 20, 40]], [[1, 2, 4]], [[5, 7, 30]], [100, 100, 200])
    assert found.speed_m_yr.tolist() == [27.5]
    assert found.sigma_correlated_m_yr.tolist() == [2.75]
    assert found.sigma_independent_m_yr[0] == pytest.approx(np.sqrt(100**2 + 200**2 + 800**2) / 400)
    assert found.coverage_fraction.tolist() == [1] and found.sampled_length_km.tolist() == [0.4]
    assert found.count_median.tolist() == [7]
    assert not found.below_noise[0] and not found.low_coverage[0]


def test_years_with_gaps() -> None:
    v: list[list[float]] = [[10, NAN, 40], [NAN, NAN, 40], [10, 20, NAN], [NAN, NAN, NAN], [10, 20, 40]]
    error: list[list[float]] = [[1, 2, 4], [1, 2, 4], [1, 2, 4], [1, 2, 4], [NAN, 2, 4]]
    count = [[5, 0, 30], [5, 7, 30], [5, 7, 30], [0, 0, 0], [5, 7, 30]]
    found = velocity.line_mean(v, error, count, [100, 100, 200])
    np.testing.assert_allclose(found.coverage_fraction, [0.75, 0.5, 0.5, 0, 0.75])
    np.testing.assert_allclose(found.speed_m_yr, [30, 40, 15, NAN, 100 / 3])
    np.testing.assert_allclose(found.sigma_correlated_m_yr, [3, 4, 1.5, NAN, 10 / 3])
    np.testing.assert_allclose(found.count_median, [17.5, 30, 6, NAN, 18.5])
    assert found.low_coverage.tolist() == [False, False, False, True, False]
    less = velocity.line_mean([[10, 20, NAN]], [[1, 2, 4]], [[5, 7, 0]], [90, 100, 200])
    assert less.low_coverage.tolist() == [True] and np.isnan(less.speed_m_yr[0])
    assert velocity.gap_reason(0.42) == "low_coverage: 42% of the centreline has a speed, 50% are needed"


def test_noise_is_flagged() -> None:
    found = velocity.line_mean([[19, 19], [21, 21]], [[10, 10], [10, 10]], [[1, 1], [1, 1]], [1, 1])
    assert found.below_noise.tolist() == [True, False]


def test_independent_errors_are_those_of_a_random_experiment() -> None:
    random = np.random.default_rng(3)
    error, weights = random.uniform(1, 9, 40), random.uniform(50, 150, 40)
    true = random.uniform(50, 200, 40)
    drawn = velocity.line_mean(true + random.normal(0, error, (4000, 40)), np.tile(error, (4000, 1)),
                               np.ones((4000, 40)), weights)  # fmt: skip
    assert drawn.speed_m_yr.std() == pytest.approx(drawn.sigma_independent_m_yr[0], rel=0.05)
    together = true + random.normal(0, 1, (4000, 1)) * error
    drawn = velocity.line_mean(together, np.tile(error, (4000, 1)), np.ones((4000, 40)), weights)
    assert drawn.speed_m_yr.std() == pytest.approx(drawn.sigma_correlated_m_yr[0], rel=0.05)


# --- series ----------------------------------------------------------------------------------------------------------


def homogenised(v: ArrayLike, weights_m: ArrayLike, v0: ArrayLike) -> np.ndarray:
    """Its speed; the errors do not move it."""
    v, v0 = np.asarray(v), np.asarray(v0)
    return velocity.homogenised(v, np.ones_like(v), weights_m, v0, np.ones_like(v0)).speed_m_yr


def test_coverage_makes_no_trend() -> None:
    """A glacier that never changes, of which the fast half is measured in the later years only."""
    profile = np.array([100.0, 100, 100, 200, 300, 400])
    v = np.tile(profile, (4, 1))
    v[:2, 3:] = NAN
    weights = np.full(6, 120.0)
    plain = velocity.line_mean(v, np.ones_like(v), np.ones_like(v), weights).speed_m_yr
    assert plain[3] == 2 * plain[0]
    np.testing.assert_allclose(homogenised(v, weights, profile), profile.mean())


def test_true_changes_stay() -> None:
    profile, factors = np.array([100.0, 200, 300, 400]), np.array([0.8, 1.0, 1.3])
    v = factors[:, None] * profile
    v[0, 2:] = NAN
    v[2, :2] = NAN
    np.testing.assert_allclose(homogenised(v, [1, 1, 1, 1], profile), factors * profile.mean())


def test_homogenised_speed_of_the_whole_line_is_its_mean() -> None:
    """Also where its parts change differently, and where the long-term speed is nearly 0."""
    v = [[10.0, 200, 30], [0.5, 90, 300]]
    np.testing.assert_allclose(homogenised(v, [1, 2, 1], [0.01, 100, 150]), [110, 120.125])


def test_no_homogenised_speed_where_too_little_is_known() -> None:
    v = np.array([[10.0, NAN, NAN, NAN], [10, 20, 30, NAN]])
    np.testing.assert_allclose(homogenised(v, [1, 1, 1, 1], [10, 20, 30, NAN]), [NAN, 20])
    assert np.isnan(homogenised(v, [1, 1, 1, 1], [10, NAN, NAN, NAN])).all()
    assert np.isnan(homogenised(v * NAN, [1, 1, 1, 1], [10, 20, 30, 40])).all()
    assert np.isnan(homogenised(v, [1, 1, 1, 1], [0, 0, 0, 0])).all()
    found = velocity.homogenised(
        v, np.array([[1, 1, 1, 1], [1, NAN, NAN, 1]]), [1, 1, 1, 1], [10, 20, 30, 40], [1, 1, 1, 1]
    )
    assert np.isnan(found.speed_m_yr).all() and np.isnan(found.sigma_m_yr).all()  # speeds without an error
    slow = [[10.0, 10, 10, NAN, NAN], [NAN, NAN, 10, 10, 50]]
    np.testing.assert_allclose(homogenised(slow, np.ones(5), [10, 10, 10, 100, 500]), [NAN, 70 / 610 * 126])


@pytest.mark.parametrize("part", [slice(0, 25), slice(10, 40), slice(0, 40)], ids=["head", "tongue", "all"])
def test_error_of_the_homogenised_speed_is_that_of_a_random_experiment(part: slice) -> None:
    """Errors of a year, and of the climatology, move the whole line together; the head is slow, the tongue fast."""
    random = np.random.default_rng(4)
    v0 = np.where(np.arange(40) < 25, 80.0, 200.0) * random.uniform(0.9, 1.1, 40)
    error, error0 = random.uniform(6, 10, 40), random.uniform(3, 5, 40)
    weights = random.uniform(50, 150, 40)
    v = np.full(40, NAN)
    v[part] = 1.2 * v0[part]
    (stated,) = velocity.homogenised(v[None], error[None], weights, v0, error0).sigma_m_yr
    drawn = [
        velocity.homogenised((v + a * error)[None], error[None], weights, v0 + b * error0, error0).speed_m_yr[0]
        for a, b in random.normal(0, 1, (4000, 2))
    ]
    assert np.std(drawn) == pytest.approx(stated, rel=0.05)
    assert np.mean(drawn) == pytest.approx(1.2 * np.average(v0, weights=weights), rel=0.01)


def test_one_slow_cell_is_no_error_of_the_whole() -> None:
    """The error is about that of a cell, however slow the head is."""
    v0 = np.array([0.1, 10.0, 1000, 1000])
    found = velocity.homogenised(
        np.stack([1.1 * v0, [3, 10, NAN, 1000]]), np.full((2, 4), 8.0), np.ones(4), v0, np.full(4, 2.0)
    )
    np.testing.assert_allclose(found.sigma_m_yr[0], 8)
    assert 8 < found.sigma_m_yr[1] < 20


def test_a_group_does_not_follow_which_outlets_were_measured() -> None:
    """One outlet at 1000 m/yr, nine at 50, all equally long; none ever changes."""
    v0, outlet, weights = np.repeat([1000.0, *[50.0] * 9], 5), np.repeat(np.arange(10), 5), np.full(50, 120.0)
    v = np.tile(v0, (3, 1))
    v[1, outlet == 0] = NAN
    v[2, outlet > 0] = NAN
    error = np.ones_like(v)
    mean = velocity.line_mean(v, error, error, weights)
    np.testing.assert_allclose(mean.speed_m_yr, [145, 50, NAN])
    np.testing.assert_allclose(mean.coverage_fraction, [1, 0.9, 0.1])
    np.testing.assert_allclose(homogenised(v, weights, v0), [145, 145, NAN])
    assert velocity.outlets_measured(np.isfinite(v), weights, outlet).sum(axis=1).tolist() == [10, 9, 1]
    reason = "low_coverage: 10% of the outlets' centrelines has a speed, 50% are needed, outlets of which"
    assert velocity.gap_reason(0.1, is_group=True).startswith(reason)


def test_outlets_count_when_half_of_them_was_measured() -> None:
    outlet, weights = [0, 0, 1, 1, 1], [100, 100, 100, 100, 200]
    valid = [[True, False, True, True, True], [False, False, True, True, False], [True, True, True, False, False]]
    found = velocity.outlets_measured(valid, weights, outlet)
    assert found.tolist() == [[True, True], [False, True], [True, False]]


# --- real ------------------------------------------------------------------------------------------------------------


@needs_real
def test_columbia_glacier_agrees_with_rasterio() -> None:
    """ITS_LIVE v1 over Columbia Glacier, along a line that starts at its fastest cell."""
    import rasterio
    from pyproj import Transformer

    with rasterio.open(COLUMBIA / "crop_ALA_G0120_0000_vx.tif") as fx, rasterio.open(
        COLUMBIA / "crop_ALA_G0120_0000_vy.tif"
    ) as fy:  # fmt: skip
        vx, vy = fx.read(1, masked=True).filled(NAN), fy.read(1, masked=True).filled(NAN)
        v = np.hypot(vx, vy)
        row, col = np.unravel_index(np.nanargmax(v), v.shape)
        ends = [fx.xy(row, col), fx.xy(row - 60, col + 25)]
        to_degrees = Transformer.from_crs(fx.crs, 4326, always_xy=True)
        line = LineString([to_degrees.transform(*end) for end in ends])
        points = velocity.sample_points(line)
        found = velocity.sample(v, np.full_like(v, 5), np.full_like(v, 9), fx.transform, fx.crs, points.lon, points.lat)
        there = list(
            zip(*Transformer.from_crs(4326, fx.crs, always_xy=True).transform(points.lon, points.lat), strict=True)
        )
        sampled = np.array([np.hypot(*pair) for pair in zip(fx.sample(there), fy.sample(there), strict=True)])[:, 0]
    sampled = np.where(sampled > 30_000, NAN, sampled)
    np.testing.assert_allclose(found.v, sampled)
    mean = velocity.line_mean(found.v, found.v_error, found.count, points.weights_m)
    assert mean.speed_m_yr == pytest.approx(np.nanmean(sampled), rel=1e-6)
    assert mean.speed_m_yr > 300 and mean.coverage_fraction > 0.9 and not mean.low_coverage
