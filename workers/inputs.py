"""Inputs: what a worker is called with, made as the job's `bind` says.

store     what the store retrieves
args      the list of upstream results, in the order of the edges
named     the data as a dict, with the upstream results under their jobs' names over it
item      the one upstream result
gather    one list of upstream results: all those of a job that has branches, in index order, then the next edge's
literal   the job's own data

A job that was skipped has no result: it is left out of a `gather`, absent from `named`, and None in `args` and `item`,
where places matter. A failed job hands over `{"_traceback": text, "_error": text}`. A hook's upstream is the whole run:
`{job name: result}` of what succeeded, called `result` under `named`, where data that is no dict stands under `data`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..pipeline.errors import JobError
from ..pipeline.payload import unpack
from ..pipeline.task import Assignment, RunHeader, Supplied, Task
from .cache.cache import Look
from .kept import unpacked
from .reading import Reader
from .runnable import NOTHING, Runnable
from .upstream import Upstream

RUN = "result"
"""The name that a hook sees the results of its run under."""
_UNREAD = object()


class Attempt:
    """One attempt with everything that is known of it; what costs something is made when it is asked for."""

    __slots__ = ("_data", "_reader", "assignment", "header", "look", "runnable", "task", "upstream")

    def __init__(
        self, header: RunHeader, assignment: Assignment, task: Task, runnable: Runnable, reader: Reader
    ) -> None:
        self.header = header
        self.assignment = assignment
        self.task = task
        self.runnable = runnable
        self.upstream = Upstream(reader, assignment, task.complete)
        self._reader = reader
        self._data: Any = _UNREAD
        self.look: Look | None = None
        """What came of its look into the cache, when its job has one."""

    @property
    def data(self) -> Any:
        """The pipeline's data with the job's data over it."""
        if self._data is _UNREAD:
            self._data = self._laid_over()
        return self._data

    @property
    def own_data(self) -> Any:
        packed = self.task.data
        return None if packed is None else unpacked(packed, "the data of the job")

    def info(self) -> dict[str, Any]:
        """What a store is told."""
        assignment = self.assignment
        runnable = self.runnable
        return {
            "worker": self.task.worker,
            "worker_requires": list(runnable.requires),
            "worker_optional": list(runnable.optional),
            "data": self.data,
            "pipeline": assignment.run,
            "job": assignment.job,
            "path": assignment.path,
            "attempt": assignment.attempt,
            "attempt_key": assignment.attempt_key,
            "fence": assignment.fence,
            "upstream": self.upstream,
        }

    def brief(self) -> dict[str, Any]:
        """What the default store looks at: the part of `info` that every job without a store needs."""
        runnable = self.runnable
        return {
            "worker": self.task.worker,
            "worker_requires": runnable.requires,
            "worker_optional": runnable.optional,
            "data": self.data,
            "upstream": self.upstream,
        }

    def value(self) -> Any:
        """The input of every bind but `store`."""
        return _MAKERS[self.task.bind](self)

    def upstream_values(self) -> list[Any]:
        """One value per edge; `NOTHING` for a skipped job."""
        return [self._read(entry) for entry in self.assignment.inputs]

    def _read(self, entry: Supplied) -> Any:
        assignment = self.assignment
        if entry.input.kind == "run":
            return self._reader.results(entry.input.job or assignment.run)
        return self._reader.supplied(assignment.run, assignment.round, entry)

    def _laid_over(self) -> Any:
        header, packed = self.header, self.task.data
        if header.ref is not None and header.data is None:
            below: Any = unpacked(self._reader.run_data(header.run, header.ref), "the data of the run")
        else:
            below = None if header.data is None else unpack(header.data)
        if packed is None:
            return below
        own = unpack(packed)
        if isinstance(below, dict) and isinstance(own, dict):
            below.update(own)
            return below
        return below if own is None else own


def bound_value(attempt: Attempt) -> Any:
    """What comes before a job and nothing else; under names it is a dict."""
    bind = attempt.task.bind
    if bind == "named":
        return _over({}, attempt)
    value = {} if bind in ("store", "literal") else attempt.value()
    return {} if value is NOTHING else value


def _args(attempt: Attempt) -> list[Any]:
    return [None if value is NOTHING else value for value in attempt.upstream_values()]


def _named(attempt: Attempt) -> dict[str, Any]:
    data = attempt.data
    return _over(dict(data) if isinstance(data, dict) else {} if data is None else {"data": data}, attempt)


def _over(given: dict[str, Any], attempt: Attempt) -> dict[str, Any]:
    for entry, value in zip(attempt.assignment.inputs, attempt.upstream_values(), strict=True):
        if value is not NOTHING:
            given[RUN if entry.input.kind == "run" else entry.input.job] = value
    return given


def _item(attempt: Attempt) -> Any:
    inputs = attempt.assignment.inputs
    if len(inputs) > 1:
        jobs = ", ".join(entry.input.job for entry in inputs)
        raise JobError(f"bind 'item' takes one upstream result, and here are {len(inputs)}: {jobs}")
    if not inputs:
        return NOTHING
    (value,) = attempt.upstream_values()
    return None if value is NOTHING else value


def _gather(attempt: Attempt) -> list[Any]:
    gathered: list[Any] = []
    for entry, value in zip(attempt.assignment.inputs, attempt.upstream_values(), strict=True):
        if entry.input.many and entry.input.kind != "run":
            gathered += value
        elif value is not NOTHING:
            gathered.append(value)
    return gathered


def _literal(attempt: Attempt) -> Any:
    return attempt.own_data


_MAKERS: dict[str, Callable[[Attempt], Any]] = {
    "args": _args,
    "named": _named,
    "item": _item,
    "gather": _gather,
    "literal": _literal,
}
