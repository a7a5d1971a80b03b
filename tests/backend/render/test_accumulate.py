"""`accumulate` is the exact adjoint of `render_channels`, and both agree with the reference's weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.render import Seen, accumulate, depth, reference, render_channels, top_contributors
from backend.scene.cameras import Camera, looking_at
from backend.scene.gaussians import Gaussians


def view(width: int = 45, height: int = 33) -> Camera:
    return looking_at(
        np.array([0.3, -3.0, 0.4]),
        np.zeros(3),
        np.array([0.0, 0.0, 1.0]),
        focal=40.0,
        width=width,
        height=height,
        cx=width * 0.4,
    )


def gaussians(rows: int, seed: int) -> Gaussians:
    random = np.random.default_rng(seed)
    return Gaussians(
        means=random.normal(0, 0.7, (rows, 3)).astype(np.float32),
        quats=random.normal(0, 1, (rows, 4)).astype(np.float32),
        log_scales=random.uniform(np.log(0.01), np.log(0.4), (rows, 3)).astype(np.float32),
        opacity_logits=random.uniform(-4, 5, rows).astype(np.float32),
        sh0=random.normal(0, 1, (rows, 1, 3)).astype(np.float32),
        shN=np.zeros((rows, 0, 3), np.float32),
    )


def reference_weights(scene: Gaussians, camera: Camera) -> np.ndarray:
    """(H, W, N) blending weights."""
    tensors = {
        name: torch.from_numpy(getattr(scene, name)).double()
        for name in ("means", "quats", "log_scales", "opacity_logits")
    }
    names = torch.eye(len(scene), dtype=torch.float64)
    return reference.rasterize(**tensors, colors=names, view=camera)[0].numpy()


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(0, 120),
    channels=st.sampled_from([1, 3, 16, 70]),
    width=st.integers(1, 50),
    height=st.integers(1, 40),
    seed=st.integers(0, 10_000),
)
def test_adjoint_and_mass(rows: int, channels: int, width: int, height: int, seed: int) -> None:
    scene, camera = gaussians(rows, seed), view(width, height)
    random = np.random.default_rng(seed)
    features = random.normal(0, 1, (rows, channels)).astype(np.float32)
    signal = random.normal(0, 1, (height, width, channels)).astype(np.float32)
    weight = random.uniform(0, 1, (height, width)).astype(np.float32)
    seen = Seen(scene, camera)
    image = seen.render_channels(features)
    A, Z = seen.accumulate(signal, weight)
    left = (image.astype(float) * signal * weight[..., None]).sum()
    right = (A.astype(float) * features).sum()
    scale = (np.abs(image).astype(float) * np.abs(signal) * weight[..., None]).sum()
    assert abs(left - right) <= 1e-5 * scale + 1e-6
    assert Z.sum() == pytest.approx((seen.alpha() * weight).sum(), rel=1e-4, abs=1e-5)


def test_weights_equal_the_reference() -> None:
    scene, camera = gaussians(60, 3), view()
    expected = reference_weights(scene, camera)
    signal = np.random.default_rng(0).uniform(0, 1, (camera.height, camera.width, 5)).astype(np.float32)
    A, Z = accumulate(scene, camera, signal)
    assert np.allclose(A, np.einsum("hwn,hwc->nc", expected, signal), rtol=1e-3, atol=2e-3)
    assert np.allclose(Z, expected.sum((0, 1)), rtol=1e-3, atol=2e-3)
    assert np.allclose(render_channels(scene, camera, np.eye(60, dtype=np.float32)), expected, atol=1e-5)


@pytest.mark.parametrize("count", [6, 40])
def test_one_hot_features_equal_labels(count: int) -> None:
    scene, camera = gaussians(80, 4), view()
    random = np.random.default_rng(1)
    labels = random.integers(-1, count, (camera.height, camera.width)).astype(np.int32)
    weight = random.uniform(0, 2, labels.shape).astype(np.float32)
    one_hot = (labels[..., None] == np.arange(count)).astype(np.float32)
    A, Z = accumulate(scene, camera, one_hot, weight)
    A_labels, Z_labels = accumulate(scene, camera, labels, weight, labels=count)
    assert np.allclose(A, A_labels, rtol=1e-5, atol=1e-5)
    assert np.allclose(Z, Z_labels, rtol=1e-5, atol=1e-5)


def test_top_contributors_are_the_heaviest_in_depth_order() -> None:
    scene, camera = gaussians(90, 5), view()
    expected = reference_weights(scene, camera)
    depths = camera.project(scene.means)[1]
    pixels = np.array([[x, y] for x in range(0, 45, 4) for y in range(0, 33, 4)])
    ids, weights = top_contributors(scene, camera, pixels, 3)
    for (x, y), own_ids, own_weights in zip(pixels, ids, weights, strict=True):
        heaviest = np.sort(expected[y, x])[::-1][:3]
        assert np.allclose(np.sort(own_weights)[::-1], heaviest, atol=1e-5)
        held = own_ids[own_ids >= 0]
        assert (np.diff(depths[held]) >= 0).all()
        assert np.allclose(expected[y, x, held], own_weights[: len(held)], atol=1e-5)
        assert (own_weights[len(held) :] == 0).all()


def test_median_depth_is_where_light_halves() -> None:
    scene, camera = gaussians(150, 6), view()
    expected = reference_weights(scene, camera)
    order = np.argsort(camera.project(scene.means)[1], kind="stable")
    depths = camera.project(scene.means)[1]
    median, coverage = depth(scene, camera)
    absorbed = np.cumsum(expected[..., order], -1)
    half = absorbed >= 0.5
    off = np.abs(coverage - absorbed[..., -1])
    assert (off > 1e-5).mean() < 2e-3  # a pixel on a threshold may flip
    assert off.max() < 5e-3
    clear = (np.abs(absorbed - 0.5).min(-1) > 1e-4) & (off <= 1e-5)  # rounding decides elsewhere
    first = depths[order][half.argmax(-1)]
    assert np.isnan(median[clear & ~half.any(-1)]).all()
    chosen = clear & half.any(-1)
    assert np.allclose(median[chosen], first[chosen], rtol=1e-5)
