"""Sensors: see that something new is there, and ask for the job that brings it in.

A tick only looks (`sources.looks`, the archive, the published tables), has a deadline, and keeps in its cursor how far
it got. Deciding is in pure functions; a look that fails makes the tick fail, and the cursor stays, or is named where
other looks succeeded: a provider that cannot be reached is never taken for one that has nothing new. Downloads belong
to the runs.

One rule for what a look wants (`Asked`): what a run of the job is under way for is not asked for again, and what a
sensor asked for and was not brought to its end is asked for again, once on each further day, until it is.

On a live platform the sensors run from the start; on a mirror they wait to be switched on.
"""

import calendar
import datetime as dt
import hashlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import pandas as pd
from dagster._core.storage.tags import SENSOR_NAME_TAG

from arctic_assets.assets.wiring import VERSION, RawStore, origin_tags, shortened
from arctic_assets.automation import updates
from arctic_assets.partitions import Partitions
from arctic_assets.sources.era5_files import compress, expand
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Outline, TemperatureMonthly

if TYPE_CHECKING:
    from arctic_assets.sources.looks import Round

DEADLINE_S = 40.0
"""A tick that takes longer than 60 s is cut off by Dagster; an attempt that has begun may take 15 s more."""
LOOK_BACK = 100
"""So many of the last runs of a job say what was asked for."""
ASK_AGAIN_AFTER_DAYS = 60
"""Age from which on a preliminary month is asked for again: ERA5 turns final two to three months after the month."""
SETTLED_S = 5.0
"""A dropped file that changed within this time may still be on its way."""


class Decision(NamedTuple):
    """What a tick makes of what it saw: the months to bring in (none: empty), and the new cursor."""

    months: list[str]
    cursor: str


class Asked(NamedTuple):
    """What the runs of a job were asked for: a month, an asset, or `""` where the job has no choice.

    Attributes:
        under_way: what a run waits or works for.
        failed: what a sensor asked for before today and was not brought to its end since, and the run that it was.
    """

    under_way: frozenset[str]
    failed: Mapping[str, dg.DagsterRun]

    def wanted(self, found: Iterable[str]) -> list[str]:
        """What to ask for: what was found and what failed, but for what is under way; sorted."""
        return sorted({*found, *self.failed} - self.under_way)


def asked_of(records: Iterable[dg.RunRecord], sensor: str, today: dt.date) -> Asked:
    """What became of what was asked for.

    A job by intent does all that is left, so of several runs for the same the last one tells: that the tables lack
    nothing at a glance does not mean that all that is made from them was made. Runs that a person started and that
    failed are that person's.

    Args:
        records: runs of one job, the last one first.
        sensor: name of the sensor that asks.
        today: the date, UTC.
    """
    under_way: set[str] = set()
    failed: dict[str, dg.DagsterRun] = {}
    settled: set[str] = set()
    for record in records:
        run = record.dagster_run
        if run.status == dg.DagsterRunStatus.NOT_STARTED:  # the daemon ended before it launched it, and will again
            continue
        for one in _units(run.run_config):
            if one in settled:
                continue
            if not run.is_finished or run.is_complete_and_waiting_to_retry:
                under_way.add(one)
            elif run.is_success or run.tags.get(SENSOR_NAME_TAG) == sensor:
                settled.add(one)
                if not run.is_success and record.create_timestamp.date() < today:
                    failed[one] = run
    return Asked(frozenset(under_way), failed)


def months_of_all(monthly: pd.DataFrame, glaciers: Collection[str]) -> set[str]:
    """Months of which every one of some glaciers has a row: none when there is no glacier.

    Args:
        monthly: glacier_id and month of each row.
        glaciers: ids.
    """
    own = monthly[monthly["glacier_id"].isin(glaciers)]
    n = own.groupby("month")["glacier_id"].nunique()
    return set(n.index[n == len(set(glaciers))]) if len(glaciers) else set()


def new_months(cursor: str | None, published: str, held: Collection[str], since: str | None) -> Decision:
    """Published months after the baseline that are not in the tables.

    Args:
        cursor: the baseline, `YYYY-MM`; None at the first look, which sets it.
        published: last month at the provider.
        held: months that all glaciers have that can have them.
        since: the baseline that the first look sets, to catch up from there; None for the last month published.
    """
    baseline = cursor or since or published
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


def today() -> dt.date:
    """The date, UTC."""
    return dt.datetime.now(dt.UTC).date()


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
        monthly, outlined = _held(store.readers, partitions)
        # A glacier without an outline has no temperature; one that has no row yet is no reason to catch up from 1985.
        held, begun = (months_of_all(monthly, some) for some in (outlined, set(monthly["glacier_id"])))
        decision = new_months(context.cursor, published, held, max(begun, default=None) if catch_up else None)
        asked = _asked(context, "update_latest_month")
        months = asked.wanted(decision.months)
        if not months:
            waits = ", ".join(compress(asked.under_way.intersection(decision.months)))
            state = f"a run for {waits} is under way" if waits else "it is there"
            return dg.SensorResult(skip_reason=f"ERA5 reaches {published}; {state}", cursor=decision.cursor)
        requests = [
            _months_run(f"era5-new-{first}-{last}-{today()}", first, last, f"ERA5 reaches {published}")
            for first, last in _stretches(months)
        ]
        return dg.SensorResult(requests, cursor=decision.cursor)

    @sensor(jobs["update_latest_month"], every_s=6 * 3600)
    def era5_became_final(context: dg.SensorEvaluationContext, store: RawStore) -> dg.SensorResult | dg.SkipReason:
        """Months whose values are still preliminary (ERA5T) 60 days after their end are asked for again, once a day.
        Values that moved are kept in history, and beside the final ones in t2m_preliminary_c.
        """
        dates: dict[str, str] = json.loads(context.cursor or "{}")
        rows = store.readers.rows(TemperatureMonthly)
        preliminary = rows.loc[rows["status"] == "preliminary", "month"].tolist()
        due = months_to_ask_again(dates, preliminary, today(), ASK_AGAIN_AFTER_DAYS)
        again = _asked(context, "update_latest_month").wanted(due)
        months = [month for month in again if dates.get(month) != today().isoformat()]
        if not months:
            return dg.SkipReason("no preliminary month is old enough, or each was asked for today or is under way")
        requests = [
            _months_run(f"era5-final-{first}-{last}-{today()}", first, last, "preliminary months may be final")
            for first, last in _stretches(months)
        ]
        return dg.SensorResult(requests, cursor=json.dumps(dates | dict.fromkeys(months, today().isoformat())))

    @sensor(jobs["refresh_source"], every_s=24 * 3600)
    def new_wgms_release(context: dg.SensorEvaluationContext, store: RawStore) -> dg.SensorResult | dg.SkipReason:
        """WGMS has a release of Fluctuations of Glaciers, or of annual mass change, that the archive lacks."""
        from arctic_assets.sources import amce, fog, looks, origins
        from arctic_assets.sources.base import Remote

        if store.settings.mirror_kind == "sample" and not store.settings.sample.is_dir():
            return dg.SkipReason("the sample is not written yet: build something first")
        origin = origins.open_origin(store.settings, looks.quick(time.monotonic() + DEADLINE_S))
        lacking = {}
        for key, source in (("raw/fog", fog), ("raw/amce", amce)):
            held = {o.path for o in store.archive.objects(source.PRODUCT.provider)}
            wanted = [r.path for r in source.remotes(origin) if isinstance(r, Remote)]
            if any(path not in held for path in wanted):
                lacking[key] = max(wanted)
        request = _refresh(context, "wgms", lacking, f"WGMS published {' and '.join(sorted(lacking.values()))}")
        if request:
            return dg.SensorResult([request])
        return dg.SkipReason("a run for the new release is under way" if lacking else "the newest releases are here")

    @sensor(jobs["refresh_source"], every_s=6 * 3600)
    def new_itslive_year(context: dg.SensorEvaluationContext, store: RawStore) -> dg.SensorResult | dg.SkipReason:
        """ITS_LIVE has an annual mosaic, of a region of the registry, for a year after the last one held. Looks at as
        many regions as a tick has time for, and goes on from there at the next one.
        """
        from arctic_assets.sources import itslive, looks

        held: dict[str, int] = {}
        for one in store.archive.objects(itslive.PRODUCT.provider):
            region, year = str(one.content.get("region")), int(one.content.get("year", 0))
            held[region] = max(year, held.get(region, 0))
        if not held:
            return dg.SkipReason("no mosaic is held yet: materialise raw/itslive first")
        until = time.monotonic() + DEADLINE_S
        wanted = {
            f"{region} {year}": (region, year) for region in held for year in range(held[region] + 1, today().year)
        }
        with itslive.open_mosaics(store.settings, looks.quick(until)) as mosaics:
            done = looks.go_round(
                wanted,
                context.cursor or "",
                lambda one: f"{one[0]} {one[1]}" if mosaics.has(*one) else None,
                lambda one: one[0],
                until,
            )
        found = [answer for answer in done.answers if answer]
        version = {"raw/itslive": ", ".join(found)} if found else {}
        request = _refresh(context, "itslive", version, f"new mosaics: {', '.join(found)}")
        told = f"{len(done.answers)} of {len(wanted)} looked at, {len(found)} new mosaics"
        return _of_round(context, done, request, len(done.answers), told)

    @sensor(jobs["refresh_source"], every_s=6 * 3600)
    def provider_object_changed(
        context: dg.SensorEvaluationContext, store: RawStore
    ) -> dg.SensorResult | dg.SkipReason:
        """A provider replaced a file that the archive holds (ETag, date, size or checksum differ). Looks at as many
        files as a tick has time for, and goes on from there at the next one. A provider that cannot be reached is named
        and does not hold up the others; files that cannot be compared are counted.
        """
        from arctic_assets.sources import looks

        objects = store.archive.all_objects()
        if not objects:
            return dg.SkipReason("the archive is empty")
        until = time.monotonic() + DEADLINE_S
        root, client = updates.mirror_root(store), looks.quick(until)
        done = looks.go_round(
            {f"{held.provider}/{held.path}": held for held in objects},
            context.cursor or "",
            lambda held: looks.compare(held, client, root),
            lambda held: held.provider,
            until,
        )
        changed = [look for look in done.answers if look.verdict == "changed"]
        digest = _digest(*(f"{look.held.source_id} {look.what}" for look in changed))
        providers = sorted({look.held.provider for look in changed})
        found = {key: digest for provider in providers for key in updates.raw_assets_of(provider)}
        cause = "; ".join(f"{look.held.path}: {look.what}" for look in changed[:3])
        blind = [look.held.provider for look in done.answers if look.verdict == "not comparable"]
        n = len(done.answers) - len(blind)
        told = f"{n} of {len(objects)} looked at, {len(changed)} changed"
        if blind:
            told += f", {len(blind)} cannot be compared ({', '.join(sorted(set(blind)))})"
        return _of_round(context, done, _refresh(context, "changed", found, cause), n, told)

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
        asked = _asked(context, "import_revisions")
        if not asked.wanted([""] if dropped or waiting else []):
            return dg.SkipReason("a run takes them" if asked.under_way else "no outline waits")
        names = [name for name, _, _ in stamps] or [" ".join(key) for key in waiting]
        cause = f"outlines revised: {', '.join(names)}" if names else asked.failed[""].tags.get(updates.CAUSE, "")
        key = f"revised-{_digest(repr((stamps, waiting)))}" + (f"-{today()}" if asked.failed else "")
        return dg.SensorResult([dg.RunRequest(run_key=key, tags={updates.CAUSE: shortened(cause)})])

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


def _refresh(
    context: dg.SensorEvaluationContext, kind: str, found: Mapping[str, str], cause: str
) -> dg.RunRequest | None:
    """Ask for raw assets, those too whose last run failed; None when nothing is left to ask for.

    Args:
        context: of the tick.
        kind: begins the run's key.
        found: version by asset that a look found.
        cause: why these.
    """
    asked = _asked(context, "refresh_source")
    assets = asked.wanted(found)
    if not assets:
        return None
    again = {key: asked.failed[key].tags for key in assets if key in asked.failed}
    causes = {cause} if found.keys() & set(assets) else set()
    causes |= {tags[updates.CAUSE] for key, tags in again.items() if key not in found}
    versions = {found[key] if key in found else again[key][VERSION] for key in assets}
    providers = {updates.provider_of(key) for key in assets}
    tags = {
        updates.CAUSE: shortened("; ".join(sorted(causes))),
        **origin_tags(", ".join(sorted(providers)), " and ".join(sorted(versions))),
    }
    return dg.RunRequest(
        run_key=f"{kind}-{_digest(*assets, *sorted(versions))}" + (f"-{today()}" if again else ""),
        run_config={"ops": {"source": {"config": {"assets": assets}}}},
        tags=tags,
    )


def _of_round(
    context: dg.SensorEvaluationContext, done: "Round[Any]", request: dg.RunRequest | None, n: int, told: str
) -> dg.SensorResult:
    """What a tick says after a round of looks, and where the next one begins.

    Args:
        context: of the tick.
        done: the round.
        request: what the tick asks for.
        n: how many looks told something.
        told: what came of them.

    Raises:
        SourceError: nothing could be looked at.
    """
    if request is None and done.failures and not n and not done.left:
        raise next(iter(done.failures.values()))
    lines = [told, *(f"not reached: {name}: {error}" for name, error in done.failures.items())]
    lines += [f"not all yet: the next tick goes on with {done.begin}"] if done.left else []
    if request is None:
        return dg.SensorResult(skip_reason="; ".join(lines), cursor=done.begin)
    for line in lines:
        context.log.info(line)
    return dg.SensorResult([request], cursor=done.begin)


def _asked(context: dg.SensorEvaluationContext, job: str) -> Asked:
    records = context.instance.get_run_records(dg.RunsFilter(job_name=job), limit=LOOK_BACK)
    return asked_of(records, context.sensor_name, today())


def _units(run_config: Mapping[str, Any]) -> list[str]:
    """What a run of a job by intent was asked to do."""
    ops = {name: op.get("config", {}) for name, op in run_config.get("ops", {}).items()}
    if any(config.get("dry_run") for config in ops.values()):
        return []
    if "source" in ops:
        return list(ops["source"].get("assets", []))
    if "months" in ops:
        first = ops["months"].get("start")
        return expand([f"{first}..{ops['months'].get('end') or first}"]) if first else []
    return [""]


def _held(readers: Warehouse, partitions: Partitions) -> tuple[pd.DataFrame, set[str]]:
    """glacier_id and month of each row of the registry's monthly temperatures, and the glaciers with an outline."""
    own = pd.DataFrame({"glacier_id": partitions.registry.ids})
    outlined = readers.distinct(Outline, "glacier_id").merge(own)
    return readers.distinct(TemperatureMonthly, "glacier_id", "month").merge(own), set(outlined["glacier_id"])


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def _stretches(months: Sequence[str]) -> list[tuple[str, str]]:
    """First and last month of each stretch of consecutive months."""
    return [(text[:7], text[-7:]) for text in compress(months)]
