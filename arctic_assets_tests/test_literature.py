from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from arctic_assets import glaciers, literature
from arctic_assets.errors import SourceError
from arctic_assets.science.balance_period import COLUMNS
from arctic_assets.tables.balance_period import BalancePeriod

HEADER = (
    "glacier_id,scope,quantity,period_start,period_end,value,unit,uncertainty,origin,source_doi,source,"
    "location_in_source,verified,note"
)
ROW = "a,glacier,geodetic balance,2000,2010,-500,mm w.e./yr,100,published,10.1/x,Ann 2012,abstract,yes,"


def write(folder: Path, *rows: str) -> Path:
    path = folder / "literature.csv"
    path.write_text("\n".join([HEADER, *rows, ""]))
    return path


ASSUMED = 0.34


def published(areas: Mapping[str, float | None], path: Path | None = None) -> literature.Published:
    return literature.published(areas, ASSUMED, path)


def areas() -> dict[str, float | None]:
    return {glacier.glacier_id: glacier.area_km2 for glacier in glaciers.load()}


def test_the_packaged_file() -> None:
    found = published(areas())
    frame = found.frame
    assert tuple(frame.columns) == COLUMNS
    assert len(frame) + len(found.left_out) == len(literature.load()), "every row is a row or a reason"
    assert set(frame["glacier_id"]) == {"novaya_zemlya", "eklutna", "mccall", "taku", "lemon_creek"}
    assert not frame.duplicated(BalancePeriod.key()).any()
    nz = frame[frame["glacier_id"] == "novaya_zemlya"]
    assert nz["balance_gt_yr"].tolist() == [-10, -14]
    assert nz["balance_sigma_gt_yr"].tolist() == pytest.approx([5, 4])
    assert nz["balance_m_we_yr"].tolist() == pytest.approx([-0.452, -0.633], abs=5e-4)
    assert nz["reference"].str.contains("https://doi.org/10.3390/rs10111817").all()
    assert not frame["reference"].str.contains(r"\?", regex=True).any(), "no DOI that is not sure"


def test_thinning_is_converted_with_its_density() -> None:
    frame = published(areas()).frame
    (row,) = frame[frame["density_kg_m3"].notna() & (frame["period_end"] == dt.date(1993, 12, 31))].to_dict("records")
    assert row["glacier_id"] == "mccall"
    assert row["density_kg_m3"] == 850 and row["sigma_kind"] == "propagated"
    assert row["balance_m_we_yr"] == pytest.approx(-0.35 * 0.85)
    assert row["balance_sigma_m_we_yr"] == pytest.approx(np.hypot(0.07 * 0.85, 0.35 * 0.06))
    assert row["period_precision"] == "year"


def test_regions_and_numbers_that_were_not_found_are_left_out_with_the_reason() -> None:
    reasons: dict[str, list[str]] = {}
    for place, reason in published(areas()).left_out:
        reasons.setdefault(place, []).append(reason)
    for place in ("russian_high_arctic", "queen_elizabeth_islands", "trinity_and_wykeham"):
        assert all("no glacier of the registry" in reason for reason in reasons[place])
    for glacier in ("parrish", "wykeham_south"):
        assert len(reasons[glacier]) == 3
        assert all("NOT FOUND" in reason for reason in reasons[glacier])
    assert any("verified: partly" in reason for reason in reasons["novaya_zemlya"])


def test_units(tmp_path: Path) -> None:
    path = write(tmp_path, ROW, ROW.replace("-500,mm w.e./yr,100", "-2,Gt/yr,").replace("geodetic", "total mass"))
    frame = published({"a": 2000.0}, path).frame
    assert frame["balance_m_we_yr"].tolist() == [-0.5, -1.0]
    assert frame["balance_gt_yr"].tolist() == [-1.0, -2.0]
    assert frame["balance_sigma_gt_yr"].tolist()[0] == pytest.approx(0.2)
    assert frame["sigma_kind"].tolist() == ["published", "assumed"]


@pytest.mark.parametrize("printed", ["", "0"])
@pytest.mark.parametrize(("value", "unit"), [("-500", "mm w.e./yr"), ("-0.5", "m/yr"), ("-1", "Gt/yr")])
def test_a_sigma_that_is_not_printed_is_assumed(tmp_path: Path, value: str, unit: str, printed: str) -> None:
    path = write(tmp_path, ROW.replace("-500,mm w.e./yr,100", f"{value},{unit},{printed}"))
    (row,) = published({"a": 2000.0}, path).frame.to_dict("records")
    assert row["sigma_kind"] == "assumed"
    assert row["balance_sigma_m_we_yr"] == ASSUMED and row["balance_sigma_gt_yr"] == pytest.approx(ASSUMED * 2)


def test_without_an_area_there_is_no_gt(tmp_path: Path) -> None:
    path = write(tmp_path, ROW, ROW.replace("mm w.e./yr", "Gt/yr").replace("-500", "-2"))
    found = published({"a": None}, path)
    assert found.frame["balance_m_we_yr"].tolist() == [-0.5]
    assert found.frame[["balance_gt_yr", "reference_area_km2"]].isna().all(axis=None)
    assert "need a reference area" in found.left_out[0][1]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (",yes,", ",secondary,", "verified: secondary"),
        ("published", "derived", "calculated from another published number"),
        ("geodetic balance", "ice discharge D", "no balance of the whole glacier"),
        ("-500", "", "no number"),
    ],
)
def test_rows_that_do_not_count(tmp_path: Path, old: str, new: str, reason: str) -> None:
    found = published({"a": 1.0}, write(tmp_path, ROW.replace(old, new)))
    assert found.frame.empty and reason in found.left_out[0][1]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("mm w.e./yr", "m w.e./yr", "cannot be(.|\n)*row 2"),
        ("mm w.e./yr", "inches", "unknown unit"),
        ("-500", "much", "something else than numbers"),
        ("2000,2010", "2010,2000", "no period"),
    ],
)
def test_wrong_files_are_refused(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        published({"a": 1.0}, write(tmp_path, ROW.replace(old, new)))


def test_a_file_without_a_column_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "literature.csv"
    path.write_text(f"{HEADER.replace(',verified', '')}\n")
    with pytest.raises(SourceError, match=r"lacks columns(.|\n)*verified"):
        literature.load(path)
