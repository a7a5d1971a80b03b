"""The picture that splats should make, in float64 and without any of the add-on's code: every row, every pixel."""

from __future__ import annotations

import numpy as np

SH_C0 = 0.28209479177387814


def bases(d: np.ndarray) -> np.ndarray:
    """(M, 15) harmonics of degree 1 to 3 at unit directions (M, 3): constants from Sloan, "Stupid SH Tricks"."""
    x, y, z = d.T
    pi = np.pi
    return np.stack(
        [
            -np.sqrt(3 / (4 * pi)) * y,
            np.sqrt(3 / (4 * pi)) * z,
            -np.sqrt(3 / (4 * pi)) * x,
            np.sqrt(15 / (4 * pi)) * x * y,
            -np.sqrt(15 / (4 * pi)) * y * z,
            np.sqrt(5 / (16 * pi)) * (3 * z * z - 1),
            -np.sqrt(15 / (4 * pi)) * x * z,
            np.sqrt(15 / (16 * pi)) * (x * x - y * y),
            -np.sqrt(35 / (32 * pi)) * y * (3 * x * x - y * y),
            np.sqrt(105 / (4 * pi)) * x * y * z,
            -np.sqrt(21 / (32 * pi)) * y * (5 * z * z - 1),
            np.sqrt(7 / (16 * pi)) * z * (5 * z * z - 3),
            -np.sqrt(21 / (32 * pi)) * x * (5 * z * z - 1),
            np.sqrt(105 / (16 * pi)) * z * (x * x - y * y),
            -np.sqrt(35 / (32 * pi)) * x * (x * x - 3 * y * y),
        ],
        1,
    )


def covariances(scales: np.ndarray, quats: np.ndarray) -> np.ndarray:
    """(M, 3, 3) from standard deviations (M, 3) and unit quaternions (M, 4) wxyz, through q·v·q* of the axes."""
    w, v = quats[:, :1].astype(float), quats[:, 1:].astype(float)
    axes = []
    for k in range(3):
        e = np.broadcast_to(np.eye(3)[k], v.shape)
        axes.append(e + 2 * np.cross(v, np.cross(v, e) + w * e))
    R = np.stack(axes, -1)
    return R * (scales.astype(float) ** 2)[:, None, :] @ R.transpose(0, 2, 1)


def picture(
    positions, scales, quats, opacities, base, sh, matrix, view, *, grade=None, at=None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Premultiplied colour (H, W, 3), alpha (H, W) and, of what lies in front, z of the rows sorted (M,).

    `matrix` (4, 4) is the object's, `view` has the fields of `camera.View`. With `at` (u, v), of (P,) each, a row of
    those pixels is computed instead.
    """
    world = positions @ matrix[:3, :3].T + matrix[:3, 3]
    cam = world @ view.cam_from_world[:3, :3].T + view.cam_from_world[:3, 3]
    linear = view.cam_from_world[:3, :3] @ matrix[:3, :3]
    sigma = linear @ covariances(scales, quats) @ linear.T
    if view.orthographic:
        inverse = np.linalg.inv(matrix[:3, :3])
        direction = np.broadcast_to(inverse @ view.cam_from_world[2, :3], positions.shape)
    else:
        eye = np.linalg.inv(view.cam_from_world @ matrix)[:3, 3]
        direction = positions - eye
    direction = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    colors = base * SH_C0 + 0.5
    if sh.shape[1]:
        colors = colors + np.einsum("mk,mkc->mc", bases(direction)[:, : sh.shape[1]], sh)
    colors = np.maximum(colors if grade is None else colors @ grade.T, 0)
    H, W = view.height, view.width
    u, v = np.meshgrid(np.arange(W) + 0.5, np.arange(H) + 0.5) if at is None else (np.atleast_2d(c) for c in at)
    image, through = np.zeros((*u.shape, 3)), np.ones(u.shape)
    order = np.argsort(cam[:, 2], kind="stable")
    for i in order:
        x, y, z = cam[i]
        if not view.orthographic and z < view.near:
            continue
        if opacities[i] < 1 / 255:
            continue
        if view.orthographic:
            J = np.array([[view.fx, 0, 0], [0, view.fy, 0]])
            centre = view.fx * x + view.cx, view.fy * y + view.cy
        else:
            sx = np.clip(x / z, (-view.cx - 0.15 * W) / view.fx, (W - view.cx + 0.15 * W) / view.fx)
            sy = np.clip(y / z, (-view.cy - 0.15 * H) / view.fy, (H - view.cy + 0.15 * H) / view.fy)
            J = np.array([[view.fx / z, 0, -view.fx * sx / z], [0, view.fy / z, -view.fy * sy / z]])
            centre = view.fx * x / z + view.cx, view.fy * y / z + view.cy
        conic = np.linalg.inv(J @ sigma[i] @ J.T + 0.3 * np.eye(2))
        du, dv = u - centre[0], v - centre[1]
        power = 0.5 * (conic[0, 0] * du * du + conic[1, 1] * dv * dv) + conic[0, 1] * du * dv
        alpha = np.minimum(0.999, opacities[i] * np.exp(-power))
        alpha[(alpha < 1 / 255) | (power > 0.5 * 3.33**2)] = 0
        image += (alpha * through)[..., None] * colors[i]
        through = through * (1 - alpha)
    return image, 1 - through, np.sort(cam[:, 2])


def random_rows(count: int, seed: int, *, bases: int = 15, spread: float = 1.0):
    """Anisotropic splats around the origin, among them needles, flat and nearly solid ones; raw arrays."""
    rng = np.random.default_rng(seed)
    positions = rng.normal(0, spread, (count, 3)).astype(np.float32)
    scales = np.exp(rng.uniform(np.log(0.004), np.log(0.3), (count, 3))).astype(np.float32) * np.float32(spread)
    quats = rng.normal(size=(count, 4))
    quats = (quats / np.linalg.norm(quats, axis=1, keepdims=True)).astype(np.float32)
    opacities = rng.choice([0.0, 0.02, 0.3, 0.8, 1.0], count).astype(np.float32)
    base = rng.normal(0, 1.2, (count, 3)).astype(np.float32)
    sh = rng.normal(0, 0.15, (count, bases, 3)).astype(np.float32)
    return positions, scales, quats, opacities, base, sh
