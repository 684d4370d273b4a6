"""Every check can fail: it counts exactly the rows that are wrong, shows at most 20, and says what to do."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from arctic_assets import glaciers
from arctic_assets.automation.build import Extent
from arctic_assets.checks import across, of_tables
from arctic_assets.checks.across import RULES, Judged, Rule, Tables
from arctic_assets.checks.evidence import evaluation
from arctic_assets.definitions import build_defs
from arctic_assets.errors import TableError
from arctic_assets.tables import (
    TABLES,
    Area,
    AreaChange,
    BalancePeriod,
    Failure,
    MassBalance,
    NoUncertainty,
    Outline,
    Table,
    TemperatureAnnual,
    TemperatureMonthly,
    Thickness,
    Trend,
    Velocity,
    Volume,
    column,
    soft_violations,
    violations,
    without_uncertainty,
)
from arctic_assets.tables.base import SHOWN_ROWS
from arctic_assets_tests.publish.rows import gaps, rows, sources
from arctic_assets_tests.testkit.platform import Platform

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
MONTHS = [f"2001-{month:02d}" for month in range(1, 13)]

Frames = dict[type[Table], pd.DataFrame]
Record = dict[str, Any]


def registry_of(*ids: str) -> glaciers.Registry:
    """Glaciers of which a thickness of 100 m and a speed of at most 100 m a year are expected."""
    packaged = glaciers.load()
    one = replace(packaged["taku"], expected_thickness_m=100.0, expected_speed_m_yr=100.0)
    return glaciers.Registry(tuple(replace(one, glacier_id=name) for name in ids), packaged.path)


def tables(frames: Frames) -> Tables:
    return Tables(
        lambda model: frames[model] if model in frames else model.no_rows(),
        registry_of(*(f"g{i:03d}" for i in range(100))),
    )


def judged(rule: Rule, frames: Frames) -> Judged:
    return rule.judge(tables(frames))


def evidence(judged: Judged, todo: str = "do this", severity: dg.AssetCheckSeverity = WARN) -> dg.AssetCheckEvaluation:
    spec = dg.AssetCheckSpec("name", asset=dg.AssetKey(["derived", "area"]))
    return evaluation(spec, judged.n_checked, judged.failures, todo, severity, None)


def numbers(found: dg.AssetCheckEvaluation) -> tuple[Any, Any]:
    """Rows that were looked at, and rows that are wrong."""
    return found.metadata["rows checked"].value, found.metadata["rows failed"].value


def shown(found: dg.AssetCheckEvaluation) -> list[dict[str, Any]]:
    table = found.metadata["failing rows"]
    assert isinstance(table, dg.TableMetadataValue)
    return [dict(record.data) for record in table.records]


# --- rules between tables ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Breaking:
    """How to break a rule.

    Attributes:
        frames: tables of glaciers g000, g001, ..., one per value.
        good: values that just pass, or that the rule does not judge.
        bad: a value that just fails.
        not_judged: how many of the good ones are not looked at.
    """

    frames: Callable[[list[Any]], Frames]
    good: list[Any]
    bad: Any
    not_judged: int = 0


def named(values: list[Any]) -> list[tuple[str, Any]]:
    return [(f"g{i:03d}", value) for i, value in enumerate(values)]


def one_table(model: type[Table], record: Callable[[Any], Record]) -> Callable[[list[Any]], Frames]:
    return lambda values: {model: rows(model, [{"glacier_id": name, **record(value)} for name, value in named(values)])}


def perimeters(values: list[tuple[float, int]]) -> Frames:
    """Square of the perimeter over that of a circle, and number of members."""
    area, outline = [], []
    for name, (circles, n_members) in named(values):
        key = {"glacier_id": name, "inventory": "rgi7"}
        area.append({**key, "area_km2": 10.0, "perimeter_km": float(np.sqrt(circles * 4 * np.pi * 10))})
        outline.append({**key, "n_members": n_members})
    return {Area: rows(Area, area), Outline: rows(Outline, outline)}


def volumes(values: list[tuple[str, float]]) -> Frames:
    """Inventory and volume, beside a product of 10 km3 with a sigma of 3 km3."""
    volume, thickness = [], []
    for name, (inventory, km3) in named(values):
        key = {"glacier_id": name, "product": "farinotti2019"}
        volume.append({**key, "inventory": inventory, "volume_km3": km3})
        thickness.append({**key, "volume_km3": 10.0, "volume_sigma_km3": 3.0})
    return {Volume: rows(Volume, volume), Thickness: rows(Thickness, thickness)}


def series(values: list[list[int]]) -> Frames:
    """Places of months that are missing from a year."""
    records = [
        {"glacier_id": name, "month": month}
        for name, missing in named(values)
        for i, month in enumerate(MONTHS)
        if i not in missing
    ]
    return {TemperatureMonthly: rows(TemperatureMonthly, records)}


def annual_means(values: list[tuple[str, float, int]]) -> Frames:
    """Kind, difference of the year to the mean of its months, and number of months that are stored."""
    days = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])
    t2m = np.array([-20.0, -21, -19, -12, -4, 1, 5, 4, -1, -8, -14, -18])
    mean = float((t2m * days).sum() / days.sum())
    monthly, annual = [], []
    for name, (kind, off, n_months) in named(values):
        monthly += [{"glacier_id": name, "month": MONTHS[i], "t2m_c": float(t2m[i])} for i in range(n_months)]
        annual.append({"glacier_id": name, "year": 2001, "kind": kind, "t2m_c": mean + off})
    return {TemperatureMonthly: rows(TemperatureMonthly, monthly), TemperatureAnnual: rows(TemperatureAnnual, annual)}


def turned_final(value: tuple[str, float | None]) -> Record:
    """Status, and how far the month moved, K."""
    status, move = value
    preliminary = None if move is None else -10.0 - move
    return {"month": "2001-01", "t2m_c": -10.0, "t2m_preliminary_c": preliminary, "status": status}


def seasons(value: tuple[float, float | None, float | None]) -> Record:
    annual, winter, summer = value
    balance = {"annual_balance_m_we": annual, "winter_balance_m_we": winter, "summer_balance_m_we": summer}
    return {"year": 2001, "annual_balance_sigma_m_we": 0.2, **balance}


def reference_areas(values: list[tuple[str, dict[int, float]]]) -> Frames:
    """Scope, and by year the area of the observed balance, beside an outline of 100 km2 and its reconstruction."""
    balance = [
        {
            "glacier_id": name,
            "year": year,
            "origin": origin,
            "scope": scope,
            "reference_area_km2": area,
            "annual_balance_m_we": 0.0,
        }
        for name, (scope, areas) in named(values)
        for origin, years in (("observed", areas), ("reconstruction", {2010: 100.0}))
        for year, area in years.items()
    ]
    area = [{"glacier_id": name, "inventory": "rgi7", "area_km2": 100.0} for name, _ in named(values)]
    return {MassBalance: rows(MassBalance, balance), Area: rows(Area, area)}


def beside_reference(values: list[float | None]) -> Frames:
    """Area of 2015 over that of RGI 7; None for a glacier that RGI 7 alone has."""
    records = []
    for name, ratio in named(values):
        records.append({"glacier_id": name, "inventory": "rgi7", "area_km2": 50.0})
        if ratio is not None:
            records.append({"glacier_id": name, "inventory": "2015", "area_km2": 50.0 * ratio})
    return {Area: rows(Area, records)}


def dated_areas(values: list[dict[str, float]]) -> Frames:
    """Areas by year of the image; that of 2001 is RGI 7's, others are of the inventory of their year."""
    records = [
        {
            "glacier_id": name,
            "inventory": "rgi7" if year == "2001" else year,
            "image_date": dt.date(int(year), 8, 20),
            "area_km2": km2,
        }
        for name, areas in named(values)
        for year, km2 in areas.items()
    ]
    return {Area: rows(Area, records)}


BREAKING: dict[Callable[[across.Tables], Judged], Breaking] = {
    across.links_are_clear: Breaking(
        one_table(Outline, lambda overlap: {"inventory": "rgi7", "link_overlap": overlap}),
        good=[1.0, 0.9, None],
        bad=0.899,
        not_judged=1,
    ),
    across.image_is_of_its_inventory: Breaking(
        one_table(Outline, lambda value: {"inventory": value[0], "image_date": value[1]}),
        good=[
            ("1985", dt.date(1983, 1, 1)),
            ("1936", dt.date(1938, 12, 31)),
            ("rgi7", dt.date(2001, 8, 1)),
            ("1985", None),
        ],
        bad=("1985", dt.date(1988, 1, 1)),
        not_judged=2,
    ),
    across.thickness_is_about_as_expected: Breaking(
        one_table(Thickness, lambda value: {"product": value[0], "thickness_m": value[1]}),
        good=[("farinotti2019", 50.0), ("mean", 200.0), ("sia_check", 300.0)],
        bad=("millan2022", 49.9),
        not_judged=1,
    ),
    across.speed_is_about_as_expected: Breaking(
        one_table(Velocity, lambda speed: {"year": 2001, "speed_m_yr": speed}), good=[0.0, 100.0], bad=100.1
    ),
    across.temperature_trend_is_usual: Breaking(
        one_table(Trend, lambda value: {"variable": value[0], "slope_per_decade": value[1]}),
        good=[("t2m_c", -0.5), ("t2m_jja_c", 2.0), ("degree_days_k_d", 30.0)],
        bad=("t2m_jja_c", 2.01),
        not_judged=1,
    ),
    across.area_agrees_with_rgi: Breaking(
        one_table(Area, lambda km2: {"inventory": "rgi7", "area_km2": 100.0, "rgi_area_km2": km2}),
        good=[100.0, 99.6, 100.4, None],
        bad=99.4,
        not_judged=1,
    ),
    across.area_is_near_the_reference: Breaking(
        beside_reference, good=[1.0, 0.601, 1.399, None], bad=1.401, not_judged=1
    ),
    across.growth_is_small: Breaking(
        dated_areas,
        good=[{"1985": 100.0, "2001": 104.9}, {"2001": 100.0, "2015": 80.0}, {"1985": 10.0}],
        bad={"1995": 100.0, "2001": 105.1},
        not_judged=1,
    ),
    across.perimeter_is_possible: Breaking(perimeters, good=[(1.001, 1), (59.0, 1), (500.0, 480)], bad=(61.0, 1)),
    across.volume_is_thickness_times_area: Breaking(
        one_table(
            Thickness,
            lambda km3: {"product": "mean", "thickness_m": 100.0, "ice_area_km2": 50.0, "volume_km3": km3},
        ),
        good=[5.0, 4.96, 5.04],
        bad=5.06,
    ),
    across.volume_agrees_with_product: Breaking(
        volumes, good=[("rgi7", 10.0), ("rgi7", 12.9), ("1985", 20.0)], bad=("rgi7", 13.1), not_judged=1
    ),
    across.months_are_continuous: Breaking(series, good=[[], [0, 1], [11], list(range(1, 12))], bad=[3, 7]),
    across.lapse_adjustment_is_small: Breaking(
        one_table(TemperatureMonthly, lambda t: {"month": "2001-01", "t2m_c": -10.0, "t2m_adjusted_c": t}),
        good=[-10.0, -18.0, -2.0, None],
        bad=-18.1,
    ),
    across.final_is_near_preliminary: Breaking(
        one_table(TemperatureMonthly, turned_final),
        good=[("final", 0.0), ("final", 0.099), ("final", -0.099), ("preliminary", 5.0), ("final", None)],
        bad=("final", -0.101),
        not_judged=2,
    ),
    across.product_covers_the_glacier: Breaking(
        one_table(Thickness, lambda value: {"product": value[0], "coverage_fraction": value[1]}),
        good=[("mean", 0.8), ("millan2022", 1.2), ("sia_check", 0.05)],
        bad=("farinotti2019", 0.79),
        not_judged=1,
    ),
    across.annual_is_mean_of_months: Breaking(
        annual_means,
        good=[("calendar", 0.0, 12), ("calendar", 9e-7, 12), ("balance_year", 5.0, 12)],
        bad=("calendar", 2e-6, 12),
        not_judged=1,
    ),
    across.seasons_add_up: Breaking(
        one_table(MassBalance, seasons),
        good=[(-0.5, 1.5, -2.0), (-0.4, 1.5, -2.0), (-0.5, None, -9.0 + 2), (-0.5, 1.5, None)],
        bad=(-0.39, 1.5, -2.0),
    ),
    across.reference_area_agrees: Breaking(
        reference_areas,
        good=[("own", {2001: 75.0}), ("own", {2000: 10.0, 2001: 125.0}), ("parent_ice_cap", {2001: 900.0})],
        bad=("own", {2000: 100.0, 2001: 126.0}),
        not_judged=1,
    ),
}
"""One for each rule."""

by_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.model.table()}: {rule.name}")


def test_every_rule_is_broken_here() -> None:
    assert {rule.judge for rule in RULES} == set(BREAKING)


@by_rule
@pytest.mark.parametrize("n_bad", [0, 1, 3, 25])
def test_rule_counts_exactly(rule: Rule, n_bad: int) -> None:
    case = BREAKING[rule.judge]
    found = judged(rule, case.frames([case.bad] * n_bad + case.good))
    checked = evidence(found, rule.todo)
    assert checked.passed == (n_bad == 0)
    assert numbers(checked) == (n_bad + len(case.good) - case.not_judged, n_bad)
    if n_bad:
        assert checked.metadata["what to do"].value == rule.todo
        assert {row["glacier_id"] for row in shown(checked)} <= {f"g{i:03d}" for i in range(n_bad)}
        assert len(shown(checked)) == min(n_bad, SHOWN_ROWS) <= 20


@by_rule
def test_rule_passes_without_rows(rule: Rule) -> None:
    assert judged(rule, {}) == Judged(0, [])


def test_inventory_of_far_too_little_ice() -> None:
    assert len(across.area_is_near_the_reference(tables(beside_reference([0.599]))).failures) == 1


def test_growth_is_judged_from_image_to_image() -> None:
    """In order of the dates, not of the names; RGI 7 takes its place among them."""
    frames = dated_areas([{"1995": 100.0, "2001": 110.0, "2005": 109.0, "2015": 116.0}])
    (failure,) = across.growth_is_small(tables(frames)).failures
    assert list(failure.rows["inventory"]) == ["rgi7", "2015"]
    assert list(failure.rows["inventory_before"]) == ["1995", "2005"]


def test_outline_shorter_than_a_circle() -> None:
    assert len(across.perimeter_is_possible(tables(perimeters([(0.99, 1)]))).failures) == 1


def test_year_without_all_its_months() -> None:
    frames = annual_means([("calendar", 0.0, 11), ("calendar", 0.0, 0)])
    found = across.annual_is_mean_of_months(tables(frames))
    assert [len(failure.rows) for failure in found.failures] == [2]


# --- checks of every table --------------------------------------------------------------------------------------------


def damaged(model: type[Table], **values: Any) -> pd.DataFrame:
    """Five valid rows of which the first two get other values."""
    n = 5
    key = {"glacier_id": [f"g{i}" for i in range(n)], "year": range(2001, 2001 + n)}
    names = {c.name for c in model.columns()}
    frame = rows(model, [{name: own[i] for name, own in key.items() if name in names} for i in range(n)])
    for name, value in values.items():
        frame[name] = [value, value, *frame[name][2:]]
    return model.conform(frame)


@pytest.mark.parametrize(
    ("model", "values", "rule", "n_failed"),
    [
        (Area, {"area_km2": 25001.0}, "area_km2 is 0.01 to 25000 km2", 2),
        (Area, {"area_km2": None}, "area_km2 is never missing", 2),
        (TemperatureMonthly, {"t2m_c": 263.0}, "t2m_c is -50 to 20 degC", 2),
        (TemperatureMonthly, {"status": "draft"}, "status is one of preliminary, final", 2),
        (MassBalance, {"annual_balance_m_we": -796.0}, "annual_balance_m_we is -6 to 5 m w.e.", 2),
        (MassBalance, {"glacier_id": "g2", "year": 2003}, "key (glacier_id, year, origin) is unique", 3),
        (Thickness, {"thickness_m": 801.0}, "thickness_m is 1 to 800 m", 2),
        (Volume, {"volume_km3": 10001.0}, "volume_km3 is 0.0001 to 10000 km3", 2),
        (Thickness, {"sea_level_mm": 31.0}, "sea_level_mm is 0 to 30 mm", 2),
        (Area, {"area_sigma_km2": 0.0}, "area_sigma_km2 is above 0 km2", 2),
        (Area, {"area_sigma_km2": 0.5, "area_km2": 0.5}, "area_sigma_km2 is below area_km2", 2),
        (AreaChange, {"rate_pct_yr": 5.1, "years": 5.0}, "rate_pct_yr is -10 to 5 %/yr over five years and more", 2),
        (TemperatureMonthly, {"t2m_c": 0.0, "t2m_adjusted_c": -15.1}, "t2m_adjusted_c is within 15 K of t2m_c", 2),
        (
            Trend,
            {"variable": "t2m_c", "slope_per_decade": 4.1},
            "the slope of a temperature is -3 to 4 K per decade",
            2,
        ),
        (MassBalance, {"annual_balance_sigma_m_we": 0.0}, "annual_balance_sigma_m_we is above 0, at most 5 m w.e.", 2),
        (TemperatureAnnual, {"n_months": 2}, "n_months is 3 to 12", 2),
        (Outline, {"source_ids": None}, "source_ids is never missing", 2),
    ],
)
def test_fits_model(model: type[Table], values: Record, rule: str, n_failed: int) -> None:
    frame = damaged(model, **values)
    found = evidence(Judged(len(frame), violations(model, frame)), severity=ERROR)
    assert not found.passed and found.severity == ERROR
    assert numbers(found) == (5, n_failed)
    assert rule in str(found.metadata["rules broken"].value)


def test_row_that_breaks_two_rules_is_one_row() -> None:
    frame = damaged(Area, area_km2=99999.0, perimeter_km=0.0)
    broken = violations(Area, frame)
    assert {failure.column for failure in broken} == {"area_km2", "perimeter_km"}
    assert numbers(evidence(Judged(len(frame), broken))) == (5, 2)


@pytest.mark.parametrize(
    ("model", "values", "rule"),
    [
        (Outline, {"link_overlap": 0.8}, "link_overlap is expected within at least 0.9"),
        (Thickness, {"thickness_max_m": 1200.0}, "thickness_max_m is expected within at most 1000 m"),
        (MassBalance, {"annual_balance_m_we": -4.5}, "annual_balance_m_we is expected within -4 to 3.6 m w.e."),
        (AreaChange, {"rate_pct_yr": 0.6}, "rate_pct_yr is expected within -3 to 0.5 %/yr"),
        (MassBalance, {"winter_balance_m_we": -0.1}, "winter_balance_m_we is expected within 0 to 5 m w.e."),
    ],
)
def test_within_expected_ranges(model: type[Table], values: Record, rule: str) -> None:
    usual = {"annual_balance_m_we": 0.0, "volume_km3": 1.0}
    frame = damaged(model, **values)
    for name, value in usual.items():
        if name in frame:
            frame.loc[2 if name in values else 0 :, name] = value
    assert violations(model, frame) == []
    found = evidence(Judged(len(frame), soft_violations(model, frame)))
    assert numbers(found) == (5, 2)
    assert str(found.metadata["rules broken"].value).startswith(rule)


@pytest.mark.parametrize("n_bad", [0, 1, 25])
@pytest.mark.parametrize("how", [["unknown"], ["known", "unknown"], [], ["no licence"], ["no citation"]], ids=str)
def test_every_row_has_its_source(how: list[str], n_bad: int) -> None:
    archived = sources(
        {"source_id": "known"},
        {"source_id": "no licence", "licence": ""},
        {"source_id": "no citation", "citation": ""},
    )
    own = [how] * n_bad + [["known"]] * 2
    frame = rows(Area, [{"glacier_id": name, "source_ids": ids} for name, ids in named(own)])
    found = evidence(of_tables.sources_are_known(Area, frame, archived))
    assert found.passed == (n_bad == 0)
    assert numbers(found) == (n_bad + 2, n_bad)
    if n_bad:
        assert len(shown(found)) == min(n_bad, SHOWN_ROWS)


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model.table())
def test_every_quantity_of_every_table_has_an_uncertainty_or_says_why_not(model: type[Table]) -> None:
    quantities = [c for c in model.columns() if c.is_quantity]
    assert [c.name for c in quantities if not c.uncertainty] == []
    assert without_uncertainty(model, model.no_rows()) == []


def test_numbers_without_an_uncertainty_are_these() -> None:
    """Whoever adds one decides it here."""
    of_sources = {
        "outline.member_area_km2",
        "outline.zmean_m",
        "area.rgi_area_km2",
        "thickness.ice_area_km2",
        "thickness.coverage_fraction",
        "velocity.length_km",
        "mass_balance.reference_area_km2",
        "balance_period.reference_area_km2",
    }
    not_estimated = {
        "outline.debris_km2",
        "area.perimeter_km",
        "area.perimeter_outer_km",
        "area.perimeter_islands_km",
        "outline.growth_km2",
        "thickness.thickness_max_m",
    }
    for why, names in ((NoUncertainty.NOT_GIVEN, of_sources), (NoUncertainty.NOT_ESTIMATED, not_estimated)):
        assert {f"{m.table()}.{c.name}" for m in TABLES for c in m.columns() if c.no_uncertainty is why} == names


@pytest.mark.parametrize("model", TABLES, ids=lambda model: model.table())
def test_no_sigma_can_be_0_where_that_says_exact(model: type[Table]) -> None:
    may_be_0 = {
        "assumed_sigma_km2",  # all was seen, or drawn
        "area_repeatability_km2",  # two editors may draw the same area
        "change_sigma_km2", "change_sigma_independent_km2", "change_bound_km2", "rate_sigma_km2_yr",
        "rate_sigma_pct_yr",  # no part of the boundary is free to move
        "degree_days_sigma_k_d",  # it never thaws
        "melt_factor_sigma_kg_m2_d_k", "precipitation_factor_sigma",  # a parameter at its limit
        "thickness_sigma_low_m", "thickness_sigma_high_m",  # limits of thickness_sigma_m
        "record_relative_sigma",  # a band
    }  # fmt: skip
    for c in model.columns():
        if "_sigma_" in c.name and c.name not in may_be_0 and c.type is float:
            assert c.positive, c.name


def test_a_number_without_its_uncertainty_is_found() -> None:
    """One of five balances lacks its sigma, another has no origin; there is no word that excuses it."""
    record = {"balance_gt_yr": -0.5, "balance_sigma_gt_yr": 0.1, "sigma_kind": "published", "origin": "literature"}
    frame = rows(BalancePeriod, [{"glacier_id": f"g{i}", **record} for i in range(5)])
    assert without_uncertainty(BalancePeriod, frame) == []
    frame.loc[1, "balance_sigma_gt_yr"] = np.nan
    frame.loc[3, "origin"] = ""
    found = evidence(Judged(len(frame), without_uncertainty(BalancePeriod, frame)), severity=ERROR)
    assert not found.passed and numbers(found) == (5, 2)
    assert {row["glacier_id"] for row in shown(found)} == {"g1", "g3"}
    for word in ("not_given", "assumed"):
        frame["sigma_kind"] = word
        assert len(without_uncertainty(BalancePeriod, frame)) == 2


def test_a_quantity_whose_model_says_nothing_is_found() -> None:
    class Bare(Table):
        class Config:
            name = "bare"
            metadata: ClassVar = {"grain": "none", "origin": "derived"}

        depth_m: float = column("Depth", unit="m")
        n_points: int = column("Number of points", unit="1", uncertainty=NoUncertainty.COUNT)

    frame = rows(Bare, [{"depth_m": 1.0}, {"depth_m": 2.0}])
    found = without_uncertainty(Bare, frame)
    assert [(f.column, len(f.rows)) for f in found] == [("depth_m", 2)]


@pytest.mark.parametrize("words", ["not known", "depth_sigma_m times 2", "depth_m"])
def test_words_are_no_uncertainty(words: str) -> None:
    class Told(Table):
        class Config:
            name = "told"
            metadata: ClassVar = {"grain": "none", "origin": "derived"}

        depth_m: float = column("Depth", unit="m", uncertainty=words)
        depth_sigma_m: float = column("Its uncertainty", unit="m")

    with pytest.raises(TableError, match="uncertainty of depth_m is in no column"):
        Told.columns()


def test_no_glacier_is_missing() -> None:
    registry = glaciers.load()
    reason = "no RGI7 outlines of region 08 in the archive"
    silent = gaps({"asset": "derived/area", "partition": "engabreen|rgi7", "reason": reason})
    frame = rows(Area, [{"glacier_id": name} for name in registry.ids if name not in ("engabreen", "taku")])
    found = evidence(of_tables.no_glacier_is_missing(frame, registry, silent))
    assert numbers(found) == (16, 2)
    assert {row["glacier_id"]: row["reason"] for row in shown(found)} == {
        "taku": "not materialised",
        "engabreen": reason,
    }
    assert of_tables.no_glacier_is_missing(rows(Area, [{"glacier_id": n} for n in registry.ids]), registry, silent) == (
        Judged(16, [])
    )


def test_at_most_20_rows_are_shown_of_several_rules() -> None:
    frame = pd.DataFrame({"glacier_id": [f"g{i}" for i in range(15)]})
    failures = [
        Failure("one", "glacier_id", frame),
        Failure("other", "glacier_id", frame.set_index(frame.index + 15)),
    ]
    found = evidence(Judged(100, failures))
    assert numbers(found) == (100, 30)
    assert len(shown(found)) == 20


# --- in Dagster -------------------------------------------------------------------------------------------------------


def run_checks(found: Platform, **tags: str) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
    """The checks of all tables: all checks, and no asset, in a run with these tags."""
    everything = dg.define_asset_job("all_checks", selection=dg.AssetSelection.all_asset_checks())
    defs = dg.Definitions.merge(build_defs(found.current), dg.Definitions(jobs=[everything]))
    with found.instance() as instance:
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        done = defs.resolve_job_def("all_checks").execute_in_process(instance=instance, run_config=quiet, tags=tags)
        assert not done.get_asset_materialization_events()
        evaluations = [c for c in done.get_asset_check_evaluations() if c.asset_key.path[0] == "derived"]
        return {(c.asset_key.path[-1], c.check_name): c for c in evaluations}


def tamper(found: Platform, *statements: str) -> None:
    with found.warehouse.get_connection() as connection:
        for statement in statements:
            connection.execute(statement)


KNOWN_WARNINGS = {
    ("balance_period", "no_glacier_is_missing"),  # nothing is published of one of the three
    ("trend", "no_glacier_is_missing"),  # two years are no trend
}


def test_all_checks_pass_on_what_was_built(built: Platform) -> None:
    found = run_checks(built)
    assert len(found) == len(RULES) + 5 * len(TABLES)
    failed = {key for key, check in found.items() if not check.passed}
    assert failed == KNOWN_WARNINGS and all(found[key].severity == WARN for key in failed)
    for model in TABLES:
        assert numbers(found[model.table(), "fits_model"]) == (len(built.rows(model)), 0)


def test_what_was_changed_by_hand_is_found(built: Platform) -> None:
    n_months, n_balances = len(built.rows(TemperatureMonthly)), len(built.rows(MassBalance))
    tamper(
        built,
        "UPDATE derived.area SET area_km2 = 99999 WHERE glacier_id = 'engabreen' AND inventory = 'rgi7'",
        "UPDATE derived.temperature_monthly SET t2m_c = t2m_c + 273.15, t2m_adjusted_c = NULL WHERE month < '2019-08'",
        "UPDATE derived.thickness SET coverage_fraction = 0.5 WHERE glacier_id = 'geitlandsjokull'",
        "DELETE FROM derived.volume WHERE glacier_id = 'engabreen'",
        "DELETE FROM provenance.source_object WHERE provider = 'wgms'",
    )
    found = run_checks(built)
    failed = {key: check for key, check in found.items() if not check.passed}
    expected = {
        ("area", "fits_model"): (ERROR, 18, 1),
        ("area", "agrees_with_rgi"): (WARN, 3, 1),
        ("area", "perimeter_is_possible"): (WARN, 18, 1),
        ("temperature_monthly", "fits_model"): (ERROR, n_months, 21),
        ("temperature_annual", "is_mean_of_months"): (WARN, 6, 3),
        ("thickness", "covers_the_glacier"): (WARN, 9, 3),
        ("volume", "no_glacier_is_missing"): (WARN, 3, 1),
        ("mass_balance", "every_row_has_its_source"): (ERROR, n_balances, n_balances),
    }
    for key, (severity, n_checked, n_failed) in expected.items():
        assert (failed[key].severity, *numbers(failed[key])) == (severity, n_checked, n_failed), key
        assert failed[key].metadata["what to do"].value, key
    by_consequence = {
        ("area", "is_near_the_reference"),  # of Engabreen's area, as the next two
        ("area", "growth_is_small"),
        ("mass_balance", "reference_area_agrees"),
        ("balance_period", "every_row_has_its_source"),  # of WGMS
        ("balance_model", "every_row_has_its_source"),
    }
    assert failed.keys() - by_consequence - KNOWN_WARNINGS == expected.keys()
    assert len(shown(failed["temperature_monthly", "fits_model"])) == 20


def test_numbers_without_an_uncertainty_fail_in_dagster(built: Platform) -> None:
    """Acceptance: an ERROR check that shows the rows, whatever their sigma_kind says."""
    tamper(
        built,
        "UPDATE derived.balance_period SET balance_sigma_gt_yr = NULL WHERE glacier_id = 'engabreen'",
        "UPDATE derived.mass_balance SET winter_balance_sigma_m_we = NULL WHERE winter_balance_m_we IS NOT NULL",
        "UPDATE derived.area SET origin = '' WHERE inventory = 'rgi7'",
        "UPDATE derived.temperature_annual SET t2m_sigma_c = 0 WHERE kind = 'calendar'",
    )
    n_periods = int((built.rows(BalancePeriod)["glacier_id"] == "engabreen").sum())
    n_winters = int(built.rows(MassBalance)["winter_balance_m_we"].notna().sum())
    assert n_periods and n_winters
    found = run_checks(built)
    failed = {key: check for key, check in found.items() if not check.passed and check.severity == ERROR}
    name = "every_number_has_its_uncertainty"
    assert {key: numbers(check)[1] for key, check in failed.items()} == {
        ("balance_period", name): n_periods,
        ("mass_balance", name): n_winters,
        ("area", name): 3,
        ("temperature_annual", "fits_model"): 6,
    }
    assert {row["glacier_id"] for row in shown(failed["balance_period", name])} == {"engabreen"}
    assert "balance_sigma_gt_yr is there where balance_gt_yr is" in str(
        failed["balance_period", name].metadata["rules broken"].value
    )


def test_a_run_of_one_partition_judges_the_table_as_it_is_now(built: Platform) -> None:
    """Dagster shows a check only while it is one of the newest materialization, of whichever partition that is."""
    for glacier in ("engabreen", "geitlandsjokull"):
        assert built.build("derived/temperature_monthly", Extent(glaciers=(glacier,))).is_good
    with built.instance() as instance:
        record = instance.get_asset_records([dg.AssetKey(["derived", "temperature_monthly"])])[0]
    latest = record.asset_entry.last_materialization_record
    assert latest and latest.partition_key and latest.partition_key.startswith("geitlandsjokull")
    found = run_checks(built, **{"dagster/partition": "engabreen|2019-07"})
    of_table = [check for (table, _), check in found.items() if table == "temperature_monthly"]
    assert {c.target_materialization_data.storage_id for c in of_table if c.target_materialization_data} == {
        latest.storage_id
    }
    assert all(check.target_materialization_data for check in found.values())


def test_error_of_another_partition_makes_a_build_fail_until_it_is_made_again(built: Platform) -> None:
    before = built.tables()["area"]
    tamper(built, "UPDATE derived.area SET area_km2 = 99999 WHERE glacier_id = 'engabreen'")
    outcome = built.build("derived/area", Extent(glaciers=("geitlandsjokull",)))
    assert not outcome.is_good
    assert outcome.failed == {}
    assert ("derived/area", "fits_model", "ERROR") in outcome.failed_checks

    assert built.build("derived/area", Extent(glaciers=("engabreen",))).is_good
    pd.testing.assert_frame_equal(built.tables()["area"], before, check_exact=True)


def test_warning_alone_does_not_make_a_build_fail(built: Platform) -> None:
    tamper(built, "DELETE FROM derived.area WHERE glacier_id = 'engabreen'")
    outcome = built.build("derived/area", Extent(glaciers=("geitlandsjokull",)))
    assert outcome.is_good
    assert ("derived/area", "no_glacier_is_missing", "WARN") in outcome.failed_checks
