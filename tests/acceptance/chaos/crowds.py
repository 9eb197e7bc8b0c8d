"""Bad company: poison among good jobs, watchers and clients that never read, storms of cancellations."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import zmq
from campaign import Campaign
from load import poison
from plant import Plant, until

from headrace import Job, Pipeline
from headrace.daemons.protocol import PROTOCOL, Ask, Follow, Inbound, encode

DEAF = 20
"""Peers that never read, at a time."""
QUESTIONS = 60
"""Of each: few enough that answering them is not the load."""
MEGABYTE = 1 << 20
ROUTER_GROWTH = 200 * MEGABYTE
STORM = 60
NAP = 600.0
"""Seconds: none of them ends by itself before it is cancelled."""
ENDED_WITHIN = 100.0


def nothing_more(plant: Plant, random: random.Random) -> None:
    """The order that comes with it is the blow."""


# Deaf ---------------------------------------------------------------------------------------------------------------


class Haunted(Plant):
    """A plant with strangers around it, who ask and listen and never read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.staff()
        self.strangers: list[zmq.Socket[bytes]] = []
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.began_with = 0

    def stranger(self, kind: int, address: str) -> zmq.Socket[bytes]:
        """One more; the oldest leaves when there are too many."""
        socket = self.context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 1)
        socket.setsockopt(zmq.RCVBUF, 4096)
        if kind == zmq.SUB:
            socket.setsockopt(zmq.SUBSCRIBE, b"")
        socket.connect(address)
        self.strangers.append(socket)
        if len(self.strangers) > DEAF:
            self.strangers.pop(0).close()
        return socket


@contextmanager
def haunted(folder: Path) -> Iterator[Plant]:
    plant = Haunted(folder)
    with plant:
        until(lambda: "Entering main loop" in plant.log("router"), "the Router runs")
        plant.began_with = plant.memory("router")
        yield plant
        plant.context.destroy(linger=0)


def come_and_never_read(plant: Plant, random: random.Random) -> None:
    """A watcher of everything, and a client with questions that have long answers."""
    assert isinstance(plant, Haunted)
    plant.stranger(zmq.SUB, plant.broadcast)
    client = plant.stranger(zmq.DEALER, plant.api)
    name = f"{random.getrandbits(128):032x}"
    unknown = [f"{random.getrandbits(128):032x}" for _ in range(200)]
    for number in range(1, QUESTIONS + 1):
        question = random.choice((Ask(f"{number}", "runs"), Ask(f"{number}", "facts"), Follow(f"{number}", unknown)))
        try:
            client.send(encode(Inbound(PROTOCOL, name, "s", number, [question])), zmq.NOBLOCK)
        except zmq.Again:
            break  # it is held back already, as it should be


def bounded(plant: Plant) -> Mapping[str, Any]:
    assert isinstance(plant, Haunted)
    growth = plant.memory("router") - plant.began_with
    if growth > ROUTER_GROWTH:
        plant.problems.append(f"unbounded: the Router has grown by {growth / MEGABYTE:.0f} MB")
    return {"the Router's growth in MB": growth // MEGABYTE}


# Storms -------------------------------------------------------------------------------------------------------------


def storm(plant: Plant, random: random.Random) -> None:
    """Many runs, all cancelled in the midst of it, by two clients, some twice; their processes are gone after that."""
    naps = [Job("nap", {"seconds": NAP}, name=f"nap{index}") for index in range(3)]
    made = [Pipeline({Job("nap_with_child", {"seconds": NAP}): naps}) for _ in range(STORM // 2)]
    made += [Pipeline(dict.fromkeys(naps)) for _ in range(STORM // 2)]
    random.shuffle(made)
    with plant.manager() as manager:
        manager.start_many(made)
        manager.update(random.uniform(0, 0.3))
        runs = [str(pipeline.id) for pipeline in made]
        orders = [random.sample(runs, len(runs)), random.sample(runs, len(runs) // 3)]
        threads = [threading.Thread(target=_cancel_all, args=(plant, order)) for order in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for pipeline in made:
            manager.wait(pipeline, ENDED_WITHIN)
        states = {manager.status(run).state for run in runs}
    if states != {"cancelled"}:
        plant.problems.append(f"lost: cancelled runs are {states}")
    try:
        until(lambda: not sleepers(plant), "the children of cancelled jobs are gone", 60)
    except AssertionError as error:
        plant.problems.append(f"orphans: {error}: {sleepers(plant)}")


def _cancel_all(plant: Plant, runs: list[str]) -> None:
    with plant.manager() as manager:
        for run in runs:
            try:
                manager.cancel(run, "a storm")
            except Exception as error:  # noqa: BLE001 - in a thread: it is told with the others
                plant.problems.append(f"lost: cancelling {run} was answered with {type(error).__name__}: {error}")


def sleepers(plant: Plant) -> list[int]:
    """`sleep` processes that jobs of this plant have started."""
    found = []
    for pid in plant.pids():
        try:
            found += [pid] if psutil.Process(pid).name() == "sleep" else []
        except psutil.NoSuchProcess:
            continue
    return found


CAMPAIGNS = (
    Campaign("poison among good jobs", nothing_more, pause=(0.1, 0.6), brings=poison),
    Campaign("peers that never read", come_and_never_read, pause=(0.2, 0.6), site=haunted, judge=bounded),
    Campaign("cancel storm", storm, pause=(0.1, 0.5), width=8),
)
