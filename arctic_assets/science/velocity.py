"""Speed of the ice along centrelines from gridded annual velocities.

Here: points along a line, the grid cells under them, means along the line with their uncertainty and coverage, series
that do not change with what was measured, and which outlets of a group count.
Not here: opening rasters (`sources.itslive`), which line is a glacier's centreline, trends.

A point takes the cell it lies in. Interpolation between cells would carry every gap into its neighbours, and would
smooth a field whose errors are correlated over more than a cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arctic_assets.errors import SourceError

if TYPE_CHECKING:
    from affine import Affine
    from shapely import LineString

Floats = NDArray[np.float64]

#: One point per cell of the mosaics.
SPACING_M = 120.0
#: A year in which less of the line was measured has no mean.
LEAST_COVERAGE = 0.5
#: Part of sum(w v0) that the measured part must hold: of ice that hardly moves nothing follows for the rest.
LEAST_MOTION = 0.2
#: Latitude of true scale of EPSG:3413, degrees.
_TRUE_SCALE_LATITUDE = 70.0
_KM = 1000.0


class LinePoints(NamedTuple):
    """Points along a line: the middles of its pieces.

    Attributes:
        lon: degrees, shape (points,).
        lat: degrees, shape (points,).
        weights_m: geodesic length of each piece, m, shape (points,); they sum up to the length of the line.
    """

    lon: Floats
    lat: Floats
    weights_m: Floats


@dataclass(frozen=True, eq=False)
class Samples:
    """The cells under points: all of shape (..., points), NaN where missing or outside the grid.

    Attributes:
        v: speed, m yr-1.
        v_error: its error, m yr-1.
        count: number of image pairs.
    """

    v: Floats
    v_error: Floats
    count: Floats


class LineMean(NamedTuple):
    """Means along a line, one per year: all of the shape of the series without its last axis.

    Attributes:
        speed_m_yr: mean speed, NaN where `low_coverage`.
        sigma_correlated_m_yr: its standard deviation, errors fully correlated; NaN with it.
        sigma_independent_m_yr: the same for independent errors; NaN with it.
        coverage_fraction: part of the length with a speed and an error.
        sampled_length_km: that length.
        count_median: median number of image pairs of the measured points, NaN where there are none.
        below_noise: the speed is below twice `sigma_correlated_m_yr`.
        low_coverage: less than half of the line was measured: a gap, see `gap_reason`.
    """

    speed_m_yr: Floats
    sigma_correlated_m_yr: Floats
    sigma_independent_m_yr: Floats
    coverage_fraction: Floats
    sampled_length_km: Floats
    count_median: Floats
    below_noise: NDArray[np.bool_]
    low_coverage: NDArray[np.bool_]


def sample_points(line: LineString, spacing_m: float = SPACING_M) -> LinePoints:
    """Divide a line into equal pieces and take their middles.

    Args:
        line: longitude and latitude (EPSG:4326), degrees.
        spacing_m: length of the pieces; rounded so that a whole number of them makes the line.

    Raises:
        SourceError: not one line, or a line without length.
    """
    import shapely
    from pyproj import Geod

    geod = Geod(ellps="WGS84")
    vertices = shapely.get_coordinates(line)
    if line.geom_type != "LineString" or len(vertices) < 2 or not spacing_m > 0:
        raise _no_line(f"{line.geom_type} of {len(vertices)} vertices, spacing {spacing_m:g} m")
    lon, lat = vertices.T
    azimuth, _, steps = geod.inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
    at = np.concatenate([[0.0], np.cumsum(steps)])
    length = float(at[-1])
    if not (np.isfinite(length) and length > 0):
        raise _no_line(f"a length of {length:g} m")
    pieces = max(1, round(length / spacing_m))
    middles = (np.arange(pieces) + 0.5) * (length / pieces)
    edge = np.clip(np.searchsorted(at, middles, side="right") - 1, 0, len(steps) - 1)
    x, y, _ = geod.fwd(lon[edge], lat[edge], np.asarray(azimuth)[edge], middles - at[edge])
    return LinePoints(np.asarray(x), np.asarray(y), np.full(pieces, length / pieces))


def sample(
    v: ArrayLike,
    v_error: ArrayLike,
    count: ArrayLike,
    transform: Affine,
    crs: object,
    lon: ArrayLike,
    lat: ArrayLike,
    map_scale: ArrayLike = 1.0,
) -> Samples:
    """The cells that points lie in.

    Args:
        v: speed, m yr-1, NaN where missing, shape (..., rows, cols): several years of one grid at once.
        v_error: its error, m yr-1, same shape.
        count: number of image pairs, same shape.
        transform: of the upper left corner of the grid.
        crs: of the grid, anything that pyproj takes.
        lon: degrees, shape (points,).
        lat: degrees, shape (points,).
        map_scale: what speeds and errors are divided by, one number or one per point. 1: the product's speeds are
            taken as true on the ground. Whether they are is not verified; if they turn out to be distances on the map,
            give `polar_scale_factor(lat)`.
    """
    row, col = cells_of(transform, crs, lon, lat)
    bands = [np.asarray(band) for band in (v, v_error, count)]
    rows, cols = bands[0].shape[-2:]
    inside = (row >= 0) & (row < rows) & (col >= 0) & (col < cols)  # false for points that have no place on the map
    at_row, at_col = np.where(inside, row, 0).astype(int), np.where(inside, col, 0).astype(int)
    found = [np.where(inside, band[..., at_row, at_col], np.nan).astype(np.float64) for band in bands]
    scale = np.asarray(map_scale, dtype=np.float64)
    return Samples(found[0] / scale, found[1] / scale, found[2])


def cells_of(transform: Affine, crs: object, lon: ArrayLike, lat: ArrayLike) -> tuple[Floats, Floats]:
    """Row and column of the cell that each point lies in, counted from the upper left one, also outside the grid.

    Args:
        transform: of the upper left corner of the grid.
        crs: of the grid, anything that pyproj takes.
        lon: degrees, shape (points,).
        lat: degrees, shape (points,).

    Returns:
        Whole numbers as floats, shape (points,); infinite for points that have no place on the map.
    """
    from pyproj import CRS, Transformer

    wkt = crs.to_wkt() if hasattr(crs, "to_wkt") else crs
    to_grid = Transformer.from_crs("EPSG:4326", CRS.from_user_input(wkt), always_xy=True)
    x, y = map(np.asarray, to_grid.transform(np.asarray(lon, np.float64), np.asarray(lat, np.float64)))
    cells = ~transform
    return np.floor(cells.d * x + cells.e * y + cells.f), np.floor(cells.a * x + cells.b * y + cells.c)


def polar_scale_factor(lat: ArrayLike) -> Floats:
    """Scale of the polar stereographic map EPSG:3413: k = (1 + sin 70°) / (1 + sin lat), on the sphere.

    1.04 at 60, 1 at 70, 0.98 at 80 degrees north.

    Args:
        lat: degrees.
    """
    return np.asarray(
        (1 + np.sin(np.radians(_TRUE_SCALE_LATITUDE))) / (1 + np.sin(np.radians(np.asarray(lat, dtype=np.float64))))
    )


def line_mean(v: ArrayLike, v_error: ArrayLike, count: ArrayLike, weights_m: ArrayLike) -> LineMean:
    """Mean speed along a line, per year.

    Over the points that have a speed and an error, w being their lengths:
    mean = sum(w v) / sum(w); sigma = sum(w s) / sum(w) when errors are fully correlated (they come from geolocation
    and matching windows, so over kilometres they are), sqrt(sum((w s)²)) / sum(w) when they are independent.

    Args:
        v: speed, m yr-1, shape (..., points), NaN where missing.
        v_error: its error, same shape. A speed without an error does not count.
        count: number of image pairs, same shape.
        weights_m: length of each point's piece, m, shape (points,).
    """
    speed, error, pairs = (np.asarray(values, dtype=np.float64) for values in (v, v_error, count))
    w = np.asarray(weights_m, dtype=np.float64)
    valid = np.isfinite(speed) & np.isfinite(error)
    sampled = (valid * w).sum(axis=-1)
    coverage = sampled / w.sum()
    low = coverage < LEAST_COVERAGE
    over = np.where(low, np.nan, sampled)
    weighted = np.where(valid, error, 0) * w
    mean = (np.where(valid, speed, 0) * w).sum(axis=-1) / over
    correlated = weighted.sum(axis=-1) / over
    return LineMean(
        speed_m_yr=mean,
        sigma_correlated_m_yr=correlated,
        sigma_independent_m_yr=np.sqrt((weighted**2).sum(axis=-1)) / over,
        coverage_fraction=coverage,
        sampled_length_km=sampled / _KM,
        count_median=_median(np.where(valid, pairs, np.nan)),
        below_noise=mean < 2 * correlated,
        low_coverage=low,
    )


def gap_reason(coverage_fraction: float, is_group: bool = False) -> str:
    """Why a year has no mean speed."""
    of = "of the outlets' centrelines" if is_group else "of the centreline"
    rest = ", outlets of which less than that was measured left out" if is_group else ""
    return f"low_coverage: {coverage_fraction:.0%} {of} has a speed, {LEAST_COVERAGE:.0%} are needed{rest}"


def outlets_measured(valid: ArrayLike, weights_m: ArrayLike, outlet: ArrayLike) -> NDArray[np.bool_]:
    """Which outlets of a group (an archipelago, an ice cap) count: half of their line was measured, as of a glacier's.

    A group is one line, made of the lines of its outlets: `line_mean` and `homogenised` of all points together are its
    means, weighted by length, and its coverage is the measured part of the length of all outlets.

    Args:
        valid: the points that have a speed and an error, shape (years, points).
        weights_m: length of each point's piece, m, shape (points,).
        outlet: number of the outlet that each point belongs to, from 0, shape (points,).

    Returns:
        Shape (years, outlets).
    """
    w, own = np.asarray(weights_m, dtype=np.float64), np.asarray(outlet)
    measured = np.stack([np.bincount(own, np.asarray(year, dtype=bool) * w) for year in np.asarray(valid)])
    return np.asarray(measured / np.bincount(own, w) >= LEAST_COVERAGE)


class Homogenised(NamedTuple):
    """Mean speed of the whole line, one per year: both of shape (years,), NaN where too little is known.

    Attributes:
        speed_m_yr: mean speed.
        sigma_m_yr: its standard deviation, errors of a year fully correlated.
    """

    speed_m_yr: Floats
    sigma_m_yr: Floats


def homogenised(
    v: ArrayLike, v_error: ArrayLike, weights_m: ArrayLike, v0: ArrayLike, v0_error: ArrayLike
) -> Homogenised:
    """Mean speed per year that does not change with which part of the line was measured.

    The ratio estimator (Cochran 1977, Sampling Techniques, chapter 6) with the long-term speed v0 as the auxiliary
    variable: over the measured points m, w being their lengths,

        V = R mean(v0),  R = sum_m(w v) / sum_m(w v0),

    mean(v0) being that of the whole line. It is the mean of the ratios v / v0 weighted by w v0, not by w: so it is the
    plain mean where all of the line was measured, also when its parts change differently, and a head that hardly
    moves, whose ratio is noise, weighs little. What was not measured is taken to have changed as the rest has.

    Its error, to first order: sigma² = [mean(v0) sum_m(w s) / sum_m(w v0)]² from the errors s of the year, and
    [V (sum_m(w s0) / sum_m(w v0) - sum(w s0) / sum(w v0))]² from those of v0, s0, both fully correlated along the line
    and independent of each other. The second is 0 where all of the line was measured: v0 then cancels.

    Args:
        v: speed, m yr-1, shape (years, points), NaN where missing.
        v_error: its error, same shape. A speed without an error does not count.
        weights_m: length of each point's piece, m, shape (points,).
        v0: long-term speed of each point, m yr-1, shape (points,): the climatology.
        v0_error: its error, same shape. The whole line is that of the points which have both.

    Returns:
        NaN in years in which less than half of the line was measured, or a part that holds less than a fifth of
        sum(w v0); in all of them where less than half of the line has a long-term speed.
    """
    speed, error = np.asarray(v, dtype=np.float64), np.asarray(v_error, dtype=np.float64)
    long_term, long_error = np.asarray(v0, dtype=np.float64), np.asarray(v0_error, dtype=np.float64)
    w = np.asarray(weights_m, dtype=np.float64)
    base = np.isfinite(long_term) & np.isfinite(long_error)
    whole, whole_error = ((np.where(base, of, 0) * w).sum() for of in (long_term, long_error))
    if (base * w).sum() < LEAST_COVERAGE * w.sum() or not whole > 0:
        return Homogenised(np.full(len(speed), np.nan), np.full(len(speed), np.nan))
    valid = np.isfinite(speed) & np.isfinite(error) & base
    over, over_error = ((np.where(valid, of, 0) * w).sum(axis=1) for of in (long_term, long_error))
    enough = ((valid * w).sum(axis=1) >= LEAST_COVERAGE * w.sum()) & (over >= LEAST_MOTION * whole)
    over = np.where(enough, over, np.nan)
    mean_per_sum = whole / (base * w).sum() / over
    found = (np.where(valid, speed, 0) * w).sum(axis=1) * mean_per_sum
    own = (np.where(valid, error, 0) * w).sum(axis=1) * mean_per_sum
    return Homogenised(found, np.hypot(own, found * (over_error / over - whole_error / whole)))


def _median(values: Floats) -> Floats:
    """Median along the last axis without NaN; NaN, and no warning, where there is nothing else."""
    some = np.isfinite(values).any(axis=-1)
    found = np.full(values.shape[:-1], np.nan)
    found[some] = np.nanmedian(values[some], axis=-1)
    return found


def _no_line(got: str) -> SourceError:
    return SourceError(
        "A centreline cannot be divided into points.",
        expected="one LineString with a length, and a spacing above 0 m",
        got=got,
        todo="take the main line of one glacier at a time",
    )
