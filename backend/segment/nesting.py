"""The parents of objects into a tree: who is above whom, and in which order a list shows them."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def above(parents: Mapping[int, int], id_: int) -> list[int]:
    """The object's parent, the parent's parent and so on; 0 and who is not there end it, and so does a circle."""
    found: list[int] = []
    while (id_ := parents.get(id_, 0)) in parents and id_ not in found:
        found.append(id_)
    return found


def ordered(parents: Mapping[int, int]) -> list[tuple[int, int]]:
    """Every object, right after its parent or the parent's earlier children, with how many are above it; by id where
    the tree leaves it open. Those of a circle, which only a damaged list has, stand at its end, below none."""
    children: dict[int, list[int]] = {}
    for id_ in sorted(parents, reverse=True):
        children.setdefault(parents[id_] if parents[id_] in parents else 0, []).append(id_)
    found: dict[int, int] = {}
    waiting = [(id_, 0) for id_ in children.get(0, ())]
    while waiting:
        id_, depth = waiting.pop()
        found[id_] = depth
        waiting.extend((child, depth + 1) for child in children.get(id_, ()))
    return [*found.items(), *((id_, 0) for id_ in sorted(parents) if id_ not in found)]


def merged(parents: Mapping[int, int], into: int, gone: Collection[int]) -> dict[int, int]:
    """Parents of those that are left when some are merged into one.

    It gets the children of the others. What was above it stays above it: where that was one of the others, what was
    above that one.
    """
    before = above(parents, into)
    left = {}
    for id_ in parents:
        if id_ in gone:
            continue
        parent = parents[id_]
        if parent in gone:
            higher = next((each for each in above(parents, id_) if each not in gone), 0)
            parent = higher if id_ == into or id_ in before else into
        left[id_] = parent
    return left
