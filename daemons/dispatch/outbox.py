"""The outbox: messages that rest on facts wait here until those facts are on disk.

Every turn's facts are one batch. Whatever a turn decided may rest on that batch and on all before it, so it leaves
when they are committed, in order; only what is known to rest on no fact (renewals, grants) goes at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from .effects import Record, RouterEffect, Send


class Outbox:
    def __init__(self) -> None:
        self._batch = 0
        self._committed = 0
        self._waiting: deque[tuple[int, list[RouterEffect]]] = deque()
        self.pending: dict[int, list[Record]] = {}
        """Batches on their way to the disk."""

    def put(self, effects: Iterable[RouterEffect]) -> tuple[list[Record], list[RouterEffect]]:
        """Split a turn's effects: the batch to commit (it may be empty), and what may be carried out now."""
        records: list[Record] = []
        now: list[RouterEffect] = []
        held: list[RouterEffect] = []
        for effect in effects:
            if isinstance(effect, Record):
                records.append(effect)
            elif isinstance(effect, Send) and not effect.rests:
                now.append(effect)
            else:
                held.append(effect)
        if records:
            self._batch += 1
            self.pending[self._batch] = records
        if self._batch == self._committed:
            now += held
        elif held:
            self._waiting.append((self._batch, held))
        return records, now

    def answer(self, request: str) -> tuple[bytes, bytes] | None:
        """What a request was answered whose fact is on its way to the disk: (digest, text)."""
        for records in self.pending.values():
            for record in records:
                if record.answer is not None and record.answer[0] == request:
                    return record.answer[1:]
        return None

    @property
    def batch(self) -> int:
        """The number of the newest batch."""
        return self._batch

    def committed(self, batch: int) -> tuple[list[Record], list[RouterEffect]]:
        """This batch and all before it are on disk: their records, and what may be carried out now."""
        records: list[Record] = []
        for number in range(self._committed + 1, batch + 1):
            records += self.pending.pop(number)
        self._committed = batch
        free: list[RouterEffect] = []
        while self._waiting and self._waiting[0][0] <= batch:
            free += self._waiting.popleft()[1]
        return records, free
