"""derived/area."""

import math
from typing import Any

import dagster as dg
import pandas as pd

from arctic_assets.assets.members import neighbours_of
from arctic_assets.assets.raw.revision import digitisations
from arctic_assets.assets.wiring import Made, RawStore, gap_reasons, table_asset
from arctic_assets.partitions import Partitions, scope
from arctic_assets.provenance import SourceObject
from arctic_assets.science import area_change
from arctic_assets.sources import revisions
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Area, Outline

AROUND_DEG = 0.005
"""How far around a glacier neighbours are looked for: they share a divide or they do not."""


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @table_asset(
        Area, partitions, deps=["derived/outline", "raw/revision", "raw/rgi7"], code_version="3", kinds={"shapely"}
    )
    def area(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> Made:
        """Both are geodesic. The perimeter counts rock islands and leaves out divides within the glacier. The area has
        the record's upper bound (perimeter times half a pixel), the buffer method (half the difference of the outline
        grown and shrunk by half a pixel, with what margin under cloud may have moved, which is taken as in RGI 7), and
        what is left when errors along the boundary are independent; where several editors drew the same image, their
        scatter. `free_share` is the part of the perimeter that is no divide shared with a neighbour.
        """
        wanted = scope(context.partition_keys)
        outlines = warehouse.rows(Outline, wanted[["glacier_id", "inventory"]])
        drawn = digitisations(store.archive)
        rows: list[dict[str, Any]] = []
        for key, own in outlines.groupby("glacier_id", sort=True):
            beside = list(neighbours_of(store.archive, partitions.registry[str(key)], _around(own)).values())
            for outline in own.to_dict("records"):
                by_editors = drawn.get((str(key), outline["inventory"]), [])
                rows.append(_measured(outline, beside, store.archive, by_editors))
        have = set(zip(outlines["glacier_id"], outlines["inventory"], strict=True))
        upstream = gap_reasons(warehouse, "derived/outline")
        gaps = {
            str(w.partition): f"no outline: {upstream.get(str(w.partition), 'derived/outline is not materialised')}"
            for w in wanted.itertuples()
            if (w.glacier_id, w.inventory) not in have
        }
        return Made(pd.DataFrame(rows) if rows else Area.no_rows(), gaps)

    return [area]


def _around(outlines: pd.DataFrame) -> tuple[float, float, float, float]:
    """West, south, east, north of all outlines of a glacier, with the margin in which neighbours are looked for."""
    import shapely

    west, south, east, north = shapely.total_bounds(shapely.from_wkb(outlines["geometry"].to_numpy()))
    return west - AROUND_DEG, south - AROUND_DEG, east + AROUND_DEG, north + AROUND_DEG


def _measured(
    outline: dict[str, Any], beside: list[Any], archive: Archive, by_editors: list[SourceObject]
) -> dict[str, Any]:
    import shapely

    from arctic_assets.science import geometry

    geom = shapely.from_wkb(outline["geometry"])
    perimeter = geometry.geodesic_perimeter_km(geom)
    half_pixel_m = outline["half_pixel_m"]
    assumed = 0.0 if pd.isna(outline["assumed_sigma_km2"]) else float(outline["assumed_sigma_km2"])
    areas = [geometry.geodesic_area_km2(revisions.geometry(archive.file(o))) for o in by_editors]
    repeated = len(areas) > 1
    return {
        **{k: outline[k] for k in ("glacier_id", "inventory", "image_date", "origin", "half_pixel_m", "is_synthetic")},
        "area_km2": geometry.geodesic_area_km2(geom),
        "area_bound_km2": geometry.half_pixel_bound_km2(perimeter.total_km, half_pixel_m),
        "area_sigma_km2": math.hypot(geometry.buffer_sigma_km2(geom, half_pixel_m), assumed),
        "assumed_sigma_km2": assumed,
        "area_sigma_independent_km2": geometry.independent_sigma_km2(perimeter.total_km, half_pixel_m),
        "area_repeatability_km2": area_change.repeatability(areas) if repeated else None,
        "n_digitisations": len(areas),
        "perimeter_km": perimeter.total_km,
        "perimeter_outer_km": perimeter.outer_km,
        "perimeter_islands_km": perimeter.inner_km,
        "free_share": area_change.free_share(geom, beside),
        "n_islands": int(sum(shapely.get_num_interior_rings(part) for part in shapely.get_parts(geom))),
        "rgi_area_km2": outline["member_area_km2"] if outline["inventory"] == "rgi7" else None,
        "source_ids": sorted({*outline["source_ids"], *(o.source_id for o in by_editors if repeated)}),
    }
