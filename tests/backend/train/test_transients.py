"""The filter's averages and resampling against scipy's; and the filter on another device."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pretend_device import AWAY, PretendDevice
from scipy import ndimage

from backend.train.transients import (
    GROW_PX,
    WINDOW_SHARE,
    Transients,
    _crowded,
    _enlarged,
    _grow,
    _shares,
    _smoothed,
    alike,
    strangers,
)


@pytest.mark.parametrize("shape", [(40, 57, 3), (3, 2, 3), (1, 1, 3)])
@pytest.mark.parametrize("reach", [2, 5])
def test_averages_are_those_of_a_square_window(shape: tuple[int, int, int], reach: int) -> None:
    difference = np.random.default_rng(0).normal(0, 0.3, shape).astype(np.float32)
    side = 2 * reach + 1
    expected = np.abs(ndimage.uniform_filter(difference.astype(float), (side, side, 0), mode="nearest")).mean(2)
    np.testing.assert_allclose(_smoothed(difference, reach), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(40, 57), (9, 31), (10, 5)])
def test_enlarging_is_bilinear(size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).uniform(0, 1, (9, 13)).astype(np.float32)
    y = np.clip((np.arange(size[0]) + 0.5) * 9 / size[0] - 0.5, 0, 8)
    x = np.clip((np.arange(size[1]) + 0.5) * 13 / size[1] - 0.5, 0, 12)
    expected = ndimage.map_coordinates(values.astype(float), np.meshgrid(y, x, indexing="ij"), order=1, mode="nearest")
    clear = np.abs(expected - 0.5) > 1e-6
    assert (_enlarged(values, *size) == (expected > 0.5))[clear].all()


@pytest.mark.parametrize("size", [(9, 13), (4, 5), (1, 1)])
def test_shrinking_takes_shares_of_blocks(size: tuple[int, int]) -> None:
    found = np.random.default_rng(0).random((9, 13)) < 0.4
    rows = np.array_split(found, [i * 9 // size[0] for i in range(1, size[0])], 0)
    for i, row in enumerate(rows):
        for j, block in enumerate(np.array_split(row, [j * 13 // size[1] for j in range(1, size[1])], 1)):
            assert _shares(found, *size)[i, j] == pytest.approx(block.mean())


@pytest.mark.parametrize("reach", [2, 4])
def test_crowds_are_counted_and_grow(reach: int) -> None:
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 1, (50, 61)), 2).astype(np.float32)
    limit = np.quantile(smooth, 0.6).astype(np.float32)
    outlier, side = smooth > limit, 2 * reach + 1
    counts = np.rint(side**2 * ndimage.uniform_filter(outlier.astype(float), side, mode="nearest"))
    expected = outlier & (counts > WINDOW_SHARE * side**2)
    crowded, grown = _crowded(smooth, limit, reach), np.zeros(smooth.shape, bool)
    assert 0 < expected.sum() < outlier.sum()
    np.testing.assert_array_equal(crowded, expected)
    _grow(crowded, grown)
    np.testing.assert_array_equal(grown, ndimage.binary_dilation(expected, iterations=GROW_PX))


@pytest.mark.parametrize("network", [None, "gate", "union"])
@pytest.mark.parametrize("size", [(64, 96), (48, 61)])
def test_masks_on_a_device_equal_those_on_the_cpu(size: tuple[int, int], network: str | None) -> None:
    random = np.random.default_rng(0)
    height, width = size
    memory_size = (height // 4, width // 4)
    here, there = Transients(), Transients()
    sky = np.zeros(size, bool)
    sky[:8] = True
    candidates = None
    if network is not None:
        candidates = np.zeros(size, bool)
        candidates[16:40, 10:44] = True  # where somebody stands, and where nobody does
    shares = []
    for fraction in (0.02, 0.07, 0.15, 0.3, 0.4, 0.5):
        for number in range(4):
            photo = ndimage.gaussian_filter(random.uniform(0, 1, (height, width, 3)), (1, 1, 0)).astype(np.float32)
            image = (photo + random.normal(0, 0.05, photo.shape)).astype(np.float32)
            if number == 3:
                photo[20:36, 24:40] = (0.9, 0.1, 0.1)  # somebody stands there
            name = f"p{number}"
            pictures = torch.from_numpy(image), torch.from_numpy(photo)
            union = network == "union"
            expected = here.observe(name, *pictures, sky, fraction, memory_size, candidates, union=union)
            with PretendDevice():
                there_too = [picture.to(AWAY) for picture in (*pictures, torch.from_numpy(sky))]
                known = None if candidates is None else torch.from_numpy(candidates).to(AWAY)
                found = there.observe_on_device(name, *there_too, fraction, memory_size, known, union=union).cpu()
            assert found.shape == expected.shape
            assert found.dtype == torch.bool
            # Blocks of the memory overlap at edges on the device where sizes do not divide.
            assert (found.numpy() != expected).mean() < (0.01 if width % 4 == 0 else 0.02)
            shares.append(expected.mean())
            if fraction >= 0.07:
                assert there.latest[name] == pytest.approx(here.latest[name], rel=1e-4)
                assert np.allclose(there.memory[name], here.memory[name], atol=0.35)
                assert there.memory[name].shape == memory_size
    assert max(shares) > 0.02  # something was found


def a_wall(height: int, width: int) -> np.ndarray:
    """(H, W, 3) float32 in 0..1, rough; the right fifth is plain."""
    rough = ndimage.gaussian_filter(np.random.default_rng(4).normal(0, 1, (height, width)), 1.5)
    rough[:, -width // 5 :] = 0
    return np.clip(0.35 + 0.4 * rough[..., None] * (1, 0.9, 0.8), 0, 1).astype(np.float32)


@pytest.mark.parametrize("size", [(90, 120), (61, 83)])
def test_sunshine_is_alike_and_somebody_is_not(size: tuple[int, int]) -> None:
    height, width = size
    wall = a_wall(height, width)
    sun = wall * np.linspace(0.8, 2.2, width)[None, :, None].astype(np.float32)  # brighter to the right
    photo = (sun * (1, 0.9, 0.7) + 0.05).astype(np.float32)
    photo[10:40, 20:40] = (0.1, 0.1, 0.2)
    found = alike(torch.from_numpy(wall), torch.from_numpy(photo)).numpy()
    rough = np.s_[5:-5, 48 : int(0.7 * width)]
    assert found[rough].mean() > 0.97
    assert found[15:35, 25:35].mean() < 0.05
    assert not found[:, -width // 8 :].any()  # nothing to compare
    assert not alike(torch.from_numpy(wall), torch.from_numpy(a_wall(height, width)[::-1].copy())).numpy()[rough].all()
    with PretendDevice():
        elsewhere = alike(torch.from_numpy(wall).to(AWAY), torch.from_numpy(photo).to(AWAY)).cpu().numpy()
    assert (elsewhere == found).mean() > 0.99
    tiny = torch.rand(1, 1, 3)
    assert alike(tiny, tiny).shape == (1, 1)


def test_the_sunny_side_is_no_passer_by() -> None:
    filter_ = Transients()
    wall = a_wall(96, 160)
    photo = wall.copy()
    photo[:, :60] = np.clip(photo[:, :60] * 2.0, 0, 1)  # the sun came out
    photo[30:60, 90:110] = (0.9, 0.2, 0.2)  # somebody stands there
    sky = np.zeros((96, 160), bool)
    for fraction in (0.3, 0.4, 0.5, 0.6):
        for name in ("a", "b", "c"):
            filter_.observe(name, *(torch.from_numpy(wall + 0.001),) * 2, sky, fraction, (24, 40))
        mask = filter_.observe("d", torch.from_numpy(wall), torch.from_numpy(photo), sky, fraction, (24, 40))
    assert mask[34:56, 94:106].mean() > 0.9
    assert mask[:, :54].mean() < 0.02


def test_regions_that_are_mostly_strange_are_taken_whole() -> None:
    outlier = np.zeros((20, 30), bool)
    outlier[2:12, 2:12] = outlier[2:12, 15:25] = outlier[15:18, 5:8] = True
    lit = np.zeros_like(outlier)
    lit[2:5, 2:12] = True  # 3 of 10 rows of the first region agree by chance
    lit[2:10, 15:25] = True  # 8 of 10 of the second: the sun came out, and somebody stands there
    found = strangers(outlier, lit)
    assert found[2:12, 2:12].all()
    assert not found[2:10, 15:25].any()
    assert found[10:12, 15:25].all()
    assert found[15:18, 5:8].all()
    assert not (found & ~outlier).any()


def watched(
    photo: np.ndarray,
    candidates: np.ndarray | None,
    *,
    union: bool = False,
    fractions: tuple[float, ...] = (0.3, 0.4, 0.5, 0.6),
) -> tuple[np.ndarray, Transients]:
    """What is masked of a photo of the wall after some visits, three well explained photos beside it."""
    filter_ = Transients()
    wall, sky = a_wall(96, 160), np.zeros((96, 160), bool)
    for fraction in fractions:
        for name in ("a", "b", "c"):
            filter_.observe(name, *(torch.from_numpy(wall + 0.001),) * 2, sky, fraction, (24, 40))
        pictures = torch.from_numpy(wall), torch.from_numpy(photo)
        mask = filter_.observe("d", *pictures, sky, fraction, (24, 40), candidates, union=union)
    return mask, filter_


FAINT = 0.07  # between half the least limit and the whole


def with_somebody(difference: float = FAINT) -> np.ndarray:
    """The wall, and before it somebody in checks who differs from it by so much on average."""
    photo = a_wall(96, 160)
    checks = np.where((np.indices((28, 20)) // 2).sum(0) % 2, 0.15, -0.15)
    photo[32:60, 92:112] += (difference + checks[..., None]).astype(np.float32)
    return photo


def around(reach: int) -> np.ndarray:
    candidates = np.zeros((96, 160), bool)
    candidates[32 - reach : 60 + reach, 92 - reach : 112 + reach] = True
    return candidates


def test_half_the_difference_is_enough_where_a_network_sees_somebody() -> None:
    without, _ = watched(with_somebody(), None)
    assert not without.any()
    gated, _ = watched(with_somebody(), around(8))
    assert gated[34:58, 94:110].mean() > 0.95
    assert gated.sum() < 1.5 * 28 * 20 < 0.6 * around(8).sum()  # not the whole candidate: what differs
    fainter, _ = watched(with_somebody(0.4 * FAINT), around(8))
    assert not fainter.any()
    elsewhere, _ = watched(with_somebody(), np.roll(around(8), -60, 1))
    assert not elsewhere.any()


def test_a_network_alone_masks_nothing_unless_asked_to() -> None:
    """It takes statues and facades for people: what the scene explains stays."""
    gated, _ = watched(a_wall(96, 160), around(8))
    assert not gated.any()
    union, _ = watched(a_wall(96, 160), around(8), union=True)
    assert (union != around(8)).sum() <= 4  # its corners: masks are kept at a quarter of the size
    early, _ = watched(a_wall(96, 160), around(8), union=True, fractions=(0.01,))
    assert np.array_equal(early, around(8))  # nothing was observed yet
    none, _ = watched(a_wall(96, 160), around(8), fractions=(0.01,))
    assert not none.any()


def test_sunshine_on_a_statue_is_no_passer_by() -> None:
    """Alike in another light, a candidate stays, though it differs by far more than somebody faint."""
    wall = a_wall(96, 160)
    photo = wall.copy()
    photo[20:70, 20:80] = np.clip(photo[20:70, 20:80] * 1.5, 0, 1)
    statue = np.zeros((96, 160), bool)
    statue[15:75, 15:85] = True
    assert np.abs(photo - wall)[20:70, 20:80].mean() > 2 * FAINT
    gated, _ = watched(photo, statue)
    assert gated[25:65, 25:75].mean() < 0.02


@pytest.mark.parametrize("difference", [FAINT, 0.3])
def test_a_network_that_sees_nobody_changes_nothing(difference: float) -> None:
    mask, filter_ = watched(with_somebody(difference), None)
    for union in (False, True):
        same, other = watched(with_somebody(difference), np.zeros((96, 160), bool), union=union)
        assert np.array_equal(same, mask)
        assert other.latest == filter_.latest
        assert all(np.array_equal(other.memory[name], memory) for name, memory in filter_.memory.items())
    assert mask.any() == (difference == 0.3)
