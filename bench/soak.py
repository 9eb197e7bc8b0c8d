"""A soak: the cluster under 70 % of what it can do, for an hour, and whether anything grows.

    python bench/soak.py --seconds 3600

First the peak is measured: runs of the mixture that are carried out in a second, when there is always more to do. Then
0.7 of that is offered, evenly. Every daemon's resident size is sampled; after a warm-up a straight line is laid through
each, and its slope is printed in MB an hour, with the standard error that the samples leave. Finished runs are pruned
as they would be in the long run, so that the journal reaches its size too. The result is one line of a file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import psutil
from cluster import Cluster, cluster, name_of

from headrace import Gather, Job, Pipeline, PipelineManager

RESULTS = Path(__file__).parent / "results" / "soak.jsonl"
LOAD = 0.7
SAMPLE = 5.0
TICK = 0.1
WIDTH = 300
"""Runs that are open at a time, at most."""
KEEP = 60.0
PRUNE = 20.0
"""Seconds that finished runs stay readable here, and between two times of pruning."""
WARM = 0.25
"""The part of the time that is not counted: caches fill, free lists grow."""
WANTED = 1.0
MEGABYTE = 1 << 20


def mixed(random: random.Random) -> Pipeline:
    """A chain, a fan with a join, or a spread with a gather."""
    match random.randrange(3):
        case 0:
            jobs = [Job("nothing", name=f"n{index}") for index in range(4)]
            return Pipeline(dict(pairwise(jobs)))
        case 1:
            middle = [Job("nothing", name=f"n{index}") for index in range(8)]
            return Pipeline({Job("nothing", name="first"): middle, tuple(middle): Job("nothing", name="last")})
        case _:
            many, each = Job("numbers", {"count": 6}, spread=True), Job("same", bind="item")
            return Pipeline({many: each, each: Job("total", gather=Gather())})


@dataclass
class Series:
    """What one process has been like."""

    name: str
    times: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)

    def slope(self, since: float) -> tuple[float, float]:
        """(MB an hour, its standard error) of the line with the least squares, over the samples since then."""
        pairs = [(time / 3600, size) for time, size in zip(self.times, self.sizes, strict=True) if time >= since]
        if len(pairs) < 3:
            return math.nan, math.nan
        hours, sizes = [one for one, _ in pairs], [one for _, one in pairs]
        line = statistics.linear_regression(hours, sizes)
        rest = [size - line.intercept - line.slope * hour for hour, size in pairs]
        spread = sum((hour - statistics.mean(hours)) ** 2 for hour in hours)
        return line.slope, math.sqrt(sum(one * one for one in rest) / (len(rest) - 2) / spread)


class Soak:
    def __init__(self, running: Cluster, manager: PipelineManager, seed: int) -> None:
        self.manager = manager
        self.running = running
        self.random = random.Random(seed)
        self.open: deque[Pipeline] = deque()
        self.started = 0
        self.failed = 0
        self.series: dict[int, Series] = {}

    def start(self, count: int) -> None:
        made = [mixed(self.random) for _ in range(count)]
        self.manager.start_many(made)
        self.open.extend(made)
        self.started += count

    def look(self, seconds: float) -> None:
        self.manager.update(seconds)
        done = [pipeline for pipeline in self.open if pipeline.finished]
        self.failed += sum(bool(pipeline.failed) for pipeline in done)
        if done:
            self.open = deque(pipeline for pipeline in self.open if not pipeline.finished)
            self.manager.forget()

    def peak(self, seconds: float) -> float:
        """Runs a second when there is always more to do."""
        began, ended = time.monotonic(), self.started
        while (now := time.monotonic()) < began + seconds:
            self.start(max(0, WIDTH - len(self.open)))
            self.look(0.05)
        rate = (self.started - ended - len(self.open)) / (now - began)
        while self.open:
            self.look(1.0)
        return rate

    def soak(self, rate: float, seconds: float) -> None:
        """So many runs a second, evenly. Behind a cluster that falls behind they do not pile up: that is no leak."""
        began = time.monotonic()
        next_sample, next_prune, owed, last = began, began + PRUNE, 0.0, began
        while (now := time.monotonic()) < began + seconds:
            owed, last = min(owed + rate * (now - last), rate), now
            if count := min(int(owed), WIDTH - len(self.open)):
                self.start(count)
                owed -= count
            self.look(TICK)
            if now >= next_prune:
                next_prune += PRUNE
                self.manager.prune(older=KEEP)
            if now >= next_sample:
                next_sample += SAMPLE
                self.sample(now - began)
        while self.open:
            self.look(1.0)

    def sample(self, at: float) -> None:
        for process in self.running.processes():
            try:
                series = self.series.setdefault(process.pid, Series(name_of(process)))
                series.times.append(at)
                series.sizes.append(process.memory_info().rss / MEGABYTE)
            except psutil.Error:
                continue  # it ended while we looked


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--peak", type=float, default=30.0, help="seconds in which the peak is measured")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    with (
        cluster(workers="soak_workers") as running,
        PipelineManager(running.api, running.broadcast, timeout=120) as manager,
    ):
        soak = Soak(running, manager, given.seed)
        peak = soak.peak(given.peak)
        print(f"peak: {peak:,.0f} runs a second; {LOAD:.0%} of it for {given.seconds:,.0f} s", flush=True)
        before = soak.started
        soak.soak(LOAD * peak, given.seconds)
        journal = (running.data / "journal.db").stat().st_size / MEGABYTE
        record = _record(soak, given.seconds, peak, soak.started - before, journal)
    given.results.parent.mkdir(exist_ok=True)
    with given.results.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(record) + "\n")


def _record(soak: Soak, seconds: float, peak: float, runs: int, journal: float) -> dict[str, object]:
    slopes = {}
    for pid, series in soak.series.items():
        slope, error = series.slope(WARM * seconds)
        each = max(1, len(series.sizes) // 20)
        slopes[f"{series.name} {pid}"] = {
            "slope": round(slope, 2), "error": round(error, 2), "sizes": [round(one, 1) for one in series.sizes[::each]]
        }  # fmt: skip
        verdict = "" if slope - 2 * error <= WANTED else f"  more than {WANTED:g}"
        print(f"{series.name:10} {series.sizes[-1]:8.1f} MB, {slope:+7.2f} ± {error:.2f} MB/h{verdict}")
    done = (
        f"{runs:,} runs, {soak.failed} failed; journal {journal:.1f} MB; load of the machine {os.getloadavg()[0]:.1f}"
    )
    print(done)
    return {
        "seconds": seconds, "peak": round(peak), "runs": runs, "failed": soak.failed, "journal": round(journal, 1),
        "slopes": slopes, "commit": _commit(), "at": int(time.time()),
    }  # fmt: skip


def _commit() -> str:
    line = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    main()
