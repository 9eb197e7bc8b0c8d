"""Leases: what Brokers hold, what they come back with, and how attempts end."""

from __future__ import annotations

from typing import Any

import pytest
from dispatching import World, restarted
from msgspec.structs import replace

from headrace.daemons.dispatch.effects import Forget, Load, Lookup, Record, RouterEffect, Send, Tell
from headrace.daemons.dispatch.runs import OpenRun
from headrace.daemons.protocol import (
    Again,
    Beat,
    BrokerCard,
    Bye,
    Control,
    Credit,
    Done,
    Enqueue,
    Failed,
    Halt,
    HandedBack,
    Held,
    Hello,
    Kill,
    Noted,
    Outcomes,
    Pulse,
    Run,
    Signals,
    Take,
    Welcome,
)
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import Registered, Returned, Unregistered
from headrace.pipeline.task import Needs, Outcome, Ready

OLD = (1 << 40) | 7
"""A lease of epoch 1."""
CARD = BrokerCard(2, ("W",))


@pytest.fixture
def world() -> World:
    world = World()
    world.broker()
    world.pipeliner()
    return world


def old(job: str = "A", lease: int = OLD, **fields: Any) -> Held:
    return Held(lease, fields.pop("run", "r1"), job, (), fields.pop("attempt", 1), **fields)


def back(world: World, *held: Held, peer: str = "broker", ended: Any = (), outcomes: Any = ()) -> None:
    """A Broker comes back with these leases, and they are looked up."""
    world.say(peer, Hello("broker", f"host/{peer}", card=CARD, held=held, outcomes=tuple(outcomes)))
    if world.asked and world.asked[-1] == Lookup(peer, "s"):
        world.dispatch.looked_up(peer, "s", set(ended))
        world.flush()


def running(world: World, *jobs: str, **ready: Any) -> list[int]:
    """Jobs of run r1, granted."""
    world.submit("r1")
    world.enqueue("r1", *jobs, **ready)
    return [one.lease for one in world.assigned()]


def drain(world: World, name: str, reason: str | None = None) -> Any:
    world.dispatch.drain("client", Control("d", "drain", argument=name, reason=reason))
    world.flush()
    return [message for to, message in world.sent if to == "client"][-1]


def ends(world: World) -> list[tuple[str, str]]:
    return [(fact.job, fact.kind) for fact in world.facts(Returned)]


# Brokers join and leave -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", [Outcomes([]), Credit(1, 0, 0), HandedBack([1]), Signals([]), Beat(1.0)])
def test_a_stranger_that_speaks_like_a_broker_is_asked_to_say_hello(world: World, message: Any) -> None:
    world.say("stranger", message)
    assert world.sent[-1] == ("stranger", Again())
    world.say("broker", message, session="an older one")
    assert world.sent[-1] == ("broker", Again())


def test_goodbye_of_a_stranger_or_an_old_session_changes_nothing(world: World) -> None:
    world.say("stranger", Bye())
    world.say("broker", Bye(), session="an older one")
    world.say("pipeliner", Bye(), session="an older one")
    assert set(world.dispatch.cluster.brokers) == {"broker"} and set(world.dispatch.cluster.pipeliners) == {"pipeliner"}


def test_a_broker_that_joins_again_with_what_we_know_needs_no_lookup(world: World) -> None:
    (lease,) = running(world, "A")
    back(world, Held(lease, "r1", "A", (), 1))
    assert world.count("broker", Welcome) == 2 and not world.asked
    assert list(world.dispatch.cluster.brokers["broker"].leases) == [lease]


def test_a_broker_that_joins_again_gets_nothing_before_its_credit(world: World) -> None:
    world.say("broker", Hello("broker", "host/broker", card=CARD))
    assert running(world, "A") == []
    world.say("broker", Credit(1, 0, 0))
    assert len(world.assigned()) == 1


def test_what_a_broker_does_not_come_back_with_goes_to_its_old_places(world: World) -> None:
    first, second = running(world, *"ABC")
    back(world, Held(second, "r1", "B", (), 1))
    world.say("broker", Credit(2, 0, second))
    assert [one.job for one in world.assigned()] == ["A", "B", "A", "C"]
    assert first not in world.dispatch.cluster.brokers["broker"].leases


def test_a_lease_of_this_epoch_that_we_gave_up_is_not_taken_back(world: World) -> None:
    (lease,) = running(world, "A")
    world.say("broker", HandedBack([lease]))
    back(world, Held(lease, "r1", "A", (), 1))
    assert world.last("broker", Kill).leases == world.last("broker", Noted).leases == [lease]
    assert not world.dispatch.cluster.brokers["broker"].leases


def test_an_answer_of_the_journal_about_an_older_hello_is_not_used() -> None:
    world = restarted()
    for session in ("first", "second"):
        hello = Hello("broker", "host/b", card=CARD, held=(old(),))
        world.say("broker", hello, session=session)
    world.dispatch.looked_up("broker", "first", set())
    world.flush()
    assert not world.runs["r1"].live
    greeting = world.dispatch.leasing.greeting("broker")
    assert greeting is not None and greeting.held == (old(),)
    world.dispatch.looked_up("broker", "second", set())
    world.dispatch.looked_up("broker", "second", set())
    world.flush()
    assert len(world.runs["r1"].live) == 1 and world.dispatch.leasing.greeting("broker") is None


def test_a_broker_that_is_lost_is_forgotten_by_the_loop_and_by_the_journal(world: World) -> None:
    world.say("broker", Bye("maintenance"))
    assert world.asked[-1] == Forget("broker")
    assert [(fact.identity, fact.why) for fact in world.facts(Unregistered)] == [("broker", "maintenance")]


def test_what_a_lost_broker_was_to_stop_is_cancelled_and_the_rest_is_lost(world: World) -> None:
    running(world, "A", "B")
    one = world.runs["r1"]
    world.say("pipeliner", Halt("r1", one.take, one.last, [("A", ()), ("A", ())]))
    assert world.count("broker", Kill) == 1
    for _ in range(3):
        world.later(3.0)
        world.say("pipeliner", Beat(world.now))
    assert ends(world) == [("A", "cancelled"), ("B", "lost")]


# After a restart ------------------------------------------------------------------------------------------------------


def test_a_lease_of_a_run_or_round_that_is_not_there_is_refused() -> None:
    world = restarted()
    back(world, old(run="gone"), old(round=1, lease=OLD + 1), old("B", lease=OLD + 2))
    assert world.last("broker", Kill).leases == [OLD, OLD + 1]
    assert list(world.runs["r1"].live) == [("B", ())]


def test_a_waiting_item_is_taken_over_by_the_lease_that_runs_it() -> None:
    world = restarted()
    world.enqueue("r1", "A", after=30)  # ready by a fact of this epoch: it is queued
    world.enqueue("r1", "B", after=10)  # held back
    back(world, old("A"), old("B", lease=OLD + 1))
    world.say("broker", Credit(2, 0, OLD + 1))
    assert not world.assigned() and world.dispatch.cluster.queues.size == 0
    world.say("broker", Outcomes([Outcome(OLD), Outcome(OLD + 1)]))
    assert ends(world) == [("A", "success"), ("B", "success")]


@pytest.mark.parametrize(("epoch", "lapsed", "taken"), [(2, True, True), (3, False, True), (3, True, False)])
def test_a_lease_that_lapsed_counts_only_if_no_other_epoch_could_give_its_work_to_others(
    epoch: int, lapsed: bool, taken: bool
) -> None:
    world = restarted(epoch)
    back(world, old("A", lapsed=lapsed), outcomes=[Outcome(OLD)])
    assert ends(world) == ([("A", "success")] if taken else [])
    assert (world.last("broker", Kill) is None) is taken


def test_what_a_broker_holds_that_an_earlier_epoch_has_given_up_counts_no_more() -> None:
    """It may not know yet that its leases have lapsed: the work was given to others all the same."""
    world = restarted()
    back(world, old("A"), peer="given up", outcomes=[Outcome(OLD)])
    assert ends(world) == [] and world.last("given up", Kill).leases == [OLD]


def given_up() -> tuple[World, Record]:
    """A job waits for Broker `new`, which may have it: the one that had it is given up, by a fact not yet on disk."""
    world = restarted()
    world.broker("new")
    world.enqueue("r1", "A")
    world.now += 9.0
    world.dispatch.at(world.now, 2e9)
    world.dispatch.tick()
    effects = world.dispatch.flush()
    (written,) = [one for one in effects if isinstance(one, Record) and isinstance(one.fact, Unregistered)]
    assert granted_jobs(effects) == []
    return world, written


def test_nobody_is_granted_the_work_of_a_broker_before_it_is_on_disk_that_it_is_given_up() -> None:
    world, written = given_up()
    world.dispatch.handle("new", "s", Credit(1, 0, world.dispatch.cluster.grants.last_lease))
    world.dispatch.handle("pipeliner", "s", Enqueue("r1", world.runs["r1"].take, 0, 10, [Ready("B", (), 1, "W", b"t")]))
    assert granted_jobs(world.dispatch.flush()) == []  # or its lease, a later one, would arrive first
    world.dispatch.on_disk([written])
    assert granted_jobs(world.dispatch.flush()) == ["A", "B"]


def granted_jobs(effects: list[RouterEffect]) -> list[str]:
    grants = [one for one in effects if isinstance(one, Send) and isinstance(one.message, Run)]
    assert not any(one.rests for one in grants)
    return [assignment.job for one in grants for assignment in one.message.assignments]


def test_a_grant_that_waits_for_the_disk_does_not_come_after_a_new_greeting() -> None:
    """It would be of the session before: what the greeting does not list was granted to somebody else meanwhile."""
    world, written = given_up()
    world.dispatch.handle("new", "s2", Hello("broker", "host/new", card=BrokerCard(1, ("W",)), count=2))
    world.dispatch.on_disk([written])
    assert granted_jobs(world.dispatch.flush()) == []
    world.dispatch.handle("new", "s2", Credit(1, 0, 0))
    assert granted_jobs(world.dispatch.flush()) == ["A"]
    world.dispatch.validate()


def test_another_attempt_than_the_one_that_waits_is_refused() -> None:
    world = restarted()
    world.enqueue("r1", "A", attempt=2)
    back(world, old("A"))
    assert world.last("broker", Kill).leases == [OLD]


def test_an_instance_that_is_leased_again_keeps_its_new_lease() -> None:
    world = restarted()
    world.broker("new")
    world.enqueue("r1", "A", after=30)
    back(world, old("A"))
    assert world.last("broker", Kill).leases == [OLD]
    (item,) = world.runs["r1"].live.values()
    assert item.broker is world.dispatch.cluster.brokers["new"]


def test_what_ends_while_the_journal_is_asked_is_not_taken_up_again() -> None:
    world = restarted()
    world.broker("new")
    world.enqueue("r1", "A", after=30)
    world.say("broker", Hello("broker", "host/b", card=CARD, held=(old(),)))
    world.say("new", Outcomes([Outcome(world.assigned("new")[0].lease)]))
    world.dispatch.looked_up("broker", "s", set())
    world.flush()
    assert ends(world) == [("A", "success")] and world.last("broker", Kill).leases == [OLD]


def test_what_ends_while_several_brokers_are_looked_up_is_remembered_for_the_last_of_them() -> None:
    world = restarted()
    world.broker("new")
    world.enqueue("r1", "A", after=30)
    for name in ("first", "second"):
        world.say(name, Hello("broker", f"host/{name}", card=CARD, held=(old(),)))
    world.say("new", Outcomes([Outcome(world.assigned("new")[0].lease)]))
    for name in ("first", "second"):
        world.dispatch.looked_up(name, "s", set())
    world.flush()
    assert world.last("first", Kill).leases == world.last("second", Kill).leases == [OLD]
    assert ends(world) == [("A", "success")]


def test_what_runs_of_a_run_that_was_cancelled_is_stopped_when_its_broker_comes_back() -> None:
    world = restarted()
    world.control("cancel", "r1")
    back(world, old("A"))
    assert world.last("broker", Kill).leases == [OLD]
    world.say("broker", Beat(1.0, 0, (OLD,)))
    assert world.last("broker", Pulse).kill == (OLD,)
    world.say("broker", HandedBack([OLD]))
    assert ends(world) == [("A", "cancelled")] and not world.facts(Returned)[0].charged


def test_a_lease_that_was_taken_up_learns_its_work_from_the_owner_and_can_be_handed_on() -> None:
    world = restarted()
    back(world, old("A", needs=Needs(priority=3)))
    world.enqueue("r1", "A", after=10)
    world.say("broker", HandedBack([OLD]), Credit(1, 0, OLD))
    (assignment,) = world.assigned()
    assert (assignment.task, assignment.needs) == (b"task", Needs(priority=3))


def test_a_second_description_of_the_work_does_not_change_it() -> None:
    world = restarted()
    back(world, old("A"))
    world.enqueue("r1", "A", attempt=2)  # not the attempt that runs
    (item,) = world.runs["r1"].live.values()
    assert item.ready.task == b""
    world.enqueue("r1", "A")
    world.enqueue("r1", "A", delay=5.0)
    assert (item.ready.task, item.ready.delay) == (b"task", 0.0)


def test_jobs_with_limits_wait_until_every_broker_is_back() -> None:
    world = restarted(limits={"licence": 1})
    world.broker("new")
    world.enqueue("r1", "A", after=30, needs=Needs(limits=("licence",)))
    world.enqueue("r1", "B", after=30, needs=Needs(priority=1))
    assert [one.job for one in world.assigned("new")] == ["B"]
    back(world)
    assert [one.job for one in world.assigned("new")] == ["B", "A"]


def test_limits_that_running_jobs_hold_are_taken_though_they_are_lower_now() -> None:
    world = restarted(limits={"licence": 1})
    needs = Needs(limits=("licence",))
    back(
        world,
        old("A", needs=needs),
        old("B", lease=OLD + 1, needs=needs),
        old("C", lease=OLD + 2, needs=Needs(limits=("gone",))),
    )
    assert world.dispatch.cluster.queues.used == {"licence": 2, "gone": 1}
    world.enqueue("r1", "D", after=30, needs=needs)
    world.say("broker", Credit(2, 0, 0), Outcomes([Outcome(OLD)]))
    assert not world.assigned()
    world.say("broker", Outcomes([Outcome(OLD + 1), Outcome(OLD + 2)]))
    assert [one.job for one in world.assigned()] == ["D"]


def test_brokers_that_do_not_come_back_are_not_waited_for_a_second_time() -> None:
    world = restarted()
    for _ in range(3):
        world.later(3.0)
        world.say("pipeliner", Beat(world.now))
    assert [fact.identity for fact in world.facts(Unregistered)] == ["broker"]


def test_without_open_runs_nothing_waits_for_brokers_and_those_that_are_gone_are_written_off() -> None:
    world = World(epoch=2, last=20, limits={"licence": 1})
    world.dispatch.restore([], ["dead", "broker"])
    world.broker()
    world.pipeliner()
    assert len(running(world, "A", needs=Needs(limits=("licence",)))) == 1
    for _ in range(3):
        world.later(3.0)
        world.say("broker", Beat(world.now, world.assigned()[0].lease, (world.assigned()[0].lease,)))
    assert [fact.identity for fact in world.facts(Unregistered)] == ["dead"]


def test_what_has_ended_before_its_lease_is_looked_up_is_neither_refused_nor_noted() -> None:
    """On a slow disk a welcome for one greeting may come while the lookup for the next one waits."""
    world = restarted()
    world.say("broker", Hello("broker", "host/broker", card=CARD, held=(old(),)))
    world.say("broker", Outcomes([Outcome(OLD)]))
    assert not world.count("broker", Noted) and not world.facts(Returned)
    world.dispatch.looked_up("broker", "s", set())
    world.say("broker", Outcomes([Outcome(OLD)]))
    assert [fact.lease for fact in world.facts(Returned)] == [OLD]
    assert world.last("broker", Noted).leases == [OLD]


def test_a_broker_whose_leases_are_still_looked_up_is_not_written_off() -> None:
    world = restarted()
    world.enqueue("r1", "A", after=10, needs=Needs(queue_timeout=1.0))
    world.later(7.0)
    world.say("pipeliner", Beat(world.now))
    world.say("broker", Hello("broker", "host/b", card=CARD, held=(old(),)))
    world.later(1.5)
    assert not world.facts(Unregistered) and not world.facts(Returned)
    world.dispatch.looked_up("broker", "s", set())
    world.say("broker", Outcomes([Outcome(OLD)]))
    assert ends(world) == [("A", "success")]


def test_a_broker_that_comes_back_only_to_say_goodbye_is_waited_for_no_more() -> None:
    world = restarted()
    world.broker("new")
    world.enqueue("r1", "A", after=10)
    world.say("broker", Hello("broker", "host/b", card=CARD, held=(old(),)), Bye())
    assert [one.job for one in world.assigned("new")] == ["A"]
    world.dispatch.looked_up("broker", "s", set())
    assert world.dispatch.leasing.greeting("broker") is None


def test_a_run_does_not_end_before_every_broker_that_may_run_something_of_it_is_back() -> None:
    world = restarted()
    world.conclude("r1")
    assert world.runs
    back(world)
    world.conclude("r1")
    assert not world.runs


def test_a_run_of_this_epoch_is_served_though_brokers_are_still_missing() -> None:
    world = restarted()
    world.broker("new")
    world.submit("r2")
    world.enqueue("r2", "A", after=30)
    assert [one.job for one in world.assigned("new")] == ["A"]


def test_what_was_to_be_stopped_while_its_broker_was_missing_is_stopped_when_that_comes_back() -> None:
    world = restarted()
    world.broker("new")
    one = world.runs["r1"]
    world.say("pipeliner", Halt("r1", one.take, one.last, [("A", ())]))
    world.enqueue("r1", "B", after=30)
    assert not world.assigned("new")  # it may come after A, which may still run
    back(world, old("A"))
    assert world.last("broker", Kill).leases == [OLD]
    assert not world.assigned("new")  # A still runs: the owner, who is told so, says anew what may start beside it
    (asked,) = [effect for effect in world.asked if isinstance(effect, Load) and effect.run == "r1"][-1:]
    world.dispatch.loaded("r1", asked.take, None, [])
    world.flush()
    assert world.last("pipeliner", Take).live == (("A", ()),)
    world.say("broker", Outcomes([Outcome(OLD, "cancelled")]))
    world.enqueue("r1", "B", after=30)
    assert [one.job for one in world.assigned("new")] == ["B"]


def test_an_owner_that_stops_what_came_back_without_its_knowledge_is_told_of_it() -> None:
    world = restarted()
    one = world.runs["r1"]
    back(world, old("A"))
    loads = len([effect for effect in world.asked if isinstance(effect, Load)])
    world.say("pipeliner", Halt("r1", one.take, one.last, [("A", ())]))
    assert len([effect for effect in world.asked if isinstance(effect, Load)]) == loads + 1
    world.load(None)
    assert world.last("pipeliner", Take).live == (("A", ()),)


def test_a_run_of_this_epoch_ends_though_brokers_are_still_missing() -> None:
    world = restarted()
    world.submit("r2")
    world.conclude("r2")
    assert list(world.runs) == ["r1"]


# Heartbeats and hand-backs --------------------------------------------------------------------------------------------


def test_several_leases_that_did_not_arrive_go_back_in_their_order(world: World) -> None:
    _, second = running(world, "A", "B", "C")
    world.say("broker", Beat(1.0, seen=second), Credit(3, 0, second))
    assert [one.job for one in world.assigned()][2:] == ["A", "B", "C"]


def test_a_lease_that_is_handed_back_twice_or_unknown_is_not_missed(world: World) -> None:
    (lease,) = running(world, "A")
    world.say("broker", Credit(0, 0, lease), HandedBack([lease, lease, 99]))
    assert world.dispatch.cluster.queues.size == 1


def test_hand_backs_of_an_instance_that_nobody_can_describe_wait_for_the_next_owner() -> None:
    world = restarted()
    back(world, old("A"))
    asked = len(world.asked)
    world.dispatch.unreachable("pipeliner")
    world.say("broker", HandedBack([OLD]))
    assert not world.runs["r1"].live and world.asked[asked:] == [Forget("pipeliner")]


def test_while_a_take_is_read_a_hand_back_asks_for_no_other() -> None:
    world = restarted()
    back(world, old("A"), old("B", lease=OLD + 1))
    takes = world.runs["r1"].take
    world.say("broker", HandedBack([OLD, OLD + 1]))
    assert world.runs["r1"].take == takes + 1
    world.load()
    assert world.last("pipeliner", Take).take == takes + 1


def test_what_comes_back_after_its_queue_timeout_gets_a_moment_elsewhere_and_then_expires(world: World) -> None:
    (lease,) = running(world, "A", needs=Needs(queue_timeout=2.0))
    for _ in range(2):
        world.later(2.0)
        world.say("broker", Beat(world.now, lease, (lease,)))
        world.say("pipeliner", Beat(world.now))
    world.say("broker", Credit(0, 0, lease), HandedBack([lease]))
    world.later(0.5)
    assert not world.facts(Returned)
    world.later(0.5)
    assert ends(world) == [("A", "expired")]


def test_what_comes_back_before_its_queue_timeout_waits_for_the_rest_of_it(world: World) -> None:
    (lease,) = running(world, "A", needs=Needs(queue_timeout=5.0))
    world.say("broker", Credit(0, 0, lease), HandedBack([lease]))
    world.later(2.0)
    world.say("broker", Beat(world.now), Credit(1, 0, lease))
    assert len(world.assigned()) == 2
    world.later(3.0)
    assert not world.facts(Returned)


# Ends -----------------------------------------------------------------------------------------------------------------


def test_an_item_that_is_held_expires_too(world: World) -> None:
    world = restarted()
    world.enqueue("r1", "A", after=10, needs=Needs(queue_timeout=2.0))
    world.later(2.0)
    assert not world.facts(Returned)  # it may run on the Broker that is not back
    for _ in range(2):
        world.say("pipeliner", Beat(world.now))
        world.later(3.0)
    assert ends(world) == [("A", "expired")]


@pytest.mark.parametrize(
    ("options", "why"),
    [({"max_active": 1}, "max_active=1 of its run are running"), ({}, "the run is paused")],
)
def test_an_item_that_expires_says_that_its_own_run_held_it_back(world: World, options: Any, why: str) -> None:
    world.submit("r1", **options)
    world.enqueue("r1", "A")
    if not options:
        world.control("pause", "r1")
    world.enqueue("r1", "B", needs=Needs(queue_timeout=2.0))
    world.later(2.0)
    (fact,) = world.facts(Returned)
    assert fact.kind == "expired" and fact.error.message.endswith(why)


def test_a_held_item_is_stopped_at_once_and_its_timer_finds_nothing(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A", delay=1.0, needs=Needs(queue_timeout=1.0))
    world.control("cancel", "r1")
    assert ends(world) == [("A", "cancelled")]
    world.later(2.0)
    assert len(world.facts(Returned)) == 1


def test_outcomes_with_references_are_recorded_with_their_size(world: World) -> None:
    (lease, other) = running(world, "A", "B")
    world.say("broker", Outcomes([Outcome(lease, ref="r1/A", size=10_000_000), Outcome(other, "failed")]))
    assert [(fact.ref, fact.size) for fact in world.facts(Returned)] == [("r1/A", 10_000_000), (None, 0)]


def test_no_outcomes_are_no_news(world: World) -> None:
    world.say("broker", Outcomes([]))
    assert world.last("broker", Noted) is None


# Draining and signals -------------------------------------------------------------------------------------------------


def test_a_broker_that_is_drained_keeps_what_it_has_and_gets_nothing_new(world: World) -> None:
    (lease,) = running(world, "A")
    assert drain(world, "host").text == "draining, 1 jobs still run there"
    world.enqueue("r1", "B")
    assert len(world.assigned()) == 1
    world.say("broker", Outcomes([Outcome(lease)]))
    assert ends(world) == [("A", "success")]
    assert drain(world, "broker", "off") == Done("d", "taking jobs")
    assert len(world.assigned()) == 2
    drain(world, "broker", "off")
    assert [fact.draining for fact in world.facts(Registered)] == [False, True, False]


def test_a_broker_drains_on_over_a_restart_of_the_router() -> None:
    world = World(epoch=2, last=20)
    world.dispatch.restore([], ["old", "other"], ["old"])
    for name in ("old", "other"):
        world.broker(name)
    assert [(fact.identity, fact.draining) for fact in world.facts(Registered)] == [("old", True), ("other", False)]
    world.pipeliner()
    world.submit("r1")
    world.enqueue("r1", "A")
    assert len(world.assigned("other")) == 1 and not world.assigned("old")


def test_while_the_disk_takes_nothing_nobody_begins_to_drain(world: World) -> None:
    world.dispatch.stall("disk: full")
    answer = drain(world, "host/broker")
    assert isinstance(answer, Failed) and answer.code == "busy"
    assert not world.dispatch.cluster.brokers["broker"].draining


def test_draining_a_broker_that_is_not_there_tells_who_is(world: World) -> None:
    answer = drain(world, "nobody")
    assert isinstance(answer, Failed) and answer.reason.endswith("connected are host/broker")
    world.say("broker", Bye())
    assert drain(world, "nobody").reason.endswith("connected are none")


def test_progress_of_running_jobs_is_kept_and_passed_on(world: World) -> None:
    (lease,) = running(world, "A")
    world.say("broker", Signals([(lease, "progress", b"half"), (99, "progress", b"of nobody")]))
    assert world.asked == [Tell("r1", "A", (), 1, "progress", b"half")]
    (item,) = world.runs["r1"].live.values()
    assert item.signal == b"half"


def test_an_open_run_of_the_journal_without_brokers_is_served_at_once() -> None:
    world = World(epoch=2, last=20)
    world.dispatch.restore([OpenRun("r1", 5, RunOptions(), 1e9, world.now, last=10)], [])
    world.later(1.0)
    world.broker()
    world.pipeliner()
    world.load()
    world.enqueue("r1", "A", after=10, needs=Needs(limits=()))
    assert [one.job for one in world.assigned()] == ["A"]


def test_a_hello_that_was_overtaken_by_a_newer_one_takes_nothing_back(world: World) -> None:
    """Seed 201525: an old Hello that lists nothing came after a grant, and what ran was thrown away and run again."""
    world.submit("r1")
    world.say("broker", Hello("broker", "host/broker", card=CARD, count=2), Credit(1, 0, 0), session="new")
    world.enqueue("r1", "A")
    (granted,) = world.assigned()
    world.say("broker", Hello("broker", "host/broker", card=CARD, count=1), session="old")
    world.say("broker", Outcomes([Outcome(granted.lease)]), session="new")
    assert [fact.lease for fact in world.facts(Returned)] == [granted.lease]
    assert len(world.assigned()) == 1


def test_a_hello_from_before_a_restart_does_not_end_the_wait_for_its_broker() -> None:
    """Seeds 42842 and 48202: it came late and listed nothing; what was granted since ran on, and elsewhere as well."""
    world = restarted()
    late = Hello("broker", "host/broker", card=CARD, count=2, epoch=1)
    world.say("broker", late, session="old")
    assert world.sent[-1] == ("broker", Again())
    assert "broker" not in world.dispatch.cluster.brokers
    world.broker("other")
    world.enqueue("r1", "A", after=5)
    assert world.assigned("other") == []
    world.say("broker", replace(late, count=4, epoch=2, held=(old(),)), session="new")
    world.dispatch.looked_up("broker", "new", set())
    world.say("broker", Outcomes([Outcome(OLD)]), session="new")
    assert [fact.lease for fact in world.facts(Returned)] == [OLD]
    assert world.assigned("other") == []


def test_a_broker_of_this_epoch_need_not_have_heard_of_it(world: World) -> None:
    world.say("new", Hello("broker", "host/new", card=CARD, epoch=0))
    assert world.sent[-1] == ("new", world.dispatch.cluster.welcome)


# Succession -----------------------------------------------------------------------------------------------------------


def succeed(world: World, *identities: str) -> None:
    """Another Broker comes, on a machine where these have died."""
    world.say("heir", Hello("broker", "host/heir", card=CARD, succeeds=identities))
    world.say("heir", Credit(2, 0, 0))


def test_what_a_dead_broker_held_is_handed_on_when_its_successor_has_seen_its_end(world: World) -> None:
    running(world, "A")
    succeed(world, "broker")
    (fact,) = world.facts(Returned)
    assert (fact.kind, fact.charged, fact.error.type) == ("lost", True, "BrokerLost")
    assert "host/heir, which came after it on its machine, found nothing left of it" in fact.error.message
    assert [fact.identity for fact in world.facts(Unregistered)] == ["broker"]
    world.enqueue("r1", "A", attempt=2)
    assert [(one.job, one.attempt) for one in world.assigned("heir")] == [("A", 2)]


def test_a_successor_that_says_so_again_takes_nothing_from_anybody(world: World) -> None:
    succeed(world, "broker")
    world.submit("r1")
    world.enqueue("r1", "A")
    succeed(world, "broker", "heir", "somebody else")
    assert world.facts(Returned) == []
    assert len(world.facts(Unregistered)) == 1


def test_after_a_restart_nobody_waits_for_a_broker_whose_end_was_seen() -> None:
    world = restarted()
    world.enqueue("r1", "A", after=10)
    succeed(world, "broker")
    assert [one.job for one in world.assigned("heir")] == ["A"]
    assert [fact.identity for fact in world.facts(Unregistered)] == ["broker"]
    assert world.facts(Returned) == []


def test_while_the_disk_takes_no_facts_a_dead_broker_is_waited_for(world: World) -> None:
    running(world, "A")
    world.dispatch.stall("full")
    succeed(world, "broker")
    assert world.facts(Returned) == []


def test_what_has_lapsed_is_not_handed_on_while_its_broker_may_still_be_ending_it() -> None:
    """Seed 92: a Broker came back in the moment in which its jobs were being killed, and was given them again."""
    world = restarted(3)
    world.enqueue("r1", "A")
    back(world, old("A", lapsed=True))
    world.say("broker", Credit(2, 0, OLD))
    assert world.last("broker", Kill).leases == [OLD]
    assert not world.assigned()
    world.later(5.0)
    world.say("broker", Beat(1.0))
    world.later(5.0)
    assert [one.job for one in world.assigned()] == ["A"]
    assert not world.facts(Unregistered)
