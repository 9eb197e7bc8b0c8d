"""Handing out: which attempts may start now, and what was handed out already.

None of this is judgement. It says what need not be told twice under one take; after a new one all that is forgotten,
and whatever is ready and has not ended is handed out again. An attempt stays a number in a queue, and a range of
branches one entry, until somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import inf

from msgspec.structs import replace

from .attempts import Attempts
from .board import Board, Entry
from .cells import Block, Cell
from .facts import Path
from .inputs import inputs_of
from .plan import Plan
from .states import HANDED, READY
from .stops import Stops
from .task import Ready


class Handout:
    def __init__(self, board: Board, attempts: Mapping[Cell, Attempts], hooks: Mapping[int, bytes], round: int) -> None:
        self.pending = 0
        """Attempts that were handed out and have not ended."""
        self.stops = Stops()
        self.since: dict[tuple[str, Path], int] = {}
        """Sub-runs whose inputs were kept from earlier rounds: the round in which these were made."""
        self._board = board
        self._attempts = attempts
        self._hooks = hooks
        self._round = round
        self._aside: list[Entry] = []
        self._left: float = inf
        """Bytes that may be handed out yet, while something is."""

    def ready(self, limit: int | None, weight: int | None, origin: int) -> list[Ready]:
        """Attempts that were not handed out yet. `origin`: the fact that made those ready which wait for nobody."""
        found: list[Ready] = []
        board, queue = self._board, self._board.queue
        base = board.plan.base
        self._left = inf if weight is None else weight
        while queue and self._left > 0 and (limit is None or len(found) < limit):
            entry = queue.popleft()
            if self._held_back(entry):
                self._aside.append(entry)
            elif isinstance(entry, int):
                if board.state[entry] == READY:
                    board.state[entry] = HANDED
                    found.append(self._attempt(entry, base.get(entry, ()), board.flat, entry, origin))
            else:
                self._from_range(entry, limit, origin, found)
        self.pending += len(found)
        return found

    def _from_range(
        self, entry: tuple[int, Path, int, int], limit: int | None, origin: int, found: list[Ready]
    ) -> None:
        """Attempts of a range of branches; what does not fit stays first in the queue."""
        at, above, first, end = entry
        block = self._board.blocks[at, above]
        for position in range(first, end):
            if self._left <= 0 or (limit is not None and len(found) >= limit):
                self._board.queue.appendleft((at, above, position, end))
                return
            if block.state[position] == READY:
                block.state[position] = HANDED
                found.append(self._attempt(at, (*above, position), block, position, origin))

    def _attempt(self, at: int, path: Path, block: Block, position: int, origin: int) -> Ready:
        plan = self._board.plan
        name, worker, task, inputs, needs, below = plan.kits[at] or plan.kit(at)
        if inputs is None or block.flags[position]:
            inputs = inputs_of(plan, self._board, at, path)
        known = self._attempts.get((at, path)) if self._attempts else None
        attempt, after, delay = 1, -block.wait[position] or origin, 0.0
        if known is not None:
            attempt, after, delay = known.attempt, known.after or after, known.delay
        hook = plan.first_hook <= at < plan.end_hooks or at in plan.grafted_hooks
        if hook:
            task = self._hooks[at]
        if below is not None:
            below = replace(below, since=self.since.get((name, path), self._round))
        ready = Ready(name, path, attempt, worker, task, inputs, needs, after, delay, self._round, hook, below)
        self._left -= ready.weight
        return ready

    def _held_back(self, entry: Entry) -> bool:
        """Does something above it still have to be confirmed dead?"""
        if not self.stops.unconfirmed:
            return False
        return self.stops.above(self._board.plan, entry if isinstance(entry, int) else entry[0])

    def has_ready(self) -> bool:
        """Would `ready` hand out anything?"""
        queue = self._board.queue
        while queue:
            entry = queue.popleft()
            if self._held_back(entry):
                self._aside.append(entry)
                continue
            for cell, block, position in cells(self._board, entry):
                if block.state[position] == READY:
                    left = entry if isinstance(entry, int) else (cell[0], cell[1][:-1], position, entry[3])
                    queue.appendleft(left)
                    return True
        return False

    def stop(self, met: Iterable[tuple[Cell, int]], inherited: bool) -> None:
        """These were ready or handed out when they were stopped: whoever may have them is to be told."""
        for cell, state in met:
            if state == HANDED or inherited:
                self.stops.add(cell, state == HANDED)

    def inherit(self, cell: Cell) -> None:
        """Somebody else has handed it out, and it has not ended."""
        self.pending += self.stops.inherit(cell)

    def confirm(self, cell: Cell) -> None:
        """A stopped instance has ended; what was held back for it may go."""
        if self.stops.confirm(cell):
            self.pending -= 1
            self._bring_back()

    def let_go(self) -> None:
        """Nobody knows any more which of the stopped ones were really handed out."""
        self.pending -= self.stops.unconfirmed
        self.stops.let_go()
        self._bring_back()

    def rewind(self, plan: Plan) -> None:
        """A new take: what was handed out and has not ended is ready again, before all else; stops are told again."""
        self.let_go()
        self.pending = 0
        self.stops.tell_again()
        board, before = self._board, len(self._board.queue)
        for at in range(len(plan.nodes)):
            for path, block, position in board.instances(at):
                if block.state[position] == HANDED:
                    block.state[position] = READY
                    board.put(block, position, at, path)
        board.queue.rotate(len(board.queue) - before)

    def _bring_back(self) -> None:
        self._board.queue.extend(self._aside)
        self._aside.clear()

    def validate(self) -> None:
        """What is handed out and has not ended is pending, and nothing else."""
        self.stops.validate()
        board = self._board
        handed = sum(
            block.state[position] == HANDED
            for at in range(len(board.plan.nodes))
            for _, block, position in board.instances(at)
        )
        assert self.pending == handed + self.stops.unconfirmed, (self.pending, handed, self.stops.unconfirmed)


def cells(board: Board, entry: Entry) -> Iterator[tuple[Cell, Block, int]]:
    """The instances of one entry of the queue."""
    if isinstance(entry, int):
        yield (entry, board.plan.base.get(entry, ())), board.flat, entry
        return
    at, above, first, end = entry
    block = board.blocks[at, above]
    for position in range(first, end):
        yield (at, (*above, position)), block, position
