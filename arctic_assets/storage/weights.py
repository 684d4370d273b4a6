"""Coverage weights of earlier runs, on disk.

How much of each ERA5 cell an outline covers depends on the outline and the grid only: computed once for each pair,
kept under the hashes of both. The folder may be deleted at any time.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from arctic_assets.science.temperature import Grid, Weights


class WeightCache:
    """Coverage weights by outline and grid.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Weights] = {}

    def weights(self, outlines: Sequence[BaseGeometry], grid: Grid) -> Weights:
        """Weights of the outlines on the grid, in their order."""
        from arctic_assets.science.temperature import Weights

        return Weights.stack([self._one(outline, grid) for outline in outlines])

    def _one(self, outline: BaseGeometry, grid: Grid) -> Weights:
        from scipy.sparse import csr_array

        from arctic_assets.science.geometry import outline_hash
        from arctic_assets.science.temperature import Weights, coverage_weights

        key = f"{outline_hash(outline)[:20]}_{grid.hash[:20]}"
        if key not in self._known:
            path = self._folder / f"{key}.npz"
            if path.is_file():
                with np.load(path) as kept:
                    n_lat, n_lon = (int(n) for n in kept["shape"])
                    ends = [0, len(kept["cell"])]
                    overlap = csr_array((kept["km2"], kept["cell"], ends), shape=(1, n_lat * n_lon))
                    self._known[key] = Weights(overlap, kept["covered"], (n_lat, n_lon))
            else:
                made = coverage_weights([outline], grid)
                self._keep(path, made)
                self._known[key] = made
        return self._known[key]

    def _keep(self, path: Path, made: Weights) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part.npz")
        np.savez(
            temporary,
            km2=made.overlap_km2.data,
            cell=made.overlap_km2.indices,
            covered=made.covered_fraction,
            shape=np.array(made.shape),
        )
        os.replace(temporary, path)
