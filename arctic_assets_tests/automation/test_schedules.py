"""Exports say when the tables have moved on, and the night's schedule writes them anew only then."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from click.testing import CliRunner

from arctic_assets.assets.exports.products import stale_exports
from arctic_assets.assets.wiring import RawStore
from arctic_assets.cli import main
from arctic_assets.definitions import build_defs
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets_tests.testkit.platform import Platform, copy_of

GONE = "DELETE FROM derived.area WHERE glacier_id = 'engabreen'"


def test_exports_are_stale_when_a_table_changed_and_fresh_when_they_are_written(
    small_home: Platform, tmp_path: Path
) -> None:
    found = copy_of(small_home, tmp_path)
    published = Warehouse(database=str(found.current.published))
    assert published.fingerprint() == found.warehouse.fingerprint(), "the copy for readers follows each write"
    assert found.build("group:exports").is_good
    with found.instance() as instance:
        assert stale_exports(instance, published) == []
        assert tick(found, instance) is None

    with found.warehouse.get_connection() as connection:
        connection.execute(GONE)
    found.warehouse.publish(found.current.published)
    with found.instance() as instance:
        assert set(stale_exports(instance, published)) == {"exports/workbook", "exports/tables", "exports/coverage"}
        told = tick(found, instance)
        assert told and "exports/workbook" in told
    words = ["status", "--home", str(found.current.home), "--glaciers", str(found.current.glaciers)]
    assert "the tables changed since these were written: exports/" in CliRunner().invoke(main, words).output

    assert found.build('key:"exports/workbook" or key:"exports/tables" or key:"exports/coverage"').is_good
    with found.instance() as instance:
        assert stale_exports(instance, published) == []


def tick(found: Platform, instance: dg.DagsterInstance) -> str | None:
    """What the schedule asks for: the cause in the tags of the run, or None."""
    current = found.current
    store = RawStore(home=str(current.home), mirror=current.mirror, registry=str(current.glaciers))
    (schedule,) = build_defs(current).schedules or []
    assert isinstance(schedule, dg.ScheduleDefinition)
    with dg.build_schedule_context(instance, resources={"store": store}) as context:
        data = schedule.evaluate_tick(context)
    return data.run_requests[0].tags["arctic_assets/cause"] if data.run_requests else None
