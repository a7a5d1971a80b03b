"""Our Triton kernels against the CPU engine's, in Triton's interpreter where there is no CUDA device."""

from __future__ import annotations

import importlib.util
import os
import sys

import numpy as np
import pretend_gsplat
import pytest
import torch

from backend.render import Seen, cuda, cuda_sums
from backend.render.cuda_seen import SeenOnDevice
from backend.render.tiles import ALPHA_MAX
from backend.scene.cameras import Camera, looking_at
from backend.scene.gaussians import Gaussians

if importlib.util.find_spec("triton") is None:
    pytest.skip("needs Triton: pip install triton", allow_module_level=True)
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are made

from backend.render.cuda_kernels import Walk

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def view(width: int = 37, height: int = 29) -> Camera:
    return looking_at(
        np.array([0.3, -3.0, 0.4]), np.zeros(3), np.array([0.0, 0.0, 1.0]), focal=40.0, width=width, height=height
    )


def gaussians(rows: int, seed: int, *, opacity: float = 0.0) -> Gaussians:
    random = np.random.default_rng(seed)
    return Gaussians(
        means=random.normal(0, 0.7, (rows, 3)).astype(np.float32),
        quats=random.normal(0, 1, (rows, 4)).astype(np.float32),
        log_scales=random.uniform(np.log(0.02), np.log(0.5), (rows, 3)).astype(np.float32),
        opacity_logits=random.uniform(opacity - 4, opacity + 4, rows).astype(np.float32),
        sh0=np.zeros((rows, 1, 3), np.float32),
        shN=np.zeros((rows, 0, 3), np.float32),
    )


def walk(seen: Seen) -> Walk:
    """The lists that gsplat would make of a view: all splats of a tile's box, nearest first."""
    projected, width, height = seen.projected, seen.view.width, seen.view.height
    tiles_x, tiles_y = -(-width // 16), -(-height // 16)
    low = ((projected.means2d - projected.radii) / 16).floor().long()
    high = ((projected.means2d + projected.radii) / 16).ceil().long()
    lists, starts = [], [0]
    for tile in range(tiles_x * tiles_y):
        at = torch.tensor([tile % tiles_x, tile // tiles_x])
        inside = ((low <= at) & (at < high)).all(1).nonzero()[:, 0]
        lists.append(inside.to(torch.int32))
        starts.append(starts[-1] + len(inside))
    return Walk(
        torch.cat([projected.means2d, projected.conics, projected.opacities[:, None]], 1).to(DEVICE),
        torch.cat(lists).to(DEVICE),
        torch.tensor(starts, dtype=torch.int32, device=DEVICE),
        width=width,
        height=height,
        alpha_max=float(ALPHA_MAX),
    )


@pytest.fixture(params=[(60, 0, 0.0), (90, 1, 5.0), (1, 2, 0.0), (0, 3, 0.0)], ids=str)
def seen(request: pytest.FixtureRequest) -> Seen:
    rows, seed, opacity = request.param
    return Seen(gaussians(rows, seed, opacity=opacity), view())


@pytest.mark.parametrize("channels", [1, 20])
def test_sums_equal_the_cpu_kernels(seen: Seen, channels: int) -> None:
    signal = np.random.default_rng(0).normal(0, 1, (29, 37, channels)).astype(np.float32)
    own = walk(seen).accumulate(torch.from_numpy(signal).to(DEVICE)).cpu().numpy()
    expected = seen.accumulate(signal)[0][seen.rows]
    assert own.shape == expected.shape
    # A pixel on a threshold may flip: not one sum may be far off, and most must be equal to rounding.
    assert np.abs(own - expected).max(initial=0) <= 2e-2
    assert (np.abs(own - expected) > 1e-4 * np.abs(expected).max(initial=1)).mean() <= 1e-2 if own.size else True


def test_median_depths_equal_the_cpu_kernels(seen: Seen) -> None:
    own = walk(seen).median_depth(seen.projected.depths.to(DEVICE)).cpu().numpy()
    expected = seen.depth()
    assert own.shape == expected.shape
    assert (~np.isclose(own, expected, equal_nan=True)).mean() <= 2e-3


@pytest.mark.parametrize("k", [1, 3, 8])
def test_top_contributors_equal_the_cpu_kernels(seen: Seen, k: int) -> None:
    splats, weights = (found.cpu().numpy() for found in walk(seen).top_contributors(k))
    ids = np.where(splats >= 0, seen.rows[splats] if len(seen.rows) else -1, -1)
    expected_ids, expected_weights = seen.top_contributors(k)
    assert ids.shape == expected_ids.shape
    assert (ids != expected_ids).mean() <= 2e-3
    assert (np.abs(weights - expected_weights) > 1e-5).mean() <= 2e-3
    assert ((ids >= 0) == (weights > 0)).all()


def test_a_closed_pixel_stays_closed() -> None:
    """A strong splat that would exhaust the light is left out, and no weaker one behind it gets in."""
    count = 40  # more than one turn of the kernel
    scene = Gaussians(
        means=np.stack([np.zeros(count), np.linspace(0, 1, count), np.zeros(count)], 1).astype(np.float32),
        quats=np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
        log_scales=np.full((count, 3), np.log(2.0), np.float32),
        opacity_logits=np.array([20.0, 20.0] + [-1.0] * (count - 2), np.float32),
        sh0=np.zeros((count, 1, 3), np.float32),
        shN=np.zeros((count, 0, 3), np.float32),
    )
    seen = Seen(
        scene, looking_at(np.array([0, -3.0, 0]), np.zeros(3), np.array([0, 0, 1.0]), focal=20, width=16, height=16)
    )
    mass = walk(seen).accumulate(torch.ones(16, 16, 1, device=DEVICE)).cpu().numpy()[:, 0]
    assert mass[0] > 200
    assert np.allclose(mass, seen.mass()[seen.rows], rtol=1e-4, atol=1e-4)


def test_too_many_channels_or_contributors_are_refused() -> None:
    own = walk(Seen(gaussians(5, 0), view()))
    with pytest.raises(ValueError, match="at most 32 channels"):
        own.accumulate(torch.zeros(29, 37, 33, device=DEVICE))
    with pytest.raises(ValueError, match="expected 1 to 32"):
        own.top_contributors(33)


def test_a_view_drawn_by_gsplat_and_added_up_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """From projection to sums, on the lists that gsplat makes (or its stand-in)."""
    if DEVICE == "cpu":
        monkeypatch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
    for cached in (cuda_sums.kernels_fault, cuda.alpha_max):
        cached.cache_clear()
    assert cuda_sums.kernels_fault(DEVICE) == ""
    model = gaussians(70, 4)
    here, there = Seen(model, view()), SeenOnDevice(model, view(), DEVICE)
    random = np.random.default_rng(2)
    labels = random.integers(-1, 40, (29, 37))
    weight = random.uniform(0, 1, labels.shape).astype(np.float32)
    for own, expected in zip(
        there.accumulate(labels, weight, labels=40), here.accumulate(labels, weight, labels=40), strict=True
    ):
        assert np.abs(own - expected).max() <= 1e-3 * expected.max()
    assert (~np.isclose(there.depth(), here.depth(), rtol=1e-4, equal_nan=True)).mean() <= 2e-3
    assert (there.top_contributors(5)[0] != here.top_contributors(5)[0]).mean() <= 2e-3
    assert there.top_contributors(40)[0].shape == (29, 37, 40)  # more than the kernel keeps: by the CPU
    for cached in (cuda_sums.kernels_fault, cuda.alpha_max):
        cached.cache_clear()
