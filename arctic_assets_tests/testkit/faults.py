"""What can go wrong on the way from a provider: one vocabulary for all servers of the kit.

A fault is a function `(request, response) -> response` that spoils an answer. `LoopbackServer.break_path` queues faults
for a path (each request of it takes the next one; when none is left, the answers are whole again), `break_always` puts
one on all paths that match, until `heal`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from arctic_assets_tests.testkit.base import Fault, Request, Response

__all__ = ["Fault", "closed", "cut", "none", "page", "silence", "stall", "stated_length", "status", "then", "unmarked"]


def none() -> Fault:
    """The whole answer: a place in the queue, or something for `then`."""
    return lambda request, response: response


def status(code: int, **headers: str) -> Fault:
    """An error in place of the file; header names are given with underscores (`Retry_After="7"`)."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, response: Response(code, b"broken on demand", fields)


def page(text: str = "<!DOCTYPE html><html><title>Please log in</title></html>") -> Fault:
    """An HTML page with status 200 in place of the file."""
    return lambda request, response: Response(200, text.encode(), {"Content-Type": "text/html"})


def silence(seconds: float = 30.0) -> Fault:
    """The answer comes only after so long, or when the server ends: longer than the client has patience."""
    return lambda request, response: replace(response, silent_s=seconds)


def closed() -> Fault:
    """The connection closes before the first byte."""
    return lambda request, response: replace(response, is_closed=True)


def cut(after: int) -> Fault:
    """The right headers, but the connection closes after so many bytes of the body."""
    return lambda request, response: replace(response, cut_after=after)


def stall(after: int, seconds: float = 30.0) -> Fault:
    """The right headers, but nothing comes after so many bytes of the body, and the connection stays open."""
    return lambda request, response: replace(response, cut_after=after, stalled_s=seconds)


def unmarked(after: int) -> Fault:
    """So many bytes of the body and no Content-Length: nothing tells that this is not all."""
    return lambda request, response: replace(response, cut_after=after, has_length=False)


def stated_length(length: int) -> Fault:
    """A Content-Length that is not the file's."""
    return lambda request, response: replace(response, stated_length=length)


def then(fault: Fault, action: Callable[[], object]) -> Fault:
    """A fault with which something happens at the server: the file is replaced after this answer, for instance."""

    def apply(request: Request, response: Response) -> Response:
        response = fault(request, response)
        action()
        return response

    return apply
