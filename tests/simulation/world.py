"""A world: one scenario, lived through from its beginning to its end, or to the first promise that is broken."""

from __future__ import annotations

import logging
import traceback
from random import Random
from typing import Any

from headrace.pipeline.task import Assignment

from . import judgement
from .clock import Machine, Timeline
from .disk import Disk
from .faults import Faults
from .history import History
from .hosts import BrokerHost, Host, Logs, Patches, PipelinerHost, RouterHost
from .network import Network
from .scenario import Action, Behaviour, Scenario
from .stores import Stores
from .users import ClientHost, User, Wish
from .violation import Violation

BOUND = 90.0
"""Seconds after the last fault within which everything has to be over, besides the work that is left."""
PLAIN = Behaviour(0.01)
LOGS = Logs()
_logger = logging.getLogger("headrace")
_logger.addHandler(LOGS)
_logger.propagate = False
_logger.setLevel(logging.ERROR)


class World:
    def __init__(self, scenario: Scenario, tracing: bool = False) -> None:
        self.scenario = scenario
        self.random = Random(scenario.seed * 1_000 + scenario.salt)
        self.timeline = Timeline()
        self.disk = Disk(self.timeline, self.random)
        self.network = Network(self.timeline, self.random)
        self.history = History(scenario, self.timeline, self.disk)
        self.stores = Stores(self.history.removed)
        self.logger = logging.getLogger("headrace.simulated")
        self.deadly = {run.id: run.deadly for run in scenario.runs if run.deadly}
        self.refused: set[str] = set()
        """Runs that the Router did not accept, because of their key."""
        self.peers: dict[str, Host] = {}
        self.lines: list[str] = []
        self._tracing = tracing
        self._ids = 0
        self._hosts = 0
        self.router_machine = self._machine("router")
        self.broker_machines = [self._machine(f"broker{at}") for at in range(len(scenario.brokers))]
        self.pipeliner_machines = [self._machine(f"pipeliner{at}") for at in range(scenario.pipeliners)]
        self.client_machines = [self._machine(f"client{at}") for at in range(scenario.clients)]
        self.current = self.router_machine
        self.users = [User(at) for at in range(scenario.clients)]
        self.router: RouterHost | None = None
        self.router_opens: Any = None
        self.routers = 0
        self.brokers: list[BrokerHost | None] = [None] * len(scenario.brokers)
        self.pipeliners: list[PipelinerHost | None] = [None] * scenario.pipeliners
        self.clients: list[ClientHost | None] = [None] * scenario.clients
        self._waiting: list[tuple[str, bytes]] = []

    def _machine(self, name: str) -> Machine:
        return Machine(self.timeline, name, self.random.random() * 1e5)

    # From beginning to end ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Raises `Violation`."""
        LOGS.found.clear()
        with Patches(self):
            try:
                self._begin()
                self._live()
                self._judge()
            except (Violation, KeyboardInterrupt):
                raise
            except Exception as error:
                text = "".join(traceback.format_exception(error))
                raise Violation("no exceptions", f"{type(error).__name__}: {error}\n{text}") from error

    def _begin(self) -> None:
        at = self.timeline.at
        at(0.0, self._start_router)
        for number in range(len(self.pipeliners)):
            at(self.random.random() * 0.3, self._start_pipeliner, number)
        for number in range(len(self.brokers)):
            at(self.random.random() * 0.3, self._start_broker, number)
        for number in range(len(self.clients)):
            at(0.1, self._start_client, number)
        for action in self.scenario.actions:
            at(action.at, self._act, action)
        self.faults = Faults(self, self.scenario.faults)
        at(self.scenario.calm_at, self._calm)

    def _live(self) -> None:
        begins = self.scenario.calm_at
        work = sum(
            (min(one.duration, 10.0) * 1.5 + 8.0) * 3 for run in self.scenario.runs for one in run.behaviours.values()
        )  # fmt: skip
        end = begins + BOUND + work
        while not (self.timeline.now > begins and self._is_over()):
            if not self.timeline.step(end):
                raise Violation("progress", f"{self._left()} at t={self.timeline.now:.1f}, calm since {begins:.1f}")

    def _calm(self) -> None:
        """From here on nothing goes wrong."""
        self.disk.fails_to_sync = False
        self.router_machine.wall_offset = 0.0
        for host in (self.router, *self.brokers, *self.pipeliners, *self.clients):
            if host is not None:
                host.dies_after_sends = -1

    def _is_over(self) -> bool:
        return not self._left()

    def _left(self) -> str:
        """What is still to come, in words."""
        history = self.history
        for run in history.runs.values():
            if run.finished is None and not self._is_parked(run.id):
                return f"run {run.id} has not ended"
            if run.finished is not None and run.now.finished_seq > history.synced:
                return f"the end of run {run.id} is not on disk"
        for user in self.users:
            for wish in user.wishes:
                if not wish.fulfilled:
                    return f"user {user.number} still wants to {wish.verb} {wish.run or wish.action.runs}"
            for run_id in user.follows:
                if run_id in history.runs and run_id not in user.ends and not self._is_parked(run_id):
                    return f"user {user.number} was not told of the end of {run_id}"
        return self._held()

    def _held(self) -> str:
        """What somebody holds of runs that are over."""
        if self.router is None:
            return "there is no Router"
        cluster = self.router.dispatch.cluster
        for broker in cluster.brokers.values():
            if broker.leases:
                return f"the Router counts leases of {broker.place}: {list(broker.leases.values())}"
        if cluster.queues.size:
            return f"{cluster.queues.size} items are queued"
        for host in self.brokers:
            slots = host.broker._slots if host is not None else None
            if slots is not None and (slots.attempts or slots.delivery.kept):
                return f"{host.name if host else ''} keeps {slots.attempts} and {slots.delivery.kept}"
        for pipeliner in self.pipeliners:
            if pipeliner is not None and any(
                not self._is_parked(run) for run, _, _ in pipeliner.pipeliner._charges.holding()
            ):
                return f"{pipeliner.name} keeps {pipeliner.pipeliner._charges.holding()}"
        return ""

    def _is_parked(self, run: str) -> bool:
        """Nobody is given it any more, or it waits for such a run."""
        one = self.router.dispatch.cluster.runs.get(run) if self.router is not None else None
        if one is None:
            return False
        return bool(one.parked) or any(self._is_parked(name.removeprefix("~")) for name in one.awaits)

    def _judge(self) -> None:
        """Everything is over: was it what it had to be?"""
        history = self.history
        for run_id in history.acknowledged:
            if run_id not in history.runs:
                raise Violation("G1 nothing lost", f"run {run_id} was acknowledged, and is not in the journal")
        for view in history.runs.values():
            if view.finished is not None:
                judgement.check(history.specs[view.id], view, history)
        for user in self.users:
            for run_id, verdict in user.ends.items():
                ends = [one.finished for one in history.runs[run_id].rounds]
                if verdict not in [end.verdict for end in ends if end is not None]:
                    raise Violation("G3 verdict", f"user {user.number} was told {verdict} of {run_id}: {ends}")
        self._judge_stores()

    def _judge_stores(self) -> None:
        """What was committed is what the stores hold."""
        for view in self.history.runs.values():
            if view.id in self.history.pruned:
                continue
            for lines in [lines for one in view.rounds for lines in one.returned.values()]:
                fact = lines[-1].fact
                if fact.kind != "success":
                    continue
                fence = f"{fact.lease:016x}"
                saved = self.stores.saved.get((view.id, fact.round, fact.job, fact.path), fence)
                if saved != fence:
                    raise Violation("G2 fences", f"{fact} is committed, {saved} is in the store")
                if fact.ref is not None and fact.ref not in self.stores.values:
                    raise Violation("G2 values", f"{fact} is committed, and its value is gone")

    # Processes come and go ------------------------------------------------------------------------------------------

    def new_id(self) -> str:
        self._ids += 1
        return f"id{self._ids}"

    def _name(self, machine: Machine) -> str:
        self._hosts += 1
        return f"{machine.name}.{self._hosts}"

    def _start_router(self) -> None:
        self.routers += 1
        self.router = RouterHost(self, self.router_machine, self._name(self.router_machine))
        waiting, self._waiting = self._waiting, []
        for sender, frame in waiting:
            if self.random.random() < 0.5:
                self.router.receive((sender.encode(), frame))

    def _start_pipeliner(self, number: int) -> None:
        machine = self.pipeliner_machines[number]
        self.current = machine
        host = self.pipeliners[number] = PipelinerHost(self, machine, self._name(machine))
        self.peers[host.name] = host

    def _start_broker(self, number: int) -> None:
        machine = self.broker_machines[number]
        self.current = machine
        host = self.brokers[number] = BrokerHost(self, machine, self._name(machine), self.scenario.brokers[number])
        self.peers[host.name] = host

    def _start_client(self, number: int) -> None:
        machine = self.client_machines[number]
        self.current = machine
        host = self.clients[number] = ClientHost(self, machine, self._name(machine), self.users[number])
        self.peers[host.name] = host

    def died(self, host: Host) -> None:
        """A process has ended badly; somebody starts another one."""
        if not host.alive:
            return
        self.trace(host.name, "dies", "")
        host.die()
        self._replace(host)

    def stopped(self, host: Host) -> None:
        """A process has ended well."""
        self.trace(host.name, "stops", "")
        host.goodbye = True
        host.alive = False
        self._replace(host)

    def _replace(self, host: Host) -> None:
        delay = 0.05 + self.random.random() * self.random.choice([0.3, 1.0, 4.0])
        self.peers.pop(host.name, None)
        if isinstance(host, RouterHost):
            self.router = None
            self.timeline.after(delay, self._start_router)
        elif isinstance(host, BrokerHost):
            number = self.brokers.index(host)
            self.brokers[number] = None
            self.timeline.after(delay, self._restart_broker, host, number)
        elif isinstance(host, PipelinerHost):
            number = self.pipeliners.index(host)
            self.pipeliners[number] = None
            self.timeline.after(delay, self._start_pipeliner, number)
        elif isinstance(host, ClientHost):
            number = self.clients.index(host)
            self.clients[number] = None
            self.timeline.after(delay, self._start_client, number)

    def _restart_broker(self, before: BrokerHost, number: int) -> None:
        """Not before everything that came from the one before is gone."""
        if before.pool.gone:
            self._start_broker(number)
            after = self.brokers[number]
            if after is not None and not before.goodbye and self.random.random() < 0.7:
                self.history.note("the successor of a dead Broker")
                after.broker._slots.reporting.succeeds = (before.broker._session.identity,)
        else:
            self.timeline.after(0.05, self._restart_broker, before, number)

    # Between them ---------------------------------------------------------------------------------------------------

    def to_router(self, host: Host, frame: bytes) -> None:
        name, incarnation = host.name, self.routers
        self.network.send(
            host.machine.name, self.router_machine.name, frame, lambda one: self._arrive(name, incarnation, one)
        )

    def _arrive(self, sender: str, incarnation: int, frame: bytes) -> None:
        if self.router is None:
            self._waiting.append((sender, frame))
        elif incarnation == self.routers or self.random.random() < 0.5:
            self.router.receive((sender.encode(), frame))

    # Users ----------------------------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        user = self.users[action.client]
        self.history.note(f"a user's {action.verb}")
        if action.verb in ("submit", "again"):
            user.wishes.append(Wish(action, action.verb))
        elif action.verb == "rerun":
            user.wishes.append(Wish(action, action.verb, action.runs[0]))
        elif not action.runs:
            user.wishes.append(Wish(action, action.verb))
        else:
            user.wishes += [Wish(action, action.verb, run) for run in action.runs]
        client = self.clients[action.client]
        if client is not None:
            client.wake()

    def fulfilled(self, wish: Wish) -> None:
        if wish.verb == "retry":
            self.users[wish.action.client].ends.pop(wish.run, None)
            client = self.clients[wish.action.client]
            if client is not None:
                client.follow(wish.run)
        if wish.verb == "drain":
            resume = Action(0.0, wish.action.client, "undrain", (), number=wish.action.number)
            self.timeline.after(wish.action.resume_after, self._act, resume)
        if wish.verb == "halt":
            resume = Action(0.0, wish.action.client, "unhalt", (), number=wish.action.number)
            self.timeline.after(wish.action.resume_after, self._act, resume)
        if wish.verb == "pause":
            resume = Action(0.0, wish.action.client, "resume", (wish.run,))
            self.timeline.after(wish.action.resume_after, self._act, resume)

    def behaviour(self, assignment: Assignment) -> Behaviour:
        return self.history.specs[assignment.run].behaviours.get(assignment.job, PLAIN)

    # Telling --------------------------------------------------------------------------------------------------------

    def check_logs(self) -> None:
        if LOGS.found:
            raise Violation("no exceptions", LOGS.found[0])

    def trace(self, who: str, whom: str, what: Any) -> None:
        if self._tracing:
            self.lines.append(f"{self.timeline.now:9.4f} {who} > {whom}: {what}")
