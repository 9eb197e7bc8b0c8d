"""Kill and freeze: SIGKILL, and SIGSTOP until SIGCONT, of every kind of process at any instant.

What was killed is started again at once, as a supervisor does it. What was frozen wakes up after a moment, or after
longer than a lease: then its work is somebody else's, and it must find out.
"""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

from campaign import Blow, Campaign
from plant import Plant, send

SHORT, LONG = (0.1, 2.0), (7.0, 11.0)
"""Seconds of a freeze: most are short, some outlast a lease."""
OFTEN_SHORT = 0.85
Find = Callable[[Plant, random.Random], int | None]


def some_broker(plant: Plant, random: random.Random) -> str:
    return random.choice([name for name in plant.processes if name.startswith("broker")])


def kill(name: str) -> Blow:
    def blow(plant: Plant, random: random.Random) -> None:
        victim = some_broker(plant, random) if name == "broker" else name
        plant.kill(victim)
        plant.start(victim)

    return blow


def kill_process(find: Find) -> Blow:
    """One that its Broker has to replace."""

    def blow(plant: Plant, random: random.Random) -> None:
        if (pid := find(plant, random)) is not None:
            send(pid, signal.SIGKILL)

    return blow


def kill_everything(plant: Plant, random: random.Random) -> None:
    """As when the machine goes down, but for its disk."""
    for name in list(plant.processes):
        plant.kill(name)
    for name in plant.daemons:
        plant.start(name)


def freeze(find: Find) -> Blow:
    def blow(plant: Plant, random: random.Random) -> None:
        pid = find(plant, random)
        seconds = random.uniform(*(SHORT if random.random() < OFTEN_SHORT else LONG))
        if pid is not None:
            with plant.frozen(pid):
                time.sleep(seconds)

    return blow


def daemon(name: str) -> Find:
    return lambda plant, random: plant.pid(some_broker(plant, random) if name == "broker" else name)


def worker(plant: Plant, random: random.Random) -> int | None:
    found = plant.workers(some_broker(plant, random))
    return random.choice(found) if found else None


def warden(plant: Plant, random: random.Random) -> int | None:
    return plant.warden(some_broker(plant, random))


CAMPAIGNS = (
    Campaign("router killed", kill("router"), pause=(0.3, 4.0)),
    Campaign("pipeliner killed", kill("pipeliner")),
    Campaign("broker killed", kill("broker"), pause=(0.5, 2.5)),
    Campaign("worker killed", kill_process(worker)),
    Campaign("warden killed", kill_process(warden), pause=(0.5, 2.5)),
    Campaign("everything killed", kill_everything, pause=(2.0, 14.0)),
    Campaign("router frozen", freeze(daemon("router"))),
    Campaign("pipeliner frozen", freeze(daemon("pipeliner"))),
    Campaign("broker frozen", freeze(daemon("broker"))),
    Campaign("worker frozen", freeze(worker)),
)
