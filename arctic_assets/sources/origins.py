"""Where files come from: a directory, a web server that holds a mirror, or the live providers.

The three give the same files under the same paths, so that everything behind them is one code. Here: finding out
what a mirror holds, and bringing one file. Not here: what is in it, and how HTTP behaves (`http`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import quote, unquote, urljoin, urlsplit

from arctic_assets.errors import SourceError
from arctic_assets.settings import Settings
from arctic_assets.sources.base import Delivery, Missing, Origin, Remote, SourceObject, Unchanged
from arctic_assets.sources.http import Client, Page, Part, public_url

_PROVENANCE = ".source.json"
"""Ending of the files that an archive, which is a mirror too, keeps beside the providers' own."""


def open_origin(settings: Settings, client: Client | None = None) -> Origin:
    """The origin that the settings name.

    Args:
        settings: name the mirror.
        client: how patient to be with a web server; by default as a run is.
    """
    match settings.mirror_kind:
        case "sample":
            return DirectoryOrigin(settings.sample)
        case "directory":
            return DirectoryOrigin(Path(settings.mirror))
        case "url":
            return HttpOrigin(settings.mirror, client)
        case "live":
            return LiveOrigin(client)


class DirectoryOrigin:
    """A mirror on this machine: `<root>/<provider>/<path>`."""

    is_live = False

    def __init__(self, root: Path) -> None:
        self.root = root
        self.name = str(root)

    def names(self, provider: str, folder: str = "") -> list[str]:
        """Sorted names of the files in a provider's folder; empty when there is no such folder.

        Raises:
            SourceError: the mirror itself is not there (an unmounted disk is not an empty one).
        """
        place = self._root() / provider / folder
        if not place.is_dir():
            return []
        return sorted(entry.name for entry in place.iterdir() if entry.is_file() and _is_data(entry.name))

    def fetch(self, remote: Remote, target: Path, known: SourceObject | None) -> Delivery | Unchanged | Missing:
        """Copy the file. `Unchanged` when it has the checksum of the version we hold."""
        provider = remote.product.provider
        source = self._root() / provider / remote.path
        if not source.is_file():
            folder = f"{provider}/{remote.path}".rpartition("/")[0]
            what = f"no {source.name} in {folder}" if source.parent.is_dir() else f"no folder {folder}"
            reason = f"the mirror has {what}"
            return Missing(reason, what=f"{provider}/{remote.path}")
        stat = source.stat()
        url = f"mirror:{provider}/{remote.path}"  # the same on every machine: it goes into published tables
        modified = dt.datetime.fromtimestamp(stat.st_mtime, dt.UTC).isoformat(timespec="microseconds")
        if known and known.bytes == stat.st_size:
            with source.open("rb") as stream:
                if hashlib.file_digest(stream, "sha256").hexdigest() == known.sha256:
                    return Unchanged()
        Part(target, url).discard()
        shutil.copyfile(source, target)
        return Delivery(url, last_modified=modified, expected_bytes=stat.st_size)

    def _root(self) -> Path:
        if not self.root.is_dir():
            raise SourceError(
                "the mirror is not there",
                where=self.root,
                expected="a directory with one folder per provider",
                got="no such directory",
                todo="check ARCTIC_ASSETS_MIRROR; the sample is written with 'arctic-assets sample'",
            )
        return self.root


class HttpOrigin:
    """The same mirror on a web server that lists its directories: `<base_url>/<provider>/<path>`."""

    is_live = False

    def __init__(self, base_url: str, client: Client | None = None) -> None:
        self._base_url = base_url.rstrip("/")
        self._client = client or Client()
        self.name = public_url(self._base_url)

    def names(self, provider: str, folder: str = "") -> list[str]:
        """Sorted names that the folder's page links to; empty when the server says 404.

        Raises:
            SourceError: the server cannot be reached, or shows no directory page, or not the whole of it.
        """
        url = "/".join([self._base_url, *(quote(part) for part in (provider, folder) if part), ""])
        page = self._client.page(url)
        if page is None:
            return []
        if not unquote(urlsplit(page.url).path).rstrip("/").endswith("/".join(p for p in (provider, folder) if p)):
            raise _no_listing(page)  # sent to a login, for instance
        return names_on_page(page)

    def fetch(self, remote: Remote, target: Path, known: SourceObject | None) -> Delivery | Unchanged | Missing:
        """Download the file, as `Client.download` does."""
        path = f"{remote.product.provider}/{remote.path}"
        outcome = self._client.download(f"{self._base_url}/{quote(path)}", target, known)
        if isinstance(outcome, Missing):
            return Missing(f"no {path} in the mirror {self.name}", what=path)
        return outcome


class LiveOrigin:
    """The providers themselves. What is there, each provider's module knows; some want an account."""

    name = "live"
    is_live = True

    def __init__(self, client: Client | None = None) -> None:
        self.client = client or Client()

    def names(self, provider: str, folder: str = "") -> list[str]:
        """Providers do not list their directories.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"{provider} is live: its module knows what there is")

    def fetch(self, remote: Remote, target: Path, known: SourceObject | None) -> Delivery | Unchanged | Missing:
        """Ask the provider; `Missing` says which account is wanted when its key is not in place."""
        account = remote.product.account
        what = f"{remote.product.provider}/{remote.path}"
        if account and not account.is_set():
            reason = (
                f"{remote.product.name} needs an account ({account.name}) and no key is in place: "
                f"register at {account.register}, then put in place {account.key}"
            )
            return Missing(reason, what=what)
        if remote.request is not None:
            raise NotImplementedError(f"{what} is made by a job: cds.Jobs brings it")
        if remote.url is None:
            return Missing(f"{remote.product.name} has no live address for {remote.path}: use a mirror", what=what)
        return self.client.download(remote.url, target, known, account)


def names_on_page(page: Page) -> list[str]:
    """Names of the files that a directory page links to, as nginx, Apache and Python's http.server make them.

    Links to the parent, to subdirectories, to sorted views (`?C=M;O=A`) and out of the folder are left out.

    Raises:
        SourceError: it is something else: a login page, half of a page. It must not pass for an empty directory.
    """
    links = _Links()
    links.feed(page.text)
    folder = urlsplit(page.url)
    parent = f"{folder.path.rstrip('/').rpartition('/')[0]}/"
    names, is_listing = set(), bool(re.search(r"Index of|Directory listing for", page.text))
    for href in links.hrefs:
        parts = urlsplit(urljoin(page.url, href))
        name = unquote(parts.path.removeprefix(folder.path))  # a path elsewhere keeps its slashes
        if parts.netloc != folder.netloc or (name and parts.query):
            continue
        is_listing |= parts.path == parent or parts.path.startswith(folder.path)
        if name and "/" not in name and _is_data(name):
            names.add(name)
    if page.media_type != "text/html" or not is_listing or not page.text.rstrip().lower().endswith("</html>"):
        raise _no_listing(page)
    return sorted(names)


def _no_listing(page: Page) -> SourceError:
    begin = " ".join(page.text[:60].split())
    return SourceError(
        "a mirror shows no page of its directory",
        where=public_url(page.url),
        expected="a whole HTML page that links to the files",
        got=f"{page.media_type or 'an answer without a type'} of {len(page.text)} characters: {begin!r}",
        todo="let the web server list its directories (nginx: autoindex on); look whether it asks for a login",
    )


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note where an anchor leads."""
        self.hrefs.extend(value for name, value in attrs if tag == "a" and name == "href" and value)


def _is_data(name: str) -> bool:
    return not name.startswith(".") and not name.endswith(_PROVENANCE)


@dataclass
class WindowOrigin:
    """An origin that brings windows: as the origin behind it, but for `fetch`.

    Attributes:
        behind: where the whole rasters are.
        deliver: cuts a window; takes the origin behind, and the arguments of `fetch`.
    """

    behind: Origin
    deliver: Callable[[Origin, Remote, Path, SourceObject | None], Delivery | Unchanged | Missing]

    def __post_init__(self) -> None:
        self.name = self.behind.name
        self.is_live = self.behind.is_live

    def names(self, provider: str, folder: str = "") -> list[str]:
        """As the origin behind."""
        return self.behind.names(provider, folder)

    def fetch(self, remote: Remote, target: Path, known: SourceObject | None) -> Delivery | Unchanged | Missing:
        """Bring the window, or the whole file where no window is asked for."""
        return self.deliver(self.behind, remote, target, known)
