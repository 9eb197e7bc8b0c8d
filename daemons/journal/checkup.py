"""The doctor's look at a journal: everything, changing nothing, also while a Router is using it.

Every fact is read and decoded; what is derived from the facts is made again and compared.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...pipeline.facts import EpochBegan, Fact, Pruned, Registered, Returned, Switched, Unregistered, unpack_fact
from .inspection import (
    FACT_COLUMNS,
    NAME,
    NOT_A_JOURNAL,
    UNREADABLE,
    Row,
    check_end,
    check_version,
    epoch_began,
    is_journal,
    is_result_whole,
    is_whole,
    read_only,
    replay,
)
from .mark import Marked, read_mark
from .rows import DRAINING, KINDS, PAUSED, PAUSED_ROLE
from .tables import OWN, columns_of, path_key

SHOWN = 100
"""Problems that are told one by one."""


@dataclass
class Report:
    """What the doctor found."""

    path: str
    facts: int = 0
    runs: int = 0
    open_runs: int = 0
    epoch: int = 0
    last: int = 0
    marked: int | None = None
    problems: list[str] = field(default_factory=list)
    more: int = 0
    """Problems beyond those that are told."""

    @property
    def ok(self) -> bool:
        return not self.problems

    def complain(self, problem: str) -> None:
        if len(self.problems) < SHOWN:
            self.problems.append(problem)
        else:
            self.more += 1

    def __str__(self) -> str:
        head = (
            f"{self.path}: epoch {self.epoch}, {self.facts} facts up to {self.last} (marked {self.marked}), "
            f"{self.runs} runs, {self.open_runs} of them open"
        )
        tail = [f"... and {self.more} more"] if self.more else []
        return "\n".join([head, *(self.problems or ["everything is whole"]), *tail])


def journal_file(path: str | Path) -> Path:
    """The journal of a data folder, or the file itself."""
    path = Path(path)
    return path / NAME if path.is_dir() else path


def verify(path: str | Path) -> Report:
    """Look at the journal in a data folder (or at the file itself)."""
    file = journal_file(path)
    report = Report(str(file))
    if not file.exists():
        report.complain("there is no such journal")
        return report
    marked = _read_mark(file.parent, report)
    connection = read_only(file)
    try:
        connection.execute("BEGIN")
        _check(connection, marked, report)
    except UNREADABLE as error:
        report.complain(f"SQLite cannot read on: {error}")
    finally:
        connection.close()
    return report


def _read_mark(folder: Path, report: Report) -> Marked | None:
    try:
        marked = read_mark(folder)
    except ValueError as error:
        report.complain(str(error))
        return None
    report.marked = marked.sequence if marked else None
    return marked


def _check(connection: sqlite3.Connection, marked: Marked | None, report: Report) -> None:
    problem = check_version(connection) if is_journal(connection) else NOT_A_JOURNAL
    if problem:
        report.complain(problem)
        return
    for (line,) in connection.execute(f"PRAGMA integrity_check({SHOWN})"):
        if line != "ok":
            report.complain(f"SQLite says: {line}")
    report.last = check_end(connection, marked, report.complain)
    began = epoch_began(connection, report.complain)
    report.epoch = began.epoch if began else 0
    own = _check_facts(connection, report)
    _check_own(connection, own, report)
    _check_runs(connection, report)


def _check_facts(connection: sqlite3.Connection, report: Report) -> list[tuple[int, Fact]]:
    """Every fact by itself. Returns those about the Router."""
    own: list[tuple[int, Fact]] = []
    prior = 0
    known = "run = 0 OR run IN (SELECT number FROM runs) OR run IN (SELECT number FROM sweeps)"
    for *row, result, check, is_known in connection.execute(
        f"SELECT {FACT_COLUMNS}, result, result_crc, {known} FROM facts ORDER BY seq"
    ):
        report.facts += 1
        fact = read_fact(tuple(row))
        if fact is None:
            report.complain(f"fact {row[1]} is not what was written")
        elif row[0] == OWN:
            own.append((row[1], fact))
            if row[2] != prior:
                report.complain(f"facts of the Router are missing between {prior} and {row[1]}")
        if not is_result_whole(row[1], result, check):
            report.complain(f"the result in fact {row[1]} is not what was written")
        if not is_known:
            report.complain(f"fact {row[1]} is about a run (number {row[0]}) that is not there")
        prior = row[1] if row[0] == OWN else prior
    return own


def read_fact(row: Row) -> Fact | None:
    """The fact in a row of `FACT_COLUMNS`; None when it is not what was written, or not what its columns say."""
    if not is_whole(row):
        return None
    _, _, _, kind, job, path, round, attempt, body, _ = row
    try:
        fact = unpack_fact(body)
    except ValueError:
        return None
    if isinstance(fact, Returned):
        place = (fact.kind, fact.job, path_key(fact.path), fact.round, fact.attempt)
        return fact if place == (kind, job, path, round, attempt) else None
    return fact if (kind, job) == (KINDS[type(fact)], None) else None


def _check_own(connection: sqlite3.Connection, own: list[tuple[int, Fact]], report: Report) -> None:
    """What is derived from the facts about the Router."""
    brokers: dict[str, str] = {}
    paused: set[str] = set()
    draining: set[str] = set()
    epoch = 0
    for seq, fact in own:
        match fact:
            case Registered(identity=identity, place=place):
                brokers[identity] = place
                (draining.add if fact.draining else draining.discard)(f"{DRAINING}{identity}")
            case Unregistered(identity=identity):
                brokers.pop(identity, None)
                draining.discard(f"{DRAINING}{identity}")
            case Switched(role=role, on=on):
                (paused.add if on else paused.discard)(PAUSED if role is None else f"{PAUSED_ROLE}{role}")
            case EpochBegan():
                epoch = seq
            case Pruned(run=run):
                if connection.execute("SELECT 1 FROM tombstones WHERE id = ?", (run,)).fetchone() is None:
                    report.complain(f"run {run} was pruned by fact {seq} and has no tombstone")
    if dict(connection.execute("SELECT identity, place FROM brokers")) != brokers:
        report.complain("the table of Brokers is not what the facts say")
    if {name for (name,) in connection.execute("SELECT name FROM meta WHERE name LIKE 'paused%'")} != paused:
        report.complain("what is paused is not what the facts say")
    if {
        name for (name,) in connection.execute("SELECT name FROM meta WHERE name LIKE ?", (f"{DRAINING}%",))
    } != draining:
        report.complain("which Brokers are draining is not what the facts say")
    if connection.execute("SELECT value FROM meta WHERE name = 'epoch'").fetchone() != (epoch,):
        report.complain("the epoch is not what the facts say")


def _check_runs(connection: sqlite3.Connection, report: Report) -> None:
    rows: Iterator[Row] = connection.execute(f"SELECT {columns_of(connection)} FROM runs NOT INDEXED ORDER BY number")
    for standing, row in zip(replay(connection, report.complain, everything=True), rows, strict=False):
        report.runs += 1
        if standing.finished is None:
            report.open_runs += 1
        if row != standing.row():
            report.complain(f"the row of run {standing.id} in the table of runs is not what its facts say")
