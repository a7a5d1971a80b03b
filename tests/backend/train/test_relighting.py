"""A photo's light: left to the renderer or baked into the harmonics, it is the same."""

from __future__ import annotations

import sys

import numpy as np
import pretend_gsplat
import pytest
import torch
from pretend_device import AWAY, PretendDevice

from backend.render import Light, rasterize
from backend.scene.cameras import looking_at
from backend.train.appearance import initial_shared
from backend.train.mlp import MlpAppearance
from backend.train.relighting import LinearAppearance, Relighting

KINDS = [
    LinearAppearance(5),
    LinearAppearance(3, degree=1),
    MlpAppearance(5, 4, 8),
    MlpAppearance(4, 3, 8, 1, degree=2),
]
VIEW = looking_at(np.array([0.3, -3.0, 0.4]), np.zeros(3), np.array([0, 0, 1.0]), focal=50, width=50, height=40)
ROWS = 300
GEOMETRY = ("means", "quats", "log_scales", "opacity_logits")


def scene(kind: Relighting, bases: int = 8) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Rows with what the kind has of each, and what they share; nothing is at rest."""
    random = np.random.default_rng(0)
    arrays = {
        "means": random.normal(0, 0.7, (ROWS, 3)),
        "quats": random.normal(0, 1, (ROWS, 4)),
        "log_scales": random.uniform(np.log(0.02), np.log(0.3), (ROWS, 3)),
        "opacity_logits": random.uniform(-3, 4, ROWS),
        "sh0": random.normal(0, 1, (ROWS, 1, 3)),
        "shN": random.normal(0, 0.3, (ROWS, bases, 3)),
    }
    rows = {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}
    generator = torch.Generator().manual_seed(1)
    for values in (own := kind.initial_rows(ROWS), shared := initial_shared(kind, 3, 0)):
        for name, value in values.items():
            values[name] = value + 0.2 * torch.randn(value.shape, generator=generator)
    return rows | own, shared


def leaves(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone().requires_grad_() for name, value in values.items()}


@pytest.mark.parametrize("degree", [None, 0, 1])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_light_in_the_renderer_equals_light_in_the_harmonics(kind: Relighting, degree: int | None) -> None:
    rows, shared = scene(kind)
    pull = torch.tensor(np.random.default_rng(1).normal(0, 1, (40, 50, 3)), dtype=torch.float32)
    results = []
    for baked in (False, True):
        own, common = leaves(rows), leaves(shared)
        look, geometry = common["embeddings"][1], {name: own[name] for name in GEOMETRY}
        if baked:
            sh0, shN = kind.lit(own["sh0"], own["shN"], own, common, look)
            image = rasterize(**geometry, sh0=sh0, shN=shN, view=VIEW, sh_degree=degree).image
        else:
            light = kind.light(own, common, look)
            assert isinstance(light, Light) == (kind == KINDS[0])  # the cheap way for the cheap kind
            image = rasterize(
                **geometry, sh0=own["sh0"], shN=own["shN"], light=light, view=VIEW, sh_degree=degree
            ).image
        (image * pull).sum().backward()
        results.append((image.detach(), {name: leaf.grad for name, leaf in (own | common).items()}))
    (image, gradients), (expected, expected_gradients) = results
    assert torch.allclose(image, expected, atol=1e-5)
    assert float(expected.std()) > 0.05
    for name, expected_gradient in expected_gradients.items():
        if expected_gradient is None:
            assert gradients[name] is None or not gradients[name].any(), name
        else:
            assert (gradients[name] - expected_gradient).norm() <= 1e-4 * expected_gradient.norm(), name
            assert expected_gradient.norm() > 0, name


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_another_device_draws_the_same_light(kind: Relighting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
    rows, shared = scene(kind)

    def image(there: str) -> tuple[torch.Tensor, list[torch.Tensor]]:
        own, common = ({name: value.to(there).requires_grad_() for name, value in leaves(part).items()}
                       for part in (rows, shared))  # fmt: skip
        for value in (*own.values(), *common.values()):
            value.retain_grad()
        drawn = rasterize(
            **{name: own[name] for name in (*GEOMETRY, "sh0", "shN")},
            light=kind.light(own, common, common["embeddings"][1]),
            view=VIEW,
        ).image
        drawn.square().sum().backward()
        return drawn.detach().cpu(), [own[name].grad.cpu() for name in kind.row_rates]

    with PretendDevice():
        (here, gradients), (there, others) = image("cpu"), image(str(AWAY))
    assert (here - there).abs().max() < 1e-3
    for one, other in zip(gradients, others, strict=True):
        assert (one - other).norm() < 1e-2 * one.norm()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_zeros_are_neutral_light(kind: Relighting) -> None:
    rows, shared = scene(kind)
    own = {name: rows[name] for name in kind.row_rates}
    assert not kind.change(own, shared, torch.zeros(kind.numbers)).any()
    sh0, shN = kind.lit(rows["sh0"], rows["shN"], own, shared, torch.zeros(kind.numbers))
    assert torch.equal(sh0, rows["sh0"])
    assert torch.equal(shN, rows["shN"])
    assert kind.light(rows, shared, None) is None
    # A training starts there, whatever the photo.
    first, beginning = kind.initial_rows(4), initial_shared(kind, 2, 0)
    assert not kind.change(first, beginning, beginning["embeddings"][0]).any()


def test_no_numbers_are_one_light() -> None:
    none = LinearAppearance(0)
    assert none.light(none.initial_rows(4), initial_shared(none, 1, 0), torch.zeros(0)) is None


@pytest.mark.parametrize("bases", [0, 3, 15])
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_harmonics_keep_their_number(kind: Relighting, bases: int) -> None:
    """What changes beyond the harmonics that rows have is left out; those beyond what changes follow the exposure."""
    rows, shared = scene(kind, bases)
    look = shared["embeddings"][0]
    sh0, shN = kind.lit(rows["sh0"], rows["shN"], rows, shared, look)
    change = kind.change(rows, shared, look)
    gain = torch.eye(3) + torch.tensordot(look, shared["gain"], 1)
    assert sh0.shape == rows["sh0"].shape
    expected = rows["shN"] @ gain.T
    count = min(bases, change.shape[1] - 1)
    expected[:, :count] += change[:, 1 : 1 + count]
    assert torch.allclose(shN, expected, atol=1e-6)


def test_parameters_of_another_shape_are_refused() -> None:
    kind = MlpAppearance(5, 4, 8)
    rows, shared = kind.initial_rows(3), initial_shared(kind, 2, 0)
    kind.check(rows, shared)
    with pytest.raises(ValueError, match="feature"):
        kind.check({"feature": torch.zeros(3, 5)}, shared)
    with pytest.raises(ValueError, match=r"mlp\.1"):
        kind.check(rows, shared | {"mlp.1": torch.zeros(8, 9)})
    with pytest.raises(KeyError):
        LinearAppearance(5).check(rows, shared)
