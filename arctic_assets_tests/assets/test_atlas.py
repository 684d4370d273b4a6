"""exports/atlas attaches one picture to each partition, and its maps show what the derived tables say."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
import shapely
from PIL import Image

from arctic_assets.assets.centrelines import centrelines_of
from arctic_assets.assets.maps import Cells, Maps
from arctic_assets.automation.build import Extent
from arctic_assets.sources import millan
from arctic_assets.storage.archive import Archive
from arctic_assets.tables import Area, Outline, Thickness, Velocity
from arctic_assets_tests.conftest import SMALL
from arctic_assets_tests.testkit.platform import Platform, copy_of

ATLAS = dg.AssetKey(["exports", "atlas"])


@pytest.fixture(scope="module")
def drawn(small_home: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The small home with its atlas, of one run over all glaciers."""
    found = copy_of(small_home, tmp_path_factory.mktemp("drawn"))
    assert found.build("exports/atlas").is_good
    return found


def materializations(found: Platform) -> dict[str, list[dg.AssetMaterialization]]:
    """Of each partition, newest first."""
    by_key: dict[str, list[dg.AssetMaterialization]] = {}
    with found.instance() as instance:
        for record in instance.fetch_materializations(ATLAS, limit=100).records:
            event = record.asset_materialization
            assert event is not None
            assert event.partition is not None
            by_key.setdefault(event.partition, []).append(event)
    return by_key


def pictures(found: Platform) -> dict[str, bytes]:
    folder = found.current.exports / "latest" / "atlas"
    return {path.stem: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_run_over_all_glaciers_attaches_one_picture_to_each(drawn: Platform) -> None:
    events = materializations(drawn)
    assert set(events) == set(SMALL)
    shown: dict[str, bytes] = {}
    for key, (event,) in events.items():
        texts = [str(value.md_str) for value in event.metadata.values() if isinstance(value, dg.MarkdownMetadataValue)]
        (text,) = texts
        name = drawn.partitions.registry[key].name
        assert text.startswith(f"![{name}](data:image/png;base64,")
        shown[key] = base64.b64decode(text.rpartition(",")[2].removesuffix(")"))
        assert len(shown[key]) < 30_000
        assert Image.open(io.BytesIO(shown[key])).mode == "P"
        assert event.metadata["SYNTHETIC"].value is True
    assert len(set(shown.values())) == len(SMALL), "each partition has its own"


def test_numbers_stand_beside_the_picture(drawn: Platform) -> None:
    areas = drawn.rows(Area).sort_values("image_date").groupby("glacier_id")["area_km2"].last()
    volumes = drawn.rows(Thickness).query("product == 'mean'").set_index("glacier_id")["volume_km3"]
    for key, (event,) in materializations(drawn).items():
        assert event.metadata["area (km2)"].value == pytest.approx(areas[key], abs=1e-4)
        assert event.metadata["volume (km3)"].value == pytest.approx(volumes[key], abs=1e-4)
        assert isinstance(event.metadata["last balance (m w.e.)"].value, float)


def test_pages_lie_beside_the_other_exports_and_nothing_else_does(drawn: Platform) -> None:
    found = pictures(drawn)
    assert set(found) == set(SMALL)
    for key, (event,) in materializations(drawn).items():
        path = event.metadata["file"].value
        assert isinstance(path, str)
        assert Path(path).read_bytes() == found[key]


def test_one_glacier_alone_gives_the_same_bytes(drawn: Platform, tmp_path: Path) -> None:
    again = copy_of(drawn, tmp_path)
    before = pictures(again)
    assert again.build("exports/atlas", Extent(glaciers=(SMALL[1],))).is_good
    assert pictures(again) == before
    assert {key: len(events) for key, events in materializations(again).items()} == {
        key: 1 + (key == SMALL[1]) for key in SMALL
    }


@pytest.mark.parametrize("key", SMALL)
def test_maps_show_what_the_tables_say(small_home: Platform, key: str) -> None:
    glacier = small_home.partitions.registry[key]
    archive = Archive(small_home.current.archive)
    outline = small_home.rows(Outline).query("glacier_id == @key and inventory == 'rgi7'").iloc[0]
    cells, maps = Cells(shapely.from_wkb(outline["geometry"]), glacier.utm_epsg), Maps(archive)
    thickness = maps.thickness(key, outline["rgi6_ids"], cells)
    assert thickness is not None
    assert thickness.source == "mean of Farinotti 2019 and Millan 2022"
    mean = small_home.rows(Thickness).query("glacier_id == @key and product == 'mean'").iloc[0]
    assert np.nanmean(thickness.values) == pytest.approx(mean["thickness_m"], rel=0.03)
    ice_km2 = np.isfinite(thickness.values).sum() * cells.grid.cell_area_m2 / 1e6
    assert ice_km2 == pytest.approx(mean["ice_area_km2"], rel=0.04)

    lines, _, _ = centrelines_of(archive, [glacier])
    found = maps.speed(key, lines[key], cells)
    assert found is not None
    speed, (line,) = found
    newest = small_home.rows(Velocity).query("glacier_id == @key").sort_values("year").iloc[-1]
    assert speed.source == f"{newest['year']}, ITS_LIVE {newest['mosaic_version']}"
    assert np.nanmean(line.speed_m_yr) == pytest.approx(newest["speed_m_yr"], rel=1e-3)
    assert np.isfinite(line.speed_m_yr).mean() == pytest.approx(newest["coverage_fraction"], abs=0.02)
    assert np.isfinite(speed.values).any()


@pytest.mark.parametrize("step", [2, 3])
def test_every_nth_cell_of_a_window_lies_on_the_same_ground(small_home: Platform, step: int) -> None:
    archive = Archive(small_home.current.archive)
    held = next(
        o
        for o in archive.objects(millan.PRODUCT.provider)
        if o.content["kind"] == "thickness" and o.content["glacier_id"] == "engabreen"
    )
    with millan.opened(archive.file(held)) as window:
        (all_m, cell_m2, _, whole), (some_m, large_m2, _, coarse) = window.read(), window.read(step=step)
    assert some_m.shape == (all_m.shape[0] // step, all_m.shape[1] // step)
    assert (coarse.c, coarse.f) == (whole.c, whole.f)
    assert large_m2 * some_m.size == pytest.approx(cell_m2 * all_m.size)
    assert some_m.sum() * large_m2 == pytest.approx(all_m.sum() * cell_m2, rel=0.02)
    assert (some_m > 0).sum() * large_m2 == pytest.approx((all_m > 0).sum() * cell_m2, rel=0.02)
