"""The glacier registry: which glaciers there are, and by which ids the providers know them.

Load, validate and look up a registry file; the 16 glaciers of the dataset are `glaciers.csv` beside this module.
Only the standard library is used, because every start of Dagster reads the registry to name its partitions. What
lies behind the ids (outlines, links from RGI6 to RGI7) is the business of `sources` and `science`.
"""

from __future__ import annotations

import csv
import difflib
import hashlib
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from arctic_assets.errors import RegistryError

KINDS = ("glacier", "ice_cap", "archipelago")
WGMS_SCOPES = ("own", "parent_ice_cap")
REGIONS = tuple(f"{number:02d}" for number in range(1, 20))
"""First-order RGI regions that hold outlines; 20 (Antarctic mainland) is reserved and empty in RGI7."""

PACKAGED = Path(__file__).with_name("glaciers.csv")
REQUIRED = ("glacier_id", "name", "kind", "o1region", "longitude", "latitude", "utm_epsg")
_RGI_EXAMPLES = {"rgi7_ids": "RGI2000-v7.0-G-01-00592", "rgi6_ids": "RGI60-01.02228"}
_RGI_PATTERNS = {
    "rgi7_ids": re.compile(r"(RGI2000-v7\.0-G-(\d\d)-)(\d{5})"),
    "rgi6_ids": re.compile(r"(RGI60-(\d\d)\.)(\d{5})"),
}


def _about(meaning: str, unit: str = "") -> dict[str, str]:
    """What the codebook says of a field."""
    return {"meaning": meaning, "unit": unit}


@dataclass(frozen=True)
class Glacier:
    """One row of the registry: a glacier, an ice cap, or an archipelago of many RGI outlines.

    Each field's metadata holds its meaning and unit, which the published codebook shows.
    """

    glacier_id: str = field(metadata=_about("Id of the glacier here: partition key, and key of every table"))
    name: str = field(metadata=_about("Name for people"))
    kind: str = field(metadata=_about("glacier, ice_cap, or archipelago"))
    o1region: str = field(metadata=_about("First-order RGI region, 01 to 19"))
    longitude: float = field(metadata=_about("Longitude of a point on the glacier, -180 to 180", "degrees_east"))
    latitude: float = field(metadata=_about("Latitude of a point on the glacier", "degrees_north"))
    utm_epsg: int = field(metadata=_about("EPSG code of the UTM zone (WGS84)"))
    name_zh: str = field(default="", metadata=_about("Chinese name"))
    country: str = field(default="", metadata=_about("Country or territory, ISO 3166-1 alpha-2"))
    o2region: str = field(default="", metadata=_about("Second-order RGI region"))
    rgi7_ids: tuple[str, ...] = field(
        default=(),
        metadata=_about("Outlines in RGI 7.0; empty when they are found through the official links from rgi6_ids"),
    )
    rgi6_ids: tuple[str, ...] = field(
        default=(), metadata=_about("The same ice in RGI 6.0, for products that know only that")
    )
    wgms_id: int | None = field(default=None, metadata=_about("Id in the WGMS database"))
    wgms_scope: str = field(
        default="",
        metadata=_about("What the WGMS series measures: the glacier itself (own) or its ice cap (parent_ice_cap)"),
    )
    glims_id: str = field(default="", metadata=_about("Id in GLIMS"))
    area_km2: float | None = field(default=None, metadata=_about("Area as known beforehand, to compare with", "km2"))
    area_source: str = field(default="", metadata=_about("Where area_km2 is from"))
    expected_thickness_m: float | None = field(
        default=None,
        metadata=_about("Mean thickness as known beforehand; a check shows products that differ by a factor of 2", "m"),
    )
    expected_speed_m_yr: float | None = field(
        default=None,
        metadata=_about("Mean speed of the centreline that it hardly exceeds; a check shows years that do", "m yr-1"),
    )
    itslive_region: str = field(default="", metadata=_about("Region in the file names of the ITS_LIVE mosaics"))
    terminus: str = field(default="", metadata=_about("Where the glacier ends: land, marine, lake, or mixed"))
    mass_balance_source: str = field(default="", metadata=_about("Where its mass balance is from: wgms or literature"))
    notes: str = field(default="", metadata=_about("What a reader should know"))


@dataclass(frozen=True)
class Registry:
    """The glaciers in the order of their file.

    Attributes:
        glaciers: the rows.
        path: the file they are from.
    """

    glaciers: tuple[Glacier, ...]
    path: Path

    def __iter__(self) -> Iterator[Glacier]:
        return iter(self.glaciers)

    def __len__(self) -> int:
        return len(self.glaciers)

    def __getitem__(self, glacier_id: str) -> Glacier:
        """The glacier of an id.

        Raises:
            RegistryError: no such glacier; names the ids that come close.
        """
        for glacier in self.glaciers:
            if glacier.glacier_id == glacier_id:
                return glacier
        near = difflib.get_close_matches(glacier_id.lower(), self.ids, n=3, cutoff=0.5)
        raise RegistryError(
            "no such glacier in the registry",
            where=self.path,
            expected=", ".join(self.ids),
            got=glacier_id,
            todo=f"did you mean {' or '.join(near)}?" if near else "take one of these ids, or add a row to the file",
        )

    @property
    def ids(self) -> tuple[str, ...]:
        """All glacier ids."""
        return tuple(glacier.glacier_id for glacier in self.glaciers)

    @property
    def regions(self) -> tuple[str, ...]:
        """The first-order RGI regions that occur, sorted."""
        return tuple(sorted({glacier.o1region for glacier in self.glaciers}))

    @property
    def hash(self) -> str:
        """SHA-256 of what the registry says: the same for the same rows, however their file is written."""
        rows = [asdict(glacier) for glacier in self.glaciers]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False, sort_keys=True).encode()).hexdigest()


def load(path: Path | None = None) -> Registry:
    """Read and check a registry file.

    Args:
        path: a CSV file (UTF-8, comma, one header row); None for the glaciers of the package. It needs the columns
            `REQUIRED` and `rgi7_ids` or `rgi6_ids`; the others of `Glacier` may be missing. In a cell, several RGI
            ids stand side by side with `;` or blanks, and `A..B` means all numbers from A to B.

    Raises:
        RegistryError: the file cannot be read, or rows are wrong; names every row and column that is.
    """
    path = PACKAGED if path is None else Path(path)
    header, lines = _table(path)
    problems = _header_problems(header)
    if problems:
        raise _error(path, problems)
    rows: list[_Row] = []
    for number, cells in lines:
        if len(cells) == len(header):
            rows.append(_Row(number, dict(zip(header, (cell.strip() for cell in cells), strict=True))))
        else:
            todo = "quote cells that hold commas, and keep the commas of empty cells"
            problems.append(
                _Problem(
                    number,
                    "",
                    f"the row has {len(cells)} cells",
                    f"{len(header)}, as the header",
                    ",".join(cells),
                    todo,
                )
            )
    glaciers = tuple(row.glacier() for row in rows)
    problems += [problem for row in rows for problem in row.problems]
    problems += _repeated(rows, glaciers)
    if problems:
        raise _error(path, sorted(problems, key=lambda problem: problem.row))
    return Registry(glaciers, path)


@dataclass(frozen=True)
class _Problem:
    """One wrong cell (or row, or header), told as `ArcticAssetsError` tells it."""

    row: int
    column: str
    text: str
    expected: str
    got: str
    todo: str

    @property
    def place(self) -> str:
        return f"row {self.row}" + (f", column {self.column}" if self.column else "")


def _error(path: Path, problems: list[_Problem]) -> RegistryError:
    """All problems in one exception: a person corrects the file once, not once per problem."""
    if len(problems) == 1:
        (only,) = problems
        return RegistryError(
            only.text, where=f"{path}, {only.place}", expected=only.expected, got=only.got or "nothing", todo=only.todo
        )
    lines = [f"{p.place}: {p.text} (expected {p.expected}; got {p.got or 'nothing'}): {p.todo}" for p in problems]
    return RegistryError(
        "\n  ".join([f"the glacier registry has {len(problems)} problems", *lines]),
        where=path,
        todo="correct these rows (row 1 is the header)",
    )


def _table(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows with their numbers as a spreadsheet counts them (the header is row 1); blank rows left out."""
    todo = "give a CSV file: UTF-8, commas, one header row (a spreadsheet saves it as 'CSV UTF-8')"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RegistryError(
            "the glacier registry cannot be read",
            where=path,
            expected="a readable CSV file",
            got=error.strerror or str(error),
            todo="check the path (ARCTIC_ASSETS_GLACIERS); unset it to use the glaciers of the package",
        ) from error
    if data.startswith(b"PK\x03\x04") or b"\x00" in data:
        what = "a zip file, as an Excel workbook is" if data.startswith(b"PK") else "a binary file"
        raise RegistryError("the glacier registry is not a CSV file", where=path, expected="text", got=what, todo=todo)
    try:
        # utf-8-sig: Excel puts a byte order mark before its UTF-8.
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise RegistryError(
            "the glacier registry is not UTF-8",
            where=f"{path}, line {line}",
            expected="UTF-8 text",
            got=f"byte 0x{data[error.start]:02x}",
            todo=todo,
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [(number, cells) for number, cells in enumerate(reader, start=1) if any(c.strip() for c in cells)]
    except csv.Error as error:
        raise RegistryError(
            "the glacier registry is not valid CSV",
            where=f"{path}, up to line {reader.line_num}",
            expected="every quoted cell closed",
            got=str(error),
            todo=todo,
        ) from error
    if len(rows) < 2:
        raise RegistryError(
            "the glacier registry is empty",
            where=path,
            expected="a header row and at least one glacier",
            got="only a header row" if rows else "nothing",
            todo=todo,
        )
    (_, header), *body = rows
    return [name.strip() for name in header], body


def _header_problems(header: list[str]) -> list[_Problem]:
    known = tuple(column.name for column in fields(Glacier))
    names = ", ".join(header)
    if len(header) == 1 and re.search(r"[;\t|]", header[0]):
        return [
            _Problem(1, "", "the columns are not separated by commas", "commas", names, "save the file with commas")
        ]
    absent = [name for name in REQUIRED if name not in header]
    found = [
        _Problem(1, name, "the column is missing", f"the columns {', '.join(REQUIRED)}", names, f"add {name}")
        for name in absent
    ]
    if not {"rgi7_ids", "rgi6_ids"} & set(header):
        found.append(_Problem(1, "rgi7_ids", "no column of RGI ids", "rgi7_ids or rgi6_ids", names, "add one of both"))
    for name in header:
        near = difflib.get_close_matches(name.lower(), [k for k in known if k not in header], n=1, cutoff=0.8)
        if name not in known and near:
            found.append(
                _Problem(1, name, "a column of this name is not read", near[0], name, f"did you mean {near[0]}?")
            )
    found += [
        _Problem(1, name, "the column is there twice", "each column once", names, "remove one of both")
        for name in sorted({name for name in header if name in known and header.count(name) > 1})
    ]
    return found


class _Row:
    """Reads the cells of one row; every cell that is wrong adds to `problems`."""

    def __init__(self, number: int, cells: Mapping[str, str]) -> None:
        self.number = number
        self.cells = cells
        self.problems: list[_Problem] = []

    def glacier(self) -> Glacier:
        """The row as a `Glacier`; where it has problems, with empty values in their place."""
        region = self._region()
        rgi7_ids = self._rgi("rgi7_ids", region)
        rgi6_ids = self._rgi("rgi6_ids", region)
        if not (self._text("rgi7_ids") or self._text("rgi6_ids")):
            self._wrong(
                "rgi7_ids",
                "the glacier has no RGI id",
                f"{_RGI_EXAMPLES['rgi7_ids']} or, in rgi6_ids, {_RGI_EXAMPLES['rgi6_ids']}",
                "look the glacier up in RGI7; its outline is found by this id",
            )
        longitude, latitude, epsg = self._position()
        wgms_id = self._wgms_id()
        return Glacier(
            glacier_id=self._id(),
            name=self._text("name") or self._wrong("name", "the glacier has no name", "a name for people", "add one"),
            kind=self._choice("kind", KINDS),
            o1region=region,
            longitude=longitude,
            latitude=latitude,
            utm_epsg=epsg,
            name_zh=self._text("name_zh"),
            country=self._text("country"),
            o2region=self._subregion(region),
            rgi7_ids=rgi7_ids,
            rgi6_ids=rgi6_ids,
            wgms_id=wgms_id,
            wgms_scope=self._wgms_scope(wgms_id),
            glims_id=self._text("glims_id"),
            area_km2=self._above_0("area_km2"),
            area_source=self._text("area_source"),
            expected_thickness_m=self._above_0("expected_thickness_m"),
            expected_speed_m_yr=self._above_0("expected_speed_m_yr"),
            itslive_region=self._text("itslive_region"),
            terminus=self._text("terminus"),
            mass_balance_source=self._text("mass_balance_source"),
            notes=self._text("notes"),
        )

    def _text(self, column: str) -> str:
        return self.cells.get(column, "")

    def _wrong(self, column: str, text: str, expected: str, todo: str) -> str:
        """Notes the problem; the empty string stands in for the value."""
        self.problems.append(_Problem(self.number, column, text, expected, self._text(column), todo))
        return ""

    def _choice(self, column: str, allowed: tuple[str, ...]) -> str:
        value = self._text(column)
        if value not in allowed:
            return self._wrong(column, f"the {column} is unknown", " or ".join(allowed), "take one of these words")
        return value

    def _id(self) -> str:
        value = self._text("glacier_id")
        if not re.fullmatch(r"[a-z0-9_-]+", value):
            return self._wrong(
                "glacier_id",
                "the glacier_id cannot be used" if value else "the glacier_id is empty",
                "lower-case letters a-z, digits, _ and - only: the id becomes a Dagster partition key "
                "(which forbids | , [ ]) and part of file names",
                f"for example {_suggested_id(value or self._text('name')) or 'my_glacier'}",
            )
        return value

    def _region(self) -> str:
        value = self._text("o1region")
        # A spreadsheet turns 01 into 1.
        region = value.zfill(2)
        if region not in REGIONS:
            return self._wrong(
                "o1region",
                "the RGI region is unknown",
                f"{REGIONS[0]} (Alaska) to {REGIONS[-1]} (Subantarctic and Antarctic islands)",
                "take the first-order region, the two digits inside the RGI id",
            )
        return region

    def _subregion(self, region: str) -> str:
        value = self._text("o2region")
        if value and region and not re.fullmatch(rf"{region}-\d\d", value):
            return self._wrong(
                "o2region",
                "the RGI subregion does not fit the region",
                f"{region}-nn, or empty",
                "a spreadsheet makes a date of it: format the column as text",
            )
        return value

    def _rgi(self, column: str, region: str) -> tuple[str, ...]:
        """The ids in a cell, ranges expanded."""
        found: list[str] = []
        for part in re.split(r"[;\s]+", re.sub(r"\s*\.\.\s*", "..", self._text(column))):
            if not part:
                continue
            first, *rest = part.split("..")
            start, stop = (_RGI_PATTERNS[column].fullmatch(end) for end in (first, rest[-1] if rest else first))
            example = _RGI_EXAMPLES[column]
            if start is None or stop is None or len(rest) > 1:
                what = "range" if rest else "id"
                self._wrong(
                    column,
                    f"{part} is not an RGI {what} of this version",
                    f"{example}, or a range of two such ids with .. between",
                    "several ids stand side by side with ; between; G stands for glacier, C (complexes) is not read",
                )
                continue
            if start[1] != stop[1]:
                self._wrong(
                    column,
                    f"the range {part} spans two regions",
                    "both ends in one region",
                    "write two ranges",
                )
                continue
            if int(stop[3]) < int(start[3]):
                self._wrong(column, f"the range {part} ends before it starts", "lower..higher", "swap the two ids")
                continue
            if region and start[2] != region:
                self._wrong(
                    column,
                    f"{part} is an id of region {start[2]}, the row says o1region {region}",
                    f"ids of region {region}",
                    "correct the id or the region",
                )
                continue
            found += [f"{start[1]}{number:05d}" for number in range(int(start[3]), int(stop[3]) + 1)]
        for rgi_id, times in Counter(found).items():
            if times > 1:
                self._wrong(column, f"{rgi_id} is named twice", "each id once, or it counts twice", "remove one")
        return tuple(found)

    def _position(self) -> tuple[float, float, int]:
        """Longitude, latitude and the UTM zone, which must not say that the first two are swapped."""
        longitude, latitude = _float(self._text("longitude")), _float(self._text("latitude"))
        text = self._text("utm_epsg")
        epsg = int(text) if re.fullmatch(r"32[67](0[1-9]|[1-5][0-9]|60)", text) else 0
        if not epsg:
            self._wrong(
                "utm_epsg",
                "the utm_epsg is not a UTM zone",
                "32601 to 32660 (north) or 32701 to 32760 (south)",
                "take 32600 (north) or 32700 (south) plus the zone, which is the whole part of (longitude + 186) / 6",
            )
        if _swapped(longitude, latitude, epsg):
            self._wrong(
                "longitude",
                f"longitude and latitude seem to be swapped (latitude {self._text('latitude')}, utm_epsg {text})",
                "degrees east in longitude, degrees north in latitude",
                "swap the two cells",
            )
        else:
            todo = "give decimal degrees with a point"
            if not -180 <= longitude <= 180:
                self._wrong("longitude", "the longitude is impossible", "degrees east, -180 to 180", todo)
            if not -90 <= latitude <= 90:
                self._wrong("latitude", "the latitude is impossible", "degrees north, -90 to 90", todo)
        return longitude, latitude, epsg

    def _wgms_id(self) -> int | None:
        value = self._text("wgms_id")
        if value and not (value.isdecimal() and int(value) > 0):
            self._wrong("wgms_id", "the wgms_id is not a number", "a whole number such as 491, or empty", "correct it")
            return None
        return int(value) if value else None

    def _wgms_scope(self, wgms_id: int | None) -> str:
        """`own` where the registry is silent about a glacier that has a series."""
        if self._text("wgms_scope"):
            return self._choice("wgms_scope", WGMS_SCOPES)
        return "" if wgms_id is None else WGMS_SCOPES[0]

    def _above_0(self, column: str) -> float | None:
        if not self._text(column):
            return None
        value = _float(self._text(column))
        if not 0 < value < math.inf:
            self._wrong(column, f"the {column} is not above 0", "a number above 0, or empty", "correct it")
        return value


def _float(text: str) -> float:
    """The number, or NaN, which no range holds."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _swapped(longitude: float, latitude: float, epsg: int) -> bool:
    """Only the other way round do the two make a position, or one that lies in (or beside) the UTM zone."""
    if not (-90 <= longitude <= 90 and -180 <= latitude <= 180):
        return False
    if abs(latitude) > 90:
        return True
    return epsg > 0 and not _near_zone(longitude, epsg) and _near_zone(latitude, epsg)


def _near_zone(longitude: float, epsg: int) -> bool:
    """The longitude lies in the UTM zone or the one beside it; zones 60 and 1 are neighbours."""
    zone = int((longitude + 180) // 6) % 60
    return abs((zone - (epsg % 100 - 1) + 30) % 60 - 30) <= 1


def _suggested_id(text: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "_", text.lower()).strip("_")


def _repeated(rows: list[_Row], glaciers: tuple[Glacier, ...]) -> list[_Problem]:
    """Glacier ids and RGI7 outlines that stand in more than one row: both would count twice."""
    found = []
    ids: dict[str, int] = {}
    outlines: dict[str, int] = {}
    for row, glacier in zip(rows, glaciers, strict=True):
        first = ids.setdefault(glacier.glacier_id or f"row {row.number}", row.number)
        if first != row.number:
            text = f"the glacier_id is already that of row {first}"
            todo = "rename one of the two, or remove it"
            found.append(_Problem(row.number, "glacier_id", text, "each id once", glacier.glacier_id, todo))
        shared: dict[int, list[str]] = {}
        for rgi_id in glacier.rgi7_ids:
            first = outlines.setdefault(rgi_id, row.number)
            if first != row.number:
                shared.setdefault(first, []).append(rgi_id)
        for first, rgi_ids in shared.items():
            text = f"the outline belongs already to row {first}"
            got = rgi_ids[0] + (f" and {len(rgi_ids) - 1} more" if len(rgi_ids) > 1 else "")
            todo = "remove it from one of the two rows"
            found.append(_Problem(row.number, "rgi7_ids", text, "each RGI7 outline in one row", got, todo))
    return found
