"""Fluctuations of Glaciers (WGMS): observed annual, winter and summer balances of whole glaciers.

Layout of a mirror: `wgms/DOI-WGMS-FoG-<release>.zip`. Live, the newest release is found on WGMS' page of versions.

Two schemas exist, told apart by the headers of the tables, wherever in the zip they lie:

- A, releases from 2025-02 on: lower-case columns, balances in m w.e., `datapackage.json`;
- B, up to 2024-01: upper-case columns, balances in mm w.e., one row per elevation band; the whole glacier is the row
  with LOWER_BOUND = UPPER_BOUND = 9999; time system and dates of the year are in a second table.

A factor of 1000 is the classic mistake, so every file is checked for it. The unit of `area` in schema A is taken from
`datapackage.json`; where that states none, a table whose median area is above 10,000 is in m2, else in km2 (the
median of FoG 2021-05 is 3.9 km2; no glacier with a balance is larger than 10,000 km2 or smaller than 0.001 km2).

Text is UTF-8, except in some tables of schema B, which are Latin-1.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pandas as pd

from arctic_assets.errors import SourceError
from arctic_assets.sources import wgms
from arctic_assets.sources.base import Missing, Origin, Product, Remote, Verified
from arctic_assets.sources.wgms import DOWNLOADS_URL, newest_release
from arctic_assets.sources.zips import is_synthetic, open_zip, verify_zip

PRODUCT = Product(
    provider="wgms",
    name="Fluctuations of Glaciers (FoG)",
    version="per release",
    licence="open access under the requirement of correct citation",
    citation=(
        "WGMS: Fluctuations of Glaciers (FoG) Database. World Glacier Monitoring Service (WGMS), Zurich, Switzerland."
    ),
    doi="10.5904/wgms-fog",
    homepage="https://wgms.ch/data_databaseversions/",
    cadence="about once a year",
    latency="balance years of the year before last",
)

VERSIONS_URL = "https://wgms.ch/data_databaseversions/"

_NAME = re.compile(r"DOI-WGMS-FoG-(\d{4}-\d{2}(?:-\d{2}|[a-z])?)\.zip")
_RELEASE = re.compile(r"FoG-(\d{4}-\d{2}(?:-\d{2}|[a-z])?)(?![\da-z])")
_SEASONS = ("annual", "winter", "summer")
_BALANCES = tuple(f"{season}_balance{end}" for season in _SEASONS for end in ("", "_unc"))
_LARGEST_BALANCE_M_WE = 20.0
_SMALLEST_MEDIAN_M_WE = 0.02  # of 6,537 annual values the median magnitude is 0.56 m w.e.
_LARGEST_MEDIAN_AREA_KM2 = 1e4


class _Schema(NamedTuple):
    """Column names (lower case) of one schema.

    Attributes:
        name: A or B.
        glacier: the glacier's id.
        balance: columns that the table of balances must have.
        not_in_balance: a column by which another table, of bands, is told from it; empty when there is none.
        state: columns of the table of states.
        state_date: where the survey's year stands.
        year: columns of the table with the dates of a balance year; schema A has them in `balance`.
        period: first and last day of the balance year.
        per_m_we: how many of its units of balance are 1 m w.e.
    """

    name: str
    glacier: str
    balance: frozenset[str]
    not_in_balance: str
    state: frozenset[str]
    state_date: str
    year: frozenset[str]
    period: tuple[str, str]
    per_m_we: float


_A = _Schema(
    name="A",
    glacier="glacier_id",
    balance=frozenset(
        {"glacier_id", "year", "time_system", "begin_date", "end_date", "area", *_BALANCES},
    ),
    not_in_balance="lower_elevation",
    state=frozenset({"glacier_id", "date", "area", "highest_elevation"}),
    state_date="date",
    year=frozenset(),
    period=("begin_date", "end_date"),
    per_m_we=1.0,
)
_B = _Schema(
    name="B",
    glacier="wgms_id",
    balance=frozenset({"wgms_id", "year", "lower_bound", "upper_bound", "area", *_BALANCES}),
    not_in_balance="",
    state=frozenset({"wgms_id", "year", "area", "highest_elevation"}),
    state_date="year",
    year=frozenset({"wgms_id", "year", "time_system", "begin_period", "end_period"}),
    period=("begin_period", "end_period"),
    per_m_we=1000.0,
)
_WHOLE_GLACIER = 9999


class _Tables(NamedTuple):
    """Which members of a zip hold what; None where the release has no such table."""

    schema: _Schema
    balance: str
    year: str | None
    state: str | None


def remotes(origin: Origin, page_url: str = VERSIONS_URL, downloads_url: str = DOWNLOADS_URL) -> list[Remote | Missing]:
    """The zip of the newest release; see `wgms.newest_release`."""
    return newest_release(origin, _NAME, product, verify, page_url, downloads_url)


def newest(names: Iterable[str]) -> str | None:
    """The file name of the latest release among others; None when there is none."""
    return wgms.newest(names, _NAME)


def release(name: str) -> str | None:
    """The release that a file name states."""
    match = _RELEASE.search(name)
    return match[1] if match else None


def product(release: str) -> Product:
    """The product with version, DOI and citation of one release."""
    doi = f"10.5904/wgms-fog-{release}"
    citation = PRODUCT.citation.replace("WGMS:", f"WGMS ({release[:4]}):", 1) + f" https://doi.org/{doi}"
    return replace(PRODUCT, version=release, doi=doi, citation=citation)


def verify(path: Path) -> Verified:
    """Open a release.

    Returns:
        Content: `release`, `schema` (A or B), `n` (whole-glacier years), `n_glaciers`, `first_year`, `last_year`,
        `has_states`.

    Raises:
        SourceError: not a whole zip; tables of neither schema; balances or areas in another unit than the schema's.
    """
    verify_zip(path)
    with open_zip(path) as archive:
        tables = _tables(archive, path)
        frame = _balances(archive, tables, path)
        marked = is_synthetic(archive)
        stated = release(path.name) or next(filter(None, map(release, archive.namelist())), None)
        version = stated or _datapackage(archive).get("version")
    if frame.empty:
        raise _wrong("a release of FoG holds no balance", path, "rows of whole glaciers", "none")
    _check_magnitudes(frame, path)
    content = {
        "release": version,
        "schema": tables.schema.name,
        "n": len(frame),
        "n_glaciers": int(frame["wgms_id"].nunique()),
        "first_year": int(frame["year"].min()),
        "last_year": int(frame["year"].max()),
        "has_states": tables.state is not None,
    }
    return Verified(is_synthetic=marked, content=content, version=version)


def read_balances(path: Path, wgms_ids: Collection[int]) -> pd.DataFrame:
    """Balances of whole glaciers.

    Args:
        path: a verified release.
        wgms_ids: glaciers.

    Returns:
        One row per glacier and balance year (labelled by its end) that reports any of the three balances, sorted:
        wgms_id, year, annual_balance_m_we, annual_balance_sigma_m_we, winter_balance_m_we,
        winter_balance_sigma_m_we, summer_balance_m_we, summer_balance_sigma_m_we, reference_area_km2 (NaN where not
        reported), period_start, period_end (dates; None where day or month is unknown), time_system (FLO, FXD, STR,
        COM, OTH, or missing).

    Raises:
        SourceError: two rows of one glacier and year that contradict each other.
    """
    with open_zip(path) as archive:
        tables = _tables(archive, path)
        frame = _balances(archive, tables, path)
        frame = frame[frame["wgms_id"].isin(list(wgms_ids))].drop_duplicates()
        if tables.year:
            years = _read(archive, tables.year, path, tables.schema.year)
            years["wgms_id"] = _integers(years, tables.schema.glacier, path)
            years["year"] = _integers(years, "year", path)
            years = years.drop_duplicates(["wgms_id", "year"])
            frame = frame.merge(years, on=["wgms_id", "year"], how="left", validate="many_to_one")
    keys = ["wgms_id", "year"]
    twice = frame[frame.duplicated(keys, keep=False)]
    if len(twice):
        rows = twice[[*keys, "annual_balance_m_we"]].head(20).to_dict("records")
        raise _wrong("FoG holds contradicting rows of one glacier and year", path, "one row each", rows)
    for column, name in zip(("period_start", "period_end"), tables.schema.period, strict=True):
        frame[column] = pd.Series([_date(text) for text in frame[name]], index=frame.index, dtype="object")
    columns = [*keys, *_balance_columns(), "reference_area_km2", "period_start", "period_end", "time_system"]
    return frame[columns].sort_values(keys, ignore_index=True)


def read_state_areas(path: Path, wgms_ids: Collection[int]) -> pd.DataFrame:
    """Surveyed areas of glaciers, to compare other areas with.

    Returns:
        wgms_id, year (of the survey), area_km2; sorted, without rows that state no area. Empty when the release has
        no table of states.
    """
    with open_zip(path) as archive:
        tables = _tables(archive, path)
        schema = tables.schema
        if tables.state is None:
            return pd.DataFrame({"wgms_id": [], "year": [], "area_km2": []}).astype({"wgms_id": int, "year": int})
        state = _read(archive, tables.state, path, schema.state)
        area = _numbers(state, "area", path)
        area /= _area_per_km2(archive, tables.state, schema, area, path)
    state = state.assign(area_km2=area)[(area > 0) & state[schema.state_date].notna()]
    state = state.assign(
        wgms_id=_integers(state, schema.glacier, path),
        year=_integers(state.assign(year=state[schema.state_date].str.slice(0, 4)), "year", path),
    )
    state = state[state["wgms_id"].isin(list(wgms_ids))]
    return state[["wgms_id", "year", "area_km2"]].sort_values(["wgms_id", "year"], ignore_index=True)


def _balance_columns() -> list[str]:
    return [f"{season}_balance{end}_m_we" for season in _SEASONS for end in ("", "_sigma")]


def _tables(archive: zipfile.ZipFile, path: Path) -> _Tables:
    """Find the tables by their headers."""
    headers = {name: _header(archive, name) for name in archive.namelist() if name.lower().endswith(".csv")}

    def find(columns: frozenset[str], without: str = "") -> str | None:
        return next((name for name, header in headers.items() if columns <= header and without not in header), None)

    for schema in (_A, _B):
        balance = find(schema.balance, without=schema.not_in_balance)
        year = find(schema.year) if schema.year else None
        if balance and (year or not schema.year):
            return _Tables(schema, balance, year, find(schema.state))
    seen = "; ".join(f"{PurePosixPath(name).name}: {', '.join(sorted(h))}" for name, h in list(headers.items())[:10])
    raise _wrong(
        "the tables of a FoG release are of no known schema",
        path,
        f"a table with {', '.join(sorted(_A.balance))} (from 2025 on), or one with {', '.join(sorted(_B.balance))} "
        f"and one with {', '.join(sorted(_B.year))} (before)",
        seen or "no CSV file",
    )


def _header(archive: zipfile.ZipFile, member: str) -> frozenset[str]:
    with archive.open(member) as stream:
        line = stream.readline(1 << 16).decode("utf-8-sig", errors="replace")
    return frozenset(name.strip().lower() for name in next(csv.reader([line]), []))


def _read(archive: zipfile.ZipFile, member: str, path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Columns of a table as text, empty cells missing."""
    raw = archive.read(member)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    wanted = set(columns)
    try:
        frame = pd.read_csv(
            io.StringIO(text), dtype="str", usecols=lambda name: name.strip().lower() in wanted, keep_default_na=True
        )
    except (pd.errors.ParserError, csv.Error) as error:
        raise _wrong(f"the table {member} cannot be read", path, "CSV", error) from error
    return frame.rename(columns=lambda name: name.strip().lower())


def _balances(archive: zipfile.ZipFile, tables: _Tables, path: Path) -> pd.DataFrame:
    """All whole-glacier rows with any balance: ids, values in m w.e. and km2; other columns as text."""
    schema = tables.schema
    frame = _read(archive, tables.balance, path, schema.balance)
    if schema is _B:
        bounds = pd.DataFrame({name: _numbers(frame, name, path) for name in ("lower_bound", "upper_bound")})
        frame = frame[(bounds == _WHOLE_GLACIER).all(axis=1)]
    for season in _SEASONS:
        for end, sigma in (("", ""), ("_unc", "_sigma")):
            values = _numbers(frame, f"{season}_balance{end}", path)
            frame[f"{season}_balance{sigma}_m_we"] = values / schema.per_m_we
    area = _numbers(frame, "area", path)
    area /= _area_per_km2(archive, tables.balance, schema, area, path)
    frame["reference_area_km2"] = area.where(area > 0)
    reports_any = frame[[f"{season}_balance_m_we" for season in _SEASONS]].notna().any(axis=1)
    frame = frame[reports_any]
    frame["wgms_id"] = _integers(frame, schema.glacier, path)
    frame["year"] = _integers(frame, "year", path)
    kept = ["time_system", *schema.period] if schema is _A else []
    return frame[["wgms_id", "year", *_balance_columns(), "reference_area_km2", *kept]]


def _check_magnitudes(frame: pd.DataFrame, path: Path) -> None:
    for season in _SEASONS:
        name = f"{season}_balance_m_we"
        large = frame[frame[name].abs() >= _LARGEST_BALANCE_M_WE]
        if len(large):
            rows = [f"glacier {r.wgms_id} in {r.year}: {r[name]:g}" for _, r in large.head(20).iterrows()]
            raise _wrong(
                f"{len(large)} {season} balances are beyond anything measured: another unit?",
                path,
                f"less than {_LARGEST_BALANCE_M_WE:g} m w.e. either way",
                "; ".join(rows),
            )
    annual = frame["annual_balance_m_we"].dropna().abs()
    if len(annual) >= 10 and annual.median() < _SMALLEST_MEDIAN_M_WE:
        rows = [f"glacier {r.wgms_id} in {r.year}: {r.annual_balance_m_we:g}" for r in frame.head(20).itertuples()]
        raise _wrong(
            "the annual balances are about a thousand times too small: another unit?",
            path,
            f"a median magnitude of at least {_SMALLEST_MEDIAN_M_WE:g} m w.e.",
            f"{annual.median():g} m w.e.; {'; '.join(rows)}",
        )
    median = frame["reference_area_km2"].median()
    if median > _LARGEST_MEDIAN_AREA_KM2:
        raise _wrong(
            "the areas do not fit their unit",
            path,
            f"a median of less than {_LARGEST_MEDIAN_AREA_KM2:g} km2",
            f"{median:g} km2",
        )


def _area_per_km2(archive: zipfile.ZipFile, member: str, schema: _Schema, area: pd.Series, path: Path) -> float:
    """How many of the table's units of area are 1 km2 (module docstring)."""
    if schema is _B:
        return 1.0
    unit = _unit(_datapackage(archive), member, "area")
    if unit is None:
        return 1e6 if area.median() > _LARGEST_MEDIAN_AREA_KM2 else 1.0
    units = {"km2": 1.0, "km^2": 1.0, "km**2": 1.0, "m2": 1e6, "m^2": 1e6, "m**2": 1e6}
    per_km2 = units.get(unit.replace("²", "2").replace(" ", "").lower())
    if per_km2 is None:
        raise _wrong(f"{member} states an unknown unit of area", path, "km2 or m2", unit)
    return per_km2


def _datapackage(archive: zipfile.ZipFile) -> dict[str, Any]:
    member = next((name for name in archive.namelist() if PurePosixPath(name).name == "datapackage.json"), None)
    package: dict[str, Any] = json.loads(archive.read(member)) if member else {}
    return package


def _unit(package: dict[str, Any], member: str, field: str) -> str | None:
    """Unit of a field as the datapackage states it; WGMS writes `units`, Frictionless' pattern is `unit`."""
    for resource in package.get("resources", []):
        if PurePosixPath(str(resource.get("path"))).name != PurePosixPath(member).name:
            continue
        for described in resource.get("schema", {}).get("fields", []):
            if described.get("name") == field:
                unit = described.get("units") or described.get("unit")
                return str(unit) if unit else None
    return None


def _numbers(frame: pd.DataFrame, name: str, path: Path) -> pd.Series:
    try:
        return pd.to_numeric(frame[name]).astype("float64")
    except (ValueError, TypeError) as error:
        raise _wrong(f"the column {name} holds something else than numbers", path, "numbers", error) from error


def _integers(frame: pd.DataFrame, name: str, path: Path) -> pd.Series:
    values = _numbers(frame, name, path)
    wrong = values[values.isna() | (values % 1 != 0)]
    if len(wrong):
        rows = [f"row {index}: {frame.loc[index, name]}" for index in wrong.index[:20]]
        raise _wrong(f"the column {name} holds something else than whole numbers", path, "whole numbers", rows)
    return values.astype("int64")


def _date(text: object) -> dt.date | None:
    """`2003-10-01`, `20031001`; None where it is missing or not fully known (`20039999`)."""
    try:
        return dt.date.fromisoformat(text.strip()) if isinstance(text, str) else None
    except ValueError:
        return None


def _wrong(problem: str, path: Path, expected: object, got: object) -> SourceError:
    return SourceError(
        problem,
        where=path.name,
        expected=expected,
        got=got,
        todo="compare the file with WGMS' own; if it is theirs, the reader in sources/fog.py must learn it",
    )
