"""Places on a surface into colour: stone blocks, cobbles, marble, wood, tiles, posters, foliage.

Every pattern is fixed to its surface and has detail from decimetres to centimetres, so that one place
looks the same in all photos and can be found again. Detail finer than a pixel's footprint fades out.
"""

from __future__ import annotations

from math import atan2, floor, sin, sqrt

from numba import njit

from backend.capture.sample.shapes import WINDOW_RECESS, local, window_cell

(PLAIN, ASHLAR, BRICK, MARBLE, BRONZE, WOOD, FOLIAGE, TILES, POSTERS, WATER, STRIPES, GRANITE, CLOTH, PAINT, WALL) = (
    range(15)
)
BARK, GLOW, FLOWERS = 15, 16, 17


@njit(cache=True, fastmath=True)
def chance(a, b, c):
    """A fixed random number in 0..1 for three whole numbers."""
    h = (int(a) * 73856093) ^ (int(b) * 19349663) ^ (int(c) * 83492791)
    h = (h ^ (h >> 13)) & 0x7FFFFFFF
    h = (h * 1274126177) & 0x7FFFFFFF
    h = ((h ^ (h >> 15)) * 461845907) & 0x7FFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFFFF) / 16777216.0


@njit(cache=True, fastmath=True)
def scatter(a, b, c):
    """Three fixed random numbers in 0..1 for three whole numbers, from one hash."""
    h = int(chance(a, b, c) * 16777216.0)
    return (h & 255) / 255.0, ((h >> 8) & 255) / 255.0, ((h >> 16) & 255) / 255.0


@njit(cache=True, fastmath=True)
def noise(x, y, z):
    """Smooth random values in -1..1 that change over a unit of length."""
    fx, fy, fz = floor(x), floor(y), floor(z)
    ux, uy, uz = x - fx, y - fy, z - fz
    ux, uy, uz = ux * ux * (3 - 2 * ux), uy * uy * (3 - 2 * uy), uz * uz * (3 - 2 * uz)
    a = chance(fx, fy, fz) * (1 - ux) + chance(fx + 1, fy, fz) * ux
    b = chance(fx, fy + 1, fz) * (1 - ux) + chance(fx + 1, fy + 1, fz) * ux
    c = chance(fx, fy, fz + 1) * (1 - ux) + chance(fx + 1, fy, fz + 1) * ux
    d = chance(fx, fy + 1, fz + 1) * (1 - ux) + chance(fx + 1, fy + 1, fz + 1) * ux
    return 2 * ((a * (1 - uy) + b * uy) * (1 - uz) + (c * (1 - uy) + d * uy) * uz) - 1


@njit(cache=True, fastmath=True)
def clouds(x, y, z):
    """Noise of five octaves, about -1..1."""
    total, weight = 0.0, 0.5
    for _ in range(5):
        total += weight * noise(x, y, z)
        x, y, z, weight = x * 2.03 + 5.1, y * 2.03 + 1.7, z * 2.03 + 9.2, weight * 0.55
    return total


@njit(cache=True, fastmath=True)
def _shown(size, footprint):
    """How much of a detail of that size is left under a pixel's footprint, 0..1."""
    return min(max(1.6 * size / max(footprint, 1e-6) - 0.8, 0.0), 1.0)


@njit(cache=True, fastmath=True)
def grain(x, y, z, footprint):
    """Speckle of five sizes between 4 dm and 1 cm, about -1..1."""
    total = 0.45 * noise(2.5 * x, 2.5 * y, 2.5 * z)
    shown = _shown(0.14, footprint)
    if shown > 0:
        total += 0.6 * shown * noise(7.3 * x + 3.1, 7.3 * y, 7.3 * z)
    shown = _shown(0.06, footprint)
    if shown > 0:
        total += 0.5 * shown * noise(17.0 * x, 17.0 * y + 4.7, 17.0 * z)
    shown = _shown(0.03, footprint)
    if shown > 0:
        total += 0.45 * shown * noise(37.0 * x, 37.0 * y, 37.0 * z + 8.3)
    shown = _shown(0.014, footprint)
    if shown > 0:
        total += 0.4 * shown * noise(79.0 * x, 79.0 * y, 79.0 * z + 2.9)
    return total


@njit(cache=True, fastmath=True)
def _blotches(x, y, z, seed):
    """Brightness factor of worn and stained patches of 3 to 9 dm, with edges sharp enough to be found again."""
    field = noise(1.25 * x + seed, 1.25 * y, 1.25 * z) + 0.6 * noise(3.1 * x, 3.1 * y + seed, 3.1 * z)
    dark = min(max((field - 0.28) * 6.0, 0.0), 1.0)
    pale = min(max((-field - 0.42) * 6.0, 0.0), 1.0)
    return 1.0 - 0.42 * dark + 0.32 * pale


@njit(cache=True, fastmath=True)
def _courses(u, v, width, height, joint, salt, footprint):
    """Running bond: 0 in a joint to 1 on a stone, and two random numbers of the stone."""
    course = floor(v / height)
    shift = 0.5 * (course % 2) + 0.3 * chance(course, salt, 3)
    stone = floor(u / width + shift)
    du = (u / width + shift - stone) * width
    dv = v - course * height
    edge = min(min(du, width - du), min(dv, height - dv))
    soft = max(0.5 * footprint, 0.004)
    face = min(max((edge - 0.5 * joint) / soft + 0.5, 0.0), 1.0)
    # Joints thinner than the footprint keep their average share.
    face = 1 - (1 - face) * min(1.0, 2.5 * joint / max(footprint, 1e-6))
    return face, chance(stone, course, salt), chance(stone, course, salt + 57)


@njit(cache=True, fastmath=True)
def ground(x, y, footprint):
    """Linear RGB of the pavement at a place of the square: rings of slabs, cobbles with pale spokes, a pavement."""
    radius = sqrt(x * x + y * y)
    angle = atan2(y, x)
    stain = clouds(0.35 * x, 0.35 * y, 4.0)
    worn = _blotches(x, y, 0.0, 3)
    speck = grain(x, y, 0.0, footprint)
    # Fallen leaves: in some cells of 6 dm a small heap
    cx, cy = floor(x / 0.6), floor(y / 0.6)
    if chance(cx, cy, 91) < 0.15:
        ju, jv, size = scatter(cx, cy, 92)
        px, py = x / 0.6 - cx - 0.3 - 0.4 * ju, y / 0.6 - cy - 0.3 - 0.4 * jv
        ragged = 0.1 + 0.09 * size + 0.07 * noise(11 * x, 11 * y, 1.0)
        if px * px + py * py < ragged * ragged and radius > 2.3:
            hue = chance(cx, cy, 93)
            light = 1 + 0.5 * noise(21 * x, 21 * y, 7.0)
            return (0.5 - 0.1 * hue) * light, (0.14 + 0.26 * hue) * light, 0.05 * light
    if radius < 3.1:
        face, a, b = _courses(angle * 3.0 / 6.2832 * 9.0, radius, 1.0, 0.5, 0.025, 11, footprint)
        light = (0.36 + 0.26 * (a - 0.5)) * (0.45 + 0.55 * face) * (1 + 0.35 * speck) * worn
        return light * (1.04 + 0.1 * b), light * 0.96, light * (0.82 - 0.06 * b)
    if radius < 3.45 or 12.6 < radius < 12.9:
        face, a, b = _courses(angle * radius, radius - 3.1, 0.42, 0.35, 0.02, 13, footprint)
        light = (0.14 + 0.1 * (a - 0.5)) * (0.5 + 0.5 * face) * (1 + 0.5 * speck)
        return light, light * 0.98, light * 1.06
    if radius > 12.9:
        face, a, b = _courses(x, y, 0.9, 0.6, 0.03, 17, footprint)
        light = (0.33 + 0.2 * (a - 0.5)) * (0.5 + 0.5 * face) * (1 + 0.4 * speck + 0.25 * stain) * worn
        return light * 1.03, light * 0.99, light * (0.9 + 0.05 * b)
    # Cobbles: one jittered stone per cell of 36 cm, the nearest two decide where the joint runs.
    cell = 0.36
    gx, gy = floor(x / cell), floor(y / cell)
    first, second, a, b = 9.0, 9.0, 0.0, 0.0
    for j in range(-1, 2):
        for i in range(-1, 2):
            qx, qy = gx + i, gy + j
            ju, jv, bright = scatter(qx, qy, 1)
            px = (qx + 0.25 + 0.5 * ju) * cell - x
            py = (qy + 0.25 + 0.5 * jv) * cell - y
            d = max(abs(px), abs(py)) * 0.6 + 0.4 * sqrt(px * px + py * py)
            if d < first:
                second, first, a, b = first, d, bright, 0.5 * (ju + jv)
            elif d < second:
                second = d
    shown = _shown(cell, footprint)
    face = min((second - first) / 0.035, 1.0)
    face = 1 - (1 - face) * min(1.0, 1.5 * shown)
    spoke = abs(sin(4.0 * angle + 0.2)) * radius / 4.0
    pale = min(max((0.42 - spoke) / max(0.02, 0.3 * footprint), 0.0), 1.0)
    light = (0.27 + 0.15 * pale) * (1 + 0.5 * (a - 0.5) * shown) * (0.6 + 0.4 * face)
    light *= (1 + 0.22 * speck + 0.35 * stain) * worn
    warm = 0.08 * (b - 0.5) * shown + 0.1 * pale + 0.06 * stain
    return light * (1.0 + warm), light * 0.985, light * (0.95 - warm)


@njit(cache=True, fastmath=True)
def _wall(rows, i, px, pz, depth, speck, stain, footprint):
    """Plaster with windows, shutters and a stone plinth; `depth` is how far behind the wall's face."""
    ux, uz, column, storey = window_cell(rows, i, px, pz)
    w, h, half = rows[i, 17], rows[i, 18], rows[i, 14]
    r, g, b, salt = rows[i, 21], rows[i, 22], rows[i, 23], i
    if depth > 0.6 * WINDOW_RECESS and abs(ux) < w + 0.02 and abs(uz) < h + 0.02:
        bar = min(min(abs(ux), abs(uz - 0.25 * h)), min(w - abs(ux), h - abs(uz)))
        if bar < 0.045:
            return 0.6 * (1 + 0.2 * speck), 0.57, 0.5
        drape = chance(column, storey, salt + 5)
        shade = 0.05 + 0.05 * chance(column * 2 + (ux > 0), storey * 2 + (uz > 0), salt)
        if drape > 0.45 and abs(ux) > w * (0.35 + 0.4 * drape - 0.2):
            cloth = 0.45 + 0.2 * sin(60 * ux)
            return cloth * (0.6 + 0.4 * drape), cloth * (0.55 + 0.3 * chance(column, storey, salt + 6)), cloth * 0.5
        return shade * 0.9, shade * 1.1, shade * 1.4
    if depth > 0.03:
        return 0.5, 0.48, 0.44
    if abs(ux) < w + 0.16 and abs(uz) < h + 0.16:
        light = 0.5 * (1 + 0.3 * speck)
        return light, light * 0.96, light * 0.88
    if abs(uz) < h and abs(ux) < 2 * w + 0.16 and chance(column, storey, salt + 9) < 0.75:
        slat = 0.55 + 0.45 * sin(uz * 52.0) * _shown(0.12, footprint)
        light = 0.18 * slat * (0.8 + 0.4 * chance(column, storey, salt + 2)) * (1 + 0.3 * speck)
        kind = chance(salt, 1, 1)
        return light * (0.5 + 1.2 * kind), light * 1.3, light * (1.5 - kind)
    if pz < -half + 0.9:
        face, a, c = _courses(px, pz + half, 0.7, 0.3, 0.03, salt, footprint)
        light = (0.3 + 0.14 * (a - 0.5)) * (0.5 + 0.5 * face) * (1 + 0.5 * speck)
        return light, light * 0.95, light * (0.85 + 0.05 * c)
    light = (1 + 0.18 * speck + 0.45 * stain) * (0.9 + 0.1 * min(1.0, (pz + half) / 4.0))
    light *= _blotches(0.8 * px, 9.0, 0.8 * pz, 5 * salt)
    # Water has run down from some sills.
    if 0 < -uz - h < 1.4 and abs(ux) < w + 0.1:
        light *= 1 - 0.45 * max(noise(9 * px, 0.8 * pz, salt), 0.0) * (1 + (uz + h) / 1.4)
    # Where plaster has fallen, bricks show.
    if stain + 0.4 * speck > 0.52:
        face, a, c = _courses(px, pz, 0.26, 0.09, 0.016, salt, footprint)
        brick = (0.75 + 0.5 * (a - 0.5)) * (0.55 + 0.45 * face)
        return 0.36 * brick, 0.19 * brick, 0.13 * brick
    return r * light, g * light, b * light


@njit(cache=True, fastmath=True)
def _posters(u, v, salt, speck, footprint):
    """Overlapping sheets of print: bands, discs and lines of type in colours of their own."""
    width, height = 0.62, 0.84
    column = floor(u / width)
    row = floor(v / height + 0.5 * chance(column, 2, salt))
    fu = u / width - column
    fv = v / height + 0.5 * chance(column, 2, salt) - row
    if min(min(fu, 1 - fu), min(fv, 1 - fv)) < 0.04:
        return 0.2, 0.23, 0.22
    a, b, c = chance(column, row, salt), chance(column, row, salt + 1), chance(column, row, salt + 2)
    r, g, bl = 0.12 + 0.6 * a, 0.12 + 0.5 * b, 0.1 + 0.5 * c
    disc = (fu - 0.3 - 0.4 * b) ** 2 + (fv - 0.4 - 0.3 * a) ** 2
    if disc < 0.05 + 0.03 * c:
        r, g, bl = 0.75 - 0.6 * a, 0.7 - 0.5 * c, 0.65 - 0.5 * b
    if floor(fv * 9) % 3 == 1 and chance(floor(fu * 11), floor(fv * 9), salt + row + 7 * column) > 0.4 and fv < 0.45:
        r, g, bl = 0.06, 0.05, 0.06
    if fv > 0.8:
        r, g, bl = 0.7 * (1 - a) + 0.05, 0.62 * c + 0.05, 0.5 * b + 0.05
        if chance(floor(fu * 9), row, salt + column) > 0.5:
            r, g, bl = 0.75, 0.73, 0.66
    light = 1 + 0.25 * speck
    return r * light, g * light, bl * light


@njit(cache=True, fastmath=True)
def _leaves(x, y, z, size, salt):
    """Brightness of small jittered blots in space."""
    # Jitter is at most a third of a cell, so the eight cells around a place hold its nearest blot.
    gx, gy, gz = floor(x / size - 0.5), floor(y / size - 0.5), floor(z / size - 0.5)
    best, value = 9.0, 0.0
    for k in range(2):
        for j in range(2):
            for i in range(2):
                qx, qy, qz = gx + i, gy + j, gz + k
                jx, jy, jz = scatter(qx, qy, qz * 3 + salt)
                px = (qx + 0.17 + 0.66 * jx) * size - x
                py = (qy + 0.17 + 0.66 * jy) * size - y
                pz = (qz + 0.17 + 0.66 * jz) * size - z
                d = px * px + py * py + pz * pz
                if d < best:
                    best, value = d, (3.7 * jx + 5.3 * jy + 7.1 * jz) % 1.0
    return value, sqrt(best) / size


@njit(cache=True, fastmath=True)
def albedo(kind, material, rows, i, x, y, z, nx, ny, nz, footprint):
    """Linear RGB albedo, 0..1, of shape `i` at a world point with a world normal; `footprint` in metres."""
    px, py, pz = local(rows, i, x, y, z)
    lx = rows[i, 3] * nx + rows[i, 4] * ny + rows[i, 5] * nz
    ly = rows[i, 6] * nx + rows[i, 7] * ny + rows[i, 8] * nz
    lz = rows[i, 9] * nx + rows[i, 10] * ny + rows[i, 11] * nz
    s0, s1, salt = rows[i, 12], rows[i, 13], i
    # Flat coordinates along the surface: around a round shape, or along the two axes of a flat face.
    if kind == 1 or kind == 7 or kind == 2 or kind == 3:
        if abs(lz) > 0.8:
            u, v = px, py
        else:
            u, v = atan2(py, px) * max(s0, s1), pz
    elif abs(lx) > abs(ly) and abs(lx) > abs(lz):
        u, v = py, pz
    elif abs(ly) > abs(lz):
        u, v = px, pz
    else:
        u, v = px, py
    speck = grain(x, y, z, footprint)
    r, g, b = rows[i, 21], rows[i, 22], rows[i, 23]
    light = 1 + 0.3 * speck
    if material == 1:  # ASHLAR
        face, a, c = _courses(u, v + 20, 0.58, 0.29, 0.022, salt, footprint)
        light = (0.85 + 0.75 * (a - 0.5)) * (0.45 + 0.55 * face) * (1 + 0.5 * speck) * _blotches(x, y, z, 2)
        return r * light, g * light * (0.97 + 0.06 * c), b * light * (0.9 + 0.2 * c)
    if material == 2:  # BRICK
        face, a, c = _courses(u, v + 20, 0.3, 0.1, 0.018, salt, footprint)
        light = (0.9 + 0.8 * (a - 0.5)) * (1 + 0.45 * speck)
        grey = 0.42 * (1 - face)
        return r * light * face + grey, g * light * face * (0.8 + 0.4 * c) + grey, b * light * face + grey * 0.9
    if material == 3:  # MARBLE
        warp = clouds(1.3 * x, 1.3 * y, 1.3 * z)
        vein = abs(sin(4.0 * (x + 0.6 * y + 0.8 * z) + 9.0 * warp))
        light = (0.5 + 0.5 * min(1.0, vein * 2.2)) * (1 + 0.35 * speck)
        return r * light, g * light, b * light * (0.95 + 0.1 * warp)
    if material == 4:  # BRONZE
        run = clouds(2.2 * x, 2.2 * y, 0.7 * z)
        green = min(max(0.5 + 1.3 * run + 0.5 * speck, 0.0), 1.0)
        light = 1 + 0.4 * speck
        return (
            (0.17 * (1 - green) + r * green) * light,
            (0.1 * (1 - green) + g * green) * light,
            (0.05 * (1 - green) + b * green) * light,
        )
    if material == 5:  # WOOD
        plank = floor(v / 0.12)
        line = 0.6 if (v / 0.12 - plank) < 0.12 else 1.0
        ring = sin(35 * v + 7 * noise(1.2 * u, 9 * v, plank + salt)) * 0.14 * _shown(0.12, footprint)
        light = line * (0.85 + 0.5 * (chance(plank, salt, 4) - 0.5) + ring) * (1 + 0.5 * speck)
        return r * light, g * light, b * light
    if material == 6 or material == 17:  # FOLIAGE, FLOWERS
        value, rim = _leaves(x, y, z, 0.17, salt % 3)
        fine, _ = _leaves(x, y, z, 0.075, 5)
        light = (0.45 + 0.9 * value) * (1.1 - 0.35 * rim) * (0.75 + 0.5 * fine * _shown(0.1, footprint)) * light
        if material == 17 and value > 0.45:
            if value > 0.75:
                return 0.8 * light, 0.5 * light, 0.08
            return 0.75 * light, 0.1 * light, 0.28 * light
        return r * light * (0.8 + 0.6 * value), g * light, b * light
    if material == 7:  # TILES
        face, a, c = _courses(u, v + 20, 0.3, 0.24, 0.03, salt, footprint)
        light = (0.85 + 0.9 * (a - 0.5)) * (0.5 + 0.5 * face) * (1 + 0.4 * speck) * _blotches(x, y, z, 8)
        return r * light, g * light * (0.9 + 0.2 * c), b * light
    if material == 8:  # POSTERS
        return _posters(u, v + 20, salt, speck, footprint)
    if material == 9:  # WATER
        ripple = noise(5 * px + 2 * noise(2 * px, 2 * py, 1), 5 * py, 2.0) + 0.6 * noise(13 * px, 13 * py, 5.0)
        light = 0.75 + 0.45 * ripple
        foam = 1.0 if ripple > 0.62 else 0.0
        return r * light + 0.4 * foam, g * light + 0.4 * foam, b * light + 0.38 * foam
    if material == 10:  # STRIPES
        angle = atan2(py, px)
        band = floor((angle + 3.1415927) / 6.2831853 * 16)
        if band % 2 == 0:
            return r * light, g * light, b * light
        return 0.72 * light, 0.68 * light, 0.6 * light
    if material == 11:  # GRANITE
        fleck, _ = _leaves(x, y, z, 0.055, 2)
        mica, _ = _leaves(x, y, z, 0.12, 7)
        light = (0.7 + 0.6 * _shown(0.07, footprint) * (fleck - 0.5) + 0.55 * mica) * (1 + 0.35 * speck)
        return r * light, g * light, b * light
    if material == 12:  # CLOTH
        if rows[i, 19] > 0.5:  # striped
            light *= 1.25 if floor(pz * 14) % 2 == 0 else 0.6
        light *= 1 + 0.25 * noise(9 * px, 9 * py, 4 * pz)
        return r * light, g * light, b * light
    if material == 13:  # PAINT
        light = 1 + 0.06 * speck
        return r * light, g * light, b * light
    if material == 14:  # WALL
        stain = clouds(0.55 * px + 3 * salt, 0.4 * py, 0.45 * pz)
        if abs(lx) > 0.7 or lz > 0.7:
            light = 1 + 0.3 * speck + 0.4 * stain
            return r * light, g * light, b * light
        return _wall(rows, i, px, pz, py + s1, speck, stain, footprint)
    if material == 15:  # BARK
        ridge = noise(3 * u + 5, 11 * u, 1.5 * z) + 0.5 * speck
        light = 0.8 + 0.7 * ridge
        return max(r * light, 0.02), max(g * light, 0.02), max(b * light, 0.02)
    if material == 16:  # GLOW
        light = 0.95 + 0.15 * noise(9 * x, 9 * y, 9 * z)
        return r * light, g * light, b * light
    return r * light, g * light, b * light
