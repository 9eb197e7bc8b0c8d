"""A plant: real daemons in a folder of their own, that can be killed, frozen and started again while they work.

Every process of a plant carries the plant's name in its environment, whoever started it and whoever its parent is by
now: so nothing that is left behind can hide. A daemon that ends without having been struck is a defect of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from headrace import PipelineManager
from headrace.pipeline.errors import ClusterError

HERE = Path(__file__).parent
NAME = "CHAOS_PLANT"
"""The variable that every process of a plant carries."""
PATIENCE = 60.0
STOPPING = 40.0


def until(fact: Callable[[], object], what: str, seconds: float = PATIENCE) -> None:
    """Wait for a fact, never for a time; the limit only ends what would hang."""
    deadline = time.monotonic() + seconds
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.02)


def reserved_port() -> socket.socket:
    """Nobody else is given this port while the socket is open, not even while its daemon is dead: what is bound and
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


@dataclass(frozen=True)
class Daemon:
    """How one is started: before its command stands `prefix`; `api` is where it looks for its Router."""

    name: str
    arguments: tuple[str, ...] = ()
    prefix: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    api: str | None = None
    program: tuple[str, ...] = ("-m", "headrace")

    @property
    def command(self) -> str:
        return self.name.rstrip("0123456789")


class Plant:
    """Router, Pipeliner and Brokers in `folder`; the journal in `data`."""

    def __init__(self, folder: Path, data: Path | None = None) -> None:
        self.folder = folder
        self.data = data or folder / "data"
        self.name = uuid.uuid4().hex
        self._ports = [reserved_port() for _ in range(2)]
        self.api, self.broadcast = map(address_of, self._ports)
        self.daemons: dict[str, Daemon] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.problems: list[str] = []
        """What went wrong without anybody having caused it."""
        self.may_end: set[str] = set()
        """Daemons that may end by themselves: they are started again, as a supervisor does it."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(HERE / "labour.py", folder / "labour.py")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self.stop()
        finally:
            for pid in self.pids():
                send(pid, signal.SIGKILL)
            for port in self._ports:
                port.close()

    # Starting -------------------------------------------------------------------------------------------------------

    def add(self, daemon: Daemon) -> None:
        """One more daemon, started at once and again whenever `start` is called for it."""
        self.daemons[daemon.name] = daemon
        self.start(daemon.name)

    def staff(self, brokers: int = 2, processes: int = 2) -> None:
        """The usual: a Router, a Pipeliner, and Brokers whose store marks every job."""
        self.add(Daemon("router"))
        self.add(Daemon("pipeliner"))
        for number in range(1, brokers + 1):
            self.add(self.broker(f"broker{number}", processes))

    def broker(self, name: str, processes: int = 2, **more: Any) -> Daemon:
        arguments = ("--workers", "labour", "--store", "labour:MarkingStore", "--processes", f"{processes}")
        return Daemon(name, arguments, **more)

    def start(self, name: str, *prefix: str) -> None:
        daemon = self.daemons[name]
        line = [*prefix, *daemon.prefix, sys.executable, *daemon.program, daemon.command]
        line += ["--api", daemon.api or self.api, "--broadcast", self.broadcast, *daemon.arguments]
        if daemon.command != "pipeliner":
            line += ["--data", str(self.data)]
        environment = {**os.environ, NAME: self.name, "CHAOS_MARKS": str(self.marks), **daemon.environment}
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(line, cwd=self.folder, stdout=log, stderr=log, env=environment)

    @property
    def marks(self) -> Path:
        """Where the store notes every save."""
        return self.folder / "marks"

    def joined(self, brokers: int = 2, pipeliners: int = 1, seconds: float = PATIENCE) -> None:
        """Wait until so many are there; a daemon that cannot start is told at once."""

        def complete() -> bool:
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not dead, f"the {dead[0]} has died:\n{self.tail(dead[0])}"
            try:
                return _joined(manager.cluster()) == (brokers, pipeliners)
            except ClusterError:
                return False

        with self.manager(timeout=2.0) as manager:
            until(complete, "everybody has joined", seconds)

    def manager(self, timeout: float = 2 * PATIENCE, api: str | None = None) -> PipelineManager:
        return PipelineManager(api=api or self.api, broadcast=self.broadcast, timeout=timeout)

    # Harm -----------------------------------------------------------------------------------------------------------

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        if (code := process.poll()) is not None and name not in self.may_end:
            self.problems.append(f"{name} had ended by itself with {code}: {self.tail(name)}")
        process.kill()
        process.wait()

    @contextmanager
    def frozen(self, pid: int) -> Iterator[None]:
        send(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            send(pid, signal.SIGCONT)

    def pid(self, name: str) -> int:
        return self.processes[name].pid

    def warden(self, broker: str) -> int | None:
        """The process that a Broker's worker processes come from."""
        return next((child.pid for child in children(self.pid(broker)) if _is_warden(child)), None)

    def workers(self, broker: str) -> list[int]:
        warden = self.warden(broker)
        return [child.pid for child in children(warden)] if warden else []

    # What there is --------------------------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """Every living process that carries the plant's name."""
        return [process.pid for process in psutil.process_iter() if _environment(process).get(NAME) == self.name]

    def _has(self, pid: int) -> bool:
        try:
            return _environment(psutil.Process(pid)).get(NAME) == self.name
        except psutil.NoSuchProcess:
            return False

    def gone(self, seconds: float) -> list[int]:
        """Wait until no process of a plant that has stopped is left; those that are."""
        try:
            until(lambda: not self.pids(), "nothing is left of the plant", seconds)
        except AssertionError:
            pass  # they are told by their numbers
        return self.pids()

    def orphans(self) -> list[int]:
        """Processes of the plant that belong to no living daemon. One that is born or ends meanwhile is none."""
        seen = self.pids()
        known = {process.pid for process in self.processes.values()}
        for pid in list(known):
            known |= {child.pid for child in children(pid, recursive=True)}
        return [pid for pid in seen if pid not in known and self._has(pid)]

    def check_alive(self) -> None:
        """A daemon that has died of nothing is noted, and started again so that the rest can be seen."""
        for name, process in list(self.processes.items()):
            if process.poll() is not None:
                if name not in self.may_end:
                    self.problems.append(f"{name} ended by itself with {process.returncode}: {self.tail(name)}")
                self.start(name)

    def tail(self, name: str, size: int = 2000) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-size:]

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def memory(self, name: str) -> int:
        return int(psutil.Process(self.pid(name)).memory_info().rss)

    def stop(self) -> None:
        """In good order; what does not stop in time is a problem."""
        stages = [
            [name for name in self.processes if name != "router"],
            [name for name in self.processes if name == "router"],
        ]
        for stage in stages:
            for name in stage:
                send(self.pid(name), signal.SIGCONT)
                self.processes[name].terminate()
            for name in stage:
                self._await_end(name)

    def _await_end(self, name: str) -> None:
        process = self.processes.pop(name)
        try:
            code = process.wait(STOPPING)
        except subprocess.TimeoutExpired:
            self.problems.append(f"{name} did not stop within {STOPPING:g} s: {self.tail(name)}")
            process.kill()
            process.wait()
        else:
            if code not in (0, -signal.SIGTERM):  # the latter: before it had begun to listen to signals
                self.problems.append(f"{name} stopped with {code}: {self.tail(name)}")


def _joined(status: dict[str, Any]) -> tuple[int, int]:
    return sum(bool(one["workers"]) for one in status["brokers"]), len(status["pipeliners"])


def children(pid: int, recursive: bool = False) -> list[psutil.Process]:
    try:
        return [one for one in psutil.Process(pid).children(recursive) if one.is_running()]
    except psutil.NoSuchProcess:
        return []


def _is_warden(process: psutil.Process) -> bool:
    try:
        return "headrace.workers.warden" in process.cmdline()
    except psutil.Error:
        return False


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ() if process.status() != psutil.STATUS_ZOMBIE else {}
    except (psutil.Error, OSError):
        return {}


def send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it was quicker
