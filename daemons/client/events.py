"""Events: what happens in the cluster, for whoever watches.

Facts are numbered without a gap. They come by broadcast, and whatever a broadcast has left out is read from the api, so
that a watcher misses none, however slow it is. Signals (how far running jobs are) have numbers of their own, are kept
nowhere, and may be missing. A cursor names the last fact that was seen; with it, watching goes on from there, later or
elsewhere. A cursor that this Router cannot know (its journal was replaced by an older one) is answered by a `reset`:
the runs that are open, and the cursor to go on from.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import msgspec

from ...pipeline.errors import UserError
from ...pipeline.facts import Accepted, Fact, unpack_fact
from ...pipeline.payload import unpack
from ..dispatch.events import SIGNALS, decode_event, decode_signal
from .conversation import Conversation, Flow

PAGE = 1000
SIGNAL, RESET = "signal", "reset"


@dataclass(frozen=True, slots=True)
class Cursor:
    epoch: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.sequence}"

    @classmethod
    def parse(cls, text: str) -> Cursor:
        epoch, dash, sequence = text.partition("-")
        if not (dash and epoch.isdecimal() and sequence.isdecimal()) or len(text) > 40:
            raise UserError(f"{text!r:.100} is no cursor: it has to be as an event told it, like 3-1205")
        return cls(int(epoch), int(sequence))


@dataclass(frozen=True, slots=True)
class Event:
    """`kind` is that of the fact, `signal`, or `reset`. A signal has the cursor of the last fact before it."""

    cursor: str
    kind: str
    run: str | None
    fields: dict[str, Any]
    fact: Fact | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"cursor": self.cursor, "kind": self.kind, "run": self.run, "fields": self.fields}


class Watch:
    """What one watcher has seen. `run` None: of all runs; `signals`: those too."""

    def __init__(self, cursor: Cursor | None, run: str | None = None, *, signals: bool = False) -> None:
        self.cursor = cursor
        self.behind = True
        """There may be facts that have to be read from the api."""
        self._run = run
        self._signals = signals

    def hear(self, frames: list[bytes]) -> list[Event]:
        """A broadcast. One that cannot be read, or leaves facts out, is not believed: the api knows."""
        try:
            topic, frame = frames
            if topic == SIGNALS:
                return self._signal(frame) if self._signals else []
            event = decode_event(frame)
            facts = [(sequence, run, unpack_fact(packed)) for sequence, run, packed in event.facts]
        except (ValueError, msgspec.MsgspecError):
            self.behind = True
            return []
        cursor = self.cursor
        if cursor is None or self.behind or event.epoch < cursor.epoch:
            return []
        new = [fact for fact in facts if fact[0] > cursor.sequence]
        if new and new[0][0] != cursor.sequence + 1:
            self.behind = True
            return []
        return self._told(event.epoch, new)

    def read(self, conversation: Conversation) -> Flow[list[Event]]:
        """A page from the api; `behind` says whether there is another. The first look of a watcher without a cursor
        only finds out where it stands."""
        argument: dict[str, Any] = {"limit": PAGE}
        if self.cursor is not None:
            argument |= {"after": self.cursor.sequence, "epoch": self.cursor.epoch}
        told = yield from conversation.ask("events", **argument)
        epoch, reset = told["epoch"], told.get("reset")
        if reset is not None:
            self.cursor = Cursor(epoch, reset["last"])
            known, self.behind = argument.get("after") is not None, False
            return [Event(str(self.cursor), RESET, None, {"open": reset["open"]})] if known else []
        self.behind = bool(told["more"])
        return self._told(epoch, [(sequence, run, unpack_fact(packed)) for sequence, run, packed in told["facts"]])

    def _told(self, epoch: int, facts: list[tuple[int, str | None, Fact]]) -> list[Event]:
        found: list[Event] = []
        for sequence, run, fact in facts:
            if isinstance(fact, Accepted):
                run = fact.run
            if self._run in (None, run):
                kind, fields = fact.__struct_config__.tag, msgspec.to_builtins(fact, builtin_types=(bytes,))
                named = dict(zip(fact.__struct_fields__, fields[1:], strict=False))
                found.append(Event(f"{epoch}-{sequence}", str(kind), run, named, fact))
        if facts:
            self.cursor = Cursor(epoch, facts[-1][0])
        return found

    def _signal(self, frame: bytes) -> list[Event]:
        one = decode_signal(frame)
        if self._run not in (None, one.run) or self.cursor is None:
            return []
        told = {"job": one.job, "path": list(one.path), "attempt": one.attempt, "what": one.kind}
        fields = {**told, "number": one.number, "at": time.time(), "body": unpack(one.body)}
        return [Event(str(self.cursor), SIGNAL, one.run, fields)]
