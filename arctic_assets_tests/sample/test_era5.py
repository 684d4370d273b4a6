"""Months that the sample holds as preliminary and as final values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from arctic_assets import glaciers, sample
from arctic_assets.sample import Truth
from arctic_assets.sources import era5
from arctic_assets.sources.era5 import DATASET, Box, path_of
from arctic_assets_tests.testkit.platform import Platform, small_registry

MOVES_K = {"2020-07": 0.0390625, "2020-08": -0.0234375, "2020-09": 0.064453125}


def test_truth_says_which_months_moved_and_by_how_much(small_mirror: Platform) -> None:
    truth = Truth.read(Path(small_mirror.current.mirror))
    assert truth.preliminary_moves_k == MOVES_K
    assert truth.preliminary_months == ("2020-10", "2020-11", "2020-12")


def test_file_of_a_former_request_lies_beside_the_final_one(small_mirror: Platform) -> None:
    folder = Path(small_mirror.current.mirror) / "era5"
    former = sorted((folder / DATASET).glob("*.nc"))
    assert [path.name.split("_")[2] for path in former] == ["06", "07", "08"]
    for path in former:
        region = path.name.split("_")[2]
        (final_path,) = folder.glob(f"era5_monthly_t2m_1979-2020_{region}_*.nc")
        facts, final_facts = era5.verify(path), era5.verify(final_path)
        months, box = list(MOVES_K), Box(*facts.content["box"])
        assert facts.content["months"] == {"preliminary": ["2020-07..2020-09"]} and facts.is_synthetic
        assert final_facts.content["months"]["final"] == ["1979-01..2020-09"]
        assert facts.content["grid"] == final_facts.content["grid"]
        assert f"{DATASET}/{path.name}" == path_of(region, box, ["2m_temperature"], months)
        before, after = era5.open_object(path)["t2m"], era5.open_object(final_path)["t2m"].sel(month=months)
        for month, move in MOVES_K.items():
            moved = after.sel(month=month).values.astype(float) - before.sel(month=month).values
            np.testing.assert_array_equal(moved, move)


@pytest.mark.parametrize(
    ("through", "moved"),
    [("1980-01", ["1979-08", "1979-09", "1979-10"]), ("1985-04", ["1984-11", "1984-12", "1985-01"])],
)
def test_any_last_month(through: str, moved: list[str], tmp_path: Path) -> None:
    registry = glaciers.load(small_registry(tmp_path / "glaciers.csv", ("engabreen",)))
    truth = sample.write(tmp_path / "mirror", registry, through)
    assert list(truth.preliminary_moves_k) == moved
    (path,) = (tmp_path / "mirror/era5" / DATASET).glob("*.nc")
    assert path.name.endswith(f"_{moved[0]}_{moved[-1]}.nc")
    assert era5.verify(path, moved).content["months"] == {"preliminary": [f"{moved[0]}..{moved[-1]}"]}
