"""A mirror over HTTP: a directory of providers' files for other machines, `arctic-assets serve-mirror <dir>`.

What its clients need and Python's own `http.server` lacks: ranges (GDAL reads windows of large rasters by them),
resumed and conditional downloads. Files are streamed, never held in memory. Only reading; no TLS, no accounts: for
the machine itself or a network that is trusted.

What is served:

- every file below the root whose path has no part that begins with a dot: unfinished downloads, locks and superseded
  versions of an archive are none of a mirror's files, nor is what else hides in a directory. An archive is itself a
  valid mirror; its `.source.json` files are served too: they say licence and citation of the file beside them, hold
  no secret, and a build from this mirror passes over them;
- nothing outside of the root: a link that leads out of it is refused with 403 and the reason. It is not hidden: a
  provider's folder that is a link would otherwise look like an empty one, and all its data like a gap.

The test kit's servers are made of the same parts.
"""

from __future__ import annotations

import hashlib
import html
import logging
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

from arctic_assets.errors import SettingsError

PORT = 8000
_CHUNK_BYTES = 1 << 18
_NO_BODY = (204, 304)

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What a client asked. `path` is decoded and without the query; header names are lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class FilePart:
    """Bytes of a file that are read while they are sent.

    Attributes:
        path: the file.
        first: offset of the first byte.
        length: number of bytes.
        version: that the file had when the headers were written. If it has another one since, nothing is sent: the
            client sees a transfer that breaks off, and asks again.
    """

    path: Path
    first: int
    length: int
    version: tuple[int, ...]

    def __len__(self) -> int:
        return self.length

    def chunks(self) -> Iterator[bytes]:
        """The bytes, some at a time."""
        with self.path.open("rb") as stream:
            if _version(os.fstat(stream.fileno())) != self.version:
                return
            stream.seek(self.first)
            left = self.length
            while left and (chunk := stream.read(min(left, _CHUNK_BYTES))):
                left -= len(chunk)
                yield chunk


@dataclass
class Response:
    """What goes back.

    Attributes:
        status: HTTP status.
        body: the bytes; also given for HEAD, where only their length is sent.
        headers: besides Content-Length, which the server adds.
    """

    status: int = 200
    body: bytes | FilePart = b""
    headers: dict[str, str] = field(default_factory=dict)


class Server:
    """HTTP/1.1, one thread per connection, as a context manager. A subclass says what is answered.

    Args:
        host: address to listen at.
        port: 0 takes a free one.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self._place = host, port
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None

    def reply(self, handler: Handler, request: Request) -> None:
        """Answer a request on its connection."""
        raise NotImplementedError

    @property
    def url(self) -> str:
        """Base URL without a trailing slash."""
        assert self._http is not None, "the server runs inside `with` only"
        host = self._place[0]
        if host in ("0.0.0.0", "::"):
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self._http.server_port}"

    def wait(self) -> None:
        """Until somebody presses Ctrl-C."""
        assert self._thread is not None
        self._thread.join()

    def __enter__(self) -> Self:
        host, port = self._place
        try:
            self._http = _Http(self, host, port)
        except (OSError, OverflowError) as error:
            raise SettingsError(
                "the server cannot listen there",
                where=f"--host {host} --port {port}",
                expected="an address of this machine and a port that is free (0: any)",
                got=getattr(error, "strerror", None) or error,
                todo="choose another port, or end the program that has it",
            ) from error
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name=type(self).__name__, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._http is not None and self._thread is not None
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()
        self._http = self._thread = None


class MirrorServer(Server):
    """The files below a directory; each request is a line of the log.

    Args:
        root: a mirror: a directory with one folder per provider.
        host: address to listen at; others than 127.0.0.1 let other machines in.
        port: 0 takes a free one.
    """

    def __init__(self, root: Path, host: str = "127.0.0.1", port: int = PORT) -> None:
        super().__init__(host, port)
        self.files = Files(root)

    def reply(self, handler: Handler, request: Request) -> None:
        """Send a file, a part of it, or a directory page."""
        response = self.files.answer(request)
        part = request.headers.get("range", "")
        logger.info("%d %s %s %s", response.status, request.method, quote(request.path), part)
        handler.send(request, response)


class Files:
    """What is answered for the files below a directory: ranges, conditions, directory pages.

    Args:
        root: directory that is served as `/`.
        has_validators: send ETag (SHA-256 of the content, computed once per version) and Last-Modified.
        has_ranges: understand Range: one range of bytes, from the front or the end. Several at once get the whole
            file, which the protocol allows.
    """

    def __init__(self, root: Path, *, has_validators: bool = True, has_ranges: bool = True) -> None:
        self.root = root
        self.has_validators = has_validators
        self.has_ranges = has_ranges
        self._etags: dict[Path, tuple[tuple[int, ...], str]] = {}

    def answer(self, request: Request) -> Response:
        """The file or directory page at the path; 404 when there is none, 400, 403 or 405 when it is refused."""
        if request.method not in ("GET", "HEAD"):
            return _text(405, "only GET and HEAD", Allow="GET, HEAD")
        parts = [part for part in request.path.split("/") if part]
        if ".." in parts or "\0" in request.path:
            return _text(400, "not a path of this server")
        if any(part.startswith(".") for part in parts):
            return _text(404, "not found")
        path = self.root.joinpath(*parts)
        try:
            if not path.resolve().is_relative_to(self.root.resolve()):
                return _text(403, "this is a link that leads out of the directory that is served; copy the files")
            if path.is_dir():
                if not request.path.endswith("/"):
                    return Response(301, headers={"Location": quote(f"/{'/'.join(parts)}/")})
                return _page(path, request.path)
            return self._file(request, path) if path.is_file() else _text(404, "not found")
        except FileNotFoundError:  # removed meanwhile
            return _text(404, "not found")
        except (OSError, RuntimeError) as error:  # links in a circle are a RuntimeError up to Python 3.12
            return _text(403, f"cannot be read: {getattr(error, 'strerror', None) or error}")

    def _file(self, request: Request, path: Path) -> Response:
        stat = path.stat()
        version, size = _version(stat), stat.st_size
        with path.open("rb"):  # a file that may not be read is refused, not begun
            pass
        headers = {"Content-Type": "application/octet-stream"}
        marks: list[str] = []
        if self.has_ranges:
            headers["Accept-Ranges"] = "bytes"
        if self.has_validators:
            etag, modified = self._etag(path, version), formatdate(stat.st_mtime, usegmt=True)
            headers |= {"ETag": etag, "Last-Modified": modified}
            marks = [etag, modified]
            if _is_unchanged(request, etag, modified):
                return Response(304, headers=headers)
        wanted = _range(request, size) if self.has_ranges else None
        if wanted is None or request.headers.get("if-range", "") not in ("", *marks):
            return Response(200, FilePart(path, 0, size, version), headers)
        first, last = wanted
        if first > last:
            return Response(416, headers=headers | {"Content-Range": f"bytes */{size}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Response(206, FilePart(path, first, last - first + 1, version), headers)

    def _etag(self, path: Path, version: tuple[int, ...]) -> str:
        known = self._etags.get(path)
        if known is None or known[0] != version:
            with path.open("rb") as stream:
                known = version, f'"{hashlib.file_digest(stream, "sha256").hexdigest()[:20]}"'
            self._etags[path] = known
        return known[1]


class Handler(BaseHTTPRequestHandler):
    """A connection."""

    server: _Http
    protocol_version = "HTTP/1.1"
    server_version = "arctic-assets"
    disable_nagle_algorithm = True
    timeout = 60

    def send(self, request: Request, response: Response) -> None:
        """Write an answer."""
        body = response.body
        self.begin(response, len(body))
        if request.method == "HEAD" or response.status in _NO_BODY:
            return
        sent = 0
        for chunk in [body] if isinstance(body, bytes) else body.chunks():
            self.wfile.write(chunk)
            sent += len(chunk)
        if sent != len(body):
            self.hang_up()

    def begin(self, response: Response, length: int | None) -> None:
        """Write status and headers; without a length the body ends with the connection."""
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
        elif response.status not in _NO_BODY:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def hang_up(self) -> None:
        """Close the connection: what was sent last is not the end of the answer."""
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(parts.path),
            query=parse_qs(parts.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        self.server.owner.reply(self, request)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """The server has its own log."""


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # kept-alive connections of a client would hold the end
    request_queue_size = 128

    def __init__(self, owner: Server, host: str, port: int) -> None:
        self.owner = owner
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Without looking up the machine's name, which can take seconds and is not used."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is its own business, not worth a traceback."""


def _version(stat: os.stat_result) -> tuple[int, ...]:
    """What changes with a file's content."""
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def _range(request: Request, size: int) -> tuple[int, int] | None:
    """First and last byte that are asked for, last before first when there are none; None for the whole file."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", "").replace(" ", ""))
    if not match or match[0] == "bytes=-":
        return None
    if not match[1]:
        return max(size - int(match[2]), 0) if int(match[2]) else size, size - 1
    first, last = int(match[1]), int(match[2] or size - 1)
    if match[2] and last < first:
        return None  # not a range
    return first, min(last, size - 1)


def _is_unchanged(request: Request, etag: str, modified: str) -> bool:
    if "if-none-match" in request.headers:
        known = [one.strip().removeprefix("W/") for one in request.headers["if-none-match"].split(",")]
        return etag in known or "*" in known
    try:
        since = parsedate_to_datetime(request.headers.get("if-modified-since", ""))
    except ValueError:
        return False
    return since.tzinfo is not None and parsedate_to_datetime(modified) <= since


def _page(folder: Path, shown: str) -> Response:
    """A page that links to what is in a directory, as other web servers make them."""
    names = sorted(entry.name + "/" * entry.is_dir() for entry in folder.iterdir() if not entry.name.startswith("."))
    lines = [f'<li><a href="{quote(name)}">{html.escape(name)}</a></li>' for name in names]
    up = "" if shown == "/" else '<li><a href="../">../</a></li>'
    title = f"Index of {html.escape(shown)}"
    head = f'<!DOCTYPE html>\n<html><head><meta charset="utf-8"><title>{title}</title></head>'
    text = "\n".join([head, f"<body><h1>{title}</h1><ul>{up}", *lines, "</ul></body></html>\n"])
    return Response(200, text.encode(), {"Content-Type": "text/html; charset=utf-8"})


def _text(status: int, words: str, **headers: str) -> Response:
    return Response(status, f"{words}\n".encode(), {"Content-Type": "text/plain; charset=utf-8", **headers})
