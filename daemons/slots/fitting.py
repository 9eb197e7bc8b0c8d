"""Which idle processes have to go, so that what waits here gets a process with the units that it needs.

A process is made with its units (`units`). Attempts of the same fit use it one after the other; for another fit, or for
none, it makes room for a new one: at best one that holds nothing yet, so that the others stay warm for their like.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from .slot import Attempt, Slot, State
from .units import Fit, Units

MAKING = 5.0
"""Seconds that a process may take to be there, before somebody else should have what waits for it."""


def refit(slots: Sequence[Slot], shelf: Iterable[Attempt], units: Units, now: float) -> list[Slot]:
    """The idle slots whose processes are to leave. What the next ones are made for is noted in them."""
    idle = [slot for slot in slots if slot.idle]
    idle.sort(key=lambda slot: bool(slot.fit))
    coming: Counter[Fit] = Counter(_coming(slot) for slot in slots if slot.state in (State.LEAVING, State.STARTING))
    moved: list[Slot] = []
    for attempt in shelf:
        if not idle:
            break
        fit = units.fit_of(attempt.assignment.needs)
        if coming[fit]:
            coming[fit] -= 1
            continue
        found = _for_fit(idle, fit, units) if fit else next((slot for slot in idle if slot.fit), None)
        if found is None and fit and not _releasing(slots, units):
            found = next((slot for slot in idle if units.holds(slot.number)), None)
            fit = ()
        if found is None:
            continue
        found.next_fit = fit
        idle.remove(found)
        moved.append(found)
        attempt.shelved = now + MAKING
    return moved


def _coming(slot: Slot) -> Fit:
    return slot.fit if slot.state is State.STARTING else slot.next_fit


def _for_fit(idle: Iterable[Slot], fit: Fit, units: Units) -> Slot | None:
    return next((slot for slot in idle if units.promise(slot.number, fit)), None)


def _releasing(slots: Iterable[Slot], units: Units) -> bool:
    """Units are about to be free."""
    return any(slot.state in (State.LEAVING, State.DYING) and units.holds(slot.number) for slot in slots)
