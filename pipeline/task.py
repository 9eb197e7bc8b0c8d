"""What one attempt needs to run: written by the Pipeliner, carried by Router and Broker, read by a worker process.

`Ready` is what `progress` hands out. Router and Broker read its placement (`worker`, `needs`) and pass `task` on.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .definition import Amount, Bind, CommandLine, Count, Priority, Seconds
from .facts import CacheNote, Ended, Failure, Path, Signs
from .subruns import SubRun

COMMAND = "!command"
"""The worker name of attempts that run a command line: any Broker that runs commands can take them."""


class Task(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of an attempt that is the same for every instance and attempt of a node."""

    worker: str
    bind: Bind = "store"
    data: bytes | None = None
    """The job's own data, packed."""
    command: CommandLine | None = None
    spread: bool = False
    """The result has to be a list: say its length."""
    report: tuple[str, ...] = ()
    """Say the canonical text of these keys of the result: a gather groups by them."""
    on_error: str | None = None
    complete: bool = False
    """The inputs hold every result above the job: there is nothing to climb for."""
    below: bool = False
    """Its worker is a pipeline: attempts only prepare the sub-run, or collect its results."""
    cache: bool = False
    """An earlier result of the same code on the same input may stand for this one."""


class Needs(msgspec.Struct, frozen=True, array_like=True):
    """Where and how an attempt may run; None in a `Ready` means: anywhere, no limits."""

    role: str | None = None
    resources: dict[str, Amount] = {}
    limits: tuple[str, ...] = ()
    priority: Priority = 0
    timeout: Seconds | None = None
    queue_timeout: Seconds | None = None
    lenient: bool = False
    """Limits that the Router does not have do not count; else they are waited for."""


class Input(msgspec.Struct, frozen=True, array_like=True):
    """A result that the attempt reads: one instance, or (`many`) every instance of `job` below `path`, in index order.

    `element` picks one element of a spread list.
    """

    job: str
    path: Path = ()
    many: bool = False
    element: Count | None = None
    kind: str = "success"
    """How that upstream ended: `failed` hands over the failure record, `skipped` nothing. Of kind `run` it is all
    results of a run: of the sub-run that `job` names by its id, or of the attempt's own."""
    keyed: tuple[Path, ...] | None = None
    """The instances of a group or window, when they are not simply all below `path`."""


NAMED, KEYED = 48, 12
"""About as many bytes as an input takes, and each instance that it names."""


class Ready(msgspec.Struct, frozen=True, array_like=True):
    """An attempt that may start."""

    job: str
    path: Path
    attempt: Count
    worker: str
    task: bytes
    inputs: tuple[Input, ...] = ()
    needs: Needs | None = None
    after: Count = 0
    """Sequence number of the fact that made it ready."""
    delay: Seconds = 0.0
    """Seconds to wait after that fact."""
    round: Count = 0
    hook: bool = False
    below: SubRun | None = None
    """The attempt is a run of its own."""

    @property
    def weight(self) -> int:
        """Bytes that it brings along: what it has to do, the names of its inputs, and the pipeline that it is."""
        weight = len(self.task) + NAMED * len(self.inputs)
        for one in self.inputs:
            if one.keyed is not None:
                weight += KEYED * len(one.keyed)
        return weight if self.below is None else weight + len(self.below.definition)


JOURNAL = "journal"
"""The `ref` of run data that only the journal holds: it is asked for with a `Want` of kind `data`."""


class RunHeader(msgspec.Struct, frozen=True, array_like=True):
    """What all attempts of a run share. `data` is the run's data, packed; when it is large, `ref` says where it is."""

    run: str
    data: bytes | None = None
    ref: str | None = None
    title: str | None = None


class Supplied(msgspec.Struct, frozen=True, array_like=True):
    """An `Input` on its way to the worker: with its bytes, with a reference, or to be fetched when it is read."""

    input: Input
    value: bytes | None = None
    ref: str | None = None
    size: Count = 0


class Assignment(msgspec.Struct, frozen=True, array_like=True):
    """One leased attempt. `lease` is epoch << 40 | number: unique for ever, and its order is the order of granting."""

    lease: Count
    run: str
    job: str
    path: Path
    attempt: Count
    worker: str
    task: bytes
    inputs: tuple[Supplied, ...] = ()
    needs: Needs | None = None
    round: Count = 0
    hook: bool = False

    @classmethod
    def of(cls, ready: Ready, lease: int, run: str, inputs: tuple[Supplied, ...]) -> Assignment:
        """What is ready, given to somebody."""
        place = ready.job, ready.path, ready.attempt
        return cls(lease, run, *place, ready.worker, ready.task, inputs, ready.needs, ready.round, ready.hook)

    @property
    def fence(self) -> str:
        return f"{self.lease:016x}"

    @property
    def attempt_key(self) -> str:
        """The same for every attempt of an instance: an idempotency key for whatever the worker calls."""
        return f"{self.run}/{self.round}/{self.job}/{'.'.join(map(str, self.path))}"


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """How one leased attempt ended, as its worker process (or its Broker) says. `result` is packed, or `ref` set."""

    lease: Count
    kind: Ended = "success"
    result: bytes = b""
    started: float = 0.0
    duration: float = 0.0
    size: Count = 0
    ref: str | None = None
    signs: Signs | None = None
    error: Failure | None = None
    charged: bool = True
    log: tuple[str, int, int] | None = None
    cache: CacheNote | None = None
    code: str = ""
    """A digest of the worker's code that ran."""


class Want(msgspec.Struct, frozen=True, array_like=True):
    """A value that a worker (or a client) wants to read: `offset` goes on where an earlier answer ended."""

    run: str
    kind: Literal["result", "definition", "data", "value"] = "result"
    job: str = ""
    path: Path = ()
    many: bool = False
    offset: Count = 0
    ref: str | None = None


class Given(msgspec.Struct, frozen=True, array_like=True):
    """The answer to a `Want`: (path, kind of end, packed value, ref) each; `next` is the next offset."""

    values: tuple[tuple[Path, str, bytes | None, str | None], ...] = ()
    next: Count | None = None
    missing: str | None = None
    """Why there is nothing."""
    jobs: tuple[str, ...] = ()
    """Of a page over all jobs: which job each value is of."""


_task_encoder = msgspec.msgpack.Encoder()
_task_decoder = msgspec.msgpack.Decoder(Task)


def pack_task(task: Task) -> bytes:
    return _task_encoder.encode(task)


def unpack_task(packed: bytes) -> Task:
    return _task_decoder.decode(packed)
