"""Calls: the hooks of a run and of its groups, from the end that calls them to their own.

Hooks stand outside of the graph: nothing waits for them but hooks of what is around, and the run's end; how they end
changes nothing. Several of one kind run one after the other, whatever becomes of them. A group that never began calls
none. One that has ended calls its own when those of the groups inside it have ended: from the inside out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from .board import Board
from .facts import RunError
from .hooks import hook_data
from .kits import task_of
from .plan import Plan
from .states import FAILURE, READY, STOP
from .task import pack_task


class Calls:
    def __init__(self, plan: Plan, board: Board) -> None:
        self._plan = plan
        self._board = board
        self.open = 0
        """Hooks that were called and have not ended."""
        self.tasks: dict[int, bytes] = {}
        """What each hook that was called has to do."""
        self._next: dict[int, tuple[int, ...]] = {}
        self._left: list[int] = []
        """Per group: members that have not ended,"""
        self._flags: list[int] = []
        """and how those have ended that have;"""
        self._chains: list[int] = []
        """chains of its hooks that are under way;"""
        self._inside: list[int] = []
        """groups inside it that have called hooks, or will, and are not done with them."""
        self._begun: set[int] = set()
        self._group: dict[int, int] = {}
        """Of each hook of a group that is under way: the group."""
        self._due: dict[int, tuple[str, RunError | None]] = {}
        """Groups that have ended, and wait for the hooks of those inside: how they have ended."""
        self.follow(plan, range(0))

    def follow(self, plan: Plan, grafted: Iterable[int]) -> None:
        """A graft may have made the plan another one, with more groups, and with more members of those there were."""
        self._plan = plan
        known = len(self._left)
        for at in grafted:
            for g in plan.groups_of.get(at, ()):
                if g < known:
                    self._left[g] += 1
        self._left += [len(group.members) for group in plan.groups[len(self._left) :]]
        for counts in (self._flags, self._chains, self._inside):
            counts += [0] * (len(plan.groups) - len(counts))

    def begin(self, at: int) -> None:
        """A member has returned something: its groups have begun."""
        self._begun.update(self._plan.groups_of.get(at, ()))

    def end_members(self, told: Callable[[str], RunError | None]) -> None:
        """Take from the board which members have ended; a group whose last one has ended calls its hooks."""
        completed, self._board.completed = self._board.completed, []
        for at, flags in completed:
            for g in self._plan.groups_of[at]:
                self._left[g] -= 1
                self._flags[g] |= flags
                if not self._left[g] and g in self._begun:
                    verdict = self._verdict(g)
                    self._end_group(g, verdict, told(verdict))

    def _verdict(self, g: int) -> str:
        if self._flags[g] & FAILURE:
            return "failed"
        return "cancelled" if self._flags[g] & STOP else "success"

    def _end_group(self, g: int, verdict: str, error: RunError | None) -> None:
        """Call its hooks, now or when those of the groups inside it have ended."""
        group = self._plan.groups[g]
        if not group.hooks.of(verdict):
            return
        for around in group.around:
            self._inside[around] += 1
        self._due[g] = verdict, error
        self._call_due(g)

    def _call_due(self, g: int) -> None:
        if g not in self._due or self._inside[g]:
            return
        verdict, error = self._due.pop(g)
        chains = self._plan.groups[g].hooks.of(verdict)
        self._chains[g] = len(chains)
        self._group.update((at, g) for chain in chains for at in chain)
        self.call(chains, verdict, error)

    def call(self, chains: Iterable[tuple[int, ...]], verdict: str, error: RunError | None) -> None:
        """Start the first hook of each chain."""
        for chain in chains:
            for at in chain:
                data = hook_data(self._plan.nodes[at].data, verdict, error)
                self.tasks[at] = pack_task(msgspec.structs.replace(task_of(self._plan, at), data=data))
            self._start(chain)

    def drop_due(self) -> None:
        """Nothing is called any more that was not yet."""
        self._due.clear()

    def _start(self, chain: tuple[int, ...]) -> None:
        first, *rest = chain
        self._next[first] = tuple(rest)
        self.open += 1
        self._board.state[first] = READY
        self._board.wait[first] = -self._board.sequence
        self._board.queue.append(first)

    def end(self, at: int, code: int, last: bool = False) -> None:
        """A hook has ended. `last`: those after it in its chain do not run."""
        self._board.state[at] = code
        self.open -= 1
        rest = self._next.pop(at, ())
        if rest and not last:
            self._start(rest)
        elif at in self._group:
            self._end_chain(self._group[at])

    def _end_chain(self, g: int) -> None:
        self._chains[g] -= 1
        if not self._chains[g]:
            for around in self._plan.groups[g].around:
                self._inside[around] -= 1
                self._call_due(around)
