"""A disk that is full, in every stage: one sentence, nothing finished is lost, and it works once there is room."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.capture.pictures import write_picture
from backend.formats import ply
from backend.progress import Quiet
from backend.scene import Workspace
from backend.scene.files import read_arrays, read_json
from backend.scene.transforms import quats_from_matrices
from backend.service.app import NETWORKS, REMOTE_VERBS
from backend.stages import lift, segment, train
from backend.verbs import VERBS
from segwild_addon.protocol import requests
from segwild_addon.protocol.errors import ResourceError

TRAIN = {"preset": "quick", "iterations": 20, "long_side": 64, "cap": 1500}


@dataclass(frozen=True)
class Place:
    """What a stage may be given: a finished scene, and around it what others are made of."""

    scene: Path
    colmap: Path  # photos and the text model of their cameras
    splat: Path
    masks: Path
    labels: Path
    new: Path  # not there yet

    def request(self, verb: str) -> Any:
        given: dict[str, dict[str, Any]] = {
            "capture": {"photos": self.colmap, "out": self.new},
            "run": {"photos": self.colmap, "out": self.new, "preset": "quick", "iterations": 20, "cap": 500},
            "import": {"file": self.splat, "out": self.new},
            "train": {**TRAIN, "seed": 1, "restart": True},
            "segment": {"name": "other", "view": "p0", "click": ("32,24,+",)},
            "transfer": {"labels": self.labels},
            "objects": {"action": "rename", "names": ("it", "that")},
            "appearance": {"object": "it", "from_": "p1"},
            "render": {"out": self.scene / "renders", "long_side": 64, "channels": "rgb,object"},
            "export": {"out": self.scene / "exports" / "a.ply"},
            "evaluate-masks": {"object": "it", "masks": self.masks},
        }
        fields = given.get(verb, {})
        if verb not in ("capture", "run", "import"):
            fields["workspace"] = self.scene
        return VERBS[verb][0](**fields)

    def run(self, verb: str) -> dict[str, Any]:
        return import_module(VERBS[verb][1]).run(self.request(verb), Quiet())

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.scene.rglob("*") if path.is_file()}

    def moved(self, folder: Path, verb: str) -> Place:
        """A copy of the scene in another folder, ready for the verb; what stages only read stays where it is."""
        shutil.copytree(self.scene, folder / "scene")
        if verb == "train":  # objects would be orphaned
            (folder / "scene" / "segments.json").unlink()
        return replace(self, scene=folder / "scene", new=folder / "new")


def colmap_model(workspace: Workspace, folder: Path) -> Path:
    """The scene's cameras and points as COLMAP writes them in text, and pictures of their size."""
    (folder / "sparse").mkdir(parents=True)
    chance = np.random.default_rng(0)
    cameras, images = [], []
    places = workspace.points().positions[::20].astype(float)
    tracks: list[list[str]] = [[] for _ in places]
    for number, photo in enumerate(workspace.used_photos(), 1):
        assert photo.camera is not None
        camera = photo.camera.fitted(200)
        write_picture(folder / "images" / f"{photo.name}.png", chance.integers(0, 255, (150, 200, 3), dtype=np.uint8))
        pixels, _ = camera.project(places)
        pose = camera.cam_from_world
        quat = " ".join(f"{value:.9f}" for value in quats_from_matrices(pose[None, :3, :3])[0])
        shift = " ".join(f"{value:.9f}" for value in pose[:3, 3])
        lens = f"{camera.fx} {camera.fy} {camera.cx} {camera.cy}"
        cameras.append(f"{number} PINHOLE {camera.width} {camera.height} {lens}")
        seen = " ".join(f"{x:.3f} {y:.3f} {row}" for row, (x, y) in enumerate(pixels, 1))
        images.append(f"{number} {quat} {shift} {number} {photo.name}.png\n{seen}")
        for row, track in enumerate(tracks):
            track.append(f"{number} {row}")
    points = [
        f"{row} {x} {y} {z} 128 128 128 0.5 {' '.join(track)}"
        for row, ((x, y, z), track) in enumerate(zip(places, tracks, strict=True), 1)
    ]
    for name, lines in (("cameras", cameras), ("images", images), ("points3D", points)):
        (folder / "sparse" / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def _kept() -> dict[str, Place]:
    return {}


@pytest.fixture
def place(photographed: Workspace, _kept: dict[str, Place], tmp_path_factory: pytest.TempPathFactory) -> Place:
    """One for all tests: they copy it before they change it."""
    if "place" not in _kept:
        root = photographed.root
        photographed.write_photos(
            [replace(photo, split="test") if photo.name == "p5" else photo for photo in photographed.photos()]
        )
        train.run(requests.Train(root, **TRAIN), Quiet())
        lift.run(requests.Lift(root), Quiet())
        segment.run(requests.Segment(root, name="it", view="p0", click=("32,24,+",)), Quiet())
        folder = tmp_path_factory.mktemp("place")
        shutil.copytree(root, folder / "scene")
        ply.write_ply(folder / "a.ply", photographed.gaussians())
        for name in ("p0", "p1"):
            write_picture(folder / "masks" / f"{name}.png", np.eye(48, 64) > 0)
        write_picture(folder / "labels" / "p0.png", np.repeat(np.array([[1, 2]], np.uint8), 32, 1).repeat(48, 0))
        colmap = colmap_model(photographed, folder / "colmap")
        places = (folder / name for name in ("a.ply", "masks", "labels", "new"))
        _kept["place"] = Place(folder / "scene", colmap, *places)
    return _kept["place"]


def assert_whole(folder: Path) -> None:
    """Every file with a finished name can be read."""
    for path in folder.rglob("*.safetensors"):
        read_arrays(path)
    for path in folder.rglob("*.json"):
        if ".capture" not in path.parts:
            read_json(path)
    for path in (*folder.rglob("*.npz"), *folder.rglob("*.npy")):
        if ".capture" not in path.parts:
            np.load(path, allow_pickle=False)
    for path in folder.rglob("*.ply"):
        ply.read_ply(path)


def assert_told(error: ResourceError) -> None:
    assert error.code == "disk-full", error
    assert error.sentence.startswith("The disk is full")
    assert error.hint


class Failing:
    """`os.fsync` whose n-th call finds no room. Every file of a scene is synced before it gets its name."""

    def __init__(self, place: int) -> None:
        self.left, self.real = place, os.fsync

    def __call__(self, number: int) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.real(number)


VERBS_HERE = [verb for verb in REMOTE_VERBS if verb not in NETWORKS]  # those are tried with a network, beside it
PLACES = (1, 2, 3, 5, 8, 12)  # which write fails


@pytest.mark.parametrize("verb", VERBS_HERE)
def test_any_write_may_find_the_disk_full(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    there = place.moved(tmp_path, verb)
    if verb == "lift":  # what is there is not made again
        shutil.rmtree(there.scene / "features")
    before = there.files()
    failed = 0
    for number in PLACES[:2] if verb == "evaluate" else PLACES:  # it takes seconds, and writes pictures
        failing = Failing(number)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            try:
                there.run(verb)
            except ResourceError as error:
                assert_told(error)
                failed += 1
        assert_whole(tmp_path)
        if failing.left > 0:  # it wrote less often
            break
        lost = [path for path in before if not path.exists()]
        assert not lost
    assert failed
    if failing.left <= 0:  # else it ended well within the loop
        there.run(verb)
    assert_whole(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of some megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("no small disk: there is no mount command")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=24m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def fill() -> Callable[[Path, int], None]:
    def filled(path: Path, leave: int) -> None:
        """Take what is left of the disk but for `leave` bytes."""
        path.unlink(missing_ok=True)
        room = shutil.disk_usage(path.parent).free - leave
        with path.open("wb", buffering=0) as file:
            try:
                while room > 0:
                    room -= file.write(b"\0" * min(room, 65536))
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017
        assert shutil.disk_usage(path.parent).free <= leave

    return filled


@pytest.mark.parametrize("leave", [0, pytest.param(40_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("verb", VERBS_HERE)
def test_a_real_disk_that_is_full(
    place: Place, small_disk: Path, fill: Callable[[Path, int], None], verb: str, leave: int
) -> None:
    there = place.moved(small_disk, verb)
    shutil.rmtree(there.scene / "features")
    shutil.rmtree(there.scene / "embeddings", ignore_errors=True)
    before = there.files()
    fill(small_disk / "filler", leave)
    try:
        there.run(verb)
    except ResourceError as error:
        assert_told(error)
        missing = [path for path in before if not path.exists()]
        assert not missing
    else:
        assert leave, "nothing was written"  # what is small may fit
    assert_whole(small_disk)
    if not leave:
        assert {path: path.read_bytes() for path in before} == before
    (small_disk / "filler").unlink()
    if not (leave and verb in ("import", "objects")):  # these may have ended well the first time
        there.run(verb)
    assert_whole(small_disk)


@pytest.mark.parametrize("leave", [0, 60_000, 300_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_the_search_for_cameras_on_a_full_disk(
    small_disk: Path, overlapping: Path, fill: Callable[[Path, int], None], leave: int
) -> None:
    """COLMAP's own files do not go through ours."""
    fill(small_disk / "filler", leave)
    request = requests.Capture(overlapping, out=small_disk / "new", preset="quick")
    with pytest.raises(ResourceError) as caught:
        import_module("backend.stages.capture").run(request, Quiet())
    assert_told(caught.value)
    assert_whole(small_disk)
