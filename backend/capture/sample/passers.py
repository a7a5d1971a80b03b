"""People and a vehicle who stand in front of a photo's subject, made of the same shapes as the square."""

from __future__ import annotations

import numpy as np

from backend.capture.sample import materials as of
from backend.capture.sample.raycast import look
from backend.capture.sample.shapes import BOX, ELLIPSOID, FRUSTUM, TORUS, Bodies, Shape, between, moved
from backend.capture.sample.square import Square, surface_distances
from backend.scene.cameras import Camera

Body = list[Shape]
NOBODY = Bodies.of([])
LEAST, MOST = 0.03, 0.20  # share of the picture that passers-by cover
_ATTEMPTS = 120
_CLOTHES = (
    (0.55, 0.07, 0.07), (0.07, 0.13, 0.4), (0.7, 0.52, 0.1), (0.62, 0.6, 0.56), (0.05, 0.06, 0.07),
    (0.1, 0.32, 0.17), (0.5, 0.18, 0.36), (0.16, 0.38, 0.52), (0.62, 0.28, 0.08), (0.3, 0.24, 0.18),
)  # fmt: skip
_SKIN = ((0.62, 0.4, 0.28), (0.5, 0.3, 0.19), (0.3, 0.17, 0.1), (0.68, 0.46, 0.36))
_HAIR = ((0.04, 0.03, 0.025), (0.16, 0.09, 0.04), (0.42, 0.3, 0.12), (0.4, 0.39, 0.38))
_PAINTS = ((0.5, 0.05, 0.04), (0.06, 0.2, 0.42), (0.7, 0.66, 0.58), (0.65, 0.42, 0.05), (0.12, 0.26, 0.2))


def gathered(square: Square, camera: Camera, random: np.random.Generator) -> Bodies:
    """One to three passers-by between a camera and the square, covering LEAST..MOST of the picture."""
    small = camera.fitted(80)
    best, best_miss = NOBODY, np.inf
    vehicle = random.random() < 0.25
    for attempt in range(_ATTEMPTS):
        # Where a vehicle finds no room, people come instead.
        drives = vehicle and attempt < _ATTEMPTS // 2
        count = 1 if drives else int(random.integers(1, 4))
        bodies = [body for body in (_placed(square, camera, random, drives) for _ in range(count)) if body]
        if not bodies:
            continue
        passers = Bodies.of(bodies)
        if not LEAST < look(NOBODY, passers, small).passers.mean() < MOST:  # cheap: nothing else is traced
            continue
        covered = look(square.bodies, passers, small).passers.mean()
        miss = max(LEAST + 0.01 - covered, covered - MOST + 0.01, 0.0)
        if miss < best_miss:
            best, best_miss = passers, miss
        if miss == 0:
            break
    return best


def _placed(square: Square, camera: Camera, random: np.random.Generator, vehicle: bool) -> Body | None:
    """A passer-by at a random place in front of the camera, or None if something stands there."""
    centre, forward = camera.centre, camera.forward
    ahead = np.arctan2(forward[1], forward[0])
    half = np.arctan(0.5 * camera.width / camera.fx)
    angle = ahead + random.uniform(-0.95, 0.95) * half
    away = random.uniform(4.5, 8.5) if vehicle else random.uniform(2.4, 3.5 + centre[2])
    x, y = float(centre[0] + away * np.cos(angle)), float(centre[1] + away * np.sin(angle))
    # Side on, give or take: a vehicle seen from the front is hardly one.
    turn = np.degrees(ahead) + 90 + random.uniform(-35, 35) if vehicle else random.uniform(0, 360)
    turn = float(turn + 180 * random.integers(2))
    length, room = (1.5, 0.85) if vehicle else (0.1, 0.4)
    along = np.linspace(-length, length, 5)
    spots = np.zeros((2, 5, 3))
    spots[..., 0] = x + along * np.cos(np.radians(turn))
    spots[..., 1] = y + along * np.sin(np.radians(turn))
    spots[..., 2] = [[0.4], [1.2]]
    if surface_distances(square.bodies, spots.reshape(-1, 3)).min() < room:
        return None
    if vehicle:
        return moved(_vehicle(random), x, y, turn_deg=turn, size=0.85)
    return moved(_person(random), x, y, turn_deg=turn, size=float(random.uniform(0.9, 1.08)))


def _pick(colours: tuple[tuple[float, float, float], ...], random: np.random.Generator) -> tuple[float, float, float]:
    return colours[int(random.integers(len(colours)))]


def _person(random: np.random.Generator) -> Body:
    """A standing person 1.75 m tall, looking along +x."""
    skin, hair = _pick(_SKIN, random), _pick(_HAIR, random)
    top, legs = _pick(_CLOTHES, random), _pick(_CLOTHES, random)
    shoes = (0.06, 0.05, 0.05)
    striped = float(random.random() < 0.35)
    stride = random.uniform(-0.16, 0.16)
    body = []
    skirt = random.random() < 0.3
    for side, step in ((-1, stride), (1, -stride)):
        lower = {"material": of.PLAIN, "colour": skin} if skirt else {"material": of.CLOTH, "colour": legs}
        body += [
            between((step, 0.11 * side, 0.1), (0.3 * step, 0.1 * side, 0.5), (0.055, 0.075), blend=0.03, **lower),
            between((0.3 * step, 0.1 * side, 0.5), (0, 0.09 * side, 0.92), (0.075, 0.1), blend=0.03, **lower),
            Shape(ELLIPSOID, of.PLAIN, (step + 0.05, 0.11 * side, 0.05), (0.14, 0.06, 0.055), shoes),
        ]
    if skirt:
        body.append(Shape(FRUSTUM, of.CLOTH, (0, 0, 0.74), (0.29, 0.2, 0.28, 0.02), legs, blend=0.03))
    torso = Shape(ELLIPSOID, of.CLOTH, (0, 0, 1.2), (0.15, 0.2, 0.34, 0, 0, 0, 0, striped), top, blend=0.06)
    body += [torso, Shape(ELLIPSOID, of.CLOTH, (0, 0, 1.38), (0.12, 0.23, 0.1), top, blend=0.08)]
    for side in (-1, 1):
        bend = random.uniform(-0.1, 0.3)
        elbow, hand = (bend * 0.3, 0.29 * side, 1.13), (bend + 0.04, 0.27 * side, 0.92 + max(bend, 0) * 1.1)
        body += [
            between((0, 0.22 * side, 1.4), elbow, (0.06, 0.052), material=of.CLOTH, colour=top, blend=0.04),
            between(elbow, hand, (0.05, 0.038), material=of.PLAIN, colour=skin, blend=0.02),
        ]
    body += [
        between((0, 0, 1.42), (0.01, 0, 1.55), (0.05, 0.05), material=of.PLAIN, colour=skin, blend=0.03),
        Shape(ELLIPSOID, of.PLAIN, (0.02, 0, 1.63), (0.1, 0.08, 0.125), skin),
    ]
    if random.random() < 0.3:
        straw = _pick(_CLOTHES, random)
        body += [
            Shape(FRUSTUM, of.CLOTH, (0, 0, 1.69), (0.2, 0.19, 0.012, 0.0), straw),
            Shape(ELLIPSOID, of.CLOTH, (0, 0, 1.71), (0.11, 0.1, 0.08), straw),
        ]
    else:
        body.append(Shape(ELLIPSOID, of.PLAIN, (-0.02, 0, 1.67), (0.105, 0.092, 0.105), hair))
    if random.random() < 0.4:
        body.append(Shape(BOX, of.CLOTH, (-0.2, 0, 1.22), (0.09, 0.15, 0.22, 0.06), _pick(_CLOTHES, random)))
    return body


def _vehicle(random: np.random.Generator) -> Body:
    """A van 3.6 m long, driving along +x."""
    paint, glass, tyre = _pick(_PAINTS, random), (0.05, 0.07, 0.09), (0.03, 0.03, 0.03)
    cream = (0.7, 0.66, 0.56)
    body = [
        Shape(BOX, of.PAINT, (0, 0, 0.75), (1.8, 0.8, 0.42, 0.18), paint),
        Shape(BOX, of.PAINT, (-0.25, 0, 1.35), (1.4, 0.74, 0.42, 0.2), cream, blend=0.1),
        Shape(BOX, of.PAINT, (-0.3, 0, 1.42), (1.28, 0.78, 0.2, 0.06), glass),
        Shape(BOX, of.PAINT, (0.95, 0, 1.4), (0.26, 0.6, 0.2, 0.06), glass),
        Shape(BOX, of.PAINT, (0, 0, 0.42), (1.86, 0.82, 0.09, 0.05), (0.35, 0.35, 0.35)),
    ]
    for pillar in (-1.1, -0.3, 0.45):
        body.append(Shape(BOX, of.PAINT, (pillar, 0, 1.42), (0.06, 0.785, 0.22, 0.02), cream))
    for x in (-1.1, 1.1):
        for side in (-0.72, 0.72):
            body += [
                Shape(FRUSTUM, of.PAINT, (x, side, 0.33), (0.33, 0.33, 0.12, 0.05), tyre, turn=(90, 0, 0)),
                Shape(FRUSTUM, of.PAINT, (x, side, 0.33), (0.17, 0.17, 0.14, 0.02), (0.55, 0.55, 0.55),
                      turn=(90, 0, 0)),
            ]  # fmt: skip
    for side in (-0.5, 0.5):
        body.append(Shape(ELLIPSOID, of.GLOW, (1.78, side, 0.78), (0.06, 0.12, 0.12), (0.9, 0.88, 0.75)))
        body.append(Shape(TORUS, of.PAINT, (1.79, side, 0.78), (0.12, 0.02), (0.5, 0.5, 0.5), turn=(0, 90, 0)))
    return body
