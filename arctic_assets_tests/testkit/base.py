"""A small HTTP server on the loopback interface: routes, a log of what was asked, answers that can break.

Servers that speak a provider's protocol (`server.StaticServer`, the Climate Data Store) extend `LoopbackServer`: they
add routes in their constructor or override `otherwise`. What belongs to one protocol only does not belong here.
"""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """What a client asked. `path` is decoded and without the query; header names are lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Response:
    """What goes back.

    Attributes:
        status: HTTP status.
        body: the bytes; also given for HEAD, where only their length is sent.
        headers: besides Content-Length, which the server adds.
        stated_length: Content-Length to state instead of the true one.
        cut_after: close the connection after so many bytes of the body.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    stated_length: int | None = None
    cut_after: int | None = None

    @classmethod
    def of_json(cls, content: object, status: int = 200, **headers: str) -> Response:
        """A JSON answer; header names are given with underscores (`Retry_After`)."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        return cls(status, json.dumps(content).encode(), {"Content-Type": "application/json", **fields})


@dataclass(frozen=True)
class Exchange:
    """One line of the log: the request, the status of the answer, the bytes of body that were sent."""

    request: Request
    status: int
    sent: int


Route = Callable[[Request, re.Match[str]], Response]


class LoopbackServer:
    """HTTP/1.1 on 127.0.0.1 and a free port, one thread per connection, as a context manager.

    Attributes:
        log: every exchange, in the order in which it was finished.
    """

    def __init__(self) -> None:
        self.log: list[Exchange] = []
        self.lock = threading.RLock()
        self._routes: list[tuple[str, re.Pattern[str], Route]] = []
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None

    def route(self, method: str, pattern: str, handler: Route) -> None:
        """Answer requests whose whole path matches `pattern` (a regular expression); the first route wins."""
        self._routes.append((method, re.compile(pattern), handler))

    def answer(self, request: Request) -> Response:
        """The answer of the first route that matches, else `otherwise`."""
        for method, pattern, handler in self._routes:
            if request.method == method and (match := pattern.fullmatch(request.path)):
                return handler(request, match)
        return self.otherwise(request)

    def otherwise(self, request: Request) -> Response:
        """The answer when no route matches: 404, unless a server knows better."""
        return Response(404, b"not found")

    @property
    def url(self) -> str:
        """Base URL without a trailing slash."""
        assert self._http is not None, "the server runs inside `with` only"
        return f"http://127.0.0.1:{self._http.server_port}"

    def count(self, method: str | None = None, path: str | None = None, status: int | None = None) -> int:
        """How many exchanges had this method, path and status (None: any)."""
        with self.lock:
            return sum(
                method in (None, e.request.method) and path in (None, e.request.path) and status in (None, e.status)
                for e in self.log
            )

    @property
    def bytes_sent(self) -> int:
        """Bytes of all bodies that were sent."""
        with self.lock:
            return sum(e.sent for e in self.log)

    def __enter__(self) -> Self:
        self._http = _Http(self)
        self._thread = threading.Thread(
            target=self._http.serve_forever,
            kwargs={"poll_interval": 0.02},
            name=type(self).__name__,
            daemon=True,
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


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # kept-alive connections of a client would hold the end of the test

    def __init__(self, loopback: LoopbackServer) -> None:
        self.loopback = loopback
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests, not worth a traceback."""


class _Handler(BaseHTTPRequestHandler):
    server: _Http
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=unquote(parts.path),
            query=parse_qs(parts.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )
        response = self.server.loopback.answer(request)
        has_body = self.command != "HEAD" and response.status not in (204, 304)
        body = response.body if has_body else b""
        sent = body if response.cut_after is None else body[: response.cut_after]
        with self.server.loopback.lock:  # before the answer leaves: a client that has it finds it in the log
            self.server.loopback.log.append(Exchange(request, response.status, len(sent)))
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        length = len(response.body) if response.stated_length is None else response.stated_length
        if response.status not in (204, 304):
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(sent)
        if len(sent) != length and has_body:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

    def log_message(self, format: str, *args: Any) -> None:
        """The log is `LoopbackServer.log`."""
