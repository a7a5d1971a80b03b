"""A room with painted walls, photographed from known places: what structure from motion is tested on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from backend.scene.cameras import Camera, looking_at


@dataclass(frozen=True)
class Room:
    """Photos of two walls and a floor, and the cameras that took them."""

    folder: Path
    cameras: dict[str, Camera]


def room_cameras(count: int, width: int = 400, height: int = 300) -> list[Camera]:
    angles = np.linspace(-0.55, 0.55, count)
    return [
        looking_at(
            np.array([4.2 * np.sin(angle) + 1, -4.2 * np.cos(angle) + 1, 1.4 + 0.25 * (row % 3)]),
            np.array([0.0, 0.4, 0.8]),
            np.array([0.0, 0.0, 1.0]),
            focal=380.0,
            width=width,
            height=height,
        )
        for row, angle in enumerate(angles)
    ]


def room_picture(camera: Camera, first_texture: int = 0) -> np.ndarray:
    """(H, W, 3) uint8: the walls x = -2 and y = 2 and the floor z = 0, each with its own texture."""
    rays, centre = camera.rays(camera.pixel_centres()), camera.centre
    nearest = np.full(rays.shape[:2], np.inf)
    picture = np.zeros((*rays.shape[:2], 3), np.float32)
    for plane, (axis, offset) in enumerate([(0, -2.0), (1, 2.0), (2, 0.0)]):
        with np.errstate(divide="ignore", invalid="ignore"):
            distance = (offset - centre[axis]) / rays[..., axis]
        hit = (distance > 0) & (distance < nearest)
        nearest = np.where(hit, distance, nearest)
        at = np.delete(centre + distance[..., None] * rays, axis, axis=-1)[hit]
        texture = _texture(first_texture + plane)
        for channel in range(3):
            picture[hit, channel] = map_coordinates(
                texture[..., channel], (at.T * 110).astype(np.float32), order=1, mode="grid-wrap"
            )
    return np.clip(picture, 0, 255).astype(np.uint8)


def _texture(plane: int) -> np.ndarray:
    generator = np.random.default_rng(plane)
    noise = sum(
        gaussian_filter(generator.normal(size=(512, 512, 3)), (blur, blur, 0), mode="wrap") * blur * 60
        for blur in (2, 4, 9)
    )
    return (128 + noise).astype(np.float32)


def lens_tags() -> Image.Exif:
    """What a camera notes: 33 mm on film, which is 380 px of a picture 400 x 300. Six photos alone leave it loose."""
    tags = Image.Exif()
    tags.get_ifd(0x8769)[0xA405] = 33
    return tags
