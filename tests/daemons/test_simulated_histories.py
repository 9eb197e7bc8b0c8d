"""Histories that the simulator has found, each told to the machine that got it wrong."""

from __future__ import annotations

import msgspec
from dispatching import World, restarted

from headrace.daemons.charges import Charges
from headrace.daemons.dispatch.effects import Lookup
from headrace.daemons.protocol import (
    Beat,
    BrokerCard,
    Credit,
    Enqueue,
    Halt,
    Held,
    Hello,
    Kill,
    News,
    Outcomes,
    Take,
)
from headrace.pipeline.definition import Definition, Node, RunOptions, pack_definition
from headrace.pipeline.facts import Accepted, Failure, Finished, Released, Returned, pack_fact
from headrace.pipeline.task import Outcome


def test_a_new_owner_does_not_clean_up_after_what_still_runs() -> None:
    """The owner before it had handed out A, which is to be stopped; what comes after A in any case has to wait."""
    nodes = (Node(name="A"), Node(name="B"), Node(name="C", when="always"))
    packed = pack_definition(Definition(nodes=nodes, edges=((0, 2, "order"),)))
    failed = Returned("B", (), 1, "failed", error=Failure("ValueError", "boom"))
    facts = [msgspec.Raw(pack_fact(fact)) for fact in (Accepted("r", 0.0, RunOptions()), failed)]
    charges = Charges()
    charges.handle(Take("r", 2, 0, packed, [(1, facts[0]), (2, facts[1])], 1, live=(("A", ()),)))
    assert charges.flush() == [Halt("r", 2, 2, [("A", ())])]
    charges.handle(News("r", 2, 0, [(3, msgspec.Raw(pack_fact(Returned("A", (), 1, "cancelled"))))]))
    (said,) = charges.flush()
    assert isinstance(said, Enqueue) and [one.job for one in said.ready] == ["C"]


def test_a_greeting_that_is_looked_up_late_tells_nothing_of_what_was_granted_after_it() -> None:
    world = World(epoch=2, last=10)
    world.pipeliner()
    held = Held((1 << 40) | 7, "gone", "X", (), 1)
    world.say("broker", Hello("broker", "host/b", card=BrokerCard(1, ("W",)), held=(held,)), Credit(1, 0, 0))
    assert world.asked[-1] == Lookup("broker", "s")
    world.submit("r1")
    world.enqueue("r1", "A")
    (granted,) = world.assigned()
    world.dispatch.looked_up("broker", "s", set())
    world.flush()
    world.say("broker", Beat(1.0, granted.lease, (granted.lease,)))
    assert [one.lease for one in world.assigned()] == [granted.lease]


def test_what_a_cancel_stops_may_come_back_with_its_broker_and_is_waited_for() -> None:
    """Seed 75400: it was recorded as cancelled while it ran on a Broker that had not come back yet."""
    world = restarted()
    world.enqueue("r1", "A")
    world.control("cancel", "r1")
    assert not world.facts(Returned)
    held = Held((1 << 40) | 7, "r1", "A", (), 1)
    world.say("broker", Hello("broker", "host/b", card=BrokerCard(1, ("W",)), held=(held,)))
    world.dispatch.looked_up("broker", "s", set())
    world.flush()
    assert world.last("broker", Kill).leases == [held.lease]
    world.conclude("r1", "cancelled")
    assert not world.facts(Finished)
    world.say("broker", Outcomes([Outcome(held.lease, "cancelled")]))
    world.conclude("r1", "cancelled")
    assert world.facts(Finished)


def test_what_a_cancel_stops_ends_when_its_broker_does_not_come_back() -> None:
    world = restarted()
    world.enqueue("r1", "A")
    world.control("cancel", "r1")
    world.later(9.0)
    assert [fact.kind for fact in world.facts(Returned)] == ["cancelled"]


def test_a_broker_whose_greeting_is_looked_up_after_the_wait_is_waited_for_no_longer() -> None:
    """Seed 25480: it came back with what had lapsed at the last moment, and nothing was ever granted again."""
    world = restarted(3)
    world.enqueue("r1", "A")
    world.later(8.5)
    held = Held((1 << 40) | 7, "r1", "A", (), 1, lapsed=True)
    world.say("broker", Hello("broker", "host/b", card=BrokerCard(1, ("W",)), held=(held,)))
    world.later(1.0)
    world.dispatch.looked_up("broker", "s", set())
    world.flush()
    world.say("broker", Credit(1, 0, 0))
    assert [one.job for one in world.assigned()] == ["A"]


def test_a_run_that_waits_for_a_time_notices_that_the_clock_was_set_right() -> None:
    world = World()
    world.pipeliner()
    world.submit("r1", not_before=world.dispatch.cluster.wall + 3600.0)
    world.later(61.0)
    assert not world.facts(Released)
    world.dispatch.cluster.wall += 3600.0
    world.later(61.0)
    assert len(world.facts(Released)) == 1
