"""Importing a splat: what appears in the workspace, and what is never overwritten."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from backend.formats.ply import write_ply
from backend.progress import Quiet
from backend.scene import Gaussians, Similarity, Workspace
from backend.scene.gaussians import FIELDS
from backend.scene.placement import transformed
from backend.stages import import_
from segwild_addon.protocol.errors import InputError
from segwild_addon.protocol.requests import Capture, Import

SCENE_FROM_CAPTURE = Similarity(0.5, np.eye(3)[[2, 0, 1]], np.array([1.0, 0, -2]))


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


def test_gaussians_follow_the_cameras_into_the_scene_frame(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The capture is replaced by what it leaves in scene.json; it has its own tests."""
    requests = []

    def run(request: Capture, progress: Quiet) -> None:
        requests.append(request)
        Workspace.create(request.out, scene_from_capture=SCENE_FROM_CAPTURE.to_json())

    fake = types.ModuleType("backend.stages.capture")
    fake.run = run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "backend.stages.capture", fake)
    monkeypatch.setattr("backend.stages.capture", fake, raising=False)

    import_.run(Import(file, tmp_path / "w", cameras=tmp_path / "colmap"), Quiet())
    assert requests == [Capture(photos=tmp_path / "colmap", out=tmp_path / "w", hold_out=0)]
    workspace = Workspace.open(tmp_path / "w")
    assert same_rows(workspace.gaussians(), transformed(some_gaussians(), SCENE_FROM_CAPTURE))

    write_ply(tmp_path / "back.ply", workspace.gaussians(), world_from_scene=workspace.scene_from_capture().inverse())
    import_.run(Import(tmp_path / "back.ply", tmp_path / "again"), Quiet())
    np.testing.assert_allclose(Workspace(tmp_path / "again").gaussians().means, some_gaussians().means, atol=1e-5)
