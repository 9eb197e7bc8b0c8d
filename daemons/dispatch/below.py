"""Below: jobs that are runs of their own (`pipeline.subruns` says what that means to a job).

An item of such a job is not leased while its run, the *child*, goes on. What it waits for stands in its state:

    held ──> found ──nothing there, inputs to bind──> queued, leased (prepare) ──> below
               │─────nothing there──────────────────────────────────────────────> below
               │─────there, and failed for an earlier attempt: opened again─────> below ──child failed──> ended
               └─────there, and has succeeded──> queued, leased (collect) <──child succeeded──┘
                                                       └──> ended            below ──stop──> leaving ──> ended

Nothing of this is kept: it is read from the facts. The child's id follows from its place, `Accepted` (and `Reopened`)
of the child name the attempt that it is, and `Returned` of the run above is the only end of that attempt. So:

  - the child's first fact is on disk, or there is no child: whoever asks anew opens it, once
  - a restart in the middle: an open child makes its item, below, in the run above, before anybody judges that
  - the child's end and, unless it has succeeded, the end of its attempt are facts of one turn: both on disk or neither
  - it has succeeded, and what it returned is not collected: the attempt is asked for anew, and finds that
  - the run above is stopped: child and attempt are, by facts of one turn; the attempt ends when the child has

Priority, pause and cancel flow down, a child of a run above a limit (`open_runs`) is always let in, and what it runs
does not count for the `max_active` of the run above. So nothing below can be waited for in vain.
"""

from __future__ import annotations

from msgspec.structs import replace

from ...pipeline.facts import Failure, Parent, RunError, Verdict
from ...pipeline.subruns import COLLECT, PREPARE, SUBRUN, child_id, child_options, outcome_of
from ...pipeline.task import Input, Needs, Outcome, Ready
from .admission import Admission
from .cluster import Cluster, Known
from .effects import Find
from .items import Item, State
from .leasing import Leasing
from .runs import OpenRun
from .tracking import Tracking

PAUSE = 1.0
"""Seconds before another look, while the disk takes no facts."""
STOPPED = "its job in the run above was stopped"
ORPHANED = "the run above does not wait for it any more"


class Below:
    def __init__(self, cluster: Cluster, leasing: Leasing, tracking: Tracking, admission: Admission) -> None:
        self.cluster = cluster
        self.leasing = leasing
        self.tracking = tracking
        self.admission = admission
        self.steering = admission.steering
        leasing.begin_below, leasing.prepared, leasing.stop_below = self.begin, self.prepared, self.stop

    # Down -------------------------------------------------------------------------------------------------------

    def begin(self, item: Item) -> None:
        """It may start: see first what there is of its child."""
        ready = item.ready
        since = ready.below.since if ready.below is not None else ready.round
        item.child = child_id(item.run.id, since, ready.job, ready.path)
        self.cluster.promised.add(item.child)
        self.cluster.ask(Find(item.run.id, ready.job, ready.path, ready.attempt, item.child))

    def found(self, asked: Find, run: OpenRun | None, known: Known | None) -> None:
        """What the journal has of a child: nothing, its end, and (unless it was pruned) the run as it would go on."""
        above = self.cluster.runs.get(asked.run)
        item = above.live.get((asked.job, asked.path)) if above is not None else None
        if item is None or item.state is not State.HELD or item.ready.attempt != asked.attempt:
            return
        if self.cluster.stalled:
            self.cluster.timers.set(self.cluster.now + PAUSE, ("queue", item))
        elif known is None and asked.child not in self.cluster.runs:
            self._prepare(item)
        elif run is None or known is None or not _is_of(run, item):
            reason = f"its run {asked.child} is not there any more, or its id was given to another run"
            self.leasing.end(item, "failed", Failure("SubRunFailed", reason))
        elif known.verdict == "success":
            self._collect(item, known)
        elif run.parent == self._place(item):
            self._failed(item, known.verdict or "failed", known, run.options.deadline)
        else:
            self.admission.open_again(run, parent=self._place(item))
            self._goes_on(item, run)

    def _prepare(self, item: Item) -> None:
        """Open the child, when its data is made."""
        below = item.ready.below
        assert below is not None
        if below.bound:
            item.ready = replace(item.ready, worker=PREPARE)
            self._queue(item)
        else:
            self._open(item, below.data, None)

    def prepared(self, item: Item, outcome: Outcome) -> None:
        """The child's data is there."""
        item.ready = replace(item.ready, worker=SUBRUN)
        self._open(item, None if outcome.ref else outcome.result, outcome.ref)

    def _open(self, item: Item, data: bytes | None, ref: str | None) -> None:
        below, needs = item.ready.below, item.ready.needs or Needs()
        assert below is not None
        priority = item.run.options.priority + needs.priority
        options = child_options(below.options, item.ready.job, priority, needs.timeout)
        place = self._place(item)
        run = self.admission.open_below(item.child, place, item.run, below.definition, options, data, ref)
        self._goes_on(item, run)

    def _goes_on(self, item: Item, run: OpenRun) -> None:
        run.belongs_to(item.run)
        item.began = self.cluster.wall
        item.step("open")
        self.cluster.queues.wake(item.run)

    def _place(self, item: Item) -> Parent:
        ready = item.ready
        return Parent(item.run.id, ready.job, ready.path, ready.round, ready.attempt, ready.hook)

    def stop(self, item: Item) -> None:
        """The end of the child is wanted, and then the item's own."""
        item.step("stop")
        self.steering.cancel(self.cluster.runs[item.child], item.run.cancelled or STOPPED)

    # Up ---------------------------------------------------------------------------------------------------------

    def ended(self, child: OpenRun, verdict: Verdict, error: RunError | None) -> None:
        """A run is over. If it was a job's, so is the attempt, or its results are to be collected."""
        place, above = child.parent, child.above
        if place is None or above is None:
            return
        above.below.pop(child.id, None)
        item = above.live.get((place.job, place.path))
        if item is None or item.child != child.id:
            return
        if item.state is State.LEAVING:
            self.leasing.end(item, "cancelled", began=item.began)
        elif verdict == "success":
            self._collect(item, Known(child.id, verdict))
        else:
            self._failed(item, verdict, Known(child.id, verdict, error), child.options.deadline)

    def _failed(self, item: Item, verdict: Verdict, known: Known, deadline: float | None) -> None:
        kind, failure = outcome_of(verdict, known.error, deadline)
        self.leasing.end(item, kind, failure, began=item.began or known.at - known.duration)

    def _collect(self, item: Item, known: Known) -> None:
        """The child has succeeded: a Broker makes the job's result of its results."""
        if not item.ready.task:  # a restart has made this item, and what it runs was not said again yet
            self.leasing.let_go(item)
            return
        results = Input(item.child, (), True, None, "run")
        needs = item.ready.needs
        needs = Needs(priority=needs.priority) if needs is not None and needs.priority else None
        item.ready = replace(item.ready, worker=COLLECT, inputs=(results,), needs=needs, below=None)
        item.began = item.began or known.at - known.duration
        self.cluster.rest_on = self.cluster.last  # the child's end may be a fact of this turn
        self._queue(item)

    def _queue(self, item: Item) -> None:
        item.step("queue")
        self.cluster.queues.push(item)

    # After a restart --------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """Open children stand below their items again, the outer ones first."""
        runs = self.cluster.runs
        orphans = []
        for run in list(runs.values()):
            place = run.parent
            if place is None:
                continue
            above = runs.get(place.run)
            if above is None or above.round != place.round or (place.job, place.path) in above.live:
                orphans.append(run)
                continue
            self._restore(run, above, place)
        for run in orphans:
            self.steering.cancel(run, ORPHANED)

    def _restore(self, run: OpenRun, above: OpenRun, place: Parent) -> None:
        ready = Ready(place.job, place.path, place.attempt, SUBRUN, b"", round=place.round, hook=place.hook)
        item = above.live[place.job, place.path] = Item(above, ready, self.cluster.now)
        item.child, item.began = run.id, self.cluster.wall - max(0.0, self.cluster.now - run.started)
        self.cluster.promised.add(run.id)
        run.belongs_to(above)
        item.step("open")
        if run.cancelled in (STOPPED, above.cancelled) and run.cancelled is not None:
            item.step("stop")
        elif above.cancelled is not None and not place.hook:
            self.stop(item)

    def validate(self) -> None:
        """Whoever is below has a child, and whoever is a child of an open run is waited for there."""
        runs = self.cluster.runs
        for run in runs.values():
            for item in run.live.values():
                if item.state in (State.BELOW, State.LEAVING):
                    child = runs.get(item.child)
                    assert child is not None and child.above is run, f"{item} has no child {item.child}"
            for child_name, child in run.below.items():
                place = child.parent
                assert runs.get(child_name) is child and place is not None, f"{child_name} is not open below {run.id}"
                waiting = run.live.get((place.job, place.path))
                assert waiting is not None and waiting.child == child_name, f"nobody waits for {child_name}"


def _is_of(run: OpenRun, item: Item) -> bool:
    """Was this run opened for this job? Somebody may have submitted another one under its id."""
    place = run.parent
    return place is not None and (place.run, place.job, place.path) == (item.run.id, *item.key)
