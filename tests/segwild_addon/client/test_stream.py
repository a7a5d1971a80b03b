"""Events arrive in order, each once, none lost, through every kind of broken connection."""

from __future__ import annotations

import dataclasses
import io
import json
import queue
import threading
import time
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segwild_addon.client import stream
from segwild_addon.client.http import Address, Http
from segwild_addon.client.stream import Reader, Rewound, Unreadable, decoded, messages
from segwild_addon.protocol import codec
from segwild_addon.protocol.events import EVENTS, Artefact, Numbered, SceneChanged


def followed(fake, *, after: int | None = 0) -> tuple[Reader, queue.Queue[Any]]:
    found: queue.Queue[Any] = queue.Queue()
    http = Http(Address("127.0.0.1", fake.port, fake.token))
    reader = Reader(lambda: http, found, after=after)
    reader.start()
    return reader, found


def taken(found: queue.Queue[Any], count: int) -> list[Any]:
    return [found.get(timeout=10) for _ in range(count)]


def tell(fake, count: int) -> None:
    for number in range(count):
        fake.tell("JobProgress", job="j", phase="p", done=number, total=None, eta_secs=None, note="")


@pytest.mark.parametrize("fault", [None, "cut-event", "repeat"])
def test_everything_arrives_once_and_in_order(fake, fault: str | None) -> None:
    tell(fake, 6)
    fake.fault = fault
    reader, found = followed(fake)
    try:
        tell(fake, 6)
        assert [item.seq for item in taken(found, 12)] == list(range(1, 13))
        assert found.empty()
    finally:
        reader.stop()


def test_only_what_happens_from_now_on(fake, wait_until) -> None:
    tell(fake, 5)
    reader, found = followed(fake, after=None)
    try:
        wait_until(lambda: reader.connected)
        tell(fake, 1)
        assert found.get(timeout=5).seq == 6
    finally:
        reader.stop()


def test_a_bad_event_is_told_and_passed_over(fake) -> None:
    fake.fault = "bad-event"
    tell(fake, 7)
    reader, found = followed(fake)
    try:
        seen = taken(found, 7)
        assert [item.seq if isinstance(item, Numbered) else None for item in seen] == [1, 2, None, 4, 5, None, 7]
        assert isinstance(seen[2], Unreadable)
    finally:
        reader.stop()


@pytest.mark.parametrize("fault", ["no-newline", "not-a-stream"])
def test_what_is_no_stream_is_told_once_and_tried_again(fake, fault: str) -> None:
    fake.fault = fault
    tell(fake, 1)
    reader, found = followed(fake)
    try:
        assert isinstance(found.get(timeout=5), Unreadable)
        time.sleep(0.5)
        assert found.empty()
        fake.fault = None
        assert found.get(timeout=10).seq == 1
    finally:
        reader.stop()


@pytest.mark.parametrize("fault", ["hang", "garbage", "error", "html", "nonsense", "cut", "hang-up"])
def test_the_reader_outlives_a_broken_backend(fake, fault: str) -> None:
    reader, found = followed(fake)
    try:
        tell(fake, 1)
        assert found.get(timeout=5).seq == 1
        fake.fault = fault
        time.sleep(0.1)
        fake.fault = None
        tell(fake, 1)
        items = [found.get(timeout=10)]
        while isinstance(items[-1], Unreadable):
            items.append(found.get(timeout=10))
        assert items[-1].seq == 2
    finally:
        reader.stop()


@pytest.mark.parametrize("fault", ["hang", "drip", "endless", None])
def test_stopping_ends_the_thread_at_once(fake, fault: str | None) -> None:
    fake.fault = fault
    reader, _ = followed(fake)
    time.sleep(0.2)
    began = time.monotonic()
    reader.stop()
    assert time.monotonic() - began < 3.0
    assert not [thread for thread in threading.enumerate() if thread.name == "segwild-events"]


def test_another_backend_of_the_same_workspace_goes_on_where_the_first_ended(make_fake, tmp_path) -> None:
    found: queue.Queue[Any] = queue.Queue()
    ways: list[Http | None] = [None]
    reader = Reader(lambda: ways[0], found, after=0)
    reader.start()
    try:
        with make_fake(tmp_path) as first:
            ways[0] = Http(Address("127.0.0.1", first.port, first.token))
            tell(first, 3)
            taken(found, 3)
            events = list(first.events)
        ways[0] = None
        with make_fake(tmp_path, "other") as second:
            second.events.extend(events)
            second.stream = first.stream
            tell(second, 2)
            ways[0] = Http(Address("127.0.0.1", second.port, "other"))
            assert [item.seq for item in taken(found, 2)] == [4, 5]
        with make_fake(tmp_path, "third") as third:  # its job table was lost
            tell(third, 2)
            ways[0] = Http(Address("127.0.0.1", third.port, "third"))
            items = taken(found, 3)
            assert isinstance(items[0], Rewound)
            assert [item.seq for item in items[1:]] == [1, 2]
        with make_fake(tmp_path, "fourth") as fourth:  # lost once more, and its numbers have run ahead of ours
            tell(fourth, 9)
            ways[0] = Http(Address("127.0.0.1", fourth.port, "fourth"))
            items = taken(found, 10)
            assert isinstance(items[0], Rewound)
            assert [item.seq for item in items[1:]] == list(range(1, 10))
    finally:
        reader.stop()


def test_a_session_that_takes_nothing_makes_the_reader_wait(fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "QUEUE_MAX", 5)
    tell(fake, 20)
    reader, found = followed(fake)
    try:
        time.sleep(0.5)
        assert found.qsize() == 5
        assert [item.seq for item in taken(found, 20)] == list(range(1, 21))
    finally:
        reader.stop()


_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
_VALUES = {
    "str": _TEXTS,
    "int": st.integers(-(2**53), 2**53),
    "int | None": st.none() | st.integers(0, 2**53),
    "float | None": st.none() | st.floats(allow_nan=False, allow_infinity=False),
    "tuple[str, ...]": st.lists(_TEXTS, max_size=4).map(tuple),
    "dict[str, Any]": st.dictionaries(_TEXTS, _TEXTS | st.integers(0, 9) | st.lists(st.booleans()), max_size=4),
    "Snapshot | None": st.none(),
    "Artefact": st.sampled_from(get_args(Artefact)),
}


@given(st.data(), st.sampled_from(EVENTS), st.integers(1, 2**50))
def test_every_event_has_a_reader(data: st.DataObject, kind: type, seq: int) -> None:
    """Whatever an event holds, it arrives as it was."""
    known = {field.name: _VALUES[str(field.type)] for field in dataclasses.fields(kind) if str(field.type) in _VALUES}
    event = data.draw(st.builds(kind, **known))
    body = json.dumps({"seq": seq, "time": 1.5, "event": codec.to_wire(event)})
    lines = io.BytesIO(f"id: {seq}\ndata: {body}\n\n".encode())
    ((name, text),) = messages(lines.readline)
    assert name == str(seq)
    assert decoded(text) == Numbered(seq, 1.5, event)


@given(st.lists(st.integers(0, 10**6), max_size=6), st.integers(0, 400), st.sampled_from([b"\n", b"\r\n"]))
def test_a_stream_cut_anywhere_gives_the_events_before_the_cut(numbers: list[int], cut: int, end: bytes) -> None:
    whole = b"retry: 1000\n\n: hello\n\n"
    ends = []
    for seq in numbers:
        whole += f'id: {seq}\ndata: {{"a":\ndata: {seq}}}\n\n'.encode()
        ends.append(len(whole))
    text = whole[:cut]
    lines = iter(text.replace(b"\n", end).splitlines(keepends=True))
    found = list(messages(lambda: next(lines, b"")))
    complete = [seq for seq, where in zip(numbers, ends, strict=True) if where <= cut]
    assert found == [(str(seq), f'{{"a":\n{seq}}}') for seq in complete]


def test_numbers_count_from_one() -> None:
    good = '{"seq":3,"time":1.0,"event":{"kind":"SceneChanged","what":"objects"}}'
    assert decoded(good) == Numbered(3, 1.0, SceneChanged("objects"))
    for bad in (good.replace("3", "0", 1), good.replace("SceneChanged", "Numbered"), good[:-1], "[]", good + "x"):
        with pytest.raises(stream.ProtocolError):
            decoded(bad)
