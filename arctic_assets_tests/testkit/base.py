"""A small HTTP server on the loopback interface: routes, a log of what was asked, answers that can break.

Servers that speak a provider's protocol (`server.StaticServer`, `stac`, the Climate Data Store) extend
`LoopbackServer`: they add routes in their constructor or override `otherwise`. What belongs to one protocol only does
not belong here; what can break is in `faults`.
"""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from arctic_assets import mirror_server


@dataclass(frozen=True)
class Request(mirror_server.Request):
    """What a client asked. `path` is decoded and without the query; header names are lower case."""

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Response(mirror_server.Response):
    """What goes back.

    Attributes:
        status: HTTP status.
        body: the bytes; also given for HEAD, where only their length is sent.
        headers: besides Content-Length, which the server adds.
        stated_length: Content-Length to state instead of the true one.
        has_length: state a Content-Length; else the body ends with the connection.
        cut_after: close the connection after so many bytes of the body.
        silent_s: wait so long before the first byte.
        stalled_s: wait so long after the last byte that is sent, before the connection closes.
        is_closed: close the connection before the first byte.
    """

    body: bytes = b""
    stated_length: int | None = None
    has_length: bool = True
    cut_after: int | None = None
    silent_s: float = 0.0
    stalled_s: float = 0.0
    is_closed: bool = False

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
Fault = Callable[[Request, Response], Response]


class LoopbackServer(mirror_server.Server):
    """HTTP/1.1 on 127.0.0.1 and a free port, one thread per connection, as a context manager.

    Attributes:
        log: every exchange, in the order in which it was finished.
        faults: what is queued to go wrong, by path.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: list[Exchange] = []
        self.lock = threading.RLock()
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._always: list[tuple[re.Pattern[str], Fault]] = []
        self._ends = threading.Event()
        self._routes: list[tuple[str, re.Pattern[str], Route]] = []

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

    def break_path(self, path: str, *faults: Fault) -> None:
        """Queue faults for a path (`/rgi7/x.zip`)."""
        with self.lock:
            self.faults[path].extend(faults)

    def break_always(self, pattern: str, fault: Fault) -> None:
        """Put a fault on every answer whose whole path matches `pattern`, until `heal`."""
        with self.lock:
            self._always.append((re.compile(pattern), fault))

    def heal(self) -> None:
        """From now on all answers are whole."""
        with self.lock:
            self.faults.clear()
            self._always.clear()

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

    def reply(self, handler: mirror_server.Handler, request: mirror_server.Request) -> None:
        """Answer a request as it should be, or as it is broken."""
        asked = Request(**vars(request))
        response = self._spoilt(asked, self.answer(asked))
        has_body = asked.method != "HEAD" and response.status not in (204, 304)
        sent = response.body[: response.cut_after] if has_body and not response.is_closed else b""
        with self.lock:  # before the answer leaves: a client that has it finds it in the log
            self.log.append(Exchange(asked, response.status, len(sent)))
        if response.silent_s:
            self._ends.wait(response.silent_s)
        if response.is_closed:
            handler.hang_up()
            return
        length = len(response.body) if response.stated_length is None else response.stated_length
        handler.begin(response, length if response.has_length else None)
        handler.wfile.write(sent)
        if has_body and (len(sent) != length or not response.has_length):
            handler.wfile.flush()
            if response.stalled_s:
                self._ends.wait(response.stalled_s)
            handler.hang_up()

    def _spoilt(self, request: Request, response: Response) -> Response:
        with self.lock:
            queue = self.faults.get(request.path)
            faults = [queue.popleft()] if queue else []
            faults += [fault for pattern, fault in self._always if pattern.fullmatch(request.path)]
        for fault in faults:
            response = fault(request, response)
        return response

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()  # who is silent or stalls must not hold the end
        super().__exit__(kind, error, trace)
        self._ends.clear()
