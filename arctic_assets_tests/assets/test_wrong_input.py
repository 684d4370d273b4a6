"""Wrong files at a provider: the build says what is wrong, and everything that was there stays as it was."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
import xarray as xr
from netCDF4 import Dataset

from arctic_assets import settings
from arctic_assets.automation.build import Extent
from arctic_assets.sample.common import NOTICE_MEMBER
from arctic_assets.storage.archive import Archive
from arctic_assets.tables import Area, MassBalance, Outline, TemperatureMonthly, Thickness
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform
from arctic_assets_tests.testkit.wrong import (
    Case,
    Spoil,
    assert_refused,
    assert_told,
    assert_whole,
    cut,
    digests,
    edit_csv,
    edit_zip,
    page,
    spoiled,
)

EXTENT = Extent(start="2020-01", end="2020-03")
DERIVED = "group:raw or group:derived"

T2M = "era5/era5_monthly_t2m_1979-2020_07_svalbard_jan_mayen.nc"
INVARIANT = "era5/era5_invariant_08_scandinavia.nc"
OUTLINES = "rgi7/RGI2000-v7.0-G-07_svalbard_jan_mayen.zip"
FOG = "wgms/DOI-WGMS-FoG-2026-02-10.zip"
BALANCES = "data/mass_balance.csv"
THICKNESS = "farinotti/RGI60-08/RGI60-08.01657_thickness.tif"


# --- how files go wrong -----------------------------------------------------------------------------------------------


def edit_netcdf(change: Callable[[Dataset], None]) -> Spoil:
    """Values changed in place: all attributes stay."""

    def spoil(path: Path) -> None:
        with Dataset(path, "r+") as file:
            change(file)

    return spoil


def celsius(file: Dataset) -> None:
    file["t2m"][:] = file["t2m"][:] - 273.15


def upside_down(file: Dataset) -> None:
    file["latitude"][:] = file["latitude"][:][::-1]


def geopotential_height(file: Dataset) -> None:
    file["z"].units = "m"


def rewrite_netcdf(change: Callable[[xr.Dataset], xr.Dataset]) -> Spoil:
    """Another shape: other months or cells."""

    def spoil(path: Path) -> None:
        with xr.open_dataset(path) as file:
            data = file.load().drop_encoding()
        change(data).to_netcdf(path)

    return spoil


def swapped(data: xr.Dataset) -> xr.Dataset:
    data = data.rename(latitude="longitude", longitude="latitude")
    for axis, unit in (("latitude", "degrees_north"), ("longitude", "degrees_east")):
        data[axis].attrs = {"units": unit}
    return data


def without_may_1987(data: xr.Dataset) -> xr.Dataset:
    return data.sel(valid_time=data["valid_time"] != np.datetime64("1987-05-01"))


def to_11_875_east(data: xr.Dataset) -> xr.Dataset:
    """The last cells end within Austre Brøggerbreen."""
    return data.sel(longitude=slice(None, 11.75))


def climbs_out(members: dict[str, bytes]) -> None:
    members["../../../outside.txt"] = b"I should not be here"


def without_prj(members: dict[str, bytes]) -> None:
    del members[next(name for name in members if name.endswith(".prj"))]


def edit_outlines(change: Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame]) -> Spoil:
    """Rows of the shapefile changed."""

    def edit(members: dict[str, bytes]) -> None:
        stem = next(name for name in members if name.endswith(".shp")).removesuffix(".shp")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for end in ("shp", "shx", "dbf", "prj", "cpg"):
                (folder / f"x.{end}").write_bytes(members[f"{stem}.{end}"])
            change(gpd.read_file(folder / "x.shp")).to_file(folder / "y.shp", engine="pyogrio")
            members |= {f"{stem}.{end}": (folder / f"y.{end}").read_bytes() for end in ("shp", "shx", "dbf", "prj")}

    return edit_zip(edit)


def one_id_twice(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(pd.concat([frame, frame.head(1)], ignore_index=True), crs=frame.crs)


def bowtie(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Austre Brøggerbreen with two corners in the wrong order."""
    row = frame.index[frame["rgi_id"] == "RGI2000-v7.0-G-07-00271"][0]
    west, south, east, north = frame.geometry[row].bounds
    frame.loc[row, "geometry"] = shapely.Polygon([(west, south), (east, north), (east, south), (west, north)])
    return frame


def other_columns(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"annual_balance": "b_a", "glacier_id": "glacier"})


def impossible_balance(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[frame["glacier_id"] == "298", "annual_balance"] = "200"
    return frame


def not_json(members: dict[str, bytes]) -> None:
    members["datapackage.json"] = members["datapackage.json"][:200]


def without_crs(path: Path) -> None:
    with rasterio.open(path) as raster:
        profile, thickness, tags = raster.profile, raster.read(1), raster.tags()
    with rasterio.open(path, "w", **{**profile, "crs": None}) as raster:
        raster.write(thickness, 1)
        raster.update_tags(**tags)


def in_millimetres(path: Path) -> None:
    with rasterio.open(path, "r+") as raster:
        raster.write(raster.read(1) * 1000, 1)


# --- what must come of it ---------------------------------------------------------------------------------------------


def era5(path: str, spoil: Spoil, *words: str) -> Case:
    return Case(path, spoil, "raw/era5", "derived/temperature_monthly", words)


def rgi7(spoil: Spoil, *words: str) -> Case:
    return Case(OUTLINES, spoil, "raw/rgi7", "derived/outline", words)


def fog(spoil: Spoil, *words: str) -> Case:
    return Case(FOG, spoil, "raw/fog", "derived/mass_balance", words)


def farinotti(spoil: Spoil, *words: str) -> Case:
    return Case(THICKNESS, spoil, "raw/farinotti", "derived/thickness", words)


REFUSED = {
    "truncated NetCDF": era5(T2M, cut, "cannot be read to its end", "a whole NetCDF file", "cut off"),
    "HTML page named .nc": era5(T2M, page, "web page", "NetCDF", "Please log in", "fetch it again"),
    "Celsius": era5(T2M, edit_netcdf(celsius), "degrees Celsius", "150 .. 350 K"),
    "latitudes upside down": era5(T2M, edit_netcdf(upside_down), "latitude from 79.5 to 78.25", "78.25 to 79.5"),
    "latitude and longitude swapped": era5(T2M, rewrite_netcdf(swapped), "contradict", "ascending longitude"),
    "month missing": era5(T2M, rewrite_netcdf(without_may_1987), "lacks 1987-05", "1 months less"),
    "height for geopotential": era5(INVARIANT, edit_netcdf(geopotential_height), "z has another unit", "m**2 s**-2"),
    "truncated zip": rgi7(cut, "not a zip, or not the whole of it", "the beginning of a zip"),
    "zip climbs out": rgi7(edit_zip(climbs_out), "climb out", "../../../outside.txt", "do not use this file"),
    "no .prj": rgi7(edit_zip(without_prj), "not complete", "no .prj"),
    "id twice": rgi7(edit_outlines(one_id_twice), "the same id twice", "every rgi_id once", "RGI2000-v7.0-G-07-00"),
    "FoG climbs out": fog(edit_zip(climbs_out), "climb out", "../../../outside.txt"),
    "FoG of unknown schema": fog(edit_csv(BALANCES, other_columns), "no known schema", "annual_balance", "b_a"),
    "FoG with 200 m w.e.": fog(edit_csv(BALANCES, impossible_balance), "less than 20 m w.e.", "298 in 1970: 200"),
    "FoG with half a datapackage": fog(edit_zip(not_json), "cannot be opened", "JSONDecodeError", "fetch it again"),
    "thickness without CRS": farinotti(without_crs, "does not say where it is", "a CRS (UTM)"),
    "thickness in millimetres": farinotti(in_millimetres, "thicker than any glacier", "at most 1700 m"),
}

REFUSED_LATER = {
    "box over a part of a glacier": era5(
        T2M, rewrite_netcdf(to_11_875_east), "only a part of a glacier in 2020-01", "10.875..11.875 E", "fetch ERA5"
    ),
    "self-intersecting outline": rgi7(
        edit_outlines(bowtie), "Self-intersection at lon 11.8", "RGI2000-v7.0-G-07-00271", "repair it"
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_file_is_refused_and_changes_nothing(built: Platform, name: str) -> None:
    case = REFUSED[name]
    archive = digests(built.current.archive)
    assert_refused(built, case, EXTENT)
    assert built.build(case.raw, EXTENT).is_good
    assert digests(built.current.archive) == archive


@pytest.mark.parametrize("name", REFUSED_LATER)
def test_file_that_does_not_fit_the_glaciers_changes_no_table(built: Platform, name: str) -> None:
    """Nothing is wrong with the file alone: it is archived, its predecessor kept, and what needs it fails."""
    case = REFUSED_LATER[name]
    tables, gaps = built.tables(), built.warehouse.gaps()
    good = spoiled(built, case)

    assert_told(built.build(case.part, EXTENT), case.derived, case)
    assert_same_tables(tables, built.tables())
    pd.testing.assert_frame_equal(gaps, built.warehouse.gaps())
    assert_whole(Archive(built.current.archive))
    assert hashlib.sha256(good).hexdigest() in digests(built.current.archive / ".superseded").values()

    (Path(built.current.mirror) / case.path).write_bytes(good)
    assert built.build(case.part, EXTENT).is_good
    assert_same_tables(tables, built.tables())
    assert built.history_rows() == 0


def test_one_wrong_source_does_not_stop_the_others(built: Platform, tmp_path: Path) -> None:
    page(Path(built.current.mirror) / FOG)
    fresh = platform(tmp_path / "fresh", built.current.mirror, built.current.glaciers)
    outcome = fresh.build(DERIVED, Extent(("engabreen",), EXTENT.start, EXTENT.end))
    assert list(outcome.failed) == ["raw/fog"]
    waiting = ["balance_model", "balance_period", "mass_balance", "trend"]
    assert sorted(outcome.skipped) == [f"derived/{name}" for name in waiting]
    assert fresh.rows(MassBalance).empty
    for model in (Outline, Area, Thickness, TemperatureMonthly):
        assert set(fresh.rows(model)["glacier_id"]) == {"engabreen"}


def test_steps_of_one_run_that_wait_for_a_failed_one_are_named(built: Platform) -> None:
    spoiled(built, REFUSED_LATER["self-intersecting outline"])
    outcome = built.build('key:"raw/rgi7" or key:"derived/outline" or key:"derived/area"', EXTENT)
    assert list(outcome.failed) == ["derived/outline"]
    assert outcome.skipped == ["derived/area"]


# --- real and synthetic -----------------------------------------------------------------------------------------------


def unmarked(members: dict[str, bytes]) -> None:
    del members[NOTICE_MEMBER]


@pytest.mark.parametrize(("raw", "path"), [("raw/fog", FOG), ("raw/rgi7", OUTLINES)])
def test_real_files_do_not_go_into_a_synthetic_home(built: Platform, raw: str, path: str) -> None:
    tables, archive = built.tables(), digests(built.current.archive)
    edit_zip(unmarked)(Path(built.current.mirror) / path)
    outcome = built.build(raw)
    message = outcome.failed[raw]
    assert "a real file does not go into an archive of SYNTHETIC files" in message
    assert path in message and "use another --home" in message
    assert_same_tables(tables, built.tables())
    assert digests(built.current.archive) == archive


def test_synthetic_files_do_not_go_into_a_real_home(built: Platform, tmp_path: Path) -> None:
    mirror = Path(built.current.mirror)
    marked = (mirror / FOG).read_bytes()
    edit_zip(unmarked)(mirror / FOG)
    real = platform(tmp_path / "real", mirror, built.current.glaciers)
    assert real.build('key:"raw/fog" or key:"derived/mass_balance"', EXTENT).is_good
    tables = real.tables()
    assert not tables["mass_balance"]["is_synthetic"].any()

    (mirror / FOG).write_bytes(marked)
    message = real.build("raw/fog").failed["raw/fog"]
    assert "a SYNTHETIC file does not go into an archive of real files" in message
    assert_same_tables(tables, real.tables())
    assert not any(found.is_synthetic for found in Archive(real.current.archive).all_objects())


# --- as a user sees it ------------------------------------------------------------------------------------------------


def command(current: settings.Settings, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "arctic_assets.cli", "build", *options],
        env={**os.environ, **settings.environment(current)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_build_command_tells_what_is_wrong_and_exits_with_1(built: Platform) -> None:
    tables = built.tables()
    spoiled(built, REFUSED["truncated NetCDF"])
    done = command(built.current, "--select", "raw/era5", "--start", "2020-01", "--end", "2020-03")
    assert done.returncode == 1
    assert "failed: raw/era5\n" in done.stdout
    assert f"in: mirror:{T2M}\n" in done.stdout
    assert "expected: a whole NetCDF file or zip\n" in done.stdout
    assert "what to do: delete it and fetch it again: it is cut off or damaged\n" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert_same_tables(tables, built.tables())


def test_build_command_with_an_unreadable_registry_changes_nothing(built: Platform, tmp_path: Path) -> None:
    tables, archive = built.tables(), digests(built.current.archive)
    assert built.current.glaciers
    broken = tmp_path / "broken.csv"
    broken.write_text(built.current.glaciers.read_text(encoding="utf-8").replace("RGI60-08.01657", "RGI60-8.1657"))
    done = command(built.current, "--glaciers", str(broken))
    assert done.returncode == 1
    assert (
        f"Error: RGI60-8.1657 is not an RGI id of this version\n  in: {broken}, row 4, column rgi6_ids" in done.stderr
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert_same_tables(tables, built.tables())
    assert digests(built.current.archive) == archive
