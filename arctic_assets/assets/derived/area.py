"""derived/area."""

from typing import Any

import dagster as dg
import pandas as pd

from arctic_assets.assets.wiring import Made, gap_reasons, table_asset
from arctic_assets.partitions import Partitions, scope
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Area, Outline

HALF_PIXEL_M = 15.0
"""Half a Landsat TM, ETM+ or OLI pixel: RGI outlines of the Arctic were mostly drawn on these."""


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @table_asset(Area, partitions, deps=["derived/outline"], code_version="1", kinds={"shapely"})
    def area(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Made:
        """Both are geodesic. The perimeter counts rock islands and leaves out shared divides. The area has two
        uncertainties: the record's upper bound (perimeter times half a pixel), and the buffer method (half the
        difference of the outline grown and shrunk by half a pixel).
        """
        wanted = scope(context.partition_keys)
        outlines = warehouse.rows(Outline, wanted[["glacier_id", "inventory"]])
        rows = [_measured(row) for row in outlines.to_dict("records")]
        have = set(zip(outlines["glacier_id"], outlines["inventory"], strict=True))
        upstream = gap_reasons(warehouse, "derived/outline")
        gaps = {
            str(w.partition): f"no outline: {upstream.get(str(w.partition), 'derived/outline is not materialised')}"
            for w in wanted.itertuples()
            if (w.glacier_id, w.inventory) not in have
        }
        return Made(pd.DataFrame(rows) if rows else Area.no_rows(), gaps)

    return [area]


def _measured(outline: dict[str, Any]) -> dict[str, Any]:
    import shapely

    from arctic_assets.science import geometry

    geom = shapely.from_wkb(outline["geometry"])
    perimeter = geometry.geodesic_perimeter_km(geom)
    return {
        **{k: outline[k] for k in ("glacier_id", "inventory", "image_date", "origin", "source_ids", "is_synthetic")},
        "area_km2": geometry.geodesic_area_km2(geom),
        "area_bound_km2": geometry.half_pixel_bound_km2(perimeter.total_km, HALF_PIXEL_M),
        "area_sigma_km2": geometry.buffer_sigma_km2(geom, HALF_PIXEL_M),
        "perimeter_km": perimeter.total_km,
        "perimeter_outer_km": perimeter.outer_km,
        "perimeter_islands_km": perimeter.inner_km,
        "n_islands": int(sum(shapely.get_num_interior_rings(part) for part in shapely.get_parts(geom))),
        "half_pixel_m": HALF_PIXEL_M,
        "rgi_area_km2": outline["member_area_km2"] if outline["inventory"] == "rgi7" else None,
    }
