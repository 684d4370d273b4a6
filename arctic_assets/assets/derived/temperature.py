"""derived/temperature_monthly and derived/temperature_annual."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from pydantic import Field

from arctic_assets.assets.wiring import MONTHLY, Made, RawStore, gap_reasons, table_asset
from arctic_assets.assets.zonal import Wanted, ZonalReader
from arctic_assets.partitions import MONTHS_OF_YEAR, PER_GLACIER, Partitions, scope
from arctic_assets.science import temperature as science
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Outline, TemperatureAnnual, TemperatureMonthly


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
        freshness=MONTHLY,
    )
    def temperature_monthly(
        context: dg.AssetExecutionContext, config: TemperatureConfig, store: RawStore, warehouse: Warehouse
    ) -> Made:
        """At 2 m above the ground of the model: it is not the temperature of the ice. The outline is that of the
        inventory nearest in time. Beside the mean: the mean over land only, for glaciers on the coast; the value
        moved from the ERA5 orography to the glacier's mean elevation; the number of cells, the largest weight, the
        land fraction, and whether ERA5 is preliminary or final.
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
        reader = ZonalReader(store.archive, Path(store.home))
        frame, missing = _monthly_rows(reader, asked[~no_outline], outlines, config.lapse_rate_k_per_km)
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


def _monthly_rows(
    reader: ZonalReader, asked: pd.DataFrame, outlines: pd.DataFrame, lapse_rate: float
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows for each (glacier_id, month, inventory, partition), and the reason for each partition without one."""
    import shapely

    by_outline = outlines.set_index(["glacier_id", "inventory"])
    wanted = [
        Wanted(pair, shapely.from_wkb(by_outline.loc[pair, "geometry"]), list(own["month"]))
        for pair, own in asked.groupby(["glacier_id", "inventory"])
    ]
    raw, missing = reader.means("t2m", wanted)
    land, _ = reader.means("t2m", wanted, over_land=True)
    gaps = {f"{pair[0]}|{month}": reason for (pair, month), reason in missing.items()}  # type: ignore[index]
    if raw.empty:
        return TemperatureMonthly.no_rows(), gaps
    over_land = (
        {} if land.empty else dict(zip(zip(land["key"], land["month"], strict=True), land["value"], strict=True))
    )
    frames = []
    for one in wanted:
        own = raw[raw["key"] == one.key]
        if own.empty:
            continue
        outline, fixed = by_outline.loc[one.key], reader.invariants(one.outline)
        t2m_c = science.kelvin_to_celsius(own["value"].to_numpy())
        t2m_land = np.array([over_land.get((one.key, month), np.nan) for month in own["month"]])
        adjusted = np.full(len(own), np.nan)
        if np.isfinite(outline["zmean_m"]) and np.isfinite(fixed.orography_m):
            adjusted = science.lapse_adjust(t2m_c, outline["zmean_m"], fixed.orography_m, lapse_rate / 1000)
        base = [*outline["source_ids"], *fixed.source_ids]
        frames.append(
            own[["month", "status", "n_cells", "max_weight"]].assign(
                glacier_id=one.key[0],  # type: ignore[index]
                inventory=one.key[1],  # type: ignore[index]
                t2m_c=t2m_c,
                t2m_land_c=science.kelvin_to_celsius(t2m_land),
                t2m_adjusted_c=adjusted,
                lapse_rate_k_per_km=np.where(np.isfinite(adjusted), lapse_rate, np.nan),
                orography_m=fixed.orography_m,
                land_fraction=fixed.land_fraction,
                source_ids=[sorted({*base, one_file}) for one_file in own["source_id"]],
                is_synthetic=own["is_synthetic"] | bool(outline["is_synthetic"]),
            )
        )
    return pd.concat(frames, ignore_index=True), gaps


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
