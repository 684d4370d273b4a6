"""The real mirror, from provider files to tables and exports."""

from __future__ import annotations

import pandas as pd
import pytest

from arctic_assets.tables import Area, MassBalance, Outline, TemperatureMonthly, Thickness
from arctic_assets_tests.testkit.platform import Platform, needs_shared

pytestmark = needs_shared


def _of(frame: pd.DataFrame, glacier: str, **where: object) -> pd.Series:
    for name, value in {"glacier_id": glacier, **where}.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def test_hintereisferner_area(real: Platform) -> None:
    row = _of(real.rows(Area), "hintereisferner", inventory="rgi7")
    assert row["area_km2"] == pytest.approx(8.0362, abs=5e-5)
    assert row["perimeter_km"] == pytest.approx(35.945, abs=5e-4)
    assert row["perimeter_outer_km"] == pytest.approx(34.205, abs=5e-4)
    assert row["perimeter_islands_km"] == pytest.approx(1.740, abs=5e-4)
    assert row["n_islands"] == 5
    assert row["area_bound_km2"] == pytest.approx(0.5392, abs=5e-5)
    assert 0 < row["area_sigma_km2"] < row["area_bound_km2"]


def test_hintereisferner_temperature(real: Platform) -> None:
    frame = real.rows(TemperatureMonthly)
    assert _of(frame, "hintereisferner", month="1985-01")["t2m_c"] == pytest.approx(-16.774, abs=5e-4)
    row = _of(frame, "hintereisferner", month="2018-07")
    assert row["t2m_c"] == pytest.approx(10.083, abs=5e-4)
    assert row["status"] == "final"
    assert row["t2m_adjusted_c"] < row["t2m_c"]  # the glacier lies above the cell's orography
    assert 0.9 < row["land_fraction"] <= 1
    months = frame[frame["glacier_id"] == "hintereisferner"]["month"]
    assert (months.min(), months.max(), len(months)) == ("1985-01", "2018-12", 408)


def test_hintereisferner_thickness(real: Platform) -> None:
    row = _of(real.rows(Thickness), "hintereisferner", product="farinotti2019")
    assert row["volume_km3"] == pytest.approx(0.57785, abs=5e-6)
    assert row["thickness_m"] == pytest.approx(71.94, abs=5e-3)
    assert row["thickness_max_m"] == pytest.approx(191.37, abs=5e-3)
    assert row["thickness_sigma_m"] == pytest.approx(0.5 * row["thickness_m"])


def test_hintereisferner_mass_balance(real: Platform) -> None:
    frame = real.rows(MassBalance)
    years = frame[frame["glacier_id"] == "hintereisferner"]["year"]
    assert (len(years), years.min(), years.max()) == (41, 1980, 2020)
    row = _of(frame, "hintereisferner", year=2003)
    assert row["annual_balance_m_we"] == pytest.approx(-1.796)
    assert row["annual_balance_sigma_m_we"] > 0
    assert row["sigma_origin"] in ("reported", "assumed")


def test_balance_of_the_parent_ice_cap_says_so(real: Platform) -> None:
    frame = real.rows(MassBalance)
    scopes = frame.groupby("glacier_id")["scope"].unique()
    assert list(scopes["geitlandsjokull"]) == ["parent_ice_cap"]
    assert list(scopes["hintereisferner"]) == ["own"]


def test_what_the_mirror_lacks_is_a_gap_with_a_reason(real: Platform) -> None:
    gaps = real.warehouse.gaps().set_index(["asset", "partition"])["reason"]
    assert "Landsat" in gaps["derived/outline", "hintereisferner|1985"]
    assert "no table of links" in gaps["derived/outline", "austre_broeggerbreen|rgi7"]
    assert "1979-01..2018-12" in gaps["derived/temperature_monthly", "hintereisferner|2019-01"]
    assert "only over 10.375..11.375 E" in gaps["derived/temperature_monthly", "geitlandsjokull|1985-01"]
    assert "RGI60-06.00311" in gaps["raw/farinotti", "geitlandsjokull"]
    assert "RGI60-06.00311" in gaps["derived/thickness", "geitlandsjokull"]
    assert "WGMS id 491 in 2021" in gaps["derived/mass_balance", "hintereisferner|2021"]


def test_every_partition_has_rows_or_a_reason(real: Platform) -> None:
    frame, gaps = real.rows(TemperatureMonthly), real.warehouse.gaps("derived/temperature_monthly")
    spoken = set(frame["glacier_id"] + "|" + frame["month"]) | set(gaps["partition"])
    assert spoken == set(real.partitions.month_glaciers.get_partition_keys())


def test_from_a_number_to_its_bytes_in_one_query(real: Platform) -> None:
    found = real.warehouse.query(
        """
        SELECT s.path, s.sha256, s.licence FROM derived.temperature_monthly t, provenance.source_object s
        WHERE t.glacier_id = 'hintereisferner' AND t.month = '2018-07' AND list_contains(t.source_ids, s.source_id)
        ORDER BY s.path
        """
    )
    assert list(found["path"]) == [
        "RGI2000-v7.0-G-11_central_europe.zip",
        "era5_invariant_oetztal.nc",
        "era5_monthly_t2m_1979-2018_oetztal.nc",
    ]
    assert found["licence"].str.len().gt(0).all()


def test_nothing_is_synthetic(real: Platform) -> None:
    for frame in real.tables().values():
        assert not frame["is_synthetic"].any()


def test_outlines_are_dated(real: Platform) -> None:
    row = _of(real.rows(Outline), "hintereisferner", inventory="rgi7")
    assert str(row["image_date"]) == "2003-07-30"
    assert row["zmean_m"] == pytest.approx(3000, abs=150)


def test_exports_are_there(real: Platform) -> None:
    folder = real.current.exports / "latest"
    assert (folder / "arctic_glacier_dataset.xlsx").stat().st_size > 50_000
    coverage = pd.read_parquet(folder / "coverage.parquet")
    assert set(coverage["glacier_id"]) == set(real.partitions.registry.ids)
    assert (folder / "coverage.png").stat().st_size > 5_000
    outline = pd.read_parquet(folder / "tables/outline.parquet")
    assert len(outline) == 3


def test_building_again_changes_nothing(real: Platform) -> None:
    before = {name: frame.copy() for name, frame in real.tables().items()}
    stamps = real.rows(TemperatureMonthly)["recorded_at"]
    assert real.build("group:raw or group:derived").is_good
    after = real.tables()
    for name, frame in before.items():
        pd.testing.assert_frame_equal(frame, after[name], check_exact=True, obj=name)
    assert (real.rows(TemperatureMonthly)["recorded_at"] == stamps).all()
    assert real.history_rows() == 0
