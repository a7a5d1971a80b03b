"""A prompt on one photo into rows of the scene: votes, threshold, fill, cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.render import Seen
from backend.scene import Gaussians, Photo, Workspace
from backend.segment.graph import SceneGraph
from backend.segment.posterior import Votes, best_threshold, mask_votes, posterior
from backend.segment.prompts import Mask
from backend.segment.refine import Refinement, filled
from backend.train.views import in_picture

LONG_SIDE = 640  # pixels of the views that vote


@dataclass(frozen=True, eq=False)
class Selection:
    """What a prompt chose, and why."""

    chosen: np.ndarray  # (N,) bool
    probability: np.ndarray  # (N,) float64
    threshold: float
    evidence: tuple[Votes, ...]


def select_by_mask(
    mask: Mask, scene: Gaussians, graph: SceneGraph, workspace: Workspace, photo: Photo, settings: Refinement
) -> Selection:
    """The rows behind a mask drawn on a photo as taken."""
    assert photo.camera is not None
    camera = photo.camera.fitted(LONG_SIDE)
    pixels = in_picture(mask.pixels, workspace, photo, camera)
    evidence = [mask_votes(Seen(scene, camera), pixels, view=photo.name)]
    return selected(evidence, scene, graph, settings)


def selected(evidence: Sequence[Votes], scene: Gaussians, graph: SceneGraph, settings: Refinement) -> Selection:
    counts = posterior(len(scene), evidence)
    threshold, _ = best_threshold(counts, evidence)
    probability = filled(counts, scene, graph, settings)
    return Selection(probability >= threshold, probability, threshold, tuple(evidence))
