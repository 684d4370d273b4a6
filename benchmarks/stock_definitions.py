"""Our definitions with the executor that Dagster takes by default, for `benchmarks/backfill.py`."""

from __future__ import annotations

import dagster as dg

from arctic_assets.definitions import build_defs


def _with_stock_executor(ours: dg.Definitions) -> dg.Definitions:
    """Without `executor`, Dagster takes the multiprocess one: each step in a process of its own."""
    return dg.Definitions(
        assets=ours.assets,
        asset_checks=ours.asset_checks,
        jobs=ours.jobs,
        sensors=ours.sensors,
        schedules=ours.schedules,
        resources=ours.resources,
    )


defs = _with_stock_executor(build_defs())
