"""The affinity field: exact where it can be, closer after training, and never worse than what was lifted."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.progress import Quiet
from backend.render import Seen, rasterize
from backend.segment.affinity import DIMENSIONS, Field, Part, Training, difference, fitted, in_common, lifted_field

CELLS, CHANNELS = 32, 80


class Painted:
    """Each object has its own feature: cells are what is rendered of them, at a grid of 32 columns."""

    def __init__(self, blobs, *, noise: float = 0.0, masks: bool = False) -> None:
        random = np.random.default_rng(0)
        self.cameras = [camera.fitted(64) for camera in blobs.cameras]
        # More directions than a field holds, so that it cannot be exact by itself.
        kinds = random.normal(0, 1, (3, CHANNELS)).astype(np.float32)
        own = kinds[blobs.labels]
        self.masks = masks
        self._cells, self._members = [], []
        for camera in self.cameras:
            seen = Seen(blobs.scene, camera.resized(CELLS, CELLS * 3 // 4))
            drawn = seen.render_channels(own) + noise * random.normal(0, 1, (24, CELLS, CHANNELS))
            self._cells.append(drawn.transpose(2, 0, 1).astype(np.float32))
            labels = Seen(blobs.scene, camera).render_channels(np.eye(3, dtype=np.float32)[blobs.labels])
            self._members.append(labels > 0.5)

    def cells(self, number: int):
        return self._cells[number], (24.0, float(CELLS))

    def members(self, number: int):
        return self._members[number] if self.masks else None


def test_the_lifted_field_decodes_to_what_was_seen(blobs) -> None:
    source = Painted(blobs)
    field = lifted_field(blobs.scene, source, Quiet())
    assert field.values.shape == (len(blobs.scene), DIMENSIONS)
    assert field.matrix.T @ field.matrix == pytest.approx(np.eye(DIMENSIONS), abs=1e-4)
    nothing = Field(np.zeros_like(field.values), field.matrix, field.offset)
    every = range(len(source.cameras))
    assert difference(blobs.scene, source, every, field) < 0.35 * difference(blobs.scene, source, every, nothing)


def test_training_comes_closer_in_views_held_out(blobs) -> None:
    source = Painted(blobs, masks=True)
    held_out = [2]
    field = lifted_field(blobs.scene, Part(source, [0, 1, 3, 4, 5]), Quiet())
    result = fitted(blobs.scene, source, held_out, field, Training(steps=20, field_rate=0.06, pixels=256), Quiet())
    assert result.after < 0.97 * result.before
    assert difference(blobs.scene, source, held_out, result.field) == pytest.approx(result.after)
    assert result.steps == 20


def test_without_gain_the_lifted_field_stays(blobs) -> None:
    """Training on noise at a senseless rate makes it worse."""
    source = Painted(blobs, noise=1.0)
    field = lifted_field(blobs.scene, Part(source, [0, 1, 3, 4, 5]), Quiet())
    result = fitted(blobs.scene, source, [2], field, Training(steps=8, field_rate=5.0), Quiet())
    assert result.after > result.before
    assert result.field is field


def test_the_fields_gradient_is_that_of_autograd(blobs) -> None:
    """Summing the picture's gradient onto rows is what differentiating the renderer gives."""
    camera = blobs.cameras[0].fitted(64)
    values = torch.randn(len(blobs.scene), 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    scene = blobs.scene
    arrays = {
        name: torch.from_numpy(getattr(scene, name)) for name in ("means", "quats", "log_scales", "opacity_logits")
    }
    image = rasterize(**arrays, view=camera, colors=values).image
    slope = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    (image * slope).sum().backward()
    A, _ = Seen(scene, camera).accumulate(slope.numpy())
    assert values.grad.numpy() == pytest.approx(A, abs=2e-4)


def test_masks_in_common_pull_and_others_push() -> None:
    """Ω is the overlap of the pixels' masks, −1 where they share none; written out pair by pair."""
    random = torch.Generator().manual_seed(2)
    features = torch.nn.functional.normalize(torch.randn(7, 4, generator=random), dim=1)
    inside = (torch.rand(7, 3, generator=random) > 0.5).float()
    total = 0.0
    for a in range(7):
        for b in range(7):
            both = float((inside[a] * inside[b]).sum())
            either = float(torch.maximum(inside[a], inside[b]).sum())
            overlap = both / either if both else -1.0
            total -= overlap * max(0.0, float(features[a] @ features[b]))
    assert float(in_common(features, inside)) == pytest.approx(total / 49, abs=1e-4)
