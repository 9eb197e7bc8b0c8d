"""Pruning: finished runs leave the journal when they were asked to, or when they are older than the default keep.

A tombstone of one row stays for each. The values of a run go after its prune is on disk, a few runs per turn. Should
the Router end in between, they are left behind without a run that they belong to; so are those that an attempt writes
when its run is pruned already. Once a day the values folder is compared with the journal: what belongs to no run there,
and was not written to for a day, goes as well.
"""

from __future__ import annotations

import logging
from collections import deque

from ...pipeline.errors import NotFound, UserError
from ...pipeline.facts import Pruned
from ..journal.archive import Archive
from ..protocol import Control
from .effects import Record
from .values import ValueReader

logger = logging.getLogger(__name__)

KEEP = 30 * 86400.0
"""How long finished runs stay readable, by default."""
EVERY = 3600.0
AT_ONCE = 1000
FOLDERS_PER_TURN = 20
SETTLED = 60.0
"""Seconds after the start, when there is time to look at the values folder."""
DAY = 86400.0
SUSPECTS_PER_TURN = 200


class Pruning:
    """`keep` in seconds; None or 0 keeps everything."""

    def __init__(self, archive: Archive, values: ValueReader, keep: float | None, now: float) -> None:
        self._archive = archive
        self._values = values
        self._keep = keep
        self._next = now
        self._gone: deque[str] = deque()
        self._going: set[str] = set()
        """Pruned, and the disk has not said so yet: the archive still shows them."""
        self._next_look = now + SETTLED
        self._suspects: deque[str] = deque()
        """Runs that have values and may be unknown to the journal."""

    def asked(self, control: Control, wall: float) -> list[str]:
        """The runs that a request is about: one by its id, or all that ended so many seconds ago (`argument`)."""
        if control.run:
            summary = self._archive.run(control.run)
            if summary is None:
                raise NotFound("run", control.run)
            if summary.parent is not None:
                raise UserError(f"run {summary.run} is a part of run {summary.parent}, and goes with that")
            if summary.verdict is None:
                raise UserError(f"run {control.run} is {summary.state}; only runs that have ended can be pruned")
            return self._new([summary.run])
        try:
            older = float(control.argument or "")
        except ValueError:
            older = -1.0
        if not 0 <= older < float("inf"):
            raise UserError(f"prune needs a run or an age in seconds, not {control.argument!r}")
        return self._new(self._archive.ended_before(wall - older, AT_ONCE))

    def due(self, now: float, wall: float) -> list[str]:
        """What the default keep lets go, looked up once an hour (and again at once while there is more)."""
        self._find_orphans(now, wall)
        if not self._keep or now < self._next:
            return []
        runs = self._new(self._archive.ended_before(wall - self._keep, AT_ONCE))
        self._next = now + (EVERY if len(runs) < AT_ONCE else 1.0)
        if runs:
            logger.info("pruning %d runs that ended more than %g s ago", len(runs), self._keep)
        return runs

    def committed(self, records: list[Record]) -> None:
        for record in records:
            if isinstance(record.fact, Pruned):
                self._going.discard(record.fact.run)
                self._gone.append(record.fact.run)

    def _find_orphans(self, now: float, wall: float) -> None:
        """Values that belong to no run, some of the folder per turn."""
        if now >= self._next_look:
            self._next_look = now + DAY
            self._suspects.extend(self._values.runs())
        if not self._suspects:
            return
        some = [self._suspects.popleft() for _ in range(min(SUSPECTS_PER_TURN, len(self._suspects)))]
        known = {summary.run for summary in self._archive.known(some)}
        for run in some:
            if run not in known and self._values.last_written(run) < wall - DAY:
                logger.warning("removing values of run %s, which the journal does not know (any more)", run)
                self._gone.append(run)

    def _new(self, runs: list[str]) -> list[str]:
        runs = [run for run in runs if run not in self._going]
        self._going.update(runs)
        return runs

    def sweep(self) -> None:
        """Remove what pruned runs have left in the values folder."""
        for _ in range(min(FOLDERS_PER_TURN, len(self._gone))):
            run = self._gone.popleft()
            try:
                self._values.folder.remove_run(run)
            except OSError as error:
                logger.warning("the values of run %s could not be removed: %s", run, error)
