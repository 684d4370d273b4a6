from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import Geod

from arctic_assets.errors import SourceError, TableError
from arctic_assets.science.geometry import geodesic_area_km2
from arctic_assets.science.temperature import (
    PERIODS,
    FieldError,
    Grid,
    IncompleteYear,
    Weights,
    annual_sigma,
    annual_temperature,
    coverage_weights,
    in_periods,
    kelvin_to_celsius,
    land_fraction,
    lapse_adjust,
    orography_m,
    positive_degree_days,
    temperature_sigma,
    zonal_mean,
)
from arctic_assets.tables import TemperatureAnnual

SHARED = Path(__file__).parents[3] / "shared"
MIRROR = SHARED / "real" / "mirror"
needs_shared = pytest.mark.skipif(not MIRROR.exists(), reason=f"real ERA5 files are absent: {MIRROR}")

ARCTIC = Grid(np.arange(90, 44.9, -0.25), np.arange(0, 360, 0.25))


def blob(lon: float, lat: float, height_deg: float, seed: int = 3, vertices: int = 160) -> shapely.Polygon:
    """A ragged outline of about `height_deg` degrees of latitude, as wide as high on the ground."""
    random = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, vertices, endpoint=False)
    waves = sum(np.cos(k * angle + random.uniform(0, 6)) / k for k in range(2, 9))
    radius = height_deg / 2 * np.clip(1 + 0.3 * waves, 0.3, None)
    return shapely.Polygon(
        np.column_stack([lon + radius * np.cos(angle) / np.cos(np.radians(lat)), lat + radius * np.sin(angle)])
    )


ARCHIPELAGO = shapely.MultiPolygon(
    [blob(52 + 1.5 * (i % 10), 71 + 0.6 * (i // 10), 0.3, seed=i, vertices=60) for i in range(80)]
)
OUTLINES = {
    "in one cell": blob(15.01, 78.99, 0.02),
    "on a cell edge": blob(-134.37, 58.62, 0.2),
    "across Greenwich": blob(0.02, 64.6, 0.5),
    "across the antimeridian": blob(179.95, 71.1, 0.4),
    "archipelago": ARCHIPELAGO,
}


def geodesic_cell_area(lat: float, height: float, width: float) -> float:
    """Area of a cell from pyproj, its parallels drawn with 200 points, km2."""
    along = np.linspace(0, width, 200)
    south, north = np.full(200, lat - height / 2), np.full(200, lat + height / 2)
    lons, lats = np.concatenate([along, along[::-1]]), np.concatenate([south, north])
    return float(abs(Geod(ellps="WGS84").polygon_area_perimeter(lons, lats)[0])) / 1e6


def clipped_weights(outline: shapely.Geometry, grid: Grid) -> NDArray[np.float64]:
    """Coverage by clipping the outline to every cell with shapely, at any turn: slow and independent, km2."""
    height, width = grid.resolution
    found = np.zeros(grid.shape)
    for turn in (-360, 0, 360):
        moved = shapely.transform(outline, lambda c, turn=turn: c + np.array([turn, 0.0]))
        left, bottom, right, top = moved.bounds
        for i in np.flatnonzero((grid.latitude + height / 2 > bottom) & (grid.latitude - height / 2 < top)):
            for j in np.flatnonzero((grid.longitude + width / 2 > left) & (grid.longitude - width / 2 < right)):
                lat, lon = grid.latitude[i], grid.longitude[j]
                cell = shapely.box(lon - width / 2, lat - height / 2, lon + width / 2, lat + height / 2)
                share = shapely.intersection(moved, cell).area / (height * width)
                found[i, j] += share * geodesic_cell_area(lat, height, width)
    return found


def field(grid: Grid, months: int, seed: int = 5) -> NDArray[np.float32]:
    """Temperature with contrasts of several K between neighbouring cells, K."""
    random = np.random.default_rng(seed)
    north = 285 - 0.6 * (grid.latitude[:, None] - 45)
    return (north + random.normal(0, 3, (months, *grid.shape))).astype(np.float32)


# --- grid -----------------------------------------------------------------------------------------------------------


def test_grid_knows_its_cells() -> None:
    assert ARCTIC.shape == (181, 1440)
    assert ARCTIC.resolution == (0.25, 0.25)
    assert ARCTIC.box == (90.0, -0.125, 44.875, 359.875)
    small = Grid(np.array([46.5, 47.0]), np.array([10.5, 10.75, 11.0]))
    assert small.resolution == (0.5, 0.25)
    assert small.box == (47.25, 10.375, 46.25, 11.125)
    assert Grid(np.array([47.0]), np.array([10.5, 10.75])).resolution == (0.25, 0.25)


@pytest.mark.parametrize("lat", [0.0, 46.75, 75.0, 89.75])
def test_cell_areas_are_geodesic(lat: float) -> None:
    grid = Grid(np.array([lat]), np.array([10.0, 10.25]))
    assert grid.cell_area_km2()[0] == pytest.approx(geodesic_cell_area(lat, 0.25, 0.25), rel=1e-7)


def test_cells_of_the_globe_add_up_to_the_ellipsoid() -> None:
    globe = Grid(np.arange(90, -90.1, -0.5), np.arange(-180, 180, 0.5))
    half_at_the_poles = np.where(np.abs(globe.latitude) == 90, 0.5, 1.0)
    total = (globe.cell_area_km2() * half_at_the_poles).sum() * globe.shape[1]
    assert total == pytest.approx(510_065_621.724, rel=1e-9)


def test_grid_hash_is_that_of_the_cells_and_their_order() -> None:
    lat, lon = np.arange(80, 60, -0.1), np.arange(0, 30, 0.1)
    grid = Grid(lat, lon)
    assert Grid(lat.astype(np.float32), lon.astype(np.float32)).hash == grid.hash
    assert Grid(lat[::-1], lon).hash != grid.hash
    assert Grid(lat[1:], lon).hash != grid.hash


def test_grid_cannot_be_changed() -> None:
    lat = np.array([47.0, 46.75])
    grid = Grid(lat, np.array([10.5, 10.75]))
    lat[0] = 0
    assert grid.latitude[0] == 47.0
    with pytest.raises(ValueError, match="read-only"):
        grid.latitude[0] = 0


@pytest.mark.parametrize(
    ("lat", "lon", "message"),
    [
        ([46.0, 46.25, 46.75], [10.0, 10.25], "even steps"),
        ([46.0, 46.0], [10.0, 10.25], "even steps"),
        ([46.0, np.nan], [10.0, 10.25], "finite"),
        ([46.0, 46.25], [10.25, 10.0], "ascending"),
        ([46.0, 46.25], np.concatenate([np.arange(0, 180, 0.25), np.arange(-180, 0, 0.25)]), "even steps"),
        ([46.0, 46.25], np.arange(0, 360.1, 0.25), "once around"),
        ([46.0], [10.0], "two cells"),
        ([90.25, 90.0], [10.0, 10.25], "-90..90"),
        ([[46.0, 46.25]], [10.0, 10.25], "shape"),
    ],
)
def test_irregular_coordinates_are_refused(lat: list, lon: list, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        Grid(np.array(lat), np.array(lon))


# --- weights --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in OUTLINES if n != "archipelago"])
@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("from_greenwich", [True, False])
def test_weights_are_covered_share_times_cell_area(name: str, ascending: bool, from_greenwich: bool) -> None:
    lat = np.arange(82, 54.9, -0.25)[:: -1 if ascending else 1]
    lon = np.arange(0, 360, 0.25) if from_greenwich else np.arange(-180, 180, 0.25)
    grid = Grid(lat, lon)
    weights = coverage_weights([OUTLINES[name]], grid)
    expected = clipped_weights(OUTLINES[name], grid)
    assert weights.covered_fraction == pytest.approx([1.0], abs=0)
    np.testing.assert_allclose(
        weights.overlap_km2.toarray()[0].reshape(grid.shape), expected, atol=1e-6 * expected.sum()
    )
    # Meridians narrow by up to 2 % within a cell: the shares make up the outline's area to within a percent.
    assert weights.overlap_km2.sum() == pytest.approx(geodesic_area_km2(OUTLINES[name]), rel=1e-2)
    values = field(grid, 2)
    mean = (values * expected).sum(axis=(1, 2)) / expected.sum()
    np.testing.assert_allclose(zonal_mean(weights, values)[0], mean, atol=1e-5)


def test_archipelago_agrees_with_exactextract_weighted_by_geodesic_areas() -> None:
    from exactextract import exact_extract
    from exactextract.raster import NumPyRasterSource

    grid = Grid(np.arange(78, 69.9, -0.25), np.arange(48, 72.1, 0.25))
    north, west, south, east = grid.box
    areas = np.array([[geodesic_cell_area(lat, 0.25, 0.25)] * grid.shape[1] for lat in grid.latitude])
    values = field(grid, 3)
    weights = coverage_weights([ARCHIPELAGO], grid)
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(ARCHIPELAGO)}
    for month, ours in enumerate(zonal_mean(weights, values)[0]):
        found = exact_extract(
            NumPyRasterSource(values[month], west, south, east, north),
            dict(feature),
            ["weighted_mean"],
            weights=NumPyRasterSource(areas, west, south, east, north),
        )
        assert ours == pytest.approx(found[0]["properties"]["weighted_mean"], abs=1e-6)
    assert weights.n_cells[0] > 150
    assert weights.covered_fraction[0] == 1.0


@settings(max_examples=25, deadline=None)
@given(st.floats(-180, 180), st.floats(50, 85), st.floats(0.02, 1.0), st.integers(0, 1000))
def test_weights_do_not_depend_on_how_longitude_or_latitude_are_written(
    lon: float, lat: float, size: float, seed: int
) -> None:
    outline = blob(lon, lat, size, seed)
    eastern = shapely.transform(outline, lambda c: c + np.array([360.0 if lon < 0 else 0.0, 0.0]))
    lats = np.arange(45, 90.1, 0.25)
    means = []
    for longitudes in (np.arange(0, 360, 0.25), np.arange(-180, 180, 0.25)):
        for order in (1, -1):
            grid = Grid(lats[::order], longitudes)
            smooth = 280 + 3 * np.sin(np.radians(5 * longitudes)) - 0.6 * (lats[::order, None] - 45)
            for written in (outline, eastern):
                weights = coverage_weights([written], grid)
                assert weights.covered_fraction[0] == 1.0
                means.append(zonal_mean(weights, smooth[None])[0, 0])
    np.testing.assert_allclose(means, means[0], atol=1e-6)


def test_weights_of_a_constant_field_are_one() -> None:
    weights = coverage_weights(list(OUTLINES.values()), ARCTIC)
    np.testing.assert_allclose(zonal_mean(weights, np.full((1, *ARCTIC.shape), 271.25)), 271.25, rtol=1e-14)


def test_cells_and_largest_weight() -> None:
    grid = Grid(np.array([79.0, 78.75]), np.array([15.0, 15.25]))
    halves = shapely.box(15.1, 78.95, 15.15, 79.0)
    quarter = shapely.box(15.025, 78.95, 15.225, 79.0)
    uneven = shapely.box(15.1, 78.95, 15.225, 79.0)  # a fifth lies in the western cell
    weights = coverage_weights([OUTLINES["in one cell"], halves, quarter, uneven], grid)
    assert weights.n_cells.tolist() == [1, 2, 2, 2]
    np.testing.assert_allclose(weights.max_weight, [1.0, 0.5, 0.5, 0.8], rtol=1e-6)
    np.testing.assert_allclose(weights.normalised.sum(axis=1), 1.0)


def test_covered_fraction_tells_what_the_grid_misses() -> None:
    grid = Grid(np.arange(60, 58.9, -0.25), np.arange(220, 222.1, 0.25))  # east edge 222.125, in -180..180: -137.875
    half = shapely.box(-138.0, 59.2, -137.75, 59.4)
    weights = coverage_weights([shapely.box(-139, 59.2, -138.9, 59.4), half, shapely.box(10, 59, 11, 60)], grid)
    np.testing.assert_allclose(weights.covered_fraction, [1.0, 0.5, 0.0], atol=1e-6)
    assert weights.n_cells.tolist()[2] == 0
    assert weights.max_weight[2] == 0
    values = field(grid, 2)
    with pytest.raises(FieldError, match="off the grid") as caught:
        zonal_mean(weights, values)
    assert caught.value.where == "outline 2"
    assert zonal_mean(weights.select([0, 1]), values).shape == (2, 2)


def test_no_outlines_give_no_means() -> None:
    weights = coverage_weights([], ARCTIC)
    assert zonal_mean(weights, field(ARCTIC, 2)).shape == (0, 2)
    off = coverage_weights([shapely.box(10, -10, 11, -9)], ARCTIC)
    assert off.covered_fraction.tolist() == [0.0]


# --- means ----------------------------------------------------------------------------------------------------------

_ALL_WEIGHTS = coverage_weights(list(OUTLINES.values()), ARCTIC)
_MONTHS = field(ARCTIC, 9)
_ALL_MEANS = zonal_mean(_ALL_WEIGHTS, _MONTHS)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 8), min_size=1, max_size=9),
    st.lists(st.integers(0, len(OUTLINES) - 1), min_size=1, max_size=len(OUTLINES)),
    st.booleans(),
)
def test_means_are_the_same_bits_whichever_months_and_glaciers_are_asked(
    months: list[int], rows: list[int], fortran: bool
) -> None:
    values = np.asfortranarray(_MONTHS[months]) if fortran else _MONTHS[months]
    expected = _ALL_MEANS[np.ix_(rows, months)]
    assert zonal_mean(_ALL_WEIGHTS.select(rows), values).tobytes() == expected.tobytes()


@pytest.mark.parametrize("row", range(len(OUTLINES)))
def test_weights_computed_alone_are_the_same_bits_and_stack(row: int) -> None:
    names = list(OUTLINES)
    alone = coverage_weights([OUTLINES[names[row]]], ARCTIC)
    assert zonal_mean(alone, _MONTHS).tobytes() == _ALL_MEANS[[row]].tobytes()
    stacked = Weights.stack([alone, _ALL_WEIGHTS.select([0])])
    assert zonal_mean(stacked, _MONTHS).tobytes() == _ALL_MEANS[[row, 0]].tobytes()
    np.testing.assert_array_equal(stacked.covered_fraction, _ALL_WEIGHTS.covered_fraction[[row, 0]])


def test_weights_of_different_grids_do_not_stack() -> None:
    other = coverage_weights([], Grid(np.array([47.0, 46.75]), np.array([10.5, 10.75])))
    with pytest.raises(FieldError, match="different grids"):
        Weights.stack([_ALL_WEIGHTS, other])


def test_missing_value_under_a_glacier_is_refused_with_its_place_and_elsewhere_ignored() -> None:
    values = _MONTHS.copy()
    values[:, 0, 0] = np.nan  # the pole
    assert zonal_mean(_ALL_WEIGHTS, values).tobytes() == _ALL_MEANS.tobytes()
    cell = int(_ALL_WEIGHTS.select([0]).overlap_km2.indices[0])
    row, column = divmod(cell, ARCTIC.shape[1])
    for gap in (np.nan, np.inf):
        values[6, row, column] = gap
        with pytest.raises(FieldError, match=f"time index 6, latitude index {row}, longitude index {column}") as caught:
            zonal_mean(_ALL_WEIGHTS, values)
        assert isinstance(caught.value, SourceError)
        assert isinstance(caught.value, ValueError)
    others = zonal_mean(_ALL_WEIGHTS.select([1, 2, 3]), values)
    assert others.tobytes() == _ALL_MEANS[1:4].tobytes()


def test_field_of_another_shape_is_refused() -> None:
    with pytest.raises(FieldError, match="does not fit"):
        zonal_mean(_ALL_WEIGHTS, _MONTHS[:, :-1])
    with pytest.raises(FieldError, match="does not fit"):
        zonal_mean(_ALL_WEIGHTS, _MONTHS[0])


def test_land_fraction_is_weighted_and_unknown_without_a_mask() -> None:
    grid = Grid(np.array([79.0, 78.75]), np.array([15.0, 15.25]))
    weights = coverage_weights([shapely.box(15.1, 78.95, 15.225, 79.0)], grid)
    assert land_fraction(weights, np.array([[1.0, 0.5], [0, 0]])) == pytest.approx([0.6])
    assert np.isnan(land_fraction(weights, None)).tolist() == [True]
    with pytest.raises(FieldError, match="no fraction"):
        land_fraction(weights, np.array([[100.0, 50.0], [0, 0]]))


@needs_shared
def test_temperature_of_hintereisferner_in_era5() -> None:
    import geopandas
    import xarray as xr

    outlines = geopandas.read_file(MIRROR / "rgi7" / "RGI2000-v7.0-G-11_central_europe.zip").set_index("rgi_id")
    with (
        xr.open_dataset(MIRROR / "era5" / "era5_monthly_t2m_1979-2018_oetztal.nc") as monthly,
        xr.open_dataset(MIRROR / "era5" / "era5_invariant_oetztal.nc") as invariant,
    ):
        grid = Grid(monthly["latitude"].values, monthly["longitude"].values)
        weights = coverage_weights(list(outlines.geometry[["RGI2000-v7.0-G-11-03116"]]), grid)
        t2m_c = kelvin_to_celsius(zonal_mean(weights, monthly["t2m"].values))[0]
        months = pd.DatetimeIndex(monthly["time"].values).strftime("%Y-%m")
        surface_m = zonal_mean(weights, orography_m(invariant["z"].values))[0, 0]
        land = land_fraction(weights, invariant["lsm"].values[0])
    by_month = dict(zip(months, t2m_c, strict=True))
    assert by_month["1985-01"] == pytest.approx(-16.774, abs=5e-4)
    assert by_month["2018-07"] == pytest.approx(10.083, abs=5e-4)
    assert weights.n_cells.tolist() == [1]
    assert weights.covered_fraction.tolist() == [1.0]
    assert land[0] == pytest.approx(0.9987, abs=5e-5)
    assert 1500 < surface_m < 3000
    none = {"t2m_land_c": np.nan, "t2m_adjusted_c": np.nan}
    annual, incomplete = annual_temperature(
        pd.DataFrame({"glacier_id": "hef", "month": months, "t2m_c": t2m_c, **none})
    )
    whole = {"calendar": 40, "mam": 40, "jja": 40, "son": 40, "balance_year": 39, "djf": 39}
    assert annual["kind"].value_counts().to_dict() == whole
    assert incomplete == [
        IncompleteYear("hef", 1979, "balance_year", 9),
        IncompleteYear("hef", 1979, "djf", 2),
        IncompleteYear("hef", 2019, "balance_year", 3),
        IncompleteYear("hef", 2019, "djf", 1),
    ]


# --- units, elevation, degree days ----------------------------------------------------------------------------------


def test_kelvin_to_celsius_refuses_what_is_not_kelvin() -> None:
    np.testing.assert_allclose(kelvin_to_celsius(np.array([273.15, 263.15, np.nan])), [0, -10, np.nan], atol=1e-12)
    for wrong in (-16.8, 10.0, 149.0, 351.0, 9.96921e36):
        with pytest.raises(ValueError, match="not in kelvin"):
            kelvin_to_celsius(np.array([273.15, wrong]))


def test_a_glacier_above_the_model_surface_is_colder() -> None:
    assert lapse_adjust(0.0, 3000.0, 2000.0) == pytest.approx(-6.5)
    assert lapse_adjust(np.array([0.0, 5.0]), 500.0, 1000.0, -0.005).tolist() == pytest.approx([2.5, 7.5])
    assert orography_m(9.80665 * 1234.0) == pytest.approx(1234.0)


@pytest.mark.parametrize(("t_c", "expected"), [(-10, 0.62), (-5, 9.06), (0, 53.86), (5, 159.06)])
def test_degree_days_of_a_month(t_c: float, expected: float) -> None:
    assert positive_degree_days(t_c, 30) == pytest.approx(expected, abs=5e-3)


@given(st.floats(-60, 30), st.floats(1, 8))
def test_degree_days_are_at_least_those_of_the_mean_and_not_negative(t_c: float, sigma_k: float) -> None:
    degree_days = float(positive_degree_days(t_c, 31, sigma_k))
    assert degree_days >= 31 * max(t_c, 0) - 1e-9
    assert degree_days >= -1e-12
    spread = 31 * sigma_k / np.sqrt(2 * np.pi)
    assert degree_days <= 31 * max(t_c, 0) + spread + 1e-9


# --- years ----------------------------------------------------------------------------------------------------------


def monthly(glacier_id: str, start: str, n: int) -> pd.DataFrame:
    dates = pd.period_range(start, periods=n, freq="M")
    t = -5 + 12 * np.sin(2 * np.pi * (dates.month - 4) / 12) + 0.1 * np.arange(n)
    values = {"t2m_c": t, "t2m_land_c": t + 1.5, "t2m_adjusted_c": t - 3.25}
    return pd.DataFrame({"glacier_id": glacier_id, "month": dates.strftime("%Y-%m"), **values})


def years(annual: pd.DataFrame) -> pd.DataFrame:
    """Without the seasons."""
    return annual[annual["kind"].isin(["calendar", "balance_year"])].reset_index(drop=True)


def test_the_table_takes_the_kinds_there_are() -> None:
    kind, n_months = (next(c for c in TemperatureAnnual.columns() if c.name == name) for name in ("kind", "n_months"))
    assert kind.isin == tuple(PERIODS)
    lengths = {period.n_months for period in PERIODS.values()}
    assert n_months.hard == (min(lengths), max(lengths))


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        ("calendar", "2004-01", "2004-12"),
        ("balance_year", "2003-10", "2004-09"),
        ("djf", "2003-12", "2004-02"),
        ("mam", "2004-03", "2004-05"),
        ("jja", "2004-06", "2004-08"),
        ("son", "2004-09", "2004-11"),
    ],
)
def test_months_of_a_period(kind: str, first: str, last: str) -> None:
    found = in_periods(monthly("g", "2002-01", 48))
    own = found[(found["kind"] == kind) & (found["year"] == 2004)]
    assert list(own["month"]) == list(pd.period_range(first, last, freq="M").strftime("%Y-%m"))
    assert len(own) == PERIODS[kind].n_months


def test_each_month_is_in_a_calendar_year_a_balance_year_and_a_season() -> None:
    frame = monthly("g", "1999-05", 30)
    found = in_periods(frame).assign(of=lambda parts: parts["kind"].where(parts["kind"].str.len() > 3, "season"))
    counts = found.groupby(["month", "of"]).size().unstack()
    assert (counts == 1).all(axis=None) and list(counts.columns) == ["balance_year", "calendar", "season"]
    assert list(counts.index) == list(frame["month"])


def test_seasons_weigh_months_by_their_days() -> None:
    frame = monthly("g", "2003-12", 12).set_index("month")  # the winter of a leap year
    annual = annual_temperature(frame.reset_index())[0].set_index(["kind", "year"])
    for kind, months, days in (
        ("djf", ["2003-12", "2004-01", "2004-02"], [31, 31, 29]),
        ("mam", ["2004-03", "2004-04", "2004-05"], [31, 30, 31]),
        ("jja", ["2004-06", "2004-07", "2004-08"], [30, 31, 31]),
        ("son", ["2004-09", "2004-10", "2004-11"], [30, 31, 30]),
    ):
        row, own = annual.loc[(kind, 2004)], frame.loc[months]
        assert row["n_months"] == 3
        for name in ("t2m_c", "t2m_land_c", "t2m_adjusted_c"):
            assert row[name] == pytest.approx(np.average(own[name], weights=days), abs=1e-12), (kind, name)
        expected = positive_degree_days(own["t2m_c"], days).sum()
        assert row["degree_days_k_d"] == pytest.approx(expected, rel=1e-12)
    assert annual.loc["jja", "degree_days_k_d"].item() > 10 * annual.loc["djf", "degree_days_k_d"].item()
    assert set(annual.index.get_level_values("kind")) == {"djf", "mam", "jja", "son"}


def test_degree_days_of_the_seasons_sum_to_those_of_their_year() -> None:
    annual = annual_temperature(monthly("g", "2003-12", 13))[0]
    by_kind = annual[annual["year"] == 2004].set_index("kind")["degree_days_k_d"]
    frame = monthly("g", "2003-12", 13).set_index("month")["t2m_c"]
    december = positive_degree_days(frame[["2003-12", "2004-12"]], 31)
    seasons = by_kind[["djf", "mam", "jja", "son"]].sum()
    assert seasons - december[0] + december[1] == pytest.approx(by_kind["calendar"], rel=1e-12)


def test_a_season_needs_its_three_months_whatever_the_year_lacks() -> None:
    frame = monthly("g", "2003-12", 12)
    annual, incomplete = annual_temperature(frame[~frame["month"].isin(["2004-02", "2004-07"])])
    assert annual[["year", "kind"]].apply(tuple, axis=1).tolist() == [(2004, "mam"), (2004, "son")]
    assert [i for i in incomplete if len(i.kind) == 3] == [
        IncompleteYear("g", 2004, "djf", 2), IncompleteYear("g", 2004, "jja", 2),
    ]  # fmt: skip


def test_years_weigh_months_by_their_days() -> None:
    frame = monthly("g", "2003-10", 15)  # balance year 2004, a leap year, and calendar year 2004
    annual, incomplete = annual_temperature(frame)
    days = np.array([pd.Period(m).days_in_month for m in frame["month"]])
    for kind, part in (("balance_year", slice(0, 12)), ("calendar", slice(3, 15))):
        row = annual[annual["kind"] == kind].iloc[0]
        assert days[part].sum() == 366
        assert row["year"] == 2004
        assert row["n_months"] == 12
        assert row["t2m_c"] == pytest.approx(np.average(frame["t2m_c"][part], weights=days[part]), abs=1e-12)
        assert row["t2m_adjusted_c"] == pytest.approx(row["t2m_c"] - 3.25, abs=1e-12)
        assert row["t2m_land_c"] == pytest.approx(row["t2m_c"] + 1.5, abs=1e-12)
        expected = positive_degree_days(frame["t2m_c"][part], days[part]).sum()
        assert row["degree_days_k_d"] == pytest.approx(expected, rel=1e-12)
    assert incomplete == [
        IncompleteYear("g", 2003, "calendar", 3),
        IncompleteYear("g", 2003, "son", 2),
        IncompleteYear("g", 2005, "balance_year", 3),
        IncompleteYear("g", 2005, "djf", 1),
    ]
    assert list(annual.columns) == [
        "glacier_id", "year", "kind", "t2m_c", "t2m_land_c", "t2m_adjusted_c", "n_months", "degree_days_k_d",
    ]  # fmt: skip


def test_a_year_that_lacks_a_month_has_no_row() -> None:
    frame = monthly("g", "1985-01", 36)
    absent = frame[frame["month"] != "1986-11"]
    null = frame.assign(t2m_c=frame["t2m_c"].where(frame["month"] != "1986-11"))
    for lacking in (absent, null):
        annual, incomplete = annual_temperature(lacking)
        assert years(annual)[["year", "kind"]].apply(tuple, axis=1).tolist() == [
            (1985, "calendar"), (1986, "balance_year"), (1987, "calendar"),
        ]  # fmt: skip
        assert IncompleteYear("g", 1986, "calendar", 11) in incomplete
        assert IncompleteYear("g", 1987, "balance_year", 11) in incomplete


@pytest.mark.parametrize(("name", "offset_k"), [("t2m_adjusted_c", -3.25), ("t2m_land_c", 1.5)])
def test_other_means_need_all_months_of_their_own(name: str, offset_k: float) -> None:
    frame = monthly("g", "1985-01", 24)
    frame.loc[3, name] = np.nan
    annual, _ = annual_temperature(frame)
    by_kind = annual.set_index(["kind", "year"])
    lacking = {("calendar", 1985), ("mam", 1985)}
    assert set(by_kind.index[by_kind[name].isna()]) == lacking
    there = by_kind[by_kind[name].notna()]
    np.testing.assert_allclose(there[name], there["t2m_c"] + offset_k, rtol=0, atol=1e-12)
    assert by_kind["t2m_c"].notna().all()
    other = "t2m_land_c" if name == "t2m_adjusted_c" else "t2m_adjusted_c"
    assert by_kind[other].notna().all()


def test_a_year_is_preliminary_when_a_month_is() -> None:
    frame = monthly("g", "2023-01", 24).assign(status=["final"] * 20 + ["preliminary"] * 4)
    annual, _ = annual_temperature(frame)
    seasons = annual[annual["kind"].str.len() == 3]
    assert list(seasons.loc[seasons["status"] == "preliminary", "kind"]) == ["son"]
    assert set(seasons.loc[seasons["year"] == 2024, "kind"]) == {"djf", "mam", "jja", "son"}
    assert years(annual)[["year", "kind", "status"]].apply(tuple, axis=1).tolist() == [
        (2023, "calendar", "final"), (2024, "balance_year", "preliminary"), (2024, "calendar", "preliminary"),
    ]  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_years_are_the_same_bits_for_any_order_and_choice_of_glaciers(random: object) -> None:
    frame = pd.concat([monthly("a", "1985-01", 30), monthly("b", "1985-05", 40)])  # index labels repeat
    whole, missing = annual_temperature(frame)
    order = random.sample(range(len(frame)), len(frame))  # type: ignore[attr-defined]
    shuffled, still_missing = annual_temperature(frame.iloc[order])
    pd.testing.assert_frame_equal(shuffled, whole, check_exact=True)
    assert still_missing == missing
    alone, _ = annual_temperature(frame[frame["glacier_id"] == "b"])
    pd.testing.assert_frame_equal(alone, whole[whole["glacier_id"] == "b"].reset_index(drop=True), check_exact=True)


def test_no_months_give_no_years() -> None:
    annual, incomplete = annual_temperature(monthly("g", "1985-01", 12).iloc[:0])
    assert annual.empty
    assert incomplete == []


def test_rows_that_are_no_monthly_temperature_are_refused() -> None:
    frame = monthly("g", "1985-01", 12)
    with pytest.raises(TableError, match="twice") as caught:
        annual_temperature(pd.concat([frame, frame.iloc[[4]]]))
    assert "1985-05" in str(caught.value)
    for wrong in ("1985-13", "198501", "1985-1"):
        with pytest.raises(TableError, match="not written as such"):
            annual_temperature(frame.assign(month=wrong))
    with pytest.raises(TableError, match="lacks columns") as lacking:
        annual_temperature(frame.drop(columns="t2m_adjusted_c"))
    assert lacking.value.where == "t2m_adjusted_c"


def test_sigma_grows_with_the_height_between_model_and_glacier() -> None:
    sigma = temperature_sigma([-5.0, -5.0, -5.0], [-5.0, -9.0, np.nan], assumed_k=3.0, lapse_sigma_ratio=0.25)
    np.testing.assert_allclose(sigma.as_is, [3.0, 5.0, 3.0])
    np.testing.assert_allclose(sigma.adjusted, [3.0, np.hypot(3.0, 1.0), np.nan])


def test_a_bias_does_not_average_out_over_a_year() -> None:
    months = pd.DataFrame(
        {
            "glacier_id": "a",
            "month": [f"2001-{m:02d}" for m in range(1, 13)],
            "t2m_c": np.linspace(-20, 8, 12),
            "t2m_sigma_c": 1.5,
            "t2m_adjusted_sigma_c": [1.2] * 11 + [np.nan],
        }
    )
    found = annual_sigma(months).set_index("kind")
    assert found.loc["calendar", "t2m_sigma_c"] == pytest.approx(1.5)
    assert np.isnan(found.loc["calendar", "t2m_adjusted_sigma_c"])
    assert found.loc["jja", "t2m_adjusted_sigma_c"] == pytest.approx(1.2)
    days = pd.PeriodIndex(months["month"], freq="M").days_in_month.to_numpy()
    warmer, colder = (positive_degree_days(months["t2m_c"] + d, days).sum() for d in (1.5, -1.5))
    assert found.loc["calendar", "degree_days_sigma_k_d"] == pytest.approx((warmer - colder) / 2)
