"""The registry: the 16 glaciers load, other registries too, and every mistake in one is told by row and column."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from arctic_assets import glaciers
from arctic_assets.errors import RegistryError

REAL = Path(__file__).parents[2] / "shared" / "real" / "glaciers.csv"
GOOD = {
    "glacier_id": "taku",
    "name": "Taku Glacier",
    "kind": "glacier",
    "o1region": "01",
    "o2region": "01-06",
    "rgi7_ids": "RGI2000-v7.0-G-01-19709",
    "rgi6_ids": "RGI60-01.01390",
    "wgms_id": "124",
    "wgms_scope": "own",
    "longitude": "-134.343093",
    "latitude": "58.632159",
    "area_km2": "521.4",
    "utm_epsg": "32608",
    "expected_speed_m_yr": "500",
}
OTHER = {
    **GOOD,
    "glacier_id": "lemon_creek",
    "name": "Lemon Creek Glacier",
    "rgi7_ids": "RGI2000-v7.0-G-01-19406",
    "rgi6_ids": "RGI60-01.01104",
    "wgms_id": "3334",
}


def write(folder: Path, *rows: dict[str, str], encoding: str = "utf-8") -> Path:
    text = io.StringIO()
    table = csv.DictWriter(text, fieldnames=list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    path = folder / "registry.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    return path


def refusal(path: Path) -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        glaciers.load(path)
    assert str(path) in str(caught.value.where)
    assert caught.value.todo
    return caught.value


def test_the_sixteen_glaciers_load() -> None:
    registry = glaciers.load()
    assert len(registry) == len(set(registry.ids)) == 16
    assert registry.path == glaciers.PACKAGED
    assert registry.regions == ("01", "03", "05", "06", "07", "08", "09")
    assert {glacier.kind for glacier in registry} == {"glacier", "archipelago"}
    assert all(glacier.rgi7_ids or glacier.rgi6_ids for glacier in registry)
    taku = registry["taku"]
    assert (taku.wgms_id, taku.utm_epsg, taku.area_km2) == (124, 32608, 521.396322)
    assert taku.name_zh == "塔库冰川"
    assert registry["geitlandsjokull"].wgms_scope == "parent_ice_cap"
    assert registry["parrish"].rgi7_ids == ()


def test_the_archipelago_has_480_members() -> None:
    members = glaciers.load()["novaya_zemlya"].rgi7_ids
    assert len(members) == len(set(members)) == 480
    assert members[0] == "RGI2000-v7.0-G-09-00413"
    assert members[-1] == "RGI2000-v7.0-G-09-00892"


@pytest.mark.skipif(not REAL.is_file(), reason=f"the real provider files are not here ({REAL})")
def test_the_registry_of_the_real_mirror_loads() -> None:
    registry = glaciers.load(REAL)
    assert registry.ids == ("hintereisferner", "kesselwandferner", "geitlandsjokull", "austre_broeggerbreen")
    assert registry["austre_broeggerbreen"].rgi7_ids == ()
    assert registry["kesselwandferner"].rgi6_ids == ()
    # Columns it does not have.
    assert registry["hintereisferner"].area_km2 is None
    assert registry["hintereisferner"].o2region == ""


def test_the_required_columns_are_enough(tmp_path: Path) -> None:
    row = {name: GOOD[name] for name in (*glaciers.REQUIRED, "rgi6_ids")}
    (glacier,) = glaciers.load(write(tmp_path, row))
    assert glacier.rgi6_ids == ("RGI60-01.01390",)
    assert glacier.rgi7_ids == ()
    assert (glacier.wgms_id, glacier.wgms_scope, glacier.notes) == (None, "", "")


def test_a_wgms_series_is_the_glaciers_own_unless_said_otherwise(tmp_path: Path) -> None:
    row = {key: value for key, value in GOOD.items() if key != "wgms_scope"}
    assert glaciers.load(write(tmp_path, row))["taku"].wgms_scope == "own"


def test_lists_and_ranges_of_ids(tmp_path: Path) -> None:
    ids = "RGI2000-v7.0-G-01-00009..RGI2000-v7.0-G-01-00011; RGI2000-v7.0-G-01-00020 RGI2000-v7.0-G-01-00030"
    (glacier,) = glaciers.load(write(tmp_path, {**GOOD, "rgi7_ids": ids}))
    assert [rgi_id[-5:] for rgi_id in glacier.rgi7_ids] == ["00009", "00010", "00011", "00020", "00030"]


def test_what_a_spreadsheet_does_to_a_file_is_read(tmp_path: Path) -> None:
    """A byte order mark, a region without its zero, blank rows at the end."""
    path = write(tmp_path, {**GOOD, "o1region": "1"}, encoding="utf-8-sig")
    path.write_bytes(path.read_bytes() + b",,,,,,,,,,,,\r\n\r\n")
    (glacier,) = glaciers.load(path)
    assert (glacier.glacier_id, glacier.o1region) == ("taku", "01")


def test_the_hash_follows_the_rows_not_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD, OTHER)
    before = glaciers.load(path).hash
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    assert glaciers.load(path).hash == before
    path.write_bytes(path.read_bytes().replace(b"58.632159", b"58.632158"))
    assert glaciers.load(path).hash != before


def test_an_unknown_glacier_is_refused_with_a_hint() -> None:
    with pytest.raises(RegistryError, match="no such glacier") as caught:
        glaciers.load()["Lemon Creek"]
    assert "did you mean lemon_creek" in str(caught.value)


def test_the_registry_needs_only_the_standard_library() -> None:
    code = (
        "import sys; from arctic_assets import glaciers; glaciers.load();"
        "print(*sorted({m.partition('.')[0] for m in sys.modules} & {'pandas', 'numpy', 'dagster', 'pandera'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_no_file(tmp_path: Path) -> None:
    assert "cannot be read" in refusal(tmp_path / "absent.csv").problem
    assert "cannot be read" in refusal(tmp_path).problem


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        (",".join(GOOD).encode(), "empty"),
        (b"PK\x03\x04rest of a workbook", "not a CSV file"),
        (b"glacier_id\x00,name", "not a CSV file"),
        ("glacier_id,name\na,Østre".encode("latin-1"), "not UTF-8"),
        (b'glacier_id,name\na,"open', "not valid CSV"),
        (b"glacier_id;name;kind\na;A;glacier", "not separated by commas"),
    ],
)
def test_a_file_that_is_no_registry(tmp_path: Path, data: bytes, problem: str) -> None:
    path = tmp_path / "registry.csv"
    path.write_bytes(data)
    assert problem in refusal(path).problem


def test_the_line_with_the_wrong_encoding_is_named(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, GOOD, {**OTHER, "name": "Brøggerbreen"}, encoding="latin-1"))
    assert error.where and error.where.endswith("line 3")


@pytest.mark.parametrize("column", glaciers.REQUIRED)
def test_a_required_column_is_missing(tmp_path: Path, column: str) -> None:
    error = refusal(write(tmp_path, {key: value for key, value in GOOD.items() if key != column}))
    assert error.problem == "the column is missing"
    assert error.where and error.where.endswith(f"row 1, column {column}")


def test_no_column_of_rgi_ids(tmp_path: Path) -> None:
    row = {key: value for key, value in GOOD.items() if not key.startswith("rgi")}
    assert "no column of RGI ids" in refusal(write(tmp_path, row)).problem


def test_a_misspelt_optional_column_is_not_dropped_silently(tmp_path: Path) -> None:
    row = {"itslive_regions" if key == "o2region" else key: value for key, value in GOOD.items()}
    error = refusal(write(tmp_path, row))
    assert error.todo == "did you mean itslive_region?"


def test_a_column_twice(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    header, body = path.read_text().split("\n", 1)
    path.write_text(f"{header.strip()},name\n{body.strip()},Taku\n")
    assert "there twice" in refusal(path).problem


def test_a_row_with_too_few_cells(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD)
    path.write_text(path.read_text() + "lemon_creek,Lemon Creek Glacier\n")
    error = refusal(path)
    assert error.problem == "the row has 2 cells"
    assert error.where and error.where.endswith("row 3")


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("glacier_id", "", "the glacier_id is empty"),
        ("glacier_id", "taku|north", "the glacier_id cannot be used"),
        ("glacier_id", "taku,north", "the glacier_id cannot be used"),
        ("glacier_id", "[taku]", "the glacier_id cannot be used"),
        ("glacier_id", "taku north", "the glacier_id cannot be used"),
        ("glacier_id", "Taku", "the glacier_id cannot be used"),
        ("glacier_id", "geitlandsjökull", "the glacier_id cannot be used"),
        ("glacier_id", "../taku", "the glacier_id cannot be used"),
        ("name", "", "the glacier has no name"),
        ("kind", "ice sheet", "the kind is unknown"),
        ("kind", "", "the kind is unknown"),
        ("o1region", "20", "the RGI region is unknown"),
        ("o1region", "Alaska", "the RGI region is unknown"),
        ("o1region", "", "the RGI region is unknown"),
        ("o2region", "Jan 06", "the RGI subregion does not fit"),
        ("o2region", "02-01", "the RGI subregion does not fit"),
        ("rgi7_ids", "RGI60-01.01390", "not an RGI id"),
        ("rgi7_ids", "RGI2000-v7.0-C-01-19709", "not an RGI id"),
        ("rgi7_ids", "RGI2000-v7.0-G-01-197", "not an RGI id"),
        ("rgi7_ids", "RGI2000-v7.0-G-01-19709,RGI2000-v7.0-G-01-19710", "not an RGI id"),
        ("rgi7_ids", "RGI2000-v7.0-G-01-00001..00005", "not an RGI range"),
        ("rgi7_ids", "RGI2000-v7.0-G-01-00001..", "not an RGI range"),
        ("rgi7_ids", "RGI2000-v7.0-G-01-00009..RGI2000-v7.0-G-01-00003", "ends before it starts"),
        ("rgi7_ids", "RGI2000-v7.0-G-01-00009..RGI2000-v7.0-G-02-00012", "spans two regions"),
        ("rgi7_ids", "RGI2000-v7.0-G-02-00012", "an id of region 02, the row says o1region 01"),
        ("rgi7_ids", "RGI2000-v7.0-G-01-00001..RGI2000-v7.0-G-01-00003;RGI2000-v7.0-G-01-00002", "named twice"),
        ("rgi6_ids", "RGI2000-v7.0-G-01-19709", "not an RGI id"),
        ("rgi6_ids", "RGI60-02.00001", "an id of region 02"),
        ("wgms_id", "N/A", "the wgms_id is not a number"),
        ("wgms_id", "124.0", "the wgms_id is not a number"),
        ("wgms_id", "²", "the wgms_id is not a number"),
        ("wgms_scope", "parent", "the wgms_scope is unknown"),
        ("longitude", "226", "the longitude is impossible"),
        ("longitude", "134°20'W", "the longitude is impossible"),
        ("longitude", "nan", "the longitude is impossible"),
        ("latitude", "", "the latitude is impossible"),
        ("latitude", "-91", "the latitude is impossible"),
        ("area_km2", "0", "not above 0"),
        ("area_km2", "521,4", "not above 0"),
        ("expected_speed_m_yr", "-1", "not above 0"),
        ("utm_epsg", "4326", "not a UTM zone"),
        ("utm_epsg", "32661", "not a UTM zone"),
        ("utm_epsg", "8", "not a UTM zone"),
    ],
)
def test_a_wrong_cell(tmp_path: Path, column: str, value: str, problem: str) -> None:
    error = refusal(write(tmp_path, OTHER, {**GOOD, column: value}))
    assert problem in error.problem
    assert error.where and error.where.endswith(f"row 3, column {column}")
    assert error.expected
    assert error.got == (value or "nothing")


def test_a_glacier_without_any_rgi_id(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, {**GOOD, "rgi7_ids": "", "rgi6_ids": ""}))
    assert error.problem == "the glacier has no RGI id"
    assert error.where and error.where.endswith("row 2, column rgi7_ids")


@pytest.mark.parametrize(
    ("longitude", "latitude", "epsg"),
    [
        ("58.632159", "-134.343093", "32608"),  # latitude out of range
        ("75.8", "61.0", "32641"),  # both in range; the UTM zone tells
        ("78.8876", "11.8309", "32633"),
    ],
)
def test_swapped_coordinates(tmp_path: Path, longitude: str, latitude: str, epsg: str) -> None:
    error = refusal(write(tmp_path, {**GOOD, "longitude": longitude, "latitude": latitude, "utm_epsg": epsg}))
    assert "swapped" in error.problem
    assert error.todo == "swap the two cells"


def test_zones_1_and_60_are_neighbours(tmp_path: Path) -> None:
    """Wrangel Island lies on both sides of 180 degrees."""
    row = {**GOOD, "longitude": "-179.5", "latitude": "71.2", "utm_epsg": "32660"}
    assert glaciers.load(write(tmp_path, row))["taku"].longitude == -179.5


def test_an_id_in_two_rows(tmp_path: Path) -> None:
    error = refusal(write(tmp_path, GOOD, {**OTHER, "glacier_id": "taku"}))
    assert error.problem == "the glacier_id is already that of row 2"
    assert error.where and error.where.endswith("row 3, column glacier_id")


def test_an_outline_in_two_rows(tmp_path: Path) -> None:
    both = "RGI2000-v7.0-G-01-19709..RGI2000-v7.0-G-01-19711"
    error = refusal(write(tmp_path, {**GOOD, "rgi7_ids": both}, {**OTHER, "rgi7_ids": both}))
    assert error.problem == "the outline belongs already to row 2"
    assert error.where and error.where.endswith("row 3, column rgi7_ids")
    assert error.got == "RGI2000-v7.0-G-01-19709 and 2 more"


def test_two_glaciers_may_share_their_rgi6_outline(tmp_path: Path) -> None:
    """RGI7 divides glaciers that were one in RGI6."""
    assert len(glaciers.load(write(tmp_path, GOOD, {**OTHER, "rgi6_ids": GOOD["rgi6_ids"]}))) == 2


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    error = refusal(
        write(tmp_path, {**GOOD, "kind": "icecap", "wgms_id": "x"}, {**OTHER, "o1region": "42", "glacier_id": "a b"})
    )
    text = str(error)
    assert "has 4 problems" in error.problem
    for place in ("row 2, column kind", "row 2, column wgms_id", "row 3, column o1region", "row 3, column glacier_id"):
        assert place in text
    assert text.index("row 2") < text.index("row 3")
    assert "for example a_b" in text
