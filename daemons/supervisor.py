"""The process behind `headrace up`: starts daemons, restarts those that die, stops all together.

It knows child processes and nothing about jobs; when to restart is decided by `restarts`. Every child is in a session
of its own, so that Ctrl-C reaches the supervisor alone, which then stops Brokers and Pipeliners before their Router.
A child's standard input is a pipe that nobody writes to: it closes when the supervisor is gone, however it went, and
a daemon that was started with `--lifeline` takes that as its order to stop. So nothing is left behind.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from .console import Console
from .loop import Stopper
from .restarts import GiveUp, Restarts, told

READ = 65536
LONGEST_LINE = 65536
FAILED = 1


@dataclass(frozen=True)
class Child:
    """A daemon to keep alive. Those of a lower `stage` are stopped first."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    stage: int = 0

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-P", "-m", "headrace", *self.arguments, "--lifeline"]


@dataclass
class Living:
    """A child's process, and what it wrote of a line that has no end yet."""

    child: Child
    process: subprocess.Popen[bytes]
    begun: bytes = b""
    watched: bool = True


class Supervisor:
    """`grace`: seconds that a stage has to stop in before it is killed."""

    def __init__(self, children: Sequence[Child], console: Console, grace: float = 30.0) -> None:
        self.children = children
        self.console = console
        self.grace = grace
        self.stopper = Stopper()
        self.restarts = Restarts()
        self.living: dict[str, Living] = {}
        self.exit_code = 0
        self._due: dict[str, float] = {}
        self._selector = selectors.DefaultSelector()

    def run(self) -> int:
        """Keep all children alive until a signal; returns an exit code."""
        self._selector.register(self.stopper.fileno(), selectors.EVENT_READ)
        self._due = {child.name: 0.0 for child in self.children}
        with self._woken_by_deaths(), self.stopper.on_signals():
            try:
                while not self.stopper.requested:
                    self._start_what_is_due()
                    self._turn(self._next_start())
                self._stop_all()
            finally:
                self._kill(list(self.living.values()))
                self._selector.close()
                self.stopper.close()
        return self.exit_code

    def worked(self) -> None:
        """The cluster has answered: from now on a daemon that dies is always started again."""
        self.restarts.worked = True

    # One turn: wait, read, bury ---------------------------------------------------------------------------------------

    def _turn(self, deadline: float | None) -> None:
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        for key, _ in self._selector.select(timeout):
            if key.data is None:
                self.stopper.drain()
            else:
                self._read(key.data)
        for one in [one for one in self.living.values() if one.process.poll() is not None]:
            self._bury(one)

    def _read(self, one: Living) -> bool:
        """Pass a child's lines on; True when there may be more."""
        assert one.process.stdout is not None
        try:
            chunk = os.read(one.process.stdout.fileno(), READ)
        except BlockingIOError:
            return False
        if not chunk:
            self._unwatch(one)
            return False
        *lines, one.begun = (one.begun + chunk).split(b"\n")
        if len(one.begun) > LONGEST_LINE:
            lines, one.begun = [*lines, one.begun], b""
        for line in lines:
            self.console.line(one.child.name, line.decode("utf-8", "replace"))
        return True

    def _bury(self, one: Living) -> None:
        name, code = one.child.name, one.process.returncode
        self._close_pipes(one)
        del self.living[name]
        if self.stopper.requested:
            return
        answer = self.restarts.ended(name, code, time.monotonic())
        if isinstance(answer, GiveUp):
            self.console.line("up", f"{answer.reason}; stopping")
            self.exit_code = code if code > 0 else FAILED
            self.stopper.stop()
            return
        self.console.line("up", f"{name} ended with {told(code)}; starting it again in {answer.delay:g} s")
        self._due[name] = time.monotonic() + answer.delay

    def _close_pipes(self, one: Living) -> None:
        """Read what is left. Others may hold the writing end (workers that are dying): nobody waits for its end."""
        assert one.process.stdout is not None and one.process.stdin is not None
        while one.watched and self._read(one):
            pass
        if one.begun:
            self.console.line(one.child.name, one.begun.decode("utf-8", "replace"))
        self._unwatch(one)
        one.process.stdout.close()
        one.process.stdin.close()

    def _unwatch(self, one: Living) -> None:
        if one.watched and one.process.stdout is not None:
            one.watched = False
            self._selector.unregister(one.process.stdout)

    # Starting and stopping --------------------------------------------------------------------------------------------

    def _next_start(self) -> float | None:
        return min(self._due.values(), default=None)

    def _start_what_is_due(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if child.name in self._due and self._due[child.name] <= now:
                del self._due[child.name]
                self._start(child)

    def _start(self, child: Child) -> None:
        process = subprocess.Popen(
            child.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **child.environment},
            start_new_session=True,
            bufsize=0,
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        one = self.living[child.name] = Living(child, process)
        self._selector.register(process.stdout, selectors.EVENT_READ, one)
        self.restarts.began(child.name, time.monotonic())
        self.console.line("up", f"{child.name} started, pid {process.pid}")

    def _stop_all(self) -> None:
        patience = self.stopper.signals  # before it is told: who sees the line may send another one at once
        self.console.line("up", "stopping; another signal ends everything at once")
        for stage in sorted({child.stage for child in self.children}):
            self._stop([one for one in self.living.values() if one.child.stage == stage], patience)

    def _stop(self, stage: list[Living], patience: int) -> None:
        for one in stage:
            one.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self.grace
        while left := [one for one in stage if one.child.name in self.living]:
            if time.monotonic() >= deadline or self.stopper.signals > patience:
                self._kill(left)
                return
            self._turn(deadline)

    def _kill(self, stage: list[Living]) -> None:
        for one in stage:
            one.process.kill()
        for one in stage:
            one.process.wait()
            self._bury(one)

    @contextmanager
    def _woken_by_deaths(self) -> Iterator[None]:
        """A child's death wakes the turn; a closed terminal is a request to stop."""
        before = {
            signal.SIGCHLD: signal.signal(signal.SIGCHLD, lambda number, frame: self.stopper.wake()),
            signal.SIGHUP: signal.signal(signal.SIGHUP, lambda number, frame: self.stopper.stop()),
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
