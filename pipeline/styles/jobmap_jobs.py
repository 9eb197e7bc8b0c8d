"""From a job map to the one model.

    input     a job that returns the content of the data source
    function  a job on one item of the task before it; what it returns is spread, when a task after it wants items
    aggregate all: a job on everything (a gather). Groups: a job `NAME (groups)` gathers everything and spreads the
              groups, and the function is a job on one of them
    output    a gather, whose result is the output's record

A function returns one map or a list of maps, and which of them is known when it has returned. So one map is spread too,
as a list of one, unless the definition or the source says that there is never a list. Where levels are counted, every
map travels with the branch that it really came from (`tracked`); elsewhere maps travel as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from ..graph import joined
from ..job import Job
from ..options import Gather
from ..pipeline import Pipeline
from .datasource import Content
from .jobmap_document import JobMap
from .jobmap_task import MapTask
from .namespaces import GROUPS, INPUT, OUTPUT, worker_of


def compiled(jobmap: JobMap, content: Content, options: Mapping[str, Any]) -> Pipeline:
    jobs: list[Job] = []
    edges: list[tuple[str, str | None]] = []
    making = _Making(jobmap, content)
    for task in jobmap.tasks.values():
        made = making.jobs_of(task)
        jobs += made
        edges += [(parent, made[0].name) for parent in task.parents]
        edges += [(one.name, other.name) for one, other in pairwise(made)]
    return Pipeline(joined(jobs, edges, "the job map"), title=jobmap.name, **options)


def record_of(jobmap: JobMap, task: MapTask, data: list[Any]) -> dict[str, Any]:
    """The record of an output."""
    parents = [jobmap.tasks[parent].id for parent in task.parents]
    parent = parents[0] if len(parents) == 1 else parents
    return {"id": task.id, "type": "output", "name": task.name, "data": data, "parent": parent}


def is_tracked(jobmap: JobMap) -> bool:
    return any(task.aggregate is not None and task.aggregate.level is not None for task in jobmap.tasks.values())


class _Making:
    def __init__(self, jobmap: JobMap, content: Content) -> None:
        self._map = jobmap
        self._content = content
        self._common = {"tracked": True} if is_tracked(jobmap) else {}
        takes_items = (one for one in jobmap.tasks.values() if one.kind == "function" and one.aggregate is None)
        self._feeding = {parent for one in takes_items for parent in one.parents}
        """Tasks whose results are handed on item by item."""

    def jobs_of(self, task: MapTask) -> list[Job]:
        """The jobs of a task, one after the other; the last one has its name."""
        if task.kind == "input":
            several = isinstance(self._content, list)
            data = {"content": self._content, **self._common}
            return [Job(INPUT, data, name=task.name, bind="literal", spread=several and task.name in self._feeding)]
        if task.kind == "output":
            data = {"record": record_of(self._map, task, []), **self._common}
            return [Job(OUTPUT, data, name=task.name, gather=Gather())]
        return self._function(task)

    def _function(self, task: MapTask) -> list[Job]:
        data: dict[str, Any] = {"init_args": task.init_args, **self._common}
        returns = task.returns or ("dict" if task.plain else None)
        spread = task.name in self._feeding and returns != "dict"
        if returns is not None:
            data["returns"] = returns
        if spread:
            data["spread"] = True
        options: dict[str, Any] = {**task.options, "name": task.name, "spread": spread}
        worker = worker_of(task.namespace, task.method)
        if task.aggregate is None:
            return [Job(worker, data, bind="item", **options)]
        if not task.aggregate.groups:
            return [Job(worker, data, gather=Gather(), **options)]
        rule = {"aggregate": task.aggregate.plain(), **self._common}
        groups = Job(GROUPS, rule, name=self._groups_name(task), gather=Gather(), spread=True)
        return [groups, Job(worker, data, bind="item", **options)]

    def _groups_name(self, task: MapTask) -> str:
        name = f"{task.name} (groups)"
        while name in self._map.tasks:
            name += "'"
        return name
