"""One shape for the result of every check."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
import pandas as pd
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Materialization,
)

from arctic_assets.tables import Failure
from arctic_assets.tables.base import SHOWN_ROWS


def latest_materialization(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Materialization | None:
    """The newest materialization of an asset, of whichever partition and run; None when there is none yet."""
    records = instance.get_asset_records([asset])
    record = records[0].asset_entry.last_materialization_record if records else None
    if record is None:
        return None
    return Materialization(storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp)


def evaluation(
    spec: dg.AssetCheckSpec,
    n_checked: int,
    failures: Sequence[Failure],
    todo: str,
    severity: dg.AssetCheckSeverity,
    latest: Materialization | None,
) -> dg.AssetCheckEvaluation:
    """What a check of a whole table found, with its evidence.

    Dagster makes an `AssetCheckResult` in a run of one partition one of that partition's materialization, and the UI
    then hides it as soon as another run materializes another partition. This names what was judged.

    Args:
        spec: which check.
        n_checked: rows looked at.
        failures: rules that are broken, each with all its failing rows.
        todo: what to do about a failure.
        severity: of a failure.
        latest: materialization of the asset when the table was read.
    """
    n_failed = len({row for f in failures for row in f.rows.index})  # a row that breaks two rules is one row
    metadata: dict[str, dg.MetadataValue] = {
        "rows checked": dg.MetadataValue.int(n_checked),
        "rows failed": dg.MetadataValue.int(n_failed),
    }
    if failures:
        metadata["what to do"] = dg.MetadataValue.text(todo)
        metadata["rules broken"] = dg.MetadataValue.text("; ".join(f"{f.rule}: {len(f.rows)}" for f in failures))
        metadata["failing rows"] = _table(failures)
    return dg.AssetCheckEvaluation(
        asset_key=spec.asset_key,
        check_name=spec.name,
        passed=not failures,
        metadata=metadata,
        target_materialization_data=latest,
        severity=severity,
    )


def _table(failures: Sequence[Failure]) -> dg.MetadataValue:
    shown = pd.concat([f.rows.assign(rule=f.rule).head(SHOWN_ROWS) for f in failures]).head(SHOWN_ROWS)
    shown = shown[[*(["rule"] if len(failures) > 1 else []), *(c for c in shown.columns if c != "rule")]]
    return dg.MetadataValue.table(
        records=[dg.TableRecord({k: _plain(v) for k, v in row.items()}) for row in shown.to_dict("records")],
        schema=dg.TableSchema(columns=[dg.TableColumn(name=str(c), type="string") for c in shown.columns]),
    )


def _plain(value: object) -> str | int | float | bool | None:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if value != value else round(value, 6)
    return str(value)
