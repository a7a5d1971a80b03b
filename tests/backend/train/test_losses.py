"""What training minimises: masked pixels pull on nothing, penalties pull the right way."""

from __future__ import annotations

import torch

from backend.train.config import Regularisers
from backend.train.losses import photometric, regularisation
from backend.train.similarity import Similarity


def test_ignored_pixels_have_no_gradient_and_no_say() -> None:
    generator = torch.Generator().manual_seed(0)
    photo = torch.rand(40, 30, 3, generator=generator)
    image = (photo + 0.2 * torch.rand(40, 30, 3, generator=generator)).requires_grad_()
    ignored = torch.zeros(40, 30, dtype=torch.bool)
    ignored[10:25, 5:20] = True
    loss = photometric(image, photo, ignored, Similarity(), 0.2)
    loss.backward()
    assert (image.grad[ignored] == 0).all()
    assert (image.grad[~ignored] != 0).any()
    other = torch.where(ignored[..., None], torch.rand(40, 30, 3, generator=generator), image.detach())
    assert photometric(other, photo, ignored, Similarity(), 0.2) == loss


def test_equal_pictures_cost_nothing() -> None:
    photo = torch.rand(20, 20, 3)
    assert abs(photometric(photo, photo, None, Similarity(), 0.2).item()) < 1e-5


def test_penalties_shrink_needles_and_sharpen_opacities() -> None:
    log_scales = torch.log(torch.tensor([[1.0, 0.01, 0.01], [0.02, 0.01, 0.01]])).requires_grad_()
    logits = torch.tensor([0.5, -0.5], requires_grad=True)
    regularisation(log_scales, logits, Regularisers(), extent=1.0, ramp=1.0).backward()
    assert log_scales.grad[0, 0] > 0  # descent shortens the needle ...
    assert log_scales.grad[0, 1:].min() < 0  # ... and widens it
    assert logits.grad[0] < 0 < logits.grad[1]  # away from one half
