"""How the tasks of a job map are connected: every task has its way from the input, and nothing goes in circles.

Data flows element by element, so a function takes it from one task. A task that aggregates, or an output, collects, and
may do so from several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from .problems import Problem
from .typecheck import element, fits

if TYPE_CHECKING:
    from .jobmap_task import MapTask

Edge = tuple[int, str, str]
"""Its place in the workflow, and the two names."""


def check_flow(tasks: Mapping[str, MapTask], edges: Iterable[Edge]) -> list[Problem]:
    """What is wrong with the edges; those that are right are noted as the parents of tasks."""
    problems = []
    for at, source, target in edges:
        wrong = _edge(tasks, source, target)
        if wrong is None:
            tasks[target].parents.append(source)
            wrong = _types(tasks[source], tasks[target])
        if wrong is not None:
            problems.append(Problem(*(wrong[0], f"workflow[{at}]", wrong[1])))
    problems += _parents(tasks)
    return problems + _circles(tasks)


def _edge(tasks: Mapping[str, MapTask], source: str, target: str) -> tuple[str | None, str] | None:
    pair = f"[{source!r}, {target!r}]"
    for name in (source, target):
        if name not in tasks:
            return None, f"{pair}: there is no task {name!r}"
    if source == target:
        return source, f"{pair}: a task cannot come after itself"
    if tasks[target].kind == "input":
        return target, f"{pair}: nothing comes before the input"
    if tasks[source].kind == "output":
        return source, f"{pair}: nothing comes after an output"
    if source in tasks[target].parents:
        return target, f"{pair}: this pair is there twice"
    return None


def _types(source: MapTask, target: MapTask) -> tuple[str | None, str] | None:
    """Between functions: what one produces has to be what the other consumes, whole or element by element."""
    given, wanted = source.produces, target.consumes
    if source.kind != "function" or target.kind != "function" or given is None or wanted is None:
        return None
    accepted = [given]
    if target.aggregate is not None:
        accepted.append(f"list[{given}]")
    elif source.returns != "dict" and (inner := element(given)) is not None:
        accepted.append(inner)
    if any(fits(one, wanted) for one in accepted):
        return None
    return target.name, f"{source.name!r} produces {given!r}, and {target.name!r} consumes {wanted!r}"


def _parents(tasks: Mapping[str, MapTask]) -> list[Problem]:
    problems = []
    for task in tasks.values():
        count = len(task.parents)
        if not count and task.kind in ("function", "output"):
            problems.append(Problem(task.name, "workflow", "nothing comes before it: no data would ever reach it"))
        elif count > 1 and task.kind == "function" and task.aggregate is None:
            names = ", ".join(map(repr, task.parents))
            text = f"{count} tasks come before it ({names}), and it takes one map from one task: "
            problems.append(Problem(task.name, "workflow", f'{text}give it an "aggregate", or make it two tasks'))
    return problems


def _circles(tasks: Mapping[str, MapTask]) -> list[Problem]:
    try:
        TopologicalSorter({task.name: task.parents for task in tasks.values()}).prepare()
    except CycleError as error:
        circle = list(reversed(error.args[1]))
        return [Problem(circle[0], "workflow", f"goes in a circle: {' > '.join(circle)}")]
    return []
