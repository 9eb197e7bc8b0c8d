"""The verdict of a run: what counts for it, from the first failure or the cancel to the fact that fixes it."""

from __future__ import annotations

from typing import Literal

from .facts import RunError, Verdict

RunState = Literal["waiting", "running", "cancelling", "success", "failed", "cancelled"]


class RunVerdict:
    """What has happened so far that decides how the run ends. The order of the facts decides between two of them."""

    __slots__ = ("cancelled", "failing", "first_failure", "fixed", "held", "over", "stray")

    def __init__(self) -> None:
        self.held = False
        """It waits for a time or for other runs."""
        self.first_failure: RunError | None = None
        """Of those that count: a failure that is data does not."""
        self.failing = False
        """A failure has stopped the run: a cancel after it only shortens what still runs."""
        self.cancelled: str | None = None
        """Why it was cancelled."""
        self.stray = False
        """Something was stopped that nobody had asked to stop."""
        self.fixed: Verdict | None = None
        """Recorded, by `Ending` or `Finished`."""
        self.over = False

    def judged(self) -> Verdict:
        """How it ends, when everything of it has ended."""
        if self.cancelled is not None and not self.failing:
            return "cancelled"
        if self.first_failure is not None:
            return "failed"
        return "cancelled" if self.stray else "success"

    def fix(self, verdict: Verdict, error: RunError | None) -> None:
        self.fixed, self.first_failure = verdict, error

    def error_for(self, verdict: str) -> RunError | None:
        """What belongs to an end: hooks are told, and the run's end says."""
        if verdict == "cancelled" and self.cancelled is not None:
            return RunError(None, (), self.cancelled, "", "cancelled")
        return self.first_failure if verdict != "success" else None

    @property
    def error(self) -> RunError | None:
        """The first failure that counts; of a cancelled run the reason."""
        return self.first_failure or (self.error_for("cancelled") if self.cancelled is not None else None)

    @property
    def state(self) -> RunState:
        if self.over and self.fixed is not None:
            return self.fixed
        if self.cancelled is not None and not self.failing and self.fixed in (None, "cancelled"):
            return "cancelling"
        return "waiting" if self.held else "running"
