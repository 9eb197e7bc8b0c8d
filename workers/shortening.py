"""Output that is too long loses its middle: the beginning and the end are kept, and a line says how much is missing.

A part of an output file is shortened in place, also while its process goes on writing: that appends, wherever the end
is. What is written in just that moment may be lost with the middle. The line can be found again, so that shortening
more than once counts everything that went.
"""

from __future__ import annotations

import fcntl
import os
import re

LIMIT = 4 * 1024 * 1024
"""Bytes of one attempt's output that are kept."""
_LINE = "\n... {} bytes of output were cut here ...\n"
_FOUND = re.compile(rb"\n\.\.\. (\d+) bytes of output were cut here \.\.\.\n")
_LONGEST = len(_LINE) + 24


def shorten(path: str, begin: int, limit: int, wait: bool = True) -> int:
    """Let what stands in the file from `begin` on have about `limit` bytes, if it has more. By how much the file has
    become shorter. Not `wait`: only when nobody else is at it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        return _shorten(file, begin, limit)
    except OSError:
        return 0  # somebody else is at it, or the disk is full: then it stays as it is
    finally:
        os.close(file)


def _shorten(file: int, begin: int, limit: int) -> int:
    size = os.fstat(file).st_size
    if size - begin <= limit + _LONGEST:
        return 0
    middle = begin + limit // 2
    found = _FOUND.match(os.pread(file, _LONGEST, middle))
    kept = _read(file, size - limit // 2, size)
    cut = size - len(kept) - middle
    if found is not None:
        cut += int(found[1]) - len(found[0])
    os.ftruncate(file, middle)
    rest = memoryview(_LINE.format(cut).encode() + kept)
    while rest:
        rest = rest[os.write(file, rest) :]
    return size - os.fstat(file).st_size


def _read(file: int, start: int, end: int) -> bytes:
    parts: list[bytes] = []
    while start < end and (part := os.pread(file, min(end - start, 1 << 20), start)):
        parts.append(part)
        start += len(part)
    return b"".join(parts)
