"""raw/millan: windows of the second thickness product."""

import dagster as dg

from arctic_assets.assets.members import bounds_of
from arctic_assets.assets.wiring import RawStore, raw_asset
from arctic_assets.partitions import Partitions
from arctic_assets.sources import millan as source
from arctic_assets.storage.warehouse import Warehouse


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(source.PRODUCT, "millan", partitions.glaciers, deps=["raw/rgi7"], kinds={"geotiff"})
    def millan(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """Ice thickness of Millan et al. (2022), 50 m: for each glacier a window of every mosaic that touches it, with
        its error where there is one. Names come from the product's lookup, CRS and missing values from each file.
        """
        keys = context.partition_keys
        origin = store.origin()
        bounds, reasons = bounds_of(store.archive, [partitions.registry[key] for key in keys])
        lookup = store.acquire(origin, [source.lookup()])
        gaps = dict(reasons)
        if not lookup.objects:
            gaps |= dict.fromkeys(keys, lookup.missing[0].reason)
            warehouse.record([], asset="raw/millan", partitions=keys, gaps=gaps)
            return lookup.result(gaps)
        file = store.archive.file(lookup.objects[0])
        got = store.acquire(source.window_origin(origin), source.remotes(origin, bounds, file))
        have = {str(o.content["glacier_id"]) for o in got.objects}
        for key in keys:
            if key not in have and key not in gaps:
                own = [m.reason for m in got.missing if f"/{key}" in m.what]
                gaps[key] = own[0] if own else "no mosaic of Millan et al. (2022) holds this glacier"
        got.objects += lookup.objects
        warehouse.record(got.objects, asset="raw/millan", partitions=keys, gaps=gaps)
        return got.result(gaps)

    return [millan]
