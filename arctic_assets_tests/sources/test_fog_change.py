from __future__ import annotations

import datetime as dt
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from arctic_assets.errors import SourceError
from arctic_assets.sources import fog_change
from arctic_assets.sources.base import Missing
from arctic_assets.sources.fog_change import Changes

REAL = Path(__file__).parents[3] / "shared/real/mirror/wgms/DOI-WGMS-FoG-2021-05.zip"
needs_real = pytest.mark.skipif(not REAL.is_file(), reason="the real provider files (../shared/real) are not here")

HEADER_A = (
    "country,glacier_name,glacier_id,begin_outline_id,end_outline_id,id,begin_date,begin_date_unc,end_date,end_date_unc,"
    "area,elevation_change,elevation_change_unc,volume_change,volume_change_unc,investigators,agencies,references,remarks"
)
HEADER_B = (
    "POLITICAL_UNIT,NAME,WGMS_ID,SURVEY_ID,YEAR,SURVEY_DATE,REFERENCE_DATE,LOWER_BOUND,UPPER_BOUND,AREA_SURVEY_YEAR,"
    "AREA_CHANGE,AREA_CHANGE_UNC,THICKNESS_CHG,THICKNESS_CHG_UNC,VOLUME_CHANGE,INVESTIGATOR,REFERENCE,REMARKS"
)


def row_a(
    glacier: int = 298,
    survey: int = 1,
    begin: str = "2000-08-15",
    end: str = "2010-08-15",
    change: object = -8.5,
    sigma: object = 1.2,
    area: object = 36200000,
) -> str:
    return (
        f'NO,"ENGABREEN, W",{glacier},,,{survey},{begin},15,{end},10,{area},{change},{sigma},1,1,"Ann, B.",NVE,'
        f'"Ann et al. 2012 (https://doi.org/10.1/x)",'
    )


def row_b(
    survey: int = 7, end: str = "20080902", begin: str = "19980899", change: object = -9100, band: int = 9999
) -> str:
    return f"NO,ENGABREEN,298,{survey},2008,{end},{begin},{band},{band},36.2,-800,,{change},500,,Kjøllmoen,,"


def write(folder: Path, header: str, rows: list[str], units: dict[str, str] | None = None, latin: bool = False) -> Path:
    path = folder / ".DOI-WGMS-FoG-2026-02-10.zip.part"
    fields = [{"name": name, "units": unit} for name, unit in (units or {}).items()]
    package = {"resources": [{"path": "data/change.csv", "schema": {"fields": fields}}]}
    band = (
        "glacier_id,begin_date,end_date,lower_elevation,area,elevation_change,elevation_change_unc\n298,,,100,1,-90,1\n"
    )
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/change_band.csv", band)
        text = "\n".join([header, *rows, ""])
        archive.writestr("data/change.csv", text.encode("latin-1" if latin else "utf-8"))
        archive.writestr("datapackage.json", json.dumps(package))
    return path


def read(path: Path, *wgms_ids: int) -> Changes:
    found = fog_change.read_changes(path, wgms_ids or [298])
    assert isinstance(found, Changes)
    return found


def test_schema_a(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER_A, [row_a(), row_a(glacier=5, change=-100), row_a()], {"area": "m²"})
    found = read(path)
    assert found.left_out == ()
    (row,) = found.frame.to_dict("records")
    assert (row["wgms_id"], row["survey_id"]) == (298, "1")
    assert (row["period_start"], row["period_end"]) == (dt.date(2000, 8, 15), dt.date(2010, 8, 15))
    assert (row["period_start_unc_d"], row["period_end_unc_d"]) == (15, 10)
    assert row["years"] == pytest.approx(3652 / 365.25)
    assert (row["elevation_change_m"], row["elevation_change_sigma_m"]) == (-8.5, 1.2)
    assert row["area_km2"] == pytest.approx(36.2) and np.isnan(row["area_start_km2"])
    assert row["reference"] == "Ann et al. 2012 (https://doi.org/10.1/x)"


def test_schema_b_in_millimetres_with_bands_and_unknown_days(tmp_path: Path) -> None:
    rows = [row_b(), row_b(band=1200, change=-40000), row_b(survey=8, begin="19689999", end="19980826")]
    for latin in (False, True):
        frame = read(write(tmp_path, HEADER_B, rows, latin=latin)).frame
        assert frame["survey_id"].tolist() == ["8", "7"]
        assert frame["elevation_change_m"].tolist() == [-9.1, -9.1]
        assert frame["elevation_change_sigma_m"].tolist() == [0.5, 0.5]
        assert frame["period_start"].tolist() == [dt.date(1968, 7, 1), dt.date(1998, 8, 15)]
        assert frame["period_start_unc_d"].tolist() == [183, 15]
        assert frame["period_end_unc_d"].tolist() == [0, 0]
        assert frame["area_start_km2"].tolist() == pytest.approx([37.0, 37.0]), "36.2 km2 after a loss of 0.8 km2"
        assert frame["reference"].tolist() == ["Kjøllmoen"] * 2


def test_rows_that_cannot_be_used_are_left_out_and_named(tmp_path: Path) -> None:
    rows = [
        row_a(survey=1),
        row_a(survey=2, begin="2010-08-15", end="2000-08-15"),
        row_a(survey=3, begin="2010-08-15"),
        row_a(survey=4, change=""),
        row_a(survey=5, end=""),
        row_a(survey=6, change=-5000),
        row_a(survey=7, begin="2010-08-15", end="2020-08-15", sigma="", area=""),
    ]
    found = read(write(tmp_path, HEADER_A, rows))
    assert found.frame["survey_id"].tolist() == ["1", "7"]
    assert found.frame[["elevation_change_sigma_m", "area_km2"]].iloc[1].isna().all()
    told = "\n".join(sentence for _, sentence in found.left_out)
    assert [wgms_id for wgms_id, _ in found.left_out] == [298] * 5
    assert "2 of glacier 298 does not end after it begins (2010-08-15 to 2000-08-15)" in told
    assert "3 of glacier 298 does not end after it begins" in told
    assert "4 of glacier 298 states no elevation change" in told
    assert "5 of glacier 298 lacks the date" in told
    assert "6 of glacier 298 changes by more than 20 m per year" in told


@pytest.mark.parametrize(
    ("row", "units", "problem"),
    [
        (row_a(change=-8500), {}, "another unit(.|\n)*got: 850"),
        (row_a(), {"elevation_change": "feet"}, "unknown unit(.|\n)*got: feet"),
        (row_a(), {"area": "acres"}, "unknown unit(.|\n)*got: acres"),
        (row_a(), {"area": "km2"}, "areas do not fit"),
        (row_a(change="thin"), {}, "something else than numbers"),
    ],
)
def test_other_units_are_refused(tmp_path: Path, row: str, units: dict[str, str], problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        read(write(tmp_path, HEADER_A, [row.replace(",,,1,", f",,,{survey},") for survey in (1, 2, 3)], units))


def test_stated_units_are_converted(tmp_path: Path) -> None:
    path = write(
        tmp_path, HEADER_A, [row_a(change=-8500, sigma=1200, area=36.2)], {"elevation_change": "mm", "area": "km2"}
    )
    frame = read(path).frame
    assert frame[["elevation_change_m", "elevation_change_sigma_m", "area_km2"]].to_numpy().tolist() == [
        [-8.5, 1.2, 36.2]
    ]


def test_metres_in_schema_b_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="another unit"):
        read(write(tmp_path, HEADER_B, [row_b(survey=i, change=-8 - i / 10) for i in range(12)]))


def test_a_glacier_without_changes_has_no_rows(tmp_path: Path) -> None:
    found = read(write(tmp_path, HEADER_A, [row_a()]), 5)
    assert found.frame.empty and found.left_out == ()


def test_a_release_without_the_table_is_a_gap(tmp_path: Path) -> None:
    path = tmp_path / "DOI-WGMS-FoG-2026-02-10.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data/mass_balance.csv", "glacier_id,year\n")
    assert isinstance(fog_change.read_changes(path, [298]), Missing)


@needs_real
def test_the_real_copy_has_no_changes() -> None:
    found = fog_change.read_changes(REAL, [491])
    assert isinstance(found, Missing) and REAL.name in found.reason
