"""The plan of a step: which results are there, and what has to run for the others.

From the head up, every step is reached that something reached needs; a step whose result is in its Context needs
nothing, and so hides what only it depends on. The text that users see and the pipeline that runs come from here.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from .context import Context, fingerprints_of, is_fingerprinted, remember
from .fingerprint import fingerprints
from .stepgraph import StepGraph
from .steps import Step, name_of

LEGEND = (
    "Execution plan. Result availability: [*] available - [ ] n/a - [x] no context. ",
    "                Scheduled execution: (H) head - (>) scheduled run on materialize - ( ) no run required.",
)
LEGEND_OF_CHANGED = "[~] changed since - "


class Availability(Enum):
    """Where a result is, by its mark in the plan."""

    HERE = "*"
    MISSING = " "
    NO_CONTEXT = "x"
    CHANGED = "~"
    """It is there, made by code or settings that are no longer the step's."""


class StepPlan:
    """What `materialize` would do now."""

    def __init__(self, head: Step) -> None:
        self.graph = StepGraph(head)
        self._before_run = self._fingerprints()
        self._availability = {id(step): self._look(step) for step in self.graph.steps}
        self._reached = self._reach()
        self.steps: tuple[Step, ...] = tuple(step for step in self.graph.steps if id(step) in self._reached)
        """What is reached, dependencies first: it runs, or its result is there."""

    @property
    def head(self) -> Step:
        return self.graph.head

    def is_here(self, step: Step) -> bool:
        return self._availability[id(step)] is Availability.HERE

    def needs(self, step: Step) -> tuple[Step, ...]:
        """The steps whose results it gets, in order: none when its own is here."""
        return () if self.is_here(step) else self.graph.before(step)

    def keep(self, step: Step, result: Any) -> None:
        """Put a result into the step's Context, if it has one."""
        if step.ctx is not None:
            remember(step.ctx, name_of(step), result, *_one(self._before_run.get(id(step))))

    def settle(self) -> None:
        """Something has run, and may have changed attributes of the steps: their results are theirs all the same."""
        after_run = self._fingerprints()
        for step in self.graph.steps:
            before, after = self._before_run.get(id(step)), after_run.get(id(step))
            if step.ctx is not None and before and after and before != after:
                name = name_of(step)
                if fingerprints_of(step.ctx, name) == (before,):
                    remember(step.ctx, name, step.ctx[name], before, after)

    def text(self) -> str:
        first, second = LEGEND
        if self._before_run:
            first = first.replace("[x]", f"{LEGEND_OF_CHANGED}[x]")
        rows = (
            f" [{self._availability[id(step)].value}] ({self._schedule(step)}) {name_of(step)}"
            for step in self.graph.plan_order()
        )
        return "\n".join((first, second, *rows))

    def _look(self, step: Step) -> Availability:
        ctx: Context | None = step.ctx
        if ctx is None:
            return Availability.NO_CONTEXT
        name = name_of(step)
        if ctx.get(name) is None:
            return Availability.MISSING
        known, now = fingerprints_of(ctx, name), self._before_run.get(id(step))
        changed = known and now is not None and now not in known
        return Availability.CHANGED if changed else Availability.HERE

    def _fingerprints(self) -> dict[int, str]:
        """Of the steps whose Contexts want to know."""
        wanted = {id(step) for step in self.graph.steps if step.ctx is not None and is_fingerprinted(step.ctx)}
        if not wanted:
            return {}
        return {step: made for step, made in fingerprints(self.graph).items() if step in wanted}

    def _reach(self) -> set[int]:
        reached = {id(self.head)}
        waiting = [self.head]
        while waiting:
            step = waiting.pop()
            if not self.is_here(step):
                found = {id(one): one for one in self.graph.before(step) if id(one) not in reached}
                reached.update(found)
                waiting.extend(found.values())
        return reached

    def _schedule(self, step: Step) -> str:
        if id(step) not in self._reached:
            return " "
        if step is self.head:
            return "H"
        return " " if self.is_here(step) else ">"


def _one(fingerprint: str | None) -> tuple[str, ...]:
    return () if fingerprint is None else (fingerprint,)
