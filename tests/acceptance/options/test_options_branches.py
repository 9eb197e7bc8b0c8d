"""Lists become branches, and branches lists again: the same in both engines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace import Gather, Job, Pipeline


def spread(count: int, **options: Any) -> Job:
    return Job("numbers", {"count": count}, spread=True, **options)


def test_a_list_becomes_a_branch_per_element_and_a_gather_makes_a_list_of_them(engine: Any) -> None:
    graph = {spread(4): Job("double", bind="item"), Job("double"): Job("total", gather=Gather())}
    run = engine.run(Pipeline(graph))
    assert run.results == {"numbers": [0, 1, 2, 3], "double": [0, 2, 4, 6], "total": 12}
    assert run.states == dict.fromkeys(("numbers", "double", "total"), "success")


def test_an_empty_list_ends_at_once_and_gathers_to_an_empty_list(engine: Any) -> None:
    graph = {
        spread(0): Job("double", bind="item"),
        Job("double"): [
            Job("collect", gather=Gather()),
            Job("collect", name="windows", gather=Gather(size=2)),
        ],
    }
    run = engine.run(Pipeline(graph))
    assert run.results == {"numbers": [], "double": [], "collect": [], "windows": []}
    assert run.states == dict.fromkeys(("numbers", "double", "collect", "windows"), "success")


def test_spreads_nest_and_close_level_by_level_or_all_at_once(engine: Any) -> None:
    graph = {
        spread(4): Job("below", bind="item", spread=True),
        Job("below"): Job("double", bind="item"),
        Job("double"): [Job("collect", gather=Gather(level=1)), Job("collect", name="all", gather=Gather())],
    }
    run = engine.run(Pipeline(graph))
    doubled = [20, 40, 42, 60, 62, 64]
    assert run.results["below"] == [[], [10], [20, 21], [30, 31, 32]]
    assert run.results["double"] == run.results["all"] == doubled
    assert run.results["collect"] == [[], [20], [40, 42], [60, 62, 64]]


def test_jobs_of_the_same_branch_pair_and_an_outer_value_is_there_for_all(engine: Any) -> None:
    graph = {
        spread(3): [Job("double", bind="item"), Job("echoed", bind="item", name="same")],
        (Job("double"), Job("same")): Job("pair", bind="args"),
        (Job("same"), Job("one")): Job("pair", bind="args", name="with one"),
    }
    run = engine.run(Pipeline(graph))
    assert run.results["pair"] == [[0, 0], [2, 1], [4, 2]]
    assert run.results["with one"] == [[0, 1], [1, 1], [2, 1]]


def test_groups_by_key_come_in_the_order_of_their_first_item(engine: Any) -> None:
    graph = {
        spread(5): Job("tagged", bind="item"),
        Job("tagged"): Job("kinds", gather=Gather(by="kind")),
        Job("kinds"): Job("collect", gather=Gather()),
    }
    run = engine.run(Pipeline(graph))
    assert run.results["collect"] == run.results["kinds"] == [["even", [0, 2, 4]], ["odd", [1, 3]]]


def test_a_result_without_the_key_fails_its_job_without_another_try(engine: Any) -> None:
    graph = {spread(2): Job("untagged", bind="item"), Job("untagged"): Job("collect", gather=Gather(by="kind"))}
    run = engine.run(Pipeline(graph))
    assert (run.state, run.error.job) == ("failed", "untagged")
    assert "groups by 'kind'" in run.error.reason
    assert run.states["collect"] == "cancelled"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_windows_are_cut_in_index_order(engine: Any, size: int) -> None:
    graph = {spread(5): Job("double", bind="item"), Job("double"): Job("collect", gather=Gather(size=size))}
    run = engine.run(Pipeline(graph))
    doubled = [0, 2, 4, 6, 8]
    assert run.results["collect"] == [doubled[start : start + size] for start in range(0, 5, size)]


def test_a_child_starts_when_its_own_parent_has_ended(engine: Any, tmp_path: Path) -> None:
    """The first branch waits for what comes after the last one: with a barrier between them nothing would end."""
    graph = {spread(4): Job("slow_first", bind="item"), Job("slow_first"): Job("see", bind="item")}
    run = engine.run(Pipeline(graph, data={"folder": str(tmp_path)}), processes=2)
    assert run.results["see"] == [0, 1, 2, 3]


def test_a_window_starts_when_its_branches_have_ended(engine: Any, tmp_path: Path) -> None:
    """The last branch waits for the first window."""
    graph = {spread(4): Job("slow_last", bind="item"), Job("slow_last"): Job("see_window", gather=Gather(size=2))}
    run = engine.run(Pipeline(graph, data={"folder": str(tmp_path)}), processes=2)
    assert run.results["see_window"] == [[0, 1], [2, 3]]


def test_skipped_branches_have_no_result_and_are_left_out_of_every_list(engine: Any, tmp_path: Path) -> None:
    graph = {
        spread(5): Job("only_even", bind="item"),
        Job("only_even"): [
            Job("double", bind="item"),
            Job("collect", gather=Gather()),
            Job("collect", name="windows", gather=Gather(size=2)),
        ],
    }
    hooks: Any = {"success": Job("told", bind="named")}
    run = engine.run(Pipeline(graph, {"folder": str(tmp_path)}, hooks=hooks))
    assert json.loads((tmp_path / "noted").read_text()) == ["success", run.results, None]
    assert run.results == {
        "numbers": [0, 1, 2, 3, 4],
        "only_even": [0, 2, 4],
        "double": [0, 4, 8],
        "collect": [0, 2, 4],
        "windows": [[0, 2], [4]],
    }
    assert run.states == dict.fromkeys(run.results, "success")


def test_all_branches_skipped_is_a_job_that_is_skipped_and_a_gather_of_nothing(engine: Any) -> None:
    run = engine.run(Pipeline({spread(3): Job("never", bind="item"), Job("never"): Job("collect", gather=Gather())}))
    assert run.states == {"numbers": "success", "never": "skipped", "collect": "success"}
    assert run.results == {"numbers": [0, 1, 2], "never": [], "collect": []}


@pytest.mark.parametrize(
    ("on_error", "state", "collect", "results"),
    [
        ("block", "failed", "skipped", [0, 1, 3]),
        ("continue", "success", "success", [0, 1, 3]),
    ],
)
def test_a_failed_branch(engine: Any, on_error: Any, state: str, collect: str, results: list[int]) -> None:
    graph = {spread(4): Job("picky", bind="item"), Job("picky"): Job("collect", gather=Gather())}
    run = engine.run(Pipeline(graph, on_error=on_error))
    assert (run.state, run.states) == (state, {"numbers": "success", "picky": "failed", "collect": collect})
    assert run.results["picky"] == results
    if on_error == "continue":
        assert [one if isinstance(one, int) else one["_error"] for one in run.results["collect"]] == [
            0, 1, "ValueError: it is two", 3,
        ]  # fmt: skip
    else:
        assert (run.error.job, run.error.path, run.error.reason) == ("picky", (2,), "ValueError: it is two")


def test_windows_before_a_failed_branch_run_and_none_after_it(engine: Any) -> None:
    graph = {spread(6): Job("picky", bind="item"), Job("picky"): Job("collect", gather=Gather(size=2))}
    run = engine.run(Pipeline(graph, on_error="block"))
    assert run.state == "failed"
    assert run.results["collect"] == [[0, 1]]


def test_a_large_value_is_there_in_thousands_of_branches(engine: Any) -> None:
    """The value is read once per process, and never travels with a branch."""
    graph = {
        Job("blob", {"size": 1_000_000}): Job("size_of", bind="args"),
        spread(2000): Job("size_of"),
        Job("size_of"): Job("total", gather=Gather()),
    }
    run = engine.run(Pipeline(graph))
    assert run.results["total"] == sum(1_000_000 + number for number in range(2000))


def test_a_job_with_large_data_below_a_spread_of_thousands(engine: Any) -> None:
    """Its data travels with every branch, so few branches are under way at a time."""
    graph = {
        spread(2000): Job("size_of_text", {"text": "x" * 100_000}),
        Job("size_of_text"): Job("total", gather=Gather()),
    }
    run = engine.run(Pipeline(graph))
    assert run.results["total"] == 2000 * 100_000


def test_a_job_with_a_hundred_inputs_below_a_spread_of_a_thousand(engine: Any) -> None:
    """Naming them takes more than the work itself; that counts, so that few branches are under way at a time."""
    outer = tuple(Job("one", name=f"one {n}") for n in range(100))
    graph: Any = [(one, Job("received_count", bind="args")) for one in (spread(1000), *outer)]
    graph.append((Job("received_count"), Job("total", gather=Gather())))
    run = engine.run(Pipeline(graph))
    assert run.error is None
    assert run.results["total"] == 1000 * 101


def test_a_long_list_of_large_elements_stays_where_it_is(engine: Any) -> None:
    graph = {
        Job("large_list", {"count": 1000, "size": 10_000}, spread=True): Job("length_of", bind="item"),
        Job("length_of"): Job("total", gather=Gather()),
    }
    run = engine.run(Pipeline(graph))
    assert run.results["total"] == 1000 * 10_000
