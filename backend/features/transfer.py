"""Labelled patches of a few photos into a label for every row: the nearest patches in feature space vote.

Patches are of the lifted features, drawn at the photos' poses, and not of what the encoder said of one photo alone:
that is the space rows are in, whatever standardised or compressed it, and all views have had their say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backend.features.lift import Lifted
from backend.render import Seen

LONG_SIDE = 320  # pixels of the views that patches are cut from
PATCH_PX = 4  # side of a patch
MOST = 4096  # patches, shared evenly by labels: a million rows with 1024 channels take a minute or two
NEIGHBOURS = 5
UNSAID = -1
_HALF = 0.5  # of a patch must show the scene, and one label
_CHANNELS = 64  # drawn at once
_COMPARED = 1 << 24  # cosines at once, 64 MB
_SHORT = 1e-6


@dataclass(frozen=True, eq=False)
class Patches:
    """Labelled places of some pictures."""

    features: np.ndarray  # (M, D) float32, unit
    labels: np.ndarray  # (M,) int64, from 0

    @classmethod
    def joined(cls, parts: Sequence[Patches], seed: int = 0) -> Patches:
        """All of them, or `MOST`: labels that have more than their share are drawn from at random."""
        features, labels = (np.concatenate([getattr(part, name) for part in parts]) for name in ("features", "labels"))
        kinds = np.unique(labels)
        share = MOST // max(len(kinds), 1)
        random = np.random.default_rng(seed)
        kept = [random.permutation(np.flatnonzero(labels == kind))[:share] for kind in kinds]
        places = np.sort(np.concatenate(kept)) if kept else np.zeros(0, np.int64)
        return cls(features[places], labels[places])


@dataclass(frozen=True, eq=False)
class Transferred:
    """What the nearest patches say of every row."""

    labels: np.ndarray  # (N,) int64, UNSAID for rows without features
    confidence: np.ndarray  # (N,) float32 in 0..1: share of the votes times their mean cosine


def patches(
    lifted: Lifted,
    seen: Seen,  # of a labelled photo's pose
    labels: np.ndarray,  # (H, W) int, on the view's pixels, UNSAID where nothing is said
) -> Patches:
    """Squares of the view that show the scene and, mostly, one label."""
    height, width = (side // PATCH_PX for side in labels.shape)
    if not height or not width:
        return Patches(np.zeros((0, lifted.features.shape[1]), np.float32), np.zeros(0, np.int64))
    blocks = _blocks(labels, height, width)
    kinds = np.unique(blocks[blocks != UNSAID])
    shares = np.stack([(blocks == kind).mean(-1) for kind in kinds]) if len(kinds) else np.zeros((1, height, width))
    covered = _blocks(seen.alpha(), height, width).mean(-1) >= _HALF
    taken = np.nonzero(covered & (shares.max(0) > _HALF))
    values = np.zeros((len(taken[0]), lifted.features.shape[1]), np.float32)
    for first in range(0, values.shape[1], _CHANNELS):
        part = slice(first, first + _CHANNELS)
        drawn = seen.render_channels(lifted.features[:, part].astype(np.float32))
        values[:, part] = np.stack(
            [_blocks(channel, height, width).mean(-1)[taken] for channel in np.moveaxis(drawn, -1, 0)], 1
        )
    length = np.linalg.norm(values, axis=1)
    directed = length > _SHORT
    numbers = kinds[shares.argmax(0)[taken]] if len(kinds) else np.zeros(0, np.int64)
    return Patches(values[directed] / length[directed, None], numbers[directed].astype(np.int64))


def transferred(lifted: Lifted, known: Patches, neighbours: int = NEIGHBOURS) -> Transferred:
    """The label that most of the nearest patches by cosine have; of equally many, the one of the larger cosine sum."""
    count, channels = lifted.features.shape
    result = Transferred(np.full(count, UNSAID, np.int64), np.zeros(count, np.float32))
    k = min(neighbours, len(known.labels))
    if not k:
        return result
    kinds, numbers = np.unique(known.labels, return_inverse=True)
    others = torch.from_numpy(np.ascontiguousarray(known.features.T))
    step = max(1, _COMPARED // max(len(known.labels), channels))
    for top in range(0, count, step):
        rows = np.arange(top, min(top + step, count))
        values = lifted.features[rows].astype(np.float32)
        length = np.linalg.norm(values, axis=1)
        fine = (length > _SHORT) & ~lifted.unseen[rows]
        rows, values = rows[fine], values[fine] / length[fine, None]
        cosines, places = (part.numpy() for part in torch.topk(torch.from_numpy(values) @ others, k))
        votes, sums = np.zeros((2, len(rows), len(kinds)), np.float32)
        for nth in range(k):
            said = (np.arange(len(rows)), numbers[places[:, nth]])
            votes[said] += 1
            sums[said] += cosines[:, nth]
        most = votes == votes.max(1, keepdims=True)
        winner = np.where(most, sums, -np.inf).argmax(1)
        own = (np.arange(len(rows)), winner)
        result.labels[rows] = kinds[winner]
        # Share of the votes times their mean cosine: votes / k * sum / votes.
        result.confidence[rows] = np.clip(sums[own] / k, 0, 1)
    return result


def _blocks(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width, PATCH_PX²): the pixels of each patch; what is left at the right and below is dropped."""
    cut = picture[: height * PATCH_PX, : width * PATCH_PX]
    return cut.reshape(height, PATCH_PX, width, PATCH_PX).swapaxes(1, 2).reshape(height, width, -1)
