"""raw/amce: annual mass change of every glacier."""

import dagster as dg

from arctic_assets.assets.wiring import RawStore, raw_asset
from arctic_assets.partitions import Partitions
from arctic_assets.sources import amce as source
from arctic_assets.storage.warehouse import Warehouse


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(source.PRODUCT, "amce", None, kinds={"csv"})
    def amce(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """Annual mass-change estimates for every RGI 6 glacier (Dussaillant et al. 2025, WGMS), as the zip it is
        published in: a reconstruction from glaciological anomalies and geodetic trends, in m w.e. with one sigma.
        """
        origin = store.origin()
        got = store.acquire(origin, source.remotes(origin))
        gaps = {} if got.objects else {"": "; ".join(m.reason for m in got.missing) or "no release found"}
        warehouse.record(got.objects, asset="raw/amce", partitions=[""], gaps=gaps)
        return got.result(gaps)

    return [amce]
