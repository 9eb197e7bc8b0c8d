"""What open jobs cost: memory of Router and Pipeliner with a large run, and the time a restart takes with it.

The cluster has no Broker, so everything stays open. Figures are the growth of each process over its size when idle.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from cluster import free_port

from headrace import Job, Pipeline, PipelineManager


def started(command: str, api: str, broadcast: str, *more: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "headrace", command, "--api", api, "--broadcast", broadcast, *more]
    return subprocess.Popen(line, env={**os.environ}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def until(fact: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds:g} s: {fact}")
        time.sleep(0.05)


def size(process: subprocess.Popen[bytes]) -> int:
    return int(psutil.Process(process.pid).memory_info().rss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=20_000, help="runs of one job each")
    arguments = parser.parse_args()
    api, broadcast = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="headrace-bench-") as data:
        router = started("router", api, broadcast, "--data", data)
        pipeliner = started("pipeliner", api, broadcast)
        try:
            with PipelineManager(api=api, broadcast=broadcast, timeout=120) as manager:
                until(lambda: manager.cluster()["pipeliners"])
                measure(manager, router, pipeliner, arguments.jobs, arguments.runs)
                router.kill()
                router.wait()
                began = time.perf_counter()
                router = started("router", api, broadcast, "--data", data)
                manager.cluster()
                print(f"Router serves again after a kill with all this open: {time.perf_counter() - began:.2f} s")
        finally:
            for process in (pipeliner, router):
                process.kill()
                process.wait()


def measure(
    manager: PipelineManager, router: subprocess.Popen[bytes], pipeliner: subprocess.Popen[bytes], jobs: int, runs: int
) -> None:
    idle = size(router), size(pipeliner)
    began = time.perf_counter()
    root = Job("nothing", name="root")
    wide = Pipeline({root: [Job("nothing", name=f"job{index}") for index in range(jobs)]})
    made = time.perf_counter() - began
    manager.start(wide)
    until(lambda: manager.cluster()["router"]["queued"] == 1)
    one = size(router), size(pipeliner)
    print(f"one run of {jobs:,} jobs: made in {made:.2f} s, accepted and tracked in "
          f"{time.perf_counter() - began - made:.2f} s")  # fmt: skip
    print(f"  Router {(one[0] - idle[0]) / jobs:,.0f} bytes an open job, Pipeliner {(one[1] - idle[1]) / jobs:,.0f}")
    manager.start_many(Pipeline({Job("nothing"): None}) for _ in range(runs))
    until(lambda: manager.cluster()["router"]["queued"] == runs + 1)
    many = size(router), size(pipeliner)
    print(f"{runs:,} runs of one job")
    print(f"  Router {(many[0] - one[0]) / runs:,.0f} bytes a run, Pipeliner {(many[1] - one[1]) / runs:,.0f}")
    print(f"journal: {Path(manager_folder(router)).stat().st_size / 1e6:,.1f} MB")


def manager_folder(router: subprocess.Popen[bytes]) -> str:
    line = psutil.Process(router.pid).cmdline()
    return str(Path(line[line.index("--data") + 1]) / "journal.db")


if __name__ == "__main__":
    main()
