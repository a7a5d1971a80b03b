"""What differs between Blender's versions, found by trying and never by version number."""

from __future__ import annotations

from functools import cache

import bpy


@cache
def can_resize() -> bool:
    """Whether point clouds can be given rows directly (5.1 and later)."""
    return "resize" in bpy.types.PointCloud.bl_rna.functions


@cache
def base_type() -> str:
    """Attribute type of colour and opacity: FLOAT4 where it exists (5.2), which native splats read."""
    new = bpy.types.AttributeGroupPointCloud.bl_rna.functions["new"]
    return "FLOAT4" if "FLOAT4" in new.parameters["type"].enum_items else "FLOAT_COLOR"


@cache
def native_splats() -> bool:
    """Whether Blender itself can render point clouds as splats (5.3 and later)."""
    kind = bpy.types.PointCloud.bl_rna.properties.get("type")
    return kind is not None and "GAUSSIAN_SPLAT" in kind.enum_items


def sized(name: str, count: int) -> bpy.types.PointCloud:
    """A new point cloud of `count` rows at the origin, without users.

    Before 5.1 only the conversion of a mesh makes one: it needs an object in the current scene for a moment and
    object mode.
    """
    if can_resize():
        cloud = bpy.data.pointclouds.new(name)
        cloud.resize(count)
    elif count:
        cloud = _converted(count)
        cloud.name = name
    else:
        cloud = bpy.data.pointclouds.new(name)
    if native_splats():
        cloud.type = "GAUSSIAN_SPLAT"
    return cloud


def _converted(count: int) -> bpy.types.PointCloud:
    mesh = bpy.data.meshes.new("segwild")
    mesh.vertices.add(count)
    ob = bpy.data.objects.new("segwild", mesh)
    collection = bpy.context.scene.collection
    collection.objects.link(ob)
    chosen = bpy.context.view_layer.objects.active
    chosen_too = [other for other in bpy.context.view_layer.objects if other.select_get()]
    try:
        with bpy.context.temp_override(
            object=ob, active_object=ob, selected_objects=[ob], selected_editable_objects=[ob]
        ):
            bpy.ops.object.convert(target="POINTCLOUD")
        cloud = ob.data
    finally:
        bpy.data.objects.remove(ob)
        if not mesh.users:
            bpy.data.meshes.remove(mesh)
        # The conversion selects its result and nothing else.
        for other in chosen_too:
            other.select_set(True)
        bpy.context.view_layer.objects.active = chosen
    for stray in (".select_vert", ".selection"):
        if stray in cloud.attributes:
            cloud.attributes.remove(cloud.attributes[stray])
    return cloud
