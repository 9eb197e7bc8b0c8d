"""The Router's machine. Pure: messages and time in, effects out.

It knows the open runs, who tracks each, what of it is held, queued or leased, and who is there. It refuses to know the
shape of pipelines (the Pipeliner's) and user data (nobody's). What has ended is in the journal and not here.

The rules it keeps, and where:
  - an attempt is granted under a new lease number, and only an outcome under that lease counts      `leasing`
  - after a restart, what may run on a Broker that has not come back is not granted                  `leasing`
  - an instance that is queued, leased or has ended is not queued again                              `tracking`
  - only the owner under the current take number speaks for a run                                    `tracking`
  - a verdict is taken only from a Pipeliner that has seen every fact of the run                     `tracking`
  - a repeated request finds what the first one did                                                  `admission`
  - what is recorded first has happened first                                                        `cluster`
  - a job that is a pipeline has one run, whose end is its end                                       `below`

Facts are recorded as they are decided; the loop commits them at the end of the turn, and holds back every message that
rests on them until they are on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...pipeline.facts import RunError, Verdict
from ..protocol import (
    OLDEST,
    PROTOCOL,
    Again,
    Beat,
    Bye,
    Conclude,
    Control,
    Credit,
    Enqueue,
    Follow,
    Halt,
    HandedBack,
    Hello,
    Outcomes,
    Pulse,
    Refuse,
    Signals,
    Submit,
    ToRouter,
    Welcome,
)
from .admission import Admission
from .below import Below
from .cluster import Cluster, Known, Rules
from .effects import Find, Record, RouterEffect
from .items import Item, State
from .leasing import Leasing
from .runs import OpenRun
from .tracking import Tracking


class Dispatch:
    """Set the turn's time with `at`, feed messages, and end the turn with `flush`."""

    def __init__(self, epoch: int, last: int, rules: Rules, welcome: Welcome, now: float, wall: float) -> None:
        self.cluster = Cluster(epoch, last, rules, welcome, now, wall)
        self.leasing = Leasing(self.cluster)
        self.tracking = Tracking(self.cluster, self.leasing)
        self.admission = Admission(self.cluster, self.leasing, self.tracking)
        self.below = Below(self.cluster, self.leasing, self.tracking, self.admission)
        self.leasing.ask_anew = self.tracking.ask_anew
        self.tracking.after_finish = self._finished

    def restore(
        self,
        runs: Iterable[OpenRun],
        brokers: Iterable[str],
        draining: Iterable[str] = (),
        paused: Iterable[str | None] = (),
    ) -> None:
        """What the journal says at start: open runs in their order, Brokers that may still run their jobs, those of
        them that are to run empty, and the roles that are paused (None: the whole cluster is)."""
        self.cluster.queues.switches.restore(paused)
        for run in runs:
            self.cluster.runs[run.id] = run
        for run in list(self.cluster.runs.values()):
            self.admission.restore(run)
        self.below.restore()
        self.leasing.await_brokers(brokers, draining)
        if self.cluster.runs:
            self.tracking.await_pipeliners()

    # The way in -------------------------------------------------------------------------------------------------

    def at(self, now: float, wall: float) -> None:
        self.cluster.at(now, wall)

    def handle(self, peer: str, session: str, message: ToRouter) -> None:
        """One message of a Broker or Pipeliner, under its session."""
        match message:
            case Outcomes():
                if broker := self.leasing.member(peer, session):
                    self.leasing.outcomes(broker, message.outcomes)
            case Enqueue():
                if run := self.tracking.spoken_for(peer, session, message.run, message.take):
                    self.tracking.enqueue(run, message)
            case Credit():
                if broker := self.leasing.member(peer, session):
                    broker.credit(message.free, message.prefetch, message.seen)
            case Conclude():
                if run := self.tracking.spoken_for(peer, session, message.run, message.take):
                    self.tracking.conclude(run, message)
            case Halt():
                if run := self.tracking.spoken_for(peer, session, message.run, message.take):
                    self.tracking.halt(run, message)
            case HandedBack():
                if broker := self.leasing.member(peer, session):
                    self.leasing.handed_back(broker, message.leases)
            case Beat():
                self._beat(peer, session, message)
            case Signals():
                if broker := self.leasing.member(peer, session):
                    self.leasing.signals(broker, message.signals)
            case Hello():
                self._hello(peer, session, message)
            case Bye():
                self._bye(peer, session, message)
            case _:
                pass

    def submit(self, client: str, message: Submit, known: Mapping[str, Known], keys: Mapping[str, str]) -> None:
        self.admission.submit(client, message, known, keys)

    def follow(self, client: str, message: Follow, known: Mapping[str, Known]) -> None:
        self.admission.follow(client, message, known)

    def control(self, client: str, message: Control, known: Mapping[str, Known]) -> None:
        self.admission.control(client, message, known)

    def unreachable(self, peer: str) -> None:
        """A peer's connection is gone. A Pipeliner holds nothing that another could not take at once; a Broker's jobs
        may still run, so its leases have to end first."""
        if pipeliner := self.cluster.pipeliners.get(peer):
            self.tracking.leave(pipeliner, died=True)

    def drain(self, client: str, message: Control) -> None:
        """The Broker that `argument` names (identity or place) gets nothing new; `reason` "off" takes that back."""
        self.leasing.drain(client, message.id, message.argument or "", message.reason != "off")

    def reopen(self, client: str, message: Control, run: OpenRun, holder: str | None = None) -> None:
        """`holder`: the run that has its key, says the journal."""
        self.admission.reopen(client, message, run, holder)

    def prune(self, client: str | None, request: str, runs: list[str], count: int | None = None) -> None:
        self.admission.prune(client, request, runs, count)

    def found(self, asked: Find, run: OpenRun | None, known: Known | None) -> None:
        self.below.found(asked, run, known)

    def _finished(self, run: OpenRun, verdict: Verdict, error: RunError | None) -> None:
        self.admission.finished(run, verdict, error)
        self.below.ended(run, verdict, error)

    def loaded(self, run_id: str, take: int, definition: bytes | None, facts: list[tuple[int, bytes]]) -> None:
        self.tracking.loaded(run_id, take, definition, facts)

    def looked_up(self, peer: str, session: str, ended: set[int]) -> None:
        self.leasing.looked_up(peer, session, ended)

    def on_disk(self, records: Iterable[Record]) -> None:
        self.cluster.on_disk(records)

    def stall(self, why: str) -> None:
        """The disk takes no facts: whatever would make one is refused, or kept by who said it."""
        self.cluster.stalled = why

    def taken_up(self) -> None:
        """The disk takes facts again: let everybody repeat what was not taken."""
        self.cluster.stalled = ""
        for peer in (*self.cluster.brokers, *self.cluster.pipeliners):
            self.cluster.send(peer, Again())

    # Time -------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Whatever is due by now. While the disk takes no facts, nothing is."""
        if self.cluster.stalled:
            return
        for what, subject in self.cluster.timers.due(self.cluster.now):
            self._due(what, subject)
        self.leasing.lose_silent()
        self.tracking.lose_silent()
        self.tracking.bury()

    def next_deadline(self) -> float:
        cluster = self.cluster
        if cluster.stalled:
            return float("inf")
        heard = [one.heard + cluster.rules.hand_on for one in cluster.brokers.values()]
        heard += [one.heard + cluster.rules.silent for one in cluster.pipeliners.values()]
        return min([cluster.timers.next(), *heard])

    def flush(self) -> list[RouterEffect]:
        """End of the turn: its effects, in order."""
        return self.cluster.flush()

    def validate(self) -> None:
        self.cluster.validate()
        self.below.validate()

    def _due(self, what: str, subject: Any) -> None:
        match what, subject:
            case "queue", Item() as item if item.state is State.HELD:
                self.leasing.queue(item)
            case "expire", Item() as item:
                self.leasing.expire(item)
            case "release", str() as run_id if run := self.cluster.runs.get(run_id):
                self.admission.release(run)
            case "deadline", str() as run_id if run := self.cluster.runs.get(run_id):
                self.admission.steering.overdue(run)
            case "recall", _:
                pass  # it only had to be a turn: recalls are looked at when it ends
            case "settle", _:
                self.leasing.settle()
            case "adopt orphans", _:
                self.tracking.adopt_orphans()

    # Membership -------------------------------------------------------------------------------------------------

    def _hello(self, peer: str, session: str, hello: Hello) -> None:
        member = self.cluster.brokers.get(peer) or self.cluster.pipeliners.get(peer)
        if member is not None and hello.place == member.place and hello.count < member.hellos:
            return  # overtaken by a newer one: what it does not list may have been granted since
        if not OLDEST <= hello.protocol <= PROTOCOL:
            spoken = f"this Router speaks protocol {OLDEST} to {PROTOCOL}"
            self.cluster.send(peer, Refuse(f"{spoken}, {hello.place} speaks {hello.protocol}"))
        elif hello.role == "broker" and hello.card is not None:
            self.leasing.greet(peer, session, hello, hello.card)
        elif hello.role == "pipeliner":
            self.tracking.greet(peer, session, hello)
        else:
            self.cluster.send(peer, Refuse(f"a {hello.role} does not join: it sends its requests"))

    def _beat(self, peer: str, session: str, beat: Beat) -> None:
        if (broker := self.cluster.brokers.get(peer)) and broker.session == session:
            self.leasing.beat(broker, beat)
        elif (pipeliner := self.cluster.pipeliners.get(peer)) and pipeliner.session == session:
            pipeliner.heard = self.cluster.now
            self.cluster.send_now(peer, Pulse(beat.stamp, beat.seen))
        else:
            self.cluster.send(peer, Again())

    def _bye(self, peer: str, session: str, bye: Bye) -> None:
        if (broker := self.cluster.brokers.get(peer)) and broker.session == session:
            self.leasing.leave(broker, bye.why or "it said goodbye")
        elif (pipeliner := self.cluster.pipeliners.get(peer)) and pipeliner.session == session:
            self.tracking.leave(pipeliner, died=False)
