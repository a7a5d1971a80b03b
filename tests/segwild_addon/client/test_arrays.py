"""Arrays arrive whole and unaltered by file and by HTTP, or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segwild_addon.client import arrays
from segwild_addon.client.arrays import Arrays
from segwild_addon.client.http import Address, Http
from segwild_addon.protocol.errors import InputError, ProtocolError, ResourceError, SegWildError
from segwild_addon.protocol.values import ArrayRef


def kept(folder: Path, name: str, array: np.ndarray) -> ArrayRef:
    data = io.BytesIO()
    np.save(data, array)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.getvalue())
    digest = hashlib.blake2b(data.getvalue(), digest_size=16).hexdigest()
    return ArrayRef(name, str(array.dtype), array.shape, digest)  # type: ignore[arg-type]


def opener(fake, tmp_path: Path, *, by_file: bool) -> Arrays:
    http = Http(Address("127.0.0.1", fake.port, fake.token))
    return Arrays(lambda: http, tmp_path / "downloads", by_file=by_file)


def fetched(fake) -> list[str]:
    """The ranges asked for."""
    return [span for method, path, span in fake.asked if path.startswith("/v1/arrays/")]


ARRAYS = [
    np.arange(12, dtype=np.float32).reshape(3, 4),
    np.zeros((0, 3), np.int32),
    np.array(7, np.uint8),
    np.arange(5, dtype=np.float16),
]


@pytest.mark.parametrize("by_file", [True, False])
@pytest.mark.parametrize("array", ARRAYS, ids=["table", "empty", "single", "half"])
def test_an_array_arrives_as_it_was(fake, tmp_path: Path, array: np.ndarray, by_file: bool) -> None:
    ref = kept(fake.workspace, "previews/a 1.npy", array)
    found = opener(fake, tmp_path, by_file=by_file).open(ref)
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)
    assert found.shape == array.shape
    assert not found.flags.writeable or found.size == 0
    assert bool(fetched(fake)) != by_file


@pytest.mark.parametrize("by_file", [True, False])
def test_a_large_file_is_mapped_not_read(fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_file: bool) -> None:
    monkeypatch.setattr(arrays, "READ_MAX", 1000)
    ref = kept(fake.workspace, "a.npy", np.arange(10_000, dtype=np.int32))
    found = opener(fake, tmp_path, by_file=by_file).open(ref)
    assert isinstance(found, np.memmap)
    assert found[-1] == 9999


def test_a_download_that_breaks_off_goes_on_and_is_kept(fake, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(arrays, "RETRY_SECS", 0.01)
    array = np.random.default_rng(0).integers(0, 255, 30_000).astype(np.uint8)
    ref = kept(fake.workspace, "a.npy", array)
    fake.fault = "cut-array"
    one = opener(fake, tmp_path, by_file=False)
    with pytest.raises(ResourceError):
        one.open(ref)
    spans = fetched(fake)
    starts = [int(span.removeprefix("bytes=").removesuffix("-")) for span in spans[1:]]
    assert spans[0] == ""
    assert starts == sorted(set(starts))
    fake.fault = None
    assert np.array_equal(one.open(ref), array)
    asked = len(fetched(fake))
    assert np.array_equal(one.open(ref), array)
    assert len(fetched(fake)) == asked  # a second time nothing travels


@pytest.mark.parametrize("fault", ["flip-array", "hang", "garbage", "hang-up", "cut"])
def test_what_is_not_that_array_is_refused(fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(arrays, "STALL_SECS", 0.4)
    monkeypatch.setattr(arrays, "ATTEMPTS", 2)
    array = np.arange(1000, dtype=np.float32)
    ref = kept(fake.workspace, "a.npy", array)
    fake.fault, fake.fault_path = fault, "/v1/arrays/"
    one = opener(fake, tmp_path, by_file=False)
    with pytest.raises(SegWildError):
        one.open(ref)
    fake.fault = None
    assert np.array_equal(one.open(ref), array)


def test_a_file_that_changed_meanwhile_is_noticed(fake, tmp_path: Path) -> None:
    ref = kept(fake.workspace, "a.npy", np.arange(9, dtype=np.float32))
    kept(fake.workspace, "a.npy", np.arange(9, dtype=np.float32) + 1)
    for by_file in (True, False):
        with pytest.raises(ProtocolError) as caught:
            opener(fake, tmp_path, by_file=by_file).open(ref)
        assert caught.value.code == "array-changed"
    assert not list((tmp_path / "downloads").iterdir())


def test_pickled_objects_are_never_loaded(fake, tmp_path: Path) -> None:
    data = io.BytesIO()
    np.save(data, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (fake.workspace / "a.npy").write_bytes(data.getvalue())
    digest = hashlib.blake2b(data.getvalue(), digest_size=16).hexdigest()
    for by_file in (True, False):
        with pytest.raises(ProtocolError):
            opener(fake, tmp_path, by_file=by_file).open(ArrayRef("a.npy", "uint8", (300,), digest))


@pytest.mark.parametrize(
    "change",
    [
        {"path": "../secret.npy"},
        {"path": "/etc/secret.npy"},
        {"path": "a/../../b.npy"},
        {"path": "C:/b.npy"},
        {"path": "..\\b.npy"},
        {"path": "jobs.sqlite"},
        {"blake2b": "../../../../../../../../tmp/ab1"},
        {"shape": (-1, 4)},
    ],
)
@pytest.mark.parametrize("by_file", [True, False])
def test_a_reference_that_leads_astray_is_refused_before_anything_is_opened(
    fake, tmp_path: Path, change: dict, by_file: bool
) -> None:
    ref = dataclasses.replace(kept(fake.workspace, "a.npy", np.arange(4, dtype=np.float32)), **change)
    with pytest.raises(ProtocolError):
        opener(fake, tmp_path, by_file=by_file).open(ref)
    assert not fake.asked


def test_an_array_that_is_gone_is_said(fake, tmp_path: Path) -> None:
    ref = kept(fake.workspace, "a.npy", np.arange(4, dtype=np.float32))
    (fake.workspace / "a.npy").unlink()
    for by_file in (True, False):
        with pytest.raises(InputError):
            opener(fake, tmp_path, by_file=by_file).open(ref)


def test_old_downloads_make_room(fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "CACHE_BYTES", 12_000)
    one = opener(fake, tmp_path, by_file=False)
    for number in range(4):
        one.open(kept(fake.workspace, f"{number}.npy", np.full(4000, number, np.uint8)))
    assert len(list((tmp_path / "downloads").glob("*.npy"))) == 2


def test_without_a_backend_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ResourceError):
        Arrays(lambda: None, tmp_path, by_file=False).open(ArrayRef("a.npy", "uint8", (1,), "0" * 32))


@given(st.text(max_size=12), st.text(max_size=8))
def test_names_are_checked_as_text(name: str, digest: str) -> None:
    with pytest.raises(SegWildError):
        Arrays(lambda: None, Path("unused"), by_file=True).open(ArrayRef(name, "uint8", (1,), digest))
