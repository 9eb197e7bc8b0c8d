"""Which run ids may be in the journal: a filter that costs a quarter of a megabyte, whatever their number.

Every submission has to be compared with all runs there ever were, pruned ones included, and nearly always it is new.
A Bloom filter says so without asking SQLite: what it does not hold is in no table. What it seems to hold is looked up;
the more runs there are, the more often for nothing. It is made anew whenever a journal is opened, unless there are so
many runs that this would be felt; then it holds everything.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

SIZE = 1 << 18
"""Bytes. With a hundred thousand ids one of 400 new ones seems to be known, with a million one of two."""
MASK = SIZE * 8 - 1
MOST = 100_000
"""Ids that are read when a journal is opened, in about 0.1 s."""


class Ids:
    """`name in ids` is never wrong when it is False."""

    def __init__(self) -> None:
        self.holds_everything = False
        self._bits = bytearray(SIZE)

    def __contains__(self, name: str) -> bool:
        bits = self._bits
        return self.holds_everything or all(bits[at >> 3] & 1 << (at & 7) for at in _places(name))

    def add(self, names: Iterable[str]) -> None:
        """One thread adds; others may look meanwhile."""
        for name in names:
            for at in _places(name):
                self._bits[at >> 3] |= 1 << (at & 7)

    @classmethod
    def of(cls, connection: sqlite3.Connection) -> Ids:
        """Those of a journal."""
        ids = cls()
        left = MOST
        for table in ("runs", "tombstones"):
            found = connection.execute(f"SELECT id FROM {table} LIMIT ?", (left + 1,)).fetchall()
            left -= len(found)
            if left < 0:
                ids.holds_everything = True
                break
            ids.add(name for (name,) in found)
        return ids


def _places(name: str) -> tuple[int, int, int]:
    """Bits of the filter, from one hash. It differs from process to process, and so does the filter."""
    number = hash(name)
    return number & MASK, number >> 21 & MASK, number >> 42 & MASK
