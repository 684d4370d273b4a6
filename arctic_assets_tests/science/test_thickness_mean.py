from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arctic_assets.errors import SourceError
from arctic_assets.science.common_grid import GridThickness
from arctic_assets.science.thickness_mean import (
    MEAN,
    MILLAN,
    MeanThickness,
    ProductThickness,
    join_means,
    join_products,
    mean_of_two,
    mean_thickness,
    product_thickness,
    table_fields,
)
from arctic_assets.tables import Thickness

CELL_M2 = 2500.0
FULL = np.ones((2, 2))


def layer(ice_m: object, fraction: object = 1.0) -> GridThickness:
    ice = np.asarray(ice_m, dtype=float)
    share = np.where(ice > 0, np.broadcast_to(np.asarray(fraction, dtype=float), ice.shape), 0)
    return GridThickness(ice * share, share)


def product(*args: object, **kwargs: object) -> ProductThickness:
    found = product_thickness(*args, **kwargs)  # type: ignore[arg-type]
    assert found is not None
    return found


def mean(*args: object, **kwargs: object) -> MeanThickness:
    found = mean_thickness(*args, **kwargs)  # type: ignore[arg-type]
    assert found is not None
    return found


def test_formulas_of_a_cell() -> None:
    one = np.array([100.0])
    close = mean_of_two(one, one + 10, one * 0.3, one * 0.4)
    assert close.thickness_m[0] == 105 and close.difference_m[0] == -10
    # 0.5 sqrt(30^2 + 40^2 + 2 * 0.5 * 30 * 40) = 0.5 sqrt(3700)
    assert close.sigma_m[0] == pytest.approx(30.4138, abs=1e-4)
    assert mean_of_two(one, one + 10, one * 0.3, one * 0.4, correlation=0).sigma_m[0] == pytest.approx(25)
    assert mean_of_two(one, one + 10, one * 0.3, one * 0.4, correlation=1).sigma_m[0] == pytest.approx(35)
    # Products far apart: half their difference, not the sum of both.
    assert mean_of_two(one, one + 200, one * 0.3, one * 0.4).sigma_m[0] == 100
    with pytest.raises(SourceError, match="correlation"):
        mean_of_two(one, one, one, one, correlation=1.1)


def test_mean_is_taken_only_where_both_have_ice() -> None:
    first, second = layer([[100, 200], [300, 0]]), layer([[140, 0], [300, 50]])
    found = mean(first, second, FULL, CELL_M2, 0.01)
    assert found.thickness_m == pytest.approx((120 + 300) / 2)
    assert found.thickness_max_m == 300
    assert found.spread_m == pytest.approx(20) and found.difference_m == pytest.approx(-20)
    assert found.ice_area_km2 == pytest.approx(0.005) and found.coverage_fraction == pytest.approx(0.5)
    assert found.volume_km3 == pytest.approx(210 * 5000 / 1e9)
    assert found.band.relative == 0.30
    assert mean_thickness(layer([[1, 0], [0, 0]]), layer([[0, 1], [0, 0]]), FULL, CELL_M2, 0.01) is None


def test_record_bands_stand_in_for_errors_that_are_not_given() -> None:
    thick = layer([[200, 200], [200, 200]])
    found = mean(thick, thick, FULL, CELL_M2, 0.01)
    assert found.thickness_sigma_m == pytest.approx(0.5 * 60 * np.sqrt(3))
    assert found.sigma_independent_m == pytest.approx(60 / np.sqrt(2))
    assert found.sigma_correlated_m == pytest.approx(60)
    thin = layer([[50, 50], [50, 50]])
    assert mean(thin, thin, FULL, CELL_M2, 0.01).sigma_correlated_m == pytest.approx(25)
    given_m = np.array([[10, np.nan], [10, 900]])
    mixed = mean(thick, thick, FULL, CELL_M2, 0.01, first_sigma_m=given_m, second_sigma_m=given_m)
    # 10 as given, the band's 60 where none is given, and never more than the thickness.
    assert mixed.sigma_correlated_m == pytest.approx((10 + 60 + 10 + 200) / 4)


def test_cells_count_with_the_share_that_all_have() -> None:
    outline = np.array([[1, 0.5], [0.25, 0]])
    first, second = layer([[100, 100], [200, 900]], [[0.75, 1], [1, 1]]), layer([[100, 100], [200, 900]])
    found = mean(first, second, outline, CELL_M2, 0.004375)
    assert found.ice_area_km2 == pytest.approx((0.75 + 0.5 + 0.25) * CELL_M2 / 1e6)
    assert found.thickness_m == pytest.approx((100 * 1.25 + 200 * 0.25) / 1.5)
    assert found.thickness_max_m == 200
    assert found.coverage_fraction == pytest.approx(1.5 / 1.75)


def test_one_product_inside_the_outline() -> None:
    outline = np.array([[1, 1], [0.5, 0]])
    found = product(layer([[100, 150], [200, 900]]), outline, CELL_M2, 0.00625)
    assert found.thickness_m == pytest.approx(350 / 2.5)
    assert found.thickness_max_m == 200 and found.coverage_fraction == pytest.approx(1)
    assert found.volume_km3 == pytest.approx(350 * CELL_M2 / 1e9)
    assert found.thickness_sigma_m == pytest.approx(0.3 * 140) and found.sigma_kind == "record_bands"
    own = product(layer([[100, 150], [200, 900]]), outline, CELL_M2, 0.00625, sigma_m=np.full((2, 2), 20.0))
    assert own.thickness_sigma_m == pytest.approx(20) and own.sigma_kind == "product"
    assert product_thickness(layer([[0, 0], [0, 900]]), outline, CELL_M2, 0.00625) is None


metres = st.lists(st.floats(101, 900), min_size=8, max_size=8)


@given(metres, metres)
def test_members_add_up_to_the_glacier(one: list[float], other: list[float]) -> None:
    first, second = layer(np.reshape(one, (2, 4))), layer(np.reshape(other, (2, 4)))
    outline, sigma = np.ones((2, 4)), np.full((2, 4), 17.0)
    left, right = np.repeat([[1.0, 0.0]], 2, 0).repeat([1, 3], 1), np.repeat([[0.0, 1.0]], 2, 0).repeat([1, 3], 1)
    whole = mean(first, second, outline, CELL_M2, 0.02, sigma, sigma)
    parts = [mean(first, second, part, CELL_M2, 0.01, sigma, sigma) for part in (left, right)]
    joined = join_means(parts, 0.02)
    assert joined is not None
    assert joined[:-1] == pytest.approx(whole[:-1]) and joined.band == whole.band
    assert whole.sigma_independent_m <= whole.thickness_sigma_m <= whole.sigma_correlated_m
    assert whole.thickness_sigma_m >= whole.spread_m / 2 - 1e-9
    products = [product(first, part, CELL_M2, 0.01, sigma) for part in (left, right)]
    united = join_products(products, 0.02)
    assert united is not None
    assert united[:-1] == pytest.approx(product(first, outline, CELL_M2, 0.02, sigma)[:-1])
    assert united.sigma_kind == "product"
    bands = product(first, left, CELL_M2, 0.01)
    assert (mixed := join_products([bands, products[1]], 0.02)) and mixed.sigma_kind == "record_bands"
    assert join_means([], 1.0) is None and join_products([], 1.0) is None


def test_fields_of_the_table() -> None:
    thick = layer(np.full((2, 2), 200.0))
    found = mean(thick, thick, FULL, CELL_M2, 0.01)
    fields = table_fields(MEAN, found)
    assert fields["product"] == "mean" and fields["sigma_kind"] == "spread"
    assert fields["volume_sigma_km3"] == pytest.approx(found.volume_km3 * found.thickness_sigma_m / 200)
    assert fields["mass_gt"] == pytest.approx(0.9 * found.volume_km3)
    assert fields["sea_level_mm"] == pytest.approx(fields["mass_gt"] / 361.8)
    own = table_fields(MILLAN, product(thick, FULL, CELL_M2, 0.01))
    others = {"glacier_id", "rgi6_ids", "source_ids", "is_synthetic", "run_id", "code_version", "recorded_at"}
    of_the_asset = {"origin", "n_products", "record_relative_sigma", "record_is_lower_bound", "parameters"}
    of_the_mean = {"spread_m", "thickness_sigma_low_m", "thickness_sigma_high_m"}
    columns = {column.name for column in Thickness.columns()}
    assert set(own) == set(fields) == columns - others - of_the_asset - of_the_mean
