"""A photo's light: left to the renderer or baked into the harmonics, it is the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.render import rasterize
from backend.scene.cameras import looking_at
from backend.train.appearance import initial_shared, light, lit


@pytest.mark.parametrize("degree", [None, 0, 1])
def test_light_in_the_renderer_equals_light_in_the_harmonics(degree: int | None) -> None:
    random = np.random.default_rng(0)
    rows, rank = 300, 5
    view = looking_at(np.array([0.3, -3.0, 0.4]), np.zeros(3), np.array([0, 0, 1.0]), focal=50, width=50, height=40)
    arrays = {
        "means": random.normal(0, 0.7, (rows, 3)),
        "quats": random.normal(0, 1, (rows, 4)),
        "log_scales": random.uniform(np.log(0.02), np.log(0.3), (rows, 3)),
        "opacity_logits": random.uniform(-3, 4, rows),
        "sh0": random.normal(0, 1, (rows, 1, 3)),
        "shN": random.normal(0, 0.3, (rows, 8, 3)),
        "response": random.normal(0, 0.2, (rows, 3, rank)),
    }
    shared = {name: value + 0.1 * torch.randn(value.shape) for name, value in initial_shared(3, rank, 0).items()}
    pull = torch.tensor(random.normal(0, 1, (40, 50, 3)), dtype=torch.float32)
    results = []
    for baked in (False, True):
        own = {name: torch.tensor(array, dtype=torch.float32).requires_grad_() for name, array in arrays.items()}
        common = {name: value.detach().clone().requires_grad_() for name, value in shared.items()}
        embedding = common["embeddings"][1]
        response, geometry = own["response"], {name: own[name] for name in list(arrays)[:4]}
        if baked:
            sh0, shN = lit(own["sh0"], own["shN"], response, common, embedding)
            image = rasterize(**geometry, sh0=sh0, shN=shN, view=view, sh_degree=degree).image
        else:
            image = rasterize(
                **geometry,
                sh0=own["sh0"],
                shN=own["shN"],
                light=light(response, common, embedding),
                view=view,
                sh_degree=degree,
            ).image
        (image * pull).sum().backward()
        results.append((image.detach(), {name: leaf.grad for name, leaf in (own | common).items()}))
    (image, gradients), (expected, expected_gradients) = results
    assert torch.allclose(image, expected, atol=1e-5)
    assert float(expected.std()) > 0.05
    for name, expected_gradient in expected_gradients.items():
        if expected_gradient is None:
            assert gradients[name] is None, name
        else:
            assert (gradients[name] - expected_gradient).norm() <= 1e-4 * expected_gradient.norm(), name
            assert expected_gradient.norm() > 0, name


def test_neutral_light_changes_nothing() -> None:
    response = torch.ones(4, 3, 2)
    assert light(response, initial_shared(1, 2, 0), None) is None
    assert light(torch.ones(4, 3, 0), initial_shared(1, 0, 0), torch.zeros(0)) is None
