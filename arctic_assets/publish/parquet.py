"""The tables as Parquet files, and the outlines as GeoParquet: one file per table, columns as in the warehouse.

Unit and meaning travel with every column in the Arrow schema, title, description and the SYNTHETIC flag with the
file. The same rows give the same bytes: they are sorted by key, and nothing of the moment is written.
"""

from __future__ import annotations

import datetime as dt
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from arctic_assets.glaciers import Registry
from arctic_assets.provenance import SYNTHETIC
from arctic_assets.publish.codebook import description, glacier_columns, registry_frame
from arctic_assets.tables import Column, Gap, SourceObject, Table
from arctic_assets.tables.base import columns_of

_ARROW_TYPES: dict[object, pa.DataType] = {
    str: pa.string(),
    float: pa.float64(),
    int: pa.int64(),
    bool: pa.bool_(),
    bytes: pa.binary(),
    dt.date: pa.date32(),
    dt.datetime: pa.timestamp("us"),
    list[str]: pa.list_(pa.string()),
    list[float]: pa.list_(pa.float64()),
}


def write_tables(
    folder: Path,
    tables: Mapping[type[Table], pd.DataFrame],
    sources: pd.DataFrame,
    gaps: pd.DataFrame,
    glaciers: Registry,
) -> list[Path]:
    """Write one Parquet file per table.

    The metadata of each file has `title`, `description`, `key` (comma-separated) and `synthetic` (`SYNTHETIC` when
    any row is, else empty); that of each column has `unit`, `description` and `uncertainty`. A table with a column
    of geometries is GeoParquet 1.1 (WKB, EPSG:4326).

    Args:
        folder: where the files go; made when it is not there.
        tables: rows of each table, as `Table.conform` returns them.
        sources: rows of `provenance.source_object`.
        gaps: rows of `provenance.gap`.
        glaciers: the registry.

    Returns:
        The files: one per table in the order of `tables`, then glaciers, sources and gaps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for model, frame in tables.items():
        path = folder / f"{model.table()}.parquet"
        _write(path, model.title(), description(model), model.columns(), frame)
        written.append(path)
    registry = registry_frame(glaciers).sort_values("glacier_id")
    for name, title, about, columns, frame in (
        ("glaciers", "Glaciers", "The registry: names, regions, ids, position.", glacier_columns(), registry),
        ("sources", "Sources", description(SourceObject), columns_of(SourceObject), sources),
        ("gaps", "Gaps", description(Gap), columns_of(Gap), gaps),
    ):
        path = folder / f"{name}.parquet"
        _write(path, title, about, columns, frame)
        written.append(path)
    return written


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write rows that have no model (coverage) as they are, with the SYNTHETIC flag in the file's metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    pq.write_table(table.replace_schema_metadata({"synthetic": _flag(frame)}), path, compression="zstd")


def _flag(frame: pd.DataFrame) -> str:
    return SYNTHETIC if "is_synthetic" in frame and bool(frame["is_synthetic"].any()) else ""


def _write(path: Path, title: str, about: str, columns: Sequence[Column], frame: pd.DataFrame) -> None:
    key = [column.name for column in columns if column.key]
    frame = frame.sort_values(key)
    flag = _flag(frame)
    metadata: dict[str, str | bytes] = {
        "title": f"{flag}: {title}" if flag else title,
        "description": about,
        "key": ",".join(key),
        "synthetic": flag,
    }
    for column in columns:
        if column.type is bytes:
            metadata["geo"] = _geo_metadata(frame[column.name], column.name)
    schema = pa.schema([_field(column) for column in columns], metadata=metadata)
    arrays = [
        pa.array(frame[column.name], type=field.type, from_pandas=True)
        for column, field in zip(columns, schema, strict=True)
    ]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="zstd")


def _field(column: Column) -> pa.Field:
    about = {"unit": column.unit, "description": column.description, "uncertainty": column.uncertainty}
    return pa.field(
        column.name,
        _ARROW_TYPES[column.type],
        nullable=column.nullable,
        metadata={name: text for name, text in about.items() if text},
    )


def _geo_metadata(geometries: pd.Series, name: str) -> bytes:
    """What GeoParquet wants to know of the geometry column: encoding, types, CRS, bounding box, by geopandas."""
    import geopandas as gpd

    buffer = io.BytesIO()
    series = gpd.GeoSeries.from_wkb(geometries.to_numpy(), crs="EPSG:4326")
    gpd.GeoDataFrame({name: series}, geometry=name).to_parquet(buffer, index=False, schema_version="1.1.0")
    return bytes(pq.read_schema(buffer).metadata[b"geo"])
