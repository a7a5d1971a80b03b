"""Bodies and a camera into what each pixel sees: bodies, surfaces, and how they answer light.

Rays are marched through distances of solid shapes; nothing here is shared with the splat renderer, so a
picture and its truth do not depend on what they are used to judge. The light a pixel sends is linear in
the ambient light, the sun's light and the sky's, so it is kept as these three answers and mixed later.
Every pixel is computed on its own: the result does not depend on the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numba import njit, prange

from backend.capture.sample.materials import albedo, ground
from backend.capture.sample.shapes import Bodies, crossing, distance, gap, march, normal
from backend.scene.cameras import Camera

SKY, GROUND = -2, -1  # what a ray meets besides bodies 0, 1, …
TOLERANCE = 4e-4  # a hit lies within this share of its distance from the surface
STRANDS = 32
_FAR = 90.0  # metres; the ground melts into the horizon before


@dataclass(frozen=True, eq=False)
class Sight:
    """What the rays through the pixel centres of one photo meet first, without and with passers-by."""

    body: np.ndarray  # (H, W) int16: a body of the square, GROUND or SKY
    shape: np.ndarray  # (H, W) int32: which shape of the square, -1 for ground and sky
    depth: np.ndarray  # (H, W) float64, metres along the ray, inf for the sky
    normal: np.ndarray  # (H, W, 3) float64, world
    passers: np.ndarray  # (H, W) bool, a passer-by stands in front


@dataclass(frozen=True, eq=False)
class Answer:
    """How each pixel answers light: linear RGB per unit of ambient light and of sunlight, and its share of sky."""

    ambient: np.ndarray  # (H, W, 3) float32
    direct: np.ndarray  # (H, W, 3) float32
    sky: np.ndarray  # (H, W) float32, 0..1


def look(square: Bodies, passers: Bodies, camera: Camera) -> Sight:
    """What each pixel centre sees."""
    height, width = camera.height, camera.width
    body = np.empty((height, width), np.int16)
    shape = np.empty((height, width), np.int32)
    depth, normals = np.empty((height, width)), np.zeros((height, width, 3))
    passer_depth = np.empty((height, width))
    rows = interleaved(height)
    _look(rows, *square.arrays, *passers.arrays, *_lens(camera), body, shape, depth, normals, passer_depth)
    return Sight(body, shape, depth, normals, passer_depth < depth)


def gather(
    square: Bodies,
    passers: Bodies,
    camera: Camera,
    sight: Sight,
    sun: np.ndarray,  # (3,) unit, world, towards the sun
) -> tuple[Answer, Answer]:
    """How the photo answers light without and with passers-by, four samples to a pixel."""
    height, width = camera.height, camera.width
    out = np.zeros((2, height, width, 7), np.float32)
    _gather(
        interleaved(height),
        *square.arrays,
        *passers.arrays,
        *_lens(camera),
        sight.body,
        sight.shape,
        sight.depth,
        sight.normal,
        sight.passers,
        np.asarray(sun, float),
        out,
    )
    clean, full = (Answer(side[..., :3], side[..., 3:6], side[..., 6]) for side in out)
    return clean, full


def interleaved(count: int) -> np.ndarray:
    """0 ... count − 1 (int64), any run of which is spread over the whole: sky costs a thread less than streets."""
    return np.concatenate([np.arange(first, count, STRANDS) for first in range(STRANDS)])


def _lens(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Camera centre, world_from_cam rotation, and fx fy cx cy."""
    rotation = np.ascontiguousarray(camera.cam_from_world[:3, :3].T)
    return camera.centre, rotation, np.array([camera.fx, camera.fy, camera.cx, camera.cy])


@njit(cache=True, fastmath=True)
def _ray(rotation, lens, u, v):
    """Unit world direction through a pixel position."""
    x, y = (u - lens[2]) / lens[0], (v - lens[3]) / lens[1]
    inverse = 1.0 / sqrt(x * x + y * y + 1.0)
    return (
        (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2]) * inverse,
        (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2]) * inverse,
        (rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2]) * inverse,
    )


@njit(cache=True, fastmath=True)
def _first(kinds, rows, starts, frames, enters, ox, oy, oz, dx, dy, dz, far):
    """Distance, body and shape of what a ray meets first before `far`; body -2 if nothing. `enters` is scratch."""
    for m in range(len(frames)):
        enter, leave = crossing(frames, m, ox, oy, oz, dx, dy, dz)
        enters[m] = enter if enter < leave else 1e9
    best, body, shape = far, -2, -1
    while True:
        nearest, m = best, -1
        for k in range(len(frames)):
            if enters[k] < nearest:
                nearest, m = enters[k], k
        if m < 0:
            return best, body, shape
        _, leave = crossing(frames, m, ox, oy, oz, dx, dy, dz)
        enters[m] = 1e9
        t, which = march(
            kinds, rows, starts[m], starts[m + 1], ox, oy, oz, dx, dy, dz, nearest, min(leave, best), TOLERANCE
        )
        if t >= 0 and t < best:
            best, body, shape = t, m, which


@njit(cache=True, fastmath=True)
def _meet(kinds, rows, starts, frames, enters, ox, oy, oz, dx, dy, dz):
    """The same for the square with its ground; the sky is at 1e9."""
    far, under = 1e9, -2
    if dz < -1e-6:
        t = -oz / dz
        if t < _FAR:
            far, under = t, -1
    t, body, shape = _first(kinds, rows, starts, frames, enters, ox, oy, oz, dx, dy, dz, far)
    if body == -2:
        return far, under, -1
    return t, body, shape


@njit(parallel=True, cache=True, fastmath=True)
def _look(
    rows_of_pixels, kinds, rows, starts, frames, p_kinds, p_rows, p_starts, p_frames, centre, rotation, lens,
    body, shape, depth, normals, passer_depth,
):  # fmt: skip
    height, width = body.shape
    ox, oy, oz = centre[0], centre[1], centre[2]
    for k in prange(height):
        j = rows_of_pixels[k]
        enters = np.empty(max(len(frames), len(p_frames)))
        for i in range(width):
            dx, dy, dz = _ray(rotation, lens, i + 0.5, j + 0.5)
            t, m, which = _meet(kinds, rows, starts, frames, enters, ox, oy, oz, dx, dy, dz)
            body[j, i], shape[j, i] = m, which
            depth[j, i] = t if m != -2 else np.inf
            if m == -1:
                normals[j, i, 2] = 1.0
            elif m >= 0:
                nx, ny, nz = normal(kinds, rows, starts[m], starts[m + 1], ox + t * dx, oy + t * dy, oz + t * dz)
                normals[j, i, 0], normals[j, i, 1], normals[j, i, 2] = nx, ny, nz
            s, p, _ = _first(p_kinds, p_rows, p_starts, p_frames, enters, ox, oy, oz, dx, dy, dz, min(t, 1e9))
            passer_depth[j, i] = s if p >= 0 else np.inf


@njit(cache=True, fastmath=True)
def _sunlit(kinds, rows, starts, frames, x, y, z, sun):
    """How much of the sun a place sees, 0..1, with the half-shadow of a wide sun."""
    seen = 1.0
    for m in range(len(frames)):
        enter, leave = crossing(frames, m, x, y, z, sun[0], sun[1], sun[2])
        if enter >= leave:
            continue
        t = enter + 0.01
        for _ in range(40):
            d, _ = distance(kinds, rows, starts[m], starts[m + 1], x + t * sun[0], y + t * sun[1], z + t * sun[2])
            if d < 0.003:
                return 0.0
            seen = min(seen, 0.5 + 16.0 * d / (t + 0.15))
            t += max(0.9 * d, 0.02)
            if t > leave:
                break
    seen = min(max(2 * seen - 1, 0.0), 1.0)
    return seen * seen * (3 - 2 * seen)


@njit(cache=True, fastmath=True)
def _open(kinds, rows, starts, frames, x, y, z, nx, ny, nz, with_ground):
    """How open to the sky's light a place is, 0..1: distances met at four places on the way out along its normal."""
    h0, h1, h2, h3 = 0.07, 0.17, 0.4, 0.97
    d0, d1, d2, d3 = h0, h1, h2, h3
    if with_ground:
        d0, d1 = min(d0, max(z + h0 * nz, 0.0)), min(d1, max(z + h1 * nz, 0.0))
        d2, d3 = min(d2, max(z + h2 * nz, 0.0)), min(d3, max(z + h3 * nz, 0.0))
    for m in range(len(frames)):
        away = gap(frames, m, x, y, z)
        if away > 2 * h3:
            continue
        a, b = starts[m], starts[m + 1]
        if gap(frames, m, x + h3 * nx, y + h3 * ny, z + h3 * nz) < d3:
            d3 = min(d3, distance(kinds, rows, a, b, x + h3 * nx, y + h3 * ny, z + h3 * nz)[0])
        if away < 2 * h2:
            d2 = min(d2, distance(kinds, rows, a, b, x + h2 * nx, y + h2 * ny, z + h2 * nz)[0])
        if away < 2 * h1:
            d1 = min(d1, distance(kinds, rows, a, b, x + h1 * nx, y + h1 * ny, z + h1 * nz)[0])
        if away < 2 * h0:
            d0 = min(d0, distance(kinds, rows, a, b, x + h0 * nx, y + h0 * ny, z + h0 * nz)[0])
    shut = 0.42 * (1 - d0 / h0) + 0.3 * (1 - d1 / h1) + 0.22 * (1 - d2 / h2) + 0.16 * (1 - d3 / h3)
    return max(1.0 - 0.85 * shut, 0.12)


@njit(cache=True, fastmath=True)
def _dome(nz, open_share):
    """Ambient light on a surface: brighter from above, some bounced from the pavement."""
    return open_share * (0.76 + 0.24 * nz)


@njit(cache=True, fastmath=True)
def _light(kinds, rows, starts, frames, p_kinds, p_rows, p_starts, p_frames, x, y, z, nx, ny, nz, sun, on_ground):
    """Ambient and direct light on a place of the square, and the direct and ambient shares passers-by leave."""
    sx, sy, sz = x + 0.015 * nx, y + 0.015 * ny, z + 0.015 * nz
    ambient = _dome(nz, _open(kinds, rows, starts, frames, x, y, z, nx, ny, nz, not on_ground))
    direct = max(nx * sun[0] + ny * sun[1] + nz * sun[2], 0.0)
    left, near = 1.0, 1.0
    if direct > 0:
        direct *= _sunlit(kinds, rows, starts, frames, sx, sy, sz, sun)
        if direct > 0 and len(p_frames) > 0:
            left = _sunlit(p_kinds, p_rows, p_starts, p_frames, sx, sy, sz, sun)
    if len(p_frames) > 0:
        near = _open(p_kinds, p_rows, p_starts, p_frames, x, y, z, nx, ny, nz, False)
    return ambient, direct, left, near


@njit(cache=True, fastmath=True)
def _colour(kinds, rows, body, shape, x, y, z, nx, ny, nz, footprint):
    if body == -1:
        return ground(x, y, footprint)
    return albedo(kinds[shape, 0], kinds[shape, 2], rows, shape, x, y, z, nx, ny, nz, footprint)


@njit(cache=True, fastmath=True)
def _edge(body, shape, depth, normals, passers, j, i):
    """Whether a pixel lies where surfaces meet, so that its samples must be traced one by one."""
    height, width = body.shape
    for step in range(4):
        k = j + (1 if step == 0 else (-1 if step == 1 else 0))
        n = i + (1 if step == 2 else (-1 if step == 3 else 0))
        if k < 0 or n < 0 or k >= height or n >= width:
            continue
        if body[k, n] != body[j, i] or shape[k, n] != shape[j, i] or passers[k, n] != passers[j, i]:
            return True
        if body[j, i] < 0:
            continue
        bend = 0.0
        for axis in range(3):
            bend += normals[k, n, axis] * normals[j, i, axis]
        if bend < 0.9 or abs(depth[k, n] - depth[j, i]) > 0.06 * depth[j, i]:
            return True
    return False


@njit(cache=True, fastmath=True)
def _put(out, side, j, i, r, g, b, ambient, direct, haze, share):
    """Add one sample to a pixel; far ground fades into the horizon."""
    a, d = ambient * (1 - haze) * share, direct * (1 - haze) * share
    out[side, j, i, 0] += r * a
    out[side, j, i, 1] += g * a
    out[side, j, i, 2] += b * a
    out[side, j, i, 3] += r * d
    out[side, j, i, 4] += g * d
    out[side, j, i, 5] += b * d
    out[side, j, i, 6] += haze * share


@njit(parallel=True, cache=True, fastmath=True)
def _gather(
    rows_of_pixels, kinds, rows, starts, frames, p_kinds, p_rows, p_starts, p_frames, centre, rotation, lens,
    body, shape, depth, normals, passers, sun, out,
):  # fmt: skip
    height, width = body.shape
    ox, oy, oz = centre[0], centre[1], centre[2]
    pixel = 1.0 / lens[0]
    for k in prange(height):
        j = rows_of_pixels[k]
        enters = np.empty(max(len(frames), len(p_frames)))
        for i in range(width):
            m = body[j, i]
            edge = _edge(body, shape, depth, normals, passers, j, i)
            # Light is met once, at the pixel's centre, and shared by the samples that see the same surface.
            ambient, direct, left, near, reach = 0.0, 0.0, 1.0, 1.0, 0.0
            mx, my, mz = normals[j, i, 0], normals[j, i, 1], normals[j, i, 2]
            cx, cy, cz = _ray(rotation, lens, i + 0.5, j + 0.5)
            if m != -2:
                t = depth[j, i]
                x, y, z = ox + t * cx, oy + t * cy, oz + t * cz
                ambient, direct, left, near = _light(
                    kinds, rows, starts, frames, p_kinds, p_rows, p_starts, p_frames,
                    x, y, z, mx, my, mz, sun, m == -1,
                )  # fmt: skip
                reach = t * (cx * mx + cy * my + cz * mz)
            for sample in range(4):
                # A rotated grid of four
                u = i + (0.375 if sample == 0 else (0.875 if sample == 1 else (0.125 if sample == 2 else 0.625)))
                v = j + 0.125 + 0.25 * sample
                dx, dy, dz = _ray(rotation, lens, u, v)
                t, hit, which = depth[j, i], m, shape[j, i]
                nx, ny, nz = mx, my, mz
                a, d, share, contact = ambient, direct, left, near
                if edge:
                    t, hit, which = _meet(kinds, rows, starts, frames, enters, ox, oy, oz, dx, dy, dz)
                elif m != -2:
                    # A smooth pixel: colour at four places of its tangent plane
                    facing = dx * nx + dy * ny + dz * nz
                    if facing < -0.02:
                        t = min(max(reach / facing, 0.9 * t), 1.1 * t)
                r, g, b, haze = 0.0, 0.0, 0.0, 1.0
                if hit == -2:
                    out[0, j, i, 6] += 0.25
                else:
                    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
                    if edge:
                        nx, ny, nz = 0.0, 0.0, 1.0
                        if hit >= 0:
                            nx, ny, nz = normal(kinds, rows, starts[hit], starts[hit + 1], x, y, z)
                        if hit != m or which != shape[j, i] or nx * mx + ny * my + nz * mz < 0.96:
                            a, d, share, contact = _light(
                                kinds, rows, starts, frames, p_kinds, p_rows, p_starts, p_frames,
                                x, y, z, nx, ny, nz, sun, hit == -1,
                            )  # fmt: skip
                    # Detail that a pixel cannot hold would flicker between photos. Seen at a slant a pixel is
                    # long one way only: the mean of its two widths keeps what the other way still holds.
                    slant = max(-(dx * nx + dy * ny + dz * nz), 0.08)
                    footprint = t * pixel / sqrt(slant)
                    r, g, b = _colour(kinds, rows, hit, which, x, y, z, nx, ny, nz, footprint)
                    haze = 0.0
                    if hit == -1:
                        haze = min(max((t - 35.0) / 50.0, 0.0), 1.0)
                    _put(out, 0, j, i, r, g, b, a, d, haze, 0.25)
                # With passers-by
                if passers[j, i] or edge:
                    s, p, skin = _first(
                        p_kinds, p_rows, p_starts, p_frames, enters, ox, oy, oz, dx, dy, dz, min(t, 1e9)
                    )
                    if p >= 0:
                        x, y, z = ox + s * dx, oy + s * dy, oz + s * dz
                        ax, ay, az = normal(p_kinds, p_rows, p_starts[p], p_starts[p + 1], x, y, z)
                        shade = _dome(az, _open(p_kinds, p_rows, p_starts, p_frames, x, y, z, ax, ay, az, True))
                        beam = max(ax * sun[0] + ay * sun[1] + az * sun[2], 0.0)
                        if beam > 0:
                            qx, qy, qz = x + 0.02 * ax, y + 0.02 * ay, z + 0.02 * az
                            beam *= _sunlit(p_kinds, p_rows, p_starts, p_frames, qx, qy, qz, sun)
                            beam *= _sunlit(kinds, rows, starts, frames, qx, qy, qz, sun)
                        pr, pg, pb = _colour(p_kinds, p_rows, p, skin, x, y, z, ax, ay, az, s * pixel)
                        _put(out, 1, j, i, pr, pg, pb, shade, beam, 0.0, 0.25)
                        continue
                if hit == -2:
                    out[1, j, i, 6] += 0.25
                else:
                    _put(out, 1, j, i, r, g, b, a * contact, d * share, haze, 0.25)
