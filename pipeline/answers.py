"""What a worker may answer instead of a plain result: choose, skip, graft, or ask to be tried again later.

Worker processes import this module, so it imports nothing but the errors; a `Graft` looks for the model only when it
is turned into what travels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from .errors import DefinitionError, JobError

if TYPE_CHECKING:
    from .group import Group
    from .job import Job


class Choose:
    """Return it to run only some of the job's children; the others are skipped. `result` is the job's result."""

    __slots__ = ("children", "result")

    def __init__(self, children: Iterable[str | Job] | str | Job, result: Any = None) -> None:
        several = [children] if isinstance(children, str) or not isinstance(children, Iterable) else list(children)
        self.children: tuple[str, ...] = tuple(_name(child, "Choose") for child in several)
        self.result = result

    def __repr__(self) -> str:
        return f"Choose({list(self.children)!r})"


class Skip:
    """Return it to end the job as skipped: not done, and not failed either. What needs its success is skipped too."""

    __slots__ = ("reason",)

    def __init__(self, reason: str = "") -> None:
        if not isinstance(reason, str):
            raise DefinitionError(f"Skip: the reason must be a text, not {reason!r}")
        self.reason = reason

    def __repr__(self) -> str:
        return f"Skip({self.reason!r})"


class Graft:
    """Return it to put new jobs into the run. `result` is the job's result.

    `edges` are pairs of names. A name is one of the new jobs, the job that grafts, or one of its descendants that wait:
    the new jobs may be put before those, and before nothing else. A new job without an edge to it starts at once.
    `groups` are of the new jobs, with hooks of their own: `headrace.pipeline.group.Group`.
    """

    __slots__ = ("edges", "groups", "jobs", "result")

    def __init__(
        self,
        result: Any = None,
        jobs: Iterable[Job] = (),
        edges: Iterable[Sequence[str | Job]] = (),
        groups: Iterable[Group] = (),
    ) -> None:
        self.result = result
        self.jobs: tuple[Job, ...] = tuple(jobs)
        self.edges: tuple[tuple[str, str], ...] = tuple(_edge(edge) for edge in edges)
        self.groups: tuple[Group, ...] = tuple(groups)

    def definition(self) -> bytes:
        """The new part as a packed `Definition`. Raises `DefinitionError` when it cannot be."""
        from .compile import compile_graft

        return compile_graft(self.jobs, self.edges, self.groups)

    def __repr__(self) -> str:
        return f"Graft(jobs={[getattr(job, 'name', job) for job in self.jobs]!r}, edges={list(self.edges)!r})"


class RetryAfter(JobError):
    """Raise it to be tried again after some seconds: it counts as one of the job's `tries`."""

    def __init__(self, seconds: float, reason: str = "") -> None:
        fits = isinstance(seconds, int | float) and not isinstance(seconds, bool) and math.isfinite(seconds)
        if not fits or seconds < 0:
            raise DefinitionError(f"RetryAfter: seconds must be a number from 0 on, not {seconds!r}")
        self.seconds = float(seconds)
        self.reason = reason
        super().__init__(f"asked to be tried again after {seconds:g} s" + (f": {reason}" if reason else ""))


def _edge(edge: Any) -> tuple[str, str]:
    if isinstance(edge, str) or not isinstance(edge, Sequence) or len(edge) != 2:
        raise DefinitionError(f"Graft: an edge must be a pair of names, not {edge!r}")
    return _name(edge[0], "Graft"), _name(edge[1], "Graft")


def _name(job: Any, where: str) -> str:
    name = job if isinstance(job, str) else getattr(job, "name", None)
    if not isinstance(name, str) or not name:
        raise DefinitionError(f"{where}: a job must be given by its name, not as {job!r}")
    return name
