"""What training minimises: masked pixels pull on nothing, penalties pull the right way."""

from __future__ import annotations

import math

import pytest
import torch
from pretend_device import AWAY, PretendDevice

from backend.train.config import Regularisers
from backend.train.losses import photometric, regularisation
from backend.train.similarity import Similarity
from backend.train.sky import over_sky


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


def test_penalties_and_their_gradients_are_those_of_torch() -> None:
    generator = torch.Generator().manual_seed(1)
    log_scales, logits = 2 * torch.randn(3000, 3, generator=generator), 3 * torch.randn(3000, generator=generator)
    weights, extent, ramp = Regularisers(opacity=0.02), 1.7, 0.4
    leaves = log_scales.clone().requires_grad_(), logits.clone().requires_grad_()
    penalty = regularisation(*leaves, weights, extent=extent, ramp=ramp)
    penalty.backward()
    exact = log_scales.double().requires_grad_(), logits.double().requires_grad_()
    ordered, opacities = exact[0].sort(dim=1, descending=True).values, torch.sigmoid(exact[1])
    expected = (
        weights.needle * (ordered[:, 0] - ordered[:, 1] - math.log(weights.needle_ratio)).clamp_min(0).mean()
        + weights.scale * ordered[:, 0].exp().mean() / extent
        + ramp * weights.entropy * (opacities * (1 - opacities)).mean()
        + weights.opacity * opacities.mean()
    )
    expected.backward()
    assert penalty.item() == pytest.approx(expected.item(), rel=1e-5)
    for leaf, true in zip(leaves, exact, strict=True):
        assert torch.allclose(leaf.grad.double(), true.grad, rtol=1e-4, atol=1e-10)


def test_the_photometric_gradient_is_that_of_its_value() -> None:
    generator = torch.Generator().manual_seed(2)
    photo = torch.rand(23, 31, 3, generator=generator)
    image = torch.rand(23, 31, 3, generator=generator).requires_grad_()
    ignored = torch.rand(23, 31, generator=generator) < 0.2
    photometric(image, photo, ignored, Similarity(), 0.3).backward()
    direction = torch.randn(image.shape, generator=generator)
    step = 1e-3
    ahead, back = (
        photometric(image.detach() + sign * step * direction, photo, ignored, Similarity(), 0.3).item()
        for sign in (1, -1)
    )
    assert (ahead - back) / (2 * step) == pytest.approx(float((image.grad * direction).sum()), rel=0.02, abs=1e-5)


def test_losses_on_another_device_equal_those_on_the_cpu() -> None:
    generator = torch.Generator().manual_seed(3)
    image, photo = torch.rand(20, 26, 3, generator=generator), torch.rand(20, 26, 3, generator=generator)
    ignored = torch.zeros(20, 26, dtype=torch.bool)
    ignored[4:9, 5:20] = True
    scales, logits = torch.randn(30, 3, generator=generator), torch.randn(30, generator=generator)
    found = []
    with PretendDevice():
        for device in ("cpu", AWAY):
            leaves = [tensor.clone().to(device).requires_grad_() for tensor in (image, scales, logits)]
            terms = [
                photometric(leaves[0], photo.to(device), mask, Similarity(), 0.2) for mask in (None, ignored.to(device))
            ]
            terms += [
                regularisation(*leaves[1:], Regularisers(opacity=0.01), extent=2.0, ramp=ramp) for ramp in (0.0, 0.5)
            ]
            sum(terms).backward()
            found.append([term.detach().cpu() for term in terms] + [leaf.grad.cpu() for leaf in leaves])
    for expected, own in zip(*found, strict=True):
        assert torch.allclose(own, expected, rtol=1e-4, atol=1e-6)


def test_a_sky_on_another_device_equals_that_on_the_cpu() -> None:
    generator = torch.Generator().manual_seed(4)
    tensors = [torch.rand(size, generator=generator) for size in ((21, 30, 3), (21, 30), (4, 5, 3))]
    found = []
    with PretendDevice():
        for device in ("cpu", AWAY):
            leaves = [tensor.clone().to(device).requires_grad_() for tensor in tensors]
            picture = over_sky(*leaves)
            picture.square().sum().backward()
            found.append([picture.detach().cpu()] + [leaf.grad.cpu() for leaf in leaves])
    for expected, own in zip(*found, strict=True):
        assert torch.allclose(own, expected, rtol=1e-4, atol=1e-5)
