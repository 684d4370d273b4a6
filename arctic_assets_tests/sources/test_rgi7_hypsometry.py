from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest

from arctic_assets.errors import SourceError
from arctic_assets.sources.base import Missing
from arctic_assets.sources.rgi7_hypsometry import read_hypsometry

A, B = "RGI2000-v7.0-G-07-00001", "RGI2000-v7.0-G-07-00002"
TABLE = f"rgi_id,area_km2,-25,25,75\n{A},2.0,0,250,750\n{B},4.0,100,900,0\n"


def write(folder: Path, text: str = TABLE, name: str = "-hypsometry.csv") -> Path:
    path = folder / "RGI2000-v7.0-G-07_svalbard_jan_mayen.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"RGI2000-v7.0-G-07_svalbard_jan_mayen{name}", text)
    return path


def read(path: Path, *ids: str) -> pd.DataFrame:
    found = read_hypsometry(path, ids)
    assert not isinstance(found, Missing)
    return found


def test_bands_with_ice_and_their_areas(tmp_path: Path) -> None:
    frame = read(write(tmp_path), A, B, "RGI2000-v7.0-G-07-09999")
    assert frame.to_dict("list") == {
        "rgi7_id": [A, A, B, B],
        "elevation_m": [25.0, 75.0, -25.0, 25.0],
        "area_km2": [0.5, 1.5, 0.4, 3.6],
    }
    assert read(write(tmp_path), "RGI2000-v7.0-G-07-09999").empty


def test_rounded_thousandths_still_sum_to_the_area(tmp_path: Path) -> None:
    frame = read(write(tmp_path, TABLE.replace("250,750", "250,748")), A)
    assert frame["area_km2"].sum() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("250,750", "250,650", "no shares of its area(.|\n)*900"),
        ("250,750", "-250,1250", "no shares"),
        ("250,750", "1000,", "no shares"),
        ("2.0", "0", "no shares"),
        ("250", "some", "something else than numbers"),
        ("area_km2", "area", "other columns"),
        (B, A, "an outline twice"),
    ],
)
def test_wrong_tables_are_refused(tmp_path: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(SourceError, match=problem):
        read_hypsometry(write(tmp_path, TABLE.replace(old, new)), [A])


def test_a_copy_without_the_table_is_a_gap(tmp_path: Path) -> None:
    assert isinstance(read_hypsometry(write(tmp_path, name="-attributes.csv"), [A]), Missing)
