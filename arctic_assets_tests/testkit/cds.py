"""A Climate Data Store on the loopback interface, as far as its clients and our module talk to it.

It keeps accounts of licence, published months and jobs, and computes NetCDF files in the layout of the store since
2024. What a test wants to go wrong is an attribute that it sets; what was asked is in `jobs` and `log`.
"""

from __future__ import annotations

import calendar
import datetime as dt
import hashlib
import io
import re
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arctic_assets_tests.testkit.base import LoopbackServer, Request, Response

Field = Callable[[NDArray[np.float64], NDArray[np.float64], str], NDArray[np.float64]]

DATASET = "reanalysis-era5-single-levels-monthly-means"
FIRST_MONTH = "1940-01"
_CELL = 0.25
_GRIB = {  # requested name: short name, unit, GRIB parameter, long name, step type
    "2m_temperature": ("t2m", "K", 167, "2 metre temperature", "avgua"),
    "total_precipitation": ("tp", "m", 228, "Total precipitation", "avgad"),
    "geopotential": ("z", "m**2 s**-2", 129, "Geopotential", "avgua"),
    "land_sea_mask": ("lsm", "(0 - 1)", 172, "Land-sea mask", "avgua"),
}


def arctic_air(latitude: NDArray[np.float64], longitude: NDArray[np.float64], month: str) -> NDArray[np.float64]:
    """Kelvin: colder to the pole, warmest in July, a little warmer each year, with waves along the parallels."""
    season = -np.cos(2 * np.pi * (int(month[5:]) - 1) / 12)
    mean = 273.15 - 0.5 * (latitude - 60) + 10 * season + 0.03 * (int(month[:4]) - 2000)
    return mean + 2 * np.sin(np.radians(3 * longitude))


@dataclass
class Job:
    """One request that was accepted.

    Attributes:
        number: in the order of acceptance, from 1.
        dataset: what was asked.
        inputs: the request.
        polls_left: looks at the job until it is done.
        content: the file.
        state: accepted, running, successful, failed, dismissed, or expired: successful, with results no longer kept.
        created: ISO time, in UTC without saying so.
    """

    number: int
    dataset: str
    inputs: dict[str, Any]
    polls_left: float
    content: bytes
    state: str = "accepted"
    created: str = field(default_factory=lambda: dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat())

    @property
    def is_active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ("accepted", "running")

    @property
    def id(self) -> str:
        return f"job-{self.number:04d}"

    @property
    def months(self) -> list[str]:
        """Months that were asked for, whether they exist or not."""
        return [f"{year}-{month}" for year in self.inputs["year"] for month in self.inputs["month"]]


class CdsServer(LoopbackServer):
    """The store.

    Args:
        field: temperature in K at (latitude, longitude, month); arrays that broadcast.
        last: last published month.
        final_until: last month that is not preliminary.

    Attributes:
        key: the token that is known here.
        licence_accepted: else 403.
        polls: looks at a job (accepted, running, ...) until it is done; `math.inf` for a queue that never ends.
        fields_limit: number of fields (variables times months) in one request, above which it costs too much.
        busy: so many next requests for execution are answered 429.
        failure: traceback of the job that fails instead of being successful.
        job_status: status of a look at a job instead of 200 (404, 500).
        results_status: status of the results of a job instead of 200 (404, 410).
        object_status: status of the download of a file instead of 200.
        stated_size_error: what `file:size` is wrong by.
        zipped: deliver a zip with the NetCDF file in it.
        title: of the NetCDF files; the store gives them none.
        cut_after: break the next download off after so many bytes.
        detail: words added to each error, to see what becomes of them.
        jobs: what was accepted.
        most_at_once: so many jobs waited or ran at one time.
    """

    def __init__(self, field: Field = arctic_air, *, last: str = "2026-10", final_until: str = "2026-07") -> None:
        super().__init__()
        self.field = field
        self.last = last
        self.final_until = final_until
        self.key = "0b7e4c52-1d1f-4b57-9f0e-8a6d3c2b1a90"
        self.licence_accepted = True
        self.polls: float = 0
        self.fields_limit = 100_000
        self.busy = 0
        self.failure: str | None = None
        self.job_status = 200
        self.results_status = 200
        self.object_status = 200
        self.stated_size_error = 0
        self.zipped = False
        self.title = ""
        self.cut_after: int | None = None
        self.detail = ""
        self.jobs: list[Job] = []
        self.most_at_once = 0
        catalogue, retrieve, account = "/api/catalogue/v1", "/api/retrieve/v1", "/api/profiles/v1/account"
        self.route("GET", f"{catalogue}/messages", lambda *_: Response.of_json({"messages": []}))
        self.route("GET", f"{catalogue}/collections/({DATASET})", self._collection)
        self.route("GET", f"{account}/licences", self._licences)
        self.route("PUT", f"{account}/licences/cc-by", self._accept)
        self.route("GET", f"{retrieve}/processes/({DATASET})", self._process)
        self.route("POST", f"{retrieve}/processes/({DATASET})/constraints", self._constraints)
        self.route("POST", f"{retrieve}/processes/({DATASET})/execution", self._execution)
        self.route("GET", f"{retrieve}/jobs", self._list)
        self.route("GET", f"{retrieve}/jobs/(job-\\d+)", self._job)
        self.route("DELETE", f"{retrieve}/jobs/(job-\\d+)", self._delete)
        self.route("GET", f"{retrieve}/jobs/(job-\\d+)/results", self._results)
        self.route("GET", "/cache/(job-\\d+)\\.(nc|zip)", self._object)

    @property
    def api(self) -> str:
        """What CDSAPI_URL should be."""
        return f"{self.url}/api"

    def answer(self, request: Request) -> Response:  # type: ignore[override]
        """As a store does: a token for everything but the catalogue, the constraints and the files."""
        is_open = re.match(r"/api/catalogue/|/cache/|.*/constraints$", request.path)
        if not is_open and request.headers.get("private-token") != self.key:
            return self._error(401, "", "authentication required")
        return super().answer(request)

    def _error(self, status: int, title: str, detail: str, **more: str) -> Response:
        body = {"type": title, "title": title, "status": status, "detail": f"{detail}{self.detail}", "trace_id": "0"}
        return Response.of_json(body | more, status)

    def _collection(self, request: Request, match: re.Match[str]) -> Response:
        year, month = int(self.last[:4]), int(self.last[5:])
        last_day = f"{self.last}-{calendar.monthrange(year, month)[1]}T00:00:00Z"
        link = {"rel": "retrieve", "href": f"{self.api}/retrieve/v1/processes/{DATASET}"}
        extent = {
            "spatial": {"bbox": [[0.0, -89.0, 360.0, 89.0]]},
            "temporal": {"interval": [[f"{FIRST_MONTH}-01T00:00:00Z", last_day]]},
        }
        facts = {"id": DATASET, "title": "ERA5 monthly", "description": "", "sci:doi": "10.24381/cds.f17050d7"}
        dates = {"published": "2019-04-18T00:00:00Z", "updated": f"{self.last}-06T00:00:00Z"}
        return Response.of_json({**facts, **dates, "extent": extent, "links": [link]})

    def _licences(self, request: Request, match: re.Match[str]) -> Response:
        accepted = [{"id": "cc-by", "revision": 1}] if self.licence_accepted else []
        return Response.of_json({"licences": accepted})

    def _accept(self, request: Request, match: re.Match[str]) -> Response:
        self.licence_accepted = True
        return Response.of_json({"id": "cc-by", **request.json()})

    def _process(self, request: Request, match: re.Match[str]) -> Response:
        return Response.of_json({"id": DATASET, "links": []})

    def _constraints(self, request: Request, match: re.Match[str]) -> Response:
        """Years and months that exist together with those given."""
        inputs = request.json()["inputs"]
        if unknown := set(inputs) - {"product_type", "variable", "year", "month", "time", "area"}:
            return self._error(422, "invalid parameter", f"unknown: {sorted(unknown)}")
        every = [
            (f"{year}", f"{month:02d}")
            for year in range(int(FIRST_MONTH[:4]), int(self.last[:4]) + 1)
            for month in range(1, 13)
            if f"{year}-{month:02d}" <= self.last
        ]
        years, months = inputs.get("year"), inputs.get("month")
        return Response.of_json(
            {
                "product_type": ["monthly_averaged_reanalysis"],
                "variable": list(_GRIB),
                "year": sorted({year for year, month in every if not months or month in months}),
                "month": sorted({month for year, month in every if not years or year in years}),
                "time": ["00:00"],
            }
        )

    def _execution(self, request: Request, match: re.Match[str]) -> Response:
        with self.lock:
            if self.busy:
                self.busy -= 1
                response = self._error(429, "rate limit exceeded", "Please wait 1 seconds")
                response.headers["Retry-After"] = "1"
                return response
        if not self.licence_accepted:
            page = f"https://cds.climate.copernicus.eu/datasets/{DATASET}?tab=download#manage-licences"
            words = f"Not all the required licences have been accepted; please visit {page} to accept them."
            return self._error(403, "required licences not accepted", words)
        inputs = request.json()["inputs"]
        asked = [f"{year}-{month}" for year in inputs["year"] for month in inputs["month"]]
        months = sorted(month for month in asked if FIRST_MONTH <= month <= self.last)
        if not months or not set(inputs["variable"]) <= set(_GRIB):
            words = f"The request has not produced a valid combination of values, please check your selection. {inputs}"
            return self._error(400, "invalid request", words)
        if len(asked) * len(inputs["variable"]) > self.fields_limit:
            words = "Your request is too large, please reduce your selection."
            return self._error(403, "cost limits exceeded", words)
        content = self._file(inputs["variable"], inputs["area"], months)
        with self.lock:
            job = Job(len(self.jobs) + 1, match[1], inputs, self.polls, content)
            self.jobs.append(job)
            self.most_at_once = max(self.most_at_once, sum(job.is_active for job in self.jobs))
        monitor = {"rel": "monitor", "href": f"{self.api}/retrieve/v1/jobs/{job.id}"}
        body = {"processID": DATASET, "jobID": job.id, "status": "accepted", "metadata": {}, "links": [monitor]}
        return Response.of_json(body, 201)

    def release(self) -> None:
        """The jobs that wait or run are done at the next look."""
        with self.lock:
            self.polls = 0
            for job in self.jobs:
                job.polls_left = 0

    def _job(self, request: Request, match: re.Match[str]) -> Response:
        job = self._find(match[1])
        if job is None or self.job_status != 200:
            return self._error(self.job_status if job else 404, "job not found", match[1])
        with self.lock:
            if job.is_active and job.polls_left:
                job.state = "accepted" if job.polls_left == self.polls else "running"
                job.polls_left -= 1
            elif job.is_active:
                job.state = "failed" if self.failure else "successful"
        facts = self._facts(job)
        if request.query.get("request") == ["True"]:
            facts["metadata"]["request"] = {"ids": job.inputs, "labels": {}}
        return Response.of_json(facts)

    def _facts(self, job: Job) -> dict[str, Any]:
        url = f"{self.api}/retrieve/v1/jobs/{job.id}"
        links = [{"rel": "self", "href": url}, {"rel": "results", "href": f"{url}/results"}]
        times = dict.fromkeys(("created", "started", "finished", "updated"), job.created)
        status = "successful" if job.state == "expired" else job.state
        metadata = {"log": [["2026-11-06T08:00:00", f"INFO {status}"]]}
        body = {"jobID": job.id, "processID": DATASET, "type": "process", "status": status, "metadata": metadata}
        return {**body, **times, "links": links}

    def _list(self, request: Request, match: re.Match[str]) -> Response:
        """The newest first, without their requests."""
        wanted = request.query.get("status", ["accepted", "running", "successful", "failed"])
        facts = [self._facts(job) for job in reversed(self.jobs)]
        facts = [found for found in facts if found["status"] in wanted]
        return Response.of_json({"jobs": facts[: int(request.query.get("limit", ["10"])[0])], "links": []})

    def _delete(self, request: Request, match: re.Match[str]) -> Response:
        job = self._find(match[1])
        if job is None:
            return self._error(404, "job not found", match[1])
        job.state = "dismissed"
        return Response.of_json({"jobID": job.id, "status": job.state})

    def _results(self, request: Request, match: re.Match[str]) -> Response:
        job = self._find(match[1])
        if job is None or self.results_status != 200 or job.state == "expired":
            status = 404 if self.results_status == 200 else self.results_status
            return self._error(status, "results expired", "results are no longer available")
        if job.state == "failed":
            traceback = self.failure or "unknown"
            return self._error(400, "The job has failed", "", type="job results failed", traceback=traceback)
        is_zip = job.content.startswith(b"PK")
        ending, kind = ("zip", "application/zip") if is_zip else ("nc", "application/netcdf")
        value = {
            "type": kind,
            "href": f"{self.url}/cache/{job.id}.{ending}?signature=secret",
            "file:size": len(job.content) + self.stated_size_error,
            "file:checksum": "0" * 32,
            "file:local_path": f"/cache/{job.id}.{ending}",
        }
        return Response.of_json({"asset": {"value": value}})

    def _object(self, request: Request, match: re.Match[str]) -> Response:
        job = self._find(match[1])
        if job is None or self.object_status != 200:
            return Response(self.object_status if job else 404, b"gone")
        body = job.content
        etag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        headers = {"Accept-Ranges": "bytes", "Content-Type": "application/octet-stream", "ETag": etag}
        wanted = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        if wanted and request.headers.get("if-range", etag) == etag:
            first = int(wanted[1])
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            return Response(206, body[first:], headers)
        response = Response(200, body, headers)
        response.cut_after, self.cut_after = self.cut_after, None
        return response

    def _find(self, name: str) -> Job | None:
        """None also for a job that was dismissed."""
        return next((job for job in self.jobs if job.id == name and job.state != "dismissed"), None)

    def _file(self, variables: list[str], area: list[float], months: list[str]) -> bytes:
        """One NetCDF file per step type; several come in a zip."""
        preliminary = {month for month in months if month > self.final_until}
        by_step: dict[str, list[str]] = {}
        for name in variables:
            by_step.setdefault(_GRIB[name][-1], []).append(name)
        contents = {
            f"data_stream-moda_stepType-{step}.nc": netcdf(self.field, names, area, months, preliminary, self.title)
            for step, names in by_step.items()
        }
        if len(contents) == 1 and not self.zipped:
            return next(iter(contents.values()))
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        return stream.getvalue()


def netcdf(
    field: Field,
    variables: list[str],
    area: list[float],
    months: list[str],
    preliminary: set[str] | frozenset[str],
    title: str = "",
) -> bytes:
    """A NetCDF file as the store writes them since 2024 (cfgrib): one month makes `expver` a scalar."""
    import xarray as xr

    north, west, south, east = area
    latitude: NDArray[np.float64] = north - _CELL * np.arange(round((north - south) / _CELL) + 1, dtype=np.float64)
    longitude: NDArray[np.float64] = west + _CELL * np.arange(round((east - west) / _CELL) + 1, dtype=np.float64)
    lat, lon = latitude[:, None], longitude[None, :]
    shape = (len(months), latitude.size, longitude.size)
    values = {
        "2m_temperature": [field(lat, lon, month) for month in months],
        "total_precipitation": 2e-3 + 1e-3 * np.sin(np.radians(4 * lon + 3 * lat)),
        "geopotential": 9.80665 * 800 * (1 + np.sin(np.radians(5 * lon)) * np.cos(np.radians(7 * lat))),
        "land_sea_mask": np.clip(0.5 + np.sin(np.radians(9 * lon + 4 * lat)), 0, 1),
    }
    grid = {
        "GRIB_latitudeOfFirstGridPointInDegrees": north,
        "GRIB_latitudeOfLastGridPointInDegrees": south,
        "GRIB_longitudeOfFirstGridPointInDegrees": west,
        "GRIB_longitudeOfLastGridPointInDegrees": east,
        "GRIB_iDirectionIncrementInDegrees": _CELL,
        "GRIB_jDirectionIncrementInDegrees": _CELL,
    }
    data = xr.Dataset(
        attrs={
            "GRIB_centre": "ecmf",
            "GRIB_centreDescription": "European Centre for Medium-Range Weather Forecasts",
            "GRIB_subCentre": 0,
            "Conventions": "CF-1.7",
            "institution": "European Centre for Medium-Range Weather Forecasts",
            "history": f"{max(months)}-28T09:00 GRIB to CDM+CF via cfgrib-0.9.15.1/ecCodes-2.42.0",
            **({"title": title} if title else {}),
        }
    )
    seconds = np.array(months, dtype="datetime64[M]").astype("datetime64[s]").astype(np.int64)
    expver = np.array(["0005" if month in preliminary else "0001" for month in months], dtype=object)
    data["number"] = xr.Variable((), 0, {"units": "1", "standard_name": "realization"})
    data["valid_time"] = xr.Variable(
        "valid_time", seconds, {"units": "seconds since 1970-01-01", "calendar": "proleptic_gregorian"}
    )
    data["latitude"] = xr.Variable("latitude", latitude, {"units": "degrees_north", "stored_direction": "decreasing"})
    data["longitude"] = xr.Variable("longitude", longitude, {"units": "degrees_east"})
    data["expver"] = xr.Variable((), expver[0]) if len(months) == 1 else xr.Variable("valid_time", expver)
    for name in variables:
        short, unit, parameter, long_name, step = _GRIB[name]
        data[short] = xr.Variable(
            ("valid_time", "latitude", "longitude"),
            np.broadcast_to(np.asarray(values[name]), shape).astype(np.float32),
            {"units": unit, "long_name": long_name, "GRIB_paramId": parameter, "GRIB_stepType": step, **grid},
            {"zlib": True, "complevel": 1, "shuffle": True},
        )
        data[short].attrs["coordinates"] = "number valid_time latitude longitude expver"
    with tempfile.TemporaryDirectory() as folder:  # in memory, libnetcdf pads files to 64 kB
        path = Path(folder) / "data.nc"
        data.to_netcdf(path, engine="netcdf4")
        return path.read_bytes()
