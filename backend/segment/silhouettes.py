"""A selection into the outlines that it has in photos: those that were drawn, and guessed ones from other sides."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from backend.features.neutral import Neutral
from backend.progress import Progress, Quiet
from backend.scene import Camera, Gaussians
from backend.segment.carry import OFFERED, Carrying, redrawn, spread_views
from backend.segment.cutter import Cutting
from backend.segment.junk import needles
from backend.segment.outline import Outline

_LONG_SIDE = 480  # pixels of guessed outlines
_LEAST_PX = 60  # a selection that shows less has no outline


def outlines_of(
    scene: Gaussians,
    chosen: np.ndarray,  # (N,) bool
    spacing: np.ndarray,  # (N,) world units between neighbours
    photos: Sequence[tuple[str, Camera]],
    given: Sequence[Outline],
    settings: Cutting,
    progress: Progress | None = None,
) -> list[Outline]:
    """The given outlines, and those of the rendered selection in `settings.views` other photos that show it, moved to
    edges of colour there.

    Needles have no word in that: where they reach is the question. `progress` hears of every photo that is looked at.
    """
    progress = progress or Quiet()
    result = [outline for outline in given if _has_edge(outline.mask)]
    if not chosen.any():
        return result
    body = chosen & (needles(scene, spacing) < 1)
    body = body if body.any() else chosen
    points = scene.means[chosen].astype(np.float64)
    others = [(name, camera) for name, camera in photos if name not in {outline.name for outline in result}]
    if not others:
        return result
    first = result[0].camera if result else others[0][1]
    views = spread_views(others, points, OFFERED * settings.views, besides=first)
    most = len(result) + settings.views
    if not result and others[0][0] not in {name for name, _ in views[: settings.views]}:
        views = [others[0], *(view for view in views if view[0] != others[0][0])]
        most += 1
    for name, camera in views:
        if len(result) == most:
            break
        progress.advance()
        view = Neutral(scene, camera.fitted(_LONG_SIDE))
        share = view.seen.render_channels(body.astype(np.float32)[:, None])[..., 0]
        if (share > 0.5).sum() < _LEAST_PX:
            continue
        progress.advance()
        # What is shown is not taken away for its colour: rows were chosen by such masks already.
        mask = redrawn(view.picture, share, Carrying()) | (share > 0.5)
        if mask.sum() < _LEAST_PX or not _has_edge(mask):
            continue
        wider = distance_transform_edt(~mask) <= settings.margin * float(np.hypot(*mask.shape))
        if _has_edge(wider):
            result.append(Outline(name, view.camera, wider, drawn=False))
    return result


def _has_edge(mask: np.ndarray) -> bool:
    return bool(mask.any()) and not mask.all()
