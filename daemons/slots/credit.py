"""What the Router knows of the Broker's credit, and when it has to be told anew.

The Router counts down by itself with every attempt that it grants; so it is told when there is more room, when it
believes in more than there is, and otherwise not.
"""

from __future__ import annotations

from ..protocol import Credit


class CreditLine:
    def __init__(self) -> None:
        self._known: tuple[int, int] | None = None
        """(free, prefetch), as the Router counts it."""
        self._seen = 0

    def reset(self) -> None:
        """A new session: the Router knows nothing."""
        self._known = None

    def granted(self, count: int, seen: int) -> None:
        """So many attempts have arrived; `seen` is the highest lease of all that ever did."""
        self._seen = seen
        if self._known is not None:
            free, prefetch = self._known
            self._known = max(0, free - count), max(0, prefetch - max(0, count - free))

    def news(self, free: int, prefetch: int, step: int) -> Credit | None:
        """`step`: changes of the prefetch below it are not worth a message, unless they are from or to nothing."""
        if self._known is not None:
            known_free, known_prefetch = self._known
            same = abs(prefetch - known_prefetch) < step and bool(prefetch) == bool(known_prefetch)
            if free == known_free and same:
                return None
        self._known = free, prefetch
        return Credit(free, prefetch, self._seen)
