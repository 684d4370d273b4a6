"""raw/farinotti: rasters of the consensus ice thickness."""

import dagster as dg

from arctic_assets.assets.members import members_of
from arctic_assets.assets.wiring import RawStore, raw_asset
from arctic_assets.partitions import Partitions
from arctic_assets.science.links import Unresolved
from arctic_assets.sources import farinotti as source
from arctic_assets.storage.warehouse import Warehouse


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(source.PRODUCT, "farinotti", partitions.glaciers, deps=["raw/rgi7"], kinds={"geotiff"})
    def farinotti(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """Consensus estimate of ice thickness (Farinotti et al. 2019): one GeoTIFF per RGI 6 glacier.

        Metres of ice about the date of the RGI 6 outline, on a grid in the glacier's UTM zone; 0 is no ice. Which
        RGI 6 glaciers a glacier of the registry has follows from the official links in the RGI 7 file.
        """
        keys = context.partition_keys
        found = members_of(store.archive, [partitions.registry[key] for key in keys])
        wanted = {key: list(m.rgi6) for key, m in found.items() if not isinstance(m, Unresolved)}
        origin = store.origin()
        got = store.acquire(origin, source.remotes(origin, sorted({i for ids in wanted.values() for i in ids})))
        held = {str(o.content["rgi6_id"]) for o in got.objects}
        gaps = {key: m.reason for key, m in found.items() if isinstance(m, Unresolved)}
        for key, ids in wanted.items():
            lacking = [i for i in ids if i not in held]
            if not ids:
                gaps[key] = f"no RGI 6 id of {key} is known: put rgi6_ids into the registry"
            elif lacking:
                gaps[key] = f"no consensus raster of {_named(lacking)}: {_first_reason(got.missing)}"
        warehouse.record(got.objects, asset="raw/farinotti", partitions=keys, gaps=gaps)
        return got.result(gaps)

    return [farinotti]


def _named(ids: list[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")


def _first_reason(missing: list) -> str:
    return missing[0].reason if missing else "not in the archive"
