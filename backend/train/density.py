"""Which rows multiply and which go: the policy. `Parameters` and `Statistics` carry it out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from backend.render import Threads
from backend.render.projection import rotation_matrices
from backend.scene import Camera, Photo, Workspace
from backend.train import on_device
from backend.train.config import Adaptive, Density
from backend.train.parameters import Parameters

SPLIT_SHRINK = 1.6  # both halves of a split row are that much smaller
RESET_TO = 2.0  # times the opacity below which rows are dropped: what is needed rises before the next event
NEAREST = 0.5  # of the nearest sparse point's depth: nothing solid stands closer to a camera


@dataclass
class Statistics:
    """What density control has seen of each row since the last event. Rows align with the parameters."""

    pull: Tensor  # (N,) sum of screen-space gradient norms, in half pictures
    visits: Tensor  # (N,) steps in which the row was visible

    @classmethod
    def empty(cls, rows: int, device: str = "cpu") -> Statistics:
        return cls(torch.zeros(rows, device=device), torch.zeros(rows, device=device))

    def add(self, visible: Tensor, absgrad: Tensor, camera: Camera) -> None:
        """Note the absolute gradients (S, 2), per pixel, of visible rows (S,)."""
        self.pull[visible] += torch.hypot(absgrad[:, 0] * (camera.width / 2), absgrad[:, 1] * (camera.height / 2))
        self.visits[visible] += 1

    def mean(self) -> Tensor:
        return self.pull / self.visits.clamp_min(1)


def event_interval(steps: int) -> int:
    """Steps between two events."""
    return int(np.clip(steps // 120, 10, 100))


def grow(
    rows: Parameters, statistics: Statistics, policy: Adaptive, *, step: int, steps: int, span: float, seed: int
) -> int:
    """Multiply the rows that pull hardest, as many as the schedule asks for; returns how many were added.

    `span` is the radius of the sparse points, scene units: cameras may stand many times as far from what they show.
    """
    count = len(rows)
    interval = event_interval(steps)
    left = max(1, math.ceil((policy.grow_until * steps - step) / interval))
    factor = min(policy.growth_max, (policy.cap / count) ** (1 / left)) if count < policy.cap else 1.0
    pull = statistics.mean()
    pull[statistics.visits == 0] = 0
    wanted = min(round(count * (factor - 1)), policy.cap - count, int((pull > 0).sum()))
    if wanted <= 0:
        return 0
    chosen = torch.topk(pull, wanted).indices.sort().values
    scales = rows["log_scales"].detach()[chosen].exp()
    large = scales.amax(1) > policy.split_above * span
    copies = {name: value.detach()[chosen].clone() for name, value in rows.values.items()}

    # A split row becomes two smaller ones, drawn from its own density; a small one is doubled in place.
    random = torch.Generator().manual_seed(seed * 1_000_003 + step)
    axes = rotation_matrices(copies["quats"]) * scales[:, None, :]
    noise = torch.randn(2, wanted, 3, generator=random).to(axes.device)  # the same numbers on every device
    offsets = torch.einsum("nij,knj->kni", axes, noise) * large[:, None]
    shrink = math.log(SPLIT_SHRINK) * large.float()[:, None]
    with torch.no_grad():
        rows["means"][chosen] += offsets[0]
        rows["log_scales"][chosen] -= shrink
    copies["means"] = copies["means"] + offsets[1]
    copies["log_scales"] = copies["log_scales"] - shrink
    rows.append(copies)
    return wanted


def reset_opacities(rows: Parameters, policy: Adaptive) -> None:
    """Make every row nearly transparent (Kerbl et al. 2023, section 5.2): what photos do not raise again is dropped."""
    limit = RESET_TO * policy.prune_below
    with torch.no_grad():
        rows["opacity_logits"].clamp_(max=math.log(limit / (1 - limit)))
    rows.forget(slice(None), "opacity_logits")


@njit(parallel=True, cache=True)
def _in_a_face(means, centres, forwards, limits):
    """(N,) bool: before a camera (C,) and nearer to it than its limit."""
    found = np.zeros(len(means), np.bool_)
    for i in prange(len(means)):
        for j in range(len(centres)):
            x, y, z = means[i, 0] - centres[j, 0], means[i, 1] - centres[j, 1], means[i, 2] - centres[j, 2]
            near = x * x + y * y + z * z < limits[j] * limits[j]
            if near and x * forwards[j, 0] + y * forwards[j, 1] + z * forwards[j, 2] > 0:
                found[i] = True
                break
    return found


def useless(rows: Parameters, policy: Density, *, extent: float, cameras: list[tuple[Camera, float]]) -> Tensor:
    """(N,) bool, rows to drop: transparent, as large as the scene, or in a photographer's face.

    `cameras` come with the depth of the nearest sparse point each one sees.
    """
    opacities = torch.sigmoid(rows["opacity_logits"].detach())
    largest = rows["log_scales"].detach().amax(1).exp()
    drop = (opacities < policy.prune_below) | (largest > policy.largest * extent)
    centres = np.array([camera.centre for camera, _ in cameras], np.float32).reshape(-1, 3)
    forwards = np.array([camera.forward for camera, _ in cameras], np.float32).reshape(-1, 3)
    limits = NEAREST * np.array([nearest for _, nearest in cameras], np.float32)
    if not drop.is_cpu:
        there = (torch.from_numpy(array).to(drop.device) for array in (centres, forwards, limits))
        return drop | on_device.in_a_face(rows["means"].detach(), *there)
    with Threads():
        return drop | torch.from_numpy(_in_a_face(rows["means"].detach().numpy(), centres, forwards, limits))


def with_nearest(photos: list[Photo], workspace: Workspace) -> list[tuple[Camera, float]]:
    """Each photo's camera with the 1 % quantile of the depths of the sparse points it sees."""
    seen = workspace.points().by_photo(workspace.photos())
    result = []
    for photo in photos:
        assert photo.camera is not None
        depths = photo.camera.project(seen[photo.name].astype(float))[1]
        depths = depths[depths > 0]
        if len(depths) >= 10:
            result.append((photo.camera, float(np.quantile(depths, 0.01))))
    return result
