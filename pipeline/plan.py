"""The plan of a definition: everything that is the same for all its runs, worked out once.

`progress` walks it by number: nodes are numbered as the definition has them, then come the openers of grouping gathers
(a gather by key or in windows is two steps: close the branches, then run once per group), then the hooks. A plan is
shared by all runs of one definition and never changes; a run that is grafted on works with a copy (`fork`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from copy import copy
from typing import NamedTuple

from .definition import VERSION, Definition, HookKind, Node, OnError, unpack_definition
from .errors import DefinitionError
from .facts import Path
from .scopes import CLOSES, DOWN, OPENS, Place, Scope, groups, needs_scopes, rule_of, work_out
from .states import ABSENT, WAITING
from .task import COMMAND, Input, Needs, Task, pack_task

SUBRUN = "!pipeline"
"""The worker name of attempts that are runs of their own."""
HOOK = "hook:"
"""Instances of hooks are named by it: `hook:failure` of a run, `hook:failure:TITLE` of a group."""
HOOK_WAIT = 60.0
LISTED_PARENTS = 64
"""A job with bind `store` and more direct parents than this climbs the pipeline itself for what it needs."""
ON_SUCCESS, ON_FAILURE, ALWAYS = 0, 1, 2
_WHEN = {"success": ON_SUCCESS, "failure": ON_FAILURE, "always": ALWAYS}
WHOLE_RUN = -1
_COPIED = ["nodes", "names", "order", "parents", "sources", "values", "modes", "scope", "out", "children", "when", "policy", "domain", "simple", "fast", "local", "local_depth", "base", "graft_depth", "members", "gathers", "closes"]
"""What grafts add to."""

Kit = tuple[str, str, bytes, tuple[Input, ...] | None, Needs | None]
"""What all attempts of a node share: name, worker, task, inputs when they do not depend on the branch, needs."""


class Hooks(NamedTuple):
    """The hooks of a run or of a group, by the way of ending; several of one kind run one after the other."""

    success: tuple[int, ...] = ()
    failure: tuple[int, ...] = ()
    always: tuple[int, ...] = ()

    def of(self, verdict: str) -> tuple[tuple[int, ...], ...]:
        """Those that run after this end. A cancelled run has neither succeeded nor failed."""
        first = {"success": self.success, "failed": self.failure}.get(verdict, ())
        return tuple(chain for chain in (first, self.always) if chain)


class GroupPlan(NamedTuple):
    title: str
    members: frozenset[int]
    hooks: Hooks
    policy: OnError
    """What the failure of the whole group means for what is around it."""
    domain: int
    """The group around it, or the whole run."""


class Plan:
    """Read-only for everybody but `graft`, which works on a fork."""

    def __init__(self, definition: Definition) -> None:
        if not 1 <= definition.version <= VERSION:
            raise DefinitionError(f"a definition of version {definition.version} is newer than this release reads")
        self.definition = definition
        self.count = len(definition.nodes)
        self.nodes: list[Node] = list(definition.nodes)
        self.names = [node.name for node in self.nodes]
        self.index = {name: at for at, name in enumerate(self.names)}
        self.local: dict[tuple[str, Path], int] = {}
        """Grafted jobs, by name and by the path they were grafted at."""
        self.local_depth: dict[str, int] = {}
        self.base: dict[int, Path] = {}
        """The path below which a grafted job exists."""
        self.graft_depth: dict[int, int] = {}
        self.forked = False
        self._check_names()
        self.parents, self.values, children = edges_of(definition)
        self.repeats = repeats_of(definition)
        self.order = order_of(self.parents, children, self.names)
        size = self.count
        self.scope: list[Scope] = [()] * size
        self.modes: list[tuple[int, ...]] = [(DOWN,) * len(parents) for parents in self.parents]
        self.sources = self.parents
        """The parents as the definition has them."""
        self.groupers: dict[int, int] = {}
        """The opener of each node that groups."""
        self.grouped: dict[int, int] = {}
        self.members: dict[int, list[int]] = {}
        """Per opener: the nodes that have it in their scope."""
        self.gathers: dict[int, list[tuple[int, int]]] = {}
        """Per node that is gathered: who does it, at which depth."""
        self.closes: dict[int, int] = {}
        """Per node of branches whose ends are counted: down to which depth."""
        self.report: dict[int, tuple[str, ...]] = {}
        self.scoped = needs_scopes(self.nodes)
        if self.scoped:
            self._work_out_scopes()
        self.out = self._edges_out()
        self.when = bytearray(_WHEN[node.when] for node in self.nodes)
        for at in self.grouped.values():
            self.when[at] = ON_SUCCESS if self.when[at] == ON_SUCCESS else ALWAYS
        self._add_hooks()
        self._add_policies()
        self._add_groups_closings()
        self.size = len(self.nodes)
        self.kits: list[Kit | None] = [None] * self.size
        self._mark()

    @classmethod
    def of(cls, definition: Definition) -> Plan:
        """Raises `DefinitionError` when no run of it can be."""
        return cls(definition)

    @classmethod
    def load(cls, packed: bytes) -> Plan:
        """Raises `DefinitionError`, also for bytes that are no definition."""
        try:
            definition = unpack_definition(packed)
        except (ValueError, RecursionError) as error:
            raise DefinitionError(f"these bytes are no definition: {error}") from error
        return cls(definition)

    # Making ----------------------------------------------------------------------------------------------------------

    def _check_names(self) -> None:
        if len(self.index) < self.count:
            twice = next(name for at, name in enumerate(self.names) if self.index[name] != at)
            raise DefinitionError(f"two jobs are named {twice!r}")
        for name in self.names:
            if not name or name.startswith(HOOK):
                raise DefinitionError(f"a job cannot be named {name!r}: names that begin with {HOOK!r} are for hooks")

    def _work_out_scopes(self) -> None:
        number = self.count
        for at, node in enumerate(self.nodes):
            if groups(node):
                self.groupers[at] = number
                self.grouped[number] = at
                number += 1
        places = work_out(self.nodes, self.parents, self.order, self.groupers)
        self.scope = [place.inner for place in places]
        self.modes = [place.modes for place in places]
        self.sources = list(self.parents)
        for at, number in self.groupers.items():
            node = self.nodes[at]
            self.nodes.append(Node(name=f"{node.name} (groups)", kind="gate", when=node.when))
            self.names.append("")
            self.scope.append(places[at].scope)
            self.parents.append(self.parents[at])
            self.sources.append(self.parents[at])
            self.modes.append(self.modes[at])
            self.values.append(self.values[at])
            self.parents[at] = (number,)
            self.modes[at] = (OPENS,)
        if self.groupers:
            self.order = [
                one for at in self.order for one in ((self.groupers[at], at) if at in self.groupers else (at,))
            ]
        for at, scope in enumerate(self.scope):
            for opener in scope:
                self.members.setdefault(opener, []).append(at)
        for at in self.order:
            self.note_gathers(at)

    def note_gathers(self, at: int) -> None:
        """Who gathers what, and which keys of whose results it groups by."""
        rule = rule_of(self.nodes[self.grouped.get(at, at)])
        for parent, mode in zip(self.parents[at], self.modes[at], strict=True):
            if mode == CLOSES:
                self._note_gather(parent, at)
        if rule is not None and rule.by is not None and at not in self.groupers:
            for parent in self.items(at):
                known = self.report.get(parent, ())
                self.report[parent] = known if rule.by in known else (*known, rule.by)

    def _note_gather(self, parent: int, at: int) -> None:
        """A spread that is gathered without a job between is closed already when its own instances have ended."""
        depth = len(self.scope[at])
        if len(self.scope[parent]) > depth:
            self._close(parent, depth)
        self.gathers.setdefault(parent, []).append((at, depth))

    def _close(self, at: int, depth: int) -> None:
        self.closes[at] = min(self.closes.get(at, depth), depth)

    def _edges_out(self) -> list[list[tuple[int, int]]]:
        out: list[list[tuple[int, int]]] = [[] for _ in self.nodes]
        for at, parents in enumerate(self.parents):
            for parent, mode in zip(parents, self.modes[at], strict=True):
                out[parent].append((at, mode))
        return out

    def _add_hooks(self) -> None:
        self.first_hook = len(self.nodes)
        self.hooks = self._hooks_of({kind: (node,) for kind, node in self.definition.hooks.items()}, "")
        self.groups: list[GroupPlan] = []
        taken: set[str] = set()
        for at, group in enumerate(self.definition.groups):
            if any(not 0 <= member < self.count for member in group.members):
                raise DefinitionError(f"group {group.title!r} names a job that is not there")
            title = group.title if group.title not in taken else f"{group.title}#{at}"
            taken.add(title)
            hooks = self._hooks_of(group.hooks, f":{title}")
            self.groups.append(GroupPlan(title, frozenset(group.members), hooks, "fail", WHOLE_RUN))
        self.end_hooks = len(self.nodes)

    def _hooks_of(self, given: dict[HookKind, tuple[Node, ...]], suffix: str) -> Hooks:
        chains: dict[str, tuple[int, ...]] = {}
        for kind, nodes in given.items():
            numbers = []
            for at, node in enumerate(nodes):
                name = f"{HOOK}{kind}{suffix}" + (f":{at}" if len(nodes) > 1 else "")
                numbers.append(self._add_hook(name, node))
            chains[kind] = tuple(numbers)
        return Hooks(**chains)

    def _add_hook(self, name: str, node: Node) -> int:
        at = len(self.nodes)
        self.nodes.append(node)
        self.names.append(name)
        self.index[name] = at
        self.scope.append(())
        self.parents.append(())
        if self.sources is not self.parents:
            self.sources.append(())
        self.modes.append(())
        self.values.append(())
        self.out.append([])
        self.when.append(ALWAYS)
        return at

    def _add_policies(self) -> None:
        """Per node: what its failure means, and for whom."""
        run = self.definition.on_error
        self.policy: list[OnError] = [node.on_error or run for node in self.nodes]
        self.domain = [WHOLE_RUN] * len(self.nodes)
        self.groups_of: dict[int, list[int]] = {}
        inside_out = sorted(range(len(self.groups)), key=lambda g: len(self.groups[g].members))
        for g in inside_out:
            for member in self.groups[g].members:
                self.groups_of.setdefault(member, []).append(g)
        given = [group.on_error for group in self.definition.groups]
        for member, around in self.groups_of.items():
            if self.nodes[member].on_error is None:
                self.policy[member], self.domain[member] = _first_policy(around, given, run)
        for position, g in enumerate(inside_out):
            around = [o for o in inside_out[position + 1 :] if self.groups[o].members >= self.groups[g].members]
            policy, domain = _first_policy(around, given, run)
            self.groups[g] = self.groups[g]._replace(policy=policy, domain=domain)

    def _add_groups_closings(self) -> None:
        for member in self.groups_of:
            if self.scope[member]:
                self._close(member, 0)

    def _mark(self) -> None:
        """What the hot path asks of every node, as bytes; and how a run begins."""
        flat = bytearray(not scope for scope in self.scope)
        real = self.first_hook
        self.simple = bytearray(
            flat[at] and self.nodes[at].kind != "gate" and self.when[at] == ON_SUCCESS and at < real
            for at in range(self.size)
        )
        """A job outside of branches that needs the success of its parents."""
        self.fast = bytearray(
            flat[at] and not self.nodes[at].spread and all(flat[child] for child, _ in self.out[at]) and at < real
            and at not in self.report and at not in self.groups_of
            for at in range(self.size)
        )  # fmt: skip
        """Its success concerns counters of other such nodes only."""
        self.children = [tuple(child for child, _ in out) for out in self.out]
        self.indegree = [len(parents) if flat[at] else 0 for at, parents in enumerate(self.parents)]
        self.initial = bytes(WAITING if flat[at] and at < real else ABSENT for at in range(self.size))
        self.starters = [at for at in self.order if flat[at] and not self.parents[at]]
        self.plainly = all(self.simple[at] for at in self.starters)
        self.flat_count = self.initial.count(WAITING)

    # Grafting --------------------------------------------------------------------------------------------------------

    def fork(self) -> Plan:
        """A copy that one run may add to."""
        plan = copy(self)
        for name in _COPIED:
            setattr(plan, name, copy(getattr(self, name)))
        plan.kits = [None] * len(plan.nodes)
        plan.forked = plan.scoped = True
        return plan

    def add(self, node: Node, where: Place, parents: tuple[int, ...], values: tuple[bool, ...], base: Path) -> None:
        """A grafted job: it exists below one path only."""
        at = len(self.nodes)
        self.nodes.append(node)
        self.names.append(node.name)
        self.local[node.name, base] = at
        self.local_depth[node.name] = max(self.local_depth.get(node.name, 0), len(base))
        self.base[at] = base
        self.parents.append(parents)
        self.sources.append(parents)
        self.values.append(values)
        self.modes.append(where.modes)
        self.scope.append(where.inner)
        self.out.append([])
        self.children.append(())
        self.when.append(_WHEN[node.when])
        self.policy.append(node.on_error or self.definition.on_error)
        self.domain.append(WHOLE_RUN)
        self.kits.append(None)
        self.simple.append(0)
        self.fast.append(0)
        for opener in where.inner[len(base) :]:
            if opener in self.base:
                self.members.setdefault(opener, []).append(at)

    def is_single(self, at: int) -> bool:
        """Has it exactly one place in a run?"""
        return len(self.scope[at]) == len(self.base.get(at, ()))

    # Reading ---------------------------------------------------------------------------------------------------------

    def find(self, name: str, path: Path) -> int | None:
        """The number of the node that has this instance."""
        at = self.index.get(name)
        if at is None and self.local:
            for depth in range(len(path), -1, -1):
                at = self.local.get((name, path[:depth]))
                if at is not None:
                    break
        return at

    def is_hook(self, at: int) -> bool:
        return self.first_hook <= at < self.end_hooks

    def jobs(self) -> Iterator[int]:
        """The nodes that users see as jobs, grafted ones last."""
        for at, node in enumerate(self.nodes):
            if node.kind != "gate" and not self.is_hook(at):
                yield at

    def kit(self, at: int) -> Kit:
        kit = self.kits[at]
        if kit is None:
            kit = self.kits[at] = self._kit(at)
        return kit

    def _kit(self, at: int) -> Kit:
        node = self.nodes[at]
        worker = node.worker_name
        if node.command is not None:
            worker = COMMAND
        elif node.kind == "pipeline":
            worker = SUBRUN
        inputs: tuple[Input, ...] | None = None
        if self.is_hook(at):
            inputs = (Input("", (), True, None, "run"),)
        elif not self.scoped:
            inputs = tuple(Input(self.names[p]) for p in self.read(at))
        return (self.names[at], worker, pack_task(self.task(at)), inputs, self.needs(at))

    def task(self, at: int) -> Task:
        node = self.nodes[at]
        return Task(
            worker=node.worker_name,
            bind=node.bind,
            data=node.data,
            command=node.command,
            spread=node.spread,
            report=self.report.get(at, ()),
            on_error="continue" if self.policy[at] == "continue" else None,
        )

    def needs(self, at: int) -> Needs | None:
        node = self.nodes[at]
        wait = node.queue_timeout
        if wait is None and self.is_hook(at):
            wait = HOOK_WAIT
        needs = Needs(node.role, node.resources, node.limits, node.priority, node.timeout, wait)
        return None if needs == Needs() else needs

    def read(self, at: int) -> list[int]:
        """The parents whose results the node is given, in the order of its edges."""
        node = self.nodes[at]
        parents = self.sources[at]
        if node.bind == "literal":
            return []
        if node.bind == "store":
            listed = [p for p in parents if self.nodes[p].kind != "gate"]
            return listed if len(listed) <= LISTED_PARENTS else []
        pairs = zip(parents, self.values[at], strict=True)
        given = self.repeats.get(at) or [p for p, value in pairs if value]
        return [p for p in given if self.nodes[p].kind != "gate"]

    def items(self, at: int) -> list[int]:
        """The parents whose results an opener of groups sorts into them."""
        pairs = list(zip(self.parents[at], self.values[at], strict=True))
        several = [p for p, value in pairs if value] or [p for p, _ in pairs]
        return [p for p in several if self.nodes[p].kind != "gate"]


class Plans:
    """The plans of the definitions that were met last: thousands of runs often share one."""

    def __init__(self, limit: int = 256) -> None:
        self._limit = limit
        self._plans: OrderedDict[bytes, Plan] = OrderedDict()

    def of(self, packed: bytes) -> Plan:
        """Raises `DefinitionError` for what can be no run."""
        plan = self._plans.get(packed)
        if plan is None:
            plan = Plan.load(packed)
            if plan.count <= 1000:
                self._keep(packed, plan)
        else:
            self._plans.move_to_end(packed)
        return plan

    def _keep(self, packed: bytes, plan: Plan) -> None:
        self._plans[packed] = plan
        if len(self._plans) > self._limit:
            self._plans.popitem(last=False)


def edges_of(
    definition: Definition,
) -> tuple[list[tuple[int, ...]], list[tuple[bool, ...]], list[list[int]]]:
    """Per node: its parents in edge order, whether each hands its value over, its children. Repeats are one edge."""
    count = len(definition.nodes)
    parents: list[dict[int, bool]] = [{} for _ in range(count)]
    children: list[list[int]] = [[] for _ in range(count)]
    for source, target, kind in definition.edges:
        if not (0 <= source < count and 0 <= target < count):
            raise DefinitionError(f"an edge from {source} to {target} leaves a pipeline of {count} jobs")
        known = parents[target]
        if source not in known:
            children[source].append(target)
            known[source] = kind == "value"
        elif kind == "value":
            known[source] = True
    return [tuple(one) for one in parents], [tuple(one.values()) for one in parents], children


def repeats_of(definition: Definition) -> dict[int, list[int]]:
    """Jobs that take a result twice, as positional arguments: their value edges with repeats."""
    edges = definition.edges
    if len(set(edges)) == len(edges):
        return {}
    given: dict[int, list[int]] = {}
    for source, target, kind in edges:
        if kind == "value" and definition.nodes[target].bind == "args":
            given.setdefault(target, []).append(source)
    return given


def order_of(parents: Sequence[Sequence[int]], children: Sequence[Sequence[int]], names: Sequence[str]) -> list[int]:
    """All nodes, parents first. Raises `DefinitionError` for a cycle."""
    waits = [len(one) for one in parents]
    order = [at for at, wait in enumerate(waits) if not wait]
    for at in order:
        for child in children[at]:
            waits[child] -= 1
            if not waits[child]:
                order.append(child)
    if len(order) < len(waits):
        raise DefinitionError(f"the jobs form a cycle: {' > '.join(_cycle(waits, parents, names))}")
    return order


def _cycle(waits: Sequence[int], parents: Sequence[Sequence[int]], names: Sequence[str]) -> list[str]:
    at = next(at for at, wait in enumerate(waits) if wait)
    seen: dict[int, None] = {}
    trail: deque[int] = deque()
    while at not in seen:
        seen[at] = None
        trail.appendleft(at)
        at = next(p for p in parents[at] if waits[p])
    loop = [at]
    for one in trail:
        loop.append(one)
        if one == at:
            break
    return [names[one] for one in (loop[:8] if len(loop) > 8 else loop)]


def _first_policy(around: Sequence[int], given: Sequence[OnError | None], run: OnError) -> tuple[OnError, int]:
    for g in around:
        policy = given[g]
        if policy is not None:
            return policy, g
    return run, WHOLE_RUN
