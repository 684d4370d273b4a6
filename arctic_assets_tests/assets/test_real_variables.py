"""Real velocity, elevations and gaps, from provider files to tables. More of real files: `sources/`, `science/`.

Columbia Glacier's files are no mirror (a multi-year mosaic of version 1, an RGI 6 outline, a DEM of its own grid), so
they are put into the providers' layouts here; no value is changed but where a test says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from rasterio.warp import Resampling, reproject

from arctic_assets.automation.build import Extent
from arctic_assets.definitions import build_defs
from arctic_assets.sources import dem, itslive
from arctic_assets.storage.archive import Archive
from arctic_assets.tables import MassBalance, Thickness, Velocity
from arctic_assets_tests.sources.test_rgi7 import write_zip
from arctic_assets_tests.testkit.platform import SHARED, Platform, copy_of, needs_shared, platform

pytestmark = needs_shared

COLUMBIA = SHARED / "real/columbia"
ERROR_M_YR, PAIRS = 5, 100
RGI7 = "RGI2000-v7.0-G-01-10689"
LINE = [(100, 80), (130, 110), (150, 150), (160, 180), (190, 210), (210, 214)]
"""Rows and columns of the mosaic that the line leads through: up the main trunk."""
GAP = slice(140, 170)
"""Columns of the mosaic that are taken out of the year 2019 and of the multi-year mean."""

REGISTRY = {
    "glacier_id": "columbia", "name": "Columbia Glacier", "country": "US", "kind": "glacier", "o1region": "01",
    "rgi7_ids": RGI7, "rgi6_ids": "RGI60-01.10689", "wgms_id": "", "wgms_scope": "", "longitude": "-146.888",
    "latitude": "61.299", "utm_epsg": "32606", "itslive_region": "RGI01A", "terminus": "marine",
    "mass_balance_source": "wgms",
}  # fmt: skip


# --- Columbia Glacier -------------------------------------------------------------------------------------------------


def band(name: str) -> tuple[NDArray[np.float32], dict[str, Any]]:
    with rasterio.open(COLUMBIA / f"crop_ALA_G0120_0000_{name}.tif") as raster:
        return raster.read(1), raster.profile


def write_mosaic(mirror: Path, year: int, gap: slice | None = None) -> None:
    """The real vx and vy as speed, with an error and a count of their own, in ITS_LIVE's names and data types."""
    vx, profile = band("vx")
    vy, _ = band("vy")
    there = vx != profile["nodata"]
    if gap:
        there[:, gap] = False
    bands = {
        "v": (np.where(there, np.hypot(vx, vy), -32767), "float32", -32767),
        "v_error": (np.where(there, ERROR_M_YR, 32767), "uint16", 0),
        "count": (np.where(there, PAIRS, 0), "uint32", 0),
    }
    for name, (values, dtype, nodata) in bands.items():
        path = mirror / "itslive" / itslive.Mosaic("RGI01A", year, "v2").path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(path, "w", **{**profile, "dtype": dtype, "nodata": nodata}) as raster:
            raster.write(values.astype(dtype), 1)


def write_elevations(mirror: Path) -> None:
    """The real elevations as tiles of one degree."""
    with rasterio.open(COLUMBIA / "dem_Columbia.tif") as raster:
        heights, transform, crs = raster.read(1), raster.transform, raster.crs
    for west in (-148, -147):
        name = dem.tile_name(61, west)
        tile = np.full((1200, 600), np.nan, np.float32)
        degrees = rasterio.transform.from_bounds(west, 61, west + 1, 62, 600, 1200)
        reproject(
            heights, tile, src_transform=transform, src_crs=crs, dst_transform=degrees, dst_crs="EPSG:4326",
            dst_nodata=np.nan, resampling=Resampling.bilinear,
        )  # fmt: skip
        path = mirror / f"dem/{name}/{name}.tif"
        path.parent.mkdir(parents=True)
        with rasterio.open(
            path, "w", driver="GTiff", width=600, height=1200, count=1, dtype="float32", crs="EPSG:4326",
            transform=degrees, nodata=np.nan,
        ) as raster:  # fmt: skip
            raster.write(tile, 1)


def drawn() -> tuple[shapely.LineString, shapely.LineString]:
    """The line on the mosaic's map, and in degrees."""
    with rasterio.open(COLUMBIA / "crop_ALA_G0120_0000_vx.tif") as raster:
        on_map = shapely.LineString([raster.xy(row, column) for row, column in LINE])
    to_degrees = Transformer.from_crs(3413, 4326, always_xy=True)
    return on_map, shapely.transform(on_map, to_degrees.transform, interleaved=False)


@pytest.fixture(scope="module")
def columbia(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Columbia Glacier through the graph: all of the years 2018 and 2019."""
    folder = tmp_path_factory.mktemp("columbia")
    mirror = folder / "mirror"
    (mirror / "rgi7").mkdir(parents=True)
    write_mosaic(mirror, 2018)
    write_mosaic(mirror, 2019, GAP)
    write_mosaic(mirror, itslive.CLIMATOLOGY, GAP)
    write_elevations(mirror)
    old = gpd.read_file(COLUMBIA / "RGI60-01.10689.shp").iloc[0]
    # RGI 6 has it with a ring that touches itself, which derived/outline refuses.
    outline = max(shapely.get_parts(shapely.make_valid(old.geometry)), key=lambda part: part.area)
    row = {
        "rgi_id": RGI7, "o1region": "01", "o2region": "01-04", "src_date": "2009-09-06T00:00:00", "term_type": 1,
        "cenlon": old["CenLon"], "cenlat": old["CenLat"], "area_km2": old["Area"], "glac_name": old["Name"],
    }  # fmt: skip
    line = {"rgi_id": "RGI2000-v7.0-L-01-00001", "rgi_g_id": RGI7, "segment_id": 0, "is_main": 1, "length_m": 20000}
    for letter, table, geometry in (("G", row, outline), ("L", line, drawn()[1])):
        stem = f"RGI2000-v7.0-{letter}-01_alaska"
        frame = gpd.GeoDataFrame([table], geometry=[geometry], crs="EPSG:4326")
        write_zip(folder, frame, stem).rename(mirror / f"rgi7/{stem}.zip")
    pd.DataFrame([REGISTRY]).to_csv(folder / "glaciers.csv", index=False)
    found = platform(folder / "home", mirror, folder / "glaciers.csv", inventories=("rgi7",))
    part = '+key:"derived/velocity" or +key:"derived/thickness"'
    assert found.build(part, Extent(start="2018-01", end="2019-12")).is_good
    return found


def measured_on_the_map() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Every 10 m of the line: real speed, column of the mosaic, and length on the ellipsoid; without our code."""
    on_map, _ = drawn()
    ends = shapely.get_coordinates(shapely.line_interpolate_point(on_map, np.arange(0, on_map.length, 10)))
    lon, lat = Transformer.from_crs(3413, 4326, always_xy=True).transform(*ends.T)
    lengths = np.asarray(Geod(ellps="WGS84").inv(lon[:-1], lat[:-1], lon[1:], lat[1:])[2])
    middles = (ends[:-1] + ends[1:]) / 2
    with rasterio.open(COLUMBIA / "crop_ALA_G0120_0000_vx.tif") as fx, rasterio.open(
        COLUMBIA / "crop_ALA_G0120_0000_vy.tif"
    ) as fy:  # fmt: skip
        pairs = zip(fx.sample(middles), fy.sample(middles), strict=True)
        speed = np.array([np.hypot(x[0], y[0]) for x, y in pairs], dtype=np.float64)
        columns = np.floor((middles[:, 0] - fx.transform.c) / fx.transform.a)
    return speed, columns, lengths


def test_columbia_speed_is_that_of_rasterio(columbia: Platform) -> None:
    speed, columns, lengths = measured_on_the_map()
    rows = columbia.rows(Velocity).set_index("year")
    whole = rows.loc[2018]
    assert whole["length_km"] == pytest.approx(lengths.sum() / 1000, rel=1e-3)
    assert whole["speed_m_yr"] == pytest.approx(np.average(speed, weights=lengths), rel=0.01)
    assert whole["speed_m_yr"] > 500, "a fast tidewater glacier"
    assert whole["coverage_fraction"] == 1 and whole["count_median"] == PAIRS
    assert whole["speed_sigma_m_yr"] == pytest.approx(ERROR_M_YR)
    assert (whole["region"], whole["mosaic_version"], whole["is_synthetic"]) == ("RGI01A", "v2", False)

    seen = (columns < GAP.start) | (columns >= GAP.stop)
    part = rows.loc[2019]
    assert part["coverage_fraction"] == pytest.approx(np.average(seen, weights=lengths), abs=0.01)
    assert 0.5 < part["coverage_fraction"] < 0.9
    assert part["speed_m_yr"] == pytest.approx(np.average(speed[seen], weights=lengths[seen]), rel=0.01)


def test_columbia_shallow_ice(columbia: Platform) -> None:
    """Hundreds of metres, where there is a speed only: the gap and what lies beyond the window are not filled."""
    rows = columbia.rows(Thickness).set_index("product")
    assert list(rows.index) == ["sia_check"]
    found = rows.loc["sia_check"]
    held = next(o for o in Archive(columbia.current.archive).objects("itslive") if o.content["year"] == 0)
    window = itslive.read(Archive(columbia.current.archive).file(held))
    outline = gpd.read_file(COLUMBIA / "RGI60-01.10689.shp").to_crs(3413).geometry.iloc[0]
    inside = rasterio.features.geometry_mask([outline], window.v.shape, window.transform, invert=True)
    in_gap = inside & np.isnan(window.v)
    scale = (1 + np.sin(np.radians(70))) / (1 + np.sin(np.radians(61.3)))
    cell_km2 = (0.12 / scale) ** 2
    assert in_gap.sum() * cell_km2 > 10
    known = inside & (window.v > window.v_error)
    assert found["ice_area_km2"] == pytest.approx(known.sum() * cell_km2, rel=0.05)
    assert found["coverage_fraction"] == pytest.approx(found["ice_area_km2"] / 773.9, rel=0.01)
    # The window holds the fast trunk; `science/test_sia.py` has the whole glacier, which is thinner.
    assert 300 < found["thickness_m"] < 800 and 500 < found["thickness_max_m"] <= 1700
    assert 0.1 < found["thickness_sigma_m"] / found["thickness_m"] < 0.4
    assert found["volume_km3"] == pytest.approx(found["thickness_m"] * found["ice_area_km2"] / 1000)


def test_constants_of_the_shallow_ice_check_are_configuration(columbia: Platform, tmp_path: Path) -> None:
    """Columbia Glacier ends in the sea: with more sliding there the same speed needs less ice, and the row says so."""
    before = columbia.rows(Thickness).iloc[0]
    assert "beta_marine=0.5" in before["parameters"] and before["parameters"].endswith("marine_share=1")
    fresh = copy_of(columbia, tmp_path)
    key = dg.AssetKey(["derived", "thickness"])
    job = build_defs(fresh.current).resolve_implicit_job_def_def_for_assets([key])
    assert job is not None
    config = {"ops": {"derived__thickness": {"config": {"beta_marine": 0.8, "density_kg_m3": 900.0}}}}
    with fresh.instance() as instance:
        job.execute_in_process(instance=instance, asset_selection=[key], partition_key="columbia", run_config=config)
    found = fresh.rows(Thickness).iloc[0]
    assert found["thickness_m"] == pytest.approx(
        before["thickness_m"] * (0.2 / 0.5) ** 0.25 * (917 / 900) ** 0.75, rel=0.01
    )
    assert "density_kg_m3=900, beta=0.25, beta_marine=0.8" in found["parameters"]
    assert found["density_kg_m3"] == 900 and found["mass_gt"] == pytest.approx(0.9 * found["volume_km3"])


def test_columbia_says_what_is_missing(columbia: Platform) -> None:
    reason = columbia.warehouse.gaps("derived/thickness")["reason"]
    assert list(reason) == [
        "no farinotti2019: no consensus raster of RGI60-01.10689: the mirror has no folder farinotti/RGI60-01; "
        "no millan2022: the mirror has no folder millan"
    ]


# --- what the real mirror lacks ---------------------------------------------------------------------------------------


def reasons(real: Platform, asset: str, glacier: str) -> set[str]:
    gaps = real.warehouse.gaps(asset)
    return set(gaps["reason"][gaps["partition"].str.split("|").str[0] == glacier])


def test_no_model_without_precipitation(real: Platform) -> None:
    """Hintereisferner has temperature and 41 observed years, and the mirror no precipitation."""
    frame = real.rows(MassBalance)
    assert set(frame["origin"]) == {"observed"}
    of_2021 = real.warehouse.gaps("derived/mass_balance").set_index("partition")["reason"]["hintereisferner|2021"]
    assert of_2021 == (
        "FoG 2021-05 has no annual balance of WGMS id 491 in 2021; no reconstruction: no release of WGMS annual mass "
        "change; no model: no ERA5 precipitation"
    )
    for glacier, why in (("geitlandsjokull", "no ERA5 temperature"), ("austre_broeggerbreen", "no outline")):
        found = reasons(real, "derived/mass_balance", glacier)
        assert found and all(reason.endswith(f"no model: {why}") for reason in found)


@pytest.mark.parametrize(
    ("raw", "derived", "reason"),
    [
        ("raw/itslive", "derived/velocity", "no RGI7 centrelines (product L) of region 11"),
        ("raw/landsat", "derived/outline", "no Landsat scene: the mirror has no folder landsat/items"),
        ("raw/millan", "derived/thickness", "the mirror has no folder millan"),
        ("raw/dem", "derived/thickness", "Copernicus_DSM_COG_10_N46_00_E010_00_DEM"),
    ],
)
@pytest.mark.parametrize("glacier", ["hintereisferner", "kesselwandferner"])
def test_what_is_not_there_is_said_where_it_is_missing(
    real: Platform, raw: str, derived: str, reason: str, glacier: str
) -> None:
    for asset in (raw, derived):
        found = reasons(real, asset, glacier)
        assert found and all(reason in one for one in found), (asset, found)


def test_reasons_reach_what_is_made_from_it(real: Platform) -> None:
    for glacier in ("hintereisferner", "kesselwandferner", "geitlandsjokull"):
        for asset in ("derived/area", "derived/volume"):
            assert any(
                "no outline: no Landsat scene: the mirror has no folder landsat" in r
                for r in reasons(real, asset, glacier)
            )
        assert all("a change needs two; no outline" in r for r in reasons(real, "derived/area_change", glacier))
        (period,) = reasons(real, "derived/balance_period", glacier)
        assert period == "DOI-WGMS-FoG-2021-05.zip has no table of elevation changes; no published balance"
    (thickness,) = reasons(real, "derived/thickness", "hintereisferner")
    assert thickness.startswith("no millan2022: ") and "farinotti2019" not in thickness
    assert list(real.rows(Thickness)["product"]) == ["farinotti2019"]


def test_every_partition_of_every_table_speaks(real: Platform) -> None:
    for model in (Velocity, Thickness, MassBalance):
        asset = f"derived/{model.table()}"
        rows, partitions = real.rows(model), real.partitions.of(model.grain())
        assert partitions is not None
        keys = rows["glacier_id"] if model.grain() == "glacier" else rows["glacier_id"] + "|" + rows["year"].astype(str)
        spoken = set(keys) | set(real.warehouse.gaps(asset)["partition"])
        assert spoken == set(partitions.get_partition_keys()), asset
        assert pd.notna(rows["source_ids"]).all()
