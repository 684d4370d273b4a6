"""The Parquet tables hold what the warehouse holds, and say what it means."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shapely import MultiPolygon, box

from arctic_assets import glaciers
from arctic_assets.publish.parquet import write_frame, write_tables
from arctic_assets.tables import TABLES, Area, MassBalance, Outline, Table
from arctic_assets_tests.publish.rows import gaps, rows, sources

WEST, EAST = box(10.0, 78.0, 10.5, 78.2), box(11.0, 78.0, 11.5, 78.2)


def written(folder: Path, tables: Mapping[type[Table], pd.DataFrame]) -> dict[str, Path]:
    files = write_tables(folder, tables, sources({}), gaps({"asset": "derived/area"}), glaciers.load())
    return {path.stem: path for path in files}


def text(metadata: dict[bytes, bytes] | None) -> dict[str, str]:
    return {key.decode(): value.decode() for key, value in (metadata or {}).items()}


def test_a_file_per_table(tmp_path: Path) -> None:
    files = written(tmp_path / "tables", {model: rows(model, [{}]) for model in TABLES})
    assert list(files) == [*(model.table() for model in TABLES), "glaciers", "sources", "gaps"]
    for model in TABLES:
        schema = pq.read_schema(files[model.table()])
        assert schema.names == [column.name for column in model.columns()]
        for column in model.columns():
            assert schema.field(column.name).nullable == column.nullable


def test_no_rows_keep_their_types(tmp_path: Path) -> None:
    files = written(tmp_path, {model: model.no_rows() for model in TABLES})
    for model in TABLES:
        full = written(tmp_path / "full", {model: rows(model, [{}])})[model.table()]
        assert pq.read_schema(files[model.table()]).types == pq.read_schema(full).types
        assert pq.read_metadata(files[model.table()]).num_rows == 0


def test_values_and_missing_values_come_back(tmp_path: Path) -> None:
    frame = rows(
        MassBalance,
        [
            {"glacier_id": "taku", "year": 1986, "annual_balance_m_we": 0.0, "source_ids": ["b", "a"]},
            {"glacier_id": "taku", "year": 1885, "annual_balance_m_we": -0.5, "period_start": dt.date(1884, 9, 30)},
        ],
    )
    first, second = pq.read_table(written(tmp_path, {MassBalance: frame})["mass_balance"]).to_pylist()
    assert (first["year"], second["year"]) == (1885, 1986)
    assert first["period_start"] == dt.date(1884, 9, 30)
    assert second["period_start"] is None
    assert second["annual_balance_m_we"] == 0.0
    assert second["winter_balance_m_we"] is None
    assert second["source_ids"] == ["b", "a"]
    assert second["recorded_at"] == dt.datetime(2026, 3, 1, 12, 30)


def test_columns_carry_unit_and_meaning(tmp_path: Path) -> None:
    schema = pq.read_schema(written(tmp_path, {Area: rows(Area, [{}])})["area"])
    about = text(schema.field("area_km2").metadata)
    assert about["unit"] == "km2"
    assert about["description"] == "Geodesic area"
    assert about["uncertainty"] == "area_bound_km2, area_sigma_km2"
    assert text(schema.metadata)["key"] == "glacier_id,inventory"
    assert schema.field("recorded_at").type == pa.timestamp("us")


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_rows_flag_the_file(tmp_path: Path, synthetic: bool) -> None:
    frame = rows(Area, [{"inventory": "1985"}, {"inventory": "1995", "is_synthetic": synthetic}])
    about = text(pq.read_schema(written(tmp_path, {Area: frame})["area"]).metadata)
    assert about["synthetic"] == ("SYNTHETIC" if synthetic else "")
    assert about["title"] == ("SYNTHETIC: Area" if synthetic else "Area")


def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    frames = {model: rows(model, [{"glacier_id": "taku"}, {"glacier_id": "andrei"}]) for model in TABLES}
    turned = {model: frame.iloc[::-1].reset_index(drop=True) for model, frame in frames.items()}
    first, second = written(tmp_path / "a", frames), written(tmp_path / "b", turned)
    for name, path in first.items():
        assert path.read_bytes() == second[name].read_bytes(), name


def test_outlines_are_geoparquet(tmp_path: Path) -> None:
    both = MultiPolygon([WEST, EAST])
    frame = rows(
        Outline,
        [{"glacier_id": "taku", "geometry": both.wkb}, {"glacier_id": "andrei", "geometry": WEST.wkb}],
    )
    path = written(tmp_path, {Outline: frame})["outline"]
    back = gpd.read_parquet(path)
    assert back.crs == "EPSG:4326"
    assert list(back["glacier_id"]) == ["andrei", "taku"]
    assert back.geometry.iloc[1].equals(both)
    assert list(back.total_bounds) == [10.0, 78.0, 11.5, 78.2]
    assert text(pq.read_schema(path).field("zmean_m").metadata)["unit"] == "m"


def test_the_registry_is_a_table_too(tmp_path: Path) -> None:
    back = pq.read_table(written(tmp_path, {})["glaciers"]).to_pylist()
    members = {row["glacier_id"]: row["rgi7_ids"] for row in back}
    assert list(members) == sorted(members)
    assert len(members["novaya_zemlya"]) == 480


@pytest.mark.parametrize("synthetic", [True, False])
def test_a_frame_without_a_model(tmp_path: Path, synthetic: bool) -> None:
    frame = pd.DataFrame({"year": pd.array([1985, None], dtype="Int64"), "is_synthetic": [synthetic, False]})
    write_frame(tmp_path / "coverage.parquet", frame)
    table = pq.read_table(tmp_path / "coverage.parquet")
    assert table.to_pylist()[1] == {"year": None, "is_synthetic": False}
    assert text(table.schema.metadata) == {"synthetic": "SYNTHETIC" if synthetic else ""}
