"""Which jobs run and which do not, hooks, and what a failure means: the same in both engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace import Job, Pipeline, Retry
from headrace.pipeline.group import Group

ENDS = ("success", "failure", "always")
THRICE = Retry(3)


def after(job: Job, **whens: str) -> dict[Job, list[Job]]:
    return {job: [Job("one", name=name, when=when) for name, when in whens.items()]}  # type: ignore[arg-type]


def told(folder: Path) -> list[Any]:
    """What the hooks have written down, in their order."""
    file = folder / "noted"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def hooks(*kinds: str) -> Any:
    return {kind: Job("told", {"kind": kind}, name=f"on {kind}", bind="named") for kind in kinds}


# When -----------------------------------------------------------------------------------------------------------------


def test_when_says_how_the_jobs_before_have_to_end(engine: Any) -> None:
    wanted = {"good": "success", "bad": "failure", "any": "always"}
    run = engine.run(Pipeline(after(Job("one"), **wanted)))
    assert run.states == {"one": "success", "good": "success", "bad": "skipped", "any": "success"}
    failed = engine.run(Pipeline(after(Job("fail"), **wanted)))
    assert failed.states == {"fail": "failed", "good": "cancelled", "bad": "success", "any": "success"}
    assert (failed.state, failed.error.job) == ("failed", "fail")


def test_what_runs_after_a_failure_is_given_the_failure(engine: Any) -> None:
    run = engine.run(Pipeline({Job("fail"): Job("echoed", bind="item", when="failure")}))
    given = run.results["echoed"]
    assert given["_error"] == "ValueError: no good"
    assert "ValueError: no good" in given["_traceback"]


# Answers --------------------------------------------------------------------------------------------------------------


def test_a_worker_chooses_among_its_children(engine: Any) -> None:
    left, right = Job("one", name="left"), Job("one", name="right")
    graph = {Job("choose", {"children": ["right"]}): [left, right], left: Job("one", name="below")}
    run = engine.run(Pipeline(graph))
    assert run.states == {"choose": "success", "left": "skipped", "right": "success", "below": "skipped"}
    assert run.results == {"choose": "chosen", "right": 1}


def test_a_choice_of_nobody_skips_them_all(engine: Any) -> None:
    run = engine.run(Pipeline({Job("choose", {"children": []}): Job("one")}))
    assert (run.state, run.states) == ("success", {"choose": "success", "one": "skipped"})


def test_what_runs_after_an_answer_that_cannot_be_honoured_is_given_the_failure(engine: Any) -> None:
    choice = Job("choose", {"children": ["nobody"]}, on_error="continue")
    run = engine.run(Pipeline({choice: Job("echoed", bind="item", when="always")}))
    assert run.states == {"choose": "failed", "echoed": "success"}
    assert run.results["echoed"]["_error"].startswith("InvalidAnswer: ")
    assert "choose" not in run.results


def test_a_choice_of_a_stranger_fails_its_job_and_is_not_tried_again(engine: Any, tmp_path: Path) -> None:
    choose = Job("choose", {"children": ["nobody"], "folder": str(tmp_path)}, retry=THRICE)
    run = engine.run(Pipeline({choose: Job("one")}))
    assert (run.state, run.error.job) == ("failed", "choose")
    assert "it chose 'nobody', which does not come right after it; what does: ['one']" in run.error.reason
    assert told(tmp_path) == ["chose"]


def test_a_skipped_job_is_no_failure_and_skips_what_needs_it(engine: Any) -> None:
    graph = {
        Job("skip"): [Job("one", name="needs it"), Job("one", name="does not care", when="always")],
        (Job("skip"), Job("one")): [
            Job("received", name="named", bind="named", when="always"),
            Job("received", name="args", bind="args", when="always"),
            Job("received", name="gather", bind="gather", when="always"),
        ],
    }
    run = engine.run(Pipeline(graph))
    assert run.state == "success"
    assert run.states["skip"] == run.states["needs it"] == "skipped"
    assert run.states["does not care"] == "success" and "skip" not in run.results
    assert run.results["named"]["named"] == {"one": 1}
    assert run.results["args"]["args"] == [None, 1]
    assert run.results["gather"]["args"] == [[1]]


# Policies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_error", "state", "states"),
    [
        ("fail", "failed", {"fail": "failed", "child": "cancelled", "other": "success"}),
        ("block", "failed", {"fail": "failed", "child": "skipped", "other": "success"}),
        ("continue", "success", {"fail": "failed", "child": "success", "other": "success"}),
    ],
)
@pytest.mark.parametrize("place", ["run", "job", "group"])
def test_what_a_failure_means(engine: Any, place: str, on_error: Any, state: str, states: dict[str, str]) -> None:
    failing = Job("fail", on_error=on_error if place == "job" else None)
    graph = {Job("one", name="other"): failing, failing: Job("echoed", name="child", bind="item")}
    groups = [Group("all", ["fail", "child"], on_error=on_error)] if place == "group" else []
    run = engine.run(Pipeline(graph, on_error=on_error if place == "run" else "fail", groups=groups))
    assert (run.state, run.states) == (state, states)
    if state == "failed":
        assert (run.error.job, run.error.reason) == ("fail", "ValueError: no good")
        assert "ValueError: no good" in run.error.traceback
    else:
        assert run.error is None and run.results["child"]["_error"] == "ValueError: no good"


def test_under_block_what_does_not_depend_on_the_failure_goes_on(engine: Any) -> None:
    graph = {Job("fail"): Job("one", name="below"), Job("one", name="a"): Job("one", name="b")}
    run = engine.run(Pipeline(graph, on_error="block"))
    assert run.states == {"fail": "failed", "below": "skipped", "a": "success", "b": "success"}


# Hooks ----------------------------------------------------------------------------------------------------------------


def test_hooks_of_a_run_are_told_how_it_ended(engine: Any, tmp_path: Path) -> None:
    data = {"folder": str(tmp_path)}
    run = engine.run(Pipeline({Job("one"): Job("two")}, data, hooks=hooks(*ENDS)))
    assert run.results == {"one": 1, "two": 2} and run.states == {"one": "success", "two": "success"}
    assert told(tmp_path) == [["success", {"one": 1, "two": 2}, None]] * 2
    failed = engine.run(Pipeline({Job("one"): Job("fail")}, data, hooks=hooks(*ENDS)))
    assert failed.state == "failed"
    assert told(tmp_path)[2:] == [["failed", {"one": 1}, "ValueError: no good"]] * 2


def test_hooks_of_a_group_are_called_when_it_has_ended_and_before_the_end_of_the_run(
    engine: Any, tmp_path: Path
) -> None:
    group = Group("pair", ["one", "two"], hooks={"always": [Job("told", name="group's", bind="named")]})
    data = {"folder": str(tmp_path)}
    run = engine.run(Pipeline({Job("one"): Job("two")}, data, groups=[group], hooks=hooks("success")))
    assert run.state == "success"
    assert [state for state, *_ in told(tmp_path)] == ["success", "success"]


def pipeline_told(folder: Path, *more: Job) -> Job:
    """A hook that is a run of its own: what it is told is the data of that run."""
    inside = Pipeline({Job("told", bind="named"): list(more)})
    return Job(inside, {"folder": str(folder)}, name="report", bind="named")


@pytest.mark.parametrize("last", ["two", "fail", "nap"])
def test_a_hook_may_be_a_pipeline(engine: Any, tmp_path: Path, last: str) -> None:
    ends = {"two": ("success", 2, None), "fail": ("failed", None, "ValueError: no good")}
    state, result, reason = ends.get(last, ("cancelled", None, "deadline exceeded"))
    graph, data = {Job("one"): Job(last)}, {"seconds": 600}
    deadline = None if last in ends else 1.0
    hook = pipeline_told(tmp_path, Job("one", name="after"))
    run = engine.run(Pipeline(graph, data, hooks={"always": hook}, deadline=deadline))
    assert run.state == state and set(run.states) == {"one", last}
    assert told(tmp_path) == [[state, run.results, reason]]
    expected = {"one": 1} if result is None else {"one": 1, "two": 2}
    assert run.results == expected or (deadline and run.results == {}), "it may be over before the first job has ended"


def test_a_hook_that_is_a_pipeline_and_fails_changes_no_verdict(engine: Any, tmp_path: Path) -> None:
    run = engine.run(Pipeline({Job("one"): None}, hooks={"success": pipeline_told(tmp_path, Job("fail"))}))
    assert (run.state, run.error, run.results) == ("success", None, {"one": 1})
    assert told(tmp_path) == [["success", {"one": 1}, None]]


def test_a_hook_of_a_group_may_be_a_pipeline_and_the_next_one_comes_after_it(engine: Any, tmp_path: Path) -> None:
    last = Job("told", {"folder": str(tmp_path)}, name="last", bind="named")
    group = Group("pair", ["one"], hooks={"always": [pipeline_told(tmp_path, Job("one", name="after")), last]})
    run = engine.run(Pipeline({Job("one"): Job("fail")}, groups=[group], on_error="block"))
    assert run.state == "failed"
    assert told(tmp_path) == [["success", {"one": 1}, None]] * 2


def test_a_hook_that_fails_changes_no_verdict(engine: Any) -> None:
    run = engine.run(Pipeline({Job("one"): None}, hooks={"always": Job("fail")}))
    assert (run.state, run.error, run.results) == ("success", None, {"one": 1})


def test_a_run_that_is_over_its_deadline_calls_its_hooks_too(engine: Any, tmp_path: Path) -> None:
    data = {"folder": str(tmp_path), "seconds": 600}
    run = engine.run(Pipeline({Job("nap"): Job("one")}, data, deadline=0.4, hooks=hooks(*ENDS)))
    assert (run.state, run.error.reason, run.error.job) == ("cancelled", "deadline exceeded", None)
    assert run.states == {"nap": "cancelled", "one": "cancelled"}
    assert told(tmp_path) == [["cancelled", {}, "deadline exceeded"]]
