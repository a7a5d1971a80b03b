"""A file of somebody's network weights into plain tensors, and where such files are looked for.

Nothing is downloaded. A file is named by an option or by an environment variable, or lies in the folder
`checkpoints` of the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import pickle  # only the exception: torch reads tensors alone  # nosec B403
import warnings
import zipfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from segwild_addon.protocol.errors import InputError, ResourceError, SetupError


@dataclass(frozen=True)
class Published:
    """A file of weights as its authors publish it."""

    kind: str
    url: str
    size_bytes: int
    sha256: str  # 64 hex digits, or as many of the first as the authors tell

    @property
    def file(self) -> str:
        return self.url.rpartition("/")[2]


def folder() -> Path:
    """Where weights are looked for: `checkpoints` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "segwild" / "checkpoints"


def find(given: Path | None, variable: str, patterns: Sequence[str], what: str, hint: str) -> Path:
    """The weights of `what`: the file that was given, the environment variable's, or one in `folder()`.

    Of several there, the first pattern's first by name. Raises InputError if a named file is missing, SetupError if
    nothing names one.
    """
    named = given or (Path(os.environ[variable]).expanduser() if os.environ.get(variable) else None)
    if named is not None:
        return existing(named, hint, "" if given else f" ({variable} names it)")
    for pattern in patterns:
        for path in sorted(folder().glob(pattern)):
            if path.is_file():
                return path
    raise SetupError(
        "no-checkpoint",
        f"{what} needs a checkpoint, a file of its weights, and none was found.",
        f"{hint} Then give it with --checkpoint FILE, set {variable}, or put it into {folder()}.",
    )


def existing(path: Path, hint: str, origin: str = "") -> Path:
    """The path of a file that somebody named. Raises InputError if there is none."""
    if not path.is_file():
        raise InputError("file-missing", f"There is no such checkpoint{origin}: {path}.", hint)
    return path


def on_this_machine(published: Sequence[Published], found: Sequence[Path]) -> list[str]:
    """A line for each published file, and for others that are found: where it is and whether it is whole, or where to
    get it. Reads what is found, a second per gigabyte.
    """
    files = {path: digest(path) for path in found}
    lines = []
    for file in published:
        own = [path for path, sha256 in files.items() if sha256.startswith(file.sha256)]
        damaged = [path for path in files if path.name == file.file and path not in own]
        told = file.sha256 if len(file.sha256) == 64 else f"{file.sha256}…"
        lines += [f"{file.kind}: {path} (as published)" for path in own]
        lines += [
            f"{file.kind}: {path} is not what was published under that name (its SHA-256 is {files[path]}, "
            f"not {told}); download it again: {file.url}"
            for path in damaged
        ]
        if not own and not damaged:
            lines.append(f"{file.kind}: not found; {file.url} ({file.size_bytes / 1e6:,.0f} MB, SHA-256 {told})")
    names = {file.file for file in published}
    others = (
        path
        for path, sha256 in files.items()
        if path.name not in names and not any(sha256.startswith(file.sha256) for file in published)
    )
    return [*lines, *(f"{path} (not a published file; SHA-256 {files[path]})" for path in others)]


def digest(path: Path) -> str:
    """SHA-256 of a file, 64 hex digits. Raises InputError if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError("file-unreadable", f"The file cannot be read ({error.strerror}): {path}.") from error


def read_tensors(path: Path, without: Collection[str] = ()) -> dict[str, Tensor]:
    """Tensors by name, float32 on the CPU. Tensors alone are loaded: no code of the file runs.

    Left out are those whose last part of the name is in `without`.

    Raises InputError if the file is missing, cut short, holds anything but named tensors, or is no file of torch's;
    ResourceError if it does not fit into memory.
    """
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError("checkpoint-damaged", f"The checkpoint is empty: {path}.", "Download it again.")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that torch did not write; they are refused below
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None)
    except InputError:
        raise
    except OSError as error:
        raise InputError("file-unreadable", f"The checkpoint cannot be read ({error.strerror}): {path}.") from error
    except MemoryError as error:
        raise _too_large(path) from error
    except pickle.UnpicklingError as error:
        refused = "GLOBAL" in str(error)  # else: bytes that are no pickle, or one of a kind torch never writes
        raise InputError(
            "checkpoint-unsafe" if refused else "checkpoint-damaged",
            f"The checkpoint holds more than tensors, and what else it holds is not run: {path}."
            if refused
            else f"This is no checkpoint as torch.save writes it: {path}.",
            "Use the file that the network's authors publish.",
        ) from error
    except Exception as error:  # whatever a file cut short makes torch raise; its text is a page long
        raise InputError(
            "checkpoint-damaged",
            f"The checkpoint is cut short or damaged ({type(error).__name__}): {path}.",
            "Download it again and compare its size.",
        ) from error
    size = path.stat().st_size
    if not isinstance(content, Mapping) or not content:
        raise _unknown(path, f"it holds {type(content).__name__}, not named tensors")
    tensors = {}
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise _unknown(path, f"{str(name)[:60]!r} is {type(value).__name__}, not a tensor")
        if name.rpartition(".")[2] in without:
            continue
        # A made-up stride or storage would claim more numbers than the file holds.
        plain = value.layout is torch.strided and value.device.type == "cpu" and value.is_floating_point()
        if not plain or value.numel() * value.element_size() > size:
            raise _unknown(path, f"{name[:60]!r} is no plain tensor of numbers")
        try:
            tensors[name] = value.detach().to(torch.float32, copy=True).contiguous()
        except RuntimeError as error:  # torch's way of saying that memory ran out
            raise _too_large(path) from error
    return tensors


def checked_against(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], path: Path, what: str) -> None:
    """Raises InputError, naming the first difference, unless names and shapes are those of `expected`."""
    for name, value in expected.items():
        if name not in tensors:
            raise _unknown(path, f"{name!r} of {what} is missing")
        if tensors[name].shape != value.shape:
            shapes = f"{tuple(tensors[name].shape)}, that of {what} {tuple(value.shape)}"
            raise _unknown(path, f"its {name!r} has the shape {shapes}")
    extra = sorted(set(tensors) - set(expected))
    if extra:
        raise _unknown(path, f"{extra[0][:60]!r} is no part of {what}")


def _unknown(path: Path, why: str) -> InputError:
    return InputError(
        "checkpoint-unknown",
        f"The checkpoint is not laid out as expected: {why}: {path}.",
        "Use the file that the network's authors publish; fine-tuned and repacked ones may differ.",
    )


def _too_large(path: Path) -> ResourceError:
    return ResourceError(
        "too-little-memory", f"The checkpoint does not fit into memory: {path}.", "Use a smaller network of its kind."
    )
