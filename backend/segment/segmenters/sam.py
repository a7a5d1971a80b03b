"""Segment-anything on views of a workspace: clicks, a box or a lattice of points into masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from backend.features import splat_hash
from backend.features.neutral import Neutral
from backend.features.sam import Embedding, Network, Predicted, embedded
from backend.scene import Workspace
from backend.segment.prompts import Box, Clicks, Mask, in_picture_pixels, on_photo, shown_box, shown_clicks
from backend.segment.refine import log_odds
from backend.segment.selection import Selector
from backend.segment.suppression import boxes_of, distinct, packed
from segwild_addon.protocol.errors import InputError

NAME = "sam"
Scale = Literal["auto", "sub-part", "part", "whole"]
_ORDER: tuple[Scale, ...] = ("sub-part", "part", "whole")
_AT_ONCE = 16  # prompts: upsampling holds 12 MB for each


@dataclass(frozen=True)
class Wanted:
    """Which of the masks of a lattice are kept."""

    score: float = 0.88  # more: fewer, of which the network is surer
    stability: float = 0.95  # more: fewer, with sharper edges
    offset: float = 1.0  # of the logits: stability is the IoU of the masks above and below
    area_px: int = 64


@dataclass(frozen=True, eq=False)
class Generated:
    """Masks of one picture that differ from each other, best score first."""

    masks: np.ndarray  # (n, ceil(H·W/8)) uint8: see `suppression.packed`
    height: int
    width: int
    scores: np.ndarray  # (n,) float32, the network's guess at the IoU
    stability: np.ndarray  # (n,) float32
    points: np.ndarray  # (n, 2) float32, the prompt of each, pixels


class Sam:
    """A network and the workspace that keeps its embeddings."""

    def __init__(self, network: Network, workspace: Workspace) -> None:
        self.network, self.workspace = network, workspace

    def embed(self, photo: str, view: Neutral) -> Embedding:
        """Of a neutral view of the workspace's Gaussians; kept by photo, Gaussians and checkpoint."""
        size, stamp = view.picture.shape[:2], splat_hash(self.workspace)
        return embedded(self.workspace, photo, lambda: picture_of(view), size, self.network, stamp)

    def looked(self, view: Neutral) -> Embedding:
        """Of a view that is no photo's, and will not come again: not kept."""
        return self.network.embed(picture_of(view))

    def about(self, embedding: Embedding, points: np.ndarray, labels: np.ndarray, share: np.ndarray) -> Predicted:
        """Three masks (1, 3, H, W) for points, as `predict`, and what is known before: a picture (H, W) in 0..1."""
        return self.predict(embedding, points, labels, None, self.network.earlier(log_odds(share), embedding))

    def predict(
        self,
        embedding: Embedding,
        points: np.ndarray | None,  # (K, 2) float, pixels of the picture
        labels: np.ndarray | None,  # (K,) bool, True on the object
        box: np.ndarray | None = None,  # (4,) left, top, right, bottom, pixels
        before: np.ndarray | None = None,  # (4G, 4G) logits of an earlier answer
    ) -> Predicted:
        """Three masks (1, 3, H, W) for all points together."""
        many = (None if part is None else np.asarray(part)[None] for part in (points, labels, box, before))
        return self.network.predict(embedding, *many)

    def generate(self, embedding: Embedding, points: np.ndarray, wanted: Wanted | None = None) -> Generated:
        """The distinct masks under points (B, 2) float, pixels of the picture; each is a prompt of its own."""
        wanted = wanted or Wanted()
        found: list[tuple[np.ndarray, ...]] = []
        for first in range(0, len(points), _AT_ONCE):
            part = np.asarray(points[first : first + _AT_ONCE], np.float64)
            found.append(self._some(embedding, part, wanted))
        bits, boxes, scores, stability, prompts = (np.concatenate(column) for column in zip(*found, strict=True))
        kept = distinct(boxes, bits, scores)
        return Generated(bits[kept], embedding.height, embedding.width, scores[kept], stability[kept], prompts[kept])

    @torch.inference_mode()
    def _some(self, embedding: Embedding, points: np.ndarray, wanted: Wanted) -> tuple[np.ndarray, ...]:
        """Packed masks, boxes, scores, stability and points of what is good enough."""
        logits, scores = self.network.answers(embedding, points[:, None], np.ones((len(points), 1), np.int32))
        sure = scores.flatten() > wanted.score
        # Only what passes is upsampled: that is most of the time.
        large = self.network.on_picture(logits.flatten(0, 1)[sure][:, None], embedding)[:, 0]
        inner = (large > wanted.offset).sum((1, 2))
        outer = (large > -wanted.offset).sum((1, 2))
        stability = inner / outer.clamp_min(1)
        masks = large > 0
        fine = (stability >= wanted.stability) & (masks.sum((1, 2)) >= wanted.area_px)
        pixels = masks[fine].numpy()
        prompts = np.repeat(points, 3, 0)[sure.numpy()][fine.numpy()]
        return (
            packed(pixels),
            boxes_of(pixels),
            scores.flatten()[sure][fine].numpy(),
            stability[fine].numpy().astype(np.float32),
            prompts.astype(np.float32),
        )


def picture_of(view: Neutral) -> np.ndarray:
    """(H, W, 3) uint8 RGB, as segmenters see a view."""
    return np.rint(view.picture * 255).astype(np.uint8)


def mask_at(predicted: Predicted, scale: Scale) -> np.ndarray:
    """(H, W) bool of the first prompt: by size from sub-part to whole, or, `auto`, the one of the best score."""
    masks, scores = predicted.masks[0], predicted.scores[0]
    if scale == "auto":
        return masks[int(scores.argmax())]
    return masks[np.argsort(masks.sum((1, 2)), kind="stable")[_ORDER.index(scale)]]


def masked(sam: Sam, selector: Selector, prompt: Clicks | Box, scale: Scale) -> Mask:
    """Clicks, all of them together, or a box into the mask of the photo that the network means.

    Raises InputError if it means nothing there, or the photo's picture does not show where the prompt is.
    """
    photo, camera = selector.photo, selector.camera
    assert photo.camera is not None
    ratio = np.array([camera.width / photo.camera.width, camera.height / photo.camera.height])

    def on_view(points: np.ndarray) -> np.ndarray:
        return in_picture_pixels(points, selector.workspace, photo) * ratio

    # What the picture does not show is told before the network looks, which may take long.
    if isinstance(prompt, Clicks):
        asked = (shown_clicks(on_view(prompt.points), camera), prompt.positive)
    else:
        corners = on_view(np.array([[prompt.left, prompt.top], [prompt.right, prompt.bottom]]))
        asked = (None, None, shown_box(corners, camera).ravel())
    predicted = sam.predict(sam.embed(photo.name, Neutral(selector.scene, camera)), *asked)
    pixels = on_photo(mask_at(predicted, scale), selector.workspace, photo, camera)
    if not pixels.any():
        raise InputError(
            "nothing-there",
            "Segment-anything sees nothing where the prompt points.",
            "Click elsewhere on the object, add clicks, choose another --scale, or use --segmenter graph.",
        )
    return Mask(pixels)
