"""A Blender without a window, workspaces written by hand, and a fake backend: nothing here needs the real one."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segwild_addon.client import Launch

# Blender and the backend's libraries share a process neither in use nor here, where Blender crashed beside torch.
# `python -m tests.blender_matrix` runs what needs Blender in an environment of its own.
if importlib.util.find_spec("torch"):
    sys.modules["bpy"] = None  # type: ignore[assignment]


@pytest.fixture
def blender() -> Iterator[Any]:
    """`bpy` with an empty file and the add-on registered; afterwards nothing of it is left."""
    bpy = pytest.importorskip("bpy", reason="bpy is not installed; tests/README.md says how to run these tests")
    import segwild_addon

    bpy.ops.wm.read_factory_settings(use_empty=True)
    segwild_addon.register()
    yield bpy
    # A timer that is left would hang Blender 4.5 when the process ends.
    segwild_addon.unregister()
    assert not hasattr(bpy.types.Object, "segwild")


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> None:
    """float32 arrays in the safetensors format."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    start = 0
    for name, array in arrays.items():
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [start, start + array.nbytes]}
        start += array.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(head).to_bytes(8, "little") + head + b"".join(a.tobytes() for a in arrays.values()))


def random_splats(count: int, degree: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Arrays of splats/base.safetensors."""
    random = np.random.default_rng(seed)
    shapes = {
        "means": (count, 3),
        "quats": (count, 4),
        "log_scales": (count, 3),
        "opacity_logits": (count,),
        "sh0": (count, 1, 3),
        "shN": (count, (degree + 1) ** 2 - 1, 3),
    }
    return {name: random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def write_workspace(
    root: Path,
    *,
    count: int = 60,
    degree: int = 3,
    segments: Mapping[str, tuple[np.ndarray, float]] | None = None,  # name -> rows, probability of each
    parents: Mapping[str, int] | None = None,  # of those segments that have one: its number, from 1 on
    photos: int = 2,
    rank: int = 4,
    network: bool = False,  # looks through a network instead of products
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """A finished workspace; returns the arrays of its Gaussians."""
    arrays = random_splats(count, degree, seed)
    write_safetensors(root / "splats" / "base.safetensors", arrays, {"content": "gaussians"})
    stamp = hashlib.blake2b((root / "splats" / "base.safetensors").read_bytes(), digest_size=16).hexdigest()
    scene = {"format": 1, "made": {}, "scene_from_capture": None}
    (root / "scene.json").write_text(json.dumps(scene))

    names = [f"photo-{k}" for k in range(photos)]
    rows = []
    for k, name in enumerate(names):
        angle = 2 * math.pi * k / max(photos, 1)
        cam_from_world = np.eye(4)
        cam_from_world[:3, :3] = [
            [math.cos(angle), math.sin(angle), 0],
            [0, 0, -1],
            [-math.sin(angle), math.cos(angle), 0],
        ]
        cam_from_world[:3, 3] = [0.1, -0.2, 3]
        camera = {"cam_from_world": cam_from_world.tolist(), "fx": 300.0, "fy": 310.0, "cx": 158.0, "cy": 123.0}
        row = {"name": name, "file": f"{name}.jpg", "width": 320, "height": 240, "split": "train", "excluded": ""}
        rows.append(row | {"camera": camera | {"width": 320, "height": 240}})
    rows.append(rows[0] | {"name": "blurred", "camera": None, "excluded": "too blurred"} if rows else {})
    if photos:
        (root / "photos.json").write_text(json.dumps(rows))

    random = np.random.default_rng(1)
    shared = {"embeddings": (photos, rank), "gain": (rank, 3, 3), "offset": (rank, 3), "sky": (9, 3)}
    looks = {f"shared.{name}": random.standard_normal(shape) * 0.1 for name, shape in shared.items()}
    looks["shared.sky_response"] = np.zeros((rank, 9, 3))
    facts = {"photos": json.dumps(names)}
    if network:
        sizes = {"embed": rank, "feature": 3, "width": 8, "layers": 2, "degree": 1}
        layers = {"0": (rank + 3, 8), "0.bias": (8,), "1": (8, 8), "1.bias": (8,), "2": (8, 12)}
        looks |= {f"shared.mlp.{name}": random.standard_normal(shape) for name, shape in layers.items()}
        looks["feature"] = random.standard_normal((count, 3))
        facts["appearance"] = json.dumps({"kind": "mlp"} | sizes)
    else:
        looks["response"] = random.standard_normal((count, 3, rank)) * 0.1
    looks = {name: array.astype(np.float32) for name, array in looks.items()}
    write_safetensors(root / "appearance.safetensors", looks, facts)

    table = []
    for number, (name, (own, probability)) in enumerate((segments or {}).items(), start=1):
        parent = (parents or {}).get(name, 0)
        table.append({"id": number, "name": name, "parent": parent, "color": [0.2, 0.4, 0.6], "look": None})
        (root / "segments").mkdir(exist_ok=True)
        np.savez(
            root / "segments" / f"{number}.npz",
            rows=np.asarray(own, np.uint32),
            probability=np.full(len(own), probability, np.float32),
        )
    if table:
        document = {"format": 1, "splats": stamp, "next_id": len(table) + 1, "objects": table}
        (root / "segments.json").write_text(json.dumps(document))
    return arrays


@pytest.fixture(name="write_safetensors")
def safetensors_writer() -> Callable[..., None]:
    return write_safetensors


@pytest.fixture
def make_workspace(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, np.ndarray]]]:
    """Writes a workspace (see `write_workspace`) and gives its folder and Gaussians."""

    def make(name: str = "square", **options: Any) -> tuple[Path, dict[str, np.ndarray]]:
        root = tmp_path / f"{name}.segwild"
        return root, write_workspace(root, **options)

    return make


# The fake backend, in process and as a process.

FAKE = Path(__file__).parent / "client" / "fake_backend.py"


def _fake_module() -> Any:
    spec = importlib.util.spec_from_file_location("fake_backend", FAKE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake_backend"] = module
    spec.loader.exec_module(module)
    return module


FakeBackend = _fake_module().FakeBackend


def children() -> set[int]:
    """Processes that are ours, where the system tells."""
    found: set[int] = set()
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found |= {int(word) for word in task.read_text().split()}
    return found


def ours() -> set[str]:
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("segwild-")}


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """The first true value of `condition`; fails if none comes in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError("it did not happen in time")


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return until


@pytest.fixture
def pump_until() -> Callable[..., Any]:
    """`until` while the session of the add-on is pumped by hand, as its timer would. Calls `facts` if it fails."""
    from segwild_addon import session

    def pumped(condition: Callable[[], Any], *, facts: Callable[[], Any] = lambda: None, secs: float = 20.0) -> Any:
        end = time.monotonic() + secs
        while time.monotonic() < end:
            session.pump()
            if value := condition():
                return value
            time.sleep(0.01)
        raise AssertionError(f"it did not happen within {secs} s: {facts()}")

    return pumped


@pytest.fixture
def nothing_is_left() -> Iterator[None]:
    """No thread and no process of ours outlives the test."""
    before = children()
    threads = set(threading.enumerate())
    yield
    until(lambda: not {t for t in threading.enumerate() if t.name.startswith("segwild-")} - threads, 3.0)
    until(lambda: not children() - before, 3.0)


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[Any]:
    folder = tmp_path / "fake.segwild"
    folder.mkdir()
    with FakeBackend(folder) as server:
        yield server


@pytest.fixture
def make_fake() -> type:
    return FakeBackend


@pytest.fixture
def fake_launch(tmp_path: Path) -> Callable[..., Launch]:
    """`launch(fault)`: the fake as a process of its own."""

    def launch(fault: str = "", **changes: Any) -> Launch:
        workspace = tmp_path / "fake.segwild"
        workspace.mkdir(exist_ok=True)
        command = (sys.executable, "-I", str(FAKE))
        settings = {"environment": {"FAKE_FAULT": fault}, "handshake_secs": 20.0} | changes
        return Launch(command, workspace, tmp_path / "backend.log", **settings)

    return launch


@pytest.fixture
def alive() -> Callable[[int], bool]:
    def check(process: int) -> bool:
        try:
            os.kill(process, 0)
        except ProcessLookupError:
            return False
        state = Path(f"/proc/{process}/stat")
        return not (state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z")

    return check
