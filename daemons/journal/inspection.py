"""Is the journal whole? Looked at without changing anything, when it is opened and by `headrace doctor --journal`.

When it is opened, what the Router is going to rest on is looked at: the end against the mark, the density of the
sequence, and every fact and input of open runs. The doctor looks at everything. Both use the same checks and differ in
what they do with a finding: the one stops at the first, the other gathers them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from ...pipeline.errors import JournalDamaged, JournalError
from ...pipeline.facts import EpochBegan, unpack_fact
from .mark import Marked, read_mark
from .standing import INLINE_DATA, Standing
from .tables import APPLICATION, OPEN_STATES, OWN, STATE, VERSION, fact_crc, input_crc, result_crc

NAME = "journal.db"
NOT_A_JOURNAL = "it is no journal of a Router"
Complain = Callable[[str], None]
Row = tuple[Any, ...]

FACT_COLUMNS = "run, seq, prior, kind, job, path, round, attempt, body, crc"
_OPEN = f"INDEXED BY runs_by_state WHERE {STATE} IN ({', '.join(repr(state) for state in OPEN_STATES)})"
_RUNS = "SELECT number, id, definition, data, crc FROM (SELECT number, id FROM runs {}) LEFT JOIN inputs USING (number)"
_FACTS = (
    f"SELECT {FACT_COLUMNS} FROM (SELECT number FROM runs {{}}) "
    "CROSS JOIN facts INDEXED BY facts_by_run ON run = number"
)
UNREADABLE = (sqlite3.Error, UnicodeDecodeError)
"""What comes of reading a damaged file. The latter: what SQLite says about it holds bytes of it that are no text."""
_UNUSABLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_READONLY,
    }
)


@dataclass
class Found:
    """What there is in a data folder. `marked` None: no journal yet."""

    marked: Marked | None = None
    last: int = 0
    last_own: int = 0
    """The last fact about the Router itself."""
    previous: EpochBegan | None = None
    standings: list[Standing] = field(default_factory=list)
    """The open runs."""


def inspect(folder: Path) -> Found:
    """Everything that a Router will rest on is whole, or `JournalDamaged` says what is not. Nothing is changed."""
    path = folder / NAME

    def damaged(what: str) -> NoReturn:
        raise JournalDamaged(str(path), what)

    try:
        marked = read_mark(folder)
    except ValueError as error:
        damaged(str(error))
    if not path.exists():
        if marked is not None and marked.sequence:
            damaged(f"{NAME} is gone, but {marked.sequence} facts were written to it")
        return Found()
    connection = read_only(path)
    try:
        if not is_journal(connection):
            damaged(NOT_A_JOURNAL)
        if problem := check_version(connection):
            raise JournalError(f"{path} cannot be used: {problem}")
        return Found(
            marked,
            check_end(connection, marked, damaged),
            last_own(connection),
            epoch_began(connection, damaged),
            list(replay(connection, damaged)),
        )
    except UNREADABLE as error:
        if is_unusable(error):
            raise JournalError(f"the journal {path} cannot be read: {error}") from error
        damaged(f"SQLite says: {error}")
    finally:
        connection.close()


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that can change nothing, not even by closing."""
    address = f"{path.resolve().as_uri()}?mode=ro"
    return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False, timeout=10.0)


def is_unusable(error: Exception) -> bool:
    """Is it the disk, the rights or another process, and not the content?"""
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(code, int) and code & 0xFF in _UNUSABLE


def is_journal(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA application_id").fetchone() == (APPLICATION,))


def check_version(connection: sqlite3.Connection) -> str | None:
    """Why this journal is not for this release, if so."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        return f"it was written by a newer Headrace (schema {version}, this one reads up to {VERSION})"
    return None


def check_end(connection: sqlite3.Connection, marked: Marked | None, complain: Complain) -> int:
    """Nothing that was acknowledged is missing at the end or in between. Returns the last sequence."""
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM facts").fetchone()
    (count,) = connection.execute("SELECT count(*) FROM facts").fetchone()
    kept = dict(connection.execute("SELECT name, value FROM meta WHERE name IN ('id', 'pruned')"))
    if marked is None:
        complain("journal.mark is missing, so that nobody can tell whether its end is whole")
    elif marked.journal != kept.get("id"):
        complain("journal.mark belongs to another journal")
    elif marked.sequence > last:
        complain(f"it ends with fact {last}, but fact {marked.sequence} was written, synced and may be acknowledged")
    pruned = kept.get("pruned")
    if not isinstance(pruned, int) or last - count != pruned:
        complain(f"of {last} facts {count} are there and {pruned} were pruned: some are missing")
    return int(last)


def last_own(connection: sqlite3.Connection) -> int:
    (last,) = connection.execute("SELECT coalesce(max(seq), 0) FROM facts WHERE run = ?", (OWN,)).fetchone()
    return int(last)


def epoch_began(connection: sqlite3.Connection, complain: Complain) -> EpochBegan | None:
    """The fact that began the last epoch."""
    row = connection.execute(
        f"SELECT {FACT_COLUMNS} FROM facts WHERE seq = (SELECT value FROM meta WHERE name = 'epoch')"
    ).fetchone()
    fact = unpack_fact(row[8]) if row is not None and is_whole(row) else None
    if isinstance(fact, EpochBegan):
        return fact
    complain("the fact that began the last epoch is not what was written")
    return None


def is_whole(row: Row) -> bool:
    """Is a row of facts (`FACT_COLUMNS`) what was written?"""
    run, seq, prior, kind, job, path, round, attempt, body, crc = row
    try:
        return bool(fact_crc(seq, run, prior, kind, job, path, round, attempt, body) == crc)
    except (TypeError, ValueError, AttributeError):
        return False  # in a damaged row a column need not even be of its type


def replay(connection: sqlite3.Connection, complain: Complain, everything: bool = False) -> Iterator[Standing]:
    """The open runs (or all, in the order of their numbers), replayed from their facts; these are checked on the way
    against each other and their checksums."""
    which = "NOT INDEXED" if everything else _OPEN
    facts = connection.execute(_FACTS.format(which))
    fact = next(facts, None)
    for number, run, definition, data, crc in connection.execute(_RUNS.format(which)):
        standing = Standing(run, number)
        last = 0
        while fact is not None and fact[0] == number:
            if fact[2] != last:
                complain(f"run {run} has lost facts between {last} and {fact[1]}")
            if not is_whole(fact):
                complain(f"fact {fact[1]} of run {run} is not what was written (its checksum is wrong)")
            elif fact[4] is None:
                standing.apply(unpack_fact(fact[8]))
            last = fact[1]
            fact = next(facts, None)
        standing.last = last
        if standing.run != run:
            complain(f"the row of run {run} in the table of runs is not about the run that fact {number} accepted")
        if not is_input_whole(number, definition, data, crc):
            complain(f"the definition or the data of run {run} is not what was written")
        elif data is not None:
            standing.data_size = len(data)
            standing.data = data if len(data) <= INLINE_DATA else None
        yield standing
    if fact is not None:
        complain(f"the facts of run number {fact[0]} are out of place")


def is_input_whole(number: int, definition: Any, data: Any, crc: Any) -> bool:
    """Are a run's definition and data what was written?"""
    try:
        return bool(input_crc(number, definition, data) == crc)
    except TypeError:
        return False


def is_result_whole(sequence: int, result: Any, crc: Any) -> bool:
    """Is the result beside a fact what was written?"""
    if result is None:
        return crc is None
    return isinstance(result, bytes) and bool(result_crc(sequence, result) == crc)
