"""What a person does in Blender, one function each: the actions that `person.Person` draws from."""

from __future__ import annotations

import signal
from typing import Any

from .person import Person, action, idle, in_scene, segments

Facts = dict[str, Any]
SUGGESTIONS = [
    *("find_junk", "grow_prompts", "shrink_prompts", "part_prompts", "whole_prompts", "erase_prompts"),
    *("find_objects", "hide_proposals", "make_proposed"),
]
PHOTOS = [f"photo-{number}" for number in range(6)]


# Files.


@action(2, lambda facts: facts["mode"] == "OBJECT" and len(facts["scenes"]) < 2)
def import_a_workspace(person: Person, facts: Facts) -> str:
    folder = person.random.choice(person.workspaces)
    how = person.random.choice(["EXEC", "INVOKE"])
    person.blender.run(f"bpy.ops.segwild.import_workspace('{how}_DEFAULT', True, directory={str(folder)!r})")
    count = len(facts["scenes"]) + 1
    person.blender.until(f"result = len(addon('data.scenes').all_scenes()) >= {count} and not addon('session')._work")
    return f"{folder.name} {how}"


@action(1, lambda facts: facts["mode"] == "OBJECT")
def save(person: Person, facts: Facts) -> str:
    file = person.folder / f"scene-{person.random.randrange(3)}.blend"
    person.blender.run(f"bpy.ops.wm.save_as_mainfile(filepath={str(file)!r})")
    if file not in person.files:
        person.files.append(file)
    return file.name


@action(1.5)
def open_a_file(person: Person, facts: Facts) -> str:
    if not person.files:
        return "there is none"
    file = person.random.choice(person.files)
    person.blender.run(f"bpy.ops.wm.open_mainfile(filepath={str(file)!r})", view=False)
    return file.name


@action(0.7)
def start_a_new_file(person: Person, facts: Facts) -> str:
    person.blender.run("bpy.ops.wm.read_homefile(app_template='')", view=False)
    return ""


@action(1, in_scene)
def export(person: Person, facts: Facts) -> str:
    file = person.folder / f"export.{person.random.choice(['ply', 'spz', 'splat'])}"
    file.unlink(missing_ok=True)
    if not any(row[2] for row in facts["objects"]):
        return "there is nothing"
    said = person.press("segwild.export_ply", filepath=str(file), scope="ALL", with_ids=person.random.random() < 0.5)
    assert file.stat().st_size > 1000
    return said


# Selecting.


@action(4, idle)
def start_selecting(person: Person, facts: Facts) -> str:
    person.blender.run("bpy.ops.segwild.prompt('INVOKE_DEFAULT')")
    return ""


@action(12, lambda facts: facts["selecting"] and facts["views"])
def click(person: Person, facts: Facts) -> str:
    at = person.place(facts)
    held = person.random.choices([[], ["shift"], ["ctrl"]], [6, 3, 1])[0]
    person.blender.click(*at, *held)
    if facts["backend"] == "running" and person.random.random() < 0.7:
        person.blender.until("result = not addon('viewport.selection').waiting()")
    return f"{at} {held}"


@action(4, lambda facts: facts["selecting"] and facts["views"])
def box_or_brush(person: Person, facts: Facts) -> str:
    person.over_view(facts)
    mode = person.random.choice(["BOX", "BRUSH"])
    if facts["prompt_mode"] != mode:
        person.blender.key("b" if mode == "BOX" else "c")
    start = person.place(facts)
    end = start[0] + person.random.randint(-90, 90), start[1] + person.random.randint(-90, 90)
    held = ["shift"] if person.random.random() < 0.3 else []
    person.drag(start, end, *held)
    if person.random.random() < 0.5:
        person.blender.key(person.random.choice(["bracketleft", "bracketright"]))
    if person.random.random() < 0.5:
        person.over_view(facts)
        person.blender.key("b" if mode == "BOX" else "c")
    return f"{mode} {start} {end} {held}"


@action(4, lambda facts: facts["selecting"] and facts["views"] and facts["selected"] and not facts["waiting"])
def make_an_object(person: Person, facts: Facts) -> str:
    person.over_view(facts)
    person.blender.key("Return")
    person.blender.until("result = not addon('viewport.prompts').running()")
    return f"of {facts['selected']} splats"


@action(3, in_scene)
def take_a_suggestion(person: Person, facts: Facts) -> str:
    """Most are answered later, after whatever comes next."""
    what = f"segwild.{person.random.choice(SUGGESTIONS)}"
    person.blender.run(f"bpy.context.window_manager.segwild.junk_strength = {person.random.random():.2f}")
    said = person.blender.run(f"""
        result = 'greyed'
        if bpy.ops.{what}.poll():
            try:
                result = str(bpy.ops.{what}('EXEC_DEFAULT', True))
            except RuntimeError as error:  # a sentence, for instance that the workspace was trained again
                result = str(error)
    """)
    return f"{what} {said}"


@action(1.5, lambda facts: facts["selecting"] and facts["views"])
def escape(person: Person, facts: Facts) -> str:
    person.over_view(facts)
    person.blender.key("Escape", "Escape", "Escape")
    person.blender.until("result = not addon('viewport.prompts').running()")
    return ""


@action(2, lambda facts: idle(facts) and facts["views"])
def click_with_the_tool(person: Person, facts: Facts) -> str:
    person.blender.run("bpy.ops.wm.tool_set_by_id(name='segwild.select_tool', space_type='VIEW_3D')")
    at = person.place(facts)
    person.blender.click(*at)
    person.blender.run("bpy.ops.wm.tool_set_by_id(name='builtin.select_box', space_type='VIEW_3D')")
    return str(at)


@action(9, lambda facts: facts["views"])
def undo_or_redo(person: Person, facts: Facts) -> str:
    person.over_view(facts)
    keys = [person.random.choice(["ctrl+z", "ctrl+z", "ctrl+shift+z"]) for _ in range(person.random.randint(1, 4))]
    person.blender.key(*keys)
    return " ".join(keys)


# Objects.


@action(2, in_scene)
def pick_in_the_list(person: Person, facts: Facts) -> str:
    return person.press("segwild.pick_object", name=person.some(facts))


@action(2, lambda facts: in_scene(facts) and segments(facts))
def rename(person: Person, facts: Facts) -> str:
    name = person.random.choice(["Stone", "Lamp", "chair", "größe ✓", "Object", "rest", "a" * 60])
    old = person.some(facts, kind="SEGMENT")
    return person.set(f"bpy.data.objects[{old!r}].name = {name!r}", "Rename")


@action(3, in_scene)
def hide_or_show(person: Person, facts: Facts) -> str:
    name, _, _, hidden, _ = person.random.choice(facts["objects"])
    match person.random.randrange(3):
        case 0:
            return person.press("segwild.show", name=name, shown=hidden)
        case 1:
            return person.press("segwild.isolate", name=name)
        case _:
            return person.press("segwild.show_all")


@action(2, lambda facts: in_scene(facts) and len(facts["objects"]) > 1)
def join(person: Person, facts: Facts) -> str:
    one, other = person.random.sample([row[0] for row in facts["objects"]], 2)
    person.pick(one, other)
    return f"{one} to {other}: " + person.press("segwild.join")


@action(2, lambda facts: in_scene(facts) and segments(facts))
def dissolve(person: Person, facts: Facts) -> str:
    name = person.some(facts, kind="SEGMENT")
    person.pick(name)
    return f"{name}: " + person.press("segwild.dissolve_object")


@action(1.5, lambda facts: in_scene(facts) and segments(facts))
def delete(person: Person, facts: Facts) -> str:
    name = person.some(facts, kind="SEGMENT")
    person.pick(name)
    return f"{name}: " + person.press("object.delete")


@action(1, in_scene)
def recover(person: Person, facts: Facts) -> str:
    person.pick(person.some(facts))
    return person.press("segwild.recover_rows")


@action(2, lambda facts: idle(facts) and facts["views"])
def duplicate_and_move(person: Person, facts: Facts) -> str:
    person.pick(name := person.some(facts))
    person.over_view(facts)
    left, top, width, height = facts["views"][0]
    person.blender.key(person.random.choice(["shift+d", "alt+d", "g", "r", "s"]))
    person.blender.move(left + width // 2 + person.random.randint(-60, 60), top + height // 2 + 30)
    person.blender.key(person.random.choice(["Return", "Return", "Escape"]))
    return name


@action(1, in_scene)
def apply_transform(person: Person, facts: Facts) -> str:
    person.pick(name := person.some(facts))
    return f"{name}: " + person.press("segwild.apply_transform")


@action(1.5, lambda facts: idle(facts) and any(row[2] > 10 and not row[3] for row in facts["objects"]))
def edit_points(person: Person, facts: Facts) -> str:
    """In edit mode select some at random; then an object of them, or erase them and bring them back."""
    name = person.random.choice([row[0] for row in facts["objects"] if row[2] > 10 and not row[3]])
    person.pick(name)
    seed = person.random.randrange(1000)
    person.blender.run(f"""
        bpy.ops.object.mode_set('EXEC_DEFAULT', True, mode='EDIT')
        bpy.ops.pointcloud.select_random('EXEC_DEFAULT', True, seed={seed}, probability=0.2)
        bpy.ops.object.mode_set('EXEC_DEFAULT', True, mode='OBJECT')
    """)
    match person.random.randrange(3):
        case 0:
            said = person.press("segwild.make_object", name="picked")
        case 1:
            said = person.press("segwild.erase_splats")
        case _:
            said = person.press("segwild.erase_splats") + person.press("segwild.restore_splats")
    return f"{name}: {said}"


@action(0.7, in_scene)
def mark_as_asset(person: Person, facts: Facts) -> str:
    person.pick(name := person.some(facts))
    return f"{name}: " + person.press("segwild.mark_asset")


# Light.


@action(3, in_scene)
def light(person: Person, facts: Facts) -> str:
    one, other = person.random.choices(PHOTOS, k=2)
    person.pick(name := person.some(facts))
    match person.random.randrange(4):
        case 0:
            scope = person.random.choice(["SELECTED", "SCENE"])
            mix, strength = person.random.random(), 2 * person.random.random()
            return person.press("segwild.set_look", photo=one, second=other, mix=mix, strength=strength, scope=scope)
        case 1:
            setting = person.random.choice(["look_mix", "look_strength", "exposure", "saturation", "opacity"])
            value = person.random.random()
            return person.set(f"bpy.data.objects[{name!r}].segwild.{setting} = {value}", "Light")
        case 2:
            return person.press("segwild.reset_look")
        case _:
            return person.press("segwild.bake_look") + " " + person.press("segwild.original_colours")


# Views.


@action(4, lambda facts: facts["views"])
def look_around(person: Person, facts: Facts) -> str:
    start = person.place(facts, on_splats=0)
    match person.random.randrange(3):
        case 0:
            person.drag(start, (start[0] + person.random.randint(-120, 120), start[1] + 40), button=2)
        case 1:
            person.drag(start, (start[0] + 50, start[1] + 20), "shift", button=2)
        case _:
            person.blender.move(*start)
            for _ in range(person.random.randint(1, 4)):
                person.blender.x("click", person.random.choice(["4", "5"]))
    return str(start)


@action(3)
def change_the_view(person: Person, facts: Facts) -> str:
    source = person.random.choice(
        [
            "bpy.ops.screen.region_quadview()",
            "bpy.ops.view3d.view_persportho()",
            "bpy.ops.view3d.view_camera()",
            "bpy.ops.view3d.view_axis(type='TOP')",
            "bpy.ops.view3d.view_all()",
            "bpy.context.space_data.overlay.show_overlays ^= True",
            "bpy.context.space_data.show_region_ui ^= True",
            "bpy.context.space_data.show_region_toolbar ^= True",
            # Not MATERIAL: its engine takes up to 1 GB of its own for each view, with or without splats.
            *(f"bpy.context.space_data.shading.type = {kind!r}" for kind in ("WIREFRAME", "SOLID")),
        ]
    )
    person.blender.run(source)
    return source


@action(1)
def divide_the_screen(person: Person, facts: Facts) -> str:
    if facts["areas"] > 6 or (facts["areas"] > 1 and person.random.random() < 0.5):
        source = "bpy.ops.screen.area_close()" if facts["spaces"] > 1 else "result = 0"
    else:
        direction = person.random.choice(["HORIZONTAL", "VERTICAL"])
        source = f"bpy.ops.screen.area_split(direction={direction!r}, factor=0.5)"
    person.blender.run(source)
    return source


@action(0.7, in_scene)
def look_through_a_photo(person: Person, facts: Facts) -> str:
    person.pick(person.some(facts))
    return person.press("segwild.look_through", photo=person.random.choice(PHOTOS))


@action(0.7, in_scene)
def make_a_picture(person: Person, facts: Facts) -> str:
    return person.press("segwild.viewport_image", size=0.5)


# Backend and add-on.


@action(6, lambda facts: facts["scenes"] and facts["backend"] in ("stopped", "failed"))
def start_the_backend(person: Person, facts: Facts) -> str:
    person.blender.until("result = addon('environment').python() is not None")
    person.press("segwild.start_backend")
    if person.random.random() < 0.7:
        person.blender.until("result = addon('work').link_of(bpy.context).running")
    return ""


@action(1.5, lambda facts: facts["backend"] == "running")
def kill_the_backend(person: Person, facts: Facts) -> str:
    person.blender.run("""
        told = []
        addon('work').link_of(bpy.context).later(
            lambda answered: told.append(answered), addon('client.backend').Backend.health)
        addon('session').wake()
    """)
    person.blender.until("result = bool(told)")
    pid = person.blender.run("result = told[0].value['pid'] if told[0].error is None else 0")
    if pid:
        person.blender.run(f"import os; os.kill({pid}, {int(signal.SIGKILL)})")
    return str(pid)


@action(0.7, lambda facts: facts["backend"] == "running")
def stop_or_restart_the_backend(person: Person, facts: Facts) -> str:
    return person.press(person.random.choice(["segwild.stop_backend", "segwild.restart_backend"]))


@action(0.7)
def disable_and_enable(person: Person, facts: Facts) -> str:
    module = "bl_ext.user_default.segwild"
    person.blender.run(f"bpy.ops.preferences.addon_disable(module={module!r})", view=False)
    person.blender.run("bpy.context.area.tag_redraw()")
    person.blender.run("assert not hasattr(bpy.types.Object, 'segwild')", view=False)
    person.blender.run(f"bpy.ops.preferences.addon_enable(module={module!r})", view=False)
    person.blender.run(f"addon('ui.preferences').preferences().python = {person.python!r}", view=False)
    return ""
