"""One Blender with a window for all tests of this folder, emptied before each, and a workspace to show in it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .driver import Driver, command
from .hands import EYE
from .views import look_from, settled

SOURCE = Path(__file__).parents[2]

NEEDLES = np.arange(1, 3000, 3)[::25]  # rows of the red blob, of `spiky`
LONG = 0.45
WINDOW = ("--window-geometry", "0", "0", "960", "800")  # of full height: a lower one lies at the bottom


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = pytest.mark.skip(
        reason="SEGWILD_BLENDER is not set: a command that runs another one on a virtual screen with Blender"
    )
    for item in items:
        if Path(item.path).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.gui)
            if not command():
                item.add_marker(missing)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes pictures of the screen; those stay after the tests."""
    return tmp_path_factory.mktemp("gui")


@pytest.fixture(scope="session")
def running(folder: Path) -> Iterator[Driver]:
    yield from begun(folder)


def begun(
    folder: Path, environment: dict[str, str] | None = None, window: tuple[str, ...] = WINDOW
) -> Iterator[Driver]:
    """A Blender with its window and the extension, until it is let go of."""
    driver = Driver(folder)
    try:
        driver.start(*window, env=environment)
        archive = _archive(folder)
        driver.run(f"""
            bpy.ops.extensions.package_install_files(
                filepath={str(archive)!r}, repo='user_default', enable_on_install=True)
            assert hasattr(bpy.types.Object, 'segwild')
        """)
        yield driver
    finally:
        driver.close()


def _archive(folder: Path) -> Path:
    """The extension as a person installs it."""
    from backend.packaging import extension

    extension.stage(folder / "segwild")
    extension.check(folder / "segwild")
    extension.archive(folder / "segwild", folder / "segwild.zip")
    return folder / "segwild.zip"


@pytest.fixture
def blender(running: Driver) -> Driver:
    """Blender with nothing in its file, one large 3D view and nothing drawn in that but what a test adds."""
    running.run("bpy.ops.wm.read_homefile(app_template='')", view=False)
    running.run("""
        for ob in list(bpy.data.objects):
            bpy.data.objects.remove(ob)
        view = bpy.context.space_data
        view.overlay.show_overlays = view.show_gizmo = False
        view.show_region_header = view.show_region_tool_header = view.show_region_toolbar = view.show_region_ui = False
        view.shading.type = 'SOLID'
        view.shading.background_type = 'VIEWPORT'
        view.shading.background_color = (0, 0, 0)
        result = len(addon('viewport.stock').SHARED.layers)
    """)
    return running


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that no test changes: the trained sample that SEGWILD_SAMPLE names, or two blobs on the ground."""
    root = tmp_path_factory.mktemp("sample") / "scene.segwild"
    given = os.environ.get("SEGWILD_SAMPLE")
    if given:
        shutil.copytree(given, root)
    else:
        write_blobs(root)
    return root


def write_blobs(root: Path) -> None:
    from backend.render.harmonics import C0
    from backend.scene import Gaussians, Photo, Workspace
    from backend.scene.cameras import looking_at
    from backend.segment import objects

    random = np.random.default_rng(3)
    count = 3000
    directions = random.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    owner = np.arange(count) % 3  # 0: ground
    means = np.where(owner[:, None] == 1, (-0.45, 0, 0.28), (0.45, 0.1, 0.28)) + 0.27 * directions
    means[owner == 0] = np.c_[random.uniform(-1.6, 1.6, (count, 2)), np.zeros(count)][owner == 0]
    colors = np.array([(0.5, 0.5, 0.45), (0.8, 0.15, 0.1), (0.1, 0.2, 0.8)])[owner] + random.normal(0, 0.1, (count, 3))
    quats = random.normal(size=(count, 4)).astype(np.float32)
    quats[owner == 0] = (1, 0, 0, 0)
    scales = np.exp(random.normal(np.log(0.03), 0.5, (count, 3)))
    scales[owner == 0] = (0.08, 0.08, 0.004)
    scene = Gaussians(
        means.astype(np.float32),
        quats,
        np.log(scales).astype(np.float32),
        random.normal(1.5, 1.5, count).astype(np.float32),
        ((colors - 0.5) / C0)[:, None].astype(np.float32),
        random.normal(0, 0.08, (count, 15, 3)).astype(np.float32),
    )
    workspace = Workspace.create(root)
    scene.save(workspace.splats)
    photos = []
    for number, angle in enumerate(np.arange(6) * np.pi / 3):
        centre = np.array([2.4 * np.cos(angle), 2.4 * np.sin(angle), 1.1])
        camera = looking_at(centre, np.array([0, 0, 0.2]), np.array([0.0, 0, 1]), focal=400, width=480, height=320)
        photos.append(Photo(f"photo-{number}", f"photo-{number}.jpg", 480, 320, camera=camera))
    workspace.write_photos(photos)
    for name, label in (("red", 1), ("blue", 2)):
        rows = np.flatnonzero(owner == label)
        objects.save(workspace, name, rows, np.full(count, 0.9, np.float32))


@pytest.fixture
def workspace(sample: Path, tmp_path: Path) -> Path:
    """A copy that the test may change, without the objects it has."""
    if (sample / "splats" / "base.safetensors").stat().st_size > 1_000_000:
        pytest.skip("the places that are clicked are those of the two blobs, not of SEGWILD_SAMPLE")
    root = tmp_path / "scene.segwild"
    shutil.copytree(sample, root)
    shutil.rmtree(root / "segments")
    (root / "segments.json").unlink()
    return root


@pytest.fixture
def spiky(workspace: Path) -> Path:
    """The blobs with needles in the red one that reach far out of it."""
    from backend.scene import Gaussians, Workspace

    kept = Workspace.open(workspace)
    scene = kept.gaussians()
    log_scales, logits = scene.log_scales.copy(), scene.opacity_logits.copy()
    log_scales[NEEDLES] = np.log([LONG, 0.012, 0.012])
    logits[NEEDLES] = 3
    changed = replace(scene, log_scales=log_scales, opacity_logits=logits)
    assert isinstance(changed, Gaussians)
    changed.save(kept.splats)
    return workspace


@pytest.fixture
def imported(blender: Driver, workspace: Path) -> Driver:
    blender.run(f"""
        assert bpy.ops.segwild.import_workspace(directory={str(workspace)!r}) == {{'FINISHED'}}
        for ob in bpy.data.objects:
            ob.hide_set(ob.type == 'CAMERA')
    """)
    look_from(blender, EYE, (0, 0, 0.2))
    settled(blender)
    return blender


@pytest.fixture
def service(workspace: Path) -> Iterator[dict[str, Any]]:
    yield from serving(workspace)


def serving(workspace: Path) -> Iterator[dict[str, Any]]:
    """The real backend of the workspace, outside Blender."""
    environment = os.environ | {"PYTHONPATH": str(SOURCE), "SEGWILD_TOKEN": "word"}
    process = subprocess.Popen(
        [sys.executable, "-m", "backend", "serve", str(workspace)], stdout=subprocess.PIPE, env=environment, text=True
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline()) | {"process": process}
    finally:
        process.terminate()
        process.wait(30)
        process.stdout.close()
