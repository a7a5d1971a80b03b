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
    """A new point cloud of `count` rows at the origin, without users."""
    if can_resize():
        cloud = bpy.data.pointclouds.new(name)
        cloud.resize(count)
    elif count:
        cloud = _evaluated(count)
        cloud.name = name
    else:
        cloud = bpy.data.pointclouds.new(name)
    if native_splats():
        cloud.type = "GAUSSIAN_SPLAT"
    return cloud


def _evaluated(count: int) -> bpy.types.PointCloud:
    """A copy of what a geometry node makes, in a scene of its own, which is there for a moment.

    Before 5.1 nothing else makes a cloud with rows but the conversion of a mesh. That is an operator, and wants its
    object in the context: Blender reads such a context without holding Python's lock and crashes when another thread
    is at work, as the client's are.
    """
    nodes = bpy.data.node_groups.new("segwild", "GeometryNodeTree")
    nodes.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    points = nodes.nodes.new("GeometryNodePoints")
    points.inputs["Count"].default_value = count
    nodes.links.new(points.outputs[0], nodes.nodes.new("NodeGroupOutput").inputs[0])
    empty = bpy.data.pointclouds.new("segwild")
    ob = bpy.data.objects.new("segwild", empty)
    scene = bpy.data.scenes.new("segwild")
    try:
        ob.modifiers.new("segwild", "NODES").node_group = nodes
        scene.collection.objects.link(ob)
        layer = scene.view_layers[0]
        layer.update()
        return ob.evaluated_get(layer.depsgraph).data.copy()
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.objects.remove(ob)
        bpy.data.pointclouds.remove(empty)
        bpy.data.node_groups.remove(nodes)
