"""A laboratory for attempts: one call runs a worker inline, with everything around it real but the wire."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from headrace.pipeline.definition import Definition, pack_definition
from headrace.pipeline.facts import Path
from headrace.pipeline.payload import pack, unpack
from headrace.pipeline.task import (
    Assignment,
    Given,
    Input,
    Outcome,
    RunHeader,
    Supplied,
    Task,
    Want,
    pack_task,
)
from headrace.stores.pipeline import PipelineStore
from headrace.workers.catalog import Catalog
from headrace.workers.execution import Execution
from headrace.workers.reading import Reader
from headrace.workers.storekeeper import Storekeeper

Entry = tuple[Path, str, bytes | None, str | None]


class Lab:
    """What the rest of the system would know of one run."""

    def __init__(self) -> None:
        self.definition: Definition | None = None
        self.results: dict[tuple[str, Path], Entry] = {}
        self.chunks: dict[str, bytes] = {}
        self.data: bytes | None = None
        self.asked: list[Want] = []
        self.page = 3
        self.lease = 0

    def holds(self, job: str, value: Any, path: Path = (), kind: str = "success") -> None:
        self.results[job, path] = (path, kind, pack(value), None)

    def fetch(self, wants: Sequence[Want]) -> list[Given]:
        self.asked += wants
        return [self._answer(want) for want in wants]

    def _answer(self, want: Want) -> Given:
        if want.kind == "definition":
            if self.definition is None:
                return Given(missing="it was pruned")
            return Given((((), "success", pack_definition(self.definition), None),))
        if want.kind == "data":
            return Given((((), "success", self.data, None),)) if self.data else Given(missing="run run has no data")
        if want.kind == "value":
            data = self.chunks[want.ref or ""]
            end = want.offset + self.page
            return Given((((), "success", data[want.offset : end], None),), end if end < len(data) else None)
        if want.many:
            below = sorted(
                (job, path)
                for job, path in self.results
                if want.job in (job, "") and path[: len(want.path)] == want.path
            )
            found = below[want.offset : want.offset + self.page]
            more = want.offset + self.page if want.offset + self.page < len(below) else None
            return Given(tuple(self.results[key] for key in found), more, jobs=tuple(job for job, _ in found))
        entry = self.results.get((want.job, want.path))
        return Given((entry,)) if entry else Given(missing="there is no such result")

    def execution(self, *workers: Any, store: Any = None, deadline: float = 0.0, **options: Any) -> Execution:
        keeper = (
            Storekeeper(PipelineStore, "PipelineStore", saves=False)
            if store is None
            else Storekeeper(lambda: store, type(store).__name__, deadline, pause=lambda seconds: None)
        )
        reader = Reader(self.fetch, options.get("values"))
        return Execution(Catalog.of(list(workers)), keeper, reader, **options)

    def assignment(self, job: str = "job", **options: Any) -> Assignment:
        """Options of the task, or of the assignment, by name."""
        self.lease += 1
        given = {name: options.pop(name) for name in ("path", "attempt", "needs", "round", "hook") if name in options}
        inputs = tuple(options.pop("inputs", ()))
        if "data" in options:
            options["data"] = pack(options["data"])
        options.setdefault("complete", self.definition is None)
        task = Task(worker=options.pop("worker", job), **options)
        return Assignment(
            self.lease,
            "run",
            job,
            given.get("path", ()),
            given.get("attempt", 1),
            task.worker,
            pack_task(task),
            inputs,
            given.get("needs"),
            given.get("round", 0),
            given.get("hook", False),
        )

    def run(self, worker: Any, run_data: Any = None, store: Any = None, **options: Any) -> Outcome:
        """Run one worker once; its name is the job's unless `job` or `worker` says otherwise."""
        ours = {name: options.pop(name) for name in ("deadline", "values", "inline_limit") if name in options}
        execution = self.execution(worker, store=store, **ours)
        options.setdefault("worker", getattr(worker, "__name__", "?"))
        header = RunHeader("run", None if run_data is None else pack(run_data))
        try:
            return execution.run(header, self.assignment(options.pop("job", options["worker"]), **options))
        finally:
            execution.close()

    def result(self, worker: Any, run_data: Any = None, **options: Any) -> Any:
        """The result of an attempt that has to succeed."""
        outcome = self.run(worker, run_data, **options)
        assert outcome.kind == "success", outcome.error
        assert outcome.error is None
        return unpack(outcome.result)


def supplied(job: str, value: Any = None, path: Path = (), **options: Any) -> Supplied:
    """An input that came with the attempt."""
    return Supplied(Input(job, path, **options), pack(value))


def failure_text(outcome: Outcome) -> str:
    """What a user would read of an outcome that has to be bad."""
    assert outcome.error is not None, outcome
    return f"{outcome.kind}: {outcome.error.type}: {outcome.error.message}"


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def given() -> Callable[..., Supplied]:
    return supplied


@pytest.fixture
def told() -> Callable[[Outcome], str]:
    return failure_text
