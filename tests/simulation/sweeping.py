"""Many scenarios, one after the other or on all cores; what was broken is told at once, the first in full."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from .drawing import draw
from .shrinking import shrink
from .violation import Violation
from .world import World

CHUNK = 25
SHOWN = 240
"""Characters of a line of history."""


class Chunk(NamedTuple):
    """What has come of some seeds."""

    done: int
    broken: list[tuple[int, str]]
    seen: Counter[str]
    """In how many scenarios something happened."""


def live(seeds: Iterable[int]) -> Chunk:
    done, broken, seen = 0, [], Counter[str]()
    for seed in seeds:
        world = World(draw(seed))
        try:
            world.run()
        except Violation as violation:
            broken.append((seed, str(violation)))
        seen.update(world.history.seen.keys())
        done += 1
    return Chunk(done, broken, seen)


class Sweep:
    def __init__(self, first: int, seeds: int, jobs: int = 1, seconds: float | None = None) -> None:
        self.first = first
        self.done = 0
        self.broken = 0
        self.passed = 0.0
        self.seen: Counter[str] = Counter()
        self._chunks = [range(at, min(at + CHUNK, first + seeds)) for at in range(first, first + seeds, CHUNK)]
        self._jobs = min(jobs or cores(), len(self._chunks))
        self._seconds = seconds

    def run(self, patience: float) -> int:
        """How many were broken. `patience`: seconds for making the first of them smaller."""
        began = time.monotonic()
        for chunk in self._lived():
            self.done += chunk.done
            self.seen += chunk.seen
            for seed, text in chunk.broken:
                self._tell(seed, text, patience)
            if self._seconds is not None and time.monotonic() - began > self._seconds:
                break
        self.passed = time.monotonic() - began
        return self.broken

    def append_to(self, path: Path) -> None:
        """One line per sweep, with the commit that it was made on."""
        path.parent.mkdir(parents=True, exist_ok=True)
        command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
        commit = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent).stdout.strip()
        line = {
            "first": self.first,
            "seeds": self.done,
            "violations": self.broken,
            "seconds": round(self.passed),
            "commit": commit or "unknown",
            "at": round(time.time()),
        }
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def _lived(self) -> Iterator[Chunk]:
        if self._jobs <= 1:
            yield from map(live, self._chunks)
            return
        with multiprocessing.get_context("spawn").Pool(self._jobs) as pool:
            yield from pool.imap(live, self._chunks)

    def _tell(self, seed: int, text: str, patience: float) -> None:
        self.broken += 1
        if self.broken == 1 and patience:
            scenario = draw(seed)
            promise, _, _ = text.partition(":")
            small, world, found = shrink(scenario, promise, patience)
            print(*small.story(), *(line[:SHOWN] for line in world.lines), found, sep="\n")
        print(f"seed {seed}: {text[:600]}")
        print(f"replay: python -m tests.simulation --seed {seed} --replay", flush=True)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
