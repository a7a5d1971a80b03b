"""What one photo alone shows goes, unless it hangs together with what others show."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pretend_gsplat
import pytest
from pretend_device import AWAY, PretendDevice

from backend.progress import Quiet
from backend.scene import Camera, Gaussians
from backend.scene.cameras import looking_at
from backend.train import loop
from backend.train.config import configured
from backend.train.loop import Training
from backend.train.solitary import PHOTOS_MIN, pieces, solitary
from backend.train.views import Views
from tests.backend.train.test_loop import short, workspace


def around(count: int) -> list[Camera]:
    """Cameras on a circle, which look at its middle."""
    angles = 2 * np.pi * np.arange(count) / count
    return [
        looking_at(
            np.array([4 * np.sin(a), -4 * np.cos(a), 0.5]),
            np.zeros(3),
            np.array([0, 0, 1.0]),
            focal=60,
            width=64,
            height=48,
        )
        for a in angles
    ]


def rows_at(*places: Sequence[np.ndarray]) -> Gaussians:
    means = np.concatenate([np.asarray(each, np.float32) for each in places])
    count = len(means)
    return Gaussians(
        means=means,
        quats=np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1)),
        log_scales=np.full((count, 3), np.log(0.05), np.float32),
        opacity_logits=np.full(count, 3, np.float32),
        sh0=np.zeros((count, 1, 3), np.float32),
        shN=np.zeros((count, 0, 3), np.float32),
    )


def line(start: np.ndarray, end: np.ndarray, count: int) -> np.ndarray:
    return np.linspace(start, end, count)


CAMERAS = around(8)
BALL = np.random.default_rng(0).normal(0, 0.15, (200, 3))  # all cameras see it
RIGHT = CAMERAS[0].cam_from_world[0, :3]
BESIDE = CAMERAS[0].centre + 0.5 * CAMERAS[0].forward + 0.15 * RIGHT  # before one camera, in no other's picture


def test_what_floats_before_one_camera_goes_and_what_all_see_stays() -> None:
    scene = rows_at(BALL, line(BESIDE, BESIDE + 0.05, 6))
    found = solitary(scene, CAMERAS)
    assert found[200:].all()
    assert not found[:200].any()


def test_what_no_camera_sees_goes() -> None:
    above = np.array([0.0, 0, 30])
    assert solitary(rows_at(BALL, line(above, above + 0.05, 3)), CAMERAS)[200:].all()


def test_what_reaches_from_there_to_what_all_see_stays() -> None:
    scene = rows_at(BALL, line(BESIDE, BALL[0], 40))
    assert len(set(pieces(scene)[200:].tolist()) | {int(pieces(scene)[0])}) == 1
    assert not solitary(scene, CAMERAS)[200:].any()


def test_few_photos_show_most_of_a_place_once() -> None:
    scene = rows_at(BALL, line(BESIDE, BESIDE + 0.05, 6))
    assert solitary(scene, CAMERAS[:PHOTOS_MIN]).any()
    assert not solitary(scene, CAMERAS[: PHOTOS_MIN - 1]).any()
    assert len(solitary(rows_at(BALL[:1]), CAMERAS)) == 1


def test_on_a_device_it_is_the_same() -> None:
    scene = rows_at(BALL, line(BESIDE, BESIDE + 0.05, 6))
    with pytest.MonkeyPatch.context() as patch, PretendDevice():
        patch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
        assert np.array_equal(solitary(scene, CAMERAS, str(AWAY)), solitary(scene, CAMERAS))


@pytest.mark.parametrize("policy", ["adaptive", "capped"])
def test_a_training_looks_for_them_now_and_then_and_drops_what_it_finds(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, looks = workspace(tmp_path / "w", photos=6), []

    def found(scene: Gaussians, cameras: Sequence[Camera], engine: str, **_: object) -> np.ndarray:
        assert (len(cameras), engine) == (6, "cpu")
        looks.append((training.step + 1, len(scene)))
        return np.arange(len(scene)) < 5

    monkeypatch.setattr(loop, "solitary", found)
    config = configured(short(density=policy))
    training = Training(made, config, Views(made, made.used_photos(), 64), Quiet())
    first = training.rows["means"].detach()[:5].clone()
    training.run()
    assert [step for step, _ in looks] == [30, 40, 50]  # the first events from 45, 60 and 75 % of 60 steps on
    assert not np.isclose(made.gaussians().means[:5], first.numpy(), atol=1e-3).all(1).any()
