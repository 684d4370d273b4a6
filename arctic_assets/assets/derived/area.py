"""derived/outline and derived/area."""

from typing import Any

import dagster as dg
import pandas as pd

from arctic_assets.assets.members import members_of, outline_files, outlines_of
from arctic_assets.assets.wiring import Made, RawStore, gap_reasons, table_asset
from arctic_assets.glaciers import Registry
from arctic_assets.partitions import Partitions, scope
from arctic_assets.science.links import Unresolved
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Area, Outline

HALF_PIXEL_M = 15.0
"""Half a Landsat TM, ETM+ or OLI pixel: RGI outlines of the Arctic were mostly drawn on these."""


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets."""

    @table_asset(Outline, partitions, deps=["raw/rgi7"], code_version="1", kinds={"geopandas"})
    def outline(context: dg.AssetExecutionContext, store: RawStore) -> Made:
        """The outlines everything else is measured on. The inventory `rgi7` is the union of the glacier's RGI 7
        members, dated by their `src_date`; shared divides between members vanish. Inventories of other years are
        drawn on Landsat scenes, which this version does not fetch yet: they are gaps.
        """
        wanted = scope(context.partition_keys)
        reference = sorted(wanted.loc[wanted["inventory"] == "rgi7", "glacier_id"])
        rows, reasons = _reference_outlines(store.archive, partitions.registry, reference)
        gaps = {}
        for row in wanted.itertuples():
            if row.inventory != "rgi7":
                gaps[str(row.partition)] = f"no Landsat outline of {row.inventory}: Landsat is not a source yet"
            elif row.glacier_id in reasons:
                gaps[str(row.partition)] = reasons[str(row.glacier_id)]
        return Made(pd.DataFrame(rows) if rows else Outline.no_rows(), gaps)

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

    return [outline, area]


def _reference_outlines(
    archive: Archive, registry: Registry, glacier_ids: list[str]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows of the RGI7 reference, and the reason for each glacier that has none. Opens each region once."""
    import shapely

    from arctic_assets.science import geometry

    glaciers = [registry[key] for key in glacier_ids]
    files = outline_files(archive)
    members = members_of(archive, glaciers)
    rows: list[dict[str, Any]] = []
    reasons: dict[str, str] = {}
    for region in sorted({g.o1region for g in glaciers}):
        here = {g.glacier_id: members[g.glacier_id] for g in glaciers if g.o1region == region}
        reasons |= {key: m.reason for key, m in here.items() if isinstance(m, Unresolved)}
        resolved = {key: m for key, m in here.items() if not isinstance(m, Unresolved)}
        if not resolved:
            continue
        held = files[region]
        found = outlines_of(archive, held, {i for m in resolved.values() for i in m.rgi7_ids}).set_index("rgi_id")
        for key, m in resolved.items():
            lacking = [i for i in m.rgi7_ids if i not in found.index]
            if lacking:
                more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
                reasons[key] = f"{held.path} has no outline {lacking[0]}{more}"
                continue
            own = found.loc[list(m.rgi7_ids)]
            for rgi_id, geom in own.geometry.items():
                geometry.check_outline(geom, f"{held.source_id}, {rgi_id}")
            areas = own["area_km2"]
            zmean = own["zmean_m"] if "zmean_m" in own else pd.Series(float("nan"), index=own.index)
            zmean = zmean.fillna(own["zmed_m"]) if "zmed_m" in own else zmean
            dates = own["src_date"].dropna()
            rows.append(
                {
                    "glacier_id": key,
                    "inventory": "rgi7",
                    "geometry": shapely.to_wkb(geometry.dissolve(list(own.geometry))),
                    "n_members": len(own),
                    "member_ids": list(m.rgi7_ids),
                    "member_area_km2": float(areas.sum()),
                    "rgi6_ids": list(m.rgi6),
                    "rgi6_weights": list(m.rgi6.values()),
                    "zmean_m": float((zmean * areas).sum() / areas.sum()) if zmean.notna().all() else None,
                    "image_date": dates.sort_values().iloc[len(dates) // 2] if len(dates) else None,
                    "method": "RGI 7.0" + (f"; {m.note}" if m.note else ""),
                    "scene_ids": [],
                    "revision": 0,
                    "link_overlap": m.link_overlap,
                    "source_ids": [held.source_id],
                    "is_synthetic": held.is_synthetic,
                }
            )
    return rows, reasons


def _measured(outline: dict[str, Any]) -> dict[str, Any]:
    import shapely

    from arctic_assets.science import geometry

    geom = shapely.from_wkb(outline["geometry"])
    perimeter = geometry.geodesic_perimeter_km(geom)
    return {
        **{k: outline[k] for k in ("glacier_id", "inventory", "image_date", "source_ids", "is_synthetic")},
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
