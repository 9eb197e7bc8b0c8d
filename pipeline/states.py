"""The states of a job's instance, and every step between them.

`progress` keeps a state per instance as one byte; the numbers are ordered: below `OPEN` it may still run, from there
on it has ended. What an ended instance means for those after it is a handful of flags. The table `STEPS` is the whole
truth about what may become what: documents draw it, tests check every step against it.
"""

from __future__ import annotations

from collections.abc import Mapping

WAITING, READY, HANDED = 0, 1, 2
OPEN = 3
"""Every state below has not ended."""
SUCCESS, CONTINUED, SKIPPED, BLOCKED, FAILED, LOST, CANCELLED = 3, 4, 5, 6, 7, 8, 9
ABSENT = 15
"""No instance: the place of a node whose instances stand in branches, or of a hook that does not run."""

FAILURE, SKIP, DATA, STOP = 1, 2, 4, 8
"""What flows from an ended instance to those after it: something above failed; was skipped; failed, but as data; was
stopped without anything above having failed."""

FLAGS = {SUCCESS: 0, CONTINUED: DATA, SKIPPED: SKIP, BLOCKED: FAILURE, FAILED: FAILURE, LOST: FAILURE, CANCELLED: STOP}

NAMES: Mapping[int, str] = {
    WAITING: "waiting",
    READY: "queued",
    HANDED: "queued",
    SUCCESS: "success",
    CONTINUED: "failed",
    SKIPPED: "skipped",
    BLOCKED: "skipped",
    FAILED: "failed",
    LOST: "lost",
    CANCELLED: "cancelled",
}
"""What users see. A queued instance may be running: the Router knows."""

STEPS: Mapping[tuple[int, str], int] = {
    (WAITING, "parents ended well"): READY,
    (WAITING, "a parent was skipped"): SKIPPED,
    (WAITING, "a parent failed"): BLOCKED,
    (WAITING, "run stopped"): CANCELLED,
    (READY, "handed out"): HANDED,
    (READY, "run stopped"): CANCELLED,
    (HANDED, "run stopped"): CANCELLED,
    (HANDED, "taken over"): READY,
    (HANDED, "tried again"): READY,
    (HANDED, "returned"): SUCCESS,
    (HANDED, "answered Skip"): SKIPPED,
    (HANDED, "failed for good"): FAILED,
    (HANDED, "failed as data"): CONTINUED,
    (HANDED, "lost for good"): LOST,
    (HANDED, "stopped"): CANCELLED,
    (CANCELLED, "returned late"): SUCCESS,
    (CANCELLED, "answered Skip late"): SKIPPED,
    (CANCELLED, "failed late"): FAILED,
}
"""The steps of one round. A replay goes through `HANDED` too: whatever has a fact was handed out by somebody."""

RUN_STEPS: Mapping[tuple[str, str], str] = {
    ("waiting", "released"): "running",
    ("waiting", "cancelled"): "cancelling",
    ("running", "cancelled"): "cancelling",
    ("running", "finished"): "success or failed",
    ("cancelling", "finished"): "cancelled",
    ("success or failed", "reopened"): "running",
    ("cancelled", "reopened"): "running",
}
"""The states of a run; the verdict is fixed by an `Ending` fact when there are hooks to run before the end."""


def worst(counts: Mapping[str, int]) -> str:
    """One state for all instances of a job: failed, else what is still open, else success or skipped."""
    for state in ("failed", "lost", "running", "queued", "waiting", "cancelled", "success", "skipped"):
        if counts.get(state):
            return state
    return "success"
