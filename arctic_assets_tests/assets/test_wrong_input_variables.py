"""Wrong and missing files of velocity, thickness, outlines and balances: a gap with its reason, or a clear error."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window

from arctic_assets import glaciers, literature, sample
from arctic_assets.automation.build import Extent
from arctic_assets.science import velocity as science
from arctic_assets.sources import rgi7
from arctic_assets.storage.archive import Archive
from arctic_assets.tables import Area, BalancePeriod, MassBalance, Outline, Table, Thickness, Velocity, Volume
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform, small_registry
from arctic_assets_tests.testkit.wrong import (
    Case,
    Spoil,
    assert_refused,
    assert_told,
    assert_whole,
    cut,
    edit_csv,
    edit_zip,
    page,
    spoiled,
)

ENGABREEN = "engabreen"
EXTENT = Extent((ENGABREEN,), "2019-01", "2020-12")

MOSAICS = "itslive/velocity_mosaic/v2/annual/cog"
TILE = "millan/thickness/RGI-8/THICKNESS_RGI-8.1_2021July09.tif"
LOOKUP = "millan/millan22_thickness_lookup_shp_20220902.zip"
CONSENSUS = "farinotti/RGI60-08/RGI60-08.01657_thickness.tif"
DEM_TILE = "dem/Copernicus_DSM_COG_10_N66_00_E013_00_DEM/Copernicus_DSM_COG_10_N66_00_E013_00_DEM.tif"
SCENE = "LC08_L2SP_013041_20140814_02_T1"
SCENES = "landsat/level-2/standard/oli-tirs/2014/013/041/LC08_L2SP_013041_20140814_20200918_02_T1"
FOG = "wgms/DOI-WGMS-FoG-2026-02-10.zip"
AMCE = "wgms/wgms-amce-2026-02-10.zip"
RAIN = "era5/era5_monthly_tp_1979-2020_08_scandinavia.nc"


def mosaic(year: int, band: str) -> str:
    return f"{MOSAICS}/ITS_LIVE_velocity_120m_RGI08A_{year}_v02_{band}.tif"


@pytest.fixture
def mirror(small_mirror: Platform, tmp_path: Path) -> Path:
    """The SYNTHETIC mirror of three glaciers, to be spoilt."""
    return Path(shutil.copytree(small_mirror.current.mirror, tmp_path / "spoilt"))


@pytest.fixture
def fresh(mirror: Path, small_mirror: Platform, tmp_path: Path) -> Platform:
    """A home of which nothing is built: what a mirror lost later is still in an archive."""
    return platform(tmp_path / "fresh", mirror, small_mirror.current.glaciers, inventories=("rgi7",))


@pytest.fixture
def mapped(mirror: Path, small_mirror: Platform, tmp_path: Path) -> Platform:
    """The same, with an inventory that is mapped on Landsat."""
    return platform(tmp_path / "mapped", mirror, small_mirror.current.glaciers, inventories=("rgi7", "2015"))


def build(found: Platform, asset: str, glacier: str = ENGABREEN) -> None:
    """A table of one glacier with all that is upstream of it."""
    outcome = found.build(f'+key:"{asset}"', Extent((glacier,), EXTENT.start, EXTENT.end))
    assert outcome.failed == {} and outcome.skipped == []


def gap(found: Platform, asset: str, partition: str) -> str:
    gaps = found.warehouse.gaps(asset).set_index("partition")["reason"]
    assert partition in gaps, f"{asset} has no gap of {partition}, only of {list(gaps.index)}"
    return str(gaps[partition])


def row(found: Platform, model: type[Table], **where: object) -> pd.Series:
    frame = found.rows(model)
    for name, value in where.items():
        frame = frame[frame[name] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def edit_raster(path: Path, change: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    with rasterio.open(path, "r+") as raster:
        raster.write(change(raster.read(1)).astype(raster.dtypes[0]), 1)


# --- velocity ---------------------------------------------------------------------------------------------------------


def test_year_without_a_mosaic(fresh: Platform, mirror: Path) -> None:
    for band in ("v", "v_error", "count"):
        (mirror / mosaic(2019, band)).unlink()
    (mirror / mosaic(2020, "count")).unlink()
    build(fresh, "derived/velocity")
    for asset in ("raw/itslive", "derived/velocity"):
        assert gap(fresh, asset, f"{ENGABREEN}|2019") == "no ITS_LIVE mosaic for region 08 in 2019"
        assert gap(fresh, asset, f"{ENGABREEN}|2020") == "the ITS_LIVE mosaic RGI08A of 2020 lacks count"
    assert fresh.rows(Velocity).empty


def points_on_mosaic(found: Platform) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where Engabreen's centreline lies on the mosaic, m, every 120 m."""
    from pyproj import Transformer

    archive = Archive(found.current.archive)
    held = next(o for o in archive.objects("rgi7") if o.content["product"] == "L" and o.content["region"] == "08")
    lines = rgi7.read_centrelines(archive.file(held), ["RGI2000-v7.0-G-08-00389"])
    points = science.sample_points(lines[lines["is_main"] == 1].geometry.iloc[0])
    return Transformer.from_crs(4326, 3413, always_xy=True).transform(points.lon, points.lat)


def cropped(path: Path, beyond_x: float) -> None:
    """Only the columns of a mosaic whose cells begin at or beyond x."""
    with rasterio.open(path) as raster:
        column = int((beyond_x - raster.transform.c) // raster.transform.a)
        window = Window(column, 0, raster.width - column, raster.height)
        profile, values, tags = raster.profile, raster.read(1, window=window), raster.tags()
        transform = raster.window_transform(window)
    for key in ("blockxsize", "blockysize", "tiled"):
        profile.pop(key, None)
    with rasterio.open(path, "w", **{**profile, "width": window.width, "transform": transform}) as raster:
        raster.write(values, 1)
        raster.update_tags(**tags)


@pytest.mark.parametrize("share", [0.7, 0.3, 0.0])
def test_centreline_that_leaves_the_mosaic(built: Platform, mirror: Path, fresh: Platform, share: float) -> None:
    """The part inside is measured when it is half of the line or more; the rest is never filled."""
    x, y = points_on_mosaic(built)
    for band in ("v", "v_error", "count"):
        if share:
            cropped(mirror / mosaic(2020, band), np.quantile(x, 1 - share))
        else:
            with rasterio.open(mirror / mosaic(2020, band), "r+") as raster:
                raster.transform = raster.transform @ raster.transform.translation(500, 0)
    build(fresh, "derived/velocity")
    key = f"{ENGABREEN}|2020"
    if not share:
        reason = "the centreline lies outside the ITS_LIVE mosaic RGI08A"
        assert gap(fresh, "raw/itslive", key) == gap(fresh, "derived/velocity", key) == reason
        return
    with rasterio.open(mirror / mosaic(2020, "v")) as raster:
        inside = x >= raster.bounds.left
        speeds = np.array([value[0] for value in raster.sample(zip(x[inside], y[inside], strict=True))])
    assert abs(inside.mean() - share) < 0.15 and (speeds > 0).all()
    if share < science.LEAST_COVERAGE:
        assert f"low_coverage: {inside.mean():.0%} of the centreline" in gap(fresh, "derived/velocity", key)
        assert set(fresh.rows(Velocity)["year"]) == {2019}
    else:
        found = row(fresh, Velocity, year=2020)
        assert found["coverage_fraction"] == pytest.approx(inside.mean(), abs=1e-9)
        assert found["speed_m_yr"] == pytest.approx(speeds.mean(), rel=1e-6)


@pytest.mark.parametrize(("band", "missing"), [("v_error", 32767), ("count", 0), ("v", -32767), ("v", 32767)])
@pytest.mark.parametrize("share", [0.8, 0.0])
def test_cells_without_a_value_are_left_out(
    built: Platform, mirror: Path, fresh: Platform, band: str, missing: int, share: float
) -> None:
    """A fill value never counts as a number, and a speed of no image pair does not count at all."""
    x, y = points_on_mosaic(built)
    beyond = np.quantile(x, 1 - share) if share else np.inf
    with rasterio.open(mirror / mosaic(2020, "v")) as raster:
        columns = raster.transform.c + np.arange(raster.width) * raster.transform.a
        inside = x >= columns[np.searchsorted(columns, beyond)] if share else np.zeros(len(x), bool)
        speeds = np.array([value[0] for value in raster.sample(zip(x, y, strict=True))])[inside]
    edit_raster(mirror / mosaic(2020, band), lambda values: np.where(columns < beyond, missing, values))
    build(fresh, "derived/velocity")
    if not share:
        assert "low_coverage: 0% of the centreline" in gap(fresh, "derived/velocity", f"{ENGABREEN}|2020")
        assert set(fresh.rows(Velocity)["year"]) == {2019}
        return
    found, before = row(fresh, Velocity, year=2020), row(built, Velocity, glacier_id=ENGABREEN, year=2020)
    assert found["coverage_fraction"] == pytest.approx(inside.mean(), abs=1e-9) and inside.mean() < 0.9
    assert found["speed_m_yr"] == pytest.approx(speeds.mean(), rel=1e-6)
    assert found["speed_sigma_m_yr"] == pytest.approx(before["speed_sigma_m_yr"])
    assert found["count_median"] == before["count_median"] > 0


# --- thickness --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("epsg", [32632, 32634])
def test_millan_tile_in_another_zone(built: Platform, epsg: int) -> None:
    """The volume is that of the tile in the glacier's own zone, to the scale of the zones and the resampling."""
    from rasterio.warp import Resampling, calculate_default_transform, reproject

    path = Path(built.current.mirror) / TILE
    before = {p: row(built, Thickness, glacier_id=ENGABREEN, product=p) for p in ("millan2022", "mean")}
    with rasterio.open(path) as raster:
        assert raster.crs.to_epsg() == 32633
        profile, ice, tags = raster.profile, raster.read(1), raster.tags()
        around = calculate_default_transform(
            raster.crs, f"EPSG:{epsg}", raster.width, raster.height, *raster.bounds, resolution=50
        )
    transform, width, height = around
    other = np.zeros((height, width), np.float32)
    reproject(
        np.where(ice < 1e5, ice, 0), other, src_transform=profile["transform"], src_crs=profile["crs"],
        dst_transform=transform, dst_crs=f"EPSG:{epsg}", resampling=Resampling.nearest,
    )  # fmt: skip
    profile |= {"width": width, "height": height, "transform": transform, "crs": f"EPSG:{epsg}", "nodata": None}
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(other, 1)
        raster.update_tags(**tags)
    assert built.build('key:"raw/millan" or key:"derived/thickness"', EXTENT).is_good
    for product, old in before.items():
        found = row(built, Thickness, glacier_id=ENGABREEN, product=product)
        assert found["source_ids"] != old["source_ids"]
        assert found["volume_km3"] == pytest.approx(old["volume_km3"], rel=0.015)
        assert found["ice_area_km2"] == pytest.approx(old["ice_area_km2"], rel=0.015)
        assert found["thickness_m"] == pytest.approx(old["thickness_m"], rel=0.01)


def products(found: Platform) -> set[str]:
    return set(found.rows(Thickness)["product"])


def test_consensus_raster_missing(fresh: Platform, mirror: Path) -> None:
    (mirror / CONSENSUS).unlink()
    build(fresh, "derived/volume")
    reason = (
        "no consensus raster of RGI60-08.01657: the mirror has no RGI60-08.01657_thickness.tif in farinotti/RGI60-08"
    )
    assert gap(fresh, "raw/farinotti", ENGABREEN) == reason
    assert gap(fresh, "derived/thickness", ENGABREEN) == f"no farinotti2019: {reason}"
    assert products(fresh) == {"millan2022", "sia_check"}, "no mean of one product"
    assert set(fresh.rows(Volume)["product"]) == {"millan2022"}


def test_both_products_missing(fresh: Platform, mirror: Path) -> None:
    shutil.rmtree(mirror / "farinotti")
    shutil.rmtree(mirror / "millan")
    build(fresh, "derived/volume")
    reason = gap(fresh, "derived/thickness", ENGABREEN)
    assert "no farinotti2019: no consensus raster of RGI60-08.01657: the mirror has no folder" in reason
    assert "no millan2022: the mirror has no folder millan" in reason
    assert products(fresh) == {"sia_check"}
    assert fresh.rows(Volume).empty, "the check is no product"
    assert gap(fresh, "derived/volume", f"{ENGABREEN}|rgi7") == f"no thickness: {reason}"


@pytest.fixture(scope="module")
def parrish(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Mirror and registry of a glacier of two RGI6 ids and two mosaics."""
    folder = tmp_path_factory.mktemp("parrish")
    registry = small_registry(folder / "glaciers.csv", ("parrish",))
    sample.write(folder / "mirror", glaciers.load(registry), "2020-12")
    return folder / "mirror", registry


def of_parrish(parrish: tuple[Path, Path], folder: Path) -> tuple[Platform, Path]:
    mirror = Path(shutil.copytree(parrish[0], folder / "mirror"))
    return platform(folder / "home", mirror, parrish[1], inventories=("rgi7",)), mirror


def test_one_of_two_consensus_rasters_missing(parrish: tuple[Path, Path], tmp_path: Path) -> None:
    """Half of the volume is no volume."""
    found, mirror = of_parrish(parrish, tmp_path)
    rasters = sorted((mirror / "farinotti").rglob("*.tif"))
    assert len(rasters) > 1
    build(found, "derived/outline", "parrish")
    ids = row(found, Outline, inventory="rgi7")["rgi6_ids"]
    assert len(ids) == 2
    lost = mirror / f"farinotti/RGI60-03/{ids[1]}_thickness.tif"
    lost.unlink()
    assert found.build('key:"raw/farinotti" or key:"derived/area" or key:"derived/thickness"').is_good
    reason = f"no consensus raster of {ids[1]}: the mirror has no {lost.name} in farinotti/RGI60-03"
    assert gap(found, "raw/farinotti", "parrish") == reason
    assert f"no farinotti2019: {reason}" in gap(found, "derived/thickness", "parrish")
    assert products(found) & {"farinotti2019", "mean"} == set()


def test_lookup_names_tiles_that_are_not_there(parrish: tuple[Path, Path], tmp_path: Path) -> None:
    """One of two tiles: a part is missing, and said; both: the product is."""
    found, mirror = of_parrish(parrish, tmp_path)
    first, second = sorted((mirror / "millan").rglob("THICKNESS*.tif"))
    whole = platform(tmp_path / "whole", mirror, parrish[1], inventories=("rgi7",))
    build(whole, "derived/thickness", "parrish")
    second.unlink()
    build(found, "derived/thickness", "parrish")
    reason = f"the mirror has no {second.name} in millan/thickness/RGI-3"
    assert gap(found, "raw/millan", "parrish") == reason
    assert f"millan2022 may lack a part: {reason}" in gap(found, "derived/thickness", "parrish")
    part, full = (row(p, Thickness, product="millan2022") for p in (found, whole))
    assert part["coverage_fraction"] < 0.8 * full["coverage_fraction"]
    assert "may lack" not in "; ".join(whole.warehouse.gaps("derived/thickness")["reason"])

    first.unlink()
    other = platform(tmp_path / "other", mirror, parrish[1], inventories=("rgi7",))
    build(other, "derived/thickness", "parrish")
    for tile in (first, second):
        assert f"the mirror has no {tile.name} in millan" in gap(other, "raw/millan", "parrish")
    assert "no millan2022: the mirror has no THICKNESS" in gap(other, "derived/thickness", "parrish")
    assert "farinotti2019" in products(other) and not products(other) & {"millan2022", "mean"}


def test_elevations_missing(fresh: Platform, mirror: Path) -> None:
    (mirror / DEM_TILE).unlink()
    build(fresh, "derived/thickness")
    reason = gap(fresh, "raw/dem", ENGABREEN)
    assert reason.startswith("none of the elevation tiles of engabreen is there: Copernicus_DSM_COG_10_N66_00_E013")
    assert gap(fresh, "derived/thickness", ENGABREEN) == f"no sia_check: {reason}"
    assert products(fresh) == {"farinotti2019", "millan2022", "mean"}


def test_ocean_tile_is_sea_level_and_no_gap(built: Platform) -> None:
    """Engabreen's window reaches beyond 14 degrees east, where the mirror has no tile."""
    held = next(o for o in Archive(built.current.archive).objects("dem") if o.content["glacier_id"] == ENGABREEN)
    assert held.content["ocean_tiles"] == ["Copernicus_DSM_COG_10_N66_00_E014_00_DEM"]
    assert held.content["lowest_m"] == 0 and held.content["void_fraction"] == 0
    assert "sia_check" in set(built.rows(Thickness).query("glacier_id == @ENGABREEN")["product"])
    assert built.warehouse.gaps("raw/dem").empty


def test_ice_on_a_tile_that_is_not_there_has_no_shallow_ice(built: Platform, tmp_path: Path) -> None:
    """Sea level there would be flat ice, hundreds of metres thick."""
    before = row(built, Thickness, glacier_id=ENGABREEN, product="sia_check")
    archive = Archive(built.current.archive)
    held = next(o for o in archive.objects("dem") if o.content["glacier_id"] == ENGABREEN)
    edit_raster(archive.file(held), lambda heights: np.where(np.arange(heights.shape[1]) < 130, 0, heights))
    assert built.build("derived/thickness", EXTENT).is_good
    found = row(built, Thickness, glacier_id=ENGABREEN, product="sia_check")
    assert found["coverage_fraction"] < 0.9 * before["coverage_fraction"]
    assert found["thickness_max_m"] <= before["thickness_max_m"] * 1.1


# --- outlines ---------------------------------------------------------------------------------------------------------


def assert_no_outline_of_2015(found: Platform, *words: str) -> None:
    key = f"{ENGABREEN}|2015"
    reason = gap(found, "derived/outline", key)
    for word in words:
        assert word in reason
    for asset in ("derived/area", "derived/volume"):
        assert gap(found, asset, key) == f"no outline: {reason}"
    for model in (Outline, Area, Volume):
        assert set(found.rows(model)["inventory"]) == {"rgi7"}


def flagged(qa: NDArray[Any]) -> NDArray[Any]:
    """Cloud by the provider's flag wherever there is data."""
    return np.where(qa & 1, qa, qa | 0b1000)


def bright(numbers: NDArray[Any]) -> NDArray[Any]:
    """A reflectance of 0.5."""
    return np.full_like(numbers, 25455)


def test_scenes_under_cloud(mapped: Platform, mirror: Path) -> None:
    """Cloud is as bright in the short-wave infrared as in the visible: what is flagged and looks like ice is ice."""
    for path in (mirror / "landsat/level-2/standard/oli-tirs/2014/013").rglob("*.TIF"):
        edit_raster(path, flagged if "QA" in path.name else bright)
    build(mapped, "derived/volume")
    assert_no_outline_of_2015(
        mapped, "100% of the RGI7 outline is without data", SCENE, "LC08_L2SP_013042_20140818_02_T1"
    )


def test_scenes_that_say_they_are_all_cloud(mapped: Platform, mirror: Path) -> None:
    for path in (mirror / "landsat/items").glob("LC08_L2SP_01304*_2014*.json"):
        item = json.loads(path.read_text())
        item["properties"]["eo:cloud_cover"] = 100.0
        path.write_text(json.dumps(item))
    build(mapped, "derived/volume")
    reason = "no Landsat 4-9 Level-2 scene of 15 Jul - 20 Sep 2013-2017 over the glacier with at most 70 % cloud"
    assert gap(mapped, "raw/landsat", f"{ENGABREEN}|2015") == reason
    assert_no_outline_of_2015(mapped, reason)


def test_scenes_whose_rasters_are_not_there(mapped: Platform, mirror: Path) -> None:
    shutil.rmtree(mirror / "landsat/level-2/standard/oli-tirs/2014/013")
    build(mapped, "derived/volume")
    assert "but it is not there" in gap(mapped, "raw/landsat", f"{ENGABREEN}|2015")
    assert_no_outline_of_2015(mapped, "the catalogue names LC08_L2SP_01304")


# --- mass balance -----------------------------------------------------------------------------------------------------


def without_engabreen_in_2020(table: pd.DataFrame) -> pd.DataFrame:
    return table[(table["glacier_id"] != "298") | (table["year"] != "2020")]


def without_engabreen(members: dict[str, bytes]) -> None:
    for name in list(members):
        if name.startswith("glacier/SCA_"):
            lines = members[name].decode().splitlines(keepends=True)
            members[name] = "".join(line for line in lines if not line.startswith("RGI60-08.01657")).encode()


def test_year_without_any_balance(fresh: Platform, mirror: Path) -> None:
    """Not observed, not in the release of the reconstruction, no precipitation for the model: all three are said."""
    edit_csv("data/mass_balance.csv", without_engabreen_in_2020)(mirror / FOG)
    edit_zip(without_engabreen)(mirror / AMCE)
    (mirror / RAIN).unlink()
    build(fresh, "derived/mass_balance")
    reason = gap(fresh, "derived/mass_balance", f"{ENGABREEN}|2020")
    assert "FoG 2026-02-10 has no annual balance of WGMS id 298 in 2020" in reason
    assert "no reconstruction: the reconstruction does not hold RGI60-08.01657" in reason
    assert "no model: no ERA5 precipitation" in reason
    assert list(fresh.rows(MassBalance)[["year", "origin"]].itertuples(index=False, name=None)) == [(2019, "observed")]


def test_releases_missing(fresh: Platform, mirror: Path) -> None:
    (mirror / AMCE).unlink()
    (mirror / FOG).unlink()
    build(fresh, "derived/mass_balance")
    build(fresh, "derived/balance_period")
    reason = gap(fresh, "derived/mass_balance", f"{ENGABREEN}|2020")
    no_fog, no_amce = gap(fresh, "raw/fog", ""), gap(fresh, "raw/amce", "")
    assert "DOI-WGMS-FoG" in no_fog and "wgms-amce" in no_amce
    assert f"no FoG release: {no_fog}" in reason
    assert "no reconstruction: no release of WGMS annual mass change" in reason
    assert "no model: no observed year to fit it to" in reason
    assert gap(fresh, "derived/balance_period", ENGABREEN) == f"no FoG release: {no_fog}; no published balance"


def backwards(*numbers: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Engabreen's elevation changes of these numbers end before they begin."""

    def change(table: pd.DataFrame) -> pd.DataFrame:
        wrong = table["id"].isin([f"298{number}" for number in numbers])
        assert wrong.sum() == len(numbers)
        table.loc[wrong, ["begin_date", "end_date"]] = table.loc[wrong, ["end_date", "begin_date"]].to_numpy()
        return table

    return change


def test_elevation_changes_that_end_before_they_begin(fresh: Platform, mirror: Path, tmp_path: Path) -> None:
    good = mirror / FOG
    shutil.copy(good, tmp_path / "good.zip")
    edit_csv("data/change.csv", backwards(0))(good)
    build(fresh, "derived/balance_period")
    kept = row(fresh, BalancePeriod, glacier_id=ENGABREEN)
    assert (str(kept["period_start"]), str(kept["period_end"])) == ("2010-09-01", "2019-08-20")

    shutil.copy(tmp_path / "good.zip", good)
    edit_csv("data/change.csv", backwards(0, 1))(good)
    assert fresh.build('key:"raw/fog" or key:"derived/balance_period"', EXTENT).is_good
    assert fresh.rows(BalancePeriod).empty
    reason = gap(fresh, "derived/balance_period", ENGABREEN)
    assert "2980 of glacier 298 does not end after it begins (2010-09-01 to 2000-08-15)" in reason
    assert "2981 of glacier 298 does not end after it begins (2019-08-20 to 2010-09-01)" in reason


def without_changes(members: dict[str, bytes]) -> None:
    del members["data/change.csv"]


def test_release_without_elevation_changes(fresh: Platform, mirror: Path) -> None:
    edit_zip(without_changes)(mirror / FOG)
    build(fresh, "derived/balance_period")
    reason = "DOI-WGMS-FoG-2026-02-10.zip has no table of elevation changes; no published balance"
    assert gap(fresh, "derived/balance_period", ENGABREEN) == reason


def test_published_numbers_that_nobody_verified(
    fresh: Platform, mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number that was not read in the publication is in no row; of two, only the verified one is."""
    edit_csv("data/change.csv", lambda table: table[table["glacier_id"] != "298"])(mirror / FOG)
    one = {
        **dict.fromkeys(literature.load().columns, ""),
        "glacier_id": ENGABREEN,
        "scope": "glacier",
        "quantity": "geodetic balance",
        "period_start": "1985",
        "period_end": "2008",
        "value": "-0.77",
        "unit": "m w.e./yr",
        "uncertainty": "0.1",
        "origin": "published",
        "source": "Somebody 2010",
        "verified": "secondary",
    }
    path = tmp_path / "literature.csv"
    pd.DataFrame([one]).to_csv(path, index=False)
    monkeypatch.setattr(literature, "PACKAGED", path)
    build(fresh, "derived/balance_period")
    assert fresh.rows(BalancePeriod).empty
    reason = gap(fresh, "derived/balance_period", ENGABREEN)
    assert reason == (
        "no elevation change in FoG; geodetic balance 1985-2008 of Somebody 2010: the number was not read in the "
        "publication itself (verified: secondary)"
    )
    pd.DataFrame([one, {**one, "value": "-0.5", "verified": "yes"}]).to_csv(path, index=False)
    assert fresh.build('key:"raw/literature" or key:"derived/balance_period"', EXTENT).is_good
    assert row(fresh, BalancePeriod, glacier_id=ENGABREEN)["balance_m_we_yr"] == -0.5
    assert fresh.warehouse.gaps("derived/balance_period").empty


def test_published_balances_that_were_not_found(parrish: tuple[Path, Path], tmp_path: Path) -> None:
    """The package's table names Parrish's balances, and that nobody found their numbers."""
    found, mirror = of_parrish(parrish, tmp_path)
    edit_zip(without_changes)(mirror / FOG)
    build(found, "derived/balance_period", "parrish")
    assert found.rows(BalancePeriod).empty
    reason = gap(found, "derived/balance_period", "parrish")
    assert (
        reason.count("no number (NOT FOUND") == 3 and "mass budget (SMB - D) 1991-2015 of Millan et al. 2017" in reason
    )


# --- files that are not what they should be ---------------------------------------------------------------------------


def itslive(band: str, spoil: Spoil, *words: str) -> Case:
    return Case(mosaic(2020, band), spoil, "raw/itslive", "derived/velocity", words)


def millan(path: str, spoil: Spoil, *words: str) -> Case:
    return Case(path, spoil, "raw/millan", "derived/thickness", words)


def landsat(path: str, spoil: Spoil, *words: str) -> Case:
    return Case(path, spoil, "raw/landsat", "derived/outline", words)


REFUSED = {
    "HTML page for a mosaic": itslive("v", page, "a mosaic cannot be read", "a whole GeoTIFF"),
    "truncated mosaic": itslive("v", cut, "a mosaic cannot be read"),
    "HTML page for errors of speed": itslive("v_error", page, "a mosaic cannot be read"),
    "HTML page for Millan's tile": millan(TILE, page, "a raster cannot be read", "HTML page"),
    "truncated tile of Millan's": millan(TILE, cut, "cannot be read"),
    "HTML page for the lookup": millan(LOOKUP, page, "not a zip", "HTML page"),
    "HTML page for quality flags": landsat(f"{SCENES}/{Path(SCENES).name}_QA_PIXEL.TIF", page, "cannot be read"),
    "HTML page for a STAC item": landsat(f"landsat/items/{SCENE}.json", page, "no STAC item"),
    "HTML page for AMCE": Case(AMCE, page, "raw/amce", "derived/mass_balance", ("not a zip", "HTML page")),
    "truncated AMCE": Case(AMCE, cut, "raw/amce", "derived/mass_balance", ("not the whole of it",)),
    "HTML page for precipitation": Case(RAIN, page, "raw/era5", "derived/temperature_monthly", ("web page",)),
}

REFUSED_AT_FIRST = {
    "HTML page for elevations": Case(DEM_TILE, page, "raw/dem", "derived/thickness", ("cannot be read", "HTML page")),
    "truncated elevations": Case(DEM_TILE, cut, "raw/dem", "derived/thickness", ("cannot be read",)),
    "HTML page for a band": landsat(f"{SCENES}/{Path(SCENES).name}_SR_B6.TIF", page, "cannot be read"),
    "HTML page for thickness": Case(CONSENSUS, page, "raw/farinotti", "derived/thickness", ("HTML page",)),
}
"""Windows of these are not made again while the provider names no other version: a fresh home meets them."""


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_file_is_refused_and_changes_nothing(built: Platform, name: str) -> None:
    case = REFUSED[name]
    tables = built.tables()
    assert_refused(built, case, EXTENT)
    assert built.build(case.part, EXTENT).is_good
    assert_same_tables(tables, built.tables())


@pytest.mark.parametrize("name", REFUSED_AT_FIRST)
def test_wrong_file_is_refused_before_anything_is_written(mapped: Platform, name: str) -> None:
    case = REFUSED_AT_FIRST[name]
    spoiled(mapped, case)
    outcome = mapped.build(f'key:"raw/rgi7" or {case.part}', EXTENT)
    assert_told(outcome, case.raw, case)
    assert outcome.skipped == [case.derived]
    assert all(table.empty for table in mapped.tables().values())
    assert_whole(Archive(mapped.current.archive))
