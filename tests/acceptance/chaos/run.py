"""The chaos campaigns: `python tests/acceptance/chaos/run.py [--blows N] [--first K] [--only WORDS]`.

Each prints `survived N/N`, what was checked, and the time to recover; and leaves a line in the file of results, from
which `docs/guarantees.md` is made. The exit code is 1 when anything was not survived.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import clocks
import crowds
import damage
import disks
import figures
import kills
import overload
import wires
from campaign import RESULTS, Report

CAMPAIGNS = (*kills.CAMPAIGNS, *wires.CAMPAIGNS, *disks.CAMPAIGNS, *clocks.CAMPAIGNS, *crowds.CAMPAIGNS)
FEW = 20
"""How often what takes long, or is a figure rather than a blow, is done at most."""
TRIALS: dict[str, Callable[[Path, int, int], Report]] = {
    **{one.name: one.run for one in CAMPAIGNS},
    "journal damaged": damage.damaged,
    "router restart": lambda folder, first, count: figures.restart(folder, first, min(count, FEW)),
    "broker dead for good": lambda folder, first, count: figures.elsewhere(folder, first, min(count, FEW)),
    "overload": lambda folder, first, count: overload.overload(folder),
}
MISSING = {one.name: one.missing for one in CAMPAIGNS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blows", type=int, default=200, help="how often each of them strikes")
    parser.add_argument("--first", type=int, default=1, help="the number of the first blow: it is the seed")
    parser.add_argument("--only", default="", help="only campaigns with this in their name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that a line is appended to")
    parser.add_argument("--keep", type=Path, help="keep journals and logs in this folder")
    given = parser.parse_args()
    chosen = [name for name in TRIALS if given.only in name]
    if not chosen:
        parser.error(f"nothing has {given.only!r} in its name: {', '.join(TRIALS)}")
    reports: list[Report] = []
    for name in chosen:
        if name in MISSING and (why := MISSING[name]()):
            print(f"{name}: not done, because {why}")
            continue
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            place = (given.keep or Path(folder)) / name.replace(" ", "-")
            reports.append(TRIALS[name](place, given.first, given.blows))
        reports[-1].append(given.results)
        print(reports[-1], flush=True)
    return 0 if all(report.ok for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
