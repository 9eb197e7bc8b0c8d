"""Pausing a role or the whole cluster: durable, visible, and nothing that runs is touched."""

from __future__ import annotations

from typing import Any

import pytest
from dispatching import World

from headrace.daemons.dispatch.reasons import why_waiting
from headrace.daemons.dispatch.switches import Switches
from headrace.daemons.protocol import Credit, Done, Failed, Outcomes, Recall
from headrace.pipeline.facts import Switched
from headrace.pipeline.task import Needs, Outcome

SHELL = Needs(role="shell")


@pytest.fixture
def world() -> World:
    world = World()
    world.broker(slots=4)
    world.pipeliner()
    world.submit("r1")
    return world


def started(world: World) -> list[str]:
    return [one.job for one in world.assigned()]


def why(world: World, job: str, run: str = "r1") -> str:
    return why_waiting(world.dispatch.cluster, world.runs[run].live[job, ()])


@pytest.mark.parametrize(
    ("role", "kept"),
    [
        (None, ""),
        ("encode", ""),
        ("shell", "paused: role shell"),
        ("Shell", "paused: role shell"),
        ("Linux && shell", "paused: role shell"),
        ("Linux && !shell", ""),
        ("gpu || shell", "paused: role gpu, shell"),
        ("sh*", "paused: role shell"),
    ],
)
def test_a_pause_keeps_what_wants_the_role_by_name(role: str | None, kept: str) -> None:
    switches = Switches()
    switches.restore(["shell", "gpu"])
    assert switches.keeps(role) == kept


def test_a_paused_role_starts_nothing_new_and_others_go_on(world: World) -> None:
    world.enqueue("r1", "before", needs=SHELL)
    assert isinstance(world.control("pause", argument="shell"), Done)
    world.enqueue("r1", "after", needs=SHELL)
    world.enqueue("r1", "other")
    assert started(world) == ["before", "other"]
    assert why(world, "after") == "paused: role shell"
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease)]))
    assert ("before", ()) not in world.runs["r1"].live  # what runs goes on to its end
    world.control("resume", argument="shell")
    assert started(world) == ["before", "other", "after"]


def test_a_paused_cluster_starts_nothing_at_all_until_it_is_resumed(world: World) -> None:
    world.control("pause")
    world.submit("r2")
    world.enqueue("r1", "A")
    world.enqueue("r2", "B", needs=SHELL)
    world.enqueue("r2", "hook:always", hook=True)
    assert not started(world) and why(world, "A") == "paused: the cluster"
    world.control("resume")
    assert sorted(started(world)) == ["A", "B", "hook:always"]


def test_role_and_cluster_are_paused_by_themselves(world: World) -> None:
    world.control("pause")
    world.control("pause", argument="shell")
    world.enqueue("r1", "A", needs=SHELL)
    world.control("resume")
    assert not started(world)
    world.control("resume", argument="shell")
    assert started(world) == ["A"]


def test_a_run_that_is_paused_by_itself_stays_so_when_its_role_is_resumed(world: World) -> None:
    world.control("pause", "r1")
    world.control("pause", argument="shell")
    world.enqueue("r1", "A", needs=SHELL)
    world.control("resume", argument="shell")
    assert not started(world)
    world.control("resume", "r1")
    assert started(world) == ["A"]


def test_a_switch_is_a_fact_once(world: World) -> None:
    for _ in range(2):
        world.control("pause", argument="shell")
    world.control("resume", argument="shell")
    world.control("resume")
    assert [(fact.role, fact.on) for fact in world.facts(Switched)] == [("shell", True), ("shell", False)]
    assert [record.run for record in world.records if isinstance(record.fact, Switched)] == [None, None]


def test_what_is_paused_is_still_so_after_a_restart() -> None:
    world = World(epoch=2, last=9)
    world.dispatch.restore([], [], (), ["shell"])
    world.broker()
    world.pipeliner()
    world.submit("r1")
    world.enqueue("r1", "A", needs=SHELL)
    world.enqueue("r1", "B")
    assert started(world) == ["B"]


def test_a_role_needs_a_name(world: World) -> None:
    assert world.control("pause", argument=" ").code == "invalid" and not world.facts(Switched)


def test_while_the_disk_takes_no_facts_nothing_is_switched(world: World) -> None:
    world.dispatch.stall("disk: full")
    answer = world.control("pause")
    assert isinstance(answer, Failed) and answer.code == "busy" and not world.facts(Switched)


@pytest.mark.parametrize("what", ["run", "role", "cluster"])
def test_what_waits_in_the_pipe_of_a_broker_is_asked_back(world: World, what: str) -> None:
    """It has not begun: a pause is for it, too."""
    fields: dict[str, Any] = {"run": {"run": "r1"}, "role": {"argument": "shell"}, "cluster": {}}[what]
    world.say("broker", Credit(1, 2, 0))
    world.enqueue("r1", "A", "B", needs=SHELL)
    world.submit("r2")
    world.enqueue("r2", "C")
    granted = {one.job: one.lease for one in world.assigned()}
    assert list(granted) == ["A", "B", "C"]
    world.control("pause", **fields)
    recalled = world.last("broker", Recall).leases
    assert set(recalled) == {granted["B"], granted["C"]} if what == "cluster" else recalled == [granted["B"]]
