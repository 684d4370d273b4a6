"""Rules that compare tables with each other or with an independent figure: pure functions on frames.

Each takes a `Tables` look-up and returns how many rows it judged and which rows fail; `of_tables` turns them into
asset checks. A rule belongs to the table it judges.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from arctic_assets.glaciers import Registry
from arctic_assets.science.mass_balance import SEASONS_TOLERANCE_M_WE, seasons_that_do_not_add_up
from arctic_assets.tables import (
    Area,
    Failure,
    MassBalance,
    Outline,
    Table,
    TemperatureAnnual,
    TemperatureMonthly,
    Thickness,
    Trend,
    Velocity,
    Volume,
)


@dataclass(frozen=True)
class Tables:
    """What rules look at.

    Attributes:
        read: the rows of a table.
        registry: the glaciers, with what is expected of them.
    """

    read: Callable[[type[Table]], pd.DataFrame]
    registry: Registry

    def __call__(self, model: type[Table]) -> pd.DataFrame:
        """The rows of a table."""
        return self.read(model)

    def expected(self, name: str) -> pd.Series:
        """A number of the registry by glacier, of the glaciers that have it."""
        return pd.Series({g.glacier_id: getattr(g, name) for g in self.registry}, dtype="float64").dropna()


PRELIMINARY_TOLERANCE_K = 0.1
"""Final and preliminary ERA5 rarely differ at all; a month that moves by more has had something corrected."""

AREA_TOLERANCE = 0.005
"""RGI does not say how its area_km2 was computed; 0.5 % separates rounding from a wrong outline."""

AREA_TO_REFERENCE = (0.6, 1.4)
"""An area of an inventory over that of RGI 7: what glaciers of the registry changed by since 1985 lies well within."""

MOST_GROWTH = 0.05
"""Between two inventories, of the area before: few glaciers advance so much, seasonal snow often looks like it."""


class Judged(NamedTuple):
    """Rows looked at, and rules broken."""

    n_checked: int
    failures: list[Failure]


class Rule(NamedTuple):
    """A comparison that becomes an asset check.

    Attributes:
        model: the table that is judged.
        name: of the check.
        description: what is compared, with the tolerance.
        todo: what to do about a failure.
        judge: the comparison.
    """

    model: type[Table]
    name: str
    description: str
    todo: str
    judge: Callable[[Tables], Judged]


def _off(frame: pd.DataFrame, rule: str, column: str, bad: pd.Series, shown: list[str]) -> Judged:
    bad = bad.fillna(False).astype(bool)
    return Judged(len(frame), [Failure(rule, column, frame.loc[bad, shown])] if bad.any() else [])


def image_is_of_its_inventory(tables: Tables) -> Judged:
    """The image of an inventory that is named by a year is of that year, two years more or less. The reference is not.

    Revisions count too: whoever digitises another image says so in its date.
    """
    frame = tables(Outline).dropna(subset="image_date")
    frame = frame[frame["inventory"].str.fullmatch(r"\d{4}")]
    years = pd.to_datetime(frame["image_date"]).dt.year - frame["inventory"].astype("int64")
    shown = ["glacier_id", "inventory", "image_date", "revision"]
    return _off(frame, "image_date is within 2 years of the inventory", "image_date", years.abs() > 2, shown)


def links_are_clear(tables: Tables) -> Judged:
    """RGI6 ids of the registry lead to one outline with nearly the same area."""
    frame = tables(Outline).dropna(subset="link_overlap")
    shown = ["glacier_id", "inventory", "link_overlap", "method"]
    return _off(frame, "link_overlap is at least 0.9", "link_overlap", frame["link_overlap"] < 0.9, shown)


def area_agrees_with_rgi(tables: Tables) -> Judged:
    """Our geodesic area against the one RGI states."""
    frame = tables(Area).dropna(subset="rgi_area_km2")
    frame = frame.assign(difference=(frame["area_km2"] - frame["rgi_area_km2"]) / frame["rgi_area_km2"])
    shown = ["glacier_id", "inventory", "area_km2", "rgi_area_km2", "difference"]
    rule = f"area_km2 is within {AREA_TOLERANCE:.1%} of RGI's own area"
    return _off(frame, rule, "area_km2", frame["difference"].abs() > AREA_TOLERANCE, shown)


def area_is_near_the_reference(tables: Tables) -> Judged:
    """No inventory of a year has far more or less ice than RGI 7."""
    area = tables(Area)
    reference = area.loc[area["inventory"] == "rgi7", ["glacier_id", "area_km2"]]
    frame = area[area["inventory"] != "rgi7"].merge(reference, on="glacier_id", suffixes=("", "_of_rgi7"))
    frame = frame.assign(ratio=frame["area_km2"] / frame["area_km2_of_rgi7"])
    low, high = AREA_TO_REFERENCE
    shown = ["glacier_id", "inventory", "area_km2", "area_km2_of_rgi7", "ratio"]
    rule = f"area_km2 is {low:g} to {high:g} of that in rgi7"
    return _off(frame, rule, "area_km2", ~frame["ratio"].between(low, high), shown)


def growth_is_small(tables: Tables) -> Judged:
    """From each dated inventory to the next, no glacier grows by more than an advance would explain."""
    frame = tables(Area).dropna(subset="image_date")
    frame = frame.assign(date=pd.to_datetime(frame["image_date"])).sort_values(["glacier_id", "date", "inventory"])
    before = frame.groupby("glacier_id")[["inventory", "area_km2"]].shift()
    frame = frame.join(before.add_suffix("_before")).dropna(subset="area_km2_before")
    frame = frame.assign(growth=frame["area_km2"] / frame["area_km2_before"] - 1)
    shown = ["glacier_id", "inventory_before", "inventory", "area_km2_before", "area_km2", "growth"]
    rule = f"area_km2 is at most {MOST_GROWTH:.0%} larger than in the inventory before"
    return _off(frame, rule, "area_km2", frame["growth"] > MOST_GROWTH, shown)


def perimeter_is_possible(tables: Tables) -> Judged:
    """No outline is shorter than a circle of its area, and none is jagged beyond belief."""
    frame = tables(Area)
    frame = frame.assign(circles=frame["perimeter_km"] ** 2 / (4 * np.pi * frame["area_km2"]))
    shown = ["glacier_id", "inventory", "area_km2", "perimeter_km", "circles"]
    single = frame.merge(tables(Outline)[["glacier_id", "inventory", "n_members"]], on=["glacier_id", "inventory"])
    bad = (single["circles"] < 1) | ((single["circles"] > 60) & (single["n_members"] == 1))
    return _off(single, "perimeter^2 / (4 pi area) is 1 to 60", "perimeter_km", bad, shown)


def product_covers_the_glacier(tables: Tables) -> Judged:
    """The ice mask of each product is about as large as the outline. The shallow-ice check covers the line only."""
    frame = tables(Thickness).query("product != 'sia_check'")
    bad = ~frame["coverage_fraction"].between(0.8, 1.2)
    shown = ["glacier_id", "product", "coverage_fraction", "ice_area_km2"]
    return _off(frame, "coverage_fraction is 0.8 to 1.2", "coverage_fraction", bad, shown)


def thickness_is_about_as_expected(tables: Tables) -> Judged:
    """Mean thickness against the figure of the registry, within a factor of two: a unit or a wrong glacier shows.

    The shallow-ice check is of the centreline, where ice is thickest, and not judged.
    """
    expected = tables.expected("expected_thickness_m")
    frame = tables(Thickness).query("product != 'sia_check'")
    frame = frame[frame["glacier_id"].isin(expected.index)]
    frame = frame.assign(expected_thickness_m=frame["glacier_id"].map(expected).astype("float64"))
    bad = ~(frame["thickness_m"] / frame["expected_thickness_m"]).between(0.5, 2)
    shown = ["glacier_id", "product", "thickness_m", "expected_thickness_m"]
    return _off(frame, "thickness_m is within a factor of 2 of the registry's", "thickness_m", bad, shown)


def speed_is_about_as_expected(tables: Tables) -> Judged:
    """Centreline mean speed against the largest one that the registry expects of the glacier."""
    expected = tables.expected("expected_speed_m_yr")
    frame = tables(Velocity)
    frame = frame[frame["glacier_id"].isin(expected.index)]
    frame = frame.assign(expected_speed_m_yr=frame["glacier_id"].map(expected).astype("float64"))
    bad = frame["speed_m_yr"] > frame["expected_speed_m_yr"]
    shown = ["glacier_id", "year", "speed_m_yr", "speed_sigma_m_yr", "expected_speed_m_yr"]
    return _off(frame, "speed_m_yr is at most the registry's expected_speed_m_yr", "speed_m_yr", bad, shown)


def temperature_trend_is_usual(tables: Tables) -> Judged:
    """Trends of the temperature within -0.5 to 2 K per decade."""
    frame = tables(Trend)
    frame = frame[frame["variable"].str.startswith("t2m")]
    bad = ~frame["slope_per_decade"].between(-0.5, 2)
    shown = ["glacier_id", "variable", "slope_per_decade", "slope_low", "slope_high"]
    return _off(frame, "the slope of a temperature is -0.5 to 2 K per decade", "slope_per_decade", bad, shown)


def volume_is_thickness_times_area(tables: Tables) -> Judged:
    """The volume of each product is its mean thickness times its ice area, within 1 %."""
    frame = tables(Thickness)
    product = frame["thickness_m"] * frame["ice_area_km2"] / 1000
    frame = frame.assign(thickness_times_area_km3=product)
    shown = ["glacier_id", "product", "volume_km3", "thickness_times_area_km3"]
    bad = (product - frame["volume_km3"]).abs() > 0.01 * frame["volume_km3"]
    return _off(frame, "volume_km3 is thickness times ice area within 1 %", "volume_km3", bad, shown)


def volume_agrees_with_product(tables: Tables) -> Judged:
    """The reference volume (thickness times outline area) against the product's own sum."""
    frame = tables(Volume).query("inventory == 'rgi7'")
    frame = frame.merge(
        tables(Thickness)[["glacier_id", "product", "volume_km3", "volume_sigma_km3"]],
        on=["glacier_id", "product"],
        suffixes=("", "_product"),
    )
    shown = ["glacier_id", "product", "volume_km3", "volume_km3_product", "volume_sigma_km3_product"]
    bad = (frame["volume_km3"] - frame["volume_km3_product"]).abs() > frame["volume_sigma_km3_product"]
    return _off(frame, "volume_km3 is within the uncertainty of the product's own", "volume_km3", bad, shown)


def annual_is_mean_of_months(tables: Tables) -> Judged:
    """Each calendar year's mean lies on the day-weighted mean of its stored months, within 1e-6 K."""
    monthly = tables(TemperatureMonthly)
    days = pd.PeriodIndex(monthly["month"], freq="M").days_in_month
    monthly = monthly.assign(year=monthly["month"].str[:4].astype("int64"), days=days, sum=monthly["t2m_c"] * days)
    means = monthly.groupby(["glacier_id", "year"], as_index=False)[["sum", "days"]].sum()
    annual = tables(TemperatureAnnual).query("kind == 'calendar'")
    annual = annual.assign(year=annual["year"].astype("int64"))
    frame = annual.merge(means, on=["glacier_id", "year"], how="left")
    frame = frame.assign(mean_of_months_c=frame["sum"] / frame["days"])
    shown = ["glacier_id", "year", "t2m_c", "mean_of_months_c"]
    bad = ~((frame["t2m_c"] - frame["mean_of_months_c"]).abs() <= 1e-6)
    return _off(frame, "t2m_c is the mean of the stored months", "t2m_c", bad, shown)


def months_are_continuous(tables: Tables) -> Judged:
    """No glacier's series has a hole between its first and its last month."""
    frame = tables(TemperatureMonthly)
    number = pd.PeriodIndex(frame["month"], freq="M").astype("int64") if len(frame) else []
    spans = frame.assign(number=number).groupby("glacier_id", as_index=False)["number"].agg(["min", "max", "count"])
    spans = spans.assign(missing=spans["max"] - spans["min"] + 1 - spans["count"])
    rule = "every month between the first and the last is there"
    return _off(spans, rule, "month", spans["missing"] > 0, ["glacier_id", "count", "missing"])


def lapse_adjustment_is_small(tables: Tables) -> Judged:
    """The adjusted temperature is at most 8 K away: more means a glacier far from its cell's elevation."""
    frame = tables(TemperatureMonthly)
    frame = frame.assign(adjustment_k=frame["t2m_adjusted_c"] - frame["t2m_c"])
    shown = ["glacier_id", "month", "t2m_c", "t2m_adjusted_c", "adjustment_k"]
    rule = "t2m_adjusted_c is within 8 K of t2m_c"
    return _off(frame, rule, "t2m_adjusted_c", frame["adjustment_k"].abs() > 8, shown)


def final_is_near_preliminary(tables: Tables) -> Judged:
    """Final months against the preliminary values they replaced."""
    frame = tables(TemperatureMonthly).query("status == 'final'").dropna(subset="t2m_preliminary_c")
    frame = frame.assign(move_k=frame["t2m_c"] - frame["t2m_preliminary_c"])
    shown = ["glacier_id", "month", "t2m_preliminary_c", "t2m_c", "move_k"]
    rule = f"t2m_c is within {PRELIMINARY_TOLERANCE_K:g} K of t2m_preliminary_c"
    return _off(frame, rule, "t2m_c", frame["move_k"].abs() > PRELIMINARY_TOLERANCE_K, shown)


def seasons_add_up(tables: Tables) -> Judged:
    """Winter and summer balance sum to the annual balance, where all three are given."""
    frame = tables(MassBalance)
    off = seasons_that_do_not_add_up(frame)
    rule = f"winter + summer = annual balance within {SEASONS_TOLERANCE_M_WE} m w.e."
    shown = ["glacier_id", "year", "origin", "seasons_minus_annual_m_we"]
    return Judged(len(frame), [Failure(rule, "annual_balance_m_we", off[shown])] if len(off) else [])


def reference_area_agrees(tables: Tables) -> Judged:
    """The area that was measured is about that of the outline; where not, a Gt figure must use the balance's."""
    balance = tables(MassBalance).dropna(subset="reference_area_km2").query("scope == 'own' and origin == 'observed'")
    newest = balance.sort_values("year").drop_duplicates("glacier_id", keep="last")
    area = tables(Area).query("inventory == 'rgi7'")[["glacier_id", "area_km2"]]
    frame = newest.merge(area, on="glacier_id")
    frame = frame.assign(ratio=frame["reference_area_km2"] / frame["area_km2"])
    bad = (frame["ratio"] < 0.75) | (frame["ratio"] > 1.25)
    shown = ["glacier_id", "year", "reference_area_km2", "area_km2", "ratio"]
    return _off(frame, "reference_area_km2 is 0.75 to 1.25 of the outline's", "reference_area_km2", bad, shown)


RULES: tuple[Rule, ...] = (
    Rule(
        Outline,
        "links_are_clear",
        "RGI6 ids of the registry lead to one RGI7 outline, with an overlap of at least 0.9.",
        "compare the outline with the glacier that is meant, and put rgi7_ids into the registry",
        links_are_clear,
    ),
    Rule(
        Outline,
        "image_is_of_its_inventory",
        "Images are within two years of the inventory's nominal year, revisions too.",
        "the rates use the image's own date; put the outline into an inventory of its year where there is one",
        image_is_of_its_inventory,
    ),
    Rule(
        Area,
        "agrees_with_rgi",
        "Geodesic area within 0.5 % of the area RGI states.",
        "look at the outline: a wrong member, a missing island, or another area definition",
        area_agrees_with_rgi,
    ),
    Rule(
        Area,
        "is_near_the_reference",
        "Area of an inventory of a year is 0.6 to 1.4 of that of RGI 7.",
        "look at the outline and its flags: seasonal snow, ice under debris, a cloud, or another glacier",
        area_is_near_the_reference,
    ),
    Rule(
        Area,
        "growth_is_small",
        "Area is at most 5 % larger than in the inventory before, by date of the images.",
        "look for seasonal snow in the younger outline (growth_km2, single_scene), for ice that the older one lacks; "
        "an advance or a surge is possible",
        growth_is_small,
    ),
    Rule(
        Area,
        "perimeter_is_possible",
        "Perimeter not shorter than a circle's, and not jagged (square over 4 pi area below 60).",
        "look at the outline; stair-steps are smoothed before measuring",
        perimeter_is_possible,
    ),
    Rule(
        Thickness,
        "covers_the_glacier",
        "The product's ice mask is 0.8 to 1.2 of the outline, the shallow-ice check aside.",
        "outline and product are of other dates or divides: use the product's own area with its volume",
        product_covers_the_glacier,
    ),
    Rule(
        Thickness,
        "is_about_as_expected",
        "Mean thickness within a factor of two of the registry's expected_thickness_m, the shallow-ice check aside.",
        "a unit, a raster of another glacier, or an expectation that is wrong in the registry",
        thickness_is_about_as_expected,
    ),
    Rule(
        Velocity,
        "is_about_as_expected",
        "Mean speed of the centreline at most the registry's expected_speed_m_yr.",
        "look at speed_sigma_m_yr and the count of these years; a surge may stay",
        speed_is_about_as_expected,
    ),
    Rule(
        Trend,
        "of_temperature_is_usual",
        "Temperature trends of -0.5 to 2 K per decade.",
        "look at the series: months that are missing, or a step where preliminary months became final",
        temperature_trend_is_usual,
    ),
    Rule(
        Thickness,
        "volume_is_thickness_times_area",
        "Volume equals mean thickness times ice area within 1 %.",
        "a unit is wrong in science/thickness.py or in the raster",
        volume_is_thickness_times_area,
    ),
    Rule(
        Volume,
        "agrees_with_product",
        "Mean thickness times outline area agrees with the product's own volume within its uncertainty.",
        "product and outline cover different ice: see thickness.coverage_fraction",
        volume_agrees_with_product,
    ),
    Rule(
        TemperatureMonthly,
        "months_are_continuous",
        "No hole between the first and the last month of a glacier.",
        "materialise the missing months; provenance.gap says why they are missing",
        months_are_continuous,
    ),
    Rule(
        TemperatureMonthly,
        "adjustment_is_small",
        "The lapse-rate adjustment is at most 8 K.",
        "ERA5's cell lies far above or below this glacier: use t2m_adjusted_c with care",
        lapse_adjustment_is_small,
    ),
    Rule(
        TemperatureMonthly,
        "final_is_near_preliminary",
        f"Months that turned final lie within {PRELIMINARY_TOLERANCE_K:g} K of their preliminary value (ERA5T).",
        "the final value stands; say so to those who took the preliminary one, and see the known issues of ERA5",
        final_is_near_preliminary,
    ),
    Rule(
        TemperatureAnnual,
        "is_mean_of_months",
        "Calendar means equal the day-weighted mean of the stored months.",
        "months changed after the year was made: materialise derived/temperature_annual for these years",
        annual_is_mean_of_months,
    ),
    Rule(
        MassBalance,
        "seasons_add_up",
        "Winter + summer = annual balance within 0.1 m w.e.",
        "see the remarks of these rows in FoG; the annual value is what is published",
        seasons_add_up,
    ),
    Rule(
        MassBalance,
        "reference_area_agrees",
        "The newest reference area of the observations is 0.75 to 1.25 of the outline's.",
        "use reference_area_km2 of the balance, not the outline's area, for a balance in Gt",
        reference_area_agrees,
    ),
)
