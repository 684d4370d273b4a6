"""What is in ERA5 files of the Climate Data Store: all layouts since 2018 in one form, checked, and found again.

Here: boxes and months as words of an archived file's content, opening and verifying files, choosing between archived
files. Not here: what to ask for and how (`era5`), and what the numbers mean over a glacier (`science.temperature`).

Which months of a file are preliminary (ERA5T) is said by `expver`: 1 is final, 5 is preliminary. A file without it
says nothing. Then the date of its production counts, the earliest one in its `history`: months that began more than
three calendar months before it are final (ERA5 follows ERA5T after two to three months), later ones preliminary. A
file without a date counts as produced in the month after its last one.

A zip is what the Climate Data Store delivers when the request led to several files. All files are read from memory:
libnetcdf fills what a cut classic NetCDF lacks with zeros (those are therefore read by SciPy, which refuses), and keeps
files open that it failed to read.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from arctic_assets.errors import SourceError
from arctic_assets.sources.base import SYNTHETIC, SourceObject, Verified
from arctic_assets.sources.zips import open_zip, verify_zip

if TYPE_CHECKING:
    import xarray as xr

    from arctic_assets.science.temperature import Grid

Status = Literal["final", "preliminary"]

INVARIANTS = ("z", "lsm")
"""Geopotential of the surface and land-sea mask: the same in every month."""

#: Units as the files spell them, lowest and highest value that can be. The mask leaves 0..1 by its packing.
_VARIABLES: dict[str, tuple[tuple[str, ...], float, float]] = {
    "t2m": (("K", "kelvin"), 150.0, 350.0),
    "tp": (("m", "m day**-1"), -1e-5, 0.3),
    "z": (("m**2 s**-2", "m2 s-2"), -5e3, 7e4),
    "lsm": (("(0 - 1)", "1"), -0.01, 1.01),
}
_MONTHLY = {"t2m", "tp"}
_HDF5, _ZIP = b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"
_CLASSIC = (b"CDF\x01", b"CDF\x02")
_EXPVER: dict[int, Status] = {1: "final", 5: "preliminary"}
#: Dates before the first release of ERA5 in a `history` are of the data (`cdo seldate,1985-01-01T00:00`).
_FIRST_RELEASE = "2018-07"
_TIMES = ("valid_time", "time", "date")
_AXES = {"latitude": "degrees_north", "longitude": "degrees_east"}
_GRIB_GRID = (
    "latitudeOfFirstGridPoint",
    "latitudeOfLastGridPoint",
    "longitudeOfFirstGridPoint",
    "longitudeOfLastGridPoint",
    "jDirectionIncrement",
    "iDirectionIncrement",
)
#: ERA5-Land has 0.1 degree cells and no values over the sea, ERA5 0.25 degree cells and values everywhere.
_LAND_RESOLUTION = 0.2
_LAND_VERSION = "ERA5-Land (doi:10.24381/cds.68d2bb30)"
#: Degrees. Coordinates of single precision are off by up to 3e-5.
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Box:
    """A rectangle of longitude and latitude, in degrees; west < east, where east may exceed 180.

    In requests and in an archived file's content: the outermost grid points, in the Climate Data Store's order.
    """

    north: float
    west: float
    south: float
    east: float

    @classmethod
    def of_bounds(cls, bounds: tuple[float, float, float, float]) -> Box:
        """From (west, south, east, north); east below west means across 180 degrees."""
        west, south, east, north = bounds
        return cls(north, west, south, east if east >= west else east + 360)

    def grown(self, latitude: float, longitude: float) -> Box:
        """The box with so many degrees more on each side."""
        return Box(self.north + latitude, self.west - longitude, self.south - latitude, self.east + longitude)

    def contains(self, other: Box) -> bool:
        """Whether the other lies within this one, whole turns of longitude aside."""
        if other.south < self.south - _TOLERANCE or other.north > self.north + _TOLERANCE:
            return False
        width = self.east - self.west + 2 * _TOLERANCE
        return width >= 360 or (other.west - self.west + _TOLERANCE) % 360 + other.east - other.west <= width

    def overlaps(self, other: Box) -> bool:
        """Whether the two share an area, whole turns of longitude aside."""
        if other.south >= self.north or other.north <= self.south:
            return False
        start = (other.west - self.west) % 360
        return start < self.east - self.west or start + other.east - other.west > 360

    def __str__(self) -> str:
        return f"{self.west:g}..{self.east:g} E, {self.south:g}..{self.north:g} N"


def month_number(month: str) -> int:
    """Months since the year 0, of 'YYYY-MM'."""
    return int(month[:4]) * 12 + int(month[5:7]) - 1


def month_name(number: int) -> str:
    """'YYYY-MM', of months since the year 0."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def compress(months: Iterable[str]) -> list[str]:
    """Months as ranges: ['1979-01..2018-12', '2019-03']."""
    ranges: list[list[int]] = []
    for number in sorted(map(month_number, months)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return [month_name(a) if a == b else f"{month_name(a)}..{month_name(b)}" for a, b in ranges]


def expand(ranges: Iterable[str]) -> list[str]:
    """The months of ranges that `compress` made."""
    return [
        month_name(number) for text in ranges for number in range(month_number(text[:7]), month_number(text[-7:]) + 1)
    ]


def verify(path: Path, asked: Sequence[str] | None = None) -> Verified:
    """Open a file and say what is in it.

    Content: `variables`, `months` (`final` and `preliminary`, as ranges), `box` (north, west, south, east of the
    cell centres), `resolution` (degrees of latitude and longitude), `grid` (`science.temperature.Grid.hash`).

    Args:
        path: NetCDF file or zip.
        asked: months that were asked for. Those up to the last one in the file must be there; later ones may not
            have been published. Without it the file's months must be consecutive or, over several years, the same
            calendar months in each year, because a request to the Climate Data Store is years by months.

    Raises:
        SourceError: the file is not what the Climate Data Store delivers; names what and where.
    """
    data = open_object(path)
    months = [str(m) for m in data["month"].values] if "month" in data.coords else []
    _check_complete(months, asked, path)
    statuses = [str(s) for s in data["status"].values] if months else []
    grid = _grid(data["latitude"].values, data["longitude"].values, path)
    latitude, longitude = grid.latitude, grid.longitude
    by_status = {
        status: compress(m for m, s in zip(months, statuses, strict=True) if s == status)
        for status in _EXPVER.values()
        if status in statuses
    }
    return Verified(
        is_synthetic=bool(data.attrs["is_synthetic"]),
        content={
            "variables": sorted(map(str, data.data_vars)),
            "months": by_status,
            "box": [float(latitude.max()), float(longitude[0]), float(latitude.min()), float(longitude[-1])],
            "resolution": [round(step, 5) for step in grid.resolution],
            "grid": grid.hash,
        },
        version=_LAND_VERSION if grid.resolution[0] < _LAND_RESOLUTION else None,
    )


def open_object(path: Path) -> xr.Dataset:
    """Read a file of any layout into memory and close it.

    Returns:
        Those of `t2m` (K) and `tp` (m per day; both month, latitude, longitude), `z` (m² s-2; latitude, longitude)
        and `lsm` (0..1; latitude, longitude) that the file has. Coordinates: `month` ('YYYY-MM', ascending), `status`
        of each month ('final', 'preliminary'), `latitude` as in the file, `longitude` ascending without a break from
        a first value in [-180, 180). Attribute `is_synthetic`.

    Raises:
        SourceError: the file cannot be read, or holds something else than monthly ERA5 fields.
    """
    import xarray as xr

    fields: dict[str, list[xr.DataArray]] = {}
    is_synthetic = False
    others: set[str] = set()
    for where, raw in _members(path):
        is_synthetic |= any(SYNTHETIC in str(raw.attrs.get(name, "")) for name in ("source", "title"))
        others |= set(map(str, raw.attrs["other_variables"]))
        for name in _VARIABLES:
            if name in raw.variables:
                fields.setdefault(name, []).append(_field(raw, name, where))
    if not fields:
        raise SourceError(
            "the file holds no variable that is used here",
            where=path,
            expected=" or ".join(_VARIABLES),
            got=", ".join(sorted(others)) or "none",
            todo="ask for 2m_temperature, or for geopotential and land_sea_mask",
        )
    grids = {_grid(f["latitude"].values, f["longitude"].values, path).hash for all_ in fields.values() for f in all_}
    if len(grids) != 1:
        raise SourceError(
            "the variables of the file lie on different grids",
            where=path,
            expected="one grid",
            got=f"{len(grids)} grids",
            todo="ask for one area in each request",
        )
    for name in _MONTHLY & fields.keys():
        whole = xr.concat(fields[name], "month", join="override", coords="minimal", compat="override").sortby("month")
        _check_distinct([str(m) for m in whole["month"].values], path)
        fields[name] = [whole]
    if len({tuple(fields[name][0]["month"].values) for name in _MONTHLY & fields.keys()}) > 1:
        raise SourceError(
            "temperature and precipitation of the file are of different months",
            where=path,
            expected="the same months in both",
            got="months that differ",
            todo="ask for each variable in a request of its own",
        )
    return xr.Dataset({name: found[0] for name, found in fields.items()}, attrs={"is_synthetic": is_synthetic})


@dataclass(frozen=True)
class Selection:
    """Which archived files to read for a glacier.

    Attributes:
        chosen: months to take from each file, by source id.
        missing: months that no file has, each with the reason.
    """

    chosen: dict[str, list[str]]
    missing: dict[str, str]


@dataclass(frozen=True, eq=False)
class _Held:
    found: SourceObject
    variables: frozenset[str]
    months: Mapping[str, Status]
    points: Box
    edges: Box


class Index:
    """Finds archived files by what is in them.

    Args:
        objects: archived ERA5 files.
        replaced: files whose bytes were replaced in the archive since; only `preliminary` looks at them.
    """

    def __init__(self, objects: Sequence[SourceObject], replaced: Sequence[SourceObject] = ()) -> None:
        self._held = _oldest_first(objects)
        self._ever_held = _oldest_first([*objects, *replaced])
        self._best: dict[object, tuple[dict[str, _Held], dict[str, _Held], str]] = {}

    def status(self, variable: str = "t2m") -> dict[str, Status]:
        """Every month that is held, and whether it is final wherever it is held."""
        holders: dict[str, list[_Held]] = {}
        for held in self._held:
            if variable in held.variables:
                for month in held.months:
                    holders.setdefault(month, []).append(held)
        status: dict[str, Status] = {}
        for month in sorted(holders):
            final = [h.points for h in holders[month] if h.months[month] == "final"]
            waiting = [h.points for h in holders[month] if h.months[month] == "preliminary"]
            replaced = all(any(f.contains(w) for f in final) for w in waiting)
            status[month] = "final" if replaced else "preliminary"
        return status

    def over(self, points: Box, variable: str = "t2m") -> dict[str, Status]:
        """Months that are held at all grid points of a request, and whether a file has them as final."""
        status: dict[str, Status] = {}
        for held in self._held:
            if variable in held.variables and held.points.contains(points):
                status |= {month: s for month, s in held.months.items() if status.get(month) != "final"}
        return status

    def select(
        self, months: Iterable[str], bounds: tuple[float, float, float, float], variable: str = "t2m"
    ) -> Selection:
        """The best file for each month: its cells cover the bounds; final before preliminary, then the newest.

        Args:
            months: 'YYYY-MM'.
            bounds: west, south, east, north of a glacier, degrees.
            variable: name in the files.

        Raises:
            SourceError: a month is only held in a file that covers a part of the bounds.
        """
        best, partial, held_here = self._over(bounds, variable)
        chosen: dict[str, list[str]] = {}
        missing: dict[str, str] = {}
        for month in months:
            if month in best:
                chosen.setdefault(best[month].found.source_id, []).append(month)
            elif month in partial:
                raise SourceError(
                    f"an ERA5 file covers only a part of a glacier in {month}",
                    where=partial[month].found.source_id,
                    expected=f"cells over {Box.of_bounds(bounds)}",
                    got=f"cells over {partial[month].edges}",
                    todo="fetch ERA5 for these months again, so that the box fits the glaciers of the registry",
                )
            else:
                missing[month] = f"no ERA5 {variable} of {month} here: {held_here}"
        return Selection(chosen, missing)

    def preliminary(
        self, months: Iterable[str], bounds: tuple[float, float, float, float], variable: str = "t2m"
    ) -> dict[str, list[str]]:
        """The newest preliminary file of each month that is final by now, as far as the archive has ever held one.

        Args:
            months: 'YYYY-MM'.
            bounds: west, south, east, north of a glacier, degrees.
            variable: name in the files.

        Returns:
            Months to take from each file, by source id.
        """
        wanted = Box.of_bounds(bounds)
        best, _, _ = self._over(bounds, variable)
        newest = {
            month: held.found.source_id
            for held in self._ever_held
            if "preliminary" in held.months.values() and variable in held.variables and held.edges.contains(wanted)
            for month, status in held.months.items()
            if status == "preliminary"
        }
        chosen: dict[str, list[str]] = {}
        for month in months:
            if month in newest and month in best and best[month].months[month] == "final":
                chosen.setdefault(newest[month], []).append(month)
        return chosen

    def invariants(self, bounds: tuple[float, float, float, float]) -> SourceObject | None:
        """The newest file with geopotential and land-sea mask whose cells cover the bounds (w, s, e, n)."""
        wanted = Box.of_bounds(bounds)
        fitting = [h for h in self._held if h.variables.issuperset(INVARIANTS) and h.edges.contains(wanted)]
        return fitting[-1].found if fitting else None

    def _over(
        self, bounds: tuple[float, float, float, float], variable: str
    ) -> tuple[dict[str, _Held], dict[str, _Held], str]:
        """Best file and file of partial cover by month, and what is held, in words; remembered by bounds."""
        key = (bounds, variable)
        if key not in self._best:
            wanted = Box.of_bounds(bounds)
            having = [h for h in self._held if variable in h.variables]
            covering = [h for h in having if h.edges.contains(wanted)]
            best: dict[str, _Held] = {}
            for status in ("preliminary", "final"):
                for held in covering:  # oldest first: what comes later wins
                    best.update({month: held for month, s in held.months.items() if s == status})
            partial = {month: held for held in having if held.edges.overlaps(wanted) for month in held.months}
            if best:
                words = f"the archive has {', '.join(compress(best))}"
            elif having:
                boxes = dict.fromkeys(str(h.edges) for h in having)
                words = f"the archive has nothing over {wanted}, only over {'; '.join(boxes)}"
            else:
                words = "the archive has none"
            self._best[key] = best, partial, words
        return self._best[key]


def _oldest_first(objects: Iterable[SourceObject]) -> list[_Held]:
    return [_held(found) for found in sorted(objects, key=lambda o: (o.retrieved_at, o.source_id))]


def _held(found: SourceObject) -> _Held:
    content = found.content
    points = Box(*content["box"])
    height, width = content["resolution"]
    months = {month: status for status, ranges in content["months"].items() for month in expand(ranges)}
    return _Held(found, frozenset(content["variables"]), months, points, points.grown(height / 2, width / 2))


def _members(path: Path) -> Iterator[tuple[str, xr.Dataset]]:
    """The NetCDF files of a path, each with its name for messages."""
    with path.open("rb") as stream:
        is_zip = stream.read(len(_ZIP)) == _ZIP
    if not is_zip:
        yield str(path), _load(path.read_bytes(), str(path))
        return
    try:
        verify_zip(path)
        with open_zip(path) as archive:
            names = archive.namelist()
            members = [(name, archive.read(name)) for name in names if name.lower().endswith(".nc")]
    except SourceError:
        raise
    except Exception as error:  # damaged streams: zlib.error, EOFError, OSError
        raise _broken(str(path), error) from error
    if not members:
        raise SourceError(
            "a zip holds no NetCDF file",
            where=path,
            expected="data_stream-moda_*.nc",
            got=", ".join(names[:5]) or "nothing",
            todo="ask for data_format netcdf",
        )
    for name, content in members:
        yield f"{path}/{name}", _load(content, f"{path}/{name}")


def _load(data: bytes, where: str) -> xr.Dataset:
    """Our variables and their coordinates as the file has them, in memory; names of others as an attribute."""
    import netCDF4
    import xarray as xr

    if not data.startswith((_HDF5, *_CLASSIC)):
        start = data[:512].lstrip().lower()
        is_page = start.startswith((b"<!doctype", b"<html", b"<?xml", b"{"))
        raise SourceError(
            "the file is a web page or a message, no data" if is_page else "the file is no NetCDF file",
            where=where,
            expected="NetCDF (HDF5 or classic) or a zip of such files",
            got=repr(data[:60]),
            todo="delete it and fetch it again; GRIB must be asked for as netcdf",
        )
    try:
        if data.startswith(_HDF5):
            with netCDF4.Dataset("memory", memory=data) as file:
                store = xr.backends.NetCDF4DataStore(file)  # type: ignore[no-untyped-call]
                return _ours(xr.open_dataset(store)).load()
        with xr.open_dataset(io.BytesIO(data), engine="scipy") as classic:
            return _ours(classic).load()
    except Exception as error:  # over broken bytes the readers raise whatever comes
        raise _broken(where, error) from error


def _ours(raw: xr.Dataset) -> xr.Dataset:
    names = [name for name in (*_VARIABLES, "expver") if name in raw.variables]
    kept = raw[names]
    kept.attrs = {**raw.attrs, "other_variables": [n for n in raw.data_vars if n not in names]}
    return kept


def _broken(where: str, error: Exception) -> SourceError:
    return SourceError(
        "the file cannot be read to its end",
        where=where,
        expected="a whole NetCDF file or zip",
        got=f"{type(error).__name__}: {error}",
        todo="delete it and fetch it again: it is cut off or damaged",
    )


def _field(raw: xr.Dataset, name: str, where: str) -> xr.DataArray:
    """One variable in the form of `open_object`; invariants without months."""
    import xarray as xr

    field = raw[name]
    units, _, _ = _VARIABLES[name]
    if (unit := str(field.attrs.get("units", "none"))) not in units:
        raise SourceError(
            f"{name} has another unit",
            where=where,
            expected=units[0],
            got=unit,
            todo="take the file as the Climate Data Store delivers it",
        )
    by_month: NDArray[Any] | None = None
    if "expver" in field.dims:
        field, by_month = _merged(field, where)
    time = next((t for t in (*field.dims, *field.coords) if t in _TIMES), None)
    if time is not None and time not in field.dims:
        field = field.expand_dims(time)
    spare = [d for d in field.dims if d not in (time, "latitude", "longitude")]
    if any(field.sizes[d] > 1 for d in spare) or not {"latitude", "longitude"} <= set(field.dims):
        raise _no_monthly(name, where, "dimensions time, latitude, longitude", ", ".join(map(str, field.dims)))
    field = field.isel(dict.fromkeys(spare, 0), drop=True)
    _check_axes(field, where)
    axes = {"latitude": _rounded(field["latitude"].values), "longitude": _unbroken(field["longitude"].values)}

    if name in INVARIANTS:
        if time is not None:
            if bool((field != field.isel({time: 0})).any()):
                raise _no_monthly(name, where, "the same field in every month", "fields that differ")
            field = field.isel({time: 0}, drop=True)
        values = field.transpose("latitude", "longitude").values
        _check_values(values[None], name, [""], axes["latitude"], where)
        return xr.DataArray(values, axes, ("latitude", "longitude"))

    if time is None:
        raise _no_monthly(name, where, "a time coordinate", "none")
    months = _months(field[time].values, name, where)
    values = field.transpose(time, "latitude", "longitude").values
    _check_distinct(months, where)
    _check_values(values, name, months, axes["latitude"], where)
    if by_month is None and "expver" in raw.variables:
        by_month = np.broadcast_to(_statuses(raw["expver"].values, where), len(months))
    elif by_month is None:
        by_month = _by_age(months, str(raw.attrs.get("history", "")))
    return xr.DataArray(
        values, {"month": months, "status": ("month", by_month), **axes}, ("month", "latitude", "longitude")
    )


def _merged(field: xr.DataArray, where: str) -> tuple[xr.DataArray, NDArray[Any]]:
    """A field with the dimension `expver`, whose slices complete each other, and the status of each month."""
    import xarray as xr

    codes = xr.DataArray(_statuses(field["expver"].values, where), dims="expver")
    across = [d for d in field.dims if d in ("latitude", "longitude", "number")]
    final, preliminary = (field.where(codes == status).max("expver") for status in _EXPVER.values())
    merged = final.fillna(preliminary)
    is_final = (merged.isnull() == final.isnull()).all(across) & final.notnull().any(across)
    return merged, np.atleast_1d(np.where(is_final, "final", "preliminary"))


def _statuses(expver: NDArray[Any], where: str) -> NDArray[Any]:
    codes = [text.decode() if isinstance(text, bytes) else str(text) for text in np.atleast_1d(expver)]
    unknown = sorted({code for code in codes if not code.isdecimal() or int(code) not in _EXPVER})
    if unknown:
        raise SourceError(
            "expver says neither final nor preliminary",
            where=where,
            expected="0001 (ERA5) or 0005 (ERA5T)",
            got=", ".join(map(repr, unknown)),
            todo="look the version up in the ERA5 documentation, and add it here",
        )
    return np.array([_EXPVER[int(code)] for code in codes])


def _by_age(months: Sequence[str], history: str) -> NDArray[Any]:
    """Status of months of a file without expver; see the module's docstring."""
    stamps = re.findall(r"\b(\d{4}-(?:0[1-9]|1[0-2]))-[0-3]\d[T ]\d\d:\d\d", history)
    dates = [stamp for stamp in stamps if stamp >= _FIRST_RELEASE]
    numbers = np.array([month_number(m) for m in months])
    produced = min(map(month_number, dates)) if dates else int(numbers.max()) + 1
    return np.where(produced - numbers > 3, "final", "preliminary")


def _months(times: NDArray[Any], name: str, where: str) -> list[str]:
    """'YYYY-MM' of the first days of months, given as dates or as numbers YYYYMMDD."""
    if np.issubdtype(times.dtype, np.integer):
        text = [f"{t:08d}" for t in times]
        try:
            times = np.array([f"{t[:4]}-{t[4:6]}-{t[6:]}" for t in text], dtype="datetime64[s]")
        except ValueError as error:
            raise _no_monthly(name, where, "dates as YYYYMMDD", str(error)) from error
    if not np.issubdtype(times.dtype, np.datetime64):
        raise _no_monthly(name, where, "dates", f"{times.dtype} {times[:1]}")
    months = times.astype("datetime64[M]")
    odd = times[times != months.astype(times.dtype)]
    if odd.size:
        raise _no_monthly(name, where, "one field per month, dated 00:00 on its first day", str(odd[0]))
    return [str(m) for m in months]


def _check_axes(field: xr.DataArray, where: str) -> None:
    """Latitude is latitude and longitude is longitude: by units, range, direction, and what GRIB_* say of the grid."""
    latitude, longitude = _rounded(field["latitude"].values), _unbroken(field["longitude"].values)
    units = {axis: str(field[axis].attrs.get("units", "none")) for axis in _AXES}
    if units != _AXES:
        raise _contradiction(where, f"units {', '.join(_AXES.values())}", ", ".join(units.values()))
    if np.abs(latitude).max() > 90:
        raise _contradiction(where, "latitude within -90..90", f"{latitude.min():g} .. {latitude.max():g}")
    if (np.diff(longitude) < 0).any():
        raise _contradiction(where, "ascending longitude", f"{longitude[0]:g} .. {longitude[-1]:g}")
    try:
        first_lat, last_lat, west, east, *steps = (float(field.attrs[f"GRIB_{name}InDegrees"]) for name in _GRIB_GRID)
    except KeyError:
        return
    south, north = sorted((first_lat, last_lat))
    stated = Box.of_bounds((west, south, east, north)).grown(steps[0] / 2, steps[1] / 2)
    points = Box(float(latitude.max()), float(longitude[0]), float(latitude.min()), float(longitude[-1]))
    if not stated.contains(points):
        raise _contradiction(where, f"cells over {stated}, as GRIB_* attributes state", str(points))
    if np.ptp(latitude) and (latitude[0] > latitude[-1]) != (first_lat > last_lat):
        stated_order = f"latitude from {first_lat:g} to {last_lat:g}, as GRIB_* attributes state"
        raise _contradiction(where, stated_order, f"{latitude[0]:g} to {latitude[-1]:g}")
    for axis, values, step in zip(_AXES, (latitude, longitude), steps, strict=True):
        if values.size > 1 and abs(abs(float(values[1] - values[0])) - step) > _TOLERANCE:
            got = f"{values[1] - values[0]:g}"
            raise _contradiction(where, f"{axis} in steps of {step:g}, as GRIB_* attributes state", got)


def _contradiction(where: str, expected: str, got: str) -> SourceError:
    return SourceError(
        "latitude and longitude of the file contradict themselves",
        where=where,
        expected=expected,
        got=got,
        todo="take the file as the Climate Data Store delivers it: its axes were swapped, turned or moved afterwards",
    )


def _check_values(values: NDArray[Any], name: str, months: Sequence[str], latitude: NDArray[Any], where: str) -> None:
    """Values of the variable's range, and no holes: shape of values (month, latitude, longitude)."""
    _, low, high = _VARIABLES[name]
    holes = np.isnan(values)
    if holes.any():
        is_land = latitude.size > 1 and abs(latitude[1] - latitude[0]) < _LAND_RESOLUTION
        sea = holes[0] if is_land and not holes[0].all() else np.zeros_like(holes[0])
        bad = np.flatnonzero((holes != sea).any(axis=(1, 2)))
        if bad.size:
            raise SourceError(
                f"{name} has cells without a value",
                where=where,
                expected="a value in every cell (in ERA5-Land: in the same cells of every month)",
                got=f"{int(holes[bad[0]].sum())} empty cells in {months[bad[0]] or 'the field'}, "
                f"{bad.size} such months",
                todo="delete the file and fetch it again",
            )
    least, most = float(np.nanmin(values)), float(np.nanmax(values))
    if least < low or most > high:
        celsius = name == "t2m" and least > -100 and most < 70
        raise SourceError(
            f"{name} looks like degrees Celsius" if celsius else f"{name} holds values that cannot be",
            where=where,
            expected=f"{low:g} .. {high:g} {_VARIABLES[name][0][0]}",
            got=f"{least:g} .. {most:g}",
            todo="take the file as the Climate Data Store delivers it",
        )


def _check_distinct(months: Sequence[str], where: object) -> None:
    twice = sorted(month for month, count in Counter(months).items() if count > 1)
    if twice:
        raise SourceError(
            f"the file holds {twice[0]} more than once",
            where=where,
            expected="each month once",
            got=f"{len(twice)} months more than once: {', '.join(compress(twice))}",
            todo="delete the file and fetch it again",
        )


def _check_complete(months: Sequence[str], asked: Sequence[str] | None, where: Path) -> None:
    if not months:
        return
    first, last = min(months), max(months)
    if asked is None:
        numbers = [month_number(m) for m in months]
        one_year = first[:4] == last[:4]
        calendar = range(12) if one_year else sorted({n % 12 for n in numbers})
        years = range(numbers[0] // 12, numbers[-1] // 12 + 1)
        asked = [m for y in years for c in calendar if first <= (m := month_name(y * 12 + c))]
    lacking = sorted({m for m in asked if m <= last} - set(months))
    if lacking:
        raise SourceError(
            f"the file lacks {lacking[0]}",
            where=where,
            expected=f"{', '.join(compress(m for m in asked if m <= last))}",
            got=f"{len(lacking)} months less: {', '.join(compress(lacking))}",
            todo="delete the file and fetch it again",
        )


def _grid(latitude: NDArray[Any], longitude: NDArray[Any], where: Path) -> Grid:
    from arctic_assets.science.temperature import Grid

    try:
        return Grid(latitude, longitude)
    except SourceError as error:
        raise SourceError(
            error.problem, where=where, expected=error.expected, got=error.got, todo="fetch the file again"
        ) from error


def _rounded(degrees: NDArray[Any]) -> NDArray[np.float64]:
    """Double precision to 1e-5 degrees, so that grids of single and double precision are one."""
    return np.asarray(np.round(np.atleast_1d(degrees).astype(np.float64), 5), dtype=np.float64)


def _unbroken(longitude: NDArray[Any]) -> NDArray[np.float64]:
    """Longitudes without the jump at 180 or 360, the first one in [-180, 180)."""
    unwrapped = np.unwrap(_rounded(longitude), period=360)
    return _rounded(unwrapped - 360 * np.floor((unwrapped[0] + 180) / 360))


def _no_monthly(name: str, where: str, expected: str, got: str) -> SourceError:
    return SourceError(
        f"{name} is no monthly mean on a regular grid of latitudes and longitudes",
        where=where,
        expected=expected,
        got=got,
        todo="ask for product_type monthly_averaged_reanalysis, time 00:00, data_format netcdf",
    )
