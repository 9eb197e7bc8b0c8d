"""The compiled form of a pipeline: what travels, what is journaled, what `progress` runs.

Every style of writing a pipeline compiles to a `Definition`. It is data and nothing else: versioned, frozen, clean for
msgpack and JSON. User data stands in it as bytes (`payload.pack`), so that Router and Pipeliner never decode it.
"""

from __future__ import annotations

from typing import Literal

import msgspec

VERSION = 1

Bind = Literal["store", "args", "named", "item", "gather", "literal"]
When = Literal["success", "failure", "always"]
OnError = Literal["fail", "block", "continue"]
EdgeKind = Literal["order", "value"]
HookKind = Literal["success", "failure", "always"]


class RetryRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """When to try again. `tries` counts the first attempt too; `on` and `never` hold exception names and exit codes."""

    tries: int = 1
    delay: float = 0.0
    factor: float = 1.0
    cap: float | None = None
    jitter: bool = True
    on: tuple[str | int, ...] = ()
    never: tuple[str | int, ...] = ()


class GatherRule(msgspec.Struct, frozen=True, omit_defaults=True):
    """How branches close: `level` None is all of them; by key or in windows of `size`."""

    level: int | None = None
    by: str | None = None
    size: int | None = None


class CommandLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A worker in any language: an argument list, or shell text."""

    argv: tuple[str, ...] = ()
    shell: str | None = None
    cwd: str | None = None
    env: dict[str, str] = {}


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
    timeout: float | None = None
    queue_timeout: float | None = None
    role: str | None = None
    resources: dict[str, float] = {}
    limits: tuple[str, ...] = ()
    priority: int = 0
    on_error: OnError | None = None
    cache: str | None = None
    command: CommandLine | None = None
    definition: bytes | None = None
    """The packed Definition of a sub-run, when `kind` is pipeline."""

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


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the Router has to know of a run: everything but its shape."""

    title: str | None = None
    key: str | None = None
    on_duplicate: Literal["return", "reject", "replace"] = "return"
    priority: int = 0
    deadline: float | None = None
    not_before: float | None = None
    after: tuple[str, ...] = ()
    max_active: int | None = None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Definition)


def pack_definition(definition: Definition) -> bytes:
    return _encoder.encode(definition)


def unpack_definition(packed: bytes) -> Definition:
    """Raises `msgspec.DecodeError` (a ValueError) naming the path of what is wrong."""
    return _decoder.decode(packed)
