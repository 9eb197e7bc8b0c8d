"""A campaign: blow after blow at seeded random instants, on a plant under load, and what was left of it.

A blow is survived when everything that was open at that moment has ended within the campaign's bound, and when at the
end of all the proof finds nothing wrong. One plant bears a whole slice of blows, so that two hundred take minutes.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load import SHAPES, Load, Order
from plant import Plant, until
from proof import executions, prove

RESULTS = Path(__file__).parents[3] / "bench" / "results" / "chaos.jsonl"
CHECKED = "0 lost, 0 committed twice, 0 started too early, 0 unsaved, 0 orphans, 0 stuck"
DRAIN = 120.0
OVERLAP = 10.0
"""Seconds for which blows fall on what has not recovered from others: beyond that the next one waits."""
ORPHANS = 60.0
"""Seconds that processes of a struck daemon may take to be gone."""


@dataclass(frozen=True)
class Report:
    """What one slice of a campaign has come to."""

    name: str
    first: int
    blows: int
    survived: int
    problems: tuple[str, ...] = ()
    times: tuple[float, ...] = ()
    """Seconds to recover, of each blow that was survived."""
    checked: str = CHECKED
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.survived == self.blows and not self.problems

    def __str__(self) -> str:
        p50, p99 = quantiles(self.times)
        more = "".join(f", {name} {value}" for name, value in self.figures.items())
        head = f"{self.name}: survived {self.survived}/{self.blows} ({self.checked})"
        recovery = f"; recovered after p50 {p50:.2f} s, p99 {p99:.2f} s" if self.times else ""
        return "\n".join([f"{head}{recovery}{more}", *(f"  {problem}" for problem in self.problems)])

    def append(self, file: Path = RESULTS) -> None:
        """One line for this slice."""
        record = {
            "name": self.name, "first": self.first, "blows": self.blows, "survived": self.survived,
            "times": [round(one, 3) for one in self.times], "figures": dict(self.figures), "checked": self.checked,
            "commit": _commit(), "at": int(time.time()),
        }  # fmt: skip
        file.parent.mkdir(exist_ok=True)
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record) + "\n")


def quantiles(times: tuple[float, ...] | list[float]) -> tuple[float, float]:
    """p50 and p99."""
    ranked = sorted(times) or [0.0]
    return statistics.median(ranked), ranked[min(len(ranked) - 1, int(len(ranked) * 0.99))]


Blow = Callable[[Plant, random.Random], None]
Site = Callable[[Path], AbstractContextManager[Plant]]


def usual(folder: Path) -> Plant:
    plant = Plant(folder)
    plant.staff()
    return plant


@dataclass(frozen=True)
class Campaign:
    """`pause`: seconds between two blows, from and to. `bound`: seconds in which all must have recovered."""

    name: str
    blow: Blow
    pause: tuple[float, float] = (0.3, 1.5)
    bound: float = 60.0
    site: Site = usual
    width: int = 20
    shapes: Any = SHAPES
    client: Callable[[Plant], str | None] = lambda plant: None
    """The address by which the client finds the Router, when it is another one."""
    brings: Callable[[random.Random], Order] | None = None
    """An order that comes with every blow."""
    missing: Callable[[], str] = lambda: ""
    """Why this machine cannot do it, when it cannot."""
    judge: Callable[[Plant], Mapping[str, Any]] = lambda plant: {}
    """Figures of this campaign, taken before the plant stops; what is wrong goes to the plant's problems."""

    def run(self, folder: Path, first: int = 1, count: int = 200) -> Report:
        with self.site(folder) as plant:
            plant.joined(sum(one.startswith("broker") for one in plant.daemons))
            with Load(plant, first, self.width, self.shapes, self.client(plant)) as load:
                until(lambda: load.check() or load.ended >= self.width, "the load is under way")
                for number in range(first, first + count):
                    self._strike(plant, load, random.Random(f"{self.name} {number}"))
                figures = self._settle(plant, load)
            plant.stop()
            return self._report(plant, load, first, count, figures)

    def _strike(self, plant: Plant, load: Load, random: random.Random) -> None:
        try:
            until(lambda: not self._suffers(plant, load), "what was struck before has recovered", self.bound)
        except AssertionError as error:
            plant.problems.append(f"stuck: {error}")
        time.sleep(random.uniform(*self.pause))  # the instant is what is random here
        plant.check_alive()
        if self.brings is not None:
            load.give(self.brings(random))
        load.wound()
        self.blow(plant, random)

    def _settle(self, plant: Plant, load: Load) -> Mapping[str, Any]:
        """No more harm, no more orders: everything ends."""
        load.stop_filling()
        try:
            until(lambda: self._rests(plant, load), "everything that was accepted has ended", DRAIN)
            until(lambda: not plant.orphans(), "nothing is left of what was struck", ORPHANS)
        except AssertionError as error:
            plant.problems.append(f"{error}: runs {[order.run for order in load.open][:5]}, pids {plant.orphans()}")
        plant.check_alive()
        return self.judge(plant)

    def _suffers(self, plant: Plant, load: Load) -> bool:
        load.check()
        plant.check_alive()
        return load.bleeds(OVERLAP)

    def _rests(self, plant: Plant, load: Load) -> bool:
        load.check()
        plant.check_alive()
        return not load.open

    def _report(self, plant: Plant, load: Load, first: int, count: int, figures: Mapping[str, Any]) -> Report:
        problems = [*plant.problems, *prove(plant.data, plant.marks, load.orders)]
        stuck = [wound for wound in load.wounds if wound.healed is None or wound.took > self.bound]
        problems += [f"stuck: after {wound.took:.1f} s not everything had ended" for wound in stuck]
        if left := plant.gone(ORPHANS):
            problems.append(f"orphans: {left} are left of a plant that has stopped")
        jobs, again = executions(plant.marks)
        figures = {"runs": len(load.orders), "jobs": jobs, "executed again": again, **figures}
        times = tuple(wound.took for wound in load.wounds if wound not in stuck)
        return Report(self.name, first, count, max(0, count - len(problems)), tuple(problems), times, figures=figures)


def _commit() -> str:
    """The short name of the revision, or nothing outside of a checkout."""
    line = ["git", "-C", str(RESULTS.parents[2]), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
