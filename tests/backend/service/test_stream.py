"""Events arrive in order, without gaps, to late, slow and many listeners."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

from backend.jobs.store import Store
from backend.service import stream as streams
from backend.service.stream import Stream
from segwild_addon.protocol.events import JobProgress


def progress(number: int) -> JobProgress:
    return JobProgress("job", "phase", number, None, None, "")


async def seqs(listener: AsyncIterator[bytes], count: int) -> list[int]:
    found: list[int] = []
    async for text in listener:
        found += [json.loads(line[6:])["seq"] for line in text.splitlines() if line.startswith(b"data: ")]
        if len(found) >= count:
            break
    return found


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 30))


def test_many_listeners_hear_all_in_order_while_threads_tell(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    for number in range(100):
        store.tell(progress(number))
    stream = Stream(store)

    def tell(first: int) -> None:
        for number in range(first, first + 175):
            store.tell(progress(number))
            stream.told()

    async def work() -> None:
        stream.open()
        listeners = [asyncio.create_task(seqs(stream.listen(after), 800 - after)) for after in (0,) * 10 + (100,) * 5]
        threads = [threading.Thread(target=tell, args=(first,)) for first in range(4)]
        for thread in threads:
            thread.start()
        for listener in listeners[:10]:
            assert await listener == list(range(1, 801))
        for listener in listeners[10:]:
            assert await listener == list(range(101, 801))
        for thread in threads:
            thread.join()

    run(work)
    store.close()


class Ear:
    """What a connection takes directly, framed; every third piece it refuses."""

    def __init__(self) -> None:
        self.asked, self.taken = 0, b""

    def take(self, piece: bytes) -> bool:
        self.asked += 1
        if self.asked % 3 == 0:
            return False
        size, _, rest = piece.partition(b"\r\n")
        assert rest == rest[: int(size, 16)] + b"\r\n"
        self.taken += rest[:-2]
        return True


def test_what_a_connection_refuses_comes_in_the_ordinary_way_and_in_its_place(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    stream = Stream(store)

    async def follow(ear: Ear) -> None:
        async for text in stream.listen(0, ear):  # type: ignore[arg-type]
            ear.taken += text

    async def work() -> None:
        stream.open()
        ear = Ear()
        listener = asyncio.create_task(follow(ear))
        for number in range(300):
            store.tell(progress(number))
            stream.told()
            if number % 5:
                await asyncio.sleep(0)
        while b'"seq":300,' not in ear.taken:
            await asyncio.sleep(0.01)
        told = [json.loads(line[6:])["seq"] for line in ear.taken.splitlines() if line.startswith(b"data: ")]
        assert told == list(range(1, 301))
        assert ear.asked > 100
        stream.close()
        await listener

    run(work)
    store.close()


def heard(shared: Any, request: str, token: str) -> Any:
    """The line of a listener that has read what was told before, as a file."""
    line = socket.create_connection(("127.0.0.1", shared.port), timeout=10)
    line.sendall(f"{request}\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    answer = line.makefile("rb")
    line.close()  # with the file
    return answer


def test_listeners_of_both_kinds_hear_the_same_from_a_service(serve: Any, tmp_path: Path, token: str) -> None:
    """Newer ones in chunks, older ones without; and a chunked answer ends as it should."""
    served = serve(tmp_path / "scene.segwild")
    older = heard(served, "GET /v1/events HTTP/1.0", token)
    newer = served.connection(10)
    newer.request("GET", "/v1/events", headers=served.headers())
    answer = newer.getresponse()
    assert answer.getheader("transfer-encoding") == "chunked"
    for _ in range(5):
        served.submit("objects", action="delete", names=["none"])
    last = served.call("GET", "/v1/health")[1]["seq"]
    told: list[list[bytes]] = [[], []]
    for readline, lines in ((older.readline, told[0]), (answer.readline, told[1])):
        while not (lines and f'"seq":{last},'.encode() in lines[-1]):
            line = readline()
            assert line
            if line.startswith(b"data: "):
                lines.append(line)
    assert told[0] == told[1]
    assert [json.loads(line[6:])["seq"] for line in told[0]] == list(range(1, last + 1))
    assert served.call("POST", "/v1/stop", {})[0] == 202
    assert answer.read().endswith(b"\n")  # and not IncompleteRead
    assert older.read().endswith(b"\n")
    newer.close()
    older.close()


def test_who_comes_late_gets_the_past_from_the_table(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    for number in range(5000):
        store.tell(progress(number))
    stream = Stream(store)

    async def work() -> None:
        stream.open()
        assert await seqs(stream.listen(0), 5000) == list(range(1, 5001))
        assert await seqs(stream.listen(4321), 679) == list(range(4322, 5001))

    run(work)
    store.close()


def test_a_slow_listener_holds_up_nobody_and_misses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    stream = Stream(store)
    count = streams.TAIL + 3000  # it falls out of what is held in memory

    async def work() -> None:
        stream.open()
        slow = stream.listen(0)
        assert (await anext(slow)).startswith(b"retry")
        store.tell(progress(0))
        stream.told()
        await anext(slow)  # and now it sleeps
        quick = asyncio.create_task(seqs(stream.listen(0), count))
        for number in range(1, count):
            store.tell(progress(number))
            if number % 500 == 0:
                stream.told()
                await asyncio.sleep(0)
        stream.told()
        assert await quick == list(range(1, count + 1))
        assert await seqs(slow, count - 1) == list(range(2, count + 1))

    run(work)
    store.close()


def test_listeners_end_with_the_stream_and_beat_meanwhile(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(streams, "BEAT_SECS", 0.05)
    store = Store(tmp_path / "jobs.sqlite")
    stream = Stream(store)

    async def work() -> None:
        stream.open()
        parts = []
        async for part in stream.listen(0):
            parts.append(part)
            if len(parts) == 3:
                threading.Thread(target=stream.close).start()
        assert parts[1:3] == [b": still here\n\n"] * 2

    run(work)
    store.close()


def test_a_number_from_a_table_that_is_no_more_starts_over(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    store.tell(progress(1))
    stream = Stream(store)

    async def work() -> None:
        stream.open()
        assert await seqs(stream.listen(900), 1) == [1]

    run(work)
    store.close()


def test_events_that_were_forgotten_stop_no_listener(tmp_path: Path) -> None:
    store = Store(tmp_path / "jobs.sqlite")
    stream = Stream(store)

    def tell(count: int) -> None:
        for _ in range(count):
            store.tell(progress(0))

    async def work() -> None:
        stream.open()
        listener = stream.listen(0)
        tell(5)
        stream.told()
        assert await seqs(listener, 5) == [1, 2, 3, 4, 5]
        tell(10)
        store._connection.execute("delete from events where seq in (7, 8, 12)")
        stream.told()
        assert await seqs(stream.listen(5), 7) == [6, 9, 10, 11, 13, 14, 15]
        for after in range(15):
            left = [seq for seq in (*range(1, 7), 9, 10, 11, 13, 14, 15) if seq > after]
            assert await seqs(stream.listen(after), len(left)) == left
        stream.tail.clear()
        store._connection.execute("delete from events")
        silent = asyncio.create_task(seqs(stream.listen(3), 1))  # nothing is left for it: it waits for the next
        await asyncio.sleep(0.05)
        tell(1)
        stream.told()
        assert await silent == [16]

    run(work)
    store.close()
