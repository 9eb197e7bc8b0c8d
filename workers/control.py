"""What a pool and its warden say to each other, as frames on one stream.

A worker process is named by its serial number, which is never used again; its slot is the pool's affair.
"""

from __future__ import annotations

import msgspec

from .framing import FrameReader
from .messages import Settings

# Pool to warden -----------------------------------------------------------------------------------------------------


class Prepare(msgspec.Struct, frozen=True, array_like=True, tag="prepare"):
    """The first message: the pool's own PYTHONPATH, in place of the one that the warden was started with."""

    python_path: str | None = None


class Fork(msgspec.Struct, frozen=True, array_like=True, tag="fork"):
    """Make a worker process. Its ends of `jobs` and `stream` travel beside this frame."""

    serial: int
    settings: Settings


class Terminate(msgspec.Struct, frozen=True, array_like=True, tag="terminate"):
    """SIGTERM to the worker process alone."""

    serial: int


class Kill(msgspec.Struct, frozen=True, array_like=True, tag="kill"):
    """SIGKILL to the worker process and everything that came from it."""

    serial: int


class Deadline(msgspec.Struct, frozen=True, array_like=True, tag="deadline"):
    """Kill everything at this time of `clock.now`, unless another deadline replaces it. None: no deadline."""

    at: float | None


ToWarden = Prepare | Fork | Terminate | Kill | Deadline

# Warden to pool -----------------------------------------------------------------------------------------------------


class Forked(msgspec.Struct, frozen=True, array_like=True, tag="forked"):
    serial: int
    pid: int


class Exited(msgspec.Struct, frozen=True, array_like=True, tag="exited"):
    """The process has ended, and so has everything that came from it."""

    serial: int
    pid: int
    exit_code: int | None = None
    signal: int | None = None
    overdue: bool = False
    """The warden has killed it, because the deadline had passed."""


FromWarden = Forked | Exited


def from_warden() -> FrameReader[FromWarden]:
    return FrameReader(msgspec.msgpack.Decoder(FromWarden))


def to_warden() -> FrameReader[ToWarden]:
    return FrameReader(msgspec.msgpack.Decoder(ToWarden))
