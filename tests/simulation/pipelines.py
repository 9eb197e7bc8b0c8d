"""Pipelines drawn from seeds: definitions with everything that one can have, and what their workers do."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from headrace.pipeline.definition import (
    Definition,
    GatherRule,
    Group,
    HookKind,
    Node,
    RetryRule,
    RunOptions,
    pack_definition,
)
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.graft import Grafting
from headrace.pipeline.plan import Plan

from .clock import WALL
from .scenario import Behaviour, RunSpec

LIMIT = "licence"
RESOURCE = "memory"
ROLE = "special"
KEY = "kind"
"""What results are grouped by."""
ENDLESS = 1e6
POLICIES = ("fail", "fail", "block", "continue")
KINDS: tuple[HookKind, ...] = ("success", "failure", "always")
SMALL, MEDIUM, LARGE = b"\x81\xa1x\x01", b"\x81\xa1x\xd9\x40" + b"y" * 64, b"\x81\xa1x\xda\x02\x00" + b"z" * 512
"""Run data: sent along, asked for (above `Rules.inline_data`), and too large for a packet together with a job's own."""


def draw_run(random: Random, id: str, earlier: list[str], branches: float = 0.4) -> RunSpec:
    """One that a Plan can be made of. `branches`: how likely it has some."""
    while True:
        spec = _run(random, id, earlier, branches)
        try:
            plan = Plan(spec.definition)
        except DefinitionError:
            continue
        return _with_grafts(random, spec, plan)


def plain_run(id: str, jobs: int, behaviour: Behaviour, chain: bool = False) -> RunSpec:
    nodes = tuple(Node(name=f"n{at}", worker="W") for at in range(jobs))
    edges = tuple((at, at + 1, "order") for at in range(jobs - 1)) if chain else ()
    definition = Definition(nodes=nodes, edges=edges, on_error="block")  # type: ignore[arg-type]
    return RunSpec(id, definition, {node.name: behaviour for node in nodes})


def changed(behaviour: Behaviour, **changes: Any) -> Behaviour:
    return replace(behaviour, **changes)


def _run(random: Random, id: str, earlier: list[str], likely: float) -> RunSpec:
    count = random.choice([1, 2, 3, 4, 5, 6, 8])
    branches = random.random() < likely
    nodes, edges, behaviours = [], [], {}
    for at in range(count):
        parents = sorted(random.sample(range(at), min(at, random.choice([0, 1, 1, 2, 3]))))
        node = _node(random, f"n{at}", branches, bool(parents))
        nodes.append(node)
        behaviours[node.name] = draw_behaviour(random, node)
        kind = "order" if node.bind in ("store", "literal") else "value"
        edges += [(parent, at, kind) for parent in parents]
    for at, node in enumerate(nodes):
        children = [nodes[child].name for parent, child, _ in edges if parent == at]
        if children and node.kind == "job" and random.random() < 0.1:
            chosen = tuple(random.sample(children, random.randint(0, len(children))))
            behaviours[node.name] = changed(behaviours[node.name], chosen=chosen)
    hooks = {kind: Node(name=kind, worker="W") for kind in KINDS if random.random() < 0.12}
    groups = _groups(random, count) if random.random() < 0.25 else ()
    for kind in hooks:
        behaviours[f"hook:{kind}"] = Behaviour(0.02, fails=(1,) if random.random() < 0.2 else ())
    definition = Definition(
        nodes=tuple(nodes), edges=tuple(edges), on_error=random.choice(POLICIES), hooks=hooks, groups=groups
    )  # type: ignore[arg-type]  # fmt: skip
    deadly = random.choice([1, 3, 5]) if random.random() < 0.03 else 0
    data = random.choice([None, SMALL, MEDIUM, LARGE])
    return RunSpec(id, definition, behaviours, draw_options(random, earlier), data, deadly)


def _node(random: Random, name: str, branches: bool, has_parents: bool) -> Node:
    luck = random.random()
    if luck < 0.06 and has_parents:
        return Node(name=name, kind="gate")
    gather = None
    if branches and has_parents and random.random() < 0.35:
        gather = _gather(random)
    more: dict[str, Any] = {}
    if random.random() < 0.2:
        delay = random.choice([0.0, 0.3, 2.0])
        more["retry"] = RetryRule(tries=random.choice([2, 3]), delay=delay, factor=2.0, jitter=random.random() < 0.5)
    if random.random() < 0.08:
        more["timeout"] = random.choice([0.2, 1.0])
    if random.random() < 0.05:
        more["queue_timeout"] = random.choice([0.5, 5.0])
    if random.random() < 0.12:
        more["limits"] = (LIMIT,)
    if random.random() < 0.08:
        more["resources"] = {RESOURCE: random.choice([1.0, 2.0])}
    if random.random() < 0.08:
        more["role"] = ROLE
    if random.random() < 0.1:
        more["priority"] = random.choice([-1, 1, 5])
    if random.random() < 0.1:
        more["on_error"] = random.choice(["fail", "block", "continue"])
    if random.random() < 0.12 and has_parents:
        more["when"] = random.choice(["failure", "always"])
    if random.random() < 0.1:
        more["data"] = LARGE
    return Node(
        name=name,
        worker="W",
        bind="gather" if gather is not None else random.choice(["store", "args", "args", "literal"]),
        spread=branches and gather is None and random.random() < 0.3,
        gather=gather,
        **more,
    )


def _gather(random: Random) -> GatherRule:
    level = random.choice([None, None, 1])
    return random.choice(
        [GatherRule(), GatherRule(level=1), GatherRule(by=KEY, level=level), GatherRule(size=2, level=level)]
    )


def _groups(random: Random, count: int) -> tuple[Group, ...]:
    """One, or two of which the second is within the first, or beside it."""
    members = sorted(random.sample(range(count), random.randint(1, count)))
    found = [_group(random, "outer", members)]
    if random.random() < 0.4:
        rest = [at for at in range(count) if at not in members]
        inner = members if random.random() < 0.6 or not rest else rest
        found.append(_group(random, "inner", sorted(random.sample(inner, random.randint(1, len(inner))))))
    return tuple(found)


def _group(random: Random, title: str, members: list[int]) -> Group:
    hooks: dict[HookKind, tuple[Node, ...]] = {}
    for kind in KINDS:
        if random.random() < 0.4:
            hooks[kind] = tuple(Node(name=f"{kind}{n}", worker="W") for n in range(random.choice([1, 1, 2])))
    policy = random.choice([None, "fail", "block", "continue"])
    return Group(title=title, members=tuple(members), hooks=hooks, on_error=policy)  # type: ignore[arg-type]


def draw_behaviour(random: Random, node: Node) -> Behaviour:
    luck = random.random()
    fails: tuple[int, ...] = ()
    if luck < 0.12:
        fails = random.choice([(1,), (1, 2), (1, 2, 3, 4, 5, 6)])
    slow = random.choice([0.0, 0.002, 0.01, 0.05, 0.2, 0.6, 2.0, 9.0 if random.random() < 0.2 else 1.0])
    return Behaviour(
        duration=slow,
        fails=fails,
        retry_after=random.choice([0.5, 3.0]) if fails and random.random() < 0.2 else None,
        poison=0.12 < luck < 0.15,
        stubborn=random.random() < 0.15,
        skips=0.15 < luck < 0.19,
        spoils=0.19 < luck < 0.21,
        lengths=tuple(random.choice([0, 1, 2, 3, 4]) for _ in range(3)) if node.spread else (),
        keys=random.choice([1, 2, 3]),
        large=random.random() < 0.1,
        saves=random.random() < 0.2,
        reports=random.random() < 0.1,
        only=random.choice([None, 0, 1]),
    )


def draw_options(random: Random, earlier: list[str]) -> RunOptions:
    more: dict[str, Any] = {}
    if random.random() < 0.15:
        more["key"] = random.choice(["k1", "k2"])
        more["on_duplicate"] = random.choice(["return", "reject", "replace"])
    if random.random() < 0.08:
        more["deadline"] = random.choice([0.5, 3.0, 12.0])
    if random.random() < 0.08:
        more["not_before"] = WALL + random.choice([1.0, 6.0])
    if earlier and random.random() < 0.15:
        more["after"] = tuple(random.sample(earlier, 1))
    if random.random() < 0.1:
        more["max_active"] = random.choice([1, 2])
    if random.random() < 0.2:
        more["priority"] = random.choice([-1, 3])
    return RunOptions(**more)


# Grafts --------------------------------------------------------------------------------------------------------------


def _with_grafts(random: Random, spec: RunSpec, plan: Plan) -> RunSpec:
    """Some jobs put others into their own run; now and then in a way that cannot be."""
    behaviours = dict(spec.behaviours)
    for at, node in enumerate(spec.definition.nodes):
        one = behaviours.get(node.name)
        plain = node.kind == "job" and not node.spread and one is not None and one.chosen is None
        if one is None or not plain or random.random() > 0.12:
            continue
        graft, new = _graft(random, spec.definition, at)
        packed = pack_definition(graft)
        try:
            Grafting(plan, at, (0,) * len(plan.scope[at]), packed)
        except DefinitionError:
            behaviours[node.name] = changed(one, graft=packed, graft_fails=True)
            continue
        behaviours[node.name] = changed(one, graft=packed)
        behaviours.update(new)
    return replace(spec, behaviours=behaviours)


def _graft(random: Random, definition: Definition, at: int) -> tuple[Definition, dict[str, Behaviour]]:
    count = random.choice([1, 2, 3])
    nodes, edges, behaviours = [], [], {}
    for new in range(count):
        name = f"n{at}+{new}"
        when = random.choice(["failure", "always"]) if new and random.random() < 0.15 else "success"
        policy = random.choice(["fail", "block", "continue"]) if random.random() < 0.15 else None
        node = Node(name=name, worker="W", bind=random.choice(["store", "args"]), when=when, on_error=policy)  # type: ignore[arg-type]
        nodes.append(node)
        behaviours[name] = draw_behaviour(random, node)
        kind = "order" if node.bind == "store" else "value"
        edges += [(parent, new, kind) for parent in range(new) if random.random() < 0.5]
    outside: list[str] = []
    if random.random() < 0.6:
        below = [target for source, target, _ in definition.edges if source == at]
        anywhere = range(len(definition.nodes))
        target = random.choice(below) if below and random.random() < 0.85 else random.choice(anywhere)
        outside = [definition.nodes[target].name]
        edges.append((count - 1, count, "value"))
    return Definition(nodes=tuple(nodes), edges=tuple(edges), outside=tuple(outside)), behaviours  # type: ignore[arg-type]
