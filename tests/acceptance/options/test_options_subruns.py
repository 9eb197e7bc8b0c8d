"""A job that is a pipeline, and earlier results: the same in both engines."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from headrace import Gather, Job, Pipeline, Retry


def inner(*graph: Any, **options: Any) -> Pipeline:
    return Pipeline(dict(graph), **options)


def test_a_pipeline_as_a_job_gives_the_results_of_its_jobs(engine: Any) -> None:
    sub = Job(inner((Job("one"), Job("echoed", bind="item"))), name="sub")
    run = engine.run(Pipeline({Job("two"): sub, sub: Job("received", bind="named")}))
    assert run.states == {"two": "success", "sub": "success", "received": "success"}
    assert run.results["sub"] == {"one": 1, "echoed": 1}
    assert run.results["received"]["named"] == {"sub": {"one": 1, "echoed": 1}}


def test_results_before_it_are_bound_into_its_data(engine: Any) -> None:
    graph = {
        Job("numbers", {"count": 3}, spread=True): Job(inner((Job("greet_item"), None)), name="sub", bind="item"),
        Job("sub"): Job("collect", gather=Gather()),
    }
    run = engine.run(Pipeline(graph))
    assert run.error is None
    assert run.results["collect"] == [{"greet_item": f"hello, {number}"} for number in range(3)]


def test_what_fails_inside_fails_the_job_with_its_name_and_reason(engine: Any) -> None:
    sub = Job(inner((Job("fail"), Job("one"))), name="sub", on_error="continue")
    run = engine.run(Pipeline({sub: Job("echoed", bind="item")}))
    assert (run.state, run.states) == ("success", {"sub": "failed", "echoed": "success"})
    assert "'fail'" in run.results["echoed"]["_error"] and "ValueError: no good" in run.results["echoed"]["_error"]


def test_its_timeout_is_a_deadline_of_what_is_inside(engine: Any) -> None:
    run = engine.run(Pipeline({Job(inner((Job("nap", {"seconds": 600}), None)), name="sub", timeout=0.5): Job("one")}))
    assert (run.state, run.states) == ("failed", {"sub": "failed", "one": "cancelled"})
    assert run.error.job == "sub" and "0.5 s" in run.error.reason


def test_another_attempt_keeps_what_succeeded_inside(engine: Any, tmp_path: Path) -> None:
    begun = Job("note_and_pass", {"folder": str(tmp_path)})
    sub = Job(inner((begun, Job("fails_once", {"folder": str(tmp_path)}))), name="sub", retry=Retry(2))
    run = engine.run(Pipeline({sub: None}))
    assert run.error is None and run.results["sub"]["fails_once"] == "the second time"
    assert (tmp_path / "noted").read_text().splitlines() == ['"passed"']


def test_pipelines_nest(engine: Any) -> None:
    innermost = Job(inner((Job("one"), None)), name="innermost")
    run = engine.run(Pipeline({Job(inner((innermost, Job("two"))), name="middle"): None}))
    assert run.results["middle"] == {"innermost": {"one": 1}, "two": 2}


# Cache ----------------------------------------------------------------------------------------------------------------


def test_an_equal_input_of_the_same_code_is_not_worked_on_again(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(tmp_path / "cache"))
    nonce = f"{os.getpid()} {time.monotonic_ns()}"

    def noted(nonce: str) -> Any:
        job = Job("note_and_pass", {"folder": str(tmp_path), "nonce": nonce}, cache="content")
        return engine.run(Pipeline({job: Job("echoed", bind="item")}))

    first, second = noted(nonce), noted(nonce)
    assert first.results == second.results == {"note_and_pass": "passed", "echoed": "passed"}
    assert len((tmp_path / "noted").read_text().splitlines()) == 1
    noted(f"another {nonce}")
    assert len((tmp_path / "noted").read_text().splitlines()) == 2


# Roles that are paused ------------------------------------------------------------------------------------------------


def test_a_paused_role_starts_nothing_and_all_else_goes_on(there: Any) -> None:
    manager = there.manager
    manager.pause(role="render")
    held = manager.start(Pipeline({Job("one", role="render"): None}))
    assert there.run(Pipeline({Job("one"): None})).state == "success"
    there.daemons.until(lambda: "paused" in manager.explain(held, "one"), what="it says that its role is paused")
    assert there.daemons.command("resume", "--role", "render").returncode == 0
    assert manager.wait(held, 60).state == "success"


def test_a_paused_cluster_starts_nothing_at_all(there: Any) -> None:
    manager = there.manager
    assert there.daemons.command("pause", "--cluster").returncode == 0
    held = manager.start(Pipeline({Job("one"): None}))
    there.daemons.until(lambda: "paused" in manager.explain(held), what="it says that it is paused")
    manager.resume()
    assert manager.wait(held, 60).state == "success"


def test_logs_are_followed_until_the_end(there: Any, tmp_path: Path) -> None:
    run = there.manager.start(Pipeline({Job("stepwise_aloud", {"file": str(tmp_path / "go")}): None}))
    pieces = there.manager.logs(run, follow=True)
    seen = ""
    while "step 1" not in seen:
        seen += str(next(pieces))
    (tmp_path / "go").touch()
    assert "step 2" in "".join(str(piece) for piece in pieces)
