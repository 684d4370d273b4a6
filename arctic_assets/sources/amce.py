"""Annual mass-change estimates for the world's glaciers (WGMS; Dussaillant et al. 2025): the reconstruction.

Layout of a mirror: `wgms/wgms-amce-<release>.zip`. Live, the newest release is found on WGMS' page of the product.

Read is the layout of release 2026-02-10: per region `glacier/{CODE}_mwe.csv` (one row per RGI 6.0 outline, one column
per balance year), `glacier/{CODE}_mwe_sigma.csv` of the same form, and `glacier/{CODE}_metadata.csv`. The names of the
files of uncertainties are those of WGMS' publishing script, not seen in a release; a region that lacks its file is
refused with what was found instead. Releases of 2025 have nested zips in mm w.e.: they are refused too.

Balance years are October to September, labelled by their end. All uncertainties are one standard deviation. Glaciers
without any observation have the mean of their region and its anomalies; the files do not say which those are.

A factor of 1000 is the classic mistake (WGMS' own pipeline works in mm w.e.), so every file is checked for it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from arctic_assets.errors import SourceError
from arctic_assets.sources import wgms
from arctic_assets.sources.base import Missing, Origin, Product, Remote, Verified
from arctic_assets.sources.wgms import DOWNLOADS_URL, newest_release
from arctic_assets.sources.zips import is_synthetic, open_zip, verify_zip

PRODUCT = Product(
    provider="wgms",
    name="Annual mass-change estimates for the world's glaciers (AMCE)",
    version="per release",
    licence="open access under the requirement of correct citation",
    citation=(
        "WGMS: Annual mass-change estimates for the world's glaciers. Individual glacier time series and gridded data "
        "products. Digital media.; Dussaillant, I., Hugonnet, R., Huss, M., Berthier, E., Bannwart, J., Paul, F., & "
        "Zemp, M. (2025): Annual mass change of the world's glaciers from 1976 to 2024 by temporal downscaling of "
        "satellite data with in situ observations. Earth System Science Data 17, 1977-2006. "
        "https://doi.org/10.5194/essd-17-1977-2025"
    ),
    doi="10.5904/wgms-amce",
    homepage="https://wgms.ch/mass_change_estimates/",
    cadence="about once a year",
    latency="balance years up to the year before the release",
)

PAGE_URL = "https://wgms.ch/mass_change_estimates/"

REGIONS = {
    "01": ("ALA",),
    "02": ("WNA",),
    "03": ("ACN",),
    "04": ("ACS",),
    "05": ("GRL",),
    "06": ("ISL",),
    "07": ("SJM",),
    "08": ("SCA",),
    "09": ("RUA",),
    "10": ("ASN",),
    "11": ("CEU",),
    "12": ("CAU",),  # outlines of GLIMS, not of RGI 6
    "13": ("ASC",),
    "14": ("ASW",),
    "15": ("ASE",),
    "16": ("TRP",),
    "17": ("SA1", "SA2"),
    "18": ("NZL",),
    "19": ("ANT",),
}
"""RGI first-order region to the codes of its files."""

_NAME = re.compile(r"wgms-amce-(\d{4}-\d{2}(?:-\d{2}|[a-z])?)\.zip")
_MEMBER = re.compile(r"(?:^|/)glacier/([A-Z0-9]{3})_(mwe|mwe_sigma|metadata)\.csv$")
_TABLES = ("mwe", "mwe_sigma", "metadata")
_RGI6 = re.compile(r"RGI60-(\d\d)\.\d{5}")
_YEAR = re.compile(r"\d{4}")
_MISSING = ["no_obs", "no_WGMS_ID", "N/A"]
#: Magnitudes, m w.e.: the median of a region is 0.2 to 0.7; in mm it would be above 20, divided twice below 0.02.
_MEDIAN_M_WE = (0.02, 20.0)
_LARGEST_BALANCE_M_WE = 20.0


def remotes(origin: Origin, page_url: str = PAGE_URL, downloads_url: str = DOWNLOADS_URL) -> list[Remote | Missing]:
    """The zip of the newest release; see `wgms.newest_release`."""
    return newest_release(origin, _NAME, product, verify, page_url, downloads_url)


def newest(names: Iterable[str]) -> str | None:
    """The file name of the latest release among others; None when there is none."""
    return wgms.newest(names, _NAME)


def release(name: str) -> str | None:
    """The release that a file name states."""
    match = _NAME.search(name)
    return match[1] if match else None


def product(release: str) -> Product:
    """The product with version, DOI and citation of one release."""
    doi = f"10.5904/wgms-amce-{release}"
    citation = PRODUCT.citation.replace("WGMS:", f"WGMS ({release[:4]}):", 1)
    citation = citation.replace("Digital media.;", f"Digital media. https://doi.org/{doi};", 1)
    return replace(PRODUCT, version=release, doi=doi, citation=citation)


def verify(path: Path) -> Verified:
    """Open a release; every region's balances and uncertainties are read once.

    Returns:
        Content: `release`, `regions` (codes), `n_glaciers`, `first_year`, `last_year`.

    Raises:
        SourceError: not a whole zip; another layout; a region without its uncertainties or metadata; another unit.
    """
    verify_zip(path)
    n_glaciers, years = 0, set[str]()
    with open_zip(path) as archive:
        marked = is_synthetic(archive)
        regions = _members(archive, path)
        for code in regions:
            balances, sigmas = (
                _wide(archive, regions, code, "mwe", path),
                _wide(archive, regions, code, "mwe_sigma", path),
            )
            _check_median(balances, f"balances of {code}", path)
            _check_median(sigmas, f"uncertainties of {code}", path, lowest=0.0)
            n_glaciers += len(balances)
            years |= set(balances.columns)
    stated = release(path.name)
    content = {
        "release": stated,
        "regions": sorted(regions),
        "n_glaciers": n_glaciers,
        "first_year": int(min(years)),
        "last_year": int(max(years)),
    }
    return Verified(is_synthetic=marked, content=content, version=stated)


def read(path: Path, rgi6_ids: Collection[str]) -> pd.DataFrame:
    """Annual balances of RGI 6 glaciers; only the files of their regions are opened.

    Args:
        path: a verified release.
        rgi6_ids: `RGI60-07.00504`. One that the release does not hold is absent from the result.

    Returns:
        One row per glacier and balance year with a value, sorted: rgi6_id, year, annual_balance_m_we,
        annual_balance_sigma_m_we, area_km2 (of the RGI 6 outline).

    Raises:
        SourceError: an id that is none; the same outline twice; a value without uncertainty or area, or beyond
            anything measured.
    """
    wanted = set(rgi6_ids)
    with open_zip(path) as archive:
        regions = _members(archive, path)
        parts = [_region(archive, regions, code, wanted, path) for code in _codes(wanted) if code in regions]
    columns = ["rgi6_id", "year", "annual_balance_m_we", "annual_balance_sigma_m_we", "area_km2"]
    if not parts:
        return pd.DataFrame({name: [] for name in columns}).astype({"rgi6_id": "str", "year": "int64"})
    frame = pd.concat(parts, ignore_index=True)
    _refuse(
        frame,
        ~(frame["annual_balance_m_we"].abs() < _LARGEST_BALANCE_M_WE),
        "balances beyond anything measured: another unit?",
        f"less than {_LARGEST_BALANCE_M_WE:g} m w.e. either way",
        path,
    )
    _refuse(
        frame,
        ~(frame["annual_balance_sigma_m_we"] >= 0),
        "balances without an uncertainty",
        "the same years in the files _mwe.csv and _mwe_sigma.csv",
        path,
    )
    _refuse(frame, ~(frame["area_km2"] > 0), "balances without an area", "area_km2 in the file _metadata.csv", path)
    return frame[columns].sort_values(["rgi6_id", "year"], ignore_index=True)


def _codes(rgi6_ids: Collection[str]) -> list[str]:
    """Codes of the regions that the ids lie in."""
    matches = {one: _RGI6.fullmatch(one) for one in rgi6_ids}
    strange = sorted(one for one, match in matches.items() if match is None or match[1] not in REGIONS)
    if strange:
        raise SourceError(
            "these are not RGI 6 ids",
            where="the registry's column rgi6_ids, or the links of RGI 7 to RGI 6",
            expected="RGI60-rr.nnnnn",
            got=", ".join(strange[:20]),
            todo="correct the registry",
        )
    return sorted({code for match in matches.values() if match for code in REGIONS[match[1]]})


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, dict[str, str]]:
    """Region code to table to member name; every region has all three tables."""
    regions: dict[str, dict[str, str]] = {}
    for name in archive.namelist():
        if match := _MEMBER.search(name):
            regions.setdefault(match[1], {})[match[2]] = name
    expected = "glacier/{CODE}_mwe.csv, _mwe_sigma.csv and _metadata.csv per region"
    if not regions:
        raise _wrong("a release of AMCE has another layout than that of 2026", path, expected, archive.namelist()[:10])
    for code, tables in sorted(regions.items()):
        absent = [table for table in _TABLES if table not in tables]
        if absent:
            here = sorted(name for name in archive.namelist() if f"/{code}_" in f"/{name}")
            problem = f"region {code} of AMCE lacks {', '.join(f'{code}_{table}.csv' for table in absent)}"
            raise _wrong(problem, path, expected, ", ".join(here))
    return regions


def _wide(
    archive: zipfile.ZipFile, regions: dict[str, dict[str, str]], code: str, table: str, path: Path
) -> pd.DataFrame:
    """One table: index outline_id, one float column per year."""
    member = regions[code][table]
    frame = _csv(archive, member, path)
    years = [name for name in frame.columns if _YEAR.fullmatch(name)]
    if "outline_id" not in frame or not years:
        got = ", ".join(map(str, frame.columns[:8]))
        raise _wrong(f"{member} has other columns", path, "outline_id and one column per year", got)
    frame = frame.set_index("outline_id")
    if frame.index.has_duplicates:
        twice = sorted(set(frame.index[frame.index.duplicated()]))
        raise _wrong(f"{member} holds an outline twice", path, "each outline once", ", ".join(twice[:20]))
    try:
        return frame[years].astype("float64")
    except (ValueError, TypeError) as error:
        raise _wrong(f"{member} holds something else than numbers", path, "m w.e., or nothing", error) from error


def _csv(archive: zipfile.ZipFile, member: str, path: Path) -> pd.DataFrame:
    with archive.open(member) as stream:
        try:
            return pd.read_csv(stream, na_values=_MISSING, dtype={"outline_id": "str"}, encoding="utf-8-sig")
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
            raise _wrong(f"the table {member} cannot be read", path, "CSV in UTF-8", error) from error


def _region(
    archive: zipfile.ZipFile, regions: dict[str, dict[str, str]], code: str, wanted: set[str], path: Path
) -> pd.DataFrame:
    """Rows of one region's wanted outlines that have a balance."""
    balances, sigmas = (_wide(archive, regions, code, table, path) for table in ("mwe", "mwe_sigma"))
    metadata = _csv(archive, regions[code]["metadata"], path)
    if not {"outline_id", "area_km2"} <= set(metadata):
        got = ", ".join(metadata.columns)
        raise _wrong(f"{regions[code]['metadata']} has other columns", path, "outline_id and area_km2", got)
    keys = ["outline_id", "year"]
    rows = _long(balances, wanted, "annual_balance_m_we").dropna(subset="annual_balance_m_we")
    rows = rows.merge(_long(sigmas, wanted, "annual_balance_sigma_m_we"), on=keys, how="left")
    areas = metadata[["outline_id", "area_km2"]].drop_duplicates("outline_id")
    rows = rows.merge(areas, on="outline_id", how="left", validate="many_to_one")
    return rows.rename(columns={"outline_id": "rgi6_id"})


def _long(wide: pd.DataFrame, wanted: set[str], name: str) -> pd.DataFrame:
    found = wide[wide.index.isin(wanted)].reset_index()
    found = found.melt(id_vars="outline_id", var_name="year", value_name=name)
    return found.astype({"outline_id": "str", "year": "int64", name: "float64"})


def _check_median(values: pd.DataFrame, what: str, path: Path, lowest: float = _MEDIAN_M_WE[0]) -> None:
    median = values.abs().stack().median()
    if pd.isna(median):
        raise _wrong(f"the {what} are empty", path, "numbers in m w.e.", "none")
    if not lowest <= median <= _MEDIAN_M_WE[1]:
        expected = f"a median magnitude of {lowest:g} to {_MEDIAN_M_WE[1]:g} m w.e."
        raise _wrong(f"the {what} are in another unit than m w.e.", path, expected, f"{median:g}")


def _refuse(frame: pd.DataFrame, is_wrong: pd.Series, problem: str, expected: str, path: Path) -> None:
    if is_wrong.any():
        rows = [f"{r.rgi6_id} in {r.year}: {r.annual_balance_m_we:g}" for r in frame[is_wrong].head(20).itertuples()]
        raise _wrong(f"{int(is_wrong.sum())} {problem}", path, expected, "; ".join(rows))


def _wrong(problem: str, path: Path, expected: object, got: object) -> SourceError:
    return SourceError(
        problem,
        where=path.name,
        expected=expected,
        got=got,
        todo="compare the file with WGMS' own; if it is theirs, the reader in sources/amce.py must learn it",
    )
