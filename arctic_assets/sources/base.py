"""The words that all providers share: product, account, remote file, what came of asking.

A provider's module (`rgi7`, `era5`, `fog`, `farinotti`, ...) knows its names, addresses, formats and quirks, and
offers
- `remotes(origin, ...) -> list[Remote | Missing]`: which files hold what is wanted;
- a `verify(path) -> Verified` that its remotes carry: opens a file that just came and says what is in it, or
  raises `SourceError`;
- readers that turn archived files into arrays and frames.

How bytes travel is in `origins`; where they are kept is the archive's business. No module here knows Dagster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from arctic_assets.provenance import SYNTHETIC, Account, Delivery, Product, SourceObject, Verified

__all__ = [
    "SYNTHETIC",
    "Account",
    "Delivery",
    "Missing",
    "Origin",
    "Product",
    "Remote",
    "SourceObject",
    "Unchanged",
    "Verified",
]


@dataclass(frozen=True)
class Remote:
    """A file at a provider that we want.

    Attributes:
        product: what it belongs to.
        path: the provider's own path below its folder, with forward slashes. The same in mirror and archive.
        verify: opens the file and returns its facts; raises SourceError for a wrong one.
        url: live address, when it has one.
        request: what to ask the Climate Data Store for, instead of a URL.
        halves: two requests that bring the same, for when this one is too large; none when it cannot be divided.
        optional: a missing one is no gap (RGI7 centrelines, for instance).
    """

    product: Product
    path: str
    verify: Callable[[Path], Verified]
    url: str | None = None
    request: Mapping[str, Any] | None = None
    halves: Callable[[], Sequence[Remote]] | None = None
    optional: bool = False


@dataclass(frozen=True)
class Missing:
    """Nothing there, and why: becomes a gap, never an error. `what` names what was looked for."""

    reason: str
    what: str = ""


class Unchanged:
    """The provider says that the file we have is still the current one."""


class Origin(Protocol):
    """Where files come from: a directory, a web server that holds a mirror, or the live providers."""

    @property
    def name(self) -> str:
        """Directory or address, for messages."""
        ...

    @property
    def is_live(self) -> bool:
        """Whether these are the providers themselves."""
        ...

    def names(self, provider: str, folder: str = "") -> list[str]:
        """Sorted names of the files in a provider's folder of a mirror; empty when it has none.

        Live origins raise NotImplementedError: there each provider's module knows where to look.
        """
        ...

    def fetch(self, remote: Remote, target: Path, known: SourceObject | None) -> Delivery | Unchanged | Missing:
        """Write the file's bytes to `target` (resuming when `target` holds a part of the same version).

        Args:
            remote: what is wanted.
            target: file to write; its folder exists.
            known: the version we already hold, if any: its etag, last_modified, bytes and sha256.

        Raises:
            SourceError: the provider answered, but wrongly.
        """
        ...
