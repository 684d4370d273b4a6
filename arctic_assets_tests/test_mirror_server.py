"""The mirror server as its clients see it: requests, raw sockets, GDAL, a build, and Ctrl-C."""

from __future__ import annotations

import io
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import requests

from arctic_assets.automation.build import Extent
from arctic_assets.errors import SettingsError, SourceError
from arctic_assets.mirror_server import MirrorServer
from arctic_assets.sources.http import Client
from arctic_assets.sources.origins import HttpOrigin
from arctic_assets.tables import Area, Thickness, Volume
from arctic_assets_tests.testkit.platform import Platform, platform
from arctic_assets_tests.testkit.ui import interruptible

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "mirror"
    (folder / "wgms/a & b").mkdir(parents=True)
    (folder / "wgms/file.zip").write_bytes(CONTENT)
    (folder / "wgms/file.zip.source.json").write_text("{}")
    (folder / "wgms/empty").touch()
    (folder / "wgms/a & b/ü 100%?.csv").write_text("x")
    for hidden in (".locks/one", "wgms/.file.zip.part", ".superseded/wgms/old.zip"):
        (folder / hidden).parent.mkdir(parents=True, exist_ok=True)
        (folder / hidden).write_text("hidden")
    return folder


@pytest.fixture
def server(root: Path) -> Iterator[MirrorServer]:
    with MirrorServer(root, port=0) as running:
        yield running


def get(server: MirrorServer, path: str = "/wgms/file.zip", **headers: str) -> requests.Response:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(f"{server.url}{path}", headers=fields, timeout=10)


def test_a_file_and_its_marks(server: MirrorServer) -> None:
    whole = get(server)
    assert (whole.status_code, whole.content) == (200, CONTENT)
    assert whole.headers["Accept-Ranges"] == "bytes" and whole.headers["Content-Length"] == str(len(CONTENT))
    head = requests.head(f"{server.url}/wgms/file.zip", timeout=10)
    assert head.content == b"" and {**head.headers, "Date": ""} == {**whole.headers, "Date": ""}
    assert get(server, "/wgms/empty").content == b""


@pytest.mark.parametrize(
    ("asked", "status", "content", "stated"),
    [
        ("bytes=0-0", 206, CONTENT[:1], f"bytes 0-0/{len(CONTENT)}"),
        ("bytes=10-19", 206, CONTENT[10:20], f"bytes 10-19/{len(CONTENT)}"),
        ("bytes=10000-", 206, CONTENT[10000:], f"bytes 10000-10239/{len(CONTENT)}"),
        ("bytes=10000-99999", 206, CONTENT[10000:], f"bytes 10000-10239/{len(CONTENT)}"),
        ("bytes=-7", 206, CONTENT[-7:], f"bytes 10233-10239/{len(CONTENT)}"),
        ("bytes=-99999", 206, CONTENT, f"bytes 0-10239/{len(CONTENT)}"),
        ("bytes=10240-", 416, b"", "bytes */10240"),
        ("bytes=-0", 416, b"", "bytes */10240"),
        ("bytes=0-1,4-5", 200, CONTENT, None),
        ("bytes=9-3", 200, CONTENT, None),
        ("bytes=-", 200, CONTENT, None),
        ("lines=1-2", 200, CONTENT, None),
    ],
)
def test_ranges(server: MirrorServer, asked: str, status: int, content: bytes, stated: str | None) -> None:
    part = get(server, Range=asked)
    assert (part.status_code, part.content, part.headers.get("Content-Range")) == (status, content, stated)


def test_a_range_of_an_empty_file(server: MirrorServer) -> None:
    assert get(server, "/wgms/empty", Range="bytes=0-0").status_code == 416


def test_conditions(server: MirrorServer, root: Path) -> None:
    marks = get(server).headers
    etag, modified = marks["ETag"], marks["Last-Modified"]
    for headers in (
        {"If_None_Match": etag},
        {"If_None_Match": f'"other", W/{etag}'},
        {"If_None_Match": "*"},
        {"If_Modified_Since": modified},
        {"If_None_Match": etag, "If_Modified_Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ):
        unchanged = get(server, **headers)
        assert (unchanged.status_code, unchanged.content, unchanged.headers["ETag"]) == (304, b"", etag)
    for headers in ({"If_None_Match": '"other"', "If_Modified_Since": modified}, {"If_Modified_Since": "yesterday"}):
        assert get(server, **headers).status_code == 200
    for mark in (etag, modified):
        assert get(server, Range="bytes=5-", If_Range=mark).status_code == 206
    (root / "wgms/file.zip").write_bytes(CONTENT[::-1])
    os.utime(root / "wgms/file.zip", (2e9, 2e9))
    for mark in (etag, modified, f"W/{etag}"):
        assert get(server, Range="bytes=5-", If_Range=mark).content == CONTENT[::-1]
    assert get(server, If_None_Match=etag).headers["ETag"] != etag
    assert get(server, If_Modified_Since=modified).status_code == 200


def test_the_content_is_hashed_once(server: MirrorServer, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    hashed: list[str] = []
    true = hashlib.file_digest

    def counted(stream: io.BufferedReader, name: str) -> object:
        hashed.append(stream.name)
        return true(stream, name)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    for _ in range(3):
        get(server, Range="bytes=0-9")
    assert hashed == [str(root / "wgms/file.zip")]


def test_pages_and_what_is_hidden(server: MirrorServer) -> None:
    page = get(server, "/wgms/")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert re.findall("href=.(.*?).>", page.text) == [
        *("../", "a%20%26%20b/", "empty", "file.zip", "file.zip.source.json"),
    ]
    assert 'href="../"' not in get(server, "/").text and "wgms/" in get(server, "/").text
    assert requests.get(f"{server.url}/wgms", timeout=10).url == f"{server.url}/wgms/"
    origin = HttpOrigin(server.url, Client(attempts=1))
    assert origin.names("wgms", "a & b") == ["ü 100%?.csv"]
    assert origin.names("wgms") == ["empty", "file.zip"]
    assert get(server, "/wgms/a%20%26%20b/%C3%BC%20100%25%3F.csv").text == "x"
    assert get(server, "/wgms/file.zip.source.json").text == "{}"
    for hidden in ("/.locks/one", "/.locks/", "/wgms/.file.zip.part", "/.superseded/wgms/old.zip", "/wgms/none"):
        assert get(server, hidden).status_code == 404
    refused = requests.post(f"{server.url}/wgms/file.zip", data=b"x", timeout=10)
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")


def raw(server: MirrorServer, target: str) -> str:
    """Status line of a request that no library would send."""
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert b"secret" not in answer
    return answer.split(b"\r\n")[0].decode()


def test_nothing_outside_of_the_root(server: MirrorServer, root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/secret.txt").write_text("secret")
    (root / "wgms/link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "era5").symlink_to(tmp_path / "folder")
    (root / "wgms/dangling").symlink_to(root / "wgms/nowhere")
    (root / "wgms/circle").symlink_to(root / "wgms/circle")
    (root / "wgms/inside").symlink_to(root / "wgms/file.zip")
    for target in ("/../secret.txt", "/wgms/../../secret.txt", "/%2e%2e/secret.txt", "/wgms/..%2f..%2fsecret.txt"):
        assert " 400 " in raw(server, target)
    assert " 400 " in raw(server, "/wgms/file.zip%00")
    assert " 404 " in raw(server, f"/{tmp_path}/secret.txt") and " 404 " in raw(server, f"{tmp_path}/secret.txt")
    for target in ("/wgms/link.txt", "/era5", "/era5/", "/era5/secret.txt"):
        assert " 403 " in raw(server, target)
    assert " 404 " in raw(server, "/wgms/dangling")
    assert " 40" in raw(server, "/wgms/circle")
    assert get(server, "/wgms/inside").content == CONTENT
    with pytest.raises(SourceError, match="refuses us"):
        HttpOrigin(server.url, Client(attempts=1)).names("era5")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_that_may_not_be_read(server: MirrorServer, root: Path) -> None:
    (root / "wgms/file.zip").chmod(0)
    assert get(server).status_code == 403


def test_a_file_that_is_replaced_before_it_is_sent_breaks_off(server: MirrorServer, root: Path) -> None:
    """The headers speak of the old version: bytes of the new one must not follow them."""
    answer = server.files.answer

    def late(request: object) -> object:
        response = answer(request)  # type: ignore[arg-type]
        (root / "wgms/new").write_bytes(b"n" * len(CONTENT))
        (root / "wgms/new").replace(root / "wgms/file.zip")
        return response

    server.files.answer = late  # type: ignore[method-assign,assignment]
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(server)
    server.files.answer = answer  # type: ignore[method-assign]
    assert get(server).content == b"n" * len(CONTENT)


def test_large_files_are_not_held_in_memory(server: MirrorServer, root: Path) -> None:
    import tracemalloc

    with (root / "large.tif").open("wb") as stream:
        stream.truncate(64 << 20)
    get(server, "/large.tif", Range="bytes=0-9")
    tracemalloc.start()
    with requests.get(f"{server.url}/large.tif", stream=True, timeout=30) as response:
        assert sum(len(chunk) for chunk in response.iter_content(1 << 16)) == 64 << 20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20


def test_a_port_that_is_taken(server: MirrorServer, root: Path) -> None:
    port = int(server.url.rpartition(":")[2])
    for wrong in (port, 70_000):
        with pytest.raises(SettingsError, match=f"--port {wrong}"), MirrorServer(root, port=wrong):
            pass


def test_gdal_reads_windows(server: MirrorServer, root: Path) -> None:
    import rasterio
    from rasterio.windows import Window

    values = np.random.default_rng(0).integers(0, 60_000, (2048, 2048), dtype=np.uint16)
    with rasterio.open(
        root / "wgms/cog.tif", "w", driver="COG", width=2048, height=2048, count=1, dtype="uint16", crs="EPSG:3413",
        transform=rasterio.transform.from_origin(0, 0, 120, 120), compress="deflate", blocksize=256,
    ) as raster:  # fmt: skip
        raster.write(values, 1)
    window = Window(700, 900, 100, 50)
    options = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR", "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/"}
    with rasterio.Env(**options), rasterio.open(f"/vsicurl/{server.url}/wgms/cog.tif") as raster:
        np.testing.assert_array_equal(raster.read(1, window=window), values[900:950, 700:800])


# --- the command ------------------------------------------------------------------------------------------------------


class Command(NamedTuple):
    process: subprocess.Popen[str]
    url: str
    log: Path


@contextmanager
def serving(directory: Path, log: Path) -> Iterator[Command]:
    """`arctic-assets serve-mirror` in a process of its own."""
    words = [sys.executable, "-m", "arctic_assets.cli", "serve-mirror", str(directory), "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    with log.open("w") as stream, interruptible():
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=stream, text=True, env=env)
    try:
        assert process.stdout is not None
        first, second = process.stdout.readline(), process.stdout.readline()
        match = re.search(r"(http://127\.0\.0\.1:\d+)$", first.strip())
        assert match, first + log.read_text()
        assert second == f"use it: arctic-assets build --mirror {match[1]}\n"
        yield Command(process, match[1], log)
    finally:
        process.kill()
        process.communicate()


def test_the_command_serves_until_ctrl_c(root: Path, tmp_path: Path) -> None:
    with serving(root, tmp_path / "log") as command:
        part = requests.get(f"{command.url}/wgms/file.zip", headers={"Range": "bytes=-3"}, timeout=10)
        assert (part.status_code, part.content) == (206, CONTENT[-3:])
        command.process.send_signal(signal.SIGINT)
        out, _ = command.process.communicate(timeout=20)
    assert command.process.returncode == 0
    assert out.endswith("ended\n") and command.log.read_text() == "206 GET /wgms/file.zip bytes=-3\n"


def test_a_build_from_a_served_mirror_is_that_from_the_directory(small_home: Platform, tmp_path: Path) -> None:
    """Of one glacier, from all its providers. An archive is a mirror: another home comes from the first one's files."""
    glacier = Extent(("austre_broeggerbreen",), "2019-01", "2019-12")
    tables = []
    folder = Path(small_home.current.mirror)
    for name in ("mirror", "archive"):
        with serving(folder, tmp_path / f"{name}.log") as command:
            found = platform(tmp_path / name, command.url, small_home.current.glaciers)
            assert found.build('+key:"derived/volume"', glacier).is_good
        tables.append(found)
        folder = found.current.archive
    for model in (Area, Thickness, Volume):
        expected = small_home.rows(model).query("glacier_id == 'austre_broeggerbreen'").reset_index(drop=True)
        assert len(expected) > 0
        for found in tables:
            own = ["run_id", "recorded_at", "source_ids"]
            pd.testing.assert_frame_equal(found.rows(model).drop(columns=own), expected.drop(columns=own))
