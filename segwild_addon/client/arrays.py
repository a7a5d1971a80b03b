"""An `ArrayRef` into a numpy array: from the workspace's file where that can be reached, over HTTP otherwise.

A download that is cut off goes on where it stopped, and what arrived is compared with the checksum. A file
of this machine is checked too while that costs nothing to speak of; a large one is mapped, not read.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np

from ..protocol.errors import ProtocolError, ResourceError, SegWildError
from ..protocol.values import ArrayRef
from .http import LOST, Http

READ_MAX = 64 << 20  # bytes: smaller files are read and checked (0.1 s), larger ones mapped
HEADER_MAX = 1 << 16  # bytes of a .npy header
PIECE = 4 << 20
STALL_SECS = 20.0  # without a byte
ATTEMPTS = 5
RETRY_SECS = 0.2
CACHE_BYTES = 4 << 30  # downloads kept; the ones used longest ago go first


class Arrays:
    """Opens the arrays of one backend. Safe to share among threads."""

    def __init__(self, http: Callable[[], Http | None], folder: Path, *, by_file: bool) -> None:
        """`folder` keeps downloads, made when needed. `by_file`: the backend's files are on this machine."""
        self.by_file = by_file
        self._http, self._folder = http, folder
        self._known: tuple[Http, Path] | None = None
        self._locks: dict[str, threading.Lock] = {}  # two downloads of one array would mix

    def open(self, ref: ArrayRef, *, timeout_secs: float = 600.0) -> np.ndarray:
        """The array, read-only. Raises ProtocolError for what is not that array, ResourceError without a way to it."""
        _check(ref)
        if self.by_file and (workspace := self._workspace()) is not None:
            found = _from_file(workspace / PurePosixPath(ref.path), ref)
            if found is not None:
                return found
        with self._locks.setdefault(ref.blake2b, threading.Lock()):
            return self._downloaded(ref, time.monotonic() + timeout_secs)

    def _way(self) -> Http:
        http = self._http()
        if http is None:
            raise ResourceError(LOST, "The backend is not running.", "Start it.")
        return http

    def _workspace(self) -> Path | None:
        way = self._way()
        if self._known is None or self._known[0] is not way:
            health = way.get("/v1/health")
            workspace = health.get("workspace") if isinstance(health, dict) else None
            if not isinstance(workspace, str):
                return None
            self._known = way, Path(workspace)
        return self._known[1]

    def _downloaded(self, ref: ArrayRef, deadline: float) -> np.ndarray:
        whole = self._folder / f"{ref.blake2b}.npy"
        part = whole.with_suffix(".part")
        with _disk_told(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
        if (kept := _mapped(whole, ref)) is not None:
            with contextlib.suppress(OSError):
                whole.touch()
            return kept
        resumed = part.exists()
        self._fetch_all(ref, part, deadline)
        if resumed and _digest(part) != ref.blake2b:  # the beginning was of no use
            part.unlink(missing_ok=True)
            self._fetch_all(ref, part, deadline)
        if _digest(part) != ref.blake2b:
            part.unlink(missing_ok=True)
            raise ProtocolError(
                "array-changed", f"The array is not the one that was announced: {ref.path}.", "Ask for it again."
            )
        found = _mapped(part, ref)
        if found is None:
            part.unlink(missing_ok=True)
            raise _damaged(ref)
        del found  # Windows renames no mapped file
        with _disk_told(whole):
            part.replace(whole)
        self._make_room(whole)
        again = _mapped(whole, ref)
        if again is None:
            raise _damaged(ref)
        return again

    def _fetch_all(self, ref: ArrayRef, part: Path, deadline: float) -> None:
        """`_fetch` until nothing is missing. Raises SegWildError if that does not succeed in a few attempts."""
        for attempt in range(ATTEMPTS):
            way = self._way()
            try:
                self._fetch(way, ref, part, deadline)
                return
            except ResourceError as error:
                if error.code != LOST or attempt == ATTEMPTS - 1 or time.monotonic() > deadline:
                    raise
                time.sleep(RETRY_SECS * 2**attempt)

    def _fetch(self, way: Http, ref: ArrayRef, part: Path, deadline: float) -> None:
        """Append to `part` what is missing. Raises ResourceError (`backend-lost`) if that ends early."""
        have = part.stat().st_size if part.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        path = "/v1/arrays/" + quote(ref.path)
        with contextlib.ExitStack() as stack:
            try:
                answer = stack.enter_context(way.open("GET", path, headers=headers, timeout_secs=STALL_SECS))
            except SegWildError as error:
                if have and error.code == "bad-answer":  # a range beyond the end: another file by now, or a whole one
                    return
                raise
            if have and answer.status != 206:
                have = 0
            with _disk_told(part):
                file = stack.enter_context(part.open("r+b" if have else "wb"))
                file.seek(have)
                file.truncate()
            buffer = bytearray(PIECE)
            view = memoryview(buffer)
            while count := answer.readinto(view):
                have += count
                if have > ref.data_bytes + HEADER_MAX:
                    raise _damaged(ref)
                with _disk_told(part):
                    file.write(view[:count])
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ResourceError("array-late", f"The array did not arrive in time: {ref.path}.", "Try again.")
                answer.more_time(min(STALL_SECS, left))

    def _make_room(self, newest: Path) -> None:
        """Remove what was used longest ago beyond the limit."""
        with contextlib.suppress(OSError):
            files = [(file.stat().st_mtime, file.stat().st_size, file) for file in self._folder.glob("*.npy")]
            room = CACHE_BYTES
            for _, size, file in sorted(files, reverse=True):
                room -= size
                if room < 0 and file != newest:
                    with contextlib.suppress(OSError):  # Windows keeps what is mapped
                        file.unlink()


def _check(ref: ArrayRef) -> None:
    """Raises ProtocolError for a name that leads out of the workspace, or a checksum that is none."""
    path = PurePosixPath(ref.path)
    strange = "\\" in ref.path or ":" in ref.path or "\0" in ref.path
    if path.is_absolute() or ".." in path.parts or path.suffix != ".npy" or strange:
        raise ProtocolError("bad-array", f"Not the name of an array of the workspace: {ref.path}.")
    if len(ref.blake2b) != 32 or set(ref.blake2b) - set("0123456789abcdef") or min(ref.shape, default=0) < 0:
        raise ProtocolError("bad-array", f"Not the description of an array: {ref.path}.")


def _from_file(path: Path, ref: ArrayRef) -> np.ndarray | None:
    """The array of the file; None if the file is not there or holds another array."""
    try:
        size = path.stat().st_size
        if size > ref.data_bytes + HEADER_MAX:
            return None
        if size > READ_MAX:
            return _mapped(path, ref)
        data = path.read_bytes()
    except OSError:
        return None
    if hashlib.blake2b(data, digest_size=16).hexdigest() != ref.blake2b:
        return None
    array = _loaded(io.BytesIO(data), ref)
    if array is not None:
        array.flags.writeable = False
    return array


def _mapped(path: Path, ref: ArrayRef) -> np.ndarray | None:
    """The array of a file, mapped; None if the file is not there or holds another array."""
    if not path.is_file():
        return None
    return _loaded(path, ref)


def _loaded(source: Any, ref: ArrayRef) -> np.ndarray | None:
    try:
        # An empty array cannot be mapped.
        mapped = isinstance(source, Path) and ref.data_bytes > 0
        array = np.load(source, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    if not isinstance(array, np.ndarray) or array.dtype != np.dtype(ref.dtype) or array.shape != ref.shape:
        return None
    return array if array.flags.c_contiguous else None


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _damaged(ref: ArrayRef) -> ProtocolError:
    return ProtocolError("bad-array", f"The backend sent something else than the array it announced: {ref.path}.")


@contextlib.contextmanager
def _disk_told(path: Path) -> Any:
    try:
        yield
    except OSError as error:
        raise ResourceError(
            "disk-full", f"The array cannot be kept ({error.strerror}): {path}.", "Free some space, or choose a folder."
        ) from error
