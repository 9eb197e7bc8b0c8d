"""A pool of forks of this process, for local runs.

A fork has everything that its parent has in memory: functions of a notebook or a test, classes, objects. So it needs no
modules to import, and is there within a millisecond; in exchange it belongs to a process that does nothing but one
local run. Each child has one stream: attempts go down as `Large` packets under running numbers, outcomes and questions
come up, and its end tells that the process has died. One attempt is under way per child; nothing waits in a pipe.

A child is a session of its own. It is stopped softly first (the worker sees `Interrupted`), then, or when it has done
what it was told, with everything that came from it; when its parent dies, so does it.
"""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from ...pipeline.errors import ProtocolError
from ...pipeline.facts import Ended as Kind
from ...pipeline.facts import Failure
from ...pipeline.task import Assignment, Given, Outcome, RunHeader, Want
from .. import trees
from ..channel import Channel, Gone
from ..execution import Execution
from ..framing import from_worker
from ..interruption import Interruption
from ..messages import Ended, Fetch, Fetched, FromWorker, Large, Packet, Progress, Stop
from ..pipe import Pipe
from ..process import StopHandler
from .lent import Lender, LentStore

GRACE = 5.0
"""Seconds from the soft signal to the hard kill."""

MakeExecution = Callable[[Channel, Interruption, LentStore | None], Execution]
Fetch_ = Callable[[Sequence[Want]], list[Given]]
Report = Callable[[Assignment, Progress], None]


@dataclass(slots=True, eq=False)
class Child:
    pid: int
    mark: str
    pipe: Pipe[FromWorker]
    store: socket.socket | None
    number: int = 0
    """How many attempts it was given."""
    assignment: Assignment | None = None
    began: float = 0.0
    stops: Kind | None = None
    """Why its attempt is being stopped."""
    kill_at: float = field(default=float("inf"))


class ForkedPool:
    """`make` builds in the child what runs attempts; `lender` answers for a store that stays in this process."""

    def __init__(
        self, size: int, make: MakeExecution, fetch: Fetch_, report: Report, lender: Lender | None = None
    ) -> None:
        self._size = size
        self._make = make
        self._fetch = fetch
        self._report = report
        self._lender = lender
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()

    # Commands --------------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> int:
        return sum(child.assignment is not None for child in self._children)

    def has_room(self) -> bool:
        return self.busy < self._size

    def start(self, header: RunHeader, assignment: Assignment) -> None:
        """Run an attempt in a child that has nothing to do, or in a new one."""
        child = next((one for one in self._children if one.assignment is None), None) or self._fork()
        child.number += 1
        child.assignment = assignment
        child.began = time.monotonic()
        child.pipe.send(Large(Packet(header, assignment, child.number)))
        self._watch(child)

    def stop(self, lease: int, why: Kind) -> None:
        """Stop an attempt: softly now, hard after the grace."""
        for child in self._children:
            if child.assignment is not None and child.assignment.lease == lease and child.stops is None:
                child.stops = why
                child.kill_at = time.monotonic() + GRACE
                child.pipe.send(Stop(lease, why))
                _signal(child.pid, signal.SIGTERM)

    def next_deadline(self) -> float:
        """When something is due, in monotonic seconds: the end of a timeout, or of a grace."""
        return min((min(child.kill_at, _times_out(child)) for child in self._children), default=float("inf"))

    def poll(self, timeout: float | None) -> list[Outcome]:
        """Outcomes that have come, after at most so many seconds."""
        outcomes: list[Outcome] = []
        for key, mask in self._selector.select(timeout):
            child: Child = key.data
            if child not in self._children:
                continue
            if key.fileobj is child.store:
                self._lend(child)
                continue
            if mask & selectors.EVENT_WRITE:
                child.pipe.flush()
                self._watch(child)
            if mask & selectors.EVENT_READ:
                self._hear(child, outcomes)
        self._end_overdue()
        return outcomes

    def close(self) -> None:
        """Kill what runs, and leave nothing behind."""
        for child in self._children[:]:
            if child.assignment is not None:
                self._kill(child)
            self._bury(child)
        self._selector.close()

    # Children --------------------------------------------------------------------------------------------------------

    def _fork(self) -> Child:
        ours, theirs = socket.socketpair()
        lent, lending = socket.socketpair() if self._lender is not None else (None, None)
        mark = uuid.uuid4().hex
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._run_child(parent, mark, theirs, lending)
        theirs.close()
        if lending is not None:
            lending.close()
        child = Child(pid, mark, Pipe(ours, from_worker()), lent)
        self._children.append(child)
        self._selector.register(child.pipe, selectors.EVENT_READ, child)
        if lent is not None:
            self._selector.register(lent, selectors.EVENT_READ, child)
        return child

    def _run_child(self, parent: int, mark: str, stream: socket.socket, lending: socket.socket | None) -> NoReturn:
        """The whole life of a child. It never returns into the code that it was forked from."""
        code = 1
        try:
            os.setsid()
            trees.die_with_parent(parent)
            os.environ[trees.PROCESS] = mark
            for other in self._children:
                other.pipe.socket.close()
            interruption = Interruption()
            channel = Channel(stream, interruption)
            signal.signal(signal.SIGTERM, StopHandler(channel, interruption))
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            execution = self._make(channel, interruption, None if lending is None else LentStore(lending))
            _serve(channel, execution)
            code = 0
        except Gone:
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _hear(self, child: Child, outcomes: list[Outcome]) -> None:
        assignment, stopped = child.assignment, False
        for message in child.pipe.receive():
            if isinstance(message, Ended):
                outcomes.append(message.outcome)
                stopped = child.stops is not None
                child.assignment, child.stops, child.kill_at = None, None, float("inf")
            elif isinstance(message, Fetch):
                child.pipe.send(Fetched(message.number, self._fetch([message.want])[0]))
                self._watch(child)
            elif isinstance(message, Progress) and assignment is not None:
                self._report(assignment, message)
        if stopped:
            self._kill(child)  # it has obeyed; what it had started may not have
        if stopped or child.pipe.ended:
            self._end(child, outcomes)

    def _end(self, child: Child, outcomes: list[Outcome]) -> None:
        """It has died, or was killed: its attempt has ended one way or the other."""
        assignment, why = child.assignment, child.stops
        trees.end_marked(trees.PROCESS, child.mark)  # it has not ended before everything that came from it has
        status = self._bury(child)
        if assignment is None:
            return
        kind: Kind = why or "died"
        failure = None if why is not None else Failure("ProcessDied", _how(status))
        duration = time.monotonic() - child.began
        outcomes.append(
            Outcome(assignment.lease, kind, started=time.time() - duration, duration=duration, error=failure)
        )

    def _end_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.assignment is not None and now >= _times_out(child):
                self.stop(child.assignment.lease, "timeout")
            if now >= child.kill_at:
                child.kill_at = float("inf")
                self._kill(child)

    def _kill(self, child: Child) -> None:
        """End it with everything that came from it."""
        left = trees.descendants(child.pid) | trees.marked(trees.PROCESS, child.mark)
        trees.kill_group(child.pid)
        trees.kill(left)

    def _bury(self, child: Child) -> int:
        self._children.remove(child)
        self._selector.unregister(child.pipe)
        child.pipe.close()
        if child.store is not None:
            self._selector.unregister(child.store)
            child.store.close()
        return os.waitpid(child.pid, 0)[1]

    def _lend(self, child: Child) -> None:
        assert self._lender is not None and child.store is not None
        try:
            self._lender.answer(child.store, child.assignment)
        except (OSError, EOFError, ProtocolError):
            self._selector.unregister(child.store)
            child.store.close()
            child.store = None

    def _watch(self, child: Child) -> None:
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if child.pipe.wants_write else 0)
        self._selector.modify(child.pipe, events, child)


def _serve(channel: Channel, execution: Execution) -> NoReturn:
    """One attempt after the other, until the parent closes the stream."""
    number = 0
    while True:
        number += 1
        packet = channel.resend(number)
        assert packet is not None and packet.header is not None and packet.assignment is not None
        channel.send(Ended(execution.run(packet.header, packet.assignment)))


def _times_out(child: Child) -> float:
    needs = child.assignment.needs if child.assignment is not None and child.stops is None else None
    return float("inf") if needs is None or needs.timeout is None else child.began + needs.timeout


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it has ended, and its stream will say so


def _how(status: int) -> str:
    """How a process has ended, for people."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hint = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"its process was ended by signal {number} ({signal.Signals(number).name}){hint}"
    return f"its process ended with exit code {os.WEXITSTATUS(status)}"
