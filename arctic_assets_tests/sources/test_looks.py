"""Looks: one file beside its provider's, and rounds over many."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from arctic_assets.errors import SourceError, TimeUpError
from arctic_assets.provenance import SourceObject
from arctic_assets.sources import looks
from arctic_assets.sources.http import Client
from arctic_assets_tests.testkit import faults
from arctic_assets_tests.testkit.base import Response
from arctic_assets_tests.testkit.server import StaticServer

CLIENT = Client(attempts=1, timeout_s=(2.0, 2.0))
NEVER = float("inf")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[StaticServer]:
    (tmp_path / "wgms").mkdir()
    (tmp_path / "wgms/fog.zip").write_bytes(b"PK and more")
    with StaticServer(tmp_path) as running:
        yield running


@pytest.fixture
def held(server: StaticServer) -> SourceObject:
    """The file of the server as an archive holds it, with its marks."""
    url = f"{server.url}/wgms/fog.zip"
    marks = CLIENT.marks(url)
    assert marks and marks.etag and marks.last_modified and marks.size == 11
    return SourceObject(
        source_id="wgms/fog.zip#0", provider="wgms", product="FoG", version="1", url=url, sha256="0", bytes=11,
        retrieved_at="2026-11-01T00:00:00+00:00", licence="", citation="", path="fog.zip", is_synthetic=False,
        etag=marks.etag, last_modified=marks.last_modified,
    )  # fmt: skip


def verdict(held: SourceObject, root: Path | None = None) -> str:
    return looks.compare(held, CLIENT, root).verdict


def test_the_marks_decide(held: SourceObject, tmp_path: Path) -> None:
    assert verdict(held) == "same"
    assert verdict(replace(held, etag=None)) == "same"
    assert verdict(replace(held, etag='"other"')) == "changed"
    assert verdict(replace(held, etag=None, last_modified="Mon, 05 Jan 2026 00:00:00 GMT")) == "changed"
    (tmp_path / "wgms/fog.zip").unlink()
    assert verdict(held) == "changed"


@pytest.mark.parametrize("has_ranges", [True, False])
def test_without_marks_the_size_decides(has_ranges: bool, tmp_path: Path, held: SourceObject) -> None:
    bare = replace(held, etag=None, last_modified=None)
    with StaticServer(tmp_path, has_validators=False, has_ranges=has_ranges) as server:
        bare = replace(bare, url=f"{server.url}/wgms/fog.zip")
        assert verdict(bare) == "same"
        assert verdict(replace(held, url=bare.url, bytes=10)) == "changed"
        assert looks.compare(replace(bare, bytes=10), CLIENT).what == "11 bytes in place of 10"


def test_what_cannot_be_compared_is_said(held: SourceObject, server: StaticServer, tmp_path: Path) -> None:
    window = replace(held, path="windows/taku.tif")
    assert verdict(window) == "same"  # its raster has the marks that were kept
    before = len(server.log)
    assert verdict(replace(window, etag=None, last_modified=None)) == "not comparable"
    assert verdict(replace(window, etag="LC08_L2SP_1", last_modified=None)) == "not comparable"  # a scene's identifier
    assert verdict(replace(held, url="revision:a.gpkg")) == "not comparable"
    assert verdict(replace(held, url="mirror:wgms/fog.zip")) == "not comparable"
    assert verdict(replace(held, url="mirror:wgms/fog.zip", last_modified=None), tmp_path) == "not comparable"
    assert len(server.log) == before
    with StaticServer(tmp_path, has_validators=False) as other:
        assert verdict(replace(window, url=f"{other.url}/wgms/fog.zip")) == "not comparable"


def test_a_login_page_is_not_the_file(held: SourceObject, server: StaticServer) -> None:
    server.break_always(".*", faults.page())
    with pytest.raises(SourceError, match="a page in place of a file"):
        looks.compare(held, CLIENT)


def test_a_client_begins_no_attempt_after_its_time(held: SourceObject, server: StaticServer) -> None:
    before = len(server.log)
    with pytest.raises(TimeUpError):
        looks.compare(held, looks.quick(time.monotonic() - 1))
    assert len(server.log) == before
    server.break_always(".*", lambda request, response: Response(503))
    with pytest.raises(TimeUpError):
        looks.compare(held, looks.quick(time.monotonic() + 0.2))  # the pause is longer
    assert len(server.log) == before + 1


# --- rounds -----------------------------------------------------------------------------------------------------------

NAMES = {name: name for name in ("a1", "a2", "b1", "c1")}


def down(*servers: str, asked: list[str] | None = None) -> object:
    def look(name: str) -> str:
        if asked is not None:
            asked.append(name)
        if name[0] in servers:
            raise SourceError(f"{name} is down")
        return name

    return look


def go(begin: str, look: object, until: float = NEVER) -> looks.Round[str]:
    return looks.go_round(NAMES, begin, look, lambda name: name[0], until)  # type: ignore[arg-type]


def test_a_round_begins_where_the_last_one_ended() -> None:
    assert go("", down()).answers == ["a1", "a2", "b1", "c1"]
    assert go("b1", down()).answers == ["b1", "c1", "a1", "a2"]
    assert go("b0", down()).answers == ["b1", "c1", "a1", "a2"]  # the one that was next is gone
    assert go("z", down()).answers == ["a1", "a2", "b1", "c1"]
    assert looks.go_round({}, "b", down(), str, NEVER).answers == []  # type: ignore[arg-type]


def test_a_server_that_is_down_is_asked_once_and_hides_no_other() -> None:
    asked: list[str] = []
    done = go("", down("a", asked=asked))
    assert (done.answers, list(done.failures), done.left) == (["b1", "c1"], ["a"], 0)
    assert asked == ["a1", "b1", "c1"]


def test_a_round_that_runs_out_of_time_says_where_to_go_on() -> None:
    def look(name: str) -> str:
        if name == "b1":
            raise TimeUpError("up")
        return name

    done = go("", look)
    assert (done.answers, done.left, done.begin) == (["a1", "a2"], 2, "b1")
    done = go("", down(), until=time.monotonic() - 1)
    assert (done.answers, done.left, done.begin) == (["a1"], 3, "a2")


def test_one_that_takes_all_the_time_does_not_hold_up_the_next_round() -> None:
    def look(name: str) -> str:
        raise TimeUpError("up")

    done = go("b1", look)
    assert (done.answers, list(done.failures), done.begin) == ([], ["b"], "c1")
