"""What stands apart is proposed, each thing once; the ground and what hangs together with everything are not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backend.progress import Quiet
from backend.segment.ground import find_ground
from backend.segment.region import Walks
from backend.segment.standing import _things, standing_apart


class Counting(Quiet):
    """Counts steps."""

    steps = 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.steps += steps


def walks_of(blobs, scene) -> Walks:
    return Walks(scene, scene.sh0[:, 0] / 0.3, find_ground(scene, blobs.cameras))


def test_each_thing_is_proposed_once_and_the_ground_is_not(blobs) -> None:
    walks, heard = walks_of(blobs, blobs.scene), Counting()
    found = standing_apart(walks, blobs.scene.means, heard)
    assert len(found) == 2
    for label in (blobs.red, blobs.blue):
        assert max(blobs.iou(rows, label) for rows in found) > 0.9
    assert len(found[0]) >= len(found[1])
    everything = np.concatenate(found)
    assert len(np.unique(everything)) == len(everything)
    assert heard.steps >= 2
    again = standing_apart(walks, blobs.scene.means)
    assert all(np.array_equal(a, b) for a, b in zip(found, again, strict=True))


def test_of_one_heap_nothing_is_proposed(blobs) -> None:
    """Rows all over a cube, in one colour."""
    random = np.random.default_rng(0)
    means = random.uniform(-0.5, 0.5, blobs.scene.means.shape).astype(np.float32)
    heap = replace(blobs.scene, means=means, sh0=np.zeros_like(blobs.scene.sh0))
    assert standing_apart(Walks(heap, heap.sh0[:, 0], None), heap.means) == []


def test_parts_are_the_thing_and_a_collection_is_the_things() -> None:
    thing, part, same = np.arange(100), np.arange(20), np.arange(4, 100)
    other, everything = np.arange(100, 180), np.arange(200)
    found = _things([everything, part, thing, other, same], 300)
    assert [own.tolist() for own in found] == [same.tolist(), other.tolist()]  # of two that are one, the smaller
    whole = _things([np.arange(0, 60), np.arange(60, 90), np.arange(0, 200)], 300)
    assert [len(own) for own in whole] == [200]
    assert _things([], 10) == []


def test_what_a_thing_has_given_away_stays_with_the_others() -> None:
    small, taker, larger = np.arange(40), np.arange(25, 100), np.r_[np.arange(25), np.arange(100, 200)]
    # The taker has 15 of the small thing's rows, which goes as a part of the larger one; those 15 stay taken.
    found = _things([small, taker, larger], 300)
    assert [own.tolist() for own in found] == [larger.tolist(), taker.tolist()]
    first, second, third = np.arange(100), np.arange(50, 160), np.r_[np.arange(50), np.arange(160, 230)]
    assert [len(own) for own in _things([first, second, third], 300)] == [120, 110]  # the first has nothing left
