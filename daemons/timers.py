"""Deadlines: a heap of moments with what is due then. Nothing is ever taken out early; whoever is told checks."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any


class Timers:
    def __init__(self) -> None:
        self._heap: list[tuple[float, int, tuple[Any, ...]]] = []
        self._count = 0

    def set(self, when: float, what: tuple[Any, ...]) -> None:
        self._count += 1
        heappush(self._heap, (when, self._count, what))

    def next(self) -> float:
        return self._heap[0][0] if self._heap else float("inf")

    def due(self, now: float) -> Iterator[tuple[Any, ...]]:
        while self._heap and self._heap[0][0] <= now:
            yield heappop(self._heap)[2]

    def __len__(self) -> int:
        return len(self._heap)
