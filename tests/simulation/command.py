"""The command line of the simulator."""

from __future__ import annotations

import argparse
import os
import sys
import time

from .drawing import draw
from .history import Violation
from .world import World


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of texts have to have the same order in every process
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--replay", action="store_true")
    options = parser.parse_args()
    if options.seed is not None:
        sys.exit(replay(options.seed, options.replay))
    sys.exit(sweep(options.first, options.seeds, options.seconds))


def replay(seed: int, tells: bool) -> int:
    scenario = draw(seed)
    world = World(scenario, tracing=tells)
    try:
        world.run()
        broken = None
    except Violation as violation:
        broken = violation
    if tells:
        print(*scenario.story(), *world.lines, sep="\n")
    print(f"seed {seed}: {broken or 'all promises kept'}; {world.timeline.count} events, t={world.timeline.now:.1f}")
    return 1 if broken else 0


def sweep(first: int, seeds: int, seconds: float | None) -> int:
    began, done, violations = time.monotonic(), 0, 0
    seen: dict[str, list[int]] = {}
    for seed in range(first, first + seeds):
        if seconds is not None and time.monotonic() - began > seconds:
            break
        world = World(draw(seed))
        try:
            world.run()
        except Violation as violation:
            violations += 1
            told = str(violation)
            seen.setdefault(violation.promise, []).append(seed)
            if len(seen[violation.promise]) <= 2:
                print(f"seed {seed}: {told if len(told) < 1500 else told[:300] + '...' + told[-1200:]}", flush=True)
        done += 1
    for promise, found in seen.items():
        print(f"{promise}: {found[:20]}")
    print(f"{done / (time.monotonic() - began):.1f} seeds/s")
    print(f"seeds {done}, violations {violations}")
    return 1 if violations else 0
