"""Training pictures: decoded when they are asked for, as many as fit, and always the same."""

from __future__ import annotations

import weakref
from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import read_picture, write_picture
from backend.train import views as module
from backend.train.views import Views
from segwild_addon.protocol.errors import InputError
from tests.backend.train.test_loop import workspace


def test_a_small_cache_gives_the_same_pictures_and_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = workspace(tmp_path / "w")
    write_picture(tmp_path / "masks" / "p1.png", np.tile(np.array([0, 255], np.uint8).repeat(32), (48, 1)))
    read: list[Path] = []

    def counted(path: Path) -> np.ndarray:
        read.append(path)
        return read_picture(path)

    monkeypatch.setattr(module, "read_picture", counted)
    photos = made.used_photos()
    large, small = (
        Views(made, photos, 64, tmp_path / "masks", cache_bytes) for cache_bytes in (10**9, 3 * 64 * 48 * 3)
    )
    assert not read  # nothing is decoded before it is needed
    for divisor in (4, 2, 1):
        for name in [*large.names, *reversed(large.names)]:
            first, second = large.view(name, divisor), small.view(name, divisor)
            assert (first.camera.width, first.camera.fx) == (second.camera.width, second.camera.fx)
            assert np.array_equal(first.pixels, second.pixels)
            assert first.pixels.shape == (48 // divisor, 64 // divisor, 3)
            for one, other in ((first.ignored, second.ignored), (first.sky, second.sky)):
                assert (one is None) == (other is None)
                assert one is None or np.array_equal(one, other)
            assert small._bytes <= small._cache_bytes
    assert np.array_equal(large.view("p1").ignored, np.tile(np.arange(64) < 32, (48, 1)))
    assert len(read) > 2 * 3 * 5  # the small one decoded again what had gone
    assert large.view("p0") is large.view("p0")
    first, last = (small.view(name) for name in (small.names[0], small.names[-1]))
    assert small.view(small.names[0]) is first  # those that came first stay
    gone = weakref.ref(last.camera)
    del last
    assert gone() is None  # and with it what a sky keeps for it


def test_a_missing_picture_is_said_before_the_training(tmp_path: Path) -> None:
    made = workspace(tmp_path / "w")
    made.picture_file("p3").unlink()
    with pytest.raises(InputError, match="missing"):
        Views(made, made.used_photos(), 64)


def test_a_frame_around_a_photo_is_ignored_at_every_size(tmp_path: Path) -> None:
    made = workspace(tmp_path / "w")
    pixels = read_picture(made.picture_file("p2"))
    pixels[:8] = 0
    made.picture_file("p2").unlink()
    random = np.random.default_rng(0)
    pixels[8:] = random.integers(60, 200, pixels[8:].shape)
    write_picture(made.picture_file("p2"), pixels)
    views = Views(made, made.used_photos(), 64)
    for divisor in (2, 1):
        ignored = views.view("p2", divisor).ignored
        assert ignored is not None
        assert ignored[: 8 // divisor].all()
        assert not ignored[10 // divisor :].any()
        assert views.view("p1", divisor).ignored is None


@pytest.mark.parametrize(
    ("clear", "empty"),
    [(np.s_[:, :40], True), (np.s_[10:30, 20:50], False)],  # around a thing that was cut out, and over somebody
)
def test_what_is_transparent_is_ignored_and_around_a_cut_out_nothing_is(
    clear: tuple[slice, slice], empty: bool, tmp_path: Path
) -> None:
    made = workspace(tmp_path / "w")
    found = np.zeros((48, 64), bool)
    found[clear] = True
    write_picture(made.clear_file("p1"), found)
    mask = np.full((48, 64), 255, np.uint8)
    mask[:5] = 0
    write_picture(tmp_path / "masks" / "p1.png", mask)
    views = Views(made, made.used_photos(), 64, tmp_path / "masks")
    for divisor in (1, 2):
        view = views.view("p1", divisor)
        ignored = found | (mask == 0)
        assert view.ignored is not None
        assert np.mean(view.ignored != ignored[::divisor, ::divisor]) < 0.05 * (divisor - 1) + 1e-9
        assert view.sky is not None  # these photos show plain sky
        assert np.array_equal(view.sky, found[::divisor, ::divisor]) == empty
    assert views.view("p0").ignored is None


def test_candidates_reach_beyond_what_was_seen_at_every_size(tmp_path: Path) -> None:
    made = workspace(tmp_path / "w")
    seen = np.zeros((24, 32), bool)  # half the view's size
    seen[10:14, 12:16] = True
    asked: list[str] = []

    def found(name: str) -> np.ndarray:
        asked.append(name)
        return seen if name == "p1" else np.zeros((24, 32), bool)

    views = Views(made, made.used_photos(), 64, candidates=found, cache_bytes=1)
    assert not asked
    y, x = np.mgrid[:48, :64]
    distance = np.hypot(np.maximum(np.maximum(20 - y, y - 27), 0), np.maximum(np.maximum(24 - x, x - 31), 0))
    full = views.view("p1").candidates
    assert full is not None
    assert np.array_equal(full, distance <= module.CANDIDATES_REACH_PX)
    half = views.view("p1", 2).candidates
    assert half is not None
    assert half.shape == (24, 32)
    assert half.mean() == pytest.approx(full.mean(), rel=0.1)
    assert views.view("p0").candidates is None
    views.view("p1")
    assert asked == ["p1", "p0"]  # pictures are decoded again, but nobody is looked for again
    assert Views(made, made.used_photos(), 64).view("p1").candidates is None
