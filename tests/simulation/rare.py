"""Themes for what happens once in ten thousand histories, unless somebody sees to it.

Each needs several things that have nothing to do with each other, in one order and within moments: a Broker that was
given up comes back two epochs later, before the one that has its work; an owner goes while what it has stopped does not
want to end; a greeting arrives seconds after a later one; a job loses its Broker ten times, and nobody is to blame; a
large job is in the way of nobody.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

from headrace.pipeline.definition import Definition, Node, RunOptions, pack_definition

from .pipelines import ENDLESS, LIMIT, RESOURCE, plain_run
from .scenario import Action, Behaviour, BrokerSpec, Fault, RunSpec, Scenario

HAND_ON = 9.0
"""Seconds after which a Router that has begun anew gives up who has not come back."""
LATE = 3.0
OTHER = "seat"
PATIENCE = 16.0
"""Seconds after which what needs much at once has its turn: things are held for it from the tenth on."""
SLOTS = BrokerSpec(2, {RESOURCE: 2.0})


def draw_rare(random: Random, drawn: Scenario) -> Scenario:
    return random.choice(THEMES)(random, drawn)


def _given_up(random: Random, drawn: Scenario) -> Scenario:
    """A Broker cannot be reached over the end of an epoch; the next one gives its work to the other one, and ends as
    well. When the first one comes back it is the only one there, with what it held long ago: an outcome that it could
    not tell, or a greeting of that time that was on its way ever since."""
    lost = 1.0 + random.random()
    run = plain_run(
        "run00", random.choice([2, 3]), Behaviour(random.choice([2.0, 4.0, 6.0]), large=random.random() < 0.2)
    )
    first = lost + random.random() * 1.5
    given = first + HAND_ON + random.random()
    faults = [Fault("router.kill", first)]
    if random.random() < 0.5:  # it is heard by the epoch between, and does not hear what that says
        heard = given + LATE * random.random() + 0.5
        second = heard + 2.0 + random.random()
        faults += [
            Fault("link.cut", lost, 0, heard - lost, 0, "to"),
            Fault("link.cut", lost + 0.01, 0, second + 0.3 - lost, 0, "from"),
            Fault("router.kill", second),
            Fault("link.cut", second - 0.01, 1, 5.0, 0, "both"),
        ]
    else:  # its greeting is held until the epoch after that
        still = lost + 5.2 + random.random()  # it has missed the Router by then, and its leases have not lapsed
        faults.append(Fault("broker.freeze", still, 0, given + 9.0 - still))
        faults.append(Fault("link.cut", lost, 0, given + 7.0 - lost, 1, random.choice(["to", "both"])))
        faults.append(Fault("link.cut", given - 1.0, 1, 8.0, 0, "both", given_up=True))
        if random.random() < 0.5:
            faults.append(Fault("router.kill", given - 1.0, given_up=True))
        else:
            faults.append(Fault("router.kill", given + 4.0 + random.random() * 2))
    submit = Action(0.3, 0, "submit", ("run00",))
    return replace(drawn, runs=(run,), actions=(submit,), faults=_ordered(faults), brokers=(SLOTS, SLOTS))


def _cleaning(random: Random, drawn: Scenario) -> Scenario:
    """One job fails and stops another, which takes its time to end; meanwhile the run goes to another owner, who must
    not clean up yet."""
    nodes = (
        Node(name="n0", worker="W"),
        Node(name="n1", worker="W"),
        Node(name="n2", worker="W", when="always"),
    )
    edges = random.choice([((1, 2, "order"),), ((0, 2, "order"), (1, 2, "order"))])
    behaviours = {
        "n0": Behaviour(random.choice([0.1, 0.5, 1.0]), fails=(1,)),
        "n1": Behaviour(ENDLESS, stubborn=random.random() < 0.8),
        "n2": Behaviour(0.05),
    }
    definition = Definition(nodes=nodes, edges=edges, on_error="fail")  # type: ignore[arg-type]
    faults = []
    for _ in range(random.choice([1, 2, 3])):
        at = 0.6 + random.random() * 5
        kind = random.choice(["pipeliner.stop", "pipeliner.stop", "pipeliner.kill", "router.kill", "pipeliner.freeze"])
        faults.append(Fault(kind, at, random.randrange(2), 3.0 if kind == "pipeliner.freeze" else 0.0))
    submit = Action(0.3, 0, "submit", ("run00",))
    runs = (RunSpec("run00", definition, behaviours, RunOptions()),)
    return replace(
        drawn, runs=runs, actions=(submit,), faults=_ordered(faults), brokers=(SLOTS, *drawn.brokers[1:]), pipeliners=2
    )


def _strays(random: Random, drawn: Scenario) -> Scenario:
    """What a Broker says arrives in any order, its greetings as well."""
    behaviour = Behaviour(random.choice([0.6, 2.0, 3.0]), saves=random.random() < 0.3)
    runs = tuple(plain_run(f"run{n:02d}", random.choice([3, 6, 8]), behaviour) for n in range(2))
    actions = tuple(Action(0.5 + 2.0 * n, 0, "submit", (run.id,)) for n, run in enumerate(runs))
    faults = [
        Fault("link.stray", random.random(), n, 5.0 + random.random() * 3, random.choice([2, 4, 8])) for n in range(2)
    ]
    if random.random() < 0.3:
        faults.append(Fault("router.kill", random.random() * 6))
    return replace(drawn, runs=runs, actions=actions, faults=_ordered(faults), brokers=(SLOTS, SLOTS))


def _rolling(random: Random, drawn: Scenario) -> Scenario:
    """All Brokers are stopped, again and again, before a long job has had its time."""
    brokers = (replace(SLOTS, grace=random.choice([0.5, 1.5])),) * random.choice([1, 2])
    stubborn = random.random() < 0.5
    run = plain_run("run00", random.choice([1, 2]), Behaviour(20.0, stubborn=stubborn))
    every = 9.0 if stubborn else 6.5
    faults = [
        Fault("broker.stop", 2.0 + every * step + random.random(), n) for step in range(14) for n in range(len(brokers))
    ]
    submit = Action(0.3, 0, "submit", ("run00",))
    return replace(drawn, runs=(run,), actions=(submit,), faults=_ordered(faults), brokers=brokers)


def _crowded(random: Random, drawn: Scenario) -> Scenario:
    """One job needs all that there is of something, or two things at once; many others, of a run that came first, need
    a part of it each."""
    behaviour = Behaviour(0.8)
    if random.random() < 0.5:
        needs = [Node(name=f"n{at}", worker="W", resources={RESOURCE: 1.0}) for at in range(60)]
        large = Node(name="n0", worker="W", resources={RESOURCE: 2.0})
    else:
        names = (LIMIT, OTHER)
        needs = [Node(name=f"n{at}", worker="W", limits=(names[at % 2],)) for at in range(60)]
        large = Node(name="n0", worker="W", limits=names)
    many = RunSpec("run00", Definition(nodes=tuple(needs)), {node.name: behaviour for node in needs})
    one = RunSpec("run01", Definition(nodes=(large,)), {"n0": replace(behaviour, within=PATIENCE)})
    actions = (Action(0.3, 0, "submit", ("run00",)), Action(1.0, 0, "submit", ("run01",)))
    limits = {LIMIT: 1, OTHER: 1}
    return replace(drawn, runs=(many, one), actions=actions, faults=(), brokers=(SLOTS,), limits=limits, window=2000)


def _slow_ends(random: Random, drawn: Scenario) -> Scenario:
    """Many sub-runs end on a slow disk, and what follows has to wait for it; meanwhile Brokers greet anew."""
    inside = Definition(nodes=(Node(name="n1.0", worker="W"),))
    nodes = (
        Node(name="n0", worker="W", spread=True),
        Node(name="n1", kind="pipeline", bind="args", definition=pack_definition(inside)),
        Node(name="n2", worker="W"),
    )
    count = random.choice([2, 4, 8])
    behaviours = {
        "n0": Behaviour(0.05, lengths=(count,)),
        "n1": Behaviour(random.choice([0.1, 0.5])),
        "n1.0": Behaviour(random.choice([0.02, 0.2])),
        "n2": Behaviour(0.3),
    }
    definition = Definition(nodes=nodes, edges=((0, 1, "value"),))
    runs = tuple(RunSpec(f"run{n:02d}", definition, behaviours) for n in range(2))
    faults = [
        Fault("disk.slow", 0.3 + random.random(), 0, 10.0, random.choice([1, 1, 3])),
        *(Fault("link.stray", 1.0 + random.random(), at, 9.0, 1) for at in range(2)),
    ]
    submit = Action(0.3, 0, "submit", ("run00", "run01"))
    return replace(drawn, runs=runs, actions=(submit,), faults=_ordered(faults), brokers=(SLOTS, SLOTS))


THEMES = (_given_up, _given_up, _given_up, _strays, _strays, _cleaning, _rolling, _crowded, _slow_ends, _slow_ends)
"""Those that need more luck are more of them."""


def _ordered(faults: list[Fault]) -> tuple[Fault, ...]:
    return tuple(sorted(faults, key=lambda fault: fault.at))
