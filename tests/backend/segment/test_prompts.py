"""What a person may type, and what is said about the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.capture.pictures import write_picture
from backend.scene import Photo
from backend.segment.prompts import Box, Clicks, Mask, prompt_of
from segwild_addon.protocol.errors import InputError

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
    for name, code in (("small.png", "mask-size"), ("black.png", "empty-mask"), ("none.png", "file-missing")):
        with pytest.raises(InputError) as caught:
            prompt_of(PHOTO, (), tmp_path / name, None)
        assert caught.value.code == code
