"""The journal on disk: its tables, how a fact becomes a row, and how a row proves that it is whole.

`facts` is the truth; every other table can be made again from it, and `headrace doctor --journal` compares them. A row
of `facts` names the run's fact before it (`prior`), so that a missing row is missed by its neighbour, and carries two
checksums: one over the fact and its place, which is looked at when the journal is opened, and one over the result,
which is looked at when the result is read, so that opening costs the same for small and for large results.

Run 0 is the Router itself. A run's number is the sequence of its `Accepted`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any
from zlib import crc32

from ...pipeline.errors import ConfigError
from ...pipeline.facts import Path

APPLICATION = 0x48445243
VERSION = 2
OLDEST_SQLITE = (3, 24)
CHUNK = 64
"""Rows per statement at most; with the widest table this stays below the 999 variables of an old SQLite."""
OWN = 0
"""The run number of facts that are about the Router itself."""

STATE = (
    "CASE WHEN verdict IS NOT NULL THEN verdict WHEN cancelled IS NOT NULL THEN 'cancelling' "
    "WHEN active THEN 'running' ELSE 'waiting' END"
)
"""The state of a run, derived and never stored, so that it cannot contradict its row. An index is on this very text."""
OPEN_STATES = ("waiting", "running", "cancelling")

RUN_COLUMNS = (
    "number, id, title, key, accepted, active, control, paused, cancelled, ending, round, "
    "verdict, ended, duration, error, parent"
)
SUB_RUNS = (
    """CREATE INDEX runs_by_parent ON runs (parent) WHERE parent IS NOT NULL""",
    """CREATE INDEX runs_on_top ON runs (number) WHERE parent IS NULL""",
)
"""Since schema 2 a run may belong to another one: `parent` is the id of that."""
SCHEMA = (
    """CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID""",
    """CREATE TABLE facts (
        seq INTEGER PRIMARY KEY, run INTEGER, prior INTEGER, kind TEXT, job TEXT, path BLOB, round INTEGER,
        attempt INTEGER, at REAL, body BLOB, crc INTEGER, result BLOB, result_crc INTEGER)""",
    """CREATE INDEX facts_by_run ON facts (run)""",
    """CREATE UNIQUE INDEX facts_by_place ON facts (run, job, path, round, attempt) WHERE job IS NOT NULL""",
    """CREATE TABLE runs (
        number INTEGER PRIMARY KEY, id TEXT UNIQUE, title TEXT, key TEXT, accepted REAL, active INTEGER,
        control INTEGER DEFAULT 0, paused INTEGER DEFAULT 0, cancelled TEXT, ending TEXT, round INTEGER DEFAULT 0,
        verdict TEXT, ended REAL, duration REAL, error BLOB, parent TEXT)""",
    f"""CREATE INDEX runs_by_state ON runs ({STATE})""",
    """CREATE INDEX runs_by_key ON runs (key) WHERE key IS NOT NULL""",
    """CREATE INDEX runs_by_end ON runs (ended) WHERE ended IS NOT NULL""",
    *SUB_RUNS,
    """CREATE TABLE inputs (number INTEGER PRIMARY KEY, definition BLOB, data BLOB, crc INTEGER)""",
    """CREATE TABLE brokers (identity TEXT PRIMARY KEY, place TEXT) WITHOUT ROWID""",
    """CREATE TABLE tombstones (
        id TEXT PRIMARY KEY, key TEXT, verdict TEXT, accepted REAL, ended REAL, pruned REAL) WITHOUT ROWID""",
    """CREATE TABLE sweeps (number INTEGER PRIMARY KEY)""",
    """CREATE TABLE answers (id TEXT PRIMARY KEY, digest BLOB, body BLOB, at REAL) WITHOUT ROWID""",
    """CREATE INDEX answers_by_time ON answers (at)""",
)

Step = tuple[str, list[Any]]
"""A statement and its values."""


@dataclass(frozen=True, eq=False)
class Insert:
    """One INSERT for many rows: in chunks of powers of two, so that few statement texts serve every number of rows.

    Every step of a statement gives up the interpreter lock and has to win it back from a busy loop thread: what counts
    is the number of steps, not of rows.
    """

    head: str
    width: int
    tail: str = ""
    texts: dict[int, str] = field(default_factory=dict)

    def steps(self, values: list[Any]) -> Iterator[Step]:
        """`values` is flat: `width` values per row."""
        start, size = 0, CHUNK
        while start < len(values):
            while size * self.width > len(values) - start:
                size //= 2
            end = start + size * self.width
            yield self.texts.get(size) or self._text(size), values[start:end]
            start = end

    def _text(self, rows: int) -> str:
        row = f"({', '.join('?' * self.width)})"
        self.texts[rows] = f"{self.head} VALUES {', '.join([row] * rows)} {self.tail}"
        return self.texts[rows]


def create_journal(path: FilePath, identity: bytes) -> None:
    """An empty journal, synced."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN")
        for statement in SCHEMA:
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("INSERT INTO meta VALUES ('id', ?), ('pruned', 0)", (identity,))
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


def upgrade_journal(connection: sqlite3.Connection) -> None:
    """Bring a journal of the schema before up to this one, whole or not at all."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for statement in ("ALTER TABLE runs ADD COLUMN parent TEXT", *SUB_RUNS, f"PRAGMA user_version = {VERSION}"):
        connection.execute(statement)
    connection.execute("COMMIT")


def columns_of(connection: sqlite3.Connection) -> str:
    """`RUN_COLUMNS`, also of a journal of the schema before."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return RUN_COLUMNS if version >= VERSION else RUN_COLUMNS.replace("parent", "NULL")


def check_sqlite() -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        wanted = ".".join(map(str, OLDEST_SQLITE))
        raise ConfigError(f"this Python has SQLite {sqlite3.sqlite_version}; the journal needs {wanted} or newer")


def path_key(path: Path) -> bytes:
    """An index path as bytes that sort in index order; the keys of what is below a path begin with its own."""
    if not path:
        return b""
    return b"".join([_index_key(index) for index in path])


def _index_key(index: int) -> bytes:
    size = (index.bit_length() + 7) >> 3
    return b"%c%b" % (size, index.to_bytes(size, "big"))


def below_key(path: Path) -> bytes:
    """Greater than the key of everything below `path`, and not greater than any other greater key."""
    return path_key(path) + b"\xff"


def key_path(key: bytes) -> Path:
    path, at = [], 0
    while at < len(key):
        end = at + 1 + key[at]
        path.append(int.from_bytes(key[at + 1 : end], "big"))
        at = end
    return tuple(path)


def fact_crc(
    seq: int,
    run: int,
    prior: int,
    kind: str,
    job: str | None,
    path: bytes | None,
    round: int,
    attempt: int,
    body: bytes,
) -> int:
    numbers = (seq * 1000003 + run * 8191 + prior * 131 + round * 17 + attempt) & 0xFFFFFFFF
    if job is None:
        return crc32(body, crc32(kind.encode(), numbers))
    return crc32(body, crc32(path or b"", crc32((kind + job).encode(), numbers)))


def result_crc(seq: int, result: bytes) -> int:
    return crc32(result, seq & 0xFFFFFFFF)


def input_crc(number: int, definition: bytes, data: bytes | None) -> int:
    return crc32(data or b"", crc32(definition, number & 0xFFFFFFFF))
