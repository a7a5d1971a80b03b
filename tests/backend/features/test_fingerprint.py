"""The Gaussians' file into a name, which is that of what is in the file now."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from backend.features import fingerprint, splat_hash


class _Counted:
    """hashlib, which counts what it is asked for."""

    def __init__(self) -> None:
        self.digests = 0

    def blake2b(self, **facts: int):
        self.digests += 1
        return hashlib.blake2b(**facts)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> _Counted:
    found = _Counted()
    monkeypatch.setattr(fingerprint, "hashlib", found)
    return found


def test_a_file_is_read_once_and_its_successors_too(blobs, counted) -> None:
    names = []
    for count in (50, 60, 60):
        blobs.scene.take(np.arange(count)).save(blobs.workspace.splats)
        names += [splat_hash(blobs.workspace) for _ in range(3)]
        assert names[-1] == hashlib.blake2b(blobs.workspace.splats.read_bytes(), digest_size=16).hexdigest()
    assert len(set(names)) == 2
    assert counted.digests == 3


def test_equal_sizes_are_not_equal_files(blobs, counted) -> None:
    blobs.scene.take(np.arange(50)).save(blobs.workspace.splats)
    first = splat_hash(blobs.workspace)
    blobs.scene.take(np.arange(50, 100)).save(blobs.workspace.splats)
    assert splat_hash(blobs.workspace) != first


def test_no_gaussians_no_name(blobs, counted) -> None:
    splat_hash(blobs.workspace)
    blobs.workspace.splats.unlink()
    assert splat_hash(blobs.workspace) == ""


def test_few_files_are_remembered(blobs, counted) -> None:
    for count in range(10, 10 + 3 * fingerprint._REMEMBERED):
        blobs.scene.take(np.arange(count)).save(blobs.workspace.splats)
        splat_hash(blobs.workspace)
        assert len(fingerprint._known) <= fingerprint._REMEMBERED
