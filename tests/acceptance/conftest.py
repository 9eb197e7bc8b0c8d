"""Real daemons for the acceptance tests: started through the installed command, killed as the tests please."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from headrace import Job, Pipeline, PipelineManager

WORKERS = '''
import os, time
from headrace import Worker, worker


@worker
def nothing():
    return None


@worker(requires=[])
def nap(seconds=0.2):
    time.sleep(seconds)
    return os.getpid()


@worker
def add_one(number):
    return {"number": number + 1}


@worker
def record(folder, name):
    """Leaves a trace of every execution."""
    with open(os.path.join(folder, "executions"), "a") as file:
        file.write(f"{name}\\n")
    time.sleep(0.01)
    return {"name": name}


@worker
def fail():
    raise ValueError("this one always fails")


@worker
def poison():
    os._exit(42)


@worker
def spawn_and_sleep(folder):
    import subprocess
    child = subprocess.Popen(["sleep", "600"])
    with open(os.path.join(folder, "child"), "w") as file:
        file.write(str(child.pid))
    time.sleep(600)


@worker
def nap_visibly(folder, name, seconds):
    with open(os.path.join(folder, "begun"), "a") as file:
        file.write(f"{name}\\n")
    time.sleep(seconds)


@worker
def wait_for(folder):
    """Until somebody puts a file there."""
    while not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.02)


@worker
def fail_at_length(list_of):
    raise ValueError("spam " * 10_000)


@worker
def text_of(size):
    return "x" * size


@worker
def total(*texts):
    return sum(map(len, texts))


@worker
def list_of(count):
    return list(range(count))


@worker
def size_of_both(text, list_of):
    return len(text) + list_of


class Counter(Worker):
    requires = ["text"]

    def process(self, data):
        return {"length": len(data["text"])}
'''


def wait_until(fact: Callable[[], object], seconds: float = 60.0, what: str = "") -> None:
    """Wait for a fact, never for a time; the limit only ends a test that would hang."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or fact}")
        time.sleep(0.02)


def reserved_port() -> socket.socket:
    """A port that nobody else is given while this socket is open, not even while its daemon is down: what is bound and
    does not listen keeps others away, and lets a daemon in that reuses addresses. Elsewhere than on Linux it would not.
    """
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    return probe


def address_of(probe: socket.socket) -> str:
    address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    if sys.platform != "linux":
        probe.close()
    return address


def lives(process: psutil.Process) -> bool:
    """This very process, and not another one that has its number by now."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


class Daemons:
    """Daemons on free ports, in a folder with a `workers.py` of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._ports = [reserved_port() for _ in range(2)]
        self.api, self.broadcast = map(address_of, self._ports)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._seen: set[psutil.Process] = set()
        (folder / "workers.py").write_text(WORKERS)

    until = staticmethod(wait_until)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """`name` is the command, with a number when there are several: router, broker, broker2, up."""
        command = name.rstrip("0123456789")
        line = [sys.executable, "-m", "headrace", command, "--api", self.api, "--broadcast", self.broadcast]
        if command in ("router", "broker", "up"):
            line += ["--data", str(self.data)]
        if command in ("broker", "up") and "--processes" not in arguments:
            line += ["--processes", "2"]
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen([*line, *arguments], cwd=self.folder, stdout=log, stderr=log, env=self.env())
        self.processes[name] = process
        return process

    def env(self) -> dict[str, str]:
        return {**os.environ, "HEADRACE_API": self.api, "HEADRACE_BROADCAST": self.broadcast}

    def command(self, *arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
        """Run `headrace` as a user would."""
        line = [sys.executable, "-m", "headrace", *arguments]
        return subprocess.run(
            line, cwd=self.folder, env=self.env(), capture_output=True, text=True, timeout=timeout, check=False
        )

    def cluster(self, brokers: int = 1) -> None:
        self.start("router")
        self.start("pipeliner")
        for number in range(brokers):
            self.start(f"broker{number + 1 if number else ''}")

    def joined(self, brokers: int = 1, pipeliners: int = 1) -> None:
        """Wait until so many are there, and nobody else; Brokers with their workers."""
        with self.manager() as manager:
            wait_until(
                lambda: _joined(manager.cluster()) == (brokers, pipeliners),
                what=f"{brokers} Brokers and {pipeliners} Pipeliners have joined",
            )

    def serves(self) -> None:
        """The daemons are the same as ever, and a good pipeline runs."""
        for name, process in self.processes.items():
            assert process.poll() is None, f"the {name} has died:\n{self.log(name)[-5000:]}"
        pipeline = Pipeline({Job("add_one"): Job("add_one", name="again")}, data={"number": 1})
        with self.manager() as manager:
            manager.start(pipeline)
            manager.wait(pipeline, 60)
            assert not pipeline.failed, pipeline.error
            assert manager.results(pipeline) == {"add_one": {"number": 2}, "again": {"number": 3}}

    def kill(self, name: str) -> None:
        self.note_children()
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def note_children(self) -> None:
        """Remember everything that runs now, to see later that nothing of it was left."""
        for process in self.processes.values():
            try:
                self._seen |= set(psutil.Process(process.pid).children(recursive=True))
            except psutil.NoSuchProcess:
                continue

    def children(self, name: str) -> list[psutil.Process]:
        return psutil.Process(self.processes[name].pid).children(recursive=True)

    def manager(self, timeout: float = 60.0) -> PipelineManager:
        return PipelineManager(api=self.api, broadcast=self.broadcast, timeout=timeout)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def left(self) -> list[psutil.Process]:
        """Processes that once belonged to a daemon and still live."""
        return [process for process in self._seen if lives(process)]

    def stop(self) -> None:
        self.note_children()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(60)

    def let_ports_go(self) -> None:
        for port in self._ports:
            port.close()


def _joined(status: dict[str, Any]) -> tuple[int, int]:
    return sum(bool(one["workers"]) for one in status["brokers"]), len(status["pipeliners"])


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    """A cluster of its own for a test that kills, stops or sets it up in its own way: nothing runs yet."""
    with in_folder(tmp_path) as daemons:
        yield daemons


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    """For a module that sets a cluster up in its own way, once: nothing runs yet."""
    with in_folder(tmp_path_factory.mktemp("stage")) as daemons:
        yield daemons


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemons]:
    """One cluster for all tests of a module that leave it serving."""
    with in_folder(tmp_path_factory.mktemp("cluster")) as daemons:
        daemons.cluster()
        daemons.joined()
        yield daemons


@contextmanager
def in_folder(folder: Path) -> Iterator[Daemons]:
    daemons = Daemons(folder)
    try:
        yield daemons
    finally:
        try:
            daemons.stop()
            wait_until(lambda: not daemons.left(), what="every process of the daemons is gone")
        finally:
            for daemon in daemons.processes.values():
                daemon.kill()
            for process in daemons.left():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            daemons.let_ports_go()
