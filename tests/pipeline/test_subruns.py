"""Jobs that are pipelines: what the model says of them, and the local engine."""

from __future__ import annotations

import time
from typing import Any

import pytest

from headrace import Graft, Job, Pipeline, Retry, worker
from headrace.pipeline.compile import compile_pipeline
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.facts import Accepted, Failure, Finished, Reopened, Returned, RunError
from headrace.pipeline.payload import unpack
from headrace.pipeline.plan import Plan
from headrace.pipeline.progress import Progress
from headrace.pipeline.subruns import SUBRUN, bind_data, child_id, child_options, outcome_of
from headrace.pipeline.task import Ready

INNER = Pipeline({Job("X"): None}, data={"a": 1}, title="inside", priority=2, deadline=9.0, max_active=3)


def begun(pipeline: Pipeline) -> Progress:
    progress = Progress(Plan(compile_pipeline(pipeline)), "r1")
    progress.apply(1, Accepted("r1", 0.0, RunOptions()))
    return progress


def end(progress: Progress, ready: Ready, kind: Any = "success") -> None:
    error = None if kind == "success" else Failure("E", "no")
    fact = Returned(ready.job, ready.path, ready.attempt, kind, round=ready.round, error=error)
    progress.apply(progress.last + 1, fact)


def next_round(progress: Progress) -> list[Ready]:
    progress.apply(progress.last + 1, Finished(1.0, "failed"))
    progress.apply(progress.last + 1, Reopened(2.0, 1, progress.round + 1))
    return progress.ready()


def below(ready: Ready) -> Any:
    assert ready.below is not None
    return ready.below


def test_an_attempt_brings_along_what_the_router_has_to_know_of_the_child() -> None:
    (ready,) = begun(Pipeline({Job(INNER, {"b": 2}, name="P"): None})).ready()
    assert ready.worker == SUBRUN and ready.weight > len(ready.task)
    assert below(ready).definition == INNER.definition() and not below(ready).bound
    assert unpack(below(ready).data) == {"a": 1, "b": 2}
    assert below(ready).options == RunOptions(title="inside", priority=2, deadline=9.0, max_active=3)


def test_data_that_has_to_be_put_together_is_left_to_a_worker_process() -> None:
    progress = begun(Pipeline({Job("A"): Job(INNER, name="P", bind="item")}))
    end(progress, *progress.ready())
    (ready,) = progress.ready()
    assert below(ready).bound and below(ready).data is None and ready.inputs[0].job == "A"


def test_options_of_a_submission_mean_nothing_below_another_run() -> None:
    inner = Pipeline({Job("X"): None}, key="k", paused=True, not_before=1e9)
    (ready,) = begun(Pipeline({Job(inner, name="P"): None})).ready()
    assert below(ready).options == RunOptions()


@pytest.mark.parametrize("option", [{"role": "encode"}, {"resources": {"gpu": 1}}, {"limits": ["licence"]}])
def test_what_a_job_takes_is_said_of_the_jobs_inside(option: dict[str, Any]) -> None:
    with pytest.raises(DefinitionError, match="to the jobs in it"):
        compile_pipeline(Pipeline({Job(INNER, name="P", **option): None}))


def test_ids_differ_by_run_round_job_and_path() -> None:
    places = [("r1", 0, "P", ()), ("r2", 0, "P", ()), ("r1", 1, "P", ()), ("r1", 0, "Q", ()), ("r1", 0, "P", (0,))]
    ids = {child_id(*place) for place in places}  # type: ignore[arg-type]
    assert len(ids) == 5 and all(len(one) == 32 for one in ids)


def test_the_smaller_of_timeout_and_deadline_ends_the_child() -> None:
    inside = RunOptions(deadline=9.0, priority=2**31)
    assert child_options(inside, "P", 5, 3.0) == RunOptions(title="P", priority=2**31, deadline=3.0)
    assert child_options(RunOptions(), "P", -1, None) == RunOptions(title="P", priority=-1)


@pytest.mark.parametrize(
    ("verdict", "error", "kind", "text"),
    [
        ("failed", RunError("A", (1,), "boom", "trace"), "failed", "its job 'A'[1] failed: boom"),
        ("failed", RunError(None, (), "the pipeline cannot be tracked"), "failed", "the pipeline cannot be tracked"),
        ("failed", None, "failed", "its run has failed"),
        ("cancelled", RunError(None, (), "by hand"), "failed", "its run was cancelled: by hand"),
        ("cancelled", None, "failed", "its run was cancelled"),
        ("cancelled", RunError(None, (), "deadline exceeded"), "timeout", "its run took longer than its time of 3 s"),
    ],
)
def test_how_a_child_ended_is_how_its_job_does(verdict: Any, error: Any, kind: str, text: str) -> None:
    found, failure = outcome_of(verdict, error, 3.0)
    assert (found, failure.message) == (kind, text)


@pytest.mark.parametrize(
    ("bind", "own", "value", "data"),
    [
        ("item", {"a": 1}, {"a": 2, "b": 3}, {"a": 2, "b": 3}),
        ("item", {"a": 1}, 5, {"a": 1, "item": 5}),
        ("item", None, None, {"item": None}),
        ("args", None, [1, 2], {"items": [1, 2]}),
        ("gather", 7, [], {"data": 7, "items": []}),
        ("named", {"a": 1}, {"A": 1}, {"a": 1, "A": 1}),
    ],
)
def test_inputs_stand_in_the_childs_data_under_names(bind: str, own: Any, value: Any, data: Any) -> None:
    assert bind_data(bind, own, value) == data


# Rounds ---------------------------------------------------------------------------------------------------------------


def test_a_new_round_goes_on_with_the_child_whose_inputs_were_kept() -> None:
    progress = begun(Pipeline({Job("A"): Job(INNER, name="P"), Job(INNER, name="Q"): None}, on_error="block"))
    for ready in progress.ready():
        end(progress, ready, "success" if ready.job == "A" else "failed")
    (p,) = progress.ready()
    end(progress, p, "failed")
    for _ in range(3):
        again = {ready.job: below(ready).since for ready in next_round(progress)}
        assert again == {"P": 0, "Q": 0} and progress.round
        for job in again:
            end(progress, Ready(job, (), 1, SUBRUN, b"", round=progress.round), "failed")


def test_a_child_whose_inputs_are_made_anew_is_a_new_one_and_that_goes_on_in_later_rounds() -> None:
    progress = begun(Pipeline({Job("A"): Job(INNER, name="P", when="always")}, on_error="block"))
    end(progress, *progress.ready(), "failed")
    (p,) = progress.ready()
    assert below(p).since == 0
    end(progress, p, "failed")
    (a,) = next_round(progress)
    end(progress, a)
    (p,) = progress.ready()
    assert below(p).since == 1
    end(progress, p, "failed")
    (p,) = next_round(progress)
    assert (p.job, p.round, below(p).since) == ("P", 2, 1)


def test_a_replay_finds_the_same_children() -> None:
    facts: list[Any] = [Accepted("r1", 0.0, RunOptions())]
    facts += [Returned("P", (), 1, "failed", error=Failure("E", "no")), Finished(1.0, "failed"), Reopened(2.0, 1, 1)]
    progress = Progress(Plan(compile_pipeline(Pipeline({Job(INNER, name="P"): None}))), "r1")
    for sequence, fact in enumerate(facts, 1):
        progress.apply(sequence, fact)
    progress.rewind()
    assert [below(ready).since for ready in progress.ready()] == [0]


# The local engine -----------------------------------------------------------------------------------------------------


@worker
def half(item: int) -> int:
    return item // 2


@worker
def three() -> int:
    return 3


@worker
def several() -> list[int]:
    return [2, 4]


def test_a_sub_run_per_branch_has_its_element() -> None:
    run = Pipeline({Job(several, spread=True): Job(Pipeline({Job(half): None}), name="each", bind="item")}).run()
    assert run.results == {"several": [2, 4], "each": [{"half": 1}, {"half": 2}]}


def test_another_attempt_goes_on_where_the_child_has_failed() -> None:
    done: list[str] = []

    @worker
    def first() -> None:
        done.append("first")

    @worker
    def second() -> None:
        done.append("second")
        if done.count("second") < 3:
            raise ValueError("not yet")

    inner = Pipeline({Job(first): Job(second)})
    run = Pipeline({Job(inner, name="P", retry=Retry(3)): None}).run()
    assert run.ok and done == ["first", "second", "second", "second"]


def test_a_child_that_is_too_slow_is_a_timeout_of_its_job() -> None:
    @worker
    def slow() -> None:
        time.sleep(600)

    run = Pipeline({Job(Pipeline({Job(slow): None}), name="P", timeout=0.2): None}).run()
    assert run.error and (run.error.job, run.error.kind) == ("P", "timeout") and "0.2 s" in run.error.reason


def test_a_sub_run_that_is_spread_is_told_that_it_is_no_list() -> None:
    run = Pipeline({Job(Pipeline({Job(three): None}), name="P", spread=True): Job(half, bind="item")}).run()
    assert run.error and "has to return a list" in run.error.reason


@pytest.mark.parametrize(("option", "value"), [("cache", "content"), ("role", "gpu"), ("limits", ["seat"])])
def test_what_a_job_that_is_a_pipeline_cannot_have_is_refused_where_it_is_written(option: Any, value: Any) -> None:
    job = Job(Pipeline({Job("A"): None}), name="P", **{option: value})
    told = f"job 'P' runs a pipeline: give `{option}` to the jobs in it, not to the job that it is"
    for write in (
        lambda: Pipeline({job: None}),
        lambda: Graft(None, jobs=[job]).definition(),
        lambda: Pipeline({Job("A"): None}, hooks={"always": job}).definition(),
    ):
        with pytest.raises(DefinitionError) as caught:
            write()
        assert str(caught.value) == told


@pytest.mark.parametrize("inside", [Pipeline({Job("long"): None}), Pipeline({Job("long"): None}, deadline=600.0)])
def test_here_a_deadline_of_the_run_above_ends_what_is_below(inside: Pipeline) -> None:
    @worker(name="long")
    def long() -> None:
        time.sleep(600)

    middle = Pipeline({Job(inside, name="inside"): None})
    run = Pipeline({Job(middle, name="middle", retry=Retry(3)): Job("after")}, deadline=0.3).run(
        workers=[long, worker(name="after")(lambda: None)]
    )
    assert (run.state, run.error.job, run.error.reason) == ("cancelled", None, "deadline exceeded")
    assert run.states == {"middle": "cancelled", "after": "cancelled"}


def test_here_hooks_have_no_deadline_of_the_run_above() -> None:
    done: list[int] = []
    hook = Pipeline({Job("said"): None})
    slow, said = worker(name="slow")(lambda: time.sleep(600)), worker(name="said")(lambda: done.append(1))
    run = Pipeline({Job("slow"): None}, deadline=0.2, hooks={"always": Job(hook, name="hook")}).run(
        workers=[slow, said]
    )
    assert run.state == "cancelled" and done == [1]
