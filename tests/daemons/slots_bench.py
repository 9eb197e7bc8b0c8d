"""A Broker's machine with a pool made of lists: what a test drives, step by step."""

from __future__ import annotations

from collections import deque
from typing import Any, TypeVar

from headrace.daemons.protocol import Credit, HandedBack, Kill, Outcomes, Pulse, Run, ToRouter, Welcome
from headrace.daemons.slots.machine import Slots
from headrace.daemons.slots.orders import BrokerEffect, Feed, Guard, Reply, StartProcess, TakeBack, Tell
from headrace.daemons.slots.reporting import Offer
from headrace.pipeline.task import Assignment, Needs, Outcome, RunHeader
from headrace.workers.messages import Broken, Ended, Leave, Up, WorkerCard
from headrace.workers.pool import Said, SlotBroken, SlotDown, SlotUp, lease_of, pack

RUN = "r" * 32
T = TypeVar("T")


def assignment(lease: int, worker: str = "work", needs: Needs | None = None) -> Assignment:
    return Assignment(lease, RUN, worker, (lease,), 1, worker, b"", (), needs)


class Bench:
    """`pipes`: the packets that the process of a slot has not read. `now` moves by hand."""

    def __init__(self, slots: int = 2, up: bool = True, capacity: int = 10_000, **offer: Any) -> None:
        self.machine = Slots(Offer(slots, "here/1", **offer))
        self.now = 100.0
        self.pipes: list[deque[bytes]] = [deque() for _ in range(slots)]
        self.capacity = capacity
        self.effects: list[BrokerEffect] = []
        self.said: list[ToRouter] = []
        self.join()
        self.carry_out(self.machine.begin(self.now))
        if up:
            for slot in range(slots):
                self.up(slot)

    # What happens ---------------------------------------------------------------------------------------------------

    def join(self) -> None:
        self.machine.hello(self.now)
        self.handle(Welcome())

    def up(self, slot: int) -> None:
        self.turn(self.machine.heard(SlotUp(slot, 1000 + slot, Up(1000 + slot, (WorkerCard("work"),))), self.now))

    def broken(self, slot: int, message: str = "no module") -> None:
        self.turn(self.machine.heard(SlotBroken(slot, Broken(message)), self.now))

    def run(self, *leases: int, worker: str = "work", needs: Needs | None = None) -> None:
        self.handle(Run([RunHeader(RUN)], [assignment(lease, worker, needs) for lease in leases]))

    def handle(self, message: Run | Kill | Pulse | Welcome | object) -> None:
        self.turn(self.machine.handle(message, self.now))  # type: ignore[arg-type]

    def read(self, slot: int) -> int:
        """The process takes its next packet."""
        return lease_of(self.pipes[slot].popleft())

    def end(self, slot: int, kind: str = "success", duration: float = 0.001) -> int:
        """The process reads its next packet, and has done it."""
        lease = self.read(slot)
        self.ended(slot, lease, kind, duration)
        return lease

    def ended(self, slot: int, lease: int, kind: str = "success", duration: float = 0.001) -> None:
        outcome = Outcome(lease, kind, b"", 0.0, duration)  # type: ignore[arg-type]
        self.turn(self.machine.heard(Said(slot, Ended(outcome)), self.now))

    def down(self, slot: int, code: int | None = None, signal: int | None = 9, overdue: bool = False) -> None:
        unread = tuple(self.pipes[slot])
        self.pipes[slot].clear()
        event = SlotDown(slot, 1000 + slot, code, signal, unread, "last words", overdue)
        self.turn(self.machine.heard(event, self.now))

    def pass_time(self, seconds: float) -> None:
        """Time goes by, from one deadline of the machine to the next."""
        end = self.now + seconds
        while (due := self.machine.next_deadline()) <= end:
            self.now = max(self.now, due)
            before = self.machine.next_deadline()
            self.turn(self.machine.tick(self.now))
            assert self.machine.next_deadline() > before, f"the machine is stuck at {before}"
        self.now = end
        self.turn(self.machine.tick(self.now))

    def pulse(self) -> None:
        self.handle(Pulse(self.machine.beat(self.now).stamp))

    def busy(self, slot: int, lease: int) -> None:
        """This slot has begun this attempt, and goes on."""
        assert self.read(slot) == lease

    def leave(self) -> list[int]:
        """Every process that was sent home ends; which slots these were."""
        slots = [effect.slot for effect in self.took(Reply) if isinstance(effect.message, Leave)]
        for slot in slots:
            self.down(slot, code=0, signal=None)
        return slots

    # What follows ---------------------------------------------------------------------------------------------------

    def turn(self, effects: list[BrokerEffect]) -> None:
        self.carry_out(effects)
        for _ in range(100):
            effects = self.machine.settle(self.now)
            self.carry_out(effects)
            if not any(isinstance(effect, TakeBack) for effect in effects):
                self.machine.validate()
                return
        raise AssertionError("the machine does not settle")

    def carry_out(self, effects: list[BrokerEffect]) -> None:
        for effect in effects:
            self.effects.append(effect)
            match effect:
                case Feed(slot, attempts):
                    room = self.capacity - len(self.pipes[slot])
                    self.pipes[slot].extend(pack(one.header, one.assignment) for one in attempts[:room])
                    if attempts[room:]:
                        left = [one.lease for one in attempts[room:]]
                        self.carry_out(self.machine.refused(slot, left, self.now))
                case TakeBack(slot):
                    leases = [lease_of(packet) for packet in self.pipes[slot]]
                    self.pipes[slot].clear()
                    self.carry_out(self.machine.taken_back(slot, leases, self.now))
                case Tell(message):
                    self.said.append(message)
                case _:
                    pass

    # What can be seen -----------------------------------------------------------------------------------------------

    def took(self, kind: type[T]) -> list[T]:
        """Effects of a kind since the last look at effects."""
        found = [effect for effect in self.effects if isinstance(effect, kind)]
        self.effects = [effect for effect in self.effects if not isinstance(effect, kind)]
        return found

    def heard(self, kind: type[T]) -> list[T]:
        """Messages of a kind to the Router since the last look at them."""
        found = [message for message in self.said if isinstance(message, kind)]
        self.said = [message for message in self.said if not isinstance(message, kind)]
        return found

    def waiting(self, slot: int) -> list[int]:
        return [lease_of(packet) for packet in self.pipes[slot]]

    def outcomes(self) -> list[Outcome]:
        return [outcome for message in self.heard(Outcomes) for outcome in message.outcomes]

    def handed_back(self) -> list[int]:
        return [lease for message in self.heard(HandedBack) for lease in message.leases]

    def credit(self) -> tuple[int, int]:
        last = self.heard(Credit)[-1]
        return last.free, last.prefetch

    def guarded_until(self) -> float | None:
        return self.took(Guard)[-1].at

    def started(self) -> list[int]:
        return [effect.slot for effect in self.took(StartProcess)]

    def teach(self, duration: float = 0.001, slot: int = 0) -> None:
        """One job of worker `work` has taken so long."""
        self.run(1)
        self.end(slot, duration=duration)
        self.said.clear()
        self.effects.clear()
