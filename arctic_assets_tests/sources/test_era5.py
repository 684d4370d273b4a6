"""ERA5 files: every layout in one form, every wrong file refused, the right file found again."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pytest
import xarray as xr

from arctic_assets.errors import SourceError
from arctic_assets.provenance import SourceObject
from arctic_assets.sources import era5
from arctic_assets.sources.base import Delivery, Missing, Remote
from arctic_assets.sources.era5 import Box, Index, open_object, verify
from arctic_assets.sources.origins import DirectoryOrigin
from arctic_assets.storage.archive import Archive
from arctic_assets_tests.testkit.cds import arctic_air, netcdf

AREA = [79.5, 10.0, 78.0, 13.0]
MONTHS = [f"{year}-{month:02d}" for year in (2024, 2025) for month in range(1, 13)]
NO_MONTHS: frozenset[str] = frozenset()
REAL = Path(__file__).resolve().parents[3] / "shared" / "real"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real provider files (../shared/real) are not here")


def modern(months: list[str] = MONTHS, preliminary: frozenset[str] = NO_MONTHS) -> xr.Dataset:
    """A file of the store since 2024, loaded and ready to be changed."""
    return loaded(netcdf(arctic_air, ["2m_temperature"], AREA, months, preliminary))


def loaded(content: bytes) -> xr.Dataset:
    with netCDF4.Dataset("memory", memory=content) as file:
        data = xr.open_dataset(xr.backends.NetCDF4DataStore(file)).load()  # type: ignore[no-untyped-call]
    for variable in data.variables.values():
        variable.encoding = {}
    return data


def save(data: xr.Dataset, path: Path, **options: Any) -> Path:
    """Write to a file, or into a folder under the name file.nc."""
    path = path / "file.nc" if path.is_dir() else path
    data.to_netcdf(path, **{"engine": "netcdf4", **options})
    return path


def legacy(data: xr.Dataset) -> xr.Dataset:
    """The names and coordinates of before 2024: `time`, no expver, single precision."""
    old = data.drop_vars(["number", "expver"]).rename(valid_time="time")
    old = old.assign_coords(latitude=old.latitude.astype("f4"), longitude=old.longitude.astype("f4"))
    old.latitude.attrs, old.longitude.attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    old.t2m.attrs = {"units": "K", "long_name": "2 metre temperature"}
    old.attrs = {"Conventions": "CF-1.6", "history": "2026-07-02 22:39:33 GMT by grib_to_netcdf-2.25.1: grib_to_netcdf"}
    return old


def layout_modern(folder: Path) -> Path:
    return save(modern(), folder)


def layout_integer_expver(folder: Path) -> Path:
    data = modern()
    data["expver"] = ("valid_time", np.ones(len(MONTHS), dtype=np.int64))
    return save(data, folder)


def layout_date(folder: Path) -> Path:
    data = modern()
    dates = np.array([int(month.replace("-", "") + "01") for month in MONTHS])
    return save(data.rename(valid_time="date").assign_coords(date=("date", dates, {"units": "1"})), folder)


def layout_packed(folder: Path) -> Path:
    packed = {"dtype": "i2", "scale_factor": 0.0017, "add_offset": 265.0, "_FillValue": -32767}
    times = {"units": "hours since 1900-01-01 00:00:00.0", "calendar": "gregorian", "dtype": "i4"}
    encoding = {"t2m": packed, "time": times}
    return save(legacy(modern()), folder, engine="scipy", format="NETCDF3_64BIT", encoding=encoding)


def layout_expver_dimension(folder: Path) -> Path:
    t2m = legacy(modern())
    empty = xr.full_like(t2m, np.nan)
    final = t2m.time < np.datetime64("2025-10")
    both = xr.concat([t2m.where(final, empty), t2m.where(~final, empty)], "expver", join="override")
    both = both.assign_coords(expver=("expver", np.array([1, 5], dtype="i4"))).transpose("time", "expver", ...)
    both["t2m"].attrs["units"] = "K"
    return save(both, folder, engine="scipy", format="NETCDF3_64BIT")


def layout_zip(folder: Path) -> Path:
    path = folder / "file.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(save(modern(), folder), "data_stream-moda_stepType-avgua.nc")
        rain = netcdf(arctic_air, ["total_precipitation"], AREA, MONTHS, NO_MONTHS)
        archive.writestr("data_stream-moda_stepType-avgad.nc", rain)
    return path


def layout_zip_of_halves(folder: Path) -> Path:
    path = folder / "file.nc"
    halves = [save(modern(months), folder / "half.nc").read_bytes() for months in (MONTHS[12:], MONTHS[:12])]
    with zipfile.ZipFile(path, "w") as archive:
        for i, half in enumerate(halves):
            archive.writestr(f"part_{i}.nc", half)
    return path


def layout_turned(folder: Path) -> Path:
    data = modern()
    return save(data.assign_coords(longitude=("longitude", data.longitude.values + 360, data.longitude.attrs)), folder)


@pytest.mark.parametrize(
    "layout",
    [
        layout_modern,
        layout_integer_expver,
        layout_date,
        layout_packed,
        layout_expver_dimension,
        layout_zip,
        layout_zip_of_halves,
        layout_turned,
    ],
)
def test_every_layout_has_one_form(layout: Callable[[Path], Path], tmp_path: Path) -> None:
    path = layout(tmp_path)
    data = open_object(path)
    assert data["t2m"].dims == ("month", "latitude", "longitude")
    assert list(data["month"].values) == MONTHS
    np.testing.assert_array_equal(data["latitude"], np.arange(79.5, 77.9, -0.25))
    np.testing.assert_array_equal(data["longitude"], np.arange(10.0, 13.1, 0.25))
    expected = [arctic_air(data.latitude.values[:, None], data.longitude.values[None], month) for month in MONTHS]
    np.testing.assert_allclose(data["t2m"], expected, atol=1e-3)
    assert data.attrs == {"is_synthetic": False}

    facts = verify(path)
    assert facts.content["variables"] == (["t2m", "tp"] if layout is layout_zip else ["t2m"])
    assert facts.content["box"] == [79.5, 10.0, 78.0, 13.0]
    assert facts.content["resolution"] == [0.25, 0.25]
    assert facts.content["grid"] == verify(save(modern(), tmp_path / "other.nc")).content["grid"]
    path.unlink()  # nothing holds the file open, nothing is read later
    assert np.isfinite(data["t2m"].values).all()


@pytest.mark.parametrize("is_scalar", [False, True])
def test_single_month_may_have_scalar_coordinates(is_scalar: bool, tmp_path: Path) -> None:
    data = modern(["2026-09"], frozenset({"2026-09"}))
    assert data["expver"].ndim == 0
    opened = open_object(save(data.isel(valid_time=0) if is_scalar else data, tmp_path))
    assert opened["t2m"].dims == ("month", "latitude", "longitude")
    assert list(opened["month"].values) == ["2026-09"]
    assert list(opened["status"].values) == ["preliminary"]


def test_expver_of_each_month(tmp_path: Path) -> None:
    facts = verify(save(modern(preliminary=frozenset(MONTHS[-3:])), tmp_path))
    assert facts.content["months"] == {"final": ["2024-01..2025-09"], "preliminary": ["2025-10..2025-12"]}


def test_expver_dimension_tells_the_status(tmp_path: Path) -> None:
    assert verify(layout_expver_dimension(tmp_path)).content["months"] == {
        "final": ["2024-01..2025-09"],
        "preliminary": ["2025-10..2025-12"],
    }


@pytest.mark.parametrize(("code", "status"), [(1, "final"), (5, "preliminary")])
@pytest.mark.parametrize("n_months", [1, 24])
def test_expver_dimension_of_one_version(code: int, status: str, n_months: int, tmp_path: Path) -> None:
    data = legacy(modern(MONTHS[:n_months])).squeeze("time" if n_months == 1 else [])
    data = data.expand_dims(expver=np.array([code], dtype="i4"))
    assert list(verify(save(data, tmp_path)).content["months"]) == [status]


@pytest.mark.parametrize(
    ("history", "final"),
    [
        ("2026-03-01 08:00 cdo seldate,1985-01-01T00:00:00 a.nc b.nc", "2024-01..2025-11"),
        ("2026-01-05 10:00:00 GMT by grib_to_netcdf-2.25.1", "2024-01..2025-09"),
        ("Tue Mar 3 2026: cdo\n2026-02-05T10:00 GRIB to CDM+CF via cfgrib", "2024-01..2025-10"),
        ("2030-01-01T00:00 ncks\n2026-01-05T10:00 GRIB to CDM+CF via cfgrib", "2024-01..2025-09"),
        ("2026-07-05 10:00:00 GMT by grib_to_netcdf", "2024-01..2025-12"),
        ("", "2024-01..2025-09"),
    ],
)
def test_without_expver_the_age_at_production_decides(history: str, final: str, tmp_path: Path) -> None:
    data = legacy(modern())
    data.attrs["history"] = history
    assert verify(save(data, tmp_path)).content["months"]["final"] == [final]


@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_box_across_180_degrees_is_unbroken(is_wrapped: bool, tmp_path: Path) -> None:
    path = tmp_path / "dateline.nc"
    path.write_bytes(netcdf(arctic_air, ["2m_temperature"], [71.5, 178.0, 70.5, 182.0], ["2020-01"], NO_MONTHS))
    if is_wrapped:
        data = loaded(path.read_bytes())
        longitude = np.where(data.longitude >= 180, data.longitude - 360, data.longitude)
        path = save(data.assign_coords(longitude=("longitude", longitude, data.longitude.attrs)), tmp_path)
    facts = verify(path)
    assert facts.content["box"] == [71.5, 178.0, 70.5, 182.0]
    np.testing.assert_array_equal(open_object(path)["longitude"], np.arange(178.0, 182.1, 0.25))


def test_invariants_have_no_month(tmp_path: Path) -> None:
    path = tmp_path / "invariants.nc"
    path.write_bytes(netcdf(arctic_air, ["geopotential", "land_sea_mask"], AREA, ["2020-01", "2020-02"], NO_MONTHS))
    data = open_object(path)
    assert data["z"].dims == data["lsm"].dims == ("latitude", "longitude")
    facts = verify(path)
    assert facts.content["variables"] == ["lsm", "z"]
    assert facts.content["months"] == {}


@pytest.mark.parametrize("attribute", ["source", "title"])
def test_synthetic_files_are_known(attribute: str, tmp_path: Path) -> None:
    data = modern()
    data.attrs[attribute] = "SYNTHETIC sample, no observation"
    assert verify(save(data, tmp_path)).is_synthetic


# --- wrong files ------------------------------------------------------------------------------------------------------


def refused(path: Path, *words: str) -> str:
    with pytest.raises(SourceError) as caught:
        verify(path)
    text = str(caught.value)
    for word in words:
        assert word in text, text
    assert caught.value.todo and path.name in text
    return text


@pytest.mark.parametrize("layout", [layout_modern, layout_packed, layout_zip, layout_expver_dimension])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated(layout: Callable[[Path], Path], share: float, tmp_path: Path) -> None:
    path = layout(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    refused(path)


def test_web_page_named_nc(tmp_path: Path) -> None:
    path = tmp_path / "era5.nc"
    path.write_text("<!DOCTYPE html><html><title>Please log in</title></html>")
    refused(path, "web page", "Please log in")


@pytest.mark.parametrize("content", [b"", b"GRIB\x00\x00", b'{"title": "results expired"}'])
def test_other_files_named_nc(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "era5.nc"
    path.write_bytes(content)
    refused(path, "NetCDF")


@pytest.mark.parametrize("name", ["../../evil.nc", "/etc/evil.nc", "..\\evil.nc", "C:\\evil.nc"])
def test_zip_with_climbing_paths(name: str, tmp_path: Path) -> None:
    path = tmp_path / "era5.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, save(modern(), tmp_path).read_bytes())
    refused(path, "climb", name)
    assert not list(tmp_path.parent.glob("**/evil.nc"))


def test_zip_without_netcdf_and_zip_with_a_page(tmp_path: Path) -> None:
    path = tmp_path / "era5.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    refused(path, "no NetCDF")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.nc", "<html>")
    refused(path, "web page", "data.nc")


def with_values(data: xr.Dataset, change: Callable[[Any], None]) -> xr.Dataset:
    change(data["t2m"].values)
    return data


def with_attrs(data: xr.Dataset, **attrs: object) -> xr.Dataset:
    data["t2m"].attrs |= attrs
    return data


def without_grib(data: xr.Dataset) -> xr.Dataset:
    data["t2m"].attrs = {"units": "K"}
    return data


def swapped(data: xr.Dataset) -> xr.Dataset:
    """Values of latitude and longitude under the other's name."""
    return data.rename(latitude="longitude", longitude="latitude")


def relabelled(data: xr.Dataset) -> xr.Dataset:
    data = swapped(data)
    data["latitude"].attrs, data["longitude"].attrs = {"units": "degrees_north"}, {"units": "degrees_east"}
    return data


def far_east(data: xr.Dataset) -> xr.Dataset:
    return data.assign_coords(longitude=("longitude", data.longitude.values + 100, data.longitude.attrs))


WRONG: dict[str, tuple[Callable[[xr.Dataset], xr.Dataset], tuple[str, ...]]] = {
    "Celsius by unit": (lambda d: with_attrs(d - 273.15, units="degC"), ("t2m", "K", "degC")),
    "Celsius by value": (lambda d: d.assign(t2m=d.t2m - 273.15), ("Celsius", "150 .. 350 K")),
    "fill value": (lambda d: with_values(d, lambda v: v.__setitem__((3, 2, 1), 3.4e38)), ("cannot be", "3.4e+38")),
    "hole": (lambda d: with_values(d, lambda v: v.__setitem__((3, 2, 1), np.nan)), ("2024-04", "1 empty cell")),
    "month of holes": (lambda d: with_values(d, lambda v: v.__setitem__(5, np.nan)), ("2024-06", "91 empty cell")),
    "swapped, by units": (swapped, ("contradict", "degrees_north")),
    "swapped, by direction": (lambda d: relabelled(without_grib(d)), ("contradict", "ascending longitude")),
    "swapped, by GRIB": (lambda d: relabelled(d.sortby("latitude")), ("contradict", "GRIB_")),
    "latitude beyond the pole": (lambda d: relabelled(far_east(d)), ("contradict", "-90..90", "110 .. 113")),
    "other place than GRIB says": (far_east, ("contradict", "GRIB_")),
    "other step than GRIB says": (lambda d: with_attrs(d, GRIB_iDirectionIncrementInDegrees=0.5), ("0.5", "GRIB_")),
    "uneven latitudes": (lambda d: without_grib(d).isel(latitude=[0, 1, 3]), ("latitude", "even steps")),
    "month missing": (lambda d: d.drop_isel(valid_time=13), ("lacks 2025-02", "1 months less")),
    "month twice": (lambda d: d.isel(valid_time=[*range(24), 7]), ("2024-08 more than once",)),
    "mid-month": (
        lambda d: d.assign_coords(valid_time=d.valid_time + np.timedelta64(14, "D")),
        ("first day", "2024-01-15"),
    ),
    "unknown expver": (lambda d: d.assign_coords(expver=("valid_time", ["0007"] * 24)), ("expver", "0007")),
    "no variable of ours": (lambda d: d.rename(t2m="skt"), ("no variable", "skt")),
    "ensemble": (lambda d: d.drop_vars("number").expand_dims(number=2), ("number", "dimensions")),
    "no coordinates": (lambda d: without_grib(d).drop_vars("latitude"), ("contradict", "none")),
    "date that is none": (
        lambda d: d.rename(valid_time="date").assign_coords(date=np.arange(24) + 20241301),
        ("YYYYMMDD", "2024-13-01"),
    ),
    "no time": (lambda d: d.isel(valid_time=0, drop=True), ("t2m", "time")),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_content(name: str, tmp_path: Path) -> None:
    change, words = WRONG[name]
    with xr.set_options(keep_attrs=True):  # type: ignore[no-untyped-call]
        path = save(change(modern()), tmp_path)
    refused(path, *words)


def on_land(months: int, step: float) -> xr.Dataset:
    """A grid whose first cell never has a value, as the sea in ERA5-Land."""
    data = without_grib(modern(MONTHS[:months]))
    for axis in ("latitude", "longitude"):
        degrees = data[axis].values[0] + (data[axis].values - data[axis].values[0]) * step / 0.25
        data = data.assign_coords({axis: (axis, degrees, data[axis].attrs)})
    data["t2m"].values[:, 0, 0] = np.nan
    return data


def test_only_era5_land_lacks_cells_and_always_the_same(tmp_path: Path) -> None:
    assert verify(save(on_land(2, 0.1), tmp_path)).version == "ERA5-Land (doi:10.24381/cds.68d2bb30)"
    refused(save(on_land(2, 0.25), tmp_path), "2024-01", "without a value")
    data = on_land(3, 0.1)
    data["t2m"].values[1, 2, 2] = np.nan
    refused(save(data, tmp_path), "2 empty cells in 2024-02, 1 such months")
    data["t2m"].values[:] = np.nan
    refused(save(data, tmp_path), "2024-01", "3 such months")


@pytest.mark.parametrize("position", [0.2, 0.5, 0.8])
def test_zip_with_damaged_bytes(position: float, tmp_path: Path) -> None:
    path = tmp_path / "era5.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(save(modern(), tmp_path), "data.nc")
    content = bytearray(path.read_bytes())
    start = int(len(content) * position)
    content[start : start + 40] = bytes(40)
    path.write_bytes(content)
    refused(path)


def test_files_of_a_zip_that_hold_the_same_month(tmp_path: Path) -> None:
    path = tmp_path / "era5.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(save(modern(MONTHS[:3]), tmp_path), "a.nc")
        archive.write(save(modern(MONTHS[2:5]), tmp_path), "b.nc")
    refused(path, "2024-03 more than once")


def test_months_must_be_consecutive_or_a_rectangle(tmp_path: Path) -> None:
    summers = [f"{year}-{month}" for year in (2021, 2022, 2023) for month in ("06", "07")]
    assert verify(save(modern(summers), tmp_path)).content["months"]["final"] == [
        "2021-06..2021-07",
        "2022-06..2022-07",
        "2023-06..2023-07",
    ]
    verify(save(modern(["2023-11", "2023-12", "2024-01", "2024-02"]), tmp_path))
    refused(save(modern([*summers[:3], *summers[4:]]), tmp_path), "lacks 2022-07")
    refused(save(modern(["2023-01", "2023-03"]), tmp_path), "lacks 2023-02")


def test_invariants_that_vary(tmp_path: Path) -> None:
    path = tmp_path / "z.nc"
    path.write_bytes(netcdf(arctic_air, ["geopotential"], AREA, ["2020-01", "2020-02"], NO_MONTHS))
    data = loaded(path.read_bytes())
    data["z"].values[1, 0, 0] += 5
    refused(save(data, tmp_path), "z", "the same field in every month")


# --- real files -------------------------------------------------------------------------------------------------------


@real
@pytest.mark.parametrize(
    ("name", "box", "step", "final"),
    [
        ("era5_formats/alaska_1980s_legacy_2022.nc", [63.92, -149.3, 63.67, -149.05], 0.25, "1980-01..1989-12"),
        ("era5_formats/alaska_1980s_cds_beta_2024.nc", [63.92, -149.3, 63.67, -149.05], 0.25, "1980-01..1989-12"),
        ("era5_formats/era5_land_2025-01_cds_2026.nc", [-1.8, -49.2, -2.2, -48.7], 0.1, "2025-01"),
        ("mirror/era5/era5_monthly_t2m_1979-2018_oetztal.nc", [47.25, 10.5, 46.5, 11.25], 0.25, "1979-01..2018-12"),
    ],
)
def test_real_files(name: str, box: list[float], step: float, final: str) -> None:
    facts = verify(REAL / name)
    assert facts.content["box"] == box
    assert facts.content["resolution"] == [step, step]
    assert facts.content["months"] == {"final": [final]}
    assert not facts.is_synthetic
    assert (facts.version is not None) == ("land" in name)


@real
def test_real_layouts_of_the_same_months_agree() -> None:
    """CDS packed the older file to 16 bits: steps of 0.0007 K."""
    old = open_object(REAL / "era5_formats/alaska_1980s_legacy_2022.nc")
    new = open_object(REAL / "era5_formats/alaska_1980s_cds_beta_2024.nc")
    np.testing.assert_allclose(old["t2m"], new["t2m"], atol=5e-4)
    assert float(new["t2m"][0, 0, 0]) == pytest.approx(251.27509, abs=1e-5)
    xr.testing.assert_equal(old.coords.to_dataset(), new.coords.to_dataset())


@real
def test_real_land_file_keeps_its_sea() -> None:
    data = open_object(REAL / "era5_formats/era5_land_2025-01_cds_2026.nc")
    assert int(data["t2m"].isnull().sum()) == 1


@real
def test_real_invariants() -> None:
    data = open_object(REAL / "mirror/era5/era5_invariant_oetztal.nc")
    assert float(data["z"].max()) / 9.80665 == pytest.approx(2426, abs=1)
    assert float(data["lsm"].min()) > 0.99


@real
def test_real_mirror_into_an_archive_and_found_there(tmp_path: Path) -> None:
    origin, archive = DirectoryOrigin(REAL / "mirror"), Archive(tmp_path / "raw")
    for remote in era5.remotes(origin, [], {}, []):
        assert isinstance(remote, Remote)

        def transfer(part: Path, known: SourceObject | None, remote: Remote = remote) -> Delivery:
            outcome = origin.fetch(remote, part, known)
            assert isinstance(outcome, Delivery)
            return outcome

        archive.store(era5.PRODUCT, remote.path, transfer, remote.verify)
    index = Index(archive.objects("era5"))
    hintereisferner = (10.70, 46.76, 10.81, 46.84)
    selection = index.select(["1979-01", "2018-12", "2019-01"], hintereisferner)
    assert list(selection.chosen.values()) == [["1979-01", "2018-12"]]
    assert "1979-01..2018-12" in selection.missing["2019-01"]
    invariants = index.invariants(hintereisferner)
    assert invariants is not None and invariants.path == "era5_invariant_oetztal.nc"
    assert index.invariants((-20.6, 64.6, -20.4, 64.7)) is None


# --- boxes, months, mirrors -------------------------------------------------------------------------------------------


def test_months_as_ranges() -> None:
    months = ["2018-12", "1979-01", "1979-02", "2018-11", "2020-05"]
    assert era5.compress(months) == ["1979-01..1979-02", "2018-11..2018-12", "2020-05"]
    assert era5.expand(era5.compress(months)) == sorted(months)


@pytest.mark.parametrize(
    ("bounds", "box"),
    [
        ([(10.7, 46.76, 10.81, 46.84)], Box(47.25, 10.25, 46.5, 11.25)),
        ([(-150.0, 56.9, -130.6, 57.1), (-143.9, 69.2, -143.7, 69.35)], Box(69.75, -150.25, 56.5, -130.25)),
        ([(178.3, 71.0, 179.9, 71.4), (-179.6, 70.9, -178.2, 71.2)], Box(71.75, 178.0, 70.5, 182.25)),
        ([(179.7, 71.0, -179.4, 71.4)], Box(71.75, 179.25, 70.75, 181.0)),
        ([(181.3, 71.0, 182.1, 71.4)], Box(71.75, -179.0, 70.75, -177.5)),
        ([(-10.0, 89.0, 10.0, 89.9)], Box(90.0, -10.25, 88.75, 10.25)),
        ([(-170.0, 60, -169, 61), (-50, 60, -49, 61), (70, 60, 71, 61)], Box(61.25, -170.25, 59.75, 71.25)),
        ([(-180.0, 60.0, 180.0, 80.0)], Box(80.25, -180.0, 59.75, 179.75)),
    ],
)
def test_request_boxes(bounds: list[tuple[float, float, float, float]], box: Box) -> None:
    assert era5.request_boxes({"07": bounds, "08": []}) == {"07": box}
    for one in bounds:
        assert box.grown(0.125, 0.125).contains(Box.of_bounds(one))


def test_boxes_turn_with_the_globe() -> None:
    box = Box(72.0, 178.0, 70.0, 182.0)
    assert box.contains(Box(71.0, -179.5, 70.5, -178.5)) and box.contains(Box(71.0, 538.5, 70.5, 539.0))
    assert not box.contains(Box(71.0, -179.0, 70.5, -177.0)) and box.overlaps(Box(71.0, -179.0, 70.5, -177.0))
    assert not box.overlaps(Box(71.0, -170.0, 70.5, -169.0)) and not box.overlaps(Box(75.0, 179.0, 73.0, 180.0))
    assert Box(90.0, -180.0, -90.0, 179.75).grown(0.125, 0.125).contains(box)


def test_mirror_offers_every_file(tmp_path: Path) -> None:
    folder = tmp_path / "era5" / era5.DATASET
    folder.mkdir(parents=True)
    for path in (tmp_path / "era5/a.nc", tmp_path / "era5/b.ZIP", tmp_path / "era5/readme.md", folder / "c.nc"):
        path.write_bytes(b"")
    found = era5.remotes(DirectoryOrigin(tmp_path), ["2020-01"], {}, [])
    assert [r.path for r in found if isinstance(r, Remote)] == ["a.nc", "b.ZIP", f"{era5.DATASET}/c.nc"]


def test_mirror_without_era5_is_a_gap(tmp_path: Path) -> None:
    (missing,) = era5.remotes(DirectoryOrigin(tmp_path), ["2020-01"], {}, [])
    assert isinstance(missing, Missing) and str(tmp_path) in missing.reason


# --- index ------------------------------------------------------------------------------------------------------------

GLACIER = (11.7, 78.8, 11.9, 78.95)


def held(
    name: str,
    final: list[str] | None = None,
    preliminary: list[str] | None = None,
    box: tuple[float, float, float, float] = (79.5, 10.0, 78.0, 13.0),
    at: str = "2026-01-01T00:00:00+00:00",
    variables: tuple[str, ...] = ("t2m",),
) -> SourceObject:
    months = {"final": final, "preliminary": preliminary}
    return SourceObject(
        source_id=name,
        provider="era5",
        product="ERA5",
        version="",
        url="",
        sha256="",
        bytes=0,
        retrieved_at=at,
        licence="",
        citation="",
        path=name,
        is_synthetic=False,
        content={
            "variables": list(variables),
            "months": {status: ranges for status, ranges in months.items() if ranges},
            "box": list(box),
            "resolution": [0.25, 0.25],
            "grid": "",
        },
    )


def test_final_goes_before_preliminary_then_the_newest() -> None:
    index = Index(
        [
            held("old", ["2026-01..2026-03"], at="2026-05-01T00:00:00+00:00"),
            held("new", ["2026-03"], ["2026-01", "2026-04..2026-05"], at="2026-08-01T00:00:00+00:00"),
            held("older", None, ["2026-04..2026-05"], at="2026-06-01T00:00:00+00:00"),
        ]
    )
    assert index.select(["2026-01", "2026-03", "2026-04", "2026-06"], GLACIER).chosen == {
        "old": ["2026-01"],
        "new": ["2026-03", "2026-04"],
    }
    assert index.status() == {
        "2026-01": "final",
        "2026-02": "final",
        "2026-03": "final",
        "2026-04": "preliminary",
        "2026-05": "preliminary",
    }


def test_preliminary_values_of_months_that_are_final_by_now() -> None:
    may, june, july = (f"2026-{month:02d}-06T00:00:00+00:00" for month in (5, 6, 7))
    first = held("first", ["2026-01"], ["2026-02..2026-04"], at=may)
    overwritten = held("overwritten", None, ["2026-03..2026-05"], at=june)
    files = [
        first,
        held("final", ["2026-01..2026-04"], ["2026-05..2026-06"], at=july),
        held("rain", None, ["2026-02"], at=july, variables=("tp",)),
        held("half", None, ["2026-02"], at=july, box=(78.75, 10.0, 78.0, 13.0)),
    ]
    months = [f"2026-{month:02d}" for month in range(1, 8)]
    assert Index(files).preliminary(months, GLACIER) == {"first": ["2026-02", "2026-03", "2026-04"]}
    index = Index(files, [overwritten])
    assert index.preliminary(months, GLACIER) == {"first": ["2026-02"], "overwritten": ["2026-03", "2026-04"]}
    assert index.preliminary(months[3:], GLACIER) == {"overwritten": ["2026-04"]}
    assert index.preliminary(months, GLACIER, "tp") == {}, "rain has never become final"
    assert index.preliminary(months, (20.0, 78.8, 21.0, 78.95)) == {}
    assert index.select(["2026-05"], GLACIER).chosen == {"final": ["2026-05"]}, "replaced files are no choice"
    assert Index([], [overwritten]).select(["2026-04"], GLACIER).missing.keys() == {"2026-04"}
    assert Index([first], [overwritten]).preliminary(months, GLACIER) == {}


def test_a_month_is_final_when_it_is_so_in_every_box() -> None:
    there = (66.0, 13.0, 65.0, 15.0)
    index = Index([held("a", ["2026-01"]), held("b", None, ["2026-01"], box=there)])
    assert index.status() == {"2026-01": "preliminary"}
    assert index.over(Box(*there)) == {"2026-01": "preliminary"}
    assert index.over(Box(79.0, 11.0, 78.5, 12.0)) == {"2026-01": "final"}
    assert Index([held("a", ["2026-01"]), held("b", None, ["2026-01"])]).status() == {"2026-01": "final"}
    assert index.status("skt") == {}


def test_a_box_that_does_not_cover_the_glacier() -> None:
    narrow = held("narrow", ["2020-01..2020-12"], box=(78.75, 10.0, 78.0, 13.0))
    with pytest.raises(SourceError) as caught:
        Index([narrow]).select(["2020-03"], GLACIER)
    text = str(caught.value)
    for words in ("narrow", "9.875..13.125 E, 77.875..78.875 N", "11.7..11.9 E, 78.8..78.95 N", "2020-03"):
        assert words in text
    wide = held("wide", ["2020-03"])
    assert Index([narrow, wide]).select(["2020-03"], GLACIER).chosen == {"wide": ["2020-03"]}
    with pytest.raises(SourceError, match="2020-04"):
        Index([narrow, wide]).select(["2020-03", "2020-04"], GLACIER)


def test_cells_count_not_only_their_centres() -> None:
    box = (78.75, 11.75, 78.75, 11.75)
    assert Index([held("cell", ["2020-01"], box=box)]).select(["2020-01"], (11.63, 78.63, 11.87, 78.87)).chosen


def test_what_is_missing_is_said() -> None:
    index = Index([held("a", ["1979-01..2018-12"])])
    assert "1979-01..2018-12" in index.select(["2019-01"], GLACIER).missing["2019-01"]
    far = index.select(["2000-01"], (-38.0, 65.6, -37.6, 65.8)).missing["2000-01"]
    assert "-38..-37.6 E" in far and "9.875..13.125 E" in far
    assert "none" in Index([]).select(["2000-01"], GLACIER).missing["2000-01"]
    invariants_only = Index([held("z", variables=("z", "lsm"))])
    assert "none" in invariants_only.select(["2000-01"], GLACIER).missing["2000-01"]


def test_glaciers_across_180_degrees_and_with_other_longitudes() -> None:
    index = Index([held("wrangel", ["2020-01"], box=(71.75, 178.0, 70.5, 182.0))])
    for bounds in ((179.7, 71.0, 180.3, 71.4), (179.7, 71.0, -179.7, 71.4), (-180.3, 71.0, -179.7, 71.4)):
        assert index.select(["2020-01"], bounds).chosen == {"wrangel": ["2020-01"]}


def test_newest_invariants_that_cover() -> None:
    both = ("lsm", "z")
    index = Index(
        [
            held("new", box=(78.75, 10.0, 78.0, 13.0), at="2026-03-01T00:00:00+00:00", variables=both),
            held("old", at="2026-01-01T00:00:00+00:00", variables=both),
            held("half", at="2026-04-01T00:00:00+00:00", variables=("z",)),
        ]
    )
    found = index.invariants(GLACIER)
    assert found is not None and found.source_id == "old"
    assert index.invariants((20.0, 78.8, 21.0, 78.95)) is None
