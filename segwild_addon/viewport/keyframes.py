"""Light that is animated: Blender changes the values of a frame without telling, so they are compared after each."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.handlers import persistent

from ..data import changes, scenes

_ANIMATED = ("look_mix", "look_strength", "exposure", "tint", "saturation", "opacity", "sh_degree")
_last: dict[str, tuple[Any, ...]] = {}  # by object uuid


@persistent
def _after_frame(*_: Any) -> None:
    for ob in bpy.data.objects:
        facts = ob.segwild
        if facts.kind not in scenes.SPLAT_KINDS or ob.animation_data is None:
            continue
        values = tuple(tuple(facts.tint) if name == "tint" else getattr(facts, name) for name in _ANIMATED)
        if _last.get(facts.uuid) != values:
            _last[facts.uuid] = values
            changes.announce_look(facts.uuid)


def register() -> None:
    bpy.app.handlers.frame_change_post.append(_after_frame)


def unregister() -> None:
    bpy.app.handlers.frame_change_post.remove(_after_frame)
    _last.clear()
