"""Three dated outlines of Austre Brøggerbreen (Norwegian Polar Institute) go in as revisions, as a user brings them."""

from __future__ import annotations

import datetime as dt
import math
import shutil
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from click.testing import CliRunner, Result
from pyproj import Geod

from arctic_assets import settings
from arctic_assets.cli import main
from arctic_assets.science.area_change import SIGNIFICANT
from arctic_assets.sources import rgi7
from arctic_assets.tables import Area, AreaChange, Outline
from arctic_assets_tests.testkit.platform import SHARED, Platform, needs_shared, platform

pytestmark = needs_shared

GLACIER = "austre_broeggerbreen"
ZIP_11 = SHARED / "real/mirror/rgi7/RGI2000-v7.0-G-11_central_europe.zip"
FILE = SHARED / "real/revisions/austre_broeggerbreen_npi.gpkg"
WORDS = ("--glacier", GLACIER, "--inventory-field", "year", "--editor", "NPI", "--reason", "maps and images")
TRUE_KM2 = {"1936": 12.02, "1990": 10.25, "2007": 9.71}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    folder = tmp_path_factory.mktemp("npi")
    shutil.copytree(SHARED / "real/mirror/rgi7", folder / "mirror/rgi7")
    inventories = ("rgi7", *TRUE_KM2)
    found = platform(folder / "home", folder / "mirror", SHARED / "real/glaciers.csv", inventories=inventories)
    assert found.build("raw/rgi7").is_good
    result = outline_import(found, FILE, *WORDS)
    assert result.exit_code == 0, result.output
    assert result.output.count(f"{GLACIER} ") == 3 and "first outline" in result.output
    assert found.build('key:"derived/outline" or key:"derived/area" or key:"derived/area_change"').is_good
    return found


def test_areas_are_those_of_the_institute(built: Platform) -> None:
    areas = built.rows(Area).query("glacier_id == @GLACIER").set_index("inventory")
    assert set(areas.index) == set(TRUE_KM2)
    for inventory, km2 in TRUE_KM2.items():
        row = areas.loc[inventory]
        assert row["area_km2"] == pytest.approx(km2, rel=0.003)
        assert row["area_sigma_independent_km2"] < row["area_sigma_km2"] <= row["area_bound_km2"] * 1.001
        assert row["origin"] == "revision"
    outlines = built.rows(Outline).query("glacier_id == @GLACIER").set_index("inventory")
    assert set(outlines["editor"]) == {"NPI"} and set(outlines["revision"]) == {1}
    assert outlines["flags"].map(lambda flags: "nominal_date" in flags).all(), "the file has years only"


def test_change_rate_and_significance(built: Platform) -> None:
    changes = built.rows(AreaChange).query("glacier_id == @GLACIER").set_index(["from_inventory", "to_inventory"])
    assert len(changes) == 3
    row = changes.loc[("1936", "2007")]
    lost = TRUE_KM2["2007"] - TRUE_KM2["1936"]
    assert row["change_km2"] == pytest.approx(lost, abs=0.05)
    assert row["years"] == pytest.approx(71, abs=0.01)
    assert row["rate_km2_yr"] == pytest.approx(lost / 71, rel=0.02)
    assert row["rate_pct_yr"] == pytest.approx(100 * lost / TRUE_KM2["1936"] / 71, rel=0.02)
    assert row["change_sigma_independent_km2"] < row["change_sigma_km2"] <= row["change_bound_km2"]
    assert (row["from_date"], row["to_date"]) == (dt.date(1936, 9, 1), dt.date(2007, 9, 1))
    for _, one in changes.iterrows():
        assert one["significant"] == (abs(one["change_km2"]) > SIGNIFICANT * one["change_sigma_km2"])
    assert row["significant"]


def test_the_reference_that_the_mirror_lacks_stays_a_gap(built: Platform) -> None:
    gaps = built.warehouse.gaps("derived/outline").set_index("partition")["reason"]
    assert f"{GLACIER}|rgi7" in gaps.index
    assert pd.notna(gaps[f"{GLACIER}|rgi7"]) and not any(f"{GLACIER}|{year}" in gaps.index for year in TRUE_KM2)
    assert (Path(built.current.archive) / "revisions" / GLACIER / "1936/001.geojson").is_file()


def outline_import(found: Platform, file: Path, *words: object) -> Result:
    """The command as a user gives it."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in settings.environment(found.current).items():
            patched.setenv(name, value)
        return CliRunner().invoke(main, ["outline", "import", str(file), *map(str, words)])


def test_what_the_file_does_not_say_is_asked_for(built: Platform) -> None:
    result = outline_import(built, FILE)
    assert result.exit_code == 1
    assert "an outline lacks glacier_id, inventory, editor, reason" in result.output
    for option in ("--glacier", "--inventory-field", "--editor", "--reason"):
        assert option in result.output


@pytest.mark.parametrize("other", ["hintereisferner", "geitlandsjokull"])
def test_another_glacier_is_too_far_away(other: str, built: Platform) -> None:
    result = outline_import(built, FILE, *WORDS, "--glacier", other)
    assert result.exit_code == 1 and "an outline is far from its glacier" in result.output


def test_without_a_reference_the_registry_says_where_the_glacier_is(built: Platform, tmp_path: Path) -> None:
    frame = gpd.read_file(FILE).query("year == 2007")
    frame.assign(geometry=frame.geometry.translate(xoff=60_000)).to_file(tmp_path / "shifted.gpkg")
    result = outline_import(built, tmp_path / "shifted.gpkg", *WORDS)
    assert result.exit_code == 1 and "an outline is far from its glacier" in result.output
    assert "at most 20 km away" in result.output


def test_an_aerial_photograph_has_finer_pixels(built: Platform) -> None:
    """The same outlines with half a pixel of 2.5 m: new revisions, and a sixth of the bound."""
    before = built.rows(Area).query("glacier_id == @GLACIER").set_index("inventory")
    result = outline_import(built, FILE, *WORDS, "--half-pixel-m", 2.5)
    assert result.exit_code == 0 and "2007, revision 2 by NPI" in result.output and "+0.000 km2" in result.output
    assert built.build('key:"derived/outline" or key:"derived/area"').is_good
    after = built.rows(Area).query("glacier_id == @GLACIER").set_index("inventory")
    assert after["area_km2"].equals(before["area_km2"])
    assert set(before["half_pixel_m"]) == {15.0} and set(after["half_pixel_m"]) == {2.5}
    assert list(after["area_bound_km2"] * 6) == pytest.approx(list(before["area_bound_km2"]))
    assert (after["area_sigma_km2"] < before["area_sigma_km2"] / 5).all()
    assert set(after["n_digitisations"]) == {1}, "one editor who draws again is no second opinion"


def test_divides_with_neighbours_take_no_part_in_the_error_of_a_change(built: Platform, tmp_path: Path) -> None:
    """Hintereisferner drawn again: a twelfth of its boundary are divides, which no analyst moves."""
    (row,) = built.rows(Outline).query("glacier_id == 'hintereisferner'").to_dict("records")
    again = gpd.GeoDataFrame(
        {"glacier_id": ["hintereisferner"], "inventory": ["2007"], "editor": ["Ada"], "reason": ["seen again"]},
        geometry=[shapely.from_wkb(row["geometry"])],
        crs=4326,
    )
    again.to_file(tmp_path / "again.geojson")
    assert outline_import(built, tmp_path / "again.geojson", "--image-date", "2007-08-30").exit_code == 0
    assert built.build('key:"derived/outline" or key:"derived/area" or key:"derived/area_change"').is_good

    whole = shapely.from_wkb(row["geometry"])
    beside = rgi7.read_neighbours(ZIP_11, whole.buffer(0.01).bounds, row["member_ids"]).geometry
    length = Geod(ellps="WGS84").geometry_length
    shared = length(shapely.intersection(whole.boundary, shapely.union_all([one.boundary for one in beside])))
    areas = built.rows(Area).query("glacier_id == 'hintereisferner'").set_index("inventory")
    assert 0.05 < shared / length(whole.boundary) < 0.1
    assert list(areas["free_share"]) == pytest.approx([1 - shared / length(whole.boundary)] * 2, abs=0.003)
    (change,) = built.rows(AreaChange).query("glacier_id == 'hintereisferner'").to_dict("records")
    free = areas["area_sigma_km2"] * areas["free_share"]
    assert change["change_sigma_km2"] == pytest.approx(math.hypot(*free))
    assert change["change_km2"] == pytest.approx(0, abs=1e-4) and not change["significant"]
