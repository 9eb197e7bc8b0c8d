"""A result that puts new jobs into its own run: the same in both engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace import Gather, Job, Pipeline
from headrace.pipeline.group import Group


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


# Groups ---------------------------------------------------------------------------------------------------------------


def plant_any(*jobs: tuple[str, dict[str, Any]], edges: Any = ()) -> Job:
    return Job("plant_any", {"jobs": list(jobs), "edges": list(edges)}, name="plant")


def noted(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "noted").read_text().splitlines()]


def test_a_group_that_fails_stops_what_was_grafted_into_it(engine: Any, tmp_path: Path) -> None:
    data = {"folder": str(tmp_path)}
    grafter = plant_any(("begin_and_nap", {"name": "fresh"}), ("one", {"name": "more"}),
                        edges=[("fresh", "more")])  # fmt: skip
    group = Group("pair", ["plant", "breaks"], on_error="fail", hooks={"failure": Job("note_name")})
    graph = {grafter: None, Job("fail_when_begun", name="breaks"): None, Job("one", name="outside"): Job("two")}
    run = engine.run(Pipeline(graph, data, groups=[group], on_error="block"), processes=2)
    assert (run.state, run.error.job) == ("failed", "breaks")
    assert run.states == {
        "plant": "success", "breaks": "failed", "outside": "success", "two": "success",
        "fresh": "cancelled", "more": "cancelled",
    }  # fmt: skip
    assert noted(tmp_path) == ["hook:failure:pair"]


def test_what_was_grafted_into_a_group_fails_it(engine: Any) -> None:
    group = Group("pair", ["plant", "late"], on_error="fail")
    graph = {plant("fail", edges=[("fail", "late")]): Job("one", name="late"), Job("two"): None}
    run = engine.run(Pipeline(graph, groups=[group], on_error="block"))
    assert (run.state, run.error.job) == ("failed", "fail")
    assert run.states == {"plant": "success", "late": "cancelled", "two": "success", "fail": "failed"}


@pytest.mark.parametrize("spread", [False, True], ids=["alone", "in branches"])
def test_hooks_of_a_group_come_after_what_was_grafted_into_it(engine: Any, tmp_path: Path, spread: bool) -> None:
    data = {"folder": str(tmp_path)}
    new: list[tuple[str, Any]] = [
        ("numbers", {"data": {"count": 3}, "name": "list", "spread": spread}),
        ("note_name", {"name": "fresh"}),
    ]
    group = Group("alone", ["plant"], hooks={"success": Job("note_name")})
    graph = {plant_any(*new, edges=[("list", "fresh")]): None}
    run = engine.run(Pipeline(graph, data, groups=[group]))
    assert run.state == "success"
    assert noted(tmp_path) == ["fresh"] * (3 if spread else 1) + ["hook:success:alone"]


# Before jobs that gather in groups ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gather", "expected"),
    [
        (Gather(by="kind"), [["even", [0, 2, 8]], ["odd", [1, 7]]]),
        (Gather(size=2), [["even", [0, 1]], ["even", [2, 7]], ["even", [8]]]),
        (Gather(by="kind", level=1), [["even", [0, 2, 8]], ["odd", [1, 7]]]),
    ],
    ids=["key", "windows", "one level"],
)
def test_a_grafted_job_may_be_put_before_a_job_that_gathers_in_groups(
    engine: Any, gather: Gather, expected: Any
) -> None:
    graph = {
        Job("numbers", {"count": 3}, spread=True): Job("tag_and_plant", name="tag", bind="item"),
        Job("tag"): Job("kinds", name="last", gather=gather),
    }
    run = engine.run(Pipeline(graph))
    assert run.error is None
    assert run.results["last"] == expected


def test_a_grafted_job_without_the_key_by_which_it_is_gathered_fails(engine: Any) -> None:
    tag = plant_any(("one", {"name": "more"}), edges=[("more", "last")])
    graph = {
        tag: Job("tagged", {"number": 1}, bind="literal"),
        Job("tagged"): Job("kinds", name="last", gather=Gather(by="kind")),
    }
    run = engine.run(Pipeline(graph))
    assert (run.state, run.error.job) == ("failed", "more")
    assert "a gather groups by 'kind', which is not in the result" in run.error.reason


def test_what_was_grafted_may_graft_before_what_it_was_put_before(engine: Any) -> None:
    inner = ("plant", {"name": "again", "data": {"jobs": ["deeper"], "edges": [("deeper", "last")]}})
    graph = {plant_any(inner, edges=[("again", "last")]): Job("received", name="last", bind="named")}
    run = engine.run(Pipeline(graph))
    assert run.error is None
    assert run.results["last"]["named"] == {"plant": "planted", "again": "planted", "deeper": 1}
