"""How an attempt ends that could not end by itself: its process died under it, or was killed for it."""

from __future__ import annotations

import signal

import msgspec

from ...pipeline.facts import Failure
from ...pipeline.task import Outcome
from ...workers.pool import SlotDown
from .slot import Attempt

GRACE = 5.0
"""Seconds from the soft signal to the hard kill."""


def outcome_of(attempt: Attempt, why: str, down: SlotDown, started: float, duration: float) -> Outcome:
    """`why`: for what the process was killed, or empty: then nobody here has killed it."""
    lease = attempt.lease
    tail = down.log_tail
    match why:
        case "timeout":
            error = Failure("JobTimeout", _timeout_text(attempt), log_tail=tail)
            return Outcome(lease, "timeout", b"", started, duration, error=error)
        case "cancelled":
            error = Failure("JobCancelled", f"it did not stop within {GRACE:g} s: its processes were killed")
            return Outcome(lease, "cancelled", b"", started, duration, error=error)
        case "lost":
            return Outcome(lease, "lost", b"", started, duration, error=STOPPED, charged=False)
        case "overdue":
            return Outcome(lease, "lost", b"", started, duration, error=OVERDUE, charged=False)
    error = Failure("ProcessDied", _death_text(down), "", down.exit_code, tail)
    return Outcome(lease, "died", b"", started, duration, error=error)


STOPPED = Failure("BrokerStopped", "the Broker was stopped, and the job did not end within its grace")
OVERDUE = Failure("BrokerLost", "the Broker could not renew its leases in time: its worker processes were killed")
NOT_BEGUN = Failure("JobCancelled", "it was cancelled before it began")


def uncharged(outcome: Outcome) -> Outcome:
    """An attempt that we stopped for our own sake. If it has ended by itself, it has."""
    if outcome.kind != "cancelled":
        return outcome
    return msgspec.structs.replace(outcome, kind="lost", charged=False, error=STOPPED)


def death(down: SlotDown) -> str:
    """How a process ended, in words."""
    if down.overdue:
        return "was killed, because leases were not renewed in time"
    if down.signal is not None:
        hint = " (out of memory, or somebody's kill -9)" if down.signal == signal.SIGKILL else ""
        return f"was killed by {_signal_name(down.signal)}{hint}"
    if down.exit_code is not None:
        return f"ended with exit code {down.exit_code}"
    return "has vanished"


def _death_text(down: SlotDown) -> str:
    return f"its worker process {down.pid} {death(down)}"


def _timeout_text(attempt: Attempt) -> str:
    return (
        f"it ran longer than its timeout of {attempt.timeout or 0.0:g} s and did not stop within {GRACE:g} s: "
        "its processes were killed"
    )


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
