"""The figures of this machine: throughput, latency, idle cost, beside a bare process pool as a measure of its mood.

Everything runs durable (accepted and ended means fsynced), with real daemons and two worker processes. Shared machines
are noisy: compare ratios within one run, take the median of several (`--repeat`), and look at the CPU time per job of
all processes together, which a neighbour disturbs less than the clock. `compare.py` does so for two revisions.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

from cluster import Cluster, cluster

from headrace import Job, Pipeline, PipelineManager

Figures = dict[str, float]


def fan_out(manager: PipelineManager, jobs: int = 10_000) -> float:
    """Jobs a second for one root, many jobs without work, and one join."""
    pipeline = fan_out_of(jobs)
    began = time.perf_counter()
    _finish(manager, pipeline)
    return jobs / (time.perf_counter() - began)


def fan_out_of(jobs: int) -> Pipeline:
    middle = [Job("nothing", name=f"n{index}") for index in range(jobs)]
    root, join = Job("nothing", name="root"), Job("nothing", name="join")
    return Pipeline({root: middle, tuple(middle): join})


def chain_of(length: int) -> Pipeline:
    jobs = [Job("nothing", name=f"n{index}") for index in range(length)]
    return Pipeline(dict(itertools.pairwise(jobs)) or {jobs[0]: None})


def many_chains(manager: PipelineManager, chains: int = 3000) -> float:
    """Jobs a second for many chains of three, given to `start_many` at once."""
    pipelines = [chain_of(3) for _ in range(chains)]
    began = time.perf_counter()
    manager.start_many(pipelines)
    _update_until(manager, lambda: all(pipeline.finished for pipeline in pipelines))
    _check(pipelines)
    return 3 * chains / (time.perf_counter() - began)


def starts(manager: PipelineManager, count: int = 1000) -> float:
    """Blocking, durable starts a second, one after the other."""
    pipelines = [chain_of(1) for _ in range(count)]
    began = time.perf_counter()
    for pipeline in pipelines:
        manager.start(pipeline)
    rate = count / (time.perf_counter() - began)
    _update_until(manager, lambda: all(pipeline.finished for pipeline in pipelines))
    return rate


def hop(manager: PipelineManager, length: int = 1000) -> float:
    """Milliseconds from one job to the next in a long chain."""
    pipeline = chain_of(length)
    began = time.perf_counter()
    _finish(manager, pipeline)
    return (time.perf_counter() - began) / length * 1000


def latency(manager: PipelineManager, count: int = 100) -> float:
    """Median milliseconds of a chain of three on an idle cluster, from `start` to seen finished."""
    took = []
    for _ in range(count):
        pipeline = chain_of(3)
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


@dataclass(frozen=True)
class Figure:
    """`jobs`: how many it runs, for the CPU time of each. `rate`: more is better; otherwise less is."""

    name: str
    measure: Callable[[PipelineManager], float]
    wanted: float
    jobs: int
    rate: bool = True


SPINE = {
    "fan-out": Figure("fan-out of 10,000 (jobs/s)", fan_out, 18_000.0, 10_002),
    "chains": Figure("3,000 chains of three (jobs/s)", many_chains, 17_000.0, 9_000),
    "starts": Figure("blocking starts (1/s)", starts, 2_000.0, 1_000),
    "hop": Figure("hop in a chain of 1,000 (ms)", hop, 1.5, 1_000, rate=False),
    "latency": Figure("chain of three, idle, p50 (ms)", latency, 5.0, 300, rate=False),
    "megabytes": Figure("500 jobs handing on 1 MB (MB/s)", megabytes, 150.0, 500),
}
POOL = "ProcessPoolExecutor (jobs/s)"
IDLE = {"idle (% of a core)": 1.0, "idle memory (MB)": 200.0}


def measure_once(running: Cluster, chosen: Iterable[str]) -> tuple[Figures, Figures]:
    """The figures, and the microseconds of CPU per job, over all processes of the cluster and the client."""
    figures, cpu = {POOL: bare_pool()}, {}
    with PipelineManager(api=running.api, broadcast=running.broadcast, timeout=60) as manager:
        for figure in [SPINE[key] for key in chosen]:
            before = running.cpu_seconds() + time.process_time()
            figures[figure.name] = figure.measure(manager)
            spent = running.cpu_seconds() + time.process_time() - before
            cpu[figure.name] = spent / figure.jobs * 1e6
    return figures, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3, help="take the median of so many rounds")
    parser.add_argument("--only", nargs="+", choices=SPINE, help="these figures, without the idle cost")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    idling: Figures = {}
    with cluster() as running:
        if not arguments.only:
            idling = dict(zip(IDLE, idle(running), strict=True))
        rounds = [measure_once(running, arguments.only or SPINE) for _ in range(arguments.repeat)]
    figures, cpu = (
        {name: statistics.median(one[part][name] for one in rounds) for name in rounds[0][part]} for part in (0, 1)
    )
    figures |= idling
    if arguments.json:
        alone = [one for one, _ in rounds]
        print(json.dumps({"version": 2, "kind": "figures", "median": figures, "rounds": alone, "cpu": cpu}))
        return
    wanted = {figure.name: figure.wanted for figure in SPINE.values()} | IDLE
    print(f"{'':36} {'median':>10} {'wanted':>10} {'CPU µs/job':>11}")
    for name, value in figures.items():
        spent = f"{cpu[name]:11,.0f}" if name in cpu else ""
        print(f"{name:36} {value:10,.1f} {wanted.get(name, ''):>10} {spent}")


if __name__ == "__main__":
    main()
