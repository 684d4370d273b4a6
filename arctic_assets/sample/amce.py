"""WGMS annual mass-change estimates (AMCE): balances of every RGI 6 outline of the sample, as one zip file.

Here: the layout of release 2026-02-10 without its global files and grid. Beside the balances lie the partial
uncertainties, whose names begin like that of the total, and the means of the regions. Warm summers give low balances;
the values are drawn at random.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import shapely

from arctic_assets.provenance import SYNTHETIC
from arctic_assets.sample.common import NOTICE, generator, write_zip
from arctic_assets.sample.era5 import Climate, warming_k_per_decade
from arctic_assets.sample.fog import SUMMER, last_balance_year
from arctic_assets.sample.rgi7 import Former

RELEASE = "2026-02-10"
FIRST_YEAR = 1976

CODES = {
    "01": "ALA",
    "02": "WNA",
    "03": "ACN",
    "04": "ACS",
    "05": "GRL",
    "06": "ISL",
    "07": "SJM",
    "08": "SCA",
    "09": "RUA",
    "10": "ASN",
    "11": "CEU",
    "13": "ASC",
    "14": "ASW",
    "15": "ASE",
    "16": "TRP",
    "17": "SA1",
    "18": "NZL",
    "19": "ANT",
}
"""Codes in the names of the files. Region 12 is left out: it has outlines of GLIMS, not of RGI 6."""

#: m w.e. per K of summer temperature; spread of what the summer does not explain, of all and of the single outline.
_SENSITIVITY, _REGIONAL, _OWN = 0.45, 0.15, 0.10
_BASE_YEARS = 20
_PARTS = {"dh": 0.8, "rho": 0.36, "anom": 0.48}  # squares sum to 1

Balances = dict[int, tuple[float, float]]


def trend_m_we_per_decade() -> float:
    """What the climate's warming makes of every balance."""
    return -_SENSITIVITY * warming_k_per_decade(SUMMER)


def write(folder: Path, former: Mapping[str, Former], climate: Climate, through: str) -> dict[str, Balances]:
    """Write `wgms-amce-{release}.zip`.

    Args:
        folder: the provider's folder of the mirror (`wgms`).
        former: RGI 6 outlines by id (`rgi7.Landscape.former`).
        climate: gives the summers.
        through: last month; balance years that end later are left out.

    Returns:
        Per RGI 6 id and balance year the balance and its uncertainty, m w.e., as written.
    """
    years = list(range(FIRST_YEAR, last_balance_year(through) + 1))
    members: dict[str, bytes] = {"README.md": f"# {SYNTHETIC} annual mass-change estimates\n\n{NOTICE}\n".encode()}
    known: dict[str, Balances] = {}
    for region in sorted({rgi6_id[6:8] for rgi6_id in former} & set(CODES)):
        code = CODES[region]
        ids = sorted(rgi6_id for rgi6_id in former if rgi6_id[6:8] == region)
        outlines = [former[rgi6_id] for rgi6_id in ids]
        balance = _balances(ids, outlines, climate, years, region)
        sigma = np.round(0.15 + 0.25 * np.stack([generator("amce sigma", i).random(len(years)) for i in ids]), 3)
        known |= {
            rgi6_id: {year: (float(balance[i, j]), float(sigma[i, j])) for j, year in enumerate(years)}
            for i, rgi6_id in enumerate(ids)
        }
        header = ["outline_id", *map(str, years)]
        tables = {"mwe": balance, "mwe_sigma": sigma}
        tables |= {f"mwe_sigma_{part}": np.round(share * sigma, 3) for part, share in _PARTS.items()}
        for name, values in tables.items():
            rows = ([rgi6_id, *(f"{v:g}" for v in row)] for rgi6_id, row in zip(ids, values, strict=True))
            members[f"glacier/{code}_{name}.csv"] = _csv(header, rows)
        members[f"glacier/{code}_metadata.csv"] = _metadata(ids, outlines)
        members[f"region/{code}.csv"] = _regional(outlines, balance, sigma, years)
    write_zip(folder / f"wgms-amce-{RELEASE}.zip", members)
    return known


def _balances(
    ids: Sequence[str], outlines: Sequence[Former], climate: Climate, years: Sequence[int], region: str
) -> np.ndarray:
    """Shape (outlines, years), m w.e., three decimals as in the release; later years change no earlier ones."""
    centres = shapely.centroid([outline.polygon for outline in outlines])
    lat, lon = shapely.get_y(centres), shapely.get_x(centres)
    last = max(years[-1], FIRST_YEAR + _BASE_YEARS - 1)
    t2m = climate.temperature(lat, lon, f"{FIRST_YEAR}-01", f"{last}-12").reshape(-1, 12, len(ids))
    summer = t2m[:, SUMMER].mean(axis=1).T
    anomaly = (summer - summer[:, :_BASE_YEARS].mean(axis=1, keepdims=True))[:, : len(years)]
    shared = _REGIONAL * generator("amce", region).normal(size=len(years))
    own = _OWN * np.stack([generator("amce", rgi6_id).normal(size=len(years)) for rgi6_id in ids])
    mean = np.array([generator("amce mean", rgi6_id).normal(-0.35, 0.15) for rgi6_id in ids])
    balance = mean[:, None] - _SENSITIVITY * anomaly + shared + own
    rounded: np.ndarray = np.round(balance, 3) + 0.0
    return rounded


def _metadata(ids: Sequence[str], outlines: Sequence[Former]) -> bytes:
    header = ["outline_id", "glacier_id", "latitude", "longitude", "area_km2"]
    rows = []
    for rgi6_id, outline in zip(ids, outlines, strict=True):
        centre = outline.polygon.centroid
        rows.append([rgi6_id, "", f"{centre.y:.4f}", f"{centre.x:.4f}", f"{outline.area_km2:.3f}"])
    return _csv(header, rows)


def _regional(outlines: Sequence[Former], balance: np.ndarray, sigma: np.ndarray, years: Sequence[int]) -> bytes:
    area = np.array([outline.area_km2 for outline in outlines])
    mean, error = area @ balance / area.sum(), area @ sigma / area.sum()
    gt = area.sum() / 1000
    rows = (
        [year, f"{area.sum():.2f}", f"{b:.3f}", f"{s:.3f}", f"{b * gt:.3f}", f"{s * gt:.3f}"]
        for year, b, s in zip(years, mean, error, strict=True)
    )
    return _csv(["year", "area_km2", "mwe", "mwe_sigma", "gt", "gt_sigma"], rows)


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()
