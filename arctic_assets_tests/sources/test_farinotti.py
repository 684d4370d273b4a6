from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine, from_origin

from arctic_assets.errors import SourceError
from arctic_assets.sources import farinotti
from arctic_assets.sources.base import Missing, Remote
from arctic_assets.sources.http import Client
from arctic_assets.sources.origins import DirectoryOrigin, LiveOrigin
from arctic_assets_tests.testkit.server import StaticServer

REAL = Path(__file__).parents[3] / "shared/real/mirror/farinotti/RGI60-11/RGI60-11.00897_thickness.tif"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason="the real provider files (../shared/real) are not here")
ICE = np.array([[0, 10, 20], [0, 30, 40]], dtype="float32")


def write(
    folder: Path,
    values: np.ndarray = ICE,
    crs: str | None = "EPSG:32633",
    transform: Affine | None = None,
    name: str = ".RGI60-07.00504_thickness.tif.part",
    count: int = 1,
    **tags: str,
) -> Path:
    path = folder / name
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": values.shape[0],
        "width": values.shape[1],
        "count": count,
        "dtype": values.dtype,
        "crs": crs,
        "transform": transform or from_origin(430000, 8760000, 25, 25),
    }
    with rasterio.open(path, "w", **profile) as raster:
        for band in range(1, count + 1):
            raster.write(values, band)
        raster.update_tags(**tags)
    return path


def test_verify_says_whose_ice_it_is(tmp_path: Path) -> None:
    verified = farinotti.verify(write(tmp_path))
    assert verified.content == {
        "rgi6_id": "RGI60-07.00504",
        "cell_m": 25.0,
        "epsg": 32633,
        "ice_area_km2": pytest.approx(4 * 625 / 1e6),
        "max_m": 40.0,
    }
    assert not verified.is_synthetic
    assert farinotti.verify(write(tmp_path, TIFFTAG_IMAGEDESCRIPTION="SYNTHETIC sample")).is_synthetic


def test_read_gives_no_ice_as_zero(tmp_path: Path) -> None:
    values = np.array([[np.nan, -1, 20], [np.inf, 0, 40.5]], dtype="float64")
    thickness, cell_area_m2, crs, transform = farinotti.read(
        write(tmp_path, values, transform=from_origin(430000, 8760000, 50, 50))
    )
    assert thickness.dtype == np.float32
    assert thickness.tolist() == [[0, 0, 20], [0, 0, 40.5]]
    assert cell_area_m2 == 2500
    assert crs.to_epsg() == 32633
    assert transform.c == 430000


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"crs": None}, "does not say where it is"),
        ({"crs": "EPSG:4326"}, "not in metres"),
        ({"crs": "EPSG:2225"}, "not in metres"),  # California in feet
        ({"transform": from_origin(430000, 8760000, 25, 50)}, "not upright squares"),
        ({"transform": Affine(25, 5, 430000, 5, -25, 8760000)}, "not upright squares"),
        ({"values": ICE * 1000}, "thicker than any glacier"),
        ({"values": ICE * 0}, "without ice"),
        ({"values": ICE * np.nan}, "without ice"),
        ({"count": 2}, "several bands"),
        ({"name": "thickness.tif"}, "not named after its glacier"),
    ],
)
def test_wrong_rasters_are_refused(tmp_path: Path, wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        farinotti.verify(write(tmp_path, **wrong))


def test_truncated_rasters_and_pages_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, np.full((300, 300), 7, dtype="float32"))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cannot be read to its end"):
        farinotti.verify(path)
    for text, described in (("<html>Not found</html>", "an HTML page"), ("", "an empty file")):
        path.write_text(text)
        with pytest.raises(SourceError, match=described):
            farinotti.verify(path)


def test_one_raster_per_glacier(tmp_path: Path) -> None:
    origin = DirectoryOrigin(tmp_path)
    found = farinotti.remotes(origin, ["RGI60-07.00504", "RGI60-01.09162", "RGI60-07.00504"])
    assert [one.path for one in found if isinstance(one, Remote)] == [
        "RGI60-01/RGI60-01.09162_thickness.tif",
        "RGI60-07/RGI60-07.00504_thickness.tif",
    ]
    with pytest.raises(SourceError, match=r"RGI2000"):
        farinotti.remotes(origin, ["RGI2000-v7.0-G-07-00271"])


def test_live(tmp_path: Path) -> None:
    (tmp_path / "RGI60-07").mkdir()
    write(tmp_path / "RGI60-07", name="RGI60-07.00504_thickness.tif")
    target = tmp_path / ".RGI60-07.00504_thickness.tif.part"
    with StaticServer(tmp_path) as server:
        origin = LiveOrigin(Client(sleep=lambda seconds: None))
        one, none = farinotti.remotes(origin, ["RGI60-07.00504", "RGI60-07.00505"], base_url=server.url)
        assert isinstance(one, Remote) and isinstance(none, Remote)
        origin.fetch(one, target, None)
        assert one.verify(target).content["max_m"] == 40
        outcome = origin.fetch(none, target, None)
        assert isinstance(outcome, Missing) and "RGI60-07.00505_thickness.tif" in outcome.reason


@needs_real
def test_real_hintereisferner() -> None:
    verified = farinotti.verify(REAL)
    assert verified.content["cell_m"] == 25
    assert verified.content["epsg"] == 32632
    assert verified.content["ice_area_km2"] == pytest.approx(8.03, abs=0.01)
    thickness, cell_area_m2, _, _ = farinotti.read(REAL)
    assert thickness.sum(dtype="float64") * cell_area_m2 / 1e9 == pytest.approx(0.578, abs=0.001)
