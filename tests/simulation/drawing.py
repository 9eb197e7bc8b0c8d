"""Scenarios drawn from seeds.

An eighth of the seeds draws from everything; the others have a theme: runs, actions and faults that make a certain kind
of history likely, such as long jobs on Brokers that are cut off.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from headrace.pipeline.definition import Definition, GatherRule, HookKind, Node, RetryRule, RunOptions, pack_definition

from .faults import draw_faults
from .pipelines import (
    ENDLESS,
    KEY,
    KINDS,
    LIMIT,
    MEDIUM,
    RESOURCE,
    ROLE,
    SMALL,
    changed,
    draw_behaviour,
    draw_run,
    plain_run,
)
from .rare import draw_rare
from .scenario import Action, Behaviour, BrokerSpec, Fault, RunSpec, Scenario

THEMES = 8
"""The rest of a seed by this number is its theme; those that are not listed below have none."""
HALVED = 16
"""Of those that have none a quarter is about sub-runs, and a quarter about what is rare: the rest by this number is"""
BELOW, RARE = 2, 10


def draw(seed: int) -> Scenario:
    random = Random(seed)
    brokers = tuple(_broker(random, first) for first in [True] + [False] * random.choice([0, 1, 1, 2]))
    clients = random.choice([1, 1, 2])
    runs = draw_runs(random)
    actions = _actions(random, runs, clients, len(brokers))
    runs = _with_reruns(runs, actions)
    pipeliners = random.choice([1, 1, 2, 3])
    runs = _endless(random, runs, actions)
    faults = draw_faults(random, len(brokers), pipeliners, clients)
    limits = {LIMIT: random.choice([1, 2])}
    window = random.choice([2000, 2000, 2000, 2, 5])
    largest = max(len(action.runs) for action in actions)
    tight = not any(run.deadly for run in runs)
    open_runs = random.choice([200_000] * 4 + [largest if tight else 200_000])
    drawn = Scenario(seed, runs, actions, faults, brokers, pipeliners, clients, limits, window, open_runs)
    theme = {BELOW: _below, RARE: draw_rare}.get(seed % HALVED) or _THEMES.get(seed % THEMES)
    if theme is not None:
        drawn = replace(theme(random, drawn), open_runs=200_000)
    return _timed(drawn)


def _timed(scenario: Scenario) -> Scenario:
    """It gets calm when the last thing has happened."""
    ends = [fault.ends for fault in scenario.faults]
    ends += [action.at + action.resume_after for action in scenario.actions]
    return replace(scenario, calm_at=max(ends, default=0.0))


def _broker(random: Random, first: bool) -> BrokerSpec:
    """The first one can run everything."""
    roles = None if first or random.random() < 0.7 else {ROLE: 1}
    memory = 2.0 if first else random.choice([0.0, 1.0, 4.0])
    return BrokerSpec(random.choice([1, 2, 3]), {RESOURCE: memory}, roles)


def draw_runs(random: Random) -> tuple[RunSpec, ...]:
    runs: list[RunSpec] = []
    for number in range(random.choice([1, 2, 3, 3, 4, 5])):
        runs.append(draw_run(random, f"run{number:02d}", [run.id for run in runs]))
    return tuple(runs)


def _with_reruns(runs: tuple[RunSpec, ...], actions: tuple[Action, ...]) -> tuple[RunSpec, ...]:
    known = {run.id: run for run in runs}
    again = [action.runs for action in actions if action.verb == "rerun"]
    plain = RunOptions()
    return (*runs, *(replace(known[old], id=new, options=plain, deadly=0) for old, new in again))


def _endless(random: Random, runs: tuple[RunSpec, ...], actions: tuple[Action, ...]) -> tuple[RunSpec, ...]:
    """Some jobs of runs that will be cancelled for sure only end when they are stopped."""
    cancelled = {run for action in actions if action.verb == "cancel" for run in action.runs}
    again = {run for action in actions if action.verb == "retry" for run in action.runs}
    found: list[RunSpec] = []
    for run in runs:
        names = [node.name for node in run.definition.nodes if node.kind == "job"]
        if run.id in cancelled - again and run.options.key is None and names and random.random() < 0.5:
            name = random.choice(names)
            behaviours = {**run.behaviours, name: changed(run.behaviours[name], duration=ENDLESS)}
            run = replace(run, behaviours=behaviours)
        found.append(run)
    return tuple(found)


# What users do ------------------------------------------------------------------------------------------------------


def _actions(random: Random, runs: tuple[RunSpec, ...], clients: int, brokers: int) -> tuple[Action, ...]:
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
    if random.random() < 0.1:
        actions.append(
            Action(random.random() * 8, 0, "drain", (), random.choice([0.5, 4.0]), random.randrange(brokers))
        )
    if random.random() < 0.08:
        actions.append(Action(random.random() * 15, 0, "sweep", ()))
    if random.random() < 0.08:
        actions.append(Action(random.random() * 4, 0, "halt", (), random.choice([0.5, 4.0]), random.randint(0, 1)))
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
    if random.random() < 0.08:
        found.append(Action(at + random.choice([1.0, 4.0, 12.0]), client, "prune", (run,)))
    if random.random() < 0.06:
        found.append(Action(at + random.choice([1.0, 6.0]), client, "rerun", (run, f"{run}b")))
    return found


# Themes -------------------------------------------------------------------------------------------------------------


def _far(random: Random, drawn: Scenario) -> Scenario:
    """Long jobs on two Brokers, of which one is cut off, stands still, or loses its process only."""
    jobs = random.choice([2, 3, 4])
    long = random.choice([2.0, 9.5, 11.0, 14.0])
    run = plain_run("run00", jobs, Behaviour(long, saves=random.random() < 0.7, large=random.random() < 0.3))
    target, at = random.randrange(2), 1.0 + random.random() * 4
    beat = at + random.random() * 2
    faults = random.choice(
        [
            [Fault("link.cut", at, target, 14.0, random.randint(0, 1), random.choice(["both", "to", "from"]))],
            [Fault("broker.freeze", at, target, 12.0 + random.random() * 4)],
            [Fault("machine.freeze", at, target, 9.5 + random.random() * 4)],
            [Fault("machine.freeze", at, target, 13.0 + random.random() * 4)],
            [  # its heartbeats arrive, the answers late; then nothing arrives
                Fault("link.cut", at, target, 3.0 + random.random() * 2.5, 1, "from"),
                Fault("link.cut", beat, target, 20.0, 0, "to"),
            ],
            [Fault("link.cut", at, target, 13.0, random.randint(0, 1), "both"), Fault("router.kill", beat)],
            [
                Fault("router.freeze", at, 0, 9.0 + random.random() * 4),
                Fault("link.cut", at - 0.3, target, 14.5, 0, "to"),
            ],
        ]
    )
    action = Action(0.3, 0, "submit", ("run00",))
    slots = (BrokerSpec(2, {RESOURCE: 2.0}), BrokerSpec(2, {RESOURCE: 2.0}))
    return replace(drawn, runs=(run,), actions=(action,), faults=tuple(faults), brokers=slots)


def _ends(random: Random, drawn: Scenario) -> Scenario:
    """Short runs that are cancelled, paused and tried again at about the time when they end, on a slow disk."""
    runs = tuple(draw_run(random, f"run{n:02d}", []) for n in range(random.choice([2, 3, 4])))
    quick = [
        replace(run, options=RunOptions(), deadly=0, behaviours={
            name: replace(one, duration=min(one.duration, 0.3)) for name, one in run.behaviours.items()
        })
        for run in runs
    ]  # fmt: skip
    actions = [Action(0.3, 0, "submit", tuple(run.id for run in runs))]
    for run in runs:
        for _ in range(random.choice([1, 2, 3])):
            verb = random.choice(["cancel", "cancel", "pause", "retry", "prune"])
            actions.append(Action(0.4 + random.random() * random.choice([1.0, 5.0]), 0, verb, (run.id,), 0.2))
    faults: list[Fault] = []
    if random.random() < 0.8:
        faults.append(Fault("disk.slow", random.random(), 0, 6.0, random.choice([1, 3])))
    if random.random() < 0.3:
        faults.append(Fault("pipeliner.kill", random.random() * 5, 0))
    if random.random() < 0.3:
        faults.append(Fault("router.kill", random.random() * 5))
    return replace(drawn, runs=tuple(quick), actions=tuple(sorted(actions, key=lambda one: one.at)),
                   faults=tuple(faults), pipeliners=2)  # fmt: skip


def _storm(random: Random, drawn: Scenario) -> Scenario:
    """Many quick jobs in bad weather."""
    behaviour = Behaviour(random.choice([0.0, 0.002, 0.02]))
    runs = tuple(plain_run(f"run{n:02d}", random.choice([5, 20, 40]), behaviour) for n in range(3))
    actions = tuple(Action(0.5 + 2.0 * n, 0, "submit", (run.id,)) for n, run in enumerate(runs))
    faults = [Fault("weather", 0.2, 0, 8.0, 3), Fault("weather", random.random() * 2, 0, 6.0, random.choice([1, 2]))]
    if random.random() < 0.4:
        faults.append(Fault("router.kill", random.random() * 6))
    return replace(drawn, runs=runs, actions=actions, faults=tuple(faults))


def _back(random: Random, drawn: Scenario) -> Scenario:
    """A Broker comes back after restarts of the Router; meanwhile its run was cancelled, ended and tried again."""
    behaviour = Behaviour(random.choice([1.0, 2.0, 5.0, 9.0]), fails=random.choice([(), (), (1,)]))
    run = plain_run("run00", random.choice([1, 2, 3]), behaviour, chain=random.random() < 0.5)
    at = 0.8 + random.random()
    away = random.choice([9.8, 10.5, 11.5, 13.0]) + random.random()
    faults = [Fault("link.cut", at, 0, away, random.randint(0, 1), "both"), Fault("router.kill", at + random.random())]
    if random.random() < 0.4:
        faults.append(Fault("router.kill", at + away + random.random() * 2 - 1))
    actions = [Action(0.3, 0, "submit", ("run00",)), Action(at + random.random() * 4, 0, "cancel", ("run00",))]
    actions.append(Action(at + 9.0 + random.random() * 2, 0, "retry", ("run00",)))
    brokers = drawn.brokers[: random.choice([1, 2])]
    return replace(drawn, runs=(run,), actions=tuple(actions), faults=tuple(faults), brokers=brokers)


def _deaf(random: Random, drawn: Scenario) -> Scenario:
    """What is said to a Broker at the moment of a cancel is lost."""
    run = plain_run("run00", random.choice([1, 2, 4]), Behaviour(ENDLESS, stubborn=random.random() < 0.3))
    at = 1.0 + random.random() * 3
    brokers = len(drawn.brokers)
    faults = tuple(Fault("link.cut", at - 0.05, n, random.choice([0.1, 0.4, 2.5]), 0, "from") for n in range(brokers))
    actions = (Action(0.3, 0, "submit", ("run00",)), Action(at, 0, "cancel", ("run00",)))
    return replace(drawn, runs=(run,), actions=actions, faults=faults)


def _shapes(random: Random, drawn: Scenario) -> Scenario:
    """A list in a list, and what gathers it: all at once or level by level, in groups by key or in windows."""
    inner = random.choice([GatherRule(level=1), GatherRule(by=KEY, level=1), GatherRule(size=2, level=1)])
    outer = random.choice([GatherRule(), GatherRule(by=KEY), GatherRule(size=2), GatherRule(size=3)])
    each = random.choice(["success", "success", "always"])
    nodes = (
        Node(name="n0", worker="W", spread=True),
        Node(name="n1", worker="W", bind="args", spread=random.random() < 0.7),
        Node(name="n2", worker="W", bind="args", retry=random.choice([None, RetryRule(tries=2)])),
        Node(name="n3", worker="W", bind="gather", gather=inner, when=each),  # type: ignore[arg-type]
        Node(name="n4", worker="W", bind="args"),
        Node(name="n5", worker="W", bind="gather", gather=outer),
        Node(name="n6", worker="W", bind="gather", gather=GatherRule()),
    )
    edges = tuple((at, at + 1, "value") for at in range(6))
    policy = random.choice(["block", "continue", "continue", "fail"])
    definition = Definition(nodes=nodes, edges=edges, on_error=policy)  # type: ignore[arg-type]
    behaviours = {node.name: draw_behaviour(random, node) for node in nodes}
    quick = {
        name: replace(one, duration=min(one.duration, 0.2), only=one.only or 0) for name, one in behaviours.items()
    }
    run = RunSpec("run00", definition, quick)
    runs = (run, draw_run(random, "run01", [], branches=1.0))
    actions = [Action(0.3, 0, "submit", ("run00", "run01"))]
    for one in runs:
        if random.random() < 0.5:
            actions.append(Action(2.0 + random.random() * 5, 0, "retry", (one.id,)))
    return replace(drawn, runs=runs, actions=tuple(actions), faults=drawn.faults[:3])


def _below(random: Random, drawn: Scenario) -> Scenario:
    """Jobs that are pipelines, one within another, while the Router dies again and again."""
    behaviours: dict[str, Behaviour] = {}
    retry = random.choice([None, RetryRule(tries=2, delay=random.choice([0.0, 0.5]))])
    job = Node(
        name="n1",
        kind="pipeline",
        definition=pack_definition(_inner(random, "n1", behaviours, random.random() < 0.4)),
        data=random.choice([None, SMALL, MEDIUM]),
        bind=random.choice(["store", "args"]),
        retry=retry,
        timeout=random.choice([None, None, None, 1.0]),
        on_error=random.choice([None, "continue"]),
        when=random.choice(["success", "success", "always"]),
    )
    first = Node(name="n0", worker="W", spread=random.random() < 0.4)
    last = Node(name="n2", worker="W", bind="args", when=random.choice(["success", "always"]))
    for node in (first, last):
        behaviours[node.name] = _quick(random, node)
    edges = ((0, 1, "order" if job.bind == "store" else "value"), (1, 2, "value"))
    policy = random.choice(["fail", "block"])
    hooks: dict[HookKind, Node] = {}
    for kind in random.sample(KINDS, random.choice([0, 0, 1, 2])):
        inside = pack_definition(_inner(random, f"hook.{kind}", behaviours, False))
        hooks[kind] = Node(name=kind, kind="pipeline", definition=inside)
    definition = Definition(nodes=(first, job, last), edges=edges, on_error=policy, hooks=hooks)  # type: ignore[arg-type]
    run = RunSpec("run00", definition, behaviours, RunOptions(priority=random.choice([0, 2])), SMALL)
    actions = [Action(0.3, 0, "submit", ("run00",))]
    for verb in random.sample(["cancel", "pause", "retry", "again", "prune"], random.choice([0, 1, 2])):
        after = random.choice([0.1, 0.5, 2.0, 8.0])
        actions.append(Action(0.3 + random.random() * after, 0, verb, ("run00",), 0.5))
    strikes = [Fault("router.kill", 0.4 + random.random() * 4) for _ in range(random.choice([0, 1, 2, 4]))]
    faults = (*strikes, *drawn.faults[: random.choice([0, 1, 3])])
    return replace(drawn, runs=(run,), actions=tuple(sorted(actions, key=lambda one: one.at)), faults=faults)


def _inner(random: Random, name: str, behaviours: dict[str, Behaviour], deeper: bool) -> Definition:
    """What the job of that name runs."""
    nodes = [Node(name=f"{name}.{at}", worker="W", bind="args") for at in range(random.choice([1, 2, 3]))]
    behaviours.update({node.name: _quick(random, node) for node in nodes})
    if deeper:
        inside = pack_definition(_inner(random, f"{name}.x", behaviours, False))
        nodes.insert(random.randint(0, len(nodes)), Node(name=f"{name}.x", kind="pipeline", definition=inside))
    edges = [(at, at + 1) for at in range(len(nodes) - 1) if random.random() < 0.6]
    kinds = tuple((a, b, "order" if nodes[b].bind == "store" else "value") for a, b in edges)
    return Definition(nodes=tuple(nodes), edges=kinds)  # type: ignore[arg-type]


def _quick(random: Random, node: Node) -> Behaviour:
    one = draw_behaviour(random, node)
    return replace(one, duration=min(one.duration, 0.4), only=None)


_THEMES = {1: _far, 3: _ends, 4: _shapes, 5: _storm, 6: _back, 7: _deaf}
