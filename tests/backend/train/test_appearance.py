"""A photo's light: left to the renderer or baked into the harmonics, it is the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.render import rasterize
from backend.scene.cameras import looking_at
from backend.scene.files import read_arrays, write_arrays
from backend.train.appearance import SKY_BASES, Appearance, Look, coarse_sky, initial_shared, light, lit


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


VIEW = looking_at(np.array([0.3, -3.0, 0.4]), np.zeros(3), np.array([0, 0, 1.0]), focal=50, width=50, height=40)


def looks(rank: int = 2) -> Appearance:
    """Two photos with other lights and other skies."""
    shared = {name: value + 0.1 * torch.randn(value.shape) for name, value in initial_shared(2, rank, 0).items()}
    return Appearance.of(("a", "b"), shared, torch.randn(5, 3, rank))


def test_a_photos_own_sky_changes_no_gaussian_and_mixes() -> None:
    appearance = looks()
    a, b = (appearance.embedding(Look(name)) for name in "ab")
    sh = torch.randn(5, 1, 3), torch.randn(5, 3, 3)
    light_of_a = torch.cat([a[:2], torch.zeros(3 * SKY_BASES)])
    for one, other in zip(
        lit(*sh, appearance.response, appearance.shared, a),
        lit(*sh, appearance.response, appearance.shared, light_of_a),
        strict=True,
    ):
        assert torch.equal(one, other)
    skies = [coarse_sky(VIEW, appearance.shared, look) for look in (a, b, light_of_a)]
    assert (skies[0] - skies[2]).abs().max() > 0.01
    mixed = coarse_sky(VIEW, appearance.shared, appearance.embedding(Look("a", "b", 0.25)))
    assert torch.allclose(mixed, 0.75 * skies[0] + 0.25 * skies[1], atol=1e-5)


@pytest.mark.parametrize("rank", [0, 2])
def test_what_skies_have_in_common_is_the_neutral_sky(rank: int) -> None:
    shared = {name: value + 0.1 for name, value in initial_shared(2, rank, 0).items()}
    shared["skies"] = torch.randn(2, 3 * SKY_BASES) + 1
    appearance = Appearance.of(("a", "b"), shared, torch.zeros(5, 3, rank))
    before = [coarse_sky(VIEW, shared, torch.cat([shared["embeddings"][i], shared["skies"][i]])) for i in (0, 1)]
    after = [coarse_sky(VIEW, appearance.shared, appearance.embedding(Look(name))) for name in "ab"]
    assert all(torch.allclose(one, other, atol=1e-5) for one, other in zip(before, after, strict=True))
    assert appearance.shared["skies"].mean(0).abs().max() < 1e-6
    without = Appearance.of(("a", "b"), initial_shared(2, 0, 0, own_sky=False), torch.zeros(5, 3, 0))
    assert without.names == ()


def test_looks_survive_the_file_and_another_photo_joins_them(blobs) -> None:
    looks().save(blobs.workspace)
    read = Appearance.load(blobs.workspace)
    assert read.numbers == 2 + 3 * SKY_BASES
    more = read.with_look("c", read.embedding(Look("a")) * 2).with_look("b", read.embedding(Look("a")))
    assert more.names == ("a", "b", "c")
    assert torch.equal(more.embedding(Look("b")), read.embedding(Look("a")))
    assert torch.equal(more.embedding(Look("c")), 2 * read.embedding(Look("a")))
    # A workspace of before photos had skies of their own.
    arrays, metadata = read_arrays(blobs.workspace.appearance)
    del arrays["shared.skies"]
    write_arrays(blobs.workspace.appearance, arrays, metadata)
    old = Appearance.load(blobs.workspace)
    assert old.numbers == 2
    assert torch.equal(old.embedding(Look("a")), read.embedding(Look("a"))[:2])
