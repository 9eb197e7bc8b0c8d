"""An attack: garbage by the thousand through every door of real daemons, and the question whether they still serve.

The api is attacked as any process on the machine could: a few connections, each with garbage of its own seed, some of
it under the identities of the real Broker and Pipeliner. Answers are read and thrown away. That the Router has read all
of it is known when it answers a question that was asked behind it.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from socket import socket as TcpSocket
from types import TracebackType
from typing import Any, Self

import zmq
from garbage import WORDS, Garbage

from headrace import Job, Pipeline, PipelineManager
from headrace.daemons.protocol import PROTOCOL, Ask, Inbound, Told, decode_outbound, encode

CONNECTIONS = 4
AT_ONCE = 500
PATIENCE = 60.0
WORKERS = """
from headrace import worker


@worker
def nothing():
    return None


@worker
def one():
    return {"number": 1}


@worker
def add(number):
    return {"number": number + 1}
"""


def until(fact: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {PATIENCE:g} s: {what}")
        time.sleep(0.05)


class Target:
    """Router, Pipeliner and Broker in a folder of their own, on sockets in it, or on free ports."""

    def __init__(self, folder: Path, *, tcp: bool = False) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self.api, self.broadcast = f"ipc://{folder}/api", f"ipc://{folder}/broadcast"
        if tcp:
            self.api, self.broadcast = _free_address(), _free_address()
        self.daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        line = [sys.executable, "-m", "headrace", name, "--api", self.api, "--broadcast", self.broadcast]
        line += ["--data", str(self.folder / "data")] if name != "pipeliner" else []
        line += ["--processes", "2"] if name == "broker" else []
        (self.folder / "workers.py").write_text(WORKERS)
        with (self.folder / f"{name}.log").open("ab") as log:
            self.daemons[name] = subprocess.Popen(line, cwd=self.folder, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        """Start what does not run yet, and wait until all have found each other."""
        for name in {"router", "pipeliner", "broker"} - self.daemons.keys():
            self.start(name)
        with self.manager() as manager:
            until(lambda: _sizes(manager.cluster()) == (1, 1), "the daemons have joined")
            self.real = self._members(manager)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for daemon in self.daemons.values():
            daemon.terminate()
        for daemon in self.daemons.values():
            daemon.wait(60)

    def manager(self) -> PipelineManager:
        return PipelineManager(self.api, self.broadcast, timeout=60)

    def check(self) -> None:
        """The same processes are there; nobody else is once the strangers' time is over; a pipeline runs."""
        for name, daemon in self.daemons.items():
            assert daemon.poll() is None, f"the {name} has died:\n{self.tail(name)}"
        with self.manager() as manager:
            until(lambda: self._members(manager) == self.real, "strangers have been forgotten, and the real ones not")
            pipeline = Pipeline({Job("one"): Job("add")})
            manager.start(pipeline)
            manager.wait(pipeline, PATIENCE)
            assert not pipeline.failed, pipeline.error
            assert manager.results(pipeline) == {"one": {"number": 1}, "add": {"number": 2}}

    def _members(self, manager: PipelineManager) -> set[str]:
        status = manager.cluster()
        return {one["identity"] for kind in ("brokers", "pipeliners") for one in status[kind]}

    def counted(self) -> dict[str, int]:
        """What the Router says about it."""
        with self.manager() as manager:
            router = manager.cluster()["router"]
        return {name: int(router[name]) for name in ("malformed", "failures", "open_runs")}

    def tail(self, name: str, size: int = 5000) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-size:]


def _free_address() -> str:
    """Of a port that the system gives to nobody by itself, so that it is free a moment later, too."""
    while True:
        port = random.SystemRandom().randrange(10_000, 30_000)
        with TcpSocket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return f"tcp://127.0.0.1:{port}"


def _sizes(status: dict[str, Any]) -> tuple[int, int]:
    return len(status["brokers"]), len(status["pipeliners"])


class Attack:
    """Garbage of `seed` for the api of a target."""

    def __init__(self, target: Target, seed: int) -> None:
        words = (*sorted(target.real), *WORDS)
        self._garbage = [Garbage(seed * CONNECTIONS + number, words=words) for number in range(CONNECTIONS)]
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._sockets = [self._context.socket(zmq.DEALER) for _ in self._garbage]
        for socket in self._sockets:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(target.api)
        self.answers = 0

    def run(self, count: int) -> None:
        """Send so many messages, never more than the Router keeps up with."""
        sent = 0
        while sent < count:
            for garbage, socket in zip(self._garbage, self._sockets, strict=True):
                for _ in range(min(AT_ONCE, count - sent)):
                    socket.send_multipart(garbage.next(), copy=False)
                    sent += 1
            for number, socket in enumerate(self._sockets):
                self._wait_until_read(socket, f"question {sent} {number}")

    def _wait_until_read(self, socket: zmq.Socket[bytes], question: str) -> None:
        """Messages of a connection are read in order: with the answer to this one, all before it were."""
        socket.send(encode(Inbound(PROTOCOL, question, question, 1, [Ask(question, "config")])))
        deadline = time.monotonic() + PATIENCE
        while True:
            if not socket.poll(int(max(0.0, deadline - time.monotonic()) * 1000)):
                raise AssertionError(f"the Router has not answered within {PATIENCE:g} s")
            self.answers += 1
            envelope = decode_outbound(socket.recv_multipart()[-1])
            if any(isinstance(message, Told) and message.id == question for message in envelope.messages):
                return

    def close(self) -> None:
        self._context.destroy(linger=0)
