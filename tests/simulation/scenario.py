"""A scenario: everything that is decided before anything happens. Drawn from a seed, and made smaller when it fails."""

from __future__ import annotations

from dataclasses import dataclass, field

from headrace.pipeline.definition import Definition, RunOptions
from headrace.pipeline.facts import Path

SOON = 5.0


@dataclass(frozen=True)
class Behaviour:
    """What the worker of a node does. `only`: it misbehaves in branches of this last index alone."""

    duration: float = 0.05
    fails: tuple[int, ...] = ()
    """The attempts that fail."""
    retry_after: float | None = None
    poison: bool = False
    """Its process dies, every time."""
    stubborn: bool = False
    """It does not stop when it is asked to."""
    skips: bool = False
    chosen: tuple[str, ...] | None = None
    lengths: tuple[int, ...] = ()
    """Of its list, by branch."""
    large: bool = False
    """Its result travels by reference."""
    saves: bool = False
    """It saves to a store that honours fences."""
    graft: bytes | None = None
    """What it puts into its run."""
    graft_fails: bool = False
    """It cannot be put there."""
    spoils: bool = False
    """Its answer cannot be honoured."""
    keys: int = 1
    """Its results fall into so many groups, when somebody groups by a key."""
    reports: bool = False
    """It tells how far it is."""
    within: float | None = None
    """It begins so many seconds after its run was accepted, at the latest."""
    only: int | None = None

    def misbehaves(self, path: Path) -> bool:
        return self.only is None or (bool(path) and path[-1] == self.only)


@dataclass(frozen=True)
class RunSpec:
    id: str
    definition: Definition
    behaviours: dict[str, Behaviour]
    options: RunOptions = field(default_factory=RunOptions)
    data: bytes | None = None
    deadly: int = 0
    """So many Pipeliners die of reading it."""


@dataclass(frozen=True)
class Action:
    """Something a user does.

    submit    runs; `again` does it once more
    rerun     the same pipeline anew: runs are (the old one, the new one)
    cancel, retry, prune, follow    a run
    pause     a run, and resume it later
    drain     the Broker `number`, and let it take work again later
    sweep     prune whatever has ended
    halt      pause a role (number 1: everything), and resume it later
    """

    at: float
    client: int
    verb: str
    runs: tuple[str, ...]
    resume_after: float = 0.0
    number: int = 0


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong. What `kind`, `target` and the numbers mean stands in `faults`."""

    kind: str
    at: float
    target: int = 0
    seconds: float = 0.0
    number: int = 0
    text: str = ""
    given_up: bool = False
    """It strikes when the Router gives up a Broker, if that is soon after `at`."""

    @property
    def ends(self) -> float:
        return self.at + self.seconds + (SOON if self.given_up else 0.0)

    def __str__(self) -> str:
        parts = [f"t={self.at:.3f} {self.kind}"]
        parts += [f"#{self.target}"] if self.target else []
        parts += [f"for {self.seconds:.2f} s"] if self.seconds else []
        parts += [f"n={self.number}"] if self.number else []
        parts += ["when a Broker is given up"] if self.given_up else []
        return " ".join([*parts, self.text]).strip()


@dataclass(frozen=True)
class BrokerSpec:
    slots: int
    resources: dict[str, float] = field(default_factory=dict)
    roles: dict[str, int] | None = None
    grace: float = 20.0
    """Seconds for what runs when it is to stop."""


@dataclass(frozen=True)
class Scenario:
    seed: int
    runs: tuple[RunSpec, ...]
    actions: tuple[Action, ...]
    faults: tuple[Fault, ...]
    brokers: tuple[BrokerSpec, ...]
    pipeliners: int = 1
    clients: int = 1
    limits: dict[str, int] = field(default_factory=dict)
    window: int = 2000
    open_runs: int = 200_000
    calm_at: float = 0.0
    """From here on nothing goes wrong any more."""
    salt: int = 0
    """Another course of the same scenario: the network and the processes take other times."""

    def story(self) -> list[str]:
        """In words, for people."""
        lines = [
            f"{len(self.brokers)} Brokers with {[one.slots for one in self.brokers]} slots, "
            f"{self.pipeliners} Pipeliners, {self.clients} clients, limits {self.limits}, window {self.window}"
        ]
        for run in self.runs:
            names = [node.name for node in run.definition.nodes]
            edges = [f"{names[a]}>{names[b]}" for a, b, _ in run.definition.edges]
            lines.append(f"run {run.id} ({run.definition.on_error}): {' '.join(names)}; {' '.join(edges)}")
            for node in run.definition.nodes:
                lines.append(f"    {node} {run.behaviours.get(node.name)}")
            for kind, node in run.definition.hooks.items():
                lines.append(f"    hook {kind}: {node}")
            lines.append(f"    {run.options}" + (f" deadly {run.deadly}" if run.deadly else ""))
        lines += [
            f"t={one.at:.3f} client {one.client}: {one.verb} {' '.join(one.runs)}"
            + (f" for {one.resume_after:.2f} s" if one.resume_after else "")
            for one in self.actions
        ]
        lines += [str(fault) for fault in self.faults]
        return [*lines, f"calm from t={self.calm_at:.3f} on"]
