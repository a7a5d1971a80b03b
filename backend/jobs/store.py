"""Jobs and events of one workspace in SQLite, so that nothing is lost when a process dies.

A job's change and the event that tells of it are one transaction: a listener that replays the events
sees exactly what happened. The clock is only ever shown to people; order comes from `seq`.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backend.jobs.states import FINAL, checked
from segwild_addon.protocol import codec, events
from segwild_addon.protocol.errors import ResourceError, SegWildError
from segwild_addon.protocol.values import Failure, Job

KINDS = codec.kinds_of(*events.EVENTS)
EVENTS_KEPT = 20_000  # older progress is dropped; every kept job's start, warnings and end stay
JOBS_KEPT = 1_000  # ended ones; older ones and their events are dropped
TRIM_EVERY = 2_000  # events
FORMAT = 1  # of the tables; another one is set aside like a damaged table
SCHEMA = """
create table if not exists jobs (
    id text primary key, place integer not null, verb text not null, state text not null,
    request text not null, created real not null, changed real not null, attempts integer not null,
    snapshot_secs real not null, result text, error text, ended integer
);
create table if not exists events (
    seq integer primary key autoincrement, time real not null, job text, kind text not null, event text not null
);
create table if not exists stream (id text not null);
create index if not exists jobs_by_state on jobs (state, place);
create index if not exists jobs_by_end on jobs (ended);
create index if not exists events_by_job on events (job);
"""


class Store:
    """The job table and the event stream. One writer per workspace; safe to share among threads."""

    def __init__(self, path: Path) -> None:
        """Open or make the table at `path`. A damaged one is set aside, and `recovered` says where.

        `stream` names the numbering of events: a new table has a new one.

        Raises ResourceError if the folder cannot be written.
        """
        self.path = path
        self.recovered: Path | None = None
        self._lock = threading.RLock()
        try:
            self._connection = self._opened()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) and not _is_damage(error):
                raise _unwritable(path, error) from error
            self.recovered = self._set_aside()
            try:
                self._connection = self._opened()
            except sqlite3.Error as again:
                raise _unwritable(path, again) from again

    def _opened(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=5.0)
        try:
            connection.execute("pragma journal_mode = wal")
            connection.execute("pragma synchronous = normal")
            if connection.execute("pragma quick_check(1)").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("quick_check found damage")
            if connection.execute("pragma user_version").fetchone()[0] not in (0, FORMAT):
                raise sqlite3.DatabaseError("the table is of another SegWild")
            connection.executescript(SCHEMA + f"pragma user_version = {FORMAT};")
            connection.execute(
                "insert into stream select ? where not exists (select 1 from stream)", (uuid.uuid4().hex,)
            )
            self.stream = str(connection.execute("select id from stream").fetchone()[0])
            for table, columns in (("jobs", _COLUMNS), ("events", "seq, time, job, kind, event")):
                connection.execute(f"select {columns} from {table} limit 1")  # constants  # nosec B608
        except BaseException:
            connection.close()
            raise
        return connection

    def _set_aside(self) -> Path:
        aside = self.path.with_name(f"{self.path.name}.damaged-{uuid.uuid4().hex[:8]}")
        self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        return aside

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    # Jobs.

    def add(self, verb: str, request: dict[str, Any], *, snapshot_secs: float = 0.0) -> Job:
        """Queue a job behind all others."""
        now = time.time()
        job = Job(uuid.uuid4().hex, verb, "queued", request, now, now, 0, snapshot_secs)
        with self._transaction() as sql:
            sql.execute(
                "insert into jobs select ?, coalesce(max(place), 0) + 1, ?, 'queued', ?, ?, ?, 0, ?, null, null, null"
                " from jobs",
                (job.id, verb, json.dumps(request), now, now, snapshot_secs),
            )
            self._append(sql, events.JobQueued(job.id, verb))
        return job

    def job(self, job_id: str) -> Job | None:
        rows = self._read(f"select {_COLUMNS} from jobs where id = ?", (job_id,))  # a constant  # nosec B608
        return _job(rows[0]) if rows else None

    def jobs(self, *states: events.State) -> list[Job]:
        """In the order in which they were queued; of all states if none is named."""
        wanted = states or ("queued", "running", "done", "failed", "cancelled")
        marks = ", ".join("?" for _ in wanted)
        query = f"select {_COLUMNS} from jobs where state in ({marks}) order by place"  # constants and ?  # nosec B608
        rows = self._read(query, wanted)
        return [_job(row) for row in rows]

    def start(self, job_id: str) -> Job:
        """queued -> running."""
        return self._move(job_id, "running", lambda job: events.JobStarted(job.id, job.attempts), attempts=1)

    def finish(self, job_id: str, result: dict[str, Any], changes: Sequence[Any] = ()) -> Job:
        """running -> done, with the events of what it `changes` told before."""
        text = json.dumps(result)
        return self._move(job_id, "done", lambda job: events.JobDone(job.id, result), result=text, before_it=changes)

    def fail(self, job_id: str, error: SegWildError, changes: Sequence[Any] = ()) -> Job:
        """running -> failed, with the events of what it `changes` told before."""
        failure = {"code": error.code, "sentence": error.sentence, "hint": error.hint}
        return self._move(
            job_id,
            "failed",
            lambda job: events.JobFailed(job.id, error.code, error.sentence, error.hint),
            error=json.dumps(failure),
            before_it=changes,
        )

    def cancel(self, job_id: str, changes: Sequence[Any] = ()) -> Job:
        """queued or running -> cancelled, with the events of what it `changes` told before."""
        return self._move(job_id, "cancelled", lambda job: events.JobCancelled(job.id), before_it=changes)

    def requeue(self, job_id: str, *, counted: bool = True) -> Job:
        """running -> queued, in its old place; an attempt that is not `counted` never was."""
        return self._move(
            job_id, "queued", lambda job: events.JobQueued(job.id, job.verb), attempts=0 if counted else -1
        )

    def _move(
        self,
        job_id: str,
        after: events.State,
        event: Any,
        *,
        attempts: int = 0,
        result: str | None = None,
        error: str | None = None,
        before_it: Sequence[Any] = (),
    ) -> Job:
        with self._transaction() as sql:
            query = f"select {_COLUMNS} from jobs where id = ?"  # a constant  # nosec B608
            row = sql.execute(query, (job_id,)).fetchone()
            if row is None:
                raise KeyError(job_id)
            checked(_job(row).state, after)
            sql.execute(
                "update jobs set state = ?, changed = ?, attempts = attempts + ?, result = ?, error = ? where id = ?",
                (after, time.time(), attempts, result, error, job_id),
            )
            job = _job(sql.execute(query, (job_id,)).fetchone())
            for told in (*before_it, event(job)):
                seq = self._append(sql, told)
            if after in FINAL:
                sql.execute("update jobs set ended = ? where id = ?", (seq, job_id))
                self._drop_old_jobs(sql)
        return job

    # Events.

    def tell(self, event: Any) -> int:
        """Append an event that changes no job; returns its seq."""
        with self._transaction() as sql:
            return self._append(sql, event)

    def events_after(self, seq: int, limit: int = 1000) -> list[events.Numbered]:
        """Up to `limit` events with a higher seq, in order."""
        return [
            events.Numbered(number, when, codec.decoded(text, KINDS))
            for number, when, text in self.rows_after(seq, limit)
        ]

    def rows_after(self, seq: int, limit: int = 1000) -> list[tuple[int, float, str]]:
        """Like `events_after`: seq, time and the event as it is encoded, for who passes it on."""
        return self._read("select seq, time, event from events where seq > ? order by seq limit ?", (seq, limit))

    def last_seq(self) -> int:
        rows = self._read("select seq from sqlite_sequence where name = 'events'")
        return rows[0][0] if rows else 0

    def _read(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            try:
                return self._connection.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise _unwritable(self.path, error) from error

    def _append(self, sql: sqlite3.Connection, event: Any) -> int:
        text = codec.encoded(event).decode()
        row = (time.time(), getattr(event, "job", None), type(event).__name__, text)
        seq = int(sql.execute("insert into events (time, job, kind, event) values (?, ?, ?, ?)", row).lastrowid or 0)
        if seq % TRIM_EVERY == 0:
            old = "seq <= ? and kind in ('JobProgress', 'SceneChanged')"
            sql.execute(f"delete from events where {old}", (seq - EVENTS_KEPT,))  # a constant  # nosec B608
        return seq

    def _drop_old_jobs(self, sql: sqlite3.Connection) -> None:
        old = sql.execute(
            "select id from jobs where ended is not null order by ended desc limit -1 offset ?", (JOBS_KEPT,)
        ).fetchall()
        sql.executemany("delete from events where job = ?", old)
        sql.executemany("delete from jobs where id = ?", old)

    def _transaction(self) -> _Transaction:
        return _Transaction(self._connection, self._lock, self.path)


class _Transaction:
    """All or nothing. Raises ResourceError if the disk refuses or the table is damaged."""

    def __init__(self, connection: sqlite3.Connection, lock: threading.RLock, path: Path) -> None:
        self.connection, self.lock, self.path = connection, lock, path

    def __enter__(self) -> sqlite3.Connection:
        self.lock.acquire()
        try:
            self.connection.execute("begin immediate")
        except sqlite3.Error as error:
            self.lock.release()
            raise _unwritable(self.path, error) from error
        return self.connection

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        try:
            if self.connection.in_transaction:  # a full disk ends a transaction by itself
                self.connection.execute("rollback" if kind else "commit")
        except sqlite3.Error as trouble:
            if self.connection.in_transaction:
                self.connection.execute("rollback")
            raise _unwritable(self.path, trouble) from trouble
        finally:
            self.lock.release()
        if isinstance(error, sqlite3.Error):
            raise _unwritable(self.path, error) from error


_COLUMNS = "id, verb, state, request, created, changed, attempts, snapshot_secs, result, error"


def _job(row: tuple[Any, ...]) -> Job:
    job_id, verb, state, request, created, changed, attempts, snapshot_secs, result, error = row
    return Job(
        job_id,
        verb,
        state,
        json.loads(request),
        created,
        changed,
        attempts,
        snapshot_secs,
        json.loads(result) if result else None,
        Failure(**json.loads(error)) if error else None,
    )


def _is_damage(error: sqlite3.OperationalError) -> bool:
    return any(sign in str(error) for sign in ("malformed", "not a database", "disk image", "no such column"))


def _unwritable(path: Path, error: Exception) -> ResourceError:
    return ResourceError(
        "job-table",
        f"The job table cannot be used ({error}): {path}.",
        "Free some disk space, check the folder's permissions, and start again.",
    )
