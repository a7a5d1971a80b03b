"""Ellipses on the screen, against matrices inverted in float64."""

from __future__ import annotations

import numpy as np
import pytest

from segwild_addon.viewport.projection import project

from . import reference
from .views import VIEWS


@pytest.mark.parametrize("name", VIEWS)
def test_a_pixel_sees_what_the_reference_sees(name):
    view = VIEWS[name]
    positions, scales, quats, opacities, base, sh = reference.random_rows(60, 3, bases=0)
    matrix = np.eye(4)
    matrix[:3, :3] = [[1.2, 0.3, 0], [0, 0.8, -0.2], [0.1, 0, 1]]
    cam = positions @ (view.cam_from_world @ matrix)[:3, :3].T + (view.cam_from_world @ matrix)[:3, 3]
    rows = np.flatnonzero((cam[:, 2] > view.near) & (opacities > 0))
    ellipses = project(positions[rows], scales[rows], quats[rows], matrix, view)
    np.testing.assert_allclose(ellipses.depths, cam[rows, 2], rtol=1e-5)
    seen = 0
    for u, v in ellipses.centres[:8] + np.array([1.3, -0.7]):
        alpha = np.minimum(0.999, opacities[rows] * ellipses.falloff(u, v))
        for place, row in enumerate(rows):
            one = [array[row : row + 1] for array in (positions, scales, quats, opacities, base, sh)]
            _, expected, _ = reference.picture(*one, matrix, view, at=(u, v))
            got = alpha[place] if alpha[place] >= 1 / 255 else 0.0
            assert got == pytest.approx(float(expected[0, 0]), rel=1e-4, abs=1e-9)
            seen += got > 0
    assert seen >= 8


def test_needles_keep_their_area():
    """The covariance of a thin splat has a determinant of a billionth of its diagonal's."""
    view = VIEWS["perspective"]
    positions = np.zeros((1, 3), np.float32)
    scales = np.array([[3.0, 1e-5, 1e-5]], np.float32)
    quats = np.array([[0.8, 0.2, -0.4, 0.4]], np.float32)
    quats /= np.linalg.norm(quats)
    a, b, c = project(positions, scales, quats, np.eye(4), view).conics[0]
    determinant = a * c - b * b
    assert a > 0
    assert c > 0
    # Across, only the blur is left: the ellipse has the variances of a line and of 0.3 px².
    assert np.linalg.eigvalsh([[a, b], [b, c]])[1] == pytest.approx(1 / 0.3, rel=1e-3)
    assert determinant > 0
