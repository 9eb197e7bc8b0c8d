"""The Broker daemon: a loop around the machine in `slots`, a pool of worker processes, and the link to the Router.

It runs no user code and never forks: worker processes are made by the pool's warden. It joins at once, learns the
configuration of stores from the Router, starts its processes with it, and joins again with what they can run.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

import msgspec
import zmq

from .. import __version__
from ..pipeline.errors import ConfigError
from ..workers import clock
from ..workers.cache.place import LARGEST, LONGEST
from ..workers.messages import Ended, Leave, Stop
from ..workers.pool import PoolEvent, Said, SlotBroken, SlotDown, SlotUp, lease_of, pack
from ..workers.pools.local import LocalPool
from ..workers.shortening import LIMIT
from .addresses import Address, connect_address
from .folders import data_folder
from .loop import Link, Stopper, new_id, place, settle_down
from .protocol import Bye, FromRouter, Output, ReadOutput, Refuse, ToRouter, Welcome
from .reloading import Reloading
from .session import Session
from .slots.deaths import death
from .slots.machine import Slots
from .slots.observer import Observer
from .slots.orders import BrokerEffect, Fail, Feed, Guard, Interrupt, KillTree, Reply, StartProcess, TakeBack, Tell
from .slots.outfit import Outfit
from .slots.reporting import Offer
from .slots.residence import Residence
from .slots.slot import Attempt
from .slots.units import VISIBLE, environment, offer_of
from .slots.usercode import DEFAULT_MODULE, module_names, store_name
from .tidying import KEEP, Tidying

NEVER = float("inf")
TRIAL = 0.5
"""Seconds without an answer of the Router, after which a process looks whether the workers can be made at all."""
LEAVING = 1.0
"""Seconds that idle processes have to leave by themselves."""
FAREWELL = 2.0
"""Seconds that the Router has to note the last outcomes."""


class Broker:
    """`start` blocks until a signal or `stop`; a second signal does not wait for running jobs.

    `store_class`: a class, or its name as `module:Class`; None needs no store. `workers`: a module or several, by name.
    `roles`: serve only these, with so many slots each. `grace`: how long running jobs may go on after a stop.
    `resources`: what jobs may ask for; `slots` (as many as there are processes), `cpu` and `memory` (GiB) are always
    among them. A whole number of `gpu`, or a list of names, are units of their own: each job gets its own ones, and is
    told which.
    `cache`: the folder of the content cache, by default beside the Router's values; it holds `cache_size` bytes and
    what was used in the last `cache_keep` seconds.
    `reload`: watch the files of the workers, and run new jobs with what has changed.
    `output_limit`: bytes that are kept of what an attempt prints; `output_keep`: seconds that output of Brokers stays.
    `broadcast`, `poll_time` and `insecure` are not needed here; they stand for those who give them to every daemon.
    """

    def __init__(
        self,
        api: Address = "tcp://127.0.0.1:5555",
        broadcast: Address = "tcp://127.0.0.1:5556",
        store_class: type | str | None = None,
        workers: str | ModuleType | Iterable[str | ModuleType] = DEFAULT_MODULE,
        logger: logging.Logger | None = None,
        logger_name: str = "Broker",
        poll_time: float = 50,
        number_of_workers: int | None = None,
        *,
        roles: Mapping[str, int] | None = None,
        resources: Mapping[str, float | Sequence[str]] | None = None,
        data: str | os.PathLike[str] | None = None,
        insecure: bool = False,
        grace: float = 20.0,
        cache: str | os.PathLike[str] | None = None,
        cache_size: float = LARGEST,
        cache_keep: float = LONGEST,
        output_limit: int = LIMIT,
        output_keep: float = KEEP,
        reload: bool = False,
    ) -> None:
        self.api = connect_address(api)
        self.broadcast = connect_address(broadcast)
        self.store = store_name(store_class)
        self.workers = module_names(workers)
        self.logger = logger or logging.getLogger(logger_name)
        self.number_of_workers = _slot_count(number_of_workers, roles)
        self.data = Path(data).expanduser().absolute() if data else data_folder(None, self.api).absolute()
        self.grace = grace
        self._monitors = store_class is not None and _may_monitor(store_class)
        roles = dict(roles) if roles else None
        amounts, units = offer_of(resources or {}, os.environ.get(VISIBLE))
        amounts = {**_machine(), "slots": float(self.number_of_workers), **amounts}
        self._slots = Slots(Offer(self.number_of_workers, place(), __version__, roles, amounts, units))
        kept = str(Path(cache).expanduser().absolute()) if cache else None
        self._outfit = Outfit(self.workers, self.store, self.data, kept, cache_size, cache_keep, output_limit, reload)
        self._reloading = Reloading() if reload else None
        self._output_limit, self._output_keep = output_limit, output_keep
        self._tidying: Tidying | None = None
        self._session = Session(new_id(), lambda: self._slots.hello(clock.now()), new_id)
        self._stopper = Stopper()
        self._said: list[ToRouter] = []
        self._trial_at = NEVER
        self._end_by = NEVER

    def stop(self) -> None:
        """Ask the loop to end, from any thread."""
        self._stopper.stop()

    def start(self) -> None:
        residence = Residence.take(self.data)
        try:
            residence.sign(self._session.identity)
            self._slots.reporting.succeeds = residence.wait_for_the_dead()
            self._serve(residence)
        finally:
            residence.leave()
            self.logger.info("Broker stopped")

    def _serve(self, residence: Residence) -> None:
        self._pool = LocalPool(tree=residence.tree, lock=residence.lock)
        self._observer = Observer(self._pool, self.number_of_workers, self.logger, self.api)
        self._tidying = Tidying(self._outfit.output, self._output_limit, self._output_keep, clock.now())
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._link = Link(context, self.api)
        try:
            with self._stopper.on_signals():
                self.logger.info("Broker started")
                self.logger.info("Trying to connect to router...")
                settle_down()
                self._run()
                self._pool.close(0.0 if self._stopper.signals > 1 else LEAVING)
                self._send([Bye("stopped")])
        finally:
            self._pool.close()
            self._link.close(linger=1.0)
            context.term()

    # A turn ---------------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Wait, drain, decide, carry out, send."""
        poller = zmq.Poller()
        for source in (self._link.socket, self._stopper.fileno(), *self._pool.filenos()):
            poller.register(source, zmq.POLLIN)
        self._trial_at = clock.now() + TRIAL
        while not self._finished(clock.now()):
            wait = self._next_deadline() - clock.now()
            poller.poll(int(min(wait, 3600.0) * 1000) + 1 if wait > 0 else 0)
            self._stopper.drain()
            self._turn(clock.now())

    def _next_deadline(self) -> float:
        return min(
            self._session.next_deadline(),
            self._slots.next_deadline(),
            self._observer.next_deadline(),
            self._trial_at,
            self._end_by,
            NEVER if self._reloading is None else self._reloading.next_deadline(),
        )

    def _turn(self, now: float) -> None:
        slots = self._slots
        slots.wall_offset = time.time() - now
        for event in self._pool.poll():
            self._heard(event, now)
        for envelope in self._link.drain():
            self._receive(self._session.receive(envelope, now), now)
        self._carry_out(slots.tick(now), now)
        self._observer.tick(slots.slots, now)
        if self._tidying is not None:
            self._tidying.due(slots.slots, now)
        if now >= self._trial_at:
            self._try_workers()
        if self._reloading is not None and not slots.closing and (changed := self._reloading.due(now)):
            self._try_changed(self._reloading, changed)
        self._settle(now)
        self._speak(now)

    def _finished(self, now: float) -> bool:
        """Asked to stop, and done with it; or asked twice."""
        if not self._stopper.requested:
            return False
        if not self._slots.closing:
            self.logger.info("Stopping: running jobs have %g s", self.grace)
            self._carry_out(self._slots.stop(now, self.grace), now)
            self._settle(now)
            self._speak(now)
        if self._stopper.signals > 1:
            return True
        if self._slots.done and self._end_by == NEVER:
            self._end_by = now + FAREWELL
        return self._slots.done and (
            not self._slots.ledger.delivery.kept or not self._session.joined or now >= self._end_by
        )

    def _settle(self, now: float) -> None:
        effects = self._slots.settle(now)
        while any(isinstance(effect, TakeBack) for effect in effects):
            self._carry_out(effects, now)
            effects = self._slots.settle(now)
        self._carry_out(effects, now)

    def _speak(self, now: float) -> None:
        """Everything of this turn in one envelope; then what is due by itself."""
        said, self._said = self._said, []
        self._send(said)
        due = self._session.due(now, self._slots.beat)
        if due is not None:
            self._link.send(due)
            self._carry_out(self._slots.repeats(now), now)

    def _send(self, messages: list[ToRouter]) -> None:
        """Nothing while we have not joined: joining tells everything."""
        if messages and self._session.joined:
            self._link.send(self._session.wrap(messages))

    # What comes -----------------------------------------------------------------------------------------------------

    def _receive(self, messages: list[FromRouter], now: float) -> None:
        """One that cannot be handled must not end the jobs of all others: let us see what the Router believes."""
        for message in messages:
            try:
                self._received(message, now)
            except ConfigError:
                raise
            except Exception:
                self.logger.exception("could not handle %s of the Router", message)
                self._session.rejoin(now + self._session.heartbeat, "a message could not be handled")
                return

    def _received(self, message: FromRouter, now: float) -> None:
        if isinstance(message, Welcome):
            self._welcomed(message, now)
        elif isinstance(message, Refuse):
            self.logger.error("The Router refused us: %s", message.reason)
        elif isinstance(message, ReadOutput):
            self._said.append(self._read(message))
            return
        self._carry_out(self._slots.handle(message, now), now)

    def _read(self, wanted: ReadOutput) -> Output:
        if wanted.file:
            return self._outfit.output.of_ended(wanted)
        held = next((slot for slot in self._slots.slots if slot.fifo and slot.fifo[0].lease == wanted.lease), None)
        return self._outfit.output.of_running(wanted, None if held is None else held.number)

    def _welcomed(self, welcome: Welcome, now: float) -> None:
        """The first one brings what the processes need."""
        first, outfit = self._outfit.settings is None, self._outfit
        news = outfit.welcome(welcome)
        self._slots.reporting.values_id = outfit.values_id
        self._trial_at = NEVER
        if first:
            self._pool.kill(self._trial_slot)
            self.logger.info("Starting worker processes")
            self._carry_out(self._slots.begin(now), now)
            if self._monitors and outfit.monitoring_interval:
                self._observer.begin(outfit.of_monitor(), outfit.monitoring_interval, now)
        elif news:
            self.logger.warning("The Router's configuration has changed: new worker processes will use it")

    def _heard(self, event: PoolEvent, now: float) -> None:
        number = event.slot
        if number == self._trial_slot:
            if self._reloading is not None and self._reloading.trying:
                self._tried_changed(self._reloading, event, now)
            else:
                self._tried(event)
            return
        if number == self.number_of_workers:
            self._observer.heard(event, now)
            return
        first = self._slots.reporting.cards is None
        if type(event) is SlotUp:
            self._outfit.output.up(number)
        self._carry_out(self._slots.heard(event, now), now)
        if type(event) is Said:
            if type(event.message) is Ended:
                outcome = event.message.outcome
                self._outfit.output.ended(number, outcome.log)
                self.logger.debug("Job finished: lease=%x, %s in %.6f s", outcome.lease, outcome.kind, outcome.duration)
            return
        self._log(event)
        if first and isinstance(event, SlotUp):
            if self._reloading is not None:
                self._reloading.watch(event.up.files, now)
            for warning in event.up.warnings:
                self.logger.warning("%s", warning)
            self.logger.info("Available workers: %d", self.number_of_workers)
            self.logger.info("Entering main loop")
            self._session.rejoin(now, "the workers are ready")

    def _log(self, event: PoolEvent) -> None:
        match event:
            case SlotUp(slot, pid):
                self.logger.debug("worker process %d is up (slot %d)", pid, slot)
            case SlotBroken(slot, broken):
                self.logger.error("worker process of slot %d cannot work: %s", slot, broken.message)
            case SlotDown(slot, pid):
                level = logging.DEBUG if event.exit_code == 0 or self._slots.closing else logging.WARNING
                self.logger.log(level, "worker process %d (slot %d) %s", pid, slot, death(event))
            case _:
                pass

    # What has to be done --------------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[BrokerEffect], now: float) -> None:
        pool = self._pool
        for effect in effects:
            match effect:
                case Feed(slot, attempts):
                    self._feed(slot, attempts, now)
                case Tell(message):
                    self._said.append(message)
                case TakeBack(slot):
                    leases = [lease_of(packet) for packet in pool.take_back(slot)]
                    self._carry_out(self._slots.taken_back(slot, leases, now), now)
                case Reply(slot, message):
                    pool.send(slot, message)
                case Interrupt(slot, lease, why):
                    pool.send(slot, Stop(lease, why))
                    pool.interrupt(slot)
                case KillTree(slot):
                    pool.kill(slot)
                case StartProcess(slot, given):
                    settings = self._outfit.of_slot(slot)
                    if given:
                        settings = msgspec.structs.replace(settings, environment=environment(given))
                    pool.start(slot, settings)
                case Guard(at):
                    pool.renew(at)
                case Fail(reason):
                    raise ConfigError(reason)

    def _feed(self, slot: int, attempts: list[Attempt], now: float) -> None:
        debug = self.logger.isEnabledFor(logging.DEBUG)
        for position, attempt in enumerate(attempts):
            if not self._pool.feed(slot, pack(attempt.header, attempt.assignment)):
                leases = [one.lease for one in attempts[position:]]
                self._carry_out(self._slots.refused(slot, leases, now), now)
                return
            if debug:
                self.logger.debug("Started job: slot=%d, %s", slot, attempt)

    # Before the Router answers --------------------------------------------------------------------------------------

    @property
    def _trial_slot(self) -> int:
        return self.number_of_workers + 1

    def _try_workers(self) -> None:
        """No Router yet: find out by a process whether the workers can be made, and tell the user now, not later."""
        self._trial_at = NEVER
        self._pool.start(self._trial_slot, self._outfit.of_trial())
        self.logger.warning("No answer from a Router at %s yet; trying on", self.api)

    def _tried(self, event: PoolEvent) -> None:
        if isinstance(event, SlotBroken) and self._outfit.settings is None:
            raise ConfigError(event.broken.message)
        if isinstance(event, SlotUp):
            self._pool.send(self._trial_slot, Leave())

    # Changed code ---------------------------------------------------------------------------------------------------

    def _try_changed(self, reloading: Reloading, changed: list[str]) -> None:
        """See by a process of its own whether the new code can be used at all, the store's included."""
        self.logger.info(
            "The code of the workers has changed (%s): trying it", ", ".join(map(os.path.basename, changed))
        )
        reloading.trying = True
        self._pool.start(self._trial_slot, self._outfit.settings or self._outfit.of_trial())

    def _tried_changed(self, reloading: Reloading, event: PoolEvent, now: float) -> None:
        match event:
            case SlotUp():
                self._pool.send(self._trial_slot, Leave())
                reloading.watch(event.up.files, now)
                self._carry_out(self._slots.reload(event.up.cards, now), now)
                self._session.rejoin(now, "the code of the workers has changed")
                self.logger.info("Reloaded: jobs that begin from now on run the new code")
            case SlotBroken():
                self.logger.error(
                    "The changed code is of no use, jobs go on with the old one: %s", event.broken.message
                )
            case SlotDown():
                reloading.trying = False
                if event.exit_code:
                    self.logger.error("The process that tried the changed code %s", death(event))
            case _:
                pass


def _may_monitor(store_class: type | str) -> bool:
    """Of a name nobody knows yet: its process will find out."""
    return isinstance(store_class, str) or hasattr(store_class, "save_monitoring")


def _slot_count(number: int | None, roles: Mapping[str, int] | None) -> int:
    if number is None and roles:
        return sum(roles.values())
    if number is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if number < 1:
        raise ConfigError(f"number_of_workers={number}: a Broker has at least one")
    return number


def _machine() -> dict[str, float]:
    """What jobs may ask for though nobody has said so: processors that we may use, and memory in GiB."""
    affinity = getattr(os, "sched_getaffinity", None)
    cpus = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return {"cpu": float(cpus), "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)}
