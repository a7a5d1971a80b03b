"""The CPU engine: torch projection, compiled compositing, one autograd function between them."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numba
import numpy as np
import torch
from torch import Tensor

from backend.render import kernels
from backend.render.projection import Projected

# numba's fallback threading layer aborts on concurrent entry.
_lock = threading.Lock()


class Threads:
    """Holds the kernels for one thread of ours and gives them as many cores as torch has."""

    def __enter__(self) -> None:
        _lock.acquire()
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))

    def __exit__(self, *_: object) -> None:
        _lock.release()


@dataclass(frozen=True)
class Binned:
    """Projected splats sorted into tiles: what every kernel walks."""

    splats: np.ndarray  # (S, 8) float32, columns as in kernels
    tile_start: np.ndarray
    slot_splat: np.ndarray
    splat_start: np.ndarray
    splat_slot: np.ndarray
    tiles_x: int
    width: int
    height: int


def binned(projected: Projected, width: int, height: int) -> Binned:
    columns = [
        projected.means2d,
        projected.conics,
        projected.opacities[:, None],
        projected.radii,
    ]
    splats = torch.cat([column.detach() for column in columns], 1).to(torch.float32).contiguous().numpy()
    tiles_x, tiles_y = -(-width // kernels.TILE), -(-height // kernels.TILE)
    lists = kernels.bin_splats(kernels.tile_range(splats, tiles_x, tiles_y), tiles_x, tiles_y)
    return Binned(splats, *lists, tiles_x, width, height)


class _Composite(torch.autograd.Function):
    """Blend depth-sorted splats into pixels. Gradients reach all five inputs."""

    @staticmethod
    def forward(ctx, means2d, conics, opacities, colors, background, bins, sink):
        colors_np = colors.detach().contiguous().numpy()
        with Threads():
            image, T_end, last = kernels.forward(
                bins.splats, colors_np, bins.tile_start, bins.slot_splat, bins.tiles_x, bins.width, bins.height
            )
        ctx.bins, ctx.sink = bins, sink
        ctx.held = colors_np, image, T_end, last, background.detach().numpy()
        T = torch.from_numpy(T_end)
        return torch.from_numpy(image) + T[..., None] * background, 1 - T

    @staticmethod
    def backward(ctx, v_image, v_alpha):
        bins = ctx.bins
        colors, image, T_end, last, background = ctx.held
        v_image = v_image.contiguous().numpy()
        with Threads():
            slots = kernels.backward(
                bins.splats,
                colors,
                image,
                T_end,
                last,
                v_image,
                v_alpha.contiguous().numpy(),
                background,
                bins.tile_start,
                bins.slot_splat,
                bins.tiles_x,
            )
            sums = torch.from_numpy(kernels.gather(slots, bins.splat_start, bins.splat_slot))
        if ctx.sink is not None:
            ctx.sink.absgrad = sums[:, kernels.G_ABS_U : kernels.G_ABS_V + 1]
        v_background = None
        if ctx.needs_input_grad[4]:
            v_background = torch.from_numpy(np.tensordot(T_end, v_image, axes=([0, 1], [0, 1])))
        return (
            sums[:, kernels.G_U : kernels.G_V + 1],
            sums[:, kernels.G_A : kernels.G_C + 1],
            sums[:, kernels.G_OPACITY],
            sums[:, kernels.GRADIENT_COLUMNS :],
            v_background,
            None,
            None,
        )


def composite(
    projected: Projected,
    colors: Tensor,  # (S, D) float32
    background: Tensor,  # (D,) float32
    bins: Binned,
    *,
    absgrad: bool = False,
) -> tuple[Tensor, Tensor]:
    """Image (H, W, D) over the background, and alpha (H, W).

    With `absgrad`, the backward pass leaves on `projected.means2d.absgrad` (S, 2) the sum over pixels of
    the absolute gradients of each splat's centre.
    """
    sink = projected.means2d if absgrad else None
    return _Composite.apply(projected.means2d, projected.conics, projected.opacities, colors, background, bins, sink)
