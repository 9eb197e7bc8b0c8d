"""The figures of this machine: throughput, latency, idle cost, beside a bare process pool as a measure of its mood.

Everything runs durable (accepted and ended means fsynced), with real daemons and two worker processes. Shared machines
are noisy: compare ratios within one run, and take the median of several (`--repeat`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor

from cluster import Cluster, cluster

from headrace import Job, Pipeline, PipelineManager

Figures = dict[str, float]


def fan_out(manager: PipelineManager, jobs: int = 10_000) -> float:
    """Jobs a second for one root, many jobs without work, and one join."""
    middle = [Job("nothing", name=f"n{index}") for index in range(jobs)]
    root, join = Job("nothing", name="root"), Job("nothing", name="join")
    pipeline = Pipeline({root: middle, tuple(middle): join})
    began = time.perf_counter()
    _finish(manager, pipeline)
    return jobs / (time.perf_counter() - began)


def _chain(length: int) -> Pipeline:
    jobs = [Job("nothing", name=f"n{index}") for index in range(length)]
    return Pipeline(dict(itertools.pairwise(jobs)) or {jobs[0]: None})


def many_chains(manager: PipelineManager, chains: int = 3000) -> float:
    """Jobs a second for many chains of three, given to `start_many` at once."""
    pipelines = [_chain(3) for _ in range(chains)]
    began = time.perf_counter()
    manager.start_many(pipelines)
    _update_until(manager, lambda: all(pipeline.finished for pipeline in pipelines))
    _check(pipelines)
    return 3 * chains / (time.perf_counter() - began)


def starts(manager: PipelineManager, count: int = 1000) -> float:
    """Blocking, durable starts a second, one after the other."""
    pipelines = [_chain(1) for _ in range(count)]
    began = time.perf_counter()
    for pipeline in pipelines:
        manager.start(pipeline)
    rate = count / (time.perf_counter() - began)
    _update_until(manager, lambda: all(pipeline.finished for pipeline in pipelines))
    return rate


def hop(manager: PipelineManager, length: int = 1000) -> float:
    """Milliseconds from one job to the next in a long chain."""
    pipeline = _chain(length)
    began = time.perf_counter()
    _finish(manager, pipeline)
    return (time.perf_counter() - began) / length * 1000


def latency(manager: PipelineManager, count: int = 100) -> float:
    """Median milliseconds of a chain of three on an idle cluster, from `start` to seen finished."""
    took = []
    for _ in range(count):
        pipeline = _chain(3)
        began = time.perf_counter()
        _finish(manager, pipeline)
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def megabytes(manager: PipelineManager, jobs: int = 250) -> float:
    """Megabytes a second when every second job of `2 * jobs` hands 1 MB to the next."""
    pairs = [
        (Job("megabyte", name=f"make{index}"), Job("measure", name=f"read{index}", bind="args"))
        for index in range(jobs)
    ]
    pipeline = Pipeline(dict(pairs))
    began = time.perf_counter()
    _finish(manager, pipeline)
    return jobs * 2 / (time.perf_counter() - began)


def idle(running: Cluster, seconds: float = 5.0) -> tuple[float, float]:
    """(percent of one core, megabytes) of the whole cluster with nothing to do."""
    time.sleep(1.0)
    before, began = running.cpu_seconds(), time.perf_counter()
    time.sleep(seconds)
    percent = (running.cpu_seconds() - before) / (time.perf_counter() - began) * 100
    return percent, running.memory() / 1e6


def bare_pool(jobs: int = 10_000) -> float:
    """Jobs a second of ProcessPoolExecutor with two processes: not durable, no pipelines, one machine."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(_nothing, range(100)))
        began = time.perf_counter()
        for future in [pool.submit(_nothing, index) for index in range(jobs)]:
            future.result()
        return jobs / (time.perf_counter() - began)


def _nothing(_: int) -> None:
    return None


def _finish(manager: PipelineManager, pipeline: Pipeline) -> None:
    manager.start(pipeline)
    _update_until(manager, lambda: pipeline.finished)
    _check([pipeline])
    manager.forget(pipeline)


def _update_until(manager: PipelineManager, done: Callable[[], bool], limit: float = 300.0) -> None:
    deadline = time.monotonic() + limit
    while not done():
        if time.monotonic() > deadline:
            raise SystemExit(f"nothing more came within {limit:g} s: {manager!r}")
        manager.update(1.0)


def _check(pipelines: list[Pipeline]) -> None:
    for pipeline in pipelines:
        if pipeline.failed:
            raise SystemExit(f"a benchmark pipeline failed: {pipeline.error}")


WANTED = {
    "fan-out of 10,000 (jobs/s)": 18_000.0,
    "3,000 chains of three (jobs/s)": 17_000.0,
    "blocking starts (1/s)": 2_000.0,
    "hop in a chain of 1,000 (ms)": 1.5,
    "chain of three, idle, p50 (ms)": 5.0,
    "500 jobs handing on 1 MB (MB/s)": 150.0,
    "idle (% of a core)": 1.0,
    "idle memory (MB)": 200.0,
}


def measure_once(running: Cluster) -> Figures:
    with PipelineManager(api=running.api, broadcast=running.broadcast, timeout=60) as manager:
        return {
            "fan-out of 10,000 (jobs/s)": fan_out(manager),
            "3,000 chains of three (jobs/s)": many_chains(manager),
            "blocking starts (1/s)": starts(manager),
            "hop in a chain of 1,000 (ms)": hop(manager),
            "chain of three, idle, p50 (ms)": latency(manager),
            "500 jobs handing on 1 MB (MB/s)": megabytes(manager),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="take the median of so many rounds")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with cluster() as running:
        percent, memory = idle(running)
        rounds: list[Figures] = []
        for _ in range(arguments.repeat):
            rounds.append({"ProcessPoolExecutor (jobs/s)": bare_pool(), **measure_once(running)})
    figures = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    figures |= {"idle (% of a core)": percent, "idle memory (MB)": memory}
    if arguments.json:
        print(json.dumps({"version": 1, "kind": "figures", "median": figures, "rounds": rounds}))
        return
    print(f"{'':36} {'median':>10} {'wanted':>10}")
    for name, value in figures.items():
        print(f"{name:36} {value:10,.1f} {WANTED.get(name, ''):>10}")


if __name__ == "__main__":
    main()
