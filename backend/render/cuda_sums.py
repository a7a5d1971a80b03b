"""A tiled view on the GPU into sums over blending weights, depths and contributors.

Two ways. Our own kernels, where Triton is there and works: one walk, results bit-equal between runs. Else
gsplat alone: sums are the gradient of colours that are all zero, which costs a forward and a backward pass
of everything. Depths and contributors, which no gradient tells, are then the CPU engine's.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from backend.render.cuda import CHANNELS, Tiled, alpha_max, blended, project, tiled
from backend.scene.cameras import looking_at

Way = Literal["triton", "gsplat"]

TOP_MAX = 32  # contributors per pixel that our own kernel keeps


def render(tiles: Tiled, features: Tensor) -> tuple[Tensor, Tensor]:
    """Features of the splats (S, C) into pixels (H, W, C) over zero, and alpha (H, W)."""
    projected = tiles.projected
    if not len(projected.rows):
        pixels = features.new_zeros(tiles.height, tiles.width, features.shape[1])
        return pixels, features.new_zeros(tiles.height, tiles.width)
    # gsplat refuses to draw no channels at all.
    drawn = features if features.shape[1] else features.new_zeros(len(features), 1)
    with torch.no_grad():
        image, alpha = blended(
            tiles, projected.means2d[None], projected.conics[None], projected.opacities[None], drawn[None]
        )
    return image[0, ..., : features.shape[1]], alpha[0, ..., 0]


def accumulate(
    tiles: Tiled,
    signal: Tensor,  # (H, W, C) float, or (H, W) integer labels with -1 ignored
    weight: Tensor,  # (H, W) float32
    *,
    labels: int | None = None,
    way: Way | None = None,  # None: the better one that works here
) -> tuple[Tensor, Tensor]:
    """A (S, C) and Z (S,) float32: Σ_p w·m·g and Σ_p w·m of each splat."""
    way = way or best_way(str(weight.device))
    sums = _by_kernel if way == "triton" else _by_gradient
    columns = torch.cat(list(sums(tiles, _chunks(signal, weight, labels))), 1)
    return columns[:, 1:], columns[:, 0]


def _chunks(signal: Tensor, weight: Tensor, labels: int | None) -> Iterator[Tensor]:
    """m, m·g as pictures (H, W, <= 32): a label is a channel that is 1 where it holds."""
    count = signal.shape[2] if labels is None else labels
    for first in range(-1, count, CHANNELS):
        last = min(first + CHANNELS, count)
        begin = max(first, 0)
        if labels is None:
            values = signal[..., begin:last].to(torch.float32)
        else:
            values = (signal[..., None] == torch.arange(begin, last, device=signal.device)).to(torch.float32)
        chunk = weight[..., None] * values
        yield torch.cat([weight[..., None], chunk], -1) if first < 0 else chunk


def _by_gradient(tiles: Tiled, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
    projected = tiles.projected
    image = zeros = None
    for chunk in chunks:
        channels = chunk.shape[-1]
        if not len(projected.rows):
            yield chunk.new_zeros(0, channels)
            continue
        if image is None or image.shape[-1] != channels:
            # The picture is black whatever the chunk: one forward pass serves all of one width.
            with torch.enable_grad():
                zeros = chunk.new_zeros(1, len(projected.rows), channels).requires_grad_()
                geometry = (projected.means2d, projected.conics, projected.opacities)
                image, _ = blended(tiles, *(tensor.detach()[None] for tensor in geometry), zeros)
        yield torch.autograd.grad(image, zeros, chunk[None], retain_graph=True)[0][0]


def _by_kernel(tiles: Tiled, chunks: Iterator[Tensor]) -> Iterator[Tensor]:
    walk = _walk(tiles)
    for chunk in chunks:
        yield walk.accumulate(chunk)


def median_depth(tiles: Tiled) -> Tensor:
    """(H, W) float32: z of the splat after which T <= 0.5, NaN where there is none. Own kernels only."""
    return _walk(tiles).median_depth(tiles.projected.depths.detach())


def top_contributors(tiles: Tiled, k: int) -> tuple[Tensor, Tensor]:
    """Ids of rows (H, W, k) int64 in depth order, and weights (H, W, k); -1 and 0 pad. Own kernels only."""
    splats, weights = _walk(tiles).top_contributors(k)
    rows = tiles.projected.rows
    if not len(rows):
        return splats, weights
    return torch.where(splats >= 0, rows[splats.clamp_min(0)], -1), weights


def _walk(tiles: Tiled):
    from backend.render.cuda_kernels import Walk  # needs Triton

    projected = tiles.projected
    columns = (projected.means2d, projected.conics, projected.opacities[:, None])
    ends = torch.full((1,), len(tiles.lists), dtype=torch.int32, device=tiles.lists.device)
    return Walk(
        torch.cat([column.detach() for column in columns], 1),
        tiles.lists,
        torch.cat([tiles.starts.reshape(-1).to(torch.int32), ends]),
        width=tiles.width,
        height=tiles.height,
        alpha_max=alpha_max(str(tiles.lists.device)),
    )


def best_way(device: str) -> Way:
    """Our own kernels where they work, else gsplat."""
    return "gsplat" if kernels_fault(device) else "triton"


@functools.cache
def kernels_fault(device: str) -> str:
    """Why our own kernels are not used on a device; empty if they are. Tried once per process."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            tiles, signal = _trial(device)
            weight = torch.ones(signal.shape[:2], device=device)
            own, expected = (accumulate(tiles, signal, weight, way=way)[0] for way in ("triton", "gsplat"))
            off = float((own - expected).abs().max() / expected.abs().max())
    except Exception as error:  # no Triton, no C compiler, a card it does not know
        lines = str(error).strip().splitlines()
        return f"{type(error).__name__}: {lines[0][:160]}" if lines else type(error).__name__
    return "" if off < 1e-3 else f"their sums are off by {off:.1e}"


def _trial(device: str) -> tuple[Tiled, Tensor]:
    """A few splats in four tiles, and something to add up."""
    random = torch.Generator().manual_seed(0)
    rows = 24
    means = torch.rand(rows, 3, generator=random) - 0.5
    view = looking_at(np.array([0.0, -2.0, 0.2]), np.zeros(3), np.array([0.0, 0.0, 1.0]), focal=30, width=31, height=29)
    with torch.no_grad():
        projected = project(
            means.to(device),
            torch.randn(rows, 4, generator=random).to(device),
            torch.full((rows, 3), -2.0, device=device),
            torch.zeros(rows, device=device),
            view,
        )
    return tiled(projected, view.width, view.height), torch.rand(view.height, view.width, 3, generator=random).to(
        device
    )
