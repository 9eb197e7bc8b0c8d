"""Cells: where the instances of a run stand, and how to look at them.

An instance is a cell of a block: a byte of state, a byte of flags (what arrived from above), and a count of parents
that have not ended yet. Jobs outside of branches share one block; in branches there is one block per job and list,
made when the spread above has returned.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .facts import Path
from .plan import Plan
from .scopes import CLOSES, DOWN
from .states import CANCELLED, FAILURE, FLAGS, HANDED, OPEN, READY, WAITING

if TYPE_CHECKING:
    from .windows import Stream

Cell = tuple[int, Path]
"""An instance: the number of its node, and its index path."""


class Block:
    """Cells that lie together. `wait` counts parents to come; of a ready cell it is minus the number of the fact that
    made it ready."""

    __slots__ = ("flags", "state", "wait")

    def __init__(self, state: bytearray, flags: bytearray, wait: list[int]) -> None:
        self.state = state
        self.flags = flags
        self.wait = wait


class Cells:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.state = bytearray(plan.initial)
        self.flags = bytearray(plan.size)
        self.wait = plan.indegree.copy()
        self.flat = Block(self.state, self.flags, self.wait)
        self.open = plan.flat_count
        """Instances that have not ended, hooks apart."""
        self.chosen: dict[Cell, frozenset[int]] = {}
        """The children that a result chose."""
        self.branched = False
        if plan.scoped:
            self.make_branches()

    def make_branches(self) -> None:
        """What only runs with branches or grafts need."""
        self.branched = True
        self.blocks: dict[Cell, Block] = {}
        """Per node and path above: its branches."""
        self.lengths: dict[Cell, int] = {}
        """Per opener and path: how many branches."""
        self.counting: dict[Cell, list[int]] = {}
        """Per node that is gathered, and path: branches that have not closed yet, flags of those that have."""
        self.portions: dict[Cell, list[list[Cell]]] = {}
        """Per opener of groups, and path: the instances in each group."""
        self.streams: dict[Cell, Stream] = {}
        """Per opener of windows that open one by one, and path: how far it is."""
        self.ghosts: dict[int, int] = {}
        """Nodes that will not have a branch because their spread returned no list: how that ended."""
        self.keys: dict[Cell, dict[str, str]] = {}
        """The keys of results that are grouped."""
        self.more_out: dict[Cell, list[tuple[int, int]]] = {}
        """Edges that grafts have added: (job, how it is reached) after an instance,"""
        self.more_in: dict[Cell, list[Cell]] = {}
        """and the instances that a job waits for, in and below a path,"""
        self.more_members: dict[Cell, list[int]] = {}
        """and the jobs that the branches of a list have besides."""

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
        """The blocks of a node of branches in and below a path, in index order."""
        scope = self.plan.scope[at]
        base = self.plan.base.get(at, ())
        if base[: len(path)] != path[: len(base)]:
            return
        stack = [base if len(base) > len(path) else path]
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
        """All instances of a node in and below a path, in index order."""
        if self.plan.is_single(at):
            base = self.plan.base.get(at, ())
            if base[: len(path)] == path[: len(base)]:
                yield base, self.flat, at
        elif len(path) == len(self.plan.scope[at]):
            if (found := self.place(at, path)) is not None:
                yield path, *found
        else:
            for above, block in self.blocks_of(at, path):
                for index in range(len(block.state)):
                    yield (*above, index), block, index

    def flag_of(self, block: Block, position: int) -> int:
        """What the end of an instance means for those after it."""
        state = block.state[position]
        if state == CANCELLED and block.flags[position] & FAILURE:
            return FAILURE
        return FLAGS[state]

    def grafted_above(self, at: int, path: Path) -> list[Cell]:
        """What grafts have put before this instance, in the order of their branches."""
        if not self.branched or not self.more_in:
            return []
        found = [cell for depth in range(len(path) + 1) for cell in self.more_in.get((at, path[:depth]), ())]
        return sorted(found, key=lambda cell: (cell[1], self.plan.lineage[cell[0]]))

    def tally(self, at: int) -> dict[int, int]:
        """How many instances of a node are in which state."""
        if self.plan.is_single(at):
            return {self.state[at]: 1}
        counts: dict[int, int] = {}
        for _, block in self.blocks_of(at):
            for state in set(block.state):
                counts[state] = counts.get(state, 0) + block.state.count(state)
        ghost = self.ghosts.get(at)
        if ghost is not None and (not counts or ghost == CANCELLED):
            counts[ghost] = counts.get(ghost, 0) + 1
        return counts

    def validate(self) -> None:
        """Counters say what the cells say; whoever waits has somebody to wait for, and whoever is ready has nobody."""
        still = 0
        for at in self.plan.order:
            for path, block, position in self.instances(at):
                state, wait = block.state[position], block.wait[position]
                still += state < OPEN
                if state == WAITING:
                    assert wait == self._to_come(at, path) > 0, (self.plan.names[at], path, wait)
                assert state not in (READY, HANDED) or wait <= 0, (self.plan.names[at], path, wait)
        assert still == self.open, f"{still} instances are open, {self.open} were counted"

    def _to_come(self, at: int, path: Path) -> int:
        """The parents of an instance that have not ended, looked up one by one."""
        plan = self.plan
        wait = 0
        for parent, mode in zip(plan.parents[at], plan.modes[at], strict=True):
            if mode == DOWN:
                wait += (self.state_of(parent, path[: len(plan.scope[parent])]) or 0) < OPEN
            elif mode == CLOSES:
                wait += not self._has_closed(parent, path)
        return wait + sum((self.state_of(*cell) or 0) < OPEN for cell in self.grafted_above(at, path))

    def _has_closed(self, at: int, path: Path) -> bool:
        if self.plan.nodes[at].spread and len(self.plan.scope[at]) == len(path):
            return (self.state_of(at, path) or 0) >= OPEN
        counting = self.counting.get((at, path))
        return counting is not None and not counting[0]
