from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from headrace.pipeline.answers import Choose, Graft, RetryAfter, Skip
from headrace.pipeline.errors import ConfigError, NotFound
from headrace.pipeline.group import Group
from headrace.pipeline.job import Job
from headrace.pipeline.local import run_pipeline
from headrace.pipeline.options import Gather, Retry
from headrace.pipeline.pipeline import Pipeline
from headrace.stores.memory import MemoryStore
from headrace.workers.base import Worker
from headrace.workers.current import current
from headrace.workers.functions import worker


class Words(Worker):
    requires = ("text",)

    def process(self, data):
        return {"words": data["text"].split()}


class Count(Worker):
    requires = ("words",)

    def process(self, data):
        return {"count": len(data["words"])}


class Explode(Worker):
    def process(self, data):
        raise ValueError("boom")


@worker
def one():
    return 1


@worker
def plus(number):
    return number + 1


@worker
def numbers(count=3):
    return list(range(count))


def children() -> list[psutil.Process]:
    """What this test has started and not ended: services of the whole session are older."""
    mine = [child for child in psutil.Process().children(recursive=True) if child.status() != psutil.STATUS_ZOMBIE]
    return [child for child in mine if child.pid not in OLDER]


OLDER: set[int] = set()


@pytest.fixture(autouse=True)
def only_what_this_test_starts() -> None:
    OLDER.clear()
    OLDER.update(child.pid for child in children())


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


PATIENCE = 60.0
"""Seconds: only what would never happen takes longer."""


def ends(pid: int) -> bool:
    """A process that was killed is there until the system finds the time to end it."""
    deadline = time.monotonic() + PATIENCE
    while is_alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not is_alive(pid)


def leave(file: Path, text: str) -> None:
    """Who sees the file sees all of it."""
    beside = file.with_suffix(".new")
    beside.write_text(text)
    beside.rename(file)


def wait_for(file: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        assert time.monotonic() < deadline, f"nobody has left {file}"
        time.sleep(0.01)


# The plain way


def test_a_pipeline_of_classes_runs_here_without_a_store():
    pipeline = Pipeline({Job("Words"): Job("Count")}, data={"text": "one two three"})
    run = pipeline.run(workers=[Words, Count])
    assert run.ok and run.state == "success" and run.error is None
    assert run.results == {"Words": {"words": ["one", "two", "three"]}, "Count": {"count": 3}}
    assert run.states == {"Words": "success", "Count": "success"}
    assert run.duration > 0 and len(run.id) == 32
    assert pipeline.id is None


def test_functions_that_a_pipeline_was_given_need_no_module():
    pipeline = Pipeline({Job(one): Job(plus, bind="item")})
    assert pipeline.run().results == {"one": 1, "plus": 2}


def test_values_flow_as_arguments_in_edge_order_and_by_name():
    @worker
    def minus(a, b):
        return a - b

    @worker
    def told(**given):
        return given

    graph = [
        (Job("ten"), Job(minus, bind="args")),
        (Job("three"), Job("minus")),
        (Job("minus"), Job(told, bind="named", data={"own": True})),
    ]

    @worker
    def ten():
        return 10

    @worker
    def three():
        return 3

    run = Pipeline(graph, data={"shared": 1}).run(workers=[ten, three])
    assert run.results["minus"] == 7
    assert run.results["told"] == {"shared": 1, "own": True, "minus": 7}


def test_a_failure_is_told_with_job_reason_and_traceback():
    run = Pipeline({Job(Explode): Job(one)}).run()
    assert run.state == "failed" and not run.ok
    assert (run.error.job, run.error.path, run.error.reason) == ("Explode", (), "ValueError: boom")
    assert 'raise ValueError("boom")' in run.error.traceback
    assert run.states == {"Explode": "failed", "one": "cancelled"}
    assert run.results == {}


def test_a_module_is_given_as_itself_or_by_name(tmp_path, monkeypatch):
    (tmp_path / "my_local_workers.py").write_text(
        "from headrace import Worker\n\nclass Hello(Worker):\n    def process(self, data):\n        return 'hello'\n"
    )
    monkeypatch.chdir(tmp_path)
    assert Pipeline({Job("Hello"): None}).run(workers="my_local_workers").results == {"Hello": "hello"}
    module = ModuleType("made")
    module.Words = Words
    module.__all__ = ["Words"]
    assert Pipeline({Job("Words"): None}, {"text": "a"}).run(workers=module).results == {"Words": {"words": ["a"]}}


def test_a_worker_that_nobody_offers_is_refused_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(NotFound, match=r"no worker 'Nobody'.*job 'x' needs it"):
        Pipeline({Job("Nobody", name="x"): None}).run(workers=[one])


def test_stores_are_used_as_objects_or_classes():
    store = MemoryStore()
    pipeline = Pipeline({Job("Words"): Job("Count")}, data={"text": "one two"})
    assert pipeline.run(workers=[Words, Count], store=store).results["Count"] == {"count": 2}
    assert pipeline.run(workers=[Words, Count], store=MemoryStore).results["Count"] == {"count": 2}
    with pytest.raises(ConfigError, match="no retrieve"):
        pipeline.run(workers=[Words, Count], store=object())


def test_a_run_knows_its_attempt_from_inside_and_events_are_told():
    @worker
    def look():
        job = current()
        job.progress(1, 2, "half")
        return [job.job, job.attempt, list(job.path)]

    events = []
    run = run_pipeline(Pipeline({Job(look): None}), on_event=events.append)
    assert run.results == {"look": ["look", 1, []]}
    assert [event.kind for event in events] == ["started", "progress", "ended", "finished"]
    assert (events[1].done, events[1].total, events[1].message) == (1.0, 2.0, "half")


# Branches


def test_spread_and_gather():
    @worker(name="add")
    def add_all(values):
        return sum(values)

    graph = {Job(numbers, spread=True): Job(plus, bind="item"), Job("plus"): Job("add", gather=Gather(), name="sum")}
    run = Pipeline(graph).run(workers=[add_all])
    assert run.results == {"numbers": [0, 1, 2], "plus": [1, 2, 3], "sum": 6}
    assert run.states == {"numbers": "success", "plus": "success", "sum": "success"}


def test_windows_keys_and_empty_lists():
    @worker
    def tagged(number):
        return {"number": number, "odd": number % 2 == 1}

    @worker
    def total(items):
        return sum(item["number"] for item in items)

    by_key = {
        Job(numbers, spread=True, data={"count": 5}): Job(tagged, bind="item"),
        Job("tagged"): Job(total, gather=Gather(by="odd")),
    }
    assert Pipeline(by_key).run().results["total"] == [0 + 2 + 4, 1 + 3]
    windows = {
        Job(numbers, spread=True, data={"count": 5}): Job(tagged, bind="item"),
        Job("tagged"): Job(total, gather=Gather(size=2)),
    }
    assert Pipeline(windows).run().results["total"] == [1, 5, 4]
    empty = {
        Job(numbers, spread=True, data={"count": 0}): Job(tagged, bind="item"),
        Job("tagged"): Job(total, gather=Gather()),
    }
    run = Pipeline(empty).run()
    assert run.results == {"numbers": [], "tagged": [], "total": 0}


def test_choices_and_skips_and_grafts():
    @worker
    def choose():
        return Choose(["left"], result="chosen")

    @worker
    def left():
        return Skip("not today")

    @worker
    def right():
        return "right"

    @worker
    def plant():
        return Graft("planted", jobs=[Job(one, name="fresh")])

    run = Pipeline({Job(choose): [Job(left), Job(right)], Job(plant): None}).run(workers=[one])
    assert run.states == {
        "choose": "success",
        "left": "skipped",
        "right": "skipped",
        "plant": "success",
        "fresh": "success",
    }
    assert run.results == {"choose": "chosen", "plant": "planted", "fresh": 1}


# Time and failures


def test_a_job_is_tried_again_after_its_delay():
    tries = []

    @worker
    def flaky():
        tries.append(time.monotonic())
        if len(tries) < 3:
            raise ValueError("not yet")
        return len(tries)

    pipeline = Pipeline({Job(flaky, retry=Retry(3, delay=0.05, jitter=False)): None})
    assert pipeline.run().results == {"flaky": 3}
    assert tries[1] - tries[0] >= 0.05 and tries[2] - tries[1] >= 0.05


def test_a_worker_may_ask_to_be_tried_again():
    tries = []

    @worker
    def later():
        tries.append(1)
        if len(tries) == 1:
            raise RetryAfter(0.01)
        return "now"

    assert Pipeline({Job(later): None}).run().results == {"later": "now"}


def test_hooks_are_called_with_the_result_and_the_error():
    called = []

    @worker
    def note(**told):
        called.append(told)

    hooks = {"failure": Job(note, bind="named"), "success": Job(note, bind="named"), "always": Job(note, bind="named")}
    Pipeline({Job(one): None}, hooks=hooks).run()
    assert [told["state"] for told in called] == ["success", "success"]
    assert called[0]["result"] == {"one": 1} and called[0]["error"] is None
    called.clear()
    Pipeline({Job(Explode): None}, hooks=hooks).run()
    assert [told["error"]["reason"] for told in called] == ["ValueError: boom"] * 2


def test_the_policies_of_a_run_and_of_a_group():
    graph = {Job(Explode): Job(one), Job(numbers): None}
    assert Pipeline(graph, on_error="block").run().states == {
        "Explode": "failed",
        "one": "skipped",
        "numbers": "success",
    }
    assert Pipeline(graph, on_error="continue").run().state == "success"
    grouped = Pipeline(graph, on_error="block", groups=[Group("g", ["Explode", "one"], on_error="fail")])
    assert grouped.run().states == {"Explode": "failed", "one": "cancelled", "numbers": "success"}


def test_priority_decides_who_is_first():
    order = []

    def noting(name):
        def note():
            order.append(name)

        return worker(name=name)(note)

    jobs = {Job(noting("low"), priority=-1): None, Job(noting("high"), priority=5): None, Job(noting("plain")): None}
    Pipeline(jobs).run()
    assert order == ["high", "plain", "low"]


def test_a_run_of_runs():
    inner = Pipeline({Job(one): Job(plus, bind="item")})

    @worker
    def read(value):
        return value["plus"]

    run = Pipeline({Job(inner, name="inner"): Job(read, bind="item")}).run()
    assert run.results == {"inner": {"one": 1, "plus": 2}, "read": 2}
    failed = Pipeline({Job(Pipeline({Job(Explode): None}), name="inner"): None}).run()
    assert failed.error.job == "inner" and "'Explode' failed: ValueError: boom" in failed.error.reason


def test_a_local_run_waits_for_no_other_run():
    with pytest.raises(ConfigError, match="cannot wait"):
        Pipeline({Job(one): None}, after=["0" * 32]).run()


# Processes


def test_a_job_that_runs_too_long_is_stopped_in_its_process():
    @worker
    def slow():
        time.sleep(600)

    run = Pipeline({Job(slow, timeout=0.2): Job(one)}).run()
    assert run.error.kind == "timeout" and "timeout" in run.error.reason
    assert run.states == {"slow": "failed", "one": "cancelled"}
    assert children() == []


def test_a_job_with_a_timeout_that_keeps_it_returns_its_result():
    assert Pipeline({Job(one, timeout=300): Job(plus, bind="item", timeout=300)}).run().results == {"one": 1, "plus": 2}


def test_a_deadline_ends_the_run():
    @worker
    def slow():
        time.sleep(600)

    run = Pipeline({Job(slow): Job(one)}, deadline=0.2).run()
    assert run.state == "cancelled" and run.error.reason == "deadline exceeded" and run.error.job is None
    assert children() == []


@pytest.mark.parametrize("processes", [-1, "2", 1.5, None, True])
def test_a_number_of_processes_that_cannot_be_is_refused_before_anything_runs(processes):
    with pytest.raises(ValueError, match="run: processes must be a whole number from 0 on, not"):
        Pipeline({Job("Explode"): None}).run(workers=[Explode], processes=processes)


def test_processes_run_jobs_side_by_side_with_the_same_results(tmp_path):
    @worker
    def meet():
        (tmp_path / str(os.getpid())).touch()
        deadline = time.monotonic() + PATIENCE
        while len(list(tmp_path.iterdir())) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
        return os.getpid()

    run = Pipeline({Job(meet, name=f"m{n}"): None for n in range(4)}).run(workers=[meet], processes=4)
    assert len(set(run.results.values())) == 4 and os.getpid() not in run.results.values()
    assert children() == []


def test_no_more_jobs_than_max_active_run_at_the_same_time(tmp_path):
    @worker
    def alone():
        mark = tmp_path / "busy"
        mark.touch(exist_ok=False)
        time.sleep(0.02)
        mark.unlink()

    jobs = {Job(alone, name=f"a{n}"): None for n in range(4)}
    assert Pipeline(jobs, max_active=1).run(workers=[alone], processes=3).ok


def test_commands_run_here_and_in_processes():
    pipeline = Pipeline({Job.shell("echo '{\"said\": 1}'", name="say"): Job.command(["cat"], name="read", bind="item")})
    here, there = pipeline.run(), pipeline.run(processes=1)
    assert here.ok, here.error
    assert here.results == there.results and here.results["say"] == {"said": 1}


def test_branches_in_processes_read_results_that_others_returned():
    @worker(name="total")
    def total(values):
        return sum(values)

    graph = {
        Job(numbers, spread=True, data={"count": 40}): Job(plus, bind="item"),
        Job("plus"): Job(total, gather=Gather()),
    }
    run = Pipeline(graph).run(processes=3)
    assert run.results["total"] == sum(range(1, 41))


def test_a_store_that_was_given_as_an_object_sees_what_processes_save():
    store = MemoryStore()
    pipeline = Pipeline({Job("Words"): Job("Count")}, data={"text": "one two three"})
    run = pipeline.run(workers=[Words, Count], store=store, processes=2)
    assert run.results["Count"] == {"count": 3}
    assert {"words": ["one", "two", "three"]} in [saved.result for saved in store.results(run.id)]


def test_the_exceptions_of_a_lent_store_keep_their_names():
    class Needy(Worker):
        requires = ("nowhere",)

        def process(self, data):
            return data

    here = Pipeline({Job(Needy): None}).run(store=MemoryStore())
    there = Pipeline({Job(Needy): None}).run(store=MemoryStore(), processes=1)
    assert here.error.reason == there.error.reason and there.error.reason.startswith("MissingInput")


def test_a_process_that_dies_is_tried_again_and_then_quarantined(tmp_path):
    @worker
    def die():
        with open(tmp_path / "tries", "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)

    run = Pipeline({Job(die): None}).run(processes=1)
    assert (tmp_path / "tries").read_text() == "xxx"
    assert run.error.kind == "died" and "quarantined" in run.error.reason and "SIGKILL" in run.error.reason


def test_a_failure_stops_what_runs_elsewhere_with_everything_that_came_from_it(tmp_path, monkeypatch):
    monkeypatch.setattr("headrace.workers.pools.forked.GRACE", 0.2)

    @worker
    def stubborn():
        import subprocess

        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        child = subprocess.Popen(["sleep", "300"])
        leave(tmp_path / "pid", str(child.pid))
        child.wait()

    @worker
    def fail():
        wait_for(tmp_path / "pid")
        raise ValueError("now")

    run = Pipeline({Job(stubborn): None, Job(fail): None}).run(processes=2)
    assert run.states == {"stubborn": "cancelled", "fail": "failed"}
    assert ends(int((tmp_path / "pid").read_text()))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Choose(["stranger"], 5), "it chose 'stranger'"),
        (Graft(5, jobs=[Job("told")]), "its graft cannot be"),
    ],
)
def test_an_answer_that_cannot_be_honoured_has_no_result_and_is_told_as_a_failure(answer, why):
    @worker
    def answers():
        return answer

    @worker
    def told(**given):
        return given["answers"]["_error"]

    run = Pipeline({Job(answers, on_error="continue"): Job(told, bind="named")}).run()
    assert run.states == {"answers": "failed", "told": "success"}
    assert list(run.results) == ["told"] and why in run.results["told"]


@pytest.mark.parametrize("options", [{"timeout": 0.1}, {}])
def test_what_an_attempt_has_started_ends_with_it_when_it_is_stopped(tmp_path, options):
    """The worker itself ends at the soft signal; its children are told by nobody, and one has a session of its own."""
    pids = tmp_path / "pids"

    @worker
    def starts():
        import subprocess

        started = [subprocess.Popen(["sleep", "300"], start_new_session=new) for new in (False, True)]
        leave(pids, " ".join(str(one.pid) for one in started))
        time.sleep(600)

    @worker
    def beside():
        if not options:
            raise ValueError("now")

    def hold(event):
        """No time is over before this process looks, and it looks when both have begun."""
        if (event.kind, event.job) == ("started", "beside"):
            wait_for(pids)

    pipeline = Pipeline({Job(starts, **options): None, Job(beside, priority=-1): None})
    run = pipeline.run(processes=2, on_event=hold)
    assert run.states["starts"] == ("failed" if options else "cancelled")
    assert (run.error.kind == "timeout") == bool(options)
    started = pids.read_text().split()
    assert len(started) == 2 and all(ends(int(pid)) for pid in started)


@pytest.mark.parametrize(
    ("rule", "tries"),
    [
        ({"on": [OSError]}, 3),
        ({"on": "ConnectionError"}, 3),
        ({"on": [Exception]}, 3),
        ({"on": [ValueError]}, 1),
        ({"never": [OSError]}, 1),
        ({"on": [ConnectionError], "never": ["Gone"]}, 1),
    ],
)
def test_retries_know_an_exception_by_its_bases_too(rule, tries):
    seen = []

    class Gone(ConnectionResetError):
        pass

    @worker
    def asks():
        seen.append(1)
        raise Gone("no")

    assert Pipeline({Job(asks, retry=Retry(3, **rule)): None}).run().state == "failed"
    assert len(seen) == tries


def test_ctrl_c_goes_through_and_leaves_nothing_behind():
    @worker
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pipeline({Job(interrupt): Job(one)}).run()

    @worker
    def slow():
        time.sleep(600)

    def press(event):
        if (event.kind, event.job) == ("started", "b"):
            assert len(children()) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Pipeline({Job(slow, name="a"): None, Job(slow, name="b"): None}).run(
            processes=2, on_event=press, workers=[slow]
        )
    assert children() == []


def test_progress_of_a_job_in_a_process_is_told_here():
    @worker
    def work():
        current().progress(3, 4, "nearly")

    events = []
    run_pipeline(Pipeline({Job(work): None}), processes=1, on_event=events.append)
    assert [event.message for event in events if event.kind == "progress"] == ["nearly"]


def test_a_thousand_jobs_take_no_time_to_speak_of():
    graph = {Job(numbers, spread=True, data={"count": 1000}): Job(plus, bind="item")}
    began = time.process_time()
    assert len(Pipeline(graph).run().results["plus"]) == 1000
    assert time.process_time() - began < 10
