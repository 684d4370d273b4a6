"""raw/revision: outlines that people edited."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from arctic_assets.assets.members import neighbours_of
from arctic_assets.assets.wiring import Acquired, RawStore, raw_asset
from arctic_assets.errors import ArcticAssetsError
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
    def revision(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """Outlines corrected by a person, append-only: each with editor, reason, date, scene, the area before and
        after and the geometry of the difference; the newest of a glacier and inventory counts. Import a file with
        `arctic-assets outline import`, or drop it into `<home>/revisions/` and materialise this asset: what is
        accepted moves to `accepted/`, what is refused to `refused/` with the reason beside it.
        """
        for line in ingest(store, warehouse, partitions):
            context.log.info(line)
        wanted = set(context.partition_keys)
        got = Acquired(
            objects=[
                o
                for o in store.archive.objects(source.PRODUCT.provider)
                if f"{o.content['glacier_id']}|{o.content['inventory']}" in wanted
            ]
        )
        warehouse.record(got.objects, asset="raw/revision", partitions=context.partition_keys, gaps={})
        return got.result({}, glaciers=scope(context.partition_keys)["glacier_id"].nunique())

    return [revision]


def newest(archive: Archive) -> dict[tuple[str, str], SourceObject]:
    """The revision that counts, by glacier and inventory."""
    found: dict[tuple[str, str], SourceObject] = {}
    for held in archive.objects(source.PRODUCT.provider):
        key = (str(held.content["glacier_id"]), str(held.content["inventory"]))
        if key not in found or held.content["revision"] > found[key].content["revision"]:
            found[key] = held
    return found


def digitisations(archive: Archive) -> dict[tuple[str, str], list[SourceObject]]:
    """The newest outline of each editor, by glacier and inventory, where all are of the newest one's image date.

    Repeated digitising is a measure of what one image leaves to judgement, so outlines of other dates do not count.
    """
    latest: dict[tuple[str, str], dict[str, SourceObject]] = {}
    for held in sorted(archive.objects(source.PRODUCT.provider), key=lambda o: int(o.content["revision"])):
        key = (str(held.content["glacier_id"]), str(held.content["inventory"]))
        latest.setdefault(key, {})[str(held.content["editor"])] = held
    counted = newest(archive)
    return {
        key: [o for o in own.values() if o.content["image_date"] == counted[key].content["image_date"]]
        for key, own in latest.items()
    }


def ingest(store: RawStore, warehouse: Warehouse, partitions: Partitions) -> list[str]:
    """Take what lies in `<home>/revisions/`; what is refused is set aside with its reason, and stops nothing else."""
    folder = store.settings.home / "revisions"
    told = []
    for path in sorted(p for p in folder.glob("*") if p.suffix.lower() in source.SUFFIXES):
        try:
            effects = accept(store, warehouse, partitions, source.read(path, source.Given()))
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
    import shapely

    archive = store.archive
    outlines = warehouse.rows(Outline)
    current: dict[tuple[str, str], Any] = {
        (row["glacier_id"], row["inventory"]): shapely.from_wkb(row["geometry"]) for row in outlines.to_dict("records")
    }
    for one in found:
        reference = current.get((one.glacier_id, "rgi7"))
        source.judge(
            one,
            partitions.registry.ids,
            partitions.settings.inventories,
            reference,
            neighbours_of(archive, partitions.registry[one.glacier_id], one.geometry.bounds)
            if one.glacier_id in partitions.registry.ids
            else {},
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


def _move(path: Path, folder: Path) -> None:
    """Move a file with those that belong to it (.shx, .dbf, .prj of a .shp); a name that is taken gets a number."""
    folder.mkdir(exist_ok=True)
    for part in sorted(path.parent.glob(f"{path.stem}.*")):
        target, number = folder / part.name, 1
        while target.exists():
            target, number = folder / f"{part.stem}-{number}{part.suffix}", number + 1
        os.replace(part, target)
