"""The UI as its users have it: a backfill from its button, and its pages in a real browser.

`ARCTIC_ASSETS_SCREENSHOTS=<directory>` runs the same tests on the sample of all 16 glaciers and saves the pictures
that the documentation shows.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from arctic_assets.automation.build import Extent
from arctic_assets.tables import TemperatureMonthly
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform
from arctic_assets_tests.testkit.ui import Ui, dagster_dev

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

SCREENSHOTS = os.environ.get("ARCTIC_ASSETS_SCREENSHOTS")
MONTHLY = "derived/temperature_monthly"
MONTH = "1996-07"
YEAR = Extent(start="1996-01", end="1996-12")
"""In 1996 FoG has no balance of Geitlandsjökull yet: a check that fails, and says why."""

CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def complete(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """Built by rectangles: a year of three glaciers, or the whole sample for the pictures."""
    if SCREENSHOTS:
        return request.getfixturevalue("whole_sample")
    mirror = request.getfixturevalue("small_mirror").current
    found = platform(tmp_path_factory.mktemp("complete"), mirror.mirror, mirror.glaciers)
    assert found.build("group:raw or group:derived", YEAR).is_good
    assert found.build("derived/mass_balance", YEAR).is_good  # its checks judge now beside the gaps of all tables
    return found


@pytest.fixture(scope="module")
def lacking(complete: Platform, tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The same home without one month of temperature."""
    home = tmp_path_factory.mktemp("lacking") / "home"
    shutil.copytree(complete.current.home, home)
    found = platform(home, complete.current.mirror, complete.current.glaciers)
    with found.warehouse.get_connection() as connection:
        connection.execute(f"DELETE FROM derived.temperature_monthly WHERE month = '{MONTH}'")
    assert len(complete.rows(TemperatureMonthly)) - len(found.rows(TemperatureMonthly)) == len(_glaciers(found))
    return found


@pytest.fixture(scope="module")
def ui(lacking: Platform) -> Iterator[Ui]:
    with dagster_dev(lacking) as running:
        yield running


@pytest.fixture(scope="module")
def launched(ui: Ui, lacking: Platform) -> str:
    """Id of a backfill of the month for all glaciers, launched as the button does.

    The daemon looks every 30 s: the pages are looked at meanwhile, and what came of it is tested last.
    """
    return ui.launch_backfill(MONTHLY, [f"{g}|{MONTH}" for g in _glaciers(lacking)])


@pytest.fixture(scope="module")
def backfill(ui: Ui, launched: str) -> dict[str, Any]:
    """The backfill when it has ended."""
    return ui.wait_for_backfill(launched)


def _glaciers(found: Platform) -> tuple[str, ...]:
    return found.partitions.registry.ids


class Browser:
    """Chromium on a running UI; notes what goes wrong in it.

    Attributes:
        page: the tab.
        errors: errors of the console, of scripts and of GraphQL answers.
    """

    def __init__(self, page: Page, ui: Ui) -> None:
        self.page = page
        self.errors: list[str] = []
        self._ui = ui
        self._answers: list[Response] = []
        page.set_default_timeout(60_000)
        page.on("console", lambda m: self.errors.append(f"console: {m.text}") if m.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(f"script: {error}"))
        page.on("response", lambda r: self._answers.append(r) if "/graphql" in r.url else None)

    def open(self, path: str, *texts: str) -> None:
        """Go to a page of the UI, and wait until each of the texts is visible."""
        self.page.goto(f"{self._ui.url}{path}")
        self.see(*texts)

    def see(self, *texts: str) -> None:
        """Wait until each of the texts is visible, then look at the answers that came."""
        for text in texts:
            self.page.get_by_text(text).filter(visible=True).first.wait_for()
        from playwright.sync_api import Error

        for answer in self._answers:
            try:
                body = answer.text()
            except Error:  # of a page that was left before it came
                continue
            if '"errors":' in body or '"PythonError"' in body:
                self.errors.append(f"GraphQL: {body[:500]}")
        self._answers.clear()

    def picture(self, name: str) -> None:
        """Save what is seen, with a palette: a third of the size."""
        if not SCREENSHOTS:
            return
        from PIL import Image

        self.page.wait_for_timeout(3000)  # until spinners and fading in are over
        seen = Image.open(io.BytesIO(self.page.screenshot())).convert("RGB")
        folder = Path(SCREENSHOTS)
        folder.mkdir(parents=True, exist_ok=True)
        seen.quantize(method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            folder / f"{name}.png", optimize=True
        )


@pytest.fixture(scope="module")
def chromium() -> str:
    """Path of the browser."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(names)} is installed")
    return found


@pytest.fixture
def browser(chromium: str, ui: Ui, launched: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        process = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield Browser(process.new_page(viewport={"width": 1600, "height": 1000}), ui)
        process.close()


def test_asset_graph_shows_groups_and_lineage(browser: Browser) -> None:
    groups = ",".join(f"global@global:{group}" for group in ("raw", "derived"))
    derived = ("outline", "area", "thickness", "volume", "mass_balance", "temperature_annual")
    browser.open(f"/asset-groups?expanded={groups}", "exports", "rgi7", "era5", "fog", "farinotti", *derived)
    browser.picture("asset_graph")
    assert browser.errors == []


def test_asset_page_tells_what_the_table_is(browser: Browser) -> None:
    browser.open(
        f"/assets/{MONTHLY}",
        *("Monthly mean air temperature over each outline", "it is not the temperature of the ice"),
        *("unit: degC", "2 m air temperature, mean over the outline. Uncertainty:"),
        *("arctic-assets", "DuckDB", "xarray", "grain: month"),
    )
    browser.picture("asset_page")
    browser.open("/assets/derived/area", "area_sigma_km2", "unit: km2", "0.01 to 25000 km2", "gaps of this run")
    browser.page.get_by_placeholder("Filter columns").evaluate("element => element.scrollIntoView()")
    browser.picture("columns")
    assert browser.errors == []


def test_source_page_is_the_card_of_the_product(browser: Browser) -> None:
    browser.open(
        "/assets/raw/era5",
        *("https://doi.org/10.24381/cds.f17050d7", "CC-BY-4.0", "Hersbach", "preliminary (ERA5T)", "provider: era5"),
        "Kept as the Climate Data Store delivers them",
    )
    assert browser.page.locator("pre").filter(has_text="Kept as").count() == 0, "the description is shown as code"
    browser.picture("source_page")
    assert browser.errors == []


def test_checks_tab_shows_the_evidence(browser: Browser) -> None:
    browser.open(
        "/assets/derived/mass_balance?view=checks&checkDetail=no_glacier_is_missing",
        *("Every glacier of the registry has rows.", "Failed", "rows failed", "failing rows", "what to do"),
        *("has no annual balance of WGMS id", "provenance.gap says why"),
    )
    browser.picture("checks")
    assert browser.errors == []


def test_backfill_dialog_takes_a_month_of_all_glaciers(browser: Browser, lacking: Platform) -> None:
    browser.open(f"/assets/{MONTHLY}", "unit: degC")
    browser.page.get_by_role("button", name="Materialize…").click()
    dialog = browser.page.get_by_role("dialog")
    dialog.get_by_role("button", name="All").first.click()
    dialog.get_by_placeholder("ex: 1985-01").fill(MONTH)
    browser.page.keyboard.press("Tab")
    dialog.get_by_text(f"{len(_glaciers(lacking))} partitions", exact=True).wait_for()
    browser.see("Backfills all partitions in a single run.", "Launch backfill")
    browser.picture("backfill")
    assert browser.errors == []


def test_failed_check_carries_evidence(ui: Ui) -> None:
    execution = ui.checks("derived/mass_balance")["no_glacier_is_missing"]
    assert execution is not None
    assert execution["status"] == "FAILED"
    assert execution["evaluation"]["severity"] == "WARN"
    evidence = {entry["label"]: entry for entry in execution["evaluation"]["metadataEntries"]}
    records = [json.loads(record) for record in evidence["failing rows"]["table"]["records"]]
    assert evidence["rows failed"]["intValue"] == len(records) > 0
    assert all("WGMS id" in record["reason"] for record in records), records
    assert evidence["what to do"]["text"]


def test_backfill_of_a_month_is_one_run_and_gives_the_rows_of_the_rectangle(
    backfill: dict[str, Any], complete: Platform, lacking: Platform
) -> None:
    assert backfill["status"] == "COMPLETED_SUCCESS", backfill
    assert [run["status"] for run in backfill["runs"]] == ["SUCCESS"]
    assert_same_tables(complete.tables(), lacking.tables())
    rows = lacking.rows(TemperatureMonthly)
    assert set(rows.loc[rows["month"] == MONTH, "run_id"]) == {backfill["runs"][0]["id"]}


def test_backfill_judges_the_table_again(backfill: dict[str, Any], ui: Ui) -> None:
    checks = ui.checks(MONTHLY)
    assert len(checks) == 6
    for name, execution in checks.items():
        assert execution is not None, name
        assert (execution["status"], execution["runId"]) == ("SUCCEEDED", backfill["runs"][0]["id"]), name


def test_run_page_tells_what_was_done(browser: Browser, backfill: dict[str, Any]) -> None:
    browser.open(
        f"/runs/{backfill['runs'][0]['id']}",
        *("Success", "6 checks", "derived__temperature_monthly", "check_temperature_monthly", "RUN_SUCCESS"),
    )
    browser.picture("run")
    assert browser.errors == []
