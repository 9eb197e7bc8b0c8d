"""A result that puts new jobs into its own run: the same in both engines."""

from __future__ import annotations

from typing import Any

import pytest

from headrace import Gather, Job, Pipeline


def plant(*jobs: str, edges: Any = (), name: str | None = None, **options: Any) -> Job:
    return Job("plant", {"jobs": list(jobs), "edges": list(edges)}, name=name, **options)


def test_grafted_jobs_run_after_the_job_that_grafts_and_before_what_waits(engine: Any) -> None:
    grafter = plant("fresh", "more", edges=[("fresh", "more"), ("more", "last")])
    run = engine.run(Pipeline({grafter: Job("received", name="last", bind="named")}))
    assert list(run.states.items()) == [
        ("plant", "success"),
        ("last", "success"),
        ("fresh", "success"),
        ("more", "success"),
    ]
    assert run.results["plant"] == "planted" and run.results["fresh"] == run.results["more"] == 1
    assert run.results["last"]["named"]["more"] == 1


@pytest.mark.parametrize(
    ("jobs", "edges", "reason"),
    [
        (["plant"], [], "there is a job named 'plant' already"),
        (["fresh"], [("fresh", "nobody")], "'nobody', which is no job of this run"),
        (["fresh"], [("fresh", "before")], "'before', which does not come after the job that grafts"),
        (["a", "b"], [("a", "b"), ("b", "a")], "cycle"),
    ],
)
def test_a_graft_that_cannot_be_fails_its_job_with_the_reason(engine: Any, jobs: Any, edges: Any, reason: str) -> None:
    graph = {Job("one", name="before"): plant(*jobs, edges=edges), Job("plant"): Job("one", name="after")}
    run = engine.run(Pipeline(graph, on_error="block"))
    assert run.states == {"before": "success", "plant": "failed", "after": "skipped"}
    assert reason in run.error.reason


def test_branches_graft_each_for_itself_and_a_gather_waits_for_all(engine: Any) -> None:
    graph = {
        Job("numbers", {"count": 3}, spread=True): plant("fresh", edges=[("fresh", "last")]),
        Job("plant"): Job("collect", name="last", gather=Gather()),
    }
    run = engine.run(Pipeline(graph))
    assert run.state == "success"
    assert run.results["fresh"] == [1, 1, 1]
    assert run.results["plant"] == ["planted"] * 3


def test_a_graft_may_spread_and_gather(engine: Any) -> None:
    run = engine.run(Pipeline({Job("plant_tree", {"count": 4}): Job("received", name="last", bind="named")}))
    assert run.state == "success"
    assert run.results["doubled"] == [0, 2, 4, 6]
    assert run.results["last"]["named"]["sum"] == 12


@pytest.mark.parametrize(
    ("gather", "expected"),
    [
        ({"size": 2}, [[0, 1], [2, 3], [4]]),
        ({"by": "kind"}, [["even", [0, 2, 4]], ["odd", [1, 3]]]),
    ],
    ids=["windows", "key"],
)
def test_a_grafted_job_may_gather_in_groups(engine: Any, gather: Any, expected: Any) -> None:
    run = engine.run(Pipeline({Job("plant_groups", {"count": 5, "gather": gather}): Job("one")}))
    assert run.error is None
    assert run.results["grouped"] == run.results["all"] == expected


def test_a_grafted_job_that_fails_fails_the_run_like_any_other(engine: Any) -> None:
    run = engine.run(Pipeline({plant("fail", edges=[("fail", "last")]): Job("one", name="last")}))
    assert (run.state, run.error.job) == ("failed", "fail")
    assert run.states == {"plant": "success", "last": "cancelled", "fail": "failed"}
