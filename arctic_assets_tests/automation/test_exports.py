"""Exports say when the tables have moved on, also in the UI, and are written anew only then."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from arctic_assets.assets.exports.staleness import ATLAS, CHANGED, NEVER, WHOLE, Stale, stale_exports
from arctic_assets.assets.wiring import PART_OF, RawStore
from arctic_assets.checks.of_exports import NAME
from arctic_assets.cli import main
from arctic_assets.definitions import build_defs
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets_tests.conftest import SMALL
from arctic_assets_tests.testkit.platform import Platform, copy_of

GONE = "DELETE FROM derived.area WHERE glacier_id = 'engabreen'"
"""The page of one glacier, and all exports that are of all glaciers, no longer show what the tables have."""


@pytest.fixture
def exported(small_home: Platform, tmp_path: Path) -> Platform:
    found = copy_of(small_home, tmp_path)
    outcome = found.build("group:exports")
    assert outcome.is_good and outcome.failed_checks == []
    return found


def change(found: Platform, sql: str) -> None:
    with found.warehouse.get_connection() as connection:
        connection.execute(sql)
    found.warehouse.publish(found.current.published)


def stale(found: Platform, instance: dg.DagsterInstance) -> list[Stale]:
    return stale_exports(instance, Warehouse(database=str(found.current.published)), found.partitions.registry.ids)


def status(found: Platform) -> str:
    words = ["status", "--home", str(found.current.home), "--glaciers", str(found.current.glaciers)]
    return CliRunner().invoke(main, words).output


def test_exports_that_were_never_written_are_stale(built: Platform) -> None:
    with built.instance() as instance:
        assert stale(built, instance) == [
            *(Stale(export, "", NEVER) for export in WHOLE),
            *(Stale(ATLAS, glacier, NEVER) for glacier in built.partitions.registry.ids),
        ]
        told = "never written: exports/workbook, exports/tables, exports/coverage, exports/atlas ("
        assert told in (tick(built, instance) or "") and told in status(built)


def test_what_changed_is_written_anew_and_nothing_else(exported: Platform) -> None:
    found = exported
    with found.instance() as instance:
        assert stale(found, instance) == [] and tick(found, instance) is None
        change(found, GONE)
        assert stale(found, instance) == [
            *(Stale(export, "", CHANGED) for export in WHOLE),
            Stale(ATLAS, "engabreen", CHANGED),
        ]
        told = (
            "the tables changed since these were written: exports/workbook, exports/tables, exports/coverage, "
            "exports/atlas (engabreen)"
        )
        assert tick(found, instance) == told and told in status(found)

        job = build_defs(found.current).resolve_job_def("rebuild_exports")
        done = job.execute_in_process(instance=instance)
        assert done.success
        parts = [run for run in instance.get_runs() if run.tags.get(PART_OF) == done.run_id]
        written = [m for run in parts for m in materializations(instance, run.run_id)]
        assert sorted(written) == sorted([*((export, None) for export in WHOLE), (ATLAS, "engabreen")])
        assert stale(found, instance) == [] and tick(found, instance) is None

        pages = job.execute_in_process(
            instance=instance, run_config={"ops": {"stale": {"config": {"only_stale": False, "dry_run": True}}}}
        )
        said = " ".join(e.user_message for e in instance.all_logs(pages.run_id))
        assert f"would run: {ATLAS}, {len(SMALL)} partition(s) each" in said


def test_what_no_page_shows_makes_no_page_stale(exported: Platform) -> None:
    change(exported, "DELETE FROM derived.volume WHERE glacier_id = 'engabreen'")
    with exported.instance() as instance:
        assert {one.export for one in stale(exported, instance)} == set(WHOLE)


def test_a_gap_makes_its_page_stale(exported: Platform) -> None:
    change(exported, "INSERT INTO provenance.gap VALUES ('derived/velocity', 'engabreen|1990', 'clouds', now())")
    with exported.instance() as instance:
        assert {one.glacier_id for one in stale(exported, instance) if one.export == ATLAS} == {"engabreen"}


def test_a_check_says_that_an_export_is_stale_also_when_it_was_not_written_again(exported: Platform) -> None:
    found = exported
    with found.instance() as instance:
        assert {export: judged(instance, export).passed for export in (*WHOLE, ATLAS)} == dict.fromkeys(
            (*WHOLE, ATLAS), True
        ), "judged by the run that wrote them"
        cursor = look(found, instance, None)
        assert look(found, instance, cursor) == cursor, "nothing is judged twice"

        change(found, GONE)
        assert judged(instance, ATLAS).passed
        cursor = look(found, instance, cursor)
        for export, n_rows in (*((export, 1) for export in WHOLE), (ATLAS, 1)):
            check = judged(instance, export)
            assert not check.passed and check.severity == dg.AssetCheckSeverity.WARN
            assert check.metadata["rows failed"].value == n_rows
            assert "rebuild_exports" in str(check.metadata["what to do"].value)
        assert judged(instance, ATLAS).metadata["rows checked"].value == len(SMALL)

    assert found.build("group:exports").failed_checks == []
    with found.instance() as instance:
        assert all(judged(instance, export).passed for export in (*WHOLE, ATLAS))
        assert look(found, instance, cursor) != cursor, "an export that was written is judged again"
        assert all(judged(instance, export).passed for export in (*WHOLE, ATLAS))


def store_of(found: Platform) -> RawStore:
    current = found.current
    return RawStore(home=str(current.home), mirror=current.mirror, registry=str(current.glaciers))


def tick(found: Platform, instance: dg.DagsterInstance) -> str | None:
    """What the schedule asks for: the cause in the tags of the run, or None."""
    (schedule,) = build_defs(found.current).schedules or []
    assert isinstance(schedule, dg.ScheduleDefinition) and schedule.job_name == "rebuild_exports"
    with dg.build_schedule_context(instance, resources={"store": store_of(found)}) as context:
        data = schedule.evaluate_tick(context)
    return data.run_requests[0].tags["arctic_assets/cause"] if data.run_requests else None


def look(found: Platform, instance: dg.DagsterInstance, cursor: str | None) -> str | None:
    """A tick of the sensor as the daemon does it; the cursor afterwards."""
    sensor = build_defs(found.current).resolve_sensor_def("exports_judged")
    with dg.build_sensor_context(instance, cursor, resources={"store": store_of(found)}) as context:
        data = sensor.evaluate_tick(context)
    assert not data.run_requests
    for event in data.asset_events:
        instance.report_runless_asset_event(event)
    return data.cursor if data.asset_events else cursor


def judged(instance: dg.DagsterInstance, export: str) -> dg.AssetCheckEvaluation:
    """The latest result of an export's check."""
    key = dg.AssetCheckKey(dg.AssetKey.from_user_string(export), NAME)
    record = instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    assert record.event and record.event.dagster_event
    return record.event.dagster_event.asset_check_evaluation_data


def materializations(instance: dg.DagsterInstance, run_id: str) -> list[tuple[str, str | None]]:
    """Asset and partition of each materialization of a run."""
    events = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
    found = [event.asset_materialization for event in events]
    return [(made.asset_key.to_user_string(), made.partition) for made in found if made]
