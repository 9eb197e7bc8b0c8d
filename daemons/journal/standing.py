"""Where a run stands, by its own facts: what the Router has to know of it after a restart.

Ends of attempts leave it as it is: they are judged by Pipeliners, never here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec

from ...pipeline.definition import RunOptions
from ...pipeline.facts import (
    Accepted,
    Cancelled,
    Ending,
    Fact,
    Finished,
    Parent,
    Parked,
    Paused,
    Released,
    Reopened,
    RunError,
    Verdict,
)

INLINE_DATA = 64 * 1024
"""Run data up to this size stands beside an open run; more is read when it is asked for."""

_DEFAULTS = RunOptions()


@dataclass(slots=True)
class Standing:
    """A run replayed from its facts."""

    id: str
    number: int
    """The sequence of its `Accepted`."""
    run: str = ""
    """The id again, as its `Accepted` says."""
    options: RunOptions = _DEFAULTS
    accepted_at: float = 0.0
    started_at: float | None = None
    """Wall time at which its round began: of its `Released`, or of its `Accepted` when it did not have to wait, or of
    its last `Reopened`."""
    parent: Parent | None = None
    digest: bytes = b""
    data_ref: str | None = None
    parked: str = ""
    """Why no Pipeliner is given it any more."""
    shortened: bool = False
    """Somebody asked for the end of its hooks."""
    active: bool = True
    control: int = 0
    paused: bool = False
    cancelled: str | None = None
    """The reason, when somebody asked for its end."""
    ending: tuple[Verdict, RunError | None] | None = None
    """The verdict that is fixed while hooks run."""
    round: int = 0
    finished: Finished | None = None
    last: int = 0
    """The sequence of its last fact."""
    data: bytes | None = None
    """The run's data when it is small."""
    data_size: int | None = None
    """None: it has no data."""

    @property
    def key(self) -> str | None:
        return self.options.key

    def apply(self, fact: Fact) -> None:
        match fact:
            case Accepted():
                self.run, self.options, self.accepted_at = fact.run, fact.options, fact.at
                self.parent, self.active = fact.parent, fact.active
                self.digest, self.data_ref = fact.digest, fact.data_ref
                self.started_at = fact.at if fact.active else None
            case Released():
                self.active, self.started_at = True, fact.at
            case Cancelled():
                self.control = fact.control
                if self.ending is None:
                    self.cancelled = fact.reason
                else:
                    self.shortened = True
            case Paused():
                self.paused, self.control = fact.on, fact.control
            case Reopened():
                self.round, self.control = fact.round, fact.control
                self.paused, self.cancelled, self.ending, self.finished = False, None, None, None
                self.started_at, self.shortened, self.parked = fact.at, False, ""
                self.parent = fact.parent or self.parent
            case Parked():
                self.parked = fact.reason
            case Ending():
                self.ending = (fact.verdict, fact.error)
            case Finished():
                self.finished = fact

    def row(self) -> tuple[Any, ...]:
        """What its row in `runs` has to hold, in the order of `RUN_COLUMNS`."""
        end = self.finished
        return (
            self.number,
            self.id,
            self.options.title,
            self.options.key,
            self.accepted_at,
            int(self.active),
            self.control,
            int(self.paused),
            self.cancelled,
            self.ending[0] if self.ending else None,
            self.round,
            end.verdict if end else None,
            end.at if end else None,
            end.duration if end else None,
            pack_error(end.error) if end else None,
            self.parent.run if self.parent else None,
        )


def pack_error(error: RunError | None) -> bytes | None:
    return None if error is None else msgspec.msgpack.encode(error)


_error_decoder = msgspec.msgpack.Decoder(RunError)


def unpack_error(packed: bytes | None) -> RunError | None:
    return None if packed is None else _error_decoder.decode(packed)
