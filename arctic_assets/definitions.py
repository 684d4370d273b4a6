"""Everything Dagster sees, in one screen.

`build_defs` assembles it from the settings and the registry; `defs` is what `dagster dev` loads. Loading needs no
network, no database and none of the geo libraries: those are imported inside the assets that need them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from arctic_assets import glaciers, settings
from arctic_assets.assets.derived import area, change, mass_balance, outline, temperature, thickness, velocity
from arctic_assets.assets.exports import atlas, products
from arctic_assets.assets.raw import (
    amce,
    dem,
    era5,
    farinotti,
    fog,
    itslive,
    landsat,
    literature,
    millan,
    revision,
    rgi7,
)
from arctic_assets.assets.wiring import RawStore, WarehouseIOManager, provider_specs
from arctic_assets.automation import jobs
from arctic_assets.checks import of_exports, of_tables
from arctic_assets.partitions import Partitions
from arctic_assets.storage.warehouse import Warehouse

RAW_MODULES = (rgi7, landsat, revision, era5, fog, amce, literature, farinotti, millan, dem, itslive)
ASSET_MODULES = (
    *RAW_MODULES,
    *(outline, area, thickness, velocity, temperature, mass_balance, change),
    products,
    atlas,
)


def build_defs(
    current: settings.Settings | None = None, *, resources: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """Assets, checks, jobs and resources.

    Args:
        current: settings; from the environment when not given.
        resources: replacements by name (`warehouse`, `store`), for tests.

    Raises:
        SettingsError: a setting cannot be used.
        RegistryError: the registry cannot be used.
    """
    current = current or settings.load()
    partitions = Partitions(glaciers.load(current.glaciers), current)
    warehouse = Warehouse(database=str(current.warehouse))
    automation = jobs.build(partitions)
    return dg.Definitions(
        assets=[
            *provider_specs([module.source.PRODUCT for module in RAW_MODULES]),
            *(asset for module in ASSET_MODULES for asset in module.build(partitions)),
        ],
        asset_checks=[*of_tables.build(partitions.registry), *of_exports.build(partitions.registry)],
        jobs=automation.jobs,
        sensors=automation.sensors,
        schedules=automation.schedules,
        resources={
            "warehouse": warehouse,
            "warehouse_io_manager": WarehouseIOManager(warehouse=warehouse, published=str(current.published)),
            "store": RawStore(home=str(current.home), mirror=current.mirror, registry=str(current.glaciers or "")),
            **(resources or {}),
        },
        executor=dg.in_process_executor,
    )


defs = build_defs()
