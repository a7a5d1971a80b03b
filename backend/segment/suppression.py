"""Many overlapping masks into few: of masks that show nearly the same, the best stays.

First by boxes, which is cheap, then by the masks themselves as packed bits. In numpy: torchvision's compiled
operators may be missing.
"""

from __future__ import annotations

import numpy as np

BOX_IOU, MASK_IOU = 0.7, 0.9
_BITS = np.array([bin(byte).count("1") for byte in range(256)], np.uint8)


def packed(masks: np.ndarray) -> np.ndarray:
    """(n, H, W) bool to (n, ceil(H·W/8)) uint8, rows one after the other, highest bit first."""
    return np.packbits(masks.reshape(len(masks), masks.shape[1] * masks.shape[2]), axis=1)


def unpacked(bits: np.ndarray, height: int, width: int) -> np.ndarray:
    """(n, ceil(H·W/8)) uint8 to (n, H, W) bool."""
    return np.unpackbits(bits, axis=1, count=height * width).astype(bool).reshape(len(bits), height, width)


def areas(bits: np.ndarray) -> np.ndarray:
    """(n,) int64 pixels of packed masks."""
    return np.array([_BITS[row].sum(dtype=np.int64) for row in bits], np.int64)


def shared(bits: np.ndarray, one: np.ndarray) -> np.ndarray:
    """(n,) int64: pixels that each of n packed masks has in common with one."""
    return np.array([_BITS[row & one].sum(dtype=np.int64) for row in bits], np.int64)


def boxes_of(masks: np.ndarray) -> np.ndarray:
    """(n, 4) int64 left, top, right, bottom of masks (n, H, W) bool, ends excluded; zeros for an empty one."""
    boxes = np.zeros((len(masks), 4), np.int64)
    for number, mask in enumerate(masks):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            boxes[number] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def boxes_of_packed(bits: np.ndarray, height: int, width: int) -> np.ndarray:
    """The same of packed masks, unpacked one at a time."""
    boxes = [boxes_of(unpacked(bits[row : row + 1], height, width)) for row in range(len(bits))]
    return np.concatenate([np.zeros((0, 4), np.int64), *boxes])


def distinct(boxes: np.ndarray, bits: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Numbers (k,) of the masks that stay, best score first; of equal scores, the earlier wins."""
    kept = _by_boxes(boxes.astype(float), scores)
    return _by_masks(kept, boxes, bits)


def _by_boxes(boxes: np.ndarray, scores: np.ndarray) -> np.ndarray:
    order = np.argsort(-scores, kind="stable")
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        width = np.minimum(boxes[rest, 2], boxes[best, 2]) - np.maximum(boxes[rest, 0], boxes[best, 0])
        height = np.minimum(boxes[rest, 3], boxes[best, 3]) - np.maximum(boxes[rest, 1], boxes[best, 1])
        common = np.clip(width, 0, None) * np.clip(height, 0, None)
        order = rest[common <= BOX_IOU * (area[rest] + area[best] - common)]
    return np.array(kept, np.int64)


def _by_masks(order: np.ndarray, boxes: np.ndarray, bits: np.ndarray) -> np.ndarray:
    area = areas(bits[order])
    kept: list[int] = []  # places in `order`
    for place, number in enumerate(order):
        others = np.array(kept, np.int64)
        if len(others):
            near = boxes[order[others]]
            apart = (near[:, :2] >= boxes[number, 2:]).any(1) | (near[:, 2:] <= boxes[number, :2]).any(1)
            # Areas alone bound the IoU: most pairs are decided without looking at pixels.
            alike = np.minimum(area[others], area[place]) > MASK_IOU * np.maximum(area[others], area[place])
            others = others[~apart & alike]
        common = shared(bits[order[others]], bits[number])
        if not (common > MASK_IOU * (area[others] + area[place] - common)).any():
            kept.append(place)
    return order[kept]
