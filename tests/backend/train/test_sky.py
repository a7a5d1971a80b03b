"""The sky behind a render against torch's interpolation."""

from __future__ import annotations

import pytest
import torch

from backend.train.sky import over_sky


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"), [(37, 53, 6, 8), (5, 3, 2, 2), (1, 1, 2, 2), (8, 9, 1, 1)]
)
def test_picture_and_gradients_are_those_of_torch(height: int, width: int, rows: int, columns: int) -> None:
    generator = torch.Generator().manual_seed(0)
    arrays = [
        torch.rand(*shape, generator=generator) for shape in ((height, width, 3), (height, width), (rows, columns, 3))
    ]
    pull = torch.randn(height, width, 3, generator=generator)
    leaves = [array.clone().requires_grad_() for array in arrays]
    picture = over_sky(*leaves)
    (picture * pull).sum().backward()
    exact = [array.double().requires_grad_() for array in arrays]
    image, alpha, sky = exact
    full = torch.nn.functional.interpolate(sky.permute(2, 0, 1)[None], (height, width), mode="bilinear")
    expected = image + (1 - alpha)[..., None] * full[0].permute(1, 2, 0)
    (expected * pull).sum().backward()
    assert torch.allclose(picture.detach().double(), expected.detach(), atol=1e-6)
    for leaf, true in zip(leaves, exact, strict=True):
        assert torch.allclose(leaf.grad.double(), true.grad, rtol=1e-4, atol=1e-5)
