"""Several runs of a build at a time, each in a process of its own.

Python computes in one thread at a time, so chains of assets that do not need each other go to processes. These tell
the process that started them what happens, and do not outlive it.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import logging.handlers
import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

import dagster as dg
from dagster._core.log_manager import get_log_record_metadata, has_log_record_metadata

from arctic_assets.automation import processes
from arctic_assets.automation.build import Here, OnEvent, Outcome, Run
from arctic_assets.errors import BuildError

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Event

    from arctic_assets.settings import Settings


log = logging.getLogger(__name__)
_PATIENCE_SECONDS = 30
"""So long may processes take to end after one of them was killed."""


class Workers:
    """Executes runs in `n` processes; a runner for `build.execute`, and a context manager.

    An exception inside the context interrupts what the processes do and waits for their end.

    Args:
        current: settings; the processes make definitions and instance from them.
        n: how many processes.
        on_event: as of `build.Here`; called in a thread of this process.

    Raises:
        BuildError: on leaving the context, when a process ended before its work was done.
    """

    def __init__(self, current: Settings, n: int, on_event: OnEvent | None = None) -> None:
        self._on_event = on_event
        self._tags = {processes.PID_TAG: processes.name(os.getpid())}  # this process answers for the runs
        self._runs: list[Run] = []
        self._pids: list[int] = []
        self._before: dict[signal.Signals, Any] = {}
        context = processes.context()
        self._told: SimpleQueue[Any] = context.SimpleQueue()
        self._interrupted = context.Event()
        start = (current, dict(os.environ), logging.getLogger().level, self._told, self._interrupted)
        self._pool = ProcessPoolExecutor(n, context, _start, start)
        self._ended = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="events of workers", daemon=True)

    def submit(self, run: Run, keys: Sequence[dg.AssetKey]) -> Future[Outcome]:
        """Execute the part `keys` of a run as soon as a process is free."""
        self._runs.append(run)
        return self._pool.submit(_execute, len(self._runs) - 1, run, tuple(keys), self._tags)

    def __enter__(self) -> Workers:
        if threading.current_thread() is threading.main_thread():
            # being told to end is as Ctrl-C, also where a shell starts jobs in the background that ignore that
            for which in (signal.SIGINT, signal.SIGTERM):
                self._before[which] = signal.signal(which, signal.default_int_handler)
        self._listener.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        last = threading.Timer(_PATIENCE_SECONDS, self._signal, [signal.SIGKILL])
        try:
            if error is not None:
                self._interrupted.set()  # for runs that the pool has taken already
                self._signal(signal.SIGINT)
            if isinstance(error, BrokenProcessPool):  # the one that is gone may hold what the others wait for
                last.start()
            self._pool.shutdown(wait=True, cancel_futures=True)
        except KeyboardInterrupt:  # a second one
            self._signal(signal.SIGKILL)
            raise
        finally:
            last.cancel()
            self._ended.set()
            self._listener.join(timeout=10)  # a process that was killed may have left half a message
            for which, handler in self._before.items():
                signal.signal(which, handler)
        if isinstance(error, BrokenProcessPool):
            raise BuildError(
                "a process of the build ended before its work was done",
                expected="processes that run until their work is done",
                got=f"{error} Most often it was killed because the memory was full.",
                todo="start the build again, it goes on where it stopped; --workers 1 needs the least memory",
            ) from error

    def _signal(self, which: signal.Signals) -> None:
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, which)

    def _listen(self) -> None:
        while True:
            if self._told.empty():
                if self._ended.wait(0.05) and self._told.empty():
                    return
                continue
            told = self._told.get()
            try:
                self._take(told)
            except Exception:
                log.exception("what a process of the build told cannot be shown")

    def _take(self, told: Any) -> None:
        if isinstance(told, logging.LogRecord):
            logger = logging.getLogger(told.name)
            if logger.isEnabledFor(told.levelno):
                logger.handle(told)
        elif isinstance(told, int):
            self._pids.append(told)
            if self._interrupted.is_set():  # it came too late for that
                os.kill(told, signal.SIGINT)
        elif self._on_event:
            number, event_type, step = told
            self._on_event(self._runs[number], event_type, step)


_platform: tuple[dg.Definitions, dg.DagsterInstance, SimpleQueue[Any], Event]
"""In a worker: what it executes, where events go, where it tells what happens, whether the build was interrupted."""


def _start(
    current: Settings, environment: Mapping[str, str], level: int, told: SimpleQueue[Any], interrupted: Event
) -> None:
    """Prepare a worker."""
    global _platform
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()  # a terminal sends Ctrl-C to all processes of a group: only the first gets it, and passes it on
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    logging.basicConfig(level=level, format="%(message)s", handlers=[_Teller(cast("Any", told))], force=True)

    from arctic_assets.definitions import build_defs
    from arctic_assets.storage.instance import open_instance

    _platform = build_defs(current), open_instance(current.home), told, interrupted
    # a build makes many objects and few cycles: looking for them among all that is loaded costs it 7 % of its time
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    told.put(os.getpid())


def _execute(number: int, run: Run, keys: Sequence[dg.AssetKey], tags: Mapping[str, str]) -> Outcome:
    """Execute a run in a worker."""
    defs, instance, told, interrupted = _platform

    def tell(_: Run, event_type: dg.DagsterEventType, step: str) -> None:
        told.put((number, event_type, step))

    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if interrupted.is_set():
            return Outcome()
        return Here(defs, instance, tell, tags).submit(run, keys).result()
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _Teller(logging.handlers.QueueHandler):
    """Gives log records to the process that started the worker."""

    queue: Any

    def enqueue(self, record: logging.LogRecord) -> None:
        if has_log_record_metadata(record):  # of a run: Dagster put its ids before what was said
            record.msg = get_log_record_metadata(record)["orig_message"]
        self.queue.put(record)
