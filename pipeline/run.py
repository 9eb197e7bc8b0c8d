"""A run, as its caller sees it: how it went, and what its jobs returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .cachenotes import CacheNotes, CacheReport
from .facts import RunError


class Run:
    """The result of `pipeline.run()` and of `manager.status(id)`. `results` are fetched when first looked at."""

    __slots__ = ("_explain", "_fetch", "_results", "duration", "error", "id", "state", "states")

    def __init__(
        self,
        id: str,
        state: str,
        results: Callable[[], dict[str, Any]] | dict[str, Any],
        error: RunError | None = None,
        states: Mapping[str, str] | None = None,
        duration: float | None = None,
        explain: Callable[[str | None], CacheReport] | None = None,
    ) -> None:
        self.id = id
        self.state = state
        """waiting, running, success, failed, cancelling or cancelled"""
        self.error = error
        """None, or the first failure: `.job`, `.path`, `.reason`, `.traceback`."""
        self.states: dict[str, str] = dict(states or {})
        """Per job: waiting, queued, running, success, failed, skipped, cancelled or lost."""
        self.duration = duration
        """Seconds; None while it has not ended."""
        self._explain = explain
        self._fetch = results if callable(results) else None
        self._results = None if callable(results) else results

    @property
    def ok(self) -> bool:
        return self.state == "success"

    @property
    def results(self) -> dict[str, Any]:
        """What each job returned, by its name; below a spread a list in index order."""
        if self._results is None:
            assert self._fetch is not None
            self._results = self._fetch()
        return self._results

    def cache_explain(self, job: str | None = None) -> CacheReport:
        """Per instance of a job with `cache='content'`: whose result it has, or what differed from an earlier one."""
        return CacheNotes().report(job) if self._explain is None else self._explain(job)

    def __repr__(self) -> str:
        why = f", {self.error.reason!r}" if self.error is not None else ""
        return f"<Run {self.id}: {self.state}{why}>"
