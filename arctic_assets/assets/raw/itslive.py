"""raw/itslive: windows of the annual velocity mosaics."""

import dagster as dg

from arctic_assets.assets.centrelines import centrelines_of
from arctic_assets.assets.wiring import RawStore, raw_asset
from arctic_assets.partitions import Partitions, scope
from arctic_assets.sources import itslive as source
from arctic_assets.storage.warehouse import Warehouse


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(
        source.PRODUCT,
        "itslive",
        partitions.year_glaciers,
        deps=[dg.AssetDep(["raw", "rgi7"], partition_mapping=dg.MultiToSingleDimensionPartitionMapping("glacier"))],
        kinds={"geotiff"},
    )
    def itslive(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """ITS_LIVE annual mosaics of surface speed, 120 m: for each glacier and year a window of v, v_error and count
        around its centrelines, cut out of the regional mosaic by HTTP ranges. Version 2 for 1985 to 2022, version 2.1
        for the years after or where version 2 lacks one; the version is kept. The multi-year mean comes along.
        """
        wanted = scope(context.partition_keys)
        store.origin()  # writes the sample when it is the mirror
        glaciers = [partitions.registry[key] for key in dict.fromkeys(wanted["glacier_id"])]
        lines, reasons, _ = centrelines_of(store.archive, glaciers)
        regions: dict[str, str] = {}
        for glacier in glaciers:
            code = source.region_code(glacier.o1region, glacier.latitude)
            if code:
                regions[glacier.glacier_id] = code
            else:
                reasons[glacier.glacier_id] = f"ITS_LIVE has no mosaics of RGI region {glacier.o1region}"
        lines = {key: own for key, own in lines.items() if key in regions}
        years = sorted({int(y) for y in wanted["year"]})
        with source.open_mosaics(store.settings) as mosaics:
            got = store.acquire(mosaics, source.remotes(lines, regions, [*years, source.CLIMATOLOGY]))
        missing = {m.what: m.reason for m in got.missing}
        gaps = {}
        for row in wanted.itertuples():
            what = f"{source.PRODUCT.provider}/{source.window_path(row.glacier_id, row.year)}"
            if row.glacier_id in reasons:
                gaps[str(row.partition)] = reasons[row.glacier_id]
            elif what in missing:
                gaps[str(row.partition)] = missing[what]
        warehouse.record(got.objects, asset="raw/itslive", partitions=context.partition_keys, gaps=gaps)
        return got.result(gaps)

    return [itslive]
