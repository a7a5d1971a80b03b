"""Files are whole or not there, whatever happens while they are written; damaged ones are named."""

from __future__ import annotations

import errno
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays, boolean_dtypes, floating_dtypes, integer_dtypes

from backend.scene import files
from backend.scene.files import (
    arrays_written,
    clear_parts,
    let_go,
    read_arrays,
    read_json,
    write_arrays,
    write_json,
    written_whole,
)
from segwild_addon.protocol.errors import InputError, ResourceError

OLD = {"kept": True}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write_json(tmp_path / "value.json", OLD)
    return tmp_path / "value.json"


def only_the_old_file(file: Path) -> bool:
    return read_json(file) == OLD and [entry.name for entry in file.parent.iterdir()] == [file.name]


# Atomic writes


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.bin"
    with written_whole(path) as file:
        file.write(b"whole")
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert [entry.name for entry in path.parent.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("interruption", [ValueError("spam"), KeyboardInterrupt(), SystemExit(3)])
def test_an_exception_in_the_block_leaves_the_old_file(file: Path, interruption: BaseException) -> None:
    with pytest.raises(type(interruption)), written_whole(file) as stream:  # noqa: PT012 - the block is the subject
        stream.write(b"half")
        raise interruption
    assert only_the_old_file(file)


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "code"), [(errno.ENOSPC, "disk-full"), (errno.EACCES, "not-writable"), (errno.EIO, "write-failed")]
)
def test_trouble_with_the_disk_leaves_the_old_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int, code: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as broken:
        broken.setattr(os if step == "fsync" else Path, step, fail)
        with pytest.raises(ResourceError) as trouble:
            write_json(file, {"kept": False})
    assert trouble.value.code == code
    assert str(file) in trouble.value.sentence
    assert trouble.value.hint
    assert only_the_old_file(file)


def test_a_file_that_is_read_for_a_moment_is_replaced_afterwards(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows."""
    refusals = iter([PermissionError(errno.EACCES, "in use")] * 3)
    replace = Path.replace

    def refused(self: Path, target: Path) -> Path:
        for refusal in refusals:
            raise refusal
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(ResourceError, match="Writing is not allowed"):
        write_json(file, {"new": 1})
    assert only_the_old_file(file)
    monkeypatch.setattr(files, "_READING_SECS", 60.0)
    write_json(file, {"new": 1})
    assert read_json(file) == {"new": 1}


def test_a_file_where_a_folder_is_needed(file: Path) -> None:
    for path in (file / "a.json", file / "deep" / "a.json"):
        with pytest.raises(ResourceError) as trouble:
            write_json(path, 1)
        assert str(path) in trouble.value.sentence
    assert only_the_old_file(file)


def test_a_folder_where_the_file_should_be(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(ResourceError):
        write_json(tmp_path / "taken", 1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_the_longest_name_a_file_system_takes(tmp_path: Path) -> None:
    for name in ("a" * 255, "é" * 127):
        write_json(tmp_path / name, OLD)
        assert read_json(tmp_path / name) == OLD


@pytest.mark.skipif(os.name != "posix", reason="Windows has no umask")
def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", 1)
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


def test_what_cannot_be_encoded_leaves_the_old_file(file: Path) -> None:
    for value in (float("nan"), object()):
        with pytest.raises((ValueError, TypeError)):
            write_json(file, value)
    assert only_the_old_file(file)


# JSON

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None)
@given(value=json_values)
def test_json_round_trip(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    write_json(path, value)
    assert read_json(path) == value


def test_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    write_json(tmp_path / "a.json", {"file": name, "é": "é"})
    assert read_json(tmp_path / "a.json") == {"file": name, "é": "é"}
    assert "é".encode() in (tmp_path / "a.json").read_bytes()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}", b"[NaN]", b"[-Infinity]", b"[" * 100_000, b"{} {}"])
def test_damaged_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        read_json(path)
    assert refusal.value.code == "file-damaged"
    assert refusal.value.sentence.endswith(f"{path}.")
    assert refusal.value.hint


def test_missing_files_are_named(tmp_path: Path) -> None:
    for read in (read_json, read_arrays):
        with pytest.raises(InputError) as refusal:
            read(tmp_path / "none")
        assert refusal.value.code == "file-missing"
        assert str(tmp_path / "none") in refusal.value.sentence
        with pytest.raises(InputError, match=str(tmp_path)):
            read(tmp_path)


# Arrays

numbers = floating_dtypes() | integer_dtypes() | boolean_dtypes()


@settings(max_examples=60, deadline=None)
@given(array=arrays(numbers, array_shapes(min_dims=0, min_side=0, max_side=4)), turned=st.booleans())
def test_array_round_trip(tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, turned: bool) -> None:
    path = tmp_path_factory.mktemp("arrays") / "a.safetensors"
    written = array.T if turned else array
    write_arrays(path, {"an/array": written, "other": np.zeros(3, np.uint8)}, {"content": "test"})
    found, metadata = read_arrays(path)
    assert metadata == {"content": "test"}
    assert set(found) == {"an/array", "other"}
    assert found["an/array"].dtype == written.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found["an/array"], written)


def test_no_arrays_are_a_valid_file(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a.safetensors", {})
    assert read_arrays(tmp_path / "a.safetensors") == ({}, {})


def foreign(kind: str, byte_count: int) -> bytes:
    header = json.dumps({"a": {"dtype": kind, "shape": [2], "data_offsets": [0, byte_count]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(byte_count)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        struct.pack("<Q", 2**60) + bytes(100),
        foreign("F32", 8)[:-1],
        foreign("F32", 9),
        foreign("BF16", 4),
        foreign("F8_E4M3", 2),
        foreign("spam", 4),
    ],
)
def test_damaged_arrays_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError) as refusal:
        read_arrays(path)
    assert refusal.value.code == "file-damaged"
    assert refusal.value.sentence.endswith(f"{path}.")


def test_parts_of_killed_writers_are_cleared_and_others_kept(tmp_path: Path) -> None:
    """Nobody has process number 2**22 + 1: the largest is 2**22."""
    folder = tmp_path / "splats"
    folder.mkdir()
    dead = folder / f".base.safetensors.{2**22 + 1}.abc.part"
    own = folder / f".base.safetensors.{os.getpid()}.abc.part"
    kept = folder / ".hidden"
    for path in (dead, own, kept):
        path.write_bytes(b"x")
    clear_parts(tmp_path)
    assert not dead.exists()
    assert own.exists()
    assert kept.exists()


def test_arrays_filled_piece_by_piece(tmp_path) -> None:
    """The same file as one written at once, for safetensors' own reader."""
    path = tmp_path / "a.safetensors"
    shapes = {
        "flags": (np.bool_, (5,)),
        "many": (np.float16, (5, 3)),
        "wide": (np.float32, (2,)),
        "none": (np.float32, (0, 4)),
    }
    with arrays_written(path, shapes, {"made": "by hand"}) as arrays:
        assert not path.exists()
        assert not arrays["many"].any()
        for row in range(5):
            arrays["many"][row] = row
            let_go(arrays["many"])
        arrays["flags"][2], arrays["wide"][:] = True, (1.5, -2)
    found, metadata = read_arrays(path)
    assert metadata == {"made": "by hand"}
    assert found["many"].tolist() == [[row] * 3 for row in range(5)]
    assert found["flags"].tolist() == [False, False, True, False, False]
    assert found["wide"].tolist() == [1.5, -2]
    assert found["none"].shape == (0, 4)


def test_arrays_that_were_not_finished_are_not_there(tmp_path) -> None:
    path, shapes = tmp_path / "a.safetensors", {"a": (np.float32, (9,))}
    with pytest.raises(ValueError, match="stop"), arrays_written(path, shapes, {}):
        raise ValueError("stop")
    assert list(tmp_path.iterdir()) == []
