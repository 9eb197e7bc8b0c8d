"""How many items there are of which priority. Almost all have priority 0: these are not counted one by one."""

from __future__ import annotations


class Tally:
    """`total` in questions is how many items there are in all."""

    __slots__ = ("_others", "_sum")

    def __init__(self) -> None:
        self._others: dict[int, int] = {}
        self._sum = 0

    def add(self, priority: int, change: int) -> None:
        if not priority:
            return
        self._sum += change
        count = self._others.get(priority, 0) + change
        if count:
            self._others[priority] = count
        else:
            del self._others[priority]

    def highest(self, total: int) -> int:
        """Of at least one item."""
        found = max(self._others, default=0)
        return max(found, 0) if self._sum < total else found

    def lowest(self, total: int) -> int:
        """Of at least one item."""
        found = min(self._others, default=0)
        return min(found, 0) if self._sum < total else found
