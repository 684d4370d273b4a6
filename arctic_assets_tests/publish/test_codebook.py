"""The codebook says of every published column what the table models say."""

from __future__ import annotations

from pathlib import Path

import pytest

from arctic_assets import glaciers
from arctic_assets.publish import codebook as module
from arctic_assets.tables import TABLES, Area, Table

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"


def test_every_column_of_every_table_is_in_the_codebook_once() -> None:
    book = module.codebook()
    assert not book.duplicated(["sheet", "column"]).any()
    for model in TABLES:
        rows = book[book["table"] == f"derived.{model.table()}"]
        assert list(rows["column"]) == [column.name for column in model.columns()]
        assert set(rows["sheet"]) == {module.sheet_name(model)}
    assert {"glaciers", "sources", "gaps"} <= set(book["sheet"])
    assert (book["meaning"] != "").all()


def test_a_row_says_unit_ranges_and_uncertainty() -> None:
    book = {(row["sheet"], row["column"]): row for row in module.codebook([Area]).to_dict("records")}
    row = book["Area", "area_km2"]
    assert row["unit"] == "km2"
    assert row["type"] == "number"
    assert row["allowed"] == "0.01 to 25000 km2"
    assert row["uncertainty"] == "area_bound_km2, area_sigma_km2"
    assert (row["key"], row["may_be_missing"]) == ("", "no")
    assert book["Area", "glacier_id"]["key"] == "key"
    assert book["Area", "image_date"]["may_be_missing"] == "yes"
    assert book["glaciers", "area_km2"]["unit"] == "km2"


@pytest.mark.parametrize("model", TABLES)
def test_sheet_names_are_ones_that_excel_takes(model: type[Table]) -> None:
    name = module.sheet_name(model)
    assert 0 < len(name) <= 31
    assert not set(name) & set("[]:*?/\\")


def test_a_long_title_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Area, "title", classmethod(lambda cls: "Area / perimeter [all inventories] since 1985"))
    assert module.sheet_name(Area) == "Area - perimeter -all inventori"


def test_the_registry_frame_has_the_columns_of_the_codebook() -> None:
    frame = module.registry_frame(glaciers.load())
    assert list(frame.columns) == [column.name for column in module.glacier_columns()]
    assert len(frame) == 16
    assert frame["wgms_id"].isna().sum() == 1
    assert next(len(ids) for ids in frame["rgi7_ids"]) == 480


def test_the_page_names_every_column() -> None:
    page = module.tables_markdown()
    common = page.partition("## Columns of every derived table\n")[2]
    for model in TABLES:
        section = page.partition(f"## derived.{model.table()}\n")[2].partition("\n## ")[0]
        for column in model.columns():
            assert f"| `{column.name}` |" in (section if column.name in set(own_columns(model)) else common)


def own_columns(model: type[Table]) -> list[str]:
    return [column.name for column in model.columns() if column.name not in Table.__annotations__]


def test_the_tables_of_the_page_have_equal_columns() -> None:
    rows = [line for line in module.tables_markdown().splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {8}


def test_the_page_in_docs_is_up_to_date() -> None:
    todo = "docs/tables.md is out of date: run `python -m arctic_assets.publish.codebook > docs/tables.md`"
    assert PAGE.is_file(), todo
    assert PAGE.read_text(encoding="utf-8") == module.tables_markdown(), todo
