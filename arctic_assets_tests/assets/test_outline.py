"""raw/landsat and derived/outline in Dagster: the same outline whichever way it was asked for; what is not known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import rasterio

from arctic_assets.assets.raw.landsat import chosen
from arctic_assets.definitions import build_defs
from arctic_assets.storage.archive import Archive
from arctic_assets.tables import Outline
from arctic_assets_tests.testkit.platform import Platform, comparable
from arctic_assets_tests.testkit.staleness import stale

UNDER_DEBRIS, TWO_SCENES = "geitlandsjokull", "engabreen"
DATED = ("1985", "1995", "2005", "2015", "2024")


def run(found: Platform, asset: str, glacier: str, inventory: str, config: dict[str, Any] | None = None) -> None:
    """One partition of one asset, as from its button in the UI."""
    key = dg.AssetKey.from_user_string(asset)
    job = build_defs(found.current).resolve_implicit_job_def_def_for_assets([key])
    assert job is not None
    tags = {
        "dagster/partition": f"{glacier}|{inventory}",
        "dagster/partition/glacier": glacier,
        "dagster/partition/inventory": inventory,
    }
    own = {"ops": {"__".join(key.path): {"config": config}}} if config else {}
    with found.instance() as instance:
        assert job.execute_in_process(instance=instance, asset_selection=[key], tags=tags, run_config=own).success


def outlines(found: Platform, glacier: str, *inventories: str) -> pd.DataFrame:
    rows = comparable(found.rows(Outline)).query("glacier_id == @glacier")
    return rows[rows["inventory"].isin(inventories)].reset_index(drop=True)


def without_outlines(found: Platform) -> None:
    with found.warehouse.get_connection() as connection:
        connection.execute("DELETE FROM derived.outline WHERE inventory != 'rgi7'")


def windows(found: Platform, glacier: str, inventory: str) -> list[str]:
    return [held.path for held in chosen(Archive(found.current.archive)).get((glacier, inventory), [])]


def test_an_outline_alone_is_that_of_all_together(built: Platform) -> None:
    together = outlines(built, UNDER_DEBRIS, *DATED)
    assert together["debris_km2"].min() > 1
    for inventory in reversed(DATED):
        without_outlines(built)
        run(built, "derived/outline", UNDER_DEBRIS, inventory)
        expected = together.query("inventory == @inventory").reset_index(drop=True)
        pd.testing.assert_frame_equal(outlines(built, UNDER_DEBRIS, *DATED), expected, check_exact=True)


def test_without_old_scenes_debris_is_unknown_until_they_come(built: Platform) -> None:
    """The table does not depend on which scenes came first: what was made without them is stale when they are there."""
    together = outlines(built, UNDER_DEBRIS, *DATED)
    folder = built.current.archive / "landsat/windows"
    for inventory in ("1985", "1995"):
        shutil.rmtree(folder / inventory)
    without_outlines(built)
    run(built, "derived/outline", UNDER_DEBRIS, "2015")
    (alone,) = outlines(built, UNDER_DEBRIS, "2015").to_dict("records")
    assert alone["debris_km2"] == 0 and "debris_unknown" in alone["flags"]
    assert not together["flags"].map(lambda flags: "debris_unknown" in flags).any()

    run(built, "raw/landsat", UNDER_DEBRIS, "1995")
    assert f"derived/outline {UNDER_DEBRIS}|2015" in stale(built, "derived/outline")
    run(built, "derived/outline", UNDER_DEBRIS, "2015")
    expected = together.query("inventory == '2015'").reset_index(drop=True)
    pd.testing.assert_frame_equal(outlines(built, UNDER_DEBRIS, "2015"), expected, check_exact=True)
    assert f"derived/outline {UNDER_DEBRIS}|2015" not in stale(built, "derived/outline")


def test_steep_ground_is_no_debris(built: Platform) -> None:
    (path,) = (built.current.archive / "dem/windows").glob(f"{UNDER_DEBRIS}.tif")
    with rasterio.open(path, "r+") as raster:
        rows, _ = np.indices(raster.shape)
        raster.write((rows % 40 * 50.0).astype(np.float32), 1)  # 45 degrees
    run(built, "derived/outline", UNDER_DEBRIS, "2015")
    (steep,) = outlines(built, UNDER_DEBRIS, "2015").to_dict("records")
    assert steep["debris_km2"] < 0.5 and "debris_slope_deg=24," in steep["thresholds"]
    assert {"debris_unknown", "debris_slope_unknown"}.isdisjoint(steep["flags"])


def test_without_elevations_the_rule_of_slope_is_not_applied_and_the_row_says_so(built: Platform) -> None:
    (before,) = outlines(built, UNDER_DEBRIS, "2015").to_dict("records")
    assert "debris_slope_deg=24," in before["thresholds"] and "debris_slope_unknown" not in before["flags"]
    assert any(one.startswith("dem/") for one in before["source_ids"])
    shutil.rmtree(built.current.archive / "dem")
    for glacier in (UNDER_DEBRIS, TWO_SCENES):
        run(built, "derived/outline", glacier, "2015")
    (after,) = outlines(built, UNDER_DEBRIS, "2015").to_dict("records")
    assert "debris_slope_deg=not applied," in after["thresholds"] and "debris_slope_unknown" in after["flags"]
    assert after["debris_km2"] == pytest.approx(before["debris_km2"], rel=0.05)
    assert not any(one.startswith("dem/") for one in after["source_ids"])
    (clean,) = outlines(built, TWO_SCENES, "2015").to_dict("records")
    assert "debris_slope_unknown" not in clean["flags"], "where nothing looks like debris no slope is needed"


def test_a_scene_can_be_voted_out(built: Platform, tmp_path: Path) -> None:
    """What an earlier search chose is not mapped on any more, whatever the archive keeps of it."""
    both = windows(built, TWO_SCENES, "2015")
    assert len(both) == 2
    assert "single_scene" not in outlines(built, TWO_SCENES, "2015")["flags"][0]
    run(built, "raw/landsat", TWO_SCENES, "2015", {"scenes": 1})
    assert f"derived/outline {TWO_SCENES}|2015" in stale(built, "derived/outline")
    (left,) = windows(built, TWO_SCENES, "2015")
    assert left in both and len(Archive(built.current.archive).replaced("landsat")) == 1
    run(built, "derived/outline", TWO_SCENES, "2015")
    (row,) = outlines(built, TWO_SCENES, "2015").to_dict("records")
    assert row["scene_ids"] == [Path(left).stem] and "single_scene" in row["flags"]
    assert windows(built, TWO_SCENES, "2005") != [], "of its own partition only"
    run(built, "raw/landsat", TWO_SCENES, "2015")
    assert windows(built, TWO_SCENES, "2015") == both


def test_where_nothing_is_found_the_last_choice_stays(built: Platform) -> None:
    before = windows(built, TWO_SCENES, "2015")
    shutil.rmtree(Path(built.current.mirror) / "landsat/items")
    run(built, "raw/landsat", TWO_SCENES, "2015")
    assert windows(built, TWO_SCENES, "2015") == before
    gaps = built.warehouse.gaps("raw/landsat")
    assert f"{TWO_SCENES}|2015" not in set(gaps["partition"])
