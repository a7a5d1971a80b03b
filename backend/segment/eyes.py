"""Marks into the pictures they were made on: what somebody saw from an eye, drawn again when it is needed.

Nobody tells what the window was like. A picture looks straight at the first mark from its eye and reaches about as
far around it as a window does, and farther if other marks from there lie beyond; what was out of sight in the window is
there, too.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from backend.scene import Camera
from backend.scene.cameras import looking_at
from backend.scene.paths import UP
from backend.segment.meant import LONG_SIDE, Meant
from backend.segment.prepared import Prepared
from segwild_addon.protocol.values import Mark

HELD = 3  # pictures, of tens of megabytes each
_SPAN_PX = 900.0  # of the window, that a picture is wide
_ASPECT = 0.75
_WIDER_MOST = 3  # times twice as wide
_STEEP = 0.99  # cosine: looking along up, any other direction is up


class Eyes:
    """The pictures of a scene that were clicked on last."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self._held: OrderedDict[tuple[Mark, int], Meant] = OrderedDict()

    def picture(self, mark: Mark, wider: int = 0) -> Meant:
        """What the eye of a mark saw around it, as `camera_of`."""
        wish = mark, wider
        if wish not in self._held:
            self._held[wish] = Meant(self.prepared.scene, self.prepared.walks, camera_of(mark, wider))
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(wish)
        return self._held[wish]


def camera_of(mark: Mark, wider: int = 0) -> Camera:
    """From the eye of a mark straight at it, `_SPAN_PX` of the window's pixels wide, and twice that so many times."""
    eye, position = np.array(mark.eye), np.array(mark.position)
    towards = position - eye
    distance = float(np.linalg.norm(towards))
    up = UP if abs(towards @ UP) < _STEEP * distance else np.array([0.0, 1.0, 0.0])
    focal = distance / mark.pixel * LONG_SIDE / (_SPAN_PX * 2**wider)
    return looking_at(eye, position, up, focal=focal, width=LONG_SIDE, height=round(_ASPECT * LONG_SIDE))


def widened(marks: Sequence[Mark]) -> int:
    """How many times the picture of the first of some marks from one eye is made twice as wide, to hold all of them."""
    points = np.array([mark.position for mark in marks], np.float64)
    for wider in range(_WIDER_MOST):
        camera = camera_of(marks[0], wider)
        pixels, depths = camera.project(points)
        if ((depths > 0) & (pixels >= 0).all(1) & (pixels < (camera.width, camera.height)).all(1)).all():
            return wider
    return _WIDER_MOST


def place_of(mark: Mark, picture: Meant) -> tuple[float, float] | None:
    """Pixels x, y of a mark on a picture; None if that does not show it."""
    return picture.shows(np.array(mark.position))
