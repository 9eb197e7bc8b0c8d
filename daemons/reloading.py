"""Watches the files that the workers were imported from, for `headrace broker --reload`.

It looks at times and sizes, twice a second, and waits until nothing changes between two looks: an editor may write a
file in steps. Then a process tries the new code; what comes of that is the Broker's affair. A file that is missing is
watched as well, for it to appear.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

LOOK = 0.5
NEVER = float("inf")

Signature = tuple[int, int] | None
"""When a file was written, in nanoseconds, and its size; None: there is no such file."""


class Reloading:
    def __init__(self) -> None:
        self._known: dict[str, Signature] = {}
        self._changing: dict[str, Signature] | None = None
        """How the files were at the last look, when that was otherwise than known."""
        self._next = NEVER
        self.trying = False
        """A process tries what has changed."""

    def watch(self, files: Iterable[str], now: float) -> None:
        """These are the files that count from now on; those that were watched already are known as they were."""
        self._known = {file: self._known.get(file, _signature(file)) for file in files}
        self._next = now + LOOK

    def next_deadline(self) -> float:
        return NEVER if self.trying else self._next

    def due(self, now: float) -> list[str]:
        """The files that have changed and settled. They are known as they are now."""
        if self.trying or now < self._next:
            return []
        self._next = now + LOOK
        found = {file: _signature(file) for file in self._known}
        if found == self._known or found != self._changing:
            self._changing = found if found != self._known else None
            return []
        changed = [file for file in found if found[file] != self._known[file]]
        self._known, self._changing = found, None
        return changed


def _signature(file: str) -> Signature:
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
