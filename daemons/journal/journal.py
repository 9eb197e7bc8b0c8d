"""The journal: the one place where the truth about runs is kept. SQLite in WAL mode, one writer, synced commits.

It knows facts by their dense sequence, and derives from them, in the same transaction, what has to be found quickly:
the runs, the Brokers, what was pruned. It decides nothing. The Router's machine numbers the facts; a batch that does
not go on where the last one ended is refused.

A commit is: one transaction with all rows of the batch, synced; then the mark. Whoever rests on a fact waits for both.
When it is opened it raises the epoch, after it has made sure that everything that was acknowledged is still there.
Damage is refused before anything is changed; a torn tail, which nobody can rest on, is cut and told in `recovered`.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, NoReturn

from ...pipeline.errors import JournalDamaged, JournalError
from ...pipeline.facts import EpochBegan, Pruned
from ..dispatch.effects import Record
from .archive import Archive
from .boot import boot_id
from .ids import Ids
from .inspection import NAME, Found, inspect, replay
from .lock import FolderLock
from .mark import Mark, Marked
from .rows import DRAINING, PAUSED, PAUSED_ROLE, Ends, Rows
from .standing import Standing
from .sweeping import anything_to_sweep, sweep_slice
from .tables import OWN, Step, check_sqlite, create_journal, upgrade_journal
from .tail import frames_written, torn_text

logger = logging.getLogger(__name__)


Durability = Literal["disk", "process"]


class Journal:
    """`open` it; then `commit` batches from one thread, and read by its `archive` from another."""

    def __init__(self, folder: Path, lock: FolderLock, durability: Durability, clock: Callable[[], float]) -> None:
        self.folder = folder
        self.path = folder / NAME
        self.epoch = 0
        self.last = 0
        """The sequence of the last committed fact."""
        self.recovered: str | None = None
        """What was cut from the end when it was opened, in words."""
        self.previous: EpochBegan | None = None
        """The beginning of the epoch before this one."""
        self.boot = boot_id()
        self.last_seen: float | None = None
        """Wall time of the last commit before this epoch."""
        self.unswept = True
        """There may be pruned runs to `sweep`."""
        self.ids = Ids()
        """What it may know of runs, pruned ones included."""
        self._durability = durability
        self._clock = clock
        self._ends: Ends = {}
        self._found: list[Standing] | None = None
        self._closed = False
        self._things = ExitStack()
        self._things.callback(lock.release)

    @classmethod
    def open(
        cls, folder: str | Path, *, durability: Durability = "disk", clock: Callable[[], float] = time.time
    ) -> Journal:
        """Raises `JournalLocked`, `JournalDamaged`, or `JournalError` when the folder cannot be used."""
        check_sqlite()
        folder = Path(folder)
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FolderLock(folder)
        except OSError as error:
            raise JournalError(f"the data folder {folder} cannot be used: {error}") from error
        journal = cls(folder, lock, durability, clock)
        try:
            journal._begin()
        except BaseException:
            journal._things.close()
            raise
        return journal

    @property
    def rebooted(self) -> bool:
        """The machine was started anew since the last epoch began: what was not synced may be lost."""
        return self.previous is not None and self.previous.boot != self.boot

    # Opening ----------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        found = inspect(self.folder)
        log = self.path.with_name(f"{NAME}-wal")
        written = frames_written(log)
        try:
            marked = found.marked or self._create()
            self._connect()
            self.recovered = torn_text(log, written, self._empty_log(), found.last)
            upgrade_journal(self._connection)
            if self.recovered:
                logger.warning("%s", self.recovered)
            self._take_over(found, marked)
        except (sqlite3.Error, OSError) as error:
            raise JournalError(f"the journal {self.path} cannot be used: {error}") from error

    def _connect(self) -> None:
        self._connection = sqlite3.connect(
            self.path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=5.0
        )
        self._things.callback(self._connection.close)
        synchronous = "FULL" if self._durability == "disk" else "NORMAL"
        macos = ("fullfsync = 1", "checkpoint_fullfsync = 1")
        for pragma in ("journal_mode = WAL", f"synchronous = {synchronous}", *macos):
            self._connection.execute(f"PRAGMA {pragma}")

    def _create(self) -> Marked:
        """A new journal, which is there whole or not at all; its mark comes first."""
        marked = Marked(os.urandom(16), 0, 0.0)
        mark = Mark(self.folder)
        mark.write(marked)
        mark.sync()
        mark.close()
        new = self.folder / "journal.new"
        for leftover in self.folder.glob(f"{new.name}*"):
            leftover.unlink()
        create_journal(new, marked.journal)
        new.rename(self.path)
        _sync_folder(self.folder)
        return marked

    def _empty_log(self) -> int:
        """How many pages SQLite found committed. The rest goes, so that it cannot be taken for something later."""
        _, committed, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return int(committed)

    def _take_over(self, found: Found, marked: Marked) -> None:
        """A new epoch, on disk before anybody hears of it."""
        self.last, self.previous = found.last, found.previous
        self.last_seen = marked.at or None
        self._identity = marked.journal
        self._mark = Mark(self.folder)
        self._things.callback(self._mark.close)
        self._ends = {standing.id: (standing.number, standing.last) for standing in found.standings}
        self._ends[None] = (OWN, found.last_own)
        self.epoch = (self.previous.epoch if self.previous else 0) + 1
        self.commit([Record(self.last + 1, None, EpochBegan(self.epoch, self._clock(), self.boot))])
        self._write_mark()
        self._mark.sync()
        self._found = found.standings
        self.ids = Ids.of(self._connection)
        self.archive = Archive(self.path)
        self._things.callback(self.archive.close)

    # Standing ---------------------------------------------------------------------------------------------------

    def open_runs(self) -> Iterator[Standing]:
        """The runs that are not over, in the order of their acceptance."""
        found, self._found = self._found, None
        if found is None:
            found = list(replay(self.archive.connection, self._damaged))
        return iter(sorted(found, key=lambda standing: standing.number))

    def _damaged(self, what: str) -> NoReturn:
        raise JournalDamaged(str(self.path), what)

    def registered(self) -> list[tuple[str, str]]:
        """(identity, place) of every Broker that has registered and not left."""
        return self._connection.execute("SELECT identity, place FROM brokers ORDER BY identity").fetchall()

    def draining(self) -> set[str]:
        """The identities of those that are to run empty."""
        rows = self._connection.execute("SELECT name FROM meta WHERE name LIKE ?", (f"{DRAINING}%",))
        return {name.removeprefix(DRAINING) for (name,) in rows}

    def paused(self) -> set[str | None]:
        """The roles that are paused; None among them: the whole cluster is."""
        rows = self._connection.execute("SELECT name FROM meta WHERE name >= 'paused' AND name < 'pausee'")
        return {name.removeprefix(PAUSED_ROLE) if name != PAUSED else None for (name,) in rows}

    # Committing -------------------------------------------------------------------------------------------------

    def commit(self, batch: list[Record]) -> None:
        """All of it or nothing: when this returns, the batch is on disk. Raises `sqlite3.Error`, and then nothing of it
        counts; the same batch may be given again."""
        rows = self._rows(batch)
        self.ids.add(rows.opened)
        self._write(list(rows.steps()))
        self.last = batch[-1].sequence
        self._found = None
        self.unswept = self.unswept or rows.prunes
        self._ends.update(rows.ends)
        for run in rows.closed:
            self._ends.pop(run, None)
        if self._durability == "disk":
            self._write_mark()

    def _write(self, steps: list[Step]) -> None:
        if len(steps) == 1:  # it is a transaction by itself
            self._connection.execute(*steps[0])
            return
        with self._transaction() as connection:
            for statement, values in steps:
                connection.execute(statement, values)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def _rows(self, batch: list[Record]) -> Rows:
        rows = Rows(self._end_of, self._clock())
        expected = self.last
        for record in batch:
            expected += 1
            if record.sequence != expected:
                raise JournalError(f"fact {record.sequence} was to be committed where {expected} is next")
            rows.add(record)
            if type(record.fact) is Pruned and record.fact.run in self._ends:
                raise JournalError(f"run {record.fact.run} is open and cannot be pruned")
        return rows

    def _end_of(self, run: str | None) -> tuple[int, int]:
        end = self._ends.get(run)
        if end is None:
            end = self._connection.execute(
                "SELECT number, (SELECT max(seq) FROM facts WHERE run = number) FROM runs WHERE id = ?", (run,)
            ).fetchone()
        if end is None:
            raise JournalError(f"there is no run {run} to record a fact of")
        return end[0], end[1]

    def _write_mark(self) -> None:
        try:
            self._mark.write(Marked(self._identity, self.last, self._clock()))
        except OSError as error:
            logger.error("journal.mark stays behind at an earlier fact than %d: %s", self.last, error)

    # Pruning ----------------------------------------------------------------------------------------------------

    def prune(self, runs: list[str]) -> None:
        """Put tombstones in the place of finished runs; for whoever numbers the facts himself, without a Router."""
        now = self._clock()
        self.commit([Record(self.last + 1 + at, None, Pruned(run, now)) for at, run in enumerate(runs)])

    def sweep(self) -> bool:
        """Delete one slice of what is not needed any more, on the thread that commits. False: there is no more."""
        self.unswept = anything_to_sweep(self._connection, self._clock())
        if not self.unswept:
            return False
        with self._transaction() as connection:
            sweep_slice(connection, self._clock())
        return True

    def close(self) -> None:
        """Leave one whole file behind, and the mark on disk. Closing again does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._write_mark()
            self._mark.sync()
        finally:
            self._things.close()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
