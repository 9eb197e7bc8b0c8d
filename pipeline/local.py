"""The local engine: a run in this process, by the same `Progress` that tracks it on a cluster, without any daemon.

    Progress ──> ready attempts ──> here, or in a fork ──> outcomes ──> facts ──> Progress

With `processes=0` jobs run here, one after the other; a job that may have to be stopped (it has a `timeout`, or the run
a `deadline`) runs in a fork. With `processes=N` all of them run in forks, N at a time. Delays are waited for, without
asking the clock all the time. Nothing is kept: a local run is over when its process is.
"""

from __future__ import annotations

import heapq
import itertools
import os
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from .cachenotes import CacheNotes
from .checks import whole
from .compile import compile_pipeline, data_of, options_of
from .definition import Definition, RunOptions, pack_definition
from .errors import ConfigError
from .facts import Accepted, Cancelled, Ending, Failure, Finished, Path, Reopened, Returned, RunFact, Verdict
from .local_results import LocalResults
from .plan import Plan
from .progress import Progress
from .run import Run
from .signs import problem_of
from .subruns import OVERDUE, PREPARE, SubRun, child_id, child_options, outcome_of
from .task import Assignment, Needs, Outcome, Ready, RunHeader

if TYPE_CHECKING:
    from ..workers.local import LocalWorkers
    from .pipeline import Pipeline

WINDOW = 1000
"""Attempts that are taken from `Progress` at a time."""
FOREVER = float("inf")


@dataclass(frozen=True, slots=True)
class LocalEvent:
    """What `on_event` is told: `started`, `ended` and `progress` of an attempt, `finished` of the run."""

    kind: str
    job: str = ""
    path: Path = ()
    attempt: int = 0
    state: str = ""
    """How the attempt, or the run, ended."""
    done: float = 0.0
    total: float | None = None
    message: str = ""


OnEvent = Callable[[LocalEvent], None]


def run_pipeline(
    pipeline: Pipeline,
    workers: Any = None,
    store: Any = None,
    processes: int = 0,
    on_event: OnEvent | None = None,
    cache_folder: str | os.PathLike[str] | None = None,
) -> Run:
    """Run a pipeline to its end.

    workers    a module or its name, or a list of classes and functions; None is the module `workers`, if there is one
    store      an object, a class, or `module:Class`; None needs no store
    processes  how many processes run jobs; 0 is this one
    on_event   called with a `LocalEvent` whenever something has happened
    cache_folder  where results of jobs with `cache='content'` are kept; by default `HEADRACE_CACHE`, or a folder among
                  the user's caches
    """
    from ..workers.local import LocalWorkers

    whole(0)("run", "processes", processes)
    if pipeline.after:
        raise ConfigError("a local run cannot wait for others (`after`): start it when they have ended")
    definition = compile_pipeline(pipeline)
    offered = LocalWorkers.of(pipeline.workers, workers, store, cache_folder)
    offered.check(definition)
    options = options_of(pipeline)
    if options.not_before is not None:
        time.sleep(max(0.0, options.not_before - time.time()))
    engine = _Engine(uuid.uuid4().hex, definition, data_of(pipeline), options, offered, processes, on_event)
    try:
        return engine.run()
    finally:
        offered.close()


class _Engine:
    """One run: a heap of attempts that wait for their time, one of those that may start, and what is under way."""

    def __init__(
        self,
        run: str,
        definition: Definition,
        data: bytes | None,
        options: RunOptions,
        workers: LocalWorkers,
        processes: int,
        on_event: OnEvent | None,
    ) -> None:
        self._id = run
        self._progress = Progress(Plan(definition), run)
        self._results = LocalResults(pack_definition(definition), data)
        self._header = RunHeader(run, data)
        self._options = options
        self._workers = workers
        self._processes = processes
        self._tell = on_event or _nobody
        self._sequence = 0
        self._leases = itertools.count(1)
        self._notes = CacheNotes()
        self._below: dict[str, _Engine] = {}
        """Sub-runs that have not succeeded: another attempt goes on where they have ended."""
        self._delayed: list[tuple[float, int, Ready]] = []
        self._startable: list[tuple[int, int, float, Ready]] = []
        self._live: dict[tuple[str, Path], int] = {}
        """Leases of what is under way."""
        self._assigned: dict[int, Ready] = {}
        self._waiting = 0

    def run(self, until: float = FOREVER) -> Run:
        """To the end; called again, what has not succeeded is done again, in another round.

        `until` is the deadline of the runs above, in monotonic seconds: that is one for this run too.
        """
        self._runner = self._workers.runner(self._results.fetch, max(1, self._processes), self._report)
        self._began = time.monotonic()
        own = FOREVER if self._options.deadline is None else self._began + self._options.deadline
        self._deadline = min(own, until)
        self._ends_in_time = self._deadline < FOREVER
        try:
            self._begin()
            while not self._concluded():
                self._take()
                self._halt()
                self._start()
                self._wait()
        finally:
            self._runner.close()
        return self._ended()

    # Facts -----------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if not self._sequence:
            self._record(Accepted(self._id, time.time(), self._options))
        else:
            self._record(Reopened(time.time(), 0, self._progress.round + 1))

    def _record(self, fact: RunFact) -> None:
        self._sequence += 1
        self._progress.apply(self._sequence, fact)

    def _returned(self, ready: Ready, outcome: Outcome) -> None:
        if outcome.charged or outcome.kind == "success":
            self._results.put(ready.job, ready.path, self._judged(ready, outcome))
        fact = Returned(
            ready.job,
            ready.path,
            ready.attempt,
            outcome.kind,
            outcome.lease,
            ready.round,
            outcome.started,
            outcome.duration,
            "here",
            outcome.size,
            None,
            outcome.signs,
            outcome.error,
            outcome.charged,
            None,
            outcome.cache,
        )
        if outcome.cache is not None:
            self._notes.add(fact)
        self._record(fact)
        self._tell(LocalEvent("ended", ready.job, ready.path, ready.attempt, outcome.kind))

    def _judged(self, ready: Ready, outcome: Outcome) -> Outcome:
        """What is kept of it: of an answer that cannot be honoured the reason, and not the result."""
        if outcome.kind != "success" or outcome.signs is None:
            return outcome
        plan, board = self._progress.plan, self._progress.board
        at = plan.find(ready.job, ready.path)
        problem = None if at is None else problem_of(plan, board, at, ready.path, outcome.signs)
        if problem is None:
            return outcome
        return msgspec.structs.replace(outcome, kind="failed", result=b"", error=Failure("InvalidAnswer", problem))

    def _concluded(self) -> bool:
        """Fix the verdict when it is there; True when the run is over."""
        conclusion = self._progress.conclusion()
        if conclusion is None or self._live:
            return False
        verdict, error, final = conclusion
        self._deadline = FOREVER
        if not final:
            self._record(Ending(time.time(), verdict, error))
            return False
        self._record(Finished(time.time(), verdict, error, time.monotonic() - self._began))
        self._tell(LocalEvent("finished", state=verdict))
        return True

    # Attempts --------------------------------------------------------------------------------------------------------

    def _take(self) -> None:
        """Let what is ready wait for its time, and then for a place."""
        now = time.monotonic()
        room = WINDOW - len(self._startable)
        for ready in self._progress.ready(room) if room > 0 else ():
            self._waiting += 1
            heapq.heappush(self._delayed, (now + ready.delay, self._waiting, ready))
        while self._delayed and self._delayed[0][0] <= now:
            due, order, ready = heapq.heappop(self._delayed)
            priority = ready.needs.priority if ready.needs is not None else 0
            heapq.heappush(self._startable, (-priority, order, due, ready))

    def _halt(self) -> None:
        if time.monotonic() >= self._deadline:
            self._deadline = FOREVER
            self._record(Cancelled(time.time(), 1, OVERDUE))
        halted = set(self._progress.halts())
        if not halted:
            return
        for job, path in halted:
            if (lease := self._live.get((job, path))) is not None:
                self._runner.stop(lease, "cancelled")
        delayed, startable = self._delayed, self._startable
        self._delayed = [entry for entry in delayed if _cell(entry[-1]) not in halted]
        self._startable = [entry for entry in startable if _cell(entry[-1]) not in halted]
        heapq.heapify(self._delayed)
        heapq.heapify(self._startable)
        for ready in (*(entry[-1] for entry in delayed), *(entry[-1] for entry in startable)):
            if _cell(ready) in halted:
                self._returned(ready, Outcome(0, "cancelled"))

    def _start(self) -> None:
        """Start what has a place. In this process that means: run it."""
        limit = self._options.max_active or FOREVER
        while self._startable and len(self._live) < limit and self._runner.has_room():
            *_, due, ready = heapq.heappop(self._startable)
            if self._expired(ready, due):
                continue
            self._tell(LocalEvent("started", ready.job, ready.path, ready.attempt))
            if ready.below is not None:
                self._returned(ready, self._run_below(ready, ready.below))
                return
            lease = next(self._leases)
            assignment = self._assignment(ready, lease)
            if not self._in_fork(ready):
                self._returned(ready, self._runner.run(self._header, assignment))
                return
            self._live[ready.job, ready.path] = lease
            self._assigned[lease] = ready
            self._runner.start(self._header, assignment)

    def _in_fork(self, ready: Ready) -> bool:
        timed = ready.needs is not None and ready.needs.timeout is not None
        return bool(self._processes) or timed or self._ends_in_time

    def _expired(self, ready: Ready, due: float) -> bool:
        limit = ready.needs.queue_timeout if ready.needs is not None else None
        if limit is None or time.monotonic() < due + limit:
            return False
        self._returned(ready, Outcome(0, "expired"))
        return True

    def _assignment(self, ready: Ready, lease: int) -> Assignment:
        inputs = tuple(self._results.supplied(wanted) for wanted in ready.inputs)
        return Assignment.of(ready, lease, self._id, inputs)

    def _wait(self) -> None:
        """Until something ends in a fork, or gets due."""
        if not self._live and (self._startable or self._progress.has_ready() or not self._delayed):
            return
        due = self._delayed[0][0] if self._delayed else FOREVER
        for outcome in self._runner.wait(min(due, self._deadline)):
            ready = self._assigned.pop(outcome.lease)
            del self._live[ready.job, ready.path]
            self._returned(ready, outcome)

    def _report(self, assignment: Assignment, done: float, total: float | None, message: str) -> None:
        where = assignment.job, assignment.path, assignment.attempt
        self._tell(LocalEvent("progress", *where, "", done, total, message))

    # Sub-runs and the end --------------------------------------------------------------------------------------------

    def _run_below(self, ready: Ready, below: SubRun) -> Outcome:
        """A job that is a pipeline: a run of its own, here, whose results are the job's result."""
        name = child_id(self._id, below.since, ready.job, ready.path)
        engine = self._below.pop(name, None)
        if engine is None:
            prepared = self._prepared(ready, below)
            if prepared.kind != "success":
                return prepared
            engine = self._engine_below(name, ready, below, prepared.result if below.bound else below.data)
        started = time.time()
        run = engine.run(self._deadline)
        self._notes.include(engine._notes, ready.job)
        if not run.ok and time.monotonic() >= self._deadline:
            self._halt()  # first, so that it is this run which was too long, and not the job that failed
            return Outcome(0, "cancelled", b"", started, run.duration or 0.0)
        if not run.ok:
            self._below[name] = engine
            verdict: Verdict = "cancelled" if run.state == "cancelled" else "failed"
            kind, failure = outcome_of(verdict, run.error, engine._options.deadline)
            return Outcome(0, kind, b"", started, run.duration or 0.0, error=failure)
        return self._workers.answered(ready, run.results, started, run.duration or 0.0)

    def _prepared(self, ready: Ready, below: SubRun) -> Outcome:
        """The child's data, with the inputs of the job put into it."""
        if not below.bound:
            return Outcome(0)
        assignment = msgspec.structs.replace(self._assignment(ready, next(self._leases)), worker=PREPARE)
        return self._runner.run(self._header, assignment)

    def _engine_below(self, name: str, ready: Ready, below: SubRun, data: bytes | None) -> _Engine:
        definition = Plan.load(below.definition).definition
        needs = ready.needs or Needs()
        options = child_options(below.options, ready.job, 0, needs.timeout)
        return _Engine(name, definition, data, options, self._workers, self._processes, self._telling(ready))

    def _telling(self, ready: Ready) -> OnEvent:
        """Events of a sub-run name its jobs below the job that it is."""

        def tell(event: LocalEvent) -> None:
            if event.kind != "finished":
                self._tell(replace(event, job=f"{ready.job}/{event.job}"))

        return tell

    def _ended(self) -> Run:
        progress = self._progress
        plan = progress.plan
        single = {plan.names[at]: plan.is_single(at) and not plan.base.get(at) for at in plan.jobs()}
        jobs = [(name, not single[name]) for name in progress.states()]
        results = self._results
        duration = time.monotonic() - self._began
        return Run(
            self._id,
            progress.state,
            lambda: results.unpacked(jobs),
            progress.error,
            progress.states(),
            duration,
            self._notes.report,
        )


def _cell(ready: Ready) -> tuple[str, Path]:
    return ready.job, ready.path


def _nobody(event: LocalEvent) -> None:
    """Nobody wants to know."""
