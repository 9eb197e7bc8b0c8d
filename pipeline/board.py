"""The board: every instance of a run with its state, and what follows from the end of one for those after it.

Counters are the only machinery: nothing here looks at all instances, but `stop`. The board knows no facts, attempts,
budgets or policies: `progress` does. It is asked what is ready, and told that an instance has ended; gates (nodes
without work) and whatever is skipped end here, as consequences.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection

from . import branches, windows
from .cells import Block, Cell, Cells
from .facts import Path
from .plan import ALWAYS, ON_SUCCESS, Plan
from .scopes import DOWN, OPENS, UP
from .states import (
    ABSENT,
    BLOCKED,
    CANCELLED,
    DATA,
    FAILURE,
    HANDED,
    OPEN,
    READY,
    SKIP,
    SKIPPED,
    STOP,
    SUCCESS,
    WAITING,
)

Entry = int | tuple[int, Path, int, int]
"""Ready work: a node that has one place, or a range of branches (node, path above, first, end)."""
Work = list[tuple[int, Path, int]]
"""Ends that are still to be carried on: node, path, state."""


class Board(Cells):
    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.queue: deque[Entry] = deque()
        self.sequence = 0
        """The fact that is being applied."""
        self.unsaid: set[Cell] = set()
        """Instances that have ended, and whose ends are not carried on yet: who comes after them will still hear."""
        self.stopped = False
        """Jobs that need success do not start any more,"""
        self.cancelled = False
        """nor do others,"""
        self.stopped_nodes: set[int] = set()
        """nor do these."""
        self.completed: list[tuple[int, int]] = []
        """Members of groups whose last instance has ended, with the flags of them all; for `progress` to take."""
        if plan.plainly:
            self.queue.extend(plan.starters)
            for at in plan.starters:
                self.state[at] = READY
        else:
            for at in plan.starters:
                if self.state[at] == WAITING:
                    self.reached(at)

    # Ends and what follows -------------------------------------------------------------------------------------------

    def end(self, block: Block, position: int, at: int, path: Path, code: int) -> None:
        """An instance has ended in this state."""
        block.state[position] = code
        self.open -= 1
        self._settle([(at, path, code)])

    def reached(self, at: int) -> None:
        """The parents of a node that has one place have all ended."""
        work: Work = []
        self.decide(self.flat, at, at, self.plan.base.get(at, ()), work)
        self._settle(work)

    def _settle(self, work: Work) -> None:
        """Carry ends on to those after them, as far as that ends others."""
        plan = self.plan
        while work:
            at, path, code = work.pop()
            self.unsaid.discard((at, path))
            found = self.place(at, path)
            flag = 0 if found is None else self.flag_of(*found)
            chosen = self.chosen.get((at, path)) if self.chosen else None
            for child, mode in plan.out[at]:
                if mode == DOWN:
                    self.reach(child, path, flag if chosen is None or child in chosen else flag | SKIP, work)
            if at in plan.groups_of and plan.is_single(at):
                self.completed.append((at, flag))
            if self.branched:
                self._settle_grafted(at, path, flag, chosen, work)
                branches.ended(self, at, path, code, flag, work)

    def _settle_grafted(self, at: int, path: Path, flag: int, chosen: frozenset[int] | None, work: Work) -> None:
        for child, mode in self.more_out.get((at, path), ()):
            said = flag if chosen is None or child in chosen else flag | SKIP
            if mode == UP:
                self.reach(child, path[: len(self.plan.scope[child])], said, work)
            elif mode != OPENS:
                self.reach(child, path, said, work)

    def reach(self, child: int, path: Path, flag: int, work: Work) -> None:
        """One parent less to wait for, for every instance of the child in or below this branch."""
        if not self.plan.scope[child]:
            self._arrive(self.flat, child, child, (), flag, work)
            return
        for where, block, position in self.instances(child, path):
            self._arrive(block, position, child, where, flag, work)

    def _arrive(self, block: Block, position: int, at: int, path: Path, flag: int, work: Work) -> None:
        if block.state[position] != WAITING:
            return
        block.flags[position] |= flag
        block.wait[position] -= 1
        if not block.wait[position]:
            self.decide(block, position, at, path, work)

    def decide(self, block: Block, position: int, at: int, path: Path, work: Work) -> None:
        """All parents have ended: it is ready, or ends without work."""
        gate = self.plan.nodes[at].kind == "gate"
        if gate and at in self.plan.streams:
            windows.advance(self, at, path, work)
        code = self.rule(at, block.flags[position])
        if code == READY and not gate:
            block.state[position] = READY
            block.wait[position] = -self.sequence
            self.put(block, position, at, path)
            return
        if code == READY:
            code = SUCCESS
            if at in self.plan.grouped:
                branches.group(self, at, path, work)
        block.state[position] = code
        self.open -= 1
        work.append((at, path, code))
        if self.branched:
            self.unsaid.add((at, path))

    def put(self, block: Block, position: int, at: int, path: Path) -> None:
        """Into the queue of what is ready."""
        self.queue.append(at if block is self.flat else (at, path[:-1], position, position + 1))

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

    # Stopping --------------------------------------------------------------------------------------------------------

    def announce_stop(self, only: Collection[int] | None, everything: bool) -> None:
        """From now on jobs that need success do not start; nor do others when `everything` stops."""
        if only is not None:
            self.stopped_nodes.update(only)
            return
        self.stopped = True
        self.cancelled = self.cancelled or everything

    def stop(self, only: Collection[int] | None, everything: bool) -> list[tuple[Cell, int]]:
        """End what has not ended. Returns what was ready or handed out, with that state.

        In topological order, so that whatever had a failure above it says so to those after it.
        """
        self.announce_stop(only, everything)
        met: list[tuple[Cell, int]] = []
        for at in self.plan.order:
            if (only is not None and at not in only) or not (everything or self.plan.when[at] == ON_SUCCESS):
                continue
            for path, block, position in self.instances(at):
                state = block.state[position]
                if state in (READY, HANDED):
                    met.append(((at, path), state))
                if state < OPEN:
                    self.end(block, position, at, path, CANCELLED)
        return met

    # Grafts ----------------------------------------------------------------------------------------------------------

    def own(self, plan: Plan) -> None:
        """From now on this run has a plan of its own."""
        self.plan = plan
        if not self.branched:
            self.make_branches()

    def add(self, at: int, grafter: int) -> None:
        """A place for a grafted job. What has stopped the groups of its grafter has stopped it, too."""
        if grafter in self.stopped_nodes:
            self.stopped_nodes.add(at)
        single = self.plan.is_single(at)
        self.state.append(WAITING if single else ABSENT)
        self.flags.append(0)
        self.wait.append(len(self.plan.parents[at]) if single else 0)
        self.open += single

    def add_hook(self, at: int) -> None:
        """A place for the hook of a grafted group, which was not called yet."""
        self.state.append(ABSENT)
        self.flags.append(0)
        self.wait.append(0)

    def put_before(self, cell: Cell, target: int, mode: int) -> None:
        """An instance of a grafted job comes before what waits in its branches."""
        path = cell[1]
        above = path[: len(self.plan.scope[target])]
        self.more_out.setdefault(cell, []).append((target, mode))
        self.more_in.setdefault((target, above), []).append(cell)
        for _, block, position in self.instances(target, above):
            if block.state[position] == WAITING:
                block.wait[position] += 1
