"""One shape for the result of every check."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg
import pandas as pd

from arctic_assets.tables import Failure
from arctic_assets.tables.base import SHOWN_ROWS


def result(
    spec: dg.AssetCheckSpec, n_checked: int, failures: Sequence[Failure], todo: str, severity: dg.AssetCheckSeverity
) -> dg.AssetCheckResult:
    """A check result with its evidence.

    Args:
        spec: which check.
        n_checked: rows looked at.
        failures: rules that are broken, each with all its failing rows.
        todo: what to do about a failure.
        severity: of a failure.
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
    return dg.AssetCheckResult(
        asset_key=spec.asset_key, check_name=spec.name, passed=not failures, severity=severity, metadata=metadata
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
