"""What waits in a Broker's pipes is asked back when it would be better off elsewhere, and only then."""

from __future__ import annotations

from typing import Any

import pytest
from dispatching import World

from headrace.daemons.dispatch.items import State
from headrace.daemons.dispatch.recalls import PAUSE, STALE
from headrace.daemons.protocol import Control, Credit, HandedBack, Kill, Outcomes, Recall
from headrace.pipeline.facts import Returned
from headrace.pipeline.task import Needs, Outcome


@pytest.fixture
def world() -> World:
    world = World()
    world.pipeliner()
    world.submit("r1")
    return world


def filled(world: World, count: int = 4, broker: str = "broker", **ready: Any) -> list[int]:
    """A Broker with one slot that runs one job, while the others wait in its pipe. Their leases."""
    world.broker(broker, slots=1, credit=0)
    world.enqueue("r1", *(f"{broker}{number}" for number in range(count)), **ready)
    world.say(broker, Credit(1, count - 1, 0))
    return [one.lease for one in world.assigned(broker)]


def recalled(world: World, broker: str = "broker") -> list[int]:
    found = [
        lease for to, message in world.sent if to == broker and isinstance(message, Recall) for lease in message.leases
    ]
    world.sent = [(to, message) for to, message in world.sent if not isinstance(message, Recall)]
    return found


def jobs(world: World, broker: str = "broker") -> list[str]:
    return [one.job for one in world.assigned(broker)]


# For higher priority ------------------------------------------------------------------------------------------------


def test_what_waits_makes_room_for_higher_priority(world: World) -> None:
    leases = filled(world)
    world.enqueue("r1", "urgent", needs=Needs(priority=1))
    assert recalled(world) == leases[1:], "the first one was given to an idle slot"
    world.say("broker", HandedBack(leases[1:]), Credit(0, 4, leases[-1]))
    assert jobs(world)[4:] == ["urgent", "broker1", "broker2", "broker3"]
    assert recalled(world) == []


def test_nothing_is_asked_back_for_work_of_the_same_or_lower_priority(world: World) -> None:
    filled(world)
    world.submit("r0", priority=0)
    world.enqueue("r0", "same")
    world.enqueue("r1", "low", needs=Needs(priority=-1))
    world.later(1.0)
    assert recalled(world) == []


def test_nothing_is_asked_back_twice_nor_for_what_could_not_start_there(world: World) -> None:
    leases = filled(world)
    world.enqueue("r1", "elsewhere", worker="V", needs=Needs(priority=2))
    assert recalled(world) == []
    world.enqueue("r1", "urgent", needs=Needs(priority=1))
    assert recalled(world) == [], "that was looked at a moment ago"
    world.later(PAUSE)
    assert recalled(world) == leases[1:]
    world.later(PAUSE)
    world.enqueue("r1", "more urgent", needs=Needs(priority=2))
    assert recalled(world) == []


def test_only_what_is_less_urgent_is_asked_back(world: World) -> None:
    world.broker(slots=1, credit=0)
    for name, priority in (("a", 3), ("b", 3), ("c", 1), ("d", 0)):
        world.enqueue("r1", name, needs=Needs(priority=priority))
    world.say("broker", Credit(1, 3, 0))
    leases = [one.lease for one in world.assigned()]
    world.enqueue("r1", "urgent", needs=Needs(priority=2))
    assert recalled(world) == leases[2:]


def test_what_had_begun_ends_as_ever(world: World) -> None:
    leases = filled(world)
    world.enqueue("r1", "urgent", needs=Needs(priority=1))
    recalled(world)
    world.say("broker", Outcomes([Outcome(leases[0]), Outcome(leases[1])]))
    world.say("broker", HandedBack(leases[2:]))
    assert [(fact.job, fact.kind) for fact in world.facts(Returned)] == [("broker0", "success"), ("broker1", "success")]


def test_what_was_asked_back_can_be_stopped(world: World) -> None:
    leases = filled(world)
    world.enqueue("r1", "urgent", needs=Needs(priority=1))
    recalled(world)
    world.dispatch.leasing.stop(world.runs["r1"], [("broker1", ()), ("broker2", ())])
    world.flush()
    assert world.last("broker", Kill).leases == leases[1:3]
    world.say("broker", HandedBack(leases[1:]))
    assert [(fact.job, fact.kind) for fact in world.facts(Returned)] == [
        ("broker2", "cancelled"),
        ("broker1", "cancelled"),
    ]
    assert world.runs["r1"].live["broker3", ()].state is State.QUEUED


# For idle Brokers ---------------------------------------------------------------------------------------------------


def test_a_broker_that_has_nothing_to_do_gets_half_of_what_waits_elsewhere(world: World) -> None:
    leases = filled(world, 5)
    world.broker("idle", slots=1)
    assert recalled(world) == [], "it may be about to begin"
    assert world.dispatch.next_deadline() == pytest.approx(world.now + STALE)
    world.later(STALE)
    assert recalled(world) == leases[3:]
    world.say("broker", HandedBack(leases[3:]))
    assert jobs(world, "idle") == ["broker3"]


def test_the_next_half_is_asked_back_after_a_pause(world: World) -> None:
    leases = filled(world, 9)
    world.broker("idle", slots=8)
    world.later(STALE)
    assert recalled(world) == leases[5:]
    world.say("broker", HandedBack(leases[5:]))
    assert len(jobs(world, "idle")) == 4 and recalled(world) == []
    world.later(PAUSE)
    assert recalled(world) == leases[3:5]


@pytest.mark.parametrize("card", [{"workers": ("V",)}, {"credit": 0}])
def test_nothing_is_asked_back_for_a_broker_that_could_not_run_it(world: World, card: Any) -> None:
    filled(world)
    world.broker("other", **{"slots": 1, **card})
    world.later(1.0)
    assert recalled(world) == []


def test_one_broker_alone_keeps_what_it_has(world: World) -> None:
    filled(world)
    world.say("broker", Credit(1, 0, world.assigned()[-1].lease))
    world.later(1.0)
    assert recalled(world) == []


# For other reasons --------------------------------------------------------------------------------------------------


def test_a_broker_that_is_drained_gives_back_what_waits(world: World) -> None:
    leases = filled(world)
    world.dispatch.drain("client", Control("d", "drain", argument="broker"))
    world.flush()
    assert recalled(world) == leases[1:]


def test_what_waits_in_a_pipe_for_too_long_is_asked_back_and_expires(world: World) -> None:
    leases = filled(world, 2, needs=Needs(queue_timeout=1.0))
    world.later(1.0)
    assert recalled(world) == leases[1:]
    world.say("broker", Credit(0, 0, leases[-1]), HandedBack(leases[1:]))
    assert world.facts(Returned) == [], "it has a moment to start elsewhere"
    world.later(1.1)
    assert [(fact.job, fact.kind) for fact in world.facts(Returned)] == [("broker1", "expired")]


def test_what_was_asked_back_by_a_broker_that_is_lost_is_lost_with_it(world: World) -> None:
    filled(world)
    world.enqueue("r1", "urgent", needs=Needs(priority=1))
    recalled(world)
    world.later(world.dispatch.cluster.rules.hand_on)
    assert {fact.kind for fact in world.facts(Returned)} == {"lost"}
