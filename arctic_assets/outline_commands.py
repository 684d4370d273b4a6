"""`arctic-assets outline export | import`: outlines out to QGIS or ArcGIS, and corrected ones back in."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from arctic_assets.errors import SourceError

if TYPE_CHECKING:
    from arctic_assets.settings import Settings

BESIDE_DEG = 0.02
"""How far around an outline the neighbours are exported."""


def commands(home: Callable[..., Callable[..., object]], read: Callable[[Path | None], Settings]) -> click.Group:
    """The group `outline`.

    Args:
        home: the decorator of `--home`.
        read: settings from the option.
    """

    @click.group()
    def outline() -> None:
        """Outlines as data that people edit."""

    @outline.command(name="export")
    @click.argument("glacier")
    @click.argument("inventory")
    @click.option("--to", "target", type=click.Path(path_type=Path), help="File to write [<glacier>_<inventory>.gpkg]")
    @home
    def export(glacier: str, inventory: str, target: Path | None, home: Path | None) -> None:
        """Write the outline of GLACIER in INVENTORY as a GeoPackage: edit it, fill in editor and reason, import it."""
        path = target or Path(f"{glacier}_{inventory}.gpkg")
        write_geopackage(read(home), glacier, inventory, path)
        click.echo(f"wrote {path}: edit the layer `outline`, fill in editor and reason, then run")
        click.echo(f"  arctic-assets outline import {path}")

    @outline.command(name="import")
    @click.argument("file", type=click.Path(path_type=Path, exists=True))
    @click.option("--glacier", help="Glacier, when the file does not say it in glacier_id")
    @click.option("--inventory", help="Inventory, when the file does not say it")
    @click.option("--inventory-field", default="inventory", help="Attribute that holds the inventory, e.g. year")
    @click.option("--editor", help="Who drew it, when the file does not say it")
    @click.option("--reason", help="Why, when the file does not say it")
    @click.option("--image-date", type=click.DateTime(["%Y-%m-%d"]), help="Date of the image")
    @click.option("--half-pixel-m", type=float, help="Half a pixel of the image in metres, when it is not Landsat's 15")
    @home
    def import_(
        file: Path,
        glacier: str | None,
        inventory: str | None,
        inventory_field: str,
        editor: str | None,
        reason: str | None,
        image_date: dt.datetime | None,
        half_pixel_m: float | None,
        home: Path | None,
    ) -> None:
        """Take the corrected outlines of FILE (gpkg, shp, geojson) as revisions; all of them or none."""
        from arctic_assets.sources.revisions import Given

        date = image_date.date() if image_date else None
        given = Given(glacier, inventory, inventory_field, editor, reason, date, half_pixel_m)
        for line in import_file(read(home), file, given):
            click.echo(line)

    return outline


def write_geopackage(current: Settings, glacier: str, inventory: str, path: Path) -> None:
    """Write an outline as the layer `outline`, and as the layer `neighbours` what it must not cross.

    Raises:
        RegistryError: there is no such glacier.
        SourceError: the glacier has no outline in this inventory, nor a reference to start from; or the file exists.
    """
    import geopandas as gpd
    import pandas as pd
    import shapely

    from arctic_assets import glaciers
    from arctic_assets.assets.members import neighbours_of
    from arctic_assets.storage.archive import Archive
    from arctic_assets.storage.warehouse import Warehouse
    from arctic_assets.tables import Outline

    if path.exists():
        raise SourceError(
            "the file to write is there already",
            where=path,
            expected="a free name: what is there may hold an editor's work",
            got="a file",
            todo="give another name with --to, or delete the file",
        )
    entry = glaciers.load(current.glaciers)[glacier]
    scope = pd.DataFrame({"glacier_id": [glacier]})
    rows = Warehouse(database=str(current.warehouse)).rows(Outline, scope).set_index("inventory")
    start = inventory if inventory in rows.index else "rgi7"
    if start not in rows.index or inventory not in current.inventories:
        raise SourceError(
            "there is no outline to export",
            where=f"{glacier}, {inventory}",
            expected=f"one of the inventories {', '.join(current.inventories)}, and a row in derived.outline",
            got=f"outlines of {', '.join(rows.index) or 'no inventory'}",
            todo="check the names; run `arctic-assets build --select derived/outline`",
        )
    row = rows.loc[start]
    geometry = shapely.from_wkb(row["geometry"])
    attributes = {
        "glacier_id": [glacier],
        "inventory": [inventory],
        "editor": [""],
        "reason": [""],
        "image_date": [str(row["image_date"] or "")],
        "scene_ids": [" ".join(row["scene_ids"])],
        "half_pixel_m": [float(row["half_pixel_m"])],
        "drawn_from": [f"{start}, {row['method']}"],
    }
    gpd.GeoDataFrame(attributes, geometry=[geometry], crs=4326).to_file(path, layer="outline", driver="GPKG")
    west, south, east, north = geometry.bounds
    beside = neighbours_of(
        Archive(current.archive), entry, (west - BESIDE_DEG, south - BESIDE_DEG, east + BESIDE_DEG, north + BESIDE_DEG)
    )
    if beside:
        frame = gpd.GeoDataFrame({"rgi_id": list(beside)}, geometry=list(beside.values()), crs=4326)
        frame.to_file(path, layer="neighbours", driver="GPKG")


def import_file(current: Settings, file: Path, given: object) -> list[str]:
    """Accept a file's revisions and record them in Dagster, so that outline and area show as stale.

    What is made from these shows as stale when they are new: Dagster compares an asset with its own inputs only.

    Returns:
        A line for each revision, with the area before and after; and the command that builds what follows from them.

    Raises:
        SourceError: one of them is refused; nothing was changed.
    """
    import dagster as dg

    from arctic_assets import glaciers
    from arctic_assets.assets.raw.revision import accept
    from arctic_assets.assets.wiring import RawStore
    from arctic_assets.definitions import build_defs
    from arctic_assets.partitions import Partitions
    from arctic_assets.sources import revisions
    from arctic_assets.storage.instance import open_instance
    from arctic_assets.storage.warehouse import Warehouse

    assert isinstance(given, revisions.Given)
    partitions = Partitions(glaciers.load(current.glaciers), current)
    store = RawStore(home=str(current.home), mirror=current.mirror, registry=str(current.glaciers or ""))
    effects = accept(store, Warehouse(database=str(current.warehouse)), partitions, revisions.read(file, given))
    defs = build_defs(current)
    key = dg.AssetKey(["raw", "revision"])
    job = defs.resolve_implicit_job_def_def_for_assets([key])
    assert job is not None
    with open_instance(current.home) as instance:
        for effect in effects:
            glacier, inventory = str(effect.held.content["glacier_id"]), str(effect.held.content["inventory"])
            tags = {
                "dagster/partition": f"{glacier}|{inventory}",
                "dagster/partition/glacier": glacier,
                "dagster/partition/inventory": inventory,
            }
            job.execute_in_process(
                instance=instance,
                asset_selection=[key],
                tags=tags,
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            )
    changed = dict.fromkeys(f"--glacier {effect.held.content['glacier_id']}" for effect in effects)
    return [
        *(effect.text for effect in effects),
        "outline and area now show as stale in the UI, what is made from them when they are new; next:",
        f"  arctic-assets build --select 'derived/outline*' {' '.join(changed)}",
    ]
