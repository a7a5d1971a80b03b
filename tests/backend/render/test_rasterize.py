"""The CPU engine against the float64 reference: pictures, gradients, the stop rule, determinism."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.render import rasterize, reference
from backend.render.projection import project
from backend.scene.cameras import looking_at


@pytest.mark.parametrize("channels", [None, 1, 3, 5, 32, 33])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pictures_and_gradients_equal_the_reference(scene, camera, drawn, channels: int | None, seed: int) -> None:
    tensors = scene(60, channels=channels, seed=seed)
    # Both engines start from the same numbers, so that thresholds fall on the same side.
    tensors = {name: tensor.float().double() for name, tensor in tensors.items()}
    image, alpha, gradients = drawn(rasterize, tensors, camera(), torch.float32)
    expected, expected_alpha, expected_gradients = drawn(reference.rasterize, tensors, camera(), torch.float64)
    off = np.abs(image - expected).max(-1)
    assert (off > 1e-5).mean() <= 1e-3
    assert (np.abs(alpha - expected_alpha) > 1e-5).mean() <= 1e-3
    for name, gradient in expected_gradients.items():
        error = np.linalg.norm(gradients[name] - gradient) / max(np.linalg.norm(gradient), 1e-12)
        assert error < 1e-4, f"{name}: {error:.2e}"


def test_reference_gradients_equal_finite_differences(scene, camera) -> None:
    tensors = scene(6, channels=3, seed=3, spread=0.4)
    tensors["opacity_logits"] = torch.linspace(-1, 1, 6, dtype=torch.float64)
    leaves = {name: tensor.clone().requires_grad_() for name, tensor in tensors.items()}
    view = camera(9, 7).resized(9, 7)

    def total(values: dict[str, torch.Tensor]) -> torch.Tensor:
        image, alpha, _ = reference.rasterize(**values, view=view)
        return (image * torch.linspace(0.5, 1.5, image.numel(), dtype=torch.float64).reshape(image.shape)).sum() + (
            alpha.square()
        ).sum()

    total(leaves).backward()
    random = np.random.default_rng(0)
    for name, leaf in leaves.items():
        direction = torch.tensor(random.normal(0, 1, leaf.shape))
        step = 1e-6
        ahead = total({**tensors, name: tensors[name] + step * direction})
        back = total({**tensors, name: tensors[name] - step * direction})
        numeric = float((ahead - back) / (2 * step))
        exact = float((leaf.grad * direction).sum())
        assert exact == pytest.approx(numeric, rel=2e-3, abs=1e-5), name


def test_a_closed_pixel_stays_closed() -> None:
    """A strong splat that would exhaust the light is left out, and no weaker one behind it gets in."""
    depths = torch.tensor([0.0, 0.1, 0.2])
    tensors = {
        "means": torch.stack([torch.zeros(3), depths, torch.zeros(3)], 1),
        "quats": torch.tensor([[1.0, 0, 0, 0]]).repeat(3, 1),
        "log_scales": torch.full((3, 3), np.log(2.0)),
        "opacity_logits": torch.tensor([20.0, 20.0, -1.0]),
        "colors": torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]]),
    }
    view = looking_at(np.array([0, -3.0, 0]), np.zeros(3), np.array([0, 0, 1.0]), focal=20, width=16, height=16)
    centre = rasterize(**tensors, view=view).image[8, 8]
    assert 0.998 < centre[0] <= 0.999
    assert centre[1] == 0
    assert centre[2] == 0


@pytest.mark.parametrize("channels", [None, 32, 33])
def test_runs_and_thread_counts_are_bit_equal(scene, camera, drawn, channels: int | None) -> None:
    tensors = scene(400, channels=channels, seed=5)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            results.append(drawn(rasterize, tensors, camera(120, 90), torch.float32))
    finally:
        torch.set_num_threads(before)
    for image, alpha, gradients in results[1:]:
        assert np.array_equal(image, results[0][0])
        assert np.array_equal(alpha, results[0][1])
        for name in gradients:
            assert np.array_equal(gradients[name], results[0][2][name]), name


def test_a_picture_changed_in_place_has_no_wrong_gradients(scene, camera) -> None:
    """The backward pass reads the picture that was handed out, and says so if it is no longer the same."""
    tensors = {k: v.float().requires_grad_() for k, v in scene(30, channels=3, seed=2, background=False).items()}
    image = rasterize(**tensors, view=camera()).image
    image.detach().mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        image.sum().backward()


def test_row_order_does_not_matter(scene, camera) -> None:
    tensors = scene(200, channels=3, seed=6)
    order = torch.randperm(200, generator=torch.Generator().manual_seed(0))
    shuffled = {name: tensor if name == "background" else tensor[order] for name, tensor in tensors.items()}
    first = rasterize(**{k: v.float() for k, v in tensors.items()}, view=camera())
    second = rasterize(**{k: v.float() for k, v in shuffled.items()}, view=camera())
    # Vectorised torch kernels round the last rows of an array differently.
    assert torch.allclose(first.image, second.image, atol=1e-5)
    assert torch.equal(order[second.visible], first.visible)


@pytest.mark.parametrize("rows", [0, 1])
def test_nothing_to_see_is_background(scene, camera, rows: int) -> None:
    tensors = scene(rows, channels=3, seed=0)
    tensors["means"] = tensors["means"] * 0 + torch.tensor([0.0, -50.0, 0.0])
    result = rasterize(**{k: v.float() for k, v in tensors.items()}, view=camera())
    assert torch.equal(result.image, tensors["background"].float().expand(29, 37, 3))
    assert len(result.visible) == 0


def test_bad_rows_are_counted_and_left_out(scene, camera) -> None:
    tensors = {k: v.float() for k, v in scene(50, channels=3, seed=1).items()}
    clean = rasterize(**tensors, view=camera())
    for name, value in (("means", np.nan), ("log_scales", np.inf), ("quats", 0.0)):
        bad = tensors[name][:1].clone().fill_(value)
        dirty = {k: v if k == "background" else torch.cat([v, v[:1]]) for k, v in tensors.items()}
        dirty[name] = torch.cat([tensors[name], bad])
        result = rasterize(**dirty, view=camera())
        assert result.rejected == 1
        assert torch.equal(result.image, clean.image)


def test_depths_of_an_opaque_wall() -> None:
    grid = torch.stack(torch.meshgrid(torch.linspace(-2, 2, 41), torch.linspace(-2, 2, 41), indexing="ij"), -1)
    means = torch.cat([grid[..., :1], torch.zeros_like(grid[..., :1]), grid[..., 1:]], -1).reshape(-1, 3)
    count = len(means)
    view = looking_at(np.array([0, -3.0, 0]), np.zeros(3), np.array([0, 0, 1.0]), focal=30, width=30, height=20)
    result = rasterize(
        means=means,
        quats=torch.tensor([[1.0, 0, 0, 0]]).repeat(count, 1),
        log_scales=torch.tensor([[0.1, 0.001, 0.1]]).log().repeat(count, 1),
        opacity_logits=torch.full((count,), 3.0),
        colors=torch.ones(count, 1),
        view=view,
        depth_expected=True,
        depth_median=True,
    )
    assert torch.allclose(result.depth_expected, torch.full((20, 30), 3.0), atol=1e-4)
    assert torch.allclose(result.depth_median, torch.full((20, 30), 3.0), atol=1e-4)


def test_absgrad_bounds_the_gradient(scene, camera) -> None:
    tensors = {k: v.float().requires_grad_() for k, v in scene(80, channels=3, seed=9).items()}
    result = rasterize(**tensors, view=camera(), absgrad=True)
    (result.image * torch.randn(result.image.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert (result.means2d.absgrad + 1e-5 >= result.means2d.grad.abs()).all()
    assert result.means2d.absgrad.max() > 0


def test_projection_keeps_everything_the_picture_can_show(scene, camera) -> None:
    """The cheap cull before the exact one never drops a visible row."""
    tensors = scene(2000, channels=3, seed=11, spread=2.0)
    view = camera()
    projected = project(*(tensors[n] for n in ("means", "quats", "log_scales", "opacity_logits")), view)
    _, _, weights = reference.rasterize(**tensors, view=view)
    assert weights.shape[-1] == len(projected.rows)
    pixels, depths = view.project(tensors["means"].numpy())
    inside = (
        (depths > 0.01)
        & (pixels >= 0).all(1)
        & (pixels < (view.width, view.height)).all(1)
        & (torch.sigmoid(tensors["opacity_logits"]).numpy() > 1 / 255)
    )
    assert set(np.nonzero(inside)[0]) <= set(projected.rows.tolist())
