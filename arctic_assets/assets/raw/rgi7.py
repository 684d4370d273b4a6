"""raw/rgi7: outlines, centrelines and links of the Randolph Glacier Inventory 7."""

import dagster as dg

from arctic_assets.assets.wiring import RawStore, raw_asset
from arctic_assets.partitions import Partitions
from arctic_assets.sources import rgi7 as source
from arctic_assets.storage.warehouse import Warehouse


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(source.PRODUCT, "rgi7", partitions.glaciers, kinds={"shapefile"})
    def rgi7(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """Randolph Glacier Inventory 7.0: a zip per region with outlines (G), and centrelines (L) where given.

        Outlines of about the year 2000, in longitude and latitude (WGS84), with dates, elevations and the official
        links to RGI 6. Fetched by region; a glacier's partition says whether its region's file is there.
        """
        asked = [partitions.registry[key] for key in context.partition_keys]
        origin = store.origin()
        got = store.acquire(origin, source.remotes(origin, sorted({g.o1region for g in asked})))
        held = {str(o.content["region"]) for o in got.objects if o.content["product"] == "G"}
        reasons = "; ".join(m.reason for m in got.missing)
        gaps = {
            g.glacier_id: reasons or f"no RGI7 outlines of region {g.o1region}" for g in asked if g.o1region not in held
        }
        warehouse.record(got.objects, asset="raw/rgi7", partitions=context.partition_keys, gaps=gaps)
        return got.result(gaps)

    return [rgi7]
