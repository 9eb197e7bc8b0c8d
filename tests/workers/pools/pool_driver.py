"""A pool with real processes, and an owner that waits for facts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from headrace.pipeline.payload import pack as pack_value
from headrace.pipeline.payload import unpack
from headrace.pipeline.task import Assignment, Outcome, RunHeader, Task, pack_task
from headrace.workers import trees
from headrace.workers.messages import Ended, Settings
from headrace.workers.pool import PoolEvent, Said, SlotDown, SlotUp, pack
from headrace.workers.pools.local import LocalPool

RUN = "r" * 32
PATIENCE = 60.0
WORKERS = '''
import os, subprocess, sys, time
from headrace import worker

@worker
def noop(): return None

@worker
def nap(seconds): time.sleep(seconds); return seconds

@worker
def echo(number=None, text=None): return number

@worker
def touch(path, seconds):
    open(path, "w").close()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.05)  # a signal that comes right before a sleep is seen after it

@worker
def gate(began, ends):
    """It goes on until somebody makes that file."""
    open(began, "w").close()
    while not os.path.exists(ends):
        time.sleep(0.005)

@worker
def finish(began, ended, seconds):
    open(began, "w").close()
    time.sleep(seconds)
    open(ended, "w").close()

@worker
def die(signal): print("last words", flush=True); os.kill(os.getpid(), signal)

@worker
def leave(code): os._exit(code)

@worker
def family(path, seconds):
    """Children that try to get away: in the group, in a session of their own, orphaned, without any mark."""
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    pids = [subprocess.Popen(sleep).pid, subprocess.Popen(sleep, start_new_session=True).pid]
    pids.append(subprocess.Popen(sleep, start_new_session=True, env={}).pid)
    orphan = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:], start_new_session=True, stdout=-3).pid)"
    pids.append(int(subprocess.check_output([sys.executable, "-c", orphan, *sleep])))
    with open(path + ".new", "w") as file:
        file.write(" ".join(map(str, pids)))
    os.rename(path + ".new", path)
    time.sleep(seconds)
'''

E = TypeVar("E")


def until(fact: Callable[[], Any], what: str = "it") -> Any:
    """Wait for a fact; the answer is what it was."""
    end = time.monotonic() + PATIENCE
    while not (found := fact()):
        assert time.monotonic() < end, f"{what} has not happened within {PATIENCE:g} s"
        time.sleep(0.005)
    return found


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def attempt(lease: int, worker: str, **data: Any) -> tuple[RunHeader, Assignment]:
    own = pack_value(data) if data else None
    task = pack_task(Task(worker=worker, bind="literal", data=own))
    return RunHeader(RUN), Assignment(lease, RUN, worker, (lease,), 1, worker, task)


class Driver:
    """`heard` is everything that the pool has told, in order."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        (folder / "workers.py").write_text(WORKERS)
        self.pool = LocalPool(**options)
        self.heard: list[PoolEvent] = []

    def settings(self, slot: int, **changes: Any) -> Settings:
        output = str(self.folder / f"worker-{slot}.log")
        return Settings(**{"folder": str(self.folder), "slot": slot, "output": output, **changes})

    def start(self, *slots: int) -> None:
        for slot in slots:
            self.pool.start(slot, self.settings(slot))
        for slot in slots:
            self.wait_for(SlotUp, slot)

    def run(self, slot: int, lease: int, worker: str, **data: Any) -> None:
        assert self.pool.feed(slot, pack(*attempt(lease, worker, **data)))

    def busy(self, slot: int, lease: int) -> Path:
        """Give it an attempt that has begun now, and ends when the file is made whose path is the answer."""
        began, ends = self.folder / f"began-{lease}", self.folder / f"ends-{lease}"
        self.run(slot, lease, "gate", began=str(began), ends=str(ends))
        until(began.exists, f"the beginning of attempt {lease}")
        return ends

    def listen(self, timeout: float = 0.0) -> None:
        self.heard += self.pool.poll(timeout)

    def wait_for(self, kind: type[E], slot: int | None = None) -> E:
        """The next event of this kind, taken out of what was heard."""
        end = time.monotonic() + PATIENCE
        while True:
            for event in self.heard:
                if isinstance(event, kind) and slot in (None, event.slot):  # type: ignore[attr-defined]
                    self.heard.remove(event)
                    return event
            assert time.monotonic() < end, f"no {kind.__name__} of slot {slot}, only {self.heard}"
            self.listen(0.1)

    def outcome(self, slot: int | None = None) -> Outcome:
        said = self.wait_for(Said, slot)
        assert isinstance(said.message, Ended), said
        return said.message.outcome

    def result(self, slot: int | None = None) -> Any:
        outcome = self.outcome(slot)
        assert outcome.kind == "success", outcome
        return unpack(outcome.result)

    def down(self, slot: int) -> SlotDown:
        return self.wait_for(SlotDown, slot)

    def family(self, slot: int, seconds: float = 600.0) -> list[int]:
        """Start a job with children; their pids."""
        path = self.folder / f"family-{slot}"
        self.run(slot, 1000 + slot, "family", path=str(path), seconds=seconds)
        until(path.exists, "the family")
        pids = [int(word) for word in path.read_text().split()]
        assert all(map(is_alive, pids))
        return pids

    def left(self) -> set[psutil.Process]:
        return trees.alive(trees.marked(trees.TREE, self.pool.tree))

    def stop_signal(self, pid: int, number: int) -> None:
        os.kill(pid, number)
