"""The hypsometry of RGI 7.0: how a glacier's area is spread over bands of 50 m, in the zips that `rgi7` fetches.

In the zip, `…-hypsometry.csv` has one row per outline: rgi_id, area_km2, then one column per band whose header is the
elevation of its centre, in whole thousandths of the area that sum to 1000. Not every copy of a zip has it.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from arctic_assets.errors import SourceError
from arctic_assets.sources.base import Missing
from arctic_assets.sources.zips import open_zip

_BAND = re.compile(r"-?\d+(\.0+)?")
_WHOLE = 1000
_ROUNDING = 20  # thousandths: what rounding of up to some dozen bands can add up to


def read_hypsometry(path: Path, rgi7_ids: Collection[str]) -> pd.DataFrame | Missing:
    """Area by elevation of some outlines.

    Args:
        path: a verified zip of product G.
        rgi7_ids: RGI 7 ids. One that the table does not hold is absent from the result.

    Returns:
        One row per outline and band with ice, sorted: rgi7_id, elevation_m (centre of the band), area_km2 (of the
        outline inside the band); the bands of an outline sum to its area. `Missing` when the zip has no such table.

    Raises:
        SourceError: other columns; a row that is no share of 1000; an outline twice.
    """
    with open_zip(path) as archive:
        member = next((name for name in archive.namelist() if name.endswith("-hypsometry.csv")), None)
        if member is None:
            return Missing(f"{path.name} has no table of hypsometry", what="-hypsometry.csv")
        with archive.open(member) as stream:
            table = pd.read_csv(stream, dtype={"rgi_id": "str"})
    table = table.rename(columns=lambda name: name.strip())
    bands = [name for name in table.columns if _BAND.fullmatch(name)]
    if not {"rgi_id", "area_km2"} <= set(table) or not bands:
        got = ", ".join(table.columns[:8])
        raise _wrong("the table of hypsometry has other columns", path, "rgi_id, area_km2 and bands (m)", got)
    table = table[table["rgi_id"].isin(list(rgi7_ids))]
    if table["rgi_id"].duplicated().any():
        twice = ", ".join(table.loc[table["rgi_id"].duplicated(), "rgi_id"].head(20))
        raise _wrong("the table of hypsometry holds an outline twice", path, "each outline once", twice)
    try:
        shares = table[bands].astype("float64")
        areas = table["area_km2"].astype("float64")
    except (ValueError, TypeError) as error:
        raise _wrong("the table of hypsometry holds something else than numbers", path, "numbers", error) from error
    sums = shares.sum(axis=1)
    is_wrong = ((sums - _WHOLE).abs() > _ROUNDING) | shares.lt(0).any(axis=1) | shares.isna().any(axis=1) | ~(areas > 0)
    if is_wrong.any():
        rows = [f"{r}: {s:g}" for r, s in zip(table.loc[is_wrong, "rgi_id"].head(20), sums[is_wrong], strict=False)]
        raise _wrong("bands of an outline are no shares of its area", path, "thousandths, sum 1000", "; ".join(rows))
    areas_by_band = shares.div(sums, axis=0).mul(areas, axis=0)
    areas_by_band.columns = [float(name) for name in bands]
    long = areas_by_band.assign(rgi7_id=table["rgi_id"]).melt(
        id_vars="rgi7_id", var_name="elevation_m", value_name="area_km2"
    )
    long = long[long["area_km2"] > 0].astype({"elevation_m": "float64"})
    return long.sort_values(["rgi7_id", "elevation_m"], ignore_index=True)


def _wrong(problem: str, path: Path, expected: object, got: object) -> SourceError:
    return SourceError(
        problem,
        where=path.name,
        expected=expected,
        got=got,
        todo="compare the file with the provider's; a mirror must hold the files as the provider gives them",
    )
