"""Arrays for another program: named by content, few kept, never changed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest

from backend.scene.arrays import handed_out


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "uint8"])
def test_what_is_written_is_what_the_reference_says(tmp_path: Path, dtype: str) -> None:
    array = np.arange(24).reshape(4, 6).astype(dtype)[:, ::2]  # not contiguous
    ref = handed_out(tmp_path, "rows", array, kept=3)
    file = tmp_path / ref.path
    assert hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest() == ref.blake2b
    found = np.load(file, mmap_mode="r", allow_pickle=False)
    assert (found.dtype.name, found.shape, found.nbytes) == (ref.dtype, ref.shape, ref.data_bytes)
    assert np.array_equal(found, array)


def test_the_newest_of_each_group_stay(tmp_path: Path) -> None:
    refs = []
    for number in range(6):
        refs.append(handed_out(tmp_path, "a", np.full(3, number, np.int32), kept=3))
        os.utime(tmp_path / refs[-1].path, (number, number))
    other = handed_out(tmp_path, "b", np.zeros(3, np.int32), kept=3)
    there = {path.name for path in (tmp_path / "previews").iterdir()}
    assert there == {Path(ref.path).name for ref in (*refs[-3:], other)}
    again = handed_out(tmp_path, "a", np.full(3, 4, np.int32), kept=3)
    assert again == refs[4]


def test_a_clock_that_was_set_back_removes_nothing_that_is_still_read(tmp_path: Path) -> None:
    tomorrow = time.time() + 86_400
    refs = []
    for number in range(6):
        refs.append(handed_out(tmp_path, "a", np.full(3, number, np.int32), kept=3))
        if number == 2:
            for ref in refs:
                os.utime(tmp_path / ref.path, (tomorrow, tomorrow))
    there = {path.name for path in (tmp_path / "previews").iterdir()}
    assert there == {Path(ref.path).name for ref in refs[-3:]}


def test_the_same_again_is_the_youngest_and_the_file_that_is_read_stays_as_it_is(tmp_path: Path) -> None:
    refs = [handed_out(tmp_path, "a", np.full(3, number, np.int32), kept=3) for number in range(3)]
    before = (tmp_path / refs[0].path).stat()
    assert handed_out(tmp_path, "a", np.full(3, 0, np.int32), kept=3) == refs[0]
    assert os.path.samestat((tmp_path / refs[0].path).stat(), before)
    handed_out(tmp_path, "a", np.full(3, 9, np.int32), kept=3)
    there = {path.name for path in (tmp_path / "previews").iterdir()}
    assert Path(refs[0].path).name in there
    assert Path(refs[1].path).name not in there
