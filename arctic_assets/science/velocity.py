"""Speed of the ice along centrelines from gridded annual velocities.

Here: points along a line, the grid cells under them, means along the line with their uncertainty and coverage, series
that do not change with what was measured, and means over the outlets of a group.
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
    import pandas as pd
    from affine import Affine
    from shapely import LineString

Floats = NDArray[np.float64]

#: One point per cell of the mosaics.
SPACING_M = 120.0
#: A year in which less of the line was measured has no mean.
LEAST_COVERAGE = 0.5
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


def gap_reason(coverage_fraction: float) -> str:
    """Why a year has no mean speed."""
    return f"low_coverage: {coverage_fraction:.0%} of the centreline has a speed, {LEAST_COVERAGE:.0%} are needed"


def homogenised(v: ArrayLike, weights_m: ArrayLike, v0: ArrayLike | None = None) -> Floats:
    """Mean speed per year that does not change with which part of the line was measured.

    The ratio to the long-term speed, r_i = v_i(t) / v0_i, averaged over the measured points (weighted by length),
    times the mean of v0 over the whole line.

    Args:
        v: speed, m yr-1, shape (years, points), NaN where missing.
        weights_m: length of each point's piece, m, shape (points,).
        v0: long-term speed of each point, m yr-1, shape (points,): the climatology. None: the mean over the years of
            `v`, which makes the result depend on which years are given.

    Returns:
        m yr-1, shape (years,); NaN in years in which less than half of the line was measured, and in all of them where
        less than half of it has a long-term speed.
    """
    speed, w = np.asarray(v, dtype=np.float64), np.asarray(weights_m, dtype=np.float64)
    if v0 is None:
        known = np.isfinite(speed)
        total = np.where(known, speed, 0).sum(axis=0)
        long_term = total / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    else:
        long_term = np.asarray(v0, dtype=np.float64)
    base = np.isfinite(long_term) & (long_term > 0)
    if not base.any() or (base * w).sum() / w.sum() < LEAST_COVERAGE:
        return np.full(speed.shape[0], np.nan)
    speed, long_term, wb = speed[:, base], long_term[base], w[base]
    valid = np.isfinite(speed)
    sampled = (valid * wb).sum(axis=1)
    over = np.where(sampled / w.sum() < LEAST_COVERAGE, np.nan, sampled)
    ratio = (np.where(valid, speed / long_term, 0) * wb).sum(axis=1) / over
    return np.asarray(ratio * (long_term * wb).sum() / wb.sum())


def length_weighted(outlets: pd.DataFrame) -> pd.DataFrame:
    """Mean speed over the outlets of a group (an archipelago, an ice cap), per year, weighted by their lengths.

    mean = sum(L v) / sum(L) over the outlets that have a speed; sigma likewise (correlated), and
    sqrt(sum((L s)²)) / sum(L) from the independent ones.

    Args:
        outlets: one row per outlet and year, measured or not: year, length_km, sampled_length_km, speed_m_yr (NaN where
            low coverage), speed_sigma_m_yr, speed_sigma_independent_m_yr, speed_homogenised_m_yr, count_median.

    Returns:
        One row per year with at least one measured outlet, sorted: the columns of the table velocity from speed_m_yr
        to sampled_length_km. `length_km` is that of all outlets, `sampled_length_km` the measured part of those in the
        mean, `coverage_fraction` their quotient, `count_median` the median of the outlets'. The homogenised speed is
        over the outlets that have one, and missing where none has.
    """
    import pandas as pd

    rows = outlets.assign(is_in=outlets["speed_m_yr"].notna())
    length = rows["length_km"].where(rows["is_in"], 0.0)
    has_ratio = rows["is_in"] & rows["speed_homogenised_m_yr"].notna()
    sums = (
        pd.DataFrame(
            {
                "year": rows["year"],
                "over": length,
                "n_outlets": rows["is_in"].astype(int),
                "length_km": rows["length_km"],
                "sampled_length_km": rows["sampled_length_km"].where(rows["is_in"], 0.0),
                "speed": (length * rows["speed_m_yr"]).fillna(0.0),
                "sigma": (length * rows["speed_sigma_m_yr"]).fillna(0.0),
                "squares": ((length * rows["speed_sigma_independent_m_yr"]) ** 2).fillna(0.0),
                "ratio_over": length.where(has_ratio, 0.0),
                "ratio": (length * rows["speed_homogenised_m_yr"]).where(has_ratio, 0.0),
            }
        )
        .groupby("year")
        .sum()
    )
    sums = sums[sums["n_outlets"] > 0]
    speed, sigma = sums["speed"] / sums["over"], sums["sigma"] / sums["over"]
    counts = rows[rows["is_in"]].groupby("year")["count_median"].median()
    return pd.DataFrame(
        {
            "speed_m_yr": speed,
            "speed_sigma_m_yr": sigma,
            "speed_sigma_independent_m_yr": np.sqrt(sums["squares"]) / sums["over"],
            "speed_homogenised_m_yr": sums["ratio"] / sums["ratio_over"].where(sums["ratio_over"] > 0),
            "coverage_fraction": sums["sampled_length_km"] / sums["length_km"],
            "count_median": counts.reindex(sums.index),
            "below_noise": speed < 2 * sigma,
            "n_outlets": sums["n_outlets"],
            "length_km": sums["length_km"],
            "sampled_length_km": sums["sampled_length_km"],
        }
    ).reset_index()


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
