"""What our CUDA engine calls of gsplat 1.5.3, in plain torch for any device.

Shapes, dtypes, argument order and habits are gsplat's, also the bad ones: rows that cannot be seen come
back as garbage, zero channels are refused, absolute gradients land on the very tensor that was given and
those of an earlier pass are lost. The arithmetic is written down anew, so that agreement means something.
"""

from __future__ import annotations

import importlib.machinery
import math
import sys
from types import ModuleType

import torch
from torch import Tensor

ALPHA_MAX = 0.999


def fully_fused_projection(
    means,  # (N, 3)
    covars,
    quats,
    scales,
    viewmats,  # (1, 4, 4)
    Ks,  # (1, 3, 3)
    width,
    height,
    eps2d=0.3,
    near_plane=0.01,
    far_plane=1e10,
    radius_clip=0.0,
    packed=False,
    sparse_grad=False,
    calc_compensations=False,
    camera_model="pinhole",
    opacities=None,
):
    N = len(means)
    assert covars is None
    assert not packed
    assert camera_model == "pinhole"
    assert means.shape == (N, 3)
    assert quats.shape == (N, 4)
    assert scales.shape == (N, 3)
    assert viewmats.shape == (1, 4, 4)
    assert Ks.shape == (1, 3, 3)
    assert opacities.shape == (N,)
    assert all(tensor.dtype == torch.float32 for tensor in (means, quats, scales, viewmats, Ks, opacities))
    R, t, K = viewmats[0, :3, :3], viewmats[0, :3, 3], Ks[0]
    fx, fy, cx, cy = K[0, 0], K[1, 1], K[0, 2], K[1, 2]
    camera = means @ R.T + t
    ahead = (camera[:, 2] >= near_plane) & (camera[:, 2] <= far_plane)
    x, y, z = torch.where(ahead[:, None], camera, torch.ones_like(camera)).unbind(-1)

    w, i, j, k = (quats / quats.norm(dim=-1, keepdim=True)).unbind(-1)
    rotation = torch.stack(
        [
            *(w * w + i * i - j * j - k * k, 2 * (i * j - w * k), 2 * (i * k + w * j)),
            *(2 * (i * j + w * k), w * w - i * i + j * j - k * k, 2 * (j * k - w * i)),
            *(2 * (i * k - w * j), 2 * (j * k + w * i), w * w - i * i - j * j + k * k),
        ],
        -1,
    ).reshape(N, 3, 3)
    half = rotation * scales[:, None, :]
    covariance = R @ (half @ half.transpose(1, 2)) @ R.T

    tan_x, tan_y = 0.5 * width / fx, 0.5 * height / fy
    tx = z * torch.minimum((width - cx) / fx + 0.3 * tan_x, torch.maximum(-(cx / fx + 0.3 * tan_x), x / z))
    ty = z * torch.minimum((height - cy) / fy + 0.3 * tan_y, torch.maximum(-(cy / fy + 0.3 * tan_y), y / z))
    none = torch.zeros_like(z)
    J = torch.stack([fx / z, none, -fx * tx / z**2, none, fy / z, -fy * ty / z**2], -1).reshape(N, 2, 3)
    screen = J @ covariance @ J.transpose(1, 2)
    a, b, d = screen[:, 0, 0] + eps2d, screen[:, 0, 1], screen[:, 1, 1] + eps2d
    determinant = a * d - b * b
    safe = torch.where(determinant > 0, determinant, torch.ones_like(determinant))
    conics = torch.stack([d / safe, -b / safe, a / safe], -1)
    centres = torch.stack([fx * x / z + cx, fy * y / z + cy], -1)

    with torch.no_grad():
        extent = torch.sqrt((2 * torch.log(opacities * 255)).clamp_min(0)).clamp_max(3.33)
        radii = torch.stack([torch.ceil(extent * a.sqrt()), torch.ceil(extent * d.sqrt())], -1)
        size = torch.tensor([width, height], device=means.device)
        seen = ahead & (determinant > 0) & (opacities >= 1 / 255)
        seen = seen & ((centres + radii > 0) & (centres - radii < size)).all(-1)
        radii = torch.where(seen[:, None], radii, torch.zeros_like(radii)).to(torch.int32)
    garbage = torch.full((), 7e30, device=means.device)
    return (
        radii[None],
        torch.where(seen[:, None], centres, garbage)[None],
        torch.where(seen, z, garbage)[None],
        torch.where(seen[:, None], conics, garbage)[None],
        None,
    )


@torch.no_grad()
def isect_tiles(means2d, radii, depths, tile_size, tile_width, tile_height, sort=True, segmented=False, packed=False):
    assert radii.dtype == torch.int32
    assert means2d.shape[:2] == radii.shape[:2] == depths.shape
    assert means2d.is_contiguous()
    assert radii.is_contiguous()
    assert sort
    assert not packed
    limits = torch.tensor([tile_width, tile_height], device=means2d.device)
    low = torch.floor((means2d[0] - radii[0]) / tile_size).clamp_min(0).minimum(limits).long()
    high = torch.ceil((means2d[0] + radii[0]) / tile_size).clamp_min(0).minimum(limits).long()
    found = []
    for splat, (x0, y0, x1, y1) in enumerate(torch.cat([low, high], 1).cpu().tolist()):
        found += [(y * tile_width + x, splat) for y in range(y0, y1) for x in range(x0, x1)]
    depth_bits = depths[0].cpu().contiguous().view(torch.int32).tolist()
    found = sorted((tile << 32 | depth_bits[splat], splat) for tile, splat in found)
    ids = torch.tensor([key for key, _ in found], dtype=torch.int64, device=means2d.device)
    lists = torch.tensor([splat for _, splat in found], dtype=torch.int32, device=means2d.device)
    return (high - low).prod(-1).to(torch.int32)[None], ids, lists


@torch.no_grad()
def isect_offset_encode(isect_ids, n_images, tile_width, tile_height):
    assert n_images == 1
    assert isect_ids.dtype == torch.int64
    tiles = torch.arange(tile_width * tile_height, device=isect_ids.device)
    return torch.searchsorted(isect_ids >> 32, tiles).to(torch.int32).reshape(1, tile_height, tile_width)


def rasterize_to_pixels(
    means2d,
    conics,
    colors,
    opacities,
    image_width,
    image_height,
    tile_size,
    isect_offsets,
    flatten_ids,
    backgrounds=None,
    masks=None,
    packed=False,
    absgrad=False,
):
    channels = colors.shape[-1]
    N = means2d.shape[-2]
    if channels > 513 or channels == 0:
        raise ValueError(f"Unsupported number of color channels: {channels}")
    assert masks is None
    assert not packed
    assert tile_size == 16
    assert means2d.shape == (1, N, 2)
    assert conics.shape == (1, N, 3)
    assert colors.shape == (1, N, channels)
    assert opacities.shape == (1, N)
    assert backgrounds is None or backgrounds.shape == (1, channels)
    assert isect_offsets.shape == (1, math.ceil(image_height / 16), math.ceil(image_width / 16))
    assert isect_offsets.dtype == flatten_ids.dtype == torch.int32
    assert all(tensor.dtype == torch.float32 for tensor in (means2d, conics, colors, opacities))
    shared_memory = 256 * (4 + 12 + 12 + 4 * (1 << (channels - 1).bit_length()))
    assert shared_memory <= 48 * 1024, "more than a card without the larger carve-out has"
    return _ToPixels.apply(
        means2d.contiguous(),
        conics.contiguous(),
        colors.contiguous(),
        opacities.contiguous(),
        backgrounds,
        (image_width, image_height, isect_offsets, flatten_ids, absgrad),
    )


class _ToPixels(torch.autograd.Function):
    @staticmethod
    def forward(ctx, means2d, conics, colors, opacities, backgrounds, view):
        ctx.save_for_backward(means2d, conics, colors, opacities, backgrounds)
        ctx.view = view
        image, alpha, _ = _drawn(means2d, conics, colors, opacities, backgrounds, view)
        return image, alpha

    @staticmethod
    def backward(ctx, v_image, v_alpha):
        means2d, conics, colors, opacities, backgrounds = ctx.saved_tensors
        with torch.enable_grad():
            leaves = [
                None if tensor is None else tensor.detach().requires_grad_()
                for tensor in (means2d, conics, colors, opacities, backgrounds)
            ]
            image, alpha, centres = _drawn(*leaves, ctx.view)
            wanted = [leaf for leaf in leaves[1:] if leaf is not None]
            found = torch.autograd.grad(
                (image, alpha), [*wanted, *(own for own, _ in centres)], (v_image, v_alpha), allow_unused=True
            )
        gradients = [torch.zeros_like(leaf) if g is None else g for leaf, g in zip(wanted, found, strict=False)]
        total, absolute = torch.zeros_like(means2d), torch.zeros_like(means2d)
        for (_, ids), own in zip(centres, found[len(wanted) :], strict=True):
            if own is not None:
                total[0].index_add_(0, ids, own.sum(0))
                absolute[0].index_add_(0, ids, own.abs().sum(0))
        if ctx.view[4]:
            means2d.absgrad = absolute
        if backgrounds is None:
            gradients.append(None)
        return total, *gradients, None


def _drawn(
    means2d: Tensor, conics: Tensor, colors: Tensor, opacities: Tensor, backgrounds: Tensor | None, view
) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
    """Picture, alpha, and of every tile the centres once per pixel (256, n, 2) with their splats."""
    width, height, offsets, lists, _ = view
    device = means2d.device
    ends = [*offsets.reshape(-1).cpu().tolist(), len(lists)]
    rows, centres = [], []
    for ty in range(offsets.shape[1]):
        row = []
        for tx in range(offsets.shape[2]):
            tile = ty * offsets.shape[2] + tx
            ids = lists[ends[tile] : ends[tile + 1]].long()
            y, x = torch.meshgrid(
                torch.arange(ty * 16, ty * 16 + 16, device=device),
                torch.arange(tx * 16, tx * 16 + 16, device=device),
                indexing="ij",
            )
            pixel = torch.stack([x, y], -1).reshape(-1, 1, 2) + 0.5
            centre = means2d[0].detach()[ids][None].repeat(256, 1, 1).requires_grad_(torch.is_grad_enabled())
            centres.append((centre, ids))
            dx, dy = (centre - pixel).unbind(-1)
            a, b, c = conics[0][ids].unbind(-1)
            sigma = 0.5 * (a * dx * dx + c * dy * dy) + b * dx * dy
            alpha = (opacities[0][ids] * torch.exp(-sigma)).clamp_max(ALPHA_MAX)
            alpha = torch.where((sigma < 0) | (alpha < 1 / 255), torch.zeros_like(alpha), alpha)
            after = torch.cumprod(1 - alpha, 1)
            is_open = after > 1e-4
            before = torch.cat([torch.ones_like(after[:, :1]), after[:, :-1]], 1)
            weights = torch.where(is_open, alpha * before, torch.zeros_like(alpha))
            T = torch.where(is_open, 1 - alpha, torch.ones_like(alpha)).prod(1, keepdim=True)
            color = weights @ colors[0][ids]
            if backgrounds is not None:
                color = color + T * backgrounds
            row.append(torch.cat([color, 1 - T], 1).reshape(16, 16, -1))
        rows.append(torch.cat(row, 1))
    picture = torch.cat(rows, 0)[:height, :width]
    return picture[None, ..., :-1].contiguous(), picture[None, ..., -1:].contiguous(), centres


def module() -> ModuleType:
    """To be put into sys.modules as gsplat."""
    made = ModuleType("gsplat")
    made.__spec__ = importlib.machinery.ModuleSpec("gsplat", None)
    made.__version__ = "1.5.3"
    for function in (fully_fused_projection, isect_tiles, isect_offset_encode, rasterize_to_pixels):
        setattr(made, function.__name__, getattr(sys.modules[__name__], function.__name__))
    return made
