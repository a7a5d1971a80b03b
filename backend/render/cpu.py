"""The CPU engine: torch projection, compiled compositing, one autograd function between them."""

from __future__ import annotations

import threading

import numba
import numpy as np
import torch
from torch import Tensor

from backend.render import compositing, tiles
from backend.render.projection import Projected
from backend.render.tiles import Binned

# numba's fallback threading layer aborts on concurrent entry.
_lock = threading.Lock()

KEPT_BYTES = 256 << 20  # of working memory at most
_kept = np.empty(0, np.float32)


class Threads:
    """Holds the kernels for one thread of ours and gives them as many cores as torch has: `with Threads() as count`."""

    def __enter__(self) -> int:
        _lock.acquire()
        count = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
        numba.set_num_threads(count)
        return count

    def __exit__(self, *_: object) -> None:
        _lock.release()


def scratch(rows: int, columns: int) -> np.ndarray:
    """(rows, columns) float32 that hold anything; to be used within `Threads` and not beyond.

    The C library hands large arrays back to the system when they are freed, and the next one's pages are made and
    cleared anew, which took as long as the sums that were written there.
    """
    global _kept
    size = rows * columns
    if 4 * size > KEPT_BYTES:
        return np.empty((rows, columns), np.float32)
    if len(_kept) < size:
        _kept = np.empty(size + size // 4, np.float32)
    return _kept[:size].reshape(rows, columns)


def binned(projected: Projected, width: int, height: int) -> Binned:
    """Splats of a view sorted into its tiles."""
    opacities = projected.opacities.detach()
    columns = [
        projected.means2d.detach(),
        projected.conics.detach(),
        opacities[:, None],
        projected.radii,
        (255 * opacities).log().clamp(0, float(tiles.SIGMA_MAX))[:, None],
    ]
    splats = torch.cat(columns, 1).to(torch.float32).contiguous().numpy()
    with Threads():
        return tiles.binned(splats, width, height)


class _Composite(torch.autograd.Function):
    """Blend depth-sorted splats into pixels. Gradients reach all five inputs."""

    @staticmethod
    def forward(ctx, means2d, conics, opacities, colors, background, bins, sink):
        colors_np = colors.detach().contiguous().numpy()
        with Threads() as workers:
            image, T_end, visited = compositing.forward(bins, colors_np, workers)
        ctx.bins, ctx.sink = bins, sink
        ctx.held = colors_np, image, T_end, visited, background.detach().numpy()
        T, seen = torch.from_numpy(T_end), torch.from_numpy(image)
        # Over black, as in training, nothing needs to be added.
        return (seen + T[..., None] * background if background.any() else seen.clone()), 1 - T

    @staticmethod
    def backward(ctx, v_image, v_alpha):
        bins = ctx.bins
        colors, image, T_end, visited, background = ctx.held
        v_image = v_image.contiguous().numpy()
        with Threads() as workers:
            slots = scratch(len(bins.slot_splat), compositing.GRADIENT_COLUMNS + colors.shape[1])
            v_alpha = v_alpha.contiguous().numpy()
            compositing.backward(bins, colors, image, T_end, visited, v_image, v_alpha, background, workers, slots)
            sums = torch.from_numpy(compositing.gather(bins, slots))
        if ctx.sink is not None:
            ctx.sink.absgrad = sums[:, compositing.G_ABS_U : compositing.G_ABS_V + 1]
        v_background = None
        if ctx.needs_input_grad[4]:
            v_background = torch.from_numpy(np.tensordot(T_end, v_image, axes=([0, 1], [0, 1])))
        return (
            sums[:, compositing.G_U : compositing.G_V + 1],
            sums[:, compositing.G_A : compositing.G_C + 1],
            sums[:, compositing.G_OPACITY],
            sums[:, compositing.GRADIENT_COLUMNS :],
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
