"""Sensors: see that something new is there, and ask for the job that brings it in.

A tick only looks (`sources.looks`, the archive, the published tables), has a deadline, and keeps in its cursor how far
it got. Deciding is in pure functions; a look that fails makes the tick fail, and the cursor stays: a provider that
cannot be reached is never taken for one that has nothing new. Downloads belong to the runs.

On a live platform the sensors run from the start; on a mirror they wait to be switched on.
"""

import calendar
import datetime as dt
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import dagster as dg

from arctic_assets.assets.wiring import RawStore, origin_tags, shortened
from arctic_assets.automation import updates
from arctic_assets.errors import SourceError
from arctic_assets.partitions import Partitions
from arctic_assets.sources.era5_files import compress, expand
from arctic_assets.tables import TemperatureMonthly

DEADLINE_S = 40.0
"""A tick that takes longer than 60 s is cut off by Dagster."""
ASK_AGAIN_AFTER_DAYS = 60
"""Age from which on a preliminary month is asked for again: ERA5 turns final two to three months after the month."""
SETTLED_S = 5.0
"""A dropped file that changed within this time may still be on its way."""


class Decision(NamedTuple):
    """What a tick makes of what it saw: the months to bring in (none: empty), and the new cursor."""

    months: list[str]
    cursor: str


def new_months(cursor: str | None, published: str, held: Collection[str], catch_up: bool) -> Decision:
    """Published months after the baseline that are not in the tables.

    Args:
        cursor: the baseline, `YYYY-MM`; None at the first look, which sets it.
        published: last month at the provider.
        held: months that all glaciers have.
        catch_up: set the baseline to the last month held, so that what came after it is brought in; else to the last
            month published.
    """
    baseline = cursor or (max(held, default=published) if catch_up else published)
    months = months_between(baseline, published)
    return Decision([m for m in months if m not in held], baseline)


def months_to_ask_again(
    cursor: Mapping[str, str], preliminary: Sequence[str], today: dt.date, after_days: int
) -> list[str]:
    """Preliminary months that are old enough to be final, each asked for once a day at most.

    Args:
        cursor: ISO date of the last time each month was asked for.
        preliminary: months whose stored values are preliminary.
        today: the date.
        after_days: age, from the month's end, from which on a month is asked for.
    """
    due = []
    for month in sorted(set(preliminary)):
        year, number = int(month[:4]), int(month[5:])
        last_day = dt.date(year, number, calendar.monthrange(year, number)[1])
        if (today - last_day).days >= after_days and cursor.get(month) != today.isoformat():
            due.append(month)
    return due


def months_between(known: str, last: str) -> list[str]:
    """Months after `known` up to `last`."""
    return expand([f"{known}..{last}"])[1:]


def build(partitions: Partitions, jobs: Mapping[str, dg.JobDefinition]) -> list[dg.SensorDefinition]:
    """The sensors."""
    live = partitions.settings.mirror_kind == "live"
    status = dg.DefaultSensorStatus.RUNNING if live else dg.DefaultSensorStatus.STOPPED
    catch_up = partitions.settings.catch_up

    def sensor(job: dg.JobDefinition, *, every_s: int) -> Callable[[Callable[..., Any]], dg.SensorDefinition]:
        """Declare a sensor whose docstring the UI shows: Dagster takes it for assets, but not for sensors."""

        def declare(look: Callable[..., Any]) -> dg.SensorDefinition:
            return dg.sensor(
                job=job,
                minimum_interval_seconds=every_s,
                default_status=status,
                description=" ".join((look.__doc__ or "").split()),
            )(look)

        return declare

    @sensor(jobs["update_latest_month"], every_s=3600)
    def new_era5_month(context: dg.SensorEvaluationContext, store: RawStore) -> dg.SensorResult | dg.SkipReason:
        """ERA5 has a new month, says the Climate Data Store's catalogue: one run brings it in for all glaciers, and the
        yearly values when a year is complete. The first look sets the baseline, or catches up where
        ARCTIC_ASSETS_FIRST_LOOK is `catch_up`.
        """
        if store.settings.mirror_kind in ("directory", "url"):
            return dg.SkipReason("a mirror has no catalogue: start update_latest_month when it has a new file")
        published = updates.last_published(store)
        decision = new_months(context.cursor, published, _months_of_all(context.instance, partitions), catch_up)
        if not decision.months:
            return dg.SensorResult(skip_reason=f"ERA5 reaches {published}; it is there", cursor=decision.cursor)
        today = dt.datetime.now(dt.UTC).date()  # what failed is tried again on another day
        requests = [
            _months_run(f"era5-new-{first}-{last}-{today}", first, last, f"ERA5 reaches {published}")
            for first, last in _stretches(decision.months)
        ]
        return dg.SensorResult(requests, cursor=decision.cursor)

    @sensor(jobs["update_latest_month"], every_s=6 * 3600)
    def era5_became_final(context: dg.SensorEvaluationContext, store: RawStore) -> dg.SensorResult | dg.SkipReason:
        """Months whose values are still preliminary (ERA5T) 60 days after their end are asked for again, once a day.
        Values that moved are kept in history, and beside the final ones in t2m_preliminary_c.
        """
        asked: dict[str, str] = json.loads(context.cursor or "{}")
        rows = store.readers.rows(TemperatureMonthly)
        preliminary = rows.loc[rows["status"] == "preliminary", "month"].tolist()
        today = dt.datetime.now(dt.UTC).date()
        due = months_to_ask_again(asked, preliminary, today, ASK_AGAIN_AFTER_DAYS)
        if not due:
            return dg.SkipReason("no preliminary month is old enough, or each was asked for today")
        cursor = json.dumps(asked | dict.fromkeys(due, today.isoformat()))
        requests = [
            _months_run(f"era5-final-{first}-{last}-{today}", first, last, "preliminary months may be final")
            for first, last in _stretches(due)
        ]
        return dg.SensorResult(requests, cursor=cursor)

    @sensor(jobs["refresh_source"], every_s=24 * 3600)
    def new_wgms_release(context: dg.SensorEvaluationContext, store: RawStore) -> dg.SensorResult | dg.SkipReason:
        """WGMS has a release of Fluctuations of Glaciers, or of annual mass change, that the archive lacks."""
        from arctic_assets.sources import amce, fog
        from arctic_assets.sources.base import Remote

        origin = store.origin()
        lacking = {}
        for key, source in (("raw/fog", fog), ("raw/amce", amce)):
            held = {o.path for o in store.archive.objects(source.PRODUCT.provider)}
            wanted = [r.path for r in source.remotes(origin) if isinstance(r, Remote)]
            if any(path not in held for path in wanted):
                lacking[key] = max(wanted)
        if not lacking:
            return dg.SkipReason("the archive holds the newest releases")
        names = " and ".join(sorted(lacking.values()))
        return dg.SensorResult([_refresh(f"wgms-{names}", list(lacking), f"WGMS published {names}", "wgms", names)])

    @sensor(jobs["refresh_source"], every_s=24 * 3600)
    def new_itslive_year(context: dg.SensorEvaluationContext, store: RawStore) -> dg.SensorResult | dg.SkipReason:
        """ITS_LIVE has an annual mosaic, of a region of the registry, for a year after the last one held."""
        from arctic_assets.sources import itslive

        held: dict[str, int] = {}
        for one in store.archive.objects(itslive.PRODUCT.provider):
            region, year = str(one.content.get("region")), int(one.content.get("year", 0))
            held[region] = max(year, held.get(region, 0))
        if not held:
            return dg.SkipReason("no mosaic is held yet: materialise raw/itslive first")
        until = time.monotonic() + DEADLINE_S
        last = dt.datetime.now(dt.UTC).year - 1
        found = []
        store.origin()
        with itslive.open_mosaics(store.settings) as mosaics:
            for region, newest in sorted(held.items()):
                years = range(newest + 1, last + 1)
                found += [
                    f"{region} {year}" for year in years if time.monotonic() < until and mosaics.has(region, year)
                ]
        if not found:
            return dg.SkipReason("no mosaic after the last ones held")
        version = ", ".join(found)
        request = _refresh(f"itslive-{version}", ["raw/itslive"], f"new mosaics: {version}", "itslive", version)
        return dg.SensorResult([request])

    @sensor(jobs["refresh_source"], every_s=6 * 3600)
    def provider_object_changed(
        context: dg.SensorEvaluationContext, store: RawStore
    ) -> dg.SensorResult | dg.SkipReason:
        """A provider replaced a file that the archive holds (ETag, date, size or checksum differ). Looks at as many
        files as a tick has time for, and goes on from there at the next one.
        """
        from arctic_assets.sources import looks

        objects = store.archive.all_objects()
        if not objects:
            return dg.SkipReason("the archive is empty")
        start = int(context.cursor or 0) % len(objects)
        until = time.monotonic() + DEADLINE_S
        root = updates.mirror_root(store)
        changed, failure, n = [], None, 0
        for held in [*objects[start:], *objects[:start]]:
            if time.monotonic() > until:
                break
            try:
                change = looks.changed(held, root=root)
            except SourceError as error:
                failure = error
                break
            n += 1
            if change:
                changed.append(change)
        if failure and n == 0:
            raise failure
        cursor = str((start + n) % len(objects))
        if not changed:
            return dg.SensorResult(skip_reason=f"{n} of {len(objects)} files are as they were", cursor=cursor)
        providers = sorted({change.held.provider for change in changed})
        assets = [key for provider in providers for key in updates.raw_assets_of(provider)]
        digest = hashlib.sha256("".join(f"{c.held.source_id} {c.what}" for c in changed).encode()).hexdigest()[:12]
        cause = "; ".join(f"{c.held.path}: {c.what}" for c in changed[:3])
        request = _refresh(f"changed-{digest}", assets, cause, ", ".join(providers), digest)
        return dg.SensorResult([request], cursor=cursor)

    @sensor(jobs["import_revisions"], every_s=60)
    def outline_revised(context: dg.SensorEvaluationContext, store: RawStore) -> dg.SensorResult | dg.SkipReason:
        """Somebody dropped a corrected outline into <home>/revisions/, or imported one: it is judged, kept, and all
        that is made from it is built.
        """
        dropped = updates.dropped_files(store)
        stamps = [(p.name, p.stat().st_mtime, p.stat().st_size) for p in dropped]
        if any(time.time() - modified < SETTLED_S for _, modified, _ in stamps):
            return dg.SkipReason("a file is still being written")
        waiting = updates.unbuilt_revisions(store)
        if not dropped and not waiting:
            return dg.SkipReason("no outline waits")
        digest = hashlib.sha256(repr((stamps, waiting)).encode()).hexdigest()[:12]
        names = [name for name, _, _ in stamps] or [" ".join(key) for key in waiting]
        cause = {updates.CAUSE: shortened(f"outlines revised: {', '.join(names)}")}
        return dg.SensorResult([dg.RunRequest(run_key=f"revised-{digest}", tags=cause)])

    return [
        new_era5_month,
        era5_became_final,
        new_wgms_release,
        new_itslive_year,
        provider_object_changed,
        outline_revised,
    ]


def _months_run(run_key: str, first: str, last: str, cause: str) -> dg.RunRequest:
    config = {"ops": {"months": {"config": {"start": first, "end": last}}}}
    tags = {updates.CAUSE: shortened(cause), **origin_tags("era5", f"{first} to {last}")}
    return dg.RunRequest(run_key=run_key, run_config=config, tags=tags)


def _refresh(run_key: str, assets: list[str], cause: str, provider: str, version: str) -> dg.RunRequest:
    config = {"ops": {"source": {"config": {"assets": assets}}}}
    tags = {updates.CAUSE: shortened(cause), **origin_tags(provider, version)}
    return dg.RunRequest(run_key=run_key, run_config=config, tags=tags)


def _months_of_all(instance: dg.DagsterInstance, partitions: Partitions) -> set[str]:
    """Months that are materialised for all glaciers."""
    done = instance.get_materialized_partitions(dg.AssetKey(["derived", "temperature_monthly"]))
    counts = Counter(key.rpartition("|")[2] for key in done if key.partition("|")[0] in partitions.registry.ids)
    return {month for month, n in counts.items() if n == len(partitions.registry.ids)}


def _stretches(months: Sequence[str]) -> list[tuple[str, str]]:
    """First and last month of each stretch of consecutive months."""
    return [(text[:7], text[-7:]) for text in compress(months)]
