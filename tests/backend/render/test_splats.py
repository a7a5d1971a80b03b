"""Compiled projection against the torch one in float64: the same splats, the same gradients, every time."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backend.render import projection, splats
from backend.scene.cameras import Camera, looking_at

NAMES = ("means", "quats", "log_scales", "opacity_logits")
VALUES = ("means2d", "conics", "opacities", "depths")


def camera(seed: int = 0, width: int = 61, height: int = 43) -> Camera:
    random = np.random.default_rng(seed)
    return looking_at(
        np.array([0.3, -3.0, 0.4]) + random.normal(0, 0.3, 3),
        random.normal(0, 0.3, 3),
        np.array([0.0, 0.0, 1.0]),
        focal=random.uniform(15, 90),
        width=width,
        height=height,
        cx=width * random.uniform(-0.2, 1.2),
        cy=height * random.uniform(0.3, 0.7),
    )


def scene(rows: int, seed: int, *, spread: float = 1.2) -> dict[str, torch.Tensor]:
    """Anisotropic and rotated, some behind the camera, some huge, some below a pixel."""
    random = np.random.default_rng(seed)
    arrays = {
        "means": random.normal(0, spread, (rows, 3)),
        "quats": random.normal(0, 1, (rows, 4)) * 10 ** random.uniform(-3, 3, (rows, 1)),
        "log_scales": random.uniform(np.log(1e-4), np.log(2), (rows, 3)),
        "opacity_logits": random.uniform(-7, 9, rows),
    }
    return {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}


def both(tensors: dict[str, torch.Tensor], view: Camera):
    """Compiled and true projection, each with leaves that take gradients."""
    for project, dtype in ((splats.project, torch.float32), (projection.project, torch.float64)):
        leaves = {name: tensors[name].to(dtype, copy=True).requires_grad_() for name in NAMES}
        yield leaves, project(*leaves.values(), view)


def pull_back(projected: projection.Projected, seed: int) -> None:
    """Give every output of the projection a random gradient."""
    generator = torch.Generator().manual_seed(seed)
    total = projected.depths.new_zeros(())
    for name in VALUES:
        values = getattr(projected, name)
        random = torch.randn(values.shape, generator=generator, dtype=torch.float64).to(values.dtype)
        total = total + (values * random).sum()
    total.backward()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.sampled_from([0, 1, 7, 300, 1100]),
    spread=st.sampled_from([0.3, 1.2, 4.0]),
    width=st.integers(1, 90),
    height=st.integers(1, 70),
    seed=st.integers(0, 10_000),
)
def test_values_and_gradients_are_those_of_the_true_projection(
    rows: int, spread: float, width: int, height: int, seed: int
) -> None:
    tensors, view = scene(rows, seed, spread=spread), camera(seed, width, height)
    _, exact = next(reversed(list(both(tensors, view))))
    # Rows within rounding of a threshold may fall on either side of it: leave them out of both.
    (_, found), _ = both(tensors, view)
    odd = np.setxor1d(found.rows.numpy(), exact.rows.numpy())
    assert len(odd) <= 1 + rows // 500
    kept = np.setdiff1d(np.arange(rows), odd)
    tensors = {name: tensor[kept] for name, tensor in tensors.items()}
    (leaves, found), (true_leaves, exact) = both(tensors, view)
    assert found.rejected == exact.rejected == 0
    assert sorted(found.rows.tolist()) == sorted(exact.rows.tolist())
    if torch.equal(found.rows, exact.rows):  # not so if two depths differ by less than float32 can say
        for name in VALUES:
            values, truth = getattr(found, name).detach().double(), getattr(exact, name).detach()
            assert torch.allclose(values, truth, rtol=1e-4, atol=1e-5 * max(width, height)), name
            assert (values - truth).norm() <= 3e-5 * truth.norm(), name
        assert ((found.radii - exact.radii).abs() <= 1).all()
        assert (found.radii == exact.radii).float().mean() > 0.99 or rows < 100
        pull_back(found, seed)
        pull_back(exact, seed)
        for name in NAMES:
            gradient, truth = leaves[name].grad.double(), true_leaves[name].grad
            if name == "quats":  # their gradients are as large as their norms are small
                norms = tensors[name].double().norm(dim=1, keepdim=True)
                gradient, truth = gradient * norms, truth * norms
            assert (gradient - truth).norm() <= 1e-4 * truth.norm(), name


def test_long_needles_keep_their_conics() -> None:
    """The determinant of a needle 1000 px long and a third wide does not cancel."""
    tensors = {
        "means": torch.zeros(1, 3),
        "quats": torch.tensor([[0.9, 0.1, 0.4, 0.2]]),
        "log_scales": torch.log(torch.tensor([[30.0, 1e-4, 1e-4]])),
        "opacity_logits": torch.zeros(1),
    }
    (_, found), (_, exact) = both(tensors, camera())
    assert torch.allclose(found.conics.detach().double(), exact.conics.detach(), rtol=1e-4)


def test_nearest_first_and_ties_by_row() -> None:
    tensors = scene(4000, 3)
    tensors["means"] = tensors["means"][torch.randint(0, 50, (4000,), generator=torch.Generator().manual_seed(0))]
    projected = splats.project(*tensors.values(), camera())
    expected = np.lexsort((projected.rows.numpy(), projected.depths.numpy()))
    assert np.array_equal(expected, np.arange(len(expected)))
    assert len(expected) > 1000


@pytest.mark.parametrize(
    ("name", "value"),
    [("means", np.nan), ("means", np.inf), ("quats", 0.0), ("quats", np.nan), ("log_scales", np.inf),
     ("log_scales", np.nan), ("opacity_logits", np.nan)],
)  # fmt: skip
def test_rows_that_are_no_gaussians_are_counted_and_left_out(name: str, value: float) -> None:
    tensors, view = scene(50, 1), camera()
    clean = splats.project(*tensors.values(), view)
    whole = tensors[name].dim() == 1 or name == "quats"
    for column in range(1 if whole else 3):
        dirty = {key: torch.cat([tensor, tensor[:1]]) for key, tensor in tensors.items()}
        if whole:
            dirty[name][-1] = value
        else:
            dirty[name][-1, column] = value
        (leaves, found), (_, exact) = both(dirty, view)
        assert found.rejected == exact.rejected == 1
        assert torch.equal(found.rows, clean.rows)
        assert torch.equal(found.conics, clean.conics)
        pull_back(found, 0)
        assert all(torch.isfinite(leaf.grad).all() and (leaf.grad[-1] == 0).all() for leaf in leaves.values())


def test_no_size_or_place_gives_a_number_that_is_none() -> None:
    """Whatever is kept has finite splats: scales from 0 to the largest float, depths from the near plane out."""
    random = np.random.default_rng(5)
    tensors = scene(3000, 5)
    tensors["log_scales"] = torch.tensor(random.uniform(-200, 100, (3000, 3)), dtype=torch.float32)
    view = camera()
    depths = 10 ** random.uniform(-3, 30, 3000)
    tensors["means"] = torch.tensor(view.centre + depths[:, None] * view.forward, dtype=torch.float32)
    projected = splats.project(*tensors.values(), view)
    assert len(projected.rows) > 100
    assert (projected.depths > projection.NEAR).all()
    for field in fields(projected):
        if field.name != "rejected":
            assert torch.isfinite(getattr(projected, field.name)).all(), field.name


def test_runs_and_thread_counts_are_bit_equal() -> None:
    tensors, view = scene(5000, 8), camera(8, 200, 150)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, before, before):
            torch.set_num_threads(threads)
            leaves, projected = next(iter(both(tensors, view)))
            pull_back(projected, 0)
            results.append(
                [getattr(projected, name) for name in ("rows", "radii", *VALUES)]
                + [leaf.grad for leaf in leaves.values()]
            )
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_only_one_output_may_matter() -> None:
    """Gradients of outputs nobody used are zero, not missing."""
    (leaves, found), (true_leaves, exact) = both(scene(200, 4), camera())
    found.depths.sum().backward()
    exact.depths.sum().backward()
    assert torch.allclose(leaves["means"].grad.double(), true_leaves["means"].grad, atol=1e-6)
    assert (leaves["quats"].grad == 0).all()


def test_no_index_leaves_its_array() -> None:
    """The same loops run by Python, where numpy checks every index: numba's own check skips parallel loops."""
    program = """
import numpy as np, torch
from backend.render import shading, splats
from backend.render.harmonics import Light
from backend.scene.cameras import looking_at
torch.set_num_threads(1)
view = looking_at(np.array([0, -3.0, 0]), np.zeros(3), np.array([0, 0, 1.0]), focal=30, width=31, height=17)
for rows in (0, 1, 513):
    leaves = [torch.randn(rows, *own).requires_grad_() for own in ((3,), (4,), (3,), (), (1, 3), (15, 3), (3, 2))]
    projected = splats.project(*leaves[:4], view)
    light = Light(torch.eye(3), torch.zeros(3), leaves[6], torch.ones(2))
    colors = shading.colors_of(projected.rows, leaves[0], *leaves[4:6], view.centre, light=light)
    (colors.sum() + projected.conics.sum() + projected.means2d.sum()).backward()
print("all within")
"""
    environment = dict(os.environ, NUMBA_DISABLE_JIT="1")
    command = [sys.executable, "-c", program]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert found.stdout.strip() == "all within", found.stderr[-2000:]
