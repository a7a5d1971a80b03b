"""Weather, sun and camera settings of a photo into its colours.

A picture is ambient light times the ambient answer, sunlight times the direct answer, and sky, then
what the camera makes of it: exposure, white balance, contrast, a shoulder, sRGB, noise.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numba import njit, prange

from backend.capture.sample.materials import chance, clouds
from backend.capture.sample.raycast import Answer
from backend.scene.cameras import Camera

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Light:
    """Everything that makes one photo of a place look unlike another."""

    weather: str
    exposure_ev: float  # stops
    white_balance: Colour  # gains of linear RGB, green about 1
    contrast: float  # slope about mid grey in logarithmic light
    sun_azimuth_deg: float  # from x towards y
    sun_elevation_deg: float
    sun: Colour  # linear RGB of sunlight
    ambient: Colour  # linear RGB of the sky's light on a surface
    zenith: Colour  # linear RGB of the sky overhead
    horizon: Colour
    cloudiness: float  # 0..1
    cloud_seed: int
    noise: float  # standard deviation of sensor noise, of 1

    @property
    def towards_sun(self) -> np.ndarray:
        """(3,) float64, unit, world."""
        azimuth, elevation = np.radians([self.sun_azimuth_deg, self.sun_elevation_deg])
        return np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Light:
        return cls(**{key: tuple(entry) if isinstance(entry, list) else entry for key, entry in value.items()})


NEUTRAL = Light(
    weather="neutral",
    exposure_ev=0.0,
    white_balance=(1.0, 1.0, 1.0),
    contrast=1.0,
    sun_azimuth_deg=0.0,
    sun_elevation_deg=60.0,
    sun=(0.0, 0.0, 0.0),
    ambient=(1.3, 1.3, 1.3),
    zenith=(0.62, 0.66, 0.7),
    horizon=(0.8, 0.81, 0.82),
    cloudiness=0.0,
    cloud_seed=0,
    noise=0.0,
)

# Weather: sun elevations, sun, ambient, zenith, horizon, clouds. Shadows keep more than half of the light,
# as photos keep detail in them.
_WEATHERS: dict[str, tuple[tuple[float, float], Colour, Colour, Colour, Colour, float]] = {
    "clear": ((40, 65), (0.7, 0.66, 0.59), (0.74, 0.8, 0.9), (0.12, 0.28, 0.62), (0.55, 0.7, 0.88), 0.35),
    "hazy": ((35, 60), (0.42, 0.39, 0.34), (0.95, 0.96, 0.95), (0.42, 0.53, 0.66), (0.85, 0.86, 0.84), 0.25),
    "overcast": ((40, 70), (0.07, 0.07, 0.07), (1.12, 1.16, 1.22), (0.52, 0.56, 0.62), (0.75, 0.78, 0.8), 0.8),
    "afternoon": ((20, 32), (0.73, 0.56, 0.35), (0.74, 0.74, 0.78), (0.2, 0.34, 0.58), (0.86, 0.76, 0.6), 0.4),
    "sunset": ((10, 17), (0.59, 0.34, 0.18), (0.84, 0.72, 0.76), (0.28, 0.28, 0.5), (1.0, 0.55, 0.32), 0.6),
    "morning": ((18, 30), (0.49, 0.46, 0.39), (0.84, 0.92, 1.02), (0.34, 0.46, 0.64), (0.82, 0.82, 0.78), 0.3),
}


def drawn(random: np.random.Generator) -> Light:
    """The light of one photo, drawn at random."""
    weather = str(random.choice(list(_WEATHERS), p=[0.28, 0.16, 0.16, 0.18, 0.1, 0.12]))
    elevations, sun, ambient, zenith, horizon, cloudiness = _WEATHERS[weather]
    warmth, tint = random.normal(0, 0.07), random.normal(0, 0.025)
    return Light(
        weather=weather,
        exposure_ev=float(np.round(random.uniform(-0.7, 0.7), 4)),
        white_balance=(float(np.exp(warmth)), float(np.exp(tint)), float(np.exp(-1.3 * warmth))),
        contrast=float(random.uniform(0.9, 1.2)),
        sun_azimuth_deg=float(random.uniform(0, 360)),
        sun_elevation_deg=float(random.uniform(*elevations)),
        sun=sun,
        ambient=ambient,
        zenith=zenith,
        horizon=horizon,
        cloudiness=float(np.clip(cloudiness + random.normal(0, 0.15), 0, 1)),
        cloud_seed=int(random.integers(1000)),
        noise=float(random.uniform(0.004, 0.012)),
    )


def sky(camera: Camera, light: Light) -> np.ndarray:
    """The sky behind the houses, (H, W, 3) float32 linear RGB: a gradient, clouds, far hills, a glow by the sun."""
    up = light.towards_sun
    out = np.empty((camera.height, camera.width, 3), np.float32)
    _sky(
        np.ascontiguousarray(camera.cam_from_world[:3, :3].T),
        np.array([camera.fx, camera.fy, camera.cx, camera.cy]),
        np.array([light.zenith, light.horizon, light.sun]),
        up,
        light.cloudiness,
        float(light.cloud_seed),
        out,
    )
    return out


def mixed(answer: Answer, sky_behind: np.ndarray, light: Light) -> np.ndarray:
    """Light that reaches the camera, (H, W, 3) float32 linear RGB."""
    lit = answer.ambient * np.float32(light.ambient) + answer.direct * np.float32(light.sun)
    return lit + answer.sky[..., None] * sky_behind


def exposed(linear: np.ndarray, light: Light) -> np.ndarray:
    """Scene light (H, W, 3) linear into display values 0..1 (sRGB), without noise."""
    grey = 0.18
    seen = linear * np.float32(2.0**light.exposure_ev * np.array(light.white_balance))
    seen = grey * (np.maximum(seen, np.float32(1e-6)) / grey) ** light.contrast
    # A straight line up to 0.6, then a shoulder that reaches 1 smoothly.
    shoulder = 0.6
    over = np.maximum(seen - shoulder, 0)
    seen = np.where(seen > shoulder, shoulder + (1 - shoulder) * over / (over + 1 - shoulder), seen)
    return np.where(seen <= 0.0031308, 12.92 * seen, 1.055 * np.maximum(seen, 1e-6) ** (1 / 2.4) - 0.055)


def quantised(display: np.ndarray, *, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Display values (H, W, 3) 0..1 into uint8, with the sensor's noise of that standard deviation."""
    if noise > 0:
        display = display + np.float32(noise) * np.random.default_rng(seed).standard_normal(
            display.shape, dtype=np.float32
        )
    return (np.clip(display, 0, 1) * 255 + 0.5).astype(np.uint8)


@njit(parallel=True, cache=True, fastmath=True)
def _sky(rotation, lens, colours, towards_sun, cloudiness, cloud_seed, out):
    height, width = out.shape[:2]
    for j in prange(height):
        for i in range(width):
            x, y = (i + 0.5 - lens[2]) / lens[0], (j + 0.5 - lens[3]) / lens[1]
            dx = rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2]
            dy = rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2]
            dz = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2]
            length = np.sqrt(dx * dx + dy * dy + dz * dz)
            dx, dy, dz = dx / length, dy / length, dz / length
            rise = max(dz, 0.0)
            mix = (1.0 - rise) ** 4
            glow = max(dx * towards_sun[0] + dy * towards_sun[1] + dz * towards_sun[2], 0.0) ** 12
            sheet = 1.0 / (rise + 0.18)
            puff = clouds(1.3 * dx * sheet + cloud_seed, 1.3 * dy * sheet, 0.37 * cloud_seed)
            cover = min(max((puff - 0.45 + 0.9 * cloudiness) * 2.2, 0.0), 1.0) * min(1.0, 6.0 * rise + 0.3)
            cover *= 0.85
            # Far hills, the same in every photo
            angle = np.arctan2(dy, dx)
            crest = 0.075 + 0.03 * np.sin(3 * angle + 1) + 0.018 * np.sin(7 * angle) + 0.006 * np.sin(23 * angle)
            hill = min(max((crest - dz) * 120.0, 0.0), 1.0)
            shade = 0.6 + 0.15 * chance(np.floor(angle * 60), np.floor(dz * 90), 3)
            for c in range(3):
                value = colours[0, c] * (1 - mix) + colours[1, c] * mix
                bright = 0.55 + 0.3 * colours[1, c] + 0.25 * colours[2, c]
                value = value * (1 - cover) + cover * bright * (0.8 + 0.35 * puff) + 0.35 * glow * colours[2, c]
                far = colours[1, c] * shade * (0.62 if c == 0 else (0.74 if c == 1 else 0.78))
                out[j, i, c] = value * (1 - hill) + far * hill
