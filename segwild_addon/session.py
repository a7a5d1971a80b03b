"""What backends tell, into Blender: one timer on the main thread that empties their queues in small pieces.

A backend per workspace (`Link`), listeners for what happens, work that waits for a quiet moment (`soon`), and
answers of threads (`post`). Nothing here waits for a backend: the longest a call takes is the work of its
handlers. In the `bpy` wheel timers never fire; tests call `pump`.
"""

from __future__ import annotations

import contextlib
import queue
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
from bpy.app.handlers import persistent

from .client.link import Link
from .data.places import absolute
from .protocol.errors import SegWildError

BUDGET_SECS = 0.01  # of the main thread, per tick
ASKED_SECS = 0.02  # between ticks: an answer is awaited
BUSY_SECS = 0.1
IDLE_SECS = 1.0
WAIT = object()  # what a step yields that cannot go on yet: it is asked again at the next tick
LEAVE_SECS = 2.0  # that leaving Blender may wait; a backend of ours ends by itself when its pipe closes

Listener = Callable[[Link, Any], None]

links: dict[str, Link] = {}  # by folder
listeners: list[Listener] = []  # hear everything that `Link.take` returns
_posted: queue.Queue[Callable[[], None]] = queue.Queue()
_soon: dict[str, tuple[float, Callable[[], None]]] = {}  # by key: when, what
_work: dict[str, tuple[Iterator[Any], Callable[[Any, SegWildError | None], None]]] = {}
_trouble: list[str] = []  # the last thing that went wrong in a handler of ours
_drawn: dict[str, float] = {"at": 0.0}
_next: dict[str, float] = {"at": 0.0}  # the tick that is to come; 0: one is under way


def link(folder: str | Path) -> Link:
    """The link of a workspace, made at the first call. Starts nothing."""
    key = absolute(folder)
    if key not in links:
        links[key] = Link(Path(key))
    return links[key]


def known(folder: str | Path) -> Link | None:
    """The link of a workspace if there is one. For `draw`: makes nothing."""
    return links.get(absolute(folder)) if str(folder) else None


def running(folder: str | Path) -> Link | None:
    """The link of a workspace if its backend runs."""
    found = known(folder)
    return found if found is not None and found.running else None


def post(call: Callable[[], None]) -> None:
    """Have something done on the main thread. Any thread may call this."""
    _posted.put(call)


def soon(key: str, call: Callable[[], None], secs: float = 0.0) -> None:
    """Have something done on the main thread after `secs` without another call for the same key."""
    _soon[key] = time.monotonic() + secs, call
    wake(secs)


def waits_for(key: str) -> bool:
    """Whether something is still to be done `soon` under this key."""
    return key in _soon


def carry_out(key: str, steps: Iterator[Any], then: Callable[[Any, SegWildError | None], None]) -> None:
    """Long work in short steps, between which Blender draws. `then` gets the result or what went wrong."""
    _work[key] = steps, then
    wake()


def at_rest() -> bool:
    """Whether the file may be changed, and a step of undo made: in Object Mode, while nothing is dragged and no render
    has locked the interface."""
    manager = bpy.context.window_manager
    under_way = (operator for window in manager.windows for operator in window.modal_operators)
    # Duplicating drags as a part of it.
    parts = (part for operator in under_way for part in (operator, *operator.macros))
    dragged = any(part.bl_idname.startswith("TRANSFORM_OT_") for part in parts)
    return bpy.context.mode == "OBJECT" and not dragged and not manager.is_interface_locked


def within(name: str) -> contextlib.AbstractContextManager[Any]:
    """The context of a window that shows the Blender scene of this name: timers have that of the first window."""
    windows = bpy.context.window_manager.windows
    window = next((window for window in windows if window.scene.name == name), None)
    return contextlib.nullcontext() if window is None else bpy.context.temp_override(window=window)


def trouble() -> str:
    """The last mistake of our own, for the panel; empty if there was none."""
    return _trouble[-1] if _trouble else ""


def mistake(error: Exception) -> str:
    """Tell a mistake of our own: the details to the console, a sentence to the panel, which is also returned."""
    traceback.print_exception(error)
    _trouble[:] = [f"Something went wrong inside SegWild ({error!r}). The system console has the details."]
    return _trouble[0]


def pump(budget_secs: float = BUDGET_SECS) -> bool:
    """Handle what there is, for about so long: a single handler may take longer. Whether there was anything."""
    deadline = time.monotonic() + budget_secs
    any_at_all = False
    while True:
        something = _one_posted() or _one_due() or _one_step()
        for one in list(links.values()):
            something |= _one_taken(one)
        any_at_all |= something
        if not something or time.monotonic() >= deadline:
            break
    if any_at_all or (time.monotonic() - _drawn["at"] > 1.0 and any(one.busy for one in links.values())):
        redraw_panels()
    return any_at_all


def _one_posted() -> bool:
    try:
        call = _posted.get_nowait()
    except queue.Empty:
        return False
    _guarded(call)
    return True


def _one_due() -> bool:
    now = time.monotonic()
    key = next((key for key, (when, _) in _soon.items() if when <= now), None)
    if key is None:
        return False
    _guarded(_soon.pop(key)[1])
    return True


def _one_step() -> bool:
    for key, (steps, then) in list(_work.items()):
        try:
            if next(steps) is WAIT:
                continue
        except StopIteration as end:
            del _work[key]
            _guarded(lambda then=then, end=end: then(end.value, None))
        except SegWildError as error:
            del _work[key]
            _guarded(lambda then=then, error=error: then(None, error))
        except Exception as error:
            del _work[key]
            _guarded(lambda error=error: _raise(error))
        return True
    return False


def _raise(error: Exception) -> None:
    raise error


def _one_taken(one: Link) -> bool:
    item: list[Any] = []
    _guarded(lambda: item.append(one.take()))
    if not item:
        return True  # a handler failed, and its news is gone
    if item[0] is None:
        return False
    for listener in list(listeners):
        _guarded(lambda listener=listener: listener(one, item[0]))
    return True


def _guarded(call: Callable[[], None]) -> None:
    """A mistake in one handler must not end the timer, and with it all others."""
    try:
        call()
    except Exception as error:
        mistake(error)


def redraw_panels() -> None:
    """Draw sidebars and headers again, which is cheap; not the views themselves."""
    _drawn["at"] = time.monotonic()
    for window in bpy.context.window_manager.windows if bpy.context.window_manager else ():
        for area in window.screen.areas:
            if area.type in {"VIEW_3D", "PREFERENCES"}:
                for region in area.regions:
                    if region.type in {"UI", "HEADER"} or area.type == "PREFERENCES":
                        region.tag_redraw()


def redraw_views() -> None:
    """Draw the 3D views again."""
    for window in bpy.context.window_manager.windows if bpy.context.window_manager else ():
        for area in window.screen.areas:
            if area.type == "VIEW_3D":
                area.tag_redraw()


# The timer.


def wake(secs: float = 0.0) -> None:
    """Look after `secs` at the latest, instead of at the end of an idle second. Main thread only.

    Never later than planned: whoever calls this with every move of the mouse would put the tick off for as long.
    """
    secs = max(secs, ASKED_SECS)
    if _next["at"] > time.monotonic() + secs and bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
        _plan(secs)


def _plan(secs: float) -> None:
    _next["at"] = time.monotonic() + secs
    bpy.app.timers.register(_tick, first_interval=secs, persistent=True)


def _tick() -> float:
    _next["at"] = 0.0
    had = pump()
    if had or _work or any(one.asked for one in links.values()):
        secs = ASKED_SECS
    else:
        busy = _soon or not _posted.empty() or any(one.busy for one in links.values())
        secs = BUSY_SECS if busy else IDLE_SECS
    _next["at"] = time.monotonic() + secs
    return secs


@persistent
def _loaded(*_: object) -> None:
    """Another file: its scenes need other backends. Jobs go on, and so does what someone else started."""
    wanted = {absolute(c.segwild.workspace) for c in bpy.data.collections if c.segwild.workspace}
    for key, one in list(links.items()):
        current = one.courses.current
        if key not in wanted and not one.remote and not (current is not None and current.live):
            one.stop()


def leave() -> None:
    """Let go of all backends; those of ours end. Waits a moment, so that nothing is left behind."""
    for one in links.values():
        one.stop()
    end = time.monotonic() + LEAVE_SECS
    for one in links.values():
        one.wait(max(0.0, end - time.monotonic()))


def register() -> None:
    bpy.app.handlers.load_post.append(_loaded)
    _plan(BUSY_SECS)


def unregister() -> None:
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    bpy.app.handlers.load_post.remove(_loaded)
    leave()
    links.clear()
    listeners.clear()
    _soon.clear()
    _work.clear()
    _trouble.clear()
    while not _posted.empty():
        _posted.get_nowait()
