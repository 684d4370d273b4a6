from __future__ import annotations

import base64
import datetime as dt
import hashlib
import os
import traceback
from email.utils import format_datetime
from pathlib import Path

import pytest

from arctic_assets.errors import SourceError
from arctic_assets.provenance import Account, Delivery, Product, SourceObject, Verified
from arctic_assets.settings import Settings
from arctic_assets.sources.base import Missing, Origin, Remote, Unchanged
from arctic_assets.sources.http import Client, Page, public_url
from arctic_assets.sources.origins import DirectoryOrigin, HttpOrigin, LiveOrigin, names_on_page, open_origin
from arctic_assets.sources.zips import verify_zip
from arctic_assets.storage.archive import Archive
from arctic_assets_tests.testkit import server as faults
from arctic_assets_tests.testkit.base import Request, Response
from arctic_assets_tests.testkit.server import LoginServer, StaticServer

PRODUCT = Product("wgms", "Fluctuations", "1", "open", "cite", "10.1/x", "https://x", "yearly", "a year")
SECRET = "s3cr3t"


def accept(path: Path) -> Verified:
    return Verified(is_synthetic=False)


def remote(path: str = "a/file.zip", url: str | None = None, account: Account | None = None) -> Remote:
    product = Product(**{**PRODUCT.__dict__, "account": account})
    return Remote(product, path, accept, url=url)


def held(delivery: Delivery, content: bytes) -> SourceObject:
    return SourceObject(
        *("wgms/x#1", "wgms", "Fluctuations", "1", delivery.url, hashlib.sha256(content).hexdigest(), len(content)),
        *("2026-01-01", "open", "cite", "a/file.zip", False, delivery.etag, delivery.last_modified),
    )


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    root = tmp_path / "mirror"
    (root / "wgms/a").mkdir(parents=True)
    (root / "wgms/a/file.zip").write_bytes(os.urandom(300_000))
    return root


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / ".file.zip.part"


def client(pauses: list[float] | None = None, **options: object) -> Client:
    return Client(sleep=(pauses if pauses is not None else []).append, **options)  # type: ignore[arg-type]


PATH = "/wgms/a/file.zip"


# --- directory -------------------------------------------------------------------------------------------------


def test_a_directory_delivers_once_and_then_says_unchanged(mirror: Path, target: Path) -> None:
    origin = DirectoryOrigin(mirror)
    source = mirror / "wgms/a/file.zip"
    delivery = origin.fetch(remote(), target, None)
    assert isinstance(delivery, Delivery)
    assert target.read_bytes() == source.read_bytes()
    assert delivery.expected_bytes == 300_000
    known = held(delivery, source.read_bytes())
    assert isinstance(origin.fetch(remote(), target, known), Unchanged)
    os.utime(source, (1, 1))
    assert isinstance(origin.fetch(remote(), target, known), Unchanged), "same bytes under a new date"
    source.write_bytes(b"x" * 300_000)
    assert isinstance(origin.fetch(remote(), target, known), Delivery), "same size, other bytes"
    assert target.read_bytes() == b"x" * 300_000


def test_the_same_date_and_size_in_another_mirror_is_not_the_same_file(tmp_path: Path, target: Path) -> None:
    deliveries: list[Delivery] = []
    for name, content in (("one", b"aaaa"), ("two", b"bbbb")):
        (tmp_path / name / "wgms").mkdir(parents=True)
        (tmp_path / name / "wgms/f.csv").write_bytes(content)
        os.utime(tmp_path / name / "wgms/f.csv", (1000, 1000))
        known = held(deliveries[0], b"aaaa") if deliveries else None
        outcome = DirectoryOrigin(tmp_path / name).fetch(remote("f.csv"), target, known)
        assert isinstance(outcome, Delivery)
        deliveries.append(outcome)
    assert target.read_bytes() == b"bbbb"


def test_what_a_directory_lacks_is_missing_and_named(mirror: Path, target: Path) -> None:
    outcome = DirectoryOrigin(mirror).fetch(remote("a/other.zip"), target, None)
    assert isinstance(outcome, Missing)
    assert "other.zip" in outcome.reason and "wgms/a" in outcome.reason
    outcome = DirectoryOrigin(mirror).fetch(remote("nowhere/other.zip"), target, None)
    assert isinstance(outcome, Missing)
    assert "no folder" in outcome.reason
    assert DirectoryOrigin(mirror).names("era5") == []


def test_a_mirror_that_is_not_there_is_an_error(tmp_path: Path, target: Path) -> None:
    origin = DirectoryOrigin(tmp_path / "unmounted")
    with pytest.raises(SourceError, match="mirror is not there"):
        origin.names("wgms")
    with pytest.raises(SourceError, match="mirror is not there"):
        origin.fetch(remote(), target, None)


def test_a_directory_lists_the_providers_files_only(mirror: Path) -> None:
    for name in ("file.zip.source.json", ".file.zip.part"):
        (mirror / "wgms/a" / name).touch()
    (mirror / "wgms/a/folder").mkdir()
    assert DirectoryOrigin(mirror).names("wgms", "a") == ["file.zip"]


# --- directory pages -------------------------------------------------------------------------------------------

NGINX = """<html><head><title>Index of /m/wgms/</title></head><body><h1>Index of /m/wgms/</h1><hr><pre>
<a href="../">../</a>
<a href="sub/">sub/</a>                    01-Jan-2026 00:00     -
<a href="DOI%20FoG.zip">DOI FoG.zip</a>    01-Jan-2026 00:00  39M
<a href="b.csv">b.csv</a>                  01-Jan-2026 00:00   1K
</pre></body></html>"""
APACHE = """<html><body><table>
<tr><th><a href="?C=N;O=D">Name</a></th><th><a href="?C=M;O=A">Last modified</a></th></tr>
<tr><td><a href="/m/">Parent Directory</a></td></tr><tr><td><a href="sub/">sub/</a></td></tr>
<tr><td><a href="b.csv">b.csv</a></td></tr><tr><td><a href="/m/wgms/DOI%20FoG.zip">DOI FoG.zip</a></td></tr>
<address>Apache/2.4 at <a href="https://example.org/m/wgms/c.csv">example</a></address></table></body></html>"""


@pytest.mark.parametrize("page", [NGINX, APACHE], ids=["nginx", "apache"])
def test_names_on_directory_pages(page: str) -> None:
    assert names_on_page(Page("http://host/m/wgms/", page, "text/html")) == ["DOI FoG.zip", "b.csv"]


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        ("<html><title>Please log in</title><a href='/login'>here</a></html>", "text/html"),
        ("<html><form></form><a href='login?next=/m/wgms/'>log in</a></html>", "text/html"),
        (NGINX[:-20], "text/html"),
        (NGINX, "text/plain"),
        ("", "text/html"),
    ],
    ids=["login", "login_beside", "half", "text", "empty"],
)
def test_another_page_is_no_empty_directory(text: str, media_type: str) -> None:
    with pytest.raises(SourceError, match="no page of its directory"):
        names_on_page(Page("http://host/m/wgms/", text, media_type))


def test_empty_directories(mirror: Path) -> None:
    (mirror / "era5").mkdir()
    with StaticServer(mirror) as server:
        assert HttpOrigin(server.url, client()).names("era5") == []
        server.redirect("/moved/era5/", f"{server.url}/era5/")
        assert HttpOrigin(f"{server.url}/moved", client()).names("era5") == []
        server.redirect("/rgi7/", "/wgms/")
        with pytest.raises(SourceError, match="no page of its directory"):
            HttpOrigin(server.url, client()).names("rgi7")
    python = "<html><head><title>Directory listing for /m/</title></head><body><ul></ul></body></html>"
    assert names_on_page(Page("http://host/m/", python, "text/html")) == []


def test_names_over_http(mirror: Path) -> None:
    (mirror / "wgms/a/a name & more.csv").touch()
    (mirror / "wgms/a/file.zip.source.json").touch()
    with StaticServer(mirror) as server:
        origin = HttpOrigin(server.url + "/", client())
        assert origin.names("wgms", "a") == ["a name & more.csv", "file.zip"]
        assert origin.names("wgms") == []
        assert origin.names("era5") == [], "404 is an empty folder"
        server.route("GET", "/json/", lambda request, match: Response.of_json([]))
        with pytest.raises(SourceError, match="no page of its directory"):
            origin.names("json")
        server.break_path("/rgi7/", *[faults.status(500)] * 5)
        with pytest.raises(SourceError, match="HTTP 500"):
            origin.names("rgi7")
        url = server.url
    with pytest.raises(SourceError, match="Connection refused"):
        HttpOrigin(url, client()).names("wgms")


# --- downloads -------------------------------------------------------------------------------------------------


def test_a_download_carries_the_marks_of_its_version_and_the_next_is_conditional(mirror: Path, target: Path) -> None:
    content = (mirror / "wgms/a/file.zip").read_bytes()
    with StaticServer(mirror) as server:
        origin = HttpOrigin(server.url, client())
        delivery = origin.fetch(remote(), target, None)
        assert isinstance(delivery, Delivery)
        assert target.read_bytes() == content
        assert delivery.url == server.url + PATH
        assert delivery.expected_bytes == len(content)
        assert delivery.etag and delivery.last_modified
        assert [p.name for p in target.parent.glob("*.resume")] == []
        target.unlink()
        known = held(delivery, content)
        assert isinstance(origin.fetch(remote(), target, known), Unchanged)
        without_etag = SourceObject(**{**known.__dict__, "etag": None})
        assert isinstance(origin.fetch(remote(), target, without_etag), Unchanged)
        assert server.count(status=304) == 2
        elsewhere = SourceObject(**{**known.__dict__, "url": "http://other/wgms/a/file.zip"})
        assert isinstance(origin.fetch(remote(), target, elsewhere), Delivery), "the marks of another server"
        target.unlink()
        (mirror / "wgms/a/file.zip").write_bytes(b"new")
        assert isinstance(origin.fetch(remote(), target, known), Delivery)
        assert target.read_bytes() == b"new"


@pytest.mark.parametrize("code", [404, 410])
def test_what_a_server_does_not_have_is_missing_and_named(mirror: Path, target: Path, code: int) -> None:
    with StaticServer(mirror) as server:
        server.break_path("/wgms/none.zip", *[faults.status(code)] * 2)
        outcome = HttpOrigin(server.url, client()).fetch(remote("none.zip"), target, None)
        assert isinstance(outcome, Missing)
        assert "wgms/none.zip" in outcome.reason and server.url in outcome.reason
        live = LiveOrigin(client()).fetch(remote(url=f"{server.url}/wgms/none.zip"), target, None)
        assert isinstance(live, Missing)
        assert f"{server.url}/wgms/none.zip" in live.reason
        assert len(server.log) == 2, "it is not asked again"
    assert not target.exists()


def test_passing_errors_are_tried_again_with_growing_pauses(mirror: Path, target: Path) -> None:
    pauses: list[float] = []
    with StaticServer(mirror) as server:
        server.break_path(PATH, *[faults.status(code) for code in (500, 502, 503)], faults.cut(0))
        outcome = HttpOrigin(server.url, client(pauses)).fetch(remote(), target, None)
    assert isinstance(outcome, Delivery)
    assert pauses == [1, 2, 4, 8]
    assert target.read_bytes() == (mirror / "wgms/a/file.zip").read_bytes()


def test_the_pause_a_server_asks_for_is_kept(mirror: Path, target: Path) -> None:
    pauses: list[float] = []
    later = format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=100), usegmt=True)
    past = format_datetime(dt.datetime.now(dt.UTC) - dt.timedelta(seconds=100), usegmt=True)
    with StaticServer(mirror) as server:
        answers = [faults.status(429, Retry_After=value) for value in ("7", later, past, "soon")]
        server.break_path(PATH, *answers)
        HttpOrigin(server.url, client(pauses)).fetch(remote(), target, None)
        assert pauses[0] == 7
        assert 80 < pauses[1] <= 100
        assert pauses[2:] == [0, 8]
        server.break_path(PATH, faults.status(429, Retry_After="3600"))
        with pytest.raises(SourceError, match="HTTP 429, asks to come back in 3600 s"):
            HttpOrigin(server.url, client(pauses)).fetch(remote(), target, None)
    assert len(pauses) == 4, "an hour is not waited for"


def test_a_server_that_stays_broken_is_an_error(mirror: Path, target: Path) -> None:
    with StaticServer(mirror) as server:
        server.break_path(PATH, *[faults.status(503)] * 9)
        with pytest.raises(SourceError, match=r"HTTP 503 \(attempt 3 of 3\)"):
            HttpOrigin(server.url, client(attempts=3)).fetch(remote(), target, None)
        assert server.count(path=PATH) == 3


def test_a_broken_transfer_is_continued(mirror: Path, target: Path) -> None:
    content = (mirror / "wgms/a/file.zip").read_bytes()
    with StaticServer(mirror) as server:
        server.break_path(PATH, faults.cut(200_000), faults.cut(60_000))
        delivery = HttpOrigin(server.url, client()).fetch(remote(), target, None)
        assert isinstance(delivery, Delivery)
        assert target.read_bytes() == content
        assert delivery.expected_bytes == len(content)
        first, second, third = (exchange.request.headers for exchange in server.log)
        assert "range" not in first
        assert second["range"].startswith("bytes=1") and second["if-range"] == delivery.etag
        assert int(third["range"][6:-1]) >= int(second["range"][6:-1])
        assert server.count(status=206) == 2
        assert server.bytes_sent < 1.7 * len(content), "what had come was not sent again"


def test_a_later_run_continues_what_an_earlier_one_left(mirror: Path, target: Path) -> None:
    content = (mirror / "wgms/a/file.zip").read_bytes()
    with StaticServer(mirror) as server:
        server.break_path(PATH, faults.cut(200_000))
        with pytest.raises(SourceError, match="cannot be reached or breaks off"):
            HttpOrigin(server.url, client(attempts=1)).fetch(remote(), target, None)
        assert 0 < target.stat().st_size <= 200_000
        assert isinstance(HttpOrigin(server.url, client()).fetch(remote(), target, None), Delivery)
        assert server.count(status=206) == 1
    assert target.read_bytes() == content


def test_a_file_that_was_replaced_meanwhile_is_not_patched_together(mirror: Path, target: Path) -> None:
    new = os.urandom(250_000)
    with StaticServer(mirror) as server:
        replace = faults.then(faults.cut(200_000), lambda: (mirror / "wgms/a/file.zip").write_bytes(new))
        server.break_path(PATH, replace)
        assert isinstance(HttpOrigin(server.url, client()).fetch(remote(), target, None), Delivery)
        assert server.log[1].status == 200, "If-Range does not hold any more"
    assert target.read_bytes() == new


def test_a_server_that_ignores_if_range_is_found_out(mirror: Path, target: Path) -> None:
    new = os.urandom(300_000)

    def ignores_if_range(request: Request, response: Response) -> Response:
        begin = int(request.headers["range"][6:-1])
        marks = {"ETag": '"new"', "Content-Range": f"bytes {begin}-{len(new) - 1}/{len(new)}"}
        return Response(206, new[begin:], marks)

    def other_bytes(request: Request, response: Response) -> Response:
        return Response(206, new[:10], {"Content-Range": f"bytes 0-9/{len(new)}"})

    for lie in (ignores_if_range, other_bytes):
        target.unlink(missing_ok=True)
        with StaticServer(mirror) as server:
            server.break_path(PATH, faults.cut(200_000), lie)
            assert isinstance(HttpOrigin(server.url, client()).fetch(remote(), target, None), Delivery)
            assert [exchange.status for exchange in server.log] == [200, 206, 200]
        assert target.read_bytes() == (mirror / "wgms/a/file.zip").read_bytes()


@pytest.mark.parametrize("options", [{"has_ranges": False}, {"has_validators": False}])
def test_without_ranges_or_validators_a_download_starts_again(
    mirror: Path, target: Path, options: dict[str, bool]
) -> None:
    with StaticServer(mirror, **options) as server:
        server.break_path(PATH, faults.cut(200_000))
        assert isinstance(HttpOrigin(server.url, client()).fetch(remote(), target, None), Delivery)
        assert [exchange.status for exchange in server.log] == [200, 200]
    assert target.read_bytes() == (mirror / "wgms/a/file.zip").read_bytes()


def test_a_part_of_another_address_is_not_continued(mirror: Path, target: Path) -> None:
    with StaticServer(mirror) as server:
        server.break_path(PATH, faults.cut(200_000))
        with pytest.raises(SourceError):
            HttpOrigin(server.url, client(attempts=1)).fetch(remote(), target, None)
        (mirror / "wgms/b.zip").write_bytes(b"short")
        assert isinstance(HttpOrigin(server.url, client()).fetch(remote("b.zip"), target, None), Delivery)
        assert "range" not in server.log[-1].request.headers
    assert target.read_bytes() == b"short"


def test_a_length_that_is_never_reached_is_an_error(mirror: Path, target: Path) -> None:
    with StaticServer(mirror) as server:
        server.break_path(PATH, *[faults.stated_length(400_000)] * 9)
        with pytest.raises(SourceError, match=r"attempt 4 of 4"):
            HttpOrigin(server.url, client(attempts=4)).fetch(remote(), target, None)
        assert server.count() == 4


def test_an_html_page_in_place_of_a_zip_leaves_nothing_in_the_archive(mirror: Path, tmp_path: Path) -> None:
    def verify(path: Path) -> Verified:
        verify_zip(path)
        return Verified(is_synthetic=False)

    archive = Archive(tmp_path / "raw")
    with StaticServer(mirror) as server:
        server.break_path(PATH, faults.page())
        origin = HttpOrigin(server.url, client())

        def transfer(part: Path, known: SourceObject | None) -> Delivery | None:
            outcome = origin.fetch(remote(), part, known)
            return outcome if isinstance(outcome, Delivery) else None

        with pytest.raises(SourceError, match="an HTML page"):
            archive.store(PRODUCT, "a/file.zip", transfer, verify)
    assert archive.objects("wgms") == []
    assert list((tmp_path / "raw/wgms/a").iterdir()) == []


def test_an_archive_is_a_mirror(mirror: Path, tmp_path: Path, target: Path) -> None:
    archive = Archive(tmp_path / "raw")

    def transfer(part: Path, known: SourceObject | None) -> Delivery | None:
        outcome = DirectoryOrigin(mirror).fetch(remote(), part, known)
        return outcome if isinstance(outcome, Delivery) else None

    archive.store(PRODUCT, "a/file.zip", transfer, accept)
    again = DirectoryOrigin(archive.root)
    assert again.names("wgms", "a") == ["file.zip"]
    assert isinstance(again.fetch(remote(), target, None), Delivery)


# --- credentials -----------------------------------------------------------------------------------------------

ACCOUNT = Account("Some Login", "https://register.example", "the variable SOME_TOKEN", is_set=lambda: True)


@pytest.mark.parametrize("code", [401, 403])
def test_a_refusal_names_the_account(mirror: Path, target: Path, code: int) -> None:
    with StaticServer(mirror) as server:
        server.break_path(PATH, faults.status(code))
        with pytest.raises(SourceError) as caught:
            LiveOrigin(client()).fetch(remote(url=server.url + PATH, account=ACCOUNT), target, None)
        assert server.count() == 1
    for word in (f"HTTP {code}", "Some Login", "https://register.example", "SOME_TOKEN"):
        assert word in str(caught.value)


def test_without_a_key_nothing_is_asked_and_the_gap_says_how_to_get_one(target: Path) -> None:
    account = Account("Some Login", "https://register.example", "the variable SOME_TOKEN", is_set=lambda: False)
    outcome = LiveOrigin(client()).fetch(remote(url="http://127.0.0.1:1/x", account=account), target, None)
    assert isinstance(outcome, Missing)
    for word in ("Fluctuations", "Some Login", "https://register.example", "SOME_TOKEN"):
        assert word in outcome.reason


def test_secrets_of_an_address_stay_out_of_errors_and_provenance(mirror: Path, target: Path) -> None:
    with StaticServer(mirror) as server:
        host = server.url.removeprefix("http://")
        url = f"http://user:{SECRET}@{host}{PATH}?sig={SECRET}"
        delivery = client().download(url, target)
        assert isinstance(delivery, Delivery)
        assert delivery.url == server.url + PATH
        assert server.log[-1].request.headers["authorization"].startswith("Basic "), "they were used all the same"
        assert HttpOrigin(f"http://user:{SECRET}@{host}").name == server.url
        server.redirect("/loop", f"/loop?sig={SECRET}")
        missing = client().download(url.replace("file.zip", "none.zip"), target)
        assert isinstance(missing, Missing) and SECRET not in missing.reason + missing.what
        broken = [f"http://user:{SECRET}@{host}/loop?sig={SECRET}", f"nonsense://{SECRET}@{host}/?sig={SECRET}"]
        for code in (401, 418, 500):
            server.break_path(f"/{code}", *[faults.status(code)] * 5)
            broken.append(f"http://user:{SECRET}@{host}/{code}?sig={SECRET}")
        told = [_error(bad, target) for bad in broken]
    told.append(_error(url, target))  # nobody listens any more
    for text in told:
        assert SECRET not in text


def _error(url: str, target: Path) -> str:
    with pytest.raises(SourceError) as caught:
        client().download(url, target)
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    return "".join(traceback.format_exception(caught.value))


def test_public_url() -> None:
    assert public_url("https://u:p@host:8443/a/b.zip?X-Amz-Signature=1#top") == "https://host:8443/a/b.zip"


def test_the_earthdata_token_goes_to_its_hosts_only(
    mirror: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARTHDATA_TOKEN", SECRET)
    with StaticServer(mirror) as archive, StaticServer(mirror) as login, StaticServer(mirror) as stranger:
        stranger_url = stranger.url.replace("127.0.0.1", "localhost")  # another host name for the same machine
        archive.redirect("/via-login", f"{login.url}/oauth")
        login.redirect("/oauth", f"{archive.url}{PATH}")
        archive.redirect("/to-stranger", f"{stranger_url}{PATH}")
        earthdata = client(token_hosts=("127.0.0.1",))
        assert isinstance(earthdata.download(f"{archive.url}/via-login", target), Delivery)
        asked = [exchange.request for exchange in (*archive.log, *login.log)]
        assert [request.headers.get("authorization") for request in asked] == [f"Bearer {SECRET}"] * 3
        assert isinstance(earthdata.download(f"{archive.url}/to-stranger", target), Delivery)
        assert "authorization" not in stranger.log[-1].request.headers
        client().download(f"{archive.url}{PATH}", target)
        assert "authorization" not in archive.log[-1].request.headers


def test_a_login_page_is_what_one_gets_without_a_token(
    mirror: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    with StaticServer(mirror) as archive:
        archive.require_login("/wgms", SECRET, "/login")
        archive.break_path("/login", faults.page())
        client(token_hosts=("127.0.0.1",)).download(f"{archive.url}{PATH}", target)
        with pytest.raises(SourceError, match="an HTML page"):
            verify_zip(target)
        monkeypatch.setenv("EARTHDATA_TOKEN", SECRET)
        client(token_hosts=("127.0.0.1",)).download(f"{archive.url}{PATH}", target)
    assert target.read_bytes() == (mirror / "wgms/a/file.zip").read_bytes()


def test_the_way_through_a_login_with_a_line_of_netrc(
    mirror: Path, target: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive sends to the login, which knows us by name and password, and back; a cookie opens the archive."""
    monkeypatch.delenv("EARTHDATA_TOKEN", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    basic = f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}"
    with StaticServer(mirror) as archive, LoginServer({basic}) as login:
        login.archive_url = archive.url
        archive.require_login("/wgms", "another", f"{login.url.replace('127.0.0.1', 'localhost')}/oauth/authorize")
        url = f"{archive.url}{PATH}"
        client().download(url, target)
        with pytest.raises(SourceError, match="an HTML page"):
            verify_zip(target)
        for password, ending in (("wrong", "refuses us"), (SECRET, "")):
            (tmp_path / "netrc").write_text(f"machine localhost login me password {password}\n")
            if ending:
                with pytest.raises(SourceError, match=ending):
                    client().download(url, target)
            else:
                client().download(url, target)
        assert all("authorization" not in exchange.request.headers for exchange in archive.log)
    assert target.read_bytes() == (mirror / "wgms/a/file.zip").read_bytes()


# --- choice ----------------------------------------------------------------------------------------------------


def test_settings_choose_the_origin(tmp_path: Path) -> None:
    chosen: dict[str, Origin] = {
        mirror: open_origin(Settings(home=tmp_path, mirror=mirror))
        for mirror in ("sample", str(tmp_path), "https://host/m", "live")
    }
    assert [type(origin) for origin in chosen.values()] == [DirectoryOrigin, DirectoryOrigin, HttpOrigin, LiveOrigin]
    assert chosen["sample"].name == str(tmp_path / "sample")
    assert [origin.is_live for origin in chosen.values()] == [False, False, False, True]
    with pytest.raises(NotImplementedError):
        chosen["live"].names("wgms")


def test_a_product_without_an_address_is_a_gap_live(target: Path) -> None:
    outcome = LiveOrigin(client()).fetch(remote(), target, None)
    assert isinstance(outcome, Missing) and "use a mirror" in outcome.reason
