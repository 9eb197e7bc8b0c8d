"""A run as its facts tell it."""

from __future__ import annotations

from headrace import Job, Pipeline
from headrace.daemons.commands.history import History, reason
from headrace.pipeline.compile import compile_pipeline
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.facts import Accepted, Fact, Failure, Returned, Signs

RUN = "0" * 32


def history(pipeline: Pipeline, *facts: Fact) -> History:
    made = History(compile_pipeline(pipeline), RUN)
    made.apply(enumerate([Accepted(RUN, 1.0, RunOptions()), *facts], start=1))
    return made


def test_a_job_has_the_times_and_the_place_of_its_attempts() -> None:
    facts = history(
        Pipeline({Job("A"): Job("B")}), Returned("A", (), 1, "success", started=10.0, duration=2.0, place="host/1")
    )
    first, second = facts.judge({})
    assert (first.name, first.state, first.attempts, first.started, first.duration, first.place) == (
        "A",
        "success",
        1,
        10.0,
        2.0,
        "host/1",
    )
    assert (second.name, second.state, second.attempts) == ("B", "queued", 0)


def test_what_runs_and_what_waits_is_told_by_the_router() -> None:
    facts = history(Pipeline([(Job("A"), None), (Job("B"), None)]))
    told = {"running": [["A", [], 1, "host/1", 5.0]], "queued": [["B", [], "no Broker has worker 'B'"]]}
    running, queued = facts.judge(told)
    assert (running.state, running.place) == ("running", "host/1")
    assert (queued.state, queued.reason) == ("queued", "no Broker has worker 'B'")


def test_what_has_ended_since_the_router_told_it_is_not_running() -> None:
    facts = history(Pipeline({Job("A"): None}), Returned("A", (), 1, "success"))
    (job,) = facts.judge({"running": [["A", [], 1, "host/1", 5.0]]})
    assert job.state == "success"


def test_a_failure_is_told_with_its_reason() -> None:
    failure = Failure("ValueError", "on purpose\nmore", "Traceback ...")
    facts = history(Pipeline({Job("A"): Job("B")}), Returned("A", (), 1, "failed", error=failure))
    job = facts.judge({})[0]
    assert job.state == "failed"
    assert "on purpose" in job.reason
    assert job.tries[0].reason == "ValueError: on purpose"


def test_branches_are_counted_by_state() -> None:
    pipeline = Pipeline({Job("Split", spread=True): Job("Work")})
    facts = history(
        pipeline,
        Returned("Split", (), 1, "success", signs=Signs(spread=3)),
        Returned("Work", (1,), 1, "success"),
    )
    split, work = facts.judge({})
    assert split.state == "success"
    assert work.instances == {"success": 1, "queued": 2}
    assert [one.path for one in work.tries] == [(1,)]


def test_facts_may_come_in_pieces() -> None:
    facts = history(Pipeline({Job("A"): Job("B")}))
    facts.apply([(facts.last + 1, Returned("A", (), 1, "success"))])
    assert facts.judge({})[0].state == "success"


def test_the_reason_of_an_end_is_one_line() -> None:
    assert reason(Returned("A", (), 1, "success")) == ""
    assert reason(Returned("A", (), 1, "timeout")) == "timeout"
    assert reason(Returned("A", (), 1, "died", error=Failure("", "killed by signal 9"))) == "killed by signal 9"
    assert reason(Returned("A", (), 1, "failed", error=Failure("", ""))) == "failed"
