"""What there is and what is missing: glacier by variable by year, as a table and as a heat map.

The variables and their years follow from the table models (name, grain, columns), so a new table is covered as it
is. Why something is missing is what the run that found nothing wrote into `provenance.gap`; nothing is guessed here.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from arctic_assets.glaciers import Registry
from arctic_assets.provenance import SYNTHETIC
from arctic_assets.tables import Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STATES = ("present", "preliminary", "partial", "modelled", "missing")
"""Best first: of several rows in one year the best counts."""

SOME_SEASONS = "the calendar year lacks months: only means of seasons or of the balance year are there"
NO_RECORD = "not made yet: no run has recorded rows or a reason"
_REFERENCE_YEAR = 2000
"""Year that the reference inventory aims at (its files are named RGI2000): for outlines without an image date."""

# Okabe and Ito's palette, which people with colour blindness can tell apart.
_COLOURS = {
    "present": "#0072B2",
    "preliminary": "#56B4E9",
    "partial": "#F0C000",
    "modelled": "#CC79A7",
    "missing": "#D0D0D0",
}
_LABELLED_ROWS = 40
_SHOWN_REASONS = 3


class _Cell(NamedTuple):
    """A glacier in a year; the year is None for what is estimated once for all dates."""

    glacier_id: str
    year: int | None


def coverage_table(
    tables: Mapping[type[Table], pd.DataFrame], gaps: pd.DataFrame, registry: Registry, years: Iterable[int]
) -> pd.DataFrame:
    """The state of every glacier, variable and year.

    Yearly and monthly tables have a row for each of the years. Tables of inventories have one for the year of each
    image, or for the inventory's nominal year where no image is known; an inventory is expected of all glaciers when
    any has it or a gap names it. Tables that hold one estimate for all dates have one row without a year. Tables of
    geometries are left out: what is measured on them stands for them.

    - present: there, final and observed;
    - preliminary: there, but some of it will be replaced (ERA5T);
    - partial: months are missing in this year; of yearly means there are those of seasons, not of the calendar year;
    - modelled: only from a reconstruction or a model;
    - missing: not there.

    Args:
        tables: rows of each table, as `Table.conform` returns them.
        gaps: rows of `provenance.gap`.
        registry: the glaciers.
        years: the years to look at; rows of other years are left out.

    Returns:
        Frame with glacier_id, variable (table name), year (missing for one estimate of all dates), state, reason (of
        missing and partial ones, else empty) and is_synthetic; in the order of `tables`, then registry, then years.
    """
    wanted = sorted(set(years))
    image_years = _image_years(tables)
    rows = []
    for model, frame in tables.items():
        if model.grain() == "none" or any(column.type is bytes for column in model.columns()):
            continue
        reasons = _Gaps(model, gaps, registry)
        states = _states(model, frame, image_years)
        if model.grain() == "glacier":
            expected = [_Cell(glacier_id, None) for glacier_id in registry.ids]
        elif model.grain() == "inventory":
            expected = _inventory_cells(tables, reasons, image_years, registry, wanted)
        else:
            expected = [_Cell(glacier_id, year) for glacier_id in registry.ids for year in wanted]
        for cell in expected:
            state, is_synthetic = states.get(cell, ("missing", False))
            reason = ""
            if state == "partial" and model.grain() == "year":
                reason = SOME_SEASONS
            elif state in ("missing", "partial"):
                reason = reasons.reason(cell)
            rows.append((cell.glacier_id, model.table(), cell.year, state, reason, is_synthetic))
    frame = pd.DataFrame(rows, columns=["glacier_id", "variable", "year", "state", "reason", "is_synthetic"])
    return frame.astype({"year": "Int64", "is_synthetic": "bool"})


def _image_years(tables: Mapping[type[Table], pd.DataFrame]) -> dict[tuple[str, str], int]:
    """Year of the image of each glacier and inventory, from every table that dates its inventories."""
    found: dict[tuple[str, str], int] = {}
    for model, frame in tables.items():
        if {"inventory", "image_date"} <= {column.name for column in model.columns()}:
            dated = frame[["glacier_id", "inventory", "image_date"]].dropna()
            found |= {
                (glacier_id, inventory): date.year
                for glacier_id, inventory, date in dated.itertuples(index=False, name=None)
            }
    return found


def _nominal_year(time: str) -> int:
    """Year of a partition key: `1985`, `1985-03`, or the reference inventory."""
    return int(time[:4]) if time[:4].isdecimal() else _REFERENCE_YEAR


def _states(
    model: type[Table], frame: pd.DataFrame, image_years: Mapping[tuple[str, str], int]
) -> dict[_Cell, tuple[str, bool]]:
    """State of each cell that has rows, and whether any of its rows is SYNTHETIC."""
    allowed = {column.name: column.isin for column in model.columns()}
    rank = pd.Series(STATES.index("present"), index=frame.index)
    if "observed" in allowed.get("origin", ()):
        rank[frame["origin"] != "observed"] = STATES.index("modelled")
    if "preliminary" in allowed.get("status", ()):
        rank[frame["status"] == "preliminary"] = STATES.index("preliminary")
    if "calendar" in allowed.get("kind", ()):
        rank[frame["kind"] != "calendar"] = STATES.index("partial")
    years: Sequence[int | None]
    match model.grain():
        case "year":
            years = [int(year) for year in frame["year"]]
        case "month":
            years = [_nominal_year(month) for month in frame["month"]]
        case "inventory":
            pairs = zip(frame["glacier_id"], frame["inventory"], strict=True)
            years = [image_years.get(pair, _nominal_year(pair[1])) for pair in pairs]
        case _:
            years = [None] * len(frame)
    found: dict[_Cell, list[tuple[int, bool]]] = {}
    for glacier_id, year, place, is_synthetic in zip(
        frame["glacier_id"], years, rank, frame["is_synthetic"], strict=True
    ):
        found.setdefault(_Cell(glacier_id, year), []).append((place, is_synthetic))
    states = {}
    for cell, rows in found.items():
        places = [place for place, _ in rows]
        if model.grain() != "month":
            state = STATES[min(places)]
        else:
            state = "partial" if len(rows) < 12 else STATES[max(places)]
        states[cell] = state, any(is_synthetic for _, is_synthetic in rows)
    return states


class _Gaps:
    """The gaps of the asset that has a table's name; a partition key joins glacier and time by `|`.

    Attributes:
        times: the times of the partition keys: years, months, or inventories.
    """

    def __init__(self, model: type[Table], gaps: pd.DataFrame, registry: Registry) -> None:
        ids = set(registry.ids)
        self.times: set[str] = set()
        # By glacier and year; None stands for all.
        self._reasons: dict[tuple[str | None, int | None], dict[str, None]] = {}
        mine = gaps[gaps["asset"].str.rpartition("/")[2] == model.table()] if len(gaps) else gaps
        for partition, reason in zip(mine["partition"], mine["reason"], strict=True):
            parts = [part for part in partition.split("|") if part]
            glacier_id = next((part for part in parts if part in ids), None)
            time = next((part for part in parts if part not in ids), None)
            year = None
            if time is not None:
                year = _nominal_year(time)
                self.times.add(time)
            self._reasons.setdefault((glacier_id, year), {})[reason] = None

    def reason(self, cell: _Cell) -> str:
        """The distinct reasons for a cell, the first few of them."""
        keys = ((cell.glacier_id, cell.year), (cell.glacier_id, None), (None, cell.year), (None, None))
        reasons = list(dict.fromkeys(reason for key in keys for reason in self._reasons.get(key, ())))
        shown = reasons[:_SHOWN_REASONS]
        if len(reasons) > len(shown):
            shown.append(f"and {len(reasons) - len(shown)} more")
        return "; ".join(shown) or NO_RECORD


def _inventory_cells(
    tables: Mapping[type[Table], pd.DataFrame],
    gaps: _Gaps,
    image_years: Mapping[tuple[str, str], int],
    registry: Registry,
    years: Sequence[int],
) -> list[_Cell]:
    """The year of every inventory, for every glacier."""
    inventories = set(gaps.times)
    for model, frame in tables.items():
        if model.grain() == "inventory":
            inventories |= set(frame["inventory"])
    cells = []
    for glacier_id in registry.ids:
        found = {image_years.get((glacier_id, inventory), _nominal_year(inventory)) for inventory in inventories}
        cells += [_Cell(glacier_id, year) for year in sorted(found & set(years))]
    return cells


def coverage_figure(frame: pd.DataFrame, path: Path) -> None:
    """Write the heat map as a PNG (palette colours, under 100 kB for 16 glaciers).

    Args:
        frame: what `coverage_table` returns.
        path: the file; replaced when it is there.
    """
    path.write_bytes(_png(_figure(frame), dpi=110))


def coverage_png(frame: pd.DataFrame) -> bytes:
    """The heat map as a smaller PNG, to be embedded in a page (under 30 kB for 16 glaciers)."""
    return _png(_figure(frame), dpi=75)


def coverage_markdown(frame: pd.DataFrame) -> str:
    """The heat map inside a Markdown text, as the Dagster UI shows it."""
    return f"![coverage](data:image/png;base64,{base64.b64encode(coverage_png(frame)).decode()})"


def _figure(frame: pd.DataFrame) -> Figure:
    """A panel per variable: a row per glacier, a column per year."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    variables = list(dict.fromkeys(frame["variable"]))
    glaciers = list(dict.fromkeys(frame["glacier_id"]))
    years = frame["year"].dropna()
    first, last = (int(years.min()), int(years.max())) if len(years) else (0, 0)
    n_columns = 1 if len(variables) < 3 else 2
    n_rows = max(math.ceil(len(variables) / n_columns), 1)
    panel_height = 0.5 + 0.15 * min(max(len(glaciers), 4), _LABELLED_ROWS)
    height = n_rows * panel_height + 1.1
    figure = Figure(figsize=(1.7 + 5.2 * n_columns, height), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharey=True).ravel()
    for place, axis in enumerate(axes):
        if place < len(variables):
            rows = frame[frame["variable"] == variables[place]]
            _panel(axis, variables[place], rows, glaciers, first, last)
        else:
            axis.set_visible(False)
    states = [state for state in STATES if (frame["state"] == state).any()]
    patches = [Patch(color=_COLOURS[state], label=state) for state in states]
    patches.append(Patch(facecolor="white", edgecolor="#808080", label="nothing expected"))
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=9, frameon=False)
    title = f"Coverage of {len(glaciers)} glaciers, {first} to {last}"
    figure.suptitle(title, fontsize=12)
    if frame["is_synthetic"].any():
        figure.suptitle(f"{SYNTHETIC}: {title}", fontsize=12, color="#C00000")
        size = min(24 * n_columns, 14 * height)
        figure.text(
            0.5,
            0.5,
            SYNTHETIC,
            size=size,
            weight="bold",
            color="#C00000",
            alpha=0.45,
            rotation=25,
            ha="center",
            va="center",
        )
    return figure


def _panel(axis: Axes, variable: str, rows: pd.DataFrame, glaciers: Sequence[str], first: int, last: int) -> None:
    """The cells of one variable; an estimate for all dates fills its row."""
    import numpy as np
    from matplotlib.colors import ListedColormap
    from matplotlib.ticker import MaxNLocator

    cells = np.full((len(glaciers), last - first + 1), np.nan)
    place = {glacier_id: row for row, glacier_id in enumerate(glaciers)}
    for glacier_id, year, state in zip(rows["glacier_id"], rows["year"], rows["state"], strict=True):
        column = slice(None) if pd.isna(year) else int(year) - first
        cells[place[glacier_id], column] = STATES.index(state)
    axis.imshow(
        cells,
        cmap=ListedColormap([_COLOURS[state] for state in STATES]),
        vmin=-0.5,
        vmax=len(STATES) - 0.5,
        aspect="auto",
        interpolation="nearest",
        extent=(first - 0.5, last + 0.5, len(glaciers) - 0.5, -0.5),
    )
    single = bool(len(rows)) and bool(rows["year"].isna().all())
    axis.set_title(variable.replace("_", " ") + (" (one estimate for all dates)" if single else ""), fontsize=10)
    step = math.ceil(len(glaciers) / _LABELLED_ROWS)
    axis.set_yticks(range(0, len(glaciers), step), glaciers[::step], fontsize=8)
    axis.set_yticks(np.arange(-0.5, len(glaciers)), minor=True)
    axis.tick_params(axis="x", labelsize=8)
    axis.tick_params(which="both", length=0)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(which="minor", axis="y", color="white", linewidth=1)


def _png(figure: Figure, dpi: int) -> bytes:
    """The figure in at most 32 colours, which are a third of the bytes of true colour; without a date or version."""
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    image = Image.open(drawn).convert("RGB")
    image.quantize(32, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return small.getvalue()
