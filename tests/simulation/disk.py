"""The simulated journal: what is buffered, written and synced, and what is left after a death.

A batch is buffered in the Router's memory, then written (it survives the end of the process, not a power cut), then
synced (it survives everything), as transactions, in order. Readers see what is synced. Opening takes what has survived,
and raises the epoch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import Any

from headrace.daemons.dispatch.effects import Record
from headrace.daemons.journal.ids import Ids
from headrace.daemons.journal.standing import INLINE_DATA, Standing
from headrace.daemons.journal.summaries import Kept, Page, Place, Summary, Tombstone
from headrace.pipeline.errors import NotFound
from headrace.pipeline.facts import (
    Accepted,
    EpochBegan,
    Finished,
    Path,
    Pruned,
    Registered,
    Returned,
    Switched,
    Unregistered,
    pack_fact,
)

from .clock import Event, Timeline

RETRY = 0.25


class RunRows:
    """What the journal has of a run."""

    def __init__(self, standing: Standing, accepted: Accepted, definition: bytes, data: bytes | None) -> None:
        self.standing = standing
        self.accepted = accepted
        self.definition = definition
        self.data = data
        self.facts: list[tuple[int, bytes]] = []
        self.returned: dict[tuple[str, Path], list[tuple[Returned, bytes]]] = {}


class Archive:
    """What readers see. The questions are those of the real archive."""

    def __init__(self) -> None:
        self.runs: dict[str, RunRows] = {}
        self.pruned: dict[str, Tombstone] = {}
        self.brokers: dict[str, str] = {}
        self.draining: set[str] = set()
        self.paused: set[str | None] = set()
        self.answers: dict[str, tuple[bytes, bytes]] = {}
        self.epoch = 0
        self.last = 0

    def snapshot(self) -> AbstractContextManager[None]:
        """A turn is one moment here."""
        return nullcontext()

    def apply(self, record: Record) -> None:
        fact = record.fact
        assert record.sequence == self.last + 1, f"fact {record.sequence} comes after {self.last}"
        self.last = record.sequence
        if record.answer is not None:
            self.answers.setdefault(record.answer[0], record.answer[1:])
        match fact:
            case EpochBegan():
                self.epoch = fact.epoch
            case Registered():
                self.brokers[fact.identity] = fact.place
                (self.draining.add if fact.draining else self.draining.discard)(fact.identity)
            case Unregistered():
                self.brokers.pop(fact.identity, None)
                self.draining.discard(fact.identity)
            case Switched():
                (self.paused.add if fact.on else self.paused.discard)(fact.role)
            case Pruned():
                one = self.runs.pop(fact.run).standing
                assert one.finished is not None, "an open run is not pruned"
                times = one.accepted_at, one.finished.at, fact.at
                self.pruned[one.id] = Tombstone(one.id, one.key, one.finished.verdict, *times)
            case _:
                self._of_run(record)

    def _of_run(self, record: Record) -> None:
        fact = record.fact
        assert record.run is not None
        if isinstance(fact, Accepted):
            standing = Standing(record.run, record.sequence)
            data = record.data
            standing.data_size = None if data is None else len(data)
            standing.data = data if data is not None and len(data) <= INLINE_DATA else None
            self.runs[record.run] = RunRows(standing, fact, record.definition or b"", data)
        rows = self.runs[record.run]
        rows.standing.apply(fact)
        rows.standing.last = record.sequence
        rows.facts.append((record.sequence, record.packed or pack_fact(fact)))
        if isinstance(fact, Returned):
            rows.returned.setdefault((fact.job, fact.path), []).append((fact, record.result))

    # The questions of the real one ------------------------------------------------------------------------------

    def run(self, run: str) -> Summary | None:
        return next(iter(self.known([run])), None)

    def ids(self, prefix: str, limit: int) -> list[str]:
        return sorted(run for run in self.runs if run.startswith(prefix))[:limit]

    def known(self, runs: Iterable[str]) -> list[Summary]:
        return [_summary(self.runs[run].standing) for run in runs if run in self.runs]

    def tombstones(self, runs: Iterable[str]) -> list[Tombstone]:
        return [self.pruned[run] for run in runs if run in self.pruned]

    def holders(self, keys: Iterable[str]) -> dict[str, str]:
        wanted = set(keys)
        return {rows.standing.options.key: run for run, rows in self.runs.items() if rows.standing.key in wanted}  # type: ignore[misc]

    def ended_before(self, wall: float, limit: int = 1000) -> list[str]:
        ends = [(rows.standing.finished, run) for run, rows in self.runs.items() if rows.standing.parent is None]
        return [run for end, run in ends if end is not None and end.at < wall][:limit]

    def children(self, run: str, limit: int = -1) -> list[tuple[Summary, Accepted]]:
        found = [rows for rows in self.runs.values() if rows.standing.parent and rows.standing.parent.run == run]
        return [(_summary(rows.standing), rows.accepted) for rows in found]

    def with_children(self, runs: Iterable[str]) -> list[str]:
        """Those that belong to others come first."""
        found = list(dict.fromkeys(runs))
        level = found
        while level:
            level = [one.run for run in level for one, _ in self.children(run)]
            found = level + found
        return found

    def accepted(self, run: str) -> Accepted:
        return self._rows(run).accepted

    def definition(self, run: str) -> bytes:
        return self._rows(run).definition

    def data(self, run: str) -> bytes | None:
        return self._rows(run).data

    def facts(self, run: str, after: int = 0, limit: int = -1) -> list[tuple[int, bytes]]:
        rows = self.runs.get(run)
        found = [fact for fact in rows.facts if fact[0] > after] if rows else []
        return found if limit < 0 else found[:limit]

    def ended(self, run: str, places: Iterable[Place]) -> set[Place]:
        rows = self.runs.get(run)
        found: set[Place] = set()
        for job, path, round, attempt in places if rows else ():
            assert rows is not None
            for fact, _ in rows.returned.get((job, tuple(path)), ()):
                same = fact.round == round and (fact.attempt >= attempt or fact.kind == "success")
                if fact.round > round or same:
                    found.add((job, path, round, attempt))
        return found

    def result(self, run: str, job: str, path: Path = ()) -> Kept | None:
        rows = self.runs.get(run)
        found = rows.returned.get((job, tuple(path))) if rows else None
        return _kept(found) if found else None

    def results(self, run: str, job: str | None = None, below: Path = (), after: int = 0, limit: int = 0) -> Page:
        rows = self.runs.get(run)
        places = sorted(rows.returned) if rows else []
        wanted = [
            place for place in places if job in (None, place[0]) and place[1][: len(below)] == tuple(below)
        ]  # fmt: skip
        entries = [_kept(rows.returned[place]) for place in wanted[after:]] if rows else []
        return Page(entries, None)

    def answer(self, request: str) -> tuple[bytes, bytes] | None:
        return self.answers.get(request)

    def _rows(self, run: str) -> RunRows:
        if run not in self.runs:
            raise NotFound("run", run)
        return self.runs[run]


def _kept(found: list[tuple[Returned, bytes]]) -> Kept:
    round = max(fact.round for fact, _ in found)
    last = [one for one in found if one[0].round == round]
    fact, result = next((one for one in last if one[0].kind == "success"), last[-1])
    if fact.kind == "success" and fact.signs is not None and fact.signs.skip is not None:
        return Kept("skipped", None, None, 0, None, fact.job, fact.path)
    return Kept(fact.kind, result or None, fact.ref, fact.size, fact.error, fact.job, fact.path)


def _summary(one: Standing) -> Summary:
    end = one.finished
    state = end.verdict if end else "waiting" if not one.active else "cancelling" if one.cancelled else "running"
    return Summary(
        one.number, one.id, one.options.title, one.key, state, one.accepted_at, one.active, one.control, one.paused,
        one.cancelled, one.ending[0] if one.ending else None, one.round, end.verdict if end else None,
        end.at if end else None, end.duration if end else None, end.error if end else None,
        one.parent.run if one.parent else None,
    )  # fmt: skip


class Disk:
    """What outlives Routers. `written` holds transactions that are not synced yet."""

    def __init__(self, timeline: Timeline, random: Random) -> None:
        self.timeline = timeline
        self.random = random
        self.synced: list[Record] = []
        self.written: list[list[Record]] = []
        self.full_until = 0.0
        self.slow: tuple[float, float] = (0.0, 0.0)
        """Until when, and how many seconds a sync takes."""
        self.fails_to_sync = False
        """The next sync says that it failed; what was written is there afterwards, or not."""

    def lose_power(self) -> None:
        """What was not synced is there up to some transaction."""
        self.written = self.written[: self.random.randint(0, len(self.written))]

    def recover(self) -> None:
        for transaction in self.written:
            self.synced += transaction
        self.written = []

    def delay(self) -> float:
        if self.slow[0] > self.timeline.now:
            return self.slow[1] * (0.5 + self.random.random())
        return 0.0005 + self.random.random() * 0.004


class Journal:
    """The journal as one Router has it open."""

    def __init__(self, disk: Disk, wall: float) -> None:
        self.disk = disk
        disk.recover()
        self.archive = Archive()
        for record in disk.synced:
            self.archive.apply(record)
        self.epoch = self.archive.epoch + 1
        began = Record(self.archive.last + 1, None, EpochBegan(self.epoch, wall, "boot"))
        disk.synced.append(began)
        self.archive.apply(began)
        self.last = self.archive.last
        self.recovered: str | None = None
        self.ids = Ids()
        self.ids.add([*self.archive.runs, *self.archive.pruned])

    def open_runs(self) -> list[Standing]:
        found = [rows.standing for rows in self.archive.runs.values() if rows.standing.finished is None]
        return sorted(found, key=lambda standing: standing.number)

    def registered(self) -> list[tuple[str, str]]:
        return sorted(self.archive.brokers.items())

    def draining(self) -> set[str]:
        return set(self.archive.draining)

    def paused(self) -> set[str | None]:
        return set(self.archive.paused)

    def close(self) -> None:
        """Nothing is open."""


class Committer:
    """The journal thread of one Router. `stage` is told of every step: (number of the transaction, step)."""

    def __init__(
        self, journal: Journal, wake: Callable[[], None], stage: Callable[[int, str], None], fail: Callable[[], None]
    ) -> None:
        self.stalled: str | None = None
        self.dead = False
        self.transactions = 0
        self._disk = journal.disk
        self._journal = journal
        self.news = False
        self._tell = wake
        self._stage = stage
        self._fail = fail
        self._waiting: deque[tuple[int, list[Record]]] = deque()
        self._done: list[int] = []
        self._busy: Event | None = None

    def fileno(self) -> int:
        return 1

    def put(self, number: int, batch: list[Record]) -> None:
        self._waiting.append((number, batch))
        if self._busy is None:
            self._begin()

    def _wake(self) -> None:
        self.news = True
        self._tell()

    def done(self) -> list[int]:
        self.news = False
        done, self._done = self._done, []
        return done

    def die(self) -> None:
        """The process has ended."""
        self.dead = True
        if self._busy is not None:
            self._busy.dead = True

    def finish(self) -> None:
        """An orderly end: what waits is committed."""
        if not self.stalled:
            for transaction in self._disk.written:
                self._disk.synced += transaction
            self._disk.written = []
            for _, batch in self._waiting:
                self._disk.synced += batch
        self.die()

    def _begin(self) -> None:
        self._busy = self._disk.timeline.after(self._disk.delay() * 0.3, self._write)

    def _write(self) -> None:
        if self._disk.full_until > self._disk.timeline.now:
            if self.stalled is None:
                self.stalled = "database or disk is full"
                self._wake()
            self._busy = self._disk.timeline.after(RETRY, self._write)
            return
        numbers = [number for number, _ in self._waiting]
        batch = [record for _, records in self._waiting for record in records]
        self._waiting.clear()
        self.transactions += 1
        self._journal.ids.add(str(record.run) for record in batch if isinstance(record.fact, Accepted))
        self._stage(self.transactions, "before")
        if self.dead:
            return
        self._disk.written.append(batch)
        self._busy = self._disk.timeline.after(self._disk.delay(), self._sync, numbers, batch)
        self._stage(self.transactions, "written")

    def _sync(self, numbers: list[int], batch: list[Record]) -> None:
        if self._disk.fails_to_sync:
            self._disk.fails_to_sync = False
            self._disk.lose_power()
            self._fail()
            return
        self._disk.written.remove(batch)
        self._disk.synced += batch
        for record in batch:
            self._journal.archive.apply(record)
        self._busy = None
        self.stalled = None
        self._done += numbers
        self._stage(self.transactions, "synced")
        if self.dead:
            return
        if self._waiting:
            self._begin()
        self._wake()


def facts_of(disk: Disk) -> list[Any]:
    return [(record.sequence, record.run, record.fact) for record in disk.synced]


__all__ = ["Archive", "Committer", "Disk", "Finished", "Journal", "facts_of"]
