"""A page of maps and time series for one glacier, as a picture for people and a small one for the Dagster UI.

Here: the drawing. What is on a page (outlines, maps on grids, rows of the tables, reasons for what is missing) comes
in a `Page`; nothing is read here. The same page gives the same bytes.

Maps are in the glacier's UTM zone, grid north up, all with the same extent. A year without a value is a gap in the line
and grey, with the reason below; a panel without any value says why. Colours are those of Okabe and Ito, and the maps
of matplotlib that people with colour blindness read alike.
"""

from __future__ import annotations

import base64
import datetime as dt
import io
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from arctic_assets.glaciers import Glacier
from arctic_assets.provenance import SYNTHETIC
from arctic_assets.science.common_grid import Grid, projected_outline
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

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

TABLES: tuple[type[Table], ...] = (
    Outline,
    Area,
    Thickness,
    Velocity,
    MassBalance,
    BalancePeriod,
    TemperatureMonthly,
    TemperatureAnnual,
)
"""The tables whose rows are on a page."""
DPI = 150
SHOWN_REVISIONS = 4
"""Revisions on a page; how many more there are is said."""
THUMBNAIL_BYTES = 30_000

_BLUE, _SKY, _GREEN, _ORANGE, _RED, _PINK, _BLACK = (
    *("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#202020"),
)
_GREY, _NO_DATA = "#808080", "#E4E4E4"
_STAMP, _STAMP_PALE = "#C00000", "#F8DCDC"
_ORIGINS = {"observed": (_BLUE, "o"), "reconstruction": (_ORANGE, "s"), "model": (_PINK, "^")}
_PRODUCTS = {
    "farinotti2019": "Farinotti 2019",
    "millan2022": "Millan 2022",
    "mean": "mean of both",
    "sia_check": "shallow ice\n(centreline only)",
}
_WIDTH = 12.8
"""Of a page, inches; all places below are inches from its lower left corner."""
_LEFT, _MAP, _SERIES = 0.62, 2.42, 1.55
_KM = 1000.0
_THUMBNAIL_WIDTHS = (680, 640, 600, 560, 520, 440, 360)
"""The Dagster UI shows pictures 640 pixels wide."""
_LEGEND = {"frameon": False, "handlelength": 1.4, "columnspacing": 1.0, "handletextpad": 0.4, "borderaxespad": 0.1}


@dataclass(frozen=True, eq=False)
class Field:
    """A quantity on a map grid.

    Attributes:
        grid: where the cells are.
        values: shape of the grid, NaN where there is none.
        source: products and date.
    """

    grid: Grid
    values: NDArray[np.float64]
    source: str


@dataclass(frozen=True, eq=False)
class SampledLine:
    """Points along a centreline.

    Attributes:
        lon: degrees, shape (points,).
        lat: degrees, shape (points,).
        speed_m_yr: of the same date as the map, NaN where missing, shape (points,).
    """

    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    speed_m_yr: NDArray[np.float64]


@dataclass(frozen=True)
class Revised:
    """An outline that a person edited, with its effect.

    Attributes:
        inventory: inventory it belongs to.
        number: 1 for the first of its inventory.
        editor: who drew it.
        reason: why.
        after: the outline, EPSG:4326.
        difference: added and removed parts, EPSG:4326; None for the first outline of an inventory.
        before_km2: area before; None with `difference`.
        after_km2: area of the outline.
    """

    inventory: str
    number: int
    editor: str
    reason: str
    after: BaseGeometry
    difference: BaseGeometry | None
    before_km2: float | None
    after_km2: float


@dataclass(frozen=True)
class Page:
    """What is known of one glacier.

    Attributes:
        glacier: its row of the registry.
        years: first and last year of the time series.
        rows: rows of the glacier, by table; of all `TABLES`.
        reasons: why a table has no rows of the glacier, or lacks some; by table, absent where there is nothing to say.
        thickness: map, or None.
        speed: map, or None.
        lines: centrelines of the speed.
        revisions: outlines that people edited, the newest of each inventory.
        is_synthetic: some of it is SYNTHETIC.
    """

    glacier: Glacier
    years: tuple[int, int]
    rows: Mapping[type[Table], pd.DataFrame]
    reasons: Mapping[type[Table], str] = field(default_factory=dict)
    thickness: Field | None = None
    speed: Field | None = None
    lines: Sequence[SampledLine] = ()
    revisions: Sequence[Revised] = ()
    is_synthetic: bool = False

    def reason(self, model: type[Table]) -> str:
        """Why there is nothing."""
        return self.reasons.get(model) or f"derived/{model.table()} is not materialised"


class Numbers(NamedTuple):
    """The newest numbers of a glacier, None where there are none; `balance_year` belongs to `balance_m_we`."""

    area_km2: float | None
    area_date: str | None
    volume_km3: float | None
    balance_m_we: float | None
    balance_year: int | None


def numbers(rows: Mapping[type[Table], pd.DataFrame]) -> Numbers:
    """Area of the newest outline, volume of the mean thickness (or of the product there is), last preferred balance.

    Args:
        rows: rows of one glacier by table.
    """
    area = _dated(rows[Area])
    thick = rows[Thickness].set_index("product")["volume_km3"]
    product = next((name for name in ("mean", "farinotti2019", "millan2022") if name in thick.index), None)
    balance = rows[MassBalance].query("preferred").sort_values("year")
    return Numbers(
        float(area["area_km2"].iloc[-1]) if len(area) else None,
        str(area["inventory" if pd.isna(area["image_date"].iloc[-1]) else "image_date"].iloc[-1])
        if len(area)
        else None,
        float(thick[product]) if product else None,
        float(balance["annual_balance_m_we"].iloc[-1]) if len(balance) else None,
        int(balance["year"].iloc[-1]) if len(balance) else None,
    )


def draw(page: Page) -> Picture:
    """Draw a page, once."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure(page))
    canvas.draw()
    return Picture(np.asarray(canvas.buffer_rgba())[..., :3].copy())


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawn page: `pixels` has the shape (height, width, 3), uint8."""

    pixels: NDArray[np.uint8]

    def png(self) -> bytes:
        """The page as people open it: full size, palette of 256 colours, without a date."""
        from PIL import Image

        image = Image.fromarray(self.pixels).quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        return _bytes(image, compress_level=6)

    def thumbnail(self) -> bytes:
        """The widest of some sizes in the page's own colours that stays below `THUMBNAIL_BYTES`."""
        from PIL import Image

        whole = Image.fromarray(self.pixels)
        palette = Image.new("P", (1, 1))
        palette.putpalette(_palette())
        height, width = self.pixels.shape[:2]
        small = b""
        for wide in _THUMBNAIL_WIDTHS:
            image = whole.resize((wide, round(wide * height / width)), Image.Resampling.BOX)
            small = _bytes(image.quantize(palette=palette, dither=Image.Dither.NONE), compress_level=6)
            if len(small) < THUMBNAIL_BYTES:
                break
        return small

    def markdown(self, name: str) -> str:
        """The thumbnail inside a Markdown text, as the Dagster UI shows it."""
        return f"![{name}](data:image/png;base64,{base64.b64encode(self.thumbnail()).decode()})"


def _bytes(image: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", **options)
    return stream.getvalue()


def _palette() -> list[int]:
    """Red, green, blue of what is drawn: greys for text, the colours of lines and stamps, steps of the colour maps."""
    import matplotlib
    from matplotlib.colors import to_rgb

    greys = ["#202020", "#606060", "#909090", "#C0C0C0", _NO_DATA, "#FFFFFF"]
    lines = [_BLUE, _SKY, _GREEN, _ORANGE, _RED, _PINK, "#7FB8D8", "#BFE3F5", _STAMP, _STAMP_PALE]
    steps = [
        *(matplotlib.colormaps["viridis"](v) for v in np.linspace(0, 1, 9)),
        *(matplotlib.colormaps["inferno"](v) for v in np.linspace(0.1, 0.95, 6)),
        *_ages(6),
    ]
    return [round(255 * channel) for colour in (*greys, *lines, *steps) for channel in to_rgb(colour)]


def figure(page: Page) -> Figure:
    """Maps above, then revisions where there are any, then two rows of time series."""
    from matplotlib.figure import Figure

    map_row, series_row = _MAP + 1.0, _SERIES + 0.85
    revision_row = map_row + 0.2 if page.revisions else 0.0
    height = 0.75 + map_row + revision_row + 2 * series_row
    whole = Figure(figsize=(_WIDTH, height), dpi=DPI, facecolor="white")

    def axes(left: float, bottom: float, width: float, tall: float) -> Axes:
        axis = whole.add_axes((left / _WIDTH, bottom / height, width / _WIDTH, tall / height))
        if page.is_synthetic and width > 1 and tall > 1:
            _stamp(axis)
        return axis

    def column(number: int) -> float:
        return _LEFT + number * 3.08

    _heading(whole, page, height)
    bottom = height - 0.75 - map_row + 0.6
    outlines = _outlines(page)
    extent = _extent(page, outlines)
    places = [axes(column(n), bottom, _MAP, _MAP) for n in range(4)]
    bars = [axes(column(n) + _MAP + 0.06, bottom, 0.1, _MAP) for n in (2, 3)]
    zoom = _change_panel(places[1], page, outlines)
    _outline_panel(places[0], page, outlines, extent, zoom)
    _field_panel(places[2], bars[0], page, "Ice thickness (m)", page.thickness, Thickness, outlines, extent)
    _field_panel(places[3], bars[1], page, "Speed (m yr⁻¹)", page.speed, Velocity, outlines, extent)
    if page.revisions:
        bottom -= revision_row
        for number, revised in enumerate(page.revisions[:SHOWN_REVISIONS]):
            _revision_panel(axes(column(number), bottom, _MAP, _MAP), page, revised)
        more = len(page.revisions) - SHOWN_REVISIONS
        if more > 0:
            whole.text(0.5, (bottom - 0.46) / height, f"and {more} more revised inventories", ha="center", fontsize=9)
    wide, at = 3.45, (_LEFT, 4.85, 9.1)
    upper, lower = series_row + 0.5, 0.5
    _area_panel(axes(at[0], upper, wide, _SERIES), page)
    _balance_panel(axes(at[1], upper, wide, _SERIES), page)
    _cumulative_panel(axes(at[2], upper, wide, _SERIES), page)
    _speed_panel(axes(at[0], lower + 0.42, wide, _SERIES - 0.42), axes(at[0], lower, wide, 0.33), page)
    _temperature_panel(axes(at[1], lower, wide, _SERIES), page)
    _thickness_panel(axes(at[2] + 0.8, lower, wide - 1.85, _SERIES), page)
    return whole


def _heading(figure: Figure, page: Page, height: float) -> None:
    glacier, found = page.glacier, numbers(page.rows)
    facts = [f"{glacier.kind.replace('_', ' ')}, RGI region {glacier.o1region}"]
    facts.append(f"{abs(glacier.latitude):.2f}° {'N' if glacier.latitude >= 0 else 'S'}")
    facts[-1] += f" {abs(glacier.longitude):.2f}° {'E' if glacier.longitude >= 0 else 'W'}"
    if found.area_km2 is not None:
        facts.append(f"area {_rounded(found.area_km2)} km² ({found.area_date})")
    if found.volume_km3 is not None:
        facts.append(f"volume {_rounded(found.volume_km3)} km³")
    if found.balance_m_we is not None:
        facts.append(f"balance {_signed(found.balance_m_we)} m w.e. ({found.balance_year})")
    left, name = _LEFT / _WIDTH, textwrap.shorten(glacier.name, 45, placeholder=" …")
    figure.text(left, 1 - 0.3 / height, name, fontsize=18, weight="bold", va="center")
    figure.text(left, 1 - 0.62 / height, "   ·   ".join(facts), fontsize=10, va="center")
    if page.is_synthetic:
        told = f"{SYNTHETIC} DATA: made up, not measured"
        figure.text(
            1 - 0.2 / _WIDTH, 1 - 0.3 / height, told, fontsize=16, weight="bold", color=_STAMP, ha="right", va="center"
        )


def _stamp(axis: Axes) -> None:
    """SYNTHETIC behind the data of a panel."""
    axis.text(
        0.5, 0.5, SYNTHETIC, transform=axis.transAxes, fontsize=24, weight="bold", color=_STAMP_PALE, rotation=20,
        ha="center", va="center", zorder=0.4,
    )  # fmt: skip


def _title(axis: Axes, text: str, note: str | None = None) -> None:
    """Left above the panel, a note below it; at a fixed height, which spares matplotlib looking for ticks there."""
    axis.set_title(text, fontsize=10.5, loc="left", pad=15, y=1.0)
    if note:
        axis.text(0, 1.02, note, transform=axis.transAxes, fontsize=8, va="bottom")


# Maps


class _Dated(NamedTuple):
    """An outline in the glacier's UTM zone, km."""

    inventory: str
    label: str
    geometry: BaseGeometry


class _Extent(NamedTuple):
    """Of a map, km."""

    left: float
    right: float
    bottom: float
    top: float

    @property
    def width(self) -> float:
        return self.right - self.left


def _outlines(page: Page) -> list[_Dated]:
    """Oldest first."""
    import shapely

    found = []
    for row in _dated(page.rows[Outline]).to_dict("records"):
        geometry = _coarse(_in_km(shapely.from_wkb(row["geometry"]), page.glacier.utm_epsg))
        date = row["image_date"]
        label = f"{row['inventory']} ({date:%Y-%m-%d})" if date else str(row["inventory"])
        found.append(_Dated(row["inventory"], label + (", revised" if row["revision"] else ""), geometry))
    return found


def _dated(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of inventories by the date of their image; those without one first."""
    keys = [str(date) if date is not None and date == date else "" for date in frame["image_date"]]
    return frame.assign(_order=keys).sort_values(["_order", "inventory"]).drop(columns="_order")


def _in_km(geometry: BaseGeometry, epsg: int) -> BaseGeometry:
    """In the kilometres of a UTM zone."""
    import shapely

    return shapely.transform(projected_outline(geometry, epsg), lambda xy: xy / _KM)


def _coarse(geometry: BaseGeometry) -> BaseGeometry:
    """With as many vertices as a page shows of it where it is drawn ten times larger."""
    import shapely

    west, south, east, north = geometry.bounds
    return shapely.simplify(geometry, max(east - west, north - south) / 4000, preserve_topology=True)


def _square(bounds: tuple[float, float, float, float], margin: float) -> _Extent:
    """A square around bounds, with a margin as a share of its width."""
    west, south, east, north = bounds
    half = max(east - west, north - south, 0.2) / 2 * (1 + 2 * margin)
    x, y = (west + east) / 2, (south + north) / 2
    return _Extent(x - half, x + half, y - half, y + half)


def _extent(page: Page, outlines: Sequence[_Dated]) -> _Extent | None:
    import shapely

    if outlines:
        return _square(tuple(shapely.total_bounds([o.geometry for o in outlines])), 0.12)  # type: ignore[arg-type]
    for found in (page.thickness, page.speed):
        if found is not None:
            grid = found.grid
            rows, columns = grid.shape
            right, bottom = grid.left + columns * grid.cell_m, grid.top - rows * grid.cell_m
            return _square((grid.left / _KM, bottom / _KM, right / _KM, grid.top / _KM), 0.05)
    return None


def _shown(axis: Axes, page: Page, extent: _Extent, *, named: bool = False, right: bool = False) -> None:
    """Axes in km, a scale bar (on the right, if so), and north."""
    from matplotlib.patches import Rectangle
    from matplotlib.ticker import MaxNLocator

    axis.set_xlim(extent.left, extent.right)
    axis.set_ylim(extent.bottom, extent.top)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(MaxNLocator(4))
    axis.ticklabel_format(useOffset=False, style="plain")
    axis.tick_params(labelsize=7, direction="in", length=3)
    axis.tick_params(axis="y", labelrotation=90)
    for label in axis.get_yticklabels():
        label.set_verticalalignment("center")
    if named:
        zone = f"{page.glacier.utm_epsg % 100}{'N' if page.glacier.utm_epsg < 32700 else 'S'}"
        axis.set_xlabel(f"easting, km (UTM {zone})", fontsize=8)
        axis.set_ylabel("northing, km", fontsize=8)
    length = _round_length(extent.width * 0.28)
    x, y = extent.left + 0.04 * extent.width, extent.bottom + 0.035 * extent.width
    if right:
        x = extent.right - 0.04 * extent.width - length
    axis.add_patch(Rectangle((x, y), length, 0.012 * extent.width, color=_BLACK, zorder=12))
    told = f"{length:g} km" if length >= 1 else f"{length * 1000:g} m"
    under = (x - 0.02 * extent.width, y - 0.02 * extent.width)
    axis.add_patch(Rectangle(under, length + 0.04 * extent.width, 0.115 * extent.width, color="white", zorder=11))
    middle = x + length / 2
    axis.text(middle, y + 0.024 * extent.width, told, fontsize=8, ha="center", va="bottom", zorder=12)
    arrow = {"arrowstyle": "-|>", "color": _BLACK, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", (0.955, 0.985), (0.955, 0.88), "axes fraction", "axes fraction", arrowprops=arrow, zorder=12)
    axis.text(0.955, 0.875, "N", transform=axis.transAxes, fontsize=9, weight="bold", ha="center", va="top", zorder=12)


def _round_length(km: float) -> float:
    """1, 2 or 5 times a power of ten, not above."""
    power = 10.0 ** math.floor(math.log10(km))
    return next(step * power for step in (5.0, 2.0, 1.0) if step * power <= km * (1 + 1e-9))


def _rings(geometry: BaseGeometry) -> list[NDArray[np.float64]]:
    import shapely

    parts = [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"]
    return [np.asarray(ring.coords) for part in parts for ring in (part.exterior, *part.interiors)]


def _drawn(axis: Axes, geometry: BaseGeometry, color: Any, width: float, style: str = "-", zorder: float = 5) -> None:
    from matplotlib.collections import LineCollection

    axis.add_collection(
        LineCollection(_rings(geometry), colors=[color], linewidths=width, linestyles=style, zorder=zorder)
    )


def _filled(axis: Axes, geometry: BaseGeometry, color: Any, zorder: float) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    rings = _rings(geometry)
    if not rings:
        return
    path = Path.make_compound_path(*(Path(ring, closed=True) for ring in rings))
    axis.add_patch(PathPatch(path, facecolor=color, edgecolor="none", zorder=zorder))


def _ages(n: int) -> list[Any]:
    """Colours from the oldest (dark) to the youngest; yellow is left out, it is invisible on white."""
    import matplotlib

    return [matplotlib.colormaps["plasma"](value) for value in np.linspace(0.0, 0.82, n)] if n > 1 else [_BLUE] * n


def _styles(outlines: Sequence[_Dated]) -> list[tuple[_Dated, Any, Any]]:
    """Outlines with colour and line style: the reference is dashed among others."""
    dashed = (0, (4, 2))
    ages = _ages(len(outlines))
    return [
        (one, color, dashed if one.inventory == "rgi7" and len(outlines) > 1 else "-")
        for one, color in zip(outlines, ages, strict=True)
    ]


def _outline_panel(
    axis: Axes, page: Page, outlines: Sequence[_Dated], extent: _Extent | None, zoom: _Extent | None
) -> None:
    from matplotlib.patches import Rectangle

    _title(axis, "Outlines")
    if extent is None or not outlines:
        _nothing(axis, page.reason(Outline))
        return
    for place, (one, color, style) in enumerate(_styles(outlines)):
        _drawn(axis, one.geometry, color, 1.4 - 0.7 * place / len(outlines), style)
    if zoom:
        size = zoom.width, zoom.top - zoom.bottom
        axis.add_patch(Rectangle((zoom.left, zoom.bottom), *size, fill=False, ec=_GREY, lw=0.8, zorder=9))
    right = zoom is not None and zoom.left + zoom.right < extent.left + extent.right  # away from its frame
    _shown(axis, page, extent, named=True, right=right)


def _change_panel(axis: Axes, page: Page, outlines: Sequence[_Dated]) -> _Extent | None:
    """Where the oldest and the youngest outline differ most, and the legend of both outline maps; what is shown."""
    import shapely
    from matplotlib.lines import Line2D

    _title(axis, "Where it changed most", "oldest against youngest outline")
    styles = _styles(outlines)
    handles = [Line2D([], [], color=color, lw=1.6, ls=style, label=one.label) for one, color, style in styles]
    axis.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-0.02, -0.085), ncols=3, fontsize=7.5, labelspacing=0.2,
        **{**_LEGEND, "handlelength": 2.2},
    )  # fmt: skip
    if len(outlines) < 2:
        few = f"{'no' if not outlines else 'one'} dated outline, a change needs two; "
        _nothing(axis, few + page.reasons.get(Outline, "derived/outline has no other"))
        return None
    place = _changed_most(outlines[0].geometry, outlines[-1].geometry)
    whole = shapely.total_bounds([o.geometry for o in outlines])
    west, south, east, north = place.bounds
    least = max(whole[2] - whole[0], whole[3] - whole[1]) / 10
    half = max(east - west, north - south, least) * 0.62
    x, y = (west + east) / 2, (south + north) / 2 - 0.15 * half  # room for the scale bar
    extent = _Extent(x - half, x + half, y - half, y + half)
    for one, color, style in styles:
        _drawn(axis, one.geometry, color, 1.3, style)
    _shown(axis, page, extent)
    return extent


def _changed_most(old: BaseGeometry, new: BaseGeometry) -> BaseGeometry:
    """The largest part of the difference of two outlines that is wider than digitising noise."""
    import shapely

    changed = shapely.symmetric_difference(shapely.make_valid(old), shapely.make_valid(new))
    for noise_km in (0.03, 0.015, 0.0):  # one and half a Landsat pixel to each side
        parts = [p for p in shapely.get_parts(shapely.buffer(changed, -noise_km)) if p.area > 0]
        if parts:
            return max(parts, key=lambda part: part.area)
    return new


def _field_panel(
    axis: Axes,
    bar: Axes,
    page: Page,
    title: str,
    found: Field | None,
    model: type[Table],
    outlines: Sequence[_Dated],
    extent: _Extent | None,
) -> None:
    """A quantity in colours; grey is ice without a value."""
    from matplotlib.colors import LogNorm, Normalize

    if found is None or extent is None or not np.isfinite(found.values).any():
        _title(axis, title)
        _nothing(axis, page.reason(model))
        bar.set_axis_off()
        return
    is_speed = model is Velocity
    _title(axis, title, found.source)
    reference = next((o for o in outlines if o.inventory == "rgi7"), outlines[-1] if outlines else None)
    if reference is not None:
        _filled(axis, reference.geometry, _NO_DATA, zorder=1)
        _drawn(axis, reference.geometry, _BLACK, 0.7)
    low, high = np.percentile(found.values[np.isfinite(found.values)], [2, 99.5])
    is_wide = is_speed and high > 20 * max(low, 1.0)
    norm = LogNorm(max(low, 1.0), high) if is_wide else Normalize(0, max(high, 1e-6))
    colours = _inferno() if is_speed else "viridis_r"
    rows, columns = found.grid.shape
    left, top, cell = found.grid.left / _KM, found.grid.top / _KM, found.grid.cell_m / _KM
    image = axis.imshow(
        found.values, extent=(left, left + columns * cell, top - rows * cell, top), cmap=colours, norm=norm,
        interpolation="nearest", aspect="auto", zorder=2,
    )  # fmt: skip
    if is_speed:
        _points(axis, page, image)
    _shown(axis, page, extent)
    told = axis.figure.colorbar(image, cax=bar, extend="max")  # type: ignore[union-attr]
    if is_wide:
        from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

        told.ax.yaxis.set_major_locator(LogLocator(10, (1, 2, 5)))
        told.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        told.ax.yaxis.set_minor_formatter(NullFormatter())
    bar.tick_params(labelsize=7, length=2)


def _inferno() -> Any:
    """Inferno without its ends, which look like outline and paper."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    return ListedColormap(matplotlib.colormaps["inferno"](np.linspace(0.1, 0.95, 128)))


def _points(axis: Axes, page: Page, image: Any) -> None:
    """The points at which the speed is sampled, in its colour, white where it is missing.

    Of many lines the dots are small, and those without a speed are left out.
    """
    from matplotlib.collections import LineCollection
    from matplotlib.lines import Line2D
    from pyproj import Transformer

    move = Transformer.from_crs("EPSG:4326", page.glacier.utm_epsg, always_xy=True).transform
    is_single = len(page.lines) == 1
    lines = [np.column_stack(move(line.lon, line.lat)) / _KM for line in page.lines]
    step = max(1, math.ceil(sum(map(len, lines)) / (40 if is_single else 1500)))
    (x, y), speed = np.concatenate(lines)[::step].T, np.concatenate([line.speed_m_yr for line in page.lines])[::step]
    known = np.isfinite(speed)
    edge: dict[str, Any] = {"edgecolors": _BLACK, "linewidths": 0.4, "s": 12} if is_single else {"lw": 0, "s": 2.5}
    axis.scatter(x[known], y[known], c=speed[known], cmap=image.cmap, norm=image.norm, zorder=7, **edge)
    point: dict[str, Any] = {"ls": "", "marker": "o", "ms": 3.6, "mec": _BLACK, "mew": 0.4 * is_single}
    every = "all shown" if step == 1 else f"1 of {step} shown"
    name = "points" if is_single else f"points of {len(lines)} centrelines"
    handles = [Line2D([], [], mfc=_ORANGE, label=f"{name} ({every})", **point)]
    if is_single:
        axis.add_collection(LineCollection(lines, colors=_GREEN, linewidths=0.9, zorder=6), autolim=False)
        handles.insert(0, Line2D([], [], color=_GREEN, lw=0.9, label="centreline"))
        if not known.all():
            axis.scatter(x[~known], y[~known], c="white", zorder=7, **edge)
            handles.append(Line2D([], [], mfc="white", label="no value", **point))
    axis.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(-0.02, -0.085), ncols=3, fontsize=7.5, **_LEGEND
    )  # fmt: skip


def _revision_panel(axis: Axes, page: Page, revised: Revised) -> None:
    """Outline before and after, what was added and what was removed."""
    import shapely
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    after = shapely.make_valid(_in_km(revised.after, page.glacier.utm_epsg))
    handles: list[Any] = [Line2D([], [], color=_BLACK, lw=1.4, label="after")]
    effect = f"{_rounded(revised.after_km2)} km², the first outline"
    focus = after
    if revised.difference is not None and revised.before_km2 is not None:
        change = revised.after_km2 - revised.before_km2
        effect = f"{_rounded(revised.before_km2)} → {_rounded(revised.after_km2)} km² ({_signed(change)} km²)"
        difference = shapely.make_valid(_in_km(revised.difference, page.glacier.utm_epsg))
        before = shapely.symmetric_difference(after, difference)
        _filled(axis, shapely.intersection(difference, after), _SKY, zorder=2)
        _filled(axis, shapely.difference(difference, after), _RED, zorder=3)
        _drawn(axis, before, _GREY, 1.2, "--", zorder=4)
        handles += [
            Line2D([], [], color=_GREY, lw=1.4, ls="--", label="before"),
            Patch(color=_SKY, label="added"),
            Patch(color=_RED, label="removed"),
        ]
        if not difference.is_empty:
            focus = difference
    _drawn(axis, after, _BLACK, 1.0)
    extent = _square(focus.bounds, 0.15)
    least = _square(after.bounds, 0.1).width / 5
    if extent.width < least:
        x, y = (extent.left + extent.right) / 2, (extent.bottom + extent.top) / 2
        extent = _Extent(x - least / 2, x + least / 2, y - least / 2, y + least / 2)
    _shown(axis, page, extent)
    editor = textwrap.shorten(revised.editor, 24, placeholder=" …")
    reason = textwrap.fill(textwrap.shorten(revised.reason, 84, placeholder=" …"), 44)
    title = f"Revision {revised.number} of {revised.inventory} by {editor}\n{effect}\n{reason}"
    axis.set_title(title, fontsize=8, loc="left", pad=5, y=1.0)
    axis.legend(handles=handles, loc="upper left", bbox_to_anchor=(-0.02, -0.085), ncols=4, fontsize=7.5, **_LEGEND)


# Time series


def _series(axis: Axes, page: Page, title: str, model: type[Table]) -> bool:
    """Name the panel; False, and the reason in the panel, when there are no rows."""
    _title(axis, title)
    if page.rows[model].empty:
        _nothing(axis, page.reason(model))
        return False
    _years(axis, page)
    return True


def _years(axis: Axes, page: Page) -> None:
    first, last = page.years
    step = 10 * max(1, math.ceil((last - first) / 80))
    axis.set_xlim(first - 0.7, last + 1.7)
    axis.set_xticks(range(math.ceil(first / step) * step, last + 2, step))
    axis.tick_params(labelsize=8)
    axis.grid(axis="y", color="#E8E8E8", lw=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _key(axis: Axes, size: float = 7.5) -> None:
    """The legend between title and panel, where there are no data."""
    axis.legend(loc="lower left", bbox_to_anchor=(-0.01, 0.985), ncols=6, fontsize=size, **_LEGEND)


def _bars(axis: Axes, years: Any, heights: Any, color: str, label: str | None = None) -> None:
    """Bars from 0, 0.8 years wide: one collection, where `Axes.bar` makes a patch of each."""
    from matplotlib.collections import PolyCollection

    boxes = [[(x - 0.4, 0), (x - 0.4, h), (x + 0.4, h), (x + 0.4, 0)] for x, h in zip(years, heights, strict=True)]
    axis.add_collection(PolyCollection(boxes, facecolors=color, linewidths=0, zorder=2, label=label))


def _nothing(axis: Axes, reason: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.set_facecolor("#F6F6F6")
    for spine in axis.spines.values():
        spine.set_edgecolor("#C8C8C8")
    columns = max(int(axis.get_position().width * _WIDTH * 11), 20)
    told = textwrap.fill(textwrap.shorten(reason, 260, placeholder=" …"), columns)
    axis.text(
        0.5, 0.5, f"no data:\n{told}", transform=axis.transAxes, fontsize=9, color="#404040", ha="center", va="center"
    )  # fmt: skip


def _gap_years(axis: Axes, page: Page, years: Sequence[int], model: type[Table], *, told: bool = True) -> None:
    """Grey where a year has no value, and why below the panel."""
    missing = sorted(set(range(page.years[0], page.years[1] + 1)) - set(years))
    if not missing:
        return
    from matplotlib.collections import PolyCollection

    boxes = [[(y - 0.5, 0), (y - 0.5, 1), (y + 0.5, 1), (y + 0.5, 0)] for y in missing]
    grey = PolyCollection(boxes, facecolors=_NO_DATA, linewidths=0, zorder=0.1, transform=axis.get_xaxis_transform())
    axis.add_collection(grey, autolim=False)
    if told:
        reason = page.reasons.get(model)
        text = f"grey: no value{f' ({reason})' if reason else ''}"
        text = textwrap.fill(textwrap.shorten(text, 180, placeholder=" …"), 92)
        axis.set_xlabel(text, fontsize=6.5, color="#404040", labelpad=2, x=0, ha="left")


def _area_panel(axis: Axes, page: Page) -> None:
    if not _series(axis, page, "Area (km²)", Area):
        return
    rows = _dated(page.rows[Area])
    x = np.array([_decimal(row.image_date, row.inventory) for row in rows.itertuples()])
    area, sigma, bound = (rows[c].to_numpy(float) for c in ("area_km2", "area_sigma_km2", "area_bound_km2"))
    axis.errorbar(x, area, bound, fmt="none", ecolor="#A8A8A8", elinewidth=5, label="half-pixel bound", zorder=2)
    axis.errorbar(x, area, sigma, fmt="none", ecolor=_BLACK, elinewidth=1, capsize=3, label="±1σ (buffer)", zorder=3)
    is_reference = rows["inventory"].to_numpy() == "rgi7"
    for chosen, face, label in ((~is_reference, _BLUE, "dated outline"), (is_reference, "white", "RGI 7 reference")):
        if chosen.any():
            axis.plot(x[chosen], area[chosen], "o", ms=6, mfc=face, mec=_BLUE, mew=1.4, label=label, zorder=4)
    low, high = float((area - bound).min()), float((area + bound).max())
    pad = 0.08 * max(high - low, 0.02 * high)
    axis.set_ylim(low - pad, high + pad)
    axis.ticklabel_format(axis="y", useOffset=False)
    if x.min() < page.years[0]:
        axis.set_xlim(x.min() - 1.5, page.years[1] + 1.7)
    _key(axis)


def _decimal(date: dt.date | None, inventory: str) -> float:
    """Year with its fraction; an outline without a date stands in the middle of its inventory's year."""
    if date is None or date != date:
        return float(inventory) + 0.5 if inventory.isdecimal() else 2000.5
    return date.year + (date.timetuple().tm_yday - 0.5) / 365.25


def _balance_panel(axis: Axes, page: Page) -> None:
    if not _series(axis, page, "Annual mass balance (m w.e.; bars: preferred)", MassBalance):
        return
    rows = page.rows[MassBalance]
    axis.axhline(0, color=_BLACK, lw=0.7)
    for origin, (color, marker) in _ORIGINS.items():
        own = rows[rows["origin"] == origin]
        taken, other = own[own["preferred"]], own[~own["preferred"]]
        if len(taken):
            years, balance, sigma = taken["year"], taken["annual_balance_m_we"], taken["annual_balance_sigma_m_we"]
            _bars(axis, years, balance, _pale(color), origin)
            axis.vlines(years, balance - sigma, balance + sigma, color=color, lw=0.8, zorder=3)
        if len(other):
            axis.plot(
                other["year"], other["annual_balance_m_we"], marker, ms=2.6, mfc="white", mec=color, mew=0.9, zorder=4,
                label=None if len(taken) else origin,
            )  # fmt: skip
    periods = page.rows[BalancePeriod]
    for origin, style in (("geodetic", "-"), ("literature", ":")):
        label = f"{origin} mean"
        for row in periods[periods["origin"] == origin].itertuples():
            ends = [_decimal(row.period_start, ""), _decimal(row.period_end, "")]
            axis.plot(ends, [row.balance_m_we_yr] * 2, color=_BLACK, lw=1.6, ls=style, label=label, zorder=5)
            label = "_"
    axis.autoscale_view(scalex=False)
    _key(axis, 6)
    _gap_years(axis, page, list(rows.loc[rows["preferred"], "year"]), MassBalance)


def _cumulative_panel(axis: Axes, page: Page) -> None:
    if not _series(axis, page, "Cumulative preferred balance (m w.e.)", MassBalance):
        return
    rows = page.rows[MassBalance].query("preferred").set_index("year").sort_index()
    years = np.arange(page.years[0], page.years[1] + 1)
    whole = rows.reindex(years)
    known = whole["annual_balance_m_we"].notna().to_numpy()
    total = np.where(known, whole["annual_balance_m_we"].fillna(0).cumsum(), np.nan)
    spread = np.where(known, np.sqrt((whole["annual_balance_sigma_m_we"].fillna(0) ** 2).cumsum()), np.nan)
    axis.axhline(0, color=_BLACK, lw=0.7)
    axis.fill_between(
        years, total - spread, total + spread, color=_GREY, alpha=0.3, lw=0, label="±1σ, years independent"
    )
    axis.plot(years, total, color=_BLACK, lw=1.2)
    for origin, (color, marker) in _ORIGINS.items():
        chosen = (whole["origin"] == origin).to_numpy()
        if chosen.any():
            axis.plot(years[chosen], total[chosen], marker, ms=3.6, color=color, label=origin, zorder=4)
    _key(axis)
    _gap_years(axis, page, list(years[known]), MassBalance)


def _speed_panel(axis: Axes, strip: Axes, page: Page) -> None:
    if not _series(axis, page, "Mean speed along the centreline (m yr⁻¹)", Velocity):
        strip.set_visible(False)
        return
    rows = page.rows[Velocity].set_index("year").sort_index()
    years = np.arange(page.years[0], page.years[1] + 1)
    whole = rows.reindex(years)
    speed, sigma = (whole[c].to_numpy(float) for c in ("speed_m_yr", "speed_sigma_m_yr"))
    steady = whole["speed_homogenised_m_yr"].to_numpy(float)
    noisy = whole["below_noise"].fillna(False).to_numpy(bool)
    axis.fill_between(years, speed - sigma, speed + sigma, color=_SKY, alpha=0.4, lw=0, label="±1σ")
    axis.plot(years, speed, color=_BLUE, lw=1.1)
    axis.plot(years[~noisy], speed[~noisy], "o", ms=3.2, color=_BLUE, label="measured part")
    if noisy.any():
        axis.plot(years[noisy], speed[noisy], "o", ms=3.4, mfc="white", mec=_BLUE, label="below noise")
    if np.isfinite(steady).any():
        axis.plot(years, steady, color=_RED, lw=1, ls="--", label="homogenised")
    axis.set_ylim(bottom=min(0, float(np.nanmin(speed - sigma))))
    axis.tick_params(labelbottom=False)
    _key(axis)
    _years(strip, page)
    _bars(strip, rows.index, rows["coverage_fraction"] * 100, _GREEN)
    strip.set_ylim(0, 100)
    strip.set_yticks([0, 100])
    strip.set_ylabel("% of\nline", fontsize=7)
    _gap_years(axis, page, list(rows.index), Velocity, told=False)
    _gap_years(strip, page, list(rows.index), Velocity)


def _temperature_panel(axis: Axes, page: Page) -> None:
    if not _series(axis, page, "Air temperature at 2 m, ERA5 (°C)", TemperatureMonthly):
        return
    months = page.rows[TemperatureMonthly]
    index = pd.PeriodIndex(months["month"], freq="M")
    series = pd.Series(months["t2m_c"].to_numpy(float), index=index).sort_index()
    every = pd.period_range(series.index[0], series.index[-1], freq="M")
    mean = series.reindex(every).rolling(12, min_periods=12).mean()
    at = np.array([p.year + (p.month - 6) / 12 for p in every])  # the middle of the twelve months
    axis.plot(at, mean.to_numpy(), color=_ORANGE, lw=1, label="12-month mean")
    annual = page.rows[TemperatureAnnual].query("kind == 'calendar'").set_index("year").sort_index()
    years = np.arange(page.years[0], page.years[1] + 1)
    axis.plot(
        years + 0.5,
        annual["t2m_c"].reindex(years).to_numpy(float),
        "o-",
        ms=3.2,
        lw=0.9,
        color=_BLUE,
        label="calendar year",
    )
    early = annual[annual["status"] == "preliminary"]
    if len(early):
        axis.plot(early.index + 0.5, early["t2m_c"], "o", ms=3.6, mfc="white", mec=_BLUE, zorder=5)
    preliminary = index[(months["status"] == "preliminary").to_numpy()]
    if len(preliminary):
        first, last = preliminary.min(), preliminary.max()
        axis.axvspan(
            first.year + (first.month - 1) / 12, last.year + last.month / 12, facecolor=_PINK, alpha=0.45, lw=0,
            label=f"preliminary: {len(preliminary)} months",
        )  # fmt: skip
    if at[-1] + 0.6 > page.years[1] + 1.7:
        axis.set_xlim(right=at[-1] + 1.2)
    _key(axis)
    _gap_years(axis, page, list(annual.index), TemperatureAnnual)


def _thickness_panel(axis: Axes, page: Page) -> None:
    _title(axis, "Mean thickness by product (m)")
    rows = page.rows[Thickness].set_index("product")
    if rows.empty:
        _nothing(axis, page.reason(Thickness))
        return
    names = [name for name in _PRODUCTS if name in rows.index]
    for place, name in enumerate(names):
        row = rows.loc[name]
        color = {"mean": _BLACK, "sia_check": _GREY}.get(name, _BLUE)
        axis.errorbar(
            row["thickness_m"], -place, xerr=row["thickness_sigma_m"], fmt="D" if name == "mean" else "o", ms=5,
            color=color, capsize=3, elinewidth=1.1,
        )  # fmt: skip
        volume = _with_sigma(row["volume_km3"], row["volume_sigma_km3"])
        told = f"{volume} km³\n{row['coverage_fraction']:.0%} of the area"
        axis.text(1.03, -place, told, transform=axis.get_yaxis_transform(), fontsize=7.5, va="center")
    axis.set_yticks([-place for place in range(len(names))], [_PRODUCTS[name] for name in names], fontsize=8)
    axis.set_ylim(-len(names) + 0.45, 0.55)
    axis.set_xlim(left=0)
    axis.tick_params(axis="x", labelsize=8)
    axis.set_xlabel("bars: ±1σ of the mean", fontsize=7.5)
    axis.grid(axis="x", color="#ECECEC", lw=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def _rounded(value: float) -> str:
    """Four significant digits below 1000, whole numbers above."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _with_sigma(value: float, sigma: float) -> str:
    """Both with the decimals of two significant digits of the uncertainty."""
    decimals = max(0, 1 - math.floor(math.log10(sigma))) if sigma > 0 else 3
    return f"{value:,.{decimals}f} ± {sigma:,.{decimals}f}"


def _signed(value: float) -> str:
    """Two decimals, or two significant digits of less, with a sign."""
    decimals = 2 if abs(value) >= 0.1 or value == 0 else 1 - math.floor(math.log10(abs(value)))
    return f"{value:+.{decimals}f}".replace("-", "−")


def _pale(color: str) -> Any:
    """Half way to white: opaque, so that a palette has it once."""
    from matplotlib.colors import to_rgb

    return tuple((1 + channel) / 2 for channel in to_rgb(color))
