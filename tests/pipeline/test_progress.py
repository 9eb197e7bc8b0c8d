from __future__ import annotations

import pytest
from driving import Drive, bad, behave, define, ok

from headrace.pipeline.attempts import wait
from headrace.pipeline.definition import CommandLine, GatherRule, Node, RetryRule, RunOptions
from headrace.pipeline.errors import DefinitionError, ProtocolError
from headrace.pipeline.facts import Accepted, Finished, Released, Returned
from headrace.pipeline.plan import Plan
from headrace.pipeline.plans import Plans
from headrace.pipeline.progress import Progress
from headrace.pipeline.task import COMMAND, Input, Needs, unpack_task

DIAMOND = define("A B C D", "A>B A>C B>D C>D")


def failing(*names: str, **more):
    return behave(**{name: lambda ready: bad(ready, **more) for name in names})


# Plain graphs


def test_a_job_is_ready_when_all_its_parents_have_ended():
    drive = Drive(DIAMOND)
    assert [one.job for one in drive.pull()] == ["A"]
    drive.returned("A")
    assert [one.job for one in drive.pull()] == ["B", "C"]
    drive.returned("C")
    assert drive.pull() == []
    drive.returned("B")
    assert [one.job for one in drive.pull()] == ["D"]
    drive.returned("D")
    assert drive.progress.conclusion() == ("success", None, True)
    assert drive.states == dict.fromkeys("ABCD", "success")


def test_an_attempt_says_after_which_fact_it_may_start_and_what_it_reads():
    drive = Drive(DIAMOND)
    assert drive.pull()[0].after == 1
    drive.returned("A").returned("C").returned("B")
    (last,) = drive.pull()
    assert (last.after, last.attempt, last.delay, last.round, last.hook) == (4, 1, 0.0, 0, False)
    assert last.inputs == (Input("B"), Input("C"))
    assert last.needs is None and last.worker == "D" and unpack_task(last.task).worker == "D"


def test_ready_hands_out_no_more_than_it_is_asked_for_and_nothing_twice():
    drive = Drive(define("A B C D E"))
    assert [one.job for one in drive.progress.ready(2)] == ["A", "B"]
    assert drive.progress.pending() == 2
    assert drive.progress.has_ready()
    assert drive.progress.ready(0) == []
    assert [one.job for one in drive.progress.ready(9)] == ["C", "D", "E"]
    assert not drive.progress.has_ready()
    assert drive.progress.ready() == []


def test_a_repeated_fact_changes_nothing():
    drive = Drive(DIAMOND).returned("A").returned("B")
    before = drive.states
    for sequence, fact in drive.facts:
        drive.progress.apply(sequence, fact)
    assert drive.states == before
    assert drive.progress.last == 3


def test_an_impossible_fact_is_refused_with_its_story_and_changes_nothing():
    drive = Drive(DIAMOND)
    drive.pull()
    for fact, story in (
        (Returned("X", (), 1, "success"), "no such job"),
        (Returned("A", (0,), 1, "success"), "no such branch"),
        (Returned("D", (), 1, "success"), "comes after B, C"),
    ):
        with pytest.raises(ProtocolError, match=story):
            drive.progress.apply(2, fact)
    assert drive.progress.last == 1
    assert drive.progress.pending() == 1
    drive.progress.validate()


def test_a_replay_accepts_outcomes_of_what_it_never_handed_out():
    drive = Drive(DIAMOND).returned("A").returned("B")
    other = drive.replay()
    assert other.states() == drive.states == {"A": "success", "B": "success", "C": "queued", "D": "waiting"}
    assert [one.job for one in other.ready()] == ["C"]


def test_after_a_rewind_everything_that_has_not_ended_is_ready_again():
    drive = Drive(define("A B C", "A>C"))
    drive.pull()
    drive.returned("A")
    first = drive.progress.ready()
    drive.progress.rewind()
    assert drive.progress.pending() == 0
    again = drive.progress.ready()
    assert {one.job for one in again} == {"B", "C"}
    assert [one for one in again if one.job == "C"] == first


def test_what_was_handed_out_comes_first_again():
    drive = Drive(define("A B C D E"))
    drive.progress.ready(3)
    drive.progress.rewind()
    assert [one.job for one in drive.progress.ready(3)] == ["A", "B", "C"]


def test_an_empty_pipeline_succeeds_at_once_and_a_held_one_waits():
    drive = Drive(define(""))
    assert drive.progress.conclusion() == ("success", None, True)
    held = Progress(define("A"), "run")
    held.apply(1, Accepted("run", 0.0, RunOptions(), active=False))
    assert held.ready() == [] and not held.has_ready() and held.state == "waiting"
    held.apply(2, Released(0.0))
    assert [(one.job, one.after) for one in held.ready()] == [("A", 2)]


def test_jobs_carry_their_worker_and_their_needs():
    nodes = (
        Node(name="A", worker="W", role="gpu", limits=("x",), resources={"cpu": 2.0}, priority=3, timeout=1.0),
        Node(name="B", command=CommandLine(argv=("true",)), queue_timeout=5.0),
    )
    first, second = Drive(define(nodes)).pull()
    assert first.worker == "W"
    assert first.needs == Needs("gpu", {"cpu": 2.0}, ("x",), 3, 1.0, None)
    assert second.worker == COMMAND
    assert second.needs == Needs(queue_timeout=5.0)


def test_a_store_job_with_many_parents_lists_none_and_a_value_job_lists_all():
    names = [f"n{i}" for i in range(100)]
    nodes = [Node(name=name) for name in names] + [Node(name="S"), Node(name="V", bind="args")]
    edges = " ".join(f"{name}>S {name}>V" for name in names)
    drive = Drive(define(nodes, edges))
    last = {}
    while not drive.step():
        last |= {one.job: one for one in drive.started}
    assert last["S"].inputs == ()
    assert last["V"].inputs == tuple(Input(name) for name in names)


def test_an_argument_may_be_given_twice():
    definition = define([Node(name="A"), Node(name="B", bind="args")])
    definition = type(definition)(nodes=definition.nodes, edges=((0, 1, "value"), (0, 1, "value")))
    drive = Drive(definition).returned("A")
    assert drive.pull()[0].inputs == (Input("A"), Input("A"))


def test_a_gate_takes_no_attempt_and_joins_groups():
    nodes = [Node(name=name) for name in "ABCD"] + [Node(name="gate", kind="gate")]
    drive = Drive(define(nodes, "A>gate B>gate gate>C gate>D"))
    drive.to_end()
    assert drive.order() == ["A", "B", "C", "D"]
    assert "gate" not in drive.states
    assert drive.started[2].inputs == ()


def test_gates_alone_make_a_run_that_ends():
    nodes = [Node(name="one", kind="gate"), Node(name="two", kind="gate")]
    assert Drive(define(nodes, "one>two")).progress.conclusion() == ("success", None, True)


def test_deep_and_wide_pipelines_need_no_stack():
    names = " ".join(f"n{i}" for i in range(10_000))
    chain = define(names, " ".join(f"n{i}>n{i + 1}" for i in range(9_999)))
    drive = Drive(chain)
    progress = Progress(drive.plan, "run")
    for sequence in range(1, 10_001):
        (one,) = progress.ready()
        progress.apply(sequence, Returned(one.job, (), 1, "success"))
    assert progress.conclusion() == ("success", None, True)
    stopped = Progress(drive.plan, "run")
    stopped.apply(1, Returned("n0", (), 1, "failed"))
    assert stopped.counts() == {"failed": 1, "cancelled": 9_999}


# Definitions that cannot be


@pytest.mark.parametrize(
    ("jobs", "edges", "story"),
    [
        ("A A", (), "two jobs are named 'A'"),
        ("A B C", ((0, 1, "order"), (1, 2, "order"), (2, 1, "order")), "cycle: (B > C > B|C > B > C)"),
        ("A", ((0, 0, "order"),), "cycle: A > A"),
        ("A B", ((0, 7, "order"),), "leaves a pipeline of 2 jobs"),
        ("hook:x", (), "for hooks"),
    ],
)
def test_a_definition_that_cannot_run_is_refused(jobs, edges, story):
    nodes = tuple(Node(name=name) for name in jobs.split())
    with pytest.raises(DefinitionError, match=story):
        Plan.of(type(DIAMOND)(nodes=nodes, edges=edges))


def test_bytes_that_are_no_definition_are_refused_and_plans_are_shared():
    with pytest.raises(DefinitionError, match="no definition"):
        Plan.load(b"\xc1garbage")
    from headrace.pipeline.definition import pack_definition

    plans = Plans(limit=2)
    packed = [pack_definition(define(name)) for name in "ABC"]
    first = plans.of(packed[0])
    assert plans.of(packed[0]) is first
    plans.of(packed[1])
    plans.of(packed[2])
    assert plans.of(packed[0]) is not first


# Failures


def test_under_fail_the_first_failure_stops_what_waits_and_what_runs():
    drive = Drive(define("A B C D", "A>C B>D"))
    drive.pull()
    drive.record(bad(drive.live.pop(("A", ()))))
    assert drive.states == {"A": "failed", "B": "cancelled", "C": "cancelled", "D": "cancelled"}
    assert drive.progress.conclusion() is None
    assert drive.progress.halts() == [("B", ())]
    assert drive.progress.halts() == []
    drive.record(Returned("B", (), 1, "cancelled"))
    verdict, error, final = drive.progress.conclusion()
    assert (verdict, final) == ("failed", True)
    assert (error.job, error.path, error.reason, error.traceback) == ("A", (), "ValueError: boom", "a traceback")


def test_an_outcome_after_the_stop_is_kept_and_starts_nothing():
    drive = Drive(define("A B C", "B>C"))
    drive.pull()
    drive.record(bad(drive.live.pop(("A", ()))))
    drive.record(ok(drive.live.pop(("B", ()))))
    assert drive.states == {"A": "failed", "B": "success", "C": "cancelled"}
    assert drive.pull() == []
    assert drive.progress.conclusion()[0] == "failed"


def test_always_and_failure_jobs_still_run_after_a_failure_once_their_parents_are_dead():
    nodes = [
        Node(name="A"),
        Node(name="B"),
        Node(name="C", when="always"),
        Node(name="D", when="failure"),
        Node(name="E"),
    ]
    drive = Drive(define(nodes, "A>C B>C A>D C>E"))
    drive.pull()
    drive.record(bad(drive.live.pop(("A", ()))))
    assert [one.job for one in drive.pull()] == ["D"]
    assert drive.progress.halts() == [("B", ())]
    assert not drive.progress.has_ready()
    drive.record(Returned("B", (), 1, "cancelled"))
    assert drive.progress.has_ready()
    assert [one.job for one in drive.pull()] == ["C"]
    drive.returned("C").returned("D")
    assert drive.states == {"A": "failed", "B": "cancelled", "C": "success", "D": "success", "E": "cancelled"}
    assert drive.progress.conclusion()[0] == "failed"


def test_a_cleanup_far_below_the_failure_runs():
    nodes = [Node(name="A"), Node(name="B"), Node(name="C"), Node(name="D", when="failure")]
    drive = Drive(define(nodes, "A>B B>C C>D"), failing("A")).to_end()
    assert drive.order() == ["A", "D"]
    assert drive.states == {"A": "failed", "B": "cancelled", "C": "cancelled", "D": "success"}


def test_under_block_only_what_depends_on_the_failure_is_skipped():
    drive = Drive(define("A B C D", "A>B C>D", on_error="block"), failing("A")).to_end()
    assert drive.states == {"A": "failed", "B": "skipped", "C": "success", "D": "success"}
    assert drive.verdict == "failed" and drive.error.job == "A"


def test_under_continue_the_failure_is_data_for_those_after_it():
    nodes = [Node(name="A"), Node(name="B", bind="args"), Node(name="C", when="failure"), Node(name="D")]
    drive = Drive(define(nodes, "A>B A>C D>B", on_error="continue"), failing("A")).to_end()
    assert drive.states == {"A": "failed", "B": "success", "C": "success", "D": "success"}
    assert drive.verdict == "success" and drive.error is None
    started = {one.job: one for one in drive.started}
    assert started["B"].inputs == (Input("A", kind="failed"), Input("D"))
    assert unpack_task(started["A"].task).on_error == "continue"


def test_a_job_may_have_an_on_error_of_its_own():
    nodes = [Node(name="A", on_error="continue"), Node(name="B"), Node(name="C", on_error="block"), Node(name="D")]
    drive = Drive(define(nodes, "A>B C>D"), failing("A", "C")).to_end()
    assert drive.states == {"A": "failed", "B": "success", "C": "failed", "D": "skipped"}
    assert drive.verdict == "failed" and drive.error.job == "C"


def test_a_join_that_always_runs_says_which_fact_made_it_ready():
    nodes = [Node(name="A"), Node(name="B"), Node(name="C", when="always")]
    drive = Drive(define(nodes, "A>C B>C", on_error="block")).returned("B", kind="failed").returned("A")
    assert [(one.job, one.after) for one in drive.pull()] == [("C", 3)]


def test_a_failure_job_is_skipped_when_nothing_failed():
    nodes = [Node(name="A"), Node(name="B", when="failure"), Node(name="C", when="always"), Node(name="D")]
    drive = Drive(define(nodes, "A>B B>C B>D")).to_end()
    assert drive.states == {"A": "success", "B": "skipped", "C": "success", "D": "skipped"}
    assert drive.verdict == "success"
    assert drive.started[-1].inputs == (Input("B", kind="skipped"),)


# Choose and skip


def test_a_worker_chooses_among_its_children():
    nodes = [Node(name="A"), Node(name="B"), Node(name="C"), Node(name="D"), Node(name="E", when="always")]
    drive = Drive(define(nodes, "A>B A>C B>D C>D B>E C>E"), behave(A=lambda r: ok(r, chosen=("B",)))).to_end()
    assert drive.states == {"A": "success", "B": "success", "C": "skipped", "D": "skipped", "E": "success"}
    assert drive.verdict == "success"


def test_a_choice_that_is_no_child_fails_the_job_without_retry():
    nodes = [Node(name="A", retry=RetryRule(tries=5)), Node(name="B"), Node(name="C")]
    drive = Drive(define(nodes, "A>B B>C"), behave(A=lambda r: ok(r, chosen=("C",)))).to_end()
    assert drive.order() == ["A"]
    assert "it chose 'C'" in drive.error.reason and "['B']" in drive.error.reason


def test_a_skipped_job_skips_those_that_need_it():
    drive = Drive(define("A B C", "A>B"), behave(A=lambda r: ok(r, skip="nothing to do"))).to_end()
    assert drive.states == {"A": "skipped", "B": "skipped", "C": "success"}
    assert drive.verdict == "success"
    assert drive.progress.job_details()[0].reason == "nothing to do"


def test_an_answer_that_is_invalid_fails_without_retry():
    nodes = [Node(name="A", retry=RetryRule(tries=5))]
    drive = Drive(define(nodes), behave(A=lambda r: ok(r, invalid="a set is no choice"))).to_end()
    assert drive.order() == ["A"] and drive.error.reason == "a set is no choice"


# Attempts


def attempts(drive: Drive) -> list[tuple[int, float]]:
    return [(one.attempt, one.delay) for one in drive.started]


def test_a_job_is_tried_again_as_often_as_its_rule_says():
    rule = RetryRule(tries=4, delay=1.0, factor=3.0, cap=5.0, jitter=False)
    drive = Drive(define([Node(name="A", retry=rule)]), failing("A")).to_end()
    assert attempts(drive) == [(1, 0.0), (2, 1.0), (3, 3.0), (4, 5.0)]
    assert [one.after for one in drive.started] == [1, 2, 3, 4]
    assert drive.verdict == "failed"


def test_a_job_that_succeeds_at_last_has_succeeded():
    nodes = [Node(name="A", retry=RetryRule(tries=3)), Node(name="B")]
    drive = Drive(define(nodes, "A>B"), behave(A=lambda r: bad(r) if r.attempt < 3 else ok(r))).to_end()
    assert drive.verdict == "success"
    assert drive.progress.job_details()[0].attempts == 3


def test_jitter_is_a_part_of_the_delay_and_the_same_in_every_replay():
    rule = RetryRule(tries=9, delay=8.0)
    waits = [wait(rule, 1, ("run", "A", (), 0, attempt)) for attempt in range(1, 200)]
    assert all(0 <= one < 8 for one in waits)
    assert len(set(waits)) == len(waits)
    assert 3 < sum(waits) / len(waits) < 5
    assert waits == [wait(rule, 1, ("run", "A", (), 0, attempt)) for attempt in range(1, 200)]


def test_a_delay_that_grows_without_end_is_capped():
    assert wait(RetryRule(tries=9, delay=1.0, factor=1e200, jitter=False), 9, ("r", "A", (), 0, 1)) == 366 * 86400.0


@pytest.mark.parametrize(
    ("rule", "failure", "tries"),
    [
        (RetryRule(tries=2, on=("ValueError",)), {"error": "ValueError"}, 2),
        (RetryRule(tries=2, on=("ValueError",)), {"error": "my.module.ValueError"}, 2),
        (RetryRule(tries=2, on=("my.module.ValueError",)), {"error": "ValueError"}, 2),
        (RetryRule(tries=2, on=("ValueError",)), {"error": "KeyError"}, 1),
        (RetryRule(tries=2, never=("KeyError",)), {"error": "KeyError"}, 1),
        (RetryRule(tries=2, never=("KeyError",)), {"error": "ValueError"}, 2),
        (RetryRule(tries=2, on=(75,)), {"error": "CommandFailed", "exit_code": 75}, 2),
        (RetryRule(tries=2, on=(75,)), {"error": "CommandFailed", "exit_code": 1}, 1),
        (RetryRule(tries=2, on=("timeout",)), {"kind": "timeout", "error": ""}, 2),
        (RetryRule(tries=2, on=("StoreError",)), {"kind": "store", "error": "StoreError"}, 2),
    ],
)
def test_a_rule_names_what_is_tried_again(rule, failure, tries):
    drive = Drive(define([Node(name="A", retry=rule)]), failing("A", **failure)).to_end()
    assert len(drive.started) == tries


def test_deaths_of_the_process_have_a_budget_of_their_own_and_end_in_quarantine():
    drive = Drive(
        define("A"), failing("A", kind="died", error="ProcessDied", text="signal 11", place="host/1")
    ).to_end()
    assert attempts(drive) == [(1, 0.0), (2, 0.0), (3, 0.0)]
    assert drive.error.reason.startswith("quarantined: its process died 3 times")
    assert "attempt 2 on host/1: signal 11" in drive.error.reason
    assert drive.error.kind == "died"


def test_losses_of_a_broker_have_a_budget_of_their_own():
    drive = Drive(define("A"), failing("A", kind="lost")).to_end()
    assert len(drive.started) == 10
    assert drive.states == {"A": "lost"} and drive.verdict == "failed"


def test_the_budgets_do_not_count_for_each_other():
    kinds = iter(["died", "lost", "failed", "died", "lost", "failed", "success"])

    def act(ready):
        kind = next(kinds)
        return ok(ready) if kind == "success" else bad(ready, kind)

    drive = Drive(define([Node(name="A", retry=RetryRule(tries=3))]), behave(A=act)).to_end()
    assert drive.verdict == "success" and len(drive.started) == 7


def test_what_is_not_charged_counts_nowhere():
    def act(ready):
        return bad(ready, "lost", charged=False) if ready.attempt < 50 else ok(ready)

    assert Drive(define("A"), behave(A=act)).to_end().verdict == "success"


def test_who_waited_too_long_in_a_queue_has_failed_without_retry():
    nodes = [Node(name="A", retry=RetryRule(tries=5), queue_timeout=3.0)]
    drive = Drive(define(nodes), lambda r: Returned(r.job, r.path, r.attempt, "expired")).to_end()
    assert len(drive.started) == 1
    assert "queue_timeout of 3 s" in drive.error.reason and drive.error.kind == "expired"


def test_a_timeout_says_how_long_it_was():
    drive = Drive(
        define([Node(name="A", timeout=2.5)]), lambda r: Returned(r.job, r.path, r.attempt, "timeout")
    ).to_end()
    assert drive.error.reason == "it ran longer than its timeout of 2.5 s"


def test_retry_after_sets_the_delay_and_counts_as_a_try():
    rule = RetryRule(tries=3, delay=100.0, on=("Nothing",))
    drive = Drive(define([Node(name="A", retry=rule)]), failing("A", signs={"retry_after": 7.0})).to_end()
    assert attempts(drive) == [(1, 0.0), (2, 7.0), (3, 7.0)]


def test_retry_after_works_without_a_rule_within_reason():
    drive = Drive(define("A"), failing("A", signs={"retry_after": 0.5})).to_end()
    assert len(drive.started) == 10 and drive.verdict == "failed"


def test_a_stale_attempt_is_ignored():
    drive = Drive(define([Node(name="A", retry=RetryRule(tries=3))]))
    drive.pull()
    drive.returned("A", kind="failed")
    drive.pull()
    drive.record(Returned("A", (), 1, "success"))
    assert drive.states == {"A": "queued"} and drive.progress.pending() == 1


def test_a_delayed_retry_is_handed_out_alike_after_a_rewind():
    rule = RetryRule(tries=3, delay=4.0)
    drive = Drive(define([Node(name="A", retry=rule)]))
    drive.returned("A", kind="failed")
    (first,) = drive.progress.ready()
    drive.progress.rewind()
    assert drive.progress.ready() == [first]
    assert drive.replay().ready() == [first]


# Cancel


def test_cancel_stops_everything_and_says_why():
    drive = Drive(define([Node(name="A"), Node(name="B", when="always")], "A>B"))
    drive.pull()
    drive.cancel("no more")
    assert drive.verdict == "cancelling"
    assert drive.progress.halts() == [("A", ())]
    drive.record(Returned("A", (), 1, "cancelled"))
    verdict, error, final = drive.progress.conclusion()
    assert (verdict, error.job, error.reason, final) == ("cancelled", None, "no more", True)
    drive.record(Finished(0.0, verdict, error))
    assert drive.verdict == "cancelled" and drive.states == {"A": "cancelled", "B": "cancelled"}


def test_cancel_of_a_held_run_ends_it():
    progress = Progress(define("A"), "run")
    progress.apply(1, Accepted("run", 0.0, RunOptions(), active=False))
    drive = Drive(define("A"))
    drive.progress = progress
    drive.cancel()
    assert progress.conclusion()[0] == "cancelled"


def test_a_run_that_had_failed_before_the_cancel_has_failed():
    nodes = [Node(name="A"), Node(name="B", when="always")]
    drive = Drive(define(nodes, "A>B")).returned("A", kind="failed")
    drive.pull()
    drive.cancel()
    drive.halt()
    assert drive.progress.conclusion()[0] == "failed"


def test_a_late_skip_gives_nothing_to_what_gathers_it():
    """Seed 29292: a clean-up that gathers was to read a result that there is not."""
    nodes = [
        *(Node(name="S", spread=True), Node(name="A", bind="args"), Node(name="B")),
        Node(name="G", bind="gather", gather=GatherRule(), when="always"),
    ]
    drive = Drive(define(nodes, "S>A A>G")).returned("S", spread=1)
    drive.pull()
    late = drive.live.pop(("A", (0,)))
    drive.returned("B", kind="failed")
    drive.record(ok(late, skip="nothing to do"))
    (gather,) = drive.pull()
    assert gather.inputs == (Input("A", (), True, keyed=()),)


def test_a_late_success_after_cancel_is_kept_as_a_result():
    drive = Drive(define("A B", "A>B"))
    drive.pull()
    drive.cancel()
    drive.record(ok(drive.live.pop(("A", ()))))
    assert drive.states == {"A": "success", "B": "cancelled"}
    assert drive.pull() == []


def test_halts_are_told_again_after_a_rewind_and_by_whoever_takes_over():
    drive = Drive(define("A B C D", "B>D"))
    drive.pull(3)
    drive.record(bad(drive.live.pop(("A", ()))))
    assert set(drive.progress.halts()) == {("B", ()), ("C", ())}
    drive.progress.rewind()
    assert set(drive.progress.halts()) == {("B", ()), ("C", ())}
    assert set(drive.replay().halts()) == {("B", ()), ("C", ()), ("D", ())} - {("D", ())}


# Hooks


def hooked(**more):
    hooks = {kind: Node(name=f"on {kind}", worker="Notify") for kind in ("success", "failure", "always")}
    return define("A B", "A>B", hooks=hooks, **more)


@pytest.mark.parametrize(
    ("act", "called"),
    [(behave(), ["hook:success", "hook:always"]), (failing("A"), ["hook:failure", "hook:always"])],
)
def test_hooks_run_after_the_verdict_and_before_the_end(act, called):
    drive = Drive(hooked(), act)
    while drive.progress.conclusion() is None:
        drive.pull()
        drive.record(act(drive.live.popitem()[1]))
        drive.halt()
    verdict, _, final = drive.progress.conclusion()
    assert not final
    assert not drive.conclude()
    hooks = drive.pull()
    assert [one.job for one in hooks] == called
    assert all(one.hook and one.path == () and one.worker == "Notify" for one in hooks)
    assert hooks[0].inputs == (Input("", many=True, kind="run"),)
    assert hooks[0].needs == Needs(queue_timeout=60.0)
    assert drive.progress.conclusion() is None
    for one in hooks:
        drive.record(ok(drive.live.pop((one.job, ()))))
    assert drive.progress.conclusion()[::2] == (verdict, True)
    assert drive.conclude()


def test_a_cancelled_run_calls_its_always_hook_only():
    drive = Drive(hooked())
    drive.pull()
    drive.cancel("over").halt()
    assert not drive.conclude()
    assert [one.job for one in drive.pull()] == ["hook:always"]


def test_a_failing_hook_is_shown_and_changes_no_verdict():
    drive = Drive(hooked(), behave(**{"hook:success": bad})).to_end()
    assert drive.verdict == "success" and drive.error is None
    details = {one.name: one for one in drive.progress.job_details()}
    assert details["hook:success"].state == "failed" and details["hook:success"].hook
    assert details["hook:success"].reason == "ValueError: boom"
    assert "hook:success" not in drive.states and "hook:failure" not in details


def test_a_hook_is_given_the_state_and_the_error_under_its_own_data():
    from headrace.pipeline.payload import pack, unpack

    hooks = {"failure": Node(name="F", data=pack({"to": "me", "state": "mine"})), "always": Node(name="G")}
    drive = Drive(define("A", hooks=hooks), failing("A")).to_end()
    told = {one.job: unpack(unpack_task(one.task).data) for one in drive.started if one.hook}
    assert told["hook:failure"]["to"] == "me" and told["hook:failure"]["state"] == "mine"
    assert told["hook:always"]["state"] == "failed"
    assert told["hook:always"]["error"]["reason"] == "ValueError: boom"
    assert told["hook:always"]["error"]["job"] == "A"


@pytest.mark.parametrize("own", [[1, 2], "text", {f"k{i}": i for i in range(40)}, {str(i): i for i in range(70_000)}])
def test_any_data_of_a_hook_is_kept(own):
    from headrace.pipeline.payload import pack, unpack

    drive = Drive(define("", hooks={"success": Node(name="S", data=pack(own))})).to_end()
    told = unpack(unpack_task(drive.started[0].task).data)
    expected = {**own} if isinstance(own, dict) else {"data": own}
    assert told == {"state": "success", "error": None, **expected}


def test_hooks_may_be_tried_again_and_a_replay_knows_them():
    hooks = {"always": Node(name="H", retry=RetryRule(tries=2))}
    act = behave(**{"hook:always": lambda r: bad(r) if r.attempt == 1 else ok(r)})
    drive = Drive(define("A", hooks=hooks), act).to_end()
    assert drive.order() == ["A", "hook:always", "hook:always"]
    assert drive.started[1].task == drive.started[2].task
    assert drive.replay().job_details() == drive.progress.job_details()


def test_a_hook_that_was_not_called_cannot_return():
    drive = Drive(hooked())
    with pytest.raises(ProtocolError, match="was not called"):
        drive.progress.apply(2, Returned("hook:failure", (), 1, "success"))


# Rounds


def test_retry_runs_what_failed_and_what_depends_on_it_and_keeps_the_rest():
    act = behave(B=lambda r: bad(r) if r.round == 0 else ok(r))
    drive = Drive(DIAMOND, act).to_end()
    assert drive.verdict == "failed"
    drive.reopen()
    assert drive.verdict == "running"
    drive.started.clear()
    drive.to_end()
    assert drive.verdict == "success" and "A" not in drive.order()
    assert {"B", "D"} <= set(drive.order())
    assert all(one.round == 1 for one in drive.started)
    assert drive.replay().states() == drive.states


def test_a_new_round_has_fresh_budgets_and_calls_hooks_again():
    hooks = {"failure": Node(name="F"), "success": Node(name="S")}
    nodes = [Node(name="A", retry=RetryRule(tries=2))]
    drive = Drive(define(nodes, hooks=hooks), behave(A=lambda r: bad(r) if r.round < 1 else ok(r))).to_end()
    assert drive.order() == ["A", "A", "hook:failure"]
    drive.reopen().to_end()
    assert drive.order()[3:] == ["A", "hook:success"]
    assert drive.started[3].attempt == 1


def test_a_job_that_ran_because_of_the_failure_runs_again_with_it():
    nodes = [Node(name="A"), Node(name="B", when="always"), Node(name="C", on_error="block")]
    drive = Drive(define(nodes, "A>B"), behave(A=lambda r: bad(r) if r.round == 0 else ok(r))).to_end()
    drive.started.clear()
    drive.reopen().to_end()
    assert [job for job in drive.order() if job != "C"] == ["A", "B"]


def test_choices_and_skips_are_kept_in_a_new_round():
    act = behave(
        A=lambda r: ok(r, chosen=("B",)),
        S=lambda r: ok(r, skip="no need"),
        B=lambda r: bad(r) if r.round == 0 else ok(r),
    )
    drive = Drive(define("A B C S T", "A>B A>C S>T", on_error="block"), act).to_end()
    drive.started.clear()
    drive.reopen().to_end()
    assert drive.order() == ["B"]
    assert drive.states == {"A": "success", "B": "success", "C": "skipped", "S": "skipped", "T": "skipped"}


def test_a_fact_of_an_older_round_is_ignored():
    drive = Drive(define("A"), failing("A")).to_end()
    drive.reopen()
    drive.record(Returned("A", (), 1, "success", round=0))
    assert drive.states == {"A": "queued"}


# Groups


def grouped(on_error=None, run="fail", group_hooks=None):
    from headrace.pipeline.definition import Group

    group = Group(title="G", members=(0, 1), on_error=on_error, hooks=group_hooks or {})
    return define("A B C D", "C>D", on_error=run, groups=(group,))


def test_a_group_that_fails_cancels_its_own_and_no_others():
    drive = Drive(grouped("fail", run="block"))
    drive.pull()
    drive.record(bad(drive.live.pop(("A", ()))))
    assert drive.states == {"A": "failed", "B": "cancelled", "C": "queued", "D": "waiting"}
    drive.halt()
    drive.to_end()
    assert drive.verdict == "failed"
    assert drive.states == {"A": "failed", "B": "cancelled", "C": "success", "D": "success"}


def test_a_failed_group_is_a_failure_of_what_is_around_it():
    drive = Drive(grouped("fail", run="fail")).returned("A", kind="failed")
    assert drive.states == {"A": "failed", "B": "cancelled", "C": "cancelled", "D": "cancelled"}
    forgiven = Drive(grouped("fail", run="continue"), failing("A")).to_end()
    assert forgiven.verdict == "success" and forgiven.states["D"] == "success"


def test_a_group_hands_its_on_error_to_its_members():
    drive = Drive(grouped("continue", run="fail"), failing("A")).to_end()
    assert drive.verdict == "success" and drive.states["B"] == "success"


def test_hooks_of_a_group_run_when_its_last_member_has_ended_one_after_the_other():
    hooks = {"success": (Node(name="x"), Node(name="y")), "always": (Node(name="z"),)}
    drive = Drive(grouped(group_hooks=hooks)).returned("A").returned("B")
    assert [one.job for one in drive.pull()] == ["hook:success:G:0", "hook:always:G"]
    drive.returned("C").returned("D")
    assert drive.progress.conclusion() is None
    drive.record(bad(drive.live.pop(("hook:success:G:0", ()))))
    assert [one.job for one in drive.pull()] == ["hook:success:G:1"]
    drive.to_end()
    assert drive.verdict == "success"


def test_hooks_of_a_group_run_after_its_failure_although_the_run_stops():
    hooks = {"failure": (Node(name="x"),), "success": (Node(name="y"),)}
    drive = Drive(grouped(group_hooks=hooks)).returned("A", kind="failed")
    assert [one.job for one in drive.pull()] == ["hook:failure:G"]
    drive.to_end()
    assert drive.verdict == "failed" and drive.replay().job_details() == drive.progress.job_details()


def test_members_that_wait_for_the_failed_one_are_cancelled_with_their_group():
    from headrace.pipeline.definition import Group

    group = Group(title="G", members=(0, 1), on_error="fail")
    drive = Drive(define("A B C", "A>B B>C", on_error="block", groups=(group,)), failing("A")).to_end()
    assert drive.states == {"A": "failed", "B": "cancelled", "C": "skipped"}


def test_hooks_of_a_group_that_never_began_do_not_run():
    drive = Drive(grouped(group_hooks={"always": (Node(name="x"),)})).returned("C", kind="failed")
    assert drive.states["A"] == drive.states["B"] == "cancelled"
    drive.to_end()
    assert "hook:always:G" not in drive.order()
