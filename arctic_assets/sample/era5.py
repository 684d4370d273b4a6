"""ERA5 monthly means of 2 m temperature as the Climate Data Store has delivered them since 2024, and invariants.

Here: a smooth climate of the sample's glaciers, its files, and the temperature over an outline as found by points.

Per region: one file for all months to the December of the last complete year, one for the months of the year after
it, and one with geopotential and land-sea mask in the older packed layout, in which such files are still about. And
one that was fetched three months before, when months that are final now were preliminary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from arctic_assets.errors import SettingsError
from arctic_assets.glaciers import Glacier
from arctic_assets.sample.common import NOTICE, generator
from arctic_assets.sample.rgi7 import Member, snowline_m
from arctic_assets.sample.shapes import Floats
from arctic_assets.sources.era5 import Box, path_of
from arctic_assets.sources.rgi7 import REGIONS

FIRST_YEAR = 1979
"""First year of the files; January 1979 makes 1980 the first complete balance year."""
PRELIMINARY_MONTHS = 3
"""So many months at the end are ERA5T (expver 0005)."""
PRELIMINARY_MOVES_K = (20 / 512, -12 / 512, 33 / 512)
"""Final minus preliminary in the months before those, which are held as both: as small as such moves mostly are."""
TRUTH_POINTS = 20_000
"""Points over which the temperature of a glacier is averaged to know what must come out."""

#: The noise starts here, whatever the files hold, so that series of mass balance before 1979 have a climate too.
_EPOCH_YEAR = 1940
_CELL = 0.25
_MARGIN = 0.5
_GRAVITY = 9.80665
_LAPSE_K_PER_M = -0.0065
_WARMING_K_PER_YEAR = 0.04
_WARMEST = 6.3  # month, 0 is January
#: GRIB packs temperatures in steps of about this size; it keeps the files small.
_STEP_K = 1 / 512


@dataclass(frozen=True)
class Field:
    """Monthly temperature on a region's grid.

    Attributes:
        latitude: cell centres, descending, degrees.
        longitude: cell centres, ascending, degrees.
        t2m: kelvin, float32, shape (months, latitude, longitude), from January of `FIRST_YEAR`.
    """

    latitude: Floats
    longitude: Floats
    t2m: np.ndarray


class Climate:
    """Temperature, orography and land fraction anywhere: formulas, not grids.

    Args:
        glaciers: mountains rise where they are, and the land around those that end in the sea is partly water.
        last: last month that is needed, `YYYY-MM`.
    """

    def __init__(self, glaciers: Sequence[Glacier], last: str) -> None:
        self.longitude = np.array([g.longitude for g in glaciers])
        self.latitude = np.array([g.latitude for g in glaciers])
        area = np.array([g.area_km2 or 0.0 for g in glaciers])
        self.spread = np.maximum(0.6, 0.8 * np.sqrt(area) / 111)
        self.height = 0.7 * np.array([snowline_m(g.latitude) for g in glaciers])
        self.firmness = np.array([1.5 if g.terminus in ("marine", "mixed") else 3.0 for g in glaciers])
        months = month_number(last) - 12 * _EPOCH_YEAR + 1
        rng = generator("climate")
        self.phases = rng.uniform(0, 2 * np.pi, 8)
        self.waves = rng.normal(0, 0.12, (8, 2))
        # Row after row, so that a later last month only adds rows.
        noise = rng.normal(0, np.sqrt(2 / 8), (months, 8))
        for t in range(1, months):
            noise[t] = 0.35 * noise[t - 1] + np.sqrt(1 - 0.35**2) * noise[t]
        self.noise = noise

    def _nearness(self, lat: Floats, lon: Floats) -> Floats:
        """1 at a glacier, falling off over its spread; shape (glaciers, points)."""
        north = lat[None] - self.latitude[:, None]
        east = wrapped(lon[None] - self.longitude[:, None]) * np.cos(np.radians(self.latitude))[:, None]
        return np.exp(-(north**2 + east**2) / (2 * self.spread[:, None] ** 2))

    def land(self, lat: Floats, lon: Floats) -> Floats:
        """Land fraction 0..1 of a cell."""
        near = (self._nearness(lat, lon) * self.firmness[:, None]).max(axis=0)
        coast = np.sin(lon * 2 * np.pi / 19 + 1.0) + np.sin(lat * 2 * np.pi / 3.1 + 2.0)
        return 1 / (1 + np.exp(-2.5 * (0.8 * coast + near - 0.4)))

    def orography(self, lat: Floats, lon: Floats) -> Floats:
        """Height of the model's surface, m: smooth hills around the glaciers."""
        near = self._nearness(lat, lon)
        height = (near * self.height[:, None]).sum(axis=0) / np.maximum(near.sum(axis=0), 1e-9)
        # Short hills: neighbouring cells differ by a kelvin or two, so that wrong weights show.
        ridges = np.array([[0.45, 0.55], [-0.31, 0.83], [0.62, -0.17]])
        waves = np.sin(2 * np.pi * (ridges[:, :1] * lon[None] + ridges[:, 1:] * lat[None]))
        hills = 250 + 110 * waves.sum(axis=0)
        return self.land(lat, lon) * (hills + height * (1 - (1 - near).prod(axis=0)))

    def temperature(self, lat: Floats, lon: Floats, first: str, last: str) -> Floats:
        """Monthly means at points, K.

        Args:
            lat: latitudes, shape (n,).
            lon: longitudes, shape (n,).
            first: first month.
            last: last month, not after that of the climate.

        Returns:
            Shape (months, n).
        """
        start, stop = month_number(first), month_number(last) + 1
        number = np.arange(start, stop)
        month = number % 12
        # Warm seas: the North Atlantic and the Gulf of Alaska.
        atlantic = np.exp(-((wrapped(lon - 5) / 45) ** 2) / 2)
        pacific = 0.65 * np.exp(-(((lat - 58) / 5) ** 2) - (wrapped(lon + 140) / 25) ** 2)
        warm = np.minimum(1.0, atlantic + pacific)
        mean = 33.5 - 0.62 * lat + 12.5 * warm + _LAPSE_K_PER_M * self.orography(lat, lon)
        swing = 17.5 - 9.0 * warm + np.clip((lat - 70) / 10, 0, 1)
        season = np.cos(2 * np.pi * (month - _WARMEST) / 12)
        winter = 0.5 - 0.5 * season
        trend = _warming_k_per_year(winter) * (number / 12 - 1980)
        patterns = np.cos(
            self.phases[:, None] + self.waves[:, :1] * lat[None] + 0.4 * self.waves[:, 1:] * wrapped(lon[None])
        )
        weather = (0.9 + 1.4 * winter)[:, None] * np.einsum(
            "tj,jn->tn", self.noise[start - 12 * _EPOCH_YEAR : stop - 12 * _EPOCH_YEAR], patterns
        )
        return 273.15 + mean[None] + swing[None] * season[:, None] + trend[:, None] + weather


def _warming_k_per_year(winter: Floats) -> Floats:
    """Winters (1) warm faster than summers (0)."""
    return _WARMING_K_PER_YEAR * (0.7 + 0.6 * winter)


def warming_k_per_decade(months: Sequence[int]) -> float:
    """How much warmer the mean of some months of the year (0 is January) becomes in ten years."""
    season = np.cos(2 * np.pi * (np.asarray(months) - _WARMEST) / 12)
    return 10 * float(_warming_k_per_year(0.5 - 0.5 * season).mean())


def check_month(through: str) -> None:
    """Refuse a last month that cannot be one.

    Raises:
        SettingsError: not `YYYY-MM`, or before the end of the first year.
    """
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", through) or int(through[:4]) < FIRST_YEAR + 1:
        raise SettingsError(
            "the sample's last month cannot be used",
            where="through",
            expected=f"a month from {FIRST_YEAR + 1}-01 on, written YYYY-MM",
            got=through,
            todo="give the last month that ERA5 shall have",
        )


def month_number(month: str) -> int:
    """Months since year 0 of `YYYY-MM`."""
    return int(month[:4]) * 12 + int(month[5:]) - 1


def month_name(number: int) -> str:
    """`YYYY-MM` of a month's number."""
    return f"{number // 12}-{number % 12 + 1:02d}"


def preliminary_months(through: str) -> list[str]:
    """The months whose values are ERA5T."""
    last = month_number(through)
    return [month_name(number) for number in range(last - PRELIMINARY_MONTHS + 1, last + 1)]


def preliminary_moves_k(through: str) -> dict[str, float]:
    """The months that are held both as ERA5T and as final values, and final minus preliminary, K."""
    first = month_number(through) - PRELIMINARY_MONTHS - len(PRELIMINARY_MOVES_K) + 1
    return {month_name(first + i): move for i, move in enumerate(PRELIMINARY_MOVES_K)}


def write(folder: Path, members: Sequence[Member], climate: Climate, through: str) -> dict[str, Field]:
    """Write the files of every region in which a glacier of the registry has an outline.

    Args:
        folder: the provider's folder of the mirror.
        members: outlines; those that belong to no glacier of the registry do not count.
        climate: what the temperatures are.
        through: last month.

    Returns:
        The fields by region, as they were written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fields = {}
    for region in sorted({member.region for member in members if member.glacier_id}):
        outlines = [member.piece.polygon for member in members if member.glacier_id and member.region == region]
        lat, lon = _grid(outlines)
        fields[region] = field = _field(climate, lat, lon, through)
        write_years(folder, REGIONS[region], field, "t2m", grib_attributes(field), field.t2m, through)
        _write_former(folder, region, field, through)
        _write_invariants(folder / f"era5_invariant_{REGIONS[region]}.nc", climate, lat, lon)
    return fields


def temperature_truth(
    members: Sequence[Member], field: Field, climate: Climate, months: Sequence[str]
) -> dict[str, tuple[float, float, float]]:
    """Mean temperature over a glacier by points: no overlap of polygons and cells is computed.

    Points are scattered evenly over each outline (in longitude and the sine of latitude), in proportion to its area
    and at least three, and each takes the value of the cell whose centre is nearest.

    Args:
        members: the glacier's outlines.
        field: the region's field.
        climate: gives the land fraction of the cells.
        months: which months.

    Returns:
        Per month the mean, degrees Celsius, the standard error that comes from the number of points, K, and the mean in
        which each point counts by the land fraction of its cell, degrees Celsius.
    """
    area = np.array([member.area_km2 for member in members])
    share = area / area.sum()
    t2m = field.t2m[[month_number(month) - 12 * FIRST_YEAR for month in months]]
    mean, variance, on_land, land = np.zeros(len(t2m)), np.zeros(len(t2m)), np.zeros(len(t2m)), 0.0
    for member, part in zip(members, share, strict=True):
        points = _scattered(member, max(3, round(TRUTH_POINTS * part)))
        row = np.rint((field.latitude[0] - points[:, 1]) / _CELL).astype(int)
        column = np.rint((points[:, 0] - field.longitude[0]) / _CELL).astype(int)
        cells, n = np.unique(np.stack([row, column]), axis=1, return_counts=True)
        values = t2m[:, cells[0], cells[1]].astype(np.float64) - 273.15
        own = values @ n / n.sum()
        mean += part * own
        variance += part**2 * ((values - own[:, None]) ** 2) @ n / n.sum() / n.sum()
        fraction = n / n.sum() * climate.land(field.latitude[cells[0]], field.longitude[cells[1]])
        on_land += part * values @ fraction
        land += part * float(fraction.sum())
    found = zip(mean, np.sqrt(variance), on_land / land, strict=True)
    return {month: (float(m), float(s), float(o)) for month, (m, s, o) in zip(months, found, strict=True)}


def _scattered(member: Member, count: int) -> Floats:
    """`count` random points inside an outline, longitude and latitude, shape (count, 2)."""
    rng = generator("points", member.rgi7_id)
    polygon = member.piece.polygon
    shapely.prepare(polygon)
    west, south, east, north = polygon.bounds
    low, high = np.sin(np.radians([south, north]))
    found = np.empty((0, 2))
    while len(found) < count:
        lon = rng.uniform(west, east, 3 * count)
        lat = np.degrees(np.arcsin(rng.uniform(low, high, 3 * count)))
        inside = shapely.contains_xy(polygon, lon, lat)
        found = np.vstack([found, np.column_stack([lon, lat])[inside]])
    return found[:count]


def wrapped(degrees: Floats) -> Floats:
    """Difference of longitudes in -180..180."""
    return (degrees + 180.0) % 360.0 - 180.0


def _grid(outlines: Sequence[Any]) -> tuple[Floats, Floats]:
    """Cell centres of the box around outlines that a request with a margin gets: latitude falling."""
    west, south, east, north = shapely.total_bounds(outlines)
    top, bottom = np.ceil((north + _MARGIN) / _CELL), np.floor((south - _MARGIN) / _CELL)
    left, right = np.floor((west - _MARGIN) / _CELL), np.ceil((east + _MARGIN) / _CELL)
    return np.arange(min(top, 360), bottom - 1, -1) * _CELL, np.arange(left, right + 1) * _CELL


def _field(climate: Climate, lat: Floats, lon: Floats, through: str) -> Field:
    y, x = (axis.ravel() for axis in np.meshgrid(lat, lon, indexing="ij"))
    t2m = climate.temperature(y, x, f"{FIRST_YEAR}-01", through)
    steps = np.rint(t2m / _STEP_K) * _STEP_K
    return Field(lat, lon, steps.astype(np.float32).reshape(-1, len(lat), len(lon)))


def write_years(
    folder: Path, region: str, field: Field, name: str, attributes: Mapping[str, Any], values: np.ndarray, through: str
) -> None:
    """A file of all complete years, and one of the months after them.

    Args:
        folder: the provider's folder of the mirror.
        region: RGI's long code, for the file names.
        field: gives the grid.
        name: variable, `t2m` or `tp`.
        attributes: of the variable.
        values: shape (months, latitude, longitude), from January of `FIRST_YEAR`.
        through: last month of the sample.
    """
    first, last = 12 * FIRST_YEAR, month_number(through)
    complete = (last + 1) // 12 * 12 - 1
    year = complete // 12
    whole, rest = values[: complete + 1 - first], values[complete + 1 - first : last + 1 - first]
    path = folder / f"era5_monthly_{name}_{FIRST_YEAR}-{year}_{region}.nc"
    _write_months(path, field, name, attributes, whole, first, through)
    if last > complete:
        path = folder / f"era5_monthly_{name}_{year + 1}_{region}.nc"
        _write_months(path, field, name, attributes, rest, complete + 1, through)


def _write_former(folder: Path, region: str, field: Field, through: str) -> None:
    """The file of a request of three months before, under the name that such a request gives it."""
    moves = preliminary_moves_k(through)
    months = list(moves)
    first = month_number(months[0])
    start = first - 12 * FIRST_YEAR
    values = field.t2m[start : start + len(months)] - np.array(list(moves.values()), dtype=np.float32)[:, None, None]
    lat, lon = field.latitude, field.longitude
    box = Box(float(lat[0]), float(lon[0]), float(lat[-1]), float(lon[-1]))
    path = folder / path_of(region, box, ["2m_temperature"], months)
    path.parent.mkdir(exist_ok=True)
    _write_months(path, field, "t2m", grib_attributes(field), values, first, months[-1])


def _write_months(
    path: Path, field: Field, name: str, attributes: Mapping[str, Any], values: np.ndarray, first: int, through: str
) -> None:
    """One file in the layout that cfgrib gives since 2024; for a single month `expver` is a scalar, as there."""
    from netCDF4 import Dataset

    numbers = np.arange(first, first + len(values))
    preliminary = set(preliminary_months(through))
    versions = ["0005" if month_name(int(n)) in preliminary else "0001" for n in numbers]
    with Dataset(path, "w", format="NETCDF4") as nc:
        nc.setncatts(
            {
                "GRIB_centre": "ecmf",
                "GRIB_centreDescription": "European Centre for Medium-Range Weather Forecasts",
                "GRIB_subCentre": np.int64(0),
                "Conventions": "CF-1.7",
                "institution": "European Centre for Medium-Range Weather Forecasts",
                **_SYNTHETIC_ATTRIBUTES,
            }
        )
        shape = {"valid_time": len(numbers), "latitude": len(field.latitude), "longitude": len(field.longitude)}
        for axis, size in shape.items():
            nc.createDimension(axis, size)
        number = nc.createVariable("number", "i8", ())
        number.setncatts({"long_name": "ensemble member numerical id", "units": "1", "standard_name": "realization"})
        number[...] = 0
        time = nc.createVariable("valid_time", "i8", ("valid_time",))
        time.setncatts(
            {
                "long_name": "time",
                "standard_name": "time",
                "units": "seconds since 1970-01-01",
                "calendar": "proleptic_gregorian",
            }
        )
        months = (numbers - 12 * 1970).astype("datetime64[M]")
        time[:] = months.astype("datetime64[s]").astype(np.int64)
        _axis(nc, "latitude", "f8", field.latitude, "degrees_north", standard_name="latitude", stored="decreasing")
        _axis(nc, "longitude", "f8", field.longitude, "degrees_east", standard_name="longitude")
        single = len(numbers) == 1
        expver = nc.createVariable("expver", str, () if single else ("valid_time",))
        expver[...] = versions[0] if single else np.array(versions, dtype=object)
        data = nc.createVariable(
            name, "f4", tuple(shape), zlib=True, complevel=1, shuffle=True, chunksizes=tuple(shape.values()),
            fill_value=np.float32(np.nan),
        )  # fmt: skip
        data.setncatts(attributes)
        data[:] = values


_SYNTHETIC_ATTRIBUTES = {
    "title": "SYNTHETIC ERA5 monthly averaged data on single levels",
    "source": NOTICE,
    "history": "SYNTHETIC: written by arctic_assets.sample in the layout of the Climate Data Store",
}


def grib_attributes(field: Field) -> Mapping[str, Any]:
    """What cfgrib says of a field."""
    ny, nx = len(field.latitude), len(field.longitude)
    return {
        "GRIB_paramId": np.int64(167),
        "GRIB_dataType": "an",
        "GRIB_numberOfPoints": np.int64(ny * nx),
        "GRIB_typeOfLevel": "surface",
        "GRIB_stepUnits": np.int64(1),
        "GRIB_stepType": "avgua",
        "GRIB_gridType": "regular_ll",
        "GRIB_uvRelativeToGrid": np.int64(0),
        "GRIB_NV": np.int64(0),
        "GRIB_Nx": np.int64(nx),
        "GRIB_Ny": np.int64(ny),
        "GRIB_cfName": "unknown",
        "GRIB_cfVarName": "t2m",
        "GRIB_gridDefinitionDescription": "Latitude/Longitude Grid",
        "GRIB_iDirectionIncrementInDegrees": _CELL,
        "GRIB_iScansNegatively": np.int64(0),
        "GRIB_jDirectionIncrementInDegrees": _CELL,
        "GRIB_jPointsAreConsecutive": np.int64(0),
        "GRIB_jScansPositively": np.int64(0),
        "GRIB_latitudeOfFirstGridPointInDegrees": float(field.latitude[0]),
        "GRIB_latitudeOfLastGridPointInDegrees": float(field.latitude[-1]),
        "GRIB_longitudeOfFirstGridPointInDegrees": float(field.longitude[0]),
        "GRIB_longitudeOfLastGridPointInDegrees": float(field.longitude[-1]),
        "GRIB_missingValue": 3.4028234663852886e38,
        "GRIB_name": "2 metre temperature",
        "GRIB_shortName": "2t",
        "GRIB_totalNumber": np.int64(0),
        "GRIB_units": "K",
        "long_name": "2 metre temperature",
        "units": "K",
        "standard_name": "unknown",
        "GRIB_surface": 0.0,
        "coordinates": "number valid_time latitude longitude expver",
    }


def _axis(
    nc: Any, name: str, dtype: str, values: Floats, units: str, standard_name: str = "", stored: str = ""
) -> None:
    """A coordinate; the newer layout names it three times, the older one once."""
    axis = nc.createVariable(name, dtype, (name,), fill_value=np.dtype(dtype).type(np.nan))
    attributes = {"units": units, "standard_name": standard_name, "long_name": name, "stored_direction": stored}
    axis.setncatts({key: value for key, value in attributes.items() if value})
    axis[:] = values


def _write_invariants(path: Path, climate: Climate, lat: Floats, lon: Floats) -> None:
    """Geopotential and land-sea mask in the layout of grib_to_netcdf: one time step, packed into 16 bits."""
    from netCDF4 import Dataset

    y, x = (axis.ravel() for axis in np.meshgrid(lat, lon, indexing="ij"))
    with Dataset(path, "w", format="NETCDF4") as nc:
        nc.setncatts({"Conventions": "CF-1.6", **_SYNTHETIC_ATTRIBUTES})
        for name, size in {"longitude": len(lon), "latitude": len(lat), "time": 1}.items():
            nc.createDimension(name, size)
        _axis(nc, "longitude", "f4", lon, "degrees_east")
        _axis(nc, "latitude", "f4", lat, "degrees_north")
        time = nc.createVariable("time", "i4", ("time",))
        time.setncatts({"long_name": "time", "units": "hours since 1900-01-01", "calendar": "gregorian"})
        time[:] = 692496
        _packed(nc, "lsm", climate.land(y, x), "(0 - 1)", "Land-sea mask", "land_binary_mask")
        _packed(nc, "z", _GRAVITY * climate.orography(y, x), "m**2 s**-2", "Geopotential", "geopotential")


def _packed(nc: Any, name: str, values: Floats, units: str, long_name: str, standard_name: str) -> None:
    low, high = float(values.min()), float(values.max())
    scale = max(high - low, 1e-6) / 65532
    offset = low + 32766 * scale
    variable = nc.createVariable(name, "i2", ("time", "latitude", "longitude"), fill_value=np.int16(-32767))
    variable.set_auto_maskandscale(False)
    variable.setncatts(
        {
            "units": units,
            "long_name": long_name,
            "standard_name": standard_name,
            "add_offset": offset,
            "scale_factor": scale,
            "missing_value": np.int16(-32767),
        }
    )
    variable[:] = np.rint((values - offset) / scale).astype(np.int16).reshape(variable.shape)
