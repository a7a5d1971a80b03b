"""A 3DGS .ply into Gaussians and back.

The layout is that of the original 3D Gaussian Splatting code, which every viewer reads: one `vertex`
element with x y z, nx ny nz (unused), f_dc_0..2, f_rest_* channel-major (all of red, then green, then
blue), opacity as a logit, scale_0..2 as natural logs, rot_0..3 as wxyz.

plyfile writes. Reading is done here, strictly: plyfile allocates what a header claims before it looks at
the file, and takes minutes over a large ASCII file.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.lib.recfunctions import structured_to_unstructured
from plyfile import PlyData, PlyElement

from backend.formats.plyheader import Element, Header, read_header
from backend.formats.rows import drawable, opened, writable
from backend.progress import Progress, Quiet
from backend.scene.files import written_whole
from backend.scene.gaussians import SH_COUNTS, Gaussians
from backend.scene.transforms import Similarity
from segwild_addon.protocol.errors import InputError

_POSITION = ("x", "y", "z")
_NORMAL = ("nx", "ny", "nz")
_COLOUR = ("f_dc_0", "f_dc_1", "f_dc_2")
_SHAPE = ("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3")


def read_ply(path: Path, progress: Progress | None = None) -> Gaussians:
    """The Gaussians of a binary or ASCII 3DGS .ply, in the file's own frame and row order.

    Rows that hold NaN, infinite or absurdly large values are left out, with a warning that counts them.
    Columns beyond the standard ones are ignored. Raises InputError if the file is missing, cut short,
    malformed, or holds no splats.
    """
    progress = progress or Quiet()
    with opened(path) as file:
        header = read_header(file, path)
        vertex = _splat_element(header, path)
        rest = _rest_names(vertex, path)
        table = _table(file, header, vertex, path)

    def columns(*names: str) -> np.ndarray:
        with np.errstate(over="ignore"):  # float64 beyond float32 becomes infinite, then the row is left out
            return structured_to_unstructured(table[list(names)], np.float32, copy=True)

    shN = columns(*rest).reshape(len(table), 3, -1).swapaxes(1, 2) if rest else np.zeros((len(table), 0, 3), np.float32)
    gaussians = Gaussians(
        means=columns(*_POSITION),
        quats=columns(*_SHAPE[4:]),
        log_scales=columns(*_SHAPE[1:4]),
        opacity_logits=columns(_SHAPE[0])[:, 0],
        sh0=columns(*_COLOUR)[:, None],
        shN=np.ascontiguousarray(shN),
    )
    return drawable(gaussians, "ply", path, progress)


def write_ply(
    path: Path,
    gaussians: Gaussians,
    *,
    world_from_scene: Similarity | None = None,  # undoes the scene's normalisation; None: written as they are
    progress: Progress | None = None,
) -> None:
    """Gaussians as a binary little-endian 3DGS .ply, whole or not at all. Sidecars are not written.

    Rows that are not finite are left out with a warning. Raises InputError if no row remains, ResourceError
    if the disk is full or the folder cannot be written.
    """
    progress = progress or Quiet()
    gaussians = writable(gaussians, world_from_scene, path, progress)
    rest = gaussians.shN.swapaxes(1, 2).reshape(len(gaussians), -1)
    names = (*_POSITION, *_NORMAL, *_COLOUR, *(f"f_rest_{k}" for k in range(rest.shape[1])), *_SHAPE)
    parts = [gaussians.means, np.zeros_like(gaussians.means), gaussians.sh0[:, 0], rest]
    parts += [gaussians.opacity_logits[:, None], gaussians.log_scales, gaussians.quats]
    table = np.concatenate(parts, axis=1).astype("<f4", copy=False).view([(name, "<f4") for name in names])[:, 0]
    # No comment lines: the original viewer expects `element vertex` on the third line.
    with written_whole(path) as file:
        PlyData([PlyElement.describe(table, "vertex")], byte_order="<").write(file)


def _splat_element(header: Header, path: Path) -> Element:
    """The vertex element, which must have every splat field as a plain number."""
    if any(element.name == "chunk" for element in header.elements):
        raise InputError(
            "ply-compressed",
            f"This .ply is compressed in SuperSplat's own way: {path}.",
            "Save it as an uncompressed .ply there.",
        )
    vertex = header.element("vertex")
    if vertex is None:
        raise InputError("ply-malformed", f"The .ply has no vertices: {path}.", "Choose a 3DGS .ply.")
    required = (*_POSITION, *_COLOUR, *_SHAPE)
    missing = [name for name in required if name not in vertex.types]
    if set(missing) >= {*_COLOUR, *_SHAPE}:
        raise InputError(
            "ply-no-splats",
            f"This .ply is a point cloud or mesh, not splats (no f_dc, opacity, scale, rot): {path}.",
            "Choose a .ply that a 3D Gaussian Splatting program has written.",
        )
    if missing:
        raise InputError("ply-fields-missing", f"The .ply lacks {', '.join(missing)}: {path}.", "Choose a 3DGS .ply.")
    if vertex.lists:
        raise InputError(
            "ply-malformed", f"Vertices of a 3DGS .ply have no lists ({', '.join(vertex.lists[:3])}): {path}."
        )
    if vertex.count == 0:
        raise InputError("ply-empty", f"The .ply holds no splats at all: {path}.", "Choose another file.")
    return vertex


def _rest_names(vertex: Element, path: Path) -> list[str]:
    """f_rest_0.. in numeric order, whatever their order in the file."""
    found = {name for name in vertex.types if name.startswith("f_rest_")}
    names = [f"f_rest_{k}" for k in range(len(found))]
    if found != set(names) or len(names) not in {3 * count for count in SH_COUNTS}:
        raise InputError(
            "ply-harmonics",
            f"The .ply has {len(found)} f_rest fields; 0, 9, 24 or 45 in sequence are expected: {path}.",
            "Export it with spherical harmonics of degree 0 to 3.",
        )
    return names


def _table(file: BinaryIO, header: Header, vertex: Element, path: Path) -> np.ndarray:
    """The vertex rows, (N,) structured. The header's claim is held against the file's size first."""
    cut_short = InputError(
        "ply-cut-short",
        f"The .ply should hold {vertex.count:,} splats but ends before them: {path}.",
        "Copy or download it again.",
    )
    before = header.elements[: header.elements.index(vertex)]
    if any(element.lists for element in before):
        raise InputError("ply-malformed", f"The .ply has lists before its vertices: {path}.", "Choose a 3DGS .ply.")
    start = file.tell()
    available = file.seek(0, 2) - start
    if header.text:
        lines_before = sum(element.count for element in before)
        # A number and its separator take two bytes at least.
        if 2 * (vertex.count * len(vertex.types) + lines_before) > available + 1:
            raise cut_short
        file.seek(start)
        for _ in range(lines_before):
            file.readline()
        return _table_from_text(file, vertex, cut_short, path)
    offset = sum(element.count * element.dtype(header.byte_order).itemsize for element in before)
    dtype = vertex.dtype(header.byte_order)
    if offset + vertex.count * dtype.itemsize > available:
        raise cut_short
    file.seek(start + offset)
    table = np.fromfile(file, dtype, vertex.count)
    if len(table) < vertex.count:  # someone cut it meanwhile
        raise cut_short
    return table


def _table_from_text(file: BinaryIO, vertex: Element, cut_short: InputError, path: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "input contained no data": told below
            numbers = np.loadtxt(file, np.float64, max_rows=vertex.count, ndmin=2, comments=None, encoding="latin1")
    except ValueError as error:
        raise InputError("ply-malformed", f"The .ply has a line that is not numbers ({error}): {path}.") from error
    if len(numbers) < vertex.count:
        raise cut_short
    if numbers.shape[1] != len(vertex.types):
        raise InputError(
            "ply-malformed",
            f"The .ply has {numbers.shape[1]} numbers per line, its header says {len(vertex.types)}: {path}.",
        )
    table = np.empty(len(numbers), [(name, np.float64) for name in vertex.types])
    for k, name in enumerate(vertex.types):
        table[name] = numbers[:, k]
    return table
