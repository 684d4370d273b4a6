"""derived/thickness and derived/volume."""

from typing import Any

import dagster as dg
import pandas as pd

from arctic_assets.assets.wiring import Made, RawStore, gap_reasons, table_asset
from arctic_assets.partitions import Partitions, scope
from arctic_assets.provenance import SourceObject
from arctic_assets.science import thickness as science
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Area, Outline, Thickness, Volume

CONSENSUS = "farinotti2019"


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets."""
    reference = "rgi7"

    @table_asset(
        Thickness,
        partitions,
        deps=["raw/farinotti", "derived/outline", "derived/area"],
        code_version="1",
        kinds={"rasterio"},
    )
    def thickness(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> Made:
        """Consensus ice thickness (Farinotti et al. 2019) of each glacier: mean and maximum over the raster's own ice
        mask, volume as the sum over its native grid, mass and sea-level equivalent. RGI 6 rasters that lie partly
        in the glacier count with their share. Uncertainty: the record's bands (30 % above 100 m, 50 % below).
        """
        keys = list(context.partition_keys)
        asked = pd.DataFrame({"glacier_id": keys, "inventory": reference})
        outlines = warehouse.rows(Outline, asked).merge(
            warehouse.rows(Area, asked)[["glacier_id", "area_km2"]], on="glacier_id"
        )
        rasters = {str(o.content["rgi6_id"]): o for o in store.archive.objects("farinotti")}
        upstream = {**gap_reasons(warehouse, "derived/area"), **gap_reasons(warehouse, "raw/farinotti")}
        rows = []
        gaps = {}
        for outline in outlines.to_dict("records"):
            key = str(outline["glacier_id"])
            lacking = [i for i in outline["rgi6_ids"] if i not in rasters]
            if lacking or not outline["rgi6_ids"]:
                gaps[key] = upstream.get(key, "raw/farinotti is not materialised")
                continue
            row = _consensus(store.archive, outline, rasters)
            if row:
                rows.append(row)
            else:
                gaps[key] = "the consensus rasters hold no ice for this glacier"
        for key in set(keys) - set(outlines["glacier_id"]):
            gaps[key] = upstream.get(f"{key}|{reference}", "derived/area is not materialised")
        return Made(pd.DataFrame(rows) if rows else Thickness.no_rows(), gaps)

    @table_asset(Volume, partitions, deps=["derived/thickness", "derived/area"], code_version="1", kinds={"pandas"})
    def volume(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Made:
        """The thickness is that of a product, the area that of an outline. The uncertainty comes from both."""
        wanted = scope(context.partition_keys)
        areas = warehouse.rows(Area, wanted[["glacier_id", "inventory"]])
        thick = warehouse.rows(Thickness, wanted[["glacier_id"]])
        both = areas.merge(thick, on="glacier_id", suffixes=("", "_thickness"))
        rows = [_static_volume(row) for row in both.to_dict("records")]
        have = set(zip(both["glacier_id"], both["inventory"], strict=True))
        no_area, no_thickness = gap_reasons(warehouse, "derived/area"), gap_reasons(warehouse, "derived/thickness")
        gaps = {
            str(w.partition): no_area.get(str(w.partition))
            or f"no thickness: {no_thickness.get(str(w.glacier_id), 'derived/thickness is not materialised')}"
            for w in wanted.itertuples()
            if (w.glacier_id, w.inventory) not in have
        }
        return Made(pd.DataFrame(rows) if rows else Volume.no_rows(), gaps)

    return [thickness, volume]


def _consensus(archive: Archive, outline: dict[str, Any], rasters: dict[str, SourceObject]) -> dict[str, Any] | None:
    from arctic_assets.sources import farinotti

    parts = []
    used = [rasters[i] for i in outline["rgi6_ids"]]
    for held, share in zip(used, outline["rgi6_weights"], strict=True):
        values, cell_area_m2, _, _ = farinotti.read(archive.file(held))
        stats = science.thickness_statistics(values, cell_area_m2, outline["area_km2"])
        if stats:
            parts.append((stats, share))
    whole = science.combine_rasters(parts, outline["area_km2"]) if parts else None
    if whole is None:
        return None
    band = science.thickness_error(whole.thickness_m)
    mass = science.volume_to_mass_gt(whole.volume_km3)
    return {
        "glacier_id": outline["glacier_id"],
        "product": CONSENSUS,
        **whole._asdict(),
        "thickness_sigma_m": science.thickness_sigma_m(whole.thickness_m),
        "volume_sigma_km3": whole.volume_km3 * band.relative,
        "mass_gt": mass,
        "sea_level_mm": science.sea_level_mm(mass),
        "density_kg_m3": science.ICE_DENSITY_KG_M3,
        "rgi6_ids": list(outline["rgi6_ids"]),
        "sigma_kind": "record_bands",
        "source_ids": sorted({*outline["source_ids"], *(o.source_id for o in used)}),
        "is_synthetic": outline["is_synthetic"] or any(o.is_synthetic for o in used),
    }


def _static_volume(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "glacier_id": row["glacier_id"],
        "inventory": row["inventory"],
        "product": row["product"],
        "volume_km3": row["thickness_m"] * row["area_km2"] / 1000,
        "volume_sigma_km3": science.volume_sigma_km3(
            row["thickness_m"], row["thickness_sigma_m"], row["area_km2"], row["area_sigma_km2"]
        ),
        "static_thickness": True,
        "source_ids": sorted({*row["source_ids"], *row["source_ids_thickness"]}),
        "is_synthetic": row["is_synthetic"] or row["is_synthetic_thickness"],
    }
