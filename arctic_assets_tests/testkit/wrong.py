"""How a provider's file goes wrong, and what must come of it: an error that names the file, and nothing written."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from arctic_assets.automation.build import Extent, Outcome
from arctic_assets.storage.archive import Archive
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables

Spoil = Callable[[Path], None]


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])


def page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html><body>Please log in</body></html>")


def edit_zip(change: Callable[[dict[str, bytes]], None]) -> Spoil:
    """Members changed, added, or taken out."""

    def spoil(path: Path) -> None:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return spoil


def edit_csv(member: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> Spoil:
    """One table in a zip changed, its cells being text."""

    def edit(members: dict[str, bytes]) -> None:
        table = pd.read_csv(io.BytesIO(members[member]), dtype=str)
        members[member] = change(table).to_csv(index=False).encode()

    return edit_zip(edit)


@dataclass(frozen=True)
class Case:
    """A wrong file, the part of the graph that meets it, and words that the message must have."""

    path: str
    spoil: Spoil
    raw: str
    derived: str
    words: tuple[str, ...]

    @property
    def part(self) -> str:
        return f'key:"{self.raw}" or key:"{self.derived}"'


def digests(folder: Path) -> dict[str, str]:
    """All files of an archive but its locks, with their checksums."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and ".locks" not in path.parts
    }


def spoiled(built: Platform, case: Case) -> bytes:
    """The wrong file in place of the good one, whose bytes are returned."""
    path = Path(built.current.mirror) / case.path
    good = path.read_bytes()
    case.spoil(path)
    assert path.read_bytes() != good
    return good


def assert_told(outcome: Outcome, failed: str, case: Case) -> None:
    assert not outcome.is_good
    assert list(outcome.failed) == [failed]
    message = outcome.failed[failed]
    assert case.path in message
    assert ".part" not in message
    for word in ("expected: ", "got: ", "what to do: ", *case.words):
        assert word in message


def assert_whole(archive: Archive) -> None:
    assert not list(archive.root.rglob("*.part"))
    for found in archive.all_objects():
        archive.verify(found)


def assert_refused(built: Platform, case: Case, extent: Extent) -> None:
    """The wrong file is an error that names it; tables, gaps and archive stay; then the good one is put back."""
    tables, gaps, archive = built.tables(), built.warehouse.gaps(), digests(built.current.archive)
    good = spoiled(built, case)

    outcome = built.build(case.part, extent)
    assert_told(outcome, case.raw, case)
    assert outcome.skipped == [case.derived]
    assert_same_tables(tables, built.tables())
    pd.testing.assert_frame_equal(gaps, built.warehouse.gaps())
    assert digests(built.current.archive) == archive
    assert_whole(Archive(built.current.archive))

    (Path(built.current.mirror) / case.path).write_bytes(good)
