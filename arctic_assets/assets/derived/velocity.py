"""derived/velocity."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import dagster as dg
import numpy as np
import pandas as pd

from arctic_assets.assets.centrelines import centrelines_of
from arctic_assets.assets.wiring import Made, RawStore, gap_reasons, table_asset
from arctic_assets.partitions import Partitions, scope
from arctic_assets.provenance import SourceObject
from arctic_assets.science import velocity as science
from arctic_assets.sources import itslive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Velocity

if TYPE_CHECKING:
    from shapely import LineString


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""

    @table_asset(Velocity, partitions, deps=["raw/itslive"], code_version="1", kinds={"rasterio"})
    def velocity(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> Made:
        """Mean surface speed along the RGI 7 main centreline, sampled every 120 m and weighted by geodesic length,
        with a fully correlated and an independent uncertainty, the share of the line that was measured and the median
        number of image pairs. Beside it a series that does not change with which part was measured. A group of
        glaciers has the length-weighted mean of its marine outlets, with their number. Years in which less than half
        of the line was measured are gaps; nothing is filled.
        """
        wanted = scope(context.partition_keys)
        glaciers = [partitions.registry[key] for key in dict.fromkeys(wanted["glacier_id"])]
        lines, reasons, line_sources = centrelines_of(store.archive, glaciers)
        held = {o.path: o for o in store.archive.objects(itslive.PRODUCT.provider)}
        upstream = gap_reasons(warehouse, "raw/itslive")
        frames: list[pd.DataFrame] = []
        gaps: dict[str, str] = {}
        for glacier in glaciers:
            key = glacier.glacier_id
            own = wanted[wanted["glacier_id"] == key]
            years = {int(y): held[path] for y in own["year"] if (path := itslive.window_path(key, int(y))) in held}
            climatology = held.get(itslive.window_path(key, itslive.CLIMATOLOGY))
            series = _series(store, lines.get(key, []), years, climatology) if years and key in lines else None
            measured = set() if series is None else set(series["year"])
            coverage = {} if series is None else series.attrs["coverage"]
            for row in own.itertuples():
                if row.year in measured:
                    continue
                gaps[str(row.partition)] = (
                    reasons.get(key)
                    or (science.gap_reason(coverage[row.year]) if row.year in coverage else None)
                    or upstream.get(str(row.partition), "raw/itslive is not materialised")
                )
            if series is not None and len(series):
                extra = [climatology] if climatology else []
                frames.append(
                    series.assign(
                        glacier_id=key,
                        region=itslive.region_code(glacier.o1region, glacier.latitude),
                        mosaic_version=[str(years[y].version) for y in series["year"]],
                        source_ids=[
                            sorted({*line_sources[key], *(o.source_id for o in [years[y], *extra])})
                            for y in series["year"]
                        ],
                        is_synthetic=[years[y].is_synthetic for y in series["year"]],
                    )
                )
        return Made(pd.concat(frames, ignore_index=True) if frames else Velocity.no_rows(), gaps)

    return [velocity]


def _series(
    store: RawStore, lines: "list[LineString]", years: Mapping[int, SourceObject], climatology: SourceObject | None
) -> pd.DataFrame:
    """Rows per measured year; `attrs['coverage']` has the share of the line for all years.

    Each window is opened once, for the points of all lines together.
    """
    points = [science.sample_points(line) for line in lines]
    lon, lat = (np.concatenate([getattr(p, axis) for p in points]) for axis in ("lon", "lat"))
    files = [*(o for _, o in sorted(years.items())), *([climatology] if climatology else [])]
    found = [itslive.read_points(store.archive.file(o), lon, lat) for o in files]
    v, v_error, count = (np.stack([getattr(s, band) for s in found]) for band in ("v", "v_error", "count"))
    v = np.where(np.isfinite(v_error), v, np.nan)
    n = len(years)
    outlets: list[pd.DataFrame] = []
    ends = np.cumsum([len(p.lon) for p in points])
    for line, end in zip(points, ends, strict=True):
        own = slice(end - len(line.lon), end)
        mean = science.line_mean(v[:n, own], v_error[:n, own], count[:n, own], line.weights_m)
        outlets.append(
            pd.DataFrame(
                {
                    "year": sorted(years),
                    "speed_m_yr": mean.speed_m_yr,
                    "speed_sigma_m_yr": mean.sigma_correlated_m_yr,
                    "speed_sigma_independent_m_yr": mean.sigma_independent_m_yr,
                    # without the climatology it would depend on which years a run was asked for
                    "speed_homogenised_m_yr": science.homogenised(v[:n, own], line.weights_m, v[n, own])
                    if climatology
                    else np.nan,
                    "count_median": mean.count_median,
                    "length_km": line.weights_m.sum() / 1000,
                    "sampled_length_km": mean.sampled_length_km,
                }
            )
        )
    rows = pd.concat(outlets, ignore_index=True)
    whole = science.length_weighted(rows)
    sums = rows.groupby("year")[["sampled_length_km", "length_km"]].sum()
    whole.attrs["coverage"] = (sums["sampled_length_km"] / sums["length_km"]).to_dict()
    return whole
