"""Everything a manager does with the Router, as flows: both managers offer these names, one blocking, one awaiting."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from msgspec.structs import replace

from ...pipeline.cachenotes import CacheNotes, CacheReport
from ...pipeline.definition import Definition
from ...pipeline.errors import NotFound
from ...pipeline.facts import Fact
from ...pipeline.pipeline import Pipeline
from ...pipeline.run import Run
from ..protocol import Submission, Submit
from .book import Book
from .conversation import Conversation, Flow, Verb, Wait
from .explaining import read_explanation
from .following import UNKNOWN
from .output import OutputReader
from .reading import (
    Explanation,
    RunSummary,
    Snapshot,
    read_accepted,
    read_definition,
    read_facts,
    read_runs,
    read_snapshot,
)
from .requests import NEWS
from .results import read_large, read_results
from .submitting import Submitter, receipts_of

UPDATE = 1.0


class Management:
    """`later` carries a flow through for a result that is read when somebody looks at it."""

    def __init__(
        self, book: Book, conversation: Conversation, later: Callable[[Flow[Any]], Any], poll_time: float
    ) -> None:
        self.book = book
        self.conversation = conversation
        self._submitter = Submitter(book, conversation)
        self._later = later
        self._poll_time = poll_time

    # Starting and ending ---------------------------------------------------------------------------------------------

    def start(
        self, pipeline: Any, *, role: str | None = None, priority: int | None = None, inputs: Any = None
    ) -> Flow[str]:
        """Submit a pipeline; its id, once the Router has it in its journal.

        It may be written in any style; the options are those of `headrace.submit`, for what is no Pipeline yet.
        """
        made = _made(pipeline, role=role, priority=priority, inputs=inputs)
        yield from self._submitter.submit_one(made)
        return str(made.id)

    def start_many(self, pipelines: Iterable[Any]) -> Flow[list[str]]:
        """Submit many pipelines, and wait for all acknowledgements together. Their ids, in order.

        When some are refused the others run all the same (they have ids), and the first refusal is raised.
        """
        given = yield from self._submitter.submit(_made(one) for one in pipelines)
        return [str(pipeline.id) for pipeline in given]

    def update(self, timeout: float | None = None) -> Flow[int]:
        """Learn which pipelines have ended: returns at the first news, after `timeout` (1 s) at the latest.

        The number of runs that have ended since the last call. With nothing under way it does not wait long.
        """
        now = self.conversation.clock()
        until = now + (UPDATE if timeout is None else timeout)
        if not self.conversation.requests.following.runs:
            until = min(until, now + self._poll_time)
        yield Wait(NEWS, now)
        yield from self.conversation.listen(NEWS, lambda: self.book.news > 0, until)
        return self.book.take_news()

    def wait(self, pipeline: Pipeline | str, timeout: float | None = None) -> Flow[Run]:
        """Wait for the end of a run, of this manager or (by id) of any other; a `TimeoutError` leaves it going."""
        run = run_id(pipeline)
        if isinstance(pipeline, Pipeline) and pipeline.finished is True:
            return (yield from self.status(run))
        requests = self.conversation.requests
        until = None if timeout is None else self.conversation.clock() + timeout
        self.book.wait_for(run)
        try:
            if not requests.following.runs.get(run):
                requests.follow([run])
            yield from self.conversation.listen(run, lambda: self.book.end_of(run) is not None, until)
            end = self.book.end_of(run)
        finally:
            self.book.wait_no_more(run)
            if not self.book.is_open(run):
                requests.unfollow(run)
        if end is None:
            raise TimeoutError(f"run {run} has not ended within {timeout:g} s; it goes on, and can be waited for again")
        if end.error and end.error.kind == UNKNOWN:
            raise NotFound("run", run, "it may have been pruned")
        try:
            return (yield from self.status(run))
        except NotFound:  # pruned, and only its end is kept
            return Run(run, end.verdict, self._results_of(run), end.error, {}, end.duration)

    def forget(self, pipeline: Pipeline | str | None = None) -> None:
        """Keep these pipelines in mind no longer: one, or all that have finished. Runs go on all the same."""
        if pipeline is None:
            self.book.forget_finished()
            return
        run = run_id(pipeline)
        self.book.forget(run)
        if not self.book.is_open(run):
            self.conversation.requests.unfollow(run)

    # Reading ---------------------------------------------------------------------------------------------------------

    def status(self, pipeline: Pipeline | str) -> Flow[Run]:
        """The run as it is now: state, error, duration and states of jobs; its results are fetched when looked at."""
        taken = yield from self.snapshot(pipeline)
        results = self._results_of(taken.id)
        explain = self._explain_of(taken.id)
        return Run(taken.id, taken.state, results, taken.error, taken.states(), taken.duration, explain)

    def snapshot(self, pipeline: Pipeline | str) -> Flow[Snapshot]:
        """All there is to know of a run now: its definition, its facts replayed, what is queued and what runs where."""
        return (yield from read_snapshot(self.conversation, run_id(pipeline)))

    def results(self, pipeline: Pipeline | str) -> Flow[dict[str, Any]]:
        """The results so far, by job name; below a spread a list in index order."""
        return (yield from read_results(self.conversation, run_id(pipeline)))

    def list_runs(
        self, state: str | None = None, limit: int | None = None, *, below: bool = False
    ) -> Flow[list[RunSummary]]:
        """The Router's runs, newest first: all, those of one state, or the first `limit`. `below`: sub-runs too."""
        return (yield from read_runs(self.conversation, state, limit, below))

    def definition(self, pipeline: Pipeline | str) -> Flow[Definition]:
        """The compiled form of a run's pipeline."""
        return (yield from read_definition(self.conversation, run_id(pipeline)))

    def facts(self, pipeline: Pipeline | str, after: int = 0) -> Flow[list[tuple[int, Fact]]]:
        """The facts of a run, with their sequence numbers, in order."""
        return (yield from read_facts(self.conversation, run_id(pipeline), after))

    def explain(self, pipeline: Pipeline | str, job: str | None = None) -> Flow[Explanation]:
        """Why a run, or one job of it, is not running: prints as text."""
        return (yield from read_explanation(self.conversation, run_id(pipeline), job))

    def cache_explain(self, pipeline: Pipeline | str, job: str | None = None) -> Flow[CacheReport]:
        """Of jobs with `cache='content'`: whose result they have, or what differed from an earlier one; as text."""
        facts = yield from self.facts(pipeline)
        return CacheNotes.of(fact for _, fact in facts).report(job)

    def output(self, pipeline: Pipeline | str, job: str | None = None) -> OutputReader:
        """Reads what the attempts of a run write."""
        return OutputReader(self.conversation, run_id(pipeline), job)

    def cluster(self) -> Flow[dict[str, Any]]:
        """Router, Brokers, Pipeliners, queues and rates, as the Router tells it."""
        return (yield from self.conversation.ask("status"))

    def config(self) -> Flow[dict[str, Any]]:
        """The Router's configuration."""
        return (yield from self.conversation.ask("config"))

    # Control ---------------------------------------------------------------------------------------------------------

    def cancel(self, pipeline: Pipeline | str, reason: str | None = None) -> Flow[str]:
        """End a run: durable, down to the process trees of its jobs. What the Router says to it."""
        return (yield from self.conversation.control("cancel", run_id(pipeline), reason))

    def pause(self, pipeline: Pipeline | str | None = None, *, role: str | None = None) -> Flow[str]:
        """Start no more jobs of a run, of a role, or (without either) at all; what runs goes on."""
        return (yield from self._switch("pause", pipeline, role))

    def resume(self, pipeline: Pipeline | str | None = None, *, role: str | None = None) -> Flow[str]:
        """The opposite of `pause`."""
        return (yield from self._switch("resume", pipeline, role))

    def drain(self, broker: str, on: bool = True) -> Flow[str]:
        """Give a Broker (by its place or its identity; all of a machine by its name) no more work, or work again.

        What the Router says to it: how many jobs still run there.
        """
        return (yield from self.conversation.control("drain", reason=None if on else "off", argument=broker))

    def retry(self, pipeline: Pipeline | str) -> Flow[str]:
        """Run again what did not succeed and what depends on it, under the same id; results are kept. The id."""
        run = run_id(pipeline)
        yield from self.conversation.control("retry", run)
        if self.book.reopen(run):
            self.conversation.requests.follow([run])
        return run

    def rerun(self, pipeline: Pipeline | str) -> Flow[str]:
        """Run the same pipeline anew, from its beginning; the new run's id. It has no key, and starts at once."""
        run = run_id(pipeline)
        told = yield from self.conversation.ask("definition", run)
        accepted = yield from read_accepted(self.conversation, run)
        options = replace(accepted.options, key=None, on_duplicate="return", not_before=None, after=())
        data = told["data"]
        if told.get("data_ref"):
            data = yield from read_large(self.conversation, run, told["data_ref"])
        submission = Submission(self.conversation.new_id(), told["definition"], options, data)
        message = Submit(self.conversation.new_id(), [submission], follow=False)
        (receipt,) = receipts_of((yield from self.conversation.request(message)), 1)
        return receipt.run

    def prune(self, pipeline: Pipeline | str | None = None, *, older: float | None = None) -> Flow[int]:
        """Remove a finished run, or all that ended more than `older` seconds ago; their ids and ends are kept.

        How many were removed.
        """
        if (pipeline is None) == (older is None):
            raise ValueError("prune takes a run, or older=SECONDS, and not both")
        if pipeline is not None:
            return int((yield from self.conversation.control("prune", run_id(pipeline))))
        removed = 0
        while some := int((yield from self.conversation.control("prune", argument=f"{older}"))):
            removed += some
        return removed

    # Within ----------------------------------------------------------------------------------------------------------

    def _results_of(self, run: str) -> Callable[[], dict[str, Any]]:
        return lambda: dict(self._later(self.results(run)))

    def _explain_of(self, run: str) -> Callable[[str | None], CacheReport]:
        def explain(job: str | None) -> CacheReport:
            report: CacheReport = self._later(self.cache_explain(run, job))
            return report

        return explain

    def _switch(self, verb: Verb, pipeline: Pipeline | str | None, role: str | None) -> Flow[str]:
        if pipeline is not None and role is not None:
            raise ValueError(f"{verb} takes a run or a role, not both")
        run = "" if pipeline is None else run_id(pipeline)
        return (yield from self.conversation.control(verb, run, argument=role))


def _made(written: Any, **options: Any) -> Pipeline:
    """The Pipeline that something stands for. What is none is told so when it is to be started."""
    if isinstance(written, Pipeline) and all(value is None for value in options.values()):
        return written
    from ...pipeline.loading import as_pipeline, is_pipeline
    from ...pipeline.styles.files import form_of

    stands_for_one = is_pipeline(written) or (isinstance(written, Mapping) and form_of(written) is not None)
    return as_pipeline(written, **options) if stands_for_one else cast(Pipeline, written)


def run_id(pipeline: Pipeline | str) -> str:
    """The id of a run, from itself or from the pipeline that was started."""
    if isinstance(pipeline, str):
        if not pipeline:
            raise ValueError("a run's id is needed, and '' is none")
        return pipeline
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"a Pipeline or a run's id (what `start` has returned) is needed, not {pipeline!r:.200}")
    if pipeline.id is None:
        raise ValueError(f"{pipeline!r:.200} was not started: it has no id yet")
    return pipeline.id
