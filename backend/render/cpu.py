"""The CPU engine: torch projection, compiled compositing, one autograd function between them."""

from __future__ import annotations

import math
import threading

import numba
import numpy as np
import torch
from torch import Tensor

from backend.render import channels, compositing, tiles
from backend.render.projection import Projected
from backend.render.tiles import Binned

# numba's fallback threading layer aborts on concurrent entry.
_lock = threading.Lock()

FEW = 12  # channels that are added splat by splat; more are faster as matrix products
CACHE_LINE = 64  # bytes
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


def drawn(bins: Binned, colors: np.ndarray, workers: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colours (S, D) float32 composited: image (H, W, D) without background, T_end (H, W), visited slots (tiles,)."""
    if colors.shape[1] <= FEW:
        return compositing.forward(bins, colors, workers)
    # Made here and not in the loops: numpy asks for large pages, and the loops for whole cache lines.
    shape = (bins.height, bins.width, colors.shape[1])
    size = math.prod(shape)
    room = np.empty(size + CACHE_LINE // 4, np.float32)
    first = -room.ctypes.data % CACHE_LINE // 4
    image = room[first : first + size].reshape(shape)
    T_end = np.empty(shape[:2], np.float32)
    return image, T_end, channels.forward(bins, colors, workers, image, T_end)


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


class _Picked(torch.autograd.Function):
    """Rows of an array, each at most once: torch's indexing expects that they repeat and takes three times as long."""

    @staticmethod
    def forward(ctx, array, rows):
        ctx.rows, ctx.count = rows, len(array)
        return array.index_select(0, rows)

    @staticmethod
    def backward(ctx, v):
        return v.new_zeros(ctx.count, *v.shape[1:]).index_copy_(0, ctx.rows, v), None


def picked(array: Tensor, rows: Tensor) -> Tensor:
    """array[rows] of an array (N, ...), differentiable; no row may be named twice."""
    return _Picked.apply(array, rows)


class _Composite(torch.autograd.Function):
    """Blend depth-sorted splats into pixels. Gradients reach all five inputs."""

    @staticmethod
    def forward(ctx, means2d, conics, opacities, colors, background, bins, sink):
        colors_np = colors.detach().contiguous().numpy()
        with Threads() as workers:
            image, T_end, visited = drawn(bins, colors_np, workers)
        ctx.bins, ctx.sink = bins, sink
        ctx.held = colors_np, T_end, visited, background.detach().contiguous().numpy()
        T, seen = torch.from_numpy(T_end), torch.from_numpy(image)
        ctx.save_for_backward(seen)
        # Over black, as in training, nothing needs to be added.
        return (seen + T[..., None] * background if background.any() else seen), 1 - T

    @staticmethod
    def backward(ctx, v_image, v_alpha):
        bins = ctx.bins
        colors, T_end, visited, background = ctx.held
        image = ctx.saved_tensors[0].detach().numpy()
        v_image = v_image.contiguous().numpy()
        with Threads() as workers:
            slots = scratch(len(bins.slot_splat), compositing.GRADIENT_COLUMNS + colors.shape[1])
            v_alpha = v_alpha.contiguous().numpy()
            loops = channels if colors.shape[1] > FEW else compositing
            loops.backward(bins, colors, image, T_end, visited, v_image, v_alpha, background, workers, slots)
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
