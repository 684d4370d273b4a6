"""derived/mass_balance, derived/balance_model and derived/balance_period."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field

from arctic_assets import literature
from arctic_assets.assets.members import outline_files
from arctic_assets.assets.raw.literature import table_object
from arctic_assets.assets.wiring import Made, RawStore, gap_reasons, table_asset
from arctic_assets.assets.zonal import Wanted, ZonalReader
from arctic_assets.glaciers import Registry
from arctic_assets.partitions import PER_GLACIER, Partitions, scope
from arctic_assets.provenance import SourceObject
from arctic_assets.science import balance_model, balance_period, preferred
from arctic_assets.science import mass_balance as science
from arctic_assets.sources import amce, fog, fog_change
from arctic_assets.sources.base import Missing
from arctic_assets.sources.rgi7_hypsometry import read_hypsometry
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Area, BalanceModel, BalancePeriod, MassBalance, Outline, TemperatureMonthly

ASSUMED_SIGMA_M_WE = 0.34
"""Mean random error of glaciological balances in Zemp et al. (2013, The Cryosphere 7, 1227), cited from memory."""


class ObservationConfig(dg.Config):
    """What is assumed where the database says nothing."""

    assumed_sigma_m_we: float = Field(
        default=ASSUMED_SIGMA_M_WE,
        gt=0,
        le=2,
        description="Uncertainty (one standard deviation, m w.e.) of an annual balance that is reported without one. "
        "The default is the mean random error that Zemp et al. (2013, The Cryosphere 7, 1227) give for glaciological "
        "balances, cited from memory; rows that use it say `sigma_origin` = assumed.",
    )


class BalancePeriodConfig(dg.Config):
    """What is assumed where a publication says nothing."""

    assumed_sigma_m_we_yr: float = Field(
        default=ASSUMED_SIGMA_M_WE,
        gt=0,
        le=2,
        description="Uncertainty (one standard deviation, m w.e. a year) of a published mean balance that is printed "
        "without one. The default is that of a single annual balance (`assumed_sigma_m_we` of derived/mass_balance), "
        "as if the errors of all years had the same sign; rows that use it say `sigma_kind` = assumed.",
    )


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets."""
    registry = partitions.registry
    # the model is fitted to all years, and short series take the precipitation factor of other glaciers
    all_months = dg.AssetDep(["derived", "temperature_monthly"], partition_mapping=dg.AllPartitionMapping())

    @table_asset(
        MassBalance,
        partitions,
        deps=[
            "raw/fog",
            "raw/amce",
            _of_glacier("raw/rgi7"),
            *(dg.AssetDep(["derived", name], partition_mapping=PER_GLACIER) for name in ("outline", "area")),
            all_months,
        ],
        code_version="3",
        kinds={"pandas"},
    )
    def mass_balance(
        context: dg.AssetExecutionContext, config: ObservationConfig, store: RawStore, warehouse: Warehouse
    ) -> Made:
        """Balance of each balance year in m w.e., one row per origin: *observed* (WGMS FoG, with winter and summer
        balance where given), *reconstruction* (WGMS annual mass change, area-weighted over the glacier's RGI 6
        members) and *model* (temperature-index model on ERA5, fitted to the glacier's own observations, published
        only where it beats their mean in leave-one-out, see derived/balance_model; years outside their span are
        flagged). An observation is
        never overwritten: `preferred` marks the origin that the series takes in each year. `reference_area_km2` is
        the area a balance refers to; `scope` says when it is that of the parent ice cap.
        """
        wanted = scope(context.partition_keys)
        glaciers = list(dict.fromkeys(wanted["glacier_id"]))
        outlines = warehouse.rows(Outline).query("inventory == 'rgi7'").set_index("glacier_id")
        areas = warehouse.rows(Area).query("inventory == 'rgi7'").set_index("glacier_id")["area_km2"]
        observed, release = _observed(partitions, store.archive, config.assumed_sigma_m_we)
        rebuilt, not_rebuilt = _reconstruction(store.archive, registry, outlines, areas.to_dict())
        # All glaciers, whichever are asked for: those with long series give the others their precipitation factor.
        modelled = _modelled(partitions, store, warehouse, outlines, observed)
        whole = pd.concat([observed, rebuilt, modelled.frame], ignore_index=True)
        whole["extrapolated"] = whole["extrapolated"].eq(True)
        frame = whole.merge(wanted, on=["glacier_id", "year"])
        frame = preferred.set_preferred(frame).drop(columns="partition")
        have = set(zip(frame["glacier_id"], frame["year"], strict=True))
        no_release = "" if release else gap_reasons(warehouse, "raw/fog").get("", "raw/fog is not materialised")
        gaps = {
            str(w.partition): "; ".join(
                (
                    _unobserved(registry[w.glacier_id].wgms_id, w.year, release, no_release),
                    f"no reconstruction: {not_rebuilt.get(w.glacier_id, f'the release has no value of {w.year}')}",
                    f"no model: {modelled.reasons[w.glacier_id]}",
                )
            )
            for w in wanted.itertuples()
            if (w.glacier_id, w.year) not in have
        }
        counts = frame["origin"].value_counts()
        return Made(frame, gaps, {**{str(k): int(n) for k, n in counts.items()}, "glaciers asked": len(glaciers)})

    @table_asset(
        BalanceModel,
        partitions,
        deps=["raw/fog", "raw/rgi7", "derived/outline", all_months],
        code_version="1",
        kinds={"pandas"},
    )
    def balance_model_rows(
        context: dg.AssetExecutionContext, config: ObservationConfig, store: RawStore, warehouse: Warehouse
    ) -> Made:
        """How the *model* rows of derived/mass_balance come about: of each glacier with observed balances the melt and
        the precipitation factor of its temperature-index model, what they were fitted to, and how well the model does
        in years that it was not fitted to. A model that does not beat the mean of the other years gives no balances,
        and its row says so.
        """
        keys = list(context.partition_keys)
        outlines = warehouse.rows(Outline).query("inventory == 'rgi7'").set_index("glacier_id")
        observed, _ = _observed(partitions, store.archive, config.assumed_sigma_m_we)
        modelled = _modelled(partitions, store, warehouse, outlines, observed)
        gaps = {key: modelled.reasons[key] for key in keys if key not in modelled.models}
        if len(gaps) == len(keys):
            return Made(BalanceModel.no_rows(), gaps)
        frame = balance_model.calibrations(modelled.models)
        frame = frame[frame["glacier_id"].isin(keys)]
        frame = frame.assign(
            source_ids=[modelled.source_ids[key] for key in frame["glacier_id"]],
            is_synthetic=[modelled.is_synthetic[key] for key in frame["glacier_id"]],
        )
        return Made(frame, gaps, {"published": int(frame["published"].sum())})

    @table_asset(
        BalancePeriod,
        partitions,
        deps=["raw/fog", "raw/literature", "derived/area"],
        code_version="3",
        kinds={"pandas"},
    )
    def balance_period_rows(
        context: dg.AssetExecutionContext, config: BalancePeriodConfig, store: RawStore, warehouse: Warehouse
    ) -> Made:
        """Balances over periods of years, as the periods they are: geodetic (elevation changes of FoG, density
        850 +/- 60 kg m-3) and from the literature (verified rows only), in m w.e. and in Gt a year with the area
        they refer to: of published values that of the glacier's own balance series in FoG, which may be another ice
        than the outline's (Taku: 725 km2, not 521), or the outline's where there is no series. They are never spread
        over their years.
        """
        keys = list(context.partition_keys)
        measured = warehouse.rows(Area).query("inventory == 'rgi7'").set_index("glacier_id")
        areas = {
            str(key): (float(row["area_km2"]), list(row["source_ids"]), bool(row["is_synthetic"]))
            for key, row in measured.iterrows()
        }
        parts: list[pd.DataFrame] = []
        left_out: list[tuple[str, str]] = []
        release = newest_release(store.archive, fog)
        own = {g.wgms_id: g.glacier_id for g in registry.glaciers if g.wgms_id and g.wgms_scope != "parent_ice_cap"}
        no_change = "no elevation change in FoG"
        if release is None:
            no_change = f"no FoG release: {gap_reasons(warehouse, 'raw/fog').get('', 'raw/fog is not materialised')}"
        else:
            series = fog.read_balances(store.archive.file(release), list(own))
            series = series.assign(glacier_id=series["wgms_id"].map(own))
            areas |= {
                key: (area, [release.source_id], release.is_synthetic)
                for key, area in science.newest_reference_area(series).items()
            }
            changes = fog_change.read_changes(store.archive.file(release), list(own))
            if isinstance(changes, Missing):
                no_change = changes.reason
            else:
                left_out += [(own[wgms_id], reason) for wgms_id, reason in changes.left_out]
                found = changes.frame.assign(glacier_id=changes.frame["wgms_id"].map(own))
                rows, same = balance_period.geodetic_rows(found)
                left_out += same
                parts.append(
                    rows.assign(source_ids=[[release.source_id]] * len(rows), is_synthetic=release.is_synthetic)
                )
        table = table_object()
        warehouse.record([table], asset="raw/literature", partitions=[], gaps={})
        unknown: tuple[None, list[str], bool] = (None, [], False)
        published = literature.published(
            {key: areas.get(key, unknown)[0] for key in registry.ids}, config.assumed_sigma_m_we_yr
        )
        # m w.e. and Gt follow from each other by this area, so its sources are theirs.
        of_area = [areas.get(key, unknown) for key in published.frame["glacier_id"]]
        parts.append(
            published.frame.assign(
                source_ids=[sorted({table.source_id, *source_ids}) for _, source_ids, _ in of_area],
                is_synthetic=[is_synthetic for _, _, is_synthetic in of_area],
            )
        )
        frame = pd.concat(parts, ignore_index=True)
        frame = frame[frame["glacier_id"].isin(keys)]
        gaps = {
            key: "; ".join(
                [*(_of(key, left_out) or [no_change]), *(_of(key, published.left_out) or ["no published balance"])]
            )
            for key in sorted(set(keys) - set(frame["glacier_id"]))
        }
        told = [reason for key in keys for reason in _of(key, [*left_out, *published.left_out])]
        more = {"left out": dg.MetadataValue.md("\n".join(f"- {reason}" for reason in told[:20]))} if told else {}
        return Made(frame if len(frame) else BalancePeriod.no_rows(), gaps, more)

    return [mass_balance, balance_model_rows, balance_period_rows]


def _of(glacier_id: str, left_out: Iterable[tuple[str, str]]) -> list[str]:
    """The reasons that are a glacier's."""
    return [reason for glacier, reason in left_out if glacier == glacier_id]


def _of_glacier(key: str) -> dg.AssetDep:
    return dg.AssetDep(
        dg.AssetKey.from_user_string(key), partition_mapping=dg.MultiToSingleDimensionPartitionMapping("glacier")
    )


def newest_release(archive: Archive, source: Any) -> SourceObject | None:
    """The newest archived release of a WGMS product (`fog`, `amce`), by its name."""
    held = {o.path.rsplit("/", 1)[-1]: o for o in archive.objects(source.PRODUCT.provider)}
    name = source.newest(held)
    return held[name] if name else None


def _observed(
    partitions: Partitions, archive: Archive, assumed_sigma_m_we: float
) -> tuple[pd.DataFrame, SourceObject | None]:
    """Observed balances of all glaciers and years."""
    release = newest_release(archive, fog)
    if release is None:
        return MassBalance.no_rows().drop(columns=["run_id", "code_version", "recorded_at"]), None
    glaciers = pd.DataFrame(
        [(g.glacier_id, g.wgms_id, g.wgms_scope or "own") for g in partitions.registry.glaciers if g.wgms_id],
        columns=["glacier_id", "wgms_id", "scope"],
    )
    balances = fog.read_balances(archive.file(release), set(glaciers["wgms_id"]))
    balances = science.fill_sigma(balances.dropna(subset="annual_balance_m_we"), assumed_sigma_m_we)
    rows = glaciers.merge(balances.drop(columns="time_system"), on="wgms_id").drop(columns="wgms_id")
    return (
        rows.assign(
            origin="observed",
            extrapolated=False,
            source_ids=[[release.source_id]] * len(rows),
            is_synthetic=release.is_synthetic,
        ),
        release,
    )


def _reconstruction(
    archive: Archive, registry: Registry, outlines: pd.DataFrame, areas: Mapping[str, float]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Reconstructed balances of all glaciers and years; and per glacier without any why there is none."""
    release = newest_release(archive, amce)
    if release is None:
        return pd.DataFrame(), dict.fromkeys(registry.ids, "no release of WGMS annual mass change")
    parts = {
        str(key): dict(zip(row["rgi6_ids"], row["rgi6_weights"], strict=True))
        for key, row in outlines.iterrows()
        if key in areas
    }
    estimates = amce.read(archive.file(release), {i for shares in parts.values() for i in shares})
    frame, reasons = preferred.reconstruction(estimates, parts, areas)
    sources = [[release.source_id, *outlines.loc[key, "source_ids"]] for key in frame["glacier_id"]]
    frame = frame.assign(extrapolated=False, source_ids=[sorted(s) for s in sources], is_synthetic=release.is_synthetic)
    reasons = {key: reasons.get(key, "no outline") for key in registry.ids if key in reasons or key not in parts}
    return frame, reasons


@dataclass(frozen=True)
class _Modelled:
    """Modelled balances of all glaciers and years.

    Attributes:
        frame: rows of `mass_balance`.
        models: the model of each glacier with observed balances and everything that drives a model, or why none.
        reasons: of every glacier, why a year has no modelled balance.
        source_ids: of each glacier in `models`.
        is_synthetic: likewise.
    """

    frame: pd.DataFrame
    models: Mapping[str, balance_model.Model | balance_model.NoModel]
    reasons: Mapping[str, str]
    source_ids: Mapping[str, list[str]]
    is_synthetic: Mapping[str, bool]


def _modelled(
    partitions: Partitions,
    store: RawStore,
    warehouse: Warehouse,
    outlines: pd.DataFrame,
    observed: pd.DataFrame,
) -> _Modelled:
    import shapely

    calibratable = set(observed["glacier_id"]) if len(observed) else set()
    reasons = dict.fromkeys(partitions.registry.ids, "no observed year to fit it to")
    monthly = warehouse.rows(TemperatureMonthly)
    reader = ZonalReader(store.archive, Path(store.home))
    files = outline_files(store.archive)
    drivers: dict[str, pd.DataFrame] = {}
    sources: dict[str, list[str]] = {}
    own_rows = {str(k): v for k, v in monthly.groupby("glacier_id")}
    wanted = [
        Wanted(key, shapely.from_wkb(outlines.loc[key, "geometry"]), list(own_rows[key]["month"]))
        for key in partitions.registry.ids
        if key in calibratable and key in outlines.index and key in own_rows
    ]
    reasons |= dict.fromkeys(calibratable - set(outlines.index), "no outline")
    reasons |= dict.fromkeys((calibratable & set(outlines.index)) - set(own_rows), "no ERA5 temperature")
    rain, _ = reader.means("tp", wanted)
    for one in wanted:
        key = str(one.key)
        own = rain[rain["key"] == key] if len(rain) else rain
        if own.empty:
            reasons[key] = "no ERA5 precipitation"
            continue
        region = partitions.registry[key].o1region
        bands = read_hypsometry(store.archive.file(files[region]), outlines.loc[key, "member_ids"])
        if isinstance(bands, Missing):
            reasons[key] = bands.reason
            continue
        joined = own_rows[key].merge(own[["month", "value", "source_id"]], on="month")
        days = pd.PeriodIndex(joined["month"], freq="M").days_in_month
        joined["precipitation_mm"] = balance_model.monthly_precipitation_mm(joined["value"], days)
        drivers[key] = balance_model.annual_drivers(joined, bands)
        sources[key] = sorted({*joined["source_id"], *(s for ids in joined["source_ids"] for s in ids)})
    if not drivers:
        return _Modelled(pd.DataFrame(), {}, reasons, {}, {})
    regions = {key: partitions.registry[key].o1region for key in drivers}
    frame, models = balance_model.model_balances(drivers, observed, regions)
    for key, model in models.items():
        reasons[key] = model.reason if isinstance(model, balance_model.NoModel) else "the year lacks months of ERA5"
    seen = observed.groupby("glacier_id")["source_ids"].first().to_dict()
    source_ids = {key: sorted({*sources[key], *seen[key]}) for key in drivers}
    synthetic = {key: bool(own_rows[key]["is_synthetic"].any()) for key in drivers}
    frame = frame.assign(
        source_ids=[source_ids[key] for key in frame["glacier_id"]],
        is_synthetic=[synthetic[key] for key in frame["glacier_id"]],
    )
    return _Modelled(frame, models, reasons, source_ids, synthetic)


def _unobserved(wgms_id: int | None, year: int, release: SourceObject | None, no_release: str) -> str:
    if release is None:
        return f"no FoG release: {no_release}"
    if wgms_id is None:
        return "no WGMS id in the registry"
    return f"FoG {release.version} has no annual balance of WGMS id {wgms_id} in {year}"
