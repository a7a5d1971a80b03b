"""A photo the training did not see into its look: the embedding with which the frozen scene resembles it most."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from backend.capture.borders import frame_mask
from backend.capture.pictures import read_picture, resized
from backend.render import seen_by
from backend.render.harmonics import colors_from_sh
from backend.scene import Camera, Gaussians, Photo, Workspace
from backend.train.appearance import Appearance
from backend.train.backdrop import sky_picture
from backend.train.similarity import Similarity

FIT_STEPS, FIT_RATE, SKY_RATE = 128, 0.1, 0.02
SKY_PULL = 3e-3  # more: what half a photo does not show of its sky stays closer to everybody's


class Fit:
    """Finds the embedding of a photo the training did not see; everything else is frozen.

    Geometry is frozen, so the blending weights are constant and one projection serves all steps: the
    gradient of the colours is `accumulate` of the gradient of the pixels.
    """

    def __init__(
        self, gaussians: Gaussians, appearance: Appearance, engine: str = "cpu", steps: int = FIT_STEPS
    ) -> None:
        self.gaussians, self.appearance, self.engine, self.steps = gaussians, appearance, engine, steps
        self.similarity = Similarity()

    def embedding(
        self,
        camera: Camera,
        photo: np.ndarray,  # (H, W, 3) uint8 at the camera's size
        columns: int,  # only the first so many columns are looked at
        step_done: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """(R + S,), a look (see `appearance`), by Adam steps from neutral. A frame around the photo does not count."""
        shared = self.appearance.shared
        rank = self.appearance.kind.numbers
        light, sky_numbers = (
            torch.zeros(count, requires_grad=True) for count in (rank, self.appearance.numbers - rank)
        )
        if not self.appearance.numbers:
            return light.detach()
        left = Camera(camera.cam_from_world, camera.fx, camera.fy, camera.cx, camera.cy, columns, camera.height)
        seen = seen_by(self.engine, self.gaussians, left)
        alpha = torch.from_numpy(seen.alpha())
        rows = torch.from_numpy(seen.rows)
        basis = _Colors(self.gaussians, self.appearance, rows, camera, self.engine)
        target = torch.from_numpy(photo[:, :columns].astype(np.float32) / 255)
        frame = frame_mask(photo)
        ignored = None if frame is None else torch.from_numpy(np.ascontiguousarray(frame[:, :columns]))
        optimiser = torch.optim.Adam([{"params": [light], "lr": FIT_RATE}, {"params": [sky_numbers], "lr": SKY_RATE}])
        for _ in range(self.steps):
            optimiser.zero_grad()
            embedding = torch.cat([light, sky_numbers])
            colors = basis.lit(embedding)
            full = np.zeros((len(self.gaussians), 3), np.float32)
            full[seen.rows] = colors.detach().cpu().numpy()
            splats = torch.from_numpy(seen.render_channels(full)).requires_grad_()
            # The sky is evaluated for the whole picture and cropped: same grid as the render that is scored.
            sky = sky_picture(camera, shared, embedding)[:, :columns]
            image = splats + (1 - alpha)[..., None] * sky
            if ignored is not None:
                image = torch.where(ignored[..., None], target, image)  # as in `losses.photometric`
            loss = 0.8 * (image - target).abs().mean() + 0.2 * (1 - self.similarity(image, target))
            if ignored is not None:
                loss = loss / (1 - ignored.float().mean()).clamp_min(1e-3)
            loss = loss + SKY_PULL * sky_numbers.square().sum()
            loss.backward()
            if colors.requires_grad:  # else the look has a sky of its own alone
                pulled, _ = seen.accumulate(splats.grad.numpy())
                colors.backward(torch.from_numpy(pulled[seen.rows]).to(colors.device))
            optimiser.step()
            step_done()
        return torch.cat([light, sky_numbers]).detach()


class _Colors:
    """Colours of some rows in the light of an embedding, as one camera sees them, on the device that draws."""

    def __init__(self, gaussians: Gaussians, appearance: Appearance, rows: Tensor, camera: Camera, device: str) -> None:
        centre = torch.as_tensor(camera.centre, dtype=torch.float32)
        self.device, self.kind = device, appearance.kind
        self.sh0, self.shN = (torch.from_numpy(array)[rows].to(device) for array in (gaussians.sh0, gaussians.shN))
        self.directions = (torch.from_numpy(gaussians.means)[rows] - centre).to(device)
        self.rows = {name: value[rows].to(device) for name, value in appearance.rows.items()}
        self.shared = {name: value.to(device) for name, value in appearance.shared.items()}

    def lit(self, embedding: Tensor) -> Tensor:
        """(S, 3), differentiable in the embedding, wherever that is."""
        sh0, shN = self.kind.lit(self.sh0, self.shN, self.rows, self.shared, embedding.to(self.device))
        return colors_from_sh(sh0, shN, self.directions)


def look_of(
    workspace: Workspace, photo: Photo, fit: Fit, *, long_side: int, step_done: Callable[[], None] = lambda: None
) -> Tensor:
    """(R + S,), the look of a photo of the workspace, found on all of its pixels. People in it count little."""
    assert photo.camera is not None  # callers pass used photos
    camera = photo.camera.fitted(long_side)
    picture = resized(read_picture(workspace.picture_file(photo.name)), camera.width, camera.height)
    return fit.embedding(camera, picture, camera.width, step_done)
