"""The workbook, read back as a person's spreadsheet would."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from openpyxl import load_workbook
from openpyxl.workbook import Workbook

from arctic_assets import glaciers
from arctic_assets.errors import TableError
from arctic_assets.publish import workbook
from arctic_assets.publish.workbook import write_workbook
from arctic_assets.tables import TABLES, Area, MassBalance, Outline, Table, TemperatureMonthly
from arctic_assets_tests.publish.rows import gaps, rows, sources

FACTS = {
    "Version": "2026.03.1",
    "Licence": "CC-BY-4.0",
    "How to cite": "The arctic_assets developers (2026)",
    "Contact": "data centre",
}
SOURCE = {
    "source_id": "rgi7/a.zip#0123456789ab",
    "product": "RGI 7.0",
    "version": "7.0",
    "licence": "CC-BY-4.0",
    "citation": "RGI 7.0 Consortium (2023).",
    "retrieved_at": dt.datetime(2026, 2, 3, 4, 5, 6),
}
GAP = {"asset": "derived/mass_balance", "partition": "taku|1985", "reason": "=no annual value in FoG for 1985"}


def tables(**area: Any) -> dict[type[Table], pd.DataFrame]:
    return {
        Area: rows(
            Area,
            [
                {"glacier_id": "taku", "inventory": "rgi7", "area_km2": 521.396322, "image_date": dt.date(2000, 8, 5)},
                {"glacier_id": "taku", "inventory": "1985", "area_km2": 530.0, **area},
            ],
        ),
        MassBalance: rows(
            MassBalance,
            [
                {"glacier_id": "taku", "year": 1885, "annual_balance_m_we": -0.5, "period_start": dt.date(1884, 9, 30)},
                {"glacier_id": "taku", "year": 1986, "annual_balance_m_we": 0.0, "source_ids": ["a", "b"]},
            ],
        ),
    }


def written(folder: Path, frames: Mapping[type[Table], pd.DataFrame] | None = None, name: str = "dataset.xlsx") -> Path:
    path = folder / name
    write_workbook(path, tables() if frames is None else frames, sources(SOURCE), gaps(GAP), glaciers.load(), FACTS)
    return path


def opened(path: Path) -> Workbook:
    book = load_workbook(path)
    assert isinstance(book, Workbook)
    return book


def records(book: Workbook, sheet: str) -> list[dict[str, Any]]:
    header, *body = book[sheet].iter_rows(values_only=True)
    return [dict(zip(map(str, header), row, strict=True)) for row in body]


def readme(book: Workbook) -> str:
    return "\n".join(str(cell) for row in book["README"].iter_rows(values_only=True) for cell in row if cell)


def test_the_sheets_and_their_order(tmp_path: Path) -> None:
    names = opened(written(tmp_path)).sheetnames
    assert names == ["README", "glaciers", "Area", "Mass balance", "codebook", "sources", "gaps"]


def test_every_table_has_its_sheet(tmp_path: Path) -> None:
    book = opened(written(tmp_path, {model: rows(model, [{}]) for model in TABLES}))
    assert set(book.sheetnames) >= {model.title() for model in TABLES}
    for model in TABLES:
        header = [cell.value for cell in book[model.title()][1]]
        assert header == [column.name for column in model.columns() if column.type is not bytes]


def test_the_values_come_back(tmp_path: Path) -> None:
    book = opened(written(tmp_path))
    old, reference = records(book, "Area")
    assert (old["inventory"], reference["inventory"]) == ("1985", "rgi7")
    assert reference["area_km2"] == 521.396322
    assert reference["image_date"] == dt.datetime(2000, 8, 5)
    assert old["image_date"] is None
    assert reference["source_ids"] == "source_ids 1; source_ids 2"
    assert reference["is_synthetic"] is False
    assert reference["recorded_at"] == dt.datetime(2026, 3, 1, 12, 30)
    cell = next(cell for cell in book["Area"][3] if cell.value == 521.396322)
    assert cell.number_format == "0.000"
    assert next(c for c in book["Area"][3] if c.is_date).number_format == "yyyy-mm-dd"


def test_zero_is_a_number_and_missing_is_empty(tmp_path: Path) -> None:
    first, second = records(opened(written(tmp_path)), "Mass balance")
    assert second["annual_balance_m_we"] == 0
    assert second["winter_balance_m_we"] is None
    assert first["period_end"] is None


def test_a_date_before_excels_calendar_is_iso_text(tmp_path: Path) -> None:
    first, _ = records(opened(written(tmp_path)), "Mass balance")
    assert first["period_start"] == "1884-09-30"


def test_text_never_becomes_a_formula(tmp_path: Path) -> None:
    frames = tables(run_id='=HYPERLINK("http://example.org")', code_version="http://example.org")
    book = opened(written(tmp_path, frames))
    cells = {cell.value: cell.data_type for row in book["Area"].iter_rows() for cell in row}
    assert cells['=HYPERLINK("http://example.org")'] == "s"
    (gap,) = records(book, "gaps")
    assert gap["reason"] == "=no annual value in FoG for 1985"
    assert all(cell.data_type != "f" for sheet in book for row in sheet.iter_rows() for cell in row)


def test_rows_are_sorted_by_key_whatever_order_they_come_in(tmp_path: Path) -> None:
    frames = tables()
    turned = {model: frame.iloc[::-1].reset_index(drop=True) for model, frame in frames.items()}
    assert written(tmp_path, frames, "a.xlsx").read_bytes() == written(tmp_path, turned, "b.xlsx").read_bytes()


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    first = written(tmp_path, name="a.xlsx").read_bytes()
    assert written(tmp_path, name="b.xlsx").read_bytes() == first
    assert written(tmp_path, tables(area_km2=530.5), name="c.xlsx").read_bytes() != first


def test_headers_are_frozen_filtered_and_carry_units(tmp_path: Path) -> None:
    book = opened(written(tmp_path))
    for name in book.sheetnames[1:]:
        sheet = book[name]
        assert sheet.freeze_panes == "B2"
        assert sheet.auto_filter.ref
    area = next(cell for cell in book["Area"][1] if cell.value == "area_km2")
    assert area.comment is not None
    assert "number, km2" in area.comment.text
    assert "Geodesic area" in area.comment.text
    assert not any(sheet.merged_cells.ranges for sheet in book)


def test_the_codebook_names_every_column_of_every_sheet(tmp_path: Path) -> None:
    book = opened(written(tmp_path, {model: rows(model, [{}]) for model in TABLES}))
    told = {(row["sheet"], row["column"]) for row in records(book, "codebook")}
    there = {
        (name, str(cell.value))
        for name in book.sheetnames
        if name not in ("README", "codebook")
        for cell in book[name][1]
    }
    assert told == there


def test_the_registry_and_the_sources_are_there(tmp_path: Path) -> None:
    book = opened(written(tmp_path))
    registry = records(book, "glaciers")
    assert [row["glacier_id"] for row in registry] == list(glaciers.load().ids)
    assert registry[0]["name_zh"] == "新地岛群岛"
    assert registry[0]["wgms_id"] is None
    assert registry[1]["wgms_id"] == 8151
    (source,) = records(book, "sources")
    assert source["retrieved_at"] == dt.datetime(2026, 2, 3, 4, 5, 6)


def test_the_readme_says_what_licence_and_how_to_cite(tmp_path: Path) -> None:
    text = readme(opened(written(tmp_path)))
    for expected in (
        "Arctic Glacier Dataset",
        *FACTS,
        *FACTS.values(),
        "An empty cell is a missing value",
        "RGI 7.0 Consortium (2023).",
    ):
        assert expected in text
    assert "Mass balance" in text
    assert "SYNTHETIC" not in text


def test_the_readme_says_it_also_when_nothing_is_given(tmp_path: Path) -> None:
    path = tmp_path / "dataset.xlsx"
    write_workbook(path, tables(), sources(SOURCE), gaps(GAP), glaciers.load(), {})
    sheet = opened(path)["README"]
    told = {str(label): text for label, text in sheet.iter_rows(max_col=2, values_only=True) if label}
    assert told["What it is"] and told["Licence"] and told["How to cite"]
    assert sheet["A1"].value == "Arctic Glacier Dataset"


@pytest.mark.parametrize("where", ["row", "source"])
def test_synthetic_numbers_are_called_so(tmp_path: Path, where: str) -> None:
    path = tmp_path / "dataset.xlsx"
    write_workbook(
        path,
        tables(is_synthetic=where == "row"),
        sources({**SOURCE, "is_synthetic": where == "source"}),
        gaps(GAP),
        glaciers.load(),
        FACTS,
    )
    book = opened(path)
    banner = book["README"]["A1"]
    assert banner.value == "SYNTHETIC: NOT OBSERVATIONS"
    assert banner.font.size >= 20
    assert banner.font.color.rgb == "FFC00000"
    assert book.properties.title == "SYNTHETIC: Arctic Glacier Dataset"
    assert all("SYNTHETIC" in (book[name].oddHeader.center.text or "") for name in book.sheetnames[1:])


def test_no_rows_at_all(tmp_path: Path) -> None:
    path = tmp_path / "dataset.xlsx"
    write_workbook(path, {Area: Area.no_rows()}, sources(), gaps(), glaciers.load(), FACTS)
    assert records(opened(path), "Area") == []


def test_a_list_longer_than_a_cell_says_how_many_are_left_out(tmp_path: Path) -> None:
    many = [f"farinotti/RGI60-09/RGI60-09.{number:05d}_thickness.tif#0123456789ab" for number in range(700)]
    book = opened(written(tmp_path, tables(source_ids=many)))
    text = records(book, "Area")[0]["source_ids"]
    assert len(text) <= 32767
    *kept, rest = text.split("; ")
    assert kept == many[: len(kept)]
    assert rest == f"and {700 - len(kept)} more"
    assert len(kept) > 400


def test_the_members_of_the_archipelago_fit(tmp_path: Path) -> None:
    row = records(opened(written(tmp_path)), "glaciers")[0]
    assert len(row["rgi7_ids"].split("; ")) == 480


def test_a_table_larger_than_a_sheet_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workbook, "ROW_LIMIT", 3)
    months = rows(TemperatureMonthly, [{"month": f"1985-{month:02d}"} for month in range(1, 4)])
    path = tmp_path / "dataset.xlsx"
    with pytest.raises(TableError, match="does not fit into an Excel sheet"):
        write_workbook(path, {TemperatureMonthly: months}, sources(SOURCE), gaps(), glaciers.load(), FACTS)
    assert not path.exists()


def test_the_geometry_is_left_out(tmp_path: Path) -> None:
    book = opened(written(tmp_path, {Outline: rows(Outline, [{}])}))
    assert "geometry" not in records(book, "Outlines")[0]
    assert records(book, "Outlines")[0]["rgi6_weights"] == "0.25; 0.75"
