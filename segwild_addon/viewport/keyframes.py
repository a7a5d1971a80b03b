"""Light that is animated: Blender changes the values without telling, so they are compared after each of its updates.

An update follows every frame, and every edit of an F-curve or driver that acts on the present one.
"""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..data import changes, scenes

_ANIMATED = ("look_mix", "look_strength", "exposure", "tint", "saturation", "opacity", "sh_degree")
_last: dict[str, tuple[Any, ...]] = {}  # by object uuid


@persistent
def _after_update(*_: Any) -> None:
    for ob in bpy.data.objects:
        if ob.animation_data is None or (facts := ob.segwild).kind not in scenes.SPLAT_KINDS:
            continue
        values = tuple(tuple(facts.tint) if name == "tint" else getattr(facts, name) for name in _ANIMATED)
        if _last.get(facts.uuid) != values:
            _last[facts.uuid] = values
            changes.announce_look(facts.uuid)


def register() -> None:
    for handlers in (bpy.app.handlers.frame_change_post, bpy.app.handlers.depsgraph_update_post):
        handlers.append(_after_update)


def unregister() -> None:
    for handlers in (bpy.app.handlers.frame_change_post, bpy.app.handlers.depsgraph_update_post):
        handlers.remove(_after_update)
    _last.clear()
