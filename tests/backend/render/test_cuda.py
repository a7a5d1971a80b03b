"""The CUDA engine against the CPU engine.

Without a CUDA device the same comparisons run with a stand-in for gsplat on a pretended device, so that
shapes, devices, passes, gradients and ids are checked everywhere; `gpu` tests run the real thing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pretend_gsplat
import pytest
import torch
from pretend_device import AWAY, PretendDevice

from backend.render import Light, Seen, cuda, cuda_sums, engine, rasterize
from backend.render.cuda_seen import SeenOnDevice, seen_by
from backend.scene.cameras import Camera, looking_at
from backend.scene.gaussians import Gaussians

CACHES = (cuda.alpha_max, cuda_sums.kernels_fault, engine.diagnosis)


# Where gsplat is compiled by the first test that needs it, torch warns about the architectures.
REAL = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::UserWarning:torch.utils.cpp_extension")]


@pytest.fixture(params=["pretended", pytest.param("cuda", marks=REAL)])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A device to draw on: a real one, or a pretended one with a stand-in for gsplat."""
    for cached in CACHES:
        cached.cache_clear()
    if request.param == "cuda":
        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
        yield "cuda"
    else:
        monkeypatch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
        with PretendDevice():
            yield str(AWAY)
    for cached in CACHES:
        cached.cache_clear()


def camera(width: int = 37, height: int = 29) -> Camera:
    return looking_at(
        np.array([0.3, -3.0, 0.4]),
        np.zeros(3),
        np.array([0.0, 0.0, 1.0]),
        focal=34.0,
        width=width,
        height=height,
        cx=width * 0.4,
        cy=height * 0.55,
    )


def scene(rows: int, *, channels: int | None, seed: int = 0) -> dict[str, torch.Tensor]:
    """Anisotropic, rotated, partly behind the camera or off screen; harmonics if channels is None."""
    random = np.random.default_rng(seed)
    arrays = {
        "means": random.normal(0, 0.9, (rows, 3)),
        "quats": random.normal(0, 1, (rows, 4)) * random.uniform(0.2, 3, (rows, 1)),
        "log_scales": random.uniform(np.log(0.01), np.log(0.4), (rows, 3)),
        "opacity_logits": random.uniform(-6, 4, rows),
    }
    if channels is None:
        arrays["sh0"] = random.normal(0, 1, (rows, 1, 3))
        arrays["shN"] = random.normal(0, 0.3, (rows, 15, 3))
    else:
        arrays["colors"] = random.uniform(0, 1, (rows, channels))
    arrays["background"] = random.uniform(0, 1, channels or 3)
    return {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}


def gaussians(rows: int, seed: int = 0) -> Gaussians:
    arrays = {name: tensor.numpy() for name, tensor in scene(rows, channels=None, seed=seed).items()}
    arrays.pop("background")
    return Gaussians(**arrays)


def drawn(tensors: dict[str, torch.Tensor], device: str, **options: object) -> dict[str, torch.Tensor]:
    leaves = {name: tensor.clone().to(device).requires_grad_() for name, tensor in tensors.items()}
    result = rasterize(**leaves, view=camera(), **options)
    random = np.random.default_rng(7)
    total = 0.0
    for picture in (result.image, result.alpha, result.depth_expected):
        if picture is not None:
            total = total + (picture * torch.tensor(random.normal(0, 1, picture.shape)).float().to(device)).sum()
    total.backward()
    found = {
        "image": result.image,
        "alpha": result.alpha,
        "visible": result.visible,
        "means2d": result.means2d,
        "v_means2d": result.means2d.grad,
        "absgrad": getattr(result.means2d, "absgrad", None),
        "depth_expected": result.depth_expected,
        "depth_median": result.depth_median,
    } | {f"v_{name}": leaf.grad for name, leaf in leaves.items()}
    assert result.radii.shape == result.means2d.shape
    assert result.radii.dtype == torch.float32
    return {name: value.detach().cpu() for name, value in found.items() if value is not None}


def agree(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(expected)
    assert torch.equal(found["visible"], expected["visible"])
    for name, value in expected.items():
        own = found[name]
        assert own.shape == value.shape, name
        assert own.dtype == value.dtype, name
        if name in ("image", "alpha", "depth_expected", "depth_median"):
            both = torch.isfinite(value) == torch.isfinite(own)
            off = torch.where(both, (own - value).nan_to_num().abs(), torch.ones_like(value))
            assert (off > 1e-3).float().mean() <= 1e-3, name  # a pixel on a threshold may flip
        elif name != "visible":
            assert (own - value).norm() <= 1e-3 * value.norm() + 1e-6, name


@pytest.mark.parametrize("channels", [None, 1, 3, 6, 33, 70])
def test_pictures_and_gradients_equal_the_cpu_engine(device: str, channels: int | None) -> None:
    options = {"absgrad": channels in (None, 1, 3, 6), "depth_expected": channels in (None, 33), "depth_median": True}
    tensors = scene(60, channels=channels)
    agree(drawn(tensors, device, **options), drawn(tensors, "cpu", **options))


def test_lower_degrees_leave_the_higher_harmonics_alone(device: str) -> None:
    tensors = scene(40, channels=None)
    for degree in (0, 1, 2):
        agree(drawn(tensors, device, sh_degree=degree), drawn(tensors, "cpu", sh_degree=degree))


def test_gradients_reach_the_light(device: str) -> None:
    tensors, random = scene(40, channels=None), np.random.default_rng(3)
    shapes = {"gain": (3, 3), "offset": (3,), "response": (40, 3, 4), "weights": (4,)}
    light = {name: torch.tensor(random.normal(0, 0.3, shape)).float() for name, shape in shapes.items()}
    found = []
    for place in ("cpu", device):
        leaves = {name: tensor.clone().to(place).requires_grad_() for name, tensor in light.items()}
        there = {name: tensor.to(place) for name, tensor in tensors.items()}
        rasterize(**there, view=camera(), light=Light(**leaves)).image.square().sum().backward()
        found.append({name: leaf.grad.cpu() for name, leaf in leaves.items()})
    for name, expected in found[0].items():
        assert (found[1][name] - expected).norm() <= 1e-3 * expected.norm(), name


def test_bad_rows_are_counted_left_out_and_get_no_gradient(device: str) -> None:
    tensors = scene(50, channels=3)
    for name, value in (("means", np.nan), ("log_scales", np.inf), ("quats", 0.0), ("opacity_logits", np.nan)):
        dirty = {key: tensor.clone() for key, tensor in tensors.items()}
        dirty[name][7] = value
        here, there = drawn(dirty, "cpu"), drawn(dirty, device)
        agree(there, here)
        assert all(torch.isfinite(there[f"v_{key}"]).all() for key in tensors)
        assert rasterize(**{key: tensor.to(device) for key, tensor in dirty.items()}, view=camera()).rejected == 1


@pytest.mark.parametrize("rows", [0, 2])
def test_nothing_to_see_is_background(device: str, rows: int) -> None:
    tensors = scene(rows, channels=3)
    tensors["means"] = tensors["means"] * 0 + torch.tensor([0.0, -50.0, 0.0])
    options = {"absgrad": True, "depth_expected": True, "depth_median": True}
    agree(drawn(tensors, device, **options), drawn(tensors, "cpu", **options))


def test_two_backward_passes_over_one_picture(device: str) -> None:
    tensors = {name: tensor.to(device).requires_grad_() for name, tensor in scene(30, channels=3).items()}
    image = rasterize(**tensors, view=camera()).image
    image.sum().backward(retain_graph=True)
    once = tensors["means"].grad.clone()
    image.sum().backward()
    assert torch.allclose(tensors["means"].grad.cpu(), 2 * once.cpu(), rtol=1e-4)


def test_only_what_needs_a_gradient_gets_one(device: str) -> None:
    tensors = {name: tensor.to(device) for name, tensor in scene(30, channels=3).items()}
    assert not rasterize(**tensors, view=camera()).image.requires_grad
    tensors["colors"].requires_grad_()
    rasterize(**tensors, view=camera()).image.sum().backward()
    assert tensors["colors"].grad is not None
    assert tensors["means"].grad is None


def test_absgrad_of_many_channels_is_refused(device: str) -> None:
    tensors = {name: tensor.to(device).requires_grad_() for name, tensor in scene(5, channels=40).items()}
    with pytest.raises(ValueError, match="at most 32 channels"):
        rasterize(**tensors, view=camera(), absgrad=True)


@pytest.mark.parametrize("way", ["gsplat", pytest.param("triton", marks=pytest.mark.gpu)])
@pytest.mark.parametrize("channels", [0, 1, 31, 32, 70])
def test_accumulate_equals_the_cpu_engine(device: str, channels: int, way: str, monkeypatch) -> None:
    monkeypatch.setattr(cuda_sums, "best_way", lambda _: way)
    if device != "cuda" and way == "triton":
        pytest.skip("Triton's kernels run on the real device, or in test_cuda_kernels")
    model, view = gaussians(80), camera()
    here, there = Seen(model, view), SeenOnDevice(model, view, device)
    random = np.random.default_rng(1)
    signal = random.normal(0, 1, (view.height, view.width, channels)).astype(np.float32)
    weight = random.uniform(0, 1, (view.height, view.width)).astype(np.float32)
    for mask in (None, weight):
        A, Z = there.accumulate(signal, mask)
        expected_A, expected_Z = here.accumulate(signal, mask)
        assert A.shape == expected_A.shape
        assert A.dtype == Z.dtype == np.float32
        assert np.abs(A - expected_A).max(initial=0) <= 1e-3 * np.abs(expected_A).max(initial=1)
        assert np.abs(Z - expected_Z).max() <= 1e-3 * expected_Z.max()
    labels = random.integers(-1, 40, (view.height, view.width))
    for own, value in zip(
        there.accumulate(labels, weight, labels=40), here.accumulate(labels, weight, labels=40), strict=True
    ):
        assert own.shape == value.shape
        assert np.abs(own - value).max() <= 1e-3 * value.max()


def test_views_equal_the_cpu_engine(device: str) -> None:
    model, view = gaussians(90, seed=2), camera()
    here, there = seen_by("cpu", model, view), SeenOnDevice(model, view, device)
    assert np.array_equal(here.rows, there.rows)
    features = np.random.default_rng(0).normal(0, 1, (90, 40)).astype(np.float32)
    assert (np.abs(there.render_channels(features) - here.render_channels(features)) > 1e-3).mean() < 1e-3
    assert (np.abs(there.alpha() - here.alpha()) > 1e-3).mean() < 1e-3
    assert (np.abs(there.picture(model)[0] - here.picture(model)[0]) > 1e-3).mean() < 1e-3
    assert np.allclose(there.mass(), here.mass(), rtol=1e-3, atol=1e-3)
    assert np.allclose(there.depth(), here.depth(), rtol=1e-4, equal_nan=True)
    ids, weights = there.top_contributors(3)
    expected_ids, expected_weights = here.top_contributors(3)
    assert ids.dtype == expected_ids.dtype
    assert (ids != expected_ids).mean() < 1e-3
    assert (np.abs(weights - expected_weights) > 1e-3).mean() < 1e-3


def test_a_view_of_nothing(device: str) -> None:
    model, view = gaussians(0), camera()
    seen = SeenOnDevice(model, view, device)
    A, Z = seen.accumulate(np.ones((view.height, view.width, 2), np.float32))
    assert A.shape == (0, 2)
    assert Z.shape == (0,)
    assert not seen.alpha().any()
    assert seen.render_channels(np.zeros((0, 5), np.float32)).shape == (29, 37, 5)
    with pytest.raises(ValueError, match="signal: expected"):
        seen.accumulate(np.zeros((2, 2, 1), np.float32))


def test_the_clamp_of_alpha_is_measured(device: str) -> None:
    assert cuda.alpha_max(device) in (pytest.approx(0.999), pytest.approx(0.99))


def test_the_smoke_picture_agrees(device: str) -> None:
    assert engine.smoke(device) < engine.TOLERANCE


@pytest.mark.gpu
def test_a_cuda_device_is_used() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    found = engine.diagnosis()
    assert found.works, found.sentence
    assert engine.chosen_engine("auto") == "cuda"


@pytest.mark.gpu
def test_own_kernels_work_on_linux() -> None:
    if not torch.cuda.is_available() or sys.platform != "linux":
        pytest.skip("needs a CUDA device under Linux")
    assert cuda_sums.kernels_fault("cuda") == ""


@pytest.mark.gpu
def test_own_sums_are_bit_equal_between_runs() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    model, view = gaussians(400), camera(120, 90)
    signal = np.random.default_rng(0).normal(0, 1, (90, 120, 16)).astype(np.float32)
    first, second = (SeenOnDevice(model, view).accumulate(signal) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
