from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from pyproj import Transformer
from rasterio.transform import Affine

from arctic_assets.errors import SourceError
from arctic_assets.provenance import SYNTHETIC, Delivery, SourceObject
from arctic_assets.sources import dem
from arctic_assets.sources.base import Missing, Origin, Unchanged
from arctic_assets.sources.dem import Window
from arctic_assets.sources.http import Client
from arctic_assets.sources.origins import DirectoryOrigin, HttpOrigin, LiveOrigin
from arctic_assets.storage.archive import Archive
from arctic_assets_tests.testkit.server import StaticServer, status

BOUNDS = (14.9, 69.95, 15.1, 70.05)
"""Across four tiles: those in the north are narrower."""
CORNERS = [(69, 14), (69, 15), (70, 14), (70, 15)]


def plane(longitude: Any, latitude: Any) -> Any:
    return 500 + 900 * (np.asarray(longitude) - 15) + 3000 * (np.asarray(latitude) - 70)


def write_tile(root: Path, south: int, west: int, **changes: Any) -> Path:
    """A tile a tenth as fine as the provider's, shifted by half a cell as those are."""
    rows, columns = 360, 180 if south < 70 else 120
    wide, high = 1 / columns, 1 / rows
    name = dem.tile_name(south, west)
    path = root / "dem" / name / f"{name}.tif"
    path.parent.mkdir(parents=True, exist_ok=True)
    longitude = west + np.arange(columns) * wide
    latitude = south + 1 - np.arange(rows)[:, None] * high
    values = changes.pop("values", plane(longitude, latitude)).astype("float32")
    tags = changes.pop("tags", {})
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "width": columns,
        "height": rows,
        "count": 1,
        "dtype": "float32",
        "crs": "EPSG:4326",
        "transform": Affine(wide, 0, west - wide / 2, 0, -high, south + 1 + high / 2),
        "tiled": True,
        "blockxsize": 64,
        "blockysize": 64,
        **changes,
    }
    with rasterio.open(path, "w", **profile) as raster:
        raster.write(values, 1)
        raster.update_tags(**tags)
    return path


def mirror(root: Path, corners: list[tuple[int, int]] = CORNERS) -> Path:
    for corner in corners:
        write_tile(root, *corner)
    return root


def window(origin: Origin, **given: Any) -> Window:
    (found,) = dem.remotes(origin, {"glacier": BOUNDS}, {"glacier": 32633}, **given)
    assert isinstance(found, Window)
    return found


def centres(shape: tuple[int, ...], transform: Affine) -> tuple[Any, Any]:
    rows, columns = np.indices(shape)
    x, y = transform * (columns + 0.5, rows + 0.5)
    return Transformer.from_crs(32633, 4326, always_xy=True).transform(x, y)


def bring(archive: Archive, origin: Origin, wanted: Window) -> tuple[SourceObject | None, bool, Any]:
    answers: list[Any] = []

    def transfer(part: Path, held: SourceObject | None) -> Delivery | None:
        answers.append(dem.window_origin(origin).fetch(wanted, part, held))
        return answers[0] if isinstance(answers[0], Delivery) else None

    found, is_new = archive.store(wanted.product, wanted.path, transfer, wanted.verify)
    return found, is_new, answers[0]


def test_names_of_tiles() -> None:
    assert dem.tile_name(78, 15) == "Copernicus_DSM_COG_10_N78_00_E015_00_DEM"
    assert dem.tile_name(-1, -144) == "Copernicus_DSM_COG_10_S01_00_W144_00_DEM"
    assert dem.corners((-143.9, 69.3, -143.1, 70.2)) == [(69, -144), (70, -144)]
    assert dem.corners((179.5, 71.0, 180.5, 71.4)) == [(71, 179), (71, -180)]


def test_tiles_of_different_width_become_one_window(tmp_path: Path) -> None:
    origin, archive = DirectoryOrigin(mirror(tmp_path / "mirror")), Archive(tmp_path / "raw")
    found, is_new, _ = bring(archive, origin, window(origin))
    assert found and is_new and found.path == "windows/glacier.tif"
    content = found.content
    assert content["tiles"] == [dem.tile_name(*corner) for corner in CORNERS]
    assert (content["ocean_tiles"], content["epsg"], content["cell_m"]) == ([], 32633, 50)
    assert content["void_fraction"] == 0
    heights, crs, transform = dem.read(archive.file(found))
    assert crs.to_epsg() == 32633
    longitude, latitude = centres(heights.shape, transform)
    # Inside a tile the plane comes out; at a seam half a cell (1/720 degree north, 1/240 east) is extrapolated flat.
    difference = np.abs(heights - plane(longitude, latitude))
    assert difference.max() < 3000 / 720 + 900 / 240 and np.median(difference) < 0.1
    assert longitude.min() < BOUNDS[0] - 0.03 and latitude.max() > BOUNDS[3] + 0.015  # the margin of 2 km
    held, is_new, answer = bring(archive, origin, window(origin))
    assert held == found and not is_new and isinstance(answer, Unchanged)


@pytest.mark.parametrize(("is_live", "refusal"), [(True, 404), (True, 403), (False, 404)])
def test_ocean_is_zero(tmp_path: Path, refusal: int, is_live: bool) -> None:
    root = mirror(tmp_path / "mirror", CORNERS[:3])
    target = tmp_path / "window.tif"
    ocean = dem.tile_name(70, 15)
    with StaticServer(root) as server:
        origin: Origin = (LiveOrigin if is_live else lambda c: HttpOrigin(server.url, c))(
            Client(attempts=2, sleep=lambda seconds: None)
        )
        server.break_path(f"/dem/{ocean}/{ocean}.tif", *[status(refusal)] * 20)
        answer = dem.deliver(origin, window(origin, base_url=f"{server.url}/dem"), target, None)
        assert isinstance(answer, Delivery) and answer.url == (f"{server.url}/dem" if is_live else server.url)
    content = dem.verify(target).content
    assert content["ocean_tiles"] == [ocean] and len(content["tiles"]) == 3 and content["void_fraction"] == 0
    heights, _, transform = dem.read(target)
    longitude, latitude = centres(heights.shape, transform)
    sea = (longitude > 15.01) & (latitude > 70.01)
    land = (longitude < 14.98) | (latitude < 69.99)
    assert sea.any() and (heights[sea] == 0).all()
    assert np.abs(heights - plane(longitude, latitude))[land].max() < 8


def test_no_tile_at_all_is_a_gap(tmp_path: Path) -> None:
    origin = DirectoryOrigin(tmp_path)
    found, _, answer = bring(Archive(tmp_path / "raw"), origin, window(origin))
    assert found is None and isinstance(answer, Missing) and dem.tile_name(69, 14) in answer.reason


def test_a_mirror_that_refuses_is_no_ocean(tmp_path: Path) -> None:
    root = mirror(tmp_path / "mirror")
    name = dem.tile_name(70, 15)
    with StaticServer(root) as server:
        origin = HttpOrigin(server.url, Client(attempts=2, sleep=lambda seconds: None))
        server.break_path(f"/dem/{name}/{name}.tif", *[status(403)] * 40)
        with pytest.raises(SourceError, match="refuses us"):
            dem.deliver(origin, window(origin), tmp_path / "window.tif", None)


def test_a_server_in_trouble_is_no_ocean(tmp_path: Path) -> None:
    root = mirror(tmp_path / "mirror")
    name = dem.tile_name(70, 15)
    with StaticServer(root) as server:
        origin = LiveOrigin(Client(attempts=2, sleep=lambda seconds: None))
        server.break_path(f"/dem/{name}/{name}.tif", *[status(500)] * 40)
        with pytest.raises(SourceError, match="cannot be reached"):
            dem.deliver(origin, window(origin, base_url=f"{server.url}/dem"), tmp_path / "window.tif", None)


def test_only_the_window_is_read_over_http(tmp_path: Path) -> None:
    root = tmp_path / "mirror"
    fine = {"width": 1200, "height": 3600, "transform": Affine(1 / 1200, 0, 14, 0, -1 / 3600, 71)}
    noise = np.random.default_rng(3).uniform(0, 900, (3600, 1200))
    size = write_tile(root, 70, 14, values=noise, **fine).stat().st_size
    target = tmp_path / "window.tif"
    with StaticServer(root) as server:
        origin = LiveOrigin(Client(attempts=2, sleep=lambda seconds: None))
        (wanted,) = dem.remotes(
            origin, {"g": (14.5, 70.5, 14.52, 70.51)}, {"g": 32633}, base_url=f"{server.url}/dem"
        )  # fmt: skip
        assert isinstance(wanted, Window)
        assert isinstance(dem.deliver(origin, wanted, target, None), Delivery)
        assert server.bytes_sent < 0.2 * size
    heights, _, _ = dem.read(target)
    assert np.nanmin(heights) >= 0 and np.nanmax(heights) <= 900


def test_voids_stay_voids(tmp_path: Path) -> None:
    root = mirror(tmp_path, CORNERS[:3])
    values = np.full((360, 120), -32767.0)
    write_tile(root, 70, 14, values=values, nodata=-32767.0)
    target = tmp_path / "window.tif"
    dem.deliver(DirectoryOrigin(root), window(DirectoryOrigin(root)), target, None)
    heights, _, transform = dem.read(target)
    longitude, latitude = centres(heights.shape, transform)
    assert np.isnan(heights[(longitude < 14.97) & (latitude > 70.02)]).all()
    assert (heights[(longitude > 15.02) & (latitude > 70.02)] == 0).all()
    assert 0.2 < dem.verify(target).content["void_fraction"] < 0.3


def test_large_windows_have_coarser_cells() -> None:
    grid = dem.window_grid((52.7, 73.9, 70.5, 77.6), 32641)
    assert grid.cell_m == 200 and grid.shape[0] * grid.shape[1] < 1e7
    assert dem.window_grid((11.7, 78.87, 11.95, 78.92), 32633).cell_m == 50


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"crs": "EPSG:32633", "transform": Affine(50, 0, 400000, 0, -50, 7800000)}, "not of the Copernicus DEM"),
        ({"count": 2}, "not of the Copernicus DEM"),
        ({"values": np.full((360, 180), 30000.0)}, "that the Earth does not have"),
    ],
)
def test_wrong_tiles_are_refused(tmp_path: Path, wrong: dict[str, Any], problem: str) -> None:
    root = mirror(tmp_path / "mirror", CORNERS[1:])
    write_tile(root, *CORNERS[0], **wrong)
    origin = DirectoryOrigin(root)
    with pytest.raises(SourceError, match=problem):
        bring(Archive(tmp_path / "raw"), origin, window(origin))


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = write_tile(tmp_path, *CORNERS[0])
    with pytest.raises(SourceError, match="not in metres"):
        dem.verify(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(SourceError, match="cannot be read to its end"):
        dem.verify(path)
    path.write_text("<html>No such key</html>")
    with pytest.raises(SourceError, match="an HTML page"):
        dem.verify(path)


def test_windows_say_that_they_are_of_the_sample(tmp_path: Path) -> None:
    root = mirror(tmp_path)
    write_tile(root, *CORNERS[0], tags={"TIFFTAG_IMAGEDESCRIPTION": f"{SYNTHETIC}: nothing was observed"})
    target = tmp_path / "window.tif"
    dem.deliver(DirectoryOrigin(root), window(DirectoryOrigin(root)), target, None)
    assert dem.verify(target).is_synthetic


def test_an_archive_is_a_mirror(tmp_path: Path) -> None:
    origin, archive = DirectoryOrigin(mirror(tmp_path / "mirror")), Archive(tmp_path / "raw")
    first, _, _ = bring(archive, origin, window(origin))
    second = DirectoryOrigin(archive.root)
    copy, is_new, _ = bring(Archive(tmp_path / "other"), second, window(second))
    assert first and copy and is_new and copy.sha256 == first.sha256
