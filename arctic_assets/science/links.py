"""Which RGI 7 outlines a glacier of the registry has, and which RGI 6 glaciers its thickness rasters belong to.

RGI ids do not carry over from RGI 6 to RGI 7: outlines were redrawn, split and merged. The provider's table of links
gives for each overlapping pair the overlap as a fraction of either area (`rgi7_area_fraction`, `rgi6_area_fraction`).
Here: what follows from that table for one registry row. Not here: reading the table, or the outlines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

SAME_GLACIER = 0.9
"""From this share on, both ways, an RGI 7 outline is the RGI 6 glacier."""
MOSTLY_THE_SAME = 0.5
"""From this share on, both ways, it is taken for it, and the note says how far it is not."""
_RIVAL_PART = 1 - SAME_GLACIER
_SLIVER = 0.01  # divides that were redrawn leave overlaps of less than a per cent with every neighbour


@dataclass(frozen=True)
class Members:
    """The outlines of a glacier.

    Attributes:
        rgi7_ids: RGI 7 ids whose union is the glacier.
        link_overlap: the smaller of the two area shares that these outlines and the registry's RGI 6 glaciers have
            in common (0 to 1); None when the registry names the RGI 7 ids itself.
        rgi6: RGI 6 id to the share of its area that lies inside the members (0 to 1): what of its thickness raster
            counts.
        note: what a reader must know about how these were found; empty when there is nothing.
    """

    rgi7_ids: tuple[str, ...]
    link_overlap: float | None
    rgi6: dict[str, float]
    note: str = ""


@dataclass(frozen=True)
class Unresolved:
    """No outlines, and why; the reason says what to put into the registry."""

    reason: str


def resolve_members(
    glacier_id: str, rgi7_ids: Sequence[str], rgi6_ids: Sequence[str], links: pd.DataFrame | None
) -> Members | Unresolved:
    """Outlines and RGI 6 partners of one registry row.

    RGI 7 ids of the registry are taken as they are. Where it has RGI 6 ids only, RGI 7 outlines are looked for that
    lie mostly inside their union; the share of the outlines' area that lies inside and the share of the union's area
    that they cover must both reach 0.5, and below 0.9 the note says by how much they miss.

    One RGI 6 glacier leads to one RGI 7 outline. When a second one lies mostly inside it and takes more than a tenth
    of it, RGI 7 has split the glacier. All parts together are taken, with a note, when both shares are at least 0.9:
    they are the outline that the registry names. Else the outlines compete, and only the registry can say which one
    is meant. Several RGI 6 ids are a union that the registry states, so several outlines may make it up.

    Args:
        glacier_id: registry id, for the texts.
        rgi7_ids: RGI 7 ids of the registry.
        rgi6_ids: RGI 6 ids of the registry.
        links: columns rgi7_id, rgi6_id, overlap_area_km2, rgi7_area_fraction, rgi6_area_fraction, of all regions
            concerned; None when there is no such table.
    """
    if rgi7_ids:
        rgi6, note = _partners(rgi7_ids, rgi6_ids, links)
        return Members(tuple(rgi7_ids), None, rgi6, note)
    if not rgi6_ids:
        return Unresolved(f"{glacier_id} has neither rgi7_ids nor rgi6_ids in the registry: put in rgi7_ids")
    named = " + ".join(rgi6_ids)
    if links is None:
        return Unresolved(
            f"{glacier_id} has no rgi7_ids in the registry, and there is no table of links that leads from {named} "
            "to RGI 7: put rgi7_ids into the registry"
        )
    candidates = _candidates(rgi6_ids, links)
    if candidates.empty:
        return Unresolved(
            f"the table of links has no RGI 7 outline that overlaps {named} of {glacier_id}: "
            "put rgi7_ids into the registry"
        )
    told = "; ".join(
        f"{rgi7_id} has {row.share7:.0%} of its area inside and covers {row.share6:.0%}"
        for rgi7_id, row in candidates.iterrows()
    )
    inside = candidates[candidates["share7"] >= MOSTLY_THE_SAME]
    is_split = len(rgi6_ids) == 1 and (inside["share6"] > _RIVAL_PART).sum() > 1
    if len(rgi6_ids) == 1 and not is_split:
        inside = inside.nlargest(1, "share6")
    share6 = min(1.0, float(inside["share6"].sum()))
    share7 = float(inside["overlap_km2"].sum() / inside["area_km2"].sum()) if len(inside) else 0.0
    overlap = min(share6, share7)
    if is_split and overlap < SAME_GLACIER:
        return Unresolved(
            f"several RGI 7 outlines compete for {named} of {glacier_id} and together they are not it either "
            f"({told}): put the rgi7_ids that are meant into the registry"
        )
    if overlap < MOSTLY_THE_SAME:
        return Unresolved(
            f"no RGI 7 outline is {named} of {glacier_id}: none shares at least {MOSTLY_THE_SAME:.0%} of the area "
            f"both ways ({told}): put rgi7_ids into the registry"
        )
    members = tuple(sorted(map(str, inside.index)))
    rgi6, missed = _partners(members, rgi6_ids, links)
    notes = [missed] if missed else []
    if is_split:
        notes.insert(0, f"RGI 7 divides {named} into several outlines, all of them are taken ({told})")
    if overlap < SAME_GLACIER:
        notes.insert(
            0,
            f"CAUTION: {' + '.join(members)} was taken for {named}, but only {share7:.0%} of its area lies inside and "
            f"it covers only {share6:.0%}; confirm it and put rgi7_ids into the registry",
        )
    return Members(members, overlap, rgi6, ". ".join(notes))


def _candidates(rgi6_ids: Sequence[str], links: pd.DataFrame) -> pd.DataFrame:
    """RGI 7 outlines that overlap the union of these RGI 6 glaciers, the largest overlap first.

    Returns:
        Index rgi7_id; share7 (of its area), share6 (of the union's area), overlap_km2, area_km2.
    """
    pairs = links[
        links["rgi6_id"].isin(rgi6_ids) & (links[["rgi7_area_fraction", "rgi6_area_fraction"]] > 0).all(axis=1)
    ]
    # Fractions are rounded: the largest overlap of a glacier gives its area best.
    largest = pairs.sort_values("overlap_area_km2").drop_duplicates("rgi6_id", keep="last")
    union_km2 = (largest["overlap_area_km2"] / largest["rgi6_area_fraction"]).sum()
    by_outline = pairs.groupby("rgi7_id")
    table = pd.DataFrame(
        {"share7": by_outline["rgi7_area_fraction"].sum(), "overlap_km2": by_outline["overlap_area_km2"].sum()}
    )
    table["share6"] = table["overlap_km2"] / union_km2
    table["area_km2"] = table["overlap_km2"] / table["share7"]
    is_sliver = (table["share6"] < _SLIVER) & (table["share7"] < _SLIVER)
    return table[~is_sliver].sort_values("overlap_km2", ascending=False)


def _partners(
    rgi7_ids: Sequence[str], rgi6_ids: Sequence[str], links: pd.DataFrame | None
) -> tuple[dict[str, float], str]:
    """RGI 6 glaciers below these outlines with the share of each that lies inside, and a note."""
    pairs = None if links is None else links[links["rgi7_id"].isin(rgi7_ids)]
    if pairs is None or pairs.empty:
        why = "there is no table of links" if links is None else "the table of links does not know these outlines"
        note = f"RGI 6 ids are the registry's, each taken whole: {why}" if rgi6_ids else f"no RGI 6 ids: {why}"
        return dict.fromkeys(rgi6_ids, 1.0), note
    shares = pairs.groupby("rgi6_id")["rgi6_area_fraction"].sum().clip(upper=1.0)
    rgi6 = {str(rgi6_id): float(share) for rgi6_id, share in shares.items() if share >= _SLIVER}
    absent = [rgi6_id for rgi6_id in rgi6_ids if rgi6_id not in rgi6]
    note = f"the registry names {', '.join(absent)}, which the links do not find below these outlines" if absent else ""
    return rgi6, note
