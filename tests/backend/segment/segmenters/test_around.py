"""A network asked from other sides: one that knows the answer, one that does not, a small one of random weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from backend.features.neutral import Neutral
from backend.features.sam import Predicted, open_network
from backend.segment.orbit import Orbit
from backend.segment.prepared import Prepared, Selection
from backend.segment.prompts import Mask
from backend.segment.segmenters import Sam, around
from backend.segment.segmenters.around import answered, soft_iou
from backend.segment.selection import Selector


class Knowing(Sam):
    """Answers with the rows of a label, the ground, and nothing."""

    def __init__(self, blobs, label: int) -> None:
        super().__init__(SimpleNamespace(), blobs.workspace)
        self.rows = (blobs.labels == label).astype(np.float32)[:, None]
        self.ground = (blobs.labels == 0).astype(np.float32)[:, None]
        self.asked: list[tuple[Neutral, np.ndarray, np.ndarray, np.ndarray]] = []

    def looked(self, view: Neutral) -> Neutral:
        return view

    def about(self, embedding, points, labels, share) -> Predicted:
        self.asked.append((embedding, points, labels, share))
        own = embedding.seen.render_channels(self.rows)[..., 0] > 0.5
        masks = np.stack([np.zeros_like(own), own, embedding.seen.render_channels(self.ground)[..., 0] > 0.5])
        return Predicted(masks[None], np.array([[0.9, 0.1, 0.99]], np.float32), np.zeros((1, 3, 4, 4), np.float32))


def prepared_mask(blobs, label: int) -> tuple[Prepared, Selector, Selection]:
    prepared = Prepared.of(blobs.workspace)
    selector = Selector(prepared, blobs.workspace, blobs.photo())
    return prepared, selector, selector.select(Mask(blobs.mask(label)))


def rough(blobs, prepared: Prepared, selector: Selector) -> Selection:
    """A mask of half of the red ball, and of some ground beside it."""
    mask = np.roll(blobs.mask(blobs.red), 24, axis=1)
    mask[:, : int(blobs.pixel(blobs.red)[0])] = False
    return selector.select(Mask(mask | np.roll(mask, 12, axis=0)))


def test_a_network_that_knows_makes_a_rough_selection_right(blobs) -> None:
    prepared, selector, _ = prepared_mask(blobs, blobs.red)
    first = rough(blobs, prepared, selector)
    sam = Knowing(blobs, blobs.red)
    steps = list(around(sam, prepared, first, selector.camera, Orbit(agreement=0.2)))
    scores = [blobs.iou(np.flatnonzero(each.chosen), blobs.red) for each in (first, steps[-1].selection)]
    assert scores[0] < 0.75
    assert scores[1] > scores[0] + 0.1
    assert len({step.view for step in steps}) == len(steps) == len(sam.asked) <= 4
    votes = [each for each in steps[-1].selection.evidence if each.kind == "orbit"]
    assert [each.view for each in votes] == [step.view for step in steps if step.used]
    assert all((each.inside.astype(int) + each.outside).max() <= 1024 for each in votes)


def test_what_the_network_is_asked(blobs) -> None:
    """Points on the ball and beside it, and the posterior around the selection's threshold."""
    prepared, selector, first = prepared_mask(blobs, blobs.red)
    sam = Knowing(blobs, blobs.red)
    next(iter(around(sam, prepared, first, selector.camera)))
    view, points, labels, share = sam.asked[0]
    truth = view.seen.render_channels(sam.rows)[..., 0]
    assert labels.tolist() == [True] * 3 + [False] * 3
    on = [truth[int(y), int(x)] for x, y in points]
    assert min(on[:3]) > 0.5 > max(on[3:])
    assert share[truth > 0.9].mean() > 0.5 > share[truth < 0.1].mean()


def test_the_mask_that_fits_is_taken_not_the_surest(blobs) -> None:
    prepared, selector, first = prepared_mask(blobs, blobs.blue)
    sam = Knowing(blobs, blobs.blue)
    view = Neutral(blobs.scene, blobs.cameras[2])
    mask, agreement = answered(sam, view, first)
    truth = view.seen.render_channels(sam.rows)[..., 0] > 0.5
    assert np.array_equal(mask, truth)
    assert agreement > 0.8
    assert prepared.scene is selector.scene


def test_masks_of_something_else_change_nothing(blobs) -> None:
    prepared, selector, first = prepared_mask(blobs, blobs.red)
    steps = list(around(Knowing(blobs, blobs.blue), prepared, first, selector.camera, Orbit(views=3)))
    assert len(steps) == 3
    assert not any(step.used for step in steps)
    assert all(step.agreement < 0.5 for step in steps)
    assert np.array_equal(steps[-1].selection.chosen, first.chosen)


def test_views_are_asked_one_by_one_until_nothing_changes(blobs) -> None:
    prepared, selector, first = prepared_mask(blobs, blobs.red)
    sam = Knowing(blobs, blobs.red)
    next(iter(around(sam, prepared, first, selector.camera)))
    assert len(sam.asked) == 1
    for settings, most in ((Orbit(views=0), 0), (Orbit(change=0.5), 1), (Orbit(change=0.0, gain=0.999), 1)):
        assert len(list(around(sam, prepared, first, selector.camera, settings))) == most
    assert len(list(around(sam, prepared, first, selector.camera, Orbit(views=3, change=0.0)))) == 3


def test_a_network_of_the_package_goes_around(blobs, small_sam: Path) -> None:
    """Random weights: whatever it says, views are asked, twice the same."""
    sam = Sam(open_network(small_sam), blobs.workspace)
    prepared, selector, first = prepared_mask(blobs, blobs.red)
    settings = Orbit(views=2, agreement=0.0)
    once, again = (list(around(sam, prepared, first, selector.camera, settings)) for _ in range(2))
    assert len(once) >= 1
    assert [(each.view, each.agreement) for each in once] == [(each.view, each.agreement) for each in again]
    assert np.array_equal(once[-1].selection.chosen, again[-1].selection.chosen)
    assert not (blobs.workspace.root / "embeddings" / "sam").exists()
    view = Neutral(blobs.scene, blobs.cameras[1])
    looked = sam.looked(view)
    points, labels = np.array([[50.0, 60.0]]), np.array([True])
    told = sam.about(looked, points, labels, (view.alpha > 0.5).astype(np.float32)).logits
    assert np.abs(told - sam.predict(looked, points, labels).logits).max() > 1e-3  # what is known counts


def test_soft_iou() -> None:
    mask = np.array([[True, False], [True, False]])
    assert soft_iou(mask, mask.astype(float)) == 1
    assert soft_iou(mask, np.array([[0.5, 0.5], [0, 0]])) == pytest.approx(0.5 / 2.5)
    assert soft_iou(np.zeros((2, 2), bool), np.zeros((2, 2))) == 0
