"""What the machines ask their loops to do: small frozen values, carried out in order."""

from __future__ import annotations

import msgspec

from ...pipeline.facts import Fact, Path
from ..protocol import FromRouter


class Effect(msgspec.Struct, frozen=True):
    """There is one for every fact and every message: a struct is made in a tenth of the time of a frozen dataclass."""


class Send(Effect, frozen=True):
    """Router: a message to a peer. `rests` False: it rests on no fact of this turn and does not wait for them."""

    peer: str
    message: FromRouter
    rests: bool = True


class Record(Effect, frozen=True):
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


class Load(Effect, frozen=True):
    """Router: read a run's definition (when `definition`) and its facts after `after`, and feed them back."""

    run: str
    take: int
    after: int
    definition: bool


class Lookup(Effect, frozen=True):
    """Router: which of a Broker's held leases belong to instances that have already ended? Fed back as `looked_up`."""

    peer: str
    session: str


class Find(Effect, frozen=True):
    """Router: what the journal has of a sub-run that an attempt is to be. Fed back as `found`."""

    run: str
    job: str
    path: Path
    attempt: int
    child: str


class Forget(Effect, frozen=True):
    """Router: a peer is gone for good: free what the loop keeps for it."""

    peer: str


class Tell(Effect, frozen=True):
    """Router: a signal for watchers, lossy by contract: `body` is packed, and says how far a running job is."""

    run: str
    job: str
    path: Path
    attempt: int
    kind: str
    body: bytes


RouterEffect = Send | Record | Load | Lookup | Find | Forget | Tell
