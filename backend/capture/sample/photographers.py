"""Photographers around the square: where each stands, what they aim at, and with which camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from backend.capture.sample import light, passers
from backend.capture.sample.light import Light
from backend.capture.sample.shapes import Bodies
from backend.capture.sample.square import Square
from backend.scene.cameras import Camera, looking_at

FULL_CIRCLE = 120  # photos that close the circle; fewer keep the same spacing on an arc
_GOLDEN = 0.6180339887498949
_ASPECTS = ((4, 3), (3, 2), (4, 3), (3, 4), (1, 1), (4, 3), (16, 10), (2, 3))


@dataclass(frozen=True, eq=False)
class Visit:
    """One photo to be taken: its camera, its light, and who stands in front."""

    name: str
    camera: Camera
    light: Light
    passers: Bodies
    seed: int  # of the sensor's noise


def visit(square: Square, index: int, *, photos: int, long_side: int, seed: int) -> Visit:
    """Photo `index` of a collection. It depends on `photos` only where that is below FULL_CIRCLE."""
    random = np.random.default_rng([seed, index])
    camera = _camera(square, index, min(1.0, photos / FULL_CIRCLE), long_side, random)
    lit = light.drawn(random)
    # Two thirds have someone in front
    company = passers.gathered(square, camera, random) if index % 3 != 0 else passers.NOBODY
    return Visit(f"photo-{index:03d}", camera, lit, company, int(random.integers(2**31)))


def _camera(square: Square, index: int, arc: float, long_side: int, random: np.random.Generator) -> Camera:
    """A camera on the ring. Golden steps keep neighbours about evenly spaced for any number of photos."""
    aspect = _ASPECTS[int(random.integers(len(_ASPECTS)))]
    side = long_side * (1.0 if index == 0 else float(random.choice([1.0, 0.94, 0.88])))
    width, height = (max(16, round(side * length / max(aspect))) for length in aspect)
    focal = side * 0.86 * float(random.uniform(0.8, 1.25))
    # Most lenses are centred; a few photos were cropped. At most 3 %.
    cx, cy = (size * (0.5 + float(np.clip(random.normal(0, 0.01), -0.03, 0.03))) for size in (width, height))
    angle = 2 * np.pi * arc * ((index * _GOLDEN) % 1.0) - 1.9
    while True:
        around = angle + random.uniform(-0.03, 0.03)
        away = random.uniform(9.0, 12.4)
        tall = random.uniform(3.0, 4.6) if random.random() < 0.35 else random.uniform(1.6, 2.8)
        centre = np.array([away * np.cos(around), away * np.sin(around), tall])
        aim = square.bodies.boxes[int(random.integers(len(square.names)))]
        at = 0.45 * (aim[:3] + aim[3:]) / 2 * random.uniform(0.5, 1.0)
        target = np.array([at[0], at[1], random.uniform(1.3, 2.1)])
        if _clear(square, centre, target):
            break
    roll = np.array([random.normal(0, 0.02), random.normal(0, 0.02), 1.0])
    return looking_at(centre, target, roll, focal=focal, width=width, height=height, cx=cx, cy=cy)


def _clear(square: Square, centre: np.ndarray, target: np.ndarray) -> bool:
    """Whether no object of the square is within arm's reach or fills the view."""
    heading = (target - centre)[:2] / np.linalg.norm((target - centre)[:2])
    for m in range(len(square.names)):
        low_x, low_y, high_x, high_y = square.footprint(m)
        for step in (0.0, 1.2, 2.4):
            x, y = centre[:2] + step * heading
            if low_x - 1.3 < x < high_x + 1.3 and low_y - 1.3 < y < high_y + 1.3:
                return False
    return True
