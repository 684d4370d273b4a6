"""How bytes come over HTTP: retries, resumed and conditional downloads, and credentials that stay where they belong.

Here: one client for everything that is a plain GET. Not here: which files to ask for (the providers' modules), the
Climate Data Store's jobs (`cds`), what is in a file (`verify` of the providers' modules).

Rules that hold for every request:

- 408, 429, 5xx, broken connections and truncated bodies are tried again, a bounded number of times, with growing
  pauses or the pause that the server asks for; then it is an `UnavailableError`. A server that cannot be reached at
  all is tried twice only: without a network, a build says so within seconds. A server that is down is never taken for
  "nothing there": only 404 and 410 are.
- No query string, user name or password of a URL ends in an exception or in a `Delivery`, and the texts of
  `requests`, which quote URLs, are not passed on.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
from requests.utils import get_netrc_auth

from arctic_assets.errors import SourceError, TimeUpError, UnavailableError
from arctic_assets.sources.base import Account, Delivery, Missing, SourceObject, Unchanged

EARTHDATA_HOSTS = ("earthdata.nasa.gov", "nsidc.org")
"""Domains that get the Earthdata token: the login server and the archive of RGI 7."""

EARTHDATA = Account(
    name="NASA Earthdata Login",
    register="https://urs.earthdata.nasa.gov/users/new",
    key="a user token in the environment variable EARTHDATA_TOKEN, or a line 'machine urs.earthdata.nasa.gov"
    " login <name> password <password>' in ~/.netrc",
    is_set=lambda: bool(_earthdata_token() or get_netrc_auth("https://urs.earthdata.nasa.gov")),
)

T = TypeVar("T")
_CHUNK_BYTES = 1 << 16  # of a transfer that breaks off, up to one chunk is lost
RETRIED = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses that may pass."""
_GONE = frozenset({404, 410})


class Page(NamedTuple):
    """A text that came from the web: its address after redirects, its body, its media type."""

    url: str
    text: str
    media_type: str


class Marks(NamedTuple):
    """What a server or file system says of a file's version; None where it says nothing.

    Attributes:
        etag: HTTP's ETag.
        last_modified: HTTP's Last-Modified, or the date of a file.
        size: bytes of the whole file.
        media_type: what the server says the content is: `text/html` is a page about a file, never the file.
    """

    etag: str | None
    last_modified: str | None
    size: int | None = None
    media_type: str | None = None


class TryAgain(Exception):
    """A failure that may pass: why, the pause the server asks for, and after how many attempts it will not."""

    def __init__(self, why: str, pause_s: float | None = None, at_most: int | None = None) -> None:
        self.why = why
        self.pause_s = pause_s
        self.at_most = at_most


@dataclass
class Client:
    """GET with retries.

    Attributes:
        attempts: how often a request is tried in all.
        pause_s: pause before the second attempt; it doubles from one to the next.
        longest_pause_s: no single pause is longer; a server that asks for more ends the attempts.
        timeout_s: for connecting, and for each wait for bytes.
        token_hosts: domains that get the Earthdata token.
        sleep: how to wait.
        until: no attempt begins after this time of `time.monotonic`.
    """

    attempts: int = 5
    pause_s: float = 1.0
    longest_pause_s: float = 120.0
    timeout_s: tuple[float, float] = (15.0, 60.0)
    token_hosts: tuple[str, ...] = EARTHDATA_HOSTS
    sleep: Callable[[float], None] = time.sleep
    until: float = math.inf
    _session: requests.Session = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._session = _Session(self.token_hosts)

    def page(self, url: str) -> Page | None:
        """Read a text (a directory page, JSON); None when the server says that there is none (404, 410).

        Raises:
            SourceError: the server cannot be reached or answers with an error.
        """

        def once() -> Page | None:
            with self._get(url, {}) as response:
                if response.status_code in _GONE:
                    return None
                _expect(response, {200}, url, None)
                return Page(response.url, response.text, _media_type(response))

        return self.persist(once, url)

    def marks(self, url: str) -> Marks | None:
        """The marks of a file, without fetching it; None when the server says that there is none (404, 410).

        Asks for one byte, which also servers answer that refuse HEAD.

        Raises:
            SourceError: the server cannot be reached or answers with an error.
        """

        def once() -> Marks | None:
            with self._get(url, {"Range": "bytes=0-0", "Accept-Encoding": "identity"}) as response:
                if response.status_code in _GONE:
                    return None
                self._expect_part(response, url)
                validators = response.headers.get("ETag"), response.headers.get("Last-Modified")
                return Marks(*validators, _whole_size(response), _media_type(response))

        return self.persist(once, url)

    def _expect_part(self, response: requests.Response, url: str) -> None:
        _expect(response, {200, 206}, url, None)

    def download(
        self, url: str, target: Path, known: SourceObject | None = None, account: Account | None = None
    ) -> Delivery | Unchanged | Missing:
        """Bring a file to `target`.

        A part of an earlier attempt is continued when the server confirms that it is of the same version (If-Range);
        for that, `<target>.resume` keeps the ETag or date of the version until the file is whole.

        Args:
            url: where it is.
            target: file to write.
            known: the version we hold; asked for conditionally when it came from the same URL.
            account: what the provider wants, named when it refuses us.

        Raises:
            SourceError: the server cannot be reached, refuses us, or does not bring the file to its end. What came
                stays in `target` for the next try.
        """
        return self.persist(lambda: self._download(url, target, known, account), url)

    def _download(
        self, url: str, target: Path, known: SourceObject | None, account: Account | None
    ) -> Delivery | Unchanged | Missing:
        part = Part(target, public_url(url))
        headers = {"Accept-Encoding": "identity"}  # else Content-Length and Range speak of compressed bytes
        if part.validator:
            headers |= {"Range": f"bytes={part.size}-", "If-Range": part.validator}
        elif known and known.url == part.url:
            if known.etag:
                headers["If-None-Match"] = known.etag
            elif known.last_modified:
                headers["If-Modified-Since"] = known.last_modified
        with self._get(url, headers) as response:
            if response.status_code in _GONE:
                return Missing(f"{part.url} does not exist (HTTP {response.status_code})", what=part.url)
            if response.status_code == 304 and known and not part.validator:
                return Unchanged()
            if response.status_code == 416 and part.validator:
                part.discard()
                raise TryAgain("the server does not continue the part that we hold")
            _expect(response, {200, 206} if part.validator else {200}, url, account)
            marks = response.headers.get("ETag"), response.headers.get("Last-Modified")
            if response.status_code == 206:
                total: int | None = part.total(response.headers.get("Content-Range", ""), *marks)
            else:
                part.begin(*marks)
                length = response.headers.get("Content-Length")
                total = None if length is None else int(length)
            with target.open("ab") as stream:
                for chunk in response.iter_content(_CHUNK_BYTES):
                    stream.write(chunk)
            if total is not None and part.size != total:
                raise TryAgain(f"the transfer ended after {part.size} of {total} bytes")
            part.close()
            return Delivery(part.url, part.etag, part.last_modified, expected_bytes=total)

    def persist(self, once: Callable[[], T], url: str) -> T:
        """Try until it succeeds, as often as this client has patience.

        Args:
            once: one attempt; raises `TryAgain` or an error of requests when another one may succeed.
            url: what is asked, for the message.

        Raises:
            UnavailableError: the attempts are used up.
            SourceError: other attempts would not help.
            TimeUpError: the time of this client is up.
        """
        attempt = 1
        while True:
            if time.monotonic() > self.until:
                raise TimeUpError(
                    "the time for looking is up",
                    where=public_url(url),
                    expected="an answer within the time of a look",
                    got="none yet",
                    todo="nothing: the next look goes on here",
                )
            failure: TryAgain
            try:
                return once()
            except TryAgain as error:
                failure = error
            except requests.RequestException as error:
                failure = _failure(error)
            # Raised out here, a SourceError has no context: the texts of requests quote whole URLs.
            pause_s = min(self.pause_s * 2 ** (attempt - 1), self.longest_pause_s)
            if failure.pause_s is not None:
                pause_s = failure.pause_s
            attempts = min(self.attempts, failure.at_most or self.attempts)
            if attempt >= attempts or pause_s > self.longest_pause_s:
                kind = SourceError if failure.at_most == 1 else UnavailableError
                raise kind(
                    "a provider cannot be reached or breaks off",
                    where=public_url(url),
                    expected="a whole answer",
                    got=f"{failure.why} (attempt {attempt} of {attempts})",
                    todo="check the address and run again later; what has come is kept and continued",
                )
            self.sleep(pause_s)
            attempt += 1

    def _get(self, url: str, headers: dict[str, str]) -> requests.Response:
        response = self._session.get(url, headers=headers, stream=True, timeout=self.timeout_s)
        if response.status_code in RETRIED:
            response.close()
            pause_s = _retry_after(response.headers.get("Retry-After"))
            asks = "" if pause_s is None else f", asks to come back in {pause_s:.0f} s"
            raise TryAgain(f"HTTP {response.status_code}{asks}", pause_s)
        return response


class _Session(requests.Session):
    """Gives the Earthdata token to Earthdata's hosts and to no other, also when it is redirected."""

    def __init__(self, token_hosts: tuple[str, ...]) -> None:
        super().__init__()
        self._token_hosts = token_hosts

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        prepared = super().prepare_request(request)
        self._add_token(prepared)
        return prepared

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        # takes credentials off when the host changes
        super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]
        self._add_token(prepared_request)

    def _add_token(self, prepared: requests.PreparedRequest) -> None:
        host = urlsplit(prepared.url or "").hostname or ""
        token = _earthdata_token()
        if token and any(host == known or host.endswith(f".{known}") for known in self._token_hosts):
            prepared.headers["Authorization"] = f"Bearer {token}"


class Part:
    """A file that is on its way, and beside it (`<name>.resume`) of which version it is a part.

    Attributes:
        url: public address.
        etag: of the version that is on its way.
        last_modified: of the same.
    """

    def __init__(self, target: Path, url: str) -> None:
        self.url = url
        self.etag: str | None = None
        self.last_modified: str | None = None
        self._target = target
        self._note = target.with_name(f"{target.name}.resume")
        if self._note.is_file() and target.is_file():
            try:
                note = json.loads(self._note.read_text())
                if note["url"] == url:
                    self.etag, self.last_modified = note["etag"], note["last_modified"]
            except (ValueError, KeyError, TypeError):
                self.discard()

    @property
    def size(self) -> int:
        """Bytes that are there."""
        return self._target.stat().st_size if self._target.is_file() else 0

    @property
    def validator(self) -> str | None:
        """What `If-Range` takes; None when there is nothing that could be continued. Weak ETags do not serve."""
        if not self.size:
            return None
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def begin(self, etag: str | None, last_modified: str | None) -> None:
        """Start from the first byte."""
        self.discard()
        self.etag, self.last_modified = etag, last_modified
        self._target.touch()
        self._note.write_text(json.dumps({"url": self.url, "etag": etag, "last_modified": last_modified}))

    def total(self, content_range: str, etag: str | None, last_modified: str | None) -> int:
        """Length of the whole file; checks that the answer continues this part of this version."""
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", content_range)
        pairs = [(etag, self.etag), (last_modified, self.last_modified)]
        is_other = any(new and old and new != old for new, old in pairs)
        if not match or int(match[1]) != self.size or is_other:
            self.discard()
            raise TryAgain("the server continued with other bytes than were asked for")
        return int(match[2])

    def discard(self) -> None:
        """Forget what has come."""
        self._target.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)
        self.etag = self.last_modified = None

    def close(self) -> None:
        """The file is whole."""
        self._note.unlink(missing_ok=True)


def public_url(url: str) -> str:
    """The URL without user, password, query and fragment: what may be shown and kept."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _earthdata_token() -> str | None:
    return os.environ.get("EARTHDATA_TOKEN") or None


def _expect(response: requests.Response, statuses: set[int], url: str, account: Account | None) -> None:
    code = response.status_code
    if code in statuses:
        return
    if code not in (401, 403):
        raise _unusable(url, f"HTTP {code}")
    todo = "ask the owner of this address for access"
    if account:
        todo = f"the account is {account.name} ({account.register}); renew its key: {account.key}"
    raise SourceError(
        "a provider refuses us",
        where=public_url(url),
        expected=f"a file; it takes a valid key of {account.name}" if account else "a file that anybody may have",
        got=f"HTTP {code}",
        todo=todo,
    )


def _unusable(url: str, got: str) -> SourceError:
    return SourceError(
        "a provider answers wrongly",
        where=public_url(url),
        expected="HTTP 200 and a file",
        got=got,
        todo="open the address in a browser; if it has moved, tell the maintainers",
    )


def _media_type(response: requests.Response) -> str:
    return response.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _whole_size(response: requests.Response) -> int | None:
    """Bytes of the file of which a part was asked for."""
    if response.status_code == 206:
        text = response.headers.get("Content-Range", "").rpartition("/")[2]
    else:
        text = response.headers.get("Content-Length", "")
    return int(text) if text.isdigit() else None


def _retry_after(value: str | None) -> float | None:
    """Seconds that a `Retry-After` asks for: a number or a date."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        then = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (then - dt.datetime.now(dt.UTC)).total_seconds())


def _failure(error: requests.RequestException) -> TryAgain:
    """What went wrong in words that quote no URL: those of the operating system, or the kind of the error."""
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    at_most = None
    if isinstance(error, requests.exceptions.SSLError) or not isinstance(error, passing):
        at_most = 1
    elif is_unreachable(error):
        at_most = 2
    told = (cause.strerror for cause in _causes(error) if isinstance(cause, OSError) and cause.strerror)
    return TryAgain(next(told, type(error).__name__), at_most=at_most)


def is_unreachable(error: requests.RequestException) -> bool:
    """Whether no connection came about: the name is not known, nobody listens, or nobody answers."""
    never = (socket.gaierror, ConnectionRefusedError, requests.ConnectTimeout)
    return any(isinstance(cause, never) for cause in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error:
        yield error
        error = error.__cause__ or error.__context__
