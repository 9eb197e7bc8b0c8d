"""The content cache on real daemons: across runs and restarts, explained, cleared, damaged, killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace import Gather, Job, Pipeline
from headrace.pipeline.cachenotes import CacheReport
from headrace.workers.cache.folder import CacheFolder
from headrace.workers.cache.sweeping import listed

CACHED = '''
import os, time
from headrace import Worker, worker

FACTOR = 2


def scaled(number):
    return number * FACTOR


@worker
def double(number, folder):
    """Leaves a mark whenever it is called."""
    with open(os.path.join(folder, "called"), "a") as file:
        file.write(f"{number}\\n")
    return {"doubled": scaled(number)}


@worker
def text_of(size, folder):
    with open(os.path.join(folder, "called"), "a") as file:
        file.write(f"text {size}\\n")
    return "x" * size


@worker
def length(text):
    return len(text)


@worker
def listing(size):
    return list(range(size))


@worker
def each(item, folder):
    with open(os.path.join(folder, "called"), "a") as file:
        file.write(f"each {item}\\n")
    return item * item


@worker
def together(items):
    return sum(items)


class Versioned(Worker):
    version = 1
    requires = ["number"]

    def process(self, data):
        return self.version
'''


def up(daemons: Any, source: str = CACHED, *arguments: str) -> None:
    (daemons.folder / "workers.py").write_text(source)
    daemons.start("router")
    daemons.start("pipeliner")
    daemons.start("broker", *arguments)
    daemons.joined()


def another_broker(daemons: Any, source: str = CACHED, *arguments: str) -> None:
    """The Broker goes, the code changes, and another one comes."""
    daemons.processes.pop("broker").terminate()
    (daemons.folder / "workers.py").write_text(source)
    with daemons.manager() as manager:
        daemons.until(lambda: not manager.cluster()["brokers"], what="the Broker has left")
    daemons.start("broker", *arguments)
    daemons.joined()


def called(daemons: Any) -> list[str]:
    file = daemons.folder / "called"
    found = sorted(file.read_text().splitlines()) if file.exists() else []
    file.unlink(missing_ok=True)
    return found


@dataclass
class Ended:
    """A run after its end, read as long as the manager was there."""

    id: str
    results: dict[str, Any]
    states: dict[str, str]
    report: CacheReport

    def kinds(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in self.report.entries:
            found.setdefault(one["job"], []).append(one["kind"])
        return found


def run(daemons: Any, graph: Any, **data: Any) -> Ended:
    with daemons.manager() as manager:
        pipeline = Pipeline(graph, data={"folder": str(daemons.folder), **data})
        manager.start(pipeline)
        status = manager.wait(pipeline, 60)
        assert status.ok, status.error
        assert status.cache_explain() == manager.cache_explain(pipeline)
        return Ended(status.id, status.results, status.states, status.cache_explain())


def doubled(daemons: Any, number: int) -> Any:
    return run(daemons, {Job("double", cache="content"): None}, number=number)


def cache_of(daemons: Any) -> CacheFolder:
    return CacheFolder(daemons.data / "cache")


def test_a_result_is_reused_by_later_runs_and_after_everything_was_started_anew(daemons: Any) -> None:
    up(daemons)
    first = doubled(daemons, 4)
    assert called(daemons) == ["4"] and first.results == {"double": {"doubled": 8}}
    second = doubled(daemons, 4)
    assert called(daemons) == [] and second.results == first.results and second.states == first.states
    assert second.report == f"double: from the cache: the result of job double of run {first.id[:12]}"
    for name in list(daemons.processes):
        daemons.kill(name)
    up(daemons)
    third = doubled(daemons, 4)
    assert called(daemons) == [] and third.results == first.results
    with daemons.manager() as manager:
        rates = manager.cluster()["router"]
    assert (rates["cached"], rates["not cached"]) == (1, 0), "counted since the Router has started"


def test_explain_show_and_status_tell_what_came_from_the_cache_and_what_differs(daemons: Any) -> None:
    up(daemons)
    first, again, other = doubled(daemons, 3), doubled(daemons, 3), doubled(daemons, 4)
    told = daemons.command("cache", "explain", other.id[:8], "double")
    assert told.stdout == (
        f"double: not in the cache: input.number: 3 → 4 (compared with job double of run {first.id[:12]})\n"
    )
    answer = json.loads(daemons.command("cache", "explain", again.id, "--json").stdout)
    assert [(one["job"], one["kind"]) for one in answer["entries"]] == [("double", "hit")]
    assert "never ran before" in daemons.command("cache", "explain", first.id).stdout
    shown = daemons.command("show", again.id, "--attempts").stdout
    assert shown.count("cached") == 2, shown
    assert "cached" not in daemons.command("show", first.id, "--attempts").stdout
    assert "cached 1, not cached 2, damaged in the cache 0" in daemons.command("status").stdout
    listed = daemons.command("cache", "list", "--data", str(daemons.data)).stdout
    assert listed.count("double") == 4 and "2 entries" in listed
    nothing = run(daemons, {Job("double"): None}, number=3)
    assert "has not looked into the cache" in daemons.command("cache", "explain", nothing.id, "double").stdout
    assert daemons.command("cache", "explain").returncode == 2
    assert daemons.command("cache", "explain", "f" * 32).returncode == 3


def test_changed_code_of_a_worker_or_of_what_it_uses_is_a_miss_that_says_so(daemons: Any) -> None:
    up(daemons)
    graph = {Job("double", cache="content"): None, Job("Versioned", cache="content"): None}
    run(daemons, graph, number=3)
    # Of another length: Python takes a file for unchanged that was written in the same second and is as long.
    another_broker(daemons, CACHED.replace("FACTOR = 2", "FACTOR = 2 + 1").replace("version = 1", "version = 2"))
    changed = run(daemons, graph, number=3)
    assert changed.results == {"double": {"doubled": 9}, "Versioned": 2}
    assert "double: not in the cache: FACTOR, which worker double uses, changed" in changed.report
    assert "Versioned: not in the cache: version 1 → 2" in changed.report
    another_broker(daemons, "# a comment\n" + CACHED)
    back = run(daemons, graph, number=3)
    assert back.results == {"double": {"doubled": 6}, "Versioned": 1}
    assert back.kinds() == {"double": ["hit"], "Versioned": ["hit"]}


def test_large_results_and_branches_are_reused_and_outlive_the_run_that_made_them(daemons: Any) -> None:
    up(daemons)
    listing = Job("listing", {"size": 50}, spread=True, cache="content")
    each = Job("each", bind="item", cache="content")
    graph = {
        Job("text_of", {"size": 300_000}, cache="content"): Job("length", bind="item", cache="content"),
        listing: each,
        each: Job("together", gather=Gather()),
    }
    first = run(daemons, graph)
    assert first.results["length"] == 300_000 and first.results["together"] == sum(n * n for n in range(50))
    assert len(called(daemons)) == 51
    with daemons.manager() as manager:
        manager.prune(first.id)
        daemons.until(lambda: not (daemons.data / "values" / first.id).exists(), what="the first run's values are gone")
    again = run(daemons, graph)
    assert again.results == first.results and called(daemons) == []
    assert again.kinds() == {"text_of": ["hit"], "length": ["hit"], "listing": ["hit"], "each": ["hit"] * 50}
    shown = daemons.command("show", again.id).stdout
    assert "50 success; 50 cached" in shown, shown


def test_clearing_makes_the_next_run_compute_again(daemons: Any) -> None:
    up(daemons)
    doubled(daemons, 4)
    kept = daemons.command("cache", "clear", "--data", str(daemons.data), "--older", "1d", "--json")
    assert json.loads(kept.stdout)["removed"] == 0
    gone = daemons.command("cache", "clear", "--data", str(daemons.data))
    assert gone.stdout.startswith("1 entries")
    assert called(daemons) == ["4"]
    again = doubled(daemons, 4)
    assert called(daemons) == ["4"] and again.report.startswith("double: not in the cache: it never ran")
    doubled(daemons, 4)
    assert called(daemons) == []


def test_a_damaged_entry_is_computed_again_and_counted(daemons: Any) -> None:
    up(daemons)
    doubled(daemons, 4)
    (entry,) = listed(cache_of(daemons))
    file = cache_of(daemons).file(entry.key)
    file.write_bytes(file.read_bytes()[:-3])
    called(daemons)
    again = doubled(daemons, 4)
    assert called(daemons) == ["4"] and again.results == {"double": {"doubled": 8}}
    assert "was damaged" in again.report
    assert "damaged in the cache 1" in daemons.command("status").stdout
    assert "1 damaged ones were removed" in daemons.command("cache", "list", "--data", str(daemons.data)).stdout
    doubled(daemons, 4)
    assert called(daemons) == []


def test_worker_processes_that_are_killed_while_they_write_leave_only_whole_entries(daemons: Any) -> None:
    up(daemons)
    with daemons.manager() as manager:
        for size in (400, 800, 1200):
            # Two in each run: a job whose process dies three times is not tried again.
            pipeline = squares(daemons, size)
            run_id = manager.start(pipeline)
            for number in range(2):
                await_more(daemons, manager, run_id)
                daemons.until(lambda number=number: kill_a_worker(daemons, number), what="a worker process is killed")
            manager.wait(pipeline, 60)
            assert not pipeline.failed, pipeline.error
            assert manager.results(pipeline)["together"] == sum(n * n for n in range(size))
        called(daemons)
        again = squares(daemons, 1200)
        manager.start(again)
        manager.wait(again, 60)
        assert manager.results(again)["together"] == sum(n * n for n in range(1200))
        damaged = manager.cluster()["router"]["damaged in the cache"]
    assert called(daemons) == [] and damaged == 0
    folder = cache_of(daemons)
    assert all(folder.get(one.key) is not None for one in list(listed(folder)))


def squares(daemons: Any, size: int) -> Pipeline:
    each = Job("each", bind="item", cache="content")
    graph = {Job("listing", {"size": size}, spread=True): each, each: Job("together", gather=Gather())}
    return Pipeline(graph, data={"folder": str(daemons.folder)})


def await_more(daemons: Any, manager: Any, run_id: str) -> None:
    before = len(list(listed(cache_of(daemons))))
    daemons.until(
        lambda: len(list(listed(cache_of(daemons)))) > before or manager.status(run_id).state != "running",
        what="something more is kept",
    )


def kill_a_worker(daemons: Any, number: int) -> bool:
    """kill -9 on one of the processes that run jobs: those that were forked from the warden."""
    try:
        wardens = [one for one in psutil.Process(daemons.processes["broker"].pid).children() if one.children()]
        workers = [child for one in wardens for child in one.children()]
        os.kill(workers[number % len(workers)].pid, signal.SIGKILL)
    except (IndexError, ZeroDivisionError, ProcessLookupError, psutil.NoSuchProcess):
        return False
    return True


def test_two_runs_that_compute_the_same_at_once_both_end_well(daemons: Any) -> None:
    up(daemons)
    with daemons.manager() as manager:
        graph = {Job("text_of", {"size": 100_000}, cache="content"): Job("length", bind="item")}
        pipelines = [Pipeline(graph, data={"folder": str(daemons.folder)}) for _ in range(20)]
        manager.start_many(pipelines)
        for pipeline in pipelines:
            manager.wait(pipeline, 60)
        assert [manager.results(pipeline)["length"] for pipeline in pipelines] == [100_000] * 20
    assert len(list(listed(cache_of(daemons)))) == 1
    assert 1 <= len(called(daemons)) <= 2, "as many as there are processes"


def test_a_local_run_and_a_cluster_find_each_others_results(daemons: Any) -> None:
    up(daemons)
    script = (
        "from headrace import Job, Pipeline\n"
        f"data = {{'folder': {str(daemons.folder)!r}, 'number': 4}}\n"
        "pipeline = Pipeline({Job('double', cache='content'): None}, data=data)\n"
        "run = pipeline.run(workers='workers', cache_folder='data/cache')\n"
        "print(run.results, run.cache_explain())\n"
    )

    def locally() -> str:
        line = [sys.executable, "-c", script]
        return subprocess.run(line, cwd=daemons.folder, capture_output=True, text=True, check=True).stdout

    assert "never ran before" in locally() and called(daemons) == ["4"]
    assert doubled(daemons, 4).results == {"double": {"doubled": 8}} and called(daemons) == []
    assert "from the cache" in locally() and called(daemons) == []


def test_a_broker_may_have_a_cache_of_its_own_with_limits_of_its_own(daemons: Any, tmp_path: Path) -> None:
    own = tmp_path / "own"
    up(daemons, CACHED, "--cache", str(own), "--cache-size", "1MB", "--cache-keep", "1h")
    doubled(daemons, 4)
    assert len(list(listed(CacheFolder(own)))) == 1 and not (daemons.data / "cache").exists()
    for size in range(500_000, 500_005):
        run(daemons, {Job("text_of", {"size": size}, cache="content"): None})
    total = sum(one.size for one in listed(CacheFolder(own)))
    assert 400_000 < total <= 1_100_000, total


@pytest.mark.parametrize("store", ["headrace.stores:SQLiteStore"])
def test_a_store_has_the_results_of_hits_under_every_run(daemons: Any, store: str) -> None:
    (daemons.folder / "workers.py").write_text(CACHED)
    config = json.dumps({"path": str(daemons.folder / "results.sqlite")})
    daemons.start("router", "--store-config", config)
    daemons.start("pipeliner")
    daemons.start("broker", "--store", store)
    daemons.joined()
    after = Job("double", {"number": 100}, name="after", cache="content")
    for expected in (["100", "4"], []):
        ended = run(daemons, {Job("double", cache="content"): after}, number=4)
        assert ended.results == {"double": {"doubled": 8}, "after": {"doubled": 200}}
        assert called(daemons) == expected
