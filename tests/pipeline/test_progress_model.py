"""Random pipelines, random outcomes, random order: the machine against a model that is slow and obvious.

The model has no counters and no order. It asks for the state of an instance by asking for the states of its parents.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache

from driving import Drive, bad
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from msgspec import structs

from headrace.pipeline.definition import Definition, GatherRule, Group, Node, pack_definition
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.facts import Cancelled, Path, Reopened, Returned, Signs
from headrace.pipeline.plan import Plan
from headrace.pipeline.progress import Progress
from headrace.pipeline.states import (
    BLOCKED,
    CANCELLED,
    CONTINUED,
    FAILED,
    NAMES,
    OPEN,
    SKIPPED,
    STEPS,
    SUCCESS,
    WAITING,
)
from headrace.pipeline.task import Ready

FAILURE, SKIP, DATA = "failure", "skip", "data"
MEANS = {"success": set(), "failed": {FAILURE}, "blocked": {FAILURE}, "skipped": {SKIP}, "continued": {DATA}}
CODES = {"success": SUCCESS, "failed": FAILED, "blocked": BLOCKED, "skipped": SKIPPED, "continued": CONTINUED}


@st.composite
def definitions(draw, policies=("block", "continue"), branches=True):
    count = draw(st.integers(1, 8))
    nodes, edges = [], []
    for at in range(count):
        gather = draw(st.sampled_from([None, None, None, *_rules()])) if branches else None
        kind = draw(st.sampled_from(["job"] * 6 + ["gate"]))
        nodes.append(
            Node(
                name=f"n{at}",
                kind=kind,
                spread=branches and kind == "job" and draw(st.integers(0, 3)) == 0,
                gather=gather,
                bind="store" if gather is None else "gather",
                when=draw(st.sampled_from(["success"] * 4 + ["failure", "always"])),
                on_error=draw(st.sampled_from([None, None, *policies])),
            )
        )
        parents = draw(st.sets(st.integers(0, at - 1), max_size=3)) if at else set()
        edges += [(parent, at, "order" if gather is None else "value") for parent in sorted(parents)]
    definition = Definition(nodes=tuple(nodes), edges=tuple(edges), on_error=draw(st.sampled_from(policies)))
    try:
        Plan(definition)
    except DefinitionError:
        assume(False)
    return definition


def _rules():
    return [GatherRule(), GatherRule(level=1), GatherRule(size=2), GatherRule(by="k")]


class Outcomes:
    """What each instance does, the same whenever it is asked: an outcome is drawn from its name, path and a seed."""

    def __init__(self, definition: Definition, seed: int) -> None:
        self.seed = seed
        self.plan = Plan(definition)
        self.children = {at: sorted(self.plan.children_of(at)) for at in range(self.plan.count)}

    def of(self, name: str, path: Path) -> Signs | None:
        """The signs of a success; None: it fails."""
        dice = random.Random(f"{self.seed} {name} {path}")
        at = self.plan.index[name]
        luck = dice.random()
        if luck < 0.12:
            return None
        if luck < 0.2:
            return Signs(skip="luck")
        chosen = None
        if luck < 0.35 and self.children[at]:
            chosen = tuple(dice.sample(self.children[at], dice.randint(0, len(self.children[at]))))
        keys = {key: dice.choice(["1", "2"]) for key in self.plan.report.get(at, ())}
        return Signs(spread=dice.choice([0, 1, 2, 3]) if self.plan.nodes[at].spread else None, chosen=chosen, keys=keys)

    def __call__(self, ready: Ready) -> Returned:
        signs = self.of(ready.job, ready.path)
        if signs is None:
            return bad(ready)
        return Returned(ready.job, ready.path, ready.attempt, "success", round=ready.round, signs=signs)


class Model:
    def __init__(self, definition: Definition, outcomes: Outcomes) -> None:
        self.nodes = definition.nodes
        self.policy = definition.on_error
        self.outcomes = outcomes
        self.parents = {at: [p for p, target, _ in definition.edges if target == at] for at in range(len(self.nodes))}
        self.state = cache(self._state)
        self.scope = cache(self._scope)
        self.groups = cache(self._groups)

    def groups_own(self, at: int) -> bool:
        rule = self.nodes[at].gather
        return rule is not None and (rule.by is not None or rule.size is not None)

    def reach(self, at: int) -> tuple:
        return self.scope(at) + ((at,) if self.nodes[at].spread else ())

    def _scope(self, at: int) -> tuple:
        return self.closed(at) + ((("groups", at),) if self.groups_own(at) else ())

    def closed(self, at: int) -> tuple:
        longest = max((self.reach(p) for p in self.parents[at]), key=len, default=())
        rule = self.nodes[at].gather
        if rule is None:
            return longest
        return longest[: len(longest) - rule.level] if rule.level is not None else ()

    def length(self, opener, path: Path) -> int:
        if isinstance(opener, tuple):
            return len(self.groups(opener[1], path))
        if self.state(opener, path) != "success":
            return 0
        return self.outcomes.of(self.nodes[opener].name, path).spread or 0

    def paths(self, scope: tuple, above: Path = ()) -> list[Path]:
        if len(above) == len(scope):
            return [above]
        return [p for i in range(self.length(scope[len(above)], above)) for p in self.paths(scope, (*above, i))]

    def unchosen(self, parent: int, path: Path, at: int) -> bool:
        if self.nodes[parent].kind == "gate" or self.state(parent, path) != "success":
            return False
        signs = self.outcomes.of(self.nodes[parent].name, path)
        return signs.chosen is not None and self.nodes[at].name not in signs.chosen

    def meaning(self, parent: int, path: Path, at: int) -> set[str]:
        own = set(MEANS[self.state(parent, path)])
        return own | {SKIP} if self.unchosen(parent, path, at) else own

    def arriving(self, at: int, path: Path) -> set[str]:
        """What comes from above to the join at this path (of `closed`)."""
        found: set[str] = set()
        depth = len(self.closed(at))
        for parent in self.parents[at]:
            scope = self.scope(parent)
            if len(self.reach(parent)) <= depth or self.nodes[at].gather is None:
                found |= self.meaning(parent, path[: len(scope)], at)
            elif len(scope) == depth:
                found |= MEANS[self.state(parent, path)]
            else:
                found |= self.gathered(scope, parent, path)
        return found

    def gathered(self, scope: tuple, parent: int, path: Path) -> set[str]:
        found: set[str] = set()
        for depth in range(len(path), len(scope)):
            for above in self.paths(scope[:depth], path) if depth > len(path) else [path]:
                ended = self.opener(scope[depth], above)
                found |= MEANS[ended] - {DATA} if depth == len(path) else MEANS[ended] - {DATA, SKIP}
        for one in self.paths(scope, path):
            found |= MEANS[self.state(parent, one)] - {SKIP}
        return found

    def opener(self, opener, path: Path) -> str:
        return self.joined(opener[1], path) if isinstance(opener, tuple) else self.state(opener, path)

    def joined(self, at: int, path: Path) -> str:
        """`success` when the job runs, else how it ends without."""
        found = self.arriving(at, path)
        when = self.nodes[at].when
        if when == "always" or (when == "failure" and found & {FAILURE, DATA}):
            return "success"
        if when == "failure":
            return "skipped"
        return "blocked" if FAILURE in found else "skipped" if SKIP in found else "success"

    def _groups(self, at: int, path: Path) -> list:
        if self.flows(at):
            return self.windows(at, path)
        if self.joined(at, path) != "success":
            return []
        rule, items = self.nodes[at].gather, []
        for parent in self.parents[at]:
            if self.nodes[parent].kind == "gate":
                continue
            scope = self.scope(parent)
            deep = len(scope) > len(self.closed(at))
            for one in self.paths(scope, path) if deep else [path[: len(scope)]]:
                if self.state(parent, one) in ("success", "failed", "continued") and not self.unchosen(parent, one, at):
                    items += self.items_of(parent, one)
        if rule.size:
            return [items[start : start + rule.size] for start in range(0, len(items), rule.size)]
        return list(dict.fromkeys(key for _, key in items if key is not None))

    def flows(self, at: int) -> bool:
        """Do its windows open while branches still run?"""
        node, parents = self.nodes[at], self.parents[at]
        sized = node.gather is not None and node.gather.size is not None and node.when == "success"
        if not sized or len(parents) != 1 or self.nodes[parents[0]].kind == "gate":
            return False
        return len(self.reach(parents[0])) > len(self.closed(at))

    def windows(self, at: int, path: Path) -> list:
        """Of what comes before the first branch that failed; the last one may be short when nothing has failed."""
        items: list = []
        whole = self.walk(at, self.parents[at][0], path, items)
        size = self.nodes[at].gather.size
        count = len(items) if whole and self.joined(at, path) == "success" else len(items) // size * size
        return [items[start : start + size] for start in range(0, count, size)]

    def walk(self, at: int, parent: int, path: Path, items: list) -> bool:
        """Collect in index order; False: something has failed there, and that is the end of it."""
        scope = self.scope(parent)
        if len(path) == len(scope):
            state = self.state(parent, path)
            if FAILURE not in MEANS[state] and state in ("success", "continued"):
                items += [] if self.unchosen(parent, path, at) else self.items_of(parent, path)
            return FAILURE not in MEANS[state]
        opener = scope[len(path)]
        whole = all(self.walk(at, parent, (*path, i), items) for i in range(self.length(opener, path)))
        return whole and FAILURE not in MEANS[self.opener(opener, path)]

    def items_of(self, parent: int, path: Path) -> list:
        signs = self.outcomes.of(self.nodes[parent].name, path)
        if self.nodes[parent].spread:
            return [(i, None) for i in range(signs.spread or 0)] if signs is not None else []
        return [(path, signs.keys.get("k") if signs is not None else None)]

    def _state(self, at: int, path: Path) -> str:
        node = self.nodes[at]
        ended = "success" if self.groups_own(at) else self.joined(at, path)
        if ended != "success" or node.kind == "gate":
            return ended
        signs = self.outcomes.of(node.name, path)
        if signs is None:
            return "continued" if (node.on_error or self.policy) == "continue" else "failed"
        return "skipped" if signs.skip is not None else "success"


def quick(examples: int):
    return settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck))


def compare(drive: Drive, model: Model) -> None:
    board = drive.progress.board
    for at, node in enumerate(drive.definition.nodes):
        found = {path: block.state[position] for path, block, position in board.instances(at)}
        expected = {path: CODES[model.state(at, path)] for path in model.paths(model.scope(at))}
        assert found == expected, node.name


@quick(300)
@given(definitions(), st.integers(0, 10**6))
def test_every_order_of_facts_leads_to_the_states_of_the_model(definition, seed):
    outcomes = Outcomes(definition, seed)
    model = Model(definition, outcomes)
    drive = Drive(definition, outcomes, seed).to_end()
    compare(drive, model)
    failed = any(model.state(at, path) == "failed" for at in model.parents for path in model.paths(model.scope(at)))
    assert drive.verdict == ("failed" if failed else "success")
    other = Drive(definition, outcomes, seed + 1).to_end()
    assert other.states == drive.states


@quick(200)
@given(definitions(policies=("fail", "block", "continue")), st.integers(0, 10**6), st.data())
def test_a_replay_is_equal_to_what_was_lived_through_with_repeats_rewinds_cancels_and_rounds(definition, seed, data):
    outcomes = Outcomes(definition, seed)
    drive = Drive(definition, outcomes, seed)
    dice = random.Random(seed)
    cancelled = False
    for _ in range(10_000):
        luck = dice.random()
        if luck < 0.1:
            drive.progress.rewind()
            drive.progress.validate()
        elif luck < 0.2:
            sequence, fact = dice.choice(drive.facts)
            drive.progress.apply(sequence, fact)
        elif luck < 0.22 and not cancelled:
            cancelled = True
            drive.record(Cancelled(0.0, 1, "enough"))
        elif luck < 0.3:
            same(drive.replay(), drive.progress)
        if drive.step():
            if drive.progress.round == 2:
                break
            drive.reopen()
            cancelled = False
        assert drive.live or drive.progress.has_ready() or drive.progress.conclusion() is not None
    else:
        raise AssertionError("it does not come to an end")
    same(drive.replay(), drive.progress)


def same(one: Progress, other: Progress) -> None:
    assert one.states() == other.states()
    assert one.counts() == other.counts()
    assert one.job_details() == other.job_details()
    assert (one.state, one.error, one.round, one.last) == (other.state, other.error, other.round, other.last)


@quick(150)
@given(definitions(policies=("fail",), branches=False), st.integers(0, 10**6))
def test_under_fail_nothing_that_needs_success_starts_after_the_first_failure(definition, seed):
    nodes = {node.name: node for node in definition.nodes}
    drive = Drive(definition, Outcomes(definition, seed), seed)
    failed = False
    while not drive.step():
        before = len(drive.started)
        failed = failed or any(isinstance(fact, Returned) and fact.kind == "failed" for _, fact in drive.facts)
        drive.pull()
        if failed:
            assert all(nodes[one.job].when != "success" for one in drive.started[before:])
    assert drive.verdict == ("failed" if failed or drive.error else "success")


@quick(150)
@given(definitions(policies=("fail", "block", "continue")), st.integers(0, 10**6))
def test_a_retry_of_everything_that_failed_ends_like_a_run_that_never_failed(definition, seed):
    class Mended(Outcomes):
        def of(self, name: str, path: Path) -> Signs | None:
            signs = super().of(name, path)
            return signs if signs is not None or not self.mended else Signs(spread=1, keys={"k": "1"})

    outcomes = Mended(definition, seed)
    outcomes.mended = False
    drive = Drive(definition, outcomes, seed).to_end()
    outcomes.mended = True
    drive.reopen().to_end()
    compare(drive, Model(definition, outcomes))
    assert drive.verdict == "success"


class Watched(Drive):
    """Every change of a state has to be a way through the table of steps."""

    def record(self, fact):
        before = {} if isinstance(fact, Reopened) else self.cells()
        sequence = super().record(fact)
        for cell, state in {} if isinstance(fact, Reopened) else self.cells().items():
            allowed = REACHED[before.get(cell, WAITING)]
            assert state in allowed, (cell, NAMES[before.get(cell, WAITING)], NAMES[state])
        return sequence

    def cells(self) -> dict:
        board, plan = self.progress.board, self.progress.plan
        return {
            (plan.names[at], path): block.state[position]
            for at in plan.jobs()
            for path, block, position in board.instances(at)
        }


def reached() -> dict[int, set[int]]:
    """From each state, all that steps lead to; the state itself is one of them."""
    ways = {state: {state} for state in NAMES}
    for _ in NAMES:
        for (state, _event), following in STEPS.items():
            ways[state] |= ways[following]
    return ways


REACHED = reached()


def test_what_has_ended_stays_so_but_for_outcomes_that_come_after_a_stop():
    for state in NAMES:
        if state >= OPEN and state != CANCELLED:
            assert REACHED[state] == {state}
    assert REACHED[CANCELLED] == {CANCELLED, SUCCESS, SKIPPED, FAILED}


@quick(150)
@given(definitions(policies=("fail", "block", "continue")), st.integers(0, 10**6))
def test_every_change_of_a_state_is_a_step_of_the_table(definition, seed):
    drive = Watched(definition, Outcomes(definition, seed), seed)
    dice = random.Random(seed)
    while not drive.step():
        if dice.random() < 0.03:
            drive.record(Cancelled(0.0, 1, "enough"))
    drive.reopen().to_end()


@quick(100)
@given(definitions(policies=("fail", "block", "continue")), st.integers(0, 10**6))
def test_outcomes_that_come_after_the_stop_change_no_verdict_and_start_nothing(definition, seed):
    """Whoever is told to stop returns in its own way instead, as if the stop had come too late."""

    class Deaf(Watched):
        def halt(self) -> None:
            for cell in self.progress.halts():
                if (ready := self.live.pop(cell, None)) is not None:
                    self.record(self.behaviour(ready))

    prompt = Drive(definition, Outcomes(definition, seed), seed).to_end()
    deaf = Deaf(definition, Outcomes(definition, seed), seed).to_end()
    assert deaf.verdict == prompt.verdict
    assert deaf.error == prompt.error
    assert sorted((one.job, one.path) for one in deaf.started) == sorted((one.job, one.path) for one in prompt.started)


class Planting(Outcomes):
    """Some results graft jobs, before a descendant or not; those may graft again, and some grafts cannot be."""

    def __call__(self, ready: Ready) -> Returned:
        dice = random.Random(f"graft {self.seed} {ready.job} {ready.path}")
        if ready.job in self.plan.index:
            returned = super().__call__(ready)
        else:
            spread = dice.choice([0, 2]) if ready.job.endswith("s") else None
            returned = Returned(
                ready.job, ready.path, ready.attempt, "success", round=ready.round, signs=Signs(spread=spread)
            )
        if returned.kind != "success" or returned.signs.skip is not None or dice.random() < 0.5 or len(ready.job) > 12:
            return returned
        signs = structs.replace(returned.signs, graft=self.graft(dice, ready.job))
        return structs.replace(returned, signs=signs)

    def graft(self, dice: random.Random, job: str) -> bytes:
        spreading = dice.random() < 0.3
        nodes = [
            Node(name=f"{job}x", on_error="block"),
            Node(name=f"{job}y{'s' if spreading else ''}", spread=spreading),
        ]
        edges = [(0, 1, "order")] if dice.random() < 0.5 else []
        outside = ()
        if dice.random() < 0.7 and job in self.plan.index:
            outside = (dice.choice(self.plan.names[: self.plan.count]),)
            edges.append((dice.choice([0, 0, 0, 1]), 2, "order"))
        groups = tuple(self.groups(dice, job, spreading)) if dice.random() < 0.5 else ()
        return pack_definition(Definition(nodes=tuple(nodes), edges=tuple(edges), outside=outside, groups=groups))

    def groups(self, dice: random.Random, job: str, spreading: bool) -> Iterator[Group]:
        """One around the first job, perhaps, and one around all, perhaps; with hooks of some kinds."""
        for title, members in (("inner", (0,)), ("outer", (0, 1))):
            if dice.random() < 0.7:
                kinds = dice.sample(["success", "failure", "always"], dice.randint(0, 3))
                hooks = {kind: tuple(Node(name=f"{at}") for at in range(dice.randint(1, 2))) for kind in kinds}
                on_error = dice.choice([None, "fail", "block", "continue"])
                yield Group(title=f"{job} {title}", members=members, hooks=hooks, on_error=on_error)


@quick(250)
@given(definitions(policies=("fail", "block", "continue")), st.integers(0, 10**6))
def test_grafted_runs_come_to_an_end_and_replay_alike(definition, seed):
    drive = Watched(definition, Planting(definition, seed), seed)
    dice = random.Random(seed)
    for _ in range(20_000):
        if dice.random() < 0.05:
            drive.progress.rewind()
            drive.progress.validate()
        if drive.step():
            hooks = [(one.job, one.path, one.round) for one in drive.started if one.hook]
            assert len(hooks) == len(set(hooks)), "a hook has run twice"
            if drive.progress.round == 1:
                break
            same(drive.replay(), drive.progress)
            drive.reopen()
        assert drive.live or drive.progress.has_ready() or drive.progress.conclusion() is not None
    same(drive.replay(), drive.progress)
