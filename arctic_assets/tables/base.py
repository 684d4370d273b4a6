"""The language in which tables are described: columns with unit, meaning, key, hard and soft range.

One Pandera model per DuckDB table (`arctic_assets.tables`). From it come the table's DDL, the gate before every
write, the asset checks, the column list in the UI, the codebook of the workbook and the docs. Nothing about
columns is written down anywhere else.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import pandas as pd
import pandera.pandas as pa

from arctic_assets.errors import TableError

Range = tuple[float | None, float | None]
Grain = Literal["glacier", "inventory", "month", "year", "none"]

_DUCKDB_TYPES: dict[object, str] = {
    str: "VARCHAR",
    float: "DOUBLE",
    int: "BIGINT",
    bool: "BOOLEAN",
    bytes: "BLOB",
    dt.date: "DATE",
    dt.datetime: "TIMESTAMP",
    list[str]: "VARCHAR[]",
    list[float]: "DOUBLE[]",
}
_PANDAS_TYPES: dict[object, str] = {
    float: "float64",
    int: "Int64",
    bool: "bool",
    dt.datetime: "datetime64[us]",
    str: "str",
}


class NoUncertainty(enum.Enum):
    """Why a number has no column of uncertainty: one of these."""

    COUNT = "a count"
    SETTING = "a setting"
    EXACT = "exact: counting, geometry or definition"
    ITSELF = "says itself how sure something is"
    NOT_GIVEN = "not given by the source"
    NOT_ESTIMATED = "not estimated"


@dataclass(frozen=True)
class Column:
    """One column of a table, as every reader of the registry sees it."""

    name: str
    type: object
    unit: str
    description: str
    key: bool
    nullable: bool
    hard: Range
    warn: Range
    isin: tuple[str, ...]
    positive: bool = False
    sigmas: tuple[str, ...] = ()
    no_uncertainty: NoUncertainty | None = None

    @property
    def uncertainty(self) -> str:
        """The columns that hold its uncertainty, or why there are none, in words; empty for all but quantities."""
        return self.no_uncertainty.value if self.no_uncertainty else ", ".join(self.sigmas)

    @property
    def is_quantity(self) -> bool:
        """Whether it is a number that must have an uncertainty: measured or computed, and no uncertainty itself."""
        is_uncertainty = re.search(r"_(sigma|bound)(_|$)", self.name) is not None
        return bool(self.unit) and self.type in (float, int) and not self.key and not is_uncertainty

    @property
    def duckdb_type(self) -> str:
        """Type in the DDL."""
        return _DUCKDB_TYPES[self.type]

    @property
    def constraint(self) -> str:
        """The hard limits in words, e.g. `0.01 to 25000 km2`."""
        if self.isin:
            return "one of " + ", ".join(self.isin)
        return _range_text(self.hard, self.unit, self.positive)

    @property
    def expectation(self) -> str:
        """The soft limits in words."""
        return _range_text(self.warn, self.unit)


def _range_text(limits: Range, unit: str, positive: bool = False) -> str:
    low, high = limits
    suffix = f" {unit}" if unit not in ("", "1") else ""
    if positive:
        return "above 0" + (f", at most {high:g}" if high is not None else "") + suffix
    if low is not None and high is not None:
        return f"{low:g} to {high:g}{suffix}"
    if low is not None:
        return f"at least {low:g}{suffix}"
    if high is not None:
        return f"at most {high:g}{suffix}"
    return ""


def column(
    description: str,
    *,
    unit: str = "",
    key: bool = False,
    nullable: bool = False,
    hard: Range = (None, None),
    warn: Range = (None, None),
    isin: tuple[str, ...] = (),
    positive: bool = False,
    uncertainty: str | tuple[str, ...] | NoUncertainty = (),
) -> Any:
    """A column of a `Table`.

    Args:
        description: meaning, in one sentence that a glaciologist understands.
        unit: unit of the values; empty for text and dates, `1` for pure numbers.
        key: part of the primary key.
        nullable: may be missing.
        hard: inclusive limits; a row outside is refused.
        warn: inclusive limits; a row outside is kept and shown by a check.
        isin: the allowed values.
        positive: a row that is not above 0 is refused, as an uncertainty of 0 would say that a number is exact.
        uncertainty: for a measured or computed quantity: the name or names of the columns that hold its uncertainty, or
            the reason why there are none.
    """
    sigmas: tuple[str, ...] = ()
    if not isinstance(uncertainty, NoUncertainty):
        sigmas = (uncertainty,) if isinstance(uncertainty, str) else uncertainty
    return pa.Field(
        nullable=nullable,
        ge=None if positive else hard[0],
        gt=0 if positive else None,
        le=hard[1],
        isin=list(isin) or None,
        description=description,
        metadata={
            "unit": unit,
            "key": key,
            "hard": hard,
            "warn": warn,
            "isin": isin,
            "positive": positive,
            "sigmas": sigmas,
            "no_uncertainty": uncertainty if isinstance(uncertainty, NoUncertainty) else None,
        },
    )


class RowRule(typing.NamedTuple):
    """A hard limit that depends on other columns of the row.

    Attributes:
        text: the rule in words, with unit and bound.
        column: the column that is limited.
        broken: rows (as `Table.conform` returns them) to whether each breaks the rule.
    """

    text: str
    column: str
    broken: Callable[[pd.DataFrame], pd.Series]


class Table(pa.DataFrameModel):
    """Base of all table models: the columns that every row carries, and what can be asked of a model.

    A subclass sets in its `Config` the `name` (in the DuckDB schema `derived`), the `title`, the `grain`, where all its
    rows have the same the `origin`, and the `rules` (`RowRule`) that compare columns; its docstring is the description
    of the table.
    """

    origin: str = column(
        "Where the values come from: a kind of measurement, estimate or model, or derived from other tables"
    )
    source_ids: list[str] = column("Archived provider files this row was made from: provenance.source_object.source_id")
    run_id: str = column("Dagster run that wrote the row")
    code_version: str = column("Version of the method that made the row")
    recorded_at: dt.datetime = column("When the row was written, UTC")
    is_synthetic: bool = column("True when any source of the row is the SYNTHETIC sample")

    class Config:
        """Pandera: no column more, no column less."""

        strict = True

    @classmethod
    def table(cls) -> str:
        """Name in the schema `derived`."""
        return str(cls.to_schema().name)

    @classmethod
    def title(cls) -> str:
        """Name for people."""
        return str(cls.to_schema().title)

    @classmethod
    def grain(cls) -> Grain:
        """What one partition of the table is."""
        return cast(Any, cls.__config__).metadata["grain"]  # type: ignore[no-any-return]

    @classmethod
    def default_origin(cls) -> str | None:
        """Origin of all rows of the table, or None where each row says its own."""
        return cast(Any, cls.__config__).metadata.get("origin")

    @classmethod
    def rules(cls) -> tuple[RowRule, ...]:
        """What rows must fulfil beside the limits of single columns."""
        return cast(Any, cls.__config__).metadata.get("rules", ())  # type: ignore[no-any-return]

    @classmethod
    def columns(cls) -> list[Column]:
        """The columns in DDL order: keys first, provenance last."""
        common = {c.name for c in columns_of(Table)}
        # stable: within each group as defined
        return sorted(columns_of(cls), key=lambda c: (not c.key, c.name in common))

    @classmethod
    def key(cls) -> list[str]:
        """Names of the primary key columns."""
        return [c.name for c in cls.columns() if c.key]

    @classmethod
    def value_columns(cls) -> list[str]:
        """Names of all columns that make two rows different: all but when and by which run they were written."""
        stamp = {"run_id", "code_version", "recorded_at"}
        return [c.name for c in cls.columns() if c.name not in stamp]

    @classmethod
    def partition_columns(cls) -> list[str]:
        """Names of the columns that say to which partition a row belongs."""
        return {
            "glacier": ["glacier_id"],
            "inventory": ["glacier_id", "inventory"],
            "month": ["glacier_id", "month"],
            "year": ["glacier_id", "year"],
            "none": [],
        }[cls.grain()]

    @classmethod
    def no_rows(cls) -> pd.DataFrame:
        """No rows, all columns with their types."""
        return cls.conform(pd.DataFrame({c.name: pd.Series(dtype="object") for c in cls.columns()}))

    @classmethod
    def conform(cls, frame: pd.DataFrame) -> pd.DataFrame:
        """The frame with the model's column order and types; columns the model allows to be missing are added.

        Raises:
            TableError: a column is unknown, a required one is missing, or a value cannot be converted.
        """
        columns = cls.columns()
        names = [c.name for c in columns]
        if "origin" not in frame.columns and (origin := cls.default_origin()):
            frame = frame.assign(origin=origin)
        unknown = sorted(set(frame.columns) - set(names))
        missing = [c.name for c in columns if c.name not in frame.columns and not c.nullable]
        if unknown or missing:
            raise TableError(
                f"the columns do not fit the table {cls.table()}",
                where=f"derived.{cls.table()}",
                expected=", ".join(names),
                got=f"unknown: {unknown or 'none'}; missing: {missing or 'none'}",
                todo="change the frame, or the model in arctic_assets/tables",
            )
        out = {}
        for c in columns:
            values = frame[c.name] if c.name in frame else pd.Series([None] * len(frame), index=frame.index)
            try:
                out[c.name] = values.astype(cast(Any, _PANDAS_TYPES.get(c.type, "object")))
            except (TypeError, ValueError) as error:
                raise TableError(
                    f"a value of {c.name} cannot be stored",
                    where=f"derived.{cls.table()}.{c.name}",
                    expected=c.duckdb_type,
                    got=str(error),
                    todo="look at the rows the asset made for this column",
                ) from error
        return pd.DataFrame(out).reset_index(drop=True)


@functools.cache
def columns_of(model: type[pa.DataFrameModel]) -> tuple[Column, ...]:
    """The columns of any model whose fields are made by `column`, in the order of definition.

    Raises:
        TableError: a column names an uncertainty that is no column of the model.
    """
    hints = typing.get_type_hints(model)
    found = []
    for name, (_, info) in model.__fields__.items():
        facts = cast(dict[str, Any], info.metadata)
        found.append(
            Column(
                name=name,
                type=_plain(hints[name]),
                unit=facts["unit"],
                description=info.description or "",
                key=facts["key"],
                nullable=bool(info.nullable),
                hard=facts["hard"],
                warn=facts["warn"],
                isin=facts["isin"],
                positive=facts["positive"],
                sigmas=facts["sigmas"],
                no_uncertainty=facts["no_uncertainty"],
            )
        )
    for c in found:
        if unknown := sorted({*c.sigmas} - {other.name for other in found if other is not c}):
            raise TableError(
                f"the uncertainty of {c.name} is in no column",
                where=f"{model.__name__}.{c.name}",
                expected="names of other columns of the table, or one of NoUncertainty",
                got=", ".join(unknown),
                todo="correct `uncertainty` in the model, in arctic_assets/tables",
            )
    return tuple(found)


def _plain(hint: object) -> object:
    """`float | None` and `float` are the same column type; nullability is the column's own fact."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next(arg for arg in typing.get_args(hint) if arg is not type(None))
    return hint


@dataclass(frozen=True)
class Failure:
    """Rows that break one rule.

    Attributes:
        rule: the rule in words, with unit and bound.
        column: the column concerned, or the key columns.
        rows: the failing rows (key columns and the value).
    """

    rule: str
    column: str
    rows: pd.DataFrame


def violations(model: type[Table], frame: pd.DataFrame) -> list[Failure]:
    """The rules of the model that the rows break: types, nulls, keys, hard ranges, rules of rows.

    Args:
        model: the table's model.
        frame: rows as `Table.conform` returns them.

    Returns:
        One `Failure` per broken rule, empty when the rows may be stored.
    """
    found: list[Failure] = []
    key = model.key()
    duplicated = frame.duplicated(subset=key, keep=False) if key else pd.Series(False, index=frame.index)
    if duplicated.any():
        found.append(Failure(f"key ({', '.join(key)}) is unique", ", ".join(key), frame.loc[duplicated, key]))
    try:
        model.to_schema().validate(frame, lazy=True)
    except pa.errors.SchemaErrors as error:
        cases = error.failure_cases
        by_name = {c.name: c for c in model.columns()}
        for (name, check), group in cases.groupby(["column", "check"], dropna=False, sort=False):
            col = by_name.get(str(name))
            index = [i for i in group["index"] if i is not None and not pd.isna(i)]
            shown = [*key, *([str(name)] if col and str(name) not in key else [])]
            rows = frame.loc[index, shown] if index else group[["failure_case"]]
            found.append(Failure(_rule(check, col), str(name), rows))
    for rule in model.rules():
        broken = rule.broken(frame).fillna(False).astype(bool)
        if broken.any():
            found.append(Failure(rule.text, rule.column, frame.loc[broken, [*key, rule.column]]))
    return found


def _rule(check: object, col: Column | None) -> str:
    if col is None:
        return str(check)
    if str(check) == "not_nullable":
        return f"{col.name} is never missing"
    if col.constraint and not str(check).startswith("dtype"):
        return f"{col.name} is {col.constraint}"
    return f"{col.name}: {check}"


def soft_violations(model: type[Table], frame: pd.DataFrame) -> list[Failure]:
    """Rows outside the soft ranges: kept, but worth a look."""
    found = []
    for c in model.columns():
        low, high = c.warn
        if low is None and high is None:
            continue
        values = pd.to_numeric(frame[c.name])
        out = (values < (low if low is not None else float("-inf"))) | (
            values > (high if high is not None else float("inf"))
        )
        out = out.fillna(False).astype(bool)
        if out.any():
            found.append(
                Failure(
                    f"{c.name} is expected within {c.expectation}",
                    c.name,
                    frame.loc[out, [*model.key(), c.name]],
                )
            )
    return found


def without_uncertainty(model: type[Table], frame: pd.DataFrame) -> list[Failure]:
    """Numbers that are published without saying how sure they are, and rows without an origin.

    A quantity (`Column.is_quantity`) names the columns of its uncertainty, and in each row that has the number these
    must have values; or the model gives a reason (`NoUncertainty`) why there are none.
    """
    found = []
    for c in (c for c in model.columns() if c.is_quantity):
        shown = [*model.key(), c.name]
        if not (c.sigmas or c.no_uncertainty):
            rule = f"{c.name} has an uncertainty, or the model says why not"
            found.append(Failure(rule, c.name, frame.loc[frame[c.name].notna(), shown]))
        for name in c.sigmas:
            bad = frame[c.name].notna() & frame[name].isna()
            if bad.any():
                found.append(Failure(f"{name} is there where {c.name} is", name, frame.loc[bad, [*shown, name]]))
    silent = frame["origin"].eq("") | frame["origin"].isna()
    if silent.any():
        found.append(Failure("every row has an origin", "origin", frame.loc[silent, model.key()]))
    return found


SHOWN_ROWS = 20
"""Failing rows shown as evidence; the count is always exact."""


def explain(failures: list[Failure]) -> str:
    """The first failing rows of each rule, as text for an error message."""
    return "\n".join(
        f"{f.rule}: {len(f.rows)} row(s), the first:\n{f.rows.head(5).to_string(index=False)}" for f in failures
    )
