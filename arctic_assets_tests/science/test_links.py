"""What redrawn, split and merged outlines give. The overlaps are made up."""

from __future__ import annotations

import pandas as pd
import pytest

from arctic_assets.science.links import Members, Unresolved, resolve_members

SIX = "RGI60-03.00191"


def seven(number: int) -> str:
    return f"RGI2000-v7.0-G-03-{number:05d}"


def links(*rows: tuple[str, str, float, float, float]) -> pd.DataFrame:
    """Rows of (rgi7_id, rgi6_id, RGI 7 area, RGI 6 area, overlap), all km2."""
    return pd.DataFrame(
        [
            {
                "rgi7_id": rgi7,
                "rgi6_id": rgi6,
                "overlap_area_km2": overlap,
                "rgi7_area_fraction": overlap / area7,
                "rgi6_area_fraction": overlap / area6,
            }
            for rgi7, rgi6, area7, area6, overlap in rows
        ]
    )


def test_registry_ids_are_taken_and_partners_weighted_by_what_lies_inside() -> None:
    table = links(
        (seven(1), "RGI60-03.00001", 10, 8, 8),
        (seven(2), "RGI60-03.00002", 10, 20, 6),
        (seven(1), "RGI60-03.00002", 10, 20, 2),
        (seven(1), "RGI60-03.00003", 10, 300, 1),  # a redrawn divide: 0.3 % of the neighbour
        (seven(9), "RGI60-03.00003", 299, 300, 299),
    )
    members = resolve_members("x", (seven(1), seven(2)), (), table)
    assert isinstance(members, Members)
    assert (members.rgi7_ids, members.link_overlap, members.note) == ((seven(1), seven(2)), None, "")
    assert members.rgi6 == {"RGI60-03.00001": pytest.approx(1.0), "RGI60-03.00002": pytest.approx(0.4)}


def test_weights_do_not_exceed_one() -> None:
    table = links((seven(1), SIX, 10, 20, 10.2), (seven(2), SIX, 10, 20, 10.2))
    members = resolve_members("x", (seven(1), seven(2)), (), table)
    assert isinstance(members, Members) and members.rgi6 == {SIX: 1.0}


def test_without_links_the_registry_ids_of_rgi6_count_whole() -> None:
    members = resolve_members("mccall", (seven(1),), (SIX,), None)
    assert isinstance(members, Members)
    assert members.rgi6 == {SIX: 1.0}
    assert "no table of links" in members.note
    unknown = resolve_members("mccall", (seven(1),), (SIX,), links((seven(2), SIX, 1, 1, 1)))
    assert isinstance(unknown, Members)
    assert unknown.rgi6 == {SIX: 1.0} and "does not know" in unknown.note
    none = resolve_members("west_gulkana", (seven(1),), (), None)
    assert isinstance(none, Members) and none.rgi6 == {} and "no RGI 6 ids" in none.note


def test_a_registry_that_contradicts_the_links_is_told() -> None:
    members = resolve_members("x", (seven(1),), (SIX,), links((seven(1), "RGI60-03.00777", 5, 5, 5)))
    assert isinstance(members, Members)
    assert list(members.rgi6) == ["RGI60-03.00777"]
    assert SIX in members.note


def test_a_glacier_that_rgi7_kept() -> None:
    """Mittivakkat: the same outline in both, slivers along the divides."""
    table = links((seven(1), SIX, 20.2, 20.154, 20.0), (seven(2), SIX, 60, 20.154, 0.1))
    members = resolve_members("mittivakkat", (), (SIX,), table)
    assert isinstance(members, Members)
    assert members.rgi7_ids == (seven(1),)
    assert members.link_overlap == pytest.approx(20.0 / 20.2)
    assert members.rgi6 == {SIX: pytest.approx(20.0 / 20.154)}
    assert members.note == ""


@pytest.mark.parametrize(("area7", "area6"), [(10.0, 7.0), (7.0, 10.0)])
def test_a_glacier_that_was_redrawn_is_taken_with_a_loud_note(area7: float, area6: float) -> None:
    """Parrish: one outline, but a good part of it is new or has gone to nobody."""
    members = resolve_members("parrish", (), (SIX,), links((seven(1), SIX, area7, area6, 7.0)))
    assert isinstance(members, Members)
    assert members.link_overlap == pytest.approx(0.7)
    assert members.note.startswith("CAUTION")
    for word in (seven(1), SIX, "70%", "100%", "rgi7_ids"):
        assert word in members.note


def test_a_part_lost_to_a_large_neighbour_leaves_one_candidate() -> None:
    """The divide moved: the neighbour took 30 % of the glacier, which is 3 % of the neighbour."""
    table = links((seven(1), SIX, 71, 100, 70), (seven(2), SIX, 1000, 100, 30))
    members = resolve_members("x", (), (SIX,), table)
    assert isinstance(members, Members)
    assert members.rgi7_ids == (seven(1),)
    assert "70%" in members.note


def test_a_glacier_that_was_divided_is_all_its_parts() -> None:
    """Wykeham South: the RGI 6 outline may hold two glaciers; the larger need not be the one that is meant."""
    parts = {seven(1): 1900, seven(2): 1100, seven(3): 60}
    table = links(*[(rgi7, SIX, area, 3085, area) for rgi7, area in parts.items()])
    members = resolve_members("wykeham_south", (), (SIX,), table)
    assert isinstance(members, Members)
    assert members.rgi7_ids == tuple(parts)
    assert members.link_overlap == pytest.approx(3060 / 3085)
    for word in ("divides", SIX, "covers 62%", "covers 36%"):
        assert word in members.note


@pytest.mark.parametrize(
    "rows",
    [
        [(seven(1), SIX, 100, 100, 50), (seven(2), SIX, 50, 100, 50)],  # much of the first lies elsewhere
        [(seven(1), SIX, 45, 100, 45), (seven(2), SIX, 30, 100, 30)],  # a quarter is nobody's
        [(seven(1), SIX, 110, 100, 60), (seven(2), SIX, 55, 100, 40)],
    ],
)
def test_outlines_that_compete_are_named(rows: list[tuple[str, str, float, float, float]]) -> None:
    outcome = resolve_members("x", (), (SIX,), links(*rows))
    assert isinstance(outcome, Unresolved)
    for word in ("compete", SIX, seven(1), seven(2), f"covers {rows[0][4]:.0f}%", "rgi7_ids"):
        assert word in outcome.reason


def test_a_small_part_split_off_does_not_matter() -> None:
    table = links((seven(1), SIX, 95, 100, 95), (seven(2), SIX, 5, 100, 5))
    members = resolve_members("x", (), (SIX,), table)
    assert isinstance(members, Members)
    assert members.rgi7_ids == (seven(1),) and members.note == ""


def test_a_glacier_that_was_merged_into_a_larger_one_is_not_it() -> None:
    """Yuri: RGI 6 has 1.62 km2, WGMS 3.58 km2; were the RGI 7 outline 3.58 km2, less than half would be known."""
    outcome = resolve_members("yuri", (), (SIX,), links((seven(1), SIX, 3.58, 1.62, 1.62)))
    assert isinstance(outcome, Unresolved)
    for word in ("yuri", SIX, seven(1), "45%", "100%", "rgi7_ids"):
        assert word in outcome.reason


def test_a_glacier_that_fell_to_pieces_is_not_one_of_them() -> None:
    table = links(*[(seven(i), SIX, 60, 100, 30) for i in range(3)])
    outcome = resolve_members("x", (), (SIX,), table)
    assert isinstance(outcome, Unresolved)
    assert all(seven(i) in outcome.reason for i in range(3))


def test_several_rgi6_ids_are_a_union() -> None:
    """An ice cap whose basins were redrawn: four outlines for three, one of them mostly a neighbour's."""
    a, b, c = (f"RGI60-06.0000{i}" for i in range(3))
    table = links(
        (seven(1), a, 50, 40, 40),
        (seven(1), b, 50, 40, 10),
        (seven(2), b, 30, 40, 30),
        (seven(3), c, 19, 20, 19),
        (seven(4), c, 500, 20, 1),
    )
    members = resolve_members("ice_cap", (), (a, b, c), table)
    assert isinstance(members, Members)
    assert members.rgi7_ids == (seven(1), seven(2), seven(3))
    assert members.link_overlap == pytest.approx(0.99)
    assert members.rgi6 == {a: pytest.approx(1), b: pytest.approx(1), c: pytest.approx(0.95)}
    assert members.note == ""


def test_areas_come_from_the_largest_overlap_not_from_rounded_slivers() -> None:
    table = links((seven(1), SIX, 100, 100, 99), (seven(2), SIX, 900, 100, 0.6))
    table["rgi6_area_fraction"] = table["rgi6_area_fraction"].round(2)  # 0.006 becomes 0.01
    table.loc[2] = [seven(3), SIX, 0.001, 0.0, 0.0]
    members = resolve_members("x", (), (SIX,), table)
    assert isinstance(members, Members) and members.link_overlap == pytest.approx(0.99)


def test_dead_ends_say_what_to_do() -> None:
    table = links((seven(1), "RGI60-03.00001", 1, 1, 1))
    for rgi6_ids, given, word in (((), table, "neither"), ((SIX,), None, "no table of links"), ((SIX,), table, SIX)):
        outcome = resolve_members("x", (), rgi6_ids, given)
        assert isinstance(outcome, Unresolved)
        assert word in outcome.reason and "put" in outcome.reason and "rgi7_ids" in outcome.reason
