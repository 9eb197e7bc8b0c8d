"""Sub-runs, as the history judges them: when they may be opened and how they end, and what flows down to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headrace.pipeline.definition import Definition, Node
from headrace.pipeline.facts import Accepted, Parent, Returned
from headrace.pipeline.subruns import COLLECT
from headrace.pipeline.task import Assignment

from .violation import Violation

if TYPE_CHECKING:
    from .history import Begun, History, RunView


def node_of(definition: Definition, job: str) -> Node | None:
    """A job of a definition, or a hook of its run."""
    if job.startswith("hook:"):
        return definition.hooks.get(job.removeprefix("hook:"))  # type: ignore[call-overload,no-any-return]
    return next((one for one in definition.nodes if one.name == job), None)


def opened(history: History, fact: Accepted, place: Parent) -> None:
    """By an attempt that has not ended, of a run that goes on; with the priority and the time that its job has."""
    history.note("a sub-run was opened")
    above = history.runs.get(place.run)
    if above is None or above.finished is not None or _is_stopped(above, place):
        raise Violation("sub-runs", f"{fact}, and the run above is {above}")
    ended = [line.fact for line in above.lines((place.run, place.round, place.job, place.path))]
    if place.round != above.now.number or place.attempt != len(ended) + 1:
        raise Violation("sub-runs", f"{fact}, and its job has ended by {ended}")
    if place.hook:
        history.note("a hook that is a sub-run was opened")
    node = node_of(history.specs[place.run].definition, place.job)
    assert node is not None, place
    priority = above.options.priority + node.priority
    if (fact.options.priority, fact.options.deadline) != (priority, node.timeout):
        raise Violation("sub-runs", f"{fact}, and its job has priority {priority} and {node.timeout} s")


def ended(history: History, view: RunView, fact: Returned) -> None:
    """What no Broker has said of a sub-run follows from its end."""
    place = (view.id, fact.job, fact.path, fact.round, fact.attempt)
    ends = [
        run.finished
        for run in history.runs.values()
        if (one := run.place) and (one.run, one.job, one.path, one.round, one.attempt) == place
    ]
    if fact.kind in ("cancelled", "expired") and None not in ends:
        return
    if fact.kind not in ("failed", "timeout") or len(ends) != 1 or ends[0] is None or ends[0].verdict == "success":
        raise Violation("sub-runs", f"{fact} of run {view.id}, its own run has {ends}")


def granted(history: History, view: RunView, one: Assignment) -> None:
    """Nothing of a run that is paused, or below one that is paused or cancelled; but what a cancel leaves."""
    if view.now.cancelled:
        return
    for run, below in [(view, None), *_above(history, view)]:
        if below is not None and _is_stopped(run, below):
            raise Violation("G16 cancel", f"{one} is granted, and run {run.id} above is cancelled")
        if run.paused and not run.now.cancelled:
            raise Violation("pause", f"{one} is granted while run {run.id} is paused")


def begins(history: History, begun: Begun) -> None:
    """The results of a sub-run are collected when it has succeeded, and that is on disk."""
    one = begun.execution.assignment
    if one.worker != COLLECT:
        return
    history.note("the results of a sub-run were collected")
    child = history.runs.get(one.inputs[0].input.job)
    done = child is not None and child.finished is not None and child.finished.verdict == "success"
    if child is None or not done or child.now.finished_seq > history.synced:
        raise Violation("sub-runs", f"{begun} collects the results of {child}, whose end is not on disk")


def _is_stopped(above: RunView, place: Parent) -> bool:
    """Of what was cancelled the hooks still come; a cancel of what is ending is about these."""
    return bool(above.now.shortened if place.hook else above.now.cancelled)


def _above(history: History, view: RunView) -> Iterator[tuple[RunView, Parent]]:
    """The runs above, each with the place in it from where one comes."""
    while view.place is not None:
        place, view = view.place, history.runs[view.place.run]
        yield view, place
