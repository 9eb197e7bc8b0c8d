"""Tracking: which Pipeliner follows which run, what it may say, and how a run ends.

A run has one owner under one take number; whatever comes under another is dropped. A new owner gets the definition and
every fact so far, one that still holds the run only the newer ones, and both start by enqueueing what has not ended. A
verdict is taken only from an owner that has seen every fact of the run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from ...pipeline.facts import Ending, Finished, Parked, RunError, Verdict
from ..protocol import Again, Conclude, Drop, Enqueue, Halt, Hello, News, RunEnd, Take
from .cluster import Answer, Cluster, Known, raw
from .effects import Forget, Load
from .items import Item
from .leasing import Leasing
from .members import PipelinerMember
from .runs import OpenRun

logger = logging.getLogger(__name__)

PAGE = 5000
"""Facts in one message of a Take."""


class Tracking:
    """`after_finish` is told of every run that ends."""

    def __init__(self, cluster: Cluster, leasing: Leasing) -> None:
        self.cluster = cluster
        self.leasing = leasing
        self.after_finish: Callable[[OpenRun, Verdict, RunError | None], None] = lambda run, verdict, error: None
        self._takes = cluster.epoch << 32
        self._orphans: dict[str, None] = {}
        self._suspects: dict[str, None] = {}
        self._suspect: str | None = None
        self._parked: dict[str, None] = {}
        self._gathering_until = float("-inf")

    # Membership of Pipeliners -----------------------------------------------------------------------------------

    def await_pipeliners(self) -> None:
        """After a restart with open runs: a moment for Pipeliners to come back for those they still hold."""
        self._gathering_until = self.cluster.began_at + self.cluster.rules.gathering
        self._orphans = {name: None for name, run in self.cluster.runs.items() if not run.parked}
        self._parked = {name: None for name, run in self.cluster.runs.items() if run.parked}
        self.cluster.timers.set(self._gathering_until, ("adopt orphans", None))

    def greet(self, peer: str, session: str, hello: Hello) -> None:
        """A Pipeliner joins with the runs that it holds and the last fact it saw of each."""
        cluster = self.cluster
        pipeliner = cluster.pipeliners.get(peer)
        if pipeliner is None:
            pipeliner = cluster.pipeliners[peer] = PipelinerMember(peer, hello.place, session, cluster.now)
            logger.info("Pipeliner %s joined", hello.place)
        pipeliner.session, pipeliner.heard = session, cluster.now
        pipeliner.place, pipeliner.hellos = hello.place, hello.count
        cluster.send(peer, cluster.welcome)
        holds = {run_id: seen for run_id, _, seen in hello.runs}
        for run_id in sorted(pipeliner.runs - holds.keys()):
            self.assign(cluster.runs[run_id], pipeliner)
        for run_id, seen in holds.items():
            run = cluster.runs.get(run_id)
            if run is None or run.owner not in (None, peer) or run_id in self._suspects or run.parked:
                cluster.send(peer, Drop(run_id, 0))
                pipeliner.refused.add(run_id)
            elif run.active:
                self.assign(run, pipeliner, held=None if run_id in pipeliner.refused else min(seen, run.last))
        pipeliner.refused &= holds.keys()
        self.adopt_orphans()

    def adopt_orphans(self) -> None:
        if self.cluster.now < self._gathering_until:
            return
        for run_id in list(self._orphans):
            run = self.cluster.runs[run_id]
            if run.active:
                self.assign(run)

    def leave(self, pipeliner: PipelinerMember, died: bool) -> None:
        self.cluster.pipeliners.pop(pipeliner.identity, None)
        logger.info("Pipeliner %s is gone, %d runs move on", pipeliner.place, len(pipeliner.runs))
        self.cluster.ask(Forget(pipeliner.identity))
        for run_id in sorted(pipeliner.runs):
            run = self.cluster.runs[run_id]
            run.owner, run.loading = None, False
            if died and not run.confirmed:
                run.takes_lost += 1
                self._suspects[run_id] = None
            else:
                self.assign(run)
        if self._suspect is None or self._suspect in pipeliner.runs:
            self._next_suspect()

    def lose_silent(self) -> None:
        after = self.cluster.rules.silent
        silent = [one for one in self.cluster.pipeliners.values() if self.cluster.now - one.heard >= after]
        for pipeliner in silent:
            del self.cluster.pipeliners[pipeliner.identity]  # none of them inherits from another
        for pipeliner in silent:
            self.leave(pipeliner, died=True)

    def _next_suspect(self) -> None:
        """Runs that a Pipeliner died with, unread, are given out one at a time: so only a guilty one is parked."""
        self._suspect = None
        while self._suspects and self._suspect is None:
            run_id = next(iter(self._suspects))
            del self._suspects[run_id]
            run = self.cluster.runs[run_id]
            if run.takes_lost >= self.cluster.rules.lost_takes:
                self._park(run)
                continue
            self._suspect = run_id
            self.assign(run)

    def _park(self, run: OpenRun) -> None:
        """A fact: it stays so over restarts, until somebody has it taken up again."""
        run.parked = f"{run.takes_lost} Pipeliners died reading it, so nobody is given it any more"
        self._parked[run.id] = None
        logger.error("run %s is parked: %s", run.id, run.parked)
        self.cluster.record(run, Parked(self.cluster.wall, run.parked))

    def take_up(self, run: OpenRun, answer: Answer) -> None:
        """Try a parked run again."""
        run.parked, run.takes_lost = "", 0
        self._parked.pop(run.id, None)
        self.cluster.record(run, Parked(self.cluster.wall, ""), answer=answer)
        if run.active:
            self.assign(run)

    def bury(self) -> None:
        """Parked runs have nobody to judge them: those that were cancelled end here, when nothing of them runs."""
        for run_id in [name for name in self._parked if self.cluster.runs[name].cancelled is not None]:
            run = self.cluster.runs[run_id]
            if not run.live and not self.leasing.may_run_elsewhere(run):
                self.finish(run, *(run.ending or ("cancelled", RunError(None, (), f"{run.cancelled}; {run.parked}"))))

    # Takes ------------------------------------------------------------------------------------------------------

    def assign(self, run: OpenRun, to: PipelinerMember | None = None, held: int | None = None) -> None:
        """Give the run to a Pipeliner. `held`: it still has the run up to this fact."""
        cluster = self.cluster
        if run.parked:
            return
        pipeliner = to or min(cluster.pipeliners.values(), key=lambda one: len(one.runs), default=None)
        if pipeliner is None:
            run.owner = None
            self._orphans[run.id] = None
            return
        self._orphans.pop(run.id, None)
        self._takes += 1
        run.take, run.owner, run.confirmed = self._takes, pipeliner.identity, False
        pipeliner.runs.add(run.id)
        facts = cluster.take_news(run)
        if held is not None and facts:
            held = min(held, facts[0][0] - 1)  # what this turn has recorded was not told yet
        if run.definition is not None:
            definition, run.definition = run.definition, None
            facts, run.backlog = run.backlog + facts, []
            cluster.send(run.owner, self._take(run, definition, facts, more=False))
        else:
            run.loading = True
            run.backlog = facts
            cluster.ask(Load(run.id, run.take, held or 0, definition=held is None))

    def ask_anew(self, run: OpenRun) -> None:
        """Let the owner say once more what has not ended."""
        owner = self.cluster.pipeliners.get(run.owner or "")
        if owner is not None and not run.loading:
            self.assign(run, owner, held=run.last)

    def loaded(self, run_id: str, take: int, definition: bytes | None, facts: list[tuple[int, bytes]]) -> None:
        """What a `Load` asked for. Facts that came after it was read are added from the backlog."""
        run = self.cluster.runs.get(run_id)
        if run is None or run.take != take or not run.loading or run.owner is None:
            return
        last = facts[-1][0] if facts else 0
        facts = facts + [fact for fact in run.backlog if fact[0] > last]
        run.loading, run.backlog = False, []
        first, rest = facts[:PAGE], facts[PAGE:]
        self.cluster.send(run.owner, self._take(run, definition, first, more=bool(rest)))
        for start in range(0, len(rest), PAGE):
            more = start + PAGE < len(rest)
            page = raw(rest[start : start + PAGE])
            self.cluster.send(run.owner, News(run.id, run.take, run.control, page, more))

    def _take(self, run: OpenRun, definition: bytes | None, facts: list[tuple[int, bytes]], more: bool) -> Take:
        window, live = self.cluster.rules.window, tuple(run.live)
        for item in run.live.values():
            item.take = run.take
        return Take(run.id, run.take, run.control, definition, raw(facts), run.number, more, window, live)

    # What an owner says -----------------------------------------------------------------------------------------

    def spoken_for(self, peer: str, session: str, run_id: str, take: int) -> OpenRun | None:
        """The run, when this peer may speak for it: its owner, under the current take."""
        pipeliner = self.cluster.pipeliners.get(peer)
        if pipeliner is None or pipeliner.session != session:
            self.cluster.send(peer, Again())
            return None
        run = self.cluster.runs.get(run_id)
        if run is None or run.owner != peer:
            self.cluster.send(peer, Drop(run_id, take))
            return None
        if run.take != take:
            return None  # the newer take is on its way; to drop what it builds on would leave it without a definition
        if not run.confirmed:
            run.confirmed, run.takes_lost = True, 0
            if self._suspect == run_id:
                self._next_suspect()
        return run

    def enqueue(self, run: OpenRun, message: Enqueue) -> None:
        """Attempts that may start: unless decided before a cancel, or for instances that are live or have ended. Hooks
        of groups were called by what had ended: only a cancel that is about hooks takes them back."""
        run.acknowledge(message.seen)
        now, timers = self.cluster.now, self.cluster.timers
        late = message.control < run.control
        for ready in [one for one in message.ready if not late or (one.hook and not run.shortened)]:
            key = (ready.job, ready.path)
            if key in run.live:
                self.cluster.grants.complete(run.live[key], ready)
                run.live[key].take = run.take
                continue
            if key in run.unseen:
                continue
            item = run.live[key] = Item(run, ready, now)
            item.take = run.take
            if ready.delay:
                timers.set(now + ready.delay, ("queue", item))
            else:
                self.leasing.queue(item)
            if item.patience is not None:
                timers.set(now + ready.delay + item.patience, ("expire", item))

    def halt(self, run: OpenRun, message: Halt) -> None:
        """What has to stop may have come back after a restart, unknown to its owner, who must not clean up yet."""
        run.acknowledge(message.seen)
        self.leasing.stop(run, message.instances)
        live = (run.live.get((job, path)) for job, path in message.instances)
        if any(item is not None and item.take != run.take for item in live):
            self.ask_anew(run)

    def conclude(self, run: OpenRun, message: Conclude) -> None:
        """Compare-and-set on the run's last fact: an owner that has not seen it will judge again when it has.

        Neither hooks nor the end come while something of the run still runs, here or on a Broker that has not come back
        after a restart, or is on its way to be stopped.
        """
        run.acknowledge(message.seen)
        if message.seen != run.last or run.live or self.cluster.stalled or self.leasing.may_run_elsewhere(run):
            return
        if message.final:
            verdict, error = run.ending or (message.verdict, message.error)
            self.finish(run, verdict, error)
        elif run.ending is None:
            run.ending = (message.verdict, message.error)
            self.cluster.record(run, Ending(self.cluster.wall, message.verdict, message.error))

    def finish(self, run: OpenRun, verdict: Verdict, error: RunError | None) -> None:
        """The run is over: nothing of it is kept here."""
        cluster = self.cluster
        duration = max(0.0, cluster.now - run.started)
        cluster.record(run, Finished(cluster.wall, verdict, error, duration))
        cluster.counts["finished"] += 1
        del cluster.runs[run.id]
        cluster.ended[run.id] = Known(run.id, verdict, error, duration, cluster.wall, run.options.key, run.digest)
        self._orphans.pop(run.id, None)
        self._parked.pop(run.id, None)
        cluster.queues.forget(run)
        cluster.results.forget(run.id)
        if owner := cluster.pipeliners.get(run.owner or ""):
            owner.runs.discard(run.id)
            cluster.take_news(run)
            cluster.send(owner.identity, Drop(run.id, run.take))
        end = RunEnd(run.id, verdict, duration, cluster.wall, error)
        for client in sorted(run.followers):
            cluster.tell_end(client, end)
        self.after_finish(run, verdict, error)
