"""The definitions load anywhere, and every asset says what its users need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from arctic_assets import settings
from arctic_assets.definitions import build_defs
from arctic_assets.tables import TABLES

PROVIDERS = {"rgi7", "landsat", "revisions", "era5", "wgms", "literature", "farinotti", "millan", "dem", "itslive"}
ROOT = Path(__file__).parents[1]
ASSETS = {
    "raw/rgi7": 16,
    "raw/landsat": 96,
    "raw/revision": 96,
    "raw/era5": None,
    "raw/fog": 0,
    "raw/amce": 0,
    "raw/literature": 0,
    "raw/farinotti": 16,
    "raw/millan": 16,
    "raw/dem": 16,
    "raw/itslive": None,
    "derived/outline": 96,
    "derived/area": 96,
    "derived/area_change": 16,
    "derived/thickness": 16,
    "derived/volume": 96,
    "derived/velocity": None,
    "derived/mass_balance": None,
    "derived/balance_model": 16,
    "derived/balance_period": 16,
    "derived/temperature_monthly": None,
    "derived/temperature_annual": None,
    "derived/trend": 16,
    "exports/workbook": 0,
    "exports/tables": 0,
    "exports/coverage": 0,
    "exports/atlas": 16,
}


@pytest.fixture(scope="module")
def defs(tmp_path_factory: pytest.TempPathFactory) -> dg.Definitions:
    return build_defs(settings.Settings(home=tmp_path_factory.mktemp("home")))


def test_assets_and_their_partitions(defs: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    assert specs.keys() == ASSETS.keys() | {f"provider/{name}" for name in PROVIDERS}
    for name, n in ASSETS.items():
        grain = specs[name].partitions_def
        assert (grain is None) == (n == 0), name
        if n and grain:
            assert len(grain.get_partition_keys()) == n, name


def test_every_asset_has_its_card(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        name = spec.key.to_user_string()
        assert len(spec.description or "") > 80, name
        assert list(spec.owners) == ["team:arctic-assets"], name
        assert spec.kinds, name
        assert spec.group_name == name.split("/")[0].replace("provider", "providers")
        assert spec.code_version or name.startswith("provider/"), name
        if name.startswith("raw/"):
            assert {"licence", "citation", "DOI", "cadence", "latency"} <= spec.metadata.keys(), name


def test_columns_carry_units(defs: dg.Definitions) -> None:
    specs = {spec.key.to_user_string(): spec for spec in defs.resolve_all_asset_specs()}
    for model in TABLES:
        schema = specs[f"derived/{model.table()}"].metadata["dagster/column_schema"]
        assert isinstance(schema, dg.TableSchema)
        assert [c.name for c in schema.columns] == [c.name for c in model.columns()]
        for column in schema.columns:
            assert column.description, column.name
            if column.type == "DOUBLE":
                assert column.tags and column.tags["unit"], column.name


def test_every_table_has_checks(defs: dg.Definitions) -> None:
    keys = defs.resolve_asset_graph().asset_check_keys
    for model in TABLES:
        own = {k.name for k in keys if k.asset_key.path[-1] == model.table()}
        assert {"fits_model", "within_expected_ranges", "every_row_has_its_source", "no_glacier_is_missing"} <= own


def test_dagster_accepts_the_workspace(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT,
        env={**__import__("os").environ, "ARCTIC_ASSETS_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
