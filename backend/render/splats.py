"""3D Gaussians and a camera into the splats it sees: projection as compiled loops with gradients.

The arithmetic is that of `projection.project`, which stays the plain statement of it and the float64 ground
truth. Rows are worked on in blocks of fixed size and no two threads write one address: results are bit-equal
between runs and thread counts.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from backend.render.cpu import Threads
from backend.render.projection import BLUR, EXTENT_MAX, NEAR, OPACITY_MIN, Projected
from backend.scene.cameras import Camera

f32, f64 = np.float32, np.float64

# All but the assumption that NaN and infinity do not occur: they are looked for here.
FASTMATH = {"nsz", "arcp", "contract", "afn", "reassoc"}
BLOCK = 512  # rows per job, fixed: the compiler may round a loop's last rows differently
ONE, TWO = f32(1), f32(2)
_NEAR, _BLUR, _EXTENT_MAX = f32(NEAR), f32(BLUR), f32(EXTENT_MAX)
LOGIT_MIN = f32(math.log(OPACITY_MIN / (1 - OPACITY_MIN)))
LOG_SCALE_MAX = f32(88)  # exp of more is infinite
LARGEST = np.finfo(f32).max  # math.isfinite is x − x == x − x, which this fastmath turns into True
SLACK = f32(EXTENT_MAX * math.sqrt(BLUR) + 1.0)  # px; the box is rounded up

# Columns of one projected row.
U, V, CONIC_A, CONIC_B, CONIC_C, OPACITY, DEPTH, RADIUS_X, RADIUS_Y = range(9)
COLUMNS = 9
# Camera numbers after the twelve of cam_from_world.
FX, FY, CX, CY, WIDTH, HEIGHT, LOW_X, HIGH_X, LOW_Y, HIGH_Y, REACH_X, REACH_Y = range(12, 24)


def camera_numbers(view: Camera) -> np.ndarray:
    """(24,) float64: cam_from_world by rows, then the columns FX ... REACH_Y."""
    numbers = np.empty(24)
    numbers[:12] = view.cam_from_world[:3].ravel()
    margin_x, margin_y = 0.15 * view.width / view.fx, 0.15 * view.height / view.fy
    low_x, high_x = -view.cx / view.fx - margin_x, (view.width - view.cx) / view.fx + margin_x
    low_y, high_y = -view.cy / view.fy - margin_y, (view.height - view.cy) / view.fy + margin_y
    # The Jacobian's rows are at most f/z·sqrt(1 + tan²) long, tan at the clamp.
    reach_x = view.fx * EXTENT_MAX * math.hypot(1, max(-low_x, high_x))
    reach_y = view.fy * EXTENT_MAX * math.hypot(1, max(-low_y, high_y))
    numbers[12:18] = view.fx, view.fy, view.cx, view.cy, view.width, view.height
    numbers[18:] = low_x, high_x, low_y, high_y, reach_x, reach_y
    return numbers


@njit(forceinline=True, fastmath=FASTMATH)
def _rotation(w, x, y, z):
    """Rotation matrix of a unit quaternion, by rows."""
    return (
        (ONE - TWO * (y * y + z * z), TWO * (x * y - w * z), TWO * (x * z + w * y)),
        (TWO * (x * y + w * z), ONE - TWO * (x * x + z * z), TWO * (y * z - w * x)),
        (TWO * (x * z - w * y), TWO * (y * z + w * x), ONE - TWO * (x * x + y * y)),
    )


@njit(forceinline=True, fastmath=FASTMATH)
def _in_camera(camera, i, a, b, c):
    """Row i of the camera's rotation times a vector."""
    return camera[4 * i] * a + camera[4 * i + 1] * b + camera[4 * i + 2] * c


@njit(forceinline=True, fastmath=FASTMATH)
def _screen_axes(camera, turned, scales, x, y, z):
    """The scaled axes of one Gaussian in camera space and on the screen (px): g2, u-row, v-row, a, b, ratios.

    The screen covariance is the square of the two rows, and the third camera row g2 and the clamped ratios
    are what the backward pass needs beside them.
    """
    ratio_x = min(max(x / z, camera[LOW_X]), camera[HIGH_X])
    ratio_y = min(max(y / z, camera[LOW_Y]), camera[HIGH_Y])
    a, b = camera[FX] / z, camera[FY] / z
    (m00, m01, m02), (m10, m11, m12), (m20, m21, m22) = turned
    s0, s1, s2 = scales
    m00, m10, m20 = m00 * s0, m10 * s0, m20 * s0
    m01, m11, m21 = m01 * s1, m11 * s1, m21 * s1
    m02, m12, m22 = m02 * s2, m12 * s2, m22 * s2
    g2 = (
        _in_camera(camera, 2, m00, m10, m20),
        _in_camera(camera, 2, m01, m11, m21),
        _in_camera(camera, 2, m02, m12, m22),
    )
    row_u = (
        a * (_in_camera(camera, 0, m00, m10, m20) - ratio_x * g2[0]),
        a * (_in_camera(camera, 0, m01, m11, m21) - ratio_x * g2[1]),
        a * (_in_camera(camera, 0, m02, m12, m22) - ratio_x * g2[2]),
    )
    row_v = (
        b * (_in_camera(camera, 1, m00, m10, m20) - ratio_y * g2[0]),
        b * (_in_camera(camera, 1, m01, m11, m21) - ratio_y * g2[1]),
        b * (_in_camera(camera, 1, m02, m12, m22) - ratio_y * g2[2]),
    )
    return g2, row_u, row_v, a, b, ratio_x, ratio_y


@njit(forceinline=True, fastmath=FASTMATH)
def _conic(p, q):
    """Variances and determinant of the blurred screen covariance, and its inverse.

    By Lagrange's identity the determinant is |p×q|² and positive terms: unlike var·var − cov² it does not
    cancel for long needles.
    """
    pp = p[0] * p[0] + p[1] * p[1] + p[2] * p[2]
    qq = q[0] * q[0] + q[1] * q[1] + q[2] * q[2]
    pq = p[0] * q[0] + p[1] * q[1] + p[2] * q[2]
    n0 = p[1] * q[2] - p[2] * q[1]
    n1 = p[2] * q[0] - p[0] * q[2]
    n2 = p[0] * q[1] - p[1] * q[0]
    determinant = n0 * n0 + n1 * n1 + n2 * n2 + _BLUR * (pp + qq) + _BLUR * _BLUR
    inverse = ONE / determinant
    var_u, var_v = pp + _BLUR, qq + _BLUR
    return var_u, var_v, determinant, var_v * inverse, -pq * inverse, var_u * inverse


@njit(forceinline=True, fastmath=FASTMATH)
def _project_row(i, means, quats, log_scales, logits, camera, out):
    """Project row i into `out` (COLUMNS,). Returns 1 if it can be seen, 0 if not, -1 if it is no Gaussian."""
    mx, my, mz = means[i, 0], means[i, 1], means[i, 2]
    qw, qx, qy, qz = quats[i, 0], quats[i, 1], quats[i, 2], quats[i, 3]
    l0, l1, l2 = log_scales[i, 0], log_scales[i, 1], log_scales[i, 2]
    logit = logits[i]
    norm = qw * qw + qx * qx + qy * qy + qz * qz
    largest = max(l0, max(l1, l2))
    if not (
        norm > f32(0)
        and abs(mx + my + mz + norm) <= LARGEST
        and largest <= LOG_SCALE_MAX
        and l0 + l1 + l2 <= f32(3) * LOG_SCALE_MAX  # false for NaN in any place, unlike max
        and not math.isnan(logit)
    ):
        return -1
    z = _in_camera(camera, 2, mx, my, mz) + camera[11]
    if not (z > _NEAR and logit >= LOGIT_MIN):
        return 0
    x = _in_camera(camera, 0, mx, my, mz) + camera[3]
    y = _in_camera(camera, 1, mx, my, mz) + camera[7]
    width, height = camera[WIDTH], camera[HEIGHT]
    u = camera[FX] * x / z + camera[CX]
    v = camera[FY] * y / z + camera[CY]
    # A bound on the box first: it spares most of what is off screen the rest.
    reach = math.exp(largest) / z
    reach_x, reach_y = reach * camera[REACH_X] + SLACK, reach * camera[REACH_Y] + SLACK
    if not (u + reach_x > f32(0) and u - reach_x < width and v + reach_y > f32(0) and v - reach_y < height):
        return 0
    inverse = ONE / math.sqrt(norm)
    turned = _rotation(qw * inverse, qx * inverse, qy * inverse, qz * inverse)
    scales = (math.exp(l0), math.exp(l1), math.exp(l2))
    _, row_u, row_v, _, _, _, _ = _screen_axes(camera, turned, scales, x, y, z)
    var_u, var_v, determinant, conic_a, conic_b, conic_c = _conic(row_u, row_v)
    opacity = ONE / (ONE + math.exp(-logit))
    extent = min(math.sqrt(max(TWO * math.log(f32(255) * opacity), f32(0))), _EXTENT_MAX)
    radius_x = f32(math.ceil(extent * math.sqrt(var_u)))
    radius_y = f32(math.ceil(extent * math.sqrt(var_v)))
    if not (
        determinant <= LARGEST
        and u + radius_x > f32(0)
        and u - radius_x < width
        and v + radius_y > f32(0)
        and v - radius_y < height
    ):
        return 0
    out[U], out[V] = u, v
    out[CONIC_A], out[CONIC_B], out[CONIC_C] = conic_a, conic_b, conic_c
    out[OPACITY], out[DEPTH] = opacity, z
    out[RADIUS_X], out[RADIUS_Y] = radius_x, radius_y
    return 1


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def _project(means, quats, log_scales, logits, camera):
    """Every block's visible rows, packed at the start of the block's part of `packed` (N, COLUMNS) and `rows`.

    Also how many each block holds, and how many rows are no Gaussians.
    """
    count = len(means)
    blocks = (count + BLOCK - 1) // BLOCK
    packed = np.empty((count, COLUMNS), f32)
    rows = np.empty(count, np.int32)
    held = np.zeros(blocks, np.int64)
    rejected = np.zeros(blocks, np.int64)
    for block in prange(blocks):
        first = block * BLOCK
        place = first
        bad = 0
        for i in range(first, min(first + BLOCK, count)):
            seen = _project_row(i, means, quats, log_scales, logits, camera, packed[place])
            if seen > 0:
                rows[place] = i
                place += 1
            elif seen < 0:
                bad += 1
        held[block] = place - first
        rejected[block] = bad
    return packed, rows, held, rejected.sum()


@njit(cache=True)
def _nearest_first(bits, held):
    """Places in `packed` by depth, ties in row order: (S,) int32.

    Radix sort, 3 × 11 bits: positive floats order like their bits (N, COLUMNS) uint32.
    """
    count = held.sum()
    keys, places = np.empty(count, np.uint32), np.empty(count, np.int32)
    tally = np.zeros((3, 2048), np.int64)
    n = 0
    for block in range(len(held)):
        for place in range(block * BLOCK, block * BLOCK + held[block]):
            key = bits[place, DEPTH]
            keys[n], places[n] = key, place
            for digit in range(3):
                tally[digit, (key >> np.uint32(11 * digit)) & np.uint32(2047)] += 1
            n += 1
    next_keys, next_places = np.empty_like(keys), np.empty_like(places)
    for digit in range(3):
        starts = tally[digit]
        total = 0
        for value in range(2048):
            total, starts[value] = total + starts[value], total
        for n in range(count):
            value = (keys[n] >> np.uint32(11 * digit)) & np.uint32(2047)
            at = starts[value]
            next_keys[at], next_places[at] = keys[n], places[n]
            starts[value] = at + 1
        keys, next_keys = next_keys, keys
        places, next_places = next_places, places
    return places


@njit(parallel=True, cache=True)
def _unpacked(packed, packed_rows, order):
    """The columns of `packed` in `order`, as the arrays of `Projected`."""
    count = len(order)
    rows = np.empty(count, np.int64)
    means2d, conics, radii = np.empty((count, 2), f32), np.empty((count, 3), f32), np.empty((count, 2), f32)
    opacities, depths = np.empty(count, f32), np.empty(count, f32)
    for s in prange(count):
        place = order[s]
        rows[s] = packed_rows[place]
        means2d[s, 0], means2d[s, 1] = packed[place, U], packed[place, V]
        for k in range(3):
            conics[s, k] = packed[place, CONIC_A + k]
        opacities[s], depths[s] = packed[place, OPACITY], packed[place, DEPTH]
        radii[s, 0], radii[s, 1] = packed[place, RADIUS_X], packed[place, RADIUS_Y]
    return rows, means2d, conics, opacities, depths, radii


@njit(cache=True)
def places_of(rows, count):
    """The inverse of `rows` (S,): (count,) int32, -1 where a row is not visible."""
    places = np.full(count, -1, np.int32)
    for s in range(len(rows)):
        places[rows[s]] = s
    return places


@njit(forceinline=True, fastmath=FASTMATH)
def _axis_gradient(camera, p, q, g2, scale, a, b, ratio_x, ratio_y, v_var_u, v_cov, v_var_v):
    """Gradient of one scaled axis, in the world and times its scale; then the sums over axes for z and the ratios.

    p and q are the axis' entries of the screen rows, g2 that of the third camera row.
    """
    v_p = TWO * v_var_u * p + v_cov * q
    v_q = TWO * v_var_v * q + v_cov * p
    v_g0, v_g1 = a * v_p, b * v_q
    v_g2 = -(ratio_x * v_g0 + ratio_y * v_g1)
    return (
        scale * (camera[0] * v_g0 + camera[4] * v_g1 + camera[8] * v_g2),
        scale * (camera[1] * v_g0 + camera[5] * v_g1 + camera[9] * v_g2),
        scale * (camera[2] * v_g0 + camera[6] * v_g1 + camera[10] * v_g2),
        v_p * p + v_q * q,
        v_g0 * g2,
        v_g1 * g2,
    )


@njit(parallel=True, fastmath=FASTMATH, cache=True)
def _pull_back(means, quats, log_scales, logits, camera, places, v_means2d, v_conics, v_opacities, v_depths):
    """Gradients of the splats (S, ...) into those of the rows (N, ...); every row is written once.

    In float64, because the pull on a needle's length and direction is what remains of large opposite terms,
    and outside of vector registers it costs hardly more.
    """
    count = len(means)
    d_means, d_quats = np.empty((count, 3), f32), np.empty((count, 4), f32)
    d_log_scales, d_logits = np.empty((count, 3), f32), np.empty(count, f32)
    for block in prange((count + BLOCK - 1) // BLOCK):
        for i in range(block * BLOCK, min((block + 1) * BLOCK, count)):
            s = places[i]
            if s < 0:
                d_means[i, 0] = d_means[i, 1] = d_means[i, 2] = f32(0)
                d_log_scales[i, 0] = d_log_scales[i, 1] = d_log_scales[i, 2] = f32(0)
                d_quats[i, 0] = d_quats[i, 1] = d_quats[i, 2] = d_quats[i, 3] = f32(0)
                d_logits[i] = f32(0)
                continue
            mx, my, mz = f64(means[i, 0]), f64(means[i, 1]), f64(means[i, 2])
            x = _in_camera(camera, 0, mx, my, mz) + camera[3]
            y = _in_camera(camera, 1, mx, my, mz) + camera[7]
            z = _in_camera(camera, 2, mx, my, mz) + camera[11]
            qw, qx, qy, qz = f64(quats[i, 0]), f64(quats[i, 1]), f64(quats[i, 2]), f64(quats[i, 3])
            inverse = ONE / math.sqrt(qw * qw + qx * qx + qy * qy + qz * qz)
            qw, qx, qy, qz = qw * inverse, qx * inverse, qy * inverse, qz * inverse
            turned = _rotation(qw, qx, qy, qz)
            scales = (math.exp(f64(log_scales[i, 0])), math.exp(f64(log_scales[i, 1])), math.exp(f64(log_scales[i, 2])))
            g2, p, q, a, b, ratio_x, ratio_y = _screen_axes(camera, turned, scales, x, y, z)
            _, _, _, conic_a, conic_b, conic_c = _conic(p, q)

            # The conic is the covariance's inverse K: dΣ = −K·dK·K.
            v_a, v_b, v_c = v_conics[s, 0], f32(0.5) * v_conics[s, 1], v_conics[s, 2]
            k00, k01 = conic_a * v_a + conic_b * v_b, conic_a * v_b + conic_b * v_c
            k10, k11 = conic_b * v_a + conic_c * v_b, conic_b * v_b + conic_c * v_c
            v_var_u = -(k00 * conic_a + k01 * conic_b)
            v_cov = -(k00 * conic_b + k01 * conic_c) - (k10 * conic_a + k11 * conic_b)
            v_var_v = -(k10 * conic_b + k11 * conic_c)
            common = (a, b, ratio_x, ratio_y, v_var_u, v_cov, v_var_v)
            m00, m10, m20, z_0, ratio_x_0, ratio_y_0 = _axis_gradient(camera, p[0], q[0], g2[0], scales[0], *common)
            m01, m11, m21, z_1, ratio_x_1, ratio_y_1 = _axis_gradient(camera, p[1], q[1], g2[1], scales[1], *common)
            m02, m12, m22, z_2, ratio_x_2, ratio_y_2 = _axis_gradient(camera, p[2], q[2], g2[2], scales[2], *common)

            # The position moves the centre, the depth and the Jacobian; the clamped ratio only inside its range.
            tan_x, tan_y = x / z, y / z
            v_x, v_y = a * v_means2d[s, 0], b * v_means2d[s, 1]
            if tan_x >= camera[LOW_X] and tan_x <= camera[HIGH_X]:
                v_x -= (ratio_x_0 + ratio_x_1 + ratio_x_2) / z
            if tan_y >= camera[LOW_Y] and tan_y <= camera[HIGH_Y]:
                v_y -= (ratio_y_0 + ratio_y_1 + ratio_y_2) / z
            v_z = v_depths[s] - v_x * tan_x - v_y * tan_y - (z_0 + z_1 + z_2) / z
            for k in range(3):
                d_means[i, k] = camera[k] * v_x + camera[4 + k] * v_y + camera[8 + k] * v_z

            (r00, r01, r02), (r10, r11, r12), (r20, r21, r22) = turned
            d_log_scales[i, 0] = m00 * r00 + m10 * r10 + m20 * r20
            d_log_scales[i, 1] = m01 * r01 + m11 * r11 + m21 * r21
            d_log_scales[i, 2] = m02 * r02 + m12 * r12 + m22 * r22
            v_w = qz * (m10 - m01) + qy * (m02 - m20) + qx * (m21 - m12)
            v_i = qy * (m01 + m10) + qz * (m02 + m20) + qw * (m21 - m12) - TWO * qx * (m11 + m22)
            v_j = qx * (m01 + m10) + qz * (m12 + m21) + qw * (m02 - m20) - TWO * qy * (m00 + m22)
            v_k = qx * (m02 + m20) + qy * (m12 + m21) + qw * (m10 - m01) - TWO * qz * (m00 + m11)
            along = qw * v_w + qx * v_i + qy * v_j + qz * v_k
            d_quats[i, 0] = TWO * inverse * (v_w - along * qw)
            d_quats[i, 1] = TWO * inverse * (v_i - along * qx)
            d_quats[i, 2] = TWO * inverse * (v_j - along * qy)
            d_quats[i, 3] = TWO * inverse * (v_k - along * qz)
            opacity = ONE / (ONE + math.exp(-f64(logits[i])))
            d_logits[i] = v_opacities[s] * opacity * (ONE - opacity)
    return d_means, d_quats, d_log_scales, d_logits


def plain(tensor: Tensor) -> np.ndarray:
    """What compiled loops read: float32, contiguous, without history."""
    return tensor.detach().to(torch.float32).contiguous().numpy()


class _Project(torch.autograd.Function):
    """(means, quats, log_scales, opacity_logits) to the arrays of `Projected`."""

    @staticmethod
    def forward(ctx, means, quats, log_scales, opacity_logits, view):
        arrays = plain(means), plain(quats), plain(log_scales), plain(opacity_logits)
        camera = camera_numbers(view)
        with Threads():
            packed, packed_rows, held, rejected = _project(*arrays, camera.astype(np.float32))
            order = _nearest_first(packed.view(np.uint32), held)
            rows, *columns, radii = map(torch.from_numpy, _unpacked(packed, packed_rows, order))
        ctx.held = arrays, camera, rows.numpy()
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(rows, radii)
        return rows, *columns, radii, rejected

    @staticmethod
    def backward(ctx, _rows, v_means2d, v_conics, v_opacities, v_depths, _radii, _rejected):
        arrays, camera, rows = ctx.held
        shapes = ((v_means2d, (2,)), (v_conics, (3,)), (v_opacities, ()), (v_depths, ()))
        pulls = [np.zeros((len(rows), *own), np.float32) if v is None else plain(v) for v, own in shapes]
        with Threads():
            gradients = _pull_back(*arrays, camera, places_of(rows, len(arrays[0])), *pulls)
        return *map(torch.from_numpy, gradients), None


def project(
    means: Tensor,  # (N, 3) float32, world
    quats: Tensor,  # (N, 4) float32, wxyz, any norm > 0
    log_scales: Tensor,  # (N, 3) float32
    opacity_logits: Tensor,  # (N,) float32
    view: Camera,
) -> Projected:
    """Project, cull and sort, as `projection.project` does. Gradients reach all four arrays."""
    rows, means2d, conics, opacities, depths, radii, rejected = _Project.apply(
        means, quats, log_scales, opacity_logits, view
    )
    return Projected(rows, means2d, conics, opacities, depths, radii, rejected)
