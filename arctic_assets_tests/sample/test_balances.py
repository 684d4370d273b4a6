"""What the sample says of mass change: AMCE, elevation changes, precipitation. Read back by the providers' readers."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from arctic_assets import glaciers
from arctic_assets.sample import amce as sample_amce
from arctic_assets.sample import era5, era5_tp, fog_change, rgi7
from arctic_assets.sample.amce import Balances
from arctic_assets.sources import amce
from arctic_assets.sources import fog_change as source
from arctic_assets.sources.fog_change import Changes

THROUGH = "2021-02"
WANTED = ("novaya_zemlya", "austre_broeggerbreen", "geitlandsjokull")


@pytest.fixture(scope="module")
def registry() -> tuple[glaciers.Glacier, ...]:
    whole = glaciers.load()
    return tuple(whole[glacier_id] for glacier_id in WANTED)


@pytest.fixture(scope="module")
def land(registry: tuple[glaciers.Glacier, ...]) -> rgi7.Landscape:
    return rgi7.landscape(registry)


@pytest.fixture(scope="module")
def climate(registry: tuple[glaciers.Glacier, ...]) -> era5.Climate:
    return era5.Climate(registry, "2025-12")


def written(
    folder: Path, land: rgi7.Landscape, climate: era5.Climate, through: str
) -> tuple[Path, dict[str, Balances]]:
    known = sample_amce.write(folder, land.former, climate, through)
    return folder / f"wgms-amce-{sample_amce.RELEASE}.zip", known


# --- AMCE ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def release(
    tmp_path_factory: pytest.TempPathFactory, land: rgi7.Landscape, climate: era5.Climate
) -> tuple[Path, dict[str, Balances]]:
    return written(tmp_path_factory.mktemp("wgms"), land, climate, THROUGH)


def test_every_former_outline_has_a_balance(release: tuple[Path, dict[str, Balances]], land: rgi7.Landscape) -> None:
    path, known = release
    verified = amce.verify(path)
    assert verified.is_synthetic
    assert verified.content["regions"] == ["ISL", "RUA", "SJM"]
    assert (verified.content["first_year"], verified.content["last_year"]) == (1976, 2020)
    assert verified.content["n_glaciers"] == len(land.former) == len(known)
    members = land.weights("novaya_zemlya")
    assert len(members) == 480
    frame = amce.read(path, members)
    assert len(frame) == 480 * 45
    for row in frame.sample(50, random_state=1).itertuples():
        assert (row.annual_balance_m_we, row.annual_balance_sigma_m_we) == known[row.rgi6_id][row.year]
        assert row.area_km2 == pytest.approx(land.former[row.rgi6_id].area_km2, abs=1e-3)


def test_balances_are_plausible_and_fall_in_a_warming_climate(release: tuple[Path, dict[str, Balances]]) -> None:
    values = np.array([[balance for balance, _ in years.values()] for years in release[1].values()])
    assert values.min() > -3 and values.max() < 2.5
    assert values[:, -10:].mean() < values[:, :10].mean() - 0.2


def test_later_years_change_no_earlier_ones(
    release: tuple[Path, dict[str, Balances]], land: rgi7.Landscape, climate: era5.Climate, tmp_path: Path
) -> None:
    _, longer = written(tmp_path, land, climate, "2025-12")
    _, shorter = written(tmp_path, land, climate, "1981-10")
    for rgi6_id, years in release[1].items():
        assert years.items() <= longer[rgi6_id].items()
        assert shorter[rgi6_id].items() <= years.items()


def test_same_bytes(
    release: tuple[Path, dict[str, Balances]], land: rgi7.Landscape, climate: era5.Climate, tmp_path: Path
) -> None:
    again, _ = written(tmp_path, land, climate, THROUGH)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(release[0].read_bytes()).digest()


# --- elevation changes -----------------------------------------------------------------------------------------------


def test_elevation_changes_come_back(tmp_path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(fog_change.COLUMNS), restval="")
    writer.writeheader()
    writer.writerows(fog_change.cells(298, "ENGABREEN", "NO", 36.2, with_faults=True))
    writer.writerows(fog_change.cells(1629, "MITTIVAKKAT", "GL", 20.2))
    writer.writerows(fog_change.cells(93, "OTHER", "US", 5.0))
    fields = [{"name": name, "units": unit} for name, (_, unit) in fog_change.COLUMNS.items() if unit]
    package = {"resources": [{"path": "data/change.csv", "schema": {"fields": fields}}]}
    path = tmp_path / "DOI-WGMS-FoG-2026-02-10.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/change.csv", text.getvalue())
        archive.writestr("datapackage.json", json.dumps(package))
    found = source.read_changes(path, [298, 1629, 93])
    assert isinstance(found, Changes)
    assert len(found.left_out) == fog_change.FAULTS
    for wgms_id, area in ((298, 36.2), (1629, 20.2), (93, 5.0)):
        put_in = fog_change.changes(wgms_id, area)
        rows = found.frame[found.frame["wgms_id"] == wgms_id]
        assert rows["elevation_change_m"].tolist() == [change.elevation_change_m for change in put_in]
        assert rows["period_start"].tolist() == [change.period_start for change in put_in]
        assert rows["period_end"].tolist() == [change.period_end for change in put_in]
        assert rows["area_km2"].tolist() == pytest.approx([area, area])
        sigmas = rows["elevation_change_sigma_m"].astype(object).where(rows["elevation_change_sigma_m"].notna(), None)
        assert sigmas.tolist() == [change.elevation_change_sigma_m for change in put_in]
    assert fog_change.changes(93, 5.0)[0].elevation_change_sigma_m is None


# --- precipitation ---------------------------------------------------------------------------------------------------


def test_precipitation_has_the_layout_and_the_values(
    land: rgi7.Landscape, climate: era5.Climate, tmp_path: Path
) -> None:
    fields = era5.write(tmp_path / "t2m", land.members, climate, THROUGH)
    known = era5_tp.write_precipitation(tmp_path / "tp", fields, climate, THROUGH)
    names = sorted(path.name for path in (tmp_path / "tp").iterdir())
    assert [name.replace("_t2m_", "_tp_") for name in sorted(p.name for p in (tmp_path / "t2m").glob("*t2m*"))] == names
    with xr.open_dataset(tmp_path / "tp/era5_monthly_tp_1979-2020_06_iceland.nc") as file:
        assert file["tp"].dims == ("valid_time", "latitude", "longitude")
        assert file["tp"].attrs["units"] == "m" and file["tp"].attrs["GRIB_stepType"] == "avgad"
        assert "SYNTHETIC" in file.attrs["title"]
        assert str(file["valid_time"].values[0])[:10] == "1979-01-01"
        assert file["latitude"].values.tolist() == fields["06"].latitude.tolist()
        assert np.array_equal(file["tp"].values, known["06"][: 42 * 12])
    with xr.open_dataset(tmp_path / "tp/era5_monthly_tp_2021_06_iceland.nc") as file:
        assert file["expver"].values.tolist() == ["0005", "0005"]
    for values in known.values():
        yearly = values[: 42 * 12].reshape(42, 12, -1).mean(axis=(1, 2)) * 365
        assert 0.1 < yearly.mean() < 5 and yearly.std() > 0.02 * yearly.mean()
        assert values.min() >= 0


def test_later_months_change_no_earlier_ones(land: rgi7.Landscape, climate: era5.Climate, tmp_path: Path) -> None:
    fields = {"07": era5.write(tmp_path, [m for m in land.members if m.region == "07"], climate, THROUGH)["07"]}
    long = era5_tp.write_precipitation(tmp_path / "a", fields, climate, THROUGH)["07"]
    short = era5_tp.write_precipitation(tmp_path / "b", fields, climate, "2000-12")["07"]
    assert np.array_equal(long[: len(short)], short)
