"""Looking whether a provider has something new, without fetching it: what sensors ask, a few seconds each.

Each look answers with facts or raises `SourceError`: a provider that cannot be reached is never taken for one that has
nothing new.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
from pathlib import Path
from typing import NamedTuple

from arctic_assets.errors import SourceError
from arctic_assets.provenance import SourceObject
from arctic_assets.sources.http import Client

QUICK = Client(attempts=2, pause_s=0.5, longest_pause_s=3.0, timeout_s=(5.0, 10.0))
"""A client for a sensor's tick, which must end within a minute."""


class Change(NamedTuple):
    """An archived file that the provider no longer has as it was: which, and what differs."""

    held: SourceObject
    what: str


def last_published_month(client: Client = QUICK, url: str | None = None) -> str:
    """Last month that the Climate Data Store's catalogue says ERA5 monthly means reach, `YYYY-MM`; takes no key.

    Args:
        client: how patient to be.
        url: of the API; by default CDSAPI_URL, or the Climate Data Store's.

    Raises:
        SourceError: the catalogue cannot be reached, or says no end.
    """
    from arctic_assets.sources.cds import URL
    from arctic_assets.sources.era5 import DATASET

    base = (url or os.environ.get("CDSAPI_URL") or URL).rstrip("/")
    address = f"{base}/catalogue/v1/collections/{DATASET}"
    page = client.page(address)
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


def changed(held: SourceObject, client: Client = QUICK, root: Path | None = None) -> Change | None:
    """Compare an archived file with the provider's marks of it.

    Args:
        held: the archived file. Without marks or address of its own (a job of the Climate Data Store, for instance)
            it cannot be compared: None. So it is with scenes of a STAC catalogue, whose identifiers stand for them.
        client: how patient to be.
        root: directory of the mirror that it came from, for `mirror:` addresses.

    Raises:
        SourceError: the provider cannot be reached or refuses.
    """
    if held.url.startswith("mirror:"):
        return _changed_file(held, root) if root else None
    has_marks = bool(held.last_modified) or '"' in (held.etag or "")
    if not held.url.startswith(("http://", "https://")) or not has_marks:
        return None
    marks = client.marks(held.url)
    if marks is None:
        return Change(held, "the provider no longer has it")
    # of windows out of several rasters, the marks of all are joined
    for name, now, then in (
        ("ETag", marks.etag, held.etag),
        ("Last-Modified", marks.last_modified, held.last_modified),
    ):
        if now and then:
            return None if now in then else Change(held, f"{name} {now} in place of {then}")
    return None


def _changed_file(held: SourceObject, root: Path) -> Change | None:
    if not held.last_modified:  # windows out of several tiles
        return None
    path = root / held.url.removeprefix("mirror:")
    if not path.is_file():
        return Change(held, "the mirror no longer has it")
    stat = path.stat()
    modified = dt.datetime.fromtimestamp(stat.st_mtime, dt.UTC).isoformat(timespec="microseconds")
    if modified in held.last_modified:
        return None
    if held.url.endswith(held.path):  # the whole file: its bytes decide, not its date
        if stat.st_size == held.bytes:
            with path.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() == held.sha256:
                    return None
        return Change(held, f"{stat.st_size} bytes of {modified} in place of {held.bytes} bytes")
    return Change(held, f"modified {modified} in place of {held.last_modified}")
