"""Trees of objects: in order, without circles, and whole after a merge."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from backend.segment.nesting import above, merged, ordered


@st.composite
def forests(draw: st.DrawFn) -> dict[int, int]:
    """Any forest: each object's parent is one that was made before it, whatever their numbers."""
    ids = draw(st.permutations(range(1, draw(st.integers(2, 9)))))
    return {id_: draw(st.sampled_from([0, *ids[:place]])) for place, id_ in enumerate(ids)}


def test_what_is_above() -> None:
    parents = {1: 0, 2: 1, 3: 2, 4: 9}
    assert above(parents, 3) == [2, 1]
    assert above(parents, 1) == above(parents, 4) == above(parents, 0) == []
    assert above({1: 2, 2: 1}, 1) == [2, 1]


def test_parts_come_after_what_they_are_parts_of() -> None:
    parents = {1: 0, 2: 5, 3: 1, 4: 1, 5: 0, 6: 3}
    assert ordered(parents) == [(1, 0), (3, 1), (6, 2), (4, 1), (5, 0), (2, 1)]
    assert ordered({1: 0, 2: 7, 3: 4, 4: 3}) == [(1, 0), (2, 0), (3, 0), (4, 0)]
    assert ordered({}) == []


@given(forests())
def test_every_object_has_its_place(parents: dict[int, int]) -> None:
    order = ordered(parents)
    assert sorted(id_ for id_, _ in order) == sorted(parents)
    assert all(depth == len(above(parents, id_)) for id_, depth in order)


def test_the_union_has_the_parts_of_all() -> None:
    parents = {1: 0, 2: 1, 3: 2, 4: 3, 5: 0, 6: 5}
    assert merged(parents, 6, {2}) == {1: 0, 3: 6, 4: 3, 5: 0, 6: 5}
    assert merged(parents, 3, {2}) == {1: 0, 3: 1, 4: 3, 5: 0, 6: 5}
    assert merged(parents, 3, {1, 2}) == {3: 0, 4: 3, 5: 0, 6: 5}
    assert merged(parents, 4, {1}) == {2: 0, 3: 2, 4: 3, 5: 0, 6: 5}  # what is above the union cannot be below it
    assert merged(parents, 5, {1, 4}) == {2: 5, 3: 2, 5: 0, 6: 5}


@given(forests(), st.data())
def test_a_merge_leaves_a_forest(parents: dict[int, int], data: st.DataObject) -> None:
    into = data.draw(st.sampled_from(sorted(parents)))
    gone = data.draw(st.sets(st.sampled_from(sorted(parents)))) - {into}
    left = merged(parents, into, gone)
    assert set(left) == set(parents) - gone
    for id_, parent in left.items():
        assert parent in (0, *left)
        assert id_ not in above(left, id_)
        if parents[id_] not in gone:
            assert parent == parents[id_]
