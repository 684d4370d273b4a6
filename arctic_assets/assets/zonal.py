"""ERA5 fields over outlines, out of archived files: each file is opened once per run, all outlines and months of it go
through one sparse product."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from arctic_assets.science import temperature as science
from arctic_assets.sources.era5_files import Index, open_object
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.weights import WeightCache

if TYPE_CHECKING:
    import xarray as xr
    from shapely.geometry.base import BaseGeometry


_COLUMNS = ["key", "month", "value", "status", "n_cells", "max_weight", "source_id", "is_synthetic"]


class Wanted(NamedTuple):
    """Months over one outline; `key` names it in the answer."""

    key: Hashable
    outline: "BaseGeometry"
    months: Sequence[str]


class Invariants(NamedTuple):
    """ERA5 orography (m) and land fraction over an outline, and the files they are from; NaN without any."""

    orography_m: float
    land_fraction: float
    source_ids: list[str]


class _Opened(NamedTuple):
    data: "xr.Dataset"
    grid: science.Grid
    months: Mapping[str, int]
    is_synthetic: bool


class ZonalReader:
    """Means of monthly ERA5 fields over outlines.

    Args:
        archive: raw files.
        home: the weights of earlier runs are kept in its folder `cache`.
    """

    def __init__(self, archive: Archive, home: Path) -> None:
        self._cache = WeightCache(home / "cache")
        held, replaced = archive.objects("era5"), archive.replaced("era5")
        self._files = {o.source_id: (file, o) for file, o in replaced.items()}
        self._files |= {o.source_id: (archive.file(o), o) for o in held}
        self._index = Index(held, list(replaced.values()))
        self._opened: dict[str, _Opened] = {}

    @property
    def n_opened(self) -> int:
        """Files read so far."""
        return len(self._opened)

    def means(
        self, variable: str, wanted: Sequence[Wanted], *, over_land: bool = False
    ) -> tuple[pd.DataFrame, dict[tuple[Hashable, str], str]]:
        """Means over outlines, in the file's unit, weighted by how much of the outline lies in each cell.

        Args:
            variable: `t2m` or `tp`.
            wanted: outlines and months.
            over_land: weight each cell by its land fraction too; outlines without land in their cells are left out.

        Returns:
            Frame with key, month, value, status, n_cells, max_weight, source_id, is_synthetic; and the reason for
            each (key, month) that no file holds.
        """
        missing: dict[tuple[Hashable, str], str] = {}
        chosen: dict[str, list[Wanted]] = {}
        for one in wanted:
            west, south, east, north = (float(v) for v in one.outline.bounds)
            selection = self._index.select(sorted(one.months), (west, south, east, north), variable)
            missing |= {(one.key, month): reason for month, reason in selection.missing.items()}
            for source_id, months in selection.chosen.items():
                chosen.setdefault(source_id, []).append(Wanted(one.key, one.outline, months))
        return self._read(variable, chosen, over_land), missing

    def preliminary(self, variable: str, wanted: Sequence[Wanted]) -> pd.DataFrame:
        """Means of preliminary fields (ERA5T) in months that are final by now, where the archive has ever held some.

        Args:
            variable: as in `means`.
            wanted: as in `means`.

        Returns:
            Frame as that of `means`.
        """
        chosen: dict[str, list[Wanted]] = {}
        for one in wanted:
            west, south, east, north = (float(v) for v in one.outline.bounds)
            held = self._index.preliminary(sorted(one.months), (west, south, east, north), variable)
            for source_id, months in held.items():
                chosen.setdefault(source_id, []).append(Wanted(one.key, one.outline, months))
        return self._read(variable, chosen)

    def invariants(self, outline: "BaseGeometry") -> Invariants:
        """Orography and land fraction over an outline."""
        west, south, east, north = (float(v) for v in outline.bounds)
        held = self._index.invariants((west, south, east, north))
        if held is None:
            return Invariants(float("nan"), float("nan"), [])
        opened = self._open(held.source_id)
        weights = self._cache.weights([outline], opened.grid)
        orography = science.orography_m(science.zonal_mean(weights, opened.data["z"].values[None]))
        land = science.land_fraction(weights, opened.data["lsm"].values)
        return Invariants(float(orography[0, 0]), float(land[0]), [held.source_id])

    def _read(self, variable: str, chosen: Mapping[str, Sequence[Wanted]], over_land: bool = False) -> pd.DataFrame:
        """The frame of `means`, from the files that were chosen, by source id."""
        frames = [self._of_file(variable, source_id, own, over_land) for source_id, own in sorted(chosen.items())]
        frames = [frame for frame in frames if len(frame)]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=_COLUMNS)

    def _of_file(self, variable: str, source_id: str, wanted: Sequence[Wanted], over_land: bool) -> pd.DataFrame:
        opened = self._open(source_id)
        months = sorted({month for one in wanted for month in one.months})
        weights = self._cache.weights([one.outline for one in wanted], opened.grid)
        if over_land:
            land = self._land(wanted[0].outline, opened.grid)
            if land is None:
                return pd.DataFrame()
            keep = [int(i) for i in np.flatnonzero(science.land_fraction(weights, land) >= science.LEAST_LAND)]
            if not keep:
                return pd.DataFrame()
            wanted = [wanted[i] for i in keep]
            weights = science.over_land(weights.select(keep), land)
        values = opened.data[variable].values[[opened.months[m] for m in months]]
        means = science.zonal_mean(weights, values)
        status = opened.data["status"].values
        column = {month: i for i, month in enumerate(months)}
        return pd.concat(
            [
                pd.DataFrame(
                    {
                        "key": [one.key] * len(one.months),
                        "month": list(one.months),
                        "value": means[i, [column[m] for m in one.months]],
                        "status": [str(status[opened.months[m]]) for m in one.months],
                        "n_cells": int(weights.n_cells[i]),
                        "max_weight": float(weights.max_weight[i]),
                        "source_id": source_id,
                        "is_synthetic": opened.is_synthetic,
                    }
                )
                for i, one in enumerate(wanted)
            ],
            ignore_index=True,
        )

    def _land(self, outline: "BaseGeometry", grid: science.Grid) -> np.ndarray | None:
        """The land-sea mask on a file's grid, where an invariants file of that grid is held."""
        west, south, east, north = (float(v) for v in outline.bounds)
        held = self._index.invariants((west, south, east, north))
        if held is None:
            return None
        opened = self._open(held.source_id)
        return opened.data["lsm"].values if opened.grid.hash == grid.hash else None

    def _open(self, source_id: str) -> _Opened:
        if source_id not in self._opened:
            file, held = self._files[source_id]
            data = open_object(file)
            grid = science.Grid(data["latitude"].values, data["longitude"].values)
            months = {str(m): i for i, m in enumerate(data["month"].values)} if "month" in data.coords else {}
            self._opened[source_id] = _Opened(data, grid, months, held.is_synthetic)
        return self._opened[source_id]
