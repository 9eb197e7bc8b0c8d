"""`headrace.current()`: what user code may know of the attempt that it works for.

    def encode(video):
        job = headrace.current()
        for number, part in enumerate(parts):
            ...
            job.progress(number, len(parts), "encoding")

The object belongs to the thread (or the coroutine) that the worker was called in. A worker that starts threads hands it
to them.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any

from ..pipeline.definition import CommandLine
from ..pipeline.errors import JobError
from ..pipeline.task import Assignment
from .interruption import Interruption
from .runnable import Subject

Report = Callable[[int, float, float | None, str], None]
"""Takes (lease, done, total, message)."""
EVERY = 0.2
"""Seconds between two reports of one attempt, at least; the last one always passes."""


class CurrentJob:
    """The attempt that runs."""

    __slots__ = ("_assignment", "_interruption", "_next", "_report", "_subject")

    def __init__(self, assignment: Assignment, subject: Subject, interruption: Interruption, report: Report) -> None:
        self._assignment = assignment
        self._subject = subject
        self._interruption = interruption
        self._report = report
        self._next = 0.0

    @property
    def run(self) -> str:
        """The id of the run (of the pipeline)."""
        return self._assignment.run

    @property
    def job(self) -> str:
        return self._assignment.job

    @property
    def path(self) -> tuple[int, ...]:
        """Index path below spreads, `()` when there is none."""
        return self._assignment.path

    @property
    def attempt(self) -> int:
        """1 for the first try."""
        return self._assignment.attempt

    @property
    def attempt_key(self) -> str:
        """The same for every attempt of this instance: an idempotency key for whatever the worker calls."""
        return self._assignment.attempt_key

    @property
    def resources(self) -> dict[str, float | tuple[str, ...]]:
        """What the job asked for. Of an indexed resource, such as GPUs, the names of the units that are its own."""
        needs = self._assignment.needs
        told = {} if needs is None else dict(needs.resources)
        units = {name: os.environ.get(f"HEADRACE_{re.sub('[^A-Z0-9]', '_', name.upper())}") for name in told}
        return {name: tuple(found.split(",")) if (found := units[name]) else told[name] for name in told}

    @property
    def data(self) -> Any:
        """The pipeline's data with the job's data over it."""
        return self._subject.data

    @property
    def cancelled(self) -> bool:
        """True as soon as the attempt has to stop."""
        return self._interruption.lease == self._assignment.lease and self._interruption.pending is not None

    def progress(self, done: float, total: float | None = None, message: str = "") -> None:
        """Say how far the work is. As often as you like: what comes too fast is left out."""
        now = time.monotonic()
        if now < self._next and done != total:
            return
        self._next = now + EVERY
        self._report(self._assignment.lease, float(done), None if total is None else float(total), str(message))

    def shell(
        self, text: str, inputs: Any = None, *, cwd: str | None = None, env: Mapping[str, str] | None = None
    ) -> Any:
        """Run shell text, as a job that is a command does: it is stopped with this attempt, and its result returned."""
        from .command import CommandRunnable

        line = CommandLine(shell=text, cwd=cwd, env=dict(env or {}))
        return CommandRunnable(self.job, line, self._interruption).invoke("literal", inputs, self._subject)

    def __repr__(self) -> str:
        where = f" {list(self.path)}" if self.path else ""
        return f"<job {self.job}{where} of run {self.run}, attempt {self.attempt}>"


running: ContextVar[CurrentJob] = ContextVar("headrace_running")


def current() -> CurrentJob:
    """The attempt that this thread works for. Raises `JobError` outside of a worker."""
    try:
        return running.get()
    except LookupError:
        raise JobError(
            "headrace.current() was called outside of a running job; in a thread that a worker started, "
            "hand over the object that the worker has got"
        ) from None
