"""The Router's machine, driven by hand: messages in, effects out, no loop and no clock but ours."""

from __future__ import annotations

from typing import Any

import pytest
from dispatching import World, restarted

from headrace.daemons.dispatch.cluster import Known
from headrace.daemons.dispatch.effects import Load, Lookup, Send
from headrace.daemons.dispatch.reasons import why_waiting
from headrace.daemons.protocol import (
    Again,
    Beat,
    BrokerCard,
    Bye,
    Control,
    Credit,
    Done,
    Drop,
    Endings,
    Enqueue,
    Failed,
    Halt,
    HandedBack,
    Held,
    Hello,
    Kill,
    News,
    Noted,
    Outcomes,
    Pulse,
    Refuse,
    Run,
    Submission,
    Submit,
    Submitted,
    Take,
)
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import Cancelled, Finished, Registered, Released, Returned, RunError
from headrace.pipeline.task import Input, Needs, Outcome, Ready


@pytest.fixture
def world() -> World:
    world = World()
    world.broker()
    world.pipeliner()
    return world


def test_a_run_goes_from_submission_to_its_end(world: World) -> None:
    receipt = world.submit("r1")
    assert [one.ok for one in receipt.receipts] == [True]
    take = world.last("pipeliner", Take)
    assert take.definition == b"definition" and [sequence for sequence, _ in take.facts] == [take.accepted]
    world.enqueue("r1", "A")
    (assignment,) = world.assigned()
    assert (assignment.job, assignment.attempt, assignment.lease >> 40) == ("A", 1, 1)
    world.say("broker", Outcomes([Outcome(assignment.lease, result=b"result")]))
    assert world.last("broker", Noted).leases == [assignment.lease]
    news = world.last("pipeliner", News)
    assert [sequence for sequence, _ in news.facts] == [world.dispatch.cluster.runs["r1"].last]
    world.conclude("r1")
    (end,) = world.last("client", Endings).ends
    assert (end.run, end.verdict) == ("r1", "success")
    assert world.last("pipeliner", Drop).run == "r1"
    assert not world.dispatch.cluster.runs


def test_what_rests_on_a_fact_is_marked_and_a_grant_is_not(world: World) -> None:
    submission = Submission("r1", b"definition")
    world.dispatch.submit("client", Submit("ask", [submission]), {}, {})
    effects = world.dispatch.flush()
    assert all(effect.rests for effect in effects if isinstance(effect, Send))
    one = world.dispatch.cluster.runs["r1"]
    world.dispatch.handle("pipeliner", "s", Enqueue("r1", one.take, 0, one.last, [Ready("A", (), 1, "W", b"t")]))
    (grant,) = [effect for effect in world.dispatch.flush() if isinstance(effect, Send)]
    assert isinstance(grant.message, Run) and not grant.rests


def test_repeating_a_submission_finds_the_run(world: World) -> None:
    world.submit("r1")
    again = world.submit("r1")
    assert [(one.run, one.existed) for one in again.receipts] == [("r1", True)]
    assert len(world.records) == 2  # the Broker and the run


def test_repeating_a_submission_of_an_ended_run_tells_its_end(world: World) -> None:
    known = {"old": Known("old", "failed", RunError("A", (), "boom"))}
    receipt = world.submit("old", known=known)
    assert receipt.receipts[0].existed
    assert world.last("client", Endings).ends[0].verdict == "failed"


@pytest.mark.parametrize(
    ("rule", "ok", "run"), [("return", True, "r1"), ("reject", False, "r1"), ("replace", True, "r2")]
)
def test_a_key_that_is_held(world: World, rule: str, ok: bool, run: str) -> None:
    world.submit("r1", key="nightly")
    receipt = world.submit("r2", key="nightly", on_duplicate=rule, keys={"nightly": "r1"}).receipts[0]
    assert (receipt.ok, receipt.run) == (ok, run)
    if rule == "replace":
        assert world.dispatch.cluster.runs["r1"].cancelled == "replaced by run r2"
        assert not world.dispatch.cluster.runs["r2"].active
        world.conclude("r1", "cancelled")
        assert world.facts(Released) and world.dispatch.cluster.runs["r2"].active


def test_an_outcome_counts_once_and_only_under_its_lease(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    (assignment,) = world.assigned()
    outcome = Outcome(assignment.lease)
    world.say("broker", Outcomes([outcome, outcome, Outcome(12345)]))
    assert len(world.facts(Returned)) == 1
    assert world.last("broker", Noted).leases == [assignment.lease, assignment.lease, 12345]
    assert world.dispatch.cluster.counts["refused outcomes"] == 2


def test_an_outcome_of_another_broker_does_not_count(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    (assignment,) = world.assigned()
    world.broker("other")
    world.say("other", Outcomes([Outcome(assignment.lease)]))
    assert not world.facts(Returned)


def test_an_instance_is_queued_once(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    world.enqueue("r1", "A")
    assert len(world.assigned()) == 1


def test_an_instance_that_has_ended_is_not_queued_by_an_owner_who_has_not_seen_it(world: World) -> None:
    world.submit("r1")
    one = world.dispatch.cluster.runs["r1"]
    seen = one.last
    world.enqueue("r1", "A")
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease)]))
    world.say("pipeliner", Enqueue("r1", one.take, 0, seen, [Ready("A", (), 1, "W", b"task")]))
    assert not one.live
    world.enqueue("r1", "A", attempt=2)
    assert one.live


@pytest.mark.parametrize("change", ["take", "peer", "session"])
def test_only_the_owner_under_the_current_take_speaks_for_a_run(world: World, change: str) -> None:
    world.submit("r1")
    one = world.dispatch.cluster.runs["r1"]
    world.pipeliner("other")
    peer = "other" if change == "peer" else "pipeliner"
    take = one.take - 1 if change == "take" else one.take
    session = "old" if change == "session" else "s"
    world.say(peer, Enqueue("r1", take, 0, one.last, [Ready("A", (), 1, "W", b"task")]), session=session)
    assert not one.live
    if change == "take":  # the newer one is on its way, and may build on what a Drop would take
        assert world.last(peer, Drop) is None
    else:
        assert world.last(peer, Again if change == "session" else Drop)


def test_a_verdict_of_an_owner_who_has_not_seen_every_fact_is_refused(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    seen = world.dispatch.cluster.runs["r1"].last
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease)]))
    world.conclude("r1", seen=seen)
    assert not world.facts(Finished)
    world.conclude("r1")
    assert len(world.facts(Finished)) == 1


def test_a_run_does_not_end_while_something_of_it_runs(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    world.conclude("r1", "failed")
    assert not world.facts(Finished)


def test_a_verdict_with_hooks_is_fixed_first(world: World) -> None:
    world.submit("r1")
    world.conclude("r1", "failed", error=RunError("A", (), "boom"), final=False)
    world.conclude("r1", "success")
    assert world.facts(Finished)[0].verdict == "failed"


def test_a_broker_gets_no_more_than_its_credit(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", *"ABCDE")
    assert len(world.assigned()) == 2
    last = world.assigned()[-1].lease
    world.say("broker", Credit(1, 1, last))
    assert len(world.assigned()) == 4
    world.say("broker", Credit(1, 1, last))  # it does not know of the newest two yet
    assert len(world.assigned()) == 4


def test_jobs_are_spread_over_brokers(world: World) -> None:
    world.broker("other")
    world.submit("r1")
    world.enqueue("r1", *"ABCD")
    assert len(world.assigned("broker")) == len(world.assigned("other")) == 2


def test_a_job_for_a_worker_that_nobody_has_waits_with_its_reason(world: World) -> None:
    world.submit("r1")
    one = world.dispatch.cluster.runs["r1"]
    world.say("pipeliner", Enqueue("r1", one.take, 0, one.last, [Ready("A", (), 1, "Missing", b"task")]))
    (item,) = one.live.values()
    why = why_waiting(world.dispatch.cluster, item)
    assert "no Broker offers worker Missing" in why and "W" in why
    world.broker("able", workers=("Missing",))
    assert len(world.assigned("able")) == 1


def test_waiting_longer_than_queue_timeout_is_a_failure_with_its_reason(world: World) -> None:
    world.submit("r1")
    one = world.dispatch.cluster.runs["r1"]
    ready = Ready("A", (), 1, "Missing", b"task", needs=Needs(queue_timeout=3.0))
    world.say("pipeliner", Enqueue("r1", one.take, 0, one.last, [ready]))
    world.later(2.0)
    assert not world.facts(Returned)
    world.later(2.0)
    (fact,) = world.facts(Returned)
    assert fact.kind == "expired" and "no Broker offers worker Missing" in fact.error.message


def test_a_delayed_attempt_waits_for_its_time(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A", delay=5.0)
    world.later(4.0)
    assert not world.assigned()
    world.later(1.0)
    assert len(world.assigned()) == 1


def test_priority_goes_first_and_age_catches_up(world: World) -> None:
    world.submit("busy")
    world.enqueue("busy", "A", "B")
    world.submit("low")
    world.submit("high", priority=5)
    world.enqueue("low", "L")
    world.enqueue("high", "H")
    world.say(
        "broker", Outcomes([Outcome(one.lease) for one in world.assigned()]), Credit(1, 0, world.assigned()[-1].lease)
    )
    assert world.assigned()[-1].job == "H"
    world.later(3.0)
    world.dispatch.cluster.wall += 3600.0
    world.submit("newer", priority=5)
    world.enqueue("newer", "N")
    world.say("broker", Credit(1, 0, world.assigned()[-1].lease))
    assert world.assigned()[-1].job == "L"


def test_limits_are_never_exceeded_and_come_back(world: World) -> None:
    world = World(limits={"licence": 1})
    world.broker(slots=4)
    world.pipeliner()
    world.submit("r1")
    world.enqueue("r1", "A", "B", needs=Needs(limits=("licence",)))
    (first,) = world.assigned()
    assert world.dispatch.cluster.queues.used == {"licence": 1}
    world.say("broker", Outcomes([Outcome(first.lease)]), Credit(3, 0, first.lease))
    assert [one.job for one in world.assigned()] == ["A", "B"]


def test_role_slots_and_resources_are_kept(world: World) -> None:
    world = World()
    world.broker(slots=8, roles={"shell": 1}, resources={"gpu": 1.0})
    world.pipeliner()
    world.submit("r1")
    world.enqueue("r1", "A", "B", needs=Needs(role="shell"))
    world.enqueue("r1", "C", "D", needs=Needs(resources={"gpu": 1.0}))
    assert sorted(one.job for one in world.assigned()) == ["A", "C"]
    world.enqueue("r1", "E", needs=Needs(role="encode"))
    (item,) = [one for one in world.dispatch.cluster.runs["r1"].live.values() if one.ready.job == "E"]
    assert "not encode" in why_waiting(world.dispatch.cluster, item)


def test_no_more_of_a_run_than_max_active_runs_at_once(world: World) -> None:
    world.broker("large", slots=10)
    world.submit("r1", max_active=1)
    world.enqueue("r1", *"ABC")
    assert len(world.assigned("large")) == 1
    world.say("large", Outcomes([Outcome(world.assigned("large")[0].lease)]))
    assert len(world.assigned("large")) == 2


def test_a_paused_run_starts_nothing_until_it_is_resumed(world: World) -> None:
    world.submit("r1")
    world.dispatch.control("client", Control("1", "pause", "r1"), {})
    world.enqueue("r1", "A")
    assert not world.assigned()
    world.dispatch.control("client", Control("2", "resume", "r1"), {})
    world.flush()
    assert len(world.assigned()) == 1


def test_hand_backs_go_to_their_old_places_uncharged(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", *"ABCD")
    first, second = world.assigned()
    world.say("broker", HandedBack([first.lease, second.lease]), Credit(2, 0, second.lease))
    assert [one.job for one in world.assigned()] == ["A", "B", "A", "B"]
    assert [one.attempt for one in world.assigned()] == [1, 1, 1, 1]
    assert world.assigned()[2].lease > second.lease
    assert not world.facts(Returned)


def test_a_lease_that_has_arrived_and_is_not_listed_goes_back(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    (first,) = world.assigned()
    world.say("broker", Beat(1.0, seen=first.lease - 1))
    assert len(world.assigned()) == 1  # it may still be on its way
    world.say("broker", Beat(2.0, seen=first.lease))
    assert [one.job for one in world.assigned()] == ["A", "A"]
    assert world.last("broker", Pulse).stamp == 2.0


def test_a_silent_broker_loses_its_leases(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    for _ in range(3):
        world.later(3.0)
        world.say("pipeliner", Beat(world.now))
    (fact,) = world.facts(Returned)
    assert (fact.kind, fact.charged) == ("lost", True)
    assert "host/broker" in fact.error.message
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease)]))
    assert world.last("broker", Again) and len(world.facts(Returned)) == 1


def test_nobody_was_silent_while_the_router_itself_was_away(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    world.dispatch.at(world.now + 3600.0, 1e9 + 3600.0)
    world.dispatch.tick()
    world.flush()
    assert world.dispatch.cluster.brokers and not world.facts(Returned)


def test_a_broker_that_says_goodbye_loses_nothing(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    world.say("broker", Bye())
    assert not world.facts(Returned)
    world.broker("other")
    assert [one.job for one in world.assigned("other")] == ["A"]


def test_cancel_ends_what_waits_and_stops_what_runs(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", *"ABC")
    first, second = world.assigned()
    world.dispatch.control("client", Control("1", "cancel", "r1", "enough"), {})
    world.flush()
    assert world.last("client", Done)
    assert [fact.reason for fact in world.facts(Cancelled)] == ["enough"]
    assert [(fact.job, fact.kind) for fact in world.facts(Returned)] == [("C", "cancelled")]
    assert world.last("broker", Kill).leases == [first.lease, second.lease]
    world.say("broker", Beat(1.0, second.lease, (first.lease, second.lease)))
    assert world.last("broker", Pulse).kill == (first.lease, second.lease)
    world.say("broker", Outcomes([Outcome(first.lease, "cancelled"), Outcome(second.lease, result=b"late")]))
    assert [fact.kind for fact in world.facts(Returned)] == ["cancelled", "cancelled", "success"]
    world.conclude("r1", "cancelled")
    assert world.last("client", Endings).ends[0].verdict == "cancelled"


def test_what_was_decided_before_a_cancel_is_not_started(world: World) -> None:
    world.submit("r1")
    one = world.dispatch.cluster.runs["r1"]
    world.dispatch.control("client", Control("1", "cancel", "r1"), {})
    world.flush()
    world.say("pipeliner", Enqueue("r1", one.take, 0, one.last, [Ready("A", (), 1, "W", b"task")]))
    assert not one.live
    world.say("pipeliner", Enqueue("r1", one.take, 1, one.last, [Ready("hook:always", (), 1, "W", b"t", hook=True)]))
    assert one.live


def test_the_hook_of_a_group_comes_when_everything_that_a_cancel_stops_is_dead(world: World) -> None:
    """Seed 1347: it began while a member of the group still ran."""
    world.submit("r1")
    world.enqueue("r1", "A")
    (granted,) = world.assigned()
    world.control("cancel", "r1")
    world.enqueue("r1", "hook:always:group", hook=True)
    assert len(world.assigned()) == 1
    world.say("broker", Outcomes([Outcome(granted.lease, "cancelled")]))
    assert [one.job for one in world.assigned()] == ["A", "hook:always:group"]


def test_a_hook_that_was_called_before_a_cancel_of_the_hooks_is_not_started(world: World) -> None:
    """Seed 10331: it was granted after the cancel."""
    world.submit("r1")
    one = world.dispatch.cluster.runs["r1"]
    world.conclude("r1", "failed", final=False)
    world.control("cancel", "r1")
    called = Ready("hook:always", (), 1, "W", b"t", hook=True)
    world.say("pipeliner", Enqueue("r1", one.take, one.control - 1, one.last, [called]))
    assert not one.live


def test_a_pause_that_changed_nothing_does_nothing_when_it_is_repeated_after_a_resume(world: World) -> None:
    """Seed 1235: only what is recorded is remembered."""
    world.submit("r1")
    for number, verb in enumerate(("pause", "pause", "resume")):
        world.dispatch.control("client", Control(f"{number}", verb, "r1"), {})
    world.flush()
    assert [record.answer and record.answer[0] for record in world.records[-3:]] == ["0", "1", "2"]


def test_the_hook_of_a_group_that_had_ended_before_a_cancel_is_started(world: World) -> None:
    """Seed 507: its owner took it for handed out, the Router had refused it, and the run never ended."""
    world.submit("r1")
    one = world.dispatch.cluster.runs["r1"]
    world.dispatch.control("client", Control("1", "cancel", "r1"), {})
    world.flush()
    called = Ready("hook:success:group", (), 1, "W", b"t", hook=True)
    world.say("pipeliner", Enqueue("r1", one.take, 0, one.last, [Ready("A", (), 1, "W", b"task"), called]))
    assert [job for job, _ in one.live] == ["hook:success:group"]


@pytest.mark.parametrize("verb", ["cancel", "retry"])
def test_commands_about_runs_that_have_ended(world: World, verb: Any) -> None:
    world.dispatch.control("client", Control("1", verb, "old"), {"old": Known("old", "success")})
    world.dispatch.control("client", Control("2", verb, "never"), {})
    world.flush()
    assert world.last("client", Failed).code == "not-found"
    assert (world.last("client", Done) is not None) == (verb == "cancel")


def test_halt_stops_single_instances(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", *"ABC")
    one = world.dispatch.cluster.runs["r1"]
    world.say("pipeliner", Halt("r1", one.take, one.last, [("A", ()), ("C", ()), ("gone", ())]))
    assert [(fact.job, fact.kind) for fact in world.facts(Returned)] == [("C", "cancelled")]
    assert world.last("broker", Kill).leases == [world.assigned()[0].lease]
    world.say("broker", HandedBack([world.assigned()[0].lease]))
    assert world.facts(Returned)[-1].job == "A"


def test_a_run_waits_for_others_and_for_its_time(world: World) -> None:
    world.submit("r1")
    world.submit("r2", after=("r1",))
    world.submit("r3", not_before=1e9 + 10.0)
    assert world.count("pipeliner", Take) == 1
    world.conclude("r1")
    assert world.last("pipeliner", Take).run == "r2"
    world.later(11.0)
    assert [run.id for run in world.dispatch.cluster.runs.values() if run.active] == ["r2", "r3"]


def test_a_run_fails_with_the_run_it_waits_for(world: World) -> None:
    world.submit("r1")
    world.submit("r2", after=("r1",))
    world.submit("r3", after=("nobody",))
    world.conclude("r1", "failed", error=RunError("A", (), "boom"))
    ends = {fact.error.reason for fact in world.facts(Finished) if fact.error}
    assert "it waits for run r1, which ended failed: boom" in ends
    assert "it waits for run nobody, which the Router does not know" in ends


def test_a_deadline_cancels_with_its_reason(world: World) -> None:
    world.submit("r1", deadline=5.0)
    world.later(5.0)
    assert world.dispatch.cluster.runs["r1"].cancelled == "deadline exceeded"


def test_another_pipeliner_takes_over_from_the_facts(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    world.pipeliner("second")
    for _ in range(2):
        world.later(3.0)
        world.say("second", Beat(world.now))
        world.say("broker", Beat(world.now, world.assigned()[-1].lease, (world.assigned()[-1].lease,)))
    (load,) = [one for one in world.asked if isinstance(one, Load)]
    assert load.definition and load.after == 0
    world.say("broker", Outcomes([Outcome(world.assigned()[-1].lease)]))
    world.dispatch.loaded("r1", load.take, b"definition", [(1, b"\xc0")])
    world.flush()
    take = world.last("second", Take)
    assert take.run == "r1" and len(take.facts) == 2  # what was read, and what came meanwhile
    world.enqueue("r1", "B", peer="second")
    assert [one.ready.job for one in world.dispatch.cluster.runs["r1"].live.values()] == ["B"]


def test_a_pipeliner_that_joins_again_gets_newer_facts_only(world: World) -> None:
    world.submit("r1")
    one = world.dispatch.cluster.runs["r1"]
    world.pipeliner(runs=(("r1", one.take, one.last),))
    load = world.asked[-1]
    assert isinstance(load, Load) and not load.definition and load.after == one.last


def test_runs_without_a_pipeliner_wait_for_one() -> None:
    world = World()
    world.submit("r1")
    world.pipeliner()
    assert world.last("pipeliner", Take).run == "r1"


def test_a_run_that_kills_three_pipeliners_is_parked_and_the_others_go_on() -> None:
    world = World()
    world.submit("good")
    world.submit("evil")
    for name in ("p1", "p2", "p3", "p4", "p5", "p6"):
        world.pipeliner(name)
        for load in [one for one in world.asked if isinstance(one, Load)]:
            world.dispatch.loaded(load.run, load.take, b"definition", [])
        world.flush()
        good = world.dispatch.cluster.runs["good"]
        if world.dispatch.cluster.runs["evil"].owner != name and good.owner == name:
            world.enqueue("good", "A", peer=name)
        world.later(6.0)
    assert "3 Pipeliners died" in world.dispatch.cluster.runs["evil"].parked
    world.pipeliner("last")
    assert world.dispatch.cluster.runs["evil"].owner is None


def test_wrong_protocol_and_wrong_role_are_refused(world: World) -> None:
    world.say("x", Hello("broker", "host/x", protocol=99, card=BrokerCard(1)))
    assert "protocol 99" in world.last("x", Refuse).reason or "speaks 99" in world.last("x", Refuse).reason
    world.say("y", Hello("client", "host/y"))
    assert world.last("y", Refuse)


def test_after_a_restart_nothing_is_granted_that_may_still_run_elsewhere() -> None:
    world = restarted()
    world.broker("new")
    world.enqueue("r1", "A", after=10)
    assert not world.assigned("new")
    world.enqueue("r1", "B", after=21)
    assert [one.job for one in world.assigned("new")] == ["B"]
    for _ in range(3):
        world.later(2.9)
        world.say("pipeliner", Beat(world.now))
        world.say("new", Beat(world.now, world.assigned("new")[-1].lease, (world.assigned("new")[-1].lease,)))
    assert [one.job for one in world.assigned("new")] == ["B", "A"]


def test_after_a_restart_a_running_job_is_kept_and_its_outcome_counts() -> None:
    world = restarted()
    lease = (1 << 40) | 7
    hello = Hello("broker", "host/b", card=BrokerCard(2, ("W",)), held=(Held(lease, "r1", "A", (), 1),))
    world.enqueue("r1", "A", after=10)
    world.say("broker", hello)
    assert isinstance(world.asked[-1], Lookup)
    world.dispatch.looked_up("broker", "s", set())
    world.flush()
    assert not world.assigned()
    world.say("broker", Outcomes([Outcome(lease, result=b"x")]))
    (fact,) = world.facts(Returned)
    assert (fact.job, fact.kind, fact.lease) == ("A", "success", lease)


def test_after_a_restart_a_lease_whose_instance_has_ended_is_refused() -> None:
    world = restarted()
    lease = (1 << 40) | 7
    held, outcome = Held(lease, "r1", "A", (), 1), Outcome(lease)
    world.say("broker", Hello("broker", "host/b", card=BrokerCard(2, ("W",)), held=(held,), outcomes=(outcome,)))
    world.dispatch.looked_up("broker", "s", {lease})
    world.flush()
    assert not world.facts(Returned)
    assert lease in world.last("broker", Noted).leases
    assert world.last("broker", Kill).leases == [lease]


def test_after_a_restart_outcomes_that_came_with_the_hello_count() -> None:
    world = restarted()
    lease = (1 << 40) | 7
    held, outcome = Held(lease, "r1", "A", (), 1), Outcome(lease, result=b"x")
    world.say("broker", Hello("broker", "host/b", card=BrokerCard(2, ("W",)), held=(held,), outcomes=(outcome,)))
    world.dispatch.looked_up("broker", "s", set())
    world.flush()
    assert [fact.job for fact in world.facts(Returned)] == ["A"]


def test_an_adopted_lease_that_comes_back_unbegun_is_asked_for_anew() -> None:
    world = restarted()
    lease = (1 << 40) | 7
    hello = Hello("broker", "host/b", card=BrokerCard(2, ("W",)), held=(Held(lease, "r1", "A", (), 1),))
    world.say("broker", hello)
    world.dispatch.looked_up("broker", "s", set())
    world.flush()
    asked = len(world.asked)
    world.say("broker", HandedBack([lease]))
    assert isinstance(world.asked[asked], Load) and not world.dispatch.cluster.runs["r1"].live


def test_while_the_disk_takes_no_facts_nothing_that_makes_one_is_taken(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A")
    world.dispatch.stall("disk: full")
    receipt = world.submit("r2")
    assert receipt.receipts[0].run == "r1"  # the last one that was accepted
    assert world.last("client", Failed).code == "busy"
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease)]))
    assert not world.facts(Returned) and not world.last("broker", Noted)
    world.later(100.0)
    assert world.dispatch.cluster.brokers
    world.dispatch.taken_up()
    world.flush()
    assert world.last("broker", Again)


def test_too_many_open_runs_are_refused_with_busy() -> None:
    world = World(open_runs=1)
    world.submit("r1")
    world.submit("r2")
    assert world.last("client", Failed).retry_after
    assert list(world.dispatch.cluster.runs) == ["r1"]


def test_small_results_travel_with_the_grant_and_large_data_is_asked_for() -> None:
    world = World(inline_data=3)
    world.broker()
    world.pipeliner()
    world.submit("r1")
    world.enqueue("r1", "A")
    world.say(
        "broker",
        Outcomes([Outcome(world.assigned()[0].lease, result=b"result")]),
        Credit(2, 0, world.assigned()[0].lease),
    )
    world.enqueue("r1", "B", inputs=(Input("A"), Input("unknown"), Input("A", many=True)))
    supplied = world.assigned()[-1].inputs
    assert [one.value for one in supplied] == [b"result", None, None]
    header = world.last("broker", Run).headers[0]
    assert (header.data, header.ref) == (None, "journal")


def test_brokers_that_join_are_facts(world: World) -> None:
    assert [fact.identity for fact in world.facts(Registered)] == ["broker"]


def test_a_run_that_ends_where_it_is_accepted_is_not_accepted_twice_in_one_turn(world: World) -> None:
    """It is neither open nor in the journal until its facts are on disk."""
    twice = [Submission("r1", b"definition", RunOptions(after=("nobody",)))] * 2
    world.dispatch.submit("client", Submit("one", twice), {}, {})
    world.dispatch.submit("client", Submit("two", twice[:1]), {}, {})
    world.flush()
    assert [fact.verdict for fact in world.facts(Finished)] == ["failed"]
    assert [one.existed for one in world.last("client", Submitted).receipts] == [True]
    world.dispatch.on_disk(world.records)
    assert not world.dispatch.cluster.ended


def test_a_key_is_held_until_the_journal_tells_who_has_it(world: World) -> None:
    world.pipeliner()
    world.submit("r1", key="nightly")
    world.conclude("r1")
    assert world.submit("r2", key="nightly").receipts[0].run == "r1"
    world.dispatch.on_disk(world.records)
    told = world.submit("r3", key="nightly", keys={"nightly": "r1"}, known={"r1": Known("r1", "success")})
    assert told.receipts[0].run == "r1"
    assert not world.dispatch.cluster.keys


def test_pipeliners_that_fall_silent_together_do_not_inherit_from_each_other(world: World) -> None:
    """A switch that is out for six seconds must not look like a run that has killed three Pipeliners."""
    for name in ("p1", "p2", "p3", "p4"):
        world.pipeliner(name)
    world.submit("r1")
    world.later(6.5)
    assert not world.dispatch.cluster.pipeliners
    run = world.dispatch.cluster.runs["r1"]
    assert run.takes_lost == 1 and not run.parked
    world.pipeliner("p5")
    assert run.owner == "p5"
