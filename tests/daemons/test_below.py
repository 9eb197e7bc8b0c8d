"""Jobs that are pipelines, in the Router's machine: a child run is opened once, and its end is its job's end, once."""

from __future__ import annotations

from typing import Any

import pytest
from dispatching import World

from headrace.daemons.dispatch.cluster import Known
from headrace.daemons.dispatch.effects import Find, Load, Record, Send
from headrace.daemons.dispatch.items import State
from headrace.daemons.dispatch.runs import OpenRun
from headrace.daemons.protocol import (
    BrokerCard,
    Conclude,
    Done,
    Halt,
    HandedBack,
    Held,
    Hello,
    Kill,
    Outcomes,
    Run,
    Take,
)
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import Accepted, Cancelled, Finished, Parent, Reopened, Returned, RunError
from headrace.pipeline.subruns import COLLECT, PREPARE, SUBRUN, SubRun, child_id
from headrace.pipeline.task import Needs, Outcome

INNER = SubRun(b"inner definition", b"inner data")
BOUND = SubRun(b"inner definition", None, bound=True)


@pytest.fixture
def world() -> World:
    world = World()
    world.broker()
    world.pipeliner()
    world.submit("r1")
    return world


def child(run: str = "r1", job: str = "P", since: int = 0) -> str:
    return child_id(run, since, job, ())


def find(world: World, run: OpenRun | None = None, known: Known | None = None) -> Find:
    """Answer what was asked of the journal last."""
    asked = [one for one in world.asked if isinstance(one, Find)][-1]
    world.dispatch.found(asked, run, known)
    world.flush()
    return asked


def begin(world: World, below: SubRun = INNER, job: str = "P", run: str = "r1", **ready: Any) -> str:
    """The job is ready, and nothing is known of its child. The child's id."""
    world.enqueue(run, job, worker=SUBRUN, below=below, **ready)
    return find(world).child


def item(world: World, run: str = "r1", job: str = "P") -> Any:
    return world.runs[run].live[job, ()]


def ended(world: World, verdict: Any = "failed", attempt: int = 1, round: int = 0, **fields: Any) -> tuple[Any, Known]:
    """What the journal has of a child that has ended as that attempt."""
    parent = Parent("r1", "P", (), round, attempt)
    run = OpenRun(child(), 2, RunOptions(), 1e9, world.now, last=9, parent=parent)
    return run, Known(run.id, verdict, fields.pop("error", RunError("A", (), "boom")), 3.0, 1e9)


def returned(world: World) -> list[tuple[str, str, int]]:
    return [(fact.job, fact.kind, fact.attempt) for fact in world.facts(Returned)]


# Down -----------------------------------------------------------------------------------------------------------------


def test_a_job_that_is_a_pipeline_opens_a_run_whose_id_follows_from_its_place(world: World) -> None:
    assert begin(world) == child()
    accepted = world.facts(Accepted)[-1]
    assert (accepted.run, accepted.parent) == (child(), Parent("r1", "P"))
    assert world.records[-1].definition == b"inner definition" and world.records[-1].data == b"inner data"
    take = world.last("pipeliner", Take)
    assert (take.run, take.definition) == (child(), b"inner definition")
    assert item(world).state is State.BELOW and not world.assigned()


def test_what_stands_above_its_child_is_not_concluded(world: World) -> None:
    begin(world)
    world.conclude("r1")
    assert not world.facts(Finished)


def test_title_priority_and_time_limits_flow_down(world: World) -> None:
    world.submit("r2", priority=3)
    below = SubRun(b"d", None, RunOptions(deadline=9.0, max_active=4, priority=1))
    begin(world, below, run="r2", needs=Needs(priority=2, timeout=5.0))
    options = world.facts(Accepted)[-1].options
    assert options == RunOptions(title="P", priority=6, deadline=5.0, max_active=4)


def test_inputs_are_put_into_the_data_by_a_broker_before_the_child_begins(world: World) -> None:
    begin(world, BOUND)
    (step,) = world.assigned()
    assert (step.worker, step.job) == (PREPARE, "P") and child() not in world.runs
    world.say("broker", Outcomes([Outcome(step.lease, result=b"bound data")]))
    assert world.records[-1].data == b"bound data" and child() in world.runs
    assert not world.facts(Returned) and item(world).state is State.BELOW
    assert world.last("broker", Run) and not world.dispatch.cluster.brokers["broker"].leases


def test_large_inputs_stay_where_they_were_written(world: World) -> None:
    begin(world, BOUND)
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease, ref="r1/P/-/1", size=10**6)]))
    assert world.facts(Accepted)[-1].data_ref == "r1/P/-/1" and world.records[-1].data is None
    world.enqueue(child(), "A")
    assert world.last("broker", Run).headers[0].ref == "r1/P/-/1"


def test_inputs_that_cannot_be_bound_are_the_jobs_failure(world: World) -> None:
    begin(world, BOUND)
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease, "failed")]))
    assert returned(world) == [("P", "failed", 1)] and child() not in world.runs


def test_inputs_are_not_bound_any_more_when_the_job_is_stopped_meanwhile(world: World) -> None:
    begin(world, BOUND)
    world.control("cancel", "r1")
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease, result=b"bound data")]))
    assert returned(world) == [("P", "cancelled", 1)] and child() not in world.runs


def test_a_child_is_let_in_however_many_runs_are_open() -> None:
    world = World(open_runs=1)
    world.pipeliner()
    world.submit("r1", max_active=1)
    begin(world)
    assert child() in world.runs


def test_a_child_and_its_jobs_need_no_place_among_those_of_the_run_above() -> None:
    world = World()
    world.broker(slots=3)
    world.pipeliner()
    world.submit("r1", max_active=1)
    begin(world)
    world.enqueue("r1", "A")
    world.enqueue(child(), "B", "C")
    assert sorted(one.job for one in world.assigned()) == ["A", "B", "C"]


def test_the_jobs_of_a_child_come_before_those_of_runs_that_were_accepted_later(world: World) -> None:
    world.say("broker", Hello("broker", "host/broker", card=BrokerCard(0)))
    world.later(1.0)
    world.submit("r2")
    world.enqueue("r2", "late")
    world.later(1.0)
    begin(world)
    world.enqueue(child(), "early")
    world.broker("second", slots=1)
    assert [one.job for one in world.assigned("second")] == ["early"]


def test_a_role_that_nobody_serves_keeps_no_step_of_a_sub_run_waiting(world: World) -> None:
    world.say("broker", Hello("broker", "host/broker", card=BrokerCard(1, (), {"encode": 1}, commands=False)))
    begin(world, BOUND)
    world.broker(workers=(), roles={"encode": 1}, commands=False)
    assert [one.worker for one in world.assigned()] == [PREPARE]


# Up -------------------------------------------------------------------------------------------------------------------


def test_what_a_child_returned_is_collected_by_a_broker_and_is_the_jobs_result(world: World) -> None:
    begin(world, needs=Needs(priority=2, timeout=1.0, queue_timeout=1.0))
    world.conclude(child())
    (step,) = world.assigned()
    assert (step.worker, step.job, step.run) == (COLLECT, "P", "r1") and not world.facts(Returned)
    assert step.inputs[0].input.job == child() and step.needs == Needs(priority=2)
    world.later(5.0)
    world.say("broker", Outcomes([Outcome(step.lease, result=b"all of it")]))
    (fact,) = world.facts(Returned)
    assert (fact.job, fact.kind, fact.attempt) == ("P", "success", 1) and world.records[-1].result == b"all of it"
    assert fact.duration == pytest.approx(5.0)
    world.conclude("r1")
    assert [one.verdict for one in world.facts(Finished)] == ["success", "success"]


def test_results_are_not_collected_before_the_childs_end_is_on_disk(world: World) -> None:
    """Or a Router that dies in this moment would have them collected a second time."""
    begin(world)
    one = world.runs[child()]
    world.dispatch.handle("pipeliner", "s", Conclude(child(), one.take, one.last, "success"))
    effects = world.dispatch.flush()
    (end,) = [effect for effect in effects if isinstance(effect, Record) and isinstance(effect.fact, Finished)]
    assert not any(isinstance(effect, Send) and isinstance(effect.message, Run) for effect in effects)
    world.dispatch.on_disk([end])
    (grant,) = [effect for effect in world.dispatch.flush() if isinstance(effect, Send)]
    assert isinstance(grant.message, Run)


def test_results_that_wait_to_be_collected_do_not_run_out_of_patience(world: World) -> None:
    begin(world, needs=Needs(queue_timeout=4.0))
    world.say("broker", Hello("broker", "host/broker", card=BrokerCard(0)))
    world.conclude(child())
    world.later(5.0)
    assert not world.facts(Returned) and item(world).state is State.QUEUED


def test_a_childs_failure_is_its_jobs_and_names_the_job_inside(world: World) -> None:
    begin(world)
    world.later(2.0)
    world.conclude(child(), "failed", error=RunError("A", (3,), "ValueError: boom", "the trace"))
    (fact,) = world.facts(Returned)
    assert (fact.kind, fact.duration) == ("failed", pytest.approx(2.0))
    assert fact.error.message == "its job 'A'[3] failed: ValueError: boom" and fact.error.traceback == "the trace"
    kinds = [type(record.fact) for record in world.records[-2:]]
    assert kinds == [Finished, Returned]  # of one turn: both are on disk, or neither is


def test_a_child_that_takes_too_long_is_a_job_that_took_too_long(world: World) -> None:
    begin(world, needs=Needs(timeout=2.0))
    world.later(3.0)
    assert world.facts(Cancelled)[-1].reason == "deadline exceeded"
    world.conclude(child(), "cancelled", error=RunError(None, (), "deadline exceeded"))
    (fact,) = world.facts(Returned)
    assert fact.kind == "timeout" and "2 s" in fact.error.message


def test_a_child_that_somebody_cancels_fails_its_job(world: World) -> None:
    begin(world)
    world.control("cancel", child(), reason="by hand")
    world.conclude(child(), "cancelled", error=RunError(None, (), "by hand"))
    (fact,) = world.facts(Returned)
    assert (fact.kind, fact.error.type) == ("failed", "SubRunCancelled") and "by hand" in fact.error.message


@pytest.mark.parametrize("kind", ["lost", "died", "failed"])
def test_results_that_could_not_be_collected_are_collected_by_the_next_attempt(world: World, kind: Any) -> None:
    begin(world)
    world.conclude(child())
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease, kind)]))
    assert returned(world) == [("P", kind, 1)]
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER, attempt=2)
    run, known = ended(world, "success", error=None)
    find(world, run, known)
    assert world.assigned()[-1].worker == COLLECT and world.assigned()[-1].attempt == 2
    assert not world.facts(Reopened)


def test_collecting_that_was_handed_back_is_done_elsewhere(world: World) -> None:
    begin(world)
    world.conclude(child())
    world.say("broker", HandedBack([world.assigned()[0].lease]))
    assert item(world).state in (State.QUEUED, State.LEASED) and item(world).ready.worker == COLLECT


# Another attempt, another round ---------------------------------------------------------------------------------------


def test_another_attempt_is_another_round_of_the_same_child(world: World) -> None:
    begin(world)
    world.conclude(child(), "failed")
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER, attempt=2)
    run, known = ended(world)
    find(world, run, known)
    fact = world.facts(Reopened)[-1]
    assert (fact.round, fact.parent) == (1, Parent("r1", "P", (), 0, 2)) and world.runs[child()] is run
    world.load()
    world.conclude(child())
    world.say("broker", Outcomes([Outcome(world.assigned()[-1].lease, result=b"x")]))
    assert returned(world) == [("P", "failed", 1), ("P", "success", 2)]


def test_a_round_goes_on_with_the_child_of_the_round_in_which_its_inputs_were_made(world: World) -> None:
    world.runs["r1"].round = 2
    world.enqueue("r1", "P", worker=SUBRUN, below=SubRun(b"d", since=1), round=2)
    assert find(world).child == child_id("r1", 1, "P", ())


def test_an_end_that_was_recorded_for_this_attempt_is_not_tried_again(world: World) -> None:
    """The Router died between the child's end and what follows from it: only that is made up for."""
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER)
    run, known = ended(world)
    find(world, run, known)
    assert returned(world) == [("P", "failed", 1)] and not world.facts(Reopened)
    assert world.facts(Returned)[0].duration >= 3.0


def test_a_child_of_which_only_a_tombstone_is_left_fails_its_job(world: World) -> None:
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER)
    find(world, None, Known(child(), "failed"))
    assert "is not there any more" in world.facts(Returned)[0].error.message


@pytest.mark.parametrize("parent", [None, Parent("r2", "P"), Parent("r1", "Q"), Parent("r1", "P", (1,))])
def test_another_run_that_was_given_the_id_of_a_child_is_not_taken_for_it(world: World, parent: Any) -> None:
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER)
    run, known = ended(world, "success", error=None)
    run.parent = parent
    find(world, run, known)
    assert "given to another run" in world.facts(Returned)[0].error.message and not world.assigned()


def test_a_run_that_somebody_has_opened_under_the_id_of_a_child_is_left_alone(world: World) -> None:
    world.submit(child())
    theirs = world.runs[child()]
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER)
    find(world)
    assert "given to another run" in world.facts(Returned)[0].error.message and world.runs[child()] is theirs


def test_nobody_can_submit_a_run_under_the_id_of_a_child(world: World) -> None:
    """Neither while it is looked up, nor while its data is made, nor when it is there."""
    world.enqueue("r1", "P", worker=SUBRUN, below=BOUND)
    for go_on in (
        lambda: None,
        lambda: find(world),
        lambda: world.say("broker", Outcomes([Outcome(world.assigned()[0].lease, result=b"bound data")])),
    ):
        go_on()
        (receipt,) = world.submit(child()).receipts
        assert not receipt.ok and "another one" in receipt.reason
    world.conclude(child(), "failed")
    assert not world.dispatch.cluster.promised


def test_what_was_found_for_an_attempt_that_is_over_opens_nothing(world: World) -> None:
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER)
    world.control("cancel", "r1")
    find(world)
    assert child() not in world.runs and returned(world) == [("P", "cancelled", 1)]


def test_while_the_disk_takes_no_facts_no_child_is_opened(world: World) -> None:
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER)
    world.dispatch.stall("disk: full")
    find(world)
    assert child() not in world.runs
    world.dispatch.taken_up()
    world.later(1.5)
    find(world)
    assert child() in world.runs


# Stopping and pausing -------------------------------------------------------------------------------------------------


def test_cancel_flows_down_and_the_job_ends_when_its_child_has(world: World) -> None:
    begin(world)
    world.enqueue(child(), "A")
    world.control("cancel", "r1", reason="enough")
    assert [fact.reason for fact in world.facts(Cancelled)] == ["enough", "enough"]
    assert world.last("broker", Kill).leases == [world.assigned()[0].lease] and not world.facts(Returned)
    world.say("broker", Outcomes([Outcome(world.assigned()[0].lease, "cancelled")]))
    world.conclude(child(), "cancelled")
    assert returned(world) == [("A", "cancelled", 1), ("P", "cancelled", 1)]
    world.conclude("r1", "cancelled")
    assert world.facts(Finished)[-1].verdict == "cancelled"


def test_a_job_that_its_run_stops_takes_its_child_along_whatever_that_still_does(world: World) -> None:
    begin(world)
    one = world.runs["r1"]
    world.say("pipeliner", Halt("r1", one.take, one.last, [("P", ())]))
    world.say("pipeliner", Halt("r1", one.take, one.last, [("P", ())]))
    assert len(world.facts(Cancelled)) == 1 and item(world).state is State.LEAVING
    world.conclude(child(), "success")  # its last job had just ended
    assert returned(world) == [("P", "cancelled", 1)] and not world.assigned()


def test_cancel_reaches_the_innermost_run(world: World) -> None:
    inner = begin(world, run=begin(world))
    world.control("cancel", "r1", reason="enough")
    assert world.runs[inner].cancelled == "enough"
    world.conclude(inner, "cancelled")
    world.conclude(child(), "cancelled")
    world.conclude("r1", "cancelled")
    assert not world.runs and len(world.facts(Finished)) == 3


def test_a_pause_flows_down_and_a_child_that_was_paused_by_itself_stays_so(world: World) -> None:
    begin(world)
    world.control("pause", "r1")
    world.enqueue(child(), "A")
    assert not world.assigned() and "r1, is paused" in world.runs[child()].why_blocked()
    world.control("pause", child())
    world.control("resume", "r1")
    assert not world.assigned()
    world.control("resume", child())
    assert [one.job for one in world.assigned()] == ["A"]


def test_a_resumed_run_wakes_the_runs_below_it(world: World) -> None:
    inner = begin(world, run=begin(world))
    world.control("pause", "r1")
    world.enqueue(inner, "A")
    assert not world.assigned()
    world.control("resume", "r1")
    assert [one.job for one in world.assigned()] == ["A"]


# Restarts -------------------------------------------------------------------------------------------------------------


def again(*runs: OpenRun, brokers: tuple[str, ...] = ()) -> World:
    """A Router in a later epoch, with these runs open besides r1."""
    world = World(epoch=2, last=50)
    world.dispatch.restore([OpenRun("r1", 5, RunOptions(), 1e9, world.now, last=10), *runs], brokers)
    world.later(1.0)
    return world


def open_child(world_now: float = 100.0, number: int = 6, **fields: Any) -> OpenRun:
    parent = fields.pop("parent", Parent("r1", "P"))
    name = fields.pop("name", child())
    return OpenRun(name, number, RunOptions(), 1e9, world_now, last=20, parent=parent, **fields)


def test_after_a_restart_an_open_child_stands_below_its_job_before_anybody_judges_the_run_above() -> None:
    world = again(open_child())
    world.pipeliner()
    for load in [one for one in world.asked if isinstance(one, Load)]:
        world.dispatch.loaded(load.run, load.take, b"definition", [])
    world.flush()
    takes = {message.run: message for _, message in world.sent if isinstance(message, Take)}
    assert world.runs[child()].above is world.runs["r1"] and item(world).state is State.BELOW
    assert takes["r1"].live == (("P", ()),)
    world.conclude("r1")
    assert not world.facts(Finished)


def test_after_a_restart_a_child_that_goes_on_to_succeed_is_collected_once_its_job_is_said_again() -> None:
    world = again(open_child())
    world.broker()
    world.pipeliner()
    world.conclude(child())
    assert not world.facts(Returned) and ("P", ()) not in world.runs["r1"].live  # what it runs is not known here yet
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER)
    find(world, *ended(world, "success", error=None))
    assert [one.worker for one in world.assigned()] == [COLLECT]


def test_after_a_restart_a_job_that_was_said_again_is_collected_at_once() -> None:
    world = again(open_child())
    world.broker()
    world.pipeliner()
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER)
    assert not [one for one in world.asked if isinstance(one, Find)]
    world.conclude(child())
    assert [one.worker for one in world.assigned()] == [COLLECT]


def test_after_a_restart_a_child_that_fails_ends_its_job() -> None:
    world = again(open_child(parent=Parent("r1", "P", (), 0, 2)))
    world.pipeliner()
    world.conclude(child(), "failed", error=RunError("A", (), "boom"))
    assert returned(world) == [("P", "failed", 2)]


def test_after_a_restart_a_cancelled_run_has_its_children_cancelled() -> None:
    world = World(epoch=2, last=50)
    above = OpenRun("r1", 5, RunOptions(), 1e9, world.now, last=10, cancelled="enough")
    world.dispatch.restore([above, open_child()], [])
    world.flush()
    assert item(world).state is State.LEAVING and world.facts(Cancelled)[0].reason == "enough"


def test_after_a_restart_a_child_that_was_being_stopped_still_is() -> None:
    world = again(open_child(cancelled="its job in the run above was stopped"))
    assert item(world).state is State.LEAVING and not world.facts(Cancelled)


def test_a_child_that_nobody_waits_for_any_more_is_cancelled() -> None:
    world = again(open_child(parent=Parent("gone", "P")), open_child(7, name="c2", parent=Parent("r1", "P", (), 3)))
    assert len(world.facts(Cancelled)) == 2 and not world.runs["r1"].live


def test_the_preparation_of_an_earlier_epoch_is_made_anew_and_a_collection_is_adopted() -> None:
    world = again(brokers=("broker",))
    world.pipeliner()
    world.load()
    lease = 1 << 40 | 7
    held = [Held(lease, "r1", "P", (), 1, worker=PREPARE), Held(lease + 1, "r1", "Q", (), 1, worker=COLLECT)]
    world.say("broker", Hello("broker", "host/broker", card=BrokerCard(2), held=tuple(held)))
    world.dispatch.looked_up("broker", "s", set())
    world.flush()
    assert list(world.runs["r1"].live) == [("Q", ())]
    world.enqueue("r1", "Q", worker=SUBRUN, below=INNER)
    world.say("broker", Outcomes([Outcome(lease + 1, result=b"all of it")]))
    assert returned(world) == [("Q", "success", 1)]


def test_a_collection_that_was_adopted_and_is_handed_back_is_asked_for_anew() -> None:
    world = again(brokers=("broker",))
    world.pipeliner()
    world.load()
    lease = 1 << 40 | 7
    held = Held(lease, "r1", "P", (), 1, worker=COLLECT)
    world.say("broker", Hello("broker", "host/broker", card=BrokerCard(2), held=(held,)))
    world.dispatch.looked_up("broker", "s", set())
    world.enqueue("r1", "P", worker=SUBRUN, below=INNER)
    world.say("broker", HandedBack([lease]))
    assert not world.runs["r1"].live and world.last("pipeliner", Take).run == "r1"


def test_children_and_their_runs_are_pruned_together(world: World) -> None:
    world.conclude("r1")
    world.dispatch.prune("client", "ask", [child(), "r1"], 1)
    world.flush()
    assert world.last("client", Done).text == "1"
