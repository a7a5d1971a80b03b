"""Set the look of the scene or of one object."""

from __future__ import annotations

from typing import Any

from backend.progress import Progress
from backend.scene import Workspace
from backend.segment import objects
from backend.segment.shown import look_to_json
from backend.train.appearance import Appearance, Look
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Appearance as Request


def run(request: Request, progress: Progress) -> dict[str, Any]:
    """Keep the setting; renders and exports bake it. Raises InputError for a photo without a look."""
    workspace = Workspace.open(request.workspace)
    if request.to is not None and request.from_ is None:
        raise InputError("bad-option", "--to is the second photo of a mix, but there is no first.", "Give --from too.")
    look = Look(request.from_, request.to, request.mix, request.strength)
    appearance = Appearance.load(workspace)
    if appearance is None:
        raise InputError(
            "no-looks", "This scene has no photo looks: it was imported, not trained here.", "Train it from photos."
        )
    appearance.embedding(look)  # refuses photos without a look before anything is kept
    if request.object is None:
        workspace.update_scene(look=look_to_json(look))
    else:
        objects.set_look(workspace, request.object, look_to_json(look))
    return {"object": request.object or "the scene", **look_to_json(look)}
