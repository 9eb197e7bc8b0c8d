"""Whatever happens in whatever order: every attempt has one place and one end."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from slots_bench import Bench

from headrace.daemons.protocol import Kill, Noted, Recall
from headrace.daemons.slots.orders import KillTree, Reply, StartProcess
from headrace.daemons.slots.slot import State
from headrace.pipeline.task import Needs
from headrace.workers.messages import Leave, WorkerCard

STEPS = [
    "run",
    "run",
    "run",
    "read",
    "end",
    "end",
    "end",
    "kill",
    "recall",
    "die",
    "up",
    "wait",
    "pulse",
    "note",
    "join",
    "leave",
    "leave",
    "reload",
]
NEEDS = [
    None,
    None,
    Needs(timeout=0.5),
    Needs(limits=("licence",)),
    Needs(resources={"gpu": 1.0}),
    Needs(resources={"gpu": 2.0}),
    Needs(resources={"gpu": 0.5}),
]


class World(Bench):
    """Processes that read and end as the dice say, and a Router that keeps book."""

    def __init__(self) -> None:
        self.units: dict[int, dict[str, tuple[str, ...]]] = {}
        """By slot: what its process was made with."""
        super().__init__(slots=3, capacity=5, units={"gpu": ("0", "1")})
        self.next = 1
        self.running: list[int | None] = [None, None, None]
        self.book: dict[int, list[str]] = {}

    def step(self, what: str, dice: int) -> None:
        slot = dice % 3
        lease = 1 + dice % self.next
        match what:
            case "run":
                for _ in range(1 + dice % 7):
                    self.book[self.next] = []
                    self.run(self.next, worker=f"work{dice % 2}", needs=NEEDS[dice % len(NEEDS)])
                    self.next += 1
            case "read":
                self.begin(slot)
            case "end":
                self.finish(slot, 0.0001 * (dice % 500))
            case "kill":
                self.handle(Kill([lease]))
            case "recall":
                self.handle(Recall([lease]))
            case "die":
                self.die(slot)
            case "up":
                if self.machine.slots[slot].state is State.STARTING:
                    self.up(slot)
            case "wait":
                self.pass_time(0.01 * (dice % 400))
            case "pulse":
                self.pulse()
            case "note":
                self.handle(Noted(list(self.machine.ledger.delivery.kept)[: dice % 5]))
            case "join":
                self.join()
            case "leave":
                for effect in self.took(Reply):
                    if isinstance(effect.message, Leave) and self.machine.slots[effect.slot].state is State.LEAVING:
                        self.down(effect.slot, code=0, signal=None)
            case "reload":
                self.turn(self.machine.reload((WorkerCard("work", version=f"{dice}"),), self.now))
        for effect in self.took(KillTree):
            self.die(effect.slot)
        self.keep_book()

    def begin(self, slot: int) -> None:
        if self.running[slot] is None and self.pipes[slot] and self.machine.slots[slot].state is not State.EMPTY:
            self.running[slot] = self.read(slot)

    def finish(self, slot: int, duration: float) -> None:
        self.begin(slot)
        lease, self.running[slot] = self.running[slot], None
        if lease is not None:
            self.ended(slot, lease, duration=duration)

    def die(self, slot: int) -> None:
        if self.machine.slots[slot].state is State.EMPTY:
            return
        self.running[slot] = None
        self.down(slot)

    def down(self, slot: int, code: int | None = None, signal: int | None = 9) -> None:
        self.units.pop(slot, None)
        super().down(slot, code, signal)

    def keep_book(self) -> None:
        for effect in self.took(StartProcess):
            self.units[effect.slot] = effect.given
        shared = [unit for given in self.units.values() for unit in given.get("gpu", ())]
        whole = [slot.number for slot in self.machine.slots if slot.fit and slot.fit[0][1] >= 1.0]
        for slot in whole:
            for unit in self.units.get(slot, {}).get("gpu", ()):
                assert shared.count(unit) == 1, f"unit {unit} is in two processes: {self.units}"
        for outcome in self.outcomes():
            self.book[outcome.lease].append("ended")
        for lease in self.handed_back():
            self.book[lease].append("handed back")


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 10_000)), max_size=120))
def test_every_attempt_has_one_place_and_at_most_one_end(steps: list[tuple[str, int]]) -> None:
    world = World()
    for what, dice in steps:
        world.step(what, dice)
        for lease, ends in world.book.items():
            assert len(ends) <= 1, f"lease {lease} has ended more than once: {ends}"
            assert not (ends and lease in world.machine.ledger.attempts), f"lease {lease} has ended and is still there"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 10_000)), max_size=60))
def test_whatever_has_happened_a_stop_comes_to_its_end(steps: list[tuple[str, int]]) -> None:
    world = World()
    for what, dice in steps:
        world.step(what, dice)
    world.turn(world.machine.stop(world.now, 1.0))
    for _ in range(20):
        world.pulse()
        world.step("leave", 0)
        world.step("wait", 199)
    assert world.machine.done, world.machine.slots
