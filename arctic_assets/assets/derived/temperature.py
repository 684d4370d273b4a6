"""derived/temperature_monthly and derived/temperature_annual."""

from pathlib import Path

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
    lapse_sigma_k_per_km: float = Field(
        default=1.5, ge=0, le=5, description="Standard deviation of the lapse rate, K per km: -5 to -8 lie within one."
    )
    assumed_sigma_k: float = Field(
        default=1.0,
        gt=0,
        le=5,
        description="Standard deviation of ERA5's monthly mean temperature over glaciers, K. ERA5 gives none; 1 K is "
        "an assumption of ours, not a published figure, and rows say `assumed`.",
    )


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets."""

    @table_asset(
        TemperatureMonthly,
        partitions,
        deps=["raw/era5", dg.AssetDep(["derived", "outline"], partition_mapping=PER_GLACIER)],
        code_version="3",
        kinds={"xarray"},
        freshness=MONTHLY,
    )
    def temperature_monthly(
        context: dg.AssetExecutionContext, config: TemperatureConfig, store: RawStore, warehouse: Warehouse
    ) -> Made:
        """At 2 m above the ground of the model: it is not the temperature of the ice. The outline is that of the
        inventory nearest in time. Beside the mean: the mean over land only, for glaciers on the coast; the value
        moved from the ERA5 orography to the glacier's mean elevation; the number of cells, the largest weight, the
        land fraction, and whether ERA5 is preliminary or final. A month that turned final keeps its preliminary value
        beside it, as long as the archive has the file.
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
        frame, missing = _monthly_rows(reader, asked[~no_outline], outlines, config)
        moves = _moves(warehouse.rows(TemperatureMonthly, wanted[["glacier_id", "month"]]), frame)
        return Made(frame, {**gaps, **missing}, {"ERA5 files": reader.n_opened, **moves})

    @table_asset(
        TemperatureAnnual,
        partitions,
        deps=[dg.AssetDep(["derived", "temperature_monthly"], partition_mapping=MONTHS_OF_YEAR)],
        code_version="3",
        kinds={"pandas"},
    )
    def temperature_annual(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Made:
        """Means of the monthly temperature, weighted by the days of each month, of calendar years, balance years
        (October to September) and meteorological seasons; what lasts over New Year is labelled by its end. Degree
        days are positive ones.
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
        key = ["glacier_id", "year", "kind"]
        frame = rows.drop(columns="partition").merge(origin, on=key).merge(science.annual_sigma(monthly), on=key)
        frame["sigma_kind"] = np.where(frame["t2m_adjusted_c"].notna(), "assumed_and_elevation", "assumed")
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
    reader: ZonalReader, asked: pd.DataFrame, outlines: pd.DataFrame, config: TemperatureConfig
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows for each (glacier_id, month, inventory, partition), and the reason for each partition without one."""
    import shapely

    lapse_rate = config.lapse_rate_k_per_km
    ratio = config.lapse_sigma_k_per_km / abs(lapse_rate) if lapse_rate else 0.0
    by_outline = outlines.set_index(["glacier_id", "inventory"])
    wanted = [
        Wanted(pair, shapely.from_wkb(by_outline.loc[pair, "geometry"]), list(own["month"]))
        for pair, own in asked.groupby(["glacier_id", "inventory"])
    ]
    raw, missing = reader.means("t2m", wanted)
    gaps = {f"{pair[0]}|{month}": reason for (pair, month), reason in missing.items()}  # type: ignore[index]
    if raw.empty:
        return TemperatureMonthly.no_rows(), gaps
    land, _ = reader.means("t2m", wanted, over_land=True)
    raw = _beside(raw, land, "land", ["value"])
    raw = _beside(raw, reader.preliminary("t2m", wanted), "preliminary", ["value", "source_id"])
    frames = []
    for one in wanted:
        own = raw[raw["key"] == one.key]
        if own.empty:
            continue
        outline, fixed = by_outline.loc[one.key], reader.invariants(one.outline)
        t2m_c = science.kelvin_to_celsius(own["value"].to_numpy())
        adjusted = np.full(len(own), np.nan)
        if np.isfinite(outline["zmean_m"]) and np.isfinite(fixed.orography_m):
            adjusted = science.lapse_adjust(t2m_c, outline["zmean_m"], fixed.orography_m, lapse_rate / 1000)
        sigma = science.temperature_sigma(t2m_c, adjusted, config.assumed_sigma_k, ratio)
        base = [*outline["source_ids"], *fixed.source_ids]
        earlier = own["source_id_preliminary"].fillna(own["source_id"])
        frames.append(
            own[["month", "status", "n_cells", "max_weight"]].assign(
                glacier_id=one.key[0],  # type: ignore[index]
                inventory=one.key[1],  # type: ignore[index]
                t2m_c=t2m_c,
                t2m_land_c=science.kelvin_to_celsius(own["value_land"].to_numpy()),
                t2m_preliminary_c=science.kelvin_to_celsius(own["value_preliminary"].to_numpy()),
                t2m_adjusted_c=adjusted,
                t2m_sigma_c=sigma.as_is,
                t2m_adjusted_sigma_c=sigma.adjusted,
                sigma_kind=np.where(np.isfinite(adjusted), "assumed_and_elevation", "assumed"),
                lapse_rate_k_per_km=np.where(np.isfinite(adjusted), lapse_rate, np.nan),
                orography_m=fixed.orography_m,
                land_fraction=fixed.land_fraction,
                source_ids=[sorted({*base, *files}) for files in zip(own["source_id"], earlier, strict=True)],
                is_synthetic=own["is_synthetic"] | bool(outline["is_synthetic"]),
            )
        )
    return pd.concat(frames, ignore_index=True), gaps


def _beside(raw: pd.DataFrame, other: pd.DataFrame, name: str, columns: list[str]) -> pd.DataFrame:
    """`raw` with columns of another frame of the same reader, named after it; missing where that has no such month."""
    own = other[["key", "month", *columns]].rename(columns={column: f"{column}_{name}" for column in columns})
    return raw.merge(own, on=["key", "month"], how="left")


def _moves(held: pd.DataFrame, frame: pd.DataFrame) -> dict[str, float]:
    """How far the months moved that turn final with this run, for people to see.

    Args:
        held: rows of the table before it, glacier_id, month, status and t2m_c, degC.
        frame: rows of the run, with the same columns.

    Returns:
        How many months of glaciers turned final, how many of them have another value, and the mean and the largest of
        all the moves, final minus preliminary, K (the largest by its amount); empty when none turned final.
    """
    columns = ["glacier_id", "month", "status", "t2m_c"]
    both = held[columns].merge(frame[columns], on=["glacier_id", "month"], suffixes=("_held", ""))
    turned = both[(both["status_held"] == "preliminary") & (both["status"] == "final")]
    if turned.empty:
        return {}
    move = turned["t2m_c"] - turned["t2m_c_held"]
    return {
        "months that turned final": len(turned),
        "months that moved": int((move != 0).sum()),
        "mean move (K)": round(float(move.mean()), 4),
        "largest move (K)": round(float(move[move.abs().idxmax()]), 4),
    }


def _incomplete(n_months: int, glacier_id: str, year: int, upstream: dict[str, str], first: str) -> str:
    if f"{year}-12" < first:
        return f"the monthly partitions begin in {first}"
    months = (f"{glacier_id}|{year}-{month:02d}" for month in range(1, 13))
    reason = next((upstream[m] for m in months if m in upstream), "derived/temperature_monthly is not materialised")
    return f"no season is whole, {n_months} of 12 months are there: {reason}"


def _months_of(wanted: pd.DataFrame) -> pd.DataFrame:
    """(glacier_id, month) of all that is labelled by the years that are wanted: October before to December."""
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
    key = ["glacier_id", "year", "kind"]
    months = monthly[["glacier_id", "month", "is_synthetic"]].assign(source_ids=monthly["source_ids"].map(tuple))
    parts = science.in_periods(months).drop_duplicates([*key, "source_ids", "is_synthetic"])
    return parts.groupby(key, as_index=False).agg(
        source_ids=("source_ids", lambda some: sorted({one for ids in some for one in ids})),
        is_synthetic=("is_synthetic", "any"),
    )
