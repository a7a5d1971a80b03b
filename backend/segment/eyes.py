"""Marks into the pictures they were made on: what somebody saw from an eye, drawn again when it is needed.

Nobody tells what the window was like. A picture looks straight at the first mark from its eye and reaches about as
far around it as a window does; what was out of sight in the window is there, too.
"""

from __future__ import annotations

from collections import OrderedDict

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
_STEEP = 0.99  # cosine: looking along up, any other direction is up


class Eyes:
    """The pictures of a scene that were clicked on last."""

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self._held: OrderedDict[Mark, Meant] = OrderedDict()

    def picture(self, mark: Mark) -> Meant:
        """What the eye of a mark saw around it."""
        if mark not in self._held:
            self._held[mark] = Meant(self.prepared.scene, self.prepared.walks, camera_of(mark))
            while len(self._held) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(mark)
        return self._held[mark]


def camera_of(mark: Mark) -> Camera:
    """From the eye of a mark straight at it, in pixels `_SPAN_PX / LONG_SIDE` as large as the window's."""
    eye, position = np.array(mark.eye), np.array(mark.position)
    towards = position - eye
    distance = float(np.linalg.norm(towards))
    up = UP if abs(towards @ UP) < _STEEP * distance else np.array([0.0, 1.0, 0.0])
    focal = distance / mark.pixel * LONG_SIDE / _SPAN_PX
    return looking_at(eye, position, up, focal=focal, width=LONG_SIDE, height=round(_ASPECT * LONG_SIDE))


def place_of(mark: Mark, picture: Meant) -> tuple[float, float] | None:
    """Pixels x, y of a mark on a picture; None if that does not show it."""
    return picture.shows(np.array(mark.position))
