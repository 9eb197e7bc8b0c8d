"""The proof of the proof: one guard of the machines is removed, and the simulator has to notice.

A mutant is a change of a real class for the time of a search. The search lives through seeds until a promise is broken;
what nobody notices in all of them has escaped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from headrace.daemons import charges, session
from headrace.daemons import router as router_module
from headrace.daemons.dispatch import (
    admission,
    aisles,
    below,
    cluster,
    grants,
    leasing,
    members,
    outbox,
    promises,
    pruning,
    queues,
    runs,
    tracking,
)
from headrace.daemons.dispatch import machine as dispatch
from headrace.daemons.dispatch.effects import Send
from headrace.daemons.dispatch.items import State
from headrace.daemons.protocol import Noted, Pulse, Recall
from headrace.daemons.slots import delivery
from headrace.daemons.slots import machine as slots
from headrace.daemons.slots.orders import Guard
from headrace.pipeline import attempts, board, graft, progress, stops, windows

from . import processes, stores
from .drawing import draw
from .violation import Violation
from .world import World

Change = tuple[Any, str, Any]


@dataclass(frozen=True)
class Mutant:
    name: str
    paragraph: str
    """Where PROTOCOL has the rule,"""
    guards: str
    """and what it says."""
    changes: Callable[[], list[Change]]


@contextmanager
def applied(mutant: Mutant) -> Iterator[None]:
    changes = mutant.changes()
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in changes]
    for owner, name, change in changes:
        setattr(owner, name, change)
    try:
        yield
    finally:
        for owner, name, was in before:
            setattr(owner, name, was)


def search(mutant: Mutant, first: int, seeds: int) -> tuple[int, Violation | None]:
    """(seeds that were needed, what was noticed). What is broken without the mutant, too, does not count."""
    for number in range(seeds):
        with applied(mutant):
            violation = _live(first + number)
        if violation is not None and _live(first + number) is None:
            return number + 1, violation
    return seeds, None


def _live(seed: int) -> Violation | None:
    try:
        World(draw(seed)).run()
    except Violation as violation:
        return violation
    return None


# The mutants --------------------------------------------------------------------------------------------------------


def _wrap(owner: Any, name: str, make: Callable[[Any], Any]) -> list[Change]:
    return [(owner, name, make(getattr(owner, name)))]


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _false(*_: Any, **__: Any) -> bool:
    return False


def _true(*_: Any, **__: Any) -> bool:
    return True


def _adopt_ended() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, broker, held, ended: real(self, broker, held, set())

    return _wrap(leasing.Leasing, "_adopt", make)


def _adopt_any_round() -> list[Change]:
    def make(real: Any) -> Any:
        def adopt(self: Any, broker: Any, held: Any, ended: Any) -> Any:
            run = self.cluster.runs.get(held.run)
            return real(self, broker, msgspec.structs.replace(held, round=run.round) if run else held, ended)

        return adopt

    return _wrap(leasing.Leasing, "_adopt", make)


def _adopt_twice() -> list[Change]:
    def make(real: Any) -> Any:
        def adopt(self: Any, broker: Any, held: Any, ended: Any) -> Any:
            run = self.cluster.runs.get(held.run)
            item = run.live.get((held.job, held.path)) if run else None
            if item is not None and item.leased and held.lease not in ended:
                self._unlease(item)
                item.state = State.HELD
            return real(self, broker, held, ended)

        return adopt

    return _wrap(leasing.Leasing, "_adopt", make)


def _one_epoch() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, epoch, *more: real(self, 1, *more)

    return _wrap(grants.Grants, "__init__", make)


def _send_before_commit() -> list[Change]:
    def make(real: Any) -> Any:
        def put(self: Any, effects: Any) -> Any:
            effects = list(effects)
            early = [effect for effect in effects if isinstance(effect, Send)]
            records, now = real(self, [effect for effect in effects if not isinstance(effect, Send)])
            return records, early + now

        return put

    return _wrap(outbox.Outbox, "put", make)


def _note_before_commit() -> list[Change]:
    def make(real: Any) -> Any:
        def send(self: Any, peer: str, message: Any) -> None:
            (self.send_now if isinstance(message, Noted) else lambda *one: real(self, *one))(peer, message)

        return send

    return _wrap(cluster.Cluster, "send", make)


def _any_take() -> list[Change]:
    def make(real: Any) -> Any:
        def spoken_for(self: Any, peer: str, session: str, run_id: str, take: int) -> Any:
            run = self.cluster.runs.get(run_id)
            if run is not None and peer in self.cluster.pipeliners:
                return run
            return real(self, peer, session, run_id, take)

        return spoken_for

    return _wrap(tracking.Tracking, "spoken_for", make)


def _conclude_unseen() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, run, message: real(self, run, msgspec.structs.replace(message, seen=run.last))

    return _wrap(tracking.Tracking, "conclude", make)


def _conclude_alive() -> list[Change]:
    def make(real: Any) -> Any:
        def conclude(self: Any, run: Any, message: Any) -> None:
            live, run.live = run.live, {}
            real(self, run, message)
            if run.id in self.cluster.runs:
                run.live = live
            for item in live.values() if run.id not in self.cluster.runs else ():
                if item.leased:
                    self.leasing._unlease(item)
                elif item.state is State.QUEUED:
                    self.cluster.queues.leave(item)

        return conclude

    return _wrap(tracking.Tracking, "conclude", make)


def _renew_unlisted() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, broker, beat: real(self, broker, msgspec.structs.replace(beat, seen=0))

    return _wrap(leasing.Leasing, "beat", make)


def _requeue_unarrived() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, broker, beat: real(self, broker, msgspec.structs.replace(beat, seen=1 << 62))

    return _wrap(leasing.Leasing, "beat", make)


def _no_repeated_kill() -> list[Change]:
    def make(real: Any) -> Any:
        def send_now(self: Any, peer: str, message: Any) -> None:
            real(self, peer, msgspec.structs.replace(message, kill=()) if isinstance(message, Pulse) else message)

        return send_now

    return _wrap(cluster.Cluster, "send_now", make)


def _forget_on_telling() -> list[Change]:
    def make(real: Any) -> Any:
        def fresh(self: Any, now: float) -> Any:
            told = real(self, now)
            self.noted([outcome.lease for outcome in told])
            return told

        return fresh

    return _wrap(delivery.Delivery, "fresh", make)


def _stale_stamp() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, message, now: real(
            self, msgspec.structs.replace(message, stamp=now) if isinstance(message, Pulse) else message, now
        )

    return _wrap(slots.Slots, "handle", make)


def _no_lapse() -> list[Change]:
    def lapse(self: Any) -> None:
        self._lapsed = True
        self._effects.append(Guard(None))

    return [(slots.Slots, "_lapse", lapse), (processes.Pool, "end_late", _nothing)]


def _old_control() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, run, message: real(self, run, msgspec.structs.replace(message, control=run.control))

    return _wrap(tracking.Tracking, "enqueue", make)


def _no_unseen() -> list[Change]:
    def make(real: Any) -> Any:
        def enqueue(self: Any, run: Any, message: Any) -> None:
            run.unseen.clear()
            real(self, run, message)

        return enqueue

    return _wrap(tracking.Tracking, "enqueue", make)


def _hide_gaps() -> list[Change]:
    def make(real: Any) -> Any:
        def receive(self: Any, envelope: Any, now: float) -> Any:
            if envelope.session == self._session and envelope.number > self.received:
                envelope = msgspec.structs.replace(envelope, number=self.received + 1)
            return real(self, envelope, now)

        return receive

    return _wrap(session.Session, "receive", make)


def _more_credit() -> list[Change]:
    def make(real: Any) -> Any:
        def credit(self: Any, free: int, prefetch: int, seen: int) -> None:
            self.granted.clear()
            real(self, free, prefetch, seen)

        return credit

    return _wrap(members.BrokerMember, "credit", make)


def _late_hello() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, peer, session, hello: real(
            self, peer, session, msgspec.structs.replace(hello, count=1 << 61)
        )

    return _wrap(dispatch.Dispatch, "_hello", make)


def _hello_of_before() -> list[Change]:
    """One that was made before this Router was heard of."""

    def make(real: Any) -> Any:
        return lambda self, peer, session, hello: real(self, peer, session, msgspec.structs.replace(hello, epoch=None))

    return _wrap(dispatch.Dispatch, "_hello", make)


def _away_is_silence() -> list[Change]:
    def at(self: Any, now: float, wall: float) -> None:
        self.now, self.wall = now, wall

    return [(cluster.Cluster, "at", at)]


def _no_fence() -> list[Change]:
    def save(self: Any, execution: Any) -> bool:
        self.saved[execution.instance] = execution.assignment.fence
        return True

    return [(stores.Stores, "save", save)]


def _unread_is_lost() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, slot, event, now: real(self, slot, msgspec.structs.replace(event, unread=()), now)

    return _wrap(slots.Slots, "_down", make)


def _take_back_the_head() -> list[Change]:
    def make(real: Any) -> Any:
        def taken_back(self: Any, number: int, leases: list[int], now: float) -> Any:
            return real(self, number, [attempt.lease for attempt in self.slots[number].fifo], now)

        return taken_back

    return _wrap(slots.Slots, "taken_back", make)


def _value_later() -> list[Change]:
    def write(self: Any, execution: Any, value: bytes) -> str:
        one = execution.assignment
        ref = f"{one.run}/{one.job}/{one.fence}"
        if not one.lease % 2:  # half of them never reach the disk
            self.values[ref] = value
        return ref

    return [(stores.Stores, "write", write)]


def _repeat_after_all() -> list[Change]:
    return [(router_module.Router, "_remembered", _nothing)]


def _remember_too_early() -> list[Change]:
    def make(real: Any) -> Any:
        def handle(self: Any, turn: Any, peer: str, session: str, message: Any, member: bool, now: float) -> None:
            before = self._dispatch.cluster.send
            if isinstance(message, router_module.Control) and self._remembered(message) is not None:
                self._dispatch.cluster.send = turn.reply
            try:
                real(self, turn, peer, session, message, member, now)
            finally:
                self._dispatch.cluster.send = before

        return handle

    return _wrap(router_module.Router, "_handle", make)


def _hand_on_early() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, epoch, last, rules, *more: real(self, epoch, last, replace(rules, hand_on=5.0), *more)

    return _wrap(cluster.Cluster, "__init__", make)


def _requests_run_anew() -> list[Change]:
    def make(real: Any) -> Any:
        def accept(self: Any, client: str, one: Any, follow: bool, known: Any, keys: Any) -> Any:
            return real(self, client, one, follow, {}, keys)

        return accept

    return _wrap(admission.Admission, "_accept", make)


def _lapsed_counts() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, broker, held, ended: real(self, broker, msgspec.structs.replace(held, lapsed=False), ended)

    return _wrap(leasing.Leasing, "_adopt", make)


def _lapsed_is_dead() -> list[Change]:
    def make(real: Any) -> Any:
        def looked_up(self: Any, peer: str, session: str, ended: Any) -> None:
            real(self, peer, session, ended)
            self._await_no_more(peer)

        return looked_up

    return _wrap(leasing.Leasing, "looked_up", make)


def _works_lapsed() -> list[Change]:
    return [(slots.Slots, "_taking", property(lambda self: not self.closing))]


def _by_the_wall() -> list[Change]:
    def init(real: Any) -> Any:
        return lambda self, epoch, last, rules, welcome, now, wall: real(self, epoch, last, rules, welcome, wall, wall)

    def at(real: Any) -> Any:
        return lambda self, now, wall: real(self, wall, wall)

    return [*_wrap(cluster.Cluster, "__init__", init), *_wrap(cluster.Cluster, "at", at)]


def _no_delay() -> list[Change]:
    def make(real: Any) -> Any:
        def enqueue(self: Any, run: Any, message: Any) -> None:
            ready = [msgspec.structs.replace(one, delay=0.0) for one in message.ready]
            real(self, run, msgspec.structs.replace(message, ready=ready))

        return enqueue

    return _wrap(tracking.Tracking, "enqueue", make)


def _loss_is_failure() -> list[Change]:
    def make(real: Any) -> Any:
        def again(self: Any, fact: Any, rule: Any, run: str) -> Any:
            return real(self, msgspec.structs.replace(fact, kind="failed") if fact.kind == "lost" else fact, rule, run)

        return again

    return _wrap(attempts.Attempts, "again", make)


def _all_is_charged() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, fact, rule, run: real(self, msgspec.structs.replace(fact, charged=True), rule, run)

    return _wrap(attempts.Attempts, "again", make)


def _forgets_the_backlog() -> list[Change]:
    def make(real: Any) -> Any:
        def loaded(self: Any, run_id: str, *more: Any) -> None:
            if run_id in self.cluster.runs:
                self.cluster.runs[run_id].backlog = []
            real(self, run_id, *more)

        return loaded

    return _wrap(tracking.Tracking, "loaded", make)


def _tells_watchers_too_early() -> list[Change]:
    def make(real: Any) -> Any:
        def turn(self: Any) -> None:
            put = self._committer.put

            def published(number: int, batch: Any) -> None:
                put(number, batch)
                self._events.publish(batch)

            self._committer.put = published
            try:
                real(self)
            finally:
                self._committer.put = put

        return turn

    return _wrap(router_module.Router, "_turn", make)


def _values_go_first() -> list[Change]:
    def make(real: Any) -> Any:
        def new(self: Any, runs: list[str]) -> Any:
            found = real(self, runs)
            self._gone.extend(found)
            return found

        return new

    return _wrap(pruning.Pruning, "_new", make)


def _drained_in_vain() -> list[Change]:
    def make(real: Any) -> Any:
        def distribute(self: Any, brokers: Any, *more: Any) -> Any:
            brokers = list(brokers)
            draining = [one for one in brokers if one.draining]
            for one in draining:
                one.draining = False
            try:
                return real(self, brokers, *more)
            finally:
                for one in draining:
                    one.draining = True

        return distribute

    return _wrap(grants.Grants, "distribute", make)


def _recall_is_enough() -> list[Change]:
    def make(real: Any) -> Any:
        def flush(self: Any) -> Any:
            effects = real(self)
            for effect in effects:
                if isinstance(effect, Send) and isinstance(effect.message, Recall):
                    self.leasing.handed_back(self.cluster.brokers[effect.peer], effect.message.leases)
            return effects

        return flush

    return _wrap(dispatch.Dispatch, "flush", make)


def _rules(**changed: Any) -> Callable[[], list[Change]]:
    def make(real: Any) -> Any:
        return lambda self, epoch, last, rules, *more: real(self, epoch, last, replace(rules, **changed), *more)

    return lambda: _wrap(cluster.Cluster, "__init__", make)


def _any_window() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, take: real(self, msgspec.structs.replace(take, window=2000))

    return _wrap(charges.Charges, "_take", make)


def _below_everything(plan: Any, at: int) -> set[int]:
    return set(range(len(plan.nodes)))


def _believes_the_given_up() -> list[Change]:
    def make(real: Any) -> Any:
        def adopt(self: Any, broker: Any, held: Any, ended: Any) -> Any:
            self._registered |= {broker.identity}
            return real(self, broker, held, ended)

        return adopt

    return _wrap(leasing.Leasing, "_adopt", make)


def _rests_on_nothing(owner: Any, name: str) -> Callable[[], list[Change]]:
    def make(real: Any) -> Any:
        def decide(self: Any, *arguments: Any) -> None:
            before = self.cluster.rest_on
            real(self, *arguments)
            self.cluster.rest_on = before

        return decide

    return lambda: _wrap(owner, name, make)


def _cancels_above_only() -> list[Change]:
    def stop(self: Any, item: Any) -> None:
        item.step("stop")

    return [(below.Below, "stop", stop)]


def _pauses_above_only() -> list[Change]:
    def pausing(self: Any) -> Any:
        return self if self.paused and self.cancelled is None else None

    return [(runs.OpenRun, "pausing", pausing)]


def _time_is_above_only() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda inside, title, priority, timeout: real(inside, title, priority, None)

    return _wrap(below, "child_options", make)


def _priority_is_above_only() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda inside, title, priority, timeout: real(inside, title, 0, timeout)

    return _wrap(below, "child_options", make)


def _any_attempts_run() -> list[Change]:
    def make(real: Any) -> Any:
        def found(self: Any, asked: Any, run: Any, known: Any) -> None:
            if run is not None and run.parent is not None:
                run.parent = msgspec.structs.replace(run.parent, attempt=asked.attempt)
            real(self, asked, run, known)

        return found

    return _wrap(below.Below, "found", make)


def _opens_again() -> list[Change]:
    def make(real: Any) -> Any:
        def found(self: Any, asked: Any, run: Any, known: Any) -> None:
            if run is not None and known is not None and run.parent is not None and known.verdict == "success":
                known = msgspec.structs.replace(known, verdict="failed")
                run.parent = msgspec.structs.replace(run.parent, attempt=0)
            real(self, asked, run, known)

        return found

    return _wrap(below.Below, "found", make)


def _warden_is_charged() -> list[Change]:
    def make(real: Any) -> Any:
        def down(self: Any, slot: Any, event: Any, now: float) -> None:
            before, self._lapse_after = self._lapse_after, 1e9
            real(self, slot, msgspec.structs.replace(event, overdue=False), now)
            self._lapse_after = before

        return down

    return _wrap(slots.Slots, "_down", make)


def _overtakes_what_waits() -> list[Change]:
    def grant(self: Any) -> None:
        grants = self.grants.distribute(self.brokers.values(), self.now)
        if self.rest_on > self.synced:
            self._held.append((self.last, grants))
        else:
            self._effects += grants
        while self._held and self._held[0][0] <= self.synced:
            self._effects += self._held.popleft()[1]

    return [(cluster.Cluster, "_grant", grant)]


MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "an ended instance is adopted", "Epoch, lease, adoption", "adopted unless its instance has ended", _adopt_ended
    ),
    Mutant("a leased instance is adopted", "Epoch, lease, adoption", "adopted unless it is leased again", _adopt_twice),
    Mutant("a lease of another round is adopted", "Rounds", "rounds", _adopt_any_round),
    Mutant(
        "nothing is adopted",
        "Epoch, lease, adoption",
        "running jobs are kept",
        lambda: [(leasing.Leasing, "_adopt", _false)],
    ),
    Mutant(
        "no wait after a restart",
        "Epoch, lease, adoption",
        "until all are back",
        lambda: [(leasing.Leasing, "_leasable", _true)],
    ),
    Mutant(
        "verdicts during the wait",
        "Epoch, lease, adoption",
        "confirmed dead",
        lambda: [(leasing.Leasing, "may_run_elsewhere", _false)],
    ),
    Mutant("lease numbers begin anew", "Epoch, lease, adoption", "every grant gets a new lease number", _one_epoch),
    Mutant("sent before the commit", "Commit", "effects are held until their batch is committed", _send_before_commit),
    Mutant("noted before the commit", "Commit", "effects are held until their batch is committed", _note_before_commit),
    Mutant("any take may speak", "Pipeliners", "a run's owner is named by a take number", _any_take),
    Mutant("a verdict of the past", "Pipeliners", "Finish is compare-and-set", _conclude_unseen),
    Mutant("a verdict over living jobs", "Ending", "every leased attempt is confirmed dead", _conclude_alive),
    Mutant("an unlisted lease is renewed", "Level-triggered", "one missing goes back to the queue", _renew_unlisted),
    Mutant("what has not arrived is missing", "Level-triggered", "behind an acknowledged number", _requeue_unarrived),
    Mutant("a kill is said once", "Level-triggered", "heartbeats repeat kills", _no_repeated_kill),
    Mutant("an outcome is told once", "Level-triggered", "outcomes not yet acknowledged", _forget_on_telling),
    Mutant("leases from the answer's arrival", "Leases in time", "from its own stamp on the heartbeat", _stale_stamp),
    Mutant(
        "no lapse",
        "Leases in time",
        "the Broker kills at 7 s",
        _no_lapse,
    ),
    Mutant(
        "the warden sleeps",
        "Leases in time",
        "the warden holds the deadlines",
        lambda: [(processes.Pool, "end_late", _nothing)],
    ),
    Mutant("an enqueue from before the cancel", "Pipeliners", "control number", _old_control),
    Mutant(
        "ended instances are queued again",
        "Pipeliners",
        "an Enqueue for an instance that has ended is dropped",
        _no_unseen,
    ),
    Mutant("gaps are not noticed", "Level-triggered", "messages per peer are numbered", _hide_gaps),
    Mutant("grants on their way are forgotten", "Level-triggered", "by credit", _more_credit),
    Mutant("an overtaken Hello is believed", "Level-triggered", "the whole state, as it is now", _late_hello),
    Mutant(
        "the Router's absence is silence",
        "Leases in time",
        "attempts lost because the Router was away",
        _away_is_silence,
    ),
    Mutant("fences are ignored", "Stores and values", "compare-and-set on the fence", _no_fence),
    Mutant(
        "a value after its outcome", "Stores and values", "synced before its outcome leaves the Broker", _value_later
    ),
    Mutant(
        "deaths are charged to who waits",
        "Budgets",
        "process deaths count for the job that was executing",
        _unread_is_lost,
    ),
    Mutant("the head is taken back", "Prefetch", "only after the process confirmed", _take_back_the_head),
    Mutant("no quarantine", "Budgets", "quarantine after 3", lambda: [(attempts, "DEATHS", 10**6)]),
    Mutant(
        "requests are carried out again", "Requests", "repeating a request returns the first answer", _repeat_after_all
    ),
    Mutant("remembered before the commit", "Requests", "answers that changed state", _remember_too_early),
    Mutant("ended runs are accepted again", "Requests", "repeating a submit is harmless for ever", _requests_run_anew),
    Mutant("limits are not kept", "DESIGN 4", "limit slots", lambda: [(queues.Queues, "limits_free", _true)]),
    Mutant("paused runs go on", "DESIGN 4", "pause", lambda: [(runs.OpenRun, "blocked", _false)]),
    Mutant(
        "silent Brokers stay",
        "Leases in time",
        "dead peers are noticed",
        lambda: [(leasing.Leasing, "lose_silent", _nothing)],
    ),
    Mutant(
        "silent Pipeliners stay",
        "Leases in time",
        "dead peers are noticed",
        lambda: [(tracking.Tracking, "lose_silent", _nothing)],
    ),
    Mutant("the wait is too short", "Leases in time", "the Router hands on at 9 s", _hand_on_early),
    Mutant(
        "news of the take before", "Pipeliners", "a new session", lambda: [(charges.Charges, "await_takes", _nothing)]
    ),
    Mutant(
        "a new owner waits for nothing", "Ending", "a clean-up is held back", lambda: [(stops.Stops, "inherit", _false)]
    ),
    Mutant(
        "a verdict is said once",
        "Pipeliners",
        "the Router's answers may be lost",
        lambda: [(charges.Charges, "repeat", _nothing)],
    ),
    Mutant(
        "a lapsed lease is adopted", "Epoch, lease, adoption", "others may have been given its work", _lapsed_counts
    ),
    Mutant(
        "what has lapsed is taken for dead", "Epoch, lease, adoption", "or lease + margin has passed", _lapsed_is_dead
    ),
    Mutant("work starts without a lease", "Leases in time", "nothing starts on a stale stamp", _works_lapsed),
    Mutant("durations by the wall clock", "Time", "within an epoch only the monotonic one counts", _by_the_wall),
    Mutant("delays are forgotten", "Time", "not before this fact + d", _no_delay),
    Mutant("a lost Broker is a failure", "Budgets", "loss of a Broker has a budget of its own", _loss_is_failure),
    Mutant("everything is charged", "Budgets", "lease kills count nowhere", _all_is_charged),
    Mutant("hooks of a group beside its jobs", "Ending", "then hooks run", lambda: [(stops.Stops, "above", _false)]),
    Mutant(
        "hooks beside what a cancel stops", "Ending", "then hooks run", lambda: [(runs.OpenRun, "has_jobs", _false)]
    ),
    Mutant("a Take leaves facts out", "Pipeliners", "Takes are streamed", _forgets_the_backlog),
    Mutant("the window is not kept", "Pipeliners", "a window per run", _any_window),
    Mutant("any number of runs", "Pipeliners", "a global cap", _rules(open_runs=10**9)),
    Mutant("watchers are told too early", "Watching", "facts, gap-free and replayable", _tells_watchers_too_early),
    Mutant("values go before their run", "Stores and values", "goes after its prune is committed", _values_go_first),
    Mutant("a drained Broker works on", "Budgets", "stops and drains", _drained_in_vain),
    Mutant("a recall is taken for its answer", "Prefetch", "only HandedBack frees it", _recall_is_enough),
    Mutant(
        "a graft before anything",
        "Judgement",
        "only before descendants of the grafter",
        lambda: [(graft, "descendants", _below_everything)],
    ),
    Mutant(
        "any answer is honoured",
        "Judgement",
        "an invalid answer is a failure without retry",
        lambda: [(progress, "problem_of", _nothing)],
    ),
    Mutant(
        "a graft holds nobody up", "Judgement", "put before others", lambda: [(board.Board, "put_before", _nothing)]
    ),
    Mutant(
        "a retry does everything anew",
        "Rounds",
        "what did not succeed, and what depends on it",
        lambda: [(progress.Progress, "_kept", lambda self: {})],
    ),
    Mutant(
        "a key holds nobody off",
        "Requests",
        "key is unique among runs not pruned",
        lambda: [(admission.Admission, "_holder", _nothing)],
    ),
    Mutant(
        "resources are not counted",
        "DESIGN 4",
        "only Brokers that have the resources",
        lambda: [(aisles, "_has_room", _true)],
    ),
    Mutant(
        "the disk is never full",
        "Commit",
        "the Router takes no new facts",
        lambda: [(dispatch.Dispatch, "stall", _nothing)],
    ),
    Mutant(
        "a Broker that was given up is believed",
        "Epoch, lease, adoption",
        "the journal keeps which Brokers are registered",
        _believes_the_given_up,
    ),
    Mutant(
        "work is handed on before that is on disk",
        "Commit",
        "nothing derived from an unsynced fact leaves",
        lambda: _rests_on_nothing(leasing.Leasing, "_write_off")() + _hello_of_before(),
    ),
    Mutant(
        "results below are collected too early",
        "Commit",
        "nothing derived from an unsynced fact leaves",
        _rests_on_nothing(below.Below, "_collect"),
    ),
    Mutant(
        "grants come after a new greeting",
        "Level-triggered",
        "the whole state, as it is now",
        lambda: [(cluster.Cluster, "let_go", _nothing)],
    ),
    Mutant(
        "grants overtake others that wait for the disk",
        "Level-triggered",
        "one missing behind an acknowledged number",
        _overtakes_what_waits,
    ),
    Mutant("a cancel stays above", "Sub-runs", "a cancel flows down", _cancels_above_only),
    Mutant("a pause stays above", "Sub-runs", "a pause flows down", _pauses_above_only),
    Mutant("a timeout stays above", "Sub-runs", "a job's timeout is its run's deadline", _time_is_above_only),
    Mutant("a priority stays above", "Sub-runs", "priority flows down to sub-runs", _priority_is_above_only),
    Mutant(
        "sub-runs are not found after a restart",
        "Sub-runs",
        "a sub-run stands below its job again",
        lambda: [(below.Below, "restore", _nothing)],
    ),
    Mutant("a sub-run's end counts for every attempt", "Sub-runs", "a sub-run is its attempt", _any_attempts_run),
    Mutant("a sub-run that succeeded goes on", "Rounds", "one committed attempt per instance", _opens_again),
    Mutant("the warden's kills are charged", "Budgets", "lease kills count nowhere", _warden_is_charged),
    Mutant(
        "nothing is held for large needs",
        "Promises",
        "nothing starves",
        lambda: [(promises.Promises, "look", _nothing)],
    ),
    Mutant(
        "windows go on behind a failure",
        "Judgement",
        "a pure function of definition and facts",
        lambda: [(windows, "_is_broken", _false)],
    ),
)
