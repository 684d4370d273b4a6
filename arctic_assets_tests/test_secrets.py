"""No key that a provider's client was given is in anything that a run leaves behind."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from arctic_assets.automation.build import Extent
from arctic_assets_tests.testkit.cds import CdsServer
from arctic_assets_tests.testkit.platform import SHARED, needs_shared, platform

SECRET = "0b7e4c52-1d1f-4b57-9f0e-8a6d3c2b1a90"
TOKEN = "earthdata-token-4f1b9c"


def traces(home: Path, secret: str) -> list[str]:
    """Where a text is found below a home: in any file's bytes, in what zips (workbooks too) and databases hold."""
    return sorted({where for where, content in _contents(home) if secret.encode() in content})


def _contents(home: Path) -> Iterator[tuple[str, bytes]]:
    for path in sorted(home.rglob("*")):
        if not path.is_file():
            continue
        name = str(path.relative_to(home))
        yield name, path.read_bytes()
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                yield from ((f"{name}: {member}", archive.read(member)) for member in archive.namelist())
        if path.suffix == ".duckdb":
            yield from ((f"{name}: {table}", content) for table, content in _tables(path))
        if path.suffix == ".parquet":
            with duckdb.connect() as connection:
                yield name, repr(connection.execute(f"FROM '{path}'").fetchall()).encode()


def _tables(path: Path) -> Iterator[tuple[str, bytes]]:
    with duckdb.connect(str(path), read_only=True) as connection:
        for schema, table in connection.execute("SELECT schema_name, table_name FROM duckdb_tables()").fetchall():
            yield f"{schema}.{table}", repr(connection.execute(f"FROM {schema}.{table}").fetchall()).encode()


def test_the_scan_finds_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_text(f"key={SECRET}")
    with zipfile.ZipFile(tmp_path / "book.xlsx", "w", zipfile.ZIP_DEFLATED) as book:
        book.writestr("sheet.xml", f"<c>{SECRET}</c>" * 50)
    with duckdb.connect(str(tmp_path / "w.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT ? AS url", [f"https://x/?token={SECRET}"]).fetchall()
        connection.execute(f"COPY t TO '{tmp_path}/t.parquet' (COMPRESSION zstd)").fetchall()
    found = traces(tmp_path, SECRET)
    assert {"log.txt", "book.xlsx: sheet.xml", "t.parquet", "w.duckdb: main.t"} <= set(found)
    assert traces(tmp_path, TOKEN) == []


@needs_shared
@pytest.mark.parametrize("fails", [False, True])
def test_no_key_is_left_behind(fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole run with keys set, and one in which the store repeats the key in its refusal."""
    start = {"start_year": 2026, "start_month": "2026-08"}
    registry = SHARED / "real/glaciers.csv"
    shutil.copytree(SHARED / "real/mirror", tmp_path / "mirror")
    home = tmp_path / "home"
    found = platform(home, tmp_path / "mirror", registry, **start)
    monkeypatch.setenv("EARTHDATA_TOKEN", TOKEN)
    assert found.build('key:"raw/rgi7" or key:"derived/outline" or key:"derived/area"').is_good
    with CdsServer(last="2026-10") as server:
        monkeypatch.setenv("CDSAPI_URL", server.api)
        monkeypatch.setenv("CDSAPI_KEY", server.key)
        assert server.key == SECRET
        if fails:
            server.detail = f" (your token is {SECRET})"
            server.licence_accepted = False
        live = platform(home, "live", registry, **start)
        chosen = 'key:"raw/era5" or group:"derived" or group:"exports"'
        outcome = live.build(chosen, Extent(start="2026-08", end="2026-10"))
        assert outcome.is_good is not fails
        assert (SECRET in repr(outcome)) is False
        asked = [e.request.headers.get("private-token") for e in server.log]
        assert SECRET in asked, "the key was used"
    assert (home / "dagster").is_dir() and (home / "raw").is_dir()
    assert traces(home, SECRET) == []
    assert traces(home, TOKEN) == []
