"""The UI as its users have it: a backfill from its button, and its pages in a real browser.

Without a browser the tests of pages skip, and the backfill is launched by the request that the button sends.

`ARCTIC_ASSETS_SCREENSHOTS=<directory>` runs the same tests on the sample of all 16 glaciers and saves the pictures
that the documentation shows.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import pytest

from arctic_assets.automation.build import Extent
from arctic_assets.automation.updates import MonthConfig
from arctic_assets.checks import of_exports
from arctic_assets.definitions import build_defs
from arctic_assets.tables import TemperatureMonthly
from arctic_assets_tests.testkit.platform import Platform, assert_same_tables, platform
from arctic_assets_tests.testkit.ui import Ui, dagster_dev

if TYPE_CHECKING:
    from playwright.sync_api import Page, Response

SCREENSHOTS = os.environ.get("ARCTIC_ASSETS_SCREENSHOTS")
MONTHLY = "derived/temperature_monthly"
MONTH = "1996-07"
YEAR = Extent(start="1996-01", end="1996-12")
LACKING = "derived/balance_period"
"""FoG has no elevation change of Geitlandsjökull: a check that fails, and says why."""

CHROMIUM = (
    next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
    if find_spec("playwright")
    else None
)
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


class Launched(NamedTuple):
    """A backfill of the month for all glaciers, and what went wrong in the browser that launched it."""

    backfill_id: str
    errors: list[str]


@pytest.fixture(scope="module")
def launched(ui: Ui, lacking: Platform) -> Launched:
    """Launched by a click.

    The daemon looks every 30 s: the pages are looked at meanwhile, and what came of it is tested last.
    """
    if CHROMIUM is None:
        return Launched(ui.launch_backfill(MONTHLY, [f"{g}|{MONTH}" for g in _glaciers(lacking)]), [])
    with _browse(ui) as browser:
        return Launched(_click_launch(browser, len(_glaciers(lacking))), browser.errors)


@pytest.fixture(scope="module")
def backfill(ui: Ui, launched: Launched) -> dict[str, Any]:
    """The backfill when it has ended."""
    return ui.wait_for_backfill(launched.backfill_id)


@pytest.fixture(scope="module")
def checks(lacking: Platform) -> set[str]:
    """Names of the checks of the monthly temperature."""
    graph = build_defs(lacking.current).resolve_asset_graph()
    return {key.name for key in graph.get_check_keys_for_assets({dg.AssetKey(MONTHLY.split("/"))})}


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

    def see(self, *texts: str, seconds: float = 60) -> None:
        """Wait until each of the texts is visible, then look at the answers that came."""
        for text in texts:
            self.page.get_by_text(text).filter(visible=True).first.wait_for(timeout=1000 * seconds)
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


@contextmanager
def _browse(ui: Ui) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        process = playwright.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_OPTIONS)
        yield Browser(process.new_page(viewport={"width": 1600, "height": 1000}), ui)
        process.close()


@pytest.fixture
def browser(ui: Ui, launched: Launched) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no browser: playwright or chromium is not installed")
    with _browse(ui) as opened:
        yield opened


def _click_launch(browser: Browser, n_glaciers: int) -> str:
    """Choose the month and all glaciers in the dialog of the asset's page, and launch; the id of the backfill."""
    browser.open(f"/assets/{MONTHLY}", "unit: degC")
    browser.page.get_by_role("button", name="Materialize…").click()
    dialog = browser.page.get_by_role("dialog")
    dialog.get_by_role("button", name="All").first.click()
    dialog.get_by_placeholder("ex: 1985-01").fill(MONTH)
    browser.page.keyboard.press("Tab")
    dialog.get_by_text(f"{n_glaciers} partitions", exact=True).wait_for()
    browser.see("Backfills all partitions in a single run.")
    browser.picture("backfill")
    with browser.page.expect_response(lambda r: "launchPartitionBackfill" in (r.request.post_data or "")) as answer:
        dialog.get_by_role("button", name="Launch backfill").click()
    launched = answer.value.json()["data"]["launchPartitionBackfill"]
    dialog.wait_for(state="hidden")
    browser.see()
    return launched["backfillId"]


def test_asset_graph_shows_groups_and_lineage(browser: Browser) -> None:
    derived = ("outline", "area", "thickness", "volume", "velocity", "mass_balance", "temperature_annual", "trend")
    browser.open("/asset-groups?expanded=global@global:derived", "providers", "raw", "derived", *derived, "exports")
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
        f"/assets/{LACKING}?view=checks&checkDetail=no_glacier_is_missing",
        *("Every glacier of the registry has rows.", "Failed", "rows failed", "failing rows", "what to do"),
        *("no elevation change in FoG", "provenance.gap says why"),
    )
    browser.picture("checks")
    assert browser.errors == []


def test_lineage_leads_from_the_provider_to_the_workbook(browser: Browser) -> None:
    browser.open(
        "/assets/provider/era5?view=lineage&lineageScope=downstream&lineageDepth=100",
        *("External Asset", "providers", "raw", "derived", "temperature_annual", "mass_balance", "exports", "workbook"),
    )
    browser.picture("lineage")
    assert browser.errors == []


def test_automation_says_what_each_sensor_and_schedule_does(browser: Browser, lacking: Platform) -> None:
    repository = build_defs(lacking.current).get_repository_def()
    described = {schedule.name: schedule.description for schedule in repository.schedule_defs}
    described |= {sensor.name: sensor.description for sensor in repository.sensor_defs}
    assert len(described) > 5
    for name, description in described.items():
        assert description, f"{name} has no description"
        browser.open("/automation", *described)
        if name == "new_era5_month":
            browser.picture("sensors")
        browser.page.get_by_role("link", name=name).click()
        browser.see(description)
        if name == "new_era5_month":
            browser.picture("sensor")
    assert browser.errors == []


def test_launchpad_explains_the_config(browser: Browser) -> None:
    browser.open("/jobs", "update_latest_month")
    browser.page.get_by_role("link", name="update_latest_month").first.click()
    browser.see("Bring one month of ERA5")
    browser.page.get_by_role("tab", name="Launchpad").click()
    browser.page.locator(".CodeMirror-line").get_by_text("dry_run").click()
    browser.see("No errors", *(field.description or "" for field in MonthConfig.model_fields.values()))
    browser.picture("launchpad")
    assert browser.errors == []


def test_the_click_asks_for_the_month_of_all_glaciers(launched: Launched, ui: Ui, lacking: Platform) -> None:
    assert launched.errors == []
    assert set(ui.partitions_of(launched.backfill_id)) == {f"{g}|{MONTH}" for g in _glaciers(lacking)}


def test_backfill_turns_green_and_leads_to_its_run(
    browser: Browser, ui: Ui, launched: Launched, checks: set[str]
) -> None:
    browser.open(f"/runs/b/{launched.backfill_id}", "Partitions targeted")
    browser.see("100% completed", seconds=300)
    browser.page.get_by_role("tab", name="Runs").click()
    browser.see("Success", f"{len(checks)} checks")
    (run,) = ui.wait_for_backfill(launched.backfill_id)["runs"]
    browser.page.get_by_role("link", name=run["id"][:8]).first.click()
    browser.see("derived__temperature_monthly", "check_temperature_monthly", "RUN_SUCCESS")
    browser.picture("run")
    assert browser.errors == []


def test_failed_check_carries_evidence(ui: Ui) -> None:
    execution = ui.checks(LACKING)["no_glacier_is_missing"]
    assert execution is not None
    assert execution["status"] == "FAILED"
    assert execution["evaluation"]["severity"] == "WARN"
    evidence = {entry["label"]: entry for entry in execution["evaluation"]["metadataEntries"]}
    records = [json.loads(record) for record in evidence["failing rows"]["table"]["records"]]
    assert evidence["rows failed"]["intValue"] == len(records) > 0
    assert all("no elevation change in FoG" in record["reason"] for record in records), records
    assert evidence["what to do"]["text"]


def test_exports_say_that_they_are_stale(ui: Ui, lacking: Platform) -> None:
    """The daemon has them judged; no run is needed for it."""
    end = time.monotonic() + 300
    while not (found := ui.checks("exports/atlas")[of_exports.NAME]) and time.monotonic() < end:
        time.sleep(1)
    assert found and found["status"] == "FAILED" and found["evaluation"]["severity"] == "WARN"
    evidence = {entry["label"]: entry for entry in found["evaluation"]["metadataEntries"]}
    assert evidence["rows failed"]["intValue"] == len(_glaciers(lacking))
    assert "rebuild_exports" in evidence["what to do"]["text"]


def test_backfill_of_a_month_is_one_run_and_gives_the_rows_of_the_rectangle(
    backfill: dict[str, Any], complete: Platform, lacking: Platform
) -> None:
    assert backfill["status"] == "COMPLETED_SUCCESS", backfill
    assert [run["status"] for run in backfill["runs"]] == ["SUCCESS"]
    assert_same_tables(complete.tables(), lacking.tables())
    rows = lacking.rows(TemperatureMonthly)
    assert set(rows.loc[rows["month"] == MONTH, "run_id"]) == {backfill["runs"][0]["id"]}


def test_backfill_judges_the_table_again(backfill: dict[str, Any], ui: Ui, checks: set[str]) -> None:
    found = ui.checks(MONTHLY)
    assert found.keys() == checks
    for name, execution in found.items():
        assert execution is not None, name
        assert (execution["status"], execution["runId"]) == ("SUCCEEDED", backfill["runs"][0]["id"]), name
