"""Stops: instances that were judged to be stopped, until somebody confirms that they are dead.

Judged ended at once, they may still run. Who is told, and who has confirmed, is no part of the judgement; but a job
that runs after them in any case (a clean-up) is held back until nothing above it runs any more.
"""

from __future__ import annotations

from collections.abc import Iterable

from .cells import Cell
from .plan import Plan


class Stops:
    def __init__(self) -> None:
        self.unconfirmed = 0
        """Instances that this take has handed out and that are being stopped."""
        self._stopping: dict[Cell, bool] = {}
        self._untold: list[Cell] = []

    def add(self, cell: Cell, handed: bool) -> None:
        self._stopping[cell] = handed
        self.unconfirmed += handed
        self._untold.append(cell)

    def inherit(self, cell: Cell) -> bool:
        """It was handed out before this take. True when that was not known of one that is being stopped."""
        news = not self._stopping.get(cell, True)
        if news:
            self._stopping[cell] = True
            self.unconfirmed += 1
        return news

    def confirm(self, cell: Cell) -> bool:
        """Its end has come. True when it was one that this take had handed out."""
        handed = self._stopping.pop(cell, False)
        self.unconfirmed -= handed
        return handed

    def tell(self) -> list[Cell]:
        """Those that were not told yet in this take."""
        told, self._untold = self._untold, []
        return [cell for cell in told if cell in self._stopping]

    def let_go(self) -> None:
        """Nobody knows any more which of them were really handed out: nothing waits for them."""
        self._stopping = dict.fromkeys(self._stopping, False)
        self.unconfirmed = 0

    def tell_again(self) -> None:
        self._untold = list(self._stopping)

    def above(self, plan: Plan, at: int) -> bool:
        """Does a node come after something that is being stopped? The hook of a group comes after all its members."""
        stopping = {cell[0] for cell, handed in self._stopping.items() if handed}
        seen: set[int] = set()
        called_by = [plan.members_of(g) for g, group in enumerate(plan.groups) if any(at in one for one in group.hooks)]
        trail = [*plan.parents[at], *plan.behind.get(at, ()), *(member for members in called_by for member in members)]
        while trail:
            one = trail.pop()
            if one in stopping:
                return True
            if one not in seen:
                seen.add(one)
                trail.extend(plan.parents[one])
                trail.extend(plan.behind.get(one, ()))
        return False

    def count(self, cells: Iterable[Cell]) -> int:
        return sum(self._stopping.get(cell, False) for cell in cells)

    def validate(self) -> None:
        assert self.unconfirmed == sum(self._stopping.values()), (self.unconfirmed, self._stopping)
