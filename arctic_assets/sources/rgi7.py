"""Randolph Glacier Inventory 7.0: outlines (G), links to RGI 6 and centrelines (L), a zip per region.

Layout of a mirror: `rgi7/RGI2000-v7.0-G-07_svalbard_jan_mayen.zip`, centrelines `…-L-…`, which may be absent. In the
zip lie the shapefile of that name, `-attributes.csv` and, not in every copy, `-rgi6_links.csv`.

Live there are two places. NSIDC holds all products and wants a NASA Earthdata account. UNESCO IHP-WINS (a CKAN
portal) holds the glacier product for anybody; that it does, under this dataset name and these file names, is known
from third-party code only, not from the portal itself: the name is therefore a parameter, and a resource that is not
found there is reported with what was looked for.

Quirks that the readers take away: integers that come as text (region 07), columns that a copy lacks (region 06),
dates with a time of day.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from arctic_assets.errors import SourceError
from arctic_assets.sources.base import Missing, Origin, Product, Remote, Verified
from arctic_assets.sources.http import EARTHDATA
from arctic_assets.sources.origins import LiveOrigin
from arctic_assets.sources.zips import is_synthetic, open_zip, verify_zip

if TYPE_CHECKING:
    import geopandas as gpd

PRODUCT = Product(
    provider="rgi7",
    name="Randolph Glacier Inventory",
    version="7.0",
    licence="CC-BY-4.0",
    citation=(
        "RGI 7.0 Consortium (2023). Randolph Glacier Inventory - A Dataset of Global Glacier Outlines, Version 7.0. "
        "Boulder, Colorado USA. NSIDC: National Snow and Ice Data Center. https://doi.org/10.5067/f6jmovy5navz"
    ),
    doi="10.5067/f6jmovy5navz",
    homepage="https://nsidc.org/data/nsidc-0770/versions/7",
    cadence="releases, years apart (7.0 in 2023)",
    latency="outlines of about the year 2000",
)
NSIDC_PRODUCT = replace(PRODUCT, account=EARTHDATA)
"""The same product where it wants an account."""

REGIONS = {
    "01": "01_alaska",
    "02": "02_western_canada_usa",
    "03": "03_arctic_canada_north",
    "04": "04_arctic_canada_south",
    "05": "05_greenland_periphery",
    "06": "06_iceland",
    "07": "07_svalbard_jan_mayen",
    "08": "08_scandinavia",
    "09": "09_russian_arctic",
    "10": "10_north_asia",
    "11": "11_central_europe",
    "12": "12_caucasus_middle_east",
    "13": "13_central_asia",
    "14": "14_south_asia_west",
    "15": "15_south_asia_east",
    "16": "16_low_latitudes",
    "17": "17_southern_andes",
    "18": "18_new_zealand",
    "19": "19_subantarctic_antarctic_islands",
}
"""Region number to the long code in file names."""

CKAN_URL = "https://ihp-wins.unesco.org/api/3/action/package_show?id=randolph-glacier-inventory-rgi-7-0-glacier-product"
NSIDC_URL = "https://daacdata.apps.nsidc.org/pub/DATASETS/nsidc0770_rgi_v7/regional_files"

_REQUIRED = {
    "G": ("rgi_id", "o1region", "o2region", "src_date", "cenlon", "cenlat", "area_km2"),
    "L": ("rgi_id", "rgi_g_id", "segment_id", "is_main", "length_m"),
}
_INTEGERS = {
    "G": (
        *("anlys_id", "subm_id", "utm_zone", "primeclass", "conn_lvl", "surge_type", "term_type", "is_rgi6"),
        *("aspect_sec", "lmax_m"),
    ),
    "L": ("segment_id", "is_main", "outflow_id", "strahler_n", "length_m"),
}
_FLOATS = {
    "G": (
        *("cenlon", "cenlat", "area_km2", "termlon", "termlat", "zmin_m", "zmax_m", "zmed_m", "zmean_m"),
        *("slope_deg", "aspect_deg"),
    ),
    "L": (),
}
_TEXTS = {
    "G": ("rgi_id", "o1region", "o2region", "glims_id", "glac_name", "dem_source"),
    "L": ("rgi_id", "rgi_g_id"),
}
_LINKS = {
    "rgi7_id": "str",
    "rgi6_id": "str",
    "overlap_area_km2": "float64",
    "rgi7_area_fraction": "float64",
    "rgi6_area_fraction": "float64",
}
Letter = Literal["G", "L"]


def remotes(
    origin: Origin, regions: Sequence[str], ckan_url: str = CKAN_URL, nsidc_url: str = NSIDC_URL
) -> list[Remote | Missing]:
    """The zips of these regions: outlines, and as optional ones the centrelines.

    Args:
        origin: mirror or live. Live, everything comes from NSIDC when an Earthdata key is in place; without one the
            outlines come from the CKAN portal and the centrelines end in a gap that names the account.
        regions: region numbers of two digits.
        ckan_url: `package_show` of the dataset at the portal.
        nsidc_url: folder of the regional files.

    Raises:
        SourceError: a region that RGI 7 does not have; the portal is down or answers with something else.
    """
    unknown = sorted(set(regions) - set(REGIONS))
    if unknown:
        raise SourceError(
            "a region is not one of RGI 7",
            where="the registry's column o1region",
            expected=f"one of {', '.join(REGIONS)}",
            got=", ".join(unknown),
            todo="correct the registry",
        )
    ckan = None
    if isinstance(origin, LiveOrigin) and not EARTHDATA.is_set():
        ckan = _ckan_urls(origin, ckan_url)
    found: list[Remote | Missing] = []
    for region in sorted(set(regions)):
        path = file_name(region, "G")
        if ckan is None:
            found.append(_remote(origin, region, "G", nsidc_url))
        elif path.lower() in ckan:
            found.append(Remote(PRODUCT, path, verify, url=ckan[path.lower()]))
        else:
            found.append(
                Missing(
                    f"the open portal's dataset ({ckan_url}) has no {path}; "
                    f"NSIDC has it for holders of an account: {EARTHDATA.register}, {EARTHDATA.key}",
                    what=f"{PRODUCT.provider}/{path}",
                )
            )
        found.append(_remote(origin, region, "L", nsidc_url))
    return found


def file_name(region: str, letter: Letter = "G") -> str:
    """Name of a region's zip."""
    return f"RGI2000-v7.0-{letter}-{REGIONS[region]}.zip"


def verify(path: Path) -> Verified:
    """Open a zip of outlines or centrelines.

    Returns:
        Content: `region`, `product` (G or L), `n` (rows), `has_links`.

    Raises:
        SourceError: not a whole zip; a part of the shapefile is absent (without .prj nobody knows where the outlines
            are); another CRS than EPSG:4326; required columns absent; ids of several regions, or the same id twice.
    """
    import pyogrio

    verify_zip(path)
    with open_zip(path) as archive:
        member, letter = _shapefile(archive, path)
        has_links = _links_member(archive) is not None
        marked = is_synthetic(archive)
    layer = _layer(path, member)
    try:
        info = pyogrio.read_info(layer)
        absent = sorted(set(_REQUIRED[letter]) - set(info["fields"]))
        table = None if absent else pyogrio.read_dataframe(layer, columns=["rgi_id"], read_geometry=False)
    except pyogrio.errors.DataSourceError as error:
        raise _wrong("a shapefile cannot be opened", path, member, str(error)) from error
    if table is None:
        raise _wrong("an RGI 7 shapefile lacks columns", path, ", ".join(_REQUIRED[letter]), ", ".join(absent))
    _check_crs(info["crs"], path)
    ids = table["rgi_id"].astype("str")
    pattern = rf"RGI2000-v7\.0-{letter}-(\d\d)-\d{{5,6}}"
    region = ids.str.extract(f"^{pattern}$", expand=False)
    if region.isna().any() or region.nunique() != 1 or region.iloc[0] not in REGIONS:
        strange = ids[region.isna()].head(20).tolist() or sorted(region.unique())
        raise _wrong("the ids of an RGI 7 zip are not those of one region", path, pattern, strange)
    twice = sorted(ids[ids.duplicated()].unique())
    if twice:
        raise _wrong("an RGI 7 zip holds the same id twice", path, "every rgi_id once", ", ".join(twice[:20]))
    content = {"region": region.iloc[0], "product": letter, "n": len(ids), "has_links": has_links}
    return Verified(is_synthetic=marked, content=content, version="7.0")


def read_outlines(path: Path, rgi_ids: Collection[str]) -> gpd.GeoDataFrame:
    """The outlines of some glaciers; only their rows are read.

    Args:
        path: zip of product G.
        rgi_ids: RGI 7 ids. One that the zip does not hold is absent from the result.

    Returns:
        One row per id, sorted by it, EPSG:4326, with all columns of the product: text, Int64 or float64; those that
        the copy lacks are empty. `src_date` holds `datetime.date`.
    """
    return _read(path, "G", "rgi_id", rgi_ids)


def read_neighbours(
    path: Path, bounds: tuple[float, float, float, float], without: Collection[str]
) -> gpd.GeoDataFrame:
    """The outlines of other glaciers near one.

    Args:
        path: zip of product G.
        bounds: west, south, east, north, degrees.
        without: RGI 7 ids of the glacier's own members.

    Returns:
        `rgi_id` and geometry (EPSG:4326) of the outlines whose boxes meet the bounds.
    """
    import pyogrio

    with open_zip(path) as archive:
        member, _ = _shapefile(archive, path)
    frame: gpd.GeoDataFrame = pyogrio.read_dataframe(_layer(path, member), columns=["rgi_id"], bbox=bounds)
    return frame[~frame["rgi_id"].isin(set(without))].reset_index(drop=True)


def read_centrelines(path: Path, rgi_ids: Collection[str]) -> gpd.GeoDataFrame:
    """The centrelines of some glaciers, several segments each (`is_main` marks the longest line of a glacier).

    Args:
        path: zip of product L.
        rgi_ids: RGI 7 ids of the glaciers (column `rgi_g_id`).

    Returns:
        Segments sorted by glacier and segment, EPSG:4326. The order of vertices is not documented by the provider.
    """
    return _read(path, "L", "rgi_g_id", rgi_ids)


def read_links(path: Path) -> pd.DataFrame | None:
    """The overlaps of the zip's glaciers with RGI 6, many to many; None when the copy has no such table.

    Returns:
        rgi7_id, rgi6_id, overlap_area_km2, and the overlap as a fraction of either glacier's area
        (rgi7_area_fraction, rgi6_area_fraction; 0 to 1).

    Raises:
        SourceError: columns are absent, or fractions are not between 0 and 1.
    """
    with open_zip(path) as archive:
        member = _links_member(archive)
        if member is None:
            return None
        table = pd.read_csv(io.BytesIO(archive.read(member)))
    absent = [name for name in _LINKS if name not in table]
    if absent:
        raise _wrong("the table of links to RGI 6 lacks columns", path, ", ".join(_LINKS), ", ".join(absent))
    links = table[list(_LINKS)].astype(_LINKS)
    fractions = links[["rgi7_area_fraction", "rgi6_area_fraction"]]
    wrong = links[~((fractions >= 0) & (fractions <= 1.001)).all(axis=1)]
    if len(wrong):
        rows = wrong.head(20).to_dict("records")
        raise _wrong("the links to RGI 6 hold impossible area fractions", path, "numbers from 0 to 1", rows)
    return links


def _remote(origin: Origin, region: str, letter: Letter, nsidc_url: str) -> Remote:
    path = file_name(region, letter)
    product = NSIDC_PRODUCT if origin.is_live else PRODUCT
    url = f"{nsidc_url}/RGI2000-v7.0-{letter}/{path}"
    return Remote(product, path, verify, url=url, optional=letter == "L")


def _ckan_urls(origin: LiveOrigin, ckan_url: str) -> dict[str, str]:
    """File name in lower case to the address of each resource of the dataset."""
    page = origin.client.page(ckan_url)
    try:
        answer: Any = json.loads(page.text) if page else None
        resources = [str(resource["url"]) for resource in answer["result"]["resources"]]
    except (ValueError, KeyError, TypeError) as error:
        raise SourceError(
            "the open portal of RGI 7 answers with something else than its dataset",
            where=ckan_url,
            expected="JSON of CKAN's package_show: result.resources[].url",
            got=f"HTTP {404 if page is None else 200}, {'nothing' if page is None else page.text[:80]!r}",
            todo=f"use a mirror, or an Earthdata account: {EARTHDATA.key}",
        ) from error
    return {url.rsplit("/", 1)[-1].lower(): url for url in resources}


def _shapefile(archive: zipfile.ZipFile, path: Path) -> tuple[str, Letter]:
    """The one shapefile of the zip and its product; checks that its parts are there."""
    names = archive.namelist()
    found = [match for name in names if (match := re.search(r"RGI2000-v7\.0-([GL])-[^/]*\.shp$", name))]
    if len(found) != 1:
        raise _wrong("a zip is not of RGI 7", path, "one shapefile RGI2000-v7.0-{G|L}-<region>.shp", names[:20])
    member = found[0].string
    stem = member.removesuffix(".shp")
    absent = [ending for ending in (".shx", ".dbf", ".prj") if f"{stem}{ending}" not in names]
    if absent:
        raise _wrong("a shapefile is not complete", path, f"{stem}.shp, .shx, .dbf and .prj", f"no {', '.join(absent)}")
    return member, "G" if found[0][1] == "G" else "L"


def _links_member(archive: zipfile.ZipFile) -> str | None:
    return next((name for name in archive.namelist() if name.endswith("-rgi6_links.csv")), None)


def _layer(path: Path, member: str) -> str:
    # Braces: GDAL otherwise takes only paths that end in .zip, and a file that just came does not.
    return f"/vsizip/{{{path.resolve()}}}/{member}"


def _check_crs(crs: str | None, path: Path) -> None:
    from pyproj import CRS

    if crs is None or CRS.from_user_input(crs).to_epsg() != 4326:
        raise _wrong("the outlines of an RGI 7 zip are in another coordinate system", path, "EPSG:4326", crs)


def _read(path: Path, letter: Letter, key: str, ids: Collection[str]) -> gpd.GeoDataFrame:
    import pyogrio

    strange = [one for one in ids if not re.fullmatch(r"RGI2000-v7\.0-G-\d\d-\d{5}", one)]
    if strange:
        raise _wrong("these are not RGI 7 glacier ids", path, "RGI2000-v7.0-G-rr-nnnnn", ", ".join(strange[:20]))
    with open_zip(path) as archive:
        member, found = _shapefile(archive, path)
    if found != letter:
        raise _wrong("this is another product of RGI 7", path, f"product {letter}", f"product {found}")
    wanted = ", ".join(f"'{one}'" for one in sorted(set(ids)))
    frame: gpd.GeoDataFrame = pyogrio.read_dataframe(_layer(path, member), where=f"{key} IN ({wanted or 'NULL'})")
    empty = pd.Series(None, index=frame.index, dtype="object")
    columns: dict[str, pd.Series] = {name: frame.get(name, empty).astype("str") for name in _TEXTS[letter]}
    for name in _INTEGERS[letter]:
        columns[name] = _numbers(frame.get(name, empty), path).astype("Int64")
    for name in _FLOATS[letter]:
        columns[name] = _numbers(frame.get(name, empty), path).astype("float64")
    if letter == "G":
        columns["src_date"] = pd.to_datetime(frame["src_date"], format="ISO8601").dt.date
    order = [key] if letter == "G" else [key, "segment_id"]
    tidy: gpd.GeoDataFrame = frame[["geometry"]].assign(**columns)
    return tidy[[*columns, "geometry"]].sort_values(order, ignore_index=True)


def _numbers(values: pd.Series, path: Path) -> pd.Series:
    try:
        return pd.to_numeric(values)
    except (ValueError, TypeError) as error:
        raise _wrong(f"the column {values.name} holds something else than numbers", path, "numbers", error) from error


def _wrong(problem: str, path: Path, expected: object, got: object) -> SourceError:
    return SourceError(
        problem,
        where=path.name,
        expected=expected,
        got=got,
        todo="compare the file with the provider's; a mirror must hold the files as the provider gives them",
    )
