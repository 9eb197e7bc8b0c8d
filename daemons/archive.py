"""Reading the journal: runs, facts, results. On a connection of its own, which no commit blocks and which blocks none.

Runs are named by their ids. What was pruned is not found here any more, but for its tombstone. Every result is checked
against its checksum when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from ..pipeline.errors import JournalDamaged, NotFound
from ..pipeline.facts import Accepted, Failure, Path, Returned, RunError, unpack_fact
from .inspection import read_only
from .standing import unpack_error
from .tables import STATE, below_key, input_crc, key_path, path_key, result_crc

PAGE_BYTES = 1024 * 1024
PAGE_FACTS = 5000
MANY = 200
"""Ids in one question."""

Place = tuple[str, Path, int, int]
"""(job, path, round, attempt)."""


class Summary(NamedTuple):
    """One line about a run, ended or not."""

    number: int
    run: str
    title: str | None
    key: str | None
    state: str
    accepted: float
    active: bool
    control: int
    paused: bool
    cancelled: str | None
    ending: str | None
    round: int
    verdict: str | None
    ended: float | None
    duration: float | None
    error: RunError | None


class Tombstone(NamedTuple):
    """What is left of a pruned run."""

    run: str
    key: str | None
    verdict: str
    accepted: float
    ended: float
    pruned: float


class Kept(NamedTuple):
    """How an instance ended, and what of it is kept: `value` packed, or `ref`, or (not a success) the failure."""

    kind: str
    value: bytes | None
    ref: str | None
    size: int = 0
    error: Failure | None = None
    job: str = ""
    path: Path = ()


class Page(NamedTuple):
    """Results in index order; `next` is where to go on, None at the end."""

    entries: list[Kept]
    next: int | None


_SUMMARY = (
    f"SELECT number, id, title, key, {STATE}, accepted, active, control, paused, cancelled, ending, round, "
    "verdict, ended, duration, error FROM runs"
)
_NUMBER = "(SELECT number FROM runs WHERE id = ?)"
_KEPT = "SELECT seq, kind, job, path, round, body, result, result_crc FROM facts INDEXED BY facts_by_place"


class Archive:
    def __init__(self, path: FilePath) -> None:
        self.path = path
        self.connection = read_only(path)

    def close(self) -> None:
        self.connection.close()

    # Runs -------------------------------------------------------------------------------------------------------

    def run(self, run: str) -> Summary | None:
        return next(iter(self.known([run])), None)

    def ids(self, prefix: str, limit: int) -> list[str]:
        """Ids that begin so."""
        sql = "SELECT id FROM runs WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
        return [run for (run,) in self.connection.execute(sql, (prefix, f"{prefix}\U0010ffff", limit))]

    def known(self, runs: Iterable[str]) -> list[Summary]:
        """Those of the runs that are in the journal, ended or not. Pruned ones are `tombstones`."""
        return [_summary(row) for row in self._among(f"{_SUMMARY} WHERE id IN", runs)]

    def tombstones(self, runs: Iterable[str]) -> list[Tombstone]:
        sql = "SELECT id, key, verdict, accepted, ended, pruned FROM tombstones WHERE id IN"
        return [Tombstone(*row) for row in self._among(sql, runs)]

    def holders(self, keys: Iterable[str]) -> dict[str, str]:
        """By key: the newest run that has it and is not pruned."""
        rows = sorted(self._among("SELECT number, key, id FROM runs WHERE key IN", keys))
        return {key: run for _, key, run in rows}

    def by_key(self, key: str) -> str | None:
        return self.holders([key]).get(key)

    def runs(self, state: str | None = None, limit: int = 100, before: int | None = None) -> list[Summary]:
        """Newest first. `before`: the number of the last one of the page before."""
        limits: list[Any] = [2**62 if before is None else before]
        where = "number < ?"
        if state is not None:
            where, limits = f"{STATE} = ? AND {where}", [state, *limits]
        rows = self.connection.execute(f"{_SUMMARY} WHERE {where} ORDER BY number DESC LIMIT ?", (*limits, limit))
        return [_summary(row) for row in rows]

    def ended_before(self, wall: float, limit: int = 1000) -> list[str]:
        """Runs that were over by then, the oldest end first: what `prune --older` is about."""
        rows = self.connection.execute("SELECT id FROM runs WHERE ended < ? ORDER BY ended LIMIT ?", (wall, limit))
        return [run for (run,) in rows]

    def totals(self) -> dict[str, int]:
        """How many runs there are, by state."""
        return dict(self.connection.execute(f"SELECT {STATE}, count(*) FROM runs GROUP BY 1"))

    # What a run was given ---------------------------------------------------------------------------------------

    def accepted(self, run: str) -> Accepted:
        sql = f"SELECT body FROM facts WHERE seq = {_NUMBER}"
        fact = unpack_fact(self._one(sql, run)[0])
        assert isinstance(fact, Accepted)
        return fact

    def definition(self, run: str) -> bytes:
        return self._input(run)[0]

    def data(self, run: str) -> bytes | None:
        return self._input(run)[1]

    def _input(self, run: str) -> tuple[bytes, bytes | None]:
        number, definition, data, crc = self._one(
            f"SELECT number, definition, data, crc FROM inputs WHERE number = {_NUMBER}", run
        )
        if input_crc(number, definition, data) != crc:
            raise JournalDamaged(str(self.path), f"the definition or the data of run {run} is not what was written")
        return definition, data

    # Facts ------------------------------------------------------------------------------------------------------

    def facts(self, run: str, after: int = 0, limit: int = -1) -> list[tuple[int, bytes]]:
        """(sequence, packed fact) of a run, in order."""
        sql = (
            f"SELECT seq, body FROM facts INDEXED BY facts_by_run WHERE run = {_NUMBER} AND seq > ? "
            "ORDER BY seq LIMIT ?"
        )
        return self.connection.execute(sql, (run, after, limit)).fetchall()

    def all_facts(self, after: int = 0, limit: int = PAGE_FACTS) -> list[tuple[int, str | None, bytes]]:
        """(sequence, run, packed fact) of everything that is not pruned; the Router's own facts have no run."""
        sql = (
            "SELECT seq, id, body FROM facts LEFT JOIN runs ON number = run "
            "WHERE seq > ? AND (run = 0 OR id IS NOT NULL) ORDER BY seq LIMIT ?"
        )
        return self.connection.execute(sql, (after, limit)).fetchall()

    def written_at(self, sequence: int) -> float | None:
        """Wall time of the commit of a fact."""
        row = self.connection.execute("SELECT at FROM facts WHERE seq = ?", (sequence,)).fetchone()
        return None if row is None else float(row[0])

    def ended(self, run: str, places: Iterable[Place]) -> set[Place]:
        """Those attempts that nobody waits for any more: the instance has ended by them, by a later one, or well."""
        sql = (
            f"SELECT 1 FROM facts INDEXED BY facts_by_place WHERE run = {_NUMBER} AND job = ? AND path = ? "
            "AND (round > ? OR round = ? AND (attempt >= ? OR kind = 'success')) LIMIT 1"
        )
        return {
            (job, path, round, attempt)
            for job, path, round, attempt in places
            if self.connection.execute(sql, (run, job, path_key(path), round, round, attempt)).fetchone()
        }

    # Results ----------------------------------------------------------------------------------------------------

    def result(self, run: str, job: str, path: Path = ()) -> Kept | None:
        """How an instance ended: of its last round the success, otherwise the last attempt. None: it has not ended."""
        sql = f"{_KEPT} WHERE run = {_NUMBER} AND job = ? AND path = ?"
        rows = self.connection.execute(sql, (run, job, path_key(path))).fetchall()
        return self._kept(_best(rows)) if rows else None

    def results(
        self, run: str, job: str | None = None, below: Path = (), after: int = 0, limit_bytes: int = PAGE_BYTES
    ) -> Page:
        """How every instance below a path ended, in index order (of all jobs: by name first). `after` counts the
        instances that earlier pages had; a page has at least one, however large."""
        instances = self._instances(run, job, below, after)
        entries: list[Kept] = []
        size = 0
        for rows in instances:
            if size >= limit_bytes:
                return Page(entries, after + len(entries))
            entries.append(self._kept(_best(rows)))
            size += len(entries[-1].value or b"") + 100
        return Page(entries, None)

    def _instances(self, run: str, job: str | None, below: Path, skip: int) -> Iterator[list[Any]]:
        """The rows of each instance in order, after the first `skip` ones."""
        where = f"run = {_NUMBER} AND path >= ? AND path < ?"
        values: list[Any] = [run, path_key(below), below_key(below)]
        if job is not None:
            where, values = f"{where} AND job = ?", [*values, job]
        else:
            where = f"{where} AND job IS NOT NULL"
        if skip:
            grouped = "SELECT job, path FROM facts INDEXED BY facts_by_place"
            first = self.connection.execute(
                f"{grouped} WHERE {where} GROUP BY job, path ORDER BY job, path LIMIT 1 OFFSET ?", (*values, skip)
            ).fetchone()
            if first is None:
                return
            where, values = f"{where} AND (job, path) >= (?, ?)", [*values, *first]
        rows: list[Any] = []
        for row in self.connection.execute(f"{_KEPT} WHERE {where} ORDER BY job, path, round, attempt", values):
            if rows and row[2:4] != rows[0][2:4]:
                yield rows
                rows = []
            rows.append(row)
        if rows:
            yield rows

    def _kept(self, row: tuple[Any, ...]) -> Kept:
        seq, kind, job, path, _, body, result, crc = row
        if result is not None and result_crc(seq, result) != crc:
            raise JournalDamaged(str(self.path), f"the result in fact {seq} (job {job!r}) is not what was written")
        if result is not None and kind == "success":
            return Kept(kind, result, None, len(result), None, job, key_path(path))
        fact = unpack_fact(body)
        assert isinstance(fact, Returned)
        return Kept(kind, result, fact.ref, fact.size, fact.error, job, fact.path)

    # Requests ---------------------------------------------------------------------------------------------------

    def answer(self, request: str) -> tuple[bytes, bytes] | None:
        """(digest of the request's body, packed answer) of a request that was carried out within the last day."""
        row = self.connection.execute("SELECT digest, body FROM answers WHERE id = ?", (request,)).fetchone()
        return None if row is None else (row[0], row[1])

    # Asking -----------------------------------------------------------------------------------------------------

    def _one(self, sql: str, run: str) -> tuple[Any, ...]:
        row: tuple[Any, ...] | None = self.connection.execute(sql, (run,)).fetchone()
        if row is None:
            raise NotFound("run", run, "it may have been pruned")
        return row

    def _among(self, sql: str, names: Iterable[str]) -> Iterator[tuple[Any, ...]]:
        wanted = list(names)
        for start in range(0, len(wanted), MANY):
            some = wanted[start : start + MANY]
            yield from self.connection.execute(f"{sql} ({', '.join('?' * len(some))})", some)


def _summary(row: tuple[Any, ...]) -> Summary:
    return Summary._make((*row[:15], unpack_error(row[15])))


def _best(rows: list[Any]) -> Any:
    """Of the last round: the success, otherwise what came last."""
    round = max(row[4] for row in rows)
    last = [row for row in rows if row[4] == round]
    return next((row for row in last if row[1] == "success"), max(last, key=lambda row: row[0]))


__all__ = ["Archive", "Kept", "Page", "Place", "Summary", "Tombstone"]
