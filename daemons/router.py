"""The Router daemon: a loop around the machine in `dispatch`, the journal, and two sockets.

A turn is: wait; carry out what the disk has freed; drain the api; let the machine decide; hand its facts to the journal
thread; send what rests on nothing, and hold the rest until its facts are on disk.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from socket import gethostname
from typing import Any

import msgspec
import zmq

from ..pipeline.errors import ConfigError, JournalError, NotFound, UserError
from ..pipeline.payload import pack
from .addresses import Address, bind_address
from .dispatch.answers import Answers
from .dispatch.cluster import Known, Rules
from .dispatch.effects import Find, Forget, Load, Lookup, RouterEffect, Send, Tell
from .dispatch.events import Broadcast
from .dispatch.machine import Dispatch
from .dispatch.outbox import Outbox
from .dispatch.outputs import Outputs
from .dispatch.pruning import KEEP, Pruning
from .dispatch.replies import digest, not_found
from .dispatch.restored import ended_run, found_below, known_runs, restored
from .dispatch.routes import Routes
from .dispatch.values import ValueReader
from .folders import data_folder
from .journal.archive import Archive, Place
from .journal.committer import Committer
from .journal.journal import Journal
from .loop import Stopper, drained, settle_down
from .output import read_file
from .protocol import (
    MAX_FRAME,
    OLDEST,
    PROTOCOL,
    Again,
    Ask,
    Beat,
    Control,
    Done,
    Failed,
    Fetched,
    FetchValue,
    Follow,
    FromRouter,
    Held,
    Inbound,
    Outbound,
    Output,
    Pulse,
    ReadOutput,
    Submit,
    ToRouter,
    Welcome,
    decode_inbound,
    encode,
)

CONFIG_KEYS = {"store", "monitoring interval", "limits", "data", "keep"}
LONGEST_WAIT = 1.0
IDLE_SWEEP = 60.0
MAX_TOPIC = 1024
"""Bytes of a watcher's subscription."""
WARNED_MALFORMED = 5
"""Malformed messages that are logged one by one; after that only their count grows."""


@dataclass(slots=True)
class Turn:
    """What the clients of one turn are answered without the machine."""

    replies: dict[str, list[FromRouter]] = field(default_factory=dict)

    def reply(self, peer: str, message: FromRouter) -> None:
        self.replies.setdefault(peer, []).append(message)


class Router:
    """`start` blocks until a signal or `stop`.

    `config`: `store` (keyword arguments of the StoreClass), `monitoring interval` (seconds), `limits` (named,
    cluster-wide), `data` (the folder), `keep` (seconds that finished runs stay readable).
    """

    def __init__(
        self,
        api_host_port: Address = ("127.0.0.1", 5555),
        broadcast_host_port: Address = ("127.0.0.1", 5556),
        config: Mapping[str, Any] | None = None,
        logger: logging.Logger | None = None,
        logger_name: str = "Router",
        *,
        insecure: bool = False,
        data: str | Path | None = None,
        rules: Rules | None = None,
    ) -> None:
        self.api = bind_address(api_host_port, insecure=insecure)
        self.broadcast = bind_address(broadcast_host_port, insecure=insecure)
        self.config = _checked(dict(config or {}))
        self.logger = logger or logging.getLogger(logger_name)
        folder = data or self.config.get("data")
        self.data = data_folder(str(folder) if folder else None, self.api).expanduser()
        self.rules = rules or Rules(limits=dict(self.config.get("limits") or {}))
        self.ready = False
        """The api is bound: peers and clients are answered."""
        self._stopper = Stopper()
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Ask the loop to end, from any thread."""
        self._stopper.stop()

    def start(self) -> None:
        self._journal = Journal.open(self.data)
        if self._journal.recovered:
            self.logger.warning("%s", self._journal.recovered)
        try:
            with self._stopper.on_signals():
                self._serve()
        finally:
            self._journal.close()
            self.logger.info("Router stopped")

    def _serve(self) -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._committer = Committer(self._journal, self._disk_failed)
        try:
            self._prepare(context)
            self.ready = True
            settle_down()
            self.logger.info("Entering main loop")
            while not self._stopper.requested:
                self._wait()
                self._turn()
            if self._failure is not None:
                raise JournalError(f"the journal cannot be written any more: {self._failure}") from self._failure
        finally:
            self._committer.close()
            context.destroy(linger=500)

    def _prepare(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        """Bind, and take up what the journal holds."""
        self._api = _bound(context, zmq.ROUTER, self.api, {zmq.ROUTER_MANDATORY: 1, zmq.MAXMSGSIZE: MAX_FRAME})
        self._pub = _bound(context, zmq.XPUB, self.broadcast, {zmq.XPUB_VERBOSER: 1, zmq.MAXMSGSIZE: MAX_TOPIC})
        journal, wall, now = self._journal, time.time(), time.monotonic()
        self._values = ValueReader(self.data / "values")
        welcome = Welcome(
            self.rules.lease_time,
            self.rules.heartbeat,
            pack({name: self.config[name] for name in ("store", "monitoring interval") if name in self.config}),
            str(self._values.folder.path),
            self._values.folder.id,
        )
        self._dispatch = Dispatch(journal.epoch, journal.last, self.rules, welcome, now, wall)
        brokers = [identity for identity, _ in journal.registered()]
        self._dispatch.restore(restored(journal.open_runs(), now, wall), brokers, journal.draining(), journal.paused())
        self._routes = Routes(self._api, journal.epoch)
        self._events = Broadcast(self._pub, journal.epoch)
        self._answers = Answers(journal.archive, self._dispatch.cluster, self.config, self._values)
        self._outputs = Outputs(self._dispatch.cluster, gethostname(), partial(read_file, self.data / "logs"))
        self._pruning = Pruning(journal.archive, self._values, self.config.get("keep", KEEP), now)
        self._outbox = Outbox()
        self._loads: list[Load | Lookup | Find] = []
        self._next_sweep = now + IDLE_SWEEP
        self._poller = zmq.Poller()
        for source in (self._api, self._pub, self._stopper.fileno(), self._committer.fileno()):
            self._poller.register(source, zmq.POLLIN)
        open_runs = len(self._dispatch.cluster.runs)
        self.logger.info("Epoch %d, %d open runs, data in %s", journal.epoch, open_runs, self.data)

    # A turn -----------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        deadline = min(self._dispatch.next_deadline(), self._routes.next_deadline())
        waits = not self._loads and not self._dispatch.cluster.has_effects
        wait = deadline - time.monotonic() if waits else 0.0
        milliseconds = int(min(wait, LONGEST_WAIT) * 1000) + 1 if wait > 0 else 0
        self._woken = {source for source, _ in self._poller.poll(milliseconds)}
        if self._stopper.fileno() in self._woken:
            self._stopper.drain()

    def _turn(self) -> None:
        now = time.monotonic()
        self._dispatch.at(now, time.time())
        if self._committer.fileno() in self._woken:
            self._freed()
        if self._loads:
            self._read_journal()
        turn = Turn()
        for address, envelope in self._drain():
            self._received(turn, address, envelope, now)
        self._dispatch.tick()
        if old := self._pruning.due(now, self._dispatch.cluster.wall):
            self._dispatch.prune(None, "", self._journal.archive.with_children(old))
        records, effects = self._outbox.put(self._dispatch.flush())
        if records:
            self._committer.put(self._outbox.batch, records)
        self._carry_out(effects, turn)
        self._routes.send_lazy(now)
        if self._pub in self._woken:
            self._events.drain()
        self._pruning.sweep()
        if now > self._next_sweep:
            self._next_sweep = now + IDLE_SWEEP
            self._routes.forget_idle(now)

    def _freed(self) -> None:
        """What the disk has taken sets its messages free."""
        for batch in self._committer.done():
            records, effects = self._outbox.committed(batch)
            self._dispatch.on_disk(records)
            self._pruning.committed(records)
            self._carry_out(effects, None)
            self._events.publish(records)
        stalled = self._committer.stalled
        if stalled and not self._dispatch.cluster.stalled:
            self.logger.error("the disk takes no facts: %s", stalled)
            self._dispatch.stall(f"disk: {stalled}")
        elif not stalled and self._dispatch.cluster.stalled:
            self.logger.warning("the disk takes facts again")
            self._dispatch.taken_up()

    def _carry_out(self, effects: list[RouterEffect], turn: Turn | None) -> None:
        """Send, one envelope per peer; what has to be read from the journal is read in the next turn."""
        outgoing: dict[str, list[FromRouter]] = {} if turn is None else turn.replies
        gone: list[str] = []
        for effect in effects:
            match effect:
                case Send():
                    outgoing.setdefault(effect.peer, []).append(effect.message)
                case Load() | Lookup() | Find():
                    self._loads.append(effect)
                case Forget():
                    gone.append(effect.peer)
                case Tell():
                    self._events.signal(effect)
        for peer, messages in outgoing.items():
            self._routes.send(peer, messages, self._dispatch.cluster.now)
        for peer in gone:
            self._routes.forget(peer)
        for peer in self._routes.take_unreachable():
            self._dispatch.unreachable(peer)

    def _read_journal(self) -> None:
        loads, self._loads = self._loads, []
        archive, cluster = self._journal.archive, self._dispatch.cluster
        asked = [load.child for load in loads if isinstance(load, Find)]
        below = found_below(archive, asked, cluster.now, cluster.wall) if asked else {}
        for load in loads:
            if isinstance(load, Find):
                self._dispatch.found(load, *below[load.child])
            elif isinstance(load, Load):
                definition = archive.definition(load.run) if load.definition else None
                self._dispatch.loaded(load.run, load.take, definition, archive.facts(load.run, load.after))
            elif hello := self._dispatch.leasing.greeting(load.peer):
                self._dispatch.looked_up(load.peer, load.session, _ended(archive, hello.held))

    # The api ----------------------------------------------------------------------------------------------------

    def _drain(self) -> Iterable[tuple[bytes, Inbound]]:
        for frames in drained(self._api):
            try:
                if len(frames) != 2:
                    raise ValueError(f"{len(frames) - 1} frames instead of one")
                envelope = decode_inbound(frames[1])
                if not OLDEST <= envelope.version <= PROTOCOL:
                    raise ValueError(f"protocol {envelope.version} is not spoken here")
            except (msgspec.MsgspecError, ValueError, RecursionError) as error:
                self._malformed(frames, error)
            else:
                yield frames[0], envelope

    def _malformed(self, frames: list[bytes], error: Exception) -> None:
        """Answered in the form it came, counted, and forgotten."""
        counts = self._dispatch.cluster.counts
        counts["malformed"] += 1
        level = logging.WARNING if counts["malformed"] <= WARNED_MALFORMED else logging.DEBUG
        self.logger.log(level, "dropped a malformed message (%d so far): %s", counts["malformed"], error)
        reason = f"this is not a message of Headrace: {error}"
        frame = encode(Outbound(PROTOCOL, self._journal.epoch, "", 0, [Failed("", "invalid", reason[:500])]))
        try:
            self._api.send_multipart([*frames[:-1][:2], frame], zmq.NOBLOCK)
        except zmq.ZMQError:
            pass  # whoever it was does not read, or is gone

    def _received(self, turn: Turn, address: bytes, envelope: Inbound, now: float) -> None:
        peer, session = envelope.sender, envelope.session
        whole = self._routes.arrived(address, envelope, now)
        member = peer in self._dispatch.cluster.brokers or peer in self._dispatch.cluster.pipeliners
        if member and not whole:
            turn.reply(peer, Again())
            return
        if self.logger.isEnabledFor(logging.DEBUG):
            for message in envelope.messages:
                self.logger.debug("< %s %s", peer[:8], message)
        for message in envelope.messages:
            try:
                self._handle(turn, peer, session, message, member, now)
            except Exception as error:
                self._dispatch.cluster.counts["failures"] += 1
                self.logger.exception("could not handle %s of %s", message, peer)
                if request := getattr(message, "id", None):
                    turn.reply(peer, Failed(request, "internal", f"{type(error).__name__}: {error}"))

    def _handle(self, turn: Turn, peer: str, session: str, message: ToRouter, member: bool, now: float) -> None:
        match message:
            case Submit():
                self._dispatch.submit(peer, message, *self._known_to(message))
            case FetchValue():
                turn.reply(peer, Fetched(message.id, self._answers.give(message.want)))
            case Ask():
                turn.reply(peer, self._answers.answer(message))
            case ReadOutput():
                self._outputs.read(peer, message)
            case Output():
                self._outputs.told(message)
            case Follow():
                self._dispatch.follow(peer, message, self._known(message.runs))
            case Control() if (text := self._remembered(message)) is not None:
                self._dispatch.cluster.send(peer, Done(message.id, text))  # the fact may not be on disk yet
            case Control(verb="prune"):
                self._prune(turn, peer, message)
            case Control(verb="retry") if message.run not in self._dispatch.cluster.runs:
                self._retry(turn, peer, message)
            case Control(verb="drain"):
                self._dispatch.drain(peer, message)
            case Control():
                self._dispatch.control(peer, message, self._known([message.run]))
            case Beat() if not member:
                turn.reply(peer, Pulse(message.stamp, message.seen))
            case _:
                self._dispatch.handle(peer, session, message)

    def _remembered(self, message: Control) -> str | None:
        """What was answered when this request was carried out."""
        answered = self._dispatch.cluster.answered.get(message.id) or self._outbox.answer(message.id)
        answer = answered or self._journal.archive.answer(message.id)
        return answer[1].decode() if answer and answer[0] == digest(message) else None

    def _retry(self, turn: Turn, peer: str, message: Control) -> None:
        archive, cluster = self._journal.archive, self._dispatch.cluster
        try:
            with archive.snapshot():
                run = ended_run(archive, message.run, cluster.now, cluster.wall)
                verdict = known_runs(archive, [message.run])[message.run].verdict
        except NotFound as error:
            turn.reply(peer, not_found(message.id, error))
            return
        if run is None:
            turn.reply(peer, Failed(message.id, "busy", "its end is being written", 0.1))
        elif run.parent is not None:
            above = f"run {message.run} is a part of run {run.parent.run}"
            turn.reply(peer, Failed(message.id, "conflict", f"{above}: what is tried again is that"))
        elif verdict == "success":
            reason = f"run {message.run} has succeeded: there is nothing to try again (rerun makes a new run of it)"
            turn.reply(peer, Failed(message.id, "conflict", reason))
        else:
            key = run.options.key
            holder = archive.holders([key]).get(key) if key is not None else None
            self._dispatch.reopen(peer, message, run, holder)

    def _prune(self, turn: Turn, peer: str, message: Control) -> None:
        try:
            runs = self._pruning.asked(message, self._dispatch.cluster.wall)
            self._dispatch.prune(peer, message.id, self._journal.archive.with_children(runs), len(runs))
        except NotFound as error:
            turn.reply(peer, not_found(message.id, error))
        except UserError as error:
            turn.reply(peer, Failed(message.id, "conflict", str(error)))

    def _known_to(self, message: Submit) -> tuple[dict[str, Known], dict[str, str]]:
        named = [one.run for one in message.submissions]
        named += [run for one in message.submissions for run in one.options.after]
        keys = {one.options.key for one in message.submissions if one.options.key is not None}
        if not keys:
            return self._known(named), {}
        with self._journal.archive.snapshot():
            holders = self._journal.archive.holders(keys)
            return self._known([*named, *holders.values()]), holders

    def _known(self, runs: Iterable[str]) -> dict[str, Known]:
        """What the journal has of those that are not open."""
        open_runs, ids = self._dispatch.cluster.runs, self._journal.ids
        wanted = [run for run in runs if run not in open_runs and run in ids]
        return known_runs(self._journal.archive, wanted) if wanted else {}

    def _disk_failed(self, error: BaseException) -> None:
        """A failed fsync: what we believe to be on disk may not be. The next process reads what is there."""
        self._failure = error
        self._stopper.stop()


def _bound(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, address: str, options: Mapping[int, int]
) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 500)
    socket.setsockopt(zmq.SNDHWM, 10_000)
    socket.setsockopt(zmq.RCVHWM, 10_000)
    for option, value in options.items():
        socket.setsockopt(option, value)
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        raise ConfigError(f"cannot listen on {address}: {error}; is another Router running there?") from None
    return socket


def _ended(archive: Archive, held: Iterable[Held]) -> set[int]:
    """Those leases whose attempts nobody waits for any more."""
    leases: dict[str, dict[Place, int]] = {}
    for one in held:
        leases.setdefault(one.run, {})[one.job, one.path, one.round, one.attempt] = one.lease
    return {places[place] for run, places in leases.items() for place in archive.ended(run, places)}


def _checked(config: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(config) - CONFIG_KEYS)
    if unknown:
        raise ConfigError(f"Router config: unknown key {unknown[0]!r}; known are {', '.join(sorted(CONFIG_KEYS))}")
    _check_seconds(config, "monitoring interval", least=0.001)
    _check_seconds(config, "keep", least=0.0)
    store = config.get("store")
    if store is not None and not isinstance(store, Mapping):
        raise ConfigError(f"Router config: 'store' holds the keyword arguments of the StoreClass, not {store!r}")
    for name, most in (config.get("limits") or {}).items():
        if not isinstance(most, int) or isinstance(most, bool) or most < 0:
            raise ConfigError(f"Router config: limit {name!r} has to be a whole number from 0 on, not {most!r}")
    return config


def _check_seconds(config: dict[str, Any], key: str, least: float) -> None:
    """None stands for the default, or for never."""
    value = config.get(key)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is not None and not (number and least <= value < float("inf")):
        what = "more than 0" if least else "0 or more"
        raise ConfigError(f"Router config: {key!r} has to be a number of seconds, {what}, not {value!r}")
