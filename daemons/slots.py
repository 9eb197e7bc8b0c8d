"""The Broker's machine: slots, the attempts in them, and what the Router is told. Pure: messages, events and time in,
effects out.

It knows, per slot, the attempts that were fed, in order: the first is its head, which runs. It refuses to know what
jobs do. Its rules, each told where it is kept:
  - nothing starts, and nothing goes on, without a lease that was renewed lately (`_lapse`);
  - whatever was not begun can be given to another slot or back to the Router: `TakeBack` decides, not a guess;
  - the head alone is charged when a process dies (`_down`);
  - a stopped attempt has ended when nothing is left of what it has started (`_ended`);
  - an outcome is kept until it is noted (`Delivery`), a lease is listed until its process is known to be done with it.

Inputs return effects that are to be carried out at once, in order; `settle` ends a turn: it hands out what waits here,
and tells the Router what has happened, once for the whole turn.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from ..pipeline.task import Outcome, RunHeader
from ..workers.messages import Ended, Fetch, Large, Packet, Progress, Resend, WorkerCard
from ..workers.pool import PoolEvent, Said, SlotBroken, SlotDown, SlotUp, lease_of
from . import sharing
from .credit import CreditLine
from .deaths import GRACE, NOT_BEGUN, death, outcome_of, uncharged
from .delivery import Delivery
from .errands import Errands
from .orders import BrokerEffect, Fail, Feed, Guard, Interrupt, KillTree, Reply, StartProcess, TakeBack, Tell
from .pace import Pace
from .protocol import (
    Beat,
    BrokerCard,
    Fetched,
    FromRouter,
    HandedBack,
    Held,
    Hello,
    Kill,
    Noted,
    Outcomes,
    Pulse,
    Recall,
    Run,
    ToRouter,
    Welcome,
)
from .slot import Attempt, Slot, State

NEVER = float("inf")
MARGIN = 1.0
"""The Broker kills its jobs so long before their lease ends."""
LAST_RESORT = 0.5
"""Somebody else kills them so long after that, should the Broker be unable to."""
RETRY = 0.1
RETRY_CAP = 30.0
USEFUL = 5.0
"""A process that lived so long, or had work, is replaced at once; others after a pause that grows."""
INTERRUPTED = ("timeout", "cancelled")
HOPELESS = 3
"""So many processes in a row that never came up, and the Broker gives up, if none ever did."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What this Broker is, as far as its owner decides it."""

    slots: int
    place: str = ""
    release: str = ""
    roles: dict[str, int] | None = None
    resources: dict[str, float] = field(default_factory=dict)


class Slots:
    def __init__(self, offer: Offer) -> None:
        self.offer = offer
        self.slots = [Slot(number) for number in range(offer.slots)]
        self.shelf: deque[Attempt] = deque()
        """Attempts that are in no pipe."""
        self.attempts: dict[int, Attempt] = {}
        """By lease: everything that has not ended."""
        self.delivery = Delivery()
        self.pace = Pace()
        self.cards: tuple[WorkerCard, ...] | None = None
        """What the worker processes can run; None until one came up."""
        self.values_id: str | None = None
        self.wall_offset = 0.0
        """Wall time less the turn's time, for what people read."""
        self.closing = False
        self._seen = 0
        self._renewed = -NEVER
        self._greeted = -NEVER
        self._lapse_after = 8.0 - MARGIN
        self._stop_at = NEVER
        self._welcomed = False
        """The Router has our last Hello: from now on it is told what changes."""
        self._lapsed = True
        """Our leases are not renewed: nothing may run."""
        self._credit = CreditLine()
        self._errands = Errands()
        self._handed_back: list[int] = []
        self._effects: list[BrokerEffect] = []

    # The way in -----------------------------------------------------------------------------------------------------

    def begin(self, now: float, count: int | None = None) -> list[BrokerEffect]:
        """Start processes in the first `count` slots that have none."""
        for slot in self.slots[:count]:
            if slot.state is State.EMPTY:
                self._start(slot)
        return self._out()

    def handle(self, message: FromRouter, now: float) -> list[BrokerEffect]:
        match message:
            case Run():
                self._run(message, now)
            case Noted(leases):
                self.delivery.noted(leases)
            case Pulse():
                self._renew(message.stamp)
                self._kill(message.kill, now)
            case Kill():
                self._kill(message.leases, now)
            case Recall(leases):
                self._recall(leases)
            case Fetched():
                if reply := self._errands.fetched(message):
                    self._effects.append(reply)
            case Welcome():
                self._welcome(message)
            case _:
                pass
        return self._out()

    def heard(self, event: PoolEvent, now: float) -> list[BrokerEffect]:
        match event:
            case Said():
                self._said(self.slots[event.slot], event.message, now)
            case SlotUp():
                self._up(self.slots[event.slot], event, now)
            case SlotBroken():
                self._broken(self.slots[event.slot], event)
            case SlotDown():
                self._down(self.slots[event.slot], event, now)
        return self._out()

    def taken_back(self, number: int, leases: list[int], now: float) -> list[BrokerEffect]:
        """The answer to `TakeBack`: these have not begun, and nobody will read them."""
        slot = self.slots[number]
        wanted = set(leases)
        self._release(slot, [attempt for attempt in slot.fifo if attempt.lease in wanted], min(now, slot.since))
        self._mind_head(slot, now)
        return self._out()

    def refused(self, number: int, leases: list[int], now: float) -> list[BrokerEffect]:
        """The slot's pipe did not take these."""
        slot = self.slots[number]
        wanted = set(leases)
        self._release(slot, [attempt for attempt in slot.fifo if attempt.lease in wanted], now)
        slot.full = bool(slot.fifo)
        return self._out()

    def tick(self, now: float) -> list[BrokerEffect]:
        """Whatever is due by now."""
        if not self._lapsed and now >= self._lapses_at():
            self._lapse()
        if now >= self._stop_at:
            self._stop_at = NEVER
            for slot in self.slots:
                self._stop(slot, "lost", now)
        for slot in self.slots:
            if slot.state is State.EMPTY and now >= slot.retry_at and not self.closing:
                self._start(slot)
            if slot.kill_at <= now:
                self._kill_tree(slot, slot.why)
            elif slot.state is State.SERVING and _times_out_at(slot) <= now:
                self._stop(slot, "timeout", now)
            if sharing.stuck_at(slot, idle=False) <= now:
                self._take_back(slot)
        return self._out()

    def settle(self, now: float) -> list[BrokerEffect]:
        """The end of a turn. When it asks to take something back, settle again after the answer."""
        if self.shelf:
            self._share(now)
        else:
            for slot in sharing.overloaded(self.slots, now):
                self._take_back(slot)
        if self._welcomed:
            self._report(now)
        return self._out()

    def stop(self, now: float, grace: float) -> list[BrokerEffect]:
        """Take nothing more, hand back what has not begun, give what runs its grace. `done` tells when all is over."""
        self.closing = True
        self._stop_at = min(self._stop_at, now + grace)
        for slot in self.slots:
            slot.retry_at = NEVER
            if slot.waiting:
                self._take_back(slot)
        return self._out()

    @property
    def done(self) -> bool:
        return self.closing and not self.attempts

    def next_deadline(self) -> float:
        deadlines = [self._stop_at, NEVER if self._lapsed else self._lapses_at()]
        if self.shelf:
            deadlines.append(self.shelf[0].shelved + sharing.PATIENCE)
        idle = any(slot.idle for slot in self.slots)
        for slot in self.slots:
            if slot.state is State.EMPTY:
                deadlines.append(slot.retry_at)
            elif slot.fifo:
                deadlines += (slot.kill_at, _times_out_at(slot), sharing.stuck_at(slot, idle))
        return min(deadlines)

    # What the Router is told ----------------------------------------------------------------------------------------

    def hello(self, now: float) -> Hello:
        """The whole state."""
        self._greeted = now
        self._welcomed = False
        self._handed_back = []
        held = [*self.attempts.values(), *(attempt for attempt, _ in self.delivery.kept.values())]
        return Hello(
            "broker",
            self.offer.place,
            release=self.offer.release,
            card=self._card(),
            held=tuple(_held(attempt) for attempt in held),
            outcomes=self.delivery.all_told(now),
            values_id=self.values_id,
        )

    def beat(self, now: float, received: int = 0) -> Beat:
        """Everything that is held: what is missing here goes back to the queue."""
        leases = (*self.attempts, *self.delivery.kept)
        idle = sum(slot.idle for slot in self.slots)
        return Beat(now, self._seen, leases, idle, sum(bool(slot.fifo) for slot in self.slots))

    def repeats(self, now: float) -> list[BrokerEffect]:
        """Outcomes that were told long ago and are not noted. For every heartbeat."""
        if overdue := self.delivery.overdue(now):
            self._tell(Outcomes(overdue))
        return self._out()

    def _report(self, now: float) -> None:
        """What has changed since the last time."""
        if fresh := self.delivery.fresh(now):
            self._tell(Outcomes(fresh))
        if self._handed_back:
            self._tell(HandedBack(self._handed_back))
            self._handed_back = []
        if signals := self._errands.signals():
            self._tell(signals)
        self._tell_credit(now)

    def _card(self) -> BrokerCard:
        cards = self.cards or ()
        return BrokerCard(
            self.offer.slots,
            tuple(card.name for card in cards),
            self.offer.roles,
            self.offer.resources,
            versions={card.name: card.version for card in cards},
        )

    def _tell_credit(self, now: float) -> None:
        """Say what we would take, when the Router does not know it well enough."""
        free = prefetch = 0
        if not (self.closing or self._lapsed or self.delivery.full):
            free, prefetch = sharing.offer(self.slots, len(self.shelf), self.pace, now)
        step = max(1, self.pace.room() * len(self.slots) // 4)
        if credit := self._credit.news(free, prefetch, step):
            self._tell(credit)

    # From the Router ------------------------------------------------------------------------------------------------

    def _welcome(self, message: Welcome) -> None:
        self._lapse_after = message.lease_time - MARGIN
        self._welcomed = True
        self._credit.reset()
        self._renew(self._greeted)
        for request in self._errands.open():
            self._tell(request)

    def _run(self, message: Run, now: float) -> None:
        headers = {header.run: header for header in message.headers}
        for assignment in message.assignments:
            lease = assignment.lease
            if lease in self.attempts or lease in self.delivery.kept:
                continue
            header = headers.get(assignment.run) or RunHeader(assignment.run)
            attempt = self.attempts[lease] = Attempt(header, assignment, now)
            self.shelf.append(attempt)
            if lease > self._seen:
                self._seen = lease
        self._credit.granted(len(message.assignments), self._seen)

    def _renew(self, stamp: float) -> None:
        if stamp > self._renewed:
            self._renewed = stamp
            self._lapsed = False
            self._effects.append(Guard(self._lapses_at() + LAST_RESORT))

    def _kill(self, leases: list[int] | tuple[int, ...], now: float) -> None:
        for lease in leases:
            attempt = self.attempts.get(lease)
            if attempt is not None and attempt.doom != "cancelled":
                attempt.doom = "cancelled"
                self._mind(attempt, now)

    def _recall(self, leases: list[int]) -> None:
        for lease in leases:
            attempt = self.attempts.get(lease)
            if attempt is None or attempt.doom:
                continue
            slot = self._slot_of(attempt)
            if slot is None:
                self.shelf.remove(attempt)
                self._hand_back(attempt)
            elif slot.fifo[0] is not attempt:
                attempt.doom = "recalled"
                self._take_back(slot)

    # From the processes ---------------------------------------------------------------------------------------------

    def _said(self, slot: Slot, message: Ended | Fetch | Resend | Progress, now: float) -> None:
        match message:
            case Ended(outcome):
                self._ended(slot, outcome, now)
            case Fetch():
                self._tell(self._errands.fetch(slot, message))
            case Resend(lease):
                if attempt := self.attempts.get(lease):
                    packet = Packet(attempt.header, attempt.assignment, lease)
                    self._effects.append(Reply(slot.number, Large(packet)))
            case Progress(lease):
                if lease in self.attempts:
                    self._errands.progress(message)

    def _ended(self, slot: Slot, outcome: Outcome, now: float) -> None:
        fifo = slot.fifo
        if not fifo or fifo[0].lease != outcome.lease:
            return  # not the head: it was given up before
        if slot.state is State.DYING or (slot.state is State.STOPPING and outcome.kind in INTERRUPTED):
            slot.verdict = outcome  # told when nothing is left of what it has started
            self._kill_tree(slot, slot.why)
            return
        attempt = fifo[0]
        slot.end_head(now)
        if slot.state is State.STOPPING:
            slot.step("ended")
            slot.why = ""
        self.pace.note(attempt.assignment.worker, outcome.duration)
        self._end(attempt, outcome)
        if fifo:
            self._mind_head(slot, now)

    def _up(self, slot: Slot, event: SlotUp, now: float) -> None:
        slot.step("up")
        slot.pid = event.pid
        slot.up_at = now
        if self.cards is None:
            self.cards = event.up.cards

    def _broken(self, slot: Slot, event: SlotBroken) -> None:
        slot.step("broken")
        if self.cards is None:
            self._effects.append(Fail(event.broken.message))

    def _down(self, slot: Slot, event: SlotDown, now: float) -> None:
        """The process is gone. What it had not read was never begun; what it had read, it was at."""
        useful = bool(slot.fifo) or now - slot.up_at >= USEFUL
        unread = {lease_of(packet) for packet in event.unread}
        why, began, slot.why, slot.kill_at = slot.why, slot.since, "", NEVER
        slot.step("down")
        slot.up_at = NEVER
        self._release(slot, [attempt for attempt in slot.fifo if attempt.lease in unread], now)
        while slot.fifo:
            attempt = slot.fifo[0]
            slot.end_head(now)
            if why == "lapsed":
                del self.attempts[attempt.lease]
            elif slot.verdict is not None and slot.verdict.lease == attempt.lease:
                self._end(attempt, uncharged(slot.verdict) if why == "lost" else slot.verdict)
            else:
                started = began + self.wall_offset
                self._end(attempt, outcome_of(attempt, why, event, started, max(0.0, now - began)))
        slot.verdict = None
        slot.full = slot.asked = False
        self._errands.forget(slot)
        self._replace(slot, event, useful, now)

    def _replace(self, slot: Slot, event: SlotDown, useful: bool, now: float) -> None:
        """A new process: at once, unless this one was of no use; the next one might not be either."""
        if self.closing:
            return
        if useful:
            slot.failures = 0
            self._start(slot)
            return
        slot.failures += 1
        slot.retry_at = now + min(RETRY_CAP, RETRY * 2.0 ** min(slot.failures - 1, 16))
        if self.cards is None and slot.failures >= HOPELESS:
            tail = f": {event.log_tail.strip()}" if event.log_tail.strip() else ""
            self._effects.append(Fail(f"worker processes do not come up: the last one {death(event)}{tail}"))

    # Inside ---------------------------------------------------------------------------------------------------------

    def _share(self, now: float) -> None:
        """Hand out what is on the shelf; what cannot start here soon goes back."""
        keep = not (self.closing or self._lapsed)
        if keep:
            for number, attempts in sharing.distribute(self.slots, self.shelf, self.pace, now).items():
                self._effects.append(Feed(number, attempts))
        for attempt in [one for one in self.shelf if not keep or one.shelved + sharing.PATIENCE <= now]:
            self.shelf.remove(attempt)
            self._hand_back(attempt)

    def _release(self, slot: Slot, attempts: list[Attempt], since: float) -> None:
        """These did not begin in this slot: to their doom, or to the front of the shelf."""
        slot.remove(attempts)
        for attempt in reversed(attempts):
            if attempt.doom == "cancelled":
                self._end(attempt, Outcome(attempt.lease, "cancelled", error=NOT_BEGUN))
            elif attempt.doom == "recalled":
                self._hand_back(attempt)
            else:
                attempt.shelved = since
                self.shelf.appendleft(attempt)

    def _hand_back(self, attempt: Attempt) -> None:
        del self.attempts[attempt.lease]
        self._handed_back.append(attempt.lease)

    def _end(self, attempt: Attempt, outcome: Outcome) -> None:
        del self.attempts[attempt.lease]
        self.delivery.add(attempt, outcome)

    def _mind(self, attempt: Attempt, now: float) -> None:
        """An attempt has to end: it runs, it waits in a pipe, or it is on the shelf."""
        slot = self._slot_of(attempt)
        if slot is None:
            self.shelf.remove(attempt)
            self._end(attempt, Outcome(attempt.lease, "cancelled", error=NOT_BEGUN))
        else:  # whether it runs or waits, only the kernel knows: what cannot be taken back is running
            self._take_back(slot)

    def _mind_head(self, slot: Slot, now: float) -> None:
        if slot.fifo and slot.fifo[0].doom == "cancelled":
            self._stop(slot, "cancelled", now)

    def _stop(self, slot: Slot, why: str, now: float) -> None:
        """Ask the head to stop, and let nothing wait behind it."""
        if slot.state is not State.SERVING or not slot.fifo:
            return
        slot.step("stop")
        slot.why = why
        slot.kill_at = now + GRACE
        self._effects.append(Interrupt(slot.number, slot.fifo[0].lease, "cancelled" if why == "lost" else why))
        if slot.waiting:
            self._take_back(slot)

    def _kill_tree(self, slot: Slot, why: str) -> None:
        if slot.state in (State.EMPTY, State.DYING):
            return
        slot.step("kill")
        slot.why = why
        slot.kill_at = NEVER
        self._effects.append(KillTree(slot.number))

    def _lapse(self) -> None:
        """No lease was renewed for too long: the Router will give everything to others. End it all, now."""
        self._lapsed = True
        for slot in self.slots:
            if slot.fifo:
                self._kill_tree(slot, "lapsed")
                slot.why = "lapsed"
        self._effects.append(Guard(None))

    def _lapses_at(self) -> float:
        return self._renewed + self._lapse_after

    def _take_back(self, slot: Slot) -> None:
        slot.asked = True
        self._effects.append(TakeBack(slot.number))

    def _start(self, slot: Slot) -> None:
        slot.step("start")
        slot.generation += 1
        slot.retry_at = NEVER
        self._effects.append(StartProcess(slot.number))

    def _slot_of(self, attempt: Attempt) -> Slot | None:
        return next((slot for slot in self.slots if attempt in slot.fifo), None)

    def _tell(self, message: ToRouter) -> None:
        self._effects.append(Tell(message))

    def _out(self) -> list[BrokerEffect]:
        effects, self._effects = self._effects, []
        return effects

    def validate(self) -> None:
        """The invariants, in words and code. Raises AssertionError with the broken one."""
        placed = [*self.shelf, *(attempt for slot in self.slots for attempt in slot.fifo)]
        assert len(placed) == len({attempt.lease for attempt in placed}), "an attempt is in two places"
        assert {attempt.lease for attempt in placed} == set(self.attempts), "an attempt is nowhere, or ended and kept"
        assert not set(self.attempts) & set(self.delivery.kept), "an attempt has ended and goes on"
        for slot in self.slots:
            assert not slot.fifo or slot.state not in (State.EMPTY, State.STARTING), f"{slot} has work and no process"
            assert slot.state is not State.STOPPING or slot.fifo, f"{slot} stops nothing"
            assert (slot.kill_at < NEVER) == (slot.state is State.STOPPING), f"{slot} has the wrong alarm"
            estimates = sum(attempt.estimate for attempt in slot.fifo)
            assert abs(slot.backlog - estimates) < 1e-6, f"{slot} counts {slot.backlog} s of work, not {estimates}"
            waiting = list(slot.fifo)[1:]
            assert not any(attempt.exclusive for attempt in waiting), f"{slot} holds exclusive work that waits"


def _times_out_at(slot: Slot) -> float:
    if slot.state is not State.SERVING or not slot.fifo:
        return NEVER
    timeout = slot.fifo[0].timeout
    return NEVER if timeout is None else slot.since + timeout


def _held(attempt: Attempt) -> Held:
    one = attempt.assignment
    return Held(one.lease, one.run, one.job, one.path, one.attempt, one.round, one.worker, one.needs)
