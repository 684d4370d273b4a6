"""derived/mass_balance."""

import dagster as dg
import pandas as pd
from pydantic import Field

from arctic_assets.assets.wiring import Made, RawStore, gap_reasons, table_asset
from arctic_assets.partitions import Partitions, scope
from arctic_assets.provenance import SourceObject
from arctic_assets.science import mass_balance as science
from arctic_assets.sources import fog
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import MassBalance


class MassBalanceConfig(dg.Config):
    """What is assumed where the database says nothing."""

    assumed_sigma_m_we: float = Field(
        default=0.34,
        gt=0,
        le=2,
        description="Uncertainty (one standard deviation, m w.e.) of an annual balance that is reported without one. "
        "The default is the mean random error that Zemp et al. (2013, The Cryosphere 7, 1227) give for glaciological "
        "balances, cited from memory; rows that use it say `sigma_origin` = assumed.",
    )


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @table_asset(MassBalance, partitions, deps=["raw/fog"], code_version="1", kinds={"pandas"})
    def mass_balance(
        context: dg.AssetExecutionContext, config: MassBalanceConfig, store: RawStore, warehouse: Warehouse
    ) -> Made:
        """Observed balance of each balance year from the newest archived FoG release, in m w.e., with winter and
        summer balance where given. `reference_area_km2` is the area the balance refers to; `scope` says when it is
        that of the parent ice cap. An uncertainty that is not reported is assumed, and `sigma_origin` says so.
        """
        wanted = scope(context.partition_keys)
        release = newest_release(store.archive)
        if release is None:
            reason = gap_reasons(warehouse, "raw/fog").get("", "raw/fog is not materialised")
            return Made(MassBalance.no_rows(), dict.fromkeys(wanted["partition"], f"no FoG release: {reason}"))
        asked = wanted.assign(
            wgms_id=[partitions.registry[g].wgms_id for g in wanted["glacier_id"]],
            scope=[partitions.registry[g].wgms_scope or "own" for g in wanted["glacier_id"]],
        )
        ids = {int(i) for i in asked["wgms_id"].dropna()}
        balances = fog.read_balances(store.archive.file(release), ids).dropna(subset="annual_balance_m_we")
        balances = science.fill_sigma(balances, config.assumed_sigma_m_we)
        rows = asked.merge(balances.drop(columns="time_system"), on=["wgms_id", "year"])
        have = set(rows["partition"])
        gaps = {
            str(w.partition): f"{w.glacier_id} has no WGMS id in the registry"
            if pd.isna(w.wgms_id)
            else f"FoG {release.version} has no annual balance of WGMS id {int(w.wgms_id)} in {w.year}"
            for w in asked.itertuples()
            if w.partition not in have
        }
        frame = rows.drop(columns=["partition", "wgms_id"]).assign(
            origin="observed",
            preferred=True,
            source_ids=[[release.source_id]] * len(rows),
            is_synthetic=release.is_synthetic,
        )
        return Made(frame, gaps, {"release": release.version, "observed years": len(frame)})

    return [mass_balance]


def newest_release(archive: Archive) -> SourceObject | None:
    """The newest archived FoG release, by its name."""
    held = {o.path.rsplit("/", 1)[-1]: o for o in archive.objects(fog.PRODUCT.provider)}
    name = fog.newest(held)
    return held[name] if name else None
