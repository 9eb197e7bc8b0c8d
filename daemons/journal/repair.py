"""What can be saved of a damaged journal, into a new one. The damaged one stays as it is.

Each run is kept up to its last good fact before the first bad or missing one: a run that stands earlier than it did is
a state that a crash could have left, a run with a hole is not. What such a run has lost is done again. Everything that
is derived from the facts is made again from them.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...pipeline.errors import JournalError
from ...pipeline.facts import Accepted, EpochBegan, Fact, Pruned, Returned
from ..dispatch.effects import Record
from .checkup import journal_file, read_fact
from .inspection import FACT_COLUMNS, NAME, UNREADABLE, Row, is_input_whole, is_result_whole, read_only
from .mark import Mark, Marked, read_mark
from .rows import Ends, Rows
from .tables import OWN, create_journal

LEAP = 1000
"""Epochs skipped, because the last one may be among what is lost and must never begin again."""


@dataclass
class Repaired:
    """What became of the journal."""

    path: str
    facts: int = 0
    lost: int = 0
    """Facts that were there and could not be kept."""
    cut: list[str] = field(default_factory=list)
    """The runs that now stand earlier than they did."""
    gone: list[str] = field(default_factory=list)
    """The runs of which not even the beginning could be kept."""
    epoch: int = 0

    def __str__(self) -> str:
        head = f"{self.path}: {self.facts} facts kept, {self.lost} lost"
        cut = [f"run {run} stands earlier than it did" for run in self.cut]
        return "\n".join([head, *cut, *(f"run {run} is gone" for run in self.gone)])


def repair(path: str | Path, into: str | Path) -> Repaired:
    """Save what can be saved of the journal at `path` into the new data folder `into`."""
    source, folder = journal_file(path), Path(into)
    if folder.exists() and any(folder.iterdir()):
        raise JournalError(f"the folder {folder} is not empty; give a new one to repair into")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    identity = _identity(source.parent)
    create_journal(folder / NAME, identity)
    damaged = read_only(source)
    target = sqlite3.connect(folder / NAME, isolation_level=None)
    try:
        return _Salvage(damaged, target, identity, folder).run()
    finally:
        damaged.close()
        target.close()


class _Salvage:
    def __init__(self, damaged: sqlite3.Connection, target: sqlite3.Connection, identity: bytes, folder: Path) -> None:
        self._damaged = damaged
        self._target = target
        self._folder = folder
        self._repaired = Repaired(str(folder / NAME))
        self._identity = identity
        self._ends: Ends = {None: (OWN, 0)}
        self._names: dict[int, str] = {}
        self._broken: set[int] = set()
        self._pruned: set[str] = set()
        self._last = 0

    def run(self) -> Repaired:
        self._target.execute("BEGIN")
        self._copy_facts()
        self._copy_table("tombstones", 6)
        self._copy_table("answers", 4)
        self._drop_half_pruned()
        self._begin_epoch()
        (count,) = self._target.execute("SELECT count(*) FROM facts").fetchone()
        self._target.execute("UPDATE meta SET value = ? WHERE name = 'pruned'", (self._last - count,))
        self._target.execute("COMMIT")
        mark = Mark(self._folder)
        mark.write(Marked(self._identity, self._last, time.time()))
        mark.sync()
        mark.close()
        self._repaired.facts = count
        self._repaired.cut = sorted(self._names[number] for number in self._broken if number in self._names)
        return self._repaired

    def _copy_facts(self) -> None:
        """Facts that were committed together are written together."""
        rows, written = Rows(self._ends.__getitem__, 0.0), 0.0
        for *row, result, check, at in _readable(self._damaged):
            if at != written:
                self._write(rows)
                rows, written = Rows(self._ends.__getitem__, at), at
            record = self._record(tuple(row), result, check)
            if record is None:
                self._repaired.lost += 1
                continue
            rows.add(record)
            self._ends[record.run] = rows.ends[record.run]
            self._last = record.sequence
        self._write(rows)

    def _write(self, rows: Rows) -> None:
        rows.write(self._target)

    def _record(self, row: Row, result: bytes | None, check: int | None) -> Record | None:
        """The fact of a row, when it goes on where the good facts of its run end."""
        number, seq, prior = row[:3]
        fact = read_fact(row)
        if fact is not None and number == OWN:
            self._note_own(fact)
            return Record(seq, None, fact, packed=row[8])
        if number in self._broken:
            return None
        if isinstance(fact, Accepted) and seq == number:
            return self._accepted(seq, fact, row[8])
        name = self._names.get(number)
        goes_on = name is not None and prior == self._ends[name][1] and is_result_whole(seq, result, check)
        if fact is None or not goes_on:
            self._broken.add(number)
            if name is None:
                self._repaired.gone.append(f"number {number}")
            return None
        if isinstance(fact, Returned):
            self._repaired.epoch = max(self._repaired.epoch, fact.lease >> 40)
        return Record(seq, name, fact, result or b"", packed=row[8])

    def _accepted(self, seq: int, fact: Accepted, packed: bytes) -> Record | None:
        given = self._given(seq)
        if given is None:
            self._broken.add(seq)
            self._repaired.gone.append(fact.run)
            return None
        self._names[seq] = fact.run
        return Record(seq, fact.run, fact, b"", *given, packed)

    def _note_own(self, fact: Fact) -> None:
        if isinstance(fact, EpochBegan):
            self._repaired.epoch = max(self._repaired.epoch, fact.epoch)
        elif isinstance(fact, Pruned):
            self._pruned.add(fact.run)

    def _given(self, number: int) -> tuple[bytes, bytes | None] | None:
        """A run's definition and data, when they are whole."""
        try:
            row = self._damaged.execute(
                "SELECT definition, data, crc FROM inputs WHERE number = ?", (number,)
            ).fetchone()
        except UNREADABLE:
            return None
        return row[:2] if row is not None and is_input_whole(number, *row) else None

    def _copy_table(self, table: str, width: int) -> None:
        """Rows that no fact can make again, as far as they can be read."""
        marks = ", ".join("?" * width)
        try:
            for row in self._damaged.execute(f"SELECT * FROM {table}"):
                self._target.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row)
        except UNREADABLE:
            self._repaired.lost += 1

    def _drop_half_pruned(self) -> None:
        """A pruned run of which the end is lost must not come to life again."""
        for run in self._pruned:
            row = self._target.execute("SELECT number FROM runs WHERE id = ?", (run,)).fetchone()
            if row is not None:
                for table, column in (("facts", "run"), ("inputs", "number"), ("runs", "number")):
                    self._target.execute(f"DELETE FROM {table} WHERE {column} = ?", row)

    def _begin_epoch(self) -> None:
        self._last += 1
        self._repaired.epoch += LEAP
        now = time.time()
        rows = Rows(self._ends.__getitem__, now)
        rows.add(Record(self._last, None, EpochBegan(self._repaired.epoch, now)))
        self._write(rows)


def _identity(folder: Path) -> bytes:
    try:
        marked = read_mark(folder)
    except ValueError:
        marked = None
    return marked.journal if marked else os.urandom(16)


def _readable(connection: sqlite3.Connection) -> Iterator[Row]:
    """Every row of facts that can be read, in order. Where a page cannot, ever larger steps are taken beyond it."""
    after, step = 0, 1
    while True:
        try:
            found = False
            for row in connection.execute(
                f"SELECT {FACT_COLUMNS}, result, result_crc, at FROM facts WHERE seq > ? ORDER BY seq", (after,)
            ):
                found, after, step = True, row[1], 1
                yield row
            return
        except sqlite3.DatabaseError as error:
            if step > 2**40:
                raise JournalError(f"nothing can be read: {error}; restore a copy") from error
            after += step
            step = 1 if found else step * 2
