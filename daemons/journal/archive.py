"""Reading the journal: runs, facts, results. On a connection of its own, which no commit blocks and which blocks none.

Runs are named by their ids. What was pruned is not found here any more, but for its tombstone. Every fact
and every result is checked against its checksum when it is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path as FilePath
from typing import Any

from ...pipeline.errors import JournalDamaged, JournalError, NotFound
from ...pipeline.facts import Accepted, Path, Returned, unpack_fact
from .inspection import FACT_COLUMNS, UNREADABLE, Row, is_input_whole, is_result_whole, is_unusable, is_whole, read_only
from .standing import unpack_error
from .summaries import Kept, Page, Place, Summary, Tombstone
from .tables import STATE, below_key, key_path, path_key

PAGE_BYTES = 1024 * 1024
PAGE_FACTS = 5000
NIL = b"\xc0"
"""None, packed: a job that answered `Skip` has no other result."""
MANY = 200
"""Ids in one question."""

_SUMMARY_COLUMNS = (
    f"number, id, title, key, {STATE}, accepted, active, control, paused, cancelled, ending, round, "
    "verdict, ended, duration, error, parent"
)
_SUMMARY = f"SELECT {_SUMMARY_COLUMNS} FROM runs"
_FACT_COLUMNS = ", ".join(f"facts.{name}" for name in FACT_COLUMNS.split(", "))
_NUMBER = "(SELECT number FROM runs WHERE id = ?)"
_KEPT = "SELECT seq, kind, job, path, round, body, result, result_crc FROM facts INDEXED BY facts_by_place"


class Archive:
    def __init__(self, path: FilePath) -> None:
        self.path = path
        self.connection = read_only(path)

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All answers in here are of one moment, whatever is committed meanwhile: a run that is pruned between two
        questions would be neither there nor among the pruned ones."""
        if self.connection.in_transaction:
            yield
            return
        self._ask("BEGIN")
        try:
            yield
        finally:
            self._ask("COMMIT")

    # Runs -------------------------------------------------------------------------------------------------------

    def run(self, run: str) -> Summary | None:
        return next(iter(self.known([run])), None)

    def ids(self, prefix: str, limit: int) -> list[str]:
        """Ids that begin so."""
        sql = "SELECT id FROM runs WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
        return [run for (run,) in self._rows(sql, prefix, f"{prefix}\U0010ffff", limit)]

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

    def runs(
        self, state: str | None = None, limit: int = 100, before: int | None = None, below: bool = False
    ) -> list[Summary]:
        """Newest first. `before`: the number of the last one of the page before. `below`: sub-runs too."""
        limits: list[Any] = [2**62 if before is None else before]
        where = "number < ?" if below else "number < ? AND parent IS NULL"
        if state is not None:
            where, limits = f"{STATE} = ? AND {where}", [state, *limits]
        sql = f"{_SUMMARY} WHERE {where} ORDER BY number DESC LIMIT ?"
        return [_summary(row) for row in self._rows(sql, *limits, limit)]

    def ended_before(self, wall: float, limit: int = 1000) -> list[str]:
        """Runs that were over by then, the oldest end first: what `prune --older` is about. Sub-runs go with theirs."""
        sql = "SELECT id FROM runs WHERE ended < ? AND parent IS NULL ORDER BY ended LIMIT ?"
        return [run for (run,) in self._rows(sql, wall, limit)]

    def children(self, run: str, limit: int = -1) -> list[tuple[Summary, Accepted]]:
        """The sub-runs that a run has opened, in order, with what they were opened as."""
        sql = (
            f"SELECT {_SUMMARY_COLUMNS}, (SELECT body FROM facts WHERE seq = number) FROM runs "
            "WHERE parent = ? ORDER BY number LIMIT ?"
        )
        found = []
        for row in self._rows(sql, run, limit):
            accepted = unpack_fact(row[-1])
            assert isinstance(accepted, Accepted)
            found.append((_summary(row[:-1]), accepted))
        return found

    def with_children(self, runs: Iterable[str]) -> list[str]:
        """These runs with all that belong to them, however deep; those that belong come first."""
        found = list(dict.fromkeys(runs))
        level = found
        while level:
            level = [run for (run,) in self._among("SELECT id FROM runs WHERE parent IN", level)]
            found = level + found
        return found

    def totals(self) -> dict[str, int]:
        """How many runs there are, by state."""
        return dict(self._rows(f"SELECT {STATE}, count(*) FROM runs GROUP BY 1"))

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
        if not is_input_whole(number, definition, data, crc):
            raise JournalDamaged(str(self.path), f"the definition or the data of run {run} is not what was written")
        return definition, data

    # Facts ------------------------------------------------------------------------------------------------------

    def facts(self, run: str, after: int = 0, limit: int = -1) -> list[tuple[int, bytes]]:
        """(sequence, packed fact) of a run, in order: each is what was written, and none in between is missing."""
        sql = (
            f"SELECT {FACT_COLUMNS} FROM facts INDEXED BY facts_by_run WHERE run = {_NUMBER} AND seq > ? "
            "ORDER BY seq LIMIT ?"
        )
        found: list[tuple[int, bytes]] = []
        for row in self._rows(sql, run, after, limit):
            self._check(row)
            if row[2] != found[-1][0] if found else row[2] > after:
                raise JournalDamaged(str(self.path), f"run {run} has lost facts before {row[1]}")
            found.append((row[1], row[8]))
        return found

    def all_facts(self, after: int = 0, limit: int = PAGE_FACTS) -> list[tuple[int, str | None, bytes]]:
        """(sequence, run, packed fact) of everything that is not pruned; the Router's own facts have no run."""
        sql = (
            f"SELECT {_FACT_COLUMNS}, runs.id FROM facts LEFT JOIN runs ON number = run "
            "WHERE seq > ? AND (run = 0 OR id IS NOT NULL) ORDER BY seq LIMIT ?"
        )
        found: list[tuple[int, str | None, bytes]] = []
        for *row, run in self._rows(sql, after, limit):
            self._check(tuple(row))
            found.append((row[1], run, row[8]))
        return found

    def _check(self, row: Row) -> None:
        if not is_whole(row):
            raise JournalDamaged(str(self.path), f"fact {row[1]} is not what was written (its checksum is wrong)")

    def last(self) -> int:
        """The sequence of the last fact on disk."""
        ((last,),) = self._rows("SELECT coalesce(max(seq), 0) FROM facts")
        return int(last)

    def written_at(self, sequence: int) -> float | None:
        """Wall time of the commit of a fact."""
        row = next(self._rows("SELECT at FROM facts WHERE seq = ?", sequence), None)
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
            if next(self._rows(sql, run, job, path_key(path), round, round, attempt), None)
        }

    # Results ----------------------------------------------------------------------------------------------------

    def result(self, run: str, job: str, path: Path = ()) -> Kept | None:
        """How an instance ended: of its last round the success, otherwise the last attempt. None: it has not ended."""
        sql = f"{_KEPT} WHERE run = {_NUMBER} AND job = ? AND path = ?"
        rows = list(self._rows(sql, run, job, path_key(path)))
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
            sql = f"{grouped} WHERE {where} GROUP BY job, path ORDER BY job, path LIMIT 1 OFFSET ?"
            first = next(self._rows(sql, *values, skip), None)
            if first is None:
                return
            where, values = f"{where} AND (job, path) >= (?, ?)", [*values, *first]
        rows: list[Any] = []
        for row in self._rows(f"{_KEPT} WHERE {where} ORDER BY job, path, round, attempt", *values):
            if rows and row[2:4] != rows[0][2:4]:
                yield rows
                rows = []
            rows.append(row)
        if rows:
            yield rows

    def _kept(self, row: Row) -> Kept:
        seq, kind, job, path, _, body, result, crc = row
        if not is_result_whole(seq, result, crc):
            raise JournalDamaged(str(self.path), f"the result in fact {seq} (job {job!r}) is not what was written")
        if result is not None and result != NIL and kind == "success":
            return Kept(kind, result, None, len(result), None, job, key_path(path))
        fact = unpack_fact(body)
        assert isinstance(fact, Returned)
        if kind == "success" and fact.signs is not None and fact.signs.skip is not None:
            return Kept("skipped", None, None, 0, None, job, fact.path)
        return Kept(kind, result, fact.ref, fact.size, fact.error, job, fact.path)

    # Requests ---------------------------------------------------------------------------------------------------

    def answer(self, request: str) -> tuple[bytes, bytes] | None:
        """(digest of the request's body, packed answer) of a request that was carried out within the last day."""
        row = next(self._rows("SELECT digest, body FROM answers WHERE id = ?", request), None)
        return None if row is None else (row[0], row[1])

    # Asking -----------------------------------------------------------------------------------------------------

    def _one(self, sql: str, run: str) -> Row:
        row = next(self._rows(sql, run), None)
        if row is None:
            raise NotFound("run", run, "it may have been pruned")
        return row

    def _among(self, sql: str, names: Iterable[str]) -> Iterator[Row]:
        """The last name fills up to a power of two: every text of a statement is kept compiled, and there are few."""
        wanted = list(names)
        for start in range(0, len(wanted), MANY):
            some = wanted[start : start + MANY]
            width = min(MANY, 1 << (len(some) - 1).bit_length())
            some += some[-1:] * (width - len(some))
            yield from self._rows(f"{sql} ({', '.join('?' * width)})", *some)

    def _ask(self, sql: str) -> None:
        for _ in self._rows(sql):
            pass

    def _rows(self, sql: str, *values: Any) -> Iterator[Row]:
        """Every question goes through here: a page that cannot be read is an error about the journal, not SQLite's."""
        try:
            yield from self.connection.execute(sql, values)
        except UNREADABLE as error:
            if is_unusable(error):
                raise JournalError(f"the journal {self.path} cannot be read: {error}") from error
            raise JournalDamaged(str(self.path), f"SQLite says: {error}") from error


def _summary(row: Row) -> Summary:
    return Summary._make((*row[:15], unpack_error(row[15]), row[16]))


def _best(rows: list[Any]) -> Any:
    """Of the last round: the success, otherwise what came last."""
    round = max(row[4] for row in rows)
    last = [row for row in rows if row[4] == round]
    return next((row for row in last if row[1] == "success"), max(last, key=lambda row: row[0]))


__all__ = ["Archive", "Kept", "Page", "Place", "Summary", "Tombstone"]
