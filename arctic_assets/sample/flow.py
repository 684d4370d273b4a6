"""How fast the sample's ice moves: as its thickness and its slope make it, by the shallow-ice relation read forwards.

Here: the largest speed of a profile along a main line, so that ice which deforms (and slides a fixed share) under its
own weight is on average as thick as the domes of `farinotti` on the surface of `dem`. Not here: the profile, and what a
mosaic makes of it (`itslive`). Nothing of `science.sia`, which turns this round, is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from arctic_assets.sample import farinotti
from arctic_assets.sample.dem import Surface
from arctic_assets.sample.rgi7 import Member

if TYPE_CHECKING:
    from arctic_assets.sample.rgi7 import Former

Floats = NDArray[np.float64]

#: u = 2 A / (n + 1) (rho g sin alpha)^n H^(n + 1) / (1 - beta), Cuffey & Paterson 2010, chapter 8: Pa^-3 s-1, kg m-3.
_A, _N, _DENSITY, _GRAVITY = 2.4e-24, 3, 917.0, 9.81
_SLIDING, _SLIDING_MARINE = 0.25, 0.5
_LEAST_SLOPE = np.radians(1.5)
_SMOOTHED_M = 400.0
"""Standard deviation of the smoothing of elevations before the slope is taken."""
_SECONDS = 365.25 * 86400
_POINTS = 200


class Flow(NamedTuple):
    """What moves along a main line.

    Attributes:
        top_m_yr: largest speed of the profile.
        thickness_m: mean thickness of the ice that is faster than `least_m_yr`; None where all is slower.
        moving: share of the line that is.
    """

    top_m_yr: float
    thickness_m: float | None
    moving: float


def flow(
    member: Member,
    former: Sequence[Former],
    means_m: Sequence[float],
    length_m: float,
    profile: Callable[[Floats], Floats],
    least_m_yr: float,
) -> Flow:
    """The largest speed with which the relation gives the mean thickness of the ice under the line.

    Args:
        member: its outline, main line and elevations.
        former: the RGI6 outlines whose domes it is made of.
        means_m: mean thickness of each.
        length_m: of the main line.
        profile: of the speed, as a share of the largest one, at places from 0 at the head to 1.
        least_m_yr: ice that is slower does not count: nobody can measure it.
    """
    import shapely
    from scipy.ndimage import gaussian_filter1d

    s = (np.arange(_POINTS) + 0.5) / _POINTS
    step = length_m / _POINTS
    points = shapely.get_coordinates(shapely.line_interpolate_point(member.piece.lines[-1], s, normalized=True))
    thickness = np.max([farinotti.dome(f, mean).at(points) for f, mean in zip(former, means_m, strict=True)], axis=0)
    smooth = gaussian_filter1d(Surface(member)(points), _SMOOTHED_M / step, mode="nearest")
    slope = np.maximum(np.abs(np.arctan(np.gradient(smooth, step))), _LEAST_SLOPE)
    share = profile(s)
    beta = _SLIDING_MARINE if member.marine else _SLIDING
    stress_per_m = _DENSITY * _GRAVITY * np.sin(slope)
    # thickness = (needed * share * top) ** (1 / (n + 1))
    needed = (_N + 1) * (1 - beta) / (2 * _A * stress_per_m**_N * _SECONDS)
    moving = np.ones(_POINTS, bool)
    for _ in range(20):
        root = ((needed * share)[moving] ** (1 / (_N + 1))).mean()
        top = float((thickness[moving].mean() / root) ** (_N + 1))
        now = share * top > least_m_yr
        if not now.any():
            return Flow(top, None, 0.0)
        if (now == moving).all():
            break
        moving = now
    return Flow(top, float(thickness[moving].mean()), float(moving.mean()))
