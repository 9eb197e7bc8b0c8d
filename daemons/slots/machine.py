"""The Broker's machine: slots, and what becomes of the attempts that it was granted.

Pure: messages, events and time in, effects out.

It knows, per slot, the attempts that were fed, in order: the first is its head, which runs. It refuses to know what
jobs do. Its rules, each told where it is kept:
  - nothing starts, and nothing goes on, without a lease that was renewed lately (`_lapse`);
  - whatever was not begun can be given to another slot or back to the Router: `TakeBack` decides, not a guess;
  - the head alone is charged when a process dies (`_down`);
  - a stopped attempt has ended when nothing is left of what it has started (`_ended`);
  - a unit of an indexed resource belongs to one process until nothing is left of that (`Units`);
  - an outcome is kept until it is noted, a lease is listed until its process is known to be done with it (`Ledger`).

Inputs return effects that are to be carried out at once, in order; `settle` ends a turn: it hands out what waits here,
and tells the Router what has happened, once for the whole turn (`Reporting`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...pipeline.task import Outcome
from ...workers.messages import Ended, Fetch, Large, Leave, Packet, Progress, Resend, WorkerCard
from ...workers.pool import PoolEvent, Said, SlotBroken, SlotDown, SlotUp, lease_of
from ..protocol import Beat, Fetched, FromRouter, Hello, Kill, Noted, Outcomes, Pulse, Recall, Run, ToRouter, Welcome
from . import sharing
from .deaths import GRACE, death, outcome_of, uncharged
from .delivery import Delivery
from .fitting import refit
from .ledger import Ledger
from .orders import BrokerEffect, Fail, Feed, Guard, Interrupt, KillTree, Reply, StartProcess, TakeBack, Tell
from .pace import Pace
from .reporting import Offer, Reporting
from .slot import Attempt, Slot, State
from .units import Units

NEVER = float("inf")
MARGIN = 1.0
"""The Broker kills its jobs so long before their lease ends."""
LAST_RESORT = 0.5
"""Somebody else kills them so long after that, should the Broker be unable to."""
RETRY = 0.1
RETRY_CAP = 30.0
USEFUL = 5.0
"""A process that lived so long, or had work, is replaced at once; others after a pause that grows."""
HOPELESS = 3
"""So many processes in a row that never came up, and the Broker gives up, if none ever did."""
INTERRUPTED = ("timeout", "cancelled")


class Slots:
    def __init__(self, offer: Offer) -> None:
        self.slots = [Slot(number) for number in range(offer.slots)]
        self.ledger = Ledger()
        self.pace = Pace()
        self.units = Units(offer.units)
        self.reporting = Reporting(offer, self.slots, self.ledger, self.pace)
        self.wall_offset = 0.0
        """Wall time less the turn's time, for what people read."""
        self.closing = False
        self._lapsed = True
        """Our leases are not renewed: nothing may run."""
        self._renewed = -NEVER
        self._lapse_after = 8.0 - MARGIN
        self._stop_at = NEVER
        self._effects: list[BrokerEffect] = []

    # The way in -----------------------------------------------------------------------------------------------------

    def begin(self, now: float) -> list[BrokerEffect]:
        """Start processes in all slots that have none."""
        for slot in self.slots:
            if slot.state is State.EMPTY:
                self._start(slot)
        return self._out()

    def handle(self, message: FromRouter, now: float) -> list[BrokerEffect]:
        match message:
            case Run():
                self.ledger.grant(message, now)
                self.reporting.credit.granted(len(message.assignments), self.ledger.seen)
            case Noted(leases):
                self.ledger.delivery.noted(leases)
            case Pulse():
                self._renew(message.stamp)
                self._doom(message.kill, "cancelled")
            case Kill():
                self._doom(message.leases, "cancelled")
            case Recall(leases):
                self._doom(leases, "recalled")
            case Fetched():
                if reply := self.reporting.errands.fetched(message):
                    self._effects.append(reply)
            case Welcome():
                self._lapse_after = message.lease_time - MARGIN
                self._renew(self.reporting.greeted)
                self._tell(self.reporting.welcomed())
            case _:
                pass
        return self._out()

    def heard(self, event: PoolEvent, now: float) -> list[BrokerEffect]:
        slot = self.slots[event.slot]
        match event:
            case Said():
                self._said(slot, event.message, now)
            case SlotUp():
                self._up(slot, event, now)
            case SlotBroken():
                self._broken(slot, event)
            case SlotDown():
                self._down(slot, event, now)
        return self._out()

    def taken_back(self, number: int, leases: Iterable[int], now: float) -> list[BrokerEffect]:
        """The answer to `TakeBack`: these have not begun, and nobody will read them."""
        slot = self.slots[number]
        self.ledger.release(slot, set(leases), min(now, slot.since))
        if slot.state is State.STOPPING and not slot.fifo:  # its process had not begun what was to be stopped
            slot.step("ended")
            slot.why, slot.kill_at = "", NEVER
        self._mind_head(slot, now)
        return self._out()

    def refused(self, number: int, leases: Iterable[int], now: float) -> list[BrokerEffect]:
        """The slot's pipe did not take these."""
        slot = self.slots[number]
        self.ledger.release(slot, set(leases), now)
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
        for slot in self.slots:
            if slot.stale and slot.idle and not self.closing:
                self._send_home(slot, now)
        if self.ledger.shelf:
            self._share(now)
        else:
            for slot in sharing.overloaded(self.slots, now):
                self._take_back(slot)
        self._tell(self.reporting.news(now, taking=self._taking))
        return self._out()

    def reload(self, cards: tuple[WorkerCard, ...], now: float) -> list[BrokerEffect]:
        """The workers' code has changed: what runs ends as it began, whatever begins from now on gets a new process."""
        self.reporting.cards = cards
        for slot in self.slots:
            if slot.state in (State.STARTING, State.SERVING, State.STOPPING):
                slot.stale = True
            elif slot.state is State.EMPTY and not self.closing:
                slot.failures, slot.retry_at = 0, now
            if slot.waiting:
                self._take_back(slot)
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
    def attempts(self) -> Mapping[int, Attempt]:
        """By lease: everything that has not ended."""
        return self.ledger.attempts

    @property
    def delivery(self) -> Delivery:
        """Outcomes that are not noted."""
        return self.ledger.delivery

    @property
    def done(self) -> bool:
        return self.closing and not self.ledger.attempts

    def next_deadline(self) -> float:
        deadlines = [self._stop_at, NEVER if self._lapsed else self._lapses_at()]
        if self.ledger.shelf:
            deadlines.append(self.ledger.longest_shelved() + sharing.PATIENCE)
        idle = any(slot.spare for slot in self.slots)
        for slot in self.slots:
            if slot.state is State.EMPTY:
                deadlines.append(slot.retry_at)
            elif slot.state is State.LEAVING:
                deadlines.append(slot.kill_at)
            elif slot.fifo:
                deadlines += (slot.kill_at, _times_out_at(slot), sharing.stuck_at(slot, idle))
        return min(deadlines)

    # For the session ------------------------------------------------------------------------------------------------

    def hello(self, now: float) -> Hello:
        return self.reporting.hello(now)

    def beat(self, now: float, received: int = 0) -> Beat:
        """`received` counts envelopes; the Router wants to know of a Broker which leases have arrived."""
        return self.reporting.beat(now)

    def repeats(self, now: float) -> list[BrokerEffect]:
        """Outcomes that were told long ago and are not noted. For every heartbeat."""
        if overdue := self.ledger.delivery.overdue(now):
            self._tell([Outcomes(overdue)])
        return self._out()

    # Leases ---------------------------------------------------------------------------------------------------------

    @property
    def _taking(self) -> bool:
        return not (self.closing or self._lapsed)

    def _lapses_at(self) -> float:
        return self._renewed + self._lapse_after

    def _renew(self, stamp: float) -> None:
        """The Router has heard of us at this moment of our clock, or later."""
        if stamp > self._renewed:
            self._renewed = stamp
            self._lapsed = False
            self._effects.append(Guard(self._lapses_at() + LAST_RESORT))

    def _lapse(self) -> None:
        """No lease was renewed for too long: the Router will give everything to others. End it all, now."""
        self._lapsed = True
        self.ledger.lapse()
        for slot in self.slots:
            if slot.fifo:
                self._kill_tree(slot, "lapsed")
                slot.why = "lapsed"
        self._effects.append(Guard(None))

    def _share(self, now: float) -> None:
        """Hand out what is on the shelf; what cannot start here soon goes back."""
        if self._taking:
            shelf = self.ledger.shelf
            for number, attempts in sharing.distribute(self.slots, shelf, self.pace, now, self.units).items():
                self._effects.append(Feed(number, attempts))
            if shelf and self.units:
                for slot in refit(self.slots, shelf, self.units, now):
                    self._send_home(slot, now)
        if self.ledger.shelf:
            self.ledger.give_up(now if self._taking else NEVER, sharing.PATIENCE)

    # Ends that are asked for ----------------------------------------------------------------------------------------

    def _doom(self, leases: Iterable[int], doom: str) -> None:
        """These have to end, or should go back. Whether one runs or waits, only the kernel knows: what cannot be taken
        back is running."""
        found = {lease for lease in leases if self._is_news(lease, doom)}
        if not found:
            return
        for lease in found:
            self.ledger.attempts[lease].doom = doom
        self.ledger.clear_doomed()
        for slot in self.slots:
            if any(attempt.lease in found for attempt in slot.fifo):
                self._take_back(slot)

    def _is_news(self, lease: int, doom: str) -> bool:
        attempt = self.ledger.attempts.get(lease)
        return attempt is not None and attempt.doom != doom and attempt.doom != "cancelled"

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

    def _take_back(self, slot: Slot) -> None:
        slot.asked = True
        self._effects.append(TakeBack(slot.number))

    # What processes say ---------------------------------------------------------------------------------------------

    def _said(self, slot: Slot, message: Ended | Fetch | Resend | Progress, now: float) -> None:
        match message:
            case Ended(outcome):
                self._ended(slot, outcome, now)
            case Fetch():
                self._tell([self.reporting.errands.fetch(slot, message)])
            case Resend(lease):
                if attempt := self.ledger.attempts.get(lease):
                    packet = Packet(attempt.header, attempt.assignment, lease)
                    self._effects.append(Reply(slot.number, Large(packet)))
            case Progress(lease):
                if lease in self.ledger.attempts:
                    self.reporting.errands.progress(message)

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
        self.ledger.end(attempt, outcome)
        if fifo:
            self._mind_head(slot, now)

    # The lives of processes -----------------------------------------------------------------------------------------

    def _start(self, slot: Slot) -> None:
        slot.step("start")
        slot.generation += 1
        slot.retry_at = NEVER
        slot.fit, slot.next_fit = slot.next_fit, ()
        self._effects.append(StartProcess(slot.number, self.units.begin(slot.number)))

    def _send_home(self, slot: Slot, now: float) -> None:
        """Its process has nothing to do, and is not the one that is needed."""
        slot.step("leave")
        slot.why = "left"
        slot.kill_at = now + GRACE
        self._effects.append(Reply(slot.number, Leave()))

    def _up(self, slot: Slot, event: SlotUp, now: float) -> None:
        slot.step("up")
        slot.pid = event.pid
        slot.up_at = now
        if self.reporting.cards is None:
            self.reporting.cards = event.up.cards

    def _broken(self, slot: Slot, event: SlotBroken) -> None:
        slot.step("broken")
        if self.reporting.cards is None:
            self._effects.append(Fail(event.broken.message))

    def _down(self, slot: Slot, event: SlotDown, now: float) -> None:
        """The process is gone. What it had not read was never begun; what it had read, it was at."""
        if not self._lapsed and now >= self._lapses_at():
            self._lapse()  # before anybody is charged for what the warden has done meanwhile
        if event.overdue and not slot.why:
            slot.why = "overdue"  # it had begun to kill when the deadline was moved on
        useful = bool(slot.fifo) or now - slot.up_at >= USEFUL or slot.why == "left"
        self.ledger.release(slot, {lease_of(packet) for packet in event.unread}, now)
        for attempt in list(slot.fifo):
            self._bury(slot, attempt, event, now)
        slot.step("down")
        slot.reset()
        self.units.end(slot.number)
        self.reporting.errands.forget(slot)
        self._replace(slot, event, useful, now)

    def _bury(self, slot: Slot, attempt: Attempt, event: SlotDown, now: float) -> None:
        """The head of a process that has died."""
        if slot.why == "lapsed":
            self.ledger.drop(attempt)
        elif slot.verdict is not None and slot.verdict.lease == attempt.lease:
            self.ledger.end(attempt, uncharged(slot.verdict) if slot.why == "lost" else slot.verdict)
        else:
            started, duration = slot.since + self.wall_offset, max(0.0, now - slot.since)
            self.ledger.end(attempt, outcome_of(attempt, slot.why, event, started, duration))

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
        if self.reporting.cards is None and slot.failures >= HOPELESS:
            tail = f": {event.log_tail.strip()}" if event.log_tail.strip() else ""
            self._effects.append(Fail(f"worker processes do not come up: the last one {death(event)}{tail}"))

    # Inside ---------------------------------------------------------------------------------------------------------

    def _tell(self, messages: Iterable[ToRouter]) -> None:
        self._effects.extend(map(Tell, messages))

    def _out(self) -> list[BrokerEffect]:
        effects, self._effects = self._effects, []
        return effects

    def validate(self) -> None:
        """The invariants, in words and code. Raises AssertionError with the broken one."""
        self.ledger.validate(self.slots)
        self.units.validate()
        for slot in self.slots:
            assert not slot.fifo or slot.state not in (State.EMPTY, State.STARTING), f"{slot} has work and no process"
            assert slot.state is not State.STOPPING or slot.fifo, f"{slot} stops nothing"
            alarmed = slot.state in (State.STOPPING, State.LEAVING)
            assert (slot.kill_at < NEVER) == alarmed, f"{slot} has the wrong alarm"
            assert slot.state is not State.LEAVING or not slot.fifo, f"{slot} leaves with work"
            fits = [self.units.fit_of(attempt.assignment.needs) for attempt in slot.fifo]
            assert all(fit == slot.fit for fit in fits), f"{slot} is made for {slot.fit}, and has work for {fits}"
            estimates = sum(attempt.estimate for attempt in slot.fifo)
            assert abs(slot.backlog - estimates) < 1e-6, f"{slot} counts {slot.backlog} s of work, not {estimates}"
            assert not any(one.exclusive for one in list(slot.fifo)[1:]), f"{slot} holds exclusive work that waits"


def _times_out_at(slot: Slot) -> float:
    if slot.state is not State.SERVING or not slot.fifo:
        return NEVER
    timeout = slot.fifo[0].timeout
    return NEVER if timeout is None else slot.since + timeout
