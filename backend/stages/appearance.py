"""Learn the looks of photos the training did not see; set the look of the scene or of one object."""

from __future__ import annotations

from typing import Any

from backend.progress import Progress
from backend.render import chosen_engine
from backend.scene import Workspace
from backend.segment import objects
from backend.segment.shown import look_to_json
from backend.train.appearance import Appearance, Look
from backend.train.fit import FIT_STEPS, Fit, look_of
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Appearance as Request


def run(request: Request, progress: Progress) -> dict[str, Any]:
    """Keep the setting; renders and exports bake it. The scene itself stays as it is when looks are `learned`.

    With `learn` alone the setting stays too. Raises InputError for a photo without a look.
    """
    workspace = Workspace.open(request.workspace)
    if request.to is not None and request.from_ is None:
        raise InputError("bad-option", "--to is the second photo of a mix, but there is no first.", "Give --from too.")
    look = Look(request.from_, request.to, request.mix, request.strength)
    appearance = Appearance.load(workspace)
    if appearance is None:
        raise InputError(
            "no-looks",
            "This scene has no photo looks: it was imported, or trained with one light for all photos.",
            "Train it from photos.",
        )
    if request.learn:
        appearance = _learned(workspace, appearance, request, progress)
    result: dict[str, Any] = {"learned": list(request.learn)} if request.learn else {}
    if request.learn and look == Look() and request.object is None:
        return result
    appearance.embedding(look)  # refuses photos without a look before anything is kept
    if request.object is None:
        workspace.update_scene(look=look_to_json(look))
    else:
        objects.set_look(workspace, request.object, look_to_json(look))
    return result | {"object": request.object or "the scene", **look_to_json(look)}


def _learned(workspace: Workspace, appearance: Appearance, request: Request, progress: Progress) -> Appearance:
    photos = [workspace.photo(name) for name in request.learn]
    engine = chosen_engine(request.device, progress)
    trained = (workspace.made("train") or {}).get("settings", {})
    fit = Fit(workspace.gaussians(), appearance, engine)
    progress.phase("Learning looks", len(photos) * FIT_STEPS)
    for photo in photos:
        found = look_of(workspace, photo, fit, long_side=int(trained.get("long_side", 640)), step_done=progress.advance)
        appearance = appearance.with_look(photo.name, found)
    with workspace.changing():
        appearance.save(workspace)
    return appearance
