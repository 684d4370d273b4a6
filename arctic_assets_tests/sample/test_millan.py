"""Mosaics and elevations of the sample hold what was put in, and the platform's readers get it out again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely

from arctic_assets import glaciers
from arctic_assets.sample import dem as sample_dem
from arctic_assets.sample import farinotti as sample_farinotti
from arctic_assets.sample import millan as sample_millan
from arctic_assets.sample import rgi7
from arctic_assets.science.common_grid import (
    Bounds,
    Grid,
    GridThickness,
    common_grid,
    mosaic,
    outline_fraction,
    to_grid,
)
from arctic_assets.science.geometry import geodesic_area_km2
from arctic_assets.science.sia import slope
from arctic_assets.science.thickness_mean import (
    MeanThickness,
    ProductThickness,
    join_means,
    join_products,
    mean_thickness,
    product_thickness,
)
from arctic_assets.sources import dem, farinotti, millan
from arctic_assets.sources.base import Delivery, Missing
from arctic_assets.sources.millan import Window
from arctic_assets.sources.origins import DirectoryOrigin

ARCHIPELAGO = "novaya_zemlya"
MEMBERS = 20


@dataclass(frozen=True)
class Made:
    """The sample of three providers, and what was put in."""

    root: Path
    registry: glaciers.Registry
    land: rgi7.Landscape
    ice: Mapping[str, sample_farinotti.Ice]
    covers: Mapping[str, sample_millan.Cover]
    tiles: list[str]

    def bounds(self, glacier_id: str) -> Bounds:
        edges = np.array([member.piece.polygon.bounds for member in self.land.of(glacier_id)])
        return (*edges[:, :2].min(axis=0).tolist(), *edges[:, 2:].max(axis=0).tolist())  # type: ignore[return-value]


def make(root: Path, *, smaller: bool = False) -> Made:
    registry = glaciers.load()
    if smaller:
        cap = replace(registry[ARCHIPELAGO], rgi7_ids=registry[ARCHIPELAGO].rgi7_ids[:MEMBERS], area_km2=1800.0)
        registry = replace(registry, glaciers=(cap, registry["taku"], registry["engabreen"]))
    land = rgi7.landscape(tuple(registry))
    ice = sample_farinotti.write(root / "farinotti", land, registry.ids)
    covers = sample_millan.write(root / "millan", land, registry.ids, ice)
    tiles = sample_dem.write(root / "dem", land, registry.ids)
    return Made(root, registry, land, ice, covers, tiles)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def windows(made: Made, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, list[Path]]]:
    """Windows of thickness and error by glacier, as `deliver` cuts them."""
    folder = tmp_path_factory.mktemp("windows")
    origin = DirectoryOrigin(made.root)
    bounds = {glacier_id: made.bounds(glacier_id) for glacier_id in made.registry.ids}
    found: dict[str, dict[str, list[Path]]] = {i: {"thickness": [], "err": []} for i in made.registry.ids}
    for wanted in millan.remotes(origin, bounds, made.root / "millan" / millan.LOOKUP):
        assert isinstance(wanted, Window)
        target = folder / wanted.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(millan.deliver(origin, wanted, target, None), Delivery):
            assert wanted.verify(target).is_synthetic
            found[wanted.glacier_id][wanted.kind].append(target)
    return found


def of_millan(paths: list[Path], grid: Grid, bounds: Bounds) -> GridThickness:
    parts = []
    for path in paths:
        values, _, crs, transform = millan.read(path, bounds)
        parts.append(to_grid(values, transform, crs, grid))
    return mosaic(parts, grid)


def of_consensus(made: Made, rgi6_ids: list[str], grid: Grid) -> GridThickness:
    parts = []
    for rgi6_id in rgi6_ids:
        values, _, crs, transform = farinotti.read(
            made.root / "farinotti" / rgi6_id[:8] / f"{rgi6_id}_thickness.tif"
        )  # fmt: skip
        parts.append(to_grid(values, transform, crs, grid))
    return mosaic(parts, grid)


def on_members(
    made: Made, windows: dict[str, dict[str, list[Path]]], glacier_id: str
) -> tuple[ProductThickness | None, MeanThickness | None]:
    """Member by member, each on a grid of its own: what the archipelago needs, and no more than a glacier needs."""
    products, means = [], []
    members = made.land.of(glacier_id)
    partners = {m.rgi7_id: [link.rgi6_id for link in made.land.links if link.rgi7_id == m.rgi7_id] for m in members}
    epsg = made.registry[glacier_id].utm_epsg
    for member in members:
        polygon = member.piece.polygon
        grid = common_grid(polygon.bounds, epsg)
        first = of_millan(windows[glacier_id]["thickness"], grid, polygon.bounds)
        sigma = of_millan(windows[glacier_id]["err"], grid, polygon.bounds).ice_m
        second = of_consensus(made, partners[member.rgi7_id], grid)
        share = outline_fraction(polygon, grid)
        if one := product_thickness(first, share, grid.cell_area_m2, member.area_km2, sigma):
            products.append(one)
        if both := mean_thickness(first, second, share, grid.cell_area_m2, member.area_km2, first_sigma_m=sigma):
            means.append(both)
    area = sum(member.area_km2 for member in members)
    return join_products(products, area), join_means(means, area)


def test_small_and_synthetic(made: Made) -> None:
    files = [path for part in ("millan", "dem") for path in (made.root / part).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5e6
    for path in (path for path in files if path.suffix == ".tif"):
        with rasterio.open(path) as raster:
            assert "SYNTHETIC" in raster.tags()["TIFFTAG_IMAGEDESCRIPTION"]
    assert millan.verify_lookup(made.root / "millan" / millan.LOOKUP).is_synthetic


def test_same_bytes_again(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        make(tmp_path / name, smaller=True)
        paths = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        digests.append({p.relative_to(tmp_path / name): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths})
    assert digests[0] == digests[1] and len(digests[0]) > 20


def test_mosaics_hold_a_known_share_of_the_consensus(made: Made) -> None:
    for rgi6_id, cover in made.covers.items():
        ratio = cover.volume_km3 / made.ice[rgi6_id].volume_km3
        if len(cover.epsgs) == 1:
            assert ratio == pytest.approx(sample_millan.FACTOR, rel=0.01)
        else:
            assert 0.94 < ratio / sample_millan.FACTOR < 0.99
            assert cover.area_km2 / made.ice[rgi6_id].area_km2 == pytest.approx(1 - sample_millan.UNCOVERED, abs=0.005)
    total = 0.0
    tiles = millan.read_lookup(made.root / "millan" / millan.LOOKUP)
    for tile in tiles["thickness"]:
        values, cell_area_m2, _, _ = millan.read(made.root / "millan" / tile)
        assert cell_area_m2 == 2500
        total += float(values.sum(dtype=np.float64)) * cell_area_m2 / 1e9
    # Neighbours in an archipelago share cells on their divides: the last one has them.
    assert total == pytest.approx(sum(cover.volume_km3 for cover in made.covers.values()), rel=0.01)


def test_traps_are_there(made: Made, windows: dict[str, dict[str, list[Path]]]) -> None:
    tiles = millan.read_lookup(made.root / "millan" / millan.LOOKUP)
    conventions = set()
    for tile in tiles["thickness"]:
        with rasterio.open(made.root / "millan" / tile) as raster:
            conventions.add(str(raster.nodata))
    assert conventions == {"nan", "-9999.0", "None", "0.0"}
    assert len(windows[ARCHIPELAGO]["thickness"]) >= 3
    with_ice = [p for p in windows["taku"]["thickness"] if millan.verify(p).content["ice_area_km2"] > 0]
    assert {millan.verify(path).content["epsg"] for path in with_ice} == {32608, 32609}


@pytest.mark.parametrize(
    ("glacier_id", "tolerance"),
    [("engabreen", 0.01), ("taku", 0.01), ("yuri", 0.03), ("austre_broeggerbreen", 0.02), ("parrish", 0.06)],
)
def test_what_was_put_in_comes_out(
    made: Made, windows: dict[str, dict[str, list[Path]]], glacier_id: str, tolerance: float
) -> None:
    truth = sample_millan.truth(made.land.weights(glacier_id), made.covers)
    product, mean = on_members(made, windows, glacier_id)
    assert product and mean
    assert product.volume_km3 == pytest.approx(truth.volume_km3, rel=tolerance)
    assert product.thickness_m == pytest.approx(truth.thickness_m, rel=tolerance)
    assert product.thickness_max_m == pytest.approx(truth.thickness_max_m, rel=0.05)
    share = sample_millan.ERROR_SHARE * product.thickness_m
    assert 0.99 * share < product.thickness_sigma_m < share + 1  # errors are rounded up to whole metres
    assert product.sigma_kind == "product"
    assert mean.thickness_m == pytest.approx(truth.mean_thickness_m, rel=tolerance)
    assert mean.volume_km3 == pytest.approx(truth.mean_volume_km3, rel=2 * tolerance)
    area = sum(geodesic_area_km2(member.piece.polygon) for member in made.land.of(glacier_id))
    expected = truth.ice_area_km2 / area
    # Parrish holds a strip of its neighbour, and with it a part of what that lacks in the south; Yuri is all margin.
    assert mean.coverage_fraction == pytest.approx(expected, abs={"parrish": 0.05, "yuri": 0.03}.get(glacier_id, 0.015))
    apart = (1 / sample_millan.FACTOR - 1) * product.thickness_m
    assert mean.difference_m == pytest.approx(-apart, rel=0.2) and mean.spread_m >= -mean.difference_m


def test_archipelago_member_by_member(made: Made, windows: dict[str, dict[str, list[Path]]]) -> None:
    few = replace(made, land=replace(made.land, members=tuple(made.land.of(ARCHIPELAGO)[:MEMBERS])))
    truth = sample_millan.truth(few.land.weights(ARCHIPELAGO), made.covers)
    product, mean = on_members(few, windows, ARCHIPELAGO)
    assert product and mean
    assert product.volume_km3 == pytest.approx(truth.volume_km3, rel=0.03)
    assert mean.thickness_m == pytest.approx(truth.mean_thickness_m, rel=0.03)
    assert 0.93 < mean.coverage_fraction <= 1.01


def test_without_the_consensus_there_is_millan_but_no_mean(
    made: Made, windows: dict[str, dict[str, list[Path]]]
) -> None:
    lacking = replace(made, land=replace(made.land, links=()))
    product, mean = on_members(lacking, windows, "engabreen")
    assert product and product.coverage_fraction > 0.95
    assert mean is None


def test_elevations_are_those_of_the_inventory(made: Made, tmp_path: Path) -> None:
    origin = DirectoryOrigin(made.root)
    ids = ("engabreen", "austre_broeggerbreen", "taku", "mccall")
    zones = {glacier_id: made.registry[glacier_id].utm_epsg for glacier_id in ids}
    for wanted in dem.remotes(origin, {glacier_id: made.bounds(glacier_id) for glacier_id in ids}, zones):
        assert isinstance(wanted, dem.Window)
        target = tmp_path / f"{wanted.glacier_id}.tif"
        assert not isinstance(dem.deliver(origin, wanted, target, None), Missing)
        assert wanted.verify(target).is_synthetic
        heights, crs, transform = dem.read(target)
        grid = Grid(crs.to_epsg(), transform.a, transform.c, transform.f, heights.shape)
        outline = shapely.union_all([m.piece.polygon for m in made.land.of(wanted.glacier_id)])
        inside = outline_fraction(outline, grid) > 0.5
        stated = np.concatenate([m.piece.heights for m in made.land.of(wanted.glacier_id)])
        span = stated.max() - stated.min()
        assert heights[inside].mean() == pytest.approx(stated.mean(), abs=0.05 * span)
        assert heights[inside].max() == pytest.approx(stated.max(), abs=0.1 * span)
        assert heights[inside].min() == pytest.approx(stated.min(), abs=0.2 * span)
        steepness = np.degrees(slope(heights, grid.cell_m, 800)[inside])
        assert 0.5 < np.median(steepness) < 30


def test_the_archipelago_has_ocean_around_it(made: Made, tmp_path: Path) -> None:
    origin = DirectoryOrigin(made.root)
    target = tmp_path / "window.tif"
    (wanted,) = dem.remotes(origin, {ARCHIPELAGO: made.bounds(ARCHIPELAGO)}, {ARCHIPELAGO: 32641})
    assert isinstance(wanted, dem.Window)
    assert isinstance(dem.deliver(origin, wanted, target, None), Delivery)
    content = dem.verify(target).content
    assert content["cell_m"] == 200 and content["void_fraction"] == 0
    assert set(content["tiles"]) <= set(made.tiles) and len(content["ocean_tiles"]) > 10
    assert 500 < content["highest_m"] <= 1000 and content["lowest_m"] == 0
