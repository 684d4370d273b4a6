"""A page shows what there is, says why the rest is missing, and comes out the same each time."""

from __future__ import annotations

import base64
import datetime as dt
import io
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.text import Text
from PIL import Image

from arctic_assets import glaciers
from arctic_assets.publish import atlas
from arctic_assets.publish.atlas import THUMBNAIL_BYTES, Field, Page, Revised, SampledLine
from arctic_assets.science.common_grid import common_grid
from arctic_assets.science.geometry import geodesic_area_km2
from arctic_assets.tables import (
    Area,
    BalancePeriod,
    MassBalance,
    Outline,
    Table,
    TemperatureAnnual,
    TemperatureMonthly,
    Thickness,
    Velocity,
)
from arctic_assets_tests.publish.rows import rows

TAKU = glaciers.load()["taku"]
WEST, SOUTH = -134.4, 58.4
FIRST, LAST = 1985, 2024
SPEED_YEARS = [year for year in range(1990, 2021) if year not in (1995, 1996)]


def box(shrunk: float = 0.0) -> shapely.Polygon:
    return shapely.segmentize(shapely.box(WEST, SOUTH, WEST + 0.4 - shrunk, SOUTH + 0.2), 0.01)


def page(*, synthetic: bool = True, **changes: Any) -> Page:
    """A page with everything on it."""
    own = {"glacier_id": "taku", "is_synthetic": synthetic}
    dates = {"1985": dt.date(1985, 8, 1), "rgi7": dt.date(1999, 8, 1), "2024": dt.date(2024, 8, 1)}
    outlines, areas = [], []
    for place, (inventory, date) in enumerate(dates.items()):
        geometry = box(place * 0.03)
        dated = {**own, "inventory": inventory, "image_date": date}
        outlines.append({**dated, "geometry": geometry.wkb})
        area = geodesic_area_km2(geometry)
        areas.append({**dated, "area_km2": area, "area_sigma_km2": 2.0, "area_bound_km2": 3.0, "perimeter_km": 70.0})
    balances = [
        {**own, "year": year, "origin": origin, "preferred": (origin == "observed") == (year > 2000)}
        | {"annual_balance_m_we": np.sin(year), "annual_balance_sigma_m_we": 0.3}
        for year in range(FIRST, LAST + 1)
        for origin in ("observed", "reconstruction")
    ]
    months = [
        {**own, "month": f"{year}-{month:02d}", "t2m_c": -5 - 8 * np.cos(month / 2), "status": status}
        for year in range(FIRST, LAST + 1)
        for month in range(1, 13)
        for status in ["preliminary" if (year, month) >= (LAST, 10) else "final"]
    ]
    annual = [
        {**own, "year": year, "kind": "calendar", "t2m_c": -5.0, "n_months": 12, "status": "final"}
        for year in range(FIRST, LAST + 1)
    ]
    speeds = [
        {**own, "year": year, "speed_m_yr": 100.0, "speed_sigma_m_yr": 60.0 if year < 1998 else 5.0}
        | {"below_noise": year < 1998, "coverage_fraction": 0.8, "speed_homogenised_m_yr": 95.0}
        for year in SPEED_YEARS
    ]
    thick = [
        {**own, "product": product, "thickness_m": 300.0, "thickness_sigma_m": 70.0, "thickness_max_m": 900.0}
        | {"volume_km3": volume, "volume_sigma_km3": 40.0, "coverage_fraction": 0.95, "density_kg_m3": 900.0}
        for product, volume in (("farinotti2019", 190.0), ("mean", 170.0))
    ]
    period = {**own, "period_start": dt.date(2000, 8, 1), "period_end": dt.date(2010, 8, 1), "balance_m_we_yr": -0.4}
    tables: dict[type[Table], list[dict[str, Any]]] = {
        Outline: outlines,
        Area: areas,
        Thickness: thick,
        Velocity: speeds,
        MassBalance: balances,
        BalancePeriod: [period],
        TemperatureMonthly: months,
        TemperatureAnnual: annual,
    }
    grid = common_grid(box().bounds, TAKU.utm_epsg, 200.0)
    ramp = np.broadcast_to(np.linspace(0.0, 400.0, grid.shape[1]), grid.shape).copy()
    lon = np.linspace(WEST + 0.02, WEST + 0.3, 100)
    line = SampledLine(lon, np.full(100, SOUTH + 0.1), np.where(lon < WEST + 0.1, np.nan, 200.0))
    whole = Page(
        TAKU,
        (FIRST, LAST),
        {model: rows(model, records) for model, records in tables.items()},
        reasons={Velocity: "no ITS_LIVE mosaic for region 01 in … (11)"},
        thickness=Field(grid, ramp, "mean of both"),
        speed=Field(grid, ramp, "2024, ITS_LIVE v2.1"),
        lines=[line],
        is_synthetic=synthetic,
    )
    return replace(whole, **changes)


def empty(reasons: dict[type[Table], str] | None = None) -> Page:
    return Page(TAKU, (FIRST, LAST), {model: model.no_rows() for model in atlas.TABLES}, reasons=reasons or {})


def revised(number: int = 1, inventory: str = "2015") -> Revised:
    """A hundredth of a degree more in the east, and two less in the north."""
    before, after = box(), shapely.box(WEST, SOUTH, WEST + 0.41, SOUTH + 0.18)
    difference = shapely.symmetric_difference(before, after)
    areas = geodesic_area_km2(before), geodesic_area_km2(after)
    return Revised(inventory, number, "A. Editor", "dead ice in front of it", after, difference, *areas)


def panels(found: Figure) -> dict[str, Axes]:
    return {axis.get_title(loc="left"): axis for axis in found.axes}


def texts(found: Figure | Axes) -> list[str]:
    """Each text that is there, its line breaks as blanks."""
    return [" ".join(text.get_text().split()) for text in found.findobj(Text) if isinstance(text, Text)]


STAMPS = ((0xC0, 0, 0), (0xF8, 0xDC, 0xDC))


def stamped(pixels: np.ndarray[Any, Any]) -> int:
    """Pixels in the two colours of the stamps."""
    return sum(int((pixels == stamp).all(axis=-1).sum()) for stamp in STAMPS)


def test_the_same_page_gives_the_same_bytes_and_they_hold_no_date() -> None:
    one, other = atlas.draw(page()), atlas.draw(page())
    assert one.png() == other.png()
    assert one.thumbnail() == other.thumbnail()
    for png in (one.png(), one.thumbnail()):
        image = Image.open(io.BytesIO(png))
        assert image.mode == "P"
        assert not image.info, "a text, a date or a resolution beside the pixels"


@pytest.mark.parametrize("n_revisions", [0, 6])
def test_the_thumbnail_is_small_and_of_the_whole_page(n_revisions: int) -> None:
    picture = atlas.draw(page(revisions=[revised(inventory=str(2000 + n)) for n in range(n_revisions)]))
    small = picture.thumbnail()
    assert len(small) < THUMBNAIL_BYTES == 30_000
    height, width = picture.pixels.shape[:2]
    shown = Image.open(io.BytesIO(small))
    assert shown.width >= 440
    assert shown.height == round(shown.width * height / width)
    found = re.fullmatch(r"!\[Taku]\(data:image/png;base64,(.+)\)", picture.markdown("Taku"))
    assert found
    assert base64.b64decode(found[1]) == small


def test_synthetic_is_said_on_top_and_in_every_panel() -> None:
    found = atlas.figure(page(revisions=[revised()]))
    assert any(text.startswith("SYNTHETIC DATA") for text in texts(found))
    named = {title: axis for title, axis in panels(found).items() if title}
    assert len(named) == 11
    assert [title for title, axis in named.items() if "SYNTHETIC" not in texts(axis)] == []
    real = page(synthetic=False)
    assert not any("SYNTHETIC" in text for text in texts(atlas.figure(real)))
    picture = atlas.draw(page())
    assert stamped(picture.pixels) > 20_000
    assert stamped(atlas.draw(real).pixels) == 0
    small = np.asarray(Image.open(io.BytesIO(picture.thumbnail())).convert("RGB"))
    assert stamped(small) > 5_000


def test_panels_without_data_say_the_reason() -> None:
    reasons: dict[type[Table], str] = {
        Outline: "no Landsat scene before 1987",
        Area: "no outline",
        Thickness: "no thickness raster of RGI60-01.01390",
        Velocity: "low_coverage: 0% of the centreline has a speed",
        MassBalance: "FoG has no value",
        TemperatureMonthly: "no ERA5 object",
    }
    found = panels(atlas.figure(empty(reasons)))
    said = {title: told[0] for title, axis in found.items() if (told := [t for t in texts(axis) if "no data" in t])}
    assert said.pop("Where it changed most").endswith("a change needs two; no Landsat scene before 1987")
    assert said == {
        title: f"no data: {reasons[model]}"
        for title, model in {
            "Outlines": Outline,
            "Ice thickness (m)": Thickness,
            "Speed (m yr⁻¹)": Velocity,
            "Area (km²)": Area,
            "Annual mass balance (m w.e.; bars: preferred)": MassBalance,
            "Cumulative preferred balance (m w.e.)": MassBalance,
            "Mean speed along the centreline (m yr⁻¹)": Velocity,
            "Air temperature at 2 m, ERA5 (°C)": TemperatureMonthly,
            "Mean thickness by product (m)": Thickness,
        }.items()
    }
    assert len(atlas.draw(empty(reasons)).thumbnail()) < THUMBNAIL_BYTES


def test_what_was_never_made_is_named() -> None:
    assert "no data: derived/area is not materialised" in texts(panels(atlas.figure(empty()))["Area (km²)"])


def test_years_without_a_speed_break_the_line_and_are_grey_with_the_reason() -> None:
    found = atlas.figure(page())
    axis = panels(found)["Mean speed along the centreline (m yr⁻¹)"]
    line = next(line for line in axis.lines if line.get_linestyle() == "-" and line.get_marker() == "None")
    values = np.asarray(line.get_ydata(), dtype=float)
    years = np.asarray(line.get_xdata())
    assert set(years[np.isnan(values)]) == set(range(FIRST, LAST + 1)) - set(SPEED_YEARS)
    grey = [c for c in axis.collections if isinstance(c, PolyCollection) and len(c.get_paths()) == 11]
    middles = {round(path.get_extents().intervalx.mean()) for one in grey for path in one.get_paths()}
    assert {1995, 1996, 2024} <= middles
    assert any("grey: no value (no ITS_LIVE mosaic for region 01 in … (11))" in text for text in texts(found))


def test_preliminary_months_are_marked() -> None:
    axis = panels(atlas.figure(page()))["Air temperature at 2 m, ERA5 (°C)"]
    assert "preliminary: 3 months" in texts(axis)
    (span,) = [patch for patch in axis.patches if str(patch.get_label()).startswith("preliminary")]
    assert span.get_extents().transformed(axis.transData.inverted()).intervalx == pytest.approx([2024.75, 2025.0])


def test_cumulative_balance_is_that_of_the_preferred_series() -> None:
    axis = panels(atlas.figure(page()))["Cumulative preferred balance (m w.e.)"]
    line = next(line for line in axis.lines if len(np.asarray(line.get_xdata())) == LAST - FIRST + 1)
    assert np.asarray(line.get_ydata()) == pytest.approx(np.cumsum(np.sin(np.arange(FIRST, LAST + 1))))


def test_maps_are_in_the_glaciers_zone_with_a_scale() -> None:
    found = panels(atlas.figure(page()))
    axis = found["Outlines"]
    assert axis.get_xlabel() == "easting, km (UTM 8N)"
    left, right = axis.get_xlim()
    assert 500 < left < right < 600, "60 to 120 km east of the middle of the zone, 135 degrees west"
    assert "5 km" in texts(axis), "at most 28 % of a map 34 km wide"
    assert "N" in texts(axis)
    assert found["Ice thickness (m)"].get_xlim() == axis.get_xlim()
    assert "1985 (1985-08-01)" in texts(found["Where it changed most"])


def test_the_frame_of_the_largest_change_is_in_the_east_where_the_outline_shrank() -> None:
    found = panels(atlas.figure(page()))
    whole, zoom = found["Outlines"].get_xlim(), found["Where it changed most"].get_xlim()
    assert zoom[1] - zoom[0] < whole[1] - whole[0]
    assert sum(zoom) > sum(whole)


def test_a_revision_shows_what_was_added_and_removed_and_tells_by_whom_and_why() -> None:
    revision = revised(2)
    found = panels(atlas.figure(page(revisions=[revision])))
    title = next(title for title in found if title.startswith("Revision"))
    assert revision.before_km2 is not None
    change = f"{abs(revision.after_km2 - revision.before_km2):.2f}"
    for part in ("Revision 2 of 2015 by A. Editor", "dead ice in front of it", f"−{change} km²"):
        assert part in title
    areas: dict[str, float] = {}
    for patch in found[title].patches:
        if isinstance(patch, PathPatch):
            rings = patch.get_path().to_polygons()
            areas[to_hex(patch.get_facecolor())] = sum(shapely.Polygon(ring).area for ring in rings)
    added = geodesic_area_km2(shapely.box(WEST + 0.4, SOUTH, WEST + 0.41, SOUTH + 0.18))
    removed = geodesic_area_km2(shapely.box(WEST, SOUTH + 0.18, WEST + 0.4, SOUTH + 0.2))
    assert areas["#56b4e9"] == pytest.approx(added, rel=0.01)
    assert areas["#d55e00"] == pytest.approx(removed, rel=0.01)


def test_the_first_outline_of_an_inventory_has_nothing_before_it() -> None:
    first = replace(revised(), difference=None, before_km2=None)
    found = panels(atlas.figure(page(revisions=[first])))
    title = next(title for title in found if title.startswith("Revision"))
    assert "the first outline" in title
    assert "before" not in texts(found[title])


def test_more_revisions_than_there_is_room_for_are_counted() -> None:
    found = atlas.figure(page(revisions=[revised(inventory=str(2000 + n)) for n in range(6)]))
    assert sum(title.startswith("Revision") for title in panels(found)) == atlas.SHOWN_REVISIONS
    assert "and 2 more revised inventories" in texts(found)


def test_numbers_are_the_newest_ones() -> None:
    found = atlas.numbers(page().rows)
    assert found.area_km2 == pytest.approx(geodesic_area_km2(box(0.06)))
    assert found.area_date == "2024-08-01"
    assert found.volume_km3 == 170.0
    assert found.balance_year == 2024
    assert found.balance_m_we == pytest.approx(np.sin(2024))
    assert set(atlas.numbers(empty().rows)) == {None}
