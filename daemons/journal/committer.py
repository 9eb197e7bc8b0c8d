"""The journal thread: batches in, numbers of committed batches out.

The loop puts one batch per turn and goes on; the thread takes all that wait, commits them in one transaction, and makes
`fileno()` readable. A disk that is full keeps the batches pending and says so in `stalled`; they are tried again until
there is room. A disk that failed to sync has lost nobody knows what: the process has to end, and the next one goes by
what is really there. When there is nothing to commit, pruned runs are swept.

Both threads share one interpreter lock, and whatever this one does after a commit keeps the loop from telling of it. So
there are no locks but those of the queue, and nobody looks for something to sweep unless there may be something.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from ..dispatch.effects import Record
from .journal import Journal

logger = logging.getLogger(__name__)

TOGETHER = 10_000
"""Facts in one transaction, at most (a larger batch stays whole)."""
LOOK_EVERY = 60.0
"""Seconds between looks for answers that are too old to be kept; what was pruned is swept at once."""
PASSING = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_SHMSIZE,
    }
)
"""Errors after which nothing was written and trying again makes sense: no room (or quota), no memory, in use."""

Batch = tuple[int, list[Record]]


class Committer:
    """A thread around a journal. `on_failure` is called on that thread when it can never commit again."""

    def __init__(
        self, journal: Journal, on_failure: Callable[[BaseException], None], retry_every: float = 0.25
    ) -> None:
        self.stalled: str | None = None
        """Why nothing is committed at the moment."""
        self._journal = journal
        self._on_failure = on_failure
        self._retry_every = retry_every
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()
        """None wakes the thread, to see that it is closed."""
        self._next: Batch | None = None
        """Taken from the queue, and not begun."""
        self._done: deque[int] = deque()
        self._closing = threading.Event()
        self._look_at = float("-inf")
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Readable when batches were committed, or `stalled` has changed."""
        return self._read

    def put(self, number: int, batch: list[Record]) -> None:
        self._queue.put((number, batch))

    def done(self) -> list[int]:
        """The numbers of the batches that were committed since the last call, in order."""
        try:
            os.read(self._read, 4096)
        except BlockingIOError:
            pass
        return [self._done.popleft() for _ in range(len(self._done))]

    def close(self, timeout: float = 10.0) -> bool:
        """Commit what waits, then end the thread. False: it could not, within the time."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            return False
        os.close(self._read)
        os.close(self._write)
        return True

    # On the journal thread --------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            while self._await_work():
                numbers, batch = self._gather()
                if self._commit(batch):
                    self._report(numbers)
        except Exception as error:  # noqa: BLE001 - whatever it is: the Router cannot go on without its journal
            logger.critical("the journal cannot be written any more: %s", error)
            self._on_failure(error)

    def _await_work(self) -> bool:
        """False: closed, and nothing is left to do."""
        while self._next is None:
            if self._queue.empty():
                if self._closing.is_set():
                    return False
                if self._sweep():
                    continue
            self._next = self._queue.get()
        return True

    def _sweep(self) -> bool:
        """One slice of what there is to sweep. False: there is no more of it."""
        if not self._journal.unswept and time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + LOOK_EVERY
        try:
            return self._journal.sweep()
        except sqlite3.Error as error:
            if not passing(error):
                raise
            return False

    def _gather(self) -> tuple[list[int], list[Record]]:
        """As many waiting batches as go together."""
        numbers: list[int] = []
        together: list[Record] = []
        while self._next is not None and (not together or len(together) + len(self._next[1]) <= TOGETHER):
            numbers.append(self._next[0])
            together += self._next[1]
            self._next = None if self._queue.empty() else self._queue.get()
        return numbers, together

    def _commit(self, batch: list[Record]) -> bool:
        """Until it is on disk. False: closed before that."""
        while batch:
            try:
                self._journal.commit(batch)
                break
            except sqlite3.Error as error:
                if not passing(error):
                    raise
                self._stall(f"the journal cannot be written: {error}")
            if self._closing.wait(self._retry_every):
                return False
        self._stall(None)
        return True

    def _stall(self, reason: str | None) -> None:
        if reason == self.stalled:
            return
        if reason:
            logger.error("%s; %s, trying again every %g s", self._journal.path, reason, self._retry_every)
        else:
            logger.info("%s takes facts again", self._journal.path)
        self.stalled = reason
        self._wake()

    def _report(self, numbers: list[int]) -> None:
        self._done += numbers
        self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._write, b".")
        except BlockingIOError:
            pass  # it is readable already


def passing(error: sqlite3.Error) -> bool:
    """Will it go by itself, with nothing written in the meantime?"""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and (code in PASSING or code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED))
