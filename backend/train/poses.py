"""Gradients of a scene's rows into small corrections of the cameras that its photos were taken with.

A camera that moves rigidly sees what it would see if the scene moved the other way. So the gradients of all means
and quaternions, which a training step has anyway, say where its camera should have stood: their sum is a shift,
the sum of their moments about the camera's centre a turn. Neither engine computes anything else for it.

That is exact but for colours that depend on the view: a camera that turns on the spot sees rows from the same side
as before, and a scene that turns about it shows other sides. Corrections are of hundredths of a radian, over which
harmonics of low degree hardly change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numba import njit
from scipy.spatial.transform import Rotation
from torch import Tensor

from backend.scene import Camera, Photo
from backend.scene.transforms import Similarity
from backend.scene.workspace import SparsePoints
from backend.train import on_device
from backend.train.config import PoseRefinement

BETA_1, BETA_2, EPSILON = 0.9, 0.99, 1e-15  # of Adam: a photo is visited a few dozen times, too few for 0.999


class Poses:
    """A correction per photo: a turn (rotation vector, radians) and a shift (in its depths) in the scene's frame.

    The turn is about the place where the capture found the camera. Moments are kept per photo, because a photo's
    gradients come when it is looked at and at no other time.

    If the scene moved or grew along with all cameras, no picture would change. So what corrections have in common
    with such a motion is taken from them after each step: the scene stays in the capture's frame, where photos that
    were held out have their cameras.
    """

    def __init__(
        self,
        cameras: Mapping[str, Camera],  # as captured, by photo
        depths: Mapping[str, float],  # of what each photo shows, world units
        policy: PoseRefinement,
    ) -> None:
        self.policy = policy
        self._row = {name: row for row, name in enumerate(cameras)}
        self._centres = np.array([camera.centre for camera in cameras.values()])
        self._depths = np.array([depths[name] for name in cameras])
        self._values, self._first, self._second = np.zeros((3, len(cameras), 6))
        self._visits = np.zeros(len(cameras), np.int64)
        self._common = common_motions(self._centres, self._depths)

    @classmethod
    def of(
        cls, photos: Sequence[Photo], all_photos: Sequence[Photo], points: SparsePoints, policy: PoseRefinement
    ) -> Poses:
        """Of the photos of a training; a photo's depth is the median of the sparse points it sees."""
        seen = points.by_photo(all_photos)
        cameras = {photo.name: photo.camera for photo in photos if photo.camera is not None}
        depths: dict[str, float] = {}
        for name, camera in cameras.items():
            own = camera.project(seen[name].astype(np.float64))[1]
            if (own > 0).any():
                depths[name] = float(np.median(own[own > 0]))
        usual = float(np.median(list(depths.values()))) if depths else 1.0
        return cls(cameras, {name: depths.get(name, usual) for name in cameras}, policy)

    def moved(self, name: str, camera: Camera) -> Camera:
        """The photo's camera as captured, of any size, to where it is now thought to have stood."""
        value = self._values[self._row[name]]
        if not value.any():
            return camera
        turn, centre = Rotation.from_rotvec(value[:3]).as_matrix(), self._centres[self._row[name]]
        shift = self._depths[self._row[name]] * value[3:]
        return Similarity(1.0, turn, centre - turn @ centre + shift).camera(camera)

    def learn(self, name: str, means: Tensor, quats: Tensor, fraction: float) -> None:
        """One Adam step (Kingma and Ba 2015) from the gradients that the photo's picture has left on the rows."""
        row = self._row[name]
        if fraction < self.policy.start:
            return
        place = self._centres[row] + self._depths[row] * self._values[row, 3:]
        pull = motion_gradient(means, quats, place)
        if pull is None:
            return
        pull[3:] *= self._depths[row]
        self._visits[row] += 1
        visits = int(self._visits[row])
        self._first[row] += (1 - BETA_1) * (pull - self._first[row])
        self._second[row] += (1 - BETA_2) * (pull**2 - self._second[row])
        first, second = self._first[row] / (1 - BETA_1**visits), self._second[row] / (1 - BETA_2**visits)
        rate = self.policy.rate * self.policy.rate_end**fraction
        self._values[row] -= rate * first / (np.sqrt(second) + EPSILON)
        together = self._values.reshape(-1)
        together -= self._common @ (together @ self._common)

    @property
    def turn_deg(self) -> float:
        """Median over photos of how far their cameras have turned."""
        return float(np.degrees(np.median(np.linalg.norm(self._values[:, :3], axis=1))))

    def summary(self) -> dict[str, float]:
        """How many photos were learned from, and how far their cameras have moved; shifts are shares of a depth."""
        turns, shifts = (np.linalg.norm(part, axis=1) for part in (self._values[:, :3], self._values[:, 3:]))
        return {
            "photos": int((self._visits > 0).sum()),
            "turn_deg": round(self.turn_deg, 4),
            "turn_deg_max": round(float(np.degrees(turns.max(initial=0))), 4),
            "shift": round(float(np.median(shifts)), 6),
            "shift_max": round(float(shifts.max(initial=0)), 6),
        }

    def told(self) -> str:
        """The summary as a line."""
        facts = self.summary()
        return (
            f"{facts['photos']}, by {facts['turn_deg']:.2f} degrees and {facts['shift']:.2%} of the depth (median); "
            f"at most {facts['turn_deg_max']:.2f} degrees, {facts['shift_max']:.2%}"
        )

    # Checkpoints.

    def state(self) -> dict[str, np.ndarray]:
        return {
            "poses.values": self._values,
            "poses.first": self._first,
            "poses.second": self._second,
            "poses.visits": self._visits,
        }

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """The inverse of `state`, for the same photos. Raises KeyError if arrays are missing."""
        self._values, self._first, self._second, self._visits = (arrays[name].copy() for name in self.state())


@njit(cache=True)
def _sums(means, push, quats, v, centre):
    """(6,) float64: what the gradients of means and of quaternions say about a turn and a shift of all rows."""
    found = np.zeros(6)
    for i in range(len(means)):
        x, y, z = means[i, 0] - centre[0], means[i, 1] - centre[1], means[i, 2] - centre[2]
        g0, g1, g2 = push[i, 0], push[i, 1], push[i, 2]
        # A small turn a takes the quaternion (w, u) to (w − a·u/2, u + (w·a + a×u)/2).
        w, q0, q1, q2 = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
        vw, v0, v1, v2 = v[i, 0], v[i, 1], v[i, 2], v[i, 3]
        found[0] += y * g2 - z * g1 + 0.5 * (w * v0 - vw * q0 + q1 * v2 - q2 * v1)
        found[1] += z * g0 - x * g2 + 0.5 * (w * v1 - vw * q1 + q2 * v0 - q0 * v2)
        found[2] += x * g1 - y * g0 + 0.5 * (w * v2 - vw * q2 + q0 * v1 - q1 * v0)
        found[3] += g0
        found[4] += g1
        found[5] += g2
    return found


def motion_gradient(means: Tensor, quats: Tensor, centre: np.ndarray) -> np.ndarray | None:
    """(6,) float64: gradient of a camera's turn about its centre, then of its shift, from those of means and quats.

    None if there are no gradients, or none that are numbers.
    """
    if means.grad is None or quats.grad is None:
        return None
    arrays = means.detach(), means.grad, quats.detach(), quats.grad
    if means.is_cpu:
        found = _sums(*(array.numpy() for array in arrays), centre)
    else:
        found = on_device.motion_sums(*arrays, centre).cpu().numpy()
    # What pulls rows one way pulls the camera the other.
    return -found if np.isfinite(found).all() else None


def common_motions(
    centres: np.ndarray,  # (P, 3) of the cameras, world units
    depths: np.ndarray,  # (P,)
) -> np.ndarray:
    """(6P, up to 7), orthonormal: corrections of all cameras that turn, shift or enlarge everything at once."""
    turns = [np.concatenate([np.tile(axis, (len(centres), 1)), np.cross(axis, centres)], 1) for axis in np.eye(3)]
    shifts = [np.tile([0, 0, 0, *axis], (len(centres), 1)) for axis in np.eye(3)]
    larger = np.concatenate([np.zeros_like(centres), centres], 1)
    motions = np.array([*turns, *shifts, larger]) / np.where(np.arange(6) < 3, 1, depths[:, None])
    basis, sizes, _ = np.linalg.svd(motions.reshape(7, -1).T, full_matrices=False)
    return basis[:, sizes > 1e-9 * sizes.max(initial=0)]
