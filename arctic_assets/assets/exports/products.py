"""exports/workbook, exports/tables and exports/coverage."""

from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd

from arctic_assets import __version__
from arctic_assets.assets.exports.staleness import MADE_FROM
from arctic_assets.assets.wiring import OWNERS, RawStore
from arctic_assets.partitions import Partitions
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import TABLES, Table

LATEST = "latest"
"""Folder of the exports of the present tables; releases get folders of their own."""


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The assets."""
    upstream = [dg.AssetDep(["derived", model.table()]) for model in TABLES]
    registry = partitions.registry

    @dg.asset(
        key=["exports", "workbook"],
        deps=upstream,
        group_name="exports",
        owners=OWNERS,
        kinds={"excel"},
        code_version="1",
    )
    def workbook(store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """The dataset as one Excel workbook: README, glaciers, a sheet per variable, codebook, sources, gaps.

        As long as the tables stay the same, so does the file, byte for byte.
        """
        from arctic_assets.publish.workbook import write_workbook

        made_from, tables = warehouse.fingerprint(), _tables(warehouse)
        path = _folder(store) / "arctic_glacier_dataset.xlsx"
        write_workbook(path, tables, warehouse.sources(), warehouse.gaps(), registry, _facts())
        return _result(made_from, {**_file(path), **_synthetic(tables)})

    @dg.asset(
        key=["exports", "tables"],
        deps=upstream,
        group_name="exports",
        owners=OWNERS,
        kinds={"parquet"},
        code_version="1",
    )
    def tables(store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """All tables as Parquet (outlines as GeoParquet), units and meanings in the column metadata; and the DuckDB
        copy for readers, `<home>/arctic.duckdb`, which no run blocks.
        """
        from arctic_assets.publish.parquet import write_tables

        made_from, found = warehouse.fingerprint(), _tables(warehouse)
        paths = write_tables(_folder(store) / "tables", found, warehouse.sources(), warehouse.gaps(), registry)
        warehouse.publish(store.settings.published)
        return _result(
            made_from,
            {
                "files": len(paths),
                "rows": sum(len(f) for f in found.values()),
                "folder": dg.MetadataValue.path(str(paths[0].parent)),
                "DuckDB for readers": dg.MetadataValue.path(str(store.settings.published)),
                **_synthetic(found),
            },
        )

    @dg.asset(
        key=["exports", "coverage"],
        deps=upstream,
        group_name="exports",
        owners=OWNERS,
        kinds={"matplotlib"},
        code_version="1",
    )
    def coverage(store: RawStore, warehouse: Warehouse) -> dg.MaterializeResult:
        """What is there: glacier x variable x year as present, partial, preliminary or missing with the reason; as a
        table (Parquet) and a heat map.
        """
        from arctic_assets.publish.coverage import coverage_figure, coverage_markdown, coverage_table
        from arctic_assets.publish.parquet import write_frame

        made_from, found = warehouse.fingerprint(), _tables(warehouse)
        years = [int(y) for y in partitions.years.get_partition_keys()]
        gaps = pd.concat([warehouse.gaps(), _before_the_first_month(partitions)])
        frame = coverage_table(found, gaps, registry, years)
        folder = _folder(store)
        write_frame(folder / "coverage.parquet", frame)
        coverage_figure(frame, folder / "coverage.png")
        states = frame["state"].value_counts()
        return _result(
            made_from,
            {
                "heat map": dg.MetadataValue.md(coverage_markdown(frame)),
                **{str(state): int(n) for state, n in states.items()},
                "figure": dg.MetadataValue.path(str(folder / "coverage.png")),
                **_synthetic(found),
            },
        )

    return [workbook, tables, coverage]


def _result(made_from: str, metadata: dict[str, Any]) -> dg.MaterializeResult:
    """The materialisation; its data version follows the tables that went in.

    Args:
        made_from: fingerprint of the tables, taken before they were read: what is written meanwhile makes it stale.
        metadata: about the files.
    """
    return dg.MaterializeResult(metadata={**metadata, MADE_FROM: made_from}, data_version=dg.DataVersion(made_from))


def _tables(warehouse: Warehouse) -> dict[type[Table], pd.DataFrame]:
    return {model: warehouse.rows(model) for model in TABLES}


def _before_the_first_month(partitions: Partitions) -> pd.DataFrame:
    """Gaps of months that have no partition: the years begin earlier, and no run can say why these are missing."""
    first = partitions.settings.start_month
    months = pd.period_range(f"{partitions.settings.start_year}-01", first, freq="M")[:-1].strftime("%Y-%m")
    assets = [f"derived/{model.table()}" for model in TABLES if model.grain() == "month"]
    gaps = pd.DataFrame([(asset, month) for asset in assets for month in months], columns=["asset", "partition"])
    return gaps.assign(reason=f"the monthly partitions begin in {first}")


def _folder(store: RawStore) -> Path:
    folder = store.settings.exports / LATEST
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _facts() -> dict[str, str]:
    return {"Dataset": "Arctic Glacier Dataset", "Made by": f"arctic_assets {__version__}"}


def _file(path: Path) -> dict[str, dg.MetadataValue]:
    return {
        "path": dg.MetadataValue.path(str(path)),
        "megabytes": dg.MetadataValue.float(round(path.stat().st_size / 1e6, 2)),
    }


def _synthetic(tables: dict[type[Table], pd.DataFrame]) -> dict[str, bool]:
    found = any(len(f) and bool(f["is_synthetic"].any()) for f in tables.values())
    return {"SYNTHETIC": True} if found else {}
