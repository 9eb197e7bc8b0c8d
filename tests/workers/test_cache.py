"""The content cache as attempts meet it: hits, misses, what is never kept, damage, bounds, many at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.pipeline.answers import Choose, Graft, Skip
from headrace.pipeline.definition import CommandLine
from headrace.pipeline.facts import Signs
from headrace.pipeline.job import Job
from headrace.pipeline.payload import pack, unpack
from headrace.pipeline.recipe import Recipe
from headrace.pipeline.task import COMMAND, Outcome, RunHeader
from headrace.stores.values import ValuesFolder
from headrace.workers.base import Worker
from headrace.workers.cache.cache import GONE, NEVER, Cache
from headrace.workers.cache.entry import Damaged, Entry
from headrace.workers.cache.folder import INLINE, CacheFolder
from headrace.workers.cache.sweeping import Bounds, clear, listed, sweep, sweep_when_due, tidy
from headrace.workers.functions import worker

DAY = 86400.0


class Bench:
    """Runs attempts one after the other with a cache of their own, and knows how often workers were called."""

    def __init__(self, lab: Any, folder: Path) -> None:
        self.lab = lab
        self.folder = CacheFolder(folder)
        self.calls: list[Any] = []

    def run(self, target: Any, run_data: Any = None, cache: bool = True, **options: Any) -> Outcome:
        made = options.pop("made", None) or Cache(self.folder.path)
        ours = {name: options.pop(name) for name in ("store", "values", "inline_limit") if name in options}
        execution = self.lab.execution(target, cache=made, **ours)
        options.setdefault("worker", target.__name__)
        assignment = self.lab.assignment(options.pop("job", "job"), cache=cache, **options)
        try:
            outcome: Outcome = execution.run(RunHeader("run", None if run_data is None else pack(run_data)), assignment)
            return outcome
        finally:
            execution.close()

    def kinds(self, *outcomes: Outcome) -> list[str]:
        return [outcome.cache.kind if outcome.cache is not None else "none" for outcome in outcomes]

    def files(self) -> list[Path]:
        return sorted(file for file in self.folder.path.glob("entries/*/*") if file.is_file())


@pytest.fixture
def bench(lab: Any, tmp_path: Path) -> Bench:
    return Bench(lab, tmp_path / "cache")


@pytest.fixture
def double(bench: Bench) -> Any:
    @worker
    def double(number: int) -> int:
        bench.calls.append(number)
        return 2 * number

    return double


# Hits and misses ------------------------------------------------------------------------------------------------------


def test_the_second_attempt_on_an_equal_input_has_the_first_ones_result(bench: Bench, double: Any) -> None:
    first = bench.run(double, {"number": 4, "other": 1})
    again = bench.run(double, {"other": 2, "number": 4})
    assert bench.calls == [4]
    assert bench.kinds(first, again) == ["miss", "hit"]
    assert unpack(first.result) == unpack(again.result) == 8
    assert (again.kind, again.error, again.signs, again.size) == ("success", None, None, first.size)
    assert first.cache.reason == NEVER
    assert again.cache.reason == "the result of job job of run run"
    assert again.cache.key == first.cache.key


def test_another_input_is_a_miss_that_names_what_differs(bench: Bench, double: Any) -> None:
    bench.run(double, {"number": 4})
    outcome = bench.run(double, {"number": 5})
    assert bench.calls == [4, 5] and unpack(outcome.result) == 10
    assert outcome.cache.reason == "input.number: 4 → 5 (compared with job job of run run)"


def test_the_nearest_is_the_same_branch_of_the_same_job_then_the_same_worker(bench: Bench, double: Any) -> None:
    for at, number in enumerate((10, 20, 30)):
        bench.run(double, {"number": number}, job="first", path=(at,))
    assert "20 → 21" in bench.run(double, {"number": 21}, job="first", path=(1,)).cache.reason
    assert "21 → 5" in bench.run(double, {"number": 5}, job="other").cache.reason


def test_without_the_option_nothing_is_looked_up_and_no_folder_is_made(bench: Bench, double: Any) -> None:
    outcome = bench.run(double, {"number": 4}, cache=False)
    assert outcome.cache is None
    assert not bench.folder.path.exists()


AUDITED = """
import sys
from headrace.pipeline.payload import pack
from headrace.pipeline.task import Assignment, RunHeader, Task, pack_task
from headrace.stores.pipeline import PipelineStore
from headrace.workers.cache.cache import Cache
from headrace.workers.catalog import Catalog
from headrace.workers.execution import Execution
from headrace.workers.functions import worker
from headrace.workers.reading import Reader
from headrace.workers.storekeeper import Storekeeper


@worker
def double(number):
    return 2 * number


keeper = Storekeeper(PipelineStore, "PipelineStore", saves=False)
execution = Execution(Catalog.of([double]), keeper, Reader(lambda wants: []), cache=Cache(sys.argv[1]))
heard = []


def run(cache):
    task = pack_task(Task(worker="double", data=pack({"number": 1}), complete=True, cache=cache))
    heard.clear()
    outcome = execution.run(RunHeader("run"), Assignment(1, "run", "job", (), 1, "double", task))
    assert outcome.kind == "success", outcome.error
    return [event for event in heard if event.startswith(("open", "os.", "fcntl"))]


run(False), run(True)
sys.addaudithook(lambda event, arguments: heard.append(event))
print(run(False), run(True))
"""


def test_an_attempt_without_the_option_asks_the_system_nothing_and_a_hit_opens_one_file(tmp_path: Path) -> None:
    line = [sys.executable, "-c", AUDITED, str(tmp_path / "cache")]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout == "[] ['open']\n"


def test_what_goes_into_the_journal_stays_short(bench: Bench, double: Any) -> None:
    bench.run(double, {"number": 1})
    outcome = bench.run(double, {"number": {"k" * 10_000: 1, "\n": "x" * 10_000}})
    assert len(outcome.cache.reason) <= 500 and "\n" not in outcome.cache.reason


def test_changed_code_and_another_version_are_misses(bench: Bench) -> None:
    def made(version: Any, plus: int) -> Any:
        @worker(version=version)
        def add(x: int) -> int:
            return x + plus

        return add

    outcomes = [bench.run(made(*given), {"x": 1}) for given in ((1, 1), (1, 1), (2, 1), (2, 5), (2, 5))]
    assert bench.kinds(*outcomes) == ["miss", "hit", "miss", "miss", "hit"]
    assert outcomes[2].cache.reason.startswith("version 1 → 2 (")
    assert outcomes[3].cache.reason.startswith("code of worker add changed (")
    assert [unpack(outcome.result) for outcome in outcomes] == [2, 2, 2, 6, 6]


def test_a_class_has_a_version_too(bench: Bench) -> None:
    def made(number: int) -> Any:
        class Add(Worker):
            version = number

            def process(self, data: Any) -> int:
                return 1

        return Add

    outcomes = [bench.run(made(number), {}) for number in (1, 1, 2)]
    assert bench.kinds(*outcomes) == ["miss", "hit", "miss"]
    assert outcomes[2].cache.reason.startswith("version 1 → 2")


def test_the_ways_of_making_an_input_are_told_apart(bench: Bench, given: Callable[..., Any]) -> None:
    class Take(Worker):
        def process(self, *values: Any) -> Any:
            return [len(values), *values]

    pair = [given("before", [1, 2])]
    one = bench.run(Take, bind="item", inputs=pair)
    two = bench.run(Take, bind="args", inputs=[given("a", 1), given("b", 2)])
    three = bench.run(Take, bind="item", inputs=pair)
    assert bench.kinds(one, two, three) == ["miss", "miss", "hit"]
    assert unpack(one.result) == unpack(three.result) == [1, [1, 2]]
    assert unpack(two.result) == [2, 1, 2]


def test_data_counts_where_the_function_reads_it(bench: Bench, given: Callable[..., Any]) -> None:
    @worker
    def scaled(item: int, factor: int = 1) -> int:
        return item * factor

    def run(**data: Any) -> Outcome:
        return bench.run(scaled, data, bind="item", inputs=[given("before", 3)])

    assert bench.kinds(run(factor=2), run(factor=2, noise=1), run(factor=3)) == ["miss", "hit", "miss"]


def test_a_command_counts_by_its_line_and_its_input(bench: Bench) -> None:
    def run(text: str, data: Any, **line: Any) -> Outcome:
        command = CommandLine(shell=text, **line)
        assignment = bench.lab.assignment(
            "count", worker="count", cache=True, command=command, bind="literal", data=data
        )
        execution = bench.lab.execution(cache=Cache(bench.folder.path))
        outcome: Outcome = execution.run(RunHeader("run"), assignment)
        assert assignment.worker != COMMAND and outcome.kind == "success", outcome.error
        return outcome

    lines: Any = [("wc -c", [1]), ("wc -c", [1]), ("wc -l", [1]), ("wc -l", [1, 2])]
    outcomes = [*(run(*line) for line in lines), run("wc -l", [1, 2], env={"A": "1"})]
    assert bench.kinds(*outcomes) == ["miss", "hit", "miss", "miss", "miss"]
    reasons = [outcome.cache.reason for outcome in outcomes]
    assert "command.shell: 'wc -c' → 'wc -l'" in reasons[2]
    assert "input[1] is new: 2" in reasons[3]
    assert "command.env.A is new: '1'" in reasons[4]


def test_a_result_may_be_none(bench: Bench) -> None:
    @worker
    def nothing() -> None:
        bench.calls.append(1)

    outcomes = [bench.run(nothing), bench.run(nothing)]
    assert bench.kinds(*outcomes) == ["miss", "hit"] and len(bench.calls) == 1
    assert unpack(outcomes[1].result) is None


# Answers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer, options",
    [
        (Choose(["a"], result={"x": 1}), {}),
        (Skip("nothing to do"), {}),
        ([1, 2, 3], {"spread": True}),
        ((1, 2), {"spread": True}),
        ({"k": "key"}, {"report": ("k",)}),
    ],
)
def test_what_an_answer_says_besides_its_result_comes_back(bench: Bench, answer: Any, options: Any) -> None:
    @worker
    def say() -> Any:
        bench.calls.append(1)
        return answer

    first, again = bench.run(say, **options), bench.run(say, **options)
    assert bench.kinds(first, again) == ["miss", "hit"] and len(bench.calls) == 1
    assert (again.signs, again.result) == (first.signs, first.result) != (None, b"")


def test_a_spread_list_is_told_apart_from_a_list(bench: Bench) -> None:
    @worker
    def pair() -> Any:
        return (1, 2)

    spread, plain = bench.run(pair, spread=True), bench.run(pair)
    assert bench.kinds(spread, plain) == ["miss", "miss"]
    assert plain.cache.reason.startswith("call store, spread → store")
    assert unpack(spread.result) == [1, 2] and unpack(plain.result) == (1, 2)


def test_keys_for_a_gather_are_read_from_the_earlier_result(bench: Bench) -> None:
    @worker
    def row() -> Any:
        return {"k": "key"}

    bench.run(row)
    again = bench.run(row, report=("k",))
    assert bench.kinds(again) == ["hit"]
    assert again.signs == Signs(keys={"k": '"key"'})


def test_a_graft_is_never_kept(bench: Bench) -> None:
    @worker
    def grow() -> Any:
        return Graft(1, jobs=[Job("new")])

    first, again = bench.run(grow), bench.run(grow)
    assert bench.kinds(first, again) == ["refused", "refused"]
    assert "grafts" in again.cache.reason and bench.files() == []


def test_a_failure_is_never_kept_and_says_what_the_look_found(bench: Bench) -> None:
    @worker
    def fail(x: int) -> Any:
        bench.calls.append(x)
        raise ValueError("no")

    outcomes = [bench.run(fail, {"x": 1}, on_error="continue") for _ in range(2)]
    assert [outcome.kind for outcome in outcomes] == ["failed", "failed"]
    assert bench.kinds(*outcomes) == ["miss", "miss"] and bench.calls == [1, 1] and bench.files() == []


def test_an_input_without_a_canonical_form_is_refused_and_the_job_runs(bench: Bench) -> None:
    class Store:
        def retrieve(self, info: Any) -> Any:
            return {"x": object()}

        def save(self, info: Any) -> None:
            pass

    @worker(requires=["x"])
    def take(x: Any) -> str:
        return "done"

    outcome = bench.run(take, store=Store())
    assert outcome.kind == "success" and outcome.cache.kind == "refused"
    assert "input['x']" in outcome.cache.reason and bench.files() == []


def test_a_worker_that_changes_its_input_does_not_change_what_was_asked_for(bench: Bench) -> None:
    class Eat(Worker):
        def process(self, data: Any) -> int:
            bench.calls.append(1)
            return len([data["list"].pop() for _ in range(2)])

    assert bench.kinds(*(bench.run(Eat, {"list": [1, 2, 3]}) for _ in range(2))) == ["miss", "hit"]


# Stores and large values ----------------------------------------------------------------------------------------------


class Saving:
    def __init__(self) -> None:
        self.saved: list[Any] = []

    def retrieve(self, info: Any) -> Any:
        return {"number": info["data"]["number"]}

    def save(self, info: Any) -> None:
        self.saved.append((info["pipeline"], info["worker_result"]))


def test_a_store_has_the_result_of_a_hit_too(bench: Bench, double: Any) -> None:
    store = Saving()
    outcomes = [bench.run(double, {"number": 4, "noise": at}, store=store) for at in range(2)]
    assert bench.kinds(*outcomes) == ["miss", "hit"] and bench.calls == [4]
    assert store.saved == [("run", 8), ("run", 8)]


def test_a_skip_is_not_saved_when_it_comes_from_the_cache(bench: Bench) -> None:
    @worker
    def leave(number: int) -> Any:
        return Skip("not today")

    store = Saving()
    outcomes = [bench.run(leave, {"number": 1}, store=store) for _ in range(2)]
    assert bench.kinds(*outcomes) == ["miss", "hit"] and store.saved == []


def test_a_large_result_is_one_file_with_several_names(bench: Bench, tmp_path: Path) -> None:
    values = ValuesFolder(tmp_path / "values")

    @worker
    def much(size: int) -> str:
        bench.calls.append(size)
        return "x" * size

    options: Any = {"values": values, "inline_limit": INLINE}
    first, again = (bench.run(much, {"size": 100_000}, **options) for _ in range(2))
    assert bench.kinds(first, again) == ["miss", "hit"] and bench.calls == [100_000]
    assert first.ref and again.ref and first.ref != again.ref and again.result == b""
    assert values.read(again.ref) == values.read(first.ref) == pack("x" * 100_000)
    assert values.file(first.ref).stat().st_nlink == 3
    values.remove_run("run")
    third = bench.run(much, {"size": 100_000}, **options)
    assert bench.kinds(third) == ["hit"] and len(values.read(third.ref or "")) == third.size
    assert [file.name for file in tmp_path.glob("values/run/*/*/.*")] == []


def test_a_large_result_without_values_folder_is_copied(bench: Bench) -> None:
    @worker
    def much() -> str:
        return "x" * 100_000

    first, again = (bench.run(much, inline_limit=None) for _ in range(2))
    assert bench.kinds(first, again) == ["miss", "hit"]
    assert again.result == first.result and len(bench.files()) == 2


def test_on_a_file_system_without_links_everything_is_copied(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*names: Any) -> None:
        raise OSError("no links here")

    @worker
    def much(size: int) -> str:
        return "x" * size

    monkeypatch.setattr(os, "link", refuse)
    values = ValuesFolder(tmp_path / "values")
    first, again = (bench.run(much, {"size": 100_000}, values=values, inline_limit=INLINE) for _ in range(2))
    small = [bench.run(much, {"size": 10}) for _ in range(2)]
    assert bench.kinds(first, again, *small) == ["miss", "hit", "miss", "hit"]
    assert values.read(again.ref or "") == values.read(first.ref or "")
    assert values.file(again.ref or "").stat().st_nlink == 1
    assert [file.name for file in tmp_path.rglob(".*.*") if file.name != ".values.id.lock"] == []


def test_what_one_kind_of_process_has_kept_the_other_reads(bench: Bench, tmp_path: Path) -> None:
    """A local run keeps everything inline, a Broker's process hands large results over by reference."""

    @worker
    def much() -> str:
        return "x" * 100_000

    values = ValuesFolder(tmp_path / "values")
    bench.run(much, inline_limit=None)
    outcome = bench.run(much, values=values, inline_limit=INLINE)
    assert bench.kinds(outcome) == ["hit"] and len(values.read(outcome.ref or "")) == outcome.size
    assert unpack(bench.run(much, inline_limit=None).result) == "x" * 100_000


# Damage ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["entry", "large"])
@pytest.mark.parametrize("what", ["cut", "emptied", "flipped", "gone"])
def test_a_damaged_entry_is_a_miss_is_removed_and_counted(bench: Bench, part: str, what: str) -> None:
    @worker
    def much() -> str:
        bench.calls.append(1)
        return "x" * 100_000

    bench.run(much, inline_limit=None)
    (file,) = [file for file in bench.files() if ("~" in file.name) == (part == "large")]
    if what == "gone":
        file.unlink()
    else:
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes({"cut": content[: len(content) // 2], "emptied": b"", "flipped": content}[what])
    again, third = (bench.run(much, inline_limit=None) for _ in range(2))
    assert again.kind == "success" and unpack(again.result) == "x" * 100_000
    vanished = part == "entry" and what == "gone"
    assert bench.kinds(again, third) == ["miss" if vanished else "damaged", "hit"] and len(bench.calls) == 2
    assert len(bench.folder.damaged()) == (0 if vanished else 1)
    assert again.cache.reason == GONE if vanished else "damaged" in again.cache.reason


def test_an_entry_under_another_key_is_damage(bench: Bench, double: Any) -> None:
    bench.run(double, {"number": 1})
    bench.run(double, {"number": 2})
    first, second = bench.files()
    second.write_bytes(first.read_bytes())
    outcomes = [bench.run(double, {"number": number}) for number in (1, 2)]
    assert sorted(bench.kinds(*outcomes)) == ["damaged", "hit"]
    assert [unpack(outcome.result) for outcome in outcomes] == [2, 4]


def test_a_folder_that_cannot_be_used_is_a_reason_and_no_failure(bench: Bench, double: Any, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, and no folder")
    outcome = bench.run(double, {"number": 4})
    assert outcome.kind == "success" and unpack(outcome.result) == 8
    assert outcome.cache.kind in ("refused", "miss") and "ot a directory" in outcome.cache.reason


def test_a_full_disk_is_a_reason_and_leaves_nothing_behind(
    bench: Bench, double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, content: bytes) -> None:
        path.write_bytes(content[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("headrace.workers.cache.folder.write_synced", refuse)
        outcomes = [bench.run(double, {"number": 4}) for _ in range(2)]
    assert [outcome.kind for outcome in outcomes] == ["success", "success"] and bench.kinds(*outcomes) == ["miss"] * 2
    assert "could not be kept: [Errno 28] No space left" in outcomes[0].cache.reason
    assert bench.files() == []
    assert bench.kinds(*(bench.run(double, {"number": 4}) for _ in range(2))) == ["miss", "hit"]


def test_a_process_without_a_cache_says_so(bench: Bench, double: Any) -> None:
    execution = bench.lab.execution(double)
    assignment = bench.lab.assignment("job", worker="double", cache=True)
    outcome = execution.run(RunHeader("run", pack({"number": 1})), assignment)
    assert outcome.kind == "success" and outcome.cache.kind == "refused"


# Bounds ---------------------------------------------------------------------------------------------------------------


def put(folder: CacheFolder, number: int, size: int = 100, age: float = 0.0, name: str = "w") -> str:
    """An entry that was used that many seconds ago."""
    recipe = Recipe(worker=name, inputs={"n": str(number).encode()})
    folder.put(Entry(key=recipe.key, recipe=recipe), bytes(size), (f"{name}{number}",))
    used = time.time() - age
    os.utime(folder.file(recipe.key), (used, used))
    return recipe.key


def kept(folder: CacheFolder) -> set[str]:
    return {one.key for one in listed(folder)}


def test_what_was_not_used_for_too_long_is_swept(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path)
    old, young = put(folder, 1, age=31 * DAY), put(folder, 2, age=29 * DAY)
    assert sweep(folder, Bounds()) == 1
    assert kept(folder) == {young}
    assert folder.last_at("w1") is None and folder.last_at("w2") == young and old != young


def test_what_does_not_fit_goes_beginning_with_what_was_used_longest_ago(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path)
    keys = [put(folder, number, size=100_000, age=100.0 - number) for number in range(10)]
    assert sweep(folder, Bounds(largest=550_000)) == 6
    assert kept(folder) == set(keys[6:])
    assert sorted(file.name for file in tmp_path.glob("entries/*/*~*")) and len(list(tmp_path.glob("entries/*/*"))) == 8
    assert sweep(folder, Bounds(largest=550_000)) == 0


def test_a_hit_keeps_an_entry_young(bench: Bench, double: Any) -> None:
    first = bench.run(double, {"number": 1})
    file = bench.folder.file(first.cache.key)
    os.utime(file, (1e9, 1e9))
    assert bench.kinds(bench.run(double, {"number": 1})) == ["hit"]
    assert time.time() - file.stat().st_mtime < 60


def test_a_sweep_is_due_every_ten_minutes_or_after_much_was_written(tmp_path: Path) -> None:
    folder, bounds = CacheFolder(tmp_path), Bounds(largest=1_000_000)
    put(folder, 1)
    assert sweep_when_due(folder, bounds, 0)
    assert not sweep_when_due(folder, bounds, 100_000)
    assert sweep_when_due(folder, bounds, 100_001)
    os.utime(tmp_path / "swept", (1e9, 1e9))
    assert sweep_when_due(folder, bounds, 0)


def test_nobody_waits_for_a_sweep_of_somebody_else(tmp_path: Path) -> None:
    import fcntl

    folder = CacheFolder(tmp_path)
    put(folder, 1, age=100 * DAY)
    with open(tmp_path / "swept", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert sweep(folder, Bounds()) == 0
        put(folder, 2)
        assert folder.get(put(folder, 3)) is not None
    assert sweep(folder, Bounds()) == 1


def test_clearing_takes_all_or_what_is_old_or_of_one_worker(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path)
    old, mine, other = put(folder, 1, age=2 * DAY), put(folder, 2, size=100_000), put(folder, 3, name="other")
    assert clear(folder, older=DAY)[0] == 1 and kept(folder) == {mine, other} and old not in kept(folder)
    assert clear(folder, worker="other")[0] == 1 and kept(folder) == {mine}
    count, freed = clear(folder)
    assert count == 1 and freed > 100_000
    assert [file for file in tmp_path.rglob("*") if not file.is_dir()] == []
    assert clear(CacheFolder(tmp_path / "nowhere")) == (0, 0)


def test_what_a_killed_writer_has_left_is_tidied_up_when_it_is_old(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path)
    key = put(folder, 1)
    left = folder.file(key).with_name(f".{key}.abc")
    left.write_bytes(b"half an ent")
    tidy(folder)
    assert left.exists(), "somebody may be writing it"
    assert kept(folder) == {key} and folder.get(key) is not None


# Many at once ---------------------------------------------------------------------------------------------------------

WRITER = """
import os, sys
from headrace.pipeline.recipe import Recipe
from headrace.workers.cache.entry import Damaged, Entry
from headrace.workers.cache.folder import CacheFolder
folder, mine = CacheFolder(sys.argv[1]), bytes([int(sys.argv[2])])
print("ready", flush=True)
number = 0
while True:
    number += 1
    recipe = Recipe(worker="w", inputs={"n": str(number).encode()})
    folder.put(Entry(key=recipe.key, recipe=recipe, size=200_000), mine * 200_000, ("w",))
    try:
        found = folder.get(recipe.key)
    except Damaged as error:  # removed by one while another one wrote: said, and never served
        assert "gone" in str(error)
        found = None
    assert found is None or len(set(found.packed)) == 1 and len(found.packed) == 200_000
    if number % 7 == 0:
        folder.remove(recipe.key)
    print(number, flush=True)
"""


def test_writers_that_are_killed_in_the_middle_leave_nothing_that_is_wrong(tmp_path: Path) -> None:
    """Several processes write the same keys with results of their own, and are killed; a reader sees whole ones."""
    for turn in range(3):
        lines = [[sys.executable, "-c", WRITER, str(tmp_path), str(number)] for number in range(3)]
        writers = [subprocess.Popen(line, stdout=subprocess.PIPE, text=True) for line in lines]
        try:
            for one in writers:
                assert one.stdout is not None and one.stdout.readline() == "ready\n"
            for _ in range(5 + turn):
                assert writers[0].stdout is not None and writers[0].stdout.readline(), "a writer has failed"
        finally:
            for one in writers:
                one.send_signal(signal.SIGKILL)
                one.communicate()
    folder = CacheFolder(tmp_path)
    whole = 0
    for one in list(listed(folder)):
        try:
            found = folder.get(one.key)
        except Damaged as error:  # removed by one while another one wrote: said, and never served
            assert "gone" in str(error)
            continue
        assert found is not None and len(set(found.packed)) == 1 and len(found.packed) == 200_000
        whole += 1
    assert whole
