"""Output that is too long: its beginning and its end stay, and a line tells of the rest."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from headrace.workers.shortening import shorten

LIMIT = 1000


def line(count: int) -> bytes:
    return b"\n... %d bytes of output were cut here ...\n" % count


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "log").write_bytes(b"before")
    return tmp_path / "log"


def add(log: Path, data: bytes) -> None:
    with log.open("ab") as file:
        file.write(data)


def test_what_is_short_stays_as_it_is(log: Path) -> None:
    add(log, b"x" * LIMIT)
    assert shorten(str(log), 6, LIMIT) == 0
    assert log.read_bytes() == b"before" + b"x" * LIMIT


def test_the_middle_goes_and_what_stood_before_stays(log: Path) -> None:
    add(log, b"a" * 500 + b"m" * 9000 + b"z" * 500)
    gone = shorten(str(log), 6, LIMIT)
    assert log.read_bytes() == b"before" + b"a" * 500 + line(9000) + b"z" * 500
    assert gone == 9000 - len(line(9000))


def test_a_second_time_counts_everything_that_went(log: Path) -> None:
    add(log, b"a" * 500 + b"m" * 9000 + b"y" * 500)
    shorten(str(log), 6, LIMIT)
    add(log, b"n" * 4000 + b"z" * 500)
    shorten(str(log), 6, LIMIT)
    assert log.read_bytes() == b"before" + b"a" * 500 + line(13500) + b"z" * 500


def test_whoever_goes_on_writing_writes_at_the_new_end(log: Path) -> None:
    writer = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.write(writer, b"a" * 5000)
    shorten(str(log), 6, LIMIT)
    os.write(writer, b"end")
    os.close(writer)
    assert log.read_bytes().endswith(b"aend") and log.stat().st_size < 1100


def test_one_that_must_not_wait_leaves_a_file_alone_that_somebody_is_at(log: Path) -> None:
    add(log, b"a" * 5000)
    with log.open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        assert shorten(str(log), 6, LIMIT, wait=False) == 0
    assert log.stat().st_size == 5006
    assert shorten(str(log), 6, LIMIT, wait=False) > 0


def test_a_file_that_is_gone_is_nobodys_fault(tmp_path: Path) -> None:
    assert shorten(str(tmp_path / "none"), 0, LIMIT) == 0
