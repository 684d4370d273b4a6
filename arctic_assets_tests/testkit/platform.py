"""Run the platform in a test as its users do: a home, a mirror, a registry, and a part of the graph."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from arctic_assets import glaciers, settings
from arctic_assets.automation import build as building
from arctic_assets.automation.build import Extent, Outcome
from arctic_assets.automation.workers import Workers
from arctic_assets.definitions import build_defs
from arctic_assets.partitions import Partitions
from arctic_assets.storage.instance import open_instance
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import TABLES, Table

SHARED = Path(__file__).parents[3] / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "real").is_dir(), reason="the real provider files (../shared/real) are not here"
)


@dataclass(frozen=True)
class Platform:
    """A home with its settings."""

    current: settings.Settings

    @property
    def partitions(self) -> Partitions:
        return Partitions(glaciers.load(self.current.glaciers), self.current)

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(database=str(self.current.warehouse))

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        before = dict(os.environ)  # fixtures of a session are built outside of what conftest restores
        os.environ.update(settings.environment(self.current))
        try:
            with open_instance(self.current.home) as instance:
                yield instance
        finally:
            os.environ.clear()
            os.environ.update(before)

    def build(self, selection: str = "*", extent: Extent | None = None, workers: int = 0) -> Outcome:
        """What `arctic-assets build` runs; without workers in this process, where a test can replace things."""
        defs = build_defs(self.current)
        graph = defs.resolve_asset_graph()
        runs = building.plan(graph, building.select(graph, selection), self.partitions, extent or Extent())
        with self.instance() as instance:
            if not workers:
                return building.execute(graph, runs, building.Here(defs, instance))
            with Workers(self.current, workers) as runner:
                return building.execute(graph, runs, runner)

    def tables(self) -> dict[str, pd.DataFrame]:
        """All tables without when and by which run they were written."""
        return {model.table(): comparable(self.warehouse.rows(model)) for model in TABLES}

    def rows(self, model: type[Table]) -> pd.DataFrame:
        return self.warehouse.rows(model)

    def history_rows(self) -> int:
        names = [model.table() for model in TABLES if self.warehouse.exists(f"history.{model.table()}")]
        return sum(int(self.warehouse.query(f"SELECT count(*) AS n FROM history.{name}")["n"][0]) for name in names)


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=["run_id", "recorded_at"])


def platform(home: Path, mirror: Path | str, registry: Path | None = None, **changes: object) -> Platform:
    """A platform with a home of its own."""
    return Platform(settings.load(home=home, mirror=str(mirror), glaciers=registry, **changes))


def copy_of(found: Platform, folder: Path) -> Platform:
    """The same home with a mirror beside it, both in `folder`, to be written to."""
    shutil.copytree(found.current.home, folder / "home")
    shutil.copytree(found.current.mirror, folder / "mirror")
    return platform(folder / "home", folder / "mirror", found.current.glaciers)


def assert_same_tables(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    assert one.keys() == other.keys()
    for name, frame in one.items():
        pd.testing.assert_frame_equal(frame, other[name], check_exact=True, obj=name)


def small_registry(path: Path, ids: tuple[str, ...]) -> Path:
    """A registry file with some of the 16 glaciers."""
    lines = glaciers.PACKAGED.read_text(encoding="utf-8").splitlines()
    path.write_text(
        "\n".join([lines[0], *(line for line in lines if line.split(",")[0] in ids)]) + "\n", encoding="utf-8"
    )
    return path
