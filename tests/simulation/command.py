"""The command line of the simulator: `python -m tests.simulation`.

--seeds 1000 --first 1     live through so many scenarios; the last line says `seeds N, violations M`
--seed 17                  one of them, with the smallest history that shows what is broken
--seed 17 --replay         one of them, with everything that happens
--coverage                 what has happened in those scenarios, counted
--mutants                  remove one guard after the other, and see that each loss is noticed
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from . import caught
from .coverage import table
from .drawing import draw
from .mutants import MUTANTS
from .sweeping import Sweep
from .violation import Violation
from .world import World

SHOWN = 240
"""Characters of a line of history."""


def main() -> None:
    if os.environ.get("PYTHONHASHSEED") != "0":  # sets of texts have the same order in every process then
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    options = _parser().parse_args()
    if options.mutants:
        chosen = [one for one in MUTANTS if options.only is None or options.only in one.name]
        if options.known:
            sys.exit(caught.recheck(chosen, options.jobs))
        sys.exit(caught.measure(chosen, options.first, options.seeds, options.jobs, options.write))
    if options.seed is not None and options.replay:
        sys.exit(replay(options.seed))
    first, seeds = (options.first, options.seeds) if options.seed is None else (options.seed, 1)
    sweep = Sweep(first, seeds, options.jobs, options.seconds)
    broken = sweep.run(options.shrink)
    if options.coverage:
        print(table(sweep.seen, sweep.done))
    print(f"{sweep.done / sweep.passed:.0f} seeds/s, {first} to {first + sweep.done - 1}")
    if options.append is not None:
        sweep.append_to(options.append)
    print(f"seeds {sweep.done}, violations {broken}")
    sys.exit(1 if broken else 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="processes; 0: one per core")
    parser.add_argument("--seconds", type=float, help="begin nothing after this time")
    parser.add_argument("--append", type=Path, help="add a line with the result to this file")
    parser.add_argument("--shrink", type=float, default=20.0, help="seconds for making a failing scenario smaller")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--replay", action="store_true")
    parser.add_argument("--coverage", action="store_true")
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--only", help="of the mutants, those whose name contains this")
    parser.add_argument("--known", action="store_true", help="begin with the seed that is known to catch each")
    parser.add_argument("--write", action="store_true", help="keep the seeds that catch mutants, and the table in docs")
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
