"""Deadlines of the Router's machine."""

from __future__ import annotations

from dispatching import World

from headrace.daemons.dispatch.timers import SMALL, Timers
from headrace.daemons.protocol import Credit, Outcomes
from headrace.pipeline.task import Needs, Outcome


def test_what_is_due_comes_in_the_order_of_its_moments_and_then_of_its_setting() -> None:
    timers = Timers(lambda what: False)
    for when, name in ((2.0, "b"), (1.0, "a"), (2.0, "c"), (3.0, "d")):
        timers.set(when, (name, None))
    assert timers.next() == 1.0
    assert [name for name, _ in timers.due(2.0)] == ["a", "b", "c"]
    assert list(timers.due(2.9)) == [] and timers.next() == 3.0
    assert len(timers) == 1


def test_without_timers_the_next_one_never_comes() -> None:
    assert Timers(lambda what: False).next() == float("inf")


def test_what_is_over_is_dropped_when_timers_have_piled_up_and_the_rest_keeps_its_order() -> None:
    over: set[int] = set()
    timers = Timers(lambda what: what[1] in over)
    for number in range(10 * SMALL):
        timers.set(1e6 - number, ("queue", number))
        if number % 100:
            over.add(number)
        assert len(timers) <= 2 * (number // 100 + 2) + SMALL
    due = [number for _, number in timers.due(1e6)]
    assert due == sorted(due, reverse=True) and set(due) >= set(range(0, 10 * SMALL, 100))


def test_jobs_and_runs_that_have_ended_leave_no_timers() -> None:
    world = World()
    world.broker(slots=1)
    world.pipeliner()
    world.submit("waits", not_before=1e9 + 9e6, deadline=1e6)
    for number in range(3 * SMALL):
        world.submit(f"r{number}", deadline=1e6)
        world.enqueue(f"r{number}", "A", needs=Needs(queue_timeout=1e6))
        lease = world.assigned()[-1].lease
        world.say("broker", Outcomes([Outcome(lease)]), Credit(1, 0, lease))
        world.conclude(f"r{number}")
        world.sent.clear()
        world.records.clear()
    assert len(world.dispatch.cluster.timers) <= SMALL + 10
    assert not world.runs["waits"].active
