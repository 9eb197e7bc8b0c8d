"""Scenarios drawn from seeds."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from headrace.pipeline.definition import Definition, GatherRule, HookKind, Node, RetryRule, RunOptions
from headrace.pipeline.errors import DefinitionError
from headrace.pipeline.plan import Plan

from .clock import WALL
from .faults import draw_faults
from .scenario import Action, Behaviour, BrokerSpec, RunSpec, Scenario

LIMIT = "licence"
RESOURCE = "memory"
ROLE = "special"
ENDLESS = 1e6
POLICIES = ("fail", "fail", "block", "continue")


def draw(seed: int) -> Scenario:
    random = Random(seed)
    brokers = tuple(_broker(random, first) for first in [True] + [False] * random.choice([0, 1, 1, 2]))
    clients = random.choice([1, 1, 2])
    runs = _runs(random)
    actions = _actions(random, runs, clients)
    pipeliners = random.choice([1, 1, 2, 3])
    runs = _endless(random, runs, actions)
    last = max(action.at + action.resume_after for action in actions)
    faults = draw_faults(random, len(brokers), pipeliners, clients)
    calm_at = max([last, *(fault.at + fault.seconds for fault in faults)])
    limits = {LIMIT: random.choice([1, 2])}
    window = random.choice([2000, 2000, 2000, 2, 5])
    largest = max(len(action.runs) for action in actions)
    tight = not any(run.deadly for run in runs)
    open_runs = random.choice([200_000] * 4 + [largest if tight else 200_000])
    return Scenario(
        seed, runs, actions, faults, brokers, pipeliners, clients, limits, window, open_runs, calm_at
    )  # fmt: skip


def _broker(random: Random, first: bool) -> BrokerSpec:
    """The first one can run everything."""
    roles = None if first or random.random() < 0.7 else {ROLE: 1}
    memory = 2.0 if first else random.choice([0.0, 1.0, 4.0])
    return BrokerSpec(random.choice([1, 2, 3]), {RESOURCE: memory}, roles)


# Runs ---------------------------------------------------------------------------------------------------------------


def _runs(random: Random) -> tuple[RunSpec, ...]:
    runs: list[RunSpec] = []
    for number in range(random.choice([1, 2, 3, 3, 4, 5])):
        while True:
            spec = _run(random, f"run{number:02d}", [run.id for run in runs])
            try:
                Plan(spec.definition)
            except DefinitionError:
                continue
            break
        runs.append(spec)
    return tuple(runs)


def _run(random: Random, id: str, earlier: list[str]) -> RunSpec:
    count = random.choice([1, 2, 3, 4, 5, 6, 8])
    branches = random.random() < 0.4
    nodes, edges, behaviours = [], [], {}
    for at in range(count):
        parents = sorted(random.sample(range(at), min(at, random.choice([0, 1, 1, 2, 3]))))
        node = _node(random, f"n{at}", branches, bool(parents))
        nodes.append(node)
        behaviours[node.name] = _behaviour(random, node)
        kind = "order" if node.bind in ("store", "literal") else "value"
        edges += [(parent, at, kind) for parent in parents]
    for at, node in enumerate(nodes):
        children = [nodes[child].name for parent, child, _ in edges if parent == at]
        if children and node.kind == "job" and random.random() < 0.1:
            chosen = tuple(random.sample(children, random.randint(0, len(children))))
            behaviours[node.name] = _with(behaviours[node.name], chosen=chosen)
    hooks = _hooks(random)
    for kind in hooks:
        behaviours[f"hook:{kind}"] = Behaviour(0.02, fails=(1,) if random.random() < 0.2 else ())
    definition = Definition(
        nodes=tuple(nodes), edges=tuple(edges), on_error=random.choice(POLICIES), hooks=hooks
    )  # type: ignore[arg-type]  # fmt: skip
    data = random.choice([None, b"\x81\xa1x\x01", b"\x81\xa1x\xd9\x40" + b"y" * 64])
    deadly = random.choice([1, 3, 5]) if random.random() < 0.03 else 0
    return RunSpec(id, definition, behaviours, _options(random, earlier), data, deadly)


def _node(random: Random, name: str, branches: bool, has_parents: bool) -> Node:
    luck = random.random()
    if luck < 0.06 and has_parents:
        return Node(name=name, kind="gate")
    gather = None
    if branches and has_parents and random.random() < 0.3:
        gather = random.choice([GatherRule(), GatherRule(), GatherRule(level=1)])
    more: dict[str, Any] = {}
    if random.random() < 0.2:
        more["retry"] = RetryRule(tries=random.choice([2, 3]), delay=random.choice([0.0, 0.3, 2.0]), factor=2.0)
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
    return Node(
        name=name,
        worker="W",
        bind="gather" if gather is not None else random.choice(["store", "args", "args", "literal"]),
        spread=branches and gather is None and random.random() < 0.3,
        gather=gather,
        **more,
    )


def _behaviour(random: Random, node: Node) -> Behaviour:
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
        lengths=tuple(random.choice([0, 1, 2, 3, 4]) for _ in range(3)) if node.spread else (),
        large=random.random() < 0.1,
        saves=random.random() < 0.2,
        only=random.choice([None, 0, 1]),
    )


def _with(behaviour: Behaviour, **changes: Any) -> Behaviour:
    return Behaviour(**{**behaviour.__dict__, **changes})


def _hooks(random: Random) -> dict[HookKind, Node]:
    kinds: list[HookKind] = ["success", "failure", "always"]
    return {kind: Node(name=kind, worker="W") for kind in kinds if random.random() < 0.12}


def _options(random: Random, earlier: list[str]) -> RunOptions:
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


def _endless(random: Random, runs: tuple[RunSpec, ...], actions: tuple[Action, ...]) -> tuple[RunSpec, ...]:
    """Some jobs of runs that will be cancelled for sure only end when they are stopped."""
    cancelled = {run for action in actions if action.verb == "cancel" for run in action.runs}
    again = {run for action in actions if action.verb == "retry" for run in action.runs}
    found: list[RunSpec] = []
    for run in runs:
        names = [node.name for node in run.definition.nodes if node.kind == "job"]
        if run.id in cancelled - again and run.options.key is None and names and random.random() < 0.5:
            name = random.choice(names)
            behaviours = {**run.behaviours, name: _with(run.behaviours[name], duration=ENDLESS)}
            run = replace(run, behaviours=behaviours)
        found.append(run)
    return tuple(found)


# What users do ------------------------------------------------------------------------------------------------------


def _actions(random: Random, runs: tuple[RunSpec, ...], clients: int) -> tuple[Action, ...]:
    actions: list[Action] = []
    at = 0.3
    groups: list[list[str]] = [[]]
    for run in runs:
        if groups[-1] and random.random() < 0.6:
            groups.append([])
        groups[-1].append(run.id)
    for group in groups:
        client = random.randrange(clients)
        actions.append(Action(at, client, "submit", tuple(group)))
        for run in group:
            actions += _more(random, at, run, clients)
        at += random.choice([0.0, 0.1, 1.0, 3.0])
    return tuple(sorted(actions, key=lambda action: action.at))


def _more(random: Random, at: float, run: str, clients: int) -> list[Action]:
    found: list[Action] = []
    client = random.randrange(clients)
    if random.random() < 0.15:
        after = random.choice([0.0, 0.05, random.random() * 0.2, 0.5, 3.0, 9.0])
        found.append(Action(at + after, client, "cancel", (run,)))
    if random.random() < 0.1:
        found.append(Action(at + random.random() * 2, client, "pause", (run,), resume_after=random.choice([0.2, 3.0])))
    if random.random() < 0.2:
        found.append(Action(at + random.random() * 12, client, "follow", (run,)))
    if random.random() < 0.15:
        found.append(Action(at + random.choice([1.0, 4.0, 12.0]), client, "retry", (run,)))
    if random.random() < 0.15:
        found.append(Action(at + random.choice([0.01, 1.0, 14.0]), client, "again", (run,)))
    return found
