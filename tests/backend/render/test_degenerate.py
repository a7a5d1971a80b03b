"""Random scenes of ordinary and degenerate Gaussians: the engine against the float64 reference."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.render import Seen, rasterize, reference
from backend.scene.cameras import Camera, looking_at

rows_of = st.lists(
    st.sampled_from(["ordinary", "needle", "disc", "huge", "tiny", "faint", "opaque", "aside", "behind"]), max_size=40
)
sizes = st.tuples(st.integers(1, 50), st.integers(1, 40))
seeds = st.integers(0, 10_000)


def assert_equal_to_reference(drawn, tensors, view, *, degree: int | None = None, rounding: float = 2e-5) -> None:
    """Pictures within 1e-5, gradients within 5e-4; a pixel on a threshold may flip and is then left out.

    Gradients are sums over pixels of either sign. On ordinary scenes 1e-4 holds (test_rasterize); the sum of
    a single needle over three pixels cancels further and leaves more of its rounding.
    """
    own, truth = partial(rasterize, sh_degree=degree), partial(_reference, degree=degree)
    image, alpha, _ = drawn(own, tensors, view, torch.float32)
    expected, expected_alpha, _ = drawn(truth, tensors, view, torch.float64)
    bright = max(1.0, float(np.abs(expected).max()))
    off = np.maximum(np.abs(image - expected).max(-1) / bright, np.abs(alpha - expected_alpha))
    agreed = off <= 1e-5
    assert (~agreed).sum() <= max(1, 1e-3 * agreed.size)
    assert off.max() <= 1e-2
    _, _, gradients = drawn(own, tensors, view, torch.float32, agreed)
    _, _, exact = drawn(truth, tensors, view, torch.float64, agreed)
    assert gradients.keys() >= exact.keys()
    for name, gradient in gradients.items():
        assert np.isfinite(gradient).all(), name
        of = exact.get(name, np.zeros_like(gradient))
        allowed = 5e-4 * np.linalg.norm(of) + rounding
        assert np.linalg.norm(gradient - of) <= allowed, f"{name}: {np.linalg.norm(gradient - of):.1e} > {allowed:.1e}"


def _reference(*, degree: int | None, **tensors):
    if degree is not None:
        tensors["shN"] = tensors["shN"][:, : (degree + 1) ** 2 - 1]
    return reference.rasterize(**tensors)


@settings(max_examples=60)
@given(rows=rows_of, size=sizes, channels=st.sampled_from([1, 3, 5, 13, 32, 33]), background=st.booleans(), seed=seeds)
def test_colours(degenerate, camera, drawn, rows, size, channels, background, seed) -> None:
    view = camera(*size)
    tensors = degenerate(rows, view, seed=seed, channels=channels, background=background)
    assert_equal_to_reference(drawn, tensors, view)


@settings(max_examples=30)
@given(
    rows=rows_of,
    size=sizes,
    bases=st.sampled_from([0, 3, 8, 15]),
    degree=st.sampled_from([None, 0, 1, 2, 3]),
    seed=seeds,
)
def test_harmonics(degenerate, camera, drawn, rows, size, bases, degree, seed) -> None:
    view = camera(*size)
    tensors = degenerate(rows, view, seed=seed, channels=None, bases=bases)
    assert_equal_to_reference(drawn, tensors, view, degree=degree)


@settings(max_examples=30)
@given(
    depths=st.lists(st.sampled_from([0.0099, 0.0101, 0.011, 0.02, 0.1]), min_size=1, max_size=12),
    size=sizes,
    seed=seeds,
)
def test_at_the_near_plane(drawn, scene, depths, size, seed) -> None:
    """With the camera at the origin: elsewhere float32 cannot place what is a hundredth away."""
    view = Camera(np.eye(4), 34.0, 34.0, 0.4 * size[0], 0.55 * size[1], *size)
    random = np.random.default_rng(seed)
    tensors = scene(len(depths), channels=3, seed=seed)
    z = np.array(depths)
    tensors["means"] = torch.tensor(np.stack([*(random.uniform(-1, 1, (2, len(z))) * 0.6 * z), z], 1))
    tensors["log_scales"] = torch.tensor(np.log(random.uniform(0.01, 0.5, (len(z), 3)) * z[:, None]))
    tensors = {name: tensor.float().double() for name, tensor in tensors.items()}
    # Here a pixel is 3e-4 wide: gradients by position are thousands of times those by pixels.
    assert_equal_to_reference(drawn, tensors, view, rounding=2e-2)
    seen = rasterize(**{name: tensor.float() for name, tensor in tensors.items()}, view=view).visible.tolist()
    assert all(depths[row] > 0.01 for row in seen)


@settings(max_examples=30)
@given(rows=rows_of, size=sizes, seed=seeds)
def test_row_order_does_not_matter(degenerate, camera, rows, size, seed) -> None:
    view = camera(*size)
    tensors = {name: value.float() for name, value in degenerate(rows, view, seed=seed, channels=3).items()}
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(rows)))
    shuffled = {name: value if name == "background" else value[order] for name, value in tensors.items()}
    first, second = rasterize(**tensors, view=view), rasterize(**shuffled, view=view)
    assert sorted(order[second.visible].tolist()) == sorted(first.visible.tolist())
    off = (first.image - second.image).abs().amax(-1) > 1e-5
    assert off.sum() <= max(1, 1e-3 * off.numel())


@settings(max_examples=40)
@given(rows=rows_of, size=sizes, channels=st.sampled_from([1, 3, 16, 65]), seed=seeds)
def test_sums_and_pictures_are_adjoint(degenerate, gaussians_of, camera, rows, size, channels, seed) -> None:
    """<accumulate(g), X> = <g, render_channels(X)>, and ΣZ = Σ m·(1 − T_end)."""
    view = camera(*size)
    random = np.random.default_rng(seed)
    features = random.normal(0, 1, (len(rows), channels)).astype(np.float32)
    signal = random.normal(0, 1, (view.height, view.width, channels)).astype(np.float32)
    weight = random.choice([0.0, 0.3, 1.0], (view.height, view.width)).astype(np.float32)
    seen = Seen(gaussians_of(degenerate(rows, view, seed=seed, channels=1)), view)
    image = seen.render_channels(features).astype(float)
    A, Z = seen.accumulate(signal, weight)
    summed = np.abs(image * signal * weight[..., None]).sum()
    assert (A.astype(float) * features).sum() == pytest.approx(
        (image * signal * weight[..., None]).sum(), abs=1e-5 * summed + 1e-5
    )
    assert Z.sum() == pytest.approx((seen.alpha() * weight).sum(), rel=1e-4, abs=1e-5)
    assert (Z >= 0).all()


@settings(max_examples=30)
@given(rows=rows_of, size=sizes, labels=st.integers(1, 20), seed=seeds)
def test_labels_are_one_hot_features(degenerate, gaussians_of, camera, rows, size, labels, seed) -> None:
    view = camera(*size)
    random = np.random.default_rng(seed)
    picture = random.integers(-1, labels, (view.height, view.width)).astype(np.int32)
    weight = random.uniform(0, 2, picture.shape).astype(np.float32)
    seen = Seen(gaussians_of(degenerate(rows, view, seed=seed, channels=1)), view)
    A, Z = seen.accumulate((picture[..., None] == np.arange(labels)).astype(np.float32), weight)
    A_labels, Z_labels = seen.accumulate(picture, weight, labels=labels)
    assert np.allclose(A, A_labels, rtol=1e-5, atol=1e-5)
    assert np.allclose(Z, Z_labels, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [[], ["behind"] * 7])
def test_an_empty_view(degenerate, gaussians_of, camera, rows) -> None:
    """Nothing to see is no special case for anybody: background, zero gradients, zero sums, padding."""
    view = camera()
    tensors = degenerate(rows, view, seed=0, channels=3)
    leaves = {name: value.float().requires_grad_() for name, value in tensors.items()}
    result = rasterize(**leaves, view=view, depth_expected=True, depth_median=True, absgrad=True)
    (result.image.sum() + result.alpha.sum() + result.depth_expected.sum()).backward()
    assert torch.equal(result.image, leaves["background"].expand(29, 37, 3))
    assert not result.alpha.any()
    assert not result.depth_expected.any()
    assert torch.isnan(result.depth_median).all()
    assert torch.equal(leaves["background"].grad, torch.full((3,), 29.0 * 37))
    assert not any(leaf.grad.any() for name, leaf in leaves.items() if name != "background" and leaf.grad is not None)
    seen = Seen(gaussians_of(tensors), view)
    for A, Z in (
        seen.accumulate(np.ones((29, 37, 5), np.float32)),
        seen.accumulate(np.zeros((29, 37), np.int32), labels=5),
    ):
        assert A.shape == (len(rows), 5)
        assert not A.any()
        assert not Z.any()
    ids, weights = seen.top_contributors(2)
    assert (ids == -1).all()
    assert not weights.any()
    assert np.isnan(seen.depth()).all()


@pytest.mark.parametrize("channels", [3, 33])
def test_memory_of_others_does_not_count(channels: int) -> None:
    """A tile that the picture's edge cuts has lanes without pixels; what their memory held before stays out."""
    view = Camera(np.eye(4), 30.0, 30.0, 2.5, 2.5, 5, 5)
    rows = {
        "means": torch.tensor([[0.0, 0, 3]]),
        "quats": torch.tensor([[1.0, 0, 0, 0]]),
        "log_scales": torch.full((1, 3), -1.0),
        "opacity_logits": torch.zeros(1),
        "colors": torch.ones(1, channels),
    }
    gradients = set()
    for _ in range(60):
        leaves = {name: value.clone().requires_grad_() for name, value in rows.items()}
        result = rasterize(**leaves, view=view)
        poison = [np.full(length, np.nan, np.float32) for length in range(240, 300)]
        del poison  # for the allocator to hand out again
        result.image.sum().backward()
        gradients.add(tuple(torch.cat([leaf.grad.flatten() for leaf in leaves.values()]).tolist()))
    assert len(gradients) == 1
    assert np.isfinite(list(gradients)).all()


def test_a_million_in_one_tile() -> None:
    """Faint dust before a single tile: every slot list has a million entries."""
    count = 1_000_000
    random = np.random.default_rng(0)
    view = looking_at(np.array([0, -3.0, 0]), np.zeros(3), np.array([0, 0, 1.0]), focal=20, width=16, height=16)
    leaves = {
        "means": torch.from_numpy(random.uniform(-0.5, 0.5, (count, 3)).astype(np.float32)),
        "quats": torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        "log_scales": torch.full((count, 3), -5.0),
        "opacity_logits": torch.full((count,), -5.0),
        "colors": torch.full((count, 1), 0.5),
    }
    leaves = {name: leaf.requires_grad_() for name, leaf in leaves.items()}
    results = []
    for _ in range(2):
        for leaf in leaves.values():
            leaf.grad = None
        result = rasterize(**leaves, view=view)
        result.image.sum().backward()
        results.append((result.image.detach(), *(leaf.grad for leaf in leaves.values())))
    assert len(result.visible) == count
    assert torch.allclose(result.image[..., 0], 0.5 * result.alpha, atol=1e-5)
    assert result.alpha[8, 8] > 0.999
    # Each colour's gradient is its weight in the picture.
    assert results[0][-1].sum() == pytest.approx(float(result.alpha.detach().sum()), rel=1e-4)
    for first, second in pairwise(results):
        assert all(torch.equal(a, b) and torch.isfinite(a).all() for a, b in zip(first, second, strict=True))


def test_sums_are_bit_equal(degenerate, gaussians_of, camera) -> None:
    """Between runs and with 1 or 2 threads; pictures and gradients are in test_rasterize."""
    view = camera(90, 70)
    scene = gaussians_of(degenerate(["ordinary", "needle", "huge", "opaque"] * 100, view, seed=1, channels=1))
    random = np.random.default_rng(0)
    signal = random.normal(0, 1, (70, 90, 70)).astype(np.float32)
    labels = random.integers(-1, 9, (70, 90)).astype(np.int32)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            seen = Seen(scene, view)
            results.append(
                (
                    *seen.accumulate(signal),
                    *seen.accumulate(labels, labels=9),
                    seen.render_channels(np.tile(scene.means, 5)),
                    *seen.top_contributors(4),
                    seen.depth(),
                )
            )
    finally:
        torch.set_num_threads(before)
    for first, second in pairwise(results):
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(first, second, strict=True))
