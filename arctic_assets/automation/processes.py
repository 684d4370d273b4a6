"""Processes that start fast, forked from one that has the libraries loaded already; and whether one still lives.

Here: how a process starts. Not here: what runs in it (`workers`, `launcher`).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext, SpawnContext

import psutil

PID_TAG = "arctic_assets/pid"
"""Tag of a run: the process that answers for it. Without that process it does not go on."""
_CLOCK_SECONDS = 60
"""By how much the clock may be corrected without a process being taken for another one with its number."""

_PRELOADED = "arctic_assets.automation.preloaded"


def context() -> SpawnContext | ForkServerContext:
    """What to start processes with. Calling it early lets the libraries load beside what the caller does next.

    A process started from it has the environment of the first call: pass it on what changed since. Where a system has
    no fork server (Windows), each process loads its libraries itself.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    from multiprocessing import forkserver

    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([_PRELOADED])
    forkserver.ensure_running()
    return found


def name(pid: int) -> str:
    """Number and start of a process, as the tag `PID_TAG` holds them: numbers are given again after a while."""
    try:
        return f"{pid}@{psutil.Process(pid).create_time():.0f}"
    except psutil.NoSuchProcess:  # it has ended already
        return f"{pid}@0"


def pid_of(tags: Mapping[str, str]) -> int | None:
    """Number of the process that answers for a run with these tags; None when it is gone, or nothing is said of it."""
    pid, _, began = tags.get(PID_TAG, "").partition("@")
    try:
        process = psutil.Process(int(pid))
        is_same = abs(process.create_time() - float(began)) < _CLOCK_SECONDS
        return process.pid if is_same and process.status() != psutil.STATUS_ZOMBIE else None
    except (ValueError, psutil.NoSuchProcess):
        return None
