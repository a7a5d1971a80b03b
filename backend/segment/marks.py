"""Marks, clicks anchored in space, into the rows somebody pointed at.

A mark is looked at through a picture of a few pixels around it, drawn from where it was made, in which only
the rows near its depth exist: what hides it here may have been put out of sight there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np

from backend.render import Seen
from backend.scene import Gaussians
from backend.scene.cameras import looking_at
from backend.segment.draft import Prompted
from backend.segment.eyes import Eyes, place_of, widened
from backend.segment.prompts import refuse_contradictions
from backend.segment.seeds import HALF_WINDOW_PX, Seeds, contributors, seeds_at
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.values import Mark

MARKS_MAX = 1000
_FARTHEST = 1e9  # scene units, and pixels: no scene is so large
_REACH = 3.0  # deviations: farther out a row shows nothing
_DEPTH_SHARE = 0.04  # of the distance: rows this far before or behind the mark count as near its depth
_EYE_LEAST = 30.0  # windows: the eye is moved back to this distance, so that near rows are not cut off


def checked_marks(marks: Sequence[Mark]) -> tuple[Mark, ...]:
    """Raises InputError for marks that make no sense, or none on the object."""
    if len(marks) > MARKS_MAX:
        raise InputError("bad-mark", f"{len(marks)} marks are too many.", f"Use at most {MARKS_MAX}.")
    if not any(mark.positive for mark in marks):
        raise InputError("bad-mark", "No mark is on the object.", "Click on the object first.")
    for mark in marks:
        distance = math.dist(mark.position, mark.eye)
        near = max(map(abs, (*mark.position, *mark.eye))) < _FARTHEST
        if not (near and mark.pixel > 0 and 0 < distance < _FARTHEST * mark.pixel):
            raise InputError(
                "bad-mark",
                "A mark has no place, no direction or no size.",
                "Its eye lies apart from it and its pixel is above 0.",
            )
    refuse_contradictions([mark.position for mark in marks], [mark.positive for mark in marks])
    return tuple(marks)


def prompts_of(eyes: Eyes, marks: Sequence[Mark]) -> list[Prompted]:
    """Marks as parts of a draft. Raises InputError as `checked_marks`."""
    scene, spacing = eyes.prepared.scene, eyes.prepared.graph.spacing
    seen: dict[tuple[float, ...], list[Mark]] = {}  # from one eye: the first one's picture is theirs
    for mark in checked_marks(marks):
        seen.setdefault(mark.eye, []).append(mark)
    pictures = {eye: partial(eyes.picture, beheld[0], widened(beheld)) for eye, beheld in seen.items()}
    return [
        Prompted(
            mark,
            mark.positive,
            "",
            partial(seeds_at_mark, scene, spacing, mark),
            pictures[mark.eye],
            partial(place_of, mark),
        )
        for mark in marks
    ]


def seeds_at_mark(
    scene: Gaussians,
    spacing: np.ndarray,  # (N,) float32, world units, of the scene's graph
    mark: Mark,
) -> Seeds:
    """As `seeds_at` for a click where the mark is."""
    position, eye = np.array(mark.position), np.array(mark.eye)
    towards = position - eye
    distance = float(np.linalg.norm(towards))
    towards /= distance
    window = (2 * HALF_WINDOW_PX + 1) * mark.pixel
    offsets = scene.means - position.astype(np.float32)
    # float32 squares of far rows may overflow to infinity: they are far.
    with np.errstate(over="ignore", invalid="ignore"):
        reach = _REACH * np.exp(scene.log_scales.max(1)) + np.float32(window)
        behind = np.abs(offsets @ towards.astype(np.float32))
        near = behind <= 2 * spacing + reach + np.float32(_DEPTH_SHARE * distance)
        sideways = np.einsum("ij,ij->i", offsets, offsets) - behind**2
        rows = np.flatnonzero(near & (sideways <= reach**2) & np.isfinite(reach))
    if not len(rows):
        return Seeds(rows, np.zeros(0))
    back = max(distance, _EYE_LEAST * window)
    size = 2 * HALF_WINDOW_PX + 1
    up = np.eye(3)[int(np.abs(towards).argmin())]
    camera = looking_at(position - back * towards, position, up, focal=back / mark.pixel, width=size, height=size)
    part = scene.take(rows)
    depths = camera.project(part.means.astype(np.float64))[1] - back + distance
    found = seeds_at(contributors(Seen(part, camera)), depths, np.full((1, 2), size / 2), spacing[rows])
    return Seeds(rows[found.rows], found.weights)
