"""The plan of a definition: everything that is the same for all its runs, worked out once.

`progress` walks it by number: nodes are numbered as the definition has them, then come the openers of grouping gathers
(a gather by key or in windows is two steps: close the branches, then run once per group), then the hooks. A plan is
shared by all runs of one definition and never changes; a run that is grafted on works with a copy (`fork`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy

from .definition import VERSION, Definition, Group, HookKind, Node, unpack_definition
from .errors import DefinitionError
from .facts import Path
from .kits import Kit, kit_of
from .policies import WHOLE_RUN, GroupPlan, Hooks, policies_of, titles_of
from .scopes import CLOSES, DOWN, OPENS, Place, Scope, groups, needs_scopes, rule_of, work_out
from .states import ABSENT, WAITING
from .topology import edges_of, order_of, repeats_of

HOOK = "hook:"
"""Instances of hooks are named by it: `hook:failure` of a run, `hook:failure:TITLE` of a group."""
ON_SUCCESS, ON_FAILURE, ALWAYS = 0, 1, 2
_WHEN = {"success": ON_SUCCESS, "failure": ON_FAILURE, "always": ALWAYS}
_COPIED = (
    *("nodes", "names", "order", "parents", "sources", "values", "modes", "scope", "out", "children", "when"),
    *("policy", "domain", "simple", "fast", "local", "local_depth", "base", "graft_depth"),
    *("members", "gathers", "closes", "report", "groups", "groups_of", "grafted_hooks"),
    *("joined", "ahead", "behind", "lineage"),
    *("groupers", "grouped", "streams", "feeds"),
)
"""What grafts add to."""


class Plan:
    """Raises `DefinitionError` for a definition that no run can have. Read-only, but for `graft` on a fork."""

    def __init__(self, definition: Definition) -> None:
        if not 1 <= definition.version <= VERSION:
            raise DefinitionError(f"a definition of version {definition.version} is newer than this release reads")
        self.definition = definition
        self.count = len(definition.nodes)
        self.nodes: list[Node] = list(definition.nodes)
        self.names = [node.name for node in self.nodes]
        self.index = {name: at for at, name in enumerate(self.names)}
        self._check_names()
        self.parents, self.values, children = edges_of(definition)
        self.repeats = repeats_of(definition)
        self.order = order_of(self.parents, children, self.names)
        self.sources = list(self.parents)
        """The parents as the definition has them; `parents` of a node that groups is its opener."""
        self._prepare_branches()
        self._prepare_grafts()
        if self.scoped:
            self._work_out_scopes()
        self.when = bytearray(_WHEN[node.when] for node in self.nodes)
        for at in self.grouped.values():
            self.when[at] = ON_SUCCESS if self.when[at] == ON_SUCCESS else ALWAYS
        self.out = self._edges_out()
        self._add_hooks()
        self.size = len(self.nodes)
        for member in self.groups_of:
            self.note_member(member)
        self.kits: list[Kit | None] = [None] * self.size
        self._mark()

    @classmethod
    def of(cls, definition: Definition) -> Plan:
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

    def _prepare_branches(self) -> None:
        self.scoped = needs_scopes(self.nodes)
        self.scope: list[Scope] = [()] * self.count
        self.modes: list[tuple[int, ...]] = [(DOWN,) * len(parents) for parents in self.parents]
        self.groupers: dict[int, int] = {}
        """The opener of each node that groups, and back:"""
        self.grouped: dict[int, int] = {}
        self.members: dict[int, list[int]] = {}
        """Per opener: the nodes that have it in their scope."""
        self.gathers: dict[int, list[tuple[int, int]]] = {}
        """Per node that is gathered: who does it, at which depth."""
        self.closes: dict[int, int] = {}
        """Per node of branches whose ends are counted: down to which depth."""
        self.report: dict[int, tuple[str, ...]] = {}
        """The keys of a node's results that a gather groups by."""
        self.streams: set[int] = set()
        """The openers of windows that open one by one."""
        self.feeds: dict[int, tuple[tuple[int, int], ...]] = {}
        """Per node that such windows wait for: their opener, and its depth."""

    def _prepare_grafts(self) -> None:
        self.forked = False
        self.local: dict[tuple[str, Path], int] = {}
        """Grafted jobs, by name and by the path they were grafted at."""
        self.local_depth: dict[str, int] = {}
        self.base: dict[int, Path] = {}
        """The path below which a grafted job exists."""
        self.graft_depth: dict[int, int] = {}
        self.grafted_hooks: set[int] = set()
        self.joined: dict[int, list[int]] = {}
        """Per group: the jobs that grafts have put into it."""
        self.ahead: dict[int, list[int]] = {}
        """Per grafted job: what it was put before; of a job that groups, its opener,"""
        self.behind: dict[int, list[int]] = {}
        """and back."""
        self.lineage: dict[int, tuple[int, ...]] = {}
        """Where a grafted job stands in its graft, below where its grafter stands: an order that no race decides."""

    def _work_out_scopes(self) -> None:
        numbers = (at for at, node in enumerate(self.nodes) if groups(node))
        self.groupers = {at: self.count + position for position, at in enumerate(numbers)}
        self.grouped = {number: at for at, number in self.groupers.items()}
        places = work_out(self.nodes, self.parents, self.order, self.groupers)
        self.scope = [place.inner for place in places]
        self.modes = [place.modes for place in places]
        for at, number in self.groupers.items():
            self._add_grouper(at, number, places[at].scope)
        if self.groupers:
            pairs = [(self.groupers[at], at) if at in self.groupers else (at,) for at in self.order]
            self.order = [at for pair in pairs for at in pair]
        for at, scope in enumerate(self.scope):
            for opener in scope:
                self.members.setdefault(opener, []).append(at)
        for at in self.order:
            self.note_gathers(at)
        for opener in self.grouped:
            self.note_stream(opener)

    def _add_grouper(self, at: int, number: int, scope: Scope) -> None:
        """The opener takes over the edges of the node that groups; the node itself comes after its opener only."""
        node = self.nodes[at]
        self.nodes.append(Node(name=f"{node.name} (groups)", kind="gate", when=node.when))
        self.names.append("")
        self.scope.append(scope)
        for edges in (self.parents, self.sources, self.modes, self.values):
            edges.append(edges[at])  # type: ignore[arg-type]  # lists of tuples, each of its own kind
        self.parents[at] = (number,)
        self.modes[at] = (OPENS,)

    def note_gathers(self, at: int) -> None:
        """Who gathers what, and which keys of whose results it groups by."""
        for parent, mode in zip(self.parents[at], self.modes[at], strict=True):
            if mode == CLOSES:
                self._note_gather(parent, at)
        rule = rule_of(self.nodes[self.grouped.get(at, at)])
        if rule is not None and rule.by is not None and at not in self.groupers:
            for parent in self.items(at):
                self._report(parent, rule.by)

    def _report(self, at: int, key: str) -> None:
        known = self.report.get(at, ())
        self.report[at] = known if key in known else (*known, key)

    def note_stream(self, opener: int) -> None:
        """Windows need not wait for the end of all branches when there is one job above, in those branches."""
        node, parents = self.nodes[self.grouped[opener]], self.parents[opener]
        sized = node.gather is not None and node.gather.size is not None
        if sized and node.when == "success" and self.modes[opener] == (CLOSES,) and self.items(opener):
            self.streams.add(opener)
            depth = len(self.scope[opener])
            for at in (parents[0], *self.scope[parents[0]][depth:]):
                self.feeds[at] = (*self.feeds.get(at, ()), (opener, depth))

    def note_member(self, at: int) -> None:
        """The ends of all branches of a member are counted: its groups end after them."""
        if at in self.groups_of and not self.is_single(at):
            self._close(at, len(self.base.get(at, ())))

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
        self.hooks = self._hooks_of({kind: (node,) for kind, node in self.definition.hooks.items()})
        titles = titles_of(self.definition)
        pairs = zip(self.definition.groups, titles, strict=True)
        hooks = [self._hooks_of(group.hooks, title) for group, title in pairs]
        self.end_hooks = len(self.nodes)
        self.policy, self.domain, self.groups, self.groups_of = policies_of(
            self.definition, self.end_hooks, hooks, titles
        )

    def _hooks_of(self, given: dict[HookKind, tuple[Node, ...]], title: str | None = None) -> Hooks:
        chains: dict[str, tuple[int, ...]] = {}
        for kind, nodes in given.items():
            first = len(self.nodes)
            for name, node in zip(hook_names(kind, nodes, title), nodes, strict=True):
                self._add_hook(name, node)
            chains[kind] = tuple(range(first, len(self.nodes)))
        return Hooks(**chains)

    def _add_hook(self, name: str, node: Node) -> None:
        self.index[name] = len(self.nodes)
        self.nodes.append(node)
        self.names.append(name)
        for edges in (self.scope, self.parents, self.sources, self.modes, self.values):
            edges.append(())
        self.out.append([])
        self.when.append(ALWAYS)

    def _mark(self) -> None:
        """What the hot path asks of every node, as bytes; and how a run begins."""
        nodes, when, real = self.nodes, self.when, self.first_hook
        flat = [not scope for scope in self.scope]
        gate = [node.kind == "gate" for node in nodes]
        self.simple = bytearray(
            flat[at] and not gate[at] and when[at] == ON_SUCCESS and at < real for at in range(self.size)
        )
        """A job outside of branches that needs the success of its parents."""
        slow = {*self.report, *self.groups_of}
        self.fast = bytearray(
            flat[at] and at < real and not nodes[at].spread and at not in slow and all(flat[c] for c, _ in self.out[at])
            for at in range(self.size)
        )
        """Its success concerns counters of jobs outside of branches only."""
        self.children = [tuple(child for child, _ in out) for out in self.out]
        self.indegree = [len(parents) if flat[at] else 0 for at, parents in enumerate(self.parents)]
        self.initial = bytes(WAITING if flat[at] and at < real else ABSENT for at in range(self.size))
        self.starters = [at for at in self.order if flat[at] and not self.parents[at]]
        self.plainly = all(self.simple[at] for at in self.starters)
        """All jobs that a run begins with can be handed out as they are."""
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

    def add(
        self, node: Node, where: Place, parents: tuple[int, ...], values: tuple[bool, ...], base: Path, grafter: int
    ) -> None:
        """A grafted job: it exists below one path only. It is in the groups of its grafter, and its failure means what
        its grafter's would, unless it says."""
        at = self._append(node.name, node, base, where.inner)
        self.parents[at] = self.sources[at] = parents
        self.values[at] = values
        self.modes[at] = where.modes
        self.when[at] = _WHEN[node.when]
        self.policy[at] = node.on_error or self.policy[grafter]
        self.domain[at] = WHOLE_RUN if node.on_error else self.domain[grafter]
        self.graft_depth[at] = self.graft_depth.get(grafter, 0) + 1
        self.lineage[at] = (*self.lineage.get(grafter, (grafter,)), at)
        if (around := self.groups_of.get(grafter)) is not None:
            self.groups_of[at] = around
            for g in around:
                self.joined.setdefault(g, []).append(at)
        self._join(at, grafter)

    def add_grouper(self, at: int, where: Place, grafter: int) -> int:
        """The step before a grafted job that gathers in groups, which takes over the edges of that job."""
        node, base = self.nodes[at], self.base[at]
        number = self._append("", Node(name=f"{node.name} (groups)", kind="gate", when=node.when), base, where.scope)
        for edges in (self.parents, self.sources, self.modes, self.values):
            edges[number] = edges[at]  # type: ignore[assignment]  # lists of tuples, each of its own kind
        self.parents[at], self.modes[at] = (number,), (OPENS,)
        self.when[number] = _WHEN[node.when]
        self.when[at] = ON_SUCCESS if node.when == "success" else ALWAYS
        self.groupers[at], self.grouped[number] = number, at
        self._join(number, grafter)
        return number

    def _join(self, at: int, grafter: int) -> None:
        """A grafted node has branches wherever grafted openers around it have; some of them are yet to be added."""
        for opener in self.scope[at][len(self.base[at]) :]:
            if opener != grafter and (opener in self.base or opener >= len(self.nodes)):
                self.members.setdefault(opener, []).append(at)

    def add_groups(self, new: Definition, first: int, base: Path, grafter: int) -> list[int]:
        """The groups of grafted jobs, which are numbered from `first` on, inside those of the grafter. Returns their
        hooks: they exist below the same path."""
        titles, before = titles_of(new), len(self.nodes)
        hooks = [self._grafted_hooks_of(g, t, base, grafter) for g, t in zip(new.groups, titles, strict=True)]
        added = range(before, len(self.nodes))
        self.grafted_hooks.update(added)
        found = policies_of(new, len(new.nodes), hooks, titles)
        own, around = len(self.groups), tuple(self.groups_of.get(grafter, ()))
        outside = self.policy[grafter], self.domain[grafter]
        for group in found.groups:
            members = frozenset(first + member for member in group.members)
            policy, domain = outside if group.domain == WHOLE_RUN else (group.policy, own + group.domain)
            inside = (*(own + one for one in group.around), *around)
            self.groups.append(GroupPlan(group.title, members, group.hooks, policy, domain, inside))
        for member, several in found.groups_of.items():
            self.groups_of[first + member] = [*(own + one for one in several), *around]
            if found.domain[member] != WHOLE_RUN:
                self.policy[first + member] = found.policy[member]
                self.domain[first + member] = own + found.domain[member]
        return [*added]

    def put_before(self, at: int, target: int) -> None:
        """A grafted job comes before what waits. `target`: of a job that groups, its opener, which its result is one
        more item for."""
        self.ahead.setdefault(at, []).append(target)
        self.behind.setdefault(target, []).append(at)
        rule = self.nodes[self.grouped[target]].gather if target in self.grouped else None
        if rule is not None and rule.by is not None:
            self._report(at, rule.by)

    def _grafted_hooks_of(self, group: Group, title: str, base: Path, grafter: int) -> Hooks:
        chains: dict[str, tuple[int, ...]] = {}
        for kind, nodes in group.hooks.items():
            named = zip(hook_names(kind, nodes, title), nodes, strict=True)
            chains[kind] = tuple(self._append(name, node, base, self.scope[grafter]) for name, node in named)
        return Hooks(**chains)

    def _append(self, name: str, node: Node, base: Path, scope: Scope) -> int:
        """A new node below a path, which comes after nothing yet."""
        at = len(self.nodes)
        self.nodes.append(node)
        self.names.append(name)
        if name:
            self.local[name, base] = at
            self.local_depth[name] = max(self.local_depth.get(name, 0), len(base))
        self.base[at] = base
        for edges in (self.parents, self.sources, self.modes, self.values, self.children):
            edges.append(())
        self.scope.append(scope)
        self.out.append([])
        self.when.append(ALWAYS)
        self.policy.append(node.on_error or self.definition.on_error)
        self.domain.append(WHOLE_RUN)
        self.kits.append(None)
        self.simple.append(0)
        self.fast.append(0)
        return at

    # Reading ---------------------------------------------------------------------------------------------------------

    def is_single(self, at: int) -> bool:
        """Has it exactly one place in a run?"""
        return len(self.scope[at]) == len(self.base.get(at, ()))

    def is_hook(self, at: int) -> bool:
        return self.first_hook <= at < self.end_hooks or at in self.grafted_hooks

    def members_of(self, g: int) -> frozenset[int]:
        """The jobs of a group, grafted ones too."""
        return self.groups[g].members.union(self.joined.get(g, ()))

    def every_hook(self) -> Iterator[int]:
        """Those of the definition first."""
        yield from range(self.first_hook, self.end_hooks)
        yield from sorted(self.grafted_hooks)

    def find(self, name: str, path: Path) -> int | None:
        """The number of the node that has this instance."""
        at = self.index.get(name)
        if at is None and self.local:
            for depth in range(len(path), -1, -1):
                at = self.local.get((name, path[:depth]))
                if at is not None:
                    break
        return at

    def jobs(self) -> Iterator[int]:
        """The nodes that users see as jobs, grafted ones last."""
        for at, node in enumerate(self.nodes):
            if node.kind != "gate" and not self.is_hook(at):
                yield at

    def children_of(self, at: int) -> dict[str, int]:
        """Who comes right after a job, by name: the opener for one that groups."""
        after = (*(child for child, _ in self.out[at]), *self.ahead.get(at, ()))
        return {self.names[self.grouped.get(child, child)]: child for child in after}

    def items(self, at: int) -> list[int]:
        """The parents whose results an opener of groups sorts into them."""
        pairs = list(zip(self.parents[at], self.values[at], strict=True))
        several = [parent for parent, value in pairs if value] or [parent for parent, _ in pairs]
        return [parent for parent in several if self.nodes[parent].kind != "gate"]

    def kit(self, at: int) -> Kit:
        """What all attempts of a node share, made when the first one starts."""
        kit = self.kits[at]
        if kit is None:
            kit = self.kits[at] = kit_of(self, at)
        return kit


def hook_names(kind: HookKind, nodes: Sequence[Node], title: str | None) -> Iterator[str]:
    """What the hooks of a group (or of the run, which has no title) are called."""
    for at in range(len(nodes)):
        yield f"{HOOK}{kind}" + (f":{title}" if title is not None else "") + (f":{at}" if len(nodes) > 1 else "")
