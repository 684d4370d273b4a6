"""Jobs of the Climate Data Store (CDS): asked for once, waited for as long as it takes, by whichever run is there.

The CDS computes a file for each request, and a request waits in a queue, for minutes or for a day. So the id of a job
is written to a ledger before anybody waits for it: a run that is killed or gives up leaves the record, and the next
run that asks for the same waits for the same job. A record goes when its file is in the archive, when the CDS has lost
the job, or when a person cancels the last run that waits for it; then the job is cancelled at the CDS too, by that run,
or by the next one that opens the ledger.

A request for a job is in the ledger before it is sent. Where its answer does not come, there may be a job: it is looked
for among the user's jobs at the CDS before the request is sent again.

All jobs of a run are submitted before it waits for the first, so that their times in the queue overlap, but never more
at once than is allowed; jobs that other runs left in the same ledger count.

Here: the real client, the ledger, waiting, and what failures mean. Not here: what to ask for (`era5`), what is in the
files (`era5_files`), and how a file comes once it has an address (`http`).

The client (`cdsapi`) reads the key itself, from CDSAPI_KEY or ~/.cdsapirc. It tries each request to the server several
times where that may help (408, 429, 5xx, broken connections); when it gives up, that is an `UnavailableError`. Its own
messages are not passed on, because they quote the key.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

import requests
from filelock import FileLock

from arctic_assets.errors import SourceError, UnavailableError
from arctic_assets.sources.base import Account, Delivery, Missing, Origin, Remote, SourceObject, Unchanged
from arctic_assets.sources.era5_files import compress
from arctic_assets.sources.http import Client, TryAgain, is_unreachable, public_url

SITE = "https://cds.climate.copernicus.eu"
URL = f"{SITE}/api"
REQUESTS_PAGE = f"{SITE}/requests?tab=all"
AT_ONCE = 4
"""Jobs at once, where nothing else is said. The CDS itself runs a few of one user and lets the others wait."""

ACCOUNT = Account(
    name="Climate Data Store (ECMWF), personal access token",
    register=f"{SITE}/profile",
    key=f"the token in the environment variable CDSAPI_KEY, or the lines 'url: {URL}' and 'key: <token>' in "
    "~/.cdsapirc; the licence of the dataset must be accepted once on its page",
    is_set=lambda: bool(os.environ.get("CDSAPI_KEY")) or "key" in _rc_names(),
)

T = TypeVar("T")
_CLOCKS = dt.timedelta(minutes=10)
"""So far the clock here and the CDS's may be apart."""
_LISTED = 100
"""So many of the user's newest jobs are looked through for the one of a request whose answer was lost."""


class RunState(Enum):
    """What a run has to do with the jobs it asked for: it waits for them, a person cancelled it, or it is no more."""

    WAITS = "waits"
    CANCELLED = "cancelled"
    ENDED = "ended"


@dataclass(frozen=True)
class Job:
    """A request to the CDS: one file of the ledger. The key is not part of it.

    Attributes:
        id: the CDS's own; empty as long as no answer has told it.
        dataset: what was asked.
        inputs: the request.
        submitted_at: ISO time in UTC.
        runs: ids of the runs that wait for it.
    """

    id: str
    dataset: str
    inputs: Mapping[str, Any]
    submitted_at: str
    runs: tuple[str, ...] = ()

    @property
    def request(self) -> dict[str, Any]:
        """As `Remote.request`."""
        return {"dataset": self.dataset, "inputs": self.inputs}

    @property
    def what(self) -> str:
        """For messages: variables and months."""
        return described(self.inputs)


class Ledger:
    """The jobs that were submitted and whose files are not in the archive yet.

    Args:
        folder: one JSON file per job lies there, named after the hash of its request.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, request: Mapping[str, Any]) -> Job | None:
        """What was submitted for a request."""
        return _read(self._path(request))

    def jobs(self) -> list[Job]:
        """All, the oldest first."""
        found = [job for path in self.folder.glob("*.json") if (job := _read(path))]
        return sorted(found, key=lambda job: (job.submitted_at, job.id))

    def keep(self, job: Job) -> None:
        """Write a record; it is whole or not there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(asdict(job))
        temporary = path.with_suffix(".part")
        temporary.write_text(json.dumps(asdict(job), indent=1))
        os.replace(temporary, path)

    def drop(self, job: Job) -> None:
        """Remove a record, unless another job has taken its place."""
        found = self.find(asdict(job))
        if found and found.id == job.id:
            self._path(asdict(job)).unlink(missing_ok=True)

    def lock(self) -> FileLock:
        """Held while jobs are counted and submitted."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self.folder / ".lock")

    def _path(self, request: Mapping[str, Any]) -> Path:
        asked = json.dumps([request["dataset"], request["inputs"]], sort_keys=True)
        return self.folder / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.json"


class Jobs:
    """The jobs of one run, as a context manager; inside, an origin that brings their files.

    `answered` submits and waits, `fetch` downloads:

        with Jobs(origin, ledger) as jobs:
            got = store.acquire(jobs, jobs.answered(wanted))

    Args:
        behind: origin of everything that is no job.
        ledger: where the ids are kept.
        run: id of this run.
        state_of: what has become of a run, by its id.
        at_once: so many jobs may be in the queue or running at once, with those that other runs left.
        longest_wait_s: in all, for the jobs of this run.
        longest_pause_s: between two looks at a job, and before another try of a failed request.
        tries: how often each request to the server is tried.
        timeout_s: so long each answer is waited for.
        log: takes a line for the log of the run.
    """

    def __init__(
        self,
        behind: Origin,
        ledger: Ledger,
        *,
        run: str = "",
        state_of: Callable[[str], RunState] = lambda run: RunState.WAITS,
        at_once: int = AT_ONCE,
        longest_wait_s: float = 86_400.0,
        longest_pause_s: float = 30.0,
        tries: int = 6,
        timeout_s: float = 60.0,
        log: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.name = behind.name
        self.is_live = behind.is_live
        self._behind = behind
        self._ledger = ledger
        self._run = run
        self._state_of = state_of
        self._at_once = at_once
        self._longest_wait_s = longest_wait_s
        self._longest_pause_s = longest_pause_s
        self._tries = tries
        self._timeout_s = timeout_s
        self._log = log
        self._waiting: list[_Waiting] = []
        self._answered: dict[str, _Waiting] = {}  # by path of the remote; what is not in the archive yet
        self._ended: set[str] = set()  # ids of other runs' jobs
        self._connection_: _Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            for found in self._answered.values():
                if found.is_fetched:  # and the archive refused it: it is to be asked for anew
                    self._ledger.drop(found.job)
        elif error is not None and (own := [job for job in self._ledger.jobs() if self._run in job.runs]):
            if self._state_of(self._run) is RunState.CANCELLED:
                self._leave(own)
            else:
                ids = ", ".join(job.id or "(its answer has not come)" for job in own)
                self._log(f"The run ends; at the CDS the jobs {ids} go on, and the next run continues with them.")

    def names(self, provider: str, folder: str = "") -> list[str]:
        """As the origin behind."""
        return self._behind.names(provider, folder)

    def answered(self, wanted: Iterable[Remote | Missing]) -> Iterator[Remote | Missing]:
        """The same files, each as soon as its job is done; what is no job comes first.

        Whoever takes the next file says by it that the last one is in the archive: then its record goes. After an
        `UnavailableError` it may be called again, with what is lacking then.

        Raises:
            SourceError: the key, the licence or a request is refused, a job fails, or the wait is over. The key is in
                no message.
            UnavailableError: the CDS does not answer; trying again may help.
        """
        self._waiting.clear()
        self._answered.clear()
        queue: deque[Remote] = deque()
        for remote in wanted:
            if isinstance(remote, Missing) or remote.request is None or not ACCOUNT.is_set():
                yield remote
            else:
                queue.append(remote)
        self._continue(queue)
        if ACCOUNT.is_set():
            self._cancel([job for job in self._ledger.jobs() if self._is_unwanted(job)])
        end = time.monotonic() + self._longest_wait_s
        pause_s = first_pause_s = min(1.0, self._longest_pause_s)
        while queue or self._waiting:
            yield from self._submit(queue)
            ready = [found for found in self._waiting if self._is_ready(found, queue)]
            for found in ready:
                self._waiting.remove(found)
                self._answered[found.remote.path] = found
                yield found.remote
                self._ledger.drop(found.job)
                del self._answered[found.remote.path]
            if ready:
                pause_s = first_pause_s
            elif self._waiting or queue:
                if time.monotonic() >= end:
                    self._give_up(queue)
                time.sleep(min(pause_s, max(0.0, end - time.monotonic())))
                pause_s = min(pause_s * 1.5, self._longest_pause_s)

    def fetch(self, remote: Remote, target: Path, known: SourceObject | None) -> Delivery | Unchanged | Missing:
        """Download the file of a job that is done; other files as the origin behind does.

        Raises:
            SourceError: the file is gone or refused; its job is to be submitted anew, if it is gone.
            UnavailableError: the file does not come to its end; it may when it is tried again.
        """
        found = self._answered.get(remote.path)
        if found is None:
            return self._behind.fetch(remote, target, known)
        try:
            delivery = self._connection.download(found.job, found.results, target)
        except _LostJob:
            self._ledger.drop(found.job)
            raise
        found.is_fetched = True
        return delivery

    @property
    def _connection(self) -> _Connection:
        if self._connection_ is None:
            self._connection_ = _Connection(self._longest_pause_s, self._tries, self._timeout_s, self._log)
        return self._connection_

    def _continue(self, queue: deque[Remote]) -> None:
        """Take up the jobs that an earlier run left, and take them out of the queue."""
        for remote in list(queue):
            job = self._ledger.find(_request(remote))
            if job and job.id:
                self._log(f"Continuing to wait for the job {job.id} of {job.submitted_at} at the CDS: {job.what}")
                self._join(remote, job)
                queue.remove(remote)

    def _join(self, remote: Remote, job: Job) -> None:
        """Wait for a job that is there, with the other runs that wait for it."""
        job = replace(job, runs=(*self._others(job), self._run))
        self._ledger.keep(job)
        self._waiting.append(_Waiting(remote, job, is_continued=True))

    def _others(self, job: Job) -> tuple[str, ...]:
        """The other runs that wait for a job."""
        return tuple(run for run in job.runs if run != self._run and self._state_of(run) is RunState.WAITS)

    def _is_unwanted(self, job: Job) -> bool:
        """Whether every run that waited for a job was cancelled by a person, but could not cancel the job."""
        return bool(job.runs) and all(self._state_of(run) is RunState.CANCELLED for run in job.runs)

    def _submit(self, queue: deque[Remote]) -> Iterator[Missing]:
        """Submit as many as may be, the first of the queue first; yields what does not exist."""
        while queue:
            remote = queue[0]
            request = _request(remote)
            with self._ledger.lock():
                active = self._active()
                if (job := self._ledger.find(request)) and job.id:  # another run was faster, or an answer was lost
                    self._join(remote, job)
                    queue.popleft()
                    continue
                if active >= self._at_once:
                    return
                try:
                    answer = self._obtain(request)
                except _TooLarge:
                    halves = remote.halves() if remote.halves else ()
                    if not halves:
                        raise
                    self._log(f"The CDS takes no request as large as {described(request['inputs'])}: it is halved.")
                    queue.popleft()
                    queue.extendleft(reversed(halves))
                    continue
                queue.popleft()
                if isinstance(answer, Job):
                    self._waiting.append(_Waiting(remote, answer))
            if isinstance(answer, Missing):
                yield answer
            else:
                self._log(f"Submitted the job {answer.id} to the CDS: {answer.what}")

    def _obtain(self, request: Mapping[str, Any]) -> Job | Missing:
        """A new job for a request; the lock is held, and there is none for it.

        Raises:
            SourceError: the request is refused. As long as it is not known what came of it, it stays in the ledger.
        """
        process = self._connection.process(request)
        asked = Job("", str(request["dataset"]), dict(request["inputs"]), _now().isoformat(), (self._run,))
        for left in reversed(range(self._tries)):
            self._ledger.keep(asked)
            answer: Job | Missing | SourceError
            is_sure = True
            try:
                answer = self._connection.submit(process, asked)
            except _Unsure as unsure:
                answer, is_sure = unsure.error, False
            except SourceError as error:
                answer = error
            if isinstance(answer, Job):
                self._ledger.keep(answer)
                return answer
            if is_sure:
                self._ledger.drop(asked)
            if isinstance(answer, Missing):
                return answer
            is_last = not left or not isinstance(answer, UnavailableError)
            if not is_last:
                time.sleep(self._longest_pause_s)
            if not is_sure and (job := self._found(asked)):
                return job
            if is_last:
                raise answer
        raise AssertionError("the last try returns or raises")

    def _found(self, asked: Job) -> Job | None:
        """The job of a request whose answer was lost, now with its id in the ledger."""
        job = self._connection.find(asked)
        if job:
            self._log(f"The answer to a request was lost; the CDS has the job {job.id} for it: {job.what}")
            self._ledger.keep(job)
        return job

    def _active(self) -> int:
        """How many jobs of the ledger are in the queue or running, those of lost answers among them."""
        own = {found.job.id for found in self._waiting}
        done = {found.job.id for found in self._answered.values()}
        known = self._ledger.jobs()
        for asked in [job for job in known if not job.id]:
            known.remove(asked)
            if job := self._found(asked):
                known.append(job)
            elif _now() - dt.datetime.fromisoformat(asked.submitted_at) > _CLOCKS:  # there will be none
                self._ledger.drop(asked)
        others = [job for job in known if job.id not in own | self._ended | done]
        for job in others:
            try:
                is_done = self._connection.results(job) is not None
            except _LostJob:
                self._ledger.drop(job)
                is_done = True
            if is_done:
                self._ended.add(job.id)
        return len(own) + sum(job.id not in self._ended for job in others)

    def _is_ready(self, found: _Waiting, queue: deque[Remote]) -> bool:
        """Look at a job; one that an earlier run left and that is lost goes back to the queue.

        Raises:
            SourceError: a job of this run failed or is lost.
        """
        try:
            found.results = self._connection.results(found.job)
        except _LostJob as error:
            self._ledger.drop(found.job)
            if not found.is_continued:
                raise
            self._log(f"The job {found.job.id} at the CDS came to nothing ({error.problem}): it is submitted anew.")
            self._waiting = [other for other in self._waiting if other is not found]
            queue.append(found.remote)
        return found.results is not None

    def _give_up(self, queue: deque[Remote]) -> NoReturn:
        jobs = [found.job for found in self._waiting]
        states = [f"{job.id} ({job.what}) is {self._connection.state.get(job.id, 'unknown')}" for job in jobs]
        states += [f"{described(_request(remote)['inputs'])} waits for a place" for remote in queue]
        hours = self._longest_wait_s / 3600
        raise SourceError(
            "the Climate Data Store has not made all files yet",
            where=", ".join(dict.fromkeys(str(_request(remote)["dataset"]) for remote in self._remotes(queue))),
            expected=f"files within {hours:.3g} hours",
            got="; ".join(states),
            todo=f"the jobs go on: run again later, and it continues with the same jobs (see them at {REQUESTS_PAGE}; "
            "the longest wait is set by longest_wait_hours)",
        )

    def _remotes(self, queue: deque[Remote]) -> list[Remote]:
        return [*(found.remote for found in self._waiting), *queue]

    def _leave(self, jobs: list[Job]) -> None:
        """Wait for jobs no longer; those that no other run waits for are cancelled."""
        others = {job.id: self._others(job) for job in jobs}
        for job in jobs:
            if others[job.id]:
                self._ledger.keep(replace(job, runs=others[job.id]))
                self._log(f"The job {job.id} at the CDS goes on for the run {', '.join(others[job.id])}: {job.what}")
        self._cancel([job for job in jobs if not others[job.id]])

    def _cancel(self, jobs: list[Job]) -> None:
        """Delete jobs at the CDS. What cannot be deleted stays in the ledger."""
        if not jobs:
            return
        quick = _Connection(1.0, 2, min(15.0, self._timeout_s), self._log)
        for asked in jobs:
            job: Job | None = asked
            try:
                job = asked if asked.id else quick.find(asked)
                if job:
                    quick.cancel(job)
            except _LostJob:
                pass
            except SourceError as error:
                self._log(
                    f"The job {asked.id or 'without an answer'} could not be cancelled: the next run for ERA5 tries "
                    f"again; or delete it at {REQUESTS_PAGE}. {error}"
                )
                continue
            self._ledger.drop(asked)
            if job:
                self._log(f"Cancelled the job {job.id} at the CDS: {job.what}")


@dataclass(eq=False)
class _Waiting:
    """A job of this run, and the file it is for."""

    remote: Remote
    job: Job
    is_continued: bool = False
    results: Any = None
    is_fetched: bool = False


class _TooLarge(SourceError):
    """A request that costs more than the CDS allows."""


class _LostJob(SourceError):
    """A job that failed, was deleted, or has expired: another one must take its place."""


class _Unsure(Exception):
    """A request for a job was sent, and no answer tells what came of it: `error` says what came instead."""

    def __init__(self, error: SourceError) -> None:
        self.error = error


class _Connection:
    """The CDS through its client; every failure is a SourceError that says what to do."""

    def __init__(self, longest_pause_s: float, tries: int, timeout_s: float, log: Callable[[str], object]) -> None:
        self.state: dict[str, str] = {}
        self._log = log
        self._client = _client(longest_pause_s, tries, timeout_s, log)
        self._files = Client(tries, min(1.0, longest_pause_s), longest_pause_s, (timeout_s, timeout_s))
        self._handles: dict[str, Any] = {}

    def process(self, request: Mapping[str, Any]) -> Any:
        """What `submit` takes: the dataset at the CDS, as one that is asked only once and not again by the client."""
        process: Any = self._ask(lambda: self._client.client.get_process(request["dataset"]), **request)
        process.retry_options = {**process.retry_options, "maximum_tries": 1}
        return process

    def submit(self, process: Any, asked: Job) -> Job | Missing:
        """Ask for a file; Missing when no month of it is published yet.

        Raises:
            _TooLarge: the request is to be divided.
            _Unsure: there may be a job or not.
        """
        inputs = dict(asked.inputs)
        id = self._ask(lambda: process.submit(inputs).request_id, asked.dataset, inputs, is_sure=_is_refusal)
        return id if isinstance(id, Missing) else replace(asked, id=str(id))

    def find(self, asked: Job) -> Job | None:
        """The job that a request without an answer has made, if there is one and it has not failed."""
        since = dt.datetime.fromisoformat(asked.submitted_at) - _CLOCKS
        states = ["accepted", "running", "successful"]

        def look() -> str | None:
            client = self._client.client
            newest = client.get_jobs(limit=_LISTED, sortby="-created", status=states).json["jobs"]
            ids = [
                job["jobID"] for job in newest if job["processID"] == asked.dataset and _time(job["created"]) > since
            ]
            return next((id for id in ids if client.get_remote(id).request == asked.inputs), None)

        id = self._ask(look, asked.dataset, asked.inputs)
        return replace(asked, id=str(id)) if id else None

    def results(self, job: Job) -> Any:
        """What `download` takes, or None as long as the job waits or runs.

        Raises:
            _LostJob: there will be none.
        """

        def look() -> Any:
            handle = self._handle(job)
            is_ready = handle.results_ready
            if handle.last_status != self.state.get(job.id):
                self.state[job.id] = handle.last_status
                self._log(f"The job {job.id} at the CDS is {handle.last_status}")
            return handle.get_results() if is_ready else None

        return self._ask(look, job.dataset, job.inputs)

    def download(self, job: Job, results: Any, target: Path) -> Delivery:
        """Write the file of a job, or the rest of it where a part is at `target`.

        Raises:
            _LostJob: the file is not there any more.
            UnavailableError: it does not come to its end.
            SourceError: it is refused.
        """
        where = self._ask(lambda: (str(results.location), int(results.content_length)), job.dataset, job.inputs)
        assert not isinstance(where, Missing)
        url, size = where

        def bring() -> Delivery | Missing:
            outcome = self._files.download(url, target)
            assert not isinstance(outcome, Unchanged)
            if isinstance(outcome, Delivery) and target.stat().st_size != size:
                raise TryAgain(f"{target.stat().st_size} bytes")
            return outcome

        failure: SourceError | None = None
        try:
            outcome = self._files.persist(bring, url)
        except SourceError as error:
            failure = error
        if failure:
            raise type(failure)(
                "the file of the Climate Data Store did not come to its end",
                where=f"{job.dataset}: {job.what} ({public_url(url)})",
                expected=f"{size} bytes",
                got=failure.got,
                todo="run again: the file of the same job is fetched then",
            )
        if isinstance(outcome, Missing):
            raise _LostJob(
                "the Climate Data Store no longer has the result",
                where=f"{job.dataset}: {job.what}",
                expected=f"{size} bytes",
                got=outcome.reason,
                todo="run again: the file is then computed anew",
            )
        return Delivery(public_url(url), expected_bytes=size)

    def cancel(self, job: Job) -> None:
        """Delete a job."""
        self._ask(lambda: self._handle(job).delete(), job.dataset, job.inputs)

    def _handle(self, job: Job) -> Any:
        if job.id not in self._handles:
            self._handles[job.id] = self._client.client.get_remote(job.id)
        return self._handles[job.id]

    def _ask(
        self,
        call: Callable[[], T],
        dataset: str,
        inputs: Mapping[str, Any],
        is_sure: Callable[[Exception], bool] = lambda failure: True,
    ) -> T | Missing:
        from ecmwf.datastores.processing import LinkError, ProcessingFailedError

        failure: Exception
        try:
            return call()
        except (requests.RequestException, ProcessingFailedError, LinkError) as error:
            failure = error
        except (AssertionError, KeyError, TypeError, ValueError) as error:  # an answer of another shape than is known
            failure = error
        # Judged out here, a SourceError has no context that would carry the client's texts and headers along.
        judged = _judged(failure, dataset, inputs, str(self._client.key))
        if isinstance(judged, Missing):
            return judged
        raise judged if is_sure(failure) else _Unsure(judged)


class _Session(requests.Session):
    """Lets the client wait for a server that was there before, but not for minutes for one that never was."""

    def __init__(self) -> None:
        super().__init__()
        self.has_answered = False

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        try:
            response = super().request(*args, **kwargs)
        except requests.ConnectionError as error:
            if self.has_answered or not is_unreachable(error):
                raise
            raise requests.RequestException(str(error)) from error  # of no kind that the client tries again
        self.has_answered = True
        return response


def described(inputs: Mapping[str, Any]) -> str:
    """A request in words: variables and months."""
    months = ", ".join(compress(f"{year}-{month}" for year in inputs["year"] for month in inputs["month"]))
    return f"{' and '.join(inputs['variable'])} of {months}"


def _request(remote: Remote) -> Mapping[str, Any]:
    assert remote.request is not None
    return remote.request


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(microsecond=0)


def _time(text: str) -> dt.datetime:
    """A time of the CDS, which is in UTC and may not say so."""
    time = dt.datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=dt.UTC)


def _is_refusal(failure: Exception) -> bool:
    """Whether an answer says that there is no job: any 4xx but 408."""
    response = failure.response if isinstance(failure, requests.HTTPError) else None
    return response is not None and 400 <= response.status_code < 500 and response.status_code != 408


def _read(path: Path) -> Job | None:
    """A record; one that cannot be read is as none: the file is then asked for anew."""
    try:
        content = json.loads(path.read_text())
        return Job(**{**content, "runs": tuple(content.get("runs", ()))})
    except (FileNotFoundError, ValueError, TypeError):
        return None


def _rc_names() -> set[str]:
    """Names that the CDS client's file sets (url, key, verify)."""
    file = Path(os.environ.get("CDSAPI_RC", "~/.cdsapirc")).expanduser()
    lines = file.read_text().splitlines() if file.is_file() else []
    return {line.partition(":")[0].strip() for line in lines if line.partition(":")[2].strip()}


def _client(longest_pause_s: float, tries: int, timeout_s: float, log: Callable[[str], object]) -> Any:
    import cdsapi
    from ecmwf.datastores.legacy_client import LegacyClient

    url = None if "CDSAPI_URL" in os.environ or "url" in _rc_names() else URL
    client: object = None
    why = ""

    def silent(*args: object, **kwargs: object) -> None:
        """What is worth saying is said here; the client's debug lines quote the key."""

    try:
        client = cdsapi.Client(
            url=url,
            progress=False,
            sleep_max=longest_pause_s,
            retry_max=tries,
            timeout=timeout_s,
            session=_Session(),
            info_callback=silent,
            debug_callback=silent,
            warning_callback=lambda text, *args, **kwargs: log(f"The CDS says: {_hidden(text, client)}"),
        )
    except AssertionError:
        pass  # a key in more than two parts
    except Exception as error:  # of settings that it cannot use, cdsapi raises whatever comes
        why = f"{type(error).__name__}: {error}"
    if why:
        raise SourceError(
            "the Climate Data Store client cannot use its settings",
            where="CDSAPI_URL, CDSAPI_KEY or ~/.cdsapirc",
            expected=ACCOUNT.key,
            got=why,
            todo=f"correct them; a personal access token is shown at {ACCOUNT.register}",
        )
    if not isinstance(client, LegacyClient):  # what cdsapi takes for keys of the service that ended in 2024
        raise SourceError(
            "the key for the Climate Data Store is of the old form",
            where="CDSAPI_KEY or ~/.cdsapirc",
            expected="a personal access token, without a colon",
            got="a key of the form UID:KEY",
            todo=f"replace it by the token shown at {ACCOUNT.register}",
        )
    return client


def _hidden(text: object, client: object) -> str:
    """A text of the server without the key."""
    return str(text).replace(str(getattr(client, "key", None) or "\0"), "<key>")


def _judged(error: Exception, dataset: str, inputs: Mapping[str, Any], key: str) -> Missing | SourceError:
    """What a failure means: months that do not exist yet, or an error of one of the kinds that this module names."""
    from ecmwf.datastores.processing import ProcessingFailedError

    what = described(inputs)
    page = f"{SITE}/datasets/{dataset}"
    response = error.response if isinstance(error, requests.HTTPError) else None
    status = 0 if response is None else response.status_code
    answer = _answer(response)
    title, detail = str(answer.get("title", "")), str(answer.get("detail", ""))
    reason = str(answer.get("traceback") or detail or title or error)
    named = re.search(r"https?://[^\s'\"]+", detail)
    at_job = response is not None and "/jobs/" in str(response.url)
    kind: type[SourceError] = SourceError

    if status == 400 and "valid combination" in detail:
        months = what.partition(" of ")[2]
        return Missing(f"ERA5 of {months} is not published yet (what there is: {page}?tab=download)", what=what)
    if "licence" in title and status == 403:
        problem = "the licence of the dataset is not accepted yet"
        todo = f"accept it at {named[0] if named else f'{page}?tab=download#manage-licences'}, and run again"
    elif "cost" in title and status == 403:
        kind = _TooLarge
        problem = "the request is larger than the Climate Data Store allows"
        todo = f"divide the registry's glaciers into smaller groups; the limits are shown at {page}?tab=download"
    elif status == 401:
        problem = "the Climate Data Store does not accept the key"
        todo = f"compare CDSAPI_KEY or ~/.cdsapirc with the personal access token at {ACCOUNT.register}"
    elif status in (404, 410) and at_job:
        kind = _LostJob
        problem = "the Climate Data Store no longer has the result"
        todo = "run again: the file is then computed anew"
    elif status in (404, 410):
        problem = "the Climate Data Store does not know the dataset"
        todo = f"the url in CDSAPI_URL or ~/.cdsapirc should be {URL}"
    elif status == 429:
        kind = UnavailableError
        problem = "the Climate Data Store is asked too often"
        todo = "run again later"
    elif isinstance(error, ProcessingFailedError) or (at_job and status == 400):
        kind = _LostJob
        problem = "the Climate Data Store failed to make the file"
        todo = f"read the reason, also at {REQUESTS_PAGE}; if it says nothing of the request, run again later"
    elif status == 408 or status >= 500 or isinstance(error, _PASSING):
        kind = UnavailableError
        problem = "the Climate Data Store does not answer any more"
        todo = f"run again later; look for a notice at {SITE}"
    elif 400 <= status < 500:
        problem = f"the Climate Data Store refuses the request (HTTP {status})"
        todo = f"look for a notice at {page}"
    else:
        problem = "the Climate Data Store cannot be reached, or answers in another way than its client knows"
        todo = "check the url and the network, and run again later"
    return kind(
        problem,
        where=f"{dataset}: {what}",
        expected="a NetCDF file",
        got=reason.replace(key, "<key>")[-2000:],
        todo=todo,
    )


_PASSING = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


def _answer(response: Any) -> dict[str, Any]:
    """The JSON of an answer, if it is an object."""
    try:
        content = response.json() if response is not None else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
