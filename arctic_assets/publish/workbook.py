"""The dataset as one Excel workbook: a sheet per variable, and beside them all that a reader needs to judge it.

Sheets in long form, as the warehouse stores them; no value is computed here. Columns, units and meanings are those
of `arctic_assets.tables`. The same inputs give the same bytes: rows are sorted by key, the creation date is fixed,
and the zip members carry Excel's constant date.
"""

from __future__ import annotations

import datetime as dt
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from arctic_assets.errors import TableError
from arctic_assets.glaciers import Registry
from arctic_assets.provenance import SYNTHETIC
from arctic_assets.publish.codebook import (
    codebook,
    description,
    glacier_columns,
    registry_frame,
    sheet_name,
    type_words,
)
from arctic_assets.tables import Column, Gap, SourceObject, Table
from arctic_assets.tables.base import columns_of

ROW_LIMIT = 1_048_576
CELL_LIMIT = 32_767
_WIDEST = 48
_CREATED = dt.datetime(2000, 1, 1)
_FIRST_DATE = dt.date(1900, 3, 1)
"""Excel counts days from 1900 and holds that year for a leap year: earlier dates are written as text."""

_DECIMALS = {
    "km2": 3,
    "km3": 4,
    "km": 3,
    "m": 1,
    "m w.e.": 3,
    "degC": 2,
    "K km-1": 2,
    "K d": 1,
    "Gt": 4,
    "mm": 6,
    "kg m-3": 0,
    "degrees_east": 4,
    "degrees_north": 4,
}
"""Decimals shown per unit; the cell holds the full number."""
_OTHER_DECIMALS = 3

_FACTS = {
    "Dataset": "Arctic Glacier Dataset",
    "What it is": "Area, ice thickness and volume, mass balance and air temperature of glaciers. Every number has a "
    "source, and its uncertainty beside it or the reason in the codebook why there is none.",
    "Licence": "The numbers are made from the sources listed below: each source's licence says what may be done with "
    "them. The software that made them, arctic_assets, is licensed under Apache-2.0.",
    "How to cite": "The arctic_assets developers: arctic_assets, a Dagster platform for the Arctic Glacier Dataset "
    "(CITATION.cff), with the version; and each of the sources listed below.",
}

_READING = (
    ("Rows", "Each sheet is a table in long form, one record per row, sorted by its key columns (the first ones)."),
    ("Units", "The sheet codebook has the unit, meaning, limits and uncertainty of every column; so has the note on "
     "each column's name. Numbers are shown with fixed decimals; the cells hold the full number."),
    ("Empty cells", "An empty cell is a missing value; it is never zero. A text or a list without content is empty "
     "too. Where a whole record is missing, the sheet gaps says why."),
    ("Lists", "Several values in one cell are joined by '; '. A list too long for a cell (32,767 characters) ends "
     "with the number of values left out; the Parquet tables hold all of them."),
    ("Dates", "Dates are Excel dates shown as YYYY-MM-DD; those before 1900-03-01, which Excel cannot hold, are text "
     "in the same form. Months are text, YYYY-MM. Times are UTC."),
    ("Outlines", "The outlines themselves are not in the workbook; they are in the GeoParquet file of the release."),
    ("Sources", "source_ids of a row lead to the sheet sources: provider, version, licence, citation and checksum of "
     "every file the row was made from."),
)  # fmt: skip


def write_workbook(
    path: Path,
    tables: Mapping[type[Table], pd.DataFrame],
    sources: pd.DataFrame,
    gaps: pd.DataFrame,
    glaciers: Registry,
    facts: Mapping[str, str],
) -> None:
    """Write the workbook.

    Args:
        path: the .xlsx file; replaced when it is there.
        tables: rows of each table, as `Table.conform` returns them. Sheets come in this order.
        sources: rows of `provenance.source_object`.
        gaps: rows of `provenance.gap`.
        glaciers: the registry.
        facts: what the first sheet says of the release, by label, in this order. `Dataset` is the heading; `What it
            is`, `Licence` and `How to cite` replace the texts of this module.

    Raises:
        TableError: a table has more rows than a sheet can hold.
    """
    facts = {**_FACTS, **facts}
    sheets = _sheets(tables, sources, gaps, glaciers)
    synthetic = any(bool(frame["is_synthetic"].any()) for frame in [*tables.values(), sources])
    book = xlsxwriter.Workbook(str(path), {"in_memory": True})
    book.set_properties(
        {
            "title": f"{SYNTHETIC}: {facts['Dataset']}" if synthetic else facts["Dataset"],
            "comments": facts["Licence"],
            "created": _CREATED,
        }
    )
    formats = _Formats(book)
    _write_readme(book.add_worksheet("README"), facts, sheets, sources, formats, synthetic=synthetic)
    for sheet in sheets:
        _write_sheet(book.add_worksheet(sheet.name), sheet, formats, synthetic=synthetic)
    book.close()


class _Sheet(NamedTuple):
    """What goes into one sheet: the rows in their final order."""

    name: str
    about: str
    columns: Sequence[Column]
    frame: pd.DataFrame


def _sheets(
    tables: Mapping[type[Table], pd.DataFrame], sources: pd.DataFrame, gaps: pd.DataFrame, glaciers: Registry
) -> list[_Sheet]:
    found = [
        _Sheet("glaciers", "The registry: names, regions, ids, position.", glacier_columns(), registry_frame(glaciers))
    ]
    for model, frame in tables.items():
        shown = [column for column in model.columns() if column.type is not bytes]
        found.append(_Sheet(sheet_name(model), description(model), shown, _sorted(shown, frame)))
    book = codebook(list(tables))
    book = book[book["type"] != type_words(bytes)]
    about = "Unit, meaning, limits and uncertainty of every column."
    found.append(_Sheet("codebook", about, [_text_column(str(name)) for name in book.columns], book))
    for name, provenance, rows in (("sources", SourceObject, sources), ("gaps", Gap, gaps)):
        columns = columns_of(provenance)
        found.append(_Sheet(name, description(provenance), columns, _sorted(columns, rows)))
    return found


def _sorted(columns: Sequence[Column], frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values([column.name for column in columns if column.key])


def _text_column(name: str) -> Column:
    """A column of plain text that explains itself."""
    return Column(name, str, "", "", False, True, (None, None), (None, None), ())


class _Formats:
    """The cell formats of one workbook."""

    def __init__(self, book: xlsxwriter.Workbook) -> None:
        self._book = book
        self._decimals: dict[int, Format] = {}
        self.header = book.add_format({"bold": True, "bottom": 1, "bg_color": "#E7EEF5"})
        self.title = book.add_format({"bold": True, "font_size": 18})
        self.banner = book.add_format({"bold": True, "font_size": 22, "font_color": "#C00000"})
        self.warning = book.add_format({"bold": True, "font_color": "#C00000", "text_wrap": True, "valign": "top"})
        self.heading = book.add_format({"bold": True, "font_size": 13})
        self.label = book.add_format({"bold": True, "valign": "top"})
        self.text = book.add_format({"text_wrap": True, "valign": "top"})
        self.integer = book.add_format({"num_format": "0"})
        self.date = book.add_format({"num_format": "yyyy-mm-dd"})
        self.time = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})

    def number(self, unit: str) -> Format:
        """Fixed decimals, by unit."""
        decimals = _DECIMALS.get(unit, _OTHER_DECIMALS)
        if decimals not in self._decimals:
            text = "0." + "0" * decimals if decimals else "0"
            self._decimals[decimals] = self._book.add_format({"num_format": text})
        return self._decimals[decimals]


def _write_sheet(target: Worksheet, sheet: _Sheet, formats: _Formats, *, synthetic: bool) -> None:
    """Header row (frozen, filtered, units in the notes) and the rows."""
    if len(sheet.frame) >= ROW_LIMIT:
        raise TableError(
            "the table does not fit into an Excel sheet",
            where=f"sheet {sheet.name}",
            expected=f"fewer than {ROW_LIMIT} rows",
            got=len(sheet.frame),
            todo="leave this table out of the workbook; the Parquet tables have no such limit",
        )
    for position, column in enumerate(sheet.columns):
        target.write_string(0, position, column.name, formats.header)
        note = "\n".join(part for part in (_unit_note(column), column.description, column.constraint) if part)
        target.write_comment(0, position, note, {"author": "codebook", "x_scale": 2})
        width = _write_column(target, position, column, sheet.frame[column.name], formats)
        # Three more than the name: the filter's button covers the end of it.
        target.set_column(position, position, min(max(len(column.name) + 3, width + 1), _WIDEST))
    target.freeze_panes(1, 1)
    target.autofilter(0, 0, max(len(sheet.frame), 1), len(sheet.columns) - 1)
    # Inventories and months are text; Excel would mark 1985 as a number by mistake.
    target.ignore_errors({"number_stored_as_text": f"A1:XFD{ROW_LIMIT}"})
    if synthetic:
        target.set_header(f'&C&"-,Bold"{SYNTHETIC}: not observations')
        target.set_tab_color("red")


def _unit_note(column: Column) -> str:
    words = type_words(column.type)
    return f"{words}, {column.unit}" if column.unit not in ("", "1") else words


def _write_column(sheet: Worksheet, position: int, column: Column, values: pd.Series, formats: _Formats) -> int:
    """Write the cells below the header; returns the width of the widest. Missing values stay empty."""
    widest = 0
    for row, value in enumerate(values, start=1):
        if _is_missing(value):
            continue
        if column.type is float:
            sheet.write_number(row, position, value, formats.number(column.unit))
            widest = max(widest, len(f"{value:.{_DECIMALS.get(column.unit, _OTHER_DECIMALS)}f}"))
        elif column.type is int:
            sheet.write_number(row, position, int(value), formats.integer)
            widest = max(widest, len(str(value)))
        elif column.type is bool:
            sheet.write_boolean(row, position, bool(value))
            widest = max(widest, 5)
        elif column.type is dt.datetime:
            sheet.write_datetime(row, position, _utc(value), formats.time)
            widest = max(widest, 19)
        elif column.type is dt.date and _day(value) >= _FIRST_DATE:
            sheet.write_datetime(row, position, _day(value), formats.date)
            widest = max(widest, 10)
        else:
            text = _text(column, value)
            # An explicit string: a text that starts with = stays a text.
            sheet.write_string(row, position, text)
            widest = max(widest, len(text))
    return widest


def _is_missing(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))


def _utc(value: Any) -> dt.datetime:
    """Excel knows no time zones."""
    stamp = pd.Timestamp(value)
    return (stamp.tz_convert("UTC").tz_localize(None) if stamp.tzinfo else stamp).to_pydatetime()


def _day(value: dt.date) -> dt.date:
    return value.date() if isinstance(value, dt.datetime) else value


def _text(column: Column, value: Any) -> str:
    if typing.get_origin(column.type) is list:
        return _joined(value)
    text = _day(value).isoformat() if column.type is dt.date else str(value)
    return text if len(text) <= CELL_LIMIT else text[: CELL_LIMIT - 3] + "..."


def _joined(values: Iterable[object]) -> str:
    """The values joined by '; ', as many as a cell holds."""
    texts = [str(value) for value in values]
    joined = "; ".join(texts)
    if len(joined) <= CELL_LIMIT:
        return joined
    room = CELL_LIMIT - len(f"; and {len(texts)} more")
    kept = joined[: room + 1].rpartition("; ")[0].split("; ")
    return "; ".join([*kept, f"and {len(texts) - len(kept)} more"])


def _write_readme(
    target: Worksheet,
    facts: Mapping[str, str],
    sheets: Sequence[_Sheet],
    sources: pd.DataFrame,
    formats: _Formats,
    *,
    synthetic: bool,
) -> None:
    target.set_column(0, 0, 26)
    target.set_column(1, 1, 110)
    target.hide_gridlines(2)
    row = 0

    def line(label: str, text: str, label_format: Format, text_format: Format = formats.text) -> None:
        nonlocal row
        target.write_string(row, 0, label, label_format)
        if text:
            target.write_string(row, 1, text, text_format)
        row += 1

    if synthetic:
        line(f"{SYNTHETIC}: NOT OBSERVATIONS", "", formats.banner)
        line(
            "Do not use",
            "Rows whose is_synthetic is TRUE come from the synthetic sample, which shows what the platform does. "
            "Their numbers are invented.",
            formats.warning,
            formats.warning,
        )
        row += 1
        target.set_tab_color("red")
    line(facts["Dataset"], "", formats.title)
    row += 1
    for label, text in facts.items():
        if label != "Dataset":
            line(label, text, formats.label)
    row += 1
    line("How to read it", "", formats.heading)
    for label, text in _READING:
        line(label, text, formats.label)
    row += 1
    line("Sheets", "", formats.heading)
    for sheet in sheets:
        target.write_url(row, 0, f"internal:'{sheet.name}'!A1", string=sheet.name)
        target.write_string(row, 1, f"{sheet.about} ({len(sheet.frame)} rows)", formats.text)
        row += 1
    row += 1
    line("Sources, to be cited too", "", formats.heading)
    products = sources[["product", "version", "licence", "citation"]].drop_duplicates()
    for product in products.sort_values(list(products.columns)).itertuples(index=False):
        line(
            str(product.product),
            f"Version {product.version}. {product.citation} Licence: {product.licence}",
            formats.label,
        )
