"""Ready work that waits for a Broker: who comes first, what is set aside, and why something waits."""

from __future__ import annotations

from typing import Any

import pytest
from dispatching import World

from headrace.daemons.dispatch.queues import AGEING, SPARE_LANES, Shape
from headrace.daemons.protocol import Credit, Enqueue, HandedBack, Outcomes
from headrace.pipeline.task import Needs, Outcome, Ready


@pytest.fixture
def world() -> World:
    """A Broker that takes nothing until it is told to."""
    world = World(limits={"licence": 1, "seat": 2})
    world.broker(credit=0)
    world.pipeliner()
    return world


def take(world: World, count: int = 1, prefetch: int = 0, broker: str = "broker") -> list[str]:
    """Let the Broker take so many; the jobs that it got."""
    before = len(world.assigned(broker))
    seen = world.assigned(broker)[-1].lease if before else 0
    world.say(broker, Credit(count, prefetch, seen))
    return [one.job for one in world.assigned(broker)[before:]]


def enqueue(world: World, run: str, *some: Ready) -> None:
    one = world.runs[run]
    world.say("pipeliner", Enqueue(run, one.take, one.control, one.last, list(some)))


def job(name: str, worker: str = "W", **needs: Any) -> Ready:
    return Ready(name, (), 1, worker, b"task", needs=Needs(**needs))


# Order ----------------------------------------------------------------------------------------------------------------


def test_runs_that_were_accepted_first_are_finished_first(world: World) -> None:
    for run in ("r1", "r2"):
        world.submit(run)
    for run, name in (("r2", "C"), ("r1", "A"), ("r2", "D"), ("r1", "B")):
        world.enqueue(run, name)
    assert take(world, 4) == ["A", "B", "C", "D"]


def test_jobs_of_higher_priority_go_first_within_a_run_too(world: World) -> None:
    world.submit("r1")
    enqueue(world, "r1", job("low", priority=-1), job("plain"), job("high", priority=2))
    assert take(world, 3) == ["high", "plain", "low"]


def test_a_point_of_priority_is_worth_a_minute_of_waiting(world: World) -> None:
    world.submit("old")
    world.dispatch.cluster.wall += AGEING + 1.0
    world.submit("new", priority=1)
    world.submit("urgent", priority=2)
    for run in ("new", "urgent", "old"):
        world.enqueue(run, run)
    assert take(world, 3) == ["urgent", "old", "new"]


def test_the_best_head_of_all_lanes_is_chosen(world: World) -> None:
    world.broker("able", credit=0, workers=("W", "V"))
    world.submit("r1")
    world.submit("r2")
    world.enqueue("r2", "B", worker="V")
    world.enqueue("r1", "A")
    assert take(world, 2, broker="able") == ["A", "B"]


def test_an_item_that_ended_in_the_queue_is_passed_over(world: World) -> None:
    world.submit("r1")
    world.submit("r2")
    world.enqueue("r1", "A")
    world.enqueue("r2", "B")
    world.control("cancel", "r1")
    assert world.dispatch.cluster.queues.size == 1
    assert take(world, 2) == ["B"]


def test_an_item_that_goes_back_and_forth_is_granted_once_each_time(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A", "B")
    for _ in range(5):
        assert take(world) == ["A"]
        world.say("broker", HandedBack([world.assigned()[-1].lease]))
    assert take(world, 3) == ["A", "B"]
    assert world.dispatch.cluster.queues.size == 0


# What may not start now -----------------------------------------------------------------------------------------------


def test_a_paused_run_is_set_aside_whatever_comes_and_others_pass_it(world: World) -> None:
    world.submit("r1")
    world.submit("r2")
    world.enqueue("r1", "A")
    world.control("pause", "r1")
    world.enqueue("r2", "X")
    assert take(world, 1) == ["X"]
    world.enqueue("r1", "B", "C")
    assert take(world, 2) == []
    world.control("resume", "r1")
    assert [one.job for one in world.assigned()] == ["X", "A", "B"]


def test_a_paused_run_that_has_nothing_left_wakes_to_nothing(world: World) -> None:
    world.submit("r1")
    world.control("pause", "r1")
    world.enqueue("r1", "A")
    one = world.runs["r1"]
    world.dispatch.leasing.stop(one, [("A", ())])
    world.control("resume", "r1")
    assert take(world, 1) == []


def test_a_run_with_max_active_goes_on_as_its_jobs_end_or_come_back(world: World) -> None:
    world.submit("r1", max_active=2)
    world.enqueue("r1", *"ABCDE")
    assert take(world, 5) == ["A", "B"]
    first, second = world.assigned()
    world.say("broker", HandedBack([second.lease]))
    world.say("broker", Outcomes([Outcome(first.lease)]))
    assert [one.job for one in world.assigned()] == ["A", "B", "B", "C"]


def test_the_end_of_a_run_that_was_set_aside_takes_its_queues_along(world: World) -> None:
    world.submit("r1")
    world.control("pause", "r1")
    enqueue(world, "r1", job("A"), job("B", role="x"), job("C", priority=1))
    world.control("cancel", "r1")
    world.conclude("r1", "cancelled")
    assert not world.dispatch.cluster.queues.lanes


def test_jobs_with_limits_or_resources_are_never_prefetched(world: World) -> None:
    world.broker("gpu", credit=0, resources={"gpu": 4.0})
    world.submit("r1")
    enqueue(world, "r1", job("A", limits=("licence",)), job("B", resources={"gpu": 1.0}), job("C", role="any"))
    assert take(world, 0, 3, "gpu") == ["C"]
    assert take(world, 3, 0, "gpu") == ["A", "B"]


def test_a_limit_that_is_named_twice_counts_once_and_in_any_order(world: World) -> None:
    world.submit("r1")
    enqueue(world, "r1", job("A", limits=("seat", "licence", "seat")), job("B", limits=("licence", "seat")))
    assert len(world.dispatch.cluster.queues.lanes) == 1
    assert take(world, 2) == ["A"]
    assert world.dispatch.cluster.queues.used == {"licence": 1, "seat": 1}


def test_limits_that_a_site_has_not_made_do_not_count_for_a_lenient_job(world: World) -> None:
    world.submit("r1")
    enqueue(
        world,
        "r1",
        job("strict", limits=("licence", "gone")),
        job("A", limits=("licence", "gone"), lenient=True),
        job("B", limits=("licence",), lenient=True),
        job("C", limits=("gone",), lenient=True),
    )
    assert take(world, 4) == ["A", "C"]
    assert world.dispatch.cluster.queues.used["licence"] == 1


def test_shares_of_a_resource_add_up_to_the_whole_and_leave_nothing_behind(world: World) -> None:
    world.broker("gpu", slots=20, credit=0, resources={"gpu": 0.7})
    world.submit("r1")
    enqueue(world, "r1", *(job(f"s{at}", resources={"gpu": 0.1}) for at in range(20)))
    for _ in range(2):
        assert len(take(world, 20, 0, "gpu")) == 7
        outcomes = [Outcome(lease) for lease in world.dispatch.cluster.brokers["gpu"].leases]
        world.dispatch.handle("gpu", "s", Credit(0, 0, world.assigned("gpu")[-1].lease))
        world.say("gpu", Outcomes(outcomes))
    world.control("cancel", "r1")
    world.say("gpu", Outcomes([Outcome(lease) for lease in world.dispatch.cluster.brokers["gpu"].leases]))
    assert world.dispatch.cluster.brokers["gpu"].resources_used == {"gpu": 0.0}
    world.submit("r2")
    enqueue(world, "r2", job("whole", resources={"gpu": 0.7}))
    assert take(world, 1, 0, "gpu") == ["whole"]


# Lanes ----------------------------------------------------------------------------------------------------------------


def test_lanes_that_are_made_later_are_seen_by_the_brokers_that_serve_them(world: World) -> None:
    world.broker("other", workers=("V",), credit=0)
    world.submit("r1")
    enqueue(world, "r1", job("A"), job("B", "V"), job("C", "U"))
    brokers = world.dispatch.cluster.brokers
    assert [lane.shape.worker for lane in brokers["broker"].lanes] == ["W"]
    assert [lane.shape.worker for lane in brokers["other"].lanes] == ["V"]


def test_a_run_whose_jobs_all_differ_leaves_few_empty_lanes(world: World) -> None:
    world.broker("large", slots=1, resources={"memory": 1e12})
    world.submit("r1")
    cluster = world.dispatch.cluster
    for at in range(5 * SPARE_LANES):
        enqueue(world, "r1", job(f"j{at}", resources={"memory": 1e9 + at}))
        lease = world.assigned("large")[-1].lease
        world.say("large", Outcomes([Outcome(lease)]), Credit(1, 0, lease))
        assert len(cluster.queues.lanes) <= SPARE_LANES + 1
        assert len(world.runs["r1"].queues) == len(cluster.queues.lanes) == len(cluster.brokers["large"].lanes)
    assert len(world.facts_of("r1")) > 5 * SPARE_LANES


def test_lanes_with_work_stay_however_many_there_are(world: World) -> None:
    world.submit("r1")
    world.submit("r2")
    world.control("pause", "r2")
    enqueue(world, "r2", job("gone", "V0"), job("kept", "V1"))
    world.dispatch.leasing.stop(world.runs["r2"], [("gone", ())])
    enqueue(world, "r1", *(job(f"j{at}", f"X{at}") for at in range(3 * SPARE_LANES)))
    lanes = world.dispatch.cluster.queues.lanes
    assert len(lanes) == 3 * SPARE_LANES + 1 and Shape("V0") not in lanes
    world.control("resume", "r2")
    world.broker("able", workers=("V0", "V1"), slots=9)
    assert [one.job for one in world.assigned("able")] == ["kept"]
