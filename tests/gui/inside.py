"""Runs inside Blender: does what lines of JSON on its standard input ask for, in a timer, as a script would.

A line {"id": N, "run": SOURCE, "view": BOOL} is executed, with the first 3D view as context if `view` is true; what it
leaves in `result` (JSON) is printed as one marked line, or the end of the traceback in `error`. The source has `bpy`,
`addon(NAME)` for a module of the add-on, and `view_context()`.
"""

import contextlib
import importlib
import json
import queue
import sys
import threading
import traceback

import bpy

MARK = "SEGWILD "
orders = queue.Queue()
space = {"bpy": bpy}


def read():
    for line in sys.stdin:
        orders.put(json.loads(line))


def say(**message):
    print(MARK + json.dumps(message), flush=True)


def view_context():
    """A context of the first 3D view, for operators that need one."""
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    return {"window": window, "area": area, "region": region, "space_data": area.spaces.active}


def addon(name):
    """A module of the add-on, which is a package of another name where it is installed."""
    package = "bl_ext.user_default.segwild" if "bl_ext.user_default.segwild" in sys.modules else "segwild_addon"
    return importlib.import_module(f"{package}.{name}")


def tick():
    try:
        order = orders.get_nowait()
    except queue.Empty:
        return 0.02
    space.pop("result", None)
    try:
        # Loading a file ends the context: those orders come without one.
        with bpy.context.temp_override(**view_context()) if order["view"] else contextlib.nullcontext():
            exec(compile(order["run"], "<test>", "exec"), space)
        say(id=order["id"], result=space.get("result"))
    except Exception:
        say(id=order["id"], error=traceback.format_exc()[-1500:])
    return 0.02


def started():
    say(started=bpy.app.version_string)
    bpy.app.timers.register(tick, persistent=True)


space.update(addon=addon, view_context=view_context)
bpy.context.preferences.view.show_splash = False
# A clean picture: no smooth changes of view, no pop-ups that swallow keys.
bpy.context.preferences.view.smooth_view = 0
threading.Thread(target=read, daemon=True).start()
bpy.app.timers.register(started, first_interval=0.5)
