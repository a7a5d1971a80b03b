"""A person at work: the sidebar, clicks on an object, undo, light, export; and a backend that dies meanwhile."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .driver import Driver
from .hands import (
    BLUE,
    GROUND,
    RED,
    above,
    connect,
    drag,
    names_in,
    no_traceback,
    open_sidebar,
    open_tab,
    picture,
    screen_of,
    selected,
    view_of,
)
from .views import look_from, settled

SOURCE = Path(__file__).parents[2]
FAKE = SOURCE / "tests" / "segwild_addon" / "client" / "fake_backend.py"
# What waits for a backend waits a second or more; a redraw in software may take this long all the same.
WAITS_SECS = 0.7


def test_clicks_make_an_object_that_can_be_lit_undone_and_exported(
    imported: Driver, workspace: Path, service: dict[str, Any], tmp_path: Path
) -> None:
    connect(imported, service["port"])
    imported.run("bpy.context.scene.segwild.clean_edges = False")  # a step of its own, with a test of its own
    imported.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    before = picture(imported, "unselected")

    imported.click(*screen_of(imported, RED))
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    first = selected(imported)
    red = set(range(2, 3001, 3))  # rows 1, 4, 7 …, their ids one more
    assert len(red & set(first)) > 0.8 * len(red)
    after = picture(imported, "selected")
    assert np.abs(after - before).max() > 0.2  # the highlight, and a marker

    imported.click(*screen_of(imported, GROUND), "shift")
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 2")
    assert not imported.run("result = bpy.context.scene.segwild.prompts[1].positive")
    selected(imported)
    imported.key("ctrl+z")
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    assert selected(imported) == first
    imported.key("ctrl+shift+z")
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 2")
    selected(imported)
    settled(imported)
    imported.click(*screen_of(imported, GROUND), "ctrl")  # removes the marker there
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    look_from(imported, (1.5, -2.2, 1.0), (0, 0, 0.2))  # from elsewhere the marks are the same
    assert selected(imported) == first

    imported.move(*screen_of(imported, RED))
    imported.key("Return")
    made = imported.until("result = [ob.name for ob in bpy.data.objects if ob.segwild.kind == 'SEGMENT']")
    assert made == ["Object"]
    assert imported.run("result = len(bpy.data.objects['Object'].data.points)") == len(first)
    assert not imported.run("result = addon('viewport.prompts').running()")
    imported.until("result = bpy.data.objects['Object'].segwild.label")  # the workspace has it too
    assert names_in(workspace) == ["Object"]

    plain = picture(imported, "made")
    imported.run("bpy.data.objects['Object'].segwild.exposure = 1.5; bpy.ops.ed.undo_push(message='Exposure')")
    bright = picture(imported, "brighter")
    assert (bright - plain).max() > 0.1
    imported.run("bpy.ops.ed.undo()")
    assert np.abs(picture(imported, "undone") - plain).max() < 0.02

    file = tmp_path / "object.ply"
    imported.run(f"bpy.ops.segwild.export_ply(filepath={str(file)!r}, scope='SELECTED')")
    from backend.formats import reader_of

    assert len(reader_of(file)(file)) == len(first)
    imported.run("bpy.ops.ed.undo(); bpy.ops.ed.undo()")  # the object is gone again, and so it is in the workspace
    imported.until("result = 'Object' not in bpy.data.objects")
    end = time.monotonic() + 20
    while names_in(workspace) and time.monotonic() < end:
        time.sleep(0.1)
    assert not names_in(workspace)
    no_traceback(imported)


def test_a_box_and_a_brush_select_without_a_backend(imported: Driver) -> None:
    imported.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    x, y = screen_of(imported, BLUE)
    imported.move(x, y)
    imported.key("b")
    imported.until("result = bpy.context.window_manager.segwild.prompt_mode == 'BOX'")
    drag(imported, (x - 40, y - 40), (x + 40, y + 40))
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    boxed = selected(imported)
    blue = set(range(3, 3001, 3))
    assert len(boxed) > 50
    assert len(blue & set(boxed)) > 0.8 * len(boxed)
    imported.key("c")
    imported.x("keydown", "shift")
    drag(imported, (x, y - 30), (x, y + 30))
    imported.x("keyup", "shift")
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 2")
    left = selected(imported)
    assert 0 < len(left) < len(boxed)
    imported.shot("painted")
    imported.key("Escape")
    assert imported.run("result = bpy.context.window_manager.segwild.prompt_mode") == "CLICK"
    imported.key("Escape")
    imported.until("result = not addon('viewport.prompts').running()")
    assert imported.run("result = len(bpy.context.scene.segwild.prompts)") == 0
    no_traceback(imported)


def test_the_tool_in_the_toolbar_starts_with_its_first_click(imported: Driver) -> None:
    imported.run("""
        from bl_ui import space_toolsystem_common as tools
        for tool in ('segwild.select_tool', 'builtin.measure'):  # holding the mouse on any button asks for its group
            tools.item_group_from_id(bpy.context, 'VIEW_3D', tool)
    """)
    imported.run("bpy.ops.wm.tool_set_by_id(name='segwild.select_tool', space_type='VIEW_3D')")
    imported.click(*screen_of(imported, RED))
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    assert imported.run("result = addon('viewport.prompts').running()")
    imported.click(*screen_of(imported, GROUND), "shift")
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 2")
    imported.key("Escape")
    imported.until("result = not addon('viewport.prompts').running()")
    imported.run("bpy.ops.wm.tool_set_by_id(name='builtin.select_box', space_type='VIEW_3D')")
    no_traceback(imported)


def test_keys_are_taken_over_the_sidebar_too(imported: Driver) -> None:
    """The mouse is there when the button was just pressed."""
    region = view_of(imported)
    imported.run("bpy.context.space_data.show_region_ui = True")
    try:
        imported.until("result = any(each.type == 'UI' and each.width > 100 for each in bpy.context.area.regions)")
        imported.move(region["left"] + region["width"] - 100, region["top"] + region["height"] - 100)
        imported.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
        imported.key("b")
        imported.until("result = bpy.context.window_manager.segwild.prompt_mode == 'BOX'")
        imported.key("Escape", "Escape")
        imported.until("result = not addon('viewport.prompts').running()")
    finally:
        imported.run("bpy.context.space_data.show_region_ui = False")
    no_traceback(imported)


def test_clicks_go_through_where_the_sidebar_is_empty(imported: Driver) -> None:
    """Below its panels Blender shows the view, and so a click there means the view."""
    open_sidebar(imported)
    look_from(imported, (0, -1.0, 0.6), (0, 0, 0.1))  # the ground fills the lower half
    settled(imported)
    imported.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    left, top, bottom = imported.run("""
        side = next(region for region in bpy.context.area.regions if region.type == 'UI')
        height = bpy.context.window.height
        result = [side.x + side.width // 2 - 20, height - side.y - side.height, height - side.y]
    """)
    try:
        imported.click(left, bottom - 40 + above(imported))
        imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
        imported.click(left, top + 12 + above(imported))  # a panel's head
        imported.run("result = 0")
        assert imported.run("result = len(bpy.context.scene.segwild.prompts)") == 1
    finally:
        imported.run("bpy.context.space_data.show_region_ui = False")
    imported.move(*screen_of(imported, GROUND))
    imported.key("Escape")
    imported.until("result = not addon('viewport.prompts').running()")
    no_traceback(imported)


def test_what_stands_before_the_splats_is_in_the_way_of_clicks(imported: Driver) -> None:
    """A wall before the red half: neither clicks nor boxes reach what it hides."""
    imported.run("""
        import math
        bpy.ops.mesh.primitive_plane_add(size=1.0, location=(-0.5, -0.6, 0.3), rotation=(math.pi / 2, 0, 0))
        bpy.context.active_object.name = 'wall'
    """)
    settled(imported)
    imported.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    imported.click(*screen_of(imported, RED))
    imported.click(*screen_of(imported, BLUE))
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 1")
    x, y = screen_of(imported, RED)
    imported.key("b")
    drag(imported, (x - 20, y - 20), (x + 20, y + 20))
    imported.run("result = 0")
    assert imported.run("result = len(bpy.context.scene.segwild.prompts)") == 1
    imported.run("bpy.data.objects['wall'].display_type = 'WIRE'")
    settled(imported)
    drag(imported, (x - 20, y - 20), (x + 20, y + 20))
    imported.until("result = len(bpy.context.scene.segwild.prompts) == 2")
    assert len(selected(imported)) > 10
    imported.key("Escape", "Escape")
    imported.until("result = not addon('viewport.prompts').running()")
    no_traceback(imported)


def test_the_preferences_are_drawn(blender: Driver) -> None:
    blender.run("bpy.ops.segwild.open_preferences()")
    time.sleep(1.5)
    blender.shot("preferences")
    shown = blender.run("""
        windows = bpy.context.window_manager.windows
        result = [area.type for window in windows for area in window.screen.areas]
    """)
    assert "PREFERENCES" in shown
    blender.run("""
        for window in list(bpy.context.window_manager.windows)[1:]:
            with bpy.context.temp_override(window=window):
                bpy.ops.wm.window_close()
    """)
    no_traceback(blender)


def test_orbiting_and_the_sidebar_are_left_to_blender(imported: Driver) -> None:
    imported.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    x, y = screen_of(imported, RED)
    before = imported.run("result = list(bpy.context.space_data.region_3d.view_rotation)")
    imported.move(x, y)
    imported.x("mousedown", "2")
    for step in range(5):
        imported.x("mousemove", str(round(x + 20 * step)), str(round(y)))
        time.sleep(0.05)
    imported.x("mouseup", "2")
    assert imported.run("result = list(bpy.context.space_data.region_3d.view_rotation)") != before
    open_sidebar(imported)
    left, top = imported.run("""
        side = next(region for region in bpy.context.area.regions if region.type == 'UI')
        result = [side.x + side.width // 2, bpy.context.window.height - side.y - side.height // 2]
    """)
    imported.click(left, top + above(imported))
    assert imported.run("result = len(bpy.context.scene.segwild.prompts)") == 0
    imported.move(x, y)
    imported.key("Escape")
    imported.until("result = not addon('viewport.prompts').running()")


@pytest.mark.parametrize("scene", [False, True])
def test_the_sidebar_shows_every_state(blender: Driver, workspace: Path, scene: bool) -> None:
    """Drawn for real: a mistake in a panel is a traceback."""
    blender.run(f"bpy.context.scene.segwild.photos_folder = {str(workspace.parent / 'scene')!r}")
    if scene:
        blender.run(f"bpy.ops.segwild.import_workspace(directory={str(workspace)!r})")
    open_sidebar(blender)
    open_tab(blender)
    for name, state in STATES.items():
        blender.run(f"""
            Status = addon('client').Status
            environment, work = addon('environment'), addon('work')
            environment._state['status'] = {state.get("environment", "environment._state['status']")}
            course = addon('client.course').Course
            link = addon('session').link(work.workspace_of(bpy.context))
            {state.get("link", "pass")}
            addon('session').redraw_panels()
        """)
        time.sleep(0.3)
        blender.shot(f"panel-{name}{'-scene' * scene}")
    blender.run("""
        link = addon('session').link(addon('work').workspace_of(bpy.context))
        link.backend, link.status = None, addon('client').Status('stopped')
        link.courses.clear()
        addon('environment')._state['status'] = addon('client').ABSENT
    """)
    no_traceback(blender)


def test_choices_in_the_sidebar_are_steps_of_undo(imported: Driver) -> None:
    """A photo and a row of the list are chosen through the window manager, of which Blender's undo knows nothing."""
    facts = """
        active = bpy.context.view_layer.objects.active
        result = [active.segwild.kind, active.segwild.look_a, active.location.x]
    """
    imported.run("""
        thumbnails = addon('ui.thumbnails')
        known, thumbnails.photos = thumbnails.photos, lambda workspace: ('photo-0', 'photo-1')
        bpy.context.view_layer.objects.active.location.x = 1
        bpy.ops.ed.undo_push(message='Move')
        bpy.context.window_manager.segwild_light.photo_a = 'photo-1'
    """)
    try:
        assert imported.run(facts) == ["REST", "photo-1", 1]
        imported.run("bpy.ops.ed.undo()")
        assert imported.run(facts) == ["REST", "", 1]
        imported.run("bpy.ops.ed.redo()")
        assert imported.run(facts) == ["REST", "photo-1", 1]
    finally:
        imported.run("thumbnails.photos = known")
    imported.run("""
        root = next(ob for ob in bpy.data.objects if ob.segwild.kind == 'ROOT')
        bpy.context.window_manager.segwild_light.object_index = bpy.data.objects.find(root.name)
    """)
    assert imported.run(facts)[0] == "ROOT"
    imported.run("bpy.ops.ed.undo()")
    assert imported.run(facts) == ["REST", "photo-1", 1]
    no_traceback(imported)


STATES: dict[str, dict[str, str]] = {
    "absent": {"environment": "addon('client').ABSENT"},
    "installing": {
        "environment": "Status('installing', 'Step 3 of 4: torch.', done=700_000_000, total=1_900_000_000)",
    },
    "failed": {
        "environment": "Status('failed', 'The connection to the package index failed. (step torch, log install.log)', "
        "'Check the connection and try again: what is there is kept.', 'no-connection')",
    },
    "stopped": {"environment": "Status('stopped')"},
    "starting": {"link": "link.backend, link.status = PRETEND, Status('starting', 'The backend is starting.')"},
    "running": {"link": "link.backend, link.status = PRETEND, Status('running')"},
    "training": {
        "link": "link.courses._known['j'] = course('j', 'run', 'running', 1, 'Training', 'Training', 700, 2800, 95.0, "
        "'loss 0.081')"
    },
    "lost": {
        "link": "link.status = Status('lost', 'The system ended the backend (SIGKILL, most likely because memory ran "
        "out).', 'See its log.', 'backend-died', 4.0)"
    },
    "job-failed": {
        "link": "link.status = Status('running'); link.courses._known['j'] = course('j', 'run', 'failed', 1, "
        "'Matching photos', 'Cameras', error=addon('protocol.values').Failure('no-cameras', 'Only 2 of 14 photos could "
        "be placed.', 'Take more photos of the same place, with more overlap.'))"
    },
    "done": {"link": "link.courses._known['j'] = course('j', 'run', 'done', 1, 'Lifting features', 'Features')"},
    "wrong-version": {
        "link": "link.status = Status('failed', 'The backend speaks version 2 of the protocol, this program "
        "version 1.', 'Update whichever is older.', 'wrong-version')"
    },
}
for _state in STATES.values():
    if "PRETEND" in _state.get("link", ""):
        _pretend = "type('Pretend', (), {'listening': False, 'news': __import__('queue').Queue()})()"
        _state["link"] = _state["link"].replace("PRETEND", _pretend)


def test_blender_stays_alive_when_its_backend_is_killed_in_a_job(imported: Driver, workspace: Path) -> None:
    """The backend is a child of Blender's, the fake one, for the real one may need another system's Python."""
    shutil.copy(FAKE, workspace.parent / "fake_backend.py")
    imported.run(f"""
        from pathlib import Path
        session, client = addon('session'), addon('client')
        link = session.link({str(workspace)!r})
        launch = client.Launch(('python3', '-I', {str(workspace.parent / "fake_backend.py")!r}),
            Path({str(workspace)!r}), Path({str(workspace.parent / "backend.log")!r}),
            environment={{'FAKE_JOB_SECS': '600'}})
        link.start(launch)
        session.wake()
        real, session.worst = session.pump, 0.0
        import time
        def pump(budget_secs=session.BUDGET_SECS):
            began = time.monotonic()
            try:
                return real(budget_secs)
            finally:
                session.worst = max(session.worst, time.monotonic() - began)
        session.pump = pump
    """)
    imported.until("result = link.running")
    imported.run("link.submit('objects', lambda answered: None)")
    imported.until("result = link.courses.current is not None and link.courses.current.state == 'running'")
    imported.run("""
        pids = []
        link.later(lambda answered: pids.append(answered.value['pid']), addon('client.backend').Backend.health)
    """)
    pid = imported.until("result = pids[0] if pids else 0")
    imported.run(f"import os, signal; os.kill({pid}, signal.SIGKILL)")
    imported.until("result = link.status.state == 'lost'")
    assert "SIGKILL" in imported.run("result = link.status.sentence")
    imported.until("result = link.running")  # again, by itself
    again = imported.run(
        "pids.clear(); link.later(lambda answered: pids.append(answered.value['pid']), "
        "addon('client.backend').Backend.health)"
    )
    assert again is None
    pid = imported.until("result = pids[0] if pids else 0")
    imported.run(f"os.kill({pid}, signal.SIGSTOP)")  # it hangs: nothing of Blender may
    imported.run("[link.later(lambda answered: None, addon('client.backend').Backend.health) for _ in range(10)]")
    imported.until("result = link.status.state == 'lost'", secs=60)
    began = time.monotonic()
    imported.run("link.stop()")
    assert time.monotonic() - began < 5
    imported.until("result = not link.ending", secs=60)
    assert imported.run("session.pump = real; result = session.worst") < WAITS_SECS
    no_traceback(imported)
