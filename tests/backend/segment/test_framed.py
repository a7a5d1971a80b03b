"""Where points lie beside a mask of a picture."""

from __future__ import annotations

import numpy as np

from backend.scene import Camera
from backend.segment.framed import Framed


def test_an_object_goes_on_beyond_the_frame_only_where_its_mask_meets_it() -> None:
    camera = Camera(np.eye(4), 100.0, 100.0, 50.0, 40.0, 100, 80)
    at = [(50, 40), (50, 75), (95, 40), (50, 200), (95, 200), (-300, 40), (51, -200)]
    points = np.array([((x - 50) / 100, (y - 40) / 100, 1.0) for x, y in at] + [(0, 0, -1.0)])
    framed = Framed(points, camera)
    mask = np.zeros((80, 100), bool)
    mask[20:60, 30:70] = True
    assert framed.beyond(mask).tolist() == [0, 1, 1, 1, 1, 1, 1, 1]
    mask[20:, 30:70] = True  # leaves the frame below
    assert framed.beyond(mask).tolist() == [0, 0, 1, 0, 0, 1, 1, 0]
    assert not framed.beyond(np.ones_like(mask)).any()
