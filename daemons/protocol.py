"""Every message of the wire.

One envelope per peer and turn carries a list of messages. Control messages are typed, decoded and checked in one step;
user data inside them is opaque bytes. Structs are arrays on the wire: a later version appends fields with defaults, so
that its neighbour version still reads them.

A peer speaks first with a `Hello` that holds its whole state, and repeats it whenever the two sides may differ: after a
restart of the Router (its epoch changes), after a gap in the numbers of envelopes, after `Again`. That one message is
the only way to recover, and it is idempotent. Everything else is an increment on top of it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from ..pipeline.definition import Count, RunOptions
from ..pipeline.facts import Path, RunError, Verdict
from ..pipeline.task import Assignment, Given, Needs, Outcome, Ready, RunHeader, Want

PROTOCOL = 1
OLDEST = 1
"""The oldest protocol version that is still accepted."""
MAX_FRAME = 64 * 1024 * 1024
OUTPUT_PART = 256 * 1024
"""Bytes of an attempt's output in one answer, at the most."""

Role = Literal["client", "broker", "pipeliner", "watcher"]
PeerName = Annotated[str, Meta(max_length=200)]
Interval = Annotated[float, Meta(ge=0.001, le=86400.0)]
Heartbeat = Annotated[float, Meta(ge=0.001, le=10.0)]
"""A peer gives a silent Router up after a few of these: one wrong `Welcome` must not make it wait for a day."""
RunName = Annotated[str, Meta(min_length=1, max_length=200)]


class Message(msgspec.Struct, frozen=True, array_like=True):
    """The base of all messages; `str` is one elided log line."""

    def __str__(self) -> str:
        shown = (f"{name}={elide(getattr(self, name))}" for name in self.__struct_fields__)
        return f"{type(self).__name__}({', '.join(shown)})"


def elide(value: object, width: int = 60) -> str:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, list | tuple) and len(value) > 3:
        return f"<{len(value)} {type(value[0]).__name__}>"
    text = repr(value)
    return text if len(text) <= width else f"{text[: width - 3]}..."


# Peer to Router: membership -----------------------------------------------------------------------------------------


class Held(Message, frozen=True, array_like=True):
    """A lease that a Broker still runs, or whose outcome it still keeps."""

    lease: Count
    run: str
    job: str
    path: Path
    attempt: Count
    round: Count = 0
    worker: str = ""
    needs: Needs | None = None
    lapsed: bool = False
    """It was not renewed in time: somebody else may have been given the attempt since."""


class BrokerCard(Message, frozen=True, array_like=True):
    """What a Broker offers. `workers` it can run; `roles` None serves all of them, else slots per role."""

    slots: Count
    workers: tuple[str, ...] = ()
    roles: dict[str, Count] | None = None
    resources: dict[str, float] = {}
    commands: bool = True
    versions: dict[str, str] = {}
    labels: tuple[str, ...] = ()


class Hello(Message, frozen=True, array_like=True, tag="hello"):
    """The whole state of a peer. Answered by `Welcome` or `Refuse`; a repeat replaces what was known."""

    role: Role
    place: str
    """host/pid, for people."""
    protocol: int = PROTOCOL
    release: str = ""
    card: BrokerCard | None = None
    held: tuple[Held, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    runs: tuple[tuple[str, Count, Count], ...] = ()
    """Of a Pipeliner: (run, take, sequence of the last fact seen)."""
    values_id: str | None = None
    """Of a Broker: the id of the values folder that it sees."""
    succeeds: tuple[PeerName, ...] = ()
    """Of a Broker: others on its machine that have died, with everything that came from them."""
    count: Count = 0
    """Which Hello of this process it is: one that comes after a newer one tells of the past, and is not heard."""
    epoch: Count | None = None
    """Of the Router that was heard of last when this was made, 0: of none. A newer Router cannot know whether the one
    before it has heard a newer Hello, and was told more by its peer since. None: the peer does not say."""


class Beat(Message, frozen=True, array_like=True, tag="beat"):
    """The heartbeat, every 2 s. `stamp` is the sender's clock and comes back.

    `seen`: of a Broker the highest lease it was ever granted in this session, of others the last envelope received.
    A Broker lists every lease it holds: only those are renewed, and one that was granted up to `seen` and is not
    listed goes back to the queue.
    """

    stamp: float
    seen: Count = 0
    leases: tuple[Count, ...] = ()
    free: Count = 0
    busy: Count = 0
    monitoring: bytes | None = None


class Bye(Message, frozen=True, array_like=True, tag="bye"):
    """An orderly end: nothing is held any more. No answer."""

    why: str = ""


# Broker to Router ---------------------------------------------------------------------------------------------------


class Credit(Message, frozen=True, array_like=True, tag="credit"):
    """How many more attempts the Broker takes: `free` starts at once, `prefetch` waits in a worker's pipe.

    It replaces the last one; leases granted above `seen` (the highest lease that has arrived) count against it.
    """

    free: Count
    prefetch: Count
    seen: Count


class Outcomes(Message, frozen=True, array_like=True, tag="outcomes"):
    """Ended attempts, kept by the Broker until `Noted`; repeats are harmless."""

    outcomes: list[Outcome]


class HandedBack(Message, frozen=True, array_like=True, tag="handed-back"):
    """Attempts that never began and never will here: they go back to their places, uncharged."""

    leases: list[Count]


class Signals(Message, frozen=True, array_like=True, tag="signals"):
    """Running and progress reports: lossy by contract. (lease, kind, packed body)."""

    signals: list[tuple[int, str, bytes]]


class FetchValue(Message, frozen=True, array_like=True, tag="fetch"):
    """A worker wants a value. Answered by `Fetched`; also sent by clients."""

    id: str
    want: Want


class ReadOutput(Message, frozen=True, array_like=True, tag="read"):
    """A part of what an attempt has written; from a client, and passed on to a Broker of that machine.

    An attempt that runs is named by run, job, path and attempt, and `offset` counts from the beginning of its output;
    one that has ended is named by the place and the file that its fact tells, and `offset` counts in the file.
    """

    id: str
    run: str
    job: str
    path: Path = ()
    attempt: Count = 0
    offset: Count = 0
    size: Annotated[int, Meta(ge=0, le=OUTPUT_PART)] = OUTPUT_PART
    place: str = ""
    file: str = ""
    lease: Count = 0
    """Of the attempt that runs, told by the Router."""


class Output(Message, frozen=True, array_like=True, tag="output"):
    """The answer to `ReadOutput`. Nothing and no reason: there is no more yet."""

    id: str
    data: bytes = b""
    missing: str = ""
    """Why it cannot be read."""
    runs: bool = False
    """The attempt is still under way."""


# Pipeliner to Router ------------------------------------------------------------------------------------------------


class Enqueue(Message, frozen=True, array_like=True, tag="enqueue"):
    """Attempts that may start. Dropped when `take` is not the current one or `control` is older than the run's;
    an instance that is queued, leased or ended is left out."""

    run: str
    take: Count
    control: Count
    seen: Count
    """The last fact that the decision rests on."""
    ready: list[Ready]


class Halt(Message, frozen=True, array_like=True, tag="halt"):
    """Stop these instances, wherever they are. Each ends with a fact of kind `cancelled` once it is confirmed."""

    run: str
    take: Count
    seen: Count
    instances: list[tuple[str, Path]]


class Conclude(Message, frozen=True, array_like=True, tag="conclude"):
    """The run's verdict. Compare-and-set on the last fact: refused when the run knows a newer one than `seen`.

    `final` False fixes the verdict and lets hooks run; True finishes the run.
    """

    run: str
    take: Count
    seen: Count
    verdict: Verdict
    error: RunError | None = None
    final: bool = True


# Client to Router ---------------------------------------------------------------------------------------------------


class Submission(Message, frozen=True, array_like=True):
    """A pipeline to run. `run` is chosen by the client: repeating it is harmless for ever."""

    run: RunName
    definition: bytes
    options: RunOptions = RunOptions()
    data: bytes | None = None


class Submit(Message, frozen=True, array_like=True, tag="submit"):
    """Answered by `Submitted`, after the commit. `follow`: tell me when they end."""

    id: str
    submissions: list[Submission]
    follow: bool = True


class Follow(Message, frozen=True, array_like=True, tag="follow"):
    """Tell me when these runs end, at once for those that have. Answered by `Endings`, as often as needed."""

    id: str
    runs: list[str]


class Control(Message, frozen=True, array_like=True, tag="control"):
    """A durable command about a run (or, for `pause` and `resume`, a role or the cluster).

    Answered by `Done` or `Failed`.
    """

    id: str
    verb: Literal["cancel", "pause", "resume", "retry", "prune", "drain"]
    run: str = ""
    reason: str | None = None
    argument: str | None = None


class Ask(Message, frozen=True, array_like=True, tag="ask"):
    """A question that changes nothing. Answered by `Told` (a packed map) or `Failed`.

    config       the Router's configuration
    status       peers, queues by role, rates
    runs         a page of runs: argument {state, limit, offset}
    run          one run: options, state, times, error, what is queued and leased
    facts        a page of a run's facts: argument {after, limit}
    events       a page of the facts of all runs behind a cursor: argument {after, epoch, limit}
    definition   the packed definition and data of a run
    explain      why a run is not running, and what of it waits or runs
    """

    id: str
    what: Literal["config", "status", "runs", "run", "facts", "events", "definition", "explain"]
    run: str = ""
    argument: dict[str, str | int | float | bool | None] = {}


# Router to everybody ------------------------------------------------------------------------------------------------


class Welcome(Message, frozen=True, array_like=True, tag="welcome"):
    """The answer to `Hello`: from now on increments count."""

    lease_time: Interval = 8.0
    heartbeat: Heartbeat = 2.0
    config: bytes | None = None
    """The Router's configuration for Brokers, packed."""
    values: str | None = None
    values_id: str | None = None


class Refuse(Message, frozen=True, array_like=True, tag="refuse"):
    """You cannot join, and why. Final until something changes."""

    reason: str


class Again(Message, frozen=True, array_like=True, tag="again"):
    """I do not know you, or I missed something: say `Hello`."""


class Pulse(Message, frozen=True, array_like=True, tag="pulse"):
    """The answer to `Beat`, with its stamp: leases listed there are renewed from that moment of the sender's clock.

    `kill` repeats the leases that have to end and are not confirmed yet.
    """

    stamp: float
    seen: Count = 0
    kill: tuple[Count, ...] = ()


# Router to Broker ---------------------------------------------------------------------------------------------------


class Run(Message, frozen=True, array_like=True, tag="run"):
    """Leased attempts. `headers` has one line per run among them."""

    headers: list[RunHeader]
    assignments: list[Assignment]


class Noted(Message, frozen=True, array_like=True, tag="noted"):
    """These outcomes are in the journal (or were refused for ever): forget them."""

    leases: list[Count]


class Kill(Message, frozen=True, array_like=True, tag="kill"):
    """End these attempts: a soft signal, a grace, then the whole process tree. Confirmed by their outcomes."""

    leases: list[Count]
    why: str = "cancelled"


class Recall(Message, frozen=True, array_like=True, tag="recall"):
    """Hand these back if they have not begun."""

    leases: list[Count]


class Fetched(Message, frozen=True, array_like=True, tag="fetched"):
    id: str
    given: Given


# Router to Pipeliner ------------------------------------------------------------------------------------------------


class Take(Message, frozen=True, array_like=True, tag="take"):
    """The run is yours under this take number. `facts` are (sequence, packed fact); `more`: others follow as `News`.

    Forget what was enqueued under an older take: enqueue whatever is ready and has not ended.
    `definition` is None when the Pipeliner said that it still holds the run: then `facts` are only the newer ones.
    """

    run: str
    take: Count
    control: Count
    definition: bytes | None
    facts: list[tuple[Count, msgspec.Raw]]
    accepted: Count = 0
    more: bool = False
    window: Count = 2000
    live: tuple[tuple[str, Path], ...] = ()
    """What of the run is queued or leased: what comes after it waits for its end, should it have to be stopped."""


class News(Message, frozen=True, array_like=True, tag="news"):
    """Committed facts of a run, in order. `more`: the rest of a Take, of which further pages follow."""

    run: str
    take: Count
    control: Count
    facts: list[tuple[Count, msgspec.Raw]]
    more: bool = False


class Drop(Message, frozen=True, array_like=True, tag="drop"):
    """The run is not yours any more."""

    run: str
    take: Count


# Router to client ---------------------------------------------------------------------------------------------------


class Receipt(Message, frozen=True, array_like=True):
    """What became of one submission. `run` is the id that counts: another one's when `key` made it so."""

    run: str
    ok: bool = True
    existed: bool = False
    reason: str = ""


class Submitted(Message, frozen=True, array_like=True, tag="submitted"):
    id: str
    receipts: list[Receipt]
    at: float = 0.0


class RunEnd(Message, frozen=True, array_like=True):
    run: str
    verdict: Verdict
    duration: float
    at: float
    error: RunError | None = None


class Endings(Message, frozen=True, array_like=True, tag="endings"):
    """Runs that have ended. `unknown`: the Router has never heard of these, or has pruned them."""

    id: str
    ends: list[RunEnd]
    unknown: list[str] = []


class Done(Message, frozen=True, array_like=True, tag="done"):
    id: str
    text: str = ""


class Told(Message, frozen=True, array_like=True, tag="told"):
    id: str
    body: bytes


class Failed(Message, frozen=True, array_like=True, tag="failed"):
    """The request was not carried out. `code`: busy, not-found, invalid, conflict, forbidden, internal."""

    id: str
    code: str
    reason: str
    retry_after: float | None = None
    missing: tuple[str, str, str] | None = None
    """With `not-found`: the kind of thing, its name, and a hint; `reason` says the same in one sentence."""


ToRouter = (
    Hello | Beat | Bye | Credit | Outcomes | HandedBack | Signals | FetchValue | Output
    | Enqueue | Halt | Conclude | Submit | Follow | Control | Ask | ReadOutput
)  # fmt: skip
FromRouter = (
    Welcome | Refuse | Again | Pulse | Run | Noted | Kill | Recall | Fetched | ReadOutput
    | Take | News | Drop | Submitted | Endings | Done | Told | Failed | Output
)  # fmt: skip


# The envelope -------------------------------------------------------------------------------------------------------


class Inbound(msgspec.Struct, frozen=True, array_like=True):
    """Peer to Router. `session` is chosen anew with every Hello, which is number 1 of its session."""

    version: int
    sender: PeerName
    session: PeerName
    number: Count
    messages: list[ToRouter]


class Outbound(msgspec.Struct, frozen=True, array_like=True):
    """Router to peer, under the session of the peer's last Hello. Clients that never said Hello have session ''."""

    version: int
    epoch: Count
    session: str
    number: Count
    messages: list[FromRouter]


_encoder = msgspec.msgpack.Encoder()
_inbound = msgspec.msgpack.Decoder(Inbound)
_outbound = msgspec.msgpack.Decoder(Outbound)


def encode(envelope: Inbound | Outbound) -> bytes:
    return _encoder.encode(envelope)


def decode_inbound(frame: bytes | memoryview) -> Inbound:
    """Raises `msgspec.DecodeError` or `RecursionError` on anything that is not an envelope."""
    return _inbound.decode(frame)


def decode_outbound(frame: bytes | memoryview) -> Outbound:
    return _outbound.decode(frame)
