"""Ice thickness, volume, mass and sea-level equivalent of a glacier from thickness rasters.

Here: what follows from arrays of thickness on their native grid, and the error bands of the record.
Not here: reading and cutting rasters (`sources`), thickness from velocity, volumes per inventory date.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from arctic_assets.errors import SourceError

#: Density of glacier ice, kg m-3 (OGGM `ice_density`); 917 is pure ice.
ICE_DENSITY_KG_M3 = 900.0
#: Gt of water that raise the ocean (3.618e8 km2) by 1 mm.
OCEAN_GT_PER_MM = 361.8
#: Bedmap3 finds at most 4757 m in Antarctica: more is a fill value or a wrong unit.
_THICKEST_ICE_M = 5000.0


class ThicknessStats(NamedTuple):
    """Thickness of one glacier in one product.

    Attributes:
        thickness_m: mean over the product's own ice mask (thickness > 0), weighted by cell area.
        thickness_max_m: largest cell.
        volume_km3: sum of thickness times cell area.
        ice_area_km2: area of the ice mask.
        coverage_fraction: ice area / outline area; above 1 where the product's outline was larger.
    """

    thickness_m: float
    thickness_max_m: float
    volume_km3: float
    ice_area_km2: float
    coverage_fraction: float


class ErrorBand(NamedTuple):
    """Relative error of a mean thickness; `lower_bound` says that the true error is larger than `relative`.

    `relative_high` is None where the record gives no upper end.
    """

    relative: float
    relative_low: float
    relative_high: float | None
    lower_bound: bool


def thickness_statistics(
    thickness_m: ArrayLike, cell_area_m2: ArrayLike, outline_area_km2: float
) -> ThicknessStats | None:
    """Mean, maximum and volume of a thickness raster on its native grid: V = sum(max(h, 0) * dx²).

    Args:
        thickness_m: thickness, m, any shape; 0, negative and NaN (or masked) cells hold no ice.
        cell_area_m2: area of a cell, m², one number or an array of the raster's shape.
        outline_area_km2: area of the glacier's outline, km².

    Returns:
        The statistics, or None where no cell holds ice: the product does not cover the glacier.

    Raises:
        SourceError: a thickness above 5000 m (fill value or wrong unit), cells without area, or no outline area.
    """
    thickness = np.ma.filled(np.ma.asanyarray(thickness_m, dtype=np.float64), np.nan)
    area = np.broadcast_to(np.asarray(cell_area_m2, dtype=np.float64), thickness.shape)
    _check_outline_area(outline_area_km2)
    ice = thickness > 0
    if not ice.any():
        return None
    ice_m, ice_m2 = thickness[ice], area[ice]
    deepest = float(ice_m.max())
    if deepest > _THICKEST_ICE_M:
        raise SourceError(
            "A thickness raster holds ice thicker than any on Earth.",
            expected=f"metres, at most {_THICKEST_ICE_M:.0f}",
            got=f"{deepest:g} in {int((ice_m > _THICKEST_ICE_M).sum())} cells",
            todo="mask the product's fill value, or convert its unit to metres",
        )
    if not (np.isfinite(ice_m2) & (ice_m2 > 0)).all():
        raise SourceError(
            "A thickness raster has ice in cells without area.",
            expected="a positive cell area in m2",
            got=f"{ice_m2.min():g} .. {ice_m2.max():g} m2",
            todo="take the cell area from the raster's transform, |a * e|",
        )
    volume_km3 = float((ice_m * ice_m2).sum()) / 1e9
    return _statistics(volume_km3, float(ice_m2.sum()) / 1e6, deepest, outline_area_km2)


def combine_rasters(parts: Sequence[tuple[ThicknessStats, float]], outline_area_km2: float) -> ThicknessStats | None:
    """Thickness of a glacier that several RGI 6 rasters make up, each with a share.

    Volumes and ice areas are added with their shares, the mean is their quotient. The maximum is that of the rasters of
    which at least half lies in the glacier: the deepest cell of the others more likely lies in a neighbour. Where there
    is none such, it is that of the raster with the largest share.

    Args:
        parts: statistics of each raster, and the share (0..1) of that RGI 6 glacier that lies in this one.
        outline_area_km2: area of the glacier's outline, km².

    Returns:
        The statistics, or None where no raster has a share.

    Raises:
        SourceError: a share outside 0..1, or no outline area.
    """
    _check_outline_area(outline_area_km2)
    for position, (_, share) in enumerate(parts):
        if not 0 <= share <= 1:
            raise SourceError(
                "A raster's share in a glacier is not a fraction.",
                where=f"raster {position}",
                expected="0..1",
                got=share,
                todo="divide the overlap by the area of the RGI 6 glacier",
            )
    used = [(stats, share) for stats, share in parts if share > 0]
    if not used:
        return None
    volume_km3 = sum(stats.volume_km3 * share for stats, share in used)
    ice_area_km2 = sum(stats.ice_area_km2 * share for stats, share in used)
    least = min(0.5, max(share for _, share in used))
    deepest = max(stats.thickness_max_m for stats, share in used if share >= least)
    return _statistics(volume_km3, ice_area_km2, deepest, outline_area_km2)


def thickness_error(thickness_m: float) -> ErrorBand:
    """Relative error of a mean thickness in the bands of the record.

    Above 100 m 25 to 35 %, taken as 30 %; up to 100 m (100 itself included) more than 50 %, taken as 50 % and marked
    as a lower bound.

    Args:
        thickness_m: mean thickness, m.
    """
    return ErrorBand(0.30, 0.25, 0.35, False) if thickness_m > 100 else ErrorBand(0.50, 0.50, None, True)


def thickness_sigma_m(thickness_m: float) -> float:
    """Standard deviation of a mean thickness, m, from `thickness_error`."""
    return thickness_error(thickness_m).relative * thickness_m


def volume_sigma_km3(thickness_m: float, thickness_sigma_m: float, area_km2: float, area_sigma_km2: float) -> float:
    """Standard deviation of a volume V = H A, km³: sigma_V² = (A sigma_H)² + (H sigma_A)².

    Args:
        thickness_m: mean thickness H, m.
        thickness_sigma_m: its standard deviation, m.
        area_km2: area A, km².
        area_sigma_km2: its standard deviation, km².
    """
    return float(np.hypot(area_km2 * thickness_sigma_m, thickness_m * area_sigma_km2)) / 1000.0


def volume_to_mass_gt(volume_km3: float, density_kg_m3: float = ICE_DENSITY_KG_M3) -> float:
    """Mass of a volume of ice, Gt.

    Args:
        volume_km3: volume, km³.
        density_kg_m3: density of the ice, kg m-3; state it with the number (900 or 917).
    """
    return volume_km3 * density_kg_m3 / 1000.0


def sea_level_mm(mass_gt: float) -> float:
    """Rise of the ocean if the mass melted into it, mm: 361.8 Gt each. Ice below sea level is not taken off."""
    return mass_gt / OCEAN_GT_PER_MM


def _statistics(
    volume_km3: float, ice_area_km2: float, thickness_max_m: float, outline_area_km2: float
) -> ThicknessStats:
    return ThicknessStats(
        thickness_m=1000.0 * volume_km3 / ice_area_km2,
        thickness_max_m=thickness_max_m,
        volume_km3=volume_km3,
        ice_area_km2=ice_area_km2,
        coverage_fraction=ice_area_km2 / outline_area_km2,
    )


def _check_outline_area(outline_area_km2: float) -> None:
    if not outline_area_km2 > 0:
        raise SourceError(
            "A glacier without area has no thickness.",
            expected="an outline area above 0 km2",
            got=outline_area_km2,
            todo="check the outline",
        )
