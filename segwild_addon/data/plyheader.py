"""The header of a .ply file into the layout of its vertices, believing nothing it claims."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..protocol.errors import InputError

_LINE_MAX = 1024  # bytes; real lines have less than a hundred
_LINES_MAX = 10_000
_ENCODINGS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_KINDS = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip


@dataclass(frozen=True)
class Vertices:
    """Where the vertices lie and what each holds."""

    byte_order: str  # "<", ">", or "" for text
    count: int
    types: dict[str, str]  # numpy type by property, in file order
    lines_before: int  # of other elements, in a text file
    bytes_before: int  # of other elements, in a binary one


def read_header(file: BinaryIO, path: Path) -> Vertices:
    """Leaves `file` behind the header. Raises InputError if this is no .ply with plain vertices."""

    def wrong(why: str) -> InputError:
        return InputError("ply-malformed", f"The .ply {why}: {path}.", "Choose a 3DGS .ply.")

    if file.readline(_LINE_MAX).strip() != b"ply":
        raise InputError("ply-malformed", f"This is not a .ply file: {path}.", "Choose a 3DGS .ply.")
    byte_order: str | None = None
    elements: list[tuple[str, int, dict[str, str], bool]] = []  # name, rows, types, whether it has lists
    for _ in range(_LINES_MAX):
        line = file.readline(_LINE_MAX)
        if not line.endswith(b"\n"):
            raise wrong("header does not end")
        words = line.decode("latin1").split()
        if words == ["end_header"]:
            break
        if not words or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) == 3 and words[1] in _ENCODINGS:
            byte_order = _ENCODINGS[words[1]]
        elif words[0] == "element" and len(words) == 3 and words[2].isascii() and words[2].isdigit():
            if len(words[2]) > 18:
                raise wrong("header claims an absurd number of rows")
            elements.append((words[1], int(words[2]), {}, False))
        elif words[0] == "property" and elements and words[1:2] == ["list"] and len(words) == 5:
            name, count, types, _ = elements.pop()
            elements.append((name, count, types, True))
        elif words[0] == "property" and elements and len(words) == 3 and words[1] in _KINDS:
            if words[2] in elements[-1][2]:
                raise wrong(f"header names {words[2][:40]!r} twice")
            elements[-1][2][words[2]] = _KINDS[words[1]]
        else:
            raise wrong(f"header has a wrong line ({' '.join(words)[:60]!r})")
    else:
        raise wrong("header does not end")
    if byte_order is None:
        raise wrong("header names no format")
    names = [element[0] for element in elements]
    if "chunk" in names:
        raise InputError(
            "ply-compressed",
            f"This .ply is compressed in SuperSplat's own way: {path}.",
            "Save it as an uncompressed .ply there.",
        )
    if "vertex" not in names:
        raise wrong("has no vertices")
    before = elements[: names.index("vertex")]
    _, count, types, lists = elements[len(before)]
    if lists or any(element[3] for element in before):
        raise wrong("has lists in or before its vertices")
    return Vertices(
        byte_order,
        count,
        types,
        sum(element[1] for element in before),
        sum(element[1] * sum(int(kind[1]) for kind in element[2].values()) for element in before),
    )
