"""The header of a .ply file into elements and their properties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from segwild_addon.protocol.errors import InputError

_LONGEST_LINE = 4096  # bytes; real lines have less than a hundred
_LONGEST_HEADER = 1 << 20  # bytes
_BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_NAMES = "char uchar short ushort int uint float double int8 uint8 int16 uint16 int32 uint32 float32 float64"
_TYPES = dict(zip(_NAMES.split(), 2 * ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"], strict=True))  # numpy's


@dataclass(frozen=True)
class Element:
    """One table of the file: so many rows of these properties."""

    name: str
    count: int
    types: Mapping[str, str]  # numpy type by property name, in file order
    lists: tuple[str, ...]  # names of list properties, whose rows differ in length

    def dtype(self, byte_order: str) -> np.dtype:
        return np.dtype([(name, byte_order + kind) for name, kind in self.types.items()])


@dataclass(frozen=True)
class Header:
    """What a .ply says of itself. Nothing in it is to be trusted before the file's size is known."""

    byte_order: str  # "<", ">" or, for text, ""
    elements: tuple[Element, ...]  # in file order

    @property
    def text(self) -> bool:
        return not self.byte_order

    def element(self, name: str) -> Element | None:
        return next((element for element in self.elements if element.name == name), None)


def read_header(file: BinaryIO, path: Path) -> Header:
    """Leaves `file` at the first byte after the header; `path` is only for the sentence.

    Raises InputError if this is no .ply header.
    """
    if _line(file, path).split() != ["ply"]:
        raise InputError("ply-malformed", f"This is not a .ply file: {path}.", "Choose a 3DGS .ply.")
    byte_order: str | None = None
    tables: list[tuple[str, int, dict[str, str], list[str]]] = []
    while True:
        line = _line(file, path)
        match line.split():
            case ["end_header"]:
                break
            case ["format", encoding, "1.0"] if encoding in _BYTE_ORDERS:
                byte_order = _BYTE_ORDERS[encoding]
            case ["element", name, count] if count.isascii() and count.isdigit():
                tables.append((name, int(count), {}, []))
            case ["property", "list", length, kind, name] if tables and length in _TYPES and kind in _TYPES:
                tables[-1][3].append(name)
            case ["property", kind, name] if tables and kind in _TYPES and name not in tables[-1][2]:
                tables[-1][2][name] = _TYPES[kind]
            case ["comment" | "obj_info", *_] | []:
                pass
            case _:
                raise InputError("ply-malformed", f"The .ply header has a wrong line ({line.strip()[:80]!r}): {path}.")
    if byte_order is None:
        raise InputError("ply-malformed", f"The .ply header names no format: {path}.")
    return Header(byte_order, tuple(Element(name, count, types, tuple(lists)) for name, count, types, lists in tables))


def _line(file: BinaryIO, path: Path) -> str:
    line = file.readline(_LONGEST_LINE)
    if not line.endswith(b"\n") or file.tell() > _LONGEST_HEADER:
        raise InputError("ply-malformed", f"The .ply header does not end: {path}.", "Copy or download the file again.")
    return line.decode("latin1")
