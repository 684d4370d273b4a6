"""derived/outline: the reference, outlines mapped on Landsat, and those that a person edited."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg
import numpy as np
import pandas as pd
from pydantic import Field

from arctic_assets.assets.members import members_of, outline_files, outlines_of
from arctic_assets.assets.raw.landsat import chosen
from arctic_assets.assets.raw.revision import newest
from arctic_assets.assets.wiring import Made, RawStore, gap_reasons, table_asset
from arctic_assets.glaciers import Registry
from arctic_assets.partitions import PER_GLACIER, Partitions, scope
from arctic_assets.provenance import SourceObject
from arctic_assets.science import clean_ice, geometry, sia
from arctic_assets.science.links import Unresolved
from arctic_assets.sources import dem, landsat, revisions, rgi7
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Outline

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

STANDARD = clean_ice.STANDARD


class MappingConfig(dg.Config):
    """Thresholds of the mapping on Landsat; those of a row are recorded in it."""

    ratio: float = Field(default=STANDARD.ratio, gt=0, description="red over SWIR above which a cell is ice")
    ndsi: float = Field(default=STANDARD.ndsi, ge=-1, le=1, description="NDSI above which a cell is ice, with `ratio`")
    blue: float = Field(default=STANDARD.blue, ge=0, le=1, description="least blue reflectance of ice")
    buffer_m: float = Field(default=STANDARD.buffer_m, ge=0, description="how far ice may lie beyond the reference, m")
    min_patch_km2: float = Field(default=STANDARD.min_patch_km2, ge=0, description="smaller patches and holes go, km2")
    max_unclassified: float = Field(
        default=STANDARD.max_unclassified, ge=0, le=1, description="share of the reference that may lack data"
    )

    @property
    def thresholds(self) -> clean_ice.Thresholds:
        """All thresholds, with these in place."""
        return replace(STANDARD, **{name: getattr(self, name) for name in type(self).model_fields})


class Debris(NamedTuple):
    """Debris-covered parts of a glacier, as far as they can be told.

    Attributes:
        parts: polygons in EPSG:4326, or None.
        used: what they were found on.
        thresholds: those of the mapping, with the rules that were not applied left out.
        flags: of every outline (`debris_unknown`), or of one that has such parts (`debris_slope_unknown`).
    """

    parts: "BaseGeometry | None"
    used: list[SourceObject]
    thresholds: clean_ice.Thresholds
    flags: list[str]


class Reference(NamedTuple):
    """A glacier's reference row, with what mapping needs beside it."""

    row: dict[str, Any]
    geometry: "BaseGeometry"
    held: SourceObject


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @table_asset(
        Outline,
        partitions,
        deps=[
            *("raw/rgi7", "raw/dem", "raw/revision"),
            # where debris lies, the scenes of other inventories tell
            dg.AssetDep(["raw", "landsat"], partition_mapping=PER_GLACIER),
        ],
        code_version="4",
        kinds={"geopandas"},
    )
    def outline(
        context: dg.AssetExecutionContext, config: MappingConfig, store: RawStore, warehouse: Warehouse
    ) -> Made:
        """The outlines everything else is measured on. A person's newest revision comes first. Otherwise the inventory
        `rgi7` is the union of the glacier's RGI 7 members, dated by their `src_date`, without shared divides; and
        an inventory of a year is clean ice on the late-summer Landsat scenes around it: band ratio and NDSI on surface
        reflectance, several scenes vote, debris-covered parts from RGI 7, growth limited to 500 m beyond RGI 7, RGI 7
        divides, no steps in the boundary. Debris-covered is what lies inside RGI 7, looks like debris and is less steep
        than 24 degrees (Copernicus DEM) on the newest scenes, of any inventory, that are not younger than RGI 7's.
        Thresholds and flags stand in the row. Too much cloud or no scene is a gap.
        """
        wanted = scope(context.partition_keys)
        archive = store.archive
        edited = newest(archive)
        references, reasons = _references(archive, partitions.registry, sorted(set(wanted["glacier_id"])))
        upstream = gap_reasons(warehouse, "raw/landsat")
        mapper = _Mapper(archive, config.thresholds)
        rows: list[dict[str, Any]] = []
        gaps: dict[str, str] = {}
        for w in wanted.sort_values(["glacier_id", "inventory"]).itertuples():
            reference = references.get(w.glacier_id)
            revised = edited.get((w.glacier_id, w.inventory))
            if revised is not None:
                rows.append(_revised(archive, revised, reference))
            elif reference is None:
                gaps[str(w.partition)] = reasons[w.glacier_id]
            elif w.inventory == "rgi7":
                rows.append(reference.row)
            else:
                found = mapper.row(reference, w.inventory)
                if isinstance(found, str):
                    gaps[str(w.partition)] = found or upstream.get(str(w.partition), "raw/landsat is not materialised")
                else:
                    rows.append(found)
        return Made(pd.DataFrame(rows) if rows else Outline.no_rows(), gaps)

    return [outline]


def _references(
    archive: Archive, registry: Registry, glacier_ids: list[str]
) -> tuple[dict[str, Reference], dict[str, str]]:
    """The RGI7 reference of each glacier, and the reason for each that has none. Opens each region once."""
    import shapely

    glaciers = [registry[key] for key in glacier_ids]
    files = outline_files(archive)
    members = members_of(archive, glaciers)
    found: dict[str, Reference] = {}
    reasons: dict[str, str] = {}
    for region in sorted({g.o1region for g in glaciers}):
        here = {g.glacier_id: members[g.glacier_id] for g in glaciers if g.o1region == region}
        reasons |= {key: m.reason for key, m in here.items() if isinstance(m, Unresolved)}
        resolved = {key: m for key, m in here.items() if not isinstance(m, Unresolved)}
        if not resolved:
            continue
        held = files[region]
        outlines = outlines_of(archive, held, {i for m in resolved.values() for i in m.rgi7_ids}).set_index("rgi_id")
        for key, m in resolved.items():
            lacking = [i for i in m.rgi7_ids if i not in outlines.index]
            if lacking:
                more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
                reasons[key] = f"{held.path} has no outline {lacking[0]}{more}"
                continue
            own = outlines.loc[list(m.rgi7_ids)]
            for rgi_id, geom in own.geometry.items():
                geometry.check_outline(geom, f"{held.source_id}, {rgi_id}")
            areas = own["area_km2"]
            zmean = own["zmean_m"].fillna(own["zmed_m"])
            dates = own["src_date"].dropna()
            whole = geometry.dissolve(list(own.geometry))
            row = {
                "glacier_id": key,
                "inventory": "rgi7",
                "origin": "rgi7",
                "geometry": shapely.to_wkb(whole),
                "n_members": len(own),
                "member_ids": list(m.rgi7_ids),
                "member_area_km2": float(areas.sum()),
                "rgi6_ids": list(m.rgi6),
                "rgi6_weights": list(m.rgi6.values()),
                "zmean_m": float((zmean * areas).sum() / areas.sum()) if zmean.notna().all() else None,
                "image_date": dates.sort_values().iloc[len(dates) // 2] if len(dates) else None,
                "method": "RGI 7.0" + (f"; {m.note}" if m.note else ""),
                "scene_ids": [],
                "half_pixel_m": geometry.HALF_PIXEL_M,
                "flags": [],
                "revision": 0,
                "link_overlap": m.link_overlap,
                "source_ids": [held.source_id],
                "is_synthetic": held.is_synthetic,
            }
            found[key] = Reference(row, whole, held)
    return found, reasons


def _revised(archive: Archive, revised: SourceObject, reference: Reference | None) -> dict[str, Any]:
    """The row of a person's outline; members and elevations are those of the reference."""
    import shapely

    facts = revised.content
    base = reference.row if reference else {}
    date = facts["image_date"]
    return {
        "n_members": 1,
        "member_ids": [],
        "rgi6_ids": [],
        "rgi6_weights": [],
        **base,
        "glacier_id": facts["glacier_id"],
        "inventory": facts["inventory"],
        "origin": "revision",
        "geometry": shapely.to_wkb(revisions.geometry(archive.file(revised))),
        "image_date": pd.Timestamp(date).date() if date else _nominal(str(facts["inventory"]), base),
        "method": f"drawn by a person ({facts['file']})",
        "scene_ids": list(facts["scene_ids"]),
        "half_pixel_m": facts["half_pixel_m"] or geometry.half_pixel_of(facts["scene_ids"]),
        "flags": [] if date else ["nominal_date"],
        "revision": int(facts["revision"]),
        "editor": facts["editor"],
        "reason": facts["reason"],
        "source_ids": [revised.source_id],
        "is_synthetic": revised.is_synthetic,
    }


def _nominal(inventory: str, base: dict[str, Any]) -> object:
    """1 September of the inventory's year; the reference's date for the reference."""
    return base.get("image_date") if inventory == "rgi7" else pd.Timestamp(f"{inventory}-09-01").date()


class _Mapper:
    """Maps outlines on the archived scenes of a glacier and inventory; reads each scene once."""

    def __init__(self, archive: Archive, thresholds: clean_ice.Thresholds) -> None:
        self._archive = archive
        self._thresholds = thresholds
        self._chosen = chosen(archive)
        self._dem = {str(o.content["glacier_id"]): o for o in archive.objects(dem.PRODUCT.provider)}
        self._debris: dict[str, Debris] = {}
        self._beside: dict[str, list[BaseGeometry]] = {}

    def row(self, reference: Reference, inventory: str) -> dict[str, Any] | str:
        """The row, or the reason why there is none (empty when no scene is archived)."""
        import shapely

        held = self._chosen.get((reference.row["glacier_id"], inventory), [])
        if not held:
            return ""
        scenes, ice, valid = self._classified(held)
        debris = self._debris_of(reference)
        found = clean_ice.outline(
            ice,
            valid,
            scenes[0].transform,
            scenes[0].crs,
            reference.geometry,
            self._beside_of(reference),
            debris.parts,
            self._thresholds,
        )
        if found.geometry is None:
            return f"{found.reason} ({', '.join(s.item_id for s in scenes)})"
        used = [*held, *(debris.used if found.debris_km2 else [])]
        flags = [
            *found.flags,
            *(debris.flags if found.debris_km2 or debris.parts is None else []),
            *(["slc_off"] if any(s.is_slc_off for s in scenes) else []),
            *(["single_scene"] if len(scenes) == 1 else []),
        ]
        return {
            **reference.row,
            "inventory": inventory,
            "origin": "landsat",
            "geometry": shapely.to_wkb(found.geometry),
            "image_date": sorted(s.date for s in scenes)[len(scenes) // 2],
            "method": f"clean ice on {len(scenes)} Landsat scene(s) ({', '.join(sorted({s.sensor for s in scenes}))})",
            "scene_ids": [s.item_id for s in scenes],
            "half_pixel_m": geometry.half_pixel_of([s.item_id for s in scenes]),
            "flags": flags,
            "share_unclassified": found.share_unclassified,
            "share_assumed": found.share_assumed,
            "assumed_sigma_km2": found.assumed_sigma_km2,
            "debris_km2": found.debris_km2,
            "growth_km2": found.growth_km2,
            "thresholds": debris.thresholds.text,
            "source_ids": sorted({*reference.row["source_ids"], *(o.source_id for o in used)}),
            "is_synthetic": reference.row["is_synthetic"] or any(o.is_synthetic for o in used),
        }

    def _classified(self, held: list[SourceObject]) -> tuple[list[landsat.Scene], Any, Any]:
        first = landsat.read(self._archive.file(held[0]))
        scenes = [first, *(landsat.read(self._archive.file(o), like=first) for o in held[1:])]
        ice, valid = clean_ice.vote([clean_ice.classify(s.bands, s.qa, self._thresholds) for s in scenes])
        return scenes, ice, valid

    def _beside_of(self, reference: Reference) -> "list[BaseGeometry]":
        """Outlines of the neighbours, the same for all inventories."""
        key = reference.row["glacier_id"]
        if key not in self._beside:
            bounds = reference.geometry.buffer(0.02).bounds
            beside = rgi7.read_neighbours(self._archive.file(reference.held), bounds, reference.row["member_ids"])
            self._beside[key] = list(beside.geometry)
        return self._beside[key]

    def _debris_of(self, reference: Reference) -> Debris:
        """Debris-covered parts, the same for all inventories: of the newest set of scenes not younger than RGI7's."""
        key = reference.row["glacier_id"]
        if key not in self._debris:
            date = str(reference.row["image_date"] or "")
            sets = [
                own
                for (glacier_id, _), own in self._chosen.items()
                if glacier_id == key and all(str(o.content["date"]) <= date for o in own)
            ]
            newest_set = max(sets, key=lambda own: max(str(o.content["date"]) for o in own), default=[])
            self._debris[key] = self._debris_on(newest_set, reference)
        return self._debris[key]

    def _debris_on(self, held: list[SourceObject], reference: Reference) -> Debris:
        """Debris-covered parts on these scenes. Elevations are read where there is something that may be steep."""
        if not held:
            return Debris(None, [], self._thresholds, ["debris_unknown"])
        scenes, ice, valid = self._classified(held)
        first = scenes[0]

        def parts(slope_deg: "NDArray[np.float32] | None") -> "BaseGeometry | None":
            looks = clean_ice.looks_like_debris(first.bands, self._thresholds, slope_deg)
            return clean_ice.debris_parts(
                ice, valid, looks, first.transform, first.crs, reference.geometry, self._thresholds
            )

        found = parts(None)
        if found is None:
            return Debris(None, held, self._thresholds, [])
        heights = self._dem.get(reference.row["glacier_id"])
        if heights is None:
            return Debris(found, held, replace(self._thresholds, debris_slope_deg=None), ["debris_slope_unknown"])
        return Debris(parts(self._slope_deg(heights, first)), [*held, heights], self._thresholds, [])

    def _slope_deg(self, held: SourceObject, like: landsat.Scene) -> "NDArray[np.float32]":
        """Slope on a scene's grid, degrees, of the elevations as they are; NaN where there are none."""
        from rasterio.warp import Resampling, reproject

        heights, crs, transform = dem.read(self._archive.file(held))
        slope = np.full(like.qa.shape, np.nan, np.float32)
        reproject(
            np.degrees(sia.slope(heights, abs(transform.a), smooth_m=0)).astype(np.float32),
            slope,
            src_transform=transform,
            src_crs=crs,
            dst_transform=like.transform,
            dst_crs=like.crs,
            src_nodata=np.nan,
            dst_nodata=np.nan,
            resampling=Resampling.bilinear,
        )
        return slope
