"""The sample's scenes have the provider's form, and mapping them gives back what was put in."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
import shapely

from arctic_assets import glaciers
from arctic_assets.provenance import SYNTHETIC
from arctic_assets.sample import landsat, rgi7
from arctic_assets.science import clean_ice, geometry
from arctic_assets.sources import landsat as source
from arctic_assets.sources.base import Delivery

CHOSEN = ("west_gulkana", "mccall", "andrei", "parrish")
"""Small with two scenes; small with one; with debris; marine, of two members beside a neighbour."""
REAL = Path(__file__).parents[3] / "shared/real/landsat_stac_items"


@pytest.fixture(scope="module")
def chosen() -> tuple[glaciers.Glacier, ...]:
    registry = glaciers.load()
    archipelago = dataclasses.replace(registry["novaya_zemlya"], rgi7_ids=registry["novaya_zemlya"].rgi7_ids[:4])
    return (*(registry[key] for key in CHOSEN), archipelago)


@pytest.fixture(scope="module")
def land(chosen: tuple[glaciers.Glacier, ...]) -> rgi7.Landscape:
    return rgi7.landscape(chosen)


@pytest.fixture(scope="module")
def written(
    chosen: tuple[glaciers.Glacier, ...], land: rgi7.Landscape, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, dict[str, landsat.Inventory]]]:
    folder = tmp_path_factory.mktemp("landsat")
    return folder, landsat.write(folder, land, chosen)


Written = tuple[Path, dict[str, dict[str, landsat.Inventory]]]


def test_same_bytes_again(chosen: tuple[glaciers.Glacier, ...], tmp_path: Path) -> None:
    def digests(folder: Path) -> dict[str, str]:
        landsat.write(folder, rgi7.landscape(chosen[:1]), chosen[:1])
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    first = digests(tmp_path / "one")
    assert first == digests(tmp_path / "other")
    assert len(first) == 10 * 7


def test_scenes_of_every_inventory_but_not_of_the_archipelago(written: Written) -> None:
    folder, truth = written
    assert set(truth) == set(CHOSEN)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 6e6
    for inventories in truth.values():
        assert list(inventories) == ["1985", "1995", "2005", "2015", "2024"]
        areas = [one.area_km2 for one in inventories.values()]
        assert areas == sorted(areas, reverse=True), "they retreat"
        assert inventories["1995"].retreat_m < 0 < inventories["2005"].retreat_m
    scenes = {key: {len(one.item_ids) for one in truth[key].values()} for key in CHOSEN}
    assert scenes == {"west_gulkana": {2}, "mccall": {2}, "andrei": {1}, "parrish": {1}}
    assert {key for key in CHOSEN if truth[key]["2005"].debris_km2} == {"andrei"}


def test_items_have_the_form_of_real_ones(written: Written) -> None:
    folder, truth = written
    names = {"proj:code": 0, "proj:epsg": 0}
    items = sorted((folder / "items").glob("*.json"))
    assert len(items) == sum(len(one.item_ids) for of in truth.values() for one in of.values())
    for path in items:
        content = json.loads(path.read_text())
        item = pystac.Item.from_file(str(path))
        facts = source.facts(item)
        assert facts is not None and facts.is_synthetic and facts.epsg
        assert content["id"] == path.stem == facts.item_id
        for name in names:
            names[name] += name in content["properties"]
        assert all(Path(href).is_file() for href in facts.hrefs.values())
        if REAL.is_dir():
            real_path = next(REAL.glob(f"{content['id'][:4].replace('LT05', 'LT05')}*.json"))
            real = json.loads(real_path.read_text())
            assert set(content["assets"]) <= set(real["assets"])
            assert set(content) == set(real)
            assert set(real["properties"]) - {"proj:epsg"} <= set(content["properties"])
            for key, asset in content["assets"].items():
                assert Path(asset["href"]).name[-10:] == Path(real["assets"][key]["href"]).name[-10:]
    assert names["proj:code"] and names["proj:epsg"]


def test_rasters_say_that_they_are_synthetic_and_are_on_landsats_grid(written: Written) -> None:
    folder, _ = written
    rasters = list(folder.rglob("*.TIF"))
    for path in rasters[::7]:
        with rasterio.open(path) as raster:
            assert SYNTHETIC in raster.tags()["TIFFTAG_IMAGEDESCRIPTION"]
            assert raster.res == (30, 30) and raster.dtypes == ("uint16",)
            assert raster.transform.c % 30 == raster.transform.f % 30 == 15


def test_only_2005_has_gaps_and_swir_goes_below_zero(written: Written) -> None:
    folder, truth = written
    share = {}
    for inventory, one in truth["andrei"].items():
        (item_id,) = one.item_ids
        item = source.facts(pystac.Item.from_file(str(folder / "items" / f"{item_id}.json")))
        assert item is not None and item.is_slc_off is (inventory == "2005")
        with rasterio.open(item.hrefs["swir"]) as raster:
            swir = raster.read(1)
        share[inventory] = float((swir > 0).mean())
        assert 0 < (swir[swir > 0] < 7273).mean() < 0.2
    assert share["2005"] < 0.87 * share["1985"]
    assert share["2015"] == pytest.approx(share["1985"], abs=0.01)


@pytest.mark.parametrize("glacier_id", CHOSEN)
def test_mapping_gives_back_what_was_put_in(
    written: Written, land: rgi7.Landscape, glacier_id: str, tmp_path: Path
) -> None:
    folder, truth = written
    members = land.of(glacier_id)
    own = {member.rgi7_id for member in members}
    rgi = geometry.dissolve([member.piece.polygon for member in members])
    around = [m.piece.polygon for m in land.members if m.rgi7_id not in own and m.piece.polygon.distance(rgi) < 0.05]
    box = source.box_of(rgi)

    def classified(inventory: str) -> tuple[Any, Any, Any, source.Scene]:
        items = source.search(str(folder), box, inventory)
        assert isinstance(items, list)
        assert {item.item_id for item in items} == set(truth[glacier_id][inventory].item_ids)
        scenes: list[source.Scene] = []
        for item in items:
            target = tmp_path / f"{item.item_id}.tif"
            assert isinstance(source.fetch_window(item, box, target), Delivery)
            scenes.append(source.read(target, scenes[0] if scenes else None))
        ice, n = clean_ice.vote([clean_ice.classify(one.bands, one.qa) for one in scenes])
        return ice, n, clean_ice.looks_like_debris(scenes[0].bands), scenes[0]

    ice, n, looks, scene = classified("1995")
    debris = clean_ice.debris_parts(ice, n, looks, scene.transform, scene.crs, rgi)
    assert (debris is not None) is (truth[glacier_id]["1995"].debris_km2 > 0)
    inventories = ("1985", "2005", "2024") if glacier_id != "parrish" else ("2024",)
    for inventory in inventories:
        known = truth[glacier_id][inventory]
        ice, n, _, scene = classified(inventory)
        result = clean_ice.outline(ice, n, scene.transform, scene.crs, rgi, around, debris)
        assert result.geometry is not None, result.reason
        geometry.check_outline(result.geometry, glacier_id)
        area = geometry.geodesic_area_km2(result.geometry)
        assert area == pytest.approx(known.area_km2, rel=0.01), inventory
        assert result.debris_km2 == pytest.approx(known.debris_km2, rel=0.02)
        moved = known.area_km2 - geometry.geodesic_area_km2(rgi)
        if inventory != "2005":
            assert area - geometry.geodesic_area_km2(rgi) == pytest.approx(moved, rel=0.15)
        assert all(not shapely.overlaps(result.geometry, one.buffer(-1e-6)) for one in around)
        assert np.isfinite(result.share_unclassified)
