"""Outlines as data that people edit: export, import, what becomes stale, and what editors agree on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import geopandas as gpd
import pyogrio
import pytest
import shapely
from click.testing import CliRunner, Result
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus

from arctic_assets.cli import main
from arctic_assets.definitions import build_defs
from arctic_assets.tables import Area, AreaChange, Outline
from arctic_assets_tests.testkit.platform import Platform, copy_of

GLACIER, INVENTORY = "engabreen", "2015"
KEY = f"{GLACIER}|{INVENTORY}"


@pytest.fixture
def home(small_home: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Platform:
    found = copy_of(small_home, tmp_path)
    monkeypatch.setenv("ARCTIC_ASSETS_GLACIERS", str(found.current.glaciers))
    monkeypatch.setenv("ARCTIC_ASSETS_MIRROR", found.current.mirror)
    return found


def outline(found: Platform, *words: object) -> Result:
    return CliRunner().invoke(main, ["outline", *map(str, words), "--home", str(found.current.home)])


def exported(found: Platform, folder: Path, inventory: str = INVENTORY) -> Path:
    path = folder / f"outline{len(list(folder.glob('outline*')))}.gpkg"
    result = outline(found, "export", GLACIER, inventory, "--to", path)
    assert result.exit_code == 0, result.output
    return path


def edited(path: Path, editor: str, shrink_deg: float, **more: Any) -> Path:
    """What a person does in QGIS: moves the margin inwards, fills in the form."""
    frame = gpd.read_file(path, layer="outline")
    frame["geometry"] = frame.geometry.buffer(-shrink_deg)
    frame.assign(editor=editor, reason="seasonal snow", **more).to_file(path, layer="outline", driver="GPKG")
    return path


def stale(found: Platform, instance: dg.DagsterInstance, *assets: str) -> dict[str, str]:
    """Dagster's own word on one partition of each asset."""
    graph = build_defs(found.current).resolve_asset_graph()
    resolver = CachingStaleStatusResolver(instance=instance, asset_graph=graph, loading_context=dg_context(instance))
    key = dg.MultiPartitionKey({"glacier": GLACIER, "inventory": INVENTORY})
    return {name: resolver.get_status(dg.AssetKey.from_user_string(name), key).value for name in assets}


def dg_context(instance: dg.DagsterInstance) -> Any:
    from dagster._core.loader import LoadingContextForTest

    return LoadingContextForTest(instance)


def test_export_has_what_an_editor_needs(home: Platform, tmp_path: Path) -> None:
    path = exported(home, tmp_path)
    layers = {str(name) for name, _ in pyogrio.list_layers(path)}
    assert layers == {"outline", "neighbours"}
    (row,) = gpd.read_file(path, layer="outline").to_dict("records")
    stored = home.rows(Outline).set_index(["glacier_id", "inventory"]).loc[(GLACIER, INVENTORY)]
    assert row["geometry"].equals_exact(shapely.from_wkb(stored["geometry"]), 1e-9)
    assert (row["glacier_id"], row["inventory"], row["editor"]) == (GLACIER, INVENTORY, "")
    assert row["scene_ids"].split() == stored["scene_ids"] and row["half_pixel_m"] == 15
    own = set(stored["member_ids"])
    assert own.isdisjoint(gpd.read_file(path, layer="neighbours")["rgi_id"])


def test_export_of_what_is_not_there(home: Platform, tmp_path: Path) -> None:
    for words, told in (
        (("atlantis", INVENTORY), "atlantis"),
        ((GLACIER, "1492"), "there is no outline to export"),
    ):
        result = outline(home, "export", *words, "--to", tmp_path / "a.gpkg")
        assert result.exit_code == 1 and told in result.output
    assert not (tmp_path / "a.gpkg").exists()


def test_export_does_not_overwrite_an_editors_work(home: Platform, tmp_path: Path) -> None:
    path = edited(exported(home, tmp_path), "Ada", 2e-4)
    before = path.read_bytes()
    result = outline(home, "export", GLACIER, INVENTORY, "--to", path)
    assert result.exit_code == 1 and "the file to write is there already" in result.output
    assert path.read_bytes() == before


def test_import_is_kept_and_makes_what_lies_downstream_stale(home: Platform, tmp_path: Path) -> None:
    before = home.rows(Area).set_index(["glacier_id", "inventory"])["area_km2"]
    with home.instance() as instance:
        assert stale(home, instance, "derived/outline", "derived/area") == dict.fromkeys(
            ("derived/outline", "derived/area"), StaleStatus.FRESH.value
        )
    result = outline(home, "import", edited(exported(home, tmp_path), "Ada", 2e-4))
    assert result.exit_code == 0, result.output
    assert f"{GLACIER} {INVENTORY}, revision 1 by Ada" in result.output and "seasonal snow" in result.output
    with home.instance() as instance:
        assert stale(home, instance, "derived/outline", "derived/area") == dict.fromkeys(
            ("derived/outline", "derived/area"), StaleStatus.STALE.value
        )
    assert home.build('key:"derived/outline" or key:"derived/area" or key:"derived/area_change"').is_good

    row = home.rows(Outline).set_index(["glacier_id", "inventory"]).loc[(GLACIER, INVENTORY)]
    assert (row["origin"], row["revision"], row["editor"], row["reason"]) == ("revision", 1, "Ada", "seasonal snow")
    after = home.rows(Area).set_index(["glacier_id", "inventory"])["area_km2"]
    assert after[(GLACIER, INVENTORY)] < before[(GLACIER, INVENTORY)]
    assert after.drop((GLACIER, INVENTORY)).equals(before.drop((GLACIER, INVENTORY)))
    assert f"{after[(GLACIER, INVENTORY)]:.3f} km2" in result.output
    changes = home.rows(AreaChange).query("glacier_id == @GLACIER and to_inventory == @INVENTORY")
    assert len(changes) and (changes["change_km2"] < 0).all()
    assert home.history_rows() > 0
    with home.instance() as instance:
        assert set(stale(home, instance, "derived/outline", "derived/area").values()) == {StaleStatus.FRESH.value}


def test_the_newest_revision_wins_and_an_undo_is_one_too(home: Platform, tmp_path: Path) -> None:
    original = exported(home, tmp_path)
    kept = tmp_path / "original.gpkg"
    shutil.copyfile(original, kept)
    assert outline(home, "import", edited(original, "Ada", 2e-4)).exit_code == 0
    undone = outline(home, "import", kept, "--editor", "Grace", "--reason", "the margin was right")
    assert undone.exit_code == 0 and "revision 2 by Grace" in undone.output
    assert home.build('key:"derived/outline" or key:"derived/area"').is_good
    row = home.rows(Outline).set_index(["glacier_id", "inventory"]).loc[(GLACIER, INVENTORY)]
    assert (row["revision"], row["editor"]) == (2, "Grace")
    files = sorted(p.name for p in (home.current.archive / "revisions" / GLACIER / INVENTORY).glob("*.geojson"))
    assert files == ["001.geojson", "002.geojson"]


def test_of_a_file_all_are_taken_or_none(home: Platform, tmp_path: Path) -> None:
    path = exported(home, tmp_path)
    frame = gpd.read_file(path, layer="outline").assign(editor="Ada", reason="snow")
    elsewhere = frame.assign(geometry=frame.geometry.translate(yoff=-5), editor="Grace")
    both = gpd.GeoDataFrame(gpd.pd.concat([frame, elsewhere], ignore_index=True), crs=4326)
    both.to_file(tmp_path / "both.geojson")
    result = outline(home, "import", tmp_path / "both.geojson")
    assert result.exit_code == 1 and "an outline is far from its glacier" in result.output
    assert not (home.current.archive / "revisions").exists()


def test_dropped_files_are_taken_or_set_aside_with_the_reason(home: Platform, tmp_path: Path) -> None:
    folder = home.current.home / "revisions"
    folder.mkdir()
    shutil.copyfile(edited(exported(home, tmp_path), "Ada", 2e-4), folder / "good.gpkg")
    (folder / "good.geojson").write_text("no outline")
    gpd.read_file(folder / "good.gpkg", layer="outline").to_file(folder / "[2] moraine.shp")
    assert home.build("raw/revision").is_good
    accepted, refused = ({p.name for p in (folder / name).iterdir()} for name in ("accepted", "refused"))
    shapefile = {f"[2] moraine{suffix}" for suffix in (".shp", ".shx", ".dbf", ".prj", ".cpg")}
    assert accepted == {"good.gpkg", *shapefile}
    assert refused == {"good.geojson", "good.geojson.reason.txt"}
    assert {p.name for p in folder.iterdir()} == {"accepted", "refused"}
    assert "an outline file cannot be read" in (folder / "refused/good.geojson.reason.txt").read_text()
    kept = home.current.archive / "revisions" / GLACIER / INVENTORY
    assert sorted(p.name for p in kept.glob("*.geojson")) == ["001.geojson", "002.geojson"]


def test_editors_who_draw_the_same_image_give_a_repeatability(home: Platform, tmp_path: Path) -> None:
    areas = {}
    for editor, shrink in (("Ada", 1e-4), ("Grace", 3e-4), ("Ada", 2e-4)):
        path = exported(home, tmp_path, "rgi7")
        frame = gpd.read_file(path, layer="outline")
        frame["inventory"] = INVENTORY
        frame.to_file(path, layer="outline", driver="GPKG")
        assert outline(home, "import", edited(path, editor, shrink, image_date="2015-08-20")).exit_code == 0
        assert home.build('key:"derived/outline" or key:"derived/area"').is_good
        row = home.rows(Area).set_index(["glacier_id", "inventory"]).loc[(GLACIER, INVENTORY)]
        areas[editor] = row["area_km2"]
    assert row["n_digitisations"] == 2
    apart = abs(areas["Ada"] - areas["Grace"])
    assert row["area_repeatability_km2"] == pytest.approx(apart / 2**0.5)
    assert sum("revisions/" in one for one in row["source_ids"]) == 2
    others = home.rows(Area).query("not (glacier_id == @GLACIER and inventory == @INVENTORY)")
    assert others["area_repeatability_km2"].isna().all()
