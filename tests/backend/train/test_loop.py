"""Training: stopping and going on changes nothing, bad photos and settings end in a sentence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backend.capture.pictures import read_picture, write_picture
from backend.progress import Cancelled, Quiet
from backend.scene import Camera, Photo, Workspace
from backend.scene.cameras import looking_at
from backend.scene.files import read_arrays
from backend.scene.workspace import SparsePoints
from backend.segment import objects
from backend.stages import train
from backend.train import density, loop, outcome
from backend.train.appearance import Appearance
from backend.train.config import configured
from backend.train.loop import Training
from backend.train.views import Views
from segwild_addon.protocol.errors import InputError, ResourceError, SegWildError
from segwild_addon.protocol.requests import Train

UP = np.array([0.0, 0.0, 1.0])


def cameras(count: int) -> list[Camera]:
    angles = np.linspace(-0.6, 0.6, count)
    return [
        looking_at(np.array([np.sin(a), -np.cos(a), 0.4]), np.zeros(3), UP, focal=60, width=64, height=48)
        for a in angles
    ]


def workspace(root: Path, *, photos: int = 5) -> Workspace:
    """A coloured bowl of points, photographed by painting the points: real photos of a simple thing."""
    random = np.random.default_rng(0)
    positions = random.normal(0, 0.25, (400, 3))
    positions[:, 2] = 0.4 * (positions[:, 0] ** 2 + positions[:, 1] ** 2) - 0.1
    colors = np.clip(128 + 300 * positions, 0, 255).astype(np.uint8)
    made = Workspace.create(root, extent=1.1)
    rows = []
    for index, camera in enumerate(cameras(photos)):
        pixels, depths = camera.project(positions)
        picture = np.full((48, 64, 3), 90, np.uint8)
        for place in np.argsort(-depths):
            x, y = pixels[place].astype(int)
            picture[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] = colors[place]
        exposure = 0.7 + 0.15 * index
        write_picture(made.picture_file(f"p{index}"), np.clip(picture * exposure, 0, 255).astype(np.uint8))
        rows.append(Photo(f"p{index}", f"p{index}.jpg", 64, 48, camera=camera))
    made.write_photos(rows)
    seen_photo, seen_point = np.meshgrid(np.arange(photos), np.arange(400), indexing="ij")
    made.write_points(
        SparsePoints(
            positions.astype(np.float32),
            colors,
            np.full(400, 0.5, np.float32),
            np.full(400, photos, np.int32),
            seen_point.ravel().astype(np.int32),
            seen_photo.ravel().astype(np.int32),
        )
    )
    return made


def short(**options: object) -> Train:
    return Train(**({"workspace": Path(), "preset": "quick", "iterations": 60, "long_side": 64, "cap": 1500} | options))


class StopAt(Quiet):
    """Cancels after so many steps, as a person would."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.left -= steps
        if self.left <= 0:
            raise Cancelled


@pytest.mark.parametrize(
    "options",
    [{"density": "adaptive"}, {"density": "capped"}, {"density": "adaptive", "appearance": "mlp"}],
    ids=lambda options: "-".join(options.values()),
)
def test_resumed_equals_uninterrupted(options: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECS", -1.0)  # a checkpoint after every step
    whole, parts = workspace(tmp_path / "whole"), workspace(tmp_path / "parts")
    train.run(short(workspace=whole.root, **options), Quiet())
    for stop in (13, 20):
        with pytest.raises(Cancelled):
            train.run(short(workspace=parts.root, **options), StopAt(stop))
        assert parts.checkpoint.exists()
        assert not parts.splats.exists()
    train.run(short(workspace=parts.root, **options), Quiet())
    for name in ("splats/base.safetensors", "appearance.safetensors"):
        first, second = read_arrays(whole.root / name)[0], read_arrays(parts.root / name)[0]
        assert set(first) == set(second)
        for key, array in first.items():
            assert np.array_equal(array, second[key]), key
    assert not parts.checkpoint.exists()


@pytest.mark.parametrize("appearance", ["linear", "mlp"])
def test_training_explains_the_photos_and_their_exposures(appearance: str, tmp_path: Path) -> None:
    made = workspace(tmp_path / "w")
    views = Views(made, made.used_photos(), 64)
    first = Training(made, configured(short(iterations=400, appearance=appearance)), views, Quiet())
    start = first._one_step()
    result = train.run(short(workspace=made.root, iterations=400, appearance=appearance), Quiet())
    assert result["loss"] < 0.75 * start
    assert np.isfinite(made.gaussians().means).all()
    looks = Appearance.load(made)
    assert looks is not None
    assert all(bool(value.any()) for value in looks.rows.values())  # rows have learned answers of their own
    assert all(len(value) == len(made.gaussians()) for value in looks.rows.values())
    plain = workspace(tmp_path / "plain")
    without = train.run(short(workspace=plain.root, iterations=400, appearance="none"), Quiet())
    assert result["loss"] < without["loss"]


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    made = workspace(tmp_path / "w")
    first = train.run(short(workspace=made.root, iterations=20), Quiet())
    stamp = made.splats.stat().st_mtime_ns
    assert train.run(short(workspace=made.root, iterations=20), Quiet()) == first
    assert made.splats.stat().st_mtime_ns == stamp
    train.run(short(workspace=made.root, iterations=21), Quiet())
    assert made.splats.stat().st_mtime_ns != stamp


def test_a_training_of_before_an_option_is_not_repeated(tmp_path: Path) -> None:
    made = workspace(tmp_path / "w")
    first = train.run(short(workspace=made.root, iterations=20), Quiet())
    scene = made.scene()
    settings = scene["made"]["train"]["settings"]
    del settings["shared_end"], settings["regularisers"]["opacity"]
    made.update_scene(made=scene["made"])
    stamp = made.splats.stat().st_mtime_ns
    assert train.run(short(workspace=made.root, iterations=20), Quiet()) == first
    assert made.splats.stat().st_mtime_ns == stamp
    train.run(short(workspace=made.root, iterations=20, density="capped"), Quiet())
    assert made.splats.stat().st_mtime_ns != stamp


def test_a_training_of_before_there_were_kinds_of_appearance_is_not_repeated(tmp_path: Path) -> None:
    made = workspace(tmp_path / "w")
    first = train.run(short(workspace=made.root, iterations=20), Quiet())
    scene = made.scene()
    settings = scene["made"]["train"]["settings"]
    settings["rank"] = settings.pop("appearance")["rank"]
    made.update_scene(made=scene["made"])
    stamp = made.splats.stat().st_mtime_ns
    assert train.run(short(workspace=made.root, iterations=20), Quiet()) == first
    assert made.splats.stat().st_mtime_ns == stamp
    settings["rank"] = 8
    made.update_scene(made=scene["made"])
    train.run(short(workspace=made.root, iterations=20), Quiet())
    assert made.splats.stat().st_mtime_ns != stamp


class Killed(BaseException):
    """Nothing in the backend handles it."""


def test_a_kill_while_a_retraining_finishes_mixes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, made = workspace(tmp_path / "whole"), workspace(tmp_path / "w")
    train.run(short(workspace=whole.root, iterations=30), Quiet())
    train.run(short(workspace=made.root, iterations=20, cap=450), Quiet())
    made.record("evaluate", result={"psnr": 20.0})
    before = {path: path.read_bytes() for path in (made.splats, made.appearance, made.root / "scene.json")}
    finish = {"write_picture": outcome.write_picture, "take_name": outcome.take_name}

    def killed(name: str, call: int) -> None:
        """At that call of what writes a mask, or gives a file its name."""
        left = iter(range(call))

        def counted(*arguments: Any) -> None:
            if next(left, None) is None:
                raise Killed
            finish[name](*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(outcome, name, counted)
            with pytest.raises(Killed):
                train.run(short(workspace=made.root, iterations=30), Quiet())

    killed("write_picture", 2)
    assert all(path.read_bytes() == content for path, content in before.items())
    monkeypatch.delattr(Training, "_one_step")  # all steps were done
    for call in (1, *range(7)):  # the old Gaussians go first; then looks, five masks, Gaussians
        killed("take_name", call)
        assert not made.splats.exists()
        assert made.made("train") is None
        assert made.made("evaluate") is None
    write_picture(made.root / ".trained" / "transients" / "p9.png", np.zeros((4, 4), np.uint8))  # nobody cleaned up
    progress = Quiet()
    train.run(short(workspace=made.root, iterations=30), progress)
    assert not progress.warnings
    assert not (made.root / "transients" / "p9.png").exists()
    for name in ("splats/base.safetensors", "appearance.safetensors"):
        first, second = read_arrays(whole.root / name)[0], read_arrays(made.root / name)[0]
        assert all(np.array_equal(array, second[key]) for key, array in first.items())
    assert not made.checkpoint.exists()
    assert not (made.root / ".trained").exists()


def test_another_training_takes_back_masks_and_scores_of_the_one_before(tmp_path: Path) -> None:
    made = workspace(tmp_path / "w")
    train.run(short(workspace=made.root, iterations=12), Quiet())
    made.record("evaluate", result={"psnr": 20.0})
    folder = made.root / "transients"
    write_picture(folder / "of another split.png", np.full((48, 64), 255, np.uint8))
    assert train.run(short(workspace=made.root, iterations=12), Quiet())
    assert made.made("evaluate") is not None  # nothing was trained
    train.run(short(workspace=made.root, iterations=13), Quiet())
    assert sorted(path.stem for path in folder.iterdir()) == ["p0", "p1", "p2", "p3", "p4"]
    assert made.made("evaluate") is None
    train.run(short(workspace=made.root, iterations=13, transients=False), Quiet())
    assert [path.stem for path in folder.iterdir()] == ["p3"]  # whose plain margin looks like a frame
    assert not (made.root / ".trained").exists()


def test_photos_that_are_mostly_ignored_are_named(tmp_path: Path) -> None:
    made, progress = workspace(tmp_path / "w"), Quiet()
    training = Training(made, configured(short()), Views(made, made.used_photos(), 64), progress)
    for name, share in (("p1", 0.5), ("p3", 0.75)):
        training.transients.memory[name] = np.repeat(np.arange(16) < 16 * share, 12).reshape(16, 12).T.astype("f4")
    dict(training._masks())
    (warning,) = progress.warnings
    assert (warning.code, warning.items) == ("mostly-transient", ("p3",))
    assert "more than 60% of the pixels" in warning.sentence
    assert [training._trust(name) for name in ("p0", "p1", "p3")] == [1, 1, 0.25]  # of what little is left


def test_opacities_are_reset_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, resets = workspace(tmp_path / "w"), []
    reset = density.reset_opacities
    config = configured(short())
    config = replace(config, density=replace(config.density, reset_at=0.45))
    training = Training(made, config, Views(made, made.used_photos(), 64), Quiet())

    def noted(*given: Any) -> None:
        resets.append(training.step + 1)
        reset(*given)

    monkeypatch.setattr(density, "reset_opacities", noted)
    training.run()
    assert resets == [30]  # the first event from 45 % of 60 steps on


def test_a_damaged_or_foreign_checkpoint_is_a_warning(tmp_path: Path) -> None:
    made = workspace(tmp_path / "w")
    made.checkpoint.parent.mkdir(parents=True)
    made.checkpoint.write_bytes(b"not a checkpoint")
    progress = Quiet()
    train.run(short(workspace=made.root, iterations=12), progress)
    assert [warning.code for warning in progress.warnings] == ["checkpoint-damaged"]


def test_divergence_stops_with_a_sentence_and_keeps_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = workspace(tmp_path / "w")
    train.run(short(workspace=made.root, iterations=12), Quiet())
    kept = made.splats.read_bytes()
    monkeypatch.setattr(loop, "photometric", lambda image, *_: (image * np.nan).mean())
    with pytest.raises(SegWildError) as caught:
        train.run(short(workspace=made.root, iterations=30), Quiet())
    assert caught.value.code == "diverged"
    assert made.splats.read_bytes() == kept


class Naming(Quiet):
    """Makes an object after so many steps, as a person at a view might."""

    def __init__(self, made: Workspace, step: int) -> None:
        super().__init__()
        self.made, self.left = made, step

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.left -= steps
        if self.left == 0:
            objects.save(self.made, "bowl", np.arange(5), np.ones(len(self.made.gaussians())))


def test_objects_made_meanwhile_keep_their_gaussians_and_the_training_waits(tmp_path: Path) -> None:
    made, other = workspace(tmp_path / "w"), workspace(tmp_path / "other")
    train.run(short(workspace=made.root, iterations=12), Quiet())
    shown = ("splats/base.safetensors", "appearance.safetensors", "photos.json")
    kept = [(made.root / name).read_bytes() for name in shown]
    for progress in (Naming(made, 20), Quiet()):  # the second is refused at once
        with pytest.raises(InputError, match="objects") as caught:
            train.run(short(workspace=made.root, iterations=30, restart=True), progress)
        assert caught.value.code == "objects-exist"
        assert [(made.root / name).read_bytes() for name in shown] == kept
    assert list(objects.names(made).values()) == ["bowl"]
    objects.delete(made, "bowl")
    progress = StopAt(31)  # one more step than were done
    train.run(short(workspace=made.root, iterations=30), progress)
    train.run(short(workspace=other.root, iterations=30), Quiet())
    assert progress.left == 1
    assert not made.checkpoint.exists()
    for name in shown[:2]:
        first, second = read_arrays(made.root / name)[0], read_arrays(other.root / name)[0]
        assert all(np.array_equal(array, second[key]) for key, array in first.items()), name


def test_a_masked_stripe_is_not_learned(tmp_path: Path) -> None:
    """A red stripe in one place of every photo, masked by the person, leaves no red in the scene."""
    reds = []
    for masked in (False, True):
        made = workspace(tmp_path / str(masked))
        masks = tmp_path / "masks"
        for photo in made.used_photos():
            pixels = read_picture(made.picture_file(photo.name))
            pixels[18:30] = (255, 0, 0)
            write_picture(made.picture_file(photo.name), pixels)
            keep = np.full((48, 64), 255, np.uint8)
            keep[18:30] = 0
            write_picture(masks / f"{photo.name}.png", keep)
        train.run(short(workspace=made.root, masks=masks if masked else None, transients=False), Quiet())
        scene = made.gaussians()
        color = 0.28209479 * scene.sh0[:, 0] + 0.5
        reds.append(float(((color[:, 0] - color[:, 1]) * scene.opacities).mean()))
    left_out = read_picture(made.root / "transients" / "p0.png")[..., 0]  # lifting and reports leave it out, too
    assert (left_out[18:30] == 255).all()
    assert not left_out[:18].any()
    assert reds[1] < 0.4 * reds[0]


def test_other_masks_make_another_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "CHECKPOINT_SECS", -1.0)
    made, masks = workspace(tmp_path / "w"), tmp_path / "masks"

    def trained(progress: Quiet) -> bool:
        """Whether anything was done."""
        before = made.splats.stat().st_mtime_ns if made.splats.exists() else None
        train.run(short(workspace=made.root, iterations=12, masks=masks), progress)
        return made.splats.stat().st_mtime_ns != before

    def masked(name: str, columns: int) -> None:
        write_picture(masks / f"{name}.png", np.tile(np.where(np.arange(64) < columns, 0, 255).astype("u1"), (48, 1)))

    with pytest.raises(Cancelled):
        train.run(short(workspace=made.root, iterations=12), StopAt(6))
    masked("p1", 20)
    progress = Quiet()
    assert trained(progress)
    assert [warning.code for warning in progress.warnings] == ["checkpoint-of-another-training"]
    masked("nobody", 20)
    assert not trained(Quiet())
    scene = made.scene()
    del scene["made"]["train"]["settings"]["mask_files"]  # of before files were looked at
    made.update_scene(made=scene["made"])
    assert not trained(Quiet())
    train.run(short(workspace=made.root, iterations=12, masks=masks, restart=True), Quiet())
    masked("p1", 28)
    assert trained(Quiet())
    masked("p2", 28)
    assert trained(Quiet())
    (masks / "p1.png").unlink()
    with pytest.raises(Cancelled):
        train.run(short(workspace=made.root, iterations=12, masks=masks), StopAt(6))
    progress = Quiet()
    assert trained(progress)
    assert not progress.warnings  # it went on


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_running_out_of_memory_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    made = workspace(tmp_path / "w")

    def full(**_: object) -> None:
        raise error

    monkeypatch.setattr(loop, "rasterize", full)
    with pytest.raises(ResourceError, match="Memory ran out"):
        train.run(short(workspace=made.root), Quiet())


def test_masks_of_no_photo_are_noticed(tmp_path: Path) -> None:
    made, progress = workspace(tmp_path / "w"), Quiet()
    write_picture(tmp_path / "masks" / "another.png", np.full((48, 64), 255, np.uint8))
    train.run(short(workspace=made.root, iterations=12, masks=tmp_path / "masks"), progress)
    assert [warning.code for warning in progress.warnings] == ["no-masks"]
