"""Seasons, the mean over land, and months that were preliminary: from the files to the tables."""

from __future__ import annotations

import calendar
import math
from pathlib import Path

import netCDF4
import numpy as np
import pandas as pd
import pytest

from arctic_assets.assets.derived.temperature import _moves
from arctic_assets.automation.build import Extent
from arctic_assets.checks.across import Tables, final_is_near_preliminary
from arctic_assets.sample import Truth
from arctic_assets.sample.era5 import warming_k_per_decade
from arctic_assets.sources.era5 import DATASET
from arctic_assets.tables import TemperatureAnnual, TemperatureMonthly, Trend
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables

SEASONS = {"djf": (12, 1, 2), "mam": (3, 4, 5), "jja": (6, 7, 8), "son": (9, 10, 11)}
YEARS = Extent(start="2019-01", end="2020-12")
TEMPERATURE = 'key:"raw/era5" or key:"derived/temperature_monthly" or key:"derived/temperature_annual"'
ANNUAL = "derived/temperature_annual"
T2M = "era5/era5_monthly_t2m_1979-2020_08_scandinavia.nc"
GLACIER = "engabreen"


def monthly(found: Platform) -> pd.DataFrame:
    return found.rows(TemperatureMonthly).set_index(["glacier_id", "month"])


def annual(found: Platform) -> pd.DataFrame:
    return found.rows(TemperatureAnnual).set_index(["glacier_id", "year", "kind"])


def keep_months(found: Platform, *months: str) -> None:
    """Leave only these months of a glacier in the warehouse, and make its years again."""
    with found.warehouse.get_connection() as connection:
        connection.execute(
            f"DELETE FROM derived.temperature_monthly WHERE glacier_id = '{GLACIER}' AND month NOT IN {months}"
        )
    assert found.build(ANNUAL, Extent((GLACIER,), "2019-01", "2020-12")).is_good


def annual_gaps(found: Platform) -> dict[str, str]:
    gaps = found.warehouse.gaps(ANNUAL)
    return dict(zip(gaps["partition"], gaps["reason"], strict=True))


# --- seasons ----------------------------------------------------------------------------------------------------------


def test_seasons_are_the_means_of_their_three_months(small_home: Platform) -> None:
    """Means and degree days, computed again month by month, of both summers and the one whole winter."""
    months, seasons = monthly(small_home), annual(small_home).query("kind in @SEASONS")
    expected = {(year, kind) for year in (2019, 2020) for kind in SEASONS} - {(2019, "djf")}
    for glacier_id in small_home.partitions.registry.ids:
        assert {(int(y), k) for y, k in seasons.loc[glacier_id].index} == expected
        for year, kind in expected:
            row = seasons.loc[glacier_id, year, kind]
            own = [(year - (m == 12), m) for m in SEASONS[kind]]
            days = [calendar.monthrange(y, m)[1] for y, m in own]
            values = months.loc[[(glacier_id, f"{y}-{m:02d}") for y, m in own]]
            assert row["n_months"] == 3 and sum(days) in (90, 91, 92)
            for name in ("t2m_c", "t2m_adjusted_c"):
                mean = sum(d * t for d, t in zip(days, values[name], strict=True)) / sum(days)
                assert row[name] == pytest.approx(mean, abs=1e-9), (glacier_id, year, kind, name)
            sigma = 4.5
            degree_days = sum(
                d * (sigma / math.sqrt(2 * math.pi) * math.exp(-((t / sigma) ** 2) / 2))
                + d * t / 2 * math.erfc(-t / (math.sqrt(2) * sigma))
                for d, t in zip(days, values["t2m_c"], strict=True)
            )
            assert row["degree_days_k_d"] == pytest.approx(degree_days, rel=1e-9)
            assert row["status"] == ("preliminary" if (year, kind) == (2020, "son") else "final")
            assert set(row["source_ids"]) == {one for ids in values["source_ids"] for one in ids}


def test_mean_over_land_of_years_and_seasons(small_home: Platform) -> None:
    months, years = monthly(small_home), annual(small_home)
    land = months["t2m_land_c"].notna().groupby("glacier_id").all()
    assert land.any(), "else nothing is compared"
    for glacier_id, has_land in land.items():
        own = years.loc[glacier_id]
        assert own["t2m_land_c"].notna().eq(has_land).all()
        if has_land:
            days = [calendar.monthrange(2020, m)[1] for m in range(1, 13)]
            values = months.loc[[(glacier_id, f"2020-{m:02d}") for m in range(1, 13)], "t2m_land_c"]
            mean = sum(d * t for d, t in zip(days, values, strict=True)) / 366
            assert own.loc[(2020, "calendar"), "t2m_land_c"] == pytest.approx(mean, abs=1e-9)


def test_a_year_with_some_seasons_is_no_gap(built: Platform) -> None:
    keep_months(built, "2019-06", "2019-07", "2019-08", "2019-12", "2020-01", "2020-02", "2020-03")
    years = annual(built).loc[GLACIER]
    assert list(years.index) == [(2019, "jja"), (2020, "djf")]
    assert {f"{GLACIER}|2019", f"{GLACIER}|2020"}.isdisjoint(annual_gaps(built))


def test_a_year_without_a_season_is_a_gap_that_says_so(built: Platform) -> None:
    keep_months(built, "2019-01", "2019-02", "2019-06", "2019-07", "2020-06", "2020-07", "2020-08")
    assert list(annual(built).loc[GLACIER].index) == [(2020, "jja")]
    gaps = annual_gaps(built)
    reason = "no season is whole, 4 of 12 months are there: derived/temperature_monthly is not materialised"
    assert gaps[f"{GLACIER}|2019"] == reason
    assert f"{GLACIER}|2020" not in gaps


def test_trend_of_summers(whole_sample: Platform) -> None:
    """Summers warm more slowly than the year in the sample; weather is shared, so one glacier in 16 may miss it."""
    trends = whole_sample.rows(Trend).set_index(["variable", "glacier_id"])
    rows, put_in = trends.loc["t2m_jja_c"], warming_k_per_decade([5, 6, 7])
    assert put_in < 0.8 * warming_k_per_decade(range(12))
    assert len(rows) == 16 and set(rows["unit"]) == {"degC per decade"}
    assert ((rows["slope_low"] <= put_in) & (put_in <= rows["slope_high"])).sum() >= 15
    assert (rows["slope_per_decade"] < trends.loc["t2m_c", "slope_per_decade"]).sum() >= 15


# --- preliminary and final --------------------------------------------------------------------------------------------


def test_preliminary_values_stand_beside_the_final_ones(small_home: Platform) -> None:
    """Three months are held as both, and differ by what the sample put in; the last three are preliminary still."""
    truth = Truth.read(Path(small_home.current.mirror))
    frame = small_home.rows(TemperatureMonthly)
    both = frame[frame["t2m_preliminary_c"].notna()]
    assert (both["status"] == "final").all()
    assert both.groupby("month").size().to_dict() == dict.fromkeys(truth.preliminary_moves_k, 3)
    put_in = both["month"].map(truth.preliminary_moves_k)
    np.testing.assert_allclose(both["t2m_c"] - both["t2m_preliminary_c"], put_in, rtol=0, atol=1e-9)
    is_former = frame["source_ids"].map(lambda ids: any(DATASET in one for one in ids))
    assert set(frame.index[is_former]) == set(both.index)
    assert set(frame.loc[frame["status"] == "preliminary", "month"]) == set(truth.preliminary_months)
    assert final_is_near_preliminary(Tables(small_home.rows, small_home.partitions.registry)) == (9, [])


def moved(path: Path, kelvin: float) -> None:
    """As when the provider puts a later version in place: all months final, the last three warmer."""
    with netCDF4.Dataset(path, "a") as file:
        file["expver"][-3:] = np.array(["0001"] * 3, dtype=object)
        file["t2m"][-3:] = file["t2m"][-3:] + np.float32(kelvin)


def test_file_replaced_in_place_leaves_its_preliminary_values(built: Platform) -> None:
    last = ["2020-10", "2020-11", "2020-12"]
    before = monthly(built).loc[GLACIER]
    moved(Path(built.current.mirror) / T2M, 0.25)
    assert built.build(TEMPERATURE, YEARS).is_good

    after = monthly(built).loc[GLACIER]
    assert (after.loc[last, "status"] == "final").all()
    assert list(after.loc[last, "t2m_preliminary_c"]) == list(before.loc[last, "t2m_c"])
    np.testing.assert_allclose(after.loc[last, "t2m_c"], before.loc[last, "t2m_c"] + 0.25, rtol=0, atol=1e-4)
    untouched = [month for month in before.index if month not in last]
    assert list(after.loc[untouched, "t2m_c"]) == list(before.loc[untouched, "t2m_c"])
    pd.testing.assert_series_equal(
        after.loc[untouched, "t2m_preliminary_c"], before.loc[untouched, "t2m_preliminary_c"], check_exact=True
    )
    history = built.warehouse.query(
        f"SELECT month, t2m_c FROM history.temperature_monthly WHERE glacier_id = '{GLACIER}' "
        "AND status = 'preliminary' ORDER BY month"
    )
    assert list(history["month"]) == last and list(history["t2m_c"]) == list(before.loc[last, "t2m_c"])

    judged = final_is_near_preliminary(Tables(built.rows, built.partitions.registry))
    assert judged.n_checked == 9 + 3
    (failure,) = judged.failures
    assert list(failure.rows["glacier_id"]) == [GLACIER] * 3 and list(failure.rows["month"]) == last
    np.testing.assert_allclose(failure.rows["move_k"], 0.25, rtol=0, atol=1e-4)


def test_moves_of_months_that_turn_final() -> None:
    def rows(*given: tuple[str, str, str, float]) -> pd.DataFrame:
        return pd.DataFrame(given, columns=["glacier_id", "month", "status", "t2m_c"])

    held = rows(
        *(("a", f"2020-0{month}", "preliminary", -1.0) for month in (1, 2, 3, 4)), ("a", "2019-01", "final", 0.0)
    )
    final = [("a", "2020-01", "final", -1.0), ("a", "2020-02", "final", -1.3), ("a", "2020-03", "final", -0.9)]
    others = [("a", "2020-04", "preliminary", 5.0), ("a", "2019-01", "final", 9.0), ("b", "2020-01", "final", 9.0)]
    assert _moves(held, rows(*final, *others)) == {
        "months that turned final": 3,
        "months that moved": 2,
        "mean move (K)": pytest.approx(-0.2 / 3, abs=1e-4),
        "largest move (K)": -0.3,
    }
    assert _moves(held, rows(*others)) == {}
    assert _moves(TemperatureMonthly.no_rows(), TemperatureMonthly.no_rows()) == {}


def test_preliminary_values_come_from_the_archive_alone(built: Platform) -> None:
    """A warehouse that is lost and made again has the same tables, and knows the files that were replaced."""
    moved(Path(built.current.mirror) / T2M, 0.25)
    assert built.build(TEMPERATURE, YEARS).is_good
    before = built.tables()
    for file in built.current.home.glob("*.duckdb"):
        file.unlink()
    assert built.build(f'+key:"{ANNUAL}"', YEARS).is_good
    after = built.tables()
    names = ("temperature_monthly", "temperature_annual")
    assert_same_tables({name: before[name] for name in names}, {name: after[name] for name in names})
    known = set(built.warehouse.sources()["source_id"])
    named = {one for ids in after["temperature_monthly"]["source_ids"] for one in ids if one.startswith("era5/")}
    assert len(named) == 3 * 3 + 1 and known.issuperset(named), "per region all months, invariants, three as they were"
