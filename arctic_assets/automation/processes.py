"""Processes that start fast: forked from one that has the libraries loaded already.

Here: how a process starts. Not here: what runs in it (`workers`).
"""

from __future__ import annotations

import multiprocessing
from multiprocessing.context import BaseContext

_PRELOADED = "arctic_assets.automation.preloaded"


def context() -> BaseContext:
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
