"""Outlines and what is measured on them: area and perimeter."""

from __future__ import annotations

import datetime as dt
from typing import ClassVar

from arctic_assets.tables.base import NoUncertainty, RowRule, Table, column

_GLACIER = "Glacier: id in the registry"
_INVENTORY = "Dated outline set: rgi7 (the reference) or a nominal year"


class Outline(Table):
    """Outline of each glacier in each inventory, with how, from what and by whom it was made."""

    class Config:
        """Name and grain."""

        name = "outline"
        title = "Outlines"
        metadata: ClassVar = {"grain": "inventory"}

    glacier_id: str = column(_GLACIER, key=True)
    inventory: str = column(_INVENTORY, key=True)
    geometry: bytes = column("Outline as WKB, longitude and latitude (EPSG:4326); shared divides are dissolved")
    n_members: int = column(
        "Number of RGI outlines that make up the glacier", unit="1", hard=(1, None), uncertainty=NoUncertainty.COUNT
    )
    member_ids: list[str] = column("RGI7 ids of the members")
    member_area_km2: float | None = column(
        "Sum of the members' areas as RGI states them", unit="km2", nullable=True, uncertainty=NoUncertainty.NOT_GIVEN
    )
    rgi6_ids: list[str] = column("RGI6 ids linked to the members, for products that know only RGI6")
    rgi6_weights: list[float] = column("Share of each RGI6 glacier's area that lies in this glacier, 0 to 1")
    zmean_m: float | None = column(
        "Mean elevation, area-weighted over the members (RGI7 attribute)",
        unit="m",
        nullable=True,
        hard=(-100, 9000),
        uncertainty=NoUncertainty.NOT_GIVEN,
    )
    image_date: dt.date | None = column("Date of the image the outline was drawn on", nullable=True)
    method: str = column("How the outline was made")
    scene_ids: list[str] = column("Satellite scenes the outline was drawn on")
    half_pixel_m: float = column(
        "Half a pixel of the image: 15 m for Landsat TM, ETM+ and OLI and where nothing is known, as in the record; "
        "30 m for MSS; a revision may say another",
        unit="m",
        hard=(0, 100),
        uncertainty=NoUncertainty.SETTING,
    )
    flags: list[str] = column(
        "What to know of the mapping: debris_from_rgi7; debris_unknown (no scene is as old as RGI7's outline, so ice "
        "under debris is left out); debris_slope_unknown (no elevations: steep ground may be taken for debris); "
        "gaps_filled; assumed_as_rgi7; growth_beyond_rgi7 (ice more than a pixel beyond RGI7: a larger glacier, or "
        "seasonal snow); slc_off; single_scene (no other scene could outvote its snow); nominal_date (of a revision)"
    )
    share_unclassified: float | None = column(
        "Share of the reference outline that no scene shows",
        unit="1",
        nullable=True,
        hard=(0, 1),
        warn=(None, 0.2),
        uncertainty=NoUncertainty.EXACT,
    )
    share_assumed: float | None = column(
        "Share of the reference outline in gaps too wide to fill, taken as in the reference",
        unit="1",
        nullable=True,
        hard=(0, 1),
        uncertainty="assumed_sigma_km2",
    )
    assumed_sigma_km2: float | None = column(
        "Area uncertainty from the margin in these gaps, taken to have moved as far as the margin that was seen: area "
        "between outline and reference where seen, times unseen over seen length of the margin; in area_sigma_km2 of "
        "the area",
        unit="km2",
        nullable=True,
        hard=(0, None),
    )
    debris_km2: float | None = column(
        "Debris-covered ice taken from the reference",
        unit="km2",
        nullable=True,
        hard=(0, 25000),
        uncertainty=NoUncertainty.NOT_ESTIMATED,
    )
    growth_km2: float | None = column(
        "Ice beyond the reference outline",
        unit="km2",
        nullable=True,
        hard=(0, 25000),
        uncertainty=NoUncertainty.NOT_ESTIMATED,
    )
    thresholds: str | None = column("Thresholds of the mapping; a rule that was not applied says so", nullable=True)
    revision: int = column("0 as made by the platform; higher numbers are edits by a person", hard=(0, None))
    editor: str | None = column("Who edited the outline", nullable=True)
    reason: str | None = column("Why it was edited", nullable=True)
    link_overlap: float | None = column(
        "Smallest overlap share of the official RGI6-RGI7 links used; missing when the registry names RGI7 ids",
        unit="1",
        nullable=True,
        hard=(0, 1.01),
        warn=(0.9, None),
        uncertainty=NoUncertainty.EXACT,
    )


class Area(Table):
    """Area and perimeter of each outline, measured on the WGS84 ellipsoid."""

    class Config:
        """Name and grain."""

        name = "area"
        title = "Area"
        metadata: ClassVar = {
            "grain": "inventory",
            "rules": (
                RowRule(
                    "area_sigma_km2 is below area_km2",
                    "area_sigma_km2",
                    lambda rows: rows["area_sigma_km2"] >= rows["area_km2"],
                ),
            ),
        }

    glacier_id: str = column(_GLACIER, key=True)
    inventory: str = column(_INVENTORY, key=True)
    area_km2: float = column(
        "Geodesic area", unit="km2", hard=(0.01, 25000), uncertainty=("area_bound_km2", "area_sigma_km2")
    )
    area_bound_km2: float = column(
        "Upper bound of the resolution error: perimeter times half a pixel", unit="km2", positive=True
    )
    area_sigma_km2: float = column(
        "Area uncertainty by the buffer method: half the difference of the outline grown and shrunk by half a pixel, "
        "with assumed_sigma_km2 as root of the sum of squares",
        unit="km2",
        positive=True,
    )
    assumed_sigma_km2: float = column(
        "The part of area_sigma_km2 that comes from margin no scene shows (outline); 0 where all is seen or drawn",
        unit="km2",
        hard=(0, None),
    )
    area_sigma_independent_km2: float = column(
        "Area uncertainty when the errors of boundary pieces of one pixel are independent: half a pixel times "
        "sqrt(perimeter times a pixel); the lower limit, the truth lies between this and area_sigma_km2",
        unit="km2",
        positive=True,
    )
    area_repeatability_km2: float | None = column(
        "Standard deviation of the areas that several editors drew on the same image (Paul et al. 2017), the newest "
        "outline of each; missing with fewer than two",
        unit="km2",
        nullable=True,
        hard=(0, None),
        uncertainty=NoUncertainty.ITSELF,
    )
    n_digitisations: int = column(
        "Number of editors whose outlines are in area_repeatability_km2",
        unit="1",
        hard=(0, None),
        uncertainty=NoUncertainty.COUNT,
    )
    perimeter_km: float = column(
        "Geodesic length of all boundaries, rock islands included, shared divides not; it grows with digitising detail",
        unit="km",
        hard=(0.3, None),
        uncertainty=NoUncertainty.NOT_ESTIMATED,
    )
    perimeter_outer_km: float = column(
        "Length of the outer boundaries", unit="km", hard=(0.3, None), uncertainty=NoUncertainty.NOT_ESTIMATED
    )
    perimeter_islands_km: float = column(
        "Length of the boundaries of rock islands", unit="km", hard=(0, None), uncertainty=NoUncertainty.NOT_ESTIMATED
    )
    free_share: float = column(
        "Share of the perimeter that is free to move: not a divide shared with a neighbour of RGI7",
        unit="1",
        hard=(0, 1),
        uncertainty=NoUncertainty.EXACT,
    )
    n_islands: int = column("Number of rock islands", unit="1", hard=(0, None), uncertainty=NoUncertainty.COUNT)
    half_pixel_m: float = column(
        "Half a pixel of the sensor, used for both uncertainties",
        unit="m",
        hard=(0, 100),
        uncertainty=NoUncertainty.SETTING,
    )
    rgi_area_km2: float | None = column(
        "Sum of the members' area as RGI states it",
        unit="km2",
        nullable=True,
        uncertainty=NoUncertainty.NOT_GIVEN,
    )
    image_date: dt.date | None = column("Date of the image the outline was drawn on", nullable=True)
