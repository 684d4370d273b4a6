"""Geodetic elevation changes in a release of WGMS' Fluctuations of Glaciers, whose zip `fog` fetches and verifies.

Two schemas, told apart by the header of the table, as in `fog`:

- A, releases from 2025-02 on (`change.csv`, lower case): elevation change in m, area in m2. `datapackage.json` states
  the units; another one is refused. Where it states none, these are taken (WGMS' own form for submissions has them,
  a release's datapackage was not seen).
- B, up to 2024-01 (`…-D-CHANGE.csv` or `change.csv`, upper case): thickness change in mm, area in km2 at the end, area
  change in 1000 m2, one row per elevation band; the whole glacier is the row with LOWER_BOUND = UPPER_BOUND = 9999
  (README of release 2023-09).

A row that cannot be used (no or a negative period, no elevation change) is left out with a reason: one bad row of one
contributor does not stop the others. Of several million rows, only those of the wanted glaciers are kept.
"""

from __future__ import annotations

import csv
import datetime as dt
import json
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from arctic_assets.errors import SourceError
from arctic_assets.sources.base import Missing
from arctic_assets.sources.zips import open_zip

_CHUNK = 200_000
_WHOLE_GLACIER = 9999
#: m per year, |elevation change| / period. Calving fronts and surges reach the upper one locally, no whole glacier
#: does: it parts single wrong rows from a table in mm, where the median of three rows and more is above it. A table
#: that was divided twice has a median below the lower one, which only ten rows and more can tell.
_LARGEST_RATE_M_YR, _SMALLEST_MEDIAN_M_YR = 20.0, 1e-3
_LARGEST_AREA_KM2 = 1e5  # the largest glacier outside the ice sheets has about 8,000 km2
_DAYS_PER_YEAR = 365.25


@dataclass(frozen=True)
class Changes:
    """What a release says of the wanted glaciers.

    Attributes:
        frame: wgms_id, survey_id (text, may be empty), period_start, period_end (dates), period_start_unc_d,
            period_end_unc_d (days; NaN where not stated), years (length of the period, above 0), elevation_change_m,
            elevation_change_sigma_m (NaN where not stated), area_km2 (as reported, in schema B at the end; NaN where
            not stated), area_start_km2 (schema B, where the area change is stated, else NaN), reference (text); sorted
            by glacier, period and survey.
        left_out: WGMS id of the glacier and one sentence per row that cannot be used, with survey and reason.
    """

    frame: pd.DataFrame
    left_out: tuple[tuple[int, str], ...]


class _Schema(NamedTuple):
    """Column names (lower case) of one schema; `required` must be there, `others` may."""

    glacier: str
    survey: str
    begin: str
    end: str
    change: str
    sigma: str
    area: str
    required: frozenset[str]
    others: frozenset[str]
    not_in: str


_A = _Schema(
    glacier="glacier_id",
    survey="id",
    begin="begin_date",
    end="end_date",
    change="elevation_change",
    sigma="elevation_change_unc",
    area="area",
    required=frozenset({"glacier_id", "begin_date", "end_date", "elevation_change", "elevation_change_unc", "area"}),
    others=frozenset({"id", "begin_date_unc", "end_date_unc", "references", "investigators"}),
    not_in="lower_elevation",
)
_B = _Schema(
    glacier="wgms_id",
    survey="survey_id",
    begin="reference_date",
    end="survey_date",
    change="thickness_chg",
    sigma="thickness_chg_unc",
    area="area_survey_year",
    required=frozenset(
        {"wgms_id", "reference_date", "survey_date", "lower_bound", "upper_bound", "thickness_chg", "area_survey_year"}
    ),
    others=frozenset({"survey_id", "thickness_chg_unc", "area_change", "reference", "investigator"}),
    not_in="",
)


def read_changes(path: Path, wgms_ids: Collection[int]) -> Changes | Missing:
    """Elevation changes of whole glaciers between two surveys.

    Args:
        path: a release of FoG, verified by `fog.verify`.
        wgms_ids: glaciers.

    Returns:
        The changes, or `Missing` when the release has no such table.

    Raises:
        SourceError: text where numbers belong; a unit that is not known; changes or areas a thousand times too large
            or too small.
    """
    with open_zip(path) as archive:
        found = _table(archive)
        if found is None:
            return Missing(f"{path.name} has no table of elevation changes", what="change.csv or D-CHANGE.csv")
        member, schema = found
        rows = _rows(archive, member, schema, {str(int(i)) for i in wgms_ids}, path)
        units = _units(archive, member)
    frame = _in_our_words(rows, schema, units, path)
    return _usable(frame, path)


def _table(archive: zipfile.ZipFile) -> tuple[str, _Schema] | None:
    for name in archive.namelist():
        if name.lower().endswith(".csv"):
            with archive.open(name) as stream:
                line = stream.readline(1 << 16).decode("utf-8-sig", errors="replace")
            header = {column.strip().lower() for column in next(csv.reader([line]), [])}
            for schema in (_A, _B):
                if schema.required <= header and schema.not_in not in header:
                    return name, schema
    return None


def _rows(archive: zipfile.ZipFile, member: str, schema: _Schema, wanted: set[str], path: Path) -> pd.DataFrame:
    """Rows of the wanted glaciers as text, empty cells missing; schema B: without elevation bands."""
    names = schema.required | schema.others
    for encoding in ("utf-8-sig", "latin-1"):
        parts = []
        try:
            with archive.open(member) as stream:
                chunks = pd.read_csv(
                    stream,
                    dtype="str",
                    usecols=lambda name: name.strip().lower() in names,
                    chunksize=_CHUNK,
                    encoding=encoding,
                )
                for chunk in chunks:
                    part = chunk.rename(columns=lambda name: name.strip().lower())
                    parts.append(part[part[schema.glacier].isin(wanted)])
            break
        except UnicodeDecodeError:
            continue
        except (pd.errors.ParserError, csv.Error) as error:
            raise _wrong(f"the table {member} cannot be read", path, "CSV", error) from error
    rows = pd.concat(parts, ignore_index=True).drop_duplicates(ignore_index=True)
    if schema is _B:
        bounds = pd.DataFrame({name: _numbers(rows, name, path) for name in ("lower_bound", "upper_bound")})
        rows = rows[(bounds == _WHOLE_GLACIER).all(axis=1)].reset_index(drop=True)
    return rows.reindex(columns=sorted(names))


def _in_our_words(rows: pd.DataFrame, schema: _Schema, units: dict[str, str], path: Path) -> pd.DataFrame:
    """Columns of `Changes.frame`; dates and numbers that a row lacks are missing."""
    begin, end = (_dates(rows[name]) for name in (schema.begin, schema.end))
    is_a = schema is _A
    per_m = _per("m", units.get("elevation_change"), path) if is_a else 1000.0
    area = _numbers(rows, schema.area, path)
    start = pd.Series(np.nan, index=rows.index)
    if is_a:
        area = area / _per("km2", units.get("area", "m2"), path)
        begin_unc, end_unc = (_numbers(rows, f"{name}_date_unc", path) for name in ("begin", "end"))
    else:
        start = area - _numbers(rows, "area_change", path) / 1000.0  # 1000 m2
        begin_unc, end_unc = begin["unc_d"], end["unc_d"]
    references = ("references", "investigators") if is_a else ("reference", "investigator")
    return pd.DataFrame(
        {
            "wgms_id": _numbers(rows, schema.glacier, path).astype("int64"),
            "survey_id": rows[schema.survey].fillna("").astype("str"),
            "period_start": begin["date"],
            "period_end": end["date"],
            "period_start_unc_d": begin_unc,
            "period_end_unc_d": end_unc,
            "years": [
                (b - a).days / _DAYS_PER_YEAR if a and b else np.nan
                for a, b in zip(begin["date"], end["date"], strict=True)
            ],
            "elevation_change_m": _numbers(rows, schema.change, path) / per_m,
            "elevation_change_sigma_m": (_numbers(rows, schema.sigma, path) / per_m).where(lambda s: s > 0),
            "area_km2": area.where(area > 0),
            "area_start_km2": start.where(start > 0),
            "reference": rows[references[0]].fillna(rows[references[1]]).fillna("").astype("str").str.strip(),
        }
    )


def _usable(frame: pd.DataFrame, path: Path) -> Changes:
    """Part the rows into usable ones and reasons."""
    rate = (frame["elevation_change_m"] / frame["years"]).abs()
    known = rate[frame["years"] > 0].dropna()
    usual = known.median()
    if (len(known) >= 3 and usual > _LARGEST_RATE_M_YR) or (len(known) >= 10 and usual < _SMALLEST_MEDIAN_M_YR):
        expected = f"a median of {_SMALLEST_MEDIAN_M_YR:g} to {_LARGEST_RATE_M_YR:g} m per year"
        raise _wrong("the elevation changes are in another unit", path, expected, f"{usual:g} m per year")
    large = frame[frame["area_km2"] >= _LARGEST_AREA_KM2]
    if len(large):
        shown = [f"glacier {r.wgms_id}: {r.area_km2:g} km2" for r in large.head(20).itertuples()]
        raise _wrong("the areas do not fit their unit", path, f"less than {_LARGEST_AREA_KM2:g} km2", "; ".join(shown))
    reasons = pd.Series("", index=frame.index, dtype="object")
    dates = frame["period_start"].astype("str") + " to " + frame["period_end"].astype("str")
    for is_wrong, reason in (
        (rate >= _LARGEST_RATE_M_YR, f"changes by more than {_LARGEST_RATE_M_YR:g} m per year, which no glacier does"),
        (frame["elevation_change_m"].isna(), "states no elevation change"),
        (~(frame["years"] > 0), "does not end after it begins (" + dates + ")"),
        (frame["years"].isna(), "lacks the date of a survey"),
    ):
        reasons = reasons.where(~is_wrong, reason)
    out = reasons != ""
    left_out = tuple(
        (int(row.wgms_id), f"FoG elevation change {row.survey_id or 'without id'} of glacier {row.wgms_id} {reason}")
        for row, reason in zip(frame[out].itertuples(), reasons[out], strict=True)
    )
    order = ["wgms_id", "period_start", "period_end", "survey_id"]
    return Changes(frame[~out].sort_values(order, ignore_index=True), left_out)


def _dates(texts: pd.Series) -> pd.DataFrame:
    """Dates `2003-10-01` and `20031001`, and the days by which they are uncertain.

    An unknown day or month (99) is put into the middle of what is known: the 15th, or the 1st of July.
    """
    found = [_date(text) for text in texts]
    date = pd.Series([one[0] for one in found], index=texts.index, dtype="object")
    return pd.DataFrame(
        {"date": date, "unc_d": pd.Series([one[1] for one in found], index=texts.index, dtype="float64")}
    )


def _date(text: object) -> tuple[dt.date | None, float]:
    if not isinstance(text, str):
        return None, np.nan
    digits = text.strip().replace("-", "")
    if len(digits) != 8 or not digits.isdecimal():
        return None, np.nan
    year, month, day = int(digits[:4]), int(digits[4:6]), int(digits[6:])
    unknown = 0.0
    if month == 99:
        month, day, unknown = 7, 1, 183.0
    elif day == 99:
        day, unknown = 15, 15.0
    try:
        return dt.date(year, month, day), unknown
    except ValueError:
        return None, np.nan


def _units(archive: zipfile.ZipFile, member: str) -> dict[str, str]:
    """Units of the table's columns as datapackage.json states them; WGMS writes `units`, Frictionless `unit`."""
    package = next((name for name in archive.namelist() if PurePosixPath(name).name == "datapackage.json"), None)
    described: dict[str, Any] = json.loads(archive.read(package)) if package else {}
    for resource in described.get("resources", []):
        if PurePosixPath(str(resource.get("path"))).name == PurePosixPath(member).name:
            fields = resource.get("schema", {}).get("fields", [])
            units = {str(field.get("name")): field.get("units") or field.get("unit") for field in fields}
            return {name: str(unit) for name, unit in units.items() if unit}
    return {}


def _per(ours: str, theirs: str | None, path: Path) -> float:
    """How many of their units are one of ours."""
    known = {"m": {"m": 1.0, "mm": 1000.0}, "km2": {"km2": 1.0, "m2": 1e6}}[ours]
    unit = (theirs or ours).replace("²", "2").replace("^", "").replace("**", "").strip()
    if unit not in known:
        raise _wrong("the table of elevation changes states an unknown unit", path, " or ".join(known), theirs)
    return known[unit]


def _numbers(rows: pd.DataFrame, name: str, path: Path) -> pd.Series:
    try:
        return pd.to_numeric(rows[name]).astype("float64")
    except (ValueError, TypeError) as error:
        raise _wrong(f"the column {name} holds something else than numbers", path, "numbers", error) from error


def _wrong(problem: str, path: Path, expected: object, got: object) -> SourceError:
    return SourceError(
        problem,
        where=path.name,
        expected=expected,
        got=got,
        todo="compare the file with WGMS' own; if it is theirs, the reader in sources/fog_change.py must learn it",
    )
