"""ERA5 monthly means of the Climate Data Store (CDS): the product, what to ask for, and asking.

Layout of a mirror: `era5/*.nc` or `*.zip`, in any number, under any name, and what this module fetched itself:
`era5/reanalysis-era5-single-levels-monthly-means/2m_temperature_07_81_10.25_76.25_34.75_1985-01_2024-12.nc` (variables,
regions, north, west, south, east, first and last month).

Not here: what is in the files and which one to take (`era5_files`, whose words are offered here too), and how a job of
the CDS is submitted and waited for (`cds`).

The CDS computes a file for each request, and a request waits in a queue: so there are as few as possible. A box is a
rectangle: around all regions it holds mostly other land and sea, which does not matter for a month and does for forty
years. Step types differ between temperature and precipitation, so that the CDS delivers both as two files in a zip; the
invariants are asked for apart, since they are the same in each month. What the CDS returns for a rectangle of years by
calendar months are the months of it that exist.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from arctic_assets.errors import SourceError
from arctic_assets.sources import cds
from arctic_assets.sources.base import Missing, Origin, Product, Remote, SourceObject, Verified
from arctic_assets.sources.era5_files import (
    INVARIANTS,
    Box,
    Index,
    Selection,
    compress,
    expand,
    month_name,
    month_number,
    open_object,
    verify,
)

__all__ = [
    "DATASET",
    "INVARIANTS",
    "PRODUCT",
    "Box",
    "Index",
    "Selection",
    "compress",
    "expand",
    "open_object",
    "path_of",
    "remotes",
    "request_boxes",
    "verify",
]

DATASET = "reanalysis-era5-single-levels-monthly-means"

PRODUCT = Product(
    provider="era5",
    name="ERA5 monthly averaged data on single levels",
    version="ERA5 (ERA5T where preliminary)",
    licence="CC-BY-4.0",  # since 2025-07-02; before, the Licence to use Copernicus Products
    citation=(
        "Hersbach, H., Bell, B., Berrisford, P., Biavati, G., Horányi, A., Muñoz Sabater, J., et al. (2023): ERA5 "
        "monthly averaged data on single levels from 1940 to present. Copernicus Climate Change Service (C3S) Climate "
        "Data Store (CDS). https://doi.org/10.24381/cds.f17050d7"
    ),
    doi="10.24381/cds.f17050d7",
    homepage=f"{cds.SITE}/datasets/{DATASET}",
    cadence="monthly",
    latency="preliminary (ERA5T) about 5 days after the month, final two to three months after it",
    account=cds.ACCOUNT,
)

_CELL = 0.25
_LATENCY_DAYS = 7  # a month is there so long after its end
_MONTHLY = ("2m_temperature", "total_precipitation")  # of different step types: together, the CDS delivers a zip
_INVARIANTS = ("geopotential", "land_sea_mask")
_SHORT_NAMES = {"2m_temperature": "t2m", "total_precipitation": "tp", "geopotential": "z", "land_sea_mask": "lsm"}
#: Any final month will do.
_INVARIANT_MONTH = "2020-01"
#: Values in a file (points by fields) that is still a small one, about 10 MB: then one box serves all regions.
_SMALL = 5_000_000

Bounds = tuple[float, float, float, float]


def request_boxes(bounds: Mapping[str, Sequence[Bounds]]) -> dict[str, Box]:
    """One box of grid points per group of glaciers, the group being an RGI region.

    Args:
        bounds: west, south, east, north of each glacier, degrees; east may exceed 180 or be below west where a
            glacier lies across 180 degrees.

    Returns:
        Boxes on the grid of 0.25 degrees, one cell wider on each side than the smallest rectangle around the
        glaciers; west in [-180, 180), east above 180 where the group lies across it.
    """
    return {group: _box(list(around)) for group, around in bounds.items() if around}


def remotes(
    origin: Origin,
    months: Sequence[str],
    boxes: Mapping[str, Box],
    held: Sequence[SourceObject],
    pending: Sequence[cds.Job] = (),
) -> list[Remote | Missing]:
    """Files that hold what is wanted: all of a mirror's, or of the live provider what the archive lacks.

    Live, months that are not held as final over the whole box are asked for, in as few requests as may be: all
    variables that lack the same months in one, of years by calendar months; a few months over one box around all
    groups, many months over a box for each. Forty years of the seven regions are seven requests, and a new month,
    with the preliminary ones, is one; the invariants are one more, once. Preliminary months are asked for again each
    time: as other months join or leave, under a new path, else as new bytes under the same one. What pending jobs
    bring is not asked for again: their files come first.

    Args:
        origin: where to look.
        months: 'YYYY-MM'.
        boxes: of `request_boxes`.
        held: archived ERA5 files.
        pending: jobs whose files are not in the archive yet, the oldest first.
    """
    if not origin.is_live:
        paths = origin.names(PRODUCT.provider)
        paths += [f"{DATASET}/{name}" for name in origin.names(PRODUCT.provider, DATASET)]
        paths = [path for path in paths if path.lower().endswith((".nc", ".zip"))]
        if not paths:
            reason = f"the mirror {origin.name} holds no ERA5 file (era5/*.nc or era5/*.zip)"
            return [Missing(reason, what=PRODUCT.provider)]
        return [Remote(PRODUCT, path, verify) for path in paths]
    index = Index([found for found in held if not found.is_synthetic])  # the sample's files are no reason not to ask
    there: dict[tuple[str, str], set[str]] = {}  # months by group and variable
    lacking: dict[tuple[str, str], set[str]] = {}
    for group, box in boxes.items():
        for name in _MONTHLY:
            status = index.over(box, _SHORT_NAMES[name])
            there[group, name] = set(status)
            lacking[group, name] = {month for month in months if status.get(month) != "final"}
        is_known = index.invariants((box.west, box.south, box.east, box.north)) is not None
        for name in _INVARIANTS:
            there[group, name] = set()
            lacking[group, name] = set() if is_known else {_INVARIANT_MONTH}
    wanted: list[Remote | Missing] = []
    same = [remote.request for remote in _lacking(boxes, lacking, there)]
    for job in pending:
        if remote := _pending(job, boxes):
            box, last = Box(*job.inputs["area"]), _last_month(job, max(months) if job.request in same else "")
            brings = {month for month in _months(job.inputs) if month <= last}
            keys = [(g, name) for g, name in lacking if name in job.inputs["variable"] and box.contains(boxes[g])]
            if any(lacking[key] & brings for key in keys):
                wanted.append(remote)
            for key in keys:
                lacking[key] -= brings
                there[key] |= brings
    return wanted + _lacking(boxes, lacking, there)


def _lacking(
    boxes: Mapping[str, Box],
    lacking: Mapping[tuple[str, str], Collection[str]],
    there: Mapping[tuple[str, str], Collection[str]],
) -> list[Remote]:
    """Requests for the months that are lacking, by group and variable; those that are there do not come along."""
    asked: dict[tuple[tuple[str, ...], tuple[str, ...]], dict[str, Box]] = {}
    for group, box in boxes.items():
        for together in (_MONTHLY, _INVARIANTS):
            by_months: dict[tuple[str, ...], list[str]] = {}
            for name in together:
                by_months.setdefault(tuple(sorted(lacking[group, name])), []).append(name)
            for absent, names in by_months.items():
                for rectangle in _rectangles(absent, {month for name in names for month in there[group, name]}):
                    asked.setdefault((tuple(names), rectangle), {})[group] = box
    return [
        _asked(group, box, variables, rectangle)
        for (variables, rectangle), of in asked.items()
        for group, box in _joined(of, len(variables) * len(rectangle)).items()
    ]


def _pending(job: cds.Job, boxes: Mapping[str, Box]) -> Remote | None:
    """The file of a job; None when it is a job for something else than is asked for here."""
    try:
        box = Box(*job.inputs["area"])
        group = "-".join(group for group, own in boxes.items() if box.contains(own))
        remote = _asked(group, box, tuple(job.inputs["variable"]), _months(job.inputs))
    except (KeyError, TypeError, IndexError):
        return None
    return remote if remote.request == job.request else None


def _months(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{year}-{month}" for year in inputs["year"] for month in inputs["month"])


def _last_month(job: cds.Job, wanted: str) -> str:
    """The last month that a job can bring: it had ended when the job was submitted, and was published.

    Args:
        job: a pending one.
        wanted: the last month of a run that asks for the same, or empty. If it had ended too, that run is the one of
            the job, started again: it does not ask for more, whether the month was published or not.
    """
    submitted = dt.date.fromisoformat(job.submitted_at[:10])
    ended = month_number(f"{submitted:%Y-%m}") - 1
    is_sure = submitted.day > _LATENCY_DAYS or (wanted and month_number(wanted) <= ended)
    return month_name(ended if is_sure else ended - 1)


def _joined(boxes: Mapping[str, Box], fields: int) -> Mapping[str, Box]:
    """One box around all where so many fields over it are a small file, else the boxes."""
    if len(boxes) == 1:
        return boxes
    whole = _box([(box.west, box.south, box.east, box.north) for box in boxes.values()])
    points = ((whole.north - whole.south) / _CELL + 1) * ((whole.east - whole.west) / _CELL + 1)
    return {"-".join(boxes): whole} if points * fields <= _SMALL else boxes


def path_of(group: str, box: Box, variables: Sequence[str], months: Sequence[str]) -> str:
    """Path in the provider's folder of what one request brings: it is made of what is asked for.

    Preliminary months and the final ones after them are different requests, mostly (what lacks is then more or less
    than before), and so lie side by side; where they are the same one, the archive keeps the bytes it replaces.

    Args:
        group: of `request_boxes`.
        box: what is asked for.
        variables: names in requests, like `2m_temperature`; those of two step types come as a zip.
        months: 'YYYY-MM', ascending.
    """
    first, last = months[0], months[-1]
    names = ["_".join(variables), group, *(f"{degrees:g}" for degrees in (box.north, box.west, box.south, box.east))]
    names += [first, last]
    if month_number(last) - month_number(first) + 1 != len(months):
        names.append(hashlib.sha256(" ".join(months).encode()).hexdigest()[:8])
    return f"{DATASET}/{'_'.join(names)}.{'zip' if set(variables) >= set(_MONTHLY) else 'nc'}"


def _box(bounds: list[Bounds]) -> Box:
    """The smallest box around bounds on a circle: of those that begin at a glacier's west, the narrowest."""
    spans = [(west, (east - west) % 360 if east < west else east - west) for west, _, east, _ in bounds]
    width, west = min((max((w - start) % 360 + span for w, span in spans), start) for start, _ in spans)
    if width + 3 * _CELL >= 360:
        west, east = -180.0, 180.0 - _CELL
    else:
        first = math.floor(west / _CELL) * _CELL - _CELL
        last = math.ceil((west + width) / _CELL) * _CELL + _CELL
        turn = 360 * math.floor((first + 180) / 360)
        west, east = first - turn, last - turn
    south = math.floor(min(south for _, south, _, _ in bounds) / _CELL) * _CELL - _CELL
    north = math.ceil(max(north for _, _, _, north in bounds) / _CELL) * _CELL + _CELL
    return Box(min(north, 90.0), west, max(south, -90.0), east)


def _rectangles(months: Sequence[str], seen: Collection[str]) -> list[tuple[str, ...]]:
    """Months in groups of years by calendar months: years that lack the same months are one group.

    The first and the last year join the others also where months before the first and after the last one come
    along: there are none yet, or none were asked for yet.

    Args:
        months: those that are lacking, ascending.
        seen: months that must not come along, because they are there.
    """
    by_year: dict[str, tuple[str, ...]] = {}
    for month in months:
        by_year[month[:4]] = (*by_year.get(month[:4], ()), month[5:])
    for year in [*by_year][:1] + [*by_year][-1:]:
        for calendar in {*by_year.values()}:
            more = {f"{year}-{month}" for month in calendar} - set(months)
            if set(by_year[year]) < set(calendar) and not any(m in seen or months[0] < m < months[-1] for m in more):
                by_year[year] = calendar
    groups: dict[tuple[str, ...], list[str]] = {}
    for year, calendar in by_year.items():
        groups.setdefault(calendar, []).extend(f"{year}-{month}" for month in calendar)
    return [tuple(group) for group in groups.values()]


def _halves(group: str, box: Box, variables: tuple[str, ...], months: tuple[str, ...]) -> list[Remote]:
    """The earlier and the later years of a request; none when it is one year."""
    years = sorted({month[:4] for month in months})
    middle = years[len(years) // 2]
    parts = [tuple(m for m in months if m[:4] < middle), tuple(m for m in months if m[:4] >= middle)]
    return [_asked(group, box, variables, part) for part in parts] if len(years) > 1 else []


def _asked(group: str, box: Box, variables: tuple[str, ...], months: tuple[str, ...]) -> Remote:
    """One request to the CDS as a remote file."""
    return Remote(
        PRODUCT,
        path_of(group, box, variables, months),
        partial(_verify_answer, box=box, variables=variables, months=months),
        halves=partial(_halves, group, box, variables, months),
        request={
            "dataset": DATASET,
            "inputs": {
                "product_type": ["monthly_averaged_reanalysis"],
                "variable": list(variables),
                "year": sorted({month[:4] for month in months}),
                "month": sorted({month[5:] for month in months}),
                "time": ["00:00"],
                "area": [box.north, box.west, box.south, box.east],
                "data_format": "netcdf",
                "download_format": "unarchived",
            },
        },
    )


def _verify_answer(path: Path, box: Box, variables: tuple[str, ...], months: tuple[str, ...]) -> Verified:
    """Verify a file, and that it is what was asked for."""
    facts = verify(path, months)
    got = Box(*facts.content["box"])
    lacking = {_SHORT_NAMES[name] for name in variables} - set(facts.content["variables"])
    if lacking or not got.contains(box):
        raise SourceError(
            "the Climate Data Store delivered something else than was asked for",
            where=path,
            expected=f"{' and '.join(variables)} at grid points over {box}",
            got=f"{', '.join(facts.content['variables'])} at grid points over {got}",
            todo="run again; if it stays, compare the request with the form on the dataset's page",
        )
    return facts
