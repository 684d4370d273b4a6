"""Coverage says of every glacier, variable and year whether there is a number, and if not why."""

from __future__ import annotations

import base64
import datetime as dt
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from arctic_assets import glaciers
from arctic_assets.publish.coverage import (
    NO_RECORD,
    SOME_SEASONS,
    STATES,
    coverage_figure,
    coverage_markdown,
    coverage_png,
    coverage_table,
)
from arctic_assets.tables import (
    TABLES,
    Area,
    MassBalance,
    Outline,
    Table,
    TemperatureAnnual,
    TemperatureMonthly,
    Thickness,
    Volume,
)
from arctic_assets_tests.publish.rows import gaps, rows

PAIR = glaciers.Registry(tuple(glaciers.load()[name] for name in ("taku", "yuri")), Path("pair.csv"))


def covered(
    tables: Mapping[type[Table], pd.DataFrame],
    *reasons: dict[str, Any],
    years: Iterable[int] = (1985, 1986),
) -> dict[tuple[str, str, int | None], tuple[str, str]]:
    """State and reason by (glacier, variable, year)."""
    frame = coverage_table(tables, gaps(*reasons), PAIR, years)
    assert set(frame["state"]) <= set(STATES)
    assert not frame.duplicated(["glacier_id", "variable", "year"]).any()
    cells = frame.itertuples(index=False)
    return {(c.glacier_id, c.variable, None if pd.isna(c.year) else c.year): (c.state, c.reason) for c in cells}  # type: ignore[misc, call-overload]


def months(*wanted: str, **values: Any) -> pd.DataFrame:
    return rows(TemperatureMonthly, [{"glacier_id": "taku", "month": month, **values} for month in wanted])


def year_of_months(year: int) -> list[str]:
    return [f"{year}-{month:02d}" for month in range(1, 13)]


def test_a_yearly_table_has_a_cell_for_every_glacier_and_year() -> None:
    found = covered({MassBalance: rows(MassBalance, [{"glacier_id": "taku", "year": 1986}])})
    assert found == {
        ("taku", "mass_balance", 1985): ("missing", NO_RECORD),
        ("taku", "mass_balance", 1986): ("present", ""),
        ("yuri", "mass_balance", 1985): ("missing", NO_RECORD),
        ("yuri", "mass_balance", 1986): ("missing", NO_RECORD),
    }


def test_an_observation_counts_before_a_model() -> None:
    frame = rows(
        MassBalance,
        [
            {"glacier_id": "taku", "year": 1985, "origin": "model"},
            {"glacier_id": "taku", "year": 1986, "origin": "model"},
            {"glacier_id": "taku", "year": 1986, "origin": "observed"},
            {"glacier_id": "yuri", "year": 1985, "origin": "reconstruction"},
        ],
    )
    found = covered({MassBalance: frame})
    assert found["taku", "mass_balance", 1985] == ("modelled", "")
    assert found["taku", "mass_balance", 1986] == ("present", "")
    assert found["yuri", "mass_balance", 1985] == ("modelled", "")


def test_a_year_of_months_is_present_preliminary_or_partial() -> None:
    whole = months(*year_of_months(1985), status="final")
    late = months(*year_of_months(1986)[:11], status="final")
    last = months("1986-12", status="preliminary")
    assert covered({TemperatureMonthly: whole})["taku", "temperature_monthly", 1985] == ("present", "")
    assert covered({TemperatureMonthly: late})["taku", "temperature_monthly", 1986] == ("partial", NO_RECORD)
    both = covered({TemperatureMonthly: pd.concat([late, last])})
    assert both["taku", "temperature_monthly", 1986] == ("preliminary", "")
    assert both["yuri", "temperature_monthly", 1986] == ("missing", NO_RECORD)


def test_annual_temperature_is_that_of_the_calendar_year() -> None:
    frame = rows(
        TemperatureAnnual,
        [
            {"glacier_id": "taku", "year": 1985, "kind": "balance_year", "status": "final"},
            {"glacier_id": "taku", "year": 1985, "kind": "jja", "status": "preliminary"},
            {"glacier_id": "taku", "year": 1986, "kind": "calendar", "status": "preliminary"},
            {"glacier_id": "taku", "year": 1986, "kind": "jja", "status": "final"},
        ],
    )
    found = covered({TemperatureAnnual: frame})
    assert found["taku", "temperature_annual", 1985] == ("partial", SOME_SEASONS)
    assert found["taku", "temperature_annual", 1986] == ("preliminary", "")
    assert found["yuri", "temperature_annual", 1986] == ("missing", NO_RECORD)


def test_inventories_stand_at_the_year_of_their_image() -> None:
    area = rows(
        Area,
        [
            {"glacier_id": "taku", "inventory": "1985", "image_date": dt.date(1986, 8, 1)},
            {"glacier_id": "taku", "inventory": "rgi7", "image_date": None},
        ],
    )
    volume = rows(Volume, [{"glacier_id": "taku", "inventory": "1985"}])
    found = covered({Area: area, Volume: volume}, years=range(1980, 2005))
    assert {key: state for key, (state, _) in found.items()} == {
        ("taku", "area", 1986): "present",
        ("taku", "area", 2000): "present",
        ("yuri", "area", 1985): "missing",
        ("yuri", "area", 2000): "missing",
        ("taku", "volume", 1986): "present",
        ("taku", "volume", 2000): "missing",
        ("yuri", "volume", 1985): "missing",
        ("yuri", "volume", 2000): "missing",
    }


def test_an_inventory_that_only_a_gap_names_is_expected() -> None:
    reason = {"asset": "derived/area", "partition": "taku|1985", "reason": "no Landsat scene before 1987"}
    found = covered({Area: Area.no_rows()}, reason)
    assert found == {
        ("taku", "area", 1985): ("missing", "no Landsat scene before 1987"),
        ("yuri", "area", 1985): ("missing", NO_RECORD),
    }


def test_one_estimate_for_all_dates_has_no_year() -> None:
    found = covered({Thickness: rows(Thickness, [{"glacier_id": "taku"}])})
    assert found == {("taku", "thickness", None): ("present", ""), ("yuri", "thickness", None): ("missing", NO_RECORD)}


def test_the_reason_of_a_gap_reaches_its_cells_and_no_others() -> None:
    found = covered(
        {MassBalance: MassBalance.no_rows(), Thickness: Thickness.no_rows()},
        {"asset": "derived/mass_balance", "partition": "taku|1985", "reason": "FoG has no value"},
        {"asset": "derived/mass_balance", "partition": "yuri", "reason": "no WGMS id"},
        {"asset": "derived/thickness", "partition": "", "reason": "no thickness files"},
        {"asset": "derived/velocity", "partition": "taku|1986", "reason": "another variable"},
    )
    assert found["taku", "mass_balance", 1985] == ("missing", "FoG has no value")
    assert found["taku", "mass_balance", 1986] == ("missing", NO_RECORD)
    assert found["yuri", "mass_balance", 1986] == ("missing", "no WGMS id")
    assert found["taku", "thickness", None] == ("missing", "no thickness files")


def test_the_reasons_of_a_partial_year_are_told_once_each() -> None:
    reasons = [
        {"asset": "derived/temperature_monthly", "partition": f"taku|1985-{month:02d}", "reason": reason}
        for month, reason in ((1, "a"), (2, "a"), (3, "b"), (4, "c"), (5, "d"), (6, "e"))
    ]
    found = covered({TemperatureMonthly: months(*year_of_months(1985)[6:])}, *reasons)
    assert found["taku", "temperature_monthly", 1985] == ("partial", "a; b; c; and 2 more")


def test_rows_of_other_years_and_tables_of_geometries_are_left_out() -> None:
    old = rows(MassBalance, [{"glacier_id": "taku", "year": 1946}])
    found = covered({MassBalance: old, Outline: rows(Outline, [{"glacier_id": "taku", "inventory": "1985"}])})
    assert {year for _, _, year in found} == {1985, 1986}
    assert {variable for _, variable, _ in found} == {"mass_balance"}


@pytest.mark.parametrize("model", [model for model in TABLES if model is not Outline])
def test_every_table_is_covered_empty_or_not(model: type[Table]) -> None:
    for frame in (model.no_rows(), rows(model, [{"glacier_id": "taku"}])):
        table = coverage_table({model: frame}, gaps(), PAIR, range(1850, 2030))
        assert set(table["variable"]) <= {model.table()}
    assert (table["state"] != "missing").sum() <= 1


def example(*, synthetic: bool = False) -> pd.DataFrame:
    registry = glaciers.load()
    balance = [
        {"glacier_id": name, "year": year, "is_synthetic": synthetic}
        for row, name in enumerate(registry.ids)
        for year in range(1980 + row, 2025)
    ]
    area = [
        {"glacier_id": name, "inventory": inventory, "is_synthetic": synthetic}
        for name in registry.ids
        for inventory in ("rgi7", "1985", "2024")
    ]
    tables = {
        Area: rows(Area, area),
        Thickness: rows(Thickness, [{"glacier_id": name} for name in registry.ids]),
        MassBalance: rows(MassBalance, balance),
    }
    return coverage_table(tables, gaps(), registry, range(1980, 2025))


def colours(png: bytes) -> set[tuple[int, int, int]]:
    """The colours of at least 200 pixels."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    return {(c[0], c[1], c[2]) for n, c in image.getcolors(1 << 24) or () if n >= 200 and isinstance(c, tuple)}


def near(colour: tuple[int, int, int], found: set[tuple[int, int, int]]) -> bool:
    return any(sum(abs(a - b) for a, b in zip(colour, other, strict=True)) < 12 for other in found)


def test_the_heat_map_shows_what_the_table_says(tmp_path: Path) -> None:
    frame = example()
    coverage_figure(frame, tmp_path / "coverage.png")
    png = (tmp_path / "coverage.png").read_bytes()
    assert len(png) < 100_000
    assert Image.open(io.BytesIO(png)).mode == "P"
    blue, grey, purple = (0, 0x72, 0xB2), (0xD0, 0xD0, 0xD0), (0xCC, 0x79, 0xA7)
    assert near(blue, colours(png))
    assert near(grey, colours(png))
    assert not near(purple, colours(png))


def test_the_embedded_heat_map_is_small_and_reproducible() -> None:
    frame = example()
    png = coverage_png(frame)
    assert png.startswith(b"\x89PNG")
    assert len(png) < 30_000
    assert coverage_png(frame) == png
    assert base64.b64encode(png).decode() in coverage_markdown(frame)


def test_a_synthetic_heat_map_is_marked() -> None:
    def is_red(png: bytes) -> bool:
        return any(red > green + 60 and red > blue + 60 for red, green, blue in colours(png))

    assert example(synthetic=True)["is_synthetic"].any()
    assert is_red(coverage_png(example(synthetic=True)))
    assert not is_red(coverage_png(example()))


def test_nothing_to_show_is_a_figure_too() -> None:
    assert coverage_png(coverage_table({}, gaps(), PAIR, range(1985, 1987))).startswith(b"\x89PNG")
    only_thickness = coverage_table({Thickness: Thickness.no_rows()}, gaps(), PAIR, range(1985, 1987))
    assert coverage_png(only_thickness).startswith(b"\x89PNG")
