"""Two revisions side by side: their figures in turns, on one machine, in one run.

    python bench/compare.py REV [REV]

The second one is the checkout as it stands, unless it is named. A shared machine changes its mood by the minute, so
nothing counts but the ratios of neighbouring rounds: each round starts a fresh cluster of either revision (they take
turns at going first), and what is printed is the median of the rounds' ratios. A ratio above 1 means that the second
one is better: more per second, fewer milliseconds, less CPU time per job.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from figures import SPINE

HERE = Path(__file__).parent
CHECKOUT = HERE.parent
PARTS = ("pipeline", "daemons", "stores", "workers")
AS_IT_STANDS = "."


def installed(revision: str, folder: Path) -> Path:
    """The packages of a revision as they stand when they are installed; what to put on the path."""
    if revision == AS_IT_STANDS:
        for part in ("headrace", *PARTS):
            shutil.copytree(CHECKOUT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        command = ["git", "-C", str(CHECKOUT), "archive", revision, "headrace", *PARTS]
        packed = subprocess.run(command, check=True, stdout=subprocess.PIPE)
        subprocess.run(["tar", "-x", "-C", str(folder)], check=True, input=packed.stdout)
    for part in PARTS:
        (folder / part).rename(folder / "headrace" / part)
    return folder


def measured(path: Path, only: list[str]) -> dict[str, Any]:
    """One round of the figures with the packages of this path."""
    command = [sys.executable, str(HERE / "figures.py"), "--json", "--repeat", "1", "--only", *only]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(path)})
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after", nargs="?", default=AS_IT_STANDS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=SPINE, default=list(SPINE))
    arguments = parser.parse_args()
    rounds: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory(prefix="headrace-compare-") as folder:
        sides = {}
        for side, revision in (("before", arguments.before), ("after", arguments.after)):
            (Path(folder) / side).mkdir()
            sides[side] = installed(revision, Path(folder) / side)
        for number in range(arguments.rounds):
            order = list(sides) if number % 2 == 0 else list(reversed(sides))
            rounds.append({side: measured(sides[side], arguments.only) for side in order})
    show(arguments.only, rounds)


def show(only: list[str], rounds: list[dict[str, dict[str, Any]]]) -> None:
    print(f"{'':36} {'before':>10} {'after':>10} {'ratio':>7} {'(range)':>13} {'CPU µs/job':>15} {'ratio':>7}")
    for figure in [SPINE[key] for key in only]:
        values = [_pair(one, "median", figure.name) for one in rounds]
        spent = [_pair(one, "cpu", figure.name) for one in rounds]
        ratios = sorted(after / before if figure.rate else before / after for before, after in values)
        before, after = (statistics.median(side) for side in zip(*values, strict=True))
        cpu_before, cpu_after = (statistics.median(side) for side in zip(*spent, strict=True))
        saved = statistics.median(one / other for one, other in spent)
        spread = f"({ratios[0]:.2f}-{ratios[-1]:.2f})"
        print(
            f"{figure.name:36} {before:10,.1f} {after:10,.1f} {statistics.median(ratios):7.2f} {spread:>13} "
            f"{cpu_before:6,.0f} -> {cpu_after:5,.0f} {saved:7.2f}"
        )


def _pair(one: dict[str, dict[str, Any]], part: str, name: str) -> tuple[float, float]:
    return one["before"][part][name], one["after"][part][name]


if __name__ == "__main__":
    main()
