"""ERA5 monthly means of total precipitation, in files of their own as the Climate Data Store delivers accumulations.

Here: a precipitation that fits the sample's climate, on the grids of its temperature, in metres per day. Wet coasts
of the North Atlantic and the Gulf of Alaska, more over the hills, most in autumn, and chance that neighbours share.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from arctic_assets.sample.common import generator
from arctic_assets.sample.era5 import FIRST_YEAR, Climate, Field, grib_attributes, month_number, wrapped, write_years
from arctic_assets.sources.rgi7 import REGIONS

_WETTEST_M_PER_DAY, _DRIEST_M_PER_DAY = 0.0075, 0.0006
_PATTERNS = 4
#: Values come in such steps, which keeps the files small.
_STEP_M_PER_DAY = 2.0**-17
_ATTRIBUTES = {
    "GRIB_paramId": np.int64(228),
    "GRIB_dataType": "fc",
    "GRIB_stepType": "avgad",
    "GRIB_cfVarName": "tp",
    "GRIB_name": "Total precipitation",
    "GRIB_shortName": "tp",
    "GRIB_units": "m",
    "long_name": "Total precipitation",
    "units": "m",
}


def write_precipitation(
    folder: Path, fields: Mapping[str, Field], climate: Climate, through: str
) -> dict[str, np.ndarray]:
    """Write `era5_monthly_tp_{years}_{region}.nc` per region, as `era5.write` does for temperature.

    Args:
        folder: the provider's folder of the mirror.
        fields: temperature by region, as `era5.write` returns it; gives the grids.
        climate: gives the orography.
        through: last month.

    Returns:
        Precipitation by region as written, m per day, float32, shape (months, latitude, longitude), from January of
        `era5.FIRST_YEAR`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    months = month_number(through) - 12 * FIRST_YEAR + 1
    found = {}
    for region, field in fields.items():
        found[region] = _precipitation(field, climate, months)
        attributes = {**grib_attributes(field), **_ATTRIBUTES}
        write_years(folder, REGIONS[region], field, "tp", attributes, found[region], through)
    return found


def _precipitation(field: Field, climate: Climate, months: int) -> np.ndarray:
    """Formulas of place and month times a lognormal noise; a later last month only adds rows."""
    y, x = (axis.ravel() for axis in np.meshgrid(field.latitude, field.longitude, indexing="ij"))
    atlantic = np.exp(-((wrapped(x - 5) / 40) ** 2) / 2) * np.exp(-(((y - 64) / 9) ** 2))
    pacific = np.exp(-(((y - 58) / 4) ** 2) - (wrapped(x + 138) / 20) ** 2)
    wet = np.minimum(1.0, atlantic + pacific)
    mean = _DRIEST_M_PER_DAY * (_WETTEST_M_PER_DAY / _DRIEST_M_PER_DAY) ** wet
    mean = mean * (1 + climate.orography(y, x) / 4000)
    season = 1 + 0.35 * np.cos(2 * np.pi * (np.arange(months) % 12 - 9.5) / 12)
    rng = generator("precipitation")
    phases, waves = rng.uniform(0, 2 * np.pi, _PATTERNS), rng.normal(0, 0.1, (_PATTERNS, 2))
    patterns = np.cos(phases[:, None] + waves[:, :1] * y[None] + 0.4 * waves[:, 1:] * wrapped(x[None]))
    noise = rng.normal(0, 0.3 * np.sqrt(2 / _PATTERNS), (months, _PATTERNS)) @ patterns
    depth = mean[None] * season[:, None] * np.exp(noise)
    steps: np.ndarray = (np.rint(depth / _STEP_M_PER_DAY) * _STEP_M_PER_DAY).astype(np.float32)
    return steps.reshape(months, len(field.latitude), len(field.longitude))
