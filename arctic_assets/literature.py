"""Balances that papers state for glaciers without a series of their own: `literature.csv` beside this module.

The file holds one row per published number, with the paper and the place in it; `verified` says whether the number was
read there. Only verified numbers that are a balance of a glacier of the registry become rows of `balance_period`; each
of the others comes back with the reason. What the papers print is kept: m w.e. and Gt follow from each other by the
reference area, elevation changes by the density of 850 +/- 60 kg m-3.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from arctic_assets.errors import SourceError
from arctic_assets.provenance import Product
from arctic_assets.science.balance_period import (
    COLUMNS,
    GEODETIC_DENSITY_KG_M3,
    geodetic_balance,
    gt_to_m_we,
    m_we_to_gt,
)

PACKAGED = Path(__file__).with_name("literature.csv")

PRODUCT = Product(
    provider="literature",
    name="Published mass balances, collected by hand",
    version="1",
    licence="facts from publications; cite the publication of each row",
    citation="the publication that each row names in `reference`",
    doi="",
    homepage="",
    cadence="when a row is added",
    latency="years",
)

_NEEDED = (
    *("glacier_id", "scope", "quantity", "period_start", "period_end", "value", "unit", "uncertainty", "origin"),
    *("source_doi", "source", "location_in_source", "verified", "note"),
)
#: How the units are spelt, and how many of them make 1 m w.e., 1 Gt or 1 m per year.
_UNITS = {
    "m w.e./yr": ("m w.e.", 1.0),
    "mm w.e./yr": ("m w.e.", 1000.0),
    "Gt/yr": ("Gt", 1.0),
    "m/yr": ("m", 1.0),
    "mm/yr": ("m", 1000.0),
}
_BALANCES = (
    "mass budget",
    "total mass balance",
    "specific mass balance",
    "geodetic balance",
    "annual balance",
    "surface thinning rate",
)
#: A row of mm w.e. that is named m w.e. (or the reverse) shows: no balance over years is beyond these.
_LARGEST = {"m w.e.": 6.0, "Gt": 60.0, "m": 10.0}


@dataclass(frozen=True)
class Published:
    """What the literature says.

    Attributes:
        frame: rows with `science.balance_period.COLUMNS`, origin `literature`. `sigma_kind` is `published` (as
            printed; the papers rarely say of what level), `propagated` (elevation change times density) or `assumed`
            (none is printed). Papers give years: `period_precision` is `year` and the dates are 1 January of the first
            and 31 December of the last.
        left_out: glacier id (or region) and reason of each row that is not in the frame.
    """

    frame: pd.DataFrame
    left_out: tuple[tuple[str, str], ...]


def load(path: Path | None = None) -> pd.DataFrame:
    """The rows of the file as text and numbers.

    Args:
        path: a CSV file with the columns of the package's; None for that.

    Raises:
        SourceError: columns are missing, a unit is unknown, something else than a number, or a value out of range.
    """
    path = path or PACKAGED
    table = pd.read_csv(path, dtype="str", keep_default_na=False)
    absent = [name for name in _NEEDED if name not in table]
    if absent:
        raise _wrong("the file of published balances lacks columns", path, ", ".join(_NEEDED), ", ".join(absent))
    for name in ("value", "uncertainty", "period_start", "period_end"):
        try:
            table[name] = pd.to_numeric(table[name].replace("", None)).astype("float64")
        except (ValueError, TypeError) as error:
            raise _wrong(f"the column {name} holds something else than numbers", path, "numbers", error) from error
    for number, row in enumerate(table.to_dict("records"), start=2):
        if not (row["quantity"].startswith(_BALANCES) and row["value"] == row["value"]):
            continue
        if row["unit"] not in _UNITS:
            raise _wrong(
                "a published balance has an unknown unit", f"{path}, row {number}", ", ".join(_UNITS), row["unit"]
            )
        quantity, per = _UNITS[row["unit"]]
        if abs(row["value"]) / per > _LARGEST[quantity]:
            expected = f"at most {_LARGEST[quantity]:g} {quantity} per year"
            raise _wrong(
                "a published balance cannot be", f"{path}, row {number}", expected, f"{row['value']} {row['unit']}"
            )
        if not row["period_start"] <= row["period_end"]:
            got = f"{row['period_start']:g} to {row['period_end']:g}"
            raise _wrong("a published balance has no period", f"{path}, row {number}", "years, the first first", got)
    return table


def published(
    reference_area_km2: Mapping[str, float | None], assumed_sigma_m_we_yr: float, path: Path | None = None
) -> Published:
    """Published balances of glaciers of the registry.

    Args:
        reference_area_km2: every glacier of the registry and the area by which m w.e. become Gt and the reverse: that
            of the glacier's own balance series where it has one, else of its outline; None where unknown.
        assumed_sigma_m_we_yr: one standard deviation of a balance for which none is printed, m w.e. a year. A printed 0
            counts as none: no measured balance is exact.
        path: as `load`.

    Raises:
        SourceError: as `load`.
    """
    rows: list[dict[str, Any]] = []
    left_out: list[tuple[str, str]] = []
    for row in load(path).to_dict("records"):
        reason = _reason(row, reference_area_km2)
        if reason:
            what = f"{row['quantity']} {_period(row)}".strip()
            left_out.append((row["glacier_id"], f"{what} of {row['source']}: {reason}"))
        else:
            rows.append(_row(row, reference_area_km2[row["glacier_id"]], assumed_sigma_m_we_yr))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    numbers = [name for name in COLUMNS if name.startswith("balance_") or name.endswith(("_km2", "_kg_m3"))]
    frame = frame.astype(dict.fromkeys(numbers, "float64"))
    return Published(frame.sort_values(["glacier_id", "period_start"], ignore_index=True), tuple(left_out))


def _reason(row: dict[str, Any], areas: Mapping[str, float | None]) -> str:
    """Why a row is not taken; empty when it is."""
    if row["glacier_id"] not in areas:
        return f"{row['glacier_id']} ({row['scope']}) is a region or group, no glacier of the registry"
    if row["value"] != row["value"]:
        return f"no number ({row['note']})"
    if row["verified"] != "yes":
        return f"the number was not read in the publication itself (verified: {row['verified']})"
    if not row["quantity"].startswith(_BALANCES):
        return "it is no balance of the whole glacier"
    if row["origin"] != "published":
        return "it is calculated from another published number, which stands in a row of its own or is of a region"
    if _UNITS[row["unit"]][0] == "Gt" and not areas[row["glacier_id"]]:
        return "Gt need a reference area, and the glacier has none"
    return ""


def _row(row: dict[str, Any], area_km2: float | None, assumed_sigma_m_we_yr: float) -> dict[str, Any]:
    quantity, per = _UNITS[row["unit"]]
    value, sigma = row["value"] / per, row["uncertainty"] / per
    density = None
    area = area_km2 or float("nan")
    if quantity == "Gt":
        balance, balance_sigma, kind = float(gt_to_m_we(value, area)), float(gt_to_m_we(sigma, area)), "published"
    elif quantity == "m":
        density = GEODETIC_DENSITY_KG_M3
        balance, balance_sigma = map(float, geodetic_balance(value, sigma))
        kind = "propagated"
    else:
        balance, balance_sigma, kind = value, sigma, "published"
    if not sigma > 0:
        balance_sigma, kind = assumed_sigma_m_we_yr, "assumed"
    mass = value if quantity == "Gt" else float(m_we_to_gt(balance, area))
    mass_sigma = float(m_we_to_gt(balance_sigma, area))
    doi = "" if not row["source_doi"].startswith("10.") or row["source_doi"].endswith("?") else row["source_doi"]
    return {
        "glacier_id": row["glacier_id"],
        "period_start": dt.date(int(row["period_start"]), 1, 1),
        "period_end": dt.date(int(row["period_end"]), 12, 31),
        "origin": "literature",
        "reference": f"{row['source']}, {row['quantity']}" + (f", https://doi.org/{doi}" if doi else ""),
        "balance_m_we_yr": balance,
        "balance_sigma_m_we_yr": balance_sigma,
        "balance_gt_yr": mass,
        "balance_sigma_gt_yr": mass_sigma,
        "reference_area_km2": area,
        "density_kg_m3": density,
        "sigma_kind": kind,
        "period_precision": "year",
    }


def _period(row: dict[str, Any]) -> str:
    start, end = row["period_start"], row["period_end"]
    return f"{start:.0f}-{end:.0f}" if start == start and end == end else ""


def _wrong(problem: str, where: object, expected: object, got: object) -> SourceError:
    return SourceError(problem, where=where, expected=expected, got=got, todo="correct the file of published balances")
