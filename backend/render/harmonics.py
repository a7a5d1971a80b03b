"""Spherical harmonics, a direction and a light into a colour, in torch, in the basis of 3D Gaussian Splatting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

C0 = 0.28209479177387814


@dataclass(frozen=True, eq=False)
class Light:
    """An affine change of every colour c_i: gain·c_i + offset + response_i·weights, before the clamp at black."""

    gain: Tensor  # (3, 3)
    offset: Tensor  # (3,)
    response: Tensor  # (N, 3, R), each row's own; N as many as there are harmonics
    weights: Tensor  # (R,)

    def on(self, colors: Tensor) -> Tensor:
        """The change of colours (N, 3), not clamped."""
        return colors @ self.gain.T + self.offset + self.response @ self.weights


# A change of another form: ids (S,) int64 of the visible rows, each once, with their harmonics sh0 (S, 1, 3) and shN
# (S, K-1, 3), into harmonics of the same shapes. What it costs is spent on what a view shows alone.
Relight = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def colors_from_sh(
    sh0: Tensor,  # (S, 1, 3)
    shN: Tensor,  # (S, K-1, 3), K in {1, 4, 9, 16}
    directions: Tensor,  # (S, 3), camera centre to Gaussian, any norm > 0
    degree: int | None = None,  # use only bases up to this degree; None: all
    light: Light | None = None,  # of the same S rows; None: the harmonics as they are
) -> Tensor:  # (S, 3), at least 0
    """max(0, light(SH(direction) + 0.5)), without the light the colour convention of every 3DGS file."""
    bases = shN.shape[1] if degree is None else min(shN.shape[1], (degree + 1) ** 2 - 1)
    color = C0 * sh0[:, 0] + 0.5
    if bases:
        basis = higher_bases(torch.nn.functional.normalize(directions, dim=-1), bases)
        color = color + (basis[:, :, None] * shN[:, :bases]).sum(1)
    return (color if light is None else light.on(color)).clamp_min(0)


def higher_bases(directions: Tensor, count: int) -> Tensor:
    """The first `count` (3, 8 or 15) bases beyond the constant one at unit directions (S, 3): (S, count)."""
    x, y, z = directions.unbind(-1)
    bases = [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if count > 3:
        xx, yy, zz, xy, yz, xz = x * x, y * y, z * z, x * y, y * z, x * z
        bases += [
            1.0925484305920792 * xy,
            -1.0925484305920792 * yz,
            0.31539156525252005 * (2 * zz - xx - yy),
            -1.0925484305920792 * xz,
            0.5462742152960396 * (xx - yy),
        ]
    if count > 8:
        bases += [
            -0.5900435899266435 * y * (3 * xx - yy),
            2.890611442640554 * xy * z,
            -0.4570457994644658 * y * (4 * zz - xx - yy),
            0.3731763325901154 * z * (2 * zz - 3 * xx - 3 * yy),
            -0.4570457994644658 * x * (4 * zz - xx - yy),
            1.445305721320277 * z * (xx - yy),
            -0.5900435899266435 * x * (xx - 3 * yy),
        ]
    return torch.stack(bases, -1)
