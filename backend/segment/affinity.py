"""A network's features of views into a compact field over the Gaussians: 64 numbers each, and a way back.

Lifted along the features' leading directions, then trained for a short while: rendered and decoded, the field shall be
what the network saw, and pixels that share masks shall be alike (after Seg-Wild). Geometry and opacity stay as they
are, so that no gradient goes through the renderer: that of the field is `accumulate` of that of its picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from backend.features.lift import lift
from backend.features.pixels import Grid, Pixels
from backend.progress import Progress
from backend.render import Seen
from backend.scene import Camera, Gaussians

DIMENSIONS = 64


@dataclass(frozen=True)
class Training:
    """How long and how the field is trained."""

    steps: int = 300  # more: closer to what the network saw, more time
    field_rate: float = 1e-3
    decoder_rate: float = 1e-4
    shared: float = 0.3  # weight of masks in common against the features
    pixels: int = 1024  # whose pairs are compared
    patience: int = 200  # steps without a gain of `gain` end it
    gain: float = 0.01
    seed: int = 0


class Source(Protocol):
    """What the network made of some views, by number."""

    cameras: Sequence[Camera]

    def cells(self, number: int) -> tuple[np.ndarray, tuple[float, float]]:
        """(D, h, w) float features on the network's grid, and the rows and columns of it that the view fills."""

    def members(self, number: int) -> np.ndarray | None:
        """(H, W, n) bool at the camera's size: which masks each pixel lies in; None if there are none."""


@dataclass(frozen=True, eq=False)
class Field:
    """Numbers of every Gaussian, and what turns what is rendered of them into the network's features."""

    values: np.ndarray  # (N, 64) float32
    matrix: np.ndarray  # (D, 64) float32
    offset: np.ndarray  # (D,) float32

    def features(self, seen: Seen) -> np.ndarray:
        """(H, W, D) float32."""
        return seen.render_channels(self.values) @ self.matrix.T + self.offset


@dataclass(frozen=True)
class Fitted:
    """A field, and how far it was off before and after the training."""

    field: Field
    before: float  # mean absolute difference to the features of held-out views
    after: float
    steps: int


def lifted_field(scene: Gaussians, source: Source, progress: Progress) -> Field:
    """Along the leading directions of all views' features, around their mean: no training."""
    count, total, products = 0, np.zeros(0), np.zeros((0, 0))
    for number in range(len(source.cameras)):
        cells, inner = source.cells(number)
        part = _inner(cells, inner).reshape(len(cells), -1).astype(np.float64)
        if not count:
            total, products = np.zeros(len(cells)), np.zeros((len(cells), len(cells)))
        count += part.shape[1]
        total += part.sum(1)
        products += part @ part.T
    mean = total / max(count, 1)
    _, axes = np.linalg.eigh(products / max(count, 1) - np.outer(mean, mean))
    matrix = axes[:, ::-1][:, :DIMENSIONS].astype(np.float32)
    offset = mean.astype(np.float32)
    lifted = lift(scene, _Projected(source, matrix, offset), progress, scaling="mean")
    return Field(lifted.features.astype(np.float32), matrix, offset)


def fitted(
    scene: Gaussians,
    source: Source,
    held_out: Sequence[int],  # views that are not trained on
    field: Field,
    training: Training,
    progress: Progress,
) -> Fitted:
    """The field after a short training; as it was where that does not bring it closer to views held out."""
    before = difference(scene, source, held_out, field)
    used = [number for number in range(len(source.cameras)) if number not in set(held_out)]
    random = np.random.default_rng(training.seed)
    values = field.values.copy()
    first, second = np.zeros((2, *values.shape), np.float32)
    matrix, offset = (torch.from_numpy(array.copy()).requires_grad_() for array in (field.matrix, field.offset))
    decoder = torch.optim.Adam([matrix, offset], training.decoder_rate)
    losses: list[float] = []
    order = np.zeros(0, np.int64)
    progress.phase("Training the affinity field", training.steps)
    for step in range(1, training.steps + 1):
        if not len(order):
            order = random.permutation(used)
        number, order = int(order[-1]), order[:-1]
        seen = Seen(scene, source.cameras[number])
        drawn = torch.from_numpy(seen.render_channels(values)).requires_grad_()
        weight = seen.alpha()
        loss = _loss(drawn @ matrix.T + offset, _target(source, number), weight, source, number, training, random)
        decoder.zero_grad()
        loss.backward()
        decoder.step()
        slope, mass = seen.accumulate(drawn.grad.numpy())
        rows = np.flatnonzero(mass > 0)
        _adam(values, first, second, slope, rows, step, training.field_rate)
        losses.append(loss.item())
        progress.advance(1, f"{losses[-1]:.4f}")
        if step >= 2 * training.patience and step % 50 == 0:
            latest = np.array(losses[-2 * training.patience :]).reshape(2, -1).mean(1)
            if latest[1] > (1 - training.gain) * latest[0]:
                break
    trained = Field(values, matrix.detach().numpy(), offset.detach().numpy())
    after = difference(scene, source, held_out, trained)
    return Fitted(trained if after < before else field, before, after, len(losses))


def difference(scene: Gaussians, source: Source, numbers: Sequence[int], field: Field) -> float:
    """Mean absolute difference of decoded features to the network's, over covered pixels of some views."""
    apart = covered = 0.0
    for number in numbers:
        seen = Seen(scene, source.cameras[number])
        weight = seen.alpha()
        off = np.abs(field.features(seen) - _target(source, number).numpy()).mean(-1)
        apart += float((off * weight).sum())
        covered += float(weight.sum())
    return apart / max(covered, 1e-9)


def _loss(
    decoded: Tensor,  # (H, W, D)
    target: Tensor,  # (H, W, D)
    weight: np.ndarray,  # (H, W)
    source: Source,
    number: int,
    training: Training,
    random: np.random.Generator,
) -> Tensor:
    counted = torch.from_numpy(weight)
    features = ((decoded - target).abs().mean(-1) * counted).sum() / counted.sum().clamp_min(1e-9)
    members = source.members(number)
    if members is None or members.shape[2] == 0 or training.shared <= 0:
        return features
    places = random.choice(weight.size, min(training.pixels, weight.size), replace=False)
    inside = torch.from_numpy(members.reshape(-1, members.shape[2])[places].astype(np.float32))
    chosen = torch.nn.functional.normalize(decoded.reshape(-1, decoded.shape[2])[places], dim=1)
    return (1 - training.shared) * features + training.shared * in_common(chosen, inside)


def in_common(features: Tensor, inside: Tensor) -> Tensor:
    """−mean Ω·relu(cos) over pairs of pixels, from unit features (P, D) and memberships of masks (P, n).

    Ω is the IoU of two pixels' sets of masks, −1 where they share none.
    """
    both = inside @ inside.T
    sizes = inside.sum(1)
    overlap = both / (sizes[:, None] + sizes[None, :] - both + 1e-5)
    overlap = torch.where(both > 0, overlap, -1.0)
    return -(overlap * torch.relu(features @ features.T)).mean()


def _adam(
    values: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    slope: np.ndarray,
    rows: np.ndarray,  # (M,) that the view shows; the others keep their value and their moments
    step: int,
    rate: float,
) -> None:
    one = slope[rows]
    first[rows] = 0.9 * first[rows] + 0.1 * one
    second[rows] = 0.999 * second[rows] + 0.001 * one**2
    values[rows] -= rate * (first[rows] / (1 - 0.9**step)) / (np.sqrt(second[rows] / (1 - 0.999**step)) + 1e-15)


def _target(source: Source, number: int) -> Tensor:
    camera = source.cameras[number]
    cells, inner = source.cells(number)
    return torch.from_numpy(Grid(cells, inner, camera.height, camera.width, unit=False).of(0, len(cells)))


def _inner(cells: np.ndarray, inner: tuple[float, float]) -> np.ndarray:
    rows, columns = (max(1, int(side)) for side in inner)
    return cells[:, :rows, :columns]


class _Projected:
    """Views of a source's features along a few directions."""

    def __init__(self, source: Source, matrix: np.ndarray, offset: np.ndarray) -> None:
        self.source, self.matrix, self.offset = source, matrix, offset
        self.cameras = source.cameras
        self.channels: int = matrix.shape[1]

    def pixels(self, number: int) -> Pixels:
        cells, inner = self.source.cells(number)
        along = np.einsum("dk,dhw->khw", self.matrix, cells.astype(np.float32) - self.offset[:, None, None])
        camera = self.cameras[number]
        return Grid(along, inner, camera.height, camera.width, unit=False)

    def weight(self, number: int, seen: Seen) -> np.ndarray:
        return seen.alpha()


class Part:
    """Some views of a source."""

    def __init__(self, source: Source, numbers: Sequence[int]) -> None:
        self.source, self.numbers = source, list(numbers)
        self.cameras = [source.cameras[number] for number in self.numbers]

    def cells(self, number: int) -> tuple[np.ndarray, tuple[float, float]]:
        return self.source.cells(self.numbers[number])

    def members(self, number: int) -> np.ndarray | None:
        return self.source.members(self.numbers[number])
