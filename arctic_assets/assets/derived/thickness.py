"""derived/thickness and derived/volume."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import dagster as dg
import numpy as np
import pandas as pd
from pydantic import Field

from arctic_assets.assets.centrelines import MARINE
from arctic_assets.assets.members import outline_files, outlines_of
from arctic_assets.assets.wiring import Made, RawStore, gap_reasons, table_asset
from arctic_assets.partitions import Partitions, scope
from arctic_assets.provenance import SourceObject
from arctic_assets.science import common_grid, sia, thickness_mean
from arctic_assets.science import thickness as science
from arctic_assets.sources import dem, farinotti, itslive, millan
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Area, Outline, Thickness, Volume

if TYPE_CHECKING:
    from affine import Affine
    from numpy.typing import NDArray
    from rasterio.crs import CRS
    from shapely.geometry.base import BaseGeometry

Raster = tuple["NDArray[np.float32]", float, "CRS", "Affine"]
"""As the readers of `farinotti` and `millan` give it: thickness in m, area of a cell in m2, CRS, transform."""
CONSENSUS, MILLAN, MEAN, SIA = "farinotti2019", "millan2022", "mean", "sia_check"
ORIGINS = {CONSENSUS: "published", MILLAN: "published", MEAN: "derived", SIA: "sia_check"}
LEAST_SIA_COVERAGE = 0.02
"""Share of the outline with a speed from which on the shallow-ice check says something: it is made along the line."""

STANDARD = sia.SiaParameters()


class ShallowIceConfig(dg.Config):
    """Constants of the shallow-ice check; those of a row are recorded in it."""

    n: float = Field(default=STANDARD.n, ge=1, description="exponent of Glen's law; `a` belongs to it")
    a: float = Field(default=STANDARD.a, gt=0, description="creep parameter, Pa^-n s-1; the default is temperate ice")
    density_kg_m3: float = Field(default=STANDARD.density_kg_m3, ge=850, le=920, description="density of the ice")
    beta: float = Field(default=STANDARD.beta, ge=0, lt=1, description="sliding over surface speed, termini on land")
    beta_marine: float = Field(
        default=STANDARD.beta_marine, ge=0, lt=1, description="the same of glaciers that end in the sea; assumed"
    )
    min_slope_deg: float = Field(default=STANDARD.min_slope_deg, gt=0, lt=45, description="least slope, degrees")
    max_thickness_m: float = Field(default=STANDARD.max_thickness_m, gt=0, le=1700, description="largest thickness, m")
    smooth_m: float = Field(default=STANDARD.smooth_m, ge=0, description="width of the smoothing of elevations, m")
    a_relative_sigma: float = Field(
        default=STANDARD.a_relative_sigma, ge=0, description="relative standard deviation of `a`; assumed"
    )
    beta_sigma: float = Field(default=STANDARD.beta_sigma, ge=0, description="standard deviation of beta; assumed")
    slope_sigma_deg: float = Field(
        default=STANDARD.slope_sigma_deg, ge=0, description="standard deviation of the slope, degrees; assumed"
    )

    @property
    def parameters(self) -> sia.SiaParameters:
        """As the inversion takes them."""
        return sia.SiaParameters(**{name: getattr(self, name) for name in type(self).model_fields})


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets."""
    reference = "rgi7"

    @table_asset(
        Thickness,
        partitions,
        deps=[
            *("raw/farinotti", "raw/millan", "raw/dem", "derived/outline", "derived/area"),
            dg.AssetDep(["raw", "itslive"], partition_mapping=dg.MultiToSingleDimensionPartitionMapping("glacier")),
        ],
        code_version="5",
        kinds={"rasterio"},
    )
    def thickness(
        context: dg.AssetExecutionContext, config: ShallowIceConfig, store: RawStore, warehouse: Warehouse
    ) -> Made:
        """Ice thickness of each glacier, one row per product. *farinotti2019*: the consensus estimate on its native
        grid and ice mask; RGI 6 rasters that lie partly in the glacier count with their share. *millan2022*: inside
        the outline, on a 50 m grid in the glacier's UTM zone. *mean* of the two where both have ice, with their
        spread. *sia_check*: the shallow-ice inversion of ITS_LIVE speed and Copernicus slope around the centreline,
        an independent figure that never enters the mean; its constants stand in the row. How much of the motion is
        sliding, and how uncertain the constants are, is assumed.
        """
        keys = list(context.partition_keys)
        asked = pd.DataFrame({"glacier_id": keys, "inventory": reference})
        outlines = warehouse.rows(Outline, asked).merge(
            warehouse.rows(Area, asked)[["glacier_id", "area_km2"]], on="glacier_id"
        )
        products = _Products(store.archive, partitions)
        upstream = {
            name: gap_reasons(warehouse, name) for name in ("raw/farinotti", "raw/millan", "raw/dem", "derived/area")
        }
        rows: list[dict[str, Any]] = []
        gaps: dict[str, str] = {}
        for outline in outlines.to_dict("records"):
            key = str(outline["glacier_id"])
            found = {row["product"]: row for row in products.rows(outline)}
            told = {CONSENSUS: upstream["raw/farinotti"].get(key), MILLAN: upstream["raw/millan"].get(key)}
            check = products.shallow_ice(outline, config.parameters)
            if isinstance(check, str):
                told[SIA] = upstream["raw/dem"].get(key, check)
            else:
                found[SIA] = check
            rows += found.values()
            if lacking := _lacking(found, told):
                gaps[key] = lacking
        for key in set(keys) - set(outlines["glacier_id"]):
            gaps[key] = upstream["derived/area"].get(f"{key}|{reference}", "derived/area is not materialised")
        return Made(pd.DataFrame(rows) if rows else Thickness.no_rows(), gaps)

    @table_asset(Volume, partitions, deps=["derived/thickness", "derived/area"], code_version="1", kinds={"pandas"})
    def volume(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Made:
        """The thickness is that of a product, the area that of an outline. The uncertainty comes from both."""
        wanted = scope(context.partition_keys)
        areas = warehouse.rows(Area, wanted[["glacier_id", "inventory"]])
        thick = warehouse.rows(Thickness, wanted[["glacier_id"]]).query("product != @SIA")
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


class _Products:
    """All thickness products of one glacier after the other."""

    def __init__(self, archive: Archive, partitions: Partitions) -> None:
        self._archive = archive
        self._registry = partitions.registry
        self._consensus = {str(o.content["rgi6_id"]): o for o in archive.objects(farinotti.PRODUCT.provider)}
        self._windows: dict[tuple[str, str], list[SourceObject]] = {}
        for held in archive.objects(millan.PRODUCT.provider):
            if "glacier_id" in held.content:
                key = (str(held.content["glacier_id"]), str(held.content["kind"]))
                self._windows.setdefault(key, []).append(held)
        self._dem = {str(o.content["glacier_id"]): o for o in archive.objects(dem.PRODUCT.provider)}
        self._speed = {o.path: o for o in archive.objects(itslive.PRODUCT.provider)}

    def rows(self, outline: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Rows of the published products that there are."""
        key = str(outline["glacier_id"])
        ids = outline["rgi6_ids"]
        consensus = [self._consensus[i] for i in ids] if ids and all(i in self._consensus for i in ids) else []
        windows = self._windows.get((key, "thickness"), [])
        errors = self._windows.get((key, "err"), [])
        rasters = [farinotti.read(self._archive.file(o)) for o in consensus]
        if consensus and (row := self._native_consensus(outline, consensus, rasters)):
            yield row
        if windows:
            second, mean = self._gridded(outline, rasters, windows, errors)
            if second is not None:
                yield self._row(outline, thickness_mean.table_fields(MILLAN, second), [*windows, *errors])
            if mean is not None:
                fields = {
                    **thickness_mean.table_fields(MEAN, mean),
                    "spread_m": mean.spread_m,
                    "thickness_sigma_low_m": mean.sigma_independent_m,
                    "thickness_sigma_high_m": mean.sigma_correlated_m,
                }
                yield self._row(outline, fields, [*consensus, *windows, *errors])

    def _row(self, outline: dict[str, Any], fields: dict[str, Any], used: list[SourceObject]) -> dict[str, Any]:
        """A table row: `fields` with glacier, rasters, record's bands and sources."""
        band = science.thickness_error(fields["thickness_m"])
        return {
            "glacier_id": outline["glacier_id"],
            "rgi6_ids": list(outline["rgi6_ids"]) if fields["product"] in (CONSENSUS, MEAN) else [],
            "origin": ORIGINS[fields["product"]],
            "n_products": 2 if fields["product"] == MEAN else 1,
            "record_relative_sigma": band.relative,
            "record_is_lower_bound": band.lower_bound,
            **fields,
            "source_ids": sorted({*outline["source_ids"], *(o.source_id for o in used)}),
            "is_synthetic": bool(outline["is_synthetic"]) or any(o.is_synthetic for o in used),
        }

    def _native_consensus(
        self, outline: dict[str, Any], used: list[SourceObject], rasters: Sequence[Raster]
    ) -> dict[str, Any] | None:
        parts = []
        for (values, cell_area_m2, _, _), share in zip(rasters, outline["rgi6_weights"], strict=True):
            stats = science.thickness_statistics(values, cell_area_m2, outline["area_km2"])
            if stats:
                parts.append((stats, share))
        whole = science.combine_rasters(parts, outline["area_km2"]) if parts else None
        if whole is None:
            return None
        mass = science.volume_to_mass_gt(whole.volume_km3)
        relative = science.thickness_error(whole.thickness_m).relative
        fields = {
            "product": CONSENSUS,
            **whole._asdict(),
            "thickness_sigma_m": science.thickness_sigma_m(whole.thickness_m),
            "volume_sigma_km3": whole.volume_km3 * relative,
            "mass_gt": mass,
            "sea_level_mm": science.sea_level_mm(mass),
            "density_kg_m3": science.ICE_DENSITY_KG_M3,
            "sigma_kind": "record_bands",
        }
        return self._row(outline, fields, used)

    def _gridded(
        self,
        outline: dict[str, Any],
        consensus: Sequence[Raster],
        windows: list[SourceObject],
        errors: list[SourceObject],
    ) -> tuple[thickness_mean.ProductThickness | None, thickness_mean.MeanThickness | None]:
        """Millan's product inside the outline, and the mean of both, member by member on 50 m grids."""
        import shapely

        from arctic_assets.science.geometry import geodesic_area_km2

        epsg = self._registry[outline["glacier_id"]].utm_epsg
        tiles = [common_grid.Tile.of(h, t, c, epsg) for h, _, c, t in consensus]  # most are in several members' boxes
        within = shapely.STRtree([tile.box for tile in tiles])
        seconds, means = [], []
        with ExitStack() as stack:
            thick, wrong = (
                [stack.enter_context(millan.opened(self._archive.file(o))) for o in held] for held in (windows, errors)
            )
            for member in self._members(outline):
                grid = common_grid.common_grid(member.bounds, epsg)
                second = _on_grid((tile.read(member.bounds) for tile in thick), grid)
                if second is None:
                    continue
                sigma = _on_grid((tile.read(member.bounds) for tile in wrong), grid)
                sigma_m = None if sigma is None else sigma.ice_m
                inside, area = common_grid.outline_fraction(member, grid), geodesic_area_km2(member)
                own = thickness_mean.product_thickness(second, inside, grid.cell_area_m2, area, sigma_m)
                if own is not None:
                    seconds.append(own)
                near = sorted(within.query(common_grid.projected_outline(member, epsg), predicate="intersects"))
                if near:
                    first = common_grid.mosaic([tiles[i].on(grid) for i in near], grid)
                    both = thickness_mean.mean_thickness(
                        first, second, inside, grid.cell_area_m2, area, second_sigma_m=sigma_m
                    )
                    if both is not None:
                        means.append(both)
        area = outline["area_km2"]
        return thickness_mean.join_products(seconds, area), thickness_mean.join_means(means, area)

    def _members(self, outline: dict[str, Any]) -> "list[BaseGeometry]":
        """The outlines that a group is made of: its common grid would be larger than memory."""
        import shapely

        if outline["n_members"] == 1:
            return [shapely.from_wkb(outline["geometry"])]
        held = outline_files(self._archive)[self._registry[outline["glacier_id"]].o1region]
        return list(outlines_of(self._archive, held, outline["member_ids"]).geometry)

    def shallow_ice(self, outline: dict[str, Any], parameters: sia.SiaParameters) -> dict[str, Any] | str:
        """The shallow-ice inversion on the grid of the elevations, where the climatology has a speed; or why not.

        Cells of the outline at 0 m are sea, or a tile that is not there: nothing is known of ice in them.
        """
        import shapely
        from rasterio.warp import Resampling, reproject

        key = str(outline["glacier_id"])
        held_dem = self._dem.get(key)
        held_speed = self._speed.get(itslive.window_path(key, itslive.CLIMATOLOGY))
        if held_dem is None:
            return "raw/dem is not materialised"
        if held_speed is None:
            return "no multi-year mean speed of ITS_LIVE is archived"
        heights, crs, transform = dem.read(self._archive.file(held_dem))
        window = itslive.read(self._archive.file(held_speed))
        cell_m = abs(transform.a)
        grid = common_grid.Grid(crs.to_epsg(), cell_m, transform.c, transform.f, heights.shape)
        warped = []
        for band in (window.v, window.v_error):
            out = np.full(heights.shape, np.nan)
            reproject(
                band.astype(np.float64),
                out,
                src_transform=window.transform,
                src_crs=window.crs,
                dst_transform=transform,
                dst_crs=crs,
                src_nodata=np.nan,
                dst_nodata=np.nan,
                resampling=Resampling.bilinear,
            )
            warped.append(out)
        speed, error = warped
        weight = common_grid.outline_fraction(shapely.from_wkb(outline["geometry"]), grid)
        slope = sia.slope(np.where((weight > 0) & (heights == 0), np.nan, heights), cell_m, parameters.smooth_m)
        marine = self._is_marine(outline, grid)
        thick = sia.sia_thickness(speed, slope, parameters, speed_sigma_m_yr=error, is_marine=marine)
        known = np.isfinite(thick) & (weight > 0) & (thick > 0)
        area = float(weight[known].sum()) * cell_m**2 / 1e6
        coverage = area / outline["area_km2"]
        if coverage < LEAST_SIA_COVERAGE:
            return f"speed and slope are known of {coverage:.1%} of the outline, {LEAST_SIA_COVERAGE:.0%} are needed"
        mean = float(np.average(thick[known], weights=weight[known]))
        wrong = sia.sia_error(thick, speed, error, slope, parameters, marine)
        sigma = float(np.average(wrong[known], weights=weight[known]))
        volume = mean * area / 1000
        mass = science.volume_to_mass_gt(volume, parameters.density_kg_m3)
        fields = {
            "product": SIA,
            "thickness_m": mean,
            "thickness_sigma_m": sigma,
            "thickness_max_m": float(thick[known].max()),
            "ice_area_km2": area,
            "coverage_fraction": coverage,
            "volume_km3": volume,
            "volume_sigma_km3": sigma * area / 1000,
            "mass_gt": mass,
            "sea_level_mm": science.sea_level_mm(mass),
            "density_kg_m3": parameters.density_kg_m3,
            "sigma_kind": "first_order",
            "parameters": f"{parameters.text}, marine_share={np.average(marine[known], weights=weight[known]):.3g}",
        }
        return self._row(outline, fields, [held_dem, held_speed])

    def _is_marine(self, outline: dict[str, Any], grid: common_grid.Grid) -> "NDArray[np.bool_]":
        """Cells of members that RGI 7 says end in the sea."""
        from rasterio.features import rasterize

        held = outline_files(self._archive).get(self._registry[outline["glacier_id"]].o1region)
        if held is None or not len(outline["member_ids"]):
            return np.zeros(grid.shape, bool)
        members = outlines_of(self._archive, held, outline["member_ids"])
        shapes = [common_grid.projected_outline(m, grid.epsg) for m in members[members["term_type"] == MARINE].geometry]
        if not shapes:
            return np.zeros(grid.shape, bool)
        return rasterize(shapes, grid.shape, transform=grid.transform, all_touched=True, dtype="uint8").astype(bool)


def _lacking(found: Collection[str], told: Mapping[str, str | None]) -> str:
    """Which products are missing and why, also where another one makes a row."""
    reasons = [f"no {name}: {reason or 'not materialised'}" for name, reason in told.items() if name not in found]
    if MILLAN in found and (reason := told[MILLAN]):
        reasons.append(f"{MILLAN} may lack a part: {reason}")
    if {CONSENSUS, MILLAN} <= set(found) and MEAN not in found:
        reasons.append(f"no {MEAN}: the two products have no ice in common")
    return "; ".join(reasons)


def _on_grid(rasters: Iterable[Raster], grid: common_grid.Grid) -> common_grid.GridThickness | None:
    """One product from its rasters; None when none of them has cells here."""
    parts = [common_grid.to_grid(h, transform, crs, grid) for h, _, crs, transform in rasters if h.size]
    return common_grid.mosaic(parts, grid) if parts else None


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
