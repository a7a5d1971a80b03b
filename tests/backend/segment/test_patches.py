"""A picture into patches and trees of them."""

from __future__ import annotations

import numpy as np
import pytest

from backend.segment.patches import Patches


@pytest.fixture(scope="module")
def painted() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A striped square on noise of its own colours' mean: picture, depth, where it is."""
    random = np.random.default_rng(0)
    picture = np.full((90, 120, 3), 0.5) + random.normal(0, 0.02, (90, 120, 3))
    inside = np.zeros((90, 120), bool)
    inside[25:65, 40:85] = True
    stripes = (np.arange(120) // 6 % 2).astype(float)
    picture[inside] = (picture * 0.3 + 0.7 * np.stack([stripes, 0 * stripes, 1 - stripes], -1))[inside]
    return picture.clip(0, 1), np.where(inside, 2.0, 3.0), inside


def test_patches_keep_to_edges(painted) -> None:
    picture, depth, inside = painted
    patches = Patches.of(picture, depth)
    share = np.bincount(patches.labels.ravel(), inside.ravel()) / patches.sizes
    assert np.abs(share - 0.5).min() > 0.2
    assert patches.sizes.sum() == inside.size
    assert patches.words.sum() == pytest.approx(inside.size)


def test_some_region_that_holds_a_pixel_is_the_object(painted) -> None:
    picture, depth, inside = painted
    patches = Patches.of(picture, depth)
    regions = patches.nested(patches.at(62, 45))[:, patches.labels]
    assert regions[:, 45, 62].all()
    overlap = (regions & inside).sum((1, 2)) / (regions | inside).sum((1, 2))
    assert overlap.max() > 0.75


def test_every_node_of_a_tree_is_its_children(painted) -> None:
    patches = Patches.of(*painted[:2])
    for tree in patches.trees:
        runs = [set(tree.order[a:b].tolist()) for a, b in zip(tree.starts, tree.ends, strict=True)]
        assert [runs[patch] for patch in range(len(patches))] == [{patch} for patch in range(len(patches))]
        children: dict[int, list[int]] = {}
        for node, parent in enumerate(tree.parents.tolist()):
            children.setdefault(parent, []).append(node)
        for parent, (a, b) in ((parent, pair) for parent, pair in children.items() if parent >= 0):
            assert runs[parent] == runs[a] | runs[b]
            assert not runs[a] & runs[b]


def test_a_picture_of_one_colour_without_depth() -> None:
    patches = Patches.of(np.full((20, 30, 3), 0.4), np.full((20, 30), np.nan))
    assert patches.sizes.sum() == 600
    assert patches.nested(patches.at(-5, 99)).shape[1] == len(patches)
