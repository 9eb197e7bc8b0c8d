"""A driver for tests of `Progress`: it stands for the Router and the Brokers, in one thread and without time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

from headrace.pipeline.definition import Definition, Node, RunOptions
from headrace.pipeline.facts import (
    Accepted,
    Cancelled,
    Ending,
    Failure,
    Finished,
    Reopened,
    Returned,
    RunError,
    RunFact,
    Signs,
)
from headrace.pipeline.plan import Plan
from headrace.pipeline.progress import Progress
from headrace.pipeline.task import Ready

Behaviour = Callable[[Ready], Returned]


def define(jobs: str | Iterable[Node], edges: str = "", **options: Any) -> Definition:
    """`define("A B C", "A>B B>C")`; an edge into a job that takes values is a value edge."""
    nodes = tuple(Node(name=name) for name in jobs.split()) if isinstance(jobs, str) else tuple(jobs)
    names = [node.name for node in nodes]
    placed = []
    for edge in edges.split():
        source, target = (names.index(name) for name in edge.split(">"))
        placed.append((source, target, "order" if nodes[target].bind in ("store", "literal") else "value"))
    return Definition(nodes=nodes, edges=tuple(placed), **options)


def ok(ready: Ready, **signs: Any) -> Returned:
    return Returned(
        ready.job, ready.path, ready.attempt, "success", round=ready.round, signs=Signs(**signs) if signs else None
    )


def bad(ready: Ready, kind: str = "failed", error: str = "ValueError", text: str = "boom", **more: Any) -> Returned:
    signs = Signs(**more.pop("signs")) if "signs" in more else None
    failure = Failure(error, text, "a traceback", more.pop("exit_code", None))
    return Returned(ready.job, ready.path, ready.attempt, kind, round=ready.round, error=failure, signs=signs, **more)  # type: ignore[arg-type]


def behave(**by_job: Callable[[Ready], Returned]) -> Behaviour:
    """Jobs succeed but for those named."""
    return lambda ready: by_job.get(ready.job, ok)(ready)


class Drive:
    """One run with a journal. Each step hands out, lets one attempt return, and carries out what follows."""

    def __init__(self, definition: Definition, behaviour: Behaviour = ok, seed: int | None = None) -> None:
        self.definition = definition
        self.behaviour = behaviour
        self.random = random.Random(seed)
        self.seed = seed
        self.plan = Plan(definition)
        self.progress = Progress(self.plan, "run")
        self.facts: list[tuple[int, RunFact]] = []
        self.live: dict[tuple[str, tuple[int, ...]], Ready] = {}
        self.started: list[Ready] = []
        self.stopped: list[tuple[str, tuple[int, ...]]] = []
        self.record(Accepted("run", 0.0, RunOptions()))

    def record(self, fact: RunFact) -> int:
        sequence = len(self.facts) + 1
        self.facts.append((sequence, fact))
        self.progress.apply(sequence, fact)
        self.progress.validate()
        return sequence

    def pull(self, limit: int | None = None) -> list[Ready]:
        ready = self.progress.ready(limit)
        for one in ready:
            if (one.job, one.path) not in self.live:
                self.live[one.job, one.path] = one
                self.started.append(one)
        self.progress.validate()
        return ready

    def halt(self) -> None:
        for cell in self.progress.halts():
            self.stopped.append(cell)
            if (ready := self.live.pop(cell, None)) is not None:
                self.record(Returned(ready.job, ready.path, ready.attempt, "cancelled", round=ready.round))

    def conclude(self) -> bool:
        """True when the run has finished."""
        conclusion = self.progress.conclusion()
        if conclusion is None or self.live:
            return False
        verdict, error, final = conclusion
        if final:
            self.record(Finished(0.0, verdict, error))
            return True
        self.record(Ending(0.0, verdict, error))
        return False

    def step(self) -> bool:
        self.pull(self.random.choice([None, 1, 3]) if self.seed is not None else None)
        if self.live:
            cells = list(self.live)
            cell = self.random.choice(cells) if self.seed is not None else cells[0]
            self.record(self.behaviour(self.live.pop(cell)))
        self.halt()
        return self.conclude()

    def to_end(self, limit: int = 100_000) -> Drive:
        for _ in range(limit):
            if self.step():
                return self
            assert self.live or self.progress.has_ready() or self.progress.conclusion(), self.progress.states()
        raise AssertionError("it does not come to an end")

    def returned(self, job: str, *path: int, **more: Any) -> Drive:
        """This attempt returns (`kind='failed'`: badly)."""
        self.pull()
        ready = self.live.pop((job, path))
        self.record(bad(ready, **more) if "kind" in more else ok(ready, **more))
        self.halt()
        return self

    def cancel(self, reason: str = "enough") -> Drive:
        self.record(Cancelled(0.0, 1, reason))
        return self

    def reopen(self) -> Drive:
        self.record(Reopened(0.0, 2, self.progress.round + 1))
        return self

    def replay(self) -> Progress:
        progress = Progress(self.plan, "run")
        for sequence, fact in self.facts:
            progress.apply(sequence, fact)
        progress.validate()
        return progress

    @property
    def states(self) -> dict[str, str]:
        return self.progress.states()

    @property
    def verdict(self) -> str:
        return self.progress.state

    @property
    def error(self) -> RunError | None:
        return self.progress.error

    def order(self) -> list[str]:
        return [ready.job for ready in self.started]
