"""The content cache in the local engine: across runs, inline and in forks, with a reason for every miss."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headrace.pipeline.job import Job
from headrace.pipeline.options import Gather, Retry
from headrace.pipeline.pipeline import Pipeline
from headrace.pipeline.run import Run
from headrace.stores.memory import MemoryStore
from headrace.workers.base import Worker
from headrace.workers.functions import worker


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A file in which workers leave a mark, in whichever process they run."""
    file = tmp_path / "trace"
    file.touch()
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def marks(trace: Path) -> list[str]:
    found = trace.read_text().split()
    trace.write_text("")
    return sorted(found)


@worker
def numbers(count: int) -> list[int]:
    return list(range(count))


def square_of(trace: Path) -> Any:
    @worker
    def square(item: int) -> int:
        with open(trace, "a") as file:
            file.write(f"{item}\n")
        return item * item

    return square


@worker
def total(items: list[int]) -> int:
    return sum(items)


def fan(trace: Path, folder: Path, count: int, **options: Any) -> Run:
    square = Job(square_of(trace), bind="item", cache="content")
    graph = {Job(numbers, spread=True): square, square: Job(total, gather=Gather(), cache="content")}
    return Pipeline(graph, data={"count": count}).run(cache_folder=folder, **options)


@pytest.mark.parametrize("processes", [0, 2])
def test_only_what_is_new_is_computed(trace: Path, folder: Path, processes: int) -> None:
    first = fan(trace, folder, 3, processes=processes)
    assert first.results["total"] == 5 and marks(trace) == ["0", "1", "2"]
    again = fan(trace, folder, 3, processes=processes)
    assert again.results == first.results and again.states == first.states and marks(trace) == []
    more = fan(trace, folder, 4, processes=processes)
    assert more.results["total"] == 14 and marks(trace) == ["3"]
    kinds = {(one["job"], *one["path"]): one["kind"] for one in more.cache_explain().entries}
    assert kinds == {
        ("square", 0): "hit", ("square", 1): "hit", ("square", 2): "hit", ("square", 3): "miss", ("total",): "miss"
    }  # fmt: skip
    assert more.cache_explain("total").startswith(
        "total: not in the cache: input[3] is new: 9 (compared with job total"
    )


def test_forks_and_this_process_share_what_they_keep(trace: Path, folder: Path) -> None:
    fan(trace, folder, 3, processes=2)
    assert marks(trace) == ["0", "1", "2"]
    fan(trace, folder, 3, processes=0)
    assert marks(trace) == []


def test_the_folder_may_be_named_by_the_environment(trace: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_CACHE", str(folder))
    for expected in (["0"], []):
        fan(trace, None, 1)  # type: ignore[arg-type]  # no folder is given
        assert marks(trace) == expected
    assert folder.is_dir()


def test_a_run_without_the_option_makes_no_folder(folder: Path) -> None:
    run = Pipeline({Job(numbers): None}, data={"count": 1}).run(cache_folder=folder)
    assert run.ok and not folder.exists()
    assert run.cache_explain() == "nothing here has looked into the cache: no job with cache='content' has run"
    assert "has not looked into the cache" in run.cache_explain("numbers")


def test_a_store_has_the_results_of_hits(trace: Path, folder: Path) -> None:
    class Note(Worker):
        requires = ("x",)

        def process(self, data: Any) -> Any:
            with open(trace, "a") as file:
                file.write("ran\n")
            return {"y": data["x"] + 1}

    class After(Worker):
        requires = ("y",)

        def process(self, data: Any) -> Any:
            return {"z": data["y"] * 10}

    for expected in (["ran"], []):
        store = MemoryStore()
        pipeline = Pipeline({Job(Note, cache="content"): Job(After)}, data={"x": 1})
        run = pipeline.run(store=store, cache_folder=folder)
        assert run.results == {"Note": {"y": 2}, "After": {"z": 20}} and marks(trace) == expected


def test_a_hit_costs_no_tries_and_a_failure_is_tried_again(trace: Path, folder: Path) -> None:
    @worker
    def second_time() -> str:
        with open(trace, "a") as file:
            file.write("ran\n")
        if len(trace.read_text().split()) < 2:
            raise ValueError("not yet")
        return "done"

    pipeline = Pipeline({Job(second_time, cache="content", retry=Retry(2)): None})
    assert pipeline.run(cache_folder=folder).results == {"second_time": "done"}
    assert marks(trace) == ["ran", "ran"]
    events: list[Any] = []
    run = pipeline.run(cache_folder=folder, on_event=events.append)
    assert run.ok and marks(trace) == []
    assert [event.attempt for event in events if event.kind == "ended"] == [1]


def test_jobs_of_a_sub_run_are_told_under_the_job_that_it_is(folder: Path) -> None:
    below = Pipeline({Job(numbers, cache="content"): None}, data={"count": 2}, title="below")
    runs = [Pipeline({Job(below, name="sub"): None}).run(cache_folder=folder) for _ in range(2)]
    assert [run.results["sub"]["numbers"] for run in runs] == [[0, 1]] * 2
    assert runs[1].cache_explain().startswith("sub/numbers: from the cache")


def test_commands_are_kept(trace: Path, folder: Path) -> None:
    text = f"echo ran >> {trace}; wc -c"
    for expected in (["ran"], []):
        run = Pipeline({Job.shell(text, {"a": 1}, name="count", bind="literal", cache="content"): None}).run(
            cache_folder=folder
        )
        assert run.ok, run.error
        assert run.results["count"] and marks(trace) == expected


def test_a_worker_with_a_timeout_runs_in_a_fork_and_is_kept(trace: Path, folder: Path) -> None:
    for expected in (["7"], []):
        job = Job(square_of(trace), {"item": 7}, cache="content", timeout=300)
        assert Pipeline({job: None}).run(cache_folder=folder).results == {"square": 49}
        assert marks(trace) == expected
