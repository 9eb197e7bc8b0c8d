"""What needs much at once gets through between endless small ones, and idles nothing before it has to."""

from __future__ import annotations

from typing import Any

import pytest
from dispatching import World

from headrace.daemons.dispatch.promises import AGED, EVERY, OVERDUE
from headrace.daemons.protocol import Beat, Credit, Outcomes
from headrace.pipeline.task import Needs, Outcome

LIMITS = {"a": 1, "b": 1}


@pytest.fixture
def world() -> World:
    world = World(limits=LIMITS)
    world.pipeliner()
    world.submit("small")
    world.submit("large")
    return world


class Stream:
    """Small jobs without an end: whatever one Broker is given ends before the next turn, and another one follows."""

    def __init__(self, world: World, broker: str = "broker", slots: int = 2, prefetch: int = 4, **needs: Any) -> None:
        self.world = world
        self.broker = broker
        self.slots = slots
        self.prefetch = prefetch
        self.needs = Needs(**needs) if needs else None
        self.count = 0
        self.held: list[int] = []
        self.read = 0

    def flow(self, seconds: float) -> list[str]:
        """So many seconds of it; the other jobs that were given to the Broker meanwhile, which go on."""
        world, others = self.world, []
        for _ in range(int(seconds / 0.1)):
            self.feed()
            world.later(0.1)
            world.say(self.broker, Beat(world.now, 0, tuple(world.dispatch.cluster.brokers[self.broker].leases)))
            world.say("pipeliner", Beat(world.now))
            others += self.turn()
        return others

    def feed(self) -> None:
        for _ in range(8):
            self.count += 1
            self.world.enqueue("small", f"s{self.count}", needs=self.needs)

    def turn(self) -> list[str]:
        """End the older half of what is held, and take as much as there is room for."""
        world = self.world
        given = world.assigned(self.broker)[self.read :]
        self.read += len(given)
        self.held += [one.lease for one in given if one.job.startswith("s")]
        done, self.held = self.held[: max(1, len(self.held) // 2)], self.held[max(1, len(self.held) // 2) :]
        seen = max([one.lease for one in world.assigned(self.broker)], default=0)
        world.dispatch.handle(self.broker, "s", Outcomes([Outcome(lease) for lease in done]))
        free = max(0, self.slots - len(self.held))
        world.say(self.broker, Credit(free, max(0, self.prefetch - max(0, len(self.held) - self.slots)), seen))
        return [one.job for one in given if not one.job.startswith("s")]


def test_an_exclusive_job_gets_a_slot_between_jobs_that_fill_every_pipe_in_advance(world: World) -> None:
    world.broker(slots=2, resources={"gpu": 1.0})
    stream = Stream(world)
    stream.flow(1.0)
    world.enqueue("large", "G", needs=Needs(resources={"gpu": 1.0}))
    assert stream.flow(AGED - 1.0) == [], "work in progress is finished first"
    world.enqueue("small", "H", needs=Needs(resources={"gpu": 1.0}))
    assert stream.flow(OVERDUE + EVERY + 1.0) == ["H"]
    (lease,) = [one.lease for one in world.assigned() if one.job == "H"]
    world.say("broker", Outcomes([Outcome(lease)]))
    assert stream.flow(AGED + EVERY + 1.0) == ["G"]


def test_a_job_that_needs_everything_gets_it_between_endless_small_ones(world: World) -> None:
    world.broker(slots=8, resources={"cpu": 8.0})
    stream = Stream(world, slots=8, prefetch=0, resources={"cpu": 1.0})
    stream.flow(1.0)
    world.enqueue("large", "ALL", needs=Needs(resources={"cpu": 8.0}))
    assert stream.flow(AGED - 1.0) == [], "nothing is kept idle for what has not waited for long"
    assert stream.flow(3.0) == ["ALL"]


def test_what_shares_nothing_with_it_goes_on_while_resources_come_together(world: World) -> None:
    world.broker(slots=8, resources={"cpu": 8.0})
    world.enqueue("small", "long", needs=Needs(resources={"cpu": 1.0}))
    world.enqueue("large", "ALL", needs=Needs(resources={"cpu": 8.0}))
    stream = Stream(world)
    stream.flow(AGED + 2.0)
    before = stream.read
    world.enqueue("small", "small-cpu", needs=Needs(resources={"cpu": 1.0}))
    assert stream.flow(2.0) == []
    assert stream.read > before + 40, "plain jobs go on"
    (lease,) = [one.lease for one in world.assigned() if one.job == "long"]
    world.say("broker", Outcomes([Outcome(lease)]))
    assert stream.flow(1.0) == ["ALL"]


def test_what_comes_before_it_in_the_order_goes_first(world: World) -> None:
    world.broker(slots=1, credit=0, resources={"gpu": 1.0})
    world.enqueue("large", "G", needs=Needs(resources={"gpu": 1.0}))
    world.later(OVERDUE + 0.1)
    world.enqueue("large", "after")
    world.enqueue("small", "before")
    world.say("broker", Credit(0, 1, 0))
    assert [one.job for one in world.assigned()] == ["before"]
    world.say("broker", Credit(0, 1, world.assigned()[-1].lease))
    assert [one.job for one in world.assigned()] == ["before"], "nothing waits in a pipe where a slot is promised"
    world.say("broker", Credit(1, 0, world.assigned()[-1].lease))
    assert [one.job for one in world.assigned()] == ["before", "G"]


def test_several_limits_come_together_for_what_is_old(world: World) -> None:
    world.broker(slots=4)
    for name in LIMITS:
        world.enqueue("small", f"s-{name}0", needs=Needs(limits=(name,)))
    world.enqueue("large", "BOTH", needs=Needs(limits=tuple(LIMITS)))

    def next_of(name: str, number: int) -> None:
        """One more with this limit, then the one that has it ends."""
        world.enqueue("small", f"s-{name}{number}", needs=Needs(limits=(name,)))
        held = [one.lease for one in world.assigned() if one.job.startswith(f"s-{name}")]
        world.say("broker", Outcomes([Outcome(held[-1])]), Credit(4, 0, world.assigned()[-1].lease))

    for number in range(1, 60):
        world.later(0.25)
        world.say("broker", Beat(world.now, 0, tuple(world.dispatch.cluster.brokers["broker"].leases)))
        world.say("pipeliner", Beat(world.now))
        if "BOTH" in [one.job for one in world.assigned()]:
            break
        next_of("ab"[number % 2], number)
    else:
        raise AssertionError("it was never started")
    assert number * 0.25 >= AGED


def test_a_promise_is_over_when_its_item_is(world: World) -> None:
    world.broker(slots=1, credit=0, resources={"gpu": 1.0})
    world.enqueue("large", "G", needs=Needs(resources={"gpu": 1.0}))
    world.later(OVERDUE + 0.1)
    world.control("cancel", "large")
    world.submit("later")
    world.enqueue("later", "plain")
    world.say("broker", Credit(0, 1, 0))
    assert [one.job for one in world.assigned()] == ["plain"]


def test_each_broker_has_one_promise_and_a_draining_one_none(world: World) -> None:
    for name in ("one", "two", "three"):
        world.broker(name, slots=1, credit=0, resources={"gpu": 1.0})
    world.dispatch.cluster.brokers["three"].draining = True
    for job in "ABC":
        world.enqueue("large", job, needs=Needs(resources={"gpu": 1.0}, role=job))
    world.later(OVERDUE + 0.1)
    promises = world.dispatch.cluster.queues.promises
    found = {broker.identity: promises.of(broker) for broker in world.dispatch.cluster.brokers.values()}
    assert {name: one and one.item.ready.job for name, one in found.items()} == {"one": "A", "two": "B", "three": None}


def test_what_it_has_already_is_kept_for_it_and_the_rest_is_for_others(world: World) -> None:
    world.broker(slots=8, resources={"cpu": 4.0, "gpu": 1.0})
    world.enqueue("small", "gpu-for-hours", needs=Needs(resources={"gpu": 1.0}))
    world.enqueue("large", "BOTH", needs=Needs(resources={"gpu": 1.0, "cpu": 2.0}))
    stream = Stream(world, slots=8, prefetch=0, resources={"cpu": 1.0})
    stream.flow(AGED + 1.0)
    used = world.dispatch.cluster.brokers["broker"].resources_used
    before = stream.read
    for _ in range(20):
        stream.flow(0.1)
        assert used["cpu"] <= 2.0, "two are kept"
    assert stream.read >= before + 20, "the others are used"
    (lease,) = [one.lease for one in world.assigned() if one.job.startswith("gpu")]
    world.say("broker", Outcomes([Outcome(lease)]))
    assert stream.flow(0.5) == ["BOTH"]


def test_roles_of_their_own_do_not_wait_for_each_other(world: World) -> None:
    world.broker(slots=4, credit=0, roles={"shell": 1, "encode": 1})
    for job in ("shell-for-hours", "shell-2"):
        world.enqueue("large", job, needs=Needs(role="shell"))
    world.say("broker", Credit(1, 0, 0))
    for _ in range(int(AGED) + 2):
        world.later(1.0)
        world.say("broker", Beat(world.now, 0, tuple(world.dispatch.cluster.brokers["broker"].leases)))
        world.say("pipeliner", Beat(world.now))
    assert world.dispatch.cluster.queues.promises.of(world.dispatch.cluster.brokers["broker"]) is not None
    world.submit("later")
    world.enqueue("later", "encode", needs=Needs(role="encode"))
    world.enqueue("later", "plain")
    world.say("broker", Credit(2, 0, world.assigned()[-1].lease))
    assert [one.job for one in world.assigned()][1:] == ["encode", "plain"]
