"""A list of many items: how long a run of so many branches takes, and what a branch costs each process.

    python bench/branches.py --branches 100000

The list is made by one job, every item of it is a branch, and one job gathers them all. Every process is measured while
the run goes on; a figure is its largest size less its size before, for each branch.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import psutil
from cluster import cluster, name_of

from headrace import Gather, Job, Pipeline, PipelineManager


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--branches", type=int, default=100_000)
    count = parser.parse_args().branches
    many = Job("numbers", {"count": count}, spread=True)
    each = Job("same", bind="item")
    wide = Pipeline({many: each, each: Job("total", gather=Gather())})
    with (
        cluster(workers="soak_workers") as running,
        PipelineManager(running.api, running.broadcast, timeout=600) as manager,
    ):
        processes = running.processes()
        before = {process.pid: process.memory_info().rss for process in processes}
        largest: dict[int, int] = defaultdict(int)
        began = time.perf_counter()
        manager.start(wide)
        while not wide.finished:
            manager.update(0.2)
            for process in processes:
                largest[process.pid] = max(largest[process.pid], _size(process))
        seconds = time.perf_counter() - began
        if wide.failed:
            raise SystemExit(f"the run failed: {wide.error}")
        print(f"{count:,} branches in {seconds:.1f} s: {count / seconds:,.0f} a second")
        for process in processes:
            grown = largest[process.pid] - before[process.pid]
            print(f"  {name_of(process):10} {grown / count:8,.0f} bytes a branch, {grown / 1e6:8,.1f} MB in all")
        began = time.perf_counter()
        total = manager.results(wide)["total"]
        assert total == sum(range(count)), total
        print(f"results read in {time.perf_counter() - began:.2f} s")


def _size(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
