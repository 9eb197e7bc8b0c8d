"""Runs that a client follows until they have ended, and the heartbeat that goes with it.

A run is followed from the moment its submission leaves, so that an end that comes together with the acknowledgement is
not missed; before the acknowledgement it is not asked after. A beat goes out every two seconds while there is any run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ...pipeline.facts import RunError
from ..protocol import RunEnd, Submit, Submitted

HEARTBEAT = 2.0
UNKNOWN = "unknown"
"""The kind of error of a run that the Router does not know."""


class Following:
    """`ended` is told of each end once."""

    def __init__(self, address: str, timeout: float, ended: Callable[[RunEnd], None]) -> None:
        self.runs: dict[str, bool] = {}
        """Runs that have not ended; False while their submission is not acknowledged."""
        self.silences = 0
        """How often all beats of `timeout` seconds were left unanswered."""
        self.next_beat = float("-inf")
        self._address = address
        self._timeout = timeout
        self._ended = ended
        self._unanswered = 0
        self._wanted: set[str] = set()
        """Followed by somebody before their submission is acknowledged."""

    # Runs ------------------------------------------------------------------------------------------------------------

    def submitted(self, submit: Submit) -> None:
        """It is on its way."""
        if submit.follow:
            for submission in submit.submissions:
                self.runs.setdefault(submission.run, False)

    def given_up(self, submit: Submit) -> list[str]:
        """No answer came. Those that somebody has asked to follow all the same are to be asked after: they may run."""
        wanted: list[str] = []
        for submission in submit.submissions:
            if self.runs.get(submission.run) is False:
                del self.runs[submission.run]
                if submission.run in self._wanted:
                    wanted.append(submission.run)
            self._wanted.discard(submission.run)
        return wanted

    def acknowledged(self, submit: Submit, told: Submitted) -> list[str]:
        """The Router follows what it has newly accepted. The others, to be asked after: their ends may be long told."""
        if not submit.follow:
            return []
        existing: list[str] = []
        self._wanted.difference_update(submission.run for submission in submit.submissions)
        for submission, receipt in zip(submit.submissions, told.receipts, strict=False):
            if receipt.ok and receipt.run == submission.run:
                if submission.run in self.runs:
                    self.runs[submission.run] = True
            else:
                self.runs.pop(submission.run, None)
            if receipt.ok and receipt.existed:
                existing.append(receipt.run)
        return existing

    def add(self, runs: Iterable[str]) -> None:
        """Of one whose submission is not acknowledged, that the Router does not know it yet means nothing."""
        for run in runs:
            if self.runs.setdefault(run, True) is False:
                self._wanted.add(run)

    def to_ask_after(self) -> list[str]:
        return [run for run, acknowledged in self.runs.items() if acknowledged]

    def end(self, end: RunEnd) -> bool:
        """True when it is news."""
        if self.runs.pop(end.run, None) is None:
            return False
        self._ended(end)
        return True

    def unknown(self, run: str) -> bool:
        """The Router does not know a run: for whoever follows it, it has ended."""
        if not self.runs.get(run):
            return False
        reason = f"the Router at {self._address} does not know this run: was it pruned?"
        return self.end(RunEnd(run, "failed", 0.0, 0.0, RunError(None, (), reason, kind=UNKNOWN)))

    # Beats -----------------------------------------------------------------------------------------------------------

    def heard(self) -> None:
        """A sign of life of the Router."""
        self._unanswered = 0

    def is_due(self, now: float) -> bool:
        return bool(self.runs) and now >= self.next_beat

    def beat(self, now: float) -> bool:
        """A beat goes out. True when the Router has been silent for too long: time in which nobody listened, between
        two calls of a client without a thread of its own, is not counted, beats are."""
        silent = self._unanswered * HEARTBEAT >= self._timeout
        if silent:
            self._unanswered = 0
            self.silences += 1
        self._unanswered += 1
        self.next_beat = now + HEARTBEAT
        return silent
