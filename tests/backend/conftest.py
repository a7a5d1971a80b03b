"""A small scene with known objects, as a workspace: two coloured blobs on a level ground.

`blobs` is trained, `photographed` has photos and points to train on: a second or two for a hundred steps.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.capture.pictures import write_picture
from backend.features.people import checkpoint as people_checkpoint
from backend.features.people.network import CLASSES
from backend.features.sam import checkpoint
from backend.features.sam.checkpoint import Layout
from backend.render import Seen
from backend.render.harmonics import C0
from backend.scene import Camera, Gaussians, Photo, Workspace
from backend.scene.cameras import looking_at
from backend.scene.gaussians import concatenate
from backend.scene.lenses import Lens
from backend.scene.workspace import SparsePoints

RED, BLUE, GROUND = 1, 2, 0
CENTRES = {RED: (-0.45, 0.0, 0.28), BLUE: (0.45, 0.1, 0.28)}
RADIUS = 0.27
SAM_WIDTH = 48  # of the small network's embedding
SMALL_SAM = Layout("small", depth=2, heads=2, global_blocks=(1,), side_px=128)


@dataclass(frozen=True, eq=False)
class Blobs:
    """The scene and what each row is."""

    workspace: Workspace
    scene: Gaussians
    labels: np.ndarray  # (N,) int: 0 ground, `red`, `blue`
    red: int = RED
    blue: int = BLUE

    @property
    def cameras(self) -> list[Camera]:
        return [photo.camera for photo in self.workspace.used_photos() if photo.camera is not None]

    def mask(self, label: int, name: str = "a0") -> np.ndarray:
        """(H, W) bool on the photo as taken: where the blob is what one sees."""
        camera = self.photo(name).camera
        assert camera is not None
        share = Seen(self.scene, camera).render_channels((self.labels == label).astype(np.float32)[:, None])[..., 0]
        return np.kron(share > 0.5, np.ones((2, 2), bool))

    def photo(self, name: str = "a0") -> Photo:
        return self.workspace.photo(name)

    def pixel(self, label: int, name: str = "a0") -> tuple[float, float]:
        """Where a blob's middle is in a photo as taken."""
        camera = self.photo(name).camera
        assert camera is not None
        pixels, _ = camera.project(np.array([CENTRES[label]]))
        return 2 * float(pixels[0, 0]), 2 * float(pixels[0, 1])

    def iou(self, rows: np.ndarray, label: int) -> float:
        chosen = np.zeros(len(self.labels), bool)
        chosen[rows] = True
        truth = self.labels == label
        return float((chosen & truth).sum() / (chosen | truth).sum())


def blob_scene() -> tuple[Gaussians, np.ndarray]:
    random = np.random.default_rng(3)
    parts, colors, labels = [], [], []
    for label, color in ((RED, (0.8, 0.15, 0.1)), (BLUE, (0.1, 0.2, 0.8))):
        directions = random.normal(size=(450, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        parts.append(CENTRES[label] + RADIUS * directions)
        colors.append(np.tile(color, (450, 1)))
        labels.append(np.full(450, label))
    x, y = np.meshgrid(np.linspace(-1.6, 1.6, 40), np.linspace(-1.6, 1.6, 40))
    parts.append(np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], 1))
    colors.append(np.tile((0.5, 0.5, 0.45), (x.size, 1)))
    labels.append(np.full(x.size, GROUND))
    means, rgb, owner = np.concatenate(parts), np.concatenate(colors), np.concatenate(labels)
    rgb = rgb + random.normal(0, 0.03, rgb.shape)
    means = means + random.normal(0, 0.004, means.shape)
    count = len(means)
    quats = np.zeros((count, 4), np.float32)
    quats[:, 0] = 1
    sizes = np.where(owner == GROUND, 0.04, 0.022)
    flat = np.where(owner == GROUND, 0.004, 0.022)
    scene = Gaussians(
        means.astype(np.float32),
        quats,
        np.log(np.stack([sizes, sizes, flat], 1)).astype(np.float32),
        np.full(count, 3.0, np.float32),
        ((rgb - 0.5) / C0)[:, None].astype(np.float32),
        np.zeros((count, 0, 3), np.float32),
    )
    return scene, owner


def ring_of_cameras(count: int = 6) -> list[Camera]:
    angles = np.arange(count) * 2 * np.pi / count - np.pi / 2
    return [
        looking_at(
            np.array([2.4 * np.cos(angle), 2.4 * np.sin(angle), 1.1]),
            np.array([0, 0, 0.2]),
            np.array([0.0, 0, 1]),
            focal=190,
            width=200,
            height=150,
        )
        for angle in angles
    ]


@pytest.fixture(scope="session")
def _blobs_master() -> tuple[Gaussians, np.ndarray]:
    return blob_scene()


@pytest.fixture
def blobs(tmp_path: Path, _blobs_master: tuple[Gaussians, np.ndarray]) -> Blobs:
    scene, labels = _blobs_master
    workspace = Workspace.create(tmp_path / "blobs")
    scene.save(workspace.splats)
    workspace.write_photos(
        [
            Photo(f"a{number}", f"a{number}.jpg", camera.width * 2, camera.height * 2, camera=camera)
            for number, camera in enumerate(ring_of_cameras())
        ]
    )
    return Blobs(workspace, scene, labels)


def cropping(photo: Photo, share: float = 0.8) -> Lens:
    """A lens whose picture shows the photo's middle, so much of each side."""
    camera = photo.camera
    assert camera is not None
    y, x = np.meshgrid(np.linspace(0, 1, 33), np.linspace(0, 1, 33), indexing="ij")
    rim = (1 - share) / 2
    towards = np.stack([(x - rim) / share * camera.width, (y - rim) / share * camera.height], -1)
    back = np.stack([(rim + share * x) * photo.width, (rim + share * y) * photo.height], -1)
    grids = (towards.astype(np.float32), back.astype(np.float32))
    return Lens(photo.width, photo.height, camera.width, camera.height, *grids)


@pytest.fixture
def walled(blobs: Blobs) -> Blobs:
    """The same with a wall behind the blobs, which hides them from `a2`, `a3` and `a4`."""
    x, z = (each.ravel() for each in np.meshgrid(np.linspace(-1.6, 1.6, 60), np.linspace(0, 1.6, 30)))
    wall = blobs.scene.take(np.resize(np.flatnonzero(blobs.labels == GROUND), x.size))
    flat = np.log(np.tile([0.05, 0.004, 0.05], (x.size, 1))).astype(np.float32)
    means = np.stack([x, np.full(x.size, 0.45), z], 1).astype(np.float32)
    scene = concatenate([blobs.scene, replace(wall, means=means, log_scales=flat)])
    scene.save(blobs.workspace.splats)
    return Blobs(blobs.workspace, scene, np.append(blobs.labels, np.full(x.size, GROUND)))


@pytest.fixture
def photographed(tmp_path: Path, _blobs_master: tuple[Gaussians, np.ndarray]) -> Workspace:
    """Six photos of the blobs, painted point by point, with their cameras and points."""
    scene, _ = _blobs_master
    colors = (255 * np.clip(0.5 + C0 * scene.sh0[:, 0], 0, 1)).astype(np.uint8)
    workspace = Workspace.create(tmp_path / "photographed", extent=1.6)
    rows = []
    for number, camera in enumerate(ring_of_cameras()):
        camera = camera.fitted(64)
        pixels, depths = camera.project(scene.means.astype(float))
        picture = np.full((camera.height, camera.width, 3), 90, np.uint8)
        for place in np.argsort(-depths):
            x, y = pixels[place].astype(int)
            picture[max(y, 0) : max(y + 2, 0), max(x, 0) : max(x + 2, 0)] = colors[place]
        write_picture(workspace.picture_file(f"p{number}"), picture)
        rows.append(Photo(f"p{number}", f"p{number}.jpg", camera.width, camera.height, camera=camera))
    workspace.write_photos(rows)
    count = len(scene)
    photo, point = np.meshgrid(np.arange(len(rows)), np.arange(count), indexing="ij")
    workspace.write_points(
        SparsePoints(
            scene.means,
            colors,
            np.full(count, 0.5, np.float32),
            np.full(count, len(rows), np.int32),
            point.ravel().astype(np.int32),
            photo.ravel().astype(np.int32),
        )
    )
    return workspace


@pytest.fixture
def hollow_splats(tmp_path: Path) -> Path:
    """A splat file of sixty million rows and 3.4 GB, all of it a hole: it takes no room on the disk."""
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2"]
    columns = "".join(f"property float {name}\n" for name in [*names, "rot_0", "rot_1", "rot_2", "rot_3"])
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex 60000000\n{columns}end_header\n".encode()
    file = tmp_path / "hollow.ply"
    with file.open("wb") as made:
        made.write(header)
        made.truncate(len(header) + 60_000_000 * 56)
    return file


@pytest.fixture(scope="session")
def _small_sam_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(7)
    model = checkpoint.build(SAM_WIDTH, SMALL_SAM)
    random = torch.Generator().manual_seed(3)
    # Weights that start at zero are drawn too, so that answers depend on every one.
    tensors = {
        name: value if value.any() else 0.02 * torch.randn(value.shape, generator=random)
        for name, value in model.state_dict().items()
    }
    path = tmp_path_factory.mktemp("sam") / "sam_small.pth"
    torch.save(tensors, path)
    return path


@pytest.fixture
def small_sam(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkpoint of 19 MB of a small network of segment-anything's own classes, random weights, made known."""
    if importlib.util.find_spec("segment_anything") is None:
        pytest.skip("segment-anything is not installed: pip install 'segwild[sam]'")
    monkeypatch.setitem(checkpoint.LAYOUTS, SAM_WIDTH, SMALL_SAM)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small, it is faster alone, above all beside other programs
    yield request.getfixturevalue("_small_sam_file")
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def red_is_a_person(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of torchvision's LR-ASPP, 13 MB, whose weights are set by hand: what is red is a person."""
    model = people_checkpoint.build("lraspp_mobilenet_v3_large")
    state = {name: torch.zeros_like(value, device="cpu") for name, value in model.state_dict().items()}
    for name, value in state.items():
        if name.endswith(("running_var", ".1.weight")):  # each normalisation's, which then changes next to nothing
            value.fill_(1)
    # One channel carries R - (G + B) / 2 + 4 through the layers before the classifier; at 3 and above, activations
    # leave it as it is. Inputs are normalised, hence the deviations. Blocks 1 and 3 are left out by their shortcuts.
    red, green, blue = 0.229, -0.224 / 2, -0.225 / 2
    state["backbone.0.0.weight"][0, :, 1, 1] = torch.tensor([red, green, blue])
    state["backbone.0.1.bias"][0] = 4 + 0.485 - (0.456 + 0.406) / 2  # the means
    for block, expand, depthwise, project in ((2, 0, 1, 2), (4, 0, 1, 3)):
        prefix = f"backbone.{block}.block"
        state[f"{prefix}.{expand}.0.weight"][0, 0] = 1
        middle = state[f"{prefix}.{depthwise}.0.weight"].shape[2] // 2
        state[f"{prefix}.{depthwise}.0.weight"][0, 0, middle, middle] = 1
        state[f"{prefix}.{project}.0.weight"][0, 0] = 1
    state["backbone.4.block.2.fc2.bias"].fill_(3)  # the gate of block 4 is open
    for block in (1, 3):
        last = max(int(name.split(".")[3]) for name in state if name.startswith(f"backbone.{block}.block."))
        state[f"backbone.{block}.block.{last}.1.weight"].zero_()
    weight, bias = state["classifier.low_classifier.weight"], state["classifier.low_classifier.bias"]
    bias.fill_(-30)
    bias[CLASSES.index("background")] = 0
    person = CLASSES.index("person")
    weight[person, 0], bias[person] = 40, -40 * 4.35  # redder than 0.35
    path = tmp_path_factory.mktemp("people") / "red.pth"
    torch.save(state, path)
    return path
