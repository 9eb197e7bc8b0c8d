"""Why something does not run, as people read it."""

from __future__ import annotations

from typing import Any

import pytest
from dispatching import World, restarted

from headrace.daemons.dispatch.promises import AGED, EVERY, OVERDUE
from headrace.daemons.dispatch.queues import Shape
from headrace.daemons.dispatch.reasons import why_queued, why_waiting
from headrace.daemons.protocol import Beat, Control, Credit, Enqueue
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
    world.broker("near", workers=("encode", "decode", "Wash"))
    assert why(world, "encdoe").endswith("the closest that the connected ones have: encode")


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


# Promises ------------------------------------------------------------------------------------------------------------


def pass_by(world: World, seconds: float) -> None:
    """Time, in which everybody is heard of."""
    for _ in range(int(seconds / 0.5)):
        world.later(0.5)
        world.say("broker", Beat(world.now, 0, tuple(world.dispatch.cluster.brokers["broker"].leases)))
        world.say("pipeliner", Beat(world.now))


def test_a_slot_that_is_promised_to_another_job_is_told_with_that_job_its_run_and_since_when() -> None:
    world = World()
    world.broker(slots=1, credit=0, resources={"gpu": 1.0})
    world.pipeliner()
    for run in ("r1", "r2"):
        world.submit(run)
    enqueue(world, "r1", job("G", resources={"gpu": 1.0}), job("H", resources={"gpu": 1.0}))
    enqueue(world, "r2", job("plain"))
    busy = "every Broker that could run it is busy: host/broker runs 0 on 1 slots"
    assert waits(world, "r2", "plain") == waits(world, "r1", "G") == busy
    pass_by(world, OVERDUE + 0.5)
    promised = world.dispatch.cluster.queues.promises.of(world.dispatch.cluster.brokers["broker"])
    assert promised is not None
    began = promised.made
    pass_by(world, 3.0)
    held = f"for {world.now - began:.1f} s now"
    assert waits(world, "r1", "G") == f"the next place on host/broker is promised to it, {held}; {busy}"
    kept = f"host/broker is promised to G of run r1, which needs worker W, 1 gpu, {held}"
    assert waits(world, "r2", "plain") == f"every Broker that could run it is busy, or keeps its next place: {kept}"
    assert waits(world, "r1", "H") == busy, "it stands behind it in the same queue"


def test_what_goes_before_a_promise_or_shares_nothing_with_it_is_not_told_of_it() -> None:
    world = World()
    world.broker(slots=4, resources={"cpu": 8.0})
    world.pipeliner()
    for run in ("first", "r1", "r2"):
        world.submit(run)
    enqueue(world, "r1", job("long", resources={"cpu": 1.0}), job("ALL", resources={"cpu": 8.0}))
    pass_by(world, AGED + OVERDUE + EVERY)
    world.say("broker", Credit(0, 0, world.assigned()[-1].lease))
    enqueue(
        world, "r2", job("one", resources={"cpu": 1.0}), job("plain"), job("urgent", resources={"cpu": 1.0}, priority=9)
    )
    assert "is promised to ALL of run r1, which needs worker W, 8 cpu, for" in waits(world, "r2", "one")
    for name in ("plain", "urgent"):
        assert waits(world, "r2", name) == "every Broker that could run it is busy: host/broker runs 1 on 4 slots"


def test_a_limit_that_is_held_for_another_job_is_told_with_that_job() -> None:
    world = World(limits={"a": 1, "b": 1})
    world.broker(slots=4)
    world.pipeliner()
    for run in ("r1", "r2"):
        world.submit(run)
    enqueue(world, "r1", job("b", limits=("b",)), job("BOTH", limits=("a", "b")))
    pass_by(world, AGED + OVERDUE)
    enqueue(world, "r2", job("A", limits=("a",)))
    told = waits(world, "r2", "A")
    assert told.startswith(
        "the limit a (0 of 1) is promised to BOTH of run r1, which needs worker W, limit a, limit b, for"
    )
    assert waits(world, "r1", "BOTH").startswith("the limit a is promised to it, for")
    assert "; the limit b (1 of 1) is taken by b of run r1 on host/broker" in waits(world, "r1", "BOTH")
