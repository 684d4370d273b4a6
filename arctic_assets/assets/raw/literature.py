"""raw/literature: balances from publications."""

import datetime as dt
import hashlib

import dagster as dg

from arctic_assets import literature as source
from arctic_assets.assets.wiring import Acquired, raw_asset
from arctic_assets.partitions import Partitions
from arctic_assets.provenance import SourceObject
from arctic_assets.storage.warehouse import Warehouse


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @raw_asset(source.PRODUCT, "literature", None, kinds={"csv"})
    def literature(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
        """Balances of whole glaciers as printed in publications: a table in the package, each row with its source, its
        place in it, and whether the number was read there. Only verified rows are used; they stay the periods they are.
        """
        got = Acquired(objects=[table_object()])
        warehouse.record(got.objects, asset="raw/literature", partitions=[""], gaps={})
        return got.result({}, rows=len(source.load()))

    return [literature]


def table_object() -> SourceObject:
    """The package's table as a source: it belongs to the code, so it is in no archive."""
    content = source.PACKAGED.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    product = source.PRODUCT
    return SourceObject(
        source_id=f"{product.provider}/{source.PACKAGED.name}#{digest[:12]}",
        provider=product.provider,
        product=product.name,
        version=product.version,
        url=f"package:arctic_assets/{source.PACKAGED.name}",
        sha256=digest,
        bytes=len(content),
        retrieved_at=dt.datetime(2026, 11, 23, tzinfo=dt.UTC).isoformat(timespec="seconds"),
        licence=product.licence,
        citation=product.citation,
        path=source.PACKAGED.name,
        is_synthetic=False,
    )
