"""raw/landsat: windows of late-summer scenes."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from arctic_assets.assets.members import bounds_of
from arctic_assets.assets.wiring import Acquired, RawStore, raw_asset
from arctic_assets.partitions import Partitions, scope
from arctic_assets.provenance import Delivery, SourceObject
from arctic_assets.sources import landsat as source
from arctic_assets.sources.base import Missing, Origin, Remote, Unchanged
from arctic_assets.sources.origins import WindowOrigin
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Window(Remote):
    """A scene's window over a glacier's box."""

    item: source.Item | None = None
    bounds: Bounds = (0.0, 0.0, 0.0, 0.0)


class LandsatConfig(dg.Config):
    """Where scenes are looked for, and how many are taken."""

    endpoint: str = ""
    """STAC API, or a directory of items; empty for the one that belongs to the mirror."""
    scenes: int = 3
    """Scenes per glacier and inventory, at most."""


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(
        source.PRODUCT,
        "landsat",
        partitions.inventory_glaciers,
        deps=[dg.AssetDep(["raw", "rgi7"], partition_mapping=dg.MultiToSingleDimensionPartitionMapping("glacier"))],
        kinds={"geotiff"},
    )
    def landsat(
        context: dg.AssetExecutionContext, config: LandsatConfig, store: RawStore, warehouse: Warehouse
    ) -> dg.MaterializeResult:
        """Landsat Collection 2 Level-2 scenes of 15 July to 20 September within two years of an inventory's nominal
        year: found through STAC, the clearest over the glacier taken, and a window of blue, green, red, NIR, SWIR and
        QA kept as one COG with item id, date and sensor. The newest choice counts: windows that it leaves out are put
        aside; where nothing is found, the last choice stays. The reference inventory `rgi7` has none.
        """
        import shapely

        wanted = scope(context.partition_keys)
        wanted = wanted[wanted["inventory"] != "rgi7"]
        origin = store.origin()
        endpoint = config.endpoint or source.endpoint_of(store.settings)
        glaciers = [partitions.registry[key] for key in dict.fromkeys(wanted["glacier_id"])]
        bounds, reasons = bounds_of(store.archive, glaciers)
        boxes = {key: source.box_of(shapely.box(*around)) for key, around in bounds.items()}
        whole = Acquired()
        gaps = {}
        before = chosen(store.archive)
        for row in wanted.itertuples():
            if row.glacier_id in reasons:
                gaps[str(row.partition)] = reasons[row.glacier_id]
                continue
            remotes = source.kept(origin, row.inventory, row.glacier_id)
            if remotes:
                got = store.acquire(origin, remotes)
            else:
                found = source.search(endpoint, boxes[row.glacier_id], row.inventory, keep=config.scenes)
                windows: list[Remote | Missing] = (
                    [found]
                    if isinstance(found, Missing)
                    else [_window(row.inventory, row.glacier_id, item, boxes[row.glacier_id]) for item in found]
                )
                got = store.acquire(WindowOrigin(origin, _cut), windows)
            store.archive.keep_only(got.objects)
            objects = got.objects or before.get((row.glacier_id, row.inventory), [])
            whole.objects += objects
            whole.n_new += got.n_new
            if not objects:
                gaps[str(row.partition)] = "; ".join(m.reason for m in got.missing)
        warehouse.record(whole.objects, asset="raw/landsat", partitions=context.partition_keys, gaps=gaps)
        return whole.result(gaps)

    return [landsat]


def chosen(archive: Archive) -> dict[tuple[str, str], list[SourceObject]]:
    """The windows that were chosen last, by glacier and inventory, sorted by item id."""
    found: dict[tuple[str, str], list[SourceObject]] = {}
    for held in archive.objects(source.PRODUCT.provider):
        found.setdefault(source.chosen_for(held.path), []).append(held)
    return found


def _window(inventory: str, glacier_id: str, item: source.Item, bounds: Bounds) -> Window:
    path = source.path_of(inventory, glacier_id, item)
    return Window(source.product_of(item), path, source.verify, item=item, bounds=bounds)


def _cut(origin: Origin, remote: Remote, part: Path, held: SourceObject | None) -> Delivery | Unchanged | Missing:
    assert isinstance(remote, Window) and remote.item is not None
    return source.fetch_window(remote.item, remote.bounds, part, held)
