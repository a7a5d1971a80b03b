"""An object into views around it, and those into how much each would tell about it.

A view tells most where rows are undecided and it would see them: n votes on a row whose share is Beta(a, b) are
expected to take n/(a + b + n) of its variance away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from backend.render import Seen
from backend.scene import Camera, Gaussians
from backend.scene.cameras import looking_at
from backend.scene.paths import UP
from backend.segment.posterior import FULL_MASS_PX, UNIT, Posterior

LONG_SIDE = 160  # pixels of the pictures by which candidates are judged
_WHOLE = 1.25  # ellipsoid per 10-90 % range: exact for a box that is full and for the surface of a ball
_KEPT, _TRIMS = 0.9, 5  # of the rows, and how often those nearest are chosen anew: what strays turns no axis
_FEW = 10  # rows; fewer have no axes of their own
_WIDTH = 0.9  # of the picture that a wide object may fill
_NEAR = 0.5  # of the way to the object: what is nearer stands before the camera
_AROUND = 1.5  # ellipsoid radii: rows farther away are not in question


@dataclass(frozen=True)
class Orbit:
    """Which views around an object are asked."""

    views: int = 4  # more: surer backs; a network without a card takes 20 s for each
    directions: int = 8  # around the object ...
    elevations_deg: tuple[float, ...] = (-10.0, 15.0, 40.0)  # ... at each of these
    height: float = 0.6  # of the picture that the object fills
    covered: float = 0.2  # of a picture that things before the camera may cover
    visible: float = 0.3  # of the object that must be seen
    gain: float = 0.02  # of the first view's gain: those that promise less are not asked
    change: float = 0.005  # of the selection: a view that changed less is the last one
    agreement: float = 0.5  # soft IoU with what is known; masks of less mean something else


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """Where an object is, whatever strays from it. World units."""

    centre: np.ndarray  # (3,) float64
    axes: np.ndarray  # (3, 3) float64, columns, orthonormal
    radii: np.ndarray  # (3,) float64, along the axes

    @classmethod
    def around(cls, points: np.ndarray) -> Ellipsoid:
        """Of the rows' centres (M, 3), M at least 1: axes of the nine tenths that are nearest, radii of what lies
        between the 10 and 90 % quantiles along them.
        """
        points = points.astype(np.float64)
        apart = np.linalg.norm(points - np.median(points, axis=0), axis=1)
        axes = np.eye(3)
        for _ in range(_TRIMS if len(points) >= _FEW else 0):
            core = points[apart <= np.quantile(apart, _KEPT)]
            variances, axes = np.linalg.eigh(np.cov(core.T))
            apart = np.linalg.norm((points - core.mean(0)) @ axes / np.sqrt(np.maximum(variances, 1e-12)), axis=1)
        low, high = np.quantile(points @ axes, [0.1, 0.9], axis=0)
        radii = _WHOLE * (high - low) / 2
        return cls(axes @ ((low + high) / 2), axes, np.maximum(radii, max(1e-3 * radii.max(), 1e-6)))

    def extent(self, direction: np.ndarray) -> float:
        """How far it reaches from its centre along a unit direction (3,)."""
        return float(np.linalg.norm(self.radii * (direction @ self.axes)))

    def distances(self, points: np.ndarray) -> np.ndarray:
        """(M,) float64 of points (M, 3), 1 on its surface."""
        return np.linalg.norm((points - self.centre) @ self.axes / self.radii, axis=1)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A view that may be asked."""

    name: str
    camera: Camera
    votes: np.ndarray  # (N,) float32 in 0..1, that a mask of it would have on each row


def poses(place: Ellipsoid, lens: Camera, settings: Orbit) -> list[tuple[str, Camera]]:
    """Cameras with the size and focal length of `lens` around the object, beginning at its side of it."""
    towards = lens.centre - place.centre
    first = float(np.arctan2(towards[1], towards[0]))
    found = []
    for elevation in settings.elevations_deg:
        for number in range(settings.directions):
            turn = 360 * number / settings.directions
            azimuth, up = first + np.radians(turn), np.radians(elevation)
            outward = np.array([np.cos(azimuth) * np.cos(up), np.sin(azimuth) * np.cos(up), np.sin(up)])
            right = np.cross(-outward, UP) / np.linalg.norm(np.cross(-outward, UP))
            upward = np.cross(right, -outward)
            distance = max(
                lens.fx * 2 * place.extent(upward) / (settings.height * lens.height),
                lens.fx * 2 * place.extent(right) / (_WIDTH * lens.width),
                2 * place.extent(outward),
            )
            camera = looking_at(
                place.centre + distance * outward,
                place.centre,
                UP,
                focal=lens.fx,
                width=lens.width,
                height=lens.height,
            )
            found.append((f"orbit {turn:g} {elevation:g}", camera))
    return found


def candidates(
    scene: Gaussians,
    chosen: np.ndarray,  # (N,) bool
    views: Sequence[tuple[str, Camera]],
    place: Ellipsoid,
    settings: Orbit,
) -> list[Candidate]:
    """Those from which enough of the object is seen, and little else that is near."""
    alone = scene.take(np.flatnonzero(chosen))
    found = []
    for name, camera in views:
        small = camera.fitted(LONG_SIDE)
        seen = Seen(scene, small)
        depths = small.project(scene.means.astype(np.float64))[1]
        near = ~chosen & (depths < _NEAR * np.linalg.norm(small.centre - place.centre))
        shown, before = np.moveaxis(seen.render_channels(np.stack([chosen, near], 1).astype(np.float32)), -1, 0)
        whole = float(Seen(alone, small).alpha().sum())
        if before.mean() > settings.covered or shown.sum() < settings.visible * whole or not whole:
            continue
        # A mask votes on the view's own pixels, of which these are a part.
        mass = seen.mass() * (camera.width * camera.height / (small.width * small.height))
        found.append(Candidate(name, camera, np.minimum(1, mass / FULL_MASS_PX)))
    return found


def gain(counts: Posterior, votes: np.ndarray, rows: np.ndarray) -> float:
    """Expected variance that votes (N,) take away, summed over the rows (M,) in question."""
    a, b, n = counts.inside[rows] / UNIT, counts.outside[rows] / UNIT, votes[rows].astype(np.float64)
    variance = a * b / ((a + b) ** 2 * (a + b + 1))
    return float((variance * n / (a + b + n)).sum())


def in_question(scene: Gaussians, place: Ellipsoid) -> np.ndarray:
    """(M,) rows on the object and close around it."""
    return np.flatnonzero(place.distances(scene.means.astype(np.float64)) <= _AROUND)
