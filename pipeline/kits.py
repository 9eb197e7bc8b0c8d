"""Kits: what all attempts of a node share, packed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .definition import RunOptions
from .subruns import SUBRUN, SubRun, is_bound
from .task import COMMAND, Input, Needs, Task, pack_task

if TYPE_CHECKING:
    from .plan import Plan

HOOK_WAIT = 60.0
"""The queue_timeout of a hook that has none."""
LISTED_PARENTS = 64
"""A job with bind `store` and more direct parents than this climbs the pipeline itself for what it needs."""

Kit = tuple[str, str, bytes, tuple[Input, ...] | None, Needs | None, SubRun | None]
"""Name, worker, task, inputs when they are the same for all instances, needs, the run that each instance is."""


def kit_of(plan: Plan, at: int) -> Kit:
    node = plan.nodes[at]
    worker = node.worker_name
    if node.command is not None:
        worker = COMMAND
    elif node.kind == "pipeline":
        worker = SUBRUN
    inputs: tuple[Input, ...] | None = None
    if plan.is_hook(at):
        inputs = (Input("", (), True, None, "run"),)
    elif not plan.scoped:
        inputs = tuple(Input(plan.names[parent]) for parent in read_by(plan, at))
    return plan.names[at], worker, pack_task(task_of(plan, at)), inputs, needs_of(plan, at), _below(plan, at)


def _below(plan: Plan, at: int) -> SubRun | None:
    node = plan.nodes[at]
    if node.kind != "pipeline":
        return None
    bound = is_bound(node, plan.is_hook(at))
    return SubRun(node.definition or b"", None if bound else node.data, node.options or RunOptions(), bound)


def task_of(plan: Plan, at: int) -> Task:
    node = plan.nodes[at]
    return Task(
        worker=node.worker_name,
        bind=node.bind,
        data=node.data,
        command=node.command,
        spread=node.spread,
        report=plan.report.get(at, ()),
        on_error="continue" if plan.policy[at] == "continue" else None,
        complete=_complete(plan, at),
        below=node.kind == "pipeline",
        cache=node.cache == "content" and node.kind == "job",
    )


def needs_of(plan: Plan, at: int) -> Needs | None:
    node = plan.nodes[at]
    wait = node.queue_timeout
    if wait is None and plan.is_hook(at):
        wait = HOOK_WAIT
    # A tag of an Alfred script is a limit where a site has made it one.
    lenient = bool(node.limits) and node.command is not None and node.command.dialect == "alfred"
    needs = Needs(node.role, node.resources, node.limits, node.priority, node.timeout, wait, lenient)
    return None if needs == Needs() else needs


def read_by(plan: Plan, at: int) -> list[int]:
    """The parents whose results the node is given, in the order of its edges."""
    node = plan.nodes[at]
    parents = plan.sources[at]
    if node.bind == "literal":
        return []
    if node.bind == "store":
        listed = [parent for parent in parents if plan.nodes[parent].kind != "gate"]
        return listed if len(listed) <= LISTED_PARENTS else []
    pairs = zip(parents, plan.values[at], strict=True)
    given = plan.repeats.get(at) or [parent for parent, value in pairs if value]
    return [parent for parent in given if plan.nodes[parent].kind != "gate"]


def _complete(plan: Plan, at: int) -> bool:
    """Is there nothing above a store's job but what it is given?"""
    parents = plan.sources[at]
    if plan.is_hook(at) or plan.nodes[at].bind != "store" or len(parents) > LISTED_PARENTS or plan.forked:
        return False
    return all(not plan.sources[parent] and plan.nodes[parent].kind != "gate" for parent in parents)
