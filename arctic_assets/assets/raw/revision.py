"""raw/revision: outlines that people edited."""

import glob
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd
from filelock import FileLock

from arctic_assets.assets.members import neighbours_of, outline_files
from arctic_assets.assets.wiring import Acquired, RawStore, raw_asset
from arctic_assets.errors import ArcticAssetsError, SourceError
from arctic_assets.glaciers import Glacier
from arctic_assets.partitions import Partitions, scope
from arctic_assets.provenance import SourceObject
from arctic_assets.sources import revisions as source
from arctic_assets.sources.base import Delivery
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Outline

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry


@dataclass(frozen=True)
class Effect:
    """What an accepted revision did."""

    held: SourceObject

    @property
    def text(self) -> str:
        """One line for people."""
        facts = self.held.content
        before, after = facts["area_before_km2"], facts["area_after_km2"]
        change = "first outline" if before is None else f"{after - before:+.3f} km2 against {before:.3f} km2"
        return (
            f"{facts['glacier_id']} {facts['inventory']}, revision {facts['revision']} by {facts['editor']}: "
            f"{after:.3f} km2 ({change}); {facts['reason']}"
        )


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(source.PRODUCT, "revision", partitions.inventory_glaciers, deps=["raw/rgi7"], kinds={"geojson"})
    def revision(
        context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse
    ) -> Iterator[dg.MaterializeResult | dg.AssetMaterialization]:
        """Outlines corrected by a person, append-only: each with editor, reason, date, scene, the area before and
        after and the geometry of the difference; the newest of a glacier and inventory counts. Import a file with
        `arctic-assets outline import`, or drop it into `<home>/revisions/` and materialise this asset: what is
        accepted moves to `accepted/`, what is refused to `refused/` with the reason beside it.
        """
        wanted = set(context.partition_keys)
        for line in ingest(store, warehouse, partitions, wanted):
            context.log.info(line)
        held = {key: own for key, own in by_partition(store.archive).items() if key in wanted}
        objects = [one for own in held.values() for one in own]
        warehouse.record(objects, asset="raw/revision", partitions=context.partition_keys, gaps={})
        n = scope(context.partition_keys)["glacier_id"].nunique()
        if len(wanted) == 1:
            yield Acquired(objects=objects).result({}, glaciers=n)
            return
        # Dagster gives one data version to all partitions of a run: an outline that nobody touched would look stale
        # because another was edited. So all get that of no revision, and those with revisions their own.
        yield dg.MaterializeResult(
            metadata=Acquired(objects=objects).result({}, glaciers=n).metadata,
            data_version=Acquired().result({}).data_version,
        )
        written = context.instance.get_latest_materialization_event(context.asset_key)
        assert written is not None and written.asset_materialization is not None
        for key in (k for k in context.partition_keys if k in held):
            own = Acquired(objects=held[key]).result({})
            yield dg.AssetMaterialization(
                context.asset_key,
                partition=key,
                metadata=own.metadata,
                tags={**(written.asset_materialization.tags or {}), **_tags(key, own)},
            )

    return [revision]


def by_partition(archive: Archive) -> dict[str, list[SourceObject]]:
    """The revisions of each partition `glacier|inventory` that has some, oldest first."""
    found: dict[str, list[SourceObject]] = {}
    for held in sorted(archive.objects(source.PRODUCT.provider), key=lambda o: int(o.content["revision"])):
        found.setdefault(f"{held.content['glacier_id']}|{held.content['inventory']}", []).append(held)
    return found


def newest(archive: Archive) -> dict[tuple[str, str], SourceObject]:
    """The revision that counts, by glacier and inventory."""
    return {_pair(key): own[-1] for key, own in by_partition(archive).items()}


def digitisations(archive: Archive) -> dict[tuple[str, str], list[SourceObject]]:
    """The newest outline of each editor, by glacier and inventory, where all are of the newest one's image date.

    Repeated digitising is a measure of what one image leaves to judgement, so outlines of other dates do not count.
    """
    found = {}
    for key, own in by_partition(archive).items():
        of_editors = {str(held.content["editor"]): held for held in own}
        date = own[-1].content["image_date"]
        found[_pair(key)] = [held for held in of_editors.values() if held.content["image_date"] == date]
    return found


def ingest(store: RawStore, warehouse: Warehouse, partitions: Partitions, wanted: Collection[str]) -> list[str]:
    """Take what lies in `<home>/revisions/`; what is refused is set aside with its reason, and stops nothing else.

    A file with an outline of a partition that is not wanted stays, for a run that covers it: only what is materialised
    makes outline and area stale.
    """
    folder = store.settings.home / "revisions"
    every = set(partitions.inventory_glaciers.get_partition_keys())
    told = []
    for path in sorted(p for p in folder.glob("*") if p.suffix.lower() in source.SUFFIXES):
        try:
            found = source.read(path, source.Given())
            others = {f"{one.glacier_id}|{one.inventory}" for one in found} & every - set(wanted)
            if others:
                told.append(f"left {path.name} for a run that covers {', '.join(sorted(others))}")
                continue
            effects = accept(store, warehouse, partitions, found)
        except ArcticAssetsError as error:
            _move(path, folder / "refused")
            (folder / "refused" / f"{path.name}.reason.txt").write_text(f"{error}\n")
            told.append(f"refused {path.name}: {error}")
        else:
            _move(path, folder / "accepted")
            told += [f"accepted {path.name}: {effect.text}" for effect in effects]
    return told


def accept(
    store: RawStore, warehouse: Warehouse, partitions: Partitions, found: Sequence[source.Revision]
) -> list[Effect]:
    """Judge all revisions of a file, then keep them all.

    Raises:
        SourceError: one of them is refused; none is kept.
    """
    archive = store.archive
    if not outline_files(archive):
        raise SourceError(
            "an outline has nothing to be compared with",
            where=archive.root,
            expected="the RGI 7 outlines in the archive: they say where glaciers and their neighbours are",
            got="none",
            todo="run `arctic-assets build --select derived/outline` first, then import again",
        )
    with FileLock(archive.root / ".locks" / "revisions"):  # of two who import at once, each gets a number of its own
        return _accept(archive, warehouse.rows(Outline), partitions, found)


def _accept(
    archive: Archive, outlines: pd.DataFrame, partitions: Partitions, found: Sequence[source.Revision]
) -> list[Effect]:
    import shapely

    current: dict[tuple[str, str], Any] = {
        (row["glacier_id"], row["inventory"]): shapely.from_wkb(row["geometry"]) for row in outlines.to_dict("records")
    }
    for one in found:
        glacier = next((g for g in partitions.registry if g.glacier_id == one.glacier_id), None)
        source.judge(
            one,
            partitions.registry.ids,
            partitions.settings.inventories,
            current.get((one.glacier_id, "rgi7")),
            _beside(archive, glacier, one, current) if glacier else {},
            point=(glacier.longitude, glacier.latitude) if glacier else None,
        )
    effects = []
    for one in found:
        key = (one.glacier_id, one.inventory)
        last = newest(archive).get(key)
        number = int(last.content["revision"]) + 1 if last else 1
        before = source.geometry(archive.file(last)) if last else current.get(key)

        def transfer(
            part: Path,
            held: SourceObject | None,
            one: source.Revision = one,
            number: int = number,
            before: "BaseGeometry | None" = before,
        ) -> Delivery:
            source.write(part, one, number, before, is_synthetic=archive.is_synthetic)
            return Delivery(f"revision:{one.file}")

        path = f"{one.glacier_id}/{one.inventory}/{number:03d}.geojson"
        stored, _ = archive.store(source.PRODUCT, path, transfer, source.verify)
        assert stored is not None
        effects.append(Effect(stored))
    return effects


def _beside(
    archive: Archive, glacier: Glacier, one: source.Revision, current: Mapping[tuple[str, str], Any]
) -> dict[str, Any]:
    """Outlines of others around a revision: those of RGI7, and those of the registry in the same inventory."""
    if one.geometry is None or one.geometry.is_empty:
        return {}
    ours = {
        f"{glacier_id} ({inventory})": outline
        for (glacier_id, inventory), outline in current.items()
        if inventory == one.inventory and glacier_id != one.glacier_id
    }
    return ours | neighbours_of(archive, glacier, one.geometry.bounds)


def _pair(key: str) -> tuple[str, str]:
    glacier_id, inventory = key.split("|")
    return glacier_id, inventory


def _tags(key: str, own: dg.MaterializeResult) -> dict[str, str]:
    """What Dagster notes of one partition: its dimensions and its data version."""
    glacier_id, inventory = _pair(key)
    assert own.data_version is not None
    return {
        "dagster/partition/glacier": glacier_id,
        "dagster/partition/inventory": inventory,
        "dagster/data_version": own.data_version.value,
    }


def _move(path: Path, folder: Path) -> None:
    """Move a file with those that belong to it (.shx, .dbf, .prj of a .shp); a name that is taken gets a number."""
    folder.mkdir(exist_ok=True)
    beside = sorted(path.parent.glob(f"{glob.escape(path.stem)}.*")) if path.suffix.lower() == ".shp" else []
    for part in [path, *(p for p in beside if p.suffix.lower() not in source.SUFFIXES)]:
        target, number = folder / part.name, 1
        while target.exists():
            target, number = folder / f"{part.stem}-{number}{part.suffix}", number + 1
        os.replace(part, target)
