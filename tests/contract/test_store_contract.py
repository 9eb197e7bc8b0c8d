"""One suite over every store: whatever a store keeps its results in, workers get the same input."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

import headrace.stores
from headrace.pipeline.errors import MissingInput, StoreError, Superseded

KEEPING = ["MemoryStore", "FileStore", "SQLiteStore", "MongoStore"]
SHARED = KEEPING[1:]
"""Stores that several processes see."""
ALL = ["PipelineStore", *KEEPING]
Make = Callable[..., Any]
PATIENCE = 100.0
"""Seconds: on a busy disk the turns of six writers, one after the other, take longer than a store waits by itself."""


@pytest.fixture
def config(request: pytest.FixtureRequest, tmp_path: Path, name: str) -> dict[str, Any]:
    if name == "FileStore":
        return {"folder": str(tmp_path / "results")}
    if name == "SQLiteStore":
        return {"path": str(tmp_path / "results.sqlite"), "busy_timeout": PATIENCE}
    if name == "MongoStore":
        port = request.getfixturevalue("mongo_port")
        return {"host": "127.0.0.1", "port": port, "database": f"test_{uuid4().hex}", "timeout": PATIENCE}
    return {}


@pytest.fixture
def make(name: str, config: dict[str, Any]) -> Iterator[Make]:
    made: list[Any] = []

    def make(**more: Any) -> Any:
        made.append(getattr(headrace.stores, name)(**config, **more))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make: Make) -> Any:
    return make()


def info(job: str = "B", requires: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """What a worker process gives to a store."""
    given = {
        "worker": job,
        "worker_requires": requires,
        "data": {},
        "pipeline": "run1",
        "job": job,
        "path": (),
        "attempt": 1,
        "attempt_key": f"run1/0/{job}/",
        "fence": "01",
        "upstream": {},
    }
    return {**given, **more}


def keep(store: Any, job: str, result: Any, upstream: dict[str, Any], **more: Any) -> None:
    """A job ends: its result is saved, and travels to the jobs below."""
    store.save(info(job, worker_result=result, **more))
    upstream[job] = result


# The input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_a_worker_gets_exactly_the_keys_that_it_requires(store: Any) -> None:
    upstream: dict[str, Any] = {}
    keep(store, "A", {"html": "<p>", "length": 3}, upstream)
    asked = info(requires=("html", "url"), data={"url": "u", "id": 7}, upstream=upstream)
    assert store.retrieve(asked) == {"html": "<p>", "url": "u"}


@pytest.mark.parametrize("name", ALL)
def test_the_nearest_job_upstream_wins_and_every_job_wins_over_the_data(store: Any) -> None:
    upstream: dict[str, Any] = {}
    keep(store, "Near", {"x": "near"}, upstream, fence="01")
    keep(store, "Far", {"x": "far", "y": "far"}, upstream, fence="02")
    asked = info(requires=("x", "y", "z"), data={"x": "data", "y": "data", "z": "data"}, upstream=upstream)
    assert store.retrieve(asked) == {"x": "near", "y": "far", "z": "data"}


@pytest.mark.parametrize("name", ALL)
def test_a_missing_key_is_named_with_the_places_where_it_was_looked_for(store: Any) -> None:
    upstream: dict[str, Any] = {}
    keep(store, "A", {"html": "<p>"}, upstream)
    with pytest.raises(MissingInput) as caught:
        store.retrieve(info("B", requires=("text",), data={"url": "u"}, upstream=upstream))
    assert str(caught.value) == (
        "worker 'B' requires 'text', which is not in the results of the jobs upstream (A) nor in the data (keys: url)"
    )


@pytest.mark.parametrize("name", ALL)
def test_an_optional_key_is_given_when_it_is_there(store: Any) -> None:
    upstream: dict[str, Any] = {}
    keep(store, "A", {"y": 2}, upstream)
    asked = info(requires=("x",), worker_optional=("y", "z"), data={"x": 1}, upstream=upstream)
    assert store.retrieve(asked) == {"x": 1, "y": 2}


@pytest.mark.parametrize("name", ALL)
def test_a_worker_without_requires_gets_the_data_with_its_parents_results_over_it(store: Any) -> None:
    upstream: dict[str, Any] = {}
    keep(store, "A", {"x": "first", "y": 1}, upstream, fence="01")
    keep(store, "B", {"x": "second", "z": 2}, upstream, fence="02")
    keep(store, "C", "no dict", upstream)
    asked = info("D", data={"x": "data", "w": 0}, upstream=upstream)
    assert store.retrieve(asked) == {"w": 0, "x": "first", "y": 1, "z": 2}


@pytest.mark.parametrize("name", ALL)
def test_only_the_direct_parents_count_for_a_worker_without_requires(store: Any) -> None:
    class Upstream(dict):  # type: ignore[type-arg]
        direct = ("A",)

    upstream = Upstream()
    keep(store, "A", {"a": 1}, upstream)
    keep(store, "Root", {"root": 1}, upstream)
    assert store.retrieve(info(data={"x": 0}, upstream=upstream)) == {"x": 0, "a": 1}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(("data", "given"), [(None, {}), ({}, {}), ([1, 2], [1, 2]), (0, 0), ("text", "text")])
def test_data_that_is_no_dict_is_handed_over_as_it_is(store: Any, data: Any, given: Any) -> None:
    assert store.retrieve(info(data=data)) == given


@pytest.mark.parametrize("name", ALL)
def test_a_result_that_is_no_dict_has_no_keys(store: Any) -> None:
    upstream: dict[str, Any] = {}
    keep(store, "A", ["x"], upstream)
    keep(store, "Skipped", None, upstream)
    with pytest.raises(MissingInput):
        store.retrieve(info(requires=("x",), data=None, upstream=upstream))


@pytest.mark.parametrize("name", KEEPING)
def test_a_result_from_the_cache_that_was_never_saved_here_counts_too(store: Any) -> None:
    assert store.retrieve(info(requires=("x",), upstream={"Cached": {"x": 1}})) == {"x": 1}


@pytest.mark.parametrize("name", KEEPING)
def test_without_upstream_everything_that_was_saved_in_the_run_counts_newest_first(store: Any) -> None:
    keep(store, "A", {"x": 1, "y": 1}, {}, fence="01")
    keep(store, "B", {"x": 2}, {}, fence="02")
    asked = info("C", requires=("x", "y"))
    del asked["upstream"]
    assert store.retrieve(asked) == {"x": 2, "y": 1}
    with pytest.raises(MissingInput):
        store.retrieve({**asked, "pipeline": "another run"})


@pytest.mark.parametrize("name", KEEPING)
def test_below_a_spread_every_branch_sees_its_own_results_and_those_outside(store: Any) -> None:
    given = {"Root": {}, "Part": {}}
    store.save(info("Root", worker_result={"root": "r"}))
    for index in range(3):
        store.save(info("Part", path=(index,), worker_result={"part": index}))
    for index in range(3):
        asked = info("Deep", ("part", "root"), path=(index, 5), upstream=given)
        assert store.retrieve(asked) == {"part": index, "root": "r"}
    with pytest.raises(MissingInput):
        store.retrieve(info("Outside", ("part",), upstream=given))


# Shared documents ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEEPING)
def test_a_document_named_by_the_data_is_shared_by_runs(make: Make) -> None:
    store = make(document="id")
    page = {"id": "page/7"}
    store.save(info("Download", pipeline="old", data=page, worker_result={"html": "old", "etag": 1}, fence="01"))
    store.save(info("Download", pipeline="new", data=page, worker_result={"html": "new"}, fence="02"))
    assert store.retrieve(info("Words", ("html", "etag"), pipeline="third", data=page)) == {"html": "new", "etag": 1}
    with pytest.raises(MissingInput):
        store.retrieve(info("Words", ("html",), pipeline="third", data={"id": "another"}))


@pytest.mark.parametrize("name", KEEPING)
def test_the_data_wins_over_what_other_runs_have_left_in_the_document(make: Make) -> None:
    store = make(document="id")
    store.save(info("A", pipeline="old", data={"id": 1}, worker_result={"x": "old"}))
    assert store.retrieve(info("B", ("x",), data={"id": 1, "x": "given"})) == {"x": "given"}


@pytest.mark.parametrize("name", KEEPING)
def test_data_that_does_not_name_a_document_is_refused_with_the_key(make: Make) -> None:
    store = make(document="id")
    with pytest.raises(MissingInput, match="'id'"):
        store.save(info("A", data={"x": 1}, worker_result={}))


# What comes back ----------------------------------------------------------------------------------------------------

VALUES = {
    "plain": {"a": [1, -2.5, None, True, "ü\u2028\n\0"], "": {"deep": {"": []}}},
    "awkward keys": {"a.b": 1, "$set": {"$inc": 2}, "!packed": "x", "\0": 3, "ключ": 4, 5: 6, None: 7, (1, 2): 8},
    "other types": {
        "dates": [datetime(2024, 2, 29, 1, 2, 3, 456789), date(1, 1, 1), timedelta(-1, 2, 3)],
        "aware": datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=-3))),
        "tuple": (1, (2,), [3]),
        "sets": [{1, 2}, frozenset("ab")],
        "numbers": [Decimal("1.10"), 1 << 80, -(1 << 70), 1 << 63, 1j, float("inf")],
        "names": [UUID(int=5), Path("/tmp/x")],
        "bytes": b"\0\xff",
        "surrogate": "\udcff",
    },
    "no dict": [1, "two"],
    "nothing": None,
}


@pytest.mark.parametrize("name", KEEPING)
@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)
def test_a_result_comes_back_as_it_was(store: Any, value: Any) -> None:
    store.save(info("A", worker_result=value))
    (saved,) = store.results("run1")
    assert (saved.run, saved.job, saved.path, saved.fence) == ("run1", "A", (), "01")
    assert saved.result == value
    assert json_like(saved.result) == json_like(value)


def json_like(value: Any) -> Any:
    """The value with its types: 1 equals True, and a list may not become a tuple."""
    if isinstance(value, dict):
        return {key: json_like(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value), [json_like(part) for part in value]
    return type(value), value


@pytest.mark.parametrize("name", KEEPING)
def test_a_deep_result_comes_back(store: Any) -> None:
    deep: Any = "bottom"
    for _ in range(300):
        deep = {"down": deep}
    store.save(info("A", worker_result=[deep]))
    (saved,) = store.results("run1")
    assert saved.result == [deep]


@pytest.mark.parametrize("name", KEEPING)
def test_a_large_result_comes_back_and_is_replaced(store: Any) -> None:
    large = {"rows": ["x" * 1000] * 17_000, "blob": b"\1" * 2_000_000}
    store.save(info("A", worker_result=large))
    assert store.retrieve(info("B", ("rows",), upstream={"A": None})) == {"rows": large["rows"]}
    store.save(info("A", worker_result={"rows": []}, fence="02"))
    assert store.retrieve(info("B", ("rows",), upstream={"A": None})) == {"rows": []}


@pytest.mark.parametrize("name", KEEPING)
def test_any_text_can_be_a_name(store: Any) -> None:
    names = ["", ".", "..", "../../x", "a/b", "a.b", "$a", "Ünï", "x" * 3000, "x" * 3000 + "y", "nul\0", "a\\b", "*?"]
    for number, text in enumerate(names):
        store.save(info(f"job{text}", pipeline=f"run{text}", worker_result=number))
        store.save(info(text, pipeline=text, worker_result=number))
    for number, text in enumerate(names):
        (saved,) = store.results(f"run{text}")
        assert (saved.job, saved.result) == (f"job{text}", number)
        assert [saved.result for saved in store.results(text)] == [number]


@pytest.mark.parametrize("name", KEEPING)
def test_nobody_can_change_what_is_saved(store: Any) -> None:
    result = {"list": [1]}
    store.save(info("A", worker_result=result))
    result["list"].append(2)
    for _ in range(2):
        given = store.retrieve(info("B", ("list",), upstream={"A": None}))
        assert given == {"list": [1]}
        given["list"].append(3)


@pytest.mark.parametrize("name", SHARED)
def test_another_process_life_reads_what_was_saved(store: Any, make: Make) -> None:
    store.save(info("A", path=(2, 0), worker_result={"x": 1}))
    store.close()
    again = make()
    assert [(saved.job, saved.path, saved.result) for saved in again.results("run1")] == [("A", (2, 0), {"x": 1})]


@pytest.mark.parametrize("name", ALL)
def test_closing_twice_is_harmless(store: Any) -> None:
    store.retrieve(info())
    store.close()
    store.close()


# Fences -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEEPING)
def test_a_save_with_an_older_fence_is_superseded_and_changes_nothing(store: Any) -> None:
    store.save(info("A", worker_result="new", fence="0000020000000002"))
    with pytest.raises(Superseded) as caught:
        store.save(info("A", worker_result="old", fence="0000010000000009"))
    assert caught.value.newer == "0000020000000002"
    assert [saved.result for saved in store.results("run1")] == ["new"]


@pytest.mark.parametrize("name", KEEPING)
def test_a_repeat_under_the_same_fence_is_harmless(store: Any) -> None:
    for _ in range(2):
        store.save(info("A", worker_result="same"))
    assert [saved.result for saved in store.results("run1")] == ["same"]


@pytest.mark.parametrize("name", KEEPING)
def test_a_newer_fence_replaces(store: Any) -> None:
    store.save(info("A", worker_result="old", fence="0000000000000009"))
    store.save(info("A", worker_result="new", fence="000000000000000a"))
    assert [(saved.fence, saved.result) for saved in store.results("run1")] == [("000000000000000a", "new")]


@pytest.mark.parametrize("name", KEEPING)
def test_fences_of_other_instances_and_runs_do_not_count(store: Any) -> None:
    store.save(info("A", path=(1,), worker_result=1, fence="09"))
    store.save(info("A", path=(2,), worker_result=2, fence="01"))
    store.save(info("B", path=(1,), worker_result=3, fence="01"))
    store.save(info("A", path=(1,), worker_result=4, fence="01", pipeline="run2"))
    assert sorted(saved.result for saved in store.results("run1")) == [1, 2, 3]
    assert [saved.result for saved in store.results("run2")] == [4]


# Many processes -----------------------------------------------------------------------------------------------------

WRITER = """
import json, sys
import headrace.stores
from headrace.pipeline.errors import Superseded
name, config = json.loads(sys.argv[1])
store = getattr(headrace.stores, name)(**config)
superseded = 0
print("ready", flush=True)
writes = json.loads(sys.stdin.readline())
for job, fence, result in writes:
    try:
        store.save({"worker": job, "pipeline": "run1", "job": job, "fence": fence, "worker_result": result})
    except Superseded:
        superseded += 1
    print(job, fence, flush=True)
store.close()
print("superseded", superseded, flush=True)
"""


class Writer:
    """A process that saves a list of (job, fence, result) when it is told to."""

    def __init__(self, name: str, config: dict[str, Any], writes: list[tuple[str, str, Any]]) -> None:
        command = [sys.executable, "-c", WRITER, json.dumps([name, config])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.writes = writes

    def wait_until_ready(self) -> None:
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def begin(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{json.dumps(self.writes)}\n")
        self.process.stdin.flush()

    def end(self) -> list[str]:
        """The lines that it said."""
        return self.process.communicate()[0].splitlines()


def run_together(writers: list[Writer]) -> list[str]:
    """All of them begin at once, when all are ready; what each has said at its end."""
    for each in writers:
        each.wait_until_ready()
    for each in writers:
        each.begin()
    said = [each.end() for each in writers]
    assert [each.process.returncode for each in writers] == [0] * len(writers)
    return [lines[-1] for lines in said]


@pytest.mark.parametrize("name", SHARED)
def test_saves_of_many_processes_at_once_are_all_there(name: str, config: dict[str, Any], make: Make) -> None:
    writers = [
        Writer(name, config, [(f"job{process}.{number}", "01", {"x": number}) for number in range(20)])
        for process in range(6)
    ]
    assert run_together(writers) == ["superseded 0"] * 6
    saved = {(saved.job, saved.result["x"]) for saved in make().results("run1")}
    assert saved == {(f"job{process}.{number}", number) for process in range(6) for number in range(20)}


@pytest.mark.parametrize("name", SHARED)
def test_of_many_processes_that_save_one_result_the_newest_fence_wins(
    name: str, config: dict[str, Any], make: Make
) -> None:
    fences = [f"{number:04x}" for number in range(60)]
    writers = [Writer(name, config, [("A", fence, fence) for fence in fences[process::6]]) for process in range(6)]
    run_together(writers)
    (saved,) = make().results("run1")
    assert (saved.fence, saved.result) == (fences[-1], fences[-1])


@pytest.mark.parametrize("name", SHARED)
def test_a_writer_that_is_killed_leaves_whole_results_and_no_lock(
    name: str, config: dict[str, Any], make: Make
) -> None:
    victim = Writer(name, config, [(f"job{number}", "01", {"x": "y" * 5000}) for number in range(1000)])
    victim.wait_until_ready()
    victim.begin()
    assert victim.process.stdout is not None
    acknowledged = [victim.process.stdout.readline() for _ in range(5)]
    os.kill(victim.process.pid, signal.SIGKILL)
    acknowledged += victim.end()[:-1]
    store = make()
    store.save(info("after", worker_result={"x": "z"}))
    saved = {saved.job: saved.result for saved in store.results("run1")}
    assert saved.pop("after") == {"x": "z"}
    assert {line.split()[0] for line in acknowledged} <= saved.keys()
    assert all(result == {"x": "y" * 5000} for result in saved.values())


# Monitoring ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEEPING)
def test_monitoring_records_are_kept_up_to_a_bound(make: Make) -> None:
    store = make(monitoring_kept=5)
    for number in range(60):
        store.save_monitoring({"number": number, "host": {"a.b": [{"data": (1, 2)}]}})
    records = store.monitoring()
    assert [record["number"] for record in records] == [55, 56, 57, 58, 59]
    assert records[-1]["host"] == {"a.b": [{"data": (1, 2)}]}


def test_the_default_store_takes_monitoring_records_and_any_configuration() -> None:
    store = headrace.stores.PipelineStore(host="somewhere", monitoring_collection="m")
    store.save_monitoring({"host": {}})
    store.save(info("A", worker_result={"x": 1}))
    assert store.retrieve(info("B", ("x",), data={"x": 0})) == {"x": 0}


# Failures -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHARED)
def test_a_store_that_cannot_work_says_which_one_it_is(name: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "run1.json").write_text("{torn")
    (broken / "results.sqlite").write_text("this is no database, " * 100)
    configs = {
        "FileStore": {"folder": broken},
        "SQLiteStore": {"path": broken / "results.sqlite"},
        "MongoStore": {"host": "127.0.0.1", "port": 1, "timeout": 0.2},
    }
    store = getattr(headrace.stores, name)(**configs[name])
    for operation in (
        lambda: store.save(info("A", worker_result=1)),
        lambda: store.retrieve(info("B", ("x",), upstream={"A": None})),
        lambda: store.results("run1"),
    ):
        with pytest.raises(StoreError, match=f"store {name} failed to "):
            operation()
    store.close()
