"""Two thickness products of one glacier on a common grid: each of them inside the outline, and their mean.

Here: the mean, its uncertainty, coverage, and the fields of the table `thickness`. Not here: reading rasters
(`sources`), the grid (`common_grid`), volumes on native grids and the record's error bands (`thickness`).

The mean is taken only where both products have ice (one product alone is that product's own row). In a cell

    H = (h1 + h2) / 2,   d = |h1 - h2|
    sigma_prod = 0.5 sqrt(s1^2 + s2^2 + 2 r s1 s2)
    sigma = max(sigma_prod, d / 2)

with the thickness of the ice h and its standard deviation s. The products share outlines and elevations, so their
errors go together: r = 0.5, with r = 0 and r = 1 as bounds. The larger of sigma_prod and d / 2 is taken, not their
sum: both describe one error. A cell counts with the share of it that the outline and both products have. Where their
margins were drawn on different grids, a glacier of a few km2 so loses one or two per cent of its area.

Over a glacier errors are taken as fully correlated: the sigma of the mean is the area-weighted mean of sigma, the
upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from arctic_assets.errors import SourceError
from arctic_assets.science.common_grid import GridThickness
from arctic_assets.science.thickness import (
    ICE_DENSITY_KG_M3,
    ErrorBand,
    sea_level_mm,
    thickness_error,
    volume_to_mass_gt,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

MILLAN, MEAN = "millan2022", "mean"
"""Names of the products in the table."""
ERROR_CORRELATION = 0.5


class ProductThickness(NamedTuple):
    """Thickness of one product inside the outline of a glacier.

    Attributes:
        thickness_m: mean over the ice.
        thickness_sigma_m: its standard deviation, errors fully correlated.
        thickness_max_m: thickest cell.
        ice_area_km2: area inside the outline where the product has ice.
        coverage_fraction: that over the outline's area.
        volume_km3: of the ice inside the outline.
        sigma_kind: `product` (the product's own errors) or `record_bands`.
    """

    thickness_m: float
    thickness_sigma_m: float
    thickness_max_m: float
    ice_area_km2: float
    coverage_fraction: float
    volume_km3: float
    sigma_kind: str


class MeanThickness(NamedTuple):
    """Mean of two products inside the outline, where both have ice.

    Attributes:
        thickness_m: mean.
        thickness_sigma_m: area-weighted mean of max(sigma_prod, d / 2) with r = 0.5.
        sigma_independent_m: the same with r = 0, the lower bound.
        sigma_correlated_m: the same with r = 1, the upper bound.
        spread_m: area-weighted mean of |h1 - h2|.
        difference_m: area-weighted mean of h1 - h2.
        thickness_max_m: thickest cell of the mean.
        ice_area_km2: area where both have ice.
        coverage_fraction: that over the outline's area.
        volume_km3: of the mean over that area only; gaps are not filled.
        band: the record's relative error of this mean thickness, to compare with.
    """

    thickness_m: float
    thickness_sigma_m: float
    sigma_independent_m: float
    sigma_correlated_m: float
    spread_m: float
    difference_m: float
    thickness_max_m: float
    ice_area_km2: float
    coverage_fraction: float
    volume_km3: float
    band: ErrorBand


class CellMean(NamedTuple):
    """Mean of two products cell by cell; all of the shape of the input, NaN where one of both is NaN."""

    thickness_m: NDArray[np.float64]
    difference_m: NDArray[np.float64]
    sigma_m: NDArray[np.float64]


def mean_of_two(
    h1_m: NDArray, h2_m: NDArray, s1_m: NDArray, s2_m: NDArray, correlation: float = ERROR_CORRELATION
) -> CellMean:
    """Mean, difference h1 - h2 and uncertainty of two estimates, cell by cell (formulas of the module).

    Args:
        h1_m, h2_m: thickness, m; NaN where there is none.
        s1_m, s2_m: standard deviations, m.
        correlation: of the two errors, -1..1.
    """
    if not -1 <= correlation <= 1:
        raise SourceError("a correlation is a number from -1 to 1", expected="-1..1", got=correlation)
    difference = h1_m - h2_m
    sigma_prod = 0.5 * np.sqrt(s1_m**2 + s2_m**2 + 2 * correlation * s1_m * s2_m)
    return CellMean((h1_m + h2_m) / 2, difference, np.maximum(sigma_prod, np.abs(difference) / 2))


def product_thickness(
    product: GridThickness,
    outline_fraction: NDArray,
    cell_area_m2: float,
    outline_area_km2: float,
    sigma_m: NDArray | None = None,
) -> ProductThickness | None:
    """One product inside an outline.

    Args:
        product: on the common grid.
        outline_fraction: share of each cell in the outline, 0..1, of the same shape.
        cell_area_m2: area of a cell.
        outline_area_km2: area of the outline.
        sigma_m: standard deviation that the product gives, m, NaN where it gives none (the record's bands fill in);
            never taken as larger than the thickness. None: the record's bands.

    Returns:
        The statistics, or None where the product has no ice in the outline.
    """
    weight = np.minimum(outline_fraction, product.ice_fraction)
    inside = weight > 0
    if not inside.any():
        return None
    weight, ice = weight[inside], product.ice_m[inside]
    thickness = float(np.average(ice, weights=weight))
    sigmas = _sigma(ice, None if sigma_m is None else sigma_m[inside], thickness_error(thickness).relative)
    given = sigma_m is not None and bool(np.isfinite(sigma_m[inside]).any())
    area_km2 = float(weight.sum()) * cell_area_m2 / 1e6
    return ProductThickness(
        thickness_m=thickness,
        thickness_sigma_m=float(np.average(sigmas, weights=weight)),
        thickness_max_m=float(ice.max()),
        ice_area_km2=area_km2,
        coverage_fraction=area_km2 / outline_area_km2,
        volume_km3=thickness * area_km2 / 1000,
        sigma_kind="product" if given else "record_bands",
    )


def mean_thickness(
    first: GridThickness,
    second: GridThickness,
    outline_fraction: NDArray,
    cell_area_m2: float,
    outline_area_km2: float,
    first_sigma_m: NDArray | None = None,
    second_sigma_m: NDArray | None = None,
) -> MeanThickness | None:
    """Mean of two products inside an outline, where both have ice.

    Args:
        first, second: the products on the common grid.
        outline_fraction: share of each cell in the outline, 0..1, of the same shape.
        cell_area_m2: area of a cell.
        outline_area_km2: area of the outline.
        first_sigma_m, second_sigma_m: as `sigma_m` of `product_thickness`.

    Returns:
        The mean, or None where the products nowhere meet in the outline.
    """
    weight = np.minimum(outline_fraction, np.minimum(first.ice_fraction, second.ice_fraction))
    both = weight > 0
    if not both.any():
        return None
    weight = weight[both]

    def over_area(values: NDArray) -> float:
        return float(np.average(values, weights=weight))

    def with_sigma(product: GridThickness, sigma: NDArray | None) -> tuple[NDArray, NDArray]:
        ice = product.ice_m[both]
        relative = thickness_error(over_area(ice)).relative
        return ice, _sigma(ice, None if sigma is None else sigma[both], relative)

    h1, s1 = with_sigma(first, first_sigma_m)
    h2, s2 = with_sigma(second, second_sigma_m)
    cells = mean_of_two(h1, h2, s1, s2)
    thickness, area_km2 = over_area(cells.thickness_m), float(weight.sum()) * cell_area_m2 / 1e6
    return MeanThickness(
        thickness_m=thickness,
        thickness_sigma_m=over_area(cells.sigma_m),
        sigma_independent_m=over_area(mean_of_two(h1, h2, s1, s2, correlation=0.0).sigma_m),
        sigma_correlated_m=over_area(mean_of_two(h1, h2, s1, s2, correlation=1.0).sigma_m),
        spread_m=over_area(np.abs(cells.difference_m)),
        difference_m=over_area(cells.difference_m),
        thickness_max_m=float(cells.thickness_m.max()),
        ice_area_km2=area_km2,
        coverage_fraction=area_km2 / outline_area_km2,
        volume_km3=thickness * area_km2 / 1000,
        band=thickness_error(thickness),
    )


def join_products(parts: Sequence[ProductThickness], outline_area_km2: float) -> ProductThickness | None:
    """One product of a glacier of several members, each taken on a grid of its own; None without any."""
    if not parts:
        return None
    area, mean = _joint(parts)
    kinds = {part.sigma_kind for part in parts}
    return ProductThickness(
        thickness_m=mean("thickness_m"),
        thickness_sigma_m=mean("thickness_sigma_m"),
        thickness_max_m=max(part.thickness_max_m for part in parts),
        ice_area_km2=area,
        coverage_fraction=area / outline_area_km2,
        volume_km3=sum(part.volume_km3 for part in parts),
        sigma_kind="product" if kinds == {"product"} else "record_bands",
    )


def join_means(parts: Sequence[MeanThickness], outline_area_km2: float) -> MeanThickness | None:
    """The mean of a glacier of several members, each taken on a grid of its own; None without any.

    Means and standard deviations are weighted by area: errors stay fully correlated from member to member.
    """
    if not parts:
        return None
    area, mean = _joint(parts)
    return MeanThickness(
        thickness_m=mean("thickness_m"),
        thickness_sigma_m=mean("thickness_sigma_m"),
        sigma_independent_m=mean("sigma_independent_m"),
        sigma_correlated_m=mean("sigma_correlated_m"),
        spread_m=mean("spread_m"),
        difference_m=mean("difference_m"),
        thickness_max_m=max(part.thickness_max_m for part in parts),
        ice_area_km2=area,
        coverage_fraction=area / outline_area_km2,
        volume_km3=sum(part.volume_km3 for part in parts),
        band=thickness_error(mean("thickness_m")),
    )


def table_fields(product: str, found: ProductThickness | MeanThickness) -> dict[str, Any]:
    """What `tables.Thickness` says of a product, but for the glacier, the RGI 6 rasters and the sources.

    The volume's uncertainty is that of the thickness over the ice area, which itself is taken as exact: the outline's
    uncertainty enters with the volume of an inventory.
    """
    mass = volume_to_mass_gt(found.volume_km3)
    return {
        "product": product,
        "thickness_m": found.thickness_m,
        "thickness_sigma_m": found.thickness_sigma_m,
        "thickness_max_m": found.thickness_max_m,
        "ice_area_km2": found.ice_area_km2,
        "coverage_fraction": found.coverage_fraction,
        "volume_km3": found.volume_km3,
        "volume_sigma_km3": found.ice_area_km2 * found.thickness_sigma_m / 1000,
        "mass_gt": mass,
        "sea_level_mm": sea_level_mm(mass),
        "density_kg_m3": ICE_DENSITY_KG_M3,
        "sigma_kind": found.sigma_kind if isinstance(found, ProductThickness) else "spread",
    }


def _sigma(ice_m: NDArray, given_m: NDArray | None, relative: float) -> NDArray:
    bands = relative * ice_m
    return bands if given_m is None else np.where(np.isfinite(given_m), np.minimum(given_m, ice_m), bands)


def _joint(parts: Sequence[Any]) -> tuple[float, Any]:
    """Area of all parts, and a function that gives the area-weighted mean of an attribute."""
    areas = [part.ice_area_km2 for part in parts]
    return sum(areas), lambda name: float(np.average([getattr(part, name) for part in parts], weights=areas))
