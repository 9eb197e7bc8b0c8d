"""The door to user code: whatever a worker does to its process, its job has an end that says why, and others run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace import Job, Pipeline

WORKERS = '''
import ctypes, os, signal, subprocess, sys, threading, time
from headrace import worker


class Mute(Exception):
    """Cannot say what is wrong with it."""

    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


class Strange:
    def __repr__(self):
        raise RuntimeError("no words either")


class Base(BaseException):
    pass


@worker(requires=[])
def add_one(number):
    return {"number": number + 1}


@worker
def prints_a_lot():
    line = "x" * 99_999
    for _ in range(1000):
        print(line)
    print("the last line")
    raise ValueError("after all that")


@worker
def returns_an_object():
    return Strange()


@worker
def returns_a_generator():
    return (number for number in range(3))


@worker
def returns_itself():
    value = []
    value.append(value)
    return value


@worker
def returns_what_is_nested_too_deep():
    value = None
    for _ in range(100_000):
        value = [value]
    return value


@worker
def raises_what_cannot_be_shown():
    raise Mute()


@worker
def raises_a_megabyte():
    raise ValueError("spam " * 2_000_000)


@worker
def raises_no_exception():
    raise Base("not even an Exception")


@worker
def raises_keyboard_interrupt():
    raise KeyboardInterrupt


@worker
def raises_out_of_memory():
    raise MemoryError


@worker
def raises_in_a_group():
    raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])


@worker
def recurses_for_ever():
    return recurses_for_ever()


@worker
def calls_sys_exit():
    sys.exit(3)


@worker
def calls_os_exit():
    os._exit(42)


@worker
def segfaults():
    ctypes.string_at(0)


@worker
def aborts():
    os.abort()


@worker
def kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)


@worker
def writes_into_every_descriptor():
    for number in range(3, 64):
        try:
            os.write(number, b"\\x00\\x00\\x00\\x05spam!" * 3)
        except OSError:
            pass
    time.sleep(0.2)


@worker
def closes_every_descriptor():
    os.closerange(0, 256)


@worker
def closes_its_output():
    sys.stdout.close()
    sys.stderr.close()
    os.close(1)
    os.close(2)
    return "done"


@worker
def takes_its_output_away():
    sys.stdout = sys.stderr = None
    return "done"


@worker
def leaves_children(folder):
    child = subprocess.Popen(["sleep", "600"])
    with open(os.path.join(folder, f"child-{child.pid}"), "w"):
        pass
    return child.pid


@worker
def forks_and_returns_twice():
    os.fork()
    return "done"


@worker
def runs_away(folder):
    """A daemon of the old school: forks twice, opens a session of its own."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            with open(os.path.join(folder, f"child-{os.getpid()}"), "w"):
                pass
            os.execvp("sleep", ["sleep", "600"])
        os._exit(0)
    os.wait()
    time.sleep(600)


@worker
def moves_away():
    os.chdir("/")
    os.environ.clear()
    os.umask(0o777)
    sys.path.clear()
    return os.getcwd()


@worker
def starts_threads():
    for _ in range(50):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    return "done"


@worker
def ignores_signals():
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


@worker
def stops_itself():
    os.kill(os.getpid(), signal.SIGSTOP)
    return "done"


@worker
def catches_everything():
    while True:
        try:
            time.sleep(600)
        except BaseException:
            pass
'''

DEATHS = {
    "calls_os_exit": "42",
    "segfaults": "SIGSEGV",
    "aborts": "SIGABRT",
    "kills_itself": "SIGKILL",
}
FAILURES = {
    "prints_a_lot": "after all that",
    "returns_an_object": "Strange",
    "returns_a_generator": "generator",
    "returns_itself": "contains itself",
    "returns_what_is_nested_too_deep": "nested too deep",
    "raises_what_cannot_be_shown": "Mute",
    "raises_a_megabyte": "spam",
    "raises_no_exception": "not even an Exception",
    "raises_keyboard_interrupt": "KeyboardInterrupt",
    "raises_out_of_memory": "MemoryError",
    "raises_in_a_group": "several",
    "recurses_for_ever": "recursion",
    "calls_sys_exit": "SystemExit",
}
RETURNS = {
    "closes_its_output": "done",
    "takes_its_output_away": "done",
    "forks_and_returns_twice": "done",
    "moves_away": "/",
    "starts_threads": "done",
}


@pytest.fixture(scope="module")
def rude(serving: Any) -> Iterator[Any]:
    """The same cluster, and a second Broker whose workers know no manners."""
    (serving.folder / "rude.py").write_text(WORKERS)
    process = serving.start("broker2", "--workers", "rude")
    serving.joined(brokers=2)
    yield serving
    process.terminate()
    process.wait(60)
    serving.processes.pop("broker2")


def run(rude: Any, job: Job, **data: Any) -> Any:
    with rude.manager() as manager:
        pipeline = Pipeline({job: None}, data=data or None)
        manager.start(pipeline)
        ended = manager.wait(pipeline, 60)
        assert ended.results is not None, "read while the manager is there"
        return ended


@pytest.fixture(autouse=True)
def served(rude: Any) -> Iterator[None]:
    """Whatever the test has done, everybody is there afterwards and works."""
    yield
    for name, process in rude.processes.items():
        assert process.poll() is None, rude.log(name)[-5000:]
    jobs = [Job("add_one", name=f"add{number}") for number in range(8)]
    with rude.manager() as manager:
        pipeline = Pipeline(dict.fromkeys(jobs), data={"number": 1})
        manager.start(pipeline)
        manager.wait(pipeline, 60)
        assert manager.results(pipeline) == {job.name: {"number": 2} for job in jobs}, pipeline.error


@pytest.mark.parametrize("worker", FAILURES)
def test_a_failure_says_what_it_was(rude: Any, worker: str) -> None:
    ended = run(rude, Job(worker))
    assert ended.state == "failed"
    assert FAILURES[worker] in ended.error.reason
    assert len(ended.error.reason) + len(ended.error.traceback) < 100_000


def test_the_last_words_travel_and_the_flood_does_not(rude: Any) -> None:
    ended = run(rude, Job("prints_a_lot"))
    with rude.manager() as manager:
        (fact,) = [fact for _, fact in manager.facts(ended.id) if getattr(fact, "job", None) == "prints_a_lot"]
    assert fact.error.log_tail.endswith("the last line\n") and len(fact.error.log_tail) <= 8192


@pytest.mark.parametrize("worker", DEATHS)
def test_a_process_that_dies_is_replaced_and_the_poison_put_away(rude: Any, worker: str) -> None:
    """Three processes, then no more: the evidence says how they died."""
    ended = run(rude, Job(worker))
    assert ended.state == "failed"
    assert DEATHS[worker] in ended.error.reason
    with rude.manager() as manager:
        deaths = [fact.kind for _, fact in manager.facts(ended.id) if getattr(fact, "job", None) == worker]
    assert deaths == ["died"] * 3


@pytest.mark.parametrize("worker", ["writes_into_every_descriptor", "closes_every_descriptor"])
def test_a_process_that_breaks_its_own_lines_is_replaced(rude: Any, worker: str) -> None:
    ended = run(rude, Job(worker))
    assert ended.state == "failed"


@pytest.mark.parametrize("worker", RETURNS)
def test_bad_manners_that_harm_nobody_are_no_failure(rude: Any, worker: str) -> None:
    ended = run(rude, Job(worker))
    assert ended.state == "success", ended.error
    assert ended.results[worker] == RETURNS[worker]


def test_what_a_job_leaves_behind_ends_with_its_process(daemons: Any, tmp_path: Path) -> None:
    """Children of a job that has ended may go on with it, and not after it."""
    (daemons.folder / "workers.py").write_text(WORKERS)
    daemons.cluster()
    assert run(daemons, Job("leaves_children"), folder=str(tmp_path)).state == "success"
    (pid,) = children(tmp_path)
    daemons.processes["broker"].terminate()
    daemons.processes.pop("broker").wait(60)
    daemons.until(lambda: not alive(pid), what="the child is gone")


@pytest.mark.parametrize("worker", ["ignores_signals", "stops_itself", "catches_everything", "runs_away"])
def test_a_timeout_ends_what_does_not_want_to_end(rude: Any, tmp_path: Path, worker: str) -> None:
    ended = run(rude, Job(worker, timeout=0.3), folder=str(tmp_path))
    assert ended.state == "failed"
    assert "timeout of 0.3 s" in ended.error.reason
    rude.until(lambda: not any(alive(pid) for pid in children(tmp_path)), what="nothing of it is left")


def children(folder: Path) -> list[int]:
    return [int(file.name.removeprefix("child-")) for file in folder.glob("child-*")]


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != "zombie"
    except psutil.NoSuchProcess:
        return False


def test_the_brokers_own_folder_is_where_it_was(rude: Any) -> None:
    assert os.path.samefile(psutil.Process(rude.processes["broker2"].pid).cwd(), rude.folder)
