"""Ice thickness per product, and volume per inventory."""

from __future__ import annotations

from typing import ClassVar

from arctic_assets.tables.base import NoUncertainty, Table, column

_GLACIER = "Glacier: id in the registry"
_PRODUCT = (
    "farinotti2019: consensus estimate; millan2022; mean of both; sia_check: shallow-ice inversion, independent of them"
)
SMALLEST_TO_LARGEST_KM3 = (0.0001, 10000.0)
"""Limits of a volume. Volumes are expected from 0.01 km3, but most outlines of RGI are smaller than a square kilometre
and hold less; the whole of RGI region 09 holds 14,640 km3 by the consensus estimate."""
PRODUCTS = ("farinotti2019", "millan2022", "mean", "sia_check")


class Thickness(Table):
    """Ice thickness and volume of each glacier in each product, on the product's own grid and ice mask."""

    class Config:
        """Name and grain."""

        name = "thickness"
        title = "Thickness"
        metadata: ClassVar = {"grain": "glacier"}

    glacier_id: str = column(_GLACIER, key=True)
    product: str = column(_PRODUCT, key=True, isin=PRODUCTS)
    thickness_m: float = column(
        "Mean thickness over the product's own ice mask",
        unit="m",
        hard=(1, 800),
        uncertainty="thickness_sigma_m",
    )
    thickness_sigma_m: float = column(
        "Uncertainty of the mean thickness, errors fully correlated over the glacier",
        unit="m",
        positive=True,
    )
    thickness_max_m: float = column(
        "Largest thickness; thickness_sigma_m is not its uncertainty but that of the mean",
        unit="m",
        hard=(1, 1700),
        warn=(None, 1000),
        uncertainty=NoUncertainty.NOT_ESTIMATED,
    )
    ice_area_km2: float = column(
        "Area of the product's ice mask",
        unit="km2",
        hard=(0.001, 30000),
        uncertainty=NoUncertainty.NOT_GIVEN,
    )
    coverage_fraction: float = column(
        "Ice mask area over outline area",
        unit="1",
        hard=(0, 3),
        uncertainty=NoUncertainty.NOT_GIVEN,
    )
    volume_km3: float = column(
        "Ice volume", unit="km3", hard=SMALLEST_TO_LARGEST_KM3, warn=(0.01, None), uncertainty="volume_sigma_km3"
    )
    volume_sigma_km3: float = column("Uncertainty of the volume", unit="km3", positive=True)
    mass_gt: float = column(
        "Ice mass: volume_km3 times density_kg_m3, as is its uncertainty",
        unit="Gt",
        hard=(0, 9200),
        uncertainty="volume_sigma_km3",
    )
    sea_level_mm: float = column(
        "Sea-level equivalent, mass_gt / 361.8, as is its uncertainty; ice below sea level not taken out",
        unit="mm",
        hard=(0, 30),
        uncertainty="volume_sigma_km3",
    )
    density_kg_m3: float = column(
        "Ice density that mass_gt is computed with; of sia_check also that of the inversion",
        unit="kg m-3",
        hard=(850, 920),
        uncertainty=NoUncertainty.SETTING,
    )
    rgi6_ids: list[str] = column("RGI6 rasters the numbers come from")
    sigma_kind: str = column(
        "What thickness_sigma_m is: the record's bands, the product's own error, the larger of both products' error "
        "and half their difference, or the first-order error of the inversion",
        isin=("record_bands", "product", "spread", "first_order"),
    )
    n_products: int = column("Number of products in the row", unit="1", hard=(1, 2), uncertainty=NoUncertainty.COUNT)
    spread_m: float | None = column(
        "Mean absolute difference of the two products where both have ice",
        unit="m",
        nullable=True,
        hard=(0, 1700),
        uncertainty=NoUncertainty.ITSELF,
    )
    thickness_sigma_low_m: float | None = column(
        "thickness_sigma_m if the errors of both products were independent", unit="m", nullable=True, hard=(0, None)
    )
    thickness_sigma_high_m: float | None = column(
        "thickness_sigma_m if they were the same", unit="m", nullable=True, hard=(0, None)
    )
    record_relative_sigma: float = column(
        "Relative error of the record for this thickness: 0.30 above 100 m (0.25 to 0.35), else 0.50",
        unit="1",
        hard=(0, 1),
        uncertainty=NoUncertainty.ITSELF,
    )
    record_is_lower_bound: bool = column("True up to 100 m, where the record says more than 50 per cent")
    parameters: str | None = column(
        "Constants of the shallow-ice inversion, and the share of its cells in glaciers that end in the sea; the "
        "sliding (beta) and the sigmas are assumed",
        nullable=True,
    )


class Volume(Table):
    """Volume per inventory: one mean thickness times each area, so thinning does not show (`static_thickness`)."""

    class Config:
        """Name and grain."""

        name = "volume"
        title = "Volume"
        metadata: ClassVar = {"grain": "inventory", "origin": "derived"}

    glacier_id: str = column(_GLACIER, key=True)
    inventory: str = column("Inventory whose area is used", key=True)
    product: str = column(_PRODUCT, key=True, isin=PRODUCTS)
    volume_km3: float = column(
        "Mean thickness times area",
        unit="km3",
        hard=SMALLEST_TO_LARGEST_KM3,
        warn=(0.01, None),
        uncertainty="volume_sigma_km3",
    )
    volume_sigma_km3: float = column("Uncertainty from thickness and area", unit="km3", positive=True)
    static_thickness: bool = column("True: the thickness is one estimate for all dates")
