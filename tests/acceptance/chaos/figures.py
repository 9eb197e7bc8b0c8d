"""Two figures that are promised: how soon a Router serves again, and how soon a dead Broker's jobs run elsewhere."""

from __future__ import annotations

import random
import time
from pathlib import Path
from typing import Any

import psutil
from campaign import Report
from plant import Daemon, Plant, until

from headrace import Job, Pipeline

SERVING = 2.0
"""Seconds after its start, with a hundred thousand open jobs, in which a Router has to answer."""
ELSEWHERE = 10.0
"""Seconds after a Broker's death in which its jobs have to run on another one."""
JOBS_OF_A_RUN = 100
JOBS_AT_ONCE = 4
MEGABYTE = 1 << 20


def restart(folder: Path, first: int = 1, count: int = 20, jobs: int = 100_000) -> Report:
    """Kill the Router with so many open jobs; how long after the next one's start it answers.

    Half of the jobs are those of runs of a hundred, a quarter are runs of one job, a quarter are one run.
    """
    with Plant(folder) as plant:
        plant.add(Daemon("router"))
        plant.add(Daemon("pipeliner"))
        with plant.manager() as manager:
            until(lambda: manager.cluster()["pipeliners"], "the Pipeliner has joined")
            manager.start(_wide(jobs // 4))
            manager.start_many([_wide(JOBS_OF_A_RUN) for _ in range(jobs // 2 // JOBS_OF_A_RUN)])
            manager.start_many([Pipeline({Job("nothing"): None}) for _ in range(jobs // 4)])
            tries = [_serves_again(plant, random.Random(f"restart {first + at}")) for at in range(count)]
            times = tuple(wall for wall, _ in tries)
            until(lambda: manager.cluster()["pipeliners"], "the Pipeliner has joined again")
            figures = {
                "open jobs": jobs,
                "open runs": manager.cluster()["router"]["open_runs"],
                "the Router's size in MB": plant.memory("router") // MEGABYTE,
                "the Router's own time in s": round(max(own for _, own in tries), 2),
            }
    survived = sum(one <= SERVING for one in times)
    late = tuple(f"late: it answered after {one:.2f} s" for one in times if one > SERVING)
    problems = (*plant.problems, *late)
    checked = f"an answer within {SERVING:g} s of the start of the process"
    return Report("router restart", first, count, survived, problems, times, checked, figures)


def _serves_again(plant: Plant, random: random.Random) -> tuple[float, float]:
    """Seconds until it answers and accepts; and how much of a processor it has had until then, which counts where a
    machine has no time for it."""
    time.sleep(random.uniform(0.0, 1.0))  # the instant is what is random here
    plant.kill("router")
    began = time.monotonic()
    plant.start("router")
    with plant.manager() as fresh:  # one that does not wait for a reconnection first
        fresh.cluster()
        accepted = fresh.start(Pipeline({Job("nothing"): None}))
    assert accepted
    used = psutil.Process(plant.pid("router")).cpu_times()
    return time.monotonic() - began, used.user + used.system


def _wide(jobs: int) -> Pipeline:
    return Pipeline({Job("nothing", name="root"): [Job("nothing", name=f"job{index}") for index in range(jobs)]})


def elsewhere(folder: Path, first: int = 1, count: int = 20) -> Report:
    """Kill a Broker and do not start it again; how long until all that it ran runs on another one."""
    times: list[float] = []
    with Plant(folder) as plant:
        plant.add(Daemon("router"))
        plant.add(Daemon("pipeliner"))
        for name in ("broker1", "broker2"):
            plant.add(plant.broker(name, processes=JOBS_AT_ONCE))
        for number in range(first, first + count):
            plant.joined(2)
            times.append(_handed_on(plant, random.Random(f"elsewhere {number}")))
    late = tuple(f"late: it took {one:.2f} s" for one in times if one > ELSEWHERE)
    checked = f"everything that it ran runs elsewhere within {ELSEWHERE:g} s, with the default heartbeats"
    survived = sum(one <= ELSEWHERE for one in times)
    return Report("broker dead for good", first, count, survived, (*plant.problems, *late), tuple(times), checked)


def _handed_on(plant: Plant, random: random.Random) -> float:
    """The other Broker has room for all of it."""
    naps = [Job("nap", {"seconds": 600.0}, name=f"nap{index}") for index in range(JOBS_AT_ONCE)]
    with plant.manager() as manager:
        run = manager.start(Pipeline(dict.fromkeys(naps)))
        until(lambda: len(_running(manager, run)) == JOBS_AT_ONCE, "all of it runs")
        time.sleep(random.uniform(0.0, 2.0))  # the instant is what is random here
        places = _running(manager, run)
        busy = [
            name for name in plant.daemons if f"{plant.pid(name)}" in {one.split("/")[-1] for one in places.values()}
        ]
        victim = random.choice(busy)
        place = f"/{plant.pid(victim)}"
        theirs = {job for job in places if places[job].endswith(place)}
        began = time.monotonic()
        plant.kill(victim)
        until(lambda: _elsewhere(manager, run, theirs, place), "what it ran runs on the other one")
        took = time.monotonic() - began
        manager.cancel(run)
        manager.wait(run, 60)
        until(lambda: len(manager.cluster()["brokers"]) == 1, "the dead one has been forgotten")
    plant.start(victim)
    return took


def _elsewhere(manager: Any, run: str, jobs: set[str], place: str) -> bool:
    places = _running(manager, run)
    return jobs <= places.keys() and not any(places[job].endswith(place) for job in jobs)


def _running(manager: Any, run: str) -> dict[str, str]:
    """Where each running job of a run is: host/pid of its Broker."""
    return {job: place for job, _, _, place, *_ in manager.snapshot(run).told["running"]}
