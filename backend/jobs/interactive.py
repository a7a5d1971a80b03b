"""Questions that want an answer now, to a process that keeps the scene open.

`Interactive` is the service's side: it starts the process on the first question, starts it again if it
has died (at most once in five seconds), and bears no longer silence than a limit. `main`, in the process, reads
one JSON line `{"id": …, "question": {…}}` per question and writes lines with that id: `"taken"`, again for all that
wait after each step of any work, and the answer. A line `{"id": …, "withdraw": true}` takes a question back.

Some questions (`STEPPING_MAX`) are answered in steps, and any other goes before them, so that a click waits for one
step at most; the newest goes first, because that is where the person looks. Others are long as well, and keep their
place, because they may change objects: those that change nothing and take a moment (`QUICK`) are answered between
their steps, and so is a step of the former.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from backend.children import Child, told
from backend.lifeline import end_with_starter
from backend.progress import Cancelled, Progress, Quiet
from segwild_addon.protocol import codec, questions
from segwild_addon.protocol.errors import ProtocolError, ResourceError, SegWildError

ANSWER_SECS = 180.0  # of silence
HEARD_SECS = 1.0  # from one word to the next that somebody works
RESTART_SECS = 5.0
# Questions that are answered in steps, and of how many of a kind the oldest are given up.
STEPPING_MAX: dict[type, int] = {questions.Prepare: 8, questions.Consult: 1}
# Questions that change nothing and take a moment.
QUICK = (questions.Preview, questions.Choose, questions.Grow, questions.Shrink)
WITHDRAWN_KEPT = 64  # tickets
KINDS = codec.kinds_of(*questions.QUESTIONS)


class Interactive:
    """Asks the process. Safe to share among threads; many may wait for answers."""

    def __init__(self, workspace: Path, log: Path, busy: Callable[[bool], None] = lambda _: None) -> None:
        """`busy` hears when the first question begins to wait, and when none waits any more. It must not wait."""
        self.workspace, self.log, self.busy = workspace, log, busy
        self._child: Child | None = None
        self._started_at = -RESTART_SECS
        self._lock = threading.Lock()  # over the six below, and what is sent: a withdrawal follows its question
        self._waiting: dict[int, tuple[Child, queue.Queue[dict[str, Any] | SegWildError]]] = {}
        self._ids = itertools.count(1)
        self._tickets: dict[str, int] = {}  # of questions that wait
        self._withdrawn: deque[str] = deque(maxlen=WITHDRAWN_KEPT)  # a withdrawal may overtake its question
        self._stopping = threading.Event()

    def ask(self, question: Any, ticket: str = "") -> dict[str, Any]:
        """The answer. Raises what the question raised, ResourceError if the process died or was silent, or
        ProtocolError (`withdrawn`) if its `ticket`, a word that nobody else uses, was withdrawn.

        A process that died before it took the question did not die of it: then the next one is asked.
        """
        child, answer = self._asked(question, ticket)
        if isinstance(answer, _Untaken):
            child, answer = self._asked(question, ticket)
        if isinstance(answer, SegWildError):
            raise answer
        if "error" in answer:
            raise child.error_in(answer)
        return answer["answer"]

    def withdraw(self, ticket: str) -> bool:
        """Take back the question that was asked with this ticket, or will be. Who asked is told when the work on it has
        ended, at its next step: nothing was kept then. False if nobody waits for its answer."""
        with self._lock:
            self._withdrawn.append(ticket)
            number = self._tickets.get(ticket)
            if number is None:
                return False
            child, _ = self._waiting[number]
            child.send({"id": number, "withdraw": True})
            return True

    def _asked(self, question: Any, ticket: str) -> tuple[Child, dict[str, Any] | SegWildError]:
        reply: queue.Queue[dict[str, Any] | SegWildError] = queue.Queue()
        with self._lock:
            if ticket in self._withdrawn:
                raise _withdrawn()
            child = self._running()
            number = next(self._ids)
            self._waiting[number] = child, reply
            if ticket:
                self._tickets[ticket] = number
            self.busy(True)
            child.send({"id": number, "question": codec.to_wire(question)})
        taken, deadline = False, time.monotonic() + ANSWER_SECS
        try:
            while True:
                answer = reply.get(timeout=max(0.0, deadline - time.monotonic()))
                if isinstance(answer, SegWildError):
                    return child, answer if taken else _Untaken(answer.code, answer.sentence, answer.hint)
                if "taken" not in answer:
                    return child, answer
                taken, deadline = True, time.monotonic() + ANSWER_SECS  # it works: a long preparation is not silence
        except queue.Empty:
            child.kill()
            raise _silent() from None
        finally:
            with self._lock:
                self._waiting.pop(number, None)
                if self._tickets.get(ticket) == number:
                    del self._tickets[ticket]
                if not self._waiting:
                    self.busy(False)

    def refuse(self) -> None:
        """Answer nothing more; whoever waits is told so. Returns at once."""
        self._stopping.set()
        child = self._child
        if child is not None:
            child.kill()

    def stop(self) -> None:
        """`refuse`, and wait for the end of the process."""
        self.refuse()
        with self._lock:
            if self._child is not None:
                self._child.close()
                self._child = None

    def _running(self) -> Child:
        if self._child is not None and self._child.ended:
            self._child = None  # nobody waited for it: its end is no answer to the next question
        if self._child is None:
            # A process that dies at once must not be started in a loop.
            if self._stopping.wait(max(0.0, self._started_at + RESTART_SECS - time.monotonic())):
                raise _ending()
            self._started_at = time.monotonic()
            started: queue.Queue[Child | Exception] = queue.Queue()
            threading.Thread(target=self._keep, args=(started,), name="answers", daemon=True).start()
            child = started.get()
            if isinstance(child, Exception):
                raise child
            child.send({"workspace": str(self.workspace)})
            self._child = child
        if self._stopping.is_set():
            raise _ending()
        return self._child

    def _keep(self, started: queue.Queue[Child | Exception]) -> None:
        """Start a process and live as long as it does: it ends with the thread that started it."""
        try:
            child = Child("backend.jobs.interactive", self.log)
        except Exception as error:
            started.put(error)
            return
        started.put(child)
        self._deliver(child)

    def _deliver(self, child: Child) -> None:
        while (line := child.lines.get()) is not None:
            with self._lock:
                _, reply = self._waiting.get(line.get("id", 0), (child, None))
            if reply is not None:
                reply.put(line)
        if self._stopping.is_set():
            failure = _ending()
        elif child.killed:  # for its silence about somebody else's question
            failure = _silent()
        else:
            failure = child.failure("Click again: the worker starts anew.")
        with self._lock:
            if self._child is child:
                self._child = None
            child.close()
            for asked, reply in self._waiting.values():
                if asked is child:
                    reply.put(failure)


class _Untaken(ResourceError):
    """The process ended before it took the question."""


def _withdrawn() -> ProtocolError:
    return ProtocolError("withdrawn", "The question was withdrawn.")


def _silent() -> ResourceError:
    return ResourceError(
        "no-answer",
        f"The interactive worker gave no answer within {ANSWER_SECS:.0f} seconds.",
        "Try again; it was started anew.",
    )


def _ending() -> ResourceError:
    return ResourceError("service-ending", "The service is ending.", "Start it again.")


def main() -> None:
    """Answer until standard input ends."""
    end_with_starter()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print goes to the log
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    workspace = Path(json.loads(lines.get())["workspace"])
    from backend.stages.answers import Answers  # torch: only here, where nobody waits for a handshake

    _Desk(lambda *heard: Answers(workspace, *heard), lines, out).work()


class _Desk:
    """Which question is worked on next."""

    def __init__(self, answers: Callable[[Progress, Progress], Any], lines: queue.Queue[str], out: TextIO) -> None:
        """`answers` gets what is to hear of the steps of long work: of all, and of work between whose steps others may
        be answered."""
        self.lines, self.out = lines, out
        self.asked: list[tuple[int, Any]] = []  # the first is worked on
        self.stepping: list[tuple[int, type, Iterator[Any]]] = []  # the newest last
        self.working: list[int] = []  # what is worked on, each between two steps of the one before
        self.withdrawn: set[int] = set()  # of those
        self.answers = answers(_Steps(self._heard), _Steps(self._between))
        self._heard_at = -HEARD_SECS

    def work(self) -> None:
        while True:
            self._take_questions()
            if self.asked:
                self._go_through(self.asked[0])
            elif self.stepping:
                self._go_on()
            self._say_taken()

    def _go_through(self, wish: tuple[int, Any]) -> None:
        number, question = wish
        self._answer(number, lambda: self.answers.answer(question))
        self.asked.remove(wish)

    def _go_on(self) -> None:
        """A step of the newest question that is answered in steps."""
        wish = number, _, steps = self.stepping[-1]
        # Newer ones may have come meanwhile, for which this one was given up.
        if self._answer(number, lambda: next(steps)) and wish in self.stepping:
            self.stepping.remove(wish)

    def _heard(self) -> None:
        """A step of long work is done: whoever waits, or has asked since it began, is told that somebody works.

        Raises Cancelled if the work is wanted no more.
        """
        self._take_questions()
        if time.monotonic() >= self._heard_at + HEARD_SECS:
            self._heard_at = time.monotonic()
            self._say_taken()
        if self.working[-1] in self.withdrawn:
            raise Cancelled

    def _between(self) -> None:
        """A step of long work is done, and others may use what it uses: who waits for little gets it now."""
        self._heard()
        for wish in [wish for wish in self.asked if isinstance(wish[1], QUICK)]:
            if wish in self.asked:  # it may be withdrawn during the one before
                self._go_through(wish)
        if self.stepping:
            self._go_on()

    def _say_taken(self) -> None:
        for waiting, *_ in (*self.asked, *self.stepping):
            self._say({"id": waiting, "taken": True})

    def _take_questions(self) -> None:
        """All that are there, and withdrawals; waits for one if there is nothing to do."""
        while True:
            try:
                line = json.loads(self.lines.get(block=not (self.working or self.asked or self.stepping)))
            except queue.Empty:
                return
            if "withdraw" in line:
                self._withdraw(line["id"])
                continue
            question = codec.from_wire(line["question"], KINDS)
            self._say({"id": line["id"], "taken": True})
            if not isinstance(question, tuple(STEPPING_MAX)):
                self.asked.append((line["id"], question))
                continue
            self.stepping.append((line["id"], type(question), self.answers.steps(question)))
            self._give_up(type(question), STEPPING_MAX[type(question)])

    def _give_up(self, kind: type, most: int) -> None:
        """The oldest questions of a kind, beyond so many."""
        wishes = [wish for wish in self.stepping if wish[1] is kind]
        for wish in wishes[: max(0, len(wishes) - most)]:
            self.stepping.remove(wish)
            self._say({"id": wish[0], **told(ProtocolError("superseded", "A newer question took its place."))})

    def _withdraw(self, number: int) -> None:
        """At once if it waits; if it is worked on, at its next step. One that was answered stays so."""
        if number in self.working:
            self.withdrawn.add(number)
            return
        wishes = {wish[0] for wish in (*self.asked, *self.stepping)}
        self.asked = [wish for wish in self.asked if wish[0] != number]
        self.stepping = [wish for wish in self.stepping if wish[0] != number]
        if number in wishes:
            self._say({"id": number, **told(_withdrawn())})

    def _answer(self, number: int, made: Callable[[], Any]) -> bool:
        """Whether the question has got its answer, rather than one step further."""
        self.working.append(number)
        try:
            answer = made()
            if answer is not None:
                reply: dict[str, Any] = {"answer": codec.to_wire(answer)}
            elif number in self.withdrawn:
                reply = told(_withdrawn())
            else:
                return False
        except Cancelled:
            reply = told(_withdrawn())
        except SegWildError as error:
            reply = told(error)
        except MemoryError:
            traceback.print_exc()  # by which the service knows what it was
            sys.stderr.flush()
            os._exit(71)  # what is held is too much: begin anew with nothing
        except Exception as error:
            traceback.print_exc()
            reply = told(
                SegWildError("unexpected", f"The question failed: {error!r}.", "Report it with the worker's log.")
            )
        finally:
            self.working.pop()
            self.withdrawn.discard(number)
        self._say({"id": number, **reply})
        return True

    def _say(self, reply: dict[str, Any]) -> None:
        self.out.write(json.dumps(reply) + "\n")
        self.out.flush()


class _Steps(Quiet):
    """Long work whose steps are heard of."""

    def __init__(self, heard: Callable[[], None]) -> None:
        super().__init__()
        self._heard = heard

    def phase(self, name: str, total: int | None = None) -> None:
        self._heard()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self._heard()


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)  # the service is gone


if __name__ == "__main__":
    main()
