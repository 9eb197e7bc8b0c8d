"""What a pipeline means: a small model, slow and obvious, that judges a run from its definition and its facts.

It shares nothing with `progress` but the words. The state of an instance is asked for by asking for the states of its
parents; nothing is counted, nothing is kept up to date. Every end has a time: the sequence of the fact that it rests
on. So it can be asked, for everything that ever began, whether it was allowed to begin when it did.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from headrace.pipeline.facts import Finished, Path, Returned

from .history import Begun, History, Round, RunView, Violation
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

ALONE, LIST, OPENER, INNER, MANY = "alone", "a list", "an opener", "an inner opener", "one of many"
"""How an instance meets one that it waits for; what does not count then:"""
IGNORED: dict[str, set[str]] = {ALONE: set(), LIST: set(), OPENER: {DATA}, INNER: {DATA, SKIP}, MANY: {SKIP}}


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
        self.nodes = list(spec.definition.nodes)
        self.index = {node.name: at for at, node in enumerate(self.nodes)}
        self.parents: list[list[int]] = [[] for _ in self.nodes]
        for source, target, _ in spec.definition.edges:
            self.parents[target].append(source)
        self.lines = view.returned
        self.state = cache(self._state)
        self.kept = cache(self._kept)
        self.scope = cache(self._scope)
        self.failing_at = 0
        self.failing_at = self._failing()
        self.state.cache_clear()
        self.kept.cache_clear()

    # Branches -------------------------------------------------------------------------------------------------------

    def reach(self, at: int) -> tuple[int, ...]:
        return self.scope(at) + ((at,) if self.nodes[at].spread else ())

    def _scope(self, at: int) -> tuple[int, ...]:
        longest = max((self.reach(parent) for parent in self.parents[at]), key=len, default=())
        rule = self.nodes[at].gather
        if rule is None:
            return longest
        return longest[: len(longest) - rule.level] if rule.level is not None else ()

    def paths(self, scope: tuple[int, ...], above: Path = ()) -> list[Path]:
        if len(above) == len(scope):
            return [above]
        return [
            path for one in range(self.length(scope[len(above)], above)) for path in self.paths(scope, (*above, one))
        ]

    def length(self, at: int, path: Path) -> int:
        end = self.state(at, path)
        if end.state != "success" or end.fact is None or end.fact.signs is None:
            return 0
        return end.fact.signs.spread or 0

    # One instance ---------------------------------------------------------------------------------------------------

    def own_end(self, name: str, path: Path) -> End:
        """By its own facts alone: the budgets of attempts."""
        failures = deaths = losses = 0
        node = self.nodes[self.index[name]] if name in self.index else None
        rule = node.retry if node else None
        for line in self.lines.get((name, path), []):
            fact, at = line.fact, line.sequence
            signs = fact.signs
            match fact.kind:
                case "success":
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

    def _state(self, at: int, path: Path) -> End:
        node = self.nodes[at]
        end = self.own_end(node.name, path)
        if end.state == "open" and (kept := self.kept(at, path)).state != "open":
            return kept
        if end.state == "failed" and self.policy(at) == "continue":
            return End("continued", end.at, end.fact)
        if end.state != "open":
            return end
        state, since = self.joined(at, path)
        if state == "run":
            state = "success" if node.kind == "gate" else "open"
        stopped = self.stopped(at)
        if stopped and (state == "open" or since > stopped):
            return End("cancelled", stopped)
        return End(state, since)

    def _kept(self, at: int, path: Path) -> End:
        """How it stood when the round began: what was good, below nothing but good."""
        if self.before is None:
            return End("open")
        state, since = self.joined(at, path, self.kept)
        if state != "run":
            return End(state, since)
        if self.nodes[at].kind == "gate":
            return End("success", since)
        end = self.before.state(at, path)
        return end if end.state in ("success", "skipped") and end.fact is not None else End("open")

    def policy(self, at: int) -> str:
        return self.nodes[at].on_error or self.definition.on_error

    def stopped(self, at: int) -> int:
        """The fact that has stopped what was open of this node."""
        stops = [self.view.cancelled] if self.view.cancelled else []
        if self.failing_at and self.nodes[at].when == "success":
            stops.append(self.failing_at)
        return min(stops, default=0)

    def joined(self, at: int, path: Path, state: Callable[[int, Path], End] | None = None) -> tuple[str, int]:
        """`run`, or how it ends without: by what comes from its parents; and since which fact."""
        flows: set[str] = set()
        since = self.view.began
        for parent, where, how in self.above(at, path):
            end = (state or self.state)(parent, where)
            if state is None and 0 < self.stopped(parent) < end.at:
                end = End("cancelled", self.stopped(parent))  # for those after it, it ended when it was stopped
            flow = set(FLOWS[end.state]) - IGNORED[how]
            if how == ALONE and self.unchosen(parent, end, at):
                flow.add(SKIP)
            flows |= flow
            since = max(since, end.at)
        when = self.nodes[at].when
        if OPEN in flows:
            return "open", 0
        if when == "always":
            return "run", since
        if when == "failure":
            return ("run" if flows & {FAILED, DATA} else "skipped"), since
        if flows & {FAILED, STOP}:
            return "blocked", since
        return ("skipped" if SKIP in flows else "run"), since

    def above(self, at: int, path: Path) -> list[tuple[int, Path, str]]:
        """The instances that it waits for: (node, path, how it meets them)."""
        found: list[tuple[int, Path, str]] = []
        gathers = self.nodes[at].gather is not None
        for parent in self.parents[at]:
            scope = self.scope(parent)
            if len(scope) <= len(path):
                closes = gathers and len(self.reach(parent)) > len(path)
                found.append((parent, path[: len(scope)], LIST if closes else ALONE))
                continue
            for depth in range(len(path), len(scope)):
                how = OPENER if depth == len(path) else INNER
                found += [(scope[depth], one, how) for one in self.paths(scope[:depth], path)]
            found += [(parent, one, MANY) for one in self.paths(scope, path)]
        return found

    def unchosen(self, parent: int, end: End, at: int) -> bool:
        signs = end.fact.signs if end.fact is not None and end.state == "success" else None
        return signs is not None and signs.chosen is not None and self.nodes[at].name not in signs.chosen

    # The whole run --------------------------------------------------------------------------------------------------

    def instances(self) -> list[tuple[int, Path]]:
        return [(at, path) for at in range(len(self.nodes)) for path in self.paths(self.scope(at))]

    def _failing(self) -> int:
        """The first fact by which the run fails as a whole."""
        found = [
            end.at
            for at, path in self.instances()
            if self.policy(at) == "fail" and (end := self.own_end(self.nodes[at].name, path)).state == "failed"
        ]
        first = min(found, default=0)
        return 0 if self.view.cancelled and first > self.view.cancelled else first

    def verdict(self) -> str:
        if self.view.cancelled and not self.failing_at:
            return "cancelled"
        failed = [self.state(at, path) for at, path in self.instances() if self.policy(at) != "continue"]
        return "failed" if any(end.state == "failed" for end in failed) else "success"


def check(spec: RunSpec, view: RunView, history: History) -> None:
    """Raises `Violation` when a run that is over did not go as its definition says."""
    meaning: Meaning | None = None
    for one in view.rounds:
        meaning = Meaning(spec, one, meaning)
        if _waited_in_vain(view, one):
            _check_after(view, one, history)
        elif one.finished is not None:
            _check_round(meaning, view, one.finished, history)


def _check_round(meaning: Meaning, run: RunView, finished: Finished, history: History) -> None:
    expected = meaning.verdict()
    if finished.verdict != expected:
        raise Violation("G3 verdict", f"run {run.id} ended {finished}, and its facts say {expected}")
    _check_error(meaning, run, finished)
    _check_begun(meaning, run, history)
    _check_hooks(meaning, run, finished)
    if meaning.view.cancelled or meaning.failing_at:
        return
    open_ones = [(at, path) for at, path in meaning.instances() if meaning.state(at, path).state == "open"]
    if open_ones:
        raise Violation("G7 everything runs", f"run {run.id} ended {finished.verdict} without {open_ones}")


def _waited_in_vain(view: RunView, one: Round) -> bool:
    """It never began, because of a run that it was to come after."""
    error = one.finished.error if one.finished is not None else None
    return bool(view.options.after) and error is not None and error.reason.startswith("it waits for run")


def _check_after(view: RunView, one: Round, history: History) -> None:
    known = [history.runs[name] for name in view.options.after if name in history.runs]
    ends = [end.finished for run in known for end in run.rounds if end.finished and end.finished_seq < one.finished_seq]
    if one.returned or any(end is not None and end.verdict == "success" for end in ends):
        raise Violation("after", f"run {view.id} has {view.rounds}; it came after {ends}")


def _check_error(meaning: Meaning, run: RunView, finished: Finished) -> None:
    error = finished.error
    if (finished.verdict == "success") != (error is None):
        raise Violation("G3 verdict", f"run {run.id}: {finished}")
    if finished.verdict == "failed" and error is not None:
        known = error.job in meaning.index
        if not known or meaning.own_end(str(error.job), error.path).state != "failed":
            raise Violation("G3 verdict", f"run {run.id} failed of {error}, which has not failed")


def _check_begun(meaning: Meaning, run: RunView, history: History) -> None:
    """Everything that ever began was allowed to, when it did."""
    cells = set(meaning.instances())
    for (name, round, job, path), leases in history.leases_of.items():
        if name != run.id or round != meaning.view.number or job.startswith("hook:"):
            continue
        at = meaning.index.get(job)
        if at is None or (at, path) not in cells or meaning.nodes[at].kind == "gate":
            raise Violation("G7 parents first", f"{job}{list(path)} of run {run.id} began, and there is no such job")
        if meaning.kept(at, path).state != "open":
            raise Violation("G8 rounds", f"{job}{list(path)} of run {run.id} began again, and stays as it was")
        for lease in leases:
            _check_allowed(meaning, at, path, history.begun[lease], history)
    for job, path in meaning.lines:
        if not job.startswith("hook:") and (meaning.index.get(job), path) not in cells:
            raise Violation("G7 parents first", f"{job}{list(path)} of run {run.id} has facts, and is no instance")


def _check_allowed(meaning: Meaning, at: int, path: Path, begun: Begun, history: History) -> None:
    state, since = meaning.joined(at, path)
    stopped = meaning.failing_at or meaning.view.cancelled
    if state != "run" and not (stopped and meaning.nodes[at].when != "success"):
        parents = [(meaning.nodes[p].name, where, meaning.state(p, where)) for p, where, _ in meaning.above(at, path)]
        raise Violation("G7 parents first", f"{begun} began, and should be {state}: {parents}")
    if since > begun.synced:
        raise Violation("G7 parents first", f"{begun} began at fact {begun.synced}, its parents ended with {since}")
    for parent, where, _ in meaning.above(at, path):
        for lease in history.leases_of.get(
            (begun.instance[0], begun.instance[1], meaning.nodes[parent].name, where), []
        ):
            other = history.begun[lease]
            if other.began < begun.began and other.runs_at(begun.began) and not other.excused:
                raise Violation("G7 parents first", f"{begun} began while {other}")


def _check_hooks(meaning: Meaning, run: RunView, finished: Finished) -> None:
    """Hooks of the verdict ran to an end once, others never."""
    called = {"success": {"success", "always"}, "failed": {"failure", "always"}, "cancelled": {"always"}}
    if finished.error is not None and "nobody is given it" in finished.error.reason:
        return  # it was cancelled because it kills whoever judges it: there is nobody to run hooks
    wanted = called[finished.verdict] & set(meaning.definition.hooks)
    for kind in ("success", "failure", "always"):
        lines = meaning.lines.get((f"hook:{kind}", ()), [])
        if bool(lines) != (kind in wanted):
            raise Violation("G7 hooks once", f"hook {kind} of run {run.id} ({finished.verdict}): {lines}")
    if bool(wanted) != (meaning.view.ending is not None):
        raise Violation("G7 hooks once", f"run {run.id} has {meaning.view.ending} for the hooks {wanted}")
