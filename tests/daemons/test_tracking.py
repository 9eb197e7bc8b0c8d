"""Which Pipeliner has which run, what it is told, and how a run ends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from dispatching import World, restarted

from headrace.daemons.dispatch import tracking
from headrace.daemons.dispatch.effects import Forget, Load
from headrace.daemons.dispatch.runs import OpenRun
from headrace.daemons.protocol import (
    Again,
    Beat,
    BrokerCard,
    Bye,
    Conclude,
    Credit,
    Drop,
    Enqueue,
    Halt,
    HandedBack,
    Held,
    Hello,
    News,
    Outcomes,
    Pulse,
    Refuse,
    Submission,
    Submit,
    Take,
    Welcome,
)
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import Ending, Finished, Parked, Returned
from headrace.pipeline.task import Outcome, Ready


@pytest.fixture
def world() -> World:
    world = World()
    world.broker()
    world.pipeliner()
    return world


def told(world: World, peer: str = "pipeliner") -> list[int]:
    """The facts that this Pipeliner was told, in order."""
    return [
        sequence
        for to, message in world.sent
        if to == peer and isinstance(message, Take | News)
        for sequence, _ in message.facts
    ]


def loads(world: World) -> list[Load]:
    return [one for one in world.asked if isinstance(one, Load)]


def owner(world: World, run: str) -> str | None:
    return world.runs[run].owner


def die(world: World, name: str) -> None:
    world.dispatch.unreachable(name)
    world.flush()


# Joining and leaving --------------------------------------------------------------------------------------------------


def test_runs_are_spread_over_pipeliners(world: World) -> None:
    world.pipeliner("second")
    for name in ("r1", "r2", "r3", "r4"):
        world.submit(name)
    assert sorted(str(owner(world, name)) for name in world.runs) == ["pipeliner"] * 2 + ["second"] * 2


def test_a_pipeliner_that_joins_again_without_its_runs_is_given_them_anew(world: World) -> None:
    world.submit("r1")
    world.submit("r2")
    held = world.runs["r2"]
    world.pipeliner(runs=(("r2", held.take, held.last),))
    assert [(load.run, load.definition) for load in loads(world)] == [("r1", True), ("r2", False)]
    assert world.count("pipeliner", Welcome) == 2


def test_a_pipeliner_that_holds_runs_of_others_or_of_nobody_is_told_to_drop_them(world: World) -> None:
    world.submit("r1")
    world.pipeliner("second", runs=(("r1", 1, 1), ("gone", 1, 1)))
    assert [message for to, message in world.sent if to == "second"][1:] == [Drop("r1", 0), Drop("gone", 0)]
    assert owner(world, "r1") == "pipeliner"


def test_a_run_that_a_pipeliner_was_told_to_drop_is_given_to_it_whole(world: World) -> None:
    """It greets until it is answered. Meanwhile the run has become its own, and the first answer comes first."""
    world.submit("r1")
    world.pipeliner("second", runs=(("r1", 0, 1),))
    assert world.sent[-1] == ("second", Drop("r1", 0))
    world.say("pipeliner", Bye())
    for _ in range(2):
        world.pipeliner("second", runs=(("r1", 0, 1),))
        assert loads(world)[-1].definition
    world.load()
    world.pipeliner("second")
    world.load()
    world.pipeliner("second", runs=(("r1", 1, 1),))
    assert not loads(world)[-1].definition


def test_a_pipeliner_that_has_seen_more_than_there_is_gets_all_that_is_newer_than_the_run(world: World) -> None:
    world.submit("r1")
    world.pipeliner(runs=(("r1", 1, 999),))
    assert loads(world)[-1].after == world.runs["r1"].last


def test_what_a_pipeliner_holds_of_a_waiting_run_does_not_start_it(world: World) -> None:
    world.submit("r1")
    world.submit("r2", after=("r1",))
    world.pipeliner("second", runs=(("r2", 1, 1),))
    assert owner(world, "r2") is None and not loads(world)


def test_a_pipeliner_that_says_goodbye_passes_its_runs_on(world: World) -> None:
    world.submit("r1")
    world.pipeliner("second")
    world.say("pipeliner", Bye())
    assert owner(world, "r1") == "second" and world.runs["r1"].takes_lost == 0
    assert Forget("pipeliner") in world.asked


def test_heartbeats_of_a_pipeliner_are_answered_with_their_stamp(world: World) -> None:
    world.say("pipeliner", Beat(7.0, 3))
    assert world.last("pipeliner", Pulse) == Pulse(7.0, 3)


def test_an_unreachable_stranger_or_broker_loses_nothing(world: World) -> None:
    for name in ("stranger", "broker"):
        die(world, name)
    assert set(world.dispatch.cluster.brokers) == {"broker"}


def test_pipeliners_that_fall_silent_together_do_not_inherit_from_each_other(world: World) -> None:
    world.pipeliner("second")
    world.submit("r1")
    world.submit("r2")
    world.later(1.9)
    world.later(1.9)
    world.pipeliner("third")
    world.later(1.9)
    world.later(1.9)
    assert list(world.dispatch.cluster.pipeliners) == ["third"]
    assert {one.takes_lost for one in world.runs.values()} == {1}


def test_peers_of_another_role_or_without_a_card_are_refused(world: World) -> None:
    world.say("x", Hello("watcher", "host/x"))
    world.say("y", Hello("broker", "host/y"))
    assert "does not join" in world.last("x", Refuse).reason and world.last("y", Refuse)
    assert set(world.dispatch.cluster.brokers) == {"broker"}


def test_what_only_clients_say_is_not_heard_among_the_messages_of_peers(world: World) -> None:
    sent = len(world.sent)
    world.say("broker", Submit("ask", [Submission("r1", b"")]))
    assert not world.runs and len(world.sent) == sent


# After a restart ------------------------------------------------------------------------------------------------------


def test_after_a_restart_runs_wait_a_moment_for_those_who_still_hold_them() -> None:
    world = World(epoch=2, last=20)
    runs = [OpenRun(name, at, RunOptions(), 1e9, world.now, last=10 + at) for at, name in enumerate(("r1", "r2"), 1)]
    world.dispatch.restore(runs, [])
    world.pipeliner("early")
    world.pipeliner("holder", runs=(("r2", 1, 12),))
    assert (owner(world, "r1"), owner(world, "r2")) == (None, "holder")
    world.later(1.0)
    assert (owner(world, "r1"), owner(world, "r2")) == ("early", "holder")


def test_after_a_restart_takes_are_numbered_above_all_that_were() -> None:
    world = restarted()
    assert world.runs["r1"].take > 2 << 32


# Takes ----------------------------------------------------------------------------------------------------------------


def test_a_run_that_nobody_can_take_keeps_its_facts_for_the_first_who_comes() -> None:
    world = World()
    world.submit("r1")
    world.control("pause", "r1")
    world.pipeliner()
    take = world.last("pipeliner", Take)
    assert [sequence for sequence, _ in take.facts] == [1, 2] and take.definition == b"definition"
    assert world.runs["r1"].definition is None and not loads(world)


def test_an_orphan_without_a_pipeliner_is_taken_from_the_journal_by_the_next(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    world.say("pipeliner", Bye())
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease)]))
    world.pipeliner("second")
    load = loads(world)[-1]
    assert (load.run, load.after, load.definition) == ("r1", 0, True)


def test_a_long_take_comes_in_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "PAGE", 3)
    world.submit("r1")
    world.pipeliner(runs=())
    world.load(facts=[(at, b"\xc0") for at in range(1, 9)])
    pages = [message for to, message in world.sent if to == "pipeliner" and isinstance(message, Take | News)][1:]
    assert [len(page.facts) for page in pages] == [3, 3, 2] and [page.more for page in pages] == [True, True, False]
    assert pages[0].definition == b"definition"


def test_what_was_read_for_an_older_take_is_not_used(world: World) -> None:
    world.submit("r1")
    world.pipeliner()
    world.pipeliner()
    first, second = loads(world)
    takes = world.count("pipeliner", Take)
    world.dispatch.loaded("r1", first.take, b"definition", [])
    world.dispatch.loaded("gone", 1, b"definition", [])
    world.dispatch.loaded("r1", second.take, b"definition", [])
    world.dispatch.loaded("r1", second.take, b"definition", [])
    world.flush()
    assert world.count("pipeliner", Take) == takes + 1


def test_facts_that_come_while_a_take_is_read_are_told_once_and_in_order(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A", "B")
    first, second = [one.lease for one in world.assigned()]
    world.pipeliner()
    before = len(told(world))
    world.say("broker", Outcomes([Outcome(first)]))
    world.say("broker", Outcomes([Outcome(second)]))
    one = world.runs["r1"]
    world.load(facts=[(sequence, b"\xc0") for sequence in range(one.number, one.last)])  # the journal has all but one
    assert told(world)[before:] == list(range(one.number, one.last + 1))
    assert not one.backlog and not one.loading


@pytest.mark.parametrize("late", [False, True])
def test_an_owner_that_is_asked_anew_misses_no_fact_of_the_same_turn(late: bool) -> None:
    """What ends in the turn in which a job comes back that only its owner can describe."""
    world = restarted()
    lease = (1 << 40) | 7
    held = tuple(Held(lease + at, "r1", job, (), 1) for at, job in enumerate("ABC"))
    world.say("broker", Hello("broker", "host/b", card=BrokerCard(3, ("W",)), held=held))
    world.dispatch.looked_up("broker", "s", set())
    world.flush()
    before, last = len(told(world)), world.runs["r1"].last
    world.say("broker", Outcomes([Outcome(lease)]), HandedBack([lease + 1]))
    world.say("broker", Outcomes([Outcome(lease + 2)]))
    load = loads(world)[-1]
    facts = [record for record in world.records if record.run == "r1" and record.sequence > load.after]
    read = [(record.sequence, record.packed) for record in (facts if late else facts[:1])]
    world.load(facts=read)
    expected = [record.sequence for record in world.records if record.run == "r1" and record.sequence > last]
    assert len(expected) == 2 and told(world)[before:] == expected


# What an owner says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Enqueue, Halt, Conclude])
def test_nobody_speaks_for_a_run_that_is_not_his(world: World, kind: Any) -> None:
    world.submit("r1")
    one = world.runs["r1"]
    last = {Enqueue: (0, one.last, []), Halt: (one.last, []), Conclude: (one.last, "failed")}[kind]
    world.pipeliner("second")
    world.say("second", kind("r1", one.take, *last))
    assert world.last("second", Drop) == Drop("r1", one.take)
    world.say("second", kind("gone", 1, *last))
    assert world.last("second", Drop) == Drop("gone", 1)
    world.say("stranger", kind("r1", one.take, *last))
    assert world.last("stranger", Again)
    assert not world.facts(Finished) and not one.live


def test_an_ended_instance_is_guarded_until_its_owner_has_seen_the_end(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A", "B")
    one, seen = world.runs["r1"], world.runs["r1"].last
    first, second = [assignment.lease for assignment in world.assigned()]
    world.say("broker", Outcomes([Outcome(first), Outcome(second)]), Credit(2, 0, second))
    ready = [Ready(job, (), 1, "W", b"task") for job in "AB"]
    world.say("pipeliner", Enqueue("r1", one.take, 0, seen, ready))
    world.say("pipeliner", Enqueue("r1", one.take, 0, seen + 1, ready))
    assert [key[0] for key in one.live] == ["A"]  # the end of B has not been seen
    world.say("pipeliner", Halt("r1", one.take, one.last, []))
    assert not one.unseen


def test_a_verdict_is_fixed_once_and_the_end_comes_after_the_hooks(world: World) -> None:
    world.submit("r1")
    world.conclude("r1", "cancelled", final=False)
    world.conclude("r1", "success", final=False)
    assert [fact.verdict for fact in world.facts(Ending)] == ["cancelled"]
    world.enqueue("r1", "hook:always", hook=True)
    world.conclude("r1", "success")
    assert not world.facts(Finished)
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease, "failed")]))
    world.conclude("r1", "success")
    assert [fact.verdict for fact in world.facts(Finished)] == ["cancelled"]


def test_no_verdict_is_taken_while_the_disk_takes_no_facts(world: World) -> None:
    world.submit("r1")
    world.dispatch.stall("disk: full")
    world.conclude("r1")
    assert world.runs
    assert world.dispatch.next_deadline() == float("inf")
    world.dispatch.taken_up()
    world.flush()
    assert world.last("pipeliner", Again) and world.dispatch.next_deadline() < float("inf")
    world.conclude("r1")
    assert not world.runs


def test_an_owner_is_not_told_of_the_end_that_it_gave(world: World) -> None:
    world.submit("r1")
    world.conclude("r1")
    assert told(world) == [2] and world.last("pipeliner", Drop).run == "r1"


def test_the_end_of_a_run_leaves_nothing_behind(world: World) -> None:
    for at in range(20):
        name = f"r{at}"
        world.submit(name, key=name)
        world.enqueue(name, "A")
        lease = world.assigned()[-1].lease
        world.say("broker", Outcomes([Outcome(lease)]), Credit(2, 0, lease))
        world.conclude(name)
    world.dispatch.on_disk(world.records)
    cluster = world.dispatch.cluster
    assert not cluster.runs and not cluster.ended and not cluster.keys
    assert not cluster.pipeliners["pipeliner"].runs and not cluster.brokers["broker"].leases
    assert not cluster.queues.lanes and not cluster.brokers["broker"].lanes


# Suspects -------------------------------------------------------------------------------------------------------------


def test_a_run_that_was_read_is_no_suspect_when_its_pipeliner_dies(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    world.pipeliner("second")
    die(world, "pipeliner")
    assert owner(world, "r1") == "second" and world.runs["r1"].takes_lost == 0


def test_unread_runs_of_a_dead_pipeliner_are_given_out_one_at_a_time(world: World) -> None:
    world.submit("r1")
    world.submit("r2")
    world.pipeliner("second")
    die(world, "pipeliner")
    assert (owner(world, "r1"), owner(world, "r2")) == ("second", None)
    world.pipeliner("third", runs=(("r2", 1, 1),))
    assert owner(world, "r2") is None and world.last("third", Drop).run == "r2"
    world.load()
    world.conclude("r1", peer="second")
    assert owner(world, "r2") is not None


def test_a_run_that_somebody_reads_has_a_clean_slate(world: World) -> None:
    world.submit("r1")
    for name in ("p2", "p3"):
        world.pipeliner(name)
        die(world, next(one for one in world.dispatch.cluster.pipeliners if one != name))
    assert world.runs["r1"].takes_lost == 2
    world.load()
    world.enqueue("r1", "A", peer="p3")
    assert world.runs["r1"].takes_lost == 0


def test_the_death_of_others_does_not_hurry_the_next_suspect(world: World) -> None:
    world.submit("r1")
    world.submit("r2")
    world.pipeliner("second")
    world.pipeliner("third")
    die(world, "pipeliner")
    assert owner(world, "r1") == "second"
    die(world, "third")
    assert owner(world, "r2") is None


def test_a_parked_run_is_given_to_nobody_even_when_it_is_asked_for() -> None:
    world = World()
    world.submit("evil")
    for name in ("p1", "p2", "p3"):
        world.pipeliner(name)
        die(world, name)
    assert world.runs["evil"].parked
    world.pipeliner("p4", runs=(("evil", 1, 1),))
    assert owner(world, "evil") is None and world.last("p4", Take) is None


def test_a_parked_run_stays_so_over_a_restart_until_it_is_tried_again() -> None:
    world = World(lost_takes=1)
    world.submit("evil")
    world.pipeliner("p1")
    die(world, "p1")
    (fact,) = world.facts(Parked)
    assert fact.reason == world.runs["evil"].parked
    world = World(epoch=2, last=20)
    evil = OpenRun("evil", 5, RunOptions(), 1e9, world.now, last=10, parked=fact.reason)
    world.dispatch.restore([evil], [])
    world.later(1.0)
    world.pipeliner("p2", runs=(("evil", 1, 10),))
    assert owner(world, "evil") is None and world.last("p2", Drop).run == "evil"
    assert world.control("retry", "evil").text == "taken up again"
    assert owner(world, "evil") == "p2" and world.facts(Parked)[-1].reason == ""


def test_a_parked_run_of_an_earlier_epoch_can_be_cancelled() -> None:
    world = World(epoch=2, last=20)
    evil = OpenRun("evil", 5, RunOptions(), 1e9, world.now, last=10, parked="three Pipeliners died")
    world.dispatch.restore([evil], [])
    world.control("cancel", "evil", reason="enough")
    world.later(1.0)
    (end,) = world.facts(Finished)
    assert end.verdict == "cancelled" and "three Pipeliners died" in end.error.reason


def test_a_run_that_is_not_parked_is_not_tried_again_while_it_goes_on(world: World) -> None:
    world.submit("r1")
    assert world.control("retry", "r1").code == "conflict"


def test_of_the_runs_of_a_dead_pipeliner_only_unread_ones_are_parked() -> None:
    world = World(lost_takes=1)
    world.pipeliner("p1")
    for name in ("r1", "r2", "r3"):
        world.submit(name)
    world.enqueue("r3", "A", peer="p1")
    die(world, "p1")
    assert [bool(one.parked) for one in world.runs.values()] == [True, True, False]


def test_a_turn_has_effects_from_its_first_decision_to_its_end(world: World) -> None:
    cluster = world.dispatch.cluster
    assert not cluster.has_effects
    world.dispatch.handle("stranger", "s", Beat(1.0))
    assert cluster.has_effects
    world.flush()
    assert not cluster.has_effects


def test_times_are_taken_once_a_turn(world: World) -> None:
    world.dispatch.at(world.now + 1.0, 1e9 + 1.0)
    assert (world.dispatch.cluster.now, world.dispatch.cluster.wall) == (world.now + 1.0, 1e9 + 1.0)


def test_every_fact_that_is_told_is_the_one_that_was_recorded(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease)]))
    (record,) = [record for record in world.records if isinstance(record.fact, Returned)]
    assert world.last("pipeliner", News).facts == [(record.sequence, msgspec.Raw(record.packed))]
