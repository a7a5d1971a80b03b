"""Runs inside Blender: does what lines of JSON on its standard input ask for, in a timer, as a script would.

A line {"id": N, "run": SOURCE} is executed; what it leaves in `result` (JSON) is printed as one marked line, or the
end of the traceback in `error`.
"""

import json
import queue
import sys
import threading
import time
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


def tick():
    try:
        order = orders.get_nowait()
    except queue.Empty:
        return 0.02
    space.pop("result", None)
    try:
        with bpy.context.temp_override(**view_context()):
            exec(compile(order["run"], "<test>", "exec"), space)
        say(id=order["id"], result=space.get("result"))
    except Exception:
        say(id=order["id"], error=traceback.format_exc()[-1500:])
    return 0.02


def started():
    say(started=bpy.app.version_string)
    bpy.app.timers.register(tick, persistent=True)


space.update(view_context=view_context, time=time)
bpy.context.preferences.view.show_splash = False
# A clean picture: no smooth changes of view, no pop-ups that swallow keys.
bpy.context.preferences.view.smooth_view = 0
threading.Thread(target=read, daemon=True).start()
bpy.app.timers.register(started, first_interval=0.5)
