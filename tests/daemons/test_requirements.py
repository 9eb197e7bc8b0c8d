"""Where jobs may go by expressions of roles, and limits that count only where there are some."""

from __future__ import annotations

from typing import Any

from dispatching import World

from headrace.daemons.dispatch.queues import Shape
from headrace.daemons.dispatch.reasons import why_queued
from headrace.daemons.protocol import Credit, Enqueue, Outcomes
from headrace.pipeline.task import Needs, Outcome, Ready


def enqueue(world: World, *some: Ready) -> None:
    one = world.runs["r1"]
    world.say("pipeliner", Enqueue("r1", one.take, one.control, one.last, list(some)))


def job(name: str, **needs: Any) -> Ready:
    return Ready(name, (), 1, "W", b"task", needs=Needs(**needs))


def world_of(**brokers: dict[str, int] | None) -> World:
    world = World(limits={"licence": 1})
    for name, roles in brokers.items():
        world.broker(name, roles=roles, slots=9, credit=9)
    world.pipeliner()
    world.submit("r1")
    return world


def took(world: World, broker: str) -> list[str]:
    return [one.job for one in world.assigned(broker)]


def test_a_job_goes_where_its_requirement_is_met() -> None:
    world = world_of(one={"linux": 9, "slow": 9}, other={"linux": 9, "gpu": 9})
    enqueue(world, job("A", role="Linux && !slow"), job("B", role="slow || mac"), job("C", role='"g*", linux'))
    assert (took(world, "one"), took(world, "other")) == (["B"], ["A", "C"])


def test_a_broker_without_roles_meets_every_requirement() -> None:
    world = world_of(one=None)
    enqueue(world, job("A", role="linux && !slow"), job("B", role="encode"))
    assert took(world, "one") == ["A", "B"]


def test_a_job_takes_a_slot_of_each_role_that_it_names_and_the_broker_has() -> None:
    world = world_of(one={"linux": 2, "gpu": 1})
    enqueue(world, job("A", role="gpu && linux"), job("B", role="GPU || mac"), job("C", role="linux"))
    assert took(world, "one") == ["A", "C"]
    leases = {one.job: one.lease for one in world.assigned("one")}
    world.say("one", Outcomes([Outcome(leases["A"])]), Credit(9, 0, leases["C"]))
    assert took(world, "one") == ["A", "C", "B"]


def test_what_is_no_requirement_is_a_role_that_nobody_has() -> None:
    world = world_of(one={"linux": 1})
    enqueue(world, job("A", role="linux &&"))
    assert took(world, "one") == []
    assert "role linux &&" in why_queued(world.dispatch.cluster, Shape.of(job("A", role="linux &&")))


def test_a_lenient_job_counts_against_the_limits_that_there_are() -> None:
    world = world_of(one=None)
    both = {"limits": ("licence", "3d"), "lenient": True}
    enqueue(world, job("A", **both), job("B", **both), job("C", limits=("3d",), lenient=True), job("D", limits=("3d",)))
    assert took(world, "one") == ["A", "C"]
    world.dispatch.cluster.validate()
    held = "the limit licence (1 of 1) is taken by A of run r1 on host/one"
    assert why_queued(world.dispatch.cluster, Shape.of(job("B", **both))) == held
    unknown = why_queued(world.dispatch.cluster, Shape.of(job("D", limits=("3d",))))
    assert unknown == "the Router has no limit named 3d"
    (lease,) = [one.lease for one in world.assigned("one") if one.job == "A"]
    world.say("one", Outcomes([Outcome(lease)]), Credit(9, 0, lease + 1))
    assert took(world, "one") == ["A", "C", "B"]
