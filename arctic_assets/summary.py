"""What a build and a status tell on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console
from rich.table import Table as Grid

from arctic_assets.settings import Settings
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import TABLES, TemperatureMonthly

if TYPE_CHECKING:
    from arctic_assets.automation.build import Outcome
    from arctic_assets.partitions import Partitions

SHOWN_REASONS = 6


def print_accounts(console: Console) -> None:
    """Which source needs which account for live access, where to get it, where the key goes, and whether it is set."""
    from arctic_assets.sources import era5, farinotti, fog, rgi7

    console.print("Live sources:")
    for product, place in (
        (rgi7.PRODUCT, "outlines at UNESCO IHP-WINS"),
        (rgi7.NSIDC_PRODUCT, "outlines and centrelines at NSIDC"),
        (era5.PRODUCT, ""),
        (fog.PRODUCT, ""),
        (farinotti.PRODUCT, ""),
    ):
        name = f"  {product.name}{f', {place}' if place else ''}"
        account = product.account
        if account is None:
            _print(console, f"{name}: open", "green")
        elif account.is_set():
            _print(console, f"{name}: the key for {account.name} is in place", "green")
        else:
            _print(console, f"{name}: no key for {account.name}: gaps with this reason", "yellow")
            _print(console, f"    get it at: {account.register}\n    where it goes: {account.key}", "yellow")


def print_build(console: Console, settings: Settings, warehouse: Warehouse, outcome: Outcome) -> None:
    """Rows, gaps with reasons, checks, failures, and where the files are."""
    tables = {model: warehouse.rows(model) for model in TABLES}
    gaps = warehouse.gaps()
    grid = Grid(title="Tables")
    for name, justify in (("table", "left"), ("rows", "right"), ("glaciers", "right"), ("gaps", "right")):
        grid.add_column(name, justify=justify)  # type: ignore[arg-type]
    for model, frame in tables.items():
        n_gaps = int((gaps["asset"] == f"derived/{model.table()}").sum())
        grid.add_row(f"derived.{model.table()}", f"{len(frame):,}", str(frame["glacier_id"].nunique()), f"{n_gaps:,}")
    console.print(grid)
    _print_reasons(console, gaps)
    console.print(f"checks: {outcome.passed_checks} passed, {len(outcome.failed_checks)} failed")
    for asset, check, severity in outcome.failed_checks:
        _print(console, f"  {severity} {asset}: {check}", "red" if severity == "ERROR" else "yellow")
    for asset, error in outcome.failed.items():
        _print(console, f"failed: {asset}\n  {error}", "red")
    for asset in outcome.skipped:
        _print(console, f"not run, because an upstream asset failed: {asset}", "red")
    if any(len(f) and bool(f["is_synthetic"].any()) for f in tables.values()):
        console.print("[bold magenta]SYNTHETIC data: from the sample, for trying and testing, not for use")
    for name, place in (("raw files", settings.archive), ("DuckDB", settings.published), ("exports", settings.exports)):
        _print(console, f"{name:11} {place}")


def print_status(console: Console, partitions: Partitions, warehouse: Warehouse) -> None:
    """Per variable: rows, glaciers, period, preliminary rows, gaps."""
    gaps = warehouse.gaps()
    title = f"{len(partitions.registry.ids)} glaciers"
    grid = Grid(title=title, show_edge=False, pad_edge=False)  # fits into 80 columns, which pipes have
    for name in ("table", "rows", "glaciers", "first", "last", "preliminary", "gaps"):
        grid.add_column(name, justify="left" if name == "table" else "right")
    for model in TABLES:
        frame = warehouse.rows(model)
        time = next((c for c in ("month", "year", "inventory") if c in model.key()), None)
        span = (str(frame[time].min()), str(frame[time].max())) if time and len(frame) else ("", "")
        preliminary = f"{int((frame['status'] == 'preliminary').sum()):,}" if "status" in frame else ""
        n_gaps = int((gaps["asset"] == f"derived/{model.table()}").sum())
        n_glaciers = str(frame["glacier_id"].nunique())
        grid.add_row(model.table(), f"{len(frame):,}", n_glaciers, *span, preliminary, f"{n_gaps:,}")
    console.print(grid)
    monthly = warehouse.rows(TemperatureMonthly)
    waiting = sorted(set(monthly.loc[monthly["status"] == "preliminary", "month"]))
    if waiting:
        console.print(f"preliminary months: {', '.join(waiting)}")
    _print_reasons(console, gaps)


def _print_reasons(console: Console, gaps: pd.DataFrame) -> None:
    """The most frequent reasons; years and months in them are counted together."""
    if gaps.empty:
        return
    plain = gaps["reason"].str.replace(r"\b(19|20)\d\d(-\d\d)?\b(?!-)", "…", regex=True)
    counts = gaps.assign(reason=plain).groupby(["asset", "reason"]).size().sort_values(ascending=False)
    console.print(f"{len(gaps):,} partitions without data; the most frequent reasons (all: provenance.gap):")
    for (asset, reason), n in counts.head(SHOWN_REASONS).items():
        _print(console, f"  {n:>6,} x {asset}: {reason}")
    if len(counts) > SHOWN_REASONS:
        console.print(f"  and {len(counts) - SHOWN_REASONS} more reasons")


def _print(console: Console, text: str, style: str = "") -> None:
    """A text as it is: its brackets are no markup, and its paths are not broken into lines."""
    console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
