"""Simulated worker processes, and the warden that ends them, behind the pool's interface.

A pipe is a queue of packets that the process reads one by one; what it has not read can be taken back. The warden kills
everything at the deadline that the Broker has to move on, and when the Broker is gone. A killed process takes a moment
to die, and may end its attempt, or begin another one, in that moment.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from headrace.daemons.slots.slot import Attempt
from headrace.pipeline.facts import Failure, Signs
from headrace.pipeline.payload import pack
from headrace.pipeline.subruns import PREPARE
from headrace.pipeline.task import Assignment, Outcome, Want, unpack_task
from headrace.workers.messages import (
    Ended,
    Fetch,
    Fetched,
    Large,
    Leave,
    Packet,
    Progress,
    Resend,
    Settings,
    Stop,
    ToWorker,
    Up,
    WorkerCard,
)
from headrace.workers.pool import PoolEvent, Said, SlotDown, SlotUp

from .clock import GRAIN, Machine
from .history import PREPARES, STORE_DEADLINE
from .scenario import Behaviour

if TYPE_CHECKING:
    from .history import History
    from .stores import Stores

CARDS = (WorkerCard("W"),)
_packets = msgspec.msgpack.Decoder(Packet)


class Execution:
    """An attempt that a process has begun."""

    def __init__(self, packet: Packet, behaviour: Behaviour, began: float) -> None:
        assert packet.assignment is not None
        self.header = packet.header
        self.assignment: Assignment = packet.assignment
        self.behaviour = behaviour
        self.began = began
        self.wanted: dict[int, Any] = {}
        self.inputs: dict[int, Any] = {}
        self.finish: Any = None
        self.over = False

    @property
    def instance(self) -> tuple[str, int, str, tuple[int, ...]]:
        """What prepares a sub-run is no attempt that ends its job: it may be done again at any time."""
        one = self.assignment
        return one.run, one.round, PREPARES + one.job if one.worker == PREPARE else one.job, one.path


class Process:
    def __init__(self, pool: Pool, slot: int, pid: int) -> None:
        self.pool = pool
        self.slot = slot
        self.pid = pid
        self.pipe: deque[bytes] = deque()
        self.up = False
        self.down = False
        self.dying = False
        self.late = False
        """The warden has killed it: nobody had moved its deadline on."""
        self.leaving = False
        self.running: Execution | None = None
        self._asked = 0
        """The lease of a packet that did not come whole, until it does."""
        self._stops: dict[int, str] = {}
        self._fetches = 0
        pool.after(0.01 + pool.random.random() * 0.2, self._come_up)

    # From the Broker ------------------------------------------------------------------------------------------------

    def receive(self, message: ToWorker) -> None:
        if self.down:
            return
        match message:
            case Fetched(number, given):
                self._given(number, given)
            case Stop(lease, why):
                self._stops[lease] = why
                running = self.running
                if running is not None and running.assignment.lease == lease and not running.behaviour.stubborn:
                    self.pool.after(self.pool.random.random() * 0.05, self._stopped, running, why)
            case Leave():
                self.leaving = True
                self.read()
            case Large(packet):
                if self._asked == packet.lease:
                    self._asked = 0
                    self._begin(packet)

    def die(self, number: int | None, code: int | None = None) -> None:
        """The process ends here and now."""
        if self.down:
            return
        self.down = True
        if self.running is not None:
            self._over(self.running, "died")
        unread = tuple(self.pipe)
        self.pipe.clear()
        self.pool.tell(SlotDown(self.slot, self.pid, code, number, unread, overdue=self.late))

    # Its life -------------------------------------------------------------------------------------------------------

    def _come_up(self) -> None:
        if self.down:
            return
        self.up = True
        self.pool.tell(SlotUp(self.slot, self.pid, Up(self.pid, CARDS)))
        self.read()

    def read(self) -> None:
        """Begin what stands first in the pipe, when nothing runs."""
        if self.down or not self.up or self.running is not None or self._asked:
            return
        if self.leaving:
            self.die(None, 0)
        elif self.pipe:
            packet = _packets.decode(self.pipe.popleft())
            if packet.assignment is None:
                self.pool.history.note("a packet too large for its pipe")
                self._asked = packet.lease
                self.pool.tell(Said(self.slot, Resend(packet.lease)))
            else:
                self._begin(packet)

    def _begin(self, packet: Packet) -> None:
        pool = self.pool
        assert packet.assignment is not None, "it is whole"
        execution = Execution(packet, pool.behaviour(packet.assignment), pool.machine.timeline.now)
        self.running = execution
        lease = packet.assignment.lease
        if lease in self._stops:
            self._end(execution, Outcome(lease, "cancelled", error=Failure("JobCancelled", "it never began")))
            return
        pool.history.begins(self, execution)
        if execution.behaviour.reports:
            pool.tell(Said(self.slot, Progress(lease, 1.0, 2.0, "half of it")))
        if execution.behaviour.poison and execution.behaviour.misbehaves(packet.assignment.path):
            pool.after(min(execution.behaviour.duration, 0.2), self.die, 11)
            return
        self._ask(execution)

    def _ask(self, execution: Execution) -> None:
        """For every input that did not come along."""
        assignment, header = execution.assignment, execution.header
        assert header is not None
        for position, supplied in enumerate(assignment.inputs):
            one = supplied.input
            if one.kind in ("run", "skipped"):
                continue
            if supplied.value is None and supplied.ref is None:
                self._fetch(execution, position, Want(assignment.run, "result", one.job, one.path, one.many))
            else:
                execution.inputs[position] = [(one.path, "success", supplied.value, supplied.ref)]
        if header.ref is not None:
            self._fetch(execution, -1, Want(assignment.run, "data"))
        else:
            execution.inputs[-1] = [((), "success", header.data, None)]
        if not execution.wanted:
            self._work(execution)

    def _fetch(self, execution: Execution, position: int, want: Want) -> None:
        self._fetches += 1
        execution.wanted[self._fetches] = position
        self.pool.tell(Said(self.slot, Fetch(self._fetches, want)))

    def _given(self, number: int, given: Any) -> None:
        execution = self.running
        if execution is None or number not in execution.wanted:
            return
        position = execution.wanted.pop(number)
        execution.inputs[position] = list(given.values)
        if not execution.wanted:
            self._work(execution)

    def _work(self, execution: Execution) -> None:
        self.pool.history.reads(execution)
        factor = 0.5 + self.pool.random.random()
        execution.finish = self.pool.after(execution.behaviour.duration * factor + 0.0002, self._worked, execution)

    def _worked(self, execution: Execution) -> None:
        """The worker has returned or raised; then comes the store."""
        if self.down or execution.over:
            return
        assignment, behaviour = execution.assignment, execution.behaviour
        if assignment.attempt in behaviour.fails and behaviour.misbehaves(assignment.path):
            signs = None if behaviour.retry_after is None else Signs(retry_after=behaviour.retry_after)
            error = Failure("ValueError", "boom")
            self._end(execution, Outcome(assignment.lease, "failed", b"", signs=signs, error=error))
        elif behaviour.saves:
            self._patiently(execution, self._save, "users", self.pool.machine.timeline.now, 0.1)
        else:
            self._keep(execution)

    def _patiently(
        self, execution: Execution, work: Callable[[Execution], None], store: str, since: float, pause: float
    ) -> None:
        """A store that is down is tried again, for so long."""
        if self.down or execution.over:
            return
        now = self.pool.machine.timeline.now
        if self.pool.stores.down_until[store] <= now:
            work(execution)
        elif now - since >= STORE_DEADLINE:
            error = Failure("StoreError", f"the store of {store} is down")
            self._end(execution, Outcome(execution.assignment.lease, "store", error=error))
        else:
            self.pool.history.note(f"the store of {store} was tried again")
            self.pool.after(pause, self._patiently, execution, work, store, since, min(5.0, pause * 2))

    def _save(self, execution: Execution) -> None:
        """A store that knows a newer fence refuses."""
        if self.pool.stores.save(execution):
            self._keep(execution)
        else:
            self.pool.history.note("a store refused an older fence")
            error = Failure("Superseded", "a newer attempt has saved")
            self._end(execution, Outcome(execution.assignment.lease, "store", error=error, charged=False))

    def _keep(self, execution: Execution) -> None:
        """The result: a large one goes to the values store first."""
        if execution.behaviour.large:
            self._patiently(execution, self._succeed, "values", self.pool.machine.timeline.now, 0.1)
        else:
            self._succeed(execution)

    def _succeed(self, execution: Execution) -> None:
        assignment, behaviour = execution.assignment, execution.behaviour
        result = pack([assignment.run, assignment.job, list(assignment.path), assignment.lease])
        signs = _signs(execution)
        if behaviour.large:
            ref = self.pool.stores.write(execution, result)
            outcome = Outcome(assignment.lease, "success", b"", size=len(result), ref=ref, signs=signs)
        else:
            outcome = Outcome(assignment.lease, "success", result, signs=signs)
        self._end(execution, outcome)

    def _stopped(self, execution: Execution, why: str) -> None:
        if self.running is execution and not execution.over and not self.down:
            kind: Any = "timeout" if why == "timeout" else "cancelled"
            self._end(execution, Outcome(execution.assignment.lease, kind, error=Failure("Stopped", why)))

    def _end(self, execution: Execution, outcome: Outcome) -> None:
        self._over(execution, outcome.kind, outcome)
        self.pool.tell(Said(self.slot, Ended(outcome)))
        self.pool.after(0.0001, self.read)

    def _over(self, execution: Execution, kind: str, outcome: Outcome | None = None) -> None:
        execution.over = True
        self.running = None
        if execution.finish is not None:
            execution.finish.dead = True
        self.pool.history.ends(self, execution, kind, outcome)


def _signs(execution: Execution) -> Signs | None:
    behaviour, path = execution.behaviour, execution.assignment.path
    task = unpack_task(execution.assignment.task)
    if behaviour.skips and behaviour.misbehaves(path):
        return Signs(skip="it had nothing to do")
    spoils = behaviour.spoils and behaviour.misbehaves(path)
    if spoils and not task.spread and not task.report:
        return Signs(invalid="it has chosen what is not there")
    spread = None
    if task.spread and not spoils:
        spread = behaviour.lengths[sum(path) % len(behaviour.lengths)] if behaviour.lengths else 1
    keys = {} if spoils else {key: f"k{sum(path) % behaviour.keys}" for key in task.report}
    graft = behaviour.graft if behaviour.misbehaves(path) else None
    signs = Signs(spread=spread, chosen=behaviour.chosen, keys=keys, graft=graft)
    return None if signs == Signs() else signs


class Pool:
    """All worker processes of one Broker."""

    def __init__(
        self,
        machine: Machine,
        random: Random,
        history: History,
        stores: Stores,
        behaviour: Callable[[Assignment], Behaviour],
        wake: Callable[[], None],
        resources: dict[str, float],
    ) -> None:
        self.machine = machine
        self.resources = resources
        self.random = random
        self.history = history
        self.stores = stores
        self.behaviour = behaviour
        self.processes: dict[int, Process] = {}
        self.orphaned = False
        self.lapsed_at = -1.0
        """When its Broker last gave up its leases; or the warden did it for it."""
        self._wake = wake
        self._events: list[PoolEvent] = []
        self._pid = 0
        self._deadline: Any = None

    # What a Broker asks of it ---------------------------------------------------------------------------------------

    def start(self, slot: int, settings: Settings) -> None:
        old = self.processes.get(slot)
        assert old is None or old.down, f"slot {slot} has a process already"
        self._pid += 1
        self.processes[slot] = Process(self, slot, self._pid)

    def feed(self, slot: int, packet: bytes) -> bool:
        process = self.processes.get(slot)
        if process is None or process.down or len(process.pipe) >= 64:
            return False
        process.pipe.append(packet)
        self.after(0.00005 + self.random.random() * 0.0005, process.read)
        return True

    def take_back(self, slot: int) -> list[bytes]:
        process = self.processes.get(slot)
        if process is None:
            return []
        packets = list(process.pipe)
        process.pipe.clear()
        return packets

    def send(self, slot: int, message: ToWorker) -> None:
        process = self.processes.get(slot)
        if process is not None:
            self.after(0.0002, process.receive, message)

    def interrupt(self, slot: int) -> None:
        """The signal only says that there is something to read."""

    def kill(self, slot: int) -> None:
        process = self.processes.get(slot)
        if process is not None and not process.down and not process.dying:
            process.dying = True
            self.after(0.001 + self.random.random() * 0.3, process.die, 9)

    def renew(self, at: float | None) -> None:
        if self._deadline is not None:
            self._deadline.dead = True
        self._deadline = None
        if at is None:
            self.lapsed_at = self.machine.timeline.now
        else:
            self._deadline = self.machine.timeline.at(self.machine.true(at) + GRAIN, self._deadline_passed)

    def poll(self) -> list[PoolEvent]:
        events, self._events = self._events, []
        return events

    def filenos(self) -> list[int]:
        return []

    def close(self, grace: float = 0.0) -> None:
        self.orphaned = True
        for process in self.processes.values():
            process.die(None, 0)

    # What happens to it ---------------------------------------------------------------------------------------------

    def after(self, delay: float, action: Callable[..., None], *arguments: Any) -> Any:
        """Something that a process does: not while its machine stands still."""
        return self.machine.timeline.after(delay, self._act, action, arguments)

    def _act(self, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        if self.machine.frozen_until > self.machine.timeline.now:
            wait = self.machine.frozen_until - self.machine.timeline.now + self.random.random() * 0.01
            self.machine.timeline.after(wait, self._act, action, arguments)
        else:
            action(*arguments)

    def tell(self, event: PoolEvent) -> None:
        if not self.orphaned:
            self._events.append(event)
            self._wake()

    def lose_broker(self) -> None:
        """The Broker has died: the warden ends everything."""
        self.orphaned = True
        self.after(0.001 + self.random.random() * 0.1, self._kill_all)

    def lose_warden(self) -> None:
        """Everything that it started ends with it."""
        self._kill_all()

    def lose_power(self) -> None:
        self.orphaned = True
        self._kill_all()

    @property
    def gone(self) -> bool:
        return all(process.down for process in self.processes.values())

    def _deadline_passed(self) -> None:
        self._deadline = None
        self.lapsed_at = self.machine.timeline.now
        self.end_late()

    def end_late(self) -> None:
        """The deadline has passed, and nobody has moved it on."""
        self._act(self._kill_late, ())

    def _kill_late(self) -> None:
        for process in self.processes.values():
            process.late = not process.down
        self._kill_all()

    def _kill_all(self) -> None:
        for process in list(self.processes.values()):
            process.die(9)


def leases(attempts: list[Attempt]) -> list[int]:
    return [attempt.lease for attempt in attempts]
