"""WGMS Fluctuations of Glaciers: glacier-wide balances in the lower-case schema (m w.e.), as one zip file.

Here: the series of the sample. Lengths, holes, means and spreads follow those of the real database, the values do
not: they are drawn at random, warm summers giving low balances. Beside the wanted glaciers the tables hold others,
and bands whose values differ from the glacier-wide ones.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from arctic_assets.glaciers import Glacier
from arctic_assets.provenance import SYNTHETIC
from arctic_assets.sample import fog_change
from arctic_assets.sample.common import NOTICE, generator, write_zip
from arctic_assets.sample.era5 import FIRST_YEAR, Climate, month_number, warming_k_per_decade
from arctic_assets.sources.rgi7 import REGIONS

RELEASE = "2026-02-10"
"""The release whose layout the zip file has; it ends with balance year 2025."""
LAST_YEAR = 2025

#: Share of the balance's variance that the summer temperature explains.
_EXPLAINED = 0.55
SUMMER = (5, 6, 7)
"""Months of the year, January is 0, whose temperature the balances depend on."""


@dataclass(frozen=True)
class Series:
    """What a series looks like.

    Attributes:
        years: balance years with a row.
        mean: mean annual balance, m w.e.
        sd: standard deviation of the annual balance, m w.e.
        winter: mean winter balance, m w.e.; None where seasons are not reported.
        area_km2: reference area; None for that of the registry.
        sigma: uncertainty where one is reported, m w.e.; None where none is.
    """

    years: tuple[int, ...]
    mean: float
    sd: float
    winter: float | None = None
    area_km2: float | None = None
    sigma: float | None = None


def _years(*spans: tuple[int, int]) -> tuple[int, ...]:
    return tuple(year for first, last in spans for year in range(first, last + 1))


#: By WGMS id; spans, means and standard deviations as in FoG 2021-05, the running ones carried on.
SERIES = {
    94: Series(_years((1966, LAST_YEAR)), -0.42, 1.228, 2.34, 15.4, 0.20),
    124: Series(_years((1946, LAST_YEAR)), 0.22, 0.694, 2.15, 724.81, 0.25),
    3334: Series(_years((1953, LAST_YEAR)), -0.64, 0.793, 2.83, 9.94, 0.20),
    298: Series(_years((1970, LAST_YEAR)), 0.02, 1.023, 2.66, 36.84, 0.30),
    292: Series(_years((1967, LAST_YEAR)), -0.54, 0.391, 0.64),
    1629: Series(_years((1996, LAST_YEAR)), -0.99, 0.716, 1.20, sigma=0.15),
    1388: Series(_years((1969, 1972), (1993, 2001)), -0.38, 0.267),
    32: Series(_years((1979, 1984), (1989, 1990)), -0.72, 0.523, 1.68, 5.74),
    30: Series(_years((1978, 1984), (1989, 1990)), -0.63, 0.611, 1.42, 3.58),
    34: Series(_years((1978, 1984), (1989, 1990)), -0.45, 0.397, 1.81, 91.89),
    3660: Series(_years((1997, LAST_YEAR)), -1.25, 0.842, 1.77, 836.0, 0.30),
    78: Series((1986, 1987, 1988), -0.50, 0.40),
    85: Series(_years((2010, 2015)), -0.73, 0.45, 1.30, sigma=0.20),
}
_DEFAULT = Series(_years((1985, LAST_YEAR)), -0.60, 0.60, 1.20, sigma=0.10)


@dataclass(frozen=True)
class Expected:
    """What the summers alone make of a glacier's balance.

    Attributes:
        balance_m_we: by balance year, also those without an observation.
        unexplained_m_we: standard deviation of what was added to it by chance.
        trend_m_we_per_decade: of the balance, because of the climate's warming.
    """

    balance_m_we: dict[int, float]
    unexplained_m_we: float
    trend_m_we_per_decade: float


@dataclass(frozen=True)
class _Row:
    """A glacier in the database."""

    id: int
    name: str
    country: str
    region: str
    latitude: float
    longitude: float
    rgi60: str = ""
    glims: str = ""


#: Glaciers of the database that the registry does not name.
_OTHERS = (
    (_Row(90, "GULKANA", "US", "01", 63.28, -145.41), Series(_years((1966, LAST_YEAR)), -0.56, 0.728, 0.92, 15.14)),
    (_Row(291, "MIDTRE LOVENBREEN", "SJ", "07", 78.88, 12.04), Series(_years((1968, LAST_YEAR)), -0.4, 0.36, 0.7, 5.0)),
    (_Row(332, "STORGLACIAEREN", "SE", "08", 67.90, 18.57), Series(_years((1946, LAST_YEAR)), -0.3, 0.75, 1.5, 3.1)),
)

_TABLES: dict[str, dict[str, tuple[str, str]]] = {
    "glacier": {
        "country": ("string", ""),
        "short_name": ("string", ""),
        "names": ("string", ""),
        "id": ("integer", ""),
        "latitude": ("number", "degrees"),
        "longitude": ("number", "degrees"),
        "gtng_region": ("string", ""),
        "glims_id": ("string", ""),
        "rgi50_ids": ("string", ""),
        "rgi60_ids": ("string", ""),
        "rgi70_ids": ("string", ""),
        "wgi_id": ("string", ""),
        "parent_glacier_id": ("integer", ""),
        "references": ("string", ""),
        "remarks": ("string", ""),
    },
    "mass_balance": {
        "country": ("string", ""),
        "glacier_name": ("string", ""),
        "glacier_id": ("integer", ""),
        "outline_id": ("integer", ""),
        "year": ("year", ""),
        "time_system": ("string", ""),
        "begin_date": ("date", ""),
        "begin_date_unc": ("number", "d"),
        "midseason_date": ("date", ""),
        "midseason_date_unc": ("number", "d"),
        "end_date": ("date", ""),
        "end_date_unc": ("number", "d"),
        "winter_balance": ("number", "m w.e."),
        "winter_balance_unc": ("number", "m w.e."),
        "summer_balance": ("number", "m w.e."),
        "summer_balance_unc": ("number", "m w.e."),
        "annual_balance": ("number", "m w.e."),
        "annual_balance_unc": ("number", "m w.e."),
        "ela_position": ("string", ""),
        "ela": ("integer", "m"),
        "ela_unc": ("integer", "m"),
        "aar": ("number", "1"),
        "area": ("integer", "m2"),
        "investigators": ("string", ""),
        "agencies": ("string", ""),
        "references": ("string", ""),
        "remarks": ("string", ""),
    },
    "mass_balance_band": {
        "country": ("string", ""),
        "glacier_name": ("string", ""),
        "glacier_id": ("integer", ""),
        "year": ("year", ""),
        "lower_elevation": ("integer", "m"),
        "upper_elevation": ("integer", "m"),
        "area": ("integer", "m2"),
        "winter_balance": ("number", "m w.e."),
        "winter_balance_unc": ("number", "m w.e."),
        "summer_balance": ("number", "m w.e."),
        "summer_balance_unc": ("number", "m w.e."),
        "annual_balance": ("number", "m w.e."),
        "annual_balance_unc": ("number", "m w.e."),
        "remarks": ("string", ""),
    },
}

_TABLES["change"] = fog_change.COLUMNS

Cells = dict[str, object]
Balances = dict[int, tuple[float, float | None]]


@dataclass(frozen=True)
class _Balance:
    """One year, m w.e."""

    year: int
    annual: float
    sigma: float | None
    winter: float | None


def last_balance_year(through: str) -> int:
    """Last balance year (October to September) that ends by a month and that the release has."""
    return min(LAST_YEAR, int(through[:4]) - (int(through[5:]) < 9))


def write(folder: Path, glaciers: Sequence[Glacier], climate: Climate, through: str) -> dict[str, Balances]:
    """Write `DOI-WGMS-FoG-{release}.zip`.

    Args:
        folder: the provider's folder of the mirror.
        glaciers: the registry; those with `mass_balance_source` wgms get rows.
        climate: gives the summers; must reach to the end of the last year.
        through: last month; later balance years are left out.

    Returns:
        Per glacier and year the annual balance and its reported uncertainty, m w.e.
    """
    last = last_balance_year(through)
    known: dict[str, Balances] = {}
    entries: dict[int, tuple[_Row, Series | None]] = {row.id: (row, series) for row, series in _OTHERS}
    for glacier in glaciers:
        if glacier.wgms_id is not None:
            series = _series(glacier)
            entries[glacier.wgms_id] = (_row(glacier), series)
            if series:
                rows = _balances(_row(glacier), series, climate, last)
                known[glacier.glacier_id] = {b.year: (b.annual, b.sigma) for b in rows}
    tables: dict[str, list[Cells]] = {name: [] for name in _TABLES}
    areas = {g.wgms_id: g.area_km2 for g in glaciers}
    for number, (row, series) in sorted(entries.items()):
        tables["glacier"].append(_glacier_cells(row))
        area_km2 = (series.area_km2 if series else None) or areas.get(number) or 1.0
        faults = number == min(entries)
        tables["change"] += fog_change.cells(row.id, row.name, row.country, area_km2, with_faults=faults)
        if series:
            area_m2 = round((series.area_km2 or 1.0) * 1e6)
            rows = _balances(row, series, climate, last)
            tables["mass_balance"] += [_balance_cells(row, balance, area_m2) for balance in rows]
            tables["mass_balance_band"] += [c for b in rows if b.year >= 2000 for c in _band_cells(row, b, area_m2)]
    members = {f"data/{name}.csv": _csv(_TABLES[name], rows) for name, rows in tables.items()}
    write_zip(folder / f"DOI-WGMS-FoG-{RELEASE}.zip", {"datapackage.json": _datapackage(), **members})
    return known


def surveys(glacier: Glacier) -> list[fog_change.Change]:
    """The elevation changes that the database has of a glacier itself; none where its series is an ice cap's."""
    if glacier.wgms_id is None or glacier.wgms_scope == "parent_ice_cap":
        return []
    series = _series(glacier)
    return fog_change.changes(glacier.wgms_id, (series.area_km2 if series else glacier.area_km2) or 1.0)


def expected(glacier: Glacier, climate: Climate, through: str) -> Expected | None:
    """What the summers alone make of a glacier's balances, up to `through`; None without a series."""
    series = _series(glacier)
    if series is None:
        return None
    row = _row(glacier)
    chance = generator("balance", row.id).normal(size=len(series.years))
    seen = _summers(climate, row, series.years)
    explained, rest = np.sqrt(_EXPLAINED), np.sqrt(1 - _EXPLAINED)
    scale = series.sd / float((rest * _standard(chance) - explained * _standard(seen)).std(ddof=1))
    per_kelvin = -scale * explained / float(seen.std(ddof=1))
    years = range(FIRST_YEAR, last_balance_year(through) + 1)
    anomaly = _summers(climate, row, years) - seen.mean()
    return Expected(
        {year: series.mean + per_kelvin * float(kelvin) for year, kelvin in zip(years, anomaly, strict=True)},
        scale * float(rest),
        per_kelvin * warming_k_per_decade(SUMMER),
    )


def _series(glacier: Glacier) -> Series | None:
    """The series that a glacier has in the database; its reference area is the registry's where it states none."""
    if glacier.wgms_id is None or glacier.mass_balance_source != "wgms":
        return None
    series = SERIES.get(glacier.wgms_id, replace(_DEFAULT, area_km2=glacier.area_km2))
    return replace(series, area_km2=series.area_km2 or glacier.area_km2 or 1.0)


def _row(glacier: Glacier) -> _Row:
    """The database's entry of the series that a glacier has: its own, or that of the ice cap it belongs to."""
    assert glacier.wgms_id is not None
    place = glacier.country, glacier.o1region, glacier.latitude, glacier.longitude
    if glacier.wgms_scope == "parent_ice_cap":
        return _Row(glacier.wgms_id, f"ICE CAP OF {glacier.name.upper()}", *place)
    return _Row(glacier.wgms_id, glacier.name.upper(), *place, next(iter(glacier.rgi6_ids), ""), glacier.glims_id)


def _balances(row: _Row, series: Series, climate: Climate, last: int) -> list[_Balance]:
    """The years up to `last`; they are the same whether more follow or not.

    The annual balances of the whole series have exactly the series' mean and standard deviation.
    """
    rng = generator("balance", row.id)
    count = len(series.years)
    chance, snow, reported = rng.normal(size=count), rng.normal(size=count), rng.random(count)
    summer = -np.sqrt(_EXPLAINED) * _standard(_summers(climate, row, series.years))
    annual = series.mean + series.sd * _standard(summer + np.sqrt(1 - _EXPLAINED) * _standard(chance))
    found = []
    for i, year in enumerate(series.years):
        if year <= last:
            sigma = series.sigma if reported[i] < 0.7 else None
            winter = None
            if series.winter is not None:
                winter = round(max(0.05, series.winter + 0.35 * series.sd * float(snow[i])), 3)
            found.append(_Balance(year, round(float(annual[i]), 3), sigma, winter))
    return found


def _glacier_cells(row: _Row) -> Cells:
    return {
        "country": row.country,
        "short_name": row.name,
        "names": f"{row.name}, {SYNTHETIC}",
        "id": row.id,
        "latitude": row.latitude,
        "longitude": row.longitude,
        "gtng_region": REGIONS[row.region],
        "glims_id": row.glims,
        "rgi60_ids": row.rgi60,
        "remarks": NOTICE,
    }


def _balance_cells(row: _Row, balance: _Balance, area_m2: int) -> Cells:
    summer = None if balance.winter is None else round(balance.annual - balance.winter, 3)
    return {
        "country": row.country,
        "glacier_name": row.name,
        "glacier_id": row.id,
        "year": balance.year,
        "time_system": "FLO",
        "begin_date": f"{balance.year - 1}-10-01",
        "midseason_date": f"{balance.year}-05-01",
        "end_date": f"{balance.year}-09-30",
        "winter_balance": balance.winter,
        "summer_balance": summer,
        "annual_balance": balance.annual,
        "annual_balance_unc": balance.sigma,
        "ela_position": "at",
        "ela": 1000 - round(200 * balance.annual),
        "aar": round(min(1.0, max(0.0, 0.6 + 0.2 * balance.annual)), 2),
        "area": area_m2,
        "investigators": f"{SYNTHETIC}, nobody, nowhere",
        "agencies": SYNTHETIC,
        "remarks": f"{SYNTHETIC}, drawn at random, not measured.",
    }


def _band_cells(row: _Row, balance: _Balance, area_m2: int) -> Iterable[Cells]:
    """Three bands whose area-weighted mean is the glacier-wide balance; none of them alone is."""
    for lower, share, above in ((400, 0.3, -2.0), (800, 0.4, 0.3), (1200, 0.3, 1.6)):
        yield {
            "country": row.country,
            "glacier_name": row.name,
            "glacier_id": row.id,
            "year": balance.year,
            "lower_elevation": lower,
            "upper_elevation": lower + 400,
            "area": round(area_m2 * share),
            "annual_balance": round(balance.annual + above, 3),
            "remarks": f"{SYNTHETIC}, drawn at random, not measured.",
        }


def _summers(climate: Climate, row: _Row, years: Sequence[int]) -> np.ndarray:
    """Mean of June to August at the glacier, K, per balance year."""
    first, last = f"{years[0]}-01", f"{years[-1]}-12"
    t2m = climate.temperature(np.array([row.latitude]), np.array([row.longitude]), first, last)[:, 0]
    at = [month_number(f"{year}-06") - month_number(first) for year in years]
    return np.array([t2m[i : i + 3].mean() for i in at])


def _standard(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std(ddof=1)


def _csv(columns: Iterable[str], rows: Iterable[Cells]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: "" if value is None else value for name, value in row.items()} for row in rows)
    return text.getvalue().encode()


def _datapackage() -> bytes:
    resources = [
        {
            "name": name,
            "path": f"data/{name}.csv",
            "schema": {
                "fields": [
                    {"name": column, "type": kind, **({"units": units} if units else {})}
                    for column, (kind, units) in columns.items()
                ]
            },
        }
        for name, columns in _TABLES.items()
    ]
    package = {
        "name": "fog",
        "title": f"{SYNTHETIC} Fluctuations of Glaciers",
        "description": NOTICE,
        "version": RELEASE,
        "resources": resources,
    }
    return json.dumps(package, indent=2, ensure_ascii=False).encode()
