"""The whole SYNTHETIC sample through the whole graph: what comes out is what was put in.

Here: reference outlines, the consensus thickness, temperature, the mark SYNTHETIC, what is missing. Dated outlines and
what follows from them: `test_sample_truth_outlines`; velocity, mass balance, trends: `test_sample_truth_series`.
"""

from __future__ import annotations

import calendar
import math

import numpy as np
import openpyxl
import pandas as pd
import pyarrow.parquet as pq
import pytest

from arctic_assets.provenance import SYNTHETIC
from arctic_assets.publish.coverage import NO_RECORD
from arctic_assets.sample import GlacierTruth, Truth
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import (
    TABLES,
    Area,
    MassBalance,
    Outline,
    Table,
    TemperatureAnnual,
    TemperatureMonthly,
    Thickness,
    Volume,
)
from arctic_assets_tests.testkit.platform import Platform

ASSUMED_SIGMA_M_WE = 0.34
ARCHIPELAGO = "novaya_zemlya"


@pytest.fixture(scope="module")
def truth(whole_sample: Platform) -> Truth:
    return Truth.read(whole_sample.current.sample)


def per_glacier(whole_sample: Platform, model: type[Table], truth: Truth) -> list[tuple[str, pd.Series, GlacierTruth]]:
    """The one row of each glacier in the reference inventory and the consensus, beside what was put in."""
    frame = whole_sample.rows(model)
    if "inventory" in frame:
        frame = frame[frame["inventory"] == "rgi7"]
    if "product" in frame:
        frame = frame[frame["product"] == "farinotti2019"]
    assert list(frame["glacier_id"]) == sorted(truth.glaciers)
    return [(row["glacier_id"], row, truth.glaciers[row["glacier_id"]]) for _, row in frame.iterrows()]


def test_there_are_sixteen_glaciers(whole_sample: Platform, truth: Truth) -> None:
    assert len(truth.glaciers) == 16
    assert set(truth.glaciers) == set(whole_sample.partitions.registry.ids)


def test_outlines(whole_sample: Platform, truth: Truth) -> None:
    for name, row, put_in in per_glacier(whole_sample, Outline, truth):
        assert tuple(row["member_ids"]) == put_in.rgi7_ids, name
        assert row["n_members"] == put_in.n_members, name
        assert row["member_area_km2"] == pytest.approx(put_in.area_km2, rel=1e-6), name
        assert row["zmean_m"] == pytest.approx(put_in.zmean_m, abs=1e-3), name
        weights = dict(zip(row["rgi6_ids"], row["rgi6_weights"], strict=True))
        assert weights == pytest.approx(dict(put_in.rgi6_weights), abs=1e-6), name


def test_areas_and_perimeters(whole_sample: Platform, truth: Truth) -> None:
    for name, row, put_in in per_glacier(whole_sample, Area, truth):
        assert row["area_km2"] == pytest.approx(put_in.area_km2, rel=1e-3), name
        assert row["rgi_area_km2"] == pytest.approx(put_in.area_km2, rel=1e-3), name
        assert row["perimeter_outer_km"] == pytest.approx(put_in.perimeter_outer_km, rel=1e-3), name
        assert row["perimeter_islands_km"] == pytest.approx(put_in.perimeter_islands_km, rel=1e-3), name
        assert row["perimeter_km"] == pytest.approx(row["perimeter_outer_km"] + row["perimeter_islands_km"]), name
        assert row["n_islands"] == put_in.n_islands, name
        assert row["area_bound_km2"] == pytest.approx(row["perimeter_km"] * row["half_pixel_m"] / 1000), name
        assert 0 < row["area_sigma_km2"] <= row["area_bound_km2"], name


def test_rock_islands_are_in_the_sample(truth: Truth) -> None:
    """Else their count would be true of outlines whose islands were lost."""
    assert sum(put_in.n_islands > 0 for put_in in truth.glaciers.values()) >= 10


def test_thickness(whole_sample: Platform, truth: Truth) -> None:
    for name, row, put_in in per_glacier(whole_sample, Thickness, truth):
        assert row["volume_km3"] == pytest.approx(put_in.volume_km3, rel=1e-3), name
        assert row["ice_area_km2"] == pytest.approx(put_in.ice_area_km2, rel=1e-3), name
        assert row["thickness_m"] == pytest.approx(put_in.thickness_mean_m, rel=1e-3), name
        assert row["thickness_max_m"] == pytest.approx(put_in.thickness_max_m, rel=1e-3), name
        assert row["coverage_fraction"] == pytest.approx(put_in.ice_area_km2 / put_in.area_km2, rel=1e-3), name
        band = 0.3 if put_in.thickness_mean_m > 100 else 0.5
        assert row["thickness_sigma_m"] == pytest.approx(band * row["thickness_m"]), name
        assert row["volume_sigma_km3"] == pytest.approx(band * row["volume_km3"]), name
        assert row["mass_gt"] == pytest.approx(put_in.volume_km3 * row["density_kg_m3"] / 1000, rel=1e-3), name


def test_thickness_takes_only_the_share_of_a_raster_that_lies_in_the_glacier(truth: Truth) -> None:
    """Glaciers in the sample must have such rasters, or weights that are left out would not show."""
    shared = {
        name: put_in.volume_km3 / sum(put_in.rgi6_volume_km3.values())
        for name, put_in in truth.glaciers.items()
        if min(put_in.rgi6_weights.values()) < 0.99
    }
    assert len(shared) >= 2
    assert min(shared.values()) < 0.97


def test_volume(whole_sample: Platform, truth: Truth) -> None:
    for name, row, put_in in per_glacier(whole_sample, Volume, truth):
        assert row["volume_km3"] == pytest.approx(put_in.thickness_mean_m * put_in.area_km2 / 1000, rel=2e-3), name
        assert row["volume_sigma_km3"] > 0.3 * row["volume_km3"] * 0.99, name
        assert row["static_thickness"], name


def test_observed_mass_balance(whole_sample: Platform, truth: Truth) -> None:
    frame = whole_sample.rows(MassBalance).query("origin == 'observed'")
    first = whole_sample.current.start_year
    for name, put_in in truth.glaciers.items():
        own = frame[frame["glacier_id"] == name].set_index("year")
        wanted = {year: value for year, value in put_in.annual_balance_m_we.items() if year >= first}
        assert own["annual_balance_m_we"].to_dict() == pytest.approx(wanted, abs=1e-9), name
        for year, row in own.iterrows():
            sigma = put_in.annual_balance_sigma_m_we[int(str(year))]
            assert row["sigma_origin"] == ("assumed" if sigma is None else "reported"), (name, year)
            assert row["annual_balance_sigma_m_we"] == (ASSUMED_SIGMA_M_WE if sigma is None else sigma), (name, year)
    assert set(frame["sigma_origin"]) == {"assumed", "reported"}


def test_monthly_temperature(whole_sample: Platform, truth: Truth) -> None:
    """Within four standard errors of the sampling by points, and 0.002 K for meridians that narrow within a cell.

    The truth is that over the reference outline. In other years the outline of the nearest inventory is taken, which
    has lost or not yet lost a part: there the cells are warmer or colder than the mean by a kelvin at the most.
    """
    frame = whole_sample.rows(TemperatureMonthly).set_index(["glacier_id", "month"])
    areas = whole_sample.rows(Area).set_index(["glacier_id", "inventory"])["area_km2"]
    months = set(whole_sample.partitions.months.get_partition_keys())
    on_reference, on_land, weighted = [], set(), 0.0
    for name, put_in in truth.glaciers.items():
        for month in months & put_in.t2m.keys():
            sampled, row = put_in.t2m[month], frame.loc[(name, month)]
            moved = abs(areas[name, row["inventory"]] / areas[name, "rgi7"] - 1)
            tolerance = 4 * sampled.sampling_error_k + 0.002 + 1.0 * moved
            assert row["t2m_c"] == pytest.approx(sampled.t2m_c, abs=tolerance), (name, month)
            if not np.isnan(row["t2m_land_c"]):
                assert row["t2m_land_c"] == pytest.approx(sampled.t2m_land_c, abs=tolerance + 0.001), (name, month)
                on_land.add(name)
                weighted = max(weighted, abs(sampled.t2m_land_c - sampled.t2m_c) / tolerance)
            on_reference.append(row["inventory"] == "rgi7")
    assert len(on_reference) == len(frame) and sum(on_reference) >= 16
    assert len(on_land) >= 10 and weighted > 3, "else the plain mean would do"


def test_temperature_has_a_row_for_every_month_of_every_glacier(whole_sample: Platform, truth: Truth) -> None:
    frame = whole_sample.rows(TemperatureMonthly)
    months = whole_sample.partitions.months.get_partition_keys()
    assert months[-1] == truth.through
    assert len(frame) == 16 * len(months)
    assert set(frame["glacier_id"] + "|" + frame["month"]) == set(
        whole_sample.partitions.month_glaciers.get_partition_keys()
    )


def test_preliminary_months_are_flagged(whole_sample: Platform, truth: Truth) -> None:
    frame = whole_sample.rows(TemperatureMonthly)
    assert set(frame.loc[frame["status"] == "preliminary", "month"]) == set(truth.preliminary_months)
    assert set(frame.loc[frame["status"] == "final", "month"]).isdisjoint(truth.preliminary_months)


def test_glacier_smaller_than_a_cell_has_a_temperature(whole_sample: Platform, truth: Truth) -> None:
    """ERA5 cells are some hundred km2: a mask of cell centres would leave such glaciers empty."""
    frame = whole_sample.rows(TemperatureMonthly)
    small = frame[frame["n_cells"] == 1]
    assert {"west_gulkana", "yuri"} <= set(small["glacier_id"])
    assert (small["max_weight"] == 1).all()
    n_months = len(whole_sample.partitions.months.get_partition_keys())
    assert (small.groupby("glacier_id").size() == n_months).all()
    assert frame.loc[frame["glacier_id"] == ARCHIPELAGO, "n_cells"].min() > 100


def test_adjusted_temperature_is_that_at_the_glacier(whole_sample: Platform) -> None:
    frame = whole_sample.rows(TemperatureMonthly)
    zmean = whole_sample.rows(Outline).query("inventory == 'rgi7'").set_index("glacier_id")["zmean_m"]
    height_m = frame["glacier_id"].map(zmean) - frame["orography_m"]
    expected = frame["t2m_c"] - 0.0065 * height_m
    np.testing.assert_allclose(frame["t2m_adjusted_c"], expected, rtol=0, atol=1e-9)
    assert height_m.abs().max() > 100


def test_annual_temperature(whole_sample: Platform) -> None:
    """Means and degree days, computed again month by month."""
    monthly = whole_sample.rows(TemperatureMonthly)
    years: dict[tuple[str, int, str], list[tuple[int, float, float, str]]] = {}
    for row in monthly.itertuples():
        year, month = int(str(row.month)[:4]), int(str(row.month)[5:])
        days = calendar.monthrange(year, month)[1]
        facts = (days, row.t2m_c, row.t2m_adjusted_c, row.status)
        years.setdefault((row.glacier_id, year, "calendar"), []).append(facts)
        years.setdefault((row.glacier_id, year + (month >= 10), "balance_year"), []).append(facts)
    sigma = 4.5
    ended = {int(year) for year in whole_sample.partitions.years.get_partition_keys()}
    expected = {}
    for key, months in years.items():
        if len(months) == 12 and key[1] in ended:
            n_days = sum(days for days, *_ in months)
            degree_days = sum(
                days
                * (
                    sigma / math.sqrt(2 * math.pi) * math.exp(-(t**2) / (2 * sigma**2))
                    + t / 2 * math.erfc(-t / (math.sqrt(2) * sigma))
                )
                for days, t, *_ in months
            )
            mean = sum(days * t for days, t, *_ in months) / n_days
            adjusted = sum(days * t for days, _, t, _ in months) / n_days
            status = "preliminary" if any(status == "preliminary" for *_, status in months) else "final"
            expected[key] = (mean, adjusted, degree_days, status)
    annual = whole_sample.rows(TemperatureAnnual).query("kind in ['calendar', 'balance_year']")
    annual = annual.set_index(["glacier_id", "year", "kind"])
    assert {(str(g), int(y), str(k)) for g, y, k in annual.index} == expected.keys()
    got = annual.loc[list(expected)]
    columns = list(zip(*expected.values(), strict=True))
    np.testing.assert_allclose(got["t2m_c"], columns[0], rtol=0, atol=1e-9)
    np.testing.assert_allclose(got["t2m_adjusted_c"], columns[1], rtol=0, atol=1e-9)
    np.testing.assert_allclose(got["degree_days_k_d"], columns[2], rtol=1e-9)
    assert tuple(got["status"]) == columns[3]
    assert (got["n_months"] == 12).all()
    first = int(whole_sample.current.start_month[:4])
    assert {kind: int(own.min()) for kind, own in annual.reset_index().groupby("kind")["year"]} == {
        "calendar": first,
        "balance_year": first + 1,
    }


def test_annual_temperature_is_that_of_the_truth(whole_sample: Platform, truth: Truth) -> None:
    """Of years, balance years and seasons: means, means over land, degree days and their uncertainty.

    What the months may be off, years may; and degree days as many kelvins as they have days. The uncertainty of the
    degree days is what a temperature that is off by t2m_sigma_c in all months makes of them.
    """
    days = {m: calendar.monthrange(int(m[:4]), int(m[5:]))[1] for m in truth.glaciers[ARCHIPELAGO].t2m}
    starts = {"calendar": 1, "balance_year": -2, "djf": 0, "mam": 3, "jja": 6, "son": 9}
    areas = whole_sample.rows(Area).query("inventory != 'rgi7'")
    reference = areas["glacier_id"].map({name: put_in.area_km2 for name, put_in in truth.glaciers.items()})
    moved = (areas["area_km2"] / reference - 1).abs().groupby(areas["glacier_id"]).max()
    n_land = 0
    for row in whole_sample.rows(TemperatureAnnual).itertuples():
        first = 12 * int(row.year) + starts[str(row.kind)] - 1
        months = [f"{n // 12}-{n % 12 + 1:02d}" for n in range(first, first + int(row.n_months))]
        put = [truth.glaciers[str(row.glacier_id)].t2m[month] for month in months]
        length = np.array([days[month] for month in months])
        t = np.array([one.t2m_c for one in put])
        tolerance = 4 * max(one.sampling_error_k for one in put) + 0.002 + moved.get(row.glacier_id, 0.0)
        at = (row.glacier_id, row.year, row.kind)
        assert row.t2m_c == pytest.approx((t * length).sum() / length.sum(), abs=tolerance), at
        if not math.isnan(row.t2m_land_c):
            on_land = sum(one.t2m_land_c * n for one, n in zip(put, length, strict=True)) / length.sum()
            assert row.t2m_land_c == pytest.approx(on_land, abs=tolerance + 0.001), at
            n_land += 1
        assert row.degree_days_k_d == pytest.approx(degree_days(t, length), abs=tolerance * length.sum()), at
        warm, cold = (degree_days(t + sign * row.t2m_sigma_c, length) for sign in (1, -1))
        expected = (warm - cold) / 2
        # where the months are off, so is the share of their days on which it thaws: by at most 9 % per kelvin
        slack = 0.09 * tolerance * row.t2m_sigma_c * length.sum() + 1e-9
        assert row.degree_days_sigma_k_d == pytest.approx(expected, rel=0.02, abs=slack), at
    assert n_land > 1000


def degree_days(t2m_c: np.ndarray, days: np.ndarray) -> float:
    """Calov and Greve (2005), standard deviation 4.5 K, of months."""
    sigma = 4.5
    mean = sigma / np.sqrt(2 * np.pi) * np.exp(-(t2m_c**2) / (2 * sigma**2))
    thaw = np.array([math.erfc(-t / (math.sqrt(2) * sigma)) / 2 for t in t2m_c])
    return float((days * (mean + t2m_c * thaw)).sum())


# --- the mark SYNTHETIC -----------------------------------------------------------------------------------------------


def test_every_row_of_every_table_is_synthetic(whole_sample: Platform) -> None:
    for model in TABLES:
        frame = whole_sample.rows(model)
        assert len(frame), model.table()
        assert frame["is_synthetic"].all(), model.table()
    assert_all_but_the_literature_are_synthetic(whole_sample.warehouse.sources())


def assert_all_but_the_literature_are_synthetic(sources: pd.DataFrame) -> None:
    """Published balances come with the package; rows are SYNTHETIC by the areas that they are combined with."""
    assert list(sources.loc[~sources["is_synthetic"], "provider"]) == ["literature"]


def test_workbook_says_synthetic(whole_sample: Platform) -> None:
    book = openpyxl.load_workbook(whole_sample.current.exports / "latest/arctic_glacier_dataset.xlsx", read_only=True)
    assert next(book["README"].values)[0] == f"{SYNTHETIC}: NOT OBSERVATIONS"
    assert str(book.properties.title).startswith(f"{SYNTHETIC}: ")


def test_parquet_tables_say_synthetic_and_hold_the_rows(whole_sample: Platform) -> None:
    folder = whole_sample.current.exports / "latest"
    for model in TABLES:
        path = folder / f"tables/{model.table()}.parquet"
        metadata = pq.read_schema(path).metadata
        assert metadata[b"synthetic"] == SYNTHETIC.encode(), path
        assert metadata[b"title"].startswith(f"{SYNTHETIC}: ".encode()), path
        assert pq.read_metadata(path).num_rows == len(whole_sample.rows(model)), path
    assert pq.read_schema(folder / "coverage.parquet").metadata[b"synthetic"] == SYNTHETIC.encode()


def test_published_duckdb_says_synthetic_and_holds_the_rows(whole_sample: Platform) -> None:
    published = Warehouse(database=str(whole_sample.current.published))
    for model in TABLES:
        pd.testing.assert_frame_equal(published.rows(model), whole_sample.rows(model), check_exact=True)
        assert published.rows(model)["is_synthetic"].all()
    assert_all_but_the_literature_are_synthetic(published.sources())


# --- what is missing --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def coverage(whole_sample: Platform) -> pd.DataFrame:
    return pd.read_parquet(whole_sample.current.exports / "latest/coverage.parquet")


def test_coverage_gives_a_reason_for_all_that_is_missing(coverage: pd.DataFrame) -> None:
    absent = coverage[coverage["state"].isin(["missing", "partial"])]
    assert len(absent) > 400
    assert (absent["reason"] != "").all()
    assert not absent["reason"].str.contains(NO_RECORD, regex=False).any()
    assert (coverage.loc[~coverage.index.isin(absent.index), "reason"] == "").all()


@pytest.mark.parametrize(
    ("glacier", "variable", "year", "reason"),
    [
        (ARCHIPELAGO, "area", 1995, "no outline: no scene: a box 556 km wide"),
        (ARCHIPELAGO, "volume", 2015, "no outline: no scene: a box 556 km wide"),
        ("yuri", "velocity", 2010, "low_coverage: 0% of the centreline"),
        ("austre_broeggerbreen", "velocity", 1986, "no ITS_LIVE mosaic for region 07 in 1986"),
        ("taku", "velocity", 1984, "no ITS_LIVE mosaic"),
        ("taku", "temperature_monthly", 1984, "the monthly partitions begin in 1985-01"),
        ("taku", "temperature_annual", 1984, "the monthly partitions begin in 1985-01"),
    ],
)
def test_coverage_reasons(coverage: pd.DataFrame, glacier: str, variable: str, year: int, reason: str) -> None:
    rows = coverage.query("glacier_id == @glacier and variable == @variable and year == @year")
    assert list(rows["state"]) == ["missing"]
    assert reason in rows["reason"].item()


def test_coverage_agrees_with_the_tables(whole_sample: Platform, coverage: pd.DataFrame) -> None:
    """Years with an observed balance are present, those with a reconstruction or a model only are modelled."""
    balance = whole_sample.rows(MassBalance)
    own = coverage[coverage["variable"] == "mass_balance"]

    def pairs(frame: pd.DataFrame) -> set[tuple[str, int]]:
        return {(str(name), int(year)) for name, year in zip(frame["glacier_id"], frame["year"], strict=True)}

    observed = pairs(balance.query("origin == 'observed'"))
    assert pairs(own.query("state == 'present'")) == observed
    assert pairs(own.query("state == 'modelled'")) == pairs(balance) - observed
    last = whole_sample.partitions.years.get_partition_keys()[-1]
    assert coverage["year"].max() == int(last)
    assert set(coverage["variable"]) == {model.table() for model in TABLES} - {"outline"}
