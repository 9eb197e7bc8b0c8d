"""The journal thread: batches in, numbers of committed batches out.

The loop puts one batch per turn and goes on; the thread takes all that wait, commits them in one transaction, and makes
`fileno()` readable. A disk that is full keeps the batches pending and says so in `stalled`; they are tried again until
there is room. A disk that failed to sync has lost nobody knows what: the process has to end, and the next one goes by
what is really there. When there is nothing to commit, pruned runs are swept.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable

from ..dispatch.effects import Record
from .journal import Journal

logger = logging.getLogger(__name__)

TOGETHER = 10_000
"""Facts in one transaction, at most (a larger batch stays whole)."""
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
        self._waiting: deque[tuple[int, list[Record]]] = deque()
        self._done: list[int] = []
        self._closing = False
        self._news = threading.Condition()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        """Readable when batches were committed, or `stalled` has changed."""
        return self._read

    def put(self, number: int, batch: list[Record]) -> None:
        with self._news:
            self._waiting.append((number, batch))
            self._news.notify()

    def done(self) -> list[int]:
        """The numbers of the batches that were committed since the last call, in order."""
        try:
            while os.read(self._read, 4096):
                pass
        except BlockingIOError:
            pass
        with self._news:
            numbers, self._done = self._done, []
        return numbers

    def close(self, timeout: float = 10.0) -> bool:
        """Commit what waits, then end the thread. False: it could not, within the time."""
        with self._news:
            self._closing = True
            self._news.notify()
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
        idle = True
        while True:
            with self._news:
                if not self._waiting and not self._closing and not idle:
                    self._news.wait()
                if self._waiting:
                    return True
                if self._closing:
                    return False
            idle = self._sweep()

    def _sweep(self) -> bool:
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
        with self._news:
            while self._waiting and (not together or len(together) + len(self._waiting[0][1]) <= TOGETHER):
                number, batch = self._waiting.popleft()
                numbers.append(number)
                together += batch
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
            with self._news:
                if self._closing:
                    return False
                self._news.wait(self._retry_every)
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
        with self._news:
            first = not self._done
            self._done += numbers
        if first:
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
