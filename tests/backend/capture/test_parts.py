"""What a search for cameras found besides the largest model."""

from __future__ import annotations

from backend.capture.parts import other_parts, reasons


def test_each_photo_is_in_one_part_and_none_of_the_kept_model() -> None:
    kept = ["a", "b", "c", "d"]
    assert other_parts(kept, []) == []
    assert other_parts(kept, [["y", "x"], ["m", "n", "o", "d"], ["n", "z"], ["a", "b"]]) == [
        ["m", "n", "o"],
        ["x", "y"],
        ["z"],
    ]


def test_a_reason_says_how_many_photos_belong_together() -> None:
    said = reasons([["m", "n"], ["z"]])
    assert said["m"] == said["n"]
    assert said["m"] == "belongs to another part of the place (2 photos), which could not be connected with this one"
    assert "(1 photo)" in said["z"]
    assert reasons([]) == {}
