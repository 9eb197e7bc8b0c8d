"""How long jobs take here, by worker, as far as it is known: what decides how much work may wait in a worker's pipe.

Growing durations are believed at once, shrinking ones slowly: to prefetch too little costs a round trip, to prefetch
too much makes jobs wait behind each other.
"""

from __future__ import annotations

from ...pipeline.task import COMMAND

PREFETCH = 0.1
"""Seconds of work that may be in one slot, what runs included."""
MOST = 256
"""Attempts that may be in one slot."""
FLOOR = 5e-5
"""What a job costs that does nothing."""
RISE = 0.5
FALL = 0.1


class Pace:
    def __init__(self) -> None:
        self.recent: float | None = None
        """The mean over all workers."""
        self._means: dict[str, float] = {}

    def note(self, worker: str, duration: float) -> None:
        """Commands share a worker name and nothing else: they say nothing about each other."""
        if worker == COMMAND:
            return
        if duration < FLOOR:
            duration = FLOOR
        means = self._means
        mean = means.get(worker)
        if mean is None or self.recent is None:
            means[worker] = duration
            self.recent = duration if self.recent is None else self.recent
        else:
            means[worker] = mean + (duration - mean) * (RISE if duration > mean else FALL)
        self.recent += (duration - self.recent) * (RISE if duration > self.recent else FALL)

    def estimate(self, worker: str) -> float | None:
        """Seconds that a job of this worker will take, or None when nobody knows."""
        return self._means.get(worker)

    def room(self) -> int:
        """How many jobs like the recent ones may be in one slot."""
        if self.recent is None:
            return 1
        return max(1, min(MOST, int(PREFETCH / self.recent)))
