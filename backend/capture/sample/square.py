"""The square of the sample: its named objects and the houses around it, as bodies.

Metres, z up, origin at the fountain. The square is always the same; what a seed changes is who visits it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numba import njit, prange

from backend.capture.sample import materials as of
from backend.capture.sample.shapes import (
    BOX,
    BUMPY,
    ELLIPSOID,
    FACADE,
    FLUTED,
    FRUSTUM,
    GABLE,
    TORUS,
    Bodies,
    Shape,
    between,
    distance,
    moved,
)

Body = list[Shape]
_STONE, _SAND, _IRON = (0.42, 0.4, 0.36), (0.58, 0.46, 0.28), (0.07, 0.09, 0.09)


@dataclass(frozen=True, eq=False)
class Square:
    """The bodies in the order of their labels: the named objects first, then the houses."""

    names: tuple[str, ...]  # named objects; label k + 1 is names[k], label 0 is the background
    bodies: Bodies

    def labels(self, points: np.ndarray, *, slack: float = np.inf) -> np.ndarray:
        """The object whose surface is nearest to each point (N, 3), metres; int64 (N,).

        0 is the background (ground, houses); points farther than `slack` from every surface get -1.
        """
        gaps = np.abs(surface_distances(self.bodies, np.asarray(points, float)))
        gaps = np.concatenate([gaps, np.abs(np.asarray(points, float)[:, 2:3])], axis=1)
        nearest = gaps.argmin(axis=1)
        labels = np.where(nearest < len(self.names), nearest + 1, 0)
        return np.where(gaps.min(axis=1) > slack, -1, labels)

    def footprint(self, body: int) -> tuple[float, float, float, float]:
        """Low x, low y, high x, high y of a body, metres."""
        box = self.bodies.boxes[body]
        return float(box[0]), float(box[1]), float(box[3]), float(box[4])


def surface_distances(bodies: Bodies, points: np.ndarray) -> np.ndarray:
    """Signed distances (N, M) of points (N, 3) to each body, metres."""
    out = np.empty((len(points), len(bodies)))
    kinds, rows, starts, _ = bodies.arrays
    for m in range(len(bodies)):
        out[:, m] = _distances(kinds, rows, starts[m], starts[m + 1], points)
    return out


@cache
def square() -> Square:
    """The square; made once per process."""
    objects = {
        "fountain": _fountain(),
        "statue": moved(_statue(), -4.3, 2.6, turn_deg=20),
        "column": moved(_column(), 4.4, 2.8),
        "arch": moved(_arch(), -1.2, 6.4, turn_deg=-4),
        "kiosk": moved(_kiosk(), 5.0, -2.9, turn_deg=15),
        "bench": moved(_bench(), -2.7, -4.6, turn_deg=-28),
        "lamp": moved(_lamp(), 1.5, -5.0),
        "tree": moved(_tree(), -6.0, -2.0),
    }
    return Square(tuple(objects), Bodies.of([*objects.values(), *_houses()]))


def _fountain() -> Body:
    pale = (0.62, 0.56, 0.46)
    return [
        Shape(FRUSTUM, of.ASHLAR, (0, 0, 0.31), (1.95, 1.95, 0.31, 0.02), _SAND),
        Shape(FRUSTUM, of.GRANITE, (0, 0, 0.64), (2.06, 2.06, 0.06, 0.03), (0.55, 0.4, 0.35)),
        Shape(FRUSTUM, of.MARBLE, (0, 0, 0.75), (1.66, 1.66, 0.42, 0.0), pale, cut=True),
        Shape(FRUSTUM, of.WATER, (0, 0, 0.27), (1.7, 1.7, 0.24, 0.0), (0.08, 0.3, 0.34)),
        Shape(FRUSTUM, of.MARBLE, (0, 0, 0.65), (0.5, 0.34, 0.3, 0.0), pale),
        Shape(FRUSTUM, of.MARBLE, (0, 0, 1.15), (0.2, 0.26, 0.4, 0.0), pale, blend=0.16),
        Shape(ELLIPSOID, of.MARBLE, (0, 0, 1.62), (1.0, 1.0, 0.24), pale, blend=0.15),
        Shape(TORUS, of.GRANITE, (0, 0, 1.68), (0.96, 0.085), (0.55, 0.4, 0.35)),
        Shape(ELLIPSOID, of.WATER, (0, 0, 1.74), (0.86, 0.86, 0.1), (0.08, 0.3, 0.34)),
        Shape(FRUSTUM, of.MARBLE, (0, 0, 1.98), (0.22, 0.12, 0.3, 0.0), pale, blend=0.1),
        Shape(ELLIPSOID, of.MARBLE, (0, 0, 2.34), (0.46, 0.46, 0.13), pale, blend=0.08),
        Shape(FRUSTUM, of.BRONZE, (0, 0, 2.58), (0.1, 0.07, 0.18, 0.0), (0.55, 0.38, 0.12), blend=0.05),
        Shape(BUMPY, of.BRONZE, (0, 0, 2.86), (0.2, 0.2, 0.26, 0.025), (0.55, 0.38, 0.12)),
    ]


def _statue() -> Body:
    """A robed figure that raises a torch, green with age, on a stepped pedestal."""
    green = (0.24, 0.44, 0.36)
    cast = {"material": of.BRONZE, "colour": green, "blend": 0.12}
    return [
        Shape(BOX, of.GRANITE, (0, 0, 0.14), (1.0, 1.0, 0.14, 0.02), _STONE),
        Shape(BOX, of.GRANITE, (0, 0, 0.4), (0.82, 0.82, 0.14, 0.02), _STONE),
        Shape(BOX, of.ASHLAR, (0, 0, 0.95), (0.62, 0.62, 0.45, 0.02), (0.5, 0.42, 0.38)),
        Shape(BOX, of.GRANITE, (0, 0, 1.45), (0.72, 0.72, 0.07, 0.03), _STONE),
        Shape(FRUSTUM, at=(0, 0, 2.0), sizes=(0.44, 0.26, 0.5, 0.04), **{**cast, "blend": 0.0}),
        Shape(BUMPY, at=(0.04, -0.02, 1.85), sizes=(0.42, 0.36, 0.42, 0.05), **cast),
        Shape(ELLIPSOID, at=(0, 0, 2.62), sizes=(0.32, 0.23, 0.42), **cast),
        Shape(ELLIPSOID, at=(0, 0, 2.84), sizes=(0.36, 0.2, 0.2), **cast),
        between((0, 0, 2.95), (0, 0, 3.15), (0.09, 0.09), **cast),
        Shape(ELLIPSOID, at=(0, -0.02, 3.27), sizes=(0.16, 0.18, 0.21), **{**cast, "blend": 0.05}),
        Shape(TORUS, at=(0, 0, 3.36), sizes=(0.17, 0.04), **{**cast, "blend": 0.03}),
        between((0.3, 0, 2.86), (0.5, -0.12, 3.2), (0.12, 0.1), **cast),
        between((0.5, -0.12, 3.2), (0.48, -0.22, 3.6), (0.1, 0.07), **cast),
        Shape(FRUSTUM, at=(0.48, -0.24, 3.74), sizes=(0.04, 0.11, 0.2, 0.01), **{**cast, "blend": 0.03}),
        Shape(BUMPY, of.BRONZE, (0.48, -0.24, 4.02), (0.11, 0.11, 0.18, 0.03), (0.75, 0.5, 0.12)),
        between((-0.3, 0, 2.84), (-0.48, -0.14, 2.45), (0.12, 0.09), **cast),
        between((-0.48, -0.14, 2.45), (-0.22, -0.36, 2.36), (0.09, 0.07), **cast),
        Shape(BOX, at=(-0.2, -0.36, 2.5), sizes=(0.18, 0.05, 0.26, 0.02), turn=(-12, 10, 0), **{**cast, "blend": 0.02}),
    ]


def _column() -> Body:
    white = (0.74, 0.7, 0.64)
    return [
        Shape(BOX, of.GRANITE, (0, 0, 0.2), (0.85, 0.85, 0.2, 0.02), (0.5, 0.3, 0.26)),
        Shape(BOX, of.POSTERS, (0, 0, 0.8), (0.6, 0.6, 0.45, 0.02), white),
        Shape(BOX, of.MARBLE, (0, 0, 1.3), (0.68, 0.68, 0.07, 0.03), white),
        Shape(TORUS, of.MARBLE, (0, 0, 1.44), (0.42, 0.1), white),
        Shape(FLUTED, of.MARBLE, (0, 0, 2.9), (0.43, 0.34, 1.5, 16, 0.05), white),
        Shape(TORUS, of.MARBLE, (0, 0, 4.36), (0.36, 0.07), white),
        Shape(FRUSTUM, of.MARBLE, (0, 0, 4.55), (0.34, 0.58, 0.16, 0.0), white),
        Shape(BOX, of.MARBLE, (0, 0, 4.77), (0.6, 0.6, 0.07, 0.02), white),
        Shape(BUMPY, of.BRONZE, (0, 0, 5.2), (0.4, 0.4, 0.4, 0.03), (0.8, 0.55, 0.12)),
    ]


def _arch() -> Body:
    sand, pale = (0.66, 0.47, 0.25), (0.7, 0.62, 0.48)
    body = [
        Shape(BOX, of.ASHLAR, (0, 0, 2.0), (2.3, 0.65, 2.0, 0.02), sand),
        Shape(BOX, of.ASHLAR, (0, 0, 0.9), (1.15, 1.0, 1.3, 0.0), sand, cut=True),
        Shape(FRUSTUM, of.BRICK, (0, 0, 2.1), (1.15, 1.15, 1.0, 0.0), (0.5, 0.24, 0.16), turn=(90, 0, 0), cut=True),
        Shape(BOX, of.GRANITE, (0, 0, 4.08), (2.5, 0.85, 0.1, 0.03), pale),
        Shape(BOX, of.ASHLAR, (0, 0, 4.45), (2.2, 0.55, 0.3, 0.02), pale),
        Shape(BOX, of.GRANITE, (0, 0, 4.82), (2.4, 0.75, 0.08, 0.03), pale),
    ]
    for side in (-1, 1):
        body += [
            Shape(BOX, of.GRANITE, (side * 1.75, 0, 0.2), (0.72, 0.85, 0.2, 0.02), pale),
            Shape(BOX, of.GRANITE, (side * 1.73, 0, 2.1), (0.66, 0.74, 0.07, 0.03), pale),
            Shape(BUMPY, of.BRONZE, (side * 1.75, 0, 5.2), (0.26, 0.26, 0.32, 0.03), (0.3, 0.5, 0.42)),
        ]
        for face in (-1, 1):
            at = (side * 1.75, face * 0.66, 3.0)
            body.append(Shape(FRUSTUM, of.STRIPES, at, (0.42, 0.42, 0.06, 0.02), (0.45, 0.1, 0.08), turn=(90, 0, 0)))
    body.append(Shape(BOX, of.MARBLE, (0, 0, 3.45), (0.22, 0.76, 0.34, 0.03), (0.75, 0.68, 0.55)))
    return body


def _kiosk() -> Body:
    teal = (0.06, 0.3, 0.3)
    body = [
        Shape(FRUSTUM, of.BRICK, (0, 0, 0.12), (1.3, 1.3, 0.12, 0.02), (0.45, 0.2, 0.14)),
        Shape(FRUSTUM, of.POSTERS, (0, 0, 1.25), (1.08, 1.08, 1.05, 0.02), teal),
        Shape(BOX, of.WOOD, (0, -1.0, 1.5), (0.55, 0.4, 0.45, 0.0), (0.16, 0.1, 0.06), cut=True),
        Shape(BOX, of.WOOD, (0, -1.1, 0.98), (0.68, 0.25, 0.05, 0.01), (0.6, 0.36, 0.16)),
        Shape(FRUSTUM, of.PLAIN, (0, 0, 2.34), (1.25, 1.4, 0.07, 0.0), teal),
        Shape(FRUSTUM, of.STRIPES, (0, 0, 2.78), (1.48, 0.25, 0.38, 0.0), (0.6, 0.05, 0.06)),
        Shape(FRUSTUM, of.PLAIN, (0, 0, 3.22), (0.26, 0.2, 0.08, 0.02), teal),
        Shape(BUMPY, of.BRONZE, (0, 0, 3.42), (0.17, 0.17, 0.2, 0.01), (0.8, 0.55, 0.12)),
    ]
    for k in range(8):
        angle = np.radians(45 * k + 22.5)
        at = (float(1.08 * np.cos(angle)), float(1.08 * np.sin(angle)), 1.25)
        body.append(Shape(FRUSTUM, of.PLAIN, at, (0.07, 0.07, 1.05, 0.01), teal))
    return body


def _bench() -> Body:
    body: Body = []
    for row in range(4):
        slat = (1.15, 0.062, 0.03, 0.012)
        body.append(Shape(BOX, of.WOOD, (0, -0.3 + 0.16 * row, 0.48), slat, (0.62, 0.33, 0.12)))
    for row in range(3):
        at = (0.0, 0.3 + 0.035 * row, 0.64 + 0.17 * row)
        body.append(Shape(BOX, of.WOOD, at, (1.15, 0.03, 0.07, 0.012), (0.62, 0.33, 0.12), turn=(-12, 0, 0)))
    for side in (-0.85, 0.85):
        body += [
            Shape(BOX, of.GRANITE, (side, 0, 0.22), (0.11, 0.36, 0.22, 0.03), _STONE),
            Shape(BOX, of.PLAIN, (side, 0.345, 0.72), (0.05, 0.035, 0.34, 0.01), _IRON, turn=(-12, 0, 0)),
        ]
    return body


def _lamp() -> Body:
    iron = (0.05, 0.08, 0.13)
    body = [
        Shape(FRUSTUM, of.GRANITE, (0, 0, 0.14), (0.46, 0.42, 0.14, 0.0), _STONE),
        Shape(FRUSTUM, of.PLAIN, (0, 0, 0.6), (0.26, 0.13, 0.36, 0.0), iron),
        Shape(FRUSTUM, of.PLAIN, (0, 0, 2.0), (0.1, 0.075, 1.3, 0.0), iron, blend=0.05),
        Shape(TORUS, of.PLAIN, (0, 0, 1.6), (0.1, 0.05), iron),
        between((-0.62, 0, 3.06), (0.62, 0, 3.06), (0.055, 0.055), material=of.PLAIN, colour=iron),
        Shape(FRUSTUM, of.PLAIN, (0, 0, 3.55), (0.12, 0.2, 0.06, 0.0), iron),
        Shape(ELLIPSOID, of.GLOW, (0, 0, 3.78), (0.24, 0.24, 0.26), (0.92, 0.86, 0.68)),
        Shape(FRUSTUM, of.PLAIN, (0, 0, 4.06), (0.2, 0.04, 0.08, 0.0), iron),
    ]
    for side in (-0.62, 0.62):
        body += [
            Shape(FRUSTUM, of.PLAIN, (side, 0, 3.12), (0.06, 0.15, 0.07, 0.0), iron),
            Shape(ELLIPSOID, of.GLOW, (side, 0, 3.36), (0.2, 0.2, 0.22), (0.92, 0.86, 0.68)),
            Shape(FRUSTUM, of.PLAIN, (side, 0, 3.59), (0.16, 0.03, 0.06, 0.0), iron),
        ]
    return body


def _tree() -> Body:
    bark, leaf = (0.24, 0.16, 0.1), (0.14, 0.27, 0.06)
    body = [
        Shape(FRUSTUM, of.BRICK, (0, 0, 0.22), (0.95, 0.95, 0.22, 0.02), (0.48, 0.22, 0.15)),
        Shape(FRUSTUM, of.FLOWERS, (0, 0, 0.42), (0.8, 0.7, 0.12, 0.04), (0.1, 0.2, 0.05)),
        Shape(FRUSTUM, of.BARK, (0, 0, 1.2), (0.26, 0.17, 0.95, 0.0), bark),
        between((0, 0, 1.8), (0.55, 0.2, 2.6), (0.15, 0.09), material=of.BARK, colour=bark, blend=0.15),
        between((0, 0, 1.8), (-0.5, -0.25, 2.6), (0.14, 0.09), material=of.BARK, colour=bark, blend=0.15),
    ]
    for x, y, z, r in (
        (0, 0, 3.45, 1.15), (0.85, 0.35, 2.95, 0.85), (-0.85, -0.25, 2.9, 0.9),
        (0.1, -0.85, 3.0, 0.8), (-0.15, 0.85, 3.0, 0.8), (0.1, 0.1, 4.25, 0.75),
    ):  # fmt: skip
        body.append(Shape(BUMPY, of.FOLIAGE, (x, y, z), (r, r, 0.85 * r, 0.13), leaf, blend=0.12))
    return body


# Bearing (degrees), width, height and colour of each house, ridge height, and windows: spacing and half size
_STREET = (
    (0, 11.0, 7.4, (0.66, 0.45, 0.24), 2.2, (2.2, 2.45, 0.45, 0.75)),
    (37, 8.5, 9.2, (0.6, 0.56, 0.48), 2.0, (1.7, 2.3, 0.38, 0.68)),
    (72, 12.5, 6.6, (0.56, 0.22, 0.16), 2.8, (2.5, 3.0, 0.55, 0.85)),
    (113, 9.5, 8.4, (0.42, 0.5, 0.5), 2.2, (1.9, 2.6, 0.42, 0.72)),
    (147, 9.0, 7.0, (0.68, 0.56, 0.34), 2.6, (2.25, 2.2, 0.5, 0.62)),
    (184, 12.0, 9.6, (0.58, 0.36, 0.28), 2.4, (2.0, 3.1, 0.48, 0.9)),
    (224, 9.5, 7.6, (0.5, 0.52, 0.4), 2.3, (1.9, 2.4, 0.4, 0.7)),
    (257, 8.5, 10.2, (0.66, 0.6, 0.5), 1.8, (2.1, 2.5, 0.5, 0.7)),
    (294, 12.0, 7.2, (0.62, 0.4, 0.3), 2.7, (2.4, 2.3, 0.5, 0.66)),
    (331, 8.5, 8.6, (0.46, 0.42, 0.5), 2.2, (1.7, 2.75, 0.42, 0.8)),
)


def _houses() -> list[Body]:
    houses = []
    for k, (bearing, width, height, colour, ridge, windows) in enumerate(_STREET):
        depth = 2.6
        house = [
            Shape(FACADE, of.WALL, (0, 0, height / 2), (width / 2, depth, height / 2, *windows), colour),
            Shape(BOX, of.ASHLAR, (0, 0, height), (width / 2 + 0.2, depth + 0.2, 0.14, 0.0), (0.5, 0.46, 0.4)),
            Shape(GABLE, of.TILES, (0, 0, height + 0.1), (depth + 0.3, width / 2 + 0.25, ridge), (0.42, 0.17, 0.1),
                  turn=(0, 0, 90)),
            Shape(BOX, of.BRICK, (width * 0.28, 0.6, height + ridge), (0.4, 0.35, 0.8, 0.0), (0.45, 0.2, 0.14)),
            Shape(BOX, of.WOOD, (windows[0] * (0.5 if k % 2 else 1), -depth, 1.1), (0.55, 0.08, 1.1, 0.0),
                  ((0.3, 0.12, 0.06), (0.07, 0.2, 0.14), (0.1, 0.13, 0.3))[k % 3]),
        ]  # fmt: skip
        if k % 2 == 0:
            house.append(
                Shape(BOX, of.CLOTH, (-width * 0.22, -depth - 0.6, 2.55), (width * 0.2, 0.75, 0.05, 0.0, 0, 0, 0, 0),
                      ((0.5, 0.1, 0.08), (0.1, 0.3, 0.16), (0.6, 0.45, 0.12))[k % 3], turn=(16, 0, 0))
            )  # fmt: skip
        angle = np.radians(bearing)
        away = 16.2 + depth + 0.8 * (k % 3)
        # Windows look at the square: local -y points from the house to the origin.
        houses.append(moved(house, float(away * np.cos(angle)), float(away * np.sin(angle)), turn_deg=bearing - 90))
    return houses


@njit(parallel=True, cache=True)
def _distances(kinds, rows, start, stop, points):
    out = np.empty(len(points))
    for i in prange(len(points)):
        out[i] = distance(kinds, rows, start, stop, points[i, 0], points[i, 1], points[i, 2])[0]
    return out
