"""What goes wrong, and when: drawn with the scenario, carried out by the world.

router.kill      SIGKILL; number: after so many sends of a turn; text: around transaction `number` (before, written,
                 synced)
router.power     its machine alone loses power: what was not synced is cut somewhere
router.stop      an orderly end and a new start
router.freeze    SIGSTOP and SIGCONT
disk.full        no commit succeeds for a time
disk.slow        every sync takes up to `number` seconds
disk.sync        a sync fails: nobody knows what is on disk, and the Router ends
pipeliner.kill, .freeze, .stop
broker.kill      its process alone; the warden ends the workers
broker.freeze    its process alone: workers run on until the warden ends them
broker.power     its machine: everything at once
broker.stop      an orderly end
machine.freeze   everything on a Broker's machine stands still, and goes on later
worker.die       one worker process
warden.die       all of a Broker
link.cut         between the Router and a peer; text: to, from, both; number 1: held instead of lost
link.stray       some of what a peer sends to the Router comes up to `number` seconds later than what it sends then
weather          frames are dropped, doubled, overtaken, delayed; number: how bad
client.crash     a client process; its user starts another one
clock.jump       the wall clock of a machine jumps by `number` seconds
store.down       the users' store (number 1: the values store) does not answer for a time
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from headrace.daemons.dispatch.effects import Record
from headrace.pipeline.facts import Unregistered

from .network import Weather
from .scenario import SOON, Fault

if TYPE_CHECKING:
    from .hosts import RouterHost
    from .world import World

KINDS = (
    ["router.kill"] * 6
    + ["router.power", "router.power", "router.stop", "router.freeze", "router.freeze"]
    + ["disk.full", "disk.slow", "disk.sync"]
    + ["pipeliner.kill"] * 3
    + ["pipeliner.freeze", "pipeliner.stop"]
    + ["broker.kill"] * 3
    + ["broker.freeze", "broker.freeze", "broker.power", "broker.stop", "machine.freeze"]
    + ["worker.die"] * 3
    + ["warden.die", "clock.jump", "store.down", "client.crash"]
    + ["link.cut"] * 5
    + ["weather"] * 3
)
STAGES = ("before", "written", "synced")


def draw_faults(random: Random, brokers: int, pipeliners: int, clients: int) -> tuple[Fault, ...]:
    count = random.choice([0, 1, 1, 2, 2, 3, 4, 6, 9])
    faults = [_draw(random, brokers, pipeliners, clients) for _ in range(count)]
    if random.random() < 0.4:
        faults += random.choice(STORIES)(random, random.randrange(brokers), 0.4 + random.random() * 5)
    return tuple(sorted(faults, key=lambda fault: fault.at))


def _draw(random: Random, brokers: int, pipeliners: int, clients: int) -> Fault:
    kind = random.choice(KINDS)
    at = random.choice([random.random() * 2, random.random() * 6, random.random() * 16])
    seconds, number, text = 0.0, 0, ""
    of = {"pipeliner": pipeliners, "client": clients, "broker": brokers, "machine": brokers, "worker": brokers}
    target = random.randrange(of.get(kind.split(".")[0], brokers))
    match kind:
        case "router.kill":
            how = random.random()
            if how < 0.4:
                number = random.randint(1, 6)
            elif how < 0.7:
                number, text = random.randint(1, 40), random.choice(STAGES)
        case "router.freeze" | "pipeliner.freeze" | "broker.freeze" | "machine.freeze":
            seconds = random.choice([0.3, 3.0, 7.3, 9.5, 14.0]) * (0.8 + 0.4 * random.random())
        case "disk.full":
            seconds = random.choice([0.5, 3.0, 12.0])
        case "store.down":
            seconds, number = random.choice([0.5, 3.0, 12.0, 40.0]), random.randint(0, 1)
        case "disk.slow":
            seconds, number = random.choice([2.0, 6.0]), random.choice([1, 3])
        case "link.cut":
            seconds = random.choice([0.2, 2.0, 8.0, 10.0, 15.0]) * (0.8 + 0.4 * random.random())
            text, number = random.choice(["both", "to", "from"]), random.randint(0, 1)
            target = random.randrange(brokers + pipeliners + clients)
        case "weather":
            seconds, number = random.choice([1.0, 4.0, 10.0]), random.choice([1, 2, 3])
        case "clock.jump":
            number = random.choice([-3600, -5, 5, 3600])
            target = random.randrange(brokers + 1)
        case "worker.die":
            number = random.randrange(3)
        case "pipeliner.kill" | "broker.kill":
            number = random.choice([0, 0, 1, 2])
    return Fault(kind, at, target, seconds, number, text)


# Stories: faults that only together are of interest. Each is about one Broker, from some time on ----------------------


def _missing_after_restart(random: Random, broker: int, at: float) -> list[Fault]:
    """The Router is replaced while a Broker cannot be reached, for about as long as leases last."""
    away = random.choice([3.0, 9.0, 11.0, 13.0]) + random.random()
    return [
        Fault("link.cut", at, broker, away + 0.5, random.randint(0, 1), "both"),
        Fault("router.kill", at + random.random() * 2),
    ]


def _two_restarts(random: Random, broker: int, at: float) -> list[Fault]:
    return [*_missing_after_restart(random, broker, at), Fault("router.kill", at + random.choice([2.0, 10.0, 12.0]))]


def _deaf(random: Random, broker: int, at: float) -> list[Fault]:
    """It does not hear what it is told for a moment, again and again: kills and notes are lost."""
    return [Fault("link.cut", at + step * 0.7, broker, 0.4, 0, "from") for step in range(5)]


def _late_answers(random: Random, broker: int, at: float) -> list[Fault]:
    """Answers to its heartbeats come late, and then none."""
    held = 3.0 + random.random() * 2.5
    return [
        Fault("link.cut", at, broker, held, 1, "from"),
        Fault("link.cut", at + held + 0.1, broker, 13.0, 0, "both"),
    ]


def _absent_router(random: Random, broker: int, at: float) -> list[Fault]:
    return [Fault("router.freeze", at, 0, random.choice([7.0, 9.5, 12.0]))]


def _slow_disk(random: Random, broker: int, at: float) -> list[Fault]:
    """Everybody joins anew while commits take their time."""
    return [
        Fault("disk.slow", at, 0, 8.0, 3),
        Fault("link.cut", at + 0.5, broker, 0.3, 0, random.choice(["to", "from"])),
        Fault("weather", at + random.random(), 0, 5.0, random.choice([2, 3])),
    ]


def _waking(random: Random, broker: int, at: float) -> list[Fault]:
    """A machine stands still for so long that others have done its work."""
    return [Fault("machine.freeze", at, broker, 10.0 + random.random() * 5)]


def _storm(random: Random, broker: int, at: float) -> list[Fault]:
    return [Fault("weather", at, 0, 10.0, 3), Fault("weather", at + 1.0, 0, 8.0, 2)]


STORIES = (
    _missing_after_restart, _two_restarts, _deaf, _late_answers, _absent_router, _slow_disk, _waking, _storm
)  # fmt: skip


class Faults:
    """Carries them out."""

    def __init__(self, world: World, faults: tuple[Fault, ...]) -> None:
        self.world = world
        self._at_commits = [fault for fault in faults if fault.kind == "router.kill" and fault.text in STAGES]
        self._given_up = [fault for fault in faults if fault.given_up]
        self._commits = 0
        for fault in faults:
            if fault not in (*self._at_commits, *self._given_up):
                world.timeline.at(fault.at, self._strike, fault)

    def commit(self, router: RouterHost, transaction: int, step: str) -> None:
        """The Router's committer is at this step."""
        if step == "before":
            self._commits += 1
        for fault in self._at_commits:
            calm = self.world.timeline.now > self.world.scenario.calm_at
            if fault.number == self._commits and fault.text == step and not calm:
                self._at_commits.remove(fault)
                self.world.trace("fault", "strikes", str(fault))
                self.world.history.note(_named(fault))
                self.world.died(router)
                return

    def recorded(self, router: RouterHost, batch: list[Record]) -> None:
        """The Router has put this batch on its way to the disk; what it says in this turn leaves in a moment."""
        now = self.world.timeline.now
        due = [fault for fault in self._given_up if fault.at <= now <= fault.at + SOON]
        if due and any(isinstance(record.fact, Unregistered) for record in batch):
            self._given_up = []
            for fault in due:  # what is said in this turn, or rests on it, leaves before a link is cut
                self.world.timeline.after(0.04 if fault.kind == "link.cut" else 0.0001, self._strike, fault)

    def _strike(self, fault: Fault) -> None:
        self.world.trace("fault", "strikes", str(fault))
        self.world.history.note(_named(fault))
        what, _, how = fault.kind.partition(".")
        getattr(self, f"_{what}")(fault, how)

    def _router(self, fault: Fault, how: str) -> None:
        router = self.world.router
        if router is None:
            return
        if how == "kill" and fault.number:
            router.dies_after_sends = fault.number - 1
        elif how == "kill":
            self.world.died(router)
        elif how == "power":
            self.world.disk.lose_power()
            self.world.died(router)
        elif how == "stop":
            router.committer.finish()
            self.world.died(router)
        else:
            router.freeze(self.world.timeline.now + fault.seconds)

    def _disk(self, fault: Fault, how: str) -> None:
        disk, now = self.world.disk, self.world.timeline.now
        if how == "full":
            disk.full_until = now + fault.seconds
        elif how == "slow":
            disk.slow = (now + fault.seconds, float(fault.number))
        else:
            disk.fails_to_sync = True

    def _pipeliner(self, fault: Fault, how: str) -> None:
        host = self.world.pipeliners[fault.target]
        if host is None:
            return
        if how == "freeze":
            host.frozen_until = self.world.timeline.now + fault.seconds
        elif how == "stop":
            host.stops = True
            host.wake()
        elif fault.number:
            host.dies_after_sends = fault.number - 1
        else:
            self.world.died(host)

    def _broker(self, fault: Fault, how: str) -> None:
        host = self.world.brokers[fault.target]
        if host is None:
            return
        if how == "freeze":
            host.frozen_until = self.world.timeline.now + fault.seconds
        elif how == "stop":
            host.broker._stopper.requested = True
            host.wake()
        elif how == "power":
            host.pool.lose_power()
            self.world.died(host)
        elif fault.number:
            host.dies_after_sends = fault.number - 1
        else:
            self.world.died(host)

    def _machine(self, fault: Fault, how: str) -> None:
        host = self.world.brokers[fault.target]
        if host is not None:
            host.machine.freeze(self.world.timeline.now + fault.seconds)

    def _worker(self, fault: Fault, how: str) -> None:
        host = self.world.brokers[fault.target]
        if host is not None and fault.number in host.pool.processes:
            host.pool.after(0.0, host.pool.processes[fault.number].die, 9)

    def _warden(self, fault: Fault, how: str) -> None:
        host = self.world.brokers[fault.target]
        if host is not None:
            host.pool.lose_warden()

    def _link(self, fault: Fault, how: str) -> None:
        machines = [*self.world.broker_machines, *self.world.pipeliner_machines, *self.world.client_machines]
        peer, router = machines[fault.target].name, self.world.router_machine.name
        until = self.world.timeline.now + fault.seconds
        if how == "stray":
            self.world.network.stray(peer, router, until, fault.number)
            return
        if fault.text in ("both", "to"):
            self.world.network.cut(peer, router, until, bool(fault.number))
        if fault.text in ("both", "from"):
            self.world.network.cut(router, peer, until, bool(fault.number))

    def _weather(self, fault: Fault, how: str) -> None:
        bad = 0.02 * fault.number**2
        until = self.world.timeline.now + fault.seconds
        self.world.network.weather.append(Weather(until, bad, bad, bad, 0.05 * fault.number))

    def _client(self, fault: Fault, how: str) -> None:
        host = self.world.clients[fault.target]
        if host is not None:
            self.world.died(host)

    def _clock(self, fault: Fault, how: str) -> None:
        machines = [self.world.router_machine, *self.world.broker_machines]
        machines[fault.target].wall_offset += fault.number

    def _store(self, fault: Fault, how: str) -> None:
        name = "values" if fault.number else "users"
        self.world.stores.down_until[name] = self.world.timeline.now + fault.seconds


def _named(fault: Fault) -> str:
    """For the table of what has happened."""
    if fault.given_up:
        return f"fault {fault.kind} when a Broker is given up"
    match fault.kind:
        case "link.cut":
            return f"fault link.cut {fault.text}, {'held' if fault.number else 'lost'}"
        case "router.kill":
            return f"fault router.kill {fault.text or ('between two sends' if fault.number else 'at any moment')}"
        case "store.down":
            return f"fault store.down: {'values' if fault.number else 'users'}"
    return f"fault {fault.kind}"
