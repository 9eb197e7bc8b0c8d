"""The Router's machine: queues, leases, and what becomes a fact. Pure: messages and time in, effects out.

It knows the open runs, who tracks each, what of it is held, queued or leased, and who is there. It refuses to know the
shape of pipelines (the Pipeliner's) and user data (nobody's). What has ended is in the journal and not here.

The rules it keeps, each told where it is kept:
  - an attempt is granted under a new lease number, and only an outcome under that lease counts (`_outcome`);
  - an instance that is queued, leased or has ended is not queued again (`_enqueue`);
  - only the owner under the current take number speaks for a run (`_spoken_for`);
  - a verdict is taken only from a Pipeliner that has seen every fact of the run (`_conclude`);
  - after a restart, what may be running on a Broker that has not come back is not granted (`_leasable`);
  - the order of facts decides: what is recorded first has happened first (`_record`).

Facts are recorded as they are decided; the loop commits them at the end of the turn, and holds back every message that
rests on them until they are on disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from ..pipeline.facts import (
    Accepted,
    Cancelled,
    Ended,
    Ending,
    Fact,
    Failure,
    Finished,
    Paused,
    Registered,
    Released,
    Returned,
    RunError,
    Unregistered,
    Verdict,
    pack_fact,
)
from ..pipeline.task import COMMAND, Outcome, Ready
from .effects import Forget, Load, Lookup, Record, RouterEffect, Send
from .grants import Grants, ResultCache
from .items import Item, Key, State
from .members import BrokerMember, PipelinerMember
from .protocol import (
    OLDEST,
    PROTOCOL,
    Again,
    Beat,
    BrokerCard,
    Bye,
    Conclude,
    Control,
    Credit,
    Done,
    Drop,
    Endings,
    Enqueue,
    Failed,
    Follow,
    FromRouter,
    Halt,
    HandedBack,
    Held,
    Hello,
    Kill,
    News,
    Noted,
    Outcomes,
    Pulse,
    Receipt,
    Refuse,
    RunEnd,
    Submission,
    Submit,
    Submitted,
    Take,
    ToRouter,
    Welcome,
)
from .queues import Queues
from .runs import OpenRun
from .timers import Timers

logger = logging.getLogger(__name__)

PAGE = 5000
"""Facts in one message of a Take."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The numbers that the machine goes by. Seconds, and counts."""

    heartbeat: float = 2.0
    lease_time: float = 8.0
    hand_on: float = 9.0
    """A Broker that was not heard of for this long has lost its leases; it has killed its jobs by then."""
    silent: float = 6.0
    """A Pipeliner that was not heard of for this long has lost its runs."""
    window: int = 2000
    open_runs: int = 200_000
    inline_data: int = 16 * 1024
    cached_results: int = 64 * 1024 * 1024
    gathering: float = 1.0
    """After a restart with open runs: how long Pipeliners may take to come back for theirs."""
    lost_takes: int = 3
    limits: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """What the journal knows of a run that is not open: its end, and whether it still stands there."""

    run: str
    verdict: Verdict | None
    error: RunError | None = None
    duration: float = 0.0
    at: float = 0.0


class Dispatch:
    """`handle` and `tick` return effects. Set the clock once per turn with `at`."""

    def __init__(self, epoch: int, last: int, rules: Rules, welcome: Welcome, now: float, wall: float) -> None:
        self.epoch = epoch
        self.last = last
        self.began = last
        """Facts above this number are this epoch's own."""
        self.rules = rules
        self.welcome = welcome
        self.now = now
        self.wall = wall
        self.runs: dict[str, OpenRun] = {}
        self.brokers: dict[str, BrokerMember] = {}
        self.pipeliners: dict[str, PipelinerMember] = {}
        self.queues = Queues(rules.limits)
        self.results = ResultCache(rules.cached_results)
        self.timers = Timers()
        self.grants = Grants(epoch, self.queues, self.results)
        self.stalled = ""
        """Why no facts can be taken now, when the disk does not take them."""
        self.counts = {"accepted": 0, "finished": 0, "returned": 0, "refused outcomes": 0}
        self._began_at = now
        self._awaited: set[str] = set()
        self._restarted = False
        self._held_back: dict[Item, None] = {}
        self._greetings: dict[str, Hello] = {}
        self._orphans: dict[str, None] = {}
        self._waiting_for: dict[str, set[str]] = {}
        self._takes = epoch << 32
        self._ended_now: dict[str, list[RunEnd]] = {}
        self._news: dict[str, list[tuple[int, bytes]]] = {}
        self._effects: list[RouterEffect] = []
        self._handlers: dict[type, Callable[[str, str, object], None]] = {}

    # The way in -------------------------------------------------------------------------------------------------

    def at(self, now: float, wall: float) -> None:
        """The turn's time: monotonic, and of the wall."""
        self.now = now
        self.wall = wall

    def restore(self, runs: Iterable[OpenRun], brokers: Iterable[str]) -> None:
        """What the journal says at start: open runs without owners, and the Brokers that may still run their jobs."""
        for run in runs:
            self.runs[run.id] = run
            self._orphans[run.id] = None
            self._arm(run)
        self._awaited = set(brokers)
        self._restarted = bool(self.runs)
        if self._restarted:
            self.timers.set(self._began_at + self.rules.hand_on, ("settle",))
            self.timers.set(self._began_at + self.rules.gathering, ("adopt orphans",))

    def handle(self, peer: str, session: str, message: ToRouter) -> None:
        """One message of a peer under its session. Effects gather until `flush`."""
        match message:
            case Outcomes():
                if broker := self._broker(peer, session):
                    self._outcomes(broker, message.outcomes)
            case Enqueue():
                if run := self._spoken_for(peer, session, message.run, message.take):
                    self._enqueue(run, message)
            case Credit():
                if broker := self._broker(peer, session):
                    broker.credit(message.free, message.prefetch, message.seen)
            case Conclude():
                if run := self._spoken_for(peer, session, message.run, message.take):
                    self._conclude(run, message)
            case Halt():
                if run := self._spoken_for(peer, session, message.run, message.take):
                    self._halt(run, message)
            case Beat():
                self._beat(peer, session, message)
            case HandedBack():
                if broker := self._broker(peer, session):
                    self._handed_back(broker, message.leases)
            case Hello():
                self._hello(peer, session, message)
            case Bye():
                self._bye(peer, session, message)
            case _:
                pass

    def tick(self) -> None:
        """Whatever is due by now."""
        for due in self.timers.due(self.now):
            self._due(*due)
        for broker in [b for b in self.brokers.values() if self.now - b.heard >= self.rules.hand_on]:
            self._lose_broker(broker, f"Broker {broker.place} was not heard of for {self.rules.hand_on:g} s")
        for pipeliner in [p for p in self.pipeliners.values() if self.now - p.heard >= self.rules.silent]:
            self._lose_pipeliner(pipeliner, died=True)

    def next_deadline(self) -> float:
        heard = [b.heard + self.rules.hand_on for b in self.brokers.values()]
        heard += [p.heard + self.rules.silent for p in self.pipeliners.values()]
        return min([self.timers.next(), *heard])

    def flush(self) -> list[RouterEffect]:
        """End of the turn: grant what can be granted, tell what has happened."""
        if self.queues.size:
            self._effects += self.grants.distribute(self.brokers.values(), self.now)
        for run_id, facts in self._news.items():
            run = self.runs.get(run_id)
            if run is None or run.owner is None:
                continue
            if run.loading:
                run.backlog += facts
            else:
                self._send(run.owner, News(run_id, run.take, run.control, _raw(facts)))
        self._news = {}
        for client, ends in self._ended_now.items():
            self._send(client, Endings("", ends))
        self._ended_now = {}
        effects, self._effects = self._effects, []
        return effects

    # Clients ----------------------------------------------------------------------------------------------------

    def submit(self, client: str, message: Submit, known: dict[str, Known], keys: dict[str, str]) -> None:
        """`known`: those of the run ids (and of the runs they wait for) that are in the journal and not open; `keys`:
        runs there that hold the keys asked for."""
        if self.stalled:
            return self._send(client, Failed(message.id, "busy", self.stalled, 1.0))
        if len(self.runs) + len(message.submissions) > self.rules.open_runs:
            return self._send(client, Failed(message.id, "busy", f"{len(self.runs)} runs are open", 1.0))
        receipts = [self._accept(client, one, message.follow, known, keys) for one in message.submissions]
        return self._send(client, Submitted(message.id, receipts, self.wall))

    def follow(self, client: str, message: Follow, known: dict[str, Known]) -> None:
        ends: list[RunEnd] = []
        unknown: list[str] = []
        for run_id in message.runs:
            if run := self.runs.get(run_id):
                run.followers.add(client)
            elif (one := known.get(run_id)) and one.verdict:
                ends.append(RunEnd(run_id, one.verdict, one.duration, one.at, one.error))
            else:
                unknown.append(run_id)
        self._send(client, Endings(message.id, ends, unknown))

    def control(self, client: str, message: Control, known: dict[str, Known]) -> None:
        run = self.runs.get(message.run)
        if run is None:
            self._control_closed(client, message, known)
        elif self.stalled:
            self._send(client, Failed(message.id, "busy", self.stalled, 1.0))
        elif message.verb == "cancel":
            self._cancel(run, message.reason or "cancelled")
            self._send(client, Done(message.id, "cancelling"))
        elif message.verb in ("pause", "resume"):
            self._pause(run, message.verb == "pause")
            self._send(client, Done(message.id, "paused" if run.paused else "running"))
        else:
            reason = f"run {run.id} is {run.state}: {message.verb} is for runs that have ended"
            self._send(client, Failed(message.id, "conflict", reason))

    def _control_closed(self, client: str, message: Control, known: dict[str, Known]) -> None:
        one = known.get(message.run)
        if one is None:
            reason = f"there is no run {message.run!r}"
            return self._send(client, Failed(message.id, "not-found", reason))
        if message.verb == "cancel":
            return self._send(client, Done(message.id, f"it has ended already: {one.verdict or 'pruned'}"))
        reason = f"run {message.run} has ended already: {one.verdict or 'pruned'}"
        return self._send(client, Failed(message.id, "conflict", reason))

    def _accept(
        self, client: str, one: Submission, follow: bool, known: dict[str, Known], keys: dict[str, str]
    ) -> Receipt:
        if one.run in self.runs:
            if follow:
                self.runs[one.run].followers.add(client)
            return Receipt(one.run, existed=True)
        if one.run in known:
            self._tell_end(client, known[one.run], follow)
            return Receipt(one.run, existed=True)
        key = one.options.key
        holder = keys.get(key) if key is not None else None
        if holder is not None and one.options.on_duplicate != "replace":
            if one.options.on_duplicate == "reject":
                return Receipt(holder, False, True, f"key {key!r} is held by run {holder}")
            if (open_run := self.runs.get(holder)) and follow:
                open_run.followers.add(client)
            elif holder in known:
                self._tell_end(client, known[holder], follow)
            return Receipt(holder, existed=True)
        awaits = set(one.options.after)
        if holder is not None and holder in self.runs:
            self._cancel(self.runs[holder], f"replaced by run {one.run}")
            awaits.add(f"~{holder}")
        if key is not None:
            keys[key] = one.run
        self._open(client if follow else None, one, awaits, known)
        return Receipt(one.run)

    def _open(self, follower: str | None, one: Submission, awaits: set[str], known: dict[str, Known]) -> None:
        options = one.options
        early = options.not_before is not None and options.not_before > self.wall
        broken = [name for name in options.after if name not in self.runs and _failed(known.get(name))]
        awaits = {name for name in awaits if name.removeprefix("~") in self.runs}
        active = not early and not awaits
        small = one.data is not None and len(one.data) <= self.rules.inline_data
        run = OpenRun(
            one.run,
            self.last + 1,
            options,
            self.wall,
            self.now,
            data=one.data if small else None,
            has_data=one.data is not None,
            definition=one.definition,
            active=active,
            awaits=awaits,
        )
        self.runs[run.id] = run
        if follower:
            run.followers.add(follower)
        self.counts["accepted"] += 1
        self._record(run, Accepted(run.id, self.wall, options, active), definition=one.definition, data=one.data)
        if broken:
            self._finish(run, "failed", RunError(None, (), _after_reason(broken[0], known.get(broken[0]))))
            return
        for name in awaits:
            self._waiting_for.setdefault(name.removeprefix("~"), set()).add(run.id)
        self._arm(run)
        if active:
            self._assign(run)

    def _tell_end(self, client: str, one: Known, follow: bool) -> None:
        if follow and one.verdict:
            end = RunEnd(one.run, one.verdict, one.duration, one.at, one.error)
            self._ended_now.setdefault(client, []).append(end)

    def _cancel(self, run: OpenRun, reason: str) -> None:
        if run.cancelled is not None or run.ending is not None:
            return
        run.control += 1
        run.cancelled = reason
        self._record(run, Cancelled(self.wall, run.control, reason))
        self._stop(run, [item.key for item in run.live.values() if not item.ready.hook])
        if not run.active:
            self._activate(run)

    def _pause(self, run: OpenRun, on: bool) -> None:
        if run.paused == on:
            return
        run.paused = on
        self._record(run, Paused(self.wall, run.control, on))
        if not on:
            self.queues.wake(run)

    # The life of a run ------------------------------------------------------------------------------------------

    def _arm(self, run: OpenRun) -> None:
        options = run.options
        if not run.active and options.not_before is not None and options.not_before > self.wall:
            self.timers.set(self.now + options.not_before - self.wall, ("release", run.id))
        elif run.active and options.deadline is not None:
            self.timers.set(run.started + options.deadline, ("deadline", run.id))

    def _release(self, run: OpenRun) -> None:
        """A waiting run starts, when nothing keeps it any more."""
        early = run.options.not_before is not None and run.options.not_before > self.wall + 0.001
        if run.active or run.awaits:
            return None
        if early:
            return self._arm(run)
        self._record(run, Released(self.wall))
        run.started = self.now
        self._activate(run)
        return self._arm(run)

    def _activate(self, run: OpenRun) -> None:
        run.active = True
        self._assign(run)

    def _assign(self, run: OpenRun, to: PipelinerMember | None = None, held: int | None = None) -> None:
        """Give the run to a Pipeliner. `held`: it still has the run up to this fact."""
        if run.parked:
            return
        pipeliner = to or min(self.pipeliners.values(), key=lambda one: len(one.runs), default=None)
        if pipeliner is None:
            run.owner = None
            self._orphans[run.id] = None
            return
        self._orphans.pop(run.id, None)
        self._takes += 1
        run.take = self._takes
        run.owner = pipeliner.identity
        pipeliner.runs.add(run.id)
        if run.definition is not None:
            definition, run.definition = run.definition, None
            facts = self._news.pop(run.id, [])
            self._send(run.owner, self._take(run, definition, facts, more=False))
        else:
            run.loading = True
            run.backlog = []
            self._news.pop(run.id, None)
            self._effects.append(Load(run.id, run.take, held or 0, definition=held is None))

    def loaded(self, run_id: str, take: int, definition: bytes | None, facts: list[tuple[int, bytes]]) -> None:
        """What a `Load` asked for. Facts that came after it was read are added from the backlog."""
        run = self.runs.get(run_id)
        if run is None or run.take != take or not run.loading or run.owner is None:
            return
        last = facts[-1][0] if facts else 0
        facts += [fact for fact in run.backlog if fact[0] > last]
        run.loading = False
        run.backlog = []
        first, rest = facts[:PAGE], facts[PAGE:]
        self._send(run.owner, self._take(run, definition, first, more=bool(rest)))
        for start in range(0, len(rest), PAGE):
            self._send(run.owner, News(run.id, run.take, run.control, _raw(rest[start : start + PAGE])))

    def _take(self, run: OpenRun, definition: bytes | None, facts: list[tuple[int, bytes]], more: bool) -> Take:
        return Take(run.id, run.take, run.control, definition, _raw(facts), run.number, more, self.rules.window)

    def _conclude(self, run: OpenRun, message: Conclude) -> None:
        run.acknowledge(message.seen)
        if message.seen != run.last or self.stalled:
            return
        if not message.final:
            if run.ending is None:
                run.ending = (message.verdict, message.error)
                self._record(run, Ending(self.wall, message.verdict, message.error))
            return
        if run.live:
            return
        verdict, error = run.ending or (message.verdict, message.error)
        self._finish(run, verdict, error)

    def _finish(self, run: OpenRun, verdict: Verdict, error: RunError | None) -> None:
        duration = max(0.0, self.now - run.started)
        self._record(run, Finished(self.wall, verdict, error, duration))
        self.counts["finished"] += 1
        del self.runs[run.id]
        self._orphans.pop(run.id, None)
        self.queues.forget(run)
        if run.owner and (owner := self.pipeliners.get(run.owner)):
            owner.runs.discard(run.id)
            self._news.pop(run.id, None)
            self._send(owner.identity, Drop(run.id, run.take))
        end = RunEnd(run.id, verdict, duration, self.wall, error)
        for client in run.followers:
            self._ended_now.setdefault(client, []).append(end)
        for name in self._waiting_for.pop(run.id, ()):
            self._one_less(name, run.id, verdict, error)

    def _one_less(self, waiting: str, ended: str, verdict: Verdict, error: RunError | None) -> None:
        """A run that another one waits for has ended: only success lets it start, but a replaced one just has to be over."""
        run = self.runs.get(waiting)
        if run is None:
            return
        run.awaits -= {ended, f"~{ended}"}
        if ended in run.options.after and verdict != "success":
            known = Known(ended, verdict, error)
            self._finish(run, "failed", RunError(None, (), _after_reason(ended, known)))
        else:
            self._release(run)

    # Pipeliners -------------------------------------------------------------------------------------------------

    def _spoken_for(self, peer: str, session: str, run_id: str, take: int) -> OpenRun | None:
        """The run, when this peer may speak for it: its owner, under the current take."""
        pipeliner = self.pipeliners.get(peer)
        if pipeliner is None or pipeliner.session != session:
            self._send(peer, Again())
            return None
        run = self.runs.get(run_id)
        if run is None or run.owner != peer or run.take != take:
            self._send(peer, Drop(run_id, take))
            return None
        return run

    def _enqueue(self, run: OpenRun, message: Enqueue) -> None:
        if message.control < run.control:
            return
        run.acknowledge(message.seen)
        run.takes_lost = 0
        live, unseen = run.live, run.unseen
        for ready in message.ready:
            key = (ready.job, ready.path)
            if key in live or key in unseen:
                continue
            item = live[key] = Item(run, ready, self.now)
            if ready.delay:
                self.timers.set(self.now + ready.delay, ("queue", item))
            elif self._leasable(ready):
                item.step("queue")
                self.queues.push(item)
            else:
                self._held_back[item] = None
            if ready.needs is not None and ready.needs.queue_timeout is not None:
                self.timers.set(self.now + ready.delay + ready.needs.queue_timeout, ("expire", item))

    def _leasable(self, ready: Ready) -> bool:
        """After a restart: may it be granted, or could it be running on a Broker that has not come back?"""
        if not self._awaited:
            return True
        limited = ready.needs is not None and bool(ready.needs.limits)
        return ready.after > self.began and not limited

    def _halt(self, run: OpenRun, message: Halt) -> None:
        run.acknowledge(message.seen)
        self._stop(run, message.instances)

    def _stop(self, run: OpenRun, keys: Iterable[Key]) -> None:
        """End these instances, wherever they are: at once when not granted, else by their Brokers."""
        kills: dict[str, list[int]] = {}
        for key in keys:
            item = run.live.get((key[0], tuple(key[1])))
            if item is None or item.state is State.STOPPING:
                continue
            if item.state is State.LEASED:
                item.step("stop")
                assert item.broker is not None
                kills.setdefault(item.broker.identity, []).append(item.lease)
            else:
                self._end(item, "cancelled", error=None)
        for broker, leases in kills.items():
            self._send(broker, Kill(leases))

    def _lose_pipeliner(self, pipeliner: PipelinerMember, died: bool) -> None:
        del self.pipeliners[pipeliner.identity]
        logger.info("Pipeliner %s is gone with %d runs", pipeliner.place, len(pipeliner.runs))
        self._effects.append(Forget(pipeliner.identity))
        for run_id in sorted(pipeliner.runs):
            run = self.runs[run_id]
            run.loading = False
            if died and run.takes_lost < self.rules.lost_takes and run.last <= run.take:
                pass
            self._assign(run)

    # Brokers ----------------------------------------------------------------------------------------------------

    def _broker(self, peer: str, session: str) -> BrokerMember | None:
        broker = self.brokers.get(peer)
        if broker is None or broker.session != session:
            self._send(peer, Again())
            return None
        return broker

    def _outcomes(self, broker: BrokerMember, outcomes: list[Outcome]) -> None:
        if self.stalled:
            return  # it keeps them, and sends them again
        leases = broker.leases
        for outcome in outcomes:
            item = leases.get(outcome.lease)
            if item is None:
                self.counts["refused outcomes"] += 1
            else:
                self._outcome(broker, item, outcome)
        self._send(broker.identity, Noted([outcome.lease for outcome in outcomes]))

    def _outcome(self, broker: BrokerMember, item: Item, outcome: Outcome) -> None:
        ready, run = item.ready, item.run
        fact = Returned(
            ready.job,
            ready.path,
            ready.attempt,
            outcome.kind,
            outcome.lease,
            ready.round,
            outcome.started,
            outcome.duration,
            broker.place,
            outcome.size or len(outcome.result),
            outcome.ref,
            outcome.signs,
            outcome.error,
            outcome.charged,
            outcome.log,
        )
        self._unlease(item)
        self._close(item)
        self.counts["returned"] += 1
        if outcome.kind == "success" or outcome.result:
            self.results.put((run.id, ready.job, ready.path), outcome.result, outcome.ref, fact.size)
        self._record(run, fact, result=outcome.result, key=(ready.job, ready.path))

    def _end(self, item: Item, kind: Ended, error: Failure | None, charged: bool = True) -> None:
        """An item ends without an outcome."""
        ready = item.ready
        place = item.broker.place if item.broker else ""
        fact = Returned(ready.job, ready.path, ready.attempt, kind, item.lease, ready.round, self.wall, 0.0, place)
        fact = msgspec.structs.replace(fact, error=error, charged=charged)
        if item.leased:
            self._unlease(item)
        elif item.state is State.QUEUED:
            self.queues.leave(item)
        self._close(item)
        self._record(item.run, fact, key=item.key)

    def _close(self, item: Item) -> None:
        item.step("end")
        self._held_back.pop(item, None)
        del item.run.live[item.ready.job, item.ready.path]

    def _unlease(self, item: Item) -> None:
        self.grants.release(item)
        if item.run.options.max_active is not None:
            self.queues.wake(item.run)

    def _handed_back(self, broker: BrokerMember, leases: list[int]) -> None:
        for lease in reversed(leases):
            if item := broker.leases.get(lease):
                self._requeue(item)

    def _requeue(self, item: Item) -> None:
        """It never began: back to its place, uncharged. One that was to stop has stopped."""
        if item.state is State.STOPPING:
            self._end(item, "cancelled", error=None, charged=False)
            return
        self._unlease(item)
        item.step("hand back")
        self.queues.push_back(item)

    def _lose_broker(self, broker: BrokerMember, why: str) -> None:
        self._drop_broker(broker, why)
        error = Failure("BrokerLost", why)
        for item in list(broker.leases.values()):
            self._end(item, "cancelled" if item.state is State.STOPPING else "lost", error)

    def _drop_broker(self, broker: BrokerMember, why: str) -> None:
        del self.brokers[broker.identity]
        self.queues.remove_broker(broker)
        logger.info("Broker %s is gone: %s", broker.place, why)
        self._record(None, Unregistered(broker.identity, self.wall, why))
        self._effects.append(Forget(broker.identity))

    # Membership -------------------------------------------------------------------------------------------------

    def _hello(self, peer: str, session: str, hello: Hello) -> None:
        if not OLDEST <= hello.protocol <= PROTOCOL:
            spoken = f"this Router speaks protocol {OLDEST} to {PROTOCOL}"
            return self._send(peer, Refuse(f"{spoken}, {hello.place} speaks {hello.protocol}"))
        if hello.role == "broker" and hello.card is not None:
            return self._greet_broker(peer, session, hello, hello.card)
        if hello.role == "pipeliner":
            return self._greet_pipeliner(peer, session, hello)
        return self._send(peer, Refuse(f"a {hello.role} has to say nothing but its requests"))

    def _greet_broker(self, peer: str, session: str, hello: Hello, card: BrokerCard) -> None:
        """A Broker joins with what it holds. Leases of an older epoch are looked up before they count."""
        broker = self.brokers.get(peer)
        if broker is None:
            broker = BrokerMember(peer, hello.place, session, card, self.now)
            self.brokers[peer] = broker
            self._record(None, Registered(peer, hello.place, self.wall))
            logger.info("Broker %s joined with %d slots", hello.place, card.slots)
        else:
            self.queues.remove_broker(broker)
            broker.session, broker.card, broker.heard = session, card, self.now
            broker.granted.clear()
            broker.free = broker.prefetch = 0
        broker.workers = frozenset(card.workers) | ({COMMAND} if card.commands else frozenset())
        self.queues.add_broker(broker)
        self._send(peer, self.welcome)
        self._greetings[peer] = hello
        if any(held.lease not in broker.leases for held in hello.held):
            self._effects.append(Lookup(peer, session))
        else:
            self.looked_up(peer, session, set())

    def looked_up(self, peer: str, session: str, ended: set[int]) -> None:
        """Reconcile a Broker's leases with ours. `ended`: leases whose instances have ended, says the journal."""
        broker = self.brokers.get(peer)
        hello = self._greetings.get(peer)
        if broker is None or hello is None or broker.session != session:
            return
        del self._greetings[peer]
        held = {one.lease for one in hello.held}
        for lease, item in list(broker.leases.items()):
            if lease not in held:
                self._requeue(item)
        refused = [
            one.lease for one in hello.held if one.lease not in broker.leases and not self._adopt(broker, one, ended)
        ]
        if refused:
            self._send(peer, Noted(refused))
            self._send(peer, Kill(refused))
        self._outcomes(broker, list(hello.outcomes))
        self._awaited.discard(peer)
        if not self._awaited:
            self._settle()

    def _adopt(self, broker: BrokerMember, held: Held, ended: set[int]) -> bool:
        """A lease of an older epoch counts from now on, unless its instance has ended or is leased again."""
        run = self.runs.get(held.run)
        if run is None or held.lease in ended or held.lease >> 40 >= self.epoch or held.round != run.round:
            return False
        item = run.live.get((held.job, held.path))
        if item is None:
            ready = Ready(held.job, held.path, held.attempt, held.worker, b"", round=held.round)
            item = run.live[held.job, held.path] = Item(run, ready, self.now)
        elif item.leased or item.ready.attempt != held.attempt:
            return False
        if item.state is State.QUEUED:
            self.queues.leave(item)
        self._held_back.pop(item, None)
        item.step("adopt")
        self.grants.adopt(item, broker, held.lease, self.now)
        if run.cancelled is not None and not item.ready.hook:
            self._stop(run, [item.key])
        return True

    def _greet_pipeliner(self, peer: str, session: str, hello: Hello) -> None:
        pipeliner = self.pipeliners.get(peer)
        if pipeliner is None:
            pipeliner = self.pipeliners[peer] = PipelinerMember(peer, hello.place, session, self.now)
            logger.info("Pipeliner %s joined", hello.place)
        pipeliner.session, pipeliner.heard = session, self.now
        self._send(peer, self.welcome)
        holds = {run_id: seen for run_id, _, seen in hello.runs}
        for run_id in [name for name in pipeliner.runs if name not in holds]:
            self._assign(self.runs[run_id], pipeliner)
        for run_id, seen in holds.items():
            run = self.runs.get(run_id)
            if run is None or (run.owner is not None and run.owner != peer):
                self._send(peer, Drop(run_id, 0))
            elif run.active and not run.parked:
                self._assign(run, pipeliner, held=seen)
        if not self._gathering():
            self._adopt_orphans()

    def _gathering(self) -> bool:
        return self._restarted and self.now < self._began_at + self.rules.gathering

    def _adopt_orphans(self) -> None:
        for run_id in list(self._orphans):
            run = self.runs[run_id]
            if run.active:
                self._assign(run)
            else:
                del self._orphans[run_id]

    def _settle(self) -> None:
        """Every Broker that could run something is back or its time is over: grant as usual."""
        gone, self._awaited = self._awaited, set()
        for identity in gone:
            self._record(None, Unregistered(identity, self.wall, "it did not come back after a restart of the Router"))
        for item in self._held_back:
            item.step("queue")
            self.queues.push(item)
        self._held_back = {}

    def _beat(self, peer: str, session: str, beat: Beat) -> None:
        if (broker := self.brokers.get(peer)) and broker.session == session:
            self._broker_beat(broker, beat)
        elif (pipeliner := self.pipeliners.get(peer)) and pipeliner.session == session:
            pipeliner.heard = self.now
            self._send_now(peer, Pulse(beat.stamp))
        else:
            self._send(peer, Again())

    def _broker_beat(self, broker: BrokerMember, beat: Beat) -> None:
        broker.heard = self.now
        broker.busy = beat.busy
        listed = set(beat.leases)
        missing = [item for lease, item in broker.leases.items() if lease <= beat.seen and lease not in listed]
        for item in reversed(missing):
            self._requeue(item)
        kill = tuple(item.lease for item in broker.leases.values() if item.state is State.STOPPING)
        self._send_now(broker.identity, Pulse(beat.stamp, beat.seen, kill))

    def _bye(self, peer: str, session: str, bye: Bye) -> None:
        if (broker := self.brokers.get(peer)) and broker.session == session:
            for item in reversed(list(broker.leases.values())):
                self._requeue(item)
            self._drop_broker(broker, bye.why or "it said goodbye")
        elif (pipeliner := self.pipeliners.get(peer)) and pipeliner.session == session:
            self._lose_pipeliner(pipeliner, died=False)

    # Time -------------------------------------------------------------------------------------------------------

    def _due(self, what: str, subject: object = None) -> None:
        match what, subject:
            case "queue", Item() as item:
                if item.state is State.HELD:
                    self._queue_or_hold(item)
            case "expire", Item() as item:
                self._expire(item)
            case "release", str() as run_id:
                if run := self.runs.get(run_id):
                    self._release(run)
            case "deadline", str() as run_id:
                if run := self.runs.get(run_id):
                    self._cancel(run, "deadline exceeded")
            case "settle", _:
                self._settle()
            case "adopt orphans", _:
                self._adopt_orphans()

    def _queue_or_hold(self, item: Item) -> None:
        if self._leasable(item.ready):
            item.step("queue")
            self.queues.push(item)
        else:
            self._held_back[item] = None

    def _expire(self, item: Item) -> None:
        if item.state not in (State.QUEUED, State.HELD):
            return
        needs = item.ready.needs
        waited = needs.queue_timeout if needs and needs.queue_timeout is not None else 0.0
        why = f"it waited longer than its queue_timeout of {waited:g} s: {self.queues.why_waiting(item.ready)}"
        self._end(item, "expired", Failure("QueueTimeout", why))

    # Out --------------------------------------------------------------------------------------------------------

    def _record(
        self,
        run: OpenRun | None,
        fact: Fact,
        *,
        result: bytes = b"",
        definition: bytes | None = None,
        data: bytes | None = None,
        key: Key | None = None,
    ) -> None:
        """Put the fact into the journal's order, and on its way to whoever tracks the run."""
        self.last += 1
        packed = pack_fact(fact)
        run_id = run.id if run else None
        self._effects.append(Record(self.last, run_id, fact, result, definition, data, packed))
        if run is None:
            return
        run.last = self.last
        if key is not None:
            run.unseen[key] = (self.last, self.now)
        if run.owner is not None or run.definition is not None:
            self._news.setdefault(run.id, []).append((self.last, packed))

    def _send(self, peer: str, message: FromRouter) -> None:
        self._effects.append(Send(peer, message))

    def _send_now(self, peer: str, message: FromRouter) -> None:
        self._effects.append(Send(peer, message, rests=False))

    def validate(self) -> None:
        """The invariants, in words and code. Raises AssertionError with the broken one."""
        leased = 0
        for run in self.runs.values():
            for key, item in run.live.items():
                assert item.key == key and item.run is run, f"{item} stands under {key} of {run.id}"
                assert item.state is not State.ENDED, f"{item} has ended and is still live"
                assert item.leased == (item.state in (State.LEASED, State.STOPPING)), f"{item} and its lease disagree"
                if item.broker is not None:
                    assert item.broker.leases.get(item.lease) is item, f"{item} is not among its Broker's leases"
            count = sum(item.leased for item in run.live.values())
            assert run.leased == count, f"run {run.id} counts {run.leased} leases and has {count}"
            leased += count
        held = sum(len(broker.leases) for broker in self.brokers.values())
        assert held == leased, f"Brokers hold {held} leases, runs have {leased}"
        queued = sum(item.state is State.QUEUED for run in self.runs.values() for item in run.live.values())
        assert queued == self.queues.size, f"{queued} items are queued, the queues count {self.queues.size}"
        for name, used in self.queues.used.items():
            assert 0 <= used <= self.queues.limits.get(name, 0), f"limit {name}: {used} taken"


def _raw(facts: list[tuple[int, bytes]]) -> list[tuple[int, msgspec.Raw]]:
    return [(sequence, msgspec.Raw(packed)) for sequence, packed in facts]


def _failed(one: Known | None) -> bool:
    return one is None or one.verdict != "success"


def _after_reason(name: str, one: Known | None) -> str:
    if one is None or one.verdict is None:
        return f"it waits for run {name}, which the Router does not know"
    why = f": {one.error.reason}" if one.error else ""
    return f"it waits for run {name}, which ended {one.verdict}{why}"
