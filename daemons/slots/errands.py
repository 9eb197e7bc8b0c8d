"""What worker processes ask of the Router by way of their Broker: values, and to pass on how far they are.

A request for a value stays open until it is answered or its process is gone, and is told again after every joining.
Progress is lossy by contract: one line per attempt and turn.
"""

from __future__ import annotations

import msgspec

from ...workers import messages
from ..protocol import Fetched, FetchValue, Signals
from .orders import Reply
from .slot import Slot

_pack = msgspec.msgpack.Encoder().encode


class Errands:
    def __init__(self) -> None:
        self._open: dict[str, tuple[Slot, int, messages.Fetch]] = {}
        """By id: who asks, and which process of that slot it was."""
        self._progress: dict[int, bytes] = {}

    def fetch(self, slot: Slot, fetch: messages.Fetch) -> FetchValue:
        name = f"{slot.number}.{slot.generation}.{fetch.number}"
        self._open[name] = slot, slot.generation, fetch
        return FetchValue(name, fetch.want)

    def fetched(self, message: Fetched) -> Reply | None:
        found = self._open.pop(message.id, None)
        if found is None or found[0].generation != found[1]:
            return None
        slot, _, fetch = found
        return Reply(slot.number, messages.Fetched(fetch.number, message.given))

    def open(self) -> list[FetchValue]:
        return [FetchValue(name, fetch.want) for name, (_, _, fetch) in self._open.items()]

    def progress(self, message: messages.Progress) -> None:
        self._progress[message.lease] = _pack([message.done, message.total, message.message])

    def signals(self) -> Signals | None:
        if not self._progress:
            return None
        said, self._progress = self._progress, {}
        return Signals([(lease, "progress", body) for lease, body in said.items()])

    def forget(self, slot: Slot) -> None:
        """Its process is gone."""
        self._open = {name: one for name, one in self._open.items() if one[0] is not slot}
