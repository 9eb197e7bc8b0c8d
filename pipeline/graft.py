"""A graft: new jobs that a result puts into its own run.

What is grafted hangs below its grafter: a new job without an edge to it starts when the grafter has ended, in the same
branch; it may be put before jobs that come after the grafter, and before nothing else, for those still wait. Before a
job that gathers in groups it is one more item, the last one: it is sorted into a group by its key, or stands in the
last window. Everything is checked before anything is changed, so that a graft that cannot be is a failure of its job
and no more.

A grafted job is in all groups of its grafter, as if it had always been a member: what fails or stops them stops it, and
their hooks wait for it.

New jobs get numbers at the end of a forked plan. In branches their names live under the grafter's path: two branches
may graft the same names. Each job has one place in the board, or branches of its own below that path. New jobs may be
in groups of their own, inside the groups of the grafter: their hooks come after the new jobs, under the same path.
"""

from __future__ import annotations

from collections.abc import Sequence

from .board import Board
from .definition import Definition, Node, unpack_definition
from .errors import DefinitionError
from .facts import Path
from .plan import HOOK, Plan, hook_names
from .policies import titles_of
from .scopes import CLOSES, DOWN, UP, Place, groups, place
from .topology import edges_of, order_of

MAX_GRAFTED = 100_000
"""Jobs that grafts may add to one run."""
MAX_DEPTH = 100
"""Grafts of grafts."""


class Grafting:
    """One checked graft. Raises `DefinitionError` for one that cannot be."""

    def __init__(self, plan: Plan, at: int, path: Path, packed: bytes) -> None:
        try:
            self.new = unpack_definition(packed)
        except (ValueError, RecursionError) as error:
            raise DefinitionError(f"its bytes are no definition: {error}") from None
        self.at = at
        self.path = path
        self.count = len(self.new.nodes)
        self._check_size(plan)
        self._check_names(plan)
        self.targets = [self._outside(plan, name) for name in self.new.outside]
        self._sort_edges(plan)
        self._place(plan)
        self._check_targets(plan)
        self._check_groups(plan)

    # Checking --------------------------------------------------------------------------------------------------------

    def _check_size(self, plan: Plan) -> None:
        if self.new.hooks:
            raise DefinitionError("it has hooks of its own, which only a run and groups have")
        hooks = sum(len(nodes) for group in self.new.groups for nodes in group.hooks.values())
        if len(plan.base) + self.count + hooks > MAX_GRAFTED:
            raise DefinitionError(f"the run would have more than {MAX_GRAFTED} grafted jobs")
        if plan.graft_depth.get(self.at, 0) >= MAX_DEPTH:
            raise DefinitionError(f"it is a graft of a graft, and {MAX_DEPTH} is as deep as that goes")

    def _check_names(self, plan: Plan) -> None:
        seen: set[str] = set()
        for node in self.new.nodes:
            if not node.name or node.name.startswith(HOOK):
                raise DefinitionError(f"a job cannot be named {node.name!r}")
            deeper = plan.local_depth.get(node.name, 0) > len(self.path)
            if node.name in seen or deeper or plan.find(node.name, self.path) is not None:
                raise DefinitionError(f"there is a job named {node.name!r} already")
            seen.add(node.name)

    def _outside(self, plan: Plan, name: str) -> int:
        at = plan.find(name, self.path)
        if at is None or plan.is_hook(at):
            raise DefinitionError(f"an edge names {name!r}, which is no job of this run")
        return at

    def _sort_edges(self, plan: Plan) -> None:
        """Edges among the new jobs, and those to jobs that are there; edges from the grafter may be left out."""
        count = self.count
        inner: list[tuple[int, int, str]] = []
        self.before: list[tuple[int, int]] = []
        """(new job, job it is put before)"""
        explicit: dict[int, bool] = {}
        for source, target, kind in self.new.edges:
            if not (0 <= source < count + len(self.targets) and 0 <= target < count + len(self.targets)):
                raise DefinitionError("an edge leaves the graft")
            if source < count and target < count:
                inner.append((source, target, kind))
            elif source < count:
                self.before.append((source, self.targets[target - count]))
            elif target < count and self.targets[source - count] == self.at:
                explicit[target] = kind == "value"
            else:
                raise DefinitionError(
                    f"an edge comes from {plan.names[self.targets[source - count]]!r}: "
                    f"edges may come from the job that grafts and from the new ones"
                )
        whole = Definition(nodes=self.new.nodes, edges=tuple(inner))  # type: ignore[arg-type]
        parents, values, children = edges_of(whole)
        self.order = order_of(parents, children, [node.name for node in self.new.nodes])
        first = len(plan.nodes)
        self.parents: list[tuple[int, ...]] = []
        self.values: list[tuple[bool, ...]] = []
        for new, (above, kinds) in enumerate(zip(parents, values, strict=True)):
            numbers, handed = tuple(first + one for one in above), kinds
            if not above or new in explicit:
                numbers = (self.at, *numbers)
                handed = (explicit.get(new, self.new.nodes[new].bind != "store"), *handed)
            self.parents.append(numbers)
            self.values.append(handed)

    def _place(self, plan: Plan) -> None:
        """The scopes of the new jobs, as if they had stood there from the beginning."""
        nodes: Sequence[Node] = [*plan.nodes, *self.new.nodes]
        self.places = {at: Place((), plan.scope[at], ()) for at in (self.at, *(target for _, target in self.before))}
        first = len(plan.nodes)
        grouping = [new for new, node in enumerate(self.new.nodes) if groups(node)]
        self.openers = {new: first + self.count + position for position, new in enumerate(grouping)}
        """Of new jobs that gather in groups: the step before."""
        openers = {**plan.groupers, **{first + new: number for new, number in self.openers.items()}}
        for new in self.order:
            found = place(first + new, nodes, self.parents[new], self.places, openers)
            self._check_gather(new)
            if len(found.scope) < len(self.path):
                raise DefinitionError(
                    f"job {self.new.nodes[new].name!r} would close the branches that the graft was made in: "
                    f"use Gather(level=...)"
                )
            if (self.at, CLOSES) in zip(self.parents[new], found.modes, strict=True):
                raise DefinitionError(
                    f"job {self.new.nodes[new].name!r} gathers the list of the job that grafts: put a job between them"
                )
            self.places[first + new] = found

    def _check_gather(self, new: int) -> None:
        """Only whoever knows of a gather by key says the keys of its result."""
        rule = self.new.nodes[new].gather
        if rule is not None and rule.by is not None and self.at in self.parents[new]:
            raise DefinitionError(
                f"job {self.new.nodes[new].name!r} gathers by {rule.by!r} right after the job that grafts: "
                f"put a job between them whose results have the key"
            )

    def _check_targets(self, plan: Plan) -> None:
        """What the new jobs are put before has to come after the grafter, and reach them in the same branches."""
        below = descendants(plan, self.at) if self.before else set()
        self.links: list[tuple[int, int, int]] = []
        for new, target in self.before:
            name = plan.names[target]
            if target not in below:
                raise DefinitionError(f"it is put before {name!r}, which does not come after the job that grafts")
            number = plan.groupers.get(target, target)
            reach, scope = self.places[len(plan.nodes) + new].inner, plan.scope[number]
            what = f"job {self.new.nodes[new].name!r} is put before {name!r}"
            if self.new.nodes[new].spread or len(reach) > len(self.path):
                raise DefinitionError(f"{what} with branches of its own: gather them first")
            if scope[: len(reach)] != reach and reach[: len(scope)] != scope:
                raise DefinitionError(f"{what}, which is in other branches")
            self.links.append((new, number, DOWN if scope[: len(reach)] == reach else UP))

    def _check_groups(self, plan: Plan) -> None:
        """Hooks have names of their own, and are called when all of a group has ended: its branches would be many."""
        seen: set[str] = set()
        for group, title in zip(self.new.groups, titles_of(self.new), strict=True):
            names = [name for kind, nodes in group.hooks.items() for name in hook_names(kind, nodes, title)]
            for name in names:
                deeper = plan.local_depth.get(name, 0) > len(self.path)
                if name in seen or deeper or plan.find(name, self.path) is not None:
                    raise DefinitionError(f"there is a group called {title!r} already")
            seen.update(names)
            for member in group.members:
                if len(self.places[len(plan.nodes) + member].inner) > len(self.path):
                    name = self.new.nodes[member].name
                    raise DefinitionError(f"group {title!r} has job {name!r}, which is in branches of its own")

    # Carrying out ----------------------------------------------------------------------------------------------------

    def carry_out(self, plan: Plan, board: Board) -> None:
        """Add to the forked plan and the board, before the end of the grafter is carried on."""
        first = len(plan.nodes)
        for new, node in enumerate(self.new.nodes):
            at = first + new
            plan.add(node, self.places[at], self.parents[new], self.values[new], self.path, self.at)
        for new in self.openers:
            plan.add_grouper(first + new, self.places[first + new], self.at)
        for new in self.order:
            plan.order += [self.openers[new], first + new] if new in self.openers else [first + new]
        for at in range(first, len(plan.nodes)):
            board.add(at, self.at)
            self._tie(plan, board, at)
        for opener in self.openers.values():
            plan.note_stream(opener)
        for new, target, mode in self.links:
            plan.put_before(first + new, target)
            board.put_before((first + new, self.path), target, mode)
        for hook in plan.add_groups(self.new, first, self.path, self.at):
            board.add_hook(hook)

    def _tie(self, plan: Plan, board: Board, at: int) -> None:
        """Edges from the grafter count in this place only."""
        plan.note_gathers(at)
        plan.note_member(at)
        for parent, mode in zip(plan.parents[at], plan.modes[at], strict=True):
            if parent == self.at:
                board.more_out.setdefault((self.at, self.path), []).append((at, mode))
            else:
                plan.out[parent].append((at, mode))
        if self.at in plan.scope[at][len(self.path) :]:
            board.more_members.setdefault((self.at, self.path), []).append(at)


def descendants(plan: Plan, at: int) -> set[int]:
    """Everything that comes after a job."""
    below: set[int] = set()
    stack = [at]
    while stack:
        one = stack.pop()
        for child in (*(child for child, _ in plan.out[one]), *plan.ahead.get(one, ())):
            if child not in below:
                below.add(child)
                stack.append(child)
    return below
