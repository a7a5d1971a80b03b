"""The named objects of a workspace: listed, renamed, deleted, merged."""

from __future__ import annotations

from typing import Any

from backend.progress import Progress
from backend.scene import Workspace
from backend.segment import objects
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Objects


def run(request: Objects, progress: Progress) -> dict[str, Any]:
    """Returns all `objects` as they are afterwards. Nothing changes if a name is unknown: InputError."""
    workspace = Workspace.open(request.workspace)
    given = request.names
    if request.action == "list":
        _expect(not given, "list takes no names.", "Run: segwild objects WORKSPACE list.")
    elif request.action == "rename":
        _expect(
            len(given) == 2,
            f"rename takes two names, got {len(given)}.",
            "Run: segwild objects WORKSPACE rename OLD NEW.",
        )
        objects.rename(workspace, *given)
    elif request.action == "delete":
        _expect(bool(given), "delete takes at least one name.", "Run: segwild objects WORKSPACE delete NAME.")
        objects.delete(workspace, *given)
    else:
        _expect(
            len(given) >= 2,
            f"merge takes at least two names, got {len(given)}.",
            "Run: segwild objects WORKSPACE merge INTO NAME.",
        )
        objects.merge(workspace, *given)
    return {
        "objects": [
            {
                "id": item.id,
                "name": item.name,
                "gaussians": len(item.rows),
                "parent": item.parent,
                "color": list(item.color),
                "look": item.look,
            }
            for item in objects.load(workspace)
        ]
    }


def _expect(fine: bool, sentence: str, hint: str) -> None:
    if not fine:
        raise InputError("bad-option", sentence, hint)
