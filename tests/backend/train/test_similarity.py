"""SSIM's value and gradient against torch's convolutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretend_device import AWAY, PretendDevice

from backend.train.similarity import C1, C2, WINDOW, Similarity


def by_convolution(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    window = torch.from_numpy(WINDOW.astype(np.float64))
    kernel = torch.outer(window, window)[None, None]

    def blur(x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x.permute(2, 0, 1)[:, None], kernel, padding=5)

    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    cov = blur(a * b) - mean_a * mean_b
    top = (2 * mean_a * mean_b + float(C1)) * (2 * cov + float(C2))
    return (top / ((mean_a**2 + mean_b**2 + float(C1)) * (var_a + var_b + float(C2)))).mean()


@pytest.mark.parametrize("shape", [(40, 31, 3), (5, 7, 3), (1, 1, 3), (24, 24, 1)])
def test_value_and_gradient_equal_convolutions(shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    b = torch.from_numpy(random.uniform(0, 1, shape).astype(np.float32))
    a = (b * 0.7 + 0.3 * torch.from_numpy(random.uniform(0, 1, shape).astype(np.float32))).requires_grad_()
    score = Similarity()(a, b)
    score.backward()
    exact = a.detach().double().requires_grad_()
    expected = by_convolution(exact, b.double())
    expected.backward()
    assert score.item() == pytest.approx(expected.item(), abs=1e-5)
    assert torch.allclose(a.grad.double(), exact.grad, atol=2e-3 * float(exact.grad.abs().max()))


def test_equal_pictures_score_one() -> None:
    picture = torch.rand(30, 20, 3)
    assert Similarity()(picture, picture).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", [(20, 33), (4, 5)])
def test_convolutions_on_another_device_give_the_same_score_and_gradient(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(*size, 3, generator=generator), torch.rand(*size, 3, generator=generator)
    expected, gradient = Similarity().score(a.numpy(), b.numpy())
    with PretendDevice():
        away = a.to(AWAY).requires_grad_()
        score = Similarity()(away, b.to(AWAY))
        score.backward()
        assert score.item() == pytest.approx(expected, abs=1e-5)
        assert np.abs(away.grad.cpu().numpy() - gradient).max() < 1e-6
