"""One Pandera model per DuckDB table: the only place that says which columns exist and what they mean.

Add a column here and it appears in the warehouse, the checks, the UI, the workbook and the docs.
"""

from __future__ import annotations

from arctic_assets.tables.area import Area, Outline
from arctic_assets.tables.area_change import AreaChange
from arctic_assets.tables.balance_model import BalanceModel
from arctic_assets.tables.balance_period import BalancePeriod
from arctic_assets.tables.base import (
    Column,
    Failure,
    NoUncertainty,
    RowRule,
    Table,
    column,
    soft_violations,
    violations,
    without_uncertainty,
)
from arctic_assets.tables.mass_balance import MassBalance
from arctic_assets.tables.provenance import Gap, SourceObject
from arctic_assets.tables.temperature import TemperatureAnnual, TemperatureMonthly
from arctic_assets.tables.thickness import Thickness, Volume
from arctic_assets.tables.trend import Trend
from arctic_assets.tables.velocity import Velocity

TABLES: tuple[type[Table], ...] = (
    Outline,
    Area,
    AreaChange,
    Thickness,
    Volume,
    Velocity,
    MassBalance,
    BalanceModel,
    BalancePeriod,
    TemperatureMonthly,
    TemperatureAnnual,
    Trend,
)

__all__ = [
    "TABLES",
    "Area",
    "AreaChange",
    "BalanceModel",
    "BalancePeriod",
    "Column",
    "Failure",
    "Gap",
    "MassBalance",
    "NoUncertainty",
    "Outline",
    "RowRule",
    "SourceObject",
    "Table",
    "TemperatureAnnual",
    "TemperatureMonthly",
    "Thickness",
    "Trend",
    "Velocity",
    "Volume",
    "column",
    "soft_violations",
    "violations",
    "without_uncertainty",
]
