"""A scene into things that may be objects: clusters of the affinity field where there is one, or what stands apart."""

from __future__ import annotations

import numpy as np

from backend.features import Lifted
from backend.progress import Progress
from backend.scene import Workspace
from backend.segment.prepared import Prepared
from backend.segment.proposals import proposals
from backend.segment.standing import MOST, standing_apart
from backend.stages import affinity


def proposed(workspace: Workspace, prepared: Prepared, progress: Progress) -> np.ndarray:
    """(N,) uint8: the number of the thing each row belongs to, from 1 on, the largest first; 0: none."""
    progress.phase("Finding objects")
    scene = prepared.scene
    _ = prepared.graph
    progress.advance()
    numbers = np.zeros(len(scene), np.uint8)
    field = Lifted.load(workspace, affinity.NAME)
    if field is not None:
        features = field.features.astype(np.float32)
        clusters = proposals(features, ~field.unseen, scene.means, prepared.graph, progress=progress)
        for number, rows in enumerate(clusters[:MOST], 1):
            numbers[rows] = number
        return numbers
    _ = prepared.walks
    progress.advance()
    prepared.walks.solve(contested=False)
    progress.advance()
    for number, rows in enumerate(standing_apart(prepared.walks, scene.means, progress), 1):
        chosen = prepared.decided([prepared.region_votes(rows)]).chosen  # translucent rows, too
        numbers[chosen & (numbers == 0)] = number
        progress.advance()
    return numbers
