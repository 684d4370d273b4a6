"""`dagster.yaml` is accepted, and everything Dagster keeps lies in the home, whoever opened the instance."""

# Without `from __future__ import annotations`: Dagster compares the annotation of `context` with the class itself.

import shutil
import sys
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.run_coordinator.queued_run_coordinator import QueuedRunCoordinator

from arctic_assets.errors import SettingsError
from arctic_assets.storage import instance as instance_module
from arctic_assets.storage.event_log import BatchedSqliteEventLogStorage
from arctic_assets.storage.instance import open_instance

ROOT = Path(__file__).parents[2]


@dg.asset
def glaciers(context: dg.AssetExecutionContext) -> list[str]:
    print("counted the glaciers")
    return ["austfonna"]


def open_as_dagster_dev(working_directory: Path, scratch: Path) -> dg.DagsterInstance:
    """As `dagster dev` does it without DAGSTER_HOME: a scratch directory, and the working directory's dagster.yaml."""
    scratch.mkdir(exist_ok=True)
    return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(scratch), config_dir=str(working_directory)))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ARCTIC_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "2000")
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    return tmp_path / "home"


def materialize(instance: dg.DagsterInstance) -> str:
    return dg.materialize([glaciers], instance=instance).run_id


def test_dagster_yaml_means_what_it_says(home: Path) -> None:
    with open_instance(home) as instance:
        assert isinstance(instance.event_log_storage, BatchedSqliteEventLogStorage)
        assert not instance.telemetry_enabled
        assert not instance.nux_enabled
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert not instance.run_retries_retry_on_asset_or_op_failure
        concurrency = instance.get_concurrency_config()
        assert concurrency.run_queue_config is not None
        assert concurrency.run_queue_config.max_concurrent_runs == 4
        coordinator = instance.run_coordinator
        assert isinstance(coordinator, QueuedRunCoordinator)
        assert (coordinator.dequeue_use_threads, coordinator.dequeue_num_workers) == (True, 4)
        assert concurrency.pool_config.pool_granularity is not None
        assert concurrency.pool_config.pool_granularity.value == "op"
        for daemon in ("backfills", "sensors", "schedules"):
            assert instance.get_settings(daemon)["use_threads"] is True
        assert instance.get_settings("backfills")["num_submit_workers"] == 4


def test_dagster_dev_and_our_process_see_each_others_runs(home: Path, tmp_path: Path) -> None:
    with open_as_dagster_dev(ROOT, tmp_path / "scratch") as dev, open_instance(home) as ours:
        run_ids = {materialize(dev), materialize(ours)}
        for instance in (dev, ours):
            assert {run.run_id for run in instance.get_runs()} == run_ids
            assert instance.get_latest_materialization_event(dg.AssetKey("glaciers")) is not None
            for run_id in run_ids:
                assert instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
                captured = instance.all_logs(run_id, of_type=dg.DagsterEventType.LOGS_CAPTURED)[0]
                key = [run_id, "compute_logs", captured.get_dagster_event().logs_captured_data.file_key]
                assert instance.compute_log_manager.get_log_data(key).stdout == b"counted the glaciers\n"
    assert list((tmp_path / "scratch").iterdir()) == []
    assert (home / "dagster/history/runs/index.db").is_file()
    assert (home / "dagster/schedules/schedules.db").is_file()
    assert {path.name for path in (home / "dagster/storage").iterdir()} == {"glaciers"} | run_ids


def test_the_given_home_wins_and_reaches_child_processes(tmp_path: Path) -> None:
    with open_instance(tmp_path / "other") as instance:
        run_id = materialize(instance)
        ref = dg.deserialize_value(dg.serialize_value(instance.get_ref()), InstanceRef)
    with dg.DagsterInstance.from_ref(ref) as child:
        assert child.get_run_by_id(run_id) is not None
        assert Path(child.root_directory) == tmp_path / "other" / "dagster"
    assert not (tmp_path / "home").exists()


def test_a_dagster_yaml_that_names_another_storage_is_followed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = tmp_path / "prefix" / "share" / "arctic_assets"
    share.mkdir(parents=True)
    (share / "dagster.yaml").write_text(f"storage:\n  sqlite:\n    base_dir: {tmp_path / 'elsewhere'}\n")
    monkeypatch.setattr(instance_module, "__file__", str(tmp_path / "lib" / "arctic_assets" / "storage" / "x.py"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    with open_instance(home) as instance:
        assert not isinstance(instance.event_log_storage, BatchedSqliteEventLogStorage)
    assert (tmp_path / "elsewhere/history/runs/index.db").is_file()


def test_without_dagster_yaml_there_is_no_instance(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_module, "__file__", str(tmp_path / "lib" / "arctic_assets" / "storage" / "x.py"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    with pytest.raises(SettingsError, match=r"dagster\.yaml") as raised:
        open_instance(home)
    assert raised.value.where is not None
    assert str(tmp_path / "prefix" / "share" / "arctic_assets") in raised.value.where


def test_base_dir_in_dagster_yaml_is_the_home(home: Path, tmp_path: Path) -> None:
    directory = tmp_path / "checkout"
    directory.mkdir()
    shutil.copy(ROOT / "dagster.yaml", directory)
    text = (directory / "dagster.yaml").read_text()
    for name in ("HomeStorage", "HomeArtifacts", "HomeComputeLogs"):
        indent = "    " if name == "HomeStorage" else "  "
        line = f"{indent}class: {name}\n"
        assert line in text
        text = text.replace(line, f"{line}{indent}config: {{base_dir: {tmp_path / 'archive'}}}\n")
    (directory / "dagster.yaml").write_text(text)
    with open_as_dagster_dev(directory, tmp_path / "scratch") as instance:
        materialize(instance)
    assert (tmp_path / "archive/dagster/history/runs.db").is_file()
    assert (tmp_path / "archive/dagster/storage/glaciers").is_file()
    assert not home.exists()
