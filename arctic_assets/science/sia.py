"""Ice thickness from surface speed and slope by the shallow-ice approximation: a check, not a product.

Here: the inversion, its slope, its first-order error. Not here: reading speeds and elevations (`sources`), published
thickness (`thickness`). What is computed with it carries the product name `sia_check`.

With sliding a fixed share beta of the surface speed u, ice that deforms by Glen's law under its own weight has
(Cuffey & Paterson 2010, chapter 8; so used by Gantayat et al. 2014, doi:10.3189/2014JoG13J078, and Millan et al. 2022,
doi:10.1038/s41561-021-00885-z)

    H = [ (n + 1) (1 - beta) u / (2 A (rho g sin alpha)^n) ]^(1 / (n + 1)).

The order of work: smooth the elevations, take the slope, clip it to a least one, leave gaps in the speed as NaN, H,
clip to the largest thickness, mask to the outline.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from arctic_assets.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

SECONDS_PER_YEAR = 365.25 * 86400
GRAVITY_M_S2 = 9.81


@dataclass(frozen=True)
class SiaParameters:
    """Constants of the inversion, and what is known of them.

    n, A and the least slope are those of OGGM; `beta` is that of Gantayat et al. (2014). The others are assumed: no
    measurement of the glacier at hand is behind them.

    Attributes:
        n: exponent of Glen's law (2.8 to 4).
        a: creep parameter A, Pa^-n s-1; 2.4e-24 is temperate ice, 3.5e-25 ice of -10 degrees Celsius. It belongs to
            its n.
        density_kg_m3: density of the ice (880 to 917).
        beta: sliding over surface speed (0 to 0.9) of glaciers that end on land.
        beta_marine: the same of glaciers that end in the sea, whose tongues slide more; assumed.
        min_slope_deg: lesser slopes are taken as this one, or flat ice would be without limit.
        max_thickness_m: greater thicknesses are taken as this one.
        smooth_m: width of the smoothing of elevations, see `slope`: 5 to 10 thicknesses of a valley glacier (400 to
            1000 m).
        a_relative_sigma: relative standard deviation of A: the range from -2 to 0 degrees Celsius; assumed.
        beta_sigma: standard deviation of beta; assumed.
        slope_sigma_deg: standard deviation of the slope; assumed.
    """

    n: float = 3.0
    a: float = 2.4e-24
    density_kg_m3: float = 917.0
    beta: float = 0.25
    beta_marine: float = 0.5
    min_slope_deg: float = 1.5
    max_thickness_m: float = 1700.0
    smooth_m: float = 800.0
    a_relative_sigma: float = 0.3
    beta_sigma: float = 0.25
    slope_sigma_deg: float = 0.5

    @property
    def text(self) -> str:
        """All constants on one line, for the record of a thickness."""
        return ", ".join(f"{field.name}={getattr(self, field.name):g}" for field in fields(self))

    def __post_init__(self) -> None:
        fits = {
            "n": self.n >= 1,
            "a": self.a > 0,
            "density_kg_m3": 300 <= self.density_kg_m3 <= 920,
            "beta": 0 <= self.beta < 1,
            "beta_marine": 0 <= self.beta_marine < 1,
            "min_slope_deg": 0 < self.min_slope_deg < 45,
            "max_thickness_m": self.max_thickness_m > 0,
            "smooth_m": self.smooth_m >= 0,
            **{name: getattr(self, name) >= 0 for name in ("a_relative_sigma", "beta_sigma", "slope_sigma_deg")},
        }
        wrong = [name for name, is_good in fits.items() if not is_good]
        if wrong:
            raise SourceError(
                "a parameter of the shallow-ice inversion is out of its range",
                expected="n >= 1, a > 0, density 300-920 kg m-3, beta 0 to below 1, slope 0-45 degrees, thickness > 0, "
                "smoothing and sigmas at least 0",
                got=", ".join(f"{name} = {getattr(self, name)}" for name in wrong),
                todo="check the unit: degrees, kg m-3, Pa^-n s-1",
            )


def sia_thickness(
    speed_m_yr: ArrayLike,
    slope_rad: ArrayLike,
    parameters: SiaParameters | None = None,
    speed_sigma_m_yr: ArrayLike | None = None,
    is_marine: ArrayLike = False,
) -> NDArray[np.float64]:
    """Thickness, m, where there is a speed and a slope.

    Args:
        speed_m_yr: surface speed, m a-1; NaN or masked where there is none.
        slope_rad: slope of the smoothed surface; clipped to the parameters' least slope.
        parameters: constants; None takes the defaults.
        speed_sigma_m_yr: standard deviation of the speed: where the speed is not above it, it says nothing.
        is_marine: the ice belongs to a glacier that ends in the sea.

    Returns:
        0 to the largest thickness of the parameters; NaN where speed or slope are missing, or the speed is negative
        or lost in its error.
    """
    p = parameters or SiaParameters()
    speed = np.ma.filled(np.ma.asanyarray(speed_m_yr, dtype=np.float64), np.nan)
    known = np.isfinite(speed) & (speed >= 0)
    if speed_sigma_m_yr is not None:
        known &= speed > np.ma.filled(np.ma.asanyarray(speed_sigma_m_yr, dtype=np.float64), np.nan)
    speed_m_s = np.where(known, speed, np.nan) / SECONDS_PER_YEAR
    stress_per_m = p.density_kg_m3 * GRAVITY_M_S2 * np.sin(_clipped(slope_rad, p))
    power = (p.n + 1) * (1 - _beta(p, is_marine)) * speed_m_s / (2 * p.a * stress_per_m**p.n)
    return np.minimum(power ** (1 / (p.n + 1)), p.max_thickness_m)


def sia_error(
    thickness_m: ArrayLike,
    speed_m_yr: ArrayLike,
    speed_sigma_m_yr: ArrayLike,
    slope_rad: ArrayLike,
    parameters: SiaParameters | None = None,
    is_marine: ArrayLike = False,
) -> NDArray[np.float64]:
    """Standard deviation of the thickness, m, to first order.

    sigma_H / H = 1 / (n + 1) sqrt[ (sigma_u / u)^2 + (sigma_A / A)^2 + (sigma_beta / (1 - beta))^2
    + (n cot(alpha) sigma_alpha)^2 ]. That the model itself is wrong (side drag, sliding that varies) is not in it.

    Args:
        thickness_m: of `sia_thickness`.
        speed_m_yr, speed_sigma_m_yr: surface speed and its standard deviation, m a-1.
        slope_rad: as given to `sia_thickness`.
        parameters, is_marine: as given to `sia_thickness`.

    Returns:
        NaN where the thickness is NaN, or the speed is 0.
    """
    p = parameters or SiaParameters()
    speed = np.asarray(speed_m_yr, dtype=np.float64)
    relative_speed = np.asarray(speed_sigma_m_yr, dtype=np.float64) / np.where(speed > 0, speed, np.nan)
    relative_slope = p.n * np.radians(p.slope_sigma_deg) / np.tan(_clipped(slope_rad, p))
    relative_sliding = p.beta_sigma / (1 - _beta(p, is_marine))
    variance = relative_speed**2 + p.a_relative_sigma**2 + relative_sliding**2 + relative_slope**2
    return np.asarray(thickness_m, dtype=np.float64) * np.sqrt(variance) / (p.n + 1)


def slope(dem_m: ArrayLike, cell_m: float, smooth_m: float) -> NDArray[np.float64]:
    """Slope of a smoothed surface, radians.

    Args:
        dem_m: elevations, m, shape (rows, cols), square cells; NaN or masked where there is none.
        cell_m: edge of a cell, m.
        smooth_m: elevations are averaged with Gaussian weights of this width (two standard deviations); 0 takes them
            as they are.

    Returns:
        Shape (rows, cols); NaN where the elevation, or one beside it, is missing.
    """
    from scipy.ndimage import gaussian_filter

    dem = np.ma.filled(np.ma.asanyarray(dem_m, dtype=np.float64), np.nan)
    known = np.isfinite(dem)
    if smooth_m > 0:
        width = smooth_m / 2 / cell_m
        # Missing cells take no part in the mean: weights are normalised by those of the cells that do.
        weights = gaussian_filter(known.astype(np.float64), width, mode="nearest")
        sums = gaussian_filter(np.where(known, dem, 0.0), width, mode="nearest")
        dem = np.where(known, sums / np.where(known, weights, 1.0), np.nan)
    down, right = np.gradient(dem, cell_m)
    # Differences leave out the cell in their middle.
    return np.where(known, np.arctan(np.hypot(down, right)), np.nan)


def _beta(parameters: SiaParameters, is_marine: ArrayLike) -> NDArray[np.float64]:
    return np.where(np.asarray(is_marine, dtype=bool), parameters.beta_marine, parameters.beta)


def _clipped(slope_rad: ArrayLike, parameters: SiaParameters) -> NDArray[np.float64]:
    given = np.ma.filled(np.ma.asanyarray(slope_rad, dtype=np.float64), np.nan)
    return np.maximum(given, np.radians(parameters.min_slope_deg))
