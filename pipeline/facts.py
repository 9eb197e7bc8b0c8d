"""Facts: the committed lines of the journal. State is nothing but facts replayed.

A fact says what happened, never what follows from it: whether a job has failed for good, is tried again or is data for
its children is judged by `progress`, in the same way in every replay. Facts carry typed fields, sizes and references;
a result itself is kept beside its fact and is never decoded by Router or Pipeliner.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .definition import Count, OnError, RunOptions, Seconds

Path = tuple[Annotated[int, Meta(ge=0, lt=1 << 32)], ...]
Ended = Literal["success", "failed", "timeout", "cancelled", "died", "lost", "expired", "store"]
"""How an attempt ended.

success    the worker returned
failed     the worker raised, or its command ended with a bad code
timeout    it ran longer than its `timeout`
cancelled  it was stopped on request: by cancel, or because the run has failed
died       its process died under it (counts for quarantine)
lost       its Broker was lost (a budget of its own)
expired    it waited longer than its `queue_timeout`
store      the store kept failing until its deadline
"""
Verdict = Literal["success", "failed", "cancelled"]


class Failure(msgspec.Struct, frozen=True, array_like=True):
    """Why an attempt ended badly, in words and text only."""

    type: str
    message: str
    traceback: str = ""
    exit_code: int | None = None
    log_tail: str = ""
    bases: tuple[str, ...] = ()
    """Names of the classes that the exception's is derived from: `on` and `never` of a retry may name those."""

    def record(self) -> dict[str, str]:
        """The failure as data, for dependants of a job under `continue`."""
        return {"_traceback": self.traceback, "_error": f"{self.type}: {self.message}"}


class Signs(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the Pipeliner has to know of a result, said by the worker process beside the opaque bytes."""

    spread: Count | None = None
    """Length of the list, when the result is one."""
    chosen: tuple[str, ...] | None = None
    skip: str | None = None
    keys: dict[str, str] = {}
    """Canonical texts of the result's values that a gather groups by."""
    graft: bytes | None = None
    """A packed Definition to put into this run."""
    retry_after: Seconds | None = None
    invalid: str | None = None
    """The answer cannot be honoured, and why: the job fails without retry."""


class CacheNote(msgspec.Struct, frozen=True, array_like=True):
    """What came of an attempt's look into the cache. An attempt of a job without `cache` has none."""

    kind: Literal["hit", "miss", "refused", "damaged"]
    """hit: the result is an earlier one. miss: there was none. refused: this input or result cannot be kept.
    damaged: there was one that cannot be read, and it was removed."""
    key: str = ""
    reason: str = ""
    """Of a hit, whose result it is; else why there was none: what differs from the nearest earlier one."""


class RunError(msgspec.Struct, frozen=True, array_like=True):
    """The first failure of a run."""

    job: str | None
    path: Path
    reason: str
    traceback: str = ""
    kind: str = ""


class Parent(msgspec.Struct, frozen=True, array_like=True):
    """The attempt that a sub-run is: where it stands in the run above it."""

    run: str
    job: str
    path: Path = ()
    round: Count = 0
    attempt: Count = 1
    hook: bool = False


class Accepted(msgspec.Struct, frozen=True, array_like=True, tag="accepted"):
    """The run exists. Its definition and data are kept beside this fact."""

    run: str
    at: float
    options: RunOptions
    active: bool = True
    """False: it waits for a time or for other runs, and a `Released` fact will follow."""
    parent: Parent | None = None
    """The attempt of another run that this run is."""
    data_ref: str | None = None
    """Where the data stands, when it is not kept beside this fact: a large value that was made for a sub-run."""
    digest: bytes = b""
    """Of everything that was submitted: tells a repeat from another run under the same id."""


class Released(msgspec.Struct, frozen=True, array_like=True, tag="released"):
    """A waiting run may start."""

    at: float


class Returned(msgspec.Struct, frozen=True, array_like=True, tag="returned"):
    """One attempt of one instance ended."""

    job: str
    path: Path
    attempt: Count
    kind: Ended
    lease: Count = 0
    round: Count = 0
    started: float = 0.0
    duration: float = 0.0
    place: str = ""
    size: Count = 0
    ref: str | None = None
    signs: Signs | None = None
    error: Failure | None = None
    charged: bool = True
    """False: this end counts in no budget (the Router was away, a stop, a drain)."""
    log: tuple[str, int, int] | None = None
    cache: CacheNote | None = None
    code: str = ""
    """A digest of the worker's code that ran; of a command there is none."""


class Cancelled(msgspec.Struct, frozen=True, array_like=True, tag="cancelled"):
    """Somebody asked for the end of the run (or its deadline passed)."""

    at: float
    control: int
    reason: str


class Paused(msgspec.Struct, frozen=True, array_like=True, tag="paused"):
    """The run is paused, or goes on."""

    at: float
    control: int
    on: bool


class Reopened(msgspec.Struct, frozen=True, array_like=True, tag="reopened"):
    """`retry`: a new round; whatever did not succeed, and what depends on it, starts afresh."""

    at: float
    control: int
    round: int
    parent: Parent | None = None
    """Of a sub-run: the attempt that it is from now on."""


class Parked(msgspec.Struct, frozen=True, array_like=True, tag="parked"):
    """Nobody is given the run any more, because Pipeliners died reading it; or (an empty reason) somebody is again."""

    at: float
    reason: str


class Ending(msgspec.Struct, frozen=True, array_like=True, tag="ending"):
    """The verdict is fixed; hooks run now."""

    at: float
    verdict: Verdict
    error: RunError | None = None


class Finished(msgspec.Struct, frozen=True, array_like=True, tag="finished"):
    """The run is over: everything is terminal, hooks too."""

    at: float
    verdict: Verdict
    error: RunError | None = None
    duration: float = 0.0


class Registered(msgspec.Struct, frozen=True, array_like=True, tag="registered"):
    """A Broker joined: after a restart the Router waits for it."""

    identity: str
    place: str
    at: float
    draining: bool = False
    """It is to run empty: said of one that has joined before. The next one of its kind takes that back."""


class Unregistered(msgspec.Struct, frozen=True, array_like=True, tag="unregistered"):
    """A Broker left, or was lost."""

    identity: str
    at: float
    why: str = ""


class Switched(msgspec.Struct, frozen=True, array_like=True, tag="switched"):
    """A role is paused, or (no role) the whole cluster; or is not any more."""

    role: str | None
    on: bool
    at: float


class EpochBegan(msgspec.Struct, frozen=True, array_like=True, tag="epoch"):
    """A Router began its work on this journal."""

    epoch: int
    at: float
    boot: str = ""


class Pruned(msgspec.Struct, frozen=True, array_like=True, tag="pruned"):
    """A finished run's facts and values were removed; a one-row tombstone stays."""

    run: str
    at: float


RunFact = Accepted | Released | Returned | Cancelled | Paused | Reopened | Ending | Finished | Parked
Fact = RunFact | Registered | Unregistered | EpochBegan | Pruned | Switched

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Fact] = msgspec.msgpack.Decoder(Fact)


def pack_fact(fact: Fact) -> bytes:
    return _encoder.encode(fact)


def unpack_fact(packed: bytes | msgspec.Raw) -> Fact:
    return _decoder.decode(packed)


__all__ = [
    "Accepted",
    "CacheNote",
    "Cancelled",
    "Ended",
    "Ending",
    "EpochBegan",
    "Fact",
    "Failure",
    "Finished",
    "OnError",
    "Parent",
    "Parked",
    "Path",
    "Paused",
    "Pruned",
    "Registered",
    "Released",
    "Reopened",
    "Returned",
    "RunError",
    "RunFact",
    "Signs",
    "Switched",
    "Unregistered",
    "Verdict",
    "pack_fact",
    "unpack_fact",
]
