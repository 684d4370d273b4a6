"""Elevation changes for the sample's FoG zip: the cells of its table `change.csv` (schema A).

Each glacier gets two periods of about ten years that follow each other, the first without an uncertainty for every
third glacier. One glacier can get rows that no reader should take: a period that ends before it begins, one of no
length, one without a change.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from itertools import pairwise

from arctic_assets.provenance import SYNTHETIC
from arctic_assets.sample.common import generator

COLUMNS: dict[str, tuple[str, str]] = {
    "country": ("string", ""),
    "glacier_name": ("string", ""),
    "glacier_id": ("integer", ""),
    "begin_outline_id": ("string", ""),
    "end_outline_id": ("string", ""),
    "id": ("integer", ""),
    "begin_date": ("date", ""),
    "begin_date_unc": ("number", "d"),
    "end_date": ("date", ""),
    "end_date_unc": ("number", "d"),
    "area": ("integer", "m2"),
    "elevation_change": ("number", "m"),
    "elevation_change_unc": ("number", "m"),
    "volume_change": ("integer", "m3"),
    "volume_change_unc": ("integer", "m3"),
    "begin_platform": ("string", ""),
    "begin_method": ("string", ""),
    "end_platform": ("string", ""),
    "end_method": ("string", ""),
    "investigators": ("string", ""),
    "agencies": ("string", ""),
    "references": ("string", ""),
    "remarks": ("string", ""),
}
"""Columns of the table with type and unit."""

FAULTS = 3
"""Rows that are wrong, of a glacier that gets them."""
_SURVEYS = (dt.date(2000, 8, 15), dt.date(2010, 9, 1), dt.date(2019, 8, 20))

Cells = dict[str, object]


@dataclass(frozen=True)
class Change:
    """What was put in for one period.

    Attributes:
        period_start: date of the first survey.
        period_end: date of the second.
        elevation_change_m: mean over the glacier.
        elevation_change_sigma_m: its uncertainty, or None.
        area_km2: area it is of.
    """

    period_start: dt.date
    period_end: dt.date
    elevation_change_m: float
    elevation_change_sigma_m: float | None
    area_km2: float


def changes(wgms_id: int, area_km2: float) -> list[Change]:
    """The periods of one glacier.

    Args:
        wgms_id: its id; the numbers depend on it alone.
        area_km2: its area.
    """
    rng = generator("change", wgms_id)
    found: list[Change] = []
    for start, end in pairwise(_SURVEYS):
        years = (end - start).days / 365.25
        change, sigma = round(float(rng.normal(-0.7, 0.25)) * years, 2), round(float(rng.uniform(0.5, 2.0)), 2)
        found.append(Change(start, end, change, None if wgms_id % 3 == 0 and not found else sigma, area_km2))
    return found


def cells(wgms_id: int, name: str, country: str, area_km2: float, with_faults: bool = False) -> list[Cells]:
    """Rows of `change.csv`: those of `changes`, and `FAULTS` wrong ones when asked for.

    Args:
        wgms_id: id of the glacier.
        name: its name in the database.
        country: its country.
        area_km2: its area.
        with_faults: add the wrong rows.
    """
    rows = [_cells(wgms_id, name, country, number, change) for number, change in enumerate(changes(wgms_id, area_km2))]
    if with_faults:
        good = rows[0]
        rows.append({**good, "id": _id(wgms_id, 7), "begin_date": good["end_date"], "end_date": good["begin_date"]})
        rows.append({**good, "id": _id(wgms_id, 8), "end_date": good["begin_date"]})
        rows.append({**good, "id": _id(wgms_id, 9), "elevation_change": None, "elevation_change_unc": None})
    return rows


def _id(wgms_id: int, number: int) -> int:
    return 10 * wgms_id + number


def _cells(wgms_id: int, name: str, country: str, number: int, change: Change) -> Cells:
    area_m2 = round(change.area_km2 * 1e6)
    sigma = change.elevation_change_sigma_m
    return {
        "country": country,
        "glacier_name": name,
        "glacier_id": wgms_id,
        "id": _id(wgms_id, number),
        "begin_date": change.period_start.isoformat(),
        "begin_date_unc": 15,
        "end_date": change.period_end.isoformat(),
        "end_date_unc": 15,
        "area": area_m2,
        "elevation_change": change.elevation_change_m,
        "elevation_change_unc": sigma,
        "volume_change": round(change.elevation_change_m * area_m2),
        "volume_change_unc": None if sigma is None else round(sigma * area_m2),
        "begin_platform": "spaceborne",
        "begin_method": "photogrammetry",
        "end_platform": "spaceborne",
        "end_method": "photogrammetry",
        "investigators": f"{SYNTHETIC}, nobody, nowhere",
        "agencies": SYNTHETIC,
        "references": f"{SYNTHETIC} survey",
        "remarks": f"{SYNTHETIC}, drawn at random, not measured.",
    }
