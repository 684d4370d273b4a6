"""Outlines from SYNTHETIC Landsat, their areas and changes, thickness and volume, the archipelago: what was put in."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pandas as pd
import pytest
from pyproj import Geod

from arctic_assets.sample import Truth
from arctic_assets.science.sia import SiaParameters
from arctic_assets.tables import Area, AreaChange, Outline, Thickness, Volume
from arctic_assets_tests.testkit.platform import Platform
from arctic_assets_tests.testkit.truth import assert_sigma_is_fair

ARCHIPELAGO, UNDER_DEBRIS = "novaya_zemlya", "andrei"
DATED = ("1985", "1995", "2005", "2015", "2024")
#: Volume of Millan's product and of the mean over what was put in: cells at the margin count where both products and
#: the outline have them, and RGI 6 and RGI 7 draw the divides of Parrish differently.
VOLUME_RTOL = 0.025


@pytest.fixture(scope="module")
def truth(whole_sample: Platform) -> Truth:
    return Truth.read(whole_sample.current.sample)


@pytest.fixture(scope="module")
def mapped(whole_sample: Platform, truth: Truth) -> pd.DataFrame:
    """Outlines of the dated inventories with their areas and, in columns `put_*`, what was put in."""
    outlines = whole_sample.rows(Outline).query("inventory != 'rgi7'")
    areas = whole_sample.rows(Area).drop(columns="image_date")
    frame = outlines.merge(areas, on=["glacier_id", "inventory"], suffixes=("", "_of_area"))
    keys = zip(frame["glacier_id"], frame["inventory"], strict=True)
    put = pd.DataFrame([truth.glaciers[name].inventories[inventory] for name, inventory in keys])
    return pd.concat([frame, put.add_prefix("put_")], axis=1)


def true_area_km2(truth: Truth, glacier_id: str, inventory: str) -> float:
    put_in = truth.glaciers[glacier_id]
    return put_in.area_km2 if inventory == "rgi7" else float(put_in.inventories[inventory]["area_km2"])


# --- dated outlines -------------------------------------------------------------------------------------------------


def test_every_scene_set_gives_an_outline_and_the_rest_is_a_gap_with_its_reason(
    whole_sample: Platform, truth: Truth, mapped: pd.DataFrame
) -> None:
    """A Landsat scene does not hold the archipelago; every other glacier was seen five times."""
    seen = {(name, inventory) for name, put_in in truth.glaciers.items() for inventory in put_in.inventories}
    assert len(seen) == 15 * len(DATED)
    assert set(zip(mapped["glacier_id"], mapped["inventory"], strict=True)) == seen
    gaps = whole_sample.warehouse.query("SELECT * FROM provenance.gap")
    for asset in ("derived/outline", "derived/area", "derived/volume"):
        reasons = gaps[gaps["asset"] == asset].set_index("partition")["reason"]
        assert set(reasons.index) == {f"{ARCHIPELAGO}|{inventory}" for inventory in DATED}, asset
        assert reasons.str.contains("no scene: a box 556 km wide").all(), asset


def test_outlines_name_their_scenes_and_dates(mapped: pd.DataFrame) -> None:
    for row in mapped.to_dict("records"):
        assert sorted(row["scene_ids"]) == sorted(row["put_item_ids"]), row["glacier_id"]
        days = [dt.datetime.strptime(scene.split("_")[3], "%Y%m%d").date() for scene in row["scene_ids"]]
        assert pd.Timestamp(row["image_date"]).date() in days, row["glacier_id"]
        assert "ratio" in row["thresholds"] and row["revision"] == 0
    assert set(mapped["scene_ids"].map(len)) == {1, 2}


def test_what_no_scene_shows_is_said(mapped: pd.DataFrame) -> None:
    """Clouds, their shadows and the gaps of the failed scan line corrector; ice that `qa_pixel` takes for cloud is
    none of them."""
    np.testing.assert_allclose(mapped["share_unclassified"], mapped["put_hidden_share"], rtol=0, atol=1e-9)
    flags = mapped["flags"].map(set)
    hidden = mapped["put_hidden_share"] > 0
    assert flags.map(lambda own: "gaps_filled" in own).eq(hidden).all()
    assert flags.map(lambda own: "assumed_as_rgi7" in own)[~hidden].eq(False).all()
    assert flags.map(lambda own: "slc_off" in own).eq(mapped["inventory"] == "2005").all()
    clouded = hidden & (mapped["inventory"] != "2005")
    assert 15 <= clouded.sum() <= 40 and mapped.loc[clouded, "put_hidden_share"].max() < 0.05
    assert mapped.query("inventory == '2005'")["put_hidden_share"].median() > 0.15


def test_debris_covered_ice_is_kept_and_flagged(mapped: pd.DataFrame) -> None:
    flagged = mapped["flags"].map(lambda own: "debris_from_rgi7" in own)
    assert flagged.eq(mapped["glacier_id"] == UNDER_DEBRIS).all()
    np.testing.assert_allclose(mapped["debris_km2"], mapped["put_debris_km2"], rtol=0.01)
    assert mapped.loc[flagged, "put_debris_km2"].min() > 3
    assert (mapped.loc[~flagged, "debris_km2"] == 0).all()
    unknown = {"debris_unknown", "debris_slope_unknown"}
    assert mapped["flags"].map(unknown.isdisjoint).all()
    assert mapped["thresholds"].str.contains("debris_slope_deg=24,").all()


def test_ice_beyond_the_reference_is_counted_and_flagged(mapped: pd.DataFrame, truth: Truth) -> None:
    """What was larger then, and nothing of what was smaller."""
    clear = mapped[mapped["put_hidden_share"] == 0]
    flagged = clear["flags"].map(lambda own: "growth_beyond_rgi7" in own)
    larger, smaller = clear["put_retreat_m"] < -60, clear["put_retreat_m"] > 0
    assert larger.sum() >= 4 and flagged[larger].all()
    assert smaller.sum() >= 15 and not flagged[smaller].any()
    growth = clear["put_area_km2"] - clear["glacier_id"].map(lambda name: truth.glaciers[name].area_km2)
    error = clear["growth_km2"] - growth.clip(lower=0)
    assert (error.abs() < 0.3 * clear["area_sigma_km2"]).all()


def test_outlines_whose_snow_no_other_scene_could_outvote_say_so(mapped: pd.DataFrame) -> None:
    is_single = mapped["flags"].map(lambda own: "single_scene" in own)
    assert is_single.eq(mapped["scene_ids"].map(len) == 1).all() and 0 < is_single.sum() < len(mapped)


# --- area and change ------------------------------------------------------------------------------------------------


def test_areas_are_within_their_uncertainty(mapped: pd.DataFrame) -> None:
    """Both uncertainties take all of the margin as off by half a pixel to one side. Mapping is off by a fraction of a
    pixel here and there, to both sides; most where stripes hide whole kilometres of margin."""
    error = mapped["area_km2"] - mapped["put_area_km2"]
    assert (error.abs() < mapped["area_sigma_km2"]).all()
    assert (mapped["area_sigma_km2"] <= np.hypot(mapped["area_bound_km2"], mapped["assumed_sigma_km2"])).all()
    # The lower end of what resolution allows: segments of a pixel's length, each off by half a pixel to either side.
    independent = mapped["half_pixel_m"] / 1000 * np.sqrt(mapped["perimeter_km"] * 2 * mapped["half_pixel_m"] / 1000)
    clear = mapped["put_hidden_share"] == 0
    assert_sigma_is_fair(error[clear], independent[clear], beyond_2=0.05, largest=3, median=(0.1, 1))
    assert (error[clear].abs() / mapped["put_area_km2"]).max() < 0.006
    assert (error.abs() / mapped["put_area_km2"]).max() < 0.01


def test_area_uncertainties_are_those_of_half_a_pixel(mapped: pd.DataFrame) -> None:
    """As large as stated, and no larger: about the perimeter times 15 m, and what is said of margin under clouds."""
    assert (mapped["half_pixel_m"] == 15).all()
    np.testing.assert_allclose(mapped["area_bound_km2"], mapped["perimeter_km"] * 0.015, rtol=1e-9)
    buffered = np.sqrt(mapped["area_sigma_km2"] ** 2 - mapped["assumed_sigma_km2"] ** 2)
    np.testing.assert_allclose(buffered, mapped["area_bound_km2"], rtol=0.01)
    hides_margin = mapped["assumed_sigma_km2"] > 0
    assert hides_margin.sum() >= 10 and (mapped.loc[hides_margin, "share_assumed"] > 0).all()
    assert (mapped["assumed_sigma_km2"] < 0.35 * mapped["area_bound_km2"]).all()


def test_margins_have_no_stair_steps(mapped: pd.DataFrame, truth: Truth) -> None:
    """Else the perimeter, and with it every uncertainty, would be a quarter longer than the margin that was put in;
    and it is not smoothed until detail is lost. In the nineties the margins hardly differ from those of the RGI."""
    near = mapped.query("inventory == '1995' and put_hidden_share == 0").set_index("glacier_id")
    put_in = pd.Series({g: t.perimeter_outer_km + t.perimeter_islands_km for g, t in truth.glaciers.items()})
    ratio = near["perimeter_km"] / put_in[near.index]
    assert len(ratio) >= 8 and ratio.between(0.9, 1.1).all(), ratio


@pytest.fixture(scope="module")
def changes(whole_sample: Platform, truth: Truth) -> pd.DataFrame:
    frame = whole_sample.rows(AreaChange)
    ends = [
        [true_area_km2(truth, row.glacier_id, inventory) for inventory in (row.from_inventory, row.to_inventory)]
        for row in frame.itertuples()
    ]
    before, after = np.array(ends).T
    return frame.assign(true_before=before, true_change=after - before)


def test_changes_are_within_their_uncertainty(changes: pd.DataFrame) -> None:
    assert len(changes) == 15 * 15 and ARCHIPELAGO not in set(changes["glacier_id"])
    error = changes["change_km2"] - changes["true_change"]
    assert (error.abs() < changes["change_sigma_km2"]).all()
    assert (changes["change_sigma_km2"] <= changes["change_bound_km2"]).all()
    assert (error.abs() / changes["true_before"]).max() < 0.015
    # Glaciers of the sample retreat: over thirty years and more nothing hides it.
    long = changes[changes["years"] > 27]
    assert len(long) == 45 and (long["change_km2"] < 0).all()
    np.testing.assert_allclose(long["change_km2"], long["true_change"], rtol=0.2)


def test_rates_follow_from_changes(changes: pd.DataFrame) -> None:
    days = (pd.to_datetime(changes["to_date"]) - pd.to_datetime(changes["from_date"])).dt.days
    years = days / 365.2425
    np.testing.assert_allclose(changes["years"], years, rtol=1e-9)
    sigma = changes["change_sigma_km2"] / years
    assert ((changes["rate_km2_yr"] - changes["true_change"] / years).abs() < sigma).all()
    np.testing.assert_allclose(changes["rate_sigma_km2_yr"], sigma, rtol=1e-9)
    true_pct = 100 * changes["true_change"] / changes["true_before"] / years
    assert ((changes["rate_pct_yr"] - true_pct).abs() < changes["rate_sigma_pct_yr"]).all()


def test_significance_is_right_where_the_truth_is_clear(changes: pd.DataFrame) -> None:
    ratio = (changes["true_change"] / changes["change_sigma_km2"]).abs()
    clear = ratio > 2.3
    assert clear.sum() >= 3 and changes.loc[clear, "significant"].all()
    unclear = ratio < 1.6
    assert unclear.sum() > 100 and not changes.loc[unclear, "significant"].any()


# --- thickness and volume -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thick(whole_sample: Platform) -> pd.DataFrame:
    return whole_sample.rows(Thickness).set_index(["product", "glacier_id"])


@pytest.mark.parametrize(("product", "put"), [("millan2022", ""), ("mean", "mean_")])
def test_second_product_and_mean(thick: pd.DataFrame, truth: Truth, product: str, put: str) -> None:
    rows = thick.loc[product]
    assert set(rows.index) == set(truth.glaciers)
    for name, put_in in truth.glaciers.items():
        row, millan = rows.loc[name], put_in.millan
        volume, mean = millan[f"{put}volume_km3"], millan[f"{put}thickness_m"]
        assert row["volume_km3"] == pytest.approx(volume, rel=VOLUME_RTOL), name
        assert abs(row["volume_km3"] - volume) < row["volume_sigma_km3"], name
        assert abs(row["thickness_m"] - mean) < row["thickness_sigma_m"], name
        assert row["thickness_m"] == pytest.approx(mean, rel=VOLUME_RTOL), name
        assert row["ice_area_km2"] == pytest.approx(millan["ice_area_km2"], rel=2 * VOLUME_RTOL), name
        assert row["coverage_fraction"] == pytest.approx(row["ice_area_km2"] / put_in.area_km2, rel=1e-6), name
        assert row["volume_km3"] == pytest.approx(row["thickness_m"] * row["ice_area_km2"] / 1000, rel=1e-3), name


def test_uncertainty_of_the_second_product_is_its_own(thick: pd.DataFrame) -> None:
    """A quarter of the thickness, in whole metres rounded up."""
    rows = thick.loc["millan2022"]
    assert set(rows["sigma_kind"]) == {"product"}
    above = rows["thickness_sigma_m"] - 0.25 * rows["thickness_m"]
    assert above.between(0, 1).all() and above.median() > 0.2


def test_mean_states_the_difference_of_the_products_and_the_correlation_of_their_errors(thick: pd.DataFrame) -> None:
    """The second product holds 0.8 of the first: their mean is 0.9, their difference 0.2 of the first."""
    rows = thick.loc["mean"]
    assert set(rows["sigma_kind"]) == {"spread"} and (rows["n_products"] == 2).all()
    # Cells are whole metres in one product and follow other grids in the other: single cells differ by more.
    np.testing.assert_allclose(rows["spread_m"], rows["thickness_m"] * 0.2 / 0.9, rtol=0.06)
    first, second = rows["thickness_m"] / 0.9, rows["thickness_m"] * 0.8 / 0.9
    relative = np.where(first > 100, 0.3, 0.5)
    for column, r in {"thickness_sigma_low_m": 0.0, "thickness_sigma_m": 0.5, "thickness_sigma_high_m": 1.0}.items():
        s1, s2 = relative * first, 0.25 * second
        expected = 0.5 * np.sqrt(s1**2 + s2**2 + 2 * r * s1 * s2)
        np.testing.assert_allclose(rows[column], expected, rtol=0.05, err_msg=column)


def test_a_part_that_the_second_product_lacks_is_a_lower_coverage(thick: pd.DataFrame) -> None:
    coverage = thick.loc["millan2022"]["coverage_fraction"]
    lacking = {"parrish", "taku", "wykeham_south"}
    assert coverage[list(lacking)].between(0.9, 0.96).all()
    assert coverage.drop(list(lacking)).between(0.97, 1).all()


def test_shallow_ice_check_never_enters_the_mean(thick: pd.DataFrame, truth: Truth) -> None:
    check = thick.loc["sia_check"]
    assert set(check["sigma_kind"]) == {"first_order"}
    assert (check["coverage_fraction"] < 0.25).all()  # made along the line
    assert set(check.index) <= {name for name, put_in in truth.glaciers.items() if put_in.speed}
    assert {"taku", "yuri", "west_gulkana"}.isdisjoint(check.index)
    for name in check.index:
        row = thick.loc[("mean", name)]
        without = (
            thick.loc[("farinotti2019", name), "thickness_m"] + thick.loc[("millan2022", name), "thickness_m"]
        ) / 2
        assert row["thickness_m"] == pytest.approx(without, rel=0.02), name


def test_shallow_ice_check_is_the_thickness_of_the_ice_that_moves(thick: pd.DataFrame, truth: Truth) -> None:
    """The sample's speeds follow from its domes and slopes: read back, they are the domes under the fast cells."""
    check = thick.loc["sia_check"]
    put = pd.Series({name: put_in.speed[0]["thickness_m"] for name, put_in in truth.glaciers.items() if put_in.speed})
    true = put[check.index].dropna().astype(float)
    assert set(check.index) - set(true.index) == {"novaya_zemlya"}  # thin, flat and fast: it slides
    assert len(true) >= 9
    error = (check["thickness_m"][true.index] - true).abs()
    assert (error < 2 * check["thickness_sigma_m"][true.index]).all()
    assert (error < 0.15 * true).all()
    assert check["thickness_sigma_m"].div(check["thickness_m"]).between(0.1, 0.4).all()


def test_shallow_ice_constants_stand_in_the_row(thick: pd.DataFrame) -> None:
    check = thick.loc["sia_check"]
    assert thick.drop("sia_check")["parameters"].isna().all()
    assert check["parameters"].str.startswith(SiaParameters().text + ", marine_share=").all()
    share = check["parameters"].str.extract(r"marine_share=(.*)")[0].astype(float)
    assert share["parrish"] == 1 and share["engabreen"] == 0 and 0.3 < share["novaya_zemlya"] < 0.7
    assert (check["density_kg_m3"] == SiaParameters().density_kg_m3).all()
    np.testing.assert_allclose(check["mass_gt"], check["volume_km3"] * check["density_kg_m3"] / 1000)


def test_volume_of_every_inventory_is_static(
    whole_sample: Platform, truth: Truth, thick: pd.DataFrame, mapped: pd.DataFrame
) -> None:
    """One thickness times each area: it is as much smaller than that of 2000 as the area is."""
    volumes = whole_sample.rows(Volume)
    assert volumes["static_thickness"].all()
    assert set(volumes["product"]) == {"farinotti2019", "millan2022", "mean"}
    assert len(volumes) == 3 * (16 + 15 * len(DATED))
    areas = whole_sample.rows(Area).set_index(["glacier_id", "inventory"])
    for row in volumes.itertuples():
        key = f"{row.glacier_id}, {row.inventory}, {row.product}"
        own = thick.loc[(row.product, row.glacier_id)]
        area = areas.loc[(row.glacier_id, row.inventory)]
        put_in = truth.glaciers[str(row.glacier_id)]
        mean_m = {
            "farinotti2019": put_in.thickness_mean_m,
            "millan2022": put_in.millan["thickness_m"],
            "mean": put_in.millan["mean_thickness_m"],
        }[str(row.product)]
        true = mean_m * true_area_km2(truth, str(row.glacier_id), str(row.inventory)) / 1000
        assert row.volume_km3 == pytest.approx(true, rel=VOLUME_RTOL + 0.01), key  # areas are within 1 %
        assert abs(float(str(row.volume_km3)) - true) < float(str(row.volume_sigma_km3)), key
        parts = own["thickness_sigma_m"] * area["area_km2"], own["thickness_m"] * area["area_sigma_km2"]
        assert row.volume_sigma_km3 == pytest.approx(math.hypot(*parts) / 1000, rel=1e-6), key


# --- the archipelago --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def members(whole_sample: Platform, truth: Truth) -> pd.DataFrame:
    """Every member as the sample's file has it: id, area, length of its margin, WKB."""
    import geopandas as gpd

    (zip_file,) = (whole_sample.current.sample / "rgi7").glob("RGI2000-v7.0-G-09_*.zip")
    frame = gpd.read_file(f"/vsizip/{zip_file}/{zip_file.stem}.shp")
    frame = frame[frame["rgi_id"].isin(truth.glaciers[ARCHIPELAGO].rgi7_ids)]
    geod = Geod(ellps="WGS84")
    return pd.DataFrame(
        {
            "rgi7_id": frame["rgi_id"],
            "stated_km2": frame["area_km2"],
            "area_km2": [abs(geod.geometry_area_perimeter(one)[0]) / 1e6 for one in frame.geometry],
            "perimeter_km": [geod.geometry_length(one) / 1e3 for one in frame.geometry],
        }
    )


def test_archipelago_is_480_members(whole_sample: Platform, truth: Truth, members: pd.DataFrame) -> None:
    outline = whole_sample.rows(Outline).set_index(["glacier_id", "inventory"]).loc[(ARCHIPELAGO, "rgi7")]
    assert outline["n_members"] == len(members) == truth.glaciers[ARCHIPELAGO].n_members == 480
    assert set(outline["member_ids"]) == set(members["rgi7_id"])
    assert outline["member_area_km2"] == pytest.approx(members["stated_km2"].sum(), rel=1e-9)


def test_archipelago_area_is_the_sum_and_its_perimeter_is_dissolved(
    whole_sample: Platform, truth: Truth, members: pd.DataFrame
) -> None:
    area = whole_sample.rows(Area).set_index(["glacier_id", "inventory"]).loc[(ARCHIPELAGO, "rgi7")]
    put_in = truth.glaciers[ARCHIPELAGO]
    assert area["area_km2"] == pytest.approx(members["area_km2"].sum(), rel=1e-3)
    assert area["area_km2"] == pytest.approx(put_in.area_km2, rel=1e-3)
    margin = put_in.perimeter_outer_km + put_in.perimeter_islands_km
    assert area["perimeter_km"] == pytest.approx(margin, rel=1e-3)
    assert area["perimeter_km"] < 0.95 * members["perimeter_km"].sum()
    # So the uncertainty counts no divide, once or twice.
    assert area["area_bound_km2"] == pytest.approx(margin * 0.015, rel=1e-3)
    assert area["area_bound_km2"] < 0.95 * members["perimeter_km"].sum() * 0.015


def test_archipelago_volume_is_the_sum_of_its_members(thick: pd.DataFrame, truth: Truth) -> None:
    """Member by member, as the sample's rasters hold it."""
    put_in = truth.glaciers[ARCHIPELAGO]
    assert len(put_in.rgi6_volume_km3) == 480
    parts = sum(put_in.rgi6_weights[i] * volume for i, volume in put_in.rgi6_volume_km3.items())
    first, second, mean = (thick.loc[(p, ARCHIPELAGO)] for p in ("farinotti2019", "millan2022", "mean"))
    assert first["volume_km3"] == pytest.approx(parts, rel=1e-3)
    assert first["ice_area_km2"] == pytest.approx(put_in.ice_area_km2, rel=1e-3)
    assert second["volume_km3"] == pytest.approx(put_in.millan["volume_km3"], rel=1e-3)
    # Cells at margins that only one product has are in neither part of the mean.
    assert mean["volume_km3"] == pytest.approx(put_in.millan["mean_volume_km3"], rel=2e-3)
    assert len(first["rgi6_ids"]) == 480
