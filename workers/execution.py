"""Execution: one attempt from its assignment to its outcome.

    retrieve (or the input by `bind`)  ->  worker  ->  pack  ->  save  ->  outcome

Everything that can go wrong in between is an outcome too, and says whose fault it was: the job's (`failed`), the
store's (`store`), or nobody's (`timeout`, `cancelled`). The same class runs attempts inside worker processes and inline
for local runs, one attempt at a time.
"""

from __future__ import annotations

import time
from types import CoroutineType
from typing import Any

from ..pipeline.answers import RetryAfter
from ..pipeline.errors import JobCancelled, JobError, JobTimeout, StoreError, Superseded
from ..pipeline.facts import CacheNote, Ended, Failure, Signs
from ..pipeline.payload import pack
from ..pipeline.subruns import PREPARE
from ..pipeline.task import Assignment, Outcome, RunHeader, Task, unpack_task
from .answers import InvalidAnswer, understand
from .below import BELOW
from .cache.cache import Cache, Look
from .capture import Capture, tail
from .catalog import Catalog
from .command import runnable_of
from .coroutines import Coroutines
from .current import CurrentJob, Report, running
from .failures import failure_of
from .inputs import Attempt
from .interruption import Interruption
from .reading import Reader, Values
from .runnable import Runnable
from .storekeeper import Storekeeper

INLINE_LIMIT = 64 * 1024
KEPT_TASKS = 4096


class Execution:
    """Runs attempts, one after the other.

    `inline_limit` None: every result travels inline. `interactive`: Ctrl-C is the user's, and goes through.
    """

    def __init__(
        self,
        catalog: Catalog,
        keeper: Storekeeper,
        reader: Reader,
        *,
        values: Values | None = None,
        cache: Cache | None = None,
        inline_limit: int | None = INLINE_LIMIT,
        interruption: Interruption | None = None,
        capture: Capture | None = None,
        report: Report | None = None,
        interactive: bool = False,
    ) -> None:
        self._catalog = catalog
        self._keeper = keeper
        self._reader = reader
        self._values = values
        self._cache = cache
        self._inline_limit = inline_limit
        self._interruption = interruption or Interruption()
        self._capture = capture
        self._report = report or _no_report
        self._interactive = interactive
        self._tasks: dict[bytes, tuple[Task, Runnable]] = {}
        self._coroutines = Coroutines()
        self._in_store = False

    def run(self, header: RunHeader, assignment: Assignment) -> Outcome:
        """Never raises, unless `interactive` and the user said so."""
        started = time.time()
        clock = time.perf_counter()
        interruption = self._interruption
        interruption.begin(assignment.lease)
        attempt: Attempt | None = None
        try:
            task, runnable = self._known(assignment.task)
            attempt = Attempt(header, assignment, task, runnable, self._reader)
            answer = self._work(attempt)
            look = attempt.look
            if look is not None and look.found is not None:
                result, signs, packed = self._of_earlier(look, task)
            else:
                result, signs = (answer, None) if assignment.worker == PREPARE else understand(answer, task)
                packed = pack(result, "the result")
            ref = self._kept(attempt, result, packed, signs)
            if look is not None and look.found is None:
                self._keep(look, attempt, packed, signs, ref, clock)
        except BaseException as error:
            interruption.close()
            if self._interactive and isinstance(error, KeyboardInterrupt):
                raise
            return self._ended_badly(error, assignment, attempt, started, clock)
        finally:
            interruption.end()
        return Outcome(
            assignment.lease,
            "success",
            packed if ref is None else b"",
            started,
            time.perf_counter() - clock,
            len(packed),
            ref,
            signs,
            None,
            True,
            None if self._capture is None else self._capture.attempt_ended(),
            None if look is None else look.note,
            runnable.code,
        )

    def close(self) -> None:
        """Free what attempts have left: the event loop and the store."""
        self._coroutines.close()
        self._keeper.close()

    # The way of a good attempt --------------------------------------------------------------------------------------

    def _known(self, packed: bytes) -> tuple[Task, Runnable]:
        known = self._tasks.get(packed)
        if known is None:
            task = unpack_task(packed)
            found: Runnable
            if task.below:
                found = BELOW
            elif task.command is None:
                found = self._catalog[task.worker]
            else:
                found = runnable_of(task.worker, task.command, self._interruption)
            if len(self._tasks) >= KEPT_TASKS:
                self._tasks.clear()
            known = self._tasks[packed] = task, found
        return known

    def _work(self, attempt: Attempt) -> Any:
        interruption = self._interruption
        bind = attempt.task.bind
        token = running.set(CurrentJob(attempt.assignment, attempt, interruption, self._report))
        try:
            interruption.open()
            if attempt.runnable is BELOW:
                value = None
            else:
                value = self._retrieved(attempt) if bind == "store" else attempt.value()
            if attempt.task.cache and self._look(attempt, value).found is not None:
                return None
            answer = attempt.runnable.invoke(bind, value, attempt)
            if type(answer) is CoroutineType:
                answer = self._coroutines.run(answer)
            return answer
        finally:
            try:
                interruption.close()
            finally:
                running.reset(token)

    def _retrieved(self, attempt: Attempt) -> Any:
        if not self._keeper.saves:
            return self._keeper.retrieve(attempt.brief())
        self._in_store = True
        value = self._keeper.retrieve(attempt.info())
        self._in_store = False
        return value

    def _kept(self, attempt: Attempt, result: Any, packed: bytes, signs: Signs | None) -> str | None:
        """Save the result; the reference of a value that is too large to travel."""
        large = self._inline_limit is not None and len(packed) > self._inline_limit
        if large and self._values is None:
            text = f"the result has {len(packed)} bytes; {self._inline_limit} travel without a values folder"
            raise JobError(f"{text}, and this worker process has none")
        if not large and not self._keeper.saves:
            return None
        try:
            self._interruption.open()
            if signs is None or signs.skip is None:
                self._save(attempt, result)
            return self._written(attempt, packed) if large else None
        finally:
            self._interruption.close()

    def _save(self, attempt: Attempt, result: Any) -> None:
        if self._keeper.saves and attempt.runnable is not BELOW:
            self._in_store = True
            self._keeper.save(attempt.info(), result)
            self._in_store = False

    def _written(self, attempt: Attempt, packed: bytes) -> str:
        values, assignment = self._values, attempt.assignment
        assert values is not None

        found = None if attempt.look is None else attempt.look.found
        source = None if found is None else found.file

        def write() -> str:
            return values.write(assignment.run, assignment.job, assignment.path, assignment.lease, packed, source)

        ref = self._keeper.patiently("write", write, repr(assignment.attempt_key), name="the values folder")
        self._reader.keep(ref, packed)
        return ref

    # The cache ------------------------------------------------------------------------------------------------------

    def _look(self, attempt: Attempt, value: Any) -> Look:
        if self._cache is None:
            look = Look(CacheNote("refused", "", "this process has no cache"))
        else:
            look = self._cache.look(attempt, value, answer=self._keeper.saves or bool(attempt.task.report))
        attempt.look = look
        return look

    def _of_earlier(self, look: Look, task: Task) -> tuple[Any, Signs | None, bytes]:
        """What an earlier attempt has returned. Its answer is made again only where somebody reads it."""
        assert look.found is not None
        if not self._keeper.saves and not task.report:
            return None, look.found.entry.signs, look.found.packed
        return *understand(look.answer, task), look.found.packed

    def _keep(
        self, look: Look, attempt: Attempt, packed: bytes, signs: Signs | None, ref: str | None, clock: float
    ) -> None:
        if self._cache is None:
            return
        source = None if ref is None or self._values is None else self._values.file(ref)
        self._cache.keep(look, attempt, packed, signs, time.perf_counter() - clock, source)

    # The way of a bad one -------------------------------------------------------------------------------------------

    def _ended_badly(
        self, error: BaseException, assignment: Assignment, attempt: Attempt | None, started: float, clock: float
    ) -> Outcome:
        self._tidy()
        region = None if self._capture is None else self._capture.attempt_ended()
        log_tail = tail(region) or getattr(error, "tail", "")
        kind, failure, signs = self._judged(error, assignment, log_tail)
        record = b""
        if kind == "failed" and attempt is not None and attempt.task.on_error == "continue":
            try:
                record = self._as_data(attempt, failure)
            except Exception as later:  # noqa: BLE001  the store has failed now
                error = later
                kind, failure, signs = self._judged(error, assignment, log_tail)
        return Outcome(
            assignment.lease,
            kind,
            record,
            started,
            time.perf_counter() - clock,
            len(record),
            None,
            signs,
            failure,
            not isinstance(error, Superseded),
            region,
            None if attempt is None or attempt.look is None else attempt.look.note,
            "" if attempt is None else attempt.runnable.code,
        )

    def _judged(
        self, error: BaseException, assignment: Assignment, log_tail: str
    ) -> tuple[Ended, Failure, Signs | None]:
        failure = failure_of(error, log_tail)
        stopped = self._interruption.raised
        if stopped is not None:
            return _stopped(stopped, assignment, failure)
        if isinstance(error, StoreError):
            return "store", failure, None
        if isinstance(error, RetryAfter):
            return "failed", failure, Signs(retry_after=error.seconds)
        if isinstance(error, InvalidAnswer):
            return "failed", failure, Signs(invalid=failure.message)
        return "failed", failure, None

    def _as_data(self, attempt: Attempt, failure: Failure) -> bytes:
        """The failure is data for what follows: it is saved, and handed over like a result."""
        self._save(attempt, {"_traceback": failure.traceback})
        return pack(failure.record())

    def _tidy(self) -> None:
        """An interruption may have come at any point of the store, or of the event loop."""
        in_store, self._in_store = self._in_store, False
        if self._interruption.raised is None:
            return
        if in_store:
            self._keeper.discard()
        self._coroutines.close()


def _stopped(why: str, assignment: Assignment, failure: Failure) -> tuple[Ended, Failure, Signs | None]:
    kind: Ended = "timeout" if why == "timeout" else "cancelled"
    if kind == "cancelled":
        told: Exception = JobCancelled("the job was stopped on request")
    else:
        limit = assignment.needs.timeout if assignment.needs else None
        told = JobTimeout("the job ran longer than its timeout" + (f" of {limit:g} s" if limit else ""))
    failure = Failure(
        type=type(told).__name__, message=str(told), traceback=failure.traceback, log_tail=failure.log_tail
    )
    return kind, failure, None


def _no_report(lease: int, done: float, total: float | None, message: str) -> None:
    """Nobody wants to know."""
