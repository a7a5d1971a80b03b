"""A mask on a view and Gaussians into where each one's ellipse crosses the mask's edge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

from backend.scene import Camera
from backend.segment.split import Moments

REACH = 1.5  # deviations: an ellipse's ends along its long axis
_NEAR = 0.01  # world units
_SMOOTH_PX = 1.0  # deviation of the blur before normals are taken
_RAYS = 24  # directions in which the edge is looked for around a centre
_RAY_REACH, _RAY_STEPS = 2.6, 27  # deviations
_GRID_PX = 2.0  # distances between pixels differ from those on their grid by less, along any way across the edge
_RINGS, _SPOKES = 8, 12  # of the points that weigh an ellipse
_ROWS_AT_ONCE = 4096  # the rays of one row take 30 kB


@dataclass(frozen=True, eq=False)
class Footprints:
    """M Gaussians as one camera sees them, without blur. Float64."""

    pixels: np.ndarray  # (M, 2) centres, NaN behind the camera
    depths: np.ndarray  # (M,) world units
    projection: np.ndarray  # (M, 2, 3) J·Q: directions of the world into pixels
    covariances: np.ndarray  # (M, 2, 2) px²
    depth_deviations: np.ndarray  # (M,) world units

    @classmethod
    def of(cls, whole: Moments, camera: Camera) -> Footprints:
        """EWA splatting's linear projection at the centre, as in the renderer (Zwicker et al. 2001)."""
        pixels, z = camera.project(whole.means)
        rotation = camera.cam_from_world[:3, :3]
        position = whole.means @ rotation.T + camera.cam_from_world[:3, 3]
        deep = np.where(z > _NEAR, z, 1.0)
        x = _limited(position[:, 0] / deep, camera.cx, camera.width, camera.fx) * deep
        y = _limited(position[:, 1] / deep, camera.cy, camera.height, camera.fy) * deep
        jacobian = np.zeros((len(z), 2, 3))
        jacobian[:, 0, 0], jacobian[:, 1, 1] = camera.fx / deep, camera.fy / deep
        jacobian[:, 0, 2], jacobian[:, 1, 2] = -camera.fx * x / deep**2, -camera.fy * y / deep**2
        projection = jacobian @ rotation
        covariances = projection @ whole.covariances @ projection.transpose(0, 2, 1)
        along = np.einsum("i,mij,j->m", rotation[2], whole.covariances, rotation[2])
        pixels = np.where((z > _NEAR)[:, None], pixels, np.nan)
        return cls(pixels, z, projection, covariances, np.sqrt(np.maximum(along, 0)))

    def __len__(self) -> int:
        return len(self.depths)

    def take(self, places: np.ndarray | slice) -> Footprints:
        return Footprints(*(getattr(self, field.name)[places] for field in fields(self)))

    @cached_property
    def long_axes(self) -> tuple[np.ndarray, np.ndarray]:
        """λ₁ (M,) px² and e₁ (M, 2) unit: the largest eigenpair of each ellipse, in closed form."""
        a, b, c = self.covariances[:, 0, 0], self.covariances[:, 0, 1], self.covariances[:, 1, 1]
        half = np.hypot((a - c) / 2, b)
        value = (a + c) / 2 + half
        # Of the two rows of Σ − λ₂ either is the eigenvector; the longer one is the stable one.
        first, second = np.stack([value - c, b], -1), np.stack([b, value - a], -1)
        longer = (np.square(first).sum(1) >= np.square(second).sum(1))[:, None]
        vector = np.where(longer, first, second)
        length = np.linalg.norm(vector, axis=1, keepdims=True)
        circle = length[:, 0] < 1e-12
        vector = np.where(circle[:, None], (1.0, 0.0), vector / np.maximum(length, 1e-12))
        return value, vector

    def axes_in_space(self, whole: Moments) -> np.ndarray:
        """h (M, 3) = Σ·Qᵀ·Jᵀ·e₁/√λ₁: the direction that projects to √λ₁·e₁ exactly, of unit length in Σ⁻¹."""
        value, vector = self.long_axes
        pulled = np.einsum("mji,mj->mi", self.projection, vector)
        return np.einsum("mij,mj->mi", whole.covariances, pulled) / np.sqrt(np.maximum(value, 1e-18))[:, None]


def _limited(slope: np.ndarray, centre: float, size: int, focal: float) -> np.ndarray:
    margin = 0.15 * size / focal
    return np.clip(slope, -centre / focal - margin, (size - centre) / focal + margin)


@dataclass(frozen=True, eq=False)
class Run:
    """The part of each long axis that lies in the mask."""

    start: np.ndarray  # (M,) deviations, -1.5..1.5
    end: np.ndarray
    ends_inside: np.ndarray  # (M, 2) bool: the end at -1.5 and at 1.5
    centre_inside: np.ndarray  # (M,) bool

    @property
    def cuts(self) -> np.ndarray:
        """(M,) bool: one end is outside, or both are and the centre is not."""
        inside = self.ends_inside.sum(1)
        return (inside == 1) | ((inside == 0) & self.centre_inside)

    @property
    def share(self) -> np.ndarray:
        """(M,) r: of the axis, 0..1."""
        return (self.end - self.start) / (2 * REACH)


@dataclass(frozen=True, eq=False)
class Crossings:
    """Where ellipses meet the edge first, in their own deviations."""

    found: np.ndarray  # (M,) bool
    pixels: np.ndarray  # (M, 2) the points on the edge, NaN where none was found
    normals: np.ndarray  # (M, 2) unit, into the mask


@dataclass(frozen=True, eq=False)
class Outline:
    """The edge of a mask on a view."""

    name: str  # of the photo
    camera: Camera
    mask: np.ndarray  # (H, W) bool, on the camera's grid, neither empty nor full
    drawn: bool  # by a person, who is to be believed alone; False: guessed

    @cached_property
    def distance(self) -> np.ndarray:
        """(H, W) float64 px, positive inside, 0 on the edge between pixels."""
        return np.where(self.mask, distance_transform_edt(self.mask) - 0.5, 0.5 - distance_transform_edt(~self.mask))

    @cached_property
    def _slopes(self) -> np.ndarray:
        """(2, H, W) d/dx and d/dy of the smoothed distance."""
        down, right = np.gradient(gaussian_filter(self.distance, _SMOOTH_PX))
        return np.stack([right, down])

    def depths_at(self, pixels: np.ndarray) -> np.ndarray:
        """(M,) px, signed distance at positions (..., 2); beyond the picture that of its nearest pixel."""
        return _at(self.distance, pixels)

    def known(self, pixels: np.ndarray) -> np.ndarray:
        """Which of the positions (..., 2) the picture shows."""
        with np.errstate(invalid="ignore"):
            return ((pixels >= 0) & (pixels < (self.camera.width, self.camera.height))).all(-1)

    def shares(self, seen: Footprints) -> np.ndarray:
        """(M,) 0..1: of each ellipse's mass, how much projects into the mask. Beyond the picture is unknown and
        left out; 0.5 where nothing is known."""
        return np.concatenate([self._shares(some) for some in _blocks(seen)])

    def _shares(self, seen: Footprints) -> np.ndarray:
        rings = np.sqrt(-2 * np.log1p(-(np.arange(_RINGS) + 0.5) / _RINGS))  # each holds the same mass
        turns = (np.arange(_SPOKES) + 0.5 * (np.arange(_RINGS)[:, None] % 2)) * (2 * np.pi / _SPOKES)
        points = (rings[:, None, None] * np.stack([np.cos(turns), np.sin(turns)], -1)).reshape(-1, 2)
        pixels = seen.pixels[:, None] + np.einsum("kj,mij->mki", points, _roots(seen.covariances))
        known = self.known(pixels)
        # One pixel of softness: what is thinner than a pixel would flicker.
        inside = np.clip(self.depths_at(pixels) + 0.5, 0, 1) * known
        total = known.sum(1)
        return np.divide(inside.sum(1), total, out=np.full(len(total), 0.5), where=total > 0)

    def runs(self, seen: Footprints) -> Run:
        """Walk each long axis from one end to the other. Samples beyond the picture repeat the last known one."""
        value, vector = seen.long_axes
        half = REACH * np.sqrt(np.maximum(value, 0))
        most = float(np.nanmax(half, initial=0.0))
        # Odd, so that the centre is a sample; all at the rate of the longest.
        count = 2 * int(np.clip(np.ceil(2 * most), 8, 256)) + 1
        t = np.linspace(-REACH, REACH, count)
        pixels = seen.pixels[:, None] + t[None, :, None] * (np.sqrt(np.maximum(value, 0))[:, None] * vector)[:, None]
        inside = self.depths_at(pixels) > 0
        middle = count // 2
        inside = _carried_out(inside, self.known(pixels), middle)
        ends = inside[:, [0, -1]]
        centre = inside[:, middle]
        # Contiguous inside from either end, and around the centre.
        first_out = np.where(inside.all(1), count, (~inside).argmax(1))
        last_out = np.where(inside.all(1), -1, count - 1 - (~inside)[:, ::-1].argmax(1))
        before = middle - np.where(inside[:, : middle + 1].all(1), middle + 1, (~inside[:, middle::-1]).argmax(1)) + 1
        after = middle + np.where(inside[:, middle:].all(1), count - middle, (~inside[:, middle:]).argmax(1)) - 1
        low = np.select([ends.all(1), ends[:, 0], ends[:, 1]], [0, 0, last_out + 1], before)
        high = np.select([ends.all(1), ends[:, 0], ends[:, 1]], [count - 1, first_out - 1, count - 1], after)
        none = ~ends.any(1) & ~centre
        step = t[1] - t[0]
        # A sample stands for half a step on either side.
        start = np.where(none, 0.0, np.maximum(t[np.clip(low, 0, count - 1)] - step / 2, -REACH))
        end = np.where(none, 0.0, np.minimum(t[np.clip(high, 0, count - 1)] + step / 2, REACH))
        return Run(start, end, ends, centre)

    def in_reach(self, seen: Footprints) -> np.ndarray:
        """(M,) bool: the centres shown from which `crossings` may find the edge. It finds none from any other."""
        with np.errstate(invalid="ignore"):
            reach = _RAY_REACH * np.sqrt(np.maximum(seen.long_axes[0], 0)) + _GRID_PX
            return self.known(seen.pixels) & (np.abs(self.depths_at(seen.pixels)) <= reach)

    def crossings(self, seen: Footprints) -> Crossings:
        """The point of the edge that is nearest to each centre, measured in the ellipse's own deviations."""
        parts = [self._crossings(some) for some in _blocks(seen)]
        names = [field.name for field in fields(Crossings)]
        return Crossings(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))

    def _crossings(self, seen: Footprints) -> Crossings:
        turns = np.arange(_RAYS) * (2 * np.pi / _RAYS)
        rays = np.einsum("kj,mij->mki", np.stack([np.cos(turns), np.sin(turns)], -1), _roots(seen.covariances))
        radii = np.linspace(0, _RAY_REACH, _RAY_STEPS)
        pixels = seen.pixels[:, None, None] + radii[None, None, :, None] * rays[:, :, None]
        depth = self.depths_at(pixels)
        known = self.known(pixels)
        change = ((depth[..., 1:] > 0) != (depth[..., :-1] > 0)) & known[..., 1:] & known[..., :-1]
        first = np.where(change.any(2), change.argmax(2), _RAY_STEPS)  # (M, rays)
        ray = first.argmin(1)
        step = first[np.arange(len(ray)), ray]
        found = step < _RAY_STEPS
        place = np.minimum(step, _RAY_STEPS - 2)
        here = (np.arange(len(ray)), ray)
        before, after = depth[(*here, place)], depth[(*here, place + 1)]
        part = np.divide(before, before - after, out=np.full(len(ray), 0.5), where=np.abs(before - after) > 1e-12)
        radius = radii[place] + np.clip(part, 0, 1) * (radii[1] - radii[0])
        points = seen.pixels + radius[:, None] * rays[here]
        slopes = np.stack([_at(self._slopes[0], points), _at(self._slopes[1], points)], -1)
        length = np.linalg.norm(slopes, axis=1)
        found &= length > 1e-3
        normals = slopes / np.maximum(length, 1e-12)[:, None]
        return Crossings(found, np.where(found[:, None], points, np.nan), normals)

    def planes(self, crossings: Crossings) -> tuple[np.ndarray, np.ndarray]:
        """Unit normals (M, 3) and offsets (M,) of the planes through the camera and the edge's tangents.

        The line ψ of a picture is the plane P_vᵀ·ψ of the world; inside is normal·x >= offset.
        """
        n, q = crossings.normals, crossings.pixels
        line = np.concatenate([n, -(n * q).sum(1, keepdims=True)], 1)
        matrix = self.camera.intrinsics @ self.camera.cam_from_world[:3]
        plane = line @ matrix
        length = np.linalg.norm(plane[:, :3], axis=1)
        return plane[:, :3] / length[:, None], -plane[:, 3] / length


def _blocks(seen: Footprints) -> Iterator[Footprints]:
    """All rows, some at a time; one empty block of none."""
    for first in range(0, max(len(seen), 1), _ROWS_AT_ONCE):
        yield seen.take(slice(first, first + _ROWS_AT_ONCE))


def _carried_out(inside: np.ndarray, known: np.ndarray, middle: int) -> np.ndarray:
    """Samples (M, K): from the middle outwards, an unknown one is as its inner neighbour."""
    result = inside.copy()
    for way in (1, -1):
        places = np.arange(middle, inside.shape[1] if way > 0 else -1, way)
        last = np.maximum.accumulate(np.where(known[:, places], np.arange(len(places)), 0), axis=1)
        result[:, places] = np.take_along_axis(inside[:, places], last, 1)
    return result


def _roots(covariances: np.ndarray) -> np.ndarray:
    """(M, 2, 2) lower triangular L with L·Lᵀ = Σ."""
    a, b, c = covariances[:, 0, 0], covariances[:, 0, 1], covariances[:, 1, 1]
    roots = np.zeros_like(covariances)
    roots[:, 0, 0] = np.sqrt(np.maximum(a, 1e-18))
    roots[:, 1, 0] = b / roots[:, 0, 0]
    roots[:, 1, 1] = np.sqrt(np.maximum(c - roots[:, 1, 0] ** 2, 0))
    return roots


def _at(picture: np.ndarray, pixels: np.ndarray) -> np.ndarray:
    places = np.nan_to_num(pixels, nan=-1e6) - 0.5
    return map_coordinates(picture, (places[..., 1], places[..., 0]), order=1, mode="nearest")
