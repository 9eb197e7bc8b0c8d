"""What the Broker's machine asks its loop to do: small frozen values, carried out in order."""

from __future__ import annotations

import msgspec

from ...workers.messages import ToWorker
from ..protocol import ToRouter
from .slot import Attempt
from .units import Given


class StartProcess(msgspec.Struct, frozen=True):
    """Make a worker process for the slot, with these units of indexed resources for its own."""

    slot: int
    given: Given = {}


class Feed(msgspec.Struct, frozen=True):
    """Put attempts into the slot's pipe, in this order. What did not fit comes back by `Slots.refused`."""

    slot: int
    attempts: list[Attempt]


class TakeBack(msgspec.Struct, frozen=True):
    """Take out of the slot's pipe what has not begun. Answered by `Slots.taken_back`, at once."""

    slot: int


class Interrupt(msgspec.Struct, frozen=True):
    """Ask the slot's process to stop this attempt: `Stop`, then a soft signal."""

    slot: int
    lease: int
    why: str


class KillTree(msgspec.Struct, frozen=True):
    """End the slot's process and everything that came from it."""

    slot: int


class Reply(msgspec.Struct, frozen=True):
    """A message to the slot's process."""

    slot: int
    message: ToWorker


class Guard(msgspec.Struct, frozen=True):
    """From this time on nothing may run any more, should this Broker be unable to say so itself."""

    at: float | None


class Tell(msgspec.Struct, frozen=True):
    """A message to the Router. Dropped while the Broker has not joined: joining tells everything."""

    message: ToRouter


class Fail(msgspec.Struct, frozen=True):
    """The Broker cannot work at all, and why: its caller has to change something."""

    reason: str


BrokerEffect = StartProcess | Feed | TakeBack | Interrupt | KillTree | Reply | Guard | Tell | Fail
