"""The workspace folder: what is opened, what is refused, and what a reader finds damaged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from backend.scene import Camera, Gaussians, Photo, Similarity, Workspace, files
from backend.scene.files import write_arrays, write_json
from backend.scene.lenses import Lens
from backend.scene.workspace import FORMAT, SparsePoints
from segwild_addon.protocol.errors import InputError

CAMERA = Camera(np.eye(4), 100, 100, 40, 30, 80, 60)
PHOTOS = [
    Photo("fountain_1", "fountain_1.jpg", 82, 62, camera=CAMERA),
    Photo("fountain_2", "sub/fountain_2.png", 82, 62, split="test", camera=CAMERA),
    Photo("blurred", "blurred.jpg", 82, 62, excluded="no camera was found"),
]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = Workspace.create(tmp_path / "w", photo_folder="photos")
    workspace.write_photos(PHOTOS)
    return workspace


def refusal_of(code: str, action, *arguments) -> InputError:
    with pytest.raises(InputError) as refusal:
        action(*arguments)
    assert refusal.value.code == code, refusal.value
    return refusal.value


# Opening


def test_created_then_opened(tmp_path: Path) -> None:
    Workspace.create(tmp_path / "deep" / "w", photo_folder="a")
    workspace = Workspace.open(tmp_path / "deep" / "w")
    assert workspace.scene() == {"format": FORMAT, "made": {}, "photo_folder": "a"}


def test_creating_again_keeps_what_was_made(workspace: Workspace) -> None:
    workspace.record("train", steps=7)
    Workspace.create(workspace.root, photo_folder="other")
    assert workspace.made("train")["steps"] == 7  # type: ignore[index]
    assert workspace.scene()["photo_folder"] == "other"
    assert len(workspace.photos()) == 3


def test_a_folder_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"x")
    for action in (Workspace.create, Workspace.open):
        refusal = refusal_of("not-a-workspace", action, tmp_path)
        assert refusal.sentence.endswith(f"{tmp_path}.")
        assert refusal.hint
    assert [entry.name for entry in tmp_path.iterdir()] == ["holiday.jpg"]


def test_a_folder_of_hidden_files_counts_as_empty(tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").write_bytes(b"x")
    assert Workspace.create(tmp_path).exists()


def test_a_file_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "w").write_text("x")
    refusal_of("not-a-folder", Workspace.create, tmp_path / "w")
    refusal_of("not-a-workspace", Workspace.open, tmp_path / "w")
    refusal_of("not-a-workspace", Workspace.open, tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("version", [FORMAT + 1, 0, None, "1"])
def test_another_format_is_refused_and_left_alone(workspace: Workspace, version: object) -> None:
    path = workspace.root / "scene.json"
    write_json(path, workspace.scene() | {"format": version})
    before = path.read_bytes()
    for action in (Workspace.open, Workspace.create):
        refusal = refusal_of("workspace-format", action, workspace.root)
        assert repr(version) in refusal.sentence
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"format": 1, "made": 3}', '{"format": NaN}'])
def test_a_damaged_scene_description_is_named_and_left_alone(workspace: Workspace, content: str) -> None:
    path = workspace.root / "scene.json"
    path.write_text(content)
    for action in (Workspace.open, Workspace.create):
        assert str(path) in refusal_of("file-damaged", action, workspace.root).sentence
    assert path.read_text() == content


# What was made


def test_stages_are_recorded_and_forgotten(workspace: Workspace) -> None:
    assert workspace.made("train") is None
    workspace.record("capture", photos=3)
    workspace.record("train", steps=7)
    made = workspace.made("train")
    assert made is not None
    assert made["steps"] == 7
    assert made["at"].endswith("Z")
    workspace.forget("train", "never made")
    assert workspace.made("train") is None
    assert workspace.made("capture") is not None
    assert workspace.scene()["photo_folder"] == "photos"


def test_the_frame_of_the_scene(workspace: Workspace) -> None:
    assert workspace.scene_from_capture().scale == 1
    turn = Similarity(3.0, np.eye(3)[[1, 2, 0]], np.array([1.0, 2, 3]))
    workspace.update_scene(scene_from_capture=turn.to_json())
    assert np.array_equal(workspace.scene_from_capture().points(np.eye(3)), turn.points(np.eye(3)))


@pytest.mark.parametrize("value", [[1], {"scale": 1}, {"scale": "x", "rotation": [1], "translation": 2}])
def test_a_damaged_frame_is_named(workspace: Workspace, value: object) -> None:
    workspace.update_scene(scene_from_capture=value)
    assert "scene.json" in refusal_of("file-damaged", workspace.scene_from_capture).sentence


# Photos


def test_photos_come_back_in_order(workspace: Workspace) -> None:
    assert [photo.to_json() for photo in workspace.photos()] == [photo.to_json() for photo in PHOTOS]
    assert [photo.name for photo in workspace.used_photos()] == ["fountain_1", "fountain_2"]
    assert workspace.photo("fountain_2").split == "test"
    assert workspace.picture_file("fountain_2") == workspace.root / "photos" / "fountain_2.jpg"


def test_an_unknown_photo_gets_near_names(workspace: Workspace) -> None:
    refusal = refusal_of("unknown-photo", workspace.photo, "fountain1")
    assert "'fountain1'" in refusal.sentence
    assert "fountain_1" in refusal.hint
    assert "fountain_1, fountain_2, blurred" in refusal_of("unknown-photo", workspace.photo, "zzz").hint


def test_a_photo_that_was_left_out_says_why(workspace: Workspace) -> None:
    assert "no camera was found" in refusal_of("photo-left-out", workspace.photo, "blurred").sentence


def test_a_workspace_without_photos(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    assert "segwild capture" in refusal_of("no-photos-yet", workspace.photos).hint
    workspace.write_photos([])
    assert refusal_of("unknown-photo", workspace.photo, "a").hint == "There are no photos."


def row(**changes: object) -> dict[str, object]:
    return json.loads(json.dumps(PHOTOS[0].to_json())) | changes


@pytest.mark.parametrize(
    "content",
    [
        3,
        {},
        [3],
        [{}],
        [row(width="wide")],
        [row(camera=[])],
        [row(camera={"cam_from_world": [1], "fx": 1})],
        [row(camera=row()["camera"] | {"fx": None})],  # type: ignore[operator]
    ],
)
def test_a_damaged_photo_list_is_named(workspace: Workspace, content: object) -> None:
    write_json(workspace.root / "photos.json", content)
    refusal = refusal_of("file-damaged", workspace.photos)
    assert str(workspace.root / "photos.json") in refusal.sentence
    assert refusal.hint


def test_numbers_too_large_for_a_size(workspace: Workspace) -> None:
    path = workspace.root / "photos.json"
    path.write_text(path.read_text().replace('"width": 82', '"width": 1e999', 1))
    refusal_of("file-damaged", workspace.photos)


# Arrays beside them


def test_lenses_are_found_by_photo(workspace: Workspace) -> None:
    assert workspace.lens(PHOTOS[0]) is None
    grids = np.arange(48, dtype=np.float64).reshape(2, 4, 3, 2)
    workspace.write_lenses({"fountain_1": Lens(82, 62, 80, 60, grids[0], grids[1])})
    lens = workspace.lens(PHOTOS[0])
    assert lens is not None
    assert (lens.width, lens.height, lens.picture_width, lens.picture_height) == (82, 62, 80, 60)
    assert np.array_equal(lens.picture_from_photo, grids[0])
    assert np.array_equal(lens.photo_from_picture, grids[1])
    assert lens.photo_from_picture.dtype == np.float32
    assert workspace.lens(PHOTOS[1]) is None
    assert workspace.lens(PHOTOS[2]) is None


def test_a_lens_is_read_without_those_of_other_photos(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a thousand photos they are hundreds of megabytes, and every click asks."""
    grids = np.random.default_rng(0).random((2, 5, 7, 2)).astype(np.float32)
    workspace.write_lenses({name: Lens(82, 62, 80, 60, *grids) for name in ("fountain_1", "other", "another")})
    asked = []

    real = files.safe_open

    @contextmanager
    def recorded(path: Path, framework: str) -> Iterator[SimpleNamespace]:
        with real(path, framework=framework) as file:

            def get_tensor(name: str) -> np.ndarray:
                asked.append(name)
                return file.get_tensor(name)

            yield SimpleNamespace(keys=file.keys, metadata=file.metadata, get_tensor=get_tensor)

    monkeypatch.setattr(files, "safe_open", recorded)
    assert workspace.lens(PHOTOS[0]) is not None
    assert sorted(asked) == ["fountain_1/photo_from_picture", "fountain_1/picture_from_photo"]


def test_a_capture_without_any_lens(workspace: Workspace) -> None:
    workspace.write_lenses({})
    assert workspace.lens(PHOTOS[0]) is None


def test_points_come_back(workspace: Workspace) -> None:
    refusal_of("file-missing", workspace.points)
    points = SparsePoints(
        np.ones((3, 3), np.float32),
        np.full((3, 3), 7, np.uint8),
        np.zeros(3, np.float32),
        np.array([2, 2, 0], np.int32),
        np.array([0, 0, 1, 1], np.int32),
        np.array([0, 1, 0, 1], np.int32),
    )
    workspace.write_points(points)
    for name, array in vars(points).items():
        found = getattr(workspace.points(), name)
        assert found.dtype == array.dtype
        assert np.array_equal(found, array), name
    write_arrays(workspace.root / "cameras" / "points.safetensors", {"spam": np.zeros(2)})
    refusal_of("file-damaged", workspace.points)


def test_each_photo_has_the_points_that_it_sees() -> None:
    positions = np.arange(12, dtype=np.float32).reshape(4, 3)
    seen_point, seen_photo = np.array([3, 0, 2, 0, 1], np.int32), np.array([2, 0, 2, 2, 0], np.int32)
    none = np.zeros(4, np.float32)
    points = SparsePoints(positions, np.zeros((4, 3), np.uint8), none, none.astype(np.int32), seen_point, seen_photo)
    found = points.by_photo([Photo(name, f"{name}.jpg", 64, 48) for name in "abcd"])
    assert {name: own[:, 0].tolist() for name, own in found.items()} == {"a": [0, 3], "b": [], "c": [9, 6, 0], "d": []}


def test_points_spread_as_far_as_most_of_them_lie() -> None:
    def spread(*places: float) -> float:
        none = np.zeros(len(places), np.float32)
        positions = np.stack([none + 5, np.array(places, np.float32), none], 1).astype(np.float32)
        few = none.astype(np.int32)
        return SparsePoints(positions, np.zeros((len(places), 3), np.uint8), none, few, few[:0], few[:0]).spread()

    assert spread(*range(11), *range(0, -11, -1), 900.0) == pytest.approx(10, abs=1)
    assert spread() == np.inf


def test_gaussians_before_and_after_training(workspace: Workspace) -> None:
    refusal = refusal_of("no-splats-yet", workspace.gaussians)
    assert "segwild train" in refusal.hint
    shapes = [(2, 3), (2, 4), (2, 3), (2,), (2, 1, 3), (2, 0, 3)]
    Gaussians(*(np.ones(shape, np.float32) for shape in shapes)).save(workspace.splats)
    assert len(workspace.gaussians()) == 2
    workspace.splats.write_bytes(workspace.splats.read_bytes()[:-1])
    assert str(workspace.splats) in refusal_of("file-damaged", workspace.gaussians).sentence
