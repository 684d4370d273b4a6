"""raw/fog: the Fluctuations of Glaciers database."""

import dagster as dg

from arctic_assets.assets.wiring import RawStore, raw_asset
from arctic_assets.partitions import Partitions
from arctic_assets.sources import fog as source
from arctic_assets.storage.warehouse import Warehouse


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(source.PRODUCT, "fog", None, kinds={"csv"})
    def fog(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """Fluctuations of Glaciers (WGMS): the newest release, as the zip it is published in.

        Annual, winter and summer balances of whole glaciers, in m w.e. or, in releases to 2024, mm w.e. The archive
        keeps each release; the newest is used.
        """
        origin = store.origin()
        got = store.acquire(origin, source.remotes(origin))
        gaps = {} if got.objects else {"": "; ".join(m.reason for m in got.missing) or "no release found"}
        warehouse.record(got.objects, asset="raw/fog", partitions=[""], gaps=gaps)
        return got.result(gaps)

    return [fog]
