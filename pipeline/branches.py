"""Branches: lists open them, gathers close them.

When a spread job has returned, every job in its scope gets a block with one cell per element; those that wait for
nothing more are one range of work, however long the list is. When the last branch below a path has ended, the gather
there is told. A gather that groups sorts what has closed into portions, and opens branches of its own for them; most
windows need not wait for that (`windows`).

The functions here belong to `Board`: they are carried out while it carries an end on to those after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import windows
from .cells import Block, Cell
from .facts import Path
from .scopes import CLOSES, OPENS
from .states import BLOCKED, CANCELLED, DATA, FAILURE, OPEN, READY, SKIP, SKIPPED, STOP, SUCCESS, WAITING

if TYPE_CHECKING:
    from .board import Board, Work

_GHOSTS = {FAILURE: BLOCKED, SKIP: SKIPPED, STOP: CANCELLED}
_EMPTY = frozenset((SKIPPED, BLOCKED, CANCELLED))


def ended(board: Board, at: int, path: Path, code: int, flag: int, work: Work) -> None:
    """An instance has ended: open its branches, or count it for whoever gathers it."""
    plan = board.plan
    opens = plan.nodes[at].spread or at in plan.grouped
    if opens and code != SUCCESS:
        board.lengths.setdefault((at, path), 0)
    if at in plan.feeds:
        windows.feed(board, at, path, work)
    for gather, depth in plan.gathers.get(at, ()):
        if depth == len(path):
            board.reach(gather, path, flag, work)
    if opens:
        _open(board, at, path, 0 if code == SUCCESS else flag & ~DATA, work)
    if at in plan.closes and len(path) > plan.closes[at]:
        count(board, at, path[:-1], flag, work)


def _open(board: Board, at: int, path: Path, flag: int, work: Work) -> None:
    if at in board.plan.streams and windows.finish(board, at, path, flag, work):
        return
    open_all(board, at, path, flag, work)
    if at in board.plan.feeds:
        windows.feed(board, at, path, work)


def open_all(board: Board, opener: int, path: Path, flag: int, work: Work) -> None:
    """Make the branches of a list: all blocks first, so that what ends at once finds those after it. A flag says that
    there is no list, and why."""
    plan, depth, count = board.plan, len(path), board.lengths[opener, path]
    fresh: list[tuple[int, Block]] = []
    empty: list[int] = []
    for at in members_of(board, opener, path):
        if flag:
            board.ghosts[at] = ghost_of(board, flag)
        if is_counted(board, at, path):
            board.counting[at, path] = [count, flag]
            if not count:
                empty.append(at)
        if count and len(plan.scope[at]) == depth + 1:
            fresh.append((at, _block(board, at, path, count)))
    for at, block in fresh:
        if not block.wait[0]:
            _begin(board, at, path, block, work)
    for at in empty:
        _closed(board, at, path, work)


def members_of(board: Board, opener: int, path: Path) -> tuple[int, ...]:
    """The nodes that have branches for each of an opener's."""
    return (*board.plan.members.get(opener, ()), *board.more_members.get((opener, path), ()))


def is_counted(board: Board, at: int, path: Path) -> bool:
    """Does somebody gather the branches of this node that are below the path?"""
    return board.plan.closes.get(at, len(path) + 1) <= len(path)


def ghost_of(board: Board, flag: int) -> int:
    """How that ended which has no branch."""
    return CANCELLED if board.stopped else _GHOSTS[flag & -flag]


def one_more(board: Board, at: int, path: Path) -> Block:
    """A block with one more cell than it had; the first makes it."""
    block = board.blocks.setdefault((at, path), Block(bytearray(), bytearray(), []))
    wait, flags = _arrived(board, at, (*path, len(block.state)))
    block.state.append(WAITING)
    block.flags.append(flags)
    block.wait.append(wait)
    board.open += 1
    return block


def _block(board: Board, at: int, path: Path, count: int) -> Block:
    wait, flags = _arrived(board, at, (*path, 0))
    block = Block(bytearray(count), bytearray([flags]) * count, [wait] * count)
    board.blocks[at, path] = block
    board.open += count
    return block


def _arrived(board: Board, at: int, path: Path) -> tuple[int, int]:
    """For new branches: how many parents have not ended yet, and the flags of those that have."""
    plan = board.plan
    wait = flags = 0
    for parent, mode in zip(plan.parents[at], plan.modes[at], strict=True):
        above = path[: len(plan.scope[parent])]
        if mode == OPENS:
            flags |= _unchosen(board, parent, above, at)
        elif mode == CLOSES or len(above) == len(path):
            wait += 1
        else:
            wait, flags = _outer(board, parent, above, at, wait, flags)
    for parent, above in board.grafted_above(at, path):
        wait, flags = _outer(board, parent, above, at, wait, flags)
    return wait, flags


def _outer(board: Board, parent: int, path: Path, at: int, wait: int, flags: int) -> tuple[int, int]:
    found = board.place(parent, path)
    if found is None or found[0].state[found[1]] < OPEN or (parent, path) in board.unsaid:
        return wait + 1, flags
    return wait, flags | board.flag_of(*found) | _unchosen(board, parent, path, at)


def _unchosen(board: Board, parent: int, path: Path, at: int) -> int:
    chosen = board.chosen.get((parent, path))
    return SKIP if chosen is not None and at not in chosen else 0


def _begin(board: Board, at: int, path: Path, block: Block, work: Work) -> None:
    """Branches that wait for nothing more: all alike, so that work for them is one range."""
    count = len(block.state)
    if board.rule(at, block.flags[0]) == READY and board.plan.nodes[at].kind != "gate":
        block.state[:] = bytes([READY]) * count
        block.wait[:] = [-board.sequence] * count
        board.queue.append((at, path, 0, count))
    else:
        for index in range(count):
            board.decide(block, index, at, (*path, index), work)


def count(board: Board, at: int, path: Path, flag: int, work: Work) -> None:
    """One branch less that is open below this path. A skipped branch is left out of a gather, and says no more."""
    counting = board.counting[at, path]
    counting[0] -= 1
    counting[1] |= flag & ~SKIP
    if not counting[0]:
        _closed(board, at, path, work)


def _closed(board: Board, at: int, path: Path, work: Work) -> None:
    """Every branch of the node below this path has ended: tell the gather there, and go on outwards."""
    plan = board.plan
    while True:
        flags = board.counting[at, path][1]
        for gather, depth in plan.gathers.get(at, ()):
            if depth == len(path):
                board.reach(gather, path, flags, work)
        if at in plan.groups_of and not plan.is_single(at) and path == plan.base.get(at, ()):
            board.completed.append((at, flags))
        if len(path) <= plan.closes[at]:
            return
        path = path[:-1]
        around = board.counting[at, path]
        around[0] -= 1
        around[1] |= flags & ~SKIP
        if around[0]:
            return


# Groups --------------------------------------------------------------------------------------------------------------


def group(board: Board, opener: int, path: Path, work: Work) -> None:
    """Sort the results that have closed into portions, by key or in windows, in index order."""
    if opener in board.plan.streams:
        windows.flush(board, opener, path, work)
        return
    rule = board.plan.nodes[board.plan.grouped[opener]].gather
    assert rule is not None
    portions: list[list[Cell]] = []
    if rule.size is not None:
        items = list(_items(board, opener, path))
        portions = [items[start : start + rule.size] for start in range(0, len(items), rule.size)]
    elif rule.by is not None:
        known: dict[str, list[Cell]] = {}
        for cell in _items(board, opener, path):
            key = board.keys.get(cell, {}).get(rule.by)
            if key is not None:
                known.setdefault(key, []).append(cell)
        portions = list(known.values())
    board.portions[opener, path] = portions
    board.lengths[opener, path] = len(portions)


def _items(board: Board, opener: int, path: Path) -> Iterator[Cell]:
    """What there is to group: instances that returned something; of a spread without a job between, its elements."""
    plan = board.plan
    depth = len(plan.scope[opener])
    for parent in plan.items(opener):
        for where, _, _ in board.instances(parent, path[: min(depth, len(plan.scope[parent]))]):
            yield from items_of(board, opener, parent, where)
    yield from grafted_items(board, opener, path)


def grafted_items(board: Board, opener: int, path: Path) -> Iterator[Cell]:
    """What grafts have put before the groups, in the order of branches: behind everything else."""
    for cell in board.grafted_above(opener, path):
        if board.plan.nodes[cell[0]].kind != "gate":
            yield from items_of(board, opener, *cell)


def items_of(board: Board, opener: int, parent: int, path: Path) -> Iterator[Cell]:
    """What an instance that has ended gives to be grouped."""
    state = board.state_of(parent, path)
    if state is None or not gives(board, state, parent, path, opener):
        return
    if board.plan.nodes[parent].spread:
        yield from ((parent, (*path, index)) for index in range(board.lengths[parent, path]))
    else:
        yield parent, path


def gives(board: Board, state: int, parent: int, path: Path, at: int) -> bool:
    """Does this instance give something to a gather? Whoever was skipped, blocked or stopped does not."""
    return state >= OPEN and state not in _EMPTY and not _unchosen(board, parent, path, at)
