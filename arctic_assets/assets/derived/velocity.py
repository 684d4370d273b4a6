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

    @table_asset(Velocity, partitions, deps=["raw/itslive"], code_version="2", kinds={"rasterio"})
    def velocity(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> Made:
        """Mean surface speed along the RGI 7 main centreline, sampled every 120 m and weighted by geodesic length,
        with a fully correlated and an independent uncertainty, the share of the line that was measured and the median
        number of image pairs. Beside it a series that does not change with which part was measured, with an
        uncertainty of its own. The line of a group of glaciers is made of those of its marine outlets, of which at
        least half was measured, and their number is given. Years in which less than half of the line, of a group those
        of all outlets together, was measured are gaps; nothing is filled.
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
                    or (science.gap_reason(coverage[row.year], len(lines[key]) > 1) if row.year in coverage else None)
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
    pieces = [science.sample_points(line) for line in lines]
    lon, lat, weights_m = (np.concatenate(axis) for axis in zip(*pieces, strict=True))
    outlet = np.repeat(np.arange(len(pieces)), [len(p.lon) for p in pieces])
    found = [itslive.read_points(store.archive.file(o), lon, lat) for _, o in sorted(years.items())]
    v, v_error, count = (np.stack([getattr(s, band) for s in found]) for band in ("v", "v_error", "count"))
    measured = science.outlets_measured(np.isfinite(v) & np.isfinite(v_error), weights_m, outlet)
    if len(pieces) > 1:
        v = np.where(measured[:, outlet], v, np.nan)
    mean = science.line_mean(v, v_error, count, weights_m)
    rows = pd.DataFrame(
        {
            "year": sorted(years),
            "speed_m_yr": mean.speed_m_yr,
            "speed_sigma_m_yr": mean.sigma_correlated_m_yr,
            "speed_sigma_independent_m_yr": mean.sigma_independent_m_yr,
            # without the climatology it would depend on which years a run was asked for
            "speed_homogenised_m_yr": np.nan,
            "speed_homogenised_sigma_m_yr": np.nan,
            "coverage_fraction": mean.coverage_fraction,
            "count_median": mean.count_median,
            "below_noise": mean.below_noise,
            "n_outlets": measured.sum(axis=1),
            "length_km": weights_m.sum() / 1000,
            "sampled_length_km": mean.sampled_length_km,
        }
    )
    if climatology:
        long_term = itslive.read_points(store.archive.file(climatology), lon, lat)
        steady = science.homogenised(v, v_error, weights_m, long_term.v, long_term.v_error)
        rows["speed_homogenised_m_yr"], rows["speed_homogenised_sigma_m_yr"] = steady
    whole = rows[~mean.low_coverage].reset_index(drop=True)
    whole.attrs["coverage"] = dict(zip(rows["year"], rows["coverage_fraction"], strict=True))
    return whole
