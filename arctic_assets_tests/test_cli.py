"""The command line: what it prints, what it does, and its exit codes."""

from __future__ import annotations

import socket
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from arctic_assets.cli import main
from arctic_assets.sources import era5, fog, rgi7
from arctic_assets.storage.archive import Archive
from arctic_assets.tables import MassBalance, TemperatureMonthly
from arctic_assets_tests.testkit.cds import CdsServer
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform, small_registry

FOG_AND_BALANCE = 'key:"raw/fog" or key:"derived/mass_balance"'


def run(*words: object) -> Result:
    """A command as a user types it; whatever goes wrong, no user sees a traceback."""
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def build(found: Platform, *words: object) -> Result:
    places = ("--home", found.current.home, "--mirror", found.current.mirror)
    return run("build", *places, "--glaciers", found.current.glaciers, *words)


def line_with(text: str, output: str) -> str:
    (line,) = (line for line in output.splitlines() if text in line)
    return line


# --- build ------------------------------------------------------------------------------------------------------------


def test_build_sums_up(built: Platform) -> None:
    result = build(built, "--select", FOG_AND_BALANCE, "--start", "1980", "--end", "2020")
    assert result.exit_code == 0
    balances = built.rows(MassBalance)
    gaps = built.warehouse.gaps("derived/mass_balance")
    years = balances[["glacier_id", "year"]].drop_duplicates()
    assert len(years) > 100 and len(years) + len(gaps) == 3 * 41
    cells = [cell.strip() for cell in line_with("derived.mass_balance ", result.output).strip("│ ").split("│")]
    assert cells == ["derived.mass_balance", str(len(balances)), "3", str(len(gaps))]
    n_gaps = len(built.warehouse.gaps())
    assert f"{n_gaps} partitions without data; the most frequent reasons (all: provenance.gap):" in result.output
    assert "checks: 7 passed, 0 failed\n" in result.output
    assert "SYNTHETIC data" in result.output
    home = built.current.home
    assert f"raw files   {home}/raw\nDuckDB      {home}/arctic.duckdb\nexports     {home}/exports\n" in result.output
    assert "failed" not in result.output.replace("0 failed", "")
    published = built.current.published
    assert published.stat().st_mtime_ns >= built.current.warehouse.stat().st_mtime_ns


def test_build_of_one_glacier_and_a_few_months(built: Platform) -> None:
    before = built.tables()["temperature_monthly"]
    words = ("--glacier", "geitlandsjokull", "--start", "2018-11", "--end", "2018-12")
    assert build(built, "--select", "derived/temperature_monthly", *words).exit_code == 0
    after = built.rows(TemperatureMonthly)
    new = after[after["month"] < "2019"]
    assert list(zip(new["glacier_id"], new["month"], strict=True)) == [
        ("geitlandsjokull", "2018-11"),
        ("geitlandsjokull", "2018-12"),
    ]
    kept = built.tables()["temperature_monthly"].drop(new.index).reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, before, check_exact=True)


def test_build_of_two_glaciers_that_are_no_neighbours(built: Platform) -> None:
    ids = built.partitions.registry.ids
    words = ("--glacier", ids[0], "--glacier", ids[2], "--start", "2018", "--end", "2018")
    assert build(built, "--select", "derived/temperature_monthly", *words).exit_code == 0
    frame = built.rows(TemperatureMonthly)
    counts = frame[frame["month"] < "2019"].groupby("glacier_id").size()
    assert counts.to_dict() == {ids[0]: 12, ids[2]: 12}


def test_check_of_severity_error_is_an_exit_code(built: Platform) -> None:
    with built.warehouse.get_connection() as connection:
        connection.execute("UPDATE derived.area SET area_km2 = 99999 WHERE glacier_id = 'engabreen'")
    result = build(built, "--select", "derived/area", "--glacier", "geitlandsjokull")
    assert result.exit_code == 1
    assert "checks: 6 passed, 3 failed\n" in result.output
    assert "  ERROR derived/area: fits_model\n" in result.output
    assert "  WARN derived/area: agrees_with_rgi\n" in result.output

    result = build(built, "--select", "derived/area", "--glacier", "engabreen")
    assert result.exit_code == 0
    assert "checks: 9 passed, 0 failed\n" in result.output


def test_warning_is_shown_and_is_no_exit_code(built: Platform) -> None:
    with built.warehouse.get_connection() as connection:
        connection.execute("DELETE FROM derived.area WHERE glacier_id = 'engabreen'")
    result = build(built, "--select", "derived/area", "--glacier", "geitlandsjokull")
    assert result.exit_code == 0
    assert "checks: 8 passed, 1 failed\n  WARN derived/area: no_glacier_is_missing\n" in result.output


def test_message_with_brackets_is_printed_as_it_is(built: Platform) -> None:
    """The terminal library takes words in brackets for colours, and fails over [/unknown] ones."""
    for file in Path(built.current.mirror, "rgi7").glob("RGI2000-v7.0-G-07*.zip"):
        file.write_text("[/red] is no colour")
    result = build(built, "--select", "raw/rgi7")
    assert result.exit_code == 1
    assert "got: a file that begins with b'[/red] is no col' (File is not a zip file)\n" in result.output


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--start", "abc"), 1, ("this is no month", "--start", "YYYY-MM", "abc")),
        (("--end", "2020-13"), 1, ("this is no month", "--end", "2020-13")),
        (("--start", "2090"), 1, ("no month and no year lies in the extent", "1985-01", "2090-01 to the end")),
        (("--start", "2000", "--end", "1990-06"), 1, ("no month and no year", "2000-01 to 1990-06")),
        (("--select", "derived/glacier"), 1, ("the selection names no asset", "derived/area, derived/area_change")),
        (("--select", "area or volume"), 1, ("the selection names no asset", "area or volume")),
        (("--select", "key:("), 1, ("the selection names no asset", "key:(")),
        (("--glacier", "engabreem"), 1, ("no such glacier in the registry", "did you mean engabreen?")),
        (("--mirror", "/nowhere/at/all"), 1, ("the mirror does not exist", "/nowhere/at/all", "'sample', 'live'")),
        (("--colour", "red"), 2, ("No such option", "--colour")),
    ],
)
def test_options_that_cannot_be(
    small_mirror: Platform, tmp_path: Path, words: tuple[str, ...], code: int, told: tuple[str, ...]
) -> None:
    fresh = platform(tmp_path / "home", small_mirror.current.mirror, small_mirror.current.glaciers)
    result = build(fresh, *words)
    assert result.exit_code == code
    for word in told:
        assert word in result.output
    assert not (tmp_path / "home").exists()


HEADER = "glacier_id,name,kind,o1region,longitude,latitude,utm_epsg,rgi7_ids"
ROW = "engabreen,Engabreen,glacier,08,13.8,66.65,32633,RGI2000-v7.0-G-08-00389"
GOOD = f"{HEADER}\n{ROW}\n"
REGISTRIES: dict[str, tuple[bytes | None, tuple[str, ...]]] = {
    "absent": (None, ("cannot be read", "No such file or directory", "ARCTIC_ASSETS_GLACIERS")),
    "empty": (b"", ("is empty", "a header row and at least one glacier")),
    "workbook": (b"PK\x03\x04 and so on", ("not a CSV file", "Excel workbook", "CSV UTF-8")),
    "not UTF-8": (GOOD.replace("Engabreen", "Brøgger").encode("latin-1"), ("not UTF-8", "line 2")),
    "semicolons": (GOOD.replace(",", ";").encode(), ("not separated by commas",)),
    "column missing": (GOOD.replace("utm_epsg", "zone").encode(), ("column is missing", "add utm_epsg")),
    "twice the same": (f"{GOOD}{ROW}\n".encode(), ("2 problems", "row 3", "already that of row 2")),
    "axes swapped": (GOOD.replace("13.8,66.65", "66.65,13.8").encode(), ("row 2", "swapped")),
    "id of another region": (GOOD.replace("G-08", "G-07").encode(), ("row 2", "region 07")),
}


@pytest.mark.parametrize("name", REGISTRIES)
@pytest.mark.parametrize("command", ["build", "status"])
def test_registry_that_cannot_be_used(tmp_path: Path, command: str, name: str) -> None:
    content, told = REGISTRIES[name]
    path = tmp_path / "my_glaciers.csv"
    if content is not None:
        path.write_bytes(content)
    result = run(command, "--home", tmp_path / "home", "--glaciers", path)
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    for word in (str(path), "what to do: ", *told):
        assert word in result.output
    assert not (tmp_path / "home").exists()


# --- the others -------------------------------------------------------------------------------------------------------


def test_status_before_any_build(tmp_path: Path) -> None:
    result = run("status", "--home", tmp_path / "home")
    assert result.exit_code == 1
    assert result.output == f"Error: nothing was built in {tmp_path}/home yet: run `arctic-assets build`\n"


def test_status(small_home: Platform) -> None:
    result = run("status", "--home", small_home.current.home, "--glaciers", small_home.current.glaciers)
    assert result.exit_code == 0
    assert "3 glaciers" in result.output
    cells = line_with("temperature_monthly ", result.output).replace(" ", "").split("│")
    assert cells == ["temperature_monthly", "72", "3", "2019-01", "2020-12", "9", "0"]
    cells = line_with("mass_balance ", result.output.partition("partitions without")[0]).replace(" ", "").split("│")
    assert cells == ["mass_balance", "12", "3", "2019", "2020", "", "0"]
    (preliminary,) = (line for line in result.output.splitlines() if line.startswith("preliminary"))
    assert preliminary == "preliminary months: 2020-10, 2020-11, 2020-12"
    assert "partitions without data; the most frequent reasons (all: provenance.gap):" in result.output


def test_sample(tmp_path: Path) -> None:
    registry = small_registry(tmp_path / "glaciers.csv", ("west_gulkana",))
    words = ("sample", tmp_path / "mirror", "--glaciers", registry, "--through", "1981-06")
    result = run(*words)
    assert result.exit_code == 0
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "mirror").rglob("*") if path.is_file()}
    assert result.output.startswith(f"SYNTHETIC mirror with {len(files)} files, ")
    assert result.output.endswith(f" MB, in {tmp_path}/mirror\n")
    assert {path.parent.name for path in files} >= {"era5", "rgi7", "wgms", "RGI60-01"}
    assert run(*words).output == result.output
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_sample_does_not_overwrite_other_files(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    result = run("sample", tmp_path)
    assert result.exit_code == 1
    assert "the sample's directory holds something else" in result.output
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == ["thesis.tex"]


def test_sample_through_a_month_that_is_none(tmp_path: Path) -> None:
    result = run("sample", tmp_path / "mirror", "--through", "2020-13")
    assert result.exit_code == 1
    assert "the sample's last month cannot be used" in result.output
    assert not (tmp_path / "mirror").exists()


def test_verify(built: Platform) -> None:
    archive = Archive(built.current.archive)
    objects = archive.all_objects()
    result = run("verify", "--home", built.current.home)
    assert result.exit_code == 0
    assert result.output == f"{len(objects)} archived files are as they were stored\n"

    changed = archive.file(objects[3])
    changed.write_bytes(changed.read_bytes() + b"\0")
    result = run("verify", "--home", built.current.home)
    assert result.exit_code == 1
    assert "an archived file was changed after it was stored" in result.output
    assert f"in: {changed}\n" in result.output
    assert "what to do: delete the file and its .source.json; the next run fetches it again\n" in result.output

    for file in (changed, changed.with_name(f"{changed.name}.source.json")):
        file.unlink()
    tables = built.tables()
    assert build(built, "--select", "group:raw", "--start", "2020", "--end", "2020").exit_code == 0
    assert run("verify", "--home", built.current.home).exit_code == 0
    assert_same_tables(tables, built.tables())


# --- live -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, and a proxy that is not there: no request leaves this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    for name in ("EARTHDATA_TOKEN", "CDSAPI_KEY", "CDSAPI_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "user/.cdsapirc"))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, nobody)
        monkeypatch.setenv(name.upper(), nobody)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")


def live(tmp_path: Path, *words: object) -> Result:
    registry = small_registry(tmp_path / "glaciers.csv", ("engabreen",))
    return run("build", "--mirror", "live", "--home", tmp_path / "home", "--glaciers", registry, *words)


def test_live_names_the_accounts_and_fails_soon_without_a_network(no_network: None, tmp_path: Path) -> None:
    result = live(tmp_path, "--start", "2020", "--end", "2020")
    assert result.exit_code == 1
    accounts, _, told = result.output.partition("checks: 0 passed, 0 failed\n")
    assert "Randolph Glacier Inventory, outlines at UNESCO IHP-WINS: open\n" in accounts
    assert f"{fog.PRODUCT.name}: open\n" in accounts
    for account in (era5.PRODUCT.account, rgi7.NSIDC_PRODUCT.account):
        assert account
        assert f": no key for {account.name}: gaps with this reason\n" in accounts
        assert f"    get it at: {account.register}\n    where it goes: {account.key}\n" in accounts
    for asset, url in (("raw/fog", fog.VERSIONS_URL), ("raw/rgi7", rgi7.CKAN_URL.partition("?")[0])):
        _, _, message = told.partition(f"failed: {asset}\n")
        assert message.startswith(
            "  arctic_assets.errors.UnavailableError: a provider cannot be reached or breaks off\n"
        )
        assert f"in: {url}\n" in message.partition("failed:")[0]
    assert told.count("got: Connection refused (attempt 2 of 2)\n") == 3  # raw/amce too
    assert told.count("not run, because an upstream asset failed: ") == 23
    assert not list((tmp_path / "home/raw").rglob("*.source.json"))


def test_live_source_without_a_key_is_a_gap_with_the_account(no_network: None, tmp_path: Path) -> None:
    result = live(tmp_path, "--select", "raw/era5", "--start", "2020-01", "--end", "2020-02")
    assert result.exit_code == 0
    found = platform(tmp_path / "home", "live", tmp_path / "glaciers.csv")
    gaps = found.warehouse.gaps("raw/era5").set_index("partition")["reason"]
    assert list(gaps.index) == ["2020-01", "2020-02"]
    assert "needs an account (Climate Data Store (ECMWF), personal access token)" in gaps["2020-01"]
    assert "x raw/era5: no ERA5 2 m temperature of …: ERA5 monthly averaged data" in result.output


def test_live_source_that_works_is_not_stopped_by_one_that_fails(
    no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CdsServer() as server:
        monkeypatch.setenv("CDSAPI_URL", server.api)
        monkeypatch.setenv("CDSAPI_KEY", server.key)
        words = ("--select", 'key:"raw/fog" or key:"raw/era5"', "--start", "2020-01", "--end", "2020-02")
        result = live(tmp_path, *words)
    assert result.exit_code == 1
    assert "failed: raw/fog\n" in result.output and "failed: raw/era5" not in result.output
    held = Archive(tmp_path / "home/raw").objects("era5")
    assert [found.content["variables"] for found in held] == [["t2m", "tp"], ["lsm", "z"]]
    assert held[0].content["months"] == {"final": ["2020-01..2020-02"]}
    assert not any(found.is_synthetic for found in held)


@pytest.mark.timeout(100)  # with the waits of the store's own client it would be 150 s
def test_climate_data_store_that_cannot_be_reached(
    no_network: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDSAPI_KEY", "0b7e4c52-1d1f-4b57-9f0e-8a6d3c2b1a90")
    result = live(tmp_path, "--select", "raw/era5", "--start", "2020-01", "--end", "2020-02")
    assert result.exit_code == 1
    assert "the Climate Data Store cannot be reached" in result.output
    assert "what to do: check the url and the network, and run again later\n" in result.output
    assert "0b7e4c52" not in result.output
