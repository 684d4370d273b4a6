"""Where numbers come from, and why some are missing: the schema `provenance`."""

from __future__ import annotations

import datetime as dt

import pandera.pandas as pa

from arctic_assets.tables.base import column


class SourceObject(pa.DataFrameModel):
    """One archived provider file: from any row's `source_ids` to the bytes it came from."""

    source_id: str = column("provider/path#first 12 digits of the SHA-256", key=True)
    provider: str = column("Provider: the folder in the mirror and the archive")
    product: str = column("Product name")
    version: str = column("Version or release of the product")
    url: str = column("Where the file came from")
    sha256: str = column("SHA-256 of the bytes")
    bytes: int = column("Size", unit="B")
    retrieved_at: dt.datetime = column("When it was retrieved, UTC")
    licence: str = column("Licence of the product")
    citation: str = column("How to cite the product")
    path: str = column("Path in the archive")
    is_synthetic: bool = column("True for the SYNTHETIC sample")


class Gap(pa.DataFrameModel):
    """A partition without data, or without a part of it, and the reason."""

    asset: str = column("Asset key", key=True)
    partition: str = column("Partition key; empty for an unpartitioned asset", key=True)
    reason: str = column("Why there is nothing")
    checked_at: dt.datetime = column("When this reason was first found, UTC")
