"""Why something does not run, as people read it."""

from __future__ import annotations

from typing import Any

import pytest
from dispatching import World, restarted

from headrace.daemons.dispatch.queues import Shape
from headrace.daemons.dispatch.reasons import why_queued, why_waiting
from headrace.daemons.protocol import Control, Enqueue
from headrace.pipeline.task import COMMAND, Needs, Ready


@pytest.fixture
def world() -> World:
    world = World(limits={"licence": 1, "seat": 5})
    world.broker()
    world.pipeliner()
    return world


def job(name: str, worker: str = "W", **needs: Any) -> Ready:
    return Ready(name, (), 1, worker, b"task", needs=Needs(**needs))


def enqueue(world: World, run: str, *some: Ready) -> None:
    one = world.runs[run]
    world.say("pipeliner", Enqueue(run, one.take, one.control, one.last, list(some)))


def why(world: World, worker: str = "W", **needs: Any) -> str:
    return why_queued(world.dispatch.cluster, Shape.of(job("A", worker, **needs)))


def waits(world: World, run: str, name: str) -> str:
    return why_waiting(world.dispatch.cluster, world.runs[run].live[name, ()])


def test_busy_brokers_are_named_with_what_they_run(world: World) -> None:
    busy = "every Broker that could run it is busy: host/broker runs 2 on 2 slots"
    world.submit("r1")
    world.enqueue("r1", "A", "B", "C")
    assert waits(world, "r1", "C") == busy
    assert why(world, COMMAND) == busy
    for name in ("b2", "b3", "b4", "b5"):
        world.broker(name, credit=0)
    assert why(world).endswith("host/b2 runs 0 on 2 slots, host/b3 runs 0 on 2 slots and 2 more")
    assert why(World()) == "no Broker is connected"


def test_a_limit_is_told_with_those_who_hold_it(world: World) -> None:
    assert why(world, limits=("seat", "gone")) == "the Router has no limit named gone"
    world.submit("r1")
    enqueue(world, "r1", job("A", limits=("licence",)), job("B", limits=("licence",)))
    assert waits(world, "r1", "B") == "the limit licence (1 of 1) is taken by A of run r1 on host/broker"
    assert why(world, limits=("licence", "seat")).startswith("the limit licence (1 of 1) is taken by A")


def test_what_nobody_offers_is_told_with_what_the_closest_lack(world: World) -> None:
    world.broker("roles", roles={"encode": 1}, resources={"gpu": 1.0})
    told = why(world, role="shell", resources={"gpu": 2.0})
    assert told == "no Broker offers worker W, role shell, 2 gpu; the closest: host/broker (it has 0 gpu, not 2)"
    world.broker("broker", roles={"encode": 2}, resources={"gpu": 2.0})
    assert why(world, role="shell", resources={"gpu": 2.0}).endswith(
        "the closest: host/broker (it serves encode, not shell)"
    )


def test_a_worker_that_nobody_has_is_told_with_those_there_are(world: World) -> None:
    assert why(world, "V") == "no Broker offers worker V; the connected ones have W"
    world.broker("many", workers=tuple("abcdefghij"))
    assert why(world, "V").endswith("have W, a, b, c, d, e, f, g, ...")


def test_brokers_without_commands_and_workers_are_told_of_as_such() -> None:
    world = World()
    world.broker(workers=(), commands=False)
    assert why(world, COMMAND) == "no Broker offers a command; the connected ones have no workers"


def test_a_broker_that_drains_is_no_busy_one(world: World) -> None:
    world.dispatch.drain("client", Control("ask", "drain", argument="broker"))
    assert why(world) == "every Broker that could run it is draining: host/broker"


def test_a_backoff_is_told_with_the_time_that_is_left(world: World) -> None:
    world.submit("r1")
    enqueue(world, "r1", Ready("A", (), 2, "W", b"task", delay=5.0))
    world.later(1.0)
    assert waits(world, "r1", "A") == "it is to start in 4.0 s, as attempt 2"


def test_what_may_still_run_on_a_missing_broker_is_told_as_such() -> None:
    world = restarted()
    world.broker("new")
    world.enqueue("r1", "A")
    assert "a Broker that has not come back may still run it: for 8.0 s at most" in waits(world, "r1", "A")


def test_what_its_own_run_holds_back_is_told_before_all_else(world: World) -> None:
    world.submit("r1", max_active=1)
    world.enqueue("r1", "A", "B")
    assert waits(world, "r1", "B") == "max_active=1 of its run are running"
