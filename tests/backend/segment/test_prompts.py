"""What a person may type, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import write_picture
from backend.scene import Photo
from backend.segment.prompts import _ROWS_AT_ONCE, Box, Clicks, Mask, on_photo, prompt_of
from backend.train.views import in_picture
from segwild_addon.protocol.errors import InputError
from tests.backend.conftest import cropping

PHOTO = Photo("p", "p.jpg", 40, 30)


def test_clicks_are_read() -> None:
    prompt = prompt_of(PHOTO, ("3,4,+", " 5.5 , 6 , - "), None, None)
    assert isinstance(prompt, Clicks)
    assert prompt.points.tolist() == [[3, 4], [5.5, 6]]
    assert prompt.positive.tolist() == [True, False]


def test_a_box_may_start_at_any_corner_and_leave_the_photo() -> None:
    assert prompt_of(PHOTO, (), None, "50,20,10,-5") == Box(10, 0, 40, 20)


def test_a_mask_is_read(tmp_path: Path) -> None:
    pixels = np.zeros((30, 40), bool)
    pixels[5:9, 3:7] = True
    write_picture(tmp_path / "m.png", pixels)
    prompt = prompt_of(PHOTO, (), tmp_path / "m.png", None)
    assert isinstance(prompt, Mask)
    assert np.array_equal(prompt.pixels, pixels)


@pytest.mark.parametrize(
    ("clicks", "box", "code"),
    [
        ((), None, "bad-prompt"),
        (("1,2,+",), "0,0,9,9", "bad-prompt"),
        (("1,2",), None, "bad-click"),
        (("1,2,yes",), None, "bad-click"),
        (("a,2,+",), None, "bad-click"),
        (("nan,2,+",), None, "bad-click"),
        (("1,2,-",), None, "bad-click"),
        (("40,2,+",), None, "click-outside"),
        (("3.2,2,+", "7,2,+", "3.9,2.5,-"), None, "contradicting-clicks"),
        (("-1,2,+",), None, "click-outside"),
        ((), "1,2,3", "bad-box"),
        ((), "1,2,inf,4", "bad-box"),
        ((), "1,2,1.5,20", "bad-box"),
        ((), "60,2,90,20", "bad-box"),
    ],
)
def test_what_makes_no_sense_is_refused(clicks: tuple[str, ...], box: str | None, code: str) -> None:
    with pytest.raises(InputError) as caught:
        prompt_of(PHOTO, clicks, None, box)
    assert caught.value.code == code
    assert caught.value.hint


def test_masks_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    write_picture(tmp_path / "small.png", np.ones((3, 4), bool))
    write_picture(tmp_path / "black.png", np.zeros((30, 40), bool))
    write_picture(tmp_path / "white.png", np.ones((30, 40), bool))
    wrong = {"small": "mask-size", "black": "empty-mask", "white": "full-mask", "none": "file-missing"}
    for name, code in wrong.items():
        with pytest.raises(InputError) as caught:
            prompt_of(PHOTO, (), tmp_path / f"{name}.png", None)
        assert caught.value.code == code


def test_a_mask_on_a_view_comes_back_from_the_photo(blobs) -> None:
    photo = blobs.photo("a0")
    assert photo.camera is not None
    camera = photo.camera.fitted(120)
    mask = np.zeros((camera.height, camera.width), bool)
    mask[20:50, 30:90] = True
    drawn = on_photo(mask, blobs.workspace, photo, camera)
    assert drawn.shape == (photo.height, photo.width)
    assert drawn.mean() == pytest.approx(mask.mean(), rel=0.03)
    assert np.array_equal(in_picture(drawn, blobs.workspace, photo, camera), mask)


def test_a_lens_shows_less_than_the_photo(blobs) -> None:
    """What the undistorted picture lacks is in no mask of the photo; what it shows comes back."""
    photo = blobs.photo("a0")
    assert photo.camera is not None
    width, height = photo.camera.width, photo.camera.height
    blobs.workspace.write_lenses({"a0": cropping(photo)})
    drawn = on_photo(np.ones((height, width), bool), blobs.workspace, photo, photo.camera)
    assert drawn.mean() == pytest.approx(0.64, rel=0.02)
    assert drawn[photo.height // 2, photo.width // 2]
    assert not drawn[:5].any()
    half = np.zeros((height, width), bool)
    half[:, : width // 2] = True
    drawn = on_photo(half, blobs.workspace, photo, photo.camera)
    assert (in_picture(drawn, blobs.workspace, photo, photo.camera) != half).mean() < 0.01


def test_the_way_back_to_a_photo_reads_its_lens_once(blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    photo, asked = blobs.photo("a0"), []
    assert photo.height > _ROWS_AT_ONCE
    monkeypatch.setattr(blobs.workspace, "lens", lambda of: asked.append(of.name))
    on_photo(blobs.mask(blobs.red)[::2, ::2], blobs.workspace, photo, photo.camera)
    assert asked == ["a0"]
