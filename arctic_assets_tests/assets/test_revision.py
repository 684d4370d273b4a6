"""raw/revision in Dagster: what becomes stale, and what does not, however an edited outline comes in."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import dagster as dg
import geopandas as gpd
import pytest
import shapely
from click.testing import CliRunner

from arctic_assets import glaciers, settings
from arctic_assets.assets.members import neighbours_of
from arctic_assets.assets.raw.revision import accept, ingest, newest
from arctic_assets.assets.wiring import RawStore
from arctic_assets.automation.build import Extent, select
from arctic_assets.cli import main
from arctic_assets.definitions import build_defs
from arctic_assets.errors import SourceError
from arctic_assets.outline_commands import import_file
from arctic_assets.sources import revisions
from arctic_assets.sources.revisions import Given
from arctic_assets.storage.archive import Archive
from arctic_assets.tables import Outline
from arctic_assets_tests.testkit.platform import Platform, platform
from arctic_assets_tests.testkit.staleness import stale

GLACIER, INVENTORY, OTHER = "engabreen", "2015", "austre_broeggerbreen"
KEY = f"{GLACIER}|{INVENTORY}"


def shapes(found: Platform, glacier: str = GLACIER, inventory: str = INVENTORY) -> shapely.Geometry:
    row = found.rows(Outline).set_index(["glacier_id", "inventory"]).loc[(glacier, inventory)]
    return shapely.from_wkb(row["geometry"])


def edited(
    found: Platform, path: Path, inventory: str = INVENTORY, editor: str = "Ada", shrink_deg: float = 2e-4
) -> Path:
    """An outline with its margin moved inwards."""
    facts = {"glacier_id": GLACIER, "inventory": inventory, "editor": editor, "reason": "seasonal snow"}
    geometry = shapes(found, inventory=inventory).buffer(-shrink_deg)
    gpd.GeoDataFrame([facts], geometry=[geometry], crs=4326).to_file(path)
    return path


def store_of(found: Platform) -> RawStore:
    current = found.current
    return RawStore(home=str(current.home), mirror=current.mirror, registry=str(current.glaciers))


GRAIN = ("raw/revision", "derived/outline", "derived/area")


def chosen(*names: str) -> str:
    return " or ".join(f'key:"{name}"' for name in names)


def test_only_what_is_made_from_an_imported_outline_is_stale(built: Platform, tmp_path: Path) -> None:
    assert stale(built, *GRAIN, "derived/area_change", "derived/volume") == set()
    import_file(built.current, edited(built, tmp_path / "edited.gpkg"), Given())
    direct = {f"derived/outline {KEY}", f"derived/area {KEY}"}
    assert stale(built, *GRAIN, "derived/area_change", "derived/volume") == direct

    own = Extent(glaciers=(GLACIER,))
    assert built.build(chosen("derived/outline", "derived/area"), own).is_good
    assert stale(built, *GRAIN) == set()
    follows = stale(built, "derived/area_change", "derived/volume")
    assert f"derived/area_change {GLACIER}" in follows and f"derived/volume {KEY}" in follows
    assert all(GLACIER in what for what in follows)
    assert built.build(chosen("derived/area_change", "derived/volume"), own).is_good
    assert stale(built, *GRAIN, "derived/area_change", "derived/volume") == set()


def printed(found: Platform, lines: list[str]) -> None:
    """The command that `outline import` ends with, as a person copies it."""
    words = shlex.split(lines[-1])
    assert words[:2] == ["arctic-assets", "build"]
    result = CliRunner().invoke(main, words[1:])
    assert result.exit_code == 0, result.output


def launched(found: Platform, lines: list[str]) -> None:
    """The job that the sensor launches."""
    with found.instance() as instance:
        assert (
            build_defs(found.current).resolve_job_def("import_revisions").execute_in_process(instance=instance).success
        )


@pytest.mark.parametrize("rebuild", [printed, launched])
def test_after_an_import_and_its_rebuild_all_tables_are_new_and_nothing_is_stale(
    built: Platform, tmp_path: Path, rebuild: Callable[[Platform, list[str]], None]
) -> None:
    built = Platform(replace(built.current, start_month="2019-01", start_year=2019))  # each partition takes its time
    os.environ.update(settings.environment(built.current))
    graph = build_defs(built.current).resolve_asset_graph()
    chain = 'key:"derived/outline"+ and group:"derived"'
    tables = [k.to_user_string() for k in select(graph, chain) if k.path[-1] != "outline"]
    assert {f"derived/{name}" for name in ("area", "area_change", "thickness", "volume", "mass_balance", "trend")} < {
        *tables
    }
    assert {f"derived/temperature_{name}" for name in ("monthly", "annual")} < {*tables}
    assert stale(built, "derived/outline", *tables) == set()

    lines = import_file(built.current, edited(built, tmp_path / "edited.gpkg"), Given())
    built.warehouse.publish(built.current.published)
    imported = time.time()
    rebuild(built, lines)
    assert stale(built, "raw/revision", "derived/outline", *tables) == set()
    with built.instance() as instance:
        for name in tables:
            key = dg.AssetKey.from_user_string(name)
            own = {p for p in instance.get_materialized_partitions(key) if p.split("|")[0] == GLACIER}
            since = dg.AssetRecordsFilter(key, after_timestamp=imported)
            anew = {r.partition_key for r in instance.fetch_materializations(since, limit=10_000).records}
            assert own and own <= anew, name
            assert {str(p).split("|")[0] for p in anew} == {GLACIER}, name


def test_a_dropped_file_makes_only_its_own_outline_stale_though_all_are_materialised(built: Platform) -> None:
    """Dagster gives all partitions of a run one data version; the asset gives those with revisions their own."""
    folder = built.current.home / "revisions"
    folder.mkdir()
    edited(built, folder / "first.gpkg")
    assert built.build("raw/revision").is_good
    assert stale(built, *GRAIN) == {f"derived/outline {KEY}", f"derived/area {KEY}"}
    assert built.build(chosen("derived/outline", "derived/area")).is_good
    assert built.build("raw/revision").is_good
    assert stale(built, *GRAIN) == set(), "nothing new came in"

    edited(built, folder / "second.gpkg", inventory="2005")
    assert built.build("raw/revision", Extent(glaciers=(GLACIER,))).is_good
    second = f"{GLACIER}|2005"
    assert stale(built, *GRAIN) == {f"derived/outline {second}", f"derived/area {second}"}


def test_a_dropped_file_waits_for_a_run_that_covers_it(built: Platform, tmp_path: Path) -> None:
    folder = built.current.home / "revisions"
    folder.mkdir()
    dropped = edited(built, folder / "waits.gpkg", inventory="2005")
    import_file(built.current, edited(built, tmp_path / "imported.gpkg"), Given())
    assert dropped.is_file()
    assert set(newest(Archive(built.current.archive))) == {(GLACIER, INVENTORY)}
    told = ingest(store_of(built), built.warehouse, built.partitions, {KEY})
    assert told == [f"left waits.gpkg for a run that covers {GLACIER}|2005"]
    assert built.build("raw/revision").is_good
    assert not dropped.exists() and (GLACIER, "2005") in newest(Archive(built.current.archive))


def test_two_who_import_at_once_get_a_number_each(built: Platform, tmp_path: Path) -> None:
    found = [
        revisions.read(edited(built, tmp_path / f"{n}.gpkg", editor=f"editor {n}", shrink_deg=n * 1e-5), Given())
        for n in range(1, 7)
    ]
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda one: accept(store_of(built), built.warehouse, built.partitions, one), found))
    assert sorted(int(effect.held.content["revision"]) for (effect,) in done) == [1, 2, 3, 4, 5, 6]
    assert len(Archive(built.current.archive).objects("revisions")) == 6
    assert Archive(built.current.archive).replaced("revisions") == {}


def test_each_revision_starts_from_the_one_before(built: Platform, tmp_path: Path) -> None:
    areas = []
    for n, shrink in enumerate((1e-4, 3e-4), 1):
        found = revisions.read(edited(built, tmp_path / f"{n}.gpkg", shrink_deg=shrink), Given())
        (effect,) = accept(store_of(built), built.warehouse, built.partitions, found)
        areas.append((effect.held.content["area_before_km2"], effect.held.content["area_after_km2"]))
        difference = revisions.difference(Archive(built.current.archive).file(effect.held))
        assert difference is not None and not difference.is_empty
    assert areas[1][0] == pytest.approx(areas[0][1]) and areas[0][0] > areas[0][1] > areas[1][1]


def test_an_outline_on_another_glacier_of_the_registry_is_refused(built: Platform, tmp_path: Path) -> None:
    """Of the same inventory, whether RGI 7 knows the other or not: here it is moved to lie beside."""
    here = shapes(built)
    west, south, east, north = here.bounds
    facts = {"glacier_id": GLACIER, "inventory": INVENTORY, "editor": "Ada", "reason": "test"}
    wide = shapely.union(here, shapely.box(west, south, east, north))
    with built.warehouse.get_connection() as connection:
        beside = shapely.difference(shapely.box(west, south, east, north), here.buffer(1e-5))
        connection.execute(
            "UPDATE derived.outline SET geometry = $1 WHERE glacier_id = $2 AND inventory = $3",
            [shapely.to_wkb(beside), OTHER, INVENTORY],
        )
    gpd.GeoDataFrame([facts], geometry=[wide], crs=4326).to_file(tmp_path / "wide.gpkg")
    with pytest.raises(SourceError, match="lies on a neighbour") as refused:
        accept(store_of(built), built.warehouse, built.partitions, revisions.read(tmp_path / "wide.gpkg", Given()))
    assert f"{OTHER} ({INVENTORY})" in str(refused.value)
    assert newest(Archive(built.current.archive)) == {}


def test_before_anything_was_built_nothing_is_accepted(built: Platform, tmp_path: Path) -> None:
    """It could not be compared with anything, and would make a real archive of one that waits for the sample."""
    path = edited(built, tmp_path / "edited.gpkg")
    fresh = platform(tmp_path / "fresh", built.current.mirror, built.current.glaciers)
    with pytest.raises(SourceError, match="nothing to be compared with"):
        import_file(fresh.current, path, Given())
    assert fresh.build("raw/rgi7").is_good


def test_no_neighbours_are_known_of_a_glacier_whose_own_outline_is_not(built: Platform) -> None:
    archive = Archive(built.current.archive)
    registry = glaciers.load(built.current.glaciers)
    around = (11.0, 78.0, 13.0, 80.0)
    own = registry[OTHER]
    assert own.rgi7_ids and set(neighbours_of(archive, own, around)).isdisjoint(own.rgi7_ids)
    lost = replace(own, rgi7_ids=(), rgi6_ids=("RGI60-07.99999",))
    assert neighbours_of(archive, lost, around) == {}
