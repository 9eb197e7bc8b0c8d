"""What clients ask of the Router's machine: runs come in, wait, are cancelled, paused, opened again and pruned."""

from __future__ import annotations

from typing import Any

import pytest
from dispatching import World

from headrace.daemons.dispatch.cluster import Known
from headrace.daemons.dispatch.runs import OpenRun
from headrace.daemons.protocol import (
    Beat,
    Control,
    Done,
    Failed,
    Follow,
    Kill,
    Outcomes,
    Submission,
    Submit,
    Submitted,
    Take,
)
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import (
    Accepted,
    Cancelled,
    Finished,
    Paused,
    Pruned,
    Released,
    Reopened,
    Returned,
    RunError,
)
from headrace.pipeline.task import Outcome


@pytest.fixture
def world() -> World:
    world = World()
    world.broker()
    world.pipeliner()
    return world


def submit(world: World, *names: str, follow: bool = True, known: Any = None, client: str = "client") -> Any:
    submissions = [Submission(name, b"definition") for name in names]
    world.dispatch.submit(client, Submit("ask", submissions, follow), known or {}, {})
    world.flush()
    return world.last(client, Submitted)


def reopen(world: World, run: OpenRun, client: str = "client") -> Any:
    world.dispatch.reopen(client, Control("again", "retry", run.id), run)
    world.flush()
    return [message for to, message in world.sent if to == client][-1]


def ended(run: str, world: World, **options: Any) -> OpenRun:
    """A run that has ended, as the journal tells it."""
    return OpenRun(run, 2, RunOptions(**options), 1e9, world.now - 50.0, last=5, control=1, cancelled="enough")


def told_ends(world: World, client: str = "client") -> list[tuple[str, str]]:
    return [
        (end.run, end.verdict)
        for to, message in world.sent
        if to == client and hasattr(message, "ends")
        for end in message.ends
    ]


# Submitting -----------------------------------------------------------------------------------------------------------


def test_a_client_that_does_not_follow_hears_nothing_of_the_end(world: World) -> None:
    submit(world, "r1", follow=False)
    world.conclude("r1")
    assert told_ends(world) == []


def test_a_repeat_that_does_not_follow_is_told_that_the_run_exists_and_no_more(world: World) -> None:
    receipts = submit(world, "old", follow=False, known={"old": Known("old", "success")}).receipts
    assert receipts[0].existed and told_ends(world) == []


def test_a_repeat_by_another_client_makes_it_a_follower_too(world: World) -> None:
    submit(world, "r1")
    submit(world, "r1", client="second")
    world.conclude("r1")
    assert told_ends(world, "client") == told_ends(world, "second") == [("r1", "success")]


def test_a_repeat_finds_a_pruned_run_by_its_tombstone_and_has_no_end_to_tell(world: World) -> None:
    receipts = submit(world, "old", known={"old": Known("old", None)}).receipts
    assert receipts[0].existed and not world.runs and told_ends(world) == []


def test_a_repeat_is_answered_when_there_is_no_room_for_new_runs() -> None:
    world = World(open_runs=2)
    submit(world, "r1", "r2")
    assert [one.existed for one in submit(world, "r1", "r2").receipts] == [True, True]
    assert submit(world, "old", known={"old": Known("old", "success")}).receipts[0].existed
    submit(world, "r3")
    assert world.last("client", Failed).code == "busy"


def test_followers_are_told_in_an_order_that_does_not_depend_on_chance(world: World) -> None:
    names = [f"client{index}" for index in range(20)]
    for name in reversed(names):
        submit(world, "r1", client=name)
    told = len(world.sent)
    world.conclude("r1")
    assert [to for to, message in world.sent[told:] if hasattr(message, "ends")] == sorted(names)


def test_run_data_of_any_size_is_in_the_journal_and_only_small_data_stays_in_memory() -> None:
    world = World(inline_data=3)
    world.submit("r1")
    assert world.runs["r1"].has_data and world.runs["r1"].data is None
    submit(world, "r2")
    assert not world.runs["r2"].has_data
    assert [record.data for record in world.records] == [b"data", None]


def test_the_same_id_with_another_body_is_refused_and_harms_nobody(world: World) -> None:
    submit(world, "r1")
    digest = world.facts(Accepted)[0].digest
    known = {"r1": Known("r1", "success", digest=digest)}
    others = [
        Submission("r1", b"another definition"),
        Submission("r1", b"definition", RunOptions(priority=1)),
        Submission("r1", b"definition", data=b""),
    ]
    later = World()
    for at, end in ((world, {}), (later, known)):
        for other in others:
            at.dispatch.submit("client", Submit("ask", [other]), end, {})
            at.flush()
            (receipt,) = at.last("client", Submitted).receipts
            assert not receipt.ok and receipt.existed and "r1 is there already, and is another one" in receipt.reason
        assert [one.existed and one.ok for one in submit(at, "r1", known=end).receipts] == [True]
    assert len(world.facts(Accepted)) == 1 and not later.facts(Accepted)


def test_of_a_run_whose_body_nobody_knows_any_more_a_repeat_is_taken_at_its_word(world: World) -> None:
    world.dispatch.submit("client", Submit("ask", [Submission("r1", b"x")]), {"r1": Known("r1", "success")}, {})
    world.flush()
    assert world.last("client", Submitted).receipts[0].ok


def test_a_request_of_more_runs_than_may_ever_be_open_is_refused_for_good() -> None:
    world = World(open_runs=2)
    submit(world, "r1", "r2", "r3")
    refused = world.last("client", Failed)
    assert refused.code == "invalid" and "3 runs in one request" in refused.reason and not world.runs


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_run_that_replaces_one_which_is_over_starts_at_once(world: World) -> None:
    world.submit("r1", key="k")
    world.conclude("r1")
    assert world.submit("r2", key="k", on_duplicate="replace").receipts[0].run == "r2"
    assert world.runs["r2"].active


def test_a_run_that_replaces_a_waiting_one_waits_for_what_that_one_was_to_replace(world: World) -> None:
    world.submit("r1", key="k")
    world.enqueue("r1", "A")
    world.submit("r2", key="k", on_duplicate="replace")
    world.submit("r3", key="k", on_duplicate="replace")
    world.conclude("r2", "cancelled")
    assert not world.runs["r3"].active  # something of r1 still runs
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease, "cancelled")]))
    world.conclude("r1", "cancelled")
    assert world.runs["r3"].active


def test_after_a_restart_a_replacing_run_waits_for_all_that_it_replaces() -> None:
    world = World(epoch=2, last=20)
    key = RunOptions(key="k")
    runs = [
        OpenRun("r1", 5, key, 1e9, world.now, last=10, cancelled="replaced by run r2"),
        OpenRun("r2", 6, key, 1e9, world.now, last=11, cancelled="replaced by run r3"),
        OpenRun("r3", 7, key, 1e9, world.now, last=12, active=False),
    ]
    world.dispatch.restore(runs, [])
    world.later(1.0)
    world.pipeliner()
    world.conclude("r2", "cancelled")
    assert not world.runs["r3"].active
    world.conclude("r1", "cancelled")
    assert world.runs["r3"].active and world.dispatch.cluster.keys == {"k": "r3"}


# Waiting --------------------------------------------------------------------------------------------------------------


def test_a_run_may_come_after_one_that_has_succeeded_and_is_in_the_journal(world: World) -> None:
    world.submit("r2", after=("old",), known={"old": Known("old", "success")})
    assert world.runs["r2"].active


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        (Known("old", "cancelled"), "it waits for run old, which ended cancelled"),
        (Known("old", "failed", RunError("A", (), "boom")), "it waits for run old, which ended failed: boom"),
        (Known("old", None), "it waits for run old, which the Router does not know"),
    ],
)
def test_a_run_fails_at_once_when_what_it_waits_for_did_not_succeed(world: World, known: Known, reason: str) -> None:
    world.submit("r2", after=("old",), known={"old": known})
    (fact,) = world.facts(Finished)
    assert fact.error.reason == reason and not world.runs


def test_a_run_that_waits_for_itself_fails(world: World) -> None:
    world.submit("r1", after=("r1",))
    assert [fact.verdict for fact in world.facts(Finished)] == ["failed"]


def test_a_run_waits_until_all_are_over_that_it_comes_after(world: World) -> None:
    submit(world, "a", "b")
    world.submit("c", after=("a", "b"))
    world.conclude("a")
    assert not world.runs["c"].active
    world.conclude("b")
    assert world.runs["c"].active


def test_a_failure_ends_any_number_of_runs_that_wait_in_a_row(world: World) -> None:
    row = [Submission(str(at), b"definition", RunOptions(after=(str(at - 1),) if at else ())) for at in range(3000)]
    world.dispatch.submit("client", Submit("ask", row), {}, {})
    world.flush()
    world.conclude("0", "failed")
    assert not world.runs and len(world.facts(Finished)) == 3000
    world.submit("later")
    world.submit("last", after=("later",))
    world.conclude("later", "failed")
    assert not world.runs


def test_a_run_starts_only_when_its_time_has_come_and_those_it_waits_for_are_over(world: World) -> None:
    world.submit("r1")
    world.submit("r2", after=("r1",), not_before=1e9 + 10.0)
    world.submit("r3", after=("r1",), not_before=1e9 + 10.0)
    world.conclude("r1")
    assert not world.runs["r2"].active
    world.later(11.0)
    assert world.runs["r2"].active and len(world.facts(Released)) == 2


def test_a_time_that_comes_while_others_still_run_starts_nothing(world: World) -> None:
    world.submit("r1")
    world.submit("r2", after=("r1",), not_before=1e9 + 1.0)
    world.later(2.0)
    assert not world.runs["r2"].active
    world.conclude("r1")
    assert world.runs["r2"].active


def test_a_deadline_counts_from_the_moment_a_waiting_run_starts(world: World) -> None:
    world.submit("r1")
    world.submit("r2", after=("r1",), deadline=5.0)
    world.later(4.0)
    world.conclude("r1")
    world.later(4.0)
    assert world.runs["r2"].cancelled is None
    world.later(1.0)
    assert world.runs["r2"].cancelled == "deadline exceeded"


def test_a_deadline_that_comes_after_the_end_does_nothing(world: World) -> None:
    world.submit("r1", deadline=5.0)
    world.submit("r2", not_before=1e9 + 3.0)
    world.control("cancel", "r2")
    world.conclude("r2", "cancelled")
    world.conclude("r1")
    world.later(5.0)
    assert len(world.facts(Cancelled)) == 1 and not world.facts(Released)


def test_a_waiting_run_that_was_cancelled_ends_cancelled_though_what_it_waits_for_fails(world: World) -> None:
    world.submit("r1")
    world.submit("r2", after=("r1",))
    world.control("cancel", "r2")
    world.conclude("r1", "failed")
    world.conclude("r2", "cancelled")
    assert [fact.verdict for fact in world.facts(Finished)] == ["failed", "cancelled"]


def test_a_waiting_run_that_has_ended_is_not_missed_by_what_it_waited_for(world: World) -> None:
    world.submit("r1")
    world.submit("r2", after=("r1",))
    world.control("cancel", "r2")
    world.conclude("r2", "cancelled")
    world.conclude("r1")
    assert not world.runs


def test_after_a_restart_runs_still_wait_for_what_is_open() -> None:
    world = World(epoch=2, last=20)
    waiting = OpenRun("r2", 6, RunOptions(after=("r1", "gone")), 1e9, world.now, last=11, active=False)
    late = OpenRun("r3", 7, RunOptions(not_before=1e9 + 30.0), 1e9, world.now, last=12, active=False)
    world.dispatch.restore([OpenRun("r1", 5, RunOptions(), 1e9, world.now, last=10), waiting, late], [])
    world.later(1.0)
    world.pipeliner()
    assert not waiting.active and not late.active
    world.conclude("r1")
    assert waiting.active
    world.say("pipeliner", Beat(1.0))
    world.later(29.0)
    assert late.active


# Following ------------------------------------------------------------------------------------------------------------


def test_following_tells_of_ends_now_or_later_and_of_runs_that_nobody_knows(world: World) -> None:
    world.submit("r1")
    known = {"old": Known("old", "failed"), "pruned": Known("pruned", None)}
    world.dispatch.follow("other", Follow("f", ["r1", "old", "pruned", "never"]), known)
    world.flush()
    answer = world.sent[-1][1]
    assert [end.run for end in answer.ends] == ["old"] and answer.unknown == ["pruned", "never"]
    world.conclude("r1")
    assert told_ends(world, "other") == [("old", "failed"), ("r1", "success")]


def test_an_end_that_is_not_on_disk_yet_is_told_all_the_same(world: World) -> None:
    world.submit("r1")
    world.conclude("r1")
    world.dispatch.follow("other", Follow("f", ["r1"]), {})
    world.flush()
    assert told_ends(world, "other") == [("r1", "success")]


# Commands -------------------------------------------------------------------------------------------------------------


def test_a_command_is_refused_while_the_disk_takes_no_facts(world: World) -> None:
    world.submit("r1")
    world.dispatch.stall("disk: full")
    assert world.control("cancel", "r1").code == "busy"
    assert reopen(world, ended("r0", world)).code == "busy"
    world.dispatch.prune("client", "p", ["old"])
    world.dispatch.prune(None, "", ["old"])
    world.flush()
    assert world.last("client", Failed).id == "p"
    assert world.runs["r1"].cancelled is None and not world.facts(Pruned)


def test_a_cancel_is_recorded_once(world: World) -> None:
    world.submit("r1")
    assert world.control("cancel", "r1", reason="enough").text == world.control("cancel", "r1").text == "cancelling"
    assert [fact.reason for fact in world.facts(Cancelled)] == ["enough"]


def test_a_cancel_after_the_verdict_ends_the_hooks_and_does_not_change_it(world: World) -> None:
    world.submit("r1")
    world.conclude("r1", "failed", final=False)
    world.enqueue("r1", "hook:failure", hook=True)
    world.enqueue("r1", "hook:always", hook=True, worker="Missing")
    world.control("cancel", "r1")
    world.control("cancel", "r1")  # a second one has nothing to add
    assert len(world.facts(Cancelled)) == 1 and world.runs["r1"].state == "running"
    (lease,) = world.last("broker", Kill).leases
    world.say("broker", Outcomes([Outcome(lease, "cancelled")]))
    assert [(fact.job, fact.kind) for fact in world.facts(Returned)] == [
        ("hook:always", "cancelled"),
        ("hook:failure", "cancelled"),
    ]
    world.conclude("r1", "failed")
    assert world.facts(Finished)[0].verdict == "failed"


def test_a_deadline_that_passes_while_hooks_run_does_not_end_them(world: World) -> None:
    world.submit("r1", deadline=5.0)
    world.conclude("r1", "success", final=False)
    world.enqueue("r1", "hook:success", hook=True)
    world.later(6.0)
    assert not world.facts(Cancelled)


def test_a_cancel_spares_hooks_that_already_run(world: World) -> None:
    world.submit("r1")
    world.enqueue("r1", "A", "hook:always", hook=True)
    world.control("cancel", "r1")
    assert world.last("broker", Kill) is None


def test_a_waiting_run_that_is_cancelled_gets_its_verdict_from_a_pipeliner(world: World) -> None:
    world.submit("r1")
    world.submit("r2", after=("r1",))
    world.control("cancel", "r2")
    assert world.last("pipeliner", Take).run == "r2"
    world.conclude("r2", "cancelled")
    assert told_ends(world) == [("r2", "cancelled")]


def test_every_pause_that_somebody_asks_for_is_recorded_so_that_its_repeat_is_known(world: World) -> None:
    world.submit("r1")
    for verb in ("pause", "pause", "resume", "resume"):
        assert isinstance(world.control(verb, "r1"), Done)
    assert [fact.on for fact in world.facts(Paused)] == [True, True, False, False]


def test_hooks_of_a_run_that_was_paused_and_cancelled_run(world: World) -> None:
    world.submit("r1")
    world.control("pause", "r1")
    world.enqueue("r1", "A")
    world.control("cancel", "r1")
    world.enqueue("r1", "hook:always", hook=True)
    assert [one.job for one in world.assigned()] == ["hook:always"]


def test_a_run_that_was_submitted_paused_starts_nothing_until_it_is_resumed(world: World) -> None:
    world.submit("r1", paused=True)
    world.enqueue("r1", "A")
    assert not world.assigned() and [fact.on for fact in world.facts(Paused)] == [True]
    world.control("resume", "r1")
    assert len(world.assigned()) == 1


def test_a_waiting_run_is_told_as_such(world: World) -> None:
    world.submit("r1", not_before=1e9 + 5.0)
    assert "r1 is waiting" in world.control("retry", "r1").reason
    world.control("cancel", "r1")
    assert "r1 is cancelling" in world.control("retry", "r1").reason


@pytest.mark.parametrize(("verb", "code"), [("retry", "conflict"), ("prune", "conflict")])
def test_an_open_run_is_neither_tried_again_nor_pruned(world: World, verb: str, code: str) -> None:
    world.submit("r1")
    answer = world.control(verb, "r1")
    assert answer.code == code and "r1 is running" in answer.reason


def test_a_pause_of_a_run_that_has_ended_is_refused_with_how_it_ended(world: World) -> None:
    answer = world.control("pause", "old", known={"old": Known("old", "failed")})
    assert (answer.code, answer.reason) == ("conflict", "run old: it has ended already: failed")
    assert "pruned" in world.control("pause", "old", known={"old": Known("old", None)}).reason


# Rounds ---------------------------------------------------------------------------------------------------------------


def test_a_retry_opens_a_new_round_whose_end_is_told(world: World) -> None:
    run = ended("r0", world, key="k")
    assert reopen(world, run).text == "round 1"
    (fact,) = world.facts(Reopened)
    assert (fact.round, fact.control) == (1, 2) and run.cancelled is None
    assert world.dispatch.cluster.keys == {"k": "r0"}
    world.load()
    world.enqueue("r0", "A", round=1)
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease)]))
    world.conclude("r0")
    assert told_ends(world) == [("r0", "success")]


def test_a_retry_of_a_run_that_ended_while_it_was_paused_lets_it_go_on(world: World) -> None:
    run = ended("r0", world)
    run.paused = True
    reopen(world, run)
    assert [fact.on for fact in world.facts(Paused)] == [False] and not run.paused
    world.load()
    world.enqueue("r0", "A", round=1)
    assert len(world.assigned()) == 1


def test_a_retry_is_refused_while_another_run_holds_the_key(world: World) -> None:
    world.submit("r1", key="k")
    answer = reopen(world, ended("r0", world, key="k"))
    assert answer.code == "conflict" and "is held by run r1" in answer.reason
    assert reopen(world, ended("r2", world)).text == "round 1"


def test_the_deadline_of_a_round_does_not_end_the_next_one(world: World) -> None:
    world.submit("r1", deadline=10.0)
    world.conclude("r1", "failed")
    world.dispatch.on_disk(world.records)
    world.later(8.0)
    reopen(world, ended("r1", world, deadline=10.0))
    world.say("pipeliner", Beat(1.0))
    world.later(3.0)
    assert world.runs["r1"].cancelled is None
    world.later(7.0)
    assert world.runs["r1"].cancelled == "deadline exceeded"


def test_a_run_that_is_opened_again_keeps_its_key_when_its_first_end_reaches_the_disk(world: World) -> None:
    world.submit("r1", key="k")
    world.conclude("r1", "failed")
    reopen(world, ended("r1", world, key="k"))
    world.dispatch.on_disk(world.records)
    assert world.dispatch.cluster.keys == {"k": "r1"} and not world.dispatch.cluster.ended


# Pruning --------------------------------------------------------------------------------------------------------------


def test_pruning_is_recorded_and_counted(world: World) -> None:
    world.dispatch.prune("client", "p", ["a", "b"])
    world.dispatch.prune(None, "", ["c"])
    world.flush()
    assert [fact.run for fact in world.facts(Pruned)] == ["a", "b", "c"]
    assert [message.text for to, message in world.sent if isinstance(message, Done)] == ["2"]


def test_a_run_that_was_just_opened_again_is_not_pruned(world: World) -> None:
    reopen(world, ended("r0", world))
    world.dispatch.prune("client", "p", ["r0", "r9"])
    world.flush()
    assert [fact.run for fact in world.facts(Pruned)] == ["r9"]
    assert world.last("client", Done).text == "1"


def test_a_run_that_was_just_pruned_is_not_opened_again(world: World) -> None:
    world.dispatch.prune("client", "p", ["r0"])
    world.flush()
    assert reopen(world, ended("r0", world)).code == "not-found"
    world.dispatch.on_disk(world.records)
    assert not world.dispatch.cluster.pruned


# Parked runs ----------------------------------------------------------------------------------------------------------


def parked(world: World) -> None:
    """Run `evil`, parked; its job A may still be leased."""
    for name in ("p2", "p3", "p4", "p5"):
        if world.runs["evil"].parked:
            break
        world.pipeliner(name)
        world.dispatch.unreachable(name)
        world.flush()
    assert world.runs["evil"].parked


def test_a_parked_run_ends_when_it_is_cancelled() -> None:
    world = World()
    world.submit("evil", key="k")
    parked(world)
    world.control("cancel", "evil", reason="enough")
    world.later(0.1)
    assert told_ends(world) == [("evil", "cancelled")]
    assert not world.runs


def test_a_parked_run_that_is_cancelled_ends_when_nothing_of_it_runs_any_more() -> None:
    world = World()
    world.broker()
    world.pipeliner("p1")
    world.submit("evil")
    world.enqueue("evil", "A", peer="p1")
    world.dispatch.unreachable("p1")
    world.flush()
    parked(world)
    world.control("cancel", "evil")
    world.later(0.1)
    assert world.runs
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease, "cancelled")]))
    world.later(0.1)
    assert [fact.kind for fact in world.facts(Returned)] == ["cancelled"] and told_ends(world) == [
        ("evil", "cancelled")
    ]
