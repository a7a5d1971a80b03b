"""Clicks and lattices into masks through a small network with random weights, and through known answers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from backend.features.neutral import Neutral
from backend.features.sam import Embedding, Network, Predicted, open_network
from backend.features.vision import import_beside_torch
from backend.segment.prepared import Prepared
from backend.segment.prompts import Box, Clicks
from backend.segment.segmenters import Sam, mask_at, masked
from backend.segment.segmenters.sam import Wanted
from backend.segment.selection import Selector
from backend.segment.suppression import unpacked
from segwild_addon.protocol.errors import InputError
from tests.backend.conftest import cropping


def test_clicks_on_a_view(blobs, small_sam: Path) -> None:
    sam = Sam(open_network(small_sam), blobs.workspace)
    camera = blobs.cameras[0]
    embedding = sam.embed("a0", Neutral(blobs.scene, camera))
    answer = sam.predict(embedding, np.array([[50.0, 60.0], [80, 20]]), np.array([True, False]))
    assert answer.masks.shape == (1, 3, camera.height, camera.width)
    assert answer.logits.shape == (1, 3, 32, 32)
    without = sam.predict(embedding, np.array([[50.0, 60.0]]), np.array([True]))
    assert np.abs(without.logits - answer.logits).max() > 1e-3  # every click counts
    boxed = sam.predict(embedding, None, None, np.array([10.0, 10, 90, 80]))
    assert np.abs(boxed.logits - without.logits).max() > 1e-3
    refined = sam.predict(embedding, np.array([[50.0, 60.0]]), np.array([True]), None, without.logits[0, 0])
    assert np.abs(refined.logits - without.logits).max() > 1e-3


def test_a_mask_of_each_scale() -> None:
    masks = np.zeros((1, 3, 8, 8), bool)
    masks[0, 0, :6], masks[0, 1, :2], masks[0, 2, :4] = True, True, True
    answer = Predicted(masks, np.array([[0.2, 0.7, 0.9]], np.float32), np.zeros((1, 3, 4, 4), np.float32))
    sizes = [mask_at(answer, scale).sum() for scale in ("sub-part", "part", "whole", "auto")]
    assert sizes == [16, 32, 48, 32]


@pytest.mark.parametrize("wanted", [Wanted(-10, -1, 1.0, 0), Wanted(-10, 0.5, 0.02, 0)])
def test_a_lattice_gives_what_the_package_gives(small_sam: Path, blobs, wanted: Wanted) -> None:
    """Before suppression, for which the package needs compiled operators: the same masks, scores and stability."""
    network = open_network(small_sam)
    sam = Sam(network, blobs.workspace)
    embedding = network.embed(np.random.default_rng(2).integers(0, 256, (70, 100, 3), np.uint8))
    points = np.random.default_rng(4).uniform(0, 70, (19, 2))
    bits, _, scores, stability, prompts = sam._some(embedding, points, wanted)
    amg: Any = import_beside_torch("segment_anything.utils.amg")
    logits, expected = network.answers(embedding, points[:, None], np.ones((19, 1), int))
    large = network.on_picture(logits, embedding).flatten(0, 1)
    steady = amg.calculate_stability_score(large, 0.0, wanted.offset)
    keep = ((expected.flatten() > wanted.score) & (steady >= wanted.stability)).numpy()
    assert keep.any()
    assert np.array_equal(unpacked(bits, 70, 100), (large > 0).numpy()[keep])
    assert scores == pytest.approx(expected.flatten().numpy()[keep])
    assert stability == pytest.approx(steady.numpy()[keep])
    assert prompts == pytest.approx(np.repeat(points, 3, 0)[keep], rel=1e-5)


class Discs(Network):
    """Answers that are known: discs of three sizes around the prompt, the largest the least sure."""

    def __init__(self) -> None:
        self.side_px = 64

    def answers(self, embedding, points=None, labels=None, boxes=None, before=None):
        y, x = np.mgrid[:64, :64]
        distance = np.hypot(x - points[:, 0, 0, None, None] + 0.5, y - points[:, 0, 1, None, None] + 0.5)
        logits = np.stack([radius - distance for radius in (6, 12, 20)], 1) * 40.0
        scores = np.tile([0.95, 0.92, 0.85], (len(points), 1))
        return torch.from_numpy(logits.astype(np.float32)), torch.from_numpy(scores.astype(np.float32))


def test_good_masks_once_each() -> None:
    sam = Sam(Discs(), SimpleNamespace())
    embedding = Embedding(np.zeros((256, 4, 4), np.float32), 64, 64)
    points = np.array([[20.0, 20], [20.5, 20], [44, 44]] * 7)  # more than one batch
    found = sam.generate(embedding, points)
    assert len(found.masks) == 4
    assert found.scores == pytest.approx([0.95, 0.95, 0.92, 0.92])
    sizes = unpacked(found.masks, 64, 64).sum((1, 2))
    assert sizes == pytest.approx([np.pi * 36] * 2 + [np.pi * 144] * 2, rel=0.1)
    assert {tuple(point) for point in found.points} == {(20.0, 20.0), (44.0, 44.0)}
    assert len(sam.generate(embedding, points, Wanted(score=0.99)).masks) == 0
    assert len(sam.generate(embedding, points, Wanted(area_px=300)).masks) == 2


def test_clicks_become_the_mask_that_the_network_means(blobs, small_sam: Path) -> None:
    """On the photo as taken, which is twice the view; all clicks together, at the scale that was asked for."""
    sam = Sam(open_network(small_sam), blobs.workspace)
    selector = Selector(Prepared.of(blobs.workspace), blobs.workspace, blobs.photo("a0"))
    clicks = Clicks(np.array([[100.0, 120.0], [300, 50]]), np.array([True, False]))
    embedding = sam.embed("a0", Neutral(blobs.scene, selector.camera))
    answer = sam.predict(embedding, clicks.points / 2, clicks.positive)
    for scale in ("sub-part", "whole"):
        expected = np.kron(mask_at(answer, scale), np.ones((2, 2), bool))
        assert np.array_equal(masked(sam, selector, clicks, scale).pixels, expected)
    box = sam.predict(embedding, None, None, np.array([20.0, 10, 90, 60]))
    drawn = masked(sam, selector, Box(40, 20, 180, 120), "whole").pixels
    assert np.array_equal(drawn, np.kron(mask_at(box, "whole"), np.ones((2, 2), bool)))


def test_a_network_that_sees_nothing(blobs) -> None:
    class Blind(Sam):
        def embed(self, photo, view):
            return None

        def predict(self, embedding, points, labels, box=None, before=None):
            height, width = selector.camera.height, selector.camera.width
            return Predicted(np.zeros((1, 3, height, width), bool), np.ones((1, 3)), np.zeros((1, 3, 4, 4)))

    selector = Selector(Prepared.of(blobs.workspace), blobs.workspace, blobs.photo("a0"))
    with pytest.raises(InputError, match="sees nothing"):
        masked(Blind(SimpleNamespace(), blobs.workspace), selector, Box(40, 20, 180, 120), "auto")


def test_no_network_is_asked_about_what_the_picture_does_not_show(blobs) -> None:
    blobs.workspace.write_lenses({"a0": cropping(blobs.photo())})
    selector = Selector(Prepared.of(blobs.workspace), blobs.workspace, blobs.photo("a0"))
    nobody = Sam(SimpleNamespace(), blobs.workspace)
    for prompt in (Clicks(np.array([[20.0, 150]]), np.array([True])), Box(5, 5, 35, 290)):
        with pytest.raises(InputError, match="outside the part of the photo"):
            masked(nobody, selector, prompt, "auto")
