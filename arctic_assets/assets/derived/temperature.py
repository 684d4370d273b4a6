"""derived/temperature_monthly and derived/temperature_annual."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import numpy as np
import pandas as pd
from pydantic import Field

from arctic_assets.assets.wiring import Made, RawStore, gap_reasons, table_asset
from arctic_assets.partitions import MONTHS_OF_YEAR, PER_GLACIER, Partitions, scope
from arctic_assets.science import temperature as science
from arctic_assets.sources.era5_files import Index, Selection, open_object
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.storage.weights import WeightCache
from arctic_assets.tables import Outline, TemperatureAnnual, TemperatureMonthly

if TYPE_CHECKING:
    import xarray as xr
    from shapely.geometry.base import BaseGeometry


class TemperatureConfig(dg.Config):
    """How the temperature is moved to the glacier's elevation."""

    lapse_rate_k_per_km: float = Field(
        default=-6.5,
        ge=-10,
        le=0,
        description="Change of air temperature with elevation for t2m_adjusted_c, K per km. Over melting Arctic ice "
        "-4 to -5 is more realistic; -6.5 is the usual default. t2m_c is not affected.",
    )


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets."""

    @table_asset(
        TemperatureMonthly,
        partitions,
        deps=["raw/era5", dg.AssetDep(["derived", "outline"], partition_mapping=PER_GLACIER)],
        code_version="1",
        kinds={"xarray"},
    )
    def temperature_monthly(
        context: dg.AssetExecutionContext, config: TemperatureConfig, store: RawStore, warehouse: Warehouse
    ) -> Made:
        """At 2 m above the ground of the model: it is not the temperature of the ice. The outline is that of the
        inventory nearest in time. Beside the mean: the value moved from the ERA5 orography to the glacier's mean
        elevation, the number of cells, the largest weight, the land fraction, and whether ERA5 is preliminary or
        final.
        """
        wanted = scope(context.partition_keys)
        outlines = warehouse.rows(Outline, wanted[["glacier_id"]])
        upstream = gap_reasons(warehouse, "derived/outline")
        asked = _with_inventory(wanted, outlines)
        no_outline = asked["inventory"].isna()
        gaps = {
            str(
                w.partition
            ): f"no outline: {upstream.get(f'{w.glacier_id}|rgi7', 'derived/outline is not materialised')}"
            for w in asked[no_outline].itertuples()
        }
        reader = _Reader(store.archive, WeightCache(Path(store.home) / "cache"), config.lapse_rate_k_per_km)
        frame, missing = reader.rows(asked[~no_outline], outlines)
        return Made(frame, {**gaps, **missing}, {"ERA5 files": reader.n_opened})

    @table_asset(
        TemperatureAnnual,
        partitions,
        deps=[dg.AssetDep(["derived", "temperature_monthly"], partition_mapping=MONTHS_OF_YEAR)],
        code_version="1",
        kinds={"pandas"},
    )
    def temperature_annual(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Made:
        """Means of the monthly temperature, weighted by the days of each month. A balance year is October to
        September, labelled by its end. Degree days are positive ones.
        """
        wanted = scope(context.partition_keys)
        monthly = warehouse.rows(TemperatureMonthly, _months_of(wanted))
        annual, incomplete = science.annual_temperature(monthly)
        rows = annual.merge(wanted, on=["glacier_id", "year"])
        have = set(rows["partition"])
        n_months = {(i.glacier_id, i.year): i.n_months for i in incomplete if i.kind == "calendar"}
        upstream = gap_reasons(warehouse, "derived/temperature_monthly")
        first = partitions.settings.start_month
        gaps = {
            str(w.partition): _incomplete(
                n_months.get((w.glacier_id, w.year), 0), w.glacier_id, w.year, upstream, first
            )
            for w in wanted.itertuples()
            if w.partition not in have
        }
        origin = _origin_of_years(monthly)
        frame = rows.drop(columns="partition").merge(origin, on=["glacier_id", "year", "kind"])
        return Made(frame, gaps)

    return [temperature_monthly, temperature_annual]


def _with_inventory(wanted: pd.DataFrame, outlines: pd.DataFrame) -> pd.DataFrame:
    """Each (glacier, month) with the inventory nearest in time; undated outlines count as of the year 2000."""
    month = pd.to_datetime(wanted["month"] + "-15")
    inventory = pd.Series([None] * len(wanted), index=wanted.index, dtype="object")
    for key, own in outlines.groupby("glacier_id"):
        dates = pd.to_datetime(own["image_date"].fillna(pd.Timestamp("2000-08-01").date()))
        rows = wanted.index[wanted["glacier_id"] == key]
        apart = np.abs(month[rows].to_numpy()[:, None] - dates.to_numpy()[None, :])
        inventory[rows] = own["inventory"].to_numpy()[apart.argmin(axis=1)]
    return wanted.assign(inventory=inventory)


class _Field(NamedTuple):
    """One opened ERA5 file."""

    data: "xr.Dataset"
    grid: science.Grid
    months: dict[str, int]
    source_id: str
    is_synthetic: bool


class _Reader:
    """Monthly temperature over outlines, out of archived files: each file is opened once per run.

    Args:
        archive: raw files.
        cache: coverage weights of earlier runs.
        lapse_rate_k_per_km: for the adjusted value.
    """

    def __init__(self, archive: Archive, cache: WeightCache, lapse_rate_k_per_km: float) -> None:
        self._archive = archive
        self._cache = cache
        self._lapse_rate = lapse_rate_k_per_km
        held = archive.objects("era5")
        self._held = {o.source_id: o for o in held}
        self._index = Index(held)
        self._opened: dict[str, _Field] = {}

    @property
    def n_opened(self) -> int:
        """Files read so far."""
        return len(self._opened)

    def rows(self, asked: pd.DataFrame, outlines: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, str]]:
        """Rows for each (glacier_id, month, inventory, partition), and the reason where there is none."""
        import shapely

        by_outline = outlines.set_index(["glacier_id", "inventory"])
        frames: list[pd.DataFrame] = []
        missing: dict[str, str] = {}
        selections: list[tuple[tuple[str, str], BaseGeometry, Selection]] = []
        for pair, own in asked.groupby(["glacier_id", "inventory"]):
            geom = shapely.from_wkb(by_outline.loc[pair, "geometry"])
            west, south, east, north = (float(v) for v in geom.bounds)
            selection = self._index.select(sorted(own["month"]), (west, south, east, north))
            selections.append((pair, geom, selection))
            partitions = dict(zip(own["month"], own["partition"], strict=True))
            missing |= {str(partitions[month]): reason for month, reason in selection.missing.items()}
        for source_id in sorted({s for _, _, selection in selections for s in selection.chosen}):
            here = [(pair, geom, sel.chosen[source_id]) for pair, geom, sel in selections if source_id in sel.chosen]
            frames += self._from_file(source_id, here, by_outline)
        return (pd.concat(frames, ignore_index=True) if frames else TemperatureMonthly.no_rows()), missing

    def _from_file(
        self,
        source_id: str,
        wanted: list[tuple[tuple[str, str], "BaseGeometry", list[str]]],
        outlines: pd.DataFrame,
    ) -> list[pd.DataFrame]:
        """Rows of all outlines and months that one file serves: one sparse product."""
        opened = self._open(source_id)
        months = sorted({month for _, _, own in wanted for month in own})
        weights = self._cache.weights([geom for _, geom, _ in wanted], opened.grid)
        values = opened.data["t2m"].values[[opened.months[m] for m in months]]
        t2m_c = science.kelvin_to_celsius(science.zonal_mean(weights, values))
        status = opened.data["status"].values
        column = {month: i for i, month in enumerate(months)}
        frames = []
        for i, (pair, geom, own) in enumerate(wanted):
            outline = outlines.loc[pair]
            orography, land, invariant_source = self._invariants(geom)
            raw = t2m_c[i, [column[m] for m in own]]
            zmean = outline["zmean_m"]
            adjusted = (
                science.lapse_adjust(raw, zmean, orography, self._lapse_rate / 1000)
                if np.isfinite(zmean) and np.isfinite(orography)
                else np.full(len(own), np.nan)
            )
            sources = sorted({*outline["source_ids"], source_id, *invariant_source})
            frames.append(
                pd.DataFrame(
                    {
                        "glacier_id": pair[0],
                        "month": own,
                        "t2m_c": raw,
                        "t2m_adjusted_c": adjusted,
                        "lapse_rate_k_per_km": np.where(np.isfinite(adjusted), self._lapse_rate, np.nan),
                        "orography_m": orography,
                        "n_cells": int(weights.n_cells[i]),
                        "max_weight": float(weights.max_weight[i]),
                        "land_fraction": land,
                        "status": [str(status[opened.months[m]]) for m in own],
                        "inventory": pair[1],
                        "source_ids": [sources] * len(own),
                        "is_synthetic": bool(outline["is_synthetic"]) or opened.is_synthetic,
                    }
                )
            )
        return frames

    def _invariants(self, geom: "BaseGeometry") -> tuple[float, float, list[str]]:
        """ERA5 orography (m) and land fraction over an outline, and the file they are from; NaN without one."""
        west, south, east, north = (float(v) for v in geom.bounds)
        held = self._index.invariants((west, south, east, north))
        if held is None:
            return float("nan"), float("nan"), []
        opened = self._open(held.source_id)
        weights = self._cache.weights([geom], opened.grid)
        orography = science.orography_m(science.zonal_mean(weights, opened.data["z"].values[None]))
        return (
            float(orography[0, 0]),
            float(science.land_fraction(weights, opened.data["lsm"].values)[0]),
            [held.source_id],
        )

    def _open(self, source_id: str) -> _Field:
        if source_id not in self._opened:
            held = self._held[source_id]
            data = open_object(self._archive.file(held))
            grid = science.Grid(data["latitude"].values, data["longitude"].values)
            months = {str(m): i for i, m in enumerate(data["month"].values)} if "month" in data.coords else {}
            self._opened[source_id] = _Field(data, grid, months, source_id, held.is_synthetic)
        return self._opened[source_id]


def _incomplete(n_months: int, glacier_id: str, year: int, upstream: dict[str, str], first: str) -> str:
    if f"{year}-12" < first:
        return f"the monthly partitions begin in {first}"
    months = (f"{glacier_id}|{year}-{month:02d}" for month in range(1, 13))
    reason = next((upstream[m] for m in months if m in upstream), "derived/temperature_monthly is not materialised")
    return f"{n_months} of 12 months are there: {reason}"


def _months_of(wanted: pd.DataFrame) -> pd.DataFrame:
    """(glacier_id, month) of the calendar and balance years that are wanted: October before to December."""
    offsets = [(-1, 10), (-1, 11), (-1, 12), *((0, m) for m in range(1, 13))]
    return pd.concat(
        [
            pd.DataFrame(
                {"glacier_id": wanted["glacier_id"], "month": [f"{int(y) + back}-{m:02d}" for y in wanted["year"]]}
            )
            for back, m in offsets
        ]
    ).drop_duplicates()


def _origin_of_years(monthly: pd.DataFrame) -> pd.DataFrame:
    """Sources of each (glacier, year, kind): the union of those of its months."""
    year = monthly["month"].str[:4].astype(int)
    month = monthly["month"].str[5:].astype(int)
    kinds = [monthly.assign(year=year, kind="calendar"), monthly.assign(year=year + (month >= 10), kind="balance_year")]
    rows: list[dict[str, Any]] = [
        {
            "glacier_id": key[0],
            "year": key[1],
            "kind": key[2],
            "source_ids": sorted({s for ids in own["source_ids"] for s in ids}),
            "is_synthetic": bool(own["is_synthetic"].any()),
        }
        for key, own in pd.concat(kinds).groupby(["glacier_id", "year", "kind"])
    ]
    return pd.DataFrame(rows, columns=["glacier_id", "year", "kind", "source_ids", "is_synthetic"])
