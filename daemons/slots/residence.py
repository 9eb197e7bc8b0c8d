"""Where a Broker lives while it runs: a folder of its own below the data folder, with two locks.

`alive` is held by the Broker's own process, `tree` by every process that came from it as well: by its warden and by
the worker processes. So whoever finds a folder can tell:

    tree free               the Broker and all that came from it are gone: the folder can go
    tree held, alive held   a neighbour: any number of Brokers may share a machine
    tree held, alive free   a Broker died, and what it started is still there

The last case has to be over before another Broker joins, because the Router will take what those processes do for its
own. The warden of a dead Broker ends them within moments; should it have died too, they are found by the mark in their
environment, which is the folder's name, and killed.

A Broker signs its folder with its identity and its machine. Whoever comes after it, and has seen to its end on that
very machine, tells the Router so: then its jobs need not wait until their leases have lapsed. On a folder that several
machines share (or containers, which do not see each other's processes) nobody is declared dead but by who could see it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...pipeline.errors import ConfigError
from ...workers import trees
from ..journal.boot import boot_id

logger = logging.getLogger(__name__)

WARDEN_TIME = 2.0
"""Seconds that the warden of a dead Broker has to end its tree."""
LOOK = 0.05
SIGNATURE = "broker"


class Residence:
    """`take` one, then `wait_for_the_dead`; `tree` marks what comes from us, `lock` is for the pool to hold."""

    def __init__(self, folder: Path, alive: int, lock: int) -> None:
        self.folder = folder
        self.tree = folder.name
        self.lock = lock
        self._alive = alive

    @classmethod
    def take(cls, data: Path) -> Residence:
        home = data / "brokers"
        try:
            home.mkdir(parents=True, exist_ok=True)
            with _one_at_a_time(home):
                folder = home / uuid.uuid4().hex
                folder.mkdir()
                return cls(folder, _hold(folder / "alive"), _hold(folder / "tree"))
        except OSError as error:
            raise ConfigError(
                f"the folder {home} cannot be used ({error}); give another one with data= or --data"
            ) from None

    def sign(self, identity: str) -> None:
        """Say who lives here, for the one who comes after."""
        (self.folder / SIGNATURE).write_text(f"{identity}\n{_machine()}\n", encoding="utf-8")

    def wait_for_the_dead(self) -> tuple[str, ...]:
        """Return when nothing is left of any Broker that has died here: the identities of those that ran on this very
        machine, and of which nothing is left for sure."""
        home = self.folder.parent
        with _one_at_a_time(home):
            found = [path for path in home.iterdir() if path.is_dir() and path != self.folder]
            dead = [path for path in found if not self._is_neighbour(path)]
        found_dead: list[str] = []
        for folder in dead:
            identity = _signed(folder)
            if _wait_for_end(folder) and identity is not None:
                found_dead.append(identity)
            shutil.rmtree(folder, ignore_errors=True)
        return tuple(found_dead)

    def leave(self) -> None:
        """Everything that came from us has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._alive)
        os.close(self.lock)

    def _is_neighbour(self, folder: Path) -> bool:
        return not _free(folder / "alive")


def _signed(folder: Path) -> str | None:
    """Who lived there, if that was on this machine since it was started."""
    try:
        identity, *machine = (folder / SIGNATURE).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    return identity if machine == [_machine()] and identity else None


def _machine() -> str:
    """The same text for all who see each other's processes."""
    try:
        processes = os.readlink("/proc/self/ns/pid")
    except OSError:
        processes = ""
    return f"{socket.gethostname()} {boot_id()} {processes}"


def _wait_for_end(folder: Path) -> bool:
    """False: something that came from there does not die."""
    end = time.monotonic() + WARDEN_TIME
    while not _free(folder / "tree"):
        if time.monotonic() < end:
            time.sleep(LOOK)
            continue
        logger.warning("a Broker has died here, and its processes are still there: killing those of %s", folder.name)
        trees.end_marked(trees.TREE, folder.name)
    return trees.end_marked(trees.TREE, folder.name)


def _hold(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    return fd


def _free(path: Path) -> bool:
    """Nobody holds it (any more)."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Between the making of a folder and the holding of its locks nobody looks."""
    fd = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
