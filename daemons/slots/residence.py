"""Where a Broker lives while it runs: a folder of its own below the data folder, with two locks.

`alive` is held by the Broker's own process, `tree` by every process that came from it as well: by its warden and by
the worker processes. So whoever finds a folder can tell:

    tree free               the Broker and all that came from it are gone: the folder can go
    tree held, alive held   a neighbour: any number of Brokers may share a machine
    tree held, alive free   a Broker died, and what it started is still there

The last case has to be over before another Broker joins, because the Router will take what those processes do for its
own. The warden of a dead Broker ends them within moments; should it have died too, they are found by the mark in their
environment, which is the folder's name, and killed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...pipeline.errors import ConfigError
from ...workers import trees

logger = logging.getLogger(__name__)

WARDEN_TIME = 2.0
"""Seconds that the warden of a dead Broker has to end its tree."""
LOOK = 0.05


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

    def wait_for_the_dead(self) -> None:
        """Return when nothing is left of any Broker that has died here."""
        home = self.folder.parent
        with _one_at_a_time(home):
            found = [path for path in home.iterdir() if path.is_dir() and path != self.folder]
            dead = [path for path in found if not self._is_neighbour(path)]
        for folder in dead:
            _wait_for_end(folder)
            shutil.rmtree(folder, ignore_errors=True)

    def leave(self) -> None:
        """Everything that came from us has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._alive)
        os.close(self.lock)

    def _is_neighbour(self, folder: Path) -> bool:
        return not _free(folder / "alive")


def _wait_for_end(folder: Path) -> None:
    end = time.monotonic() + WARDEN_TIME
    while not _free(folder / "tree"):
        if time.monotonic() < end:
            time.sleep(LOOK)
            continue
        logger.warning("a Broker has died here, and its processes are still there: killing those of %s", folder.name)
        trees.end_marked(trees.TREE, folder.name)
    trees.end_marked(trees.TREE, folder.name)


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
