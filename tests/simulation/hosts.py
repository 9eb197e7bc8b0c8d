"""The daemons and clients of a simulation: the real loops, turn by turn, around the real machines.

A host is one process: it has an inbox, takes a turn when something has come or its deadline is there, and may die in
the middle of a turn, between two sends. Its machine is validated after every turn.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import zmq

from headrace.daemons import broker as broker_module
from headrace.daemons import pipeliner as pipeliner_module
from headrace.daemons import router as router_module
from headrace.daemons.dispatch.cluster import Rules
from headrace.daemons.protocol import (
    Credit,
    FromRouter,
    Inbound,
    Outbound,
    Run,
    Take,
    decode_inbound,
    decode_outbound,
    encode,
)
from headrace.pipeline.errors import NotFound
from headrace.pipeline.facts import (
    Accepted,
    Cancelled,
    Ending,
    Finished,
    Paused,
    Pruned,
    Released,
    Reopened,
    Unregistered,
)
from headrace.pipeline.task import Given
from headrace.workers import pool as pool_module
from headrace.workers.messages import Settings

from .clock import GRAIN, Machine
from .disk import Committer, Journal
from .history import CreditBook
from .processes import Pool
from .violation import Violation

if TYPE_CHECKING:
    from .scenario import BrokerSpec
    from .world import World

NEVER = float("inf")
DECISIONS = (Accepted, Cancelled, Ending, Finished, Paused, Pruned, Released, Reopened)
PATIENT = 10_000
"""Frames that wait for a peer that does not read; more are dropped, as a full pipe does."""


class Death(BaseException):
    """The process ends here. No `except Exception` holds it up."""


class Host:
    """One process on a machine. `name` is its address, and never used twice."""

    def __init__(self, world: World, machine: Machine, name: str) -> None:
        self.world = world
        self.machine = machine
        self.name = name
        self.alive = True
        self.goodbye = False
        """It has ended well."""
        self.frozen_until = 0.0
        self.inbox: deque[Any] = deque()
        self.dies_after_sends = -1
        self._next: Any = None
        self._when = NEVER

    def wake(self, delay: float = 0.0) -> None:
        """Take a turn soon."""
        self._schedule(self.world.timeline.now + delay + 0.0001 + self.world.random.random() * 0.0005)

    def receive(self, frame: Any) -> None:
        if self.alive and len(self.inbox) < PATIENT:
            self.inbox.append(frame)
            self.wake()

    def die(self) -> None:
        self.alive = False
        if self._next is not None:
            self._next.dead = True

    def turn(self) -> float:
        """Returns the time of its own clock at which it wants the next one."""
        raise NotImplementedError

    def validate(self) -> None:
        """Raises AssertionError when its machine is not what it should be."""

    def sending(self) -> None:
        """Called before every send."""
        if self.dies_after_sends == 0:
            raise Death
        self.dies_after_sends -= 1

    def _schedule(self, when: float) -> None:
        if not self.alive or when >= self._when:
            return
        if self._next is not None:
            self._next.dead = True
        self._when = when
        self._next = self.world.timeline.at(when, self._turn)

    def _turn(self) -> None:
        self._when, self._next = NEVER, None
        frozen = max(self.frozen_until, self.machine.frozen_until)
        if frozen > self.world.timeline.now:
            self._schedule(frozen + self.world.random.random() * 0.01)
            return
        self.world.current = self.machine
        try:
            deadline = self.turn()
        except Death:
            self.world.died(self)
            return
        if self.alive:
            self.validate()
            self._schedule(max(self.machine.true(deadline), self.world.timeline.now) + GRAIN)


# The Router ---------------------------------------------------------------------------------------------------------


class Api:
    """The Router's socket."""

    def __init__(self, host: RouterHost) -> None:
        self._host = host

    def getsockopt(self, option: int) -> int:
        return int(zmq.POLLIN) if self._host.inbox else 0

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        if not self._host.inbox:
            raise zmq.Again
        return list(self._host.inbox.popleft())

    def send_multipart(self, parts: Any, flags: int = 0, copy: bool = True) -> None:
        host = self._host
        host.sending()
        address, frame = parts
        peer = host.world.peers.get(address.decode())
        if peer is None:
            raise zmq.ZMQError(zmq.EHOSTUNREACH)
        if len(peer.inbox) >= PATIENT:
            raise zmq.Again
        host.world.network.send(host.machine.name, peer.machine.name, bytes(frame), peer.receive)

    def recv(self, flags: int = 0) -> bytes:
        raise zmq.Again


class Poller:
    """Says what is ready without waiting, or (`asked`) notes for how long the loop would wait."""

    def __init__(self, host: RouterHost) -> None:
        self.asked = False
        self.milliseconds = 0
        self._host = host

    def register(self, source: Any, flags: int) -> None:
        """All sources are known."""

    def poll(self, milliseconds: int) -> list[tuple[Any, int]]:
        self.milliseconds = milliseconds
        host = self._host
        if self.asked:
            return []
        ready: list[tuple[Any, int]] = [(host.router._api, 1)] if host.inbox else []
        return [*ready, (host.committer.fileno(), 1)] if host.committer.news else ready


class Values:
    """The values folder, read by the Router."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.folder = SimpleNamespace(path=Path("/values"), id="values", remove_run=world.stores.remove_run)

    def runs(self) -> list[str]:
        """Nobody looks for values without runs here."""
        return []

    def chunk(self, ref: str, offset: int) -> Given:
        if ref not in self._world.stores.values:
            raise NotFound("value", ref)
        return Given((((), "success", self._world.stores.values[ref], None),))


class RouterHost(Host):
    def __init__(self, world: World, machine: Machine, name: str) -> None:
        super().__init__(world, machine, name)
        scenario = world.scenario
        world.current = machine
        rules = Rules(
            limits=dict(scenario.limits), window=scenario.window, open_runs=scenario.open_runs, inline_data=32
        )
        self.router = router_module.Router(data="/simulated", rules=rules, logger=world.logger)
        self.journal: Any = Journal(world.disk, machine.wall())
        self.committer = Committer(self.journal, self.wake, self._stage, self._disk_failed)
        self.router._journal = self.journal
        self.router._committer = self.committer  # type: ignore[assignment]
        self.poller = Poller(self)
        self._born = world.timeline.now
        self._asleep = 0.0
        self._knows_stall = False
        self._heard: dict[str, float] = {}
        """By Broker: for how long we had been awake when it was last heard."""
        world.router_opens = self
        self.router._prepare(None)  # type: ignore[arg-type]
        self._listen()
        world.history.restart()
        world.history.live_leases = self.live_leases
        world.history.waited = self.waited
        self.wake()

    def _listen(self) -> None:
        """Everything that it records and says goes through the history."""
        routes, put, history = self.router._routes, self.committer.put, self.world.history
        send = routes.send

        def said(peer: str, messages: list[FromRouter], *more: Any) -> None:
            for message in messages:
                if isinstance(message, Run):
                    self._check_draining(peer, message)
                history.router_says(peer, message)
                self.world.trace(self.name, peer, message)
            send(peer, messages, *more)

        def recorded(number: int, batch: list[Any]) -> None:
            self._check_losses(batch)
            self._check_stall(batch)
            for record in batch:
                self.world.trace(self.name, "journal", f"{record.sequence} {record.run}: {record.fact}")
            history.recorded(batch)
            put(number, batch)
            self.world.faults.recorded(self, batch)

        adopt = self.dispatch.leasing._adopt

        def adopted(*arguments: Any) -> bool:
            done = bool(adopt(*arguments))
            if done:
                history.note("a lease was adopted")
            return done

        self.dispatch.leasing._adopt = adopted
        if self.dispatch.leasing._awaited:
            history.note("a Broker of the epoch before was waited for")
        routes.send = said  # type: ignore[method-assign]
        self.committer.put = recorded  # type: ignore[method-assign]

    @property
    def dispatch(self) -> Any:
        return self.router._dispatch

    # What only the Router's own members can tell ---------------------------------------------------------------------

    def freeze(self, until: float) -> None:
        self._asleep += max(0.0, until - max(self.frozen_until, self.world.timeline.now))
        self.frozen_until = max(self.frozen_until, until)

    def _check_draining(self, peer: str, message: Run) -> None:
        member = self.dispatch.cluster.brokers.get(peer)
        if member is not None and member.draining and not all(self.waited(one.lease) for one in message.assignments):
            raise Violation("drain", f"{message} goes to {member.place}, which is to run empty")

    def _check_stall(self, batch: list[Any]) -> None:
        """A disk that takes no facts is given none that were decided since that is known."""
        if self._knows_stall and self.committer.stalled:
            for record in batch:
                if isinstance(record.fact, DECISIONS):
                    raise Violation("G15 disk full", f"{record.fact} is recorded, and the disk takes nothing")

    def _awake(self) -> float:
        """Seconds that this process was not stopped."""
        return self.world.timeline.now - self._born - self._asleep

    def _check_losses(self, batch: list[Any]) -> None:
        """Nobody is given up while the Router could not hear him."""
        for record in batch:
            fact = record.fact
            if isinstance(fact, Unregistered) and "not heard" in fact.why and fact.identity in self._heard:
                silent = self._awake() - self._heard[fact.identity]
                if silent < self.router.rules.hand_on - self.router.rules.heartbeat - 0.1:
                    raise Violation("G6 noticed", f"{fact}, and this Router has listened for {silent:.1f} s only")

    def _check_room(self) -> None:
        """What is kept of a run is bounded, and so are the runs."""
        cluster = self.dispatch.cluster
        for run in cluster.runs.values():
            waiting = len(run.live) - run.leased
            if waiting > 2 * self.router.rules.window:
                raise Violation("G10 bounded", f"{waiting} attempts of run {run.id} wait")
        if len(cluster.runs) > self.router.rules.open_runs + self.world.history.reopened:
            raise Violation("G10 bounded", f"{len(cluster.runs)} runs are open")

    def live_leases(self) -> set[int]:
        return {lease for one in self.dispatch.cluster.brokers.values() for lease in one.leases}

    def waited(self, lease: int) -> bool:
        """Was it granted in an earlier turn, and waited for the disk?"""
        cluster = self.dispatch.cluster
        found = [one.leases[lease] for one in cluster.brokers.values() if lease in one.leases]
        return any(item.granted < cluster.now for item in found)

    def turn(self) -> float:
        router, poller = self.router, self.poller
        poller.asked = False
        router._wait()
        router._turn()
        self._knows_stall = bool(self.committer.stalled)
        self.world.check_logs()
        poller.asked = True
        router._wait()
        return self.machine.monotonic() + poller.milliseconds / 1000

    def validate(self) -> None:
        self.dispatch.validate()
        self._check_room()
        cluster = self.dispatch.cluster
        for identity, broker in cluster.brokers.items():
            if broker.heard == cluster.now:
                self._heard[identity] = self._awake()
        silent = [one.place for one in cluster.brokers.values() if cluster.now - one.heard >= cluster.rules.hand_on]
        silent += [one.place for one in cluster.pipeliners.values() if cluster.now - one.heard >= cluster.rules.silent]
        if silent and not cluster.stalled:
            raise Violation("G6 noticed", f"{silent} are silent for too long, and are members")

    def die(self) -> None:
        super().die()
        self.committer.die()

    def _stage(self, transaction: int, step: str) -> None:
        self.world.faults.commit(self, transaction, step)

    def _disk_failed(self) -> None:
        self.world.died(self)


# Peers --------------------------------------------------------------------------------------------------------------


class Link:
    """A peer's socket to the Router."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._session = ""
        self._credit = CreditBook()

    def drain(self) -> Iterator[Outbound]:
        inbox = self._host.inbox
        while inbox:
            envelope = decode_outbound(inbox.popleft())
            if envelope.session == self._session:
                for message in envelope.messages:
                    if isinstance(message, Run):
                        self._host.world.history.grants_arrive(self._credit, message)
            yield envelope

    def send(self, envelope: Inbound) -> bool:
        host = self._host
        host.sending()
        if envelope.session != self._session:
            self._session, self._credit = envelope.session, CreditBook()
        for message in envelope.messages:
            if isinstance(message, Credit):
                self._credit.credits.append((message.seen, message.free + message.prefetch))
            host.world.history.peer_says(message)
            host.world.trace(host.name, "router", message)
        host.world.to_router(host, encode(envelope))
        return True

    def close(self, linger: float = 0.0) -> None:
        """It goes with its process."""


class PipelinerHost(Host):
    def __init__(self, world: World, machine: Machine, name: str) -> None:
        super().__init__(world, machine, name)
        self.pipeliner = pipeliner_module.Pipeliner(logger=world.logger)
        self.link: Any = Link(self)
        self.stops = False
        self.wake()

    def turn(self) -> float:
        pipeliner = self.pipeliner
        if self.stops:
            pipeliner._goodbye(self.link)
            self.world.stopped(self)
            return NEVER
        self._read_deadly()
        pipeliner._turn(self.link, self.machine.monotonic())
        self.world.check_logs()
        return pipeliner._session.next_deadline()

    def _read_deadly(self) -> None:
        for frame in self.inbox if self.world.deadly else ():
            for message in decode_outbound(frame).messages:
                if isinstance(message, Take) and self.world.deadly.get(message.run, 0) > 0:
                    self.world.deadly[message.run] -= 1
                    raise Death

    def validate(self) -> None:
        self.pipeliner._charges.validate()


class BrokerHost(Host):
    def __init__(self, world: World, machine: Machine, name: str, spec: BrokerSpec) -> None:
        super().__init__(world, machine, name)
        self.broker = broker_module.Broker(
            workers="W", number_of_workers=spec.slots, roles=spec.roles, resources=spec.resources,
            data="/simulated", logger=world.logger, grace=spec.grace,
        )  # fmt: skip
        self.pool = Pool(
            machine, world.random, world.history, world.stores, world.behaviour, self.wake, spec.resources
        )  # fmt: skip
        broker: Any = self.broker
        broker._pool = self.pool
        broker._observer = Silent()
        broker._link = Link(self)
        broker._trial_at = machine.monotonic() + broker_module.TRIAL
        self.wake()

    def turn(self) -> float:
        broker, now = self.broker, self.machine.monotonic()
        if broker._finished(now):
            self.pool.close()
            broker._send([broker_module.Bye("stopped")])
            self.world.stopped(self)
            return NEVER
        broker._turn(now)
        self.world.check_logs()
        return broker._next_deadline()

    def validate(self) -> None:
        self.broker._slots.validate()

    def die(self) -> None:
        super().die()
        self.pool.lose_broker()


class Silent:
    """No monitoring."""

    def next_deadline(self) -> float:
        return NEVER

    def tick(self, slots: Any, now: float) -> None:
        """Nothing is watched."""

    def heard(self, event: Any, now: float) -> None:
        """Nobody speaks."""


class Output:
    """What jobs write: nothing that anybody reads."""

    def up(self, slot: int) -> None: ...

    def ended(self, slot: int, log: object) -> None: ...


class Outfit:
    """What worker processes are made with: nothing here."""

    def __init__(self, *_: object, **__: object) -> None:
        self.output = Output()
        self.settings: Settings | None = None
        self.values_id: str | None = None
        self.monitoring_interval: float | None = None

    def welcome(self, message: Any) -> bool:
        self.settings, self.values_id = Settings(), message.values_id
        return False

    def of_slot(self, slot: int) -> Settings:
        return Settings()

    def of_trial(self) -> Settings:
        return Settings()


class Stopper:
    """A request to stop."""

    def __init__(self) -> None:
        self.requested = False
        self.signals = 0

    def stop(self) -> None:
        self.requested = True

    def fileno(self) -> int:
        return 2

    def drain(self) -> None:
        """Nobody waits."""


class Watchers:
    """They are told of everything."""

    def __init__(self, world: World) -> None:
        self._history = world.history

    def publish(self, records: Any) -> None:
        self._history.published(records)

    def signal(self, told: Any) -> None:
        self._history.note("a signal of how far a job is")

    def drain(self) -> None:
        pass


class Patches:
    """The doors through which the loops see the world, for as long as a simulation runs."""

    def __init__(self, world: World) -> None:
        clock = SimpleNamespace(
            monotonic=lambda: world.current.monotonic(), time=lambda: world.current.wall(), ctime=str
        )
        own = SimpleNamespace(now=lambda: world.current.monotonic())
        place: Callable[[], str] = lambda: world.current.name  # noqa: E731 - it is a door
        world.history.router_wall = world.router_machine.wall
        self._doors: list[tuple[Any, str, Any]] = [
            (pool_module, "PACKET_LIMIT", 1000),
            (zmq, "Poller", lambda: world.router_opens.poller),
            (router_module, "time", clock),
            (router_module, "Stopper", Stopper),
            (router_module, "ValueReader", lambda folder: Values(world)),
            (router_module, "Broadcast", lambda socket, epoch: Watchers(world)),
            (router_module, "_bound", lambda context, kind, address, options: Api(world.router_opens)),
            (pipeliner_module, "time", clock),
            (pipeliner_module, "Stopper", Stopper),
            (pipeliner_module, "new_id", world.new_id),
            (pipeliner_module, "place", place),
            (broker_module, "time", clock),
            (broker_module, "clock", own),
            (broker_module, "Stopper", Stopper),
            (broker_module, "Outfit", Outfit),
            (broker_module, "new_id", world.new_id),
            (broker_module, "place", place),
        ]

    def __enter__(self) -> None:
        self._before = [(module, name, getattr(module, name)) for module, name, _ in self._doors]
        for module, name, door in self._doors:
            setattr(module, name, door)

    def __exit__(self, *_: object) -> None:
        for module, name, before in self._before:
            setattr(module, name, before)


class Logs(logging.Handler):
    """What the daemons log as an exception is one: they go on after it, the simulation does not."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.found.append(self.format(record))


__all__ = ["BrokerHost", "Death", "Host", "Logs", "Patches", "PipelinerHost", "RouterHost", "decode_inbound"]
