"""The clock on the wall jumps, in both directions, by seconds and by years, for all daemons at once or for one.

A shim that every Python process of the plant loads stands between `time.time` and the clock. (libfaketime is not used:
with it a sleep that counts on the monotonic clock fails when the wall clock jumps, which no kernel does.) The monotonic
clocks stay as they are, as they do when somebody sets the time. Finished runs are kept for ever here, because how long
they stay is counted on the wall clock by nature.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from campaign import Campaign
from plant import Daemon, Plant

JUMPS = (1, 5, 60, 3600, 86400, 40 * 86400, 3650 * 86400)
SHIM = """
import os, time

_time, _time_ns, _file = time.time, time.time_ns, os.environ["CHAOS_CLOCK"]


def _ahead():
    with open(_file, encoding="ascii") as file:
        return int(file.read())


time.time = lambda: _time() + _ahead()
time.time_ns = lambda: _time_ns() + _ahead() * 1_000_000_000
"""


class Timed(Plant):
    """Every daemon reads its clock through a file of its own, and all that it starts with it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._shim = folder / "shim"
        self._shim.mkdir()
        (self._shim / "sitecustomize.py").write_text(SHIM)
        self.clocks = {name: folder / f"clock-{name}" for name in ("router", "pipeliner", "broker1", "broker2")}
        self.jump(0)
        for name in self.clocks:
            self.add(self._daemon(name))

    def _daemon(self, name: str) -> Daemon:
        path = os.pathsep.join(filter(None, [str(self._shim), os.environ.get("PYTHONPATH")]))
        environment = {"PYTHONPATH": path, "CHAOS_CLOCK": str(self.clocks[name])}
        if name.startswith("broker"):
            return self.broker(name, environment=environment)
        return Daemon(name, ("--keep", "0") if name == "router" else (), environment=environment)

    def jump(self, seconds: int, *names: str) -> None:
        """Put in place as a whole: a clock is read at any moment."""
        for name in names or self.clocks:
            new = self.clocks[name].with_suffix(".new")
            new.write_text(f"{seconds}")
            os.replace(new, self.clocks[name])


@contextmanager
def timed(folder: Path) -> Iterator[Plant]:
    with Timed(folder) as plant:
        yield plant


def jump(plant: Plant, random: random.Random) -> None:
    """Once in a while the Router starts anew, on the other side of the jump."""
    assert isinstance(plant, Timed)
    seconds = random.choice(JUMPS) * random.choice((1, -1))
    plant.jump(seconds, *([random.choice(sorted(plant.clocks))] if random.random() < 0.5 else ()))
    if random.random() < 0.1:
        plant.kill("router")
        plant.start("router")


CAMPAIGNS = (Campaign("clock jumps", jump, site=timed),)
