"""A server of files as providers and mirrors have them: `arctic_assets.mirror_server`, with redirects and a login.

How its answers break on demand is in `faults`, whose words are here too.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

from arctic_assets.mirror_server import Files
from arctic_assets_tests.testkit.base import LoopbackServer, Request, Response
from arctic_assets_tests.testkit.faults import Fault, cut, page, stated_length, status, then

__all__ = ["Fault", "LoginServer", "StaticServer", "cut", "page", "stated_length", "status", "then"]

_COOKIE = "session=open"


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
        self.files = Files(root, has_validators=has_validators, has_ranges=has_ranges)
        self._redirects: dict[str, str] = {}
        self._logins: list[tuple[str, str, str]] = []

    def redirect(self, path: str, to: str) -> None:
        """Answer a path with 302 to another one or to a whole URL."""
        self._redirects[path] = to

    def require_login(self, prefix: str, token: str, login_url: str) -> None:
        """Send who comes from below `prefix` without a key to a login page (302).

        A key is `Authorization: Bearer <token>`, or the cookie that `/oauth?state=<path>` of this server gives: there a
        login server sends people back to.
        """
        self._logins.append((prefix, token, login_url))

    def otherwise(self, request: Request) -> Response:
        """The file or directory page at the path, or 404."""
        if self._logins and request.path == "/oauth":
            back = {"Location": quote(request.query["state"][0]), "Set-Cookie": f"{_COOKIE}; Path=/"}
            return Response(302, headers=back)
        for prefix, token, login_url in self._logins:
            is_known = request.headers.get("authorization") == f"Bearer {token}"
            is_known |= _COOKIE in request.headers.get("cookie", "")
            if request.path.startswith(prefix) and not is_known:
                return Response(302, headers={"Location": f"{login_url}?state={quote(request.path)}"})
        if to := self._redirects.get(request.path):
            return Response(302, headers={"Location": to})
        found = self.files.answer(request)
        body = found.body if isinstance(found.body, bytes) else b"".join(found.body.chunks())
        return Response(found.status, body, found.headers)


class LoginServer(LoopbackServer):
    """Earthdata Login, as far as downloads meet it: knows names and passwords, and sends back who is known.

    Attributes:
        archive_url: the server whose login this is, set by the test.
        known: values of the header `Authorization` that are accepted.
    """

    def __init__(self, known: set[str]) -> None:
        super().__init__()
        self.archive_url = ""
        self.known = known
        self.route("GET", "/oauth/authorize", self._authorize)

    def _authorize(self, request: Request, match: object) -> Response:
        given = request.headers.get("authorization")
        if given is None:
            return page()(request, Response())
        if given not in self.known:
            return Response(401, b"HTTP Basic: Access denied", {"WWW-Authenticate": "Basic"})
        state = quote(request.query["state"][0])
        return Response(302, headers={"Location": f"{self.archive_url}/oauth?code=once&state={state}"})
