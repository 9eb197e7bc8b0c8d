"""The load: runs of several shapes, kept coming by a client of its own, and what must become of each of them.

An `Order` is a run together with everything that can be said of its end beforehand. It counts as acknowledged from the
moment on in which the client was told so; whatever happens, acknowledged orders must end as they say.

A `Wound` is a blow and the orders that were open then: it has healed when all of them have ended.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from types import TracebackType
from typing import Any, Self

from plant import Plant

from headrace import Gather, Job, Pipeline, Retry
from headrace.pipeline.errors import ClusterError

Place = tuple[str, tuple[int, ...]]


@dataclass(eq=False)
class Order:
    """A pipeline, and what must become of it."""

    pipeline: Pipeline
    places: set[Place]
    """The instances that must succeed, each of them once."""
    results: dict[str, Any] = field(default_factory=dict)
    order: list[tuple[Place, Place]] = field(default_factory=list)
    """Of two instances: the first ends before the second starts."""
    verdict: str = "success"
    deaths: int | None = None
    """How many processes must have died of it."""
    acknowledged: float = 0.0
    ended: float = 0.0

    @property
    def run(self) -> str:
        return str(self.pipeline.id)


def chain(random: random.Random) -> Order:
    """One job after the other."""
    jobs = [Job("grow", name=f"step{index}") for index in range(random.randint(2, 6))]
    places = [(job.name, ()) for job in jobs]
    pipeline = Pipeline(dict(pairwise(jobs)), data={"number": 0, "nap": random.uniform(0, 0.02)})
    return Order(pipeline, set(places), {jobs[-1].name: {"number": len(jobs)}}, list(pairwise(places)))


def fan(random: random.Random) -> Order:
    """One, many, one."""
    first, last = Job("grow", name="first"), Job("total", name="last", bind="args")
    middle = [Job("grow", name=f"middle{index}") for index in range(random.randint(2, 12))]
    pipeline = Pipeline({first: middle, tuple(middle): last}, data={"number": 5, "nap": random.uniform(0, 0.05)})
    names = [(job.name, ()) for job in middle]
    order = [((("first", ())), name) for name in names] + [(name, ("last", ())) for name in names]
    return Order(pipeline, {("first", ()), ("last", ()), *names}, {"last": 7 * len(middle)}, order)


def spread(random: random.Random) -> Order:
    """A list, a branch for every element, and their sum."""
    count = random.randint(0, 12)
    many = Job("list_of", {"count": count}, spread=True)
    each, end = Job("double", bind="item"), Job("add_up", gather=Gather())
    names = [("double", (index,)) for index in range(count)]
    order = [(("list_of", ()), name) for name in names] + [(name, ("add_up", ())) for name in names]
    places = {("list_of", ()), ("add_up", ()), *names}
    return Order(Pipeline({many: each, each: end}), places, {"add_up": count * (count - 1)}, order)


def large(random: random.Random) -> Order:
    """A value that travels by reference."""
    size = random.randint(70_000, 200_000)
    pipeline = Pipeline({Job("text_of", {"size": size}): Job("length", bind="item")})
    places = ("text_of", ()), ("length", ())
    return Order(pipeline, set(places), {"length": size}, [places])


def flaky(random: random.Random) -> Order:
    """It fails once, by itself, and is tried again."""
    pipeline = Pipeline({Job("flaky", retry=Retry(3, delay=0.05)): Job("nothing")})
    return Order(pipeline, {("flaky", ()), ("nothing", ())}, {}, [(("flaky", ()), ("nothing", ()))])


def failing(random: random.Random) -> Order:
    """It fails for good, and what follows does not run."""
    return Order(Pipeline({Job("nothing", name="first"): Job("fail"), Job("fail"): Job("nothing", name="last")}),
                 {("first", ())}, verdict="failed")  # fmt: skip


def poison(random: random.Random) -> Order:
    """It takes its process with it, in one of three ways, and is given up after three of them."""
    how = random.choice(("exit", "kill", "abort"))
    return Order(Pipeline({Job("poison", {"how": how}): Job("nothing")}), set(), verdict="failed", deaths=3)


SHAPES: tuple[Callable[[random.Random], Order], ...] = (chain, chain, fan, fan, spread, large, flaky, failing)


@dataclass(eq=False)
class Wound:
    at: float
    bleeding: set[Order]
    healed: float | None = None

    @property
    def took(self) -> float:
        return (self.healed or time.monotonic()) - self.at


class Load:
    """Keeps `width` orders open until told to stop."""

    def __init__(self, plant: Plant, seed: int, width: int = 20, shapes: Any = SHAPES, api: str | None = None) -> None:
        self.plant = plant
        self.orders: list[Order] = []
        self.wounds: list[Wound] = []
        self.troubles: list[str] = []
        """What the client was told instead of an answer."""
        self.failure: BaseException | None = None
        self._random = random.Random(seed)
        self._shapes = shapes
        self._width = width
        self._api = api
        self._open: set[Order] = set()
        self._given: deque[Order] = deque()
        self._filling = True
        self._over = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over = True
        self._thread.join(300)

    @property
    def open(self) -> set[Order]:
        with self._lock:
            return set(self._open)

    @property
    def ended(self) -> int:
        return len(self.orders) - len(self._open)

    def give(self, order: Order) -> None:
        """One more, beside those that keep the width."""
        self._given.append(order)

    def stop_filling(self) -> None:
        self._filling = False

    def check(self) -> None:
        if self.failure is not None:
            raise self.failure

    def bleeds(self, longer: float) -> bool:
        """Is there a wound that has not healed for so many seconds?"""
        with self._lock:
            return any(wound.took > longer for wound in self._bleeding())

    def wound(self) -> Wound:
        """A blow falls now. Orders that are open are tied to it."""
        with self._lock:
            wound = Wound(time.monotonic(), set(self._open))
            self.wounds.append(wound)
            return wound

    def _work(self) -> None:
        try:
            with self.plant.manager(api=self._api) as manager:
                while not self._over:
                    self._fill(manager)
                    manager.update(0.1)
                    self._look()
                    manager.forget()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the thread that waits has to know
            self.failure = error

    def _fill(self, manager: Any) -> None:
        """A batch whose acknowledgement did not come is given again, until it does: it is the same request."""
        missing = self._width - len(self._open) if self._filling else 0
        fresh = [self._random.choice(self._shapes)(self._random) for _ in range(missing)]
        while self._given:
            fresh.append(self._given.popleft())
        while fresh and not self._over:
            try:
                manager.start_many([order.pipeline for order in fresh])
            except ClusterError as error:
                self.troubles.append(f"{type(error).__name__}: {error}")
            taken = [order for order in fresh if order.pipeline.id is not None]
            fresh = [order for order in fresh if order.pipeline.id is None]
            now = time.monotonic()
            with self._lock:
                for order in taken:
                    order.acknowledged = now
                    self._open.add(order)
                    self.orders.append(order)

    def _look(self) -> None:
        now = time.monotonic()
        with self._lock:
            done = {order for order in self._open if order.pipeline.finished}
            self._open -= done
            for order in done:
                order.ended = now
            for wound in self._bleeding():
                wound.bleeding -= done
                if not wound.bleeding:
                    wound.healed = now

    def _bleeding(self) -> Iterator[Wound]:
        return (wound for wound in self.wounds if wound.healed is None)
