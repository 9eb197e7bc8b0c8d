"""When an action fails: tries, handlers, the rest of its group, the reason."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.blocks import Action, Job, Task, role


@pytest.fixture
def calls() -> list[Any]:
    return []


@pytest.fixture
def workers(calls: list[Any]) -> list[Any]:
    @role("note")
    def note(what: str) -> str:
        calls.append(what)
        return what

    @role("fail")
    def fail(what: str) -> None:
        calls.append(what)
        raise ValueError(f"{what} went wrong")

    return [note, fail]


def test_an_action_that_fails_is_tried_three_times(calls: list[Any], workers: list[Any]) -> None:
    with Job("j") as job:
        Action(_role="fail", what="it")
        Action(_role="note", what="never")
    run = job.run(workers)
    assert calls == ["it", "it", "it"]
    assert (run.state, run.error.job, run.error.reason) == ("failed", "Action1", "ValueError: it went wrong")
    assert run.states == {"Action1": "failed", "Action2": "cancelled"}


def test_a_command_is_tried_once() -> None:
    job = Job("j", cmds=[{"Action": {"argv": ["sh", "-c", "exit 9"]}}])
    assert job.to_pipeline().jobs[0].retry is None
    assert job.run().state == "failed"


def test_handlers_run_once_in_their_order_at_every_level_up(calls: list[Any], workers: list[Any]) -> None:
    with Job("j", _role="note", _retry=1) as job:
        Action(what="job handler", _whenerror=True)
        with Task("before"):
            Action(what="before")
            Action(what="not this one", _whenerror=True)
        with Task("outer"):
            with Task("inner"):
                Action(what="first inner handler", _whenerror=True)
                Action(_role="fail", what="trouble")
                Action(what="second inner handler", _whenerror=True)
            Action(what="outer handler", _whenerror=True)
        with Task("after"):
            Action(what="after")
            Action(what="nor this one", _whenerror=True)
    run = job.run(workers)
    handlers = ["first inner handler", "second inner handler", "outer handler", "job handler"]
    assert calls == ["before", "trouble", *handlers]
    assert (run.state, run.error.reason) == ("failed", "ValueError: trouble went wrong")


def test_without_a_failure_no_handler_runs(calls: list[Any], workers: list[Any]) -> None:
    with Job("j") as job, Task("t"):
        Action(_role="note", what="work")
        Action(_role="note", what="handler", _whenerror=True)
    assert job.run(workers).state == "success"
    assert calls == ["work"]


def test_a_handler_that_fails_does_not_hide_the_first_reason(calls: list[Any], workers: list[Any]) -> None:
    with Job("j", _role="fail", _retry=1) as job:
        Action(what="work")
        Action(what="handler", _whenerror=True)
        Action(_role="note", what="next handler", _whenerror=True)
    run = job.run(workers)
    assert calls == ["work", "handler", "next handler"]
    assert run.error.reason == "ValueError: work went wrong"


def test_in_a_parallel_group_what_else_runs_is_stopped(tmp_path: Any) -> None:
    with Job("j", parallel=True, _role="cmd", _retry=1) as job:
        Action(f"touch {tmp_path}/slow; sleep 600")
        Action(f"while [ ! -e {tmp_path}/slow ]; do sleep 0.05; done; exit 5")
    run = job.run(processes=2)
    assert run.state == "failed"
    assert run.states == {"Action1": "cancelled", "Action2": "failed"}


def test_a_task_may_let_others_go_on(calls: list[Any], workers: list[Any]) -> None:
    with Job("j", _on_error="block", _role="note", _retry=1, parallel=True) as job:
        with Task("bad"):
            Action(_role="fail", what="trouble")
            Action(what="blocked")
        with Task("good"):
            Action(what="one")
            Action(what="two")
    run = job.run(workers)
    assert sorted(calls) == ["one", "trouble", "two"]
    assert run.state == "failed"
    assert run.states["bad/Action2"] == "skipped"


def test_hooks_of_other_kinds_run_at_the_end_of_a_group(calls: list[Any], workers: list[Any]) -> None:
    hooks = {"success": {"Action": {"what": "success"}}, "always": [{"Action": {"what": "always"}}]}
    with Job("j", _role="note") as job, Task("t", _hooks=hooks):
        Action(what="work")
    assert job.run(workers).state == "success"
    assert calls[0] == "work"
    assert sorted(calls[1:]) == ["always", "success"]
