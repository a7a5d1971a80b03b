"""Cameras that were found inexactly: gradients are those of moving them, and a training puts them right."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pretend_gsplat
import pytest
import torch
from pretend_device import AWAY, PretendDevice
from scipy.spatial.transform import Rotation

from backend.capture.pictures import read_picture, write_picture
from backend.progress import Cancelled, Quiet
from backend.render import Seen, rasterize
from backend.render.harmonics import C0
from backend.scene import Camera, Gaussians, Photo, Workspace
from backend.scene.cameras import looking_at
from backend.scene.files import read_arrays
from backend.scene.transforms import Similarity
from backend.scene.workspace import SparsePoints
from backend.stages import train
from backend.train import loop
from backend.train.appearance import Appearance
from backend.train.config import PoseRefinement
from backend.train.evaluate import shown
from backend.train.poses import Poses, common_motions, motion_gradient
from segwild_addon.protocol.requests import Train

UP = np.array([0.0, 0.0, 1.0])
SIZE = {"width": 96, "height": 72}
PHOTOS, TURN_DEG, SHIFT = 12, 0.5, 0.01  # of the distance: what the cameras are off by


def moved(camera: Camera, turn: np.ndarray, shift: np.ndarray) -> Camera:
    """Turned on the spot by a rotation vector, then shifted."""
    rotation, centre = Rotation.from_rotvec(turn).as_matrix(), camera.centre
    return Similarity(1.0, rotation, centre - rotation @ centre + shift).camera(camera)


def ring(count: int = PHOTOS) -> list[Camera]:
    angles = np.arange(count) * 2 * np.pi / count
    places = [(2.2 + 0.2 * (i % 3), a, 0.7 + 0.35 * (i % 3)) for i, a in enumerate(angles)]
    return [
        looking_at(np.array([r * np.cos(a), r * np.sin(a), z]), np.array([0, 0, 0.2]), UP, focal=96, **SIZE)
        for r, a, z in places
    ]


def room(random: np.random.Generator) -> Gaussians:
    """A patterned ball on a patterned ground, before a patterned wall all around."""
    ball = random.normal(size=(500, 3))
    ball = [0, 0, 0.3] + 0.45 * ball / np.linalg.norm(ball, axis=1, keepdims=True)
    ground = random.uniform(-1.4, 1.4, (800, 2))
    ground = np.column_stack([ground, 0.05 * np.sin(4 * ground[:, 0])])
    angles = random.uniform(0, 2 * np.pi, 900)
    wall = np.column_stack([4.5 * np.cos(angles), 4.5 * np.sin(angles), random.uniform(-1.2, 3, 900)])
    means = np.concatenate([ball, ground, wall])
    colors = 0.5 + 0.35 * np.sin(means @ random.normal(0, 4, (3, 3))) + random.normal(0, 0.08, means.shape)
    sizes = np.repeat([0.06, 0.07, 0.2], [500, 800, 900])
    quats = np.tile([1.0, 0, 0, 0], (len(means), 1))
    return Gaussians(
        means.astype(np.float32),
        quats.astype(np.float32),
        np.log(np.repeat(sizes[:, None], 3, 1)).astype(np.float32),
        np.full(len(means), 3.0, np.float32),
        ((colors - 0.5) / C0)[:, None].astype(np.float32),
        np.zeros((len(means), 0, 3), np.float32),
    )


def photographed(root: Path) -> tuple[Workspace, list[Camera]]:
    """A workspace whose cameras are off by TURN_DEG and SHIFT each, in directions of their own; and the true ones."""
    random = np.random.default_rng(8)
    scene, cameras = room(random), ring()
    made, rows = Workspace.create(root, extent=2.9), []
    for number, camera in enumerate(cameras):
        picture, _ = Seen(scene, camera).picture(scene, np.full((72, 96, 3), 0.6, np.float32))
        write_picture(made.picture_file(f"p{number}"), np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8))
        turn, shift = (part / np.linalg.norm(part) for part in random.normal(size=(2, 3)))
        found = moved(camera, np.radians(TURN_DEG) * turn, SHIFT * np.linalg.norm(camera.centre) * shift)
        rows.append(Photo(f"p{number}", f"p{number}.jpg", 96, 72, camera=found))
    made.write_photos(rows)
    chosen = random.choice(len(scene.means), 2000, replace=False)
    photo, point = np.meshgrid(np.arange(PHOTOS), np.arange(2000), indexing="ij")
    made.write_points(
        SparsePoints(
            (scene.means[chosen] + random.normal(0, 0.02, (2000, 3))).astype(np.float32),
            np.clip(255 * (0.5 + C0 * scene.sh0[chosen, 0]), 0, 255).astype(np.uint8),
            np.full(2000, 0.5, np.float32),
            np.full(2000, PHOTOS, np.int32),
            point.ravel().astype(np.int32),
            photo.ravel().astype(np.int32),
        )
    )
    return made, cameras


def request(made: Workspace, **options: object) -> Train:
    base = {"preset": "quick", "iterations": 960, "long_side": 96, "cap": 2500, "device": "cpu"}
    return Train(made.root, **(base | {"appearance": "none", "transients": False} | options))


def errors(found: list[Camera], true: list[Camera]) -> tuple[float, float]:
    """Mean turn in degrees and mean shift as a share of the distance, beyond a motion of everything."""
    depths = np.array([np.linalg.norm(camera.centre) for camera in true])
    off = [
        [
            *Rotation.from_matrix(one.cam_from_world[:3, :3].T @ other.cam_from_world[:3, :3]).as_rotvec(),
            *((one.centre - other.centre) / depth),
        ]
        for one, other, depth in zip(found, true, depths, strict=True)
    ]
    common = common_motions(np.array([camera.centre for camera in true]), depths)
    own = np.array(off).ravel()
    own = (own - common @ (own @ common)).reshape(-1, 6)
    turn, shift = (np.linalg.norm(part, axis=1).mean() for part in (own[:, :3], own[:, 3:]))
    return float(np.degrees(turn)), float(shift)


def explained(made: Workspace) -> float:
    """Mean PSNR of the photos where the workspace has their cameras."""
    scene, looks, found = made.gaussians(), Appearance.load(made), []
    for photo in made.used_photos():
        picture = shown(scene, looks, photo.camera, None)
        found.append(-10 * np.log10(np.square(picture - read_picture(made.picture_file(photo.name)) / 255).mean()))
    return float(np.mean(found))


def test_cameras_that_are_off_are_put_right(tmp_path: Path) -> None:
    made, true = photographed(tmp_path / "w")
    captured = [photo.camera for photo in made.photos()]
    before = errors(captured, true)
    assert before[0] > 0.8 * TURN_DEG
    assert before[1] > 0.8 * SHIFT
    train.run(request(made), Quiet())
    plain = explained(made)
    result = train.run(request(made, refine_poses=True), Quiet())
    after = errors([photo.camera for photo in made.photos()], true)
    assert after[0] < 0.5 * before[0]
    assert after[1] < 0.5 * before[1]
    assert explained(made) > plain + 1.5
    assert result["cameras"]["photos"] == PHOTOS
    assert 0.3 < result["cameras"]["turn_deg"] < 1
    assert result["cameras_moved"].startswith(f"{PHOTOS}, by {result['cameras']['turn_deg']:.2f} degrees")
    turns = made.made("train")["course"]["turn_deg"]
    assert turns[0] == 0  # they stand still at first
    assert turns[-1] == result["cameras"]["turn_deg"]
    # The captured cameras are still there, and those of a training without the option.
    for photo, camera in zip(made.photos(), captured, strict=True):
        assert np.array_equal(photo.captured.cam_from_world, camera.cam_from_world)
        assert not np.allclose(photo.camera.cam_from_world, camera.cam_from_world, atol=1e-4)
        assert (photo.camera.fx, photo.camera.width) == (camera.fx, camera.width)
    train.run(request(made, iterations=10), Quiet())
    for photo, camera in zip(made.photos(), captured, strict=True):
        assert photo.captured is None
        assert np.array_equal(photo.camera.cam_from_world, camera.cam_from_world)


def test_every_training_starts_from_the_captured_cameras_and_resuming_is_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECS", -1.0)
    options = {"iterations": 60, "cap": 2100, "refine_poses": True}
    whole, parts = photographed(tmp_path / "whole")[0], photographed(tmp_path / "parts")[0]
    train.run(request(whole, **options), Quiet())
    first = [photo.to_json() for photo in whole.photos()]
    train.run(request(parts, **options | {"iterations": 40}), Quiet())  # whose cameras are no start for the next

    class Stop(Quiet):
        left = 35

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.left -= steps
            if self.left <= 0:
                raise Cancelled

    with pytest.raises(Cancelled):
        train.run(request(parts, **options), Stop())
    train.run(request(parts, **options), Quiet())
    assert [photo.to_json() for photo in parts.photos()] == first
    one, other = (read_arrays(made.splats)[0] for made in (whole, parts))
    for name, array in one.items():
        assert np.array_equal(array, other[name]), name


def test_a_photo_that_was_held_out_keeps_its_camera(tmp_path: Path) -> None:
    made, _ = photographed(tmp_path / "w")
    made.write_photos([replace(p, split="test" if p.name == "p3" else "train") for p in made.photos()])
    before = made.photo("p3").to_json()
    train.run(request(made, iterations=40, refine_poses=True), Quiet())
    assert made.photo("p3").to_json() == before
    assert made.photo("p4").captured is not None


def some_rows(count: int = 150) -> dict[str, torch.Tensor]:
    random = np.random.default_rng(3)
    arrays = {
        "means": random.normal(0, 0.5, (count, 3)),
        "quats": random.normal(0, 1, (count, 4)),
        "log_scales": random.uniform(-2.5, -1.5, (count, 3)),
        "opacity_logits": random.uniform(-2, 0, count),
        "sh0": random.normal(0, 1, (count, 1, 3)),
        "shN": np.zeros((count, 0, 3)),
    }
    return {name: torch.tensor(array, dtype=torch.float32) for name, array in arrays.items()}


def rows_moved(rows: dict[str, torch.Tensor], centre: np.ndarray, motion: torch.Tensor) -> dict[str, torch.Tensor]:
    """Turned about a point by the rotation vector motion[:3], then shifted, to first order; differentiable."""
    turn, shift = motion.split(3)
    lever = rows["means"] - torch.tensor(centre, dtype=torch.float32)
    means = rows["means"] + torch.linalg.cross(turn.expand_as(lever), lever) + shift
    w, u = rows["quats"].split([1, 3], 1)
    quats = torch.cat(
        [w - 0.5 * (u @ turn)[:, None], u + 0.5 * (w * turn + torch.linalg.cross(turn.expand_as(u), u))], 1
    )
    return rows | {"means": means, "quats": quats}


def test_a_moved_camera_sees_rows_that_moved_the_other_way() -> None:
    camera, motion = ring()[1], np.array([2e-3, -3e-3, 1e-3, 4e-3, 2e-3, -5e-3])
    with torch.no_grad():
        here = rasterize(**some_rows(), view=camera).image
        turned, shifted = motion * (1, 1, 1, 0, 0, 0), motion * (0, 0, 0, 1, 1, 1)
        for part in (turned, shifted):
            there = rasterize(**some_rows(), view=moved(camera, part[:3], part[3:])).image
            other = torch.tensor(-part, dtype=torch.float32)
            same = rasterize(**rows_moved(some_rows(), camera.centre, other), view=camera).image
            assert (there - here).abs().mean() > 20 * (there - same).abs().mean()


@pytest.mark.parametrize("device", ["cpu", str(AWAY)])
def test_gradients_are_those_of_moving_all_rows_the_other_way(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
    camera = ring()[1]
    pull = torch.tensor(np.random.default_rng(4).normal(0, 1, (72, 96, 3)), dtype=torch.float32)
    motion = torch.zeros(6, requires_grad=True)
    (rasterize(**rows_moved(some_rows(), camera.centre, -motion), view=camera).image * pull).sum().backward()
    expected = motion.grad.numpy()
    with PretendDevice():
        rows = {name: value.to(device).requires_grad_() for name, value in some_rows().items()}
        for value in rows.values():
            value.retain_grad()
        (rasterize(**rows, view=camera).image * pull.to(device)).sum().backward()
        found = motion_gradient(rows["means"], rows["quats"], camera.centre)
    assert found is not None
    assert np.linalg.norm(expected) > 1
    assert np.linalg.norm(found - expected) < 1e-3 * np.linalg.norm(expected)


def poses(policy: PoseRefinement | None = None) -> Poses:
    cameras = {f"p{number}": camera for number, camera in enumerate(ring())}
    return Poses(cameras, dict.fromkeys(cameras, 2.0), policy or PoseRefinement())


def rows_that_pull(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    means, quats = (torch.randn(50, n, generator=generator).requires_grad_() for n in (3, 4))
    means.grad, quats.grad = (torch.randn(50, n, generator=generator) for n in (3, 4))
    return means, quats


def test_cameras_stand_still_at_first_and_without_gradients_that_are_numbers() -> None:
    held, camera = poses(), ring()[0]
    means, quats = rows_that_pull()
    held.learn("p0", means, quats, 0.01)
    assert held.moved("p0", camera) is camera
    means.grad[3] = torch.nan
    held.learn("p0", means, quats, 0.5)
    held.learn("p0", means.detach(), quats.detach(), 0.5)  # in neutral light colours alone learn
    assert held.moved("p0", camera) is camera
    assert held.summary()["photos"] == 0
    held.learn("p0", *rows_that_pull(), 0.5)
    assert held.moved("p0", camera) is not camera
    assert held.summary()["photos"] == 1
    small, other = held.moved("p0", camera.fitted(20)), held.moved("p0", camera)
    assert np.array_equal(small.cam_from_world, other.cam_from_world)
    assert (small.width, small.fx) == (20, camera.fx * 20 / 96)


def test_corrections_have_no_motion_in_common() -> None:
    held = poses()
    for visit in range(40):
        held.learn(f"p{visit % PHOTOS}", *rows_that_pull(visit), 0.5)
    values = held.state()["poses.values"]
    assert (np.abs(values).max(1) > 1e-4).all()
    common = common_motions(np.array([camera.centre for camera in ring()]), np.full(PHOTOS, 2.0))
    assert common.shape == (6 * PHOTOS, 7)
    assert np.abs(values.ravel() @ common).max() < 1e-12
    # A turn of the whole scene is such a motion, and nothing but such motions is.
    turn = Rotation.from_rotvec([0, 0, 1e-6]).as_matrix()
    whole = [
        [0, 0, 1e-6, *((Similarity(1.0, turn, np.array([2e-6, 0, 0])).camera(c).centre - c.centre) / 2)] for c in ring()
    ]
    own = np.array(whole).ravel()
    assert np.linalg.norm(own - common @ (own @ common)) < 1e-5 * np.linalg.norm(own)


def test_a_restored_state_goes_on_as_if_nothing_had_happened() -> None:
    one, other = poses(), poses()
    for visit in range(5):
        one.learn("p1", *rows_that_pull(visit), 0.3)
    other.restore({name: array.copy() for name, array in one.state().items()})
    for held in (one, other):
        held.learn("p1", *rows_that_pull(9), 0.4)
        held.learn("p2", *rows_that_pull(8), 0.5)
    for name, array in one.state().items():
        assert np.array_equal(array, other.state()[name]), name
    assert one.summary() == other.summary()
    with pytest.raises(KeyError):
        other.restore({})


def test_one_camera_alone_has_nothing_to_agree_with() -> None:
    camera = ring()[0]
    held = Poses({"a": camera}, {"a": 2.0}, PoseRefinement())
    held.learn("a", *rows_that_pull(), 0.5)
    assert np.allclose(held.moved("a", camera).cam_from_world, camera.cam_from_world, atol=1e-9)
