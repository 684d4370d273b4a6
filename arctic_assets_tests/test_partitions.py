"""Partitions, their mappings, and how the plan of a build covers them."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from arctic_assets import glaciers, settings
from arctic_assets.automation.build import Extent, plan, select
from arctic_assets.definitions import build_defs
from arctic_assets.errors import RegistryError, SettingsError
from arctic_assets.partitions import MONTHS_OF_YEAR, PER_GLACIER, Partitions, scope


@pytest.fixture(scope="module")
def partitions(tmp_path_factory: pytest.TempPathFactory) -> Partitions:
    return Partitions(glaciers.load(), settings.Settings(home=tmp_path_factory.mktemp("home")))


@pytest.fixture(scope="module")
def defs(partitions: Partitions) -> dg.Definitions:
    return build_defs(partitions.settings)


def _key(**dimensions: str) -> dg.MultiPartitionKey:
    return dg.MultiPartitionKey(dimensions)


def test_keys(partitions: Partitions) -> None:
    assert len(partitions.glaciers.get_partition_keys()) == 16
    months = list(partitions.months.get_partition_keys())
    assert months[0] == "1985-01"
    assert months[:480][-1] == "2024-12"
    assert partitions.years.get_first_partition_key() == "1980"
    keys = partitions.month_glaciers.get_partition_keys()
    assert len(keys) == 16 * len(months)
    assert str(keys[0]) == "novaya_zemlya|1985-01"


def test_settings_move_the_partitions(tmp_path: Path) -> None:
    found = Partitions(
        glaciers.load(),
        settings.Settings(home=tmp_path, start_year=1990, start_month="1991-03", inventories=("rgi7", "1936")),
    )
    assert found.months.get_first_partition_key() == "1991-03"
    assert found.years.get_first_partition_key() == "1990"
    assert "taku|1936" in [str(key) for key in found.inventory_glaciers.get_partition_keys()]


def test_year_needs_its_months_and_the_october_before(partitions: Partitions) -> None:
    year = partitions.year_glaciers.subset_with_partition_keys([_key(glacier="taku", year="2001")])
    found = MONTHS_OF_YEAR.get_upstream_mapped_partitions_result_for_partitions(
        year, partitions.year_glaciers, partitions.month_glaciers
    ).partitions_subset
    keys = {str(key) for key in found.get_partition_keys()}
    balance_year = {f"taku|2000-{m}" for m in (10, 11, 12)} | {f"taku|2001-{m:02d}" for m in range(1, 10)}
    calendar_year = {f"taku|2001-{m:02d}" for m in range(1, 13)}
    assert keys >= balance_year | calendar_year
    assert {key[:9] for key in keys} == {"taku|2000", "taku|2001"}


def test_month_reaches_its_year_and_the_next(partitions: Partitions) -> None:
    month = partitions.month_glaciers.subset_with_partition_keys([_key(glacier="taku", month="2000-11")])
    found = MONTHS_OF_YEAR.get_downstream_partitions_for_partitions(
        month, partitions.month_glaciers, partitions.year_glaciers
    )
    assert {str(key) for key in found.get_partition_keys()} == {"taku|2000", "taku|2001"}


def test_outline_reaches_all_months_of_its_glacier_only(partitions: Partitions) -> None:
    outline = partitions.inventory_glaciers.subset_with_partition_keys([_key(glacier="taku", inventory="rgi7")])
    found = PER_GLACIER.get_downstream_partitions_for_partitions(
        outline, partitions.inventory_glaciers, partitions.month_glaciers
    )
    keys = [str(key) for key in found.get_partition_keys()]
    assert len(keys) == len(partitions.months.get_partition_keys())
    assert all(key.startswith("taku|") for key in keys)


@pytest.mark.parametrize(
    ("child", "key", "parent", "parents"),
    [
        ("derived/temperature_monthly", "taku|2001-05", "raw/era5", {"2001-05"}),
        ("derived/outline", "taku|rgi7", "raw/rgi7", {"taku"}),
        ("derived/outline", "taku|2015", "raw/dem", {"taku"}),
        ("derived/outline", "taku|2015", "raw/landsat", {f"taku|{i}" for i in settings.DEFAULT_INVENTORIES}),
        ("derived/area", "taku|rgi7", "derived/outline", {"taku|rgi7"}),
        ("derived/volume", "taku|rgi7", "derived/thickness", {"taku"}),
        ("derived/thickness", "taku", "raw/farinotti", {"taku"}),
    ],
)
def test_declared_mappings(defs: dg.Definitions, child: str, key: str, parent: str, parents: set[str]) -> None:
    graph = defs.resolve_asset_graph()
    down, up = graph.get(dg.AssetKey.from_user_string(child)), graph.get(dg.AssetKey.from_user_string(parent))
    mapping = graph.get_partition_mapping(down.key, up.key)
    assert down.partitions_def
    assert up.partitions_def
    found = mapping.get_upstream_mapped_partitions_result_for_partitions(
        down.partitions_def.subset_with_partition_keys([key]), down.partitions_def, up.partitions_def
    ).partitions_subset
    assert {str(k) for k in found.get_partition_keys()} == parents


def test_scope() -> None:
    rows = scope([_key(glacier="taku", year="2001"), _key(glacier="yuri", year="2002")])
    assert rows.to_dict("records") == [
        {"glacier_id": "taku", "year": 2001, "partition": "taku|2001"},
        {"glacier_id": "yuri", "year": 2002, "partition": "yuri|2002"},
    ]
    assert scope(["2001-05"])["month"].tolist() == ["2001-05"]
    assert scope(["taku"])["glacier_id"].tolist() == ["taku"]


def test_whole_build_is_a_handful_of_runs(defs: dg.Definitions, partitions: Partitions) -> None:
    graph = defs.resolve_asset_graph()
    runs = plan(graph, select(graph, "*"), partitions, Extent())
    seen: list[dg.AssetKey] = []
    for run in runs:
        for asset in run.assets:
            assert graph.get(asset).parent_keys - graph.external_asset_keys <= set(seen)
            seen.append(asset)
    assert set(seen) == graph.materializable_asset_keys
    assert len(runs) <= 12


def test_glaciers_apart_in_the_registry_are_runs_of_their_own(defs: dg.Definitions, partitions: Partitions) -> None:
    graph = defs.resolve_asset_graph()
    ids = partitions.registry.ids
    extent = Extent((ids[2], ids[0], ids[3]), "2000-01", "2000-06")
    runs = plan(graph, select(graph, "derived/temperature_monthly"), partitions, extent)
    assert [run.tags["dagster/asset_partition_range_start"] for run in runs] == [
        f"{ids[0]}|2000-01",
        f"{ids[2]}|2000-01",
    ]
    assert [run.n_partitions for run in runs] == [6, 12]


def test_unknown_names_are_told(defs: dg.Definitions, partitions: Partitions) -> None:
    graph = defs.resolve_asset_graph()
    with pytest.raises(SettingsError, match="derived/area"):
        select(graph, "derived/areas")
    with pytest.raises(RegistryError, match="takku"):
        plan(graph, select(graph, "derived/area"), partitions, Extent(("takku",)))


def test_backfill_of_one_month_for_all_glaciers_is_one_run(partitions: Partitions) -> None:
    """The rule that Dagster's single-run policy follows: one dimension is held fixed for each run."""
    keys = [_key(glacier=g, month="2001-05") for g in partitions.registry.ids]
    subset = partitions.month_glaciers.subset_with_partition_keys(keys)
    assert len(subset.get_partition_key_ranges(partitions.month_glaciers)) == 1
    whole = partitions.month_glaciers.subset_with_all_partitions()
    assert len(whole.get_partition_key_ranges(partitions.month_glaciers)) == 16
