"""Tile lists and pixels into sums per splat, depths and contributors: our own GPU kernels, in Triton.

One program walks one 16x16 tile front to back, sixteen splats at a time. Transmittance only falls, so a
pixel is closed exactly where the running product with the rejected splat in it is at the stop or below:
no splat has to wait for the one before. Sums go to one slot per (splat, tile) and are gathered in fixed
order: bit-equal between runs, unlike gsplat's atomics.

Importing this module needs Triton, which comes with torch's CUDA builds for Linux.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from backend.render.cuda_sums import TOP_MAX

# As in `tiles`; Triton reads globals only if they are constexpr.
TILE: tl.constexpr = tl.constexpr(16)
PIXELS: tl.constexpr = tl.constexpr(256)
BLOCK: tl.constexpr = tl.constexpr(16)  # splats per turn; tl.dot asks for 16 at least
ALPHA_MIN: tl.constexpr = tl.constexpr(1 / 255)
STOP: tl.constexpr = tl.constexpr(1e-4)
COLUMNS = 32  # signal channels per pass
# Eight warps: with four, the compiler spills registers. Fusion is what float32 sums gain from, said aloud
# because Triton's default is about to change.
LAUNCH = {"num_warps": 8, "enable_fp_fusion": True}


@triton.jit
def _pixels(tile, tiles_x, width, height):
    """Columns, rows and flat places of a tile's pixels, and which of them are in the picture."""
    place = tl.arange(0, PIXELS)
    x = (tile % tiles_x) * TILE + place % TILE
    y = (tile // tiles_x) * TILE + place // TILE
    return x, y, y * width + x, (x < width) & (y < height)


@triton.jit
def _blend(splats, lists, slots, end, x, y, T, alpha_max):
    """Sixteen splats of a tile list: their indices, weights (16, 256) and transmittance after each."""
    inside = slots < end
    splat = tl.load(lists + slots, mask=inside, other=0)
    row = splats + splat * 6
    u = tl.load(row, mask=inside, other=0.0)
    v = tl.load(row + 1, mask=inside, other=0.0)
    a = tl.load(row + 2, mask=inside, other=0.0)
    b = tl.load(row + 3, mask=inside, other=0.0)
    c = tl.load(row + 4, mask=inside, other=0.0)
    opacity = tl.load(row + 5, mask=inside, other=0.0)
    dx = u[:, None] - (x.to(tl.float32) + 0.5)[None, :]
    dy = v[:, None] - (y.to(tl.float32) + 0.5)[None, :]
    sigma = 0.5 * (a[:, None] * dx * dx + c[:, None] * dy * dy) + b[:, None] * dx * dy
    alpha = tl.minimum(opacity[:, None] * tl.exp(-sigma), alpha_max)
    alpha = tl.where((sigma >= 0.0) & (alpha >= ALPHA_MIN), alpha, 0.0)
    after = T[None, :] * tl.cumprod(1.0 - alpha, axis=0)
    weights = tl.where(after > STOP, alpha * after / (1.0 - alpha), 0.0)
    return splat, weights, after


@triton.jit
def _accumulate(splats, lists, starts, signal, slots, tiles_x, width, height, alpha_max, CHANNELS: tl.constexpr):
    """Σ_p w·g for each slot (n, CHANNELS), signal g (H·W, CHANNELS)."""
    tile = tl.program_id(0)
    x, y, pixel, inside = _pixels(tile, tiles_x, width, height)
    channel = tl.arange(0, CHANNELS)
    g = tl.load(signal + pixel[:, None] * CHANNELS + channel[None, :], mask=inside[:, None], other=0.0)
    T = tl.where(inside, 1.0, 0.0)
    first = tl.load(starts + tile)
    end = tl.load(starts + tile + 1)
    while (first < end) & (tl.max(T, axis=0) > STOP):
        place = first + tl.arange(0, BLOCK)
        _, weights, after = _blend(splats, lists, place, end, x, y, T, alpha_max)
        sums = tl.dot(weights, g, input_precision="ieee")
        target = slots + place.to(tl.int64)[:, None] * CHANNELS + channel[None, :]
        tl.store(target, sums, mask=(place < end)[:, None])
        T = tl.min(after, axis=0)
        first += BLOCK


@triton.jit
def _gather(slots, order, starts, sums, CHANNELS: tl.constexpr):
    """Add each splat's slots in fixed order: (S, CHANNELS)."""
    splat = tl.program_id(0).to(tl.int64)
    channel = tl.arange(0, CHANNELS)
    total = tl.zeros((CHANNELS,), tl.float32)
    own = tl.load(starts + splat)
    end = tl.load(starts + splat + 1)
    while own < end:
        total += tl.load(slots + tl.load(order + own) * CHANNELS + channel)
        own += 1
    tl.store(sums + splat * CHANNELS + channel, total)


@triton.jit
def _median(splats, lists, starts, depths, out, tiles_x, width, height, alpha_max):
    """Depth of the splat after which T <= 0.5; pixels that none takes there keep what `out` holds."""
    tile = tl.program_id(0)
    x, y, pixel, inside = _pixels(tile, tiles_x, width, height)
    T = tl.where(inside, 1.0, 0.0)
    first = tl.load(starts + tile)
    end = tl.load(starts + tile + 1)
    while (first < end) & (tl.max(T, axis=0) > 0.5):
        place = first + tl.arange(0, BLOCK)
        splat, weights, after = _blend(splats, lists, place, end, x, y, T, alpha_max)
        z = tl.load(depths + splat, mask=place < end, other=0.0)
        crosses = (weights > 0.0) & (after <= 0.5) & (after + weights > 0.5)
        depth = tl.max(tl.where(crosses, z[:, None], 0.0), axis=0)
        tl.store(out + pixel, depth, mask=inside & (depth > 0.0) & (T > 0.5))
        T = tl.min(after, axis=0)
        first += BLOCK


@triton.jit
def _top(splats, lists, starts, ids, heaviest, tiles_x, width, height, alpha_max, K: tl.constexpr):
    """The K heaviest splats of each pixel (H·W, K), unsorted: places in the tile's list, and weights."""
    tile = tl.program_id(0)
    x, y, pixel, inside = _pixels(tile, tiles_x, width, height)
    column = tl.arange(0, K)
    held = tl.zeros((PIXELS, K), tl.float32)
    # Places only grow; those of empty columns are larger than any and all different.
    at = tl.zeros((PIXELS, K), tl.int32) + (2147483647 - column)[None, :]
    T = tl.where(inside, 1.0, 0.0)
    first = tl.load(starts + tile)
    end = tl.load(starts + tile + 1)
    turn = tl.arange(0, BLOCK)
    while (first < end) & (tl.max(T, axis=0) > STOP):
        _, weights, after = _blend(splats, lists, first + turn, end, x, y, T, alpha_max)
        for k in range(BLOCK):
            w = tl.sum(tl.where((turn == k)[:, None], weights, 0.0), axis=0)
            # The lightest goes, of equals the farthest.
            least = tl.min(held, axis=1)
            worst = tl.max(tl.where(held == least[:, None], at, -1), axis=1)
            change = (at == worst[:, None]) & (held == least[:, None]) & (w > least)[:, None]
            held = tl.where(change, w[:, None], held)
            at = tl.where(change, first + k, at)
        T = tl.min(after, axis=0)
        first += BLOCK
    target = pixel.to(tl.int64)[:, None] * K + column[None, :]
    tl.store(ids + target, at, mask=inside[:, None])
    tl.store(heaviest + target, held, mask=inside[:, None])


class Walk:
    """One view's tile lists in the form that the kernels read."""

    def __init__(
        self,
        splats: Tensor,  # (S, 6) float32: u, v, A, B, C of the conic, opacity
        lists: Tensor,  # (n,) int32 splats, tile by tile, nearest first
        starts: Tensor,  # (tiles + 1,) int32
        *,
        width: int,
        height: int,
        alpha_max: float,
    ) -> None:
        self.splats, self.lists, self.starts = splats.contiguous(), lists.contiguous(), starts.contiguous()
        self.width, self.height = width, height
        self._view = (-(-width // 16), width, height, alpha_max)
        self._gathering: tuple[Tensor, Tensor] | None = None

    def accumulate(self, signal: Tensor) -> Tensor:
        """Σ_p w·g per splat (S, C) float32, C at most 32, for a signal (H, W, C)."""
        channels = signal.shape[-1]
        padded = 16 if channels <= 16 else COLUMNS
        if channels > COLUMNS:
            raise ValueError(f"at most {COLUMNS} channels per pass, not {channels}")
        signal = torch.nn.functional.pad(signal.to(torch.float32), (0, padded - channels)).contiguous()
        slots = torch.zeros(len(self.lists), padded, device=signal.device)
        sums = torch.zeros(len(self.splats), padded, device=signal.device)
        if len(self.lists):
            _accumulate[(len(self.starts) - 1,)](
                self.splats, self.lists, self.starts, signal, slots, *self._view, CHANNELS=padded, **LAUNCH
            )
            _gather[(len(self.splats),)](
                slots, *self._slots_of_splats(), sums, CHANNELS=padded, enable_fp_fusion=True, num_warps=1
            )
        return sums[:, :channels]

    def _slots_of_splats(self) -> tuple[Tensor, Tensor]:
        """The way back: slots ordered by splat (n,) int64, and where each splat's begin (S+1,) int64."""
        if self._gathering is None:
            order = torch.argsort(self.lists, stable=True)
            counts = torch.bincount(self.lists, minlength=len(self.splats))
            self._gathering = order, torch.nn.functional.pad(counts.cumsum(0), (1, 0))
        return self._gathering

    def median_depth(self, depths: Tensor) -> Tensor:
        """(H, W) float32, NaN where less than half is covered, for depths (S,)."""
        out = torch.full((self.height, self.width), torch.nan, device=depths.device)
        if len(self.lists):
            _median[(len(self.starts) - 1,)](
                self.splats, self.lists, self.starts, depths.to(torch.float32).contiguous(), out, *self._view, **LAUNCH
            )
        return out

    def top_contributors(self, k: int) -> tuple[Tensor, Tensor]:
        """Splats (H, W, k) int64, nearest first, and weights (H, W, k); -1 and 0 pad. k at most 32."""
        if not 1 <= k <= TOP_MAX:
            raise ValueError(f"k is {k}, expected 1 to {TOP_MAX}")
        columns = 1 << (k - 1).bit_length()
        # Powers of two are searched; the surplus, which is the lightest, is dropped here.
        places = torch.full((self.height, self.width, columns), 2**31 - 1, dtype=torch.int32, device=self.splats.device)
        weights = torch.zeros(self.height, self.width, columns, device=self.splats.device)
        if len(self.lists):
            _top[(len(self.starts) - 1,)](
                self.splats, self.lists, self.starts, places, weights, *self._view, K=columns, **LAUNCH
            )
        if columns > k:
            places, near = places.sort(-1)  # so that of equal weights the nearer stays
            weights, kept = weights.gather(-1, near).sort(dim=-1, descending=True, stable=True)
            places, weights = places.gather(-1, kept)[..., :k], weights[..., :k]
        places, order = places.sort(-1)
        weights = weights.gather(-1, order)
        if not len(self.lists):
            return torch.full_like(places, -1, dtype=torch.int64), weights
        found = self.lists[places.long().clamp_max(len(self.lists) - 1)].long()
        return torch.where(weights > 0, found, -1), weights
