"""Admission: what clients ask for. Runs come in here, and wait for their time or for other runs; `steering` stops them.

Every request is idempotent. A run's id is chosen by its client, so that repeating a submission finds the run that is
already there. What the journal knows of runs that are not open is handed in by the loop as `Known`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...pipeline.definition import RunOptions
from ...pipeline.errors import NotFound
from ...pipeline.facts import Accepted, Parent, Pruned, Released, Reopened, RunError, Verdict
from ..protocol import Control, Done, Endings, Failed, Follow, Receipt, RunEnd, Submission, Submit, Submitted
from .cluster import Answer, Cluster, Known
from .leasing import Leasing
from .replies import BUSY_PAUSE, after_reason, body_digest, closed, not_found, remembered, run_end, succeeded
from .runs import OpenRun
from .steering import Steering
from .tracking import Tracking

LOOK_AGAIN = 60.0
"""Seconds between looks at the wall clock, for runs that wait for a time of it: somebody may set it right."""
BELOW = b"below"
"""The digest of a sub-run: nothing that is submitted has it."""
JUST_OVER = "~"
"""Marks a run that has to be over, in whatever way, before the waiting one starts: it is being replaced."""


class Admission:
    def __init__(self, cluster: Cluster, leasing: Leasing, tracking: Tracking) -> None:
        self.cluster = cluster
        self.leasing = leasing
        self.tracking = tracking
        self.steering = Steering(cluster, leasing, tracking)
        self._waiting_for: dict[str, set[str]] = {}
        self._ended: list[tuple[OpenRun, Known]] = []
        """Runs whose end was not told yet to those that wait for it."""

    # Requests ---------------------------------------------------------------------------------------------------

    def submit(self, client: str, message: Submit, known: Mapping[str, Known], keys: Mapping[str, str]) -> None:
        """`known`: runs of the journal among those named here; `keys`: which of its runs hold the keys asked for."""
        cluster = self.cluster
        new = sum(one.run not in cluster.runs and not self._known(one.run, known) for one in message.submissions)
        most = cluster.rules.open_runs
        if new > most:
            reason = f"{new} runs in one request are more than the {most} that may be open: submit them in parts"
            cluster.send(client, Failed(message.id, "invalid", reason))
            return
        full = new and len(cluster.runs) + new > most
        if busy := cluster.stalled or (f"{len(cluster.runs)} runs are open" if full else ""):
            cluster.send(client, Failed(message.id, "busy", busy, BUSY_PAUSE))
            return
        receipts = [self._accept(client, one, message.follow, known, keys) for one in message.submissions]
        cluster.send(client, Submitted(message.id, receipts, cluster.wall))

    def follow(self, client: str, message: Follow, known: Mapping[str, Known]) -> None:
        ends: list[RunEnd] = []
        unknown: list[str] = []
        for run_id in message.runs:
            if run := self.cluster.runs.get(run_id):
                run.followers.add(client)
            elif (one := self._known(run_id, known)) and one.verdict:
                ends.append(run_end(one, one.verdict))
            else:
                unknown.append(run_id)
        self.cluster.send(client, Endings(message.id, ends, unknown))

    def control(self, client: str, message: Control, known: Mapping[str, Known]) -> None:
        run = self.cluster.runs.get(message.run)
        if not message.run and message.verb in ("pause", "resume"):
            self.steering.switch(client, message)
        elif run is None:
            self.cluster.send(client, closed(message, self._known(message.run, known)))
        elif self.cluster.stalled:
            self.cluster.send(client, Failed(message.id, "busy", self.cluster.stalled, BUSY_PAUSE))
        elif message.verb == "cancel":
            done = Done(message.id, "cancelling")
            self.steering.cancel(run, message.reason or "cancelled", remembered(message, done))
            self.cluster.send(client, done)
        elif message.verb == "retry" and run.parked:
            done = Done(message.id, "taken up again")
            self.tracking.take_up(run, remembered(message, done))
            self.cluster.send(client, done)
        elif message.verb in ("pause", "resume"):
            done = Done(message.id, "paused" if message.verb == "pause" else "running")
            self.steering.pause(run, message.verb == "pause", remembered(message, done))
            self.cluster.send(client, done)
        else:
            reason = f"run {run.id} is {run.state}; {message.verb} is for runs that have ended"
            self.cluster.send(client, Failed(message.id, "conflict", reason))

    def reopen(self, client: str, message: Control, run: OpenRun, holder: str | None = None) -> None:
        """`retry` of a run that has ended: a new round, in which what did not succeed is done again."""
        cluster = self.cluster
        if cluster.stalled:
            cluster.send(client, Failed(message.id, "busy", cluster.stalled, BUSY_PAUSE))
            return
        if run.options.key is not None:
            holder = cluster.keys.get(run.options.key, holder)
        if holder is not None and holder != run.id:
            reason = f"run {run.id} cannot go on: its key {run.options.key!r} is held by run {holder} now"
            cluster.send(client, Failed(message.id, "conflict", reason))
            return
        if run.id in cluster.pruned:
            cluster.send(client, not_found(message.id, NotFound("run", run.id, "it was pruned")))
            return
        run.followers.add(client)
        done = Done(message.id, f"round {run.round + 1}")
        self.open_again(run, answer=remembered(message, done))
        cluster.send(client, done)

    def open_again(self, run: OpenRun, parent: Parent | None = None, answer: Answer | None = None) -> None:
        """A new round of a run that has ended; of a sub-run as this attempt."""
        cluster = self.cluster
        cluster.ended.pop(run.id, None)
        run.round, run.control = run.round + 1, run.control + 1
        run.cancelled, run.ending, run.active, run.shortened, run.parked = None, None, True, False, ""
        run.parent = parent or run.parent
        run.started = cluster.now
        cluster.runs[run.id] = run
        if run.options.key is not None:
            cluster.keys[run.options.key] = run.id
        cluster.record(run, Reopened(cluster.wall, run.control, run.round, parent), answer=answer)
        self.steering.pause(run, False)
        self.arm(run)
        self.tracking.assign(run)

    def prune(self, client: str | None, request: str, runs: list[str], count: int | None = None) -> None:
        """Finished runs leave, sub-runs with theirs; the request may be the Router's own. `count`: how many there are
        for whoever asks."""
        if self.cluster.stalled:
            if client is not None:
                self.cluster.send(client, Failed(request, "busy", self.cluster.stalled, BUSY_PAUSE))
            return
        over = [run for run in runs if run not in self.cluster.runs]  # one that was opened again stays
        for run in over:
            self.cluster.pruned.add(run)
            self.cluster.record(None, Pruned(run, self.cluster.wall))
        if client is not None:
            self.cluster.send(client, Done(request, str(len(over) if count is None else count)))

    # Accepting --------------------------------------------------------------------------------------------------

    def _accept(
        self,
        client: str,
        one: Submission,
        follow: bool,
        known: Mapping[str, Known],
        keys: Mapping[str, str],
    ) -> Receipt:
        if one.run in self.cluster.promised or self._is_another(one, known):
            reason = f"run {one.run} is there already, and is another one: a new run needs an id of its own"
            return Receipt(one.run, False, True, reason)
        if one.run in self.cluster.runs or self._known(one.run, known):
            return self._existing(client, one.run, follow, known)
        key = one.options.key
        holder = self._holder(key, keys)
        awaits = set(one.options.after)
        if holder is not None:
            if one.options.on_duplicate == "reject":
                return Receipt(holder, False, True, f"key {key!r} is held by run {holder}")
            if one.options.on_duplicate == "return":
                return self._existing(client, holder, follow, known)
            if held := self.cluster.runs.get(holder):
                self.steering.cancel(held, f"replaced by run {one.run}")
                awaits |= _to_be_over(held)
        self._open(client if follow else None, one, awaits, known)
        return Receipt(one.run)

    def _is_another(self, one: Submission, known: Mapping[str, Known]) -> bool:
        """Is what is known under this id not what is submitted? Of a pruned run nobody knows."""
        run, end = self.cluster.runs.get(one.run), self._known(one.run, known)
        before = run.digest if run is not None else end.digest if end is not None else b""
        return bool(before) and before != body_digest(one)

    def _existing(self, client: str, run_id: str, follow: bool, known: Mapping[str, Known]) -> Receipt:
        if follow and (run := self.cluster.runs.get(run_id)):
            run.followers.add(client)
        elif follow and (one := self._known(run_id, known)) and one.verdict:
            self.cluster.tell_end(client, run_end(one, one.verdict))
        return Receipt(run_id, existed=True)

    def _open(self, follower: str | None, one: Submission, awaits: set[str], known: Mapping[str, Known]) -> None:
        cluster, options = self.cluster, one.options
        early = options.not_before is not None and options.not_before > cluster.wall
        awaits = {name for name in awaits if name.removeprefix(JUST_OVER) in cluster.runs}
        small = one.data is not None and len(one.data) <= cluster.rules.inline_data
        run = OpenRun(one.run, cluster.last + 1, options, cluster.wall, cluster.now)
        run.data, run.has_data = (one.data if small else None), one.data is not None
        run.definition, run.awaits, run.digest = one.definition, awaits, body_digest(one)
        run.active = not early and not awaits
        if follower:
            run.followers.add(follower)
        cluster.runs[run.id] = run
        if options.key is not None:
            cluster.keys[options.key] = run.id
        cluster.counts["accepted"] += 1
        accepted = Accepted(run.id, cluster.wall, options, run.active, digest=run.digest)
        cluster.record(run, accepted, definition=one.definition, data=one.data)
        for name in options.after:
            before = self._known(name, known)
            if name == run.id or (name not in cluster.runs and not succeeded(before)):
                self.tracking.finish(run, "failed", RunError(None, (), after_reason(name, before)))
                return
        if options.paused:
            self.steering.pause(run, True)
        self.arm(run)
        if run.active:
            self.tracking.assign(run)

    def open_below(
        self,
        name: str,
        parent: Parent,
        above: OpenRun,
        definition: bytes,
        options: RunOptions,
        data: bytes | None,
        ref: str | None,
    ) -> OpenRun:
        """The run of a job that is a pipeline. It is always let in: it belongs to what was accepted."""
        cluster = self.cluster
        run = OpenRun(name, cluster.last + 1, options, above.accepted_at, cluster.now, definition=definition)
        small = data is not None and len(data) <= cluster.rules.inline_data
        run.data, run.has_data, run.data_ref = (data if small else None), data is not None or ref is not None, ref
        run.parent, run.digest = parent, BELOW
        cluster.runs[name] = run
        cluster.counts["accepted"] += 1
        accepted = Accepted(name, cluster.wall, options, parent=parent, data_ref=ref, digest=BELOW)
        cluster.record(run, accepted, definition=definition, data=data)
        self.arm(run)
        self.tracking.assign(run)
        return run

    def _known(self, run: str, known: Mapping[str, Known]) -> Known | None:
        return self.cluster.ended.get(run) or known.get(run)

    def _holder(self, key: str | None, keys: Mapping[str, str]) -> str | None:
        """The run that has this key: one that the journal does not tell of yet, else the journal's."""
        return None if key is None else self.cluster.keys.get(key) or keys.get(key)

    # The life of a run ------------------------------------------------------------------------------------------

    def restore(self, run: OpenRun) -> None:
        """After a restart: what a waiting run waits for, read from what is open."""
        runs, keys, options = self.cluster.runs, self.cluster.keys, run.options
        if not run.active:
            run.awaits = {name for name in options.after if name in runs}
        if options.key is not None:
            if before := runs.get(keys.get(options.key, "")):
                run.awaits |= _to_be_over(before)
            keys[options.key] = run.id
        self.arm(run)
        self.release(run)

    def arm(self, run: OpenRun) -> None:
        """Set the timers of a run that was accepted, restored or released."""
        options, timers = run.options, self.cluster.timers
        for name in run.awaits:
            self._waiting_for.setdefault(name.removeprefix(JUST_OVER), set()).add(run.id)
        if not run.active and options.not_before is not None:
            left = min(options.not_before - self.cluster.wall, LOOK_AGAIN)
            timers.set(self.cluster.now + left, ("release", run.id))
        elif run.active and options.deadline is not None:
            timers.set(run.started + options.deadline, ("deadline", run.id))

    def release(self, run: OpenRun) -> None:
        """A waiting run starts, when nothing keeps it any more."""
        cluster = self.cluster
        if run.active or run.awaits:
            return
        if run.options.not_before is None or run.options.not_before <= cluster.wall:
            cluster.record(run, Released(cluster.wall))
            run.started, run.active = cluster.now, True
            self.tracking.assign(run)
        self.arm(run)

    def finished(self, ended: OpenRun, verdict: Verdict, error: RunError | None) -> None:
        """Tell those that wait for this run. What fails by that ends too, and is told of here in its turn."""
        self._ended.append((ended, Known(ended.id, verdict, error)))
        if len(self._ended) > 1:
            return
        try:
            for run, known in self._ended:
                self._tell_waiting(run, known)
        finally:
            self._ended = []

    def _tell_waiting(self, ended: OpenRun, known: Known) -> None:
        """Only success lets those start that come after a run; a replaced one just has to be over."""
        for run_id in sorted(self._waiting_for.pop(ended.id, ())):
            run = self.cluster.runs.get(run_id)
            if run is None or run.active:  # it was cancelled meanwhile, and ends by that
                continue
            run.awaits -= {ended.id, JUST_OVER + ended.id}
            if ended.id in run.options.after and known.verdict != "success":
                reason = after_reason(ended.id, known)
                self.tracking.finish(run, "failed", RunError(None, (), reason))
            else:
                self.release(run)


def _to_be_over(held: OpenRun) -> set[str]:
    """What a run that takes this one's place waits for: its end, and the ends of those that it was to replace."""
    return {JUST_OVER + held.id, *(name for name in held.awaits if name.startswith(JUST_OVER))}
