"""Published rules find a ball they are shown, and do what tells them apart."""

from __future__ import annotations

import numpy as np
import pytest

from backend.render import Seen
from backend.segment.outline import Outline
from benchmarks.rules import RULES, Evidence, flashsplat
from tests.backend.conftest import CENTRES, RED, blob_scene, ring_of_cameras


@pytest.fixture(scope="module")
def evidence() -> tuple[Evidence, np.ndarray]:
    scene, labels = blob_scene()
    outlines = []
    for number, camera in enumerate(ring_of_cameras()):
        share = Seen(scene, camera).render_channels((labels == RED).astype(np.float32)[:, None])[..., 0]
        outlines.append(Outline(f"a{number}", camera, share > 0.5, drawn=True))
    pixels, _ = outlines[0].camera.project(np.array([CENTRES[RED]]))
    return Evidence(scene, outlines, scene.sh0[:, 0], (float(pixels[0, 0]), float(pixels[0, 1]))), labels


@pytest.mark.parametrize("name", sorted(RULES))
def test_every_rule_finds_most_of_a_ball_and_little_else(evidence, name: str) -> None:
    given, labels = evidence
    found = RULES[name](given)
    truth = labels == RED
    assert found.dtype == bool
    assert (found & truth).sum() > 0.6 * truth.sum()
    # Mean features are those of grey ground as much as of anything: that rule takes some of it along.
    assert (found & truth).sum() > (0.4 if name == "gradbp-features" else 0.6) * found.sum()


def test_a_raised_background_leaves_fewer_rows(evidence) -> None:
    given, _ = evidence
    low, middle, high = (flashsplat(given, gamma) for gamma in (-0.5, 0.0, 0.5))
    assert (high <= middle).all()
    assert (middle <= low).all()
    assert high.sum() < low.sum()
    assert np.array_equal(middle, given.inside > given.outside)  # which is GradBP's rule
