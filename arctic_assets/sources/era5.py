"""ERA5 monthly means of the Climate Data Store (CDS): the product, what to ask for, and asking.

Layout of a mirror: `era5/*.nc` or `*.zip`, in any number, under any name, and what this module fetched itself:
`era5/reanalysis-era5-single-levels-monthly-means/2m_temperature_07_81_10.25_76.25_34.75_1985-01_2024-12.nc` (region,
north, west, south, east, first and last month).

Not here: what is in the files and which one to take (`era5_files`, whose words are offered here too).

The CDS computes a file for each request, and a request waits in a queue: so there is one box per region, not per
glacier, and a request takes all months that fit in a rectangle of years by calendar months. Files split where step
types differ, so temperature and the invariants are asked for apart. What the CDS returns for a rectangle are the
months of it that exist.

The key is read by `cdsapi` alone, from CDSAPI_KEY or ~/.cdsapirc.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import requests

from arctic_assets.errors import SourceError
from arctic_assets.sources.base import Account, Delivery, Missing, Origin, Product, Remote, SourceObject, Verified
from arctic_assets.sources.era5_files import (
    INVARIANTS,
    Box,
    Index,
    Selection,
    compress,
    expand,
    month_number,
    open_object,
    verify,
)
from arctic_assets.sources.http import is_unreachable, public_url

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
    "retrieve",
    "verify",
]

DATASET = "reanalysis-era5-single-levels-monthly-means"
CDS_URL = "https://cds.climate.copernicus.eu/api"

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
    homepage=f"https://cds.climate.copernicus.eu/datasets/{DATASET}",
    cadence="monthly",
    latency="preliminary (ERA5T) about 5 days after the month, final two to three months after it",
    account=Account(
        name="Climate Data Store (ECMWF), personal access token",
        register="https://cds.climate.copernicus.eu/profile",
        key=f"the token in the environment variable CDSAPI_KEY, or the lines 'url: {CDS_URL}' and 'key: <token>' in "
        "~/.cdsapirc; the licence of the dataset must be accepted once on its page",
        is_set=lambda: bool(os.environ.get("CDSAPI_KEY")) or "key" in _rc_names(),
    ),
)

_CELL = 0.25
_MONTHLY = ("2m_temperature", "total_precipitation")  # of different step types: CDS delivers them in files of their own
_INVARIANTS = ("geopotential", "land_sea_mask")
_SHORT_NAMES = {"2m_temperature": "t2m", "total_precipitation": "tp", "geopotential": "z", "land_sea_mask": "lsm"}
#: Any final month will do.
_INVARIANT_MONTH = "2020-01"

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
    origin: Origin, months: Sequence[str], boxes: Mapping[str, Box], held: Sequence[SourceObject]
) -> list[Remote | Missing]:
    """Files that hold what is wanted: all of a mirror's, or of the live provider what the archive lacks.

    Live, months that are not held as final over the whole box are asked for, in as few requests as there are
    rectangles of years by calendar months, and the invariants once per box. Preliminary months are asked for again
    each time: as other months join or leave, under a new path, else as new bytes under the same one.

    Args:
        origin: where to look.
        months: 'YYYY-MM'.
        boxes: of `request_boxes`.
        held: archived ERA5 files.
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
    wanted: list[Remote | Missing] = []
    for group, box in boxes.items():
        for name in _MONTHLY:
            lacking = sorted(set(months) - index.final(box, _SHORT_NAMES[name]))
            wanted += [_asked(group, box, (name,), rectangle) for rectangle in _rectangles(lacking)]
        if index.invariants((box.west, box.south, box.east, box.north)) is None:
            wanted.append(_asked(group, box, _INVARIANTS, [_INVARIANT_MONTH]))
    return wanted


def path_of(group: str, box: Box, variables: Sequence[str], months: Sequence[str]) -> str:
    """Path in the provider's folder of what one request brings: it is made of what is asked for.

    Preliminary months and the final ones after them are different requests, mostly (what lacks is then more or less
    than before), and so lie side by side; where they are the same one, the archive keeps the bytes it replaces.

    Args:
        group: of `request_boxes`.
        box: what is asked for.
        variables: names in requests, like `2m_temperature`.
        months: 'YYYY-MM', ascending.
    """
    first, last = months[0], months[-1]
    names = ["_".join(variables), group, *(f"{degrees:g}" for degrees in (box.north, box.west, box.south, box.east))]
    names += [first, last]
    if month_number(last) - month_number(first) + 1 != len(months):
        names.append(hashlib.sha256(" ".join(months).encode()).hexdigest()[:8])
    return f"{DATASET}/{'_'.join(names)}.nc"


def retrieve(
    request: Mapping[str, Any], target: Path, *, longest_wait_s: float = 30.0, tries: int = 6
) -> Delivery | Missing:
    """Ask the Climate Data Store for a file, wait until it is computed, and download it.

    Args:
        request: `dataset` and `inputs`.
        target: file to write; what is there is replaced.
        longest_wait_s: between two looks at the job, and before another try after a failed request.
        tries: how often each single request to the server is tried.

    Returns:
        The delivery, or Missing when the months are not published yet.

    Raises:
        SourceError: the key, the licence or the request is refused, the job fails, or the server cannot be reached.
            The key is in no message.
    """
    from ecmwf.datastores.processing import DownloadError, LinkError, ProcessingFailedError

    client = _client(longest_wait_s, tries)
    dataset, inputs = str(request["dataset"]), dict(request["inputs"])
    failure: Exception
    try:
        result = client.retrieve(dataset, inputs)
        result.download(str(target))
        return Delivery(public_url(result.location), expected_bytes=result.content_length)
    except requests.HTTPError as error:
        failure = error
    except (requests.RequestException, ProcessingFailedError, DownloadError, LinkError) as error:
        failure = error
    except (AssertionError, KeyError) as error:  # so the clients meet answers of another shape than they know
        failure = error
    # Judged out here, a SourceError has no context that would carry the client's texts and headers along.
    return _judged(failure, dataset, inputs, str(client.key))


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


def _rectangles(months: Iterable[str]) -> list[list[str]]:
    """Months in groups of years by calendar months: years that lack the same months are one group."""
    by_year: dict[str, list[str]] = {}
    for month in sorted(months):
        by_year.setdefault(month[:4], []).append(month[5:])
    groups: dict[tuple[str, ...], list[str]] = {}
    for year, lacking in by_year.items():
        groups.setdefault(tuple(lacking), []).extend(f"{year}-{month}" for month in lacking)
    return list(groups.values())


def _asked(group: str, box: Box, variables: tuple[str, ...], months: Sequence[str]) -> Remote:
    """One request to the CDS as a remote file."""
    return Remote(
        PRODUCT,
        path_of(group, box, variables, months),
        partial(_verify_answer, box=box, variables=variables, months=tuple(months)),
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


def _rc_names() -> set[str]:
    """Names that the CDS client's file sets (url, key, verify)."""
    file = Path(os.environ.get("CDSAPI_RC", "~/.cdsapirc")).expanduser()
    lines = file.read_text().splitlines() if file.is_file() else []
    return {line.partition(":")[0].strip() for line in lines if line.partition(":")[2].strip()}


class _Session(requests.Session):
    """Lets the client wait for a server that was there before, but not for minutes for one that never was."""

    has_answered = False

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        try:
            response = super().request(*args, **kwargs)
        except requests.ConnectionError as error:
            if self.has_answered or not is_unreachable(error):
                raise
            raise requests.RequestException(str(error)) from error  # of no kind that the client tries again
        self.has_answered = True
        return response


def _client(longest_wait_s: float, tries: int) -> Any:
    import cdsapi
    from ecmwf.datastores.legacy_client import LegacyClient

    url = None if "CDSAPI_URL" in os.environ or "url" in _rc_names() else CDS_URL
    client: object = None
    why = ""
    try:
        client = cdsapi.Client(url=url, progress=False, sleep_max=longest_wait_s, retry_max=tries, session=_Session())
    except AssertionError:
        pass  # a key in more than two parts
    except Exception as error:  # cdsapi raises no narrower one when it finds no key
        why = str(error)
    account = PRODUCT.account
    assert account is not None
    if why:
        raise SourceError(
            "the Climate Data Store client finds no key",
            expected=account.key,
            got=why,
            todo=f"get a personal access token at {account.register}",
        )
    if not isinstance(client, LegacyClient):  # what cdsapi takes for keys of the service that ended in 2024
        raise SourceError(
            "the key for the Climate Data Store is of the old form",
            where="CDSAPI_KEY or ~/.cdsapirc",
            expected="a personal access token, without a colon",
            got="a key of the form UID:KEY",
            todo=f"replace it by the token shown at {account.register}",
        )
    return client


def _judged(error: Exception, dataset: str, inputs: Mapping[str, Any], key: str) -> Missing:
    """What a failure means.

    Raises:
        SourceError: anything but months that do not exist yet.
    """
    from ecmwf.datastores.processing import DownloadError, ProcessingFailedError

    months = ", ".join(compress(f"{year}-{month}" for year in inputs["year"] for month in inputs["month"]))
    what = f"{' and '.join(inputs['variable'])} of {months}"
    response = error.response if isinstance(error, requests.HTTPError) else None
    status = 0 if response is None else response.status_code
    answer = _answer(response)
    title, detail = str(answer.get("title", "")), str(answer.get("detail", ""))
    reason = str(answer.get("traceback") or detail or title or error)
    page = re.search(r"https?://[^\s'\"]+", detail)
    at_job = response is not None and "/jobs/" in str(response.url)

    if status == 400 and "valid combination" in detail:
        return Missing(f"ERA5 of {months} is not published yet", what=what)
    if "licence" in title and status == 403:
        problem = "the licence of the dataset is not accepted yet"
        todo = f"accept it at {page[0] if page else f'{PRODUCT.homepage}?tab=download#manage-licences'}, and run again"
    elif "cost" in title and status == 403:
        problem = "the request is larger than the Climate Data Store allows"
        todo = "fetch fewer months at once, or divide the registry's glaciers into smaller groups"
    elif status == 401:
        problem = "the Climate Data Store does not accept the key"
        todo = "compare CDSAPI_KEY or ~/.cdsapirc with the personal access token on your profile page"
    elif status in (404, 410) and at_job:
        problem = "the Climate Data Store no longer has the result"
        todo = "run again: the file is then computed anew"
    elif status in (404, 410):
        problem = "the Climate Data Store does not know the dataset"
        todo = f"the url in CDSAPI_URL or ~/.cdsapirc should be {CDS_URL}"
    elif status == 429:
        problem = "the Climate Data Store is asked too often"
        todo = "run again later"
    elif isinstance(error, ProcessingFailedError) or (at_job and status == 400):
        problem = "the Climate Data Store failed to make the file"
        todo = "read the reason; if it says nothing of the request, run again later"
    elif isinstance(error, DownloadError | AssertionError):
        problem = "the file of the Climate Data Store did not come to its end"
        todo = "run again: the file is then asked for anew"
    elif 400 <= status < 500:
        problem = f"the Climate Data Store refuses the request (HTTP {status})"
        todo = f"look for a notice at {PRODUCT.homepage}"
    else:
        problem = "the Climate Data Store cannot be reached, or answers in another way than its client knows"
        todo = "check the url and the network, and run again later"
    raise SourceError(
        problem,
        where=f"{dataset}: {what}",
        expected="a NetCDF file",
        got=reason.replace(key, "<key>")[-2000:],
        todo=todo,
    )


def _answer(response: Any) -> dict[str, Any]:
    """The JSON of an answer, if it is an object."""
    try:
        content = response.json() if response is not None else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}
