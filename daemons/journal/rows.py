"""The rows that a batch of facts becomes, gathered so that few statements write them.

Order matters among the changes of one run only. New runs come first, because nothing can precede them; endings and
verdicts touch columns of their own and gather too; everything else is rare and keeps its place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any, get_args

from ...pipeline.facts import (
    Accepted,
    Cancelled,
    Ending,
    EpochBegan,
    Fact,
    Finished,
    Paused,
    Pruned,
    Registered,
    Released,
    Reopened,
    Returned,
    Switched,
    Unregistered,
    pack_fact,
)
from ..dispatch.effects import Record
from .standing import pack_error
from .tables import Insert, Step, fact_crc, input_crc, path_key, result_crc

Ends = dict[str | None, tuple[int, int]]
"""By run id: its number and the sequence of its last fact."""

FACTS = Insert("INSERT INTO facts", 13)
RUNS = Insert("INSERT INTO runs (number, id, title, key, accepted, active, parent)", 7)
INPUTS = Insert("INSERT INTO inputs", 4)
ENDINGS = Insert("INSERT INTO runs (number, ending)", 2, "ON CONFLICT (number) DO UPDATE SET ending = excluded.ending")
VERDICTS = Insert(
    "INSERT INTO runs (number, verdict, ended, duration, error)",
    5,
    "ON CONFLICT (number) DO UPDATE SET verdict = excluded.verdict, ended = excluded.ended, "
    "duration = excluded.duration, error = excluded.error",
)
ANSWERS = Insert("INSERT OR IGNORE INTO answers", 4)

KINDS: dict[type, str] = {kind: str(kind.__struct_config__.tag) for kind in get_args(Fact)}

PAUSED = "paused"
"""In `meta`: the cluster is paused;"""
PAUSED_ROLE = "paused role "
"""so is a role, whose name follows."""
DRAINING = "draining "
"""A Broker, whose identity follows, is to run empty."""


class Rows:
    """Add records, then `write` them in one transaction. `find` tells number and last fact of a run."""

    def __init__(self, find: Callable[[str | None], tuple[int, int]], at: float) -> None:
        self.ends: Ends = {}
        """Where the runs of this batch end after it."""
        self.opened: list[str] = []
        """The runs that it accepts."""
        self.closed: list[str] = []
        """The runs that are over after it."""
        self.prunes = False
        """It prunes runs."""
        self._find = find
        self._at = at
        self._facts: list[Any] = []
        self._runs: list[Any] = []
        self._inputs: list[Any] = []
        self._answers: list[Any] = []
        self._endings: list[Any] = []
        self._verdicts: list[Any] = []
        self._steps: list[Step] = []

    def add(self, record: Record) -> None:
        fact, seq, run = record.fact, record.sequence, record.run
        number, prior = (seq, 0) if type(fact) is Accepted else self.ends.get(run) or self._find(run)
        self.ends[run] = (number, seq)
        body = record.packed or pack_fact(fact)
        result = record.result or None
        if type(fact) is Returned:
            path = path_key(fact.path)
            kind: str = fact.kind
            job, round, attempt = fact.job, fact.round, fact.attempt
            crc = fact_crc(seq, number, prior, kind, job, path, round, attempt, body)
            check = None if result is None else result_crc(seq, result)
            self._facts += (
                seq, number, prior, kind, job, path, round, attempt, self._at, body, crc, result, check,
            )  # fmt: skip
            return
        kind = KINDS[type(fact)]
        crc = fact_crc(seq, number, prior, kind, None, None, 0, 0, body)
        self._facts += (seq, number, prior, kind, None, None, 0, 0, self._at, body, crc, None, None)
        self._keep(record, number)
        if record.answer is not None:
            self._answers += (*record.answer, self._at)

    def _keep(self, record: Record, number: int) -> None:
        """Carry a fact over into the derived tables."""
        match record.fact:
            case Accepted(run=run, at=at, options=options, active=active, parent=parent):
                definition = record.definition or b""
                self.opened.append(run)
                above = None if parent is None else parent.run
                self._runs += (number, run, options.title, options.key, at, active, above)
                self._inputs += (number, definition, record.data, input_crc(number, definition, record.data))
            case Finished(verdict=verdict, at=at, duration=duration, error=error):
                self._verdicts += (number, verdict, at, duration, pack_error(error))
                self.closed.append(str(record.run))
            case Ending(verdict=verdict):
                self._endings += (number, verdict)
            case Released():
                self._step("UPDATE runs SET active = 1 WHERE number = ?", number)
            case Cancelled(reason=reason, control=control):
                kept = "cancelled = CASE WHEN ending IS NULL THEN ? ELSE cancelled END"
                self._step(f"UPDATE runs SET {kept}, control = ? WHERE number = ?", reason, control, number)
            case Paused(on=on, control=control):
                self._step("UPDATE runs SET paused = ?, control = ? WHERE number = ?", on, control, number)
            case Reopened(round=round, control=control):
                self._step(
                    "UPDATE runs SET round = ?, control = ?, paused = 0, cancelled = NULL, ending = NULL, "
                    "verdict = NULL, ended = NULL, duration = NULL, error = NULL WHERE number = ?",
                    round, control, number,
                )  # fmt: skip
                self.closed = [run for run in self.closed if run != record.run]
            case Registered(identity=identity, place=place, draining=draining):
                self._step("INSERT OR REPLACE INTO brokers VALUES (?, ?)", identity, place)
                self._switch(f"{DRAINING}{identity}", draining)
            case Unregistered(identity=identity):
                self._step("DELETE FROM brokers WHERE identity = ?", identity)
                self._switch(f"{DRAINING}{identity}", False)
            case Switched(role=role, on=on):
                self._switch(PAUSED if role is None else f"{PAUSED_ROLE}{role}", on)
            case EpochBegan():
                self._step("INSERT OR REPLACE INTO meta VALUES ('epoch', ?)", record.sequence)
            case Pruned(run=run, at=at):
                self._prune(run, at)

    def _switch(self, name: str, on: bool) -> None:
        self._step("INSERT OR REPLACE INTO meta VALUES (?, 1)" if on else "DELETE FROM meta WHERE name = ?", name)

    def _prune(self, run: str, at: float) -> None:
        """A tombstone takes the run's place at once; its facts are swept later, in slices."""
        self.prunes = True
        ended = "FROM runs WHERE id = ? AND verdict IS NOT NULL"
        self._step(f"INSERT INTO tombstones SELECT id, key, verdict, accepted, ended, ? {ended}", at, run)
        self._step(f"INSERT INTO sweeps SELECT number {ended}", run)
        self._step(f"DELETE {ended}", run)

    def _step(self, sql: str, *values: object) -> None:
        self._gather()
        self._steps.append((sql, list(values)))

    def _gather(self) -> None:
        for insert, values in ((ENDINGS, self._endings), (VERDICTS, self._verdicts)):
            self._steps += insert.steps(values)
        self._endings, self._verdicts = [], []

    def steps(self) -> Iterator[Step]:
        """The statements that write all of it, once."""
        self._gather()
        yield from FACTS.steps(self._facts)
        yield from RUNS.steps(self._runs)
        yield from INPUTS.steps(self._inputs)
        yield from self._steps
        yield from ANSWERS.steps(self._answers)

    def write(self, connection: sqlite3.Connection) -> None:
        for statement, values in self.steps():
            connection.execute(statement, values)
