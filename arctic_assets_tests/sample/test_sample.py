"""The sample has the providers' formats, says that it is SYNTHETIC, and holds what its truth says."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from arctic_assets import glaciers, sample
from arctic_assets.errors import ArchiveError, SettingsError
from arctic_assets.provenance import SYNTHETIC

THROUGH = "2026-10"
REAL = Path(__file__).parents[3] / "shared" / "real"
ARCHIPELAGO = "novaya_zemlya"

needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="the real provider files (../shared/real) are not here")


@pytest.fixture(scope="module")
def registry() -> glaciers.Registry:
    return glaciers.load()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, registry: glaciers.Registry) -> Path:
    directory = tmp_path_factory.mktemp("sample") / "mirror"
    sample.write(directory, registry, THROUGH)
    return directory


@pytest.fixture(scope="module")
def truth(root: Path) -> sample.Truth:
    return sample.Truth.read(root)


def few(registry: glaciers.Registry, *glacier_ids: str) -> glaciers.Registry:
    return dataclasses.replace(registry, glaciers=tuple(registry[glacier_id] for glacier_id in glacier_ids))


def digests(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def layer(archive: Path) -> Any:
    import pyogrio

    return pyogrio.read_dataframe(f"/vsizip/{archive}/{archive.stem}.shp")


def table(archive: Path, name: str) -> pd.DataFrame:
    with zipfile.ZipFile(archive) as opened, opened.open(name) as file:
        return pd.read_csv(file, dtype={"o1region": str, "rgi7_reg": str, "rgi6_reg": str})


def outlines(root: Path, registry: glaciers.Registry, truth: sample.Truth, glacier_id: str) -> Any:
    frame = layer(region_file(root, registry[glacier_id].o1region, "G"))
    return frame.set_index("rgi_id").loc[list(truth.glaciers[glacier_id].rgi7_ids)]


def region_file(root: Path, region: str, product: str) -> Path:
    (found,) = (root / "rgi7").glob(f"RGI2000-v7.0-{product}-{region}_*.zip")
    return found


# --- writing ---------------------------------------------------------------------------------------------------------


def test_same_bytes_in_another_process(registry: glaciers.Registry, tmp_path: Path) -> None:
    smaller = dataclasses.replace(registry[ARCHIPELAGO], rgi7_ids=registry[ARCHIPELAGO].rgi7_ids[:60], area_km2=3000.0)
    mine = dataclasses.replace(registry, glaciers=(smaller, registry["parrish"], registry["wolverine"]))
    sample.write(tmp_path / "here", mine, "1986-02")
    program = (
        "import pathlib, pickle, sys\n"
        "from arctic_assets import sample\n"
        "sample.write(pathlib.Path(sys.argv[1]), pickle.load(sys.stdin.buffer), '1986-02')\n"
    )
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "there")],
        input=pickle.dumps(mine),
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "4711", "TZ": "Asia/Tokyo"},
        cwd=Path(__file__).parents[2],
    )
    assert digests(tmp_path / "here") == digests(tmp_path / "there")


def test_small(root: Path) -> None:
    """Of 42 MB, 29 are velocity mosaics and Landsat scenes, 11 ERA5."""
    assert sum(path.stat().st_size for path in root.rglob("*") if path.is_file()) < 45e6


def test_the_same_sample_is_left_alone_and_another_one_replaced(registry: glaciers.Registry, tmp_path: Path) -> None:
    one = few(registry, "wolverine")
    first = sample.write(tmp_path / "s", one, "1985-12")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")}
    assert sample.write(tmp_path / "s", one, "1985-12") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "s").rglob("*")} == times
    assert not (tmp_path / "s/era5/era5_monthly_t2m_1986_01_alaska.nc").exists()
    sample.write(tmp_path / "s", one, "1986-03")
    assert (tmp_path / "s/era5/era5_monthly_t2m_1986_01_alaska.nc").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"s", ".s.lock"}


def test_foreign_files_are_not_replaced(registry: glaciers.Registry, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.txt").write_text("years of work")
    with pytest.raises(ArchiveError, match="something else"):
        sample.write(tmp_path / "s", few(registry, "wolverine"), "1985-12")
    assert (tmp_path / "s" / "thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("through", ["2026", "2026-13", "1979-12", "10-2026", ""])
def test_month_that_cannot_be_one(registry: glaciers.Registry, tmp_path: Path, through: str) -> None:
    with pytest.raises(SettingsError, match="last month"):
        sample.write(tmp_path / "s", registry, through)
    assert not (tmp_path / "s").exists()


def test_every_file_says_synthetic(root: Path) -> None:
    import netCDF4
    import rasterio

    seen: dict[str, int] = {}
    for path in (p for p in root.rglob("*") if p.is_file()):
        seen[path.suffix] = seen.get(path.suffix, 0) + 1
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                assert SYNTHETIC in archive.read("SYNTHETIC.txt").decode(), path
        elif path.suffix == ".nc":
            with netCDF4.Dataset(path) as nc:
                assert SYNTHETIC in nc.title and SYNTHETIC in nc.source, path
        elif path.suffix.lower() == ".tif":
            with rasterio.open(path) as raster:
                assert SYNTHETIC in raster.tags()["TIFFTAG_IMAGEDESCRIPTION"], path
        else:
            assert SYNTHETIC in path.read_text(encoding="utf-8"), path
    assert set(seen) == {".zip", ".nc", ".tif", ".TIF", ".json", ".md"} and seen[".tif"] > 490


# --- RGI -------------------------------------------------------------------------------------------------------------


@needs_real
def test_glacier_product_is_like_the_real_one(root: Path) -> None:
    import pyogrio

    real = REAL / "mirror/rgi7/RGI2000-v7.0-G-11_central_europe.zip"
    ours = region_file(root, "01", "G")
    real_info = pyogrio.read_info(f"/vsizip/{real}/{real.stem}.shp")
    info = pyogrio.read_info(f"/vsizip/{ours}/{ours.stem}.shp")
    for what in ("fields", "ogr_types"):
        assert list(info[what]) == list(real_info[what])
    assert (info["crs"], info["encoding"]) == (real_info["crs"], real_info["encoding"])
    with zipfile.ZipFile(real) as theirs, zipfile.ZipFile(ours) as own:
        endings = {name.removeprefix(real.stem) for name in theirs.namelist()}
        assert endings <= {name.removeprefix(ours.stem) for name in own.namelist()}
        assert own.read(f"{ours.stem}.prj") == theirs.read(f"{real.stem}.prj")
        assert own.read(f"{ours.stem}.cpg") == theirs.read(f"{real.stem}.cpg")
    theirs_csv, own_csv = (table(p, f"{p.stem}-attributes.csv") for p in (real, ours))
    assert dict(own_csv.dtypes) == dict(theirs_csv.dtypes)
    iceland = REAL / "mirror/rgi7/RGI2000-v7.0-G-06_iceland.zip"
    real_links, links = (table(p, f"{p.stem}-rgi6_links.csv") for p in (iceland, ours))
    # The real copy lacks the last column of the user guide.
    assert list(links) == [*real_links, "cluster_id"]


def test_attributes_repeat_the_shapefile(root: Path) -> None:
    for path in sorted((root / "rgi7").glob("*.zip")):
        frame = layer(path)
        attributes = table(path, f"{path.stem}-attributes.csv")
        assert list(attributes) == list(frame.columns.drop("geometry"))
        key = "rgi_id"
        assert list(attributes[key]) == list(frame[key]) and frame[key].is_unique
        for name in attributes.select_dtypes("number"):
            np.testing.assert_allclose(frame[name].astype(float), attributes[name], rtol=1e-12)
        with zipfile.ZipFile(path) as archive:
            assert set(json.loads(archive.read(f"{path.stem}-attributes_metadata.json"))) == set(attributes)


def test_areas_are_the_registrys(root: Path, registry: glaciers.Registry, truth: sample.Truth) -> None:
    from pyproj import Geod

    geod = Geod(ellps="WGS84")
    for glacier in registry:
        frame = outlines(root, registry, truth, glacier.glacier_id)
        area = sum(abs(geod.geometry_area_perimeter(polygon)[0]) for polygon in frame.geometry) / 1e6
        known = truth.glaciers[glacier.glacier_id]
        assert area == pytest.approx(glacier.area_km2, rel=0.01)
        assert area == pytest.approx(known.area_km2, rel=1e-9) == pytest.approx(frame["area_km2"].sum(), rel=1e-9)
        assert known.n_members == len(frame)
        assert set(glacier.rgi7_ids) <= set(known.rgi7_ids)
    assert truth.glaciers[ARCHIPELAGO].n_members == 480


def test_outlines_are_valid_and_do_not_overlap(root: Path) -> None:
    import shapely

    for path in sorted((root / "rgi7").glob("*-G-*.zip")):
        polygons = layer(path).geometry.to_numpy()
        assert shapely.is_valid(polygons).all(), path
        tree = shapely.STRtree(polygons)
        left, right = tree.query(polygons, predicate="intersects")
        apart = left < right
        common = shapely.area(shapely.intersection(polygons[left[apart]], polygons[right[apart]]))
        assert common.max(initial=0.0) < 1e-9, path
        vertices = shapely.get_num_coordinates(polygons)
        assert vertices.min() >= 10 and vertices.max() < 2000


def test_members_share_their_divides(root: Path, registry: glaciers.Registry, truth: sample.Truth) -> None:
    import shapely

    polygons = outlines(root, registry, truth, ARCHIPELAGO).geometry.to_numpy()
    # Valid as a coverage: edges of neighbours match vertex by vertex, without gaps or overlaps.
    assert shapely.coverage_is_valid(polygons)
    whole = shapely.coverage_union_all(polygons)
    caps = shapely.get_parts(whole)
    assert 5 <= len(caps) <= 12
    touching = shapely.STRtree(polygons).query(polygons, predicate="touches").shape[1] / 2
    assert touching > 900
    sizes = np.sort(outlines(root, registry, truth, ARCHIPELAGO)["area_km2"])
    assert sizes[-1] > 10 * sizes[0]


def test_perimeter_is_that_of_the_dissolved_outline(
    root: Path, registry: glaciers.Registry, truth: sample.Truth
) -> None:
    import shapely
    from pyproj import Geod

    geod = Geod(ellps="WGS84")
    for glacier_id in (ARCHIPELAGO, "parrish", "taku"):
        polygons = outlines(root, registry, truth, glacier_id).geometry.to_numpy()
        parts = shapely.get_parts(shapely.coverage_union_all(polygons))
        outer = sum(geod.geometry_length(part.exterior) for part in parts) / 1000
        rings = [ring for part in parts for ring in part.interiors]
        known = truth.glaciers[glacier_id]
        assert known.perimeter_outer_km == pytest.approx(outer, rel=1e-9)
        assert known.perimeter_islands_km == pytest.approx(sum(map(geod.geometry_length, rings)) / 1000, rel=1e-9)
        assert known.n_islands == len(rings) > 0


def test_other_glaciers_lie_around(root: Path, registry: glaciers.Registry, truth: sample.Truth) -> None:
    wanted = {rgi_id for glacier in truth.glaciers.values() for rgi_id in glacier.rgi7_ids}
    for region in registry.regions:
        ids = set(layer(region_file(root, region, "G"))["rgi_id"])
        assert ids - wanted and ids & wanted


def test_links(root: Path, registry: glaciers.Registry, truth: sample.Truth) -> None:
    links = pd.concat(table(p, f"{p.stem}-rgi6_links.csv") for p in sorted((root / "rgi7").glob("*-G-*.zip")))
    assert not links.duplicated(["rgi7_id", "rgi6_id"]).any()
    assert (links.groupby("rgi6_id")["rgi6_area_fraction"].sum() < 1.00001).all()
    np.testing.assert_array_equal(links.groupby("rgi6_id")["rgi7_id"].transform("count"), links["n_rgi7"])
    np.testing.assert_array_equal(links.groupby("rgi7_id")["rgi6_id"].transform("count"), links["n_rgi6"])
    for glacier_id, known in truth.glaciers.items():
        own = links[links["rgi7_id"].isin(known.rgi7_ids)]
        weights = own.groupby("rgi6_id")["rgi6_area_fraction"].sum()
        assert dict(weights) == pytest.approx(dict(known.rgi6_weights), abs=2e-6)
        assert set(registry[glacier_id].rgi6_ids) <= set(weights.index)

    def weight(glacier_id: str) -> float:
        (rgi6_id,) = registry[glacier_id].rgi6_ids
        return truth.glaciers[glacier_id].rgi6_weights[rgi6_id]

    assert truth.glaciers["parrish"].n_members == 2 and weight("parrish") == pytest.approx(0.95, abs=0.005)
    assert truth.glaciers["wykeham_south"].n_members == 1 and weight("wykeham_south") == pytest.approx(0.98, abs=0.002)
    assert weight("mittivakkat") == 1 and truth.glaciers["mittivakkat"].n_members == 1


def test_centrelines(root: Path) -> None:
    import shapely

    for path in sorted((root / "rgi7").glob("*-G-*.zip")):
        frame = layer(path).set_index("rgi_id")
        lines = layer(Path(str(path).replace("-G-", "-L-")))
        assert set(lines["rgi_g_id"]) == set(frame.index)
        main = lines[lines["is_main"] == 1].set_index("rgi_g_id")
        assert main.index.is_unique and (main["segment_id"] == lines.groupby("rgi_g_id")["segment_id"].max()).all()
        assert (main["length_m"] == frame["lmax_m"].loc[main.index]).all()
        owner = frame.loc[lines["rgi_g_id"]].geometry.to_numpy()
        outside = shapely.length(shapely.difference(lines.geometry.to_numpy(), owner))
        assert (outside < 0.01 * shapely.length(lines.geometry.to_numpy())).all()
        ends = shapely.get_point(main.geometry.to_numpy(), -1)
        shells = shapely.get_exterior_ring(frame.loc[main.index].geometry.to_numpy())
        assert shapely.distance(ends, shells).max() < 1e-9
        np.testing.assert_allclose(shapely.get_x(ends), frame.loc[main.index, "termlon"], atol=1e-9)
        assert len(lines) > len(frame)


def test_hypsometry(root: Path, registry: glaciers.Registry, truth: sample.Truth) -> None:
    for path in sorted((root / "rgi7").glob("*-G-*.zip")):
        attributes = table(path, f"{path.stem}-attributes.csv")
        hypsometry = table(path, f"{path.stem}-hypsometry.csv")
        bands = hypsometry.drop(columns=["rgi_id", "area_km2"])
        assert (bands.sum(axis=1) == 1000).all()
        centres = bands.columns.astype(int).to_numpy()
        assert (np.diff(centres) == 50).all() and centres[0] % 50 == 25
        mean = (bands.to_numpy() * centres).sum(axis=1) / 1000
        np.testing.assert_allclose(mean, attributes["zmean_m"], atol=25)
        assert (attributes["zmin_m"] < attributes["zmed_m"]).all() and (
            attributes["zmed_m"] < attributes["zmax_m"]
        ).all()
        assert attributes["src_date"].str[:4].astype(int).between(1999, 2003).all()
    frame = outlines(root, registry, truth, ARCHIPELAGO)
    mean_m = np.average(frame["zmean_m"], weights=frame["area_km2"])
    assert mean_m == pytest.approx(truth.glaciers[ARCHIPELAGO].zmean_m, abs=1e-6)


# --- ERA5 ------------------------------------------------------------------------------------------------------------


def era5(root: Path, region: str) -> Any:
    """All months of a region, the current year appended."""
    import xarray as xr

    return xr.concat(
        [xr.load_dataset(path) for path in sorted((root / "era5").glob(f"era5_monthly_t2m_*_{region}_*.nc"))],
        dim="valid_time",
    )


@needs_real
def test_months_are_like_the_real_layout(root: Path) -> None:
    import netCDF4

    with (
        netCDF4.Dataset(REAL / "era5_formats/era5_land_2025-01_cds_2026.nc") as real,
        netCDF4.Dataset(root / "era5/era5_monthly_t2m_1979-2025_07_svalbard_jan_mayen.nc") as ours,
    ):
        assert set(real.ncattrs()) <= set(ours.ncattrs())
        assert list(ours.dimensions) == list(real.dimensions)
        for name in ours.variables:
            a, b = ours[name], real[name]
            assert a.dtype == b.dtype and a.filters() == b.filters(), name
            assert set(b.ncattrs()) <= set(a.ncattrs()), name
            for attribute in ("units", "calendar", "_FillValue", "stored_direction", "GRIB_paramId"):
                if attribute in b.ncattrs():
                    np.testing.assert_equal(a.getncattr(attribute), b.getncattr(attribute))
        assert ours["t2m"].dimensions == real["t2m"].dimensions and ours["expver"].dimensions == ("valid_time",)


@needs_real
def test_invariants_are_like_the_real_layout(root: Path) -> None:
    import netCDF4

    with (
        netCDF4.Dataset(REAL / "mirror/era5/era5_invariant_oetztal.nc") as real,
        netCDF4.Dataset(root / "era5/era5_invariant_09_russian_arctic.nc") as ours,
    ):
        assert list(ours.variables) == list(real.variables) and list(ours.dimensions) == list(real.dimensions)
        for name in real.variables:
            a, b = ours[name], real[name]
            assert (a.dtype, a.dimensions, set(a.ncattrs())) == (b.dtype, b.dimensions, set(b.ncattrs())), name
            assert a.units == b.units
        assert ours["lsm"][:].min() >= 0 and ours["lsm"][:].max() <= 1 and ours["lsm"][:].std() > 0.1
        height = ours["z"][:] / 9.80665
        assert height.min() > -50 and 500 < height.max() < 4000


def test_months_are_complete_and_the_last_three_preliminary(root: Path, registry: glaciers.Registry) -> None:
    for region in registry.regions:
        data = era5(root, region)
        months = data["valid_time"].dt.strftime("%Y-%m").values
        assert list(months) == list(pd.period_range("1979-01", THROUGH, freq="M").strftime("%Y-%m"))
        assert list(months[data["expver"].values == "0005"]) == ["2026-08", "2026-09", "2026-10"]
        assert data["t2m"].dtype == np.float32 and not data["t2m"].isnull().any()
        assert float(data["t2m"].min()) > 273.15 - 50 and float(data["t2m"].max()) < 273.15 + 25
        assert (np.diff(data["latitude"]) == -0.25).all() and (np.diff(data["longitude"]) == 0.25).all()
        yearly = data["t2m"].mean(("latitude", "longitude")).groupby("valid_time.year").mean()[:-1]
        assert 0.02 < np.polyfit(yearly["year"], yearly, 1)[0] < 0.08


def test_later_months_change_no_earlier_ones(registry: glaciers.Registry, tmp_path: Path) -> None:
    import xarray as xr

    one = few(registry, "engabreen")
    sample.write(tmp_path / "a", one, "1985-01")
    sample.write(tmp_path / "b", one, "1985-06")
    name = "era5_monthly_t2m_1985_08_scandinavia.nc"
    # Of a single month expver is a scalar, as the Climate Data Store has it.
    january, half = xr.load_dataset(tmp_path / "a/era5" / name), xr.load_dataset(tmp_path / "b/era5" / name)
    assert january["expver"].shape == () and january["expver"].item() == "0005"
    assert list(half["expver"].values) == ["0001"] * 3 + ["0005"] * 3
    np.testing.assert_array_equal(january["t2m"].values, half["t2m"].values[:1])
    a, b = (
        xr.load_dataset(p / "era5/era5_monthly_t2m_1979-1984_08_scandinavia.nc")
        for p in (tmp_path / "a", tmp_path / "b")
    )
    np.testing.assert_array_equal(a["t2m"].values, b["t2m"].values)
    assert list(a["expver"].values[-3:]) == ["0001", "0005", "0005"] and (b["expver"].values == "0001").all()


def test_temperature_truth_is_the_weighted_mean_of_cells(
    root: Path, registry: glaciers.Registry, truth: sample.Truth
) -> None:
    import shapely

    for glacier_id in ("engabreen", "taku", "west_gulkana", "parrish"):
        data = era5(root, registry[glacier_id].o1region)
        polygons = outlines(root, registry, truth, glacier_id).geometry.to_numpy()
        lat, lon = (axis.ravel() for axis in np.meshgrid(data["latitude"], data["longitude"], indexing="ij"))
        cells = shapely.box(lon - 0.125, lat - 0.125, lon + 0.125, lat + 0.125)
        weight = sum(shapely.area(shapely.intersection(cells, p)) for p in polygons) * np.cos(np.radians(lat))
        assert (weight > 0).sum() >= 1
        for month, known in truth.glaciers[glacier_id].t2m.items():
            field = data["t2m"].sel(valid_time=f"{month}-01").values.ravel().astype(float) - 273.15
            difference = float((field * weight).sum() / weight.sum()) - known.t2m_c
            assert abs(difference) < 4 * known.sampling_error_k + 0.002, (glacier_id, month)
        assert THROUGH in truth.glaciers[glacier_id].t2m
    assert truth.preliminary_months == ("2026-08", "2026-09", "2026-10")


# --- FoG -------------------------------------------------------------------------------------------------------------

FOG = "wgms/DOI-WGMS-FoG-2026-02-10.zip"
FOG_COLUMNS = (
    "country,glacier_name,glacier_id,outline_id,year,time_system,begin_date,begin_date_unc,midseason_date,"
    "midseason_date_unc,end_date,end_date_unc,winter_balance,winter_balance_unc,summer_balance,summer_balance_unc,"
    "annual_balance,annual_balance_unc,ela_position,ela,ela_unc,aar,area,investigators,agencies,references,remarks"
)


def test_fog_schema(root: Path) -> None:
    with zipfile.ZipFile(root / FOG) as archive:
        assert archive.read("data/mass_balance.csv").decode().splitlines()[0] == FOG_COLUMNS
        package = json.loads(archive.read("datapackage.json"))
        assert '"SYNTHETIC, nobody, nowhere"' in archive.read("data/mass_balance.csv").decode()
    for resource in package["resources"]:
        columns = [field["name"] for field in resource["schema"]["fields"]]
        assert columns == list(table(root / FOG, resource["path"]))
    units = {f["name"]: f.get("units") for f in package["resources"][1]["schema"]["fields"]}
    assert units["annual_balance"] == "m w.e." and units["area"] == "m2"


def test_balances_are_the_truth(root: Path, registry: glaciers.Registry, truth: sample.Truth) -> None:
    frame = table(root / FOG, "data/mass_balance.csv")
    assert not frame.duplicated(["glacier_id", "year"]).any()
    assert frame["annual_balance_unc"].isna().any() and frame["annual_balance_unc"].notna().any()
    assert frame["annual_balance"].between(-4.5, 4).all()
    seasonal = frame.dropna(subset=["winter_balance"])
    np.testing.assert_allclose(
        seasonal["winter_balance"] + seasonal["summer_balance"], seasonal["annual_balance"], atol=1e-9
    )
    for glacier in registry:
        rows = frame[frame["glacier_id"] == glacier.wgms_id].set_index("year")
        known = truth.glaciers[glacier.glacier_id]
        assert dict(rows["annual_balance"]) == dict(known.annual_balance_m_we)
        reported = rows["annual_balance_unc"].astype(object).where(rows["annual_balance_unc"].notna(), None)
        assert dict(reported) == dict(known.annual_balance_sigma_m_we)
        assert (len(rows) > 0) == (glacier.mass_balance_source == "wgms")
    assert set(frame["glacier_id"]) - {glacier.wgms_id for glacier in registry}


@pytest.mark.parametrize(
    ("glacier_id", "sd", "first", "last", "count"),
    [
        ("wolverine", 1.228, 1966, 2025, 60),
        ("taku", 0.694, 1946, 2025, 80),
        ("lemon_creek", 0.793, 1953, 2025, 73),
        ("engabreen", 1.023, 1970, 2025, 56),
        ("austre_broeggerbreen", 0.391, 1967, 2025, 59),
        ("mittivakkat", 0.716, 1996, 2025, 30),
        ("geitlandsjokull", 0.842, 1997, 2025, 29),
        ("mccall", 0.267, 1969, 2001, 13),
        ("alexander", 0.523, 1979, 1990, 8),
    ],
)
def test_series(truth: sample.Truth, glacier_id: str, sd: float, first: int, last: int, count: int) -> None:
    series = pd.Series(truth.glaciers[glacier_id].annual_balance_m_we)
    assert (series.index.min(), series.index.max(), len(series)) == (first, last, count)
    assert series.std() == pytest.approx(sd, abs=0.002)
    if glacier_id == "mccall":
        assert not set(range(1973, 1993)) & set(series.index)


def test_warm_summers_give_low_balances(root: Path, registry: glaciers.Registry, truth: sample.Truth) -> None:
    for glacier_id in ("wolverine", "engabreen", "austre_broeggerbreen"):
        glacier = registry[glacier_id]
        t2m = era5(root, glacier.o1region)["t2m"].sel(
            latitude=glacier.latitude, longitude=glacier.longitude, method="nearest"
        )
        summer = t2m[t2m["valid_time"].dt.month.isin([6, 7, 8])].groupby("valid_time.year").mean().to_series()
        balance = pd.Series(truth.glaciers[glacier_id].annual_balance_m_we)
        assert balance.corr(summer) < -0.5


def test_balance_years_end_before_the_sample_does(registry: glaciers.Registry, tmp_path: Path) -> None:
    known = sample.write(tmp_path / "s", few(registry, "wolverine"), "1991-08").glaciers["wolverine"]
    assert max(known.annual_balance_m_we) == 1990
    later = sample.write(tmp_path / "t", few(registry, "wolverine"), "1991-09").glaciers["wolverine"]
    assert max(later.annual_balance_m_we) == 1991
    assert known.annual_balance_m_we.items() <= later.annual_balance_m_we.items()


def test_bands_are_not_the_glacier(root: Path) -> None:
    bands = table(root / FOG, "data/mass_balance_band.csv")
    whole = table(root / FOG, "data/mass_balance.csv").set_index(["glacier_id", "year"])["annual_balance"]
    joined = bands.join(whole, on=["glacier_id", "year"], rsuffix="_whole")
    assert ((joined["annual_balance"] - joined["annual_balance_whole"]).abs() > 0.1).all()


# --- thickness -------------------------------------------------------------------------------------------------------


@needs_real
def test_rasters_are_like_the_real_one(root: Path) -> None:
    import rasterio

    with (
        rasterio.open(REAL / "mirror/farinotti/RGI60-11/RGI60-11.00897_thickness.tif") as real,
        rasterio.open(root / "farinotti/RGI60-01/RGI60-01.01104_thickness.tif") as ours,
    ):
        for key in ("driver", "dtype", "nodata", "count"):
            assert ours.profile[key] == real.profile[key], key
        assert ours.tags()["AREA_OR_POINT"] == real.tags()["AREA_OR_POINT"]
        assert ours.crs.to_epsg() == 32608 and ours.res == real.res == (25.0, 25.0)


def test_volumes_are_the_truth(root: Path, truth: sample.Truth) -> None:
    import rasterio

    for glacier_id, known in truth.glaciers.items():
        volume = area = deepest = 0.0
        cells = set()
        for rgi6_id, weight in known.rgi6_weights.items():
            with rasterio.open(root / "farinotti" / rgi6_id[:8] / f"{rgi6_id}_thickness.tif") as raster:
                thickness = raster.read(1).astype(float)
                assert thickness.min() == 0 and raster.crs.is_projected
                cells.add(raster.res[0])
                whole = thickness.sum() * raster.res[0] ** 2 / 1e9
                assert whole == pytest.approx(known.rgi6_volume_km3[rgi6_id], rel=1e-12)
                volume += weight * whole
                area += weight * (thickness > 0).sum() * raster.res[0] ** 2 / 1e6
                if weight >= min(0.5, max(known.rgi6_weights.values())):
                    deepest = max(deepest, thickness.max())
        assert volume == pytest.approx(known.volume_km3, rel=1e-9)
        assert 1000 * volume / area == pytest.approx(known.thickness_mean_m, rel=1e-9)
        assert deepest == known.thickness_max_m < 1000
        assert area == pytest.approx(known.area_km2, rel=0.03), glacier_id
        assert cells <= {25.0, 50.0, 100.0, 200.0}
    assert truth.glaciers["taku"].volume_km3 == pytest.approx(200.7, rel=0.01)
    assert truth.glaciers["engabreen"].volume_km3 == pytest.approx(7.648, rel=0.01)
    assert 1000 < truth.glaciers[ARCHIPELAGO].volume_km3 < 10000


# --- other registries ------------------------------------------------------------------------------------------------


def test_any_registry(registry: glaciers.Registry, tmp_path: Path) -> None:
    plain = glaciers.Glacier(
        "plain", "Plain", "glacier", "11", 10.75, 46.8, 32632, rgi7_ids=("RGI2000-v7.0-G-11-03116",)
    )
    several = tuple(f"RGI2000-v7.0-G-06-{number:05d}" for number in (10, 11, 12, 13))
    cap = glaciers.Glacier(
        "cap", "Cap", "ice_cap", "06", -18.0, 65.0, 32627, rgi7_ids=several, rgi6_ids=("RGI60-06.00001",), area_km2=90.0
    )
    mine = dataclasses.replace(registry, glaciers=(plain, cap))
    known = sample.write(tmp_path / "s", mine, "1990-05").glaciers
    assert known["plain"].n_members == 1 and known["plain"].annual_balance_m_we == {}
    assert known["cap"].rgi7_ids == several and known["cap"].area_km2 == pytest.approx(90, rel=0.01)
    assert known["cap"].rgi6_weights == pytest.approx({"RGI60-06.00001": 1.0})
