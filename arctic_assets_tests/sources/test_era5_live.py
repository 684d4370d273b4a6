"""ERA5 from the Climate Data Store: the real client against a store on the loopback interface."""

from __future__ import annotations

import datetime as dt
import logging
import math
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from arctic_assets import glaciers
from arctic_assets.errors import SourceError, UnavailableError
from arctic_assets.provenance import SourceObject
from arctic_assets.sources import cds, era5
from arctic_assets.sources.base import Delivery, Missing, Remote, Unchanged
from arctic_assets.sources.cds import Jobs, Ledger, RunState
from arctic_assets.sources.era5 import Box, Index
from arctic_assets.sources.origins import LiveOrigin
from arctic_assets.storage.archive import Archive
from arctic_assets_tests.testkit import faults
from arctic_assets_tests.testkit.base import LoopbackServer, Request, Response
from arctic_assets_tests.testkit.cds import DATASET, CdsServer, arctic_air

GLACIERS = {"07": [(11.7, 78.8, 11.9, 78.95)], "01": [(-149.2, 61.1, -148.8, 61.3), (-148.95, 60.3, -148.8, 60.5)]}
BOXES = era5.request_boxes(GLACIERS)


def years(first: int, end: int) -> list[str]:
    """All months of some years."""
    return [f"{year}-{month:02d}" for year in range(first, end) for month in range(1, 13)]


MONTHS = years(1985, 2025)
YEARS_FROM_SPRING = years(1990, 2000)[2:]  # January and February of the first year may come along
FEW = ["2026-06", "2026-07"]
INVARIANTS = ["geopotential", "land_sea_mask"]
MONTHLY = ["2m_temperature", "total_precipitation"]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # cdsapi warns when it cannot read the store's messages


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[CdsServer]:
    with CdsServer() as server:
        monkeypatch.setenv("CDSAPI_URL", server.api)
        monkeypatch.setenv("CDSAPI_KEY", server.key)
        monkeypatch.delenv("CDSAPI_RC", raising=False)
        yield server


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "raw")


def jobs(folder: Path, **options: Any) -> Jobs:
    """The jobs of a run, impatient."""
    return Jobs(LiveOrigin(), Ledger(folder / ".jobs"), **({"longest_pause_s": 0.01} | options))


def bring(archive: Archive, months: list[str], groups: tuple[str, ...] = ("07", "01"), **options: Any) -> list[Missing]:
    """Archive what is lacking; returns what is missing."""
    gaps: list[Missing] = []
    boxes = {group: BOXES[group] for group in groups}
    with jobs(archive.root, **options) as running:
        wanted = era5.remotes(LiveOrigin(), months, boxes, archive.objects("era5"), running._ledger.jobs())
        for remote in running.answered(wanted):
            if isinstance(remote, Missing):
                gaps.append(remote)
                continue

            def transfer(part: Path, known: SourceObject | None, remote: Remote = remote) -> Delivery | None:
                outcome = running.fetch(remote, part, known)
                assert isinstance(outcome, Delivery)
                return outcome

            archive.store(era5.PRODUCT, remote.path, transfer, remote.verify)
    assert running._ledger.jobs() == []
    return gaps


def monthly(store: CdsServer) -> list[list[str]]:
    """Months of each job for temperature and precipitation."""
    return [sorted(job.months) for job in store.jobs if job.inputs["variable"] == MONTHLY]


def few(group: str = "07") -> Remote:
    remote = era5.remotes(LiveOrigin(), FEW, {group: BOXES[group]}, [])[0]
    assert isinstance(remote, Remote) and remote.request is not None
    return remote


def ask(target: Path, remote: Remote | None = None, **options: Any) -> Delivery | Missing:
    """Bring one file to `target`."""
    with jobs(target.parent, **({"tries": 1} | options)) as running:
        (answered,) = take(running, [remote or few()], target)
    return answered


def take(running: Jobs, wanted: list[Remote], target: Path) -> Iterator[Delivery | Missing]:
    """What comes of files, each written to `target`."""
    for answered in running.answered(wanted):
        outcome = answered if isinstance(answered, Missing) else running.fetch(answered, target, None)
        assert not isinstance(outcome, Unchanged)
        yield outcome


def test_480_months_are_one_job_per_box(store: CdsServer, archive: Archive) -> None:
    assert bring(archive, MONTHS) == []
    assert monthly(store) == [MONTHS, MONTHS]
    assert [job.inputs["variable"] for job in store.jobs].count(INVARIANTS) == 1
    assert len(store.jobs) == len(BOXES) + 1

    index = Index(archive.objects("era5"))
    assert index.status() == index.status("tp") == dict.fromkeys(MONTHS, "final")
    for group, around in GLACIERS.items():
        for bounds in around:
            selection = index.select(MONTHS, bounds)
            assert list(selection.chosen.values()) == [MONTHS] and selection.missing == {}
            (name,) = selection.chosen
            found = next(o for o in archive.objects("era5") if o.source_id == name)
            assert f"2m_temperature_total_precipitation_{group}_" in found.path
            data = era5.open_object(archive.file(found))
            assert data["tp"].shape == data["t2m"].shape
            month = data.sel(month="1999-07")["t2m"]
            expected = arctic_air(month.latitude.values[:, None], month.longitude.values[None], "1999-07")
            np.testing.assert_allclose(month, expected, atol=1e-4)
            assert index.invariants(bounds) is not None

    assert bring(archive, MONTHS) == [] and len(store.jobs) == len(BOXES) + 1  # nothing is asked for twice


def test_a_request_says_what_the_store_wants(store: CdsServer, archive: Archive) -> None:
    bring(archive, MONTHS[:2], groups=("01",))
    first, invariants = store.jobs
    assert first.inputs == {
        "product_type": ["monthly_averaged_reanalysis"],
        "variable": ["2m_temperature", "total_precipitation"],
        "year": ["1985"],
        "month": ["01", "02"],
        "time": ["00:00"],
        "area": [61.75, -149.5, 60.0, -148.5],
        "data_format": "netcdf",
        "download_format": "unarchived",
    }
    assert invariants.inputs["variable"] == INVARIANTS and len(invariants.months) == 1
    assert store.count("DELETE") == 0
    downloads = [e.request for e in store.log if e.request.path.startswith("/cache/")]
    assert downloads and not any("private-token" in request.headers for request in downloads)


def test_polls_until_the_job_is_done(store: CdsServer, tmp_path: Path) -> None:
    store.polls = 2
    target = tmp_path / ".hidden.nc.part"
    target.write_bytes(b"of an earlier attempt")
    delivery = ask(target)
    assert isinstance(delivery, Delivery)
    assert delivery.url == f"{store.url}/cache/job-0001.zip"  # without the signature
    assert delivery.expected_bytes == target.stat().st_size
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [target.name]
    assert few().verify(target).content["months"] == {"final": ["2026-06..2026-07"]}


def test_a_new_month_is_one_small_job(store: CdsServer, archive: Archive) -> None:
    year = [f"2026-{month:02d}" for month in range(1, 12)]
    bring(archive, year[:10])
    assert Index(archive.objects("era5")).status()["2026-10"] == "preliminary"
    store.jobs.clear()
    store.last, store.final_until = "2026-11", "2026-08"
    assert bring(archive, year) == []
    (new,) = store.jobs
    assert new.months == year[7:] and new.inputs["variable"] == MONTHLY
    index = Index(archive.objects("era5"))
    (found,) = [o for o in archive.objects("era5") if o.content["months"].get("preliminary") == ["2026-09..2026-11"]]
    for bounds in (bounds for around in GLACIERS.values() for bounds in around):
        assert index.select(["2026-11"], bounds).chosen == {found.source_id: ["2026-11"]}
    assert found.bytes < 20e6
    status = index.status()
    assert {month for month in year if status[month] == "preliminary"} == {"2026-09", "2026-10", "2026-11"}


def test_the_registry_is_a_handful_of_jobs() -> None:
    bounds: dict[str, list[tuple[float, float, float, float]]] = {}
    for glacier in glaciers.load():
        point = (glacier.longitude, glacier.latitude, glacier.longitude, glacier.latitude)
        bounds.setdefault(glacier.o1region, []).append(point)
    boxes = era5.request_boxes(bounds)
    first = era5.remotes(LiveOrigin(), [*MONTHS, *(f"2025-{month:02d}" for month in range(1, 11))], boxes, [])
    assert len(boxes) == 7 and len(first) == len(boxes) + 1
    assert len(era5.remotes(LiveOrigin(), MONTHS[-4:], boxes, [])) == 2  # one is for the invariants


def test_preliminary_months_become_final_and_both_versions_stay(store: CdsServer, archive: Archive) -> None:
    months = ["2026-08", "2026-09"]
    bring(archive, months, groups=("07",))
    bounds = GLACIERS["07"][0]
    (first,) = Index(archive.objects("era5")).select(months, bounds).chosen
    store.final_until = "2026-09"
    store.field = lambda lat, lon, month: arctic_air(lat, lon, month) + 0.5
    bring(archive, months, groups=("07",))
    index = Index(archive.objects("era5"))
    (second,) = index.select(months, bounds).chosen
    assert index.status() == dict.fromkeys(months, "final")
    now = next(o for o in archive.objects("era5") if o.source_id == second)
    assert second != first and now.supersedes == first
    kept = archive.replaced("era5")
    assert [era5.verify(path).content for path in kept] == [o.content for o in kept.values()]
    (replaced,) = (o for o in kept.values() if "t2m" in o.content["variables"])
    assert replaced.content["months"] == {"preliminary": ["2026-08..2026-09"]}
    assert Index(archive.objects("era5")).preliminary(months, bounds) == {}
    assert Index(archive.objects("era5"), [replaced]).preliminary(months, bounds) == {first: months}
    jobs = len(store.jobs)
    assert bring(archive, months, groups=("07",)) == [] and len(store.jobs) == jobs


def test_preliminary_and_final_files_lie_side_by_side(store: CdsServer, archive: Archive) -> None:
    """Month after month other months are lacking, so what is fetched has another name each time."""
    bounds = GLACIERS["07"][0]
    months = [f"2026-{month:02d}" for month in range(5, 11)]
    for n, last in enumerate(months[2:], start=3):
        store.last, store.final_until = last, months[n - 3]
        assert bring(archive, months[:n], groups=("07",)) == []
    found = [o for o in archive.objects("era5") if "t2m" in o.content["variables"]]
    names = [
        f"{DATASET}/2m_temperature_total_precipitation_07_79.25_11.25_78.5_12.25_{first}_{last}.zip"
        for first, last in zip(months[:4], months[2:], strict=True)
    ]
    assert [o.path for o in found] == names and archive.replaced("era5") == {}
    assert [o.content["months"] for o in found] == [
        {"final": [months[i]], "preliminary": [f"{months[i + 1]}..{months[i + 2]}"]} for i in range(4)
    ]
    newest = {found[i].source_id: [months[i + 1]] for i in range(3)}
    assert Index(found).preliminary(months, bounds) == newest


def test_months_in_as_few_rectangles_as_there_are(store: CdsServer, archive: Archive) -> None:
    months = [*MONTHS[2:], "2025-01", "2025-02"]
    assert era5._rectangles(months, ()) == [tuple(f"{y}-{m:02d}" for y in range(1985, 2026) for m in range(1, 13))]
    assert [len(group) for group in era5._rectangles(months, {"1985-01", "2025-03"})] == [10, 39 * 12, 2]
    store.last = "2025-02"
    bring(archive, months, groups=("07",))
    assert len(monthly(store)) == 1
    assert Index(archive.objects("era5")).status() == dict.fromkeys([*MONTHS, "2025-01", "2025-02"], "final")


def test_months_that_are_there_do_not_come_along(store: CdsServer, archive: Archive) -> None:
    store.final_until = "2025-10"
    bring(archive, [f"2025-{m:02d}" for m in range(1, 13)], groups=("07",))
    store.jobs.clear()
    bring(archive, ["2025-01", "2025-11", "2025-12", "2026-01"], groups=("07",))
    assert monthly(store) == [["2025-11", "2025-12"], ["2026-01"]]


def test_months_with_gaps_do_not_take_the_place_of_others(store: CdsServer, archive: Archive) -> None:
    bring(archive, ["2025-01", "2025-05"], groups=("07",))
    held = archive.objects("era5")
    store.jobs.clear()
    wanted = [f"2025-{m:02d}" for m in range(1, 6)]
    (more,) = era5.remotes(LiveOrigin(), wanted, {"07": BOXES["07"]}, held)
    assert isinstance(more, Remote) and more.request and more.request["inputs"]["month"] == ["02", "03", "04"]
    (unheld, _) = era5.remotes(LiveOrigin(), wanted, {"07": BOXES["07"]}, [])
    assert isinstance(unheld, Remote) and unheld.path not in {o.path for o in held}


def test_a_larger_box_is_asked_for_anew(store: CdsServer, archive: Archive) -> None:
    bring(archive, FEW, groups=("07",))
    boxes = era5.request_boxes({"07": [*GLACIERS["07"], (20.0, 77.0, 21.0, 77.5)]})
    asked = era5.remotes(LiveOrigin(), FEW, boxes, archive.objects("era5"))
    assert len(asked) == 2  # one for the invariants
    assert not {r.path for r in asked if isinstance(r, Remote)} & {o.path for o in archive.objects("era5")}
    smaller = {"x": BOXES["07"].grown(-0.25, -0.25)}
    assert era5.remotes(LiveOrigin(), FEW, smaller, archive.objects("era5")) == []


def test_files_of_the_sample_are_no_reason_not_to_ask(store: CdsServer, archive: Archive) -> None:
    bring(archive, FEW)
    sample = [replace(found, is_synthetic=True) for found in archive.objects("era5")]
    assert len(era5.remotes(LiveOrigin(), FEW, BOXES, sample)) == 2


# --- months that are not there yet ------------------------------------------------------------------------------------


def test_a_month_that_does_not_exist_yet_is_a_gap(store: CdsServer, archive: Archive) -> None:
    (gap,) = bring(archive, ["2026-11"], groups=("07",))
    assert "not published yet" in gap.reason and "2026-11" in gap.reason and f"{era5.PRODUCT.homepage}?" in gap.reason
    assert "t2m" not in {name for o in archive.objects("era5") for name in o.content["variables"]}


def test_the_months_that_exist_come_and_the_others_later(store: CdsServer, archive: Archive) -> None:
    store.final_until = "2026-12"
    months = ["2026-09", "2026-10", "2026-11", "2026-12"]
    assert bring(archive, months, groups=("07",)) == []
    assert list(Index(archive.objects("era5")).status()) == months[:2]
    store.last = "2026-12"
    assert bring(archive, months, groups=("07",)) == []
    assert list(Index(archive.objects("era5")).status()) == months
    assert monthly(store) == [months, months[2:]]


def changed(**inputs: object) -> Remote:
    """The request of `few`, with other inputs."""
    request = few().request
    assert request is not None
    return replace(few(), request={**request, "inputs": {**request["inputs"], **inputs}})


def test_a_month_missing_in_the_answer_is_an_error(store: CdsServer, tmp_path: Path) -> None:
    target = tmp_path / "x.nc"
    ask(target, changed(month=["07"]))
    with pytest.raises(SourceError, match="lacks 2026-06"):
        few().verify(target)


def test_another_box_or_variable_in_the_answer_is_an_error(store: CdsServer, tmp_path: Path) -> None:
    target = tmp_path / "x.nc"
    for remote in (changed(area=[79.0, 11.5, 78.75, 12.0]), changed(variable=["land_sea_mask"])):
        ask(target, remote)
        with pytest.raises(SourceError, match="something else"):
            few().verify(target)


# --- errors -----------------------------------------------------------------------------------------------------------


def licence(store: CdsServer) -> None:
    store.licence_accepted = False


def cost(store: CdsServer) -> None:
    store.fields_limit = 1


def wrong_key(store: CdsServer) -> None:
    store.key = "another"


def failing(store: CdsServer) -> None:
    store.failure = "MARS returned no data, please check your selection. Request submitted to the MARS server"


def expired(store: CdsServer) -> None:
    store.results_status = 404


def gone(store: CdsServer) -> None:
    store.results_status = 410


def file_gone(store: CdsServer) -> None:
    store.object_status = 404


def wrong_size(store: CdsServer) -> None:
    store.stated_size_error = 7


def busy(store: CdsServer) -> None:
    store.busy = 100


def other_dataset(store: CdsServer) -> None:
    store._routes = [r for r in store._routes if "processes" not in r[1].pattern]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (licence, ("licence", f"https://cds.climate.copernicus.eu/datasets/{DATASET}?tab=download#manage-licences")),
        (
            cost,
            ("larger than the Climate Data Store allows", "smaller groups", f"{era5.PRODUCT.homepage}?tab=download"),
        ),
        (wrong_key, ("does not accept the key", "CDSAPI_KEY", "https://cds.climate.copernicus.eu/profile")),
        (failing, ("failed to make the file", "MARS returned no data, please check your selection.")),
        (expired, ("no longer has the result", "run again")),
        (gone, ("no longer has the result", "run again")),
        (file_gone, ("no longer has the result", "run again")),
        (wrong_size, ("did not come to its end", "run again")),
        (busy, ("asked too often", "later")),
        (other_dataset, ("does not know the dataset", cds.URL)),
    ],
)
def test_errors_say_what_to_do_and_never_the_key(
    store: CdsServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    fault: Callable[[CdsServer], None],
    words: tuple[str, ...],
) -> None:
    key = store.key
    store.detail = f" (your token {key})"  # a server that repeats it
    caplog.set_level(logging.DEBUG)
    fault(store)
    with pytest.raises(SourceError) as caught:
        ask(tmp_path / "x.nc", tries=2)
    text = str(caught.value)
    for word in (*words, DATASET, "2026-06..2026-07"):
        assert word in text, text
    assert key not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is None and caught.value.__context__ is None
    assert key not in caplog.text and key not in "".join(capfd.readouterr())


def test_a_busy_store_is_asked_again(store: CdsServer, tmp_path: Path) -> None:
    store.busy = 2
    assert isinstance(ask(tmp_path / "x.nc", tries=4), Delivery)
    assert store.count("POST", status=429) == 2 and len(store.jobs) == 1


def test_a_download_that_breaks_off_is_continued(store: CdsServer, tmp_path: Path) -> None:
    """The client writes pieces of 1 MiB: the file must be larger, so it is noise, which does not compress."""
    noise = np.random.default_rng(7)
    store.field = lambda lat, lon, month: noise.uniform(230, 290, (lat.size, lon.size))
    store.cut_after = 1_100_000
    (remote, *_) = era5.remotes(LiveOrigin(), MONTHS, {"07": Box(80.0, 10.0, 76.0, 26.0)}, [])
    assert isinstance(remote, Remote)
    assert isinstance(ask(tmp_path / "x.nc", remote, tries=3), Delivery)
    assert (tmp_path / "x.nc").read_bytes() == store.jobs[0].content
    assert [e.status for e in store.log if e.request.method == "GET" and "/cache/" in e.request.path] == [200, 206]


def test_a_zip_in_place_of_a_netcdf_file(store: CdsServer, archive: Archive) -> None:
    store.zipped = True
    bring(archive, FEW)
    (found,) = [o for o in archive.objects("era5") if "z" in o.content["variables"]]
    assert found.path.endswith(".nc") and archive.file(found).read_bytes().startswith(b"PK")
    assert {"z", "lsm"} == set(era5.open_object(archive.file(found)).data_vars)


@pytest.mark.parametrize("key", ["12345:0b7e4c52-1d1f-4b57", "12345:0b7e4c52:1d1f"])
def test_a_key_of_the_old_form_is_seen_before_anything_is_sent(
    store: CdsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("CDSAPI_KEY", key)
    with pytest.raises(SourceError, match="old form") as caught:
        ask(tmp_path / "x.nc")
    assert store.log == []
    assert "0b7e4c52" not in "".join(traceback.format_exception(caught.value))


def test_without_a_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CDSAPI_URL", "CDSAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "none"))
    account = era5.PRODUCT.account
    assert account is not None and not account.is_set()
    outcome = ask(tmp_path / "x.nc")
    assert isinstance(outcome, Missing) and account.register in outcome.reason


def test_settings_that_the_client_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CDSAPI_URL", "CDSAPI_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "cdsapirc"))
    (tmp_path / "cdsapirc").write_text("key: 0b7e4c52\nverify: perhaps\n")
    with pytest.raises(SourceError, match="cannot use its settings") as caught:
        ask(tmp_path / "x.nc")
    assert "'perhaps'" in str(caught.value) and "0b7e4c52" not in str(caught.value)


def test_the_key_may_lie_in_the_clients_own_file(
    store: CdsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = era5.PRODUCT.account
    assert account is not None
    for name in ("CDSAPI_URL", "CDSAPI_KEY"):
        monkeypatch.delenv(name)
    rc = tmp_path / "cdsapirc"
    monkeypatch.setenv("CDSAPI_RC", str(rc))
    rc.write_text(f"url: {store.api}\n")
    assert not account.is_set()
    rc.write_text(f"url: {store.api}\nkey: {store.key}\n")
    assert account.is_set()
    assert isinstance(ask(tmp_path / "x.nc"), Delivery)


def test_a_key_alone_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The address has a default: it is looked at, not called (there is no network in tests)."""
    monkeypatch.delenv("CDSAPI_URL", raising=False)
    monkeypatch.setenv("CDSAPI_RC", str(tmp_path / "none"))
    monkeypatch.setenv("CDSAPI_KEY", "0b7e4c52")
    with LoopbackServer() as nobody:
        monkeypatch.setattr(cds, "URL", f"{nobody.url}/api")
        with pytest.raises(SourceError):
            ask(tmp_path / "x.nc")
        assert nobody.count(path=f"/api/retrieve/v1/processes/{DATASET}") == 1


class Portal(LoopbackServer):
    """A network that answers everything with its login page."""

    def otherwise(self, request: Request) -> Response:
        return Response(200, b"<html>Please log in</html>", {"Content-Type": "text/html"})


def test_a_server_that_is_no_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CDSAPI_KEY", "0b7e4c52")
    with Portal() as portal:
        url = portal.url
        monkeypatch.setenv("CDSAPI_URL", url)
        with pytest.raises(SourceError, match="answers in another way"):
            ask(tmp_path / "x.nc")
    monkeypatch.setenv("CDSAPI_URL", url)  # now nobody listens there
    with pytest.raises(SourceError, match="cannot be reached"):
        ask(tmp_path / "x.nc")


@pytest.mark.parametrize("status", [403, 500])
def test_the_signature_of_an_address_is_shown_nowhere(
    store: CdsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    caplog.set_level(logging.INFO)
    store.object_status = status
    with pytest.raises(SourceError, match="did not come to its end") as caught:
        ask(tmp_path / "x.nc", tries=2)
    assert f"{store.url}/cache/job-0001.zip" in str(caught.value) and f"HTTP {status}" in str(caught.value)
    shown = "".join(traceback.format_exception(caught.value)) + caplog.text + "".join(capfd.readouterr())
    assert "=secret" not in shown


# --- jobs that survive us ---------------------------------------------------------------------------------------------


def give_up(
    store: CdsServer, archive: Archive, months: list[str] = FEW, groups: tuple[str, ...] = ("07",), **options: Any
) -> str:
    """Wait for a job in a queue that never ends until the wait is over; the error."""
    store.polls = math.inf
    with pytest.raises(SourceError, match="has not made all files yet") as caught:
        bring(archive, months, groups, **({"longest_wait_s": 0.05} | options))
    return str(caught.value)


def test_a_run_that_gives_up_is_continued_by_the_next(store: CdsServer, archive: Archive) -> None:
    text = give_up(store, archive)
    for word in (
        "job-0001 (2m_temperature and total_precipitation of 2026-06..2026-07) is accepted",
        "go on",
        "run again",
    ):
        assert word in text
    records = list((archive.root / ".jobs").glob("*.json"))
    assert len(records) == len(store.jobs) == 2
    kept = Ledger(archive.root / ".jobs").jobs()
    assert [(job.id, job.dataset, job.inputs) for job in kept] == [(j.id, DATASET, j.inputs) for j in store.jobs]
    assert not any(store.key in record.read_text() for record in records)
    store.release()
    lines: list[str] = []
    bring(archive, FEW, groups=("07",), log=lines.append)
    assert len(store.jobs) == 2 and store.count("DELETE") == 0
    assert sum("Continuing to wait for the job" in line for line in lines) == 2
    assert Index(archive.objects("era5")).status() == dict.fromkeys(FEW, "final")


def failed_since(store: CdsServer) -> None:
    for job in store.jobs:
        job.state = "failed"


def dismissed_since(store: CdsServer) -> None:
    for job in store.jobs:
        job.state = "dismissed"


def forgotten_since(store: CdsServer) -> None:
    store.jobs = [replace(job, number=job.number + 100) for job in store.jobs]


def expired_since(store: CdsServer) -> None:
    for job in store.jobs:
        job.state = "expired"


@pytest.mark.parametrize("change", [failed_since, dismissed_since, forgotten_since, expired_since])
def test_a_job_that_came_to_nothing_meanwhile_is_submitted_anew(
    store: CdsServer, archive: Archive, change: Callable[[CdsServer], None]
) -> None:
    give_up(store, archive)
    change(store)
    store.polls = 0
    lines: list[str] = []
    bring(archive, FEW, groups=("07",), log=lines.append)
    assert len(store.jobs) == 4
    assert sum("is submitted anew" in line for line in lines) == 2
    assert Index(archive.objects("era5")).status() == dict.fromkeys(FEW, "final")


def test_a_box_that_is_done_does_not_change_what_others_wait_for(store: CdsServer, archive: Archive) -> None:
    months = YEARS_FROM_SPRING
    give_up(store, archive, months, groups=("07", "01"))
    assert monthly(store) == [years(1990, 2000)] * 2
    store.jobs[0].polls_left = 0
    give_up(store, archive, months, groups=("07", "01"), longest_wait_s=0.5)
    index = Index(archive.objects("era5"))
    assert len(index.over(BOXES["07"])) == 120 and index.over(BOXES["01"]) == {}
    store.release()
    bring(archive, months)
    assert len(store.jobs) == 3 and len(Index(archive.objects("era5")).over(BOXES["01"])) == 120


def test_months_of_one_box_do_not_divide_the_request_for_another(store: CdsServer, archive: Archive) -> None:
    bring(archive, YEARS_FROM_SPRING, groups=("07",))
    store.jobs.clear()
    bring(archive, YEARS_FROM_SPRING)
    assert len(monthly(store)) == 1


def test_pending_jobs_bring_what_is_lacking_whatever_the_run_asks_for(store: CdsServer, archive: Archive) -> None:
    give_up(store, archive, MONTHS[:24])
    assert "waits for a place" not in give_up(store, archive, MONTHS[6:18])
    assert len(store.jobs) == 2
    give_up(store, archive, MONTHS[12:36])
    assert monthly(store) == [MONTHS[:24], MONTHS[24:36]]
    store.release()
    bring(archive, MONTHS[:36], groups=("07",))
    assert len(store.jobs) == 3 and list(Index(archive.objects("era5")).status()) == MONTHS[:36]
    assert not Ledger(archive.root / ".jobs").jobs()


@pytest.mark.parametrize(
    ("submitted", "lacking"), [("2020-10-20", ["10", "11"]), ("2020-11-03", ["10", "11"]), ("2020-11-20", ["11"])]
)
def test_a_pending_job_brings_only_what_was_published_when_it_was_submitted(submitted: str, lacking: list[str]) -> None:
    """Of a rectangle of years, the last months may not have been there yet."""
    (first, _) = era5.remotes(LiveOrigin(), years(2010, 2020), {"07": BOXES["07"]}, [])
    assert isinstance(first, Remote) and first.request
    pending = cds.Job("x", DATASET, first.request["inputs"] | {"year": [f"{y}" for y in range(2010, 2021)]}, submitted)
    months = years(2010, 2021)[:-1]
    waits, *more, _ = era5.remotes(LiveOrigin(), months, {"07": BOXES["07"]}, [], [pending])
    assert isinstance(waits, Remote) and waits.request == pending.request
    assert [r.request["inputs"]["month"] for r in more if isinstance(r, Remote) and r.request] == [lacking]


def test_jobs_for_something_else_are_not_waited_for(store: CdsServer, archive: Archive) -> None:
    asked = few().request
    assert asked is not None
    changes: list[dict[str, Any]] = [{"data_format": "grib"}, {"area": [10.0, 0.0, 0.0, 10.0]}, {"variable": ["snow"]}]
    pending = [cds.Job("x", DATASET, {**asked["inputs"], **change}, "2026-11-06") for change in changes]
    pending += [cds.Job("y", "another", asked["inputs"], "2026-11-06"), cds.Job("z", DATASET, {}, "2026-11-06")]
    wanted = era5.remotes(LiveOrigin(), FEW, {"07": BOXES["07"]}, [], pending)
    assert isinstance(wanted[0], Remote) and wanted[0].request == asked and len(wanted) == 2


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_jobs_are_submitted_before_waiting_but_never_too_many(store: CdsServer, archive: Archive, at_once: int) -> None:
    store.polls = 3
    bring(archive, MONTHS, at_once=at_once)
    assert len(store.jobs) == 3 and store.most_at_once == min(at_once, 3)


def test_jobs_that_other_runs_left_count(store: CdsServer, archive: Archive) -> None:
    give_up(store, archive, at_once=2)
    assert "2026-08 waits for a place" in give_up(store, archive, ["2026-08"], at_once=2)
    assert len(store.jobs) == 2
    dismissed_since(store)
    store.polls = 0
    bring(archive, ["2026-08"], groups=("07",), at_once=1)
    assert len(store.jobs) == 4 and store.most_at_once == 2


@pytest.mark.parametrize("is_cancelled", [True, False])
def test_an_interrupted_run(
    store: CdsServer, archive: Archive, monkeypatch: pytest.MonkeyPatch, is_cancelled: bool
) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    store.polls = math.inf
    monkeypatch.setattr("arctic_assets.sources.cds.time.sleep", interrupt)
    state = RunState.CANCELLED if is_cancelled else RunState.WAITS
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        bring(archive, FEW, groups=("07",), state_of=lambda run: state, log=lines.append)
    states = ["dismissed", "dismissed"] if is_cancelled else ["accepted", "accepted"]
    assert [job.state for job in store.jobs] == states
    assert len(Ledger(archive.root / ".jobs").jobs()) == (0 if is_cancelled else 2)
    assert ("Cancelled the job job-0001" if is_cancelled else "the next run continues with them") in "\n".join(lines)


class Runs(dict[str, RunState]):
    """What has become of runs, by their ids."""

    def interrupt(self, store: CdsServer, archive: Archive, run: str, months: list[str] = FEW) -> list[str]:
        """A person cancels a run while it waits; its log."""

        def cancel(line: str) -> None:
            lines.append(line)
            if line.endswith("is accepted"):
                self[run] = RunState.CANCELLED
                raise KeyboardInterrupt

        lines: list[str] = []
        self[run] = RunState.WAITS
        with pytest.raises(KeyboardInterrupt):
            bring(archive, months, groups=("07",), run=run, state_of=self.__getitem__, log=cancel)
        return lines


def test_a_job_is_cancelled_with_the_last_run_that_waits_for_it(store: CdsServer, archive: Archive) -> None:
    runs = Runs(first=RunState.WAITS)
    give_up(store, archive, run="first", state_of=runs.__getitem__)
    lines = runs.interrupt(store, archive, "second")
    assert "The job job-0001 at the CDS goes on for the run first" in "\n".join(lines)
    assert [job.runs for job in Ledger(archive.root / ".jobs").jobs()] == [("first",)] * 2
    assert store.count("DELETE") == 0
    runs["first"] = RunState.ENDED
    assert "Cancelled the job job-0001" in "\n".join(runs.interrupt(store, archive, "third"))
    assert [job.state for job in store.jobs] == ["dismissed", "dismissed"]


def test_jobs_of_cancelled_runs_are_cancelled_by_the_next_run_that_does_not_want_them(
    store: CdsServer, archive: Archive
) -> None:
    runs = dict.fromkeys(("first", "second", "third"), RunState.WAITS)
    give_up(store, archive, run="first", state_of=runs.__getitem__)
    give_up(store, archive, ["2026-05"], run="second", state_of=runs.__getitem__)
    runs["first"], runs["second"] = RunState.CANCELLED, RunState.ENDED
    give_up(store, archive, ["2026-04"], run="third", state_of=runs.__getitem__)
    assert [job.inputs["month"] for job in store.jobs if job.state == "dismissed"] == [["06", "07"]]
    assert len(store.jobs) == 4 and len(Ledger(archive.root / ".jobs").jobs()) == 3


def test_a_request_without_an_answer_is_cancelled_too(
    store: CdsServer, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(seconds: float) -> None:
        store.heal()
        raise KeyboardInterrupt

    monkeypatch.setattr("arctic_assets.sources.cds.time.sleep", interrupt)
    store.polls = math.inf
    store.break_always(".*/execution", faults.closed())
    with pytest.raises(KeyboardInterrupt):
        bring(archive, FEW, groups=("07",), state_of=lambda run: RunState.CANCELLED)
    assert [job.state for job in store.jobs] == ["dismissed"]
    assert Ledger(archive.root / ".jobs").jobs() == []


def test_a_request_without_an_answer_counts_as_a_job_if_it_is_one(store: CdsServer, archive: Archive) -> None:
    store.polls = math.inf
    for pattern in (".*/execution", ".*/jobs"):
        store.break_always(pattern, faults.closed())
    with pytest.raises(UnavailableError):
        bring(archive, FEW, groups=("07",), tries=2)
    store.heal()
    assert "2026-05 waits for a place" in give_up(store, archive, ["2026-05"], at_once=1)
    assert [job.id for job in Ledger(archive.root / ".jobs").jobs()] == ["job-0001"] == [job.id for job in store.jobs]


def test_an_older_job_for_the_same_is_not_taken_for_a_lost_one(store: CdsServer, archive: Archive) -> None:
    """It may have brought preliminary months that are asked for again."""
    bring(archive, FEW, groups=("07",))
    store.jobs[0].created = "2026-01-01T00:00:00"
    store.log.clear()
    request = few().request
    assert request is not None
    asked = cds.Job("", DATASET, request["inputs"], "2026-11-06T08:00:00+00:00")
    Ledger(archive.root / ".jobs").keep(asked)
    ask(archive.root / "x.nc")
    assert len(store.jobs) == 3 and store.count("GET", "/api/retrieve/v1/jobs") == 1


def test_a_request_that_made_no_job_is_forgotten(store: CdsServer, archive: Archive) -> None:
    ledger = Ledger(archive.root / ".jobs")
    now = dt.datetime.now(dt.UTC)
    for month, age in (("01", dt.timedelta(hours=1)), ("02", dt.timedelta(minutes=1))):
        ledger.keep(cds.Job("", DATASET, {"variable": [], "year": ["2020"], "month": [month]}, (now - age).isoformat()))
    ask(archive.root / "x.nc")
    assert [job.inputs["month"] for job in ledger.jobs() if not job.id] == [["02"]]


def test_what_cannot_be_cancelled_stays_in_the_ledger(
    store: CdsServer, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(line: str) -> None:
        if "is accepted" in line:
            store.key = "another"
            raise KeyboardInterrupt
        lines.append(line)

    store.polls = math.inf
    lines: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        bring(archive, FEW, groups=("07",), state_of=lambda run: RunState.CANCELLED, log=interrupt)
    assert len(Ledger(archive.root / ".jobs").jobs()) == 2
    assert f"could not be cancelled: the next run for ERA5 tries again; or delete it at {cds.REQUESTS_PAGE}" in "".join(
        lines
    )


def test_a_request_that_costs_too_much_is_halved(store: CdsServer, archive: Archive) -> None:
    store.fields_limit = 300
    bring(archive, MONTHS, groups=("07",))
    assert [len(months) for months in monthly(store)] == [120, 120, 120, 120]
    assert [months[0] for months in monthly(store)] == ["1985-01", "1995-01", "2005-01", "2015-01"]
    assert Index(archive.objects("era5")).status() == dict.fromkeys(MONTHS, "final")


def test_a_file_that_is_refused_is_asked_for_anew(store: CdsServer, archive: Archive) -> None:
    store.field = lambda lat, lon, month: arctic_air(lat, lon, month) - 273.15
    with pytest.raises(SourceError):
        bring(archive, FEW, groups=("07",))
    store.field = arctic_air
    bring(archive, FEW, groups=("07",))
    assert len(monthly(store)) == 2


def test_waiting_helps_only_where_it_does(store: CdsServer, archive: Archive) -> None:
    store.job_status = 503
    with pytest.raises(UnavailableError, match="does not answer any more"):
        bring(archive, FEW, groups=("07",), tries=2)
    store.job_status = 200
    bring(archive, FEW, groups=("07",))
    assert len(store.jobs) == 2  # both had been kept
    store.busy = 100
    with pytest.raises(UnavailableError, match="asked too often"):
        bring(archive, ["2026-08"], groups=("07",), tries=2)
    store.busy, store.licence_accepted = 0, False
    with pytest.raises(SourceError) as caught:
        bring(archive, ["2026-08"], groups=("07",))
    assert type(caught.value) is SourceError


def test_a_record_that_cannot_be_read_is_as_none(store: CdsServer, archive: Archive) -> None:
    give_up(store, archive)
    for record in (archive.root / ".jobs").glob("*.json"):
        record.write_text("{")
    store.release()
    bring(archive, FEW, groups=("07",))
    assert len(store.jobs) == 4


# --- the store of these tests speaks the protocol ---------------------------------------------------------------------


def test_the_catalogue_and_the_constraints_through_the_real_client(store: CdsServer) -> None:
    import cdsapi

    client = cdsapi.Client(progress=False, quiet=True).client
    assert f"{client.get_collection(DATASET).end_datetime:%Y-%m-%d}" == "2026-10-31"
    store.last = "2026-11"
    assert f"{client.get_collection(DATASET).end_datetime:%Y-%m-%d}" == "2026-11-30"
    months = client.apply_constraints(DATASET, {"year": ["2026"]})["month"]
    assert months == [f"{month:02d}" for month in range(1, 12)]
    store.licence_accepted = False
    assert client.get_accepted_licences() == []
    client.accept_licence("cc-by", 1)
    assert store.licence_accepted
