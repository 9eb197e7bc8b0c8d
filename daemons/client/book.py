"""The book of a manager: which pipelines it has started, and what became of them. No I/O, no waiting.

A pipeline is in the book from its acknowledgement until it is forgotten. One whose submission was never answered keeps
the id that was chosen for it: when it is started again, the Router recognises it.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator

from ...pipeline.errors import Refused
from ...pipeline.pipeline import Pipeline
from ..protocol import Receipt, RunEnd


class Book:
    def __init__(self, new_id: Callable[[], str]) -> None:
        self.started = 0
        self.finished = 0
        self.news = 0
        """Ends since somebody looked."""
        self._new_id = new_id
        self._pipelines: dict[str, list[Pipeline]] = {}
        """More than one under an id only when a `key` made it so."""
        self._ends: dict[str, RunEnd] = {}
        """Ends that somebody waits for, or that came before the acknowledgement."""
        self._awaited: Counter[str] = Counter()
        self._starting: set[int] = set()
        self._unsure: dict[int, tuple[weakref.ref[Pipeline], str]] = {}

    def __iter__(self) -> Iterator[Pipeline]:
        return (pipeline for same in list(self._pipelines.values()) for pipeline in same)

    def holds(self, pipeline: Pipeline) -> bool:
        return any(one is pipeline for one in self._pipelines.get(pipeline.id or "", ()))

    def is_open(self, run: str) -> bool:
        """Somebody here wants to know of its end."""
        return run in self._awaited or any(not one.finished for one in self._pipelines.get(run, ()))

    # Starting --------------------------------------------------------------------------------------------------------

    def begin(self, pipeline: Pipeline) -> str:
        """The id under which this pipeline is submitted: a new one, or that of an attempt that got no answer."""
        if not isinstance(pipeline, Pipeline):
            raise TypeError(f"only a Pipeline can be started, not {pipeline!r}")
        if pipeline.id is not None or id(pipeline) in self._starting:
            raise ValueError("This pipeline was already started")
        self._starting.add(id(pipeline))
        _, run = self._unsure.pop(id(pipeline), (None, ""))
        return run or self._new_id()

    def acknowledge(self, pipeline: Pipeline, receipt: Receipt, at: float) -> Refused | None:
        """The Router's answer for one pipeline; an error when it said no."""
        self._starting.discard(id(pipeline))
        if not receipt.ok:
            return Refused("refused", receipt.reason)
        pipeline.id = receipt.run
        pipeline.started_at = at
        pipeline.finished = False
        self._pipelines.setdefault(receipt.run, []).append(pipeline)
        self.started += 1
        end = self._ends.get(receipt.run) if receipt.run in self._awaited else self._ends.pop(receipt.run, None)
        if end is not None:
            self._finish(pipeline, end)
        return None

    def give_up(self, pipeline: Pipeline, run: str) -> None:
        """No answer came: it may run or not. Its id is kept for as long as the pipeline is."""
        key = id(pipeline)
        self._starting.discard(key)
        if run not in self._awaited:
            self._ends.pop(run, None)

        def gone(_: weakref.ref[Pipeline]) -> None:
            self._unsure.pop(key, None)

        self._unsure[key] = (weakref.ref(pipeline, gone), run)

    def drop(self, pipeline: Pipeline) -> None:
        """It never left."""
        self._starting.discard(id(pipeline))

    # Ending ----------------------------------------------------------------------------------------------------------

    def ended(self, end: RunEnd) -> None:
        """A followed run has ended."""
        self.news += 1
        pipelines = self._pipelines.get(end.run)
        if pipelines is None or end.run in self._awaited:
            self._ends[end.run] = end
        for pipeline in pipelines or ():
            self._finish(pipeline, end)

    def _finish(self, pipeline: Pipeline, end: RunEnd) -> None:
        if pipeline.finished:
            return
        pipeline.duration = end.duration
        pipeline.failed = end.verdict != "success"
        pipeline.error = end.error
        pipeline.finished = True
        self.finished += 1

    def reopen(self, run: str) -> bool:
        """A new round: the pipelines of this run are under way again. True when there are any."""
        pipelines = self._pipelines.get(run, ())
        for pipeline in pipelines:
            if pipeline.finished:
                pipeline.finished = False
                pipeline.failed = False
                pipeline.duration = None
                pipeline.error = None
                self.finished -= 1
        return bool(pipelines)

    def take_news(self) -> int:
        news, self.news = self.news, 0
        return news

    # Waiting for one run, and forgetting -----------------------------------------------------------------------------

    def wait_for(self, run: str) -> None:
        self._awaited[run] += 1

    def end_of(self, run: str) -> RunEnd | None:
        return self._ends.get(run)

    def wait_no_more(self, run: str) -> None:
        self._awaited[run] -= 1
        if not self._awaited[run]:
            del self._awaited[run]
            self._ends.pop(run, None)

    def forget_finished(self) -> None:
        for run, pipelines in list(self._pipelines.items()):
            if all(pipeline.finished for pipeline in pipelines):
                del self._pipelines[run]

    def forget(self, run: str) -> None:
        self._pipelines.pop(run, None)
