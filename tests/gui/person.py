"""Someone who works in Blender at random: which actions there are, when each is possible, and how it is done.

Actions are what a person does: keys and the mouse over a 3D view, buttons and menus (operators with undo), settings.
Each returns what it did in words. Whatever is asked of an operator here should work: a refusal is a mistake.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .driver import Driver

WAIT_SECS = 60.0
TEACH = """
import os, random as _random
import numpy as np
def view_of(region):
    found = next(a for w in bpy.context.window_manager.windows for a in w.screen.areas if region in a.regions[:])
    return found
def spaces():
    return [a for a in bpy.context.window.screen.areas if a.type == 'VIEW_3D']
def world_of(ob, row):
    position = np.zeros(3 * len(ob.data.points), np.float32)
    ob.data.attributes['position'].data.foreach_get('vector', position)
    return ob.matrix_world @ __import__('mathutils').Vector(position[3 * row : 3 * row + 3].tolist())
def memory():
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE') / 1e6
def facts():
    scene, layer, window = bpy.context.scene, bpy.context.view_layer, bpy.context.window_manager.windows[0]
    active = layer.objects.active
    found = {'mode': active.mode if active else 'OBJECT', 'file': bpy.data.filepath, 'areas': len(window.screen.areas),
             'full': window.screen.show_fullscreen, 'views': []}
    for area in window.screen.areas:
        if area.type == 'VIEW_3D':
            for region in area.regions:
                if region.type == 'WINDOW' and min(region.width, region.height) > 120:
                    found['views'].append([region.x, window.height - region.y - region.height, region.width,
                                           region.height])
    scenes = addon('data.scenes')
    own = scenes.active(bpy.context)
    found['scenes'] = [s.name for s in scenes.all_scenes()]
    found['objects'] = [[ob.name, ob.segwild.kind, len(ob.data.points), ob.hide_get(), ob.select_get()]
                        for ob in layer.objects if ob.type == 'POINTCLOUD' and ob.segwild.kind in ('REST', 'SEGMENT')]
    found['active'] = active.name if active else ''
    found['prompts'] = len(scene.segwild.prompts)
    found['selecting'] = addon('viewport.prompts').running()
    found['prompt_mode'] = bpy.context.window_manager.segwild.prompt_mode
    found['waiting'] = addon('viewport.selection').waiting()
    found['selected'] = len(addon('viewport.selection').ids())
    link = addon('work').link_of(bpy.context)
    found['backend'] = 'stopped' if link is None else 'ending' if link.ending else link.status.state
    found['library'] = own is not None and own.library is not None
    found['spaces'] = len(spaces())
    found['trouble'] = addon('session').trouble()
    found['memory'] = memory()
    return found
"""


@dataclass(frozen=True)
class Action:
    name: str
    weight: float
    when: Callable[[dict[str, Any]], Any]
    do: Callable[[Person, dict[str, Any]], str]


ACTIONS: list[Action] = []


def action(weight: float, when: Callable[[dict[str, Any]], Any] = lambda facts: True):
    def put(do: Callable[[Person, dict[str, Any]], str]):
        ACTIONS.append(Action(do.__name__, weight, when, do))
        return do

    return put


class Person:
    """One Blender with the add-on, two workspaces and a folder for files."""

    def __init__(self, blender: Driver, workspaces: list[Path], folder: Path) -> None:
        self.blender, self.workspaces, self.folder = blender, workspaces, folder
        self.random = random.Random()
        self.files: list[Path] = []
        self.python = ""  # of the backend

    def facts(self) -> dict[str, Any]:
        """What there is, after all keys and clicks so far: a timer runs before the events that arrived with it."""
        for _ in range(2):
            self.blender.run("result = 0", view=False)
        return self.blender.run("result = facts()", view=False)

    def press(self, operator: str, **options: Any) -> str:
        """A button or menu entry, with a step of undo as those have."""
        words = "".join(f", {name}={value!r}" for name, value in options.items())
        self.blender.run(f"bpy.ops.{operator}('EXEC_DEFAULT', True{words})")
        return f"{operator}{words}"

    def set(self, source: str, message: str) -> str:
        """A setting, with the step of undo that a slider or a field makes."""
        self.blender.run(f"{source}\nbpy.ops.ed.undo_push(message={message!r})")
        return source.strip()

    def place(self, facts: dict[str, Any], *, on_splats: float = 0.75) -> tuple[int, int]:
        """A pixel of the screen over a 3D view, most often where there are splats."""
        left, top, width, height = self.random.choice(facts["views"])
        shown = [row for row in facts["objects"] if row[2] and not row[3]]
        if shown and self.random.random() < on_splats:
            name, _, count, _, _ = self.random.choice(shown)
            at = self.blender.run(f"""
                from bpy_extras.view3d_utils import location_3d_to_region_2d
                result = None
                for area in spaces():
                    for region in area.regions:
                        if region.type == 'WINDOW' and region.x == {left} and region.width == {width}:
                            ob = bpy.data.objects[{name!r}]
                            at = location_3d_to_region_2d(
                                region, region.data, world_of(ob, {self.random.randrange(count)}))
                            result = at and [at.x, region.height - at.y]
            """)
            if at and 10 < at[0] < width - 10 and 10 < at[1] < height - 10:
                return round(left + at[0]), round(top + at[1])
        return left + self.random.randint(15, width - 15), top + self.random.randint(15, height - 15)

    def over_view(self, facts: dict[str, Any]) -> None:
        """Where keys are meant for the 3D view."""
        left, top, width, height = facts["views"][0]
        self.blender.move(left + width // 2, top + height // 2)

    def drag(self, start: tuple[int, int], end: tuple[int, int], *held: str, button: int = 1) -> None:
        self.blender.move(*start)
        for key in held:
            self.blender.x("keydown", key)
        self.blender.x("mousedown", str(button))
        for part in range(1, 6):
            self.blender.drag_to(*(a + (b - a) * part / 5 for a, b in zip(start, end, strict=True)))
            time.sleep(0.03)
        self.blender.x("mouseup", str(button))
        for key in held:
            self.blender.x("keyup", key)

    def some(self, facts: dict[str, Any], *, kind: str = "", shown: bool = False) -> str:
        rows = facts["objects"]
        return self.random.choice([row[0] for row in rows if row[1] == (kind or row[1]) and not (shown and row[3])])

    def pick(self, *names: str) -> None:
        """Select these objects, the last one active, as clicks in the list do."""
        self.blender.run("for ob in bpy.context.view_layer.objects: ob.select_set(False)")
        for name in names:
            self.blender.run(f"bpy.data.objects[{name!r}].hide_set(False)")
            self.press("segwild.pick_object", name=name)
            self.blender.run(f"bpy.data.objects[{names[0]!r}].select_set(True)")


def in_scene(facts: dict[str, Any]) -> bool:
    return bool(facts["objects"]) and facts["mode"] == "OBJECT"


def idle(facts: dict[str, Any]) -> bool:
    return in_scene(facts) and not facts["selecting"]


def segments(facts: dict[str, Any]) -> list[str]:
    return [row[0] for row in facts["objects"] if row[1] == "SEGMENT"]
