"""The command line of the simulator: `python -m tests.simulation`.

--seeds 1000 --first 1     live through so many scenarios; the last line says `seeds N, violations M`
--seed 17                  one of them, with the smallest history that shows what is broken
--seed 17 --replay         one of them, with everything that happens
--mutants                  remove one guard after the other, and see that each loss is noticed
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from . import mutants
from .drawing import draw
from .history import Violation
from .shrinking import shrink
from .world import World

SHOWN = 240
"""Characters of a line of history."""


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of texts have the same order in every process then
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    options = _parser().parse_args()
    if options.mutants:
        sys.exit(mutants.main(options.only, options.first, options.seeds, options.seconds))
    if options.seed is not None and options.replay:
        sys.exit(replay(options.seed))
    if options.seed is not None:
        sys.exit(sweep(options.seed, 1, None, options.shrink))
    sys.exit(sweep(options.first, options.seeds, options.seconds, options.shrink, options.append))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seconds", type=float, help="stop after this time")
    parser.add_argument("--append", type=Path, help="add a line with the result to this file")
    parser.add_argument("--shrink", type=float, default=20.0, help="seconds for making a failing scenario smaller")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--only", help="of the mutants, those whose name contains this")
    return parser


def replay(seed: int) -> int:
    """Tell everything that happens."""
    scenario = draw(seed)
    world = World(scenario, tracing=True)
    broken: Violation | None = None
    try:
        world.run()
    except Violation as violation:
        broken = violation
    print(*scenario.story(), *(line[:SHOWN] for line in world.lines), sep="\n")
    print(f"seed {seed}: {broken or 'all promises kept'} (t={world.timeline.now:.1f})")
    return 1 if broken else 0


def sweep(first: int, seeds: int, seconds: float | None, patience: float, append: Path | None = None) -> int:
    """Live through scenarios; the first violation is shrunk and told in full, the others by a line."""
    began, done, broken = time.monotonic(), 0, 0
    for seed in range(first, first + seeds):
        if seconds is not None and time.monotonic() - began > seconds:
            break
        scenario = draw(seed)
        try:
            World(scenario).run()
        except Violation as violation:
            broken += 1
            if broken == 1 and patience:
                small, world, found = shrink(scenario, violation, patience)
                print(*small.story(), *(line[:SHOWN] for line in world.lines), found, sep="\n")
            print(f"seed {seed}: {str(violation)[:600]}")
            print(f"replay: python -m tests.simulation --seed {seed} --replay", flush=True)
        done += 1
    passed = time.monotonic() - began
    print(f"{done / passed:.0f} seeds/s, {first} to {first + done - 1}")
    line = f"seeds {done}, violations {broken}"
    print(line)
    if append is not None:
        with append.open("a") as file:
            file.write(f"first {first}, {line}, {passed:.0f} s\n")
    return 1 if broken else 0
