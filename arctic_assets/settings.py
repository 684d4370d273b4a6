"""Environment variables to typed settings. The only module that reads the environment.

Credentials are not settings: the provider's own client reads its own key (`~/.cdsapirc`, `CDSAPI_KEY`,
`EARTHDATA_TOKEN`, `~/.netrc`), so that no key passes through our code, logs or tables. Settings themselves are shown:
they stand in the UI, and Dagster keeps them with every run.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from arctic_assets.errors import SettingsError

_PREFIX = "ARCTIC_ASSETS_"
DEFAULT_INVENTORIES = ("rgi7", "1985", "1995", "2005", "2015", "2024")


@dataclass(frozen=True)
class Settings:
    """What a run depends on besides the data.

    Attributes:
        home: directory of everything we store: raw files, warehouse, exports, Dagster's own records.
        mirror: `sample`, `live`, a directory, or a http(s) URL without credentials.
        glaciers: registry file in place of the 16 glaciers of the package, or None.
        start_year: first year of the yearly partitions.
        start_month: first month of the monthly partitions, `YYYY-MM`.
        inventories: dated outline sets; `rgi7` is the reference, the others are nominal years.
        catch_up: the first look of the sensor for new ERA5 months brings in what came since the last month held;
            else it takes the present as the baseline.
    """

    home: Path
    mirror: str = "sample"
    glaciers: Path | None = None
    start_year: int = 1980
    start_month: str = "1985-01"
    inventories: tuple[str, ...] = DEFAULT_INVENTORIES
    catch_up: bool = False

    @property
    def mirror_kind(self) -> Literal["sample", "live", "url", "directory"]:
        """How the mirror is reached."""
        if self.mirror == "sample" or self.mirror == "live":
            return self.mirror  # type: ignore[return-value]
        return "url" if re.match(r"https?://", self.mirror) else "directory"

    @property
    def archive(self) -> Path:
        """Raw provider files, each with its provenance."""
        return self.home / "raw"

    @property
    def warehouse(self) -> Path:
        """The DuckDB file that runs write. Readers take `published`."""
        return self.home / "warehouse.duckdb"

    @property
    def published(self) -> Path:
        """The DuckDB file for readers: a whole copy, replaced at once after a run."""
        return self.home / "arctic.duckdb"

    @property
    def exports(self) -> Path:
        """Workbook, Parquet tables and the other products."""
        return self.home / "exports"

    @property
    def sample(self) -> Path:
        """Where the synthetic mirror is written when `mirror` is `sample`."""
        return self.home / "sample"


def load(**overrides: object) -> Settings:
    """Read the settings from the environment.

    Args:
        overrides: values that win over the environment; None means "not given".

    Raises:
        SettingsError: a value that cannot be used; names the variable.
    """
    env = os.environ.get
    settings = Settings(home=Path(env(f"{_PREFIX}HOME") or "data"))
    if mirror := env(f"{_PREFIX}MIRROR"):
        settings = replace(settings, mirror=mirror)
    if glaciers := env(f"{_PREFIX}GLACIERS"):
        settings = replace(settings, glaciers=Path(glaciers))
    if start := env(f"{_PREFIX}START"):
        year, month = _start(start)
        settings = replace(settings, start_year=year, start_month=month)
    if inventories := env(f"{_PREFIX}INVENTORIES"):
        settings = replace(settings, inventories=_inventories(inventories))
    if first_look := env(f"{_PREFIX}FIRST_LOOK"):
        settings = replace(settings, catch_up=_catch_up(first_look))
    settings = replace(settings, **{k: v for k, v in overrides.items() if v is not None})  # type: ignore[arg-type]
    settings = replace(
        settings,
        home=Path(settings.home).expanduser().resolve(),
        glaciers=None if settings.glaciers is None else Path(settings.glaciers).expanduser().resolve(),
    )
    if settings.mirror_kind == "directory":
        path = Path(settings.mirror).expanduser().resolve()
        if not path.is_dir():
            raise SettingsError(
                "the mirror does not exist",
                where=f"{_PREFIX}MIRROR or --mirror",
                expected="'sample', 'live', a directory that holds providers' files, or a http(s) URL",
                got=settings.mirror,
                todo="check the path; one folder per provider (era5/, rgi7/, wgms/, farinotti/) lies in it",
            )
        settings = replace(settings, mirror=str(path))
    if settings.mirror_kind == "url":
        _refuse_credentials(settings.mirror)
    return settings


def environment(settings: Settings) -> dict[str, str]:
    """The variables that give a child process (Dagster's code server, a run) the same settings."""
    variables = {
        "HOME": str(settings.home),
        "MIRROR": settings.mirror,
        "START": f"{settings.start_year},{settings.start_month}",
        "INVENTORIES": ",".join(settings.inventories),
        "FIRST_LOOK": "catch_up" if settings.catch_up else "baseline",
    }
    if settings.glaciers:
        variables["GLACIERS"] = str(settings.glaciers)
    return {f"{_PREFIX}{name}": value for name, value in variables.items()}


def _refuse_credentials(url: str) -> None:
    found = [sign for sign in "@?#" if sign in url]
    if found:
        raise SettingsError(
            "the address of the mirror holds more than an address",
            where=f"{_PREFIX}MIRROR or --mirror",
            expected="a URL without user, password, query and fragment: it is shown in the UI and kept with every run",
            got=f"one with {' and '.join(found)}",  # what stands beside it may be a secret
            todo="put the login into ~/.netrc: machine <host> login <name> password <password>",
        )


def _start(text: str) -> tuple[int, str]:
    match = re.fullmatch(r"(\d{4})(?:,(\d{4})-(0[1-9]|1[0-2]))?", text.strip())
    if not match:
        raise SettingsError(
            "the start of the partitions cannot be read",
            where=f"{_PREFIX}START",
            expected="a year (1980), or a year and a month (1980,1985-01): first year, first month",
            got=text,
            todo="correct or unset the variable",
        )
    year, month_year, month = match.groups()
    return int(year), f"{month_year or year}-{month or '01'}"


def _inventories(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(",") if key.strip())
    wrong = [key for key in keys if key != "rgi7" and not re.fullmatch(r"\d{4}", key)]
    if wrong or len(set(keys)) != len(keys) or "rgi7" not in keys:
        raise SettingsError(
            "the list of inventories cannot be used",
            where=f"{_PREFIX}INVENTORIES",
            expected="rgi7 and nominal years, each once, separated by commas (rgi7,1985,1995)",
            got=text,
            todo="correct or unset the variable",
        )
    return keys


def _catch_up(text: str) -> bool:
    if text not in ("baseline", "catch_up"):
        raise SettingsError(
            "what the first look for new months does cannot be read",
            where=f"{_PREFIX}FIRST_LOOK",
            expected="baseline or catch_up",
            got=text,
            todo="correct or unset the variable",
        )
    return text == "catch_up"
