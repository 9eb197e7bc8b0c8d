"""The board: every instance of a run with its state, and what follows from the end of one for those after it.

An instance is a cell of a block: a byte of state, a byte of flags (what arrived from above), and a count of parents that
have not ended yet. Jobs outside of branches share one block; in branches there is one block per job and list, made when
the spread above has returned. Counters are the only machinery: nothing here looks at all instances, but `stop`.

The board knows no facts, attempts, budgets or policies: `progress` does. It may be asked what is ready, and be told that
an instance has ended; gates (nodes without work) and whatever is skipped end here, as consequences.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator

from .facts import Path
from .plan import ALWAYS, ON_SUCCESS, Plan
from .scopes import CLOSES, DOWN, OPENS, UP
from .states import (
    ABSENT,
    BLOCKED,
    CANCELLED,
    DATA,
    FAILURE,
    FLAGS,
    HANDED,
    OPEN,
    READY,
    SKIP,
    SKIPPED,
    STOP,
    SUCCESS,
    WAITING,
)

Cell = tuple[int, Path]
"""An instance: the number of its node, and its index path."""
Entry = int | tuple[int, Path, int, int]
"""Ready work: a node outside of branches, or a range of branches (node, path above, first, end)."""
Work = list[tuple[int, Path, int]]


class Block:
    """Cells that lie together. `wait` counts parents to come; of a ready cell it is minus the number of the fact that
    made it ready."""

    __slots__ = ("flags", "state", "wait")

    def __init__(self, state: bytearray, flags: bytearray, wait: list[int]) -> None:
        self.state = state
        self.flags = flags
        self.wait = wait


class Board:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = bytearray(plan.initial)
        self.flags = bytearray(plan.size)
        self.wait = plan.indegree.copy()
        self.flat = Block(self.state, self.flags, self.wait)
        self.queue: deque[Entry] = deque()
        self.open = plan.flat_count
        """Instances that have not ended, hooks apart."""
        self.sequence = 0
        """The fact that is being applied."""
        self.stopped = False
        self.cancelled = False
        self.stopped_nodes: set[int] = set()
        self.chosen: dict[Cell, frozenset[int]] = {}
        """The children that a result chose."""
        self.completed: list[tuple[int, int]] = []
        """Members of groups whose last instance has ended, with the flags of them all; for `progress` to take."""
        self.branched = False
        if plan.scoped:
            self.make_branches()
        if plan.plainly:
            self.queue.extend(plan.starters)
            for at in plan.starters:
                self.state[at] = READY
        else:
            self._begin()

    def make_branches(self) -> None:
        self.branched = True
        self.blocks: dict[Cell, Block] = {}
        """Per node and path above: its branches."""
        self.lengths: dict[Cell, int] = {}
        """Per opener and path: how many branches."""
        self.counting: dict[Cell, list[int]] = {}
        """Per node that is gathered, and path: branches that have not closed yet, flags of those that have."""
        self.portions: dict[Cell, list[list[Cell]]] = {}
        """Per opener of groups, and path: the instances in each group."""
        self.ghosts: dict[int, int] = {}
        """Nodes that will never have a branch because their spread did not return a list: how that ended."""
        self.keys: dict[Cell, dict[str, str]] = {}
        """The keys of results that are grouped."""
        self.more_out: dict[Cell, list[tuple[int, int]]] = {}
        """Edges that grafts have added: (job, how it is reached) after an instance,"""
        self.more_in: dict[Cell, list[Cell]] = {}
        """and the instances that a job waits for, in and below a path,"""
        self.more_members: dict[Cell, list[int]] = {}
        """and the jobs that the branches of a list have besides."""

    # Looking ---------------------------------------------------------------------------------------------------------

    def place(self, at: int, path: Path) -> tuple[Block, int] | None:
        """The block of an instance and its position there; None when there is no such instance (yet)."""
        if self.plan.is_single(at):
            return (self.flat, at) if path == self.plan.base.get(at, ()) else None
        if len(path) != len(self.plan.scope[at]):
            return None
        block = self.blocks.get((at, path[:-1]))
        if block is None or not 0 <= path[-1] < len(block.state):
            return None
        return block, path[-1]

    def state_of(self, at: int, path: Path) -> int | None:
        found = self.place(at, path)
        return None if found is None else found[0].state[found[1]]

    def blocks_of(self, at: int, path: Path = ()) -> Iterator[tuple[Path, Block]]:
        """The blocks of a node of branches below a path, in index order."""
        scope = self.plan.scope[at]
        base = self.plan.base.get(at, ())
        if base[: len(path)] != path[: len(base)]:
            return
        if len(base) > len(path):
            path = base
        stack = [path]
        while stack:
            above = stack.pop()
            if len(above) >= len(scope) - 1:
                above = above[: len(scope) - 1]
                if (block := self.blocks.get((at, above))) is not None:
                    yield above, block
            else:
                count = self.lengths.get((scope[len(above)], above), 0)
                stack.extend((*above, index) for index in range(count - 1, -1, -1))

    def instances(self, at: int, path: Path = ()) -> Iterator[tuple[Path, Block, int]]:
        """All instances of a node below a path, in index order."""
        if self.plan.is_single(at):
            base = self.plan.base.get(at, ())
            if base[: len(path)] == path[: len(base)]:
                yield base, self.flat, at
            return
        for above, block in self.blocks_of(at, path):
            if len(path) == len(self.plan.scope[at]):
                yield path, block, path[-1]
                return
            for index in range(len(block.state)):
                yield (*above, index), block, index

    # Ends and what follows -------------------------------------------------------------------------------------------

    def end(self, block: Block, position: int, at: int, path: Path, code: int) -> None:
        """An instance has ended in this state."""
        block.state[position] = code
        self.open -= 1
        self._settle([(at, path, code)])

    def open_branches(self, at: int, path: Path, count: int) -> None:
        """What a spread job's result says, before its `end`: it has so many elements."""
        self.lengths[at, path] = count

    def _settle(self, work: Work) -> None:
        """Carry ends to those after them, as far as that ends others."""
        plan = self.plan
        while work:
            at, path, code = work.pop()
            flag = FLAGS[code]
            if code == CANCELLED:
                found = self.place(at, path)
                if found is not None and found[0].flags[found[1]] & FAILURE:
                    flag = FAILURE
            chosen = self.chosen.get((at, path)) if self.chosen else None
            for child, mode in plan.out[at]:
                if mode == DOWN:
                    self._reach(child, path, flag if chosen is None or child in chosen else flag | SKIP, work)
            if self.branched and self.more_out and (more := self.more_out.get((at, path))):
                for child, mode in more:
                    if mode != OPENS:
                        above = path[: len(plan.scope[child])] if mode == UP else path
                        self._reach(child, above, flag, work)
            if at in plan.groups_of and not plan.scope[at]:
                self.completed.append((at, flag))
            if plan.scoped:
                self._settle_branches(at, path, code, flag, work)

    def _settle_branches(self, at: int, path: Path, code: int, flag: int, work: Work) -> None:
        plan = self.plan
        if at in plan.gathers:
            for gather, depth in plan.gathers[at]:
                if depth == len(path):
                    self._reach(gather, path, flag, work)
        if plan.nodes[at].spread or at in plan.grouped:
            if code != SUCCESS:
                self.lengths[at, path] = 0
            self._open(at, path, self.lengths[at, path], 0 if code == SUCCESS else flag & ~DATA, work)
        if at in plan.closes and len(path) > plan.closes[at]:
            counting = self.counting[at, path[:-1]]
            counting[0] -= 1
            counting[1] |= flag & ~SKIP
            if not counting[0]:
                self._closed(at, path[:-1], work)

    def _reach(self, child: int, path: Path, flag: int, work: Work) -> None:
        """One parent less to wait for, for every instance of the child in or below this branch."""
        plan = self.plan
        scope = plan.scope[child]
        if not scope:
            self._arrive(self.flat, child, child, (), flag, work)
        elif plan.base and plan.is_single(child):
            self._arrive(self.flat, child, child, plan.base.get(child, ()), flag, work)
        elif len(scope) == len(path):
            block = self.blocks.get((child, path[:-1]))
            if block is not None:
                self._arrive(block, path[-1], child, path, flag, work)
        else:
            for above, block in self.blocks_of(child, path):
                for index in range(len(block.state)):
                    self._arrive(block, index, child, (*above, index), flag, work)

    def _arrive(self, block: Block, position: int, at: int, path: Path, flag: int, work: Work) -> None:
        if block.state[position] != WAITING:
            return
        if flag:
            block.flags[position] |= flag
        left = block.wait[position] - 1
        block.wait[position] = left
        if not left:
            self._decide(block, position, at, path, work)

    def decide(self, at: int) -> None:
        """The one instance of a node that waits for nothing."""
        work: Work = []
        self._decide(self.flat, at, at, self.plan.base.get(at, ()), work)
        self._settle(work)

    def _decide(self, block: Block, position: int, at: int, path: Path, work: Work) -> None:
        """All parents have ended."""
        code = self.rule(at, block.flags[position])
        if code == READY and self.plan.nodes[at].kind != "gate":
            block.state[position] = READY
            block.wait[position] = -self.sequence
            self.queue.append(at if block is self.flat else (at, path[:-1], position, position + 1))
            return
        if code == READY:
            code = SUCCESS
            if at in self.plan.grouped:
                self._group(at, path)
        block.state[position] = code
        self.open -= 1
        work.append((at, path, code))

    def rule(self, at: int, flags: int) -> int:
        """What becomes of an instance whose parents have ended with these flags."""
        when = self.plan.when[at]
        if self.cancelled:
            return CANCELLED
        if when == ALWAYS:
            return READY
        if when != ON_SUCCESS:
            if flags & (FAILURE | DATA):
                return READY
            return CANCELLED if flags & STOP else SKIPPED
        if self.stopped or at in self.stopped_nodes:
            return CANCELLED
        if flags & (FAILURE | STOP):
            return BLOCKED
        return SKIPPED if flags & SKIP else READY

    # Branches --------------------------------------------------------------------------------------------------------

    def _open(self, opener: int, path: Path, count: int, flag: int, work: Work) -> None:
        """Make the branches of a list: all blocks first, so that what ends at once finds those after it."""
        plan, depth = self.plan, len(path)
        fresh: list[tuple[int, Block]] = []
        empty: list[int] = []
        for at in (*plan.members.get(opener, ()), *self.more_members.get((opener, path), ())):
            if flag:
                self.ghosts[at] = CANCELLED if self.stopped else _GHOSTS[flag & -flag]
            if at in plan.closes and plan.closes[at] <= depth:
                self.counting[at, path] = [count, flag]
                if not count:
                    empty.append(at)
            if count and len(plan.scope[at]) == depth + 1:
                fresh.append((at, self._block(at, opener, path, count)))
        for at, block in fresh:
            if not block.wait[0]:
                self._begin_block(at, path, block, work)
        for at in empty:
            self._closed(at, path, work)

    def _block(self, at: int, opener: int, path: Path, count: int) -> Block:
        wait, flags = self.arrived(at, (*path, 0))
        block = Block(bytearray(count), bytearray([flags]) * count, [wait] * count)
        self.blocks[at, path] = block
        self.open += count
        return block

    def arrived(self, at: int, path: Path) -> tuple[int, int]:
        """For a new instance: how many parents have not ended yet, and the flags of those that have."""
        plan = self.plan
        wait = flags = 0
        for parent, mode in zip(plan.parents[at], plan.modes[at], strict=True):
            if mode == OPENS:
                above = path[: len(plan.scope[parent])]
                chosen = self.chosen.get((parent, above))
                flags |= SKIP if chosen is not None and at not in chosen else 0
            elif mode == CLOSES or len(plan.scope[parent]) == len(path):
                wait += 1
            else:
                wait, flags = self._broadcast(at, parent, path[: len(plan.scope[parent])], wait, flags)
        for parent, above in self.grafted_above(at, path):
            wait, flags = self._broadcast(at, parent, above, wait, flags)
        return wait, flags

    def grafted_above(self, at: int, path: Path) -> list[Cell]:
        """What grafts have put before this instance."""
        if not self.branched or not self.more_in:
            return []
        return [cell for depth in range(len(path) + 1) for cell in self.more_in.get((at, path[:depth]), ())]

    # Grafts ----------------------------------------------------------------------------------------------------------

    def own(self, plan: Plan) -> None:
        """From now on this run has a plan of its own."""
        self.plan = plan
        if not self.branched:
            self.make_branches()

    def add(self, at: int) -> None:
        """A place for a grafted job."""
        single = self.plan.is_single(at)
        self.state.append(WAITING if single else ABSENT)
        self.flags.append(0)
        self.wait.append(len(self.plan.parents[at]) if single else 0)
        self.open += single

    def put_before(self, cell: Cell, target: int, mode: int) -> None:
        """An instance of a grafted job comes before what waits in its branches."""
        path = cell[1]
        depth = len(self.plan.scope[target])
        above = path[:depth] if depth < len(path) else path
        self.more_out.setdefault(cell, []).append((target, mode))
        self.more_in.setdefault((target, above), []).append(cell)
        for _, block, position in self.instances(target, above):
            block.wait[position] += 1

    # Opening and closing ---------------------------------------------------------------------------------------------

    def _broadcast(self, at: int, parent: int, path: Path, wait: int, flags: int) -> tuple[int, int]:
        found = self.place(parent, path)
        if found is None or found[0].state[found[1]] < OPEN:
            return wait + 1, flags
        block, position = found
        flag = FLAGS[block.state[position]]
        if block.state[position] == CANCELLED and block.flags[position] & FAILURE:
            flag = FAILURE
        chosen = self.chosen.get((parent, path))
        if chosen is not None and at not in chosen:
            flag |= SKIP
        return wait, flags | flag

    def _begin_block(self, at: int, path: Path, block: Block, work: Work) -> None:
        """Branches that wait for nothing more: all alike, so that work for them is one range."""
        count = len(block.state)
        if self.rule(at, block.flags[0]) == READY and self.plan.nodes[at].kind != "gate":
            block.state[:] = bytes([READY]) * count
            block.wait[:] = [-self.sequence] * count
            self.queue.append((at, path, 0, count))
        else:
            for index in range(count):
                self._decide(block, index, at, (*path, index), work)

    def _closed(self, at: int, path: Path, work: Work) -> None:
        """Every branch of the node below this path has ended: tell the gather there, and go on outwards."""
        plan = self.plan
        while True:
            flags = self.counting[at, path][1]
            for gather, depth in plan.gathers.get(at, ()):
                if depth == len(path):
                    self._reach(gather, path, flags, work)
            if not path and at in plan.groups_of:
                self.completed.append((at, flags))
            if len(path) <= plan.closes[at]:
                return
            path = path[:-1]
            around = self.counting[at, path]
            around[0] -= 1
            around[1] |= flags & ~SKIP
            if around[0]:
                return

    def _group(self, opener: int, path: Path) -> None:
        """Sort the results that have closed into groups, by key or in windows, in index order."""
        node = self.plan.nodes[self.plan.grouped[opener]]
        rule = node.gather
        assert rule is not None
        groups: list[list[Cell]] = []
        if rule.size is not None:
            items = list(self._items(opener, path))
            groups = [items[start : start + rule.size] for start in range(0, len(items), rule.size)]
        elif rule.by is not None:
            known: dict[str, list[Cell]] = {}
            for cell in self._items(opener, path):
                key = self.keys.get(cell, {}).get(rule.by)
                if key is not None:
                    known.setdefault(key, []).append(cell)
            groups = list(known.values())
        self.portions[opener, path] = groups
        self.lengths[opener, path] = len(groups)

    def _items(self, opener: int, path: Path) -> Iterator[Cell]:
        """What there is to group: instances that returned something; of a spread without a job between, its elements."""
        plan = self.plan
        target = plan.grouped[opener]
        depth = len(plan.scope[opener])
        for parent in plan.items(opener):
            scope = plan.scope[parent]
            for above, block, position in self.instances(parent, path[: len(scope)] if len(scope) <= depth else path):
                if not self.gathered(block.state[position], parent, above, target):
                    continue
                if plan.nodes[parent].spread:
                    yield from ((parent, (*above, index)) for index in range(self.lengths[parent, above]))
                else:
                    yield parent, above

    def gathered(self, state: int, parent: int, path: Path, target: int) -> bool:
        """Does this instance give something to a gather? Whoever was skipped, blocked or stopped does not."""
        if state in _EMPTY or state < OPEN:
            return False
        chosen = self.chosen.get((parent, path))
        return chosen is None or self.plan.groupers.get(target, target) in chosen

    # Beginning and stopping ------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for at in self.plan.starters:
            if self.state[at] == WAITING:
                self.decide(at)

    def stop(self, only: Collection[int] | None, everything: bool) -> list[tuple[Cell, int]]:
        """End what has not ended: jobs that need success, or `everything`. Returns what was handed out, or ready.

        In topological order, so that whatever had a failure above it says so to those after it.
        """
        plan = self.plan
        met: list[tuple[Cell, int]] = []
        if only is None:
            self.stopped = True
            self.cancelled = self.cancelled or everything
        else:
            self.stopped_nodes.update(only)
        for at in plan.order:
            if (only is not None and at not in only) or not (everything or plan.when[at] == ON_SUCCESS):
                continue
            for path, block, position in self.instances(at):
                state = block.state[position]
                if state >= OPEN:
                    continue
                if state != WAITING:
                    met.append(((at, path), state))
                self.end(block, position, at, path, CANCELLED)
        return met

    # Counting --------------------------------------------------------------------------------------------------------

    def tally(self, at: int) -> dict[int, int]:
        """How many instances of a node are in which state."""
        if self.plan.is_single(at):
            return {self.state[at]: 1}
        counts: dict[int, int] = {}
        for _, block in self.blocks_of(at):
            for state in set(block.state):
                counts[state] = counts.get(state, 0) + block.state.count(state)
        if not counts and at in self.ghosts:
            counts[self.ghosts[at]] = 1
        return counts

    def validate(self) -> None:
        """The counters say what the cells say."""
        plan = self.plan
        still = 0
        for at in plan.order:
            for path, block, position in self.instances(at):
                state = block.state[position]
                still += state < OPEN
                if state == WAITING:
                    wait = self._still_to_come(at, path)
                    assert block.wait[position] == wait > 0, (plan.names[at], path, block.wait[position], wait)
                if state in (READY, HANDED):
                    assert block.wait[position] <= 0, (plan.names[at], path, block.wait[position])
        assert still == self.open, (still, self.open)

    def _still_to_come(self, at: int, path: Path) -> int:
        wait = 0
        for parent, mode in zip(self.plan.parents[at], self.plan.modes[at], strict=True):
            if mode == DOWN:
                wait += (self.state_of(parent, path[: len(self.plan.scope[parent])]) or 0) < OPEN
            elif mode == CLOSES:
                wait += not self._has_closed(parent, path)
        for parent, above in self.grafted_above(at, path):
            wait += (self.state_of(parent, above) or 0) < OPEN
        return wait

    def _has_closed(self, at: int, path: Path) -> bool:
        if self.plan.nodes[at].spread and len(self.plan.scope[at]) == len(path):
            return (self.state_of(at, path) or 0) >= OPEN
        counting = self.counting.get((at, path))
        return counting is not None and not counting[0]


_EMPTY = frozenset((SKIPPED, BLOCKED, CANCELLED))
_GHOSTS = {FAILURE: BLOCKED, SKIP: SKIPPED, STOP: CANCELLED}
