"""Windows out of mosaics: the same from a directory and through GDAL's HTTP ranges, and a reason for each gap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin
from shapely import LineString

from arctic_assets.errors import SourceError
from arctic_assets.science import velocity
from arctic_assets.settings import load
from arctic_assets.sources import itslive
from arctic_assets.sources.base import Delivery, Missing, SourceObject, Unchanged
from arctic_assets.sources.http import Client
from arctic_assets.sources.origins import DirectoryOrigin, HttpOrigin, LiveOrigin
from arctic_assets.storage.archive import Archive
from arctic_assets_tests.testkit import server as kit
from arctic_assets_tests.testkit.server import StaticServer

ANNUAL = "itslive/velocity_mosaic/v2/annual/cog/ITS_LIVE_velocity_120m_RGI07A"
ORIGIN = from_origin(1_000_000, -200_000, 120, 120)
SIZE = 1024
BOTH = ["v2", "v2.1"]
NODATA = {"v": -32767.0, "v_error": 0.0, "count": 0.0}
"""That of the error band is wrong: missing are 32767."""
DTYPES = {"v": "float32", "v_error": "uint16", "count": "uint32"}


def lon_lat(col: float, row: float, epsg: int = 3413, transform: Affine = ORIGIN) -> tuple[float, float]:
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(epsg, 4326, always_xy=True)
    lon, lat = to_degrees.transform(transform.a * col + transform.c, transform.e * row + transform.f)
    return lon, lat


LINE = LineString([lon_lat(600.5, 300.5), lon_lat(640.5, 330.5)])
"""From the middle of column 600, row 300 to the middle of column 640, row 330."""


def bands(random_state: int = 0) -> dict[str, np.ndarray]:
    """Speeds that differ from cell to cell, so that a shifted window shows."""
    random = np.random.default_rng(random_state)
    shape = SIZE, SIZE
    return {
        "v": random.uniform(1, 500, shape).astype("float32"),
        "v_error": random.integers(1, 20, shape).astype("uint16"),
        "count": random.integers(1, 900, shape).astype("uint32"),
    }


def write(
    root: Path,
    year: int = 2005,
    version: str = "v2",
    values: dict[str, np.ndarray] | None = None,
    epsg: int = 3413,
    region: str = "RGI07A",
    transform: Affine = ORIGIN,
    **tags: str,
) -> None:
    for band, cells in (values or bands()).items():
        path = root / "itslive" / itslive.Mosaic(region, year, version).path(band)
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path, "w", driver="GTiff", width=cells.shape[1], height=cells.shape[0], count=1, dtype=DTYPES[band],
            crs=f"EPSG:{epsg}", transform=transform, tiled=True, blockxsize=256, blockysize=256, compress="deflate",
            nodata=NODATA[band],
        ) as raster:  # fmt: skip
            raster.update_tags(**tags)
            raster.write(cells, 1)


def wanted(year: int = 2005, region: str = "RGI07A", *lines: LineString) -> itslive.WindowRemote:
    (found,) = itslive.remotes({"glacier": lines or (LINE,)}, {"glacier": region}, [year])
    assert isinstance(found, itslive.WindowRemote)
    return found


def in_directory(root: Path) -> itslive.Mosaics:
    return itslive.open_mosaics(load(mirror=str(root), home=root))


def over_http(server: StaticServer, attempts: int = 2) -> itslive.Mosaics:
    client = Client(attempts=attempts, pause_s=0.01, sleep=lambda seconds: None)
    return itslive.Mosaics(HttpOrigin(server.url, client), f"{server.url}/itslive", client)


def cut(mosaics: itslive.Mosaics, remote: itslive.WindowRemote, folder: Path) -> itslive.Window:
    target = folder / f".{Path(remote.path).name}.part"
    assert isinstance(mosaics.fetch(remote, target, None), Delivery)
    itslive.verify(target)
    return itslive.read(target)


def missing(outcome: object) -> str:
    assert isinstance(outcome, Missing)
    return outcome.reason


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    write(folder)
    return folder


def test_paths_are_the_buckets() -> None:
    stem = "velocity_mosaic/v2/annual/cog/ITS_LIVE_velocity_120m_RGI07A_2005_v02"
    assert itslive.Mosaic("RGI07A", 2005, "v2").path("v_error") == f"{stem}_v_error.tif"
    stem = "velocity_mosaic/v2.1/annual/cog/ITS_LIVE_velocity_120m_RGI01A_2024_V02.1"
    assert itslive.Mosaic("RGI01A", 2024, "v2.1").path("count") == f"{stem}_count.tif"
    stem = "velocity_mosaic/v2/static/cog/ITS_LIVE_velocity_120m_RGI07A_0000_v02"
    assert itslive.Mosaic("RGI07A", itslive.CLIMATOLOGY, "v2").path("v") == f"{stem}_v.tif"


@pytest.mark.parametrize(
    ("year", "versions"),
    [
        (1981, []),
        (1982, ["v2.1"]),
        (1985, ["v2", "v2.1"]),
        (2022, ["v2", "v2.1"]),
        (2023, ["v2.1"]),
        (0, ["v2", "v2.1"]),
    ],
)
def test_versions_of_a_year(year: int, versions: list[str]) -> None:
    assert [one.version for one in itslive.mosaics_of("RGI07A", year)] == versions


@pytest.mark.parametrize(
    ("o1region", "latitude", "code"),
    [("07", 79, "RGI07A"), ("02", 57, "RGI01A"), ("02", 49, "RGI02A"), ("15", 28, "RGI14A"), ("16", 0, None)],
)
def test_regions(o1region: str, latitude: float, code: str | None) -> None:
    assert itslive.region_code(o1region, latitude) == code


def test_a_window_holds_the_mosaics_cells(root: Path, tmp_path: Path) -> None:
    with in_directory(root) as mosaics:
        window = cut(mosaics, wanted(), tmp_path)
    margin = itslive.MARGIN_CELLS
    rows, cols = slice(300 - margin, 331 + margin), slice(600 - margin, 641 + margin)
    for name, cells in bands().items():
        np.testing.assert_array_equal(getattr(window, name), cells[rows, cols].astype("float32"))
    assert window.transform == from_origin(1_000_000 + 120 * cols.start, -200_000 - 120 * rows.start, 120, 120)
    assert (window.crs.to_epsg(), window.version, window.year) == (3413, "v2", 2005)


def test_http_gives_the_same_bytes_and_few_of_the_mosaics(root: Path, tmp_path: Path) -> None:
    here, there = tmp_path / "here.tif", tmp_path / "there.tif"
    with in_directory(root) as mosaics:
        mosaics.fetch(wanted(), here, None)
    whole = sum(path.stat().st_size for path in root.rglob("*.tif"))
    with StaticServer(root) as server, over_http(server) as mosaics:
        delivery = mosaics.fetch(wanted(), there, None)
        assert isinstance(delivery, Delivery)
        assert delivery.url == f"{server.url}/{ANNUAL}_2005_v02_v.tif"
        assert delivery.etag is not None and delivery.etag.count('"') == 6
        assert server.count("GET", status=200) == 0
        assert server.bytes_sent < 0.25 * whole  # 2 of 16 blocks, and headers
    for one, other in zip(raw(here), raw(there), strict=True):
        np.testing.assert_array_equal(one, other)


def raw(path: Path) -> np.ndarray:
    with rasterio.open(path) as raster:
        cells: np.ndarray = raster.read()
        return cells


def test_glaciers_of_a_region_share_the_open_mosaic(root: Path, tmp_path: Path) -> None:
    near = LineString([lon_lat(605.5, 305.5), lon_lat(620.5, 320.5)])
    with StaticServer(root) as server, over_http(server) as mosaics:
        mosaics.fetch(wanted(), tmp_path / "a.tif", None)
        first = server.bytes_sent
        window = cut(mosaics, wanted(2005, "RGI07A", near), tmp_path)
        assert server.bytes_sent == first  # neither marks, nor headers, nor blocks again
    assert np.isfinite(window.v).all()


def test_a_replaced_mosaic_is_seen(root: Path, tmp_path: Path) -> None:
    with StaticServer(root) as server:
        with over_http(server) as mosaics:
            before = cut(mosaics, wanted(), tmp_path)
        write(root, values=bands(1))
        with over_http(server) as mosaics:
            after = cut(mosaics, wanted(), tmp_path)
    assert (before.v != after.v).all()


def test_version_21_serves_what_version_2_lacks(root: Path, tmp_path: Path) -> None:
    write(root, 1999, "v2.1")
    write(root, 2024, "v2.1")
    with StaticServer(root) as server:
        for mosaics in (in_directory(root), over_http(server)):
            with mosaics:
                found = {year: cut(mosaics, wanted(year), tmp_path) for year in (1999, 2005, 2024)}
            assert [window.version for window in found.values()] == ["v2.1", "v2", "v2.1"]


def test_gaps_have_reasons(root: Path, tmp_path: Path) -> None:
    write(root, 2006)
    (root / f"{ANNUAL}_2006_v02_v_error.tif").unlink()
    away = LineString([lon_lat(-500, 300), lon_lat(-400, 300)])
    with StaticServer(root) as server:
        for mosaics in (in_directory(root), over_http(server)):
            with mosaics:
                target = tmp_path / "t.tif"
                gap = mosaics.fetch(wanted(1986), target, None)
                assert missing(gap) == "no ITS_LIVE mosaic for region 07 in 1986"
                assert isinstance(gap, Missing) and gap.what == "itslive/windows/glacier/glacier_1986.tif"
                assert missing(mosaics.fetch(wanted(1980), target, None)) == "no ITS_LIVE mosaic for region 07 in 1980"
                lacking = missing(mosaics.fetch(wanted(2006), target, None))
                assert lacking == "the ITS_LIVE mosaic RGI07A of 2006 lacks v_error"
                outside = missing(mosaics.fetch(wanted(2005, "RGI07A", away), target, None))
                assert outside == "the centreline lies outside the ITS_LIVE mosaic RGI07A"
                assert not target.exists()


def test_a_line_that_leaves_the_mosaic_is_cut_off(root: Path, tmp_path: Path) -> None:
    leaving = LineString([lon_lat(1000.5, 5.5), lon_lat(1060.5, -30.5)])
    with in_directory(root) as mosaics:
        window = cut(mosaics, wanted(2005, "RGI07A", leaving), tmp_path)
    np.testing.assert_array_equal(window.v, bands()["v"][: 6 + itslive.MARGIN_CELLS, 1000 - itslive.MARGIN_CELLS :])


def test_what_lies_between_distant_lines_is_not_kept(root: Path, tmp_path: Path) -> None:
    corner = LineString([lon_lat(10.5, 10.5), lon_lat(20.5, 20.5)])
    target = tmp_path / ".glacier_2005.tif.part"
    with in_directory(root) as mosaics:
        window = cut(mosaics, wanted(2005, "RGI07A", corner, LINE), tmp_path)
        assert window.v.shape == (331, 641)
        assert window.v[5, 5] == bands()["v"][10, 10] and window.v[295, 595] == bands()["v"][300, 600]
    assert np.isnan(window.v[200, 300]) and window.count[200, 300] == 0
    assert itslive.verify(target).content["n_valid"] < 0.3 * window.v.size


def test_points_are_read_without_the_rest(root: Path, tmp_path: Path) -> None:
    """The same as through the arrays: inside blocks, in a block that is not there, on a gap, and outside."""
    corner = LineString([lon_lat(10.5, 10.5), lon_lat(20.5, 20.5)])
    values = bands()
    values["v"][300, 600] = -32767
    write(root, 2006, values=values)
    places = [
        (10.5, 10.5),
        (20.9, 20.1),
        (300, 200),
        (600.5, 300.5),
        (640.5, 330.5),
        (2, 2),
        (900, 900),
        (600.5, 301.5),
    ]
    lon, lat = np.array([lon_lat(*place) for place in places]).T
    with in_directory(root) as mosaics:
        window = cut(mosaics, wanted(2006, "RGI07A", corner, LINE), tmp_path)
    found = itslive.read_points(tmp_path / ".glacier_2006.tif.part", lon, lat)
    whole = velocity.sample(window.v, window.v_error, window.count, window.transform, window.crs, lon, lat)
    np.testing.assert_array_equal(found.v, whole.v)
    assert np.isfinite(found.v).tolist() == [True, True, False, False, True, False, False, True]
    valid = np.isfinite(found.v)
    np.testing.assert_array_equal(found.v_error[valid], whole.v_error[valid])
    np.testing.assert_array_equal(found.count[valid], whole.count[valid])


def test_missing_cells(tmp_path: Path) -> None:
    values = bands()
    values["v"][300, 600] = -32767
    values["v_error"][301, 600] = 32767
    values["count"][302, 600] = 0
    values["v_error"][303, 600] = 0  # the wrong tag says missing
    values["v"][304, 600] = np.nan
    write(tmp_path / "m", values=values)
    with in_directory(tmp_path / "m") as mosaics:
        window = cut(mosaics, wanted(), tmp_path)
    at = slice(itslive.MARGIN_CELLS, itslive.MARGIN_CELLS + 5), itslive.MARGIN_CELLS
    assert np.isnan(window.v[at]).tolist() == [True, False, True, False, True]
    assert np.isnan(window.v_error[at]).tolist() == [False, True, False, False, False]
    assert window.v_error[at][3] == 0 and window.count[at][2] == 0
    assert np.isnan(window.v).sum() == 3 and np.nanmax(window.v_error) < 20


def test_an_empty_mosaic_gives_an_empty_window(tmp_path: Path) -> None:
    empty = {"v": -32767.0, "v_error": 32767, "count": 0}
    shape = SIZE, SIZE
    write(tmp_path / "m", values={band: np.full(shape, fill, DTYPES[band]) for band, fill in empty.items()})
    with in_directory(tmp_path / "m") as mosaics:
        window = cut(mosaics, wanted(), tmp_path)
    assert np.isnan(window.v).all() and (window.count == 0).all() and window.v.size > 1000


def test_other_crs(tmp_path: Path) -> None:
    """North Asia is in UTM 45N."""
    transform = from_origin(450_000, 8_000_000, 120, 120)
    write(tmp_path / "m", region="RGI10A", epsg=32645, transform=transform)
    line = LineString([lon_lat(50.5, 60.5, 32645, transform), lon_lat(90.5, 60.5, 32645, transform)])
    with in_directory(tmp_path / "m") as mosaics:
        window = cut(mosaics, wanted(2005, "RGI10A", line), tmp_path)
    assert window.crs.to_epsg() == 32645
    assert window.v[5, 5] == bands()["v"][60, 50]


def test_synthetic_is_passed_on(tmp_path: Path) -> None:
    write(tmp_path / "m", TIFFTAG_IMAGEDESCRIPTION="SYNTHETIC: not observed")
    write(tmp_path / "m", 2006)
    target = tmp_path / "glacier_2005.tif"
    with in_directory(tmp_path / "m") as mosaics:
        mosaics.fetch(wanted(), target, None)
        assert itslive.verify(target).is_synthetic
        target = tmp_path / "glacier_2006.tif"
        mosaics.fetch(wanted(2006), target, None)
        assert not itslive.verify(target).is_synthetic


def store(archive: Archive, mosaics: itslive.Mosaics, remote: itslive.WindowRemote) -> tuple[SourceObject | None, bool]:
    def transfer(part: Path, held: SourceObject | None) -> Delivery | None:
        answer = mosaics.fetch(remote, part, held)
        return answer if isinstance(answer, Delivery) else None

    return archive.store(remote.product, remote.path, transfer, remote.verify)


def test_the_archive_keeps_windows_and_asks_for_marks_only(root: Path, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "raw")
    with StaticServer(root) as server:
        for _ in range(2):
            before = server.bytes_sent
            with over_http(server) as mosaics:
                held, is_new = store(archive, mosaics, wanted())
            assert held is not None
        assert not is_new
        assert server.bytes_sent - before == 3  # one byte of each band
        with over_http(server) as mosaics:
            longer = LineString([*LINE.coords, lon_lat(660.5, 330.5)])
            _, is_new = store(archive, mosaics, wanted(2005, "RGI07A", longer))
            assert is_new
    assert held is not None and held.path == "windows/glacier/glacier_2005.tif"
    assert held.version == "v2"
    assert held.content == {
        "glacier_id": "glacier",
        "year": 2005,
        "region": "RGI07A",
        "lines": wanted().mark,
        "epsg": 3413,
        "n_valid": (31 + 10) * (41 + 10),
    }


def test_unchanged_in_a_directory(root: Path, tmp_path: Path) -> None:
    archive = Archive(tmp_path / "raw")
    with in_directory(root) as mosaics:
        held, _ = store(archive, mosaics, wanted())
        assert isinstance(mosaics.fetch(wanted(), tmp_path / "t", held), Unchanged)
    assert held is not None and held.url == f"mirror:{ANNUAL}_2005_v02_v.tif"
    write(root, values=bands(1))
    with in_directory(root) as mosaics:
        assert store(archive, mosaics, wanted())[1]


def test_an_archive_is_a_mirror(root: Path, tmp_path: Path) -> None:
    first, second = Archive(tmp_path / "first"), Archive(tmp_path / "second")
    with in_directory(root) as mosaics:
        held, _ = store(first, mosaics, wanted())
    with in_directory(first.root) as mosaics:
        copied, is_new = store(second, mosaics, wanted())
        assert missing(mosaics.fetch(wanted(1986), tmp_path / "t", None)).startswith("no ITS_LIVE mosaic")
    assert held is not None and copied is not None and is_new
    assert copied.sha256 == held.sha256


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda: kit.status(503), "HTTP 503"),
        (lambda: kit.status(403), "HTTP 403"),
        (lambda: kit.page(), "HTTP 200"),
    ],
)
def test_a_server_in_trouble_is_an_error(
    root: Path, tmp_path: Path, fault: Callable[[], kit.Fault], expected: str
) -> None:
    with StaticServer(root) as server, over_http(server) as mosaics:
        server.break_path(f"/{ANNUAL}_2005_v02_v.tif", *[fault() for _ in range(2)])
        with pytest.raises(SourceError, match=expected):
            mosaics.fetch(wanted(), tmp_path / "t", None)


def test_a_server_that_breaks_while_it_is_read(root: Path, tmp_path: Path) -> None:
    path = f"/{ANNUAL}_2005_v02_count.tif"
    with StaticServer(root) as server, over_http(server) as mosaics:
        server.break_path(path, lambda request, response: response, *[kit.status(500)] * 20)
        with pytest.raises(SourceError, match="HTTP 500") as caught:
            mosaics.fetch(wanted(), tmp_path / "t", None)
    assert caught.value.__cause__ is None and caught.value.__context__ is None and "vsicurl" not in str(caught.value)


def test_no_silent_gap_when_blocks_do_not_come(root: Path, tmp_path: Path) -> None:
    path = f"/{ANNUAL}_2005_v02_v.tif"
    near = LineString([lon_lat(10.5, 10.5), lon_lat(20.5, 20.5)])
    with StaticServer(root) as server, over_http(server) as mosaics:
        mosaics.fetch(wanted(), tmp_path / "t", None)
        server.break_path(path, *[kit.status(500)] * 20)
        with pytest.raises(SourceError, match="HTTP 500"):
            mosaics.fetch(wanted(2005, "RGI07A", near), tmp_path / "t", None)


def test_server_without_ranges(root: Path, tmp_path: Path) -> None:
    with (
        StaticServer(root, has_ranges=False) as server,
        over_http(server) as mosaics,
        pytest.raises(SourceError, match="a window cannot be cut"),
    ):
        mosaics.fetch(wanted(), tmp_path / "t", None)


@pytest.mark.parametrize("text", ["<html>no</html>", ""])
def test_wrong_mosaics_are_refused(root: Path, tmp_path: Path, text: str) -> None:
    (root / f"{ANNUAL}_2005_v02_v_error.tif").write_text(text)
    with in_directory(root) as mosaics, pytest.raises(SourceError, match="cannot be read"):
        mosaics.fetch(wanted(), tmp_path / "t", None)


def test_bands_on_other_grids_are_refused(root: Path, tmp_path: Path) -> None:
    write(root, values={"count": bands()["count"][:500]})
    with in_directory(root) as mosaics, pytest.raises(SourceError, match="the grid of band v"):
        mosaics.fetch(wanted(), tmp_path / "t", None)


def test_damaged_windows_are_refused(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "glacier_2005.tif"
    with in_directory(root) as mosaics:
        mosaics.fetch(wanted(), target, None)
    whole = target.read_bytes()
    with pytest.raises(SourceError, match="not named after"):
        itslive.verify(target.rename(tmp_path / "glacier_2006.tif"))
    target.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="to its end"):
        itslive.verify(target)
    target.write_text("<html>Not found</html>")
    with pytest.raises(SourceError, match="an HTML page"):
        itslive.verify(target)
    with rasterio.open(target, "w", driver="GTiff", width=2, height=2, count=1, dtype="float32") as raster:
        raster.write(np.ones((1, 2, 2), "float32"))
    with pytest.raises(SourceError, match="other bands"):
        itslive.verify(target)


def test_impossible_speeds_are_refused(tmp_path: Path) -> None:
    for wrong in (-5.0, 30_000.0):
        values = bands()
        values["v"][310, 610] = wrong
        write(tmp_path / "m", values=values)
        target = tmp_path / "glacier_2005.tif"
        with in_directory(tmp_path / "m") as mosaics:
            mosaics.fetch(wanted(), target, None)
        with pytest.raises(SourceError, match="a speed is impossible"):
            itslive.verify(target)


def test_regions_are_checked_and_windows_come_by_mosaic() -> None:
    with pytest.raises(SourceError, match="not regions of ITS_LIVE"):
        itslive.remotes({"a": (LINE,)}, {"a": "07"}, [2005])
    found = itslive.remotes({"b": (LINE,), "a": (LINE,)}, {"a": "RGI07A", "b": "RGI07A"}, [2006, 2005])
    assert [one.path for one in found if not isinstance(one, Missing)] == [
        "windows/a/a_2005.tif",
        "windows/b/b_2005.tif",
        "windows/a/a_2006.tif",
        "windows/b/b_2006.tif",
    ]


def test_live_is_the_bucket() -> None:
    mosaics = itslive.open_mosaics(load(mirror="live", home=Path("/nowhere")))
    assert mosaics.is_live and isinstance(mosaics.origin, LiveOrigin)
    assert mosaics.root == "https://its-live-data.s3.amazonaws.com"
    assert isinstance(itslive.open_mosaics(load(mirror="sample", home=Path("/nowhere"))).origin, DirectoryOrigin)


def test_a_live_bucket_without_the_year(root: Path, tmp_path: Path) -> None:
    client = Client(attempts=1)
    with StaticServer(root / "itslive") as server, itslive.Mosaics(LiveOrigin(client), server.url, client) as mosaics:
        assert missing(mosaics.fetch(wanted(1986), tmp_path / "t", None)) == "no ITS_LIVE mosaic for region 07 in 1986"
        assert np.isfinite(cut(mosaics, wanted(), tmp_path).v).all()
