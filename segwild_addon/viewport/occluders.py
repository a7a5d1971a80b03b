"""Ordinary objects of the scene into the depth that hides splats, without a window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import bpy
import numpy as np

from .camera import View

# What has a surface. Volumes and particles of smoke hide nothing by depth.
SURFACES = {"MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES"}

_VERTEX = "void main() { gl_Position = to_clip * vec4(place, 1.0); }"
_FRAGMENT = "void main() { nothing = vec4(0.0); }"


def rendered_ones(ob: bpy.types.Object) -> bool:
    """Whether a final render shows the object."""
    return not ob.hide_render and ob.display_type not in ("BOUNDS", "WIRE")


def depth(
    depsgraph: bpy.types.Depsgraph, view: View, wanted: Callable[[bpy.types.Object], bool] = rendered_ones
) -> np.ndarray | None:
    """(H, W) float32 from the top, 0..1 with 1 for nothing there; None if no object is there at all.

    Surfaces are solid whatever their material. Only what the depsgraph shows is seen: objects that are hidden in the
    view layer are not.
    """
    meshes = list(_meshes(depsgraph, wanted))
    if not meshes:
        return None
    import gpu
    from gpu_extras.batch import batch_for_shader

    info = gpu.types.GPUShaderCreateInfo()
    info.push_constant("MAT4", "to_clip")
    info.vertex_in(0, "VEC3", "place")
    info.fragment_out(0, "VEC4", "nothing")
    info.vertex_source(_VERTEX)
    info.fragment_source(_FRAGMENT)
    program = gpu.shader.create_from_info(info)
    projection = view.window_matrix @ view.view_matrix
    target = gpu.types.GPUOffScreen(view.width, view.height)
    try:
        with target.bind():
            framebuffer = gpu.state.active_framebuffer_get()
            framebuffer.clear(color=(0.0, 0.0, 0.0, 0.0), depth=1.0)
            gpu.state.blend_set("NONE")
            gpu.state.depth_test_set("LESS_EQUAL")
            gpu.state.depth_mask_set(True)
            program.bind()
            for matrix, places, triangles in meshes:
                # As Blender takes matrices: by columns.
                program.uniform_float("to_clip", _matrix(projection @ matrix))
                batch_for_shader(program, "TRIS", {"place": places}, indices=triangles).draw(program)
            gpu.state.depth_test_set("NONE")
            values = np.array(framebuffer.read_depth(0, 0, view.width, view.height), np.float32)
    finally:
        target.free()
    return values.reshape(view.height, view.width)[::-1]


def _meshes(
    depsgraph: bpy.types.Depsgraph, wanted: Callable[[bpy.types.Object], bool]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """World matrix, places (M, 3) float32 and triangles (T, 3) int32 of every instance of every surface."""
    known: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for instance in depsgraph.object_instances:
        ob = instance.object
        if ob.type not in SURFACES or not instance.show_self or not wanted(ob.original):
            continue
        key = ob.original.session_uid
        if key not in known:
            known[key] = _triangles(ob)
        places, triangles = known[key]
        if len(triangles):
            yield np.array(instance.matrix_world, np.float64), places, triangles


def _triangles(ob: bpy.types.Object) -> tuple[np.ndarray, np.ndarray]:
    mesh = ob.to_mesh()
    if mesh is None:
        return np.empty((0, 3), np.float32), np.empty((0, 3), np.int32)
    mesh.calc_loop_triangles()
    places = np.empty((len(mesh.vertices), 3), np.float32)
    mesh.vertices.foreach_get("co", places.reshape(-1))
    triangles = np.empty((len(mesh.loop_triangles), 3), np.int32)
    mesh.loop_triangles.foreach_get("vertices", triangles.reshape(-1))
    ob.to_mesh_clear()
    return places, triangles


def _matrix(values: np.ndarray) -> Any:
    from mathutils import Matrix

    return Matrix(values.tolist())
