"""Pictures into what comes and goes: the answers are those of torchvision's own models and transformations."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pretend_device import AWAY, PretendDevice

from backend.features.people import Network, network, open_network
from backend.features.people.network import CLASSES, COME_AND_GO, seen_size
from backend.features.vision import import_beside_torch
from tests.backend.features.people.test_checkpoint import drawn

MODELS = import_beside_torch("torchvision.models.segmentation")
PRESETS = import_beside_torch("torchvision.transforms._presets")


def picture(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("kind", "side"),
    [
        ("lraspp_mobilenet_v3_large", 520),
        ("deeplabv3_mobilenet_v3_large", 120),
        ("fcn_resnet50", 90),
        ("deeplabv3_resnet50", 90),
    ],
)
def test_logits_are_those_of_torchvision(kind: str, side: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = drawn(kind)
    torch.save(saved, tmp_path / "weights.pth")
    options = {} if kind.startswith("lraspp") else {"aux_loss": True}
    theirs = getattr(MODELS, kind)(weights=None, weights_backbone=None, num_classes=21, **options).eval()
    theirs.load_state_dict(saved)
    monkeypatch.setattr(network, "SHORT_SIDE", side)
    seen = picture(90, 131)
    found = open_network(tmp_path / "weights.pth").logits(seen)
    with torch.inference_mode():
        prepared = PRESETS.SemanticSegmentation(resize_size=side)(Image.fromarray(seen))[None]
        expected = theirs(prepared)["out"][0]
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert expected.std() > 1e-3


def test_the_classes_are_those_the_weights_were_trained_for() -> None:
    labels = import_beside_torch("torchvision.models").get_model_weights("fcn_resnet50").DEFAULT.meta["categories"]
    assert list(CLASSES[1:]) == labels[1:]
    assert labels[0] == "__background__"
    assert set(COME_AND_GO) < set(CLASSES)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((600, 800), (520, 693)),
        ((800, 600), (693, 520)),
        ((48, 64), (520, 693)),
        ((500, 2000), (260, 1040)),
        ((2000, 500), (1040, 260)),
        ((3, 6000), (1, 1040)),
    ],
)
def test_sizes_are_bounded(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert seen_size(*size) == expected


def painted() -> np.ndarray:
    """Somebody in red before grey, with things of other colours."""
    pixels = np.full((60, 80, 3), 120, np.uint8)
    pixels[20:40, 30:50] = (220, 40, 30)
    pixels[5:15, 5:15] = (60, 60, 230)
    pixels[50:, 60:] = 240
    return pixels


def test_what_is_red_is_found(red_is_a_person: Path) -> None:
    found = open_network(red_is_a_person).candidates(painted())
    assert found.dtype == bool
    assert found.shape == seen_size(60, 80)
    rows, columns = (np.nonzero(found.any(axis))[0] / 520 * 60 for axis in (1, 0))
    assert (rows.min(), rows.max()) == pytest.approx((20, 40), abs=0.7)
    assert (columns.min(), columns.max()) == pytest.approx((30, 50), abs=0.7)
    assert found.mean() == pytest.approx(400 / 4800, rel=0.1)


class Always(torch.nn.Module):
    """Answers the same everywhere: classes with their logits, all others -20."""

    def __init__(self, **logits: float) -> None:
        super().__init__()
        self.register_buffer("answer", torch.tensor([logits.get(name, -20.0) for name in CLASSES]))

    def forward(self, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.answer[None, :, None, None].expand(len(pixels), -1, *pixels.shape[2:])}


@pytest.mark.parametrize(
    ("logits", "found"),
    [
        ({"person": 1.0, "background": 0.0}, True),
        ({"person": -1.0, "background": 0.0}, False),
        ({"car": -0.4, "bus": -0.4, "background": 0.0}, True),  # one of both it is
        ({"boat": 3.0, "background": 0.0}, False),
        ({"aeroplane": 3.0, "sofa": 3.0}, False),
        ({"dog": 3.0, "sofa": 2.0}, True),
    ],
)
def test_what_comes_and_goes(logits: dict[str, float], found: bool) -> None:
    assert (Network(Always(**logits), "x").candidates(picture(30, 40)) == found).all()


def test_another_device_answers_the_same(red_is_a_person: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "SHORT_SIDE", 60)
    here = open_network(red_is_a_person)
    expected = here.candidates(painted())
    there = open_network(red_is_a_person)
    with PretendDevice():
        found = there.to(AWAY).candidates(painted())
        assert all(value.device == AWAY for value in there.model.parameters())
    assert np.array_equal(found, expected)
    assert expected.any()


@pytest.mark.gpu
def test_cuda_answers_the_same(red_is_a_person: Path) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    answers = [open_network(red_is_a_person).to(device).candidates(painted()) for device in ("cpu", "cuda")]
    assert functools.reduce(np.not_equal, answers).mean() < 1e-3
