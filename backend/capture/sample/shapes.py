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
SLOPE, SLANT = 25, 26  # of FRUSTUM, FLUTED and CAPSULE: radius per height, and its cosine
COLUMNS = 27
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
    frames: np.ndarray  # (M, 8) float64, tighter boxes turned about z: low, high, cosine and sine of the turn

    def __len__(self) -> int:
        return len(self.boxes)

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        return self.kinds, self.rows, self.starts, self.frames

    @classmethod
    def of(cls, bodies: Sequence[Sequence[Shape]]) -> Bodies:
        shapes = [shape for body in bodies for shape in body]
        rows = np.zeros((len(shapes), COLUMNS))
        boxes, frames = np.zeros((len(bodies), 6)), np.zeros((len(bodies), 8))
        for row, shape in zip(rows, shapes, strict=True):
            row[CENTRE : CENTRE + 3] = shape.at
            row[TURN : TURN + 9] = shape.rotation().T.reshape(9)
            row[SIZES : SIZES + len(shape.sizes)] = shape.sizes
            row[BLEND] = shape.blend
            row[COLOUR : COLOUR + 3] = shape.colour
            if shape.kind in (FRUSTUM, FLUTED, CAPSULE):
                row[SLOPE] = (shape.sizes[1] - shape.sizes[0]) / (2 * shape.sizes[2])
                row[SLANT] = 1 / np.sqrt(1 + row[SLOPE] ** 2)
            if shape.kind in (ELLIPSOID, BUMPY):
                row[SIZES + 4 : SIZES + 7] = 1 / np.array(shape.sizes[:3])
            row[REACH] = np.linalg.norm(shape.half_extent())
        for box, frame, body in zip(boxes, frames, bodies, strict=True):
            turn = body[0].turn[2]
            frame[:6], frame[6:] = _bounds(body, turn), (np.cos(np.radians(turn)), np.sin(np.radians(turn)))
            box[:] = _bounds(body, 0.0)
        kinds = np.array([[shape.kind, shape.cut, shape.material] for shape in shapes], np.int64).reshape(-1, 3)
        starts = np.cumsum([0] + [len(body) for body in bodies]).astype(np.int64)
        return cls(kinds, rows, starts, boxes, frames)


def _bounds(body: Sequence[Shape], turn_deg: float) -> np.ndarray:
    """(6,) float64: low and high corner of a body, along axes turned about z."""
    solid = [shape for shape in body if not shape.cut]
    axes = turned(0, 0, -turn_deg)
    # A quarter of the blend is how far melting can push a surface out.
    halves = np.array([np.abs(axes @ shape.rotation()) @ shape.half_extent() for shape in solid])
    halves += np.array([[shape.blend / 4 + 0.01] for shape in solid])
    centres = np.array([axes @ shape.at for shape in solid])
    return np.concatenate([(centres - halves).min(axis=0), (centres + halves).max(axis=0)])


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
def local(rows, i, x, y, z):
    """A world point in the frame of shape `i`."""
    dx, dy, dz = x - rows[i, 0], y - rows[i, 1], z - rows[i, 2]
    return (
        rows[i, 3] * dx + rows[i, 4] * dy + rows[i, 5] * dz,
        rows[i, 6] * dx + rows[i, 7] * dy + rows[i, 8] * dz,
        rows[i, 9] * dx + rows[i, 10] * dy + rows[i, 11] * dz,
    )


@njit(cache=True, fastmath=True)
def _box(px, py, pz, hx, hy, hz, rounding):
    qx, qy, qz = abs(px) - hx + rounding, abs(py) - hy + rounding, abs(pz) - hz + rounding
    ax, ay, az = max(qx, 0.0), max(qy, 0.0), max(qz, 0.0)
    return sqrt(ax * ax + ay * ay + az * az) + min(max(qx, max(qy, qz)), 0.0) - rounding


@njit(cache=True, fastmath=True)
def window_cell(rows, i, px, pz):
    """Position inside the cell of the nearest window, and the cell's number; far from any window: 9 m."""
    columns = floor(2 * rows[i, 12] / rows[i, 15])
    floors = floor((2 * rows[i, 14] - 0.6) / rows[i, 16])
    column = floor(px / rows[i, 15] + 0.5 * columns)
    storey = floor((pz + rows[i, 14]) / rows[i, 16])
    if column < 0 or column >= columns or storey < 0 or storey >= floors:
        return 9.0, 9.0, 0.0, 0.0
    ux = px - (column - 0.5 * columns + 0.5) * rows[i, 15]
    uz = pz + rows[i, 14] - (storey + 0.5) * rows[i, 16]
    return ux, uz, column, storey


@njit(cache=True, fastmath=True)
def primitive(kind, rows, i, x, y, z):
    """Signed distance of a world point to shape `i`, metres."""
    px, py, pz = local(rows, i, x, y, z)
    s0, s1, s2, s3 = rows[i, 12], rows[i, 13], rows[i, 14], rows[i, 15]
    if kind == 0:  # BOX
        return _box(px, py, pz, s0, s1, s2, s3)
    if kind == 1 or kind == 7:  # FRUSTUM, FLUTED
        radial = sqrt(px * px + py * py)
        slope = rows[i, SLOPE]
        radius = s0 + slope * (pz + s2)
        if kind == 7:
            if radial < radius + 0.2 and radial > 0.5 * radius:
                radius -= rows[i, 16] * abs(sin(0.5 * s3 * atan2(py, px))) ** 3
            return max((radial - radius) * 0.8, abs(pz) - s2)
        side = (radial - radius) * rows[i, SLANT] + s3
        end = abs(pz) - s2 + s3
        if slope == 0.0 and side > 0 and end > 0:
            return sqrt(side * side + end * end) - s3
        return max(side, end) - s3
    if kind == 2:  # CAPSULE
        along = min(max(pz, -s2), s2)
        radius = s0 + rows[i, SLOPE] * (along + s2)
        dz = pz - along
        return (sqrt(px * px + py * py + dz * dz) - radius) * 0.95
    if kind == 3 or kind == 8:  # ELLIPSOID, BUMPY
        ix, iy, iz = rows[i, 16], rows[i, 17], rows[i, 18]
        ux, uy, uz = px * ix, py * iy, pz * iz
        k0 = sqrt(ux * ux + uy * uy + uz * uz)
        vx, vy, vz = ux * ix, uy * iy, uz * iz
        d = k0 * (k0 - 1) / sqrt(vx * vx + vy * vy + vz * vz) if k0 > 0.05 else -min(s0, min(s1, s2))
        if kind == 8:
            if abs(d) > 4 * s3:  # too far for the bumps to matter
                return (d - s3) * 0.7
            waves = sin(7.1 * x + 1.3 * z) * sin(6.3 * y + 2.1) * sin(7.7 * z + 0.7 * x)
            waves += 0.5 * sin(15.3 * x + y) * sin(14.1 * y + z) * sin(16.2 * z + x)
            d = (d - s3 * waves / 1.5) * 0.7
        return d
    if kind == 4:  # TORUS
        ring = sqrt(px * px + py * py) - s0
        return sqrt(ring * ring + pz * pz) - s1
    if kind == 5:  # GABLE: the ridge runs along y, the eaves lie at z = 0
        length = sqrt(s0 * s0 + s2 * s2)
        slope = ((abs(px) - s0) * s2 + pz * s0) / length
        return max(max(slope, -pz), abs(py) - s1)
    # FACADE
    d = _box(px, py, pz, s0, s1, s2, 0.0)
    if py < -s1 + 2 * WINDOW_RECESS and d < 1.0:
        ux, uz, _, _ = window_cell(rows, i, px, pz)
        hole = max(max(abs(ux) - rows[i, 17], abs(uz) - rows[i, 18]), abs(py + s1) - WINDOW_RECESS)
        d = max(d, -hole)
    return d


@njit(cache=True, fastmath=True)
def distance(kinds, rows, start, stop, x, y, z):
    """Signed distance of a world point to a body, and the shape that is nearest."""
    best, which = 1e9, start
    for i in range(start, stop):
        if kinds[i, 1] == 1:
            d = -primitive(kinds[i, 0], rows, i, x, y, z)
            if d > best:
                best, which = d, i
            continue
        melt = rows[i, BLEND]
        dx, dy, dz = x - rows[i, 0], y - rows[i, 1], z - rows[i, 2]
        reach = best + rows[i, REACH] + melt
        if reach > 0 and dx * dx + dy * dy + dz * dz > reach * reach:
            continue
        d = primitive(kinds[i, 0], rows, i, x, y, z)
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
def crossing(frames, m, ox, oy, oz, dx, dy, dz):
    """Where a ray enters and leaves the turned box of body `m`; enter > leave if it misses."""
    cosine, sine = frames[m, 6], frames[m, 7]
    ox, oy = cosine * ox + sine * oy, cosine * oy - sine * ox
    dx, dy = cosine * dx + sine * dy, cosine * dy - sine * dx
    # Slabs; a ray along a face divides by a tiny number of the right magnitude instead of by zero.
    rx, ry, rz = 1.0 / (dx + 1e-12), 1.0 / (dy + 1e-12), 1.0 / (dz + 1e-12)
    ax, bx = (frames[m, 0] - ox) * rx, (frames[m, 3] - ox) * rx
    ay, by = (frames[m, 1] - oy) * ry, (frames[m, 4] - oy) * ry
    az, bz = (frames[m, 2] - oz) * rz, (frames[m, 5] - oz) * rz
    enter = max(max(min(ax, bx), min(ay, by)), max(min(az, bz), 0.0))
    return enter, min(min(max(ax, bx), max(ay, by)), max(az, bz))


@njit(cache=True, fastmath=True)
def gap(frames, m, x, y, z):
    """A lower bound of the distance from a place to body `m`: to its turned box, along the worst axis."""
    px, py = frames[m, 6] * x + frames[m, 7] * y, frames[m, 6] * y - frames[m, 7] * x
    wide = max(max(frames[m, 0] - px, px - frames[m, 3]), max(frames[m, 1] - py, py - frames[m, 4]))
    return max(wide, max(frames[m, 2] - z, z - frames[m, 5]))


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
