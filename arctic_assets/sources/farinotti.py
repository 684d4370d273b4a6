"""Consensus ice thickness of Farinotti et al. (2019): one GeoTIFF per RGI 6 glacier.

Layout of a mirror: `farinotti/RGI60-07/RGI60-07.00001_thickness.tif`. Live, the files come one by one from the copy
that OGGM keeps; the original is one zip per region behind addresses that changed once already.

A raster lies in the glacier's own UTM zone, in square cells of 25 m (larger for large glaciers); 0 is "no ice", and
there is no nodata tag. Volumes belong to this grid: do not resample before summing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from arctic_assets.errors import SourceError
from arctic_assets.sources.base import SYNTHETIC, Missing, Origin, Product, Remote, Verified
from arctic_assets.sources.zips import describe_head

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS

PRODUCT = Product(
    provider="farinotti",
    name="Consensus estimate of the ice thickness of all glaciers",
    version="1",
    licence=(
        "not confirmed: third parties state CC BY 4.0 and CC BY-NC-SA 4.0; do not pass the rasters on, publish "
        "derived numbers only"
    ),
    citation=(
        "Farinotti, D. (2019): A consensus estimate for the ice thickness distribution of all glaciers on Earth - "
        "dataset. ETH Zurich. https://doi.org/10.3929/ethz-b-000315707; Farinotti, D., Huss, M., Fürst, J. J., "
        "Landmann, J., Machguth, H., Maussion, F., & Pandit, A. (2019): A consensus estimate for the ice thickness "
        "distribution of all glaciers on Earth. Nature Geoscience 12, 168-173. "
        "https://doi.org/10.1038/s41561-019-0300-3"
    ),
    doi="10.3929/ethz-b-000315707",
    homepage="https://www.research-collection.ethz.ch/handle/20.500.11850/315707",
    cadence="once (2019)",
    latency="ice of about the year 2000, at the dates of the RGI 6 outlines",
)

BASE_URL = "https://cluster.klima.uni-bremen.de/~fmaussion/icevol/composite"
THICKEST_M = 1700.0
"""Taku, the deepest temperate glacier known, has 1480 m: more is a fill value or another unit."""

_NAME = re.compile(r"(RGI60-\d\d\.\d{5})_thickness\.tif")


def remotes(origin: Origin, rgi6_ids: Sequence[str], base_url: str = BASE_URL) -> list[Remote | Missing]:
    """The rasters of these RGI 6 glaciers; the same paths in every mirror and live.

    Args:
        origin: not asked: a raster that it lacks becomes `Missing` when it is fetched.
        rgi6_ids: `RGI60-07.00504`.
        base_url: live folder with one subfolder per region.

    Raises:
        SourceError: an id that is none.
    """
    strange = [one for one in rgi6_ids if not re.fullmatch(r"RGI60-\d\d\.\d{5}", one)]
    if strange:
        raise SourceError(
            "these are not RGI 6 ids",
            where="the registry's column rgi6_ids, or the links of RGI 7 to RGI 6",
            expected="RGI60-rr.nnnnn",
            got=", ".join(strange[:20]),
            todo="correct the registry",
        )
    paths = [f"{one.partition('.')[0]}/{one}_thickness.tif" for one in sorted(set(rgi6_ids))]
    return [Remote(PRODUCT, path, verify, url=f"{base_url}/{path}") for path in paths]


def verify(path: Path) -> Verified:
    """Open a raster of thickness.

    Returns:
        Content: `rgi6_id` (of the file name), `cell_m`, `epsg` (None when the CRS has no code), `ice_area_km2`,
        `max_m`.

    Raises:
        SourceError: no GeoTIFF, or not the whole of it; several bands; no CRS, or one that is not in metres; cells
            that are not square; thickness above 1700 m; no ice at all.
    """
    match = _NAME.search(path.name)
    if not match:
        raise _wrong("a thickness raster is not named after its glacier", path, _NAME.pattern, path.name)
    thickness, cell_area_m2, crs, _ = read(path)
    if thickness.max() > THICKEST_M:
        raise _wrong("thicker than any glacier", path, f"at most {THICKEST_M:g} m", f"{thickness.max():g} m")
    if not thickness.any():
        raise _wrong("a thickness raster without ice", path, "a cell above 0 m", "0 m everywhere")
    content = {
        "rgi6_id": match[1],
        "cell_m": float(cell_area_m2**0.5),
        "epsg": crs.to_epsg(),
        "ice_area_km2": float((thickness > 0).sum() * cell_area_m2 / 1e6),
        "max_m": float(thickness.max()),
    }
    return Verified(is_synthetic=_is_synthetic(path), content=content)


def read(path: Path) -> tuple[NDArray[np.float32], float, CRS, Affine]:
    """Thickness on its native grid.

    Returns:
        Thickness in metres, shape (rows, cols), float32, 0 where there is no ice (negative and not finite cells
        too); area of a cell in m2; CRS; transform of the upper left corner.

    Raises:
        SourceError: as `verify`, as far as the file's form goes.
    """
    import rasterio

    with path.open("rb") as stream:
        if stream.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            raise _wrong("a file is not a GeoTIFF", path, "a GeoTIFF", describe_head(path))
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            crs, transform, bands = raster.crs, raster.transform, raster.count
            thickness = raster.read(1)
    except rasterio.errors.RasterioError as error:
        raise _wrong("a GeoTIFF cannot be read to its end", path, "a whole file", error) from error
    if bands != 1:
        raise _wrong("a thickness raster has several bands", path, "1 band", f"{bands} bands")
    if crs is None:
        raise _wrong("a thickness raster does not say where it is", path, "a CRS (UTM)", "none")
    if not crs.is_projected or crs.linear_units_factor[1] != 1.0:
        raise _wrong("a thickness raster is not in metres", path, "a CRS in metres (UTM)", crs.to_string())
    width, height = abs(transform.a), abs(transform.e)
    if transform.b or transform.d or abs(width - height) > 1e-3:
        raise _wrong("the cells are not upright squares", path, "square cells", tuple(transform)[:6])
    thickness = np.where(np.isfinite(thickness), thickness, 0).clip(min=0).astype(np.float32)
    return thickness, width * height, crs, transform


def _is_synthetic(path: Path) -> bool:
    import rasterio

    with rasterio.open(path, driver="GTiff") as raster:
        tags = {**raster.tags(), **raster.tags(1)}
    return any(SYNTHETIC in f"{name}={value}" for name, value in tags.items())


def _wrong(problem: str, path: Path, expected: object, got: object) -> SourceError:
    return SourceError(
        problem,
        where=path.name,
        expected=expected,
        got=got,
        todo="fetch it again; a mirror must hold the files as the provider gives them",
    )
