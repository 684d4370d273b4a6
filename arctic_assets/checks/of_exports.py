"""The check of each export: is it made from the tables as they are?

It judges when an export was written, and when the tables changed (`automation.exports`).
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd

from arctic_assets.assets.exports.staleness import ATLAS, WHOLE, Stale, stale_exports
from arctic_assets.assets.wiring import RawStore
from arctic_assets.checks.evidence import evaluation, latest_materialization
from arctic_assets.glaciers import Registry
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Failure

NAME = "is_made_from_the_tables_as_they_are"
_RULE = "made from the tables as they are"
_TODO = "start the job rebuild_exports, or wait for the schedule exports_every_night: the files show older tables"
_SPECS = {
    export: dg.AssetCheckSpec(
        NAME,
        asset=dg.AssetKey.from_user_string(export),
        description="Written, and since then no value and no gap of the tables that went in has changed."
        + (" Judged for each glacier's page." if export == ATLAS else ""),
    )
    for export in (*WHOLE, ATLAS)
}


def build(registry: Registry) -> list[dg.AssetChecksDefinition]:
    """A check for each export."""
    return [_check_of(export, registry) for export in _SPECS]


def evaluations(
    instance: dg.DagsterInstance, warehouse: Warehouse, registry: Registry
) -> dict[str, dg.AssetCheckEvaluation]:
    """The result of the check, by export; severity WARN.

    Args:
        instance: knows what was written.
        warehouse: the tables; the copy for readers will do.
        registry: the glaciers, each of which has a page in the atlas.
    """
    latest = {export: latest_materialization(instance, spec.asset_key) for export, spec in _SPECS.items()}
    stale = stale_exports(instance, warehouse, registry.ids)
    return {
        export: evaluation(
            spec,
            len(registry.ids) if export == ATLAS else 1,
            _failures([one for one in stale if one.export == export]),
            _TODO,
            dg.AssetCheckSeverity.WARN,
            latest[export],
        )
        for export, spec in _SPECS.items()
    }


def _check_of(export: str, registry: Registry) -> dg.AssetChecksDefinition:
    spec = _SPECS[export]

    @dg.multi_asset_check(specs=[spec], name=f"check_{export.replace('/', '_')}")
    def check(context: dg.AssetCheckExecutionContext, store: RawStore) -> Iterator[Any]:
        yield dg.Output(None, spec.get_python_identifier())
        yield evaluations(context.instance, store.readers, registry)[export]

    return check


def _failures(stale: list[Stale]) -> list[Failure]:
    return [Failure(_RULE, "export", pd.DataFrame(stale))] if stale else []
