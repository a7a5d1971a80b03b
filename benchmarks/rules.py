"""Masks on views into rows, by the rules of published methods: what SegWild's selections are compared with.

Written from the formulae of the papers. All rules get the same outlines, views and cameras.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree
from sklearn.cluster import KMeans

from backend.render import Seen
from backend.render.harmonics import C0
from backend.scene import Gaussians
from backend.segment.mincut import minimum_cut
from backend.segment.outline import Outline

_NEIGHBOURS = 10  # of GaussianCut's graph
_CLUSTERS = 5  # of its seeds
_SURE = 0.9  # share of the weight inside from which a row is its seed; 0.3 for inward views all around


@dataclass
class Evidence:
    """Sums over the views, made once and shared by all rules."""

    scene: Gaussians
    outlines: Sequence[Outline]
    features: np.ndarray  # (N, D) float, lifted
    click: tuple[float, float]  # pixels of the first outline's view, on the object
    inside: np.ndarray = field(init=False)  # (N,) Σ over views of A⁺, pixels
    outside: np.ndarray = field(init=False)  # (N,) A⁻

    def __post_init__(self) -> None:
        self.inside, self.outside = np.zeros((2, len(self.scene)))
        for outline in self.outlines:
            A, Z = Seen(self.scene, outline.camera).accumulate(outline.mask.astype(np.float32)[..., None])
            self.inside += A[:, 0]
            self.outside += Z - A[:, 0]


def flashsplat(evidence: Evidence, gamma: float = 0.0) -> np.ndarray:
    """The larger of the two sums, the pair normalised and the background raised by gamma (arXiv 2409.08270).

    With gamma 0 it is GradBP's A⁺ > λ·A⁻ with λ = 1 (arXiv 2411.15193) too.
    """
    length = np.maximum(np.hypot(evidence.inside, evidence.outside), 1e-9)
    return evidence.inside / length > evidence.outside / length + gamma


def gradbp_features(evidence: Evidence) -> np.ndarray:
    """GradBP by features: nearer in cosine to the mean feature inside the mask than to that outside."""
    features = evidence.features.astype(np.float64)
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    prototypes = [weights @ features for weights in (evidence.inside, evidence.outside)]
    near, far = (features @ (each / max(float(np.linalg.norm(each)), 1e-9)) for each in prototypes)
    return (near > far) & (evidence.inside + evidence.outside > 0)


def gaussiancut(evidence: Evidence) -> np.ndarray:
    """Graph cut over 10 neighbours from rows whose weight lies inside to 90 % (arXiv 2411.07555)."""
    scene = evidence.scene
    seen = evidence.inside + evidence.outside
    share = np.divide(evidence.inside, seen, out=np.full(len(seen), 0.0), where=seen > 0)
    means = scene.means.astype(np.float64)
    means = (means - means.mean(0)) / means.std()
    colors = np.clip(scene.sh0[:, 0] * C0 + 0.5, 0, 1).astype(np.float64)
    _, found = cKDTree(means).query(means, k=min(_NEIGHBOURS + 1, len(means)))
    edges = np.stack([np.repeat(np.arange(len(means)), found.shape[1] - 1), found[:, 1:].ravel()], 1)
    edges = np.unique(np.sort(edges, 1), axis=0)
    apart = np.linalg.norm(means[edges[:, 0]] - means[edges[:, 1]], axis=1)
    unlike = np.linalg.norm(colors[edges[:, 0]] - colors[edges[:, 1]], axis=1)
    pull = []
    for own, value in ((share >= _SURE, share), ((seen > 0) & (share <= 1 - _SURE), (1 - share) * (seen > 0))):
        if own.sum() < _CLUSTERS:
            return share >= _SURE
        centres = KMeans(_CLUSTERS, n_init=1, random_state=0).fit(means[own]).cluster_centers_
        nearest = cKDTree(centres).query(means)[0]
        alike = np.exp(-np.linalg.norm(colors - colors[own].mean(0), axis=1))
        pull.append(value + 0.5 * np.exp(-0.1 * nearest) + 0.5 * alike)
    return minimum_cut(pull[0] - pull[1], edges, 0.5 * np.exp(-apart) + 0.5 * np.exp(-unlike))


def sagd(evidence: Evidence) -> np.ndarray:
    """SAGD's vote: the centre lies in the mask in most of the views that have it in their frame."""
    votes, views = np.zeros((2, len(evidence.scene)))
    for outline in evidence.outlines:
        known, inside = _centres(evidence.scene, outline)
        views += known
        votes += inside
    return (views > 0) & (votes > 0.5 * views)


def sgc(evidence: Evidence) -> np.ndarray:
    """Seg-Wild: cosine above 0.3 to the clicked feature, and the centre in the one mask there is."""
    outline = evidence.outlines[0]
    ids, weights = Seen(evidence.scene, outline.camera).top_contributors(4)
    x, y = (int(value) for value in evidence.click)
    here, weight = ids[y, x], weights[y, x]
    features = evidence.features.astype(np.float64)
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-9)
    wanted = weight[here >= 0] @ features[here[here >= 0]]
    wanted = wanted / max(float(np.linalg.norm(wanted)), 1e-9)
    return (features @ wanted > 0.3) & _centres(evidence.scene, outline)[1]


def _centres(scene: Gaussians, outline: Outline) -> tuple[np.ndarray, np.ndarray]:
    """(N,) bool: centres in the frame, and those of them in the mask."""
    pixels, _ = outline.camera.project(scene.means.astype(np.float64))
    known = outline.known(pixels)
    x, y = (np.where(known, pixels[:, axis], 0).astype(int) for axis in (0, 1))
    return known, known & outline.mask[y, x]


RULES: dict[str, Callable[[Evidence], np.ndarray]] = {
    "flashsplat": flashsplat,
    "flashsplat-0.3": lambda evidence: flashsplat(evidence, 0.3),
    "gradbp-features": gradbp_features,
    "gaussiancut": gaussiancut,
    "sagd": sagd,
    "sgc": sgc,
}
