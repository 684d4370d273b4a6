"""Air temperature over glaciers from gridded monthly means.

Here: the grid, the coverage weights of outlines on it, the weighted means, adjustment to the glacier's elevation,
means of years and seasons, and degree days.
Not here: opening NetCDF files and choosing between preliminary and final fields (`sources`), trends.

The weight of a cell is the share of it that the outline covers, in the plane of longitude and latitude where cells are
rectangles, times the geodesic area of the cell. The geodesic area of the overlap itself differs by the narrowing of
meridians within a cell; over 16 Arctic glaciers and neighbour cells 2 K apart the means differ by at most 0.006 K,
which the field does not resolve: it has one number per cell.
Weights depend on outline and grid alone, so they are computed once and then serve every month as one sparse product.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from arctic_assets.errors import SourceError, TableError
from arctic_assets.science.geometry import geodesic_area_km2

if TYPE_CHECKING:
    import pandas as pd
    from scipy.sparse import csr_array
    from shapely.geometry.base import BaseGeometry


#: WGS84: semi-minor axis (km) and first eccentricity.
_SEMI_MINOR_KM = 6356.752314245179
_ECCENTRICITY = 0.0818191908426215
#: Standard gravity, m s-2, by which ECMWF divides geopotential.
STANDARD_GRAVITY_M_S2 = 9.80665
#: Kelvin at which Celsius slips in or fill values show: the coldest air measured is 184 K, the hottest 330 K.
_PLAUSIBLE_KELVIN = (150.0, 350.0)
#: Columns of monthly temperature that have annual means.
_MEANS = ("t2m_c", "t2m_land_c", "t2m_adjusted_c")


class FieldError(SourceError, ValueError):
    """A gridded field that does not hold what it should; also a `ValueError`."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular longitude-latitude grid, described by its cell centres as the file has them.

    Attributes:
        latitude: cell centres, degrees, ascending or descending, shape (n_lat,).
        longitude: cell centres, degrees, ascending, within -180..360, shape (n_lon,).

    Raises:
        FieldError: coordinates that are not 1-D, evenly spaced, ascending in longitude, or on the globe once only.
    """

    latitude: NDArray[np.float64]
    longitude: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("latitude", "longitude"):
            centres = np.array(getattr(self, name), dtype=np.float64)
            centres.setflags(write=False)
            object.__setattr__(self, name, centres)
            if centres.ndim != 1 or centres.size == 0 or not np.isfinite(centres).all():
                raise _no_grid(name, "a list of finite numbers", f"shape {centres.shape}")
            steps = np.diff(centres)
            # Single-precision coordinates of a 0.1 degree grid are off by up to 3e-5 degrees.
            if steps.size and (steps[0] == 0 or np.abs(steps / steps.mean() - 1).max() > 1e-3):
                raise _no_grid(name, "even steps", f"steps {steps.min():g} .. {steps.max():g}")
        if self.latitude.size == 1 and self.longitude.size == 1:
            raise _no_grid("latitude and longitude", "two cells at least, to know their size", "one cell")
        lat, lon = self.latitude, self.longitude
        if lon[-1] < lon[0] or lon[0] < -180.5 or lon[-1] > 360.5 or np.ptp(lon) + self.resolution[1] > 360.001:
            raise _no_grid("longitude", "ascending, within -180..360, once around", f"{lon[0]:g} .. {lon[-1]:g}")
        if lat.min() < -90 or lat.max() > 90:
            raise _no_grid("latitude", "-90..90", f"{lat.min():g} .. {lat.max():g}")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows (latitudes) and columns (longitudes)."""
        return self.latitude.size, self.longitude.size

    @property
    def resolution(self) -> tuple[float, float]:
        """Height and width of a cell, degrees; an axis of one cell takes the other's step."""
        steps = [abs(np.ptp(c)) / (c.size - 1) if c.size > 1 else None for c in (self.latitude, self.longitude)]
        height, width = steps[0] or steps[1], steps[1] or steps[0]
        assert height is not None and width is not None  # one cell alone is refused above
        return float(height), float(width)

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """North, west, south, east edge of the outermost cells; beyond the pole when a cell is centred on it."""
        height, width = self.resolution
        lat, lon = self.latitude, self.longitude
        return (
            float(lat.max() + height / 2),
            float(lon[0] - width / 2),
            float(lat.min() - height / 2),
            float(lon[-1] + width / 2),
        )

    @property
    def box(self) -> tuple[float, float, float, float]:
        """North, west, south, east edge of the cells, degrees, within the poles."""
        north, west, south, east = self.edges
        return min(north, 90.0), west, max(south, -90.0), east

    @property
    def hash(self) -> str:
        """Identity of the grid: SHA-256 (hex) of its centres to 1e-4 degrees, so that single precision is no change."""
        digest = hashlib.sha256()
        for centres in (self.latitude, self.longitude):
            digest.update(np.asarray(centres.shape, dtype="<i8").tobytes())
            digest.update(np.round(centres * 1e4).astype("<i8").tobytes())
        return digest.hexdigest()

    def cell_area_km2(self) -> NDArray[np.float64]:
        """Geodesic area of a cell in each row, km², shape (n_lat,).

        The area between two meridians and two parallels of the ellipsoid, in closed form (Snyder 1987, eq. 3-12). A
        cell that is centred on a pole has an area per full cell height, so that a covered share of it means the same
        as elsewhere.
        """
        height, width = self.resolution
        north = np.minimum(self.latitude + height / 2, 90.0)
        south = np.maximum(self.latitude - height / 2, -90.0)
        band = np.radians(width) * (_authalic(north) - _authalic(south))
        area: NDArray[np.float64] = band * height / (north - south)
        return area


@dataclass(frozen=True, eq=False)
class Weights:
    """How much of each grid cell each outline covers.

    Attributes:
        overlap_km2: sparse, shape (n_outlines, n_lat * n_lon), cells in the file's own order, km².
        covered_fraction: share of each outline's area that lies on the grid, to 1e-6, shape (n_outlines,); below 1 the
            mean is that of the covered part, at 0 there is none.
        shape: (n_lat, n_lon) of the grid.
    """

    overlap_km2: csr_array
    covered_fraction: NDArray[np.float64]
    shape: tuple[int, int]

    @cached_property
    def normalised(self) -> csr_array:
        """Weights that sum to 1 in each row; a row without overlap stays empty."""
        from scipy.sparse import csr_array

        overlap = self.overlap_km2
        per_row = np.diff(overlap.indptr)
        return csr_array(
            (overlap.data / np.repeat(overlap.sum(axis=1), per_row), overlap.indices, overlap.indptr),
            shape=overlap.shape,
        )

    @property
    def n_cells(self) -> NDArray[np.int64]:
        """Number of cells that each outline touches, shape (n_outlines,)."""
        counts: NDArray[np.int64] = np.diff(self.overlap_km2.indptr).astype(np.int64)
        return counts

    @property
    def max_weight(self) -> NDArray[np.float64]:
        """Largest normalised weight of each outline, shape (n_outlines,); 0 for an outline off the grid."""
        rows = np.repeat(np.arange(self.overlap_km2.shape[0]), self.n_cells)
        largest = np.zeros(self.overlap_km2.shape[0])
        np.maximum.at(largest, rows, self.normalised.data)
        return largest

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Weights:
        """The weights of some outlines, in the order asked."""
        index = np.asarray(rows, dtype=np.int64)
        return Weights(self.overlap_km2[index], self.covered_fraction[index], self.shape)

    @classmethod
    def stack(cls, parts: Sequence[Weights]) -> Weights:
        """Weights computed apart (one outline at a time, from a cache) as one.

        Raises:
            FieldError: there is no part, or parts are of different grids.
        """
        from scipy.sparse import vstack

        shapes = {part.shape for part in parts}
        if len(shapes) != 1:
            raise FieldError(
                "Coverage weights of different grids cannot be stacked.",
                expected="one grid",
                got=sorted(shapes),
                todo="compute the weights anew for the grid of the field",
            )
        overlap = vstack([part.overlap_km2 for part in parts], format="csr")
        return cls(overlap, np.concatenate([part.covered_fraction for part in parts]), shapes.pop())


class Period(NamedTuple):
    """A part of the year: its first month (1 to 12) and how many months it has."""

    first: int
    n_months: int


PERIODS = {
    "calendar": Period(1, 12),
    "balance_year": Period(10, 12),
    "djf": Period(12, 3),
    "mam": Period(3, 3),
    "jja": Period(6, 3),
    "son": Period(9, 3),
}
"""The kinds of annual means: two years and the meteorological seasons. Each is labelled by the year it ends in."""


class IncompleteYear(NamedTuple):
    """A year or season of a glacier that has some of its months but not all."""

    glacier_id: str
    year: int
    kind: str
    n_months: int


def coverage_weights(outlines: Sequence[BaseGeometry], grid: Grid) -> Weights:
    """Area of each grid cell that each outline covers: covered share (exactextract) times geodesic cell area.

    Outlines and grid may use different longitude conventions, and outlines may cross 0 or 180 degrees. Each outline's
    row depends on that outline and the grid alone.

    Args:
        outlines: valid outlines in EPSG:4326 (see `geometry.check_outline`), longitudes within -180..360.
        grid: the field's whole grid; a part of it would have other cell numbers.
    """
    import shapely
    from exactextract import exact_extract
    from exactextract.feature import JSONFeatureSource
    from exactextract.raster import NumPyRasterSource
    from scipy.sparse import coo_array

    n_lat, n_lon = grid.shape
    north, west, south, east = grid.edges
    covered = np.zeros(len(outlines))
    rows: list[int] = []
    features = []
    for row, outline in enumerate(outlines):
        for turn in (-360.0, 0.0, 360.0):
            left, bottom, right, top = shapely.bounds(outline) + np.array([turn, 0.0, turn, 0.0])
            if left >= east or right <= west or bottom >= north or top <= south:
                continue
            moved = _turned(outline, turn)
            if west <= left and right <= east and south <= bottom and top <= north:
                covered[row] = 1.0
            else:
                clipped = shapely.clip_by_rect(moved, west, south, east, north)
                covered[row] += geodesic_area_km2(clipped) / geodesic_area_km2(outline)
            rows.append(row)
            features.append({"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(moved)})

    raster = NumPyRasterSource(np.zeros(grid.shape, dtype=np.float32), xmin=west, ymin=south, xmax=east, ymax=north)
    found = exact_extract(raster, JSONFeatureSource(features), ["cell_id", "coverage"]) if features else []
    area = grid.cell_area_km2()
    outline_index, cell_index, overlap = [np.empty(0, np.int64)], [np.empty(0, np.int64)], [np.empty(0)]
    for row, feature in zip(rows, found, strict=True):
        share = np.asarray(feature["properties"]["coverage"], dtype=np.float64)
        # exactextract numbers cells from the north-west corner whatever the file's order.
        from_north, column = np.divmod(np.asarray(feature["properties"]["cell_id"], dtype=np.int64), n_lon)
        lat_index = from_north if grid.latitude[0] >= grid.latitude[-1] else n_lat - 1 - from_north
        touched = share > 0
        outline_index.append(np.full(touched.sum(), row, dtype=np.int64))
        cell_index.append((lat_index * n_lon + column)[touched])
        overlap.append((share * area[lat_index])[touched])

    matrix = coo_array(
        (np.concatenate(overlap), (np.concatenate(outline_index), np.concatenate(cell_index))),
        shape=(len(outlines), n_lat * n_lon),
    ).tocsr()
    matrix.sort_indices()
    # Clipping moves the crossing of a slanted edge by less than 1e-7 of an area: an outline in two halves is whole.
    return Weights(matrix, np.minimum(covered, 1.0).round(6), grid.shape)


def zonal_mean(weights: Weights, values: ArrayLike) -> NDArray[np.float64]:
    """Weighted mean of a field over each outline at each time: T = sum(w_i T_i) / sum(w_i).

    Every mean adds its own cells in the order of their numbers in double precision, so that a number does not depend
    on which other times or outlines are asked for, to the last bit.

    Args:
        weights: coverage weights on the field's grid.
        values: field, shape (n_times, n_lat, n_lon), any unit.

    Returns:
        Means in the field's unit, shape (n_outlines, n_times), float64.

    Raises:
        FieldError: the field has another shape than the grid, an outline has no overlap with it, or a cell under an
            outline holds no finite number (it is neither ignored nor passed on; time index and cell are named).
    """
    field = np.asarray(values)
    if field.ndim != 3 or field.shape[1:] != weights.shape:
        raise FieldError(
            "A field does not fit the grid of the coverage weights.",
            expected=f"shape (n_times, {weights.shape[0]}, {weights.shape[1]})",
            got=field.shape,
            todo="compute the weights for the grid of this file",
        )
    empty = np.flatnonzero(weights.n_cells == 0)
    if empty.size:
        raise FieldError(
            "An outline lies off the grid of the field.",
            where=f"outline {', '.join(map(str, empty))}",
            expected="a covered fraction above 0",
            got=0,
            todo="leave it out (Weights.select) and record the gap, or fetch a field that covers it",
        )
    cells = np.unique(weights.overlap_km2.indices)
    # Cells by times in double precision, only the cells that count: 480 months of 0.25 degree cells north of 45 N are
    # 500 MB, those under 16 glaciers 2 MB.
    under = np.ascontiguousarray(field.reshape(field.shape[0], -1)[:, cells].T, dtype=np.float64)
    holes = np.argwhere(~np.isfinite(under.T))
    if holes.size:
        time, position = holes[0]
        row, column = divmod(int(cells[position]), weights.shape[1])
        raise FieldError(
            "A field has no number in a cell under a glacier.",
            where=f"time index {time}, latitude index {row}, longitude index {column}",
            expected="a finite number in every cell that an outline touches",
            got=f"{field[time, row, column]} ({len(holes)} such values in {len(np.unique(holes[:, 0]))} times)",
            todo="check the file for fill values, a truncated download, or a land-only product",
        )
    means: NDArray[np.float64] = weights.normalised[:, cells] @ under
    return means


def land_fraction(weights: Weights, lsm: ArrayLike | None) -> NDArray[np.float64]:
    """Weighted mean of the land-sea mask under each outline, 0..1, shape (n_outlines,); NaN without a mask.

    Args:
        weights: coverage weights on the mask's grid.
        lsm: land fraction of each cell, shape (n_lat, n_lon), or None where the archive has no mask.

    Raises:
        FieldError: as `zonal_mean`, or a fraction outside 0..1 (by more than packing makes it).
    """
    if lsm is None:
        return np.full(weights.overlap_km2.shape[0], np.nan)
    mask = np.asarray(lsm)
    if (mask < -0.01).any() or (mask > 1.01).any():
        raise FieldError(
            "A land-sea mask is no fraction.",
            expected="0..1",
            got=f"{np.nanmin(mask):g} .. {np.nanmax(mask):g}",
            todo="take the variable lsm of ERA5",
        )
    return np.clip(zonal_mean(weights, mask[None])[:, 0], 0.0, 1.0)


LEAST_LAND = 0.2
"""Land fraction under an outline from which on a mean over land says something."""


def over_land(weights: Weights, lsm: ArrayLike) -> Weights:
    """Weights times the land fraction of each cell: the mean over land only.

    Args:
        weights: of outlines with some land under them (`land_fraction` at least `LEAST_LAND`).
        lsm: land fraction, shape (n_lat, n_lon), 0 to 1.
    """
    from scipy.sparse import csr_array

    land = np.clip(np.asarray(lsm, dtype=np.float64).ravel(), 0.0, 1.0)
    overlap = weights.overlap_km2
    scaled = csr_array((overlap.data * land[overlap.indices], overlap.indices, overlap.indptr), shape=overlap.shape)
    return Weights(scaled, weights.covered_fraction, weights.shape)


def kelvin_to_celsius(t_k: ArrayLike) -> NDArray[np.float64]:
    """Temperature in °C, double precision, from K; NaN stays NaN.

    Raises:
        FieldError: a value below 150 or above 350, which is no air temperature in kelvin.
    """
    kelvin = np.asarray(t_k, dtype=np.float64)
    low, high = _PLAUSIBLE_KELVIN
    if ((kelvin < low) | (kelvin > high)).any():
        raise FieldError(
            "A temperature is not in kelvin.",
            expected=f"{low:g} .. {high:g} K",
            got=f"{np.nanmin(kelvin):g} .. {np.nanmax(kelvin):g}",
            todo="check the units attribute of the file; Celsius needs no conversion",
        )
    return kelvin - 273.15


def orography_m(geopotential_m2_s2: ArrayLike) -> NDArray[np.float64]:
    """Elevation of the model's surface, m, from its geopotential, m² s-2: z = geopotential / 9.80665."""
    return np.asarray(geopotential_m2_s2, dtype=np.float64) / STANDARD_GRAVITY_M_S2


def lapse_adjust(
    t2m_c: ArrayLike,
    glacier_elevation_m: ArrayLike,
    orography_m: ArrayLike,
    lapse_rate_k_per_m: float = -0.0065,
) -> NDArray[np.float64]:
    """Temperature at the glacier's elevation: T_adj = T + Gamma * (z_glacier - z_model).

    Gamma is the change with height and negative: a glacier above the model's surface gets colder. The default is
    OGGM's; over melting Arctic ice -0.004 to -0.005 is more realistic (Gardner et al. 2009).

    Args:
        t2m_c: temperature at the model's surface, °C; arrays broadcast.
        glacier_elevation_m: mean elevation of the glacier, m.
        orography_m: elevation of the model's surface under the glacier, weighted as the temperature, m.
        lapse_rate_k_per_m: Gamma, K m-1.
    """
    height_m = np.asarray(glacier_elevation_m, dtype=np.float64) - np.asarray(orography_m, dtype=np.float64)
    return np.asarray(t2m_c, dtype=np.float64) + lapse_rate_k_per_m * height_m


class Sigma(NamedTuple):
    """One standard deviation of a temperature as that of the air over the glacier, K: as it is, and moved in height."""

    as_is: NDArray[np.float64]
    adjusted: NDArray[np.float64]


def temperature_sigma(t_c: ArrayLike, adjusted_c: ArrayLike, assumed_k: float, lapse_sigma_ratio: float) -> Sigma:
    """Uncertainty of a monthly temperature: the assumed one of ERA5, and the height of its surface off the glacier.

    ERA5 comes without an uncertainty of its monthly means, so the first term is an assumption. The second is known for
    each glacier: `|adjusted - t|`, the whole adjustment for the value as it is, and the part of it by which the lapse
    rate is uncertain for the adjusted one. Both are added as independent errors.

    Args:
        t_c: temperature over the outline, degC; shape (n,).
        adjusted_c: the same at the glacier's mean elevation; NaN where no elevation is known: then no second term.
        assumed_k: standard deviation of ERA5's monthly means, K.
        lapse_sigma_ratio: standard deviation of the lapse rate over its size.

    Returns:
        Both standard deviations, shape (n,); `adjusted` is NaN where adjusted_c is.
    """
    elevation = np.abs(np.asarray(adjusted_c, dtype=np.float64) - np.asarray(t_c, dtype=np.float64))
    return Sigma(
        np.hypot(assumed_k, np.nan_to_num(elevation, nan=0.0)), np.hypot(assumed_k, lapse_sigma_ratio * elevation)
    )


def positive_degree_days(t_c: ArrayLike, days: ArrayLike, sigma_k: float = 4.5) -> NDArray[np.float64]:
    """Expected positive degree days of a month, K d, from its mean temperature (Calov & Greve 2005).

    PDD = days * [sigma / sqrt(2 pi) * exp(-T² / (2 sigma²)) + T / 2 * erfc(-T / (sqrt(2) sigma))]

    Args:
        t_c: monthly mean temperature, °C; arrays broadcast.
        days: days of the month.
        sigma_k: standard deviation of temperature about the monthly mean, K.
    """
    from scipy.special import erfc

    t = np.asarray(t_c, dtype=np.float64)
    spread = sigma_k / np.sqrt(2 * np.pi) * np.exp(-(t**2) / (2 * sigma_k**2))
    degree_days: NDArray[np.float64] = np.asarray(days) * (spread + t / 2 * erfc(-t / (np.sqrt(2) * sigma_k)))
    return degree_days


def in_periods(monthly: pd.DataFrame) -> pd.DataFrame:
    """Each month once per period that it belongs to.

    Args:
        monthly: with the column month ('YYYY-MM'); others are kept.

    Returns:
        The rows of each kind of `PERIODS` after those of the other, with the columns kind, and year: balance year N is
        October N-1 to September N, and the winter (djf) of N is December N-1 to February N.
    """
    import pandas as pd

    year, month = (monthly["month"].str[part].astype("int64") for part in (slice(4), slice(5, 7)))
    parts = []
    for kind, (first, n_months) in PERIODS.items():
        before_new_year = (month >= first) & (first + n_months > 13)
        inside = (month - first) % 12 < n_months
        parts.append(monthly.assign(kind=kind, year=year + before_new_year)[inside])
    return pd.concat(parts, ignore_index=True)


def annual_temperature(monthly: pd.DataFrame) -> tuple[pd.DataFrame, list[IncompleteYear]]:
    """Means of years and seasons, and their degree days, from monthly means weighted by their days.

    A year or season (`PERIODS`) needs all of its months: one that lacks a month yields no row and is listed instead. A
    month whose t2m_c is null is not there. Degree days are those of t2m_c as it is, at the model's surface, so that
    they exist where no elevation does; t2m_land_c and t2m_adjusted_c are null unless all months have them.

    Args:
        monthly: columns glacier_id, month ('YYYY-MM'), t2m_c, t2m_land_c, t2m_adjusted_c, and status where it is
            known; others are ignored.

    Returns:
        A frame with glacier_id, year, kind (a key of `PERIODS`), t2m_c, t2m_land_c, t2m_adjusted_c, n_months,
        degree_days_k_d and, where it is known, status ('preliminary' when any month is), one row per complete year or
        season, sorted by the first three; and those that have some of their months.

    Raises:
        TableError: a column is missing, a month is not 'YYYY-MM', or a glacier has a month twice.
    """
    import pandas as pd

    months = _checked_months(monthly)
    days = months["date"].dt.days_in_month
    parts = months[["glacier_id", "month"]].assign(
        days=days,
        **{name: months[name] * days for name in _MEANS},
        degree_days=positive_degree_days(months["t2m_c"], days),
    )
    if "status" in months.columns:
        parts["preliminary"] = months["status"] == "preliminary"
    key = ["glacier_id", "year", "kind"]
    groups = in_periods(parts).sort_values([*key, "month"], kind="stable").groupby(key, sort=True)
    sums = groups[["days", *_MEANS, "degree_days"]].sum()
    counts = groups[["month", *_MEANS]].count()
    means = {name: (sums[name] / sums["days"]).where(counts[name] == counts["month"]) for name in _MEANS}
    annual = pd.DataFrame(
        {**means, "n_months": counts["month"].astype("int64"), "degree_days_k_d": sums["degree_days"]}
    ).reset_index()
    if "status" in months.columns:
        annual["status"] = np.where(groups["preliminary"].any().to_numpy(), "preliminary", "final")
    complete = annual["n_months"] == annual["kind"].map({kind: period.n_months for kind, period in PERIODS.items()})
    short = annual.loc[~complete, [*key, "n_months"]]
    incomplete = [
        IncompleteYear(str(glacier_id), int(number), str(kind), int(n))
        for glacier_id, number, kind, n in short.itertuples(index=False, name=None)
    ]
    return annual[complete].reset_index(drop=True), incomplete


def annual_sigma(monthly: pd.DataFrame) -> pd.DataFrame:
    """Uncertainties of what `annual_temperature` makes, when the errors of all months have the same cause and sign.

    A bias of ERA5 or of the elevation does not average out over a year, so the standard deviation of a mean is the mean
    of those of its months; that of the degree days is half of what they change between all months one standard
    deviation warmer and colder.

    Args:
        monthly: columns glacier_id, month ('YYYY-MM'), t2m_c, t2m_sigma_c, t2m_adjusted_sigma_c (null where unknown).

    Returns:
        A frame with glacier_id, year, kind, t2m_sigma_c, t2m_adjusted_sigma_c (null unless all months have it) and
        degree_days_sigma_k_d, for every year and season that has any month.
    """
    import pandas as pd

    days = pd.PeriodIndex(monthly["month"], freq="M").days_in_month.to_numpy()
    sigma = monthly["t2m_sigma_c"]
    warm, cold = (positive_degree_days(monthly["t2m_c"] + sign * sigma, days) for sign in (1, -1))
    parts = monthly[["glacier_id", "month"]].assign(
        days=days,
        t2m_sigma_c=sigma * days,
        t2m_adjusted_sigma_c=monthly["t2m_adjusted_sigma_c"] * days,
        degree_days_sigma_k_d=(warm - cold) / 2,
    )
    groups = in_periods(parts).groupby(["glacier_id", "year", "kind"], sort=True)
    names = ["t2m_sigma_c", "t2m_adjusted_sigma_c"]
    sums = groups[["days", *names, "degree_days_sigma_k_d"]].sum()
    has_all = groups[names].count().eq(groups["month"].count(), axis=0)
    means = sums[names].div(sums["days"], axis=0).where(has_all)
    return means.assign(degree_days_sigma_k_d=sums["degree_days_sigma_k_d"]).reset_index()


def _checked_months(monthly: pd.DataFrame) -> pd.DataFrame:
    """Rows that hold a temperature, with the month as a date."""
    import pandas as pd

    needed = ["glacier_id", "month", *_MEANS]
    missing = [name for name in needed if name not in monthly.columns]
    if missing:
        raise TableError(
            "Monthly temperature lacks columns.",
            where=", ".join(missing),
            expected=", ".join(needed),
            got=", ".join(map(str, monthly.columns)),
            todo="take the table temperature_monthly",
        )
    months = monthly[[*needed, *({"status"} & set(monthly.columns))]].reset_index(drop=True)
    proper = months["month"].astype(str).str.fullmatch(r"\d{4}-(0[1-9]|1[0-2])")
    if not proper.all():
        first = months[~proper].iloc[0]
        raise TableError(
            "A month is not written as such.",
            where=f"glacier {first['glacier_id']}",
            expected="'YYYY-MM'",
            got=repr(first["month"]),
            todo="format the month with %Y-%m",
        )
    twice = months.duplicated(["glacier_id", "month"])
    if twice.any():
        first = months[twice].iloc[0]
        raise TableError(
            "A glacier has a month twice.",
            where=f"glacier {first['glacier_id']}, month {first['month']}",
            expected="one row per glacier and month",
            got=f"{int(twice.sum())} rows too many",
            todo="keep one status (final before preliminary) and one inventory",
        )
    there = months[months["t2m_c"].notna()]
    return there.assign(
        date=pd.to_datetime(there["month"], format="%Y-%m"),
        **{name: there[name].astype("float64") for name in _MEANS},
    )


def _turned(outline: BaseGeometry, degrees: float) -> BaseGeometry:
    """The outline with its longitudes increased by whole turns."""
    import shapely

    flat = shapely.force_2d(outline)
    return shapely.transform(flat, lambda lonlat: lonlat + np.array([degrees, 0.0])) if degrees else flat


def _authalic(latitude: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area between the equator and a latitude (degrees) per radian of longitude, km² (Snyder 1987, eq. 3-12)."""
    s, e = np.sin(np.radians(latitude)), _ECCENTRICITY
    area: NDArray[np.float64] = _SEMI_MINOR_KM**2 / 2 * (s / (1 - (e * s) ** 2) + np.arctanh(e * s) / e)
    return area


def _no_grid(axis: str, expected: str, got: str) -> FieldError:
    return FieldError(
        "Coordinates do not make a regular longitude-latitude grid.",
        where=axis,
        expected=expected,
        got=got,
        todo="sort or subset the file's coordinates, or take a file on the provider's regular grid",
    )
