"""Who may import whom: the rooms of the house stay apart, and loading the definitions stays light.

Imports are read from the source (all of them: also those inside functions and under TYPE_CHECKING), so a broken
rule is told by file and line without running anything.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import arctic_assets

PACKAGE = Path(arctic_assets.__file__).parent
COMMON = {"errors", "provenance", "settings", "glaciers", "science", "tables"}
MAY_IMPORT = {
    "errors": set[str](),
    "provenance": set[str](),
    "settings": {"errors"},
    "glaciers": {"errors"},
    "mirror_server": {"errors"},
    "science": {"science", "tables", "errors"},
    "tables": {"science", "tables", "errors"},
    "sources": {"sources", *COMMON},
    "storage": {"storage", *COMMON},
    "publish": {"publish", *COMMON},
}
"""Rooms of ours that a room may import; rooms not named here may import all."""
STANDARD_LIBRARY_ONLY = {"errors", "provenance", "settings", "glaciers", "mirror_server"}
MAY_IMPORT_DAGSTER = {
    "assets",
    "checks",
    "automation",
    "definitions",
    "cli",
    "outline_commands",
    "partitions",
    "storage",
}
HEAVY = {
    "exactextract",
    "geopandas",
    "matplotlib",
    "pyogrio",
    "pyproj",
    "rasterio",
    "scipy",
    "shapely",
    "xarray",
}


@dataclass(frozen=True)
class Import:
    """One imported module and where it is imported."""

    room: str
    module: str
    place: str

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]

    @property
    def room_of_ours(self) -> str | None:
        """`science` for `arctic_assets.science.geometry`; None for a foreign module or the package itself."""
        parts = self.module.split(".")
        return parts[1] if parts[0] == "arctic_assets" and len(parts) > 1 else None


def imports_in(source: str, module: str, place: str) -> Iterator[Import]:
    """The imports in the source of a module; `module` is its dotted name, a package's with `.__init__`."""
    room = module.split(".")[1]
    for node in ast.walk(ast.parse(source)):
        where = f"{place}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            for name in node.names:
                yield Import(room, name.name, where)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *([base] if base else [])])
            if base == "arctic_assets":
                for name in node.names:
                    yield Import(room, f"{base}.{name.name}", where)
            else:
                yield Import(room, base, where)


def all_imports() -> list[Import]:
    found: list[Import] = []
    for path in sorted(PACKAGE.rglob("*.py")):
        relative = path.relative_to(PACKAGE)
        if relative.parts == ("__init__.py",):
            continue
        module = ".".join(["arctic_assets", *relative.with_suffix("").parts])
        found += imports_in(path.read_text(encoding="utf-8"), module, relative.as_posix())
    return found


IMPORTS = all_imports()


def test_every_form_of_import_is_seen() -> None:
    source = """
import os, dagster.core
from arctic_assets import settings
from arctic_assets.storage.archive import Archive
from . import coverage
from ..science import geometry
def late():
    import geopandas as gpd
"""
    found = {i.module for i in imports_in(source, "arctic_assets.publish.workbook", "workbook.py")}
    assert found == {
        "os",
        "dagster.core",
        "arctic_assets.settings",
        "arctic_assets.storage.archive",
        "arctic_assets.publish",
        "arctic_assets.science",
        "geopandas",
    }
    assert {"science", "tables"} <= {i.room for i in IMPORTS}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_it_may(room: str) -> None:
    broken = [
        f"{i.place} imports {i.module}"
        for i in IMPORTS
        if i.room == room and i.room_of_ours and i.room_of_ours not in MAY_IMPORT[room]
    ]
    assert not broken, f"{room} may import of ours only {sorted(MAY_IMPORT[room])}"


def test_the_first_modules_need_only_the_standard_library() -> None:
    broken = [
        f"{i.place} imports {i.module}"
        for i in IMPORTS
        if i.room in STANDARD_LIBRARY_ONLY and i.top != "arctic_assets" and i.top not in sys.stdlib_module_names
    ]
    assert not broken


def test_only_the_wiring_knows_dagster() -> None:
    broken = [
        f"{i.place} imports {i.module}"
        for i in IMPORTS
        if i.top.startswith("dagster") and i.room not in MAY_IMPORT_DAGSTER
    ]
    assert not broken, f"only {sorted(MAY_IMPORT_DAGSTER)} may import dagster"


def test_loading_the_definitions_loads_no_heavy_library(tmp_path: Path) -> None:
    """Every run and every start of Dagster loads the definitions: geopandas alone would add more than a second."""
    code = (
        "import sys; import arctic_assets.definitions;"
        f"print(*sorted({{name.partition('.')[0] for name in sys.modules}} & {HEAVY!r}))"
    )
    environment = {**os.environ, "ARCTIC_ASSETS_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
