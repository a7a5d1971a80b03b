"""Answers equal those of the package's own predictor, for the same weights, picture and prompts."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.features.sam import Embedding, Network, checkpoint, open_network
from backend.features.sam.network import seen_size
from backend.features.vision import import_beside_torch

LACKS = pytest.mark.skipif(
    importlib.util.find_spec("segment_anything") is None, reason="segment-anything is not installed"
)


def predictor_of(network: Network) -> Any:
    module: Any = import_beside_torch("segment_anything.predictor")
    model = network.model
    if model.pixel_mean.is_meta:  # kept in no checkpoint
        model.pixel_mean = torch.tensor([123.675, 116.28, 103.53])[:, None, None]
        model.pixel_std = torch.tensor([58.395, 57.12, 57.375])[:, None, None]
    return module.SamPredictor(model)


def picture_of(height: int, width: int) -> np.ndarray:
    random = np.random.default_rng(5)
    smooth = random.uniform(0, 255, (height // 8 + 1, width // 8 + 1, 3))
    return np.clip(
        np.kron(smooth, np.ones((8, 8, 1)))[:height, :width] + random.normal(0, 5, (height, width, 3)), 0, 255
    ).astype(np.uint8)


def compare(network: Network, picture: np.ndarray, prompts: int) -> None:
    """Random points, labels, boxes and earlier answers, alone and together."""
    predictor = predictor_of(network)
    predictor.set_image(picture)
    embedding = network.embed(picture)
    # Random weights multiply rounding, which depends on the processor and on where buffers lie: of some 1e6 values a
    # few may be off by more. What follows starts from one embedding and is exact.
    off = embedding.features - predictor.get_image_embedding()[0].numpy()
    assert np.sqrt(np.mean(off**2)) < 1e-4
    assert np.abs(off).max() < 1e-2
    predictor.features = torch.from_numpy(embedding.features)[None]
    random = np.random.default_rng(11)
    height, width = picture.shape[:2]
    before = None
    for number in range(prompts):
        count = int(random.integers(1, 6))
        points = random.uniform(0, 1, (count, 2)) * (width, height) if number % 4 != 3 else None
        labels = random.integers(0, 2, count) if points is not None else None
        corners = np.sort(random.uniform(0, 1, (2, 2)), 0) * (width, height)
        box = corners.ravel() if number % 4 in (2, 3) else None
        if number % 3 != 1:
            before = None
        answer = network.predict(
            embedding,
            None if points is None else points[None],
            None if labels is None else labels[None],
            None if box is None else box[None],
            before,
        )
        masks, scores, logits = predictor.predict(
            points, labels, box, None if before is None else before, multimask_output=True, return_logits=True
        )
        assert np.abs(answer.logits[0] - logits).max() < 1e-4
        assert np.abs(answer.scores[0] - scores).max() < 1e-4
        off = answer.masks[0] != (masks > 0)
        assert np.abs(masks[off]).max(initial=0) < 1e-4  # only where the last bit decides
        large = network.on_picture(torch.from_numpy(answer.logits), embedding)[0].numpy()
        assert np.abs(large - masks).max() < 1e-4
        before = answer.logits[0, :1]


@pytest.mark.parametrize(("height", "width"), [(90, 131), (150, 61)])
def test_answers_are_those_of_the_package(small_sam: Path, height: int, width: int) -> None:
    compare(open_network(small_sam), picture_of(height, width), prompts=16)


@pytest.mark.slow
@LACKS
def test_answers_of_a_whole_network_are_those_of_the_package(tmp_path: Path) -> None:
    """ViT-B in its published layout, written as a checkpoint, with random weights: a minute on two cores."""
    torch.manual_seed(1)
    path = tmp_path / "sam_vit_b_random.pth"
    torch.save(checkpoint.build(768, checkpoint.LAYOUTS[768]).state_dict(), path)
    assert abs(path.stat().st_size / checkpoint.PUBLISHED[0].size_bytes - 1) < 1e-3  # the published file's tensors
    compare(open_network(path), picture_of(360, 480), prompts=100)


@LACKS
@pytest.mark.parametrize(("width", "published"), [(1024, checkpoint.PUBLISHED[1]), (1280, checkpoint.PUBLISHED[2])])
def test_the_larger_networks_have_the_published_size(width: int, published) -> None:
    with torch.device("meta"):
        model = checkpoint.build(width, checkpoint.LAYOUTS[width])
    held = sum(value.numel() * value.element_size() for value in model.state_dict().values())
    assert abs(held / published.size_bytes - 1) < 1e-3


def test_red_is_the_first_channel(small_sam: Path) -> None:
    """A red square among black: only the first channel of what the network sees stands out, and where the square is."""
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[20:40, 30:60] = (255, 0, 0)
    network = open_network(small_sam)
    seen = network.seen(picture)[0].numpy()
    ratio = 128 / 96
    inside = seen[:, int(30 * ratio), int(45 * ratio)]
    assert inside[0] == pytest.approx((255 - 123.675) / 58.395)
    assert inside[1:] == pytest.approx([-116.28 / 57.12, -103.53 / 57.375])
    turned = network.embed(picture[..., ::-1].copy()).features
    assert np.abs(turned - network.embed(picture).features).max() > 1e-3


def test_the_picture_lies_at_the_top_left_of_what_is_seen(small_sam: Path) -> None:
    network = open_network(small_sam)
    seen = network.seen(np.full((32, 64, 3), 200, np.uint8))[0]
    assert seen.shape == (3, 128, 128)
    assert (seen[:, :64] > 0).all()
    assert not seen[:, 64:].any()
    assert Embedding(np.zeros((256, 8, 8)), 32, 64).inner(128) == (4, 8)


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (1024, 1024), (3, 4)])
def test_every_picture_fits(size: tuple[int, int]) -> None:
    height, width = seen_size(*size, 1024)
    assert max(height, width) == 1024
    assert min(height, width) >= 1


def test_prompts_together_are_those_prompts_alone(small_sam: Path) -> None:
    network = open_network(small_sam)
    embedding = network.embed(picture_of(50, 80))
    points = np.random.default_rng(0).uniform(0, 50, (5, 1, 2))
    labels = np.ones((5, 1), int)
    together = network.predict(embedding, points, labels)
    for number in range(5):
        alone = network.predict(embedding, points[number : number + 1], labels[:1])
        assert np.abs(together.logits[number] - alone.logits[0]).max() < 1e-4


@pytest.mark.parametrize("size", [(48, 64), (90, 40), (128, 128), (200, 300)])
def test_a_picture_as_an_earlier_answer_and_back(small_sam: Path, size: tuple[int, int]) -> None:
    network = open_network(small_sam)
    y, x = np.mgrid[: size[0], : size[1]] / max(size)
    logits = 6 * np.cos(4 * x + 2 * y) - 1
    embedding = Embedding(np.zeros((256, 8, 8), np.float32), *size)
    told = network.earlier(logits, embedding)
    assert told.shape == (32, 32)
    back = network.on_picture(torch.from_numpy(told)[None, None], embedding)[0, 0].numpy()
    inner = np.s_[size[0] // 8 : -size[0] // 8, size[1] // 8 : -size[1] // 8]
    assert np.abs(back - logits)[inner].max() < 1.0
    height, width = (round(32 * side / 128) for side in seen_size(*size, 128))
    assert (told[height:] == told.min()).all()
    assert (told[:, width:] == told.min()).all()
