"""The journal thread: what it has committed, what it does when the disk does not take facts."""

from __future__ import annotations

import os
import resource
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headrace.daemons.dispatch.effects import Record
from headrace.daemons.journal.checkup import verify
from headrace.daemons.journal.committer import Committer
from headrace.daemons.journal.journal import Journal
from headrace.pipeline.definition import RunOptions
from headrace.pipeline.errors import JournalError
from headrace.pipeline.facts import Accepted, Finished, Pruned, Registered, Returned

RUN = "0" * 31 + "1"


class Desk:
    """A committer and the loop side of it."""

    def __init__(self, folder: Path) -> None:
        self.journal = Journal.open(folder)
        self.failures: list[BaseException] = []
        self.failed = threading.Event()
        self.committer = Committer(self.journal, self._fail, retry_every=0.02)
        self.last = self.journal.last
        self.number = 0
        self.done: list[int] = []

    def _fail(self, error: BaseException) -> None:
        self.failures.append(error)
        self.failed.set()

    def put(self, count: int = 1, size: int = 10) -> int:
        """A batch of facts about nobody in particular."""
        batch = [Record(self.last + 1 + n, None, Registered(f"b{n}", "p" * size, 1.0)) for n in range(count)]
        return self.put_batch(batch)

    def put_batch(self, batch: list[Record]) -> int:
        self.last += len(batch)
        self.number += 1
        self.committer.put(self.number, batch)
        return self.number

    def wait(self, until: Callable[[], bool]) -> None:
        """Until something is so, looking whenever the committer says that there is news."""
        deadline = time.monotonic() + 60
        while not until():
            assert time.monotonic() < deadline, f"done {self.done}, stalled {self.committer.stalled}"
            select.select([self.committer], [], [], 0.2)
            self.done += self.committer.done()

    def wait_for(self, number: int) -> None:
        self.wait(lambda: number in self.done)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "data")
    yield desk
    assert desk.committer.close(60)
    desk.journal.close()


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_batches_are_told_as_done_in_their_order_once_they_are_on_disk(desk: Desk) -> None:
    numbers = [desk.put(count=number % 5) for number in range(100)]
    desk.wait_for(numbers[-1])
    assert desk.done == numbers
    assert verify(desk.journal.folder).last == desk.last


def test_the_loop_is_woken_and_then_left_alone(desk: Desk) -> None:
    desk.put()
    assert select.select([desk.committer], [], [], 60)[0]
    desk.wait_for(1)
    assert not select.select([desk.committer], [], [], 0)[0]
    assert desk.committer.done() == []


def test_closing_commits_what_waits(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "data")
    for _ in range(50):
        desk.put(count=20)
    assert desk.committer.close(60)
    assert desk.journal.last == desk.last
    desk.journal.close()


def test_a_full_disk_acknowledges_nothing_and_goes_on_by_itself_when_there_is_room(desk: Desk) -> None:
    desk.wait_for(desk.put())
    before = desk.journal.last
    log = desk.journal.folder / "journal.db-wal"
    with files_no_larger_than(log.stat().st_size + 40_000):
        stuck = desk.put(count=200, size=1000)
        desk.wait(lambda: desk.committer.stalled is not None)
        later = desk.put()
        for _ in range(3):
            desk.wait(lambda: True)
        assert stuck not in desk.done and desk.journal.last == before
        assert desk.journal.archive.all_facts(after=before) == []
        assert desk.committer.stalled is not None and "cannot be written" in desk.committer.stalled
    desk.wait_for(later)
    assert desk.committer.stalled is None
    assert desk.done == [1, stuck, later] and desk.journal.last == desk.last
    assert verify(desk.journal.folder).ok and not desk.failures


def test_reading_goes_on_while_the_disk_is_full(desk: Desk) -> None:
    accepted = Record(desk.last + 1, RUN, Accepted(RUN, 1.0, RunOptions()), b"", b"definition")
    desk.wait_for(desk.put_batch([accepted]))
    with files_no_larger_than((desk.journal.folder / "journal.db-wal").stat().st_size):
        last = desk.put(count=10)
        desk.wait(lambda: desk.committer.stalled is not None)
        assert desk.journal.archive.definition(RUN) == b"definition"
    desk.wait_for(last)


def test_closing_does_not_wait_for_a_full_disk(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "data")
    with files_no_larger_than((tmp_path / "data" / "journal.db-wal").stat().st_size):
        desk.put(count=100, size=1000)
        desk.wait(lambda: desk.committer.stalled is not None)
        assert desk.committer.close(60)
    desk.journal.close()
    again = Journal.open(tmp_path / "data")
    assert again.last == 2
    again.close()


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounts a small file system")
def test_a_file_system_without_room_acknowledges_nothing_and_goes_on_when_there_is_some(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)], capture_output=True).returncode:
        pytest.skip("may not mount")
    try:
        desk = Desk(place / "data")
        with (place / "ballast").open("wb") as ballast:
            ballast.write(bytes(2_000_000))
        numbers = [desk.put(count=100, size=2000) for _ in range(6)]
        desk.wait(lambda: desk.committer.stalled is not None)
        durable = desk.journal.last
        assert verify(place / "data").last == durable < desk.last
        (place / "ballast").unlink()
        desk.wait_for(numbers[-1])
        assert desk.committer.stalled is None and verify(place / "data").last == desk.last
        assert desk.committer.close(60)
        desk.journal.close()
        assert verify(place / "data").ok
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_batch_that_can_never_be_committed_is_the_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "data")
    desk.committer.put(1, [Record(desk.last + 7, None, Registered("b", "p", 1.0))])
    assert desk.failed.wait(60)
    assert isinstance(desk.failures[0], JournalError) and desk.committer.done() == []
    desk.journal.close()


FAILING_SYNC = """
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>
int fsync(int fd) { if (access(getenv("FAIL"), F_OK) == 0) { errno = EIO; return -1; } return 0; }
int fdatasync(int fd) { return fsync(fd); }
"""
SYNCED_WRITER = """
import os, sys, threading
from headrace.daemons.journal.committer import Committer
from headrace.daemons.dispatch.effects import Record
from headrace.daemons.journal.journal import Journal
from headrace.pipeline.facts import Registered
journal = Journal.open(sys.argv[1])
ended = threading.Event()
committer = Committer(journal, lambda error: (print("failed:", error, flush=True), os._exit(70)))
committer.put(1, [Record(2, None, Registered("a", "p", 1.0))])
while 1 not in committer.done():
    pass
open(os.environ["FAIL"], "w").close()
committer.put(2, [Record(3, None, Registered("b", "p", 1.0))])
ended.wait(60)
"""


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("cc") is None, reason="compiles a failing fsync for Linux")
def test_a_failed_sync_ends_the_process_and_the_next_one_goes_by_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "sync.c").write_text(FAILING_SYNC)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", tmp_path / "sync.so", tmp_path / "sync.c"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(tmp_path / "sync.so"), "FAIL": str(tmp_path / "fail")}
    folder = tmp_path / "data"
    ended = subprocess.run(
        [sys.executable, "-c", SYNCED_WRITER, str(folder)], env=environment, capture_output=True, text=True, timeout=200
    )
    assert (ended.returncode, ended.stdout) == (70, "failed: disk I/O error\n"), ended.stderr
    journal = Journal.open(folder)
    assert journal.epoch == 2 and ("a", "p") in journal.registered()
    journal.close()


def test_pruned_runs_are_swept_when_there_is_nothing_else_to_do(desk: Desk) -> None:
    at = desk.last
    batch = [Record(at + 1, RUN, Accepted(RUN, 1.0, RunOptions()), b"", b"definition")]
    batch += [Record(at + 2 + n, RUN, Returned("A", (n,), 1, "success"), b"r") for n in range(2500)]
    batch += [Record(at + 2502, RUN, Finished(2.0, "success")), Record(at + 2503, None, Pruned(RUN, 3.0))]
    desk.wait_for(desk.put_batch(batch))
    desk.wait(lambda: verify(desk.journal.folder).facts == 2)
    desk.wait_for(desk.put())
    assert verify(desk.journal.folder).ok
