"""Panels are drawn in every situation, and offer what the person needs there; their choices are steps of undo."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")

import bpy

from segwild_addon import environment, work
from segwild_addon.data import light, scenes, splats
from segwild_addon.ui import light as light_panel
from segwild_addon.ui import lists

Make = Callable[..., tuple[Path, dict[str, np.ndarray]]]
SEGMENTS = {"fountain": (np.arange(10, 30), 0.9), "statue": (np.arange(30, 40), 0.6)}
PANELS = ("scene", "select", "objects", "light", "export", "drawing", "make", "backend")


class Layout(SimpleNamespace):
    """Takes the place of Blender's and keeps what is put into it: operators and labels, of parts too."""

    def __init__(self, whole: Layout | None = None) -> None:
        super().__init__(
            shown=whole.shown if whole else [],
            icons=whole.icons if whole else {},
            contexts=whole.contexts if whole else {},
            enabled_for=whole.enabled_for if whole else {},
            gaps=whole.gaps if whole else [],
            operator_context="INVOKE_DEFAULT",
        )

    def operator(self, name: str, text: str = "", icon: str = "", **_: Any) -> SimpleNamespace:
        operator = SimpleNamespace()
        self.shown.append((name, text, operator))
        self.enabled_for[name] = getattr(self, "enabled", True)
        self.icons[name], self.contexts[name] = icon, self.operator_context
        return operator

    def label(self, text: str = "", **_: Any) -> None:
        self.shown.append(("label", text, None))

    def panel(self, name: str, default_closed: bool = False) -> tuple[Layout, Layout]:
        return self.row(), self.row()

    def row(self, **_: Any) -> Layout:
        return Layout(self)

    column = box = split = row

    def _draws(self, *_: Any, **__: Any) -> None: ...

    def separator(self, factor: float = 1.0) -> None:
        self.gaps.append(factor)

    prop = progress = template_list = template_icon_view = _draws

    @property
    def operators(self) -> list[str]:
        return [name for name, _, _ in self.shown if name != "label"]

    @property
    def said(self) -> str:
        return " ".join(text for name, text, _ in self.shown if name == "label")


def drawn(name: str) -> Layout | None:
    """What the panel shows now; None if it does not show itself."""
    kind = getattr(bpy.types, f"SEGWILD_PT_{name}")
    if hasattr(kind, "poll") and not kind.poll(bpy.context):
        return None
    layout = Layout()
    kind.draw(SimpleNamespace(layout=layout), bpy.context)
    return layout


def activate(*objects: Any) -> None:
    bpy.context.view_layer.update()
    for ob in bpy.context.view_layer.objects:
        ob.select_set(ob in objects)
    bpy.context.view_layer.objects.active = objects[0]


@pytest.fixture
def scene(blender: Any, make_workspace: Make) -> Any:
    path, _ = make_workspace(segments=SEGMENTS)
    blender.ops.segwild.import_workspace(directory=str(path))
    return scenes.all_scenes()[0]


@pytest.fixture
def asset(scene: Any) -> Any:
    """A statue as it comes from another file: its scene is not in this one."""
    ob = bpy.data.objects["statue"].copy()
    ob.data = ob.data.copy()
    ob.name, ob.parent, ob.segwild.scene_uuid, ob.segwild.uuid = "visitor", None, "elsewhere", "visitor"
    bpy.context.scene.collection.objects.link(ob)
    return ob


def test_every_panel_is_drawn_with_buttons_that_exist(blender: Any, scene: Any, asset: Any) -> None:
    situations = [[blender.data.objects["statue"]], [scenes.root(scene)], [asset]]
    for objects in situations:
        activate(*objects)
        for name in PANELS:
            layout = drawn(name)
            assert layout is not None, name
            for operator in layout.operators:
                group, short = operator.split(".")
                assert getattr(getattr(blender.ops, group), short).get_rna_type()
    scenes.remove(scene)
    for ob in list(blender.data.objects):
        blender.data.objects.remove(ob)
    assert [name for name in PANELS if drawn(name) is not None] == ["scene", "make", "backend"]


def test_an_asset_alone_in_a_file_is_lit_and_exported(blender: Any, scene: Any, asset: Any) -> None:
    scenes.remove(scene)
    activate(asset)
    assert "not in this file" in drawn("light").said
    assert drawn("objects") is not None
    assert drawn("export") is not None
    rows = lists.SEGWILD_UL_objects.filter_items(
        SimpleNamespace(filter_name="", bitflag_filter_item=1), blender.context, blender.data, "objects"
    )[0]
    assert [ob.name for ob, row in zip(blender.data.objects, rows, strict=True) if row] == ["visitor"]
    assert not blender.ops.segwild.copy_light.poll()
    asset.segwild.exposure = 1
    assert blender.ops.segwild.bake_look() == {"FINISHED"}


def test_the_list_shows_the_active_scene_alone(blender: Any, scene: Any, asset: Any) -> None:
    activate(blender.data.objects["statue"])
    rows = lists.SEGWILD_UL_objects.filter_items(
        SimpleNamespace(filter_name="", bitflag_filter_item=1), blender.context, blender.data, "objects"
    )[0]
    found = {ob.name for ob, row in zip(blender.data.objects, rows, strict=True) if row}
    assert found == {"square rest", "fountain", "statue"}


def test_parts_are_listed_below_what_they_are_parts_of(blender: Any, scene: Any, asset: Any) -> None:
    fountain, statue = (blender.data.objects[name] for name in ("fountain", "statue"))
    statue.name = "a statue"

    def listed() -> list[str]:
        flags, order = lists.SEGWILD_UL_objects.filter_items(
            SimpleNamespace(filter_name="", bitflag_filter_item=1), blender.context, blender.data, "objects"
        )
        places = dict(zip(order, blender.data.objects, strict=True))
        shown = {ob.name for ob, flag in zip(blender.data.objects, flags, strict=True) if flag}
        return [name for _, ob in sorted(places.items()) if (name := ob.name) in shown]

    def gaps(ob: Any) -> int:
        layout = Layout()
        lists.SEGWILD_UL_objects.draw_item(None, blender.context, layout, None, ob, 0, None, "")
        return len(layout.gaps)

    activate(fountain)
    assert listed() == ["square rest", "a statue", "fountain"]
    before = gaps(statue)
    statue.parent = fountain
    assert listed() == ["square rest", "fountain", "a statue"]
    assert gaps(statue) == before + 1
    assert gaps(fountain) == before


def test_the_light_of_one_is_given_to_all_of_its_scene(blender: Any, scene: Any, asset: Any) -> None:
    statue = blender.data.objects["statue"]
    activate(statue)
    statue.segwild.look_a, statue.segwild.exposure = "photo-1", 0.5
    assert blender.ops.segwild.copy_light() == {"FINISHED"}
    for ob in scenes.splat_objects(scene):
        assert [getattr(ob.segwild, name) for name in ("look_a", "exposure")] == ["photo-1", 0.5]
    assert asset.segwild.look_a == ""


def test_buttons_of_light_change_what_the_panel_shows(blender: Any, scene: Any) -> None:
    """The active object, though others are selected; all that are selected if it is one of them, and how many."""
    statue, fountain, rest = (blender.data.objects[name] for name in ("statue", "fountain", "square rest"))
    every = (statue, fountain, rest)
    for ob in every:
        ob.segwild.exposure = 1
    activate(statue)
    for ob in every:
        ob.select_set(ob != statue)
    assert "selected objects" not in drawn("light").said
    before = splats.read(statue).base, splats.read(fountain).base
    blender.ops.segwild.bake_look()
    assert [ob.segwild.exposure for ob in every] == [0, 1, 1]
    assert np.abs(splats.read(statue).base - before[0]).max() > 0.01
    np.testing.assert_array_equal(splats.read(fountain).base, before[1])
    blender.ops.segwild.original_colours()
    np.testing.assert_array_equal(splats.read(statue).base, before[0])
    activate(statue, fountain)
    assert "2 selected objects:" in drawn("light").said
    blender.ops.segwild.reset_look()
    assert [ob.segwild.exposure for ob in every] == [0, 0, 1]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Steps of undo; without a window Blender makes none."""
    found: list[str] = []
    monkeypatch.setattr(bpy.ops, "ed", SimpleNamespace(undo_push=lambda message: found.append(message)), raising=False)
    return found


def test_the_choice_of_a_photo_is_a_step_of_undo(
    blender: Any, scene: Any, steps: list[str], pump_until: Callable[..., Any]
) -> None:
    activate(blender.data.objects["statue"])
    pump_until(lambda: light_panel.thumbnails.photos(scene.segwild.workspace))
    state = blender.context.window_manager.segwild_light
    for _ in range(2):  # the second changes nothing
        state.photo_a = "photo-1"
        assert light.look(blender.data.objects["statue"]).a == "photo-1"
        assert steps == ["Light of photo-1"]
    operators = [(name, vars(made)) for name, _, made in drawn("light").shown if name == "segwild.look_through"]
    assert operators == [("segwild.look_through", {"photo": "photo-1"})]
    state.photo_a = "-neutral-"
    assert len(steps) == 2


def test_a_click_on_a_row_chooses_the_object_in_object_mode(
    blender: Any, scene: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    state, layer = blender.context.window_manager.segwild_light, blender.context.view_layer
    statue = blender.data.objects["statue"]
    activate(blender.data.objects["fountain"])
    state.object_index = blender.data.objects.find("statue")
    assert (layer.objects.active, blender.context.selected_objects) == (statue, [statue])
    mesh = blender.data.objects.new("cube", blender.data.meshes.new("cube"))
    blender.context.scene.collection.objects.link(mesh)
    activate(mesh)
    blender.ops.object.mode_set(mode="EDIT")
    state.object_index = blender.data.objects.find("statue")
    assert layer.objects.active == mesh
    assert "poll() failed" not in "".join(capfd.readouterr())
    blender.ops.object.mode_set(mode="OBJECT")


def test_objects_are_gathered_in_the_list(blender: Any, scene: Any) -> None:
    fountain, statue = (blender.data.objects[name] for name in ("fountain", "statue"))
    activate(fountain)
    blender.ops.segwild.choose_object(name="statue")
    assert blender.context.view_layer.objects.active == fountain
    assert blender.ops.segwild.join.poll()
    blender.ops.segwild.choose_object(name="statue")
    assert blender.context.selected_objects == [fountain]
    for ob, box in ((fountain, "CHECKBOX_HLT"), (statue, "CHECKBOX_DEHLT")):
        layout = Layout()
        lists.SEGWILD_UL_objects.draw_item(None, blender.context, layout, None, ob, 0, None, "")
        assert layout.icons["segwild.choose_object"] == box


def test_what_is_none_of_ours_is_not_deleted_from_here(blender: Any, scene: Any) -> None:
    cube = blender.data.objects.new("cube", None)
    blender.context.scene.collection.objects.link(cube)
    for ob, possible in ((cube, False), (blender.data.objects["statue"], True)):
        activate(ob)
        assert drawn("objects").enabled_for["object.delete"] is possible


def test_the_rest_is_everything_where_there_is_nothing_else(blender: Any, scene: Any) -> None:
    rest = scenes.rest(scene)
    activate(rest)
    assert "Everything else" in drawn("light").said
    for ob in scenes.members(scene, "SEGMENT"):
        blender.data.objects.remove(ob)
    said = drawn("light").said
    assert "Everything" in said
    assert "Everything else" not in said


def test_splats_of_other_programs_are_imported_from_the_sidebar(blender: Any) -> None:
    assert {"segwild.import_workspace", "segwild.import_ply"} <= set(drawn("scene").operators)


def test_clicks_are_offered_the_backend_of_their_scene(
    blender: Any, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another scene is trained, whose backend runs."""
    monkeypatch.setattr(work, "link_of", lambda context: SimpleNamespace(running=True, backend=object()))
    monkeypatch.setattr(environment, "python", lambda: Path("python"))
    layout = drawn("select")
    assert "Clicks need the backend" in layout.said
    button = next(operator for name, _, operator in layout.shown if name == "segwild.start_backend")
    assert button.workspace == scene.segwild.workspace


def test_the_panel_says_what_finding_junk_needs(blender: Any, scene: Any) -> None:
    layout = drawn("select")
    assert "segwild.find_junk" in layout.operators
    assert "junk needs the backend" in layout.said


def test_the_picture_of_the_view_is_asked_of_the_view(blender: Any, scene: Any) -> None:
    """Of the sidebar, where the button is, there is none."""
    assert drawn("drawing").contexts["segwild.viewport_image"] == "INVOKE_REGION_WIN"


def test_a_photo_is_looked_through_from_the_sidebar(blender: Any, scene: Any) -> None:
    camera = scenes.members(scene, "CAMERA")[1]

    def labels() -> list[str]:
        return [text for name, text, _ in drawn("drawing").shown if name == "segwild.look_through"]

    activate(blender.data.objects["statue"])
    assert labels() == ["Look Through Photo…"]
    assert blender.ops.segwild.look_through(choice="photo-0") == {"FINISHED"}  # as the list does
    assert blender.context.scene.camera.segwild.photo == "photo-0"
    scene.segwild.show_cameras = True
    activate(camera)
    assert labels() == ["Look Through photo-1"]
    assert blender.ops.segwild.look_through() == {"FINISHED"}  # and not the photo of before
    assert blender.context.scene.camera == camera
