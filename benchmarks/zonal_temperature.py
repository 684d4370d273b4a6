"""How long 480 months of temperature over 16 glaciers take, against the ways it is usually done.

    python benchmarks/zonal_temperature.py [--months 480] [--exactextract 24] [--others 12]

A synthetic 0.25 degree field north of 45 N (181 x 1440 cells, single precision) and synthetic outlines at the places
and of the areas of the dataset's glaciers, among them an archipelago of 480 polygons. Ours is timed with the coverage
weights computed anew; the others on a subset of the months, scaled to all of them (each month costs the same). The
outlines are handed to the others in the field's longitudes and format, untimed. The means are compared with
exactextract's `weighted_mean`, the weights being cell areas from `pyproj.Geod`. Peak memory stays below 2 GB.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from arctic_assets.science.geometry import geodesic_area_km2
from arctic_assets.science.temperature import Grid, coverage_weights, zonal_mean

#: Longitude, latitude (degrees), area (km2), number of polygons.
GLACIERS = {
    "novaya_zemlya": (61.0, 75.8, 22132.0, 480),
    "parrish": (-76.5327, 79.7808, 770.215, 1),
    "wykeham_south": (-79.5510, 77.9980, 3085.113, 1),
    "mccall": (-143.846729, 69.306671, 6.927808, 1),
    "west_gulkana": (-145.512646, 63.281073, 2.159986, 1),
    "eklutna": (-148.960755, 61.218919, 29.395330, 1),
    "wolverine": (-148.899267, 60.403191, 16.543563, 1),
    "alexander": (-130.830, 57.091, 5.74, 1),
    "lemon_creek": (-134.343139, 58.381039, 9.527595, 1),
    "taku": (-134.343093, 58.632159, 521.396322, 1),
    "yuri": (-130.684, 56.975, 3.58, 1),
    "andrei": (-131.094370, 56.964033, 71.752474, 1),
    "mittivakkat": (-37.8032, 65.6957, 20.154, 1),
    "geitlandsjokull": (-20.5288, 64.6369, 41.287, 1),
    "austre_broeggerbreen": (11.8309, 78.8876, 9.8112, 1),
    "engabreen": (13.853, 66.657, 36.0486, 1),
}


def blob(random: np.random.Generator, lon: float, lat: float, area_km2: float) -> shapely.Polygon:
    """A ragged outline of an area: a circle with twelve harmonics; as many vertices as RGI 7 gives (480 at 50 km²)."""
    vertices = int(np.clip(480 * np.sqrt(area_km2 / 50), 120, 7000))
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    harmonics = np.arange(2, 14)
    waves = np.cos(np.outer(angle, harmonics) + random.uniform(0, 2 * np.pi, harmonics.size)) / harmonics
    radius_km = np.sqrt(area_km2 / np.pi) * np.clip(1 + 0.35 * waves.sum(axis=1), 0.3, None)

    def outline(scale: float) -> shapely.Polygon:
        dx = scale * radius_km * np.cos(angle) / (111.32 * np.cos(np.radians(lat)))
        return shapely.Polygon(np.column_stack([lon + dx, lat + scale * radius_km * np.sin(angle) / 111.32]))

    return outline(float(np.sqrt(area_km2 / geodesic_area_km2(outline(1.0)))))


def outlines() -> list[shapely.Geometry]:
    """One outline per glacier; the archipelago is a lattice of glaciers along an axis to the north-east."""
    random = np.random.default_rng(7)
    found: list[shapely.Geometry] = []
    for lon, lat, area_km2, parts in GLACIERS.values():
        if parts == 1:
            found.append(blob(random, lon, lat, area_km2))
            continue
        shares = random.uniform(0.5, 1.5, parts)
        along, across = np.divmod(np.arange(parts), 12)
        along_km, across_km = (along - parts / 24) * 13.0, (across - 5.5) * 13.0
        east_km, north_km = (along_km - across_km) / np.sqrt(2), (along_km + across_km) / np.sqrt(2)
        polygons = [
            blob(random, lon + east / (111.32 * np.cos(np.radians(lat + north / 111.32))), lat + north / 111.32, area)
            for east, north, area in zip(east_km, north_km, shares / shares.sum() * area_km2, strict=True)
        ]
        found.append(shapely.union_all(polygons))
    return found


def temperature_k(grid: Grid, months: int) -> NDArray[np.float32]:
    """Monthly fields, K: colder to the north, seasons, cell noise of 2 K as coasts and mountains make, weather."""
    random = np.random.default_rng(11)
    cells = random.normal(0, 2, grid.shape)
    field = np.empty((months, *grid.shape), dtype=np.float32)
    for month in range(months):
        season = -12 * np.cos(2 * np.pi * (month % 12) / 12)
        field[month] = 283 - 0.6 * (grid.latitude[:, None] - 45) + season + cells + random.normal(0, 0.5, grid.shape)
    return field


def geodesic_cell_areas(grid: Grid) -> NDArray[np.float64]:
    """Cell areas in km² from pyproj, parallels drawn with 50 points, shape (n_lat, n_lon)."""
    from pyproj import Geod

    height, width = grid.resolution
    along = np.linspace(0, width, 51)
    areas = []
    for lat in grid.latitude:
        south, north = lat - height / 2, min(lat + height / 2, 90.0)
        lons, lats = np.concatenate([along, along[::-1]]), np.repeat([south, north], 51)
        areas.append(abs(Geod(ellps="WGS84").polygon_area_perimeter(lons, lats)[0]) / 1e6)
    return np.repeat(np.array(areas)[:, None], grid.shape[1], axis=1)


def timed(work: Callable[[], NDArray]) -> tuple[float, NDArray]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--months", type=int, default=480, help="months of the field")
    options.add_argument("--exactextract", type=int, default=24, help="months that exactextract is timed on")
    options.add_argument("--others", type=int, default=12, help="months that rasterstats and rioxarray are timed on")
    chosen = options.parse_args()

    import rioxarray  # noqa: F401  (registers the accessor)
    import xarray as xr
    from exactextract import exact_extract
    from exactextract.feature import JSONFeatureSource
    from exactextract.raster import NumPyRasterSource
    from rasterio.transform import from_origin
    from rasterstats import zonal_stats

    grid = Grid(np.arange(90, 44.9, -0.25), np.arange(0, 360, 0.25))
    north, west, south, east = grid.edges
    field = temperature_k(grid, chosen.months)
    shapes = outlines()
    moved = [shapely.transform(s, lambda c: c + np.array([360.0, 0.0])) if s.bounds[0] < 0 else s for s in shapes]
    features = [{"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(s)} for s in moved]
    cell_area = NumPyRasterSource(geodesic_cell_areas(grid), west, south, east, north)

    def by_exactextract(operation: str, months: int) -> NDArray:
        weights = cell_area if operation == "weighted_mean" else None
        columns = []
        for month in range(months):
            raster = NumPyRasterSource(field[month], west, south, east, north)
            rows = exact_extract(raster, JSONFeatureSource([dict(f) for f in features]), [operation], weights=weights)
            columns.append([row["properties"][operation] for row in rows])
        return np.array(columns, dtype=float).T

    def by_rasterstats(months: int) -> NDArray:
        columns = []
        for month in range(months):
            rows = zonal_stats(
                features, field[month], affine=from_origin(west, north, 0.25, 0.25), stats=["mean"], nodata=-9999
            )
            columns.append([row["mean"] for row in rows])
        return np.array(columns, dtype=float).T

    def by_rioxarray(months: int) -> NDArray:
        columns = []
        for month in range(months):
            layer = xr.DataArray(field[month], {"y": grid.latitude, "x": grid.longitude}, ("y", "x"))
            layer = layer.rio.write_crs("EPSG:4326")
            columns.append([float(layer.rio.clip([s], all_touched=True).mean()) for s in moved])
        return np.array(columns, dtype=float).T

    zonal_mean(coverage_weights(shapes, grid), field)  # imports and first touches of memory are nobody's
    start = time.perf_counter()
    weights = coverage_weights(shapes, grid)
    weights_done = time.perf_counter()
    means = zonal_mean(weights, field)
    weights_seconds, product_seconds = weights_done - start, time.perf_counter() - weights_done
    seconds = weights_seconds + product_seconds
    rows = [("ours, weights included", seconds, means, chosen.months)]
    for name, months, work in (
        ("exactextract mean, month by month", chosen.exactextract, lambda n: by_exactextract("mean", n)),
        ("exactextract weighted_mean", chosen.exactextract, lambda n: by_exactextract("weighted_mean", n)),
        ("rasterstats (cell centres)", chosen.others, by_rasterstats),
        ("rioxarray clip (all touched)", chosen.others, by_rioxarray),
    ):
        months = min(months, chosen.months)
        work(1)
        took, result = timed(lambda work=work, months=months: work(months))  # type: ignore[misc]
        rows.append((name, took * chosen.months / months, result, months))

    print(f"{len(shapes)} outlines, {sum(map(shapely.get_num_coordinates, shapes))} vertices, {chosen.months} months")
    print(f"{'':36}{'seconds':>10}{'ratio':>9}{'timed months':>14}{'max |diff| K':>14}{'no cell':>9}")
    for name, took, result, months in rows:
        difference = np.abs(result - means[:, : result.shape[1]])
        empty = int(np.isnan(result).any(axis=1).sum())
        print(f"{name:36}{took:10.3f}{took / seconds:9.1f}{months:14d}{np.nanmax(difference):14.2e}{empty:9d}")
    print(f"of ours: coverage weights {weights_seconds:.3f} s, product {product_seconds:.3f} s")
    exact = np.abs(rows[2][2] - means[:, : rows[2][2].shape[1]]).max()
    print(f"largest difference to exactextract with geodesic cell areas: {exact:.2e} K (limit 1e-4 K)")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2:.2f} GB")


if __name__ == "__main__":
    main()
