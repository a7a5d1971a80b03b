"""A training with a network that sees passers-by: fainter ones are masked, it looks once, and resumes the same."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pretend_gsplat
import pytest
import torch
from pretend_device import AWAY, PretendDevice

from backend.capture.pictures import read_picture, write_picture
from backend.features.people import Network, network
from backend.progress import Cancelled, Quiet
from backend.scene import Photo, Workspace
from backend.scene.cameras import looking_at
from backend.scene.files import read_arrays
from backend.scene.workspace import SparsePoints
from backend.stages import capture, lift, run, train
from backend.train import config, loop
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Capture, Run, Train

WIDTH, HEIGHT, PHOTOS = 96, 72, 6
PASSER_BY = np.s_[20:52, 30:54]  # in photo p2 alone
FAINT = np.array([0.20, -0.015, -0.015])  # 0.077 on average: less than the least limit, more than half of it


def wall_colors(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """(..., 3) in 0..1: a brick wall at y = 0 with a door at the right that is red enough to be taken for a person."""
    pattern = 0.04 * np.sin(9 * x) * np.cos(7 * z) + 0.03 * np.sin(23 * x + 11 * z)
    door = (x > 0.45) & (x < 0.8) & (z > -0.4) & (z < 0.3)
    return np.where(door[..., None], (0.78, 0.25, 0.25), (0.56, 0.30, 0.30)) + pattern[..., None]


def a_wall(root: Path, *, passer_by: bool = True) -> Workspace:
    """Six photos of the wall, computed pixel by pixel; before one of them somebody stood."""
    made = Workspace.create(root, extent=1.5)
    x, z = (places.ravel() for places in np.meshgrid(np.linspace(-1.3, 1.3, 50), np.linspace(-1, 1, 40)))
    rows = []
    for number, aside in enumerate(np.linspace(-0.3, 0.3, PHOTOS)):
        eye = np.array([aside, -1.5, 0.1 * (-1) ** number])
        target, up = np.array([aside / 2, 0, 0]), np.array([0.0, 0, 1])
        camera = looking_at(eye, target, up, focal=90, width=WIDTH, height=HEIGHT)
        centres = camera.pixel_centres()
        rays = np.stack([(centres[..., 0] - camera.cx) / camera.fx, (centres[..., 1] - camera.cy) / camera.fy], -1)
        rays = np.concatenate([rays, np.ones((HEIGHT, WIDTH, 1))], -1) @ camera.cam_from_world[:3, :3]
        hit = eye - rays * (eye[1] / rays[..., 1:2])
        picture = wall_colors(hit[..., 0], hit[..., 2])
        if passer_by and number == 2:
            picture[PASSER_BY] += FAINT
        write_picture(made.picture_file(f"p{number}"), np.rint(255 * picture).astype(np.uint8))
        rows.append(Photo(f"p{number}", f"p{number}.jpg", WIDTH, HEIGHT, camera=camera))
    made.write_photos(rows)
    seen_photo, seen_point = np.meshgrid(np.arange(PHOTOS), np.arange(x.size), indexing="ij")
    made.write_points(
        SparsePoints(
            np.stack([x, 0 * x, z], 1).astype(np.float32),
            np.rint(255 * wall_colors(x, z)).astype(np.uint8),
            np.full(x.size, 0.5, np.float32),
            np.full(x.size, PHOTOS, np.int32),
            seen_point.ravel().astype(np.int32),
            seen_photo.ravel().astype(np.int32),
        )
    )
    return made


def request(made: Workspace, **options: Any) -> Train:
    options = {"preset": "quick", "iterations": 40, "long_side": WIDTH, "cap": 2500} | options
    return Train(made.root, **options)


def masked(made: Workspace) -> list[np.ndarray]:
    return [read_picture(made.root / "transients" / f"p{number}.png")[..., 0] > 127 for number in range(PHOTOS)]


class StopAt(Quiet):
    """Cancels after so many steps of a phase."""

    def __init__(self, phase: str, step: int) -> None:
        super().__init__()
        self.stopping, self.left, self.now = phase, step, ""

    def phase(self, name: str, total: int | None = None) -> None:
        self.now = name

    def advance(self, steps: int = 1, note: str = "") -> None:
        if self.now == self.stopping:
            self.left -= steps
            if self.left <= 0:
                raise Cancelled


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Network]:
    """The network that was asked, once per photo; it sees small pictures, to be fast."""
    monkeypatch.setattr(network, "SHORT_SIDE", 144)
    networks: list[Network] = []
    answer = Network.candidates

    def noted(self: Network, picture: np.ndarray) -> np.ndarray:
        networks.append(self)
        return answer(self, picture)

    monkeypatch.setattr(Network, "candidates", noted)
    return networks


def test_a_faint_passer_by_is_masked_with_a_network_and_not_without(
    tmp_path: Path, red_is_a_person: Path, asked: list[Network]
) -> None:
    found = {}
    for name, options in (
        ("without", {}),
        ("gate", {"people": red_is_a_person}),
        ("union", {"people": red_is_a_person, "people_mode": "union"}),
    ):
        made = a_wall(tmp_path / name)
        train.run(request(made, iterations=300, **options), Quiet())
        found[name] = masked(made)
    inside = np.s_[24:48, 33:51]
    assert not any(mask.any() for mask in found["without"])
    assert found["gate"][2][inside].all()
    assert found["gate"][2].sum() < 1.4 * np.ones((HEIGHT, WIDTH))[PASSER_BY].sum()
    # The door is red too, and every photo shows it: only who asks for it loses it.
    assert not any(mask.any() for number, mask in enumerate(found["gate"]) if number != 2)
    assert found["union"][2][inside].all()
    assert all(mask.mean() > 0.05 for mask in found["union"])


def test_a_network_that_sees_nobody_leaves_every_bit_as_it_is(
    tmp_path: Path, red_is_a_person: Path, asked: list[Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "SURE_FROM", 1.0)
    plain, looked = a_wall(tmp_path / "plain"), a_wall(tmp_path / "looked")
    train.run(request(plain), Quiet())
    train.run(request(looked, people=red_is_a_person, people_mode="union"), Quiet())
    assert len(asked) == PHOTOS
    for file in ("splats/base.safetensors", "appearance.safetensors"):
        first, second = (read_arrays(made.root / file)[0] for made in (plain, looked))
        assert all(np.array_equal(array, second[name]) for name, array in first.items())


def test_stopped_it_goes_on_without_looking_again(
    tmp_path: Path, red_is_a_person: Path, asked: list[Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECS", -1.0)  # a checkpoint after every step
    whole, parts = a_wall(tmp_path / "whole"), a_wall(tmp_path / "parts")
    train.run(request(whole, people=red_is_a_person), Quiet())
    assert len(asked) == PHOTOS
    asked.clear()
    for phase, step in (("Looking for passers-by", 2), ("Training", 13), ("Training", 20)):
        with pytest.raises(Cancelled):
            train.run(request(parts, people=red_is_a_person), StopAt(phase, step))
    assert len(asked) == PHOTOS
    assert parts.checkpoint.exists()
    progress = Quiet()
    result = train.run(request(parts, people=red_is_a_person), progress)
    assert not progress.warnings
    assert len(asked) == PHOTOS
    first, second = (read_arrays(made.splats)[0] for made in (whole, parts))
    assert all(np.array_equal(array, second[name]) for name, array in first.items())
    stamp = parts.splats.stat().st_mtime_ns
    assert train.run(request(parts, people=red_is_a_person), Quiet()) == result
    assert parts.splats.stat().st_mtime_ns == stamp


@pytest.mark.parametrize("other", ["without", "another mode", "another file"])
def test_an_unfinished_training_with_a_network_is_another_one(
    other: str, tmp_path: Path, red_is_a_person: Path, asked: list[Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECS", -1.0)
    made = a_wall(tmp_path / "w")
    with pytest.raises(Cancelled):
        train.run(request(made, people=red_is_a_person), StopAt("Training", 5))
    options: dict[str, Any] = {"people": red_is_a_person}
    if other == "another mode":
        options["people_mode"] = "union"
    elif other == "another file":
        options["people"] = tmp_path / "other.pth"
        state = torch.load(red_is_a_person, weights_only=True)
        state["classifier.low_classifier.bias"][5] = -31
        torch.save(state, options["people"])
    else:
        options.clear()
    progress = Quiet()
    train.run(request(made, **options), progress)
    assert [warning.code for warning in progress.warnings] == ["checkpoint-of-another-training"]
    assert len(asked) == PHOTOS * (2 if other == "another file" else 1)
    settings = made.made("train")
    assert settings is not None
    assert (settings["settings"]["candidates"] is None) == (other == "without")


def test_on_another_device_the_network_is_asked_there(
    tmp_path: Path, red_is_a_person: Path, asked: list[Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gsplat", pretend_gsplat.module())
    monkeypatch.setattr(train, "chosen_engine", lambda *_: str(AWAY))
    made = a_wall(tmp_path / "w")
    with PretendDevice():
        train.run(
            request(made, iterations=10, cap=150, long_side=48, people=red_is_a_person, people_mode="union"), Quiet()
        )
    assert {network.device for network in asked} == {AWAY}
    assert all(mask.mean() > 0.05 for mask in masked(made))


def test_what_a_card_began_or_made_is_still_meant_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECS", -1.0)
    density = config.Adaptive(cap=150)
    for presets, steps in ((config.PRESETS, 80), (config.CUDA_PRESETS, 90)):
        monkeypatch.setitem(presets, "quick", config.TrainConfig(long_side=48, steps=steps, density=density))
    made = a_wall(tmp_path / "w")
    asking = Train(made.root, preset="quick", transients=False)
    with monkeypatch.context() as there, PretendDevice():
        there.setitem(sys.modules, "gsplat", pretend_gsplat.module())
        there.setattr(train, "chosen_engine", lambda *_: str(AWAY))
        with pytest.raises(Cancelled):
            train.run(asking, StopAt("Training", 5))
    progress = Quiet()
    result = train.run(asking, progress)
    assert not progress.warnings
    noted = made.made("train")
    assert noted is not None
    assert noted["settings"]["steps"] == 90
    assert train.run(asking, Quiet()) == result
    train.run(replace(asking, device="cpu"), Quiet())
    noted = made.made("train")
    assert noted is not None
    assert noted["settings"]["steps"] == 80  # whoever asks for the CPU gets what fits it


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"transients": False}, "--no-transients says not to"),
        ({"people": None, "people_mode": "union"}, "--people-mode union lacks a network"),
        ({"people": Path("nowhere.pth")}, "no such checkpoint: nowhere.pth"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], told: str, tmp_path: Path, red_is_a_person: Path) -> None:
    made = a_wall(tmp_path / "w")
    with pytest.raises(InputError, match=told) as caught:
        train.run(request(made, **({"people": red_is_a_person} | options)), Quiet())
    assert caught.value.hint


def test_a_file_that_is_no_network_costs_nothing(tmp_path: Path) -> None:
    made = a_wall(tmp_path / "w")
    result = train.run(request(made, iterations=12), Quiet())
    before = made.splats.read_bytes()
    torch.save({"x": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="no checkpoint of a segmentation network"):
        train.run(request(made, iterations=12, people=tmp_path / "other.pth"), Quiet())
    assert made.splats.read_bytes() == before
    assert train.run(request(made, iterations=12), Quiet()) == result


def test_run_hands_every_option_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    captured: list[Capture] = []
    handed: list[Train] = []
    monkeypatch.setattr(capture, "run", lambda asked, _: captured.append(asked) or {"photos": 1, "left_out": []})
    monkeypatch.setattr(lift, "run", lambda *_: {})
    monkeypatch.setattr(train, "run", lambda asked, _: handed.append(asked) or {"gaussians": 1, "time_secs": 1})
    plain = Run(tmp_path, tmp_path / "w")
    run.run(plain, Quiet())
    assert handed == [Train(tmp_path / "w")]
    given: dict[str, Any] = {
        "preset": "quick",
        "device": "cpu",
        "iterations": 50,
        "cap": 700,
        "long_side": 80,
        "density": "capped",
        "appearance": "mlp",
        "people": Path("red.pth"),
        "people_mode": "union",
        "refine_poses": True,
        "masks": tmp_path,
        "seed": 3,
    }
    run.run(replace(plain, **given), Quiet())
    assert handed[1] == Train(tmp_path / "w", **given)
    run.run(replace(plain, transients=False), Quiet())
    assert handed[2] == Train(tmp_path / "w", transients=False)
    # Nothing but the folder and beginning anew, which would forget the training that `run` is to continue, is missing.
    assert {field.name for field in fields(Train)} == {*given, "transients", "workspace", "restart"}
    with pytest.raises(InputError, match="lacks a network"):
        run.run(replace(plain, people_mode="union"), Quiet())
    assert len(captured) == 3  # said before the work


def test_options_of_run_mean_what_they_mean_in_train() -> None:
    of_run = {field.name: field for field in fields(Run)}
    shared = [field for field in fields(Train) if field.name in of_run]
    assert len(shared) == 13
    for field in shared:
        same = of_run[field.name]
        assert (same.type, same.default, same.metadata) == (field.type, field.default, field.metadata), field.name
