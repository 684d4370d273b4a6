"""Along which lines a glacier's speed is measured: asked by the raw and the derived velocity asset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from arctic_assets.assets.members import members_of, outline_files, outlines_of
from arctic_assets.glaciers import Glacier
from arctic_assets.science.links import Members
from arctic_assets.storage.archive import Archive

if TYPE_CHECKING:
    from shapely import LineString

MARINE = 1
"""RGI's term_type of a marine terminus."""


def centrelines_of(
    archive: Archive, glaciers: Sequence[Glacier]
) -> tuple[dict[str, list[LineString]], dict[str, str], dict[str, list[str]]]:
    """Main centrelines of each glacier, EPSG:4326.

    A single glacier has that of its outline; a group has those of its marine outlets, or of all members where none
    ends in the sea.

    Returns:
        Lines by glacier id; the reason for each glacier without any; the source ids of the files they are from.
    """
    from arctic_assets.sources import rgi7

    outlines = outline_files(archive)
    lines_by_region = {
        str(o.content["region"]): o for o in archive.objects(rgi7.PRODUCT.provider) if o.content["product"] == "L"
    }
    members = members_of(archive, glaciers)
    found: dict[str, list[LineString]] = {}
    reasons: dict[str, str] = {}
    sources: dict[str, list[str]] = {}
    for glacier in glaciers:
        key, own = glacier.glacier_id, members[glacier.glacier_id]
        held = lines_by_region.get(glacier.o1region)
        if not isinstance(own, Members):
            reasons[key] = own.reason
            continue
        if held is None:
            reasons[key] = f"no RGI7 centrelines (product L) of region {glacier.o1region}"
            continue
        ids = list(own.rgi7_ids)
        if len(ids) > 1:
            rows = outlines_of(archive, outlines[glacier.o1region], ids)
            marine = sorted(rows.loc[rows["term_type"] == MARINE, "rgi_id"])
            ids = marine or ids
        segments = rgi7.read_centrelines(archive.file(held), ids)
        main = segments[segments["is_main"] == 1]
        if main.empty:
            reasons[key] = f"{held.path} has no main centreline of {ids[0]}"
            continue
        found[key] = list(main.geometry)
        sources[key] = sorted({held.source_id, outlines[glacier.o1region].source_id})
    return found, reasons, sources
