"""From a block tree to a pipeline: blocks, job files and Alfred scripts are trees, and all become one here.

Every action is a job with its own inputs and nothing else (`bind='literal'`); its role is the name of the worker and
the place where it runs. Serial and parallel order become edges, with a gate where two groups of many meet. Of a task,
the children come first, then the commands, one after the other. A group with handlers of errors (or other hooks) is a
`Group`, so that they run once, when everything in it has ended.

Jobs are named by the titles above them: `Scenes/Action2` is the second action of the task Scenes; a name that is taken
already gets a number. The later in its serial order an action comes, the higher is its priority: what is begun is
finished first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..answers import Graft
from ..checks import unknown
from ..definition import HookKind
from ..errors import DefinitionError
from ..graph import Graph, joined
from ..group import Group
from ..job import Job
from ..names import HOOK_PREFIX
from ..pipeline import Pipeline
from .inputs import InputHandler
from .tree_jobs import Jobs, Place, inherited
from .tree_nodes import OF_RUN, ActionNode, GroupNode, InstanceNode, Node, read, read_several

_SEGMENT = 100
"""Characters of a title that its jobs are named by."""


def pipeline_of(
    tree: Mapping[str, Any],
    *,
    role: str | None = None,
    priority: int | None = None,
    inputs: InputHandler | None = None,
) -> Pipeline:
    """The pipeline of a whole tree, `{"Job": ...}`. Raises `DefinitionError` with the path of what is wrong.

    role      for actions that have none, nor have inherited one
    priority  of the run, instead of what the tree says
    inputs    keeps large inputs beside the pipeline
    """
    root = read(tree)
    arrangement = Arrangement(root, Jobs(role, inputs))
    arrangement.arrange()
    options = {option: root.options[option] for option in OF_RUN if option in root.options}
    if priority is not None:
        options["priority"] = priority
    return Pipeline(arrangement.graph(), title=root.title, groups=arrangement.groups, **options)


def graft_of(
    trees: Sequence[Mapping[str, Any]],
    *,
    name: str,
    before: str,
    parallel: bool = True,
    options: Mapping[str, Any] | None = None,
    result: Any = None,
) -> Graft:
    """Tasks that a running job puts into its run, as what it returns. Raises `DefinitionError`.

    name     the job's own, which the names of the new ones begin with
    before   the gate that waits for them; an action with the input `expand` is told it as `before`
    options  what they inherit, by the names of the options
    """
    nodes = read_several(trees, f"what {name} has written")
    arrangement = Arrangement(GroupNode(name, "", parallel, dict(options or {}), nodes), Jobs(None, None), name)
    span = arrangement.arrange()
    jobs = arrangement.jobs
    edges = [(jobs[source].name, jobs[target].name) for source, target in arrangement.edges]
    return Graft(result, jobs, [*edges, *((jobs[end].name, before) for end in span.ends)], arrangement.groups)


class Span(NamedTuple):
    """What a part of the tree has become."""

    ends: list[int]
    """Positions of the jobs that have to end before what follows begins."""
    priority: int
    """For what follows, one after the other."""


class Arrangement:
    """The jobs, edges and groups of a tree, in the order of the tree."""

    def __init__(self, root: GroupNode, make: Jobs, prefix: str = "") -> None:
        self.jobs: list[Job] = []
        self.edges: list[tuple[int, int]] = []
        self.groups: list[Group] = []
        self._root = root
        self._make = make
        self._prefix = prefix
        self._names: dict[str, int] = {}
        """Names that are taken, and how often they were wanted."""
        self._meant = {node.title for node in _below_it(root) if isinstance(node, InstanceNode)}
        """Titles of tasks that instances stand for,"""
        self._ends: dict[str, list[list[int]]] = {}
        """and the ends of the tasks with these titles."""
        self._waiting: list[tuple[int, InstanceNode]] = []
        self._expanded: set[str] = set()
        """Gates behind what is written by running commands: a group has not ended before they have."""

    def arrange(self) -> Span:
        """Everything."""
        root = self._root
        place = Place(self._prefix, (root.title,), inherited({}, root.options))
        span = self._inside(root, place, [], 1, root.title or "Job")
        if not self.jobs:
            span = Span([self._gate("nothing to do", [])], 1)
        self._join_instances()
        return span

    def graph(self) -> Graph:
        """Jobs and edges. Raises `DefinitionError` for instances that wait for what waits for them."""
        names = [job.name for job in self.jobs]
        edges = [(names[source], names[target]) for source, target in self.edges]
        try:
            return joined(self.jobs, edges, self._root.path)
        except DefinitionError as error:
            waiting = ", ".join(f"{node.path} ({node.title!r})" for _, node in self._waiting[:3])
            raise DefinitionError(f"{waiting}: an Instance waits for a task that waits for it: {error}") from None

    # Order -----------------------------------------------------------------------------------------------------------

    def _inside(self, group: GroupNode, place: Place, before: list[int], priority: int, title: str) -> Span:
        """The children of a group, then its commands."""
        first = len(self.jobs)
        handlers: list[Job] = []
        children = self._numbered(group.children, place, handlers)
        if group.parallel:
            span = self._parallel(children, place, before, priority)
        else:
            span = self._serial(children, place, Span(before, priority))
        calls = sum(isinstance(node, ActionNode) for node in group.children)
        span = self._serial(self._numbered(group.cmds, place, handlers, calls), place, span)
        self._note_group(group, place, title, first, handlers)
        return span

    def _numbered(
        self, nodes: Iterable[Node], place: Place, handlers: list[Job], number: int = 0
    ) -> list[tuple[int, Node]]:
        """What is to be run, with its number among its like; handlers of errors are set aside."""
        counts: dict[type, int] = {ActionNode: number}
        run: list[tuple[int, Node]] = []
        for node in nodes:
            number = counts[type(node)] = counts.get(type(node), 0) + 1
            if isinstance(node, ActionNode) and node.whenerror:
                handlers.append(self._make.handler(node, place, "handler", number))
            else:
                run.append((number, node))
        return run

    def _serial(self, nodes: Iterable[tuple[int, Node]], place: Place, span: Span) -> Span:
        for number, node in nodes:
            span = self._node(node, place, span.ends, span.priority, number)
        return span

    def _parallel(self, nodes: Sequence[tuple[int, Node]], place: Place, before: list[int], priority: int) -> Span:
        if len(before) * len(nodes) > len(before) + len(nodes):
            before = [self._gate(f"{place.name or 'all'} starts", before)]
        spans = [self._node(node, place, before, priority, number) for number, node in nodes]
        ends = [end for span in spans if span.ends is not before for end in span.ends]
        return Span(ends or before, max((span.priority for span in spans), default=priority))

    def _node(self, node: Node, place: Place, before: list[int], priority: int, number: int) -> Span:
        if isinstance(node, ActionNode):
            return self._action(node, place, before, priority, number)
        if isinstance(node, InstanceNode):
            gate = self._gate(_joined(place.name, f"Instance of {node.title}"), before)
            self._waiting.append((gate, node))
            return Span([gate], priority)
        return self._task(node, place, before, priority, number)

    def _action(self, node: ActionNode, place: Place, before: list[int], priority: int, number: int) -> Span:
        given = node.options.get("name")
        if given in self._names:
            raise DefinitionError(f"{node.path}: _name={given!r} is the name of another job already")
        name = self._name(given or _joined(place.name, f"Action{number}"))
        if not (node.command and "expand" in node.inputs):
            return Span([self._add(self._make.of(node, place, name, number, priority), before)], priority + 1)
        gate = self._name(f"{name} ends")
        self._expanded.add(gate)
        node = replace(node, inputs={**node.inputs, "before": gate})
        at = self._add(self._make.of(node, place, name, number, priority), before)
        return Span([self._add(Job.gate(gate), [at])], priority + 1)

    def _task(self, task: GroupNode, place: Place, before: list[int], priority: int, number: int) -> Span:
        name = self._name(_joined(place.name, task.title or f"Task{number}"))
        span = self._inside(task, place.inside(name, task.title, task.options), before, priority + 1, name)
        if task.title in self._meant:
            if len(span.ends) != 1 or span.ends is before:
                span = Span([self._gate(f"{name} ends", span.ends)], span.priority)
            self._ends.setdefault(task.title, []).append(span.ends)
        return span

    def _join_instances(self) -> None:
        """An instance comes after the task that it stands for, wherever that is."""
        for gate, node in self._waiting:
            found = self._ends.get(node.title, [])
            if not found:
                titles = [one.title for one in _below_it(self._root) if isinstance(one, GroupNode)]
                raise unknown(node.path, node.title, titles, "task")
            if len(found) > 1:
                raise DefinitionError(f"{node.path}: {len(found)} tasks are called {node.title!r}: which one is meant?")
            self.edges += [(end, gate) for end in found[0]]

    # Parts -----------------------------------------------------------------------------------------------------------

    def _add(self, job: Job, before: Iterable[int]) -> int:
        self.jobs.append(job)
        at = len(self.jobs) - 1
        self.edges += [(source, at) for source in before]
        return at

    def _gate(self, name: str, before: Iterable[int]) -> int:
        return self._add(Job.gate(self._name(name)), before)

    def _name(self, wanted: str) -> str:
        """A name that no other job has: this one, or with a number."""
        if wanted.startswith(HOOK_PREFIX):
            wanted = f"/{wanted}"
        name = wanted
        while name in self._names:
            self._names[wanted] += 1
            name = f"{wanted}#{self._names[wanted]}"
        self._names[name] = 1
        return name

    def _note_group(self, group: GroupNode, place: Place, title: str, first: int, handlers: Sequence[Job]) -> None:
        """A group of the engine, for a part of the tree that has hooks or a policy of its own."""
        hooks: dict[HookKind, list[Job]] = {
            kind: [self._make.handler(node, place, kind, number) for number, node in enumerate(nodes, 1)]
            for kind, nodes in group.hooks.items()
        }
        if handlers:
            hooks["failure"] = [*handlers, *hooks.get("failure", ())]
        policy = group.options.get("on_error") if group is not self._root else None
        members = [job.name for job in self.jobs[first:] if job.kind != "gate" or job.name in self._expanded]
        if members and (policy or any(hooks.values())):
            self.groups.append(Group(title, members, hooks=hooks, on_error=policy))


def _below_it(group: GroupNode) -> Iterator[Node]:
    for node in group.children:
        yield node
        if isinstance(node, GroupNode):
            yield from _below_it(node)


def _joined(above: str, title: str) -> str:
    title = title if len(title) <= _SEGMENT else f"{title[: _SEGMENT - 1]}…"
    return f"{above}/{title}" if above else title
