"""Indexed resources: devices that have names of their own, such as GPUs, and which process of the Broker has which.

The Router counts what is taken of a resource; which of its units an attempt gets is decided here. A process is made
with its units and keeps them until it has ended with everything that came from it: code that has begun to use a device
does not let go of it by itself, and looks at its environment once. So a unit is never in two processes, and an attempt
that needs other units than an idle process has gets a new one.

    {"gpu": 2}     two units that nobody else has
    {"gpu": 0.5}   a share of one: others with shares of it may be there too

A process that waits for the end of the one before it has its units promised; they are free for nobody else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import ceil

from ...pipeline.errors import ConfigError
from ...pipeline.task import Needs

INDEXED = "gpu"
"""Counted units of this resource have the numbers from 0 on for names."""
VISIBLE = "CUDA_VISIBLE_DEVICES"
DUST = 1e-9
OWN = frozenset(
    {"api", "attempt", "attempt_key", "broadcast", "config", "input", "job", "output", "path", "process", "run", "tree"}
)
"""HEADRACE_<NAME> means something else already."""

Fit = tuple[tuple[str, float], ...]
"""How much of each indexed resource: what a process is made for."""
Given = dict[str, tuple[str, ...]]


class Units:
    """`offered`: the names of the units of each indexed resource."""

    def __init__(self, offered: Mapping[str, Sequence[str]]) -> None:
        self._offered = {name: tuple(units) for name, units in offered.items()}
        self._held: dict[int, list[tuple[str, str, float]]] = {}
        """By slot: (resource, unit, share) of the process that is there,"""
        self._promised: dict[int, list[tuple[str, str, float]]] = {}
        """and of the one that comes after it."""

    def __bool__(self) -> bool:
        return bool(self._offered)

    def fit_of(self, needs: Needs | None) -> Fit:
        """What a process has to be made for to run an attempt with these needs."""
        if needs is None or not needs.resources:
            return ()
        return tuple(sorted((name, n) for name, n in needs.resources.items() if name in self._offered and n > 0))

    def promise(self, slot: int, fit: Fit) -> bool:
        """Set units aside for the next process of a slot; False: there are not enough that are free."""
        taken: list[tuple[str, str, float]] = []
        for name, amount in fit:
            found = self._find(slot, name, amount)
            if not found:
                return False
            taken += found
        self._promised[slot] = taken
        return True

    def begin(self, slot: int) -> Given:
        """The slot's next process is made: the units that it was promised."""
        held = self._promised.pop(slot, [])
        if held:
            self._held[slot] = held
        given: Given = {}
        for name, unit, _ in held:
            given[name] = (*given.get(name, ()), unit)
        return given

    def end(self, slot: int) -> None:
        """The slot's process is gone, with everything that came from it."""
        self._held.pop(slot, None)

    def holds(self, slot: int) -> bool:
        return slot in self._held

    def _find(self, slot: int, name: str, amount: float) -> list[tuple[str, str, float]]:
        """Units for a process that comes when the one in this slot is gone."""
        used = dict.fromkeys(self._offered[name], 0.0)
        for _, resource, unit, share in self._taken(but_held_by=slot):
            if resource == name:
                used[unit] += share
        if amount < 1.0 - DUST:
            room = [unit for unit in used if used[unit] + amount <= 1.0 + DUST]
            return [(name, max(room, key=used.__getitem__), amount)] if room else []
        count = ceil(amount - DUST)
        free = [unit for unit in used if used[unit] <= DUST]
        return [(name, unit, 1.0) for unit in free[:count]] if len(free) >= count else []

    def _taken(self, but_held_by: int | None = None) -> Iterator[tuple[int, str, str, float]]:
        for holders in (self._held, self._promised):
            for slot, taken in holders.items():
                if holders is self._promised or slot != but_held_by:
                    yield from ((slot, *one) for one in taken)

    def validate(self) -> None:
        """No unit is in two processes, but for its shares; a promise takes only what its slot's process leaves."""
        held: dict[tuple[str, str], float] = {}
        for slot, name, unit, share in self._taken():
            if slot in self._promised and (name, unit) in {one[:2] for one in self._held.get(slot, ())}:
                continue  # it goes from a process to the one that follows it
            held[name, unit] = held.get((name, unit), 0.0) + share
        for (name, unit), share in held.items():
            assert share <= 1.0 + DUST, f"unit {unit} of {name} is taken {share:g} times"


def environment(given: Given) -> dict[str, str]:
    """What a process is told of its units."""
    told = {f"HEADRACE_{re.sub('[^A-Z0-9]', '_', name.upper())}": ",".join(units) for name, units in given.items()}
    if INDEXED in given:
        told[VISIBLE] = ",".join(given[INDEXED])
    return told


def offer_of(
    resources: Mapping[str, float | Sequence[str]], visible: str | None
) -> tuple[dict[str, float], dict[str, tuple[str, ...]]]:
    """(how much there is of each resource, the units of those that are indexed). `visible`: the GPUs that this process
    may see, as `CUDA_VISIBLE_DEVICES` says."""
    amounts: dict[str, float] = {}
    indexed: dict[str, tuple[str, ...]] = {}
    for name, offered in resources.items():
        if isinstance(offered, int | float):
            amounts[name] = float(offered)
            if name == INDEXED and amounts[name].is_integer():
                indexed[name] = _numbered(int(offered), visible)
        else:
            indexed[name] = _named(name, offered)
            amounts[name] = float(len(indexed[name]))
    return amounts, indexed


def _numbered(count: int, visible: str | None) -> tuple[str, ...]:
    if visible is None:
        return tuple(map(str, range(count)))
    seen = tuple(name.strip() for name in visible.split(",") if name.strip())
    if len(seen) < count:
        raise ConfigError(
            f"resources: {count} gpu are more than this Broker sees; {VISIBLE} names {', '.join(seen) or 'none'}"
        )
    return seen[:count]


def _named(name: str, offered: Sequence[str]) -> tuple[str, ...]:
    units = tuple(map(str, offered)) if not isinstance(offered, str) else ()
    if not units or len(set(units)) < len(units) or any(not unit or "," in unit for unit in units):
        raise ConfigError(f"resources: the units of {name!r} are different names, as ['0', '3'], not {offered!r}")
    if name.lower() in OWN:
        raise ConfigError(f"resources: HEADRACE_{name.upper()} has a meaning already; call the units of {name!r} else")
    return units
