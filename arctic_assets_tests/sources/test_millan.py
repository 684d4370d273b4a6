from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds

from arctic_assets.errors import SourceError
from arctic_assets.provenance import SYNTHETIC, Delivery, SourceObject
from arctic_assets.science.common_grid import Bounds
from arctic_assets.sources import millan
from arctic_assets.sources.base import Missing, Origin, Remote, Unchanged
from arctic_assets.sources.http import Client
from arctic_assets.sources.millan import Window
from arctic_assets.sources.origins import DirectoryOrigin, HttpOrigin, LiveOrigin
from arctic_assets.storage.archive import Archive
from arctic_assets_tests.testkit.server import StaticServer, page, status

TILE = "thickness/RGI-7/THICKNESS_RGI-7.1_2021July09.tif"
ERROR = "thickness/RGI-7/ERRTHICKNESS_RGI-7.1_2021July09.tif"
CELLS = np.random.default_rng(7).uniform(1, 400, (1200, 1200)).astype("float32")
BLOCK = (600, 640, 500, 560)
"""Rows and columns of the mosaic that are the glacier."""


def impatient() -> Client:
    return Client(attempts=2, sleep=lambda seconds: None)


def write(path: Path, values: np.ndarray = CELLS, crs: str | None = "EPSG:32633", **profile: Any) -> Path:
    tags = profile.pop("tags", {})
    path.parent.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "driver": "GTiff",
        "height": values.shape[-2],
        "width": values.shape[-1],
        "count": 1,
        "dtype": values.dtype,
        "crs": crs,
        "transform": from_origin(430000, 8760000, 50, 50),
        "tiled": True,
        **profile,
    }
    with rasterio.open(path, "w", **settings) as raster:
        for band in range(1, raster.count + 1):
            raster.write(values, band)
        raster.update_tags(**tags)
    return path


def degrees(rows_columns: tuple[int, int, int, int] = BLOCK, epsg: int = 32633) -> Bounds:
    top, bottom, left, right = rows_columns
    return transform_bounds(
        f"EPSG:{epsg}",
        "EPSG:4326",
        430000 + 50 * left,
        8760000 - 50 * bottom,
        430000 + 50 * right,
        8760000 - 50 * top,
    )


def write_lookup(folder: Path, rows: list[dict[str, Any]] | None = None, **columns: Any) -> Path:
    import geopandas as gpd

    footprint = shapely.box(*degrees((0, 1200, 0, 1200)))
    rows = rows or [{"thickness": TILE, "err": ERROR, "file_id": "RGI-7.1"}]
    frame = gpd.GeoDataFrame([{"geometry": footprint, **row, **columns} for row in rows], crs="EPSG:4326")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "shape").mkdir()
    frame.to_file(folder / "shape/lookup.shp")
    path = folder / millan.LOOKUP
    with zipfile.ZipFile(path, "w") as archive:
        for part in sorted((folder / "shape").iterdir()):
            archive.write(part, part.name)
            part.unlink()
    (folder / "shape").rmdir()
    return path


def mirror(folder: Path) -> Path:
    """A mirror with one mosaic and its error."""
    write_lookup(folder / "millan")
    write(folder / "millan" / TILE)
    write(folder / "millan" / ERROR, CELLS / 4)
    return folder


def windows(origin: Origin, folder: Path, bounds: Bounds | None = None, **given: Any) -> list[Window]:
    found = millan.remotes(origin, {"broegger": bounds or degrees()}, folder / "millan" / millan.LOOKUP, **given)
    assert all(isinstance(one, Window) for one in found)
    return [one for one in found if isinstance(one, Window)]


def bring(archive: Archive, origin: Origin, wanted: Any) -> tuple[SourceObject | None, bool, Any]:
    """As the wiring calls it."""
    answers: list[Any] = []

    def transfer(part: Path, held: SourceObject | None) -> Delivery | None:
        answers.append(millan.window_origin(origin).fetch(wanted, part, held))
        return answers[0] if isinstance(answers[0], Delivery) else None

    found, is_new = archive.store(wanted.product, wanted.path, transfer, wanted.verify)
    return found, is_new, answers[0]


def test_first_the_lookup_then_what_touches(tmp_path: Path) -> None:
    root = mirror(tmp_path)
    origin = DirectoryOrigin(root)
    west, south, east, north = degrees()
    (first,) = millan.remotes(origin, {"broegger": (west, south, east, north)})
    assert isinstance(first, Remote)
    assert first.path == millan.LOOKUP and first.url == f"{millan.BASE_URL}/{millan.LOOKUP}"
    assert millan.verify_lookup(root / "millan" / millan.LOOKUP).content == {"kind": "lookup", "n": 1}
    bounds = {"broegger": (west, south, east, north), "far": (60.0, 75.0, 61.0, 76.0), "turned": (371, 78.6, 376, 79)}
    found = millan.remotes(origin, bounds, root / "millan" / millan.LOOKUP)
    assert [one.path for one in found if isinstance(one, Window)] == [
        f"windows/broegger/{TILE}",
        f"windows/broegger/{ERROR}",
        f"windows/turned/{TILE}",
        f"windows/turned/{ERROR}",
    ]
    assert [one.optional for one in found if isinstance(one, Window)] == [False, True, False, True]
    assert [one for one in found if isinstance(one, Missing)] == [
        Missing("no mosaic of Millan et al. (2022) touches far", what="millan/windows/far")
    ]


def test_window_has_the_mosaics_own_values(tmp_path: Path) -> None:
    root = mirror(tmp_path / "mirror")
    origin, archive = DirectoryOrigin(root), Archive(tmp_path / "raw")
    thickness, error = windows(origin, root)
    found, is_new, _ = bring(archive, origin, thickness)
    assert found and is_new
    assert found.url == f"mirror:millan/{TILE}" and found.content["bounds"] == millan.rounded(degrees())
    values, cell_area_m2, crs, transform = millan.read(archive.file(found))
    top, left = round((8760000 - transform.f) / 50), round((transform.c - 430000) / 50)
    assert (values == CELLS[top : top + values.shape[0], left : left + values.shape[1]]).all()
    assert top <= BLOCK[0] and left <= BLOCK[2] and cell_area_m2 == 2500 and crs.to_epsg() == 32633
    assert top + values.shape[0] >= BLOCK[1] and left + values.shape[1] >= BLOCK[3] and values.size < 100 * 100
    assert found.content["kind"] == "thickness" and found.content["max_m"] == values.max() and not found.is_synthetic
    held, is_new, answer = bring(archive, origin, thickness)
    assert held == found and not is_new and isinstance(answer, Unchanged)
    other, _, _ = bring(archive, origin, error)
    assert other and other.content["kind"] == "err" and other.content["max_m"] == found.content["max_m"] / 4


def test_other_bounds_or_another_mosaic_make_another_window(tmp_path: Path) -> None:
    root = mirror(tmp_path / "mirror")
    origin, archive = DirectoryOrigin(root), Archive(tmp_path / "raw")
    first, _, _ = bring(archive, origin, windows(origin, root)[0])
    wider, is_new, _ = bring(archive, origin, windows(origin, root, degrees((500, 700, 450, 600)))[0])
    assert first and wider and is_new and wider.supersedes == first.source_id
    write(root / "millan" / TILE, CELLS / 2, tags={"TIFFTAG_IMAGEDESCRIPTION": "another delivery"})
    halved, is_new, _ = bring(archive, origin, windows(origin, root, degrees((500, 700, 450, 600)))[0])
    assert halved and is_new and halved.content["max_m"] == wider.content["max_m"] / 2


def test_part_of_a_window(tmp_path: Path) -> None:
    root = mirror(tmp_path)
    target = tmp_path / "window.tif"
    millan.deliver(DirectoryOrigin(root), windows(DirectoryOrigin(root), root)[0], target, None)
    part, _, _, transform = millan.read(target, degrees((610, 620, 510, 530)))
    top, left = round((8760000 - transform.f) / 50), round((transform.c - 430000) / 50)
    assert (part == CELLS[top : top + part.shape[0], left : left + part.shape[1]]).all()
    assert part.size < 20 * 35 and part.size >= 10 * 20
    assert millan.read(target, (60.0, 75.0, 61.0, 76.0))[0].shape == (0, 0)
    with millan.opened(target) as window:
        again = window.read(degrees((610, 620, 510, 530)))
        assert (again[0] == part).all() and again[3] == transform and window.read()[0].size > part.size


@pytest.mark.parametrize(
    ("nodata", "outside"),
    [
        (float("nan"), float("nan")),
        (-9999.0, -9999.0),
        (255.0, 255.0),
        (None, float("nan")),
        (None, 1e20),
        (None, float("inf")),
        (None, float("-inf")),
        (None, 0.0),
        (None, -32767.0),
    ],
)
def test_no_ice_is_zero_whatever_the_file_has_for_it(tmp_path: Path, nodata: float | None, outside: float) -> None:
    values = np.full((1200, 1200), outside, "float32")
    values[600:640, 500:560] = 120.5
    write_lookup(tmp_path / "millan")
    write(tmp_path / "millan" / TILE, values, nodata=nodata)
    target = tmp_path / ".window.tif.part"
    origin = DirectoryOrigin(tmp_path)
    millan.deliver(origin, windows(origin, tmp_path)[0], target, None)
    thickness, cell_area_m2, _, _ = millan.read(target)
    assert set(np.unique(thickness)) == {0, np.float32(120.5)}
    assert (thickness > 0).sum() == 40 * 60
    assert millan.verify(target).content["ice_area_km2"] == pytest.approx(40 * 60 * cell_area_m2 / 1e6)


def test_mosaic_in_another_zone_than_the_glacier(tmp_path: Path) -> None:
    values = np.zeros((1200, 1200), "float32")
    values[600:640, 500:560] = 77
    write(tmp_path / "millan" / TILE, values, crs="EPSG:32635", transform=from_origin(80000, 8790000, 50, 50))
    bounds = transform_bounds("EPSG:32635", "EPSG:4326", 105000, 8758000, 108000, 8760000)
    origin = DirectoryOrigin(tmp_path)
    write_lookup(tmp_path / "millan", geometry=shapely.box(*bounds))
    target = tmp_path / "window.tif"
    assert isinstance(millan.deliver(origin, windows(origin, tmp_path, bounds)[0], target, None), Delivery)
    content = millan.verify(target).content
    assert content["epsg"] == 32635 and content["ice_area_km2"] == pytest.approx(6.0)


@pytest.mark.parametrize("has_ranges", [True, False])
@pytest.mark.parametrize("is_live", [True, False])
def test_window_over_http(tmp_path: Path, is_live: bool, has_ranges: bool) -> None:
    root = mirror(tmp_path / "mirror")
    local, target = tmp_path / "local.tif", tmp_path / "window.tif"
    millan.deliver(DirectoryOrigin(root), windows(DirectoryOrigin(root), root)[0], local, None)
    size = (root / "millan" / TILE).stat().st_size
    with StaticServer(root, has_ranges=has_ranges) as server:
        origin: Origin = LiveOrigin(impatient()) if is_live else HttpOrigin(server.url, impatient())
        wanted = windows(origin, root, base_url=f"{server.url}/millan")[0]
        answer = millan.deliver(origin, wanted, target, None)
        assert isinstance(answer, Delivery) and answer.url == f"{server.url}/millan/{TILE}"
        assert (server.bytes_sent < 0.2 * size) == has_ranges
        content = millan.verify(target).content
        known = SourceObject("", "millan", "", "", answer.url, "", 0, "", "", "", wanted.path, False, content=content)
        before = len(server.log)
        assert isinstance(millan.deliver(origin, wanted, target, known), Unchanged) and len(server.log) == before
    assert (millan.read(target)[0] == millan.read(local)[0]).all()
    assert not list(tmp_path.glob("*.whole*"))


def test_trouble_over_http(tmp_path: Path) -> None:
    root = mirror(tmp_path / "mirror")
    target = tmp_path / "window.tif"
    path = f"/millan/{TILE}"
    with StaticServer(root) as server:
        origin = LiveOrigin(impatient())
        wanted = windows(origin, root, base_url=f"{server.url}/millan")[0]
        server.break_path(path, *[page()] * 20)
        with pytest.raises(SourceError, match="a raster cannot be read"):
            millan.deliver(origin, wanted, target, None)
        server.faults.clear()
        server.break_path(path, *[status(500)] * 40)
        with pytest.raises(SourceError, match="cannot be reached"):
            millan.deliver(origin, wanted, target, None)
        server.faults.clear()
        (root / "millan" / TILE).unlink()
        answer = millan.deliver(origin, wanted, target, None)
        assert isinstance(answer, Missing) and "HTTP 404" in answer.reason
    assert not target.exists()


def test_missing_mosaic_is_a_gap(tmp_path: Path) -> None:
    root = mirror(tmp_path / "mirror")
    (root / "millan" / TILE).unlink()
    origin = DirectoryOrigin(root)
    found, is_new, answer = bring(Archive(tmp_path / "raw"), origin, windows(origin, root)[0])
    assert found is None and not is_new
    assert isinstance(answer, Missing) and "no THICKNESS_RGI-7.1_2021July09.tif" in answer.reason


def test_footprint_larger_than_the_mosaic_is_a_gap(tmp_path: Path) -> None:
    root = mirror(tmp_path)
    origin = DirectoryOrigin(root)
    bounds = degrees((1300, 1400, 500, 600))
    wanted = windows(origin, root)[0]
    answer = millan.deliver(origin, Window(**{**vars(wanted), "bounds": bounds}), tmp_path / "window.tif", None)
    assert isinstance(answer, Missing) and "does not reach broegger" in answer.reason


def test_an_archive_is_a_mirror(tmp_path: Path) -> None:
    root = mirror(tmp_path / "mirror")
    origin, archive = DirectoryOrigin(root), Archive(tmp_path / "raw")
    bring(archive, origin, millan.lookup())
    first, _, _ = bring(archive, origin, windows(origin, root)[0])
    second = DirectoryOrigin(archive.root)
    copy, is_new, _ = bring(Archive(tmp_path / "other"), second, windows(second, archive.root)[0])
    assert first and copy and is_new and copy.sha256 == first.sha256
    wider = windows(second, archive.root, degrees((400, 800, 300, 700)))[0]
    _, _, answer = bring(Archive(tmp_path / "third"), second, wider)
    assert isinstance(answer, Missing)  # that archive's window is too small


def test_windows_say_that_they_are_of_the_sample(tmp_path: Path) -> None:
    root = mirror(tmp_path)
    write(root / "millan" / TILE, tags={"TIFFTAG_IMAGEDESCRIPTION": f"{SYNTHETIC}: nothing was observed"})
    target = tmp_path / "window.tif"
    millan.deliver(DirectoryOrigin(root), windows(DirectoryOrigin(root), root)[0], target, None)
    assert millan.verify(target).is_synthetic


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"crs": None}, "does not say where it is"),
        ({"crs": "EPSG:4326"}, "not in metres"),
        ({"transform": from_origin(430000, 8760000, 50, 100)}, "not upright squares"),
        ({"count": 2}, "several bands"),
        ({"values": CELLS * 100}, "thicker than any glacier"),
    ],
)
def test_wrong_mosaics_are_refused(tmp_path: Path, wrong: dict[str, Any], problem: str) -> None:
    root = mirror(tmp_path / "mirror")
    write(root / "millan" / TILE, **wrong)
    origin = DirectoryOrigin(root)
    with pytest.raises(SourceError, match=problem):
        bring(Archive(tmp_path / "raw"), origin, windows(origin, root)[0])


def test_other_rasters_and_truncated_windows_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "tile.tif")
    with pytest.raises(SourceError, match="not a window"):
        millan.verify(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(SourceError, match="cannot be read to its end"):
        millan.verify(path)
    path.write_text("<html>Not found</html>")
    with pytest.raises(SourceError, match="an HTML page"):
        millan.verify(path)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"thickness": TILE, "file_id": "RGI-7.1"}], "lacks columns"),
        ([{"thickness": "../../etc/x.tif", "err": ERROR, "file_id": "RGI-7.1"}], "paths are none"),
        ([{"thickness": "nan", "err": ERROR, "file_id": "RGI-7.1"}], "paths are none"),
    ],
)
def test_wrong_lookups_are_refused(tmp_path: Path, rows: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        millan.verify_lookup(write_lookup(tmp_path, rows))
