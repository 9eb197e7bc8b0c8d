"""Upstream: results by the name of their job, as a store sees them in `info["upstream"]`.

Direct parents come with the attempt. All other ancestors are looked up when somebody asks, by climbing the graph; so is
everything when a job has more parents than travel with it. Iterating goes from the nearest job to the farthest, and
leaves out what has no result.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..pipeline.task import Assignment, Supplied
from .ancestry import Ancestry
from .reading import Reader
from .runnable import NOTHING


class Upstream(Mapping[str, Any]):
    """One attempt's view of the results above it. Values are this attempt's own: it may change them."""

    __slots__ = ("_assignment", "_complete", "_direct", "_reader", "_values")

    def __init__(self, reader: Reader, assignment: Assignment, complete: bool = False) -> None:
        self._reader = reader
        self._assignment = assignment
        self._complete = complete
        self._direct: dict[str, Supplied] | None = None
        self._values: dict[str, Any] = {}

    def __getitem__(self, job: str) -> Any:
        values = self._values
        if job not in values:
            values[job] = self._find(job)
        value = values[job]
        if value is NOTHING:
            raise KeyError(job)
        return value

    def __iter__(self) -> Iterator[str]:
        direct = self._given()
        yield from (job for job in direct if job in self)
        for job in self._above():
            if job not in direct and self._ancestor(job) is not NOTHING:
                yield job

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        """Whether anything was asked for or not: finding out how much there is would cost reading all of it."""
        return True

    def __repr__(self) -> str:
        return f"<results above job {self._assignment.job!r}>"

    @property
    def direct(self) -> list[str]:
        """Names of the parents whose results came with the attempt: reading these costs nothing."""
        return [job for job in self._given() if job in self] if self._assignment.inputs else []

    def _given(self) -> dict[str, Supplied]:
        if self._direct is None:
            inputs = self._assignment.inputs
            self._direct = {entry.input.job: entry for entry in inputs if entry.input.kind != "run"}
        return self._direct

    def _above(self) -> Iterable[str]:
        if self._complete:
            return ()
        graph = self._ancestry()
        return graph.everything() if self._assignment.hook else graph.above(self._assignment.job)

    def _ancestry(self) -> Ancestry:
        assignment = self._assignment
        return self._reader.ancestry(assignment.run, None if assignment.hook else assignment.job)

    def _find(self, job: str) -> Any:
        supplied = self._given().get(job)
        if supplied is not None:
            return self._reader.supplied(self._assignment.run, self._assignment.round, supplied)
        return self._ancestor(job) if job in self._above() else NOTHING

    def _ancestor(self, job: str) -> Any:
        if job not in self._values:
            assignment = self._assignment
            wanted = self._ancestry().seen_from(job, assignment.job, assignment.path)
            self._values[job] = self._reader.result(assignment.run, assignment.round, wanted)
        return self._values[job]
