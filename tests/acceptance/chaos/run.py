"""The chaos campaigns: `python tests/acceptance/chaos/run.py [--blows N] [--first K] [--only WORDS]`.

Each prints `survived N/N`, what was checked, and the time to recover; and leaves a line in the file of results, from
which `docs/guarantees.md` is made. The exit code is 1 when anything was not survived.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import clocks
import disks
import kills
import wires
from campaign import RESULTS, Report

CAMPAIGNS = (*kills.CAMPAIGNS, *wires.CAMPAIGNS, *disks.CAMPAIGNS, *clocks.CAMPAIGNS)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blows", type=int, default=200, help="how often each of them strikes")
    parser.add_argument("--first", type=int, default=1, help="the number of the first blow: it is the seed")
    parser.add_argument("--only", default="", help="only campaigns with this in their name")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file that a line is appended to")
    parser.add_argument("--keep", type=Path, help="keep journals and logs in this folder")
    given = parser.parse_args()
    chosen = [one for one in CAMPAIGNS if given.only in one.name]
    if not chosen:
        parser.error(f"no campaign has {given.only!r} in its name: {', '.join(one.name for one in CAMPAIGNS)}")
    reports: list[Report] = []
    for campaign in chosen:
        if why := campaign.missing():
            print(f"{campaign.name}: not done, because {why}")
            continue
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            place = (given.keep or Path(folder)) / campaign.name.replace(" ", "-")
            reports.append(campaign.run(place, given.first, given.blows))
        reports[-1].append(given.results)
        print(reports[-1], flush=True)
    return 0 if all(report.ok for report in reports) else 1


if __name__ == "__main__":
    sys.exit(main())
