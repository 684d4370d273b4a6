"""What every provider's zip must pass before anything in it is read.

Nothing is ever unpacked to disk: members are read where they are. What the members mean is the providers' business.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from arctic_assets.errors import SourceError
from arctic_assets.sources.base import SYNTHETIC

SYNTHETIC_MEMBER = f"{SYNTHETIC}.txt"
"""Name of the member, in whatever folder, that marks a zip of the sample."""


def verify_zip(path: Path) -> None:
    """Look whether a file that just came is a whole zip without members that climb out of it.

    Raises:
        SourceError: it is another kind of file (an HTML page, for instance), is damaged, or has such members.
    """
    with open_zip(path) as archive:
        climbing = [name for name in archive.namelist() if _climbs(name)]
        if climbing:
            raise SourceError(
                "a zip has members that climb out of it",
                where=path.name,
                expected="relative member names without '..'",
                got=", ".join(climbing[:20]),
                todo="do not use this file; tell the owner of the place it came from",
            )
        try:
            damaged = archive.testzip()
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError) as error:
            damaged = str(error)
        if damaged:
            raise SourceError(
                "a zip is damaged",
                where=path.name,
                expected="members whose checksums hold",
                got=damaged,
                todo="fetch it again; if it stays, it is damaged at the provider",
            )


@contextmanager
def open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip for reading.

    Raises:
        SourceError: it is none.
    """
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise SourceError(
            "a file is not a zip, or not the whole of it",
            where=path.name,
            expected="a zip",
            got=f"{describe_head(path)} ({error})",
            todo="fetch it again; a page in its place often asks for a login or tells of an error",
        ) from error
    with archive:
        yield archive


def is_synthetic(archive: zipfile.ZipFile) -> bool:
    """Whether the zip says that it is of the sample."""
    return any(PurePosixPath(name).name == SYNTHETIC_MEMBER for name in archive.namelist())


def describe_head(path: Path) -> str:
    """What the first bytes of a file look like, in words."""
    with path.open("rb") as stream:
        head = stream.read(512)
    if not head:
        return "an empty file"
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "an HTML page"
    if head.startswith(b"PK\x03\x04"):
        return "the beginning of a zip"
    return f"a file that begins with {head[:16]!r}"


def _climbs(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or parts[0] == "" or parts[0].endswith(":")
