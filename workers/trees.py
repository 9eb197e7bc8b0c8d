"""Whole process trees: finding everything that came from a process, however it tried to get away, and killing it.

A process leaves its tree's parent chain when its parent dies before it, and its session by `setsid`. It still carries
the environment that it was started with, and on Linux its warden becomes its parent. So there are three ways to
belong: by descent, by session, and by mark.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator

import psutil

TREE = "HEADRACE_TREE"
"""The environment variable that names the pool which a process belongs to."""
PROCESS = "HEADRACE_PROCESS"
"""The environment variable that names the worker process which started a process."""
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LOOK = 0.01
LAUNCHD = 1
"""Who becomes the parent of orphans that have no subreaper."""


def adopt_orphans() -> None:
    """Become the parent of all orphans below this process, where the system has such a thing."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """SIGKILL for this process when its parent dies, where the system has such a thing."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def descendants(pid: int) -> set[psutil.Process]:
    """The process and everything below it."""
    try:
        process = psutil.Process(pid)
        return {process, *process.children(recursive=True)}
    except psutil.NoSuchProcess:
        return set()


def below_here() -> set[psutil.Process]:
    """Everything below this process: with a subreaper that is whatever nobody else could be told to belong to."""
    return set(psutil.Process().children(recursive=True))


def orphans(session: int, mark: str, known: Iterable[int]) -> set[psutil.Process]:
    """Orphans of a worker process, by its session or its mark, with everything below them."""
    found: set[psutil.Process] = set()
    for process in _fatherless():
        if process.pid not in known and (_session(process.pid) == session or carries(process, PROCESS, mark)):
            found |= descendants(process.pid)
    return found


def marked(name: str, value: str) -> set[psutil.Process]:
    """Every process on this machine that carries the mark, but for this one."""
    return {p for p in psutil.process_iter() if p.pid != os.getpid() and carries(p, name, value)}


def end_marked(name: str, value: str, patience: float = 5.0) -> bool:
    """Kill whatever carries the mark, until nothing is left. False: something does not die."""
    end = time.monotonic() + patience
    while left := alive(marked(name, value)):
        if time.monotonic() > end:
            return False
        kill(left)
        time.sleep(LOOK)  # no wait: should one be a child of ours, its status is somebody else's to collect
    return True


def carries(process: psutil.Process, name: str, value: str) -> bool:
    try:
        return process.environ().get(name) == value
    except (psutil.Error, OSError):
        return False  # it has ended, or belongs to another user


def alive(processes: Iterable[psutil.Process]) -> set[psutil.Process]:
    return {process for process in processes if _is_alive(process)}


def is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill(processes: Iterable[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            pass  # it was faster


def kill_group(leader: int) -> None:
    """SIGKILL to a whole process group. Its leader has to be unreaped, so that the number is still its own."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # nothing but a zombie is left (macOS says so by refusing)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _fatherless() -> Iterator[psutil.Process]:
    if sys.platform == "linux":
        yield from psutil.Process().children()
        return
    for process in psutil.process_iter(["ppid"]):
        if process.info["ppid"] in (LAUNCHD, os.getpid()):
            yield process


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1


def _prctl(option: int, argument: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, argument, 0, 0, 0)
