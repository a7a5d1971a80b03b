"""The objects of a scene as a list, and what can be done to them."""

from typing import Any

import bpy

from ..data import nesting, scenes, splats


def index_get(self: bpy.types.PropertyGroup) -> int:
    active = bpy.context.view_layer.objects.active
    return bpy.data.objects.find(active.name) if active is not None else -1


def index_set(self: bpy.types.PropertyGroup, value: int) -> None:
    """A click on a row, as a step of undo: Blender makes none of what is changed through the window manager."""
    if 0 <= value < len(bpy.data.objects) and bpy.ops.segwild.pick_object.poll():
        bpy.ops.segwild.pick_object("EXEC_DEFAULT", True, name=bpy.data.objects[value].name)


class SEGWILD_UL_objects(bpy.types.UIList):
    """Rows: the rest first, then segments by name, each above its parts. Without a scene: objects that came alone, as
    assets."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flt_flag=0) -> None:
        row, hidden = layout.row(align=True), item.hide_get()
        if depth := len(nesting.above(item)):
            row.separator(factor=1.5 * depth)
        chosen = row.row()
        chosen.enabled = not hidden
        box = "CHECKBOX_HLT" if item.select_get() else "CHECKBOX_DEHLT"
        chosen.operator("segwild.choose_object", text="", icon=box, emboss=False).name = item.name
        if item.segwild.kind == "SEGMENT":
            swatch = row.row()
            swatch.ui_units_x = 0.8
            swatch.prop(item, "color", text="")
            row.separator(factor=0.5)
            row.prop(item, "name", text="", emboss=False)
        else:
            row.label(text=rest_name(item), icon="OUTLINER_DATA_POINTCLOUD")
        count = row.row()
        count.alignment = "RIGHT"
        count.active = False
        count.label(text=short(len(item.data.points)))
        op = row.operator("segwild.show", text="", icon="HIDE_ON" if hidden else "HIDE_OFF", emboss=False)
        op.name, op.shown = item.name, hidden
        op = row.operator("segwild.isolate", text="", icon="ZOOM_SELECTED", emboss=False)
        op.name = item.name

    def filter_items(self, context, data, property):
        scene = scenes.active(context)
        objects = getattr(data, property)
        known = {each.segwild.uuid for each in scenes.all_scenes()}
        wanted = self.filter_name.lower()
        layer = context.view_layer.objects
        flags = [
            self.bitflag_filter_item
            if (ob.segwild.scene_uuid not in known if scene is None else ob.segwild.scene_uuid == scene.segwild.uuid)
            and ob.segwild.kind in scenes.SPLAT_KINDS
            and wanted in ob.name.lower()
            and layer.get(ob.name) == ob
            else 0
            for ob in objects
        ]
        ranks = sorted(range(len(objects)), key=lambda k: _rank(objects[k]) if flags[k] else ())
        order = [0] * len(objects)
        for place, index in enumerate(ranks):
            order[index] = place
        return flags, order


def _rank(ob: bpy.types.Object) -> tuple[Any, ...]:
    """Where the object stands in the list: after what it is a part of."""
    path = [*reversed(nesting.above(ob)), ob]
    return ob.segwild.kind != "REST", *((each.name.lower(), each.name) for each in path)


class SEGWILD_PT_objects(bpy.types.Panel):
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "SegWild"
    bl_label = "Objects"
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return scenes.anything(context)

    def draw(self, context: bpy.types.Context) -> None:
        layout, scene = self.layout, scenes.active(context)
        count = len(scenes.splat_objects(scene)) if scene is not None else 0
        light, rows = context.window_manager.segwild_light, min(8, max(3, count + 1))
        layout.template_list("SEGWILD_UL_objects", "", bpy.data, "objects", light, "object_index", rows=rows)
        row = layout.row(align=True)
        row.operator("segwild.show_all", icon="HIDE_OFF")
        row.operator("segwild.join", text="Join", icon="SELECT_EXTEND")
        row = layout.row(align=True)
        row.operator("segwild.dissolve_object", text="Dissolve", icon="LOOP_BACK")
        deleting = row.row(align=True)
        deleting.enabled = any(splats.is_splat(ob) for ob in context.selected_objects)  # a cube is none of ours
        deleting.operator("object.delete", text="Delete", icon="TRASH").confirm = False
        row = layout.row(align=True)
        row.operator("segwild.set_parent", icon="CON_CHILDOF")
        row.operator("segwild.clear_parent", text="", icon="X")
        row = layout.row(align=True)
        row.operator("segwild.split_object", icon="MOD_EXPLODE")
        row.prop(context.window_manager.segwild, "least_part", text="")
        row = layout.row(align=True)
        row.operator("segwild.clean_edges", icon="MOD_EDGESPLIT")
        row.operator("segwild.restore_edges", text="", icon="LOOP_BACK")
        header, body = layout.panel("segwild_repair", default_closed=True)
        header.label(text="Splats")
        if body is not None:
            column = body.column(align=True)
            for operator in ("make_object", "erase_splats", "restore_splats"):
                column.operator(f"segwild.{operator}")
            column = body.column(align=True)
            for operator in ("recover_rows", "apply_transform", "origin_to_centre"):
                column.operator(f"segwild.{operator}")
            if scene is not None and scene.library is not None:
                body.label(text="A linked scene cannot be edited", icon="LINKED")


def rest_name(rest: bpy.types.Object) -> str:
    """What the rest of a scene is called."""
    scene = scenes.scene_of(rest)
    alone = scene is not None and len(scenes.splat_objects(scene)) == 1
    return "Everything" if alone else "Everything else"


def short(count: int) -> str:
    """A number in few characters."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 1_000_000 else f"{count / 1e6:.1f}M"


_CLASSES = (SEGWILD_UL_objects, SEGWILD_PT_objects)


def register() -> None:
    for each in _CLASSES:
        bpy.utils.register_class(each)


def unregister() -> None:
    for each in reversed(_CLASSES):
        bpy.utils.unregister_class(each)
