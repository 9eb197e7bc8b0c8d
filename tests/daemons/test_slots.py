"""The Broker's machine: what it starts, keeps, takes back and tells."""

from __future__ import annotations

import pytest
from slots_bench import RUN, Bench, assignment

from headrace.daemons.protocol import (
    Credit,
    Fetched,
    FetchValue,
    Kill,
    Noted,
    Outcomes,
    Pulse,
    Recall,
    Refuse,
    Signals,
    Welcome,
)
from headrace.daemons.slots.deaths import GRACE
from headrace.daemons.slots.delivery import MOST, MOST_BYTES
from headrace.daemons.slots.orders import Fail, Guard, Interrupt, KillTree, Reply, TakeBack, Tell
from headrace.daemons.slots.slot import State
from headrace.pipeline.errors import ProtocolError
from headrace.pipeline.facts import Failure
from headrace.pipeline.task import COMMAND, Given, Needs, Outcome, Want
from headrace.workers.messages import Ended, Fetch, Large, Progress, Resend
from headrace.workers.messages import Fetched as Answer
from headrace.workers.pool import Said


@pytest.fixture
def bench() -> Bench:
    return Bench()


# Joining ------------------------------------------------------------------------------------------------------------


def test_processes_are_started_and_nothing_is_offered_before_they_are_up() -> None:
    bench = Bench(up=False)
    assert bench.started() == [0, 1]
    assert bench.credit() == (0, 0)
    bench.up(0)
    assert bench.credit() == (1, 0)


def test_processes_are_started_once() -> None:
    bench = Bench(up=False)
    assert bench.machine.begin(bench.now) == []


def test_work_that_comes_before_any_credit_was_told_is_taken(bench: Bench) -> None:
    bench.machine.reporting.credit.reset()
    bench.run(5)
    bench.run(3)
    assert bench.machine.beat(bench.now).seen == 5
    assert set(bench.machine.attempts) == {3, 5}


def test_the_hello_names_the_workers_and_everything_that_is_held(bench: Bench) -> None:
    bench.run(1, 2)
    bench.end(0)
    hello = bench.machine.hello(bench.now)
    assert hello.card is not None and hello.card.workers == ("work",) and hello.card.slots == 2
    assert {held.lease for held in hello.held} == {1, 2}
    assert [outcome.lease for outcome in hello.outcomes] == [1]


def test_nothing_is_told_between_hello_and_welcome(bench: Bench) -> None:
    bench.run(1, 2)
    bench.machine.hello(bench.now)
    bench.said.clear()
    bench.end(0)
    assert bench.said == []
    bench.handle(Welcome())
    assert [outcome.lease for outcome in bench.outcomes()] == [1]
    assert bench.heard(Credit)


def test_a_heartbeat_lists_what_runs_and_what_is_not_noted(bench: Bench) -> None:
    bench.run(1, 2)
    bench.end(0)
    beat = bench.machine.beat(bench.now)
    assert set(beat.leases) == {1, 2} and beat.seen == 2 and (beat.free, beat.busy) == (1, 1)
    bench.handle(Noted([1]))
    assert bench.machine.beat(bench.now).leases == (2,)


def test_a_repeated_grant_is_not_run_twice(bench: Bench) -> None:
    bench.run(1)
    bench.run(1)
    bench.end(0)
    bench.run(1)
    assert [outcome.lease for outcome in bench.outcomes()] == [1]
    assert not bench.machine.ledger.attempts


def test_other_messages_change_nothing(bench: Bench) -> None:
    bench.said.clear()
    bench.handle(Refuse("no"))
    bench.handle(Noted([99]))
    bench.handle(Kill([99]))
    bench.handle(Recall([99]))
    bench.handle(Fetched("nobody", Given()))
    assert bench.said == []


# Sharing ------------------------------------------------------------------------------------------------------------


def test_idle_slots_get_work_first(bench: Bench) -> None:
    bench.run(1, 2)
    assert bench.waiting(0) == [1] and bench.waiting(1) == [2]


def test_nothing_waits_behind_a_job_of_unknown_length(bench: Bench) -> None:
    bench.run(1, 2, 3)
    assert [len(pipe) for pipe in bench.pipes] == [1, 1]
    bench.end(0)
    assert bench.waiting(0) == [3]


def test_short_jobs_are_prefetched_for_about_a_tenth_of_a_second(bench: Bench) -> None:
    bench.teach(0.010)
    bench.run(*range(10, 40))
    assert {len(pipe) for pipe in bench.pipes} <= {10, 11}
    assert 8 <= len(bench.machine.ledger.shelf) <= 10


def test_the_shortest_jobs_are_bounded_by_number() -> None:
    bench = Bench(slots=1)
    bench.teach(0.0)
    bench.run(*range(10, 400))
    assert len(bench.pipes[0]) == 256


def test_a_worker_whose_length_is_unknown_waits_for_an_idle_slot(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11)
    bench.run(12, worker="stranger")
    assert bench.waiting(0) + bench.waiting(1) == [10, 11]
    bench.end(0)
    assert bench.waiting(0) == [12]


def test_jobs_with_limits_are_never_prefetched(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11, 12, needs=Needs(limits=("licence",)))
    assert [len(pipe) for pipe in bench.pipes] == [1, 1]


def test_a_later_job_may_pass_one_that_needs_an_idle_slot(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11)
    bench.run(12, needs=Needs(resources={"gpu": 1.0}))
    bench.run(13)
    assert sorted(bench.waiting(0) + bench.waiting(1)) == [10, 11, 13]


def test_commands_tell_nothing_about_each_other(bench: Bench) -> None:
    bench.run(1, worker=COMMAND)
    bench.end(0, duration=0.001)
    bench.run(2, 3, 4, worker=COMMAND)
    assert [len(pipe) for pipe in bench.pipes] == [1, 1]


def test_nothing_is_put_behind_a_head_that_has_run_for_long(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11)
    bench.busy(0, 10)
    bench.busy(1, 11)
    bench.pass_time(0.15)
    bench.run(12)
    assert bench.waiting(0) == bench.waiting(1) == []


def test_a_full_pipe_keeps_the_order_and_takes_more_later() -> None:
    bench = Bench(slots=1, capacity=3)
    bench.teach(0.001)
    bench.run(*range(10, 16))
    assert bench.waiting(0) == [10, 11, 12]
    assert bench.machine.slots[0].full
    assert [bench.end(0) for _ in range(6)] == [10, 11, 12, 13, 14, 15]


def test_work_that_waits_goes_to_a_slot_that_becomes_idle(bench: Bench) -> None:
    bench.teach(0.010)
    bench.run(*range(10, 18))
    bench.busy(0, 10)
    for _ in range(4):
        bench.end(1, duration=0.01)
    assert len(bench.waiting(1)) >= 1
    assert len(bench.waiting(0)) < 3


def test_a_little_work_is_left_alone_until_its_head_is_late(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11, 12, 13)
    bench.busy(0, 10)
    bench.end(1)
    bench.end(1)
    assert bench.waiting(0) == [12]
    bench.pass_time(0.03)
    assert bench.waiting(0) == [] and bench.waiting(1) == [12]


def test_what_waits_behind_long_jobs_everywhere_is_handed_back(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11, 12, 13)
    bench.busy(0, 10)
    bench.busy(1, 11)
    bench.pass_time(0.19)
    assert bench.handed_back() == []
    bench.pass_time(0.02)
    assert sorted(bench.handed_back()) == [12, 13]
    assert set(bench.machine.ledger.attempts) == {10, 11}


def test_what_finds_no_slot_is_handed_back(bench: Bench) -> None:
    bench.run(1, 2, 3)
    bench.pass_time(0.25)
    assert bench.handed_back() == [3]


def test_what_the_process_has_read_meanwhile_cannot_be_taken_back(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11, 12, 13)
    bench.busy(0, 10)
    bench.busy(0, 12)  # and it has sent the outcome of 10, which is on its way
    bench.busy(1, 11)
    bench.pass_time(0.21)
    assert bench.handed_back() == [13]
    bench.ended(0, 10)
    bench.ended(0, 12)
    assert [outcome.lease for outcome in bench.outcomes()] == [10, 12]


# Credit -------------------------------------------------------------------------------------------------------------


def test_credit_counts_idle_slots_and_room_for_prefetch(bench: Bench) -> None:
    assert bench.credit() == (2, 0)
    bench.run(1)
    bench.end(0, duration=0.01)
    assert bench.credit() == (2, 18)


def test_the_router_is_not_told_what_it_can_count_itself(bench: Bench) -> None:
    bench.credit()
    bench.run(1)
    assert bench.heard(Credit) == []
    bench.run(2)
    assert bench.heard(Credit) == []
    bench.end(0)
    assert bench.heard(Credit)[-1].free == 1


def test_a_long_job_takes_the_room_behind_it_away(bench: Bench) -> None:
    bench.teach(0.01)
    bench.run(10)
    bench.busy(0, 10)
    bench.pass_time(0.15)
    bench.run(11)
    bench.busy(1, 11)
    bench.pass_time(0.15)
    bench.handle(Noted([]))
    assert bench.credit() == (0, 0)


def test_too_many_outcomes_that_nobody_notes_end_the_credit(bench: Bench) -> None:
    bench.teach(0.0)
    lease = 10
    while len(bench.machine.ledger.delivery.kept) < MOST:
        bench.run(lease)
        bench.end(0, duration=0.0)
        lease += 1
    assert bench.credit() == (0, 0)
    bench.handle(Noted(list(bench.machine.ledger.delivery.kept)))
    assert bench.credit()[0] == 2


# Outcomes -----------------------------------------------------------------------------------------------------------


def test_outcomes_of_one_turn_travel_together(bench: Bench) -> None:
    bench.run(1, 2)
    for slot in (0, 1):
        bench.carry_out(bench.machine.heard(Said(slot, Ended(Outcome(bench.read(slot)))), bench.now))
    bench.turn([])
    assert [len(message.outcomes) for message in bench.heard(Outcomes)] == [2]


def test_an_outcome_is_told_again_until_it_is_noted(bench: Bench) -> None:
    bench.run(1)
    bench.end(0)
    bench.outcomes()
    assert bench.machine.repeats(bench.now + 1.0) == []
    again = bench.machine.repeats(bench.now + 3.0)
    assert [effect.message.outcomes[0].lease for effect in again if isinstance(effect, Tell)] == [1]  # type: ignore[union-attr]
    bench.handle(Noted([1]))
    assert bench.machine.repeats(bench.now + 10.0) == []


def test_an_outcome_that_is_noted_before_it_was_told_is_not_told_again(bench: Bench) -> None:
    bench.run(1)
    bench.machine.heard(Said(0, Ended(Outcome(bench.read(0)))), bench.now)
    bench.machine.handle(Noted([1]), bench.now)
    bench.turn([])
    assert bench.machine.repeats(bench.now + 10.0) == [] and not bench.machine.delivery.kept


def test_an_outcome_that_nobody_waits_for_is_ignored(bench: Bench) -> None:
    bench.run(1)
    bench.ended(0, 77)
    assert bench.outcomes() == [] and 1 in bench.machine.ledger.attempts


# Stops --------------------------------------------------------------------------------------------------------------


def test_a_timeout_begins_when_the_attempt_runs_and_ends_softly(bench: Bench) -> None:
    bench.run(1, needs=Needs(timeout=2.0))
    bench.busy(0, 1)
    bench.pass_time(1.9)
    assert bench.took(Interrupt) == []
    bench.pass_time(0.2)
    assert bench.took(Interrupt) == [Interrupt(0, 1, "timeout")]
    bench.ended(0, 1, "timeout")
    assert bench.took(KillTree) == [KillTree(0)]
    assert bench.outcomes() == [], "what it has started may still be there"
    bench.started()
    bench.down(0)
    assert [outcome.kind for outcome in bench.outcomes()] == ["timeout"]
    assert bench.started() == [0]


def test_who_ends_by_itself_while_it_is_stopped_keeps_its_process(bench: Bench) -> None:
    bench.run(1)
    bench.busy(0, 1)
    bench.handle(Kill([1]))
    bench.ended(0, 1, "success")
    assert [outcome.kind for outcome in bench.outcomes()] == ["success"]
    bench.pulse()
    bench.pass_time(GRACE + 1)
    assert bench.took(KillTree) == []


def test_a_success_that_comes_together_with_the_hard_kill_counts(bench: Bench) -> None:
    bench.run(1)
    bench.busy(0, 1)
    bench.handle(Kill([1]))
    bench.pass_time(GRACE)
    assert bench.took(KillTree) == [KillTree(0)]
    bench.ended(0, 1, "success")
    assert bench.took(KillTree) == [] and bench.outcomes() == []
    bench.down(0)
    assert [outcome.kind for outcome in bench.outcomes()] == ["success"]


def test_waiting_in_a_pipe_does_not_count_for_the_timeout() -> None:
    bench = Bench(slots=1)
    bench.teach(0.001)
    bench.run(10)
    bench.run(11, needs=Needs(timeout=0.1))
    bench.busy(0, 10)
    bench.pass_time(0.09)
    bench.ended(0, 10)
    bench.busy(0, 11)
    bench.pass_time(0.09)
    assert bench.took(Interrupt) == []
    bench.pass_time(0.02)
    assert bench.took(Interrupt) == [Interrupt(0, 11, "timeout")]


def test_nothing_waits_behind_a_timeout() -> None:
    bench = Bench(slots=1)
    bench.teach(0.001)
    bench.run(10, needs=Needs(timeout=0.05))
    bench.run(11)
    bench.busy(0, 10)
    bench.pass_time(0.06)
    assert bench.took(Interrupt) == [Interrupt(0, 10, "timeout")]
    assert bench.waiting(0) == [] and bench.handed_back() == []
    bench.ended(0, 10, "timeout")
    bench.down(0)
    bench.up(0)
    assert bench.waiting(0) == [11]


def test_who_does_not_stop_is_killed_with_its_tree(bench: Bench) -> None:
    bench.run(1, needs=Needs(timeout=0.5))
    bench.busy(0, 1)
    bench.pass_time(0.6)
    bench.pass_time(GRACE)
    assert bench.took(KillTree) == [KillTree(0)]
    assert bench.outcomes() == []
    bench.started()
    bench.down(0)
    (outcome,) = bench.outcomes()
    assert outcome.kind == "timeout" and outcome.error is not None
    assert "0.5 s" in outcome.error.message and outcome.error.log_tail == "last words"
    assert bench.started() == [0]


def test_nothing_waits_behind_what_is_being_stopped(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11, 12, 13)
    bench.busy(0, 10)
    bench.handle(Kill([10]))
    assert bench.waiting(0) == [] and bench.waiting(1) == [11, 13, 12]


def test_a_kill_of_a_running_attempt_is_soft_first(bench: Bench) -> None:
    bench.run(1)
    bench.busy(0, 1)
    bench.handle(Kill([1]))
    assert bench.took(Interrupt) == [Interrupt(0, 1, "cancelled")]
    bench.handle(Kill([1]))
    bench.handle(Pulse(bench.now, kill=(1,)))
    assert bench.took(Interrupt) == []
    bench.pass_time(GRACE)
    assert bench.took(KillTree) == [KillTree(0)]
    bench.down(0)
    assert [outcome.kind for outcome in bench.outcomes()] == ["cancelled"]


def test_a_kill_of_what_has_not_begun_is_confirmed_at_once(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11, 12, 13)
    bench.busy(0, 10)
    bench.handle(Kill([12]))
    assert [(outcome.lease, outcome.kind, outcome.duration) for outcome in bench.outcomes()] == [(12, "cancelled", 0.0)]
    assert bench.took(Interrupt) == []


def test_a_kill_finds_what_waits_outside_of_the_pipes(bench: Bench) -> None:
    bench.run(1, 2, 3)
    bench.handle(Kill([3]))
    assert [(outcome.lease, outcome.kind) for outcome in bench.outcomes()] == [(3, "cancelled")]


def test_a_kill_of_what_was_just_begun_waits_for_its_turn(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11, 12)
    bench.busy(0, 10)
    bench.busy(0, 12)
    bench.handle(Kill([12]))
    assert bench.took(Interrupt) == []
    bench.ended(0, 10)
    assert bench.took(Interrupt) == [Interrupt(0, 12, "cancelled")]


def test_many_kills_at_once_look_into_every_pipe_once(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(*range(10, 110))
    bench.busy(0, 10)
    bench.took(TakeBack)
    bench.handle(Kill(list(range(10, 110))))
    assert len(bench.took(TakeBack)) == 2
    assert {outcome.lease for outcome in bench.outcomes()} == set(range(11, 110))
    assert bench.took(Interrupt) == [Interrupt(0, 10, "cancelled")]


def test_a_recall_gives_back_what_has_not_begun_and_nothing_else(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11, 12)
    bench.run(13, worker="stranger")
    bench.busy(0, 10)
    bench.handle(Recall([10, 12, 13]))
    bench.handle(Recall([12]))
    assert sorted(bench.handed_back()) == [12, 13]
    assert set(bench.machine.ledger.attempts) == {10, 11}


# Deaths -------------------------------------------------------------------------------------------------------------


def test_the_head_alone_is_charged_for_a_death(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11, 12)
    bench.busy(0, 10)
    bench.now += 0.01
    bench.down(0, signal=9)
    (outcome,) = bench.outcomes()
    assert (outcome.lease, outcome.kind, outcome.charged) == (10, "died", True)
    assert outcome.error is not None and "SIGKILL" in outcome.error.message and "memory" in outcome.error.message
    assert outcome.duration == pytest.approx(0.01)
    assert bench.waiting(1) == [11, 12]
    assert bench.started() == [0]


@pytest.mark.parametrize(
    ("code", "number", "words"),
    [(3, None, "exit code 3"), (None, 11, "SIGSEGV"), (None, 250, "signal 250"), (None, None, "vanished")],
)
def test_a_death_is_told_in_words(bench: Bench, code: int | None, number: int | None, words: str) -> None:
    bench.run(1)
    bench.busy(0, 1)
    bench.down(0, code, number)
    (outcome,) = bench.outcomes()
    assert outcome.error is not None and words in outcome.error.message
    assert outcome.error.exit_code == code


def test_who_dies_before_it_reads_anything_charges_nobody(bench: Bench) -> None:
    bench.run(1)
    bench.down(0)
    assert bench.outcomes() == []
    assert bench.waiting(1) == [1]


def test_a_kill_that_meets_a_death_is_confirmed_as_cancelled(bench: Bench) -> None:
    bench.run(1)
    bench.busy(0, 1)
    bench.handle(Kill([1]))
    bench.down(0, code=1, signal=None)
    assert [outcome.kind for outcome in bench.outcomes()] == ["cancelled"]


def test_a_process_that_was_of_no_use_is_replaced_after_a_growing_pause() -> None:
    bench = Bench(slots=1)
    bench.started()
    pauses = []
    for _ in range(4):
        bench.down(0)
        assert bench.started() == []
        began = bench.now
        while not (again := bench.started()):
            bench.pulse()
            bench.pass_time(0.05)
        assert again == [0]
        pauses.append(bench.now - began)
        bench.up(0)
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8], abs=0.06)
    bench.run(1)
    bench.busy(0, 1)
    bench.down(0)
    assert bench.started() == [0]


def test_the_first_broken_process_is_a_failure_of_the_broker() -> None:
    bench = Bench(up=False)
    bench.broken(0, "Could not find worker 'X'")
    assert bench.took(Fail) == [Fail("Could not find worker 'X'")]


def test_a_process_that_breaks_later_is_tried_again() -> None:
    bench = Bench(slots=1)
    bench.run(1)
    bench.busy(0, 1)
    bench.down(0)
    bench.started()
    bench.broken(0)
    bench.down(0, code=1, signal=None)
    assert bench.took(Fail) == [] and bench.started() == []
    bench.pass_time(0.2)
    assert bench.started() == [0]


def test_processes_that_never_come_up_are_given_up() -> None:
    bench = Bench(slots=1, up=False)
    for _ in range(3):
        assert bench.took(Fail) == []
        bench.down(0, code=3, signal=None)
        bench.pass_time(1.0)
    (failure,) = bench.took(Fail)
    assert "exit code 3" in failure.reason and "last words" in failure.reason


# Leases -------------------------------------------------------------------------------------------------------------


def test_the_guard_is_moved_by_every_answered_heartbeat(bench: Bench) -> None:
    assert bench.guarded_until() == pytest.approx(bench.now + 7.5)
    bench.pass_time(2.0)
    bench.pulse()
    assert bench.guarded_until() == pytest.approx(bench.now + 7.5)
    bench.handle(Pulse(bench.now - 1.0))
    assert bench.took(Guard) == []


def test_everything_ends_when_leases_are_not_renewed_and_no_outcome_is_told(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11)
    bench.busy(0, 10)
    bench.pass_time(6.9)
    assert bench.took(KillTree) == []
    bench.pass_time(0.2)
    assert bench.took(KillTree) == [KillTree(0), KillTree(1)]
    assert bench.guarded_until() is None
    assert set(bench.machine.beat(bench.now).leases) >= {10, 11}
    bench.down(0)
    bench.down(1)
    assert [outcome.lease for outcome in bench.outcomes()] == []
    assert not bench.machine.ledger.attempts
    assert bench.handed_back() == [11]


def test_a_death_that_comes_to_light_after_the_lease_has_lapsed_is_charged_to_nobody(bench: Bench) -> None:
    """The Broker was stopped, its warden has ended everything, and now it goes on."""
    bench.run(1)
    bench.busy(0, 1)
    bench.now += 30.0
    bench.down(0)
    bench.down(1)
    assert bench.outcomes() == [] and not bench.machine.attempts
    bench.pulse()
    bench.up(0)
    bench.run(2)
    assert bench.waiting(0) == [2]


def test_a_job_that_the_warden_strikes_too_late_is_not_charged_for_it(bench: Bench) -> None:
    """It had begun to kill when the leases were renewed, and a job that began just then has lost its process."""
    bench.pass_time(7.5)
    bench.pulse()
    bench.run(1)
    bench.busy(0, 1)
    bench.down(0, overdue=True)
    (outcome,) = bench.outcomes()
    assert (outcome.lease, outcome.kind, outcome.charged) == (1, "lost", False)


def test_nothing_starts_on_a_stale_stamp(bench: Bench) -> None:
    bench.credit()
    bench.pass_time(7.5)
    assert bench.credit() == (0, 0)
    bench.run(1)
    assert bench.waiting(0) == [] and bench.handed_back() == [1]
    bench.pulse()
    assert bench.credit() == (2, 0)
    bench.run(2)
    assert bench.waiting(0) == [2]


def test_a_stopping_or_dying_process_lapses_too(bench: Bench) -> None:
    bench.run(1, 2)
    bench.busy(0, 1)
    bench.busy(1, 2)
    bench.pass_time(1.9)
    bench.handle(Kill([1]))
    bench.pass_time(4.0)
    bench.handle(Kill([2]))
    bench.pass_time(1.2)
    bench.down(0)
    bench.down(1)
    assert bench.outcomes() == []


# Errands ------------------------------------------------------------------------------------------------------------


def test_values_are_fetched_for_the_process_that_asked(bench: Bench) -> None:
    want = Want(RUN, "result", "job")
    bench.turn(bench.machine.heard(Said(1, Fetch(7, want)), bench.now))
    (request,) = bench.heard(FetchValue)
    assert request.want == want
    bench.handle(Welcome())
    assert bench.heard(FetchValue) == [request]
    bench.handle(Fetched(request.id, Given(missing="pruned")))
    assert bench.took(Reply) == [Reply(1, Answer(7, Given(missing="pruned")))]
    bench.handle(Welcome())
    assert bench.heard(FetchValue) == []


def test_nobody_gets_the_answer_that_a_dead_process_asked_for(bench: Bench) -> None:
    bench.turn(bench.machine.heard(Said(1, Fetch(7, Want(RUN))), bench.now))
    (request,) = bench.heard(FetchValue)
    bench.pass_time(1.0)
    bench.down(1)
    bench.handle(Fetched(request.id, Given()))
    assert bench.took(Reply) == []


def test_a_large_attempt_is_sent_whole_when_its_process_asks(bench: Bench) -> None:
    bench.run(1)
    bench.turn(bench.machine.heard(Said(0, Resend(1)), bench.now))
    (reply,) = bench.took(Reply)
    assert isinstance(reply.message, Large) and reply.message.packet.assignment == assignment(1)
    bench.turn(bench.machine.heard(Said(0, Resend(99)), bench.now))
    assert bench.took(Reply) == []


def test_progress_is_passed_on_once_per_turn(bench: Bench) -> None:
    bench.run(1)
    for done in (1.0, 2.0):
        bench.carry_out(bench.machine.heard(Said(0, Progress(1, done)), bench.now))
    bench.carry_out(bench.machine.heard(Said(0, Progress(99, 1.0)), bench.now))
    bench.turn([])
    (signals,) = bench.heard(Signals)
    assert [(lease, kind) for lease, kind, _ in signals.signals] == [(1, "progress")]


# The end ------------------------------------------------------------------------------------------------------------


def test_a_stop_hands_back_what_waits_and_lets_run_what_runs(bench: Bench) -> None:
    bench.teach(0.001)
    bench.run(10, 11, 12, 13)
    bench.busy(0, 10)
    bench.busy(1, 11)
    bench.turn(bench.machine.stop(bench.now, 20.0))
    assert sorted(bench.handed_back()) == [12, 13]
    assert bench.credit() == (0, 0)
    assert not bench.machine.done
    bench.run(14)
    assert bench.handed_back() == [14]
    bench.ended(0, 10)
    bench.ended(1, 11)
    assert [outcome.kind for outcome in bench.outcomes()] == ["success", "success"]
    assert bench.machine.done


def test_what_outlives_the_grace_is_stopped_without_a_charge(bench: Bench) -> None:
    bench.run(1, 2)
    bench.busy(0, 1)
    bench.busy(1, 2)
    bench.turn(bench.machine.stop(bench.now, 1.0))
    bench.pass_time(1.1)
    assert {(one.lease, one.why) for one in bench.took(Interrupt)} == {(1, "cancelled"), (2, "cancelled")}
    bench.ended(0, 1, "cancelled")
    bench.down(0)
    bench.started()
    bench.pass_time(GRACE)
    bench.down(1)
    assert [(outcome.kind, outcome.charged) for outcome in bench.outcomes()] == [("lost", False), ("lost", False)]
    assert bench.machine.done and bench.started() == []


def test_an_idle_broker_is_done_at_once(bench: Bench) -> None:
    bench.turn(bench.machine.stop(bench.now, 20.0))
    assert bench.machine.done


def test_who_ends_by_itself_within_the_last_moment_has_ended(bench: Bench) -> None:
    bench.run(1)
    bench.busy(0, 1)
    bench.turn(bench.machine.stop(bench.now, 0.5))
    bench.pass_time(0.5 + GRACE)
    bench.ended(0, 1, "failed")
    bench.down(0)
    assert [outcome.kind for outcome in bench.outcomes()] == ["failed"]


# Rules --------------------------------------------------------------------------------------------------------------


def test_an_impossible_step_raises_with_the_story_and_changes_nothing(bench: Bench) -> None:
    bench.run(1)
    with pytest.raises(ProtocolError, match=r"slot 0: serving.*work\[1\].*'up'"):
        bench.up(0)
    assert bench.machine.slots[0].state is State.SERVING


def test_a_process_that_says_it_is_broken_and_then_up_stays_doomed() -> None:
    bench = Bench(slots=1, up=False)
    bench.broken(0)
    bench.up(0)
    assert bench.machine.slots[0].state is State.DYING
    assert bench.credit() == (0, 0)


def test_the_machine_says_when_it_has_to_be_woken(bench: Bench) -> None:
    assert bench.machine.next_deadline() == pytest.approx(bench.now + 7.0)
    bench.run(1, needs=Needs(timeout=3.0))
    assert bench.machine.next_deadline() == pytest.approx(bench.now + 3.0)
    bench.busy(0, 1)
    bench.handle(Kill([1]))
    assert bench.machine.next_deadline() == pytest.approx(bench.now + GRACE)


def test_a_pipe_that_was_full_and_is_emptied_takes_work_again() -> None:
    bench = Bench(capacity=2)
    bench.teach(0.001)
    bench.run(*range(10, 18))
    assert [slot.full for slot in bench.machine.slots] == [True, True]
    bench.handle(Recall(list(range(10, 18))))
    assert sorted(bench.handed_back()) == list(range(10, 18))
    bench.run(20)
    assert sum(len(pipe) for pipe in bench.pipes) == 1


def test_what_failures_say_counts_as_what_is_kept() -> None:
    bench = Bench()
    bench.teach(0.001)
    long = Failure("ValueError", "spam", "x" * (MOST_BYTES // 2 + 1))
    for lease in (10, 11):
        bench.run(lease)
        slot = next(slot.number for slot in bench.machine.slots if slot.fifo)
        bench.read(slot)
        bench.turn(bench.machine.heard(Said(slot, Ended(Outcome(lease, "failed", error=long))), bench.now))
    assert bench.machine.delivery.full and bench.credit() == (0, 0)
    bench.handle(Noted([10]))
    assert not bench.machine.delivery.full
    bench.handle(Noted([11, 1]))
    assert bench.machine.delivery._bytes == 0


def test_what_is_stopped_before_its_process_has_read_it_can_be_taken_back() -> None:
    bench = Bench(slots=1)
    bench.run(1, needs=Needs(timeout=1.0))
    bench.pass_time(1.0)
    assert bench.machine.slots[0].state is State.STOPPING
    bench.handle(Kill([1]))
    assert [outcome.kind for outcome in bench.outcomes()] == ["cancelled"]
    assert bench.machine.slots[0].state is State.SERVING
    bench.pass_time(GRACE + 1.0)
    assert bench.took(KillTree) == []
