"""What a pipeline means: a small model, slow and obvious, that judges a run from its definition and its facts.

It shares nothing with `progress` but the words. The state of an instance is asked for by asking for the states of its
parents; nothing is counted, nothing is kept up to date. Every end has a time: the sequence of the fact that it rests
on. So it can be asked, for everything that ever began, whether it was allowed to begin when it did.

Nodes are numbered as the definition has them; then come grafted ones, as the facts bring them. The number `~at` stands
for the step before a node that gathers in groups: it closes the branches, and the groups are branches of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

from headrace.pipeline.definition import Node, unpack_definition
from headrace.pipeline.facts import Path, Returned

from .history import Line, Round
from .scenario import RunSpec

DEATHS, LOSSES, ASKED = 3, 10, 10
FAILED, SKIP, DATA, STOP, OPEN = "failed", "skip", "data", "stop", "open"
FLOWS: dict[str, frozenset[str]] = {
    "success": frozenset(),
    "skipped": frozenset({SKIP}),
    "blocked": frozenset({FAILED}),
    "failed": frozenset({FAILED}),
    "continued": frozenset({DATA}),
    "cancelled": frozenset({STOP}),
    "open": frozenset({OPEN}),
}

ALONE, LIST, OPENER, INNER, MANY, GROUPS = (
    *("alone", "a list", "an opener", "an inner opener", "one of many", "its groups"),
)
"""How an instance meets one that it waits for; what does not count then:"""
IGNORED: dict[str, set[str]] = {
    ALONE: set(), LIST: set(), OPENER: {DATA}, INNER: {DATA, SKIP}, MANY: {SKIP}, GROUPS: {DATA, SKIP, FAILED, STOP}
}  # fmt: skip
WHOLE_RUN = -1


class End(NamedTuple):
    """How an instance has ended, and by which fact. `open`: it has not."""

    state: str
    at: int = 0
    fact: Returned | None = None


class Meaning:
    """One round of a run. `before`: the round before it, of which everything good stays that has only good above it."""

    def __init__(self, spec: RunSpec, view: Round, before: Meaning | None = None) -> None:
        self.spec = spec
        self.view = view
        self.before = before
        self.definition = spec.definition
        self.nodes: list[Node] = list(spec.definition.nodes)
        self.index = {node.name: at for at, node in enumerate(self.nodes)}
        self.parents: list[list[int]] = [[] for _ in self.nodes]
        self.values: list[list[bool]] = [[] for _ in self.nodes]
        for source, target, kind in spec.definition.edges:
            self.parents[target].append(source)
            self.values[target].append(kind == "value")
        self.static = len(self.nodes)
        self.grafted: dict[tuple[str, Path], int] = {}
        """Grafted nodes, by name and by the path of their grafter."""
        self.base: dict[int, Path] = {}
        self.grafter: dict[int, int] = {}
        self.put_before: dict[int, list[int]] = {}
        """Per node: the grafted ones that it comes after."""
        self.stops: dict[int, int] = {}
        """Per group (or the whole run): the fact by which it failed as a whole."""
        self.counts = False
        """Something has failed that counts for the run."""
        self.lines = view.returned
        self.scope = cache(self._scope)
        self._forget()
        self._graft_what_is_kept()
        self._walk()
        self._forget()

    def _forget(self) -> None:
        self.state = cache(self._state)
        self.kept = cache(self._kept)

    # What the facts bring about, in their order --------------------------------------------------------------------

    def _walk(self) -> None:
        """Grafts, and failures that stop others: an end that comes after the stop brings nothing about."""
        lines = [(line.sequence, place, line) for place, lines in self.lines.items() for line in lines]
        for sequence, (name, path), line in sorted(lines, key=lambda one: one[0]):
            at = self.find(name, path)
            if at is None:
                continue
            end = self.own_end(at, path)
            if end.at != sequence or 0 < self.stopped(at) < sequence:
                continue
            if end.state == "success":
                self._graft(at, path, line.fact)
            elif end.state == "failed" and self.policy(at) != "continue":
                self._escalate(at, sequence)

    def _escalate(self, at: int, sequence: int) -> None:
        """It fails, and so does what is around it, as far as policies say."""
        policy, domain = self.policy(at), self.domain(at)
        while policy == "fail":
            self.stops.setdefault(domain, sequence)
            if domain == WHOLE_RUN:
                break
            policy, domain = self._around(self.supersets(domain))
        self.counts = self.counts or policy != "continue"

    def _graft(self, at: int, path: Path, fact: Returned) -> None:
        if fact.signs is None or fact.signs.graft is None or fact.signs.skip is not None:
            return
        new = unpack_definition(fact.signs.graft)
        first, count = len(self.nodes), len(new.nodes)
        for number, node in enumerate(new.nodes):
            self.nodes.append(node)
            self.grafted[node.name, path] = first + number
            self.base[first + number], self.grafter[first + number] = path, at
            self.parents.append([first + source for source, target, _ in new.edges if target == number])
            self.parents[-1] = self.parents[-1] or [at]
            self.values.append([])
        for source, target, _ in new.edges:
            if target >= count:
                self.put_before.setdefault(self.index[new.outside[target - count]], []).append(first + source)

    def _graft_what_is_kept(self) -> None:
        """Of the round before."""
        for at in range(self.static) if self.before is not None else ():
            for path in self.paths(self.scope(at)):
                fact = self.kept(at, path).fact
                if fact is not None and fact.signs is not None and fact.signs.graft is not None:
                    self._graft(at, path, fact)
                    self._forget()

    # Branches -------------------------------------------------------------------------------------------------------

    def find(self, name: str, path: Path) -> int | None:
        at = self.index.get(name)
        return self.grafted.get((name, path)) if at is None else at

    def reach(self, at: int) -> tuple[int, ...]:
        return self.scope(at) + ((at,) if at >= 0 and self.nodes[at].spread else ())

    def groups(self, at: int) -> bool:
        """Does it gather in groups?"""
        rule = self.nodes[at].gather
        return rule is not None and (rule.by is not None or rule.size is not None)

    def _scope(self, at: int) -> tuple[int, ...]:
        if at in self.grafter:
            return self.scope(self.grafter[at])
        if at >= 0 and self.groups(at):
            return (*self.scope(~at), ~at)
        node = max(at, ~at)
        longest = max((self.reach(parent) for parent in self.parents[node]), key=len, default=())
        rule = self.nodes[node].gather
        if rule is None:
            return longest
        return longest[: len(longest) - rule.level] if rule.level is not None else ()

    def paths(self, scope: tuple[int, ...], above: Path = ()) -> list[Path]:
        if len(above) >= len(scope):
            return [above]
        return [
            path for one in range(self.length(scope[len(above)], above)) for path in self.paths(scope, (*above, one))
        ]

    def places(self, at: int) -> list[Path]:
        """The paths of all instances of a node."""
        return [self.base[at]] if at in self.base else self.paths(self.scope(at))

    def length(self, at: int, path: Path) -> int:
        if at < 0 and self.streams(~at):
            return len(self.windows(at, path))
        end = self.told(at, path)
        if end.state != "success":
            return 0
        if at < 0:
            return len(self.portions(at, path))
        return (end.fact.signs.spread or 0) if end.fact is not None and end.fact.signs is not None else 0

    def streams(self, at: int) -> bool:
        """Do its windows open before all branches have closed?"""
        rule, parents = self.nodes[at].gather, set(self.parents[at])
        if rule is None or rule.size is None or self.nodes[at].when != "success" or len(parents) > 1:
            return False
        return bool(self.grouped_from(at)) and all(len(self.reach(p)) > len(self.scope(~at)) for p in parents)

    def windows(self, at: int, path: Path) -> list[list[tuple[int, Path]]]:
        """Per window that is there: everything that had to end for it. It is cut in index order, up to what failed."""
        rule = self.nodes[~at].gather
        assert rule is not None and rule.size is not None
        found: list[list[tuple[int, Path]]] = []
        walked: list[tuple[int, Path]] = []
        items = 0
        for cell in self._walked(self.parents[~at][0], path):
            end = self.told(*cell)
            if FLOWS[end.state] & {FAILED, STOP, OPEN}:
                return found
            walked.append(cell)
            items += len(self._given(at, *cell))
            while items >= rule.size:
                items -= rule.size
                found.append(list(walked))
        if self.told(at, path).state == "success":
            items += sum(len(self._given(at, *cell)) for cell in self.before_groups(at, path))
            found += [[*walked, (at, path)]] * -(-items // rule.size)
        return found

    def _walked(self, parent: int, path: Path) -> Iterator[tuple[int, Path]]:
        """The instances of a node in index order, and openers around them when they went wrong."""
        scope = self.scope(parent)
        if len(path) == len(scope):
            yield parent, path
            return
        opener = scope[len(path)]
        for one in range(self.length(opener, path)):
            yield from self._walked(parent, (*path, one))
        if FLOWS[self.told(opener, path).state] & {FAILED, STOP, OPEN}:
            yield opener, path

    def portions(self, at: int, path: Path) -> list[list[tuple[int, Path]]]:
        """What has closed, in groups."""
        rule = self.nodes[~at].gather
        assert rule is not None
        items = self._items(at, path)
        if rule.size is not None:
            return [items[start : start + rule.size] for start in range(0, len(items), rule.size)]
        found: dict[str, list[tuple[int, Path]]] = {}
        for parent, where in items:
            end = self.told(parent, where)
            signs = end.fact.signs if end.fact is not None and end.state == "success" else None
            key = signs.keys.get(str(rule.by)) if signs is not None else None
            if key is not None:
                found.setdefault(key, []).append((parent, where))
        return list(found.values())

    def _items(self, at: int, path: Path) -> list[tuple[int, Path]]:
        found: list[tuple[int, Path]] = []
        for parent in self.grouped_from(~at):
            for where in self.paths(self.scope(parent), path[: len(self.scope(parent))]):
                found += self._given(at, parent, where)
        for cell in self.before_groups(at, path):
            found += self._given(at, *cell)
        return found

    def before_groups(self, at: int, path: Path) -> list[tuple[int, Path]]:
        """What was grafted before a job that gathers in groups: more items, behind the others."""
        cells = [(new, self.base[new]) for new in self.put_before.get(~at, ())]
        return [cell for cell in cells if cell[1][: len(path)] == path or path[: len(cell[1])] == cell[1]]

    def _given(self, at: int, parent: int, where: Path) -> list[tuple[int, Path]]:
        """What an instance that has ended gives to be put in groups."""
        end = self.told(parent, where)
        if end.state not in ("success", "continued", "failed") or self.unchosen(parent, end, at):
            return []
        if self.nodes[parent].spread:
            return [(parent, (*where, one)) for one in range(self.length(parent, where))]
        return [(parent, where)]

    def grouped_from(self, at: int) -> list[int]:
        """The parents whose results are put in groups."""
        pairs = list(dict(zip(self.parents[at], self.values[at], strict=True)).items())
        several = [parent for parent, value in pairs if value] or [parent for parent, _ in pairs]
        return [parent for parent in several if self.nodes[parent].kind != "gate"]

    # Groups of nodes ------------------------------------------------------------------------------------------------

    def groups_of(self, at: int) -> list[int]:
        """The innermost first; those of the grafter, when it was grafted."""
        groups = self.definition.groups
        while at in self.grafter:
            at = self.grafter[at]
        return sorted((g for g, one in enumerate(groups) if at in one.members), key=lambda g: len(groups[g].members))

    def members(self, g: int) -> list[int]:
        """Grafted ones too."""
        return [at for at in range(len(self.nodes)) if g in self.groups_of(at)]

    def supersets(self, g: int) -> list[int]:
        groups = self.definition.groups
        inside_out = sorted(range(len(groups)), key=lambda one: len(groups[one].members))
        later = inside_out[inside_out.index(g) + 1 :]
        return [one for one in later if set(groups[one].members) >= set(groups[g].members)]

    def _around(self, groups: list[int]) -> tuple[str, int]:
        """The policy of the first of these that has one, and where it stands; else the run's."""
        for g in groups:
            policy = self.definition.groups[g].on_error
            if policy is not None:
                return policy, g
        return self.definition.on_error, WHOLE_RUN

    def policy(self, at: int) -> str:
        own = self.nodes[at].on_error
        if at in self.grafter:
            return own or self.policy(self.grafter[at])
        return own or self._around(self.groups_of(at))[0]

    def domain(self, at: int) -> int:
        if self.nodes[at].on_error is not None:
            return WHOLE_RUN
        return self.domain(self.grafter[at]) if at in self.grafter else self._around(self.groups_of(at))[1]

    # One instance ---------------------------------------------------------------------------------------------------

    def own_end(self, at: int, path: Path) -> End:
        """By its own facts alone: the budgets of attempts."""
        node = self.nodes[at]
        return ended(self.lines.get((node.name, path), []), node, lambda fact: self.invalid(at, fact))

    def invalid(self, at: int, fact: Returned) -> bool:
        """An answer that cannot be honoured."""
        signs, node = fact.signs, self.nodes[at]
        if signs is not None and signs.skip is not None:
            return False
        if signs is not None and signs.invalid is not None:
            return True
        behaviour = self.spec.behaviours.get(node.name)
        if signs is not None and signs.graft is not None and behaviour is not None and behaviour.graft_fails:
            return True
        if node.spread and (signs is None or signs.spread is None):
            return True
        keys = {child.gather.by for at_, child in enumerate(self.nodes[: self.static])
                if child.gather and child.gather.by
                and (at in self.grouped_from(at_) or at in self.put_before.get(at_, ()))}  # fmt: skip
        return not keys <= set(signs.keys if signs is not None else ())

    def _state(self, at: int, path: Path) -> End:
        end = self.own_end(at, path) if at >= 0 else End("open")
        if end.state == "open" and (kept := self.kept(at, path)).state != "open":
            return kept
        if end.state == "failed" and self.policy(at) == "continue":
            return End("continued", end.at, end.fact)
        if end.state != "open":
            return end
        state, since = self.joined(at, path)
        if state == "run":
            state = "success" if self.is_gate(at) else "open"
        stopped = self.stopped(at)
        if stopped and (state == "open" or since >= stopped):
            flows, _ = self._flows(at, path, self.told, stopped)
            return End("blocked" if FAILED in flows else "cancelled", stopped)
        return End(state, since)

    def told(self, at: int, path: Path) -> End:
        """The end that those after it hear of. What was stopped has ended with that, whatever comes of it later."""
        end = self.state(at, path)
        return End("cancelled", self.stopped(at), end.fact) if 0 < self.stopped(at) < end.at else end

    def _kept(self, at: int, path: Path) -> End:
        """How it stood when the round began: what was good, below nothing but good."""
        if self.before is None:
            return End("open")
        state, since = self.joined(at, path, self.kept)
        if state != "run":
            return End(state, since)
        if self.is_gate(at):
            return End("success", since)
        end = self.before.end_of(self.nodes[at].name, path)
        return end if end.state in ("success", "skipped") and end.fact is not None else End("open")

    def end_of(self, name: str, path: Path) -> End:
        at = self.find(name, path)
        return End("open") if at is None else self.state(at, path)

    def is_gate(self, at: int) -> bool:
        return at < 0 or self.nodes[at].kind == "gate"

    def when(self, at: int) -> str:
        if at >= 0 and self.groups(at):  # the step before it has asked
            return "success" if self.nodes[at].when == "success" else "always"
        return self.nodes[max(at, ~at)].when

    def stopped(self, at: int) -> int:
        """The fact that has stopped what was open of this node."""
        stops = [self.view.cancelled] if self.view.cancelled else []
        if self.when(at) == "success":
            domains = [WHOLE_RUN, *(self.groups_of(at) if at >= 0 else ())]
            stops += [self.stops[domain] for domain in domains if domain in self.stops]
        return min(stops, default=0)

    def joined(self, at: int, path: Path, state: Callable[[int, Path], End] | None = None) -> tuple[str, int]:
        """`run`, or how it ends without: by what comes from its parents; and since which fact."""
        flows, since = self._flows(at, path, state or self.told)
        when = self.when(at)
        if OPEN in flows:
            return "open", 0
        if when == "always":
            return "run", since
        if when == "failure":
            return ("run" if flows & {FAILED, DATA} else "skipped"), since
        if flows & {FAILED, STOP}:
            return "blocked", since
        return ("skipped" if SKIP in flows else "run"), since

    def _flows(
        self, at: int, path: Path, state: Callable[[int, Path], End], until: int | None = None
    ) -> tuple[set[str], int]:
        """What comes from its parents, from those alone that have ended `until` then; and since which fact."""
        flows: set[str] = set()
        since = self.view.began
        for parent, where, how in self.above(at, path):
            end = state(parent, where)
            if until is not None and (end.state == "open" or end.at > until):
                continue
            flow = set(FLOWS[end.state]) - IGNORED[how]
            if how == ALONE and self.unchosen(parent, end, at):
                flow.add(SKIP)
            flows |= flow
            since = max(since, end.at)
        return flows, since

    def above(self, at: int, path: Path) -> list[tuple[int, Path, str]]:
        """The instances that it waits for: (node, path, how it meets them)."""
        if at in self.grafter:
            return [(parent, path, ALONE) for parent in self.parents[at]]
        if at >= 0 and self.groups(at):
            if not self.streams(at):
                return [(~at, path[:-1], GROUPS)]
            windows = self.windows(~at, path[:-1])
            needed = windows[path[-1]] if path[-1] < len(windows) else [(~at, path[:-1])]
            return [(*cell, GROUPS) for cell in needed]
        found: list[tuple[int, Path, str]] = []
        node = max(at, ~at)
        gathers = self.nodes[node].gather is not None
        for parent in self.parents[node]:
            scope = self.scope(parent)
            if len(scope) <= len(path):
                closes = gathers and len(self.reach(parent)) > len(path)
                found.append((parent, path[: len(scope)], LIST if closes else ALONE))
                continue
            for depth in range(len(path), len(scope)):
                how = OPENER if depth == len(path) else INNER
                found += [(scope[depth], one, how) for one in self.paths(scope[:depth], path)]
            found += [(parent, one, MANY) for one in self.paths(scope, path)]
        for new in self.put_before.get(node, ()):
            base = self.base[new]
            if base[: len(path)] == path or path[: len(base)] == base:
                found.append((new, base, ALONE))
        return found

    def unchosen(self, parent: int, end: End, at: int) -> bool:
        signs = end.fact.signs if end.fact is not None and end.state == "success" else None
        return signs is not None and signs.chosen is not None and self.nodes[max(at, ~at)].name not in signs.chosen

    # The whole run --------------------------------------------------------------------------------------------------

    def instances(self) -> list[tuple[int, Path]]:
        return [(at, path) for at in range(len(self.nodes)) for path in self.places(at)]

    def verdict(self) -> str:
        if self.view.cancelled and WHOLE_RUN not in self.stops:
            return "cancelled"
        return "failed" if self.counts else "success"

    # Hooks of groups ------------------------------------------------------------------------------------------------

    def began(self, at: int, path: Path) -> bool:
        """Something of it had come back before it was stopped, or in the round before."""
        stopped = self.stopped(at)
        lines = self.lines.get((self.nodes[at].name, path), [])
        return any(not stopped or line.sequence <= stopped for line in lines) or self.kept(at, path).fact is not None

    def group_end(self, g: int) -> tuple[str, int]:
        """How a group has ended, and by which fact; `open`, and `idle` for one that never began."""
        flows: set[str] = set()
        last = 0
        begun = False
        for at in self.members(g):
            for path in self.places(at):
                end = self.told(at, path)
                begun = begun or self.began(at, path)
                flows |= FLOWS[end.state]
                last = max(last, end.at)
            for depth, opener in enumerate(self.scope(at)):  # what has no branches ends as its opener does
                ends = [self.state(opener, path) for path in self.paths(self.scope(at)[:depth])]
                flows |= {flow for end in ends for flow in FLOWS[end.state]} - {DATA}
                last = max([last, *(end.at for end in ends)])
        if OPEN in flows:
            return "open", 0
        if not begun:
            return "idle", last
        return ("failed" if FAILED in flows else "cancelled" if STOP in flows else "success"), last


def ended(lines: list[Line], node: Node, invalid: Callable[[Returned], bool]) -> End:
    """How the attempts of an instance have ended it."""
    failures = deaths = losses = 0
    rule = node.retry
    for line in lines:
        fact, at = line.fact, line.sequence
        signs = fact.signs
        match fact.kind:
            case "success":
                if invalid(fact):
                    return End("failed", at, fact)
                return End("skipped" if signs is not None and signs.skip is not None else "success", at, fact)
            case "cancelled":
                return End("cancelled", at, fact)
            case "expired":
                return End("failed", at, fact)
            case "died":
                deaths += fact.charged
                if deaths >= DEATHS:
                    return End("failed", at, fact)
            case "lost":
                losses += fact.charged
                if losses >= LOSSES:
                    return End("failed", at, fact)
            case _ if fact.charged:
                failures += 1
                asked = signs is not None and signs.retry_after is not None
                tries = rule.tries if rule else ASKED if asked else 1
                if failures >= tries:
                    return End("failed", at, fact)
    return End("open")
