"""Leases: what Brokers hold, and how attempts end.

Only an outcome under a lease that stands here counts; whatever else arrives is refused and harmless. A lease ends by
its outcome, by a hand-back (the attempt never began), or with its Broker. After a restart, leases of the epoch before
are adopted when their Broker comes back with them; until it has, or its time is over, what it may be running waits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import msgspec

from ...pipeline.errors import NotFound
from ...pipeline.facts import Ended, Failure, Registered, Returned, Unregistered
from ...pipeline.subruns import COLLECT, PREPARE, STEPS, SUBRUN
from ...pipeline.task import COMMAND, Outcome, Ready
from ..protocol import Again, Beat, BrokerCard, Done, Failed, Held, Hello, Kill, Noted, Pulse
from .cluster import Cluster
from .effects import Forget, Lookup, Tell
from .items import Item, Key, State
from .members import BrokerMember
from .reasons import why_waiting
from .recalls import ask_back
from .replies import not_found
from .runs import OpenRun

logger = logging.getLogger(__name__)

GRACE = 1.0
"""Seconds for a place elsewhere, when an item comes back that has waited for longer than its queue_timeout."""


class Leasing:
    """`ask_anew` gives a run to its owner again: what runs there has to be told once more."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.ask_anew: Callable[[OpenRun], None] = lambda run: None
        self.begin_below: Callable[[Item], None] = lambda item: None
        self.prepared: Callable[[Item, Outcome], None] = lambda item, outcome: None
        self.stop_below: Callable[[Item], None] = lambda item: None
        self._awaited: set[str] = set()
        """Brokers of the epoch before that have not come back."""
        self._registered: frozenset[str] = frozenset()
        """All that the epoch before had."""
        self._draining: set[str] = set()
        """Those of the epoch before that were to run empty."""
        self._unsure = False
        """They may run something that is still open here."""
        self._held_back: dict[Item, None] = {}
        self._greetings: dict[str, Hello] = {}
        self._greeted_at: dict[str, int] = {}
        """The last lease of all before the greeting: it cannot tell of newer ones."""
        self._meanwhile: dict[tuple[str, Key], int] = {}
        """Instances that ended while greetings wait for their lookup, with the attempt: the journal may not know."""

    # Membership of Brokers --------------------------------------------------------------------------------------

    def await_brokers(self, identities: Iterable[str], draining: Iterable[str] = ()) -> None:
        """After a restart: these may still run what the epoch before granted, if runs of it are open."""
        self._awaited = set(identities)
        self._registered = frozenset(self._awaited)
        self._draining = set(draining)
        self._unsure = bool(self.cluster.runs)
        self.cluster.timers.set(self.cluster.began_at + self.cluster.rules.hand_on, ("settle", None))

    def member(self, peer: str, session: str) -> BrokerMember | None:
        """The Broker that speaks, unless this session of it is not the one we know."""
        broker = self.cluster.brokers.get(peer)
        if broker is None or broker.session != session:
            self.cluster.send(peer, Again())
            return None
        return broker

    def greet(self, peer: str, session: str, hello: Hello, card: BrokerCard) -> None:
        """A Broker joins with what it holds. Leases that we do not know are looked up before they count."""
        cluster = self.cluster
        if peer in self._awaited and hello.epoch not in (None, cluster.epoch):
            cluster.send(peer, Again())  # it may have been on its way while the epoch before granted more
            return
        broker = cluster.brokers.get(peer)
        if broker is None:
            broker = cluster.brokers[peer] = BrokerMember(peer, hello.place, session, card, cluster.now)
            broker.draining = peer in self._draining
            cluster.record(None, Registered(peer, hello.place, cluster.wall, broker.draining))
            logger.info("Broker %s joined with %d slots", hello.place, card.slots)
        else:
            cluster.queues.remove_broker(broker)
            cluster.let_go(peer)
            broker.rejoin(session, card, cluster.now)
        broker.place, broker.hellos = hello.place, hello.count
        broker.workers = STEPS | frozenset(card.workers) | ({COMMAND} if card.commands else frozenset())
        cluster.queues.add_broker(broker)
        cluster.send(peer, cluster.welcome)
        for identity in hello.succeeds:
            self._succeeded(identity, by=broker)
        self._greetings[peer] = hello
        self._greeted_at[peer] = cluster.grants.last_lease
        if any(held.lease not in broker.leases for held in hello.held):
            cluster.ask(Lookup(peer, session))
        else:
            self.looked_up(peer, session, set())

    def _succeeded(self, identity: str, by: BrokerMember) -> None:
        """A Broker has died, and the one that came after it on that machine has seen to it that nothing of it runs any
        more: what it held need not wait for the end of its leases. Only who sees the processes may say so."""
        cluster = self.cluster
        if cluster.stalled or identity == by.identity:
            return
        why = f"it has died; {by.place}, which came after it on its machine, found nothing left of it"
        if dead := cluster.brokers.get(identity):
            self._lose(dead, f"Broker {dead.place} is lost: {why}")
        elif identity in self._awaited:
            self._write_off(identity, why)
            self._await_no_more(identity)

    def greeting(self, peer: str) -> Hello | None:
        """The Hello that a `Lookup` is about."""
        return self._greetings.get(peer)

    def looked_up(self, peer: str, session: str, ended: set[int]) -> None:
        """Reconcile a Broker's leases with ours. `ended`: leases whose instances have ended, says the journal."""
        broker = self.cluster.brokers.get(peer)
        hello = self._greetings.get(peer)
        if broker is None or hello is None or broker.session != session:
            return
        del self._greetings[peer]
        held = {one.lease for one in hello.held}
        for lease, item in reversed(list(broker.leases.items())):
            if lease not in held and lease <= self._greeted_at[peer]:
                self._requeue(item)
        unknown = [one for one in hello.held if one.lease not in broker.leases]
        refused = [one for one in unknown if not self._adopt(broker, one, ended)]
        if refused:
            leases = [one.lease for one in refused]
            self.cluster.send(peer, Noted(leases))
            self.cluster.send(peer, Kill(leases))
        self.outcomes(broker, list(hello.outcomes))
        if not self._greetings:
            self._meanwhile.clear()
        settled = self.cluster.now >= self.cluster.began_at + self.cluster.rules.hand_on
        if settled or not any(one.lapsed for one in refused):  # else it still ends those
            self._await_no_more(peer)

    def _await_no_more(self, identity: str) -> None:
        if identity in self._awaited:
            self._awaited.remove(identity)
            if not self._awaited:
                self.settle()

    def settle(self) -> None:
        """The time of Brokers that could run something is over: grant as usual, when the leases of those that came
        back are looked up."""
        gone = sorted(self._awaited - self._greetings.keys())
        self._awaited.difference_update(gone)
        why = "it did not come back after a restart of the Router"
        for identity in gone:
            if identity not in self.cluster.brokers:
                self._write_off(identity, why)
        if self._awaited:
            return
        held_back, self._held_back = self._held_back, {}
        anew: dict[str, OpenRun] = {}
        for item in held_back:
            if item.key in item.run.halted:
                self.end(item, "cancelled")
            elif item.run.being_stopped():  # it may come after that: let the owner say so, who knows of it now
                anew[item.run.id] = item.run
                self._close(item)
            else:
                self._start(item)
        for run in anew.values():
            self.ask_anew(run)

    def _write_off(self, identity: str, why: str) -> None:
        """A Broker of the epoch before will not come back: its leases count no more, in this epoch and later."""
        self.cluster.record(None, Unregistered(identity, self.cluster.wall, why))
        self.cluster.rest_on = self.cluster.last

    def beat(self, broker: BrokerMember, beat: Beat) -> None:
        """Only listed leases are renewed; one that has arrived and is not listed is not there any more."""
        broker.heard = self.cluster.now
        broker.busy = beat.busy
        listed = set(beat.leases)
        missing = [item for lease, item in broker.leases.items() if lease <= beat.seen and lease not in listed]
        for item in reversed(missing):
            self._requeue(item)
        kill = tuple(item.lease for item in broker.leases.values() if item.state is State.STOPPING)
        self.cluster.send_now(broker.identity, Pulse(beat.stamp, beat.seen, kill))

    def drain(self, client: str, request: str, name: str, on: bool) -> None:
        """Let a Broker run empty: it keeps what it has and gets nothing new, until it is let again, or its end."""
        brokers = self.cluster.brokers.values()
        found = [one for one in brokers if name in (one.identity, one.place, one.place.partition("/")[0])]
        if not found:
            there = ", ".join(sorted(one.place for one in self.cluster.brokers.values())) or "none"
            error = NotFound("Broker", name, f"connected are {there}")
            self.cluster.send(client, not_found(request, error))
            return
        if self.cluster.stalled:
            self.cluster.send(client, Failed(request, "busy", self.cluster.stalled, 1.0))
            return
        for broker in found:
            if broker.draining != on:
                self.cluster.record(None, Registered(broker.identity, broker.place, self.cluster.wall, on))
            broker.draining = on
            if on and broker.waiting:
                self.cluster.ask(ask_back(broker, list(broker.waiting.values())))
        held = sum(len(broker.leases) for broker in found)
        self.cluster.send(client, Done(request, f"draining, {held} jobs still run there" if on else "taking jobs"))

    def ask_back(self, kept: Callable[[Item], bool]) -> None:
        """What is not to start any more, and waits in the pipe of a Broker, is asked back."""
        for broker in self.cluster.brokers.values():
            if waiting := [item for item in broker.waiting.values() if kept(item)]:
                self.cluster.ask(ask_back(broker, waiting))

    def leave(self, broker: BrokerMember, why: str) -> None:
        """An orderly goodbye: what it held never ends there, uncharged."""
        for item in reversed(list(broker.leases.values())):
            self._requeue(item)
        self._drop(broker, why)

    def lose_silent(self) -> None:
        after = self.cluster.rules.hand_on
        for broker in [one for one in self.cluster.brokers.values() if self.cluster.now - one.heard >= after]:
            self._lose(broker, f"Broker {broker.place} was not heard of for {after:g} s")

    def _lose(self, broker: BrokerMember, why: str) -> None:
        error = Failure("BrokerLost", why)
        for item in list(broker.leases.values()):
            self.end(item, "cancelled" if item.state is State.STOPPING else "lost", error)
        self._drop(broker, why)

    def _drop(self, broker: BrokerMember, why: str) -> None:
        del self.cluster.brokers[broker.identity]
        self._greetings.pop(broker.identity, None)
        self._await_no_more(broker.identity)
        self.cluster.recalls.forget(broker)
        self.cluster.let_go(broker.identity)
        self.cluster.queues.remove_broker(broker)
        logger.info("Broker %s is gone: %s", broker.place, why)
        self.cluster.record(None, Unregistered(broker.identity, self.cluster.wall, why))
        self.cluster.ask(Forget(broker.identity))

    def signals(self, broker: BrokerMember, signals: list[tuple[int, str, bytes]]) -> None:
        """How far running jobs are: kept until the next one, and passed on to whoever watches."""
        for lease, kind, body in signals:
            if item := broker.leases.get(lease):
                item.signal = body
                self.cluster.ask(Tell(item.run.id, *item.key, item.ready.attempt, kind, body))

    # Into the queues --------------------------------------------------------------------------------------------

    def queue(self, item: Item) -> None:
        """A held item may be granted from now on, unless it could be running on a Broker that has not come back. The
        hook of a group comes when nothing of its cancelled run is left."""
        if not self._leasable(item):
            self._held_back[item] = None
        elif item.ready.hook and item.run.cancelled is not None and item.run.has_jobs():
            item.run.late_hooks[item] = None
        else:
            self._start(item)

    def _start(self, item: Item) -> None:
        if item.ready.worker == SUBRUN:
            self.begin_below(item)
        else:
            item.step("queue")
            self.cluster.queues.push(item)

    def may_run_elsewhere(self, run: OpenRun) -> bool:
        """Could something of it still run on a Broker that has not come back after a restart?"""
        return self._unsure and bool(self._awaited) and run.number <= self.cluster.began

    def _leasable(self, item: Item) -> bool:
        if not self._unsure or not self._awaited:
            return True
        ready, run = item.ready, item.run
        limited = ready.needs is not None and bool(ready.needs.limits)
        if self.may_run_elsewhere(run):  # so may what it comes after, if that was to be stopped
            limited = limited or bool(run.halted) or run.options.max_active is not None
        return ready.after > self.cluster.began and not limited

    def handed_back(self, broker: BrokerMember, leases: list[int]) -> None:
        for lease in reversed(leases):
            if item := broker.leases.get(lease):
                self._requeue(item)

    def _requeue(self, item: Item) -> None:
        """It never began: back to its place, uncharged. One that was to stop has stopped."""
        if item.state is State.STOPPING:
            self.end(item, "cancelled", charged=False)
        elif not item.ready.task:
            self._unlease(item)
            self.let_go(item)
        else:
            self._unlease(item)
            item.step("hand back")
            self.cluster.queues.push_back(item)
            if item.patience is not None:  # its timer may have found it granted
                again = max(item.since + item.ready.delay + item.patience, self.cluster.now + GRACE)
                self.cluster.timers.set(again, ("expire", item))

    def let_go(self, item: Item) -> None:
        """It goes without an end: what it runs is to be said once more."""
        self._close(item)
        self.ask_anew(item.run)

    def _adopt(self, broker: BrokerMember, held: Held, ended: set[int]) -> bool:
        """A lease of an older epoch counts from now on, unless its instance has ended or is leased again."""
        cluster = self.cluster
        run = cluster.runs.get(held.run)
        if run is None or held.lease in ended or held.lease >> 40 >= cluster.epoch or held.round != run.round:
            return False
        if held.worker == PREPARE:  # it is as well made anew
            return False
        if broker.identity not in self._registered:  # an epoch before has given it up, and its work to others
            return False
        if held.lapsed and held.lease >> 40 < cluster.epoch - 1:  # the epoch between may have given it to others
            return False
        if self._meanwhile.get((run.id, (held.job, held.path)), 0) >= held.attempt:
            return False
        item = run.live.get((held.job, held.path))
        if item is None:
            ready = Ready(held.job, held.path, held.attempt, held.worker, b"", (), held.needs, round=held.round)
            item = run.live[held.job, held.path] = Item(run, ready, cluster.now)
        elif item.leased or item.below or item.ready.attempt != held.attempt:
            return False
        if held.worker == COLLECT:
            item.ready = Ready(held.job, held.path, held.attempt, COLLECT, b"", (), held.needs, round=held.round)
        if item.state is State.QUEUED:
            cluster.queues.leave(item)
        self._held_back.pop(item, None)
        run.late_hooks.pop(item, None)
        item.step("adopt")
        cluster.grants.adopt(item, broker, held.lease)
        if item.key in run.halted or (run.cancelled is not None and not item.ready.hook):
            self.stop(run, [item.key])
        return True

    # Ends -------------------------------------------------------------------------------------------------------

    def outcomes(self, broker: BrokerMember, outcomes: list[Outcome]) -> None:
        """Ended attempts. While the disk takes no facts the Broker keeps them: nothing is noted. Nor is what may be
        adopted yet, when the lookup is done."""
        if self.cluster.stalled or not outcomes:
            return
        leases = broker.leases
        if broker.identity in self._greetings:
            outcomes = [outcome for outcome in outcomes if outcome.lease in leases]
        for outcome in outcomes:
            item = leases.get(outcome.lease)
            if item is None:
                self.cluster.counts["refused outcomes"] += 1
            else:
                self._outcome(broker, item, outcome)
        if outcomes:
            self.cluster.send(broker.identity, Noted([outcome.lease for outcome in outcomes]))

    def _outcome(self, broker: BrokerMember, item: Item, outcome: Outcome) -> None:
        ready, run = item.ready, item.run
        if ready.worker == PREPARE and outcome.kind == "success":
            if item.state is not State.STOPPING:
                self._unlease(item)
                self.prepared(item, outcome)
                return
            outcome = msgspec.structs.replace(outcome, kind="cancelled", result=b"", ref=None, size=0)
        if item.began:
            outcome = msgspec.structs.replace(
                outcome, started=item.began, duration=max(0.0, self.cluster.wall - item.began)
            )
        size = outcome.size or len(outcome.result)
        fact = Returned(
            ready.job, ready.path, ready.attempt, outcome.kind, outcome.lease, ready.round, outcome.started,
            outcome.duration, broker.place, size, outcome.ref, outcome.signs, outcome.error, outcome.charged,
            outcome.log, outcome.cache, outcome.code,
        )  # fmt: skip
        self._unlease(item)
        self._close(item)
        self._note_end(item)
        self.cluster.counts["returned"] += 1
        if outcome.cache is not None:
            self.cluster.count_cache(outcome.cache.kind)
        if outcome.result or outcome.ref:
            self.cluster.results.put((run.id, ready.job, ready.path), outcome.result, outcome.ref, size)
        self.cluster.record(run, fact, result=outcome.result, key=(ready.job, ready.path))

    def end(
        self, item: Item, kind: Ended, error: Failure | None = None, charged: bool = True, began: float = 0.0
    ) -> None:
        """An item ends without an outcome. `began`: by the wall, when there is something that did."""
        ready = item.ready
        place = item.broker.place if item.broker else ""
        wall = self.cluster.wall
        started, lasted = (began, max(0.0, wall - began)) if began else (wall, 0.0)
        fact = Returned(ready.job, ready.path, ready.attempt, kind, item.lease, ready.round, started, lasted, place)
        fact = msgspec.structs.replace(fact, error=error, charged=charged)
        if item.leased:
            self._unlease(item)
        elif item.state is State.QUEUED:
            self.cluster.queues.leave(item)
        self._close(item)
        self._note_end(item)
        self.cluster.record(item.run, fact, key=item.key)

    def stop(self, run: OpenRun, keys: Iterable[Key]) -> None:
        """End these instances, wherever they are: at once when not granted, else by their Brokers."""
        kills: dict[str, list[int]] = {}
        for job, path in keys:
            item = run.live.get((job, tuple(path)))
            if item is None and self.may_run_elsewhere(run):
                run.halted.add((job, tuple(path)))
            if item is None or item.state in (State.STOPPING, State.LEAVING):
                continue
            if item in self._held_back and self.may_run_elsewhere(run):  # its Broker may come back with it
                run.halted.add(item.key)
                continue
            if item.state is State.BELOW:
                self.stop_below(item)
                continue
            if item.broker is not None:
                item.step("stop")
                kills.setdefault(item.broker.identity, []).append(item.lease)
            else:
                self.end(item, "cancelled")
        for broker, leases in kills.items():
            self.cluster.send(broker, Kill(leases))

    def expire(self, item: Item) -> None:
        """Its queue_timeout is over. One that was granted meanwhile goes on; if it has not begun, it is back soon."""
        if item.broker is not None and item.lease in item.broker.waiting:
            self.cluster.ask(ask_back(item.broker, [item]))
        if item.state not in (State.QUEUED, State.HELD) or item.patience is None:
            return
        if item in self._held_back:  # it may have been leased before the restart, and run
            settled_by = self.cluster.began_at + self.cluster.rules.hand_on
            self.cluster.timers.set(max(settled_by, self.cluster.now + GRACE), ("expire", item))
            return
        why = why_waiting(self.cluster, item)
        error = Failure("QueueTimeout", f"it waited longer than its queue_timeout of {item.patience:g} s: {why}")
        self.end(item, "expired", error)

    def _note_end(self, item: Item) -> None:
        if self._greetings:
            self._meanwhile[item.run.id, item.key] = item.ready.attempt

    def _close(self, item: Item) -> None:
        item.step("end")
        self.cluster.promised.discard(item.child)
        self._held_back.pop(item, None)
        run = item.run
        run.late_hooks.pop(item, None)
        del run.live[item.ready.job, item.ready.path]
        if run.late_hooks and not run.has_jobs():
            hooks, run.late_hooks = run.late_hooks, {}
            for hook in hooks:
                self.queue(hook)

    def _unlease(self, item: Item) -> None:
        self.cluster.grants.release(item)
        if item.run.options.max_active is not None:
            self.cluster.queues.wake(item.run)
