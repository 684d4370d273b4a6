"""A server of files as providers and mirrors have them, whose answers break on demand.

Faults are functions `(request, response) -> response` in a queue per path: each request of that path takes the next
one, and when none is left the answers are whole again.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections import defaultdict, deque
from collections.abc import Callable
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from urllib.parse import quote

from arctic_assets_tests.testkit.base import LoopbackServer, Request, Response

Fault = Callable[[Request, Response], Response]


def status(code: int, **headers: str) -> Fault:
    """An error in place of the file; header names are given with underscores (`Retry_After="7"`)."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, response: Response(code, b"broken on demand", fields)


def cut(after: int) -> Fault:
    """The right headers, but the connection closes after so many bytes of the body."""

    def apply(request: Request, response: Response) -> Response:
        response.cut_after = after
        return response

    return apply


def stated_length(length: int) -> Fault:
    """A Content-Length that is not the file's."""

    def apply(request: Request, response: Response) -> Response:
        response.stated_length = length
        return response

    return apply


def page(text: str = "<!DOCTYPE html><html><title>Please log in</title></html>") -> Fault:
    """An HTML page with status 200 in place of the file."""
    return lambda request, response: Response(200, text.encode(), {"Content-Type": "text/html"})


def then(fault: Fault, action: Callable[[], object]) -> Fault:
    """A fault after which something happens at the server: the file is replaced, for instance."""

    def apply(request: Request, response: Response) -> Response:
        response = fault(request, response)
        action()
        return response

    return apply


class StaticServer(LoopbackServer):
    """Files below `root` over HTTP, with Range, If-Range, conditional GET, HEAD and directory pages.

    Args:
        root: directory that is served as `/`.
        has_validators: send ETag (content hash) and Last-Modified.
        has_ranges: understand Range.
    """

    def __init__(self, root: Path, *, has_validators: bool = True, has_ranges: bool = True) -> None:
        super().__init__()
        self.root = root
        self.has_validators = has_validators
        self.has_ranges = has_ranges
        self.faults: dict[str, deque[Fault]] = defaultdict(deque)
        self._redirects: dict[str, str] = {}
        self._logins: list[tuple[str, str, str]] = []

    def break_path(self, path: str, *faults: Fault) -> None:
        """Queue faults for a path (`/rgi7/x.zip`)."""
        self.faults[path].extend(faults)

    def redirect(self, path: str, to: str) -> None:
        """Answer a path with 302 to another one or to a whole URL."""
        self._redirects[path] = to

    def require_login(self, prefix: str, token: str, login_url: str) -> None:
        """Send who comes without `Authorization: Bearer <token>` from below `prefix` to a login page (302)."""
        self._logins.append((prefix, token, login_url))

    def otherwise(self, request: Request) -> Response:
        """The file or directory page at the path, or 404; then the next fault of the path."""
        response = self._whole(request)
        with self.lock:
            fault = self.faults[request.path].popleft() if self.faults[request.path] else None
        return fault(request, response) if fault else response

    def _whole(self, request: Request) -> Response:
        for prefix, token, login_url in self._logins:
            if request.path.startswith(prefix) and request.headers.get("authorization") != f"Bearer {token}":
                return Response(302, headers={"Location": login_url})
        if to := self._redirects.get(request.path):
            return Response(302, headers={"Location": to})
        path = self.root / request.path.lstrip("/")
        if request.method not in ("GET", "HEAD") or ".." in path.parts:
            return Response(400)
        if path.is_dir():
            if not request.path.endswith("/"):
                return Response(301, headers={"Location": quote(request.path) + "/"})
            return _directory(path)
        return self._file(request, path) if path.is_file() else Response(404, b"not found")

    def _file(self, request: Request, path: Path) -> Response:
        body = path.read_bytes()
        etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        modified = formatdate(path.stat().st_mtime, usegmt=True)
        headers = {"Content-Type": "application/octet-stream"}
        if self.has_ranges:
            headers["Accept-Ranges"] = "bytes"
        if self.has_validators:
            headers |= {"ETag": etag, "Last-Modified": modified}
            if _is_unchanged(request, etag, modified):
                return Response(304, headers=headers)
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if not wanted or not self.has_ranges or request.headers.get("if-range", etag) not in (etag, modified):
            return Response(200, body, headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(body)), len(body) - 1)
        if first > last:
            return Response(416, headers=headers | {"Content-Range": f"bytes */{len(body)}"})
        headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
        return Response(206, body[first : last + 1], headers)


def _is_unchanged(request: Request, etag: str, modified: str) -> bool:
    if "if-none-match" in request.headers:
        return request.headers["if-none-match"] in (etag, "*")
    since = request.headers.get("if-modified-since")
    return since is not None and parsedate_to_datetime(modified) <= parsedate_to_datetime(since)


def _directory(path: Path) -> Response:
    names = sorted(entry.name + "/" * entry.is_dir() for entry in path.iterdir())
    lines = [f'<li><a href="{quote(name)}">{html.escape(name)}</a></li>' for name in names]
    text = f"<!DOCTYPE html><html><body><ul>{''.join(lines)}</ul></body></html>"
    return Response(200, text.encode(), {"Content-Type": "text/html; charset=utf-8"})
