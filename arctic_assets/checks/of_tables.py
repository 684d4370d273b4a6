"""Asset checks of each table, as one `multi_asset_check`: built from its model, plus the rules that judge it."""

from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pandas as pd

from arctic_assets.assets.wiring import frequent_reasons
from arctic_assets.checks.across import RULES, Judged, Rule, Tables
from arctic_assets.checks.evidence import evaluation, latest_materialization
from arctic_assets.glaciers import Registry
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import TABLES, Failure, Table, soft_violations, violations, without_uncertainty

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def build(registry: Registry) -> list[dg.AssetChecksDefinition]:
    """The checks of all tables."""
    return [_checks_of(model, registry) for model in TABLES]


def _checks_of(model: type[Table], registry: Registry) -> dg.AssetChecksDefinition:
    asset = dg.AssetKey(["derived", model.table()])
    rules = {rule.name: rule for rule in RULES if rule.model is model}
    own: dict[str, tuple[str, dg.AssetCheckSeverity, str]] = {
        "fits_model": (
            "Types, missing values, key and hard limits of the table model.",
            ERROR,
            "the stored table was changed by another program, or the model became stricter: materialise these "
            "partitions again",
        ),
        "within_expected_ranges": (
            "Values inside the ranges where such glaciers normally lie.",
            WARN,
            "look at the source of these rows; a real extreme may stay",
        ),
        "every_row_has_its_source": (
            "Each row names archived files, and each of them has a licence and a citation.",
            ERROR,
            "materialise the raw asset, then these partitions",
        ),
        "every_number_has_its_uncertainty": (
            "Each number has an uncertainty with its kind, or says why it has none; each row has an origin.",
            ERROR,
            "give the asset's rows the uncertainty that the model names, or correct the model in arctic_assets/tables",
        ),
        "no_glacier_is_missing": (
            "Every glacier of the registry has rows.",
            WARN,
            "provenance.gap says why; see exports/coverage",
        ),
    }
    specs = {
        name: dg.AssetCheckSpec(name, asset=asset, description=description) for name, (description, _, _) in own.items()
    } | {name: dg.AssetCheckSpec(name, asset=asset, description=rule.description) for name, rule in rules.items()}

    @dg.multi_asset_check(specs=list(specs.values()), can_subset=True, name=f"check_{model.table()}")
    def checks(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> Iterator[Any]:
        read = _reader(warehouse)
        judges: dict[str, Callable[[], Judged]] = {
            "fits_model": lambda: _judged(read(model), violations(model, read(model))),
            "within_expected_ranges": lambda: _judged(read(model), soft_violations(model, read(model))),
            "every_row_has_its_source": lambda: sources_are_known(model, read(model), warehouse.sources()),
            "every_number_has_its_uncertainty": lambda: _judged(read(model), without_uncertainty(model, read(model))),
            "no_glacier_is_missing": lambda: no_glacier_is_missing(
                read(model), registry, warehouse.gaps(asset.to_user_string())
            ),
        }
        with warehouse.judging(model):  # until Dagster has stored the results: the last ones are of the newest rows
            latest = latest_materialization(context.instance, asset)
            for key in context.selected_asset_check_keys:
                spec = specs[key.name]
                if key.name in rules:
                    rule: Rule = rules[key.name]
                    judged, severity, todo = rule.judge(Tables(read, registry)), WARN, rule.todo
                else:
                    judged, (_, severity, todo) = judges[key.name](), own[key.name]
                yield dg.Output(None, spec.get_python_identifier())
                yield evaluation(spec, judged.n_checked, judged.failures, todo, severity, latest)

    return checks


def _reader(warehouse: Warehouse) -> Callable[[type[Table]], pd.DataFrame]:
    """Reads each table once."""
    known: dict[str, pd.DataFrame] = {}

    def read(model: type[Table]) -> pd.DataFrame:
        if model.table() not in known:
            known[model.table()] = warehouse.rows(model)
        return known[model.table()]

    return read


def _judged(frame: pd.DataFrame, failures: list[Failure]) -> Judged:
    return Judged(len(frame), failures)


def sources_are_known(model: type[Table], frame: pd.DataFrame, sources: pd.DataFrame) -> Judged:
    """Rows that name no source, or one that is not archived or has no licence or citation."""
    good = set(sources.loc[(sources["licence"] != "") & (sources["citation"] != ""), "source_id"])
    bad = frame["source_ids"].map(lambda ids: not ids or not good.issuperset(ids)).astype(bool)
    rows = frame.loc[bad, [*model.key(), "source_ids"]]
    rule = "source_ids are in provenance.source_object, with licence and citation"
    return Judged(len(frame), [Failure(rule, "source_ids", rows)] if bad.any() else [])


def no_glacier_is_missing(frame: pd.DataFrame, registry: Registry, gaps: pd.DataFrame) -> Judged:
    """Glaciers without any row, with the most frequent reason of the gaps of this table."""
    absent = [g for g in registry.ids if g not in set(frame["glacier_id"])]
    glacier = gaps["partition"].str.split("|").str[0]
    reasons = [next(iter(frequent_reasons(gaps.loc[glacier == g, "reason"]).index), "not materialised") for g in absent]
    rows = pd.DataFrame({"glacier_id": absent, "reason": reasons})
    failures = [Failure("every glacier of the registry has rows", "glacier_id", rows)] if absent else []
    return Judged(len(registry.ids), failures)
