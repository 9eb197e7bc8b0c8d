"""Jobs that are pipelines: on real daemons as in the local engine, shown, controlled, and through kill -9."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest

from headrace import Gather, Job, Pipeline, Retry
from headrace.daemons.journal.archive import Archive
from headrace.pipeline.facts import Accepted, Returned, unpack_fact
from headrace.pipeline.subruns import child_id

SOURCE = Path(__file__).with_name("subrun_workers.py")


def start(daemons: Any) -> Any:
    shutil.copy(SOURCE, daemons.folder)
    daemons.start("router")
    daemons.start("pipeliner")
    daemons.start("broker", "--workers", "subrun_workers")
    daemons.joined()
    return daemons


@pytest.fixture(scope="module")
def site(stage: Any) -> Any:
    return start(stage)


@pytest.fixture(scope="module")
def workers() -> Any:
    spec = spec_from_file_location("subrun_workers", SOURCE)
    assert spec and spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inner(*names: str, **data: Any) -> Pipeline:
    """These jobs, one after the other."""
    chain = [Job(name, bind="named" if name == "data_of" else "store") for name in names]
    return Pipeline(dict(zip(chain, [*chain[1:], None], strict=True)), data=data or None)


def steps() -> Pipeline:
    return Pipeline({Job("double"): Job("plus_one", bind="item")})


def plain() -> Pipeline:
    return Pipeline({Job(inner("number", number=3), name="P"): Job("data_of", bind="named", name="after")})


def over_its_data() -> Pipeline:
    return Pipeline({Job(inner("number", number=3), {"number": 4}, name="P"): None}, data={"number": 5})


def nested() -> Pipeline:
    innermost = Pipeline({Job(steps(), {"item": 4}, name="C"): None})
    return Pipeline({Job(innermost, name="B"): Job("data_of", bind="named", name="after")})


def an_item() -> Pipeline:
    return Pipeline({Job("number"): Job(steps(), name="P", bind="item")}, data={"number": 20})


def an_item_that_is_a_map() -> Pipeline:
    return Pipeline({Job("data_of", {"number": 8}): Job(inner("number", number=1), name="P", bind="item")})


def by_name() -> Pipeline:
    below = Pipeline({Job("data_of", bind="named"): None}, data={"number": 0, "own": True})
    return Pipeline({Job("number"): Job(below, name="P", bind="named")}, data={"number": 6})


def positional() -> Pipeline:
    one, two = Job("number", {"number": 1}, name="one"), Job("number", {"number": 2}, name="two")
    return Pipeline({(one, two): Job(inner("data_of", own=1), name="P", bind="args")})


def a_run_per_branch() -> Pipeline:
    each = Job(steps(), name="each", bind="item")
    return Pipeline({Job("numbers", {"count": 4}, spread=True): each, each: Job("everything", gather=Gather())})


def gathered_into_one() -> Pipeline:
    each = Job("number", bind="item")
    below = Job(inner("data_of"), name="P", bind="gather")
    return Pipeline({Job("maps", {"count": 3}, spread=True): each, each: below})


def branches_inside_and_outside() -> Pipeline:
    """The results of a branched job inside are a list in its result, in every branch of the run above."""
    item = Job("double", bind="item")
    below = Pipeline({Job("numbers", spread=True): item}, data={"count": 2})
    return Pipeline({Job("numbers", {"count": 2}, name="outer", spread=True): Job(below, name="P")})


def an_empty_list() -> Pipeline:
    return Pipeline({Job("numbers", {"count": 0}, spread=True): Job(steps(), name="P", bind="item")})


def by_a_key() -> Pipeline:
    each = Job(inner("number"), name="each", bind="item")
    keyed = Job("everything", name="groups", gather=Gather(by="number"))
    return Pipeline({Job("maps", {"count": 3}, spread=True): each, each: keyed})


def large_values() -> Pipeline:
    """Results above what travels inline go in and come out by reference."""
    below = Pipeline({Job("data_of", bind="named"): None, Job("text_of"): None}, data={"size": 300_000})
    return Pipeline({Job("text_of"): Job(below, name="P", bind="item")}, data={"size": 200_000})


def skipped_inside() -> Pipeline:
    below = Pipeline({Job("number"): Job("boom", when="failure")}, data={"number": 1})
    return Pipeline({Job(below, name="P"): None})


def failing() -> Pipeline:
    return Pipeline({Job(Pipeline({Job(inner("boom"), name="C"): None}), name="P"): Job("data_of")})


def failing_in_a_branch() -> Pipeline:
    """In one alone: of two that fail it is chance which is first."""
    below = Pipeline({Job("numbers", {"count": 2}, spread=True): Job("even", bind="item")})
    return Pipeline({Job(below, name="P"): None})


def failure_as_data() -> Pipeline:
    return Pipeline({Job(inner("boom"), name="P", on_error="continue"): Job("data_of", bind="named")})


def when_it_fails() -> Pipeline:
    after = {Job("number", {"number": 1}, name="bad", when="failure"): None}
    return Pipeline({Job(inner("boom"), name="P"): [*after]})


def a_list_is_wanted() -> Pipeline:
    return Pipeline({Job(steps(), {"item": 1}, name="P", spread=True): Job("everything", bind="item")})


def inputs_that_cannot_be() -> Pipeline:
    """Nothing else fails there: of two that do it is chance which is first, and what that one still lets end."""
    two = [Job("number", {"number": n}, name=f"n{n}") for n in range(2)]
    return Pipeline({(*two,): Job(steps(), name="P", bind="gather")})


def grafted() -> Pipeline:
    return Pipeline({Job("plant"): None})


def too_slow() -> Pipeline:
    return Pipeline({Job(inner("nap", seconds=30), name="P", timeout=0.3): None})


DONE = {"double": 8, "plus_one": 9}
ALIKE: list[tuple[Callable[[], Pipeline], str, dict[str, Any]]] = [
    (plain, "success", {"P": {"number": 3}, "after": {"P": {"number": 3}}}),
    (over_its_data, "success", {"P": {"number": 4}}),
    (nested, "success", {"B": {"C": DONE}, "after": {"B": {"C": DONE}}}),
    (an_item, "success", {"number": 20, "P": {"double": 40, "plus_one": 41}}),
    (an_item_that_is_a_map, "success", {"data_of": {"number": 8}, "P": {"number": 8}}),
    (by_name, "success", {"number": 6, "P": {"data_of": {"number": 6, "own": True}}}),
    (positional, "success", {"one": 1, "two": 2, "P": {"data_of": {"own": 1, "items": [1, 2]}}}),
    (a_run_per_branch, "success", {"numbers": [0, 1, 2, 3]}),
    (gathered_into_one, "success", {"P": {"data_of": {"items": [{"number": n} for n in range(3)]}}}),
    (branches_inside_and_outside, "success", {"P": [{"numbers": [0, 1], "double": [0, 2]}] * 2}),
    (an_empty_list, "success", {"P": []}),
    (by_a_key, "success", {"groups": [[{"number": n}] for n in range(3)]}),
    (large_values, "success", {}),
    (skipped_inside, "success", {"P": {"number": 1}}),
    (failing, "failed", {}),
    (failing_in_a_branch, "failed", {}),
    (failure_as_data, "success", {}),
    (when_it_fails, "failed", {"bad": 1}),
    (a_list_is_wanted, "failed", {}),
    (inputs_that_cannot_be, "failed", {}),
    (grafted, "success", {"grafted": {"number": 7}}),
    (too_slow, "failed", {}),
]


@pytest.mark.parametrize(("make", "state", "expected"), ALIKE, ids=[make.__name__ for make, _, _ in ALIKE])
def test_a_job_that_is_a_pipeline_does_the_same_everywhere(
    site: Any, workers: Any, make: Any, state: str, expected: dict[str, Any]
) -> None:
    here = make().run(workers=workers)
    with site.manager() as manager:
        there = manager.wait(manager.start(make()), 60)
        assert (here.state, there.state) == (state, state), (here.error, there.error)
        assert there.states == here.states
        results = told(there.results)
        assert results == told(here.results)
        assert {name: results[name] for name in expected} == expected
        assert error_of(there) == error_of(here)


def error_of(run: Any) -> Any:
    """The text of a traceback depends on the place; that there is one does not."""
    error = run.error
    return error and (error.job, error.path, error.reason, error.kind, bool(error.traceback))


def told(results: Any) -> Any:
    """Tracebacks have the folders of the machine in them."""
    if isinstance(results, dict):
        return {name: told(value) for name, value in results.items() if name != "_traceback"}
    return [told(value) for value in results] if isinstance(results, list) else results


# Rounds and attempts --------------------------------------------------------------------------------------------------


def executions(folder: Path) -> Counter[str]:
    file = folder / "executions"
    return Counter(file.read_text().split()) if file.exists() else Counter()


def kept_inside(folder: Path) -> Pipeline:
    data = {"folder": str(folder)}
    first, then = Job("trace", {"name": "first"}, name="first"), Job("second_time", {"name": "flag"})
    return Pipeline({Job(Pipeline({first: then}, data=data), name="P", retry=Retry(2)): None})


def test_another_attempt_does_again_only_what_did_not_succeed_inside(site: Any, workers: Any, tmp_path: Path) -> None:
    for where in ("here", "there"):
        folder = tmp_path / where
        folder.mkdir()
        if where == "here":
            run = kept_inside(folder).run(workers=workers)
        else:
            with site.manager() as manager:
                run = manager.wait(manager.start(kept_inside(folder)), 60)
                assert run.results
        assert run.state == "success" and run.results["P"]["second_time"] == "at last"
        assert executions(folder) == {"first": 1}


def test_retry_of_a_run_keeps_what_succeeded_in_its_children(site: Any, tmp_path: Path) -> None:
    data = {"folder": str(tmp_path)}
    each = Job(
        Pipeline({Job("trace", {"name": "inside"}): Job("once", {"name": "key"})}, data=data), name="each", bind="item"
    )
    # Under `block`, so that the first branch to fail keeps the other one from nothing.
    graph = {Job("maps", {"count": 2}, spread=True): each, each: Job("everything", gather=Gather())}
    pipeline = Pipeline(graph, on_error="block")
    with site.manager() as manager:
        run = manager.start(pipeline)
        manager.wait(run, 60)
        assert pipeline.failed and pipeline.error.job == "each"
        before = {entry[2] for entry in told_of(manager, run)["below"]}
        (tmp_path / "key").touch()
        manager.retry(run)
        manager.wait(run, 60)
        assert not pipeline.failed, pipeline.error
        assert manager.results(run)["each"] == [{"trace": "inside", "once": "key"}] * 2
        assert {entry[2] for entry in told_of(manager, run)["below"]} >= before
    assert executions(tmp_path)["inside"] == 2  # once per branch, in the first round


def test_inputs_that_were_made_anew_make_a_new_child(site: Any, tmp_path: Path) -> None:
    data = {"folder": str(tmp_path)}
    first = Job("once", {"name": "key"}, on_error="continue")
    then = Pipeline({Job("data_of", bind="named"): Job("boom")})
    with site.manager() as manager:
        run = manager.start(Pipeline({first: Job(then, name="P", bind="named")}, data=data))
        manager.wait(run, 60)
        (tmp_path / "key").touch()
        manager.retry(run)
        assert manager.wait(run, 60).state == "failed"
        ids = [entry[2] for entry in told_of(manager, run)["below"]]
        assert ids == [child_id(run, 0, "P", ()), child_id(run, 1, "P", ())]
        assert manager.results(ids[1])["data_of"]["once"] == "key"


# Seeing and control ---------------------------------------------------------------------------------------------------


def told_of(manager: Any, run: str) -> Any:
    return manager.snapshot(run).told


def test_a_run_and_its_children_name_each_other(site: Any) -> None:
    each = Job(steps(), name="each", bind="item")
    with site.manager() as manager:
        run = manager.start(Pipeline({Job("numbers", {"count": 2}, spread=True): each}, title="above"))
        manager.wait(run, 60)
        below = told_of(manager, run)["below"]
        assert [(job, path, state) for job, path, _, state in below] == [("each", [n], "success") for n in range(2)]
        one = below[1][2]
        assert told_of(manager, one)["above"] == [run, "each", [1]]
        assert manager.results(one) == {"double": 2, "plus_one": 3}
        listed = {row.id for row in manager.list(limit=20)}
        assert run in listed and one not in listed
        assert {row.id: row.parent for row in manager.list(limit=20, below=True)}[one] == run
    shown = site.command("show", run).stdout
    assert "each[1]" in shown and one in shown
    assert f"it is job each[1] of run {run}" in site.command("show", one).stdout
    rows = json.loads(site.command("list", "--below", "--json", "--limit", "20").stdout)["runs"]
    assert one in [row["id"] for row in rows]


def under_way(site: Any, folder: Path, **options: Any) -> Pipeline:
    below = Pipeline({Job("wait_for"): Job("trace", {"name": "after"})}, data={"folder": str(folder)})
    return Pipeline({Job(Pipeline({Job(below, name="C"): None}), name="P"): None}, **options)


def test_cancel_reaches_the_innermost_run_with_its_reason(site: Any, tmp_path: Path) -> None:
    with site.manager() as manager:
        run = manager.start(under_way(site, tmp_path))
        site.until(lambda: executions(tmp_path)["waiting"], what="the innermost job runs")
        assert manager.status(run).states == {"P": "running"}
        manager.cancel(run, "enough")
        assert manager.wait(run, 60).state == "cancelled"
        child = child_id(run, 0, "P", ())
        for one in (child, child_id(child, 0, "C", ())):
            status = manager.status(one)
            assert (status.state, status.error.reason) == ("cancelled", "enough")


def test_a_deadline_of_the_run_above_ends_its_children(site: Any, tmp_path: Path) -> None:
    with site.manager() as manager:
        ended, below = overdue(site, manager, tmp_path)
        assert (ended.state, ended.error.reason) == ("cancelled", "deadline exceeded")
        assert below == child_id(ended.id, 0, "P", ())
        for one in (below, child_id(below, 0, "C", ())):
            assert manager.status(one).state == "cancelled"


def overdue(site: Any, manager: Any, folder: Path) -> tuple[Any, str]:
    """A run that is over its deadline, which was long enough for the innermost job to begin: how long that is, is only
    known afterwards. And the id of the run right below it."""
    for deadline in (1.0, 4.0, 16.0, 64.0):
        where = folder / f"{deadline:g} s"
        where.mkdir()
        ended = manager.wait(manager.start(under_way(site, where, deadline=deadline)), 120)
        if executions(where)["waiting"]:
            ((_, _, below, _),) = told_of(manager, ended.id)["below"]
            return ended, below
    raise AssertionError("the innermost job never began")


def test_a_paused_run_starts_nothing_below_until_it_is_resumed(site: Any, tmp_path: Path) -> None:
    with site.manager() as manager:
        run = manager.start(under_way(site, tmp_path))
        site.until(lambda: executions(tmp_path)["waiting"], what="the innermost job runs")
        manager.pause(run)
        (tmp_path / "go").touch()
        innermost = child_id(child_id(run, 0, "P", ()), 0, "C", ())
        site.until(lambda: manager.status(innermost).states["wait_for"] == "success", what="what ran has ended")
        why = f"the run above, {run}, is paused"
        site.until(lambda: why in manager.explain(innermost, "trace"), what="what follows waits for that")
        assert manager.status(innermost).states["trace"] == "queued"
        manager.resume(run)
        assert manager.wait(run, 60).state == "success"


def test_a_child_is_neither_tried_again_nor_pruned_by_itself_and_goes_with_its_run(site: Any) -> None:
    with site.manager() as manager:
        run = manager.start(failing())
        manager.wait(run, 60)
        child = child_id(run, 0, "P", ())
        for verb in (manager.retry, manager.prune):
            with pytest.raises(Exception, match=run):
                verb(child)
        assert manager.prune(run) == 1
        for one in (run, child, child_id(child, 0, "C", ())):
            with pytest.raises(LookupError):
                manager.status(one)


def test_a_child_can_be_run_again_by_itself(site: Any) -> None:
    with site.manager() as manager:
        run = manager.start(large_values())
        manager.wait(run, 60)
        again = manager.rerun(child_id(run, 0, "P", ()))
        manager.wait(again, 60)
        assert len(manager.results(again)["data_of"]["item"]) == 200_000


# Kill -9 --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def fragile(daemons: Any) -> Iterator[Any]:
    yield start(daemons)


def ends(archive: Archive, run: str) -> Counter[tuple[str, tuple[int, ...]]]:
    """How often each instance of a run has succeeded in the journal."""
    facts = [unpack_fact(body) for _, body in archive.facts(run)]
    return Counter((one.job, one.path) for one in facts if isinstance(one, Returned) and one.kind == "success")


@pytest.mark.parametrize("victim", ["router", "pipeliner", "broker"])
def test_children_survive_the_death_of_any_daemon(fragile: Any, victim: str) -> None:
    """Struck again and again while children are opened, run and collected: every instance ends once."""
    slow = Job("nap", {"seconds": 0.15}, name="slow")
    each = Job(Pipeline({slow: Job("data_of", {"x": 1})}), name="each", bind="item")
    pipeline = Pipeline({Job("numbers", {"count": 8}, spread=True): each, each: Job("everything", gather=Gather())})
    with fragile.manager() as manager:
        run = manager.start(pipeline)
        for strike in range(1, 4):
            fragile.until(lambda strike=strike: ended_below(manager, run) >= 2 * strike, what="some have ended")
            fragile.kill(victim)
            fragile.start(victim, *(("--workers", "subrun_workers") if victim == "broker" else ()))
        manager.wait(run, 200)
        assert not pipeline.failed, pipeline.error
    with closing(Archive(fragile.data / "journal.db")) as archive:
        assert set(ends(archive, run).values()) == {1} and len(ends(archive, run)) == 10
        children = archive.children(run)
        assert len(children) == 8 and all(isinstance(accepted, Accepted) for _, accepted in children)
        for child, _ in children:
            assert child.verdict == "success" and ends(archive, child.run) == {("slow", ()): 1, ("data_of", ()): 1}


def ended_below(manager: Any, run: str) -> int:
    return sum(state == "success" for *_, state in told_of(manager, run)["below"])


def test_a_killed_router_lets_a_cancel_reach_the_child(fragile: Any, tmp_path: Path) -> None:
    with fragile.manager() as manager:
        run = manager.start(under_way(fragile, tmp_path))
        fragile.until(lambda: executions(tmp_path)["waiting"], what="the innermost job runs")
        fragile.kill("router")
        fragile.start("router")
        manager.cancel(run, "enough")
        assert manager.wait(run, 60).state == "cancelled"
        assert manager.status(child_id(run, 0, "P", ())).error.reason == "enough"
