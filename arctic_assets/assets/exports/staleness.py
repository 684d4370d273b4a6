"""Which exports were written from other tables than those that are there now, or never.

Each export notes the fingerprint of the tables that it was made from: the atlas for each glacier, and only of those
tables that its pages show.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import dagster as dg

from arctic_assets.storage.warehouse import Warehouse

MADE_FROM = "fingerprint of the tables"
"""Metadata of each export: it is stale when the tables have another one."""
WHOLE = ("exports/workbook", "exports/tables", "exports/coverage")
ATLAS = "exports/atlas"
CHANGED, NEVER = "the tables changed since it was written", "it was never written"
_SHOWN_GLACIERS = 3


class Stale(NamedTuple):
    """An export to write anew.

    Attributes:
        export: its asset key.
        glacier_id: of which glacier, where it has a page for each; else empty.
        why: `CHANGED` or `NEVER`.
    """

    export: str
    glacier_id: str
    why: str


def stale_exports(instance: dg.DagsterInstance, warehouse: Warehouse, glacier_ids: Sequence[str]) -> list[Stale]:
    """Exports, and pages of the atlas, to write anew.

    Args:
        instance: knows what was written.
        warehouse: the tables; the copy for readers will do.
        glacier_ids: the registry's.
    """
    stale = []
    now = warehouse.fingerprint()
    for export in WHOLE:
        event = instance.get_latest_materialization_event(dg.AssetKey.from_user_string(export))
        stale += _judged(export, "", event.asset_materialization if event else None, now)
    written, pages = _pages(instance), page_fingerprints(warehouse, glacier_ids)
    for glacier_id in glacier_ids:
        stale += _judged(ATLAS, glacier_id, written.get(glacier_id), pages[glacier_id])
    return stale


def page_fingerprints(warehouse: Warehouse, glacier_ids: Sequence[str]) -> dict[str, str]:
    """Of each glacier, the fingerprint of what its page in the atlas shows."""
    from arctic_assets.publish.atlas import TABLES

    found = warehouse.fingerprints(TABLES)
    return {glacier_id: found.get(glacier_id, "nothing") for glacier_id in glacier_ids}


def told(stale: Sequence[Stale]) -> str:
    """Stale exports in a sentence."""
    sentences = []
    for why, begin in ((CHANGED, "the tables changed since these were written"), (NEVER, "never written")):
        own = [one for one in stale if one.why == why]
        names = [one.export for one in own if one.export != ATLAS]
        glaciers = [one.glacier_id for one in own if one.export == ATLAS]
        if glaciers:
            of = ", ".join(glaciers) if len(glaciers) <= _SHOWN_GLACIERS else f"{len(glaciers)} glaciers"
            names.append(f"{ATLAS} ({of})")
        if names:
            sentences.append(f"{begin}: {', '.join(names)}")
    return "; ".join(sentences)


def _judged(export: str, glacier_id: str, written: dg.AssetMaterialization | None, now: str) -> list[Stale]:
    if written is None:
        return [Stale(export, glacier_id, NEVER)]
    made_from = written.metadata.get(MADE_FROM)
    return [] if made_from is not None and made_from.value == now else [Stale(export, glacier_id, CHANGED)]


def _pages(instance: dg.DagsterInstance) -> Mapping[str, dg.AssetMaterialization]:
    """The newest materialization of the atlas for each glacier."""
    key = dg.AssetKey.from_user_string(ATLAS)
    newest = instance.event_log_storage.get_latest_storage_id_by_partition(
        key, dg.DagsterEventType.ASSET_MATERIALIZATION
    )
    if not newest:
        return {}
    wanted = dg.AssetRecordsFilter(key, storage_ids=list(newest.values()))
    records = instance.fetch_materializations(wanted, limit=len(newest)).records
    return {made.partition: made for one in records if (made := one.asset_materialization) and made.partition}
