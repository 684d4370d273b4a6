"""Valid rows of any table: the columns a test does not name get a value the model allows."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import pandas as pd
from shapely import box

from arctic_assets.tables import Column, Gap, SourceObject, Table, violations
from arctic_assets.tables.base import columns_of

RECORDED = dt.datetime(2026, 3, 1, 12, 30)


def rows(model: type[Table], records: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Rows of a table; asserts that the warehouse would take them."""
    filled = [
        {c.name: record[c.name] if c.name in record else _value(c) for c in model.columns()} for record in records
    ]
    assert {name for record in records for name in record} <= {c.name for c in model.columns()}
    frame = model.conform(pd.DataFrame(filled)) if filled else model.no_rows()
    assert violations(model, frame) == []
    return frame


def sources(*records: dict[str, Any]) -> pd.DataFrame:
    """Rows of `provenance.source_object`."""
    return pd.DataFrame(
        [{**{c.name: _value(c) for c in columns_of(SourceObject)}, **record} for record in records],
        columns=[c.name for c in columns_of(SourceObject)],
    )


def gaps(*records: dict[str, Any]) -> pd.DataFrame:
    """Rows of `provenance.gap`."""
    return pd.DataFrame(
        [{"asset": "", "partition": "", "reason": "", "checked_at": RECORDED, **record} for record in records],
        columns=[c.name for c in columns_of(Gap)],
    )


def _value(column: Column) -> Any:
    if column.nullable:
        return None
    if column.isin:
        return column.isin[0]
    if column.type in (int, float):
        low, high = column.hard
        return column.type(0.001 if column.positive else low if low is not None else (high or 0))
    plain: dict[object, Any] = {
        str: column.name,
        bool: False,
        bytes: box(10.0, 78.0, 10.5, 78.2).wkb,
        dt.date: RECORDED.date(),
        dt.datetime: RECORDED,
        list[str]: [f"{column.name} 1", f"{column.name} 2"],
        list[float]: [0.25, 0.75],
    }
    return plain[column.type]
