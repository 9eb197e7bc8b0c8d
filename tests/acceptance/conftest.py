"""Real daemons for the acceptance tests: started through the installed command, killed as the tests please."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from headrace import PipelineManager

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Daemons:
    """Daemons on free ports, in a folder with a `workers.py` of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.api, self.broadcast = (f"tcp://127.0.0.1:{free_port()}" for _ in range(2))
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._seen: set[int] = set()
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

    def command(self, *arguments: str, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
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

    def kill(self, name: str) -> None:
        self.note_children()
        process = self.processes.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def note_children(self) -> None:
        """Remember everything that runs now, to see later that nothing of it was left."""
        for process in self.processes.values():
            try:
                self._seen |= {child.pid for child in psutil.Process(process.pid).children(recursive=True)}
            except psutil.NoSuchProcess:
                continue

    def children(self, name: str) -> list[psutil.Process]:
        return psutil.Process(self.processes[name].pid).children(recursive=True)

    def manager(self, timeout: float = 30.0) -> PipelineManager:
        return PipelineManager(api=self.api, broadcast=self.broadcast, timeout=timeout)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def left(self) -> list[int]:
        """Processes that once belonged to a daemon and still live."""
        return [pid for pid in self._seen if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]

    def stop(self) -> None:
        self.note_children()
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            process.wait(40)


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    daemons = Daemons(tmp_path)
    try:
        yield daemons
    finally:
        try:
            daemons.stop()
            wait_until(lambda: not daemons.left(), 15, "every process of the daemons is gone")
        finally:
            for process in daemons.processes.values():
                process.kill()
            for pid in daemons.left():
                os.kill(pid, signal.SIGKILL)
