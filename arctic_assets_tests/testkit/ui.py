"""The real system in a test: webserver, daemon and code server of `dagster dev`, and what its UI asks them.

Belongs here: start and end of these processes, and the GraphQL requests of the buttons that tests press. Not here:
the browser, and what must come of it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from arctic_assets import settings
from arctic_assets_tests.testkit.platform import Platform

REPO = Path(__file__).parents[2]
START_SECONDS = 120
END_SECONDS = 30

_LAUNCH_JOB = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { id } }
    ... on RunConfigValidationInvalid { errors { message } }
    ... on PythonError { message }
} }"""
_STATUS = "query($id: ID!) { runOrError(runId: $id) { __typename ... on Run { status } } }"
_READY = """{ workspaceOrError { ... on Workspace { locationEntries {
    loadStatus locationOrLoadError { __typename ... on PythonError { message } }
} } } }"""
_LAUNCH = """mutation($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
} }"""
_BACKFILL = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill { status error { message } runs { id status } }
} }"""
_STATS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
    __typename
    ... on AssetNode { partitionStats { numPartitions numMaterialized numFailed numMaterializing } }
} }"""
_PARTITIONS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on PartitionBackfill { partitionNames }
} }"""
_SENSORS = """{ repositoriesOrError { ... on RepositoryConnection { nodes { sensors { name sensorState {
    ticks(limit: 20) { status skipReason cursor error { message } runIds }
} } } } } }"""
_CHECKS = """query($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
    __typename
    ... on AssetNode { assetChecksOrError { __typename ... on AssetChecks { checks { name
        executionForLatestMaterialization { status runId evaluation { severity metadataEntries {
            label
            ... on IntMetadataEntry { intValue }
            ... on TextMetadataEntry { text }
            ... on TableMetadataEntry { table { records } }
        } } }
    } } } }
} }"""


@dataclass(frozen=True)
class Ui:
    """A running `dagster dev`.

    Attributes:
        url: of the UI, without a trailing slash.
        log: what its processes print.
    """

    url: str
    log: Path

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The data of a GraphQL request; an error in the answer fails the test."""
        answer = requests.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60).json()
        assert not answer.get("errors"), answer["errors"]
        return answer["data"]

    def launch_job(self, job: str, config: dict[str, Any]) -> str:
        """Press "Launch run" in the launchpad of a job; the run's id."""
        where = {"repositoryLocationName": "arctic_assets.definitions", "repositoryName": "__repository__"}
        params = {"selector": {"jobName": job, **where}, "runConfigData": config}
        launched = self.ask(_LAUNCH_JOB, params=params)["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return launched["run"]["id"]

    def wait_for_run(self, run_id: str, seconds: float = 300) -> str:
        """The status of a run when it has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            status = self.ask(_STATUS, id=run_id)["runOrError"]["status"]
            if status in ("SUCCESS", "FAILURE", "CANCELED"):
                return status
            time.sleep(0.5)
        raise TimeoutError(f"run {run_id} is {status} after {seconds} s; see {self.log}")

    def launch_backfill(self, asset: str, partitions: Sequence[str]) -> str:
        """Press "Launch backfill" for some partitions of an asset; its id."""
        params = {"assetSelection": [{"path": asset.split("/")}], "partitionNames": partitions}
        launched = self.ask(_LAUNCH, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def wait_for_backfill(self, backfill_id: str, seconds: float = 300) -> dict[str, Any]:
        """The backfill when it has ended: `status`, `error`, and `runs` with `id` and `status`."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            backfill = self.ask(_BACKFILL, id=backfill_id)["partitionBackfillOrError"]
            assert backfill["__typename"] == "PartitionBackfill", backfill
            if backfill["status"] in ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"):
                return backfill
            time.sleep(1)
        raise TimeoutError(f"backfill {backfill_id} is {backfill['status']} after {seconds} s; see {self.log}")

    def partitions_of(self, backfill_id: str) -> list[str]:
        """Partitions that a backfill was asked for."""
        return self.ask(_PARTITIONS, id=backfill_id)["partitionBackfillOrError"]["partitionNames"]

    def partition_stats(self, asset: str) -> dict[str, int]:
        """How many partitions an asset has, and how many are materialised, failed and under way."""
        return self.ask(_STATS, key={"path": asset.split("/")})["assetNodeOrError"]["partitionStats"]

    def ticks(self, sensor: str) -> list[dict[str, Any]]:
        """The ticks of a sensor, as its page shows them, the last one first."""
        (repository,) = self.ask(_SENSORS)["repositoriesOrError"]["nodes"]
        (found,) = [one for one in repository["sensors"] if one["name"] == sensor]
        return found["sensorState"]["ticks"]

    def checks(self, asset: str) -> dict[str, dict[str, Any] | None]:
        """Latest execution of each check of an asset, None where it never ran, as the tab "Checks" shows it."""
        node = self.ask(_CHECKS, key={"path": asset.split("/")})["assetNodeOrError"]
        return {
            check["name"]: check["executionForLatestMaterialization"] for check in node["assetChecksOrError"]["checks"]
        }


@contextmanager
def dagster_dev(platform: Platform, *arguments: str, **variables: str) -> Iterator[Ui]:
    """`dagster dev` in the repository on a platform's home; it and all its children are gone afterwards.

    Args:
        platform: gives the settings.
        arguments: further ones of `dagster dev`.
        variables: further environment variables.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    platform.current.home.mkdir(parents=True, exist_ok=True)
    ui = Ui(f"http://127.0.0.1:{port}", platform.current.home / "dagster_dev.log")
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port), *arguments]
    others = {k: v for k, v in os.environ.items() if not k.startswith("ARCTIC_ASSETS_") and k != "DAGSTER_HOME"}
    environment = {**others, **settings.environment(platform.current), **variables}
    with ui.log.open("wb") as log, interruptible():
        process = subprocess.Popen(
            command,
            cwd=REPO,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_until_ready(ui, process)
        yield ui
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def interruptible() -> Iterator[None]:
    """Children start with SIGINT unblocked: a shell's background job ignores it, and `dagster dev` then SIGTERM too."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _wait_until_ready(ui: Ui, process: subprocess.Popen[bytes]) -> None:
    """Return when the code location is loaded."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(requests.ConnectionError):
            entries = ui.ask(_READY)["workspaceOrError"]["locationEntries"]
            if entries and all(entry["loadStatus"] == "LOADED" for entry in entries):
                loaded = [entry["locationOrLoadError"] for entry in entries]
                assert all(location["__typename"] == "RepositoryLocation" for location in loaded), loaded
                return
        time.sleep(0.5)
    state = "ended" if process.poll() is not None else "did not answer"
    raise RuntimeError(f"dagster dev {state}:\n{ui.log.read_text(errors='replace')[-4000:]}")
