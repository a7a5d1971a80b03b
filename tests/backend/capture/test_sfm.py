"""The child process that finds cameras is always ended: by time, by a person, with its parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import write_picture
from backend.capture.sfm import Search, export_model, find_cameras, run_child
from backend.progress import Cancelled, Quiet
from segwild_addon.protocol.errors import InputError, ResourceError, SetupError

posix = pytest.mark.skipif(os.name != "posix", reason="looks at processes through POSIX calls")


class Recorded(Quiet):
    """Remembers phases and steps; cancels once a phase of the given name begins."""

    def __init__(self, cancel_in: str = "never") -> None:
        super().__init__()
        self.phases: list[tuple[str, int | None, int]] = []
        self._cancel_in = cancel_in

    def phase(self, name: str, total: int | None = None) -> None:
        self.phases.append((name, total, 0))

    def advance(self, steps: int = 1, note: str = "") -> None:
        if not self.phases:
            return
        name, total, done = self.phases[-1]
        self.phases[-1] = (name, total, done + steps)
        if name.startswith(self._cancel_in):
            raise Cancelled

    def warn(self, code: str, sentence: str, items: Sequence[str] = ()) -> None:
        raise AssertionError(sentence)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photos of nothing in common."""
    folder = tmp_path_factory.mktemp("noise")
    for row in range(3):
        generator = np.random.default_rng(row)
        coarse = generator.integers(0, 255, (60, 80, 3), dtype=np.uint8)
        write_picture(folder / f"{row}.jpg", coarse.repeat(8, axis=0).repeat(8, axis=1))
    return folder


NAMES = ["0.jpg", "1.jpg", "2.jpg"]


def children() -> set[int]:
    """Processes that run our child, dead ones not counted."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if b"backend.capture.sfm_child" in command and str(os.getpid()).encode() in command and state != "Z":
            found.add(int(entry.name))
    return found


def test_photos_of_nothing_in_common_get_no_cameras(noise: Path, tmp_path: Path) -> None:
    progress = Recorded()
    found = find_cameras(noise, NAMES, tmp_path / "work", Search(), progress, time_limit_secs=100)
    assert (found.model, found.registered, found.matched) == (None, 0, 0)
    names = [name for name, _, _ in progress.phases]
    assert names[:3] == ["Finding features", "Matching photos", "Placing cameras"]
    assert progress.phases[0][1:] == (3, 3)
    assert progress.phases[1][1:] == (3, 3)
    assert any("once more" in name for name in names)


@posix
@pytest.mark.parametrize("ending", ["time", "person"])
def test_nothing_is_left_behind(noise: Path, tmp_path: Path, ending: str) -> None:
    work = tmp_path / f"work{os.getpid()}"
    if ending == "time":
        with pytest.raises(ResourceError, match="longer than") as caught:
            find_cameras(noise, NAMES, work, Search(), Recorded(), time_limit_secs=0.3)
        assert caught.value.code == "time-limit"
    else:
        with pytest.raises(Cancelled):
            find_cameras(noise, NAMES, work, Search(), Recorded("Matching"), time_limit_secs=100)
    assert not children()
    # What was cut short does not hinder the next run.
    assert find_cameras(noise, NAMES, work, Search(), Recorded(), time_limit_secs=100).model is None


@posix
def test_the_child_ends_with_its_parent(noise: Path, tmp_path: Path) -> None:
    work = tmp_path / f"work{os.getpid()}"
    program = (
        "import sys; from pathlib import Path; from backend.progress import Quiet;"
        "from backend.capture.sfm import Search, find_cameras;"
        "names = [f'{row % 3}.jpg' for row in range(3)];"
        "find_cameras(Path(sys.argv[1]), names, Path(sys.argv[2]), Search(), Quiet(), time_limit_secs=100)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(noise), str(work)])
    try:
        deadline = time.monotonic() + 60
        while not children() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert children()
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 10
    while children() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not children()


def test_a_failing_child_says_why(tmp_path: Path) -> None:
    with pytest.raises(SetupError) as caught:
        run_child("find", {"work": "nowhere"}, tmp_path, Quiet(), time_limit_secs=60)
    assert "names" in caught.value.hint
    with pytest.raises(SetupError):
        run_child("no-such-verb", {}, tmp_path, Quiet(), time_limit_secs=60)


def text_model(folder: Path, camera: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "cameras.txt").write_text(camera + "\n")
    (folder / "images.txt").write_text("1 1 0 0 0 0 0 0 1 a.jpg\n\n2 1 0 0 0 1 0 0 1 b.jpg\n\n")
    (folder / "points3D.txt").write_text("")
    return folder


def test_models_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    photos = [{"image": "a.jpg", "name": "a", "photo_size": [800, 400], "working_size": [800, 400]}]
    panoramas = text_model(tmp_path / "panoramas", "1 EQUIRECTANGULAR 800 400 800 400")
    with pytest.raises(InputError) as caught:
        export_model(panoramas, photos, tmp_path / "work", Quiet(), time_limit_secs=60)
    assert caught.value.code == "panorama"
    garbage = text_model(tmp_path / "garbage", "this is no camera")
    with pytest.raises(InputError) as caught:
        export_model(garbage, photos, tmp_path / "work", Quiet(), time_limit_secs=60)
    assert caught.value.code == "model-damaged"
    with pytest.raises(SetupError, match="Cameras were found but could not be kept") as failed:
        export_model(garbage, photos, tmp_path / "work", Quiet(), time_limit_secs=60, found=True)
    assert "COLMAP" not in failed.value.hint


def test_a_name_that_is_no_text_costs_its_own_photo_alone(tmp_path: Path) -> None:
    model = text_model(tmp_path / "model", "1 PINHOLE 800 400 500 500 400 200")
    lines = "1 1 0 0 0 0 0 0 1 caf\udce9.jpg\n\n2 1 0 0 0 1 0 0 1 b.jpg\n\n"
    (model / "images.txt").write_bytes(lines.encode(errors="surrogateescape"))
    photos = [
        {"image": image, "name": name, "photo_size": [800, 400], "working_size": [800, 400]}
        for image, name in (("caf\udce9.jpg", "caf\ufffd"), ("b.jpg", "b"))
    ]
    report = export_model(model, photos, tmp_path / "work", Quiet(), time_limit_secs=60)
    assert list(report["left_out"]) == ["caf\ufffd"]


CENTRED = """
import json, sys
import numpy as np
import pycolmap
from backend.capture.sfm_child import _centred
cropped = json.loads(sys.argv[1])
pycolmap.set_random_seed(3)
options = pycolmap.SyntheticDatasetOptions()
options.num_rigs, options.num_frames_per_rig, options.num_points3D = 8, 1, 300
made = pycolmap.synthesize_dataset(options)
noise, random = pycolmap.SyntheticNoiseOptions(), np.random.default_rng(0)
noise.point2D_stddev = 0.01 if cropped else 0.3
pycolmap.synthesize_noise(noise, made)
for camera in made.cameras.values():
    # What a photo shows is where it was before it was cropped: its middle is not the camera's.
    aside = random.uniform(-40, 40, 2) if cropped else np.zeros(2)
    for image in made.images.values():
        if image.camera_id == camera.camera_id:
            for point in image.points2D:
                point.xy = point.xy + aside
    print("truth", camera.camera_id, *aside)
pycolmap.bundle_adjustment(made, pycolmap.BundleAdjustmentOptions(print_summary=False))  # as a mapper ends
found = _centred(made, 2)
for camera in found.cameras.values():
    print("found", camera.camera_id, camera.principal_point_x - 512, camera.principal_point_y - 384)
"""


@pytest.mark.parametrize("cropped", [True, False])
def test_the_middle_of_what_somebody_cropped_is_not_its_principal_point(cropped: bool) -> None:
    command = [sys.executable, "-c", CENTRED, "true" if cropped else "false"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    lines = [line.split() for line in ran.stdout.splitlines() if line.startswith(("truth", "found"))]
    truth, found = (
        np.array([[float(number) for number in line[2:]] for line in lines if line[0] == word])
        for word in ("truth", "found")
    )
    assert len(truth) == len(found) == 8
    if cropped:
        assert np.abs(truth).max() > 20
        assert np.abs(found - truth).max() < 4
    else:
        assert not found.any()  # noise explains as much, and the middles stay


PARTS = """
import json, sys
from pathlib import Path
import pycolmap
from backend.capture.sfm_child import Mapping, Reporter, _map
pycolmap.set_random_seed(3)
options = pycolmap.SyntheticDatasetOptions()
options.num_rigs, options.num_frames_per_rig, options.num_points3D = 9, 1, 300
whole = pycolmap.synthesize_dataset(options)

def model(numbers):
    made = pycolmap.Reconstruction(whole)
    for frame in list(made.reg_frame_ids()):
        if frame not in numbers:
            made.deregister_frame(frame)
    return made

def found(database, pictures, models, *_, **__):
    (models / "1").mkdir()
    return {0: model({5, 6, 7}), 1: model({1, 2, 3, 4, 5}), 2: model({8, 9})}

pycolmap.incremental_mapping = found
names = {image.frame_id: image.name for image in whole.images.values()}
work = Path(sys.argv[1])
job = {"names": list(names.values()), "threads": 1, "seed": 0, "pictures": str(work)}
result = _map(job, work / "database.db", work / "models", Mapping(), Reporter(sys.stderr), again="")
print(json.dumps([result, [[names[frame] for frame in part] for part in ((6, 7), (8, 9))]]))
"""


def test_photos_of_smaller_models_are_told_apart(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PARTS, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    result, parts = json.loads(ran.stdout.splitlines()[-1])
    assert (result["registered"], Path(result["model"]).name) == (5, "1")
    assert result["others"] == [sorted(part) for part in parts]


def test_the_child_never_loads_pillow() -> None:
    program = (
        "import sys, backend.capture.sfm_child; print([name for name in sys.modules if name.split('.')[0] == 'PIL'])"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == "[]"
