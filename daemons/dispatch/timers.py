"""Deadlines: a heap of moments with what is due then. Whoever is told checks whether it still is.

Nothing is taken out early one by one; when the heap has doubled, what is over by then is dropped. So jobs that end long
before their queue_timeout do not pile up here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heapify, heappop, heappush
from typing import Any

What = tuple[str, Any]
"""What is due, and whom it is about."""
SMALL = 1024


class Timers:
    """`over` tells whether something can be forgotten."""

    def __init__(self, over: Callable[[What], bool]) -> None:
        self._over = over
        self._heap: list[tuple[float, int, What]] = []
        self._count = 0
        self._sweep_at = SMALL

    def set(self, when: float, what: What) -> None:
        self._count += 1
        heappush(self._heap, (when, self._count, what))
        if len(self._heap) > self._sweep_at:
            self._heap = [one for one in self._heap if not self._over(one[2])]
            heapify(self._heap)
            self._sweep_at = 2 * len(self._heap) + SMALL

    def next(self) -> float:
        return self._heap[0][0] if self._heap else float("inf")

    def due(self, now: float) -> Iterator[What]:
        while self._heap and self._heap[0][0] <= now:
            yield heappop(self._heap)[2]

    def __len__(self) -> int:
        return len(self._heap)
