"""What one glacier's window costs out of a mosaic of 12,000 x 12,000 cells behind HTTP, against downloading the mosaic.

    python benchmarks/velocity_window.py [--cells 12000]

Three Cloud Optimized GeoTIFFs (v, v_error, count) with speeds in a tenth of the cells, as GDAL's COG driver makes
them, on a server that answers ranges. The window is that of a centreline of 15 km: bytes, requests and seconds of the
first glacier of a mosaic, of a second one elsewhere that finds it open, and of downloading the three files whole. The
loopback has no latency: on the network the requests count, not the seconds here. The windows' cells are compared with
those of the files.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import rasterio
import shapely
from pyproj import Transformer
from rasterio.windows import Window

sys.path.insert(0, str(Path(__file__).parents[1]))
from arctic_assets.sources import itslive
from arctic_assets.sources.base import Delivery
from arctic_assets.sources.http import Client
from arctic_assets.sources.origins import LiveOrigin
from arctic_assets_tests.testkit.base import LoopbackServer, Request, Response

LEFT, TOP, CELL_M = -1_500_000.0, 1_500_000.0, 120.0
MOSAIC = itslive.Mosaic("RGI05A", 2015, "v2")
DTYPES = {"v": ("float32", -32767), "v_error": ("uint16", 32767), "count": ("uint32", 0)}


class RangeServer(LoopbackServer):
    """Files with ranges; reads from disk what was asked for and no more, as a bucket does."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self.root = root

    def otherwise(self, request: Request) -> Response:
        """A range of the file, or all of it."""
        path = self.root / request.path.lstrip("/")
        if not path.is_file():
            return Response(404)
        size = path.stat().st_size
        asked = request.headers.get("range")
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{size}"'}
        if asked is None:
            return Response(200, b"", headers, stated_length=size) if request.method == "HEAD" else Response(
                200, path.read_bytes(), headers
            )  # fmt: skip
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = int(first), min(int(last or size), size - 1)
        with path.open("rb") as file:
            file.seek(begin)
            body = file.read(end - begin + 1)
        return Response(206, body, headers | {"Content-Range": f"bytes {begin}-{end}/{size}"})


def write_mosaic(root: Path, cells: int) -> int:
    """The three files; returns their bytes."""
    random = np.random.default_rng(1)
    there = np.kron(random.random((cells // 300 + 1,) * 2) < 0.1, np.ones((300, 300), bool))[:cells, :cells]
    for middle in (cells // 2, cells // 4):
        there[middle - 300 : middle + 300, middle - 300 : middle + 300] = True
    total = 0
    for band, (dtype, missing) in DTYPES.items():
        values = np.full((cells, cells), missing, dtype)
        values[there] = random.gamma(2, 40, there.sum()).astype(dtype)
        path = root / MOSAIC.path(band)
        path.parent.mkdir(parents=True, exist_ok=True)
        transform = rasterio.Affine(CELL_M, 0, LEFT, 0, -CELL_M, TOP)
        with rasterio.open(
            path, "w", driver="COG", width=cells, height=cells, count=1, dtype=dtype, crs="EPSG:3413",
            transform=transform, compress="deflate", level=1, overview_resampling="nearest", num_threads=2,
        ) as raster:  # fmt: skip
            raster.write(values, 1)
        total += path.stat().st_size
    return total


def centreline(row: int, col: int) -> shapely.LineString:
    """15 km down a bend, in longitude and latitude."""
    along = np.linspace(0, 1, 40)
    x = LEFT + (col + 80 * along + 10 * np.sin(6 * along)) * CELL_M
    y = TOP - (row + 90 * along) * CELL_M
    lon, lat = Transformer.from_crs(3413, 4326, always_xy=True).transform(x, y)
    return shapely.LineString(np.column_stack([lon, lat]))


def agrees(path: Path, root: Path) -> bool:
    """Whether a window's cells are those of the files on disk."""
    same = True
    with rasterio.open(path) as window:
        for number, band in enumerate(itslive.BANDS, start=1):
            with rasterio.open(root / MOSAIC.path(band)) as whole:
                row, col = whole.index(*window.xy(0, 0))
                cells = whole.read(1, window=Window(col, row, window.width, window.height))
            same &= bool((window.read(number) == cells).all())
    return same


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cells", type=int, default=12_000)
    cells = parser.parse_args().cells
    client = Client()
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "bucket"
        whole = write_mosaic(root, cells)
        print(f"mosaic: {cells} x {cells} cells, {len(DTYPES)} files, {whole / 1e6:.1f} MB")
        lines = {"first": centreline(cells // 2 - 150, cells // 2 - 150), "second": centreline(cells // 4, cells // 4)}
        is_good = True
        with RangeServer(root) as server, itslive.Mosaics(LiveOrigin(client), server.url, client) as mosaics:
            for name, line in lines.items():
                (remote,) = itslive.remotes({name: [line]}, {name: MOSAIC.region}, [MOSAIC.year])
                assert isinstance(remote, itslive.WindowRemote)
                target = Path(scratch) / f"{name}_{MOSAIC.year}.tif"
                bytes_before, asked_before, begin = server.bytes_sent, server.count(), time.perf_counter()
                assert isinstance(mosaics.fetch(remote, target, None), Delivery)
                itslive.verify(target)
                seconds = time.perf_counter() - begin
                moved, asked = server.bytes_sent - bytes_before, server.count() - asked_before
                is_good &= agrees(target, root) and moved < 0.02 * whole
                print(
                    f"{name:6} window  {moved / 1e6:8.2f} MB  {moved / whole:8.3%}  {asked:3} requests  "
                    f"{seconds:6.2f} s  ({target.stat().st_size / 1e3:.0f} kB kept)"
                )
            bytes_before, asked_before, begin = server.bytes_sent, server.count(), time.perf_counter()
            for band in itslive.BANDS:
                client.download(f"{server.url}/{MOSAIC.path(band)}", Path(scratch) / f"{band}.tif")
            seconds = time.perf_counter() - begin
            moved, asked = server.bytes_sent - bytes_before, server.count() - asked_before
            print(f"whole files    {moved / 1e6:8.2f} MB  {moved / whole:8.3%}  {asked:3} requests  {seconds:6.2f} s")
    print("cells are equal, less than 2 % moved" if is_good else "windows are wrong, or 2 % and more moved")
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
