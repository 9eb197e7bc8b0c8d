"""What the machines ask their loops to do: small frozen values, carried out in order."""

from __future__ import annotations

from dataclasses import dataclass

from ...pipeline.facts import Fact, Path
from ..protocol import FromRouter


@dataclass(frozen=True, slots=True)
class Send:
    """Router: a message to a peer. `rests` False: it rests on no fact of this turn and does not wait for them."""

    peer: str
    message: FromRouter
    rests: bool = True


@dataclass(frozen=True, slots=True)
class Record:
    """Router: a fact for the journal, with what is kept beside it. `run` is None for facts of the Router itself."""

    sequence: int
    run: str | None
    fact: Fact
    result: bytes = b""
    definition: bytes | None = None
    data: bytes | None = None
    packed: bytes = b""
    """The fact as `pack_fact` makes it, when it is at hand."""
    answer: tuple[str, bytes, bytes] | None = None
    """The request that this fact carries out (id, digest of its body, packed answer): remembered for a day."""


@dataclass(frozen=True, slots=True)
class Load:
    """Router: read a run's definition (when `definition`) and its facts after `after`, and feed them back."""

    run: str
    take: int
    after: int
    definition: bool


@dataclass(frozen=True, slots=True)
class Lookup:
    """Router: which of a Broker's held leases belong to instances that have already ended? Fed back as `looked_up`."""

    peer: str
    session: str


@dataclass(frozen=True, slots=True)
class Find:
    """Router: what the journal has of a sub-run that an attempt is to be. Fed back as `found`."""

    run: str
    job: str
    path: Path
    attempt: int
    child: str


@dataclass(frozen=True, slots=True)
class Forget:
    """Router: a peer is gone for good: free what the loop keeps for it."""

    peer: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Router: a signal for watchers, lossy by contract: `body` is packed, and says how far a running job is."""

    run: str
    job: str
    path: Path
    attempt: int
    kind: str
    body: bytes


RouterEffect = Send | Record | Load | Lookup | Find | Forget | Tell
