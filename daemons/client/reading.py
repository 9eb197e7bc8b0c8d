"""What is known of a run, put together from the Router's answers.

The Router tells what it holds (options, times, what is queued and where it runs) and the facts of the journal; the
states of jobs are judged here, by the same `Progress` that the Pipeliner uses, from the same facts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from ...pipeline.definition import Definition, unpack_definition
from ...pipeline.errors import HeadraceError, ProtocolError
from ...pipeline.facts import Accepted, Fact, RunError, unpack_fact
from ...pipeline.progress import Progress
from ..protocol import Ask
from .conversation import Conversation, Flow

logger = logging.getLogger(__name__)

FACTS_PAGE = 5000
RUNS_PAGE = 500
ENDED = frozenset({"success", "failed", "cancelled"})
_OPEN_JOB = frozenset({"waiting", "queued", "running"})


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of a list of runs."""

    id: str
    title: str | None
    state: str
    accepted_at: float
    finished_at: float | None = None
    duration: float | None = None
    verdict: str | None = None
    error_reason: str | None = None
    parent: str | None = None
    """The run that it belongs to, of a sub-run."""


class Explanation(str):
    """Why something is not running: as text, and in `details` as the Router told it."""

    details: dict[str, Any]

    @classmethod
    def of(cls, told: dict[str, Any]) -> Explanation:
        explanation = cls(told.get("text", ""))
        explanation.details = told
        return explanation


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at one moment: what the Router holds of it (`told`), its definition, and its facts replayed."""

    id: str
    told: dict[str, Any]
    definition: Definition
    progress: Progress

    @property
    def state(self) -> str:
        judged = self.progress.state
        return judged if judged in ENDED else str(self.told.get("state", judged))

    @property
    def error(self) -> RunError | None:
        return self.progress.error or told_error(self.told.get("error"))

    @property
    def duration(self) -> float | None:
        return self.told.get("duration")

    def states(self) -> dict[str, str]:
        """The facts know what has ended; only the Router knows what waits in a queue and what runs."""
        states = self.progress.states()
        for job, *_ in self.told.get("queued", ()):
            if states.get(job) == "waiting":
                states[job] = "queued"
        for job, *_ in self.told.get("running", ()):
            if states.get(job) in _OPEN_JOB:
                states[job] = "running"
        return states


def told_error(told: list[Any] | None) -> RunError | None:
    if not told:
        return None
    job, path, reason, *rest = told
    return RunError(job, tuple(path or ()), reason, *rest)


def read_snapshot(conversation: Conversation, run: str) -> Flow[Snapshot]:
    """What is queued and running is asked first: what has ended since then, the facts know better."""
    new_id = conversation.new_id
    told, defined, page = yield from conversation.ask_all(
        [
            Ask(new_id(), "run", run),
            Ask(new_id(), "definition", run),
            Ask(new_id(), "facts", run, {"after": 0, "limit": FACTS_PAGE}),
        ]
    )
    definition, progress = _begun(defined["definition"], told["id"])
    facts, more = _facts_of(page)
    while True:
        for sequence, fact in facts:
            progress.apply(sequence, fact)  # type: ignore[arg-type]  # the facts of a run are RunFacts
        if not more:
            return Snapshot(told["id"], told, definition, progress)
        facts, more = yield from _facts_page(conversation, run, progress.last)


def _begun(packed: bytes, run: str) -> tuple[Definition, Progress]:
    """Of a run whose definition nobody can read there is still its end, and why."""
    try:
        definition = unpack_definition(packed)
        return definition, Progress(definition, run)
    except (HeadraceError, ValueError, LookupError, TypeError, AttributeError, AssertionError) as error:
        logger.warning("the definition of run %s cannot be read: %s", run, error)
        return Definition(), Progress(Definition(), run)


def read_definition(conversation: Conversation, run: str) -> Flow[Definition]:
    told = yield from conversation.ask("definition", run)
    try:
        return unpack_definition(told["definition"])
    except ValueError as error:
        raise ProtocolError(f"the definition of run {run} cannot be read: {error}") from error


def read_accepted(conversation: Conversation, run: str) -> Flow[Accepted]:
    """The first fact of a run: what it was submitted with."""
    told = yield from conversation.ask("facts", run, after=0, limit=1)
    facts, _ = _facts_of(told)
    if not facts or not isinstance(facts[0][1], Accepted):
        raise ProtocolError(f"the facts of run {run} do not begin with its acceptance")
    return facts[0][1]


def read_facts(conversation: Conversation, run: str, after: int = 0) -> Flow[list[tuple[int, Fact]]]:
    """All facts of a run after that sequence, in order; of all runs for an empty id."""
    facts: list[tuple[int, Fact]] = []
    more = True
    while more:
        page, more = yield from _facts_page(conversation, run, facts[-1][0] if facts else after)
        facts += page
    return facts


def _facts_page(conversation: Conversation, run: str, after: int) -> Flow[tuple[list[tuple[int, Fact]], bool]]:
    return _facts_of((yield from conversation.ask("facts", run, after=after, limit=FACTS_PAGE)))


def _facts_of(told: dict[str, Any]) -> tuple[list[tuple[int, Fact]], bool]:
    page = [(sequence, unpack_fact(packed)) for sequence, packed in told["facts"]]
    return page, bool(told["more"]) and bool(page)


def read_runs(
    conversation: Conversation, state: str | None, limit: int | None, below: bool = False
) -> Flow[list[RunSummary]]:
    """Newest first; all pages of them, or as many as `limit` says. `below`: sub-runs too."""
    runs: list[RunSummary] = []
    before: str | None = None
    while limit is None or len(runs) < limit:
        size = RUNS_PAGE if limit is None else min(RUNS_PAGE, limit - len(runs))
        told = yield from conversation.ask("runs", state=state, limit=size, before=before, below=below)
        runs += [_summary(one) for one in told["runs"]]
        if not told["more"] or not told["runs"]:
            break
        before = runs[-1].id
    return runs


def _summary(told: dict[str, Any]) -> RunSummary:
    return RunSummary(**{name: told[name] for name in RunSummary.__slots__ if name in told})
