"""Where Dagster keeps its own records: everything of its instance lies in `<home>/dagster`.

Belongs here: the classes that `dagster.yaml` names, and opening that instance from another process than
`dagster dev`. How events are written is in `arctic_assets.storage.event_log`.

`dagster dev` without `DAGSTER_HOME` forgets its runs when it stops; with these classes they stay with the data.
Each takes an optional `base_dir`: a home to use in place of that of the settings.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster import DagsterInstance, Field, StringSource
from dagster._config.config_schema import UserConfigSchema
from dagster._core.instance.ref import InstanceRef, compute_logs_directory
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage, _event_logs_directory
from dagster._serdes import ConfigurableClassData

from arctic_assets.errors import SettingsError
from arctic_assets.storage.event_log import BatchedSqliteEventLogStorage

_OPTIONAL_BASE_DIR = {"base_dir": Field(StringSource, is_required=False)}


def _dagster_dir(config: Mapping[str, Any]) -> str:
    from arctic_assets import settings

    home = Path(config["base_dir"]) if "base_dir" in config else settings.load().home
    return str(home.resolve() / "dagster")


class HomeStorage(DagsterSqliteStorage):
    """Dagster's SQLite storage under the home, with the batched event log."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(base_dir, inst_data)
        self._event_log_storage = BatchedSqliteEventLogStorage(_event_logs_directory(base_dir))

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """`base_dir`, optional."""
        return _OPTIONAL_BASE_DIR

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> HomeStorage:
        """Open or create `<home>/dagster/history` and `<home>/dagster/schedules`."""
        return cls.from_local(_dagster_dir(config_value), inst_data=inst_data)


class HomeArtifacts(LocalArtifactStorage):
    """Dagster's local files (I/O managers without a place of their own) under the home."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """`base_dir`, optional."""
        return _OPTIONAL_BASE_DIR

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> HomeArtifacts:
        """Use `<home>/dagster/storage`."""
        return cls(_dagster_dir(config_value), inst_data=inst_data)


class HomeComputeLogs(LocalComputeLogManager):
    """What steps print, under the home."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """`base_dir`, optional."""
        return _OPTIONAL_BASE_DIR

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> HomeComputeLogs:
        """Use `<home>/dagster/storage`, as the stock instance does."""
        return cls(compute_logs_directory(_dagster_dir(config_value)), inst_data=inst_data)


def open_instance(home: Path) -> DagsterInstance:
    """Open the instance that `dagster dev` in the repository uses, from any directory.

    Runs launched in either are visible in both. A `dagster.yaml` that names another storage is followed.

    Args:
        home: where our data lie; Dagster's own are in `<home>/dagster`.

    Raises:
        SettingsError: there is no `dagster.yaml`.
    """
    import yaml

    places = [Path(__file__).parents[2], Path(sys.prefix) / "share" / "arctic_assets"]
    config_dir = next((place for place in places if (place / "dagster.yaml").is_file()), None)
    if config_dir is None:
        raise SettingsError(
            "Dagster's configuration is missing",
            where=" or ".join(map(str, places)),
            expected="the file dagster.yaml of this project",
            todo="run from a checkout, or install the package again",
        )
    config = yaml.safe_load((config_dir / "dagster.yaml").read_text(encoding="utf-8")) or {}
    home = home.resolve()
    sections = [
        config.get("storage", {}).get("custom"),
        config.get("local_artifact_storage"),
        config.get("compute_logs"),
    ]
    for section in sections:
        if section and section["module"] == __name__:
            section["config"] = {"base_dir": str(home)} | section.get("config", {})
    base_dir = home / "dagster"
    base_dir.mkdir(parents=True, exist_ok=True)
    return DagsterInstance.from_ref(InstanceRef.from_dir(str(base_dir), config_dir=str(config_dir), overrides=config))
