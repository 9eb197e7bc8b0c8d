"""Virtual time: one heap of what happens when, and the clocks of the machines, which do not agree with each other."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

WALL = 1_700_000_000.0
GRAIN = 0.001
"""Loops wake up a little late, never early: so does everything here that waits for a deadline."""

WAKING = 0.05
"""Seconds after standing still in which nobody can have noticed yet."""


class Event:
    __slots__ = ("action", "arguments", "dead")

    def __init__(self, action: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.action = action
        self.arguments = arguments
        self.dead = False


class Timeline:
    """What happens, in order. `now` is the true time, which nobody in the cluster can see."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self._heap: list[tuple[float, int, Event]] = []

    def at(self, when: float, action: Callable[..., None], *arguments: Any) -> Event:
        self.count += 1
        event = Event(action, arguments)
        heappush(self._heap, (max(when, self.now), self.count, event))
        return event

    def after(self, delay: float, action: Callable[..., None], *arguments: Any) -> Event:
        return self.at(self.now + delay, action, *arguments)

    def step(self, until: float) -> bool:
        """Let the next thing happen; False when there is none before `until`."""
        heap = self._heap
        while heap and heap[0][0] <= until:
            when, _, event = heappop(heap)
            if not event.dead:
                self.now = when
                event.action(*event.arguments)
                return True
        return False


class Machine:
    """A computer: its clocks, and whether it stands still."""

    def __init__(self, timeline: Timeline, name: str, offset: float) -> None:
        self.timeline = timeline
        self.name = name
        self.offset = offset
        self.wall_offset = 0.0
        self.frozen_until = 0.0
        self.freezes: list[tuple[float, float]] = []

    def monotonic(self) -> float:
        return self.timeline.now + self.offset

    def wall(self) -> float:
        return WALL + self.timeline.now + self.wall_offset

    def true(self, monotonic: float) -> float:
        return monotonic - self.offset

    def freeze(self, until: float) -> None:
        self.frozen_until = max(self.frozen_until, until)
        self.freezes.append((self.timeline.now, until + WAKING))

    def stood_still(self, since: float) -> bool:
        """Did it stand still at any time since then?"""
        return any(end >= since for _, end in self.freezes)
