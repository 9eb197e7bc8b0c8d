"""The compiled form of a pipeline: what travels, what is journaled, what `progress` runs.

Every style of writing a pipeline compiles to a `Definition`. It is data and nothing else: versioned, frozen, clean for
msgpack and JSON. User data stands in it as bytes (`payload.pack`), so that Router and Pipeliner never decode it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

VERSION = 1

# Numbers as they may stand on the wire and in the journal: decoding refuses all others, NaN and infinity among them.
Count = Annotated[int, Meta(ge=0, lt=1 << 62)]
"""How many, or which: attempts, leases, sequence numbers. SQLite keeps it."""
Amount = Annotated[float, Meta(ge=0, le=1e300)]
Seconds = Amount
Moment = Annotated[float, Meta(ge=-1e12, le=1e12)]
"""Epoch seconds, some thousand years around us."""
Priority = Annotated[int, Meta(ge=-(2**31), le=2**31)]

Bind = Literal["store", "args", "named", "item", "gather", "literal"]
When = Literal["success", "failure", "always"]
OnError = Literal["fail", "block", "continue"]
EdgeKind = Literal["order", "value"]
HookKind = Literal["success", "failure", "always"]


class RetryRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """When to try again. `tries` counts the first attempt too; `on` and `never` hold exception names and exit codes."""

    tries: Count = 1
    delay: Seconds = 0.0
    factor: Amount = 1.0
    cap: Seconds | None = None
    jitter: bool = True
    on: tuple[str | int, ...] = ()
    never: tuple[str | int, ...] = ()


class GatherRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """How branches close: `level` None is all of them; by key or in windows of `size`."""

    level: Count | None = None
    by: str | None = None
    size: Count | None = None


class CommandLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A worker in any language: an argument list, or shell text."""

    argv: tuple[str, ...] = ()
    shell: str | None = None
    cwd: str | None = None
    env: dict[str, str] = {}
    dialect: Literal["", "alfred"] = ""
    """`alfred`: texts such as %D(path) are put in when it starts, and lines such as TR_EXIT_STATUS count."""


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the Router has to know of a run: everything but its shape."""

    title: str | None = None
    key: str | None = None
    on_duplicate: Literal["return", "reject", "replace"] = "return"
    priority: Priority = 0
    deadline: Seconds | None = None
    not_before: Moment | None = None
    after: tuple[str, ...] = ()
    max_active: Annotated[int, Meta(ge=1)] | None = None
    paused: bool = False
    """It is paused from the beginning: nothing of it starts until somebody resumes it."""


class Node(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One job (or gate: a node without work) of a pipeline."""

    name: str
    worker: str = ""
    kind: Literal["job", "gate", "pipeline"] = "job"
    data: bytes | None = None
    bind: Bind = "store"
    spread: bool = False
    gather: GatherRule | None = None
    when: When = "success"
    retry: RetryRule | None = None
    timeout: Seconds | None = None
    queue_timeout: Seconds | None = None
    role: str | None = None
    resources: dict[str, Amount] = {}
    limits: tuple[str, ...] = ()
    priority: Priority = 0
    on_error: OnError | None = None
    cache: str | None = None
    command: CommandLine | None = None
    definition: bytes | None = None
    """The packed Definition of a sub-run, when `kind` is pipeline."""
    options: RunOptions | None = None
    """Those of a sub-run, when they are not the default ones."""

    @property
    def worker_name(self) -> str:
        return self.worker or self.name


class Group(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Nodes that fail, end and are hooked together."""

    title: str
    members: tuple[int, ...]
    hooks: dict[HookKind, tuple[Node, ...]] = {}
    on_error: OnError | None = None


class Definition(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole pipeline, less its run data. Edges are (from, to, kind) with positions in `nodes`."""

    version: int = VERSION
    nodes: tuple[Node, ...] = ()
    edges: tuple[tuple[int, int, EdgeKind], ...] = ()
    on_error: OnError = "fail"
    hooks: dict[HookKind, Node] = {}
    groups: tuple[Group, ...] = ()
    outside: tuple[str, ...] = ()
    """In a graft: names of nodes that the run has already. In edges they stand behind `nodes`: position
    `len(nodes) + i` is `outside[i]`. Whatever kind an edge into one of them has here, that node's own bind decides."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Definition)


def pack_definition(definition: Definition) -> bytes:
    return _encoder.encode(definition)


def unpack_definition(packed: bytes) -> Definition:
    """Raises `msgspec.DecodeError` (a ValueError) naming the path of what is wrong."""
    return _decoder.decode(packed)
