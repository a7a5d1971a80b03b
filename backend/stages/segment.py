"""Clicks, a mask or a box on one photo -> a named object."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from backend.features import Lifted, colour
from backend.features.sam import find_checkpoint, open_network
from backend.progress import Progress
from backend.scene import Workspace
from backend.segment import metrics, objects
from backend.segment.orbit import Orbit
from backend.segment.prompts import Clicks, Mask, Prompt, prompt_of
from backend.segment.scoring import visible_share
from backend.segment.segmenters import Sam, around, looking_alike, masked
from backend.segment.selection import Selector
from backend.stages import lift
from backend.stages.cutting import cut_object
from backend.stages.opened import Opened
from backend.train.views import in_picture
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Lift, Segment

_ORBIT_MOST = 24  # views that there are around an object


def run(request: Segment, progress: Progress, opened: Opened | None = None) -> dict[str, Any]:
    """Select rows and keep them as an object; one of that name gets the new rows, keeping id and look.

    Returns the `object`, its `id`, the number of `gaussians`, the `threshold` on their posterior, the
    `view` and `time_secs`; if a network was asked, the views around as `orbit`; for a mask also `iou`, how well the
    selection rendered there fits it; if it was cut, what `cut_object` returns as `cut`. Who selects several times keeps
    the workspace `opened`. Raises InputError for a prompt that makes no sense, and then changes nothing. Who stops it
    while it looks from other sides has the object as it was by then.
    """
    workspace = Workspace.open(request.workspace)
    began = time.monotonic()
    objects.checked_name(request.name)
    if not (workspace.root / "photos.json").exists():
        raise InputError(
            "no-photos-yet",
            f"The workspace has no photos to click on: {workspace.root}.",
            "Import the splat again with --cameras and the scene it was trained from.",
        )
    photo = workspace.photo(request.view)
    prompt = prompt_of(photo, request.click, request.mask, request.box)
    objects.names(workspace)  # a damaged or stale list is found before the work, not after
    if not 0 <= request.orbit <= _ORBIT_MOST:
        raise InputError("bad-option", f"--orbit is {request.orbit}.", f"Choose 0 to {_ORBIT_MOST}; 4 is usual.")
    if request.checkpoint is not None and request.segmenter != "sam":
        raise InputError("bad-option", "--checkpoint needs a segmenter that has one.", "Add --segmenter sam.")
    checkpoint = find_checkpoint(request.checkpoint) if request.segmenter == "sam" else None
    lifted = _compared(request, workspace, prompt, progress) if request.segmenter == "features" else None
    lift.run(Lift(workspace.root), progress)
    network = None if checkpoint is None else open_network(checkpoint)
    prepared = (opened or Opened(workspace.root)).prepared
    selector = Selector(prepared, workspace, photo)
    if network is not None and not isinstance(prompt, Mask):
        progress.phase("Looking at the view")  # 20 s without a card, and at once when the view is known
        prompt = masked(Sam(network, workspace), selector, prompt, request.scale)
    progress.phase("Selecting")
    if lifted is None:
        selection = selector.select(prompt)
    else:
        assert isinstance(prompt, Clicks)  # checked
        selection = looking_alike(selector, prompt, lifted, request.margin)
    if isinstance(prompt, Mask) or selection.of_picture:
        # Measured: carrying adds 0.02 to a mask's IoU and 0.03 to 0.07 to that of clicks a picture answered. Of other
        # clicks up to 0.02 is lost, whose region already goes around the object.
        selection = selector.carried(selection)
    masks = {photo.name: prompt.pixels} if isinstance(prompt, Mask) else {}
    guessed = masks if request.mask is None else ()

    def kept() -> objects.Object:
        return objects.save(
            workspace,
            request.name,
            selection.chosen,
            selection.probability,
            selection.evidence,
            masks,
            guessed=guessed,
            splats=prepared.splats,
        )

    item = kept()
    asked = []
    if network is not None and request.orbit:
        progress.phase("Looking from other sides", request.orbit)
        sam = Sam(network, workspace)
        for step in around(sam, prepared, selection, selector.camera, Orbit(views=request.orbit)):
            asked.append({"view": step.view, "agreement": round(step.agreement, 4), "used": step.used})
            if step.used:  # kept at once: whoever stops here has the object as it is
                selection = step.selection
                item = kept()
            progress.advance(1, step.view)
    result = {
        "object": item.name,
        "id": item.id,
        "gaussians": len(item.rows),
        "view": photo.name,
        "threshold": round(selection.threshold, 4),
        "time_secs": round(time.monotonic() - began, 2),
    }
    if network is not None:
        result["orbit"] = asked
    if isinstance(prompt, Mask):
        drawn = in_picture(prompt.pixels, workspace, photo, selector.camera)
        shown = (
            visible_share(prepared.scene, np.flatnonzero(selection.chosen), selector.camera) > metrics.ALPHA_THRESHOLD
        )
        result["iou"] = metrics.iou(shown, drawn)
    if request.cut != "none":
        try:
            result["cut"] = cut_object(workspace, item.name, request.cut, progress, prepared)
        except InputError as error:  # the object is kept, whole
            progress.warn(error.code, error.sentence)
    return result


def _compared(request: Segment, workspace: Workspace, prompt: Prompt, progress: Progress) -> Lifted:
    """The features that rows are compared by. Raises InputError for what they cannot answer."""
    if not isinstance(prompt, Clicks):
        raise InputError(
            "bad-prompt", "Features are compared with what was clicked.", "Give --click, or leave --segmenter out."
        )
    if not -2 <= request.margin <= 2:
        raise InputError("bad-option", f"--margin is {request.margin:g}.", "Cosines differ by -2 to 2; try 0.1.")
    if request.features == colour.NAME:
        lift.run(Lift(workspace.root), progress)
    return Lifted.find(workspace, request.features)
