"""A scene as one camera sees it, on the GPU: `Seen` with its sums done where gsplat is.

Arrays come and go as numpy, so that callers need not know which engine they have.
"""

from __future__ import annotations

import numpy as np
import torch

from backend.render import checked, cuda, cuda_sums
from backend.render.accumulate import Seen
from backend.render.shading import colors_of
from backend.scene.cameras import Camera
from backend.scene.gaussians import Gaussians


def seen_by(engine: str, scene: Gaussians, view: Camera) -> Seen:
    """A scene as a camera sees it, by the engine that `chosen_engine` chose."""
    return Seen(scene, view) if engine == "cpu" else SeenOnDevice(scene, view, engine)


class SeenOnDevice(Seen):
    """`Seen` on a device of torch; methods, shapes and padding as there."""

    def __init__(self, scene: Gaussians, view: Camera, device: str = "cuda") -> None:
        checked.view(view)
        self.count = len(scene)
        self.view = view
        self._scene, self._device = scene, device
        with torch.no_grad():
            self.projected = cuda.project(
                self._there(scene.means),
                self._there(scene.quats),
                self._there(scene.log_scales),
                self._there(scene.opacity_logits),
                view,
            )
            self.tiles = cuda.tiled(self.projected, view.width, view.height)
        self.rows = self.projected.rows.cpu().numpy()

    def _there(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def accumulate(
        self,
        signal: np.ndarray,
        weight: np.ndarray | None = None,
        *,
        labels: int | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        shape = (self.view.height, self.view.width)
        checked.signal(signal, weight, labels, self.view)
        weight = np.ones(shape, np.float32) if weight is None else np.asarray(weight, np.float32)
        kind = np.float32 if labels is None else np.int32
        with torch.no_grad():
            A, Z = cuda_sums.accumulate(
                self.tiles, self._there(np.asarray(signal, kind)), self._there(weight), labels=labels
            )
        return self._spread(A.cpu().numpy()), self._spread(Z.cpu().numpy())

    def colors(self, scene: Gaussians) -> np.ndarray:
        arrays = (torch.from_numpy(array) for array in (scene.means, scene.sh0, scene.shN))
        return self._spread(colors_of(torch.from_numpy(self.rows), *arrays, self.view.centre).numpy())

    def _composite(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image, alpha = cuda_sums.render(self.tiles, self._there(np.asarray(features[self.rows], np.float32)))
        return image.cpu().numpy(), alpha.cpu().numpy()

    def depth(self) -> np.ndarray:
        if cuda_sums.best_way(self._device) == "gsplat":
            return Seen(self._scene, self.view).depth()
        return cuda_sums.median_depth(self.tiles).cpu().numpy()

    def top_contributors(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        checked.top(k)
        if k > cuda_sums.TOP_MAX or cuda_sums.best_way(self._device) == "gsplat":
            return Seen(self._scene, self.view).top_contributors(k)
        ids, weights = cuda_sums.top_contributors(self.tiles, k)
        return ids.cpu().numpy().astype(np.int32), weights.cpu().numpy()
