"""The warden: a small clean process that makes worker processes for one pool, and sees to it that they end.

It is started by exec, has one thread, and imports nothing of the user's: its forks start in milliseconds and inherit
no locks, no threads and no sockets. It alone is the parent of the worker processes, so it alone may signal them: a
process that is not reaped keeps its number.

It kills everything when its pool is gone (its control stream ends), and at the deadline that the pool has to move on
all the time; so a pool that is stopped or stuck, and cannot renew the leases of what it runs, loses its processes
before somebody else is given their work. A worker process is reported as ended only when everything that came from it
has ended too.
"""

from __future__ import annotations

import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import FrameType
from typing import NoReturn

import psutil

from . import clock, control, process, trees
from .messages import Settings
from .pipe import Pipe

SWEEP = 0.02
"""Seconds between looks at what does not die at once."""
LOOK = 0.5
"""Seconds between looks at the clock while there is a deadline: a poll does not count the sleep of the machine."""


@dataclass(slots=True, eq=False)
class Child:
    """A worker process: alive, dying (killed, or ended with orphans left behind), and then reported."""

    serial: int
    pid: int
    mark: str
    dying: bool = False
    overdue: bool = False
    """It is killed for the deadline that has passed."""
    reaped: bool = False
    exit_code: int | None = None
    signal: int | None = None
    members: set[psutil.Process] = field(default_factory=set)
    """What came from it, as far as it was seen before the process itself ended."""


class Warden:
    def __init__(self, pipe: Pipe[control.ToWarden], tree: str) -> None:
        self.tree = tree
        self.children: dict[int, Child] = {}
        """By pid."""
        self.deadline: float | None = None
        self.ending = False
        self._pipe = pipe
        self._woken, self._wake = os.pipe()
        self._selector = selectors.DefaultSelector()
        self._pid = os.getpid()

    def run(self) -> None:
        """Wait, hear, reap, sweep, until the pool is gone and nothing is left."""
        self._listen()
        while not (self.ending and not self.children):
            self._wait()
            if not self.ending:
                self._hear()
            self._reap()
            self._keep_deadline()
            self._sweep()
            self._pipe.flush()
        while left := trees.alive(trees.below_here() | trees.marked(trees.TREE, self.tree)):
            trees.kill(left)
            self._wait()
            self._reap()

    def _listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        signal.signal(signal.SIGCHLD, _noticed)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self._pipe, selectors.EVENT_READ)

    # Steps of a turn ------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        self._selector.select(self._patience())
        try:
            while os.read(self._woken, 4096):
                pass
        except BlockingIOError:
            pass

    def _patience(self) -> float | None:
        if self.ending or self._pipe.wants_write or any(child.dying for child in self.children.values()):
            return SWEEP
        if self.deadline is None:
            return None
        return max(0.0, min(LOOK, self.deadline - clock.now()))

    def _hear(self) -> None:
        for message in self._pipe.receive():
            self._obey(message)
        if self._pipe.ended:
            self._selector.unregister(self._pipe)
            self.ending = True
            self._kill_all()

    def _obey(self, message: control.ToWarden) -> None:
        match message:
            case control.Fork(serial, settings):
                self._fork(serial, settings)
            case control.Terminate(serial):
                for child in self._named(serial):
                    os.kill(child.pid, signal.SIGTERM)
            case control.Kill(serial):
                for child in self._named(serial):
                    self._kill(child)
            case control.Deadline(at):
                self.deadline = at
            case control.Prepare(python_path):
                _set_python_path(python_path)

    def _reap(self) -> None:
        """Collect the ended. A worker's group is killed while its number cannot yet be anybody else's."""
        while pid := _ended_child(self.children):
            child = self.children.get(pid)
            if child is not None:
                trees.kill_group(pid)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if child is not None:
                child.exit_code, child.signal = (code, None) if code >= 0 else (None, -code)
                child.dying = child.reaped = True

    def _keep_deadline(self) -> None:
        if self.deadline is not None and clock.now() >= self.deadline:
            self.deadline = None
            for child in self.children.values():
                child.overdue = not child.dying
            self._kill_all()

    def _sweep(self) -> None:
        """Kill what is left of the dying; report those of whom nothing is left."""
        for child in [child for child in self.children.values() if child.dying]:
            left = trees.alive(child.members | trees.orphans(child.pid, child.mark, self.children))
            child.members = left
            trees.kill(left)
            if child.reaped and not left:
                del self.children[child.pid]
                self._say(control.Exited(child.serial, child.pid, child.exit_code, child.signal, child.overdue))

    # Inside ---------------------------------------------------------------------------------------------------------

    def _fork(self, serial: int, settings: Settings) -> None:
        jobs, stream = self._pipe.fds.popleft(), self._pipe.fds.popleft()
        mark = f"{self.tree}.{serial}"
        try:
            pid = os.fork()
        except OSError as error:
            print(f"headrace: cannot make a worker process: {error}", file=sys.stderr)  # noqa: T201 - there is no log
            self._say(control.Exited(serial, 0, os.EX_OSERR))
        else:
            if pid == 0:
                self._become_worker(mark, jobs, stream, settings)
            self.children[pid] = Child(serial, pid, mark)
            self._say(control.Forked(serial, pid))
        os.close(jobs)
        os.close(stream)

    def _become_worker(self, mark: str, jobs: int, stream: int, settings: Settings) -> NoReturn:
        """In the new process: shed what is the warden's, and work. Never returns."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            trees.die_with_parent(self._pid)
            os.environ[trees.PROCESS] = mark
            os.environ.update(settings.environment)
            self._selector.close()
            self._pipe.close()
            os.close(self._woken)
            os.close(self._wake)
            if settings.folder:
                sys.path.insert(0, settings.folder)
            process.main(socket.socket(fileno=jobs), socket.socket(fileno=stream), settings)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except BaseException:  # noqa: BLE001 - whatever it was, this process must not go on as a second warden
            traceback.print_exc()
        finally:
            _flush_output()
            os._exit(code & 0xFF)

    def _named(self, serial: int) -> list[Child]:
        return [child for child in self.children.values() if child.serial == serial and not child.reaped]

    def _kill(self, child: Child) -> None:
        """Look at the tree before: once the process is gone, descent cannot be seen any more."""
        child.dying = True
        child.members = trees.descendants(child.pid)
        trees.kill_group(child.pid)
        trees.kill(child.members)

    def _kill_all(self) -> None:
        for child in self.children.values():
            if not child.dying:
                self._kill(child)

    def _say(self, message: control.FromWarden) -> None:
        if not self.ending:
            self._pipe.send(message)


def main(control_fd: int, *locks: int) -> None:
    """`locks` stay open here and in every fork, and nowhere else."""
    for fd in (control_fd, *locks):
        os.set_inheritable(fd, False)
    trees.adopt_orphans()
    pipe = Pipe(socket.socket(fileno=control_fd), control.to_warden(), carries_fds=True)
    gc.collect()
    gc.freeze()  # so that forks share what is there, and do not copy it at their first collection
    Warden(pipe, os.environ[trees.TREE]).run()


def _ended_child(children: Iterable[int]) -> int:
    """A child that has ended and is not reaped yet, or 0."""
    if not hasattr(os, "waitid"):  # macOS, where orphans come to nobody here: all children are known
        return next((pid for pid in children if trees.is_zombie(pid)), 0)
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return found.si_pid if found else 0


def _set_python_path(python_path: str | None) -> None:
    if python_path is None:
        os.environ.pop("PYTHONPATH", None)
    else:
        os.environ["PYTHONPATH"] = python_path


def _flush_output() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            pass  # it is closed, or its disk is full: there is nobody left to tell


def _noticed(number: int, frame: FrameType | None) -> None:
    """SIGCHLD only has to wake the poll, by the descriptor."""


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
