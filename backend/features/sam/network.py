"""A picture and points on it into masks: what the network sees, and what it answers.

Preprocessing and upsampling are those the weights were trained with (Kirillov et al., arXiv 2304.02643, appendix A):
long side to the network's side, mean and deviation of ImageNet, zeros beyond the picture; answers are upsampled to
the padded square, cut to the picture, and brought to its size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

_MEAN = (123.675, 116.28, 103.53)
_DEVIATION = (58.395, 57.12, 57.375)


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the network made of a picture."""

    features: np.ndarray  # (256, G, G) float32 or float16, G = 64; padding included
    height: int  # pixels of the picture
    width: int

    def inner(self, side_px: int) -> tuple[float, float]:
        """Rows and columns of the grid that the picture fills, not rounded."""
        height, width = seen_size(self.height, self.width, side_px)
        return (height / side_px * self.features.shape[1], width / side_px * self.features.shape[2])


@dataclass(frozen=True, eq=False)
class Predicted:
    """Answers to B prompts, three each: as a rule a part, a larger part and the whole, in no fixed order."""

    masks: np.ndarray  # (B, 3, H, W) bool
    scores: np.ndarray  # (B, 3) float32, the network's guess at the IoU
    logits: np.ndarray  # (B, 3, 4G, 4G) float32, may be the next prompt


class Network:
    """Segment-anything with weights. Deterministic; on the CPU."""

    def __init__(self, model: Any, digest: str) -> None:
        self.model = model  # segment_anything.modeling.Sam
        self.digest = digest  # SHA-256 of the checkpoint
        self.side_px: int = model.image_encoder.img_size

    @torch.inference_mode()
    def embed(self, picture: np.ndarray) -> Embedding:
        """(H, W, 3) uint8 RGB. About 20 s on two cores for ViT-B."""
        height, width = picture.shape[:2]
        return Embedding(self.model.image_encoder(self.seen(picture))[0].numpy(), height, width)

    def seen(self, picture: np.ndarray) -> Tensor:
        """(1, 3, S, S) float32: the picture as the network sees it, padded at the right and below."""
        assert picture.dtype == np.uint8
        assert picture.ndim == 3
        height, width = seen_size(*picture.shape[:2], self.side_px)
        resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
        # Contiguous: another layout may take another convolution, whose last bits the blocks multiply.
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous().float()
        pixels = (pixels - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_DEVIATION)[:, None, None]
        return functional.pad(pixels, (0, self.side_px - width, 0, self.side_px - height))[None]

    @torch.inference_mode()
    def answers(
        self,
        embedding: Embedding,
        points: np.ndarray | None = None,  # (B, K, 2) float, pixels of the picture
        labels: np.ndarray | None = None,  # (B, K), 1 on the object, 0 beside it
        boxes: np.ndarray | None = None,  # (B, 4) left, top, right, bottom, pixels
        before: np.ndarray | None = None,  # (B, 4G, 4G) float32, logits of an earlier answer
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, 3, 4G, 4G) on the network's padded square, and scores (B, 3)."""
        encoder = self.model.prompt_encoder
        ratio = self._ratio(embedding)
        prompts = None
        if points is not None:
            assert labels is not None
            prompts = (
                torch.from_numpy(np.asarray(points) * ratio).float(),
                torch.from_numpy(np.asarray(labels)).to(torch.int32),
            )
        corners = None if boxes is None else torch.from_numpy(np.asarray(boxes) * np.tile(ratio, 2)).float()
        earlier = None if before is None else torch.from_numpy(np.asarray(before, np.float32))[:, None]
        sparse, dense = encoder(points=prompts, boxes=corners, masks=earlier)
        return self.model.mask_decoder(
            image_embeddings=torch.from_numpy(np.asarray(embedding.features, np.float32))[None],
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )

    @torch.inference_mode()
    def on_picture(self, logits: Tensor, embedding: Embedding) -> Tensor:
        """Answers (B, C, 4G, 4G) at the picture's size (B, C, H, W); above 0 is the mask."""
        height, width = seen_size(embedding.height, embedding.width, self.side_px)
        square = functional.interpolate(logits, (self.side_px,) * 2, mode="bilinear", align_corners=False)
        return functional.interpolate(
            square[..., :height, :width], (embedding.height, embedding.width), mode="bilinear", align_corners=False
        )

    @torch.inference_mode()
    def earlier(self, logits: np.ndarray, embedding: Embedding) -> np.ndarray:
        """(4G, 4G) float32, a picture's own logits (H, W) in the form of an earlier answer: the way back from
        `on_picture`. Beyond the picture they are as low as anywhere in it.
        """
        side = 4 * embedding.features.shape[1]
        height, width = (
            min(side, max(1, round(length * side / self.side_px)))
            for length in seen_size(embedding.height, embedding.width, self.side_px)
        )
        picture = torch.from_numpy(np.asarray(logits, np.float32))[None, None]
        small = functional.interpolate(picture, (height, width), mode="bilinear", align_corners=False, antialias=True)
        padding = (0, side - width, 0, side - height)
        return functional.pad(small, padding, value=float(small.min()))[0, 0].numpy()

    def predict(
        self,
        embedding: Embedding,
        points: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        boxes: np.ndarray | None = None,
        before: np.ndarray | None = None,
    ) -> Predicted:
        """Masks for prompts as in `answers`, at the picture's size."""
        logits, scores = self.answers(embedding, points, labels, boxes, before)
        return Predicted((self.on_picture(logits, embedding) > 0).numpy(), scores.numpy(), logits.numpy())

    def _ratio(self, embedding: Embedding) -> np.ndarray:
        """(2,) x and y: pixels of the network per pixel of the picture. Rounding makes them differ."""
        height, width = seen_size(embedding.height, embedding.width, self.side_px)
        return np.array([width / embedding.width, height / embedding.height])


def seen_size(height: int, width: int, side_px: int) -> tuple[int, int]:
    """Height and width with the long side at `side_px`, each at least 1."""
    ratio = side_px / max(height, width)
    return max(1, int(height * ratio + 0.5)), max(1, int(width * ratio + 0.5))
