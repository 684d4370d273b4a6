"""What the published columns mean: the codebook of the workbook, and the page `docs/tables.md`.

All of it is read off `arctic_assets.tables` and the fields of `Glacier`; no column is described here.
`python -m arctic_assets.publish.codebook > docs/tables.md` writes the page anew.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import inspect
import sys
import typing
from collections.abc import Iterable, Sequence

import pandas as pd

from arctic_assets.glaciers import Glacier, Registry
from arctic_assets.tables import TABLES, Column, Gap, SourceObject, Table
from arctic_assets.tables.base import columns_of

SHEET_NAME_LIMIT = 31
"""Characters that Excel takes in the name of a sheet."""

_TYPE_WORDS: dict[object, str] = {
    str: "text",
    float: "number",
    int: "whole number",
    bool: "true or false",
    bytes: "geometry (WKB)",
    dt.date: "date",
    dt.datetime: "date and time (UTC)",
    list[str]: "list of texts",
    list[float]: "list of numbers",
}
_GRAIN_WORDS = {
    "glacier": "one partition per glacier",
    "inventory": "one partition per glacier and inventory",
    "month": "one partition per glacier and month",
    "year": "one partition per glacier and year",
    "none": "one table, unpartitioned",
}


def sheet_name(model: type[Table]) -> str:
    """The table's title as Excel can name a sheet: at most 31 characters, none of `[]:*?/\\`."""
    return model.title().translate({ord(c): "-" for c in "[]:*?/\\"})[:SHEET_NAME_LIMIT].strip("' ")


def type_words(kind: object) -> str:
    """The type of a column in words."""
    return _TYPE_WORDS[kind]


def description(model: type) -> str:
    """What a table holds: the docstring of its model, in one line."""
    return " ".join((inspect.getdoc(model) or "").split())


def glacier_columns() -> list[Column]:
    """The columns of the registry in the words of the tables; lists of ids are lists of texts."""
    hints = typing.get_type_hints(Glacier)
    plain = {tuple[str, ...]: list[str], int | None: int, float | None: float}
    return [
        Column(
            name=field.name,
            type=plain.get(hints[field.name], hints[field.name]),
            unit=field.metadata["unit"],
            description=field.metadata["meaning"],
            key=field.name == "glacier_id",
            nullable=field.default is not dataclasses.MISSING,
            hard=(None, None),
            warn=(None, None),
            isin=(),
        )
        for field in dataclasses.fields(Glacier)
    ]


def registry_frame(registry: Registry) -> pd.DataFrame:
    """The registry as a table, one row per glacier in the order of its file."""
    rows = [dataclasses.asdict(glacier) for glacier in registry]
    frame = pd.DataFrame(rows, columns=[column.name for column in glacier_columns()])
    return frame.astype({"wgms_id": "Int64"} | {c.name: "float64" for c in glacier_columns() if c.type is float})


def codebook(models: Sequence[type[Table]] = TABLES) -> pd.DataFrame:
    """One row per column of each sheet of the workbook.

    Returns:
        Frame of texts: sheet, table, column, unit, meaning, type, key, may_be_missing, allowed (values or range; a
        row outside is refused), expected (a row outside is kept and shown by a check), uncertainty (the column
        that holds it, or why there is none).
    """
    parts: list[tuple[str, str, Sequence[Column]]] = [("glaciers", "registry", glacier_columns())]
    parts += [(sheet_name(model), f"derived.{model.table()}", model.columns()) for model in models]
    parts += [
        ("sources", "provenance.source_object", columns_of(SourceObject)),
        ("gaps", "provenance.gap", columns_of(Gap)),
    ]
    return pd.DataFrame(
        [
            {
                "sheet": sheet,
                "table": table,
                "column": column.name,
                "unit": column.unit,
                "meaning": column.description,
                "type": type_words(column.type),
                "key": "key" if column.key else "",
                "may_be_missing": "yes" if column.nullable else "no",
                "allowed": column.constraint,
                "expected": column.expectation,
                "uncertainty": column.uncertainty,
            }
            for sheet, table, columns in parts
            for column in columns
        ]
    )


def tables_markdown() -> str:
    """The page of all tables: what each holds, its key and grain, and every column."""
    common = {column.name for column in columns_of(Table)}
    lines = [
        "# Tables",
        "",
        "<!-- Generated: python -m arctic_assets.publish.codebook > docs/tables.md -->",
        "",
        "The warehouse (DuckDB) has the schemas `derived` (the numbers), `history` (what a number was before it",
        "changed) and `provenance` (where numbers come from, and why some are missing). A row that breaks the key,",
        "a type, or an allowed range is refused when it is written; one outside an expected range is kept, and an",
        "asset check shows it.",
        "",
        *(f"- [{model.title()}](#derived{model.table()}): `derived.{model.table()}`" for model in TABLES),
        "- [Columns of every derived table](#columns-of-every-derived-table)",
        "- [Source objects](#provenancesource_object): `provenance.source_object`",
        "- [Gaps](#provenancegap): `provenance.gap`",
        "",
    ]
    for model in TABLES:
        own = [column for column in model.columns() if column.name not in common]
        lines += [
            f"## derived.{model.table()}",
            "",
            description(model),
            "",
            f"Key: {_key(own)}. Grain: {_GRAIN_WORDS[model.grain()]}.",
            "",
            *_column_table(own),
            *(["", f"Also: {'; '.join(rule.text for rule in rules)}."] if (rules := model.rules()) else []),
            "",
        ]
    lines += [
        "## Columns of every derived table",
        "",
        "Where a row comes from and which run wrote it.",
        "",
        *_column_table(columns_of(Table)),
        "",
    ]
    for name, provenance in (("source_object", SourceObject), ("gap", Gap)):
        columns = columns_of(provenance)
        lines += [
            f"## provenance.{name}",
            "",
            description(provenance),
            "",
            f"Key: {_key(columns)}.",
            "",
            *_column_table(columns),
            "",
        ]
    return "\n".join(lines)


def _key(columns: Iterable[Column]) -> str:
    return ", ".join(f"`{column.name}`" for column in columns if column.key)


def _column_table(columns: Iterable[Column]) -> list[str]:
    header = ["column", "unit", "type", "meaning", "allowed", "expected", "uncertainty"]
    rows = [
        [
            f"`{column.name}`",
            column.unit,
            type_words(column.type) + (", may be missing" if column.nullable else ""),
            column.description,
            column.constraint,
            column.expectation,
            column.uncertainty,
        ]
        for column in columns
    ]
    return [
        "| " + " | ".join(header) + " |",
        "|" + " --- |" * len(header),
        *("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows),
    ]


if __name__ == "__main__":
    sys.stdout.write(tables_markdown())
