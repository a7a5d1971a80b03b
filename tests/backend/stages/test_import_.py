"""Importing a splat: what appears in the workspace, and what is never overwritten."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import write_picture
from backend.formats import reader_of, writer_of
from backend.formats.ply import write_ply
from backend.progress import Quiet
from backend.scene import Camera, Gaussians, Workspace
from backend.scene.cameras import looking_at
from backend.scene.gaussians import FIELDS
from backend.scene.placement import transformed
from backend.scene.transforms import quats_from_matrices
from backend.stages import export, import_
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Export, Import


def some_gaussians(count: int = 5) -> Gaussians:
    rng = np.random.default_rng(1)
    shapes = {"means": (count, 3), "quats": (count, 4), "log_scales": (count, 3), "opacity_logits": (count,)}
    shapes |= {"sh0": (count, 1, 3), "shN": (count, 8, 3)}
    return Gaussians(**{name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


def same_rows(found: Gaussians, expected: Gaussians) -> bool:
    return all(np.array_equal(getattr(found, name), getattr(expected, name)) for name in FIELDS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_ply(tmp_path / "scene.ply", some_gaussians())
    return tmp_path / "scene.ply"


def test_a_splat_becomes_a_workspace(tmp_path: Path, file: Path) -> None:
    summary = import_.run(Import(file, tmp_path / "w"), Quiet())
    workspace = Workspace.open(tmp_path / "w")
    assert same_rows(workspace.gaussians(), some_gaussians())
    assert summary == {"file": str(file), "gaussians": 5, "sh_degree": 2, "cameras": None}
    made = workspace.made("import")
    assert made is not None
    assert made.items() >= summary.items()


@pytest.mark.parametrize(("suffix", "degree"), [(".splat", 0), (".spz", 2)])
def test_other_formats_become_a_workspace_and_come_back(tmp_path: Path, suffix: str, degree: int) -> None:
    file = tmp_path / f"scene{suffix}"
    writer_of(file)(file, some_gaussians())
    assert import_.run(Import(file, tmp_path / "w"), Quiet())["sh_degree"] == degree
    workspace = Workspace.open(tmp_path / "w")
    np.testing.assert_allclose(workspace.gaussians().means, some_gaussians().means, atol=1e-4)
    summary = export.run(Export(tmp_path / "w", tmp_path / f"back{suffix}"), Quiet())
    assert summary["gaussians"] == 5
    again = reader_of(file)(tmp_path / f"back{suffix}")
    assert np.abs(again.means - workspace.gaussians().means).max() < 1e-4
    assert np.abs(again.opacities - workspace.gaussians().opacities).max() < 0.01


def test_gaussians_of_a_workspace_are_never_replaced(tmp_path: Path, file: Path) -> None:
    import_.run(Import(file, tmp_path / "w"), Quiet())
    before = (tmp_path / "w" / "splats" / "base.safetensors").read_bytes()
    write_ply(file, some_gaussians(9))
    with pytest.raises(InputError, match="already has Gaussians"):
        import_.run(Import(file, tmp_path / "w"), Quiet())
    assert (tmp_path / "w" / "splats" / "base.safetensors").read_bytes() == before


def test_an_unfinished_training_is_kept(tmp_path: Path, file: Path) -> None:
    workspace = Workspace.create(tmp_path / "w")
    some_gaussians().save(workspace.checkpoint)
    with pytest.raises(InputError, match="unfinished training"):
        import_.run(Import(file, tmp_path / "w"), Quiet())
    assert not workspace.splats.exists()


def test_a_bad_file_leaves_no_workspace(tmp_path: Path, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(InputError, match="ends before"):
        import_.run(Import(file, tmp_path / "w"), Quiet())
    with pytest.raises(InputError, match="cannot be read"):
        import_.run(Import(file.with_suffix(".obj"), tmp_path / "w"), Quiet())
    assert not (tmp_path / "w").exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, file: Path) -> None:
    with pytest.raises(InputError, match="not a SegWild workspace"):
        import_.run(Import(file, tmp_path), Quiet())
    assert [entry.name for entry in tmp_path.iterdir()] == ["scene.ply"]


def test_dropped_rows_are_told(tmp_path: Path, file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-4:] = np.array([np.nan], "<f4").tobytes()
    file.write_bytes(content)
    progress = Quiet()
    assert import_.run(Import(file, tmp_path / "w"), progress)["gaussians"] == 4
    assert [warning.code for warning in progress.warnings] == ["rows-left-out"]


def colmap_scene(folder: Path, cameras: list[Camera], points: np.ndarray) -> Path:
    """A COLMAP scene as text: these cameras, each seeing every point exactly, and blank photos."""
    first = cameras[0]
    lines = []
    for row, camera in enumerate(cameras, 1):
        write_picture(folder / "images" / f"{row}.jpg", np.full((camera.height, camera.width, 3), 99, np.uint8))
        quat = quats_from_matrices(camera.cam_from_world[None, :3, :3])[0]
        pose = " ".join(f"{number:.17g}" for number in (*quat, *camera.cam_from_world[:3, 3]))
        pixels = camera.project(points)[0]
        seen = " ".join(f"{x:.17g} {y:.17g} {point}" for point, (x, y) in enumerate(pixels, 1))
        lines += [f"{row} {pose} 1 {row}.jpg", seen]
    (folder / "sparse" / "0").mkdir(parents=True)
    size = f"{first.width} {first.height} {first.fx} {first.fy} {first.cx} {first.cy}"
    (folder / "sparse" / "0" / "cameras.txt").write_text(f"1 PINHOLE {size}\n")
    (folder / "sparse" / "0" / "images.txt").write_text("\n".join(lines) + "\n")
    tracks = [" ".join(f"{row} {k}" for row in range(1, len(cameras) + 1)) for k in range(len(points))]
    rows = [f"{k + 1} {x:.17g} {y:.17g} {z:.17g} 9 9 9 0.1 {tracks[k]}" for k, (x, y, z) in enumerate(points)]
    (folder / "sparse" / "0" / "points3D.txt").write_text("\n".join(rows) + "\n")
    return folder


def test_gaussians_follow_the_cameras_into_the_scene_frame(tmp_path: Path, file: Path) -> None:
    gaussians = some_gaussians()
    centres = [np.array([4 * np.sin(angle) + 7, -9 * np.cos(angle), 1 + angle]) for angle in (-0.4, 0, 0.3)]
    cameras = [
        looking_at(centre, np.zeros(3), np.array([0.1, 0, 1.0]), focal=80, width=64, height=48) for centre in centres
    ]
    scene = colmap_scene(tmp_path / "colmap", cameras, np.random.default_rng(0).normal(size=(30, 3)))
    import_.run(Import(file, tmp_path / "w", cameras=scene), Quiet())

    workspace = Workspace.open(tmp_path / "w")
    world = workspace.scene_from_capture()
    assert abs(world.scale - 1) > 0.01
    assert same_rows(workspace.gaussians(), transformed(gaussians, world))
    photos = workspace.photos()
    assert [(photo.name, photo.split) for photo in photos] == [("1", "train"), ("2", "train"), ("3", "train")]
    for photo, camera in zip(photos, cameras, strict=True):
        assert photo.camera is not None
        pixels = photo.camera.resized(64, 48).project(workspace.gaussians().means)[0]
        np.testing.assert_allclose(pixels, camera.project(gaussians.means)[0], atol=1e-3)

    write_ply(tmp_path / "back.ply", workspace.gaussians(), world_from_scene=world.inverse())
    import_.run(Import(tmp_path / "back.ply", tmp_path / "again"), Quiet())
    np.testing.assert_allclose(Workspace(tmp_path / "again").gaussians().means, gaussians.means, atol=1e-5)


def test_photos_without_a_model_are_not_searched_for_other_cameras(tmp_path: Path, file: Path) -> None:
    write_picture(tmp_path / "photos" / "a.jpg", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(InputError, match="no COLMAP model"):
        import_.run(Import(file, tmp_path / "w", cameras=tmp_path / "photos"), Quiet())
    assert not (tmp_path / "w").exists()
