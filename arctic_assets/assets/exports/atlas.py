"""exports/atlas: a page of maps and time series per glacier."""

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
import pandas as pd

from arctic_assets.assets.centrelines import centrelines_of
from arctic_assets.assets.exports.products import LATEST
from arctic_assets.assets.exports.staleness import MADE_FROM, page_fingerprints
from arctic_assets.assets.raw.revision import newest
from arctic_assets.assets.wiring import OWNERS, RawStore, frequent_reasons
from arctic_assets.partitions import Partitions
from arctic_assets.provenance import SourceObject
from arctic_assets.storage.archive import Archive
from arctic_assets.storage.warehouse import Warehouse
from arctic_assets.tables import Outline, Table

if TYPE_CHECKING:
    from arctic_assets.publish.atlas import Page, Revised

SHOWN_REASONS = 2
_OF_GLACIER = ("derived/thickness", "derived/balance_period", "raw/farinotti", "raw/millan", "raw/rgi7")
_OF_GLACIER_AND_TIME = (
    *("derived/outline", "derived/area", "derived/velocity", "derived/mass_balance"),
    *("derived/temperature_monthly", "derived/temperature_annual", "raw/itslive", "raw/revision"),
)


def build(partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The asset."""
    whole_glacier = dg.MultiToSingleDimensionPartitionMapping("glacier")

    @dg.asset(
        key=["exports", "atlas"],
        deps=[
            *(dg.AssetDep(dg.AssetKey.from_user_string(key)) for key in _OF_GLACIER),
            *(
                dg.AssetDep(dg.AssetKey.from_user_string(key), partition_mapping=whole_glacier)
                for key in _OF_GLACIER_AND_TIME
            ),
        ],
        partitions_def=partitions.glaciers,
        backfill_policy=dg.BackfillPolicy.single_run(),
        group_name="exports",
        owners=OWNERS,
        kinds={"matplotlib"},
        tags={"grain": "glacier"},
        code_version="1",
    )
    def atlas(context: dg.AssetExecutionContext, store: RawStore, warehouse: Warehouse) -> None:
        """A page per glacier (PNG) for people to look at. Maps in its UTM zone: all dated outlines, the place where
        they differ most, revised outlines before and after with what they add and remove, ice thickness, and speed
        with the sampled centreline. Time series: area with both uncertainties, mass balance by origin and its sum,
        speed with its uncertainty and coverage, air temperature with preliminary months marked; thickness by product.
        What is missing is left blank with the reason. A smaller copy stands in the metadata of each partition.
        """
        from arctic_assets.publish import atlas as drawing

        folder = store.settings.exports / LATEST / "atlas"
        folder.mkdir(parents=True, exist_ok=True)
        made_from = page_fingerprints(warehouse, context.partition_keys)  # before they are read: as for the others
        with _heap_set_aside():
            for page in _pages(store.archive, warehouse, partitions, list(context.partition_keys)):
                key = page.glacier.glacier_id
                picture = drawing.draw(page)
                path = folder / f"{key}.png"
                _write(path, picture.png())
                found = drawing.numbers(page.rows)
                values = {
                    "area (km2)": found.area_km2,
                    "volume (km3)": found.volume_km3,
                    "last balance (m w.e.)": found.balance_m_we,
                }
                context.add_asset_metadata(
                    {
                        "page": dg.MetadataValue.md(picture.markdown(page.glacier.name)),
                        "file": dg.MetadataValue.path(str(path)),
                        **{name: round(value, 4) for name, value in values.items() if value is not None},
                        **({"SYNTHETIC": True} if page.is_synthetic else {}),
                        MADE_FROM: made_from[key],
                    },
                    partition_key=key,
                )

    return [atlas]


@contextmanager
def _heap_set_aside() -> Iterator[None]:
    """Let the collection of garbage, which each figure sets off, pass over what was there before.

    It takes a sixth of the time of drawing otherwise: Dagster and the libraries hold a million objects.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _pages(archive: Archive, warehouse: Warehouse, partitions: Partitions, keys: Sequence[str]) -> "Iterator[Page]":
    """A page for each glacier; tables, provenance and centrelines are read once for all of them."""
    import shapely

    from arctic_assets.assets.maps import Cells, Maps
    from arctic_assets.publish.atlas import TABLES, Page

    scope = pd.DataFrame({"glacier_id": list(keys)})
    rows = {model: warehouse.rows(model, scope) for model in TABLES}
    gaps = warehouse.gaps()
    glaciers = [partitions.registry[key] for key in keys]
    lines, _, _ = centrelines_of(archive, glaciers)
    maps, revised = Maps(archive), newest(archive)
    years = [int(year) for year in partitions.years.get_partition_keys()] or [partitions.settings.start_year]
    for glacier in glaciers:
        key = glacier.glacier_id
        own = {model: frame[frame["glacier_id"] == key] for model, frame in rows.items()}
        thickness = speed = None
        if len(outlines := own[Outline].sort_values("inventory")):
            latest = outlines.iloc[-1]  # rgi7 where it is there: what the thickness products were made for
            cells = Cells(shapely.from_wkb(latest["geometry"]), glacier.utm_epsg)
            thickness = maps.thickness(key, latest["rgi6_ids"], cells)
            speed = maps.speed(key, lines[key], cells) if key in lines else None
        yield Page(
            glacier,
            (years[0], years[-1]),
            own,
            reasons={model: told for model in TABLES if (told := _reason(gaps, model, key))},
            thickness=thickness,
            speed=speed[0] if speed else None,
            lines=speed[1] if speed else [],
            revisions=[_revised(archive, held) for (of, _), held in sorted(revised.items()) if of == key],
            is_synthetic=archive.is_synthetic or any(bool(frame["is_synthetic"].any()) for frame in own.values()),
        )


def _reason(gaps: pd.DataFrame, model: type[Table], glacier_id: str) -> str:
    """The most frequent reasons of a table's gaps, with how many partitions of the glacier they are of."""
    of_glacier = gaps["partition"].str.split("|").str[0] == glacier_id
    found = gaps.loc[of_glacier & (gaps["asset"] == f"derived/{model.table()}"), "reason"]
    counts = found.value_counts() if found.nunique() <= SHOWN_REASONS else frequent_reasons(found)
    told = [f"{reason} ({n})" if n > 1 else str(reason) for reason, n in counts.head(SHOWN_REASONS).items()]
    return "; ".join([*told, *(["and others"] if len(counts) > SHOWN_REASONS else [])])


def _revised(archive: Archive, held: SourceObject) -> "Revised":
    from arctic_assets.publish.atlas import Revised
    from arctic_assets.sources import revisions

    path, facts = archive.file(held), held.content
    return Revised(
        inventory=str(facts["inventory"]),
        number=int(facts["revision"]),
        editor=str(facts["editor"]),
        reason=str(facts["reason"]),
        after=revisions.geometry(path),
        difference=revisions.difference(path),
        before_km2=facts["area_before_km2"],
        after_km2=float(facts["area_after_km2"]),
    )


def _write(path: Path, content: bytes) -> None:
    """Replace a file at once: who has it open never sees half a picture."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_bytes(content)
    os.replace(part, path)
