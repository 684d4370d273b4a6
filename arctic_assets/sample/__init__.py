"""The SYNTHETIC mirror: small files in the providers' formats, with known answers.

`write` makes it; each provider's module (`rgi7`, `era5`, `fog`, `farinotti`) knows the format of its files and what
was put into them. `shapes` draws the outlines. Nothing here is read by the platform but the files.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from arctic_assets.errors import ArchiveError
from arctic_assets.provenance import SYNTHETIC

if TYPE_CHECKING:
    from arctic_assets.glaciers import Registry
    from arctic_assets.sample.rgi7 import Member

__all__ = ["GENERATOR", "STAMP", "TRUTH", "GlacierTruth", "Temperature", "Truth", "write"]

GENERATOR = "9"
"""Version of what is generated: raise it when other bytes come out."""
STAMP = f"{SYNTHETIC}.json"
TRUTH = "truth.json"

_README = """# SYNTHETIC mirror

{notice}

One folder per provider, in the provider's own formats and under its own file names:

| folder | what |
| --- | --- |
| `rgi7/` | outlines (G) and centrelines (L) per region, zipped shapefiles |
| `era5/` | monthly 2 m temperature and precipitation to {through}, and invariants, NetCDF |
| `wgms/` | glacier-wide mass balance and elevation change, annual mass change, zipped CSV |
| `farinotti/`, `millan/` | ice thickness, GeoTIFF |
| `itslive/` | annual velocity mosaics, GeoTIFF |
| `landsat/` | late-summer scenes with their STAC items |
| `dem/` | elevation tiles |

`truth.json` holds what was put in, and what must therefore come out.
"""


@dataclass(frozen=True)
class Temperature:
    """Mean temperature over an outline by points, degrees Celsius, and the standard error of the sampling, K; and the
    mean in which each point counts by the land fraction of its cell."""

    t2m_c: float
    sampling_error_k: float
    t2m_land_c: float


@dataclass(frozen=True)
class GlacierTruth:
    """What was put in for one glacier.

    Attributes:
        area_km2: geodesic area of all members, rock islands excluded.
        perimeter_outer_km: geodesic length of the margin; divides between members do not count.
        perimeter_islands_km: the same of the rock islands.
        n_islands: number of rock islands.
        n_members: number of RGI7 outlines.
        rgi7_ids: their ids.
        rgi6_weights: share of each RGI6 outline that lies in the members.
        zmean_m: mean elevation, members weighted by area.
        volume_km3: sum over the rasters of their volume times weight.
        ice_area_km2: the same of their area with ice.
        thickness_mean_m: volume over ice area.
        thickness_max_m: thickest cell of the rasters of which at least half lies in the glacier.
        rgi6_volume_km3: volume in each raster.
        annual_balance_m_we: by balance year; empty where FoG has nothing.
        annual_balance_sigma_m_we: reported uncertainty, or None.
        t2m: by month.
        expected_balance_m_we: by balance year, observed or not, what the summers alone make of the balance; empty where
            FoG has nothing.
        unexplained_m_we: standard deviation of what else is in the observed balances; None with it.
        surveys: fields of `fog_change.Change`.
        reconstruction_m_we: annual mass change by balance year, RGI6 outlines weighted by area and share.
        speed: by year, fields of `itslive.VelocityTruth`; year 0 is the climatology.
        inventories: by nominal year, fields of `landsat.Inventory`.
        millan: fields of `millan.ThicknessTruth`.
        trends: change in ten years that was put into t2m_c (annual mean), t2m_jja_c (summers), speed_m_yr (whole
            lines), observed and reconstruction (balances, m w.e.); absent where there is no such series.
    """

    area_km2: float
    perimeter_outer_km: float
    perimeter_islands_km: float
    n_islands: int
    n_members: int
    rgi7_ids: tuple[str, ...]
    rgi6_weights: Mapping[str, float]
    zmean_m: float
    volume_km3: float
    ice_area_km2: float
    thickness_mean_m: float
    thickness_max_m: float
    rgi6_volume_km3: Mapping[str, float]
    annual_balance_m_we: Mapping[int, float]
    annual_balance_sigma_m_we: Mapping[int, float | None]
    t2m: Mapping[str, Temperature]
    expected_balance_m_we: Mapping[int, float]
    unexplained_m_we: float | None
    surveys: tuple[Mapping[str, Any], ...]
    reconstruction_m_we: Mapping[int, float]
    speed: Mapping[int, Mapping[str, Any]]
    inventories: Mapping[str, Mapping[str, Any]]
    millan: Mapping[str, float]
    trends: Mapping[str, float]


@dataclass(frozen=True)
class Truth:
    """What was put into the mirror.

    Attributes:
        through: last month of ERA5.
        preliminary_months: months that are ERA5T.
        preliminary_moves_k: months that are held as ERA5T and as final values, and final minus preliminary, K.
        glaciers: by registry id.
    """

    through: str
    preliminary_months: tuple[str, ...]
    preliminary_moves_k: Mapping[str, float]
    glaciers: Mapping[str, GlacierTruth]

    @classmethod
    def read(cls, directory: Path) -> Truth:
        """Read `truth.json` of a written sample."""
        found = json.loads((directory / TRUTH).read_text(encoding="utf-8"))
        return cls(
            through=found["through"],
            preliminary_months=tuple(found["preliminary_months"]),
            preliminary_moves_k=found["preliminary_moves_k"],
            glaciers={glacier_id: _glacier_truth(values) for glacier_id, values in found["glaciers"].items()},
        )


def write(directory: Path, registry: Registry, through: str) -> Truth:
    """Write the mirror, or leave it as it is when the same one is there.

    The same registry and month give the same bytes. The directory appears at once and complete; an older sample in
    its place is replaced.

    Args:
        directory: root of the mirror.
        registry: the glaciers.
        through: last month of ERA5, `YYYY-MM`.

    Raises:
        SettingsError: `through` is no month, or before 1980.
        ArchiveError: something else than a sample is in the directory.
    """
    from arctic_assets.sample.era5 import check_month

    check_month(through)
    directory = Path(directory)
    stamp = {SYNTHETIC: True, "generator": GENERATOR, "registry": registry.hash, "through": through}
    directory.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(directory.parent / f".{directory.name}.lock"):
        if _stamp(directory) == stamp:
            return Truth.read(directory)
        fresh, old = (directory.parent / f".{directory.name}.{part}" for part in ("new", "old"))
        for leftover in (fresh, old):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh.mkdir()
        truth = _written(fresh, registry, through)
        (fresh / TRUTH).write_text(json.dumps({SYNTHETIC: True, **asdict(truth)}, indent=1), encoding="utf-8")
        (fresh / STAMP).write_text(json.dumps(stamp, indent=1), encoding="utf-8")
        if directory.exists():
            directory.rename(old)
        fresh.rename(directory)
        shutil.rmtree(old, ignore_errors=True)
    return Truth.read(directory)


def _stamp(directory: Path) -> dict[str, Any] | None:
    """What an earlier sample says of itself; None when there is nothing.

    Raises:
        ArchiveError: there is something, but no sample.
    """
    stamp = directory / STAMP
    if stamp.is_file():
        found: dict[str, Any] = json.loads(stamp.read_text(encoding="utf-8"))
        return found
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise ArchiveError(
            "the sample's directory holds something else",
            where=directory,
            expected=f"no such directory, an empty one, or an earlier sample (with {STAMP})",
            got="files that this program did not write",
            todo="choose another directory, or move the files away",
        )
    return None


def _written(root: Path, registry: Registry, through: str) -> Truth:
    """Write all providers' files below `root`."""
    from arctic_assets.sample import amce, dem, era5, era5_tp, farinotti, fog, itslive, landsat, millan, rgi7
    from arctic_assets.sample.common import NOTICE

    (root / "README.md").write_text(_README.format(notice=NOTICE, through=through), encoding="utf-8")
    glaciers = tuple(registry)
    land = rgi7.landscape(glaciers)
    rgi7.write(root / "rgi7", land)
    ice = farinotti.write(root / "farinotti", land, registry.ids)
    climate = era5.Climate(glaciers, max(through, f"{fog.LAST_YEAR}-12"))
    temperatures = era5.write(root / "era5", land.members, climate, through)
    balances = fog.write(root / "wgms", glaciers, climate, through)
    rebuilt = amce.write(root / "wgms", land.former, climate, through)
    era5_tp.write_precipitation(root / "era5", temperatures, climate, through)
    second = millan.write(root / "millan", land, registry.ids, ice)
    dem.write(root / "dem", land, registry.ids)
    speeds = itslive.write(root / "itslive", land, glaciers)
    scenes = landsat.write(root / "landsat", land, glaciers)

    months = _truth_months(through)
    truths = {}
    for glacier in glaciers:
        members = land.of(glacier.glacier_id)
        weights = land.weights(glacier.glacier_id)
        outer, inner, islands = _perimeters(members)
        area = sum(member.area_km2 for member in members)
        volume = sum(weight * ice[rgi6_id].volume_km3 for rgi6_id, weight in weights.items())
        ice_area = sum(weight * ice[rgi6_id].area_km2 for rgi6_id, weight in weights.items())
        balance = balances.get(glacier.glacier_id, {})
        expected = fog.expected(glacier, climate, through)
        speed = speeds.get(glacier.glacier_id, {})
        trends = {"t2m_c": era5.warming_k_per_decade(range(12)), "reconstruction": amce.trend_m_we_per_decade()}
        trends["t2m_jja_c"] = era5.warming_k_per_decade((5, 6, 7))
        trends |= {"observed": expected.trend_m_we_per_decade} if expected else {}
        trends |= {"speed_m_yr": itslive.trend_m_yr_per_decade(glacier.glacier_id, speed)} if speed else {}
        t2m = era5.temperature_truth(members, temperatures[glacier.o1region], climate, months)
        truths[glacier.glacier_id] = GlacierTruth(
            area_km2=area,
            perimeter_outer_km=outer,
            perimeter_islands_km=inner,
            n_islands=islands,
            n_members=len(members),
            rgi7_ids=tuple(member.rgi7_id for member in members),
            rgi6_weights=weights,
            zmean_m=sum(rgi7.zmean_m(member) * member.area_km2 for member in members) / area,
            volume_km3=volume,
            ice_area_km2=ice_area,
            thickness_mean_m=1000 * volume / ice_area,
            thickness_max_m=max(
                ice[rgi6_id].thickness_max_m
                for rgi6_id, weight in weights.items()
                if weight >= min(0.5, max(weights.values()))
            ),
            rgi6_volume_km3={rgi6_id: ice[rgi6_id].volume_km3 for rgi6_id in weights},
            annual_balance_m_we={year: value for year, (value, _) in balance.items()},
            annual_balance_sigma_m_we={year: sigma for year, (_, sigma) in balance.items()},
            t2m={month: Temperature(*found) for month, found in t2m.items()},
            expected_balance_m_we=expected.balance_m_we if expected else {},
            unexplained_m_we=expected.unexplained_m_we if expected else None,
            surveys=tuple(_texts(asdict(survey)) for survey in fog.surveys(glacier)),
            reconstruction_m_we=_area_weighted(weights, land.former, rebuilt),
            speed={year: asdict(found) for year, found in speed.items()},
            inventories={key: _texts(asdict(found)) for key, found in scenes.get(glacier.glacier_id, {}).items()},
            millan=asdict(millan.truth(weights, second)),
            trends=trends,
        )
    return Truth(through, tuple(era5.preliminary_months(through)), era5.preliminary_moves_k(through), truths)


def _texts(values: Mapping[str, Any]) -> dict[str, Any]:
    """Dates as JSON has them."""
    return {key: value.isoformat() if isinstance(value, dt.date) else value for key, value in values.items()}


def _area_weighted(
    weights: Mapping[str, float], former: Mapping[str, Any], rebuilt: Mapping[str, Mapping[int, tuple[float, float]]]
) -> dict[int, float]:
    areas = {rgi6_id: share * former[rgi6_id].area_km2 for rgi6_id, share in weights.items()}
    years = sorted({year for rgi6_id in areas for year in rebuilt.get(rgi6_id, {})})
    total = sum(areas.values())
    return {year: sum(area * rebuilt[i][year][0] for i, area in areas.items()) / total for year in years}


def _truth_months(through: str) -> list[str]:
    """All months of the files."""
    from arctic_assets.sample.era5 import FIRST_YEAR, month_name, month_number

    return [month_name(number) for number in range(12 * FIRST_YEAR, month_number(through) + 1)]


def _perimeters(members: Sequence[Member]) -> tuple[float, float, int]:
    """Length of the margin and of the rock islands, km, and the number of islands.

    An edge between two vertices that occurs once in all rings is margin; one that occurs twice is a divide. No union
    of polygons is computed.
    """
    import numpy as np
    from pyproj import Geod

    geod = Geod(ellps="WGS84")
    islands = [ring for member in members for ring in member.piece.polygon.interiors]
    edges = np.vstack([_edges(ring) for ring in _exteriors(members)])
    single, counts = np.unique(edges, axis=0, return_counts=True)
    lon1, lat1, lon2, lat2 = single[counts == 1].T
    outer = float(np.sum(geod.inv(lon1, lat1, lon2, lat2)[2]))
    inner = float(sum(geod.geometry_length(ring) for ring in islands))
    return outer / 1000, inner / 1000, len(islands)


def _exteriors(members: Iterable[Member]) -> list[Any]:
    return [member.piece.polygon.exterior for member in members]


def _edges(ring: Any) -> Any:
    """Edges of a ring as rows lon1, lat1, lon2, lat2, the smaller end first, so that direction does not matter."""
    import numpy as np
    import shapely

    points = shapely.get_coordinates(ring)
    start, stop = points[:-1], points[1:]
    swap = (start[:, 0] > stop[:, 0]) | ((start[:, 0] == stop[:, 0]) & (start[:, 1] > stop[:, 1]))
    return np.where(swap[:, None], np.hstack([stop, start]), np.hstack([start, stop]))


def _glacier_truth(values: Mapping[str, Any]) -> GlacierTruth:
    """From JSON, where years are texts and tuples are lists."""
    found = {field.name: values[field.name] for field in fields(GlacierTruth)}
    found |= {name: tuple(found[name]) for name in ("rgi7_ids", "surveys")}
    found["t2m"] = {month: Temperature(**value) for month, value in found["t2m"].items()}
    by_year = (
        "annual_balance_m_we",
        "annual_balance_sigma_m_we",
        "expected_balance_m_we",
        "reconstruction_m_we",
        "speed",
    )
    for name in by_year:
        found[name] = {int(year): value for year, value in found[name].items()}
    return GlacierTruth(**found)
