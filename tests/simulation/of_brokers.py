"""Guards of Brokers, their leases and their messages, taken away."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.daemons import session
from headrace.daemons.dispatch import (
    cluster,
    grants,
    leasing,
    members,
    routes,
    tracking,
)
from headrace.daemons.dispatch import machine as dispatch
from headrace.daemons.dispatch.effects import Send
from headrace.daemons.dispatch.items import State
from headrace.daemons.protocol import Pulse, Recall
from headrace.daemons.slots import delivery
from headrace.daemons.slots import machine as slots
from headrace.daemons.slots.orders import Guard
from headrace.pipeline import attempts

from . import processes, stores
from .changes import Change, nothing, wrap


def adopt_ended() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, broker, held, ended: real(self, broker, held, set())

    return wrap(leasing.Leasing, "_adopt", make)


def adopt_any_round() -> list[Change]:
    def make(real: Any) -> Any:
        def adopt(self: Any, broker: Any, held: Any, ended: Any) -> Any:
            run = self.cluster.runs.get(held.run)
            return real(self, broker, msgspec.structs.replace(held, round=run.round) if run else held, ended)

        return adopt

    return wrap(leasing.Leasing, "_adopt", make)


def adopt_twice() -> list[Change]:
    def make(real: Any) -> Any:
        def adopt(self: Any, broker: Any, held: Any, ended: Any) -> Any:
            run = self.cluster.runs.get(held.run)
            item = run.live.get((held.job, held.path)) if run else None
            if item is not None and item.leased and held.lease not in ended:
                self._unlease(item)
                item.state = State.HELD
            return real(self, broker, held, ended)

        return adopt

    return wrap(leasing.Leasing, "_adopt", make)


def one_epoch() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, epoch, *more: real(self, 1, *more)

    return wrap(grants.Grants, "__init__", make)


def renew_unlisted() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, broker, beat: real(self, broker, msgspec.structs.replace(beat, seen=0))

    return wrap(leasing.Leasing, "beat", make)


def requeue_unarrived() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, broker, beat: real(self, broker, msgspec.structs.replace(beat, seen=1 << 62))

    return wrap(leasing.Leasing, "beat", make)


def no_repeated_kill() -> list[Change]:
    def make(real: Any) -> Any:
        def send_now(self: Any, peer: str, message: Any) -> None:
            real(self, peer, msgspec.structs.replace(message, kill=()) if isinstance(message, Pulse) else message)

        return send_now

    return wrap(cluster.Cluster, "send_now", make)


def forget_on_telling() -> list[Change]:
    def make(real: Any) -> Any:
        def fresh(self: Any, now: float) -> Any:
            told = real(self, now)
            self.noted([outcome.lease for outcome in told])
            return told

        return fresh

    return wrap(delivery.Delivery, "fresh", make)


def stale_stamp() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, message, now: real(
            self, msgspec.structs.replace(message, stamp=now) if isinstance(message, Pulse) else message, now
        )

    return wrap(slots.Slots, "handle", make)


def no_lapse() -> list[Change]:
    def lapse(self: Any) -> None:
        self._lapsed = True
        self._effects.append(Guard(None))

    return [(slots.Slots, "_lapse", lapse), (processes.Pool, "end_late", nothing)]


def no_unseen() -> list[Change]:
    def make(real: Any) -> Any:
        def enqueue(self: Any, run: Any, message: Any) -> None:
            run.unseen.clear()
            real(self, run, message)

        return enqueue

    return wrap(tracking.Tracking, "enqueue", make)


def hide_gaps() -> list[Change]:
    def make(real: Any) -> Any:
        def receive(self: Any, envelope: Any, now: float) -> Any:
            if envelope.session == self._session and envelope.number > self.received:
                envelope = msgspec.structs.replace(envelope, number=self.received + 1)
            return real(self, envelope, now)

        return receive

    return wrap(session.Session, "receive", make)


def more_credit() -> list[Change]:
    def make(real: Any) -> Any:
        def credit(self: Any, free: int, prefetch: int, seen: int) -> None:
            self.granted.clear()
            real(self, free, prefetch, seen)

        return credit

    return wrap(members.BrokerMember, "credit", make)


def late_hello() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, peer, session, hello: real(
            self, peer, session, msgspec.structs.replace(hello, count=1 << 61)
        )

    return wrap(dispatch.Dispatch, "_hello", make)


def hello_of_before() -> list[Change]:
    """One that was made before this Router was heard of."""

    def make(real: Any) -> Any:
        return lambda self, peer, session, hello: real(self, peer, session, msgspec.structs.replace(hello, epoch=None))

    return wrap(dispatch.Dispatch, "_hello", make)


def lookups_are_over() -> list[Change]:
    """What a greeting has listed counts for nothing while it is looked up."""

    def make(real: Any) -> Any:
        def outcomes(self: Any, *said: Any) -> None:
            greetings, self._greetings = self._greetings, {}
            real(self, *said)
            self._greetings = greetings

        return outcomes

    return wrap(leasing.Leasing, "outcomes", make)


def gaps_are_over() -> list[Change]:
    """One envelope after a gap is refused, and those behind it count."""

    def make(real: Any) -> Any:
        def arrived(self: Any, address: bytes, envelope: Any, now: float) -> bool:
            if envelope.sender in self._routes:
                self._routes[envelope.sender].whole = True
            return bool(real(self, address, envelope, now))

        return arrived

    return wrap(routes.Routes, "arrived", make)


def away_is_silence() -> list[Change]:
    def at(self: Any, now: float, wall: float) -> None:
        self.now, self.wall = now, wall

    return [(cluster.Cluster, "at", at)]


def no_fence() -> list[Change]:
    def save(self: Any, execution: Any) -> bool:
        self.saved[execution.instance] = execution.assignment.fence
        return True

    return [(stores.Stores, "save", save)]


def unread_is_lost() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, slot, event, now: real(self, slot, msgspec.structs.replace(event, unread=()), now)

    return wrap(slots.Slots, "_down", make)


def take_back_the_head() -> list[Change]:
    def make(real: Any) -> Any:
        def taken_back(self: Any, number: int, leases: list[int], now: float) -> Any:
            return real(self, number, [attempt.lease for attempt in self.slots[number].fifo], now)

        return taken_back

    return wrap(slots.Slots, "taken_back", make)


def lapsed_counts() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, broker, held, ended: real(self, broker, msgspec.structs.replace(held, lapsed=False), ended)

    return wrap(leasing.Leasing, "_adopt", make)


def lapsed_is_dead() -> list[Change]:
    def make(real: Any) -> Any:
        def looked_up(self: Any, peer: str, session: str, ended: Any) -> None:
            real(self, peer, session, ended)
            self._await_no_more(peer)

        return looked_up

    return wrap(leasing.Leasing, "looked_up", make)


def works_lapsed() -> list[Change]:
    return [(slots.Slots, "_taking", property(lambda self: not self.closing))]


def by_the_wall() -> list[Change]:
    def init(real: Any) -> Any:
        return lambda self, epoch, last, rules, welcome, now, wall: real(self, epoch, last, rules, welcome, wall, wall)

    def at(real: Any) -> Any:
        return lambda self, now, wall: real(self, wall, wall)

    return [*wrap(cluster.Cluster, "__init__", init), *wrap(cluster.Cluster, "at", at)]


def loss_is_failure() -> list[Change]:
    def make(real: Any) -> Any:
        def again(self: Any, fact: Any, rule: Any, run: str) -> Any:
            return real(self, msgspec.structs.replace(fact, kind="failed") if fact.kind == "lost" else fact, rule, run)

        return again

    return wrap(attempts.Attempts, "again", make)


def all_is_charged() -> list[Change]:
    def make(real: Any) -> Any:
        return lambda self, fact, rule, run: real(self, msgspec.structs.replace(fact, charged=True), rule, run)

    return wrap(attempts.Attempts, "again", make)


def drained_in_vain() -> list[Change]:
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

    return wrap(grants.Grants, "distribute", make)


def recall_is_enough() -> list[Change]:
    def make(real: Any) -> Any:
        def flush(self: Any) -> Any:
            effects = real(self)
            for effect in effects:
                if isinstance(effect, Send) and isinstance(effect.message, Recall):
                    self.leasing.handed_back(self.cluster.brokers[effect.peer], effect.message.leases)
            return effects

        return flush

    return wrap(dispatch.Dispatch, "flush", make)


def believes_the_given_up() -> list[Change]:
    def make(real: Any) -> Any:
        def adopt(self: Any, broker: Any, held: Any, ended: Any) -> Any:
            self._registered |= {broker.identity}
            return real(self, broker, held, ended)

        return adopt

    return wrap(leasing.Leasing, "_adopt", make)


def warden_is_charged() -> list[Change]:
    def make(real: Any) -> Any:
        def down(self: Any, slot: Any, event: Any, now: float) -> None:
            before, self._lapse_after = self._lapse_after, 1e9
            real(self, slot, msgspec.structs.replace(event, overdue=False), now)
            self._lapse_after = before

        return down

    return wrap(slots.Slots, "_down", make)


def overtakes_what_waits() -> list[Change]:
    def grant(self: Any) -> None:
        grants = self.grants.distribute(self.brokers.values(), self.now)
        if self.rest_on > self.synced:
            self._held.append((self.last, grants))
        else:
            self._effects += grants
        while self._held and self._held[0][0] <= self.synced:
            self._effects += self._held.popleft()[1]

    return [(cluster.Cluster, "_grant", grant)]
