"""Gaussians and a camera into a picture: the one rendering interface of SegWild.

One call takes one view, because photos differ in size. Memory is channel-last.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from backend.render import checked, cpu, sums
from backend.render.harmonics import Light, Relight
from backend.render.shading import colors_of
from backend.render.splats import project
from backend.scene.cameras import Camera


@dataclass(frozen=True)
class Rendered:
    """A picture and what density control wants to know about it."""

    image: Tensor  # (H, W, D): sum of w_i·c_i plus T_end·background, w_i = alpha_i·T_i
    alpha: Tensor  # (H, W): 1 - T_end
    depth_expected: Tensor | None  # (H, W): sum of w_i·z_i over max(alpha, 1e-10); differentiable
    depth_median: Tensor | None  # (H, W): z of the first Gaussian after which T <= 0.5; NaN if none
    visible: Tensor  # (S,) int64 ids, nearest first
    means2d: Tensor  # (S, 2) px; .grad and, if asked for, .absgrad after the backward pass
    radii: Tensor  # (S, 2) px
    rejected: int  # rows left out because they hold NaN, infinity or a zero quaternion


def rasterize(
    *,
    means: Tensor,  # (N, 3) float32, world
    quats: Tensor,  # (N, 4) float32, wxyz, any norm > 0
    log_scales: Tensor,  # (N, 3) float32
    opacity_logits: Tensor,  # (N,) float32
    view: Camera,
    sh0: Tensor | None = None,  # (N, 1, 3) float32
    shN: Tensor | None = None,  # (N, K-1, 3) float32
    colors: Tensor | None = None,  # (N, D) float32, final values, instead of harmonics
    background: Tensor | None = None,  # (D,) float32; None: black
    sh_degree: int | None = None,  # use harmonics up to this degree; None: all there are
    light: Light | Relight | None = None,  # a change of the harmonics' colours; None: as they are
    depth_expected: bool = False,
    depth_median: bool = False,
    absgrad: bool = False,
) -> Rendered:
    """Draw one view. Gradients reach every array, through the harmonics' direction and the light too.

    The engine follows the tensors: those on the CPU are drawn by `cpu`, all others by `cuda`. Raises TypeError
    or ValueError, naming the argument, if shapes, dtypes or the view make no sense.
    """
    checked.view(view)
    checked.gaussians(
        means=means,
        quats=quats,
        log_scales=log_scales,
        opacity_logits=opacity_logits,
        sh0=sh0,
        shN=shN,
        colors=colors,
        background=background,
        sh_degree=sh_degree,
        light=light,
    )
    if means.device.type != "cpu":
        from backend.render import cuda  # which needs this module

        return cuda.rasterize(
            means=means,
            quats=quats,
            log_scales=log_scales,
            opacity_logits=opacity_logits,
            view=view,
            sh0=sh0,
            shN=shN,
            colors=colors,
            background=background,
            sh_degree=sh_degree,
            light=light,
            depth_expected=depth_expected,
            depth_median=depth_median,
            absgrad=absgrad,
        )
    projected = project(means, quats, log_scales, opacity_logits, view)
    if projected.means2d.requires_grad:
        projected.means2d.retain_grad()
    rows = projected.rows
    if colors is None:
        assert sh0 is not None  # checked
        assert shN is not None
        own = rows
        if callable(light):
            sh0, shN = light(rows, cpu.picked(sh0, rows), cpu.picked(shN, rows))
            own, means, light = torch.arange(len(rows)), cpu.picked(means, rows), None
        seen = colors_of(own, means, sh0, shN, view.centre, degree=sh_degree, light=light)
    else:
        seen = cpu.picked(colors, rows)
    channels = seen.shape[1]
    if background is None:
        background = seen.new_zeros(channels)
    if depth_expected:
        seen = torch.cat([seen, projected.depths[:, None]], 1)
        background = torch.cat([background, background.new_zeros(1)])
    bins = cpu.binned(projected, view.width, view.height)
    image, alpha = cpu.composite(projected, seen, background, bins, absgrad=absgrad)
    expected = median = None
    if depth_expected:
        expected = image[..., channels] / alpha.clamp_min(1e-10)
        image = image[..., :channels]
    if depth_median:
        depths = projected.depths.detach().contiguous().numpy()
        with cpu.Threads() as workers:
            median = torch.from_numpy(sums.median_depth(bins, depths, workers))
    return Rendered(image, alpha, expected, median, rows, projected.means2d, projected.radii, projected.rejected)
