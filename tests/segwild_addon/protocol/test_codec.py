"""Messages survive the wire, and nothing else is taken for one."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segwild_addon.protocol import codec, events, questions, requests, values
from segwild_addon.protocol.errors import ProtocolError

MESSAGES = [
    *(
        cls
        for module in (requests, questions, values)
        for cls in vars(module).values()
        if dataclasses.is_dataclass(cls) and cls.__module__ == module.__name__
    ),
    *events.EVENTS,
]
KINDS = codec.kinds_of(*MESSAGES)
text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)


def filled(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return json_values
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin is tuple and arguments[-1] is not Ellipsis:
        return st.tuples(*map(filled, arguments))
    if origin is tuple:
        return st.lists(filled(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(text, json_values, max_size=3)
    if type(None) in arguments:
        return st.none() | filled(next(part for part in arguments if part is not type(None)))
    if dataclasses.is_dataclass(hint):
        return instances(typing.cast(type, hint))
    return {
        bool: st.booleans(),
        int: st.integers(-(2**53), 2**53),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: text,
        Path: text.map(Path),
    }[hint]


def instances(cls: type) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{field.name: filled(hints[field.name]) for field in dataclasses.fields(cls)})


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_every_message_comes_back_as_it_went(cls: type, data: st.DataObject) -> None:
    message = data.draw(instances(cls))
    line = codec.encoded(message)
    assert b"\n" not in line
    assert codec.decoded(line, KINDS) == message


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
@given(data=st.data())
def test_a_message_with_anything_else_in_it_is_refused(cls: type, data: st.DataObject) -> None:
    wire = codec.to_wire(data.draw(instances(cls)))
    with pytest.raises(ProtocolError) as unknown:
        codec.from_wire(wire | {"more": 1}, KINDS)
    assert unknown.value.code == "unknown-field"
    for field in dataclasses.fields(cls):
        rest = {name: value for name, value in wire.items() if name != field.name}
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            with pytest.raises(ProtocolError) as missing:
                codec.from_wire(rest, KINDS)
            assert missing.value.code == "missing-field"
            assert field.name in missing.value.sentence
        hint = typing.get_type_hints(cls)[field.name]
        if hint is not Any:
            for wrong in (object, [[]], [{}], {"x": object}, 1.5j):
                with pytest.raises(ProtocolError):
                    codec.from_wire(wire | {field.name: [wrong] if "dict" in str(hint) else wrong}, KINDS)


@given(data=st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_message_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        assert type(codec.decoded(data, KINDS)) in MESSAGES


@pytest.mark.parametrize(
    "line",
    [
        '{"kind":"Preview","view":"a","click":[],"view":"b"}',
        '{"kind":"Submit","verb":"export","request":{},"snapshot_secs":NaN}',
        '{"kind":"Submit","verb":"export","request":{},"snapshot_secs":1e999}',
        '{"kind":"Submit","verb":"export","request":{},"snapshot_secs":true}',
        '{"kind":"Submit","verb":"export","request":{"a":1e999}}',
        '{"kind":"Submit","verb":"export","request":[]}',
        '{"kind":"Preview","view":1,"click":[]}',
        '{"kind":"Preview","view":"a\\u0000","click":[]}',
        '{"kind":"Preview","view":"\\ud800","click":[]}',
        '{"kind":"Preview","view":"a","click":"1,2,+"}',
        '{"kind":"Preview","view":"a","click":[null]}',
        '{"kind":["Preview"],"view":"a","click":[]}',
        '{"kind":"Train","workspace":"w","seed":1.0}',
        '{"kind":"Train","workspace":"w","seed":9007199254740993}',
        '{"kind":"Train","workspace":"w","preset":"huge"}',
        '{"kind":"int"}',
        '{"kind":"__class__"}',
        "[]",
        "",
        "[" * 100_000,
        "9" * 10_000,
    ],
)
def test_these_are_refused(line: str) -> None:
    with pytest.raises(ProtocolError):
        codec.decoded(line, KINDS)


def test_limits_hold() -> None:
    with pytest.raises(ProtocolError):
        codec.decoded(json.dumps({"kind": "Prepare", "view": "x" * (codec.TEXT_MAX + 1)}), KINDS)
    with pytest.raises(ProtocolError):
        codec.decoded(json.dumps({"kind": "Preview", "view": "x", "click": ["a"] * (codec.ITEMS_MAX + 1)}), KINDS)
    deep: Any = 1
    for _ in range(codec.DEPTH_MAX + 2):
        deep = [deep]
    with pytest.raises(ProtocolError):
        codec.decoded(json.dumps({"kind": "Submit", "verb": "x", "request": {"a": deep}}), KINDS)


def test_what_is_no_json_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        codec.encoded(requests.Submit("x", {}, float("inf")))


@given(json_values)
@settings(max_examples=20)
def test_large_messages_are_read_like_small_ones(value: Any) -> None:
    """By the reader that lets other threads run."""
    data = json.dumps({"value": value, "fill": "x" * codec.FAST_MAX})
    assert len(data) > codec.FAST_MAX
    assert codec.parsed(data) == codec.parsed(data.encode()) == json.loads(data)
    for bad in (data[:-1], data.replace('"fill"', '"value"', 1), data[:-1] + ', "n": NaN}', "[" * codec.FAST_MAX * 2):
        with pytest.raises(ProtocolError):
            codec.parsed(bad)
