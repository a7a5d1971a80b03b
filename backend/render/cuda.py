"""The CUDA engine: gsplat's kernels behind the interface of `rasterize`.

gsplat's parts are called one by one instead of its `rasterization`, so that only visible rows are coloured,
gradients arrive per visible row as on the CPU, and one projection serves any number of sums. The calls
are positional up to where 1.5.3 and the main branch agree; the smoke render of `engine` guards the rest.
Everything works on whatever device the tensors are on.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from backend.render.harmonics import Light, Relight, colors_from_sh
from backend.render.projection import BLUR, NEAR, Projected
from backend.render.rasterize import Rendered
from backend.render.rasterize import rasterize as draw
from backend.render.tiles import TILE
from backend.scene.cameras import Camera

CHANNELS = 32  # per pass: more need more shared memory than every card has


def library() -> ModuleType:
    """gsplat. Imported late: it takes seconds, and where it does not fit the machine it raises anything."""
    import gsplat

    return gsplat


@dataclass(frozen=True)
class Tiled:
    """Projected splats with gsplat's tile lists: what every call on the device walks."""

    projected: Projected
    lists: Tensor  # (n,) int32 splats, tile by tile, nearest first
    starts: Tensor  # (1, tiles_y, tiles_x) int32 place of each tile's first splat
    width: int
    height: int


def project(means: Tensor, quats: Tensor, log_scales: Tensor, opacity_logits: Tensor, view: Camera) -> Projected:
    """What `projection.project` does, by gsplat's fused kernel. Arguments as there, on the device."""
    options = {"dtype": torch.float32, "device": means.device}
    with torch.no_grad():
        norm = quats.square().sum(-1)
        checksum = means.sum(-1) + norm + log_scales.exp().sum(-1) + opacity_logits.abs().clamp_max(1e4)
        sound = torch.isfinite(checksum) & (norm > 0)
        rejected = len(means) - int(sound.sum())  # waits for the device; so does gsplat's binning
    if rejected:
        # gsplat knows no bad rows. Replaced ones are too transparent to be seen and get no gradient.
        means = torch.where(sound[:, None], means, 0.0)
        quats = torch.where(sound[:, None], quats, 1.0)
        log_scales = torch.where(sound[:, None], log_scales, 0.0)
        opacity_logits = torch.where(sound, opacity_logits, -torch.inf)
    opacities = torch.sigmoid(opacity_logits)
    if len(means):
        radii, means2d, depths, conics, _ = library().fully_fused_projection(
            means,
            None,
            quats,
            log_scales.exp(),
            torch.tensor(view.cam_from_world, **options)[None],
            torch.tensor(view.intrinsics, **options)[None],
            view.width,
            view.height,
            eps2d=BLUR,
            near_plane=NEAR,
            packed=False,
            opacities=opacities,
        )
        radii, means2d, depths, conics = radii[0], means2d[0], depths[0], conics[0]
    else:  # nothing to launch a kernel for; gradients reach the empty arrays all the same
        radii = torch.zeros(0, 2, dtype=torch.int32, device=means.device)
        conics = means + log_scales + quats[:, 1:]
        means2d, depths = conics[:, :2], conics[:, 2]
    with torch.no_grad():
        rows = (radii > 0).all(-1).nonzero()[:, 0]
        rows = rows[torch.argsort(depths[rows], stable=True)]

    # index_select, because the gradient of indexing sorts.
    return Projected(
        rows=rows,
        means2d=means2d.index_select(0, rows),
        conics=conics.index_select(0, rows),
        opacities=opacities.index_select(0, rows),
        depths=depths.index_select(0, rows),
        radii=radii.index_select(0, rows),
        rejected=rejected,
    )


def tiled(projected: Projected, width: int, height: int) -> Tiled:
    tiles_x, tiles_y = -(-width // TILE), -(-height // TILE)
    if not len(projected.rows):
        empty = torch.zeros(0, dtype=torch.int32, device=projected.rows.device)
        return Tiled(projected, empty, empty.new_zeros(1, tiles_y, tiles_x), width, height)
    means2d, depths = projected.means2d.detach(), projected.depths.detach()
    _, ids, lists = library().isect_tiles(
        means2d[None], projected.radii[None].contiguous(), depths[None], TILE, tiles_x, tiles_y
    )
    starts = library().isect_offset_encode(ids, 1, tiles_x, tiles_y)
    return Tiled(projected, lists, starts.reshape(1, tiles_y, tiles_x), width, height)


def blended(
    tiles: Tiled,
    means2d: Tensor,  # (1, S, 2)
    conics: Tensor,  # (1, S, 3)
    opacities: Tensor,  # (1, S)
    colors: Tensor,  # (1, S, D)
    background: Tensor | None = None,  # (1, D)
    *,
    absgrad: bool = False,
) -> tuple[Tensor, Tensor]:
    """gsplat's compositing in passes of 32 channels: (1, H, W, D) and alpha (1, H, W, 1)."""
    parts = []
    alpha = None
    for first in range(0, colors.shape[-1], CHANNELS):
        part, own = library().rasterize_to_pixels(
            means2d,
            conics,
            colors[..., first : first + CHANNELS],
            opacities,
            tiles.width,
            tiles.height,
            TILE,
            tiles.starts,
            tiles.lists,
            backgrounds=None if background is None else background[..., first : first + CHANNELS],
            absgrad=absgrad,
        )
        parts.append(part)
        alpha = own if alpha is None else alpha
    return (parts[0] if len(parts) == 1 else torch.cat(parts, -1)), alpha


class _Composite(torch.autograd.Function):
    """Blend splats into pixels; the same signature as the CPU engine's.

    gsplat's own graph is kept inside, between leaves: gsplat leaves `absgrad` on the very tensor it was
    given, which has a batch axis, and this hands it on to the caller's.
    """

    @staticmethod
    def forward(ctx, means2d, conics, opacities, colors, background, tiles, sink):
        inputs = (means2d, conics, opacities, colors, background)
        ctx.sink, ctx.shapes = sink, [(tensor.shape, tensor.device) for tensor in inputs]
        if not len(means2d):
            ctx.inner = None
            pixels = background.new_zeros(tiles.height, tiles.width, 1)
            return pixels + background, pixels[..., 0]
        leaves = [
            tensor.detach()[None].contiguous().requires_grad_(need)
            for tensor, need in zip(inputs, ctx.needs_input_grad[:5], strict=True)
        ]
        with torch.enable_grad():
            image, alpha = blended(tiles, *leaves, absgrad=sink is not None)
        ctx.inner = leaves, image, alpha
        return image.detach()[0], alpha.detach()[0, ..., 0]

    @staticmethod
    def backward(ctx, v_image, v_alpha):
        if ctx.inner is None:
            zeros = [torch.zeros(shape, device=device) for shape, device in ctx.shapes]
            if ctx.sink is not None:
                ctx.sink.absgrad = zeros[0]
            return *zeros[:4], v_image.sum((0, 1)), None, None
        leaves, image, alpha = ctx.inner
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found = iter(
            torch.autograd.grad(
                (image, alpha),
                wanted,
                (v_image[None], v_alpha[None, ..., None]),
                retain_graph=True,  # as often as the outer graph is walked
                allow_unused=True,
            )
        )
        gradients = [next(found) if leaf.requires_grad else None for leaf in leaves]
        if ctx.sink is not None:
            ctx.sink.absgrad = leaves[0].absgrad[0]
        return *(None if gradient is None else gradient[0] for gradient in gradients), None, None


def rasterize(
    *,
    means: Tensor,
    quats: Tensor,
    log_scales: Tensor,
    opacity_logits: Tensor,
    view: Camera,
    sh0: Tensor | None = None,
    shN: Tensor | None = None,
    colors: Tensor | None = None,
    background: Tensor | None = None,
    sh_degree: int | None = None,
    light: Light | Relight | None = None,
    depth_expected: bool = False,
    depth_median: bool = False,
    absgrad: bool = False,
) -> Rendered:
    """Draw one view; everything as in `rasterize.rasterize`, all tensors on one device.

    Raises ValueError for absolute gradients of more than 32 channels: gsplat forgets those of all passes
    but one.
    """
    projected = project(means, quats, log_scales, opacity_logits, view)
    if projected.means2d.requires_grad:
        projected.means2d.retain_grad()
    rows = projected.rows
    if colors is None:
        assert sh0 is not None  # checked
        assert shN is not None
        centre = torch.tensor(view.centre, dtype=torch.float32, device=means.device)
        sh0, shN = sh0.index_select(0, rows), shN.index_select(0, rows)
        if callable(light):
            (sh0, shN), light = light(rows, sh0, shN), None
        elif light is not None:
            light = replace(light, response=light.response.index_select(0, rows))
        seen = colors_from_sh(sh0, shN, means.index_select(0, rows) - centre, sh_degree, light)
    else:
        seen = colors.index_select(0, rows)
    channels = seen.shape[1]
    if background is None:
        background = seen.new_zeros(channels)
    if depth_expected:
        seen = torch.cat([seen, projected.depths[:, None]], 1)
        background = torch.cat([background, background.new_zeros(1)])
    if absgrad and seen.shape[1] > CHANNELS:
        raise ValueError(f"absgrad needs at most {CHANNELS} channels on CUDA, depth included; not {seen.shape[1]}")
    tiles = tiled(projected, view.width, view.height)
    sink = projected.means2d if absgrad else None
    image, alpha = _Composite.apply(
        projected.means2d, projected.conics, projected.opacities, seen, background, tiles, sink
    )
    expected = median = None
    if depth_expected:
        expected = image[..., channels] / alpha.clamp_min(1e-10)
        image = image[..., :channels]
    if depth_median:
        from backend.render import cuda_sums  # which builds on this module

        if cuda_sums.best_way(str(means.device)) == "triton":
            median = cuda_sums.median_depth(tiles)
        else:
            scene = (tensor.detach().cpu() for tensor in (means, quats, log_scales, opacity_logits))
            names = ("means", "quats", "log_scales", "opacity_logits")
            median = draw(
                **dict(zip(names, scene, strict=True)),
                colors=torch.zeros(len(means), 1),
                view=view,
                depth_median=True,
            ).depth_median.to(means.device)
    return Rendered(
        image, alpha, expected, median, rows, projected.means2d, projected.radii.to(torch.float32), projected.rejected
    )


@functools.cache
def alpha_max(device: str) -> float:
    """The clamp of alpha: 0.999 in gsplat 1.5.3, 0.99 in 1.6.

    Measured, because checkouts of the main branch call themselves 1.5.3 too.
    """
    one = Projected(
        rows=torch.zeros(1, dtype=torch.int64, device=device),
        means2d=torch.full((1, 2), 0.5, device=device),
        conics=torch.tensor([[1.0, 0.0, 1.0]], device=device),
        opacities=torch.ones(1, device=device),
        depths=torch.ones(1, device=device),
        radii=torch.full((1, 2), 4, dtype=torch.int32, device=device),
        rejected=0,
    )
    _, alpha = blended(
        tiled(one, 1, 1), one.means2d[None], one.conics[None], one.opacities[None], one.opacities[None, :, None]
    )
    # Alpha comes out as 1 − (1 − clamp), rounded.
    return float(np.float32(round(float(alpha[0, 0, 0, 0]), 6)))
