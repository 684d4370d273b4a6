"""No key that a provider's client was given is in anything that a run leaves behind, nor in what the UI shows."""

import base64
import contextlib
import shutil
import sqlite3
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

import dagster as dg
import duckdb
import pytest

from arctic_assets import settings
from arctic_assets.automation.build import Extent
from arctic_assets.errors import SettingsError
from arctic_assets.sample.common import NOTICE
from arctic_assets.sources import origins, rgi7
from arctic_assets.sources.http import Client
from arctic_assets.storage.instance import open_instance
from arctic_assets_tests.testkit.base import Request, Response
from arctic_assets_tests.testkit.cds import CdsServer
from arctic_assets_tests.testkit.platform import Platform, platform
from arctic_assets_tests.testkit.server import StaticServer
from arctic_assets_tests.testkit.ui import dagster_dev

PASSWORD = "pass/word-7c2e"
TOKEN = "earthdata-token-4f1b9c"
KEY = "0b7e4c52-1d1f-4b57-9f0e-8a6d3c2b1a90"
KEY_OF_FILE = "5f0d2a77-62a4-4f7b-8f7e-0c9b7d1e4a33"
BASIC = f"Basic {base64.b64encode(f'ada:{PASSWORD}'.encode()).decode()}"
SECRETS = (PASSWORD, quote(PASSWORD, safe=""), BASIC.removeprefix("Basic "), TOKEN, KEY, KEY_OF_FILE)

SQLITE = b"SQLite format 3\0"


# --- the scan ---------------------------------------------------------------------------------------------------------


def traces(home: Path, *secrets: str) -> list[str]:
    """Where one of some texts is found below a home: in any file's bytes, in what zips (workbooks too) and databases
    hold, compressed or not.
    """
    return sorted({where for where, content in _contents(home) if any(s.encode() in content for s in secrets)})


def _contents(home: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(home.rglob("*")):
        if not path.is_file():
            continue
        name = str(path.relative_to(home))
        content = path.read_bytes()
        yield name, content
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((f"{name}: {member}", archive.read(member)) for member in archive.namelist())
        if content.startswith(SQLITE):
            yield from ((f"{name}: {table}", value) for table, value in _values(path))
        if path.suffix == ".duckdb":
            yield from ((f"{name}: {table}", rows) for table, rows in _tables(path))
        if path.suffix == ".parquet":
            with duckdb.connect() as connection:
                yield name, repr(connection.execute(f"FROM '{path}'").fetchall()).encode()


def _tables(path: Path) -> Iterator[tuple[str, bytes]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        for schema, table in connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
            yield f"{schema}.{table}", repr(connection.execute(f"FROM {schema}.{table}").fetchall()).encode()


def _values(path: Path) -> Iterator[tuple[str, bytes]]:
    """Texts and blobs of an SQLite file; Dagster keeps snapshots of jobs as compressed blobs."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for table in (name.decode() for (name,) in names):
            for row in connection.execute(f'SELECT * FROM "{table}"'):
                for value in (v for v in row if isinstance(v, bytes)):
                    yield table, value
                    with contextlib.suppress(zlib.error):
                        yield table, zlib.decompress(value)


class _Config(dg.Config):
    given: str


class _Resource(dg.ConfigurableResource):  # type: ignore[type-arg]
    mirror: str


@pytest.mark.parametrize("place", ["resource", "config", "tag", "metadata", "log", "print", "error", "cursor"])
def test_the_scan_finds_what_dagster_keeps(place: str, tmp_path: Path) -> None:
    def said(where: str) -> str:
        return f"https://ada:{PASSWORD}@host/" if where == place else "nothing"

    @dg.op
    def step(context: dg.OpExecutionContext, config: _Config, store: _Resource) -> None:
        context.log.info(said("log"))
        print(said("print"))
        context.log_event(dg.AssetObservation("a", metadata={"url": said("metadata")}))
        if place == "error":
            raise ValueError(said("error"))

    @dg.job(resource_defs={"store": _Resource(mirror=said("resource"))})
    def job() -> None:
        step()

    config = {"ops": {"step": {"config": {"given": said("config")}}}}
    with open_instance(tmp_path) as instance:
        job.execute_in_process(config, instance=instance, tags={"url": said("tag")}, raise_on_error=False)
        instance.daemon_cursor_storage.set_cursor_values({"sensor": said("cursor")})
    found = traces(tmp_path, PASSWORD)
    where = {
        "resource": "history/runs.db: snapshots",
        "print": "compute_logs",
        **dict.fromkeys(("config", "tag"), "history/runs.db: runs"),
        **dict.fromkeys(("metadata", "log", "error"), ": event_logs"),
        "cursor": "history/runs.db: kvs",
    }[place]
    assert any(where in name for name in found), found
    assert traces(tmp_path, TOKEN) == []


def test_the_scan_finds_what_lies_in_files(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(f"key={KEY}")
    (tmp_path / "a.nc.source.json").write_text(f'{{"url": "https://x/?token={KEY}"}}')
    with zipfile.ZipFile(tmp_path / "book.xlsx", "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("sheet.xml", f"<c>{KEY}</c>" * 50)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT ? AS url", [f"https://x/?token={KEY}"]).fetchall()
        connection.execute(f"COPY t TO '{tmp_path}/t.parquet' (COMPRESSION zstd)").fetchall()
    found = traces(tmp_path, TOKEN, KEY)
    assert {"log.txt", "a.nc.source.json", "book.xlsx: sheet.xml", "t.parquet", "w.duckdb: main.t"} <= set(found)
    assert traces(tmp_path, TOKEN) == []


# --- what is scanned --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"https://ada:{PASSWORD}@host/mirror",
        f"https://ada:{quote(PASSWORD, safe='')}@host/mirror",
        f"https://{TOKEN}@host/mirror",
        f"https://host:8443/mirror?token={TOKEN}",
        f"https://host/mirror#{TOKEN}",
    ],
)
def test_an_address_with_a_secret_is_no_setting(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings are shown in the UI and kept with every run; the secret is not even in the refusal."""
    monkeypatch.setenv("ARCTIC_ASSETS_MIRROR", url)
    for given in ({}, {"mirror": url}):
        with pytest.raises(SettingsError, match=r"~/\.netrc: machine <host> login") as refused:
            settings.load(home=tmp_path, **given)
        assert not any(secret in str(refused.value) for secret in SECRETS)


def test_an_address_without_one_is(tmp_path: Path) -> None:
    assert settings.load(home=tmp_path, mirror="http://host:8443/a/b").mirror == "http://host:8443/a/b"


class _Protected(StaticServer):
    """Files for who has the key; who has not, or comes while it is closed, is refused in words that repeat the key."""

    def __init__(self, root: Path, key: str) -> None:
        super().__init__(root)
        self.key = key
        self.is_closed = True

    def answer(self, request: Request) -> Response:
        given = request.headers.get("authorization")
        if self.is_closed or given != self.key:
            return Response(401, f"not with {given}".encode(), {"WWW-Authenticate": f'Basic realm="{given}"'})
        return super().answer(request)

    def served(self, below: str) -> int:
        """Files below a path that were given to who had the key."""
        return sum(e.status in (200, 206) and e.request.path.startswith(below) for e in self.log)


def test_no_key_is_left_behind(small_mirror: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every kind of key is used: refused at first, with an answer that repeats it, then taken. In runs of this process
    and in runs of the UI.
    """
    home, registry, user = tmp_path / "home", small_mirror.current.glaciers, tmp_path / "user"
    mirror = Path(small_mirror.current.mirror)
    user.mkdir()
    monkeypatch.setenv("HOME", str(user))
    for name in ("NETRC", "CDSAPI_RC", "CDSAPI_KEY", "CDSAPI_URL", "EARTHDATA_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    year = Extent(("engabreen",), "2020-01", "2020-12")
    live = platform(home, "live", registry)

    (user / ".netrc").write_text(f"machine 127.0.0.1 login ada password {PASSWORD}\n")
    with _Protected(mirror, BASIC) as server:
        found = platform(home, server.url, registry)
        outcome = found.build("raw/rgi7", year)
        assert "HTTP 401" in outcome.failed["raw/rgi7"]
        server.is_closed = False
        assert found.build("group:raw or group:derived", year).is_good
        assert all(server.served(f"/{folder}/") for folder in ("rgi7", "era5", "itslive", "landsat", "millan"))

    monkeypatch.setenv("EARTHDATA_TOKEN", TOKEN)
    shutil.copytree(mirror / "rgi7", tmp_path / "nsidc/RGI2000-v7.0-G")
    with _Protected(tmp_path / "nsidc", f"Bearer {TOKEN}") as server, monkeypatch.context() as patch:
        patch.setattr(origins, "Client", partial(Client, token_hosts=("127.0.0.1",)))
        patch.setattr(rgi7, "remotes", partial(rgi7.remotes, nsidc_url=server.url))
        assert "HTTP 401" in live.build("raw/rgi7", year).failed["raw/rgi7"]
        server.is_closed = False
        assert live.build("raw/rgi7", year).is_good
        assert server.served("/RGI2000-v7.0-G/")

    with CdsServer(last="2021-03", final_until="2021-03") as store:
        store.title = NOTICE
        months = Extent(start="2021-01", end="2021-01")
        with monkeypatch.context() as patch:
            patch.setenv("CDSAPI_URL", store.api)
            patch.setenv("CDSAPI_KEY", KEY)
            store.key, store.licence_accepted, store.detail = KEY, False, f" (your token is {KEY})"
            assert "manage-licences" in live.build("raw/era5", months).failed["raw/era5"]
            store.licence_accepted = True
            assert live.build('key:"raw/era5" or key:"derived/temperature_monthly"', months).is_good
        n_jobs = len(store.jobs)
        assert n_jobs > 0

        (user / ".cdsapirc").write_text(f"url: {store.api}\nkey: {KEY_OF_FILE}\n")
        selection = 'key:"raw/era5" or key:"derived/temperature_monthly"'
        config = {"ops": {"everything": {"config": {"selection": selection, "start": "2021-02", "end": "2021-02"}}}}
        store.key, store.licence_accepted, store.detail = KEY_OF_FILE, False, f" (your token is {KEY_OF_FILE})"
        # sensors of a live platform look at providers: not in a test
        with dagster_dev(live, https_proxy="http://127.0.0.1:1") as ui:
            assert ui.wait_for_run(ui.launch_job("rebuild_all", config)) == "FAILURE"
            store.licence_accepted = True
            assert ui.wait_for_run(ui.launch_job("rebuild_all", config)) == "SUCCESS"
            assert ui.wait_for_run(ui.launch_job("rebuild_exports", {})) == "SUCCESS"
        assert len(store.jobs) > n_jobs

    for part in ("dagster/storage", "dagster/history/runs", "raw/era5", "exports/latest/atlas", "dagster_dev.log"):
        assert (home / part).exists()
    assert traces(home, *SECRETS) == []
