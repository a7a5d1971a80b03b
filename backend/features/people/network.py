"""A picture into where its people, vehicles and animals are.

The picture is brought to the network as torchvision's own transformation does for these weights: short side 520 pixels,
mean and deviation of ImageNet.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

# The labels of Pascal VOC, in the order of the network's answers.
CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
# What was there when one photo was taken and not when the next was. Boats and aeroplanes are not among them: those that
# people photograph lie in a harbour or stand on a plinth, and a boat rocks, so that it never is where it was and would
# be lost where the limit is halved. What stands in flower beds and cafés belongs to the place.
COME_AND_GO = ("bicycle", "bird", "bus", "car", "cat", "cow", "dog", "horse", "motorbike", "person", "sheep", "train")
SHORT_SIDE = 520  # pixels, that the weights were trained and scored at
LONG_SIDE_MAX = 1040  # bounds memory and time for panoramas
SURE_FROM = 0.5  # probability that it is any of those
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Network:
    """A segmentation network with weights. Deterministic on the CPU."""

    def __init__(self, model: Any, digest: str) -> None:
        self.model = model  # torch.nn.Module: (B, 3, h, w) to {"out": (B, 21, h, w)}
        self.digest = digest  # SHA-256 of the checkpoint
        self.device = torch.device("cpu")

    def to(self, device: str | torch.device) -> Network:
        """This network, moved to where it shall compute."""
        self.model, self.device = self.model.to(device), torch.device(device)
        return self

    @torch.inference_mode()
    def candidates(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB to (h, w) bool at the size of `seen_size`: what comes and goes."""
        shares = self.logits(picture).softmax(0)
        # Of all of them together: where a car might be a bus, it is one of the two.
        together = torch.stack([shares[CLASSES.index(name)] for name in COME_AND_GO]).sum(0)
        return (together > SURE_FROM).cpu().numpy()

    @torch.inference_mode()
    def logits(self, picture: np.ndarray) -> Tensor:
        """(21, h, w) float32: the network's answer for each of `CLASSES`."""
        return self.model(self.seen(picture).to(self.device))["out"][0]

    def seen(self, picture: np.ndarray) -> Tensor:
        """(1, 3, h, w) float32 on the CPU: the picture as the network sees it."""
        height, width = seen_size(*picture.shape[:2])
        resized = Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1).contiguous().float() / 255
        return ((pixels - torch.tensor(_MEAN)[:, None, None]) / torch.tensor(_DEVIATION)[:, None, None])[None]


def seen_size(height: int, width: int) -> tuple[int, int]:
    """Height and width that the network sees: short side `SHORT_SIDE`, unless the long one would pass its bound."""
    short, long = min(height, width), max(height, width)
    size = SHORT_SIDE, int(SHORT_SIDE * long / short)
    if size[1] > LONG_SIDE_MAX:
        size = max(1, round(LONG_SIDE_MAX * short / long)), LONG_SIDE_MAX
    return size if height <= width else (size[1], size[0])
