"""`arctic-assets`: build, status, query, verify, sample, serve-mirror, outline.

The same graph and the same Dagster instance as in the UI; this module only reads options and prints.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from arctic_assets import __version__, settings
from arctic_assets.errors import ArcticAssetsError, SettingsError
from arctic_assets.mirror_server import PORT, MirrorServer
from arctic_assets.outline_commands import commands as outline_commands

if TYPE_CHECKING:
    from collections.abc import Sequence

    import dagster as dg
    from dagster._core.definitions.assets.graph.asset_graph import AssetGraph

    from arctic_assets.automation.build import Outcome, Run
    from arctic_assets.partitions import Partitions
    from arctic_assets.storage.warehouse import Warehouse

console = Console()

_home = click.option("--home", type=click.Path(path_type=Path), help="Where everything is stored [ARCTIC_ASSETS_HOME]")
_glaciers = click.option(
    "--glaciers",
    type=click.Path(path_type=Path),
    help="Registry file instead of the 16 glaciers [ARCTIC_ASSETS_GLACIERS]",
)


class _Main(click.Group):
    """Turns our errors into a message without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ArcticAssetsError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Main)
@click.version_option(__version__)
def main() -> None:
    """The Arctic Glacier Dataset, made from raw sources."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for noisy in ("dagster", "urllib3", "fiona", "rasterio", "pyogrio", "alembic"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@main.command()
@_home
@_glaciers
@click.option("--mirror", help="sample (SYNTHETIC), live, a directory, or a http(s) URL [ARCTIC_ASSETS_MIRROR]")
@click.option("--select", "selection", help="Assets in Dagster's selection syntax; default all. E.g. 'derived/area+'")
@click.option("--glacier", "glacier_ids", multiple=True, help="Only this glacier; may be given several times")
@click.option("--start", help="First month YYYY-MM (or year) of monthly and yearly assets")
@click.option("--end", help="Last month YYYY-MM (or year)")
@click.option("--workers", type=click.IntRange(1), default=min(4, os.cpu_count() or 1), help="Runs at a time")
@click.pass_context
def build(
    ctx: click.Context,
    home: Path | None,
    glaciers: Path | None,
    mirror: str | None,
    selection: str | None,
    glacier_ids: tuple[str, ...],
    start: str | None,
    end: str | None,
    workers: int,
) -> None:
    """Run the graph; the runs show in the UI."""
    from arctic_assets.automation import processes

    current = _settings(home, glaciers, mirror)
    processes.context()  # loads there what is imported here next

    from arctic_assets import summary
    from arctic_assets.automation import build as building
    from arctic_assets.storage.instance import open_instance

    if current.mirror_kind == "live":
        summary.print_accounts(console)
    defs, partitions, warehouse = _platform(current)
    extent = building.Extent(glacier_ids, _month("--start", start, "01"), _month("--end", end, "12"))
    graph = defs.resolve_asset_graph()
    runs = building.plan(graph, building.select(graph, selection), partitions, extent)
    with open_instance(current.home) as instance:
        for run_id in building.close_dead_runs(instance):
            console.print(f"[yellow]run {run_id} of an earlier build had been killed; marked as failed")
    outcome = _with_progress(current, graph, runs, workers)
    if Path(warehouse.database).exists():
        warehouse.publish(current.published)
    summary.print_build(console, current, warehouse, outcome)
    ctx.exit(0 if outcome.is_good else 1)


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
@_glaciers
@click.option("--through", help="Last month, YYYY-MM; default the last that has ended")
def sample(directory: Path, glaciers: Path | None, through: str | None) -> None:
    """Write the SYNTHETIC mirror: small files in the providers' formats, with known answers (truth.json)."""
    from arctic_assets import glaciers as registry
    from arctic_assets import sample as synthetic
    from arctic_assets.assets.wiring import last_month

    synthetic.write(directory, registry.load(glaciers), through or last_month())
    files = [p for p in directory.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in files) / 1e6
    console.print(f"SYNTHETIC mirror with {len(files)} files, {size:.1f} MB, in {directory}", soft_wrap=True)


@main.command()
@_home
@_glaciers
def status(home: Path | None, glaciers: Path | None) -> None:
    """Per variable: what is there, what is missing and why, what is preliminary."""
    from arctic_assets import summary
    from arctic_assets.assets.exports.staleness import stale_exports, told
    from arctic_assets.storage.instance import open_instance
    from arctic_assets.storage.warehouse import Warehouse

    current = _settings(home, glaciers, None)
    _, partitions, _ = _platform(current)
    if not current.published.exists():
        raise click.ClickException(f"nothing was built in {current.home} yet: run `arctic-assets build`")
    warehouse = Warehouse(database=str(current.published))  # no run blocks it, and it blocks none
    summary.print_status(console, partitions, warehouse)
    with open_instance(current.home) as instance:
        stale = stale_exports(instance, warehouse, partitions.registry.ids)
    if stale:
        console.print(told(stale), soft_wrap=True)


@main.command()
@click.argument("sql")
@_home
def query(sql: str, home: Path | None) -> None:
    """Print the answer to a query on the published DuckDB copy, which no run blocks."""
    import duckdb

    published = _settings(home, None, None).published
    if not published.exists():
        raise click.ClickException(f"there is no {published} yet: run `arctic-assets build`")
    with duckdb.connect(str(published), read_only=True) as connection:
        try:
            click.echo(connection.sql(sql))
        except duckdb.Error as error:
            raise click.ClickException(str(error)) from error


@main.command()
@_home
def verify(home: Path | None) -> None:
    """Compare every archived file with the SHA-256 it had when it was stored."""
    from arctic_assets.storage.archive import Archive

    archive = Archive(_settings(home, None, None).archive)
    objects = archive.all_objects()
    for found in objects:
        archive.verify(found)
    console.print(f"{len(objects)} archived files are as they were stored")


@main.command("serve-mirror")
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at; 0.0.0.0 lets others in")
@click.option("--port", default=PORT, show_default=True, help="0 takes a free one")
def serve_mirror(directory: Path, host: str, port: int) -> None:
    """Serve a mirror (a directory with one folder per provider, or an archive, <home>/raw) over HTTP until Ctrl-C."""
    with MirrorServer(directory, host, port) as server:
        folders = sorted(f.name for f in directory.iterdir() if f.is_dir() and not f.name.startswith("."))
        click.echo(f"{directory} ({', '.join(folders) or 'no folder of a provider'}) is at {server.url}")
        click.echo(f"use it: arctic-assets build --mirror {server.url}")
        click.echo("Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            server.wait()
    click.echo("\nended")


def _settings(home: Path | None, glaciers: Path | None, mirror: str | None) -> settings.Settings:
    """The settings, also put into the environment, where Dagster's storage and child processes find them."""
    current = settings.load(home=home, glaciers=glaciers, mirror=mirror)
    os.environ.update(settings.environment(current))
    return current


def _platform(current: settings.Settings) -> tuple[dg.Definitions, Partitions, Warehouse]:
    from arctic_assets import glaciers
    from arctic_assets.definitions import build_defs
    from arctic_assets.partitions import Partitions
    from arctic_assets.storage.warehouse import Warehouse

    partitions = Partitions(glaciers.load(current.glaciers), current)
    return build_defs(current), partitions, Warehouse(database=str(current.warehouse))


def _month(option: str, text: str | None, month: str) -> str | None:
    """`YYYY-MM` of a month or, with the month that is given, of a year."""
    match = re.fullmatch(r"(\d{4})(?:-(0[1-9]|1[0-2]))?", text or "")
    if text and not match:
        raise SettingsError("this is no month", where=option, expected="YYYY-MM or YYYY", got=text, todo="correct it")
    return f"{match[1]}-{match[2] or month}" if match else None


def _with_progress(current: settings.Settings, graph: AssetGraph, runs: Sequence[Run], workers: int) -> Outcome:
    """Execute with a bar per asset: it moves when partitions are recorded, and turns red on failure."""
    import dagster as dg
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from arctic_assets.automation.build import execute
    from arctic_assets.automation.workers import Workers

    columns = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description:28}"),
        BarColumn(24),
        MofNCompleteColumn(),
        TextColumn("partitions"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        tasks = {}
        for run in runs:
            for key in run.assets:
                if key not in tasks:
                    tasks[key] = progress.add_task(key.to_user_string(), total=0, start=False)
                progress.update(tasks[key], total=(progress.tasks[tasks[key]].total or 0) + run.n_partitions)
        steps = {"__".join(key.path): task for key, task in tasks.items()}

        def on_event(run: Run, event_type: dg.DagsterEventType, step: str) -> None:
            task = steps.get(step)
            if task is None:
                return
            if event_type == dg.DagsterEventType.STEP_START:
                progress.start_task(task)
            elif event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
                progress.advance(task)
            elif event_type == dg.DagsterEventType.STEP_FAILURE:
                progress.update(task, description=f"[red]{progress.tasks[task].description}")
                progress.stop_task(task)

        with Workers(current, workers, on_event) as runner:
            return execute(graph, runs, runner)


main.add_command(outline_commands(_home, lambda home: _settings(home, None, None)))


if __name__ == "__main__":
    sys.exit(main())
