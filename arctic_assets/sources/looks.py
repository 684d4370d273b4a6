"""Looking whether a provider has something new, without fetching it: what sensors ask, a few seconds each.

Each look answers with facts or raises `SourceError`: a provider that cannot be reached is never taken for one that has
nothing new, nor a file that cannot be compared for one that is the same.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit

from arctic_assets.errors import SourceError, TimeUpError
from arctic_assets.provenance import SourceObject
from arctic_assets.sources.http import Client, Marks

TIMEOUT_S = (5.0, 10.0)
"""For connecting, and for each wait for bytes: a sensor's tick must end within a minute."""

T = TypeVar("T")
A = TypeVar("A")


class Look(NamedTuple):
    """An archived file beside its provider's: which, whether it is the same, and what differs or cannot be compared."""

    held: SourceObject
    verdict: Literal["same", "changed", "not comparable"]
    what: str = ""


@dataclass
class Round(Generic[A]):
    """What came of looking at one thing after the other.

    Attributes:
        answers: of those that were looked at.
        failures: first failure of each group that could not be looked at.
        left: how many were not looked at because the time was up.
        begin: name of the one where the next round begins.
    """

    answers: list[A] = field(default_factory=list)
    failures: dict[str, SourceError] = field(default_factory=dict)
    left: int = 0
    begin: str = ""


def quick(until: float = math.inf) -> Client:
    """A client for looks: two attempts, none of which begins after `until` (of `time.monotonic`)."""
    return Client(attempts=2, pause_s=0.5, longest_pause_s=3.0, timeout_s=TIMEOUT_S, until=until)


def go_round(
    things: Mapping[str, T], begin: str, look: Callable[[T], A], group: Callable[[T], str], until: float
) -> Round[A]:
    """Look at as many things as there is time for, in the order of their names.

    A failure is no reason to leave out the others, except those of the same group: a server that is down is not asked
    for each of its files.

    Args:
        things: what to look at, by name.
        begin: where to begin: at this name, or the next one that there is.
        look: one look; raises SourceError.
        group: name of the group of a thing.
        until: no look begins after this time of `time.monotonic`.
    """
    names = sorted(things)
    first = bisect_left(names, begin) % max(len(names), 1)
    names = [*names[first:], *names[:first]]
    found = Round[A](begin=names[0] if names else "")
    for i, name in enumerate(names):
        if group(things[name]) in found.failures:
            continue
        try:
            if i and time.monotonic() > until:
                raise TimeUpError("the time for looking is up")
            found.answers.append(look(things[name]))
        except TimeUpError as error:
            if i:
                found.left, found.begin = len(names) - i, name
                return found
            found.failures[group(things[name])] = error  # alone it takes all the time: the next round goes past it
        except SourceError as error:
            found.failures[group(things[name])] = error
    return found


def last_published_month(client: Client | None = None, url: str | None = None) -> str:
    """Last month that the Climate Data Store's catalogue says ERA5 monthly means reach, `YYYY-MM`; takes no key.

    Args:
        client: how patient to be; by default as `quick`.
        url: of the API; by default CDSAPI_URL, or the Climate Data Store's.

    Raises:
        SourceError: the catalogue cannot be reached, or says no end.
    """
    from arctic_assets.sources.cds import URL
    from arctic_assets.sources.era5 import DATASET

    base = (url or os.environ.get("CDSAPI_URL") or URL).rstrip("/")
    address = f"{base}/catalogue/v1/collections/{DATASET}"
    page = (client or quick()).page(address)
    try:
        end = json.loads(page.text)["extent"]["temporal"]["interval"][0][1] if page else None
        return dt.datetime.fromisoformat(str(end)).strftime("%Y-%m")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise SourceError(
            "the catalogue of the Climate Data Store does not say how far ERA5 reaches",
            where=address,
            expected="extent.temporal.interval with an end date",
            got="no such page" if page is None else page.text[:200],
            todo="look at the dataset's page; this look is tried again at the next tick",
        ) from error


def compare(held: SourceObject, client: Client | None = None, root: Path | None = None) -> Look:
    """Compare an archived file with the provider's marks of it, or with its size where there are none.

    Not comparable are files that a provider makes when they are asked for (of the Climate Data Store), and windows out
    of rasters of which no marks were kept (elevations; scenes of a STAC catalogue, whose identifiers stand for them).

    Args:
        held: the archived file.
        client: how patient to be; by default as `quick`.
        root: directory of the mirror that it came from, for `mirror:` addresses.

    Raises:
        SourceError: the provider cannot be reached or refuses, or answers with a page in place of the file.
    """
    if held.url.startswith("mirror:"):
        return _compare_file(held, root) if root else Look(held, "not comparable", "it came from a mirror")
    has_marks = bool(held.last_modified) or '"' in (held.etag or "")
    if not held.url.startswith(("http://", "https://")) or not (has_marks or _is_whole(held)):
        return Look(held, "not comparable", "no marks of it were kept")
    marks = (client or quick()).marks(held.url)
    if marks is None:
        return Look(held, "changed", "the provider no longer has it")
    if marks.media_type == "text/html":
        raise SourceError(
            "a provider shows a page in place of a file",
            where=held.url,
            expected=f"the file {held.path}",
            got="text/html",
            todo="open the address in a browser: a login, perhaps, or the file has moved",
        )
    return _compare_marks(held, marks)


def _compare_marks(held: SourceObject, marks: Marks) -> Look:
    # of windows out of several rasters, the marks of all are joined
    if marks.etag and held.etag:
        is_same = marks.etag in held.etag
        return Look(held, "same") if is_same else Look(held, "changed", f"ETag {marks.etag} in place of {held.etag}")
    is_dated = bool(marks.last_modified and held.last_modified)
    if is_dated and str(marks.last_modified) not in str(held.last_modified):
        return Look(held, "changed", f"Last-Modified {marks.last_modified} in place of {held.last_modified}")
    is_sized = marks.size is not None and _is_whole(held)
    if is_sized and marks.size != held.bytes:
        return Look(held, "changed", f"{marks.size} bytes in place of {held.bytes}")
    if is_dated or is_sized:
        return Look(held, "same")
    return Look(held, "not comparable", "the provider gives no marks of it")


def _compare_file(held: SourceObject, root: Path) -> Look:
    if not held.last_modified:
        return Look(held, "not comparable", "no marks of it were kept")
    path = root / held.url.removeprefix("mirror:")
    if not path.is_file():
        return Look(held, "changed", "the mirror no longer has it")
    stat = path.stat()
    modified = dt.datetime.fromtimestamp(stat.st_mtime, dt.UTC).isoformat(timespec="microseconds")
    if modified in held.last_modified:
        return Look(held, "same")
    if _is_whole(held):  # its bytes decide, not its date
        if stat.st_size == held.bytes:
            with path.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() == held.sha256:
                    return Look(held, "same")
        return Look(held, "changed", f"{stat.st_size} bytes of {modified} in place of {held.bytes} bytes")
    return Look(held, "changed", f"modified {modified} in place of {held.last_modified}")


def _is_whole(held: SourceObject) -> bool:
    """Whether the archive has the file as it is at the provider, and not a window of it."""
    return unquote(urlsplit(held.url).path).endswith(held.path)
