"""The network: frames on their way between the Router and everybody else.

A link keeps the order of its frames, as TCP does, unless the weather says otherwise: in bad weather frames are dropped,
doubled and overtaken. A cut stops a link in one direction or in both; what is sent meanwhile is lost, or held until the
cut is over. A straying link is as several connections would be of which old ones still carry something: some of its
frames come seconds later, when others have long overtaken them. When the Router dies, what is on its way to it waits in
the sockets of the others, or is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from .clock import Timeline

Deliver = Callable[[bytes], None]


@dataclass(slots=True)
class Weather:
    """For a time. Chances per frame, and seconds."""

    until: float
    drop: float = 0.0
    double: float = 0.0
    overtake: float = 0.0
    delay: float = 0.0


@dataclass(slots=True)
class Cut:
    until: float
    holds: bool


@dataclass(slots=True)
class Stray:
    until: float
    delay: float


STRAYING = 0.3
"""How likely a frame of a straying link comes late."""


class Network:
    def __init__(self, timeline: Timeline, random: Random) -> None:
        self.timeline = timeline
        self.random = random
        self.frames = 0
        self.weather: list[Weather] = []
        self._cuts: dict[tuple[str, str], Cut] = {}
        self._strays: dict[tuple[str, str], Stray] = {}
        self._last: dict[tuple[str, str], float] = {}

    def cut(self, source: str, target: str, until: float, holds: bool) -> None:
        """Between two machines, this way."""
        self._cuts[source, target] = Cut(until, holds)

    def stray(self, source: str, target: str, until: float, delay: float) -> None:
        """Some of what is sent this way comes up to so many seconds late."""
        self._strays[source, target] = Stray(until, delay)

    def send(self, source: str, target: str, frame: bytes, deliver: Deliver) -> None:
        """From a machine to another one."""
        now, random = self.timeline.now, self.random
        self.frames += 1
        when = now + 0.0002 + random.random() * 0.002
        cut = self._cuts.get((source, target)) if self._cuts else None
        if cut is not None and cut.until > now:
            if not cut.holds:
                return
            when = cut.until + random.random() * 0.05
        copies = 1
        overtakes = False
        stray = self._strays.get((source, target)) if self._strays else None
        if stray is not None and stray.until > now and random.random() < STRAYING:
            when, overtakes = when + random.random() * stray.delay, True
        for weather in self.weather:
            if weather.until <= now:
                continue
            if random.random() < weather.drop:
                return
            copies += random.random() < weather.double
            overtakes = overtakes or random.random() < weather.overtake
            when += random.random() * weather.delay
        for _ in range(copies):
            if not overtakes:
                when = max(when, self._last.get((source, target), 0.0) + 1e-6)
                self._last[source, target] = when
            self.timeline.at(when, deliver, frame)
            when += random.random() * random.choice([0.3, 3.0])
