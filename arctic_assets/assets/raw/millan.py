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
        wanted = source.remotes(origin, bounds, file)
        got = store.acquire(source.window_origin(origin), wanted)
        have = {str(o.content["glacier_id"]) for o in got.objects if o.content["kind"] == "thickness"}
        missing = {m.what: m.reason for m in got.missing}
        for key in bounds:
            own = [w for w in wanted if isinstance(w, source.Window) and w.glacier_id == key and not w.optional]
            # A mosaic that does not reach the glacier, though its footprint does, holds nothing of it; one that is not
            # there may hold a part.
            names = [name for w in own for name in (f"{w.product.provider}/{w.tile}", w.url)]
            lacking = [missing[name] for name in names if name in missing]
            if lacking:
                gaps[key] = "; ".join(lacking)
            elif key not in have:
                gaps[key] = f"no mosaic of Millan et al. (2022) holds {key}"
        got.objects += lookup.objects
        warehouse.record(got.objects, asset="raw/millan", partitions=keys, gaps=gaps)
        return got.result(gaps)

    return [millan]
