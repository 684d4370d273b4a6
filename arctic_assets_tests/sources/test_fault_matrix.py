"""Every fault of the test kit, against every source that comes over HTTP, at every request of its fetch.

A fetch of one glacier takes some requests: pages, look-ups, headers and blocks of rasters, whole files. For each of
them in turn an answer is broken, once or from there on. Whatever happens:

- the fetch ends with the right bytes, or with a `SourceError` that says what was expected, what came, where, and what
  to do; a fault is never taken for "nothing there";
- the archive holds whole files with their provenance, and at most parts under temporary names;
- the next run, with the server whole again, brings everything, without cleaning up by hand, and leaves no parts.

The Climate Data Store comes last: there each kind of request is broken, and all this takes one job at the store.
"""

from __future__ import annotations

import functools
import json
import math
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from arctic_assets import glaciers, sample
from arctic_assets.assets.raw import landsat as landsat_asset
from arctic_assets.assets.wiring import Acquired, RawStore
from arctic_assets.errors import SourceError, UnavailableError
from arctic_assets.sources import amce, dem, era5, farinotti, fog, itslive, landsat, millan, rgi7
from arctic_assets.sources.base import Missing, Remote
from arctic_assets.sources.cds import Jobs, Ledger
from arctic_assets.sources.http import Client
from arctic_assets.sources.origins import HttpOrigin, LiveOrigin, WindowOrigin
from arctic_assets.storage.archive import PART, SIDECAR, Archive
from arctic_assets_tests.testkit import faults
from arctic_assets_tests.testkit.base import Fault, Request, Response
from arctic_assets_tests.testkit.cds import CdsServer
from arctic_assets_tests.testkit.platform import small_registry
from arctic_assets_tests.testkit.server import StaticServer
from arctic_assets_tests.testkit.stac import StacServer

GLACIER, RGI7, RGI6 = "austre_broeggerbreen", "RGI2000-v7.0-G-07-00271", "RGI60-07.00504"
YEAR, INVENTORY = 2005, "2005"
PATIENT_S, IMPATIENT_S = 20.0, 0.15
Bounds = tuple[float, float, float, float]


@dataclass
class Mirrors:
    """A mirror and the same after all its files were replaced, served at one address."""

    old: Path
    new: Path
    server: StaticServer
    stac: StacServer
    patience_s: float = PATIENT_S

    def client(self) -> Client:
        return Client(attempts=2, timeout_s=(self.patience_s, self.patience_s), sleep=lambda seconds: None)

    @property
    def origin(self) -> HttpOrigin:
        return HttpOrigin(self.server.url, self.client())

    def wait(self, seconds: float) -> None:
        """How long clients wait for bytes, GDAL included."""
        self.patience_s = seconds
        for options in (landsat._GDAL, millan._GDAL):
            options["GDAL_HTTP_TIMEOUT"] = str(seconds)

    def turn(self, root: Path) -> None:
        """Put all files of a mirror in place of those that are served."""
        self.server.files.root = root
        self.stac.files.root = self.stac.root = root / "landsat"

    def heal(self) -> None:
        """Whole answers and patient clients again; what a new process does not know is forgotten."""
        self.wait(PATIENT_S)
        landsat._items_on_web.cache_clear()
        for server in (self.server, self.stac):
            server.heal()

    def spoil(self, plan: Plan) -> Plan:
        """Break answers of both servers by a plan."""
        self.heal()
        for server in (self.server, self.stac):
            server.break_always(".*", plan)
        return plan

    @functools.cached_property
    def bounds(self) -> Bounds:
        rows = rgi7.read_outlines(self.old / "rgi7" / rgi7.file_name("07", "G"), [RGI7])
        west, south, east, north = (float(v) for v in rows.total_bounds)
        return west, south, east, north

    @functools.cached_property
    def lines(self) -> list[Any]:
        rows = rgi7.read_centrelines(self.old / "rgi7" / rgi7.file_name("07", "L"), [RGI7])
        return list(rows.geometry)


# --- the sources ------------------------------------------------------------------------------------------------------


def bring_rgi7(store: RawStore, at: Mirrors) -> Acquired:
    return store.acquire(at.origin, rgi7.remotes(at.origin, ["07"]))


def bring_fog(store: RawStore, at: Mirrors) -> Acquired:
    return store.acquire(at.origin, fog.remotes(at.origin))


def bring_amce(store: RawStore, at: Mirrors) -> Acquired:
    return store.acquire(at.origin, amce.remotes(at.origin))


def bring_farinotti(store: RawStore, at: Mirrors) -> Acquired:
    return store.acquire(at.origin, farinotti.remotes(at.origin, [RGI6]))


def bring_era5(store: RawStore, at: Mirrors) -> Acquired:
    return store.acquire(at.origin, era5.remotes(at.origin, ["2019-01"], {}, []))


def bring_millan(store: RawStore, at: Mirrors) -> Acquired:
    lookup = store.acquire(at.origin, [millan.lookup()])
    file = store.archive.file(lookup.objects[0]) if lookup.objects else None
    got = store.acquire(millan.window_origin(at.origin), millan.remotes(at.origin, {GLACIER: at.bounds}, file))
    return Acquired(lookup.objects + got.objects, lookup.missing + got.missing, lookup.n_new + got.n_new)


def bring_dem(store: RawStore, at: Mirrors) -> Acquired:
    wanted = dem.remotes(at.origin, {GLACIER: at.bounds}, {GLACIER: 32633})
    return store.acquire(dem.window_origin(at.origin), wanted)


def bring_itslive(store: RawStore, at: Mirrors) -> Acquired:
    client = replace(at.client(), pause_s=0.01)  # GDAL pauses so long
    if at.patience_s == IMPATIENT_S:
        client.timeout_s = 1.0, 1.0  # in whole seconds, as GDAL's limit of speed here
    with itslive.Mosaics(at.origin, f"{at.server.url}/itslive", client) as mosaics:
        return store.acquire(mosaics, itslive.remotes({GLACIER: at.lines}, {GLACIER: "RGI07A"}, [YEAR]))


def bring_landsat(store: RawStore, at: Mirrors, endpoint: Callable[[Mirrors], str]) -> Acquired:
    found = landsat.search(endpoint(at), landsat.box_of(_box(at.bounds)), INVENTORY, keep=1)
    wanted: list[Remote | Missing] = (
        [found]
        if isinstance(found, Missing)
        else [landsat_asset._window(INVENTORY, GLACIER, item, landsat.box_of(_box(at.bounds))) for item in found]
    )
    return store.acquire(WindowOrigin(at.origin, landsat_asset._cut), wanted)


def _box(bounds: Bounds) -> Any:
    import shapely

    return shapely.box(*bounds)


SOURCES: dict[str, Callable[[RawStore, Mirrors], Acquired]] = {
    "rgi7": bring_rgi7,
    "fog": bring_fog,
    "amce": bring_amce,
    "farinotti": bring_farinotti,
    "era5": bring_era5,
    "millan": bring_millan,
    "dem": bring_dem,
    "itslive": bring_itslive,
    "landsat_pages": functools.partial(bring_landsat, endpoint=lambda at: f"{at.server.url}/landsat"),
    "landsat_stac": functools.partial(bring_landsat, endpoint=lambda at: at.stac.url),
}

# --- the faults -------------------------------------------------------------------------------------------------------


def half(fault: Callable[[int], Fault]) -> Fault:
    """A fault at the middle of the body."""
    return lambda request, response: fault(max(len(response.body) // 2, 1))(request, response)


def longer() -> Fault:
    return lambda request, response: faults.stated_length(len(response.body) + 7)(request, response)


FAULTS: dict[str, Fault] = {
    "429": faults.status(429, Retry_After="0"),
    "429_for_an_hour": faults.status(429, Retry_After="3600"),
    "500": faults.status(500),
    "403": faults.status(403),
    "silence": faults.silence(),
    "closed": faults.closed(),
    "cut": half(faults.cut),
    "nothing": faults.cut(0),
    "stall": half(functools.partial(faults.stall, seconds=0.5)),
    "no_length": half(faults.unmarked),
    "length_too_small": half(faults.stated_length),
    "length_too_large": longer(),
    "page": faults.page(),
}


@dataclass
class Plan:
    """Breaks the answer to one request, or all from it on, in the order in which they come.

    Attributes:
        fault: what happens.
        first: number of the request, from 0.
        lasts: also to those that follow.
        n: requests so far.
    """

    fault: Fault
    first: int
    lasts: bool
    n: int = field(default=0)

    def __call__(self, request: Request, response: Response) -> Response:
        number, self.n = self.n, self.n + 1
        is_hit = number >= self.first if self.lasts else number == self.first
        return self.fault(request, response) if is_hit else response


# --- the mirror -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mirrors]:
    folder = tmp_path_factory.mktemp("faults")
    registry = glaciers.load(small_registry(folder / "glaciers.csv", (GLACIER,)))
    sample.write(folder / "old", registry, "2020-12")
    shutil.copytree(folder / "old", folder / "new")
    for seed, name in enumerate(("old", "new")):
        change(folder / name, seed)
    few = {"GDAL_HTTP_RETRY_DELAY": "0.01", "GDAL_HTTP_MAX_RETRY": "1", "GDAL_HTTP_TIMEOUT": str(PATIENT_S)}
    with (
        pytest.MonkeyPatch.context() as patch,
        StaticServer(folder / "old") as server,
        StacServer(folder / "old/landsat") as stac,
    ):
        mirrors = Mirrors(folder / "old", folder / "new", server, stac)
        patch.setattr(landsat, "Client", mirrors.client)
        for options in (landsat._GDAL, millan._GDAL):
            for name, value in few.items():
                patch.setitem(options, name, value)
        yield mirrors


def change(mirror: Path, seed: int) -> None:
    """Make the files of one mirror differ from the other's, and rasters so large that GDAL reads them in parts."""
    import netCDF4

    random = np.random.default_rng(seed)
    for path in sorted(mirror.rglob("*.zip")):
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = f"version {seed}".encode()
    for path in sorted(mirror.rglob("*.nc")):
        with netCDF4.Dataset(path, "a") as data:
            data.setncattr("version", seed)
    for path in sorted(mirror.glob("landsat/items/*.json")):
        item = json.loads(path.read_text())
        item["properties"]["updated"] = f"202{seed}-01-01T00:00:00Z"
        path.write_text(json.dumps(item))
    for path in sorted([*mirror.rglob("*.tif"), *mirror.rglob("*.TIF")]):
        roughen(path, random)


def roughen(path: Path, random: np.random.Generator) -> None:
    """Add noise that compression cannot take away; small rasters also grow, to the right and downwards."""
    with rasterio.open(path) as raster:
        values, profile, tags = raster.read(1), raster.profile, raster.tags()
    if max(values.shape) < 200:
        values = np.pad(values, ((0, 200), (0, 200)), mode="wrap")
    if "QA_PIXEL" not in path.name:
        is_real = (values > 0) & (values < 30_000)
        noise = random.integers(0, 200, values.shape) if "SR_B" in path.name else random.uniform(0, 1, values.shape)
        values = np.where(is_real, values + noise, values).astype(values.dtype)
    profile |= {"height": values.shape[0], "width": values.shape[1], "compress": "deflate", "tiled": True}
    profile |= {"blockxsize": 64, "blockysize": 64}
    with rasterio.open(path, "w", **profile) as raster:
        raster.update_tags(**tags)
        raster.write(values, 1)


# --- what must hold ---------------------------------------------------------------------------------------------------

Files = dict[str, str]
"""SHA-256 by the provider's path."""
SLOW = {"silence", "stall"}


class Whole:
    """What each source brings from both mirrors when nothing goes wrong, and in how many requests; looked up once."""

    def __init__(self, at: Mirrors, folder: Path) -> None:
        self.at = at
        self.folder = folder
        self._known: dict[tuple[str, Path], tuple[Files, int]] = {}

    def __call__(self, source: str, root: Path) -> tuple[Files, int]:
        if (source, root) not in self._known:
            self.at.turn(root)
            counted = self.at.spoil(Plan(faults.none(), 0, True))
            got = SOURCES[source](RawStore(home=str(self.folder / f"{source}-{root.name}"), mirror=""), self.at)
            assert got.objects and not got.missing
            self._known[source, root] = files(got), counted.n
            self.at.turn(self.at.old)
        return self._known[source, root]


@pytest.fixture(scope="module")
def whole(at: Mirrors, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(at, tmp_path_factory.mktemp("whole"))


def files(got: Acquired) -> Files:
    return {found.path: found.sha256 for found in got.objects}


def spread(n: int, most: int) -> list[int]:
    """Some of `n` requests, among them the first and the last; a single one is the last."""
    return [n - 1] if most == 1 else sorted({round(float(k)) for k in np.linspace(0, n - 1, min(n, most))})


def names(archive: Archive) -> list[str]:
    return [path.relative_to(archive.root).as_posix() for path in archive.root.rglob("*") if path.is_file()]


def assert_whole_files_only(archive: Archive) -> None:
    """Every file under its own name has its provenance, and is what that says."""
    stored = {f"{found.provider}/{found.path}" for found in archive.all_objects()}
    shown = {name for name in names(archive) if not Path(name).name.startswith(".") and not name.startswith(".")}
    assert {name for name in shown if not name.endswith(SIDECAR)} == stored
    for found in archive.all_objects():
        archive.verify(found)


def assert_told(error: SourceError) -> None:
    assert all((error.problem, error.where, error.expected, error.got, error.todo)), str(error)
    assert "vsicurl" not in str(error) and PART not in str(error)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("source", SOURCES)
def test_right_or_a_clear_error_and_the_next_run_goes_on(
    at: Mirrors, whole: Whole, tmp_path: Path, source: str, fault: str
) -> None:
    expected, n = whole(source, at.old)
    for lasts in (False, True):
        for k in spread(n, (2 if fault in SLOW else 3) - lasts):
            store = RawStore(home=str(tmp_path / f"{k}{lasts}"), mirror=at.server.url)
            plan = at.spoil(Plan(FAULTS[fault], k, lasts))
            if fault in SLOW:
                at.wait(IMPATIENT_S)
            try:
                got = SOURCES[source](store, at)
            except SourceError as error:
                assert_told(error)
            else:
                assert (files(got), got.missing) == (expected, []), f"request {k}"
            assert plan.n > k, "the fault came"
            assert_whole_files_only(store.archive)
            at.heal()
            again = SOURCES[source](store, at)
            assert (files(again), again.missing) == (expected, []), f"after request {k}"
            assert_whole_files_only(store.archive)
            assert not [name for name in names(store.archive) if PART in name], "no part is left behind"


@pytest.mark.parametrize("source", SOURCES)
def test_files_that_are_replaced_between_two_requests(at: Mirrors, whole: Whole, tmp_path: Path, source: str) -> None:
    """Each archived file is of one version, or refused; the next run brings the new one.

    The windows of millan and dem are not asked for again: there a name is of one version. A Landsat window may get
    bands of two versions; as the scene's item says that it was made anew, the next run cuts it again.
    """
    old, n = whole(source, at.old)
    new, _ = whole(source, at.new)
    assert old.keys() == new.keys() and not set(old.values()) & set(new.values())
    for k in spread(n, 6):
        store = RawStore(home=str(tmp_path / str(k)), mirror=at.server.url)
        at.spoil(Plan(faults.then(faults.none(), lambda: at.turn(at.new)), k, False))
        try:
            got = files(SOURCES[source](store, at))
        except SourceError as error:
            assert_told(error)
        else:
            assert got.keys() == old.keys()
            assert source.startswith("landsat") or all(sha in (old[path], new[path]) for path, sha in got.items())
        assert_whole_files_only(store.archive)
        at.heal()
        again = files(SOURCES[source](store, at))
        held = {path for path in old if source == "dem" or (source == "millan" and path.startswith("windows/"))}
        assert {path: sha for path, sha in again.items() if path not in held or sha != old[path]}.items() <= new.items()
        at.turn(at.old)


def test_the_requests_of_a_window_are_several(at: Mirrors, whole: Whole) -> None:
    """Else the matrix would break headers only, and not the blocks that come after them."""
    for source in ("millan", "dem", "itslive", "landsat_stac"):
        whole(source, at.old)
        server = at.stac if source == "landsat_stac" else at.server
        with server.lock:
            server.log.clear()
        SOURCES[source](RawStore(home=str(whole.folder / f"{source}-again"), mirror=at.server.url), at)
        later = [e for e in server.log if e.status == 206 and not e.request.headers["range"].startswith("bytes=0-")]
        assert later, source


# --- the Climate Data Store ------------------------------------------------------------------------------------------

CDS_REQUESTS = {
    "process": ".*/processes/[^/]+",
    "execution": ".*/execution",
    "state": ".*/jobs/job-[0-9]+",
    "results": ".*/results",
    "object": "/cache/.*",
}
REFUSALS = {"429", "429_for_an_hour", "403"}
OTHERWISE = {"403", "no_length", "length_too_small", "page"}
"""Faults with which an answer is whole as far as HTTP goes: a client of JSON does not try again."""
CDS_BOX = {"07": era5.Box(79.25, 11.25, 78.5, 12.25)}
CDS_MONTHS = ["2026-06", "2026-07"]
CDS_IMPATIENT_S = 0.3


@pytest.fixture
def cds(monkeypatch: pytest.MonkeyPatch) -> Iterator[CdsServer]:
    with CdsServer() as server:
        monkeypatch.setenv("CDSAPI_URL", server.api)
        monkeypatch.setenv("CDSAPI_KEY", server.key)
        monkeypatch.setenv("CDSAPI_RC", os.devnull)
        yield server


def bring_months(store: RawStore, timeout_s: float = PATIENT_S, **options: float) -> Acquired:
    """What one job brings: the months that the archive lacks."""
    held = store.archive.objects("era5")
    wanted = era5.remotes(LiveOrigin(), CDS_MONTHS, CDS_BOX, held)
    months = [remote for remote in wanted if isinstance(remote, Remote) and "2m_temperature" in remote.path]
    patience = {"longest_pause_s": 0.01, "tries": 2, "timeout_s": timeout_s} | options
    with Jobs(LiveOrigin(), Ledger(store.archive.root / ".jobs"), **patience) as jobs:  # type: ignore[arg-type]
        return store.acquire(jobs, jobs.answered(months))


def assert_brought(store: RawStore) -> None:
    """The months lie in the archive, and nothing is left of the way there."""
    assert era5.Index(store.archive.objects("era5")).status() == dict.fromkeys(CDS_MONTHS, "final")
    assert_whole_files_only(store.archive)
    assert Ledger(store.archive.root / ".jobs").jobs() == []
    assert not [name for name in names(store.archive) if PART in name]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("asked", CDS_REQUESTS)
def test_whatever_breaks_at_the_climate_data_store_there_is_one_job(
    cds: CdsServer, tmp_path: Path, asked: str, fault: str
) -> None:
    spoil = FAULTS[fault]
    if asked == "execution" and fault in REFUSALS:  # who refuses a request makes no job
        spoil = faults.then(spoil, lambda: cds.jobs.pop())
    for lasts in (False, True):
        cds.jobs.clear()
        store = RawStore(home=str(tmp_path / str(lasts)), mirror="live")
        plan = Plan(spoil, 0, lasts)
        cds.break_always(CDS_REQUESTS[asked], plan)
        error: SourceError | None = None
        try:
            bring_months(store, CDS_IMPATIENT_S if fault in SLOW else PATIENT_S)
        except SourceError as raised:
            error = raised
            assert_told(error)
            assert_whole_files_only(store.archive)
        else:
            assert_brought(store)
        is_tried_again = fault not in OTHERWISE or (asked == "object" and fault != "403")
        is_passing = is_tried_again and not lasts and (asked, fault) != ("object", "429_for_an_hour")
        if is_passing or (asked == "execution" and fault not in REFUSALS):  # tried again, or found in the list of jobs
            assert error is None
        else:
            assert error and isinstance(error, UnavailableError) == is_tried_again
        assert plan.n, "the fault came"
        cds.heal()
        bring_months(store)
        assert_brought(store)
        assert len(cds.jobs) == 1, f"lasts: {lasts}"


@pytest.mark.parametrize("fault", ["closed", "500", "page"])
def test_a_lost_answer_and_no_list_of_jobs_are_still_one_job(cds: CdsServer, tmp_path: Path, fault: str) -> None:
    store = RawStore(home=str(tmp_path), mirror="live")
    for pattern in (CDS_REQUESTS["execution"], ".*/jobs"):
        cds.break_always(pattern, FAULTS[fault])
    for _ in range(2):
        with pytest.raises(SourceError) as caught:
            bring_months(store)
        assert_told(caught.value)
        assert [job.id for job in Ledger(store.archive.root / ".jobs").jobs()] == [""]
    cds.heal()
    bring_months(store)
    assert_brought(store)
    assert len(cds.jobs) == 1


def _fails(cds: CdsServer) -> None:
    cds.failure = "MARS returned no data"


def _takes_a_licence(cds: CdsServer) -> None:
    cds.licence_accepted = False


def _costs_too_much(cds: CdsServer) -> None:
    cds.fields_limit = 1


def _never_ends(cds: CdsServer) -> None:
    cds.polls = math.inf


@pytest.mark.parametrize(
    ("spoil", "words", "jobs"),
    [
        (_fails, "failed to make the file", 2),
        (_takes_a_licence, "licence", 1),
        (_costs_too_much, "larger than", 1),
        (_never_ends, "has not made all files yet", 1),
    ],
)
def test_what_the_climate_data_store_says_itself(
    cds: CdsServer, tmp_path: Path, spoil: Callable[[CdsServer], None], words: str, jobs: int
) -> None:
    store = RawStore(home=str(tmp_path), mirror="live")
    spoil(cds)
    with pytest.raises(SourceError, match=words) as caught:
        bring_months(store, longest_wait_s=0.1)
    assert_told(caught.value)
    assert_whole_files_only(store.archive)
    cds.failure, cds.licence_accepted, cds.fields_limit = None, True, 100
    cds.release()
    bring_months(store)
    assert_brought(store)
    assert len(cds.jobs) == jobs
