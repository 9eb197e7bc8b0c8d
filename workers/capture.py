"""Capture: where the output of a worker process goes, and which part of it belongs to which attempt.

File descriptors 1 and 2 point at one file that is only ever appended to, so that `print`, logging, C libraries and
child processes end up in one place, in order. An attempt's output is a file, an offset and a length; what is too long
loses its middle (`shortening`). A file that has become too large is followed by another one, between two attempts; the
one before it is kept, older ones are removed.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from .shortening import LIMIT, shorten

MAX_SIZE = 16 * 1024 * 1024
TAIL = 4096
KEPT = 2

Region = tuple[str, int, int]


class Capture:
    """The output files of one worker process: `worker-0.log`, then `worker-0.1.log` and so on."""

    def __init__(self, path: str, max_size: int = MAX_SIZE, limit: int = LIMIT) -> None:
        self._first = Path(path)
        self._max_size = max_size
        self._limit = limit
        self._first.parent.mkdir(parents=True, exist_ok=True)
        self._number = max((number for number, _ in self._files()), default=0)
        self._start = 0
        self._inode = 0
        self.file = ""

    def install(self) -> None:
        """Point the output of this process at the file."""
        self._open()
        sys.stdout, sys.stderr = _text(1), _text(2)

    def attempt_ended(self) -> Region | None:
        """The output since the last call; None when there is none."""
        _flush()
        size = self._size()
        if size is None:
            self._mend()
            return None
        if size - self._start > self._limit:
            size -= shorten(self.file, self._start, self._limit)
        start, self._start = min(self._start, size), size
        if size == start:
            return None
        region = (self.file, start, size - start)
        if size >= self._max_size:
            self._number += 1
            self._open()
            self._forget()
        return region

    def _size(self) -> int | None:
        """Bytes in the file; None when this process does not write there any more."""
        try:
            out, err = os.fstat(1), os.fstat(2)
        except OSError:
            return None
        intact = out.st_ino == self._inode == err.st_ino and not _is_shut(sys.stdout) and not _is_shut(sys.stderr)
        return out.st_size if intact else None

    def _mend(self) -> None:
        """User code has closed its output, or put something else there: the next attempt is not to suffer for it."""
        self._open()
        if _is_shut(sys.stdout):
            sys.stdout = _text(1)
        if _is_shut(sys.stderr):
            sys.stderr = _text(2)

    def _open(self) -> None:
        self.file = str(self._name(self._number))
        target = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        found = os.fstat(target)
        self._inode, self._start = found.st_ino, found.st_size
        _flush()
        for descriptor in (1, 2):
            os.dup2(target, descriptor)
            os.set_inheritable(descriptor, True)
        if target > 2:
            os.close(target)

    def _name(self, number: int) -> Path:
        first = self._first
        return first.with_name(f"{first.stem}.{number}{first.suffix}") if number else first

    def _files(self) -> list[tuple[int, Path]]:
        first = self._first
        found = [(0, first)] if first.exists() else []
        for path in first.parent.glob(f"{first.stem}.*{first.suffix}"):
            middle = path.name[len(first.stem) + 1 : -len(first.suffix) or None]
            if middle.isdigit():
                found.append((int(middle), path))
        return sorted(found)

    def _forget(self) -> None:
        for _, path in self._files()[:-KEPT]:
            path.unlink(missing_ok=True)


def tail(region: Region | None, size: int = TAIL) -> str:
    """The end of an attempt's output as text."""
    if region is None:
        return ""
    file, offset, length = region
    wanted = min(length, size)
    try:
        with open(file, "rb") as log:
            log.seek(offset + length - wanted)
            text = log.read(wanted)
    except OSError:
        return ""
    return text.decode("utf-8", "replace").lstrip("�")


class _Unfailing(io.FileIO):
    """A full disk costs lines of the log; it is not the fault of the job that prints."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            return len(data)


def _text(descriptor: int) -> io.TextIOWrapper:
    raw = io.BufferedWriter(_Unfailing(descriptor, "w", closefd=False))
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def _is_shut(stream: Any) -> bool:
    return stream is None or getattr(stream, "closed", False) is True


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):  # a stream that user code has put here, or closed
            pass
