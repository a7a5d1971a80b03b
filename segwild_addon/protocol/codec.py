"""Requests, events and values to JSON objects and back, strictly.

A message is `{"kind": <class name>, <field>: ...}`. Decoding takes nothing on trust: unknown kinds and
fields, missing fields and values of another type are a ProtocolError that names the field. Nothing is
ever looked up by a name from outside except in the table of kinds that the caller passes.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from .errors import ProtocolError

VERSION = 1
TEXT_MAX = 1 << 20  # characters of one string: rows of six million Gaussians
ITEMS_MAX = 100_000  # of one list
NUMBER_MAX = 2**53  # beyond it, JSON readers disagree
DEPTH_MAX = 20
FAST_MAX = 100_000  # characters: the fast reader lets no other thread run meanwhile, 0.12 s per MB at worst

T = TypeVar("T")


def encoded(message: Any) -> bytes:
    """A dataclass instance as one line of JSON, UTF-8, without line breaks."""
    return json.dumps(to_wire(message), separators=(",", ":"), allow_nan=False).encode()


def decoded(data: bytes | str, kinds: Mapping[str, type]) -> Any:
    """The inverse of `encoded` for a message of one of `kinds`. Raises ProtocolError."""
    return from_wire(parsed(data), kinds)


def parsed(data: bytes | str) -> Any:
    """JSON without NaN, infinities, repeated names or absurd depth. Raises ProtocolError."""
    try:
        if len(data) <= FAST_MAX:
            return json.loads(data, parse_constant=_refuse_constant, object_pairs_hook=_object)
        return _considerate().decode(data if isinstance(data, str) else data.decode(json.detect_encoding(data)))
    except (ValueError, RecursionError) as error:
        raise ProtocolError("bad-json", f"The message is not valid JSON ({error}).") from error


def _considerate() -> json.JSONDecoder:
    """The same reader in plain Python: slower, and the window of the program that reads stays alive."""
    decoder = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object)
    decoder.parse_string = json.decoder.py_scanstring  # type: ignore[attr-defined]
    decoder.scan_once = json.scanner.py_make_scanner(decoder)  # type: ignore[attr-defined]
    return decoder


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def kinds_of(*classes: type) -> dict[str, type]:
    """The table of kinds that `from_wire` wants."""
    return {cls.__name__: cls for cls in classes}


def to_wire(message: Any) -> dict[str, Any]:
    """A dataclass instance as JSON-ready values."""
    return {"kind": type(message).__name__, **_fields_out(message)}


def from_wire(data: Any, kinds: Mapping[str, type]) -> Any:
    """A JSON object as an instance of one of `kinds`. Raises ProtocolError."""
    if not isinstance(data, dict):
        raise ProtocolError("bad-message", f"A message is a JSON object, not {_named(data)}.")
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise ProtocolError("unknown-kind", f"There is no message of kind {_shown(kind)}.")
    return fields_in(kinds[kind], {name: value for name, value in data.items() if name != "kind"})


def fields_in(cls: type[T], data: Any, where: str = "") -> T:
    """A JSON object without `kind` as an instance of `cls`. Raises ProtocolError that names the field."""
    where = where or cls.__name__
    if not isinstance(data, dict):
        raise ProtocolError("bad-field", f"{where} is a JSON object, not {_named(data)}.")
    hints = _hints(cls)
    known = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for name in data:
        if name not in known:
            raise ProtocolError("unknown-field", f"{where} has no field {_shown(name)}.")
    values = {}
    for name, field in known.items():
        if name in data:
            values[name] = _value_in(hints[name], data[name], f"{where}.{name}", 0)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ProtocolError("missing-field", f"{where}.{name} is missing.")
    return cls(**values)


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _fields_out(message: Any) -> dict[str, Any]:
    return {field.name: _value_out(getattr(message, field.name)) for field in dataclasses.fields(message)}


def _value_out(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list):
        return [_value_out(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _value_out(item) for name, item in value.items()}
    if dataclasses.is_dataclass(value):
        return _fields_out(value)
    return value


def _value_in(hint: Any, value: Any, where: str, depth: int) -> Any:
    if depth > DEPTH_MAX:
        raise ProtocolError("bad-field", f"{where} is nested too deeply.")
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return _json_in(value, where, depth)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            if type(None) in arguments:
                return None
            raise _mismatch(hint, value, where)
        rest = [argument for argument in arguments if argument is not type(None)]
        if len(rest) == 1:
            return _value_in(rest[0], value, where, depth + 1)
        raise TypeError(f"{where}: a union of several types cannot be decoded")
    if origin is Literal:
        if not isinstance(value, str) or value not in arguments:
            raise ProtocolError("bad-field", f"{where} is {_shown(value)}; it can be {', '.join(map(str, arguments))}.")
        return value
    if origin is tuple:
        if not isinstance(value, list) or len(value) > ITEMS_MAX:
            raise _mismatch(hint, value, where)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return tuple(_value_in(arguments[0], item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value))
        if len(value) != len(arguments):
            raise ProtocolError("bad-field", f"{where} has {len(value)} items instead of {len(arguments)}.")
        pairs = zip(arguments, value, strict=True)
        return tuple(_value_in(kind, item, f"{where}[{i}]", depth + 1) for i, (kind, item) in enumerate(pairs))
    if origin is dict:
        return _json_in(value, where, depth) if isinstance(value, dict) else _raise(_mismatch(hint, value, where))
    if dataclasses.is_dataclass(hint):
        return fields_in(typing.cast(type, hint), value, where)
    return _scalar_in(hint, value, where)


def _scalar_in(hint: Any, value: Any, where: str) -> Any:
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= NUMBER_MAX:
        return value
    if hint is float and isinstance(value, float) and math.isfinite(value):
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool) and abs(value) <= NUMBER_MAX:
        return float(value)
    if hint in (str, Path) and isinstance(value, str) and len(value) <= TEXT_MAX:
        if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
            raise ProtocolError("bad-field", f"{where} contains a character that no text or path can have.")
        return Path(value) if hint is Path else value
    raise _mismatch(hint, value, where)


def _json_in(value: Any, where: str, depth: int) -> Any:
    """Free-form JSON, such as a stage's result."""
    if depth > DEPTH_MAX:
        raise ProtocolError("bad-field", f"{where} is nested too deeply.")
    if isinstance(value, dict):
        return {name: _json_in(item, where, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_json_in(item, where, depth + 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise ProtocolError("bad-field", f"{where} holds a number that is too large.")
    return value


def _raise(error: Exception) -> Any:
    raise error


def _mismatch(hint: Any, value: Any, where: str) -> ProtocolError:
    wanted = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}.get(
        hint, "a list" if get_origin(hint) is tuple else "something else"
    )
    return ProtocolError("bad-field", f"{where} should be {wanted}, not {_shown(value)}.")


def _named(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
