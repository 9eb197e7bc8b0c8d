"""Bad wires: everybody reaches the Router through a proxy of ours, and one of the proxies does what networks do."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from campaign import Blow, Campaign
from kills import LONG, OFTEN_SHORT, SHORT
from plant import Daemon, Plant, until
from proxy import BOTH, Proxy, Way

PIECES = (1, 7, 64, 300)
CUT_WITHIN = 3.0


class Wired(Plant):
    """A plant whose members have a proxy each; the client too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.proxies = {name: Proxy(self.api) for name in ("pipeliner", "broker1", "broker2", "client")}
        self.add(Daemon("router"))
        self.add(Daemon("pipeliner", api=self.proxies["pipeliner"].address))
        for name in ("broker1", "broker2"):
            self.add(self.broker(name, api=self.proxies[name].address))

    def some_proxy(self, random: random.Random) -> Proxy:
        return self.proxies[random.choice(sorted(self.proxies))]


@contextmanager
def wired(folder: Path) -> Iterator[Plant]:
    plant = Wired(folder)
    try:
        with plant:
            yield plant
    finally:
        for proxy in plant.proxies.values():
            proxy.close()


def seconds(random: random.Random) -> float:
    return random.uniform(*(SHORT if random.random() < OFTEN_SHORT else LONG))


def stall(*ways: Way) -> Blow:
    def blow(plant: Plant, random: random.Random) -> None:
        assert isinstance(plant, Wired)
        with plant.some_proxy(random).stalling(*(ways or (random.choice(BOTH),))):
            time.sleep(seconds(random))

    return blow


def trickle(plant: Plant, random: random.Random) -> None:
    assert isinstance(plant, Wired)
    with plant.some_proxy(random).trickling(random.choice(PIECES)):
        time.sleep(random.uniform(0.2, 2.0))


def cut(plant: Plant, random: random.Random) -> None:
    """Inside a frame. Who says nothing for long is cut all the same."""
    assert isinstance(plant, Wired)
    proxy = plant.some_proxy(random)
    before = set(proxy.links)
    proxy.cut_soon(random)
    try:
        until(lambda: not before & set(proxy.links), "the connections have been cut", CUT_WITHIN)
    except AssertionError:
        proxy.cut()


def shut(plant: Plant, random: random.Random) -> None:
    assert isinstance(plant, Wired)
    with plant.some_proxy(random).shut():
        time.sleep(seconds(random))


def client(plant: Plant) -> str | None:
    assert isinstance(plant, Wired)
    return plant.proxies["client"].address


CAMPAIGNS = (
    Campaign("wire stalled", stall(*BOTH), site=wired, client=client),
    Campaign("wire stalled one way", stall(), site=wired, client=client),
    Campaign("wire trickling", trickle, site=wired, client=client),
    Campaign("wire cut in a frame", cut, site=wired, client=client),
    Campaign("wire refused", shut, site=wired, client=client),
)
