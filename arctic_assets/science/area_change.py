"""Change of area between inventories, with the uncertainty of the change itself.

Here: differences of two dated areas of one glacier, rates, significance; what repeated digitising says. Not here:
areas and their own uncertainty (`geometry`), mapping (`clean_ice`).

The error of a change is not the sum of two errors of areas. Divides that both outlines take from the same inventory
contribute nothing, so only the part of the boundary that is free to move counts; and what is left is correlated where
the same analyst drew the same margin: sigma^2 = s1^2 + s2^2 - 2 r s1 s2. Granshaw & Fountain (2006,
Journal of Glaciology 52) give areas to 1.1 km2 and their difference to 0.1 km2.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from arctic_assets.errors import SourceError

if TYPE_CHECKING:
    import pandas as pd
    from shapely.geometry.base import BaseGeometry

DAYS_PER_YEAR = 365.2425
SIGNIFICANT = 1.96
"""Standard deviations beyond which 5 % of normally distributed errors lie."""
_SIGMAS = ("area_bound_km2", "area_sigma_km2", "area_sigma_independent_km2")
_NEEDED = ("glacier_id", "inventory", "area_km2", *_SIGMAS, "image_date")


def area_changes(areas: pd.DataFrame, correlation: float = 0.0) -> pd.DataFrame:
    """Changes between all inventories of each glacier, from the older image to the younger one.

    Args:
        areas: rows with `glacier_id`, `inventory`, `area_km2`, `area_bound_km2`, `area_sigma_km2`,
            `area_sigma_independent_km2`, `image_date` (a date, or missing: then the row takes no part), and optionally
            `free_share`: share of the boundary that is free to move, 0 to 1 (`free_share`), 1 where it is not given;
            and `assumed_sigma_km2`: the part of `area_sigma_km2` that is of free margin only, 0 where it is not given.
        correlation: r, of the errors of two areas. 0 is cautious; towards 1 where the same margin was drawn again.

    Returns:
        The table `area_change` without its stamps: `glacier_id`, `from_inventory`, `to_inventory`, `from_date`,
        `to_date`, `years`, `change_km2`, `change_sigma_km2`, `change_sigma_independent_km2`, `change_bound_km2`,
        `rate_km2_yr`, `rate_sigma_km2_yr`, `rate_pct_yr` (percent of the first area per year), `rate_sigma_pct_yr`,
        `correlation`, `significant`. No row for two images of one day.

    Raises:
        SourceError: columns are missing, an area is not above 0, an uncertainty is missing or below 0, or r is not
            within 0 to 1.
    """
    import pandas as pd

    _check(areas, correlation)
    rows = areas.loc[areas["image_date"].notna(), list(_NEEDED)].copy()
    free = areas.loc[rows.index, "free_share"] if "free_share" in areas else pd.Series(1.0, index=rows.index)
    free = free.astype("float64").fillna(1.0)
    sigma = rows["area_sigma_km2"].astype("float64")
    assumed = areas.loc[rows.index, "assumed_sigma_km2"] if "assumed_sigma_km2" in areas else 0.0 * sigma
    rows["sigma"] = np.hypot(np.sqrt((sigma**2 - assumed**2).clip(lower=0)) * free, assumed)
    # independent errors add as squares: their part shrinks with the root of the length
    rows["independent"] = areas.loc[rows.index, "area_sigma_independent_km2"].astype("float64") * free**0.5
    rows["bound"] = rows["area_bound_km2"].astype("float64") * free
    rows["date"] = pd.to_datetime(rows["image_date"])
    old, new = rows.add_suffix("_1"), rows.add_suffix("_2")
    pairs = old.merge(new, left_on="glacier_id_1", right_on="glacier_id_2")
    pairs = pairs[pairs["date_1"] < pairs["date_2"]].reset_index(drop=True)
    years = (pairs["date_2"] - pairs["date_1"]).dt.days / DAYS_PER_YEAR
    first, last = pairs["area_km2_1"].astype("float64"), pairs["area_km2_2"].astype("float64")
    change = last - first
    s1, s2 = pairs["sigma_1"], pairs["sigma_2"]
    sigma = np.sqrt((s1**2 + s2**2 - 2 * correlation * s1 * s2).clip(lower=0))
    # The relative rate A2/A1 - 1 depends on A1 twice: its error is that of the ratio.
    ratio = last / first
    relative = ((s2**2 + ratio**2 * s1**2 - 2 * correlation * ratio * s1 * s2).clip(lower=0)) ** 0.5 / first
    found = pd.DataFrame(
        {
            "glacier_id": pairs["glacier_id_1"],
            "from_inventory": pairs["inventory_1"],
            "to_inventory": pairs["inventory_2"],
            "from_date": pairs["date_1"].dt.date,
            "to_date": pairs["date_2"].dt.date,
            "years": years,
            "change_km2": change,
            "change_sigma_km2": sigma,
            "change_sigma_independent_km2": np.hypot(pairs["independent_1"], pairs["independent_2"]),
            "change_bound_km2": pairs["bound_1"] + pairs["bound_2"],
            "rate_km2_yr": change / years,
            "rate_sigma_km2_yr": sigma / years,
            "rate_pct_yr": 100 * (ratio - 1) / years,
            "rate_sigma_pct_yr": 100 * relative / years,
            "correlation": float(correlation),
            "significant": change.abs() > SIGNIFICANT * sigma,
        }
    )
    return found.sort_values(["glacier_id", "from_date", "to_date"], kind="stable").reset_index(drop=True)


def free_share(outline: BaseGeometry, neighbours: Sequence[BaseGeometry], tolerance_m: float = 1.0) -> float:
    """Share of a boundary's geodesic length that is free to move: not a divide shared with a neighbour.

    Args:
        outline: EPSG:4326.
        neighbours: outlines around it, EPSG:4326; their boundaries are the divides.
        tolerance_m: two lines nearer than this are one.
    """
    import shapely
    from pyproj import Geod

    boundary = outline.boundary
    near = [one.boundary for one in neighbours if one.distance(outline) < 1e-4]
    if not near:
        return 1.0
    # A degree of longitude is shorter than one of latitude: stretched to the same scale, a buffer is round.
    squeeze = float(np.cos(np.radians(outline.centroid.y)))

    def squeezed(geom: BaseGeometry, factor: float) -> BaseGeometry:
        return shapely.transform(geom, lambda xy: xy * (factor, 1.0))

    divides = squeezed(shapely.union_all(near), squeeze).buffer(tolerance_m / 111_000)
    free = squeezed(squeezed(boundary, squeeze).difference(divides), 1 / squeeze)
    geod = Geod(ellps="WGS84")
    return float(geod.geometry_length(free) / geod.geometry_length(boundary))


def repeatability(areas: Sequence[float]) -> float:
    """Standard deviation of repeated digitisations of one glacier on one image, in the unit of the areas.

    The sample's standard deviation (n - 1); Paul et al. 2017 (doi:10.1016/j.rse.2017.08.038) advise three or more.

    Raises:
        SourceError: fewer than two areas, or one that is not above 0.
    """
    values = np.asarray(areas, float)
    if values.ndim != 1 or len(values) < 2 or not (values > 0).all():
        raise SourceError(
            "repeatability takes repeated areas of one glacier",
            expected="two areas or more, all above 0",
            got=list(areas),
            todo="digitise the glacier again, independently",
        )
    return float(values.std(ddof=1))


def _check(areas: pd.DataFrame, correlation: float) -> None:
    def refuse(problem: str, expected: str, got: object) -> SourceError:
        todo = "look at derived.area, from which changes are made"
        return SourceError(problem, where="area_changes", expected=expected, got=got, todo=todo)

    missing = [name for name in _NEEDED if name not in areas]
    if missing:
        raise refuse("areas lack columns", ", ".join(_NEEDED), f"no {', '.join(missing)}")
    if not 0 <= correlation <= 1:
        raise refuse("a correlation is out of range", "0 to 1", correlation)
    sigmas = areas[list(_SIGMAS)].astype("float64")
    wrong = ~((areas["area_km2"].astype("float64") > 0) & (sigmas >= 0).all(axis=1))
    if wrong.any():
        shown = areas.loc[wrong, list(_NEEDED[:-1])].head(5).to_dict("records")
        raise refuse("an area or its uncertainty cannot be used", "area above 0, uncertainties from 0", shown)
    if "free_share" in areas and not areas["free_share"].dropna().between(0, 1).all():
        raise refuse("a free share is out of range", "0 to 1", areas["free_share"].tolist()[:20])
