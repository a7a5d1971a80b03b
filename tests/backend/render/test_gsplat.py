"""gsplat's own torch projection and harmonics, which run on a CPU, as a second opinion. Skipped without gsplat."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.render.harmonics import colors_from_sh
from backend.render.projection import project

gsplat = pytest.importorskip("gsplat.cuda._torch_impl", reason="gsplat is not installed: pip install 'segwild[cuda]'")


@pytest.mark.parametrize("size", [(37, 29), (160, 40), (31, 200)])
def test_projection(scene, camera, size) -> None:
    view = camera(*size)
    tensors = scene(400, channels=1, seed=size[0], spread=1.5)
    names = ("means", "quats", "log_scales", "opacity_logits")
    own = {name: tensors[name].clone().requires_grad_() for name in names}
    theirs = {name: tensors[name].clone().requires_grad_() for name in names}
    projected = project(*own.values(), view)
    covariances, _ = gsplat._quat_scale_to_covar_preci(theirs["quats"], theirs["log_scales"].exp(), True, False)
    radii, means2d, depths, conics, _ = gsplat._fully_fused_projection(
        theirs["means"],
        covariances,
        torch.from_numpy(view.cam_from_world)[None],
        torch.from_numpy(view.intrinsics)[None],
        view.width,
        view.height,
    )
    rows = projected.rows
    assert len(rows) > 50
    assert (radii[0, rows] > 0).all()
    assert torch.allclose(projected.means2d, means2d[0, rows])
    assert torch.allclose(projected.depths, depths[0, rows])
    assert torch.allclose(projected.conics, conics[0, rows], rtol=1e-6, atol=1e-9)
    weight = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (len(rows), 3)))
    for conic, centre in ((projected.conics, projected.means2d), (conics[0, rows], means2d[0, rows])):
        ((conic * weight).sum() + (centre * weight[:, :2]).sum()).backward()
    for name in names[:3]:
        error = (own[name].grad - theirs[name].grad).norm() / theirs[name].grad.norm()
        assert error < 1e-7, name


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_harmonics(scene, degree) -> None:
    tensors = scene(200, channels=None, seed=degree, bases=(degree + 1) ** 2 - 1)
    directions = torch.from_numpy(np.random.default_rng(degree).normal(0, 2, (200, 3)))
    own = colors_from_sh(tensors["sh0"], tensors["shN"], directions)
    theirs = gsplat._spherical_harmonics(degree, directions, torch.cat([tensors["sh0"], tensors["shN"]], 1))
    assert torch.allclose(own, (theirs + 0.5).clamp_min(0))
