"""raw/dem: elevations around each glacier."""

import dagster as dg

from arctic_assets.assets.members import bounds_of
from arctic_assets.assets.wiring import RawStore, raw_asset
from arctic_assets.partitions import Partitions
from arctic_assets.sources import dem as source
from arctic_assets.storage.warehouse import Warehouse


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(source.PRODUCT, "dem", partitions.glaciers, deps=["raw/rgi7"], kinds={"geotiff"})
    def dem(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """Copernicus DEM GLO-30 around each glacier, on a grid in its UTM zone. Ocean tiles do not exist: they are
        sea level.
        """
        keys = context.partition_keys
        glaciers = [partitions.registry[key] for key in keys]
        bounds, reasons = bounds_of(store.archive, glaciers)
        origin = store.origin()
        zones = {g.glacier_id: g.utm_epsg for g in glaciers}
        got = store.acquire(source.window_origin(origin), source.remotes(origin, bounds, zones))
        have = {str(o.content["glacier_id"]) for o in got.objects}
        missing = {m.what: m.reason for m in got.missing}
        gaps = reasons | {key: missing[f"windows/{key}.tif"] for key in bounds if key not in have}
        warehouse.record(got.objects, asset="raw/dem", partitions=keys, gaps=gaps)
        return got.result(gaps)

    return [dem]
