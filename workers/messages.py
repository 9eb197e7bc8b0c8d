"""What a Broker and its worker processes say to each other.

Every worker process has two channels. Attempts come as single packets on a datagram pair whose reading end both sides
hold: whoever reads a packet owns the attempt, so that a Broker takes back what has not begun without asking a process
that may be busy, stopped or deaf. Everything else goes over a stream pair as frames with a four-byte length.
"""

from __future__ import annotations

import msgspec

from ..pipeline.task import Assignment, Given, Outcome, RunHeader, Want
from .cache.place import LARGEST, LONGEST
from .shortening import LIMIT

# Broker to worker process, by packet --------------------------------------------------------------------------------


class Packet(msgspec.Struct, frozen=True, array_like=True):
    """One attempt to run. Too large for a datagram: `assignment` is None, and the process asks for it with `Send`."""

    header: RunHeader | None
    assignment: Assignment | None
    lease: int = 0


# Worker process to Broker, by stream --------------------------------------------------------------------------------


class WorkerCard(msgspec.Struct, frozen=True, array_like=True):
    """A worker that this process can run."""

    name: str
    requires: tuple[str, ...] = ()
    role: str | None = None
    version: str = ""
    """A digest of its code."""
    kind: str = "class"


class Up(msgspec.Struct, frozen=True, array_like=True, tag="up"):
    """The first message: modules are imported, workers and store are made."""

    pid: int
    cards: tuple[WorkerCard, ...]
    warnings: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    """Where the user's code came from, when its files are watched."""


class Broken(msgspec.Struct, frozen=True, array_like=True, tag="broken"):
    """The first and last message: a module, a worker or the store cannot be made."""

    message: str
    traceback: str = ""


class Ended(msgspec.Struct, frozen=True, array_like=True, tag="ended"):
    outcome: Outcome


class Fetch(msgspec.Struct, frozen=True, array_like=True, tag="fetch"):
    """A value is wanted; answered by `Fetched` with the same number."""

    number: int
    want: Want


class Resend(msgspec.Struct, frozen=True, array_like=True, tag="resend"):
    """Give me the whole of the attempt that did not fit a packet; answered by `Large`."""

    lease: int


class Progress(msgspec.Struct, frozen=True, array_like=True, tag="progress"):
    lease: int
    done: float
    total: float | None = None
    message: str = ""


FromWorker = Up | Broken | Ended | Fetch | Resend | Progress

# Broker to worker process, by stream --------------------------------------------------------------------------------


class Fetched(msgspec.Struct, frozen=True, array_like=True, tag="fetched"):
    number: int
    given: Given


class Large(msgspec.Struct, frozen=True, array_like=True, tag="large"):
    packet: Packet


class Stop(msgspec.Struct, frozen=True, array_like=True, tag="stop"):
    """Interrupt this attempt if it is the one that runs; a SIGTERM follows."""

    lease: int
    why: str
    """`timeout` or `cancelled`: the kind of the outcome."""


class Leave(msgspec.Struct, frozen=True, array_like=True, tag="leave"):
    """End after the attempt that runs."""


# Warden to worker process, once, when it is forked -------------------------------------------------------------------


class Settings(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a worker process is set up. Nothing in it comes from a pipeline."""

    modules: tuple[str, ...] = ("workers",)
    """Modules (or, with `required` False, a module that may be missing) that hold the user's workers."""
    required: bool = True
    folder: str = ""
    """Stands first on `sys.path`: the folder that the Broker was started in."""
    store: str | None = None
    """`module:Class` or `path/to/file.py:Class`; None is the PipelineStore."""
    store_config: bytes = b"\x80"
    """Packed keyword arguments of the StoreClass."""
    store_deadline: float = 30.0
    values: str | None = None
    """The values folder; None: large values are refused with a clear failure."""
    output: str | None = None
    """The file that stdout, stderr and logging of this process go to."""
    output_limit: int = LIMIT
    """Bytes that are kept of one attempt's output."""
    slot: int = 0
    monitor: bool = False
    """True: this process runs no jobs; it gives `Monitoring` records to the store."""
    cache: str | None = None
    """The folder of the content cache; None: there is none."""
    cache_size: float = LARGEST
    cache_keep: float = LONGEST
    inline_limit: int = 65536
    watched: bool = False
    """The files of the user's code are watched for changes: say which these are."""
    environment: dict[str, str] = {}
    """Put into the environment before anything of the user's is imported."""


class Monitoring(msgspec.Struct, frozen=True, array_like=True, tag="monitoring"):
    """Broker to the monitor process: a packed record for `store.save_monitoring`."""

    record: bytes


ToWorker = Fetched | Large | Stop | Leave | Monitoring
