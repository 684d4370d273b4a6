"""raw/era5: monthly means of the ERA5 reanalysis."""

from collections.abc import Mapping

import dagster as dg

from arctic_assets.assets.members import members_of, outline_files, outlines_of
from arctic_assets.assets.wiring import RawStore, raw_asset
from arctic_assets.partitions import Partitions
from arctic_assets.science.links import Members
from arctic_assets.sources import era5 as source
from arctic_assets.sources.era5_files import Box, Index
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse

Bounds = tuple[float, float, float, float]


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(
        source.PRODUCT,
        "era5",
        partitions.months,
        deps=[dg.AssetDep(["raw", "rgi7"], partition_mapping=dg.AllPartitionMapping())],
        kinds={"netcdf"},
    )
    def era5(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """ERA5 monthly means of 2 m temperature, and the model's orography and land fraction, over the glaciers.

        Kept as the Climate Data Store delivers them: one NetCDF may hold 480 months. The archive knows by content
        which month, box and variable lie in which file, and prefers final values over preliminary ones (ERA5T),
        which appear about five days after a month ends and turn final two to three months later. Preliminary files
        stay, for comparison.
        """
        months = context.partition_keys
        archive, origin = store.archive, store.origin()
        boxes = _boxes(partitions, archive) if origin.is_live else {}
        wanted = source.remotes(origin, months, boxes, archive.objects(source.PRODUCT.provider))
        got = store.acquire(origin, wanted)
        held = archive.objects(source.PRODUCT.provider)
        status = Index(held).status()
        reason = got.missing[0].reason if got.missing else _there(status)
        gaps = {month: f"no ERA5 2 m temperature of {month}: {reason}" for month in months if month not in status}
        known = [*archive.replaced(source.PRODUCT.provider).values(), *held]  # live, little of it comes in one run
        warehouse.record(known, asset="raw/era5", partitions=months, gaps=gaps)
        preliminary = sum(status.get(month) == "preliminary" for month in months)
        return got.result(gaps, months=len(months) - len(gaps), preliminary=preliminary)

    return [era5]


def _there(status: Mapping[str, str]) -> str:
    return f"the archive has {min(status)} to {max(status)}" if status else "the archive has none"


def _boxes(partitions: Partitions, archive: Archive) -> dict[str, Box]:
    """What to ask ERA5 for: a box per RGI region around its outlines; around the registry's point where none is."""
    bounds: dict[str, list[Bounds]] = {}
    files = outline_files(archive)
    members = members_of(archive, partitions.registry.glaciers)
    for glacier in partitions.registry.glaciers:
        found = members[glacier.glacier_id]
        around: list[Bounds] = [(glacier.longitude, glacier.latitude, glacier.longitude, glacier.latitude)]
        if isinstance(found, Members) and glacier.o1region in files:
            outlines = outlines_of(archive, files[glacier.o1region], found.rgi7_ids)
            around += [(float(w), float(s), float(e), float(n)) for w, s, e, n in outlines.bounds.to_numpy()]
        bounds.setdefault(glacier.o1region, []).extend(around)
    return source.request_boxes(bounds)
