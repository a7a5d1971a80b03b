"""Votes: what a mask says, taking it back, and the threshold against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.render import Seen
from backend.segment.framed import Framed
from backend.segment.posterior import (
    PRIOR_AGAINST,
    PRIOR_FOR,
    UNIT,
    Votes,
    alone,
    best_threshold,
    edge_weight,
    mask_votes,
    posterior,
    prior,
    seed_votes,
)


def some_votes(seed: int, count: int = 40) -> Votes:
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(count, random.integers(1, count), replace=False))
    share = random.random(len(rows))
    strength = UNIT * random.random(len(rows))
    return Votes(
        "mask",
        f"v{seed}",
        rows.astype(np.uint32),
        np.rint(strength * share).astype(np.uint16),
        np.rint(strength * (1 - share)).astype(np.uint16),
        (10 * random.random(len(rows))).astype(np.float32),
        float(20 * random.random() + 1),
    )


@given(seeds=st.permutations(range(6)))
@settings(max_examples=30)
def test_votes_add_up_to_the_same_bits_in_any_order(seeds: list[int]) -> None:
    counts = posterior(40, [some_votes(seed) for seed in seeds])
    others = posterior(40, [some_votes(seed) for seed in range(6)])
    assert np.array_equal(counts.inside, others.inside)
    assert np.array_equal(counts.outside, others.outside)


def test_nobody_voted_means_probably_not() -> None:
    counts = prior(3)
    assert counts.probability == pytest.approx(PRIOR_FOR / (PRIOR_FOR + PRIOR_AGAINST))
    assert not counts.voted.any()
    assert best_threshold(counts, []) == (0.5, 0.0)


def test_a_mask_votes_for_what_it_shows(blobs) -> None:
    camera = blobs.photo().camera
    mask = blobs.mask(blobs.red)[::2, ::2]
    votes = mask_votes(Seen(blobs.scene, camera), mask, view="a0")
    counts = posterior(len(blobs.scene), [votes])
    assert counts.probability[counts.voted & (blobs.labels == blobs.red)].mean() > 0.6
    assert counts.probability[counts.voted & (blobs.labels == blobs.blue)].max() < 0.25
    assert (votes.inside.astype(int) + votes.outside).max() <= UNIT + 1
    depth = blobs.scene.means[:, 1]
    front, back = ((blobs.labels == blobs.red) & side for side in (depth < -0.1, depth > 0.1))
    assert counts.voted[front].mean() > 0.9
    assert counts.voted[back].mean() < 0.6  # hidden rows keep the prior


def test_what_shines_through_says_little(blobs) -> None:
    seen = Seen(blobs.scene, blobs.photo().camera)
    votes = mask_votes(seen, np.ones((seen.view.height, seen.view.width), bool), view="a0")
    wide = alone(seen)[votes.rows]
    shown = votes.mass / wide
    said = (votes.inside.astype(int) + votes.outside) / UNIT
    assert shown.max() < 1.1  # nothing shows more than all of itself
    dim = (shown < 0.02) & (votes.mass > 0)
    assert dim.any()
    assert said[dim].max() < 0.25
    assert said[(shown > 0.2) & (votes.mass > 2)].min() > 0.99


def test_what_a_view_does_not_see_is_not_the_object_far_from_its_mask(blobs) -> None:
    camera = blobs.photo().camera
    mask = blobs.mask(blobs.red)[::2, ::2]
    seen = Seen(blobs.scene, camera)
    without = mask_votes(seen, mask, view="a0")
    votes = mask_votes(seen, mask, view="a0", framed=Framed(blobs.scene.means, seen.view))
    hidden = np.setdiff1d(votes.rows, without.rows[without.mass > 0])
    assert len(hidden)
    assert not votes.inside[np.isin(votes.rows, hidden)].any()
    counts = posterior(len(blobs.scene), [votes])
    back = (blobs.labels == blobs.red) & (blobs.scene.means[:, 1] > 0.1)
    assert np.array_equal(  # behind the mask nothing is said
        counts.outside[back], posterior(len(blobs.scene), [without]).outside[back]
    )


def test_the_threshold_is_the_best_there_is() -> None:
    evidence = [some_votes(seed) for seed in (1, 2, 3)]
    counts = posterior(40, evidence)
    threshold, fit = best_threshold(counts, evidence)

    def soft_iou(theta: float) -> float:
        chosen = counts.voted & (counts.probability >= theta)
        inside = outside = total = 0.0
        for votes in evidence:
            share = votes.inside / np.maximum(votes.inside.astype(float) + votes.outside, 1)
            here = chosen[votes.rows]
            inside += (votes.mass * share)[here].sum()
            outside += (votes.mass * (1 - share))[here].sum()
            total += votes.mask_mass
        return inside / (outside + total)

    assert fit == pytest.approx(soft_iou(threshold), rel=1e-6)
    assert fit >= max(soft_iou(theta) for theta in np.linspace(0.05, 0.95, 400)) - 1e-9


def test_masks_are_unsure_beside_their_edge() -> None:
    mask = np.zeros((20, 20), bool)
    mask[:, 10:] = True
    weight = edge_weight(mask)
    assert weight[0, 0] == weight[0, 19] == 1
    assert weight[0, 9] == weight[0, 10] == pytest.approx(1 / 3)
    assert (edge_weight(np.ones((4, 4), bool)) == 1).all()


def test_seeds_outvote_a_mask() -> None:
    rows = np.array([2])
    contra = Votes(
        "mask", "v", rows.astype(np.uint32), *(np.array([n], np.uint16) for n in (0, UNIT)), np.ones(1, "f4")
    )
    assert posterior(4, [contra, seed_votes(rows, inside=True)]).probability[2] > 0.8
    assert posterior(4, [seed_votes(rows, inside=False)]).probability[2] < 0.02
