"""Which attempt goes to which slot, what is taken back from a slot, and how much more the Broker takes.

What can start at once does. Behind a running head waits only what will start soon: about 100 ms of work, none of it
exclusive, none of a worker whose pace is unknown. When a slot is idle, nothing waits elsewhere for long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush

from .pace import PREFETCH, Pace
from .slot import Attempt, Slot, State
from .units import Units

WORTH = 0.005
"""Seconds of waiting work that are worth taking back for an idle slot."""
STUCK = 0.02
"""Seconds behind one head, after which anything is worth it."""
PATIENCE = 0.2
"""Seconds that an attempt may wait here for a slot that is not idle; then somebody else should have it."""


def distribute(
    slots: Sequence[Slot], shelf: deque[Attempt], pace: Pace, now: float, units: Units
) -> dict[int, list[Attempt]]:
    """Move attempts from the shelf into slots, least work first. What fits nowhere stays, in its order."""
    fed: dict[int, list[Attempt]] = {}
    open_slots = [(slot.backlog, slot.number, slot) for slot in slots if slot.accepts(now) and not slot.fit]
    heapify(open_slots)
    rest: list[Attempt] = []
    while shelf and (open_slots or units):
        attempt = shelf.popleft()
        estimate = pace.estimate(attempt.assignment.worker)
        if units and (fit := units.fit_of(attempt.assignment.needs)):
            made = next((slot for slot in slots if slot.fit == fit and slot.idle and not slot.stale), None)
            if made is None:
                rest.append(attempt)
            else:
                made.put(attempt, PREFETCH if estimate is None else estimate, now)
                fed[made.number] = [attempt]
            continue
        if not open_slots:
            rest.append(attempt)
            continue
        _, number, slot = open_slots[0]
        if slot.fifo and (estimate is None or attempt.exclusive):
            rest.append(attempt)
            continue
        slot.put(attempt, PREFETCH if estimate is None else estimate, now)
        fed.setdefault(number, []).append(attempt)
        heappop(open_slots)
        if slot.accepts(now):
            heappush(open_slots, (slot.backlog, number, slot))
    shelf.extendleft(reversed(rest))
    return fed


def overloaded(slots: Iterable[Slot], now: float) -> list[Slot]:
    """Slots with work that should be shared, if there is an idle one."""
    found: list[Slot] = []
    idle = False
    for slot in slots:
        idle = idle or slot.spare
        if slot.waiting and not slot.asked:
            late = slot.since + STUCK <= now
            if late or slot.backlog - slot.fifo[0].estimate >= WORTH:
                found.append(slot)
    return found if idle else []


def stuck_at(slot: Slot, idle: bool) -> float:
    """When what waits in this slot has to be taken back: soon for an idle slot, later for another Broker."""
    if not slot.waiting or slot.asked:
        return float("inf")
    return slot.since + (STUCK if idle else PATIENCE)


def offer(slots: Iterable[Slot], shelved: int, pace: Pace, now: float) -> tuple[int, int]:
    """(attempts that would start at once, attempts that would wait in a pipe)."""
    free = prefetch = 0
    room = pace.room()
    for slot in slots:
        if slot.state is not State.SERVING or slot.full:
            continue
        if not slot.fifo:
            free += 1
            prefetch += 0 if slot.fit else room - 1
        elif slot.accepts(now):
            prefetch += max(0, room - len(slot.fifo))
    on_idle = min(free, shelved)
    return free - on_idle, max(0, prefetch - (shelved - on_idle))
