"""Which outlines a glacier has in the archived RGI files: asked by the RGI, thickness and ERA5 assets alike."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from arctic_assets.glaciers import Glacier
from arctic_assets.provenance import SourceObject
from arctic_assets.science.links import Members, Unresolved, resolve_members
from arctic_assets.storage.archive import Archive

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    from shapely.geometry.base import BaseGeometry


def outline_files(archive: Archive) -> dict[str, SourceObject]:
    """The archived RGI7 glacier files by RGI region."""
    from arctic_assets.sources import rgi7

    return {
        str(found.content["region"]): found
        for found in archive.objects(rgi7.PRODUCT.provider)
        if found.content["product"] == "G"
    }


def members_of(archive: Archive, glaciers: Iterable[Glacier]) -> dict[str, Members | Unresolved]:
    """Outlines and RGI6 partners of each glacier, by glacier id; the reason where there are none."""
    files = outline_files(archive)
    found: dict[str, Members | Unresolved] = {}
    for glacier in glaciers:
        held = files.get(glacier.o1region)
        if held is None:
            found[glacier.glacier_id] = Unresolved(f"no RGI7 outlines of region {glacier.o1region} in the archive")
            continue
        links = _links(archive.file(held), held.sha256)
        found[glacier.glacier_id] = resolve_members(glacier.glacier_id, glacier.rgi7_ids, glacier.rgi6_ids, links)
    return found


def outlines_of(archive: Archive, held: SourceObject, rgi7_ids: Iterable[str]) -> gpd.GeoDataFrame:
    """Rows of one archived RGI7 file; ids that it lacks are absent."""
    from arctic_assets.sources import rgi7

    return rgi7.read_outlines(archive.file(held), sorted(set(rgi7_ids)))


@lru_cache(maxsize=32)
def _links(path: Path, sha256: str) -> pd.DataFrame | None:
    """The links of one file, read once per process and content."""
    from arctic_assets.sources import rgi7

    return rgi7.read_links(path)


def bounds_of(
    archive: Archive, glaciers: Iterable[Glacier]
) -> tuple[dict[str, tuple[float, float, float, float]], dict[str, str]]:
    """West, south, east, north of each glacier's reference outline; the reason for each without one."""
    glaciers = list(glaciers)
    members, files = members_of(archive, glaciers), outline_files(archive)
    bounds: dict[str, tuple[float, float, float, float]] = {}
    reasons: dict[str, str] = {}
    for glacier in glaciers:
        own = members[glacier.glacier_id]
        if isinstance(own, Unresolved):
            reasons[glacier.glacier_id] = own.reason
            continue
        rows = outlines_of(archive, files[glacier.o1region], own.rgi7_ids)
        if rows.empty:
            reasons[glacier.glacier_id] = f"{files[glacier.o1region].path} has no outline {own.rgi7_ids[0]}"
            continue
        west, south, east, north = (float(v) for v in rows.total_bounds)
        bounds[glacier.glacier_id] = (west, south, east, north)
    return bounds, reasons


def neighbours_of(
    archive: Archive, glacier: Glacier, bounds: tuple[float, float, float, float]
) -> dict[str, BaseGeometry]:
    """Outlines of RGI7 within bounds (west, south, east, north) that are not the glacier's own, by RGI7 id.

    None for a glacier whose own outlines are not known: one of them would be taken for a neighbour.
    """
    from arctic_assets.sources import rgi7

    own = members_of(archive, [glacier])[glacier.glacier_id]
    if isinstance(own, Unresolved):
        return {}
    beside = rgi7.read_neighbours(archive.file(outline_files(archive)[glacier.o1region]), bounds, own.rgi7_ids)
    return dict(zip(beside["rgi_id"], beside.geometry, strict=True))
