"""Solid shapes into bodies: rows of numbers whose signed distance a kernel can ask for.

A shape is a primitive with a place, a turn, a material and a colour. A body is a list of shapes joined
(or cut) in order. Distances are never too long, so that marching along a ray cannot jump through a wall.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import atan2, floor, sin, sqrt

import numpy as np
from numba import njit

BOX, FRUSTUM, CAPSULE, ELLIPSOID, TORUS, GABLE, FACADE, FLUTED, BUMPY = range(9)

# Columns of a shape's row
CENTRE, TURN, SIZES, BLEND, COLOUR, REACH = 0, 3, 12, 20, 21, 24
COLUMNS = 25
WINDOW_RECESS = 0.22  # metres that windows lie behind their wall
_SAFETY = 0.9  # marching steps as a share of the distance: bumps make distances a little too long


@dataclass(frozen=True)
class Shape:
    """One primitive. Sizes are metres in the shape's own frame:

    BOX half x, y, z, rounding · FRUSTUM radius below, above, half height, rounding · CAPSULE radius below,
    above, half length · ELLIPSOID radii · TORUS ring radius, tube radius · GABLE half x (across the
    ridge), half y, height · FACADE half x, y, z, window spacing x, z, half window x, z (windows in the -y
    wall) · FLUTED radius below, above, half height, flutes, their depth · BUMPY radii, bump height.
    """

    kind: int
    material: int
    at: tuple[float, float, float]  # centre, metres, in the body's frame
    sizes: tuple[float, ...]
    colour: tuple[float, float, float]  # linear RGB albedo, 0..1
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)  # degrees about x, then y, then z
    blend: float = 0.0  # metres over which the shape melts into those before it
    cut: bool = False  # remove this shape from those before it

    def rotation(self) -> np.ndarray:
        """(3, 3) float64, body from shape."""
        return turned(*self.turn)

    def half_extent(self) -> np.ndarray:
        """(3,) float64, half the shape's own bounding box."""
        s = self.sizes
        if self.kind in (FRUSTUM, FLUTED):
            radius = max(s[0], s[1])
            return np.array([radius, radius, s[2]])
        if self.kind == CAPSULE:
            radius = max(s[0], s[1])
            return np.array([radius, radius, s[2] + radius])
        if self.kind == TORUS:
            return np.array([s[0] + s[1], s[0] + s[1], s[1]])
        if self.kind == BUMPY:
            return np.array(s[:3]) + s[3]
        return np.array(s[:3])


@dataclass(frozen=True, eq=False)
class Bodies:
    """M bodies made of N shapes, as the arrays that kernels read."""

    kinds: np.ndarray  # (N, 3) int64: kind, 1 if cut, material
    rows: np.ndarray  # (N, COLUMNS) float64
    starts: np.ndarray  # (M + 1,) int64, first shape of each body
    boxes: np.ndarray  # (M, 6) float64, bounding boxes: low x, y, z, high x, y, z

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.kinds, self.rows, self.starts, self.boxes

    @classmethod
    def of(cls, bodies: Sequence[Sequence[Shape]]) -> Bodies:
        shapes = [shape for body in bodies for shape in body]
        rows, boxes = np.zeros((len(shapes), COLUMNS)), np.zeros((len(bodies), 6))
        for row, shape in zip(rows, shapes, strict=True):
            row[CENTRE : CENTRE + 3] = shape.at
            row[TURN : TURN + 9] = shape.rotation().T.reshape(9)
            row[SIZES : SIZES + len(shape.sizes)] = shape.sizes
            row[BLEND] = shape.blend
            row[COLOUR : COLOUR + 3] = shape.colour
            row[REACH] = np.linalg.norm(shape.half_extent())
        for box, body in zip(boxes, bodies, strict=True):
            solid = [shape for shape in body if not shape.cut]
            halves = np.array([np.abs(shape.rotation()) @ shape.half_extent() for shape in solid])
            # A quarter of the blend is how far melting can push a surface out.
            halves += np.array([[shape.blend / 4 + 0.01] for shape in solid])
            centres = np.array([shape.at for shape in solid])
            box[:3], box[3:] = (centres - halves).min(axis=0), (centres + halves).max(axis=0)
        kinds = np.array([[shape.kind, shape.cut, shape.material] for shape in shapes], np.int64).reshape(-1, 3)
        starts = np.cumsum([0] + [len(body) for body in bodies]).astype(np.int64)
        return cls(kinds, rows, starts, boxes)


def turned(x_deg: float, y_deg: float, z_deg: float) -> np.ndarray:
    """(3, 3) float64 rotation about x, then y, then z."""
    rotation = np.eye(3)
    for axis, angle in enumerate(np.radians([x_deg, y_deg, z_deg])):
        c, s = np.cos(angle), np.sin(angle)
        j, k = (axis + 1) % 3, (axis + 2) % 3
        step = np.eye(3)
        step[j, j], step[j, k], step[k, j], step[k, k] = c, -s, s, c
        rotation = step @ rotation
    return rotation


def between(
    low: tuple[float, float, float], high: tuple[float, float, float], radii: tuple[float, float], **rest: object
) -> Shape:
    """A CAPSULE from point `low` to point `high`."""
    a, b = np.array(low, float), np.array(high, float)
    x, y, z = (b - a) / np.linalg.norm(b - a)
    turn = (0.0, float(np.degrees(np.arccos(np.clip(z, -1, 1)))), float(np.degrees(np.arctan2(y, x))))
    middle = tuple(float(value) for value in (a + b) / 2)
    return Shape(CAPSULE, at=middle, sizes=(*radii, float(np.linalg.norm(b - a)) / 2), turn=turn, **rest)  # type: ignore[arg-type]


def moved(body: Sequence[Shape], x: float, y: float, *, turn_deg: float = 0.0, size: float = 1.0) -> list[Shape]:
    """The body turned about z, scaled, and standing at (x, y). Scaling is for bodies without facades or flutes."""
    rotation = turned(0, 0, turn_deg)
    placed = []
    for shape in body:
        at = rotation @ np.array(shape.at) * size + (x, y, 0)
        placed.append(
            replace(
                shape,
                at=tuple(float(value) for value in at),
                turn=(shape.turn[0], shape.turn[1], shape.turn[2] + turn_deg),
                sizes=tuple(value * size for value in shape.sizes) if size != 1.0 else shape.sizes,
                blend=shape.blend * size,
            )
        )
    return placed


def coloured(body: Sequence[Shape], colours: Mapping[int, tuple[float, float, float]]) -> list[Shape]:
    """The body with the colours of some materials replaced."""
    return [replace(shape, colour=colours.get(shape.material, shape.colour)) for shape in body]


@njit(cache=True, fastmath=True)
def local(row, x, y, z):
    """A world point in the frame of a shape."""
    dx, dy, dz = x - row[0], y - row[1], z - row[2]
    return (
        row[3] * dx + row[4] * dy + row[5] * dz,
        row[6] * dx + row[7] * dy + row[8] * dz,
        row[9] * dx + row[10] * dy + row[11] * dz,
    )


@njit(cache=True, fastmath=True)
def _box(px, py, pz, hx, hy, hz, rounding):
    qx, qy, qz = abs(px) - hx + rounding, abs(py) - hy + rounding, abs(pz) - hz + rounding
    ax, ay, az = max(qx, 0.0), max(qy, 0.0), max(qz, 0.0)
    return sqrt(ax * ax + ay * ay + az * az) + min(max(qx, max(qy, qz)), 0.0) - rounding


@njit(cache=True, fastmath=True)
def window_cell(px, pz, sizes):
    """Position inside the cell of the nearest window, and the cell's number; far from any window: 9 m."""
    columns = floor(2 * sizes[0] / sizes[3])
    floors = floor((2 * sizes[2] - 0.6) / sizes[4])
    column = floor(px / sizes[3] + 0.5 * columns)
    storey = floor((pz + sizes[2]) / sizes[4])
    if column < 0 or column >= columns or storey < 0 or storey >= floors:
        return 9.0, 9.0, 0.0, 0.0
    ux = px - (column - 0.5 * columns + 0.5) * sizes[3]
    uz = pz + sizes[2] - (storey + 0.5) * sizes[4]
    return ux, uz, column, storey


@njit(cache=True, fastmath=True)
def primitive(kind, row, x, y, z):
    """Signed distance of a world point to a shape, metres."""
    px, py, pz = local(row, x, y, z)
    s = row[12:20]
    if kind == 0:  # BOX
        return _box(px, py, pz, s[0], s[1], s[2], s[3])
    if kind == 1 or kind == 7:  # FRUSTUM, FLUTED
        radial = sqrt(px * px + py * py)
        half = s[2]
        slope = (s[1] - s[0]) / (2 * half)
        radius = s[0] + slope * (pz + half)
        if kind == 7:
            radius -= s[4] * abs(sin(0.5 * s[3] * atan2(py, px))) ** 3 if radial > 0.5 * radius else 0.0
            side = (radial - radius) * 0.8
            return max(side, abs(pz) - half)
        rounding = s[3]
        side = (radial - radius) / sqrt(1 + slope * slope) + rounding
        end = abs(pz) - half + rounding
        if slope == 0.0 and side > 0 and end > 0:
            return sqrt(side * side + end * end) - rounding
        return max(side, end) - rounding
    if kind == 2:  # CAPSULE
        along = min(max(pz, -s[2]), s[2])
        radius = s[0] + (s[1] - s[0]) * (along + s[2]) / (2 * s[2])
        dz = pz - along
        return (sqrt(px * px + py * py + dz * dz) - radius) * 0.95
    if kind == 3 or kind == 8:  # ELLIPSOID, BUMPY
        ux, uy, uz = px / s[0], py / s[1], pz / s[2]
        k0 = sqrt(ux * ux + uy * uy + uz * uz)
        k1 = sqrt((ux / s[0]) ** 2 + (uy / s[1]) ** 2 + (uz / s[2]) ** 2)
        d = k0 * (k0 - 1) / max(k1, 1e-9) if k0 > 0.05 else -min(s[0], min(s[1], s[2]))
        if kind == 8:
            waves = sin(7.1 * x + 1.3 * z) * sin(6.3 * y + 2.1) * sin(7.7 * z + 0.7 * x)
            waves += 0.5 * sin(15.3 * x + y) * sin(14.1 * y + z) * sin(16.2 * z + x)
            d = (d - s[3] * waves / 1.5) * 0.7
        return d
    if kind == 4:  # TORUS
        ring = sqrt(px * px + py * py) - s[0]
        return sqrt(ring * ring + pz * pz) - s[1]
    if kind == 5:  # GABLE: the ridge runs along y, the eaves lie at z = 0
        length = sqrt(s[0] * s[0] + s[2] * s[2])
        slope = ((abs(px) - s[0]) * s[2] + pz * s[0]) / length
        return max(max(slope, -pz), abs(py) - s[1])
    # FACADE
    d = _box(px, py, pz, s[0], s[1], s[2], 0.0)
    if py < -s[1] + 2 * WINDOW_RECESS and d < 1.0:
        ux, uz, _, _ = window_cell(px, pz, s)
        hole = max(max(abs(ux) - s[5], abs(uz) - s[6]), abs(py + s[1]) - WINDOW_RECESS)
        d = max(d, -hole)
    return d


@njit(cache=True, fastmath=True)
def distance(kinds, rows, start, stop, x, y, z):
    """Signed distance of a world point to a body, and the shape that is nearest."""
    best, which = 1e9, start
    for i in range(start, stop):
        row = rows[i]
        if kinds[i, 1] == 1:
            d = -primitive(kinds[i, 0], row, x, y, z)
            if d > best:
                best, which = d, i
            continue
        melt = row[BLEND]
        dx, dy, dz = x - row[0], y - row[1], z - row[2]
        reach = best + row[REACH] + melt
        if reach > 0 and dx * dx + dy * dy + dz * dz > reach * reach:
            continue
        d = primitive(kinds[i, 0], row, x, y, z)
        if melt > 0 and best < 1e8:
            overlap = max(melt - abs(d - best), 0.0) / melt
            bulge = overlap * overlap * melt * 0.25
            if d < best:
                best, which = d, i
            best -= bulge
        elif d < best:
            best, which = d, i
    return best, which


@njit(cache=True, fastmath=True)
def normal(kinds, rows, start, stop, x, y, z):
    """Unit gradient of a body's distance at a world point (four taps of a tetrahedron)."""
    h = 0.0025
    nx, ny, nz = 0.0, 0.0, 0.0
    for corner in range(4):
        ex = 1.0 if corner == 0 or corner == 3 else -1.0
        ey = 1.0 if corner == 2 or corner == 3 else -1.0
        ez = 1.0 if corner == 1 or corner == 3 else -1.0
        d, _ = distance(kinds, rows, start, stop, x + h * ex, y + h * ey, z + h * ez)
        nx += ex * d
        ny += ey * d
        nz += ez * d
    length = max(sqrt(nx * nx + ny * ny + nz * nz), 1e-12)
    return nx / length, ny / length, nz / length


@njit(cache=True, fastmath=True)
def crossing(box, ox, oy, oz, dx, dy, dz):
    """Where a ray enters and leaves a bounding box; enter > leave if it misses."""
    enter, leave = 0.0, 1e9
    for axis in range(3):
        o = ox if axis == 0 else (oy if axis == 1 else oz)
        d = dx if axis == 0 else (dy if axis == 1 else dz)
        if abs(d) < 1e-9:
            d = 1e-9
        a, b = (box[axis] - o) / d, (box[axis + 3] - o) / d
        enter, leave = max(enter, min(a, b)), min(leave, max(a, b))
    return enter, leave


@njit(cache=True, fastmath=True)
def march(kinds, rows, start, stop, ox, oy, oz, dx, dy, dz, enter, leave, tolerance):
    """Where a ray first meets a body between `enter` and `leave`, and its shape; -1 if it does not."""
    t = enter
    for _ in range(96):
        d, which = distance(kinds, rows, start, stop, ox + t * dx, oy + t * dy, oz + t * dz)
        if d < tolerance * (t + 0.5):
            return t + d * _SAFETY, which
        t += d * _SAFETY
        if t > leave:
            return -1.0, -1
    return -1.0, -1
