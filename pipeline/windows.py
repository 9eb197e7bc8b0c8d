"""Windows that open while branches still run: `Gather(size=n)` is elementwise, too.

A window is there as soon as the results that make it are: n of them, one after the other in index order. Branches that
were skipped have no result, so which window a branch belongs to is known only when all those before it have ended. The
walk through the branches stops at the first one that has not, and goes on from there. It stops for good at the first
one that failed or was stopped: what comes after it has no place yet, because a retry may still skip it.

This needs one job above whose branches are closed, and `when='success'`; other gathers in windows, and all by key, wait
until every branch has closed (a group by key may get one more item until then).

The functions here belong to `Board`, like those of `branches`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import branches
from .cells import Block, Cell
from .facts import Path
from .states import FAILURE, OPEN, STOP

if TYPE_CHECKING:
    from .board import Board, Work


class Stream:
    """The windows of one opener below one path."""

    __slots__ = ("items", "walk")

    def __init__(self, walk: Iterator[Cell | None]) -> None:
        self.walk: Iterator[Cell | None] | None = walk
        """What comes next in index order; None while that has not ended. No walk: nothing comes any more."""
        self.items: list[Cell] = []
        """Of the window that is not full yet."""


def feed(board: Board, at: int, path: Path, work: Work) -> None:
    """An instance that windows wait for has ended."""
    for opener, depth in board.plan.feeds[at]:
        if depth <= len(path):
            advance(board, opener, path[:depth], work)


def advance(board: Board, opener: int, path: Path, work: Work) -> None:
    """Open the windows that are full by now."""
    state = board.state_of(opener, path)
    if state is None or state >= OPEN or board.stopped or opener in board.stopped_nodes:
        return
    stream = board.streams.get((opener, path))
    if stream is None:
        stream = board.streams[opener, path] = Stream(_walk(board, opener, path))
        board.lengths[opener, path], board.portions[opener, path] = 0, []
    size = _size(board, opener)
    while stream.walk is not None and (cell := next(stream.walk, None)) is not None:
        if _is_broken(board, cell):
            stream.walk = None
            return
        for item in branches.items_of(board, opener, *cell):
            stream.items.append(item)
            if len(stream.items) == size:
                _open(board, opener, path, stream, work)


def _size(board: Board, opener: int) -> int | None:
    rule = board.plan.nodes[board.plan.grouped[opener]].gather
    return None if rule is None else rule.size


def flush(board: Board, opener: int, path: Path, work: Work) -> None:
    """Every branch has closed well: what is left makes the last window, or the last ones with what was grafted."""
    stream, size = board.streams[opener, path], _size(board, opener)
    for item in branches.grafted_items(board, opener, path):
        stream.items.append(item)
        if len(stream.items) == size:
            _open(board, opener, path, stream, work)
    if stream.items:
        _open(board, opener, path, stream, work)


def finish(board: Board, opener: int, path: Path, flag: int, work: Work) -> bool:
    """The opener has ended: no window comes any more. False when there was none at all."""
    board.streams.pop((opener, path), None)
    if not board.lengths[opener, path]:
        return False
    for at in branches.members_of(board, opener, path):
        if flag:
            board.ghosts[at] = branches.ghost_of(board, flag)
        if branches.is_counted(board, at, path):
            branches.count(board, at, path, flag, work)
    return True


def _open(board: Board, opener: int, path: Path, stream: Stream, work: Work) -> None:
    """One more branch for the jobs after the gather. The first one makes room, and holds their end open."""
    index = board.lengths[opener, path]
    board.portions[opener, path].append(stream.items)
    board.lengths[opener, path] = index + 1
    stream.items = []
    fresh: list[tuple[int, Block]] = []
    for at in branches.members_of(board, opener, path):
        if branches.is_counted(board, at, path):
            board.counting.setdefault((at, path), [1, 0])[0] += 1
        if len(board.plan.scope[at]) == len(path) + 1:
            fresh.append((at, branches.one_more(board, at, path)))
    for at, block in fresh:
        if not block.wait[index]:
            board.decide(block, index, at, (*path, index), work)


def _is_broken(board: Board, cell: Cell) -> bool:
    found = board.place(*cell)
    return found is not None and bool(board.flag_of(*found) & (FAILURE | STOP))


def _walk(board: Board, opener: int, path: Path) -> Iterator[Cell | None]:
    """The instances whose results are cut into windows, in index order; and lists around them that failed."""
    (parent,) = board.plan.parents[opener]
    return _below(board, parent, path)


def _below(board: Board, parent: int, path: Path) -> Iterator[Cell | None]:
    scope = board.plan.scope[parent]
    if len(path) == len(scope):
        while not _has_ended(board, parent, path):
            yield None
        yield parent, path
        return
    above = scope[len(path)]
    index = 0
    while True:
        while index < board.lengths.get((above, path), 0):
            yield from _below(board, parent, (*path, index))
            index += 1
        if _has_ended(board, above, path) and index == board.lengths.get((above, path), 0):
            break
        yield None
    if _is_broken(board, (above, path)):
        yield above, path


def _has_ended(board: Board, at: int, path: Path) -> bool:
    """Has it ended, and is that known to those after it?"""
    return (board.state_of(at, path) or 0) >= OPEN and (at, path) not in board.unsaid
