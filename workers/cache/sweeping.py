"""Sweeping: the cache is bounded by age and by size, and what goes first is what was used longest ago.

A sweep is due every ten minutes of writing, and sooner for a process that writes much. Who writes sweeps; the lock is
never waited for: when somebody else sweeps, nobody else does.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .folder import CacheFolder
from .place import LARGEST, LONGEST

EVERY = 600.0
AIM = 0.9
"""A sweep that has to make room goes down to this part of the limit."""
SHARE = 0.1
"""Of the limit: a process that has written so much looks at once."""
ABANDONED = 3600.0
"""Seconds after which a file that somebody was writing is nobody's."""
_KEY = 64


@dataclass(frozen=True)
class Bounds:
    """How much is kept, and how long."""

    largest: float = LARGEST
    longest: float = LONGEST


@dataclass(frozen=True)
class Listed:
    """An entry from outside. A large result counts with it."""

    key: str
    size: int
    used: float


def listed(folder: CacheFolder) -> Iterator[Listed]:
    """What there is, in no order."""
    for below in _folders(folder.path / "entries"):
        sizes: dict[str, int] = {}
        used: dict[str, float] = {}
        for one in _scan(below):
            status = _status(one)
            if one.name.startswith(".") or status is None:
                continue
            key, large, _ = one.name.partition("~")
            sizes[key] = sizes.get(key, 0) + status.st_size
            if not large:
                used[key] = status.st_mtime
        yield from (Listed(key, sizes[key], used[key]) for key in used)


def clear(folder: CacheFolder, older: float = 0.0, worker: str | None = None) -> tuple[int, int]:
    """Remove what was not used for so many seconds (of one worker); how many, and how many bytes."""
    count = size = 0
    limit = time.time() - older
    for one in list(listed(folder)):
        if one.used <= limit and (worker is None or _is_of(folder, one.key, worker)):
            folder.remove(one.key)
            count, size = count + 1, size + one.size
    tidy(folder)
    return count, size


def sweep(folder: CacheFolder, bounds: Bounds) -> int:
    """Remove what is too old, then what was used longest ago until the rest fits. How many entries went."""
    with _alone(folder) as alone:
        if not alone:
            return 0
        kept = sorted(listed(folder), key=lambda one: one.used)
        total, removed = sum(one.size for one in kept), 0
        aim = bounds.largest * AIM if total > bounds.largest else bounds.largest
        for one in kept:
            if one.used > time.time() - bounds.longest and total <= aim:
                break
            folder.remove(one.key)
            total, removed = total - one.size, removed + 1
        tidy(folder)
        return removed


def sweep_when_due(folder: CacheFolder, bounds: Bounds, written: int) -> bool:
    """`written`: the bytes that this process has written since it swept."""
    try:
        last = (folder.path / "swept").stat().st_mtime
    except FileNotFoundError:
        last = 0.0
    if abs(time.time() - last) <= EVERY and written <= bounds.largest * SHARE:
        return False
    sweep(folder, bounds)
    return True


def tidy(folder: CacheFolder) -> None:
    """Remove what killed processes have left, and pointers to what is gone."""
    for below in (*_folders(folder.path / "entries"), *_folders(folder.path / "near")):
        for one in _scan(below):
            if _is_left_over(folder, one):
                Path(one.path).unlink(missing_ok=True)


def _is_left_over(folder: CacheFolder, one: os.DirEntry[str]) -> bool:
    status = _status(one)
    if status is None:
        return False
    abandoned = time.time() - status.st_ctime > ABANDONED
    if one.name.startswith("."):
        return abandoned
    if one.is_symlink():
        key = _pointed(one)
        return key is not None and not folder.file(key).exists()
    return "~" in one.name and abandoned and not folder.file(one.name[:_KEY]).exists()


@contextmanager
def _alone(folder: CacheFolder) -> Iterator[bool]:
    folder.path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder.path / "swept", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        yield False
        return
    try:
        os.utime(descriptor)
        yield True
    finally:
        os.close(descriptor)


def _is_of(folder: CacheFolder, key: str, worker: str) -> bool:
    entry = folder.peek(key)
    return entry is not None and entry.recipe.worker == worker


def _folders(path: Path) -> list[Path]:
    return [Path(one.path) for one in _scan(path) if one.is_dir()]


def _scan(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _pointed(one: os.DirEntry[str]) -> str | None:
    try:
        return os.readlink(one.path)
    except OSError:  # it was removed meanwhile
        return None


def _status(one: os.DirEntry[str]) -> os.stat_result | None:
    """None: it was removed meanwhile."""
    try:
        return one.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
